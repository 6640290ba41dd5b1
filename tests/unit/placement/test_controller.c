// SPDX-License-Identifier: Apache-2.0
/*
 * The controller over the rooms of rooms.h: who is loaded where and in which order, what a person
 * is told, what is kept, and what holds when memory is given back late or never.
 */
#include "rooms.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"

static const char *const whole[] = { "BERTH_PLACEMENT_THRESHOLD=100",
                                     "BERTH_PLACEMENT_MIN_RESIDENCY=0s", NULL };

enum { A = 1, B, C, D };

/* ---- what was stored ---- */

static struct told {
    struct placement_entry entries[64];
    char model[64][16], reason[64][480], made_room_for[64][16];
    size_t count;
    int result;
    bool done;
} told;

static void on_entry(void *arg, const struct placement_entry *e, int result)
{
    size_t i = told.count;

    if (!e) {
        told.done = true;
        told.result = result;
        return;
    }
    assert_true(i < 64);
    told.entries[i] = *e;
    snprintf(told.model[i], sizeof(told.model[i]), "%s", e->model_name);
    snprintf(told.reason[i], sizeof(told.reason[i]), "%s", e->reason);
    snprintf(told.made_room_for[i], sizeof(told.made_room_for[i]), "%s", e->for_model);
    told.count++;
}

static void read_page(const struct placement_history_filter *filter)
{
    told = (struct told){ 0 };
    placement_history(rooms.placement, filter, on_entry, NULL);
    assert_false(told.done); /* in a later turn */
    rooms_run(10);
    assert_true(told.done);
    assert_true(told.result >= (int)told.count); /* how many match, of all pages */
}

static void read_history(const char *model, unsigned limit)
{
    read_page(&(struct placement_history_filter){ .limit = limit, .model = model });
}

/* The newest entry of a model with this word; fails when there is none. */
static size_t entry(const char *model, enum placement_act act)
{
    read_history(model, 64);
    for (size_t i = 0; i < told.count; i++) {
        if (told.entries[i].act == act) {
            return i;
        }
    }
    fail_msg("%s was never %s", model, placement_act_name(act));
    return 0;
}

static unsigned entries(const char *model, enum placement_act act)
{
    unsigned n = 0;

    read_history(model, 64);
    for (size_t i = 0; i < told.count; i++) {
        n += told.entries[i].act == act;
    }
    return n;
}

/* ---- what a person is told ---- */

static struct reply {
    bool came;
    int result;
    enum placement_outcome outcome;
    char reason[480], moved[4][16], error[480];
    size_t moved_count;
    struct place place;
    int64_t history_id;
} reply;

static void on_reply(void *arg, int result, const struct placement_answer *a, const struct error *e)
{
    assert_false(reply.came);
    reply.came = true;
    reply.result = result;
    if (!a) {
        assert_true(result < 0);
        snprintf(reply.error, sizeof(reply.error), "%s", e->text);
        return;
    }
    reply.outcome = a->outcome;
    reply.place = a->place;
    reply.history_id = a->history_id;
    snprintf(reply.reason, sizeof(reply.reason), "%s", a->reason);
    for (; a->moved[reply.moved_count]; reply.moved_count++) {
        snprintf(reply.moved[reply.moved_count], 16, "%s", a->moved[reply.moved_count]);
    }
}

static void ask(struct placement_ask a)
{
    reply = (struct reply){ 0 };
    placement_schedule(rooms.placement, &a, on_reply, NULL);
    assert_false(reply.came);
}

static void ask_and_wait(struct placement_ask a)
{
    ask(a);
    for (int i = 0; i < 1000 && !reply.came; i++) {
        rooms_run(10);
    }
    assert_true(reply.came);
}

static const char *sentence_of(int64_t id)
{
    struct placement_waiting w;
    size_t cursor = 0;

    while (placement_next_waiting(rooms.placement, &cursor, &w)) {
        if (w.model_id == id) {
            return w.sentence;
        }
    }
    return NULL;
}

static size_t waiting(void)
{
    struct placement_waiting w;
    size_t cursor = 0, n = 0;

    while (placement_next_waiting(rooms.placement, &cursor, &w)) {
        n++;
    }
    return n;
}

static void open_scene(unsigned devices, uint64_t bytes, const char *const *options)
{
    rooms_open(1, devices, bytes);
    rooms_start(options ? options : whole);
    rooms_run(100);
}

/* ---- tests ---- */

static void test_places_what_fits(void **state)
{
    open_scene(2, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 5);
    rooms_model(B, 6 * GB, 5);
    rooms_want(A, true, WISH_USER);
    rooms_want(B, true, WISH_USER);
    rooms_run(2000);
    assert_true(rooms_is_ready(A) && rooms_is_ready(B));
    assert_int_not_equal(rooms_engine(A)->pub.place.shares[0].device,
                         rooms_engine(B)->pub.place.shares[0].device);
    entry("a", ACT_SCHEDULED);
    assert_true(told.entries[0].success);
    assert_in_range(told.entries[0].duration_ms, 500, 700); /* from the decision until ready */
    assert_int_equal(place_bytes(&told.entries[0].place), 6 * GB);
    assert_non_null(strstr(rooms.events_log, "model_placed a\n"));
    assert_int_equal(waiting(), 0);
    rooms_close();
}

/* reserve → drain → stop → the memory has fallen → load; rooms.c fails when a load comes earlier */
static void test_swap_order_and_return(void **state)
{
    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 3)->linger_ms = 3000;
    rooms_model(B, 6 * GB, 7);
    rooms_want(A, true, WISH_USER);
    rooms_run(1000);
    assert_true(rooms_is_ready(A));
    rooms_engine(A)->in_flight = 1;
    rooms_want(B, true, WISH_USER);
    rooms_run(500);
    assert_int_equal(rooms_engine(A)->pub.state, INSTANCE_DRAINING);
    assert_non_null(sentence_of(B)); /* its place is reserved */
    rooms_engine(A)->in_flight = 0;
    rooms_run(2900);
    assert_int_equal(rooms_engine(B)->pub.state, INSTANCE_WAITING);
    rooms_run(2000);
    assert_true(rooms_is_ready(B));
    assert_true(rooms_logged("displace a\nstopped a\nfree a\nload b\n"));
    assert_true(rooms_engine(A)->pub.displaced);
    entry("a", ACT_PREEMPTED);
    assert_string_equal(told.made_room_for[0], "b");
    assert_true(told.entries[0].duration_ms >= 3000); /* until it was free */
    assert_non_null(strstr(rooms.events_log, "model_preempted a\n"));

    rooms_want(B, false, WISH_USER);
    rooms_run(8000);
    assert_true(rooms_is_ready(A));
    entry("a", ACT_RECOVERED);
    assert_non_null(strstr(rooms.events_log, "model_recovered a\n"));
    assert_int_equal(placement_counts(rooms.placement).preemptions_last_hour, 1);
    rooms_close();
}

