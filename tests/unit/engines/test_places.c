// SPDX-License-Identifier: Apache-2.0
/* Places: instances that wait for one, get it, are moved aside and come back; and those that ended
 * because memory was short. */
#include "rig.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "gpu/gpu.h"

#define QUICK_RETRY "\"retry_policy\":{\"initial_delay\":1,\"max_delay\":60,\"max_attempts\":3}"

static struct rig *rig;
static const struct place somewhere = { .count = 2,
                                        .shares = { { 0, 123456789012 }, { 3, 42 } },
                                        .host_bytes = 7 };

static int set_up(void **state)
{
    rig = rig_create_with(1, &(struct rig_options){ .gated = true });
    return 0;
}

static int tear_down(void **state)
{
    rig_destroy(rig);
    return 0;
}

static const struct instance *waiting(int64_t id)
{
    return rig_await(rig, id, INSTANCE_WAITING, 60 * 1000);
}

static void place(int64_t id)
{
    char uuid[UUID_SIZE];

    strcpy(uuid, waiting(id)->uuid);
    engines_place(rig->engines, uuid, &somewhere);
}

static const struct instance *ready(int64_t id)
{
    place(id);
    return rig_await(rig, id, INSTANCE_READY, 5000);
}

static void displace(int64_t id, uint64_t grace_ms)
{
    engines_displace(rig->engines, engines_of_model(rig->engines, id)->uuid, grace_ms,
                     "somebody needs the room");
}

struct text_question {
    struct store_op op;
    const char *sql;
    char text[256];
};

static int run_text(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct text_question *q = container_of(op, struct text_question, op);
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, q->sql, "");

    if (r < 0 || (r = sql_next(st, reterr)) < 0) {
        return r;
    }
    snprintf(q->text, sizeof(q->text), "%s", r > 0 ? sql_text(st, 0) : "(no row)");
    return 0;
}

static void assert_row(const char *column, const char *expected)
{
    _cleanup_(freep) char *sql = xasprintf("SELECT %s FROM instances", column);
    struct text_question q = { .op.run = run_text, .sql = sql };

    assert_int_equal(store_read_now(rig->store, &q.op), 0);
    assert_string_equal(q.text, expected);
}

/* ---- waiting */

static void test_waits_until_it_is_placed(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);
    const struct instance *pub = waiting(id);
    struct error err;

    sim_run_for(rig->world, 5 * 60 * 1000);
    assert_int_equal(pub->state, INSTANCE_WAITING);
    assert_int_equal(rig_count_alive(rig, NULL), 0);
    assert_int_equal(rig_count_rows(rig), 0);
    assert_int_equal(pub->place.count, 0);
    assert_true(pub->waiting_since_ms > 0 &&
                world_now_ms(rig->world) - pub->waiting_since_ms >= 5 * 60 * 1000);
    assert_int_equal(engines_settled(rig->engines, id, &err), 0);
    pub = ready(id);
    assert_memory_equal(&pub->place, &somewhere, sizeof(somewhere));
    assert_int_equal(pub->waiting_since_ms, 0);
    assert_string_equal(rig->trail, "waiting starting ready");
    assert_row("place", "{\"devices\":[[0,123456789012],[3,42]],\"host\":7}");
    engines_place(rig->engines, pub->uuid, &(struct place){ .count = 1 }); /* too late */
    assert_int_equal(pub->place.count, 2);
    assert_int_equal(engines_settled(rig->engines, id, &err), 1);
}

static void test_remote_endpoint_does_not_wait(void **state)
{
    struct sim_engine *endpoint = rig_open_endpoint(rig, 9100);
    int64_t id = rig_add_model(
        rig, "far", "\"framework\":\"openai\",\"model_path\":\"http://127.0.0.1:9100/v1\"");
    const struct instance *pub = rig_await(rig, id, INSTANCE_READY, 1000);

    assert_int_equal(pub->place.count, 0);
    engines_displace(rig->engines, pub->uuid, 0, "it has no memory here");
    sim_run_for(rig->world, 1000);
    assert_int_equal(pub->state, INSTANCE_READY);
    rig_want(rig, id, false);
    rig_await_gone(rig, id, 1000);
    rig_close_endpoint(endpoint);
}

