// SPDX-License-Identifier: Apache-2.0
/*
 * Dispatch in a simulated world, over a catalogue and engines that are a few lines of this file.
 * Random histories of requests, instances that come and go, and models that stop, against the rules
 * that a user would notice when broken.
 */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/sim.h"
#include "dispatch/dispatch.h"

enum { MODELS = 3, INSTANCES = 4, SLOTS = 2, ASKERS = 200 };

/* The rooms below, as far as dispatch looks at them. */

static struct model models[MODELS];
static struct model_config configs[MODELS];
static bool model_exists[MODELS];
static struct instance instances[INSTANCES];
static bool instance_exists[INSTANCES];
static int drained[INSTANCES];

const struct model *models_get(const struct models *m, int64_t id)
{
    return id >= 1 && id <= MODELS && model_exists[id - 1] ? &models[id - 1] : NULL;
}

const struct instance *engines_find(const struct engines *e, const char *uuid)
{
    for (int i = 0; i < INSTANCES; i++) {
        if (instance_exists[i] && strcmp(instances[i].uuid, uuid) == 0) {
            return &instances[i];
        }
    }
    return NULL;
}

const struct instance *engines_of_model(const struct engines *e, int64_t model_id)
{
    for (int i = 0; i < INSTANCES; i++) {
        if (instance_exists[i] && instances[i].model_id == model_id) {
            return &instances[i];
        }
    }
    return NULL;
}

void engines_drained(struct engines *e, const char *uuid)
{
    for (int i = 0; i < INSTANCES; i++) {
        drained[i] += instance_exists[i] && strcmp(instances[i].uuid, uuid) == 0;
    }
}

/* A scene: one dispatch, and askers that note what they were told. */

struct scene;

struct asker {
    struct scene *scene;
    struct ticket *ticket;
    char granted[UUID_SIZE]; /* "" while waiting */
    int refused;             /* negative errno */
    int64_t model_id;
    unsigned order; /* of asking */
};

struct scene {
    struct world *w;
    struct config *config;
    struct metrics *metrics;
    struct dispatch *d;
    struct asker askers[ASKERS];
    unsigned asked, last_granted[MODELS]; /* order of the last grant: first come, first served */
};

static void open_scene(struct scene *s, uint64_t seed)
{
    static const struct option_table *tables[] = { &dispatch_options, NULL };
    static const char *const env[] = { "BERTH_GATEWAY_MAX_QUEUE=20", NULL };
    struct error e = { 0 };

    *s = (struct scene){ .w = sim_create(seed), .metrics = metrics_create() };
    assert_int_equal(config_load(NULL, env, tables, &s->config, &e), 0);
    for (int i = 0; i < MODELS; i++) {
        static char ids[MODELS][2] = { "a", "b", "c" };

        configs[i] = (struct model_config){ .id = ids[i], .name = ids[i] };
        models[i] = (struct model){ .id = i + 1, .config = &configs[i], .wanted = true };
        model_exists[i] = true;
    }
    memset(instance_exists, 0, sizeof(instance_exists));
    memset(drained, 0, sizeof(drained));
    s->d = dispatch_create(s->w, s->config, NULL, NULL, s->metrics);
}

static void close_scene(struct scene *s)
{
    for (int i = 0; i < ASKERS; i++) {
        if (s->askers[i].ticket) {
            dispatch_release(s->askers[i].ticket);
        }
    }
    dispatch_destroy(s->d);
    metrics_destroy(s->metrics);
    config_free(s->config);
    world_destroy(s->w);
}

static void on_grant(void *owner, const struct instance *in)
{
    struct asker *a = owner;
    unsigned *last = &a->scene->last_granted[a->model_id - 1];

    assert_int_equal(in->model_id, a->model_id);
    assert_int_equal(in->state, INSTANCE_READY);
    assert_string_equal(a->granted, "");
    assert_true(a->order > *last);
    *last = a->order;
    memcpy(a->granted, in->uuid, UUID_SIZE);
}

static void on_refuse(void *owner, const struct error *e)
{
    struct asker *a = owner;

    a->refused = e->code;
    a->ticket = NULL;
    assert_true(strlen(e->text) > 10);
}

static int ask(struct scene *s, struct asker *a, int64_t model_id)
{
    struct dispatch_ask what = { .model_id = model_id,
                                 .tokens = 100,
                                 .on_grant = on_grant,
                                 .on_refuse = on_refuse,
                                 .owner = a };
    const struct instance *in = NULL;
    struct error e = { 0 };
    int r;

    *a = (struct asker){ .scene = s, .model_id = model_id, .order = ++s->asked };
    r = dispatch_acquire(s->d, &what, &a->ticket, &in, &e);
    if (r == 1) {
        on_grant(a, in);
    } else if (r < 0) {
        assert_true(strlen(e.text) > 10);
        a->refused = r;
    }
    return r;
}

