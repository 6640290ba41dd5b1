// SPDX-License-Identifier: Apache-2.0
/* The models door, asked over HTTP: the contract's statuses and bodies, and the bugs of the
 * original that must not come back. */
#include <string.h>

#include "api/api_int.h"
#include "base/mem.h"
#include "fixture.h"

static const char *str(const json_t *json, const char *name)
{
    const char *s = json_string_value(json_object_get(json, name));

    return s ? s : "(none)";
}

static void define(struct fixture *f, const char *id)
{
    char *body = definition(f, id);
    struct answer a = ask(f, "POST", "/api/models/", body);

    free(body);
    assert_int_equal(a.status, 201);
    assert_true(json_is_true(json_object_get(a.json, "success")));
    assert_string_equal(str(a.json, "model_id"), id);
    assert_true(json_is_string(json_object_get(a.json, "message")));
    answer_finish(&a);
}

static void expect_status(struct fixture *f, const char *path, const char *status,
                          const char *health)
{
    struct answer a = ask(f, "GET", path, NULL);

    assert_int_equal(a.status, 200);
    assert_string_equal(str(a.json, "status"), status);
    assert_string_equal(str(a.json, "health"), health);
    answer_finish(&a);
}

static void test_words(void **state)
{
    static const struct {
        enum instance_state state;
        const char *status, *health;
    } rows[] = {
        { INSTANCE_WAITING, "queued", "unknown" },    { INSTANCE_STARTING, "starting", "unknown" },
        { INSTANCE_READY, "running", "healthy" },     { INSTANCE_DRAINING, "stopping", "unknown" },
        { INSTANCE_STOPPING, "stopping", "unknown" }, { INSTANCE_BACKOFF, "error", "unhealthy" },
        { INSTANCE_FAILED, "error", "unhealthy" },
    };

    assert_int_equal(ARRAY_SIZE(rows), INSTANCE_STATE_MAX_);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct instance inst = { .state = rows[i].state };

        assert_string_equal(status_words(true, &inst)->status, rows[i].status);
        assert_string_equal(status_words(true, &inst)->health, rows[i].health);
    }
    assert_string_equal(
        status_words(true, &(struct instance){ .state = INSTANCE_WAITING, .displaced = true })
            ->status,
        "preempted");
    assert_string_equal(
        status_words(true, &(struct instance){ .state = INSTANCE_STARTING, .displaced = true })
            ->status,
        "starting");
    assert_string_equal(status_words(true, NULL)->status, "starting");
    assert_string_equal(status_words(false, NULL)->status, "stopped");
    assert_string_equal(status_words(false, NULL)->health, "unknown");
}

static void test_create_read_list(void **state)
{
    struct fixture *f = fixture_create();
    struct answer a = ask(f, "GET", "/api/models/", NULL);

    assert_int_equal(a.status, 200);
    assert_true(json_is_array(a.json));
    assert_int_equal(json_array_size(a.json), 0);
    answer_finish(&a);

    define(f, "tiny");
    define(f, "org/model:tag");
    a = ask(f, "GET", "/api/models/", NULL);
    assert_int_equal(json_array_size(a.json), 2);
    assert_string_equal(str(json_array_get(a.json, 1), "id"), "org/model:tag");
    answer_finish(&a);

    /* The original left model_path out, and so answered 500 for every model. */
    a = ask(f, "GET", "/api/models/org%2Fmodel%3Atag", NULL);
    assert_int_equal(a.status, 200);
    assert_string_equal(str(a.json, "model_path"), f->model_path);
    assert_string_equal(str(a.json, "framework"), "llama_cpp");
    assert_string_equal(str(a.json, "status"), "stopped");
    assert_int_equal(json_integer_value(json_object_get(a.json, "priority")), 5);
    assert_true(json_is_array(json_object_get(a.json, "gpu_devices")));
    assert_true(json_is_null(json_object_get(a.json, "memory_usage")));
    assert_true(json_is_null(json_object_get(a.json, "uptime")));
    assert_non_null(json_object_get(a.json, "api_endpoint"));
    assert_non_null(json_object_get(a.json, "last_health_check"));
    answer_finish(&a);

    a = ask(f, "GET", "/api/models/tiny/config", NULL);
    assert_int_equal(a.status, 200);
    assert_int_equal(json_integer_value(json_object_get(
                         json_object_get(a.json, "resource_requirements"), "gpu_memory")),
                     64);
    assert_true(json_is_true(json_object_get(json_object_get(a.json, "health_check"), "enabled")));
    answer_finish(&a);
    fixture_destroy(f);
}

