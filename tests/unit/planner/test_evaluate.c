// SPDX-License-Identifier: Apache-2.0
/* Times and rates of a plan: what each kind of parallelism may and may not do, what is refused and
 * with which numbers, and properties that hold for every plan. */
#include "unit.h"

#include <math.h>
#include <string.h>

#include "planner/planner_int.h"

static struct planner_setup setup(const char *model, const char *chip, enum planner_format f)
{
    struct planner_setup s;

    planner_setup_init(&s, planner_find_model(model), planner_find_chip(chip), PLANNER_ENGINE_VLLM,
                       f, PLANNER_KV_AUTO, NULL);
    return s;
}

static struct planner_result run(const struct planner_setup *s, struct planner_plan p,
                                 double concurrency)
{
    const struct planner_load load = {
        .kind = PLANNER_CLOSED_LOOP, .isl = 1024, .osl = 256, .concurrency = concurrency
    };
    struct planner_result r;

    planner_evaluate(s, &p, &load, &r);
    return r;
}

static void assert_near(double got, double wanted, double share)
{
    if (!(fabs(got - wanted) <= share * fabs(wanted))) {
        print_error("got %.10g, wanted %.10g within %g %%\n", got, wanted, share * 100);
        fail();
    }
}

/* ---- what was wrong elsewhere ---- */

/* Tokens per second are those of all requests and all replicas, not 1 / TPOT. */
static void test_throughput_counts_batch_and_replicas(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-8B", "H100-SXM", PLANNER_BF16);
    const struct planner_result one = run(&s, (struct planner_plan){ 1, 1, 1, 1, 1, 1 }, 32);
    const struct planner_result four = run(&s, (struct planner_plan){ 1, 1, 1, 1, 1, 4 }, 128);

    assert_near(one.output_tokens_ps, 32 * 256 / one.e2e_s, 1e-9);
    assert_true(one.output_tokens_ps > 10 / one.tpot_s);
    assert_near(four.output_tokens_ps, 4 * one.output_tokens_ps, 1e-9);
    assert_near(four.tpot_s, one.tpot_s, 1e-9);
    assert_int_equal(four.chips, 4);
    assert_near(four.output_tokens_ps_chip, one.output_tokens_ps_chip, 1e-9);
}

/* A pipeline serves more at a time; it makes no request faster. */
static void test_pipeline_speeds_nobody_up(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM", PLANNER_FP8);
    const struct planner_result flat = run(&s, (struct planner_plan){ 1, 1, 1, 1, 1, 1 }, 1);
    const struct planner_result deep = run(&s, (struct planner_plan){ 1, 4, 1, 1, 1, 1 }, 1);
    const struct planner_result full = run(&s, (struct planner_plan){ 1, 4, 1, 1, 1, 1 }, 64);

    assert_true(deep.tpot_s >= flat.tpot_s);
    assert_true(deep.ttft_s >= flat.ttft_s * 0.999);
    assert_true(full.output_tokens_ps > 10 * deep.output_tokens_ps);
}

static void test_no_experts_in_dense_models(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-8B", "H100-SXM", PLANNER_BF16);

    assert_int_equal(run(&s, (struct planner_plan){ 2, 1, 1, 2, 1, 1 }, 1).bound,
                     PLANNER_BAD_EXPERTS);
}

/* tp * adp = moe_tp * ep inside a replica: experts live on the same chips as the rest. */
static void test_experts_share_the_chips(void **state)
{
    const struct planner_setup s = setup("DeepSeek-V3", "H200-SXM", PLANNER_FP8);
    const struct planner_plan p = { 1, 1, 8, 8, 1, 1 };

    assert_int_equal(run(&s, p, 64).bound, PLANNER_FITS);
    assert_int_equal(run(&s, p, 64).chips, 8);
    assert_int_equal(planner_plan_chips(&p), 8);
    assert_int_equal(run(&s, (struct planner_plan){ 8, 1, 8, 8, 1, 1 }, 64).bound,
                     PLANNER_BAD_EXPERTS);
}

/* Phases of a hierarchical all-reduce follow one another: across nodes costs more than inside, by
 * the part that goes across. */
static void test_phases_add_up(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM", PLANNER_BF16);
    const double bytes = 64e6, inside = planner_all_reduce(&s, 8, bytes);
    const double both = planner_all_reduce(&s, 16, bytes);

    assert_near(both - inside, s.across.alpha_s + bytes / 8 / s.across.bytes_ps, 1e-9);
    assert_true(planner_all_reduce(&s, 8, 1) > 1e-6); /* the start is not forgotten */
}

