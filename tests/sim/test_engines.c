// SPDX-License-Identifier: Apache-2.0
/*
 * Random histories of engines: models are added, changed, removed, wanted and not, engines crash,
 * hang, leave workers behind and ignore TERM, berth is killed at any moment (and forgets what it
 * had not committed). Always: no two processes of one model, no process before its row (both
 * checked by the rig when a process starts). In the end: what is wanted is ready, once; what is not
 * is gone, row and directory too.
 *
 *     SEED=7 HISTORIES=1 VERBOSE=1 test_sim_engines     replays one with its log
 */
#include "histories.h"
#include "rig.h"

#include <dirent.h>
#include <string.h>

#include "base/mem.h"

enum { MODELS = 3, STEPS = 60 };

struct history {
    struct rig *rig;
    uint64_t seed;
    int64_t ids[MODELS]; /* 0: not there */
    bool wanted[MODELS];
    int versions;
};

static const char *const names[MODELS] = { "a", "b", "c" };
static const char *const settings[] = {
    "BERTH_ENGINES_START_TIMEOUT=3s",
    "BERTH_ENGINES_STOP_GRACE=2s",
    "BERTH_ENGINES_DRAIN_TIMEOUT=4s",
    "BERTH_ENGINES_STABLE_AFTER=5s",
    NULL,
};

static bool one_in(struct rig *rig, uint64_t n)
{
    return world_random_below(rig->world, n) == 0;
}

static void roll(struct rig *rig, struct behaviour *b)
{
    *b = (struct behaviour){
        .load_ms = world_random_below(rig->world, 500),
        .end_after_ms = one_in(rig, 3) ? 1 + world_random_below(rig->world, 6000) : 0,
        .end_code = 1,
        .end_signal = one_in(rig, 2) ? 11 : 0,
        .never_ready = one_in(rig, 10),
        .ignores_term = one_in(rig, 4),
        .has_worker = one_in(rig, 3),
        .last_words = "error: so it is\n",
    };
}

static char *random_definition(struct history *h)
{
    return xasprintf("\"parameters\":{\"ctx_size\":%d},"
                     "\"retry_policy\":{\"initial_delay\":0.5,\"max_delay\":4,\"max_attempts\":2},"
                     "\"health_check\":{\"interval\":1,\"timeout\":1,\"max_failures\":2}",
                     1024 + ++h->versions);
}

static void add(struct history *h, size_t i)
{
    char *members = random_definition(h);

    h->ids[i] = rig_add_model(h->rig, names[i], members);
    h->wanted[i] = true;
    free(members);
}

static void change_definition(struct history *h, size_t i)
{
    char *members = random_definition(h);

    rig_update_model(h->rig, h->ids[i], names[i], members);
    free(members);
}

static void toggle(struct history *h, size_t i)
{
    h->wanted[i] = !h->wanted[i];
    rig_want(h->rig, h->ids[i], h->wanted[i]);
}

static void take_away(struct history *h, size_t i)
{
    rig_remove_model(h->rig, h->ids[i]);
    h->ids[i] = 0;
    h->wanted[i] = false;
}

struct sql_change {
    struct store_op op;
    const char *text;
};

static int run_change(struct store_op *op, struct sql *db, struct error *reterr)
{
    return sql_run(db, reterr, container_of(op, struct sql_change, op)->text, "");
}

/* The commits of pids are lost now and then: a crash may come before them. */
static void forget_pids(struct history *h)
{
    struct sql_change c = { .op.run = run_change,
                            .text = "UPDATE instances SET pid = 0, start_time = 0" };

    assert_true(store_write_now(h->rig->store, &c.op) >= 0);
}

static bool has_orphaned_worker(struct rig *rig)
{
    struct sim_engine *engine;

    list_for_each (engine, &rig->alive, node) {
        if (engine->is_worker && !rig_engine(rig, engine->alias)) {
            return true;
        }
    }
    return false;
}

static void crash_berth(struct history *h)
{
    struct rig *rig = h->rig;

    rig_crash(rig);
    for (size_t i = 0; i < MODELS; i++) {
        struct sim_engine *engine = rig_engine(rig, names[i]);

        if (engine && one_in(rig, 4)) {
            sim_process_exit(engine->process, 0, 9); /* while nobody looks */
        }
    }
    sim_run_for(rig->world, world_random_below(rig->world, 200));
    if (one_in(rig, 3) && !has_orphaned_worker(rig)) {
        forget_pids(h);
    }
    rig_recover(rig);
}

