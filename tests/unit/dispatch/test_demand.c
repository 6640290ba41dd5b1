// SPDX-License-Identifier: Apache-2.0
/* Demand: requests for models that are not up, and unloading that meets a request. */
#include "scene.h"

static void open_on_demand(struct scene *s)
{
    open_scene(s, 1);
    configs[0].on_demand = true;
    models[0].wanted = false;
}

static void a_request_for_a_stopped_model_waits_and_is_told_of_once(void **state)
{
    struct scene s;

    open_on_demand(&s);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(ask(&s, &s.askers[i], 1), 0);
    }
    assert_int_equal(s.demanded[0], 0); /* in a turn of its own */
    sim_run_for(s.w, 1);
    assert_int_equal(s.demanded[0], 1);
    assert_int_equal(s.demand_waiting, 10);
    assert_int_equal(ask(&s, &s.askers[10], 1), 0);
    sim_run_for(s.w, 100);
    assert_int_equal(s.demanded[0], 1);
    tell_wanted(&s, 1, true, WISH_DEMAND);
    make_instance(&s, 0, 1, SLOTS);
    sim_run_for(s.w, 100);
    tell(&s, 0, INSTANCE_READY, false);
    sim_run_for(s.w, 1);
    assert_string_equal(s.askers[0].granted, instances[0].uuid);
    assert_int_equal(s.demanded[0], 1);
    close_scene(&s);
}

static void who_does_not_want_it_loaded_is_refused(void **state)
{
    struct scene s;
    struct asker *a = &s.askers[0];

    open_on_demand(&s);
    *a = (struct asker){ .scene = &s, .model_id = 1 };
    assert_int_equal(ask_what(&s, a, (struct dispatch_ask){ .model_id = 1, .no_load = true }),
                     -ESRCH);
    configs[0].on_demand = false;
    assert_int_equal(ask(&s, a, 1), -ESRCH);
    assert_non_null(strstr(a->reason, "is stopped"));
    sim_run_for(s.w, 10);
    assert_int_equal(s.demanded[0], 0);
    close_scene(&s);
}

static void who_gave_up_waiting_has_used_it_so_long(void **state)
{
    struct scene s;

    open_on_demand(&s);
    assert_int_equal(ask(&s, &s.askers[0], 1), 0);
    sim_run_for(s.w, 5000);
    end(&s.askers[0], OUTCOME_NONE);
    assert_int_equal(dispatch_last_used_ms(s.d, 1), world_now_ms(s.w));
    close_scene(&s);
}

/* What was told may have been lost (a store that was busy): the next one tells it anew. */
static void when_the_line_was_empty_it_is_told_again(void **state)
{
    struct scene s;

    open_on_demand(&s);
    assert_int_equal(ask(&s, &s.askers[0], 1), 0);
    sim_run_for(s.w, 1);
    end(&s.askers[0], OUTCOME_NONE);
    assert_int_equal(ask(&s, &s.askers[1], 1), 0);
    sim_run_for(s.w, 1);
    assert_int_equal(s.demanded[0], 2);
    close_scene(&s);
}

static void a_persons_stop_refuses_those_who_wait_and_not_those_who_come_after(void **state)
{
    struct scene s;

    open_on_demand(&s);
    models[0].wanted = true;
    make_instance(&s, 0, 1, SLOTS);
    assert_int_equal(ask(&s, &s.askers[0], 1), 0);
    assert_int_equal(ask(&s, &s.askers[1], 1), 0);
    tell_wanted(&s, 1, false, WISH_USER);
    assert_int_equal(ask(&s, &s.askers[2], 1), 0); /* in the same turn even */
    end(&s.askers[1], OUTCOME_NONE);               /* and one leaves */
    sim_run_for(s.w, 1);
    assert_int_equal(s.askers[0].refused, -ESRCH);
    assert_non_null(strstr(s.askers[0].reason, "was stopped"));
    assert_int_equal(s.askers[2].refused, 0);
    assert_int_equal(s.demanded[0], 1);
    assert_int_equal(dispatch_model_load(s.d, 1).waiting, 1);
    close_scene(&s);
}

/* A request comes while the model is being unloaded for idleness: the instance, which has nothing
 * to do, is kept until it is wanted again. */