/* Three decisions about a and b: pages of them, what is looked for, the eldest first. */
static void test_pages_of_the_history(void **state)
{
    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 3);
    rooms_model(B, 6 * GB, 7);
    rooms_want(A, true, WISH_USER);
    rooms_run(1000);
    rooms_want(B, true, WISH_USER);
    rooms_run(8000);
    assert_true(rooms_is_ready(B));
    read_page(&(struct placement_history_filter){ .limit = 64 });
    assert_int_equal(told.count, 3);
    read_page(&(struct placement_history_filter){ .limit = 2, .offset = 2 });
    assert_int_equal(told.count, 1);
    assert_int_equal(told.result, 3);
    assert_string_equal(told.model[0], "a");
    assert_int_equal(told.entries[0].act, ACT_SCHEDULED);
    read_page(&(struct placement_history_filter){ .limit = 1, .oldest_first = true });
    assert_string_equal(told.model[0], "a");
    assert_int_equal(told.entries[0].act, ACT_SCHEDULED);
    read_page(&(struct placement_history_filter){ .limit = 64, .act = "preempted" });
    assert_int_equal(told.result, 1);
    assert_int_equal(told.entries[0].act, ACT_PREEMPTED);
    read_page(&(struct placement_history_filter){ .limit = 64, .act = "failed" });
    assert_int_equal(told.result, 0);
    read_page(&(struct placement_history_filter){ .limit = 64, .text = "NO SUCH WORD" });
    assert_int_equal(told.result, 0);
    read_page(&(struct placement_history_filter){ .limit = 64, .text = "B", .model = "b" });
    assert_int_equal(told.result, 1); /* its name */
    rooms_close();
}

static void test_memory_never_given_back(void **state)
{
    static const char *const options[] = { "BERTH_PLACEMENT_THRESHOLD=100",
                                           "BERTH_PLACEMENT_MIN_RESIDENCY=0s",
                                           "BERTH_PLACEMENT_VERIFY_TIMEOUT=10s", NULL };
    struct placement_room room;

    open_scene(1, 10 * GB, options);
    rooms_model(A, 6 * GB, 3)->linger_ms = 3600 * 1000;
    rooms_model(B, 6 * GB, 7);
    rooms_want(A, true, WISH_USER);
    rooms_run(1000);
    rooms_want(B, true, WISH_USER);
    rooms_run(5000);
    assert_true(placement_room(rooms.placement, 0, &room));
    assert_int_equal(room.held_bytes, 6 * GB);
    assert_int_equal(room.other_bytes, 0);
    assert_null(strstr(rooms.events_log, "device_memory_held"));
    rooms_run(8000);
    assert_true(placement_room(rooms.placement, 0, &room));
    assert_int_equal(room.held_bytes, 0);
    assert_int_equal(room.other_bytes, 6 * GB); /* somebody else's from now on */
    assert_non_null(strstr(rooms.events_log, "device_memory_held a\n"));
    rooms_run(60 * 1000);
    assert_false(rooms_is_ready(B)); /* never loaded into memory that is not there */
    assert_non_null(sentence_of(B));
    entry("a", ACT_PREEMPTED);
    assert_int_equal(told.entries[0].duration_ms, -1);
    rooms_close();
}

/* The host's memory is free when its processes are gone, whatever the figure says. */
/* That another one has reserved more than it takes does not hide what was not given back. */
static void test_fall_is_seen(void **state)
{
    struct fake_model *a, *c;

    open_scene(1, 10 * GB, NULL);
    a = rooms_model(A, 6 * GB, 3);
    a->more_bytes = -(int64_t)(3 * GB);
    a->measured = true;
    a->linger_ms = 5000;
    c = rooms_model(C, 3 * GB, 9);
    c->more_bytes = -(int64_t)(3 * GB - 1);
    rooms_model(B, 7 * GB, 7);
    rooms_want(C, true, WISH_USER);
    rooms_want(A, true, WISH_USER);
    rooms_run(3000);
    assert_true(rooms_is_ready(A) && rooms_is_ready(C));
    rooms_want(B, true, WISH_USER);
    rooms_run(10000);
    assert_true(rooms_is_ready(B));
    assert_true(rooms_logged("displace a\nstopped a\nfree a\nload b\n"));
    rooms_close();
}

/* The larger of what was reserved and what was measured counts. */
static void test_more_than_reserved(void **state)
{
    struct placement_room room;
    struct fake_model *a;

    open_scene(1, 10 * GB, NULL);
    a = rooms_model(A, 6 * GB, 5);
    a->more_bytes = 2 * GB;
    a->measured = true;
    rooms_model(B, 4 * GB, 5);
    rooms_want(A, true, WISH_USER);
    rooms_run(3000);
    assert_true(rooms_is_ready(A));
    assert_true(placement_room(rooms.placement, 0, &room));
    assert_int_equal(room.reserved_bytes, 8 * GB);
    assert_int_equal(room.free_bytes, 2 * GB);
    rooms_want(B, true, WISH_USER);
    rooms_run(3000);
    assert_false(rooms_is_ready(B)); /* and rooms.c would have failed */
    assert_non_null(sentence_of(B));
    rooms_close();
}

/* A reservation ends with its wait, whatever that ends with. */
static void test_failed_with_a_reservation(void **state)
{
    struct placement_room room;

    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 3)->linger_ms = 20 * 1000;
    rooms_model(B, 6 * GB, 7);
    rooms_want(A, true, WISH_USER);
    rooms_run(1000);
    rooms_want(B, true, WISH_USER);
    rooms_run(1000);
    assert_true(rooms_logged("displace a"));
    assert_int_equal(rooms_engine(B)->pub.state, INSTANCE_WAITING); /* with a reservation */
    rooms_fail(B);
    rooms_run(25 * 1000);
    assert_true(rooms_is_ready(A)); /* it has its place again */
    assert_true(placement_room(rooms.placement, 0, &room));
    assert_int_equal(room.reserved_bytes, 6 * GB);
    entry("b", ACT_SCHEDULED);
    assert_false(told.entries[0].success);
    assert_string_equal(told.reason[0], "there is no such file");
    rooms_close();
}

