// SPDX-License-Identifier: Apache-2.0
/* The policy's rules, one example each. Sizes are in GB; the clock stands at NOW. */
#include "unit.h"

#include <string.h>

#include "base/macros.h"
#include "placement/policy.h"

enum { NOW = 1000000, SECOND = 1000, MOST = 8 };
#define GB (1ULL << 30)

/* One machine; every test sets it up anew. */
static struct policy_device devices[MOST];
static struct policy_instance models[MOST];
static struct policy_snapshot s;
static struct policy_plan plan;
static bool produced[POLICY_REASON_MAX_]; /* by any test */

static int set_up(void **state)
{
    memset(devices, 0, sizeof(devices));
    memset(models, 0, sizeof(models));
    s = (struct policy_snapshot){
        .now_ms = NOW,
        .rules = { .preemption = true,
                   .auto_recovery = true,
                   .threshold = 1.0,
                   .min_residency_ms = 10 * SECOND,
                   .return_after_ms = 5 * SECOND,
                   .swap_wait_ms = 15 * SECOND },
        .devices = devices,
        .instances = models,
    };
    return 0;
}

static int tear_down(void **state)
{
    policy_plan_finish(&plan);
    return 0;
}

static struct policy_device *add_device(uint64_t gb)
{
    struct policy_device *d = &devices[s.device_count];

    *d = (struct policy_device){ .index = (int)s.device_count, .total_bytes = gb * GB };
    s.device_count++;
    return d;
}

static struct policy_instance *add_waiting(int priority, uint64_t gb)
{
    struct policy_instance *i = &models[s.instance_count];

    *i = (struct policy_instance){
        .id = s.instance_count + 1,
        .model_id = (int64_t)s.instance_count + 1,
        .priority = priority,
        .may_preempt = true,
        .need = { .split_bytes = gb * GB, .min_devices = 1, .max_devices = 1 },
        .vendor = -1,
        .since_ms = NOW - 60 * SECOND,
    };
    s.instance_count++;
    return i;
}

static struct policy_instance *add_ready(int priority, uint64_t gb, int device)
{
    struct policy_instance *i = add_waiting(priority, gb);

    i->state = POLICY_READY;
    i->place = (struct place){ .count = 1, .shares = { { device, gb * GB } } };
    return i;
}

static struct policy_instance *add_in_state(enum policy_state state, int priority, uint64_t gb,
                                            int device)
{
    struct policy_instance *i = add_ready(priority, gb, device);

    i->state = state;
    return i;
}

static void ask_for(struct policy_instance *i, uint64_t since_ms)
{
    i->waiting = 1;
    i->waiting_since_ms = since_ms;
}

static void decide(void)
{
    policy_plan_finish(&plan);
    policy_decide(&s, &plan);
    for (size_t a = 0; a < plan.action_count; a++) {
        produced[plan.actions[a].reason] = true;
    }
    for (size_t v = 0; v < plan.verdict_count; v++) {
        produced[plan.verdicts[v].reason] = true;
    }
}

static const struct policy_action *done(enum policy_action_kind kind,
                                        const struct policy_instance *i)
{
    for (size_t a = 0; a < plan.action_count; a++) {
        if (plan.actions[a].kind == kind && plan.actions[a].instance == (size_t)(i - models)) {
            return &plan.actions[a];
        }
    }
    return NULL;
}

static const struct policy_verdict *waits(const struct policy_instance *i,
                                          enum policy_reason reason)
{
    for (size_t v = 0; v < plan.verdict_count; v++) {
        if (plan.verdicts[v].instance == (size_t)(i - models)) {
            assert_string_equal(policy_reason_name(plan.verdicts[v].reason),
                                policy_reason_name(reason));
            return &plan.verdicts[v];
        }
    }
    fail_msg("it has no verdict");
    return NULL;
}

static void assert_placed_on(const struct policy_instance *i, int device)
{
    const struct policy_action *a = done(POLICY_RESERVE, i);

    assert_non_null(a);
    assert_int_equal(a->place.count, 1);
    assert_int_equal(a->place.shares[0].device, device);
}

/* ---- where ---- */

