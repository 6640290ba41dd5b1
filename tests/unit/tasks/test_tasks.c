// SPDX-License-Identifier: Apache-2.0
/*
 * The queue, rule by rule: what is accepted is there, in which order it is claimed, how attempts
 * end, who may work, and what is told.
 */
#include <string.h>

#include "queue_house.h"
#include "tasks/tasks_int.h"

#define HOUSE(yaml)                                                                                \
    struct house house, *h = &house;                                                               \
    house_open(h, yaml, false)

static void submit_and_complete(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), id;

    h->tells = true;
    id = house_submit(h, model, TASK_MEDIUM);
    assert_int_equal(id, 1);
    assert_int_equal(house_state(h, id), TASK_RUNNING);
    house_complete(h, id, "an answer");
    assert_string_equal(h->story, "1:new>pending 1:pending>running 1:running>completed");
    assert_true(house_get(h, id));
    assert_int_equal(h->d.task->state, TASK_COMPLETED);
    assert_string_equal(h->d.task->output, "an answer");
    assert_string_equal(h->d.task->input, "hello");
    assert_string_equal(h->d.task->model, "m");
    assert_int_equal(h->d.task->http_status, 200);
    assert_int_equal(h->d.log_count, 2);
    assert_string_equal(h->d.logs[0].message, "submitted");
    assert_string_equal(h->d.logs[1].message, "completed");
    assert_false(house_get(h, 99));
    house_check_counts(h);
    house_close(h);
}

static void order_is_strict_and_fifo(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), first = house_submit(h, model, TASK_LOW);
    static const unsigned classes[] = { 1, 3, 2, 3, 1, 2, 0 };
    static const int64_t expected[] = { 3, 5, 4, 7, 2, 6, 8 };

    for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
        house_submit(h, model, classes[i]);
    }
    house_complete(h, first, "x");
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        assert_int_equal(h->runs[i + 1].id, expected[i]);
        house_complete(h, expected[i], "x");
    }
    house_close(h);
}

/* The first task when the place comes, not when it was asked for. */
static void what_comes_before_the_place_overtakes(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), low, high;

    h->reserve_says = 0;
    low = house_submit(h, model, TASK_LOW);
    high = house_submit(h, model, TASK_HIGH);
    house_grant_all(h);
    assert_int_equal(h->run_count, 1);
    assert_int_equal(h->runs[0].id, high);
    assert_int_equal(house_state(h, low), TASK_PENDING);
    assert_int_equal(h->cancels, 1); /* the lesser asking was replaced by a higher one */
    house_close(h);
}

static void changed_priority_moves(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), a = house_submit(h, model, 1), b, c;

    b = house_submit(h, model, 1);
    c = house_submit(h, model, 1);
    tasks_set_priority(h->t, c, TASK_HIGH, house_done_fn, h);
    house_settle(h);
    assert_int_equal(h->result, 0);
    house_complete(h, a, "x");
    assert_int_equal(h->runs[1].id, c);
    house_complete(h, c, "x");
    assert_int_equal(h->runs[2].id, b);
    tasks_set_priority(h->t, c, TASK_HIGH, house_done_fn, h);
    house_settle(h);
    assert_int_equal(h->result, -EBUSY);
    assert_non_null(strstr(h->error, "completed"));
    tasks_set_priority(h->t, 999, TASK_HIGH, house_done_fn, h);
    house_settle(h);
    assert_int_equal(h->result, -ENOENT);
    house_check_counts(h);
    house_close(h);
}

static void moved_down_it_waits_for_its_new_turn(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), a = house_submit(h, model, 2), b, c;

    b = house_submit(h, model, 3);
    c = house_submit(h, model, 2);
    tasks_set_priority(h->t, b, TASK_LOW, house_done_fn, h);
    house_settle(h);
    house_complete(h, a, "x");
    assert_non_null(house_find(h, c));
    house_complete(h, c, "x");
    assert_non_null(house_find(h, b));
    house_close(h);
}

static void cancelled_pending_never_runs(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), a = house_submit(h, model, 2),
            b = house_submit(h, model, 2);

    tasks_cancel(h->t, b, house_done_fn, h);
    house_settle(h);
    assert_int_equal(h->state, TASK_CANCELLED);
    house_complete(h, a, "x");
    assert_int_equal(h->run_count, 1);
    tasks_cancel(h->t, b, house_done_fn, h);
    house_settle(h);
    assert_int_equal(h->result, -EBUSY);
    house_check_counts(h);
    house_close(h);
}

