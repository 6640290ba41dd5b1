// SPDX-License-Identifier: Apache-2.0
/* The request scanner: what it finds, what it refuses, and that it agrees with jansson on thousands
 * of random texts. */
#include "unit.h"

#include "base/mem.h"
#include "scan_oracle.h"

static int scan_one_member(const char *text, struct scan_member *m, struct error *e)
{
    return scan_object(span_of(text), m, 1, e);
}

static void finds_members_and_their_places(void **state)
{
    const char *text =
        " {\"a\":[1,{\"model\":\"no\"}], \"mo\\u0064el\" : \"t\\u0069ny\\n\" ,\"max_tokens\":-12,"
        "\"stream\":true,\"stream_options\":{\"x\":1,\"include_usage\":false},"
        "\"stream_options.include_usage\":1, \"big\":1e999, \"long\":"
        "1234567890123456789012345678901234567890} \n";
    struct scan_member m[SCAN_WANTED];
    _cleanup_(freep) char *model = NULL;
    int64_t tokens = 0;
    bool flag = false;

    assert_int_equal(scan_with_names(span_of(text), m, NULL), 0);
    assert_true(span_eq(m[0].value, "\"t\\u0069ny\\n\""));
    assert_true(span_eq(m[0].whole, "\"mo\\u0064el\" : \"t\\u0069ny\\n\""));
    assert_int_equal(scan_string(&m[0], &model, NULL), 0);
    assert_string_equal(model, "tiny\n");
    assert_int_equal(scan_bool(&m[1], &flag, NULL), 0);
    assert_true(flag);
    assert_true(span_eq(m[2].value, "{\"x\":1,\"include_usage\":false}"));
    assert_int_equal(scan_bool(&m[3], &flag, NULL), 0);
    assert_false(flag);
    assert_int_equal(scan_int(&m[4], &tokens, NULL), 0);
    assert_int_equal(tokens, -12);
    assert_ptr_equal(scan_opening(span_of(text)).at, text + 2);
    assert_false(scan_opening(span_of(text)).empty);
    assert_true(scan_opening(SPAN("{ \n}")).empty);
    assert_true(scan_opening(SPAN("[ ]")).empty);
}

static void unescapes_all_of_json(void **state)
{
    struct scan_member m = { .name = "s" };
    _cleanup_(freep) char *s = NULL;

    assert_int_equal(
        scan_one_member(
            "{\"s\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20AC\\uD83D\\uDE00 \xC3\xA9\"}", &m,
            NULL),
        0);
    assert_int_equal(scan_string(&m, &s, NULL), 0);
    assert_string_equal(s, "\"\\/\b\f\n\r\t\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80 \xC3\xA9");
}

static void names_the_type_that_is_wrong(void **state)
{
    struct scan_member m = { .name = "s" };
    struct error e;
    int64_t n;
    bool b;
    char *s;

    assert_int_equal(scan_one_member("{\"s\":12345678901234567890}", &m, NULL), 0);
    assert_int_equal(scan_bool(&m, &b, &e), -EINVAL);
    assert_string_equal(e.text, "'s' must be a boolean");
    assert_int_equal(scan_string(&m, &s, &e), -EINVAL);
    assert_string_equal(e.text, "'s' must be a string");
    assert_int_equal(scan_int(&m, &n, &e), -EINVAL);
    assert_string_equal(e.text, "'s' must be a whole number that fits in 64 bits");
    assert_int_equal(scan_one_member("{\"s\":1.0}", &m, NULL), 0);
    assert_int_equal(scan_int(&m, &n, &e), -EINVAL);
    assert_int_equal(scan_one_member("{\"s\":\"a\\u0000b\"}", &m, NULL), 0);
    assert_int_equal(scan_string(&m, &s, &e), -EINVAL);
    assert_string_equal(e.text, "'s' holds a NUL character");
}

struct refusal {
    const char *text, *sentence;
    int code;
};

