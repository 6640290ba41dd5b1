// SPDX-License-Identifier: Apache-2.0
/*
 * Random histories: requests and tasks that come, end well or badly, leave and are asked for again;
 * instances that come, die, drain and go; models that are stopped, unloaded, wanted again and
 * deleted; strategies that are switched, for all and for one. Against the rules that a user would
 * notice when broken, and the array of candidates against what it stands for.
 *
 *     SEED=7 HISTORIES=1 test_dispatch_histories     replays one
 */
#include "histories.h"
#include "scene.h"

#include <math.h>

#include "base/log.h"
#include "dispatch/dispatch_int.h"

enum { STEPS = 400, ROUNDS = 200, QUEUE_TIMEOUT_MS = 300000 };

static const char *const env[] = { "BERTH_GATEWAY_MAX_QUEUE=20", "BERTH_GATEWAY_BREAKER_FAILURES=2",
                                   "BERTH_GATEWAY_BREAKER_OPEN=50ms", NULL };

/* Since the model's being wanted changed last. */
static unsigned demanded_before[MODELS];
/* When its line was empty last. */
static unsigned demanded_when_empty[MODELS];

static uint64_t below(struct scene *s, uint64_t bound)
{
    return world_random_below(s->w, bound);
}

static bool runs_on(const struct asker *a, int i)
{
    return a->ticket && strcmp(a->granted, instances[i].uuid) == 0;
}

static unsigned in_flight_on(const struct scene *s, int i)
{
    unsigned n = 0;

    for (int k = 0; k < ASKERS; k++) {
        n += runs_on(&s->askers[k], i);
    }
    return n;
}

/* Nobody is sent to an instance whose breaker is open. A task gets a slot, not the place beyond,
 * and no task goes before one of a better rank. */
static void on_granted(struct asker *a)
{
    struct dispatch_target t = { 0 };

    assert_true(dispatch_target(a->scene->d, a->granted, &t));
    assert_int_not_equal(t.breaker, BREAKER_OPEN);
    assert_true(t.in_flight <= (a->rank == RANK_REQUEST ? SLOTS + 1 : SLOTS));
    for (int k = 0; k < ASKERS; k++) {
        const struct asker *other = &a->scene->askers[k];

        assert_false(other->ticket && !other->granted[0] && !other->again && !a->again &&
                     other->model_id == a->model_id && other->rank < a->rank && other != a);
    }
}

static void check_instance(struct scene *s, int i)
{
    struct dispatch_load load = dispatch_instance_load(s->d, instances[i].uuid);
    struct dispatch_target t = { 0 };
    bool takes = dispatch_target(s->d, instances[i].uuid, &t);
    bool deleted = !model_exists[instances[i].model_id - 1];

    assert_true(load.in_flight <= SLOTS + 1);
    assert_int_equal(load.in_flight, in_flight_on(s, i));
    assert_int_equal(load.tokens, 100 * load.in_flight);
    assert_true(takes ? instances[i].state == INSTANCE_READY
                      : instances[i].state != INSTANCE_READY || deleted);
    if (instances[i].state == INSTANCE_DRAINING && load.in_flight == 0 &&
        (instances[i].displaced || dispatch_model_load(s->d, instances[i].model_id).waiting == 0)) {
        assert_true(drained[i] > 0);
    }
}

/* Does this one have room for that one who waits? */
static bool would_do(struct scene *s, int i, const struct asker *a)
{
    struct dispatch_target t = { 0 };

    return instances[i].model_id == a->model_id && instances[i].state == INSTANCE_READY &&
           dispatch_target(s->d, instances[i].uuid, &t) && t.breaker == BREAKER_CLOSED &&
           t.in_flight < (a->rank == RANK_REQUEST ? SLOTS + 1 : SLOTS) &&
           !(a->again && world_now_ms(s->w) <= a->held_until_ms);
}

static void check_asker(struct scene *s, const struct asker *a)
{
    for (int i = 0; a->ticket && !a->granted[0] && i < INSTANCES; i++) {
        if (instance_exists[i]) {
            assert_false(would_do(s, i, a));
        }
    }
}

static bool all_wait_for_room(int m)
{
    bool any = false;

    for (int i = 0; i < INSTANCES; i++) {
        if (instance_exists[i] && instances[i].model_id == m + 1) {
            any = true;
            if (instances[i].state != INSTANCE_WAITING) {
                return false;
            }
        }
    }
    return any;
}

static void check_room_wanted(struct scene *s, int m)
{
    if (dispatch_model_load(s->d, m + 1).waiting == 0) {
        demanded_when_empty[m] = s->demanded[m];
    } else if (models[m].wanted && all_wait_for_room(m)) {
        assert_true(s->demanded[m] > demanded_before[m]);
        assert_true(s->demanded[m] > demanded_when_empty[m]);
    }
}