static void test_host_is_not_watched(void **state)
{
    rooms_open(1, 1, 10 * GB);
    rooms.devices[0].cpu = true;
    rooms_start(whole);
    rooms_model(A, 6 * GB, 3);
    rooms_model(B, 6 * GB, 7);
    rooms_want(A, true, WISH_USER);
    rooms_run(1000);
    rooms_want(B, true, WISH_USER);
    rooms_run(1500);
    assert_true(rooms_is_ready(B));
    rooms_close();
}

static void test_others_memory_counts(void **state)
{
    struct placement_room room;

    open_scene(1, 10 * GB, NULL);
    rooms.devices[0].foreign_bytes = 5 * GB;
    rooms_run(1500);
    rooms_model(A, 4 * GB, 5)->load_ms = 5000;
    rooms_want(A, true, WISH_USER);
    rooms_run(3000);
    assert_int_equal(rooms_engine(A)->pub.state, INSTANCE_STARTING);
    assert_true(placement_room(rooms.placement, 0, &room));
    assert_int_equal(room.other_bytes, 5 * GB); /* what loads is not counted twice */
    assert_int_equal(room.reserved_bytes, 4 * GB);
    assert_int_equal(room.free_bytes, 1 * GB);
    rooms_model(B, 3 * GB, 5);
    rooms_want(B, true, WISH_USER);
    rooms_run(10 * 1000);
    assert_false(rooms_is_ready(B));
    entry("b", ACT_FAILED);
    assert_false(told.entries[0].success);
    assert_int_equal(entries("b", ACT_FAILED), 1); /* once, however often it is decided */
    assert_non_null(strstr(rooms.events_log, "placement_failed b\n"));
    rooms.devices[0].foreign_bytes = 0; /* the others go: that is seen */
    rooms_run(5000);
    assert_true(rooms_is_ready(B));
    rooms_close();
}

/* The device does not tell whose memory it is, and what loads takes its own at the end only. */
static void test_others_memory_while_something_loads(void **state)
{
    struct placement_room room;

    open_scene(1, 10 * GB, NULL);
    rooms.untold = rooms.late_load = true;
    rooms.devices[0].foreign_bytes = 5 * GB;
    rooms_run(1500);
    rooms_model(A, 4 * GB, 5)->load_ms = 5000;
    rooms_model(B, 3 * GB, 5);
    rooms_want(A, true, WISH_USER);
    rooms_run(3000);
    assert_true(placement_room(rooms.placement, 0, &room));
    assert_int_equal(room.other_bytes, 5 * GB);
    rooms_want(B, true, WISH_USER);
    rooms_run(10 * 1000);
    assert_true(rooms_is_ready(A));
    assert_false(rooms_is_ready(B));
    assert_true(placement_room(rooms.placement, 0, &room));
    assert_int_equal(room.other_bytes, 5 * GB);
    rooms_close();
}

/* berth is born anew while something loads, and what that takes is in no reading yet: what is
 * somebody else's is not taken for it. */
static void test_others_memory_after_a_restart_while_something_loads(void **state)
{
    open_scene(1, 10 * GB, NULL);
    rooms.untold = rooms.late_load = true;
    rooms.devices[0].foreign_bytes = 3 * GB;
    rooms_model(A, 5 * GB, 5)->load_ms = 60 * 1000;
    rooms_model(B, 4 * GB, 5);
    rooms_run(2000);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    rooms_restart(whole);
    rooms_want(B, true, WISH_USER);
    rooms_run(2000);
    rooms_want(A, false, WISH_USER); /* rooms.c fails when B is loaded before A has ended */
    rooms_run(10 * 1000);
    assert_true(rooms_is_ready(B));
    rooms_close();
}

/* One has ended while another loads, then that one ends: what lingers is not what was loaded. */
static void test_lingers_while_something_loads(void **state)
{
    open_scene(1, 10 * GB, NULL);
    rooms.late_load = true;
    rooms_model(A, 4 * GB, 5)->linger_ms = 5000;
    rooms_model(B, 4 * GB, 5)->load_ms = 20 * 1000;
    rooms_model(C, 5 * GB, 5);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    rooms_want(B, true, WISH_USER);
    rooms_run(500);
    rooms_want(A, false, WISH_USER);
    rooms_want(C, true, WISH_USER);
    rooms_run(2000);
    rooms_want(B, false, WISH_USER); /* rooms.c fails when C is loaded before both are gone */
    rooms_run(10 * 1000);
    assert_true(rooms_is_ready(C));
    rooms_close();
}

/* A long load hides that another's memory is free: that is no reason to say it was never given
 * back. */
static void test_a_long_load_hides_what_was_given_back(void **state)
{
    struct placement_room room;

    open_scene(1, 10 * GB, NULL);
    rooms.untold = rooms.late_load = true;
    rooms_model(A, 4 * GB, 5);
    rooms_model(B, 4 * GB, 5)->load_ms = 60 * 1000;
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    rooms_want(B, true, WISH_USER);
    rooms_run(2000);
    rooms_want(A, false, WISH_USER);
    rooms_run(60);
    rooms.devices[0].foreign_bytes = 4 * GB; /* B's own: it shows from now on */
    rooms_run(55 * 1000);
    assert_true(placement_room(rooms.placement, 0, &room));
    assert_int_equal(room.held_bytes, 4 * GB);
    assert_null(strstr(rooms.events_log, "device_memory_held"));
    rooms.devices[0].foreign_bytes = 0;
    rooms_run(5 * 1000);
    assert_true(rooms_is_ready(B));
    assert_true(placement_room(rooms.placement, 0, &room));
    assert_int_equal(room.held_bytes, 0);
    assert_null(strstr(rooms.events_log, "device_memory_held"));
    rooms_close();
}

