// SPDX-License-Identifier: Apache-2.0
/* The monitoring door and the room behind it: what an hour leaves behind, in virtual time. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/api_int.h"
#include "base/mem.h"
#include "fake_placement.h"
#include "fixture.h"

enum { STEP_MS = MONITOR_STEP_MS, MINUTE_MS = 60 * 1000 };

static struct fixture *begin(void)
{
    fake_reset();
    return fixture_create();
}

static double num(const json_t *json, const char *name)
{
    const json_t *value = json_object_get(json, name);

    if (!json_is_number(value)) {
        fail_msg("%s is no number", name);
    }
    return json_number_value(value);
}

static const char *text(const json_t *json, const char *name)
{
    const char *s = json_string_value(json_object_get(json, name));

    if (!s) {
        fail_msg("%s is no text", name);
    }
    return s;
}

static void start(struct fixture *f, const char *id)
{
    char *config = definition(f, id), *path = xasprintf("/api/models/%s/start?wait=1", id);

    ask_expect(f, 201, "POST", "/api/models/", config);
    ask_expect(f, 200, "POST", path, NULL);
    free(config);
    free(path);
}

static void chat(struct fixture *f, const char *id, int status)
{
    char *body = xasprintf("{\"model\":\"%s\",\"prompt\":\"x\"}", id);

    ask_expect(f, status, "POST", "/v1/completions", body);
    free(body);
}

static void test_now(void **state)
{
    struct fixture *f = begin();
    struct answer a = ask(f, "GET", "/api/monitoring/gpu", NULL);
    const json_t *one = json_array_get(a.json, 0);

    assert_int_equal(a.status, 200);
    assert_int_equal(json_array_size(a.json), 2);
    assert_int_equal(json_object_size(one), 7);
    assert_true(num(one, "device_id") == 0 && num(one, "memory_used") == 300);
    assert_true(num(one, "memory_total") == 1000 && num(one, "utilization") == 79.9);
    assert_true(num(one, "temperature") == 50 && num(one, "power_usage") == 120.5);
    assert_true(num(json_array_get(a.json, 1), "temperature") == 0); /* not told */
    answer_finish(&a);
    a = ask(f, "GET", "/api/monitoring/system", NULL);
    assert_true(num(a.json, "total_gpus") == 2 && num(a.json, "total_gpu_memory") == 3000);
    assert_int_equal(json_array_size(json_object_get(a.json, "gpu_metrics")), 2);
    one = json_object_get(a.json, "system_metrics");
    assert_true(num(one, "memory_percent") > 0 && num(one, "disk_percent") > 0);
    assert_true(num(one, "cpu_percent") >= 0);
    answer_finish(&a);
    a = ask(f, "GET", "/api/monitoring/metrics/system", NULL);
    assert_int_equal(json_object_size(a.json), 11);
    assert_true(num(a.json, "memory_total") > 0);
    answer_finish(&a);
    fixture_destroy(f);
}

static void test_device_history(void **state)
{
    struct fixture *f = begin();
    struct answer a;

    sim_run_for(f->world, MINUTE_MS);
    a = ask(f, "GET", "/api/monitoring/gpu/history?device_id=0&limit=3", NULL);
    assert_int_equal(a.status, 200);
    assert_int_equal(json_array_size(a.json), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(num(json_array_get(a.json, i), "device_id") == 0);
        assert_true(num(json_array_get(a.json, i), "memory_used") == 300);
    }
    assert_true(strcmp(text(json_array_get(a.json, 0), "timestamp"),
                       text(json_array_get(a.json, 2), "timestamp")) < 0);
    answer_finish(&a);
    a = ask(f, "GET", "/api/monitoring/gpu/history", NULL);
    assert_true(json_array_size(a.json) >= 2 * 6); /* every 10 s, of both */
    assert_true(num(json_array_get(a.json, json_array_size(a.json) - 1), "device_id") == 1);
    answer_finish(&a);
    a = ask(f, "GET", "/api/monitoring/gpu/history?limit=3", NULL); /* of both together */
    assert_int_equal(json_array_size(a.json), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(num(json_array_get(a.json, i), "device_id") == (i + 1) % 2);
    }
    assert_true(strcmp(text(json_array_get(a.json, 0), "timestamp"),
                       text(json_array_get(a.json, 1), "timestamp")) < 0);
    answer_finish(&a);
    ask_expect(f, 404, "GET", "/api/monitoring/gpu/history?device_id=2", NULL);
    ask_expect(f, 422, "GET", "/api/monitoring/gpu/history?device_id=x", NULL);
    ask_expect(f, 422, "GET", "/api/monitoring/gpu/history?hours=0", NULL);
    ask_expect(f, 422, "GET", "/api/monitoring/gpu/history?limit=0", NULL);
    fixture_destroy(f);
}

