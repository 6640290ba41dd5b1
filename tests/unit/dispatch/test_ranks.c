// SPDX-License-Identifier: Apache-2.0
/* Requests before tasks, tasks by class: in the line, and for the place beyond an engine's slots.
 */
#include "scene.h"

static int ask_rank(struct scene *s, struct asker *a, enum dispatch_rank rank)
{
    *a =
        (struct asker){ .scene = s, .model_id = 1, .again = true /* out of the order of asking */ };
    return ask_what(s, a, (struct dispatch_ask){ .model_id = 1, .rank = rank, .tokens = 100 });
}

static void only_a_request_takes_the_place_beyond_the_slots(void **state)
{
    struct scene s;

    for (int rank = RANK_TASK_HIGH; rank < RANK_MAX_; rank++) {
        open_scene(&s, 1);
        bring_up(&s, 0, 1);
        for (int i = 0; i < SLOTS; i++) {
            assert_int_equal(ask_rank(&s, &s.askers[i], (enum dispatch_rank)rank), 1);
        }
        assert_int_equal(ask_rank(&s, &s.askers[SLOTS], (enum dispatch_rank)rank), 0);
        sim_run_for(s.w, 1000);
        assert_string_equal(s.askers[SLOTS].granted, "");
        assert_int_equal(ask_rank(&s, &s.askers[SLOTS + 1], RANK_REQUEST), 1);
        assert_int_equal(ask_rank(&s, &s.askers[SLOTS + 2], RANK_REQUEST), 0);
        end(&s.askers[0], OUTCOME_GOOD);
        sim_run_for(s.w, 1);
        assert_string_equal(s.askers[SLOTS].granted, ""); /* a slot is free, but for the request */
        assert_string_not_equal(s.askers[SLOTS + 2].granted, "");
        end(&s.askers[1], OUTCOME_GOOD);
        end(&s.askers[SLOTS + 1], OUTCOME_GOOD);
        sim_run_for(s.w, 1);
        assert_string_not_equal(s.askers[SLOTS].granted, "");
        close_scene(&s);
    }
}

/* Who comes last goes first, when it is of a better rank; within a rank first come, first served.
 */
static void the_line_moves_by_rank(void **state)
{
    static const enum dispatch_rank ranks[] = { RANK_BATCH,     RANK_TASK_LOW,    RANK_TASK_MEDIUM,
                                                RANK_TASK_HIGH, RANK_REQUEST,     RANK_BATCH,
                                                RANK_TASK_HIGH, RANK_TASK_MEDIUM, RANK_REQUEST };
    static const int order[] = { 4, 8, 3, 6, 2, 7, 1, 0, 5 };
    struct scene s;

    open_scene(&s, 1);
    for (size_t i = 0; i < ARRAY_SIZE(ranks); i++) {
        assert_int_equal(ask_rank(&s, &s.askers[i], ranks[i]), 0);
    }
    for (size_t n = 0; n < ARRAY_SIZE(order); n++) {
        assert_int_equal(dispatch_position(s.askers[order[n]].ticket), n + 1);
    }
    make_instance(&s, 0, 1, 1);
    tell(&s, 0, INSTANCE_READY, false);
    for (size_t n = 0; n < ARRAY_SIZE(order); n++) {
        struct asker *a = &s.askers[order[n]];

        sim_run_for(s.w, 1);
        assert_string_not_equal(a->granted, "");
        if (n + 2 < ARRAY_SIZE(order) && ranks[order[n + 1]] != RANK_REQUEST) {
            assert_string_equal(s.askers[order[n + 1]].granted, "");
        }
        end(a, OUTCOME_GOOD);
    }
    close_scene(&s);
}

/* Tasks that stand in the line do not make a request stand behind them. */
static void a_request_does_not_join_the_tasks_line(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    for (int i = 0; i < SLOTS + 3; i++) {
        assert_int_equal(ask_rank(&s, &s.askers[i], RANK_TASK_HIGH), i < SLOTS);
    }
    assert_int_equal(ask_rank(&s, &s.askers[10], RANK_REQUEST), 1);
    assert_int_equal(dispatch_model_load(s.d, 1).waiting, 3);
    assert_int_equal(dispatch_model_load(s.d, 1).waiting_requests, 0);
    close_scene(&s);
}

