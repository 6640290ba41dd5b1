// SPDX-License-Identifier: Apache-2.0
/* Several instances of one model: how many there are, and how they are replaced. */
#include "rig.h"

#include <stdlib.h>

#include "base/mem.h"

static struct rig *rig;

static int set_up(void **state)
{
    rig = rig_create(1, NULL);
    return 0;
}

static int tear_down(void **state)
{
    rig_destroy(rig);
    return 0;
}

static void update(int64_t id, const char *members)
{
    rig_update_model(rig, id, "m", members);
}

static int64_t add_three(void)
{
    int64_t id = rig_add_model(rig, "m", "\"replicas\":3");

    rig_await_all(rig, id, INSTANCE_READY, 3, 1000);
    return id;
}

static pid_t pid_of(unsigned replica)
{
    struct sim_engine *engine = rig_replica(rig, "m", replica);

    assert_non_null(engine);
    return engine->process->id.pid;
}

static void test_each_is_one_of_its_own(void **state)
{
    int64_t id = add_three();
    const struct instance *pub;
    bool seen[3] = { false };
    size_t cursor = 0;

    while ((pub = engines_next(rig->engines, &cursor))) {
        assert_int_equal(pub->model_id, id);
        assert_in_range(pub->replica, 0, 2);
        assert_false(seen[pub->replica]);
        seen[pub->replica] = true;
    }
    assert_int_equal(rig->starts, 3);
    assert_int_equal(rig_count_alive(rig, "m"), 3);
    assert_int_equal(rig_count_rows(rig), 3);
    rig_want(rig, id, false);
    rig_await_gone(rig, id, 1000);
    sim_run_for(rig->world, 10);
    assert_int_equal(rig_count_alive(rig, NULL), 0);
    assert_int_equal(rig_count_rows(rig), 0);
}

static void test_more_come_and_the_highest_leave(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);
    pid_t first, second;

    rig_await_all(rig, id, INSTANCE_READY, 1, 1000);
    first = pid_of(0);
    update(id, "\"replicas\":3");
    rig_await_all(rig, id, INSTANCE_READY, 3, 1000);
    second = pid_of(1);
    assert_int_equal(pid_of(0), first); /* its command is the same: it is left alone */

    rig->drains = false;
    update(id, "\"replicas\":2");
    sim_run_for(rig->world, 10 * 1000);
    assert_int_equal(rig_count_instances(rig, id, INSTANCE_DRAINING), 1);
    assert_int_equal(rig_count_alive(rig, "m"), 3);
    rig_await_all(rig, id, INSTANCE_READY, 2, 31 * 1000);
    assert_int_equal(pid_of(0), first);
    assert_int_equal(pid_of(1), second);
    assert_null(rig_replica(rig, "m", 2));
    assert_int_equal(rig->starts, 3);
}

static void test_asked_for_again_while_it_drains_it_stays(void **state)
{
    int64_t id = add_three();

    rig->drains = false;
    update(id, "\"replicas\":2");
    sim_run_for(rig->world, 1000);
    assert_int_equal(rig_count_instances(rig, id, INSTANCE_DRAINING), 1);
    update(id, "\"replicas\":3");
    rig_await_all(rig, id, INSTANCE_READY, 3, 100);
    assert_int_equal(rig->starts, 3);
}

/* ---- a new definition */

struct watch {
    int64_t id;
    size_t fewest; /* that served at once */
};

static void on_change(void *owner, const void *what)
{
    struct watch *w = owner;
    size_t n = rig_count_instances(rig, w->id, INSTANCE_READY);

    w->fewest = MIN_OF(w->fewest, n);
}

static size_t fewest_during_update(int64_t id, const char *members)
{
    struct watch w = { id, 3 };
    struct listener listener = { .fn = on_change, .owner = &w };

    notify_add(engines_signal(rig->engines), &listener);
    update(id, members);
    sim_run_for(rig->world, 10 * 1000);
    notify_remove(&listener);
    return w.fewest;
}

static void test_new_definition_replaces_one_at_a_time(void **state)
{
    int64_t id = add_three();
    pid_t before[3] = { pid_of(0), pid_of(1), pid_of(2) };

    assert_int_equal(fewest_during_update(id, "\"replicas\":3,\"parameters\":{\"threads\":2}"), 2);
    rig_await_all(rig, id, INSTANCE_READY, 3, 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_not_equal(pid_of(i), before[i]);
    }
    assert_int_equal(rig->starts, 6);
    assert_int_equal(rig_count_rows(rig), 3);
}

