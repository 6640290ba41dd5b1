// SPDX-License-Identifier: Apache-2.0
/*
 * What an earlier berth left. Lanes and counters are read; windows fill when they are looked at, so
 * a start costs the same whatever waits. What was running goes to its runner, or is pending again.
 */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "tasks/tasks_int.h"

struct leftovers {
    struct store_op op;
    struct tasks *tasks;
    struct task **running;
    size_t count, cap;
    int64_t due_ms;
};

static int read_lanes(struct tasks *t, struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r =
        sql_query(db, &st, reterr, "SELECT id, kind, model_id, name FROM lanes ORDER BY id", "");

    if (r < 0) {
        return r;
    }
    while ((r = sql_next(st, reterr)) > 0) {
        struct lane *lane = lane_add(t, sql_int(st, 0), (enum task_kind)sql_int(st, 1),
                                     sql_int(st, 2), sql_text(st, 3));

        lane->stored = true;
    }
    return r;
}

static void take_count(struct tasks *t, struct sql_stmt *st)
{
    struct lane *lane = lane_of_id(t, sql_int(st, 0));
    struct lane_type *type = lane_type_make(lane, sql_text(st, 1));
    unsigned class = (unsigned)sql_int(st, 2), cell = (unsigned)sql_int(st, 3);
    uint64_t n = (uint64_t)sql_int(st, 4), bytes = (uint64_t)sql_int(st, 5);

    type->n[class][cell] += n;
    type->bytes[class][cell] += bytes;
    t->totals[lane->kind][cell] += n;
    t->total_bytes[lane->kind] += bytes;
    if (cell == TASK_PENDING && n) {
        lane->windows[class].more = true;
    }
}

static int read_counts(struct tasks *t, struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r =
        sql_query(db, &st, reterr, "SELECT lane, type, class, cell, n, bytes FROM task_counts", "");

    if (r < 0) {
        return r;
    }
    while ((r = sql_next(st, reterr)) > 0) {
        take_count(t, st);
    }
    return r;
}

static int read_running(struct leftovers *l, struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT " TASK_COLUMNS ", i.input, i.options FROM tasks t "
                      "LEFT JOIN task_inputs i ON i.id = t.id WHERE t.state = 1 ORDER BY t.id",
                      "");

    if (r < 0) {
        return r;
    }
    while ((r = sql_next(st, reterr)) > 0) {
        struct task *task = task_of_row(st);

        task_set_bodies(task, sql_span(st, TASK_COLUMN_COUNT), sql_span(st, TASK_COLUMN_COUNT + 1),
                        (struct span){ NULL, 0 });
        if (l->count == l->cap) {
            l->cap = l->cap ? 2 * l->cap : 64;
            l->running = xrealloc(l->running, l->cap * sizeof(struct task *));
        }
        l->running[l->count++] = task;
    }
    return r;
}

static int read_due(struct leftovers *l, struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT due_ms FROM tasks WHERE state = 0 AND due_ms > 0 "
                      "ORDER BY due_ms LIMIT 1",
                      "");

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    l->due_ms = r > 0 ? sql_int(st, 0) : 0;
    return MIN_OF(r, 0);
}

/* Before the loop runs, on its thread: so it may fill the lanes. */
static int run(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct leftovers *l = container_of(op, struct leftovers, op);
    int r = read_lanes(l->tasks, db, reterr);

    r = r < 0 ? r : read_counts(l->tasks, db, reterr);
    r = r < 0 ? r : read_running(l, db, reterr);
    return r < 0 ? r : read_due(l, db, reterr);
}

static void take_running(struct tasks *t, struct task *task)
{
    const struct lane *lane = lane_of_id(t, task->lane);

    task->kind = lane->kind;
    task->model_id = lane->model_id;
    task->model = xstrdup(lane->name);
    if (!slot_adopt(t, task)) {
        finish_add(t, task->id, task->fence,
                   &(struct task_result){
                       .error = -ECANCELED, .lost = true, .text = "berth ended while it ran" });
        task_free(task);
    }
}

int tasks_start(struct tasks *t, struct error *reterr)
{
    struct leftovers l = { .op.run = run, .tasks = t };
    int r = store_read_now(t->in.store, &l.op);

    for (size_t i = 0; i < l.count; i++) {
        if (r >= 0) {
            take_running(t, l.running[i]);
        } else {
            task_free(l.running[i]);
        }
    }
    free(l.running);
    if (r < 0) {
        return error_set(reterr, r, "the queue of tasks cannot be read: %s", l.op.error.text);
    }
    if (l.due_ms) {
        due_at(t, l.due_ms);
    }
    timer_start(&t->retention, 1000);
    lanes_kick_all(t);
    return 0;
}
