// SPDX-License-Identifier: Apache-2.0
/*
 * The system door: the devices, and the whole of them with the models in a few figures. Memory is
 * in MiB here. Where a device does not tell a figure that must be a number, it is 0 and its name
 * stands in `not_told`.
 */
#include "api/api_int.h"
#include "api/paging.h"

enum { BUSY_PERCENT = 80 };

json_int_t mib(uint64_t bytes)
{
    return (json_int_t)(bytes >> MIB_SHIFT);
}

/* ---- devices ---- */

/* Sets the member, and names it in `missing` when it is not told. */
static void set_figure(json_t *json, json_t *missing, const char *name, double value)
{
    if (value < 0) {
        json_array_append_new(missing, json_string(name));
    }
    json_object_set_new(json, name, json_real(value < 0 ? 0 : value));
}

static json_t *processes_json(const struct gpu_device *d)
{
    json_t *list = json_array();

    for (size_t i = 0; i < d->process_count; i++) {
        const struct gpu_process *p = &d->processes[i];

        json_array_append_new(
            list, json_pack("{s:I, s:o, s:b}", "pid", (json_int_t)p->pid, "memory",
                            p->memory_known ? json_integer(mib(p->memory_bytes)) : json_null(),
                            "ours", p->ours));
    }
    return list;
}

static json_t *optional_text(const char *s)
{
    return json_text(s[0] ? s : NULL);
}

static json_t *device_json(const struct gpu_device *d)
{
    const json_int_t total = mib(d->memory_total_bytes), used = mib(d->memory_used_bytes);
    json_t *missing = json_array();
    json_t *json =
        json_pack("{s:i, s:s, s:s, s:I, s:I, s:I, s:o, s:s, s:o, s:o, s:b, s:b, s:s, s:I, s:o}",
                  "device_id", d->index, "name", d->name, "vendor", gpu_vendor_name(d->vendor),
                  "memory_total", total, "memory_used", used, "memory_free", total - used,
                  "driver_version", optional_text(d->driver_version), "id", d->id, "uuid",
                  optional_text(d->uuid), "pci", optional_text(d->pci), "cpu", d->cpu, "mig",
                  d->mig, "status", d->unresponsive ? "unresponsive" : "ok", "memory_foreign",
                  mib(d->foreign_bytes), "processes", processes_json(d));

    set_figure(json, missing, "utilization", d->utilization);
    set_figure(json, missing, "temperature", d->temperature_c);
    set_figure(json, missing, "power_usage", d->power_w);
    set_figure(json, missing, "power_limit", d->power_limit_w);
    set_figure(json, missing, "clock", d->clock_mhz);
    set_figure(json, missing, "memory_clock", d->memory_clock_mhz);
    json_object_set_new(json, "not_told", missing);
    json_object_set_new(json, "timestamp", json_time(d->sampled_wall_ms));
    return json;
}

static void handle_devices(void *owner, struct http_exchange *x, const struct route_params *params)
{
    static const struct paging_kind kind = {
        .sorts = "device_id name vendor memory_total memory_used memory_free utilization "
                 "temperature power_usage status",
        .texts = "name vendor id uuid pci driver_version",
        .filters = "vendor status",
    };
    struct api *api = owner;
    json_t *list;
    const struct gpu_device *d;
    struct paging paging;
    size_t cursor = 0;

    if (!paging_read(x, &kind, &paging)) {
        return;
    }
    list = json_array();
    while ((d = gpu_next(api->in.gpu, &cursor))) {
        json_array_append_new(list, device_json(d));
    }
    paging_respond(x, &paging, list);
    paging_finish(&paging);
}

static void respond_no_number(struct http_exchange *x)
{
    json_t *errors = json_pack("[{s:[s, s], s:s, s:s}]", "loc", "path", "device_id", "msg",
                               "the index of a device is a whole number", "type", "int_parsing");

    respond_schema_errors(x, errors);
    json_decref(errors);
}

static void handle_device(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct gpu_device *d;
    int64_t index;

    if (span_to_i64(params->values[0], &index) == -EINVAL) {
        respond_no_number(x);
        return;
    }
    index = index < 0 || index > GPU_DEVICES_MAX ? -1 : index;
    d = gpu_find(api->in.gpu, (int)index);
    if (!d) {
        respond_detail(x, 404, "there is no device %.*s", SPAN_ARG(params->values[0]));
        return;
    }
    http_respond_json(x, 200, device_json(d));
}

/* ---- all of it ---- */

struct totals {
    int count, available;
    uint64_t total_bytes, used_bytes;
};

/* Of GPUs: a CPU is none. */
static struct totals add_up(const struct api *api)
{
    const struct gpu_device *d;
    struct totals t = { 0 };
    size_t cursor = 0;

