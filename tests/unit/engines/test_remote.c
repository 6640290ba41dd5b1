// SPDX-License-Identifier: Apache-2.0
/* Remote endpoints: instances without a process. And the way to an engine (engines_route). */
#include "rig.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "base/mem.h"

#define REMOTE "\"framework\":\"openai\",\"model_path\":\"http://127.0.0.1:9100/base/v1\","
#define POLICY                                                                                     \
    "\"retry_policy\":{\"initial_delay\":2,\"max_delay\":10,\"backoff_factor\":2,"                 \
    "\"max_attempts\":2},"                                                                         \
    "\"health_check\":{\"interval\":5,\"timeout\":2,\"max_failures\":2}"

static struct rig *rig;
static struct sim_engine *endpoint;

static int set_up(void **state)
{
    rig = rig_create(1, NULL);
    endpoint = NULL;
    return 0;
}

static int tear_down(void **state)
{
    unsetenv("TEST_KEY");
    if (endpoint) {
        rig_close_endpoint(TAKE_PTR(endpoint));
    }
    rig_destroy(rig);
    return 0;
}

static void go_up(void)
{
    endpoint = rig_open_endpoint(rig, 9100);
}

static void go_down(void)
{
    rig_close_endpoint(TAKE_PTR(endpoint));
}

static void pass(uint64_t seconds)
{
    sim_run_for(rig->world, seconds * 1000);
}

static void test_is_ready_without_a_process(void **state)
{
    const struct instance *pub;
    struct stat st;
    int64_t id;

    go_up();
    id = rig_add_model(rig, "m", REMOTE POLICY);
    pub = rig_await(rig, id, INSTANCE_READY, 1000);
    assert_true(pub->remote);
    assert_int_equal(pub->process.pid, 0);
    assert_string_equal(pub->log_path, "");
    assert_int_equal(pub->address.port, 9100);
    assert_true(pub->slots > 0 && pub->weight > 0);
    assert_null(engines_log_tail(rig->engines, pub->uuid, 100));
    assert_int_equal(rig_count_rows(rig), 0);
    assert_int_equal(stat("instances", &st), -1);
    assert_int_equal(sim_live_processes(rig->world), 0);
    assert_contains(endpoint->request, "GET /base/v1/models HTTP/1.1\r\n");
    pass(600);
    assert_string_equal(rig->trail, "waiting starting ready");
    assert_true(pub->last_probe_wall_ms > 0);

    rig_want(rig, id, false);
    rig_await_gone(rig, id, 1000);
    assert_string_equal(rig->trail, "waiting starting ready draining gone");
}

static void test_comes_back_however_long_that_takes(void **state)
{
    const struct instance *pub;
    int64_t id = rig_add_model(rig, "m", REMOTE POLICY);

    pub = rig_await(rig, id, INSTANCE_BACKOFF, 1000);
    assert_contains(pub->last_error, "the endpoint is not ready: cannot connect to 127.0.0.1:9100");
    for (int hour = 0; hour < 10; hour++) {
        rig->trail[0] = '\0';
        pass(3600);
        assert_null(strstr(rig->trail, "failed"));
    }
    assert_true(engines_of_model(rig->engines, id)->retry_at_ms <=
                world_now_ms(rig->world) + 10 * 1000);
    go_up();
    rig_await(rig, id, INSTANCE_READY, 11 * 1000);
}

static void test_flapping(void **state)
{
    int64_t id;

    go_up();
    id = rig_add_model(rig, "m", REMOTE POLICY);
    rig_await(rig, id, INSTANCE_READY, 1000);
    for (int i = 0; i < 20; i++) {
        rig->trail[0] = '\0';
        go_down();
        rig_await(rig, id, INSTANCE_BACKOFF, 15 * 1000);
        assert_contains(engines_of_model(rig->engines, id)->last_error,
                        "unreachable: 2 health probes in a row failed");
        pass(100);
        assert_int_not_equal(engines_of_model(rig->engines, id)->state, INSTANCE_READY);
        go_up();
        rig_await(rig, id, INSTANCE_READY, 11 * 1000);
        pass((uint64_t)i);
    }
}

static void test_engine_that_answers_an_error_is_away_too(void **state)
{
    int64_t id;

    go_up();
    endpoint->status = 404; /* it has no such path: an answer all the same */
    id = rig_add_model(rig, "m", REMOTE POLICY);
    rig_await(rig, id, INSTANCE_READY, 1000);
    endpoint->status = 502;
    rig_await(rig, id, INSTANCE_BACKOFF, 15 * 1000);
    assert_contains(engines_of_model(rig->engines, id)->last_error, "status 502");
    endpoint->status = 401;
    pass(60);
    assert_contains(engines_of_model(rig->engines, id)->last_error,
                    "it answered with status 401: it does not accept the key");
    endpoint->status = 200;
    rig_await(rig, id, INSTANCE_READY, 11 * 1000);
}

