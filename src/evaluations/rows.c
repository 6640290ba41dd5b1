// SPDX-License-Identifier: Apache-2.0
/*
 * The tables, and what is read of them in the contract's shape. What a person finds with sqlite3
 * (experiments, evaluation_tasks, evaluation_results) has the seed's names and columns; the first
 * two are views, so what they say of states and counts cannot differ from what is.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "evaluations/evaluations_int.h"

_Static_assert(TASK_PENDING == 0 && TASK_RUNNING == 1 && TASK_COMPLETED == 2 && TASK_FAILED == 3 &&
                   TASK_CANCELLED == 4,
               "the views name them by number");

#define ISO(ms)                                                                                    \
    "CASE WHEN " ms " > 0 THEN strftime('%Y-%m-%dT%H:%M:%fZ', " ms " / 1000.0, 'unixepoch') END"

// clang-format off
static const char *const migrations[] = {
    "CREATE TABLE experiment_rows("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  name TEXT NOT NULL UNIQUE,"
    "  description TEXT NOT NULL,"
    "  created_ms INTEGER NOT NULL,"
    "  updated_ms INTEGER NOT NULL,"
    "  model_config TEXT,"
    "  hardware_config TEXT,"
    "  inference_config TEXT) STRICT;"
    /* The state is that of the task with this public id. Of an imported one, that has no task, it
     * stands here. */
    "CREATE TABLE evaluation_jobs("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  task_id TEXT NOT NULL UNIQUE,"
    "  experiment_id INTEGER NOT NULL,"
    "  progress REAL NOT NULL DEFAULT 0,"
    "  message TEXT NOT NULL DEFAULT '',"
    "  search_mode TEXT,"
    "  manual_parallelism TEXT,"
    "  search_constraints TEXT,"
    "  search_stats TEXT,"
    "  imported INTEGER NOT NULL DEFAULT 0,"
    "  status TEXT,"
    "  error TEXT,"
    "  created_at TEXT,"
    "  started_at TEXT,"
    "  completed_at TEXT) STRICT;"
    "CREATE INDEX evaluation_jobs_experiment ON evaluation_jobs(experiment_id);"
    "CREATE TABLE evaluation_results("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  task_id INTEGER NOT NULL," /* evaluation_tasks.id */
    "  dp INTEGER NOT NULL,"
    "  tp INTEGER NOT NULL,"
    "  pp INTEGER NOT NULL,"
    "  ep INTEGER NOT NULL,"
    "  sp INTEGER NOT NULL,"
    "  moe_tp INTEGER NOT NULL,"
    "  chips INTEGER NOT NULL,"
    "  throughput REAL NOT NULL,"
    "  tps_per_chip REAL NOT NULL,"
    "  ttft REAL NOT NULL,"
    "  tpot REAL NOT NULL,"
    "  mfu REAL NOT NULL,"
    "  mbu REAL NOT NULL,"
    "  score REAL NOT NULL,"
    "  is_feasible INTEGER NOT NULL,"
    "  infeasible_reason TEXT,"
    "  full_result TEXT NOT NULL,"
    "  created_at TEXT NOT NULL) STRICT;"
    "CREATE INDEX evaluation_results_task ON evaluation_results(task_id);"
    "CREATE TABLE evaluation_settings(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;"
    "CREATE VIEW evaluation_tasks AS SELECT j.id, j.task_id, j.experiment_id,"
    "  CASE WHEN j.imported THEN j.status ELSE"
    "    CASE t.state WHEN 0 THEN 'pending' WHEN 1 THEN 'running' WHEN 2 THEN 'completed'"
    "      WHEN 3 THEN 'failed' ELSE 'cancelled' END END AS status,"
    "  CASE WHEN j.imported THEN j.progress WHEN t.state = 0 THEN 0.0 WHEN t.state = 2 THEN 100.0"
    "    ELSE j.progress END AS progress,"
    "  CASE WHEN j.imported OR t.state = 2 THEN j.message ELSE"
    "    CASE t.state WHEN 0 THEN '' WHEN 1 THEN 'searching' WHEN 3 THEN 'failed'"
    "      ELSE 'cancelled' END END AS message,"
    "  CASE WHEN j.imported THEN j.error WHEN t.state = 3 THEN t.error END AS error,"
    "  CASE WHEN j.imported THEN j.created_at ELSE " ISO("t.created_ms") " END AS created_at,"
    "  CASE WHEN j.imported THEN j.started_at WHEN t.state > 0 THEN " ISO("t.started_ms")
    "    END AS started_at,"
    "  CASE WHEN j.imported THEN j.completed_at ELSE " ISO("t.completed_ms") " END AS completed_at,"
    "  j.search_mode, j.manual_parallelism, j.search_constraints,"
    "  CASE WHEN j.imported OR t.state = 2 THEN j.search_stats END AS search_stats,"
    "  t.class AS priority, t.id AS queue_id"
    "  FROM evaluation_jobs j LEFT JOIN tasks t ON t.public_id = j.task_id;"
    "CREATE VIEW experiments AS SELECT x.id, x.name, x.description,"
    "  " ISO("x.created_ms") " AS created_at, " ISO("x.updated_ms") " AS updated_at,"
    "  x.model_config, x.hardware_config, x.inference_config,"
    "  (SELECT count(*) FROM evaluation_jobs j WHERE j.experiment_id = x.id) AS total_tasks,"
    "  (SELECT count(*) FROM evaluation_jobs j LEFT JOIN tasks t ON t.public_id = j.task_id"
    "    WHERE j.experiment_id = x.id"
    "    AND CASE WHEN j.imported THEN j.status = 'completed' ELSE t.state = 2 END)"
    "    AS completed_tasks"
    "  FROM experiment_rows x",
    documents_table,
};
// clang-format on
const struct store_schema evaluations_schema = { "evaluations", migrations,
                                                 ARRAY_SIZE(migrations) };

