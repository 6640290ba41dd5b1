// SPDX-License-Identifier: Apache-2.0
/* Ends and beginnings: restarts in the middle, draining, a store that fails, who is told what. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue_house.h"

static void what_ran_runs_again(void **state)
{
    struct house house, *h = &house;
    int64_t model, a, b;

    house_open(h, NULL, true);
    model = house_model(h, "m", 1);
    a = house_submit(h, model, 2);
    b = house_submit(h, model, 3);
    house_restart(h, false);
    sim_run_for(h->w, 10);
    assert_int_equal(h->run_count, 2);
    assert_int_equal(h->runs[1].id, b); /* pending, too: and its class goes first */
    house_complete(h, b, "x");
    assert_int_equal(h->runs[2].id, a);
    assert_int_equal(h->runs[2].fence, 2);
    house_check_counts(h);
    house_close(h);
}

static void delays_and_the_backlog_survive(void **state)
{
    struct house house, *h = &house;
    int64_t model, delayed;

    house_open(h, NULL, true);
    model = house_model(h, "m", 1);
    for (int i = 0; i < 700; i++) {
        house_submit(h, model, 2);
    }
    delayed = house_order(h, &(struct task_order){ .model_id = model,
                                                   .type = "custom",
                                                   .priority = 3,
                                                   .delay_ms = 60000,
                                                   .max_retries = -1 });
    house_restart(h, true);
    for (size_t i = 1; i < 700; i++) {
        house_complete(h, h->runs[i].id, "x");
    }
    assert_int_equal(h->run_count, 701);
    for (size_t i = 1; i < 701; i++) {
        assert_int_equal(h->runs[i].id, i); /* the first one ran before, and was given back */
    }
    house_complete(h, 700, "x");
    assert_null(house_find(h, delayed));
    sim_run_for(h->w, 61000);
    assert_non_null(house_find(h, delayed));
    house_check_counts(h);
    house_close(h);
}

static void runners_adopt(void **state)
{
    struct house house, *h = &house;
    int64_t model, id;

    house_open(h, NULL, true);
    snprintf(h->instance, sizeof(h->instance), "uuid-7");
    model = house_model(h, "m", 1);
    id = house_submit(h, model, 2);
    h->adopts = h->leaves = true;
    house_restart(h, true);
    assert_int_equal(h->run_count, 1);
    assert_non_null(house_find(h, id));
    assert_int_equal(tasks_running(h->t, model), 1);
    house_complete(h, id, "x");
    assert_int_equal(house_state(h, id), TASK_COMPLETED);
    assert_int_equal(house_number(h, "SELECT fence FROM tasks WHERE id = ?", id), 1);
    house_check_counts(h);
    house_close(h);
}

static void on_drained(void *arg)
{
    *(bool *)arg = true;
}

static void draining_waits_and_gives_back(void **state)
{
    struct house house, *h = &house;
    int64_t model, a, b;
    bool over = false;

    house_open(h, NULL, false);
    model = house_model(h, "m", 2);
    a = house_submit(h, model, 2);
    b = house_submit(h, model, 2);
    house_submit(h, model, 2);
    tasks_drain(h->t, 5000, on_drained, &over);
    assert_false(over);
    house_complete(h, a, "x");
    sim_run_for(h->w, 4000);
    assert_false(over);
    assert_int_equal(h->run_count, 2); /* nothing new begins */
    sim_run_for(h->w, 2000);
    assert_true(over);
    assert_int_equal(house_state(h, b), TASK_PENDING);
    assert_int_equal(h->cancels, 1);
    house_close(h);
}

static void draining_nothing_is_over_in_a_later_turn(void **state)
{
    struct house house, *h = &house;
    bool over = false;

    house_open(h, NULL, false);
    tasks_drain(h->t, 5000, on_drained, &over);
    assert_false(over);
    house_settle(h);
    assert_true(over);
    house_close(h);
}

