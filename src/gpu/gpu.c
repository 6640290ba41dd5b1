// SPDX-License-Identifier: Apache-2.0
/*
 * The room: rounds of readings, and the list that they are merged into. A device keeps its slot,
 * and so its index, for as long as berth runs. No index is given before every probe has answered
 * or hangs, so that the order is the same at each start.
 */
#include "gpu/gpu.h"

#include <libgen.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/worker.h"
#include "gpu/gpu_probe.h"
#include "gpu/history.h"

enum { SOURCES_MAX = 3 };

struct slot {
    struct gpu_device device;
    struct source *source;
    bool present;
    bool met; /* by the merge in hand */
    struct gpu_history history;
};

/* A probe with its thread. */
struct source {
    struct gpu *gpu;
    struct gpu_probe probe;
    struct worker *worker;
    struct timer limit;
    bool in_flight, hangs, answered, holds_first;
    struct gpu_reading first; /* held back until every source has answered */
    struct error last_error;
};

/* A reading on its way: the thread's while it runs. */
struct look {
    struct job job;
    struct source *source;  /* the loop's */
    struct gpu_probe probe; /* freed with the look when it is lost */
    uint64_t elapsed_ms;
    struct gpu_reading reading;
};

struct gpu {
    struct gpu_in in;
    struct timer round;
    uint64_t made_ms, interval_ms, timeout_ms;
    bool ready, scripted;
    struct source sources[SOURCES_MAX];
    size_t source_count;
    struct slot **slots; /* by index */
    size_t slot_count;
    struct slot cpu; /* the host: listed while there is no slot */
    struct gpu_host host;
    struct notify signal;
};

// clang-format off
static const struct option_row rows[] = {
    { "gpu.interval", OPTION_DURATION, "5s", 100, 3600000, NULL, true, false,
      "How often the devices are looked at." },
    { "gpu.timeout", OPTION_DURATION, "10s", 100, 3600000, NULL, true, false,
      "How long a look may take; after that the devices are unresponsive until it ends." },
    { "gpu.nvml", OPTION_STRING, "libnvidia-ml.so.1", 0, 0, NULL, false, false,
      "NVIDIA's management library: a name or a path; empty: NVIDIA's devices are not looked for." },
    { "gpu.sysfs", OPTION_STRING, "/sys", 0, 0, NULL, false, false,
      "Where the kernel tells of AMD's devices; empty: they are not looked for." },
    { "gpu.scripted", OPTION_STRING, "", 0, 0, NULL, false, false,
      "A YAML file of made-up devices, for tests and demonstrations: they stand in place of all GPUs. A relative path counts from the configuration's folder." },
};

static const struct metric device_metrics[] = {
    { "berth_device_up", METRIC_GAUGE, "1 while the device answers, 0 while its probe hangs.", { "device", "id", "name" } },
    { "berth_device_memory_total_bytes", METRIC_GAUGE, "Memory of the device.", { "device", "id", "name" } },
    { "berth_device_memory_used_bytes", METRIC_GAUGE, "Memory of the device in use, by anybody.", { "device", "id", "name" } },
    { "berth_device_memory_foreign_bytes", METRIC_GAUGE, "Of that, what no process of berth's holds.", { "device", "id", "name" } },
    { "berth_device_utilization_percent", METRIC_GAUGE, "How busy the device is.", { "device", "id", "name" } },
    { "berth_device_temperature_celsius", METRIC_GAUGE, "Temperature of the device.", { "device", "id", "name" } },
    { "berth_device_power_watts", METRIC_GAUGE, "What the device draws.", { "device", "id", "name" } },
};

static const char *const vendor_names[GPU_VENDOR_MAX_] = {
    [GPU_NVIDIA] = "nvidia", [GPU_AMD] = "amd", [GPU_INTEL] = "intel", [GPU_UNKNOWN] = "unknown",
};
// clang-format on

const struct option_table gpu_options = { rows, ARRAY_SIZE(rows) };

const char *gpu_vendor_name(enum gpu_vendor vendor)
{
    return vendor_names[vendor];
}

int gpu_vendor_from_string(const char *s)
{
    for (int i = 0; i < GPU_VENDOR_MAX_; i++) {
        if (str_eq(vendor_names[i], s)) {
            return i;
        }
    }
    return -EINVAL;
}

