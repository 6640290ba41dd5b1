// SPDX-License-Identifier: Apache-2.0
/* What the gateway reads of a request, and the one edit it makes. */
#include "unit.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/buf.h"
#include "gateway/request.h"

static char *joined(const struct gateway_request *r)
{
    struct buf b = BUF_INIT(1 << 20);

    for (size_t i = 0; i < r->part_count; i++) {
        buf_append(&b, r->parts[i].p, r->parts[i].n);
    }
    return buf_take(&b, NULL);
}

static void reads_what_it_needs(void **state)
{
    struct gateway_request r;

    assert_int_equal(
        gateway_request_read(
            SPAN("{\"model\":\"a\\u002fb\",\"max_tokens\":100,\"stream\":false,\"x\":[1,{}]}"),
            true, &r, NULL),
        0);
    assert_string_equal(r.model, "a/b");
    assert_false(r.stream);
    assert_false(r.added_usage);
    assert_int_equal(r.part_count, 1);
    assert_in_range(r.tokens, 100, 120);
    gateway_request_finish(&r);
}

static void refuses_with_a_reason(void **state)
{
    static const struct {
        const char *body;
        int code;
        const char *word;
    } cases[] = {
        { "", -EBADMSG, "" },
        { "{\"model\":\"a\"", -EBADMSG, "" },
        { "[]", -EINVAL, "object" },
        { "{}", -EINVAL, "model" },
        { "{\"model\":null}", -EINVAL, "model" },
        { "{\"model\":7}", -EINVAL, "model" },
        { "{\"model\":\"\"}", -EINVAL, "model" },
        { "{\"model\":\"a\",\"stream\":\"yes\"}", -EINVAL, "stream" },
        { "{\"model\":\"a\",\"stream_options\":[]}", -EINVAL, "stream_options" },
        { "{\"model\":\"a\",\"model\":\"b\"}", -EINVAL, "model" },
        { "{\"model\":\"a\",\"mo\\u0064el\":\"b\"}", -EINVAL, "model" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct gateway_request r;
        struct error e = { 0 };

        assert_int_equal(gateway_request_read(span_of(cases[i].body), true, &r, &e), cases[i].code);
        assert_non_null(strstr(e.text, cases[i].word));
    }
}

/* Every way a client may have left usage out: the result is valid JSON that asks for it, and
 * nothing else has changed. */
static void asks_for_usage(void **state)
{
    static const char *const bodies[] = {
        "{\"model\":\"a\",\"stream\":true}",
        "  { \"stream\" : true , \"model\" : \"a\" }  ",
        "{\"model\":\"a\",\"stream\":true,\"stream_options\":null}",
        "{\"model\":\"a\",\"stream\":true,\"stream_options\":{}}",
        "{\"model\":\"a\",\"stream\":true,\"stream_options\":{ \"other\":1 }}",
        "{\"stream_options\":{\"include_usage\":false},\"model\":\"a\",\"stream\":true}",
        "{\"stream_options\":{\"include_usage\":null,\"z\":2},\"model\":\"a\",\"stream\":true}",
    };

    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct gateway_request r;
        json_t *before, *after, *options;
        char *text;

        assert_int_equal(gateway_request_read(span_of(bodies[i]), true, &r, NULL), 0);
        assert_true(r.added_usage);
        text = joined(&r);
        before = json_loads(bodies[i], 0, NULL);
        after = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(after);
        options = json_object_get(before, "stream_options");
        options = json_is_object(options) ? json_incref(options) : json_object();
        json_object_set_new(options, "include_usage", json_true());
        json_object_set_new(before, "stream_options", options);
        assert_true(json_equal(before, after));
        json_decref(before);
        json_decref(after);
        free(text);
        gateway_request_finish(&r);
    }
}

static void leaves_the_rest_alone(void **state)
{
    static const char *const bodies[] = {
        "{\"model\":\"a\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
        "{\"model\":\"a\",\"stream\":false}",
        "{\"model\":\"a\"}",
        "{\"model\":\"a\",\"seed\":1e999,\"big\":123456789012345678901234567890}",
    };

    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct gateway_request r;
        char *text;

        assert_int_equal(gateway_request_read(span_of(bodies[i]), true, &r, NULL), 0);
        text = joined(&r);
        assert_string_equal(text, bodies[i]);
        free(text);
        gateway_request_finish(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_it_needs),
        cmocka_unit_test(refuses_with_a_reason),
        cmocka_unit_test(asks_for_usage),
        cmocka_unit_test(leaves_the_rest_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