/* Nobody shall be moved aside for it. */
static void test_what_can_never_run_does_not_wait(void **state)
{
    int64_t id = rig_add_model(rig, "m", "\"model_path\":\"missing.gguf\"");
    const struct instance *pub = rig_await(rig, id, INSTANCE_FAILED, 1000);

    assert_contains(pub->last_error, "missing.gguf");
    assert_string_equal(rig->trail, "waiting failed");
    rig_update_model(rig, id, "m", NULL);
    waiting(id);
}

static void test_not_wanted_any_more_it_is_gone_at_once(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    waiting(id);
    rig_want(rig, id, false);
    sim_run_for(rig->world, 1);
    assert_null(engines_of_model(rig->engines, id));
    rig_want(rig, id, true);
    waiting(id);
    rig_remove_model(rig, id);
    sim_run_for(rig->world, 1);
    assert_null(engines_of_model(rig->engines, id));
    assert_int_equal(rig->starts, 0);
}

static void test_new_definition_is_taken_while_it_waits(void **state)
{
    int64_t id = rig_add_model(rig, "m", "\"parameters\":{\"ctx_size\":1024}");
    int64_t epoch = waiting(id)->model_epoch;
    char uuid[UUID_SIZE];

    strcpy(uuid, waiting(id)->uuid);
    rig_update_model(rig, id, "m", "\"parameters\":{\"ctx_size\":2048,\"parallel\":2}");
    sim_run_for(rig->world, 1);
    assert_string_equal(waiting(id)->uuid, uuid);
    assert_true(waiting(id)->model_epoch > epoch);
    assert_int_equal(waiting(id)->slots, 2);
    rig->behaviour.slots = 2;
    ready(id);
    sim_run_for(rig->world, 1000);
    assert_int_equal(rig->starts, 1);
    assert_string_equal(rig->trail, "waiting starting ready");
}

static void test_new_definition_that_cannot_run_ends_the_wait(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    waiting(id);
    rig_update_model(rig, id, "m", "\"model_path\":\"missing.gguf\"");
    rig_await(rig, id, INSTANCE_FAILED, 1000);
    rig_update_model(rig, id, "m",
                     "\"framework\":\"openai\",\"model_path\":\"http://127.0.0.1:1\"");
    rig_await(rig, id, INSTANCE_BACKOFF, 20000); /* it is asked, without a place */
}

static void test_restart_of_one_that_waits_changes_nothing(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);
    char uuid[UUID_SIZE];

    strcpy(uuid, waiting(id)->uuid);
    engines_restart(rig->engines, id);
    engines_retry(rig->engines, id);
    sim_run_for(rig->world, 1000);
    assert_string_equal(waiting(id)->uuid, uuid);
    ready(id);
    sim_run_for(rig->world, 1000);
    assert_int_equal(rig->starts, 1);
}

static void test_each_try_waits_anew(void **state)
{
    const struct instance *pub;
    int64_t id;
    uint64_t since;

    rig->behaviour = (struct behaviour){ .never_ready = true, .end_after_ms = 50, .end_code = 1 };
    id = rig_add_model(rig, "m", QUICK_RETRY);
    since = waiting(id)->waiting_since_ms;
    place(id);
    rig_await(rig, id, INSTANCE_BACKOFF, 1000);
    pub = waiting(id);
    assert_int_equal(pub->waiting_since_ms, since);
    assert_int_equal(pub->place.count, 0);
    assert_int_equal(pub->restarts, 1);
    sim_run_for(rig->world, 10);
    assert_row("place", "");
    place(id);
    rig_await(rig, id, INSTANCE_BACKOFF, 1000);
    place(id);
    rig_await(rig, id, INSTANCE_FAILED, 1000);
    assert_int_equal(rig->starts, 3);
    sim_run_for(rig->world, 60 * 1000);
    engines_retry(rig->engines, id);
    pub = waiting(id);
    assert_true(pub->waiting_since_ms > since + 60 * 1000);
    rig->behaviour = (struct behaviour){ .load_ms = 10 };
    ready(id);
}

