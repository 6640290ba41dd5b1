// SPDX-License-Identifier: Apache-2.0
/*
 * What the store answers comes a little later: writes in their order, each read by itself. So
 * things happen between a commit or a snapshot and the news of it, as they do when the store has
 * threads of its own. (The linker puts these in the place of the store's own, --wrap.)
 */
#include "tasks_scene.h"

enum { LATENCY_MS = 4 };

struct held {
    struct list node;
    struct store_op *op;
    void (*done)(struct store_op *op);
    struct scene *scene;
    struct timer timer; /* of reads */
    bool ended;
};

static struct scene *scene;

void __real_store_write(struct store *s, struct store_op *op);
void __wrap_store_write(struct store *s, struct store_op *op);
void __real_store_read(struct store *s, struct store_op *op);
void __wrap_store_read(struct store *s, struct store_op *op);

static void deliver(struct held *h)
{
    struct store_op *op = h->op;

    timer_stop(&h->timer);
    list_remove(&h->node);
    op->done = h->done;
    free(h);
    op->done(op);
}

static void on_late(void *arg)
{
    deliver(arg);
}

/* A few of the writes that have ended, the first ones first. */
static void on_late_writes(void *arg)
{
    struct scene *s = arg;
    uint64_t count = 1 + world_random_below(s->world, 4);
    struct held *h = list_first(&s->late_writes, struct held, node);

    while (count-- > 0 && h && h->ended) {
        deliver(h);
        h = list_first(&s->late_writes, struct held, node);
    }
    if (h && h->ended) {
        timer_start(&s->late, world_random_below(s->world, LATENCY_MS));
    }
}

static struct held *find(struct list *list, const struct store_op *op)
{
    struct held *h;

    list_for_each (h, list, node) {
        if (h->op == op) {
            return h;
        }
    }
    fail_msg("an operation that nobody submitted");
    return NULL;
}

static void on_written(struct store_op *op)
{
    find(&scene->late_writes, op)->ended = true;
    if (!timer_active(&scene->late)) {
        timer_start(&scene->late, world_random_below(scene->world, LATENCY_MS));
    }
}

static void on_read(struct store_op *op)
{
    struct held *h = find(&scene->late_reads, op);

    h->ended = true;
    timer_start(&h->timer, world_random_below(scene->world, LATENCY_MS));
}

static void hold(struct list *list, struct store_op *op, void (*done)(struct store_op *op))
{
    struct held *h = xcalloc(1, sizeof(*h));

    h->op = op;
    h->done = op->done;
    op->done = done;
    timer_init(&h->timer, scene->world, "sim.read", on_late, h);
    list_append(list, &h->node);
}

void __wrap_store_write(struct store *s, struct store_op *op)
{
    hold(&scene->late_writes, op, on_written);
    __real_store_write(s, op);
}

void __wrap_store_read(struct store *s, struct store_op *op)
{
    hold(&scene->late_reads, op, on_read);
    __real_store_read(s, op);
}

void latency_begin(struct scene *s)
{
    scene = s;
    list_init(&s->late_writes);
    list_init(&s->late_reads);
    timer_init(&s->late, s->world, "sim.writes", on_late_writes, s);
}

static void flush(struct list *list)
{
    struct held *h = list_first(list, struct held, node);

    while (h && h->ended) {
        deliver(h);
        h = list_first(list, struct held, node);
    }
}

void latency_end(struct scene *s)
{
    timer_stop(&s->late);
    flush(&s->late_writes);
    flush(&s->late_reads);
}
