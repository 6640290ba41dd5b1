// SPDX-License-Identifier: Apache-2.0
/* The proxy door, field for field as its contract has it, over a scripted engine that says back
 * what it was asked. */
#include <string.h>

#include "api/api_int.h"
#include "base/mem.h"
#include "fixture.h"

static const char *str(const json_t *json, const char *name)
{
    const char *s = json_string_value(json_object_get(json, name));

    return s ? s : "(none)";
}

static json_int_t num(const json_t *json, const char *name)
{
    const json_t *value = json_object_get(json, name);

    if (!json_is_number(value)) {
        fail_msg("%s is no number", name);
    }
    return (json_int_t)json_number_value(value);
}

/* Exactly these members, in any order; names after "?" may be absent. */
static void assert_members(const json_t *json, const char *names)
{
    struct span rest = span_of(names);
    size_t known = 0;

    while (rest.n > 0) {
        struct span word = span_cut(&rest, ' ');
        const bool optional = word.p[0] == '?';
        char *name = span_dup(optional ? (struct span){ word.p + 1, word.n - 1 } : word);
        const bool there = json_object_get(json, name) != NULL;

        if (!there && !optional) {
            fail_msg("%s is missing", name);
        }
        known += there;
        free(name);
    }
    assert_int_equal(json_object_size(json), known);
}

static void run_model(struct fixture *f, const char *id)
{
    char *body = definition(f, id), *path = xasprintf("/api/models/%s/start?wait=1", id);

    ask_expect(f, 201, "POST", "/api/models/", body);
    ask_expect(f, 200, "POST", path, NULL);
    free(body);
    free(path);
}

static void test_targets(void **state)
{
    struct fixture *f = fixture_create();
    char *body = definition(f, "idle");
    struct answer a;
    const json_t *list, *target;

    ask_expect(f, 201, "POST", "/api/models/", body);
    free(body);
    run_model(f, "m");
    a = ask(f, "GET", "/api/proxy/targets", NULL);
    assert_int_equal(a.status, 200);
    assert_members(a.json, "targets total_models timestamp");
    assert_int_equal(num(a.json, "total_models"), 2);
    list = json_object_get(json_object_get(a.json, "targets"), "m");
    assert_int_equal(json_array_size(list), 1);
    assert_int_equal(json_array_size(json_object_get(json_object_get(a.json, "targets"), "idle")),
                     0);
    target = json_array_get(list, 0);
    assert_members(target, "model_id endpoint framework priority weight active last_health_check "
                           "consecutive_failures total_requests total_response_time error_count "
                           "average_response_time");
    assert_string_equal(str(target, "model_id"), "m");
    assert_true(str_starts(str(target, "endpoint"), "unix:/"));
    assert_true(json_is_true(json_object_get(target, "active")));
    assert_true(num(target, "weight") >= 1);
    answer_finish(&a);

    a = ask(f, "GET", "/api/proxy/targets?model_id=m", NULL);
    assert_int_equal(num(a.json, "total_models"), 1);
    assert_non_null(json_object_get(json_object_get(a.json, "targets"), "m"));
    answer_finish(&a);
    ask_expect(f, 404, "GET", "/api/proxy/targets?model_id=nobody", NULL);
    fixture_destroy(f);
}

static void expect_echo(struct fixture *f, const char *method, const char *path, const char *body,
                        const char *type, const char *echo)
{
    struct answer a = ask_with(f, method, path, body, type);

    if (a.status != 200 || !str_eq(a.body, echo)) {
        fail_msg("%s %s: %d '%s' instead of '%s'", method, path, a.status, a.body, echo);
    }
    answer_finish(&a);
}

static void test_any_method_and_path(void **state)
{
    struct fixture *f = fixture_create();

    run_model(f, "m");
    expect_echo(f, "GET", "/api/proxy/models/m/lora-adapters?a=1&b=%20", NULL, NULL,
                "GET /lora-adapters?a=1&b=%20 ");
    expect_echo(f, "POST", "/api/proxy/models/m/deep/er/path", "plain words",
                "Content-Type: text/plain\r\n", "POST /deep/er/path plain words");
    expect_echo(f, "PUT", "/api/proxy/models/m/a%2Fb", "{}", "Content-Type: application/json\r\n",
                "PUT /a%2Fb {}");
    expect_echo(f, "DELETE", "/api/proxy/models/m/x", NULL, NULL, "DELETE /x ");
    expect_echo(f, "GET", "/api/proxy/models/m/", NULL, NULL, "GET / ");
    fixture_destroy(f);
}

