// SPDX-License-Identifier: Apache-2.0
/* How good the policy's plans are: beside the best of all plans, on small random cases. */
#include "unit.h"

#include "policy_reference.h"

enum { CASES = 2000 };

static bool all_placed(const struct policy_case *c, const struct reference_value *best)
{
    double sum = 0, all = 0;

    for (int k = 0; k < POLICY_CLASSES; k++) {
        sum += best->requests[k];
    }
    for (size_t n = 0; n < c->snapshot.instance_count; n++) {
        all += 1.0 + c->instances[n].in_flight + c->instances[n].waiting;
    }
    return sum >= all;
}

static void plans_reach_the_best_value(void **state)
{
    uint64_t seed = test_seed("optimal");
    unsigned optimal = 0, hard = 0;
    double worst = 1;

    for (uint64_t n = 0; n < CASES; n++) {
        struct policy_case c;
        struct policy_plan plan;
        struct reference_value best, got;
        double share;

        policy_case_make(&c, seed + n);
        policy_decide(&c.snapshot, &plan);
        best = policy_reference_best(&c);
        got = policy_reference_of_plan(&c, &plan);
        share = policy_reference_share(&got, &best);
        assert_true(policy_reference_compare(&got, &best) <= 0); /* the best is the best */
        hard += !all_placed(&c, &best);
        if (policy_reference_compare(&got, &best) == 0) {
            optimal++;
        } else {
            printf("SEED=%llu: %.0f %% of the best\n", (unsigned long long)(seed + n), 100 * share);
        }
        worst = share < worst ? share : worst;
        policy_plan_finish(&plan);
    }
    printf(
        "%d cases, %u of them with too little room for all: %.1f %% optimal, the worst %.1f %%\n",
        CASES, hard, 100.0 * optimal / CASES, 100 * worst);
    assert_true(hard > CASES / 4);
    assert_true(optimal >= 0.95 * CASES);
    assert_true(worst >= 0.9);
}

/* What the header says of the value, and what the policy computes, are the same. */
static void the_value_is_the_stated_one(void **state)
{
    uint64_t seed = test_seed("value");

    for (uint64_t n = 0; n < 100; n++) {
        struct policy_case c;
        struct policy_plan none = { 0 };
        struct reference_value expected;
        struct policy_value value;
        bool up[CASE_MODELS];

        policy_case_make(&c, seed + n);
        for (size_t i = 0; i < c.snapshot.instance_count; i++) {
            up[i] = c.instances[i].state == POLICY_READY;
        }
        value = policy_value_of(&c.snapshot, up);
        expected = policy_reference_of_plan(&c, &none);
        for (int k = 0; k < POLICY_CLASSES; k++) {
            assert_float_equal(value.served[k], expected.requests[k], 1e-9);
        }
        assert_float_equal(value.reload_s, expected.cost, 1e-9);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_reach_the_best_value),
        cmocka_unit_test(the_value_is_the_stated_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
