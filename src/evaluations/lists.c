// SPDX-License-Identifier: Apache-2.0
/* One job, lists of jobs: the newest first. */
#include <stdlib.h>

#include "base/mem.h"
#include "evaluations/evaluations_int.h"

enum { LIST_DEFAULT = 50, LIST_MAX = 1000, RUNNING_MAX = 1000 };

struct list_inquiry {
    struct inquiry q;
    char *status, *name; /* of a filter; NULL: all */
    char *task_id;       /* of one */
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
    free(of(q)->task_id);
}

static struct list_inquiry *create(struct evaluations *v, evaluations_done_fn done, void *arg)
{
    struct list_inquiry *i = inquiry_create(v, sizeof(*i), done, arg);

    i->q.finish = finish;
    return i;
}

/* ---- one ---- */

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

static int run_list(struct inquiry *q, struct sql *db, struct error *reterr)
{
    const struct list_inquiry *i = of(q);
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT " JOB_COLUMNS JOB_FROM
                      "WHERE (?1 IS NULL OR e.status = ?1) AND (?2 IS NULL OR x.name = ?2) "
                      "ORDER BY e.id DESC LIMIT ?3 OFFSET ?4",
                      "ttii", i->status, i->name, (int64_t)i->limit, (int64_t)i->offset);

    return r < 0 ? r : gather(q, st, reterr);
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
