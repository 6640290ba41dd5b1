// SPDX-License-Identifier: Apache-2.0
/* Metrics: cells, bounds, forgetting, and the text that Prometheus reads. */
#include "unit.h"

#include <math.h>
#include <string.h>

#include "base/str.h"
#include "metrics/metrics.h"

static const double bounds[] = { 0.5, 1, 2.5, 0 };

static const struct metric table[] = {
    { "t_total", METRIC_COUNTER, "Counts \\ and\nlines.", { "model", "code" } },
    { "t_gauge", METRIC_GAUGE, "A gauge." },
    { "t_seconds", METRIC_HISTOGRAM, "Times.", { "model" }, bounds },
};

static struct metrics *declared(void)
{
    struct metrics *m = metrics_create();

    metrics_declare(m, table, ARRAY_SIZE(table));
    return m;
}

static void check_text(struct metrics *m, const char *expected)
{
    struct buf b = BUF_INIT(1 << 20);

    assert_int_equal(metrics_write(m, &b), 0);
    assert_string_equal(buf_data(&b), expected);
    buf_finish(&b);
}

#define HELP_TOTAL   "# HELP t_total Counts \\\\ and\\nlines.\n# TYPE t_total counter\n"
#define HELP_GAUGE   "# HELP t_gauge A gauge.\n# TYPE t_gauge gauge\n"
#define HELP_SECONDS "# HELP t_seconds Times.\n# TYPE t_seconds histogram\n"

static void writes_the_text_format(void **state)
{
    struct metrics *m = declared();
    struct metric_cell *h;

    check_text(m, HELP_TOTAL HELP_GAUGE "t_gauge 0\n" HELP_SECONDS);
    metric_add(metrics_cell(m, &table[0], (const char *const[]){ "a\"b\\c\nd", "200" }), 3);
    metric_set(metrics_cell(m, &table[1], NULL), 0.1);
    h = metrics_cell(m, &table[2], (const char *const[]){ "tiny" });
    metric_observe(h, 0.5); /* on the bound: in it */
    metric_observe(h, 0.75);
    metric_observe(h, 2);
    metric_observe(h, 100);
    check_text(m, HELP_TOTAL "t_total{model=\"a\\\"b\\\\c\\nd\",code=\"200\"} 3\n" HELP_GAUGE
                             "t_gauge 0.1\n" HELP_SECONDS
                             "t_seconds_bucket{model=\"tiny\",le=\"0.5\"} 1\n"
                             "t_seconds_bucket{model=\"tiny\",le=\"1\"} 2\n"
                             "t_seconds_bucket{model=\"tiny\",le=\"2.5\"} 3\n"
                             "t_seconds_bucket{model=\"tiny\",le=\"+Inf\"} 4\n"
                             "t_seconds_sum{model=\"tiny\"} 103.25\n"
                             "t_seconds_count{model=\"tiny\"} 4\n");
    metrics_destroy(m);
}

static void check_gauge(double v, const char *expected)
{
    struct metrics *m = declared();
    struct buf b = BUF_INIT(4096);
    char line[80];

    metric_set(metrics_cell(m, &table[1], NULL), v);
    assert_int_equal(metrics_write(m, &b), 0);
    snprintf(line, sizeof(line), "\nt_gauge %s\n", expected);
    assert_non_null(strstr(buf_data(&b), line));
    buf_finish(&b);
    metrics_destroy(m);
}

static void numbers_read_back_as_they_were(void **state)
{
    check_gauge(INFINITY, "+Inf");
    check_gauge(-INFINITY, "-Inf");
    check_gauge(NAN, "NaN");
    check_gauge(123456789012.0, "123456789012");
    check_gauge(12345678901.25, "12345678901.25");
    check_gauge(1.0 / 3, "0.3333333333333333");
    check_gauge(-2, "-2");
    check_gauge(1e300, "1e+300");
}

