// SPDX-License-Identifier: Apache-2.0
/* What a load and a plan may ask besides: drafts, lengths that vary, sequence parallelism, a chip
 * that was measured by its owner; and what the answer says of money, energy and idle stages. */
#include "unit.h"

#include <math.h>

#include "planner/planner_int.h"

static struct planner_setup setup(const char *model, enum planner_format f)
{
    struct planner_setup s;

    planner_setup_init(&s, planner_find_model(model), planner_find_chip("H100-SXM"),
                       PLANNER_ENGINE_VLLM, f, PLANNER_KV_AUTO, NULL);
    return s;
}

static struct planner_result run(const struct planner_setup *s, const struct planner_plan *p,
                                 const struct planner_load *l)
{
    struct planner_result r;

    planner_evaluate(s, p, l, &r);
    return r;
}

static void assert_near(double got, double wanted, double share)
{
    if (!(fabs(got - wanted) <= share * fabs(wanted))) {
        print_error("got %.10g, wanted %.10g within %g %%\n", got, wanted, share * 100);
        fail();
    }
}

static const struct planner_plan four = { 4, 1, 1, 1, 1, 1, false };

static struct planner_load closed(double concurrency)
{
    return (struct planner_load){
        .kind = PLANNER_CLOSED_LOOP, .isl = 1024, .osl = 512, .concurrency = concurrency
    };
}

/* ---- speculation ---- */

static void test_rejected_drafts_never_help(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", PLANNER_FP8);

    for (unsigned b = 1; b <= 256; b *= 4) {
        struct planner_load l = closed(b);
        const struct planner_result plain = run(&s, &four, &l);
        double before = plain.tpot_s;

        assert_true(plain.tokens_per_step == 1);
        for (l.draft_tokens = 1; l.draft_tokens <= 8; l.draft_tokens++) {
            const struct planner_result r = run(&s, &four, &l);

            assert_true(r.tokens_per_step == 1);
            assert_true(r.tpot_s > before);
            before = r.tpot_s;
        }
    }
}

/* (1 - a^(n+1)) / (1 - a) tokens a step; for few users decode reads weights, and that is shared. */
static void test_accepted_drafts_help_the_few(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", PLANNER_FP8);
    struct planner_load l = closed(2), many = closed(256);
    const struct planner_result plain = run(&s, &four, &l), crowd = run(&s, &four, &many);
    struct planner_result r, c;

    l.draft_tokens = many.draft_tokens = 3;
    l.acceptance = many.acceptance = 0.7;
    r = run(&s, &four, &l);
    c = run(&s, &four, &many);
    assert_near(r.tokens_per_step, 1 + 0.7 + 0.49 + 0.343, 1e-12);
    assert_true(r.tpot_s < 0.55 * plain.tpot_s);
    assert_true(r.decode_step_s > plain.decode_step_s);
    assert_true(c.tpot_s / crowd.tpot_s > r.tpot_s / plain.tpot_s); /* the many compute anyway */
    l.acceptance = 1;
    assert_near(run(&s, &four, &l).tokens_per_step, 4, 1e-12);
}

static void test_drafts_cost_their_share(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", PLANNER_FP8);
    struct planner_load l = closed(4);
    const double plain = run(&s, &four, &l).decode_step_s;
    double cheap, dear;

    l.draft_tokens = 2;
    l.draft_share = 0.01;
    cheap = run(&s, &four, &l).decode_step_s;
    l.draft_share = 0.26;
    dear = run(&s, &four, &l).decode_step_s;
    assert_near(dear - cheap, 2 * 0.25 * plain, 1e-9);
    l = closed(256); /* and each is verified: three queries a request instead of one */
    l.draft_share = 1e-9;
    cheap = run(&s, &four, &l).decode_step_s;
    l.draft_tokens = 2;
    assert_true(run(&s, &four, &l).decode_step_s > 1.2 * cheap);
}

/* ---- lengths that vary ---- */

static void test_alike_is_as_before(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", PLANNER_FP8);
    struct planner_load l = closed(64);
    const struct planner_result a = run(&s, &four, &l);

    l.isl_cv = l.osl_cv = 1e-9;
    assert_near(run(&s, &four, &l).ttft_s, a.ttft_s, 1e-9);
    assert_near(run(&s, &four, &l).tpot_s, a.tpot_s, 1e-9);
}

/* Long ones are there for longer: more context is held than the mean says, and fewer fit. */
static void test_varied_lengths_hold_more(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", PLANNER_FP8);
    struct planner_load l = closed(64);
    const struct planner_result a = run(&s, &four, &l);
    struct planner_result b;

    l.osl_cv = 1;
    b = run(&s, &four, &l);
    assert_true(b.fits_requests < 0.9 * a.fits_requests);
    assert_true(b.decode_step_s > a.decode_step_s);
    l.osl_cv = 0;
    l.isl_cv = 1;
    b = run(&s, &four, &l);
    assert_true(b.ttft_s > a.ttft_s); /* behind a long prompt */
    assert_near(b.decode_step_s, a.decode_step_s, 1e-12);
    l.kind = PLANNER_OFFLINE;
    l.concurrency = 0;
    l.isl_cv = 0;
    {
        const double even = run(&s, &four, &l).output_tokens_ps;

        l.isl_cv = l.osl_cv = 1;
        assert_true(run(&s, &four, &l).output_tokens_ps < even);
    }
}

