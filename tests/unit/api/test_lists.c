// SPDX-License-Identifier: Apache-2.0
/* What pages read: lists in pages, live samples, the estimate of a definition that is being
 * written, and edits that leave an engine running. */
#include <string.h>

#include "api/api_int.h"
#include "api/paging.h"
#include "base/mem.h"
#include "fixture.h"

/* Defines the model; members: JSON that goes over the usual ones. */
static void define(struct fixture *f, const char *id, const char *members)
{
    _cleanup_(freep) char *text = definition(f, id);
    json_t *json = json_loads(text, 0, NULL), *more = json_loads(members, 0, NULL);
    char *body;

    assert_non_null(more);
    json_object_update(json, more);
    body = json_dumps(json, 0);
    ask_expect(f, 201, "POST", "/api/models/", body);
    free(body);
    json_decref(more);
    json_decref(json);
}

/* "a b c": the ids of a bare list, in its order. */
static void expect_ids(struct fixture *f, const char *path, const char *ids)
{
    struct answer a = ask(f, "GET", path, NULL);
    struct buf found = BUF_INIT(4096);
    const json_t *model;
    size_t i;

    assert_int_equal(a.status, 200);
    json_array_foreach(a.json, i, model)
    {
        buf_printf(&found, "%s%s", i > 0 ? " " : "",
                   json_string_value(json_object_get(model, "id")));
    }
    buf_puts(&found, "");
    assert_string_equal(found.len > 0 ? buf_data(&found) : "", ids);
    buf_finish(&found);
    answer_finish(&a);
}

static struct fixture *three_models(void)
{
    struct fixture *f = fixture_create();

    define(f, "beta", "{\"priority\":5,\"name\":\"Second\",\"aliases\":[\"zeta\"]}");
    define(f, "alpha", "{\"priority\":9,\"name\":\"first\",\"pinned\":false}");
    define(f, "gamma", "{\"priority\":5,\"name\":\"Third\"}");
    return f;
}

static void test_models_in_order(void **state)
{
    struct fixture *f = three_models();

    expect_ids(f, "/api/models/", "beta alpha gamma");
    expect_ids(f, "/api/models/?sort=id", "alpha beta gamma");
    expect_ids(f, "/api/models/?sort=-id", "gamma beta alpha");
    expect_ids(f, "/api/models/?sort=name", "alpha beta gamma");      /* whatever the case */
    expect_ids(f, "/api/models/?sort=-priority", "alpha beta gamma"); /* equals as they stood */
    expect_ids(f, "/api/models/?sort=priority", "beta gamma alpha");
    expect_ids(f, "/api/models/?sort=uptime", "beta alpha gamma"); /* nobody has one */
    fixture_destroy(f);
}

