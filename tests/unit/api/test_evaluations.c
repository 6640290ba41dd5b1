// SPDX-License-Identifier: Apache-2.0
/*
 * The planner's doors, what a client of the real berth cannot bring about at will: no evaluations
 * behind them, clients that leave before the answer, and hostile bodies.
 */
#include <string.h>

#include "api/api_int.h"
#include "base/mem.h"
#include "fixture.h"

#define EXAMPLE_REST                                                                               \
    "\"topology\":{\"pods\":[{\"racks\":[{\"boards\":[{\"chips\":[{\"id\":\"a\"},{\"id\":\"b\"}]}" \
    "]}]}]},\"model\":{\"model_name\":\"m\",\"model_type\":\"dense\",\"hidden_size\":4096,"        \
    "\"num_layers\":32,\"num_attention_heads\":32,\"num_kv_heads\":32,"                            \
    "\"intermediate_size\":11008,\"vocab_size\":32000,\"weight_dtype\":\"bf16\"},"                 \
    "\"hardware\":{\"chip\":{\"chip_type\":\"H100\",\"memory_gb\":80}},"                           \
    "\"inference\":{\"batch_size\":8,\"input_seq_length\":512,\"output_seq_length\":256}"
#define EXAMPLE "{\"experiment_name\":\"e\",\"search_mode\":\"auto\"," EXAMPLE_REST "}"
#define PLAN    "{\"parallelism\":{\"tp\":2}," EXAMPLE_REST "}"

static const json_t *member(const struct answer *a, const char *name)
{
    return json_object_get(a->json, name);
}

/* Every route of these tables, with whatever stands in its path. */
static void ask_all(struct fixture *f, const struct route *routes, size_t count, int status)
{
    for (size_t i = 0; i < count; i++) {
        char path[200] = "";
        const bool body = !str_eq(routes[i].method, "GET") && !str_eq(routes[i].method, "DELETE");
        struct answer a;

        for (const char *p = routes[i].path; *p; p++) {
            const size_t n = strlen(path);

            if (*p == '{') {
                strcat(path, "1");
                p = strchr(p, '}');
            } else {
                path[n] = *p;
                path[n + 1] = '\0';
            }
        }
        a = ask(f, routes[i].method, path, body ? "{}" : NULL);
        if (a.status != status || !json_is_string(member(&a, "detail"))) {
            fail_msg("%s %s gives %d: %s", routes[i].method, path, a.status, a.body);
        }
        answer_finish(&a);
    }
}

static void test_no_evaluations(void **state)
{
    struct fixture *f = fixture_create();

    f->api->in.evaluations = NULL;
    ask_all(f, evaluation_routes, evaluation_route_count, 503);
    ask_all(f, documents_routes, documents_route_count, 503);
    ask_all(f, planner_routes, planner_route_count, 503);
    ask_all(f, simulate_routes, simulate_route_count, 503);
    ask_expect(f, 503, "GET", "/ws/tasks", NULL);
    f->api->in.evaluations = f->evaluations;
    fixture_destroy(f);
}

static void test_submit_and_results(void **state)
{
    struct fixture *f = fixture_create();
    struct answer a = ask(f, "POST", "/api/evaluation/submit", EXAMPLE);
    char *path;

    assert_int_equal(a.status, 200);
    path = xasprintf("/api/evaluation/tasks/%s/results", json_string_value(member(&a, "task_id")));
    answer_finish(&a);
    sim_run_for(f->world, 5000);
    a = ask(f, "GET", path, NULL);
    assert_int_equal(a.status, 200);
    assert_string_equal(json_string_value(member(&a, "status")), "completed");
    assert_true(json_array_size(member(&a, "top_k_plans")) > 0);
    answer_finish(&a);
    free(path);
    fixture_destroy(f);
}

static void say_and_leave(struct fixture *f, const char *method, const char *path, const char *type,
                          const char *body);

/* The answer finds nobody; what was asked is done all the same. */
static void test_clients_that_leave(void **state)
{
    static const char *const gets[] = {
        "/api/evaluation/tasks",       "/api/evaluation/running",
        "/api/evaluation/experiments", "/api/benchmarks",
        "/api/evaluation/tasks/1",     "/api/evaluation/tasks/1/export",
        "/api/chip-presets/x",         "/api/evaluation/experiments/export",
    };
    const char *json = "application/json";
    struct fixture *f = fixture_create();
    struct answer a;

    for (size_t i = 0; i < ARRAY_SIZE(gets); i++) {
        say_and_leave(f, "GET", gets[i], json, "");
    }
    say_and_leave(f, "POST", "/api/simulate", json, PLAN);
    say_and_leave(f, "POST", "/api/evaluation/submit", json, EXAMPLE);
    say_and_leave(f, "POST", "/api/evaluation/submit", json, "{}");
    say_and_leave(f, "POST", "/api/evaluation/experiments/check-import",
                  "multipart/form-data; boundary=b",
                  "--b\r\nContent-Disposition: form-data; name=\"file\"; "
                  "filename=\"f\"\r\n\r\n{\"experiments\":[]}\r\n--b--\r\n");
    sim_run_for(f->world, 5000);
    a = ask(f, "GET", "/api/evaluation/tasks", NULL);
    assert_int_equal(json_array_size(member(&a, "tasks")), 1);
    answer_finish(&a);
    fixture_destroy(f);
}

struct leaver {
    struct stream *stream;
};

