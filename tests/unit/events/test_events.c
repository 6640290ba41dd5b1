// SPDX-License-Identifier: Apache-2.0
/*
 * Events: told after their commit, in the order of ids, once; found again by filter, from the ring
 * or from the store, also after a restart; old ones go in batches.
 */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sim.h"
#include "crash_vfs.h"
#include "events/events.h"

static const struct store_schema *const schemas[] = { &events_schema, NULL };

struct fixture {
    struct world *w;
    struct store *s;
    struct events *ev;
    char dir[64], path[96];
    struct listener listener;
    int64_t last_told;
    int told;
    char last_subject[64];
    /* of the last query */
    int64_t ids[EVENTS_LIMIT_MAX + 1];
    size_t count;
    int result; /* 1: not yet */
};

static void on_event(void *owner, const void *what)
{
    struct fixture *f = owner;
    const struct event *e = what;

    assert_true(e->id > f->last_told);
    f->last_told = e->id;
    f->told++;
    snprintf(f->last_subject, sizeof(f->last_subject), "%s", e->subject);
}

static void open_all(struct fixture *f)
{
    assert_int_equal(store_open(f->w,
                                &(struct store_options){ .path = f->path, .schemas = schemas },
                                &f->s, NULL),
                     0);
    f->ev = events_create(f->w, f->s);
    f->listener = (struct listener){ .fn = on_event, .owner = f };
    notify_add(events_signal(f->ev), &f->listener);
}

static void close_all(struct fixture *f)
{
    f->ev = events_destroy(f->ev);
    f->s = store_close(f->s);
}

static struct fixture *setup(void)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    log_set_fd(-1);
    f->w = sim_create(1);
    snprintf(f->dir, sizeof(f->dir), "/tmp/berth-events-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/berth.db", f->dir);
    open_all(f);
    return f;
}

static void teardown(struct fixture *f)
{
    close_all(f);
    world_destroy(f->w);
    unlink(f->path);
    rmdir(f->dir);
    free(f);
}

static void on_found(void *arg, const struct event *e, int result)
{
    struct fixture *f = arg;

    assert_int_equal(f->result, 1); /* nothing after the end */
    if (e) {
        f->ids[f->count++] = e->id;
    } else {
        f->result = result;
    }
}

static void query(struct fixture *f, struct event_filter filter)
{
    f->count = 0;
    f->result = 1;
    events_query(f->ev, &filter, on_found, f);
    assert_int_equal(f->result, 1);
    assert_int_equal(f->count, 0); /* never within the call */
    sim_run_for(f->w, 1);
    assert_int_equal(f->result, 0);
}

static void emit_many(struct fixture *f, int n)
{
    for (int i = 0; i < n; i++) {
        events_emit(f->ev, i % 2 ? EVENT_MODEL_WANTED : EVENT_INSTANCE_STATE, i % 3 ? "a" : "b",
                    NULL);
    }
    sim_run_for(f->w, 1);
}

static void test_kinds(void **state)
{
    for (int k = 0; k < EVENT_KIND_MAX_; k++) {
        assert_int_equal(event_kind_from_string(event_kind_name((enum event_kind)k)), k);
        assert_true(strlen(event_kind_help((enum event_kind)k)) > 10);
    }
    assert_int_equal(event_kind_from_string("nonsense"), -EINVAL);
}

static void test_told_after_commit(void **state)
{
    struct fixture *f = setup();

    events_emit(f->ev, EVENT_MODEL_CREATED, "tiny", json_pack("{s:i}", "x", 1));
    events_emit(f->ev, EVENT_MODEL_DELETED, "tiny", NULL);
    assert_int_equal(f->told, 0);
    assert_int_equal(store_figures(f->s).commits, 0);
    sim_run_for(f->w, 1);
    assert_int_equal(f->told, 2);
    assert_int_equal(store_figures(f->s).commits, 1);
    assert_int_equal(events_last_id(f->ev), 2);
    assert_int_equal(events_first_id(f->ev), 1);
    assert_string_equal(f->last_subject, "tiny");
    teardown(f);
}

