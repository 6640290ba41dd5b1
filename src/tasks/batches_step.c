// SPDX-License-Identifier: Apache-2.0
/*
 * A change of a batch's state: the row, the files, the event and what its webhook is to be told are
 * one transaction; whoever waits is told after it.
 */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "tasks/batches_int.h"
#include "tasks/webhooks.h"

struct batch_step *batch_step_create(struct batch_work *w)
{
    struct batch_step *step = xcalloc(1, sizeof(*step));

    step->work = w;
    step->from = w->row.batch.state;
    step->row = batch_row_dup(&w->row);
    step->wall_ms = world_wall_ms(w->b->world);
    w->busy = true;
    return step;
}

static void step_free(struct batch_step *step)
{
    for (size_t i = 0; i < step->file_count; i++) {
        batch_file_finish(&step->files[i]);
    }
    event_free(step->event);
    batch_row_finish(&step->row);
    free(step->hook_body);
    free(step);
}

static json_t *id_or_null(const char *id)
{
    return *id ? json_string(id) : json_null();
}

static char *hook_body_of(const struct batch_step *step, const char *event)
{
    const struct batch *b = &step->row.batch;
    char when[TIMEFMT_SIZE];
    json_t *json;
    char *text;

    timefmt_iso(step->wall_ms, when);
    json = json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:s, s:o, s:o, s:{s:I, s:I, s:I}, s:o}}",
                     "event", event, "delivered_at", when, "batch", "id", b->public_id, "status",
                     batch_state_name(b->state), "endpoint", b->endpoint, "input_file_id",
                     b->input_file, "output_file_id", id_or_null(b->output_file), "error_file_id",
                     id_or_null(b->error_file), "request_counts", "total", (json_int_t)b->total,
                     "completed", (json_int_t)b->completed, "failed", (json_int_t)b->failed,
                     "metadata", b->metadata ? json_loads(b->metadata, 0, NULL) : json_null());
    text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return text;
}

static int run_step(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct batch_step *step = container_of(op, struct batch_step, op);
    const struct batch *b = &step->row.batch;
    char event[32];
    int r = 0;

    for (size_t i = 0; r >= 0 && i < step->file_count; i++) {
        r = batch_file_insert(db, &step->files[i], reterr);
    }
    r = r < 0 ? r : batch_row_update(db, &step->row, step->from, reterr);
    r = r < 0 ? r : events_append(db, step->event, reterr);
    if (r >= 0 && step->hook_body) {
        snprintf(event, sizeof(event), "batch.%s", batch_state_name(b->state));
        r = webhook_append(db, b->webhook, event, span_of(step->hook_body), step->wall_ms, reterr);
    }
    return r < 0 ? r : 0;
}

static void answer_waiters(struct batch_work *w)
{
    const enum batch_state s = w->row.batch.state;
    char text[96];

    if (s == BATCH_CANCELLING || s == BATCH_CANCELLED) {
        batch_work_tell(w, 0, "");
    } else if (s != BATCH_VALIDATING && s != BATCH_IN_PROGRESS) {
        snprintf(text, sizeof(text), "the batch cannot be cancelled any more: it is %s",
                 batch_state_name(s));
        batch_work_tell(w, -EBUSY, text);
    }
}

/* The counts go on meanwhile, but for an end's, which are those of its files. */
static void take_row(struct batch_work *w, struct batch_step *step)
{
    const uint64_t completed = w->row.batch.completed, failed = w->row.batch.failed;
    const bool ended = batch_is_ended(step->row.batch.state);

    batch_row_finish(&w->row);
    w->row = step->row;
    step->row = (struct batch_row){ 0 };
    w->row.batch.completed = ended ? w->row.batch.completed : completed;
    w->row.batch.failed = ended ? w->row.batch.failed : failed;
}

static void on_stepped(struct store_op *op)
{
    struct batch_step *step = container_of(op, struct batch_step, op);
    struct batch_work *w = step->work;
    struct batches *b = w->b;

    if (!b) {
        step_free(step);
        batch_work_free(w);
        return;
    }
    if (op->result < 0) {
        /* Made again, under other names; unless their rows may stand all the same. */
        for (size_t i = 0; i < step->file_count && op->result != -EROFS; i++) {
            batch_file_unlink(b, step->files[i].public_id);
        }
        batch_retry_later(w, "a batch's state cannot be stored, trying again", &op->error);
        step_free(step);
        return;
    }
    for (size_t i = 0; i < step->file_count; i++) {
        b->files_bytes += (uint64_t)step->files[i].bytes;
    }
    take_row(w, step);
    log_info("batches", w->row.batch.public_id, batch_state_name(w->row.batch.state));
    events_publish(b->events, TAKE_PTR(step->event));
    step_free(step);
    w->busy = false;
    notify_emit(&b->changed, &w->row.batch);
    answer_waiters(w);
    batch_advance_all(b);
}

static int64_t *time_of(struct batch *b, enum batch_state s)
{
    switch (s) {
    case BATCH_IN_PROGRESS:
        return &b->in_progress_ms;
    case BATCH_FINALIZING:
        return &b->finalizing_ms;
    case BATCH_COMPLETED:
        return &b->completed_ms;
    case BATCH_EXPIRED:
        return &b->expired_ms;
    case BATCH_CANCELLING:
        return &b->cancelling_ms;
    case BATCH_CANCELLED:
        return &b->cancelled_ms;
    default:
        return &b->failed_ms;
    }
}

void batch_step_start(struct batch_step *step, enum batch_state to)
{
    struct batches *b = step->work->b;
    struct batch *batch = &step->row.batch;
    char event[32];

    batch->state = to;
    *time_of(batch, to) = step->wall_ms;
    if (to == BATCH_CANCELLED && batch->cancelling_ms == 0) {
        batch->cancelling_ms = step->wall_ms;
    }
    step->event =
        event_create(b->world, EVENT_BATCH_STATE, "",
                     json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "batch", batch->public_id, "from",
                               batch_state_name(step->from), "to", batch_state_name(to), "total",
                               (json_int_t)batch->total, "completed", (json_int_t)batch->completed,
                               "failed", (json_int_t)batch->failed));
    if (batch->webhook && batch_is_ended(to)) {
        snprintf(event, sizeof(event), "batch.%s", batch_state_name(to));
        step->hook_body = hook_body_of(step, event);
    }
    step->op = (struct store_op){ .run = run_step, .done = on_stepped };
    store_write(b->store, &step->op);
}
