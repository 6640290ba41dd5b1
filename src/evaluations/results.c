// SPDX-License-Identifier: Apache-2.0
/* A job's plans: the best and the refused, one row each, and what they say as a whole. */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/timefmt.h"
#include "evaluations/evaluations_int.h"

void findings_clear(struct findings *f)
{
    for (size_t i = 0; i < f->count; i++) {
        json_decref(f->plans[i]);
    }
    free(f->plans);
    json_decref(f->stats);
    *f = (struct findings){ NULL, 0, NULL, "" };
}

/* ---- writing ---- */

static int64_t whole(const json_t *plan, const char *member, int64_t otherwise)
{
    const json_t *value = json_object_get(plan, member);

    return json_is_integer(value)   ? json_integer_value(value)
           : json_is_boolean(value) ? json_boolean_value(value)
                                    : otherwise;
}

static double number(const json_t *plan, const char *member)
{
    const double value = json_number_value(json_object_get(plan, member));

    return isfinite(value) ? value : 0;
}

int result_insert(struct sql *db, int64_t job, const json_t *plan, int64_t now_ms,
                  struct error *reterr)
{
    const json_t *p = json_object_get(plan, "parallelism");
    _cleanup_(freep) char *text = text_of_json(plan);
    char now[TIMEFMT_SIZE];
    int r;

    timefmt_iso(now_ms, now);
    r = sql_run(db, reterr,
                "INSERT INTO evaluation_results(task_id, dp, tp, pp, ep, sp, moe_tp, chips, "
                "throughput, tps_per_chip, ttft, tpot, mfu, mbu, score, is_feasible, "
                "infeasible_reason, full_result, created_at) "
                "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                "iiiiiiiidddddddittt", job, whole(p, "dp", 1), whole(p, "tp", 1), whole(p, "pp", 1),
                whole(p, "ep", 1), whole(p, "sp", 1), whole(p, "moe_tp", 1),
                whole(plan, "chips", 0), number(plan, "throughput"), number(plan, "tps_per_chip"),
                number(plan, "ttft"), number(plan, "tpot"), number(plan, "mfu"),
                number(plan, "mbu"), number(plan, "score"), whole(plan, "is_feasible", 0),
                json_string_value(json_object_get(plan, "infeasible_reason")), text ? text : "{}",
                now);
    return MIN_OF(r, 0);
}

int results_save(struct sql *db, int64_t job, const struct findings *f, int64_t now_ms,
                 struct error *reterr)
{
    _cleanup_(freep) char *stats = text_of_json(f->stats);
    int r = sql_run(db, reterr, "DELETE FROM evaluation_results WHERE task_id = ?", "i", job);

    for (size_t i = 0; r >= 0 && i < f->count; i++) {
        r = result_insert(db, job, f->plans[i], now_ms, reterr);
    }
    r = r < 0 ? r
              : sql_run(db, reterr,
                        "UPDATE evaluation_jobs SET progress = 100, message = ?, search_stats = ? "
                        "WHERE id = ?",
                        "tti", f->message, stats, job);
    return MIN_OF(r, 0);
}

/* ---- reading ---- */

static int load_some(struct sql *db, const char *text, int64_t job, json_t *array,
                     struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, text, "i", job);

    if (r < 0) {
        return r;
    }
    while ((r = sql_next(st, reterr)) > 0) {
        json_t *plan = json_of_text(sql_text(st, 1));

        if (json_is_object(plan)) {
            json_object_set_new(plan, "result_id", json_integer(sql_int(st, 0)));
        }
        json_array_append_new(array, plan);
    }
    return r;
}

int job_plans_load(struct sql *db, struct sql_stmt *st, json_t *object, struct error *reterr)
{
    const int64_t job = sql_int(st, 0);
    json_t *best = json_array(), *refused = json_array();
    int r;

    json_object_set_new(object, "top_k_plans", best);
    json_object_set_new(object, "infeasible_plans", refused);
    if (!str_eq(sql_text(st, 2), "completed")) {
        return 0; /* what stands of an attempt that has not ended well is nobody's result */
    }
    r = load_some(db,
                  "SELECT id, full_result FROM evaluation_results WHERE task_id = ? "
                  "AND is_feasible ORDER BY score DESC, id LIMIT 10",
                  job, best, reterr);
    return r < 0 ? r
                 : load_some(db,
                             "SELECT id, full_result FROM evaluation_results WHERE task_id = ? "
                             "AND NOT is_feasible ORDER BY id LIMIT 200",
                             job, refused, reterr);
}

/* ---- the door's question ---- */

struct results_inquiry {
    struct inquiry q;
    char *task_id;
};

static int run(struct inquiry *q, struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, "SELECT " JOB_COLUMNS JOB_FROM "WHERE e.task_id = ?", "t",
                      container_of(q, struct results_inquiry, q)->task_id);

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    if (r <= 0) {
        return r < 0 ? r : error_set(reterr, -ENOENT, "there is no such evaluation");
    }
    q->answer =
        json_pack("{s:o, s:o, s:o, s:o}", "task_id", string_or_null(sql_text(st, 1)), "status",
                  string_or_null(sql_text(st, 2)), "experiment_name",
                  string_or_null(sql_text(st, 10)), "search_stats", json_of_text(sql_text(st, 6)));
    return job_plans_load(db, st, q->answer, reterr);
}

static void finish(struct inquiry *q)
{
    free(container_of(q, struct results_inquiry, q)->task_id);
}

void evaluations_results(struct evaluations *v, const char *task_id, evaluations_done_fn done,
                         void *arg)
{
    struct results_inquiry *i = inquiry_create(v, sizeof(*i), done, arg);

    i->task_id = xstrdup(task_id);
    i->q.finish = finish;
    inquiry_read(&i->q, run);
}