static void cancelled_running_ends_its_work(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), a = house_submit(h, model, 2),
            b = house_submit(h, model, 2);

    tasks_cancel(h->t, a, house_done_fn, h);
    house_settle(h);
    assert_int_equal(h->state, TASK_CANCELLED);
    assert_int_equal(h->cancels, 1);
    assert_null(house_find(h, a));
    assert_non_null(house_find(h, b));
    assert_int_equal(house_state(h, a), TASK_CANCELLED);
    house_close(h);
}

/* The completion is on its way as the task is cancelled: whichever came first stands. */
static void late_completion_changes_nothing(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), a = house_submit(h, model, 2);

    tasks_cancel(h->t, a, house_done_fn, h);
    house_done(h, a, &(struct task_result){ .output = SPAN("late") });
    house_settle(h);
    assert_int_equal(h->result, 0);
    assert_int_equal(house_state(h, a), TASK_CANCELLED);
    assert_true(house_get(h, a));
    assert_null(h->d.task->output);

    a = house_submit(h, model, 2);
    house_done(h, a, &(struct task_result){ .output = SPAN("in time") });
    tasks_cancel(h->t, a, house_done_fn, h);
    house_settle(h);
    assert_int_equal(h->result, -EBUSY);
    assert_int_equal(house_state(h, a), TASK_COMPLETED);
    house_check_counts(h);
    house_close(h);
}

static void fail_attempt(struct house *h, int64_t id, bool helps)
{
    house_done(h, id, &(struct task_result){ .error = -EIO, .helps = helps, .text = "it broke" });
    house_settle(h);
}

static int64_t wait_of(struct house *h, int64_t id)
{
    return house_number(h, "SELECT due_ms FROM tasks WHERE id = ?", id) - world_wall_ms(h->w);
}

static void failures_are_retried_with_growing_delays(void **state)
{
    HOUSE("queue: {retry_delay: 10s, retry_delay_max: 25s, max_retries: 3}\n");
    int64_t model = house_model(h, "m", 1), id = house_submit(h, model, 2);
    static const int64_t middle[] = { 10000, 20000, 25000 };

    for (size_t i = 0; i < ARRAY_SIZE(middle); i++) {
        int64_t wait;

        fail_attempt(h, id, true);
        wait = wait_of(h, id);
        assert_in_range(wait, middle[i] * 3 / 4 - 10, middle[i] * 5 / 4);
        house_check_counts(h);
        sim_run_for(h->w, (uint64_t)wait - 10);
        assert_null(house_find(h, id));
        sim_run_for(h->w, 20);
        assert_non_null(house_find(h, id));
    }
    fail_attempt(h, id, true);
    assert_true(house_get(h, id));
    assert_int_equal(h->d.task->state, TASK_FAILED);
    assert_true(h->d.task->dead);
    assert_int_equal(h->d.task->retry_count, 3);
    assert_int_equal(h->d.task->fence, 4);
    assert_string_equal(h->d.task->error, "it broke");
    assert_int_equal(h->d.log_count, 5);
    assert_int_equal(house_number(h, "SELECT count(*) FROM events WHERE kind = 'task_dead'", 0), 1);
    house_check_counts(h);
    house_close(h);
}

static void what_would_not_help_is_not_retried(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), id = house_submit(h, model, 2);

    fail_attempt(h, id, false);
    assert_true(house_get(h, id));
    assert_int_equal(h->d.task->state, TASK_FAILED);
    assert_false(h->d.task->dead);
    assert_int_equal(h->d.task->retry_count, 0);
    tasks_retry(h->t, id, false, house_done_fn, h);
    house_settle(h);
    assert_int_equal(h->result, 0);
    assert_non_null(house_find(h, id));
    house_complete(h, id, "x");
    assert_true(house_get(h, id));
    assert_int_equal(h->d.task->retry_count, 1);
    assert_null(h->d.task->error);
    house_check_counts(h);
    house_close(h);
}

static void dead_ones_come_back_only_again(void **state)
{
    HOUSE("queue: {max_retries: 0}\n");
    int64_t model = house_model(h, "m", 1), id = house_submit(h, model, 2);

    fail_attempt(h, id, true);
    tasks_retry(h->t, id, false, house_done_fn, h);
    house_settle(h);
    assert_int_equal(h->result, -EBUSY);
    tasks_retry(h->t, id, true, house_done_fn, h);
    house_settle(h);
    assert_int_equal(h->result, 0);
    assert_non_null(house_find(h, id));
    house_close(h);
}

