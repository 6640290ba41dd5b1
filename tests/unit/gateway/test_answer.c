// SPDX-License-Identifier: Apache-2.0
/* Errors in every door's shape, as the official clients read them, and the engine's own words. */
#include "unit.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/macros.h"
#include "codec/sse.h"
#include "gateway/gateway_int.h"

static const char odd[] = "he said \"no\"\n\xC3\xA4 \\ \x01";

static json_t *parse(const char *text)
{
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

    if (!json) {
        fail_msg("no JSON: %s", text);
    }
    return json;
}

static const char *text_at(const json_t *json, const char *a, const char *b)
{
    const json_t *inner =
        b ? json_object_get(json_object_get(json, a), b) : json_object_get(json, a);

    return json_string_value(inner) ? json_string_value(inner) : "(none)";
}

static json_t *body_of(enum error_shape shape, int status)
{
    struct buf b = BUF_INIT(4096);
    json_t *json;

    error_body(shape, status, "the_type", "the_code", odd, &b);
    json = parse(buf_data(&b));
    buf_finish(&b);
    return json;
}

static void anthropic_has_a_type_for_each_status(void **state)
{
    static const struct {
        int status;
        const char *type;
    } cases[] = {
        { 400, "invalid_request_error" },
        { 401, "authentication_error" },
        { 403, "permission_error" },
        { 404, "not_found_error" },
        { 405, "invalid_request_error" },
        { 413, "request_too_large" },
        { 429, "rate_limit_error" },
        { 500, "api_error" },
        { 502, "api_error" },
        { 503, "overloaded_error" },
        { 529, "overloaded_error" },
        { 504, "timeout_error" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        json_t *json = body_of(SHAPE_ANTHROPIC, cases[i].status);

        assert_string_equal(text_at(json, "type", NULL), "error");
        assert_string_equal(text_at(json, "error", "type"), cases[i].type);
        assert_string_equal(text_at(json, "error", "message"), odd);
        json_decref(json);
    }
}

static void other_doors_have_their_shapes(void **state)
{
    json_t *json = body_of(SHAPE_OLLAMA, 404);

    assert_string_equal(text_at(json, "error", NULL), odd);
    assert_int_equal(json_object_size(json), 1);
    json_decref(json);
    json = body_of(SHAPE_OPENAI, 404);
    assert_string_equal(text_at(json, "error", "message"), odd);
    assert_string_equal(text_at(json, "error", "type"), "the_type");
    assert_string_equal(text_at(json, "error", "code"), "the_code");
    json_decref(json);
}

/* The event's payload; name is what its `event:` line must be (NULL: none). */
static json_t *event_of(enum error_event kind, const char *name)
{
    struct buf b = BUF_INIT(4096);
    struct sse_reader reader;
    struct sse_event event;
    json_t *json;
    char *data;

    error_event_write(kind, 503, "server_error", "unavailable", odd, 7, &b);
    sse_reader_init(&reader, 4096);
    sse_feed(&reader, buf_span(&b));
    assert_true(sse_next(&reader, &event));
    assert_true(event.whole);
    assert_int_equal(event.raw.n, b.len);
    assert_true(name ? span_eq(event.name, name) : !event.name.p);
    data = span_dup(event.data);
    json = parse(data);
    free(data);
    assert_false(sse_next(&reader, &event));
    sse_reader_finish(&reader);
    buf_finish(&b);
    return json;
}

static void errors_are_events_in_a_stream(void **state)
{
    json_t *json = event_of(ERROR_EVENT_DATA, NULL);

    assert_string_equal(text_at(json, "error", "message"), odd);
    assert_string_equal(text_at(json, "error", "code"), "unavailable");
    json_decref(json);

    json = event_of(ERROR_EVENT_ANTHROPIC, "error");
    assert_string_equal(text_at(json, "type", NULL), "error");
    assert_string_equal(text_at(json, "error", "type"), "overloaded_error");
    assert_string_equal(text_at(json, "error", "message"), odd);
    json_decref(json);

    json = event_of(ERROR_EVENT_RESPONSES, "error");
    assert_string_equal(text_at(json, "type", NULL), "error");
    assert_string_equal(text_at(json, "code", NULL), "unavailable");
    assert_string_equal(text_at(json, "message", NULL), odd);
    assert_true(json_is_null(json_object_get(json, "param")));
    assert_int_equal(json_integer_value(json_object_get(json, "sequence_number")), 7);
    assert_string_equal(text_at(json, "error", "message"), odd);
    json_decref(json);
}

static void finds_the_engines_words(void **state)
{
    static const struct {
        const char *body, *text;
    } cases[] = {
        { "{\"error\":{\"code\":400,\"message\":\"too \\\"long\\\"\",\"type\":\"x\"}}",
          "too \"long\"" },
        { "{\"error\":\"plain\"}", "plain" },
        { "{\"object\":\"error\",\"message\":\"as vLLM did\"}", "as vLLM did" },
        { "{\"message\":\"outer\",\"error\":{\"message\":\"inner\"}}", "inner" },
        { "{\"error\":{\"message\":null}}", NULL },
        { "{\"error\":{}}", NULL },
        { "{\"error\":{\"message\":\"a\",\"message\":\"b\"}}", NULL },
        { "<html>502</html>", NULL },
        { "", NULL },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *text = engine_error_text(span_of(cases[i].body));

        if (cases[i].text) {
            assert_non_null(text);
            assert_string_equal(text, cases[i].text);
        } else {
            assert_null(text);
        }
        free(text);
    }
}

static void record_texts_are_utf8(void **state)
{
    char out[8];

    record_text(out, sizeof(out), span_of("short"));
    assert_string_equal(out, "short");
    record_text(out, sizeof(out), span_of("abcdefghijk"));
    assert_string_equal(out, "abcdefg");
    record_text(out, sizeof(out), span_of("abcdef\xC3\xA4xyz"));
    assert_string_equal(out, "abcdef");
    record_text(out, sizeof(out), span_of("a\xFF\xC3z"));
    assert_string_equal(out, "a??z");
    record_text(out, sizeof(out), (struct span){ 0 });
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(anthropic_has_a_type_for_each_status),
        cmocka_unit_test(other_doors_have_their_shapes),
        cmocka_unit_test(errors_are_events_in_a_stream),
        cmocka_unit_test(finds_the_engines_words),
        cmocka_unit_test(record_texts_are_utf8),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
