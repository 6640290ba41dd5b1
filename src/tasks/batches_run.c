// SPDX-License-Identifier: Apache-2.0
/*
 * What a batch needs next. One step at a time is under way for a batch (a job, an operation of the
 * store, a question to the queue); its end looks again. Whatever a step does is committed with the
 * place or the state that it reached, so that a restart looks at the row and goes on.
 */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "tasks/batch_tasks_int.h"
#include "tasks/batches_int.h"

enum { WAIT_MAX_MS = 3600 * 1000 };

bool batch_is_ended(enum batch_state s)
{
    return s == BATCH_FAILED || s == BATCH_COMPLETED || s == BATCH_EXPIRED || s == BATCH_CANCELLED;
}

void batch_retry_later(struct batch_work *w, const char *what, const struct error *e)
{
    log_warn("batches", w->row.batch.public_id, what, kv_str("error", e->text));
    /* Who waits for a cancel is told now: nobody knows when a store takes changes again. */
    if (!list_empty(&w->waiters)) {
        w->cancel_wanted = false;
        batch_work_tell(w, e->code < 0 ? e->code : -EIO, e->text);
    }
    w->busy = false;
    w->retrying = true;
    timer_start(&w->timer, BATCH_RETRY_MS);
}

/* ---- cancelling what runs ---- */

static void on_tasks_cancelled(void *arg, int result, const struct task *task,
                               const struct error *e)
{
    struct batch_work *w = arg;

    if (!w->b) {
        batch_work_free(w);
        return;
    }
    if (result < 0) {
        batch_retry_later(w, "the tasks of a batch cannot be cancelled, trying again", e);
        return;
    }
    w->tasks_cancelled = true;
    w->busy = false;
    batch_advance(w);
}

static void cancel_tasks(struct batch_work *w)
{
    w->busy = true;
    tasks_cancel_batch(w->b->tasks, w->row.batch.id, on_tasks_cancelled, w);
}

/* ---- removing the tasks of an ended one ---- */

struct cleaning {
    struct store_op op;
    struct batch_work *work;
    int64_t batch_id, ids[BATCH_LINES_PIECE];
    int count;
    size_t waiting; /* removals under way */
    int result;     /* the first failure of them */
    struct error error;
};

static void on_task_removed(void *arg, int result, const struct task *task, const struct error *e)
{
    struct cleaning *c = arg;
    struct batch_work *w = c->work;

    if (result < 0 && result != -ENOENT && c->result == 0) {
        c->result = result;
        c->error = *e;
    }
    if (--c->waiting > 0) {
        return;
    }
    if (!w->b) {
        batch_work_free(w);
    } else if (c->result < 0) {
        w->tasks_cancelled = c->result != -EBUSY; /* one runs still, or again */
        batch_retry_later(w, "tasks of an ended batch cannot be removed, trying again", &c->error);
    } else {
        w->busy = false;
        batch_advance(w);
    }
    free(c);
}

static int find_tasks(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct cleaning *c = container_of(op, struct cleaning, op);

    c->count = batch_task_ids(db, c->batch_id, c->ids, BATCH_LINES_PIECE, reterr);
    if (c->count == 0) {
        c->count = batch_row_clean(db, c->batch_id, reterr);
        return c->count < 0 ? c->count : 0;
    }
    return c->count;
}

static void on_tasks_found(struct store_op *op)
{
    struct cleaning *c = container_of(op, struct cleaning, op);
    struct batch_work *w = c->work;

    if (!w->b || op->result == 0) {
        free(c);
        batch_work_free(w);
        return;
    }
    if (op->result < 0) {
        batch_retry_later(w, "tasks of an ended batch cannot be removed, trying again", &op->error);
        free(c);
        return;
    }
    c->waiting = (size_t)c->count;
    for (int i = 0; i < c->count; i++) {
        tasks_remove(w->b->tasks, c->ids[i], on_task_removed, c);
    }
}

static void clean(struct batch_work *w)
{
    struct cleaning *c = xcalloc(1, sizeof(*c));

    w->busy = true;
    c->work = w;
    c->batch_id = w->row.batch.id;
    c->op = (struct store_op){ .run = find_tasks, .done = on_tasks_found };
    store_write(w->b->store, &c->op);
}

/* ---- what next ---- */

static void change_state(struct batch_work *w, enum batch_state to, enum batch_state outcome)
{
    struct batch_step *step = batch_step_create(w);

    step->row.outcome = outcome;
    batch_step_start(step, to);
}

static bool is_over(const struct batch_work *w)
{
    return world_wall_ms(w->b->world) >= w->row.batch.expires_ms;
}

/* Comes back when the time is over. */
static void wait_for_end(struct batch_work *w)
{
    const int64_t left = w->row.batch.expires_ms - world_wall_ms(w->b->world);

    timer_start(&w->timer, (uint64_t)MIN_OF(MAX_OF(left, 1), (int64_t)WAIT_MAX_MS));
}

static void advance_validating(struct batch_work *w)
{
    if (w->cancel_wanted) {
        change_state(w, BATCH_CANCELLED, BATCH_CANCELLED);
    } else if (is_over(w)) {
        change_state(w, BATCH_EXPIRED, BATCH_EXPIRED);
    } else if (!w->b->validating) {
        batch_check_start(w);
    } else {
        wait_for_end(w);
    }
}

static void advance_in_progress(struct batch_work *w)
{
    if (w->cancel_wanted) {
        change_state(w, BATCH_CANCELLING, BATCH_CANCELLED);
    } else if (w->row.reached >= w->row.batch.total && w->unfinished <= 0) {
        change_state(w, BATCH_FINALIZING, BATCH_COMPLETED);
    } else if (is_over(w)) {
        change_state(w, BATCH_FINALIZING, BATCH_EXPIRED);
    } else if (w->row.reached < w->row.batch.total) {
        batch_submit_next(w);
    } else {
        wait_for_end(w);
    }
}

static void advance_ending(struct batch_work *w)
{
    if (w->row.outcome != BATCH_COMPLETED && !w->tasks_cancelled) {
        cancel_tasks(w);
    } else if (!w->b->writing) {
        batch_output_start(w);
    }
}

void batch_advance(struct batch_work *w)
{
    if (!w->b || w->busy || w->retrying) {
        return;
    }
    timer_stop(&w->timer);
    switch (w->row.batch.state) {
    case BATCH_VALIDATING:
        advance_validating(w);
        break;
    case BATCH_IN_PROGRESS:
        advance_in_progress(w);
        break;
    case BATCH_FINALIZING:
    case BATCH_CANCELLING:
        advance_ending(w);
        break;
    default:
        if (w->tasks_cancelled || w->unfinished <= 0) {
            clean(w);
        } else {
            cancel_tasks(w);
        }
        break;
    }
}

void batch_advance_all(struct batches *b)
{
    struct batch_work *w, *tmp;

    list_for_each_safe (w, tmp, &b->works, node) {
        batch_advance(w);
    }
}
