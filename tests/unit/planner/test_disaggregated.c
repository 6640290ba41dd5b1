// SPDX-License-Identifier: Apache-2.0
/* Plans with other chips for the prefill; and questions of every kind, also such as nobody can
 * mean. */
#include "unit.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "questions.h"

/* ---- other chips for the prefill ---- */

static void test_disaggregated(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM");
    struct planner_question q = plain;
    struct planner_findings f;
    size_t apart = 0, more_prefill = 0, more_decode = 0;

    q.isl = 4096;
    q.slo_ttft_s = 2;
    q.max_chips = 16;
    q.disaggregated = true;
    f = ask(&s, &q);
    for (size_t i = 0; i < f.count; i++) {
        const struct planner_candidate *c = &f.candidates[i];
        const struct planner_load load = planner_candidate_load(&q, c);
        struct planner_result r;

        if (c->prefill.replicas == 0) {
            continue;
        }
        apart++;
        assert_int_equal(c->result.chips,
                         planner_plan_chips(&c->plan) + planner_plan_chips(&c->prefill));
        assert_true(c->result.chips <= 16);
        more_prefill += planner_plan_chips(&c->prefill) > planner_plan_chips(&c->plan);
        more_decode += planner_plan_chips(&c->prefill) < planner_plan_chips(&c->plan);
        planner_evaluate(&s, &c->plan, &load, &r); /* what is said is what is computed */
        assert_true(fabs(r.tpot_s - c->result.tpot_s) < 1e-4 * r.tpot_s);
        assert_true(fabs(r.output_tokens_ps - c->result.output_tokens_ps) <
                    0.01 * r.output_tokens_ps);
    }
    assert_true(apart > 4 && more_prefill > 0 && more_decode > 0 && apart < f.count);
    planner_findings_finish(&f);
}

/* One that was found, by itself: the same answer; and with a chip fewer a refusal. */
static void test_try_one(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM");
    struct planner_question q = plain;
    const struct planner_candidate *c;
    struct planner_findings f, one;
    size_t i = 0;

    q.isl = 4096;
    q.concurrency = 64;
    q.max_chips = 16;
    q.disaggregated = true;
    f = ask(&s, &q);
    while (i < f.count && f.candidates[i].prefill.replicas == 0) {
        i++;
    }
    assert_true(i < f.count);
    c = &f.candidates[i];
    planner_try(&s, &q, &c->plan, &c->prefill, &one);
    assert_true(one.count == 1 && one.tried == 1);
    assert_int_equal(one.candidates[0].prefill.replicas, c->prefill.replicas);
    assert_true(one.candidates[0].result.tpot_s == c->result.tpot_s);
    assert_true(one.candidates[0].result.ttft_s == c->result.ttft_s);
    assert_int_equal(one.candidates[0].result.chips, c->result.chips);
    planner_findings_finish(&one);
    q.max_chips = c->result.chips - 1;
    planner_try(&s, &q, &c->plan, &c->prefill, &one);
    assert_int_equal(one.count, 0);
    assert_int_equal(one.refusals[0].result.bound, PLANNER_CHIPS_SHORT);
    planner_findings_finish(&one);
    planner_findings_finish(&f);
}

/* All chips' share of their peak, those of the prefill side included. */
static void test_mfu_of_both_sides(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM");
    const struct planner_load load = { .kind = PLANNER_DISAGGREGATED,
                                       .isl = 1024,
                                       .osl = 256,
                                       .concurrency = 100,
                                       .prefill = { 2, 1, 1, 1, 1, 3, false } };
    const struct planner_plan plan = { 4, 1, 1, 1, 1, 1, false };
    struct planner_result r;
    double useful;

    planner_evaluate(&s, &plan, &load, &r);
    assert_int_equal(r.bound, PLANNER_FITS);
    useful = r.requests_ps * 2 * planner_active_params(s.model) * (1024 + 256);
    assert_true(fabs(r.mfu / (useful / (r.chips * s.peak_flops)) - 1) < 0.1);
}

