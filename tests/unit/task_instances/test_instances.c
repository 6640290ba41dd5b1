// SPDX-License-Identifier: Apache-2.0
/*
 * Task Instances: who is registered, who is chosen, what becomes of tasks whatever the instances
 * do. Names of tests that end in a number are of the seed's bugs that must not come back.
 */
#include "scene.h"

#include <unistd.h>

static void test_registers(void **state)
{
    struct scene s;
    char first[UUID_SIZE];

    scene_open(&s, NULL);
    fake_up(&s, 0, "ocr");
    assert_int_equal(scene_register(&s, 0), 0);
    assert_int_equal(scene_instance(&s, 0)->state, TI_READY);
    assert_int_equal(scene_instance(&s, 0)->generation, 2);
    assert_string_equal(scene_instance(&s, 0)->model, "ocr");
    snprintf(first, sizeof(first), "%s", s.uuid);
    assert_int_equal(scene_register(&s, 0), 2);
    assert_string_equal(s.uuid, first);
    assert_int_equal(scene_remove(&s, first, false), 0);
    assert_null(scene_instance(&s, 0));
    assert_int_equal(scene_remove(&s, first, false), -ESRCH);
    scene_close(&s);
}

static void test_later_generation(void **state)
{
    struct scene s;

    scene_open(&s, NULL);
    s.fakes[0].generation = 3;
    fake_up(&s, 0, "ocr");
    assert_int_equal(scene_register(&s, 0), 0);
    assert_int_equal(scene_instance(&s, 0)->generation, 3);
    assert_int_equal(scene_submit(&s, "ocr", NULL), 0);
    assert_string_equal(s.fakes[0].tasks[0].our_id, s.task_id);
    assert_int_equal(scene_complete(&s, "10.0.0.1:8100", s.task_id, 7, "{\"a\":1}"), 0);
    assert_int_equal(scene_query(&s, s.task_id), TASK_COMPLETED);
    assert_string_equal(s.output, "{\"a\":1}");
    scene_close(&s);
}

/* Nothing listens; it comes later. */
static void test_unreachable_8(void **state)
{
    struct scene s;

    scene_open(&s, NULL);
    snprintf(s.fakes[0].host, sizeof(s.fakes[0].host), "10.0.0.1");
    assert_int_equal(scene_register(&s, 0), 1);
    assert_true(s.error[0]);
    assert_int_equal(scene_instance(&s, 0)->state, TI_UNREACHABLE);
    assert_int_equal(scene_submit(&s, "ocr", NULL), -ENOENT);
    assert_string_equal(s.error, "No available instances for model type ocr");
    fake_up(&s, 0, "ocr");
    run_for(&s, 5100);
    assert_int_equal(scene_instance(&s, 0)->state, TI_READY);
    assert_int_equal(scene_submit(&s, "ocr", NULL), 0);
    scene_close(&s);
}

static void test_nothing_stored(void **state)
{
    struct scene s;
    struct task_counts n;

    scene_open(&s, NULL);
    assert_int_equal(scene_submit(&s, "ocr", NULL), -ENOENT);
    assert_string_equal(s.error, "No TaskInstances configured");
    n = tasks_counts(s.tasks, &(struct task_filter){ .kind = TASK_OF_INSTANCE, .state = -1 });
    for (int i = 0; i < TASK_STATE_MAX_; i++) {
        assert_int_equal(n.by_state[i], 0);
    }
    scene_close(&s);
}

