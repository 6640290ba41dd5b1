// SPDX-License-Identifier: Apache-2.0
/* One instance's life in the simulated world: every way through the states. */
#include "rig.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define QUICK_RETRY  "\"retry_policy\":{\"initial_delay\":1,\"max_delay\":60,\"max_attempts\":3}"
#define QUICK_HEALTH "\"health_check\":{\"interval\":2,\"timeout\":1,\"max_failures\":3}"

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

static uint64_t now(void)
{
    return world_now_ms(rig->world);
}

static bool has_route(const char *uuid)
{
    struct engine_route route;

    return engines_route(rig->engines, uuid, &route) && route.upstream;
}

static void test_becomes_ready(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);
    const struct instance *pub = rig_await(rig, id, INSTANCE_READY, 1000);
    struct sim_engine *engine = rig_engine(rig, "m");
    char *metrics;

    assert_string_equal(rig->trail, "waiting starting ready");
    assert_int_equal(pub->process.pid, engine->process->id.pid);
    assert_int_equal(pub->slots, 4);
    assert_true(pub->ready_in_ms >= 70 && pub->ready_in_ms < 400);
    assert_false(pub->adopted);
    assert_true(pub->address.is_unix);
    assert_true(has_route(pub->uuid));
    assert_int_equal(rig_count_rows(rig), 1);
    metrics = rig_metrics(rig);
    assert_contains(metrics, "berth_instances{state=\"ready\"} 1");
    assert_contains(metrics, "berth_instance_starts_total{model=\"m\"} 1");
    assert_contains(metrics, "berth_instance_load_seconds_count{model=\"m\"} 1");
    free(metrics);
}

static void test_secrets_stay_here(void **state)
{
    /* The rig's engine looks at its environment. */
    setenv("BERTH_ACCESS_ADMIN_KEY", "sk-secret", 1);
    setenv("DB_PASSWORD", "secret", 1);
    rig_await(rig, rig_add_model(rig, "m", "\"parameters\":{\"env\":{\"BERTH_INSTANCE\":\"x\"}}"),
              INSTANCE_READY, 1000);
    unsetenv("BERTH_ACCESS_ADMIN_KEY");
    unsetenv("DB_PASSWORD");
}

static void test_unwanted_is_not_started(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    rig_await(rig, id, INSTANCE_READY, 1000);
    rig_want(rig, id, false);
    rig_await_gone(rig, id, 1000);
    assert_string_equal(rig->trail, "waiting starting ready draining stopping gone");
    sim_run_for(rig->world, 600 * 1000);
    assert_int_equal(rig->starts, 1);
    assert_int_equal(rig_count_alive(rig, NULL), 0);
    assert_int_equal(rig_count_rows(rig), 0);
}

static void test_draining_waits_for_what_runs(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);
    char uuid[UUID_SIZE];

    strcpy(uuid, rig_await(rig, id, INSTANCE_READY, 1000)->uuid);
    rig->drains = false;
    rig_want(rig, id, false);
    sim_run_for(rig->world, 29 * 1000);
    assert_string_equal(rig->trail, "waiting starting ready draining");
    assert_int_equal(rig_count_alive(rig, "m"), 1);
    assert_true(has_route(uuid));
    engines_drained(rig->engines, uuid);
    rig_await_gone(rig, id, 100);
    assert_int_equal(rig_count_alive(rig, "m"), 0);
}

static void test_draining_has_an_end(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    rig_await(rig, id, INSTANCE_READY, 1000);
    rig->drains = false;
    rig_want(rig, id, false);
    rig_await_gone(rig, id, 31 * 1000);
}

static void test_engine_that_ignores_term_is_killed(void **state)
{
    int64_t id;

    rig->behaviour.ignores_term = true;
    id = rig_add_model(rig, "m", NULL);
    rig_await(rig, id, INSTANCE_READY, 1000);
    rig_want(rig, id, false);
    sim_run_for(rig->world, 9000);
    assert_int_equal(rig_count_alive(rig, "m"), 1);
    rig_await_gone(rig, id, 2000);
    assert_int_equal(rig_count_alive(rig, "m"), 0);
}

static void test_wanted_again_while_draining_stays(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    rig_await(rig, id, INSTANCE_READY, 1000);
    rig->drains = false;
    rig_want(rig, id, false);
    rig_await(rig, id, INSTANCE_DRAINING, 100);
    rig_want(rig, id, true);
    rig_await(rig, id, INSTANCE_READY, 100);
    sim_run_for(rig->world, 120 * 1000);
    assert_string_equal(rig->trail, "waiting starting ready draining ready");
    assert_int_equal(rig->starts, 1);
}

