// SPDX-License-Identifier: Apache-2.0
/*
 * One timer looks at everything. Counters of the gateway are sums since berth started: what was
 * seen of them last is kept for each model, so that a sample tells of its own step.
 */
#include "monitor/monitor.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "gateway/history.h"
#include "monitor/processor_time.h"
#include "monitor/series.h"

/* What an instance adds to its model's next sample. */
struct tally {
    bool any;
    uint64_t ticks, memory_bytes;
    double gpu_percent; /* the sum of gpu_count figures */
    unsigned gpu_count;
};

struct watched {
    int64_t model_id;
    struct model_figures seen;
    uint64_t ticks; /* of its engines, at the last look */
    struct tally tally;
    struct series samples;
};

struct monitor {
    struct monitor_in in;
    int64_t made_wall_ms;
    uint64_t last_ms;       /* of the last look */
    uint64_t seen_requests; /* of history_total, then */
    struct notify signal;
    struct series host, service;
    struct watched *watched; /* by ascending model_id */
    size_t count, cap, series_count;
    struct timer step;
};

/* ---- who is watched ---- */

static size_t find_place(const struct monitor *m, int64_t model_id)
{
    size_t low = 0, high = m->count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;

        if (m->watched[middle].model_id < model_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct watched *find(const struct monitor *m, int64_t model_id)
{
    const size_t at = find_place(m, model_id);

    return at < m->count && m->watched[at].model_id == model_id ? &m->watched[at] : NULL;
}

static struct watched *find_or_make(struct monitor *m, int64_t model_id)
{
    const size_t at = find_place(m, model_id);
    struct watched *w = find(m, model_id);

    if (w) {
        return w;
    }
    if (m->count == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 16;
        m->watched = xrealloc(m->watched, m->cap * sizeof(*m->watched));
    }
    w = &m->watched[at];
    memmove(w + 1, w, (m->count - at) * sizeof(*w));
    m->count++;
    *w = (struct watched){ .model_id = model_id };
    series_init(&w->samples, sizeof(struct monitor_sample), MONITOR_SAMPLES_MAX);
    return w;
}

static void finish_series(struct monitor *m, struct watched *w)
{
    m->series_count -= w->samples.count > 0;
    series_finish(&w->samples);
}

/* Models that are no more. */
static void forget_removed(struct monitor *m)
{
    size_t kept = 0;

    for (size_t i = 0; i < m->count; i++) {
        if (models_get(m->in.models, m->watched[i].model_id)) {
            m->watched[kept++] = m->watched[i];
        } else {
            finish_series(m, &m->watched[i]);
        }
    }
    m->count = kept;
}

/* ---- looking ---- */

static void look_at_host(struct monitor *m)
{
    const struct gpu_host *now = gpu_host(m->in.gpu), *last = series_last(&m->host);

    if (now->sampled_wall_ms != (last ? last->sampled_wall_ms : 0)) {
        series_add(&m->host, now);
    }
}

static void tally_devices(const struct monitor *m, const struct place *place, struct tally *t)
{
    for (unsigned i = 0; i < place->count; i++) {
        const struct gpu_device *d = gpu_find(m->in.gpu, place->shares[i].device);

        if (d && d->utilization >= 0) {
            t->gpu_percent += d->utilization;
            t->gpu_count++;
        }
    }
}

static void tally_instances(struct monitor *m)
{
    const char *proc = m->in.proc ? m->in.proc : "/proc";
    const struct instance *inst;
    size_t cursor = 0;

    while ((inst = engines_next(m->in.engines, &cursor))) {
        struct tally *t = &find_or_make(m, inst->model_id)->tally;

        t->any = true;
        t->ticks += processor_time_ticks(proc, inst->process);
        t->memory_bytes += place_bytes(&inst->taken);
        tally_devices(m, &inst->place, t);
    }
}

/* What has come since `seen`. A model that was defined anew under its name counts from zero. */
static struct model_figures since_seen(const struct model_figures *seen,
                                       const struct model_figures *now)
{
    if (now->requests < seen->requests) {
        return *now;
    }
    return (struct model_figures){ .requests = now->requests - seen->requests,
                                   .errors = now->errors - seen->errors,
                                   .total_response_ms =
                                       now->total_response_ms - seen->total_response_ms,
                                   .prompt_tokens = now->prompt_tokens - seen->prompt_tokens,
                                   .output_tokens = now->output_tokens - seen->output_tokens };
}

static float cpu_percent(const struct watched *w, uint64_t elapsed_ms)
{
    const double ticks_a_ms = (double)sysconf(_SC_CLK_TCK) / 1000;

    if (w->tally.ticks <= w->ticks || w->ticks == 0 || elapsed_ms == 0) {
        return 0; /* the first look tells none; nor does one at which an engine has gone */
    }
    return (float)(100 * (double)(w->tally.ticks - w->ticks) / ticks_a_ms / (double)elapsed_ms);
}

static void add_sample(struct monitor *m, struct watched *w, const struct model_figures *fresh,
                       uint64_t elapsed_ms)
{
    const struct tally *t = &w->tally;
    const struct monitor_sample sample = {
        .wall_ms = world_wall_ms(m->in.world),
        .requests = (uint32_t)fresh->requests,
        .errors = (uint32_t)fresh->errors,
        .total_response_ms = fresh->total_response_ms,
        .active = dispatch_model_load(m->in.dispatch, w->model_id).in_flight,
        .memory_bytes = t->memory_bytes,
        .cpu_percent = cpu_percent(w, elapsed_ms),
        .gpu_percent = (float)(t->gpu_count ? t->gpu_percent / t->gpu_count : 0),
    };

    if (w->samples.count == 0 && m->series_count == MONITOR_MODELS_MAX) {
        return;
    }
    m->series_count += w->samples.count == 0;
    series_add(&w->samples, &sample);
}

static bool is_over(const struct monitor *m, const struct watched *w)
{
    const struct monitor_sample *last = series_last(&w->samples);

    return last && last->wall_ms + MONITOR_SPAN_MS < world_wall_ms(m->in.world);
}

/* What a model adds to the service's sample. */
static void sum_up(const struct monitor *m, const struct model *model,
                   const struct model_figures *fresh, struct service_sample *s)
{
    const struct dispatch_load load = dispatch_model_load(m->in.dispatch, model->id);

    s->requests += (uint32_t)fresh->requests;
    s->errors += (uint32_t)fresh->errors;
    s->prompt_tokens += fresh->prompt_tokens;
    s->output_tokens += fresh->output_tokens;
    s->in_flight += load.in_flight;
    s->waiting += load.waiting;
}

static void look_at_model(struct monitor *m, const struct model *model, uint64_t elapsed_ms,
                          struct service_sample *service)
{
    const struct model_figures now = gateway_model_figures(m->in.gateway, model->config->id);
    struct watched *w = find(m, model->id);
    struct model_figures fresh = { 0 };

    if (!w && now.requests == 0) {
        sum_up(m, model, &fresh, service);
        return;
    }
    w = w ? w : find_or_make(m, model->id);
    fresh = since_seen(&w->seen, &now);
    sum_up(m, model, &fresh, service);
    if (w->tally.any || fresh.requests > 0) {
        add_sample(m, w, &fresh, elapsed_ms);
    } else if (is_over(m, w)) {
        finish_series(m, w);
    }
    w->seen = now;
    w->ticks = w->tally.ticks;
    w->tally = (struct tally){ 0 };
}

/* The rest of the service's sample: times, and the tasks. */
static void end_service_sample(struct monitor *m, struct service_sample *s)
{
    const struct history *h = gateway_history(m->in.gateway);
    const uint64_t total = history_total(h);
    struct task_counts tasks = { 0 };

    if (m->in.tasks) {
        tasks = tasks_counts(m->in.tasks, &(struct task_filter){ .kind = TASK_OF_QUEUE });
    }
    s->wall_ms = world_wall_ms(m->in.world);
    s->tasks_pending = (uint32_t)tasks.by_state[TASK_PENDING];
    s->tasks_running = (uint32_t)tasks.by_state[TASK_RUNNING];
    service_sample_times(s, h, total - m->seen_requests);
    m->seen_requests = total;
}

static void on_step(void *arg)
{
    struct monitor *m = arg;
    const uint64_t now_ms = world_now_ms(m->in.world);
    struct service_sample service = { 0 };
    const struct model *model;
    size_t cursor = 0;

    look_at_host(m);
    tally_instances(m);
    forget_removed(m);
    while ((model = models_next(m->in.models, &cursor))) {
        look_at_model(m, model, now_ms - m->last_ms, &service);
    }
    end_service_sample(m, &service);
    series_add(&m->service, &service);
    m->last_ms = now_ms;
    notify_emit(&m->signal, &service);
    timer_start(&m->step, MONITOR_STEP_MS);
}

/* ---- telling ---- */

const struct gpu_host *monitor_host_at(const struct monitor *m, size_t i)
{
    return series_at(&m->host, i);
}

const struct service_sample *monitor_service_at(const struct monitor *m, size_t i)
{
    return series_at(&m->service, i);
}

const struct monitor_sample *monitor_model_at(const struct monitor *m, int64_t model_id, size_t i)
{
    const int64_t oldest = world_wall_ms(m->in.world) - MONITOR_SPAN_MS;
    const struct watched *w = find(m, model_id);
    const struct monitor_sample *s;
    size_t skipped = 0;

    while (w && (s = series_at(&w->samples, skipped)) && s->wall_ms < oldest) {
        skipped++; /* of one that has had nothing to tell for a while */
    }
    return w ? series_at(&w->samples, skipped + i) : NULL;
}

struct monitor_window monitor_model_window(const struct monitor *m, const struct model *model,
                                           int64_t since_wall_ms)
{
    const struct model_figures now = gateway_model_figures(m->in.gateway, model->config->id);
    const struct watched *w = find(m, model->id);
    const struct model_figures fresh =
        since_seen(w ? &w->seen : &(struct model_figures){ 0 }, &now);
    const int64_t to = world_wall_ms(m->in.world);
    struct monitor_window ret = { .to_wall_ms = to,
                                  .requests = fresh.requests,
                                  .errors = fresh.errors,
                                  .total_response_ms = fresh.total_response_ms };
    const struct monitor_sample *s;

    ret.from_wall_ms = MAX_OF(MAX_OF(since_wall_ms, to - MONITOR_SPAN_MS), m->made_wall_ms);
    for (size_t i = 0; w && (s = series_at(&w->samples, i)); i++) {
        if (s->wall_ms >= ret.from_wall_ms) {
            ret.requests += s->requests;
            ret.errors += s->errors;
            ret.total_response_ms += s->total_response_ms;
        }
    }
    return ret;
}

struct notify *monitor_signal(struct monitor *m)
{
    return &m->signal;
}

/* ---- life ---- */

struct monitor *monitor_create(const struct monitor_in *in)
{
    struct monitor *m = xcalloc(1, sizeof(*m));

    m->in = *in;
    m->made_wall_ms = world_wall_ms(in->world);
    m->last_ms = world_now_ms(in->world);
    series_init(&m->host, sizeof(struct gpu_host), MONITOR_SAMPLES_MAX);
    series_init(&m->service, sizeof(struct service_sample), MONITOR_SAMPLES_MAX);
    notify_init(&m->signal);
    timer_init(&m->step, in->world, "monitor", on_step, m);
    timer_start(&m->step, MONITOR_STEP_MS);
    return m;
}

struct monitor *monitor_destroy(struct monitor *m)
{
    if (!m) {
        return NULL;
    }
    timer_stop(&m->step);
    for (size_t i = 0; i < m->count; i++) {
        series_finish(&m->watched[i].samples);
    }
    series_finish(&m->host);
    series_finish(&m->service);
    free(m->watched);
    free(m);
    return NULL;
}
