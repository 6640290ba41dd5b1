// SPDX-License-Identifier: Apache-2.0
/*
 * What was kept of a file (import.c) becomes experiments and jobs, as it was said of each: all in
 * one transaction. What was not over when it was exported is left out.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/timefmt.h"
#include "evaluations/evaluations_int.h"

enum action { IMPORT_AS_IT_IS, IMPORT_SKIP, IMPORT_OVERWRITE, IMPORT_RENAME, IMPORT_MAX_ };
static const char *const action_names[] = { [IMPORT_AS_IT_IS] = "import",
                                            [IMPORT_SKIP] = "skip",
                                            [IMPORT_OVERWRITE] = "overwrite",
                                            [IMPORT_RENAME] = "rename" };

struct execution {
    struct inquiry q;
    char id[UUID_SIZE], now[TIMEFMT_SIZE];
    int64_t now_ms;
    char *text;
    json_t *configs; /* by original name */
    char (*task_ids)[UUID_SIZE];
    size_t task_count, next;
    size_t did[IMPORT_MAX_], left_out;
};

static void finish_execution(struct inquiry *q)
{
    struct execution *e = container_of(q, struct execution, q);

    free(e->text);
    json_decref(e->configs);
    free(e->task_ids);
}

static const char *text_at(const json_t *object, const char *member)
{
    return json_string_value(json_object_get(object, member));
}

static int insert_plans(struct execution *e, struct sql *db, const json_t *task, const char *member,
                        int64_t job, struct error *reterr)
{
    const json_t *plan;
    size_t i;
    int r = 0;

    json_array_foreach(json_object_get(task, member), i, plan)
    {
        r = r < 0 ? r : result_insert(db, job, plan, e->now_ms, reterr);
    }
    return r;
}

/* What was not over is left out: it cannot go on here. */
static int insert_task(struct execution *e, struct sql *db, const json_t *task, int64_t experiment,
                       struct error *reterr)
{
    const char *status = text_at(task, "status"), *created = text_at(task, "created_at");
    _cleanup_(freep) char *manual = text_of_json(json_object_get(task, "manual_parallelism"));
    _cleanup_(freep) char *limits = text_of_json(json_object_get(task, "search_constraints"));
    _cleanup_(freep) char *stats = text_of_json(json_object_get(task, "search_stats"));
    const char *message = text_at(task, "message");
    const bool completed = str_eq(status, "completed");
    int64_t job;
    int r;

    if (task_state_from_string(status) < TASK_COMPLETED) {
        e->left_out++;
        return 0;
    }
    r = sql_run(db, reterr,
                "INSERT INTO evaluation_jobs(task_id, experiment_id, progress, message, "
                "search_mode, manual_parallelism, search_constraints, search_stats, imported, "
                "status, error, created_at, started_at, completed_at) "
                "VALUES(?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?)",
                "tidtttttttttt", e->task_ids[e->next++], experiment,
                completed ? 100.0 : json_number_value(json_object_get(task, "progress")),
                message ? message : "", text_at(task, "search_mode"), manual, limits,
                completed ? stats : NULL, status, text_at(task, "error"),
                created ? created : e->now, text_at(task, "started_at"),
                text_at(task, "completed_at"));
    if (r < 0) {
        return r;
    }
    job = sql_last_id(db);
    if (!completed) {
        return 0; /* then what it says of plans is nobody's result */
    }
    r = insert_plans(e, db, task, "top_k_plans", job, reterr);
    return r < 0 ? r : insert_plans(e, db, task, "infeasible_plans", job, reterr);
}

static int insert(struct execution *e, struct sql *db, const json_t *x, const char *name,
                  struct error *reterr)
{
    _cleanup_(freep) char *model = text_of_json(json_object_get(x, "model_config"));
    _cleanup_(freep) char *hardware = text_of_json(json_object_get(x, "hardware_config"));
    _cleanup_(freep) char *inference = text_of_json(json_object_get(x, "inference_config"));
    const char *description = text_at(x, "description");
    const json_t *task;
    int64_t id = 0;
    size_t i;
    int r = experiment_insert(db,
                              &(struct experiment_words){ name, description ? description : "",
                                                          model, hardware, inference },
                              e->now_ms, &id, reterr);

