// SPDX-License-Identifier: Apache-2.0
/*
 * How many plans the planner evaluates in a second on one core, by kind of model, and how long a
 * search over 1,024 chips takes. The last line is for bench.mts.
 */
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "base/macros.h"
#include "planner/planner.h"

enum { ROUNDS = 500000 };

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double evaluations(const char *model, enum planner_format format)
{
    const struct planner_model *m = planner_find_model(model);
    const struct planner_plan plan = { 8, 1, 1, 1, m->experts > 0 ? 8 : 1, 1 };
    struct planner_setup s;
    struct planner_result r;
    double started = now_s(), sum = 0, per_second;

    planner_setup_init(&s, m, planner_find_chip("H200-SXM"), PLANNER_ENGINE_VLLM, format,
                       PLANNER_KV_AUTO, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        const struct planner_load load = {
            .kind = PLANNER_CLOSED_LOOP, .isl = 1024, .osl = 256, .concurrency = 1 + i % 256
        };

        planner_evaluate(&s, &plan, &load, &r);
        sum += r.tpot_s;
    }
    per_second = ROUNDS / (now_s() - started);
    printf("%-16s %8.0f evaluations/s (mean TPOT %.2f ms)\n", model, per_second,
           1e3 * sum / ROUNDS);
    return per_second;
}

/* Milliseconds. */
static double search(const char *model)
{
    const struct planner_question q = {
        .max_chips = 1024, .isl = 1024, .osl = 256, .slo_tpot_s = 0.05
    };
    struct planner_setup s;
    struct planner_findings f;
    double started = now_s(), ms;

    planner_setup_init(&s, planner_find_model(model), planner_find_chip("H200-SXM"),
                       PLANNER_ENGINE_VLLM, PLANNER_FP8, PLANNER_KV_AUTO, NULL);
    planner_search(&s, &q, &f);
    ms = 1e3 * (now_s() - started);
    printf("%-16s 1,024 chips: %zu plans, %zu evaluations, %.0f ms\n", model, f.tried,
           f.evaluations, ms);
    planner_findings_finish(&f);
    return ms;
}

int main(void)
{
    double slowest = evaluations("Llama-3.1-70B", PLANNER_FP8);

    slowest = fmin(slowest, evaluations("GPT-OSS-120B", PLANNER_MXFP4));
    slowest = fmin(slowest, evaluations("DeepSeek-V3", PLANNER_FP8));
    printf("{\"evaluations\": %.0f, \"search_ms\": %.1f}\n", slowest, search("DeepSeek-V3"));
    return 0;
}
