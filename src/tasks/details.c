// SPDX-License-Identifier: Apache-2.0
/*
 * One task whole: its row, its bodies, and its log, of which the first and (of a good end) the last
 * line are told by the row itself.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "tasks/tasks_int.h"

struct details_read {
    struct task_read read;
    int64_t id;
    char *public_id; /* NULL: by id */
    struct task_details d;
    size_t log_cap;
    tasks_details_fn fn;
    void *arg;
};

static int read_task(struct details_read *d, struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = d->public_id
                ? sql_query(db, &st, reterr,
                            "SELECT " JOINED_COLUMNS ", i.input, i.options, o.output FROM tasks t "
                            "CROSS JOIN lanes l ON l.id = t.lane "
                            "LEFT JOIN task_inputs i ON i.id = t.id "
                            "LEFT JOIN task_outputs o ON o.id = t.id WHERE t.public_id = ?",
                            "t", d->public_id)
                : sql_query(db, &st, reterr,
                            "SELECT " JOINED_COLUMNS ", i.input, i.options, o.output FROM tasks t "
                            "CROSS JOIN lanes l ON l.id = t.lane "
                            "LEFT JOIN task_inputs i ON i.id = t.id "
                            "LEFT JOIN task_outputs o ON o.id = t.id WHERE t.id = ?",
                            "i", d->id);

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    if (r == 0) {
        return error_set(reterr, -ENOENT, "there is no such task");
    }
    if (r > 0) {
        d->d.task = joined_row(st);
        task_set_bodies(d->d.task, sql_span(st, TASK_COLUMN_COUNT + 3),
                        sql_span(st, TASK_COLUMN_COUNT + 4), sql_span(st, TASK_COLUMN_COUNT + 5));
    }
    return MIN_OF(r, 0);
}

static void add_log(struct details_read *d, int64_t n, int64_t wall_ms, const char *level,
                    const char *message, const char *data)
{
    if (d->d.log_count == d->log_cap) {
        d->log_cap = d->log_cap ? 2 * d->log_cap : 8;
        d->d.logs = xrealloc(d->d.logs, d->log_cap * sizeof(*d->d.logs));
    }
    d->d.logs[d->d.log_count++] = (struct task_log){
        .id = d->d.task->id * TASK_LOGS_MAX + n,
        .wall_ms = wall_ms,
        .level = level,
        .message = xstrdup(message),
        .data = xstrdup_opt(data),
    };
}

static const char *level_of(const char *text)
{
    static const char *const levels[] = { "debug", "info", "warn", "error" };

    for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
        if (str_eq(levels[i], text)) {
            return levels[i];
        }
    }
    return "info";
}

/* The submit and a good end are told by the row itself. */
static void log_completion(struct details_read *d, int64_t n)
{
    const struct task *task = d->d.task;
    json_t *data =
        json_pack("{s:I}", "ms", (json_int_t)MAX_OF(task->completed_ms - task->started_ms, 0));
    char *text;

    if (data && task->instance) {
        json_object_set_new(data, "instance", json_string(task->instance));
    }
    text = json_dumps(data, JSON_COMPACT);
    json_decref(data);
    add_log(d, n, task->completed_ms, "info", "completed", text);
    free(text);
}

static int read_logs(struct details_read *d, struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int64_t n = 0;
    int r = sql_query(db, &st, reterr,
                      "SELECT n, wall_ms, level, message, data FROM task_logs WHERE task_id = ? "
                      "ORDER BY n LIMIT 1000",
                      "i", d->d.task->id);

    if (r < 0) {
        return r;
    }
    add_log(d, 0, d->d.task->created_ms, "info", "submitted", NULL);
    while ((r = sql_next(st, reterr)) > 0) {
        n = sql_int(st, 0);
        add_log(d, n, sql_int(st, 1), level_of(sql_text(st, 2)), sql_text(st, 3), sql_text(st, 4));
    }
    if (r == 0 && d->d.task->state == TASK_COMPLETED) {
        log_completion(d, n + 1);
    }
    return r;
}

static int run_details(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct details_read *d = container_of(op, struct details_read, read.op);
    int r = read_task(d, db, reterr);

    return r < 0 ? r : read_logs(d, db, reterr);
}

static void answer_details(struct task_read *read, int result, const struct error *e)
{
    struct details_read *d = container_of(read, struct details_read, read);

    d->fn(d->arg, result, result >= 0 ? &d->d : NULL, e);
}

static void finish_details(struct task_read *read)
{
    struct details_read *d = container_of(read, struct details_read, read);

    for (size_t i = 0; i < d->d.log_count; i++) {
        free(d->d.logs[i].message);
        free(d->d.logs[i].data);
    }
    free(d->d.logs);
    task_free(d->d.task);
    free(d->public_id);
    free(d);
}

static void get(struct tasks *t, int64_t id, const char *public_id, tasks_details_fn done,
                void *arg)
{
    struct details_read *d = xcalloc(1, sizeof(*d));

    d->id = id;
    d->public_id = xstrdup_opt(public_id);
    d->fn = done;
    d->arg = arg;
    d->read.answer = answer_details;
    d->read.finish = finish_details;
    read_start(t, &d->read, run_details);
}

void tasks_get(struct tasks *t, int64_t id, tasks_details_fn done, void *arg)
{
    get(t, id, NULL, done, arg);
}

void tasks_get_public(struct tasks *t, const char *public_id, tasks_details_fn done, void *arg)
{
    get(t, 0, public_id, done, arg);
}
