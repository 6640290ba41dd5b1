// SPDX-License-Identifier: Apache-2.0
/* Strict JSON trees: refusals with their place. */
#include "unit.h"

#include "base/buf.h"
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
    assert_int_equal(json_read(SPAN("{\"a\":null\0,\"b\":1}"), 100, &j, &e), -EBADMSG);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_with_line_and_column),
        cmocka_unit_test(nests_to_the_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
