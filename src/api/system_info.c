// SPDX-License-Identifier: Apache-2.0
/*
 * The system door, the part that tells of the machine: what it is, and whether it is well. Both
 * answers carry the envelope of another contract beside their own members: code, message, data.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "api/task_doors_int.h"
#include "base/mem.h"

enum {
    DISK_LOW_PERCENT = 20,
    DISK_OUT_PERCENT = 10,
    MEMORY_HIGH_PERCENT = 80,
    MEMORY_OUT_PERCENT = 90,
    KHZ_PER_MHZ = 1000,
};

/* ---- what it is ---- */

static int64_t boot_wall_ms(struct api *api)
{
    struct timespec up = { 0 };

    clock_gettime(CLOCK_BOOTTIME, &up);
    return world_wall_ms(api->in.world) - (int64_t)up.tv_sec * 1000 - up.tv_nsec / 1000000;
}

static json_t *timezone_json(struct api *api)
{
    const time_t now = (time_t)(world_wall_ms(api->in.world) / 1000);
    struct tm local;
    char name[64];

    if (!localtime_r(&now, &local) || strftime(name, sizeof(name), "%Z", &local) == 0) {
        return json_string("UTC");
    }
    return json_text(name);
}

/* No Python is here: its two members are null. */
static json_t *machine_json(struct api *api)
{
    const struct gpu_host *h = gpu_host(api->in.gpu);
    struct utsname u = { 0 };

    uname(&u);
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:n, s:n, s:o, s:o, s:o}", "hostname",
                     json_text(u.nodename), "platform",
                     json_sprintf("%s-%s-%s", u.sysname, u.release, u.machine), "system",
                     json_text(u.sysname), "release", json_text(u.release), "version",
                     json_text(u.version), "machine", json_text(u.machine), "processor",
                     json_text(h->name), "python_version", "python_executable", "boot_time",
                     json_time(boot_wall_ms(api)), "current_time", json_now(api), "timezone",
                     timezone_json(api));
}

/* The first word of a file below /sys/devices/system/cpu; "" when there is none. */
static void read_cpu_file(char out[64], int cpu, const char *name)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/%s", cpu, name);
    out[0] = '\0';
    f = fopen(path, "re");
    if (!f) {
        return;
    }
    if (fscanf(f, "%63s", out) != 1) {
        out[0] = '\0';
    }
    fclose(f);
}

/* A core is counted at the first of its threads. */
static int count_cores(int threads)
{
    char siblings[64];
    int cores = 0;

    for (int cpu = 0; cpu < threads; cpu++) {
        unsigned first;

        read_cpu_file(siblings, cpu, "topology/thread_siblings_list");
        cores += sscanf(siblings, "%u", &first) != 1 || first == (unsigned)cpu;
    }
    return cores;
}

/* In MHz; 0: it is not told. */
static double frequency(const char *name)
{
    char text[64];
    double khz;

    read_cpu_file(text, 0, name);
    return sscanf(text, "%lf", &khz) == 1 ? khz / KHZ_PER_MHZ : 0;
}

static json_t *frequency_json(void)
{
    const double now = frequency("cpufreq/scaling_cur_freq");

    if (now <= 0) {
        return json_null();
    }
    return json_pack("{s:f, s:f, s:f}", "current", now, "min",
                     frequency("cpufreq/cpuinfo_min_freq"), "max",
                     frequency("cpufreq/cpuinfo_max_freq"));
}

static json_t *processors_json(struct api *api)
{
    const int threads = (int)sysconf(_SC_NPROCESSORS_CONF);

    if (api->physical_cores == 0) {
        api->physical_cores = count_cores(threads); /* they do not change */
    }
    return json_pack("{s:i, s:i, s:o}", "cpu_count_logical", threads, "cpu_count_physical",
                     api->physical_cores, "cpu_freq", frequency_json());
}