    json_array_foreach(json_object_get(x, "tasks"), i, task)
    {
        r = r < 0 ? r : insert_task(e, db, task, id, reterr);
    }
    return r;
}

/* What is to be done with it, and its name then. Without a word of the user's: what stands is
 * left as it is. */
static enum action action_for(const json_t *config, bool stands, const char **name)
{
    const char *word = text_at(config, "action");

    if (!config || str_eq(word, action_names[IMPORT_AS_IT_IS])) {
        return stands ? IMPORT_SKIP : IMPORT_AS_IT_IS;
    }
    if (str_eq(word, action_names[IMPORT_SKIP])) {
        return IMPORT_SKIP;
    }
    if (str_eq(word, action_names[IMPORT_RENAME])) {
        *name = text_at(config, "new_name");
        return IMPORT_RENAME;
    }
    return stands ? IMPORT_OVERWRITE : IMPORT_AS_IT_IS;
}

static int import_one(struct execution *e, struct sql *db, const json_t *x, struct task_ids *gone,
                      struct error *reterr)
{
    const char *original = text_at(x, "name"), *name = original;
    int64_t id = 0;
    int r = experiment_find(db, name, &id, reterr);
    enum action action;

    if (r < 0) {
        return r;
    }
    action = action_for(json_object_get(e->configs, original), r > 0, &name);
    e->did[action]++;
    if (action == IMPORT_SKIP) {
        return 0;
    }
    r = action == IMPORT_OVERWRITE ? experiment_remove(db, id, gone, reterr)
                                   : experiment_find(db, name, &id, reterr);
    if (r > 0) {
        return inquiry_fault(&e->q, -EEXIST, "new_name", reterr,
                             "there is an experiment '%s' already", name);
    }
    return r < 0 ? r : insert(e, db, x, name, reterr);
}

static int check_kept(struct execution *e, struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, "SELECT count(*) FROM evaluation_jobs", "");

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    if (r > 0 && sql_int(st, 0) + (int64_t)e->task_count > EVALUATIONS_MAX) {
        return error_set(reterr, -EAGAIN, "at most %d evaluations are kept: delete some",
                         EVALUATIONS_MAX);
    }
    return MIN_OF(r, 0);
}

static void tell_execution(struct execution *e)
{
    const size_t imported =
        e->did[IMPORT_AS_IT_IS] + e->did[IMPORT_RENAME] + e->did[IMPORT_OVERWRITE];
    _cleanup_(freep) char *message =
        xasprintf("%zu experiments were imported, %zu skipped", imported, e->did[IMPORT_SKIP]);

    json_decref(e->q.answer);
    e->q.answer = json_pack(
        "{s:b, s:s, s:I, s:I, s:I, s:I, s:I}", "success", 1, "message", message, "imported_count",
        (json_int_t)imported, "skipped_count", (json_int_t)e->did[IMPORT_SKIP], "overwritten_count",
        (json_int_t)e->did[IMPORT_OVERWRITE], "renamed_count", (json_int_t)e->did[IMPORT_RENAME],
        "unfinished_tasks_left_out", (json_int_t)e->left_out);
}

static int import_all(void *arg, struct sql *db, struct task_ids *gone, struct error *reterr)
{
    struct execution *e = arg;
    json_t *file = json_loads(e->text, 0, NULL);
    const json_t *x;
    size_t i;
    int r = check_kept(e, db, reterr);

    e->next = e->left_out = 0;
    memset(e->did, 0, sizeof(e->did));
    json_array_foreach(json_object_get(file, "experiments"), i, x)
    {
        r = r < 0 ? r : import_one(e, db, x, gone, reterr);
    }
    json_decref(file);
    if (r >= 0) {
        tell_execution(e);
    }
    return r;
}