static void on_data(void *owner, const char *p, size_t n)
{
}

static void on_end(void *owner, int err)
{
}

static void on_drain(void *owner)
{
}

static const struct stream_handler leaver_handler = { on_data, on_end, on_drain };

static void on_connect(void *owner, struct stream *s, const struct error *e)
{
    struct leaver *l = owner;

    assert_null(e);
    l->stream = s;
    stream_set_handler(s, &leaver_handler, l);
}

/* The world is stopped as soon as the request is with the door: nothing is answered yet. */
static bool is_asked(void *arg)
{
    return http_server_exchanges(((struct fixture *)arg)->server) > 0;
}

static void say_and_leave(struct fixture *f, const char *method, const char *path, const char *type,
                          const char *body)
{
    char *text =
        xasprintf("%s %s HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: %s\r\nContent-Length: "
                  "%zu\r\n\r\n%s",
                  method, path, type, strlen(body), body);
    struct leaver l = { 0 };
    struct address where;

    assert_int_equal(address_parse("127.0.0.1:8080", &where, NULL), 0);
    stream_connect(f->world, &where, on_connect, &l);
    while (!l.stream) {
        sim_run_for(f->world, 1);
    }
    stream_write(l.stream, text, strlen(text));
    assert_true(sim_run_until(f->world, is_asked, f, 100));
    stream_close(l.stream);
    sim_run_for(f->world, 100);
    assert_int_equal(http_server_exchanges(f->server), 0);
    free(text);
}

/* A number that is nobody's size, in every place of the body: an answer comes, and it is a short
 * one. */
static void spoil(struct fixture *f, const char *path, json_t *whole, json_t *object)
{
    static const double values[] = { 0, -1, 1e9, 1e300, 1e-300, 0.5 };
    const char *key;
    json_t *value;
    void *tmp;

    json_object_foreach_safe(object, tmp, key, value)
    {
        json_t *kept = json_incref(value);
        char *name = xstrdup(key);

        if (json_is_object(value)) {
            spoil(f, path, whole, value);
        }
        for (size_t i = 0; i < ARRAY_SIZE(values) + 4; i++) {
            struct answer a;
            char *text;

            json_object_set_new(object, name,
                                i < ARRAY_SIZE(values)        ? json_real(values[i])
                                : i == ARRAY_SIZE(values)     ? json_string("x")
                                : i == ARRAY_SIZE(values) + 1 ? json_array()
                                : i == ARRAY_SIZE(values) + 2 ? json_null()
                                                              : json_integer(INT64_MIN));
            text = json_dumps(whole, 0);
            a = ask(f, "POST", path, text);
            if ((a.status != 200 && a.status != 400 && a.status != 422) || !a.json) {
                fail_msg("%s %s: %d %s", path, text, a.status, a.body);
            }
            answer_finish(&a);
            free(text);
        }
        json_object_set_new(object, name, kept);
        free(name);
    }
}

static void test_hostile_bodies(void **state)
{
    struct fixture *f = fixture_create();
    json_t *plan = json_loads(PLAN, 0, NULL), *rate = json_deep_copy(plan);
    struct answer a;

    spoil(f, "/api/simulate", plan, plan);
    spoil(f, "/api/validate", plan, plan);
    json_object_del(json_object_get(rate, "inference"), "batch_size");
    json_object_set_new(json_object_get(rate, "inference"), "rate_per_s", json_real(1));
    json_object_set_new(json_object_get(rate, "inference"), "slo_tpot_ms", json_real(50));
    spoil(f, "/api/simulate", rate, json_object_get(rate, "inference"));
    spoil(f, "/api/simulate", rate, json_object_get(rate, "hardware"));
    spoil(f, "/api/model/calculate-params", json_object_get(plan, "model"),
          json_object_get(plan, "model"));
    a = ask(f, "POST", "/api/validate", PLAN);
    assert_true(json_is_true(member(&a, "valid"))); /* it was fine before it was spoilt */
    answer_finish(&a);
    json_decref(plan);
    json_decref(rate);
    fixture_destroy(f);
}

static void test_forms(void **state)
{
    static const struct {
        const char *type, *body;
        int status;
    } table[] = {
        { "application/json", "{}", 400 },
        { "multipart/form-data", "{}", 400 },
        { "multipart/form-data; boundary=b", "", 400 },
        { "multipart/form-data; boundary=b", "--b\r\n\r\nx", 400 },
        { "multipart/form-data; boundary=b", "--b--\r\n", 422 },
        { "multipart/form-data; boundary=b",
          "--b\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\n{}\r\n--b--\r\n", 422 },
        { "multipart/form-data; boundary=b",
          "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n{\r\n--b--\r\n", 400 },
    };
    struct fixture *f = fixture_create();

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        char *head = xasprintf("Content-Type: %s\r\n", table[i].type);
        struct answer a =
            ask_with(f, "POST", "/api/evaluation/experiments/check-import", table[i].body, head);

        if (a.status != table[i].status || !member(&a, "detail")) {
            fail_msg("%s %s gives %d: %s", table[i].type, table[i].body, a.status, a.body);
        }
        answer_finish(&a);
        free(head);
    }
    fixture_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_evaluations),
        cmocka_unit_test(test_submit_and_results),
        cmocka_unit_test(test_clients_that_leave),
        cmocka_unit_test(test_hostile_bodies),
        cmocka_unit_test(test_forms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