static void says_where_it_is_not_json(void **state)
{
    static const struct refusal refusals[] = {
        { "", "a JSON object was expected", -EBADMSG },
        { "[]", "a JSON object was expected", -EINVAL },
        { "\xEF\xBB\xBF{}", "invalid JSON at byte 0: it begins with a byte order mark", -EBADMSG },
        { "{} x", "invalid JSON at byte 3: something follows the object", -EBADMSG },
        { "{\"a\":1,}", "invalid JSON at byte 7: a key in quotes was expected", -EBADMSG },
        { "{\"a\" 1}", "invalid JSON at byte 5: a colon was expected", -EBADMSG },
        { "{\"a\":[1 2]}", "invalid JSON at byte 8: a comma or ] was expected", -EBADMSG },
        { "{\"a\":{\"b\":1 \"c\"}}", "invalid JSON at byte 12: a comma or } was expected",
          -EBADMSG },
        { "{\"a\":01}", "invalid JSON at byte 6: a comma or } was expected", -EBADMSG },
        { "{\"a\":1.}", "invalid JSON at byte 7: digits were expected", -EBADMSG },
        { "{\"a\":nul}", "invalid JSON at byte 5: a value was expected", -EBADMSG },
        { "{\"a\":\"\t\"}", "invalid JSON at byte 6: a control character stands in a string",
          -EBADMSG },
        { "{\"a\":\"\xC0\x80\"}", "invalid JSON at byte 6: a string is not UTF-8", -EBADMSG },
        { "{\"a\":\"\xED\xA0\x80\"}", "invalid JSON at byte 6: a string is not UTF-8", -EBADMSG },
        { "{\"a\":\"b", "invalid JSON: the text ends at byte 7, where a string is not closed",
          -EBADMSG },
        { "{\"s\":1,\"\\u0073\":2}", "the key 's' stands there twice, again at byte 7", -EINVAL },
    };
    struct scan_member m = { .name = "s" };

    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        struct error e = { 0 };

        assert_int_equal(scan_one_member(refusals[i].text, &m, &e), refusals[i].code);
        assert_string_equal(e.text, refusals[i].sentence);
    }
}

static void refuses_a_nul_byte_anywhere(void **state)
{
    static const char text[] = "{ \"s\" : [ null , 12 , \"x\" ] }";

    for (size_t at = 0; at < sizeof(text); at++) {
        struct scan_member m = { .name = "s" };
        struct buf b = BUF_INIT(100);

        buf_append(&b, text, at);
        buf_putc(&b, '\0');
        buf_puts(&b, text + at);
        assert_true(scan_object(buf_span(&b), &m, 1, NULL) < 0);
        buf_finish(&b);
    }
}

static void refuses_half_a_surrogate_pair(void **state)
{
    static const char *const texts[] = {
        "{\"a\":\"\\uD800\"}",  "{\"a\":\"\\uDC00\"}", "{\"a\":\"\\uD800\\u0041\"}",
        "{\"a\":\"\\uD800x\"}", "{\"a\":\"\\u12\"}",   "{\"a\":\"\\x\"}",
        "{\"a\":\"\\"
    };
    struct scan_member m = { .name = "s" };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        assert_int_equal(scan_one_member(texts[i], &m, NULL), -EBADMSG);
    }
}

/* {"a":[[...]]} with `depth` containers in all */
static int scan_nested(unsigned depth, char open, char close)
{
    struct scan_member m = { .name = "s" };
    struct buf b = BUF_INIT(4096);
    int r;

    buf_puts(&b, "{\"a\":");
    for (unsigned i = 1; i < depth; i++) {
        buf_puts(&b, open == '{' && i + 1 < depth ? "{\"a\":" : open == '{' ? "{" : "[");
    }
    for (unsigned i = 1; i < depth; i++) {
        buf_putc(&b, close);
    }
    buf_putc(&b, '}');
    r = scan_object(buf_span(&b), &m, 1, NULL);
    buf_finish(&b);
    return r;
}

static void nests_to_128_and_no_deeper(void **state)
{
    assert_int_equal(scan_nested(128, '[', ']'), 0);
    assert_int_equal(scan_nested(128, '{', '}'), 0);
    assert_int_equal(scan_nested(129, '[', ']'), -EBADMSG);
    assert_int_equal(scan_nested(129, '{', '}'), -EBADMSG);
}

static void a_bad_byte_anywhere_in_a_long_string_is_seen(void **state)
{
    static const char *const bad[] = { "\x01", "\"", "\x80", "\xFF", "\\q", "\x1F" };

    for (size_t at = 0; at < 70; at++) {
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
            struct scan_member m = { .name = "s" };
            struct buf b = BUF_INIT(1024);

            buf_puts(&b, "{\"s\":\"");
            for (size_t k = 0; k < 70; k++) {
                buf_puts(&b, k == at ? bad[i] : "x");
            }
            buf_puts(&b, "\"}");
            assert_int_equal(scan_object(buf_span(&b), &m, 1, NULL), -EBADMSG);
            buf_finish(&b);
        }
    }
}

/* {"s":"..."} with these bytes inside */
static bool is_accepted(const unsigned char *bytes, size_t n)
{
    struct scan_member m = { .name = "s" };
    char text[16] = "{\"s\":\"";

    memcpy(text + 6, bytes, n);
    memcpy(text + 6 + n, "\"}", 2);
    return scan_object((struct span){ text, n + 8 }, &m, 1, NULL) == 0;
}