/* ---- a given number of requests ---- */

static struct planner_result offline(const struct planner_setup *s, double requests)
{
    struct planner_load l = closed(0);

    l.kind = PLANNER_OFFLINE;
    l.requests = requests;
    return run(s, &four, &l);
}

/* Fewer than there is room for run fewer at once; many are as good as no end. */
static void test_runs_that_end(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", PLANNER_FP8);
    const struct planner_result endless = offline(&s, 0);
    const double room = floor(endless.running);
    struct planner_result r = offline(&s, 10);

    assert_true(room > 40);
    assert_near(r.running, 10, 1e-9);
    assert_near(r.requests_ps * r.e2e_s, 10 * s.k->offline, 1e-9);
    assert_true(r.output_tokens_ps < 0.5 * endless.output_tokens_ps);
    r = offline(&s, 1000.5 * endless.running);
    assert_near(r.output_tokens_ps, endless.output_tokens_ps, 0.002);
    assert_near(r.running, endless.running, 1e-9);
}

/* One more than there is room for waits for a whole round, and has it to itself. */
static void test_last_round_is_small(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", PLANNER_FP8);
    const double room = offline(&s, 0).running;
    const struct planner_result full = offline(&s, room), more = offline(&s, room + 1),
                                half = offline(&s, 1.5 * room), both = offline(&s, 2 * room);

    assert_true(more.output_tokens_ps < 0.95 * full.output_tokens_ps);
    assert_true(half.output_tokens_ps > more.output_tokens_ps);
    assert_true(half.output_tokens_ps < full.output_tokens_ps);
    assert_near(both.output_tokens_ps, full.output_tokens_ps, 1e-6);
}

/* ---- sequence parallelism ---- */

static void test_sequence_parallel_saves_memory(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", PLANNER_FP8);
    const struct planner_plan sp = { 4, 1, 1, 1, 1, 1, true };
    const struct planner_load l = closed(64);
    const struct planner_result a = run(&s, &four, &l), b = run(&s, &sp, &l);

    assert_true(b.activation_bytes < 0.7 * a.activation_bytes);
    assert_true(b.fits_requests > a.fits_requests);
    assert_true(b.decode_work_s[PLANNER_WORK_ELEMENTWISE] <
                a.decode_work_s[PLANNER_WORK_ELEMENTWISE]);
    assert_true(b.decode_work_s[PLANNER_WORK_COMM] > a.decode_work_s[PLANNER_WORK_COMM]);
}

/* ---- a chip that its owner measured ---- */

static void test_calibrated_chip(void **state)
{
    struct planner_chip chip = *planner_find_chip("H100-SXM");
    struct planner_setup s = setup("Llama-3.1-70B", PLANNER_FP8);
    const struct planner_load l = closed(1);
    const struct planner_result a = run(&s, &four, &l);
    struct planner_result b;

    chip.decode_times = 1.25;
    chip.prefill_times = 2;
    s.chip = &chip;
    b = run(&s, &four, &l);
    assert_near(b.decode_step_s, 1.25 * a.decode_step_s, 1e-12);
    assert_near(b.prefill_s, 2 * a.prefill_s, 1e-12);
    assert_near(b.decode_work_s[PLANNER_WORK_GEMM], 1.25 * a.decode_work_s[PLANNER_WORK_GEMM],
                1e-12);
}

/* ---- money, energy, bubbles ---- */

static void test_money_and_energy(void **state)
{
    struct planner_chip chip = *planner_find_chip("H100-SXM");
    struct planner_setup s = setup("Llama-3.1-70B", PLANNER_FP8);
    struct planner_plan two = four;
    struct planner_load l = closed(32);
    struct planner_result one, both;

    chip.price_hour = 2.5;
    s.chip = &chip;
    one = run(&s, &four, &l);
    assert_near(one.price_per_million, 4 * 2.5 / 3600 / one.output_tokens_ps * 1e6, 1e-12);
    assert_near(one.joules_per_token, 4 * 700 / one.output_tokens_ps, 1e-12);
    two.replicas = 2; /* twice the chips, twice the tokens: the same price, counted once */
    l.concurrency = 64;
    both = run(&s, &two, &l);
    assert_near(both.price_per_million, one.price_per_million, 1e-9);
    chip.price_hour = 0;
    assert_true(run(&s, &two, &l).price_per_million == 0);
}

/* (pp - 1) / (chunks + pp - 1) of the stages' time; none without a pipeline. */
static void test_bubble(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", PLANNER_FP8);
    const struct planner_plan deep = { 1, 4, 1, 1, 1, 1, false };
    struct planner_load l = closed(1);

    l.chunk_tokens = 256;
    assert_near(run(&s, &deep, &l).bubble, 3.0 / (4 + 3), 1e-9);
    assert_true(run(&s, &four, &l).bubble < 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rejected_drafts_never_help),
        cmocka_unit_test(test_accepted_drafts_help_the_few),
        cmocka_unit_test(test_drafts_cost_their_share),
        cmocka_unit_test(test_alike_is_as_before),
        cmocka_unit_test(test_varied_lengths_hold_more),
        cmocka_unit_test(test_runs_that_end),
        cmocka_unit_test(test_last_round_is_small),
        cmocka_unit_test(test_sequence_parallel_saves_memory),
        cmocka_unit_test(test_calibrated_chip),
        cmocka_unit_test(test_money_and_energy),
        cmocka_unit_test(test_bubble),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
