// SPDX-License-Identifier: Apache-2.0
/* The part of the world that is the same in every world: timers in a heap, posted calls in a list.
 */
#include "base/world_int.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/tls_int.h"

static bool due_before(const struct heap_node *a, const struct heap_node *b)
{
    const struct timer *x = container_of(UNCONST(void *, a), struct timer, node);
    const struct timer *y = container_of(UNCONST(void *, b), struct timer, node);

    return x->due_ms != y->due_ms ? x->due_ms < y->due_ms : x->seq < y->seq;
}

void world_init(struct world *w, const struct world_ops *ops)
{
    w->ops = ops;
    w->timer_seq = 0;
    w->last_name = "start";
    heap_init(&w->timers, due_before);
    list_init(&w->posted);
}

void world_finish(struct world *w)
{
    struct posted *p, *tmp;

    list_for_each_safe (p, tmp, &w->posted, node) {
        list_remove(&p->node);
        free(p);
    }
    heap_finish(&w->timers);
    w->tls = tls_destroy(w->tls);
}

struct world *world_destroy(struct world *w)
{
    if (w) {
        w->ops->destroy(w);
    }
    return NULL;
}

void world_run(struct world *w)
{
    w->ops->run(w);
}

void world_stop(struct world *w)
{
    w->ops->stop(w);
}

uint64_t world_now_ms(struct world *w)
{
    return w->ops->now_ms(w);
}

uint64_t world_now_us(struct world *w)
{
    return w->ops->now_us(w);
}

int64_t world_wall_ms(struct world *w)
{
    return w->ops->wall_ms(w);
}

void world_random(struct world *w, void *out, size_t n)
{
    w->ops->random(w, out, n);
}

uint64_t world_random_below(struct world *w, uint64_t bound)
{
    uint64_t v, limit;

    assert(bound > 0);
    limit = UINT64_MAX - UINT64_MAX % bound;
    do {
        world_random(w, &v, sizeof(v));
    } while (v >= limit);
    return v % bound;
}

void world_uuid(struct world *w, char out[UUID_SIZE])
{
    unsigned char b[16];
    char hex[33];
    char *o = out;

    world_random(w, b, sizeof(b));
    b[6] = (unsigned char)((b[6] & 0x0F) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3F) | 0x80);
    hex_encode(b, sizeof(b), hex);
    for (int i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20) {
            *o++ = '-';
        }
        *o++ = hex[i];
    }
    *o = '\0';
}

void world_post(struct world *w, void (*fn)(void *arg), void *arg)
{
    struct posted *p = xcalloc(1, sizeof(*p));

    p->fn = fn;
    p->arg = arg;
    list_append(&w->posted, &p->node);
    w->ops->wake(w);
}

void world_on_signal(struct world *w, int signum, void (*fn)(void *arg, int signum), void *arg)
{
    w->ops->on_signal(w, signum, fn, arg);
}

uint64_t world_next_due(const struct world *w)
{
    struct heap_node *top = heap_top(&w->timers);

    return top ? container_of(top, struct timer, node)->due_ms : UINT64_MAX;
}

bool world_run_due(struct world *w, uint64_t now_ms)
{
    struct list batch;
    uint64_t last_seq = w->timer_seq;
    bool ran = false;

    list_take(&w->posted, &batch);
    while (!list_empty(&batch)) {
        struct posted *p = list_first(&batch, struct posted, node);

        list_remove(&p->node);
        p->fn(p->arg);
        free(p);
        ran = true;
    }
    /* A timer that restarts itself with no delay waits for the next turn. */
    while (heap_top(&w->timers)) {
        struct timer *t = container_of(heap_top(&w->timers), struct timer, node);

        if (t->due_ms > now_ms || t->seq > last_seq) {
            break;
        }
        heap_remove(&w->timers, &t->node);
        w->last_name = t->name;
        t->fn(t->arg);
        ran = true;
    }
    return ran;
}

void timer_init(struct timer *t, struct world *w, const char *name, void (*fn)(void *arg),
                void *arg)
{
    *t = (struct timer){ .world = w, .fn = fn, .arg = arg, .name = name };
}

void timer_start(struct timer *t, uint64_t delay_ms)
{
    struct world *w = t->world;

    heap_remove(&w->timers, &t->node);
    t->due_ms = world_now_ms(w) + delay_ms;
    t->seq = ++w->timer_seq;
    heap_push(&w->timers, &t->node);
    if (heap_top(&w->timers) == &t->node) {
        w->ops->wake(w);
    }
}

void timer_stop(struct timer *t)
{
    if (t->world) {
        heap_remove(&t->world->timers, &t->node);
    }
}

bool timer_active(const struct timer *t)
{
    return t->node.index != 0;
}

/* Workers, processes and streams: each world brings its own. */

struct worker *worker_create(struct world *w, const struct worker_options *options)
{
    assert(options->threads >= 1 && options->max_queued >= 1);
    return w->ops->workers->create(w, options);
}

struct worker *worker_destroy(struct worker *worker)
{
    if (worker) {
        worker->world->ops->workers->destroy(worker);
    }
    return NULL;
}

struct worker *worker_abandon(struct worker *worker)
{
    worker->world->ops->workers->abandon(worker);
    return NULL;
}

int worker_submit(struct worker *worker, struct job *job)
{
    if (worker->queued >= worker->options.max_queued) {
        return -EAGAIN;
    }
    worker->queued++;
    job->worker = worker;
    worker->world->ops->workers->submit(worker, job);
    return 0;
}

size_t worker_queued(const struct worker *worker)
{
    return worker->queued;
}

void worker_finish_job(struct job *job)
{
    job->worker->queued--;
    job->worker->world->last_name = job->worker->options.name;
    job->done(job);
}

struct process_id process_id(const struct process *p)
{
    return p->id;
}

static struct process *process_new(struct world *w, process_exit_fn on_exit, void *owner)
{
    struct process *p = xcalloc(1, sizeof(*p));

    p->world = w;
    p->on_exit = on_exit;
    p->owner = owner;
    return p;
}

int process_spawn(struct world *w, const struct spawn_spec *spec, process_exit_fn on_exit,
                  void *owner, struct process **ret, struct error *reterr)
{
    struct process *p = process_new(w, on_exit, owner);
    int r;

    p->child = true;
    r = w->ops->processes->spawn(w, spec, p, reterr);
    if (r < 0) {
        free(p);
        return r;
    }
    *ret = p;
    return 0;
}

int process_adopt(struct world *w, struct process_id id, process_exit_fn on_exit, void *owner,
                  struct process **ret, struct error *reterr)
{
    struct process *p = process_new(w, on_exit, owner);
    int r;

    p->id = id;
    r = w->ops->processes->adopt(w, p, reterr);
    if (r < 0) {
        free(p);
        return r;
    }
    *ret = p;
    return 0;
}

int process_signal(struct process *p, int signum)
{
    return p->world->ops->processes->signal(p, signum);
}

struct process *process_destroy(struct process *p)
{
    if (p) {
        p->world->ops->processes->forget(p);
    }
    return NULL;
}

int process_scan(struct world *w, const char *variable, process_found_fn found, void *arg)
{
    return w->ops->processes->scan(w, variable, found, arg);
}

int process_kill(struct world *w, struct process_id id, int signum)
{
    return w->ops->processes->kill(w, id, signum);
}
