// SPDX-License-Identifier: Apache-2.0
/*
 * How long one decision of dispatch takes, from asking for an instance to having it, over 64 and
 * over 10,000 instances, by every strategy: all of what a request costs there, not the strategy's
 * choice alone. Instances are busy at random, of different speeds, learnt of as requests end; asks
 * bring a prompt's beginning and a session. The last line is for bench.mts.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/sim.h"
#include "dispatch/dispatch.h"

enum { MOST = 10000, SLOTS = 4, CONVERSATIONS = 200, BLOCKS = 16, ROUNDS = 3001 };

/* The rooms below, as far as dispatch looks at them: one model, and its instances. */

static struct model_config config_of_model = { .id = UNCONST(char *, "m") };
static const struct model model = { .id = 1, .config = &config_of_model, .wanted = true };
static struct instance instances[MOST];
static struct map by_uuid;
static size_t instance_count;

const struct model *models_get(const struct models *m, int64_t id)
{
    return id == 1 ? &model : NULL;
}

const struct instance *engines_next(const struct engines *e, size_t *cursor)
{
    return *cursor < instance_count ? &instances[(*cursor)++] : NULL;
}

const struct instance *engines_find(const struct engines *e, const char *uuid)
{
    return map_get(&by_uuid, uuid);
}

const struct instance *engines_of_model(const struct engines *e, int64_t model_id)
{
    return instance_count ? &instances[0] : NULL;
}

void engines_drained(struct engines *e, const char *uuid)
{
}

/* The requests */

static uint64_t random_state = 7;

static uint64_t below(uint64_t n)
{
    return n ? splitmix_next(&random_state) % n : 0;
}

static void on_grant(void *owner, const struct instance *in)
{
    *(bool *)owner = true;
}

static void on_refuse(void *owner, const struct error *e)
{
    abort();
}

static uint64_t prefixes[CONVERSATIONS][BLOCKS];

static struct dispatch_ask make_ask(bool *granted)
{
    size_t conversation = below(CONVERSATIONS);
    uint32_t prompt = 1024 + (uint32_t)below(2000), limit = 16 + (uint32_t)below(1000);

    return (struct dispatch_ask){ .model_id = 1,
                                  .tokens = prompt + limit,
                                  .prompt_tokens = prompt,
                                  .output_limit = limit,
                                  .prefix = prefixes[conversation],
                                  .prefix_count = BLOCKS,
                                  .session = 1 + conversation,
                                  .on_grant = on_grant,
                                  .on_refuse = on_refuse,
                                  .owner = granted };
}

struct scene {
    struct world *world;
    struct config *config;
    struct metrics *metrics;
    struct dispatch *dispatch;
    struct ticket *tickets[MOST * SLOTS];
    size_t ticket_count;
};

static void bring_up(struct scene *s, size_t count)
{
    map_init(&by_uuid);
    instance_count = count;
    for (size_t i = 0; i < count; i++) {
        struct instance *in = &instances[i];
        struct instance_change ready = { in, INSTANCE_STARTING, INSTANCE_READY, false, false };

        *in = (struct instance){ .model_id = 1, .slots = SLOTS, .state = INSTANCE_READY };
        snprintf(in->uuid, sizeof(in->uuid), "4c9c4c0e-4a3b-4e57-9d84-%012zu", i);
        map_put(&by_uuid, in->uuid, in);
        dispatch_on_instance(s->dispatch, &ready);
    }
}

static void open_scene(struct scene *s, size_t count)
{
    static const struct option_table *tables[] = { &dispatch_options, NULL };
    static const char *const env[] = { NULL };
    struct error e;
    int r = config_load(NULL, env, tables, &s->config, &e);

    assert(r == 0);
    s->world = sim_create(1);
    s->metrics = metrics_create();
    s->dispatch = dispatch_create(s->world, s->config, NULL, NULL, s->metrics);
    s->ticket_count = 0;
    bring_up(s, count);
}

static void close_scene(struct scene *s)
{
    while (s->ticket_count) {
        dispatch_release(s->tickets[--s->ticket_count], OUTCOME_NONE);
    }
    dispatch_destroy(s->dispatch);
    metrics_destroy(s->metrics);
    config_free(s->config);
    world_destroy(s->world);
    map_finish(&by_uuid);
}

/* Any one ends, after a while. */
static void end_one(struct scene *s)
{
    size_t i = below(s->ticket_count);
    struct ticket *t = s->tickets[i];

    s->tickets[i] = s->tickets[--s->ticket_count];
    sim_run_for(s->world, 1 + below(20));
    dispatch_progress(t, 1);
    sim_run_for(s->world, 1 + below(20));
    dispatch_progress(t, 1 + (uint32_t)below(300));
    dispatch_release(t, OUTCOME_GOOD);
    sim_run_for(s->world, 1);
}

/* Returns how long it took, in microseconds. */
static double begin_one(struct scene *s)
{
    const struct instance *in;
    struct timespec from, to;
    struct ticket *t;
    struct error e;
    bool granted;
    struct dispatch_ask ask = make_ask(&granted);
    int r;

    clock_gettime(CLOCK_MONOTONIC, &from);
    r = dispatch_acquire(s->dispatch, &ask, &t, &in, &e);
    clock_gettime(CLOCK_MONOTONIC, &to);
    assert(r == 1);
    s->tickets[s->ticket_count++] = t;
    return 1e6 * (double)(to.tv_sec - from.tv_sec) + 1e-3 * (double)(to.tv_nsec - from.tv_nsec);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The median of decisions, with the instances busy to two thirds of their slots. */
static double measure(struct scene *s, const struct strategy *strategy)
{
    static double us[ROUNDS];
    struct error e;
    int r = dispatch_set_strategy(s->dispatch, 0, strategy->name, &e);

    assert(r == 0);
    while (s->ticket_count < instance_count * SLOTS * 2 / 3) {
        (void)begin_one(s);
    }
    for (int round = 0; round < ROUNDS; round++) {
        end_one(s);
        us[round] = begin_one(s);
    }
    qsort(us, ROUNDS, sizeof(us[0]), compare_doubles);
    printf("one decision over %zu instances by %s: %.2f us (p99 %.2f)\n", instance_count,
           strategy->name, us[ROUNDS / 2], us[ROUNDS * 99 / 100]);
    return us[ROUNDS / 2];
}

/* The slowest strategy's. */
static double measure_all(size_t count)
{
    static struct scene s;
    const struct strategy *strategy;
    size_t cursor = 0;
    double most = 0;

    open_scene(&s, count);
    while ((strategy = strategy_next(&cursor))) {
        double us = measure(&s, strategy);

        most = MAX_OF(most, us);
    }
    close_scene(&s);
    return most;
}

int main(void)
{
    double few, many;

    log_set_level(LOG_ERROR);
    for (size_t c = 0; c < CONVERSATIONS; c++) {
        for (size_t b = 0; b < BLOCKS; b++) {
            prefixes[c][b] = splitmix_next(&random_state) | 1;
        }
    }
    few = measure_all(64);
    many = measure_all(MOST);
    printf("dispatch decision, slowest strategy, us: %.2f over 64 instances, %.2f over %d\n", few,
           many, MOST);
    return 0;
}