/* ---- figures ---- */

static void set_metrics(struct gpu *g, const struct gpu_device *d)
{
    char index[16];
    const char *const labels[] = { index, d->id, d->name };
    const double values[] = { !d->unresponsive,
                              (double)d->memory_total_bytes,
                              (double)d->memory_used_bytes,
                              (double)d->foreign_bytes,
                              d->utilization,
                              d->temperature_c,
                              d->power_w };

    snprintf(index, sizeof(index), "%d", d->index);
    for (size_t i = 0; i < ARRAY_SIZE(device_metrics); i++) {
        if (values[i] >= 0) { /* else it is not told */
            metric_set(metrics_cell(g->in.metrics, &device_metrics[i], labels), values[i]);
        }
    }
}

/* Whatever is used and not by us. Where a process of ours does not tell its memory, only what
 * others are seen to hold is surely foreign. */
static void set_foreign(const struct gpu *g, struct gpu_device *d)
{
    uint64_t ours = 0, others = 0;
    bool all_told = true;

    for (size_t i = 0; i < d->process_count; i++) {
        struct gpu_process *p = &d->processes[i];

        p->ours = g->in.is_ours && g->in.is_ours(g->in.arg, p->pid);
        ours += p->ours ? p->memory_bytes : 0;
        others += p->ours ? 0 : p->memory_bytes;
        all_told = all_told && (p->memory_known || !p->ours);
    }
    d->foreign_bytes = all_told ? d->memory_used_bytes - MIN_OF(ours, d->memory_used_bytes)
                                : MIN_OF(others, d->memory_used_bytes);
}

/* ---- the list ---- */

static void tell(struct gpu *g, enum gpu_change_kind kind, const struct gpu_device *d)
{
    notify_emit(&g->signal, &(struct gpu_change){ .kind = kind, .device = d });
}

static void log_device(const struct gpu_device *d, const char *what)
{
    log_info("gpu", d->id, what, kv_int("index", d->index), kv_str("name", d->name),
             kv_int("memory_mib", (int64_t)(d->memory_total_bytes >> 20)));
}

static struct slot *find_slot(struct gpu *g, const char *id)
{
    for (size_t i = 0; i < g->slot_count; i++) {
        if (str_eq(g->slots[i]->device.id, id)) {
            return g->slots[i];
        }
    }
    return NULL;
}

static struct slot *add_slot(struct gpu *g, struct source *source, const struct gpu_device *d)
{
    struct slot *slot = xcalloc(1, sizeof(*slot));

    memcpy(slot->device.id, d->id, sizeof(d->id));
    slot->source = source;
    slot->device.vendor = d->vendor;
    slot->device.index = (int)g->slot_count;
    for (size_t i = 0; i < g->slot_count; i++) {
        slot->device.vendor_index += g->slots[i]->device.vendor == d->vendor;
    }
    g->slots = xrealloc(g->slots, (g->slot_count + 1) * sizeof(*g->slots));
    g->slots[g->slot_count++] = slot;
    return slot;
}

/* Takes the reading's figures and processes. */
static void take_device(struct gpu *g, struct slot *slot, struct gpu_device *d)
{
    d->index = slot->device.index;
    d->vendor_index = slot->device.vendor_index;
    d->sampled_wall_ms = world_wall_ms(g->in.world);
    free(slot->device.processes);
    slot->device = *d;
    d->processes = NULL;
    d->process_count = 0;
    set_foreign(g, &slot->device);
    gpu_history_add(&slot->history, &slot->device);
}

/* first: what is there at the first reading has not appeared. */
static void merge_device(struct gpu *g, struct source *source, struct gpu_device *d, bool first)
{
    struct slot *slot = find_slot(g, d->id);
    bool fresh;

    if (!slot && g->slot_count >= GPU_DEVICES_MAX) {
        return;
    }
    slot = slot ? slot : add_slot(g, source, d);
    slot->source = source;
    if (d->absent) {
        return;
    }
    fresh = !slot->present;
    if (!fresh && !str_eq(slot->device.name, d->name)) {
        metrics_forget(g->in.metrics, "id", slot->device.id);
    }
    take_device(g, slot, d);
    slot->present = slot->met = true;
    set_metrics(g, &slot->device);
    if (fresh) {
        log_device(&slot->device, first ? "device found" : "device appeared");
    }
    if (fresh && !first) {
        tell(g, GPU_APPEARED, &slot->device);
    }
    tell(g, GPU_SAMPLED, &slot->device);
}