static void check_model(struct scene *s, int m)
{
    check_room_wanted(s, m);
    if (model_exists[m] && !models[m].wanted && dispatch_model_load(s->d, m + 1).waiting > 0) {
        assert_true(configs[m].on_demand);
        assert_true(s->demanded[m] > demanded_before[m]);
    }
}

/* What is predicted to be left is the sum of what is left of its tickets: nothing when idle. */
static void check_candidate(const struct line *l, int at)
{
    const struct seat *s = l->open_seats[at];
    const struct candidate *c = &l->candidates[at];

    assert_int_equal(s->at, at);
    assert_true(at == 0 || l->open_seats[at - 1]->serial < s->serial);
    assert_ptr_equal(c->uuid, s->uuid);
    assert_int_equal(c->in_flight, s->in_flight);
    assert_int_equal(c->cap, l->caps_of_tasks ? s->slots : s->cap);
    assert_int_equal(c->weight, s->weight);
    assert_int_equal(c->tokens, s->tokens);
    assert_int_equal(c->chosen, s->chosen);
    assert_int_equal(c->cached_tokens, 0);
    assert_true(c->wait_ms == (double)s->work_us / 1000 / s->slots);
    assert_true(c->wait_error_ms == sqrt((double)s->error_ms2) / s->slots);
    assert_true(c->decode_ms == s->figures.decode_ms && c->prefill_ms == s->figures.prefill_ms);
    assert_true(s->in_flight > 0 || (s->work_us == 0 && s->error_ms2 == 0));
}

static void check_candidates(const struct line *l)
{
    const struct seat *s;
    int may = 0;

    list_for_each (s, &l->seats, node) {
        bool takes = s->open && (s->breaker == BREAKER_CLOSED ||
                                 (s->breaker == BREAKER_HALF_OPEN && !s->trial));

        may += takes;
        assert_int_equal(s->at != NOT_A_CANDIDATE, takes);
        assert_true(s->in_flight > 0 || (s->work_us == 0 && s->error_ms2 == 0));
    }
    assert_int_equal(l->candidate_count, may);
    for (int at = 0; at < l->candidate_count; at++) {
        check_candidate(l, at);
    }
}

static void check_scene(struct scene *s)
{
    for (size_t i = 0; i < s->d->line_count; i++) {
        check_candidates(s->d->lines[i]);
    }
    for (int i = 0; i < INSTANCES; i++) {
        if (instance_exists[i]) {
            check_instance(s, i);
        }
    }
    for (int k = 0; k < ASKERS; k++) {
        check_asker(s, &s->askers[k]);
    }
    for (int m = 0; m < MODELS; m++) {
        check_model(s, m);
    }
}

/* The engine's process is gone, and with it every connection: the gateway lets go of what ran
 * there, or asks again. */
static void lose_requests(struct scene *s, int i)
{
    for (int k = 0; k < ASKERS; k++) {
        struct asker *a = &s->askers[k];

        if (!runs_on(a, i)) {
            continue;
        }
        if (below(s, 2)) {
            (void)ask_again(s, a, below(s, 2));
        } else {
            end(a, OUTCOME_FAILED);
        }
    }
}

static void move_instance(struct scene *s, int i)
{
    static const enum instance_state next[] = { INSTANCE_READY,    INSTANCE_DRAINING,
                                                INSTANCE_BACKOFF,  INSTANCE_FAILED,
                                                INSTANCE_STOPPING, INSTANCE_WAITING };
    enum instance_state to = next[below(s, ARRAY_SIZE(next))];

    if (to == INSTANCE_DRAINING && instances[i].state != INSTANCE_READY) {
        to = INSTANCE_STOPPING;
    }
    drained[i] = 0;
    instances[i].displaced = to == INSTANCE_DRAINING && below(s, 2);
    tell(s, i, to, false);
    if (to != INSTANCE_READY && to != INSTANCE_DRAINING) {
        lose_requests(s, i);
    }
}

static void step_instance(struct scene *s)
{
    int i = (int)below(s, INSTANCES);

    if (!instance_exists[i]) {
        bring_up(s, i, 1 + (int64_t)below(s, MODELS));
    } else if (below(s, 3) == 0) {
        tell(s, i, INSTANCE_STOPPING, true);
        lose_requests(s, i);
    } else {
        move_instance(s, i);
    }
}

static void step_model(struct scene *s)
{
    int m = (int)below(s, MODELS);
    bool wanted = models[m].wanted ? below(s, 3) == 0 : below(s, 3) > 0;
    struct model_change removed = {
        .kind = MODEL_REMOVED, .id = m + 1, .public_id = configs[m].id, .model = &models[m]
    };

    if (model_exists[m] && wanted != models[m].wanted) {
        demanded_before[m] = s->demanded[m];
        tell_wanted(s, m + 1, wanted, wanted ? WISH_DEMAND : below(s, 2) ? WISH_IDLE : WISH_USER);
    } else if (model_exists[m] && below(s, 40) == 0) {
        model_exists[m] = false;
        dispatch_on_model(s->d, &removed);
    }
}

