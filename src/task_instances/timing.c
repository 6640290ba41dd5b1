// SPDX-License-Identifier: Apache-2.0
/*
 * How long completed tasks took, from their submit to the commit of their completion: for all, and
 * apart for each strategy by which their instances were chosen.
 */
#include <math.h>
#include <string.h>

#include "task_instances/task_instances_int.h"

// clang-format off
static const struct metric metrics[] = {
    { "berth_task_instance_tasks_total", METRIC_COUNTER, "Tasks of Task Instances that ended, by the strategy that chose the instance and by how they ended.", { "strategy", "state" }, NULL },
    { "berth_task_instance_total_seconds", METRIC_HISTOGRAM, "From the submit of a task to its completion.", { "strategy" }, metric_seconds },
    { "berth_task_instance_execution_seconds", METRIC_HISTOGRAM, "What the instance says that a task took.", { "strategy" }, metric_seconds },
    { "berth_task_instance_overhead_seconds", METRIC_HISTOGRAM, "The total without the execution: waiting, mostly.", { "strategy" }, metric_seconds },
    { "berth_task_instances", METRIC_GAUGE, "Task Instances that are registered, by state.", { "state" }, NULL },
};
// clang-format on
enum { M_TASKS, M_TOTAL, M_EXECUTION, M_OVERHEAD, M_INSTANCES };

static void on_collect(void *arg)
{
    struct task_instances *ti = arg;
    const struct peer *p;
    unsigned n[TI_DRAINING + 1] = { 0 };

    list_for_each (p, &ti->peers, node) {
        n[p->pub.state]++;
    }
    for (int i = TI_UNREACHABLE; i <= TI_DRAINING; i++) {
        const char *state = task_instance_state_name((enum task_instance_state)i);

        metric_set(metrics_cell(ti->metrics, &metrics[M_INSTANCES], &state), n[i]);
    }
}

void timing_declare(struct task_instances *ti)
{
    metrics_declare(ti->metrics, metrics, ARRAY_SIZE(metrics));
    metrics_on_collect(ti->metrics, on_collect, ti);
}

static const char *name_of(const struct strategy *s)
{
    return s ? s->name : "unknown";
}

void timing_count(struct task_instances *ti, const struct strategy *strategy, const char *outcome)
{
    const char *const labels[] = { name_of(strategy), outcome };

    metric_add(metrics_cell(ti->metrics, &metrics[M_TASKS], labels), 1);
}

static void observe(struct task_instances *ti, const struct strategy *strategy, int metric,
                    double ms)
{
    const char *label = name_of(strategy);

    metric_observe(metrics_cell(ti->metrics, &metrics[metric], &label), ms / 1000);
}

static void add(struct task_timing *t, double total_ms, double execution_ms)
{
    t->min_total_ms = t->tasks > 0 ? fmin(t->min_total_ms, total_ms) : total_ms;
    t->max_total_ms = fmax(t->max_total_ms, total_ms);
    t->tasks++;
    t->total_ms += total_ms;
    t->execution_ms += execution_ms;
    t->overhead_ms += total_ms - execution_ms;
}

static struct timing_row *row_of(struct task_instances *ti, const struct strategy *strategy)
{
    for (size_t i = 0; i < ti->timing_row_count; i++) {
        if (ti->timing_rows[i].strategy == strategy) {
            return &ti->timing_rows[i];
        }
    }
    if (ti->timing_row_count == TIMING_ROWS) {
        return NULL;
    }
    ti->timing_rows[ti->timing_row_count] = (struct timing_row){ .strategy = strategy };
    return &ti->timing_rows[ti->timing_row_count++];
}

void timing_add(struct task_instances *ti, const struct strategy *strategy, const char *task_id,
                double total_ms, double execution_ms)
{
    struct timing_row *row = strategy ? row_of(ti, strategy) : NULL;
    struct task_timing_entry *e;

    add(&ti->timing, total_ms, execution_ms);
    if (row) {
        add(&row->timing, total_ms, execution_ms);
    }
    if (ti->recent_count == RECENT_MAX) {
        memmove(ti->recent, ti->recent + 1, (RECENT_MAX - 1) * sizeof(ti->recent[0]));
        ti->recent_count--;
    }
    e = &ti->recent[ti->recent_count++];
    snprintf(e->task_id, sizeof(e->task_id), "%s", task_id);
    e->total_ms = total_ms;
    e->execution_ms = execution_ms;
    e->overhead_ms = total_ms - execution_ms;
    observe(ti, strategy, M_TOTAL, total_ms);
    observe(ti, strategy, M_EXECUTION, execution_ms);
    observe(ti, strategy, M_OVERHEAD, fmax(0, total_ms - execution_ms));
}

struct task_timing task_instances_timing(const struct task_instances *ti, const char *strategy)
{
    if (!strategy) {
        return ti->timing;
    }
    for (size_t i = 0; i < ti->timing_row_count; i++) {
        if (str_eq(ti->timing_rows[i].strategy->name, strategy)) {
            return ti->timing_rows[i].timing;
        }
    }
    return (struct task_timing){ 0 };
}

size_t task_instances_recent(const struct task_instances *ti, struct task_timing_entry ret[10])
{
    memcpy(ret, ti->recent, ti->recent_count * sizeof(ti->recent[0]));
    return ti->recent_count;
}
