// SPDX-License-Identifier: Apache-2.0
/*
 * Submitting: a peer is chosen, the task is committed as one that runs there, then it is enqueued.
 * Whoever submitted it is told when the peer has it. Without a peer of the model nothing is stored,
 * unless berth runs the model itself: then the task is its.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "task_instances/task_instances_int.h"

struct submission {
    struct list node; /* of ti->submissions */
    struct task_instances *ti;
    struct run *run;                  /* NULL: it has its peer, or has failed */
    struct task_instance_order order; /* its texts are the following */
    char *model, *input, *options;
    char public_id[UUID_SIZE];
    bool committed, failed, with_store;
    struct task told;
    char instance[UUID_SIZE];
    struct error error;
    struct timer later;
    tasks_done_fn done;
    void *arg;
};

static void finish(struct submission *s)
{
    list_remove(&s->node);
    timer_stop(&s->later);
    if (s->run) {
        s->run->submission = NULL;
    }
    if (s->failed) {
        s->done(s->arg, s->error.code, NULL, &s->error);
    } else {
        s->done(s->arg, 0, &s->told, NULL);
    }
    free(s->model);
    free(s->input);
    free(s->options);
    free(s);
}

static void on_later(void *arg)
{
    struct submission *s = arg;

    if (!s->with_store) { /* else its answer comes */
        finish(s);
    }
}

/* Told in a turn of its own; while the store has it, it is waited for. */
static void fail(struct submission *s, int code, const char *before, const char *what)
{
    if (!s->failed) {
        s->failed = true;
        error_set(&s->error, code, "%s%s", before, what);
    }
    if (!s->with_store) {
        timer_start(&s->later, 0);
    }
}

static void fail_scheduling(struct submission *s, const struct error *e)
{
    fail(s, e->code == -ENOENT ? -EIO : e->code, "Failed to schedule task: ", e->text);
}

static void drop_run(struct submission *s)
{
    struct run *run = TAKE_PTR(s->run);

    if (run) {
        run->submission = NULL;
        run->slot = NULL;
        run_free(run);
    }
}

static void note_told(struct submission *s, const struct task *task)
{
    s->committed = true;
    s->told.id = task->id;
    s->told.kind = task->kind;
    s->told.model_id = task->model_id;
    s->told.state = task->state;
    s->told.created_ms = task->created_ms;
    s->told.model = s->model;
    snprintf(s->told.public_id, sizeof(s->told.public_id), "%s", s->public_id);
}

static void on_submitted(void *arg, int result, const struct task *task, const struct error *e)
{
    struct submission *s = arg;

    s->with_store = false;
    if (result < 0) {
        drop_run(s); /* its slot is void */
        if (result == -EEXIST) {
            fail(s, result, "", e->text);
        } else {
            fail_scheduling(s, e);
        }
        return;
    }
    note_told(s, task);
    if (!s->failed && !s->run) { /* it is over already, or waits for its turn */
        timer_start(&s->later, 0);
    }
}

/* The peer has it. Whoever submitted it is told when the peer's name for it is committed, so that a
 * berth that is killed then still knows where to ask. */
void submission_enqueued(struct submission *s)
{
    snprintf(s->instance, sizeof(s->instance), "%s", s->run->peer->pub.uuid);
    s->told.instance = s->instance;
    timer_start(&s->later, s->ti->timeout_ms);
}

void submission_stored(struct submission *s)
{
    if (s->instance[0] && s->committed) {
        timer_start(&s->later, 0);
    }
}

/* No peer takes it: told when that is committed. */
void submission_refused(struct submission *s, const struct error *e)
{
    s->run = NULL;
    s->failed = true;
    error_set(&s->error, -EIO, "Failed to schedule task: %s", e->text);
    timer_start(&s->later, s->ti->timeout_ms);
}

void submissions_on_failed(struct task_instances *ti, const char *public_id)
{
    struct submission *s;

    list_for_each (s, &ti->submissions, node) {
        if (s->failed && !s->with_store && str_eq(s->public_id, public_id)) {
            timer_start(&s->later, 0);
            return;
        }
    }
}

