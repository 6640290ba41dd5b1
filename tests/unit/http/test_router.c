// SPDX-License-Identifier: Apache-2.0
/* Which route answers which path; what is said of the others. */
#include "unit.h"

#include <string.h>

#include "http/router.h"

static void handle(void *owner, struct http_exchange *x, const struct route_params *params)
{
}

// clang-format off
static const struct route models[] = {
    { "GET", "/api/models/", SCOPE_ADMIN, handle, "list", { 0 } },
    { "GET", "/api/models/{id}", SCOPE_ADMIN, handle, "one", { 0 } },
    { "POST", "/api/models/{id}/start", SCOPE_ADMIN, handle, "start", { 0 } },
    { "GET", "/api/models/running", SCOPE_ADMIN, handle, "running", { 0 } },
    { "DELETE", "/api/models/{id}", SCOPE_ADMIN, handle, "remove", { 0 } },
    { "GET", "/api/models/{id}/{part}", SCOPE_ADMIN, handle, "part", { 0 } },
    { "GET", "/api/models/{id}/logs", SCOPE_ADMIN, handle, "logs", { 0 } },
};
static const struct route gateway[] = {
    { "POST", "/v1/chat/completions", SCOPE_INFERENCE, handle, "chat", { 0 } },
    { "GET", "/v1/models", SCOPE_INFERENCE, handle, "names", { 0 } },
    { "GET", "/v1/models/{rest*}", SCOPE_INFERENCE, handle, "name", { 0 } },
};
static const struct route pages[] = {
    { "GET", "/", SCOPE_PUBLIC, handle, "root", { 0 } },
    { "GET", "/{rest*}", SCOPE_PUBLIC, handle, "file", { 0 } },
};
static const struct route_table tables[] = {
    { "pages", SHAPE_ENVELOPE, pages, ARRAY_SIZE(pages), NULL },
    { "models", SHAPE_DETAIL, models, ARRAY_SIZE(models), NULL },
    { "gateway", SHAPE_OPENAI, gateway, ARRAY_SIZE(gateway), NULL },
};
// clang-format on

static struct router *make(size_t count)
{
    struct router *r = router_create();

    for (size_t i = 0; i < count; i++) {
        router_add(r, &tables[(i + 1) % 3]); /* the pages last */
    }
    return r;
}

static void test_match(void **state)
{
    // clang-format off
    static const struct { const char *method, *path, *summary, *first, *second; } cases[] = {
        { "GET", "/api/models/", "list", NULL, NULL },
        { "HEAD", "/api/models/", "list", NULL, NULL },
        { "GET", "/api/models/x%20y", "one", "x%20y", NULL },
        { "DELETE", "/api/models/running", "remove", "running", NULL },
        { "GET", "/api/models/running", "running", NULL, NULL },
        { "POST", "/api/models/7/start", "start", "7", NULL },
        { "GET", "/api/models/7/start", "part", "7", "start" },
        { "GET", "/api/models/7/logs", "logs", "7", NULL },
        { "GET", "/v1/models", "names", NULL, NULL },
        { "GET", "/v1/models/org/name", "name", "org/name", NULL },
        { "GET", "/", "root", NULL, NULL },
        { "GET", "/assets/a.js", "file", "assets/a.js", NULL },
    };
    // clang-format on
    struct router *r = make(3);

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct route_match m = router_match(r, span_of(cases[i].method), span_of(cases[i].path));

        assert_non_null(m.route);
        assert_string_equal(m.route->summary, cases[i].summary);
        if (cases[i].first) {
            assert_true(span_eq(m.params.values[0], cases[i].first));
        }
        if (cases[i].second) {
            assert_true(span_eq(m.params.values[1], cases[i].second));
        }
    }
    router_destroy(r);
}

