// SPDX-License-Identifier: Apache-2.0
/*
 * Is the wait that is told the wait that comes? Engines of known speed serve requests that come now
 * too fast, now too slowly, so that the line grows and shrinks. What was told at the arrival, and
 * at some moment of waiting, is compared with what came; both not below a second, the least that a
 * Retry-After can say.
 */
#include "scene.h"

#include <math.h>

enum { SAMPLES = 8000, REQUESTS = 2000, WARM_UP = 40 };

static const char *const patient[] = { "BERTH_GATEWAY_QUEUE_TIMEOUT=24h", NULL };

struct service {
    double rate; /* requests a second, of all instances together */
    unsigned instances, slots;
    bool fixed; /* else exponential */
};

/* What an engine does beside dispatch: so many slots, and a line of its own for the rest. */
struct served {
    unsigned busy;
    struct asker *next[8];
    unsigned next_count;
};

struct shop {
    struct scene scene;
    struct service service;
    struct served served[INSTANCES];
    struct timer arrival;
    bool filling;
    unsigned level; /* fill until so many wait */
    unsigned arrived;
    struct {
        uint64_t told_ms, at_ms;
        bool waits;
    } later[ASKERS];
    uint64_t told_ms[ASKERS];
    double ratios[SAMPLES]; /* told / came */
    size_t count;
};

static struct shop *shop_of(struct asker *a)
{
    return container_of(a->scene, struct shop, scene);
}

static double exponential(struct shop *s, double mean)
{
    double u = ((double)world_random_below(s->scene.w, 1 << 30) + 1) / (1 << 30);

    return -mean * log(u);
}

static void note(struct shop *s, uint64_t told_ms, uint64_t came_ms)
{
    double told = (double)MAX_OF(told_ms, 1000U), came = (double)MAX_OF(came_ms, 1000U);

    if (s->arrived > WARM_UP && s->count < SAMPLES) {
        s->ratios[s->count++] = told / came;
    }
}

/* The engine */

static void serve(struct shop *s, struct asker *a)
{
    double mean = s->service.slots * s->service.instances / s->service.rate * 1000;

    timer_start(&a->work, (uint64_t)(s->service.fixed ? mean : exponential(s, mean)));
}

static struct served *served_of(struct shop *s, const char *uuid)
{
    size_t i = 0;

    while (strcmp(instances[i].uuid, uuid) != 0) {
        i++;
    }
    return &s->served[i];
}

static void on_served(void *arg)
{
    struct asker *a = arg;
    struct shop *s = shop_of(a);
    struct served *engine = served_of(s, a->granted);

    end(a, OUTCOME_GOOD);
    if (engine->next_count == 0) {
        engine->busy--;
        return;
    }
    serve(s, engine->next[0]);
    memmove(engine->next, engine->next + 1, --engine->next_count * sizeof(engine->next[0]));
}

static void on_granted(struct asker *a)
{
    struct shop *s = shop_of(a);
    struct served *engine = served_of(s, a->granted);
    size_t i = (size_t)(a - s->scene.askers);

    note(s, s->told_ms[i], a->granted_ms - a->asked_ms);
    if (s->later[i].waits) {
        note(s, s->later[i].told_ms, a->granted_ms - s->later[i].at_ms);
    }
    timer_init(&a->work, s->scene.w, "engine", on_served, a);
    if (engine->busy < s->service.slots) {
        engine->busy++;
        serve(s, a);
    } else {
        assert_true(engine->next_count < 1); /* that is what the cap says */
        engine->next[engine->next_count++] = a;
    }
}

/* The clients */

static void ask_somebody_who_waits(struct shop *s)
{
    size_t i = world_random_below(s->scene.w, ASKERS);

    if (s->scene.askers[i].ticket && !s->scene.askers[i].granted[0]) {
        s->later[i].told_ms = dispatch_ticket_wait_ms(s->scene.askers[i].ticket);
        s->later[i].at_ms = world_now_ms(s->scene.w);
        s->later[i].waits = true;
    }
}

static void arrive(struct shop *s)
{
    size_t i = 0;

    while (s->scene.askers[i].ticket) {
        i++;
        assert_true(i < ASKERS);
    }
    s->arrived++;
    s->later[i].waits = false;
    s->told_ms[i] = dispatch_expected_wait_ms(s->scene.d, 1);
    s->scene.askers[i].on_granted = on_granted;
    assert_true(ask(&s->scene, &s->scene.askers[i], 1) >= 0);
}

