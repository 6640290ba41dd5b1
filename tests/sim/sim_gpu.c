// SPDX-License-Identifier: Apache-2.0
/*
 * Made-up devices, and the room that reads them: every few seconds and when it is asked to, a
 * reading is taken, and told a moment later.
 */
#include "sim_gpu.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"

enum { INTERVAL_MS = 5000 };

/* What berth knows. */
struct gpu {
    struct sim_machine *machine;
    struct gpu_device known[SIM_DEVICES_MAX];
    bool shown[SIM_DEVICES_MAX];
    struct gpu_device read[SIM_DEVICES_MAX]; /* the reading under way */
    bool seen[SIM_DEVICES_MAX];
    struct timer interval, reading;
    struct notify signal;
};

// clang-format off
static const struct option_row rows[] = {
    { "gpu.interval", OPTION_DURATION, "5s", 100, 3600000, NULL, true, false,
      "How often devices are read." },
};
// clang-format on

const struct option_table gpu_options = { rows, ARRAY_SIZE(rows) };

/* ---- the machine ---- */

struct sim_machine *sim_machine_create(struct world *world)
{
    struct sim_machine *m = xcalloc(1, sizeof(*m));

    m->world = world;
    m->host = (struct gpu_host){ .sampled_wall_ms = world_wall_ms(world),
                                 .cores = 8,
                                 .memory_total_bytes = 1ULL << 40,
                                 .memory_used_bytes = 1ULL << 30 };
    return m;
}

struct sim_device *sim_machine_add(struct sim_machine *m, enum gpu_vendor vendor, uint64_t bytes)
{
    struct sim_device *d = &m->devices[m->count];
    struct gpu_device *f = &d->facts;

    *d = (struct sim_device){ .present = true, .tells_bytes = true, .machine = m };
    list_init(&d->holdings);
    *f = (struct gpu_device){ .index = (int)m->count, .vendor = vendor };
    for (unsigned i = 0; i < m->count; i++) {
        f->vendor_index += m->devices[i].facts.vendor == vendor;
    }
    f->memory_total_bytes = bytes;
    f->utilization = f->temperature_c = f->power_w = f->power_limit_w = GPU_NOT_TOLD;
    f->clock_mhz = f->memory_clock_mhz = GPU_NOT_TOLD;
    snprintf(f->id, sizeof(f->id), "SIM-%u", m->count);
    snprintf(f->name, sizeof(f->name), "Simulated %u", m->count);
    m->count++;
    return d;
}

static void drop(struct sim_holding *h)
{
    timer_stop(&h->end);
    list_remove(&h->node);
    free(h);
}

struct sim_machine *sim_machine_destroy(struct sim_machine *m)
{
    for (unsigned i = 0; i < m->count; i++) {
        struct sim_holding *h, *tmp;

        list_for_each_safe (h, tmp, &m->devices[i].holdings, node) {
            drop(h);
        }
    }
    free(m);
    return NULL;
}

uint64_t sim_device_used(const struct sim_device *d)
{
    const struct sim_holding *h;
    uint64_t used = 0;

    list_for_each (h, &d->holdings, node) {
        used += h->bytes;
    }
    return used;
}

uint64_t sim_device_free(const struct sim_device *d)
{
    return d->facts.memory_total_bytes - sim_device_used(d);
}

uint64_t sim_device_lingering(const struct sim_device *d, uint64_t within_ms)
{
    const uint64_t now = world_now_ms(d->machine->world);
    const struct sim_holding *h;
    uint64_t bytes = 0;

    list_for_each (h, &d->holdings, node) {
        bytes += h->pid == 0 && (within_ms == 0 || h->ended_ms + within_ms > now) ? h->bytes : 0;
    }
    return bytes;
}

static void on_given_back(void *arg)
{
    drop(arg);
}

