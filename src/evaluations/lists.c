// SPDX-License-Identifier: Apache-2.0
/* One job, lists of jobs: the newest first. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "evaluations/evaluations_int.h"

enum { LIST_DEFAULT = 50, LIST_MAX = 1000, RUNNING_MAX = 1000 };

struct list_inquiry {
    struct inquiry q;
    char *status, *name; /* of a filter; NULL: all */
    char *text;
    char *task_id;     /* of one */
    const char *order; /* what stands behind ORDER BY */
    unsigned limit, offset;
};

static struct list_inquiry *of(struct inquiry *q)
{
    return container_of(q, struct list_inquiry, q);
}

static void finish(struct inquiry *q)
{
    free(of(q)->status);
    free(of(q)->name);
    free(of(q)->text);
    free(of(q)->task_id);
}

static struct list_inquiry *create(struct evaluations *v, evaluations_done_fn done, void *arg)
{
    struct list_inquiry *i = inquiry_create(v, sizeof(*i), done, arg);

    i->q.finish = finish;
    return i;
}

/* ---- one ---- */

/* What was asked, as it came; null of an imported job, that has no task. */
static int add_request(struct sql *db, const char *task_id, json_t *job, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT CAST(i.input AS TEXT) FROM tasks t "
                      "JOIN task_inputs i ON i.id = t.id WHERE t.public_id = ?",
                      "t", task_id);

    r = r < 0 ? r : sql_next(st, reterr);
    json_object_set_new(job, "request", r > 0 ? json_of_text(sql_text(st, 0)) : json_null());
    return MIN_OF(r, 0);
}

static int run_get(struct inquiry *q, struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, "SELECT " JOB_COLUMNS JOB_FROM "WHERE e.task_id = ?", "t",
                      of(q)->task_id);

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    if (r == 0) {
        return error_set(reterr, -ENOENT, "there is no such evaluation");
    }
    if (r > 0) {
        q->answer = job_object(st, true);
        r = add_request(db, of(q)->task_id, q->answer, reterr);
    }
    return MIN_OF(r, 0);
}

static void dress_one(struct inquiry *q)
{
    live_dress(q->owner, q->answer);
}

void evaluations_get(struct evaluations *v, const char *task_id, evaluations_done_fn done,
                     void *arg)
{
    struct list_inquiry *i = create(v, done, arg);

    i->task_id = xstrdup(task_id);
    i->q.dress = dress_one;
    inquiry_read(&i->q, run_get);
}

/* ---- many ---- */

static int gather(struct inquiry *q, struct sql_stmt *st, struct error *reterr)
{
    json_t *tasks = json_array();
    int r;

    q->answer = json_pack("{s:o}", "tasks", tasks);
    while ((r = sql_next(st, reterr)) > 0) {
        json_array_append_new(tasks, job_object(st, false));
    }
    return r;
}

static void dress_all(struct inquiry *q)
{
    json_t *job;
    size_t i;

    json_array_foreach(json_object_get(q->answer, "tasks"), i, job)
    {
        live_dress(q->owner, job);
    }
}

#define LIST_WHERE                                                                                 \
    "WHERE (?1 IS NULL OR e.status = ?1) AND (?2 IS NULL OR x.name = ?2) AND (?3 IS NULL OR "      \
    "instr(lower(x.name || ' ' || e.task_id || ' ' || coalesce(e.message, '')), lower(?3)) > 0) "

/* No word of a query reaches the store as it is written. */
// clang-format off
static const struct {
    const char *name, *up, *down;
} orders[] = {
    { "created_at",      "e.id",                          "e.id DESC" },
    { "started_at",      "e.started_at NULLS LAST, e.id", "e.started_at DESC NULLS LAST, e.id DESC" },
    { "completed_at",    "e.completed_at NULLS LAST, e.id", "e.completed_at DESC NULLS LAST, e.id DESC" },
    { "experiment_name", "x.name COLLATE NOCASE, e.id",   "x.name COLLATE NOCASE DESC, e.id DESC" },
    { "status",          "e.status, e.id",                "e.status DESC, e.id DESC" },
    { "priority",        "e.priority, e.id",              "e.priority DESC, e.id DESC" },
    { "progress",        "e.progress, e.id",              "e.progress DESC, e.id DESC" },
};
// clang-format on
const char evaluations_sorts[] =
    "created_at started_at completed_at experiment_name status priority progress";

static const char *order_of(const struct evaluation_filter *f)
{
    for (size_t i = 0; f->sort && i < ARRAY_SIZE(orders); i++) {
        if (str_eq(orders[i].name, f->sort)) {
            return f->ascending ? orders[i].up : orders[i].down;
        }
    }
    return f->sort && f->ascending ? orders[0].up : orders[0].down;
}

static int count_all(const struct list_inquiry *i, struct sql *db, json_int_t *ret,
                     struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, "SELECT count(*)" JOB_FROM LIST_WHERE, "ttt", i->status,
                      i->name, i->text);

    r = r < 0 ? r : sql_next(st, reterr);
    if (r > 0) {
        *ret = sql_int(st, 0);
    }
    return MIN_OF(r, 0);
}

static int run_list(struct inquiry *q, struct sql *db, struct error *reterr)
{
    const struct list_inquiry *i = of(q);
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    char text[1200];
    json_int_t total = 0;
    int r = count_all(i, db, &total, reterr);

    if (r < 0) {
        return r;
    }
    snprintf(text, sizeof(text),
             "SELECT " JOB_COLUMNS JOB_FROM LIST_WHERE "ORDER BY %s LIMIT ?4 OFFSET ?5", i->order);
    r = sql_query(db, &st, reterr, text, "tttii", i->status, i->name, i->text, (int64_t)i->limit,
                  (int64_t)i->offset);
    if (r >= 0) {
        r = gather(q, st, reterr);
        json_object_set_new(q->answer, "total_count", json_integer(total));
    }
    return r;
}

void evaluations_list(struct evaluations *v, const struct evaluation_filter *f,
                      evaluations_done_fn done, void *arg)
{
    struct list_inquiry *i = create(v, done, arg);

    if (f->status && task_state_from_string(f->status) < 0) {
        inquiry_refuse(&i->q, -EINVAL, "status",
                       "status: pending, running, completed, failed or cancelled");
        return;
    }
    i->status = xstrdup_opt(f->status);
    i->name = xstrdup_opt(f->experiment_name);
    i->text = xstrdup_opt(f->text);
    i->order = order_of(f);
    i->limit = MIN_OF(f->limit ? f->limit : (unsigned)LIST_DEFAULT, (unsigned)LIST_MAX);
    i->offset = f->offset;
    i->q.dress = dress_all;
    inquiry_read(&i->q, run_list);
}

static int run_running(struct inquiry *q, struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT " JOB_COLUMNS JOB_FROM
                      "WHERE e.status IN ('pending', 'running') ORDER BY e.id LIMIT ?",
                      "i", (int64_t)RUNNING_MAX);

    return r < 0 ? r : gather(q, st, reterr);
}

void evaluations_running(struct evaluations *v, evaluations_done_fn done, void *arg)
{
    struct list_inquiry *i = create(v, done, arg);

    i->q.dress = dress_all;
    inquiry_read(&i->q, run_running);
}