/* In bytes. */
static json_t *memory_json(const struct gpu_host *h)
{
    const json_int_t total = (json_int_t)h->memory_total_bytes,
                     used = (json_int_t)h->memory_used_bytes;

    return json_pack("{s:I, s:I, s:f, s:I, s:I}", "total", total, "available", total - used,
                     "percent", percent(h->memory_used_bytes, h->memory_total_bytes), "used", used,
                     "free", total - used);
}

static json_t *disk_json(const struct gpu_host *h)
{
    const json_int_t total = (json_int_t)h->disk_total_bytes, used = (json_int_t)h->disk_used_bytes;

    return json_pack("{s:I, s:I, s:I, s:f}", "total", total, "used", used, "free", total - used,
                     "percent", percent(h->disk_used_bytes, h->disk_total_bytes));
}

/* The queue of tasks; and how many requests and models wait. */
static json_t *queue_json(struct api *api)
{
    const struct model *model;
    struct placement_waiting w;
    size_t cursor = 0;
    int requests = 0, models = 0;
    json_t *json = queue_status_json(api);

    while ((model = models_next(api->in.models, &cursor))) {
        requests += (int)dispatch_model_load(api->in.dispatch, model->id).waiting;
    }
    for (cursor = 0; placement_next_waiting(api->in.placement, &cursor, &w);) {
        models++;
    }
    json_object_set_new(json, "requests", json_integer(requests));
    json_object_set_new(json, "models", json_integer(models));
    return json;
}

/* The store is one connection that is always open; there is no Redis. */
static json_t *info_data(struct api *api)
{
    return json_pack("{s:s, s:s, s:{s:i, s:i, s:i, s:i}, s:n, s:o}", "version", api->in.version,
                     "environment", "production", "database_stats", "open_connections", 1, "in_use",
                     0, "idle", 1, "wait_count", 0, "redis_info", "queue_status", queue_json(api));
}

/* Of the database and its journal. */
static json_int_t store_bytes(const char *path)
{
    static const char *const endings[] = { "", "-wal" };
    json_int_t bytes = 0;

    for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
        _cleanup_(freep) char *file = xasprintf("%s%s", path, endings[i]);
        struct stat st;

        bytes += stat(file, &st) == 0 ? (json_int_t)st.st_size : 0;
    }
    return bytes;
}

static json_t *store_json(struct api *api)
{
    _cleanup_(freep) char *path = xasprintf("%s/berth.db", api->in.data_dir);

    return json_pack("{s:s, s:o, s:I, s:o}", "kind", "sqlite", "path", json_text(path),
                     "size_bytes", store_bytes(path), "read_only",
                     json_text(store_read_only_reason(api->in.store)));
}

static json_t *listen_json(struct api *api)
{
    json_t *list = json_array();

    for (const char *const *l = config_list(api->in.config, "server.listen"); *l; l++) {
        json_array_append_new(list, json_text(*l));
    }
    return list;
}

static json_t *berth_json(struct api *api)
{
    const uint64_t uptime_ms = world_now_ms(api->in.world) - api->made_ms;
    const struct task_counts tasks =
        tasks_counts(api->in.tasks, &(struct task_filter){ .kind = TASK_OF_QUEUE });

    return json_pack("{s:s, s:o, s:I, s:o, s:o, s:o, s:o, s:{s:s, s:I, s:I}}", "version",
                     api->in.version, "started_at",
                     json_time(world_wall_ms(api->in.world) - (int64_t)uptime_ms), "uptime",
                     (json_int_t)(uptime_ms / 1000), "data_dir", json_text(api->in.data_dir),
                     "config_file", json_text(config_path(api->in.config)), "listen",
                     listen_json(api), "store", store_json(api), "queue", "kind", "store",
                     "pending", (json_int_t)tasks.by_state[TASK_PENDING], "running",
                     (json_int_t)tasks.by_state[TASK_RUNNING]);
}

void handle_system_info(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct gpu_host *h = gpu_host(api->in.gpu);

    http_respond_json(x, 200,
                      json_pack("{s:o, s:o, s:o, s:o, s:i, s:s, s:o, s:o}", "system",
                                machine_json(api), "cpu", processors_json(api), "memory",
                                memory_json(h), "disk", disk_json(h), "code", 0, "message",
                                "success", "data", info_data(api), "berth", berth_json(api)));
}

