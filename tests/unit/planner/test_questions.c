// SPDX-License-Identifier: Apache-2.0
/* What a question may ask of the search: limits, loads, numbers that it names. */
#include "unit.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "questions.h"

/* ---- what a question may ask ---- */

static void test_end_to_end_limit(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM");
    struct planner_question q = plain;
    struct planner_findings f;

    q.slo_tpot_s = 0;
    q.slo_e2e_s = 5;
    f = ask(&s, &q);
    assert_true(f.count > 0 && f.candidates[0].meets_slo);
    for (size_t i = 0; i < f.count; i++) {
        assert_true(f.candidates[i].meets_slo == (f.candidates[i].result.e2e_s <= 5));
    }
    planner_findings_finish(&f);
}

/* So many tokens/s and no fewer: the number of replicas that gives them is among those tried, even
 * where powers of two pass it by. */
static void test_least_throughput(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-8B", "H100-SXM");
    struct planner_question q = plain;
    struct planner_findings f;
    double one;

    q.max_chips = 256;
    q.tp = q.pp = 1;
    q.objective = PLANNER_CHIPS;
    f = ask(&s, &q);
    one = f.candidates[0].result.output_tokens_ps;
    assert_int_equal(f.candidates[0].result.chips, 1);
    planner_findings_finish(&f);
    q.min_tokens_ps = 36.5 * one;
    f = ask(&s, &q);
    assert_int_equal(f.candidates[0].result.chips, 37);
    assert_true(f.candidates[0].meets_slo);
    for (size_t i = 0; i < f.count; i++) {
        assert_true(f.candidates[i].meets_slo ==
                    (f.candidates[i].result.output_tokens_ps >= q.min_tokens_ps));
    }
    planner_findings_finish(&f);
}

/* The fewest chips under a rate: one replica less breaks the SLO or is overrun. */
static void test_fewest_chips_for_a_rate(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-8B", "H100-SXM");
    struct planner_question q = plain;
    struct planner_findings f, less;
    struct planner_plan p;

    q.max_chips = 200;
    q.rate_per_s = 700;
    q.tp = q.pp = 1;
    q.objective = PLANNER_CHIPS;
    f = ask(&s, &q);
    assert_true(f.candidates[0].meets_slo && f.candidates[0].plan.replicas > 16);
    assert_true(f.refused_by[PLANNER_UNSUSTAINABLE] > 0);
    p = f.candidates[0].plan;
    p.replicas--;
    planner_try(&s, &q, &p, &none, &less);
    assert_true(less.count == 0 || !less.candidates[0].meets_slo);
    assert_true(fabs(f.candidates[0].result.requests_ps - 700) < 1e-6);
    planner_findings_finish(&less);
    planner_findings_finish(&f);
}

static void test_given_concurrency(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM");
    struct planner_question q = plain;
    struct planner_findings f;

    q.concurrency = 40;
    f = ask(&s, &q);
    assert_true(f.count > 4);
    for (size_t i = 0; i < f.count; i++) {
        assert_true(f.candidates[i].concurrency == 40);
        assert_true(f.candidates[i].plan.replicas <= 40);
    }
    planner_findings_finish(&f);
}

static void test_memory_share(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM");
    struct planner_question q = plain;
    struct planner_findings all, half;

    q.slo_tpot_s = 0;
    all = ask(&s, &q);
    q.max_memory_share = 0.5;
    half = ask(&s, &q);
    assert_true(half.count > 0 && half.count < all.count);
    assert_true(half.refused_by[PLANNER_WEIGHTS] > all.refused_by[PLANNER_WEIGHTS]);
    for (size_t i = 0; i < half.count; i++) {
        const struct planner_result *r = &half.candidates[i].result;

        assert_true(r->weights_bytes + r->activation_bytes + r->fixed_bytes + r->kv_used_bytes <=
                    0.5 * r->memory_bytes * 1.000001);
    }
    planner_findings_finish(&half);
    planner_findings_finish(&all);
}

static void test_named_numbers(void **state)
{
    const struct planner_setup s = setup("DeepSeek-V3", "H200-SXM");
    struct planner_question q = plain;
    struct planner_findings f;

    q.max_chips = 64;
    q.moe_tp = 2;
    q.replicas = 3;
    f = ask(&s, &q);
    assert_true(f.count > 0);
    for (size_t i = 0; i < f.count; i++) {
        const struct planner_plan *p = &f.candidates[i].plan;

        assert_true(p->moe_tp == 2 && p->replicas == 3 && p->tp * p->adp == p->moe_tp * p->ep);
        assert_true(planner_plan_chips(p) <= 64);
    }
    planner_findings_finish(&f);
    q = plain; /* three cards, as nobody builds them */
    q.tp = 3;
    q.pp = 5;
    q.max_chips = 15;
    f = ask(&s, &q);
    assert_int_equal(f.count, 0); /* 128 heads */
    planner_findings_finish(&f);
}