static void test_stopped_before_it_was_ready(void **state)
{
    int64_t id;

    rig->behaviour.load_ms = 60 * 1000;
    id = rig_add_model(rig, "m", NULL);
    sim_run_for(rig->world, 1000);
    rig_want(rig, id, false);
    rig_await_gone(rig, id, 1000);
    assert_string_equal(rig->trail, "waiting starting stopping gone");
    assert_int_equal(rig_count_alive(rig, "m"), 0);
}

static void test_stopped_before_its_row_was_committed(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    /* Wanted and unwanted in one go: the instance may not outlive it, whatever was under way. */
    rig_want(rig, id, false);
    rig_await_gone(rig, id, 20 * 1000);
    sim_run_for(rig->world, 1000);
    assert_int_equal(rig_count_alive(rig, "m"), 0);
    assert_int_equal(rig_count_rows(rig), 0);
}

static void test_crash_loop_ends_in_failed_with_the_last_words(void **state)
{
    const struct instance *pub;
    uint64_t began;
    int64_t id;
    char *metrics;

    rig->behaviour = (struct behaviour){
        .load_ms = 1000,
        .end_after_ms = 30,
        .end_code = 1,
        .last_words = "0.00.010.100 I srv    load_model: loading model 'model.gguf'\n"
                      "0.00.011.200 E gguf_init_from_file: invalid magic characters\n"
                      "0.00.011.300 E srv  llama_server: exiting due to model loading error\n",
    };
    began = now();
    id = rig_add_model(rig, "m", QUICK_RETRY);
    pub = rig_await(rig, id, INSTANCE_FAILED, 60 * 1000);
    assert_string_equal(
        rig->trail, "waiting starting backoff waiting starting backoff waiting starting failed");
    assert_int_equal(rig->starts, 3);
    assert_true(now() - began >= 1000 + 2000); /* 1 s, then 2 s */
    assert_contains(pub->last_error, "exited with code 1 while loading: ");
    assert_contains(pub->last_error, "invalid magic characters");
    assert_null(strstr(pub->last_error, "loading model 'model.gguf'"));
    assert_int_equal(pub->process.pid, 0);
    sim_run_for(rig->world, 3600 * 1000);
    assert_int_equal(rig->starts, 3);
    metrics = rig_metrics(rig);
    assert_contains(metrics, "berth_instance_failures_total{model=\"m\",reason=\"exit\"} 3");
    free(metrics);
}

static void test_last_words_are_those_of_the_last_run(void **state)
{
    const struct instance *pub;
    int64_t id;

    rig->behaviour = (struct behaviour){
        .load_ms = 1000, .end_after_ms = 30, .end_code = 1, .last_words = "error: the first time\n"
    };
    id = rig_add_model(rig, "m", QUICK_RETRY);
    rig_await(rig, id, INSTANCE_BACKOFF, 1000);
    rig->behaviour.last_words = "error: the second time\n";
    rig_await(rig, id, INSTANCE_STARTING, 5000);
    pub = rig_await(rig, id, INSTANCE_BACKOFF, 5000);
    assert_contains(pub->last_error, "the second time");
    assert_null(strstr(pub->last_error, "the first time"));
}

static void test_failed_starts_when_asked(void **state)
{
    int64_t id;

    rig->behaviour = (struct behaviour){ .load_ms = 1000, .end_after_ms = 30, .end_code = 1 };
    id = rig_add_model(rig, "m", QUICK_RETRY);
    rig_await(rig, id, INSTANCE_FAILED, 60 * 1000);
    rig->behaviour = (struct behaviour){ .load_ms = 70 };
    engines_retry(rig->engines, id);
    assert_int_equal(rig_await(rig, id, INSTANCE_READY, 1000)->restarts, 0);
}

static void test_crash_of_a_ready_one_is_answered_at_once(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);
    const struct instance *pub;
    char uuid[UUID_SIZE];

    strcpy(uuid, rig_await(rig, id, INSTANCE_READY, 1000)->uuid);
    sim_process_exit(rig_engine(rig, "m")->process, 0, 9);
    rig_await(rig, id, INSTANCE_STARTING, 100);
    pub = rig_await(rig, id, INSTANCE_READY, 400);
    assert_string_equal(rig->trail, "waiting starting ready backoff waiting starting ready");
    assert_string_equal(pub->uuid, uuid);
    assert_int_equal(pub->restarts, 1);
    assert_contains(pub->last_error, "was killed by signal 9");
}

static void test_crashes_far_apart_never_add_up(void **state)
{
    int64_t id = rig_add_model(rig, "m", "\"retry_policy\":{\"max_attempts\":1}");

    for (int i = 0; i < 10; i++) {
        rig_await(rig, id, INSTANCE_READY, 1000);
        sim_run_for(rig->world, 61 * 1000);
        sim_process_exit(rig_engine(rig, "m")->process, 1, 0);
        rig_await(rig, id, INSTANCE_STARTING, 100);
    }
    rig_await(rig, id, INSTANCE_READY, 1000);
    sim_process_exit(rig_engine(rig, "m")->process, 1, 0);
    rig_await(rig, id, INSTANCE_FAILED, 1000);
}

