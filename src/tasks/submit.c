// SPDX-License-Identifier: Apache-2.0
/*
 * Submitting: what can be refused at once is refused at once (so that a full queue costs nothing),
 * the rest when it is stored. Everything that was accepted and is not stored yet counts as queued.
 */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tasks/tasks_int.h"

enum { JOURNAL_MAX = 100000 };

struct submission {
    struct change c;
    struct task **tasks; /* taken over one by one as they are stored */
    size_t count;
    uint64_t bytes;
    bool counted, new_lane;
    char *key;
    struct task_slot *slot; /* NULL: none */
    int (*fn)(void *arg, struct sql *db, struct error *reterr);
};

/* ---- on the store's thread ---- */

static bool same_text(const char *a, size_t a_len, const char *b, size_t b_len)
{
    return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

static bool same_order(const struct task *a, const struct task *b)
{
    return a->lane == b->lane && str_eq(a->type, b->type) &&
           same_text(a->input, a->input_len, b->input, b->input_len) &&
           str_eq_opt(a->options, b->options);
}

static int find_by_key(struct sql *db, const char *key, int64_t *ret, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, "SELECT id FROM tasks WHERE idempotency_key = ?", "t", key);

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    if (r > 0) {
        *ret = sql_int(st, 0);
    }
    return r;
}

/* A unique value is taken: the key's task is given when it is the same order. It is nobody's move:
 * nothing has changed. */
static int give_known(struct submission *s, struct writing *w, struct task *task,
                      struct error *reterr)
{
    struct task *known = NULL;
    int64_t id = 0;
    int r = s->key ? find_by_key(w->db, s->key, &id, reterr) : 0;

    if (r > 0) {
        r = row_load(w->db, id, true, &known, reterr);
    }
    if (r == 0) {
        change_refuse(&s->c, -EEXIST, "a task with the id '%s' exists already", task->public_id);
    } else if (r > 0 && !same_order(known, task)) {
        change_refuse(&s->c, -EEXIST,
                      "the idempotency key was used for another task already (task %lld)",
                      (long long)id);
    } else if (r > 0) {
        s->c.result = 1;
        s->c.known = TAKE_PTR(known);
    }
    task_free(known);
    return MIN_OF(r, 0);
}

static int insert(struct submission *s, struct writing *w, size_t i, struct error *reterr)
{
    struct task *task = TAKE_PTR(s->tasks[i]);
    struct move *m = move_begin(&s->c, task);
    int r = move_insert(w, m, span_of(s->key), reterr);

    if (r == 0) {
        s->c.move_count--;
        r = give_known(s, w, task, reterr);
        task_free(task);
    }
    return MIN_OF(r, 0);
}

static int run_fn(struct submission *s, struct sql *db, struct error *reterr)
{
    struct error error = { 0 };
    int r = sql_run(db, reterr, "SAVEPOINT lines", "");

    return r < 0 ? r : change_end_fn(&s->c, db, s->fn(s->c.arg, db, &error), &error, reterr);
}

static int run(struct change *c, struct writing *w, struct error *reterr)
{
    struct submission *s = container_of(c, struct submission, c);
    int r;

    if (c->result < 0) { /* refused before */
        return 0;
    }
    r = s->fn ? run_fn(s, w->db, reterr) : 0;
    for (size_t i = 0; r >= 0 && s->new_lane && c->result >= 0 && i < s->count; i++) {
        if (i == 0 || s->tasks[i]->lane != s->tasks[i - 1]->lane) { /* lines name many models */
            r = lane_save(w->db, s->tasks[i], reterr);
        }
    }
    for (size_t i = 0; r >= 0 && c->result >= 0 && i < s->count; i++) {
        r = insert(s, w, i, reterr);
    }
    if (r >= 0 && c->result == 0 && !s->counted) {
        c->result = (int)s->count;
    }
    return r;
}

/* ---- after the commit ---- */

