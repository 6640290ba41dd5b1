// SPDX-License-Identifier: Apache-2.0
/* Strict JSON trees: refusals with their place, typed members, compact text. */
#include "unit.h"

#include "base/mem.h"
#include "codec/json.h"

static void refuses_with_line_and_column(void **state)
{
    struct error e;
    json_t *j = NULL;

    assert_int_equal(json_read(SPAN("{\"a\":1,\n \"a\":2}"), 100, &j, &e), -EBADMSG);
    assert_non_null(strstr(e.text, "invalid JSON in line 2, column"));
    assert_non_null(strstr(e.text, "duplicate"));
    assert_int_equal(json_read(SPAN("{} {}"), 100, &j, &e), -EBADMSG);
    assert_int_equal(json_read(SPAN("12"), 100, &j, &e), -EBADMSG);
    assert_int_equal(json_read((struct span){ NULL, 0 }, 100, &j, &e), -EBADMSG);
    assert_int_equal(json_read(SPAN("{\"a\":1}"), 6, &j, &e), -EFBIG);
    assert_null(j);
}

static int read_nested(size_t depth)
{
    struct buf b = BUF_INIT(10000);
    json_t *j = NULL;
    int r;

    for (size_t i = 0; i < depth; i++) {
        buf_putc(&b, '[');
    }
    for (size_t i = 0; i < depth; i++) {
        buf_putc(&b, ']');
    }
    r = json_read(buf_span(&b), JSON_BYTES_MAX, &j, NULL);
    json_decref(j);
    buf_finish(&b);
    return r;
}

static void nests_to_the_limit(void **state)
{
    assert_int_equal(read_nested(JSON_DEPTH_MAX), 0);
    assert_int_equal(read_nested(JSON_DEPTH_MAX + 1), -EBADMSG);
    assert_int_equal(read_nested(4000), -EBADMSG);
}

static void members_have_types(void **state)
{
    json_auto_t *j = NULL;
    struct json_range percent = { 0, 100 };
    const char *s = "as before";
    json_t *sub = NULL;
    double d = 0;
    bool b = false;
    int64_t n = 5;
    struct error e;

    assert_int_equal(json_read(SPAN("{\"s\":\"x\",\"n\":50,\"d\":1.5,\"b\":true,\"o\":{},\"a\":[],\"z\":null}"),
                               1000, &j, NULL), 0);
    assert_int_equal(json_get_string(j, "missing", JSON_OPTIONAL, &s, &e), 0);
    assert_int_equal(json_get_string(j, "z", JSON_OPTIONAL, &s, &e), 0);
    assert_string_equal(s, "as before");
    assert_int_equal(json_get_string(j, "z", JSON_REQUIRED, &s, &e), -EINVAL);
    assert_string_equal(e.text, "'z' is missing");
    assert_int_equal(json_get_string(j, "s", JSON_REQUIRED, &s, &e), 1);
    assert_string_equal(s, "x");
    assert_int_equal(json_get_int(j, "n", JSON_OPTIONAL, percent, &n, &e), 1);
    assert_int_equal(n, 50);
    percent.max = 49;
    assert_int_equal(json_get_int(j, "n", JSON_OPTIONAL, percent, &n, &e), -EINVAL);
    assert_string_equal(e.text, "'n' must be between 0 and 49, not 50");
    assert_int_equal(json_get_int(j, "d", JSON_OPTIONAL, percent, &n, &e), -EINVAL);
    assert_int_equal(json_get_number(j, "d", JSON_OPTIONAL, &d, &e), 1);
    assert_true(d == 1.5);
    assert_int_equal(json_get_bool(j, "b", JSON_OPTIONAL, &b, &e), 1);
    assert_true(b);
    assert_int_equal(json_get_bool(j, "s", JSON_OPTIONAL, &b, &e), -EINVAL);
    assert_string_equal(e.text, "'s' must be true or false");
    assert_int_equal(json_get_object(j, "o", JSON_REQUIRED, &sub, &e), 1);
    assert_ptr_equal(sub, json_object_get(j, "o"));
    assert_int_equal(json_get_object(j, "a", JSON_REQUIRED, &sub, &e), -EINVAL);
    assert_int_equal(json_get_array(j, "a", JSON_REQUIRED, &sub, &e), 1);
}

static void writes_compact_text_in_order(void **state)
{
    json_auto_t *j = json_pack("{s:i, s:[s,n], s:b}", "z", 1, "a", "\xC3\xA9\n", "m", 1);
    struct buf b = BUF_INIT(1000), small = BUF_INIT(5);
    _cleanup_(freep) char *text = NULL;
    size_t n = 0;

    text = json_write(j, &n);
    assert_string_equal(text, "{\"z\":1,\"a\":[\"\xC3\xA9\\n\",null],\"m\":true}");
    assert_int_equal(n, strlen(text));
    assert_int_equal(json_write_buf(j, &b), 0);
    assert_string_equal(buf_data(&b), text);
    assert_int_equal(json_write_buf(j, &small), -EFBIG);
    buf_finish(&b);
    buf_finish(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_with_line_and_column),
        cmocka_unit_test(nests_to_the_limit),
        cmocka_unit_test(members_have_types),
        cmocka_unit_test(writes_compact_text_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