static void test_completes_6_7(void **state)
{
    struct scene s;
    char id[UUID_SIZE];
    struct task_timing timing;

    scene_open(&s, NULL);
    fake_up(&s, 0, "ocr");
    scene_register(&s, 0);
    assert_int_equal(scene_submit(&s, "ocr", NULL), 0);
    snprintf(id, sizeof(id), "%s", s.task_id);
    assert_int_equal(fake_of(&s, s.chosen), 0);
    assert_int_equal(scene_query(&s, id), TASK_RUNNING);
    run_for(&s, 500);
    s.fakes[0].tasks[0].ended = true;
    /* without a result: it is fetched */
    assert_int_equal(scene_complete(&s, "10.0.0.1", s.fakes[0].tasks[0].name, 120, NULL), 0);
    assert_true(s.total_ms >= 500);
    assert_int_equal(scene_query(&s, id), TASK_COMPLETED);
    assert_string_equal(s.output, "{\"out\":\"t/1@10.0.0.1\"}");
    /* told again: by its name for it, and by ours */
    assert_int_equal(scene_complete(&s, "10.0.0.1", s.fakes[0].tasks[0].name, 120, NULL), 1);
    assert_int_equal(scene_complete(&s, "10.0.0.1", id, 120, NULL), 1);
    timing = task_instances_timing(s.ti, NULL);
    assert_int_equal(timing.tasks, 1);
    assert_float_equal(timing.execution_ms, 120, 1e-9);
    assert_int_equal(task_instances_timing(s.ti, "shortest_queue").tasks, 1);
    assert_int_equal(task_instances_timing(s.ti, "round_robin").tasks, 0);
    assert_int_equal(scene_complete(&s, "10.0.0.1", "nobody's", 1, NULL), -ENOENT);
    assert_int_equal(scene_complete(&s, "nobody", id, 1, NULL), -ESRCH);
    scene_close(&s);
}

/* The instance is so fast that its completion comes before its answer. */
static void test_completion_comes_first(void **state)
{
    struct scene s;

    scene_open(&s, NULL);
    fake_up(&s, 0, "ocr");
    scene_register(&s, 0);
    s.fakes[0].complete_first = true;
    assert_int_equal(scene_submit_as(&s, "ocr", NULL, "mine"), 0);
    run_for(&s, 10);
    assert_int_equal(s.completions, 1);
    assert_int_equal(scene_query(&s, "mine"), TASK_COMPLETED);
    scene_close(&s);
}

static void test_failed_9(void **state)
{
    struct scene s;
    char id[UUID_SIZE];

    scene_open(&s, NULL);
    fake_up(&s, 0, "ocr");
    scene_register(&s, 0);
    scene_submit(&s, "ocr", NULL);
    snprintf(id, sizeof(id), "%s", s.task_id);
    s.fakes[0].tasks[0].ended = s.fakes[0].tasks[0].failed = true;
    run_for(&s, 11000); /* nobody tells: it is found */
    assert_int_equal(scene_query(&s, id), TASK_FAILED);
    assert_string_equal(s.error, "it broke");
    scene_close(&s);
}

/* The estimate is the prediction, with what was sent since, and exactly without what ended. */
static void test_estimate_1_4(void **state)
{
    struct scene s;

    scene_open(&s, "task_instances: {refresh: 1h, heartbeat: 1h}\n");
    fake_up(&s, 0, "ocr");
    s.fakes[0].expected = 200;
    s.fakes[0].error = 30;
    scene_register(&s, 0);
    assert_int_equal(scene_submit(&s, "ocr", "{\"server_time_cost\":100}"), 0);
    assert_float_equal(scene_instance(&s, 0)->expected_ms, 300, 1e-9);
    assert_float_equal(scene_instance(&s, 0)->error_ms, sqrt(30 * 30 + 0.05 * 100), 1e-9);
    assert_int_equal(scene_submit(&s, "ocr", "{\"server_time_cost\":400}"), 0);
    assert_float_equal(scene_instance(&s, 0)->expected_ms, 700, 1e-9);
    /* it took ten times as long as said: what was added is taken off, no more */
    scene_complete(&s, "10.0.0.1", s.fakes[0].tasks[0].name, 1000, "1");
    assert_float_equal(scene_instance(&s, 0)->expected_ms, 600, 1e-9);
    assert_float_equal(scene_instance(&s, 0)->error_ms, sqrt(30 * 30 + 0.05 * 400), 1e-9);
    scene_complete(&s, "10.0.0.1", s.fakes[0].tasks[1].name, 1, "1");
    assert_float_equal(scene_instance(&s, 0)->expected_ms, 200, 1e-9);
    assert_float_equal(scene_instance(&s, 0)->error_ms, 30, 1e-9);
    scene_close(&s);
}