static void test_definition_that_does_not_work_costs_one(void **state)
{
    int64_t id = add_three();

    update(id, "\"replicas\":3,\"model_path\":\"nowhere.gguf\"");
    sim_run_for(rig->world, 600 * 1000);
    assert_int_equal(rig_count_instances(rig, id, INSTANCE_READY), 2);
    assert_int_equal(rig_count_instances(rig, id, INSTANCE_FAILED), 1);
    assert_int_equal(engines_of_model(rig->engines, id)->state, INSTANCE_READY);

    update(id, "\"replicas\":3,\"parameters\":{\"threads\":2}");
    rig_await_all(rig, id, INSTANCE_READY, 3, 10 * 1000);
    sim_run_for(rig->world, 10 * 1000);
    assert_int_equal(rig->starts, 6);
}

static void test_restart_is_rolling_too(void **state)
{
    int64_t id = add_three();
    struct watch w = { id, 3 };
    struct listener listener = { .fn = on_change, .owner = &w };

    notify_add(engines_signal(rig->engines), &listener);
    engines_restart(rig->engines, id);
    sim_run_for(rig->world, 10 * 1000);
    notify_remove(&listener);
    assert_int_equal(w.fewest, 2);
    assert_int_equal(rig->starts, 6);
    rig_await_all(rig, id, INSTANCE_READY, 3, 1);
}

static void test_what_does_not_concern_the_engine_leaves_it_alone(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);
    int64_t epoch = rig_await(rig, id, INSTANCE_READY, 1000)->model_epoch;

    update(id, "\"aliases\":[\"other\"],\"priority\":7,\"health_check\":{\"interval\":3}");
    sim_run_for(rig->world, 1000);
    assert_string_equal(rig->trail, "waiting starting ready");
    assert_true(engines_of_model(rig->engines, id)->model_epoch > epoch);
    rig_crash(rig); /* and berth's next life agrees */
    rig_recover(rig);
    assert_true(rig_await(rig, id, INSTANCE_READY, 1000)->adopted);
    assert_int_equal(rig->starts, 1);
}

/* ---- each fails by itself */

static void test_one_that_crashes_comes_back_alone(void **state)
{
    int64_t id = add_three();
    pid_t first = pid_of(0);

    sim_process_exit(rig_replica(rig, "m", 1)->process, 0, 9);
    sim_run_for(rig->world, 20);
    assert_int_equal(rig_count_instances(rig, id, INSTANCE_READY), 2);
    assert_int_equal(engines_of_model(rig->engines, id)->state, INSTANCE_READY);
    rig_await_all(rig, id, INSTANCE_READY, 3, 1000);
    assert_int_equal(pid_of(0), first);
    assert_int_equal(rig->starts, 4);
}

static void test_start_asks_all_that_failed(void **state)
{
    int64_t id;

    rig->behaviour = (struct behaviour){ .load_ms = 1000, .end_after_ms = 30, .end_code = 1 };
    id = rig_add_model(rig, "m", "\"replicas\":3,\"retry_policy\":{\"enabled\":false}");
    rig_await_all(rig, id, INSTANCE_FAILED, 3, 1000);
    rig->behaviour = (struct behaviour){ .load_ms = 70 };
    engines_retry(rig->engines, id);
    rig_await_all(rig, id, INSTANCE_READY, 3, 1000);
}

static void test_best_is_told(void **state)
{
    int64_t id;

    rig->behaviour = (struct behaviour){ .load_ms = 1000, .end_after_ms = 30, .end_code = 1 };
    id = rig_add_model(rig, "m", "\"replicas\":2,\"retry_policy\":{\"enabled\":false}");
    rig_await_all(rig, id, INSTANCE_FAILED, 2, 1000);
    rig->behaviour = (struct behaviour){ .load_ms = 5000 };
    update(id, "\"replicas\":3,\"parameters\":{\"port\":9001}");
    sim_run_for(rig->world, 1000);
    assert_int_equal(engines_of_model(rig->engines, id)->state, INSTANCE_STARTING);
    rig_await(rig, id, INSTANCE_READY, 5000);
    rig_await_all(rig, id, INSTANCE_READY, 3, 5000);
    sim_process_exit(rig_replica(rig, "m", 0)->process, 0, 9);
    sim_process_exit(rig_replica(rig, "m", 1)->process, 0, 9);
    sim_run_for(rig->world, 100);
    assert_int_equal(engines_of_model(rig->engines, id)->replica, 2);
    assert_int_equal(engines_of_model(rig->engines, id)->address.port, 9003);
}

