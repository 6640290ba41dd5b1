// SPDX-License-Identifier: Apache-2.0
/* A closed loop on one simulated engine comes to what the planner says of it, though one goes step
 * by step and the other by a formula. */
#include <math.h>
#include <string.h>

#include "simulate/engine.h"
#include "unit.h"

enum { REQUESTS = 3000, FIRST = 500 };

static struct {
    struct sim_engine *engine;
    uint64_t state, now, added_us[REQUESTS], first_us[REQUESTS];
    uint32_t output[REQUESTS];
    unsigned isl, osl, count, ended;
    double ttft_s, tpot_s;
} loop;

/* Lengths vary, or all would come and go together for ever. */
static void add_next(void)
{
    const unsigned id = loop.count++;
    struct sim_request r = { .id = id, .input_tokens = loop.isl };

    loop.state = loop.state * 6364136223846793005ULL + 1442695040888963407ULL;
    r.output_tokens = loop.osl / 2 + (uint32_t)((loop.state >> 33) % loop.osl);
    loop.output[id] = r.output_tokens;
    loop.added_us[id] = loop.now;
    assert_int_equal(sim_engine_add(loop.engine, &r, loop.now), 0);
}

static void on_tokens(void *owner, uint64_t id, uint32_t n, uint64_t now_us)
{
    (void)owner;
    (void)n;
    if (!loop.first_us[id]) {
        loop.first_us[id] = now_us;
    }
}

static void on_done(void *owner, uint64_t id, uint32_t cached_tokens, uint64_t now_us)
{
    (void)owner;
    (void)cached_tokens;
    if (id >= FIRST) {
        loop.ended++;
        loop.ttft_s += (double)(loop.first_us[id] - loop.added_us[id]) * 1e-6;
        loop.tpot_s += (double)(now_us - loop.first_us[id]) * 1e-6 / (loop.output[id] - 1);
    }
    if (loop.count < REQUESTS) {
        add_next();
    }
}

static void run_loop(const struct planner_setup *s, const struct planner_plan *plan,
                     unsigned concurrency)
{
    struct step_times *times = step_times_create(s, plan);
    const struct engine_spec spec = { .times = times,
                                      .max_sequences = 1024,
                                      .step_tokens = 8192,
                                      .kv_tokens = 400000,
                                      .block_tokens = 16,
                                      .first_us = step_times_first_us(times),
                                      .jump_steps = 8 };
    const struct sim_engine_events events = { on_tokens, on_done, NULL };

    loop.engine = sim_engine_create(&spec, &events);
    while (loop.count < concurrency) {
        add_next();
    }
    while (sim_engine_next_us(loop.engine) != UINT64_MAX) {
        loop.now = sim_engine_next_us(loop.engine);
        sim_engine_step(loop.engine, loop.now);
    }
    assert_int_equal(sim_engine_figures(loop.engine, loop.now).preemptions, 0);
    loop.ttft_s /= loop.ended;
    loop.tpot_s /= loop.ended;
    loop.engine = sim_engine_free(loop.engine);
    step_times_free(times);
}

static void check(enum planner_engine engine, unsigned isl, unsigned concurrency)
{
    const struct planner_plan plan = {
        .tp = 1, .pp = 1, .adp = 1, .ep = 1, .moe_tp = 1, .replicas = 1
    };
    const struct planner_load load = {
        .kind = PLANNER_CLOSED_LOOP, .isl = isl, .osl = 250, .concurrency = concurrency
    };
    struct planner_setup s;
    struct planner_result r;

    planner_setup_init(&s, planner_find_model("llama-3.1-8b"), planner_find_chip("h100-sxm"),
                       engine, PLANNER_BF16, PLANNER_KV_AUTO, NULL);
    planner_evaluate(&s, &plan, &load, &r);
    memset(&loop, 0, sizeof(loop));
    loop.isl = isl;
    loop.osl = 250;
    loop.state = 11;
    run_loop(&s, &plan, concurrency);
    printf("%s, %u of %u tokens: TPOT %.2f ms, planner %.2f; TTFT %.0f ms, planner %.0f\n",
           planner_engine_name(engine), concurrency, isl, loop.tpot_s * 1e3, r.tpot_s * 1e3,
           loop.ttft_s * 1e3, r.ttft_s * 1e3);
    assert_true(fabs(loop.tpot_s / r.tpot_s - 1) < 0.1);
    if (concurrency == 1) { /* in a crowd the planner counts its first rush in */
        assert_true(fabs(loop.ttft_s / r.ttft_s - 1) < 0.02);
    }
}

static void test_closed_loop(void **unused)
{
    (void)unused;
    for (int engine = PLANNER_ENGINE_VLLM; engine <= PLANNER_ENGINE_SGLANG; engine++) {
        check(engine, 1000, 1);
        check(engine, 6000, 1);
        if (engine == PLANNER_ENGINE_SGLANG) { /* the planner's crowd comes in waves there */
            continue;
        }
        check(engine, 1000, 8);
        check(engine, 1000, 64);
        check(engine, 6000, 32);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_closed_loop),
    };

    return cmocka_run_group_tests_name("simulate/engine_load", tests, NULL, NULL);
}
