// SPDX-License-Identifier: Apache-2.0
/* Jobs from the submit to their results, as a door sees them, and the rows that are left. */
#include "house.h"

#include <string.h>

#include "base/mem.h"

static json_t *at(struct house *h, const char *member)
{
    return json_object_get(h->answer, member);
}

static const char *text(struct house *h, const char *member)
{
    return json_string_value(at(h, member)) ? json_string_value(at(h, member)) : "";
}

static json_t *config_workers(int n)
{
    return json_pack("{s:i}", "max_workers", n);
}

static void set_workers(struct house *h, int n)
{
    json_t *body = config_workers(n);

    evaluations_set_config(h->v, body, house_done, h);
    json_decref(body);
    house_wait(h, h->answers + 1);
}

static void ask_results(struct house *h, const char *id)
{
    evaluations_results(h->v, id, house_done, h);
    house_wait(h, h->answers + 1);
}

static int64_t experiment_id(struct house *h, const char *name)
{
    return house_number(h, "SELECT id FROM experiments WHERE name = ?", name);
}

/* ---- from submit to results ---- */

static void completes_with_results(void **state)
{
    struct house h;
    const char *id;
    json_t *plan;
    double before = 1e300;
    size_t i;

    (void)state;
    house_open(&h, false, NULL, NULL);
    id = house_submit(&h, "one");
    house_until_status(&h, id, "completed");
    assert_string_equal(text(&h, "experiment_name"), "one");
    assert_true(json_is_null(at(&h, "error")));
    assert_float_equal(json_number_value(at(&h, "progress")), 100, 0);
    assert_int_equal(strlen(text(&h, "created_at")), strlen("2026-01-02T03:04:05.678Z"));
    assert_true(text(&h, "completed_at")[0] && text(&h, "completed_at")[23] == 'Z');
    assert_null(at(&h, "queue_position"));
    ask_results(&h, id);
    assert_true(json_array_size(at(&h, "top_k_plans")) > 1);
    assert_true(json_array_size(at(&h, "top_k_plans")) <= 10);
    json_array_foreach(at(&h, "top_k_plans"), i, plan)
    {
        double score = json_number_value(json_object_get(plan, "score"));

        assert_true(score <= before);
        before = score;
        assert_true(json_is_true(json_object_get(plan, "is_feasible")));
    }
    plan = at(&h, "search_stats");
    assert_true(json_integer_value(json_object_get(plan, "total_plans")) > 0);
    assert_int_equal(json_integer_value(json_object_get(plan, "total_plans")),
                     json_integer_value(json_object_get(plan, "feasible_plans")) +
                         json_integer_value(json_object_get(plan, "infeasible_plans")) +
                         json_integer_value(json_object_get(plan, "pruned_plans")));
    assert_non_null(strstr(h.told, ":pending@0 "));
    assert_non_null(strstr(h.told, ":running@0 "));
    assert_non_null(strstr(h.told, ":completed@100+ "));
    assert_int_equal(h.told_count, 3);
    house_check(&h);
    house_close(&h);
}

/* A plan that cannot be is kept with its reason, zeros and true figures; the job is completed. */
static void refused_plans_are_kept(void **state)
{
    struct house h;
    json_t *body, *plan,
        *large =
            json_pack("{s:i, s:i, s:i, s:i, s:i}", "num_layers", 120, "hidden_size", 16384,
                      "num_attention_heads", 128, "num_kv_heads", 128, "intermediate_size", 65536);
    const char *id;

    (void)state;
    house_open(&h, false, NULL, NULL);
    body = house_body("refused");
    json_object_update(json_object_get(body, "model"), large);
    json_decref(large);
    id = house_submit_body(&h, body);
    assert_non_null(id);
    house_until_status(&h, id, "completed");
    ask_results(&h, id);
    assert_int_equal(json_array_size(at(&h, "top_k_plans")), 0);
    assert_true(json_array_size(at(&h, "infeasible_plans")) > 0);
    plan = json_array_get(at(&h, "infeasible_plans"), 0);
    assert_true(json_is_false(json_object_get(plan, "is_feasible")));
    assert_true(strlen(json_string_value(json_object_get(plan, "infeasible_reason"))) > 10);
    assert_float_equal(json_number_value(json_object_get(plan, "throughput")), 0, 0);
    assert_int_equal(
        house_number(&h, "SELECT count(*) FROM evaluation_results WHERE is_feasible", NULL), 0);
    assert_true(house_number(&h,
                             "SELECT count(*) FROM evaluation_results WHERE infeasible_reason "
                             "IS NOT NULL AND throughput = 0",
                             NULL) > 0);
    assert_int_equal(house_number(&h, "SELECT completed_tasks FROM experiments", NULL), 1);
    house_check(&h);
    house_close(&h);
}

