// SPDX-License-Identifier: Apache-2.0
/*
 * The tables of tasks, and a row's way through a change. The rows are narrow: bodies stand apart,
 * so that looking for the next task touches few pages. Each partial index holds only what its state
 * is about, and a task leaves it as it goes on.
 */
#include <stdarg.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/timefmt.h"
#include "tasks/tasks_int.h"
#include "tasks/webhooks.h"

static const char *const migrations[] = {
    "CREATE TABLE lanes("
    "  id INTEGER PRIMARY KEY,"
    "  kind INTEGER NOT NULL,"
    "  model_id INTEGER NOT NULL,"
    "  name TEXT NOT NULL,"
    "  UNIQUE(kind, model_id, name)) STRICT;"
    "CREATE TABLE tasks("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  lane INTEGER NOT NULL,"
    "  type TEXT NOT NULL,"
    "  state INTEGER NOT NULL,"
    "  class INTEGER NOT NULL,"
    "  due_ms INTEGER NOT NULL,"
    "  fence INTEGER NOT NULL,"
    "  retry_count INTEGER NOT NULL,"
    "  lost INTEGER NOT NULL DEFAULT 0,"
    "  max_retries INTEGER NOT NULL,"
    "  created_ms INTEGER NOT NULL,"
    "  updated_ms INTEGER NOT NULL,"
    "  started_ms INTEGER NOT NULL,"
    "  completed_ms INTEGER NOT NULL,"
    "  timeout_ms INTEGER NOT NULL,"
    "  bytes INTEGER NOT NULL,"
    "  http_status INTEGER NOT NULL DEFAULT 0,"
    "  dead INTEGER NOT NULL DEFAULT 0,"
    "  batch_id INTEGER NOT NULL,"
    "  batch_line INTEGER NOT NULL,"
    "  public_id TEXT,"
    "  idempotency_key TEXT,"
    "  instance TEXT,"
    "  remote_id TEXT,"
    "  error TEXT,"
    "  webhook TEXT) STRICT;"
    "CREATE INDEX tasks_ready ON tasks(lane, class, id) WHERE state = 0 AND due_ms = 0;"
    "CREATE INDEX tasks_due ON tasks(due_ms) WHERE state = 0 AND due_ms > 0;"
    "CREATE INDEX tasks_few ON tasks(state) WHERE state = 1 OR state = 3 OR state = 4;"
    "CREATE INDEX tasks_ended ON tasks(completed_ms) WHERE state >= 2 AND batch_id = 0;"
    "CREATE UNIQUE INDEX tasks_public ON tasks(public_id) WHERE public_id IS NOT NULL;"
    "CREATE UNIQUE INDEX tasks_key ON tasks(idempotency_key) WHERE idempotency_key IS NOT NULL;"
    "CREATE INDEX tasks_batch ON tasks(batch_id) WHERE batch_id > 0;"
    "CREATE TABLE task_inputs(id INTEGER PRIMARY KEY, input BLOB NOT NULL, options TEXT) STRICT;"
    "CREATE TABLE task_outputs(id INTEGER PRIMARY KEY, output BLOB NOT NULL) STRICT;"
    "CREATE TABLE task_counts("
    "  lane INTEGER NOT NULL,"
    "  type TEXT NOT NULL,"
    "  class INTEGER NOT NULL,"
    "  cell INTEGER NOT NULL," /* a state; 5: pending, and delayed */
    "  n INTEGER NOT NULL,"
    "  bytes INTEGER NOT NULL,"
    "  PRIMARY KEY(lane, type, class, cell)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE task_days("
    "  day INTEGER NOT NULL," /* since 1970, UTC */
    "  lane INTEGER NOT NULL,"
    "  type TEXT NOT NULL,"
    "  submitted INTEGER NOT NULL,"
    "  completed INTEGER NOT NULL,"
    "  failed INTEGER NOT NULL,"
    "  cancelled INTEGER NOT NULL,"
    "  processing_ms INTEGER NOT NULL,"
    "  PRIMARY KEY(day, lane, type)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE task_logs("
    "  task_id INTEGER NOT NULL,"
    "  n INTEGER NOT NULL,"
    "  wall_ms INTEGER NOT NULL,"
    "  level TEXT NOT NULL,"
    "  message TEXT NOT NULL,"
    "  data TEXT,"
    "  PRIMARY KEY(task_id, n)) STRICT, WITHOUT ROWID",
};
const struct store_schema tasks_schema = { "tasks", migrations, ARRAY_SIZE(migrations) };

