// SPDX-License-Identifier: Apache-2.0
/* Room: models whose instances wait for a place, or are moved aside while somebody waits for them;
 * and what placement is told of who asks. */
#include "scene.h"

#include <math.h>

static void open_room(struct scene *s)
{
    open_scene(s, 1);
    make_instance(s, 0, 1, SLOTS);
    tell(s, 0, INSTANCE_STOPPING, false);
    tell(s, 0, INSTANCE_WAITING, false);
}

static void who_waits_for_room_is_told_of_once(void **state)
{
    struct scene s;

    open_room(&s);
    sim_run_for(s.w, 10);
    assert_int_equal(s.demanded[0], 0); /* nobody waits */
    assert_int_equal(ask(&s, &s.askers[0], 1), 0);
    assert_int_equal(s.demanded[0], 0); /* in a turn of its own */
    assert_int_equal(ask(&s, &s.askers[1], 1), 0);
    sim_run_for(s.w, 10);
    assert_int_equal(s.demanded[0], 1);
    assert_int_equal(s.demand_waiting, 2);
    end(&s.askers[0], OUTCOME_NONE);
    sim_run_for(s.w, 10);
    assert_int_equal(ask(&s, &s.askers[2], 1), 0);
    sim_run_for(s.w, 10);
    assert_int_equal(s.demanded[0], 1);
    end(&s.askers[1], OUTCOME_NONE);
    end(&s.askers[2], OUTCOME_NONE);
    sim_run_for(s.w, 10);
    assert_int_equal(s.demanded[0], 1); /* that the line is empty is no news */
    assert_int_equal(ask(&s, &s.askers[3], 1), 0);
    sim_run_for(s.w, 10);
    assert_int_equal(s.demanded[0], 2);
    close_scene(&s);
}

static void nothing_is_told_while_one_of_several_loads(void **state)
{
    struct scene s;

    open_room(&s);
    make_instance(&s, 1, 1, SLOTS);
    assert_int_equal(ask(&s, &s.askers[0], 1), 0);
    sim_run_for(s.w, 10);
    assert_int_equal(s.demanded[0], 0);
    tell(&s, 1, INSTANCE_BACKOFF, false);
    tell(&s, 1, INSTANCE_WAITING, false);
    sim_run_for(s.w, 10);
    assert_int_equal(s.demanded[0], 1);
    close_scene(&s);
}

/* It comes back only once it was away: they wait for that, and it must not wait for them. */
static void what_is_moved_aside_is_drained_though_somebody_waits(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    for (int i = 0; i < SLOTS + 3; i++) {
        assert_int_equal(ask(&s, &s.askers[i], 1), i < SLOTS + 1);
    }
    instances[0].displaced = true;
    tell(&s, 0, INSTANCE_DRAINING, false);
    for (int i = 0; i < SLOTS + 1; i++) {
        sim_run_for(s.w, 10);
        assert_int_equal(drained[0], 0);
        end(&s.askers[i], OUTCOME_GOOD);
    }
    sim_run_for(s.w, 10);
    assert_int_equal(drained[0], 1);
    assert_int_equal(dispatch_model_load(s.d, 1).waiting, 2); /* nobody was lost */
    tell(&s, 0, INSTANCE_STOPPING, false);
    tell(&s, 0, INSTANCE_WAITING, false);
    sim_run_for(s.w, 10);
    assert_int_equal(s.demanded[0], 1);
    instances[0].displaced = false;
    tell(&s, 0, INSTANCE_STARTING, false);
    tell(&s, 0, INSTANCE_READY, false);
    sim_run_for(s.w, 10);
    assert_string_equal(s.askers[SLOTS + 1].granted, instances[0].uuid);
    assert_string_equal(s.askers[SLOTS + 2].granted, instances[0].uuid);
    close_scene(&s);
}

/* Unloaded for idleness, missed, and then its room is wanted: it does not return. */
static void what_is_moved_aside_while_it_is_unloaded_is_drained(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    configs[0].on_demand = true;
    bring_up(&s, 0, 1);
    tell_wanted(&s, 1, false, WISH_IDLE);
    tell(&s, 0, INSTANCE_DRAINING, false);
    assert_int_equal(ask(&s, &s.askers[0], 1), 0);
    sim_run_for(s.w, 10);
    assert_int_equal(drained[0], 0);
    instances[0].displaced = true;
    tell(&s, 0, INSTANCE_DRAINING, false); /* news */
    sim_run_for(s.w, 10);
    assert_true(drained[0] > 0);
    assert_int_equal(s.askers[0].refused, 0);
    close_scene(&s);
}

