// SPDX-License-Identifier: Apache-2.0
/* The simulated world: clock, randomness, inline workers. Time moves only when nothing is due. */
#include "base/sim.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/sim_int.h"
#include "base/str.h"

#define START_US      (3600ULL * 1000 * 1000)
#define START_WALL_MS 1767225600000LL /* 2026-01-01 */

static uint64_t sim_now_ms(struct world *w)
{
    return sim_of(w)->now_us / 1000;
}

static uint64_t sim_now_us(struct world *w)
{
    return sim_of(w)->now_us;
}

static int64_t sim_wall_ms(struct world *w)
{
    return START_WALL_MS + (int64_t)((sim_of(w)->now_us - START_US) / 1000);
}

static uint64_t next_random(struct sim_world *w)
{
    uint64_t x = w->random[0], y = w->random[1];

    w->random[0] = y;
    x ^= x << 23;
    w->random[1] = x ^ y ^ (x >> 17) ^ (y >> 26);
    return w->random[1] + y;
}

static void sim_random(struct world *base, void *out, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        uint64_t v = next_random(sim_of(base));

        memcpy((char *)out + i, &v, MIN_OF(n - i, sizeof(v)));
    }
}

static void sim_wake(struct world *w)
{
}

static void sim_on_signal(struct world *w, int signum, void (*fn)(void *, int), void *arg)
{
}

/* Runs what is due now, or moves the clock to the next thing due by `until_us`. False when there is
 * nothing left to do until then. */
static bool step(struct sim_world *w, uint64_t until_us)
{
    uint64_t due;

    if (world_run_due(&w->base, w->now_us / 1000)) {
        return true;
    }
    due = world_next_due(&w->base);
    if (due == UINT64_MAX || due > until_us / 1000) {
        return false;
    }
    if (due * 1000 > w->now_us) {
        w->now_us = due * 1000;
    }
    return true;
}

void sim_run_for(struct world *base, uint64_t ms)
{
    struct sim_world *w = sim_of(base);
    uint64_t until = w->now_us + ms * 1000;

    while (step(w, until)) {
    }
    w->now_us = until;
}

uint64_t sim_next_due_us(struct world *base)
{
    struct sim_world *w = sim_of(base);
    uint64_t due_ms = list_empty(&base->posted) ? world_next_due(base) : 0;

    return due_ms == UINT64_MAX ? UINT64_MAX : MAX_OF(due_ms * 1000, w->now_us);
}

void sim_run_to_us(struct world *base, uint64_t at_us)
{
    struct sim_world *w = sim_of(base);

    while (step(w, at_us)) {
    }
    w->now_us = MAX_OF(w->now_us, at_us);
}

bool sim_run_until(struct world *base, bool (*pred)(void *arg), void *arg, uint64_t limit_ms)
{
    struct sim_world *w = sim_of(base);
    uint64_t until = w->now_us + limit_ms * 1000;

    while (!pred(arg)) {
        if (!step(w, until)) {
            w->now_us = until;
            return pred(arg);
        }
    }
    return true;
}

static void sim_run(struct world *base)
{
    struct sim_world *w = sim_of(base);

    w->stopping = false;
    while (!w->stopping && step(w, UINT64_MAX - 1)) {
    }
}

static void sim_stop(struct world *base)
{
    sim_of(base)->stopping = true;
}

static void sim_destroy(struct world *base)
{
    struct sim_world *w = sim_of(base);
    struct sim_program_entry *e, *tmp;
    struct sim_process *p, *next;

    list_for_each_safe (p, next, &w->processes, node) {
        p->watcher = NULL;
        sim_process_exit(p, 0, 9);
    }
    for (int i = 0; i < 1000 && world_run_due(base, w->now_us / 1000); i++) {
    }
    list_for_each_safe (p, next, &w->processes, node) {
        list_remove(&p->node);
        str_list_free(p->env);
        free(p);
    }
    list_for_each_safe (e, tmp, &w->programs, node) {
        list_remove(&e->node);
        free(e->suffix);
        free(e);
    }
    world_finish(base);
    free(w);
}

/* Workers: a job runs at the next turn, in order; a batch worker gets what waits then. */

struct sim_worker {
    struct worker base;
    struct list queue;
    bool posted;
};