static void test_refusals(void **state)
{
    struct fixture *f = fixture_create();
    static const char *const paths[] = { "/api/models/nope",           "/api/models/nope/status",
                                         "/api/models/nope/config",    "/api/models/nope/health",
                                         "/api/models/nope/instances", "/api/models/nope/logs" };
    char *body = definition(f, "twice");
    char query[5000];
    struct answer a;

    define(f, "twice");
    a = ask(f, "POST", "/api/models/", body);
    assert_int_equal(a.status, 400);
    assert_non_null(strstr(str(a.json, "detail"), "twice"));
    answer_finish(&a);
    free(body);

    a = ask(f, "POST", "/api/models/", "{\"id\":");
    assert_int_equal(a.status, 422);
    assert_string_equal(str(json_array_get(json_object_get(a.json, "detail"), 0), "type"),
                        "json_invalid");
    answer_finish(&a);

    a = ask(f, "POST", "/api/models/", "{\"id\":\"x\",\"name\":\"x\",\"priority\":\"high\"}");
    assert_int_equal(a.status, 422);
    assert_true(json_array_size(json_object_get(a.json, "detail")) > 0);
    answer_finish(&a);

    a = ask(f, "POST", "/api/models/",
            "{\"id\":\"x\",\"name\":\"x\",\"framework\":\"llama_cpp\",\"model_path\":\"/"
            "m\",\"priority\":11,"
            "\"resource_requirements\":{\"gpu_memory\":1}}");
    assert_int_equal(a.status, 400);
    assert_true(json_is_string(json_object_get(a.json, "detail")));
    answer_finish(&a);

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        a = ask(f, "GET", paths[i], NULL);
        assert_int_equal(a.status, 404);
        assert_true(json_is_string(json_object_get(a.json, "detail")));
        answer_finish(&a);
    }
    ask_expect(f, 404, "DELETE", "/api/models/nope", NULL);
    ask_expect(f, 404, "POST", "/api/models/nope/start", NULL);
    ask_expect(f, 404, "POST", "/api/models/nope/stop", NULL);
    ask_expect(f, 404, "POST", "/api/models/nope/restart", NULL);
    ask_expect(f, 404, "GET", "/api/nothing", NULL);
    ask_expect(f, 405, "POST", "/api/models/twice", NULL);
    ask_expect(f, 307, "GET", "/api/models", NULL);
    memset(query, 'q', sizeof(query) - 1);
    memcpy(query, "/api/models?", 12);
    query[sizeof(query) - 1] = '\0';
    ask_expect(f, 414, "GET", query, NULL); /* never a cut one */
    fixture_destroy(f);
}

static void test_big_body(void **state)
{
    struct fixture *f = fixture_create();
    const size_t n = FRONT_MANAGEMENT_BODY_MAX + 1;
    char *body = xmalloc(n + 1);

    memset(body, ' ', n);
    body[n] = '\0';
    ask_expect(f, 413, "POST", "/api/models/", body);
    free(body);
    fixture_destroy(f);
}

