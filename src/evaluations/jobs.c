// SPDX-License-Identifier: Apache-2.0
/*
 * Jobs that stand: cancel, delete, one or many. A job's rows go in the same transaction as its
 * task: both, or none.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "evaluations/evaluations_int.h"

/* ---- one ---- */

struct job_order {
    struct inquiry q;
    char *task_id;
};

static struct job_order *order_of(struct inquiry *q)
{
    return container_of(q, struct job_order, q);
}

static void finish_order(struct inquiry *q)
{
    free(order_of(q)->task_id);
}

static struct job_order *create_order(struct evaluations *v, const char *task_id,
                                      evaluations_done_fn done, void *arg)
{
    struct job_order *o = inquiry_create(v, sizeof(*o), done, arg);

    o->task_id = xstrdup(task_id);
    o->q.finish = finish_order;
    return o;
}

static void end_order(struct job_order *o, int result, const char *message, const struct error *e)
{
    if (result >= 0) {
        o->q.answer = json_pack("{s:b, s:s}", "success", 1, "message", message);
    }
    inquiry_end(&o->q, result, e);
}

/* The same words whoever finds out. */
static int refuse_ended(struct error *reterr)
{
    return error_set(reterr, -EBUSY, "the evaluation has ended already and cannot be cancelled");
}

static int refuse_unknown(struct error *reterr)
{
    return error_set(reterr, -ENOENT, "there is no such evaluation");
}

static void on_cancelled(void *arg, int result, const struct task *task, const struct error *e)
{
    struct error own = *e;

    (void)task;
    if (result == -EBUSY) {
        refuse_ended(&own);
    } else if (result == -ENOENT) {
        refuse_unknown(&own);
    }
    end_order(arg, result, "the evaluation was cancelled", &own);
}

/* It neither waits nor runs. */
static int run_refusal(struct inquiry *q, struct sql *db, struct error *reterr)
{
    int64_t job = 0, task = 0;
    int r = job_find(db, order_of(q)->task_id, &job, &task, reterr);

    if (r > 0 && task == 0) {
        return error_set(reterr, -EBUSY, "the evaluation was imported and does not run");
    }
    return r < 0 ? r : r > 0 ? refuse_ended(reterr) : refuse_unknown(reterr);
}

void evaluations_cancel(struct evaluations *v, const char *task_id, evaluations_done_fn done,
                        void *arg)
{
    struct job_order *o = create_order(v, task_id, done, arg);
    const struct live *live = live_find(v, task_id);

    if (live) {
        tasks_cancel(v->in.tasks, live->row_id, on_cancelled, o);
    } else {
        inquiry_read(&o->q, run_refusal);
    }
}

static int erase_job(void *arg, struct sql *db, struct task_ids *ret, struct error *reterr)
{
    const struct job_order *o = arg;
    int64_t job = 0, task = 0;
    int r = job_find(db, o->task_id, &job, &task, reterr);

    if (r <= 0) {
        return r < 0 ? r : refuse_unknown(reterr);
    }
    if (task) {
        ret->ids = xcalloc(1, sizeof(*ret->ids));
        ret->ids[ret->count++] = task;
    }
    return job_remove(db, job, reterr);
}

static void on_deleted(void *arg, int result, const struct task *task, const struct error *e)
{
    (void)task;
    end_order(arg, result, "the evaluation was deleted", e);
}

void evaluations_delete(struct evaluations *v, const char *task_id, evaluations_done_fn done,
                        void *arg)
{
    tasks_erase(v->in.tasks, erase_job, on_deleted, create_order(v, task_id, done, arg));
}

/* ---- many: one after the other, each by itself ---- */

struct many {
    struct inquiry q; /* only told; the jobs are asked one by one */
    json_t *ids, *did, *failed;
    size_t next;
    bool deletes;
};

static void finish_many(struct inquiry *q)
{
    struct many *m = container_of(q, struct many, q);

    json_decref(m->ids);
    json_decref(m->did);
    json_decref(m->failed);
}

static void on_one(void *arg, int result, json_t *answer, const char *field, const struct error *e);

static void end_many(struct many *m)
{
    const char *verb = m->deletes ? "deleted" : "cancelled";
    _cleanup_(freep) char *message = xasprintf(
        "%zu of %zu evaluations were %s", json_array_size(m->did), json_array_size(m->ids), verb);

    m->q.answer = json_pack("{s:b, s:s, s:O, s:O}", "success", json_array_size(m->failed) == 0,
                            "message", message, verb, m->did, "failed", m->failed);
    inquiry_end(&m->q, 0, NULL);
}

static void ask_next(struct many *m)
{
    const char *id = json_string_value(json_array_get(m->ids, m->next));

    if (!id) {
        end_many(m);
    } else if (m->deletes) {
        evaluations_delete(m->q.owner, id, on_one, m);
    } else {
        evaluations_cancel(m->q.owner, id, on_one, m);
    }
}

static void on_one(void *arg, int result, json_t *answer, const char *field, const struct error *e)
{
    struct many *m = arg;
    json_t *id = json_array_get(m->ids, m->next++);

    (void)answer, (void)field;
    if (!m->q.owner) {
        inquiry_end(&m->q, -ECANCELED, e);
        return;
    }
    if (result >= 0) {
        json_array_append(m->did, id);
    } else {
        json_array_append_new(m->failed, json_pack("{s:O, s:s}", "task_id", id, "reason", e->text));
    }
    ask_next(m);
}

static int check_ids(struct inquiry *q, const json_t *ids, struct error *reterr)
{
    const json_t *id;
    size_t i;

    if (!json_is_array(ids)) {
        return inquiry_fault(q, -EPROTO, "task_ids", reterr, "task_ids: must be an array");
    }
    json_array_foreach(ids, i, id)
    {
        if (!json_is_string(id)) {
            return inquiry_fault(q, -EPROTO, "task_ids", reterr, "task_ids: must be strings");
        }
    }
    if (json_array_size(ids) == 0 || json_array_size(ids) > EVALUATION_IDS_MAX) {
        return inquiry_fault(q, -EINVAL, "task_ids", reterr, "task_ids: 1 to %d of them",
                             EVALUATION_IDS_MAX);
    }
    return 0;
}

static void ask_many(struct evaluations *v, const json_t *ids, bool deletes,
                     evaluations_done_fn done, void *arg)
{
    struct many *m = inquiry_create(v, sizeof(*m), done, arg);
    struct error error = { 0 };
    int r = check_ids(&m->q, ids, &error);

    m->q.finish = finish_many;
    m->deletes = deletes;
    if (r < 0) {
        inquiry_refuse_fault(&m->q, r, &error);
        return;
    }
    m->ids = json_deep_copy(ids);
    m->did = json_array();
    m->failed = json_array();
    ask_next(m);
}

void evaluations_cancel_many(struct evaluations *v, const json_t *task_ids,
                             evaluations_done_fn done, void *arg)
{
    ask_many(v, task_ids, false, done, arg);
}

void evaluations_delete_many(struct evaluations *v, const json_t *task_ids,
                             evaluations_done_fn done, void *arg)
{
    ask_many(v, task_ids, true, done, arg);
}
