// SPDX-License-Identifier: Apache-2.0
/*
 * Random histories of engines: models of every kind are added, changed, removed, wanted and not,
 * made more and fewer replicas of; engines crash, hang, stand still over their work, leave workers
 * behind and ignore TERM; a remote endpoint comes and goes, ports are taken by others, berth is
 * killed at any moment (and forgets what it had not committed). In half of the histories instances
 * wait for room: there are a few places, which are given away and taken back at random. Always: no
 * two processes of one replica, no process before its row (both checked by the rig when a process
 * starts), never more processes than places, nothing of one that waits, no process without its
 * place. In the end: what is wanted is ready, as often as it is wanted; what is not is gone, row
 * and directory too.
 *
 *     SEED=7 HISTORIES=1 VERBOSE=1 test_sim_engines     replays one with its log
 */
#include "histories.h"
#include "rig.h"

#include <dirent.h>
#include <string.h>

#include "base/mem.h"

enum {
    MODELS = 3,
    REPLICAS = 3,
    STEPS = 60,
    WORKS = 16,
    REMOTE_PORT = 9100,
    NAMED_PORT = 9001,
    FEW_PLACES = 3,
};

struct history {
    struct rig *rig;
    uint64_t seed;
    int64_t ids[MODELS]; /* 0: not there */
    bool wanted[MODELS];
    unsigned replicas[MODELS];
    bool remote[MODELS];
    int versions;
    struct sim_engine *endpoint;  /* what remote models are about; NULL: it is away */
    struct sim_engine *squatter;  /* somebody else on a port that a model names */
    char works[WORKS][UUID_SIZE]; /* instances that were given a request */
    size_t work_count;
    size_t places; /* so many instances have room; 0: they do not wait for it */
};

static const char *const names[MODELS] = { "a", "b", "c" };
static const char *const settings[] = {
    "BERTH_ENGINES_START_TIMEOUT=3s", "BERTH_ENGINES_STOP_GRACE=2s",
    "BERTH_ENGINES_DRAIN_TIMEOUT=4s", "BERTH_ENGINES_STABLE_AFTER=5s",
    "BERTH_ENGINES_STALL_TIMEOUT=3s", NULL,
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
        .last_words = one_in(rig, 4) ? "error: failed to allocate CUDA0 buffer of size 12345\n"
                                     : "error: so it is\n",
    };
}

#define POLICIES                                                                                   \
    "\"retry_policy\":{\"initial_delay\":0.5,\"max_delay\":4,\"max_attempts\":2},"                 \
    "\"health_check\":{\"interval\":1,\"timeout\":1,\"max_failures\":2}"

static char *random_kind(struct history *h, size_t i)
{
    struct rig *rig = h->rig;

    h->remote[i] = one_in(rig, 5);
    if (h->remote[i]) {
        return xasprintf("\"framework\":\"openai\",\"model_path\":\"http://127.0.0.1:%d/%d\"",
                         REMOTE_PORT, ++h->versions);
    }
    if (one_in(rig, 3)) {
        return xasprintf("\"framework\":\"command\",\"model_path\":\"x\",\"parameters\":{"
                         "\"command\":\"/bin/true --alias ${MODEL_ID} --host 127.0.0.1 "
                         "--port ${PORT} --version %d\"}",
                         ++h->versions);
    }
    if (one_in(rig, 3)) {
        return xasprintf("\"parameters\":{\"ctx_size\":%d,\"port\":%d}", 1024 + ++h->versions,
                         NAMED_PORT + 10 * (int)i);
    }
    return xasprintf("\"parameters\":{\"ctx_size\":%d}", 1024 + ++h->versions);
}

static char *random_definition(struct history *h, size_t i)
{
    char *kind = random_kind(h, i), *members;

    h->replicas[i] = 1 + (unsigned)world_random_below(h->rig->world, REPLICAS);
    members = xasprintf("%s,\"replicas\":%u," POLICIES, kind, h->replicas[i]);
    free(kind);
    return members;
}

static void add(struct history *h, size_t i)
{
    char *members = random_definition(h, i);

    h->ids[i] = rig_add_model(h->rig, names[i], members);
    h->wanted[i] = true;
    free(members);
}

static void change_definition(struct history *h, size_t i)
{
    char *members = random_definition(h, i);

    rig_update_model(h->rig, h->ids[i], names[i], members);
    free(members);
}

/* ---- places */

static size_t count_leaders(const struct rig *rig)
{
    struct sim_engine *engine;
    size_t n = 0;

    list_for_each (engine, &rig->alive, node) {
        n += !engine->is_worker;
    }
    return n;
}