static void test_peaks_are_dense(void **state)
{
    const struct planner_chip *c = planner_find_chip("H100-SXM");

    assert_true(c->bf16_tflops == 989 && c->scaleup_gbps == 450);
    for (c = planner_chips; c->name; c++) {
        assert_true(c->bf16_tflops > 0 && c->memory_gb > 0 && c->bandwidth_gbps > 0);
    }
}

/* Of a mixture only the experts that a token meets do useful work, and shares of the peak are
 * neither clamped nor above 1. */
static void test_mfu_of_mixtures(void **state)
{
    const struct planner_setup s = setup("Mixtral-8x7B", "H100-SXM", PLANNER_FP8);
    const struct planner_result r = run(&s, (struct planner_plan){ 2, 1, 1, 1, 2, 1 }, 64);
    const double useful = 2 * planner_active_params(s.model) * r.total_tokens_ps;

    assert_near(r.mfu, useful / (2 * s.peak_flops), 0.15);
    assert_true(r.mfu < 1 && r.mbu < 1 && r.mbu > 0.1);
}

/* The batch that experts see is that of all attention ranks together. */
static void test_experts_see_all_ranks(void **state)
{
    const struct planner_setup s = setup("DeepSeek-V3", "H200-SXM", PLANNER_FP8);
    const struct planner_plan p = { 1, 1, 8, 8, 1, 1 };
    struct planner_pass pass = {
        .tokens = 4, .everywhere = 4, .sequences = 4, .context = 1024, .logits = 4
    };
    double own[PLANNER_WORK_MAX_], all[PLANNER_WORK_MAX_];

    planner_pass_time(&s, &p, &pass, own, NULL, NULL);
    pass.everywhere = 32;
    planner_pass_time(&s, &p, &pass, all, NULL, NULL);
    assert_true(all[PLANNER_WORK_EXPERTS] > 1.5 * own[PLANNER_WORK_EXPERTS]);
    assert_near(all[PLANNER_WORK_ATTENTION], own[PLANNER_WORK_ATTENTION], 1e-12);
}

/* The head is for tokens that are sampled from, not for all of a prompt. */
static void test_head_for_few(void **state)
{
    const struct planner_setup s = setup("Gemma-3-1B", "H100-SXM", PLANNER_BF16);
    const struct planner_plan p = { 1, 1, 1, 1, 1, 1 };
    struct planner_pass pass = {
        .tokens = 4096, .everywhere = 4096, .sequences = 1, .prefill = true, .logits = 1
    };
    double one[PLANNER_WORK_MAX_], every[PLANNER_WORK_MAX_];

    planner_pass_time(&s, &p, &pass, one, NULL, NULL);
    pass.logits = 4096;
    planner_pass_time(&s, &p, &pass, every, NULL, NULL);
    assert_true(every[PLANNER_WORK_GEMM] > 1.2 * one[PLANNER_WORK_GEMM]);
}

/* ---- refusals ---- */

static void test_refusals_have_numbers(void **state)
{
    struct planner_setup s = setup("Llama-3.1-405B", "H100-SXM", PLANNER_FP8);
    const struct planner_plan p = { 4, 1, 1, 1, 1, 1 };
    struct planner_load load = {
        .kind = PLANNER_CLOSED_LOOP, .isl = 1024, .osl = 256, .concurrency = 1
    };
    char why[PLANNER_REFUSAL_SIZE];
    struct planner_result r;

    planner_evaluate(&s, &p, &load, &r);
    assert_int_equal(r.bound, PLANNER_WEIGHTS);
    assert_true(r.need > r.have);
    planner_refusal(&s, &p, &load, &r, why);
    assert_non_null(strstr(why, "weights 102."));
    assert_non_null(strstr(why, "85.9 GB"));
    s = setup("Llama-3.1-70B", "H100-SXM", PLANNER_FP8);
    load.isl = 400000;
    planner_evaluate(&s, &(struct planner_plan){ 1, 1, 1, 1, 1, 1 }, &load, &r);
    assert_int_equal(r.bound, PLANNER_ONE_REQUEST);
    load = (struct planner_load){
        .kind = PLANNER_STATIC, .isl = 1024, .osl = 256, .concurrency = 4000
    };
    planner_evaluate(&s, &(struct planner_plan){ 2, 1, 1, 1, 1, 1 }, &load, &r);
    assert_int_equal(r.bound, PLANNER_BATCH);
    load = (struct planner_load){
        .kind = PLANNER_OPEN_LOOP, .isl = 1024, .osl = 256, .rate_per_s = 1000
    };
    planner_evaluate(&s, &(struct planner_plan){ 2, 1, 1, 1, 1, 1 }, &load, &r);
    assert_int_equal(r.bound, PLANNER_UNSUSTAINABLE);
    assert_true(r.have > 0 && r.have < 1000);
}

