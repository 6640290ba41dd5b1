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

struct tally {
    unsigned cases, optimal;
    double worst;
};

static void judge(const struct policy_case *c, uint64_t seed, struct tally *free,
                  struct tally *kept, unsigned *hard)
{
    struct policy_plan plan;
    struct reference_value best = policy_reference_best(c), got;
    struct tally *tally;
    double share;

    policy_decide(&c->snapshot, &plan);
    got = policy_reference_of_plan(c, &plan);
    share = policy_reference_share(&got, &best);
    tally = policy_reference_is_kept(&plan) ? kept : free;
    assert_true(policy_reference_compare(&got, &best) <= 0); /* the best is the best */
    if (policy_reference_compare(&got, &best) == 0) {
        tally->optimal++;
    } else if (tally == free) {
        printf("SEED=%llu: %.0f %% of the best\n", (unsigned long long)seed, 100 * share);
    }
    tally->cases++;
    tally->worst = share < tally->worst ? share : tally->worst;
    *hard += !all_placed(c, &best);
    policy_plan_finish(&plan);
}

static void print_tally(const char *what, const struct tally *t)
{
    printf("%u cases %s: %.1f %% optimal, the worst %.1f %% of the best\n", t->cases, what,
           100.0 * t->optimal / t->cases, 100 * t->worst);
}

static void plans_reach_the_best_value(void **state)
{
    uint64_t seed = test_seed("optimal");
    struct tally free = { .worst = 1 }, kept = { .worst = 1 };
    unsigned hard = 0;

    for (uint64_t n = 0; n < CASES; n++) {
        struct policy_case c;

        policy_case_make(&c, seed + n);
        judge(&c, seed + n, &free, &kept, &hard);
    }
    printf("%d cases, %u of them with too little room for all\n", CASES, hard);
    print_tally("in which nothing is kept", &free);
    print_tally("in which a device is kept for one that only time keeps out", &kept);
    assert_true(hard > CASES / 4);
    assert_true(free.cases > CASES / 2);
    assert_true(free.optimal + kept.optimal >= 0.95 * CASES);
    assert_true(free.worst >= 0.9);
}

/* What the header says of the value, and what the policy computes, are the same. */
static void the_value_is_the_stated_one(void **state)
{
    uint64_t seed = test_seed("value");

    for (uint64_t n = 0; n < 100; n++) {
        struct policy_case c;
        struct policy_action gone[CASE_MODELS];
        struct policy_plan plan = { .actions = gone };
        struct reference_value expected;
        struct policy_value value;
        bool up[CASE_MODELS];

        policy_case_make(&c, seed + n);
        for (size_t i = 0; i < c.snapshot.instance_count; i++) {
            up[i] = c.instances[i].place.count > 0 && (seed + n + i) % 3 != 0;
            if (c.instances[i].place.count > 0 && !up[i]) {
                gone[plan.action_count++] =
                    (struct policy_action){ .kind = POLICY_DISPLACE, .instance = i };
            }
        }
        value = policy_value_of(&c.snapshot, up);
        expected = policy_reference_of_plan(&c, &plan);
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