static void test_without_retry_the_first_crash_is_the_last(void **state)
{
    int64_t id = rig_add_model(rig, "m", "\"retry_policy\":{\"enabled\":false}");

    rig_await(rig, id, INSTANCE_READY, 1000);
    sim_process_exit(rig_engine(rig, "m")->process, 3, 0);
    rig_await(rig, id, INSTANCE_FAILED, 100);
    assert_string_equal(rig->trail, "waiting starting ready failed");
}

static void test_delays_grow_and_have_a_limit(void **state)
{
    static const uint64_t delays_s[] = { 2, 6, 10, 10 };
    int64_t id;

    rig->behaviour = (struct behaviour){ .load_ms = 1000, .end_after_ms = 10, .end_code = 1 };
    id = rig_add_model(rig, "m",
                       "\"retry_policy\":{\"initial_delay\":2,\"max_delay\":10,"
                       "\"backoff_factor\":3.0,\"max_attempts\":9}");
    for (size_t i = 0; i < ARRAY_SIZE(delays_s); i++) {
        const struct instance *pub = rig_await(rig, id, INSTANCE_BACKOFF, 1000);

        assert_int_equal(pub->retry_at_ms - now(), delays_s[i] * 1000);
        rig_await(rig, id, INSTANCE_STARTING, delays_s[i] * 1000 + 10);
    }
}

static void test_never_ready_is_killed_in_the_end(void **state)
{
    const struct instance *pub;
    int64_t id;

    rig->behaviour.never_ready = true;
    id = rig_add_model(rig, "m", "\"retry_policy\":{\"max_attempts\":1}");
    sim_run_for(rig->world, 299 * 1000);
    assert_int_equal(rig_count_alive(rig, "m"), 1);
    pub = rig_await(rig, id, INSTANCE_FAILED, 5000);
    assert_contains(pub->last_error, "not ready after 300 s");
    assert_string_equal(rig->trail, "waiting starting stopping failed");
    assert_int_equal(rig_count_alive(rig, "m"), 0);
}

static void test_hung_engine_is_replaced(void **state)
{
    int64_t id = rig_add_model(rig, "m", QUICK_HEALTH);
    const struct instance *pub = rig_await(rig, id, INSTANCE_READY, 1000);

    assert_true(pub->last_probe_wall_ms > 0);
    sim_run_for(rig->world, 60 * 1000);
    rig_engine(rig, "m")->hung = true;
    rig_await(rig, id, INSTANCE_STOPPING, 10 * 1000);
    pub = rig_await(rig, id, INSTANCE_READY, 1000);
    assert_contains(pub->last_error, "hung: 3 health probes in a row failed");
    assert_string_equal(rig->trail,
                        "waiting starting ready stopping backoff waiting starting ready");
}

static void test_one_that_works_is_not_hung(void **state)
{
    int64_t id = rig_add_model(rig, "m", QUICK_HEALTH);
    char uuid[UUID_SIZE];

    strcpy(uuid, rig_await(rig, id, INSTANCE_READY, 1000)->uuid);
    rig_engine(rig, "m")->hung = true;
    for (int i = 0; i < 120; i++) {
        engines_note_progress(rig->engines, uuid);
        sim_run_for(rig->world, 1000);
    }
    assert_string_equal(rig->trail, "waiting starting ready");
    rig_await(rig, id, INSTANCE_STOPPING, 20 * 1000);
}

static void test_worker_that_outlives_its_leader_goes_first(void **state)
{
    int64_t id;

    rig->behaviour.has_worker = true;
    id = rig_add_model(rig, "m", NULL);
    rig_await(rig, id, INSTANCE_READY, 1000);
    assert_int_equal(rig_count_alive(rig, "m"), 2);
    sim_process_exit(rig_engine(rig, "m")->process, 0, 11);
    rig_await(rig, id, INSTANCE_STOPPING, 100);
    rig_await(rig, id, INSTANCE_READY, 1000); /* the engine itself checks that it is alone */
    assert_int_equal(rig->starts, 2);
    rig_want(rig, id, false);
    rig_await_gone(rig, id, 1000);
    assert_int_equal(rig_count_alive(rig, NULL), 0);
}

/* Seed 003, bug 2: to update or delete a running model locked it twice, for ever. */
static void test_update_restarts_it_drained(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);
    const struct instance *pub = rig_await(rig, id, INSTANCE_READY, 1000);
    int64_t epoch = pub->model_epoch;
    char uuid[UUID_SIZE];

    strcpy(uuid, pub->uuid);
    rig_update_model(rig, id, "m", "\"parameters\":{\"ctx_size\":4096}");
    rig_await(rig, id, INSTANCE_STARTING, 1000);
    pub = rig_await(rig, id, INSTANCE_READY, 1000);
    assert_string_equal(rig->trail,
                        "waiting starting ready draining stopping gone waiting starting ready");
    assert_true(pub->model_epoch > epoch);
    assert_string_not_equal(pub->uuid, uuid);
    assert_int_equal(rig_count_rows(rig), 1);
}