/* ---- moved aside */

static void test_moved_aside_it_drains_and_waits(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);
    const struct instance *pub = ready(id);
    char uuid[UUID_SIZE];

    rig->drains = false;
    strcpy(uuid, pub->uuid);
    displace(id, 20 * 1000);
    assert_int_equal(pub->state, INSTANCE_DRAINING);
    assert_true(pub->displaced);
    sim_run_for(rig->world, 10 * 1000);
    assert_int_equal(pub->state, INSTANCE_DRAINING);
    assert_int_equal(pub->place.count, 2); /* it still takes it */
    engines_drained(rig->engines, uuid);
    pub = rig_await(rig, id, INSTANCE_WAITING, 1000);
    assert_string_equal(pub->uuid, uuid);
    assert_true(pub->displaced);
    assert_int_equal(pub->place.count, 0);
    assert_int_equal(pub->process.pid, 0);
    assert_true(pub->waiting_since_ms > 0);
    assert_int_equal(rig_count_alive(rig, NULL), 0);
    sim_run_for(rig->world, 10);
    assert_row("state || place || pid", "waiting0");
    pub = ready(id);
    assert_false(pub->displaced);
    assert_string_equal(pub->uuid, uuid);
    assert_int_equal(pub->restarts, 0);
    assert_string_equal(rig->trail,
                        "waiting starting ready draining stopping waiting starting ready");
}

static void test_its_grace_has_an_end(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    ready(id);
    rig->drains = false;
    displace(id, 2000);
    sim_run_for(rig->world, 1900);
    assert_int_equal(rig_count_alive(rig, NULL), 1);
    sim_run_for(rig->world, 200);
    assert_int_equal(rig_count_alive(rig, NULL), 0);
    waiting(id);
}

/* What the wish for room grants is not granted to one that is not wanted any more. */
static void test_unwanted_it_has_no_longer_than_others(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    ready(id);
    rig->drains = false;
    displace(id, 3600 * 1000);
    sim_run_for(rig->world, 1000);
    rig_want(rig, id, false);
    rig_await_gone(rig, id, 31 * 1000); /* engines.drain_timeout */
}

struct witness {
    struct listener listener;
    unsigned seen, not_displaced;
};

static void on_change(void *owner, const void *what)
{
    struct witness *w = owner;
    const struct instance_change *c = what;

    w->seen++;
    w->not_displaced += !c->instance->displaced;
}

static void test_those_who_listen_see_that_it_is_moved_aside(void **state)
{
    struct witness w = { { .fn = on_change, .owner = &w }, 0, 0 };
    int64_t id = rig_add_model(rig, "m", NULL);

    ready(id);
    notify_add(engines_signal(rig->engines), &w.listener);
    displace(id, 0);
    waiting(id);
    assert_true(w.seen >= 3);
    assert_int_equal(w.not_displaced, 0);
    notify_remove(&w.listener);
}

static void test_one_that_loads_is_stopped_at_once(void **state)
{
    int64_t id;

    rig->behaviour.load_ms = 60 * 1000;
    id = rig_add_model(rig, "m", NULL);
    place(id);
    sim_run_for(rig->world, 1000);
    assert_int_equal(rig_count_alive(rig, NULL), 1);
    displace(id, 0);
    sim_run_for(rig->world, 100);
    assert_int_equal(rig_count_alive(rig, NULL), 0);
    assert_true(waiting(id)->displaced);
    assert_null(waiting(id)->last_error); /* that is no failure */
    assert_string_equal(rig->trail, "waiting starting stopping waiting");
}