static void the_device_that_is_filled_best_is_taken(void **state)
{
    struct policy_instance *i = add_waiting(5, 20);

    add_device(80);
    add_device(24);
    add_device(48);
    decide();
    assert_placed_on(i, 1);
    assert_int_equal(done(POLICY_RESERVE, i)->reason, POLICY_FITS);
    assert_non_null(done(POLICY_LOAD, i));
    s.rules.algorithm = POLICY_SPREAD;
    decide();
    assert_placed_on(i, 0);
}

static void what_fits_no_device_is_split_evenly_over_the_fewest(void **state)
{
    struct policy_instance *i = add_waiting(5, 60);
    const struct policy_action *a;

    i->need.max_devices = 4;
    i->need.fixed_bytes = GB;
    for (int d = 0; d < 4; d++) {
        add_device(32);
    }
    decide();
    a = done(POLICY_RESERVE, i);
    assert_non_null(a);
    assert_int_equal(a->place.count, 2);
    assert_true(a->place.shares[0].bytes == 31 * GB && a->place.shares[1].bytes == 31 * GB);
    i->need.max_devices = 1;
    decide();
    assert_null(done(POLICY_RESERVE, i));
    waits(i, POLICY_NEVER_FITS);
}

static void a_model_is_never_split_over_two_vendors(void **state)
{
    struct policy_instance *i = add_waiting(5, 60);

    i->need.max_devices = 2;
    add_device(32);
    add_device(32)->vendor = 1;
    decide();
    assert_null(done(POLICY_RESERVE, i));
}

static void named_devices_are_all_taken_and_no_others(void **state)
{
    static const int named[] = { 1, 2 };
    struct policy_instance *i = add_waiting(5, 20);
    const struct policy_action *a;

    i->devices = named;
    i->device_count = 2;
    add_device(80);
    add_device(24);
    add_device(24);
    decide();
    a = done(POLICY_RESERVE, i);
    assert_non_null(a);
    assert_int_equal(a->place.count, 2);
    assert_int_equal(a->place.shares[0].device, 1);
    assert_int_equal(a->place.shares[1].device, 2);
    devices[2].unusable = true;
    decide();
    assert_null(done(POLICY_RESERVE, i));
    waits(i, POLICY_NO_DEVICE);
}

static void host_memory_is_taken_from_the_hosts_pool(void **state)
{
    struct policy_instance *a = add_waiting(5, 4), *b = add_waiting(4, 4);

    add_device(24);
    add_device(10)->host_pool = true;
    a->need.host_bytes = b->need.host_bytes = 6 * GB;
    decide();
    assert_placed_on(a, 0);
    assert_null(done(POLICY_RESERVE, b));
    waits(b, POLICY_NO_ROOM);
}

static void only_devices_of_its_vendor_are_used(void **state)
{
    struct policy_instance *i = add_waiting(5, 20);

    add_device(24);
    add_device(80)->vendor = 1;
    i->vendor = 1;
    decide();
    assert_placed_on(i, 1);
    i->vendor = 2;
    decide();
    waits(i, POLICY_NO_DEVICE);
}

static void a_share_is_of_each_devices_own_size(void **state)
{
    struct policy_instance *i = add_waiting(5, 1);

    add_device(80)->other_bytes = 9 * GB;
    add_device(40);
    i->need.share = 0.9;
    decide();
    assert_placed_on(i, 1);
    assert_true(done(POLICY_RESERVE, i)->place.shares[0].bytes == 36 * GB);
}

/* ---- room ---- */

static void the_threshold_caps_what_is_placed_but_not_for_a_forced_one(void **state)
{
    struct policy_instance *i = add_waiting(5, 20);

    add_device(24);
    s.rules.threshold = 0.8;
    decide();
    waits(i, POLICY_NEVER_FITS);
    i->force = true;
    decide();
    assert_placed_on(i, 0);
}

static void memory_of_others_is_not_given_away(void **state)
{
    struct policy_instance *i = add_waiting(5, 20);

    add_device(24)->other_bytes = 5 * GB;
    decide();
    waits(i, POLICY_NO_ROOM);
}

static void a_load_waits_until_memory_that_leaves_is_seen_to_be_free(void **state)
{
    struct policy_instance *i = add_waiting(5, 20);

    add_device(24)->held_bytes = 10 * GB;
    decide();
    assert_int_equal(done(POLICY_RESERVE, i)->reason, POLICY_AFTER_MOVES);
    assert_null(done(POLICY_LOAD, i));
    waits(i, POLICY_WAITS_FOR_MEMORY);
}

