// SPDX-License-Identifier: Apache-2.0
/* The ring keeps the latest, latest first, and no more than it may. */
#include "unit.h"

#include "gateway/history.h"

static void add(struct history *h, int n)
{
    struct request_record r = { .status = n };

    history_add(h, &r);
}

/* After n records: the latest first, none beyond what is kept. */
static void check(const struct history *h, int n)
{
    int kept = n < HISTORY_KEPT ? n : HISTORY_KEPT;

    for (int i = 0; i < kept; i++) {
        assert_non_null(history_at(h, (size_t)i));
        assert_int_equal(history_at(h, (size_t)i)->status, n - i);
    }
    assert_null(history_at(h, (size_t)kept));
    assert_null(history_at(h, SIZE_MAX));
}

static void keeps_the_latest(void **state)
{
    struct history *h = history_create();

    check(h, 0);
    for (int n = 1; n <= 2 * HISTORY_KEPT + 7; n++) {
        add(h, n);
        if (n < 100 || n % 97 == 0 || (n > HISTORY_KEPT - 3 && n < HISTORY_KEPT + 3)) {
            check(h, n);
        }
    }
    check(h, 2 * HISTORY_KEPT + 7);
    assert_null(history_destroy(h));
    assert_null(history_destroy(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_latest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