static void test_host_history(void **state)
{
    struct fixture *f = begin();
    struct answer a = ask(f, "GET", "/api/monitoring/system/history", NULL);
    char *latest;

    assert_int_equal(json_array_size(a.json), 0);
    answer_finish(&a);
    sim_run_for(f->world, 10 * STEP_MS + 1);
    a = ask(f, "GET", "/api/monitoring/system/history", NULL);
    latest = xstrdup(text(json_array_get(a.json, 9), "timestamp"));
    answer_finish(&a);
    a = ask(f, "GET", "/api/monitoring/system/history?limit=4", NULL);
    assert_int_equal(json_array_size(a.json), 4);
    assert_string_equal(text(json_array_get(a.json, 3), "timestamp"), latest);
    free(latest);
    assert_int_equal(json_object_size(json_array_get(a.json, 0)), 11);
    assert_true(strcmp(text(json_array_get(a.json, 0), "timestamp"),
                       text(json_array_get(a.json, 3), "timestamp")) < 0);
    answer_finish(&a);
    a = ask(f, "GET", "/api/monitoring/system/history?hours=24", NULL);
    assert_int_equal(json_array_size(a.json), 10);
    answer_finish(&a);
    sim_run_for(f->world, MONITOR_SPAN_MS);
    a = ask(f, "GET", "/api/monitoring/system/history?hours=24", NULL);
    assert_int_equal(json_array_size(a.json), MONITOR_SAMPLES_MAX); /* an hour, no more */
    answer_finish(&a);
    fixture_destroy(f);
}

static void test_model_metrics(void **state)
{
    struct fixture *f = begin();
    const json_t *sample;
    struct answer a;
    double requests = 0, errors = 0;

    start(f, "m");
    chat(f, "m", 200);
    chat(f, "m", 200);
    sim_run_for(f->world, 3 * STEP_MS);
    f->engine_status = 500;
    chat(f, "m", 500);
    a = ask(f, "GET", "/api/monitoring/models/m/metrics", NULL);
    assert_int_equal(a.status, 200);
    assert_int_equal(json_object_size(a.json), 7);
    assert_string_equal(text(a.json, "model_id"), "m");
    assert_true(num(a.json, "request_count") == 3); /* the last one is in no sample yet */
    assert_true(num(a.json, "error_rate") > 33 && num(a.json, "error_rate") < 34);
    assert_true(num(a.json, "average_response_time") >= 0);
    assert_true(num(a.json, "throughput") > 0 && num(a.json, "throughput") < 3);
    assert_true(json_array_size(json_object_get(a.json, "gpu_utilization")) >= 3);
    assert_true(strcmp(text(json_object_get(a.json, "time_range"), "start_time"),
                       text(json_object_get(a.json, "time_range"), "end_time")) < 0);
    answer_finish(&a);
    sim_run_for(f->world, STEP_MS);
    a = ask(f, "GET", "/api/monitoring/models/m/history", NULL);
    assert_true(json_array_size(a.json) >= 4);
    for (size_t i = 0; i < json_array_size(a.json); i++) {
        sample = json_array_get(a.json, i);
        assert_int_equal(json_object_size(sample), 9);
        requests += num(sample, "request_count");
        errors += num(sample, "error_count");
        assert_true(num(sample, "active_connections") == 0);
        assert_true(num(sample, "memory_usage") >= 0 && num(sample, "cpu_usage") >= 0);
    }
    assert_true(requests == 3 && errors == 1); /* each request in one sample */
    sample = json_array_get(a.json, json_array_size(a.json) - 1);
    assert_true(num(sample, "gpu_utilization") > 79 && num(sample, "gpu_utilization") < 80);
    answer_finish(&a);
    a = ask(f, "GET", "/api/monitoring/models/m/metrics", NULL);
    assert_true(num(a.json, "request_count") == 3); /* and not twice */
    answer_finish(&a);
    a = ask(f, "GET", "/api/monitoring/models/m/history?limit=2", NULL);
    assert_int_equal(json_array_size(a.json), 2);
    answer_finish(&a);
    fixture_destroy(f);
}

