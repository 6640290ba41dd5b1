// SPDX-License-Identifier: Apache-2.0
/*
 * An engine that answers its probe and gets nowhere; what it tells of itself; ports that are chosen
 * for it; and that its model's health_check rules.
 */
#include "rig.h"

#include <stdlib.h>

#include "base/mem.h"

/* Its driver knows only the bytes of streams. */
#define BY_COMMAND                                                                                 \
    "\"framework\":\"command\",\"model_path\":\"x\",\"parameters\":{\"command\":"                  \
    "\"/bin/true --alias ${MODEL_ID} --host 127.0.0.1 --port ${PORT}\"}"

static struct rig *rig;
static char uuid[UUID_SIZE];

static int set_up(void **state)
{
    static const char *const settings[] = { "BERTH_ENGINES_STALL_TIMEOUT=40s", NULL };

    rig = rig_create(1, settings);
    return 0;
}

static int tear_down(void **state)
{
    rig_destroy(rig);
    return 0;
}

static int64_t add_ready(const char *members)
{
    int64_t id = rig_add_model(rig, "m", members);

    strcpy(uuid, rig_await(rig, id, INSTANCE_READY, 1000)->uuid);
    return id;
}

static void pass(uint64_t seconds)
{
    sim_run_for(rig->world, seconds * 1000);
}

/* ---- hung by progress */

static void test_no_progress_is_hung_although_it_answers(void **state)
{
    int64_t id = add_ready(NULL);
    const struct instance *pub;
    char *metrics;

    engines_note_work(rig->engines, uuid, 1, false);
    engines_note_work(rig->engines, uuid, 1, true);
    pass(39);
    assert_string_equal(rig->trail, "waiting starting ready");
    rig_await(rig, id, INSTANCE_STARTING, 1100);
    pub = rig_await(rig, id, INSTANCE_READY, 1000);
    assert_string_equal(pub->last_error, "hung: it worked on 2 requests and made no progress for "
                                         "40 s (its health probe still answers)");
    assert_string_equal(rig->trail,
                        "waiting starting ready stopping backoff waiting starting ready");
    metrics = rig_metrics(rig);
    assert_contains(metrics, "berth_instance_failures_total{model=\"m\",reason=\"hung\"} 1");
    free(metrics);
}

static void test_hung_says_nothing_of_probes_that_were_not_made(void **state)
{
    int64_t id = add_ready("\"health_check\":{\"enabled\":false}");

    pass(10);
    engines_note_work(rig->engines, uuid, 1, true);
    rig_await(rig, id, INSTANCE_STARTING, 41 * 1000);
    assert_string_equal(engines_of_model(rig->engines, id)->last_error,
                        "hung: it worked on 1 request and made no progress for 40 s");
}

static void test_idle_is_not_hung(void **state)
{
    add_ready(NULL);
    engines_note_work(rig->engines, uuid, 1, true);
    pass(30);
    engines_note_work(rig->engines, uuid, -1, true);
    pass(3600);
    engines_note_work(rig->engines, uuid, -1, true); /* of an earlier life: never below none */
    engines_note_work(rig->engines, uuid, 1, true);
    pass(30);
    assert_string_equal(rig->trail, "waiting starting ready");
    pass(15);
    assert_contains(rig->trail, "ready stopping");
}

static void test_bytes_are_progress(void **state)
{
    add_ready(NULL);
    engines_note_work(rig->engines, uuid, 1, true);
    for (int i = 0; i < 20; i++) {
        pass(35);
        engines_note_progress(rig->engines, uuid);
    }
    assert_string_equal(rig->trail, "waiting starting ready");
    pass(41);
    assert_contains(rig->trail, "ready stopping");
}

static void test_its_number_is_progress(void **state)
{
    add_ready(NULL);
    engines_note_work(rig->engines, uuid, 1, false);
    for (int i = 0; i < 100; i++) {
        rig_engine(rig, "m")->progress++; /* a long prompt: no byte, but it goes on */
        pass(5);
    }
    assert_string_equal(rig->trail, "waiting starting ready");
    pass(60);
    assert_contains(rig->trail, "ready stopping");
}

