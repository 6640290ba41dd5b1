// SPDX-License-Identifier: Apache-2.0
/*
 * The journal: all changes, in the order in which they were asked for, in groups of one transaction
 * each. While a group is with the store the next one gathers, so the busier berth is, the cheaper a
 * change. A group that the database refuses was not there at all.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "tasks/tasks_int.h"
#include "tasks/webhooks.h"

enum { GROUP_MAX = 256, IN_FLIGHT_MAX = 2, AGAIN_MS = 100 };

struct group {
    struct store_op op;
    struct list node;
    struct tasks *tasks; /* NULL: nobody is there any more */
    struct list changes;
    size_t count; /* of them */
    struct writing writing;
};

void change_refuse(struct change *c, int code, const char *fmt, ...)
{
    va_list ap;

    if (!c->error) {
        c->error = xcalloc(1, sizeof(*c->error));
    }
    c->result = c->error->code = code;
    va_start(ap, fmt);
    vsnprintf(c->error->text, sizeof(c->error->text), fmt, ap);
    va_end(ap);
}

int change_end_fn(struct change *c, struct sql *db, int result, const struct error *e,
                  struct error *reterr)
{
    int r = 0;

    if (result < 0) {
        change_refuse(c, result, "%s", e->text);
        r = sql_run(db, reterr, "ROLLBACK TO lines", "");
    }
    if (r >= 0) {
        r = sql_run(db, reterr, "RELEASE lines", "");
    }
    return MIN_OF(r, 0);
}

/* As if it had not run. */
static void reset(struct change *c)
{
    for (size_t i = 0; i < c->move_count; i++) {
        task_free(c->moves[i].task);
        event_free(c->moves[i].event);
    }
    if (c->moves != &c->one) {
        free(c->moves);
    }
    c->moves = NULL;
    c->move_count = c->move_cap = 0;
    c->result = 0;
    free(c->error);
    c->error = NULL;
    c->known = task_free(c->known);
}

static void change_free(struct change *c)
{
    reset(c);
    if (c->kind->finish) {
        c->kind->finish(c);
    }
    free(c);
}

/* ---- on the store's thread ---- */

static int run(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct group *g = container_of(op, struct group, op);
    struct change *c;
    int r = 0;

    g->writing.db = db;
    list_for_each (c, &g->changes, node) {
        r = c->kind->run(c, &g->writing, reterr);
        if (r < 0) {
            return r;
        }
    }
    return deltas_save(&g->writing.deltas, db, reterr);
}

/* ---- after the commit ---- */

static void add_counts(struct tasks *t, const struct deltas *d)
{
    for (size_t i = 0; i < d->count_count; i++) {
        const struct count_delta *c = &d->counts[i];
        struct lane *lane = lane_of_id(t, c->lane);
        struct lane_type *type = lane_type_make(lane, c->type);

        type->n[c->class][c->cell] += (uint64_t)c->n;
        type->bytes[c->class][c->cell] += (uint64_t)c->bytes;
        t->totals[lane->kind][c->cell] += (uint64_t)c->n;
        t->total_bytes[lane->kind] += (uint64_t)c->bytes;
    }
}

/* What a row does not say of itself. */
static void complete(struct task *task, const struct lane *lane)
{
    if (!task->model) {
        task->kind = lane->kind;
        task->model_id = lane->model_id;
        task->model = xstrdup(lane->name);
    }
}

static void move_in_windows(struct lane *lane, const struct move *m)
{
    const struct task *task = m->task;
    bool ready = !m->removed && task_cell(task) == TASK_PENDING;

    if (m->from_ready && (!ready || m->from_class != task->priority)) {
        window_remove(&lane->windows[m->from_class], task->id);
    }
    if (ready) {
        window_insert(&lane->windows[task->priority],
                      &(struct head){ task->id, task->created_ms, task->bytes });
    }
    if (!m->removed && task->state == TASK_PENDING) {
        lane_kick(lane);
    }
}

static void apply(struct tasks *t, struct move *m)
{
    struct lane *lane = lane_of_id(t, m->task->lane);

    complete(m->task, lane);
    lane->stored = true;
    move_in_windows(lane, m);
    if (!m->removed && task_cell(m->task) == CELL_DELAYED) {
        due_at(t, m->task->due_ms);
    }
    if (m->from == TASK_RUNNING && (m->removed || m->task->state != TASK_RUNNING)) {
        slot_revoke(t, m->task->id);
    }
    task_metrics_count(t, lane, m);
    if (m->event) {
        events_publish(t->in.events, TAKE_PTR(m->event));
    }
    notify_emit(&t->signal,
                &(struct task_change){ .task = m->task, .from = m->from, .removed = m->removed });
}

static void answer(struct change *c)
{
    static const struct error none;
    const struct task *task = NULL;

    if (c->known) {
        complete(c->known, lane_of_id(c->tasks, c->known->lane));
        task = c->known;
    } else if (c->result >= 0 && !c->many && c->move_count == 1) {
        task = c->moves[0].task;
    }
    if (c->fn) {
        c->fn(c->arg, c->result, task, c->error ? c->error : &none);
    }
}

static void finish_change(struct tasks *t, struct change *c)
{
    for (size_t i = 0; i < c->move_count; i++) {
        apply(t, &c->moves[i]);
    }
    if (c->kind->done) {
        c->kind->done(c);
    }
    answer(c);
    change_free(c);
}

