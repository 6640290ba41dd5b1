// SPDX-License-Identifier: Apache-2.0
/*
 * Random histories of whole control planes: models of every size and priority are added, changed,
 * started, stopped, asked for and deleted on devices that others use too, that vanish and come
 * back, and whose memory is given back late; engines crash, hang, take more than they said and run
 * out of memory; berth is killed at any moment, also in the middle of a swap, and begins anew.
 * placement_watch.c and placement_judge.c say what must hold. In the end, when all is quiet,
 * whoever has room is there, whoever waits has a reason, and nothing is counted or held any more.
 *
 *     SEED=7 HISTORIES=1 VERBOSE=1 test_sim_placement     replays one with its log
 */
#include "histories.h"
#include "placement_scene.h"

enum { STEPS = 50 };

/* ---- what a history is like ---- */

static void roll(struct scene *s, struct behaviour *b)
{
    *b = (struct behaviour){ .load_ms = 100 + scene_below(s, scene_one_in(s, 4) ? 20000 : 3000) };
    if (scene_one_in(s, 3)) {
        b->linger_ms = scene_below(s, 20000);
    }
    if (!s->exact && scene_one_in(s, 20)) {
        b->linger_ms = 2 * VERIFY_MS;
    }
    b->crash_ms = scene_one_in(s, 12) ? 1 + scene_below(s, 60000) : 0;
    b->never_ready = scene_one_in(s, 40);
    b->ignores_term = scene_one_in(s, 12);
}

static void roll_kindly(struct scene *s, struct behaviour *b)
{
    *b = (struct behaviour){ .load_ms = 200 };
}

static void add_devices(struct scene *s)
{
    const unsigned count = 1 + (unsigned)scene_below(s, SIM_DEVICES_MAX);
    const bool mixed = scene_one_in(s, 6), tells = !scene_one_in(s, 4);

    for (unsigned i = 0; i < count; i++) {
        const uint64_t bytes = (8 + scene_below(s, 9) * 8) * GIB;

        sim_machine_add(s->machine, mixed && i % 2 ? GPU_AMD : GPU_NVIDIA, bytes)->tells_bytes =
            tells;
    }
    s->machine->slowness_ms = scene_below(s, 60);
}

static bool is_mixed(const struct scene *s)
{
    return s->machine->count > 1 && s->machine->devices[1].facts.vendor == GPU_AMD;
}

static char *random_devices(struct scene *s)
{
    if (is_mixed(s) || !scene_one_in(s, 5)) {
        return xstrdup("");
    }
    if (s->machine->count > 1 && scene_one_in(s, 3)) {
        return xstrdup(",\"gpu_devices\":[0,1]");
    }
    return xasprintf(",\"gpu_devices\":[%u]", (unsigned)scene_below(s, s->machine->count));
}

static char *random_definition(struct scene *s, struct subject *of)
{
    static const char *const stays[] = {
        "", "", "", ",\"keep_alive\":\"20s\"", ",\"keep_alive\":0", ",\"keep_alive\":\"90s\""
    };
    _cleanup_(freep) char *devices = random_devices(s);

    if (of->declared_bytes == 0 || scene_one_in(s, 3)) {
        of->declared_bytes = (1 + scene_below(s, scene_one_in(s, 4) ? 60 : 24)) * GIB;
        of->percent = s->exact ? 100 : 80 + (unsigned)scene_below(s, 41);
        of->fails = !s->exact && scene_one_in(s, 25);
        of->version = ++s->versions; /* what takes more is run by another command */
    }
    return xasprintf("\"priority\":%u,\"pinned\":%s,\"replicas\":%u,\"on_demand\":%s,"
                     "\"parameters\":{\"parallel\":2,\"ctx_size\":%u}%s%s",
                     1 + (unsigned)scene_below(s, scene_one_in(s, 2) ? 3 : 10),
                     scene_one_in(s, 10) ? "true" : "false",
                     scene_one_in(s, 5) ? 1 + (unsigned)scene_below(s, REPLICAS) : 1,
                     scene_one_in(s, 8) ? "false" : "true", 1024 + of->version, devices,
                     stays[scene_below(s, ARRAY_SIZE(stays))]);
}