static void the_same_values_are_the_same_cell(void **state)
{
    struct metrics *m = declared();
    struct metric_cell *a = metrics_cell(m, &table[0], (const char *const[]){ "a", "b" });

    assert_ptr_equal(metrics_cell(m, &table[0], (const char *const[]){ "a", "b" }), a);
    assert_ptr_not_equal(metrics_cell(m, &table[0], (const char *const[]){ "ab", "" }), a);
    assert_ptr_not_equal(metrics_cell(m, &table[0], (const char *const[]){ "", "ab" }), a);
    metrics_destroy(m);
}

static void strange_values_stay_text(void **state)
{
    struct metrics *m = declared();
    struct buf b = BUF_INIT(8192);
    char longest[400];

    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    memcpy(longest + 255, "\xC3\xA9", 2); /* the cut falls within it */
    metric_add(metrics_cell(m, &table[0],
                            (const char *const[]){ "\xFF"
                                                   "a",
                                                   longest }),
               1);
    assert_int_equal(metrics_write(m, &b), 0);
    assert_true(is_valid_utf8(buf_data(&b), b.len));
    assert_non_null(strstr(buf_data(&b), "{model=\"?a\",code=\"xxx"));
    buf_finish(&b);
    metrics_destroy(m);
}

static void beyond_the_maximum_cells_are_shared(void **state)
{
    struct metrics *m = declared();
    struct metric_cell *other, *first;
    struct buf b = BUF_INIT(1 << 20);
    char name[32] = "0";

    first = metrics_cell(m, &table[2], (const char *const[]){ name });
    for (int i = 1; i < METRIC_CELLS_MAX; i++) {
        snprintf(name, sizeof(name), "%d", i);
        metrics_cell(m, &table[2], (const char *const[]){ name });
    }
    other = metrics_cell(m, &table[2], (const char *const[]){ "one more" });
    assert_ptr_equal(metrics_cell(m, &table[2], (const char *const[]){ "and another" }), other);
    assert_ptr_equal(metrics_cell(m, &table[2], (const char *const[]){ "0" }), first);
    metric_observe(other, 1);
    assert_int_equal(metrics_write(m, &b), 0);
    assert_non_null(strstr(buf_data(&b), "t_seconds_count{model=\"other\"} 1\n"));
    assert_null(strstr(buf_data(&b), "one more"));
    buf_finish(&b);
    metrics_destroy(m);
}

static void a_model_that_is_gone_is_forgotten(void **state)
{
    struct metrics *m = declared();

    metric_add(metrics_cell(m, &table[0], (const char *const[]){ "gone", "200" }), 1);
    metric_add(metrics_cell(m, &table[0], (const char *const[]){ "stays", "gone" }), 2);
    metric_add(metrics_cell(m, &table[0], (const char *const[]){ "gone", "404" }), 3);
    metrics_cell(m, &table[2], (const char *const[]){ "gone" });
    metrics_forget(m, "model", "gone");
    check_text(m, HELP_TOTAL "t_total{model=\"stays\",code=\"gone\"} 2\n" HELP_GAUGE
                             "t_gauge 0\n" HELP_SECONDS);
    metrics_destroy(m);
}

static void set_nine(void *arg)
{
    metric_set(metrics_cell(arg, &table[1], NULL), 9);
}

static void collectors_run_before_the_text(void **state)
{
    struct metrics *m = declared();
    struct buf small = BUF_INIT(40);

    metrics_on_collect(m, set_nine, m);
    check_text(m, HELP_TOTAL HELP_GAUGE "t_gauge 9\n" HELP_SECONDS);
    assert_int_equal(metrics_write(m, &small), -EFBIG);
    buf_finish(&small);
    metrics_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_the_text_format),
        cmocka_unit_test(numbers_read_back_as_they_were),
        cmocka_unit_test(the_same_values_are_the_same_cell),
        cmocka_unit_test(strange_values_stay_text),
        cmocka_unit_test(beyond_the_maximum_cells_are_shared),
        cmocka_unit_test(a_model_that_is_gone_is_forgotten),
        cmocka_unit_test(collectors_run_before_the_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