static void vanish(struct gpu *g, struct slot *slot)
{
    slot->present = false;
    metrics_forget(g->in.metrics, "id", slot->device.id);
    log_warn("gpu", slot->device.id, "device vanished", kv_int("index", slot->device.index));
    tell(g, GPU_VANISHED, &slot->device);
}

/* The host's own device: only shown where there is nothing else. */
static void merge_host(struct gpu *g, struct source *source, struct gpu_reading *reading)
{
    reading->host.sampled_wall_ms = world_wall_ms(g->in.world);
    g->host = reading->host;
    if (reading->count == 0) {
        return;
    }
    g->cpu.source = source;
    g->cpu.present = true;
    take_device(g, &g->cpu, &reading->devices[0]);
    if (g->slot_count > 0) {
        return;
    }
    set_metrics(g, &g->cpu.device);
    tell(g, GPU_SAMPLED, &g->cpu.device);
}

static void merge_cards(struct gpu *g, struct source *source, struct gpu_reading *reading,
                        bool first)
{
    const bool were_none = g->slot_count == 0;

    for (size_t i = 0; i < g->slot_count; i++) {
        g->slots[i]->met = false;
    }
    for (size_t i = 0; i < reading->count; i++) {
        merge_device(g, source, &reading->devices[i], first);
    }
    for (size_t i = 0; i < g->slot_count; i++) {
        if (g->slots[i]->source == source && g->slots[i]->present && !g->slots[i]->met) {
            vanish(g, g->slots[i]);
        }
    }
    if (were_none && g->slot_count > 0) {
        metrics_forget(g->in.metrics, "id", "cpu");
    }
}

static void merge(struct source *source, struct gpu_reading *reading, bool first)
{
    if (reading->has_host) {
        merge_host(source->gpu, source, reading);
    } else {
        merge_cards(source->gpu, source, reading, first);
    }
    gpu_reading_finish(reading);
}

/* ---- a probe that hangs ---- */

static void set_responsive(struct source *source, bool responsive)
{
    struct gpu *g = source->gpu;

    for (size_t i = 0; i <= g->slot_count; i++) {
        struct slot *slot = i < g->slot_count ? g->slots[i] : &g->cpu;

        if (slot->source != source || !slot->present || slot->device.unresponsive == !responsive) {
            continue;
        }
        slot->device.unresponsive = !responsive;
        if (slot == &g->cpu && g->slot_count > 0) {
            continue;
        }
        set_metrics(g, &slot->device);
        tell(g, responsive ? GPU_RESPONSIVE : GPU_UNRESPONSIVE, &slot->device);
    }
}

static void become_ready_when_all_answered(struct gpu *g)
{
    for (size_t i = 0; i < g->source_count; i++) {
        if (!g->sources[i].answered) {
            return;
        }
    }
    g->ready = true;
    for (size_t i = 0; i < g->source_count; i++) {
        if (g->sources[i].holds_first) {
            g->sources[i].holds_first = false;
            merge(&g->sources[i], &g->sources[i].first, true);
        }
    }
    tell(g, GPU_READY, NULL);
}

static void on_limit(void *arg)
{
    struct source *source = arg;

    log_warn("gpu", source->probe.driver->name, "the probe does not answer",
             kv_int("after_ms", (int64_t)source->gpu->timeout_ms));
    source->hangs = true;
    set_responsive(source, false);
    if (!source->answered) {
        source->answered = true;
        become_ready_when_all_answered(source->gpu);
    }
}

/* ---- rounds ---- */

static void log_error_once(struct source *source, const struct error *e)
{
    if (e->code != 0 && !str_eq(e->text, source->last_error.text)) {
        log_warn("gpu", source->probe.driver->name, "the devices were not all read",
                 kv_str("error", e->text));
    }
    source->last_error = *e;
}

static void run_look(struct job *job)
{
    struct look *look = container_of(job, struct look, job);

    look->probe.driver->read(look->probe.state, look->elapsed_ms, &look->reading);
}

