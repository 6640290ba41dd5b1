// SPDX-License-Identifier: Apache-2.0
/* Strict conversions: what is accepted, and what is not. */
#include "unit.h"

#include <errno.h>

#include <stdio.h>
#include <time.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/timefmt.h"

static void numbers_are_strict(void **state)
{
    const char *bad[] = { "", "+1", " 1", "1 ", "0x10", "1e3", "-1", "1.0" };
    uint64_t u;
    int64_t i;

    assert_int_equal(span_to_u64(SPAN("18446744073709551615"), &u), 0);
    assert_true(u == UINT64_MAX);
    assert_int_equal(span_to_u64(SPAN("18446744073709551616"), &u), -ERANGE);
    for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
        assert_int_equal(span_to_u64(span_of(bad[k]), &u), -EINVAL);
    }
    assert_int_equal(span_to_i64(SPAN("-9223372036854775808"), &i), 0);
    assert_true(i == INT64_MIN);
    assert_int_equal(span_to_i64(SPAN("9223372036854775808"), &i), -ERANGE);
    assert_int_equal(span_to_i64(SPAN("-"), &i), -EINVAL);
}

static void distance_counts_changed_letters(void **state)
{
    char longest[129];

    assert_int_equal(str_distance("models", "models"), 0);
    assert_int_equal(str_distance("", "abc"), 3);
    assert_int_equal(str_distance("listne", "listen"), 2);
    assert_int_equal(str_distance("kitten", "sitting"), 3);
    memset(longest, 'x', 128);
    longest[128] = '\0';
    assert_true(str_distance(longest, "x") == SIZE_MAX);
    assert_true(str_distance("x", longest) == SIZE_MAX);
    assert_int_equal(str_distance(longest + 1, "x"), 126);
}

static void durations_and_sizes(void **state)
{
    uint64_t v;

    assert_int_equal(str_to_duration_ms("300s", &v), 0);
    assert_int_equal(v, 300000);
    assert_int_equal(str_to_duration_ms("1.5h", &v), 0);
    assert_int_equal(v, 5400000);
    assert_int_equal(str_to_duration_ms("250ms", &v), 0);
    assert_int_equal(v, 250);
    assert_int_equal(str_to_duration_ms("2", &v), 0);
    assert_int_equal(v, 2000);
    assert_int_equal(str_to_duration_ms("2h45m1.5s", &v), 0);
    assert_int_equal(v, 9901500);
    assert_int_equal(str_to_duration_ms("100000000d100000000d", &v), -ERANGE);
    assert_int_equal(str_to_duration_ms("2h45", &v), -EINVAL);
    assert_int_equal(str_to_duration_ms("", &v), -EINVAL);
    assert_int_equal(str_to_duration_ms("1s2", &v), -EINVAL);
    assert_int_equal(str_to_duration_ms("1.2.3s", &v), -EINVAL);
    assert_int_equal(str_to_duration_ms("-1s", &v), -EINVAL);
    assert_int_equal(str_to_duration_ms("s", &v), -EINVAL);
    assert_int_equal(str_to_duration_ms("5 s", &v), -EINVAL);
    assert_int_equal(str_to_bytes("32MiB", &v), 0);
    assert_int_equal(v, 32 << 20);
    assert_int_equal(str_to_bytes("1kB", &v), 0);
    assert_int_equal(v, 1000);
    assert_int_equal(str_to_bytes("1.5G", &v), 0);
    assert_int_equal(v, 3ULL << 29);
    assert_int_equal(str_to_bytes("12x", &v), -EINVAL);
}

static void words_are_split_without_a_shell(void **state)
{
    char **words;

    assert_int_equal(str_split_words(" --a  'b c' \"d\\\"e\" f\\ g $HOME;ls `id` ", &words, NULL),
                     0);
    assert_string_equal(words[0], "--a");
    assert_string_equal(words[1], "b c");
    assert_string_equal(words[2], "d\"e");
    assert_string_equal(words[3], "f g");
    assert_string_equal(words[4], "$HOME;ls");
    assert_string_equal(words[5], "`id`");
    assert_null(words[6]);
    str_list_free(words);
    assert_int_equal(str_split_words("a 'b", &words, NULL), -EINVAL);
}

static void utf8_is_checked(void **state)
{
    const char *good[] = { "plain", "gr\xc3\xbc\xc3\x9f", "\xe4\xbd\xa0", "\xf0\x9f\x9a\xa2" };
    const char *bad[] = {
        "\x80", "\xc0\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xe4\xbd", "\xff"
    };

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        assert_true(is_valid_utf8(good[i], strlen(good[i])));
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_false(is_valid_utf8(bad[i], strlen(bad[i])));
    }
}

static void spans_are_cut(void **state)
{
    struct span s = SPAN("a,b,"), part;

    part = span_cut(&s, ',');
    assert_true(span_eq(part, "a"));
    part = span_cut(&s, ',');
    assert_true(span_eq(part, "b"));
    part = span_cut(&s, ',');
    assert_true(span_eq(part, ""));
    assert_null(s.p);
    assert_true(span_eq(span_trim(SPAN(" \tx y\t ")), "x y"));
}

static void secrets_compare(void **state)
{
    assert_true(secret_eq("berth-abc", "berth-abc"));
    assert_false(secret_eq("berth-abc", "berth-abd"));
    assert_false(secret_eq("berth-abc", "berth-ab"));
    assert_false(secret_eq("", "x"));
    assert_false(secret_eq("x", ""));
    assert_true(secret_eq("", ""));
}

static void expect_time(int64_t wall_ms, const char *expected)
{
    char text[TIMEFMT_SIZE];

    timefmt_iso(wall_ms, text);
    assert_string_equal(text, expected);
}

/* As the C library has them, every day of two thousand years. */
static void times_are_those_of_the_calendar(void **state)
{
    for (int64_t day = 0; day < 2000 * 365; day++) {
        const int64_t ms = day * 86400000 + day * 7919 % 86400000;
        time_t s = (time_t)(ms / 1000);
        char seconds[24], whole[40];
        struct tm tm;

        gmtime_r(&s, &tm);
        strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(whole, sizeof(whole), "%s.%03dZ", seconds, (int)(ms % 1000));
        expect_time(ms, whole);
    }
    expect_time(-1, "1970-01-01T00:00:00.000Z");
    expect_time(253402300799999, "9999-12-31T23:59:59.999Z");
    expect_time(INT64_MAX, "9999-12-31T23:59:59.999Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_strict),  cmocka_unit_test(distance_counts_changed_letters),
        cmocka_unit_test(durations_and_sizes), cmocka_unit_test(words_are_split_without_a_shell),
        cmocka_unit_test(utf8_is_checked),     cmocka_unit_test(spans_are_cut),
        cmocka_unit_test(secrets_compare),     cmocka_unit_test(times_are_those_of_the_calendar),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
