// SPDX-License-Identifier: Apache-2.0
/* The search: what it offers, in which order, and that it says the same every time. */
#include "unit.h"

#include <string.h>

#include "planner/planner.h"

static struct planner_setup setup(const char *model, const char *chip)
{
    struct planner_setup s;

    planner_setup_init(&s, planner_find_model(model), planner_find_chip(chip), PLANNER_ENGINE_VLLM,
                       PLANNER_FP8, PLANNER_KV_AUTO, NULL);
    return s;
}

static const struct planner_question plain = {
    .max_chips = 8, .isl = 1024, .osl = 256, .slo_tpot_s = 0.050
};

/* The SLO is kept to the last request: one more breaks it, or memory. */
static void test_largest_batch_in_the_slo(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM");
    struct planner_findings f;

    planner_search(&s, &plain, &f);
    assert_true(f.count > 4);
    for (size_t i = 0; i < f.count; i++) {
        const struct planner_candidate *c = &f.candidates[i];
        struct planner_load load = { .kind = PLANNER_CLOSED_LOOP, .isl = 1024, .osl = 256 };
        struct planner_plan one = c->plan;
        struct planner_result r;

        assert_true(c->meets_slo && c->result.tpot_s <= 0.050);
        one.replicas = 1;
        load.concurrency = c->concurrency / c->plan.replicas + 1;
        planner_evaluate(&s, &one, &load, &r);
        assert_true(r.tpot_s > 0.050 || r.running < load.concurrency || load.concurrency > 4096);
    }
    planner_findings_finish(&f);
}

/* Fewer chips than there are is an answer too, and refusals are counted and shown. */
static void test_offers_fewer_chips(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM");
    bool small = false, full = false;
    struct planner_findings f;

    planner_search(&s, &plain, &f);
    for (size_t i = 0; i < f.count; i++) {
        small = small || f.candidates[i].result.chips == 2;
        full = full || f.candidates[i].result.chips == 8;
        assert_true(f.candidates[i].result.chips <= 8);
        assert_int_equal(f.candidates[i].result.chips, planner_plan_chips(&f.candidates[i].plan));
    }
    assert_true(small && full);
    assert_int_equal(f.tried, f.count + f.refused);
    planner_findings_finish(&f);
}

static void test_ranked_by_objective(void **state)
{
    const struct planner_setup s = setup("Qwen3-235B-A22B", "H100-SXM");
    struct planner_question q = plain;
    struct planner_findings f;

    for (int o = 0; o < PLANNER_OBJECTIVE_MAX_; o++) {
        q.objective = (enum planner_objective)o;
        planner_search(&s, &q, &f);
        assert_true(f.count > 1);
        for (size_t i = 1; i < f.count; i++) {
            const struct planner_result *a = &f.candidates[i - 1].result;
            const struct planner_result *b = &f.candidates[i].result;

            assert_true(f.candidates[i - 1].meets_slo >= f.candidates[i].meets_slo);
            if (!f.candidates[i].meets_slo) {
                continue;
            }
            assert_true(o != PLANNER_COST || a->output_tokens_ps_chip >= b->output_tokens_ps_chip);
            assert_true(o != PLANNER_THROUGHPUT || a->output_tokens_ps >= b->output_tokens_ps);
            assert_true(o != PLANNER_LATENCY || a->tpot_s <= b->tpot_s);
        }
        planner_findings_finish(&f);
    }
}

/* No plan beats one on the front in both, and each that is not on it is beaten or equalled. */
static void test_front(void **state)
{
    const struct planner_setup s = setup("Qwen3-235B-A22B", "H200-SXM");
    struct planner_question q = plain;
    struct planner_findings f;
    size_t on = 0;

    q.max_chips = 16;
    planner_search(&s, &q, &f);
    for (size_t i = 0; i < f.count; i++) {
        const struct planner_result *a = &f.candidates[i].result;
        bool beaten = false, equalled = false;

        for (size_t j = 0; j < f.count; j++) {
            const struct planner_result *b = &f.candidates[j].result;
            const bool chip = b->output_tokens_ps_chip >= a->output_tokens_ps_chip;
            const bool user = b->output_tokens_ps_user >= a->output_tokens_ps_user;
            const bool more = b->output_tokens_ps_chip > a->output_tokens_ps_chip ||
                              b->output_tokens_ps_user > a->output_tokens_ps_user;

            beaten = beaten || (chip && user && more);
            equalled = equalled || (i != j && chip && user);
        }
        assert_true(f.candidates[i].pareto ? !beaten : equalled);
        on += f.candidates[i].pareto;
    }
    assert_true(on > 1);
    planner_findings_finish(&f);
}

static void test_nearest_when_no_plan_meets_it(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM");
    struct planner_question q = plain;
    struct planner_findings f;

    q.slo_tpot_s = 0.0001;
    planner_search(&s, &q, &f);
    assert_true(f.count > 1 && !f.candidates[0].meets_slo);
    assert_true(f.candidates[0].slo_excess > 1);
    assert_true(f.candidates[0].slo_excess <= f.candidates[1].slo_excess);
    planner_findings_finish(&f);
}

static void test_constraints(void **state)
{
    const struct planner_setup s = setup("DeepSeek-V3", "H200-SXM");
    struct planner_question q = plain;
    struct planner_findings f;

    q.tp = 8;
    q.ep = 8;
    q.max_chips = 16;
    planner_search(&s, &q, &f);
    assert_true(f.count > 0);
    for (size_t i = 0; i < f.count; i++) {
        assert_true(f.candidates[i].plan.tp == 8 && f.candidates[i].plan.ep == 8);
    }
    planner_findings_finish(&f);
    q.tp = 16; /* leaves the domain of fast links */
    q.ep = 0;
    planner_search(&s, &q, &f);
    assert_int_equal(f.count, 0);
    planner_findings_finish(&f);
    q.across_nodes = true;
    planner_search(&s, &q, &f);
    assert_true(f.count > 0);
    planner_findings_finish(&f);
}

static void test_nothing_fits(void **state)
{
    const struct planner_setup s = setup("DeepSeek-V3", "RTX-4090");
    struct planner_findings f;

    planner_search(&s, &plain, &f);
    assert_int_equal(f.count, 0);
    assert_true(f.refused_by[PLANNER_WEIGHTS] > 0);
    assert_int_equal(f.refused_example[PLANNER_WEIGHTS].result.bound, PLANNER_WEIGHTS);
    planner_findings_finish(&f);
}

static void test_same_answer_twice(void **state)
{
    const struct planner_setup s = setup("DeepSeek-V3", "H200-SXM");
    struct planner_question q = plain;
    struct planner_findings a, b;

    q.max_chips = 64;
    planner_search(&s, &q, &a);
    planner_search(&s, &q, &b);
    assert_true(a.count > 10);
    assert_int_equal(a.count, b.count);
    for (size_t i = 0; i < a.count; i++) {
        assert_memory_equal(&a.candidates[i].plan, &b.candidates[i].plan,
                            sizeof(struct planner_plan));
        assert_true(a.candidates[i].result.tpot_s == b.candidates[i].result.tpot_s);
    }
    planner_findings_finish(&a);
    planner_findings_finish(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_largest_batch_in_the_slo),
        cmocka_unit_test(test_offers_fewer_chips),
        cmocka_unit_test(test_ranked_by_objective),
        cmocka_unit_test(test_front),
        cmocka_unit_test(test_nearest_when_no_plan_meets_it),
        cmocka_unit_test(test_constraints),
        cmocka_unit_test(test_nothing_fits),
        cmocka_unit_test(test_same_answer_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