/* With a beginning that others have, and a session. */
static int ask_for_something(struct scene *s, struct asker *a)
{
    uint64_t state = below(s, 5), prefix[4];
    int64_t model_id = 1 + (int64_t)below(s, MODELS);

    for (int i = 0; i < 4; i++) {
        prefix[i] = splitmix_next(&state) | 1;
    }
    *a = (struct asker){ .scene = s,
                         .model_id = model_id,
                         .rank = a->rank,
                         .on_granted = a->on_granted,
                         .asked_ms = world_now_ms(s->w) };
    return ask_what(s, a,
                    (struct dispatch_ask){ .model_id = model_id,
                                           .rank = a->rank,
                                           .tokens = 100,
                                           .prompt_tokens = (uint32_t)below(s, 100),
                                           .output_limit = (uint32_t)below(s, 50),
                                           .prefix = prefix,
                                           .prefix_count = (unsigned)below(s, 5),
                                           .session = below(s, 5) });
}

static void step_asker(struct scene *s)
{
    static const enum outcome outcomes[] = { OUTCOME_GOOD, OUTCOME_GOOD, OUTCOME_FAILED,
                                             OUTCOME_ERROR, OUTCOME_NONE };
    struct asker *a = &s->askers[below(s, ASKERS)];

    if (!a->ticket) {
        a->on_granted = on_granted;
        a->rank = below(s, 2) ? RANK_REQUEST : (enum dispatch_rank)below(s, RANK_MAX_);
        (void)ask_for_something(s, a);
    } else if (a->granted[0] && below(s, 2)) {
        dispatch_progress(a->ticket, 0); /* it works; what is left of it is known to the checks */
        dispatch_note_usage(a->ticket, below(s, 500), below(s, 500), below(s, 500));
    } else if (a->granted[0] && below(s, 6) == 0) {
        (void)ask_again(s, a, below(s, 2));
    } else {
        end(a, outcomes[below(s, ARRAY_SIZE(outcomes))]);
    }
}

static void step(struct scene *s)
{
    struct error e;
    size_t cursor = below(s, 14);
    const struct strategy *strategy = strategy_next(&cursor);
    int64_t model_id = (int64_t)below(s, MODELS + 1);

    switch (below(s, 40)) {
    case 0: /* the one behind the last: none of its own */
        assert_int_equal(
            dispatch_set_strategy(s->d, model_id, strategy ? strategy->name : NULL, &e),
            model_id && !model_exists[model_id - 1] ? -ENOENT : 0);
        break;
    case 1:
    case 2:
    case 3:
    case 4:
        step_instance(s);
        break;
    case 5:
    case 6:
        step_model(s);
        break;
    default:
        step_asker(s);
    }
}

/* Whatever waits is granted or refused in the end, and then nothing is counted any more. */
static void end_history(struct scene *s)
{
    sim_run_for(s->w, QUEUE_TIMEOUT_MS + 2000);
    for (int k = 0; k < ASKERS; k++) {
        assert_true(!s->askers[k].ticket || s->askers[k].granted[0]);
        if (s->askers[k].ticket) {
            end(&s->askers[k], OUTCOME_GOOD);
        }
    }
    sim_run_for(s->w, 1);
    for (int m = 0; m < MODELS; m++) {
        struct dispatch_load load = dispatch_model_load(s->d, m + 1);

        assert_int_equal(load.in_flight, 0);
        assert_int_equal(load.waiting, 0);
        assert_int_equal(load.tokens, 0);
    }
}

static void run_history(uint64_t seed)
{
    static struct scene s;

    open_scene_with(&s, seed, env);
    memset(demanded_before, 0, sizeof(demanded_before));
    memset(demanded_when_empty, 0, sizeof(demanded_when_empty));
    for (int m = 0; m < MODELS; m++) {
        configs[m].on_demand = m < 2;
        models[m].wanted = below(&s, 3) > 0;
    }
    for (int i = 0; i < STEPS; i++) {
        step(&s);
        sim_run_for(s.w, below(&s, 8) == 0 ? below(&s, 500) : below(&s, 4));
        sim_run_for(s.w, 1);
        check_scene(&s);
    }
    end_history(&s);
    close_scene(&s);
}

static void random_histories_keep_the_rules(void **state)
{
    run_histories("random_histories_keep_the_rules", ROUNDS, run_history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(random_histories_keep_the_rules, tell_seed),
    };

    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