/* Every model on every chip with weights a tenth above the memory is refused. */
static void test_too_large_is_refused(void **state)
{
    size_t refused = 0;

    for (const struct planner_model *m = planner_models; m->name; m++) {
        for (const struct planner_chip *c = planner_chips; c->name; c++) {
            const struct planner_setup s = setup(m->name, c->name, PLANNER_BF16);

            if (2 * planner_params(m) > 1.1e9 * c->memory_gb) {
                assert_int_not_equal(run(&s, (struct planner_plan){ 1, 1, 1, 1, 1, 1 }, 1).bound,
                                     PLANNER_FITS);
                refused++;
            }
        }
    }
    assert_true(refused > 60);
}

static void test_odd_numbers_are_refused(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-8B", "H100-SXM", PLANNER_BF16);

    assert_int_equal(run(&s, (struct planner_plan){ 0, 1, 1, 1, 1, 1 }, 1).bound, PLANNER_BAD_PLAN);
    assert_int_equal(run(&s, (struct planner_plan){ 3, 1, 1, 1, 1, 1 }, 1).bound, PLANNER_BAD_PLAN);
    assert_int_equal(run(&s, (struct planner_plan){ 1, 33, 1, 1, 1, 1 }, 1).bound,
                     PLANNER_BAD_PLAN);
}

/* ---- loads ---- */

static void test_prefix_hits_save_prefill(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-8B", "H100-SXM", PLANNER_BF16);
    const struct planner_plan p = { 1, 1, 1, 1, 1, 1 };
    struct planner_load load = {
        .kind = PLANNER_CLOSED_LOOP, .isl = 8000, .osl = 256, .concurrency = 8
    };
    struct planner_result cold, warm;

    planner_evaluate(&s, &p, &load, &cold);
    load.prefix_hit = 0.75;
    planner_evaluate(&s, &p, &load, &warm);
    assert_true(warm.prefill_s < 0.4 * cold.prefill_s);
    assert_near(warm.decode_step_s, cold.decode_step_s, 1e-9); /* the context stays */
}

static void test_open_loop_meets_its_rate(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-8B", "H100-SXM", PLANNER_BF16);
    const struct planner_load load = {
        .kind = PLANNER_OPEN_LOOP, .isl = 1024, .osl = 256, .rate_per_s = 4
    };
    struct planner_result r;

    planner_evaluate(&s, &(struct planner_plan){ 1, 1, 1, 1, 1, 1 }, &load, &r);
    assert_int_equal(r.bound, PLANNER_FITS);
    assert_near(r.output_tokens_ps, 4 * 256, 1e-9);
    assert_near(r.running, 4 * r.e2e_s, 0.02); /* Little's law */
}

static void test_those_without_memory_wait(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM", PLANNER_FP8);
    const struct planner_plan p = { 2, 1, 1, 1, 1, 1 };
    const struct planner_result some = run(&s, p, 50), many = run(&s, p, 1000);

    assert_true(many.running < 1000 && many.running == many.fits_requests);
    assert_true(many.ttft_s > 10 * some.ttft_s);
    assert_true(many.tpot_s < 3 * some.tpot_s);
}

static void test_disaggregation_frees_decode(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM", PLANNER_FP8);
    const struct planner_plan p = { 4, 1, 1, 1, 1, 1 };
    struct planner_load load = {
        .kind = PLANNER_CLOSED_LOOP, .isl = 4096, .osl = 256, .concurrency = 24, .prefill = p
    };
    struct planner_result together, apart;

    planner_evaluate(&s, &p, &load, &together);
    load.kind = PLANNER_DISAGGREGATED;
    planner_evaluate(&s, &p, &load, &apart);
    assert_true(apart.tpot_s < together.tpot_s);
    assert_int_equal(apart.chips, 8);
}