struct both_op {
    struct store_op op;
    struct fixture *f;
    struct event *e;
    int verdict;
};

static int run_both(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct both_op *b = container_of(op, struct both_op, op);
    int r = events_append(db, b->e, reterr);

    return r < 0 ? r : b->verdict;
}

static void on_both(struct store_op *op)
{
    struct both_op *b = container_of(op, struct both_op, op);

    if (op->result >= 0) {
        events_publish(b->f->ev, b->e);
    } else {
        event_free(b->e);
    }
}

/* A fact goes with the row that it tells of. */
static void test_append_with_rows(void **state)
{
    struct fixture *f = setup();
    struct both_op good = { .op = { .run = run_both, .done = on_both }, .f = f };
    struct both_op bad = good;

    bad.verdict = -EBUSY;
    bad.e = event_create(f->w, EVENT_MODEL_UPDATED, "bad", NULL);
    good.e = event_create(f->w, EVENT_MODEL_UPDATED, "good", NULL);
    store_write(f->s, &bad.op);
    store_write(f->s, &good.op);
    sim_run_for(f->w, 1);
    assert_int_equal(f->told, 1);
    assert_string_equal(f->last_subject, "good");
    query(f, (struct event_filter){ .kind = -1 });
    assert_int_equal(f->count, 1);
    teardown(f);
}

static void check_filters(struct fixture *f, int64_t first, int64_t last)
{
    query(f, (struct event_filter){ .after_id = last - 3, .kind = -1 });
    assert_int_equal(f->count, 3);
    assert_int_equal(f->ids[0], last - 2);
    assert_int_equal(f->ids[2], last);
    query(f, (struct event_filter){ .after_id = 0, .kind = -1, .limit = 5 });
    assert_int_equal(f->count, 5);
    assert_int_equal(f->ids[0], first);
    query(f, (struct event_filter){ .kind = -1, .limit = 4, .newest_first = true });
    assert_int_equal(f->count, 4);
    assert_int_equal(f->ids[0], last);
    assert_int_equal(f->ids[3], last - 3);
    query(f, (struct event_filter){
                 .after_id = first + 2, .kind = -1, .limit = 9, .newest_first = true });
    assert_int_equal(f->count, 2);
    assert_int_equal(f->ids[0], first + 1);
    query(f, (struct event_filter){ .kind = EVENT_MODEL_WANTED, .subject = "b" });
    for (size_t i = 1; i < f->count; i++) { /* every sixth is of that kind and subject */
        assert_int_equal(f->ids[i], f->ids[i - 1] + 6);
    }
    assert_true(f->count >= 3);
    query(f, (struct event_filter){ .kind = EVENT_STOPPING });
    assert_int_equal(f->count, 0);
    query(f, (struct event_filter){ .kind = -1, .subject = "nobody", .newest_first = true });
    assert_int_equal(f->count, 0);
}

/* The same answers from a ring that holds all, from a ring that has lost some, and after a restart.
 */
static void test_filters(void **state)
{
    static const int counts[] = { 30, EVENTS_RING + 500 };

    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        struct fixture *f = setup();

        emit_many(f, counts[i]);
        assert_int_equal(f->told, counts[i]);
        check_filters(f, 1, counts[i]);
        close_all(f);
        open_all(f);
        assert_int_equal(events_last_id(f->ev), counts[i]);
        check_filters(f, 1, counts[i]);
        emit_many(f, 1);
        assert_int_equal(events_last_id(f->ev), counts[i] + 1);
        teardown(f);
    }
}

static void test_limit(void **state)
{
    struct fixture *f = setup();

    emit_many(f, EVENTS_RING + 500);
    query(f, (struct event_filter){ .kind = -1, .limit = 100000 });
    assert_int_equal(f->count, EVENTS_LIMIT_MAX);
    query(f, (struct event_filter){ .kind = -1, .newest_first = true });
    assert_int_equal(f->count, EVENTS_LIMIT_MAX);
    assert_int_equal(f->ids[0], EVENTS_RING + 500);
    teardown(f);
}

