// SPDX-License-Identifier: Apache-2.0
/* Workers: how many run at once, and whose turn it is when there are too few of them. */
#include <string.h>

#include "queue_house.h"

#define HOUSE(yaml)                                                                                \
    struct house house, *h = &house;                                                               \
    house_open(h, yaml, false)

enum { LINES = 3 };

static void submit_lines(struct house *h, int64_t model)
{
    struct task_order lines[LINES];

    for (size_t i = 0; i < LINES; i++) {
        lines[i] = (struct task_order){ .kind = TASK_OF_BATCH,
                                        .model_id = model,
                                        .type = "batch",
                                        .input = SPAN("line"),
                                        .batch_id = 7,
                                        .batch_line = (int64_t)i,
                                        .max_retries = -1 };
    }
    tasks_submit_lines(h->t, lines, LINES, NULL, house_done_fn, h);
    house_settle(h);
    assert_int_equal(h->result, LINES);
}

static void workers_are_never_exceeded(void **state)
{
    HOUSE("worker: {max_workers: 3, default_workers: 2}\n");
    int64_t a = house_model(h, "a", 0), b = house_model(h, "b", 5);

    for (int i = 0; i < 10; i++) {
        house_submit(h, a, 2);
    }
    assert_int_equal(h->running, 2);
    assert_int_equal(tasks_running(h->t, a), 2);
    for (int i = 0; i < 10; i++) {
        house_submit(h, b, 2);
    }
    assert_int_equal(h->running, 3);
    for (int i = 0; i < 20; i++) {
        house_complete(h, h->runs[i].id, "x");
    }
    assert_int_equal(h->run_count, 20);
    assert_int_equal(h->most_running, 3);
    house_check_counts(h);
    house_close(h);
}

/* Places that come late must not let more run than may. */
static void workers_are_never_exceeded_by_late_places(void **state)
{
    HOUSE("worker: {max_workers: 2}\n");
    int64_t a = house_model(h, "a", 2), b = house_model(h, "b", 2);

    h->reserve_says = 0;
    for (int i = 0; i < 3; i++) {
        house_submit(h, a, 2);
        house_submit(h, b, 2);
    }
    house_grant_all(h);
    assert_int_equal(h->running, 2);
    h->reserve_says = 1;
    for (int i = 0; i < 6; i++) {
        house_complete(h, h->runs[i].id, "x");
    }
    assert_int_equal(h->run_count, 6);
    assert_int_equal(h->most_running, 2);
    house_close(h);
}

/* Whose task has just ended may not take the worker of all models again and again. */
static void models_take_turns_when_workers_are_few(void **state)
{
    HOUSE("worker: {max_workers: 1}\n");
    int64_t a = house_model(h, "a", 1), b = house_model(h, "b", 1);
    static const int64_t expected[] = { 1, 2, 6, 3, 4, 5 };

    for (int i = 0; i < 5; i++) {
        house_submit(h, a, 2);
    }
    house_submit(h, b, 2);
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        assert_int_equal(h->runs[i].id, expected[i]);
        house_complete(h, expected[i], "x");
    }
    assert_int_equal(h->most_running, 1);
    house_close(h);
}

static void batches_yield(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), task;

    h->reserve_says = 0;
    submit_lines(h, model);
    task = house_submit(h, model, 1);
    house_grant_all(h);
    assert_int_equal(h->runs[0].id, task);
    house_complete(h, task, "x");
    house_grant_all(h);
    assert_int_equal(h->runs[1].id, 1);
    tasks_cancel_batch(h->t, 7, house_done_fn, h);
    house_settle(h);
    assert_int_equal(h->result, 3);
    assert_int_equal(h->running, 0);
    house_check_counts(h);
    house_close(h);
}

/* Also to other models' tasks, when it is the workers of all models that are few. */
static void batches_yield_to_all_models(void **state)
{
    HOUSE("worker: {max_workers: 1}\n");
    int64_t a = house_model(h, "a", 1), b = house_model(h, "b", 1), c = house_model(h, "c", 1);
    int64_t first = house_submit(h, c, 2), other, last;

    submit_lines(h, a);
    other = house_submit(h, b, 1);
    last = house_submit(h, a, 1);
    house_complete(h, first, "x");
    assert_int_equal(h->runs[1].id, other);
    house_complete(h, other, "x");
    assert_int_equal(h->runs[2].id, last);
    house_complete(h, last, "x");
    assert_int_equal(h->runs[3].id, first + 1);
    house_complete(h, first + 1, "x");
    other = house_submit(h, b, 1);
    assert_null(house_find(h, other));
    house_complete(h, first + 2, "x");
    assert_non_null(house_find(h, other));
    house_check_counts(h);
    house_close(h);
}

static void workers_have_numbers_of_their_own(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 3);
    struct task_worker w;
    size_t cursor = 0;

    submit_lines(h, model);
    house_complete(h, 2, "x");
    house_submit(h, model, 1); /* takes the number that is free, though its lane is another */
    for (unsigned i = 0; i < 3; i++) {
        static const int64_t expected[] = { 1, 4, 3 };

        assert_true(tasks_next_worker(h->t, &cursor, &w));
        assert_int_equal(w.number, i);
        assert_int_equal(w.task_id, expected[i]);
    }
    assert_false(tasks_next_worker(h->t, &cursor, &w));
    house_close(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workers_are_never_exceeded),
        cmocka_unit_test(workers_are_never_exceeded_by_late_places),
        cmocka_unit_test(models_take_turns_when_workers_are_few),
        cmocka_unit_test(batches_yield),
        cmocka_unit_test(batches_yield_to_all_models),
        cmocka_unit_test(workers_have_numbers_of_their_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
