// SPDX-License-Identifier: Apache-2.0
/*
 * Random histories against a plain model of the queue: a list of tasks that is searched from its
 * beginning. After every step: who runs is who should, no fence runs twice, workers are not
 * exceeded, counters equal what counting the rows gives. Restarts in the middle, drained or not.
 */
#include <string.h>

#include "queue_house.h"

enum { TASKS_MAX = 3000, MODELS = 3 };

struct plain_task {
    int64_t id;
    size_t model;
    unsigned class;
    bool delayed;
    unsigned lost;
    int state;
};

struct plain {
    struct house house;
    int64_t models[MODELS];
    int workers[MODELS];
    bool online[MODELS];
    struct plain_task tasks[TASKS_MAX];
    size_t count;
};

static struct plain_task *first_of(struct plain *p, size_t model)
{
    struct plain_task *best = NULL;

    for (size_t i = 0; i < p->count; i++) {
        struct plain_task *t = &p->tasks[i];

        if (t->model == model && t->state == TASK_PENDING && !t->delayed &&
            (!best || t->class > best->class)) {
            best = t;
        }
    }
    return best;
}

static int running_of(const struct plain *p, size_t model)
{
    int n = 0;

    for (size_t i = 0; i < p->count; i++) {
        n += p->tasks[i].model == model && p->tasks[i].state == TASK_RUNNING;
    }
    return n;
}

/* What the queue should have begun by now. */
static void plain_work(struct plain *p)
{
    for (size_t m = 0; m < MODELS; m++) {
        struct plain_task *t;

        while (p->online[m] && running_of(p, m) < p->workers[m] && (t = first_of(p, m))) {
            t->state = TASK_RUNNING;
        }
    }
}

static void check(struct plain *p)
{
    struct house *h = &p->house;

    plain_work(p);
    for (size_t i = 0; i < p->count; i++) {
        const struct plain_task *t = &p->tasks[i];

        if ((house_find(h, t->id) != NULL) != (t->state == TASK_RUNNING)) {
            fail_msg("task %lld of class %u: should it run? %d", (long long)t->id, t->class,
                     t->state == TASK_RUNNING);
        }
    }
    house_check_counts(h);
}

static struct plain_task *any(struct plain *p, int state)
{
    size_t n = 0, at;

    for (size_t i = 0; i < p->count; i++) {
        n += p->tasks[i].state == state;
    }
    if (n == 0) {
        return NULL;
    }
    at = world_random_below(p->house.w, n);
    for (size_t i = 0;; i++) {
        if (p->tasks[i].state == state && at-- == 0) {
            return &p->tasks[i];
        }
    }
}

static void submit(struct plain *p)
{
    struct plain_task t = { .model = world_random_below(p->house.w, MODELS),
                            .class = 1 + (unsigned)world_random_below(p->house.w, 3) };

    if (p->count == TASKS_MAX) {
        return;
    }
    t.id = house_submit(&p->house, p->models[t.model], t.class);
    assert_true(t.id > 0);
    p->tasks[p->count++] = t;
}

static void submit_many(struct plain *p)
{
    for (int i = 0; i < 40; i++) {
        submit(p);
        plain_work(p);
    }
}

static void end_one(struct plain *p, const struct task_result *result, int state, bool delayed)
{
    struct plain_task *t = any(p, TASK_RUNNING);

    if (t) {
        house_done(&p->house, t->id, result);
        t->state = state;
        t->delayed = delayed;
        house_settle(&p->house);
    }
}

static void complete(struct plain *p)
{
    end_one(p, &(struct task_result){ .output = SPAN("y") }, TASK_COMPLETED, false);
}

static void fail_for_good(struct plain *p)
{
    end_one(p, &(struct task_result){ .error = -EIO, .text = "no" }, TASK_FAILED, false);
}

static void begin_anew(struct plain_task *t)
{
    t->delayed = t->lost == 10; /* so often lost, it counts as a failure */
    t->lost += !t->delayed;
    t->state = TASK_PENDING;
}

/* Its worker is free at once, and takes the next task; then this one is pending again. */
static void lose(struct plain *p)
{
    struct plain_task *t = any(p, TASK_RUNNING);

    if (t) {
        house_done(&p->house, t->id,
                   &(struct task_result){ .error = -EPIPE, .lost = true, .text = "no" });
        t->state = -1;
        plain_work(p);
        begin_anew(t);
        house_settle(&p->house);
    }
}

static void fail_once(struct plain *p)
{
    end_one(p, &(struct task_result){ .error = -EIO, .helps = true, .text = "no" }, TASK_PENDING,
            true);
}

static void let_time_pass(struct plain *p)
{
    sim_run_for(p->house.w, 200 * 1000);
    for (size_t i = 0; i < p->count; i++) {
        p->tasks[i].delayed = false;
    }
}

static void cancel(struct plain *p)
{
    struct plain_task *t = any(p, world_random_below(p->house.w, 2) ? TASK_PENDING : TASK_RUNNING);

    if (t) {
        tasks_cancel(p->house.t, t->id, house_done_fn, &p->house);
        house_settle(&p->house);
        assert_int_equal(p->house.result, 0);
        t->state = TASK_CANCELLED;
    }
}