static void test_no_answer_in_time(void **state)
{
    int64_t id;

    go_up();
    id = rig_add_model(rig, "m", REMOTE POLICY);
    rig_await(rig, id, INSTANCE_READY, 1000);
    endpoint->hung = true;
    rig_await(rig, id, INSTANCE_BACKOFF, 20 * 1000);
    endpoint->hung = false;
    rig_await(rig, id, INSTANCE_READY, 20 * 1000);
}

/* Bytes tell that it works, although its probe fails; and nobody calls it hung for its silence. */
static void test_is_judged_by_its_probe_alone(void **state)
{
    const struct instance *pub;
    int64_t id;

    go_up();
    id = rig_add_model(rig, "m", REMOTE POLICY);
    pub = rig_await(rig, id, INSTANCE_READY, 1000);
    engines_note_work(rig->engines, pub->uuid, 1, true);
    pass(3600);
    assert_string_equal(rig->trail, "waiting starting ready");
    endpoint->status = 503;
    for (int i = 0; i < 100; i++) {
        engines_note_progress(rig->engines, pub->uuid);
        pass(1);
    }
    assert_string_equal(rig->trail, "waiting starting ready");
}

static void test_without_retry_it_fails(void **state)
{
    int64_t id = rig_add_model(rig, "m", REMOTE "\"retry_policy\":{\"enabled\":false}");

    rig_await(rig, id, INSTANCE_FAILED, 1000);
    go_up();
    pass(3600);
    assert_string_equal(rig->trail, "waiting starting failed");
    engines_retry(rig->engines, id);
    rig_await(rig, id, INSTANCE_READY, 1000);
}

static void test_no_delay_is_no_hurry(void **state)
{
    int64_t id =
        rig_add_model(rig, "m", REMOTE "\"retry_policy\":{\"initial_delay\":0,\"max_delay\":0}");
    const char *p = rig->trail;
    unsigned starts = 0;

    pass(60);
    while ((p = strstr(p, "starting"))) {
        starts++;
        p++;
    }
    assert_in_range(starts, 10, 62);
    rig_want(rig, id, false);
    rig_await_gone(rig, id, 100);
}

static void test_berth_makes_it_anew_at_its_start(void **state)
{
    int64_t id;

    go_up();
    id = rig_add_model(rig, "m", REMOTE POLICY);
    rig_await(rig, id, INSTANCE_READY, 1000);
    rig_crash(rig);
    rig_recover(rig);
    assert_false(rig_await(rig, id, INSTANCE_READY, 1000)->adopted);
    assert_int_equal(rig_count_rows(rig), 0);
}

static void test_replicas_are_endpoints(void **state)
{
    int64_t id = rig_add_model(rig, "m",
                               "\"framework\":\"openai\",\"model_path\":\"\",\"replicas\":2,"
                               "\"parameters\":{\"upstreams\":["
                               "{\"base_url\":\"http://127.0.0.1:9100\"},"
                               "{\"base_url\":\"http://127.0.0.1:9101\"}]}," POLICY);
    struct sim_engine *other = rig_open_endpoint(rig, 9101);
    const struct instance *pub = rig_await(rig, id, INSTANCE_READY, 5000);

    assert_int_equal(pub->replica, 1);
    assert_int_equal(pub->address.port, 9101);
    go_up();
    rig_await_all(rig, id, INSTANCE_READY, 2, 11 * 1000);
    rig_close_endpoint(other);
    pass(15);
    assert_int_equal(rig_count_instances(rig, id, INSTANCE_READY), 1);
    assert_int_equal(engines_of_model(rig->engines, id)->address.port, 9100);
}

/* A local engine that becomes a remote one, and back. */
static void test_changes_its_kind(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    go_up();
    rig_await(rig, id, INSTANCE_READY, 1000);
    rig_update_model(rig, id, "m", REMOTE POLICY);
    pass(5);
    assert_true(rig_await(rig, id, INSTANCE_READY, 1)->remote);
    assert_int_equal(rig_count_alive(rig, NULL), 0);
    assert_int_equal(rig_count_rows(rig), 0);
    rig_update_model(rig, id, "m", NULL);
    pass(5);
    assert_false(rig_await(rig, id, INSTANCE_READY, 1)->remote);
    assert_int_equal(rig_count_alive(rig, "m"), 1);
}

/* What goes to it with each request is part of how it is reached. */
static void test_other_headers_are_another_endpoint(void **state)
{
    int64_t id = rig_add_model(rig, "m", REMOTE "\"parameters\":{\"headers\":{\"x-team\":\"a\"}}");
    struct engine_route route;

    go_up();
    rig_await(rig, id, INSTANCE_READY, 10 * 1000);
    rig_update_model(rig, id, "m", REMOTE "\"parameters\":{\"headers\":{\"x-team\":\"b\"}}");
    pass(5);
    assert_true(
        engines_route(rig->engines, rig_await(rig, id, INSTANCE_READY, 1000)->uuid, &route));
    assert_string_equal(route.headers, "x-team: b\r\n");
}

/* ---- the way to it */