/* One that the instance has counted in its answer: its end takes off what it had added. */
static void test_estimate_of_what_was_there_4(void **state)
{
    struct scene s;

    scene_open(&s, "task_instances: {refresh: 10s, heartbeat: 1h}\n");
    fake_up(&s, 0, "ocr");
    scene_register(&s, 0);
    scene_submit(&s, "ocr", "{\"server_time_cost\":100}");
    run_for(&s, 11000);
    s.fakes[0].expected = 100; /* that one */
    scene_submit(&s, "ocr", "{\"server_time_cost\":400}");
    assert_float_equal(scene_instance(&s, 0)->expected_ms, 500, 1e-9);
    scene_complete(&s, "10.0.0.1", s.fakes[0].tasks[0].name, 7, "1");
    assert_float_equal(scene_instance(&s, 0)->expected_ms, 400, 1e-9);
    scene_complete(&s, "10.0.0.1", s.fakes[0].tasks[1].name, 7, "1");
    assert_float_equal(scene_instance(&s, 0)->expected_ms, 0, 1e-9);
    scene_close(&s);
}

static void test_shortest_queue(void **state)
{
    struct scene s;

    scene_open(&s, "task_instances: {refresh: 1h, heartbeat: 1h}\n");
    for (int i = 0; i < 3; i++) {
        fake_up(&s, i, "ocr");
        s.fakes[i].expected = 100 * (3 - i);
        scene_register(&s, i);
    }
    scene_submit(&s, "ocr", "{\"server_time_cost\":150}");
    assert_int_equal(fake_of(&s, s.chosen), 2); /* 100 */
    scene_submit(&s, "ocr", "{\"server_time_cost\":150}");
    assert_int_equal(fake_of(&s, s.chosen), 1); /* 200, the other has 250 now */
    scene_submit(&s, "ocr", "{\"server_time_cost\":150}");
    assert_int_equal(fake_of(&s, s.chosen), 2);
    scene_close(&s);
}

/* Registered after the strategy was set and used: it is chosen like any other. */
static void test_new_one_is_chosen_2(void **state)
{
    struct scene s;

    scene_open(&s, NULL);
    fake_up(&s, 0, "ocr");
    fake_up(&s, 1, "ocr");
    s.fakes[0].expected = 500;
    scene_register(&s, 0);
    scene_submit(&s, "ocr", NULL);
    scene_register(&s, 1);
    scene_submit(&s, "ocr", NULL);
    assert_int_equal(fake_of(&s, s.chosen), 1);
    scene_close(&s);
}

static void test_failing_predict_10(void **state)
{
    struct scene s;

    scene_open(&s, NULL);
    fake_up(&s, 0, "ocr");
    fake_up(&s, 1, "ocr");
    s.fakes[0].predict_status = 500;
    s.fakes[1].expected = 60000;
    scene_register(&s, 0);
    scene_register(&s, 1);
    scene_submit(&s, "ocr", NULL);
    assert_int_equal(fake_of(&s, s.chosen), 1);
    scene_close(&s);
}

/* One that does not answer costs the first choice its patience, and the next ones nothing. */
static void test_dead_one_slows_nobody_5_11(void **state)
{
    struct scene s;
    uint64_t began;

    scene_open(&s, "task_instances: {heartbeat: 1h}\n");
    fake_up(&s, 0, "ocr");
    fake_up(&s, 1, "ocr");
    scene_register(&s, 0);
    scene_register(&s, 1);
    s.fakes[0].mute = true;
    began = world_now_ms(s.w);
    assert_int_equal(scene_submit(&s, "ocr", NULL), 0);
    assert_int_equal(fake_of(&s, s.chosen), 1);
    assert_in_range(world_now_ms(s.w) - began, 0, 300);
    for (int i = 0; i < 5; i++) {
        run_for(&s, 900);
        began = world_now_ms(s.w);
        assert_int_equal(scene_submit(&s, "ocr", NULL), 0);
        assert_int_equal(fake_of(&s, s.chosen), 1);
        assert_in_range(world_now_ms(s.w) - began, 0, 10);
    }
    /* a completion asks nobody but the one that told */
    began = world_now_ms(s.w);
    assert_int_equal(scene_complete(&s, "10.0.0.2", s.fakes[1].tasks[0].name, 1, "1"), 0);
    assert_in_range(world_now_ms(s.w) - began, 0, 20);
    scene_close(&s);
}

