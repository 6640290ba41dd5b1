// SPDX-License-Identifier: Apache-2.0
/* The ring of samples. */
#include "monitor/series.h"

#include "unit.h"

static void test_grows_and_forgets(void **state)
{
    struct series s;

    series_init(&s, sizeof(int), 3);
    assert_null(series_at(&s, 0));
    assert_null(series_last(&s));
    assert_null(s.ring); /* no memory before the first sample */
    for (int i = 1; i <= 5; i++) {
        series_add(&s, &i);
        assert_int_equal(*(const int *)series_last(&s), i);
        assert_int_equal(s.count, i < 3 ? i : 3);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(*(const int *)series_at(&s, (size_t)i), 3 + i);
    }
    assert_null(series_at(&s, 3));
    series_finish(&s);
    assert_null(s.ring);
    assert_null(series_last(&s));
    series_add(&s, &(int){ 9 });
    assert_int_equal(*(const int *)series_at(&s, 0), 9);
    series_finish(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_grows_and_forgets) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