static void all_sequences_are_judged_as_utf8_has_it(void **state)
{
    static const unsigned char seconds[] = { 'a',  0x7F, 0x80, 0x8F, 0x90,
                                             0x9F, 0xA0, 0xBF, 0xC0, 0xFF };

    for (unsigned first = 0x80; first <= 0xFF; first++) {
        for (size_t i = 0; i < ARRAY_SIZE(seconds); i++) {
            for (size_t k = 0; k < ARRAY_SIZE(seconds); k++) {
                unsigned char s[4] = { (unsigned char)first, seconds[i], seconds[k], seconds[k] };

                for (size_t n = 1; n <= 4; n++) {
                    assert_int_equal(is_accepted(s, n), is_valid_utf8((const char *)s, n));
                }
            }
        }
    }
}

/* Random trees */

static uint64_t random_state;

static uint64_t below(uint64_t n)
{
    uint64_t z = random_state += UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (z ^ (z >> 31)) % n;
}

static json_t *random_string(void)
{
    static const char *const pieces[] = { "a",
                                          "\"",
                                          "\\",
                                          "/",
                                          "\n",
                                          "\x01",
                                          "\xC3\xA9",
                                          "\xE4\xB8\xAD",
                                          "\xF0\x9F\x98\x80",
                                          "{",
                                          "]",
                                          ",",
                                          "some longer plain text " };
    struct buf b = BUF_INIT(4096);
    json_t *j;

    for (uint64_t n = below(30); n > 0; n--) {
        buf_puts(&b, pieces[below(ARRAY_SIZE(pieces))]);
    }
    j = json_string(buf_data(&b));
    buf_finish(&b);
    return j;
}

static json_t *random_value(unsigned depth)
{
    static const char *const keys[] = {
        "model",    "stream", "stream_options", "include_usage", "max_tokens", "a", "", "b.c",
        "\xC3\xA9", "zzz"
    };
    json_t *j;

    switch (below(depth ? 8 : 6)) {
    case 0:
        return json_null();
    case 1:
        return json_boolean(below(2));
    case 2:
        return json_integer((json_int_t)below(UINT64_MAX) >> below(64));
    case 3:
        return json_real(((double)below(2000001) - 1000000) / 1024 * (below(2) ? 1e200 : 1));
    case 4:
    case 5:
        return random_string();
    case 6:
        j = json_array();
        for (uint64_t n = below(5); n > 0; n--) {
            json_array_append_new(j, random_value(depth - 1));
        }
        return j;
    default:
        j = json_object();
        for (uint64_t n = below(7); n > 0; n--) {
            json_object_set_new(j, keys[below(ARRAY_SIZE(keys))], random_value(depth - 1));
        }
        return j;
    }
}

static void agrees_with_jansson_on_random_trees(void **state)
{
    static const size_t flags[] = { JSON_COMPACT, JSON_INDENT(3), JSON_ENSURE_ASCII,
                                    JSON_ENSURE_ASCII | JSON_ESCAPE_SLASH };
    size_t accepted = 0;

    random_state = test_seed("scanner");
    for (int i = 0; i < 20000; i++) {
        json_t *j = random_value(5);
        char *text = json_dumps(j, flags[below(4)] | JSON_ENCODE_ANY);
        size_t n = strlen(text);
        struct scan_member m[SCAN_WANTED];

        accepted += scan_with_names((struct span){ text, n }, m, NULL) == 0;
        scan_check(text, n);
        for (uint64_t k = below(4); k > 0 && n > 0; k--) { /* and on texts that are nearly JSON */
            text[below(n)] = "\"\\{}[]:,0e-+.tu \n\x80\xC3"[below(19)];
            scan_check(text, n);
        }
        scan_check(text, below(n + 1));
        free(text);
        json_decref(j);
    }
    assert_true(accepted > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_members_and_their_places),
        cmocka_unit_test(unescapes_all_of_json),
        cmocka_unit_test(names_the_type_that_is_wrong),
        cmocka_unit_test(says_where_it_is_not_json),
        cmocka_unit_test(refuses_a_nul_byte_anywhere),
        cmocka_unit_test(refuses_half_a_surrogate_pair),
        cmocka_unit_test(nests_to_128_and_no_deeper),
        cmocka_unit_test(a_bad_byte_anywhere_in_a_long_string_is_seen),
        cmocka_unit_test(all_sequences_are_judged_as_utf8_has_it),
        cmocka_unit_test(agrees_with_jansson_on_random_trees),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
