// SPDX-License-Identifier: Apache-2.0
/*
 * Faults that other planners have, each with a test that keeps it away. Those that are not here
 * stand where they belong:
 *
 *   fault                                        test
 *   pipeline switched off, sp fixed              faults: test_pipelines_and_sp_are_offered
 *   dp fixed to all chips                        search: test_offers_fewer_chips
 *   experts divided in dense models              evaluate: test_no_experts_in_dense_models,
 *                                                faults: test_no_experts_offered_to_dense_models
 *   score always 0                               faults: test_scores_tell_plans_apart
 *   tokens/s = 1 / TPOT                          evaluate:
 * test_throughput_counts_batch_and_replicas TPOT over a few tokens only                  faults:
 * test_long_answers_are_slower bubble of the pipeline left out              timeline: test_bubbles,
 *                                                faults: test_bubble_is_counted
 *   head size = hidden / heads                   memory: test_head_size_is_read
 *   embeddings always tied                       memory: test_tied_embedding
 *   latent query's rotary part twice             memory: test_latent_query_is_counted_once
 *   experts divided by ep and tp, not by pp      memory: test_experts_divided_once,
 *                                                test_stages_divide_experts_too
 *   latent KV divided by tp                      memory: test_latent_kv_is_replicated
 *   slowest phase instead of their sum           evaluate: test_phases_add_up,
 *                                                topology: test_sum_not_maximum
 *   no start: tp 8 always wins                   topology: test_starts_make_small_tp_win
 *   price times chips twice                      faults: test_price_is_counted_once
 *   MFU of mixtures from all experts             evaluate: test_mfu_of_mixtures
 *   peaks with sparsity, links both ways         evaluate: test_peaks_are_dense,
 *                                                tables: test_no_sparse_peaks
 *   MBU cut at 1                                 faults: test_impossible_figures_show
 *   an "80 GB" card of 80e9 bytes                memory: test_measured_plans_fit,
 *                                                faults: test_cards_are_gibibytes
 *   tp beyond the KV heads                       memory: test_whole_heads
 *   head over all tokens of a prompt             evaluate: test_head_for_few
 *   k T experts, not distinct ones               faults: test_distinct_experts
 *   one rank's batch for the experts             evaluate: test_experts_see_all_ranks
 *   TTFT without a queue                         faults: test_first_tokens_queue
 *   chips = dp tp pp ep                          evaluate: test_experts_share_the_chips
 *   refused plans lost, counts of the shown ones questions: ask(), in every test
 *   a pipeline makes requests faster             evaluate: test_pipeline_speeds_nobody_up
 *   output and total tokens mixed up             faults: test_output_and_total_tokens
 */
#include "unit.h"

#include <math.h>

#include "planner/planner_int.h"

static struct planner_setup setup(const char *model, const struct planner_chip *chip)
{
    struct planner_setup s;

    planner_setup_init(&s, planner_find_model(model), chip, PLANNER_ENGINE_VLLM, PLANNER_FP8,
                       PLANNER_KV_AUTO, NULL);
    return s;
}

static struct planner_result run(const struct planner_setup *s, struct planner_plan p, double isl,
                                 double osl, double concurrency)
{
    const struct planner_load load = {
        .kind = PLANNER_CLOSED_LOOP, .isl = isl, .osl = osl, .concurrency = concurrency
    };
    struct planner_result r;

    planner_evaluate(s, &p, &load, &r);
    assert_int_equal(r.bound, PLANNER_FITS);
    return r;
}

static void assert_near(double got, double wanted, double share)
{
    if (!(fabs(got - wanted) <= share * fabs(wanted))) {
        print_error("got %.10g, wanted %.10g within %g\n", got, wanted, share);
        fail();
    }
}

static const struct planner_plan one = { 1, 1, 1, 1, 1, 1, false };

static void test_pipelines_and_sp_are_offered(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", planner_find_chip("H100-SXM"));
    const struct planner_question q = { .max_chips = 8, .isl = 1024, .osl = 256, .sp = true };
    struct planner_findings f;
    bool deep = false, parted = false;

    planner_search(&s, &q, &f);
    for (size_t i = 0; i < f.count; i++) {
        deep = deep || f.candidates[i].plan.pp > 1;
        parted = parted || f.candidates[i].plan.sp;
    }
    assert_true(deep && parted);
    planner_findings_finish(&f);
}

static void test_no_experts_offered_to_dense_models(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-8B", planner_find_chip("H100-SXM"));
    struct planner_question q = { .max_chips = 8, .isl = 1024, .osl = 256 };
    struct planner_findings f;

    planner_search(&s, &q, &f);
    assert_true(f.count > 0);
    for (size_t i = 0; i < f.count; i++) {
        const struct planner_plan *p = &f.candidates[i].plan;

        assert_true(p->ep == 1 && p->moe_tp == 1 && p->adp == 1);
    }
    planner_findings_finish(&f);
    q.ep = 2;
    planner_search(&s, &q, &f);
    assert_int_equal(f.count, 0);
    planner_findings_finish(&f);
}

static void test_scores_tell_plans_apart(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", planner_find_chip("H100-SXM"));
    struct planner_question q = { .max_chips = 8, .isl = 1024, .osl = 256, .concurrency = 32 };
    struct planner_findings f;

    for (int o = 0; o < PLANNER_OBJECTIVE_MAX_; o++) {
        size_t steps = 0;

        q.objective = (enum planner_objective)o;
        planner_search(&s, &q, &f);
        for (size_t i = 0; i < f.count; i++) {
            assert_true(f.candidates[i].score > 0 && f.candidates[i].score < 100);
            steps += i > 0 && f.candidates[i].score < f.candidates[i - 1].score;
        }
        assert_true(steps >= 3); /* chips: 1, 2, 4, 8 */
        planner_findings_finish(&f);
    }
}