static void test_stopped_before_its_row_was_committed(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    place(id);
    displace(id, 0);
    sim_run_for(rig->world, 60 * 1000);
    assert_true(waiting(id)->displaced);
    assert_int_equal(rig->starts, 0);
    ready(id);
    assert_int_equal(rig->starts, 1);
    assert_string_equal(rig->trail, "waiting starting stopping waiting starting ready");
}

static void test_one_that_ignores_term_is_killed(void **state)
{
    int64_t id;

    rig->behaviour.ignores_term = rig->behaviour.has_worker = true;
    id = rig_add_model(rig, "m", NULL);
    ready(id);
    displace(id, 0);
    sim_run_for(rig->world, 5000);
    assert_int_equal(rig_count_alive(rig, NULL), 2);
    assert_int_equal(engines_of_model(rig->engines, id)->state, INSTANCE_STOPPING);
    sim_run_for(rig->world, 10000);
    assert_int_equal(rig_count_alive(rig, NULL), 0);
    assert_true(waiting(id)->displaced);
}

static void test_not_wanted_any_more_it_does_not_come_back(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    ready(id);
    rig->drains = false;
    displace(id, 5000);
    rig_want(rig, id, false);
    rig_await_gone(rig, id, 10000);
    sim_run_for(rig->world, 10);
    assert_int_equal(rig_count_rows(rig), 0);
    assert_string_equal(rig->trail, "waiting starting ready draining stopping gone");
}

/* A request for it brings the wish back, not the room. */
static void test_wanted_again_it_waits_for_room_all_the_same(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    ready(id);
    rig->drains = false;
    displace(id, 5000);
    rig_want(rig, id, false);
    rig_want(rig, id, true);
    sim_run_for(rig->world, 1000);
    assert_int_equal(engines_of_model(rig->engines, id)->state, INSTANCE_DRAINING);
    waiting(id);
    assert_string_equal(rig->trail, "waiting starting ready draining stopping waiting");
}

static void test_wanted_again_while_it_stops(void **state)
{
    int64_t id;

    rig->behaviour.ignores_term = true;
    id = rig_add_model(rig, "m", NULL);
    ready(id);
    displace(id, 0);
    sim_run_for(rig->world, 100);
    assert_int_equal(engines_of_model(rig->engines, id)->state, INSTANCE_STOPPING);
    rig_want(rig, id, false);
    rig_want(rig, id, true);
    assert_true(waiting(id)->displaced);
    assert_string_equal(rig->trail, "waiting starting ready draining stopping waiting");
}

/* It is being unloaded for idleness, and its room is needed sooner. */
static void test_one_that_drains_already_is_moved_aside(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    ready(id);
    rig->drains = false;
    rig_want(rig, id, false);
    sim_run_for(rig->world, 1000);
    displace(id, 3000);
    rig_want(rig, id, true);
    sim_run_for(rig->world, 1000);
    assert_int_equal(engines_of_model(rig->engines, id)->state, INSTANCE_DRAINING);
    sim_run_for(rig->world, 2500);
    assert_true(waiting(id)->displaced);
    assert_string_equal(rig->trail, "waiting starting ready draining stopping waiting");
}

static void test_crash_while_it_is_moved_aside(void **state)
{
    int64_t id = rig_add_model(rig, "m", QUICK_RETRY);

    ready(id);
    rig->drains = false;
    displace(id, 60 * 1000);
    sim_process_exit(rig_engine(rig, "m")->process, 1, 0);
    sim_run_for(rig->world, 100);
    assert_true(waiting(id)->displaced);
    ready(id);
}

