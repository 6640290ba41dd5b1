// SPDX-License-Identifier: Apache-2.0
/* Experiments: jobs under one name, with the question that was asked last. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "evaluations/evaluations_int.h"

enum { LIST_MAX = 1000, TASKS_MAX = 1000, RESULT_IDS_MAX = 1000 };

struct experiment_inquiry {
    struct inquiry q;
    int64_t id, now_ms;
    int64_t *ids; /* of many */
    size_t count;
    char *name, *description; /* of a patch; NULL: as it is */
};

static struct experiment_inquiry *of(struct inquiry *q)
{
    return container_of(q, struct experiment_inquiry, q);
}

static void finish(struct inquiry *q)
{
    free(of(q)->ids);
    free(of(q)->name);
    free(of(q)->description);
}

static struct experiment_inquiry *create(struct evaluations *v, int64_t id,
                                         evaluations_done_fn done, void *arg)
{
    struct experiment_inquiry *i = inquiry_create(v, sizeof(*i), done, arg);

    i->id = id;
    i->now_ms = world_wall_ms(v->in.world);
    i->q.finish = finish;
    return i;
}

/* ---- reading ---- */

static int run_list(struct inquiry *q, struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    json_t *array = json_array();
    int r;

    q->answer = json_pack("{s:o}", "experiments", array);
    r = sql_query(db, &st, reterr,
                  "SELECT " EXPERIMENT_COLUMNS " FROM experiments x ORDER BY x.id DESC LIMIT ?",
                  "i", (int64_t)LIST_MAX);
    if (r < 0) {
        return r;
    }
    while ((r = sql_next(st, reterr)) > 0) {
        json_array_append_new(array, experiment_object(st, false));
    }
    return r;
}

void experiments_list(struct evaluations *v, evaluations_done_fn done, void *arg)
{
    inquiry_read(&create(v, 0, done, arg)->q, run_list);
}

static int load(struct sql *db, int64_t id, json_t **ret, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT " EXPERIMENT_COLUMNS " FROM experiments x WHERE x.id = ?", "i", id);

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    if (r == 0) {
        return error_set(reterr, -ENOENT, "there is no experiment %lld", (long long)id);
    }
    if (r > 0) {
        *ret = experiment_object(st, true);
    }
    return MIN_OF(r, 0);
}

static int add_jobs(struct inquiry *q, struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    json_t *tasks = json_array();
    int r;

    json_object_set_new(q->answer, "tasks", tasks);
    r = sql_query(db, &st, reterr,
                  "SELECT " JOB_COLUMNS JOB_FROM
                  "WHERE e.experiment_id = ? ORDER BY e.id DESC LIMIT ?",
                  "ii", of(q)->id, (int64_t)TASKS_MAX);
    if (r < 0) {
        return r;
    }
    while ((r = sql_next(st, reterr)) > 0) {
        json_array_append_new(tasks, job_object(st, true));
    }
    return r;
}

static int run_get(struct inquiry *q, struct sql *db, struct error *reterr)
{
    int r = load(db, of(q)->id, &q->answer, reterr);

    return r < 0 ? r : add_jobs(q, db, reterr);
}

static void dress_jobs(struct inquiry *q)
{
    json_t *job;
    size_t i;

    json_array_foreach(json_object_get(q->answer, "tasks"), i, job)
    {
        live_dress(q->owner, job);
    }
}

void experiments_get(struct evaluations *v, int64_t id, evaluations_done_fn done, void *arg)
{
    struct experiment_inquiry *i = create(v, id, done, arg);

    i->q.dress = dress_jobs;
    inquiry_read(&i->q, run_get);
}

/* ---- name and description ---- */

static int run_patch(struct inquiry *q, struct sql *db, struct error *reterr)
{
    struct experiment_inquiry *i = of(q);
    int64_t other = 0;
    int r = i->name ? experiment_find(db, i->name, &other, reterr) : 0;

    if (r > 0 && other != i->id) {
        return inquiry_fault(q, -EEXIST, "name", reterr, "there is an experiment '%s' already",
                             i->name);
    }
    r = r < 0 ? r
              : sql_run(db, reterr,
                        "UPDATE experiment_rows SET name = coalesce(?, name), "
                        "description = coalesce(?, description), updated_ms = ? WHERE id = ?",
                        "ttii", i->name, i->description, i->now_ms, i->id);
    r = r < 0 ? r : load(db, i->id, &q->answer, reterr);
    if (r >= 0) {
        json_object_set_new(q->answer, "success", json_true());
    }
    return r;
}

static int take_name(struct experiment_inquiry *i, const json_t *value, struct error *reterr)
{
    int r = experiment_check_name(json_string_value(value), json_string_length(value), reterr);

    if (r < 0) {
        return r;
    }
    i->name = xstrdup(json_string_value(value));
    return 0;
}

static int take_description(struct experiment_inquiry *i, const json_t *value, struct error *reterr)
{
    if (json_string_length(value) > DESCRIPTION_MAX) {
        return error_set(reterr, -EINVAL, "description: has at most %d bytes", DESCRIPTION_MAX);
    }
    i->description = xstrdup(json_string_value(value));
    return 0;
}