static void test_key_goes_to_the_endpoint_and_nowhere_else(void **state)
{
    struct engine_route route;
    const struct instance *pub;
    int64_t id;

    setenv("TEST_KEY", "sk-top-secret", 1);
    go_up();
    id = rig_add_model(rig, "m",
                       REMOTE "\"parameters\":{\"api_key_env\":\"TEST_KEY\",\"model\":\"big\"}");
    pub = rig_await(rig, id, INSTANCE_READY, 1000);
    assert_contains(endpoint->request, "Authorization: Bearer sk-top-secret\r\n");
    assert_true(engines_route(rig->engines, pub->uuid, &route));
    assert_string_equal(route.headers, "Authorization: Bearer sk-top-secret\r\n");
    assert_string_equal(route.model, "big");
    assert_string_equal(route.base_path, "/base/v1");
    assert_true(route.remote);
    assert_non_null(route.upstream);
    assert_false(engines_route(rig->engines, "nobody", &route));
}

static void test_missing_key_is_said(void **state)
{
    int64_t id = rig_add_model(rig, "m", REMOTE "\"parameters\":{\"api_key_env\":\"TEST_KEY\"}");

    go_up();
    assert_contains(rig_await(rig, id, INSTANCE_FAILED, 1000)->last_error, "TEST_KEY");
}

static void check_path(const char *base, const char *path, const char *wanted)
{
    struct engine_route route = { .base_path = base };
    char out[ENGINE_PATH_MAX];

    assert_int_equal(engine_route_path(&route, span_of(path), out), 0);
    assert_string_equal(out, wanted);
}

static void test_paths(void **state)
{
    static const char v1[] = { '/', 'v', '1', '/' };
    struct engine_route route = { .base_path = "/base" };
    char longest[ENGINE_PATH_MAX], out[ENGINE_PATH_MAX];

    check_path(NULL, "/v1/chat/completions", "/v1/chat/completions");
    check_path("/api/openai/v3", "/v1/chat/completions?x=1", "/api/openai/v3/chat/completions?x=1");
    check_path("/base/", "/v1/models", "/base/models");
    check_path("/", "/v1/models", "/models");
    check_path("", "/v1", "/");
    check_path("", "/v1?x", "/?x");
    check_path("/base", "/v10/models", "/v10/models");
    check_path("/base", "/tokenize", "/tokenize");

    memset(longest, 'a', sizeof(longest));
    memcpy(longest, v1, sizeof(v1));
    assert_int_equal(engine_route_path(&route, (struct span){ longest, ENGINE_PATH_MAX - 1 }, out),
                     -ENAMETOOLONG);
    assert_int_equal(engine_route_path(&route, (struct span){ longest, ENGINE_PATH_MAX - 3 }, out),
                     0);
    assert_int_equal(strlen(out), ENGINE_PATH_MAX - 1);
}

/* ---- asked by a person */

struct answer {
    int result, status;
    bool came;
    struct error error;
};

static void on_probed(void *owner, int result, int status, struct span body, const struct error *e)
{
    struct answer *a = owner;

    *a = (struct answer){ .result = result, .status = status, .came = true };
    if (e) {
        a->error = *e;
    }
}

static struct answer probe(int64_t id)
{
    struct answer a = { 0 };

    engines_probe(rig->engines, id, on_probed, &a);
    assert_false(a.came);
    pass(11);
    assert_true(a.came);
    return a;
}

static void test_probe_tells_what_the_endpoint_says(void **state)
{
    struct answer a;
    int64_t id;

    go_up();
    id = rig_add_model(rig, "m", REMOTE POLICY);
    rig_await(rig, id, INSTANCE_READY, 1000);
    a = probe(id);
    assert_int_equal(a.result, 0);
    assert_int_equal(a.status, 200);
    endpoint->status = 503;
    a = probe(id);
    assert_int_equal(a.result, -EPROTO);
    assert_int_equal(a.status, 503);
    assert_string_equal(a.error.text, "it answered with status 503");
    rig_want(rig, id, false);
    rig_await_gone(rig, id, 1000);
    assert_int_equal(probe(id).result, -ESRCH);
}

#define LIFE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIFE(test_is_ready_without_a_process),
        LIFE(test_comes_back_however_long_that_takes),
        LIFE(test_flapping),
        LIFE(test_engine_that_answers_an_error_is_away_too),
        LIFE(test_no_answer_in_time),
        LIFE(test_is_judged_by_its_probe_alone),
        LIFE(test_without_retry_it_fails),
        LIFE(test_no_delay_is_no_hurry),
        LIFE(test_berth_makes_it_anew_at_its_start),
        LIFE(test_replicas_are_endpoints),
        LIFE(test_changes_its_kind),
        LIFE(test_other_headers_are_another_endpoint),
        LIFE(test_key_goes_to_the_endpoint_and_nowhere_else),
        LIFE(test_missing_key_is_said),
        LIFE(test_paths),
        LIFE(test_probe_tells_what_the_endpoint_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