static void loads_on_one_device_come_one_after_another(void **state)
{
    struct policy_instance *a = add_waiting(5, 4), *b = add_waiting(6, 4);

    add_device(24);
    decide();
    assert_non_null(done(POLICY_LOAD, b));
    assert_null(done(POLICY_LOAD, a));
    waits(a, POLICY_WAITS_FOR_LOAD);
}

static void a_large_one_that_cannot_be_placed_does_not_block_a_small_one(void **state)
{
    struct policy_instance *large, *small;

    add_device(24);
    add_ready(9, 10, 0)->pinned = true;
    large = add_waiting(8, 20);
    small = add_waiting(2, 10);
    decide();
    waits(large, POLICY_NO_ROOM);
    assert_placed_on(small, 0);
}

static void a_reservation_whose_room_is_gone_is_withdrawn(void **state)
{
    struct policy_instance *i = add_ready(5, 20, 0);

    add_device(24)->other_bytes = 10 * GB;
    i->state = POLICY_RESERVED;
    decide();
    assert_int_equal(done(POLICY_WITHDRAW, i)->reason, POLICY_NO_ROOM);
    devices[0].other_bytes = 0;
    decide();
    assert_null(done(POLICY_WITHDRAW, i)); /* it stands */
    assert_non_null(done(POLICY_LOAD, i));
}

static void a_reservation_goes_with_its_device_and_with_its_definition(void **state)
{
    struct policy_instance *i = add_in_state(POLICY_RESERVED, 5, 20, 0);

    add_device(24)->unusable = true;
    add_device(32);
    decide();
    assert_int_equal(done(POLICY_WITHDRAW, i)->reason, POLICY_NO_DEVICE);
    assert_placed_on(i, 1);
    devices[0].unusable = false;
    i->need.split_bytes = 30 * GB;
    decide();
    assert_int_equal(done(POLICY_WITHDRAW, i)->reason, POLICY_FITS);
    assert_placed_on(i, 1);
}

static void of_reservations_that_do_not_all_fit_the_more_important_stand(void **state)
{
    struct policy_instance *a = add_in_state(POLICY_RESERVED, 3, 20, 0),
                           *b = add_in_state(POLICY_RESERVED, 4, 20, 0);

    add_device(40)->other_bytes = 10 * GB;
    decide();
    assert_non_null(done(POLICY_WITHDRAW, a));
    assert_null(done(POLICY_WITHDRAW, b));
}

/* ---- who goes ---- */

static void a_higher_one_preempts_a_lower_one_and_no_equal(void **state)
{
    struct policy_instance *lower, *i;

    add_device(24);
    lower = add_ready(3, 20, 0);
    i = add_waiting(4, 20);
    decide();
    assert_int_equal(done(POLICY_DISPLACE, lower)->reason, POLICY_PREEMPTED);
    assert_int_equal(done(POLICY_DISPLACE, lower)->other, i - models);
    assert_placed_on(i, 0);
    i->priority = 3;
    decide();
    assert_null(done(POLICY_DISPLACE, lower));
    waits(i, POLICY_NO_ROOM);
}

static void only_as_many_go_as_are_needed_and_the_least_important_first(void **state)
{
    struct policy_instance *a, *b, *c;

    add_device(40);
    a = add_ready(2, 10, 0);
    b = add_ready(1, 10, 0);
    c = add_ready(1, 20, 0);
    c->in_flight = 3;
    add_waiting(9, 10);
    decide();
    assert_non_null(done(POLICY_DISPLACE, b));
    assert_null(done(POLICY_DISPLACE, a));
    assert_null(done(POLICY_DISPLACE, c));
}

static void an_idle_one_goes_before_a_busy_one_then_the_cheaper_to_load_again(void **state)
{
    struct policy_instance *busy, *dear, *cheap;

    add_device(30);
    busy = add_ready(1, 10, 0);
    busy->in_flight = 1;
    dear = add_ready(1, 10, 0);
    dear->use_rate = 2;
    dear->reload_s = 30;
    cheap = add_ready(1, 10, 0);
    cheap->use_rate = 1;
    cheap->reload_s = 10;
    add_waiting(5, 10);
    decide();
    assert_non_null(done(POLICY_DISPLACE, cheap));
    assert_null(done(POLICY_DISPLACE, dear));
    assert_null(done(POLICY_DISPLACE, busy));
}

