// SPDX-License-Identifier: Apache-2.0
/*
 * How long one pass of the placement policy takes on large fleets: all models new; a full fleet
 * where most of those that wait must preempt, be spread, or be refused; no room for any. And how
 * near to the best possible value it comes on small random cases. The last line is for bench.mts.
 */
#include <math.h>
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

static double now_ms(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
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

static double median(double *ms)
{
    qsort(ms, ROUNDS, sizeof(ms[0]), compare_doubles);
    return ms[ROUNDS / 2];
}

static void print_plan(const struct policy_plan *plan)
{
    unsigned kinds[POLICY_ACTION_MAX_] = { 0 };

    for (size_t a = 0; a < plan->action_count; a++) {
        kinds[plan->actions[a].kind]++;
    }
    printf("%u reserved, %u displaced, %zu wait)\n", kinds[POLICY_RESERVE], kinds[POLICY_DISPLACE],
           plan->verdict_count);
}

/* The median of the passes, on the wall; on a busy machine the processor's own tells more. */
static double measure(const char *what, const struct policy_snapshot *s)
{
    double wall[ROUNDS], cpu[ROUNDS];
    struct policy_plan plan = { 0 };

    for (int round = 0; round < ROUNDS; round++) {
        double started = now_ms(CLOCK_MONOTONIC), cpu_started = now_ms(CLOCK_PROCESS_CPUTIME_ID);

        policy_plan_finish(&plan);
        policy_decide(s, &plan);
        cpu[round] = now_ms(CLOCK_PROCESS_CPUTIME_ID) - cpu_started;
        wall[round] = now_ms(CLOCK_MONOTONIC) - started;
    }
    printf("placement pass, %zu devices, %zu models, %s: %.2f ms (CPU %.2f; ", s->device_count,
           s->instance_count, what, median(wall), median(cpu));
    print_plan(&plan);
    policy_plan_finish(&plan);
    return median(wall);
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

/* All wait, and others hold everything. */
static void shut_out(struct policy_snapshot *s, struct policy_device *devices,
                     struct policy_instance *models)
{
    for (size_t n = 0; n < s->instance_count; n++) {
        models[n].state = POLICY_WAITING;
        models[n].in_flight = 0;
    }
    for (size_t d = 0; d < s->device_count; d++) {
        devices[d].other_bytes = devices[d].total_bytes - GB;
    }
}

/* The slowest of them. */
static double passes(size_t device_count)
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
    double slowest;

    slowest = measure("all new", &s);
    fill(&s, devices, models);
    slowest = fmax(slowest, measure("full", &s));
    s.rules.preemption = false;
    slowest = fmax(slowest, measure("full, no preemption", &s));
    s.rules.preemption = true;
    shut_out(&s, devices, models);
    slowest = fmax(slowest, measure("no room at all", &s));
    free(devices);
    free(models);
    return slowest;
}

struct shares {
    unsigned kept; /* cases in which a device is kept for one that only time keeps out */
    double optimal, worst;
};

/* As they are: what is kept counts as not optimal, but its worth is not comparable. */
static struct shares optimality(void)
{
    struct shares s = { .worst = 1 };
    unsigned optimal = 0;

    for (uint64_t seed = 1; seed <= CASES; seed++) {
        struct policy_case c;
        struct policy_plan plan;
        struct reference_value best, got;

        policy_case_make(&c, seed);
        policy_decide(&c.snapshot, &plan);
        best = policy_reference_best(&c);
        got = policy_reference_of_plan(&c, &plan);
        optimal += policy_reference_compare(&got, &best) == 0;
        if (policy_reference_is_kept(&plan)) {
            s.kept++;
        } else {
            s.worst = fmin(s.worst, policy_reference_share(&got, &best));
        }
        policy_plan_finish(&plan);
    }
    s.optimal = (double)optimal / CASES;
    printf(
        "placement value, %d random cases: %.1f %% optimal, the worst %.1f %% of the best (%u in "
        "which a device is kept for one that only time keeps out are not among the worst)\n",
        CASES, 100 * s.optimal, 100 * s.worst, s.kept);
    return s;
}

int main(void)
{
    double few = passes(1000), many = passes(10000);
    struct shares shares = optimality();

    printf("{\"ms_1000\": %.3f, \"ms_10000\": %.3f, \"optimal\": %.3f, \"worst\": %.3f}\n", few,
           many, shares.optimal, shares.worst);
    return 0;
}