/* What was asked for with a place is over when it has one. */
static void test_terms_end_with_the_wait(void **state)
{
    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 7);
    rooms_model(B, 6 * GB, 3);
    rooms_model(C, 6 * GB, 9);
    ask_and_wait((struct placement_ask){ .model_id = A, .allow_preemption = false });
    assert_int_equal(reply.outcome, PLACEMENT_PLACED);
    rooms_run(2000);
    rooms_want(C, true, WISH_USER);
    rooms_run(3000);
    assert_true(rooms_is_ready(C));
    rooms_want(C, false, WISH_USER);
    rooms_want(B, true, WISH_USER);
    rooms_run(1500);
    rooms_run(30 * 1000);
    assert_true(rooms_is_ready(A)); /* it may move B aside as ever */
    rooms_close();
}

static void test_need_must_be_known(void **state)
{
    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 5)->need_after_ms = 2000;
    rooms_want(A, true, WISH_USER);
    rooms_run(1500);
    assert_false(rooms_logged("load a"));
    assert_string_equal(sentence_of(A), "what it needs of memory is being found out");
    rooms_run(2000);
    assert_true(rooms_is_ready(A));
    rooms_close();
}

static void test_nothing_before_the_devices_are_known(void **state)
{
    open_scene(1, 10 * GB, NULL);
    rooms.not_ready = true;
    rooms_model(A, 6 * GB, 5);
    rooms_want(A, true, WISH_USER);
    rooms_run(3000);
    assert_false(rooms_logged("load"));
    rooms.not_ready = false;
    placement_on_device(rooms.placement, &(struct gpu_change){ .kind = GPU_READY });
    rooms_run(2000);
    assert_true(rooms_is_ready(A));
    rooms_close();
}

static void test_without_devices_everything_is_placed(void **state)
{
    rooms_open(1, 1, 1 * GB);
    rooms.no_gpu = true;
    rooms_start(whole);
    rooms_model(A, 60 * GB, 5);
    rooms_want(A, true, WISH_USER);
    rooms_run(1000);
    assert_true(rooms_is_ready(A));
    assert_int_equal(rooms_engine(A)->pub.place.count, 0);
    rooms_close();
}

static void test_out_of_memory_is_planned_anew(void **state)
{
    uint64_t first;

    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 5)->out_of_memory = 1;
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    first = world_now_ms(rooms.world);
    read_history("a", 10);
    assert_int_equal(told.count, 1);
    assert_false(told.entries[0].success);
    assert_non_null(strstr(told.reason[0], "out of memory"));
    assert_non_null(strstr(rooms.events_log, "placement_failed a\n"));
    assert_int_equal(rooms_engine(A)->pub.state, INSTANCE_WAITING); /* not at once */
    rooms_run(20 * 1000);
    assert_true(rooms_is_ready(A));
    assert_true(world_now_ms(rooms.world) > first);
    assert_int_equal(entries("a", ACT_SCHEDULED), 2);
    assert_int_equal(placement_counts(rooms.placement).failed_today, 1);
    assert_int_equal(placement_counts(rooms.placement).placed_today, 1);
    rooms_close();
}

/* What runs when berth starts is there before anything is placed. */
static void test_adopted_engines_count(void **state)
{
    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 5);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    rooms_model(B, 6 * GB, 5);
    rooms_want(B, true, WISH_USER);
    rooms_restart(whole);
    rooms_run(5000);
    assert_true(rooms_is_ready(A));
    assert_false(rooms_logged("load b")); /* and rooms.c would have failed */
    rooms_close();
}

/* An engine of an older berth has no place in its row. */
static void test_adopted_without_a_place(void **state)
{
    struct placement_room room;

    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 5);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    rooms_engine(A)->pub.place = (struct place){ 0 };
    rooms.devices[0].foreign_bytes = 0;
    rooms_restart(whole);
    rooms_run(2000);
    assert_true(placement_room(rooms.placement, 0, &room));
    assert_int_equal(room.reserved_bytes, 6 * GB); /* what it needs, where it may be */
    rooms_close();
}

static void test_cancelled_is_not_retried(void **state)
{
    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 5);
    rooms_model(B, 6 * GB, 5);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    rooms_want(B, true, WISH_USER);
    rooms_run(1000);
    assert_int_equal(waiting(), 1);
    rooms_want(B, false, WISH_USER);
    rooms_run(10);
    assert_int_equal(waiting(), 0);
    rooms_want(A, false, WISH_USER);
    rooms_run(60 * 1000);
    assert_false(rooms_logged("load b"));
    rooms_close();
}

/* A place that was reserved is free again when its model is not wanted any more. */
static void test_cancelled_reservation(void **state)
{
    struct placement_room room;

    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 3);
    rooms_model(B, 6 * GB, 7);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    rooms_engine(A)->in_flight = 1;
    rooms_want(B, true, WISH_USER);
    rooms_run(1000);
    rooms_want(B, false, WISH_USER);
    rooms_run(1000);
    assert_true(placement_room(rooms.placement, 0, &room));
    assert_int_equal(room.reserved_bytes, 6 * GB);
    rooms_engine(A)->in_flight = 0;
    rooms_run(10 * 1000);
    assert_true(rooms_is_ready(A)); /* back again */
    assert_false(rooms_logged("load b"));
    rooms_close();
}

/* ---- the rules ---- */

static int set_result;

static void on_set(void *arg, int result, const struct error *e)
{
    set_result = result;
}

static void set_rules(const struct placement_rules *rules)
{
    struct error e = { 0 };

    set_result = 1;
    assert_int_equal(placement_set_rules(rooms.placement, rules, on_set, NULL, &e), 0);
    rooms_run(10);
    assert_int_equal(set_result, 0);
}

static void test_rules_are_kept(void **state)
{
    struct placement_rules rules;

    open_scene(1, 10 * GB, NULL);
    rules = *placement_rules(rooms.placement);
    assert_true(rules.resource_threshold == 1.0);
    assert_int_equal(rules.scheduling_interval_s, 30);
    assert_int_equal(rules.health_check_interval_s, 60);
    rules.resource_threshold = 0.5;
    rules.algorithm = POLICY_SPREAD;
    rules.max_queue_size = 7;
    rules.auto_recovery_enabled = false;
    rules.health_check_interval_s = 20;
    assert_int_equal(rooms.probe_interval_ms, 60 * 1000);
    set_rules(&rules);
    assert_int_equal(rooms.probe_interval_ms, 20 * 1000);
    assert_non_null(strstr(rooms.events_log, "placement_rules_changed \n"));
    rooms_restart(whole);                                 /* the options say something else */
    placement_reconfigure(rooms.placement, rooms.config); /* also after a reload */
    rules = *placement_rules(rooms.placement);
    assert_true(rules.resource_threshold == 0.5);
    assert_int_equal(rules.algorithm, POLICY_SPREAD);
    assert_int_equal(rules.max_queue_size, 7);
    assert_false(rules.auto_recovery_enabled);
    assert_true(rules.preemption_enabled);
    assert_int_equal(rooms.probe_interval_ms, 20 * 1000);
    rooms_close();
}