static void test_validate(void **state)
{
    struct fixture *f = fixture_create();
    char *body = definition(f, "tiny"), *text;
    struct answer a = ask(f, "POST", "/api/models/validate", body);

    assert_int_equal(a.status, 200);
    assert_true(json_is_true(json_object_get(a.json, "is_valid")));
    assert_int_equal(json_array_size(json_object_get(a.json, "errors")), 0);
    assert_true(json_is_array(json_object_get(a.json, "warnings")));
    answer_finish(&a);
    free(body);

    a = ask(f, "POST", "/api/models/validate", "{\"id\":\"x\",\"priority\":\"high\"}");
    assert_int_equal(a.status, 200);
    assert_true(json_is_false(json_object_get(a.json, "is_valid")));
    assert_true(json_array_size(json_object_get(a.json, "errors")) > 0);
    answer_finish(&a);

    a = ask(f, "POST", "/api/models/validate",
            "{\"id\":\"x\",\"priority\":5,\"health_check\":{\"interval\":\"often\"}}");
    text = json_dumps(json_object_get(a.json, "errors"), 0);
    assert_non_null(strstr(text, "\"health_check.interval: "));
    free(text);
    answer_finish(&a);

    a = ask(f, "GET", "/api/models/", NULL);
    assert_int_equal(json_array_size(a.json), 0);
    answer_finish(&a);
    fixture_destroy(f);
}

static void test_start_stop(void **state)
{
    struct fixture *f = fixture_create();
    struct answer a;
    const json_t *inst;

    define(f, "tiny");
    expect_status(f, "/api/models/tiny/status", "stopped", "unknown");
    a = ask(f, "POST", "/api/models/tiny/start", NULL);
    assert_int_equal(a.status, 200);
    assert_string_equal(str(a.json, "message"), "starting");
    answer_finish(&a);
    a = ask(f, "POST", "/api/models/tiny/start?wait=1", NULL);
    assert_int_equal(a.status, 200);
    assert_string_equal(str(a.json, "message"), "running");
    answer_finish(&a);
    expect_status(f, "/api/models/tiny/status", "running", "healthy");

    a = ask(f, "GET", "/api/models/tiny/instances", NULL);
    inst = json_array_get(json_object_get(a.json, "instances"), 0);
    assert_string_equal(str(inst, "state"), "ready");
    assert_string_equal(str(inst, "model"), "tiny");
    assert_true(json_integer_value(json_object_get(inst, "pid")) > 0);
    assert_int_equal(str(inst, "socket")[0], '/');
    assert_int_equal(str(inst, "log")[0], '/');
    assert_true(json_is_null(json_object_get(inst, "last_error")));
    assert_int_equal(json_integer_value(json_object_get(inst, "in_flight")), 0);
    answer_finish(&a);

    a = ask(f, "POST", "/api/models/tiny/health-check", NULL);
    assert_int_equal(a.status, 200);
    assert_true(json_is_true(json_object_get(a.json, "success")));
    answer_finish(&a);

    ask_expect(f, 200, "POST", "/api/models/tiny/restart?wait=1", NULL);
    expect_status(f, "/api/models/tiny/status", "running", "healthy");
    ask_expect(f, 200, "POST", "/api/models/tiny/stop?wait=1", NULL);
    expect_status(f, "/api/models/tiny/status", "stopped", "unknown");
    a = ask(f, "GET", "/api/instances", NULL);
    assert_int_equal(json_array_size(json_object_get(a.json, "instances")), 0);
    answer_finish(&a);
    fixture_destroy(f);
}

/* The original took one lock twice here and stood still for ever. */
static void test_change_running(void **state)
{
    struct fixture *f = fixture_create();
    char *text = definition(f, "tiny"), *body = text + strlen("{\"id\":\"tiny\",") - 1;
    struct answer a;

    define(f, "tiny");
    ask_expect(f, 200, "POST", "/api/models/tiny/start?wait=1", NULL);
    body[0] = '{'; /* without an id: the path has it */
    a = ask(f, "PUT", "/api/models/tiny", body);
    free(text);
    assert_int_equal(a.status, 200);
    assert_string_equal(str(a.json, "id"), "tiny");
    assert_non_null(json_object_get(a.json, "retry_policy"));
    answer_finish(&a);
    ask_expect(f, 200, "POST", "/api/models/tiny/start?wait=1", NULL);
    a = ask(f, "DELETE", "/api/models/tiny?wait=1", NULL);
    assert_int_equal(a.status, 200);
    assert_string_equal(str(a.json, "model_id"), "tiny");
    answer_finish(&a);
    ask_expect(f, 404, "GET", "/api/models/tiny", NULL);
    assert_int_equal(sim_live_processes(f->world), 0);
    fixture_destroy(f);
}

