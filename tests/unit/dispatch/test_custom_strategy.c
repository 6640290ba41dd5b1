// SPDX-License-Identifier: Apache-2.0
/* The worked example of examples/custom_strategy.c does what it says, and keeps to the rules. */
#include "properties.h"

extern const struct strategy steady;

static int choose(const struct candidate *c, size_t count)
{
    return steady.choose(c, count, &(struct choice){ .tokens = 1 });
}

static void it_does_not_wander_for_little(void **state)
{
    struct candidate c[] = {
        { .uuid = "a", .cap = 4, .weight = 1, .wait_ms = 0 },
        { .uuid = "b", .cap = 4, .weight = 8, .wait_ms = 50 },
        { .uuid = "c", .cap = 4, .weight = 4, .wait_ms = 0 },
    };

    assert_int_equal(choose(c, 3), 1);
    c[1].wait_ms = 51;
    assert_int_equal(choose(c, 3), 0);
    c[1].wait_ms = 0;
    c[1].in_flight = 4;
    assert_int_equal(choose(c, 3), 2);
}

static void it_keeps_to_the_rules(void **state)
{
    struct world *w = sim_create(test_seed("it_keeps_to_the_rules"));

    check_properties(w, &steady, 20000);
    world_destroy(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_does_not_wander_for_little),
        cmocka_unit_test(it_keeps_to_the_rules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
