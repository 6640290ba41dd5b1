// SPDX-License-Identifier: Apache-2.0
/* Searches on their threads: progress, cancelling and deleting them while they run, their places,
 * and what berth's own end and the time limit make of them. */
#include "house.h"

#include <string.h>

#include "base/mem.h"

static bool someone_asked(struct house *h)
{
    (void)h;
    return atomic_load(&house_asked) > 3;
}

static bool nobody_searches(struct house *h)
{
    (void)h;
    return atomic_load(&house_searches) == 0;
}

/* Submits one, and it is at its search now. */
static const char *begin(struct house *h, const char *name)
{
    const char *id;

    atomic_store(&house_hold, true);
    atomic_store(&house_asked, 0);
    id = house_submit(h, name);
    house_until(h, someone_asked);
    house_until_status(h, id, "running");
    return id;
}

static void ask(struct house *h,
                void (*fn)(struct evaluations *, const char *, evaluations_done_fn, void *),
                const char *id)
{
    fn(h->v, id, house_done, h);
    house_wait(h, h->answers + 1);
}

static bool half_was_told(struct house *h)
{
    return h->most >= 50;
}

static void progress_is_told_as_it_changes(void **state)
{
    struct house h;
    const char *id;
    unsigned told;

    (void)state;
    house_open(&h, true, NULL, NULL);
    id = begin(&h, "progress");
    house_until(&h, half_was_told);
    assert_float_equal(h.most, 50, 0);
    told = h.told_count;
    while (atomic_load(&house_asked) < 1500) { /* some looks later nothing new was told */
        house_settle(&h);
    }
    assert_int_equal(h.told_count, told);
    assert_string_equal(house_status(&h, id), "running");
    assert_float_equal(json_number_value(json_object_get(h.answer, "progress")), 50, 0);
    assert_string_equal(json_string_value(json_object_get(h.answer, "message")), "searching");
    atomic_store(&house_hold, false);
    house_until_status(&h, id, "completed");
    house_check(&h);
    house_close(&h);
}

static void cancelled_stays_cancelled(void **state)
{
    struct house h;
    const char *id;

    (void)state;
    house_open(&h, true, NULL, NULL);
    id = begin(&h, "cancel");
    house_until(&h, half_was_told);
    h.told[0] = '\0';
    ask(&h, evaluations_cancel, id);
    assert_int_equal(h.result, 0);
    house_until(&h, nobody_searches); /* it stopped though the test still holds it */
    house_settle(&h);
    assert_string_equal(house_status(&h, id), "cancelled");
    assert_float_equal(json_number_value(json_object_get(h.answer, "progress")), 50, 0);
    assert_non_null(strstr(h.told, ":cancelled@50 "));
    assert_null(strstr(h.told, "completed"));
    assert_null(strstr(h.told, "running"));
    ask(&h, evaluations_cancel, id);
    assert_int_equal(h.result, -EBUSY);
    ask(&h, evaluations_results, id);
    assert_int_equal(json_array_size(json_object_get(h.answer, "top_k_plans")), 0);
    house_check(&h);
    house_close(&h);
}

/* The words are the same whether it ended before or meanwhile. */
static void cancelled_while_it_ends(void **state)
{
    struct house h;
    const char *id;

    (void)state;
    house_open(&h, true, NULL, NULL);
    id = begin(&h, "twice");
    evaluations_cancel(h.v, id, house_done, &h);
    ask(&h, evaluations_cancel, id);
    house_settle(&h);
    assert_int_equal(h.result, -EBUSY);
    assert_string_equal(h.error, "the evaluation has ended already and cannot be cancelled");
    id = begin(&h, "gone");
    evaluations_delete(h.v, id, house_done, &h);
    ask(&h, evaluations_cancel, id);
    house_settle(&h);
    assert_int_equal(h.result, -ENOENT);
    assert_string_equal(h.error, "there is no such evaluation");
    house_check(&h);
    house_close(&h);
}