/* The original forgot to store that a model was deleted. */
static void test_delete_is_stored(void **state)
{
    struct fixture *f = fixture_create();
    struct models *again;
    struct error e;

    define(f, "kept");
    define(f, "gone");
    ask_expect(f, 200, "DELETE", "/api/models/gone", NULL);
    again = models_create(f->world, f->store, f->events);
    assert_int_equal(models_load(again, &e), 0);
    assert_int_equal(models_count(again), 1);
    assert_non_null(models_find(again, SPAN("kept")));
    models_destroy(again);
    fixture_destroy(f);
}

static void test_cannot_start(void **state)
{
    struct fixture *f = fixture_create();
    struct answer a = ask(f, "POST", "/api/models/",
                          "{\"id\":\"lost\",\"name\":\"x\",\"framework\":\"llama_cpp\",\"model_"
                          "path\":\"/not/there.gguf\","
                          "\"priority\":1,\"resource_requirements\":{\"gpu_memory\":1}}");

    assert_int_equal(a.status, 201);
    answer_finish(&a);
    a = ask(f, "POST", "/api/models/lost/start", NULL);
    assert_int_equal(a.status, 500);
    assert_non_null(strstr(str(a.json, "detail"), "/not/there.gguf"));
    answer_finish(&a);
    expect_status(f, "/api/models/lost/status", "stopped", "unknown");

    /* An engine that dies each time: the verdict reaches who waits. */
    define(f, "broken");
    f->engine_broken = true;
    a = ask(f, "POST", "/api/models/broken/start?wait=1", NULL);
    assert_int_equal(a.status, 500);
    assert_true(json_is_string(json_object_get(a.json, "detail")));
    answer_finish(&a);
    expect_status(f, "/api/models/broken/status", "error", "unhealthy");

    /* Asked again, it gets a new round. */
    f->engine_broken = false;
    ask_expect(f, 200, "POST", "/api/models/broken/start?wait=1", NULL);
    expect_status(f, "/api/models/broken/status", "running", "healthy");
    fixture_destroy(f);
}

static void on_applied(void *arg, int result, int64_t id, const struct error *e)
{
    *(bool *)arg = true;
}

static bool is_true(void *arg)
{
    return *(bool *)arg;
}

static void test_config_model(void **state)
{
    struct fixture *f = fixture_create();
    char *body = definition(f, "fixed");
    json_t *json = json_loads(body, 0, NULL);
    struct validation v = validation_init();
    struct model_config *config = model_config_parse(json, &v);
    bool applied = false;

    assert_non_null(config);
    models_apply_config(f->models, &config, 1, on_applied, &applied);
    assert_true(sim_run_until(f->world, is_true, &applied, 1000));
    ask_expect(f, 409, "DELETE", "/api/models/fixed", NULL);
    ask_expect(f, 409, "PUT", "/api/models/fixed", body);
    ask_expect(f, 200, "POST", "/api/models/fixed/start?wait=1", NULL);
    validation_finish(&v);
    json_decref(json);
    free(body);
    fixture_destroy(f);
}

/* A client that leaves at any moment loses nothing but the answer: what was asked happens, or it
 * does not. */
struct hasty {
    bool ended;
};

static void on_hasty_head(void *owner, const struct http_head *head)
{
}

static void on_hasty_body(void *owner, const char *p, size_t n)
{
}

static void on_hasty_end(void *owner)
{
    ((struct hasty *)owner)->ended = true;
}

static void on_hasty_fail(void *owner, const struct error *e)
{
    ((struct hasty *)owner)->ended = true;
}