/* ---- what happens ---- */

static void add(struct scene *s, struct subject *of)
{
    _cleanup_(freep) char *members = random_definition(s, of);

    subject_add(s, of, members);
    if (scene_one_in(s, 2)) {
        subject_want(s, of, true);
    }
}

static void change(struct scene *s, struct subject *of)
{
    _cleanup_(freep) char *members = random_definition(s, of);

    subject_update(s, of, members);
}

static void schedule_some(struct scene *s, struct subject *of)
{
    const struct placement_ask ask = {
        .model_id = scene_one_in(s, 30) ? 4711 : of->id,
        .priority = scene_one_in(s, 3) ? 1 + (int)scene_below(s, 10) : 0,
        .force = s->forces && scene_one_in(s, 4),
        .allow_preemption = !scene_one_in(s, 3),
        .dry_run = scene_one_in(s, 4),
    };

    schedule(s, &ask);
}

static void step_model(struct scene *s, struct subject *of)
{
    switch (scene_below(s, 14)) {
    case 0:
    case 1:
    case 2:
        subject_want(s, of, true);
        break;
    case 3:
    case 4:
        subject_want(s, of, false);
        break;
    case 5:
    case 6:
        change(s, of);
        break;
    case 7:
        subject_remove(s, of);
        break;
    case 8:
        engines_restart(s->engines, of->id);
        break;
    case 9:
        engines_retry(s->engines, of->id);
        break;
    case 10:
        placement_let_go(s->placement, of->id);
        break;
    default:
        schedule_some(s, of);
        break;
    }
}

static void burst(struct scene *s, struct subject *of)
{
    for (uint64_t n = 1 + scene_below(s, 8); n > 0; n--) {
        struct subject *whom = scene_one_in(s, 2) ? of : &s->subjects[scene_below(s, SUBJECTS)];

        if (whom->id) {
            client_ask(s, whom, 1 + scene_below(s, scene_one_in(s, 6) ? 60000 : 5000),
                       scene_one_in(s, 3) ? 1 + scene_below(s, 20000) : 0);
        }
    }
}

static void trouble_device(struct scene *s)
{
    struct sim_device *d = &s->machine->devices[scene_below(s, s->machine->count)];
    struct sim_engine *engine, *tmp;

    if (s->exact || scene_one_in(s, 3)) {
        d->present = !d->present;
        list_for_each_safe (engine, tmp, &s->engines_alive, node) {
            for (unsigned i = 0; i < engine->device_count && !d->present; i++) {
                if (&s->machine->devices[engine->devices[i]] == d) {
                    engine_kill(engine); /* it cannot go on without it */
                    break;
                }
            }
        }
        return;
    }
    sim_machine_release(s->machine, d->facts.index + 1, 0); /* the foreign process there */
    if (scene_one_in(s, 2)) {
        const uint64_t bytes = scene_below(s, sim_device_free(d) / MIB + 1) * MIB;

        assert_true(!d->present || sim_device_take(d, d->facts.index + 1, bytes));
    }
}

static void on_rules(void *arg, int result, const struct error *e)
{
    assert_true(result == 0 || result == -ECANCELED);
}

static void change_rules(struct scene *s)
{
    struct placement_rules rules = *placement_rules(s->placement);
    struct error e = { 0 };

    rules.algorithm = (enum policy_algorithm)scene_below(s, POLICY_ALGORITHM_MAX_);
    rules.preemption_enabled = !scene_one_in(s, 4);
    rules.auto_recovery_enabled = !scene_one_in(s, 4);
    rules.resource_threshold = 0.5 + (double)scene_below(s, 6) / 10;
    rules.scheduling_interval_s = 10 + (int)scene_below(s, 60);
    if (placement_set_rules(s->placement, &rules, on_rules, s, &e) < 0) {
        complain(s, "the rules are refused: %s", e.text);
    }
}

