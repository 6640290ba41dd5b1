// SPDX-License-Identifier: Apache-2.0
/* What is told of tasks: lists, places, reasons, figures, workers; and that no statement on the way
 * of a task looks through the backlog. */
#include <string.h>

#include "queue_house.h"
#include "tasks/batch_tasks_int.h"
#include "tasks/tasks_int.h"

struct listed {
    int64_t ids[TASKS_LIST_MAX];
    size_t count;
    uint64_t total;
    int result;
    bool bodies;
};

static void on_list(void *arg, int result, struct task *const *tasks, size_t count, uint64_t total,
                    const struct error *e)
{
    struct listed *l = arg;

    *l = (struct listed){ .count = count, .total = total, .result = result };
    for (size_t i = 0; i < count; i++) {
        l->ids[i] = tasks[i]->id;
        l->bodies = tasks[i]->input != NULL;
        assert_non_null(tasks[i]->model);
    }
}

static struct task_query query_all(void)
{
    return (struct task_query){ .filter = { .kind = -1, .state = -1, .priority = -1, .dead = -1 },
                                .limit = 10 };
}

static struct listed list(struct house *h, struct task_query q)
{
    static struct listed l;

    tasks_list(h->t, &q, on_list, &l);
    house_settle(h);
    return l;
}

static void lists(void **state)
{
    struct house house, *h = &house;
    int64_t a, b;
    struct task_query q = query_all();
    struct listed l;

    house_open(h, "queue: {max_retries: 0}\n", true);
    a = house_model(h, "a", 1);
    b = house_model(h, "b", 1);
    for (unsigned i = 0; i < 12; i++) {
        house_submit(h, i % 3 ? a : b, 1 + i % 3);
    }
    house_complete(h, 1, "x"); /* of b */
    house_done(h, 2, &(struct task_result){ .error = -EIO, .helps = true, .text = "no" });
    house_settle(h);

    l = list(h, q);
    assert_int_equal(l.total, 12);
    assert_int_equal(l.count, 10);
    assert_int_equal(l.ids[0], 12);
    assert_int_equal(l.ids[9], 3);
    assert_false(l.bodies);
    q.ascending = true;
    q.offset = 10;
    q.bodies = true;
    l = list(h, q);
    assert_int_equal(l.count, 2);
    assert_int_equal(l.ids[0], 11);
    assert_true(l.bodies);
    q = query_all();
    q.filter.model_id = b;
    l = list(h, q);
    assert_int_equal(l.total, 4);
    assert_int_equal(l.ids[3], 1);
    q.filter.model_id = 77;
    assert_int_equal(list(h, q).total, 0);
    q = query_all();
    q.filter.model = "a";
    q.filter.state = TASK_FAILED;
    l = list(h, q);
    assert_int_equal(l.total, 1);
    assert_int_equal(l.ids[0], 2);
    q = query_all();
    q.filter.dead = 1;
    l = list(h, q);
    assert_int_equal(l.total, 1);
    assert_int_equal(l.ids[0], 2);
    q = query_all();
    q.filter.type = "nothing";
    assert_int_equal(list(h, q).total, 0);
    q = query_all();
    q.filter.priority = 3;
    q.by = TASKS_BY_PRIORITY;
    assert_int_equal(list(h, q).total, 4);
    q = query_all();
    q.after_id = 5;
    l = list(h, q);
    assert_int_equal(l.count, 4);
    assert_int_equal(l.ids[0], 4);
    for (int by = 0; by < TASK_ORDER_BY_MAX_; by++) {
        q = query_all();
        q.by = (enum task_order_by)by;
        q.filter.state = by % TASK_STATE_MAX_;
        l = list(h, q);
        assert_int_equal(l.result, 0);
        assert_int_equal(l.count, MIN_OF(l.total, 10));
    }
    q = query_all();
    q.offset = TASKS_OFFSET_MAX + 1;
    assert_int_equal(list(h, q).result, -EINVAL);
    assert_int_equal(task_order_by_from_string("created_at"), TASKS_BY_CREATED);
    assert_int_equal(task_order_by_from_string("id; DROP TABLE tasks"), -EINVAL);
    house_close(h);
}

static void batches_lines_are_listed(void **state)
{
    struct house house, *h = &house;
    struct task_order lines[5];
    struct task_query q = query_all();
    int64_t model;
    struct listed l;

    house_open(h, NULL, true);
    model = house_model(h, "a", 1);
    house_submit(h, model, 1);
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        lines[i] = (struct task_order){ .kind = TASK_OF_BATCH,
                                        .model_id = model,
                                        .type = "batch",
                                        .batch_id = 1 + (int64_t)i % 2,
                                        .max_retries = -1 };
    }
    tasks_submit_lines(h->t, lines, ARRAY_SIZE(lines), NULL, NULL, NULL);
    house_settle(h);
    q.filter.batch_id = 1;
    q.ascending = true;
    l = list(h, q);
    assert_int_equal(l.total, 3);
    assert_int_equal(l.ids[2], 6);
    q.after_id = 2;
    assert_int_equal(list(h, q).count, 2);
    house_close(h);
}