bool sim_device_take(struct sim_device *d, int64_t pid, uint64_t bytes)
{
    struct sim_holding *h;

    if (!d->present || bytes > sim_device_free(d)) {
        return false;
    }
    h = xcalloc(1, sizeof(*h));
    *h = (struct sim_holding){ .pid = pid, .bytes = bytes, .device = d };
    timer_init(&h->end, d->machine->world, "sim.linger", on_given_back, h);
    list_append(&d->holdings, &h->node);
    return true;
}

void sim_machine_release(struct sim_machine *m, int64_t pid, uint64_t linger_ms)
{
    for (unsigned i = 0; i < m->count; i++) {
        struct sim_holding *h, *tmp;

        list_for_each_safe (h, tmp, &m->devices[i].holdings, node) {
            if (h->pid != pid) {
                continue;
            }
            if (linger_ms == 0) {
                drop(h);
                continue;
            }
            h->pid = 0;
            h->ended_ms = world_now_ms(m->world);
            timer_start(&h->end, linger_ms);
        }
    }
}

void sim_machine_flush(struct sim_machine *m)
{
    for (unsigned i = 0; i < m->count; i++) {
        struct sim_holding *h, *tmp;

        list_for_each_safe (h, tmp, &m->devices[i].holdings, node) {
            if (h->pid == 0) {
                drop(h);
            }
        }
    }
}

/* ---- a reading ---- */

static void read_processes(const struct sim_device *d, struct gpu_device *r)
{
    const struct sim_holding *h;

    list_for_each (h, &d->holdings, node) {
        if (h->pid == 0) {
            continue;
        }
        r->processes = xrealloc(r->processes, (r->process_count + 1) * sizeof(*r->processes));
        r->processes[r->process_count++] = (struct gpu_process){
            .pid = h->pid,
            .memory_bytes = d->tells_bytes ? h->bytes : 0,
            .memory_known = d->tells_bytes,
        };
    }
}

/* As the real room does. */
static void set_foreign(const struct sim_machine *m, struct gpu_device *d)
{
    uint64_t ours = 0, others = 0;
    bool all_told = true;

    for (size_t i = 0; i < d->process_count; i++) {
        struct gpu_process *p = &d->processes[i];

        p->ours = m->is_ours && m->is_ours(m->arg, p->pid);
        ours += p->ours ? p->memory_bytes : 0;
        others += p->ours ? 0 : p->memory_bytes;
        all_told = all_told && (p->memory_known || !p->ours);
    }
    d->foreign_bytes = all_told ? d->memory_used_bytes - MIN_OF(ours, d->memory_used_bytes)
                                : MIN_OF(others, d->memory_used_bytes);
}

static void forget(struct gpu_device *d)
{
    free(d->processes);
    d->processes = NULL;
    d->process_count = 0;
}

static void take_reading(struct gpu *g)
{
    for (unsigned i = 0; i < g->machine->count; i++) {
        const struct sim_device *d = &g->machine->devices[i];
        struct gpu_device *r = &g->read[i];

        forget(r);
        *r = d->facts;
        g->seen[i] = d->present;
        r->memory_used_bytes = sim_device_used(d);
        r->memory_free_bytes = r->memory_total_bytes - r->memory_used_bytes;
        read_processes(d, r);
    }
}

static void tell(struct gpu *g, enum gpu_change_kind kind, unsigned i)
{
    notify_emit(&g->signal, &(struct gpu_change){ .kind = kind, .device = &g->known[i] });
}

static void learn(struct gpu *g, unsigned i, bool first)
{
    const bool was_shown = g->shown[i];

    g->shown[i] = g->seen[i];
    if (g->seen[i]) {
        forget(&g->known[i]);
        g->known[i] = g->read[i];
        g->read[i].processes = NULL;
        g->read[i].process_count = 0;
        set_foreign(g->machine, &g->known[i]);
        g->known[i].sampled_wall_ms = world_wall_ms(g->machine->world);
    }
    if (first) {
        return;
    }
    if (was_shown != g->seen[i]) {
        tell(g, g->seen[i] ? GPU_APPEARED : GPU_VANISHED, i);
    }
    if (g->seen[i]) {
        tell(g, GPU_SAMPLED, i);
    }
}