static void ask_and_leave(struct fixture *f, const char *path, const char *body, unsigned after_ms)
{
    static const struct http_call_handler handler = { on_hasty_head, on_hasty_body, on_hasty_end,
                                                      on_hasty_fail };
    const struct span part = span_of(body);
    const struct http_call_request request = { .method = "POST",
                                               .path = path,
                                               .headers = "Content-Type: application/json\r\n",
                                               .body = &part,
                                               .body_parts = body ? 1 : 0 };
    struct hasty hasty = { 0 };
    struct http_call *call = http_call_start(f->client, &request, &handler, &hasty);

    sim_run_for(f->world, after_ms);
    if (!hasty.ended) {
        http_call_cancel(call);
    }
    sim_run_for(f->world, 500);
}

static void test_client_leaves(void **state)
{
    struct fixture *f = fixture_create();
    size_t defined;

    sim_set_latency(f->world, 4);
    for (unsigned ms = 0; ms < 16; ms++) {
        char id[16], *body;

        snprintf(id, sizeof(id), "m%u", ms);
        body = definition(f, id);
        ask_and_leave(f, "/api/models/", body, ms);
        free(body);
    }
    defined = models_count(f->models);
    assert_in_range(defined, 1, 15);

    define(f, "tiny");
    for (unsigned ms = 0; ms < 16; ms++) {
        ask_and_leave(f, "/api/models/tiny/start?wait=1", NULL, ms);
        ask_and_leave(f, "/api/models/tiny/health-check", NULL, ms);
        ask_and_leave(f, "/api/models/tiny/stop?wait=1", NULL, ms);
    }
    ask_expect(f, 200, "POST", "/api/models/tiny/start?wait=1", NULL);
    fixture_destroy(f);
}

static void on_remote_request(void *owner, struct http_exchange *x)
{
    http_respond(x, *(int *)owner, "application/json", SPAN("{\"error\":\"no page here\"}"));
}

static void expect_null(const json_t *json, const char *name)
{
    const json_t *value = json_object_get(json, name);

    if (!json_is_null(value)) {
        fail_msg("%s is %s", name, value ? "not null" : "absent");
    }
}

/* An endpoint elsewhere has no process, log or socket of ours; it lives when it answers at all. */
static void test_remote_instance(void **state)
{
    struct fixture *f = fixture_create();
    int answers = 404;
    const struct http_server_options options = { .handle = on_remote_request, .owner = &answers };
    struct http_server *remote = http_server_create(f->world, &options);
    const json_t *inst;
    struct address where;
    struct error e;
    struct answer a;

    assert_int_equal(address_parse("127.0.0.1:9000", &where, &e), 0);
    assert_int_equal(http_server_listen(remote, &where, NULL, NULL, &e), 0);
    ask_expect(f, 201, "POST", "/api/models/",
               "{\"id\":\"far\",\"name\":\"Far away\",\"framework\":\"openai\","
               "\"model_path\":\"far\",\"priority\":5,\"resource_requirements\":{\"gpu_memory\":1},"
               "\"parameters\":{\"base_url\":\"http://127.0.0.1:9000/v1\"}}");
    ask_expect(f, 200, "POST", "/api/models/far/start?wait=1", NULL);
    a = ask(f, "GET", "/api/models/far/instances", NULL);
    inst = json_array_get(json_object_get(a.json, "instances"), 0);
    assert_true(json_is_true(json_object_get(inst, "remote")));
    assert_string_equal(str(inst, "address"), "127.0.0.1:9000");
    assert_string_equal(str(inst, "breaker"), "closed");
    expect_null(inst, "pid");
    expect_null(inst, "start_time");
    expect_null(inst, "socket");
    expect_null(inst, "log");
    expect_null(inst, "uptime");
    answer_finish(&a);

    a = ask(f, "POST", "/api/models/far/health-check", NULL);
    assert_true(json_is_true(json_object_get(a.json, "success")));
    answer_finish(&a);
    answers = 401; /* our key is no good there */
    a = ask(f, "POST", "/api/models/far/health-check", NULL);
    assert_true(json_is_false(json_object_get(a.json, "success")));
    answer_finish(&a);
    ask_expect(f, 200, "POST", "/api/models/far/stop?wait=1", NULL);
    http_server_destroy(remote);
    fixture_destroy(f);
}