static void test_refused_goes_to_the_next(void **state)
{
    struct scene s;

    scene_open(&s, NULL);
    fake_up(&s, 0, "ocr");
    fake_up(&s, 1, "ocr");
    s.fakes[1].expected = 1000;
    s.fakes[0].enqueue_status = 503;
    scene_register(&s, 0);
    scene_register(&s, 1);
    assert_int_equal(scene_submit(&s, "ocr", NULL), 0);
    assert_int_equal(fake_of(&s, s.chosen), 1);
    assert_int_equal(scene_query(&s, s.task_id), TASK_RUNNING);
    assert_int_equal(fake_of(&s, s.chosen), 1); /* that is stored, too */
    s.fakes[1].enqueue_status = 500;
    assert_true(scene_submit(&s, "ocr", NULL) < 0);
    assert_non_null(strstr(s.error, "Failed to schedule task: "));
    assert_non_null(strstr(s.error, "refused by the test"));
    assert_int_equal(scene_instance(&s, 0)->in_flight, 0);
    scene_close(&s);
}

/* It dies with its tasks: another one gets them. */
static void test_rebound(void **state)
{
    struct scene s;
    char id[UUID_SIZE];

    scene_open(&s, NULL);
    fake_up(&s, 0, "ocr");
    scene_register(&s, 0);
    scene_submit(&s, "ocr", NULL);
    snprintf(id, sizeof(id), "%s", s.task_id);
    fake_up(&s, 1, "ocr");
    scene_register(&s, 1);
    fake_down(&s, 0);
    run_for(&s, 10000);
    assert_int_equal(scene_query(&s, id), TASK_RUNNING);
    assert_int_equal(s.fakes[1].count, 0); /* it may come back */
    run_for(&s, 20000);
    assert_int_equal(s.fakes[1].count, 1);
    assert_int_equal(scene_query(&s, id), TASK_RUNNING);
    assert_int_equal(fake_of(&s, s.chosen), 1);
    assert_int_equal(scene_complete(&s, "10.0.0.2", s.fakes[1].tasks[0].name, 3, "1"), 0);
    assert_int_equal(scene_query(&s, id), TASK_COMPLETED);
    scene_close(&s);
}

static void test_removed_with_tasks_8(void **state)
{
    struct scene s;
    char id[UUID_SIZE], uuid[UUID_SIZE];

    scene_open(&s, NULL);
    fake_up(&s, 0, "ocr");
    fake_up(&s, 1, "ocr");
    scene_register(&s, 0);
    snprintf(uuid, sizeof(uuid), "%s", s.uuid);
    scene_submit(&s, "ocr", NULL);
    snprintf(id, sizeof(id), "%s", s.task_id);
    scene_register(&s, 1);
    assert_int_equal(scene_remove(&s, uuid, false), 0);
    run_for(&s, 2000);
    assert_int_equal(scene_query(&s, id), TASK_RUNNING);
    assert_int_equal(fake_of(&s, s.chosen), 1);
    assert_int_equal(s.fakes[1].count, 1);
    assert_int_equal(scene_complete(&s, "10.0.0.1", s.fakes[0].tasks[0].name, 1, "1"), -ESRCH);
    scene_close(&s);
}

