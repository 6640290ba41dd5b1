// SPDX-License-Identifier: Apache-2.0
/* One step against what a plan's figures are made of: the two must never part. */
#include <math.h>

#include "planner/planner_int.h"
#include "unit.h"

static void near(double a, double b)
{
    if (!(fabs(a - b) <= 1e-9 * fabs(b))) {
        fail_msg("%.12g, not %.12g", a, b);
    }
}

static void open_setup(struct planner_setup *s, const char *model, const char *chip,
                       enum planner_engine engine, enum planner_format format)
{
    planner_setup_init(s, planner_find_model(model), planner_find_chip(chip), engine, format,
                       PLANNER_KV_AUTO, NULL);
}

/* TPOT = d0 + (b - 1) c / osl: d0 is a step of decode, c what a prompt adds to one. */
static void check(const struct planner_setup *s, const struct planner_plan *plan, double b)
{
    const struct planner_load load = {
        .kind = PLANNER_CLOSED_LOOP, .isl = 500, .osl = 400, .concurrency = b * plan->adp
    };
    const double context = 500 + 400 / 2.0;
    /* of the prompts of a wave one sees half before its first token */
    const double share =
        1 - (s->engine == PLANNER_ENGINE_TRTLLM ? s->k->burst_trtllm : s->k->burst_vllm) / 2;
    struct planner_result r;
    double step, both;

    planner_evaluate(s, plan, &load, &r);
    assert_int_equal(r.bound, PLANNER_FITS);
    step = planner_step_s(s, plan, b * plan->adp, context, 0, 0);
    near(step, r.decode_step_s);
    near(planner_decode_s(s, plan, b * plan->adp, context), step);
    if (plan->adp == 1) { /* the formula fills all groups with prompts, a step spreads one */
        near(planner_chunk_s(s, plan, 500, 0), r.prefill_s);
        both = planner_step_s(s, plan, b, context, 500, 0);
        near(step + (b - 1) * (both - step) * share / 400, r.tpot_s);
    }
}

static void test_is_what_plans_are_made_of(void **unused)
{
    static const struct planner_plan one = { 1, 1, 1, 1, 1, 1, false },
                                     four = { 4, 1, 1, 1, 1, 1, false },
                                     stages = { 2, 3, 1, 1, 1, 1, false },
                                     groups = { 1, 1, 16, 16, 1, 1, false };
    struct planner_setup s;

    (void)unused;
    for (unsigned b = 1; b <= 64; b *= 2) {
        open_setup(&s, "llama-3.1-8b", "h100-sxm", PLANNER_ENGINE_VLLM, PLANNER_BF16);
        check(&s, &one, b);
        open_setup(&s, "llama-3.1-70b", "h100-sxm", PLANNER_ENGINE_TRTLLM, PLANNER_FP8);
        check(&s, &four, b);
        check(&s, &stages, b);
        open_setup(&s, "deepseek-v3", "h200-sxm", PLANNER_ENGINE_SGLANG, PLANNER_FP8);
        check(&s, &groups, b);
        open_setup(&s, "llama-3.1-8b", "rtx-4090", PLANNER_ENGINE_LLAMACPP, PLANNER_Q4_K_M);
        check(&s, &one, b);
    }
}

/* The first token of one request alone: the way through the server, and the prompt (in one chunk).
 */
static void test_lone_prompt(void **unused)
{
    const struct planner_plan plan = { 1, 1, 1, 1, 1, 1, false };

    (void)unused;
    for (int engine = PLANNER_ENGINE_VLLM; engine < PLANNER_ENGINE_MAX_; engine++) {
        const struct planner_load load = {
            .kind = PLANNER_CLOSED_LOOP, .isl = 500, .osl = 10, .concurrency = 1
        };
        struct planner_setup s;
        struct planner_result r;
        struct planner_mix mix;

        open_setup(&s, "llama-3.1-8b", "h100-sxm", engine,
                   engine == PLANNER_ENGINE_LLAMACPP ? PLANNER_Q8_0 : PLANNER_BF16);
        planner_evaluate(&s, &plan, &load, &r);
        planner_mix(&s, &plan, &mix);
        near(mix.first_s + planner_step_s(&s, &plan, 0, 0, 500, 0), r.ttft_s);
    }
}

/* A prompt's second half sees the first; several short prompts see less than a long one. */
static void test_before(void **unused)
{
    const struct planner_plan plan = { 1, 1, 1, 1, 1, 1, false };
    struct planner_setup s;

    (void)unused;
    open_setup(&s, "llama-3.1-8b", "h100-sxm", PLANNER_ENGINE_VLLM, PLANNER_BF16);
    assert_true(planner_step_s(&s, &plan, 0, 0, 4096, 30000) >
                1.2 * planner_step_s(&s, &plan, 0, 0, 4096, 0));
    assert_true(planner_step_s(&s, &plan, 0, 0, 4096, -1800) <
                planner_step_s(&s, &plan, 0, 0, 4096, 0));
    assert_true(planner_step_s(&s, &plan, 32, 900, 512, 0) >
                planner_step_s(&s, &plan, 32, 900, 0, 0));
    assert_true(planner_step_s(&s, &plan, 0, 900, 0, 0) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_what_plans_are_made_of),
        cmocka_unit_test(test_lone_prompt),
        cmocka_unit_test(test_before),
    };

    return cmocka_run_group_tests_name("planner/step", tests, NULL, NULL);
}