static size_t count_taken(const struct rig *rig)
{
    const struct instance *pub;
    size_t cursor = 0, n = 0;

    while ((pub = engines_next(rig->engines, &cursor))) {
        n += pub->place.count > 0;
    }
    return n;
}

static bool has_process(const struct rig *rig, const char *uuid)
{
    struct sim_engine *engine;

    list_for_each (engine, &rig->alive, node) {
        if (str_eq(engine->uuid, uuid)) {
            return true;
        }
    }
    return false;
}

static void check_place(const struct history *h, const struct instance *pub)
{
    bool runs = pub->state == INSTANCE_STARTING || pub->state == INSTANCE_READY;
    bool waits = pub->state == INSTANCE_WAITING;

    if (waits && (pub->place.count || pub->process.pid || has_process(h->rig, pub->uuid))) {
        fail_msg("something is left of one that waits");
    }
    if (runs && !pub->remote && !pub->place.count) {
        fail_msg("one that is %s has no place", instance_state_name(pub->state));
    }
    assert_false(waits && !pub->waiting_since_ms);
    assert_false(pub->displaced && !waits && pub->state != INSTANCE_DRAINING &&
                 pub->state != INSTANCE_STOPPING);
}

static void check_places(const struct history *h)
{
    const struct instance *pub;
    size_t cursor = 0;

    if (!h->places) {
        return;
    }
    while ((pub = engines_next(h->rig->engines, &cursor))) {
        check_place(h, pub);
    }
    if (count_leaders(h->rig) > h->places) {
        fail_msg("%zu processes run in %zu places", count_leaders(h->rig), h->places);
    }
}

static void place(struct history *h, uint64_t one_of)
{
    const struct instance *pub;
    size_t cursor = 0;

    while (h->places && (pub = engines_next(h->rig->engines, &cursor))) {
        struct place where = { 1, { { (int)world_random_below(h->rig->world, 4), 1 << 20 } }, 0 };

        if (pub->state == INSTANCE_WAITING && count_taken(h->rig) < h->places &&
            one_in(h->rig, one_of)) {
            engines_place(h->rig->engines, pub->uuid, &where);
        }
    }
}

static void displace(struct history *h, uint64_t one_of)
{
    const struct instance *pub;
    size_t cursor = 0;

    while (h->places && (pub = engines_next(h->rig->engines, &cursor))) {
        if (one_in(h->rig, one_of)) {
            engines_displace(h->rig->engines, pub->uuid, world_random_below(h->rig->world, 4000),
                             "room is needed");
        }
    }
}

static void run_for(struct history *h, uint64_t ms, uint64_t one_of)
{
    uint64_t until_ms = world_now_ms(h->rig->world) + ms;

    while (world_now_ms(h->rig->world) < until_ms) {
        place(h, one_of);
        sim_run_for(h->rig->world, 1 + world_random_below(h->rig->world, 1000));
        check_places(h);
    }
}

/* Somebody says what holds already: a second load, a second stop. */
static void say_again(struct history *h, size_t i)
{
    rig_want(h->rig, h->ids[i], h->wanted[i]);
    if (h->wanted[i] && one_in(h->rig, 2)) {
        engines_retry(h->rig->engines, h->ids[i]);
    }
}

static void give_work(struct history *h)
{
    const struct instance *pub;
    size_t cursor = 0;

    while ((pub = engines_next(h->rig->engines, &cursor)) && h->work_count < WORKS) {
        if (pub->state == INSTANCE_READY && one_in(h->rig, 2)) {
            strcpy(h->works[h->work_count++], pub->uuid);
            engines_note_work(h->rig->engines, pub->uuid, 1, true);
        }
    }
}

static void end_work(struct history *h)
{
    while (h->work_count > 0) {
        engines_note_work(h->rig->engines, h->works[--h->work_count], -1, true);
    }
}

static void flap(struct history *h)
{
    if (h->endpoint) {
        rig_close_endpoint(TAKE_PTR(h->endpoint));
    } else {
        h->endpoint = rig_open_endpoint(h->rig, REMOTE_PORT);
    }
}

static void squat(struct history *h, size_t i)
{
    rig_close_endpoint(TAKE_PTR(h->squatter));
    h->squatter = rig_open_endpoint(
        h->rig, (uint16_t)(NAMED_PORT + 10 * i + world_random_below(h->rig->world, REPLICAS)));
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
        if (engine->is_worker && !rig_replica(rig, engine->alias, engine->replica)) {
            return true;
        }
    }
    return false;
}

