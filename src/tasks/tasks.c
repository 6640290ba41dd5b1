// SPDX-License-Identifier: Apache-2.0
/* The queue's life: options, what an earlier berth left, what models tell, the end. */
#include "tasks/tasks.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "tasks/tasks_int.h"

// clang-format off
static const struct option_row option_rows[] = {
    { "queue.ageing", OPTION_DURATION, "0s", 0, 2592000000, NULL, true, false,
      "A task that has waited longer than this goes before those of higher priority; 0: never." },
    { "queue.keep", OPTION_DURATION, "7d", 0, 315360000000, NULL, true, false,
      "How long a finished task, its input, its output and its log are kept; 0: for ever." },
    { "queue.max_queue_bytes", OPTION_BYTES, "1GiB", 1048576, 1099511627776, NULL, true, false,
      "How many bytes of input the waiting and running tasks may have together; beyond it new ones are refused with 429." },
    { "queue.max_queue_size", OPTION_INT, "10000", 1, 100000000, NULL, true, false,
      "How many tasks may wait; beyond it new ones are refused with 429." },
    { "queue.max_retries", OPTION_INT, "3", 0, 100, NULL, true, false,
      "How often a failed task is tried again, unless it says so itself." },
    { "queue.retry_delay", OPTION_DURATION, "60s", 0, 86400000, NULL, true, false,
      "How long a failed task waits before its first retry; doubled with each further one, and varied by a quarter." },
    { "queue.retry_delay_max", OPTION_DURATION, "1h", 0, 604800000, NULL, true, false,
      "The longest time between two tries." },
    { "queue.task_timeout", OPTION_DURATION, "300s", 1, 604800000, NULL, true, false,
      "How long one attempt may take; then its work is ended and it counts as failed." },
    { "worker.default_workers", OPTION_INT, "5", 1, 1000, NULL, true, false,
      "How many tasks of a model may run at once, for models that do not say so themselves (max_workers)." },
    { "worker.max_workers", OPTION_INT, "50", 1, 100000, NULL, true, false,
      "How many tasks of all models together may run at once." },
};
// clang-format on
const struct option_table tasks_options = { option_rows, ARRAY_SIZE(option_rows) };

static const char *const state_names[] = {
    [TASK_PENDING] = "pending", [TASK_RUNNING] = "running",     [TASK_COMPLETED] = "completed",
    [TASK_FAILED] = "failed",   [TASK_CANCELLED] = "cancelled",
};
_Static_assert(ARRAY_SIZE(state_names) == TASK_STATE_MAX_, "every state has its word");

const char *task_state_name(enum task_state s)
{
    return state_names[s];
}

int task_state_from_string(const char *s)
{
    for (int i = 0; i < TASK_STATE_MAX_; i++) {
        if (str_eq(state_names[i], s)) {
            return i;
        }
    }
    return -EINVAL;
}

struct task *task_free(struct task *t)
{
    if (t) {
        free(t->model);
        free(t->type);
        free(t->instance);
        free(t->remote_id);
        free(t->error);
        free(t->webhook);
        free(t->input);
        free(t->output);
        free(t->options);
        free(t);
    }
    return NULL;
}

/* ---- timers ---- */

static void on_work(void *arg)
{
    slots_work(arg);
}

static void on_again(void *arg)
{
    lanes_kick_all(arg);
}

static void on_due(void *arg)
{
    struct tasks *t = arg;
    int64_t due_ms = t->due_wall_ms;

    if (due_ms > world_wall_ms(t->in.world)) {
        t->due_wall_ms = 0;
        due_at(t, due_ms);
    } else if (store_read_only_reason(t->in.store)) {
        t->due_wall_ms = 0;
    } else {
        release_add(t);
    }
}

static void on_retention(void *arg)
{
    struct tasks *t = arg;

    if (!store_read_only_reason(t->in.store)) {
        retention_add(t);
    }
}

/* ---- life ---- */

struct tasks *tasks_create(const struct tasks_in *in)
{
    struct tasks *t = xcalloc(1, sizeof(*t));

    t->in = *in;
    t->started_ms = t->ended_ms = world_now_ms(in->world);
    t->started_wall_ms = world_wall_ms(in->world);
    notify_init(&t->signal);
    list_init(&t->lanes);
    list_init(&t->kicked);
    list_init(&t->starved);
    list_init(&t->reads);
    map_init(&t->lanes_by_key);
    map_init(&t->running);
    journal_init(t);
    timer_init(&t->work, in->world, "tasks work", on_work, t);
    timer_init(&t->again, in->world, "tasks again", on_again, t);
    timer_init(&t->due, in->world, "tasks due", on_due, t);
    timer_init(&t->retention, in->world, "tasks retention", on_retention, t);
    drain_init(t);
    task_metrics_declare(t);
    tasks_reconfigure(t, in->config);
    return t;
}

void tasks_reconfigure(struct tasks *t, const struct config *config)
{
    t->in.config = config;
    t->ageing_ms = config_duration_ms(config, "queue.ageing");
    t->keep_ms = config_duration_ms(config, "queue.keep");
    t->max_queue_bytes = config_bytes(config, "queue.max_queue_bytes");
    t->max_queue_size = (uint64_t)config_int(config, "queue.max_queue_size");
    t->max_retries = (unsigned)config_int(config, "queue.max_retries");
    t->retry_delay_ms = config_duration_ms(config, "queue.retry_delay");
    t->retry_delay_max_ms = config_duration_ms(config, "queue.retry_delay_max");
    t->timeout_ms = config_duration_ms(config, "queue.task_timeout");
    t->default_workers = (unsigned)config_int(config, "worker.default_workers");
    t->max_workers = (unsigned)config_int(config, "worker.max_workers");
    tasks_wake(t);
}

void tasks_set_runner(struct tasks *t, enum task_kind kind, const struct task_runner *runner,
                      void *owner)
{
    t->runners[kind] = (struct runner_of_kind){ runner, owner };
}

void tasks_set_webhooks(struct tasks *t, struct webhooks *webhooks)
{
    t->webhooks = webhooks;
}

struct notify *tasks_signal(struct tasks *t)
{
    return &t->signal;
}

void tasks_wake(struct tasks *t)
{
    struct lane *lane;

    list_for_each (lane, &t->lanes, node) {
        lane->not_before_ms = 0;
    }
    lanes_kick_all(t);
}

void tasks_on_model(void *tasks, const void *model_change)
{
    const struct model_change *change = model_change;
    struct tasks *t = tasks;

    if (change->kind == MODEL_REMOVED) {
        task_metrics_forget(t, change->public_id);
    }
    if (change->kind != MODEL_WANTED_CHANGED) {
        tasks_wake(t);
    }
}

struct tasks *tasks_destroy(struct tasks *t)
{
    if (!t) {
        return NULL;
    }
    slots_finish(t);
    journal_finish(t);
    reads_finish(t);
    timer_stop(&t->work);
    timer_stop(&t->again);
    timer_stop(&t->due);
    timer_stop(&t->retention);
    timer_stop(&t->drain);
    while (!list_empty(&t->lanes)) {
        lane_free(list_first(&t->lanes, struct lane, node));
    }
    map_finish(&t->lanes_by_key);
    map_finish(&t->running);
    free(t->lanes_by_id);
    free(t);
    return NULL;
}