/* A claim on its way as draining begins is given back, and never runs. */
static void claims_on_their_way_are_given_back(void **state)
{
    struct house house, *h = &house;
    int64_t model, id;
    bool over = false;

    house_open(h, NULL, false);
    model = house_model(h, "m", 1);
    h->reserve_says = 0;
    id = house_submit(h, model, 2);
    h->slots[0].granted = true;
    task_slot_granted(h->slots[0].slot);
    tasks_drain(h->t, 5000, on_drained, &over);
    house_settle(h);
    assert_true(over);
    assert_int_equal(h->run_count, 0);
    assert_int_equal(house_state(h, id), TASK_PENDING);
    assert_int_equal(house_number(h, "SELECT fence FROM tasks WHERE id = ?", id), 1);
    house_close(h);
}

/* Its place goes while the claim is on its way. */
static void places_that_go_meanwhile(void **state)
{
    struct house house, *h = &house;
    int64_t model, id;
    struct task_slot *slot;

    house_open(h, NULL, false);
    model = house_model(h, "m", 1);
    h->reserve_says = 0;
    id = house_submit(h, model, 2);
    slot = h->slots[0].slot;
    task_slot_granted(slot);
    h->slots[0].slot = NULL;
    task_slot_refused(slot, &(struct error){ -EPIPE, "it went" });
    h->reserve_says = 1;
    sim_run_for(h->w, 2000);
    assert_int_equal(h->run_count, 1);
    assert_int_equal(h->runs[0].id, id);
    assert_int_equal(h->runs[0].fence, 2);
    house_close(h);
}

/* Then berth ends at once: the runner knows nothing of that place any more. */
static void places_that_went_are_no_more_the_runners(void **state)
{
    struct house house, *h = &house;
    struct task_slot *slot;

    house_open(h, NULL, false);
    h->reserve_says = 0;
    house_submit(h, house_model(h, "m", 1), 2);
    slot = h->slots[0].slot;
    task_slot_granted(slot);
    h->slots[0].slot = NULL;
    task_slot_refused(slot, &(struct error){ -EPIPE, "it went" });
    house_close(h);
    assert_int_equal(h->cancels, 0);
}

static void everybody_is_told_at_the_end(void **state)
{
    struct house house, *h = &house;
    int64_t model;
    struct task_order order;

    house_open(h, NULL, true);
    model = house_model(h, "m", 1);
    order = (struct task_order){ .model_id = model, .type = "custom", .max_retries = -1 };
    h->answers = 0;
    for (int i = 0; i < 300; i++) {
        assert_int_equal(tasks_submit(h->t, &order, house_done_fn, h, NULL), 0);
    }
    tasks_cancel(h->t, 1, house_done_fn, h);
    house_restart(h, false);
    assert_int_equal(h->answers, 301);
    assert_int_equal(h->result, -ECANCELED);
    assert_int_equal(h->run_count, 1); /* what was with the store is stored */
    house_check_counts(h);
    house_close(h);
}

struct lent {
    struct house *h;
    bool ran, told;
};

static int use_lent(void *arg, struct sql *db, struct error *reterr)
{
    struct lent *lent = arg;

    assert_false(lent->told); /* after that it would be gone */
    lent->ran = true;
    return 0;
}

static void on_lent(void *arg, int result, const struct task *task, const struct error *e)
{
    struct lent *lent = arg;

    assert_int_equal(result, -ECANCELED);
    lent->told = true;
}

static void what_is_lent_is_told_when_the_store_is_done(void **state)
{
    struct house house, *h = &house;
    struct lent lent = { .h = h };
    struct task_order line = { .kind = TASK_OF_BATCH, .type = "batch", .batch_id = 1 };

    house_open(h, NULL, true);
    line.model_id = house_model(h, "m", 1);
    tasks_submit_lines(h->t, &line, 1, use_lent, on_lent, &lent);
    house_restart(h, false);
    assert_true(lent.ran);
    assert_true(lent.told);
    house_close(h);
}

static int fill(struct store_op *op, struct sql *db, struct error *reterr)
{
    return sql_run(db, reterr, "PRAGMA max_page_count = 1", "");
}

static void nothing(struct store_op *op)
{
}

/* The disk is full: what is asked for is refused, what runs ends for its runner, nothing new
 * begins. */
