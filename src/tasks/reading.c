// SPDX-License-Identifier: Apache-2.0
/*
 * Reading operations, and lists. A list's total comes from the counters in memory wherever they
 * know it; what has to be looked through is bounded by the store's time limit.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "tasks/tasks_int.h"

enum { LANES_MAX = 3 /* ?3 to ?5 in write_where() */ };

static const char *const order_names[] = {
    [TASKS_BY_CREATED] = "created_at",  [TASKS_BY_UPDATED] = "updated_at",
    [TASKS_BY_STARTED] = "started_at",  [TASKS_BY_COMPLETED] = "completed_at",
    [TASKS_BY_PRIORITY] = "priority",   [TASKS_BY_STATE] = "status",
    [TASKS_BY_RETRIES] = "retry_count", [TASKS_BY_MODEL] = "model_id",
    [TASKS_BY_TYPE] = "type",
};
_Static_assert(ARRAY_SIZE(order_names) == TASK_ORDER_BY_MAX_, "every order has its word");

static const char *const order_columns[] = {
    [TASKS_BY_CREATED] = "t.id",          [TASKS_BY_UPDATED] = "t.updated_ms",
    [TASKS_BY_STARTED] = "t.started_ms",  [TASKS_BY_COMPLETED] = "t.completed_ms",
    [TASKS_BY_PRIORITY] = "t.class",      [TASKS_BY_STATE] = "t.state",
    [TASKS_BY_RETRIES] = "t.retry_count", [TASKS_BY_MODEL] = "l.name",
    [TASKS_BY_TYPE] = "t.type",
};

int task_order_by_from_string(const char *s)
{
    if (str_eq(s, "id")) {
        return TASKS_BY_CREATED;
    }
    for (int i = 0; i < TASK_ORDER_BY_MAX_; i++) {
        if (str_eq(order_names[i], s)) {
            return i;
        }
    }
    return -EINVAL;
}

/* ---- one reading operation ---- */

static void on_read(struct store_op *op)
{
    struct task_read *read = container_of(op, struct task_read, op);

    if (read->tasks) {
        list_remove(&read->node);
        read->answer(read, op->result, &op->error);
    }
    read->finish(read);
}

void read_start(struct tasks *t, struct task_read *read,
                int (*run)(struct store_op *op, struct sql *db, struct error *reterr))
{
    read->tasks = t;
    read->op.run = run;
    read->op.done = on_read;
    list_append(&t->reads, &read->node);
    store_read(t->in.store, &read->op);
}

/* What is with the store comes back to nobody. */
void reads_finish(struct tasks *t)
{
    static const struct error gone = { -ECANCELED, "berth is going down" };

    while (!list_empty(&t->reads)) {
        struct task_read *read = list_first(&t->reads, struct task_read, node);

        list_remove(&read->node);
        read->tasks = NULL;
        read->answer(read, -ECANCELED, &gone);
    }
}

struct task *joined_row(struct sql_stmt *st)
{
    struct task *task = task_of_row(st);

    task->kind = (enum task_kind)sql_int(st, TASK_COLUMN_COUNT);
    task->model_id = sql_int(st, TASK_COLUMN_COUNT + 1);
    task->model = xstrdup(sql_text(st, TASK_COLUMN_COUNT + 2));
    return task;
}

/* ---- lists ---- */

struct list_read {
    struct task_read read;
    struct task_query q;
    char *type, *model, *text;
    bool counted; /* total is known */
    int64_t lanes[LANES_MAX];
    size_t lane_count;
    struct task **tasks;
    size_t count;
    uint64_t total;
    tasks_list_fn fn;
    void *arg;
};

static const char text_condition[] =
    " AND instr(lower(t.type || char(10) || l.name || char(10) || coalesce(t.error, '') || "
    "char(10) "
    "|| coalesce(CAST(i.input AS TEXT), '') || char(10) || coalesce(CAST(o.output AS TEXT), '')), "
    "lower(?12)) > 0";

/* State and order are written into the text, since an index is chosen by them; the rest is bound.
 */