static void hurt_engine(struct scene *s, struct subject *of)
{
    struct sim_engine *engine = engine_of(s, of);

    if (engine && scene_one_in(s, 2)) {
        engine->hung = true;
    } else if (engine) {
        engine_kill(engine);
    }
}

static void kill_berth(struct scene *s)
{
    if (!s->down) {
        house_kill(s, scene_one_in(s, 2));
    }
    if (scene_one_in(s, 2)) { /* while nobody looks */
        sim_run_for(s->world, scene_below(s, 5000));
        if (!list_empty(&s->engines_alive) && scene_one_in(s, 2)) {
            engine_kill(list_first(&s->engines_alive, struct sim_engine, node));
        }
    }
    house_revive(s);
}

static void step_world(struct scene *s, struct subject *of)
{
    switch (scene_below(s, 12)) {
    case 0:
        kill_berth(s);
        break;
    case 1:
        s->kill_at = s->write_count + 1 + (unsigned)scene_below(s, 12);
        break;
    case 2:
        if (scene_one_in(s, 4)) {
            house_restart(s);
        }
        break;
    case 3:
    case 4:
    case 5:
        trouble_device(s);
        break;
    case 6:
        change_rules(s);
        break;
    default:
        hurt_engine(s, of);
        break;
    }
}

static uint64_t random_pause(struct scene *s)
{
    return scene_one_in(s, 4)   ? 0
           : scene_one_in(s, 3) ? scene_below(s, 100)
           : scene_one_in(s, 5) ? scene_below(s, 60000)
                                : scene_below(s, 5000);
}

static void step(struct scene *s)
{
    struct subject *of = &s->subjects[scene_below(s, SUBJECTS)];

    if (scene_one_in(s, 4)) {
        burst(s, of);
    } else if (scene_one_in(s, 5)) {
        step_world(s, of);
    } else if (!of->id) {
        add(s, of);
    } else {
        step_model(s, of);
    }
    if (house_run(s, random_pause(s))) {
        kill_berth(s);
    }
}

/* ---- the end ---- */

static void calm(struct scene *s)
{
    s->roll = roll_kindly;
    s->kill_at = 0;
    for (unsigned i = 0; i < s->machine->count; i++) {
        s->machine->devices[i].present = true;
        sim_machine_release(s->machine, i + 1, 0);
    }
    sim_machine_flush(s->machine);
    for (size_t i = 0; i < SUBJECTS; i++) {
        s->subjects[i].fails = false;
        s->subjects[i].percent = MIN_OF(s->subjects[i].percent, 100U);
    }
}

static void end_requests(struct scene *s)
{
    if (!await(s, everybody_is_done, NULL, 4 * QUEUE_TIMEOUT_MS)) {
        complain(s, "a request, or somebody who asks for a place, has no end");
    }
    for (size_t i = 0; i < SUBJECTS; i++) {
        struct dispatch_load load = { 0 };

        if (s->subjects[i].id) {
            load = dispatch_model_load(s->dispatch, s->subjects[i].id);
            assert_int_equal(load.in_flight + load.waiting, 0);
            assert_int_equal(load.tokens, 0);
        }
    }
}

/* Somebody has a place that is not free yet. */
static bool is_moving(struct scene *s)
{
    struct placement_waiting w;
    size_t cursor = 0;

    while (placement_next_waiting(s->placement, &cursor, &w)) {
        if (w.reserved) {
            return true;
        }
    }
    for (unsigned i = 0; i < s->machine->count; i++) {
        struct placement_room room = { 0 };

        if (placement_room(s->placement, (int)i, &room) && room.held_bytes > 0) {
            return true;
        }
    }
    return false;
}