static void read_only_stores(void **state)
{
    struct house house, *h = &house;
    int64_t model, a;
    struct store_op op = { .run = fill, .done = nothing };
    static char big[200000];

    memset(big, 'x', sizeof(big));
    house_open(h, NULL, true);
    model = house_model(h, "m", 1);
    a = house_submit(h, model, 2);
    house_submit(h, model, 2);
    assert_true(store_write_now(h->store, &op) >= 0);
    h->answers = 0;
    assert_true(house_order(h, &(struct task_order){ .model_id = model,
                                                     .type = "custom",
                                                     .input = { big, sizeof(big) },
                                                     .max_retries = -1 }) < 0);
    assert_non_null(store_read_only_reason(h->store));
    assert_int_equal(house_submit(h, model, 2), -EROFS);
    tasks_cancel(h->t, 2, house_done_fn, h);
    house_settle(h);
    assert_int_equal(h->result, -EROFS);
    house_done(h, a, &(struct task_result){ .http_status = 200 });
    sim_run_for(h->w, 5000);
    assert_int_equal(h->running, 0);
    assert_int_equal(h->run_count, 1);
    assert_int_equal(h->answers, 2);
    house_restart(h, false);
    assert_null(store_read_only_reason(h->store));
    sim_run_for(h->w, 10);
    assert_int_equal(h->runs[1].id, a); /* its end was not stored: once more, at the next fence */
    assert_int_equal(h->runs[1].fence, 2);
    house_check_counts(h);
    house_close(h);
}

static int forbid_poison(struct store_op *op, struct sql *db, struct error *reterr)
{
    return sql_run(db, reterr,
                   "CREATE TRIGGER poison BEFORE INSERT ON tasks WHEN new.type = 'poison' "
                   "BEGIN SELECT raise(ABORT, 'poison'); END",
                   "");
}

/* A change that the database refuses takes nothing of berth's own with it. */
static void one_bad_change_does_not_lose_the_end_of_another(void **state)
{
    struct house house, *h = &house;
    struct store_op op = { .run = forbid_poison };
    int64_t model, id;

    house_open(h, NULL, false);
    model = house_model(h, "m", 1);
    id = house_submit(h, model, 2);
    assert_int_equal(store_write_now(h->store, &op), 0);
    house_done(h, id, &(struct task_result){ .output = SPAN("x"), .http_status = 200 });
    assert_true(house_order(h, &(struct task_order){ .model_id = model,
                                                     .type = "poison",
                                                     .priority = 2,
                                                     .max_retries = -1 }) < 0);
    assert_non_null(strstr(h->error, "poison"));
    sim_run_for(h->w, 1000);
    assert_int_equal(house_state(h, id), TASK_COMPLETED);
    assert_true(house_submit(h, model, 2) > id);
    house_check_counts(h);
    house_close(h);
}

static void count_drained(void *arg)
{
    ++*(int *)arg;
}

/* A second signal is less patient. */
static void draining_again_is_shorter(void **state)
{
    struct house house, *h = &house;
    int first = 0, second = 0;
    int64_t id;

    house_open(h, NULL, false);
    id = house_submit(h, house_model(h, "m", 1), 2);
    tasks_drain(h->t, 3600 * 1000, count_drained, &first);
    sim_run_for(h->w, 1000);
    tasks_drain(h->t, 0, count_drained, &second);
    sim_run_for(h->w, 1000);
    assert_int_equal(first, 0);
    assert_int_equal(second, 1);
    assert_int_equal(house_state(h, id), TASK_PENDING);
    sim_run_for(h->w, 2 * 3600 * 1000);
    assert_int_equal(second, 1);
    house_close(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_bad_change_does_not_lose_the_end_of_another),
        cmocka_unit_test(draining_again_is_shorter),
        cmocka_unit_test(what_ran_runs_again),
        cmocka_unit_test(delays_and_the_backlog_survive),
        cmocka_unit_test(runners_adopt),
        cmocka_unit_test(draining_waits_and_gives_back),
        cmocka_unit_test(draining_nothing_is_over_in_a_later_turn),
        cmocka_unit_test(claims_on_their_way_are_given_back),
        cmocka_unit_test(places_that_go_meanwhile),
        cmocka_unit_test(places_that_went_are_no_more_the_runners),
        cmocka_unit_test(everybody_is_told_at_the_end),
        cmocka_unit_test(what_is_lent_is_told_when_the_store_is_done),
        cmocka_unit_test(read_only_stores),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