static struct planner_result with_load(const struct planner_setup *s,
                                       const struct planner_question *q,
                                       const struct planner_candidate *c, unsigned prefills,
                                       double share)
{
    struct planner_load load = planner_candidate_load(q, c);
    struct planner_result r;

    load.prefill.replicas *= prefills;
    load.concurrency *= share;
    planner_evaluate(s, &c->plan, &load, &r);
    return r;
}

/* Of the two sides one is as full as it can be: decode as far as the SLO, memory or the engine lets
 * it (a tenth more requests would be too many), or prefill, and then nobody queues before it for
 * nothing (with half the requests a prefill would be done no sooner). */
static void test_one_side_is_full(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM");
    struct planner_question q = plain;
    struct planner_findings f;
    size_t decode = 0, prefill = 0;

    q.max_chips = 16;
    q.disaggregated = true;
    f = ask(&s, &q);
    for (size_t i = 0; i < f.count; i++) {
        const struct planner_candidate *c = &f.candidates[i];
        struct planner_result r;

        if (c->prefill.replicas == 0) {
            continue;
        }
        r = with_load(&s, &q, c, 64, 1.1);
        if (r.tpot_s > q.slo_tpot_s || r.running > 0.99 * fmin(r.fits_requests, 1024)) {
            decode++;
        } else {
            prefill++;
            assert_true(with_load(&s, &q, c, 1, 1.1).requests_ps <
                        1.001 * (1 + c->plan.replicas / c->concurrency) * c->result.requests_ps);
        }
        r = with_load(&s, &q, c, 1, 0.5);
        assert_true(r.ttft_s - r.tpot_s > 0.95 * (c->result.ttft_s - c->result.tpot_s));
    }
    assert_true(decode > 4 && prefill > 4);
    planner_findings_finish(&f);
}

/* 0 when one of them does not fit. */
static double pair_per_chip(const struct planner_setup *s, const struct planner_question *q,
                            struct planner_plan decode, struct planner_plan prefill)
{
    struct planner_load load = {
        .kind = PLANNER_CLOSED_LOOP, .isl = q->isl, .osl = q->osl, .concurrency = q->concurrency
    };
    struct planner_result r;

    planner_evaluate(s, &prefill, &load, &r);
    if (r.bound != PLANNER_FITS) {
        return 0;
    }
    load.kind = PLANNER_DISAGGREGATED;
    load.prefill = prefill;
    planner_evaluate(s, &decode, &load, &r);
    return r.bound == PLANNER_FITS ? r.output_tokens_ps_chip : 0;
}

/* What is passed over would not have been better: all pairs in all numbers, for one load. */
static void test_pruned_pairs_are_no_better(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM");
    struct planner_question q = plain;
    struct planner_findings f;
    double found = 0, any = 0;

    q.slo_tpot_s = 0;
    q.concurrency = 64;
    q.max_chips = 8;
    q.disaggregated = true;
    f = ask(&s, &q);
    assert_true(f.pruned > 0);
    for (size_t i = 0; i < f.count; i++) {
        if (f.candidates[i].prefill.replicas > 0) {
            found = fmax(found, f.candidates[i].result.output_tokens_ps_chip);
        }
    }
    planner_findings_finish(&f);
    for (unsigned a = 0; a < 81; a++) { /* tp and pp to 4 of both sides */
        for (unsigned n = 0; n < 64; n++) {
            const struct planner_plan d = {
                1U << a % 3, 1U << a / 3 % 3, 1, 1, 1, 1 + n % 8, false
            };
            const struct planner_plan p = {
                1U << a / 9 % 3, 1U << a / 27, 1, 1, 1, 1 + n / 8, false
            };

            if (planner_plan_chips(&d) + planner_plan_chips(&p) <= 8) {
                any = fmax(any, pair_per_chip(&s, &q, d, p));
            }
        }
    }
    print_message("found %.1f, of all %.1f tokens/s a chip\n", found, any);
    assert_true(any > 0 && found >= 0.99 * any);
}

