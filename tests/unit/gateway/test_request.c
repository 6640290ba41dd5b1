// SPDX-License-Identifier: Apache-2.0
/* What the gateway reads of a request, and the edits it makes. */
#include "unit.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/buf.h"
#include "base/macros.h"
#include "gateway/request.h"
#include "models/models.h"

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

/* What dispatch wants to know of it. */
static void reads_what_it_will_cost(void **state)
{
    static const struct {
        const char *body, *prompt;
        uint32_t limit;
        const char *session; /* NULL: none */
    } rows[] = {
        { "{\"model\":\"a\",\"messages\":[{\"role\":\"system\"}],\"max_tokens\":7}",
          "[{\"role\":\"system\"}]", 7, NULL },
        { "{\"model\":\"a\",\"prompt\":\"x y\",\"user\":\"u1\"}", "\"x y\"", 0, "u1" },
        { "{\"model\":\"a\",\"input\":[1],\"user\":\"u\",\"prompt_cache_key\":\"k\"}", "[1]", 0,
          "k" },
        { "{\"model\":\"a\",\"system\":\"s\",\"messages\":[2]}", "\"s\",\"messages\":[2]", 0,
          NULL },
        { "{\"model\":\"a\",\"messages\":[2],\"system\":\"s\"}", "[2]", 0, NULL },
        { "{\"model\":\"a\",\"instructions\":\"i\",\"input\":\"q\",\"max_output_tokens\":5}",
          "\"i\",\"input\":\"q\"", 5, NULL },
        { "{\"model\":\"a\",\"user\":5,\"messages\":null}", "", 0, NULL },
        { "{\"model\":\"a\",\"user\":\"\"}", "", 0, NULL },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct span body = span_of(rows[i].body);
        struct gateway_request r;

        assert_int_equal(gateway_request_read(body, false, &r, NULL), 0);
        if (r.prompt.p ? !span_eq(r.prompt, rows[i].prompt) : rows[i].prompt[0] != '\0') {
            fail_msg("%s: '%.*s'", rows[i].body, SPAN_ARG(r.prompt));
        }
        assert_int_equal(r.output_limit, rows[i].limit);
        assert_int_equal(r.prompt_tokens, body.n / 4);
        assert_int_equal(r.tokens, body.n / 4 + (rows[i].limit ? rows[i].limit : 256));
        assert_true(r.session == (rows[i].session ? session_hash(span_of(rows[i].session)) : 0));
        gateway_request_finish(&r);
    }
    assert_true(session_hash(SPAN("a")) != session_hash(SPAN("b")));
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

/* Every combination of edits, in every order of the members, with and without blanks: the result is
 * the body as a tree would have been changed, byte for byte where nothing was asked for. */

enum { MEMBERS = 5, ORDERS = 120 };

/* In the order of a permutation's number; absent ones are NULL. */
static char *body_in_order(const char *const members[MEMBERS], int order, const char *blank)
{
    struct buf b = BUF_INIT(4096);
    bool used[MEMBERS] = { false };
    bool first = true;

    buf_printf(&b, "%s{%s", blank, blank);
    for (int left = MEMBERS; left > 0; order /= left, left--) {
        int nth = order % left, i = 0;

        for (;; i++) {
            if (!used[i] && nth-- == 0) {
                break;
            }
        }
        used[i] = true;
        if (members[i]) {
            buf_printf(&b, "%s%s%s%s", first ? "" : ",", blank, members[i], blank);
            first = false;
        }
    }
    buf_printf(&b, "%s}%s", blank, blank);
    return buf_take(&b, NULL);
}

static json_t *changed_by_hand(const char *body, bool usage, const char *model)
{
    json_t *json = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
    json_t *options = json_object_get(json, "stream_options");

    assert_non_null(json);
    json_object_del(json, "keep_alive");
    json_object_del(json, "ttl");
    if (model) {
        json_object_set_new(json, "model", json_string(model));
    }
    if (usage) {
        options = json_is_object(options) ? json_incref(options) : json_object();
        json_object_set_new(options, "include_usage", json_true());
        json_object_set_new(json, "stream_options", options);
    }
    return json;
}

static void check_edits(const char *body, bool usage, const char *model)
{
    struct gateway_request r;
    struct error e = { 0 };
    json_t *expected = changed_by_hand(body, usage, model), *got;
    char model_text[64], *text;

    if (gateway_request_read(span_of(body), usage, &r, &e) < 0) {
        fail_msg("%s: %s", body, e.text);
    }
    snprintf(model_text, sizeof(model_text), "\"%s\"", model ? model : "");
    gateway_request_compose(&r, span_of(model ? model_text : NULL));
    text = joined(&r);
    got = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (!got || !json_equal(got, expected)) {
        fail_msg("%s became %s", body, text);
    }
    assert_int_equal(r.added_usage, usage);
    assert_int_equal(r.has_keep_alive, strstr(body, "5m") != NULL);
    if (r.has_keep_alive) {
        assert_int_equal(r.keep_alive_ms, 300000);
    }
    /* Composed anew without another name, as for a second instance, it is the client's again. */
    free(text);
    gateway_request_compose(&r, (struct span){ 0 });
    text = joined(&r);
    assert_non_null(strstr(text, "\"a\\u002fb\""));
    json_decref(got);
    json_decref(expected);
    free(text);
    gateway_request_finish(&r);
}

static void makes_all_edits_at_once(void **state)
{
    static const char *const options[] = { NULL, "\"stream_options\":null", "\"stream_options\":{}",
                                           "\"stream_options\":{\"include_usage\":false}",
                                           "\"stream_options\" : { \"z\" : [1,{}] }" };
    static const char *const keeps[] = { NULL, "\"keep_alive\":\"5m\"", "\"ttl\":null",
                                         "\"keep\\u005falive\" : \"5m\"" };
    static const char *const others[] = { NULL, "\"x\":{\"keep_alive\":1,\"model\":\"no\"}" };
    static const char *const models[] = { NULL, "its-own/name" };

    for (int i = 0; i < 5 * 4 * 2 * 2 * ORDERS; i++) {
        const char *members[MEMBERS] = { "\"mo\\u0064el\":\"a\\u002fb\"", "\"stream\":true",
                                         options[i % 5], keeps[i / 5 % 4], others[i / 20 % 2] };
        char *body = body_in_order(members, i / 80, i % 3 == 0 ? " " : "");

        check_edits(body, i % 7 != 0, models[i / 40 % 2]);
        free(body);
    }
}

static void reads_how_long_to_stay(void **state)
{
    static const struct {
        const char *member;
        int64_t ms; /* below -10: an error */
    } cases[] = {
        { "\"keep_alive\":\"90s\"", 90000 },
        { "\"keep_alive\":0", 0 },
        { "\"keep_alive\":30", 30000 },
        { "\"keep_alive\":-1", KEEP_ALIVE_FOREVER },
        { "\"keep_alive\":\"-1\"", KEEP_ALIVE_FOREVER },
        { "\"ttl\":60", 60000 },
        { "\"ttl\":0", KEEP_ALIVE_FOREVER },
        { "\"keep_alive\":\"later\"", -EINVAL },
        { "\"keep_alive\":true", -EINVAL },
        { "\"keep_alive\":{\"a\":1}", -EINVAL },
        { "\"keep_alive\":1e999", -EINVAL },
        { "\"ttl\":[]", -EINVAL },
        { "\"ttl\":1,\"keep_alive\":1", -EINVAL },
        { "\"keep_alive\":1,\"keep_alive\":1", -EINVAL },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct gateway_request r;
        struct error e = { 0 };
        char body[128];
        int n;

        snprintf(body, sizeof(body), "{\"model\":\"a\",%s}", cases[i].member);
        n = gateway_request_read(span_of(body), true, &r, &e);
        if (cases[i].ms == -EINVAL) {
            assert_int_equal(n, -EINVAL);
            assert_true(strlen(e.text) > 10);
            continue;
        }
        if (n < 0) {
            fail_msg("%s: %s", body, e.text);
        }
        assert_true(r.has_keep_alive);
        assert_int_equal(r.keep_alive_ms, cases[i].ms);
        gateway_request_finish(&r);
    }
}

static void opaque_bodies_are_not_read(void **state)
{
    struct gateway_request r;
    char *text;

    gateway_request_opaque(SPAN("\xFF{no json"), &r);
    text = joined(&r);
    assert_string_equal(text, "\xFF{no json");
    free(text);
    gateway_request_finish(&r);
    gateway_request_opaque((struct span){ 0 }, &r);
    assert_int_equal(r.part_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_it_needs),    cmocka_unit_test(reads_what_it_will_cost),
        cmocka_unit_test(refuses_with_a_reason),  cmocka_unit_test(asks_for_usage),
        cmocka_unit_test(leaves_the_rest_alone),  cmocka_unit_test(makes_all_edits_at_once),
        cmocka_unit_test(reads_how_long_to_stay), cmocka_unit_test(opaque_bodies_are_not_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