static void test_restart_is_drained_too(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    rig_await(rig, id, INSTANCE_READY, 1000);
    engines_restart(rig->engines, id);
    rig_await(rig, id, INSTANCE_STARTING, 1000);
    rig_await(rig, id, INSTANCE_READY, 1000);
    assert_string_equal(rig->trail,
                        "waiting starting ready draining stopping gone waiting starting ready");
}

/* Seed 003, bug 2 */
static void test_removed_model_takes_its_engine_along(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    rig_await(rig, id, INSTANCE_READY, 1000);
    rig_remove_model(rig, id);
    rig_await_gone(rig, id, 1000);
    sim_run_for(rig->world, 10);
    assert_int_equal(rig_count_alive(rig, NULL), 0);
    assert_int_equal(rig_count_rows(rig), 0);
}

/* Seed 003, bug 3: it was back after a restart. */
static void test_removed_model_stays_away_after_a_restart(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);
    struct error err;

    rig_await(rig, id, INSTANCE_READY, 1000);
    rig_remove_model(rig, id);
    rig_lose_engines(rig); /* before its engine has gone */
    rig->models = models_destroy(rig->models);
    rig->models = models_create(rig->world, rig->store, rig->events);
    assert_int_equal(models_load(rig->models, &err), 0);
    rig_crash(rig);
    rig_recover(rig);
    assert_int_equal(models_count(rig->models), 0);
    sim_run_for(rig->world, 60 * 1000);
    assert_null(engines_of_model(rig->engines, id));
    assert_int_equal(rig_count_alive(rig, NULL), 0);
    assert_int_equal(rig_count_rows(rig), 0);
    assert_int_equal(rig->starts, 1);
}

/* Seed 003, bug 11: two health systems restarted the same model at once. Here it crashes, is
 * judged by its probe, asked for and changed all at once; the rig's engine fails the test when a
 * second one starts. */
static void test_nobody_restarts_a_model_twice(void **state)
{
    int64_t id = rig_add_model(rig, "m", QUICK_HEALTH);
    unsigned starts;

    for (int i = 0; i < 10; i++) {
        rig_await(rig, id, INSTANCE_READY, 5000);
        rig_engine(rig, "m")->hung = true;
        sim_run_for(rig->world, 5900 + (uint64_t)i * 30);
        if (rig_engine(rig, "m")) {
            sim_process_exit(rig_engine(rig, "m")->process, 0, 9);
        }
        engines_retry(rig->engines, id);
        engines_restart(rig->engines, id);
        rig_want(rig, id, true);
        engines_retry(rig->engines, id);
    }
    rig_await(rig, id, INSTANCE_READY, 5000);
    starts = rig->starts;
    sim_run_for(rig->world, 600 * 1000);
    assert_int_equal(rig->starts, starts);
    assert_int_equal(rig_count_alive(rig, "m"), 1);
    assert_int_equal(rig_count_rows(rig), 1);
}

static void test_two_loads_at_once_start_one(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    for (int i = 0; i < 20; i++) {
        rig_want(rig, id, true);
        engines_retry(rig->engines, id);
        sim_run_for(rig->world, 10);
    }
    rig_await(rig, id, INSTANCE_READY, 1000);
    assert_int_equal(rig->starts, 1);
}

static void test_deleted_while_it_starts(void **state)
{
    int64_t id;

    rig->behaviour.load_ms = 60 * 1000;
    id = rig_add_model(rig, "m", NULL);
    rig_await(rig, id, INSTANCE_STARTING, 1000);
    sim_run_for(rig->world, 500);
    rig_remove_model(rig, id);
    rig_await_gone(rig, id, 1000);
    sim_run_for(rig->world, 60 * 1000);
    assert_string_equal(rig->trail, "waiting starting stopping gone");
    assert_int_equal(rig_count_alive(rig, NULL), 0);
    assert_int_equal(rig_count_rows(rig), 0);
}

static void test_crash_while_it_drains(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    rig_await(rig, id, INSTANCE_READY, 1000);
    rig->drains = false;
    rig_want(rig, id, false);
    rig_await(rig, id, INSTANCE_DRAINING, 100);
    sim_process_exit(rig_engine(rig, "m")->process, 0, 11);
    rig_await_gone(rig, id, 100); /* there is nothing to wait for any more */
    sim_run_for(rig->world, 60 * 1000);
    assert_int_equal(rig->starts, 1);
}

/* ---- why it cannot start */