static void a_load_is_broken_off_for_a_higher_one_and_for_no_equal(void **state)
{
    struct policy_instance *loads, *i;

    add_device(24);
    loads = add_in_state(POLICY_LOADING, 3, 20, 0);
    i = add_waiting(4, 20);
    s.rules.max_preemptions_per_hour = 1;
    decide();
    assert_int_equal(done(POLICY_DISPLACE, loads)->reason, POLICY_PREEMPTED);
    assert_int_equal(done(POLICY_RESERVE, i)->reason, POLICY_AFTER_MOVES);
    s.preemptions_last_hour = 1; /* it counts as any other */
    decide();
    assert_null(done(POLICY_DISPLACE, loads));
    waits(i, POLICY_RATE_LIMIT);
    s.preemptions_last_hour = 0;
    loads->pinned = true;
    decide();
    assert_null(done(POLICY_DISPLACE, loads));
    loads->pinned = false;
    i->priority = 3;
    ask_for(i, NOW - 60 * SECOND);
    decide();
    assert_null(done(POLICY_DISPLACE, loads));
    assert_true(waits(i, POLICY_TOO_YOUNG)->at_ms == 0);
}

/* One of four has to go, all of one priority, each on a device of its own. */
static void a_reservation_goes_first_then_a_load_then_an_idle_one_then_a_busy_one(void **state)
{
    static const enum policy_state states[] = { POLICY_READY, POLICY_READY, POLICY_LOADING,
                                                POLICY_RESERVED };
    struct policy_instance *each[4], *i;

    for (int d = 0; d < 4; d++) {
        add_device(24);
        each[d] = add_in_state(states[d], 2, 20, d);
        each[d]->need.split_bytes = 20 * GB;
        each[d]->since_ms = NOW - 60 * SECOND;
    }
    each[0]->in_flight = 1;
    each[2]->use_rate = 9; /* of no weight yet */
    each[2]->reload_s = 60;
    i = add_waiting(5, 20);
    decide();
    assert_placed_on(i, 3);
    for (int d = 3; d > 0; d--) {
        each[d]->pinned = true;
        decide();
        assert_placed_on(i, d - 1);
        assert_non_null(done(POLICY_DISPLACE, each[d - 1]));
    }
    each[2]->pinned = each[1]->pinned = false;
    each[2]->waiting = 1; /* a load that requests wait for is as good as busy */
    decide();
    assert_placed_on(i, 1);
}

/* The fault of summing freed memory over all devices, whether the newcomer may use them or not. */
static void freed_memory_counts_only_where_the_newcomer_may_be(void **state)
{
    static const int named[] = { 0 };
    struct policy_instance *elsewhere, *pinned, *i;

    add_device(24);
    add_device(24);
    pinned = add_ready(1, 20, 0);
    pinned->pinned = true;
    elsewhere = add_ready(1, 20, 1);
    i = add_waiting(9, 20);
    i->devices = named;
    i->device_count = 1;
    decide();
    assert_null(done(POLICY_DISPLACE, elsewhere));
    assert_null(done(POLICY_DISPLACE, pinned));
    waits(i, POLICY_NO_ROOM);
}

/* Two halves on two devices do not make room for one that cannot be split. */
static void room_on_two_devices_is_not_room_on_one(void **state)
{
    struct policy_instance *a, *b;

    add_device(24);
    add_device(24);
    a = add_ready(1, 4, 0);
    b = add_ready(1, 4, 1);
    add_waiting(9, 30);
    decide();
    assert_null(done(POLICY_DISPLACE, a));
    assert_null(done(POLICY_DISPLACE, b));
}

static void what_became_ready_a_moment_ago_stays_unless_forced(void **state)
{
    struct policy_instance *young, *i;

    add_device(24);
    young = add_ready(1, 20, 0);
    young->since_ms = NOW - 4 * SECOND;
    i = add_waiting(5, 20);
    decide();
    assert_true(waits(i, POLICY_TOO_YOUNG)->at_ms == NOW + 6 * SECOND);
    assert_true(plan.next_ms == NOW + 6 * SECOND);
    s.rules.min_residency_ms = SECOND;
    decide();
    assert_non_null(done(POLICY_DISPLACE, young));
    s.rules.min_residency_ms = 10 * SECOND;
    i->force = true;
    decide();
    assert_non_null(done(POLICY_DISPLACE, young));
}