static void test_miss(void **state)
{
    struct router *r = make(2);
    struct route_match m;

    assert_null(router_match(r, SPAN("GET"), SPAN("/nothing")).table);
    assert_null(router_match(r, SPAN("GET"), SPAN("/api/models")).table);
    assert_null(router_match(r, SPAN("GET"), SPAN("/api/models/a/b/c")).table);
    assert_null(router_match(r, SPAN("GET"), SPAN("/api/models//b")).table);
    assert_null(router_match(r, SPAN("GET"), SPAN("")).table);
    m = router_match(r, SPAN("PUT"), SPAN("/api/models/running"));
    assert_ptr_equal(m.table, &tables[1]);
    assert_null(m.route);
    assert_string_equal(m.allow, "GET, HEAD, DELETE");
    m = router_match(r, SPAN("HEAD"), SPAN("/v1/chat/completions"));
    assert_null(m.route);
    assert_string_equal(m.allow, "POST");
    assert_null(router_match(r, SPAN("get"), SPAN("/v1/models")).route);
    router_destroy(r);
}

/* A row of every method: after the rows of their own. */
static void test_every_method(void **state)
{
    // clang-format off
    static const struct route rows[] = {
        { "GET", "/proxy/{id}/stats", SCOPE_ADMIN, handle, "stats", { 0 } },
        { "GET", "/proxy/{id}/{path*}", SCOPE_ADMIN, handle, "read", { 0 } },
        { "*", "/proxy/{id}/{path*}", SCOPE_ADMIN, handle, "any", { 0 } },
    };
    static const struct { const char *method, *path, *summary; } cases[] = {
        { "GET", "/proxy/a/stats", "stats" },
        { "HEAD", "/proxy/a/stats", "stats" },
        { "DELETE", "/proxy/a/stats", "any" },
        { "GET", "/proxy/a/v1/models", "read" },
        { "HEAD", "/proxy/a/v1/models", "read" },
        { "POST", "/proxy/a/v1/models", "any" },
        { "OPTIONS", "/proxy/a/v1/models", "any" },
        { "REPORT", "/proxy/a/", "any" },
    };
    // clang-format on
    static const struct route_table table = { "proxy", SHAPE_DETAIL, rows, ARRAY_SIZE(rows), NULL };
    struct router *r = router_create();

    router_add(r, &table);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct route_match m = router_match(r, span_of(cases[i].method), span_of(cases[i].path));

        assert_non_null(m.route);
        assert_string_equal(m.route->summary, cases[i].summary);
    }
    assert_string_equal(router_match(r, SPAN("OPTIONS"), SPAN("/proxy/a/b")).allow,
                        "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    assert_null(router_match(r, SPAN("POST"), SPAN("/proxy")).table);
    router_destroy(r);
}

static void test_shape(void **state)
{
    struct router *r = make(3);

    assert_int_equal(router_shape(r, SPAN("/v1/nothing")), SHAPE_OPENAI);
    assert_int_equal(router_shape(r, SPAN("/api/models/1/2/3/4")), SHAPE_DETAIL);
    assert_int_equal(router_shape(r, SPAN("/api/other")), SHAPE_DETAIL);
    assert_int_equal(router_shape(r, SPAN("/else")), SHAPE_DETAIL);
    router_destroy(r);
}

static void test_walk(void **state)
{
    struct router *r = make(3);
    const struct route_table *table;
    size_t cursor = 0, n = 0;

    while (router_next(r, &cursor, &table)) {
        assert_non_null(table->door);
        n++;
    }
    assert_int_equal(n, ARRAY_SIZE(models) + ARRAY_SIZE(gateway) + ARRAY_SIZE(pages));
    router_destroy(r);
}

static void test_error_bodies(void **state)
{
    struct buf b = BUF_INIT(1000);

    error_body(SHAPE_OPENAI, 404, "not_found_error", "not_found", "no \"x\"\xff", &b);
    assert_string_equal(buf_data(&b),
                        "{\"error\":{\"message\":\"no \\\"x\\\"?\",\"type\":\"not_found_error\","
                        "\"param\":null,\"code\":\"not_found\"}}");
    buf_clear(&b);
    error_body(SHAPE_DETAIL, 404, "t", "c", "gone", &b);
    assert_string_equal(buf_data(&b), "{\"detail\":\"gone\"}");
    buf_clear(&b);
    error_body(SHAPE_ENVELOPE, 404, "t", "c", "gone", &b);
    assert_string_equal(buf_data(&b), "{\"code\":-1,\"message\":\"gone\"}");
    buf_finish(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match),        cmocka_unit_test(test_miss),
        cmocka_unit_test(test_shape),        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_error_bodies), cmocka_unit_test(test_every_method),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