/* ---- JSON and text ---- */

json_t *json_of_text(const char *text)
{
    json_t *json = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;

    return json ? json : json_null();
}

char *text_of_json(const json_t *json)
{
    return json && !json_is_null(json) ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
}

json_t *string_or_null(const char *s)
{
    json_t *json = s ? json_string(s) : NULL;

    return json ? json : json_null();
}

/* ---- jobs ---- */

json_t *job_object(struct sql_stmt *st, bool whole)
{
    json_t *job =
        json_pack("{s:o, s:o, s:o, s:f, s:o, s:o, s:o, s:o}", "task_id",
                  string_or_null(sql_text(st, 1)), "experiment_name",
                  string_or_null(sql_text(st, 10)), "status", string_or_null(sql_text(st, 2)),
                  "progress", sql_double(st, 3), "message", string_or_null(sql_text(st, 4)),
                  "created_at", string_or_null(sql_text(st, 7)), "started_at",
                  string_or_null(sql_text(st, 8)), "completed_at", string_or_null(sql_text(st, 9)));

    if (!job) {
        return json_null();
    }
    json_object_set_new(job, "priority",
                        sql_is_null(st, 12) ? json_null() : json_integer(sql_int(st, 12)));
    if (whole) {
        json_object_set_new(job, "error", string_or_null(sql_text(st, 5)));
        json_object_set_new(job, "search_stats", json_of_text(sql_text(st, 6)));
        json_object_set_new(job, "experiment_id", json_integer(sql_int(st, 11)));
        json_object_set_new(job, "search_mode", string_or_null(sql_text(st, 13)));
        json_object_set_new(job, "manual_parallelism", json_of_text(sql_text(st, 14)));
        json_object_set_new(job, "search_constraints", json_of_text(sql_text(st, 15)));
    }
    return job;
}

int job_find(struct sql *db, const char *task_id, int64_t *ret_job, int64_t *ret_task,
             struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT j.id, t.id FROM evaluation_jobs j "
                      "LEFT JOIN tasks t ON t.public_id = j.task_id WHERE j.task_id = ?",
                      "t", task_id);

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    if (r > 0) {
        *ret_job = sql_int(st, 0);
        *ret_task = sql_int(st, 1);
    }
    return r;
}