static void on_stopped(void *arg)
{
    *(bool *)arg = true;
}

static bool is_true(void *arg)
{
    return *(bool *)arg;
}

/* SIGTERM and a new berth: in between nothing lives. */
static void restart_berth(struct history *h)
{
    bool stopped = false;

    engines_stop_all(h->rig->engines, on_stopped, &stopped);
    if (!sim_run_until(h->rig->world, is_true, &stopped, 60 * 1000)) {
        fail_msg("berth does not come to its end");
    }
    assert_int_equal(rig_count_alive(h->rig, NULL), 0);
    rig_crash(h->rig);
    rig_recover(h->rig);
}

static void hurt_engine(struct history *h, size_t i)
{
    struct sim_engine *engine = rig_engine(h->rig, names[i]);

    if (!engine) {
        return;
    }
    if (one_in(h->rig, 2)) {
        engine->hung = true;
    } else {
        sim_process_exit(engine->process, 0, 9);
    }
}

static void step(struct history *h)
{
    struct rig *rig = h->rig;
    size_t i = (size_t)world_random_below(rig->world, MODELS);
    uint64_t dice = world_random_below(rig->world, 12);

    if (dice == 0) {
        crash_berth(h);
    } else if (dice == 9 && one_in(rig, 4)) {
        restart_berth(h);
    } else if (!h->ids[i]) {
        add(h, i);
    } else if (dice <= 2) {
        toggle(h, i);
    } else if (dice == 3) {
        change_definition(h, i);
    } else if (dice == 4) {
        take_away(h, i);
    } else if (dice <= 6) {
        hurt_engine(h, i);
    } else if (dice == 7) {
        engines_restart(rig->engines, h->ids[i]);
    } else if (dice == 8) {
        engines_retry(rig->engines, h->ids[i]);
    }
    rig->drains = !one_in(rig, 4);
    sim_run_for(rig->world, one_in(rig, 2) ? world_random_below(rig->world, 50)
                                           : world_random_below(rig->world, 5000));
    rig->trail[0] = '\0';
}

static void be_kind(struct rig *rig, struct behaviour *b)
{
    *b = (struct behaviour){ .load_ms = 70 };
}

/* Faults end; who gave up is asked again; then everything wanted must be there. */
static void settle(struct history *h)
{
    struct rig *rig = h->rig;

    rig->roll = be_kind;
    rig->drains = true;
    sim_run_for(rig->world, 60 * 1000);
    for (size_t i = 0; i < MODELS; i++) {
        if (h->wanted[i]) {
            engines_retry(rig->engines, h->ids[i]);
        }
    }
    sim_run_for(rig->world, 60 * 1000);
    for (size_t i = 0; i < MODELS; i++) {
        if (h->wanted[i]) {
            rig_await(rig, h->ids[i], INSTANCE_READY, 1);
            assert_false(rig_engine(rig, names[i])->hung);
        } else if (rig_count_alive(rig, names[i])) {
            fail_msg("%s is not wanted and lives", names[i]);
        }
    }
}

static void check_nothing_left(struct history *h)
{
    DIR *dir;
    struct dirent *entry;

    for (size_t i = 0; i < MODELS; i++) {
        if (h->wanted[i]) {
            toggle(h, i);
        }
    }
    sim_run_for(h->rig->world, 30 * 1000);
    assert_int_equal(rig_count_alive(h->rig, NULL), 0);
    assert_int_equal(sim_live_processes(h->rig->world), 0);
    assert_int_equal(rig_count_rows(h->rig), 0);
    dir = opendir("instances");
    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] != '.') {
            fail_msg("the directory of %s is left", entry->d_name);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

static void run_history(uint64_t seed)
{
    struct history h = { .seed = seed, .rig = rig_create(seed, settings) };

    h.rig->roll = roll;
    sim_set_latency(h.rig->world, world_random_below(h.rig->world, 30));
    for (int i = 0; i < STEPS; i++) {
        step(&h);
    }
    settle(&h);
    check_nothing_left(&h);
    rig_destroy(h.rig);
}

static void test_histories(void **state)
{
    run_histories("sim/engines", 1000, run_history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_histories, tell_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