static void test_what_has_no_room_is_not_moved(void **state)
{
    int64_t id;

    rig->behaviour = (struct behaviour){ .never_ready = true, .end_after_ms = 50, .end_code = 1 };
    id = rig_add_model(rig, "m", QUICK_RETRY);
    waiting(id);
    displace(id, 0);
    assert_false(waiting(id)->displaced);
    place(id);
    rig_await(rig, id, INSTANCE_BACKOFF, 1000);
    displace(id, 0);
    assert_int_equal(engines_of_model(rig->engines, id)->state, INSTANCE_BACKOFF);
    engines_note_displaced(rig->engines, engines_of_model(rig->engines, id)->uuid);
    assert_false(waiting(id)->displaced);
    engines_note_displaced(rig->engines, waiting(id)->uuid);
    assert_true(waiting(id)->displaced); /* as an earlier berth left it */
}

static void test_new_definition_while_it_is_moved_aside(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);
    char uuid[UUID_SIZE];

    strcpy(uuid, ready(id)->uuid);
    rig->drains = false;
    displace(id, 5000);
    rig_update_model(rig, id, "m", "\"parameters\":{\"parallel\":2}");
    assert_string_equal(waiting(id)->uuid, uuid);
    assert_int_equal(waiting(id)->slots, 2);
    assert_true(waiting(id)->displaced);
}

/* A person asks for it: then it does not only come back by itself. */
static void test_asked_for_by_a_person_it_waits_as_any_other(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    ready(id);
    displace(id, 0);
    assert_true(waiting(id)->displaced);
    engines_retry(rig->engines, id);
    assert_false(waiting(id)->displaced);
}

static void on_stopped(void *arg)
{
    *(bool *)arg = true;
}

static void test_stop_all_takes_those_who_wait_along(void **state)
{
    int64_t a = rig_add_model(rig, "a", NULL), b = rig_add_model(rig, "b", NULL);
    bool stopped = false;
    size_t cursor = 0;

    ready(a);
    waiting(b);
    displace(a, 0);
    engines_stop_all(rig->engines, on_stopped, &stopped);
    engines_place(rig->engines, waiting(b)->uuid, &somewhere);
    sim_run_for(rig->world, 30 * 1000);
    assert_true(stopped);
    assert_null(engines_next(rig->engines, &cursor));
    assert_int_equal(rig_count_rows(rig), 0);
    assert_int_equal(rig->starts, 1);
}

/* ---- berth is killed */

static void test_adopted_it_keeps_its_place(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);
    const struct instance *pub;

    ready(id);
    rig_crash(rig);
    rig_recover(rig);
    pub = engines_of_model(rig->engines, id);
    assert_true(pub->adopted);
    assert_memory_equal(&pub->place, &somewhere, sizeof(somewhere));
    rig_await(rig, id, INSTANCE_READY, 1000);
    rig_crash(rig); /* and once more */
    rig_recover(rig);
    pub = rig_await(rig, id, INSTANCE_READY, 1000);
    assert_memory_equal(&pub->place, &somewhere, sizeof(somewhere));
    assert_int_equal(rig->starts, 1);
}

static int run_forget(struct store_op *op, struct sql *db, struct error *reterr)
{
    return sql_run(db, reterr, "UPDATE instances SET place = ''", "");
}

/* What the machine has from now on, for the next berth. */
static struct gpu *open_devices(struct metrics **ret_metrics, const char *script,
                                struct config **ret_config)
{
    static const struct option_table *const tables[] = { &gpu_options, NULL };
    static const char *const settings[] = { "BERTH_GPU_SCRIPTED=devices.yaml", NULL };
    FILE *f = fopen("devices.yaml", "w");
    struct error e = { 0 };
    struct gpu_in in = { .world = rig->world, .metrics = metrics_create() };
    struct gpu *gpu;

    assert_non_null(f);
    fputs(script, f);
    fclose(f);
    assert_int_equal(config_load(NULL, settings, tables, ret_config, &e), 0);
    in.config = *ret_config;
    *ret_metrics = in.metrics;
    assert_int_equal(gpu_create(&in, &gpu, &e), 0);
    rig->gpu = gpu;
    return gpu;
}

