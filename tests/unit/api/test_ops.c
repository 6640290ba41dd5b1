// SPDX-License-Identifier: Apache-2.0
/* The operations door and the front: health, readiness, the description of all routes, what is
 * refused before any door. */
#include <string.h>

#include "api/api_int.h"
#include "base/mem.h"
#include "fixture.h"

static const char *str(const json_t *json, const char *name)
{
    const char *s = json_string_value(json_object_get(json, name));

    return s ? s : "(none)";
}

/* Every "$ref" below json resolves within the document. */
static void check_refs(const json_t *document, json_t *json)
{
    const char *key;
    json_t *value;
    size_t i;

    if (json_is_array(json)) {
        json_array_foreach(json, i, value)
        {
            check_refs(document, value);
        }
        return;
    }
    json_object_foreach(json, key, value)
    {
        if (str_eq(key, "$ref")) {
            const char *prefix = "#/components/schemas/", *ref = json_string_value(value);
            const json_t *schemas =
                json_object_get(json_object_get(document, "components"), "schemas");

            assert_true(str_starts(ref, prefix));
            if (!json_object_get(schemas, ref + strlen(prefix))) {
                fail_msg("%s leads nowhere", ref);
            }
        } else {
            check_refs(document, value);
        }
    }
}

static void check_operation(const json_t *document, const struct route *route, const char *as)
{
    char path[256], method[16];
    const json_t *operation, *responses;
    struct span rest = span_of(route->doc.statuses);
    size_t n = 0;

    for (const char *p = route->path; *p; p++) {
        if (*p != '*') {
            path[n++] = *p;
        }
    }
    path[n] = '\0';
    for (n = 0; as[n]; n++) {
        method[n] = (char)(as[n] | 0x20);
    }
    method[n] = '\0';
    operation = json_object_get(json_object_get(json_object_get(document, "paths"), path), method);
    if (!operation) {
        fail_msg("%s %s is not described", route->method, route->path);
    }
    assert_true(strlen(str(operation, "summary")) >= 10);
    responses = json_object_get(operation, "responses");
    while (rest.n > 0) {
        char *status = span_dup(span_cut(&rest, ' '));

        if (!json_object_get(responses, status)) {
            fail_msg("%s %s: %s is not described", route->method, route->path, status);
        }
        free(status);
    }
}

static void test_openapi(void **state)
{
    struct fixture *f = fixture_create();
    struct answer a = ask(f, "GET", "/openapi.json", NULL);
    const struct route_table *table;
    const struct route *route;
    size_t cursor = 0, routes = 0;

    assert_int_equal(a.status, 200);
    assert_string_equal(str(a.json, "openapi"), "3.1.0");
    while ((route = router_next(f->router, &cursor, &table))) {
        if (str_eq(route->method, "*")) {
            check_operation(a.json, route, "GET");
            check_operation(a.json, route, "PATCH");
        } else {
            check_operation(a.json, route, route->method);
        }
        routes++;
    }
    assert_int_equal(
        routes, models_route_count + events_route_count + ops_route_count + proxy_route_count +
                    system_route_count + scheduler_route_count + monitoring_route_count +
                    tasks_route_count + task_models_route_count + task_stats_route_count +
                    websockets_route_count + task_instances_route_count + batches_route_count +
                    evaluation_route_count + documents_route_count + planner_route_count +
                    simulate_route_count + browse_route_count + gateway_routes(f->gateway)->count +
                    gateway_anthropic_routes(f->gateway)->count +
                    gateway_ollama_routes(f->gateway)->count);
    check_refs(a.json, a.json);
    answer_finish(&a);
    fixture_destroy(f);
}

/* Every row of the table of schemas is JSON; a slip of the pen would be lost silently otherwise. */
static void test_schemas(void **state)
{
    struct router *router = router_create();
    json_t *document = openapi_document(router, "1");
    const json_t *schemas = json_object_get(json_object_get(document, "components"), "schemas");

    for (size_t i = 0; i < api_schema_count; i++) {
        if (!json_is_object(json_object_get(schemas, api_schemas[i].name))) {
            fail_msg("the schema %s is no JSON", api_schemas[i].name);
        }
    }
    for (size_t i = 0; i < planner_schema_count; i++) {
        if (!json_is_object(json_object_get(schemas, planner_schemas[i].name))) {
            fail_msg("the schema %s is no JSON", planner_schemas[i].name);
        }
    }
    json_decref(document);
    router_destroy(router);
}