static void delete_stops_it(void **state)
{
    struct house h;
    const char *id, *waits;

    (void)state;
    house_open(&h, true, "planner:\n  workers: 1\n", NULL);
    id = begin(&h, "delete");
    waits = house_submit(&h, "delete");
    ask(&h, evaluations_delete, waits);
    assert_int_equal(h.result, 0);
    ask(&h, evaluations_delete, id);
    assert_int_equal(h.result, 0);
    house_until(&h, nobody_searches);
    house_settle(&h);
    assert_int_equal(house_number(&h, "SELECT count(*) FROM evaluation_tasks", NULL), 0);
    assert_int_equal(house_number(&h, "SELECT count(*) FROM tasks", NULL), 0);
    assert_int_equal(house_number(&h, "SELECT total_tasks FROM experiments", NULL), 0);
    house_check(&h);
    /* its place is free */
    atomic_store(&house_hold, false);
    house_until_status(&h, house_submit(&h, "delete"), "completed");
    house_check(&h);
    house_close(&h);
}

static void at_most_so_many_at_once(void **state)
{
    struct house h;
    const char *ids[6];
    json_t *body = json_pack("{s:i}", "max_workers", 4), *config;

    (void)state;
    house_open(&h, true, "planner:\n  workers: 2\n", NULL);
    atomic_store(&house_hold, true);
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        ids[i] = house_submit(&h, "places");
    }
    house_until_status(&h, ids[1], "running");
    house_settle(&h);
    assert_string_equal(house_status(&h, ids[2]), "pending");
    config = evaluations_config(h.v);
    assert_int_equal(json_integer_value(json_object_get(config, "running_tasks")), 2);
    assert_int_equal(json_integer_value(json_object_get(config, "active_tasks")), 6);
    json_decref(config);
    evaluations_set_config(h.v, body, house_done, &h);
    json_decref(body);
    house_wait(&h, h.answers + 1);
    house_until_status(&h, ids[3], "running");
    house_settle(&h);
    assert_string_equal(house_status(&h, ids[4]), "pending");
    assert_int_equal(atomic_load(&house_searches), 4);
    atomic_store(&house_hold, false);
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        house_until_status(&h, ids[i], "completed");
    }
    house_check(&h);
    house_close(&h);
}

/* berth ended just after the cancel, before what the attempt had stored was taken away. */
static void nothing_stays_of_what_was_cancelled(void **state)
{
    struct house h;
    const char *id;

    (void)state;
    house_open(&h, true, NULL, NULL);
    id = begin(&h, "orphan");
    ask(&h, evaluations_cancel, id);
    house_until(&h, nobody_searches);
    house_settle(&h);
    house_write(&h,
                "INSERT INTO evaluation_results SELECT 99, id, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, "
                "1, 1, 1, 1, NULL, '{}', '' FROM evaluation_jobs");
    evaluations_export(h.v, id, false, house_done, &h); /* and nobody is told of them */
    house_wait(&h, h.answers + 1);
    assert_int_equal(json_array_size(json_object_get(h.answer, "top_k_plans")), 0);
    house_restart(&h, true);
    house_settle(&h);
    assert_int_equal(house_number(&h, "SELECT count(*) FROM evaluation_results", NULL), 0);
    house_check(&h);
    house_close(&h);
}

/* A good end does not wait for what is searched; what ran or waited is completed by the next. */
static void restart_begins_anew(void **state)
{
    struct house h;
    const char *ran, *waited;

    (void)state;
    for (int drained = 0; drained < 2; drained++) {
        house_open(&h, true, "planner:\n  workers: 1\n", NULL);
        ran = begin(&h, "restart");
        waited = house_submit(&h, "restart");
        house_until(&h, half_was_told);
        atomic_store(&house_asked, 0);
        /* the results were stored, and then berth ended */
        house_write(&h,
                    "INSERT INTO evaluation_results VALUES(99, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, "
                    "1, 1, 1, 1, 1, NULL, '{}', '')");
        house_restart(&h, drained);
        assert_int_equal(atomic_load(&house_searches), 0);
        {
            struct evaluation_state s;
            size_t cursor = 0;

            assert_true(evaluations_next_live(h.v, &cursor, &s));
            assert_string_equal(s.task_id, ran);
            assert_float_equal(s.progress, 0, 0);
            assert_true(evaluations_next_live(h.v, &cursor, &s));
            assert_string_equal(s.task_id, waited);
            assert_string_equal(s.status, "pending");
            assert_false(evaluations_next_live(h.v, &cursor, &s));
        }
        house_settle(&h);
        assert_int_equal(house_number(&h, "SELECT count(*) FROM evaluation_results", NULL), 0);
        atomic_store(&house_hold, false);
        house_until_status(&h, ran, "completed");
        house_until_status(&h, waited, "completed");
        assert_int_equal(house_number(&h, "SELECT completed_tasks FROM experiments", NULL), 2);
        house_check(&h);
        house_close(&h);
    }
}