static void expect_own_failure(struct fixture *f, int status, const char *id)
{
    char *path = xasprintf("/api/proxy/models/%s/some/where", id);
    struct answer a = ask(f, "GET", path, NULL);

    if (a.status != status) {
        fail_msg("%s: %d instead of %d: %s", id, a.status, status, a.body);
    }
    assert_members(a.json, "error model_id path timestamp");
    assert_string_equal(str(a.json, "model_id"), id);
    assert_string_equal(str(a.json, "path"), "/some/where");
    assert_true(strlen(str(a.json, "error")) > 10);
    answer_finish(&a);
    free(path);
}

static void test_own_failures(void **state)
{
    struct fixture *f = fixture_create();
    char *body = definition(f, "stopped");

    ask_expect(f, 201, "POST", "/api/models/", body);
    expect_own_failure(f, 404, "nobody");
    expect_own_failure(f, 503, "stopped");
    free(body);
    fixture_destroy(f);
}

static void test_figures_and_history(void **state)
{
    struct fixture *f = fixture_create();
    const json_t *summary, *list, *first, *stats;
    struct answer a;

    run_model(f, "m");
    for (int i = 0; i < 3; i++) {
        ask_expect(f, 200, "GET", "/api/proxy/models/m/fine", NULL);
    }
    f->engine_status = 500;
    ask_expect(f, 500, "POST", "/api/proxy/models/m/broken", "{}");

    a = ask(f, "GET", "/api/proxy/stats", NULL);
    assert_members(a.json, "summary models timestamp");
    summary = json_object_get(a.json, "summary");
    assert_members(summary, "total_models total_targets active_targets total_requests total_errors "
                            "average_response_time error_rate");
    assert_int_equal(num(summary, "total_requests"), 4);
    assert_int_equal(num(summary, "total_errors"), 1);
    assert_int_equal(num(summary, "error_rate"), 25);
    assert_int_equal(num(summary, "active_targets"), 1);
    assert_members(json_object_get(json_object_get(a.json, "models"), "m"),
                   "total_targets active_targets targets");
    answer_finish(&a);

    a = ask(f, "GET", "/api/proxy/models/m/stats?hours=2", NULL);
    assert_members(a.json, "model_id time_range_hours stats timestamp");
    assert_int_equal(num(a.json, "time_range_hours"), 2);
    stats = json_object_get(a.json, "stats");
    assert_int_equal(num(stats, "request_count"), 4);
    assert_int_equal(num(stats, "error_count"), 1);
    assert_true(json_is_true(json_object_get(stats, "complete")));
    answer_finish(&a);
    ask_expect(f, 422, "GET", "/api/proxy/models/m/stats?hours=none", NULL);
    ask_expect(f, 422, "GET", "/api/proxy/models/m/stats?hours=0", NULL);
    ask_expect(f, 404, "GET", "/api/proxy/models/nobody/stats", NULL);

    a = ask(f, "GET", "/api/proxy/requests/history?model_id=m&limit=2", NULL);
    assert_members(a.json, "requests total_count model_id_filter limit timestamp");
    assert_int_equal(num(a.json, "total_count"), 4);
    assert_int_equal(num(a.json, "limit"), 2);
    assert_string_equal(str(a.json, "model_id_filter"), "m");
    list = json_object_get(a.json, "requests");
    assert_int_equal(json_array_size(list), 2);
    first = json_array_get(list, 0); /* the latest */
    assert_members(
        first, "model_id timestamp method path status_code status_class response_time request_size "
               "response_size client_ip user_agent queue_time first_byte_time "
               "prompt_tokens output_tokens ?instance ?error_message");
    assert_string_equal(str(first, "method"), "POST");
    assert_int_equal(num(first, "status_code"), 500);
    assert_int_equal(num(first, "request_size"), 2);
    assert_string_equal(str(json_array_get(list, 1), "method"), "GET");
    answer_finish(&a);
    a = ask(f, "GET", "/api/proxy/requests/history?model_id=other", NULL);
    assert_int_equal(num(a.json, "total_count"), 0);
    answer_finish(&a);
    ask_expect(f, 422, "GET", "/api/proxy/requests/history?limit=0", NULL);
    ask_expect(f, 422, "GET", "/api/proxy/requests/history?limit=100000", NULL);
    fixture_destroy(f);
}