static void refuse_rules(struct placement_rules rules, const char *word)
{
    struct error e = { 0 };

    assert_int_equal(placement_set_rules(rooms.placement, &rules, NULL, NULL, &e), -EINVAL);
    if (!strstr(e.text, word)) {
        fail_msg("'%s' does not name %s", e.text, word);
    }
}

static void test_rules_are_checked(void **state)
{
    struct placement_rules good, bad;

    open_scene(1, 10 * GB, NULL);
    good = *placement_rules(rooms.placement);
    bad = good, bad.resource_threshold = 0.05;
    refuse_rules(bad, "resource_threshold");
    bad = good, bad.resource_threshold = 1.01;
    refuse_rules(bad, "between 0.1 and 1");
    bad = good, bad.priority_levels = 21;
    refuse_rules(bad, "priority_levels");
    bad = good, bad.scheduling_interval_s = 9;
    refuse_rules(bad, "scheduling_interval");
    bad = good, bad.health_check_interval_s = 0;
    refuse_rules(bad, "health_check_interval");
    bad = good, bad.max_queue_size = 0;
    refuse_rules(bad, "max_queue_size");
    bad = good, bad.algorithm = POLICY_ALGORITHM_MAX_;
    refuse_rules(bad, "priority_based");
    assert_memory_equal(placement_rules(rooms.placement), &good, sizeof(good));
    rooms_close();
}

static void test_threshold_applies_at_once(void **state)
{
    struct placement_rules rules;

    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 5);
    rules = *placement_rules(rooms.placement);
    rules.resource_threshold = 0.5;
    set_rules(&rules);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    assert_false(rooms_is_ready(A));
    rules.resource_threshold = 0.7;
    set_rules(&rules);
    rooms_run(1000);
    assert_true(rooms_is_ready(A));
    rooms_close();
}

static void test_auto_recovery_off(void **state)
{
    struct placement_rules rules;

    open_scene(1, 10 * GB, NULL);
    rules = *placement_rules(rooms.placement);
    rules.auto_recovery_enabled = false;
    set_rules(&rules);
    rooms_model(A, 6 * GB, 3);
    rooms_model(B, 6 * GB, 7);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    rooms_want(B, true, WISH_USER);
    rooms_run(3000);
    assert_true(rooms_is_ready(B));
    rooms_want(B, false, WISH_USER);
    rooms_run(60 * 1000);
    assert_false(rooms_is_ready(A));
    ask_and_wait((struct placement_ask){ .model_id = A, .allow_preemption = true });
    assert_int_equal(reply.outcome, PLACEMENT_PLACED);
    rooms_run(2000);
    assert_true(rooms_is_ready(A)); /* a person has called it */
    rooms_close();
}

/* Who was moved aside is known after a restart, though the instance is another one. */
static void test_moved_aside_over_restart(void **state)
{
    struct placement_rules rules;

    open_scene(1, 10 * GB, NULL);
    rules = *placement_rules(rooms.placement);
    rules.auto_recovery_enabled = false;
    set_rules(&rules);
    rooms_model(A, 6 * GB, 3);
    rooms_model(B, 6 * GB, 7);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    rooms_want(B, true, WISH_USER);
    rooms_run(3000);
    rooms_restart(whole);
    rooms_run(1000);
    assert_true(rooms_is_ready(B));
    rooms_want(B, false, WISH_USER);
    rooms_run(60 * 1000);
    assert_false(rooms_is_ready(A));
    rules.auto_recovery_enabled = true;
    set_rules(&rules);
    rooms_run(3000);
    assert_true(rooms_is_ready(A));
    assert_int_equal(entries("a", ACT_RECOVERED), 1);
    rooms_close();
}

static void test_requests_bring_back(void **state)
{
    struct placement_rules rules;

    open_scene(1, 10 * GB, NULL);
    rules = *placement_rules(rooms.placement);
    rules.auto_recovery_enabled = false;
    set_rules(&rules);
    rooms_model(A, 6 * GB, 3);
    rooms_model(B, 6 * GB, 7);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    rooms_want(B, true, WISH_USER);
    rooms_run(3000);
    rooms_want(B, false, WISH_USER);
    rooms_run(10 * 1000);
    assert_false(rooms_is_ready(A));
    rooms_demand(A, 1);
    rooms_run(3000);
    assert_true(rooms_is_ready(A));
    rooms_close();
}

static void test_full_queue_refuses(void **state)
{
    static const char *const options[] = { "BERTH_PLACEMENT_MAX_QUEUE=1", NULL };
    struct error e = { 0 };

    open_scene(1, 10 * GB, options);
    rooms_model(A, 8 * GB, 5);
    rooms_model(B, 8 * GB, 5);
    rooms_model(C, 8 * GB, 5);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    assert_int_equal(placement_admit(rooms.placement, B, &e), 0);
    rooms_want(B, true, WISH_USER);
    rooms_run(1000);
    assert_int_equal(placement_admit(rooms.placement, B, &e), 0); /* it stands there already */
    assert_int_equal(placement_admit(rooms.placement, C, &e), -EDQUOT);
    assert_non_null(strstr(e.text, "max_queue_size"));
    ask_and_wait((struct placement_ask){ .model_id = C, .allow_preemption = true });
    assert_int_equal(reply.result, -EDQUOT);
    rooms_demand(C, 1); /* nor by a request, until there is room in the queue */
    rooms_run(5000);
    assert_false(models_get(NULL, C)->wanted);
    rooms_want(B, false, WISH_USER);
    rooms_run(3000);
    assert_true(models_get(NULL, C)->wanted);
    rooms_close();
}

/* ---- asking ---- */