/* So many plans are told of as were counted, whatever refused them. */
static void what_misses_a_limit_is_kept(void **state)
{
    static const double limits_ms[] = { 6, 0.01 }; /* some keep it; none does */
    struct house h;
    json_t *body, *plan;
    const char *id;
    size_t i, k, good, bad;

    (void)state;
    house_open(&h, false, NULL, NULL);
    for (i = 0; i < ARRAY_SIZE(limits_ms); i++) {
        body = house_body("limits");
        json_object_set_new(json_object_get(body, "inference"), "slo",
                            json_pack("{s:f}", "tpot_ms", limits_ms[i]));
        json_object_set_new(json_object_get(body, "search_constraints"), "top_k", json_integer(2));
        id = house_submit_body(&h, body);
        assert_non_null(id);
        house_until_status(&h, id, "completed");
        ask_results(&h, id);
        good =
            (size_t)json_integer_value(json_object_get(at(&h, "search_stats"), "feasible_plans"));
        bad =
            (size_t)json_integer_value(json_object_get(at(&h, "search_stats"), "infeasible_plans"));
        assert_true(bad > 2 && bad < 200 && (i == 0) == (good > 0));
        assert_int_equal(json_array_size(at(&h, "top_k_plans")), MIN_OF(good, 2UL));
        assert_int_equal(json_array_size(at(&h, "infeasible_plans")), bad);
        json_array_foreach(at(&h, "infeasible_plans"), k, plan)
        {
            assert_non_null(json_string_value(json_object_get(plan, "infeasible_reason")));
        }
    }
    house_check(&h);
    house_close(&h);
}

static void manual_gives_one_plan(void **state)
{
    struct house h;
    json_t *body = house_body("manual");
    const char *id;

    (void)state;
    house_open(&h, false, NULL, NULL);
    json_object_set_new(body, "search_mode", json_string("manual"));
    json_object_set_new(body, "manual_parallelism",
                        json_pack("{s:i, s:i, s:i, s:i}", "dp", 2, "tp", 4, "pp", 1, "ep", 1));
    id = house_submit_body(&h, body);
    assert_non_null(id);
    house_until_status(&h, id, "completed");
    assert_string_equal(text(&h, "search_mode"), "manual");
    ask_results(&h, id);
    assert_int_equal(json_array_size(at(&h, "top_k_plans")), 1);
    assert_int_equal(house_number(&h, "SELECT tp FROM evaluation_results", NULL), 4);
    assert_int_equal(house_number(&h, "SELECT dp FROM evaluation_results", NULL), 2);
    assert_int_equal(house_number(&h, "SELECT chips FROM evaluation_results", NULL), 8);
    house_close(&h);
}

struct wrong {
    const char *member, *value; /* JSON; NULL: the member is taken away */
    int code;
    const char *field;
};