static void test_strategies(void **state)
{
    struct fixture *f = fixture_create();
    const struct strategy *strategy;
    size_t cursor = 0, count = 0;
    bool all_of_the_contract = true;
    static const char *const contract[] = { "round_robin", "weighted", "least_connections",
                                            "response_time" };

    while ((strategy = strategy_next(&cursor))) {
        char *path = xasprintf("/api/proxy/load-balance?strategy=%s", strategy->name);
        struct answer a = ask(f, "PUT", path, NULL);

        assert_int_equal(a.status, 200);
        assert_members(a.json, "success message strategy updated_at");
        assert_string_equal(str(a.json, "strategy"), strategy->name);
        assert_string_equal(dispatch_strategy(f->dispatch, 0)->name, strategy->name);
        answer_finish(&a);
        free(path);
        count++;
    }
    assert_int_equal(count, 13);
    for (size_t i = 0; i < ARRAY_SIZE(contract); i++) {
        struct error e = { 0 };

        all_of_the_contract &= dispatch_set_strategy(f->dispatch, 0, contract[i], &e) == 0;
    }
    assert_true(all_of_the_contract);
    ask_expect(f, 400, "PUT", "/api/proxy/load-balance?strategy=coin", NULL);
    ask_expect(f, 400, "PUT", "/api/proxy/load-balance", NULL);
    assert_string_equal(dispatch_strategy(f->dispatch, 0)->name, "response_time");
    fixture_destroy(f);
}

static void expect_health(struct fixture *f, const char *status, int targets, int active)
{
    struct answer a = ask(f, "GET", "/api/proxy/health", NULL);

    assert_int_equal(a.status, 200);
    assert_members(a.json, "status total_models total_targets active_targets inactive_targets "
                           "timestamp message");
    assert_string_equal(str(a.json, "status"), status);
    assert_int_equal(num(a.json, "total_targets"), targets);
    assert_int_equal(num(a.json, "active_targets"), active);
    assert_int_equal(num(a.json, "inactive_targets"), targets - active);
    answer_finish(&a);
}

static void test_health(void **state)
{
    struct fixture *f = fixture_create();
    char *body;

    expect_health(f, "healthy", 0, 0);
    run_model(f, "m");
    expect_health(f, "healthy", 1, 1);
    f->engine_broken = true; /* from now on none starts */
    body = definition(f, "broken");
    ask_expect(f, 201, "POST", "/api/models/", body);
    ask_expect(f, 500, "POST", "/api/models/broken/start?wait=1", NULL);
    expect_health(f, "degraded", 2, 1);
    ask_expect(f, 200, "POST", "/api/models/m/stop?wait=1", NULL);
    expect_health(f, "unhealthy", 1, 0);
    free(body);
    fixture_destroy(f);
}

static bool is_active(struct fixture *f)
{
    struct answer a = ask(f, "GET", "/api/proxy/targets?model_id=m", NULL);
    const json_t *target =
        json_array_get(json_object_get(json_object_get(a.json, "targets"), "m"), 0);
    const bool active = json_is_true(json_object_get(target, "active"));

    answer_finish(&a);
    return active;
}

/* An engine that is up and not able to serve: its breaker opens, and it is no target then. */
static void test_open_breaker(void **state)
{
    struct fixture *f = fixture_create();
    struct answer a;
    int failures = 0;

    run_model(f, "m");
    assert_true(is_active(f));
    f->engine_status = 503;
    while (is_active(f) && failures < 20) {
        a = ask(f, "GET", "/api/proxy/models/m/x", NULL);
        failures += a.status == 503;
        answer_finish(&a);
    }
    assert_in_range(failures, 2, 19);
    expect_health(f, "unhealthy", 1, 0);
    a = ask(f, "GET", "/api/instances", NULL);
    assert_string_equal(str(json_array_get(json_object_get(a.json, "instances"), 0), "breaker"),
                        "open");
    answer_finish(&a);
    fixture_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets),      cmocka_unit_test(test_any_method_and_path),
        cmocka_unit_test(test_own_failures), cmocka_unit_test(test_figures_and_history),
        cmocka_unit_test(test_strategies),   cmocka_unit_test(test_health),
        cmocka_unit_test(test_open_breaker),

    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