static void test_sequence_parallel(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM");
    struct planner_question q = plain;
    struct planner_findings f;
    size_t with = 0;

    q.sp = true;
    f = ask(&s, &q);
    for (size_t i = 0; i < f.count; i++) {
        assert_true(!f.candidates[i].plan.sp || f.candidates[i].plan.tp > 1);
        with += f.candidates[i].plan.sp;
    }
    assert_true(with > 0 && with < f.count);
    planner_findings_finish(&f);
}

static double best(const struct planner_setup *s, const struct planner_question *q)
{
    struct planner_findings f = ask(s, q);
    const double x = f.candidates[0].result.output_tokens_ps_chip;

    assert_true(f.candidates[0].meets_slo);
    planner_findings_finish(&f);
    return x;
}

/* Drafts that are taken help under a tight SLO, lengths that vary cost, and a cache saves. */
static void test_load_reaches_the_plans(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM");
    struct planner_question q = plain;
    double before;

    q.slo_tpot_s = 0.012;
    before = best(&s, &q);
    q.draft_tokens = 3;
    q.acceptance = 0.9;
    q.draft_share = 0.02;
    assert_true(best(&s, &q) > 1.2 * before);
    q.draft_tokens = 0;
    q.slo_tpot_s = 0.05;
    before = best(&s, &q);
    q.isl_cv = q.osl_cv = 1;
    assert_true(best(&s, &q) < before);
    q.isl_cv = q.osl_cv = 0;
    q.prefix_hit = 0.9;
    assert_true(best(&s, &q) > before);
    q.prefix_hit = 0;
    q.chunk_tokens = 64;
    assert_true(best(&s, &q) != before);
}

static void test_layers_and_heads(void **state)
{
    const struct planner_setup even = setup("DeepSeek-V3", "H200-SXM"); /* 61 layers */
    const struct planner_setup heads = setup("Phi-4", "H100-SXM");      /* 10 KV heads */
    struct planner_question q = plain;
    struct planner_findings f;
    bool uneven = false, four = false;

    q.max_chips = 16;
    f = ask(&even, &q);
    for (size_t i = 0; i < f.count; i++) {
        uneven = uneven || f.candidates[i].plan.pp > 1;
    }
    assert_true(uneven);
    planner_findings_finish(&f);
    q.even_layers = true;
    f = ask(&even, &q);
    for (size_t i = 0; i < f.count; i++) {
        assert_int_equal(f.candidates[i].plan.pp, 1);
    }
    planner_findings_finish(&f);
    q = plain;
    f = ask(&heads, &q);
    for (size_t i = 0; i < f.count; i++) {
        assert_true(f.candidates[i].plan.tp <= 2);
    }
    planner_findings_finish(&f);
    q.any_heads = true;
    f = ask(&heads, &q);
    for (size_t i = 0; i < f.count; i++) {
        four = four || f.candidates[i].plan.tp == 4;
    }
    assert_true(four);
    planner_findings_finish(&f);
}

static bool offers(const struct planner_setup *s, unsigned tp, unsigned ep, unsigned moe_tp)
{
    struct planner_question q = plain;
    struct planner_findings f;
    bool found = false;

    q.tp = tp;
    q.ep = ep;
    q.moe_tp = moe_tp;
    f = ask(s, &q);
    found = f.tried > 0;
    planner_findings_finish(&f);
    return found;
}

/* Slices of an expert that engines take: in blocks of 128 the 1536 columns of Qwen3-235B's are for
 * four chips, not for eight, and engines without blocks take 64; GPT-OSS's 2880 are padded. */
static void test_slices_as_engines_take_them(void **state)
{
    struct planner_setup s = setup("Qwen3-235B-A22B", "H200-SXM");

    assert_true(offers(&s, 4, 1, 4));
    assert_false(offers(&s, 8, 1, 8));
    assert_true(offers(&s, 8, 2, 4));
    planner_setup_init(&s, planner_find_model("Qwen3-235B-A22B"), planner_find_chip("H200-SXM"),
                       PLANNER_ENGINE_TRTLLM, PLANNER_FP8, PLANNER_KV_AUTO, NULL);
    assert_true(offers(&s, 8, 1, 8));
    s = setup("DeepSeek-V3", "H200-SXM");
    assert_true(offers(&s, 8, 1, 8));
    planner_setup_init(&s, planner_find_model("GPT-OSS-120B"), planner_find_chip("H100-SXM"),
                       PLANNER_ENGINE_VLLM, PLANNER_MXFP4, PLANNER_KV_AUTO, NULL);
    for (unsigned tp = 2; tp <= 8; tp *= 2) {
        assert_true(offers(&s, tp, 1, tp));
        assert_true(offers(&s, tp, tp, 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_end_to_end_limit),
        cmocka_unit_test(test_least_throughput),
        cmocka_unit_test(test_fewest_chips_for_a_rate),
        cmocka_unit_test(test_given_concurrency),
        cmocka_unit_test(test_memory_share),
        cmocka_unit_test(test_named_numbers),
        cmocka_unit_test(test_sequence_parallel),
        cmocka_unit_test(test_load_reaches_the_plans),
        cmocka_unit_test(test_layers_and_heads),
        cmocka_unit_test(test_slices_as_engines_take_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