/* Everything is as it was wished, or says why not; and that is true. */
static void check_wishes(struct scene *s)
{
    const struct instance *in;
    struct placement_waiting w;
    size_t cursor = 0;

    for (size_t i = 0; i < SUBJECTS; i++) {
        const struct subject *of = &s->subjects[i];
        const struct model *model = subject_model(s, of);
        size_t all = model ? count_instances(s, of, INSTANCE_STATE_MAX_) : 0;
        size_t settled = model ? count_instances(s, of, INSTANCE_READY) +
                                     count_instances(s, of, INSTANCE_WAITING) +
                                     count_instances(s, of, INSTANCE_FAILED)
                               : 0;

        if (model && all != (model->wanted ? (size_t)model->config->replicas : 0)) {
            complain(s, "%s has %zu instances", of->name, all);
        }
        if (settled != all) {
            complain(s, "%s does not settle", of->name);
        }
    }
    while (!is_moving(s) && placement_next_waiting(s->placement, &cursor, &w)) {
        in = engines_find(s->engines, w.uuid);
        if (str_eq(w.reason, policy_reason_name(POLICY_RECOVERY_OFF)) ||
            str_eq(w.reason, policy_reason_name(POLICY_HELD_BACK))) {
            continue;
        }
        if (in && in->state == INSTANCE_WAITING && has_room(s, in, false)) {
            complain(s, "%s waits beside room that it could have: %s",
                     subject_of(s, w.model_id)->name, w.sentence);
        }
        if (in && in->state == INSTANCE_WAITING &&
            placement_rules(s->placement)->preemption_enabled &&
            str_eq(w.reason, policy_reason_name(POLICY_NO_ROOM)) && has_room(s, in, true)) {
            complain(s, "%s waits for lesser ones: %s", subject_of(s, w.model_id)->name,
                     w.sentence);
        }
    }
}

static bool nothing_is_held(struct scene *s, void *arg)
{
    for (unsigned i = 0; i < s->machine->count; i++) {
        struct placement_room room = { 0 };
        const struct instance *in;
        uint64_t reserved = 0;
        size_t cursor = 0;

        while ((in = engines_next(s->engines, &cursor))) {
            reserved += place_bytes_on(&in->place, (int)i);
        }
        assert_true(placement_room(s->placement, (int)i, &room));
        if (room.held_bytes || room.other_bytes > excess_on(s, (int)i) + 64 * MIB ||
            room.reserved_bytes != reserved) {
            return false;
        }
    }
    return true;
}

static void settle(struct scene *s)
{
    calm(s);
    end_requests(s);
    sim_run_for(s->world, 90 * 1000);
    for (size_t i = 0; i < SUBJECTS; i++) {
        if (subject_wanted(s, &s->subjects[i])) {
            engines_retry(s->engines, s->subjects[i].id);
        }
    }
    sim_run_for(s->world, 120 * 1000);
    check_wishes(s);
    if (!await(s, nothing_is_held, NULL, 60 * 1000)) { /* one may just be unloaded for idleness */
        complain(s, "the devices do not come to rest");
    }
    judge(s);
}

/* Nobody is wanted any more: nothing is left. */
static void end(struct scene *s)
{
    for (size_t i = 0; i < SUBJECTS; i++) {
        if (s->subjects[i].id) {
            subject_want(s, &s->subjects[i], false);
        }
    }
    sim_run_for(s->world, 90 * 1000);
    assert_int_equal(sim_live_processes(s->world), 0);
    for (unsigned i = 0; i < s->machine->count; i++) {
        struct placement_room room = { 0 };

        assert_true(placement_room(s->placement, (int)i, &room));
        if (room.reserved_bytes || room.held_bytes || sim_device_used(&s->machine->devices[i])) {
            complain(s, "something is left on device %u", i);
        }
    }
    assert_int_equal(store_figures(s->store).waiting, 0);
}

static void run_history(uint64_t seed)
{
    struct scene *s = house_create(seed);

    s->exact = scene_one_in(s, 3);
    s->forces = scene_one_in(s, 3);
    s->roll = roll;
    add_devices(s);
    house_open(s);
    for (int i = 0; i < STEPS; i++) {
        step(s);
    }
    settle(s);
    end(s);
    house_close(s);
}

static void test_histories(void **state)
{
    run_histories("sim/placement", 300, run_history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_histories, tell_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