/* ---- after kill -9 of berth */

static void test_all_are_adopted(void **state)
{
    int64_t id = add_three();
    pid_t before[3] = { pid_of(0), pid_of(1), pid_of(2) };

    rig_crash(rig);
    rig_recover(rig);
    rig_await_all(rig, id, INSTANCE_READY, 3, 1000);
    assert_int_equal(rig->starts, 3);
    for (unsigned i = 0; i < 3; i++) {
        const struct instance *pub = engines_find(rig->engines, rig_replica(rig, "m", i)->uuid);

        assert_true(pub->adopted);
        assert_int_equal(pub->replica, i);
        assert_int_equal(pub->process.pid, before[i]);
    }
}

static void test_surplus_leaves_after_a_crash(void **state)
{
    int64_t id = add_three();

    rig_lose_engines(rig);
    update(id, "\"replicas\":2");
    rig_crash(rig);
    rig_recover(rig);
    rig_await_all(rig, id, INSTANCE_READY, 2, 1000);
    sim_run_for(rig->world, 10);
    assert_int_equal(rig->starts, 3);
    assert_int_equal(rig_count_alive(rig, "m"), 2);
    assert_int_equal(rig_count_rows(rig), 2);
}

/* The configuration file is read after the engines were adopted: nothing is known of them yet. */
static void test_adopted_ones_are_replaced_one_at_a_time_too(void **state)
{
    int64_t id = add_three();
    struct watch w = { id, 3 };
    struct listener listener = { .fn = on_change, .owner = &w };

    rig_crash(rig);
    rig_recover(rig);
    update(id, "\"replicas\":3,\"parameters\":{\"threads\":2}");
    rig_await(rig, id, INSTANCE_READY, 1000);
    assert_int_equal(rig_count_alive(rig, "m"), 3);
    rig_await_all(rig, id, INSTANCE_READY, 3, 1000);
    notify_add(engines_signal(rig->engines), &listener);
    sim_run_for(rig->world, 10 * 1000);
    notify_remove(&listener);
    assert_int_equal(w.fewest, 2);
    assert_int_equal(rig->starts, 6);
}

struct sql_change {
    struct store_op op;
    const char *text;
};

static int run_change(struct store_op *op, struct sql *db, struct error *reterr)
{
    return sql_run(db, reterr, container_of(op, struct sql_change, op)->text, "");
}

static void test_of_two_rows_of_one_replica_one_stays(void **state)
{
    struct sql_change c = { .op.run = run_change, .text = "UPDATE instances SET replica = 0" };
    int64_t id = add_three();
    struct sim_engine *engine;

    rig_crash(rig);
    assert_true(store_write_now(rig->store, &c.op) >= 0);
    list_for_each (engine, &rig->alive, node) {
        engine->replica = 0;
    }
    rig_recover(rig);
    rig_await_all(rig, id, INSTANCE_READY, 3, 2000);
    assert_int_equal(rig->starts, 5); /* one was adopted */
    assert_int_equal(rig_count_alive(rig, "m"), 3);
    assert_int_equal(rig_count_rows(rig), 3);
}

#define LIFE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIFE(test_each_is_one_of_its_own),
        LIFE(test_more_come_and_the_highest_leave),
        LIFE(test_asked_for_again_while_it_drains_it_stays),
        LIFE(test_new_definition_replaces_one_at_a_time),
        LIFE(test_definition_that_does_not_work_costs_one),
        LIFE(test_restart_is_rolling_too),
        LIFE(test_what_does_not_concern_the_engine_leaves_it_alone),
        LIFE(test_one_that_crashes_comes_back_alone),
        LIFE(test_start_asks_all_that_failed),
        LIFE(test_best_is_told),
        LIFE(test_all_are_adopted),
        LIFE(test_adopted_ones_are_replaced_one_at_a_time_too),
        LIFE(test_surplus_leaves_after_a_crash),
        LIFE(test_of_two_rows_of_one_replica_one_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