static void test_missing_binary_is_named(void **state)
{
    int64_t id = rig_add_model(rig, "m", "\"parameters\":{\"binary\":\"/nowhere/llama-server\"}");
    const struct instance *pub = rig_await(rig, id, INSTANCE_FAILED, 100);

    assert_contains(pub->last_error, "/nowhere/llama-server");
    sim_run_for(rig->world, 3600 * 1000);
    assert_string_equal(rig->trail, "waiting failed");
}

static void test_binary_that_is_no_program_is_named(void **state)
{
    int64_t id = rig_add_model(rig, "m", "\"parameters\":{\"binary\":\"./model.gguf\"}");
    const struct instance *pub = rig_await(rig, id, INSTANCE_FAILED, 100);

    assert_contains(pub->last_error, "model.gguf is not an executable file");
}

static void test_signal_is_named(void **state)
{
    const struct instance *pub;
    int64_t id;

    rig->behaviour = (struct behaviour){ .load_ms = 1000, .end_after_ms = 30, .end_signal = 11 };
    id = rig_add_model(rig, "m", QUICK_RETRY);
    pub = rig_await(rig, id, INSTANCE_BACKOFF, 1000);
    assert_string_equal(pub->last_error,
                        "the engine was killed by signal 11 (SIGSEGV) while loading");
}

static void test_kill_may_have_been_the_kernels(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    rig_await(rig, id, INSTANCE_READY, 1000);
    sim_process_exit(rig_engine(rig, "m")->process, 0, 9);
    assert_string_equal(
        rig_await(rig, id, INSTANCE_BACKOFF, 100)->last_error,
        "the engine was killed by signal 9 (SIGKILL, perhaps by the kernel's OOM killer)");
}

static void test_refused_flag_is_told_in_its_words(void **state)
{
    const struct instance *pub;
    int64_t id;

    rig->behaviour = (struct behaviour){
        .load_ms = 1000,
        .end_after_ms = 30,
        .end_code = 1,
        .last_words = "error: invalid argument: --no-such-flag\n",
    };
    id = rig_add_model(rig, "m", "\"additional_parameters\":\"--no-such-flag\"," QUICK_RETRY);
    pub = rig_await(rig, id, INSTANCE_BACKOFF, 1000);
    assert_contains(pub->last_error, "exited with code 1 while loading: ");
    assert_contains(pub->last_error, "invalid argument: --no-such-flag");
}

static void write_file(const char *path, const char *text, size_t times);

static void test_time_is_over_with_its_last_line(void **state)
{
    int64_t id;

    rig->behaviour.never_ready = true;
    id = rig_add_model(rig, "m", "\"retry_policy\":{\"enabled\":false}");
    sim_run_for(rig->world, 100);
    write_file(rig_await(rig, id, INSTANCE_STARTING, 100)->log_path,
               "reading the first half\n  reading\tthe second \x01 half \n\n", 1);
    assert_string_equal(rig_await(rig, id, INSTANCE_FAILED, 310 * 1000)->last_error,
                        "not ready after 300 s; it last wrote: reading?the second ? half");
}

static void test_missing_file_fails_at_once(void **state)
{
    int64_t id = rig_add_model(rig, "m", "\"model_path\":\"nowhere.gguf\"");
    const struct instance *pub = rig_await(rig, id, INSTANCE_FAILED, 100);

    assert_string_equal(pub->last_error,
                        "cannot read the model file nowhere.gguf: No such file or directory");
    assert_int_equal(rig->starts, 0);
    sim_run_for(rig->world, 3600 * 1000);
    assert_string_equal(rig->trail, "waiting failed");
}

static void test_program_that_cannot_run_fails_at_once(void **state)
{
    const struct instance *pub;
    int64_t id;

    rig->behaviour = (struct behaviour){
        .load_ms = 1000,
        .end_after_ms = 1,
        .end_code = 127,
        .last_words = "berth: cannot run /bin/true: No such file or directory\n",
    };
    id = rig_add_model(rig, "m", NULL);
    pub = rig_await(rig, id, INSTANCE_FAILED, 100);
    assert_contains(pub->last_error, "cannot run /bin/true: No such file or directory");
    assert_int_equal(rig->starts, 1);
}

static void test_failed_one_follows_a_new_definition(void **state)
{
    int64_t id = rig_add_model(rig, "m", "\"model_path\":\"nowhere.gguf\"");

    rig_await(rig, id, INSTANCE_FAILED, 100);
    rig_update_model(rig, id, "m", NULL);
    rig_await(rig, id, INSTANCE_READY, 1000);
}

static void refuse(void *owner, struct stream *s)
{
    stream_close(s);
}