static void lost_attempts_begin_anew_uncounted(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), id = house_submit(h, model, 2);

    house_done(h, id, &(struct task_result){ .error = -EPIPE, .lost = true, .text = "gone" });
    house_settle(h);
    assert_non_null(house_find(h, id));
    assert_int_equal(h->run_count, 2);
    assert_int_equal(h->runs[1].fence, 2);
    assert_int_equal(house_number(h, "SELECT retry_count FROM tasks WHERE id = ?", id), 0);
    /* …but not for ever: what takes its worker down each time fails */
    for (int i = 0; i < 9; i++) {
        house_done(h, id, &(struct task_result){ .error = -EPIPE, .lost = true, .text = "gone" });
        house_settle(h);
    }
    assert_non_null(house_find(h, id));
    house_done(h, id, &(struct task_result){ .error = -EPIPE, .lost = true, .text = "gone" });
    house_settle(h);
    assert_null(house_find(h, id));
    assert_int_equal(house_number(h, "SELECT retry_count FROM tasks WHERE id = ?", id), 1);
    house_close(h);
}

static void an_answer_may_name_its_delay(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), id = house_submit(h, model, 2);

    house_done(h, id,
               &(struct task_result){
                   .error = -EAGAIN, .helps = true, .text = "busy", .retry_after_ms = 7000 });
    house_settle(h);
    assert_in_range(wait_of(h, id), 6990, 7000);
    house_close(h);
}

static void attempts_end_by_time(void **state)
{
    HOUSE("queue: {task_timeout: 5s}\n");
    int64_t model = house_model(h, "m", 1), id = house_submit(h, model, 2);

    sim_run_for(h->w, 4900);
    assert_non_null(house_find(h, id));
    sim_run_for(h->w, 200);
    assert_null(house_find(h, id));
    assert_int_equal(h->cancels, 1);
    assert_true(house_get(h, id));
    assert_int_equal(h->d.task->state, TASK_PENDING);
    assert_string_equal(h->d.task->error, "the attempt took longer than 5 s");
    assert_int_equal(h->d.task->retry_count, 1);
    house_close(h);
}

static void delayed_tasks_wait(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 5), id, at, past;
    struct task_order order = {
        .model_id = model, .type = "custom", .priority = 2, .input = SPAN("x"), .max_retries = -1
    };

    order.delay_ms = 30000;
    id = house_order(h, &order);
    order.delay_ms = 0;
    order.run_at_ms = world_wall_ms(h->w) + 30000;
    at = house_order(h, &order);
    order.run_at_ms = world_wall_ms(h->w) - 1;
    past = house_order(h, &order);
    house_check_counts(h);
    sim_run_for(h->w, 29000);
    assert_null(house_find(h, id));
    assert_null(house_find(h, at));
    assert_non_null(house_find(h, past));
    sim_run_for(h->w, 1500);
    assert_non_null(house_find(h, id));
    assert_non_null(house_find(h, at));
    house_check_counts(h);
    house_close(h);
}

static void a_full_queue_refuses(void **state)
{
    HOUSE("queue: {max_queue_size: 3}\n");
    int64_t model = house_model(h, "m", 1);
    uint64_t after;

    house_submit(h, model, 2); /* runs */
    for (int i = 0; i < 3; i++) {
        assert_true(house_submit(h, model, 2) > 0);
    }
    assert_int_equal(house_submit(h, model, 2), -EAGAIN);
    assert_non_null(strstr(h->error, "full"));
    after = tasks_retry_after_ms(h->t);
    assert_in_range(after, 1000, 300000);
    tasks_cancel(h->t, 4, house_done_fn, h);
    house_settle(h);
    assert_true(house_submit(h, model, 2) > 0);
    house_close(h);
}

static void a_full_queue_refuses_bytes(void **state)
{
    HOUSE("queue: {max_queue_bytes: 1MiB}\n");
    int64_t model = house_model(h, "m", 1);
    static char big[600 * 1024];
    struct task_order order = { .model_id = model,
                                .type = "custom",
                                .priority = 2,
                                .input = { big, sizeof(big) },
                                .max_retries = -1 };

    memset(big, 'x', sizeof(big));
    assert_true(house_order(h, &order) > 0);
    assert_int_equal(house_order(h, &order), -EAGAIN);
    house_complete(h, 1, "x");
    assert_true(house_order(h, &order) > 0);
    house_close(h);
}

/* What was accepted in this very turn counts, too. */
static void a_full_queue_counts_what_comes(void **state)
{
    HOUSE("queue: {max_queue_size: 3}\n");
    int64_t model = house_model(h, "m", 1);
    struct task_order order = {
        .model_id = model, .type = "custom", .priority = 2, .input = SPAN("x"), .max_retries = -1
    };

    for (int i = 0; i < 3; i++) {
        assert_int_equal(tasks_submit(h->t, &order, NULL, NULL, NULL), 0);
    }
    assert_int_equal(tasks_submit(h->t, &order, NULL, NULL, NULL), -EAGAIN);
    house_settle(h);
    house_check_counts(h);
    house_close(h);
}