static void test_health(void **state)
{
    struct fixture *f = fixture_create();
    struct answer a = ask(f, "GET", "/health", NULL);

    assert_int_equal(a.status, 200);
    assert_string_equal(str(a.json, "status"), "healthy");
    assert_string_equal(str(a.json, "service"), "berth");
    assert_string_equal(str(a.json, "version"), "9.9");
    assert_true(json_is_string(json_object_get(a.json, "timestamp")));
    assert_string_equal(str(a.json, "redis"), "disabled"); /* never "ok": there is none */
    assert_string_equal(str(a.json, "database"), "ok");
    assert_true(json_is_integer(json_object_get(a.json, "uptime")));
    answer_finish(&a);

    a = ask(f, "GET", "/ready", NULL);
    assert_int_equal(a.status, 200);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(a.json, "models"), "wanted")), 0);
    answer_finish(&a);
    api_set_phase(f->api, API_DRAINING);
    a = ask(f, "GET", "/ready", NULL);
    assert_int_equal(a.status, 503);
    assert_int_equal(json_array_size(json_object_get(a.json, "reasons")), 1);
    answer_finish(&a);
    fixture_destroy(f);
}

static void test_root(void **state)
{
    struct fixture *f = fixture_create();
    struct answer a = ask(f, "GET", "/", NULL);

    assert_string_equal(str(a.json, "name"), "berth");
    assert_string_equal(str(a.json, "status"), "running");
    assert_int_equal(json_integer_value(json_object_get(a.json, "code")), 0);
    assert_true(json_is_object(json_object_get(a.json, "data")));
    answer_finish(&a);
    a = ask_with(f, "GET", "/", NULL, "Accept: text/html,application/xhtml+xml;q=0.9\r\n");
    assert_true(str_starts(a.body, "<!doctype html>"));
    answer_finish(&a);
    fixture_destroy(f);
}

static void test_config(void **state)
{
    struct fixture *f = fixture_create();
    struct answer a = ask(f, "GET", "/api/config", NULL);
    const json_t *server = json_object_get(json_object_get(a.json, "options"), "server");

    assert_int_equal(a.status, 200);
    assert_string_equal(str(json_object_get(server, "listen"), "source"), "default");
    assert_null(strstr(a.body, "hush"));
    assert_non_null(json_object_get(json_object_get(server, "token"), "value"));
    assert_true(json_is_true(json_object_get(json_object_get(server, "token"), "secret")));
    assert_string_equal(str(json_object_get(server, "token"), "default"), "");
    assert_non_null(strstr(a.body, "BERTH_ENGINES_LLAMA_SERVER"));
    answer_finish(&a);
    fixture_destroy(f);
}

static void test_metrics(void **state)
{
    struct fixture *f = fixture_create();
    struct answer a;

    ask_expect(f, 200, "GET", "/api/models/", NULL);
    ask_expect(f, 200, "GET", "/api/models/", NULL);
    ask_expect(f, 404, "GET", "/nothing/here", NULL);
    a = ask(f, "GET", "/metrics", NULL);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(
        a.body,
        "berth_http_requests_total{door=\"models\",method=\"GET\",route=\"/api/models/\"} 2"));
    assert_non_null(strstr(a.body, "berth_http_refused_total{reason=\"not_found\"} 1"));
    answer_finish(&a);
    fixture_destroy(f);
}

static void test_front_refuses(void **state)
{
    struct fixture *f = fixture_create();
    struct answer a;

    /* Another site's page may not drive the daemon. */
    a = ask_with(f, "GET", "/api/models/", NULL, "Origin: http://evil.example\r\n");
    assert_int_equal(a.status, 403);
    assert_true(json_is_string(json_object_get(a.json, "detail")));
    answer_finish(&a);
    a = ask_with(f, "POST", "/api/models/", "{}", "Content-Type: text/plain\r\n");
    assert_int_equal(a.status, 415);
    answer_finish(&a);
    /* What needs no right goes through. */
    a = ask_with(f, "GET", "/health", NULL, "X-Forwarded-For: 10.0.0.1\r\n");
    assert_int_equal(a.status, 200);
    answer_finish(&a);
    fixture_destroy(f);
}

#define FOREIGN  "Host: 127.0.0.1:8080\r\nConnection: close\r\nOrigin: https://app.example\r\n"
#define MAY_READ "Access-Control-Allow-Origin: https://app.example\r\n"

static void expect_raw(struct fixture *f, const char *request, const char *first,
                       const char *second)
{
    char *answer = ask_raw(f, request);

    if (!strstr(answer, first) || !strstr(answer, second)) {
        fail_msg("%s...is answered without '%s' and '%s':\n%.600s", request, first, second, answer);
    }
    free(answer);
}

/* A browser's question is answered at every door, with what its path can do. */
static void test_preflight_at_every_door(void **state)
{
    struct fixture *f = fixture_create();
    const struct route_table *table;
    const struct route *route;
    size_t cursor = 0, asked = 0;

    while ((route = router_next(f->router, &cursor, &table))) {
        const char *method = str_eq(route->method, "*") ? "PATCH" : route->method;
        char *request =
            xasprintf("OPTIONS %s HTTP/1.1\r\n" FOREIGN "Access-Control-Request-Method: %s\r\n\r\n",
                      route->path, method);
        char *answer = ask_raw(f, request);
        const char *methods = strstr(answer, "Access-Control-Allow-Methods: ");

        if (!str_starts(answer, "HTTP/1.1 204 ") || !strstr(answer, MAY_READ) || !methods ||
            !memmem(methods, strcspn(methods, "\r"), method, strlen(method))) {
            fail_msg("%s %s:\n%s", route->method, route->path, answer);
        }
        free(request);
        free(answer);
        asked++;
    }
    assert_true(asked > 30);
    expect_raw(f,
               "OPTIONS /nothing/here HTTP/1.1\r\n" FOREIGN
               "Access-Control-Request-Method: GET\r\n\r\n",
               "HTTP/1.1 404 ", MAY_READ);
    fixture_destroy(f);
}