static void test_ask_in_vain(void **state)
{
    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 5);
    ask_and_wait((struct placement_ask){ .model_id = D });
    assert_int_equal(reply.result, -ENOENT);
    ask_and_wait((struct placement_ask){ .model_id = A, .priority = 11 });
    assert_int_equal(reply.result, -EINVAL);
    assert_non_null(strstr(reply.error, "between 1 and 10"));
    ask_and_wait((struct placement_ask){ .model_id = A, .allow_preemption = true });
    assert_int_equal(reply.outcome, PLACEMENT_PLACED);
    rooms_run(2000);
    ask_and_wait((struct placement_ask){ .model_id = A, .allow_preemption = true });
    assert_int_equal(reply.result, -EALREADY);
    rooms_close();
}

static void test_ask_saves_priority_and_moves(void **state)
{
    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 5);
    rooms_model(B, 6 * GB, 5);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    ask_and_wait((struct placement_ask){ .model_id = B, .allow_preemption = true });
    assert_int_equal(reply.outcome, PLACEMENT_QUEUED); /* an equal moves nobody */
    assert_true(reply.reason[0] != '\0');
    rooms_want(B, false, WISH_USER);
    rooms_run(100);
    ask_and_wait((struct placement_ask){ .model_id = B, .priority = 8, .allow_preemption = true });
    assert_int_equal(reply.outcome, PLACEMENT_PLACED);
    assert_int_equal(rooms.updates, 1);
    assert_int_equal(models_get(NULL, B)->config->priority, 8);
    assert_int_equal(reply.moved_count, 1);
    assert_string_equal(reply.moved[0], "a");
    assert_int_equal(place_bytes(&reply.place), 6 * GB);
    entry("b", ACT_SCHEDULED); /* committed before it was told */
    assert_int_equal(told.entries[0].id, reply.history_id);
    rooms_run(3000);
    assert_true(rooms_is_ready(B));
    rooms_close();
}

static void test_ask_without_preemption(void **state)
{
    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 3);
    rooms_model(B, 6 * GB, 7);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    ask_and_wait((struct placement_ask){ .model_id = B, .allow_preemption = false });
    assert_int_equal(reply.outcome, PLACEMENT_QUEUED);
    assert_true(reply.reason[0] != '\0');
    rooms_run(120 * 1000);
    assert_true(rooms_is_ready(A)); /* the word holds as long as it waits */
    assert_int_equal(entries("a", ACT_PREEMPTED), 0);
    ask_and_wait((struct placement_ask){ .model_id = B, .allow_preemption = true });
    assert_int_equal(reply.outcome, PLACEMENT_PLACED);
    rooms_run(3000);
    assert_true(rooms_is_ready(B));
    rooms_close();
}

static void test_ask_with_force_places_again(void **state)
{
    open_scene(2, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 5);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    ask_and_wait((struct placement_ask){ .model_id = A, .force = true, .allow_preemption = true });
    assert_int_equal(reply.outcome, PLACEMENT_PLACED);
    assert_int_equal(reply.place.count, 1);
    rooms_run(2000); /* well before return_after: force does not wait for it */
    assert_true(rooms_is_ready(A));
    assert_true(rooms_logged("displace a\nstopped a\n"));
    assert_int_equal(entries("a", ACT_SCHEDULED), 2);
    assert_int_equal(entries("a", ACT_RECOVERED), 0);
    rooms_close();
}

static void test_ask_with_force_ignores_threshold(void **state)
{
    static const char *const options[] = { "BERTH_PLACEMENT_THRESHOLD=50", NULL };

    open_scene(1, 10 * GB, options);
    rooms_model(A, 6 * GB, 5);
    ask_and_wait((struct placement_ask){ .model_id = A, .allow_preemption = true });
    assert_int_not_equal(reply.outcome, PLACEMENT_PLACED);
    ask_and_wait((struct placement_ask){ .model_id = A, .allow_preemption = true, .force = true });
    assert_int_equal(reply.outcome, PLACEMENT_PLACED);
    rooms_run(2000);
    assert_true(rooms_is_ready(A));
    rooms_close();
}

static void test_never_fits(void **state)
{
    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 60 * GB, 5);
    ask_and_wait((struct placement_ask){ .model_id = A, .allow_preemption = true });
    assert_int_equal(reply.outcome, PLACEMENT_FAILED);
    assert_true(reply.reason[0] != '\0');
    rooms_run(60 * 1000);
    assert_int_equal(entries("a", ACT_FAILED), 1);
    rooms_close();
}

static void test_dry_run_changes_nothing(void **state)
{
    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 3);
    rooms_model(B, 6 * GB, 7);
    rooms_model(C, 60 * GB, 7);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    ask_and_wait(
        (struct placement_ask){ .model_id = B, .allow_preemption = true, .dry_run = true });
    assert_int_equal(reply.outcome, PLACEMENT_PLACED);
    assert_int_equal(reply.moved_count, 1);
    assert_string_equal(reply.moved[0], "a");
    assert_int_equal(reply.history_id, 0);
    ask_and_wait(
        (struct placement_ask){ .model_id = B, .allow_preemption = false, .dry_run = true });
    assert_int_equal(reply.outcome, PLACEMENT_QUEUED);
    ask_and_wait((struct placement_ask){
        .model_id = B, .priority = 2, .allow_preemption = true, .dry_run = true });
    assert_int_equal(reply.outcome, PLACEMENT_QUEUED);
    ask_and_wait(
        (struct placement_ask){ .model_id = C, .allow_preemption = true, .dry_run = true });
    assert_int_equal(reply.outcome, PLACEMENT_FAILED);
    rooms_run(5000);
    assert_true(rooms_is_ready(A));
    assert_false(models_get(NULL, B)->wanted);
    assert_int_equal(rooms.updates, 0);
    assert_int_equal(entries("b", ACT_SCHEDULED), 0);
    rooms_close();
}

/* ---- swaps ---- */

/* One that only requests have loaded is not wanted any more once it was swapped out and nobody
 * waits for it; one that a person started comes back. */
static void test_swapped_out_by_demand(void **state)
{
    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 5);
    rooms_model(B, 6 * GB, 5);
    rooms_demand(A, 1);
    rooms_run(2000);
    assert_true(rooms_is_ready(A));
    rooms_demand(B, 1);
    rooms_run(3000);
    assert_true(rooms_is_ready(B));
    assert_false(models_get(NULL, A)->wanted);
    entry("a", ACT_SWAPPED);
    assert_non_null(strstr(rooms.events_log, "model_swapped a\n"));
    assert_int_equal(waiting(), 0);
    assert_int_equal(placement_counts(rooms.placement).preemptions_last_hour, 0);
    rooms_close();
}

