// SPDX-License-Identifier: Apache-2.0
/* Scores and the front: formulas as the header states them, strictly monotone, never stuck at an
 * end; the front against the definition, on random sets with many ties. */
#include "unit.h"

#include <math.h>
#include <stdlib.h>

#include "planner/search_int.h"

static struct planner_setup setup(void)
{
    struct planner_setup s;

    planner_setup_init(&s, planner_find_model("Llama-3.1-70B"), planner_find_chip("H100-SXM"),
                       PLANNER_ENGINE_VLLM, PLANNER_FP8, PLANNER_KV_AUTO, NULL);
    return s;
}

static struct planner_candidate candidate(void)
{
    return (struct planner_candidate){
        .plan = { 4, 3, 1, 1, 1, 1, false },
        .meets_slo = true,
        .result = { .chips = 12,
                    .tpot_s = 0.02,
                    .ttft_s = 0.5,
                    .output_tokens_ps = 1200,
                    .output_tokens_ps_chip = 100,
                    .mfu = 0.2,
                    .mbu = 0.5,
                    .bubble = 0.25,
                    .decode_work_s = { [PLANNER_WORK_GEMM] = 3, [PLANNER_WORK_COMM] = 1 } },
    };
}

static void assert_near(double got, double wanted)
{
    if (!(fabs(got - wanted) <= 1e-9 * fabs(wanted))) {
        print_error("got %.12g, wanted %.12g\n", got, wanted);
        fail();
    }
}

static void test_formulas(void **state)
{
    const struct planner_setup s = setup();
    struct planner_question q = { .max_chips = 16, .slo_tpot_s = 0.04, .slo_ttft_s = 2 };
    struct planner_candidate c = candidate();
    const double ideal = s.peak_flops / (2 * planner_active_params(s.model));

    planner_score_candidate(&s, &q, &c);
    assert_near(c.scores.latency, 100 / (1 + (0.5 + 0.25) / 2));
    assert_near(c.scores.throughput, 100 * 1200 / (1200 + 1.6 * ideal));
    assert_near(c.scores.efficiency, 100 * 0.32 / 0.82);
    /* 80 layers on 3 stages: 27 on the fullest */
    assert_near(c.scores.balance, 100 * 0.75 * (80.0 / 81) * 0.75);
    assert_near(c.score, 50 + 50 * 100 / (100 + 0.1 * ideal));
    q.slo_tpot_s = q.slo_ttft_s = 0;
    planner_score_candidate(&s, &q, &c);
    assert_near(c.scores.latency, 100 / (1 + (0.4 + 0.5) / 2));
    c.meets_slo = false;
    c.slo_excess = 2;
    planner_score_candidate(&s, &q, &c);
    assert_near(c.score, 25);
}

/* From what nobody reaches to what nobody bears: each step is seen, and no end is hit. */
static void test_never_stuck(void **state)
{
    const struct planner_setup s = setup();
    const struct planner_question q = { .max_chips = 16 };
    struct planner_scores before = { 0 };
    double x = 1e-4;

    for (int i = 0; i < 375; i++, x *= 1.05) {
        struct planner_candidate c = candidate();

        c.result.tpot_s = c.result.ttft_s = 0.1 / x;
        c.result.output_tokens_ps = 1000 * x;
        c.result.mfu = c.result.mbu = x; /* also above 1 */
        c.result.bubble = 1 / (1 + x);
        planner_score_candidate(&s, &q, &c);
        assert_true(c.scores.latency > before.latency && c.scores.latency < 100);
        assert_true(c.scores.throughput > before.throughput && c.scores.throughput < 100);
        assert_true(c.scores.efficiency > before.efficiency && c.scores.efficiency < 100);
        assert_true(c.scores.balance > before.balance && c.scores.balance < 100);
        before = c.scores;
    }
}

static uint64_t next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return *seed >> 33;
}

static bool is_beaten(const struct planner_candidate *a, const struct planner_candidate *b)
{
    const struct planner_result *x = &a->result, *y = &b->result;

    return y->output_tokens_ps_chip >= x->output_tokens_ps_chip &&
           y->output_tokens_ps_user >= x->output_tokens_ps_user &&
           (y->output_tokens_ps_chip > x->output_tokens_ps_chip ||
            y->output_tokens_ps_user > x->output_tokens_ps_user);
}

static bool is_alike(const struct planner_candidate *a, const struct planner_candidate *b)
{
    return a->result.output_tokens_ps_chip == b->result.output_tokens_ps_chip &&
           a->result.output_tokens_ps_user == b->result.output_tokens_ps_user;
}

/* Against the definition: nobody beats it, and of those alike it has the fewest chips. */
static void test_random_front(void **state)
{
    uint64_t seed = test_seed("front");

    for (int round = 0; round < 3000; round++) {
        struct planner_candidate c[40] = { 0 };
        const size_t count = next(&seed) % 40;

        for (size_t i = 0; i < count; i++) {
            c[i].result.output_tokens_ps_chip = (double)(next(&seed) % 12);
            c[i].result.output_tokens_ps_user = (double)(next(&seed) % 12);
            c[i].result.chips = (unsigned)i + 1; /* no two are the same */
            c[i].pareto = next(&seed) % 2;
        }
        planner_mark_front(c, count);
        for (size_t i = 0; i < count; i++) {
            bool wanted = true;

            for (size_t j = 0; j < count; j++) {
                wanted = wanted && !is_beaten(&c[i], &c[j]) && !(j < i && is_alike(&c[i], &c[j]));
            }
            assert_true(c[i].pareto == wanted);
        }
    }
}

/* The order does not hang on the order in which plans were found. */
static void test_random_order(void **state)
{
    uint64_t seed = test_seed("order");
    struct planner_candidate a[60] = { 0 }, b[60];

    for (int round = 0; round < 500; round++) {
        for (unsigned i = 0; i < 60; i++) {
            a[i].score = (double)(next(&seed) % 9);
            a[i].result.ttft_s = (double)(next(&seed) % 3);
            a[i].plan.tp = 1 + i % 8;
            a[i].plan.pp = 1 + i / 8;
            a[i].result.chips = (unsigned)(next(&seed) % 4);
            b[i] = a[i];
        }
        for (unsigned i = 59; i > 0; i--) { /* shuffled */
            const size_t j = next(&seed) % (i + 1);
            const struct planner_candidate c = b[i];

            b[i] = b[j];
            b[j] = c;
        }
        planner_rank(a, 60, PLANNER_LATENCY);
        planner_rank(b, 60, PLANNER_LATENCY);
        for (unsigned i = 0; i < 60; i++) {
            assert_true(a[i].plan.tp == b[i].plan.tp && a[i].plan.pp == b[i].plan.pp);
            assert_true(
                i == 0 || a[i - 1].score > a[i].score ||
                (a[i - 1].score == a[i].score && a[i - 1].result.ttft_s <= a[i].result.ttft_s));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formulas),
        cmocka_unit_test(test_never_stuck),
        cmocka_unit_test(test_random_front),
        cmocka_unit_test(test_random_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