/* A page must be able to read why it was refused. */
static void test_refusals_can_be_read(void **state)
{
    struct fixture *f = fixture_create();

    expect_raw(f, "GET /nothing HTTP/1.1\r\n" FOREIGN "\r\n", "HTTP/1.1 404 ", MAY_READ);
    expect_raw(f, "DELETE /health HTTP/1.1\r\n" FOREIGN "\r\n", "HTTP/1.1 405 ", MAY_READ);
    expect_raw(f, "GET /api/models/ HTTP/1.1\r\n" FOREIGN "Forwarded: for=1.2.3.4\r\n\r\n",
               "HTTP/1.1 401 ", MAY_READ);
    expect_raw(f,
               "GET /api/models/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n"
               "Origin: https://app.example\r\n\r\n",
               "HTTP/1.1 403 ", MAY_READ);
    expect_raw(f,
               "POST /api/models/ HTTP/1.1\r\n" FOREIGN
               "Content-Type: application/json\r\nContent-Length: 99999999\r\n\r\n",
               "HTTP/1.1 413 ", MAY_READ);
    /* "*" is among the origins, too: any page may read, but administers nothing */
    expect_raw(f,
               "GET /api/models/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
               "Origin: https://other.example\r\n\r\n",
               "HTTP/1.1 403 ", "Access-Control-Allow-Origin: *\r\n");
    expect_raw(f,
               "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
               "Origin: https://other.example\r\n\r\n",
               "HTTP/1.1 200 ", "Access-Control-Allow-Origin: *\r\n");
    fixture_destroy(f);
}

/* The page for people: everything it needs is served here, and it may load nothing from elsewhere.
 */
static void test_docs(void **state)
{
    static const char *const files[] = { "/docs", "/docs/docs.js", "/docs/docs.css" };
    struct fixture *f = fixture_create();

    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        struct answer a = ask(f, "GET", files[i], NULL);

        assert_int_equal(a.status, 200);
        assert_true(strlen(a.body) > 500);
        assert_null(strstr(a.body, "http://"));
        assert_null(strstr(a.body, "https://"));
        assert_null(strstr(a.body, "innerHTML"));
        answer_finish(&a);
    }
    expect_raw(f, "GET /docs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
               "Content-Security-Policy: default-src 'none'; script-src 'self'",
               "<script src=\"/docs/docs.js\"");
    fixture_destroy(f);
}

static void expect_error(struct fixture *f, struct span path, const char *beginning)
{
    struct buf b = BUF_INIT(4096);

    front_error_body(f->front, path, 431, "too much", &b);
    if (!str_starts(buf_data(&b), beginning)) {
        fail_msg("%.*s: %s", SPAN_ARG(path), buf_data(&b));
    }
    buf_finish(&b);
}

/* What the server refuses by itself is told in the words of the door whose path it was. */
static void test_error_shapes(void **state)
{
    struct fixture *f = fixture_create();

    expect_error(f, SPAN("/v1/chat/completions"), "{\"error\":{\"message\":\"too much\"");
    expect_error(f, SPAN("/v1/nothing"), "{\"error\":{\"message\":\"too much\"");
    expect_error(f, SPAN("/rerank"), "{\"error\":{\"message\":\"too much\"");
    expect_error(f, SPAN("/v1/messages"), "{\"type\":\"error\"");
    expect_error(f, SPAN("/api/chat"), "{\"error\":\"too much\"");
    expect_error(f, SPAN("/api/version"), "{\"error\":\"too much\"");
    expect_error(f, SPAN("/api/pull"), "{\"error\":\"too much\"");
    expect_error(f, SPAN("/api/models/"), "{\"detail\":\"too much\"");
    expect_error(f, SPAN("/api/chatter"), "{\"detail\":\"too much\"");
    expect_error(f, (struct span){ 0 }, "{\"detail\":\"too much\""); /* not even that was read */
    fixture_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_openapi),
        cmocka_unit_test(test_schemas),
        cmocka_unit_test(test_health),
        cmocka_unit_test(test_root),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_front_refuses),
        cmocka_unit_test(test_error_shapes),
        cmocka_unit_test(test_docs),
        cmocka_unit_test(test_refusals_can_be_read),
        cmocka_unit_test(test_preflight_at_every_door),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
