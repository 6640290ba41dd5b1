// SPDX-License-Identifier: Apache-2.0
/*
 * What people want of tasks that stand already: cancel, retry, another priority, remove. Each looks
 * at the row inside the transaction, and says which state it is in when that does not allow it.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "tasks/tasks_int.h"

struct order {
    struct change c;
    unsigned priority;
    bool again;
    /* of a batch: how many were cancelled in earlier pieces, and up to which id */
    int cancelled;
    int64_t after_id;
};

/* Loads the row; `allowed` are the states (bits) in which it may be altered. NULL in *ret: refused.
 */
static int load(struct order *o, struct writing *w, unsigned allowed, const char *what,
                struct task **ret, struct error *reterr)
{
    struct task *task = NULL;
    int r = row_load(w->db, o->c.id, false, &task, reterr);

    if (r < 0) {
        return r;
    }
    if (r == 0) {
        change_refuse(&o->c, -ENOENT, "there is no task %lld", (long long)o->c.id);
        return 0;
    }
    if (!(allowed & 1u << task->state)) {
        change_refuse(&o->c, -EBUSY, "the task is %s and cannot be %s",
                      task_state_name(task->state), what);
        task_free(task);
        return 0;
    }
    *ret = task;
    return 0;
}

static struct order *create(const struct change_kind *kind, int64_t id, tasks_done_fn fn, void *arg)
{
    struct order *o = xcalloc(1, sizeof(*o));

    o->c.kind = kind;
    o->c.id = id;
    o->c.fn = fn;
    o->c.arg = arg;
    return o;
}

static struct order *order_of(struct change *c)
{
    return container_of(c, struct order, c);
}

/* ---- cancel ---- */

static int cancel_row(struct change *c, struct writing *w, struct task *task, struct error *reterr)
{
    struct move *m = move_begin(c, task);
    int r = log_append(w, task->id, "info",
                       task->state == TASK_RUNNING ? "cancelled while it ran" : "cancelled", NULL,
                       reterr);

    task->state = TASK_CANCELLED;
    task->completed_ms = world_wall_ms(w->world);
    task->due_ms = 0;
    return r < 0 ? r : move_save(w, m, reterr);
}

static int run_cancel(struct change *c, struct writing *w, struct error *reterr)
{
    struct task *task = NULL;
    int r =
        load(order_of(c), w, 1u << TASK_PENDING | 1u << TASK_RUNNING, "cancelled", &task, reterr);

    return task ? cancel_row(c, w, task, reterr) : r;
}

static const struct change_kind cancels = { run_cancel, NULL, NULL, false };

void tasks_cancel(struct tasks *t, int64_t id, tasks_done_fn done, void *arg)
{
    journal_add(t, &create(&cancels, id, done, arg)->c);
}

/* ---- retry ---- */

static int run_retry(struct change *c, struct writing *w, struct error *reterr)
{
    struct order *o = order_of(c);
    struct task *task = NULL;
    struct move *m;
    int r = load(o, w, 1u << TASK_FAILED, "tried again", &task, reterr);

    if (!task) {
        return r;
    }
    if (!o->again && task->retry_count >= task->max_retries) {
        change_refuse(c, -EBUSY, "all %u retries of the task are used up", task->max_retries);
        task_free(task);
        return 0;
    }
    r = log_append(w, task->id, "info", "tried again by request", NULL, reterr);
    r = r < 0 ? r : output_remove(w->db, task->id, reterr);
    m = move_begin(c, task);
    task->retry_count = o->again ? 0 : task->retry_count + 1;
    task->lost = 0;
    task->state = TASK_PENDING;
    task->due_ms = task->started_ms = task->completed_ms = 0;
    task->http_status = 0;
    task->dead = false;
    free(task->error);
    task->error = NULL;
    return r < 0 ? r : move_save(w, m, reterr);
}

static const struct change_kind retries = { run_retry, NULL, NULL, false };

void tasks_retry(struct tasks *t, int64_t id, bool again, tasks_done_fn done, void *arg)
{
    struct order *o = create(&retries, id, done, arg);

    o->again = again;
    journal_add(t, &o->c);
}

/* ---- priority ---- */

static int run_priority(struct change *c, struct writing *w, struct error *reterr)
{
    struct order *o = order_of(c);
    struct task *task = NULL;
    struct move *m;
    int r;

    if (o->priority >= TASK_CLASSES) {
        change_refuse(c, -EINVAL, "there is no priority %u", o->priority);
        return 0;
    }
    r = load(o, w, 1u << TASK_PENDING | 1u << TASK_RUNNING, "given another priority", &task,
             reterr);
    if (!task) {
        return r;
    }
    m = move_begin(c, task);
    if (task->priority != o->priority) {
        r = log_append(w, task->id, "info", "given another priority",
                       json_pack("{s:i, s:i}", "from", (int)task->priority, "to", (int)o->priority),
                       reterr);
    }
    task->priority = o->priority;
    return r < 0 ? r : move_save(w, m, reterr);
}