static void on_look_done(struct job *job)
{
    struct look *look = container_of(job, struct look, job);
    struct source *source = look->source;
    struct gpu *g = source->gpu;

    timer_stop(&source->limit);
    source->in_flight = false;
    log_error_once(source, &look->reading.error);
    if (source->hangs) {
        source->hangs = false;
        log_info("gpu", source->probe.driver->name, "the probe answers again");
        set_responsive(source, true);
    }
    if (g->ready) {
        merge(source, &look->reading, false);
    } else {
        gpu_reading_finish(&source->first);
        source->first = look->reading;
        source->holds_first = source->answered = true;
        become_ready_when_all_answered(g);
    }
    free(look);
}

/* On the thread, when nobody waits for it any more: the room is gone. */
static void on_look_lost(struct job *job)
{
    struct look *look = container_of(job, struct look, job);

    gpu_reading_finish(&look->reading);
    look->probe.driver->destroy(look->probe.state);
    free(look);
}

static void begin_look(struct source *source)
{
    struct gpu *g = source->gpu;
    struct look *look;

    if (source->in_flight) {
        return;
    }
    look = xcalloc(1, sizeof(*look));
    look->job = (struct job){ .run = run_look, .done = on_look_done, .lost = on_look_lost };
    look->source = source;
    look->probe = source->probe;
    look->elapsed_ms = world_now_ms(g->in.world) - g->made_ms;
    if (worker_submit(source->worker, &look->job) < 0) {
        free(look);
        return;
    }
    source->in_flight = true;
    timer_start(&source->limit, g->timeout_ms);
}

void gpu_sample_now(struct gpu *g)
{
    for (size_t i = 0; i < g->source_count; i++) {
        begin_look(&g->sources[i]);
    }
}

static void on_round(void *arg)
{
    struct gpu *g = arg;

    gpu_sample_now(g);
    timer_start(&g->round, g->interval_ms);
}

/* ---- its life ---- */

static void add_source(struct gpu *g, struct gpu_probe probe)
{
    struct source *source = &g->sources[g->source_count++];

    source->gpu = g;
    source->probe = probe;
    source->worker = worker_create(
        g->in.world,
        &(struct worker_options){ .name = probe.driver->name, .threads = 1, .max_queued = 1 });
    timer_init(&source->limit, g->in.world, "gpu probe limit", on_limit, source);
}

/* Owned by the caller. */
static char *script_path(const struct config *config)
{
    const char *path = config_string(config, "gpu.scripted");
    _cleanup_(freep) char *copy = xstrdup_opt(config_path(config));

    return path[0] == '/' || !copy ? xstrdup(path) : xasprintf("%s/%s", dirname(copy), path);
}

static int add_script(struct gpu *g, struct error *reterr)
{
    _cleanup_(freep) char *path = script_path(g->in.config);
    struct gpu_reading reading = { 0 };
    struct gpu_probe probe;
    int r;

    r = gpu_scripted_probe(path, g->in.proc, &probe, reterr);
    if (r < 0) {
        return error_prefix(reterr, "gpu.scripted: ");
    }
    g->scripted = true;
    add_source(g, probe);
    probe.driver->read(probe.state, 0, &reading);
    merge(&g->sources[0], &reading, true);
    g->sources[0].answered = true;
    return 0;
}

static void add_real(struct gpu *g)
{
    const char *library = config_string(g->in.config, "gpu.nvml");
    const char *sysfs = config_string(g->in.config, "gpu.sysfs");

    if (library[0]) {
        add_source(g, gpu_nvml_probe(library));
    }
    if (sysfs[0]) {
        add_source(g, gpu_amd_probe(sysfs));
    }
}

int gpu_create(const struct gpu_in *in, struct gpu **ret, struct error *reterr)
{
    struct gpu *g = xcalloc(1, sizeof(*g));
    int r = 0;

    g->in = *in;
    g->in.proc = in->proc ? in->proc : "/proc";
    g->in.cgroup = in->cgroup ? in->cgroup : "/sys/fs/cgroup";
    g->made_ms = world_now_ms(in->world);
    g->host.cpu_percent = GPU_NOT_TOLD;
    notify_init(&g->signal);
    timer_init(&g->round, in->world, "gpu round", on_round, g);
    metrics_declare(in->metrics, device_metrics, ARRAY_SIZE(device_metrics));
    gpu_reconfigure(g, in->config);
    if (config_string(in->config, "gpu.scripted")[0]) {
        r = add_script(g, reterr);
    } else {
        add_real(g);
    }
    if (r < 0) {
        gpu_destroy(g);
        return r;
    }
    add_source(g, gpu_host_probe(g->in.proc, g->in.cgroup, "."));
    *ret = g;
    return 0;
}

