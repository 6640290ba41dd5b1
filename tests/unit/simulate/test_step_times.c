// SPDX-License-Identifier: Apache-2.0
/* Tables against the planner itself, at random points of setups of every kind. */
#include "simulate/step_times.h"

#include <math.h>
#include <string.h>

#include "unit.h"

struct kind {
    const char *model, *chip;
    enum planner_engine engine;
    enum planner_format format;
    struct planner_plan plan;
};

static const struct kind kinds[] = {
    { "llama-3.1-70b", "h100-sxm", PLANNER_ENGINE_VLLM, PLANNER_FP8, { 4, 1, 1, 1, 1, 1, false } },
    { "llama-3.1-8b",
      "a100-sxm-80gb",
      PLANNER_ENGINE_TRTLLM,
      PLANNER_BF16,
      { 1, 1, 1, 1, 1, 1, false } },
    { "llama-3.1-70b",
      "h100-sxm",
      PLANNER_ENGINE_SGLANG,
      PLANNER_BF16,
      { 2, 4, 1, 1, 1, 1, false } },
    { "deepseek-v3",
      "h200-sxm",
      PLANNER_ENGINE_SGLANG,
      PLANNER_FP8,
      { 1, 1, 16, 16, 1, 1, false } },
    { "qwen3-30b-a3b", "h100-sxm", PLANNER_ENGINE_VLLM, PLANNER_BF16, { 2, 1, 1, 2, 1, 1, false } },
    { "gpt-oss-120b", "h100-sxm", PLANNER_ENGINE_VLLM, PLANNER_MXFP4, { 1, 1, 1, 1, 1, 1, false } },
    { "llama-3.1-8b",
      "rtx-4090",
      PLANNER_ENGINE_LLAMACPP,
      PLANNER_Q4_K_M,
      { 1, 2, 1, 1, 1, 1, false } },
};

static double random_unit(uint64_t *state)
{
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (double)(*state >> 11) * 0x1p-53;
}

/* From 1 to most, all sizes alike. */
static double random_size(uint64_t *state, double most)
{
    return floor(exp(random_unit(state) * log(most + 1)));
}

static void open_kind(const struct kind *k, struct planner_setup *s)
{
    const struct planner_model *m = planner_find_model(k->model);
    const struct planner_chip *c = planner_find_chip(k->chip);

    if (!m || !c) {
        fail_msg("no preset %s or %s", k->model, k->chip);
    }
    planner_setup_init(s, m, c, k->engine, k->format, PLANNER_KV_AUTO, NULL);
}

static void check_point(const struct kind *k, const struct planner_setup *s,
                        const struct step_times *t, uint64_t *state, double *worst)
{
    const double decodes = random_unit(state) < 0.2 ? 0 : random_size(state, 2000);
    const double tokens = decodes > 0 && random_unit(state) < 0.5 ? 0 : random_size(state, 20000);
    const double context = decodes > 0 ? random_size(state, 200000) + random_unit(state) : 0;
    const double before = random_unit(state) < 0.3
                              ? -random_unit(state) * (tokens - 1) / 2
                              : random_size(state, 130000) + random_unit(state) - 1;
    const double exact = planner_step_s(s, &k->plan, decodes, context, tokens, before) * 1e6;
    const double read =
        (double)step_times_us(t, (unsigned)decodes, context, (unsigned)tokens, before);
    const double off = (fabs(read - exact) - 0.51) / exact; /* it gives whole microseconds */

    if (off > 0.01) {
        fail_msg("%s on %s: %g sequences with %g tokens, %g after %g: %g us, not %g (%.2f %%)",
                 k->model, k->chip, decodes, context, tokens, before, read, exact, off * 100);
    }
    *worst = fmax(*worst, off);
}

static void test_reads_what_the_planner_says(void **unused)
{
    uint64_t state = test_seed("step_times");

    (void)unused;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct planner_setup s;
        struct step_times *t;
        double worst = 0;

        open_kind(&kinds[i], &s);
        t = step_times_create(&s, &kinds[i].plan);
        for (int n = 0; n < 20000; n++) {
            check_point(&kinds[i], &s, t, &state, &worst);
        }
        printf("%s on %s: at most %.2f %% off\n", kinds[i].model, kinds[i].chip, worst * 100);
        step_times_free(t);
    }
}

/* A calibrated chip, and the tables do not need what they were made of any more. */
static void test_keeps_nothing(void **unused)
{
    struct planner_setup s;
    struct planner_chip chip = *planner_find_chip("h100-sxm");
    struct planner_plan plan = kinds[0].plan;
    struct step_times *plain, *slow;

    (void)unused;
    open_kind(&kinds[0], &s);
    plain = step_times_create(&s, &plan);
    chip.decode_times = 2;
    chip.prefill_times = 3;
    s.chip = &chip;
    slow = step_times_create(&s, &plan);
    memset(&s, 0xFF, sizeof(s));
    memset(&chip, 0xFF, sizeof(chip));
    memset(&plan, 0xFF, sizeof(plan));
    assert_in_range(step_times_us(slow, 32, 1000, 0, 0),
                    step_times_us(plain, 32, 1000, 0, 0) * 2 - 2,
                    step_times_us(plain, 32, 1000, 0, 0) * 2 + 2);
    assert_in_range(step_times_us(slow, 0, 0, 4096, 0), step_times_us(plain, 0, 0, 4096, 0) * 3 - 3,
                    step_times_us(plain, 0, 0, 4096, 0) * 3 + 3);
    assert_true(step_times_us(slow, 32, 1000, 4096, 0) > step_times_us(plain, 32, 1000, 4096, 0));
    step_times_free(plain);
    step_times_free(slow);
    assert_null(step_times_free(NULL));
}

/* More work never takes less time; what is beyond the tables is read at their end. */
static void test_grows(void **unused)
{
    struct planner_setup s;
    struct step_times *t;

    (void)unused;
    open_kind(&kinds[0], &s);
    t = step_times_create(&s, &kinds[0].plan);
    assert_true(step_times_first_us(t) > 0);
    for (unsigned n = 1; n < 2000; n++) {
        assert_true(step_times_us(t, n + 1, 800, 0, 0) >= step_times_us(t, n, 800, 0, 0));
        assert_true(step_times_us(t, n, 801, 0, 0) >= step_times_us(t, n, 800, 0, 0));
        assert_true(step_times_us(t, n, 800, 512, 0) > step_times_us(t, n, 800, 0, 0));
        assert_true(step_times_us(t, 0, 0, n, 9000) >= step_times_us(t, 0, 0, n, 0));
    }
    assert_int_equal(step_times_us(t, STEP_DECODES_MAX, 800, 0, 0),
                     step_times_us(t, UINT32_MAX, 800, 0, 0));
    assert_int_equal(step_times_us(t, 0, 0, STEP_TOKENS_MAX, 1e12),
                     step_times_us(t, 0, 0, STEP_TOKENS_MAX, 2e12));
    assert_true(step_times_us(t, 1, 0, 1, -1e9) >= 1);
    step_times_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_what_the_planner_says),
        cmocka_unit_test(test_keeps_nothing),
        cmocka_unit_test(test_grows),
    };

    return cmocka_run_group_tests_name("simulate/step_times", tests, NULL, NULL);
}
