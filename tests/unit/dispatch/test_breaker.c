// SPDX-License-Identifier: Apache-2.0
/* The breaker of an instance: when nothing is sent there, and what lets it back. */
#include "scene.h"

static const char *const three[] = { "BERTH_GATEWAY_BREAKER_FAILURES=3",
                                     "BERTH_GATEWAY_BREAKER_OPEN=5s",
                                     "BERTH_GATEWAY_QUEUE_TIMEOUT=1h", NULL };

static enum breaker breaker(struct scene *s, int i)
{
    struct dispatch_target t = { 0 };

    assert_true(dispatch_target(s->d, instances[i].uuid, &t));
    return t.breaker;
}

static void open_with_one(struct scene *s)
{
    open_scene_with(s, 1, three);
    bring_up(s, 0, 1);
}

static void fail_three(struct scene *s)
{
    for (int i = 0; i < 3; i++) {
        assert_int_equal(breaker(s, 0), BREAKER_CLOSED);
        ask_and_end(s, 1, OUTCOME_FAILED);
    }
    assert_int_equal(breaker(s, 0), BREAKER_OPEN);
}

static void failures_in_a_row_open_it(void **state)
{
    struct scene s;

    open_with_one(&s);
    ask_and_end(&s, 1, OUTCOME_FAILED);
    ask_and_end(&s, 1, OUTCOME_FAILED);
    ask_and_end(&s, 1, OUTCOME_NONE);
    ask_and_end(&s, 1, OUTCOME_GOOD);
    fail_three(&s);
    assert_string_equal(breaker_name(breaker(&s, 0)), "open");
    close_scene(&s);
}

static void while_it_is_open_another_instance_works_or_requests_wait(void **state)
{
    struct scene s;

    open_with_one(&s);
    fail_three(&s);
    assert_int_equal(ask(&s, &s.askers[0], 1), 0);
    sim_run_for(s.w, 100);
    assert_string_equal(s.askers[0].granted, "");
    bring_up(&s, 1, 1);
    sim_run_for(s.w, 1);
    assert_string_equal(s.askers[0].granted, instances[1].uuid);
    assert_int_equal(ask(&s, &s.askers[1], 1), 1);
    assert_string_equal(s.askers[1].granted, instances[1].uuid);
    close_scene(&s);
}

static void half_open_it_gets_one_at_a_time_until_one_is_good(void **state)
{
    struct scene s;

    open_with_one(&s);
    fail_three(&s);
    assert_int_equal(ask(&s, &s.askers[0], 1), 0);
    assert_int_equal(ask(&s, &s.askers[1], 1), 0);
    sim_run_for(s.w, 4990);
    assert_string_equal(s.askers[0].granted, "");
    sim_run_for(s.w, 20);
    assert_int_equal(breaker(&s, 0), BREAKER_HALF_OPEN);
    assert_string_equal(s.askers[0].granted, instances[0].uuid);
    assert_string_equal(s.askers[1].granted, "");
    end(&s.askers[0], OUTCOME_NONE); /* nothing was learnt: the next one */
    sim_run_for(s.w, 1);
    assert_int_equal(breaker(&s, 0), BREAKER_HALF_OPEN);
    assert_string_equal(s.askers[1].granted, instances[0].uuid);
    assert_int_equal(ask(&s, &s.askers[2], 1), 0);
    end(&s.askers[1], OUTCOME_GOOD);
    sim_run_for(s.w, 1);
    assert_int_equal(breaker(&s, 0), BREAKER_CLOSED);
    assert_string_equal(s.askers[2].granted, instances[0].uuid);
    fail_three(&s); /* all over again: five seconds */
    sim_run_for(s.w, 5010);
    assert_int_equal(breaker(&s, 0), BREAKER_HALF_OPEN);
    close_scene(&s);
}