/* An index is one berth's: a card that is gone makes others of those behind it. */
static void test_adopted_it_is_where_its_device_is_now(void **state)
{
    struct place second = { .count = 1, .shares = { { 1, 1000 } } };
    struct metrics *metrics[2];
    struct config *before, *after;
    struct gpu *old, *new;
    int64_t id;

    old = open_devices(&metrics[0],
                       "devices:\n  - {id: N, vendor: nvidia, memory_total: 1GiB}\n"
                       "  - {id: A, vendor: amd, memory_total: 1GiB}\n",
                       &before);
    rig_crash(rig);
    rig_recover(rig);
    id = rig_add_model(rig, "m", "\"parameters\":{\"gpu_vendor\":\"amd\"}");
    engines_place(rig->engines, waiting(id)->uuid, &second);
    rig_await(rig, id, INSTANCE_READY, 5000);
    assert_row("place", "{\"devices\":[[1,1000,\"A\"]],\"host\":0}");
    new = open_devices(&metrics[1], "devices:\n  - {id: A, vendor: amd, memory_total: 1GiB}\n",
                       &after);
    rig_crash(rig);
    rig_recover(rig);
    rig_await(rig, id, INSTANCE_READY, 5000);
    assert_true(engines_of_model(rig->engines, id)->adopted);
    assert_int_equal(engines_of_model(rig->engines, id)->place.shares[0].device, 0);
    rig_lose_engines(rig);
    rig->gpu = NULL;
    gpu_destroy(old);
    gpu_destroy(new);
    config_free(before);
    config_free(after);
    metrics_destroy(metrics[0]);
    metrics_destroy(metrics[1]);
}

static void test_row_of_an_earlier_version_tells_no_place(void **state)
{
    struct store_op forget = { .run = run_forget };
    int64_t id = rig_add_model(rig, "m", NULL);

    ready(id);
    assert_true(store_write_now(rig->store, &forget) >= 0);
    rig_crash(rig);
    rig_recover(rig);
    assert_int_equal(rig_await(rig, id, INSTANCE_READY, 1000)->place.count, 0);
    assert_int_equal(rig->starts, 1);
}

static void test_killed_while_one_waits(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL);

    ready(id);
    displace(id, 0);
    waiting(id);
    sim_run_for(rig->world, 10);
    rig_crash(rig);
    rig_recover(rig);
    assert_int_equal(rig_count_rows(rig), 0);
    sim_run_for(rig->world, 60 * 1000);
    assert_int_equal(rig_count_instances(rig, id, INSTANCE_STATE_MAX_), 1);
    ready(id);
    assert_int_equal(rig->starts, 2);
}

/* It was told to end, and has not yet: it is not taken for one that serves. */
static void test_killed_in_the_middle_of_a_swap(void **state)
{
    int64_t id;

    rig->behaviour.ignores_term = true;
    id = rig_add_model(rig, "m", NULL);
    ready(id);
    displace(id, 0);
    sim_run_for(rig->world, 100);
    assert_int_equal(engines_of_model(rig->engines, id)->state, INSTANCE_STOPPING);
    rig_crash(rig);
    rig_recover(rig);
    sim_run_for(rig->world, 1000);
    assert_int_equal(rig_count_alive(rig, NULL), 0);
    waiting(id);
    assert_int_equal(rig_count_instances(rig, id, INSTANCE_STATE_MAX_), 1);
    ready(id);
    assert_int_equal(rig->starts, 2);
}

/* A disk that is full today is not tomorrow. */
static void test_no_room_for_its_files_is_tried_again(void **state)
{
    int64_t id = rig_add_model(rig, "m", QUICK_RETRY);

    waiting(id);
    close(open("instances", O_WRONLY | O_CREAT, 0600)); /* where the directory is to be */
    place(id);
    assert_contains(rig_await(rig, id, INSTANCE_BACKOFF, 1000)->last_error,
                    "cannot make the directory instances/");
    unlink("instances");
    ready(id);
}

/* ---- out of memory */