static void write_where(const struct list_read *l, char *out, size_t size)
{
    char state[32] = "", batch[64] = "";

    if (l->q.filter.state >= 0) {
        snprintf(state, sizeof(state), " AND t.state = %d", l->q.filter.state);
    }
    if (l->q.filter.batch_id > 0) {
        snprintf(batch, sizeof(batch), " AND t.batch_id > 0 AND t.batch_id = ?7");
    }
    snprintf(out, size,
             " FROM tasks t CROSS JOIN lanes l ON l.id = t.lane%s WHERE (?1 < 0 OR l.kind = ?1) "
             "AND (?2 = 0 OR t.lane IN (?3, ?4, ?5)) AND (?6 IS NULL OR t.type = ?6)%s%s "
             "AND (?7 >= 0) AND (?8 < 0 OR t.class = ?8) AND (?9 < 0 OR t.dead = ?9) "
             "AND (?10 = 0 OR t.created_ms >= ?10) AND (?11 = 0 OR t.created_ms <= ?11)%s",
             l->q.bodies || l->text ? " LEFT JOIN task_inputs i ON i.id = t.id "
                                      "LEFT JOIN task_outputs o ON o.id = t.id"
                                    : "",
             state, batch, l->text ? text_condition : " AND ?12 IS NULL");
}

#define FILTER_FORMAT "iiiiitiiiiit"
#define FILTER_VALUES(l)                                                                           \
    (int64_t)(l)->q.filter.kind, (int64_t)(l)->lane_count, (l)->lanes[0], (l)->lanes[1],           \
        (l)->lanes[2], (l)->type, (l)->q.filter.batch_id, (int64_t)(l)->q.filter.priority,         \
        (int64_t)(l)->q.filter.dead, (l)->q.filter.from_ms, (l)->q.filter.to_ms, (l)->text

static int count_matches(struct list_read *l, struct sql *db, const char *where,
                         struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    _cleanup_(freep) char *text = xasprintf("SELECT count(*)%s", where);
    int r = sql_query(db, &st, reterr, text, FILTER_FORMAT, FILTER_VALUES(l));

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    if (r > 0) {
        l->total = (uint64_t)sql_int(st, 0);
    }
    return MIN_OF(r, 0);
}

static char *list_text(const struct list_read *l, const char *where)
{
    const char *order = order_columns[l->q.by], *way = l->q.ascending ? "ASC" : "DESC";

    return xasprintf("SELECT " JOINED_COLUMNS "%s%s%s ORDER BY %s %s%s%s LIMIT ?14 OFFSET ?15",
                     l->q.bodies ? ", i.input, i.options, o.output" : "", where,
                     l->q.after_id && l->q.by == TASKS_BY_CREATED
                         ? (l->q.ascending ? " AND t.id > ?13" : " AND t.id < ?13")
                         : " AND ?13 >= 0",
                     order, way, l->q.by == TASKS_BY_CREATED ? "" : ", t.id ",
                     l->q.by == TASKS_BY_CREATED ? "" : way);
}

static int read_list(struct list_read *l, struct sql *db, const char *where, struct error *reterr)
{
    _cleanup_(freep) char *text = list_text(l, where);
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, text, FILTER_FORMAT "iii", FILTER_VALUES(l), l->q.after_id,
                      (int64_t)l->q.limit, (int64_t)l->q.offset);

    if (r < 0) {
        return r;
    }
    while (l->count < l->q.limit && (r = sql_next(st, reterr)) > 0) {
        struct task *task = joined_row(st);

        if (l->q.bodies) {
            task_set_bodies(task, sql_span(st, TASK_COLUMN_COUNT + 3),
                            sql_span(st, TASK_COLUMN_COUNT + 4),
                            sql_span(st, TASK_COLUMN_COUNT + 5));
        }
        l->tasks[l->count++] = task;
    }
    return MIN_OF(r, 0);
}