static void on_wait(void *arg, int result, const struct task_wait *w)
{
    struct house *h = arg;

    h->result = result;
    h->wait = *w;
}

static const struct task_wait *why(struct house *h, int64_t id)
{
    assert_true(house_get(h, id));
    tasks_why(h->t, h->d.task, on_wait, h);
    house_settle(h);
    assert_int_equal(h->result, 0);
    return &h->wait;
}

static void reasons_and_places(void **state)
{
    struct house house, *h = &house;
    int64_t m, n, delayed;
    const struct task_wait *w;

    house_open(h, "worker: {max_workers: 3}\n", true);
    m = house_model(h, "m", 2);
    n = house_model(h, "n", 5);
    for (int i = 0; i < 6; i++) {
        house_submit(h, m, 2);
    }
    w = why(h, 5);
    assert_string_equal(w->reason, "all 2 workers of the model are busy");
    assert_int_equal(w->place, 3);
    assert_int_equal(w->starts_ms, 0); /* no pace was measured yet */
    house_submit(h, m, 3);
    assert_int_equal(why(h, 5)->place, 4);
    sim_run_for(h->w, 10000);
    house_complete(h, 1, "x"); /* task 7 begins */
    w = why(h, 5);
    assert_int_equal(w->place, 3);
    assert_in_range(w->starts_ms - world_wall_ms(h->w), 19900, 20100);

    house_submit(h, n, 2);
    house_submit(h, n, 2);
    assert_string_equal(why(h, 9)->reason, "all 3 workers of all models are busy");
    house_model_status(h, n, MODEL_OFFLINE);
    w = why(h, 9);
    assert_string_equal(w->reason, "the model is offline");
    assert_int_equal(w->starts_ms, 0);
    house_model_status(h, n, MODEL_MAINTENANCE);
    assert_string_equal(why(h, 9)->reason, "the model is in maintenance");
    delayed = house_order(
        h, &(struct task_order){
               .model_id = m, .type = "custom", .delay_ms = 3600000, .max_retries = -1 });
    w = why(h, delayed);
    assert_true(strncmp(w->reason, "delayed until ", 14) == 0);
    assert_int_equal(w->starts_ms, h->d.task->due_ms);
    house_close(h);
}

static void refusals_are_told(void **state)
{
    struct house house, *h = &house;
    int64_t id;

    house_open(h, NULL, true);
    h->reserve_says = -EAGAIN;
    id = house_submit(h, house_model(h, "m", 2), 2);
    assert_string_equal(why(h, id)->reason, "no room at all");
    house_close(h);
}

/* Beyond the windows it is counted. */
static void far_places(void **state)
{
    struct house house, *h = &house;
    int64_t model;
    struct task_order order;

    house_open(h, NULL, true);
    model = house_model(h, "m", 1);
    order = (struct task_order){ .model_id = model, .type = "custom", .max_retries = -1 };
    for (int i = 0; i < 900; i++) {
        assert_int_equal(tasks_submit(h->t, &order, NULL, NULL, NULL), 0);
    }
    house_settle(h);
    assert_int_equal(why(h, 900)->place, 899);
    assert_int_equal(why(h, 2)->place, 1);
    house_close(h);
}

static struct task_stats rows[8];
static size_t row_count;

static void on_stats(void *arg, int result, const struct task_stats *r, size_t count,
                     const struct error *e)
{
    assert_int_equal(result, 0);
    row_count = count;
    for (size_t i = 0; i < count; i++) {
        rows[i] = r[i];
    }
}

static void stats(struct house *h, enum task_stats_by by)
{
    tasks_stats(h->t, by, -1, 7, on_stats, NULL);
    house_settle(h);
}

static void statistics(void **state)
{
    struct house house, *h = &house;
    int64_t a, b, id;

    house_open(h, "queue: {max_retries: 0}\n", true);
    a = house_model(h, "a", 5);
    b = house_model(h, "b", 5);
    id = house_submit(h, a, 1);
    sim_run_for(h->w, 500);
    house_complete(h, id, "x");
    id = house_submit(h, a, 1);
    house_done(h, id, &(struct task_result){ .error = -EIO, .text = "no" });
    id = house_submit(h, b, 1);
    tasks_cancel(h->t, id, NULL, NULL);
    house_settle(h);
    stats(h, TASK_STATS_ALL);
    assert_int_equal(row_count, 1);
    assert_int_equal(rows[0].submitted, 3);
    assert_int_equal(rows[0].completed, 1);
    assert_int_equal(rows[0].failed, 1);
    assert_int_equal(rows[0].cancelled, 1);
    assert_in_range(rows[0].processing_ms, 499, 505);
    stats(h, TASK_STATS_BY_MODEL);
    assert_int_equal(row_count, 2);
    assert_int_equal(rows[0].submitted, 2);
    assert_int_equal(rows[0].model_id, a);
    tasks_retry(h->t, 2, true, NULL, NULL);
    house_settle(h);
    stats(h, TASK_STATS_ALL);
    assert_int_equal(rows[0].failed, 0); /* it has not failed for good after all */
    sim_run_for(h->w, 24 * 3600 * 1000ull);
    house_submit(h, a, 1);
    stats(h, TASK_STATS_BY_DAY);
    assert_int_equal(row_count, 2);
    assert_int_equal(rows[0].submitted, 1); /* the newest first */
    assert_int_equal(rows[1].submitted, 3);
    stats(h, TASK_STATS_BY_TYPE);
    assert_int_equal(row_count, 1);
    house_check_counts(h);
    house_close(h);
}