static void each_has_a_bound_of_its_own(void **state)
{
    static struct asker crowd[10000];
    struct scene s;

    open_scene(&s, 1); /* at most 20 requests wait */
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(ask_rank(&s, &crowd[i], RANK_BATCH), 0);
    }
    assert_int_equal(ask_rank(&s, &s.askers[100], RANK_TASK_HIGH), -EAGAIN);
    assert_non_null(strstr(s.askers[100].reason, "10000 tasks wait"));
    for (int i = 0; i < 20; i++) {
        assert_int_equal(ask_rank(&s, &s.askers[i], RANK_REQUEST), 0);
        assert_int_equal(dispatch_position(s.askers[i].ticket), i + 1);
    }
    assert_int_equal(ask_rank(&s, &s.askers[101], RANK_REQUEST), -EAGAIN);
    assert_non_null(strstr(s.askers[101].reason, "20 requests wait"));
    assert_int_equal(dispatch_model_load(s.d, 1).waiting, 10020);
    for (int i = 0; i < 10000; i++) {
        end(&crowd[i], OUTCOME_NONE);
    }
    close_scene(&s);
}

/* What a request is told of its wait does not count tasks; what a task is told counts all. */
static void waits_count_who_is_before_one(void **state)
{
    uint64_t request_ms, batch_ms;
    struct scene s;

    open_scene(&s, 1);
    make_instance(&s, 0, 1, 1);
    tell(&s, 0, INSTANCE_READY, false);
    for (int i = 0; i < 5; i++) { /* each takes a second */
        assert_int_equal(ask_rank(&s, &s.askers[0], RANK_REQUEST), 1);
        sim_run_for(s.w, 1000);
        end(&s.askers[0], OUTCOME_GOOD);
    }
    assert_int_equal(ask_rank(&s, &s.askers[0], RANK_REQUEST), 1);
    assert_int_equal(ask_rank(&s, &s.askers[1], RANK_TASK_HIGH), 0); /* for the slot */
    assert_in_range(dispatch_ticket_wait_ms(s.askers[1].ticket), 900, 1100);
    assert_int_equal(dispatch_expected_wait_ms(s.d, 1), 0); /* there is the place beyond it */
    end(&s.askers[1], OUTCOME_NONE);
    assert_int_equal(ask_rank(&s, &s.askers[1], RANK_REQUEST), 1);
    request_ms = dispatch_expected_wait_ms(s.d, 1);
    for (int i = 2; i < 12; i++) {
        assert_int_equal(ask_rank(&s, &s.askers[i], RANK_TASK_MEDIUM), 0);
    }
    assert_int_equal(dispatch_expected_wait_ms(s.d, 1), request_ms);
    assert_in_range(request_ms, 500, 1500);
    assert_int_equal(ask_rank(&s, &s.askers[12], RANK_BATCH), 0);
    assert_int_equal(ask_rank(&s, &s.askers[13], RANK_REQUEST), 0);
    assert_int_equal(dispatch_ticket_wait_ms(s.askers[13].ticket), request_ms);
    batch_ms = dispatch_ticket_wait_ms(s.askers[12].ticket);
    assert_in_range(batch_ms, 11 * 900, 14 * 1100);
    assert_true(dispatch_retry_after_ms(s.d, 1) < 5000);
    close_scene(&s);
}

/* A task that lost its instance goes before the tasks of its rank, not before requests. */
static void asking_again_goes_to_the_front_of_the_rank(void **state)
{
    struct scene s;
    char lost[UUID_SIZE];
    struct dispatch_ask again = {
        .model_id = 1, .rank = RANK_TASK_LOW, .tokens = 100, .exclude = lost, .exclude_ms = 1000
    };

    open_scene(&s, 1);
    make_instance(&s, 0, 1, 1);
    tell(&s, 0, INSTANCE_READY, false);
    assert_int_equal(ask_rank(&s, &s.askers[0], RANK_TASK_LOW), 1);
    assert_int_equal(ask_rank(&s, &s.askers[1], RANK_TASK_LOW), 0);
    assert_int_equal(ask_rank(&s, &s.askers[2], RANK_TASK_HIGH), 0);
    memcpy(lost, s.askers[0].granted, UUID_SIZE);
    tell(&s, 0, INSTANCE_BACKOFF, false);
    end(&s.askers[0], OUTCOME_FAILED);
    assert_int_equal(ask_what(&s, &s.askers[0], again), 0);
    assert_int_equal(dispatch_position(s.askers[2].ticket), 1);
    assert_int_equal(dispatch_position(s.askers[0].ticket), 2);
    assert_int_equal(dispatch_position(s.askers[1].ticket), 3);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_a_request_takes_the_place_beyond_the_slots),
        cmocka_unit_test(the_line_moves_by_rank),
        cmocka_unit_test(a_request_does_not_join_the_tasks_line),
        cmocka_unit_test(each_has_a_bound_of_its_own),
        cmocka_unit_test(waits_count_who_is_before_one),
        cmocka_unit_test(asking_again_goes_to_the_front_of_the_rank),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