/* The context grows with the answer. */
static void test_long_answers_are_slower(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-8B", planner_find_chip("H100-SXM"));

    assert_true(run(&s, one, 1024, 16384, 8).decode_step_s >
                1.05 * run(&s, one, 1024, 16, 8).decode_step_s);
}

static void test_bubble_is_counted(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-8B", planner_find_chip("H100-SXM"));
    const struct planner_plan deep = { 1, 4, 1, 1, 1, 1, false };
    const struct planner_result r = run(&s, deep, 1000, 100, 1); /* one chunk: 3 of 4 wait */

    assert_near(r.bubble, 0.75, 1e-9);
    assert_true(run(&s, deep, 64000, 100, 1).bubble < 0.3);
    assert_true(run(&s, one, 1000, 100, 1).bubble == 0);
}

static void test_price_is_counted_once(void **state)
{
    struct planner_chip chip = *planner_find_chip("H100-SXM");
    struct planner_setup s;
    struct planner_result r, more;

    chip.price_hour = 3.6;
    s = setup("Llama-3.1-8B", &chip);
    r = run(&s, (struct planner_plan){ 2, 1, 1, 1, 1, 2, false }, 1024, 256, 64);
    /* four chips at 3.6 an hour are 4 a thousand seconds */
    assert_near(r.price_per_million, 4e-3 / r.output_tokens_ps * 1e6, 1e-9);
    more = run(&s, (struct planner_plan){ 2, 1, 1, 1, 1, 4, false }, 1024, 256, 128);
    assert_near(more.price_per_million, r.price_per_million, 1e-9);
}

/* A chip that is told to be ten times faster than its memory shows it. */
static void test_impossible_figures_show(void **state)
{
    struct planner_chip chip = *planner_find_chip("H100-SXM");
    struct planner_setup s;

    chip.decode_times = 0.1;
    s = setup("Llama-3.1-8B", &chip);
    assert_true(run(&s, one, 1024, 256, 8).mbu > 1.5);
}

static void test_cards_are_gibibytes(void **state)
{
    const double gib = 1.073741824;

    assert_near(planner_find_chip("H100-SXM")->memory_gb, 80 * gib, 0.005);
    assert_near(planner_find_chip("A100-SXM-80GB")->memory_gb, 80 * gib, 0.005);
    assert_near(planner_find_chip("L4")->memory_gb, 24 * gib, 0.01);
    assert_near(planner_find_chip("MI300X")->memory_gb, 192 * gib, 0.005);
}

/* 64 tokens with 8 of 256 experts each meet 222 of them, not 512; fewer where some experts are
 * asked for more often than others. */
static void test_distinct_experts(void **state)
{
    const struct planner_setup s = setup("DeepSeek-V3", planner_find_chip("H200-SXM"));
    const struct planner_plan p = { 8, 1, 1, 8, 1, 1, false };
    struct planner_pass pass = {
        .tokens = 64, .everywhere = 64, .sequences = 64, .context = 10, .logits = 64
    };
    const double v = s.k->moe_skew, even = 256 * (1 - pow(1 - 8.0 / 256, 64));
    double work[PLANNER_WORK_MAX_], few, many, expert, met;
    struct planner_weights w;

    planner_layer_weights(s.model, &w);
    expert = w.expert * s.expert_bytes * 58 / 8; /* 58 layers have some, on 8 chips */
    planner_pass_time(&s, &p, &pass, work, &few, NULL);
    pass.everywhere = 1e9; /* all of them */
    planner_pass_time(&s, &p, &pass, work, &many, NULL);
    met = 256 - (many - few) / expert;
    assert_near(met, 256 * (1 - pow(1 + v * 64 * 8 / 256, -1 / v)), 0.01);
    assert_true(met < even && met > 64);
}

static void test_first_tokens_queue(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-8B", planner_find_chip("H100-SXM"));
    const struct planner_result alone = run(&s, one, 2048, 128, 1);
    const struct planner_result crowd = run(&s, one, 2048, 128, 128);

    assert_near(crowd.prefill_s, alone.prefill_s, 1e-9);
    assert_true(crowd.ttft_s > 3 * alone.ttft_s);
}

static void test_output_and_total_tokens(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-8B", planner_find_chip("H100-SXM"));
    const struct planner_result r =
        run(&s, (struct planner_plan){ 1, 1, 1, 1, 1, 2, false }, 768, 256, 32);

    assert_near(r.total_tokens_ps, 4 * r.output_tokens_ps, 1e-9);
    assert_near(r.output_tokens_ps_chip, r.output_tokens_ps / 2, 1e-9);
    assert_near(r.output_tokens_ps_user, 1 / r.tpot_s, 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipelines_and_sp_are_offered),
        cmocka_unit_test(test_no_experts_offered_to_dense_models),
        cmocka_unit_test(test_scores_tell_plans_apart),
        cmocka_unit_test(test_long_answers_are_slower),
        cmocka_unit_test(test_bubble_is_counted),
        cmocka_unit_test(test_price_is_counted_once),
        cmocka_unit_test(test_impossible_figures_show),
        cmocka_unit_test(test_cards_are_gibibytes),
        cmocka_unit_test(test_distinct_experts),
        cmocka_unit_test(test_first_tokens_queue),
        cmocka_unit_test(test_output_and_total_tokens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