static void workers(void **state)
{
    struct house house, *h = &house;
    struct task_worker w;
    size_t cursor = 0;
    int64_t a, b;
    unsigned busy = 0, all = 0;

    house_open(h, "worker: {default_workers: 4}\n", true);
    a = house_model(h, "a", 2);
    b = house_model(h, "b", 0);
    house_model_status(h, house_model(h, "c", 3), MODEL_OFFLINE);
    house_submit(h, a, 1);
    house_submit(h, b, 1);
    house_submit(h, b, 1);
    while (tasks_next_worker(h->t, &cursor, &w)) {
        all++;
        busy += w.task_id != 0;
        assert_true(w.since_ms > 0);
        assert_string_equal(w.model, all <= 2 ? "a" : "b");
        assert_int_equal(w.number, all <= 2 ? all - 1 : all - 3);
    }
    assert_int_equal(all, 6);
    assert_int_equal(busy, 3);
    assert_int_equal(tasks_max_workers(h->t, b), 4);
    assert_int_equal(tasks_running(h->t, b), 2);
    house_close(h);
}

/* ---- plans ---- */

struct plan_op {
    struct store_op op;
    const char *text, *format;
    char plan[512];
};

static int read_plan(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct plan_op *p = container_of(op, struct plan_op, op);
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    char text[2048];
    int r;

    snprintf(text, sizeof(text), "EXPLAIN QUERY PLAN %s", p->text);
    r = sql_query(db, &st, reterr, text, p->format, (int64_t)1, (int64_t)1, (int64_t)1, (int64_t)1);
    while (r >= 0 && (r = sql_next(st, reterr)) > 0) {
        size_t n = strlen(p->plan);

        snprintf(p->plan + n, sizeof(p->plan) - n, "%s; ", sql_text(st, 3));
    }
    return r;
}

static void assert_plan(struct house *h, const char *text, const char *format, const char *index)
{
    struct plan_op p = { .op.run = read_plan, .text = text, .format = format };

    if (store_read_now(h->store, &p.op) < 0) {
        fail_msg("%s", p.op.error.text);
    }
    if (!strstr(p.plan, index) || strstr(p.plan, "SCAN tasks") || strstr(p.plan, "TEMP B-TREE")) {
        fail_msg("'%s' is done by '%s'", text, p.plan);
    }
}

static void no_statement_looks_through_the_backlog(void **state)
{
    struct house house, *h = &house;

    house_open(h, NULL, true);
    assert_plan(h, ready_query, "iiii", "INDEX tasks_ready");
    assert_plan(h, due_query, "ii", "INDEX tasks_due");
    assert_plan(h, "SELECT t.error FROM tasks t WHERE t.state = 1 ORDER BY t.id", "",
                "INDEX tasks_few");
    assert_plan(h, "SELECT t.error FROM tasks t WHERE t.state = 3 ORDER BY t.id DESC LIMIT ?", "i",
                "INDEX tasks_few");
    assert_plan(h,
                "SELECT 1 FROM tasks WHERE lane = ? AND class = ? AND state = 0 AND due_ms = 0 "
                "AND id < ? LIMIT ?",
                "iiii", "INDEX tasks_ready");
    assert_plan(h, old_query, "ii", "INDEX tasks_ended");
    assert_plan(h, unfinished_query, "iii", "INDEX tasks_batch");
    assert_plan(h, batch_ids_query, "ii", "INDEX tasks_batch");
    assert_plan(h, batch_counts_query, "i", "INDEX tasks_batch");
    assert_plan(h, batch_answers_query, "iii", "INDEX tasks_batch");
    house_close(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists),
        cmocka_unit_test(batches_lines_are_listed),
        cmocka_unit_test(reasons_and_places),
        cmocka_unit_test(refusals_are_told),
        cmocka_unit_test(far_places),
        cmocka_unit_test(statistics),
        cmocka_unit_test(workers),
        cmocka_unit_test(no_statement_looks_through_the_backlog),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