static void run_worker(void *arg)
{
    struct sim_worker *k = arg;
    struct list jobs;
    struct job *job;

    k->posted = false;
    list_take(&k->queue, &jobs);
    if (k->base.options.run_batch && !list_empty(&jobs)) {
        k->base.options.run_batch(&jobs, k->base.options.arg);
    } else {
        list_for_each (job, &jobs, node) {
            job->run(job);
        }
    }
    while (!list_empty(&jobs)) {
        job = list_first(&jobs, struct job, node);
        list_remove(&job->node);
        worker_finish_job(job);
    }
}

static struct worker *worker_create_sim(struct world *w, const struct worker_options *options)
{
    struct sim_worker *k = xcalloc(1, sizeof(*k));

    k->base.world = w;
    k->base.options = *options;
    list_init(&k->queue);
    return &k->base;
}

static void worker_submit_sim(struct worker *base, struct job *job)
{
    struct sim_worker *k = container_of(base, struct sim_worker, base);

    list_append(&k->queue, &job->node);
    if (!k->posted) {
        k->posted = true;
        world_post(base->world, run_worker, k);
    }
}

static void worker_destroy_sim(struct worker *base)
{
    struct sim_worker *k = container_of(base, struct sim_worker, base);
    struct posted *p, *tmp;

    while (!list_empty(&k->queue)) {
        run_worker(k);
    }
    list_for_each_safe (p, tmp, &base->world->posted, node) {
        if (p->fn == run_worker && p->arg == k) {
            list_remove(&p->node);
            free(p);
        }
    }
    free(k);
}

/* Nothing hangs here: abandoning is ending. */
static const struct worker_ops sim_worker_ops = { worker_create_sim, worker_destroy_sim,
                                                  worker_destroy_sim, worker_submit_sim };

/* Processes */

static const char *env_value(char **env, const char *name)
{
    size_t n = strlen(name);

    for (char **e = env; e && *e; e++) {
        if (strncmp(*e, name, n) == 0 && (*e)[n] == '=') {
            return *e + n + 1;
        }
    }
    return NULL;
}

static const struct sim_program_entry *find_program(struct sim_world *w,
                                                    const struct spawn_spec *spec)
{
    struct sim_program_entry *e;

    list_for_each (e, &w->programs, node) {
        for (const char *const *a = spec->argv; *a; a++) {
            if (str_ends(*a, e->suffix)) {
                return e;
            }
        }
    }
    return NULL;
}

static struct sim_process *find_process(struct sim_world *w, struct process_id id)
{
    struct sim_process *p;

    list_for_each (p, &w->processes, node) {
        if (p->id.pid == id.pid && p->id.start_time == id.start_time && !p->ended) {
            return p;
        }
    }
    return NULL;
}

static void free_process(void *arg)
{
    struct sim_process *p = arg;

    list_remove(&p->node);
    str_list_free(p->env);
    free(p);
}

static void tell_exit(void *arg)
{
    struct sim_process *p = arg;
    struct process *watcher = TAKE_PTR(p->watcher);
    struct process_exit how = p->how;

    how.known = watcher && watcher->child;
    if (!how.known) {
        how.code = how.signal = 0;
    }
    if (watcher) {
        watcher->impl = NULL;
    }
    free_process(p);
    if (watcher) {
        watcher->on_exit(watcher->owner, &how);
    }
}

void sim_process_exit(struct sim_process *p, int code, int signal)
{
    if (p->ended) {
        return;
    }
    p->ended = true;
    p->how = (struct process_exit){ .code = code, .signal = signal };
    if (p->program->finish) {
        p->program->finish(p);
    }
    world_post(p->world, tell_exit, p);
}

static char **copy_env(const char *const *envp)
{
    size_t n = 0;
    char **copy;

    while (envp && envp[n]) {
        n++;
    }
    copy = xcalloc(n + 1, sizeof(*copy));
    for (size_t i = 0; i < n; i++) {
        copy[i] = xstrdup(envp[i]);
    }
    return copy;
}

static int sim_spawn(struct world *base, const struct spawn_spec *spec, struct process *watcher,
                     struct error *reterr)
{
    struct sim_world *w = sim_of(base);
    const struct sim_program_entry *e = find_program(w, spec);
    struct sim_process *p;
    int r;