static void test_number_of_before_the_last_byte_tells_nothing(void **state)
{
    add_ready(NULL);
    engines_note_work(rig->engines, uuid, 1, true);
    pass(15); /* its number was asked for */
    rig_engine(rig, "m")->progress = 77;
    engines_note_progress(rig->engines, uuid);
    pass(39);
    assert_string_equal(rig->trail, "waiting starting ready");
    pass(2);
    assert_contains(rig->trail, "ready stopping");
}

static void test_its_number_is_asked_only_when_no_byte_comes(void **state)
{
    add_ready("\"health_check\":{\"enabled\":false}");
    pass(100);
    rig_engine(rig, "m")->asked = 0;
    engines_note_work(rig->engines, uuid, 1, true);
    for (int i = 0; i < 100; i++) {
        pass(1);
        engines_note_progress(rig->engines, uuid);
    }
    assert_int_equal(rig_engine(rig, "m")->asked, 0);
    pass(39);
    assert_in_range(rig_engine(rig, "m")->asked, 2, 3);
    assert_contains(rig_engine(rig, "m")->request, "GET /slots HTTP/1.1\r\n");
}

static void test_without_a_number_only_streams_are_judged(void **state)
{
    add_ready(BY_COMMAND);
    engines_note_work(rig->engines, uuid, 1, false);
    pass(600);
    assert_string_equal(rig->trail, "waiting starting ready");
    engines_note_work(rig->engines, uuid, 1, true);
    pass(39);
    assert_string_equal(rig->trail, "waiting starting ready");
    pass(2);
    assert_contains(rig->trail, "ready stopping");
}

/* llama-server --no-slots: that it does not tell is no sign of a hang. */
static void test_who_refuses_to_tell_is_judged_by_streams_only(void **state)
{
    add_ready(NULL);
    rig_engine(rig, "m")->slots_status = 501;
    engines_note_work(rig->engines, uuid, 1, false);
    pass(600);
    assert_string_equal(rig->trail, "waiting starting ready");
    engines_note_work(rig->engines, uuid, 1, true);
    pass(39);
    assert_string_equal(rig->trail, "waiting starting ready");
    pass(2);
    assert_contains(rig->trail, "ready stopping");
}

/* Any other failure of the question is one more sign that it is stuck. */
static void test_failing_to_tell_is_no_refusal(void **state)
{
    add_ready(NULL);
    rig_engine(rig, "m")->slots_status = 500;
    engines_note_work(rig->engines, uuid, 1, false);
    pass(41);
    assert_contains(rig->trail, "ready stopping");
}

static void test_stall_while_it_drains_is_the_drains_affair(void **state)
{
    int64_t id = add_ready(NULL);

    engines_note_work(rig->engines, uuid, 1, true);
    pass(30);
    rig->drains = false;
    rig_want(rig, id, false);
    pass(20);
    assert_string_equal(rig->trail, "waiting starting ready draining");
    rig_want(rig, id, true);
    pass(39);
    assert_string_equal(rig->trail, "waiting starting ready draining ready");
    pass(2);
    assert_contains(rig->trail, "draining ready stopping");
}

/* B.16 11: its probe and its progress tell of the same hang in the same second. */
static void test_hung_by_every_sign_is_ended_once(void **state)
{
    add_ready("\"health_check\":{\"interval\":10,\"timeout\":1,\"max_failures\":4}");
    rig_engine(rig, "m")->hung = true;
    engines_note_work(rig->engines, uuid, 1, true);
    pass(50);
    engines_note_work(rig->engines, uuid, -1, true);
    pass(200);
    assert_string_equal(rig->trail,
                        "waiting starting ready stopping backoff waiting starting ready");
    assert_int_equal(rig->starts, 2);
    assert_int_equal(rig_count_alive(rig, "m"), 1);
}

/* ---- what it tells of itself */

struct told {
    int slots[8];
    size_t count;
};

static void on_change(void *owner, const void *what)
{
    struct told *t = owner;
    const struct instance_change *c = what;

    if (c->from == INSTANCE_READY && c->to == INSTANCE_READY) {
        assert_true(t->count < ARRAY_SIZE(t->slots));
        t->slots[t->count++] = (int)c->instance->slots;
    }
}