/* ---- whether it is well ---- */

enum condition { WELL, WARNING, CRITICAL };

/* The words of a component, and of the whole. */
static const char *const component_words[] = { "healthy", "warning", "critical" };
static const char *const overall_words[] = { "healthy", "degraded", "unhealthy" };

struct findings {
    enum condition worst;
    json_t *components;
};

static void find(struct findings *f, const char *name, enum condition c, json_t *message,
                 const char *figure, json_t *value)
{
    json_t *json = component_json(component_words[c], message);

    if (figure) {
        json_object_set_new(json, figure, value);
    }
    json_object_set_new(f->components, name, json);
    f->worst = MAX_OF(f->worst, c);
}

static void look_at_store(struct api *api, struct findings *f)
{
    const char *read_only = store_read_only_reason(api->in.store);

    find(f, "database", read_only ? CRITICAL : WELL,
         read_only ? json_sprintf("it takes no more changes: %s", read_only)
                   : json_string("it takes changes"),
         NULL, NULL);
}

/* A machine without a GPU is well, unless it has no device at all (a script says so). */
static void look_at_devices(struct api *api, struct findings *f)
{
    const struct gpu_device *d;
    size_t cursor = 0;
    int count = 0, gpus = 0, silent = 0;

    while ((d = gpu_next(api->in.gpu, &cursor))) {
        count++;
        gpus += !d->cpu;
        silent += d->unresponsive;
    }
    find(f, "gpu", silent > 0 || count == 0 ? WARNING : WELL,
         count == 0   ? json_string("no device is known")
         : silent > 0 ? json_sprintf("%d devices do not answer", silent)
         : gpus == 0  ? json_string("there is no GPU; models run on the CPU")
                      : json_sprintf("%d GPUs answer", gpus),
         "gpu_count", json_integer(gpus));
}

static void look_at_disk(const struct gpu_host *h, struct findings *f)
{
    const double free_percent = 100 - percent(h->disk_used_bytes, h->disk_total_bytes);

    find(f, "disk",
         free_percent < DISK_OUT_PERCENT   ? CRITICAL
         : free_percent < DISK_LOW_PERCENT ? WARNING
                                           : WELL,
         json_sprintf("%.1f %% are free", free_percent), "free_percent", json_real(free_percent));
}

static void look_at_memory(const struct gpu_host *h, struct findings *f)
{
    const double used = percent(h->memory_used_bytes, h->memory_total_bytes);

    find(f, "memory",
         used > MEMORY_OUT_PERCENT    ? CRITICAL
         : used > MEMORY_HIGH_PERCENT ? WARNING
                                      : WELL,
         json_sprintf("%.1f %% are used", used), "usage_percent", json_real(used));
}

/* "ok" while the store works: the one that the contract of `data` asks for. */
static json_t *health_data(struct api *api, bool well)
{
    const char *word = store_read_only_reason(api->in.store) ? "error" : "ok";

    return json_pack("{s:s, s:o, s:s, s:s, s:s, s:o}", "status", well ? "ok" : "error", "timestamp",
                     json_now(api), "database", word, "redis", "disabled", "queue", word,
                     "queue_status", queue_json(api));
}

void handle_system_health(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct gpu_host *h = gpu_host(api->in.gpu);
    struct findings f = { .components = json_object() };
    bool well;

    look_at_store(api, &f);
    look_at_devices(api, &f);
    look_at_disk(h, &f);
    look_at_memory(h, &f);
    well = f.worst < CRITICAL;
    http_respond_json(x, well ? 200 : 503,
                      json_pack("{s:s, s:o, s:o, s:i, s:s, s:o}", "status", overall_words[f.worst],
                                "timestamp", json_now(api), "components", f.components, "code",
                                well ? 0 : -1, "message", well ? "success" : overall_words[f.worst],
                                "data", health_data(api, well)));
}