static void test_drained(void **state)
{
    struct scene s;
    char id[UUID_SIZE], uuid[UUID_SIZE];

    scene_open(&s, NULL);
    fake_up(&s, 0, "ocr");
    scene_register(&s, 0);
    snprintf(uuid, sizeof(uuid), "%s", s.uuid);
    scene_submit(&s, "ocr", NULL);
    snprintf(id, sizeof(id), "%s", s.task_id);
    assert_int_equal(scene_remove(&s, uuid, true), 0);
    assert_int_equal(scene_instance(&s, 0)->state, TI_DRAINING);
    assert_int_equal(scene_submit(&s, "ocr", NULL), -ENOENT);
    assert_int_equal(scene_complete(&s, "10.0.0.1", s.fakes[0].tasks[0].name, 1, "1"), 0);
    run_for(&s, 100);
    assert_null(scene_instance(&s, 0));
    assert_int_equal(scene_query(&s, id), TASK_COMPLETED);
    scene_close(&s);
}

/* It is up again and knows nothing of what it had. */
static void test_forgotten(void **state)
{
    struct scene s;

    scene_open(&s, NULL);
    fake_up(&s, 0, "ocr");
    scene_register(&s, 0);
    scene_submit(&s, "ocr", NULL);
    s.fakes[0].forgetful = true;
    s.fakes[0].tasks[0].ended = true;
    run_for(&s, 25000);
    assert_int_equal(s.fakes[0].count, 2);
    assert_int_equal(scene_query(&s, s.task_id), TASK_RUNNING);
    scene_close(&s);
}

static void test_restart_adopts(void **state)
{
    struct scene s;
    char first[UUID_SIZE], second[UUID_SIZE];

    scene_open(&s, NULL);
    fake_up(&s, 0, "ocr");
    scene_register(&s, 0);
    scene_submit(&s, "ocr", NULL);
    snprintf(first, sizeof(first), "%s", s.task_id);
    scene_submit(&s, "ocr", NULL);
    snprintf(second, sizeof(second), "%s", s.task_id);
    s.fakes[0].queue_size = 5; /* it has others' work, too */
    scene_restart(&s);
    s.fakes[0].tasks[0].ended = true; /* told while nobody listened */
    run_for(&s, 1000);
    assert_int_equal(scene_query(&s, first), TASK_COMPLETED);
    assert_int_equal(scene_query(&s, second), TASK_RUNNING);
    assert_int_equal(s.fakes[0].count, 2); /* nothing was sent again */
    assert_int_equal(scene_instance(&s, 0)->in_flight, 1);
    assert_int_equal(scene_complete(&s, "10.0.0.1", s.fakes[0].tasks[1].name, 1, "2"), 0);
    assert_int_equal(scene_query(&s, second), TASK_COMPLETED);
    scene_close(&s);
}

static void test_taken_id(void **state)
{
    struct scene s;

    scene_open(&s, NULL);
    fake_up(&s, 0, "ocr");
    scene_register(&s, 0);
    assert_int_equal(scene_submit_as(&s, "ocr", NULL, "mine"), 0);
    assert_int_equal(scene_submit_as(&s, "ocr", NULL, "mine"), -EEXIST);
    assert_int_equal(s.fakes[0].count, 1);
    assert_int_equal(scene_instance(&s, 0)->in_flight, 1);
    scene_close(&s);
}

static void test_strategy_names(void **state)
{
    struct scene s;
    struct error e = { 0 };

    scene_open(&s, NULL);
    assert_string_equal(task_instances_strategy(s.ti), "shortest_queue");
    assert_int_equal(task_instances_set_strategy(s.ti, "weighted", &e), 0);
    assert_string_equal(task_instances_strategy(s.ti), "weighted_wait");
    assert_int_equal(task_instances_set_strategy(s.ti, "probabilistic", &e), 0);
    assert_int_equal(task_instances_set_strategy(s.ti, "best", &e), -EINVAL);
    assert_non_null(strstr(e.text, "shortest_queue"));
    assert_string_equal(task_instances_strategy(s.ti), "probabilistic");
    scene_close(&s);
}