static void takes_too_long(void **state)
{
    struct house h;
    const char *id;

    (void)state;
    house_open(&h, true, "queue:\n  task_timeout: 1s\n", NULL);
    id = begin(&h, "long");
    house_until_status(&h, id, "failed");
    assert_string_equal(json_string_value(json_object_get(h.answer, "error")),
                        "the attempt took longer than 1 s");
    assert_non_null(strstr(h.told, ":failed@50! "));
    house_until(&h, nobody_searches);
    house_settle(&h);
    house_check(&h);
    house_close(&h);
}

/* What it named is there no more: it fails with one sentence, and only it. */
static void fails_with_a_sentence(void **state)
{
    struct house h;
    json_t *own, *body = house_body("own");
    const char *first, *id;

    (void)state;
    house_open(&h, true, "planner:\n  workers: 1\n", NULL);
    own = json_deep_copy(json_object_get(body, "model"));
    documents_put(h.v, DOCUMENT_MODEL, "my-own", own, true, house_done, &h);
    house_wait(&h, h.answers + 1);
    if (h.result < 0) {
        fail_msg("%s", h.error);
    }
    json_decref(own);
    first = begin(&h, "first");
    json_object_set_new(body, "model", json_string("my-own"));
    id = house_submit_body(&h, body);
    assert_non_null(id);
    documents_delete(h.v, DOCUMENT_MODEL, "my-own", house_done, &h);
    house_wait(&h, h.answers + 1);
    atomic_store(&house_hold, false);
    house_until_status(&h, id, "failed");
    assert_non_null(strstr(json_string_value(json_object_get(h.answer, "error")), "my-own"));
    assert_null(strchr(json_string_value(json_object_get(h.answer, "error")), '\n'));
    house_until_status(&h, first, "completed");
    house_check(&h);
    house_close(&h);
}

/* Whatever the moment: it is cancelled, or it was completed before; never both. */
static void cancel_at_any_moment(void **state)
{
    struct house h;
    unsigned cancelled = 0, completed = 0;

    (void)state;
    house_open(&h, true, NULL, NULL);
    for (int i = 0; i < 60; i++) {
        const char *id = house_submit(&h, "race");
        bool was;

        for (int turn = 0; turn < i % 8; turn++) {
            const unsigned before = h.answers;

            evaluations_get(h.v, id, house_done, &h); /* a turn or two */
            house_wait(&h, before + 1);
        }
        ask(&h, evaluations_cancel, id);
        was = h.result == 0;
        assert_true(was || h.result == -EBUSY);
        house_until(&h, nobody_searches);
        house_settle(&h);
        assert_string_equal(house_status(&h, id), was ? "cancelled" : "completed");
        cancelled += was;
        completed += !was;
        house_check(&h);
    }
    assert_true(cancelled > 0);
    printf("cancelled %u, completed %u\n", cancelled, completed);
    house_close(&h);
}

static void ends_while_it_searches(void **state)
{
    struct house h;

    (void)state;
    house_open(&h, true, NULL, NULL);
    begin(&h, "end");
    evaluations_get(h.v, "who", house_done, &h);
    house_close(&h);
    assert_int_equal(h.result, -ECANCELED);
    assert_int_equal(atomic_load(&house_searches), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(progress_is_told_as_it_changes),
        cmocka_unit_test(cancelled_stays_cancelled),
        cmocka_unit_test(cancelled_while_it_ends),
        cmocka_unit_test(delete_stops_it),
        cmocka_unit_test(at_most_so_many_at_once),
        cmocka_unit_test(nothing_stays_of_what_was_cancelled),
        cmocka_unit_test(restart_begins_anew),
        cmocka_unit_test(takes_too_long),
        cmocka_unit_test(fails_with_a_sentence),
        cmocka_unit_test(cancel_at_any_moment),
        cmocka_unit_test(ends_while_it_searches),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