/* How long it says that it has watched. */
static void assert_range(const json_t *metrics, int64_t expected_ms)
{
    const json_t *range = json_object_get(metrics, "time_range");
    int day[2], hour[2], minute[2];

    assert_int_equal(
        sscanf(text(range, "start_time"), "%*d-%*d-%dT%d:%d", &day[0], &hour[0], &minute[0]), 3);
    assert_int_equal(
        sscanf(text(range, "end_time"), "%*d-%*d-%dT%d:%d", &day[1], &hour[1], &minute[1]), 3);
    assert_int_equal(((day[1] - day[0]) * 24 + hour[1] - hour[0]) * 60 + minute[1] - minute[0],
                     expected_ms / MINUTE_MS);
}

static void test_an_hour(void **state)
{
    struct fixture *f = begin();
    struct answer a;

    start(f, "m");
    chat(f, "m", 200);
    sim_run_for(f->world, MONITOR_SPAN_MS + 2 * STEP_MS);
    chat(f, "m", 200);
    a = ask(f, "GET", "/api/monitoring/models/m/metrics?hours=24", NULL);
    assert_true(num(a.json, "request_count") == 1); /* the first is beyond the hour */
    assert_range(a.json, MONITOR_SPAN_MS);          /* and it says so */
    answer_finish(&a);
    ask_expect(f, 200, "POST", "/api/models/m/stop?wait=1", NULL);
    sim_run_for(f->world, MONITOR_SPAN_MS / 2);
    a = ask(f, "GET", "/api/monitoring/models/m/history", NULL);
    assert_true(json_array_size(a.json) > 0);
    answer_finish(&a);
    sim_run_for(f->world, MONITOR_SPAN_MS / 2 + 2 * STEP_MS);
    a = ask(f, "GET", "/api/monitoring/models/m/history?hours=24", NULL);
    assert_int_equal(json_array_size(a.json), 0); /* nothing to tell for an hour */
    answer_finish(&a);
    ask_expect(f, 200, "POST", "/api/models/m/start?wait=1", NULL);
    chat(f, "m", 200);
    a = ask(f, "GET", "/api/monitoring/models/m/metrics", NULL);
    assert_true(num(a.json, "request_count") ==
                1); /* what it was asked before is not counted anew */
    answer_finish(&a);
    fixture_destroy(f);
}

static void test_model_gone(void **state)
{
    struct fixture *f = begin();
    struct answer a;

    start(f, "m");
    start(f, "n");
    chat(f, "n", 200);
    sim_run_for(f->world, STEP_MS);
    ask_expect(f, 200, "DELETE", "/api/models/m?wait=1", NULL);
    sim_run_for(f->world, STEP_MS);
    ask_expect(f, 404, "GET", "/api/monitoring/models/m/history", NULL);
    a = ask(f, "GET", "/api/monitoring/models/n/metrics", NULL);
    assert_true(num(a.json, "request_count") == 1);
    answer_finish(&a);
    start(f, "m"); /* another one of the name */
    a = ask(f, "GET", "/api/monitoring/models/m/metrics", NULL);
    assert_true(num(a.json, "request_count") == 0);
    answer_finish(&a);
    fixture_destroy(f);
}

static void test_health(void **state)
{
    struct fixture *f = begin();
    struct answer a;

    start(f, "m");
    a = ask(f, "GET", "/api/monitoring/models/m/health", NULL);
    assert_int_equal(json_object_size(a.json), 3);
    assert_string_equal(text(a.json, "health_status"), "healthy");
    answer_finish(&a);
    ask_expect(f, 404, "GET", "/api/monitoring/models/x/health", NULL);
    ask_expect(f, 404, "GET", "/api/monitoring/models/x/metrics", NULL);
    ask_expect(f, 422, "GET", "/api/monitoring/models/m/metrics?hours=none", NULL);
    ask_expect(f, 422, "GET", "/api/monitoring/models/m/history?limit=-1", NULL);
    fixture_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_now),          cmocka_unit_test(test_device_history),
        cmocka_unit_test(test_host_history), cmocka_unit_test(test_model_metrics),
        cmocka_unit_test(test_an_hour),      cmocka_unit_test(test_model_gone),
        cmocka_unit_test(test_health),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