static void test_config_file(void **state)
{
    struct scene s;
    char path[128];
    struct error e = { 0 };
    FILE *f;

    snprintf(path, sizeof(path), "/tmp/berth-ti-list-%d.yaml", (int)getpid());
    f = fopen(path, "w");
    fputs("instances:\n  - host: 10.0.0.1\n    port: 8100\n  - \"http://10.0.0.2:8100\"\n", f);
    fclose(f);
    assert_int_equal(setenv("SCHEDULER_CONFIG_PATH", path, 1), 0);
    scene_open(&s, NULL);
    for (int i = 0; i < 3; i++) {
        fake_up(&s, i, "ocr");
    }
    run_for(&s, 100);
    assert_int_equal(scene_instance(&s, 0)->state, TI_READY);
    assert_int_equal(scene_instance(&s, 1)->state, TI_READY);
    assert_int_equal(scene_register(&s, 2), 0);
    f = fopen(path, "w");
    fputs("instances:\n  - 'http://10.0.0.2:8100'\n", f);
    fclose(f);
    task_instances_reconfigure(s.ti, s.config);
    run_for(&s, 100);
    assert_null(scene_instance(&s, 0));
    assert_non_null(scene_instance(&s, 1));
    assert_non_null(scene_instance(&s, 2)); /* it registered itself */
    f = fopen(path, "w");
    fputs("instances:\n  - host: 10.0.0.2\n  - port: none\n", f);
    fclose(f);
    task_instances_reconfigure(s.ti, s.config); /* refused: all stays */
    run_for(&s, 100);
    assert_non_null(scene_instance(&s, 1));
    s.tasks = tasks_destroy(s.tasks);
    s.ti = task_instances_destroy(s.ti);
    metrics_destroy(s.metrics);
    s.metrics = metrics_create();
    s.ti = task_instances_create(s.w, s.config, s.store, s.events, s.tasks, s.metrics);
    assert_true(task_instances_start(s.ti, &e) < 0);
    assert_non_null(strstr(e.text, "yaml:3: "));
    unsetenv("SCHEDULER_CONFIG_PATH");
    unlink(path);
    scene_close(&s);
}

static void test_keeps_only_so_many(void **state)
{
    struct scene s;
    struct task_counts n;

    scene_open(&s, "task_instances: {heartbeat: 1h, refresh: 1h}\n");
    fake_up(&s, 0, "ocr");
    scene_register(&s, 0);
    for (int i = 0; i < TASK_INSTANCE_RESULTS; i += 500) {
        s.fakes[0].count = 0;
        scene_many(&s, "ocr", "10.0.0.1", i, 500);
    }
    n = tasks_counts(
        s.tasks,
        &(struct task_filter){ .kind = TASK_OF_INSTANCE, .state = -1, .priority = -1, .dead = -1 });
    assert_int_equal(n.by_state[TASK_COMPLETED], TASK_INSTANCE_RESULTS);
    s.fakes[0].count = 0;
    assert_int_equal(scene_submit(&s, "ocr", NULL), 0);
    assert_int_equal(scene_complete(&s, "10.0.0.1", s.task_id, 1, "1"), 0);
    run_for(&s, 1000);
    n = tasks_counts(
        s.tasks,
        &(struct task_filter){ .kind = TASK_OF_INSTANCE, .state = -1, .priority = -1, .dead = -1 });
    assert_int_equal(n.by_state[TASK_COMPLETED], TASK_INSTANCE_RESULTS * 9 / 10);
    assert_int_equal(scene_query(&s, s.task_id), TASK_COMPLETED); /* the newest stands */
    assert_int_equal(scene_query(&s, "many-0"), -1);
    scene_close(&s);
}

