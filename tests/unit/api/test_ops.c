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

static void check_operation(const json_t *document, const struct route *route)
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
    for (n = 0; route->method[n]; n++) {
        method[n] = (char)(route->method[n] | 0x20);
    }
    method[n] = '\0';
    operation = json_object_get(json_object_get(json_object_get(document, "paths"), path), method);
    if (!operation) {
        fail_msg("%s %s is not described", route->method, route->path);
    }
    assert_true(strlen(str(operation, "summary")) > 10);
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
        check_operation(a.json, route);
        routes++;
    }
    assert_int_equal(routes, models_route_count + events_route_count + ops_route_count);
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

static void test_error_shapes(void **state)
{
    struct buf b = BUF_INIT(4096);
    json_t *json;

    front_error_body(SPAN("/v1/chat/completions"), 431, "too much", &b);
    json = json_loads(buf_data(&b), 0, NULL);
    assert_string_equal(str(json_object_get(json, "error"), "message"), "too much");
    json_decref(json);
    buf_clear(&b);
    front_error_body(SPAN("/api/models/"), 431, "too much", &b);
    json = json_loads(buf_data(&b), 0, NULL);
    assert_string_equal(str(json, "detail"), "too much");
    json_decref(json);
    buf_finish(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_openapi),       cmocka_unit_test(test_schemas),
        cmocka_unit_test(test_health),        cmocka_unit_test(test_root),
        cmocka_unit_test(test_config),        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_front_refuses), cmocka_unit_test(test_error_shapes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
