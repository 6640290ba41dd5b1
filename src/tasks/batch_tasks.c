// SPDX-License-Identifier: Apache-2.0
/*
 * What a batch reads of its tasks: their numbers, their states, their answers. Each statement says
 * `batch_id > 0`, or the index of batches' tasks (a partial one) would not serve it and every
 * question would look through the whole queue.
 */
#include "tasks/batch_tasks_int.h"

#include "base/mem.h"

enum { ANSWERS_BYTES = 1024 * 1024 };

const char batch_ids_query[] =
    "SELECT id FROM tasks WHERE batch_id = ? AND batch_id > 0 ORDER BY id LIMIT ?";
/* In the order of enum task_state. */
const char batch_counts_query[] =
    "SELECT sum(state = 0), sum(state = 1), sum(state = 2), sum(state = 3), sum(state = 4) "
    "FROM tasks WHERE batch_id = ? AND batch_id > 0";
const char batch_answers_query[] =
    "SELECT t.id, t.batch_line, t.state, t.http_status, t.error, o.output "
    "FROM tasks t LEFT JOIN task_outputs o ON o.id = t.id "
    "WHERE t.batch_id = ? AND t.batch_id > 0 AND t.id > ? ORDER BY t.id LIMIT ?";

int batch_task_ids(struct sql *db, int64_t batch_id, int64_t *ids, int max, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int count = 0;
    int r = sql_query(db, &st, reterr, batch_ids_query, "ii", batch_id, (int64_t)max);

    while (r >= 0 && (r = sql_next(st, reterr)) > 0) {
        ids[count++] = sql_int(st, 0);
    }
    return r < 0 ? r : count;
}

int batch_count_tasks(struct sql *db, int64_t batch_id, uint64_t counts[TASK_STATE_MAX_],
                      struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, batch_counts_query, "i", batch_id);

    r = r < 0 ? r : sql_next(st, reterr);
    for (int i = 0; r > 0 && i < TASK_STATE_MAX_; i++) {
        counts[i] = (uint64_t)sql_int(st, i); /* of no tasks: null, which reads as 0 */
    }
    return r < 0 ? r : 0;
}

static struct batch_answer answer_of(struct sql_stmt *st)
{
    const struct span output = sql_span(st, 5);

    return (struct batch_answer){
        .task_id = sql_int(st, 0),
        .line = sql_int(st, 1),
        .state = (enum task_state)sql_int(st, 2),
        .http_status = (int)sql_int(st, 3),
        .error = xstrdup_opt(sql_text(st, 4)),
        .output = output.p ? span_dup(output) : NULL,
        .output_len = output.n,
    };
}

int batch_answers_read(struct sql *db, int64_t batch_id, int64_t after_task, batch_answer_fn fn,
                       void *arg, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    size_t bytes = 0;
    int count = 0;
    int r = sql_query(db, &st, reterr, batch_answers_query, "iii", batch_id, after_task,
                      (int64_t)BATCH_ANSWERS_MAX);

    while (r >= 0 && bytes < ANSWERS_BYTES && (r = sql_next(st, reterr)) > 0) {
        struct batch_answer a = answer_of(st);

        bytes += a.output_len;
        count++;
        fn(arg, &a);
    }
    return r < 0 ? r : count;
}
