// SPDX-License-Identifier: Apache-2.0
/*
 * The races that are known to be hard, one test each, in the world of test_placement.c: a request
 * during an unload, two loads at once, eviction of what still loads, a client that goes while its
 * model loads, a model deleted or stopped while it starts, berth killed at every commit of a swap.
 * Each is tried at many moments, since what goes wrong does so at one of them.
 */
#include "placement_scene.h"

#include <errno.h>

enum { A, B, C };

/* ---- a machine on which one of A and B fits, and C beside it ---- */

static void load_slowly(struct scene *s, struct behaviour *b)
{
    *b = (struct behaviour){ .load_ms = 5000, .linger_ms = 3000 };
}

static struct scene *open_scene(uint64_t seed)
{
    struct scene *s = house_create(seed);

    s->exact = true;
    s->roll = load_slowly;
    sim_machine_add(s->machine, GPU_NVIDIA, 24 * GIB);
    house_open(s);
    s->subjects[A].declared_bytes = s->subjects[B].declared_bytes = 14 * GIB;
    s->subjects[C].declared_bytes = 4 * GIB;
    for (size_t i = 0; i < SUBJECTS; i++) {
        s->subjects[i].percent = 100;
    }
    return s;
}

static struct subject *add(struct scene *s, size_t i, int priority)
{
    _cleanup_(freep) char *members = xasprintf("\"priority\":%d", priority);

    subject_add(s, &s->subjects[i], members);
    return &s->subjects[i];
}

static struct subject *load(struct scene *s, size_t i, int priority)
{
    struct subject *of = add(s, i, priority);

    subject_want(s, of, true);
    await_state(s, of, INSTANCE_READY, 1, 20 * 1000);
    sim_run_for(s->world, MIN_RESIDENCY_MS);
    return of;
}

/* One swap, told as one: nobody's place was taken back meanwhile, nobody was refused. */
static void check_one_swap(struct scene *s)
{
    sim_run_for(s->world, 1000);
    judge(s);
    assert_int_equal(s->told[EVENT_MODEL_PREEMPTED], 1);
    assert_int_equal(s->told[EVENT_MODEL_PLACED], 2);
    assert_int_equal(s->told[EVENT_MODEL_RECOVERED], 1);
    assert_int_equal(s->told[EVENT_MODEL_SWAPPED], 0);
    assert_int_equal(s->told[EVENT_PLACEMENT_FAILED], 0);
}

/* Everything that was asked has its end; the stored events and the history are in order. */
static void close_scene(struct scene *s)
{
    if (!await(s, everybody_is_done, NULL, 2 * QUEUE_TIMEOUT_MS)) {
        complain(s, "somebody waits for ever");
    }
    sim_run_for(s->world, 60 * 1000);
    judge(s);
    for (size_t i = 0; i < SUBJECTS; i++) {
        if (s->subjects[i].id) {
            subject_want(s, &s->subjects[i], false);
        }
    }
    sim_run_for(s->world, 60 * 1000);
    assert_int_equal(sim_live_processes(s->world), 0);
    assert_int_equal(sim_device_used(&s->machine->devices[0]), 0);
    house_close(s);
}

/* ---- a request arrives during unload ---- */

/* It is let go while a request is worked on; the next one finds it draining, and is served, with
 * not one more load. */
static void test_request_while_it_is_let_go(void **state)
{
    for (uint64_t late = 0; late < 60; late += 3) {
        struct scene *s = open_scene(late + 1);
        struct subject *a = add(s, A, 5);

        client_ask(s, a, 8000, 0);
        await_state(s, a, INSTANCE_READY, 1, 20 * 1000);
        placement_let_go(s->placement, a->id);
        sim_run_for(s->world, 7990 + late);
        client_ask(s, a, 100, 0);
        assert_true(await(s, everybody_is_done, NULL, 30 * 1000));
        assert_int_equal(s->granted, 2);
        assert_int_equal(s->refused, 0);
        assert_in_range(s->starts, 1, 2);
        close_scene(s);
    }
}