    while ((d = gpu_next(api->in.gpu, &cursor))) {
        if (d->cpu) {
            continue;
        }
        t.count++;
        t.available += !d->unresponsive && d->utilization < BUSY_PERCENT;
        t.total_bytes += d->memory_total_bytes;
        t.used_bytes += d->memory_used_bytes;
    }
    return t;
}

static int running_models(const struct api *api)
{
    const struct model *model;
    size_t cursor = 0;
    int running = 0;

    while ((model = models_next(api->in.models, &cursor))) {
        const struct instance *inst = engines_of_model(api->in.engines, model->id);

        running += inst && inst->state == INSTANCE_READY;
    }
    return running;
}

json_t *overview_json(struct api *api)
{
    const struct totals t = add_up(api);
    const uint64_t uptime_ms = world_now_ms(api->in.world) - api->made_ms;

    return json_pack("{s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:o}", "total_models",
                     (int)models_count(api->in.models), "running_models", running_models(api),
                     "total_gpus", t.count, "available_gpus", t.available, "total_gpu_memory",
                     mib(t.total_bytes), "used_gpu_memory", mib(t.used_bytes), "system_uptime",
                     (json_int_t)(uptime_ms / 1000), "last_updated", json_now(api));
}

static void handle_overview(void *owner, struct http_exchange *x, const struct route_params *params)
{
    http_respond_json(x, 200, overview_json(owner));
}

double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0;
}

json_t *host_json(struct api *api, const struct gpu_host *h)
{
    const double gib = (double)(1ull << GIB_SHIFT);

    return json_pack("{s:o, s:f, s:f, s:I, s:I, s:f, s:f, s:f, s:I, s:I, s:[f, f, f]}", "timestamp",
                     h->sampled_wall_ms ? json_time(h->sampled_wall_ms) : json_now(api),
                     "cpu_usage", h->cpu_percent < 0 ? 0 : h->cpu_percent, "memory_usage",
                     percent(h->memory_used_bytes, h->memory_total_bytes), "memory_total",
                     mib(h->memory_total_bytes), "memory_used", mib(h->memory_used_bytes),
                     "disk_usage", percent(h->disk_used_bytes, h->disk_total_bytes), "disk_total",
                     (double)h->disk_total_bytes / gib, "disk_used",
                     (double)h->disk_used_bytes / gib, "network_sent",
                     (json_int_t)h->network_sent_bytes, "network_recv",
                     (json_int_t)h->network_received_bytes, "load_average", h->load_average[0],
                     h->load_average[1], h->load_average[2]);
}

static void handle_resources(void *owner, struct http_exchange *x,
                             const struct route_params *params)
{
    struct api *api = owner;

    http_respond_json(x, 200, host_json(api, gpu_host(api->in.gpu)));
}

// clang-format off
const struct route system_routes[] = {
    { "GET", "/api/v1/system/gpu",             SCOPE_ADMIN, handle_devices,   "The devices: every GPU, or the CPU where there is none.",
      { NULL, "GPUInfoList", "200 422", PAGING_QUERY " vendor:string status:string" } },
    { "GET", "/api/v1/system/gpu/{device_id}", SCOPE_ADMIN, handle_device,    "One device, by its index.",
      { NULL, "GPUInfo", "200 404 422", NULL } },
    { "GET", "/api/v1/system/status",          SCOPE_ADMIN, handle_overview,  "Models and GPUs in a few figures.",
      { NULL, "SystemOverview", "200", NULL } },
    { "GET", "/api/v1/system/overview",        SCOPE_ADMIN, handle_overview,  "The same as status.",
      { NULL, "SystemOverview", "200", NULL } },
    { "GET", "/api/v1/system/resources",       SCOPE_ADMIN, handle_resources, "How busy the host is: CPU, memory, disk, network.",
      { NULL, "SystemResourceMetrics", "200", NULL } },
    { "GET", "/api/v1/system/info",            SCOPE_ADMIN, handle_system_info, "What the host is: its name, kernel, processors, memory and disk; and berth's version.",
      { NULL, "SystemInfo", "200", NULL } },
    { "GET", "/api/v1/system/logs",            SCOPE_ADMIN, handle_system_logs, "The last lines of berth's own log; with follow=1 as text, and what is written from then on.",
      { NULL, "SystemLogs text/plain", "200 422 503", "lines:integer level:string since:string q:string follow:boolean" } },
    { "GET", "/api/v1/system/health",          SCOPE_ADMIN, handle_system_health, "Tells whether the store, the devices, the disk and the memory are well.",
      { NULL, "SystemHealth", "200 503", NULL } },
    { "GET", "/api/system/metrics",            SCOPE_ADMIN, handle_resources, "The same as resources.",
      { NULL, "SystemResourceMetrics", "200", NULL } },
};
// clang-format on
const size_t system_route_count = ARRAY_SIZE(system_routes);