static void preemption_can_be_forbidden_by_the_rules_and_by_the_request(void **state)
{
    struct policy_instance *i;

    add_device(24);
    add_ready(1, 20, 0);
    i = add_waiting(5, 20);
    s.rules.preemption = false;
    decide();
    waits(i, POLICY_PREEMPTION_OFF);
    s.rules.preemption = true;
    i->may_preempt = false;
    decide();
    waits(i, POLICY_PREEMPTION_OFF);
}

static void preemptions_of_an_hour_are_limited(void **state)
{
    struct policy_instance *i;

    add_device(24);
    add_ready(1, 20, 0);
    i = add_waiting(5, 20);
    s.rules.max_preemptions_per_hour = 3;
    s.preemptions_last_hour = 3;
    decide();
    waits(i, POLICY_RATE_LIMIT);
    s.preemptions_last_hour = 2;
    decide();
    assert_placed_on(i, 0);
}

static void a_forced_one_moves_neither_a_pinned_nor_an_equal_one(void **state)
{
    struct policy_instance *pinned, *equal, *i;

    add_device(24);
    pinned = add_ready(1, 12, 0);
    pinned->pinned = true;
    equal = add_ready(5, 12, 0);
    i = add_waiting(5, 10);
    i->force = true;
    decide();
    assert_null(done(POLICY_DISPLACE, pinned));
    assert_null(done(POLICY_DISPLACE, equal));
    waits(i, POLICY_NO_ROOM);
}

static void a_reservation_goes_before_anything_that_runs(void **state)
{
    struct policy_instance *reserved, *runs, *i;

    add_device(24);
    reserved = add_ready(3, 12, 0);
    reserved->state = POLICY_RESERVED;
    runs = add_ready(1, 12, 0);
    i = add_waiting(5, 12);
    decide();
    assert_int_equal(done(POLICY_WITHDRAW, reserved)->reason, POLICY_OUTRANKED);
    assert_placed_on(i, 0);
    (void)runs;
}

static void a_reservation_is_withdrawn_also_where_nothing_may_be_preempted(void **state)
{
    struct policy_instance *reserved, *i;

    add_device(24);
    reserved = add_in_state(POLICY_RESERVED, 3, 20, 0);
    i = add_waiting(5, 20);
    s.rules.preemption = false;
    decide();
    assert_non_null(done(POLICY_WITHDRAW, reserved));
    assert_placed_on(i, 0);
    i->may_preempt = false;
    decide();
    assert_null(done(POLICY_WITHDRAW, reserved));
    waits(i, POLICY_PREEMPTION_OFF);
}

static void who_came_first_keeps_reservation_and_load_unless_another_is_forced(void **state)
{
    struct policy_instance *early, *i;

    add_device(24);
    early = add_in_state(POLICY_RESERVED, 3, 20, 0);
    i = add_waiting(5, 20);
    s.rules.algorithm = POLICY_FIRST_COME;
    decide();
    assert_null(done(POLICY_WITHDRAW, early));
    waits(i, POLICY_TOO_YOUNG);
    i->force = true;
    decide();
    assert_non_null(done(POLICY_WITHDRAW, early));
    early->state = POLICY_LOADING;
    decide();
    assert_non_null(done(POLICY_DISPLACE, early));
    i->force = false;
    decide();
    assert_null(done(POLICY_DISPLACE, early));
    early->state = POLICY_READY;
    decide();
    assert_non_null(done(POLICY_DISPLACE, early));
}

/* Else those that come meanwhile would shut it out for ever. */
static void a_device_is_kept_for_one_that_only_time_keeps_out(void **state)
{
    struct policy_instance *young, *i, *small;

    add_device(24);
    young = add_ready(1, 12, 0);
    young->since_ms = NOW - 4 * SECOND;
    i = add_waiting(5, 20);
    small = add_waiting(5, 10);
    small->since_ms = NOW - SECOND;
    decide();
    waits(i, POLICY_TOO_YOUNG);
    assert_int_equal(waits(small, POLICY_NO_ROOM)->other, i - models);
    small->priority = 6;
    decide();
    assert_placed_on(small, 0);
}

/* ---- swaps and returns ---- */