static void move(struct plain *p)
{
    struct plain_task *t = any(p, TASK_PENDING);

    if (t) {
        t->class = 1 + (unsigned)world_random_below(p->house.w, 3);
        tasks_set_priority(p->house.t, t->id, t->class, house_done_fn, &p->house);
        house_settle(&p->house);
        assert_int_equal(p->house.result, 0);
    }
}

static void retry(struct plain *p)
{
    struct plain_task *t = any(p, TASK_FAILED);

    if (t) {
        tasks_retry(p->house.t, t->id, true, house_done_fn, &p->house);
        house_settle(&p->house);
        assert_int_equal(p->house.result, 0);
        t->state = TASK_PENDING;
        t->lost = 0;
    }
}

static void switch_model(struct plain *p)
{
    size_t m = world_random_below(p->house.w, MODELS);

    p->online[m] = !p->online[m];
    house_model_status(&p->house, p->models[m], p->online[m] ? MODEL_ONLINE : MODEL_OFFLINE);
}

/* What ran is pending again, and begins anew in its order. */
static void restart(struct plain *p)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->tasks[i].state == TASK_RUNNING) {
            begin_anew(&p->tasks[i]);
        }
    }
    house_restart(&p->house, world_random_below(p->house.w, 2) != 0);
    sim_run_for(p->house.w, 10);
}

static void (*const steps[])(struct plain *) = {
    submit,   submit,   submit,        submit_many,  complete,      complete,
    complete, complete, fail_for_good, fail_once,    lose,          cancel,
    move,     move,     retry,         switch_model, let_time_pass, restart,
};

static void histories(void **state)
{
    static struct plain p;
    struct house *h = &p.house;

    memset(&p, 0, sizeof(p));
    house_open(h,
               "queue: {retry_delay: 100s, retry_delay_max: 100s, task_timeout: 1d, "
               "max_retries: 100}\nworker: {max_workers: 100}\n",
               true);
    for (size_t m = 0; m < MODELS; m++) {
        char name[8];

        snprintf(name, sizeof(name), "m%zu", m);
        p.workers[m] = 1 + (int)m;
        p.online[m] = true;
        p.models[m] = house_model(h, name, p.workers[m]);
    }
    for (int i = 0; i < 600; i++) {
        steps[world_random_below(h->w, ARRAY_SIZE(steps))](&p);
        check(&p);
    }
    house_close(h);
}

/* Everything at once, in random turns: no rule may break, whatever overtakes what. */
static void storms(void **state)
{
    struct house house, *h = &house;
    int64_t model;

    house_open(h, "queue: {retry_delay: 10ms}\n", false);
    model = house_model(h, "m", 4);
    for (int i = 0; i < 4000; i++) {
        int64_t id = 1 + (int64_t)world_random_below(h->w, 400);
        struct task_order order = { .model_id = model,
                                    .type = "custom",
                                    .max_retries = -1,
                                    .priority = 1 + (unsigned)world_random_below(h->w, 3),
                                    .delay_ms = world_random_below(h->w, 20) };
        struct error ignored;

        h->reserve_says = (int)world_random_below(h->w, 2);
        switch (world_random_below(h->w, 8)) {
        case 0:
        case 1:
            assert_int_equal(tasks_submit(h->t, &order, NULL, NULL, &ignored), 0);
            break;
        case 2:
            tasks_cancel(h->t, id, NULL, NULL);
            break;
        case 3:
            tasks_set_priority(h->t, id, 1 + (unsigned)world_random_below(h->w, 3), NULL, NULL);
            break;
        case 4:
            tasks_retry(h->t, id, true, NULL, NULL);
            break;
        case 5:
            if (h->run_count && house_find(h, h->runs[h->run_count - 1].id)) {
                house_done(
                    h, h->runs[h->run_count - 1].id,
                    &(struct task_result){ .error = (int)world_random_below(h->w, 2) ? -EIO : 0,
                                           .helps = true,
                                           .text = "no" });
            }
            break;
        case 6:
            sim_run_for(h->w, world_random_below(h->w, 5));
            break;
        default:
            house_grant_all(h);
        }
        assert_true(h->most_running <= 4);
    }
    h->reserve_says = 1;
    for (int i = 0;
         i < 10000 &&
         tasks_counts(h->t, &(struct task_filter){ .kind = -1 }).by_state[TASK_PENDING] > 0;
         i++) {
        house_grant_all(h);
        for (size_t s = 0; s < HOUSE_SLOTS; s++) {
            if (h->slots[s].running) {
                house_done(h, h->slots[s].id, &(struct task_result){ .http_status = 200 });
            }
        }
        sim_run_for(h->w, 10);
    }
    assert_int_equal(house_number(h, "SELECT count(*) FROM tasks WHERE state < 2", 0), h->running);
    house_check_counts(h);
    house_close(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(histories),
        cmocka_unit_test(storms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