static void on_arrival(void *arg)
{
    struct shop *s = arg;
    unsigned waiting = dispatch_model_load(s->scene.d, 1).waiting;

    arrive(s);
    ask_somebody_who_waits(s);
    if (s->filling ? waiting >= s->level : waiting < 2) {
        s->filling = !s->filling;
        s->level = 2 + (unsigned)world_random_below(s->scene.w, 80);
    }
    if (s->arrived < REQUESTS) {
        timer_start(&s->arrival,
                    (uint64_t)exponential(s, 1000 / s->service.rate / (s->filling ? 1.8 : 0.6)));
    }
}

static void open_shop(struct shop *s, const struct service *service, uint64_t seed)
{
    memset(s, 0, sizeof(*s));
    open_scene_with(&s->scene, seed, patient);
    s->service = *service;
    timer_init(&s->arrival, s->scene.w, "arrival", on_arrival, s);
}

static void bring_up_engines(struct shop *s)
{
    for (unsigned i = 0; i < s->service.instances; i++) {
        if (!instance_exists[i]) {
            make_instance(&s->scene, (int)i, 1, s->service.slots);
        }
        instances[i].ready_in_ms = world_now_ms(s->scene.w) - instances[i].state_since_ms;
        tell(&s->scene, (int)i, INSTANCE_READY, false);
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double quantile(const struct shop *s, double q)
{
    return s->ratios[(size_t)(q * (double)(s->count - 1))];
}

static double share_within_two(const struct shop *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->count; i++) {
        n += s->ratios[i] >= 0.5 && s->ratios[i] <= 2;
    }
    return (double)n / (double)s->count;
}

/* Returns the share of what was told within a factor of two of what came. */
static double run(const struct service *service, uint64_t seed)
{
    static struct shop s;
    double within;

    open_shop(&s, service, seed);
    bring_up_engines(&s);
    s.filling = true;
    s.level = 40;
    timer_start(&s.arrival, 0);
    sim_run_for(s.scene.w, 100 * 3600 * 1000);
    assert_int_equal(dispatch_model_load(s.scene.d, 1).waiting, 0);
    assert_true(s.count > REQUESTS);
    qsort(s.ratios, s.count, sizeof(s.ratios[0]), compare);
    within = share_within_two(&s);
    printf("%4.0f/s %u x %2u slots %-11s told/came  1%% %.2f  5%% %.2f  50%% %.2f  95%% %.2f"
           "  99%% %.2f  within a factor of two %.1f %%\n",
           service->rate, service->instances, service->slots,
           service->fixed ? "fixed" : "exponential", quantile(&s, 0.01), quantile(&s, 0.05),
           quantile(&s, 0.5), quantile(&s, 0.95), quantile(&s, 0.99), 100 * within);
    close_scene(&s.scene);
    return within;
}

static void told_waits_come_true(void **state)
{
    static const struct service services[] = {
        { 1, 1, 1, true },  { 1, 1, 1, false },  { 1, 1, 4, true },  { 1, 1, 4, false },
        { 4, 1, 1, true },  { 4, 1, 1, false },  { 4, 1, 4, true },  { 4, 1, 4, false },
        { 16, 1, 1, true }, { 16, 1, 1, false }, { 16, 1, 4, true }, { 16, 1, 4, false },
        { 4, 3, 4, true },  { 4, 3, 4, false },
    };
    uint64_t seed = test_seed("told_waits_come_true");

    for (size_t i = 0; i < ARRAY_SIZE(services); i++) {
        assert_true(run(&services[i], seed + i) > 0.9);
    }
}

/* A model that was just loaded meets a crowd: nothing is known of it at first. */
static void a_crowd_at_a_new_model_is_told_right_once_a_few_have_been_served(void **state)
{
    static const struct service services[] = {
        { 1, 1, 1, true },   { 1, 1, 4, true },  { 4, 1, 4, true },
        { 0.2, 1, 4, true }, { 16, 1, 1, true },
    };

    for (size_t i = 0; i < ARRAY_SIZE(services); i++) {
        static struct shop s;
        struct asker *last = &s.scene.askers[59];
        uint64_t told, at;

        open_shop(&s, &services[i], 1);
        bring_up_engines(&s);
        for (int k = 0; k < 60; k++) {
            arrive(&s);
        }
        sim_run_for(s.scene.w, (uint64_t)(1000 * 2.5 * services[i].slots / services[i].rate));
        told = dispatch_ticket_wait_ms(last->ticket);
        at = world_now_ms(s.scene.w);
        sim_run_for(s.scene.w, 3600 * 1000);
        assert_in_range(told, (last->granted_ms - at) / 2, 2 * (last->granted_ms - at));
        close_scene(&s.scene);
    }
}

/* Requests become eight times as long. */
static void what_is_told_follows_the_work(void **state)
{
    static struct shop s;
    uint64_t before, after;

    open_shop(&s, &(struct service){ 4, 1, 4, true }, 1);
    bring_up_engines(&s);
    for (int i = 0; i < 150; i++) {
        arrive(&s);
    }
    sim_run_for(s.scene.w, 20000);
    before = dispatch_ticket_wait_ms(s.scene.askers[149].ticket) /
             dispatch_position(s.scene.askers[149].ticket);
    s.service.rate = 0.5;
    sim_run_for(s.scene.w, 80000);
    after = dispatch_ticket_wait_ms(s.scene.askers[149].ticket) /
            dispatch_position(s.scene.askers[149].ticket);
    assert_in_range(before, 125, 500);
    assert_in_range(after, 1000, 4000);
    close_scene(&s.scene);
}

static void as_long_as_nothing_ends_the_wait_that_is_told_grows(void **state)
{
    struct scene s;
    uint64_t told, before;

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    sim_run_for(s.w, 3600 * 1000); /* idle: that is no stand-still */
    for (int i = 0; i < 10; i++) {
        assert_true(ask(&s, &s.askers[i], 1) >= 0);
    }
    before = dispatch_expected_wait_ms(s.d, 1);
    assert_in_range(before, 1000, 8000);
    sim_run_for(s.w, 30000);
    told = dispatch_expected_wait_ms(s.d, 1);
    assert_in_range(told, 8 * 30000 / SLOTS, 9 * 30000 / SLOTS);
    close_scene(&s);

    open_scene(&s, 1); /* also when it was faster before */
    bring_up(&s, 0, 1);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(ask(&s, &s.askers[0], 1), 1);
        sim_run_for(s.w, 100);
        end(&s.askers[0], OUTCOME_GOOD);
    }
    sim_run_for(s.w, 3600 * 1000); /* idle: that is no stand-still */
    for (int i = 0; i < 10; i++) {
        assert_true(ask(&s, &s.askers[i], 1) >= 0);
    }
    before = dispatch_expected_wait_ms(s.d, 1);
    assert_in_range(before, 100 * 8 / SLOTS - 1, 100 * 8 / SLOTS);
    sim_run_for(s.w, 30000);
    assert_true(dispatch_expected_wait_ms(s.d, 1) > 30 * before);
    close_scene(&s);
}