static void an_idle_equal_gives_way_to_one_that_is_asked_for(void **state)
{
    struct policy_instance *idle, *i;

    add_device(24);
    idle = add_ready(5, 20, 0);
    i = add_waiting(5, 20);
    decide();
    assert_null(done(POLICY_DISPLACE, idle)); /* nobody asks for either: they never swap */
    ask_for(i, NOW - SECOND);
    decide();
    assert_int_equal(done(POLICY_DISPLACE, idle)->reason, POLICY_SWAPPED_IDLE);
}

static void a_busy_equal_gives_way_when_the_others_turn_has_come(void **state)
{
    struct policy_instance *busy, *i;

    add_device(24);
    busy = add_ready(5, 20, 0);
    busy->in_flight = 2;
    i = add_waiting(5, 20);
    ask_for(i, NOW - 5 * SECOND);
    decide();
    assert_null(done(POLICY_DISPLACE, busy));
    assert_true(waits(i, POLICY_TURN_COMES)->at_ms == NOW + 10 * SECOND);
    s.rules.swap_wait_ms = 4 * SECOND;
    decide();
    assert_int_equal(done(POLICY_DISPLACE, busy)->reason, POLICY_SWAPPED_TURN);
}

static void an_equal_does_not_give_way_to_its_own_model_nor_when_pinned_or_young(void **state)
{
    struct policy_instance *idle, *i;

    add_device(24);
    idle = add_ready(5, 20, 0);
    i = add_waiting(5, 20);
    ask_for(i, NOW - SECOND);
    s.rules.preemption = false; /* a swap is no preemption */
    decide();
    assert_non_null(done(POLICY_DISPLACE, idle));
    idle->model_id = i->model_id;
    decide();
    assert_null(done(POLICY_DISPLACE, idle));
    idle->model_id = 77;
    idle->pinned = true;
    decide();
    assert_null(done(POLICY_DISPLACE, idle));
    idle->pinned = false;
    idle->since_ms = NOW - SECOND;
    decide();
    assert_true(waits(i, POLICY_TOO_YOUNG)->at_ms == NOW + 9 * SECOND);
}

static void what_was_moved_aside_returns_after_a_while_or_when_asked_for(void **state)
{
    struct policy_instance *i = add_waiting(5, 20);

    add_device(24);
    i->displaced = true;
    i->since_ms = NOW - 2 * SECOND;
    decide();
    assert_true(waits(i, POLICY_RETURNS_LATER)->at_ms == NOW + 3 * SECOND);
    assert_true(plan.next_ms == NOW + 3 * SECOND);
    s.rules.return_after_ms = SECOND;
    decide();
    assert_int_equal(done(POLICY_RESERVE, i)->reason, POLICY_RETURNS);
    s.rules.auto_recovery = false;
    decide();
    waits(i, POLICY_RECOVERY_OFF);
    ask_for(i, NOW);
    decide();
    assert_placed_on(i, 0);
}

static void one_that_is_held_back_or_not_due_waits(void **state)
{
    struct policy_instance *held = add_waiting(5, 2), *later = add_waiting(5, 2);

    add_device(24);
    held->held_back = true;
    later->not_before_ms = NOW + SECOND;
    decide();
    waits(held, POLICY_HELD_BACK);
    waits(later, POLICY_NOT_YET);
    assert_int_equal(plan.action_count, 0);
}

/* ---- order ---- */

static void the_order_is_by_priority_or_by_who_came_first(void **state)
{
    struct policy_instance *early = add_waiting(2, 20), *high = add_waiting(8, 20);

    add_device(24);
    early->since_ms = NOW - 90 * SECOND;
    decide();
    assert_placed_on(high, 0);
    s.rules.algorithm = POLICY_FIRST_COME;
    decide();
    assert_placed_on(early, 0);
}

static void the_same_snapshot_gets_the_same_plan(void **state)
{
    struct policy_plan first;

    add_device(24);
    add_device(24);
    for (int n = 0; n < 6; n++) {
        add_waiting(5, 10);
    }
    policy_decide(&s, &first);
    decide();
    assert_int_equal(first.action_count, plan.action_count);
    assert_memory_equal(first.actions, plan.actions, plan.action_count * sizeof(*plan.actions));
    assert_placed_on(&models[0], 0); /* ties go by id */
    policy_plan_finish(&first);
}

/* ---- words ---- */

static const char *name(void *arg, size_t instance)
{
    return instance == 0 ? "small" : "large";
}

