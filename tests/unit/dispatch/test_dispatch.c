// SPDX-License-Identifier: Apache-2.0
/* The line: who is sent where, who waits, who is refused, what is told when an instance leaves. */
#include "scene.h"

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
    end(&s.askers[0], OUTCOME_GOOD);
    assert_string_equal(s.askers[3].granted, ""); /* never within the release */
    sim_run_for(s.w, 1);
    assert_string_equal(s.askers[3].granted, instances[0].uuid);
    assert_string_equal(s.askers[4].granted, "");
    assert_int_equal(dispatch_model_load(s.d, 1).in_flight, SLOTS + 1);
    assert_int_equal(dispatch_model_load(s.d, 1).waiting, 1);
    close_scene(&s);
}

static void a_full_line_and_a_long_wait_are_refused(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(ask(&s, &s.askers[i], 1), 0);
    }
    assert_int_equal(ask(&s, &s.askers[20], 1), -EAGAIN);
    assert_in_range(dispatch_retry_after_ms(s.d, 1), 1000, 375000);
    sim_run_for(s.w, 301000);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(s.askers[i].refused, -ETIME);
    }
    assert_int_equal(dispatch_model_load(s.d, 1).waiting, 0);
    close_scene(&s);
}

static void a_stopped_or_failed_model_refuses_those_who_wait(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    assert_int_equal(ask(&s, &s.askers[0], 1), 0);
    tell_wanted(&s, 1, false, WISH_USER);
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
    end(&s.askers[0], OUTCOME_GOOD);
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
    struct model_change c = {
        .kind = MODEL_REMOVED, .id = 1, .public_id = "a", .model = &models[0]
    };

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
    end(&s.askers[3], OUTCOME_GOOD);
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
    end(&s.askers[0], OUTCOME_NONE); /* the one who told leaves */
    sim_run_for(s.w, 900);
    assert_string_equal(s.askers[1].granted, "");
    sim_run_for(s.w, 200);
    assert_string_equal(s.askers[1].granted, instances[0].uuid);
    close_scene(&s);
}

static void one_failed_instance_of_several_refuses_nobody(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    make_instance(&s, 0, 1, SLOTS);
    make_instance(&s, 1, 1, SLOTS);
    tell(&s, 0, INSTANCE_FAILED, false);
    assert_int_equal(ask(&s, &s.askers[0], 1), 0);
    sim_run_for(s.w, 10);
    assert_int_equal(s.askers[0].refused, 0);
    tell(&s, 1, INSTANCE_READY, false);
    sim_run_for(s.w, 1);
    assert_string_equal(s.askers[0].granted, instances[1].uuid);
    instances[0].last_error = UNCONST(char *, "no such file");
    tell(&s, 1, INSTANCE_FAILED, false);
    assert_int_equal(ask(&s, &s.askers[1], 1), -ESRCH);
    assert_non_null(strstr(s.askers[1].reason, "no such file"));
    close_scene(&s);
}

static void draining_one_of_two_leaves_the_other_alone(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    bring_up(&s, 1, 1);
    for (int i = 0; i < 2 * (SLOTS + 1); i++) {
        assert_int_equal(ask(&s, &s.askers[i], 1), 1);
    }
    assert_int_equal(ask(&s, &s.askers[6], 1), 0);
    tell(&s, 0, INSTANCE_DRAINING, false);
    for (int i = 0; i < 6; i++) {
        if (strcmp(s.askers[i].granted, instances[0].uuid) == 0) {
            end(&s.askers[i], OUTCOME_GOOD);
        }
    }
    sim_run_for(s.w, 1);
    assert_int_equal(drained[0], 1);
    assert_int_equal(drained[1], 0);
    assert_string_equal(s.askers[6].granted, "");
    for (int i = 0; i < 6; i++) {
        if (s.askers[i].ticket) {
            end(&s.askers[i], OUTCOME_GOOD);
            break;
        }
    }
    sim_run_for(s.w, 1);
    assert_string_equal(s.askers[6].granted, instances[1].uuid);
    close_scene(&s);
}

static void the_cap_follows_the_slots_that_the_engine_tells(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(ask(&s, &s.askers[i], 1), i < SLOTS + 1);
    }
    instances[0].slots = 4;
    tell(&s, 0, INSTANCE_READY, false);
    sim_run_for(s.w, 1);
    assert_int_equal(dispatch_model_load(s.d, 1).in_flight, 5);
    instances[0].slots = 1;
    tell(&s, 0, INSTANCE_READY, false);
    for (int i = 0; i < 3; i++) {
        end(&s.askers[i], OUTCOME_GOOD);
    }
    sim_run_for(s.w, 1);
    assert_int_equal(dispatch_model_load(s.d, 1).in_flight, 2);
    close_scene(&s);
}