/* It is moved aside; whoever asks for it meanwhile waits until it is back. */
static void test_request_while_it_is_moved_aside(void **state)
{
    for (uint64_t late = 0; late < 9000; late += 450) {
        struct scene *s = open_scene(late + 1);
        struct subject *a = load(s, A, 3), *b = add(s, B, 8);

        client_ask(s, a, 4000, 0);
        subject_want(s, b, true);
        sim_run_for(s->world, late);
        client_ask(s, a, 100, 0);
        await_state(s, b, INSTANCE_READY, 1, 30 * 1000);
        subject_want(s, b, false);
        await_state(s, a, INSTANCE_READY, 1, 30 * 1000);
        assert_true(await(s, everybody_is_done, NULL, 1000));
        assert_int_equal(s->granted, 2);
        assert_int_equal(s->refused, 0);
        check_one_swap(s);
        close_scene(s);
    }
}

/* ---- two loads at once ---- */

static bool both_are_up(struct scene *s, void *arg)
{
    return count_instances(s, &s->subjects[A], INSTANCE_READY) == 1 &&
           count_instances(s, &s->subjects[C], INSTANCE_READY) == 1;
}

static void test_two_that_fit_are_loaded_one_after_the_other(void **state)
{
    struct scene *s = open_scene(1);

    add(s, A, 5);
    add(s, C, 5);
    subject_want(s, &s->subjects[A], true);
    subject_want(s, &s->subjects[C], true);
    sim_run_for(s->world, 2000);
    assert_int_equal(s->starts, 1);
    assert_true(await(s, both_are_up, NULL, 30 * 1000));
    assert_int_equal(s->starts, 2);
    close_scene(s);
}

static void test_two_of_which_one_fits(void **state)
{
    struct scene *s = open_scene(1);

    add(s, A, 5);
    add(s, B, 5);
    subject_want(s, &s->subjects[A], true);
    subject_want(s, &s->subjects[B], true);
    sim_run_for(s->world, 30 * 1000);
    assert_int_equal(s->starts, 1);
    assert_int_equal(count_instances(s, &s->subjects[A], INSTANCE_READY) +
                         count_instances(s, &s->subjects[B], INSTANCE_READY),
                     1);
    assert_int_equal(count_instances(s, &s->subjects[A], INSTANCE_WAITING) +
                         count_instances(s, &s->subjects[B], INSTANCE_WAITING),
                     1);
    close_scene(s);
}

static void test_the_same_one_is_asked_for_twice(void **state)
{
    struct scene *s = open_scene(1);
    struct subject *a = add(s, A, 5);

    schedule(s, &(struct placement_ask){ .model_id = a->id, .allow_preemption = true });
    schedule(s, &(struct placement_ask){ .model_id = a->id, .allow_preemption = true });
    assert_true(await(s, everybody_is_done, NULL, 1000));
    await_state(s, a, INSTANCE_READY, 1, 20 * 1000);
    assert_int_equal(s->starts, 1);
    assert_int_equal(s->answered, 2);
    close_scene(s);
}

/* ---- what still loads is moved aside ---- */

static void test_eviction_while_it_loads(void **state)
{
    for (uint64_t late = 0; late < 5200; late += 173) {
        struct scene *s = open_scene(late + 1);
        struct subject *a = add(s, A, 3), *b = add(s, B, 8);

        subject_want(s, a, true);
        sim_run_for(s->world, late);
        subject_want(s, b, true);
        await_state(s, b, INSTANCE_READY, 1, 60 * 1000);
        await_state(s, a, INSTANCE_WAITING, 1, 1000);
        subject_want(s, b, false);
        await_state(s, a, INSTANCE_READY, 1, 60 * 1000);
        if (late > 0) {
            check_one_swap(s);
        }
        close_scene(s);
    }
}

/* ---- a client goes while its model loads ---- */

static void test_client_goes_while_its_model_loads(void **state)
{
    for (uint64_t patience = 1; patience < 5200; patience += 211) {
        struct scene *s = open_scene(patience);
        struct subject *a = &s->subjects[A];

        subject_add(s, a, "\"keep_alive\":\"10s\"");
        client_ask(s, a, 100, patience);
        sim_run_for(s->world, 4000 + patience);
        assert_true(await(s, everybody_is_done, NULL, 10 * 1000));
        assert_int_equal(dispatch_model_load(s->dispatch, a->id).waiting, 0);
        sim_run_for(s->world, 60 * 1000);
        assert_false(subject_wanted(s, a));
        await_state(s, a, INSTANCE_STATE_MAX_, 0, 1000);
        close_scene(s);
    }
}

