// SPDX-License-Identifier: Apache-2.0
/*
 * What a group of changes adds to the counters: gathered while its changes run, one row a key
 * written at its end, and added to the counters in memory after its commit. So both are the same,
 * and no count is ever made by looking at the tasks.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "tasks/tasks_int.h"

enum { DAY_MS_ = 24 * 3600 * 1000 };

void deltas_finish(struct deltas *d)
{
    free(d->counts);
    free(d->days);
    *d = (struct deltas){ 0 };
}

unsigned task_cell(const struct task *task)
{
    return task->state == TASK_PENDING && task->due_ms ? CELL_DELAYED : (unsigned)task->state;
}

/* Neighbours in a group are mostly alike: from the last one backwards. */
static struct count_delta *count_of(struct deltas *d, const struct task *task, unsigned cell)
{
    for (size_t i = d->count_count; i-- > 0;) {
        struct count_delta *c = &d->counts[i];

        if (c->lane == task->lane && c->class == task->priority && c->cell == cell &&
            str_eq(c->type, task->type)) {
            return c;
        }
    }
    if (d->count_count == d->count_cap) {
        d->count_cap = d->count_cap ? 2 * d->count_cap : 16;
        d->counts = xrealloc(d->counts, d->count_cap * sizeof(*d->counts));
    }
    d->counts[d->count_count] =
        (struct count_delta){ .lane = task->lane, .class = task->priority, .cell = cell };
    snprintf(d->counts[d->count_count].type, sizeof(d->counts->type), "%s", task->type);
    return &d->counts[d->count_count++];
}

static bool is_unfinished(const struct task *task)
{
    return task->state == TASK_PENDING || task->state == TASK_RUNNING;
}

void deltas_count(struct deltas *d, const struct task *task, int by)
{
    struct count_delta *c = count_of(d, task, task_cell(task));

    c->n += by;
    c->bytes += is_unfinished(task) ? by * (int64_t)task->bytes : 0;
}

static struct day_delta *day_of(struct deltas *d, const struct task *task)
{
    int64_t day = task->created_ms / DAY_MS_;

    for (size_t i = d->day_count; i-- > 0;) {
        struct day_delta *row = &d->days[i];

        if (row->lane == task->lane && row->day == day && str_eq(row->type, task->type)) {
            return row;
        }
    }
    if (d->day_count == d->day_cap) {
        d->day_cap = d->day_cap ? 2 * d->day_cap : 16;
        d->days = xrealloc(d->days, d->day_cap * sizeof(*d->days));
    }
    d->days[d->day_count] = (struct day_delta){ .lane = task->lane, .day = day };
    snprintf(d->days[d->day_count].type, sizeof(d->days->type), "%s", task->type);
    return &d->days[d->day_count++];
}

void deltas_day(struct deltas *d, const struct task *task, enum day_figure figure, int64_t by)
{
    day_of(d, task)->figures[figure] += by;
}

static int save_count(const struct count_delta *c, struct sql *db, struct error *reterr)
{
    if (c->n == 0 && c->bytes == 0) {
        return 0;
    }
    return sql_run(db, reterr,
                   "INSERT INTO task_counts(lane, type, class, cell, n, bytes) "
                   "VALUES(?, ?, ?, ?, ?, ?) ON CONFLICT(lane, type, class, cell) DO UPDATE SET "
                   "n = n + excluded.n, bytes = bytes + excluded.bytes",
                   "itiiii", c->lane, c->type, (int64_t)c->class, (int64_t)c->cell, c->n, c->bytes);
}

static int save_day(const struct day_delta *row, struct sql *db, struct error *reterr)
{
    const int64_t *f = row->figures;

    return sql_run(db, reterr,
                   "INSERT INTO task_days(day, lane, type, submitted, completed, failed, "
                   "cancelled, processing_ms) VALUES(?, ?, ?, ?, ?, ?, ?, ?) "
                   "ON CONFLICT(day, lane, type) DO UPDATE SET "
                   "submitted = submitted + excluded.submitted, "
                   "completed = completed + excluded.completed, failed = failed + excluded.failed, "
                   "cancelled = cancelled + excluded.cancelled, "
                   "processing_ms = processing_ms + excluded.processing_ms",
                   "iitiiiii", row->day, row->lane, row->type, f[DAY_SUBMITTED], f[DAY_COMPLETED],
                   f[DAY_FAILED], f[DAY_CANCELLED], f[DAY_MS]);
}

int deltas_save(const struct deltas *d, struct sql *db, struct error *reterr)
{
    int r = 0;

    for (size_t i = 0; r >= 0 && i < d->count_count; i++) {
        r = save_count(&d->counts[i], db, reterr);
    }
    for (size_t i = 0; r >= 0 && i < d->day_count; i++) {
        r = save_day(&d->days[i], db, reterr);
    }
    return MIN_OF(r, 0);
}
