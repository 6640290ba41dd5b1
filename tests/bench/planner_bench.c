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
static double search(const char *what, const struct planner_question *q)
{
    struct planner_setup s;
    struct planner_findings f;
    double started = now_s(), ms;
    size_t front = 0;

    planner_setup_init(&s, planner_find_model("DeepSeek-V3"), planner_find_chip("H200-SXM"),
                       PLANNER_ENGINE_VLLM, PLANNER_FP8, PLANNER_KV_AUTO, NULL);
    planner_search(&s, q, &f);
    ms = 1e3 * (now_s() - started);
    for (size_t i = 0; i < f.count; i++) {
        front += f.candidates[i].pareto;
    }
    printf("DeepSeek-V3 on 1,024 chips, %-28s %7zu plans, %6zu kept, %3zu on the front, %7zu "
           "evaluations, %4.0f ms\n",
           what, f.tried, f.count, front, f.evaluations, ms);
    planner_findings_finish(&f);
    return ms;
}

static double searches(void)
{
    struct planner_question q = { .max_chips = 1024, .isl = 1024, .osl = 256, .slo_tpot_s = 0.05 };
    double slowest = search("plain:", &q);

    q.sp = true;
    q.any_heads = true;
    q.across_nodes = true;
    q.draft_tokens = 2;
    q.acceptance = 0.7;
    q.isl_cv = 0.5;
    slowest = fmax(slowest, search("every shape:", &q));
    q.disaggregated = true;
    slowest = fmax(slowest, search("and disaggregated:", &q));
    q.concurrency = 5000;
    slowest = fmax(slowest, search("with a given concurrency:", &q));
    q.concurrency = 0;
    q.rate_per_s = 100;
    return fmax(slowest, search("with a given rate:", &q));
}

int main(void)
{
    double slowest = evaluations("Llama-3.1-70B", PLANNER_FP8);

    slowest = fmin(slowest, evaluations("GPT-OSS-120B", PLANNER_MXFP4));
    slowest = fmin(slowest, evaluations("DeepSeek-V3", PLANNER_FP8));
    printf("{\"evaluations\": %.0f, \"search_ms\": %.1f}\n", slowest, searches());
    return 0;
}