static struct planner_result with_numbers(const char *chip, const struct planner_coefficients *k,
                                          unsigned ranks)
{
    const struct planner_plan p = { 1, 1, ranks, ranks, 1, 1 };
    const struct planner_load load = {
        .kind = PLANNER_CLOSED_LOOP, .isl = 1024, .osl = 1024, .concurrency = 4.0 * ranks
    };
    struct planner_setup s;
    struct planner_result r;

    planner_setup_init(&s, planner_find_model("Mixtral-8x7B"), planner_find_chip(chip),
                       PLANNER_ENGINE_VLLM, PLANNER_FP8, PLANNER_KV_AUTO, k);
    planner_evaluate(&s, &p, &load, &r);
    assert_int_equal(r.bound, PLANNER_FITS);
    return r;
}

/* With attention data parallel all wait for the slowest rank, the more so the more there are, up to
 * the number of eight: of two it is 1 + .8 sqrt(1 / 3), of four 1 + .8 sqrt(2 / 3). */
static void test_slowest_rank(void **state)
{
    static const double times[] = { 1, 1.461880, 1.653197, 1.8 };
    struct planner_coefficients even = planner_shipped, uneven = planner_shipped;

    even.adp_uneven = even.adp_prefill = 1;
    uneven.adp_uneven = uneven.adp_prefill = 1.8;
    for (unsigned i = 0; i < 4; i++) {
        const struct planner_result a = with_numbers("H100-SXM", &even, 1U << i);
        const struct planner_result b = with_numbers("H100-SXM", &uneven, 1U << i);

        assert_near(b.decode_step_s / a.decode_step_s, times[i], 1e-5);
        assert_near(b.prefill_s / a.prefill_s, times[i], 1e-5);
    }
    assert_near(planner_slowest(1.8, 64), 1.8, 1e-9);
}

/* What is published of CDNA's GEMMs is not corrected as NVIDIA's kernel tables are. */
static void test_tables_corrections_are_theirs(void **state)
{
    struct planner_coefficients k = planner_shipped;

    k.ec_bf16 *= 0.7;
    k.ec_fp8 *= 0.7;
    k.ec_block *= 0.7;
    assert_true(with_numbers("MI300X", &k, 1).prefill_s ==
                with_numbers("MI300X", NULL, 1).prefill_s);
    assert_true(with_numbers("H100-SXM", &k, 2).prefill_s >
                1.01 * with_numbers("H100-SXM", NULL, 2).prefill_s);
}

/* The numbers that are shipped are all there, and none lies outside what it may be. */
static void test_numbers_within_bounds(void **state)
{
#define X(name, start, low, high, pull, help)                                                      \
    assert_true(planner_shipped.name >= (low) && planner_shipped.name <= (high));
    PLANNER_COEFFICIENTS(X)
#undef X
}

/* ---- properties of every plan ---- */

static uint64_t next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return *seed >> 33;
}

static double finite_figures(const struct planner_result *r)
{
    double sum = 0;

    for (int i = 0; i < PLANNER_WORK_MAX_; i++) {
        assert_true(r->decode_work_s[i] >= 0 && r->prefill_work_s[i] >= 0);
        sum += r->decode_work_s[i];
    }
    assert_true(isfinite(r->ttft_s) && r->ttft_s > 0 && isfinite(r->tpot_s) && r->tpot_s > 0);
    assert_true(isfinite(r->output_tokens_ps) && r->output_tokens_ps > 0);
    assert_true(r->tpot_band.p10 < r->tpot_s && r->tpot_band.p90 > r->tpot_s);
    return sum;
}

/* More at the same time: no token comes sooner, and no less comes in all. Better chips (the same
 * with more bandwidth) are no slower. */
static void test_random_monotone(void **state)
{
    uint64_t seed = test_seed("monotone");
    size_t models = 1, chips = 1, tried = 0;

    while (planner_models[models].name) {
        models++;
    }
    while (planner_chips[chips].name) {
        chips++;
    }
    for (int i = 0; i < 30000; i++) {
        const struct planner_model *m = &planner_models[next(&seed) % models];
        struct planner_chip fast = planner_chips[next(&seed) % chips];
        struct planner_plan p = { 1U << next(&seed) % 4, 1, 1, 1, 1, 1 };
        const double batch = 1 + (double)(next(&seed) % 200);
        struct planner_setup s;
        struct planner_result few, more;

        p.pp = next(&seed) % 4 == 0 ? 2 : 1;
        p.moe_tp = m->experts > 0 ? p.tp : 1;
        planner_setup_init(&s, m, &fast, next(&seed) % 3, next(&seed) % 3, PLANNER_KV_AUTO, NULL);
        few = run(&s, p, batch);
        if (few.bound != PLANNER_FITS) {
            continue;
        }
        tried++;
        finite_figures(&few);
        more = run(&s, p, batch + 1 + (double)(next(&seed) % 50));
        if (p.pp == 1 &&
            (more.tpot_s < few.tpot_s * 0.999999 || more.ttft_s < few.ttft_s * 0.999999)) {
            print_error("%s on %s tp%u batch %g: TPOT %g then %g, TTFT %g then %g\n", m->name,
                        fast.name, p.tp, batch, few.tpot_s, more.tpot_s, few.ttft_s, more.ttft_s);
            fail();
        }
        fast.bandwidth_gbps *= 1.5;
        planner_setup_init(&s, m, &fast, s.engine, s.format, PLANNER_KV_AUTO, NULL);
        assert_true(run(&s, p, batch).tpot_s <= few.tpot_s * 1.000001);
    }
    assert_true(tried > 1000);
}