static void test_last_words_of_memory_are_understood(void **state)
{
    const struct instance *pub;
    char *metrics;
    int64_t id;

    rig->behaviour = (struct behaviour){
        .end_after_ms = 50,
        .end_code = 1,
        .last_words = "alloc_tensor_range: failed to allocate CUDA0 buffer of size 42000000000\n"
    };
    id = rig_add_model(rig, "m", QUICK_RETRY);
    place(id);
    pub = rig_await(rig, id, INSTANCE_BACKOFF, 1000);
    assert_int_equal(pub->out_of_memory, 1);
    metrics = rig_metrics(rig);
    assert_contains(metrics,
                    "berth_instance_failures_total{model=\"m\",reason=\"out_of_memory\"} 1");
    free(metrics);
    rig->behaviour = (struct behaviour){ .load_ms = 10 };
    pub = ready(id);
    assert_int_equal(pub->out_of_memory, 0);
}

static void test_kill_by_the_kernel_is_understood(void **state)
{
    const struct instance *pub;
    int64_t id;

    rig_count_oom_kill(rig, 5);
    rig->behaviour.load_ms = 60 * 1000;
    id = rig_add_model(rig, "m", QUICK_RETRY);
    place(id);
    sim_run_for(rig->world, 1000);
    sim_process_exit(rig_engine(rig, "m")->process, 0, 9); /* somebody's kill -9 */
    pub = rig_await(rig, id, INSTANCE_BACKOFF, 1000);
    assert_int_equal(pub->out_of_memory, 0);
    place(id);
    sim_run_for(rig->world, 1000);
    rig_count_oom_kill(rig, 6);
    sim_process_exit(rig_engine(rig, "m")->process, 0, 9);
    pub = rig_await(rig, id, INSTANCE_BACKOFF, 1000);
    assert_int_equal(pub->out_of_memory, 1);
    assert_contains(pub->last_error, "OOM killer");
}

static void test_want_of_memory_is_no_crash_loop(void **state)
{
    int64_t id;

    rig_count_oom_kill(rig, 0);
    rig->behaviour = (struct behaviour){ .never_ready = true, .end_after_ms = 50, .end_signal = 9 };
    id = rig_add_model(rig, "m", QUICK_RETRY);
    for (unsigned i = 1; i <= 3; i++) {
        place(id);
        sim_run_for(rig->world, 20);
        rig_count_oom_kill(rig, i);
        rig_await(rig, id, i < 3 ? INSTANCE_BACKOFF : INSTANCE_FAILED, 1000);
        assert_int_equal(engines_of_model(rig->engines, id)->out_of_memory, i);
    }
    sim_run_for(rig->world, 3600 * 1000);
    assert_int_equal(rig->starts, 3);
    engines_retry(rig->engines, id);
    assert_int_equal(waiting(id)->out_of_memory, 0);
}

/* ---- replicas */

static void place_replica(int64_t id, unsigned replica)
{
    const struct instance *pub;
    size_t cursor = 0;

    while ((pub = engines_next(rig->engines, &cursor))) {
        if (pub->model_id == id && pub->replica == replica) {
            engines_place(rig->engines, pub->uuid, &somewhere);
            return;
        }
    }
    fail_msg("there is no replica %u", replica);
}

static const struct instance *replica_of(int64_t id, unsigned replica)
{
    const struct instance *pub;
    size_t cursor = 0;

    while ((pub = engines_next(rig->engines, &cursor)) &&
           (pub->model_id != id || pub->replica != replica)) {
    }
    return pub;
}

static bool one_is_ready(void *arg)
{
    return rig_count_instances(rig, *(int64_t *)arg, INSTANCE_READY) == 1;
}