static void decisions_are_told_in_a_sentence(void **state)
{
    struct policy_instance *i;
    char text[256];

    add_device(36);
    add_ready(1, 20, 0);
    i = add_waiting(5, 30);
    decide();
    policy_explain_action(&s, done(POLICY_DISPLACE, &models[0]), name, NULL, text, sizeof(text));
    assert_string_equal(text, "makes room for 'large' (priority 5 over 1)");
    policy_explain_action(&s, done(POLICY_RESERVE, i), name, NULL, text, sizeof(text));
    assert_string_equal(text, "30.0 GB on gpu0, once others have gone");
    i->need.split_bytes = (uint64_t)(41.2 * GB);
    decide();
    policy_explain(&s, waits(i, POLICY_NEVER_FITS), name, NULL, text, sizeof(text));
    assert_string_equal(text, "needs 41.2 GB on one device; gpu0 has 36.0 GB for models");
}

static const char *sentence(const struct policy_verdict *v)
{
    static char text[256];

    policy_explain(&s, v, name, NULL, text, sizeof(text));
    return text;
}

static struct policy_verdict verdict(enum policy_reason reason)
{
    return (struct policy_verdict){ .instance = 1,
                                    .reason = reason,
                                    .device = 0,
                                    .device_count = 1,
                                    .need_bytes = 30 * GB,
                                    .free_bytes = 16 * GB,
                                    .at_ms = NOW + 4 * SECOND,
                                    .other = 0 };
}

static void every_reason_to_wait_has_its_sentence(void **state)
{
    static const struct {
        enum policy_reason reason;
        const char *text;
    } rows[] = {
        { POLICY_NEVER_FITS, "needs 30.0 GB on one device; gpu0 has 16.0 GB for models" },
        { POLICY_NO_ROOM, "needs 30.0 GB on one device; gpu0 could give 16.0 GB" },
        { POLICY_NO_DEVICE, "there are not enough devices that it could use" },
        { POLICY_PREEMPTION_OFF,
          "needs 30.0 GB on one device; gpu0 could give 16.0 GB, and 'small' "
          "may not be moved: preemption is not allowed" },
        { POLICY_RATE_LIMIT, "needs 30.0 GB on one device; 'small' would have to go, and the 3 "
                             "preemptions of this hour are used up" },
        { POLICY_TOO_YOUNG, "needs 30.0 GB on one device; 'small' was loaded a moment ago and may "
                            "be moved in 4 s" },
        { POLICY_TURN_COMES, "'small' is busy; its turn comes when that is idle, or in 4 s" },
        { POLICY_RETURNS_LATER, "was moved aside a moment ago, comes back in 4 s at the earliest" },
        { POLICY_RECOVERY_OFF,
          "was moved aside, and does not come back by itself: auto_recovery is off" },
        { POLICY_NOT_YET, "is tried again in 4 s" },
        { POLICY_HELD_BACK, "is held back" },
        { POLICY_WAITS_FOR_MEMORY,
          "has its place on gpu0; waits until 30.0 GB is free there (now 16.0 GB)" },
        { POLICY_WAITS_FOR_LOAD,
          "has its place on gpu0; waits until another load there has ended" },
    };

    add_device(36);
    add_ready(1, 20, 0);
    add_waiting(5, 30);
    s.rules.max_preemptions_per_hour = 3;
    assert_int_equal(ARRAY_SIZE(rows), POLICY_REASON_MAX_ - POLICY_NEVER_FITS);
    for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
        const struct policy_verdict v = verdict(rows[k].reason);

        assert_string_equal(sentence(&v), rows[k].text);
    }
}

static void a_threshold_in_the_way_is_named(void **state)
{
    const struct policy_verdict v = verdict(POLICY_NEVER_FITS);

    add_device(36);
    add_ready(1, 20, 0);
    add_waiting(5, 30);
    s.rules.threshold = 0.5;
    assert_string_equal(sentence(&v), "needs 30.0 GB on one device; gpu0 has 16.0 GB for models "
                                      "(resource_threshold is 50 % of its 36.0 GB)");
}