static void test_other_slots_are_told(void **state)
{
    struct told told = { .count = 0 };
    struct listener listener = { .fn = on_change, .owner = &told };
    int64_t id;

    notify_add(engines_signal(rig->engines), &listener);
    rig->behaviour.slots = 2;
    id = add_ready(NULL);
    pass(1);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.slots[0], 2);
    pass(100);
    assert_int_equal(told.count, 1);
    rig_engine(rig, "m")->behaviour.slots = 8;
    pass(31);
    assert_int_equal(told.count, 2);
    assert_int_equal(told.slots[1], 8);
    assert_int_equal(engines_of_model(rig->engines, id)->weight, 8);
    notify_remove(&listener);
}

static void test_sleeping_is_seen_and_left_in_peace(void **state)
{
    int64_t id = add_ready(NULL);

    assert_false(engines_of_model(rig->engines, id)->sleeping);
    rig_engine(rig, "m")->asleep = true;
    pass(31);
    assert_true(engines_of_model(rig->engines, id)->sleeping);
    /* The rig's engine objects when it is asked for its progress. It may load anew: 300 s more. */
    engines_note_work(rig->engines, uuid, 1, true);
    pass(330);
    assert_string_equal(rig->trail, "waiting starting ready");
    engines_note_progress(rig->engines, uuid);
    assert_false(engines_of_model(rig->engines, id)->sleeping);
}

/* ---- ports */

static void test_port_is_chosen_and_kept(void **state)
{
    int64_t id = add_ready(BY_COMMAND);
    const struct instance *pub = engines_find(rig->engines, uuid);
    uint16_t port = pub->address.port;

    assert_false(pub->address.is_unix);
    assert_string_equal(pub->address.host, "127.0.0.1");
    assert_int_not_equal(port, 0);
    assert_int_equal(rig_engine(rig, "m")->address.port, port);
    sim_process_exit(rig_engine(rig, "m")->process, 0, 9); /* it ran well there */
    rig_await(rig, id, INSTANCE_STARTING, 100);
    assert_int_equal(rig_await(rig, id, INSTANCE_READY, 1000)->address.port, port);
    rig_crash(rig);
    rig_recover(rig);
    pub = rig_await(rig, id, INSTANCE_READY, 1000);
    assert_true(pub->adopted);
    assert_int_equal(pub->address.port, port);
    rig_update_model(rig, id, "m", BY_COMMAND ",\"aliases\":[\"other\"]");
    pass(10);
    assert_int_equal(rig->starts, 2); /* its command would be the same */
}

static void test_next_start_takes_another_port(void **state)
{
    uint16_t first;
    int64_t id;

    rig->behaviour = (struct behaviour){ .load_ms = 1000, .end_after_ms = 30, .end_code = 1 };
    id = rig_add_model(rig, "m", BY_COMMAND);
    first = rig_await(rig, id, INSTANCE_BACKOFF, 1000)->address.port;
    rig_await(rig, id, INSTANCE_STARTING, 10 * 1000);
    assert_int_not_equal(rig_await(rig, id, INSTANCE_BACKOFF, 1000)->address.port, first);
}

static void test_replicas_have_different_ports(void **state)
{
    int64_t id = rig_add_model(rig, "m", BY_COMMAND ",\"replicas\":3");

    rig_await_all(rig, id, INSTANCE_READY, 3, 1000);
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned k = 0; k < i; k++) {
            assert_int_not_equal(rig_replica(rig, "m", i)->address.port,
                                 rig_replica(rig, "m", k)->address.port);
        }
    }
}

/* It had run well there, but meanwhile somebody else has taken the port. */
static void test_port_that_was_taken_meanwhile_is_given_up(void **state)
{
    int64_t id = add_ready(BY_COMMAND);
    uint16_t port = engines_find(rig->engines, uuid)->address.port;
    struct sim_engine *other;

    sim_process_exit(rig_engine(rig, "m")->process, 0, 9);
    other = rig_open_endpoint(rig, port);
    assert_int_not_equal(rig_await(rig, id, INSTANCE_STARTING, 100)->address.port, port);
    rig_await(rig, id, INSTANCE_READY, 1000);
    rig_close_endpoint(other);
}