const char ready_query[] = "SELECT id, created_ms, bytes FROM tasks WHERE lane = ? AND class = ? "
                           "AND state = 0 AND due_ms = 0 AND id > ? ORDER BY id LIMIT ?";
const char due_query[] = "SELECT " TASK_COLUMNS " FROM tasks t WHERE t.state = 0 "
                         "AND t.due_ms > 0 AND t.due_ms <= ? ORDER BY t.due_ms LIMIT ?";

const char old_query[] = "SELECT " TASK_COLUMNS " FROM tasks t WHERE t.state >= 2 "
                         "AND t.batch_id = 0 AND t.completed_ms < ? ORDER BY t.completed_ms "
                         "LIMIT ?";
const char unfinished_query[] = "SELECT " TASK_COLUMNS " FROM tasks t WHERE t.batch_id = ? "
                                "AND t.batch_id > 0 AND t.state < 2 AND t.id > ? "
                                "ORDER BY t.id LIMIT ?";

/* ---- rows ---- */

struct task *task_of_row(struct sql_stmt *st)
{
    struct task *t = xcalloc(1, sizeof(*t));

    t->id = sql_int(st, 0);
    t->lane = sql_int(st, 1);
    t->type = xstrdup(sql_text(st, 2));
    t->state = (enum task_state)sql_int(st, 3);
    t->priority = (unsigned)sql_int(st, 4);
    t->due_ms = sql_int(st, 5);
    t->fence = sql_int(st, 6);
    t->retry_count = (unsigned)sql_int(st, 7);
    t->max_retries = (unsigned)sql_int(st, 8);
    t->created_ms = sql_int(st, 9);
    t->updated_ms = sql_int(st, 10);
    t->started_ms = sql_int(st, 11);
    t->completed_ms = sql_int(st, 12);
    t->timeout_ms = (uint64_t)sql_int(st, 13);
    t->bytes = (uint64_t)sql_int(st, 14);
    t->http_status = (int)sql_int(st, 15);
    t->dead = sql_int(st, 16) != 0;
    if (!sql_is_null(st, 17)) {
        snprintf(t->public_id, sizeof(t->public_id), "%s", sql_text(st, 17));
    }
    t->instance = xstrdup_opt(sql_text(st, 18));
    t->remote_id = xstrdup_opt(sql_text(st, 19));
    t->error = xstrdup_opt(sql_text(st, 20));
    t->webhook = xstrdup_opt(sql_text(st, 21));
    t->batch_id = sql_int(st, 22);
    t->batch_line = sql_int(st, 23);
    t->lost = (unsigned)sql_int(st, 24);
    return t;
}

void task_set_bodies(struct task *task, struct span input, struct span options, struct span output)
{
    task->input = input.p ? span_dup(input) : NULL;
    task->input_len = input.n;
    task->options = options.p ? span_dup(options) : NULL;
    task->output = output.p ? span_dup(output) : NULL;
    task->output_len = output.n;
}

int row_load(struct sql *db, int64_t id, bool inputs, struct task **ret, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      inputs ? "SELECT " TASK_COLUMNS ", i.input, i.options FROM tasks t "
                               "LEFT JOIN task_inputs i ON i.id = t.id WHERE t.id = ?"
                             : "SELECT " TASK_COLUMNS " FROM tasks t WHERE t.id = ?",
                      "i", id);

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    if (r > 0) {
        *ret = task_of_row(st);
        if (inputs) {
            task_set_bodies(*ret, sql_span(st, TASK_COLUMN_COUNT),
                            sql_span(st, TASK_COLUMN_COUNT + 1), (struct span){ NULL, 0 });
        }
    }
    return r;
}

char *lane_name_load(struct sql *db, int64_t lane)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, NULL, "SELECT name FROM lanes WHERE id = ?", "i", lane);

    return xstrdup(r == 0 && sql_next(st, NULL) > 0 ? sql_text(st, 0) : "");
}

int lane_save(struct sql *db, const struct task *task, struct error *reterr)
{
    int r = sql_run(db, reterr,
                    "INSERT INTO lanes(id, kind, model_id, name) VALUES(?, ?, ?, ?) "
                    "ON CONFLICT(id) DO NOTHING",
                    "iiit", task->lane, (int64_t)task->kind, task->model_id, task->model);

    return MIN_OF(r, 0);
}

int output_save(struct sql *db, int64_t id, struct span output, struct error *reterr)
{
    int r = sql_run(db, reterr,
                    "INSERT INTO task_outputs(id, output) VALUES(?, ?) "
                    "ON CONFLICT(id) DO UPDATE SET output = excluded.output",
                    "ib", id, output);

    return MIN_OF(r, 0);
}