static void each_failed_trial_doubles_the_time_up_to_eight_times(void **state)
{
    static const uint64_t seconds[] = { 5, 10, 20, 40, 40, 40 };
    struct scene s;

    open_with_one(&s);
    fail_three(&s);
    for (size_t i = 0; i < ARRAY_SIZE(seconds); i++) {
        sim_run_for(s.w, seconds[i] * 1000 - 10);
        assert_int_equal(breaker(&s, 0), BREAKER_OPEN);
        sim_run_for(s.w, 20);
        assert_int_equal(breaker(&s, 0), BREAKER_HALF_OPEN);
        ask_and_end(&s, 1, OUTCOME_FAILED);
        assert_int_equal(breaker(&s, 0), BREAKER_OPEN);
    }
    close_scene(&s);
}

/* Bad requests make an engine answer with errors, too: they may cost an instance its turn, never
 * all others the model. */
static void errors_open_it_only_while_another_is_closed(void **state)
{
    struct scene s;

    open_with_one(&s);
    for (int i = 0; i < 10; i++) {
        ask_and_end(&s, 1, OUTCOME_ERROR);
    }
    assert_int_equal(breaker(&s, 0), BREAKER_CLOSED);
    bring_up(&s, 1, 1);
    for (int i = 0; i < 10; i++) {
        ask_and_end(&s, 1, OUTCOME_ERROR);
    }
    assert_int_equal((breaker(&s, 0) == BREAKER_CLOSED) + (breaker(&s, 1) == BREAKER_CLOSED), 1);
    close_scene(&s);
}

/* The last door opens for good as soon as somebody answers behind it. */
static void the_trial_of_the_only_one_may_be_answered_with_an_error(void **state)
{
    struct dispatch_target t = { 0 };
    struct scene s;

    open_with_one(&s);
    fail_three(&s);
    sim_run_for(s.w, 5010);
    ask_and_end(&s, 1, OUTCOME_ERROR);
    assert_int_equal(breaker(&s, 0), BREAKER_CLOSED);
    assert_true(dispatch_target(s.d, instances[0].uuid, &t));
    assert_int_equal(t.errors, 4);
    ask_and_end(&s, 1, OUTCOME_FAILED); /* the failures in a row are not forgotten */
    assert_int_equal(breaker(&s, 0), BREAKER_OPEN);
    close_scene(&s);
}

/* A long stream as the trial must not keep the others waiting to its end. But one that dies after
 * its first tokens opens the breaker at once, as a failed trial does. */
static void tokens_of_the_trial_close_it_for_as_long_as_nothing_fails(void **state)
{
    struct scene s;

    open_with_one(&s);
    fail_three(&s);
    sim_run_for(s.w, 5010);
    assert_int_equal(ask(&s, &s.askers[0], 1), 1);
    assert_int_equal(ask(&s, &s.askers[1], 1), 0);
    dispatch_progress(s.askers[0].ticket, 1);
    sim_run_for(s.w, 1);
    assert_int_equal(breaker(&s, 0), BREAKER_CLOSED);
    assert_string_equal(s.askers[1].granted, instances[0].uuid);
    end(&s.askers[0], OUTCOME_FAILED);
    assert_int_equal(breaker(&s, 0), BREAKER_OPEN);
    sim_run_for(s.w, 9990);
    assert_int_equal(breaker(&s, 0), BREAKER_OPEN);
    close_scene(&s);
}

/* An engine that is about to end finishes what it has, and takes no connections any more. */
static void what_was_sent_before_it_opened_does_not_move_it(void **state)
{
    struct scene s;

    open_with_one(&s);
    assert_int_equal(ask(&s, &s.askers[0], 1), 1);
    assert_int_equal(ask(&s, &s.askers[1], 1), 1);
    assert_int_equal(ask(&s, &s.askers[2], 1), 1);
    instances[0].slots = 4;
    tell(&s, 0, INSTANCE_READY, false);
    assert_int_equal(ask(&s, &s.askers[3], 1), 1);
    assert_int_equal(ask_again(&s, &s.askers[3], true), 0);
    assert_int_equal(breaker(&s, 0), BREAKER_OPEN);
    end(&s.askers[0], OUTCOME_GOOD);
    assert_int_equal(breaker(&s, 0), BREAKER_OPEN);
    sim_run_for(s.w, 1010);
    assert_int_equal(breaker(&s, 0), BREAKER_HALF_OPEN);
    assert_string_equal(s.askers[3].granted, instances[0].uuid);
    end(&s.askers[1], OUTCOME_GOOD);
    assert_int_equal(breaker(&s, 0), BREAKER_HALF_OPEN);
    end(&s.askers[2], OUTCOME_FAILED);
    assert_int_equal(breaker(&s, 0), BREAKER_HALF_OPEN);
    end(&s.askers[3], OUTCOME_GOOD);
    assert_int_equal(breaker(&s, 0), BREAKER_CLOSED);
    close_scene(&s);
}