static void tell(struct scene *s, int i, enum instance_state to, bool gone)
{
    struct instance_change c = { &instances[i], instances[i].state, to, gone };

    instances[i].state = to;
    dispatch_on_instance(s->d, &c);
    if (gone) {
        instance_exists[i] = false;
    }
}

static void bring_up(struct scene *s, int i, int64_t model_id)
{
    static unsigned serial;

    instances[i] =
        (struct instance){ .model_id = model_id, .state = INSTANCE_STARTING, .slots = SLOTS };
    snprintf(instances[i].uuid, UUID_SIZE, "instance-%d-%u", i, ++serial);
    instance_exists[i] = true;
    drained[i] = 0;
    tell(s, i, INSTANCE_READY, false);
}

static void fills_slots_then_queues_in_order(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    for (int i = 0; i < SLOTS + 1; i++) {
        assert_int_equal(ask(&s, &s.askers[i], 1), 1);
    }
    assert_int_equal(ask(&s, &s.askers[3], 1), 0);
    assert_int_equal(ask(&s, &s.askers[4], 1), 0);
    assert_int_equal(dispatch_position(s.askers[4].ticket), 2);
    dispatch_release(TAKE_PTR(s.askers[0].ticket));
    assert_string_equal(s.askers[3].granted, ""); /* never within the release */
    sim_run_for(s.w, 1);
    assert_string_equal(s.askers[3].granted, instances[0].uuid);
    assert_string_equal(s.askers[4].granted, "");
    assert_int_equal(dispatch_model_load(s.d, 1).in_flight, SLOTS + 1);
    assert_int_equal(dispatch_model_load(s.d, 1).waiting, 1);
    close_scene(&s);
}

static void prefers_the_least_outstanding_tokens(void **state)
{
    const struct candidate c[] = {
        { "a", 1, 5, 900 }, { "b", 3, 5, 100 }, { "c", 5, 5, 0 }, { "d", 2, 5, 100 }
    };

    assert_int_equal(least_outstanding_tokens.choose(c, 4, 50), 3);
    assert_int_equal(least_outstanding_tokens.choose(c, 3, 50), 1);
    assert_int_equal(least_outstanding_tokens.choose(c + 2, 1, 50), -1);
    assert_int_equal(least_outstanding_tokens.choose(c, 0, 50), -1);
}

static void a_full_line_and_a_long_wait_are_refused(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(ask(&s, &s.askers[i], 1), 0);
    }
    assert_int_equal(ask(&s, &s.askers[20], 1), -EAGAIN);
    assert_in_range(dispatch_retry_after_s(s.d, 1), 1, 400);
    sim_run_for(s.w, 61000);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(s.askers[i].refused, -ETIME);
    }
    assert_int_equal(dispatch_model_load(s.d, 1).waiting, 0);
    close_scene(&s);
}

static void a_stopped_or_failed_model_refuses_those_who_wait(void **state)
{
    struct scene s;
    struct model_change c = { MODEL_WANTED_CHANGED, 1, "a", &models[0] };

    open_scene(&s, 1);
    assert_int_equal(ask(&s, &s.askers[0], 1), 0);
    models[0].wanted = false;
    dispatch_on_model(s.d, &c);
    sim_run_for(s.w, 1);
    assert_int_equal(s.askers[0].refused, -ESRCH);
    assert_int_equal(ask(&s, &s.askers[1], 1), -ESRCH);

    bring_up(&s, 0, 2);
    tell(&s, 0, INSTANCE_BACKOFF, false);
    assert_int_equal(ask(&s, &s.askers[2], 2), 0);
    tell(&s, 0, INSTANCE_FAILED, false);
    sim_run_for(s.w, 1);
    assert_int_equal(s.askers[2].refused, -ESRCH);
    assert_int_equal(ask(&s, &s.askers[3], 99), -ENOENT);
    close_scene(&s);
}

static void draining_is_told_once_nothing_is_in_flight(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    assert_int_equal(ask(&s, &s.askers[0], 1), 1);
    tell(&s, 0, INSTANCE_DRAINING, false);
    sim_run_for(s.w, 10);
    assert_int_equal(drained[0], 0);
    assert_int_equal(ask(&s, &s.askers[1], 1), 0);
    dispatch_release(TAKE_PTR(s.askers[0].ticket));
    sim_run_for(s.w, 10);
    assert_int_equal(drained[0], 1);
    assert_string_equal(s.askers[1].granted, "");
    close_scene(&s);
}

