// SPDX-License-Identifier: Apache-2.0
/*
 * Figures for /metrics, counted from moves that were committed. Cells are kept by the lanes, and
 * let go when their model is removed.
 */
#include <math.h>

#include "tasks/tasks_int.h"

enum {
    M_TASKS,
    M_SUBMITTED,
    M_COMPLETED,
    M_FAILED,
    M_CANCELLED,
    M_RETRIED,
    M_WAIT,
    M_SECONDS,
    M_BUSY,
    M_MAX_
};

// clang-format off
static const struct metric metric_rows[] = {
    [M_TASKS] = { "berth_tasks", METRIC_GAUGE, "Tasks that are stored, by state; delayed ones are pending, too, and counted apart.", { "state" }, NULL },
    [M_SUBMITTED] = { "berth_tasks_submitted_total", METRIC_COUNTER, "Tasks accepted.", { "model", "type" }, NULL },
    [M_COMPLETED] = { "berth_tasks_completed_total", METRIC_COUNTER, "Tasks completed.", { "model", "type" }, NULL },
    [M_FAILED] = { "berth_tasks_failed_total", METRIC_COUNTER, "Tasks failed for good.", { "model", "type" }, NULL },
    [M_CANCELLED] = { "berth_tasks_cancelled_total", METRIC_COUNTER, "Tasks cancelled.", { "model", "type" }, NULL },
    [M_RETRIED] = { "berth_tasks_retried_total", METRIC_COUNTER, "Attempts that ended and made their task pending again.", { "model", "type" }, NULL },
    [M_WAIT] = { "berth_task_wait_seconds", METRIC_HISTOGRAM, "From a task's submit to the start of its first attempt.", { "model" }, metric_seconds },
    [M_SECONDS] = { "berth_task_seconds", METRIC_HISTOGRAM, "From the start of a completed task's last attempt to its end.", { "model" }, metric_seconds },
    [M_BUSY] = { "berth_task_workers_busy", METRIC_GAUGE, "Workers that have a task.", { NULL }, NULL },
};
// clang-format on
_Static_assert(ARRAY_SIZE(metric_rows) == M_MAX_, "every metric has its row");

static void on_collect(void *arg)
{
    struct tasks *t = arg;

    for (unsigned cell = 0; cell < CELLS; cell++) {
        const char *state =
            cell == CELL_DELAYED ? "delayed" : task_state_name((enum task_state)cell);
        uint64_t n = 0;

        for (int kind = 0; kind < TASK_KIND_MAX_; kind++) {
            n += t->totals[kind][cell];
        }
        metric_set(metrics_cell(t->in.metrics, &metric_rows[M_TASKS], &state), (double)n);
    }
    metric_set(metrics_cell(t->in.metrics, &metric_rows[M_BUSY], NULL), t->working);
}

void task_metrics_declare(struct tasks *t)
{
    metrics_declare(t->in.metrics, metric_rows, ARRAY_SIZE(metric_rows));
    metrics_on_collect(t->in.metrics, on_collect, t);
}

static void count(struct tasks *t, struct lane *lane, const struct task *task,
                  enum lane_metric which)
{
    static const unsigned rows[] = { [LM_SUBMITTED] = M_SUBMITTED,
                                     [LM_COMPLETED] = M_COMPLETED,
                                     [LM_FAILED] = M_FAILED,
                                     [LM_CANCELLED] = M_CANCELLED,
                                     [LM_RETRIED] = M_RETRIED };
    struct lane_type *type = lane_type_make(lane, task->type);
    const char *labels[] = { lane->name, task->type };

    if (!type->cells[which]) {
        type->cells[which] = metrics_cell(t->in.metrics, &metric_rows[rows[which]], labels);
    }
    metric_add(type->cells[which], 1);
}

static void observe(struct tasks *t, struct lane *lane, struct metric_cell **cell, unsigned row,
                    int64_t ms)
{
    const char *label = lane->name;

    if (!*cell) {
        *cell = metrics_cell(t->in.metrics, &metric_rows[row], &label);
    }
    metric_observe(*cell, (double)MAX_OF(ms, 0) / 1000);
}

/* The pace: what ended of late, and how long it took. */
static void learn(struct tasks *t, struct lane *lane, const struct task *task)
{
    uint64_t now = world_now_ms(t->in.world);
    double ms = (double)MAX_OF(task->completed_ms - task->started_ms, 0);

    if (lane->kind != TASK_OF_EVALUATION) { /* those make no room in the queue */
        t->ended = t->ended * exp(-(double)(now - t->ended_ms) / 60000) + 1;
        t->ended_ms = now;
    }
    if (task->state == TASK_COMPLETED) {
        lane->mean_ms = lane->mean_ms > 0 ? 0.9 * lane->mean_ms + 0.1 * ms : MAX_OF(ms, 0.001);
        observe(t, lane, &lane->run_seconds, M_SECONDS, (int64_t)ms);
    }
}

void task_metrics_count(struct tasks *t, struct lane *lane, const struct move *m)
{
    static const enum lane_metric ends[] = {
        [TASK_COMPLETED] = LM_COMPLETED, [TASK_FAILED] = LM_FAILED, [TASK_CANCELLED] = LM_CANCELLED
    };
    const struct task *task = m->task;

    if (m->removed) {
        if (m->from < TASK_COMPLETED) {
            count(t, lane, task, LM_CANCELLED);
        }
        return;
    }
    if (m->from < 0) {
        count(t, lane, task, LM_SUBMITTED);
    }
    if (m->from == (int)task->state) {
        return;
    }
    if (m->from == TASK_RUNNING && task->state == TASK_PENDING) {
        count(t, lane, task, LM_RETRIED);
    }
    if (m->from == TASK_RUNNING && task->state != TASK_PENDING) {
        learn(t, lane, task);
    }
    if (task->state == TASK_RUNNING && task->fence == 1) {
        observe(t, lane, &lane->wait_seconds, M_WAIT, task->started_ms - task->created_ms);
    }
    if (task->state >= TASK_COMPLETED) {
        count(t, lane, task, ends[task->state]);
    }
}

void task_metrics_forget(struct tasks *t, const char *model)
{
    struct lane *lane;
    struct lane_type *type;

    list_for_each (lane, &t->lanes, node) {
        if (!str_eq(lane->name, model)) {
            continue;
        }
        lane->wait_seconds = lane->run_seconds = NULL;
        list_for_each (type, &lane->types, node) {
            memset(type->cells, 0, sizeof(type->cells));
        }
    }
}
