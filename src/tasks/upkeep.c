// SPDX-License-Identifier: Apache-2.0
/*
 * What berth does with tasks by itself: it releases what has become due, fails what waits for a
 * model that is gone, and removes what was kept long enough. Each in pieces of bounded size.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "tasks/tasks_int.h"

enum {
    RETENTION_MS = 60 * 1000,
    DUE_MAX_MS = 60 * 1000, /* the wall clock may be set meanwhile */
};

struct rows {
    struct task *items[PIECE];
    size_t count;
};

/* The rows of a query (columns TASK_COLUMNS) that is at its first step. */
static int gather(struct rows *rows, struct sql_stmt *st, struct error *reterr)
{
    int r = 0;

    while (rows->count < PIECE && (r = sql_next(st, reterr)) > 0) {
        rows->items[rows->count++] = task_of_row(st);
    }
    return MIN_OF(r, 0);
}

struct upkeep {
    struct change c;
    int64_t until_ms, next_ms; /* releases; retention: until only */
    int64_t lane;              /* failures */
};

static struct upkeep *upkeep_create(const struct change_kind *kind)
{
    struct upkeep *u = xcalloc(1, sizeof(*u));

    u->c.kind = kind;
    return u;
}

static int find_due(struct upkeep *u, struct sql *db, struct rows *rows, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, due_query, "ii", u->until_ms, (int64_t)PIECE);

    return r < 0 ? r : gather(rows, st, reterr);
}

static int find_next_due(struct upkeep *u, struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT due_ms FROM tasks WHERE state = 0 AND due_ms > 0 "
                      "ORDER BY due_ms LIMIT 1",
                      "");

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    u->next_ms = r > 0 ? sql_int(st, 0) : 0;
    return MIN_OF(r, 0);
}

static int run_release(struct change *c, struct writing *w, struct error *reterr)
{
    struct upkeep *u = container_of(c, struct upkeep, c);
    struct rows rows = { .count = 0 };
    int r = find_due(u, w->db, &rows, reterr);

    for (size_t i = 0; i < rows.count; i++) {
        struct move *m = move_begin(c, rows.items[i]);

        rows.items[i]->due_ms = 0;
        r = r < 0 ? r : move_save(w, m, reterr);
    }
    return r < 0 ? r : find_next_due(u, w->db, reterr);
}

static void release_done(struct change *c)
{
    struct upkeep *u = container_of(c, struct upkeep, c);
    struct tasks *t = c->tasks;

    t->releasing = false;
    t->due_wall_ms = 0;
    if (c->result < 0) {
        due_at(t, world_wall_ms(t->in.world) + 1000);
    } else if (u->next_ms) {
        due_at(t, u->next_ms);
    }
}

static const struct change_kind releases = { run_release, release_done, NULL, true };

void release_add(struct tasks *t)
{
    struct upkeep *u;

    if (!t->releasing) {
        u = upkeep_create(&releases);
        t->releasing = true;
        u->until_ms = world_wall_ms(t->in.world);
        journal_add(t, &u->c);
    }
}

void due_at(struct tasks *t, int64_t due_ms)
{
    int64_t wait = due_ms - world_wall_ms(t->in.world);

    if (!t->due_wall_ms || due_ms < t->due_wall_ms) {
        t->due_wall_ms = due_ms;
        timer_start(&t->due, (uint64_t)MIN_OF(MAX_OF(wait, 0), DUE_MAX_MS));
    }
}

/* ---- a model that is gone ---- */

static int find_waiting(int64_t lane, struct sql *db, const char *text, struct rows *rows,
                        struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, text, "ii", lane, (int64_t)PIECE);

    return r < 0 ? r : gather(rows, st, reterr);
}

static int run_fail_lane(struct change *c, struct writing *w, struct error *reterr)
{
    struct upkeep *u = container_of(c, struct upkeep, c);
    struct rows rows = { .count = 0 };
    int64_t now = world_wall_ms(w->world);
    int r = find_waiting(u->lane, w->db,
                         "SELECT " TASK_COLUMNS " FROM tasks t WHERE t.lane = ? AND t.state = 0 "
                         "AND t.due_ms = 0 LIMIT ?",
                         &rows, reterr);

    if (r >= 0) {
        r = find_waiting(u->lane, w->db,
                         "SELECT " TASK_COLUMNS " FROM tasks t WHERE t.lane = ? AND t.state = 0 "
                         "AND t.due_ms > 0 LIMIT ?",
                         &rows, reterr);
    }
    for (size_t i = 0; i < rows.count; i++) {
        struct task *task = rows.items[i];
        struct move *m = move_begin(c, task);

        task->state = TASK_FAILED;
        task->completed_ms = now;
        task->due_ms = 0;
        task_set_error(task, "its model was removed");
        r = r < 0 ? r : move_save(w, m, reterr);
    }
    return r;
}

static void fail_lane_done(struct change *c)
{
    struct lane *lane = lane_of_id(c->tasks, container_of(c, struct upkeep, c)->lane);

    lane->failing = false;
    if (c->move_count) {
        lane_kick(lane);
    }
}

static const struct change_kind lane_failures = { run_fail_lane, fail_lane_done, NULL, true };

void fail_lane_add(struct lane *lane)
{
    struct upkeep *u;

    if (!lane->failing && lane_count(lane, TASK_PENDING) + lane_count(lane, CELL_DELAYED) > 0 &&
        !store_read_only_reason(lane->tasks->in.store)) {
        u = upkeep_create(&lane_failures);
        lane->failing = true;
        u->lane = lane->id;
        journal_add(lane->tasks, &u->c);
    }
}

/* ---- retention ---- */

static int find_old(struct upkeep *u, struct sql *db, struct rows *rows, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, old_query, "ii", u->until_ms, (int64_t)PIECE);

    return r < 0 ? r : gather(rows, st, reterr);
}

static int run_retention(struct change *c, struct writing *w, struct error *reterr)
{
    struct upkeep *u = container_of(c, struct upkeep, c);
    struct rows rows = { .count = 0 };
    int r = find_old(u, w->db, &rows, reterr);

    for (size_t i = 0; i < rows.count; i++) {
        struct move *m = move_begin(c, rows.items[i]);

        r = r < 0 ? r : move_remove(w, m, reterr);
    }
    return r;
}

static void retention_done(struct change *c)
{
    struct tasks *t = c->tasks;
    bool more = c->result >= 0 && c->move_count == PIECE;

    t->cleaning = false;
    timer_start(&t->retention, more ? 10 : RETENTION_MS);
}

static const struct change_kind retentions = { run_retention, retention_done, NULL, false };

void retention_add(struct tasks *t)
{
    struct upkeep *u;

    if (t->cleaning) {
        return;
    }
    if (t->keep_ms == 0) {
        timer_start(&t->retention, RETENTION_MS);
        return;
    }
    u = upkeep_create(&retentions);
    t->cleaning = true;
    u->until_ms = world_wall_ms(t->in.world) - (int64_t)t->keep_ms;
    journal_add(t, &u->c);
}