/* ---- deleted, stopped while it starts; the next one has its place ---- */

static void try_to_end(uint64_t late, bool removes)
{
    struct scene *s = open_scene(late + 1);
    struct subject *a = add(s, A, 5), *b = add(s, B, 5);

    subject_want(s, a, true);
    sim_run_for(s->world, 1);
    subject_want(s, b, true);
    sim_run_for(s->world, late);
    if (removes) {
        subject_remove(s, a);
    } else {
        subject_want(s, a, false);
    }
    await_state(s, b, INSTANCE_READY, 1, 60 * 1000);
    assert_null(engine_of(s, a));
    assert_false(subject_wanted(s, a));
    close_scene(s);
}

static void test_deleted_while_it_starts(void **state)
{
    for (uint64_t late = 0; late < 5200; late += late < 10 ? 1 : 307) {
        try_to_end(late, true);
    }
}

static void test_stopped_while_it_starts(void **state)
{
    for (uint64_t late = 0; late < 5200; late += late < 10 ? 1 : 307) {
        try_to_end(late, false);
    }
}

static void test_stopped_and_started_while_it_starts(void **state)
{
    for (uint64_t late = 0; late < 5200; late += late < 10 ? 1 : 307) {
        struct scene *s = open_scene(late + 1);
        struct subject *a = add(s, A, 5);

        subject_want(s, a, true);
        sim_run_for(s->world, late);
        subject_want(s, a, false);
        sim_run_for(s->world, late % 5);
        subject_want(s, a, true);
        await_state(s, a, INSTANCE_READY, 1, 60 * 1000);
        close_scene(s);
    }
}

/* ---- berth is killed in the middle of a swap ---- */

static bool swap_is_done(struct scene *s, void *arg)
{
    return !s->down && count_instances(s, &s->subjects[B], INSTANCE_READY) == 1;
}

/* B comes, A goes; killed at the n-th write from there on, with or without what it had submitted.
 * False: there is no n-th. */
static bool try_to_kill(unsigned n, bool keeps)
{
    struct scene *s = open_scene(n);
    struct subject *a = load(s, A, 3), *b = add(s, B, 8);
    bool killed;

    client_ask(s, a, 2000, 0);
    s->kill_keeps = keeps;
    s->kill_at = s->write_count + n;
    subject_want(s, b, true);
    killed = house_run(s, 40 * 1000);
    s->kill_at = 0;
    if (killed) {
        sim_run_for(s->world, n % 3 * 1000);
        house_revive(s);
    }
    if (killed && !subject_wanted(s, b)) {
        subject_want(s, b, true); /* that was lost */
    }
    if (!await(s, swap_is_done, NULL, 60 * 1000)) {
        complain(s, "killed at write %u: the swap is not completed", n);
    }
    await_state(s, a, INSTANCE_WAITING, 1, 10);
    assert_non_null(engine_of(s, b));
    assert_null(engine_of(s, a));
    subject_want(s, b, false);
    await_state(s, a, INSTANCE_READY, 1, 60 * 1000);
    close_scene(s);
    return killed;
}

static void test_berth_is_killed_at_every_commit_of_a_swap(void **state)
{
    for (int keeps = 0; keeps < 2; keeps++) {
        unsigned n = 1;

        while (try_to_kill(n, keeps)) {
            n++;
        }
        assert_true(n > 8); /* a swap has at least so many */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_while_it_is_let_go),
        cmocka_unit_test(test_request_while_it_is_moved_aside),
        cmocka_unit_test(test_two_that_fit_are_loaded_one_after_the_other),
        cmocka_unit_test(test_two_of_which_one_fits),
        cmocka_unit_test(test_the_same_one_is_asked_for_twice),
        cmocka_unit_test(test_eviction_while_it_loads),
        cmocka_unit_test(test_client_goes_while_its_model_loads),
        cmocka_unit_test(test_deleted_while_it_starts),
        cmocka_unit_test(test_stopped_while_it_starts),
        cmocka_unit_test(test_stopped_and_started_while_it_starts),
        cmocka_unit_test(test_berth_is_killed_at_every_commit_of_a_swap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