static void test_swapped_out_of_a_person(void **state)
{
    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 5);
    rooms_model(B, 6 * GB, 5);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    rooms_demand(B, 1);
    rooms_run(3000);
    assert_true(rooms_is_ready(B));
    assert_true(models_get(NULL, A)->wanted);
    assert_int_equal(waiting(), 1);
    rooms_want(B, false, WISH_IDLE);
    rooms_run(10 * 1000);
    assert_true(rooms_is_ready(A));
    rooms_close();
}

/* Who asked in vain and went leaves nothing in the queue. */
static void test_nobody_waits_any_more(void **state)
{
    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 8);
    rooms_model(B, 6 * GB, 5);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    rooms_demand(B, 1);
    rooms_run(1000);
    assert_int_equal(waiting(), 1);
    rooms_demand(B, 0);
    rooms_run(1000);
    assert_int_equal(waiting(), 0);
    assert_false(models_get(NULL, B)->wanted);
    rooms_close();
}

/* What a person has started waits without requests too, whoever was first. */
static void test_started_while_requests_wait(void **state)
{
    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 8);
    rooms_model(B, 6 * GB, 5);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    rooms_demand(B, 1);
    rooms_run(1000);
    rooms_want(B, true, WISH_USER);
    rooms_demand(B, 0);
    rooms_run(1000);
    assert_int_equal(waiting(), 1);
    rooms_want(A, false, WISH_USER);
    rooms_run(5000);
    assert_true(rooms_is_ready(B));
    rooms_close();
}

/* ---- what is kept ---- */

static void test_counts_and_history_over_restart(void **state)
{
    struct placement_counts before, after;

    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 3);
    rooms_model(B, 6 * GB, 7);
    rooms_model(C, 60 * GB, 7);
    assert_int_equal(placement_counts(rooms.placement).last_decision_wall_ms, 0);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    rooms_want(B, true, WISH_USER);
    rooms_run(3000);
    rooms_want(C, true, WISH_USER);
    rooms_run(1000);
    before = placement_counts(rooms.placement);
    assert_int_equal(before.decisions_today, 3);
    assert_int_equal(before.placed_today, 2);
    assert_int_equal(before.failed_today, 1);
    assert_int_equal(before.preemptions_last_day, 1);
    assert_true(before.last_decision_wall_ms > 0);
    rooms_restart(whole);
    after = placement_counts(rooms.placement);
    assert_int_equal(after.decisions_today, 3);
    assert_int_equal(after.placed_today, 2);
    assert_int_equal(after.failed_today, 1);
    assert_int_equal(after.preemptions_last_hour, 1);
    assert_int_equal(after.last_decision_wall_ms, before.last_decision_wall_ms);
    read_history(NULL, 2);
    assert_int_equal(told.count, 2);
    assert_true(told.entries[0].id > told.entries[1].id); /* newest first */
    read_history("a", 100);
    assert_int_equal(told.count, 2);
    assert_string_equal(told.model[0], "a");
    rooms_run(25 * 3600 * 1000);
    assert_int_equal(placement_counts(rooms.placement).placed_today, 0);
    assert_int_equal(placement_counts(rooms.placement).preemptions_last_day, 0);
    rooms_want(A, false, WISH_USER);
    rooms_run(1000);
    rooms_want(A, true, WISH_USER);
    rooms_want(B, false, WISH_USER);
    rooms_run(3000);
    assert_int_equal(placement_counts(rooms.placement).placed_today, 1); /* of this day only */
    read_history("a", 100);
    assert_int_equal(told.count, 3); /* numbers go on after a restart */
    rooms_close();
}

static void test_why(void **state)
{
    json_t *why;

    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 7);
    rooms_model(B, 6 * GB, 5);
    rooms_model(C, 6 * GB, 9);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    rooms_want(B, true, WISH_USER);
    rooms_run(1000);
    why = placement_why(rooms.placement, A);
    assert_string_equal(json_string_value(json_object_get(why, "status")), "ready");
    assert_string_equal(json_string_value(json_object_get(why, "sentence")), "it runs on device 0");
    json_decref(why);
    why = placement_why(rooms.placement, B);
    assert_string_equal(json_string_value(json_object_get(why, "status")), "waiting");
    assert_string_equal(json_string_value(json_object_get(why, "sentence")), sentence_of(B));
    assert_int_equal(json_array_size(json_object_get(why, "candidates")), 1);
    assert_int_equal(json_integer_value(json_object_get(
                         json_array_get(json_object_get(why, "candidates"), 0), "free_bytes")),
                     4 * GB);
    assert_string_equal(json_string_value(json_object_get(json_object_get(why, "need"), "source")),
                        "estimated");
    json_decref(why);
    why = placement_why(rooms.placement, C);
    assert_string_equal(json_string_value(json_object_get(why, "status")), "stopped");
    json_decref(why);
    assert_null(placement_why(rooms.placement, 99));
    rooms_close();
}

static void test_predicted_start(void **state)
{
    struct placement_waiting w;
    size_t cursor = 0;

    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 3);
    rooms_model(B, 6 * GB, 7);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    rooms_engine(A)->in_flight = 1;
    rooms_want(B, true, WISH_USER);
    rooms_run(1000);
    assert_true(placement_next_waiting(rooms.placement, &cursor, &w));
    assert_int_equal(w.model_id, B);
    assert_true(w.reserved);
    assert_in_range(w.start_in_ms, 25 * 1000, 31 * 1000); /* what is left of the grace */
    assert_false(placement_next_waiting(rooms.placement, &cursor, &w));
    rooms_close();
}

/* Whoever asked is told at once that it was in vain. */
static void test_asked_for_what_ends(void **state)
{
    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 5)->need_after_ms = 60 * 1000;
    ask((struct placement_ask){ .model_id = A, .allow_preemption = true });
    rooms_run(200);
    assert_false(reply.came);
    rooms_want(A, false, WISH_USER);
    rooms_run(100);
    assert_true(reply.came);
    assert_int_equal(reply.result, 0);
    assert_int_equal(reply.outcome, PLACEMENT_FAILED);
    assert_non_null(strstr(reply.reason, "stopped"));
    ask((struct placement_ask){ .model_id = A, .allow_preemption = true });
    rooms_run(200);
    assert_false(reply.came);
    rooms_delete(A);
    rooms_run(100);
    assert_true(reply.came);
    assert_int_equal(reply.result, -ENOENT);
    rooms_close();
}