static void expect_task_status(struct fixture *f, const char *id, const char *status)
{
    _cleanup_(freep) char *info = xasprintf("/api/models/%s", id);
    _cleanup_(freep) char *config = xasprintf("/api/models/%s/config", id);
    struct answer a = ask(f, "GET", info, NULL);

    assert_string_equal(str(a.json, "task_status"), status);
    answer_finish(&a);
    a = ask(f, "GET", config, NULL);
    assert_string_equal(str(a.json, "task_status"), status);
    answer_finish(&a);
}

/* Whether tasks run is said while berth runs, also of a model that the config file defines. */
static void test_task_status(void **state)
{
    struct fixture *f = fixture_create();
    char *plain = definition(f, "m"), *online;

    define(f, "m");
    expect_task_status(f, "m", "online");
    ask_expect(f, 200, "PUT", "/api/models/m/task-status", "{\"status\":\"maintenance\"}");
    expect_task_status(f, "m", "maintenance");
    ask_expect(f, 200, "PUT", "/api/models/m", plain); /* says nothing of it */
    expect_task_status(f, "m", "maintenance");
    plain[strlen(plain) - 1] = '\0';
    online = xasprintf("%s,\"task_status\":\"online\"}", plain);
    ask_expect(f, 200, "PUT", "/api/models/m", online); /* what the definition said before */
    expect_task_status(f, "m", "online");
    ask_expect(f, 422, "PUT", "/api/models/m/task-status", "{\"status\":\"asleep\"}");
    ask_expect(f, 422, "PUT", "/api/models/m/task-status", "{}");
    ask_expect(f, 404, "PUT", "/api/models/n/task-status", "{\"status\":\"online\"}");
    free(plain);
    free(online);
    fixture_destroy(f);
}

static void test_task_status_of_the_files(void **state)
{
    struct fixture *f = fixture_create();
    char *text = definition(f, "m");
    json_t *json = json_loads(text, 0, NULL);
    struct validation v = validation_init();
    struct model_config *config = model_config_parse(json, &v);

    models_apply_config(f->models, &config, 1, NULL, NULL);
    sim_run_for(f->world, 50);
    ask_expect(f, 409, "PUT", "/api/models/m", text);
    ask_expect(f, 200, "PUT", "/api/models/m/task-status", "{\"status\":\"offline\"}");
    expect_task_status(f, "m", "offline");
    ask_expect(f, 200, "PUT", "/api/v1/models/1/status", "{\"status\":\"maintenance\"}");
    expect_task_status(f, "m", "maintenance");
    ask_expect(f, 200, "PUT", "/api/v1/models/1", "{\"status\":\"online\"}");
    expect_task_status(f, "m", "online");
    ask_expect(f, 409, "PUT", "/api/v1/models/1", "{\"status\":\"offline\",\"max_workers\":3}");
    ask_expect(f, 409, "DELETE", "/api/v1/models/1", NULL);
    expect_task_status(f, "m", "online");
    validation_finish(&v);
    json_decref(json);
    free(text);
    fixture_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),          cmocka_unit_test(test_create_read_list),
        cmocka_unit_test(test_refusals),       cmocka_unit_test(test_big_body),
        cmocka_unit_test(test_validate),       cmocka_unit_test(test_start_stop),
        cmocka_unit_test(test_change_running), cmocka_unit_test(test_delete_is_stored),
        cmocka_unit_test(test_cannot_start),   cmocka_unit_test(test_config_model),
        cmocka_unit_test(test_task_status),    cmocka_unit_test(test_task_status_of_the_files),
        cmocka_unit_test(test_client_leaves),  cmocka_unit_test(test_remote_instance),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