static void crash_berth(struct history *h)
{
    struct rig *rig = h->rig;
    struct sim_engine *engine, *tmp;

    rig_crash(rig);
    h->work_count = 0;
    list_for_each_safe (engine, tmp, &rig->alive, node) {
        if (!engine->is_worker && one_in(rig, 4)) {
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
    unsigned replica = (unsigned)world_random_below(h->rig->world, REPLICAS);
    struct sim_engine *engine = rig_replica(h->rig, names[i], replica);

    if (!engine) {
        return;
    }
    if (one_in(h->rig, 2)) {
        engine->hung = true;
    } else {
        sim_process_exit(engine->process, 0, 9);
    }
}

static void step_world(struct history *h, size_t i)
{
    switch (world_random_below(h->rig->world, 8)) {
    case 0:
        crash_berth(h);
        break;
    case 1:
        if (one_in(h->rig, 4)) {
            restart_berth(h);
        }
        break;
    case 2:
        give_work(h);
        break;
    case 3:
        end_work(h);
        break;
    case 4:
        squat(h, i);
        break;
    case 5:
    case 6:
        displace(h, 3);
        break;
    default:
        flap(h);
        break;
    }
}

static void step_model(struct history *h, size_t i)
{
    switch (world_random_below(h->rig->world, 10)) {
    case 0:
    case 1:
        toggle(h, i);
        break;
    case 2:
    case 3:
        change_definition(h, i);
        break;
    case 4:
        take_away(h, i);
        break;
    case 5:
    case 6:
        hurt_engine(h, i);
        break;
    case 7:
        engines_restart(h->rig->engines, h->ids[i]);
        break;
    case 8:
        engines_retry(h->rig->engines, h->ids[i]);
        break;
    default:
        say_again(h, i);
        break;
    }
}

static void step(struct history *h)
{
    struct rig *rig = h->rig;
    size_t i = (size_t)world_random_below(rig->world, MODELS);

    if (one_in(rig, 3)) {
        step_world(h, i);
    } else if (!h->ids[i]) {
        add(h, i);
    } else {
        step_model(h, i);
    }
    rig->drains = !one_in(rig, 4);
    if (one_in(rig, 4)) {
        displace(h, 4); /* at once, whatever has just begun */
    }
    run_for(h, world_random_below(rig->world, one_in(rig, 2) ? 50 : 5000), 2);
    rig->trail[0] = '\0';
}

static void be_kind(struct rig *rig, struct behaviour *b)
{
    *b = (struct behaviour){ .load_ms = 70 };
}

static void check_wanted(struct history *h, size_t i)
{
    struct rig *rig = h->rig;

    rig_await_all(rig, h->ids[i], INSTANCE_READY, h->replicas[i], 1);
    for (unsigned replica = 0; replica < h->replicas[i] && !h->remote[i]; replica++) {
        struct sim_engine *engine = rig_replica(rig, names[i], replica);

        assert_non_null(engine);
        assert_false(engine->hung);
    }
    if (!h->remote[i]) {
        assert_true(rig_count_alive(rig, names[i]) >= h->replicas[i]);
        assert_true(rig_count_alive(rig, names[i]) <= 2 * (size_t)h->replicas[i]); /* workers */
    }
}

/* Faults end; who gave up is asked again; then everything wanted must be there. */
static void settle(struct history *h)
{
    struct rig *rig = h->rig;

    rig->roll = be_kind;
    rig->drains = true;
    end_work(h);
    rig_close_endpoint(TAKE_PTR(h->squatter));
    if (!h->endpoint) {
        flap(h);
    }
    h->places = h->places ? MODELS * REPLICAS : 0;
    run_for(h, 60 * 1000, 1);
    for (size_t i = 0; i < MODELS; i++) {
        if (h->wanted[i]) {
            engines_retry(rig->engines, h->ids[i]);
        }
    }
    run_for(h, 60 * 1000, 1);
    for (size_t i = 0; i < MODELS; i++) {
        if (h->wanted[i]) {
            check_wanted(h, i);
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
    bool gated = seed % 2;
    struct history h = {
        .seed = seed,
        .rig =
            rig_create_with(seed, &(struct rig_options){ .environment = settings, .gated = gated }),
        .places = gated ? FEW_PLACES : 0,
    };

    h.rig->roll = roll;
    sim_set_latency(h.rig->world, world_random_below(h.rig->world, 30));
    for (int i = 0; i < STEPS; i++) {
        step(&h);
    }
    settle(&h);
    check_nothing_left(&h);
    rig_close_endpoint(h.endpoint);
    rig_destroy(h.rig);
}

static void test_histories(void **state)
{
    run_histories("sim/engines", 500, run_history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_histories, tell_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