static void a_request_during_idle_unload_is_not_lost(void **state)
{
    struct scene s;

    open_on_demand(&s);
    models[0].wanted = true;
    bring_up(&s, 0, 1);
    ask_and_end(&s, 1, OUTCOME_GOOD);
    tell_wanted(&s, 1, false, WISH_IDLE);
    tell(&s, 0, INSTANCE_DRAINING, false);
    assert_int_equal(ask(&s, &s.askers[0], 1), 0);
    sim_run_for(s.w, 10);
    assert_int_equal(s.demanded[0], 1);
    assert_int_equal(drained[0], 0);
    tell(&s, 0, INSTANCE_READY, false);
    tell_wanted(&s, 1, true, WISH_DEMAND);
    sim_run_for(s.w, 1);
    assert_string_equal(s.askers[0].granted, instances[0].uuid);
    close_scene(&s);
}

static void the_kept_instance_may_go_once_nobody_waits_for_it(void **state)
{
    struct scene s;

    open_on_demand(&s);
    models[0].wanted = true;
    bring_up(&s, 0, 1);
    tell_wanted(&s, 1, false, WISH_IDLE);
    tell(&s, 0, INSTANCE_DRAINING, false);
    assert_int_equal(ask(&s, &s.askers[0], 1), 0);
    sim_run_for(s.w, 10);
    assert_int_equal(drained[0], 0);
    end(&s.askers[0], OUTCOME_NONE);
    sim_run_for(s.w, 10);
    assert_int_equal(drained[0], 1);
    close_scene(&s);
}

static void unloading_what_works_is_told_at_once(void **state)
{
    struct scene s;

    open_on_demand(&s);
    models[0].wanted = true;
    bring_up(&s, 0, 1);
    assert_int_equal(ask(&s, &s.askers[0], 1), 1);
    tell_wanted(&s, 1, false, WISH_IDLE);
    sim_run_for(s.w, 1);
    assert_int_equal(s.demanded[0], 1);
    assert_int_equal(s.demand_waiting, 0);
    tell_wanted(&s, 1, true, WISH_DEMAND);
    tell_wanted(&s, 1, false, WISH_USER); /* that is what a person wants */
    sim_run_for(s.w, 1);
    assert_int_equal(s.demanded[0], 1);
    close_scene(&s);
}

/* Not wanted any more, and its instance is not told yet: it takes one more request. */
static void what_is_given_in_the_moment_of_unloading_is_told(void **state)
{
    struct scene s;

    open_on_demand(&s);
    models[0].wanted = true;
    bring_up(&s, 0, 1);
    tell_wanted(&s, 1, false, WISH_IDLE);
    assert_int_equal(ask(&s, &s.askers[0], 1), 1);
    tell(&s, 0, INSTANCE_DRAINING, false);
    sim_run_for(s.w, 1);
    assert_int_equal(s.demanded[0], 1);
    assert_int_equal(s.demand_waiting, 0);
    close_scene(&s);
}

static void unloaded_again_while_somebody_waits_is_told_again(void **state)
{
    struct scene s;

    open_on_demand(&s);
    assert_int_equal(ask(&s, &s.askers[0], 1), 0);
    sim_run_for(s.w, 1);
    tell_wanted(&s, 1, true, WISH_DEMAND);
    sim_run_for(s.w, 1);
    tell_wanted(&s, 1, false, WISH_IDLE);
    sim_run_for(s.w, 1);
    assert_int_equal(s.demanded[0], 2);
    assert_int_equal(s.askers[0].refused, 0);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_for_a_stopped_model_waits_and_is_told_of_once),
        cmocka_unit_test(who_gave_up_waiting_has_used_it_so_long),
        cmocka_unit_test(who_does_not_want_it_loaded_is_refused),
        cmocka_unit_test(when_the_line_was_empty_it_is_told_again),
        cmocka_unit_test(a_persons_stop_refuses_those_who_wait_and_not_those_who_come_after),
        cmocka_unit_test(a_request_during_idle_unload_is_not_lost),
        cmocka_unit_test(the_kept_instance_may_go_once_nobody_waits_for_it),
        cmocka_unit_test(unloading_what_works_is_told_at_once),
        cmocka_unit_test(what_is_given_in_the_moment_of_unloading_is_told),
        cmocka_unit_test(unloaded_again_while_somebody_waits_is_told_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
