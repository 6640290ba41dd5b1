// SPDX-License-Identifier: Apache-2.0
/* The last lines of the log: kept as written, in order, and no more of them than there is room. */
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_ring.h"
#include "base/mem.h"
#include "unit.h"

static uint64_t cursor; /* behind what earlier tests have added */

static void expect_line(enum log_level level, const char *text)
{
    struct log_line line;

    assert_true(log_ring_next(&cursor, &line));
    assert_int_equal(line.level, level);
    assert_string_equal(line.text, text);
    assert_int_equal(line.n, strlen(text));
}

static void expect_nothing(void)
{
    struct log_line line;

    assert_false(log_ring_next(&cursor, &line));
}

static void test_in_order(void **state)
{
    expect_nothing();
    log_ring_add(LOG_WARN, 1000, "first", 5);
    log_ring_add(LOG_DEBUG, 2000, "second line", 6);
    expect_line(LOG_WARN, "first");
    expect_line(LOG_DEBUG, "second");
    expect_nothing();
    log_ring_add(LOG_ERROR, 3000, "", 0);
    expect_line(LOG_ERROR, "");
    expect_nothing();
}

static void test_the_oldest_go(void **state)
{
    enum { LINES = 5000 };
    char text[1001] = "";
    uint64_t oldest = 0;
    struct log_line line;
    long last = -1;
    size_t kept = 0;

    memset(text, 'x', 1000);
    for (long i = 0; i < LINES; i++) {
        char number[8];

        snprintf(number, sizeof(number), "%06ld", i);
        memcpy(text, number, 6);
        log_ring_add(LOG_INFO, i, text, 1000);
    }
    while (log_ring_next(&oldest, &line)) {
        const long number = strtol(line.text, NULL, 10);

        assert_int_equal(line.n, 1000);
        assert_int_equal(line.wall_ms, number);
        assert_true(last < 0 || number == last + 1);
        last = number;
        kept++;
    }
    assert_int_equal(last, LINES - 1);
    assert_in_range(kept, 1000, LOG_RING_BYTES / 1000);
    cursor = MAX_OF(cursor, (uint64_t)1); /* of a line that has gone: the oldest comes */
    assert_true(log_ring_next(&cursor, &line));
    assert_int_equal(strtol(line.text, NULL, 10), LINES - (long)kept);
    cursor = oldest;
    expect_nothing();
}

static void test_too_long(void **state)
{
    char text[LOG_LINE_MAX + 1];

    memset(text, 'y', sizeof(text));
    log_ring_add(LOG_INFO, 0, text, sizeof(text));
    expect_nothing();
    log_ring_add(LOG_INFO, 0, text, LOG_LINE_MAX);
    text[LOG_LINE_MAX] = '\0';
    expect_line(LOG_INFO, text);
}

static void test_what_is_written_is_kept(void **state)
{
    struct log_line line;
    int pipes[2];

    assert_int_equal(pipe(pipes), 0);
    log_set_fd(pipes[1]);
    log_debug("test", NULL, "not shown");
    log_warn("test", "thing", "shown", kv_int("n", 7));
    log_set_fd(2);
    close(pipes[0]);
    close(pipes[1]);
    assert_true(log_ring_next(&cursor, &line));
    assert_int_equal(line.level, LOG_WARN);
    assert_non_null(strstr(line.text, " warn test[thing] shown n=7"));
    assert_null(strchr(line.text, '\n'));
    assert_true(line.wall_ms > 0);
    expect_nothing();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_the_oldest_go),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_what_is_written_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