/* Room for one of two: the other one is not waited for by an update. */
static void test_update_goes_on_where_room_is_short(void **state)
{
    int64_t id = rig_add_model(rig, "m", "\"replicas\":2");

    sim_run_for(rig->world, 10);
    place_replica(id, 0);
    assert_true(sim_run_until(rig->world, one_is_ready, &id, 5000));
    rig_update_model(rig, id, "m", "\"replicas\":2,\"parameters\":{\"parallel\":2}");
    sim_run_for(rig->world, 61 * 1000);
    assert_int_equal(rig_count_instances(rig, id, INSTANCE_WAITING), 2);
    rig->behaviour.slots = 2;
    place_replica(id, 1);
    assert_true(sim_run_until(rig->world, one_is_ready, &id, 5000));
    assert_int_equal(replica_of(id, 1)->slots, 2);
}

/* The new definition may be too large for what the old one had: the others go on serving. */
static void test_update_that_finds_no_room_costs_one(void **state)
{
    int64_t id = rig_add_model(rig, "m", "\"replicas\":2");

    sim_run_for(rig->world, 10);
    place_replica(id, 0);
    place_replica(id, 1);
    rig_await_all(rig, id, INSTANCE_READY, 2, 5000);
    rig_update_model(rig, id, "m", "\"replicas\":2,\"parameters\":{\"ctx_size\":99999}");
    sim_run_for(rig->world, 3600 * 1000);
    assert_int_equal(rig_count_instances(rig, id, INSTANCE_READY), 1);
    assert_int_equal(rig_count_instances(rig, id, INSTANCE_WAITING), 1);
    place_replica(id, replica_of(id, 0)->state == INSTANCE_WAITING ? 0 : 1);
    sim_run_for(rig->world, 5000); /* there is room after all: then the other one follows */
    assert_int_equal(rig_count_instances(rig, id, INSTANCE_READY), 1);
    assert_int_equal(rig_count_instances(rig, id, INSTANCE_WAITING), 1);
    place_replica(id, replica_of(id, 0)->state == INSTANCE_WAITING ? 0 : 1);
    rig_await_all(rig, id, INSTANCE_READY, 2, 5000);
    assert_int_equal(rig->starts, 4);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_waits_until_it_is_placed),
        T(test_remote_endpoint_does_not_wait),
        T(test_what_can_never_run_does_not_wait),
        T(test_not_wanted_any_more_it_is_gone_at_once),
        T(test_new_definition_is_taken_while_it_waits),
        T(test_new_definition_that_cannot_run_ends_the_wait),
        T(test_restart_of_one_that_waits_changes_nothing),
        T(test_each_try_waits_anew),
        T(test_moved_aside_it_drains_and_waits),
        T(test_its_grace_has_an_end),
        T(test_unwanted_it_has_no_longer_than_others),
        T(test_those_who_listen_see_that_it_is_moved_aside),
        T(test_one_that_loads_is_stopped_at_once),
        T(test_stopped_before_its_row_was_committed),
        T(test_one_that_ignores_term_is_killed),
        T(test_not_wanted_any_more_it_does_not_come_back),
        T(test_wanted_again_it_waits_for_room_all_the_same),
        T(test_wanted_again_while_it_stops),
        T(test_one_that_drains_already_is_moved_aside),
        T(test_crash_while_it_is_moved_aside),
        T(test_what_has_no_room_is_not_moved),
        T(test_new_definition_while_it_is_moved_aside),
        T(test_asked_for_by_a_person_it_waits_as_any_other),
        T(test_stop_all_takes_those_who_wait_along),
        T(test_adopted_it_keeps_its_place),
        T(test_adopted_it_is_where_its_device_is_now),
        T(test_row_of_an_earlier_version_tells_no_place),
        T(test_killed_while_one_waits),
        T(test_killed_in_the_middle_of_a_swap),
        T(test_no_room_for_its_files_is_tried_again),
        T(test_last_words_of_memory_are_understood),
        T(test_kill_by_the_kernel_is_understood),
        T(test_want_of_memory_is_no_crash_loop),
        T(test_update_goes_on_where_room_is_short),
        T(test_update_that_finds_no_room_costs_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