static double most_apart(const struct planner_setup *s, const struct planner_question *q)
{
    struct planner_findings f = ask(s, q);
    double most = 0;

    for (size_t i = 0; i < f.count; i++) {
        if (f.candidates[i].prefill.replicas > 0) {
            most = fmax(most, f.candidates[i].result.output_tokens_ps);
        }
    }
    planner_findings_finish(&f);
    return most;
}

/* Where there may be one decode replica only, a large one that two small ones would beat is not
 * passed over: naming its numbers finds nothing better. */
static void test_named_replicas_prune_less(void **state)
{
    const struct planner_setup s = setup("Qwen3-30B-A3B", "H200-SXM");
    struct planner_question q = plain;
    double any;

    q.isl = 500;
    q.disaggregated = true;
    q.replicas = 1;
    q.max_chips = 64;
    any = most_apart(&s, &q);
    q.tp = 1;
    for (q.pp = 1; q.pp <= 16; q.pp *= 2) {
        assert_true(most_apart(&s, &q) <= 1.001 * any);
    }
}

static void test_disaggregated_under_a_rate(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM");
    struct planner_question q = plain;
    struct planner_findings f;
    size_t apart = 0;

    q.max_chips = 32;
    q.rate_per_s = 10;
    q.disaggregated = true;
    f = ask(&s, &q);
    for (size_t i = 0; i < f.count; i++) {
        apart += f.candidates[i].prefill.replicas > 0;
        assert_true(f.candidates[i].result.requests_ps >= 9.9);
        assert_true(f.candidates[i].result.requests_ps <= 10.2);
    }
    assert_true(apart > 0);
    planner_findings_finish(&f);
}

/* ---- any question ---- */

static uint64_t next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return *seed >> 33;
}

/* One of the values; the first ones are the likelier. */
static double pick(uint64_t *seed, double a, double b, double c)
{
    const uint64_t n = next(seed) % 8;

    return n < 5 ? a : n < 7 ? b : c;
}

static struct planner_question random_question(uint64_t *seed)
{
    return (struct planner_question){
        .max_chips = 1 + (unsigned)(next(seed) % (next(seed) % 4 ? 16 : 300)),
        .isl = pick(seed, 1000, 1, 30000),
        .osl = pick(seed, 200, 1, 5000),
        .prefix_hit = pick(seed, 0, 0.5, 1),
        .slo_ttft_s = pick(seed, 0, 1, 0.01),
        .slo_tpot_s = pick(seed, 0, 0.05, 0.001),
        .slo_e2e_s = pick(seed, 0, 10, 0.1),
        .concurrency = pick(seed, 0, 30, 0.5),
        .rate_per_s = pick(seed, 0, 3, 500),
        .isl_cv = pick(seed, 0, 0.5, 2),
        .osl_cv = pick(seed, 0, 0.5, 2),
        .draft_tokens = (unsigned)pick(seed, 0, 2, 8),
        .chunk_tokens = (unsigned)pick(seed, 0, 512, 16),
        .acceptance = pick(seed, 0.7, 0, 1),
        .tp = (unsigned)pick(seed, 0, 4, 3),
        .pp = (unsigned)pick(seed, 0, 2, 7),
        .ep = (unsigned)pick(seed, 0, 0, 4),
        .moe_tp = (unsigned)pick(seed, 0, 0, 2),
        .replicas = (unsigned)pick(seed, 0, 0, 2),
        .sp = next(seed) % 2,
        .disaggregated = next(seed) % 2,
        .across_nodes = next(seed) % 2,
        .any_heads = next(seed) % 2,
        .even_layers = next(seed) % 4 == 0,
        .min_tokens_ps = pick(seed, 0, 1000, 1e9),
        .max_memory_share = pick(seed, 0, 0.8, 0.3),
        .objective = (enum planner_objective)(next(seed) % PLANNER_OBJECTIVE_MAX_),
    };
}

