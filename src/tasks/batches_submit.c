// SPDX-License-Identifier: Apache-2.0
/*
 * Lines become tasks: a piece of the input file is read, its lines are submitted, and the place
 * that is reached is committed with them.
 */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "tasks/batches_int.h"

struct submission {
    struct batch_work *work;
    struct batch_piece *piece;
    struct batch_row row; /* the place that is reached; texts are not its own */
    struct task_order *orders;
    size_t count;
    struct store_op op;
};

static void submission_free(struct submission *s)
{
    batch_piece_free(s->piece);
    free(s->orders);
    free(s);
}

static int reach(void *arg, struct sql *db, struct error *reterr)
{
    return batch_row_reach(db, &((struct submission *)arg)->row, reterr);
}

static void finish_submission(struct submission *s, int result, const struct error *e)
{
    struct batch_work *w = s->work;

    if (!w->b) {
        submission_free(s);
        batch_work_free(w);
        return;
    }
    if (result < 0) {
        submission_free(s);
        batch_retry_later(w, "lines of a batch cannot be stored, trying again", e);
        return;
    }
    w->row.next_line = s->row.next_line;
    w->row.next_offset = s->row.next_offset;
    w->row.reached = s->row.reached;
    w->unfinished += (int64_t)s->count;
    submission_free(s);
    w->busy = false;
    batch_advance(w);
}

static int reach_alone(struct store_op *op, struct sql *db, struct error *reterr)
{
    return reach(container_of(op, struct submission, op), db, reterr);
}

static void on_reached(struct store_op *op)
{
    finish_submission(container_of(op, struct submission, op), op->result, &op->error);
}

/* Lines that can be no tasks (their model is gone) are told of in the error file. */
static void pass_over(struct submission *s)
{
    s->count = 0;
    s->op = (struct store_op){ .run = reach_alone, .done = on_reached };
    store_write(s->work->b->store, &s->op);
}

static void on_submitted(void *arg, int result, const struct task *task, const struct error *e)
{
    struct submission *s = arg;

    if (s->work->b && (result == -ENOENT || result == -EFBIG || result == -EINVAL)) {
        log_warn("batches", s->work->row.batch.public_id, "lines of a batch can be no tasks",
                 kv_int("from_line", s->piece->number), kv_str("error", e->text));
        pass_over(s);
        return;
    }
    finish_submission(s, result, e);
}

static void submit_piece(struct submission *s)
{
    static const char options[] = "{\"url\":\"%s\"}";
    struct batch_work *w = s->work;
    const struct batch_piece *p = s->piece;
    char text[128];
    const int n = snprintf(text, sizeof(text), options, w->row.batch.endpoint);

    s->orders = xcalloc(p->count + 1, sizeof(*s->orders));
    for (size_t i = 0; i < p->count; i++) {
        const struct batch_line *line = &p->lines[i];
        const struct model *model =
            line->model ? models_find(w->b->models, span_of(line->model)) : NULL;

        if (!model || line->code) {
            continue;
        }
        s->orders[s->count++] = (struct task_order){
            .kind = TASK_OF_BATCH,
            .model_id = model->id,
            .type = "batch",
            .priority = TASK_BATCH,
            .input = line->body,
            .options = { text, (size_t)n },
            .max_retries = -1,
            .batch_id = w->row.batch.id,
            .batch_line = line->number,
        };
    }
    if (s->count == 0) {
        pass_over(s);
    } else {
        tasks_submit_lines(w->b->tasks, s->orders, s->count, reach, on_submitted, s);
    }
}

static void on_lines_read(struct job *job)
{
    struct batch_piece *p = container_of(job, struct batch_piece, job);
    struct submission *s = p->owner;
    struct batch_work *w = s->work;

    if (!w->b) {
        submission_free(s);
        batch_work_free(w);
        return;
    }
    if (w->cancel_wanted) {
        submission_free(s);
        w->busy = false;
        batch_advance(w);
        return;
    }
    if (p->result < 0) {
        const struct error err = p->error;

        submission_free(s);
        batch_retry_later(w, "the input file of a batch cannot be read, trying again", &err);
        return;
    }
    s->row = w->row;
    s->row.next_line = p->next_number;
    s->row.next_offset = p->next_offset;
    s->row.reached += p->count;
    if (p->end) { /* whatever was counted at first: there are no more */
        s->row.reached = s->row.batch.total;
    }
    submit_piece(s);
}

void batch_submit_next(struct batch_work *w)
{
    struct submission *s = xcalloc(1, sizeof(*s));

    s->work = w;
    s->piece = batch_piece_create(w, w->row.next_offset, w->row.next_line, on_lines_read, s);
    w->busy = true;
    batch_job_start(w->b, &s->piece->job);
}