/* A surer one goes before one that is expected to be through sooner. */
static void test_weighted_counts_the_error(void **state)
{
    struct scene s;
    struct error e = { 0 };

    scene_open(&s, "task_instances: {refresh: 1h, heartbeat: 1h}\n");
    for (int i = 0; i < 2; i++) {
        fake_up(&s, i, "ocr");
        s.fakes[i].expected = i == 0 ? 100 : 150;
        s.fakes[i].error = i == 0 ? 200 : 10;
        scene_register(&s, i);
    }
    assert_int_equal(task_instances_set_strategy(s.ti, "weighted", &e), 0);
    scene_submit(&s, "ocr", "{\"server_time_cost\":1}");
    assert_int_equal(fake_of(&s, s.chosen), 1);
    scene_close(&s);
}

/* Whoever tells a time may tell anything: what is reckoned stays a number. */
static void test_absurd_times(void **state)
{
    struct scene s;
    struct task_timing timing;

    scene_open(&s, "task_instances: {refresh: 1h, heartbeat: 1h}\n");
    fake_up(&s, 0, "ocr");
    scene_register(&s, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(scene_submit(&s, "ocr", "{\"server_time_cost\":1.5e308}"), 0);
    }
    assert_true(isfinite(scene_instance(&s, 0)->expected_ms));
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(scene_complete(&s, "10.0.0.1", s.fakes[0].tasks[i].name, 1.5e308, "1"), 0);
    }
    timing = task_instances_timing(s.ti, NULL);
    assert_true(isfinite(timing.execution_ms));
    assert_int_equal(scene_submit(&s, "ocr", NULL), 0);
    assert_true(isfinite(scene_instance(&s, 0)->expected_ms));
    assert_true(isfinite(scene_instance(&s, 0)->error_ms));
    scene_close(&s);
}

/* It is up again soon, knows nothing of what it had, and works on what it got since: it is never
 * idle, but it has fewer than it was given. */
static void test_forgotten_under_load(void **state)
{
    struct scene s;
    char first[UUID_SIZE] = "";

    scene_open(&s, NULL);
    fake_up(&s, 0, "ocr");
    scene_register(&s, 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(scene_submit(&s, "ocr", NULL), 0);
        if (i == 0) {
            snprintf(first, sizeof(first), "%s", s.task_id);
        }
    }
    s.fakes[0].forgetful = true;
    s.fakes[0].tasks[0].ended = s.fakes[0].tasks[1].ended = true;
    run_for(&s, 20000);
    assert_int_equal(s.fakes[0].count, 5); /* it may only be late to tell */
    run_for(&s, 40000);
    assert_int_equal(s.fakes[0].count, 6);
    assert_int_equal(scene_query(&s, first), TASK_RUNNING);
    assert_int_equal(scene_complete(&s, "10.0.0.1", s.fakes[0].tasks[5].name, 1, "1"), 0);
    assert_int_equal(scene_query(&s, first), TASK_COMPLETED);
    scene_close(&s);
}

/* Many that it has ended and nobody told of: all are found at its next probe. */
static void test_many_are_found(void **state)
{
    struct scene s;

    scene_open(&s, NULL);
    fake_up(&s, 0, "ocr");
    scene_register(&s, 0);
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(scene_submit(&s, "ocr", NULL), 0);
    }
    for (unsigned i = 0; i < 40; i++) {
        s.fakes[0].tasks[i].ended = true;
    }
    run_for(&s, 5500);
    assert_int_equal(scene_instance(&s, 0)->in_flight, 0);
    assert_int_equal(scene_instance(&s, 0)->completed, 40);
    scene_close(&s);
}

static void test_too_long_a_result(void **state)
{
    struct scene s;

    scene_open(&s, NULL);
    fake_up(&s, 0, "ocr");
    scene_register(&s, 0);
    scene_submit(&s, "ocr", NULL);
    s.fakes[0].tasks[0].ended = true;
    s.fakes[0].result_bytes = 6 << 20;
    run_for(&s, 6000);
    assert_int_equal(scene_query(&s, s.task_id), TASK_FAILED);
    assert_string_equal(s.error, "the task's result is too long to keep");
    scene_close(&s);
}

static void ignore_instance(void *arg, int result, const struct task_instance *instance,
                            const struct error *e)
{
}