/* The run has ended, of whatever kind. What the store says of the submit itself goes before. */
void submission_dropped(struct submission *s)
{
    s->run = NULL;
    if (s->instance[0]) { /* it is over already */
        submission_stored(s);
    } else if (!s->with_store) {
        fail_scheduling(s, &(struct error){ -ECANCELED, "it was cancelled" });
    }
}

static int send(struct submission *s, struct task_slot *slot, struct error *reterr)
{
    const int64_t model_id = slot ? 0 : s->order.model_id;
    const struct task_order order = {
        .kind = TASK_OF_INSTANCE,
        .model_id = model_id,
        .model = s->model,
        .type = "instance",
        .priority = TASK_MEDIUM,
        .input = span_of(s->input),
        .options = span_of(s->options),
        .max_retries = -1,
        .timeout_ms = model_id == 0 ? s->ti->task_timeout_ms : 0,
        .public_id = s->public_id,
        .slot = slot,
    };
    int r;

    s->with_store = true;
    r = tasks_submit(s->ti->tasks, &order, on_submitted, s, reterr);
    s->with_store = r >= 0;
    return r;
}

static void bind_to(struct submission *s, struct peer *p)
{
    struct run *run = s->run;
    struct error e = { 0 };

    run_bind(run, p);
    run_set_id(run, s->public_id);
    run->slot = task_slot_claim(s->ti->tasks, TASK_OF_INSTANCE, s->model, p->pub.uuid, run);
    if (send(s, run->slot, &e) < 0) {
        struct task_slot *slot = run->slot;

        drop_run(s);
        slot->runner_data = NULL;
        task_slot_cancel(slot);
        fail_scheduling(s, &e);
    }
}

static void no_peer(struct submission *s)
{
    struct error e = { 0 };

    drop_run(s);
    if (s->order.model_id != 0) {
        if (send(s, NULL, &e) < 0) {
            fail_scheduling(s, &e);
        }
    } else if (s->ti->count == 0) {
        fail(s, -ENOENT, "", "No TaskInstances configured");
    } else {
        fail(s, -ENOENT, "No available instances for model type ", s->model);
    }
}

static void on_chosen(void *owner, struct peer *p, const struct error *e)
{
    struct run *run = owner;

    if (p) {
        bind_to(run->submission, p);
    } else {
        no_peer(run->submission);
    }
}

static char *options_of(struct span metadata)
{
    return metadata.n > 0 ? xasprintf("{\"metadata\":%.*s}", SPAN_ARG(metadata)) : xstrdup("{}");
}

void task_instances_submit(struct task_instances *ti, const struct task_instance_order *order,
                           tasks_done_fn done, void *arg)
{
    struct submission *s = xcalloc(1, sizeof(*s));
    struct error e = { 0 };
    struct peer *p;
    int r;

    s->ti = ti;
    s->order.model_id = order->model_id;
    s->model = xstrdup(order->model);
    s->input = span_dup(order->input);
    s->options = options_of(order->metadata);
    s->done = done;
    s->arg = arg;
    timer_init(&s->later, ti->world, "task instance's submit", on_later, s);
    list_append(&ti->submissions, &s->node);
    if (order->task_id) {
        snprintf(s->public_id, sizeof(s->public_id), "%s", order->task_id);
    } else {
        world_uuid(ti->world, s->public_id);
    }
    if (order->queued && task_instances_serve(ti, order->model)) {
        s->order.model_id = 0;
        if (send(s, NULL, &e) < 0) {
            fail_scheduling(s, &e);
        }
        return;
    }
    s->run = run_create(ti, order->model);
    s->run->submission = s;
    s->run->strategy = ti->strategy;
    s->run->told_ms = run_told_ms(span_of(s->options));
    r = choose(s->run, on_chosen, &p, &e);
    if (r > 0) {
        bind_to(s, p);
    } else if (r < 0) {
        no_peer(s);
    }
}

/* Whoever waits is told; what is with the store was told by tasks_destroy. */
void submissions_end(struct task_instances *ti)
{
    struct submission *s;

    while ((s = list_first(&ti->submissions, struct submission, node))) {
        drop_run(s);
        if (!s->failed && !s->committed) {
            s->failed = true;
            error_set(&s->error, -ECANCELED, "Failed to schedule task: berth goes down");
        }
        finish(s);
    }
}