static void on_imported(void *arg, int result, const struct task *task, const struct error *error)
{
    struct execution *e = arg;
    struct import *i = e->q.owner ? import_find(e->q.owner, e->id) : NULL;

    (void)task;
    if (result >= 0 && i) {
        import_free(i);
    }
    inquiry_end(&e->q, result, error);
}

static bool is_action(const char *word)
{
    for (int i = 0; word && i < IMPORT_MAX_; i++) {
        if (str_eq(word, action_names[i])) {
            return true;
        }
    }
    return false;
}

static int take_config(struct execution *e, const json_t *config, struct error *reterr)
{
    const char *original = text_at(config, "original_name"), *action = text_at(config, "action");
    const char *name = text_at(config, "new_name");

    if (!original) {
        return inquiry_fault(&e->q, -EPROTO, "configs.original_name", reterr,
                             "configs.original_name: must be a string");
    }
    if (!is_action(action)) {
        return inquiry_fault(&e->q, -EINVAL, "configs.action", reterr,
                             "configs.action: skip, overwrite or rename");
    }
    if (str_eq(action, action_names[IMPORT_RENAME]) &&
        (!name || experiment_check_name(name, strlen(name), reterr) < 0)) {
        return inquiry_fault(&e->q, -EINVAL, "configs.new_name", reterr,
                             "configs.new_name: an experiment's name has 1 to %d bytes",
                             EVALUATION_NAME_MAX);
    }
    json_object_set(e->configs, original, UNCONST(json_t *, config));
    return 0;
}

static int take_configs(struct execution *e, const json_t *body, struct error *reterr)
{
    const json_t *configs = json_object_get(body, "configs"), *config;
    json_t *own;
    size_t i;
    int r = 0;

    if (configs && !json_is_array(configs)) {
        return inquiry_fault(&e->q, -EPROTO, "configs", reterr, "configs: must be an array");
    }
    own = json_deep_copy(configs); /* the store's thread reads it */
    json_array_foreach(own, i, config)
    {
        r = r < 0 ? r : take_config(e, config, reterr);
    }
    json_decref(own);
    return r;
}

static int read_execution(struct execution *e, const json_t *body, struct error *reterr)
{
    const char *id = text_at(body, "temp_file_id");
    const struct import *i;
    int r;

    if (!id) {
        return inquiry_fault(&e->q, -EPROTO, "temp_file_id", reterr, "temp_file_id: %s",
                             json_object_get(body, "temp_file_id") ? "must be a string"
                                                                   : "is missing");
    }
    i = import_find(e->q.owner, id);
    if (!i) {
        return inquiry_fault(&e->q, -ENOENT, "temp_file_id", reterr,
                             "temp_file_id: there is no such file (any more)");
    }
    r = take_configs(e, body, reterr);
    if (r >= 0) {
        snprintf(e->id, sizeof(e->id), "%s", i->id);
        e->text = xstrdup(i->text);
        e->task_count = i->tasks;
    }
    return r;
}

void experiments_execute_import(struct evaluations *v, const json_t *body, evaluations_done_fn done,
                                void *arg)
{
    struct execution *e = inquiry_create(v, sizeof(*e), done, arg);
    struct error error = { 0 };
    int r;

    e->q.finish = finish_execution;
    e->configs = json_object();
    e->now_ms = world_wall_ms(v->in.world);
    timefmt_iso(e->now_ms, e->now);
    r = read_execution(e, body, &error);
    if (r < 0) {
        inquiry_refuse_fault(&e->q, r, &error);
        return;
    }
    e->task_ids = xcalloc(e->task_count + 1, UUID_SIZE);
    for (size_t i = 0; i < e->task_count; i++) {
        world_uuid(v->in.world, e->task_ids[i]);
    }
    tasks_erase(v->in.tasks, import_all, on_imported, e);
}