static void test_named_port_is_used_and_checked(void **state)
{
    struct stream_listener *other;
    struct address where;
    struct error err;
    const struct instance *pub;
    int64_t id;

    assert_int_equal(address_parse("127.0.0.1:9001", &where, &err), 0);
    assert_int_equal(stream_listen(rig->world, &where, refuse, NULL, &other, NULL, &err), 0);
    id = rig_add_model(rig, "m", "\"parameters\":{\"port\":9001}," QUICK_RETRY);
    pub = rig_await(rig, id, INSTANCE_BACKOFF, 100);
    assert_contains(pub->last_error, "9001");
    assert_int_equal(rig->starts, 0);
    stream_listener_close(other);
    pub = rig_await(rig, id, INSTANCE_READY, 5000);
    assert_false(pub->address.is_unix);
    assert_int_equal(pub->address.port, 9001);
}

static void on_stopped(void *arg)
{
    *(bool *)arg = true;
}

static bool is_true(void *arg)
{
    return *(bool *)arg;
}

static void test_stop_all_ends_when_nothing_is_left(void **state)
{
    int64_t a = rig_add_model(rig, "a", NULL);
    bool stopped = false;

    rig->behaviour.ignores_term = true;
    rig->behaviour.has_worker = true;
    rig_await(rig, a, INSTANCE_READY, 1000);
    rig_await(rig, rig_add_model(rig, "b", NULL), INSTANCE_READY, 1000);
    rig->behaviour.load_ms = 100 * 1000;
    rig_add_model(rig, "c", NULL);
    rig_add_model(rig, "d", "\"model_path\":\"nowhere.gguf\"");
    sim_run_for(rig->world, 100);
    engines_stop_all(rig->engines, on_stopped, &stopped);
    assert_true(sim_run_until(rig->world, is_true, &stopped, 60 * 1000));
    assert_int_equal(rig_count_alive(rig, NULL), 0);
    sim_run_for(rig->world, 60 * 1000);
    assert_int_equal(rig_count_alive(rig, NULL), 0);
    assert_int_equal(rig_count_rows(rig), 0);
}

static void test_stop_all_of_nothing(void **state)
{
    bool stopped = false;

    engines_stop_all(rig->engines, on_stopped, &stopped);
    assert_false(stopped); /* never from within the call */
    assert_true(sim_run_until(rig->world, is_true, &stopped, 10));
}

/* ---- logs */

static void write_file(const char *path, const char *text, size_t times)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);

    assert_true(fd >= 0);
    for (size_t i = 0; i < times; i++) {
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    }
    close(fd);
}

static int64_t file_size(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? st.st_size : -1;
}

static void test_log_tail_starts_at_a_line(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);
    const struct instance *pub = rig_await(rig, id, INSTANCE_READY, 1000);
    char *tail;

    assert_null(engines_log_tail(rig->engines, pub->uuid, 100));
    write_file(pub->log_path, "one\ntwo\nthree\n", 1);
    tail = engines_log_tail(rig->engines, pub->uuid, 100);
    assert_string_equal(tail, "one\ntwo\nthree\n");
    free(tail);
    tail = engines_log_tail(rig->engines, pub->uuid, 9);
    assert_string_equal(tail, "three\n");
    free(tail);
    assert_null(engines_log_tail(rig->engines, "nobody", 100));
}

static void test_large_log_is_put_aside(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);
    char path[96], old[100];

    strcpy(path, rig_await(rig, id, INSTANCE_READY, 1000)->log_path);
    snprintf(old, sizeof(old), "%s.1", path);
    write_file(path, "0123456789abcde\n", 4 * 65536);
    sim_run_for(rig->world, 20 * 1000);
    assert_int_equal(file_size(path), 4 * 1024 * 1024); /* not yet: the limit is 50 MiB */
    assert_int_equal(truncate(path, 51 << 20), 0);
    sim_run_for(rig->world, 20 * 1000);
    assert_int_equal(file_size(path), 0);
    assert_int_equal(file_size(old), 51 << 20);
    rig_want(rig, id, false);
    rig_await_gone(rig, id, 1000);
    assert_int_equal(file_size(old), -1);
}

/* ---- after kill -9 of berth (seed 003, bug 13: there was no adoption) */

static void test_adopted_after_a_crash(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);
    const struct instance *pub = rig_await(rig, id, INSTANCE_READY, 1000);
    struct process_id before = pub->process;

    sim_run_for(rig->world, 1000);
    rig_crash(rig);
    rig->trail[0] = '\0';
    rig_recover(rig);
    pub = rig_await(rig, id, INSTANCE_READY, 1000);
    assert_string_equal(rig->trail, "starting ready");
    assert_true(pub->adopted);
    assert_int_equal(pub->process.pid, before.pid);
    assert_int_equal(pub->process.start_time, before.start_time);
    assert_int_equal(rig->starts, 1);
    assert_int_equal(pub->slots, 4);

    sim_process_exit(rig_engine(rig, "m")->process, 0, 9);
    pub = rig_await(rig, id, INSTANCE_STARTING, 100);
    assert_contains(pub->last_error, "an earlier berth started it");
    assert_false(rig_await(rig, id, INSTANCE_READY, 1000)->adopted);
}