static void a_refusal_names_what_was_waited_for(void **state)
{
    static const char *const env[] = { "BERTH_GATEWAY_QUEUE_TIMEOUT=2s", NULL };
    struct scene s;

    open_scene_with(&s, 1, env);
    make_instance(&s, 0, 1, SLOTS);
    assert_int_equal(ask(&s, &s.askers[0], 1), 0);
    sim_run_for(s.w, 2100);
    assert_int_equal(s.askers[0].refused, -ETIME);
    assert_null(strstr(s.askers[0].reason, "room"));
    tell(&s, 0, INSTANCE_STOPPING, false);
    tell(&s, 0, INSTANCE_WAITING, false);
    assert_int_equal(ask(&s, &s.askers[1], 1), 0);
    sim_run_for(s.w, 1900);
    assert_int_equal(s.askers[1].refused, 0);
    sim_run_for(s.w, 200);
    assert_int_equal(s.askers[1].refused, -ETIME);
    assert_non_null(strstr(s.askers[1].reason, "waits for room on a device"));
    close_scene(&s);
}

static void the_wait_that_is_told_is_that_of_loading(void **state)
{
    struct scene s;

    open_room(&s);
    instances[0].need = (struct memory_need){ .load_ms = 4000 };
    assert_int_equal(dispatch_expected_wait_ms(s.d, 1), 4000);
    sim_run_for(s.w, 60000); /* however long it waits */
    assert_int_equal(dispatch_expected_wait_ms(s.d, 1), 4000);
    tell(&s, 0, INSTANCE_STARTING, false);
    sim_run_for(s.w, 1000);
    assert_int_equal(dispatch_expected_wait_ms(s.d, 1), 3000);
    close_scene(&s);
}

static void who_has_waited_longest_is_told(void **state)
{
    struct scene s;
    uint64_t first;

    open_room(&s);
    bring_up(&s, 1, 1);
    assert_int_equal(dispatch_model_load(s.d, 1).waiting_since_ms, 0);
    assert_int_equal(ask(&s, &s.askers[0], 1), 1);
    for (int i = 1; i < SLOTS + 1; i++) {
        assert_int_equal(ask(&s, &s.askers[i], 1), 1);
    }
    sim_run_for(s.w, 500);
    first = world_now_ms(s.w);
    assert_int_equal(ask(&s, &s.askers[10], 1), 0);
    sim_run_for(s.w, 500);
    assert_int_equal(ask(&s, &s.askers[11], 1), 0);
    sim_run_for(s.w, 500);
    assert_int_equal(ask_again(&s, &s.askers[0], false), 0); /* to the front, but it came now */
    assert_int_equal(dispatch_model_load(s.d, 1).waiting_since_ms, first);
    end(&s.askers[10], OUTCOME_NONE);
    assert_true(dispatch_model_load(s.d, 1).waiting_since_ms >= first + 500);
    close_scene(&s);
}

static void the_rate_of_use_follows_the_requests(void **state)
{
    static const char *const env[] = { "BERTH_GATEWAY_USE_HALF_LIFE=10s", NULL };
    struct scene s;
    double rate;

    open_scene_with(&s, 1, env);
    bring_up(&s, 0, 1);
    assert_true(dispatch_use_rate(s.d, 1) == 0.0);
    for (int i = 0; i < 1000; i++) {
        ask_and_end(&s, 1, OUTCOME_GOOD);
        sim_run_for(s.w, 250);
    }
    rate = dispatch_use_rate(s.d, 1);
    assert_true(rate > 3.8 && rate < 4.2);
    sim_run_for(s.w, 10000);
    assert_true(fabs(dispatch_use_rate(s.d, 1) - rate / 2) < 0.001);
    assert_true(dispatch_use_rate(s.d, 2) == 0.0);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_for_room_is_told_of_once),
        cmocka_unit_test(nothing_is_told_while_one_of_several_loads),
        cmocka_unit_test(what_is_moved_aside_is_drained_though_somebody_waits),
        cmocka_unit_test(what_is_moved_aside_while_it_is_unloaded_is_drained),
        cmocka_unit_test(a_refusal_names_what_was_waited_for),
        cmocka_unit_test(the_wait_that_is_told_is_that_of_loading),
        cmocka_unit_test(who_has_waited_longest_is_told),
        cmocka_unit_test(the_rate_of_use_follows_the_requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