/* Removed and registered again before the removal was committed: it stays, also in the store. */
static void test_registers_while_it_is_removed(void **state)
{
    struct scene s;
    char uuid[UUID_SIZE];

    for (int drain = 0; drain < 2; drain++) {
        scene_open(&s, NULL);
        fake_up(&s, 0, "ocr");
        scene_register(&s, 0);
        snprintf(uuid, sizeof(uuid), "%s", s.uuid);
        if (drain) {
            scene_submit(&s, "ocr", NULL);
            task_instances_remove(s.ti, uuid, true, ignore_instance, NULL);
            task_instances_complete(s.ti,
                                    &(struct task_completion){ .task_id = s.task_id,
                                                               .instance_id = uuid,
                                                               .execution_ms = 1,
                                                               .result = SPAN("1") },
                                    NULL, NULL); /* its last one: it goes */
        } else {
            task_instances_remove(s.ti, uuid, false, ignore_instance, NULL);
        }
        assert_int_equal(scene_register(&s, 0), 2);
        assert_string_equal(s.uuid, uuid);
        run_for(&s, 100);
        assert_non_null(scene_instance(&s, 0));
        assert_int_equal(scene_submit(&s, "ocr", NULL), 0);
        scene_complete(&s, "10.0.0.1", s.task_id, 1, "1");
        scene_restart(&s);
        assert_non_null(scene_instance(&s, 0));
        scene_close(&s);
    }
}

/* Its queue may be long: what bounds a request to an engine does not bound it. */
static void test_its_own_time_limit(void **state)
{
    struct scene s;
    char id[UUID_SIZE];

    scene_open(&s, "queue: {task_timeout: 2s}\ntask_instances: {task_timeout: 60s}\n");
    fake_up(&s, 0, "ocr");
    scene_register(&s, 0);
    scene_submit(&s, "ocr", NULL);
    snprintf(id, sizeof(id), "%s", s.task_id);
    run_for(&s, 50000);
    assert_int_equal(scene_query(&s, id), TASK_RUNNING);
    assert_int_equal(scene_instance(&s, 0)->in_flight, 1);
    run_for(&s, 15000);
    assert_int_equal(scene_query(&s, id), TASK_PENDING); /* to be tried again */
    assert_non_null(strstr(s.error, "longer than 60 s"));
    assert_int_equal(scene_instance(&s, 0)->in_flight, 0);
    scene_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registers),
        cmocka_unit_test(test_later_generation),
        cmocka_unit_test(test_unreachable_8),
        cmocka_unit_test(test_nothing_stored),
        cmocka_unit_test(test_completes_6_7),
        cmocka_unit_test(test_completion_comes_first),
        cmocka_unit_test(test_failed_9),
        cmocka_unit_test(test_estimate_1_4),
        cmocka_unit_test(test_estimate_of_what_was_there_4),
        cmocka_unit_test(test_shortest_queue),
        cmocka_unit_test(test_new_one_is_chosen_2),
        cmocka_unit_test(test_failing_predict_10),
        cmocka_unit_test(test_dead_one_slows_nobody_5_11),
        cmocka_unit_test(test_refused_goes_to_the_next),
        cmocka_unit_test(test_rebound),
        cmocka_unit_test(test_removed_with_tasks_8),
        cmocka_unit_test(test_drained),
        cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_restart_adopts),
        cmocka_unit_test(test_taken_id),
        cmocka_unit_test(test_strategy_names),
        cmocka_unit_test(test_config_file),
        cmocka_unit_test(test_keeps_only_so_many),
        cmocka_unit_test(test_weighted_counts_the_error),
        cmocka_unit_test(test_absurd_times),
        cmocka_unit_test(test_its_own_time_limit),
        cmocka_unit_test(test_forgotten_under_load),
        cmocka_unit_test(test_many_are_found),
        cmocka_unit_test(test_too_long_a_result),
        cmocka_unit_test(test_registers_while_it_is_removed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