static void done(struct change *c)
{
    struct submission *s = container_of(c, struct submission, c);
    struct tasks *t = c->tasks;

    if (s->counted) {
        t->coming--;
        t->coming_bytes -= s->bytes;
    }
    if (s->slot && c->result == 0 && c->move_count == 1) {
        /* the caller is told of it afterwards, so it keeps what it needs */
        struct task *task = c->moves[0].task;
        struct task *own = xmemdup(task, sizeof(*task));

        own->model = xstrdup(task->model);
        own->type = xstrdup(task->type);
        own->instance = xstrdup_opt(task->instance);
        own->remote_id = own->error = own->output = NULL;
        own->webhook = xstrdup_opt(task->webhook);
        own->input = TAKE_PTR(task->input);
        own->options = TAKE_PTR(task->options);
        task->input_len = 0;
        slot_run(s->slot, own);
    } else if (s->slot) {
        slot_void(s->slot);
    }
}

static void finish(struct change *c)
{
    struct submission *s = container_of(c, struct submission, c);

    for (size_t i = 0; i < s->count; i++) {
        task_free(s->tasks[i]);
    }
    free(s->tasks);
    free(s->key);
}

static const struct change_kind submissions = { run, done, finish, false };

/* ---- before it ---- */

static uint64_t queued(const struct tasks *t, uint64_t *ret_bytes)
{
    uint64_t n = t->coming;

    *ret_bytes = t->coming_bytes;
    for (int kind = 0; kind < TASK_KIND_MAX_; kind++) {
        if (kind == TASK_OF_QUEUE || kind == TASK_OF_INSTANCE) {
            n += t->totals[kind][TASK_PENDING] + t->totals[kind][CELL_DELAYED];
            *ret_bytes += t->total_bytes[kind];
        }
    }
    return n;
}

static int check_room(struct tasks *t, uint64_t bytes, struct error *reterr)
{
    const char *why = store_read_only_reason(t->in.store);
    uint64_t queued_bytes, n = queued(t, &queued_bytes);

    if (why) {
        return error_set(reterr, -EROFS, "the store is read-only: %s", why);
    }
    if (n >= t->max_queue_size) {
        return error_set(reterr, -EAGAIN, "the queue is full: %llu tasks wait",
                         (unsigned long long)n);
    }
    if (queued_bytes + bytes > t->max_queue_bytes) {
        return error_set(reterr, -EAGAIN, "the queue is full: what waits has %llu bytes",
                         (unsigned long long)queued_bytes);
    }
    if (t->journal.count >= JOURNAL_MAX) {
        return error_set(reterr, -EAGAIN, "too many operations wait for the database");
    }
    return 0;
}

static int check_order(const struct tasks *t, const struct task_order *o, struct error *reterr)
{
    if (o->model_id && !models_get(t->in.models, o->model_id)) {
        return error_set(reterr, -ENOENT, "there is no such model");
    }
    if (!o->model_id && (!o->model || strlen(o->model) > MODEL_ID_MAX)) {
        return error_set(reterr, -ENOENT, "there is no such model");
    }
    if (!o->type || !o->type[0] || strlen(o->type) > TASK_TYPE_MAX) {
        return error_set(reterr, -EINVAL, "a type has 1 to %d bytes", TASK_TYPE_MAX);
    }
    if (o->priority >= TASK_CLASSES) {
        return error_set(reterr, -EINVAL, "there is no priority %u", o->priority);
    }
    if (o->idempotency_key.n > TASK_KEY_MAX) {
        return error_set(reterr, -EINVAL, "an idempotency key has at most %d bytes", TASK_KEY_MAX);
    }
    if (o->input.n + o->options.n > TASK_INPUT_MAX) {
        return error_set(reterr, -EFBIG, "a task's input has at most %d bytes", TASK_INPUT_MAX);
    }
    return 0;
}

static struct lane *lane_of_order(struct tasks *t, const struct task_order *o)
{
    const struct model *model = o->model_id ? models_get(t->in.models, o->model_id) : NULL;

    return lane_make(t, o->kind, o->model_id, model ? model->config->id : o->model);
}

/* 0: at once. */
static int64_t due_of(const struct task_order *o, int64_t now_ms)
{
    if (o->delay_ms) {
        return now_ms + (int64_t)o->delay_ms;
    }
    return o->run_at_ms > now_ms ? o->run_at_ms : 0;
}