static void test_adopted_while_loading(void **state)
{
    int64_t id;

    rig->behaviour.load_ms = 30 * 1000;
    id = rig_add_model(rig, "m", NULL);
    sim_run_for(rig->world, 10 * 1000);
    rig_crash(rig);
    rig_recover(rig);
    sim_run_for(rig->world, 10 * 1000);
    assert_int_equal(engines_of_model(rig->engines, id)->state, INSTANCE_STARTING);
    assert_true(rig_await(rig, id, INSTANCE_READY, 11 * 1000)->adopted);
    assert_int_equal(rig->starts, 1);
}

static void test_adopted_twice(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    rig->behaviour.has_worker = true;
    rig_await(rig, id, INSTANCE_READY, 1000);
    for (int i = 0; i < 5; i++) {
        sim_run_for(rig->world, 300);
        rig_crash(rig);
        rig_recover(rig);
        rig_await(rig, id, INSTANCE_READY, 1000);
    }
    assert_int_equal(rig->starts, 1);
    rig_want(rig, id, false);
    rig_await_gone(rig, id, 1000);
    sim_run_for(rig->world, 100);
    assert_int_equal(rig_count_rows(rig), 0);
}

struct sql_change {
    struct store_op op;
    const char *text;
};

static int run_change(struct store_op *op, struct sql *db, struct error *reterr)
{
    return sql_run(db, reterr, container_of(op, struct sql_change, op)->text, "");
}

static void change_rows(const char *text)
{
    struct sql_change c = { .op.run = run_change, .text = text };

    assert_true(store_write_now(rig->store, &c.op) >= 0);
}

/* The crash came between the spawn and the commit of its pid. */
static void test_adopted_by_its_mark_alone(void **state)
{
    int64_t id;

    rig->behaviour.has_worker = true;
    id = rig_add_model(rig, "m", NULL);
    rig_await(rig, id, INSTANCE_READY, 1000);
    rig_crash(rig);
    change_rows("UPDATE instances SET pid = 0, start_time = 0");
    rig_recover(rig);
    assert_true(rig_await(rig, id, INSTANCE_READY, 1000)->adopted);
    assert_int_equal(rig_engine(rig, "m")->process->id.pid,
                     engines_of_model(rig->engines, id)->process.pid);
    assert_int_equal(rig->starts, 1);
}

static void test_store_that_takes_nothing_keeps_no_engine_down(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL), other;

    rig_await(rig, id, INSTANCE_READY, 1000);
    change_rows(
        "CREATE TRIGGER full_i BEFORE INSERT ON instances BEGIN SELECT RAISE(ABORT, 'full'); END");
    change_rows(
        "CREATE TRIGGER full_u BEFORE UPDATE ON instances BEGIN SELECT RAISE(ABORT, 'full'); END");
    sim_process_exit(rig_engine(rig, "m")->process, 0, 9);
    rig_await(rig, id, INSTANCE_BACKOFF, 100);
    rig_await(rig, id, INSTANCE_READY, 1000);

    other = rig_add_model(rig, "new",
                          "\"retry_policy\":{\"initial_delay\":0}"); /* never without its row */
    assert_contains(rig_await(rig, other, INSTANCE_BACKOFF, 100)->last_error, "cannot store");
    assert_true(engines_of_model(rig->engines, other)->retry_at_ms >= now() + 1000);
    assert_int_equal(rig_count_alive(rig, "new"), 0);
    change_rows("DROP TRIGGER full_i");
    change_rows("DROP TRIGGER full_u");
    rig_await(rig, other, INSTANCE_READY, 10 * 1000);
}

static void test_not_wanted_any_more_is_killed(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    rig_await(rig, id, INSTANCE_READY, 1000);
    rig_lose_engines(rig);
    rig_want(rig, id, false);
    rig_crash(rig);
    rig_recover(rig);
    rig_await_gone(rig, id, 1000);
    sim_run_for(rig->world, 1000);
    assert_int_equal(rig_count_alive(rig, NULL), 0);
    assert_int_equal(rig_count_rows(rig), 0);
}

static void test_changed_meanwhile_is_replaced(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    rig_await(rig, id, INSTANCE_READY, 1000);
    rig_lose_engines(rig);
    rig_update_model(rig, id, "m", "\"parameters\":{\"threads\":2}");
    rig_crash(rig);
    rig_recover(rig);
    assert_false(rig_await(rig, id, INSTANCE_READY, 1000)->adopted);
    assert_int_equal(rig->starts, 2);
    assert_int_equal(rig_count_alive(rig, "m"), 1);
}

static void test_died_meanwhile_is_started(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    rig_await(rig, id, INSTANCE_READY, 1000);
    rig_crash(rig);
    sim_process_exit(rig_engine(rig, "m")->process, 0, 9);
    sim_run_for(rig->world, 10);
    rig_recover(rig);
    assert_false(rig_await(rig, id, INSTANCE_READY, 1000)->adopted);
    assert_int_equal(rig->starts, 2);
    assert_int_equal(rig_count_rows(rig), 1);
}