static void idempotency_keys(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), id;
    struct task_order order = { .model_id = model,
                                .type = "custom",
                                .priority = 2,
                                .input = SPAN("x"),
                                .idempotency_key = SPAN("key-1"),
                                .max_retries = -1 };

    id = house_order(h, &order);
    assert_int_equal(h->result, 0);
    h->id = 0;
    assert_int_equal(house_order(h, &order), id);
    assert_int_equal(h->result, 1);
    order.input = SPAN("y");
    assert_int_equal(house_order(h, &order), -EEXIST);
    assert_int_equal(house_number(h, "SELECT count(*) FROM tasks", 0), 1);
    assert_int_equal(house_number(h, "SELECT count(*) FROM task_inputs", 0), 1);
    house_check_counts(h);
    house_close(h);
}

static void offline_models_wait(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), id;

    house_model_status(h, model, MODEL_OFFLINE);
    id = house_submit(h, model, 2);
    assert_int_equal(house_state(h, id), TASK_PENDING);
    house_model_status(h, model, MODEL_MAINTENANCE);
    assert_int_equal(house_state(h, id), TASK_PENDING);
    house_model_status(h, model, MODEL_ONLINE);
    assert_int_equal(house_state(h, id), TASK_RUNNING);
    house_close(h);
}

static void removed_models_fail_what_waits(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1);

    house_model_status(h, model, MODEL_OFFLINE);
    for (int i = 0; i < 300; i++) {
        house_submit(h, model, 2);
    }
    house_order(h, &(struct task_order){ .model_id = model,
                                         .type = "custom",
                                         .priority = 2,
                                         .delay_ms = 1000000,
                                         .max_retries = -1 });
    house_remove_model(h, model);
    sim_run_for(h->w, 100);
    assert_int_equal(house_number(h, "SELECT count(*) FROM tasks WHERE state = 3", 0), 301);
    assert_true(house_get(h, 1));
    assert_string_equal(h->d.task->error, "its model was removed");
    assert_int_equal(house_submit(h, model, 2), -ENOENT);
    house_check_counts(h);
    house_close(h);
}

static void refused_places_are_asked_for_again(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), id;
    unsigned reserves;

    h->reserve_says = -EAGAIN;
    id = house_submit(h, model, 2);
    assert_int_equal(house_state(h, id), TASK_PENDING);
    reserves = h->reserves;
    sim_run_for(h->w, 500);
    assert_int_equal(h->reserves, reserves);
    h->reserve_says = 1;
    sim_run_for(h->w, 1000);
    assert_int_equal(house_state(h, id), TASK_RUNNING);
    h->reserve_says = -EAGAIN;
    id = house_submit(h, model, 2);
    house_complete(h, 1, "x");
    assert_int_equal(house_state(h, id), TASK_PENDING);
    h->reserve_says = 1;
    tasks_wake(h->t);
    house_settle(h);
    assert_int_equal(house_state(h, id), TASK_RUNNING);
    house_close(h);
}

/* Lines of batches use the workers that nobody else wants, and give up a place that is not there
 * yet. */
static int refuse_lines(void *arg, struct sql *db, struct error *reterr)
{
    int r =
        sql_run(db, reterr, "INSERT INTO lanes(id, kind, model_id, name) VALUES(99, 0, 0, '')", "");

    (void)arg;
    return r < 0 ? r : error_set(reterr, -EDQUOT, "no more of these");
}

static void refused_lines_leave_nothing(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1);
    struct task_order line = { .kind = TASK_OF_BATCH,
                               .model_id = model,
                               .type = "batch",
                               .input = SPAN("line"),
                               .batch_id = 7,
                               .max_retries = -1 };

    tasks_submit_lines(h->t, &line, 1, refuse_lines, house_done_fn, h);
    house_settle(h);
    assert_int_equal(h->result, -EDQUOT);
    assert_string_equal(h->error, "no more of these");
    assert_int_equal(house_number(h, "SELECT count(*) FROM tasks", 0), 0);
    assert_int_equal(house_number(h, "SELECT count(*) FROM lanes WHERE id = 99", 0), 0);
    assert_int_equal(house_number(h, "SELECT count(*) FROM task_counts", 0), 0);
    house_close(h);
}