static void an_unreachable_one_is_tried_by_one_request_only(void **state)
{
    struct scene s;

    open_with_one(&s);
    assert_int_equal(ask(&s, &s.askers[0], 1), 1);
    assert_int_equal(ask_again(&s, &s.askers[0], true), 0);
    assert_int_equal(ask(&s, &s.askers[1], 1), 0);
    assert_int_equal(ask(&s, &s.askers[2], 1), 0);
    sim_run_for(s.w, 1010);
    assert_string_equal(s.askers[0].granted, instances[0].uuid);
    assert_string_equal(s.askers[1].granted, "");
    close_scene(&s);
}

static void a_new_life_starts_closed_and_old_requests_do_not_count(void **state)
{
    struct scene s;

    open_with_one(&s);
    assert_int_equal(ask(&s, &s.askers[0], 1), 1);
    fail_three(&s);
    assert_int_equal(ask(&s, &s.askers[1], 1), 0);
    tell(&s, 0, INSTANCE_BACKOFF, false);
    tell(&s, 0, INSTANCE_STARTING, false);
    tell(&s, 0, INSTANCE_READY, false);
    sim_run_for(s.w, 1);
    assert_int_equal(breaker(&s, 0), BREAKER_CLOSED);
    assert_string_equal(s.askers[1].granted, instances[0].uuid);
    ask_and_end(&s, 1, OUTCOME_FAILED);
    ask_and_end(&s, 1, OUTCOME_FAILED);
    end(&s.askers[0], OUTCOME_FAILED);
    assert_int_equal(breaker(&s, 0), BREAKER_CLOSED);
    close_scene(&s);
}

static void draining_and_coming_back_is_no_new_life(void **state)
{
    struct scene s;

    open_with_one(&s);
    fail_three(&s);
    tell(&s, 0, INSTANCE_DRAINING, false);
    tell(&s, 0, INSTANCE_READY, false);
    assert_int_equal(breaker(&s, 0), BREAKER_OPEN);
    close_scene(&s);
}

static void it_can_be_turned_off(void **state)
{
    static const char *const off[] = { "BERTH_GATEWAY_BREAKER_FAILURES=0", NULL };
    struct scene s;

    open_scene_with(&s, 1, off);
    bring_up(&s, 0, 1);
    for (int i = 0; i < 100; i++) {
        ask_and_end(&s, 1, OUTCOME_FAILED);
    }
    assert_int_equal(breaker(&s, 0), BREAKER_CLOSED);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_in_a_row_open_it),
        cmocka_unit_test(while_it_is_open_another_instance_works_or_requests_wait),
        cmocka_unit_test(half_open_it_gets_one_at_a_time_until_one_is_good),
        cmocka_unit_test(each_failed_trial_doubles_the_time_up_to_eight_times),
        cmocka_unit_test(errors_open_it_only_while_another_is_closed),
        cmocka_unit_test(the_trial_of_the_only_one_may_be_answered_with_an_error),
        cmocka_unit_test(tokens_of_the_trial_close_it_for_as_long_as_nothing_fails),
        cmocka_unit_test(what_was_sent_before_it_opened_does_not_move_it),
        cmocka_unit_test(an_unreachable_one_is_tried_by_one_request_only),
        cmocka_unit_test(a_new_life_starts_closed_and_old_requests_do_not_count),
        cmocka_unit_test(draining_and_coming_back_is_no_new_life),
        cmocka_unit_test(it_can_be_turned_off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