static int run_list(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct list_read *l = container_of(op, struct list_read, read.op);
    char where[1024];
    int r;

    if (l->q.offset > TASKS_OFFSET_MAX) {
        return error_set(reterr, -EINVAL, "a list goes no further than its task %d",
                         TASKS_OFFSET_MAX);
    }
    if ((l->q.filter.model || l->q.filter.model_id) && l->lane_count == 0) {
        return 0; /* no task was ever for this model */
    }
    write_where(l, where, sizeof(where));
    r = l->counted ? 0 : count_matches(l, db, where, reterr);
    return r < 0 || l->q.limit == 0 ? r : read_list(l, db, where, reterr);
}

static void answer_list(struct task_read *read, int result, const struct error *e)
{
    struct list_read *l = container_of(read, struct list_read, read);
    bool good = result >= 0;

    l->fn(l->arg, MIN_OF(result, 0), good ? l->tasks : NULL, good ? l->count : 0,
          good ? l->total : 0, e);
}

static void finish_list(struct task_read *read)
{
    struct list_read *l = container_of(read, struct list_read, read);

    for (size_t i = 0; i < l->count; i++) {
        task_free(l->tasks[i]);
    }
    free(l->tasks);
    free(l->type);
    free(l->model);
    free(l->text);
    free(l);
}

bool lane_matches(const struct lane *lane, const struct task_filter *f)
{
    return (f->kind < 0 || (int)lane->kind == f->kind) &&
           (f->model_id == 0 || lane->model_id == f->model_id) &&
           (!f->model || str_eq(lane->name, f->model));
}

/* A model's name may have been another model's before: those of the name's last lanes are shown. */
static void find_lanes(struct list_read *l, const struct tasks *t)
{
    const struct lane *lane;

    if (!l->q.filter.model && !l->q.filter.model_id) {
        return;
    }
    list_for_each (lane, &t->lanes, node) {
        if (lane_matches(lane, &l->q.filter)) {
            if (l->lane_count == LANES_MAX) {
                l->lanes[0] = l->lanes[1];
                l->lanes[1] = l->lanes[2];
                l->lane_count--;
            }
            l->lanes[l->lane_count++] = lane->id;
        }
    }
}

static uint64_t count_type(const struct lane_type *type, const struct task_filter *f)
{
    uint64_t n = 0;

    for (unsigned class = 0; class < TASK_CLASSES; class ++) {
        for (unsigned cell = 0; cell < CELLS; cell++) {
            int state = cell == CELL_DELAYED ? TASK_PENDING : (int)cell;

            if ((f->priority < 0 || (int)class == f->priority) &&
                (f->state < 0 || state == f->state)) {
                n += type->n[class][cell];
            }
        }
    }
    return n;
}

static uint64_t count_known(const struct tasks *t, const struct task_filter *f)
{
    const struct lane *lane;
    const struct lane_type *type;
    uint64_t n = 0;

    list_for_each (lane, &t->lanes, node) {
        if (!lane_matches(lane, f)) {
            continue;
        }
        list_for_each (type, &lane->types, node) {
            if (!f->type || str_eq(type->name, f->type)) {
                n += count_type(type, f);
            }
        }
    }
    return n;
}

void tasks_list(struct tasks *t, const struct task_query *query, tasks_list_fn done, void *arg)
{
    struct list_read *l = xcalloc(1, sizeof(*l));
    const struct task_filter *f = &query->filter;

    l->q = *query;
    l->q.limit = MIN_OF(query->limit, TASKS_LIST_MAX);
    l->type = xstrdup_opt(f->type);
    l->model = xstrdup_opt(f->model);
    l->text = f->text && *f->text ? xstrdup(f->text) : NULL;
    l->q.filter.model = l->model;
    if (f->dead == 1 && f->state < 0) {
        l->q.filter.state = TASK_FAILED; /* the dead are failed ones: an index knows them */
    }
    l->tasks = xcalloc(MAX_OF(l->q.limit, 1), sizeof(*l->tasks));
    l->counted = f->batch_id == 0 && f->dead < 0 && !l->text && f->from_ms == 0 && f->to_ms == 0;
    l->total = l->counted ? count_known(t, f) : 0;
    l->fn = done;
    l->arg = arg;
    l->read.answer = answer_list;
    l->read.finish = finish_list;
    find_lanes(l, t);
    read_start(t, &l->read, run_list);
}