static void ageing_lets_the_old_go_first(void **state)
{
    HOUSE("queue: {ageing: 60s}\n");
    int64_t model = house_model(h, "m", 1), first = house_submit(h, model, 3), old, high;

    old = house_submit(h, model, 1);
    sim_run_for(h->w, 61000);
    high = house_submit(h, model, 3);
    house_complete(h, first, "x");
    assert_non_null(house_find(h, old));
    house_complete(h, old, "x");
    assert_non_null(house_find(h, high));
    house_close(h);
}

/* More than the windows hold, submitted, moved and cancelled while they are beyond it. */
static void beyond_the_windows(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), first = house_submit(h, model, 2);
    struct task_order order = {
        .model_id = model, .type = "custom", .priority = 2, .input = SPAN("x"), .max_retries = -1
    };

    for (int i = 0; i < 1000; i++) {
        assert_int_equal(tasks_submit(h->t, &order, NULL, NULL, NULL), 0);
    }
    house_settle(h);
    tasks_cancel(h->t, 900, NULL, NULL);
    tasks_set_priority(h->t, 800, TASK_HIGH, NULL, NULL);
    tasks_set_priority(h->t, 700, TASK_LOW, NULL, NULL);
    house_settle(h);
    house_complete(h, first, "x");
    assert_int_equal(h->runs[1].id, 800);
    for (size_t i = 1; i < h->run_count; i++) {
        house_complete(h, h->runs[i].id, "x");
    }
    assert_int_equal(h->run_count, 1000);
    for (size_t i = 3; i < 999; i++) {
        assert_true(h->runs[i].id > h->runs[i - 1].id);
    }
    assert_int_equal(h->runs[999].id, 700);
    house_check_counts(h);
    house_close(h);
}

static void bound_slots(void **state)
{
    HOUSE(NULL);
    struct task_order order = { .kind = TASK_OF_INSTANCE,
                                .model = "theirs",
                                .type = "instance",
                                .priority = 2,
                                .public_id = "task-a",
                                .input = SPAN("{}"),
                                .max_retries = -1 };
    int64_t id;

    order.slot = task_slot_claim(h->t, TASK_OF_INSTANCE, "theirs", "uuid-1", NULL);
    h->slots[0] = (struct house_slot){ .slot = order.slot, .granted = true };
    h->tells = true;
    id = house_order(h, &order);
    assert_string_equal(h->story, "1:new>running");
    assert_int_equal(h->runs[0].fence, 1);
    task_slot_set_remote(house_find(h, id)->slot, "remote-9");
    house_settle(h);
    assert_true(house_get(h, id));
    assert_string_equal(h->d.task->remote_id, "remote-9");
    assert_string_equal(h->d.task->instance, "uuid-1");
    /* a taken id: the slot is given back */
    order.slot = task_slot_claim(h->t, TASK_OF_INSTANCE, "theirs", "uuid-1", NULL);
    h->slots[1] = (struct house_slot){ .slot = order.slot, .granted = true };
    assert_int_equal(house_order(h, &order), -EEXIST);
    assert_null(h->slots[1].slot);
    task_slot_cancel(task_slot_claim(h->t, TASK_OF_INSTANCE, "theirs", "uuid-1", NULL));
    house_check_counts(h);
    house_close(h);
}

static void retention_removes_what_is_old(void **state)
{
    HOUSE("queue: {keep: 1h, max_retries: 0}\n");
    int64_t model = house_model(h, "m", 1);

    for (int i = 0; i < 250; i++) {
        int64_t id = house_submit(h, model, 2);

        house_complete(h, id, "an output");
    }
    fail_attempt(h, house_submit(h, model, 2), true);
    sim_run_for(h->w, 30 * 60 * 1000);
    house_submit(h, model, 2);
    house_complete(h, 252, "x");
    sim_run_for(h->w, 31 * 60 * 1000);
    assert_int_equal(house_number(h, "SELECT count(*) FROM tasks", 0), 1);
    assert_int_equal(house_number(h, "SELECT count(*) FROM task_inputs", 0), 1);
    assert_int_equal(house_number(h, "SELECT count(*) FROM task_outputs", 0), 1);
    assert_int_equal(house_number(h, "SELECT count(*) FROM task_logs", 0), 0);
    assert_int_equal(house_number(h, "SELECT sum(completed) FROM task_days", 0), 251);
    assert_int_equal(house_number(h, "SELECT sum(failed) FROM task_days", 0), 1);
    house_check_counts(h);
    house_close(h);
}