int output_remove(struct sql *db, int64_t id, struct error *reterr)
{
    int r = sql_run(db, reterr, "DELETE FROM task_outputs WHERE id = ?", "i", id);

    return MIN_OF(r, 0);
}

int log_append(struct writing *w, int64_t id, const char *level, const char *message, json_t *data,
               struct error *reterr)
{
    _cleanup_(freep) char *text = data ? json_dumps(data, JSON_COMPACT) : NULL;
    int r = sql_run(w->db, reterr,
                    "INSERT INTO task_logs(task_id, n, wall_ms, level, message, data) "
                    "SELECT ?1, coalesce(max(n), 0) + 1, ?2, ?3, ?4, ?5 FROM task_logs "
                    "WHERE task_id = ?1 HAVING coalesce(max(n), 0) < ?6",
                    "iittti", id, world_wall_ms(w->world), level, message, text,
                    (int64_t)TASK_LOGS_MAX - 2);

    json_decref(data);
    return MIN_OF(r, 0);
}

/* ---- moves ---- */

struct move *move_begin(struct change *c, struct task *task)
{
    struct move *m;

    if (!c->moves) {
        c->moves = &c->one;
        c->move_cap = 1;
    } else if (c->move_count == c->move_cap) {
        size_t cap = MAX_OF(2 * c->move_cap, 64);
        bool was_one = c->moves == &c->one;

        c->moves = xrealloc(was_one ? NULL : c->moves, cap * sizeof(*c->moves));
        if (was_one) {
            c->moves[0] = c->one;
        }
        c->move_cap = cap;
    }
    m = &c->moves[c->move_count++];
    *m = (struct move){ .task = task,
                        .from = task->state,
                        .from_class = task->priority,
                        .from_ready = task->state == TASK_PENDING && !task->due_ms };
    return m;
}

static bool has_ended(int state)
{
    return state >= TASK_COMPLETED;
}

static void count_day(struct writing *w, const struct move *m)
{
    static const enum day_figure figures[] = { [TASK_COMPLETED] = DAY_COMPLETED,
                                               [TASK_FAILED] = DAY_FAILED,
                                               [TASK_CANCELLED] = DAY_CANCELLED };
    const struct task *task = m->task;

    if (m->from == (int)task->state) {
        return;
    }
    if (has_ended(m->from)) {
        deltas_day(&w->deltas, task, figures[m->from], -1);
    }
    if (has_ended(task->state)) {
        deltas_day(&w->deltas, task, figures[task->state], 1);
    }
    if (task->state == TASK_COMPLETED) {
        deltas_day(&w->deltas, task, DAY_MS, MAX_OF(task->completed_ms - task->started_ms, 0));
    }
}

static json_t *string_or_null(const char *s)
{
    json_t *json = s ? json_string(s) : NULL;

    return json ? json : json_null();
}

static int tell_webhook(struct writing *w, const struct task *task, struct error *reterr)
{
    _cleanup_(freep) char *model = lane_name_load(w->db, task->lane);
    _cleanup_(freep) char *event = xasprintf("task.%s", task_state_name(task->state));
    char at[TIMEFMT_SIZE];
    json_t *body;
    char *text;
    int r;

    timefmt_iso(task->completed_ms, at);
    body = json_pack("{s:s, s:{s:I, s:o, s:s, s:s, s:i, s:o, s:s}}", "event", event, "task", "id",
                     (json_int_t)task->id, "model", string_or_null(model), "type", task->type,
                     "status", task_state_name(task->state), "retry_count", (int)task->retry_count,
                     "error_message", string_or_null(task->error), "completed_at", at);
    text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    r = webhook_append(w->db, task->webhook, event, span_of(text ? text : "{}"), task->completed_ms,
                       reterr);
    free(text);
    w->webhooks |= r >= 0;
    return r;
}

static int tell_dead(struct writing *w, struct move *m, struct error *reterr)
{
    _cleanup_(freep) char *model = lane_name_load(w->db, m->task->lane);

    m->event = event_create(w->world, EVENT_TASK_DEAD, model,
                            json_pack("{s:I, s:o}", "task", (json_int_t)m->task->id, "error",
                                      string_or_null(m->task->error)));
    return events_append(w->db, m->event, reterr);
}