/* What an engine fails at once comes back to the line: that is no speed. */
static void failing_fast_makes_no_short_wait(void **state)
{
    static struct shop s;
    uint64_t told;

    open_shop(&s, &(struct service){ 1, 1, 1, true }, 1);
    bring_up_engines(&s);
    for (int i = 0; i < 20; i++) {
        arrive(&s);
    }
    sim_run_for(s.scene.w, 10500);
    told = dispatch_expected_wait_ms(s.scene.d, 1);
    for (int i = 0; i < 20; i++) {
        struct asker *a = &s.scene.askers[i];

        if (a->granted[0]) {
            timer_stop(&a->work);
            assert_int_equal(ask_again(&s.scene, a, false), 0);
        }
    }
    assert_in_range(dispatch_expected_wait_ms(s.scene.d, 1), told * 9 / 10, told * 11 / 10);
    close_scene(&s.scene);
}

/* What was up before this berth was tells nothing of how long loading takes. */
static void an_adopted_one_was_not_loaded(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    make_instance(&s, 0, 1, 4);
    instances[0].adopted = true;
    instances[0].ready_in_ms = 20;
    tell(&s, 0, INSTANCE_READY, false);
    tell(&s, 0, INSTANCE_STOPPING, true);
    assert_int_equal(dispatch_expected_wait_ms(s.d, 1), 10000);
    close_scene(&s);
}

static void loading_is_told_as_it_was_measured(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    assert_int_equal(dispatch_expected_wait_ms(s.d, 1), 10000); /* for all we know */
    assert_int_equal(dispatch_expected_wait_ms(s.d, 77), 0);
    make_instance(&s, 0, 1, 4);
    sim_run_for(s.w, 4000);
    assert_int_equal(dispatch_expected_wait_ms(s.d, 1), 6000);
    sim_run_for(s.w, 16000);
    assert_int_equal(dispatch_expected_wait_ms(s.d, 1), 10000); /* late by that much */
    instances[0].ready_in_ms = 20000;
    tell(&s, 0, INSTANCE_READY, false);
    assert_int_equal(dispatch_expected_wait_ms(s.d, 1), 0);

    tell(&s, 0, INSTANCE_BACKOFF, false);
    instances[0].retry_at_ms = world_now_ms(s.w) + 3000;
    assert_int_equal(dispatch_expected_wait_ms(s.d, 1), 23000);
    tell(&s, 0, INSTANCE_STARTING, false);
    sim_run_for(s.w, 12000);
    assert_int_equal(dispatch_expected_wait_ms(s.d, 1), 8000);
    instances[0].ready_in_ms = 12000;
    tell(&s, 0, INSTANCE_READY, false);
    tell(&s, 0, INSTANCE_STOPPING, true);
    assert_int_equal(dispatch_expected_wait_ms(s.d, 1), 18000); /* moves by a quarter */
    /* The first slots + 1 are served as soon as it is there; the next ones wait for those. */
    for (int i = 0; i < 5; i++) {
        assert_int_equal(ask(&s, &s.askers[i], 1), 0);
        assert_int_equal(dispatch_ticket_wait_ms(s.askers[i].ticket), 18000);
    }
    assert_true(dispatch_expected_wait_ms(s.d, 1) > 18000);
    close_scene(&s);
}