static int take_patch(struct experiment_inquiry *i, const json_t *body, struct error *reterr)
{
    const char *member;
    const json_t *value;
    int r = 0;

    if (!json_is_object(body)) {
        return error_set(reterr, -EPROTO, "the body must be an object");
    }
    json_object_foreach(UNCONST(json_t *, body), member, value)
    {
        const bool is_name = str_eq(member, "name");

        if (!is_name && !str_eq(member, "description")) {
            return inquiry_fault(&i->q, -EINVAL, strlen(member) < PRESET_NAME_MAX ? member : "",
                                 reterr, "only name and description can be changed");
        }
        if (!json_is_string(value)) {
            return inquiry_fault(&i->q, -EPROTO, member, reterr, "%s: must be a string", member);
        }
        r = is_name ? take_name(i, value, reterr) : take_description(i, value, reterr);
        if (r < 0) {
            snprintf(i->q.field, sizeof(i->q.field), "%s", member);
            return r;
        }
    }
    return 0;
}

void experiments_patch(struct evaluations *v, int64_t id, const json_t *body,
                       evaluations_done_fn done, void *arg)
{
    struct experiment_inquiry *i = create(v, id, done, arg);
    struct error error = { 0 };
    int r = take_patch(i, body, &error);

    if (r < 0) {
        inquiry_refuse_fault(&i->q, r, &error);
    } else {
        inquiry_write(&i->q, run_patch);
    }
}

/* ---- deleting ---- */

static int check_ids(struct inquiry *q, const json_t *ids, const char *field, size_t max,
                     struct error *reterr)
{
    const json_t *id;
    size_t i;

    if (!json_is_array(ids)) {
        return inquiry_fault(q, -EPROTO, field, reterr, "%s: must be an array", field);
    }
    if (json_array_size(ids) == 0 || json_array_size(ids) > max) {
        return inquiry_fault(q, -EINVAL, field, reterr, "%s: 1 to %zu of them", field, max);
    }
    json_array_foreach(ids, i, id)
    {
        if (!json_is_integer(id)) {
            return inquiry_fault(q, -EPROTO, field, reterr, "%s: must be integers", field);
        }
    }
    return 0;
}

/* False: it is refused. */
static bool take_ids(struct experiment_inquiry *i, const json_t *ids, const char *field, size_t max)
{
    struct error error = { 0 };
    const json_t *id;
    size_t n;
    int r = check_ids(&i->q, ids, field, max, &error);

    if (r < 0) {
        inquiry_refuse_fault(&i->q, r, &error);
        return false;
    }
    i->ids = xcalloc(json_array_size(ids), sizeof(*i->ids));
    json_array_foreach(ids, n, id)
    {
        i->ids[i->count++] = json_integer_value(id);
    }
    return true;
}

static void tell_count(struct experiment_inquiry *i, size_t n, const char *what)
{
    _cleanup_(freep) char *message = xasprintf("%zu %s were deleted", n, what);

    json_decref(i->q.answer);
    i->q.answer = json_pack("{s:b, s:s, s:I}", "success", 1, "message", message, "deleted_count",
                            (json_int_t)n);
}

static int exists(struct sql *db, int64_t id, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, "SELECT 1 FROM experiment_rows WHERE id = ?", "i", id);

    return r < 0 ? r : sql_next(st, reterr);
}

/* Those that are not there are passed over, unless none is. */
static int erase(void *arg, struct sql *db, struct task_ids *ret, struct error *reterr)
{
    struct experiment_inquiry *i = arg;
    size_t n = 0;
    int r = 0;

    for (size_t k = 0; r >= 0 && k < i->count; k++) {
        r = exists(db, i->ids[k], reterr);
        n += r > 0;
        r = r > 0 ? experiment_remove(db, i->ids[k], ret, reterr) : r;
    }
    if (r >= 0 && n == 0) {
        return error_set(reterr, -ENOENT, "there is no experiment %lld", (long long)i->ids[0]);
    }
    tell_count(i, n, "experiments");
    return r;
}

static void on_erased(void *arg, int result, const struct task *task, const struct error *e)
{
    (void)task;
    inquiry_end(&((struct experiment_inquiry *)arg)->q, result, e);
}

void experiments_delete_many(struct evaluations *v, const json_t *experiment_ids,
                             evaluations_done_fn done, void *arg)
{
    struct experiment_inquiry *i = create(v, 0, done, arg);

    if (take_ids(i, experiment_ids, "experiment_ids", EVALUATION_IDS_MAX)) {
        tasks_erase(v->in.tasks, erase, on_erased, i);
    }
}

static int run_delete_results(struct inquiry *q, struct sql *db, struct error *reterr)
{
    struct experiment_inquiry *i = of(q);
    size_t n = 0;
    int r = exists(db, i->id, reterr);

    if (r == 0) {
        return error_set(reterr, -ENOENT, "there is no experiment %lld", (long long)i->id);
    }
    for (size_t k = 0; r >= 0 && k < i->count; k++) {
        r = sql_run(db, reterr,
                    "DELETE FROM evaluation_results WHERE id = ? AND task_id IN "
                    "(SELECT id FROM evaluation_jobs WHERE experiment_id = ?)",
                    "ii", i->ids[k], i->id);
        n += r > 0;
    }
    tell_count(i, n, "results");
    return MIN_OF(r, 0);
}

void experiments_delete_results(struct evaluations *v, int64_t id, const json_t *result_ids,
                                evaluations_done_fn done, void *arg)
{
    struct experiment_inquiry *i = create(v, id, done, arg);

    if (take_ids(i, result_ids, "result_ids", RESULT_IDS_MAX)) {
        inquiry_write(&i->q, run_delete_results);
    }
}
