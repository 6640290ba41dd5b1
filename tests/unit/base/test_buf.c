// SPDX-License-Identifier: Apache-2.0
/* The growing buffer: what goes in comes out, and never more than its maximum. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

static void appends_and_consumes(void **state)
{
    struct buf b = BUF_INIT(1000);

    assert_string_equal(buf_data(&b), "");
    assert_int_equal(buf_puts(&b, "hello "), 0);
    assert_int_equal(buf_printf(&b, "%d %s", 7, "berths"), 0);
    assert_string_equal(buf_data(&b), "hello 7 berths");
    buf_consume(&b, 6);
    assert_string_equal(buf_data(&b), "7 berths");
    assert_int_equal(b.len, 8);
    buf_finish(&b);
}

static void prints_whatever_its_length(void **state)
{
    static const int64_t numbers[] = { 0, 7, -7, 10, INT64_MAX, INT64_MIN };
    static const int lengths[] = { 1, 510, 511, 512, 513, 3000 };

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        struct buf b = BUF_INIT(1000);
        char text[32];

        snprintf(text, sizeof(text), "%lld", (long long)numbers[i]);
        assert_int_equal(buf_put_int(&b, numbers[i]), 0);
        assert_string_equal(buf_data(&b), text);
        buf_finish(&b);
    }
    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        struct buf b = BUF_INIT(10000);

        assert_int_equal(buf_printf(&b, "%*d", lengths[i], 5), 0);
        assert_int_equal(b.len, lengths[i]);
        assert_int_equal(buf_data(&b)[b.len - 1], '5');
        buf_finish(&b);
    }
}

static void keeps_its_maximum(void **state)
{
    struct buf b = BUF_INIT(10);

    assert_int_equal(buf_puts(&b, "0123456789"), 0);
    assert_int_equal(buf_putc(&b, 'x'), -EFBIG);
    assert_true(b.overflow);
    assert_string_equal(buf_data(&b), "0123456789");
    buf_consume(&b, 4);
    assert_int_equal(buf_puts(&b, "abcd"), 0);
    assert_string_equal(buf_data(&b), "456789abcd");
    buf_finish(&b);
}

static void escapes_json(void **state)
{
    struct buf b = BUF_INIT(1000);

    buf_put_json_escaped(&b, "a\"b\\c\n\x01\t\0z", 10);
    assert_string_equal(buf_data(&b), "a\\\"b\\\\c\\n\\u0001\\t\\u0000z");
    buf_finish(&b);
}

static void is_taken_as_a_string(void **state)
{
    struct buf b = BUF_INIT(1000);
    size_t n;
    char *s;

    buf_puts(&b, "xxkeep");
    buf_consume(&b, 2);
    s = buf_take(&b, &n);
    assert_string_equal(s, "keep");
    assert_int_equal(n, 4);
    assert_int_equal(b.len, 0);
    free(s);
}

/* Random appends and consumes against a plain array. */
static void behaves_like_an_array(void **state)
{
    struct buf b = BUF_INIT(5000);
    char model[5000];
    size_t len = 0;

    srand((unsigned)test_seed("behaves_like_an_array"));
    for (int i = 0; i < 20000; i++) {
        size_t n = (size_t)rand() % 300;

        if (rand() % 2) {
            char piece[300];

            memset(piece, 'a' + rand() % 26, sizeof(piece));
            if (len + n <= sizeof(model)) {
                memcpy(model + len, piece, n);
                len += n;
                assert_int_equal(buf_append(&b, piece, n), 0);
            } else {
                assert_int_equal(buf_append(&b, piece, n), -EFBIG);
            }
        } else {
            n = MIN_OF(n, len);
            if (rand() % 8 == 0) {
                n = len;
            }
            memmove(model, model + n, len - n);
            len -= n;
            buf_consume(&b, n);
        }
        assert_int_equal(b.len, len);
        assert_memory_equal(buf_data(&b), model, len);
        assert_int_equal(buf_data(&b)[len], 0);
    }
    buf_finish(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_and_consumes),  cmocka_unit_test(keeps_its_maximum),
        cmocka_unit_test(escapes_json),          cmocka_unit_test(is_taken_as_a_string),
        cmocka_unit_test(behaves_like_an_array), cmocka_unit_test(prints_whatever_its_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