static void an_open_breaker_is_waited_for(void **state)
{
    static const char *const env[] = { "BERTH_GATEWAY_BREAKER_FAILURES=1",
                                       "BERTH_GATEWAY_BREAKER_OPEN=7s", NULL };
    struct scene s;

    open_scene_with(&s, 1, env);
    bring_up(&s, 0, 1);
    ask_and_end(&s, 1, OUTCOME_FAILED);
    sim_run_for(s.w, 2000);
    assert_int_equal(dispatch_expected_wait_ms(s.d, 1), 5000);
    bring_up(&s, 1, 1);
    assert_int_equal(dispatch_expected_wait_ms(s.d, 1), 0);
    close_scene(&s);
}

/* At least a second, at most 300 s, and a quarter of it at random on top. */
static void refused_ones_come_back_at_different_times(void **state)
{
    struct scene s;
    uint64_t least = UINT64_MAX, most = 0;

    open_scene(&s, test_seed("refused_ones_come_back"));
    bring_up(&s, 0, 1);
    for (int i = 0; i < 1000; i++) {
        assert_in_range(dispatch_retry_after_ms(s.d, 1), 1000, 1250);
    }
    assert_int_equal(dispatch_expected_wait_ms(s.d, 2), 10000);
    for (int i = 0; i < 1000; i++) {
        uint64_t ms = dispatch_retry_after_ms(s.d, 2);

        least = MIN_OF(least, ms);
        most = MAX_OF(most, ms);
    }
    assert_in_range(least, 10000, 10100);
    assert_in_range(most, 12400, 12500);
    make_instance(&s, 1, 3, SLOTS);
    instances[1].ready_in_ms = 3000000;
    tell(&s, 1, INSTANCE_READY, false);
    tell(&s, 1, INSTANCE_STOPPING, true);
    assert_int_equal(dispatch_expected_wait_ms(s.d, 3), 3000000);
    assert_in_range(dispatch_retry_after_ms(s.d, 3), 300000, 375000);
    close_scene(&s);
}

/* Told while it loads, and what came: the load, and the line behind it. */
static void told_waits_of_a_loading_model_come_true(void **state)
{
    static struct shop s;

    open_shop(&s, &(struct service){ 4, 1, 4, true }, 1);
    make_instance(&s.scene, 0, 1, 4);
    sim_run_for(s.scene.w, 30000);
    bring_up_engines(&s);
    for (int i = 0; i < 10; i++) {
        arrive(&s);
    }
    sim_run_for(s.scene.w, 60000);
    tell(&s.scene, 0, INSTANCE_STOPPING, true);
    make_instance(&s.scene, 0, 1, 4);
    s.arrived = WARM_UP;
    for (int i = 0; i < 60; i++) {
        arrive(&s);
        sim_run_for(s.scene.w, 300);
    }
    sim_run_for(s.scene.w, 30000 - 60 * 300);
    bring_up_engines(&s);
    sim_run_for(s.scene.w, 60000);
    assert_int_equal(s.count, 60);
    qsort(s.ratios, s.count, sizeof(s.ratios[0]), compare);
    assert_true(quantile(&s, 0) > 0.8);
    assert_true(quantile(&s, 1) < 1.25);
    close_scene(&s.scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(told_waits_come_true),
        cmocka_unit_test(a_crowd_at_a_new_model_is_told_right_once_a_few_have_been_served),
        cmocka_unit_test(what_is_told_follows_the_work),
        cmocka_unit_test(as_long_as_nothing_ends_the_wait_that_is_told_grows),
        cmocka_unit_test(failing_fast_makes_no_short_wait),
        cmocka_unit_test(an_adopted_one_was_not_loaded),
        cmocka_unit_test(loading_is_told_as_it_was_measured),
        cmocka_unit_test(told_waits_of_a_loading_model_come_true),
        cmocka_unit_test(an_open_breaker_is_waited_for),
        cmocka_unit_test(refused_ones_come_back_at_different_times),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