static void removing(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), id = house_submit(h, model, 2);

    tasks_remove(h->t, id, house_done_fn, h);
    house_settle(h);
    assert_int_equal(h->result, -EBUSY);
    house_complete(h, id, "x");
    tasks_remove(h->t, id, house_done_fn, h);
    house_settle(h);
    assert_int_equal(h->result, 0);
    assert_int_equal(house_state(h, id), -1);
    house_check_counts(h);
    house_close(h);
}

/* What a caller of another room does with rows of its own, and which tasks go with them. */
struct erasing {
    int64_t ids[3];
    int result; /* what it says */
};

static struct house *erased_by; /* is told */

static int erase(void *arg, struct sql *db, struct task_ids *ret, struct error *reterr)
{
    const struct erasing *e = arg;
    int r = sql_run(db, reterr, "INSERT INTO lanes VALUES(77, 0, 0, 'erased')", "");

    ret->ids = calloc(3, sizeof(*ret->ids));
    for (; ret->count < 3; ret->count++) {
        ret->ids[ret->count] = e->ids[ret->count];
    }
    return e->result < 0 ? error_set(reterr, e->result, "it must not be") : r;
}

static void on_erased(void *arg, int result, const struct task *task, const struct error *e)
{
    (void)arg;
    assert_null(task);
    house_done_fn(erased_by, result, NULL, e);
}

/* Whatever state they are in, with the caller's rows or not at all; what runs is let go of. */
static void erasing(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), runs = house_submit(h, model, 2),
            waits = house_submit(h, model, 2), last = house_submit(h, model, 2);
    struct erasing e = { { runs, waits, 4711 }, -EACCES };

    erased_by = h;
    tasks_erase(h->t, erase, on_erased, &e);
    house_settle(h);
    assert_int_equal(h->result, -EACCES);
    assert_string_equal(h->error, "it must not be");
    assert_int_equal(house_state(h, runs), TASK_RUNNING);
    assert_int_equal(house_number(h, "SELECT count(*) FROM lanes WHERE id = 77", 0), 0);
    e.result = 0;
    tasks_erase(h->t, erase, on_erased, &e);
    house_settle(h);
    assert_int_equal(h->result, 2);
    assert_int_equal(house_number(h, "SELECT count(*) FROM lanes WHERE id = 77", 0), 1);
    assert_int_equal(house_state(h, runs), -1);
    assert_int_equal(house_state(h, waits), -1);
    assert_int_equal(house_number(h, "SELECT count(*) FROM task_inputs", 0), 1);
    assert_int_equal(h->cancels, 1);
    assert_int_equal(house_state(h, last), TASK_RUNNING); /* the worker is free */
    house_check_counts(h);
    house_complete(h, last, "x");
    house_close(h);
}

/* What is to be kept is passed over by retention. */
static void kept_until_removed(void **state)
{
    HOUSE("queue:\n  keep: 1s\n");
    int64_t model = house_model(h, "m", 1);
    const struct task_order orders[] = {
        { .model_id = model, .type = "custom", .priority = 2, .batch_id = TASK_KEPT },
        { .model_id = model, .type = "custom", .priority = 2 },
    };

    tasks_submit_lines(h->t, orders, 2, NULL, house_done_fn, h);
    house_settle(h);
    house_complete(h, 1, "x");
    house_complete(h, 2, "x");
    sim_run_for(h->w, 300000);
    assert_int_equal(house_state(h, 1), TASK_COMPLETED);
    assert_int_equal(house_state(h, 2), -1);
    house_close(h);
}

static void too_large_an_output_fails(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), id = house_submit(h, model, 2);
    char *big = calloc(1, TASK_OUTPUT_MAX + 1);

    house_done(h, id, &(struct task_result){ .output = { big, TASK_OUTPUT_MAX + 1 } });
    house_settle(h);
    free(big);
    assert_int_equal(house_state(h, id), TASK_FAILED);
    house_close(h);
}

/* What an attempt of an earlier fence tells changes nothing. */
static void earlier_fences_change_nothing(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), id = house_submit(h, model, 2);

    house_done(h, id, &(struct task_result){ .error = -EPIPE, .lost = true, .text = "gone" });
    house_settle(h);
    finish_add(h->t, id, 1, &(struct task_result){ .output = SPAN("late") });
    remote_add(&(struct task_slot){ .tasks = h->t, .task_id = id, .fence = 1 }, "late");
    house_settle(h);
    assert_true(house_get(h, id));
    assert_int_equal(h->d.task->state, TASK_RUNNING);
    assert_int_equal(h->d.task->fence, 2);
    assert_null(h->d.task->output);
    assert_null(h->d.task->remote_id);
    house_complete(h, id, "in time");
    assert_int_equal(house_state(h, id), TASK_COMPLETED);
    house_close(h);
}