/* A model that was deleted while its instance was loading: nobody was ever sent there. */
static void draining_is_told_of_an_instance_that_nobody_used(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    model_exists[0] = false;
    bring_up(&s, 0, 1);
    tell(&s, 0, INSTANCE_DRAINING, false);
    sim_run_for(s.w, 10);
    assert_int_equal(drained[0], 1);
    close_scene(&s);
}

static void draining_is_told_after_the_model_was_deleted(void **state)
{
    struct scene s;
    struct model_change c = { MODEL_REMOVED, 1, "a", &models[0] };

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    bring_up(&s, 1, 1);
    model_exists[0] = false;
    dispatch_on_model(s.d, &c);
    sim_run_for(s.w, 10);
    tell(&s, 0, INSTANCE_DRAINING, false);
    tell(&s, 1, INSTANCE_DRAINING, false);
    sim_run_for(s.w, 10);
    assert_int_equal(drained[0], 1);
    assert_int_equal(drained[1], 1);
    close_scene(&s);
}

/* Its instance lost the request: it is asked for again. */
static int ask_again(struct scene *s, struct asker *a, bool unreachable)
{
    char uuid[UUID_SIZE];
    struct dispatch_ask what = { .model_id = a->model_id,
                                 .tokens = 100,
                                 .exclude = uuid,
                                 .exclude_ms = 1000,
                                 .unreachable = unreachable,
                                 .on_grant = on_grant,
                                 .on_refuse = on_refuse,
                                 .owner = a };
    const struct instance *in = NULL;
    struct error e = { 0 };
    int r;

    memcpy(uuid, a->granted, UUID_SIZE);
    a->granted[0] = '\0';
    a->order = ++s->asked;
    dispatch_release(TAKE_PTR(a->ticket));
    r = dispatch_acquire(s->d, &what, &a->ticket, &in, &e);
    if (r == 1) {
        on_grant(a, in);
    }
    return r;
}

static void who_lost_his_instance_gets_another_at_once(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    assert_int_equal(ask(&s, &s.askers[0], 1), 1);
    bring_up(&s, 1, 1);
    assert_int_equal(ask_again(&s, &s.askers[0], false), 1);
    assert_string_equal(s.askers[0].granted, instances[1].uuid);
    close_scene(&s);
}

static void who_lost_his_only_instance_waits_in_front_and_lets_others_pass(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    for (int i = 0; i < SLOTS + 1 + 20; i++) {
        assert_int_equal(ask(&s, &s.askers[i], 1), i < SLOTS + 1);
    }
    /* The line is full, which is nothing to one who was let in before. */
    assert_int_equal(ask_again(&s, &s.askers[0], false), 0);
    assert_int_equal(dispatch_position(s.askers[0].ticket), 1);
    sim_run_for(s.w, 500);
    assert_string_equal(s.askers[0].granted, "");
    assert_string_equal(s.askers[3].granted, instances[0].uuid);
    sim_run_for(s.w, 600);
    s.last_granted[0] = 0; /* the front of the line is out of the order of asking */
    dispatch_release(TAKE_PTR(s.askers[3].ticket));
    sim_run_for(s.w, 10);
    assert_string_equal(s.askers[0].granted, instances[0].uuid);
    assert_string_equal(s.askers[4].granted, "");
    close_scene(&s);
}

static void a_new_life_of_the_instance_is_used_at_once(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    assert_int_equal(ask(&s, &s.askers[0], 1), 1);
    assert_int_equal(ask_again(&s, &s.askers[0], true), 0);
    tell(&s, 0, INSTANCE_BACKOFF, false);
    tell(&s, 0, INSTANCE_STARTING, false);
    sim_run_for(s.w, 100);
    tell(&s, 0, INSTANCE_READY, false);
    sim_run_for(s.w, 1);
    assert_string_equal(s.askers[0].granted, instances[0].uuid);
    close_scene(&s);
}

static void nobody_is_sent_to_an_instance_that_cannot_be_reached(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    assert_int_equal(ask(&s, &s.askers[0], 1), 1);
    assert_int_equal(ask_again(&s, &s.askers[0], true), 0);
    assert_int_equal(ask(&s, &s.askers[1], 1), 0);
    dispatch_release(TAKE_PTR(s.askers[0].ticket)); /* the one who told leaves */
    sim_run_for(s.w, 900);
    assert_string_equal(s.askers[1].granted, "");
    sim_run_for(s.w, 200);
    assert_string_equal(s.askers[1].granted, instances[0].uuid);
    close_scene(&s);
}