void gpu_start(struct gpu *g)
{
    on_round(g);
}

/* A look that runs might hang: it is left to itself, and frees its probe when it ends. */
static void end_source(struct source *source)
{
    const bool in_flight = source->in_flight;

    timer_stop(&source->limit);
    if (in_flight) {
        source->worker = worker_abandon(source->worker);
    } else {
        source->worker = worker_destroy(source->worker);
    }
    if (!in_flight || !source->in_flight) {
        source->probe.driver->destroy(source->probe.state);
    }
    gpu_reading_finish(&source->first);
}

struct gpu *gpu_destroy(struct gpu *g)
{
    if (!g) {
        return NULL;
    }
    timer_stop(&g->round);
    for (size_t i = 0; i < g->source_count; i++) {
        end_source(&g->sources[i]);
    }
    for (size_t i = 0; i < g->slot_count; i++) {
        free(g->slots[i]->device.processes);
        gpu_history_finish(&g->slots[i]->history);
        free(g->slots[i]);
    }
    free(g->cpu.device.processes);
    gpu_history_finish(&g->cpu.history);
    free(g->slots);
    free(g);
    return NULL;
}

void gpu_reconfigure(struct gpu *g, const struct config *config)
{
    const uint64_t interval_ms = config_duration_ms(config, "gpu.interval");

    g->in.config = config;
    g->timeout_ms = config_duration_ms(config, "gpu.timeout");
    if (interval_ms != g->interval_ms && timer_active(&g->round)) {
        timer_start(&g->round, interval_ms);
    }
    g->interval_ms = interval_ms;
}

struct notify *gpu_signal(struct gpu *g)
{
    return &g->signal;
}

/* ---- what there is ---- */

bool gpu_ready(const struct gpu *g)
{
    return g->ready;
}

static const struct slot *slot_at(const struct gpu *g, size_t index)
{
    const struct slot *slot = NULL;

    if (g->slot_count == 0) {
        slot = index == 0 ? &g->cpu : NULL;
    } else if (index < g->slot_count) {
        slot = g->slots[index];
    }
    return slot && slot->present ? slot : NULL;
}

const struct gpu_device *gpu_find(const struct gpu *g, int index)
{
    const struct slot *slot = index < 0 ? NULL : slot_at(g, (size_t)index);

    return slot ? &slot->device : NULL;
}

const struct gpu_device *gpu_next(const struct gpu *g, size_t *cursor)
{
    while (*cursor < MAX_OF(g->slot_count, (size_t)1)) {
        const struct slot *slot = slot_at(g, (*cursor)++);

        if (slot) {
            return &slot->device;
        }
    }
    return NULL;
}

const struct gpu_device *gpu_of_vendor(const struct gpu *g, enum gpu_vendor vendor, int index)
{
    const struct gpu_device *d;
    size_t cursor = 0;

    while ((d = gpu_next(g, &cursor))) {
        if (!d->cpu && d->vendor == vendor && d->vendor_index == index) {
            return d;
        }
    }
    return NULL;
}

unsigned gpu_count(const struct gpu *g, enum gpu_vendor vendor)
{
    const struct gpu_device *d;
    unsigned count = 0;
    size_t cursor = 0;

    while ((d = gpu_next(g, &cursor))) {
        count += !d->cpu && d->vendor == vendor;
    }
    return count;
}

bool gpu_is_scripted(const struct gpu *g)
{
    return g->scripted;
}

const struct gpu_host *gpu_host(const struct gpu *g)
{
    return &g->host;
}

size_t gpu_sample_count(const struct gpu *g, int index)
{
    const struct slot *slot = index < 0 ? NULL : slot_at(g, (size_t)index);

    return slot ? slot->history.count : 0;
}

const struct gpu_sample *gpu_sample_at(const struct gpu *g, int index, size_t i)
{
    const struct slot *slot = index < 0 ? NULL : slot_at(g, (size_t)index);

    return slot ? gpu_history_at(&slot->history, i) : NULL;
}