static void bad_input_is_named_and_nothing_stays(void **state)
{
    static const struct wrong cases[] = {
        { "experiment_name", NULL, -EPROTO, "experiment_name" },
        { "experiment_name", "5", -EPROTO, "experiment_name" },
        { "experiment_name", "\"\"", -EINVAL, "experiment_name" },
        { "experiment_name", "\"a\\nb\"", -EINVAL, "experiment_name" },
        { "description", "7", -EPROTO, "description" },
        { "priority", "4", -EINVAL, "priority" },
        { "priority", "0", -EINVAL, "priority" },
        { "priority", "\"high\"", -EPROTO, "priority" },
        { "benchmark_name", "1", -EPROTO, "benchmark_name" },
        { "max_workers", "\"2\"", -EPROTO, "max_workers" },
        { "model", NULL, -EPROTO, "model" },
        { "search_mode", "\"guess\"", -EPROTO, "search_mode" },
        { "inference", NULL, -EPROTO, "inference" },
    };
    struct house h;

    (void)state;
    house_open(&h, false, NULL, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        json_t *body = house_body("wrong");

        if (cases[i].value) {
            json_object_set_new(body, cases[i].member,
                                json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        } else {
            json_object_del(body, cases[i].member);
        }
        assert_null(house_submit_body(&h, body));
        if (h.result != cases[i].code || strcmp(h.field, cases[i].field) != 0) {
            fail_msg("%s = %s: %d of '%s' (%s)", cases[i].member, cases[i].value, h.result, h.field,
                     h.error);
        }
    }
    assert_null(house_submit_body(&h, json_array()));
    assert_int_equal(h.result, -EPROTO);
    assert_int_equal(house_number(&h, "SELECT count(*) FROM experiments", NULL), 0);
    assert_int_equal(house_number(&h, "SELECT count(*) FROM tasks", NULL), 0);
    house_close(&h);
}

static void what_is_not_there(void **state)
{
    static void (*const ask[])(struct evaluations *, const char *, evaluations_done_fn,
                               void *) = { evaluations_get, evaluations_results, evaluations_cancel,
                                           evaluations_delete };
    struct house h;

    (void)state;
    house_open(&h, false, NULL, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(ask); i++) {
        ask[i](h.v, "00000000-0000-4000-8000-000000000000", house_done, &h);
        house_wait(&h, h.answers + 1);
        assert_int_equal(h.result, -ENOENT);
    }
    experiments_get(h.v, 99, house_done, &h);
    house_wait(&h, h.answers + 1);
    assert_int_equal(h.result, -ENOENT);
    evaluations_list(h.v, &(struct evaluation_filter){ .status = "done" }, house_done, &h);
    house_wait(&h, h.answers + 1);
    assert_int_equal(h.result, -EINVAL);
    assert_string_equal(h.field, "status");
    house_close(&h);
}

/* ---- the queue ---- */

static void waits_by_priority_and_is_told_its_place(void **state)
{
    struct house h;
    const char *running, *low, *medium, *high;
    json_t *body;

    (void)state;
    house_open(&h, true, "planner:\n  workers: 1\n", NULL);
    atomic_store(&house_hold, true);
    running = house_submit(&h, "first");
    house_until_status(&h, running, "running");
    body = house_body("low");
    json_object_set_new(body, "priority", json_integer(1));
    low = house_submit_body(&h, body);
    medium = house_submit(&h, "medium");
    body = house_body("high");
    json_object_set_new(body, "priority", json_integer(3));
    high = house_submit_body(&h, body);
    assert_string_equal(house_status(&h, low), "pending");
    assert_int_equal(json_integer_value(at(&h, "queue_position")), 3);
    assert_int_equal(json_integer_value(at(&h, "queue_length")), 3);
    assert_string_equal(house_status(&h, medium), "pending");
    assert_int_equal(json_integer_value(at(&h, "queue_position")), 2);
    assert_string_equal(house_status(&h, high), "pending");
    assert_int_equal(json_integer_value(at(&h, "queue_position")), 1);
    evaluations_running(h.v, house_done, &h);
    house_wait(&h, h.answers + 1);
    assert_int_equal(json_array_size(at(&h, "tasks")), 4);
    assert_int_equal(
        json_integer_value(json_object_get(json_array_get(at(&h, "tasks"), 1), "queue_position")),
        3);
    h.told[0] = '\0';
    atomic_store(&house_hold, false);
    house_until_status(&h, low, "completed");
    {
        char first[16], second[16], third[16];

        snprintf(first, sizeof(first), "%.4s:running", high);
        snprintf(second, sizeof(second), "%.4s:running", medium);
        snprintf(third, sizeof(third), "%.4s:running", low);
        assert_true(strstr(h.told, first) < strstr(h.told, second));
        assert_true(strstr(h.told, second) < strstr(h.told, third));
    }
    house_check(&h);
    house_close(&h);
}

static void only_so_many_wait(void **state)
{
    struct house h;
    json_t *body = house_body("full");

    (void)state;
    house_open(&h, true, "planner:\n  workers: 1\nqueue:\n  max_queue_size: 1\n", NULL);
    atomic_store(&house_hold, true);
    house_until_status(&h, house_submit(&h, "full"), "running");
    for (int i = 0; i < EVALUATIONS_PENDING_MAX; i++) {
        evaluations_submit(h.v, body, house_done, &h);
    }
    evaluations_submit(h.v, body, house_done, &h);
    house_wait(&h, h.answers + EVALUATIONS_PENDING_MAX + 1);
    assert_int_equal(house_number(&h,
                                  "SELECT count(*) FROM evaluation_tasks "
                                  "WHERE status = 'pending'",
                                  NULL),
                     EVALUATIONS_PENDING_MAX);
    assert_null(house_submit_body(&h, body));
    assert_int_equal(h.result, -EAGAIN);
    /* they take nobody's place in the queue */
    assert_int_equal(tasks_submit(h.t,
                                  &(struct task_order){ .kind = TASK_OF_INSTANCE,
                                                        .model = "m",
                                                        .type = "instance",
                                                        .priority = TASK_MEDIUM,
                                                        .input = SPAN("x") },
                                  NULL, NULL, NULL),
                     0);
    assert_int_equal(
        tasks_counts(h.t, &(struct task_filter){ .kind = TASK_OF_QUEUE }).by_state[TASK_PENDING],
        0);
    atomic_store(&house_hold, false);
    house_close(&h);
}

/* The queue's own limit and retention do not touch them. */
static void is_not_of_the_queue(void **state)
{
    struct house h;
    const char *id, *other;

    (void)state;
    house_open(&h, false, "queue:\n  max_queue_size: 1\n  keep: 1s\n", NULL);
    id = house_submit(&h, "kept");
    other = house_submit(&h, "kept");
    house_until_status(&h, id, "completed");
    house_until_status(&h, other, "completed");
    assert_true(tasks_retry_after_ms(h.t) > 200000); /* nor do they make room in it */
    sim_run_for(h.w, 600000);
    assert_string_equal(house_status(&h, id), "completed");
    ask_results(&h, id);
    assert_true(json_array_size(at(&h, "top_k_plans")) > 0);
    house_check(&h);
    house_close(&h);
}

/* ---- experiments ---- */

static void a_name_is_one_experiment(void **state)
{
    struct house h;
    json_t *body;
    const char *a, *b;

    (void)state;
    house_open(&h, false, NULL, NULL);
    a = house_submit(&h, "same");
    body = house_body("same");
    json_object_set_new(json_object_get(body, "inference"), "batch_size", json_integer(16));
    json_object_set_new(body, "description", json_string(""));
    b = house_submit_body(&h, body);
    house_until_status(&h, a, "completed");
    house_until_status(&h, b, "completed");
    experiments_list(h.v, house_done, &h);
    house_wait(&h, h.answers + 1);
    assert_int_equal(json_array_size(at(&h, "experiments")), 1);
    experiments_get(h.v, experiment_id(&h, "same"), house_done, &h);
    house_wait(&h, h.answers + 1);
    assert_int_equal(json_integer_value(at(&h, "total_tasks")), 2);
    assert_int_equal(json_integer_value(at(&h, "completed_tasks")), 2);
    assert_int_equal(json_array_size(at(&h, "tasks")), 2);
    assert_string_equal(text(&h, "description"), "trial");
    assert_int_equal(json_integer_value(json_object_get(at(&h, "inference_config"), "batch_size")),
                     16);
    evaluations_delete(h.v, b, house_done, &h);
    house_wait(&h, h.answers + 1);
    assert_int_equal(h.result, 0);
    assert_int_equal(house_number(&h, "SELECT total_tasks FROM experiments", NULL), 1);
    assert_int_equal(house_number(&h, "SELECT completed_tasks FROM experiments", NULL), 1);
    assert_string_equal(house_status(&h, b), "");
    house_check(&h);
    house_close(&h);
}

static void patch(struct house *h, int64_t id, const char *json)
{
    json_t *body = json_loads(json, 0, NULL);

    experiments_patch(h->v, id, body, house_done, h);
    json_decref(body);
    house_wait(h, h->answers + 1);
}

static void names_and_descriptions_change(void **state)
{
    struct house h;
    int64_t id;

    (void)state;
    house_open(&h, false, NULL, NULL);
    house_submit(&h, "a");
    house_submit(&h, "b");
    id = experiment_id(&h, "a");
    patch(&h, id, "{\"name\":\"c\",\"description\":\"d\"}");
    assert_int_equal(h.result, 0);
    assert_string_equal(text(&h, "name"), "c");
    patch(&h, id, "{\"name\":\"b\"}");
    assert_int_equal(h.result, -EEXIST);
    patch(&h, id, "{\"total_tasks\":9}");
    assert_int_equal(h.result, -EINVAL);
    assert_string_equal(h.field, "total_tasks");
    patch(&h, id, "{\"name\":9}");
    assert_int_equal(h.result, -EPROTO);
    patch(&h, 77, "{\"name\":\"z\"}");
    assert_int_equal(h.result, -ENOENT);
    assert_int_equal(experiment_id(&h, "c"), id);
    house_close(&h);
}

static void an_experiment_goes_with_all(void **state)
{
    struct house h;
    json_t *ids;
    const char *id;

    (void)state;
    house_open(&h, false, NULL, NULL);
    id = house_submit(&h, "gone");
    house_submit(&h, "stays");
    house_until_status(&h, id, "completed");
    house_submit(&h, "gone");
    ids = json_pack("[I, i]", (json_int_t)experiment_id(&h, "gone"), 12345);
    experiments_delete_many(h.v, ids, house_done, &h);
    house_wait(&h, h.answers + 1);
    assert_int_equal(h.result, 0);
    assert_int_equal(json_integer_value(at(&h, "deleted_count")), 1);
    experiments_delete_many(h.v, ids, house_done, &h);
    house_wait(&h, h.answers + 1);
    assert_int_equal(h.result, -ENOENT);
    json_decref(ids);
    house_settle(&h);
    assert_int_equal(house_number(&h, "SELECT count(*) FROM evaluation_tasks", NULL), 1);
    assert_int_equal(house_number(&h, "SELECT count(*) FROM tasks", NULL), 1);
    house_check(&h);
    house_close(&h);
}

static void single_results_go(void **state)
{
    struct house h;
    const char *id;
    json_t *ids;
    int64_t n;

    (void)state;
    house_open(&h, false, NULL, NULL);
    id = house_submit(&h, "some");
    house_until_status(&h, id, "completed");
    n = house_number(&h, "SELECT count(*) FROM evaluation_results", NULL);
    ids = json_pack("[I]",
                    (json_int_t)house_number(&h, "SELECT min(id) FROM evaluation_results", NULL));
    experiments_delete_results(h.v, experiment_id(&h, "some"), ids, house_done, &h);
    house_wait(&h, h.answers + 1);
    assert_int_equal(json_integer_value(at(&h, "deleted_count")), 1);
    assert_int_equal(house_number(&h, "SELECT count(*) FROM evaluation_results", NULL), n - 1);
    json_decref(ids);
    house_close(&h);
}

static void compares_side_by_side(void **state)
{
    struct house h;
    int64_t ids[2];
    json_t *x;

    (void)state;
    house_open(&h, false, NULL, NULL);
    house_until_status(&h, house_submit(&h, "x"), "completed");
    house_until_status(&h, house_submit(&h, "y"), "completed");
    ids[0] = experiment_id(&h, "y");
    ids[1] = experiment_id(&h, "x");
    experiments_compare(h.v, ids, 2, house_done, &h);
    house_wait(&h, h.answers + 1);
    assert_int_equal(h.result, 0);
    x = json_array_get(at(&h, "experiments"), 0);
    assert_string_equal(json_string_value(json_object_get(x, "name")), "y");
    assert_true(json_number_value(json_object_get(json_object_get(x, "best_plan"), "score")) > 0);
    assert_true(json_is_object(json_object_get(x, "search_stats")));
    assert_true(json_is_object(json_object_get(x, "model_config")));
    experiments_compare(h.v, ids, 1, house_done, &h);
    house_wait(&h, h.answers + 1);
    assert_int_equal(h.result, -EINVAL);
    ids[0] = 999;
    experiments_compare(h.v, ids, 2, house_done, &h);
    house_wait(&h, h.answers + 1);
    assert_int_equal(h.result, -ENOENT);
    house_close(&h);
}

/* ---- lists, many, settings ---- */

static void lists_newest_first(void **state)
{
    struct house h;
    const char *first, *last;

    (void)state;
    house_open(&h, false, NULL, NULL);
    first = house_submit(&h, "l1");
    last = house_submit(&h, "l2");
    house_until_status(&h, last, "completed");
    evaluations_list(h.v, &(struct evaluation_filter){ .limit = 0 }, house_done, &h);
    house_wait(&h, h.answers + 1);
    assert_int_equal(json_array_size(at(&h, "tasks")), 2);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(at(&h, "tasks"), 0), "task_id")), last);
    evaluations_list(h.v,
                     &(struct evaluation_filter){ .status = "completed", .experiment_name = "l1" },
                     house_done, &h);
    house_wait(&h, h.answers + 1);
    assert_int_equal(json_array_size(at(&h, "tasks")), 1);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(at(&h, "tasks"), 0), "task_id")), first);
    evaluations_list(h.v, &(struct evaluation_filter){ .status = "failed" }, house_done, &h);
    house_wait(&h, h.answers + 1);
    assert_int_equal(json_array_size(at(&h, "tasks")), 0);
    house_close(&h);
}