static void check_findings(const struct planner_question *q, const struct planner_findings *f)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct planner_candidate *c = &f->candidates[i];
        const struct planner_result *r = &c->result;

        assert_true(r->chips <= q->max_chips && r->chips > 0);
        assert_true(isfinite(r->ttft_s) && isfinite(r->tpot_s) && r->tpot_s > 0);
        assert_true(isfinite(r->output_tokens_ps) && r->output_tokens_ps > 0);
        assert_true(c->score > 0 && c->score <= 100 && c->meets_slo == (c->slo_excess <= 1));
        assert_true(i == 0 || f->candidates[i - 1].score >= c->score);
        assert_true(!q->tp || c->plan.tp == q->tp);
        assert_true(!q->pp || c->plan.pp == q->pp);
        assert_true(!q->replicas || c->plan.replicas == q->replicas);
        assert_true(!q->sp ? !c->plan.sp : true);
    }
    for (size_t i = 0; i < f->refusal_count; i++) {
        assert_int_not_equal(f->refusals[i].result.bound, PLANNER_FITS);
    }
}

static void test_random_questions(void **state)
{
    uint64_t seed = test_seed("questions");
    size_t models = 1, chips = 1, found = 0;

    while (planner_models[models].name) {
        models++;
    }
    while (planner_chips[chips].name) {
        chips++;
    }
    for (int i = 0; i < 250; i++) {
        const struct planner_question q = random_question(&seed);
        struct planner_findings f;
        struct planner_setup s;

        planner_setup_init(&s, &planner_models[next(&seed) % models],
                           &planner_chips[next(&seed) % chips], next(&seed) % PLANNER_ENGINE_MAX_,
                           next(&seed) % PLANNER_FORMAT_MAX_, PLANNER_KV_AUTO, NULL);
        f = ask(&s, &q);
        check_findings(&q, &f);
        found += f.count;
        planner_findings_finish(&f);
    }
    assert_true(found > 1000);
}

/* Numbers that nobody can mean: it comes to an end, and nothing overflows. */
static void test_wild_questions(void **state)
{
    const struct planner_setup s = setup("Mixtral-8x7B", "H100-SXM");
    struct planner_question q = plain;
    struct planner_findings f;

    q.max_chips = UINT_MAX;
    q.min_tokens_ps = 1e300;
    f = ask(&s, &q);
    assert_true(f.count > 0 && !f.candidates[0].meets_slo);
    planner_findings_finish(&f);
    q.min_tokens_ps = 0;
    q.tp = q.pp = q.ep = UINT_MAX;
    f = ask(&s, &q);
    assert_int_equal(f.count + f.refused, 0);
    planner_findings_finish(&f);
    q = plain;
    q.replicas = UINT_MAX;
    f = ask(&s, &q);
    assert_int_equal(f.count, 0);
    planner_findings_finish(&f);
    q = plain;
    q.concurrency = 1e18;
    f = ask(&s, &q);
    planner_findings_finish(&f);
    q = plain;
    q.rate_per_s = 1e12;
    q.disaggregated = true;
    f = ask(&s, &q);
    assert_int_equal(f.count, 0);
    planner_findings_finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_disaggregated),
        cmocka_unit_test(test_try_one),
        cmocka_unit_test(test_mfu_of_both_sides),
        cmocka_unit_test(test_one_side_is_full),
        cmocka_unit_test(test_pruned_pairs_are_no_better),
        cmocka_unit_test(test_named_replicas_prune_less),
        cmocka_unit_test(test_disaggregated_under_a_rate),
        cmocka_unit_test(test_random_questions),
        cmocka_unit_test(test_wild_questions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