static void figures_of_an_instance_live_as_long_as_it(void **state)
{
    struct dispatch_target t;
    struct scene s;

    open_scene(&s, 1);
    assert_false(dispatch_target(s.d, "nobody", &t));
    bring_up(&s, 0, 1);
    instances[0].weight = 7;
    tell(&s, 0, INSTANCE_READY, false);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask(&s, &s.askers[i], 1), 1);
    }
    assert_int_equal(dispatch_last_used_ms(s.d, 1), 0);
    sim_run_for(s.w, 100);
    end(&s.askers[0], OUTCOME_GOOD);
    sim_run_for(s.w, 200);
    end(&s.askers[1], OUTCOME_FAILED);
    assert_int_equal(dispatch_last_used_ms(s.d, 1), world_now_ms(s.w));
    assert_true(dispatch_target(s.d, instances[0].uuid, &t));
    assert_int_equal(t.requests, 2);
    assert_int_equal(t.errors, 1);
    assert_int_equal(t.total_response_ms, 100);
    assert_int_equal(t.response_ms, 100);
    assert_int_equal(t.in_flight, 1);
    assert_int_equal(t.weight, 7);
    assert_int_equal(t.consecutive_failures, 1);
    end(&s.askers[2], OUTCOME_NONE);
    tell(&s, 0, INSTANCE_BACKOFF, false);
    assert_false(dispatch_target(s.d, instances[0].uuid, &t));
    tell(&s, 0, INSTANCE_STARTING, false);
    instances[0].weight = 0;
    tell(&s, 0, INSTANCE_READY, false);
    assert_true(dispatch_target(s.d, instances[0].uuid, &t));
    assert_int_equal(t.requests, 3);
    assert_int_equal(t.consecutive_failures, 0);
    assert_int_equal(t.weight, SLOTS);
    close_scene(&s);
}

/* Else one that joins late would get everything until it has caught up. */
static void who_joins_late_gets_its_share_and_no_more(void **state)
{
    unsigned late = 0;
    struct scene s;
    struct error e;

    open_scene(&s, 1);
    assert_int_equal(dispatch_set_strategy(s.d, 0, "weighted", &e), 0);
    bring_up(&s, 0, 1);
    for (int i = 0; i < 1000; i++) {
        ask_and_end(&s, 1, OUTCOME_GOOD);
    }
    bring_up(&s, 1, 1);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(ask(&s, &s.askers[0], 1), 1);
        late += strcmp(s.askers[0].granted, instances[1].uuid) == 0;
        end(&s.askers[0], OUTCOME_GOOD);
    }
    assert_in_range(late, 49, 51);
    close_scene(&s);
}

static void round_robin_goes_round(void **state)
{
    unsigned got[3] = { 0 };
    struct scene s;
    struct error e;

    open_scene(&s, 1);
    assert_int_equal(dispatch_set_strategy(s.d, 0, "round_robin", &e), 0);
    for (int i = 0; i < 3; i++) {
        bring_up(&s, i, 1);
    }
    for (int i = 0; i < 9; i++) {
        assert_int_equal(ask(&s, &s.askers[0], 1), 1);
        for (int k = 0; k < 3; k++) {
            got[k] += strcmp(s.askers[0].granted, instances[k].uuid) == 0;
        }
        end(&s.askers[0], OUTCOME_GOOD);
    }
    assert_true(got[0] == 3 && got[1] == 3 && got[2] == 3);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_slots_then_queues_in_order),
        cmocka_unit_test(a_full_line_and_a_long_wait_are_refused),
        cmocka_unit_test(a_stopped_or_failed_model_refuses_those_who_wait),
        cmocka_unit_test(draining_is_told_once_nothing_is_in_flight),
        cmocka_unit_test(draining_is_told_of_an_instance_that_nobody_used),
        cmocka_unit_test(draining_is_told_after_the_model_was_deleted),
        cmocka_unit_test(who_lost_his_instance_gets_another_at_once),
        cmocka_unit_test(who_lost_his_only_instance_waits_in_front_and_lets_others_pass),
        cmocka_unit_test(a_new_life_of_the_instance_is_used_at_once),
        cmocka_unit_test(nobody_is_sent_to_an_instance_that_cannot_be_reached),
        cmocka_unit_test(one_failed_instance_of_several_refuses_nobody),
        cmocka_unit_test(draining_one_of_two_leaves_the_other_alone),
        cmocka_unit_test(the_cap_follows_the_slots_that_the_engine_tells),
        cmocka_unit_test(figures_of_an_instance_live_as_long_as_it),
        cmocka_unit_test(who_joins_late_gets_its_share_and_no_more),
        cmocka_unit_test(round_robin_goes_round),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