static void on_read(void *arg)
{
    struct gpu *g = arg;

    for (unsigned i = 0; i < g->machine->count; i++) {
        learn(g, i, false);
    }
}

void gpu_sample_now(struct gpu *g)
{
    if (!timer_active(&g->reading)) {
        take_reading(g);
        timer_start(&g->reading,
                    world_random_below(g->machine->world, g->machine->slowness_ms + 1));
    }
}

static void on_interval(void *arg)
{
    struct gpu *g = arg;

    gpu_sample_now(g);
    timer_start(&g->interval, INTERVAL_MS);
}

struct gpu *sim_gpu_open(struct sim_machine *m)
{
    struct gpu *g = xcalloc(1, sizeof(*g));

    g->machine = m;
    m->gpu = g;
    notify_init(&g->signal);
    timer_init(&g->interval, m->world, "sim.gpu", on_interval, g);
    timer_init(&g->reading, m->world, "sim.reading", on_read, g);
    take_reading(g);
    for (unsigned i = 0; i < m->count; i++) {
        learn(g, i, true);
    }
    timer_start(&g->interval, INTERVAL_MS);
    return g;
}

struct gpu *gpu_destroy(struct gpu *g)
{
    timer_stop(&g->interval);
    timer_stop(&g->reading);
    for (unsigned i = 0; i < g->machine->count; i++) {
        forget(&g->known[i]);
        forget(&g->read[i]);
    }
    g->machine->gpu = NULL;
    free(g);
    return NULL;
}

/* ---- the door ---- */

int gpu_create(const struct gpu_in *in, struct gpu **ret, struct error *reterr)
{
    return error_set(reterr, -ENOSYS, "devices are made by sim_gpu_open here");
}

void gpu_start(struct gpu *g)
{
}

void gpu_reconfigure(struct gpu *g, const struct config *config)
{
}

bool gpu_ready(const struct gpu *g)
{
    return true;
}

const struct gpu_device *gpu_next(const struct gpu *g, size_t *cursor)
{
    while (*cursor < g->machine->count) {
        const size_t i = (*cursor)++;

        if (g->shown[i]) {
            return &g->known[i];
        }
    }
    return NULL;
}

const struct gpu_device *gpu_find(const struct gpu *g, int index)
{
    return index >= 0 && index < (int)g->machine->count && g->shown[index] ? &g->known[index]
                                                                           : NULL;
}

const struct gpu_device *gpu_of_vendor(const struct gpu *g, enum gpu_vendor vendor, int index)
{
    const struct gpu_device *d;
    size_t cursor = 0;

    while ((d = gpu_next(g, &cursor))) {
        if (d->vendor == vendor && d->vendor_index == index) {
            return d;
        }
    }
    return NULL;
}

unsigned gpu_count(const struct gpu *g, enum gpu_vendor vendor)
{
    const struct gpu_device *d;
    size_t cursor = 0;
    unsigned n = 0;

    while ((d = gpu_next(g, &cursor))) {
        n += d->vendor == vendor;
    }
    return n;
}

bool gpu_is_scripted(const struct gpu *g)
{
    return true;
}

const struct gpu_host *gpu_host(const struct gpu *g)
{
    return &g->machine->host;
}

size_t gpu_sample_count(const struct gpu *g, int index)
{
    return 0;
}

const struct gpu_sample *gpu_sample_at(const struct gpu *g, int index, size_t i)
{
    return NULL;
}

const char *gpu_vendor_name(enum gpu_vendor vendor)
{
    static const char *const names[] = { "nvidia", "amd", "intel", "unknown" };

    return names[vendor];
}

int gpu_vendor_from_string(const char *s)
{
    for (int i = 0; i < GPU_VENDOR_MAX_; i++) {
        if (str_eq(gpu_vendor_name((enum gpu_vendor)i), s)) {
            return i;
        }
    }
    return -EINVAL;
}

struct notify *gpu_signal(struct gpu *g)
{
    return &g->signal;
}