/* Not those of the most devices over which it could be spread. */
static void a_wait_is_told_of_the_fewest_devices_that_could_hold_it(void **state)
{
    struct policy_instance *i = add_waiting(5, 20);
    const struct policy_verdict *v;

    i->need.max_devices = 2;
    for (int d = 0; d < 2; d++) {
        struct policy_instance *r = add_ready(5, 16, d);

        add_device(24);
        r->in_flight = 1;
    }
    decide();
    v = waits(i, POLICY_NO_ROOM);
    assert_int_equal(v->device_count, 1);
    assert_int_equal(v->need_bytes, 20 * GB);
    assert_int_equal(v->free_bytes, 8 * GB);
}

/* Runs last: the tests before it have produced them. */
static void every_reason_has_been_produced(void **state)
{
    for (int r = 0; r < POLICY_REASON_MAX_; r++) {
        if (!produced[r]) {
            fail_msg("no test has produced %s", policy_reason_name((enum policy_reason)r));
        }
    }
}

static void names_go_both_ways(void **state)
{
    for (int a = 0; a < POLICY_ALGORITHM_MAX_; a++) {
        assert_int_equal(
            policy_algorithm_from_string(policy_algorithm_name((enum policy_algorithm)a)), a);
    }
    assert_true(policy_algorithm_from_string("fair_share") < 0);
    for (int r = 0; r < POLICY_REASON_MAX_; r++) {
        assert_non_null(policy_reason_name((enum policy_reason)r));
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_device_that_is_filled_best_is_taken),
        CASE(what_fits_no_device_is_split_evenly_over_the_fewest),
        CASE(a_model_is_never_split_over_two_vendors),
        CASE(named_devices_are_all_taken_and_no_others),
        CASE(host_memory_is_taken_from_the_hosts_pool),
        CASE(only_devices_of_its_vendor_are_used),
        CASE(a_share_is_of_each_devices_own_size),
        CASE(the_threshold_caps_what_is_placed_but_not_for_a_forced_one),
        CASE(memory_of_others_is_not_given_away),
        CASE(a_load_waits_until_memory_that_leaves_is_seen_to_be_free),
        CASE(loads_on_one_device_come_one_after_another),
        CASE(a_large_one_that_cannot_be_placed_does_not_block_a_small_one),
        CASE(a_reservation_whose_room_is_gone_is_withdrawn),
        CASE(a_reservation_goes_with_its_device_and_with_its_definition),
        CASE(of_reservations_that_do_not_all_fit_the_more_important_stand),
        CASE(a_higher_one_preempts_a_lower_one_and_no_equal),
        CASE(only_as_many_go_as_are_needed_and_the_least_important_first),
        CASE(an_idle_one_goes_before_a_busy_one_then_the_cheaper_to_load_again),
        CASE(a_load_is_broken_off_for_a_higher_one_and_for_no_equal),
        CASE(a_reservation_goes_first_then_a_load_then_an_idle_one_then_a_busy_one),
        CASE(freed_memory_counts_only_where_the_newcomer_may_be),
        CASE(room_on_two_devices_is_not_room_on_one),
        CASE(what_became_ready_a_moment_ago_stays_unless_forced),
        CASE(preemption_can_be_forbidden_by_the_rules_and_by_the_request),
        CASE(preemptions_of_an_hour_are_limited),
        CASE(a_forced_one_moves_neither_a_pinned_nor_an_equal_one),
        CASE(a_reservation_goes_before_anything_that_runs),
        CASE(a_reservation_is_withdrawn_also_where_nothing_may_be_preempted),
        CASE(who_came_first_keeps_reservation_and_load_unless_another_is_forced),
        CASE(a_device_is_kept_for_one_that_only_time_keeps_out),
        CASE(an_idle_equal_gives_way_to_one_that_is_asked_for),
        CASE(a_busy_equal_gives_way_when_the_others_turn_has_come),
        CASE(an_equal_does_not_give_way_to_its_own_model_nor_when_pinned_or_young),
        CASE(what_was_moved_aside_returns_after_a_while_or_when_asked_for),
        CASE(one_that_is_held_back_or_not_due_waits),
        CASE(the_order_is_by_priority_or_by_who_came_first),
        CASE(the_same_snapshot_gets_the_same_plan),
        CASE(decisions_are_told_in_a_sentence),
        CASE(every_reason_to_wait_has_its_sentence),
        CASE(a_threshold_in_the_way_is_named),
        CASE(a_wait_is_told_of_the_fewest_devices_that_could_hold_it),
        CASE(names_go_both_ways),
        CASE(every_reason_has_been_produced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