/* What is said to be served is: a little less is no longer refused, a little more is, and nobody
 * reads that fewer arrive than can be served. */
static void test_what_can_be_served(void **state)
{
    static const char *const models[] = { "Llama-3.1-8B", "Qwen3-30B-A3B", "GPT-OSS-120B" };
    static const struct planner_plan plans[] = { { 1, 1, 1, 1, 1, 1 }, { 1, 1, 1, 1, 1, 3 } };

    for (int i = 0; i < 3 * PLANNER_ENGINE_LLAMACPP * 2; i++) {
        struct planner_load l = { .kind = PLANNER_OPEN_LOOP, .isl = 200, .osl = 1000 };
        const struct planner_plan *p = &plans[i % 2];
        struct planner_setup s;
        struct planner_result r;
        double served;

        planner_setup_init(&s, planner_find_model(models[i / 2 % 3]), planner_find_chip("H200-SXM"),
                           (enum planner_engine)(i / 6), PLANNER_FP8, PLANNER_KV_AUTO, NULL);
        l.rate_per_s = 1e6;
        planner_evaluate(&s, p, &l, &r);
        assert_int_equal(r.bound, PLANNER_UNSUSTAINABLE);
        served = r.have;
        l.rate_per_s = 1.001 * served;
        planner_evaluate(&s, p, &l, &r);
        assert_int_equal(r.bound, PLANNER_UNSUSTAINABLE);
        assert_true(r.need > r.have);
        l.rate_per_s = 0.999 * served;
        planner_evaluate(&s, p, &l, &r);
        assert_int_equal(r.bound, PLANNER_FITS);
    }
}

/* A replica's figures are of all its attention ranks. */
static void test_requests_of_a_replica(void **state)
{
    const struct planner_setup s = setup("DeepSeek-V3", "H200-SXM", PLANNER_FP8);
    const struct planner_plan p = { 1, 1, 8, 8, 1, 1, false };
    struct planner_load l = {
        .kind = PLANNER_CLOSED_LOOP, .isl = 4000, .osl = 1000, .concurrency = 1e5
    };
    struct planner_result r;

    planner_evaluate(&s, &p, &l, &r);
    assert_int_equal(r.bound, PLANNER_FITS);
    assert_true(r.running > 8 && fabs(r.running - r.fits_requests) < 1e-9 * r.running);
    assert_true(fabs(r.kv_used_bytes - r.kv_budget_bytes) < 1e-9 * r.kv_budget_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_can_be_served),
        cmocka_unit_test(test_requests_of_a_replica),
        cmocka_unit_test(test_throughput_counts_batch_and_replicas),
        cmocka_unit_test(test_pipeline_speeds_nobody_up),
        cmocka_unit_test(test_no_experts_in_dense_models),
        cmocka_unit_test(test_experts_share_the_chips),
        cmocka_unit_test(test_phases_add_up),
        cmocka_unit_test(test_peaks_are_dense),
        cmocka_unit_test(test_mfu_of_mixtures),
        cmocka_unit_test(test_experts_see_all_ranks),
        cmocka_unit_test(test_head_for_few),
        cmocka_unit_test(test_refusals_have_numbers),
        cmocka_unit_test(test_too_large_is_refused),
        cmocka_unit_test(test_odd_numbers_are_refused),
        cmocka_unit_test(test_prefix_hits_save_prefill),
        cmocka_unit_test(test_open_loop_meets_its_rate),
        cmocka_unit_test(test_those_without_memory_wait),
        cmocka_unit_test(test_disaggregation_frees_decode),
        cmocka_unit_test(test_slowest_rank),
        cmocka_unit_test(test_tables_corrections_are_theirs),
        cmocka_unit_test(test_numbers_within_bounds),
        cmocka_unit_test(test_random_monotone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
