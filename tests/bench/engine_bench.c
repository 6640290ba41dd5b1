// SPDX-License-Identifier: Apache-2.0
/* How fast simulated engines are by themselves: reading step times, and requests/s of many engines
 * under round robin, each step told and in jumps. engine-bench [TRACE [RATE [ENGINES]]] */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "simulate/engine.h"
#include "simulate/trace.h"

enum { ENGINES_MAX = 4096, READS = 5000000 };

static unsigned long told;

static double cpu_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void on_tokens(void *owner, uint64_t id, uint32_t n, uint64_t now_us)
{
    (void)owner;
    (void)id;
    (void)n;
    (void)now_us;
    told++;
}

static void on_done(void *owner, uint64_t id, uint32_t cached_tokens, uint64_t now_us)
{
    (void)owner;
    (void)id;
    (void)cached_tokens;
    (void)now_us;
}

static void bench_reads(const struct step_times *times)
{
    uint64_t x = 1, sum = 0;
    const double began = cpu_s();

    for (int i = 0; i < READS; i++) {
        x = x * 6364136223846793005ULL + 1;
        sum += step_times_us(times, 1 + (unsigned)(x >> 33) % 256, 500 + (double)(x >> 52),
                             1 + (unsigned)(x >> 20) % 8192, (double)(x >> 50));
    }
    printf("step time of decodes and a chunk: %.1f ns (%llu)\n", (cpu_s() - began) / READS * 1e9,
           (unsigned long long)sum);
}

/* Runs every engine up to this time. */
static unsigned long run_until(struct sim_engine **engines, unsigned from, unsigned to,
                               uint64_t until_us)
{
    unsigned long events = 0;

    for (unsigned i = from; i < to; i++) {
        while (sim_engine_next_us(engines[i]) < until_us) {
            sim_engine_step(engines[i], sim_engine_next_us(engines[i]));
            events++;
        }
    }
    return events;
}

static void bench_engines(const struct step_times *times, const struct trace *t, double rate,
                          unsigned count, unsigned jump)
{
    static struct sim_engine *engines[ENGINES_MAX];
    const struct engine_spec spec = { .times = times,
                                      .max_sequences = 256,
                                      .step_tokens = 8192,
                                      .kv_tokens = 1000000,
                                      .block_tokens = 16,
                                      .prefix_cache = true,
                                      .first_us = step_times_first_us(times),
                                      .jump_steps = jump };
    const struct sim_engine_events events = { on_tokens, on_done, NULL };
    unsigned long happened = 0, steps = 0, tokens = 0, put_back = 0;
    const double began = cpu_s();
    double took;

    told = 0;
    for (unsigned i = 0; i < count; i++) {
        engines[i] = sim_engine_create(&spec, &events);
    }
    for (size_t i = 0; i < t->count; i++) {
        const struct trace_request *q = &t->requests[i];
        const struct sim_request r = { i, q->input_tokens, q->output_tokens, q->block_count,
                                       q->blocks };
        const uint64_t at_us = (uint64_t)(q->at_s / rate * 1e6);
        const unsigned to = (unsigned)(i % count);

        happened += run_until(engines, to, to + 1, at_us);
        if (sim_engine_add(engines[to], &r, at_us) < 0) {
            fprintf(stderr, "request %zu is too long\n", i);
        }
    }
    happened += run_until(engines, 0, count, UINT64_MAX);
    took = cpu_s() - began;
    for (unsigned i = 0; i < count; i++) {
        const struct sim_engine_figures f = sim_engine_figures(engines[i], UINT64_MAX);

        steps += f.steps;
        tokens += f.output_tokens;
        put_back += f.preemptions;
        engines[i] = sim_engine_free(engines[i]);
    }
    printf("%s, %u engines, %g times as fast, jumps of %u: %.0f requests/s, %.1f M steps/s, "
           "%.0f ns an event, %.1f sequences in a step, %.1f told a request, %lu put back\n",
           t->name, count, rate, jump, (double)t->count / took, (double)steps / took * 1e-6,
           took / (double)happened * 1e9, (double)tokens / (double)steps,
           (double)told / (double)t->count, put_back);
}

int main(int argc, char **argv)
{
    const struct planner_plan plan = {
        .tp = 4, .pp = 1, .adp = 1, .ep = 1, .moe_tp = 1, .replicas = 1
    };
    const struct trace_recipe recipe = { .rate_rps = 400,
                                         .isl = 1000,
                                         .osl = 250,
                                         .isl_cv = 1,
                                         .osl_cv = 1,
                                         .requests = 100000,
                                         .families = 1000,
                                         .shared_share = 0.5,
                                         .seed = 1 };
    const double rate = argc > 2 ? strtod(argv[2], NULL) : 1;
    const unsigned long count = argc > 3 ? strtoul(argv[3], NULL, 10) : 100;
    struct planner_setup s;
    struct step_times *times;
    struct trace t;
    struct error e = { 0 };
    double began = cpu_s();

    if (argc > 1 && trace_read(argv[1], &t, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    if (argc <= 1) {
        trace_make(&recipe, &t);
    }
    if (rate <= 0 || count < 1 || count > ENGINES_MAX) {
        fprintf(stderr, "engine-bench [TRACE [RATE [ENGINES]]]\n");
        return 1;
    }
    printf("%zu requests in %.1f ms\n", t.count, (cpu_s() - began) * 1e3);
    planner_setup_init(&s, planner_find_model("llama-3.1-70b"), planner_find_chip("h100-sxm"),
                       PLANNER_ENGINE_VLLM, PLANNER_FP8, PLANNER_KV_AUTO, NULL);
    began = cpu_s();
    times = step_times_create(&s, &plan);
    printf("tables in %.1f ms\n", (cpu_s() - began) * 1e3);
    bench_reads(times);
    bench_engines(times, &t, rate, (unsigned)count, 1);
    bench_engines(times, &t, rate, (unsigned)count, 16);
    step_times_free(times);
    trace_finish(&t);
    return 0;
}
