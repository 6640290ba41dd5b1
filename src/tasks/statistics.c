// SPDX-License-Identifier: Apache-2.0
/*
 * Figures: what stands, from the counters in memory; what was ever done, from a row a day, lane and
 * type.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "base/timefmt.h"
#include "tasks/tasks_int.h"

enum { STATS_MAX = 10000 };

struct stats_read {
    struct task_read read;
    enum task_stats_by by;
    int kind;
    int64_t since_day;
    struct task_stats *rows;
    size_t count;
    tasks_stats_fn fn;
    void *arg;
};

#define STATS_SUMS                                                                                 \
    "sum(d.submitted), sum(d.completed), sum(d.failed), sum(d.cancelled), sum(d.processing_ms) "   \
    "FROM task_days d JOIN lanes l ON l.id = d.lane WHERE (?1 < 0 OR l.kind = ?1) AND d.day >= "   \
    "?2 "

static const char *const stats_texts[] = {
    [TASK_STATS_BY_DAY] = "SELECT d.day, 0, " STATS_SUMS "GROUP BY d.day ORDER BY d.day DESC",
    [TASK_STATS_BY_MODEL] = "SELECT l.name, l.model_id, " STATS_SUMS
                            "GROUP BY l.name, l.model_id ORDER BY l.name, l.model_id",
    [TASK_STATS_BY_TYPE] = "SELECT d.type, 0, " STATS_SUMS "GROUP BY d.type ORDER BY d.type",
    [TASK_STATS_ALL] = "SELECT '', 0, " STATS_SUMS "HAVING count(*) > 0",
};

static char *stats_key(const struct stats_read *s, struct sql_stmt *st)
{
    char day[TIMEFMT_SIZE];

    if (s->by != TASK_STATS_BY_DAY) {
        return xstrdup(sql_text(st, 0));
    }
    timefmt_iso(sql_int(st, 0) * 24 * 3600 * 1000, day);
    return xstrndup(day, strlen("2026-11-21"));
}

static int run_stats(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct stats_read *s = container_of(op, struct stats_read, read.op);
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, stats_texts[s->by], "ii", (int64_t)s->kind, s->since_day);

    if (r < 0) {
        return r;
    }
    s->rows = xcalloc(STATS_MAX, sizeof(*s->rows));
    while (s->count < STATS_MAX && (r = sql_next(st, reterr)) > 0) {
        s->rows[s->count++] = (struct task_stats){
            .key = stats_key(s, st),
            .model_id = sql_int(st, 1),
            .submitted = (uint64_t)sql_int(st, 2),
            .completed = (uint64_t)sql_int(st, 3),
            .failed = (uint64_t)sql_int(st, 4),
            .cancelled = (uint64_t)sql_int(st, 5),
            .processing_ms = (uint64_t)sql_int(st, 6),
        };
    }
    return MIN_OF(r, 0);
}

static void answer_stats(struct task_read *read, int result, const struct error *e)
{
    struct stats_read *s = container_of(read, struct stats_read, read);

    s->fn(s->arg, result, result < 0 ? NULL : s->rows, result < 0 ? 0 : s->count, e);
}

static void finish_stats(struct task_read *read)
{
    struct stats_read *s = container_of(read, struct stats_read, read);

    for (size_t i = 0; i < s->count; i++) {
        free(s->rows[i].key);
    }
    free(s->rows);
    free(s);
}

void tasks_stats(struct tasks *t, enum task_stats_by by, int kind, unsigned days,
                 tasks_stats_fn done, void *arg)
{
    struct stats_read *s = xcalloc(1, sizeof(*s));
    int64_t today = world_wall_ms(t->in.world) / (24 * 3600 * 1000);

    s->by = by;
    s->kind = kind;
    s->since_day = by == TASK_STATS_BY_DAY && days ? today - (int64_t)days + 1 : 0;
    s->fn = done;
    s->arg = arg;
    s->read.answer = answer_stats;
    s->read.finish = finish_stats;
    read_start(t, &s->read, run_stats);
}

/* ---- counters ---- */

static void add_counts(struct task_counts *c, const struct lane_type *type)
{
    for (unsigned class = 0; class < TASK_CLASSES; class ++) {
        for (unsigned s = 0; s < TASK_STATE_MAX_; s++) {
            c->by_state[s] += type->n[class][s];
        }
        c->by_state[TASK_PENDING] += type->n[class][CELL_DELAYED];
        c->delayed += type->n[class][CELL_DELAYED];
        c->pending_by_class[class] += type->n[class][TASK_PENDING];
        for (unsigned cell = 0; cell < CELLS; cell++) {
            c->pending_bytes += type->bytes[class][cell];
        }
    }
}

struct task_counts tasks_counts(const struct tasks *t, const struct task_filter *f)
{
    struct task_counts c = { .delayed = 0 };
    const struct lane *lane;
    const struct lane_type *type;

    list_for_each (lane, &t->lanes, node) {
        if (!lane_matches(lane, f)) {
            continue;
        }
        list_for_each (type, &lane->types, node) {
            if (!f->type || str_eq(type->name, f->type)) {
                add_counts(&c, type);
            }
        }
    }
    return c;
}