/* What leaves has no place that a dry run could tell of. */
static void test_dry_run_of_one_that_leaves(void **state)
{
    open_scene(1, 10 * GB, NULL);
    rooms_model(A, 6 * GB, 5);
    rooms_want(A, true, WISH_USER);
    rooms_run(2000);
    assert_true(rooms_is_ready(A));
    rooms_engine(A)->in_flight = 1;
    rooms_want(A, false, WISH_USER);
    rooms_run(100);
    assert_int_equal(rooms_engine(A)->pub.state, INSTANCE_DRAINING);
    ask_and_wait(
        (struct placement_ask){ .model_id = A, .allow_preemption = true, .dry_run = true });
    assert_int_equal(reply.result, 0);
    assert_int_equal(reply.outcome, PLACEMENT_PLACED);
    assert_string_not_equal(reply.reason, "it has its place");
    rooms_close();
}

/* Random worlds: rooms.c fails when memory is promised twice; in the end whoever fits is there. */
static void check_world(uint64_t seed)
{
    rooms_open(seed, 1 + (unsigned)(seed % 3), 10 * GB);
    rooms.untold = world_random_below(rooms.world, 2);
    rooms.late_load = world_random_below(rooms.world, 2);
    rooms.devices[0].foreign_bytes = world_random_below(rooms.world, 3) * GB / 2;
    rooms_start(whole);
    for (int id = 1; id <= ROOMS_MODELS; id++) {
        struct fake_model *m = rooms_model(id, (1 + world_random_below(rooms.world, 8)) * GB,
                                           1 + (int)world_random_below(rooms.world, 10));

        m->load_ms = world_random_below(rooms.world, 3000);
        m->linger_ms = world_random_below(rooms.world, 5000);
        m->need_after_ms = world_random_below(rooms.world, 100);
        m->out_of_memory = world_random_below(rooms.world, 5) == 0;
    }
    for (int step = 0; step < 60; step++) {
        int64_t id = 1 + (int64_t)world_random_below(rooms.world, ROOMS_MODELS);
        struct fake_engine *e = rooms_engine(id);

        switch (world_random_below(rooms.world, 5)) {
        case 0:
            rooms_want(id, true, WISH_USER);
            break;
        case 1:
            rooms_want(id, false, WISH_USER);
            break;
        case 2:
            rooms_demand(id, (unsigned)world_random_below(rooms.world, 3));
            break;
        case 3:
            if (e && e->pub.state == INSTANCE_READY) {
                e->in_flight = (unsigned)world_random_below(rooms.world, 3);
            }
            break;
        default:
            if (world_random_below(rooms.world, 8) == 0) {
                rooms_restart(whole);
            }
            break;
        }
        rooms_run(world_random_below(rooms.world, 4000));
    }
    for (int id = 2; id <= ROOMS_MODELS; id++) {
        rooms_demand(id, 0);
        rooms_want(id, false, WISH_USER);
    }
    rooms_want(1, true, WISH_USER);
    rooms_run(700 * 1000);
    assert_true(rooms_is_ready(1));
    rooms_close();
}

static void test_random_worlds(void **state)
{
    uint64_t seed = test_seed("placement worlds");
    int n = getenv("SEED") ? 1 : 100;

    for (int i = 0; i < n; i++) {
        check_world(seed + (uint64_t)i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places_what_fits),
        cmocka_unit_test(test_swap_order_and_return),
        cmocka_unit_test(test_pages_of_the_history),
        cmocka_unit_test(test_memory_never_given_back),
        cmocka_unit_test(test_fall_is_seen),
        cmocka_unit_test(test_more_than_reserved),
        cmocka_unit_test(test_failed_with_a_reservation),
        cmocka_unit_test(test_host_is_not_watched),
        cmocka_unit_test(test_others_memory_counts),
        cmocka_unit_test(test_others_memory_while_something_loads),
        cmocka_unit_test(test_others_memory_after_a_restart_while_something_loads),
        cmocka_unit_test(test_lingers_while_something_loads),
        cmocka_unit_test(test_a_long_load_hides_what_was_given_back),
        cmocka_unit_test(test_terms_end_with_the_wait),
        cmocka_unit_test(test_need_must_be_known),
        cmocka_unit_test(test_nothing_before_the_devices_are_known),
        cmocka_unit_test(test_without_devices_everything_is_placed),
        cmocka_unit_test(test_out_of_memory_is_planned_anew),
        cmocka_unit_test(test_adopted_engines_count),
        cmocka_unit_test(test_adopted_without_a_place),
        cmocka_unit_test(test_cancelled_is_not_retried),
        cmocka_unit_test(test_cancelled_reservation),
        cmocka_unit_test(test_rules_are_kept),
        cmocka_unit_test(test_rules_are_checked),
        cmocka_unit_test(test_threshold_applies_at_once),
        cmocka_unit_test(test_auto_recovery_off),
        cmocka_unit_test(test_moved_aside_over_restart),
        cmocka_unit_test(test_requests_bring_back),
        cmocka_unit_test(test_full_queue_refuses),
        cmocka_unit_test(test_ask_in_vain),
        cmocka_unit_test(test_ask_saves_priority_and_moves),
        cmocka_unit_test(test_ask_without_preemption),
        cmocka_unit_test(test_ask_with_force_places_again),
        cmocka_unit_test(test_ask_with_force_ignores_threshold),
        cmocka_unit_test(test_never_fits),
        cmocka_unit_test(test_dry_run_changes_nothing),
        cmocka_unit_test(test_swapped_out_by_demand),
        cmocka_unit_test(test_swapped_out_of_a_person),
        cmocka_unit_test(test_nobody_waits_any_more),
        cmocka_unit_test(test_started_while_requests_wait),
        cmocka_unit_test(test_counts_and_history_over_restart),
        cmocka_unit_test(test_why),
        cmocka_unit_test(test_predicted_start),
        cmocka_unit_test(test_asked_for_what_ends),
        cmocka_unit_test(test_dry_run_of_one_that_leaves),
        cmocka_unit_test(test_random_worlds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