    if (!e) {
        return error_set(reterr, -ENOENT, "cannot run %s: no such simulated program",
                         spec->argv[0]);
    }
    p = xcalloc(1, sizeof(*p));
    p->world = base;
    p->program = e->program;
    p->context = e->context;
    p->id = (struct process_id){ w->next_pid++, w->now_us / 10000 };
    p->env = copy_env(spec->envp);
    p->watcher = watcher;
    watcher->id = p->id;
    watcher->impl = p;
    list_append(&w->processes, &p->node);
    r = e->program->start(p, spec);
    if (r < 0) {
        free_process(p);
        return error_set(reterr, r, "cannot run %s: %s", spec->argv[0], strerror(-r));
    }
    return 0;
}

static int sim_adopt(struct world *base, struct process *watcher, struct error *reterr)
{
    struct sim_process *p = find_process(sim_of(base), watcher->id);

    if (!p) {
        return error_set(reterr, -ESRCH, "process %d: it is gone", (int)watcher->id.pid);
    }
    p->watcher = watcher;
    watcher->impl = p;
    return 0;
}

static int deliver_signal(struct sim_process *p, int signum)
{
    if (!p || p->ended) {
        return -ESRCH;
    }
    if (signum == 9 || !p->program->on_signal) {
        sim_process_exit(p, 0, signum);
    } else {
        p->program->on_signal(p, signum);
    }
    return 0;
}

static int sim_signal(struct process *watcher, int signum)
{
    return deliver_signal(watcher->impl, signum);
}

static void sim_forget(struct process *watcher)
{
    struct sim_process *p = watcher->impl;

    if (p) {
        p->watcher = NULL;
    }
    free(watcher);
}

static int sim_scan(struct world *base, const char *variable, process_found_fn found, void *arg)
{
    struct sim_world *w = sim_of(base);
    struct sim_process *p, *next;

    list_for_each_safe (p, next, &w->processes, node) {
        const char *value = p->ended ? NULL : env_value(p->env, variable);

        if (value) {
            found(arg, p->id, value);
        }
    }
    return 0;
}

static int sim_kill(struct world *base, struct process_id id, int signum)
{
    return deliver_signal(find_process(sim_of(base), id), signum);
}

const struct process_ops sim_process_ops = { sim_spawn,  sim_adopt, sim_signal,
                                             sim_forget, sim_scan,  sim_kill };

void sim_set_program(struct world *base, const char *suffix, const struct sim_program *program,
                     void *context)
{
    struct sim_program_entry *e = xcalloc(1, sizeof(*e));

    e->suffix = xstrdup(suffix);
    e->program = program;
    e->context = context;
    list_prepend(&sim_of(base)->programs, &e->node);
}

void *sim_process_context(const struct sim_process *p)
{
    return p->context;
}

size_t sim_live_processes(struct world *base)
{
    struct sim_process *p;
    size_t n = 0;

    list_for_each (p, &sim_of(base)->processes, node) {
        n += !p->ended;
    }
    return n;
}

void sim_set_latency(struct world *base, uint64_t max_ms)
{
    sim_of(base)->latency_ms = max_ms;
}

static const struct world_ops sim_ops = {
    .destroy = sim_destroy,
    .run = sim_run,
    .stop = sim_stop,
    .now_ms = sim_now_ms,
    .now_us = sim_now_us,
    .wall_ms = sim_wall_ms,
    .random = sim_random,
    .wake = sim_wake,
    .on_signal = sim_on_signal,
    .workers = &sim_worker_ops,
    .processes = &sim_process_ops,
    .streams = &sim_stream_ops,
};

struct world *sim_create(uint64_t seed)
{
    struct sim_world *w = xcalloc(1, sizeof(*w));

    world_init(&w->base, &sim_ops);
    w->now_us = START_US;
    w->random[0] = seed * 0x9E3779B97F4A7C15ULL + 1;
    w->random[1] = seed ^ 0xD1B54A32D192ED03ULL;
    w->next_pid = 1000;
    w->next_port = 40000;
    list_init(&w->programs);
    list_init(&w->processes);
    list_init(&w->listeners);
    for (int i = 0; i < 8; i++) {
        next_random(w);
    }
    return &w->base;
}