static void test_models_in_pages(void **state)
{
    struct fixture *f = three_models();
    char *raw;

    expect_ids(f, "/api/models/?sort=id&limit=2", "alpha beta");
    expect_ids(f, "/api/models/?sort=id&limit=2&offset=2", "gamma");
    expect_ids(f, "/api/models/?offset=3", "");
    expect_ids(f, "/api/models/?q=ZETA", "beta"); /* an alias */
    expect_ids(f, "/api/models/?q=t", "beta alpha gamma");
    expect_ids(f, "/api/models/?q=hird", "gamma");
    expect_ids(f, "/api/models/?status=stopped", "beta alpha gamma");
    expect_ids(f, "/api/models/?status=running", "");
    expect_ids(f, "/api/models/?status=running,stopped&q=first", "alpha");
    raw = ask_raw(f, "GET /api/models/?limit=1&q=a HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                     "Connection: close\r\n\r\n");
    assert_non_null(strcasestr(raw, "\r\nX-Total-Count: 3\r\n"));
    free(raw);
    fixture_destroy(f);
}

static void expect_refusal(struct fixture *f, const char *path, const char *parameter)
{
    struct answer a = ask(f, "GET", path, NULL);
    const json_t *error = json_array_get(json_object_get(a.json, "detail"), 0);

    assert_int_equal(a.status, 422);
    assert_string_equal(json_string_value(json_array_get(json_object_get(error, "loc"), 1)),
                        parameter);
    answer_finish(&a);
}

static void test_bad_questions(void **state)
{
    struct fixture *f = fixture_create();

    expect_refusal(f, "/api/models/?limit=0", "limit");
    expect_refusal(f, "/api/models/?limit=1001", "limit");
    expect_refusal(f, "/api/models/?limit=ten", "limit");
    expect_refusal(f, "/api/models/?offset=-1", "offset");
    expect_refusal(f, "/api/models/?sort=secret", "sort");
    expect_refusal(f, "/api/models/?sort=-", "sort");
    expect_refusal(f, "/api/instances?sort=nothing", "sort");
    expect_refusal(f, "/api/v1/scheduler/queue?limit=0", "limit");
    expect_refusal(f, "/api/v1/scheduler/history?action=eaten", "action");
    expect_refusal(f, "/api/proxy/requests/history?sort=x", "sort");
    expect_refusal(f, "/api/v1/system/gpu?offset=x", "offset");
    expect_refusal(f, "/api/evaluation/tasks?sort=x", "sort");
    expect_refusal(f, "/api/evaluation/experiments?limit=x", "limit");
    expect_refusal(f, "/api/topologies?limit=x", "limit");
    expect_refusal(f, "/api/files/browse?sort=owner", "sort");
    fixture_destroy(f);
}

static void expect_total(struct fixture *f, const char *path, const char *list, size_t count,
                         json_int_t total)
{
    struct answer a = ask_with(f, "GET", path, NULL, "Accept: application/json\r\n");

    if (a.status != 200 || json_array_size(json_object_get(a.json, list)) != count ||
        json_integer_value(json_object_get(a.json, "total_count")) != total) {
        fail_msg("%s: %d %s", path, a.status, a.body);
    }
    answer_finish(&a);
}

static void test_lists_in_objects(void **state)
{
    struct fixture *f = three_models();

    for (int i = 0; i < 3; i++) {
        ask_expect(f, 404, "POST", "/v1/completions", "{\"model\":\"none\",\"prompt\":\"x\"}");
    }
    ask_expect(f, 200, "POST", "/api/models/alpha/start?wait=1", NULL);
    ask_expect(f, 200, "POST", "/v1/completions", "{\"model\":\"alpha\",\"prompt\":\"x\"}");
    expect_total(f, "/api/instances", "instances", 1, 1);
    expect_total(f, "/api/instances?state=starting", "instances", 0, 0);
    expect_total(f, "/api/instances?model=alpha&state=ready,starting", "instances", 1, 1);
    expect_total(f, "/api/instances?q=nowhere", "instances", 0, 0);
    expect_total(f, "/api/proxy/requests/history?limit=2", "requests", 2, 4);
    expect_total(f, "/api/proxy/requests/history?status_class=4xx&limit=2", "requests", 2, 3);
    expect_total(f, "/api/proxy/requests/history?status_class=2xx", "requests", 1, 1);
    expect_total(f, "/api/proxy/requests/history?model_id=alpha", "requests", 1, 1);
    expect_total(f, "/api/v1/scheduler/queue?limit=1", "queue", 0, 0);
    expect_total(f, "/api/evaluation/tasks?limit=1", "tasks", 0, 0);
    expect_total(f, "/api/evaluation/experiments?q=x", "experiments", 0, 0);
    fixture_destroy(f);
}

static void test_events_in_pages(void **state)
{
    struct fixture *f = fixture_create();
    struct answer a;

    for (int i = 0; i < 5; i++) {
        events_emit(f->events, EVENT_MODEL_WANTED, i % 2 ? "Odd" : "even",
                    json_pack("{s:i}", "number", i));
    }
    sim_run_for(f->world, 100);
    expect_total(f, "/api/events?kind=model_wanted&limit=2&offset=0", "events", 2, 5);
    expect_total(f, "/api/events?kind=model_wanted&limit=2&offset=4", "events", 1, 5);
    expect_total(f, "/api/events?kind=model_wanted&q=ODD", "events", 2, 2);
    expect_total(f, "/api/events?kind=model_wanted&q=%22number%22:3", "events", 1, 1);
    expect_total(f, "/api/events?q=no-such-word", "events", 0, 0);
    a = ask_with(f, "GET", "/api/events?kind=model_wanted&sort=-id&limit=1&offset=1", NULL,
                 "Accept: application/json\r\n");
    assert_non_null(strstr(a.body, "\"number\":3"));
    answer_finish(&a);
    fixture_destroy(f);
}

/* ---- the estimate ---- */

static void test_estimate(void **state)
{
    struct fixture *f = fixture_create();
    _cleanup_(freep) char *whole = definition(f, "a");
    _cleanup_(freep) char *part = xasprintf("{\"framework\":\"llama_cpp\",\"model_path\":\"%s\","
                                            "\"resource_requirements\":{\"gpu_memory\":700}}",
                                            f->model_path);
    struct answer a = ask(f, "POST", "/api/models/validate", whole);
    const json_t *estimate = json_object_get(a.json, "estimate");

    assert_int_equal(a.status, 200);
    assert_true(json_is_true(json_object_get(a.json, "is_valid")));
    assert_true(json_is_object(estimate));
    assert_true(json_integer_value(json_object_get(estimate, "total_bytes")) > 0);
    assert_int_equal(json_array_size(json_object_get(estimate, "shares")), 2);
    answer_finish(&a);
    a = ask(f, "POST", "/api/models/validate", part); /* it is not complete yet */
    assert_true(json_is_false(json_object_get(a.json, "is_valid")));
    estimate = json_object_get(a.json, "estimate");
    assert_string_equal(json_string_value(json_object_get(estimate, "source")), "declared");
    assert_int_equal(json_integer_value(json_object_get(estimate, "total_bytes")), 700 << 20);
    assert_string_equal(json_string_value(json_object_get(estimate, "fits")), "now");
    answer_finish(&a);
    a = ask(f, "POST", "/api/models/validate", "{\"framework\":\"llama_cpp\"}");
    assert_int_equal(a.status, 200);
    assert_true(json_is_null(json_object_get(a.json, "estimate")));
    answer_finish(&a);
    a = ask(f, "POST", "/api/models/validate",
            "{\"framework\":\"llama_cpp\",\"model_path\":\"/no/such.gguf\"}");
    assert_true(json_is_null(json_object_get(a.json, "estimate")));
    assert_non_null(json_string_value(json_object_get(a.json, "estimate_reason")));
    answer_finish(&a);
    ask_expect(f, 200, "POST", "/api/models/validate", "[]");
    fixture_destroy(f);
}

static void expect_fit(struct fixture *f, const char *megabytes, const char *fits)
{
    _cleanup_(freep) char *body = xasprintf("{\"framework\":\"llama_cpp\",\"model_path\":\"%s\","
                                            "\"resource_requirements\":{\"gpu_memory\":%s}}",
                                            f->model_path, megabytes);
    struct answer a = ask(f, "POST", "/api/models/validate", body);

    assert_string_equal(
        json_string_value(json_object_get(json_object_get(a.json, "estimate"), "fits")), fits);
    answer_finish(&a);
}

/* Two cards, of 1000 and 2000 MiB; on both others have something. */
static void test_fits(void **state)
{
    struct fixture *f = fixture_create();

    sim_run_for(f->world, 1000);
    expect_fit(f, "100", "now");
    expect_fit(f, "100000", "never");
    fixture_destroy(f);
}

/* ---- edits ---- */

static void test_patch_leaves_the_engine(void **state)
{
    struct fixture *f = three_models();
    const struct model *model;
    char uuid[UUID_SIZE];
    struct answer a;

    ask_expect(f, 200, "POST", "/api/models/alpha/start?wait=1", NULL);
    model = models_find(f->models, SPAN("alpha"));
    strcpy(uuid, engines_of_model(f->engines, model->id)->uuid);
    a = ask(f, "PATCH", "/api/models/alpha",
            "{\"pinned\":true,\"priority\":7,\"keep_alive\":\"10m\",\"aliases\":[\"omega\"]}");
    assert_int_equal(a.status, 200);
    assert_true(json_is_true(json_object_get(a.json, "pinned")));
    assert_string_equal(json_string_value(json_object_get(a.json, "name")), "first");
    answer_finish(&a);
    sim_run_for(f->world, 60 * 1000);
    model = models_find(f->models, SPAN("omega"));
    assert_non_null(model);
    assert_int_equal(model->config->priority, 7);
    assert_string_equal(engines_of_model(f->engines, model->id)->uuid, uuid);
    assert_int_equal(engines_of_model(f->engines, model->id)->state, INSTANCE_READY);
    expect_ids(f, "/api/models/?pinned=true", "alpha");
    fixture_destroy(f);
}

static void test_patch_is_checked(void **state)
{
    struct fixture *f = three_models();

    ask_expect(f, 400, "PATCH", "/api/models/alpha", "{\"priority\":99}");
    ask_expect(f, 422, "PATCH", "/api/models/alpha", "{\"pinned\":\"very\"}");
    ask_expect(f, 422, "PATCH", "/api/models/alpha", "[]");
    ask_expect(f, 404, "PATCH", "/api/models/delta", "{\"pinned\":true}");
    ask_expect(f, 200, "PATCH", "/api/models/alpha", "{\"id\":\"delta\"}"); /* it keeps its own */
    expect_ids(f, "/api/models/?sort=id", "alpha beta gamma");
    fixture_destroy(f);
}

/* ---- samples ---- */

static void test_service_history(void **state)
{
    struct fixture *f = three_models();
    struct answer a;
    const json_t *last;

    ask_expect(f, 200, "POST", "/api/models/alpha/start?wait=1", NULL);
    sim_run_for(f->world, 2 * MONITOR_STEP_MS);
    for (int i = 0; i < 3; i++) {
        ask_expect(f, 200, "POST", "/v1/completions", "{\"model\":\"alpha\",\"prompt\":\"x\"}");
    }
    f->engine_status = 500;
    ask_expect(f, 500, "POST", "/v1/completions", "{\"model\":\"alpha\",\"prompt\":\"x\"}");
    sim_run_for(f->world, MONITOR_STEP_MS);
    a = ask(f, "GET", "/api/monitoring/service/history?limit=1", NULL);
    assert_int_equal(a.status, 200);
    assert_int_equal(json_array_size(a.json), 1);
    last = json_array_get(a.json, 0);
    assert_int_equal(json_integer_value(json_object_get(last, "requests")), 4);
    assert_int_equal(json_integer_value(json_object_get(last, "errors")), 1);
    assert_true(json_is_number(json_object_get(json_object_get(last, "total"), "mean")));
    answer_finish(&a);
    sim_run_for(f->world, MONITOR_STEP_MS); /* nothing more */
    a = ask(f, "GET", "/api/monitoring/service", NULL);
    last = json_object_get(a.json, "service");
    assert_int_equal(json_integer_value(json_object_get(last, "requests")), 0);
    assert_true(json_is_null(json_object_get(json_object_get(last, "total"), "mean")));
    assert_int_equal(json_array_size(json_object_get(a.json, "devices")), 2);
    assert_true(json_is_number(json_object_get(json_object_get(a.json, "host"), "cpu_usage")));
    answer_finish(&a);
    fixture_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models_in_order),
        cmocka_unit_test(test_models_in_pages),
        cmocka_unit_test(test_bad_questions),
        cmocka_unit_test(test_lists_in_objects),
        cmocka_unit_test(test_events_in_pages),
        cmocka_unit_test(test_estimate),
        cmocka_unit_test(test_fits),
        cmocka_unit_test(test_patch_leaves_the_engine),
        cmocka_unit_test(test_patch_is_checked),
        cmocka_unit_test(test_service_history),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
