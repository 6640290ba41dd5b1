// SPDX-License-Identifier: Apache-2.0
/* Experiments side by side: for each the question, its best plan and what the search of that plan
 * went through. */
#include <stdlib.h>

#include "base/mem.h"
#include "evaluations/evaluations_int.h"

enum { COMPARE_MIN = 2, COMPARE_MAX = 10 };

struct comparison {
    struct inquiry q;
    int64_t ids[COMPARE_MAX];
    size_t count;
};

static int add_best(struct sql *db, int64_t id, json_t *x, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT e.task_id, r.full_result, e.search_stats, r.id "
                      "FROM evaluation_tasks e JOIN evaluation_results r ON r.task_id = e.id "
                      "WHERE e.experiment_id = ? AND e.status = 'completed' AND r.is_feasible "
                      "ORDER BY r.score DESC, r.id LIMIT 1",
                      "i", id);
    json_t *plan;

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    if (r <= 0) {
        json_object_set_new(x, "best_plan", json_null());
        return r;
    }
    plan = json_of_text(sql_text(st, 1));
    if (json_is_object(plan)) {
        json_object_set_new(plan, "result_id", json_integer(sql_int(st, 3)));
    }
    json_object_set_new(x, "best_plan", plan);
    json_object_set_new(x, "best_task_id", string_or_null(sql_text(st, 0)));
    json_object_set_new(x, "search_stats", json_of_text(sql_text(st, 2)));
    return 0;
}

/* Where no plan is good, what the last search went through still tells why. */
static int add_last_stats(struct sql *db, int64_t id, json_t *x, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r;

    if (json_object_get(x, "search_stats")) {
        return 0;
    }
    r = sql_query(db, &st, reterr,
                  "SELECT e.task_id, e.search_stats FROM evaluation_tasks e WHERE "
                  "e.experiment_id = ? AND e.status = 'completed' ORDER BY e.id DESC LIMIT 1",
                  "i", id);
    if (r == 0) {
        r = sql_next(st, reterr);
    }
    json_object_set_new(x, "best_task_id", json_null());
    json_object_set_new(x, "search_stats", r > 0 ? json_of_text(sql_text(st, 1)) : json_null());
    return MIN_OF(r, 0);
}

static int add_one(struct sql *db, int64_t id, json_t *array, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT " EXPERIMENT_COLUMNS " FROM experiments x WHERE x.id = ?", "i", id);
    json_t *x;

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    if (r <= 0) {
        return r < 0 ? r : error_set(reterr, -ENOENT, "there is no experiment %lld", (long long)id);
    }
    x = experiment_object(st, true);
    json_array_append_new(array, x);
    r = add_best(db, id, x, reterr);
    return r < 0 ? r : add_last_stats(db, id, x, reterr);
}

static int run(struct inquiry *q, struct sql *db, struct error *reterr)
{
    const struct comparison *c = container_of(q, struct comparison, q);
    json_t *array = json_array();
    int r = 0;

    q->answer = json_pack("{s:o}", "experiments", array);
    for (size_t i = 0; r >= 0 && i < c->count; i++) {
        r = add_one(db, c->ids[i], array, reterr);
    }
    return r;
}

void experiments_compare(struct evaluations *v, const int64_t *ids, size_t count,
                         evaluations_done_fn done, void *arg)
{
    struct comparison *c = inquiry_create(v, sizeof(*c), done, arg);

    if (count < COMPARE_MIN || count > COMPARE_MAX) {
        inquiry_refuse(&c->q, -EINVAL, "ids", "ids: %d to %d experiments are compared", COMPARE_MIN,
                       COMPARE_MAX);
        return;
    }
    memcpy(c->ids, ids, count * sizeof(*ids));
    c->count = count;
    inquiry_read(&c->q, run);
}