static struct task *task_of_order(struct tasks *t, const struct lane *lane,
                                  const struct task_order *o)
{
    struct task *task = xcalloc(1, sizeof(*task));

    task->kind = o->kind;
    task->lane = lane->id;
    task->model_id = lane->model_id;
    task->model = xstrdup(lane->name);
    task->type = xstrdup(o->type);
    task->priority = o->priority;
    task->max_retries = o->max_retries < 0 ? t->max_retries : (unsigned)o->max_retries;
    task->timeout_ms = o->timeout_ms ? o->timeout_ms : t->timeout_ms;
    task->created_ms = task->updated_ms = world_wall_ms(t->in.world);
    task->due_ms = due_of(o, task->created_ms);
    task->batch_id = o->batch_id;
    task->batch_line = o->batch_line;
    task->webhook = xstrdup_opt(o->webhook);
    task->bytes = o->input.n + o->options.n;
    task_set_bodies(task, o->input.p ? o->input : SPAN(""), o->options, (struct span){ NULL, 0 });
    snprintf(task->public_id, sizeof(task->public_id), "%s", o->public_id ? o->public_id : "");
    if (o->slot) {
        task->state = TASK_RUNNING;
        task->fence = 1;
        task->started_ms = task->created_ms;
        task->due_ms = 0;
        task->instance = xstrdup(o->slot->instance);
    }
    return task;
}

static struct submission *create(size_t count, tasks_done_fn fn, void *arg)
{
    struct submission *s = xcalloc(1, sizeof(*s));

    s->c.kind = &submissions;
    s->c.fn = fn;
    s->c.arg = arg;
    s->tasks = xcalloc(MAX_OF(count, 1), sizeof(struct task *));
    s->count = count;
    return s;
}

int tasks_submit(struct tasks *t, const struct task_order *o, tasks_done_fn fn, void *arg,
                 struct error *reterr)
{
    struct submission *s;
    struct lane *lane;
    int r = check_order(t, o, reterr);

    if (r >= 0) {
        r = check_room(t, o->input.n + o->options.n, reterr);
    }
    if (r < 0) {
        return r;
    }
    lane = lane_of_order(t, o);
    s = create(1, fn, arg);
    s->tasks[0] = task_of_order(t, lane, o);
    s->bytes = s->tasks[0]->bytes;
    s->counted = true;
    s->new_lane = !lane->stored;
    s->key = o->idempotency_key.p ? span_dup(o->idempotency_key) : NULL;
    s->slot = o->slot;
    t->coming++;
    t->coming_bytes += s->bytes;
    journal_add(t, &s->c);
    return 0;
}

/* What is wrong with one is told by the change itself: this call has no return value. */
void tasks_submit_lines(struct tasks *t, const struct task_order *orders, size_t count,
                        int (*fn)(void *arg, struct sql *db, struct error *reterr),
                        tasks_done_fn done_fn, void *arg)
{
    struct submission *s = create(count, done_fn, arg);

    s->fn = fn;
    s->c.many = true;
    s->c.lends = fn != NULL;
    for (size_t i = 0; i < count; i++) {
        struct error error = { 0 };
        int r = check_order(t, &orders[i], &error);

        if (r < 0) {
            change_refuse(&s->c, r, "%s", error.text);
            break;
        }
        s->tasks[i] = task_of_order(t, lane_of_order(t, &orders[i]), &orders[i]);
        s->new_lane |= !lane_of_order(t, &orders[i])->stored;
    }
    journal_add(t, &s->c);
}

/* ---- when to come again ---- */

/* Completions a second, of late: each counts less the older it is. */
static double pace(struct tasks *t)
{
    uint64_t now = world_now_ms(t->in.world);
    double window_s = MIN_OF(60.0, (double)(now - t->started_ms) / 1000 + 1);
    double n = t->ended * exp(-(double)(now - t->ended_ms) / 60000);

    return n / window_s;
}

uint64_t tasks_retry_after_ms(struct tasks *t)
{
    uint64_t bytes, n = queued(t, &bytes);
    double rate = pace(t);
    double ms = rate > 0 ? (double)n / rate * 1000 : 300000;

    ms = MIN_OF(MAX_OF(ms, 1000.0), 300000.0);
    ms *= 0.9 + (double)world_random_below(t->in.world, 201) / 1000;
    return (uint64_t)MIN_OF(MAX_OF(ms, 1000.0), 300000.0);
}