static void test_retention(void **state)
{
    struct fixture *f = setup();
    uint64_t day = 24 * 3600 * 1000;

    events_set_retention(f->ev, day);
    emit_many(f, 2100);
    sim_run_for(f->w, day / 2);
    emit_many(f, 10);
    assert_int_equal(events_first_id(f->ev), 1);
    sim_run_for(f->w, day / 2 + 2 * 3600 * 1000); /* the first lot is over a day old now */
    assert_int_equal(events_first_id(f->ev), 2101);
    sim_run_for(f->w, day);
    assert_int_equal(events_first_id(f->ev), 2111); /* none is left: the next to come */
    close_all(f);
    open_all(f);
    assert_int_equal(events_last_id(f->ev), 2110); /* ids are not given twice */
    query(f, (struct event_filter){ .kind = -1 });
    assert_int_equal(f->count, 0);
    emit_many(f, 1);
    assert_int_equal(events_last_id(f->ev), 2111);
    teardown(f);
}

static void test_large_data(void **state)
{
    struct world *w = sim_create(1);
    char *text = xmalloc(EVENT_DATA_MAX + 10);
    struct event *e;

    memset(text, 'x', EVENT_DATA_MAX + 9);
    text[EVENT_DATA_MAX + 9] = '\0';
    e = event_create(w, EVENT_STARTED, "", json_pack("{s:s}", "x", text));
    assert_true(strlen(e->data) < 100);
    assert_non_null(strstr(e->data, "omitted_bytes"));
    event_free(e);
    e = event_create(w, EVENT_STARTED, "", NULL);
    assert_string_equal(e->data, "{}");
    event_free(e);
    free(text);
    world_destroy(w);
}

/* Destroying ends open queries, and what was emitted is stored all the same. */
static void test_destroy_midway(void **state)
{
    struct fixture *f = setup();

    emit_many(f, EVENTS_RING + 10);
    for (int ring = 0; ring < 2; ring++) {
        f->result = 1;
        f->count = 0;
        events_emit(f->ev, EVENT_STOPPING, "", NULL);
        events_query(f->ev, &(struct event_filter){ .kind = -1, .newest_first = ring, .limit = 5 },
                     on_found, f);
        close_all(f);
        assert_int_equal(f->result, -ECANCELED);
        assert_int_equal(f->told, EVENTS_RING + 10);
        open_all(f);
        assert_int_equal(events_last_id(f->ev), EVENTS_RING + 11 + ring);
    }
    teardown(f);
}

/* The disk is full: nothing can be stored, yet listeners hear of it and the ring keeps it. */
static void test_read_only(void **state)
{
    struct fixture *f = setup();
    struct crash_disk *disk = crash_disk_create(1);
    char *text = xmalloc(60001);

    memset(text, 'x', 60000);
    text[60000] = '\0';
    close_all(f);
    crash_disk_set_capacity(disk, 400 << 10);
    assert_int_equal(
        store_open(f->w,
                   &(struct store_options){ .path = f->path, .vfs = "crash", .schemas = schemas },
                   &f->s, NULL),
        0);
    f->ev = events_create(f->w, f->s);
    notify_add(events_signal(f->ev), &f->listener);
    for (int i = 0; i < 20; i++) {
        events_emit(f->ev, EVENT_STARTED, "big", json_pack("{s:s}", "x", text));
        sim_run_for(f->w, 1);
    }
    assert_non_null(store_read_only_reason(f->s));
    events_emit(f->ev, EVENT_STORE_READ_ONLY, "last", NULL);
    sim_run_for(f->w, 1);
    assert_int_equal(f->told, 21);
    assert_string_equal(f->last_subject, "last");
    query(f, (struct event_filter){ .after_id = 20, .kind = -1 });
    assert_int_equal(f->count, 1);
    close_all(f);
    crash_disk_destroy(disk);
    free(text);
    open_all(f);
    teardown(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_told_after_commit),
        cmocka_unit_test(test_append_with_rows),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_retention),
        cmocka_unit_test(test_large_data),
        cmocka_unit_test(test_destroy_midway),
        cmocka_unit_test(test_read_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