int job_remove(struct sql *db, int64_t job, struct error *reterr)
{
    int r = sql_run(db, reterr, "DELETE FROM evaluation_results WHERE task_id = ?", "i", job);

    r = r < 0 ? r : sql_run(db, reterr, "DELETE FROM evaluation_jobs WHERE id = ?", "i", job);
    return MIN_OF(r, 0);
}

/* ---- experiments ---- */

int experiment_check_name(const char *name, size_t length, struct error *reterr)
{
    if (length == 0 || length > EVALUATION_NAME_MAX) {
        return error_set(reterr, -EINVAL, "an experiment's name has 1 to %d bytes",
                         EVALUATION_NAME_MAX);
    }
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f) {
            return error_set(reterr, -EINVAL, "an experiment's name has no control characters");
        }
    }
    return 0;
}

int experiment_find(struct sql *db, const char *name, int64_t *ret, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, "SELECT id FROM experiment_rows WHERE name = ?", "t", name);

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    if (r > 0) {
        *ret = sql_int(st, 0);
    }
    return r;
}

static int check_room(struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, "SELECT count(*) FROM experiment_rows", "");

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    if (r > 0 && sql_int(st, 0) >= EXPERIMENTS_MAX) {
        return error_set(reterr, -EAGAIN, "%d experiments are kept already: delete some",
                         EXPERIMENTS_MAX);
    }
    return MIN_OF(r, 0);
}

int experiment_insert(struct sql *db, const struct experiment_words *x, int64_t now_ms,
                      int64_t *ret, struct error *reterr)
{
    int r = check_room(db, reterr);

    if (r < 0) {
        return r;
    }
    r = sql_run(db, reterr,
                "INSERT INTO experiment_rows(name, description, created_ms, updated_ms, "
                "model_config, hardware_config, inference_config) VALUES(?, ?, ?, ?, ?, ?, ?)",
                "ttiittt", x->name, x->description, now_ms, now_ms, x->model, x->hardware,
                x->inference);
    *ret = r < 0 ? 0 : sql_last_id(db);
    return MIN_OF(r, 0);
}

static int add_task_ids(struct sql *db, int64_t id, struct task_ids *ids, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT t.id FROM evaluation_jobs j JOIN tasks t ON t.public_id = j.task_id "
                      "WHERE j.experiment_id = ?",
                      "i", id);

    if (r < 0) {
        return r;
    }
    while ((r = sql_next(st, reterr)) > 0) {
        ids->ids = xrealloc(ids->ids, (ids->count + 1) * sizeof(*ids->ids));
        ids->ids[ids->count++] = sql_int(st, 0);
    }
    return r;
}

int experiment_remove(struct sql *db, int64_t id, struct task_ids *ids, struct error *reterr)
{
    static const char *const statements[] = {
        "DELETE FROM evaluation_results WHERE task_id IN "
        "(SELECT id FROM evaluation_jobs WHERE experiment_id = ?)",
        "DELETE FROM evaluation_jobs WHERE experiment_id = ?",
        "DELETE FROM experiment_rows WHERE id = ?",
    };
    int r = add_task_ids(db, id, ids, reterr);

    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(statements); i++) {
        r = sql_run(db, reterr, statements[i], "i", id);
    }
    return MIN_OF(r, 0);
}

json_t *experiment_object(struct sql_stmt *st, bool whole)
{
    json_t *x =
        json_pack("{s:I, s:o, s:o, s:I, s:I, s:o, s:o}", "id", (json_int_t)sql_int(st, 0), "name",
                  string_or_null(sql_text(st, 1)), "description", string_or_null(sql_text(st, 2)),
                  "total_tasks", (json_int_t)sql_int(st, 3), "completed_tasks",
                  (json_int_t)sql_int(st, 4), "created_at", string_or_null(sql_text(st, 5)),
                  "updated_at", string_or_null(sql_text(st, 6)));

    if (x && whole) {
        json_object_set_new(x, "model_config", json_of_text(sql_text(st, 7)));
        json_object_set_new(x, "hardware_config", json_of_text(sql_text(st, 8)));
        json_object_set_new(x, "inference_config", json_of_text(sql_text(st, 9)));
    }
    return x ? x : json_null();
}
