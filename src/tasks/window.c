// SPDX-License-Identifier: Apache-2.0
/*
 * Windows: the first ready tasks of a class in memory. Nothing that is ready and not beyond
 * `reached` may be absent from it, or the order would be broken; what is in it and not ready any
 * more costs one claim that changes nothing.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "tasks/tasks_int.h"

/* The place of id, or where it would stand. */
static size_t find(const struct window *w, int64_t id)
{
    size_t low = 0, high = w->count;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (w->heads[mid].id < id) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static void note_missed(struct window *w, int64_t id)
{
    w->missed = w->missed ? MIN_OF(w->missed, id) : id;
}

static void drop_last(struct window *w)
{
    w->count--;
    w->more = true;
    note_missed(w, w->heads[w->count].id);
    w->reached = w->heads[w->count - 1].id;
}

static void put(struct window *w, size_t at, const struct head *head)
{
    if (!w->heads) {
        w->heads = xcalloc(WINDOW_MAX + 1, sizeof(*w->heads));
    }
    memmove(&w->heads[at + 1], &w->heads[at], (w->count - at) * sizeof(*w->heads));
    w->heads[at] = *head;
    w->count++;
    if (w->count > WINDOW_MAX) {
        drop_last(w);
    }
}

void window_insert(struct window *w, const struct head *head)
{
    size_t at = find(w, head->id);

    if (at < w->count && w->heads[at].id == head->id) {
        return;
    }
    if (w->more && head->id > w->reached) {
        note_missed(w, head->id);
        return;
    }
    put(w, at, head);
}

void window_remove(struct window *w, int64_t id)
{
    size_t at = find(w, id);

    if (at < w->count && w->heads[at].id == id) {
        w->count--;
        memmove(&w->heads[at], &w->heads[at + 1], (w->count - at) * sizeof(*w->heads));
    }
}

/* ---- reading on ---- */

struct refill {
    struct task_read read;
    int64_t lane, after;
    unsigned class;
    size_t limit, count;
    struct head heads[WINDOW_MAX];
};

static int run_refill(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct refill *f = container_of(op, struct refill, read.op);
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, ready_query, "iiii", f->lane, (int64_t)f->class, f->after,
                      (int64_t)f->limit);

    if (r < 0) {
        return r;
    }
    while (f->count < f->limit && (r = sql_next(st, reterr)) > 0) {
        f->heads[f->count++] =
            (struct head){ sql_int(st, 0), sql_int(st, 1), (uint64_t)sql_int(st, 2) };
    }
    return MIN_OF(r, 0);
}

static void take(struct window *w, const struct refill *f)
{
    bool full = f->count == f->limit;

    w->more = full || w->missed;
    for (size_t i = 0; i < f->count; i++) {
        const struct head *head = &f->heads[i];
        size_t at = find(w, head->id);

        if (w->missed && head->id > w->missed) {
            return; /* that one comes before it, and was not there yet when this was read */
        }

        w->reached = MAX_OF(w->reached, head->id);
        if (at == w->count || w->heads[at].id != head->id) {
            put(w, at, head);
        }
        if (w->count == WINDOW_MAX) {
            w->more = true;
            return;
        }
    }
}

static void on_refilled(struct task_read *read, int result, const struct error *e)
{
    struct refill *f = container_of(read, struct refill, read);
    struct tasks *t = read->tasks;
    struct lane *lane;
    struct window *w;

    if (!t) {
        return;
    }
    lane = lane_of_id(t, f->lane);
    w = &lane->windows[f->class];
    w->reading = false;
    if (result < 0) {
        lane->not_before_ms = world_now_ms(t->in.world) + 1000;
        snprintf(lane->refusal, sizeof(lane->refusal), "%s", e->text);
    } else if (w->reached == f->after) { /* else a lower one pushed the end back: read anew */
        take(w, f);
    }
    lane_kick(lane);
}

static void finish_refill(struct task_read *read)
{
    free(container_of(read, struct refill, read));
}

void window_refill(struct lane *lane, unsigned class)
{
    struct tasks *t = lane->tasks;
    struct window *w = &lane->windows[class];
    struct refill *f;

    if (!w->more || w->reading || w->count >= WINDOW_LOW) {
        return;
    }
    f = xcalloc(1, sizeof(*f));
    f->lane = lane->id;
    f->class = class;
    f->after = w->reached;
    f->limit = WINDOW_MAX - w->count;
    f->read.answer = on_refilled;
    f->read.finish = finish_refill;
    w->reading = true;
    w->missed = 0;
    read_start(t, &f->read, run_refill);
}
