// SPDX-License-Identifier: Apache-2.0
/*
 * How long one pass of the placement policy takes on large fleets: all models new, and a full fleet
 * where most of those that wait must preempt, be spread, or be refused. And how near to the best
 * possible value it comes on small random cases.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "policy_reference.h"

enum { MODELS = 500, ROUNDS = 21, CASES = 200 };
#define GB 1000000000ULL

static uint64_t random_state = 7;

static uint64_t below(uint64_t n)
{
    random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (random_state >> 33) % n;
}

/* Of the processor: others may share the machine. */
static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static struct policy_device *make_devices(size_t count)
{
    static const uint64_t sizes[] = { 24, 48, 80, 141 };
    struct policy_device *devices = xcalloc(count, sizeof(*devices));

    for (size_t d = 0; d < count; d++) {
        devices[d] = (struct policy_device){ .index = (int)d,
                                             .vendor = d % 10 == 9,
                                             .total_bytes = sizes[below(4)] * GB };
    }
    return devices;
}

static struct policy_instance *make_models(void)
{
    struct policy_instance *models = xcalloc(MODELS, sizeof(*models));

    for (size_t n = 0; n < MODELS; n++) {
        bool large = below(5) == 0;

        models[n] = (struct policy_instance){
            .id = n,
            .model_id = (int64_t)n,
            .priority = 1 + (int)below(10),
            .may_preempt = true,
            .need = { .split_bytes = (large ? 60 + below(400) : 2 + below(60)) * GB,
                      .fixed_bytes = GB,
                      .min_devices = 1,
                      .max_devices = large ? 16 : 1 + (unsigned)below(2) },
            .vendor = -1,
            .since_ms = below(1000),
            .use_rate = (double)below(100) / 10,
            .reload_s = (double)(1 + below(60)),
            .waiting = (unsigned)below(3),
            .waiting_since_ms = 1 + below(1000),
        };
    }
    return models;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void measure(const char *what, const struct policy_snapshot *s)
{
    double ms[ROUNDS];
    unsigned kinds[POLICY_ACTION_MAX_] = { 0 };
    size_t waiting = 0;

    for (int round = 0; round < ROUNDS; round++) {
        struct policy_plan plan;
        double started = now_ms();

        policy_decide(s, &plan);
        ms[round] = now_ms() - started;
        for (size_t a = 0; round == 0 && a < plan.action_count; a++) {
            kinds[plan.actions[a].kind]++;
        }
        waiting = plan.verdict_count;
        policy_plan_finish(&plan);
    }
    qsort(ms, ROUNDS, sizeof(ms[0]), compare_doubles);
    printf("placement pass, %zu devices, %zu models, %s: %.2f ms (%u reserved, %u displaced, %zu "
           "wait)\n",
           s->device_count, s->instance_count, what, ms[ROUNDS / 2], kinds[POLICY_RESERVE],
           kinds[POLICY_DISPLACE], waiting);
}

/* The plan's places are taken, of two in three; then others' memory leaves little of the rest. */
static void fill(struct policy_snapshot *s, struct policy_device *devices,
                 struct policy_instance *models)
{
    struct policy_plan plan;

    policy_decide(s, &plan);
    for (size_t a = 0; a < plan.action_count; a++) {
        struct policy_instance *m = &models[plan.actions[a].instance];

        if (plan.actions[a].kind == POLICY_RESERVE && below(3) > 0) {
            m->state = POLICY_READY;
            m->place = plan.actions[a].place;
            m->in_flight = (unsigned)below(3);
            m->waiting = 0;
            for (unsigned k = 0; k < m->place.count; k++) {
                devices[m->place.shares[k].device].held_bytes += m->place.shares[k].bytes;
            }
        }
    }
    for (size_t d = 0; d < s->device_count; d++) {
        uint64_t rest = devices[d].total_bytes - devices[d].held_bytes;

        devices[d].other_bytes = rest > 4 * GB ? rest - below(4) * GB : 0;
        devices[d].held_bytes = 0;
    }
    policy_plan_finish(&plan);
}

static void passes(size_t device_count)
{
    struct policy_device *devices = make_devices(device_count);
    struct policy_instance *models = make_models();
    struct policy_snapshot s = {
        .now_ms = 1000000,
        .rules = { .preemption = true,
                   .auto_recovery = true,
                   .threshold = 1.0,
                   .min_residency_ms = 10000,
                   .swap_wait_ms = 15000 },
        .devices = devices,
        .device_count = device_count,
        .instances = models,
        .instance_count = MODELS,
    };

    measure("all new", &s);
    fill(&s, devices, models);
    measure("full", &s);
    s.rules.preemption = false;
    measure("full, no preemption", &s);
    free(devices);
    free(models);
}

static void optimality(void)
{
    unsigned optimal = 0;
    double worst = 1;

    for (uint64_t seed = 1; seed <= CASES; seed++) {
        struct policy_case c;
        struct policy_plan plan;
        struct reference_value best, got;
        double share;

        policy_case_make(&c, seed);
        policy_decide(&c.snapshot, &plan);
        best = policy_reference_best(&c);
        got = policy_reference_of_plan(&c, &plan);
        share = policy_reference_share(&got, &best);
        optimal += policy_reference_compare(&got, &best) == 0;
        worst = share < worst ? share : worst;
        policy_plan_finish(&plan);
    }
    printf("placement value, %d random cases: %.1f %% optimal, the worst %.1f %% of the best\n",
           CASES, 100.0 * optimal / CASES, 100 * worst);
}

int main(void)
{
    passes(1000);
    passes(10000);
    optimality();
    return 0;
}