static const struct change_kind priorities = { run_priority, NULL, NULL, false };

void tasks_set_priority(struct tasks *t, int64_t id, unsigned priority, tasks_done_fn done,
                        void *arg)
{
    struct order *o = create(&priorities, id, done, arg);

    o->priority = priority;
    journal_add(t, &o->c);
}

/* ---- remove ---- */

static int run_remove(struct change *c, struct writing *w, struct error *reterr)
{
    struct task *task = NULL;
    int r = load(order_of(c), w, 1u << TASK_COMPLETED | 1u << TASK_FAILED | 1u << TASK_CANCELLED,
                 "removed", &task, reterr);

    return task ? move_remove(w, move_begin(c, task), reterr) : r;
}

static const struct change_kind removals = { run_remove, NULL, NULL, false };

void tasks_remove(struct tasks *t, int64_t id, tasks_done_fn done, void *arg)
{
    journal_add(t, &create(&removals, id, done, arg)->c);
}

/* ---- whatever state they are in ---- */

struct erasure {
    struct change c;
    int (*fn)(void *arg, struct sql *db, struct task_ids *ret, struct error *reterr);
};

static int erase_row(struct change *c, struct writing *w, int64_t id, struct error *reterr)
{
    struct task *task = NULL;
    int r = row_load(w->db, id, false, &task, reterr);

    return r > 0 ? move_remove(w, move_begin(c, task), reterr) : r;
}

static int run_erase(struct change *c, struct writing *w, struct error *reterr)
{
    struct erasure *e = container_of(c, struct erasure, c);
    struct task_ids ids = { NULL, 0 };
    struct error error = { 0 };
    int r = sql_run(w->db, reterr, "SAVEPOINT lines", "");

    if (r >= 0) {
        r = change_end_fn(c, w->db, e->fn(c->arg, w->db, &ids, &error), &error, reterr);
    }
    for (size_t i = 0; r >= 0 && c->result >= 0 && i < ids.count; i++) {
        r = erase_row(c, w, ids.ids[i], reterr);
    }
    if (c->result >= 0) {
        c->result = (int)c->move_count;
    }
    free(ids.ids);
    return MIN_OF(r, 0);
}

static const struct change_kind erasures = { run_erase, NULL, NULL, false };

void tasks_erase(struct tasks *t,
                 int (*fn)(void *arg, struct sql *db, struct task_ids *ret, struct error *reterr),
                 tasks_done_fn done, void *arg)
{
    struct erasure *e = xcalloc(1, sizeof(*e));

    e->c.kind = &erasures;
    e->c.fn = done;
    e->c.arg = arg;
    e->c.many = true;
    e->c.lends = true;
    e->fn = fn;
    journal_add(t, &e->c);
}

/* ---- a whole batch ---- */

static int find_unfinished(const struct order *o, struct sql *db, struct task **rows,
                           size_t *ret_count, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r =
        sql_query(db, &st, reterr, unfinished_query, "iii", o->c.id, o->after_id, (int64_t)PIECE);

    if (r < 0) {
        return r;
    }
    while (*ret_count < PIECE && (r = sql_next(st, reterr)) > 0) {
        rows[(*ret_count)++] = task_of_row(st);
    }
    return MIN_OF(r, 0);
}

static int run_cancel_batch(struct change *c, struct writing *w, struct error *reterr)
{
    struct task *rows[PIECE];
    size_t count = 0;
    struct order *o = order_of(c);
    int r = find_unfinished(o, w->db, rows, &count, reterr);

    o->after_id = count ? rows[count - 1]->id : 0;
    for (size_t i = 0; i < count; i++) {
        if (r < 0) {
            task_free(rows[i]);
        } else {
            r = cancel_row(c, w, rows[i], reterr);
        }
    }
    return r;
}

static void cancel_piece(struct tasks *t, const struct order *before, tasks_done_fn fn, void *arg);

static void cancel_batch_done(struct change *c)
{
    struct order *o = order_of(c);

    if (c->result < 0) {
        return;
    }
    o->cancelled += (int)c->move_count;
    if (c->move_count == PIECE) {
        cancel_piece(c->tasks, o, TAKE_PTR(c->fn), c->arg);
    } else {
        c->result = o->cancelled;
    }
}

static const struct change_kind batch_cancels = { run_cancel_batch, cancel_batch_done, NULL,
                                                  false };

static void cancel_piece(struct tasks *t, const struct order *before, tasks_done_fn fn, void *arg)
{
    struct order *o = create(&batch_cancels, before->c.id, fn, arg);

    o->cancelled = before->cancelled;
    o->after_id = before->after_id;
    o->c.many = true;
    journal_add(t, &o->c);
}

void tasks_cancel_batch(struct tasks *t, int64_t batch_id, tasks_done_fn done, void *arg)
{
    cancel_piece(t, &(struct order){ .c.id = batch_id }, done, arg);
}