static int tell_end(struct writing *w, struct move *m, struct error *reterr)
{
    int r = 0;

    if (m->from == (int)m->task->state || !has_ended(m->task->state)) {
        return 0;
    }
    if (m->task->webhook) {
        r = tell_webhook(w, m->task, reterr);
    }
    return r >= 0 && m->task->dead ? tell_dead(w, m, reterr) : r;
}

/* What the row was, for the counters. */
static void uncount(struct writing *w, const struct move *m, int64_t was_due)
{
    struct task was = *m->task;

    was.state = (enum task_state)m->from;
    was.priority = m->from_class;
    was.due_ms = was_due;
    deltas_count(&w->deltas, &was, -1);
}

static void count(struct writing *w, const struct move *m)
{
    bool was_delayed = m->from == TASK_PENDING && !m->from_ready;

    uncount(w, m, was_delayed);
    deltas_count(&w->deltas, m->task, 1);
    count_day(w, m);
}

int move_save(struct writing *w, struct move *m, struct error *reterr)
{
    struct task *t = m->task;
    int r;

    t->updated_ms = MAX_OF(world_wall_ms(w->world), t->updated_ms);
    r = sql_run(
        w->db, reterr,
        "UPDATE tasks SET state = ?, class = ?, due_ms = ?, fence = ?, retry_count = ?, "
        "lost = ?, updated_ms = ?, started_ms = ?, completed_ms = ?, http_status = ?, dead = ?, "
        "instance = ?, remote_id = ?, error = ? WHERE id = ? AND state = ?",
        "iiiiiiiiiiitttii", (int64_t)t->state, (int64_t)t->priority, t->due_ms, t->fence,
        (int64_t)t->retry_count, (int64_t)t->lost, t->updated_ms, t->started_ms, t->completed_ms,
        (int64_t)t->http_status, (int64_t)t->dead, t->instance, t->remote_id, t->error, t->id,
        (int64_t)m->from);
    if (r < 0) {
        return r;
    }
    count(w, m);
    return tell_end(w, m, reterr);
}

static int insert_row(struct writing *w, const struct task *t, struct span key,
                      struct error *reterr)
{
    struct span public_id = { t->public_id[0] ? t->public_id : NULL, strlen(t->public_id) };

    return sql_run(w->db, reterr,
                   "INSERT INTO tasks(lane, type, state, class, due_ms, fence, retry_count, "
                   "max_retries, created_ms, updated_ms, started_ms, completed_ms, timeout_ms, "
                   "bytes, batch_id, batch_line, public_id, idempotency_key, instance, webhook) "
                   "VALUES(?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?) "
                   "ON CONFLICT DO NOTHING",
                   "itiiiiiiiiiiiisstt", t->lane, t->type, (int64_t)t->state, (int64_t)t->priority,
                   t->due_ms, t->fence, (int64_t)t->max_retries, t->created_ms, t->updated_ms,
                   t->started_ms, (int64_t)t->timeout_ms, (int64_t)t->bytes, t->batch_id,
                   t->batch_line, public_id, key, t->instance, t->webhook);
}

int move_insert(struct writing *w, struct move *m, struct span key, struct error *reterr)
{
    struct task *t = m->task;
    struct span options = { t->options, t->options ? strlen(t->options) : 0 };
    int r = insert_row(w, t, key, reterr);

    if (r <= 0) {
        return r;
    }
    t->id = sql_last_id(w->db);
    r = sql_run(w->db, reterr, "INSERT INTO task_inputs(id, input, options) VALUES(?, ?, ?)", "ibs",
                t->id, (struct span){ t->input, t->input_len }, options);
    if (r < 0) {
        return r;
    }
    m->from = -1;
    m->from_ready = false;
    deltas_count(&w->deltas, t, 1);
    deltas_day(&w->deltas, t, DAY_SUBMITTED, 1);
    return 1;
}

int move_remove(struct writing *w, struct move *m, struct error *reterr)
{
    static const char *const statements[] = {
        "DELETE FROM tasks WHERE id = ?",
        "DELETE FROM task_inputs WHERE id = ?",
        "DELETE FROM task_outputs WHERE id = ?",
        "DELETE FROM task_logs WHERE task_id = ?",
    };

    for (size_t i = 0; i < ARRAY_SIZE(statements); i++) {
        int r = sql_run(w->db, reterr, statements[i], "i", m->task->id);

        if (r < 0) {
            return r;
        }
    }
    m->removed = true;
    deltas_count(&w->deltas, m->task, -1);
    if (!has_ended(m->task->state)) { /* every one that was submitted ends in one way */
        deltas_day(&w->deltas, m->task, DAY_CANCELLED, 1);
    }
    return 0;
}