static void test_leader_died_meanwhile_but_not_its_worker(void **state)
{
    int64_t id;

    rig->behaviour.has_worker = true;
    id = rig_add_model(rig, "m", NULL);
    rig_await(rig, id, INSTANCE_READY, 1000);
    rig_crash(rig);
    sim_process_exit(rig_engine(rig, "m")->process, 0, 9);
    sim_run_for(rig->world, 10);
    rig_recover(rig);
    rig_await(rig, id, INSTANCE_READY, 1000);
    assert_int_equal(rig->starts, 2);
    assert_int_equal(rig_count_alive(rig, "m"), 2);
}

static void test_marked_without_a_row_is_killed(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    rig_await(rig, id, INSTANCE_READY, 1000);
    rig_crash(rig);
    change_rows("DELETE FROM instances");
    rig_recover(rig);
    rig_await(rig, id, INSTANCE_READY, 1000);
    assert_int_equal(rig->starts, 2);
    assert_int_equal(rig_count_alive(rig, "m"), 1);
}

static void test_engines_of_another_berth_are_left_alone(void **state)
{
    const char *const argv[] = { "/sim/worker", "--alias", "other", NULL };
    const char *const envp[] = { "BERTH_INSTANCE=else/00000000-0000-4000-8000-000000000000", NULL };
    struct process *p;
    struct error err;

    assert_int_equal(
        process_spawn(rig->world, &(struct spawn_spec){ argv, envp }, NULL, NULL, &p, &err), 0);
    process_destroy(p);
    rig_crash(rig);
    rig_recover(rig);
    sim_run_for(rig->world, 10 * 1000);
    assert_int_equal(rig_count_alive(rig, "other"), 1);
}

#define LIFE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIFE(test_becomes_ready),
        LIFE(test_secrets_stay_here),
        LIFE(test_unwanted_is_not_started),
        LIFE(test_draining_waits_for_what_runs),
        LIFE(test_draining_has_an_end),
        LIFE(test_engine_that_ignores_term_is_killed),
        LIFE(test_wanted_again_while_draining_stays),
        LIFE(test_stopped_before_it_was_ready),
        LIFE(test_stopped_before_its_row_was_committed),
        LIFE(test_crash_loop_ends_in_failed_with_the_last_words),
        LIFE(test_last_words_are_those_of_the_last_run),
        LIFE(test_failed_starts_when_asked),
        LIFE(test_crash_of_a_ready_one_is_answered_at_once),
        LIFE(test_crashes_far_apart_never_add_up),
        LIFE(test_without_retry_the_first_crash_is_the_last),
        LIFE(test_delays_grow_and_have_a_limit),
        LIFE(test_never_ready_is_killed_in_the_end),
        LIFE(test_hung_engine_is_replaced),
        LIFE(test_one_that_works_is_not_hung),
        LIFE(test_worker_that_outlives_its_leader_goes_first),
        LIFE(test_update_restarts_it_drained),
        LIFE(test_restart_is_drained_too),
        LIFE(test_removed_model_takes_its_engine_along),
        LIFE(test_removed_model_stays_away_after_a_restart),
        LIFE(test_nobody_restarts_a_model_twice),
        LIFE(test_two_loads_at_once_start_one),
        LIFE(test_deleted_while_it_starts),
        LIFE(test_crash_while_it_drains),
        LIFE(test_missing_binary_is_named),
        LIFE(test_binary_that_is_no_program_is_named),
        LIFE(test_signal_is_named),
        LIFE(test_kill_may_have_been_the_kernels),
        LIFE(test_refused_flag_is_told_in_its_words),
        LIFE(test_time_is_over_with_its_last_line),
        LIFE(test_missing_file_fails_at_once),
        LIFE(test_program_that_cannot_run_fails_at_once),
        LIFE(test_failed_one_follows_a_new_definition),
        LIFE(test_named_port_is_used_and_checked),
        LIFE(test_stop_all_ends_when_nothing_is_left),
        LIFE(test_stop_all_of_nothing),
        LIFE(test_log_tail_starts_at_a_line),
        LIFE(test_large_log_is_put_aside),
        LIFE(test_adopted_after_a_crash),
        LIFE(test_adopted_while_loading),
        LIFE(test_adopted_twice),
        LIFE(test_adopted_by_its_mark_alone),
        LIFE(test_store_that_takes_nothing_keeps_no_engine_down),
        LIFE(test_not_wanted_any_more_is_killed),
        LIFE(test_changed_meanwhile_is_replaced),
        LIFE(test_died_meanwhile_is_started),
        LIFE(test_leader_died_meanwhile_but_not_its_worker),
        LIFE(test_marked_without_a_row_is_killed),
        LIFE(test_engines_of_another_berth_are_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