/* Random histories. */

static unsigned in_flight_on(const struct scene *s, const char *uuid)
{
    unsigned n = 0;

    for (int i = 0; i < ASKERS; i++) {
        n += s->askers[i].ticket && strcmp(s->askers[i].granted, uuid) == 0;
    }
    return n;
}

static void check_scene(struct scene *s)
{
    for (int i = 0; i < INSTANCES; i++) {
        if (instance_exists[i]) {
            struct dispatch_load load = dispatch_instance_load(s->d, instances[i].uuid);
            bool seated =
                instances[i].state == INSTANCE_READY || instances[i].state == INSTANCE_DRAINING;

            assert_true(load.in_flight <= SLOTS + 1);
            assert_int_equal(load.in_flight, seated ? in_flight_on(s, instances[i].uuid) : 0);
        }
    }
    /* Nobody waits while there is room. */
    for (int i = 0; i < INSTANCES; i++) {
        if (instance_exists[i] && instances[i].state == INSTANCE_READY &&
            model_exists[instances[i].model_id - 1] &&
            in_flight_on(s, instances[i].uuid) < SLOTS + 1) {
            assert_int_equal(dispatch_model_load(s->d, instances[i].model_id).waiting, 0);
        }
    }
}

/* The engine's process is gone, and with it every connection: the gateway lets go of what ran
 * there. */
static void lose_requests(struct scene *s, int i)
{
    for (int k = 0; k < ASKERS; k++) {
        struct asker *a = &s->askers[k];

        if (a->ticket && strcmp(a->granted, instances[i].uuid) == 0) {
            dispatch_release(TAKE_PTR(a->ticket));
        }
    }
}

static void random_step(struct scene *s)
{
    struct asker *a = &s->askers[world_random_below(s->w, ASKERS)];
    int i = (int)world_random_below(s->w, INSTANCES);
    static const enum instance_state next[] = { INSTANCE_READY, INSTANCE_DRAINING, INSTANCE_BACKOFF,
                                                INSTANCE_FAILED, INSTANCE_STOPPING };

    switch (world_random_below(s->w, 12)) {
    case 0:
        if (instance_exists[i]) {
            tell(s, i, INSTANCE_STOPPING, true);
            lose_requests(s, i);
        } else {
            bring_up(s, i, 1 + (int64_t)world_random_below(s->w, MODELS));
        }
        break;
    case 1:
        if (instance_exists[i]) {
            tell(s, i, next[world_random_below(s->w, 5)], false);
            if (instances[i].state != INSTANCE_READY && instances[i].state != INSTANCE_DRAINING) {
                lose_requests(s, i);
            }
        }
        break;
    case 2: {
        int m = (int)world_random_below(s->w, MODELS);
        struct model_change c = { MODEL_WANTED_CHANGED, m + 1, configs[m].id, &models[m] };

        models[m].wanted = !models[m].wanted || world_random_below(s->w, 2);
        dispatch_on_model(s->d, &c);
        break;
    }
    default:
        if (a->ticket) {
            dispatch_release(TAKE_PTR(a->ticket));
        } else {
            (void)ask(s, a, 1 + (int64_t)world_random_below(s->w, MODELS));
        }
    }
}

static void random_histories_keep_the_rules(void **state)
{
    uint64_t seed = test_seed("random_histories_keep_the_rules");

    for (int round = 0; round < 200; round++) {
        struct scene s;

        open_scene(&s, seed + (uint64_t)round);
        for (int step = 0; step < 500; step++) {
            random_step(&s);
            sim_run_for(s.w, world_random_below(s.w, 3));
            sim_run_for(s.w, 1);
            check_scene(&s);
        }
        close_scene(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_slots_then_queues_in_order),
        cmocka_unit_test(prefers_the_least_outstanding_tokens),
        cmocka_unit_test(a_full_line_and_a_long_wait_are_refused),
        cmocka_unit_test(a_stopped_or_failed_model_refuses_those_who_wait),
        cmocka_unit_test(draining_is_told_once_nothing_is_in_flight),
        cmocka_unit_test(draining_is_told_of_an_instance_that_nobody_used),
        cmocka_unit_test(draining_is_told_after_the_model_was_deleted),
        cmocka_unit_test(who_lost_his_instance_gets_another_at_once),
        cmocka_unit_test(who_lost_his_only_instance_waits_in_front_and_lets_others_pass),
        cmocka_unit_test(a_new_life_of_the_instance_is_used_at_once),
        cmocka_unit_test(nobody_is_sent_to_an_instance_that_cannot_be_reached),
        cmocka_unit_test(random_histories_keep_the_rules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