/* ---- health_check of the model: each member rules */

static unsigned probes_within(uint64_t seconds)
{
    unsigned before = rig_engine(rig, "m")->asked;

    pass(seconds);
    return rig_engine(rig, "m")->asked - before;
}

/* The command driver: one request a probe. */
static void test_interval_is_the_models(void **state)
{
    add_ready(BY_COMMAND ",\"health_check\":{\"interval\":7}");
    assert_in_range(probes_within(70), 9, 10);
}

static void test_disabled_means_never_asked(void **state)
{
    add_ready(BY_COMMAND ",\"health_check\":{\"enabled\":false,\"interval\":1}");
    assert_int_equal(probes_within(600), 0);
    rig_engine(rig, "m")->hung = true;
    pass(600);
    assert_string_equal(rig->trail, "waiting starting ready");
}

static void test_timeout_is_the_models(void **state)
{
    add_ready("\"health_check\":{\"interval\":100,\"timeout\":50,\"max_failures\":1}");
    rig_engine(rig, "m")->hung = true;
    pass(145);
    assert_string_equal(rig->trail, "waiting starting ready");
    pass(10);
    assert_contains(rig->trail, "ready stopping");
}

static void test_max_failures_are_the_models(void **state)
{
    int64_t id = add_ready("\"health_check\":{\"interval\":10,\"timeout\":1,\"max_failures\":5}");

    rig_engine(rig, "m")->status = 500;
    pass(45);
    assert_string_equal(rig->trail, "waiting starting ready");
    rig_engine(rig, "m")->status = 200; /* only those in a row count */
    pass(10);
    rig_engine(rig, "m")->status = 500;
    pass(44);
    assert_string_equal(rig->trail, "waiting starting ready");
    rig_await(rig, id, INSTANCE_STARTING, 7000);
    assert_contains(rig_await(rig, id, INSTANCE_READY, 1000)->last_error,
                    "5 health probes in a row failed (it answered with status 500)");
}

static void test_endpoint_is_the_models(void **state)
{
    add_ready(BY_COMMAND ",\"health_check\":{\"endpoint\":\"/alive?deep=1\",\"interval\":5}");
    assert_contains(rig_engine(rig, "m")->request, "GET /alive?deep=1 HTTP/1.1\r\n");
    rig_engine(rig, "m")->request[0] = '\0';
    pass(6);
    assert_contains(rig_engine(rig, "m")->request, "GET /alive?deep=1 HTTP/1.1\r\n");
}

#define LIFE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIFE(test_no_progress_is_hung_although_it_answers),
        LIFE(test_hung_says_nothing_of_probes_that_were_not_made),
        LIFE(test_idle_is_not_hung),
        LIFE(test_bytes_are_progress),
        LIFE(test_its_number_is_progress),
        LIFE(test_number_of_before_the_last_byte_tells_nothing),
        LIFE(test_its_number_is_asked_only_when_no_byte_comes),
        LIFE(test_without_a_number_only_streams_are_judged),
        LIFE(test_who_refuses_to_tell_is_judged_by_streams_only),
        LIFE(test_failing_to_tell_is_no_refusal),
        LIFE(test_stall_while_it_drains_is_the_drains_affair),
        LIFE(test_hung_by_every_sign_is_ended_once),
        LIFE(test_other_slots_are_told),
        LIFE(test_sleeping_is_seen_and_left_in_peace),
        LIFE(test_port_is_chosen_and_kept),
        LIFE(test_next_start_takes_another_port),
        LIFE(test_replicas_have_different_ports),
        LIFE(test_port_that_was_taken_meanwhile_is_given_up),
        LIFE(test_interval_is_the_models),
        LIFE(test_disabled_means_never_asked),
        LIFE(test_timeout_is_the_models),
        LIFE(test_max_failures_are_the_models),
        LIFE(test_endpoint_is_the_models),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