static void many_are_told_one_by_one(void **state)
{
    struct house h;
    const char *ended;
    json_t *ids;

    (void)state;
    house_open(&h, false, NULL, NULL);
    ended = house_submit(&h, "many");
    house_until_status(&h, ended, "completed");
    ids = json_pack("[s, s]", ended, "nobody");
    evaluations_cancel_many(h.v, ids, house_done, &h);
    house_wait(&h, h.answers + 1);
    assert_int_equal(json_array_size(at(&h, "cancelled")), 0);
    assert_int_equal(json_array_size(at(&h, "failed")), 2);
    assert_true(json_is_false(at(&h, "success")));
    evaluations_delete_many(h.v, ids, house_done, &h);
    house_wait(&h, h.answers + 1);
    assert_int_equal(json_array_size(at(&h, "deleted")), 1);
    assert_int_equal(json_array_size(at(&h, "failed")), 1);
    json_decref(ids);
    ids = json_array();
    evaluations_delete_many(h.v, ids, house_done, &h);
    house_wait(&h, h.answers + 1);
    assert_int_equal(h.result, -EINVAL);
    json_decref(ids);
    house_check(&h);
    house_close(&h);
}

static void workers_are_kept(void **state)
{
    struct house h;
    json_t *config;

    (void)state;
    house_open(&h, false, "planner:\n  workers: 3\n", NULL);
    config = evaluations_config(h.v);
    assert_int_equal(json_integer_value(json_object_get(config, "max_workers")), 3);
    json_decref(config);
    set_workers(&h, 33);
    assert_int_equal(h.result, -EINVAL);
    set_workers(&h, 7);
    assert_int_equal(h.result, 0);
    assert_int_equal(json_integer_value(at(&h, "max_workers")), 7);
    assert_int_equal(json_integer_value(at(&h, "active_tasks")), 0);
    house_restart(&h, true);
    config = evaluations_config(h.v);
    assert_int_equal(json_integer_value(json_object_get(config, "max_workers")), 7);
    json_decref(config);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(completes_with_results),
        cmocka_unit_test(refused_plans_are_kept),
        cmocka_unit_test(what_misses_a_limit_is_kept),
        cmocka_unit_test(manual_gives_one_plan),
        cmocka_unit_test(bad_input_is_named_and_nothing_stays),
        cmocka_unit_test(what_is_not_there),
        cmocka_unit_test(waits_by_priority_and_is_told_its_place),
        cmocka_unit_test(only_so_many_wait),
        cmocka_unit_test(is_not_of_the_queue),
        cmocka_unit_test(a_name_is_one_experiment),
        cmocka_unit_test(names_and_descriptions_change),
        cmocka_unit_test(an_experiment_goes_with_all),
        cmocka_unit_test(single_results_go),
        cmocka_unit_test(compares_side_by_side),
        cmocka_unit_test(lists_newest_first),
        cmocka_unit_test(many_are_told_one_by_one),
        cmocka_unit_test(workers_are_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