static void start_flush(struct tasks *t, uint64_t delay_ms)
{
    if (!timer_active(&t->journal.flush)) {
        timer_start(&t->journal.flush, delay_ms);
    }
}

static bool is_busy(const struct group *g)
{
    return g->op.result == -EAGAIN || g->op.result == -EBUSY;
}

/* One bad change must not take the end of another's attempt with it: when the database refused them
 * as a group, berth's own are tried each alone. */
static bool may_come_again(const struct group *g)
{
    return is_busy(g) || (g->op.result != -EROFS && g->count > 1);
}

/* berth's own changes go before all that came meanwhile, in their order. */
static void fail_group(struct tasks *t, struct group *g)
{
    const bool come_again = may_come_again(g);
    struct list again;

    list_init(&again);
    while (!list_empty(&g->changes)) {
        struct change *c = list_first(&g->changes, struct change, node);

        list_remove(&c->node);
        reset(c);
        if (c->kind->must && come_again) {
            list_append(&again, &c->node);
            t->journal.count++;
            t->journal.alone += !is_busy(g);
        } else {
            change_refuse(c, g->op.result, "%s", g->op.error.text);
            finish_change(t, c);
        }
    }
    while (!list_empty(&again)) {
        struct list *last = again.prev;

        list_remove(last);
        list_prepend(&t->journal.waiting, last);
    }
    if (t->journal.count) {
        timer_start(&t->journal.flush, AGAIN_MS);
    }
}

static void finish_group(struct tasks *t, struct group *g)
{
    add_counts(t, &g->writing.deltas);
    while (!list_empty(&g->changes)) {
        struct change *c = list_first(&g->changes, struct change, node);

        list_remove(&c->node);
        finish_change(t, c);
    }
    if (g->writing.webhooks && t->webhooks) {
        webhooks_wake(t->webhooks);
    }
}

static void group_free(struct group *g)
{
    while (!list_empty(&g->changes)) {
        struct change *c = list_first(&g->changes, struct change, node);

        list_remove(&c->node);
        change_free(c);
    }
    deltas_finish(&g->writing.deltas);
    free(g);
}

/* Nobody is there any more to do it for. What uses its asker's memory on the store's thread (lends)
 * is told only when the store is done with it. */
static void cancel_changes(struct group *g, bool stored)
{
    static const struct error gone = { -ECANCELED, "berth is going down" };
    struct change *c;

    list_for_each (c, &g->changes, node) {
        tasks_done_fn fn = c->fn;

        if (fn && (stored || !c->lends)) {
            c->fn = NULL;
            fn(c->arg, -ECANCELED, NULL, &gone);
        }
    }
}

static void on_stored(struct store_op *op)
{
    struct group *g = container_of(op, struct group, op);
    struct tasks *t = g->tasks;

    list_remove(&g->node);
    if (t) {
        t->journal.in_flight--;
        if (op->result < 0) {
            fail_group(t, g);
        } else {
            finish_group(t, g);
        }
        if (!list_empty(&t->journal.waiting)) {
            start_flush(t, 0);
        }
        slots_check_drained(t);
    } else {
        cancel_changes(g, true);
    }
    group_free(g);
}

/* ---- before it ---- */

static void submit_group(struct tasks *t)
{
    struct group *g = xcalloc(1, sizeof(*g));

    g->tasks = t;
    g->op.run = run;
    g->op.done = on_stored;
    g->writing.world = t->in.world;
    list_init(&g->changes);
    for (size_t max = t->journal.alone ? 1 : GROUP_MAX;
         g->count < max && !list_empty(&t->journal.waiting); g->count++) {
        struct change *c = list_first(&t->journal.waiting, struct change, node);

        list_remove(&c->node);
        list_append(&g->changes, &c->node);
        t->journal.count--;
    }
    t->journal.alone -= t->journal.alone > 0;
    list_append(&t->journal.groups, &g->node);
    t->journal.in_flight++;
    store_write(t->in.store, &g->op);
}

static void on_flush(void *arg)
{
    struct tasks *t = arg;

    while (t->journal.in_flight < IN_FLIGHT_MAX && !list_empty(&t->journal.waiting)) {
        submit_group(t);
    }
}

void journal_add(struct tasks *t, struct change *c)
{
    c->tasks = t;
    list_append(&t->journal.waiting, &c->node);
    t->journal.count++;
    if (t->journal.in_flight < IN_FLIGHT_MAX) {
        start_flush(t, 0);
    }
}

bool journal_is_idle(const struct tasks *t)
{
    return t->journal.in_flight == 0 && list_empty(&t->journal.waiting);
}

void journal_init(struct tasks *t)
{
    list_init(&t->journal.waiting);
    list_init(&t->journal.groups);
    timer_init(&t->journal.flush, t->in.world, "tasks journal", on_flush, t);
}

/* Whoever is told may ask for something again: that, too, is handed over. */
void journal_finish(struct tasks *t)
{
    while (!list_empty(&t->journal.waiting) || !list_empty(&t->journal.groups)) {
        struct group *g;

        if (!list_empty(&t->journal.waiting)) {
            submit_group(t);
        }
        g = list_first(&t->journal.groups, struct group, node);
        list_remove(&g->node);
        g->tasks = NULL;
        cancel_changes(g, false);
    }
    timer_stop(&t->journal.flush);
}