/* A window may hold what is not ready any more: its claim changes nothing, and the next is taken.
 */
static void claims_of_what_is_not_ready_change_nothing(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), first = house_submit(h, model, 2), delayed, other;
    struct lane *lane;

    delayed = house_order(h, &(struct task_order){ .model_id = model,
                                                   .type = "custom",
                                                   .priority = 3,
                                                   .delay_ms = 3600000,
                                                   .max_retries = -1 });
    other = house_submit(h, model, 2);
    lane = lane_find(h->t, TASK_OF_QUEUE, model, "");
    window_insert(&lane->windows[3], &(struct head){ .id = delayed });
    window_insert(&lane->windows[3], &(struct head){ .id = first });
    window_insert(&lane->windows[3], &(struct head){ .id = 4711 });
    house_complete(h, first, "x");
    assert_non_null(house_find(h, other));
    assert_int_equal(house_state(h, delayed), TASK_PENDING);
    assert_int_equal(house_state(h, first), TASK_COMPLETED);
    assert_int_equal(h->run_count, 2);
    house_check_counts(h);
    house_close(h);
}

/* While the first of a class are still being read, no lower class goes before them. */
static void classes_that_are_being_read_are_waited_for(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), first = house_submit(h, model, 2), high;
    struct window *w;
    struct lane *lane;

    high = house_submit(h, model, 3);
    house_submit(h, model, 2);
    lane = lane_find(h->t, TASK_OF_QUEUE, model, "");
    w = &lane->windows[3];
    window_remove(w, high);
    w->more = w->reading = true;
    house_complete(h, first, "x");
    assert_int_equal(h->run_count, 1);
    w->reading = false;
    lane_kick(lane);
    house_settle(h);
    assert_int_equal(h->run_count, 2);
    assert_int_equal(h->runs[1].id, high);
    /* nor when a place comes that was asked for before */
    h->reserve_says = 0;
    high = house_submit(h, model, 3);
    house_complete(h, h->runs[1].id, "x");
    window_remove(w, high);
    w->more = w->reading = true;
    house_grant_all(h);
    assert_int_equal(h->run_count, 2);
    house_close(h);
}

static void webhooks_are_told_with_the_end(void **state)
{
    HOUSE("queue: {max_retries: 0}\n");
    int64_t model = house_model(h, "m", 3);
    struct task_order order = { .model_id = model,
                                .type = "custom",
                                .priority = 2,
                                .webhook = "http://hooks.example/x",
                                .max_retries = -1 };
    int64_t a = house_order(h, &order), b = house_order(h, &order), c = house_order(h, &order);

    assert_int_equal(house_number(h, "SELECT count(*) FROM webhooks", 0), 0);
    house_complete(h, a, "x");
    fail_attempt(h, b, true);
    tasks_cancel(h->t, c, NULL, NULL);
    house_settle(h);
    assert_int_equal(house_number(h,
                                  "SELECT count(*) FROM webhooks WHERE url = "
                                  "'http://hooks.example/x'",
                                  0),
                     3);
    assert_int_equal(house_number(h,
                                  "SELECT count(*) FROM webhooks WHERE "
                                  "(event = 'task.completed' AND body LIKE '%\"id\":1,%') OR "
                                  "(event = 'task.failed' AND body LIKE '%it broke%') OR "
                                  "(event = 'task.cancelled' AND body LIKE '%\"model\":\"m\"%')",
                                  0),
                     3);
    house_close(h);
}

static void long_errors_are_cut_between_characters(void **state)
{
    HOUSE(NULL);
    int64_t model = house_model(h, "m", 1), id = house_submit(h, model, 2);
    char text[3002] = "x";

    for (size_t i = 1; i + 2 < sizeof(text); i += 2) {
        memcpy(text + i, "\u00e9", 2);
    }
    text[3001] = '\0';
    house_done(h, id, &(struct task_result){ .error = -EIO, .text = text });
    house_settle(h);
    assert_true(house_get(h, id));
    assert_int_equal(strlen(h->d.task->error), TASK_ERROR_MAX - 1);
    assert_true(is_valid_utf8(h->d.task->error, TASK_ERROR_MAX - 1));
    house_close(h);
}

static void figures(void **state)
{
    HOUSE("queue: {max_retries: 1}\n");
    int64_t model = house_model(h, "m", 1), id = house_submit(h, model, 2);
    static const char *const lines[] = {
        "berth_tasks{state=\"pending\"} 1",
        "berth_tasks{state=\"delayed\"} 1",
        "berth_tasks{state=\"running\"} 1",
        "berth_tasks{state=\"completed\"} 1",
        "berth_tasks_submitted_total{model=\"m\",type=\"custom\"} 4",
        "berth_tasks_completed_total{model=\"m\",type=\"custom\"} 1",
        "berth_tasks_retried_total{model=\"m\",type=\"custom\"} 1",
        "berth_task_workers_busy 1",
        "berth_task_seconds_count{model=\"m\"} 1",
        "berth_task_wait_seconds_count{model=\"m\"} 3",
    };
    struct buf out = { 0 };
    struct span text;

    sim_run_for(h->w, 100);
    house_complete(h, id, "x");
    fail_attempt(h, house_submit(h, model, 2), true);
    house_submit(h, model, 2);
    house_submit(h, model, 2);
    buf_init(&out, 1 << 20);
    assert_int_equal(metrics_write(h->metrics, &out), 0);
    assert_int_equal(buf_append(&out, "", 1), 0);
    text = buf_span(&out);
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        if (!strstr(text.p, lines[i])) {
            fail_msg("no '%s' in %s", lines[i], text.p);
        }
    }
    buf_finish(&out);
    /* a removed model's cells may be freed by others: nothing keeps them */
    house_remove_model(h, model);
    metrics_forget(h->metrics, "model", "m");
    sim_run_for(h->w, 100);
    house_complete(h, h->runs[h->run_count - 1].id, "x");
    house_close(h);
}

/* What an earlier attempt answered is not the answer of a later one. */
static void a_retry_forgets_the_answer(void **state)
{
    HOUSE(NULL);
    int64_t id = house_submit(h, house_model(h, "m", 1), 2);

    house_done(h, id,
               &(struct task_result){
                   .error = -EINVAL, .text = "refused", .output = SPAN("no"), .http_status = 400 });
    house_settle(h);
    assert_true(house_get(h, id));
    assert_string_equal(h->d.task->output, "no");
    tasks_retry(h->t, id, true, house_done_fn, h);
    house_settle(h);
    house_done(h, id, &(struct task_result){ .http_status = 200 });
    house_settle(h);
    assert_true(house_get(h, id));
    assert_int_equal(h->d.task->state, TASK_COMPLETED);
    assert_null(h->d.task->output);
    house_close(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(submit_and_complete),
        cmocka_unit_test(order_is_strict_and_fifo),
        cmocka_unit_test(what_comes_before_the_place_overtakes),
        cmocka_unit_test(changed_priority_moves),
        cmocka_unit_test(moved_down_it_waits_for_its_new_turn),
        cmocka_unit_test(cancelled_pending_never_runs),
        cmocka_unit_test(cancelled_running_ends_its_work),
        cmocka_unit_test(late_completion_changes_nothing),
        cmocka_unit_test(failures_are_retried_with_growing_delays),
        cmocka_unit_test(what_would_not_help_is_not_retried),
        cmocka_unit_test(dead_ones_come_back_only_again),
        cmocka_unit_test(lost_attempts_begin_anew_uncounted),
        cmocka_unit_test(an_answer_may_name_its_delay),
        cmocka_unit_test(attempts_end_by_time),
        cmocka_unit_test(delayed_tasks_wait),
        cmocka_unit_test(a_full_queue_refuses),
        cmocka_unit_test(a_full_queue_refuses_bytes),
        cmocka_unit_test(a_full_queue_counts_what_comes),
        cmocka_unit_test(idempotency_keys),
        cmocka_unit_test(offline_models_wait),
        cmocka_unit_test(removed_models_fail_what_waits),
        cmocka_unit_test(refused_places_are_asked_for_again),
        cmocka_unit_test(refused_lines_leave_nothing),
        cmocka_unit_test(ageing_lets_the_old_go_first),
        cmocka_unit_test(beyond_the_windows),
        cmocka_unit_test(bound_slots),
        cmocka_unit_test(retention_removes_what_is_old),
        cmocka_unit_test(removing),
        cmocka_unit_test(erasing),
        cmocka_unit_test(kept_until_removed),
        cmocka_unit_test(too_large_an_output_fails),
        cmocka_unit_test(earlier_fences_change_nothing),
        cmocka_unit_test(claims_of_what_is_not_ready_change_nothing),
        cmocka_unit_test(classes_that_are_being_read_are_waited_for),
        cmocka_unit_test(webhooks_are_told_with_the_end),
        cmocka_unit_test(long_errors_are_cut_between_characters),
        cmocka_unit_test(a_retry_forgets_the_answer),
        cmocka_unit_test(figures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
