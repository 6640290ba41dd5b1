// SPDX-License-Identifier: Apache-2.0
/* The clients: submits of all kinds in bursts, the same one twice, and every change of every task,
 * whatever state it is in; what they are answered goes to the judge. */
#include "tasks_scene.h"

#include <errno.h>

struct ask {
    struct scene *scene;
    int token;       /* of a submit */
    int64_t id;      /* of a change */
    unsigned number; /* the priority; how many lines */
    struct order *order;
};

static uint64_t below(struct scene *s, uint64_t n)
{
    return world_random_below(s->world, n);
}

static struct ask *ask_new(struct scene *s, int64_t id)
{
    struct ask *a = xcalloc(1, sizeof(*a));

    a->scene = s;
    a->id = id;
    s->in_flight++;
    return a;
}

static void ask_end(struct ask *a)
{
    a->scene->in_flight--;
    free(a);
}

/* ---- submits ---- */

static void on_submitted(void *arg, int result, const struct task *task, const struct error *e)
{
    struct ask *a = arg;

    judge_on_submit(a->scene, a->token, result, task);
    ask_end(a);
}

static struct task_order make_order(struct scene *s, int token, char *text, size_t size)
{
    const struct order *o = &s->orders[token];

    order_text(token, text, size);
    return (struct task_order){
        .kind = o->kind,
        .model_id = o->lane < MODELS ? s->model_ids[o->lane] : 0,
        .model = o->lane < MODELS ? NULL : remote_name(o->lane),
        .type = o->kind == TASK_OF_BATCH      ? "batch"
                : o->kind == TASK_OF_INSTANCE ? "instance"
                                              : "text-generation",
        .priority = o->priority,
        .input = span_of(text),
        .max_retries = -1,
    };
}

static int new_token(struct scene *s, enum task_kind kind)
{
    struct order *o;

    if (s->order_count + 1 >= ORDERS_MAX) {
        return 0;
    }
    o = &s->orders[++s->order_count];
    o->kind = kind;
    o->lane = kind == TASK_OF_INSTANCE ? MODELS + (unsigned)below(s, REMOTES)
                                       : (unsigned)below(s, MODELS);
    o->priority = kind == TASK_OF_BATCH ? TASK_BATCH : 1 + (unsigned)below(s, 3);
    return s->order_count;
}

/* Sends (or sends again) the order of this token. */
static void send(struct scene *s, int token)
{
    struct order *o = &s->orders[token];
    struct ask *a = ask_new(s, 0);
    char text[4000], key[16], public_id[UUID_SIZE];
    struct task_order order = make_order(s, token, text, sizeof(text));
    struct error e = { 0 };
    int r;

    a->token = token;
    if (o->fate == FATE_NOT_THERE || o->fate == FATE_REFUSED) {
        o->fate = FATE_ASKED;
    }
    if (o->keyed) {
        snprintf(key, sizeof(key), "key %d", token);
        order.idempotency_key = span_of(key);
    }
    if (o->delayed) {
        order.delay_ms = 1 + (uint64_t)token * 37 % 9000;
    }
    if (o->kind == TASK_OF_INSTANCE) {
        world_uuid(s->world, public_id);
        order.public_id = public_id;
        order.slot = o->bound ? runner_take_place(s, o->lane) : NULL;
    }
    r = tasks_submit(s->tasks, &order, on_submitted, a, &e);
    if (r < 0) {
        if (order.slot) {
            runner_give_place_back(s, order.slot);
        }
        judge_on_submit(s, token, r, NULL);
        ask_end(a);
    }
}

static void submit(struct scene *s)
{
    uint64_t count = below(s, 8) == 0 ? 1 + below(s, 30) : 1;

    while (count-- > 0) {
        int token = new_token(s, below(s, 4) == 0 ? TASK_OF_INSTANCE : TASK_OF_QUEUE);
        struct order *o = &s->orders[token];

        if (token == 0) {
            return;
        }
        o->keyed = o->kind == TASK_OF_QUEUE && below(s, 3) == 0;
        o->delayed = o->kind == TASK_OF_QUEUE && below(s, 6) == 0;
        o->bound = o->kind == TASK_OF_INSTANCE && below(s, 2) == 0;
        send(s, token);
    }
}

/* The client did not hear the answer, or did not believe it. */
static void submit_again(struct scene *s)
{
    for (int tries = 0; tries < 10 && s->order_count > 0; tries++) {
        int token = 1 + (int)below(s, (uint64_t)s->order_count);

        if (s->orders[token].keyed) {
            send(s, token);
            return;
        }
    }
}

/* ---- a batch's lines, with a row of the batch's own room ---- */

static int put_piece(void *arg, struct sql *db, struct error *reterr)
{
    const struct ask *a = arg;

    return sql_run(db, reterr, "INSERT INTO sim_piece(piece, lines) VALUES(?, ?)", "ii",
                   (int64_t)a->order->piece, (int64_t)a->number);
}

static void on_lines(void *arg, int result, const struct task *task, const struct error *e)
{
    struct ask *a = arg;

    for (unsigned i = 0; i < a->number; i++) {
        judge_on_submit(a->scene, a->token + (int)i, result, NULL);
    }
    ask_end(a);
}

static void submit_lines(struct scene *s)
{
    enum { LINES = 12 };
    struct task_order orders[LINES];
    char texts[LINES][4000];
    unsigned count = 1 + (unsigned)below(s, LINES);
    unsigned lane = (unsigned)below(s, MODELS);
    struct ask *a = ask_new(s, 0);

    s->piece_count++;
    for (unsigned i = 0; i < count; i++) {
        int token = new_token(s, TASK_OF_BATCH);

        if (token == 0) {
            count = i;
            break;
        }
        s->orders[token].lane = lane;
        s->orders[token].piece = s->piece_count;
        a->token = i == 0 ? token : a->token;
        orders[i] = make_order(s, token, texts[i], sizeof(texts[i]));
        orders[i].batch_id = 1 + s->piece_count % BATCHES;
        orders[i].batch_line = token;
    }
    if (count == 0) {
        ask_end(a);
        return;
    }
    a->number = count;
    a->order = &s->orders[a->token];
    tasks_submit_lines(s->tasks, orders, count, put_piece, on_lines, a);
}

/* ---- changes ---- */

static void check_answer(struct ask *a, int result, const struct task *task, const char *what)
{
    if (result >= 0 && (!task || task->id != a->id)) {
        complain(a->scene, "%s of task %lld is answered without it", what, (long long)a->id);
    }
}

static void on_cancelled(void *arg, int result, const struct task *task, const struct error *e)
{
    struct ask *a = arg;
    struct seen *seen = judge_seen(a->scene, a->id);

    check_answer(a, result, task, "the cancel");
    if (result >= 0) {
        seen->cancel_acknowledged = true;
        judge_on_cancelled(a->scene, a->id);
        if (!seen->gone && seen->told != TASK_CANCELLED) {
            complain(a->scene, "task %lld is %s, its cancel is acknowledged", (long long)a->id,
                     task_state_name((enum task_state)seen->told));
        }
    }
    ask_end(a);
}

static void on_retried(void *arg, int result, const struct task *task, const struct error *e)
{
    check_answer(arg, result, task, "the retry");
    ask_end(arg);
}

static void on_moved(void *arg, int result, const struct task *task, const struct error *e)
{
    struct ask *a = arg;
    struct seen *seen = judge_seen(a->scene, a->id);

    check_answer(a, result, task, "the move");
    if (result != -ECANCELED && result != -EROFS && --seen->moves == 0) { /* it is known */
        seen->priorities = 1u << seen->priority;
    }
    if (result >= 0 && task->priority != a->number) {
        complain(a->scene, "task %lld is of class %u, after it was moved to %u", (long long)a->id,
                 task->priority, a->number);
    }
    ask_end(a);
}

static void move(struct scene *s, int64_t id)
{
    struct seen *seen = judge_seen(s, id);
    struct ask *a = ask_new(s, id);

    a->number = 1 + (unsigned)below(s, 3);
    seen->moves++;
    seen->priorities |= 1u << a->number;
    tasks_set_priority(s->tasks, id, a->number, on_moved, a);
}

static void on_removed(void *arg, int result, const struct task *task, const struct error *e)
{
    struct ask *a = arg;

    if (result >= 0 && !judge_seen(a->scene, a->id)->gone) {
        complain(a->scene, "the removal of task %lld is answered, but was not told",
                 (long long)a->id);
    }
    ask_end(a);
}

static int erase_one(void *arg, struct sql *db, struct task_ids *ret, struct error *reterr)
{
    const struct ask *a = arg;

    ret->ids = xmemdup(&a->id, sizeof(a->id));
    ret->count = 1;
    return 0;
}

static void on_erased(void *arg, int result, const struct task *task, const struct error *e)
{
    struct ask *a = arg;

    if (result > 0) {
        judge_on_cancelled(a->scene, a->id);
        a->scene->erasures++;
    }
    on_removed(a, result, task, e);
}

static void on_batch_cancelled(void *arg, int result, const struct task *task,
                               const struct error *e)
{
    ask_end(arg);
}

static int64_t any_id(struct scene *s)
{
    int64_t span = s->seen_max;

    if (span > 40 && below(s, 4) != 0) { /* rather a new one */
        return span - (int64_t)below(s, 40);
    }
    return span == 0 ? 0 : 1 + (int64_t)below(s, (uint64_t)span);
}

/* Somebody changes his mind about the very task that is about to be claimed. */
void client_interfere(struct scene *s, unsigned lane)
{
    for (int64_t id = 1; id <= s->seen_max; id++) {
        struct seen *seen = judge_seen(s, id);

        if (seen->known && !seen->gone && seen->told == TASK_PENDING && seen->lane == lane) {
            if (below(s, 2) == 0) {
                seen->cancel_asked = true;
                tasks_cancel(s->tasks, id, on_cancelled, ask_new(s, id));
            } else {
                move(s, id);
            }
            if (below(s, 3) == 0) {
                return;
            }
        }
    }
}

static void cancel_batch(struct scene *s)
{
    int64_t batch = 1 + (int64_t)below(s, BATCHES);

    s->batch_cancelled[batch] = true;
    tasks_cancel_batch(s->tasks, batch, on_batch_cancelled, ask_new(s, batch));
}

static void change(struct scene *s)
{
    int64_t id = any_id(s);
    struct seen *seen = judge_seen(s, id);

    if (id == 0 || !seen->known) {
        return;
    }
    switch (below(s, 9)) {
    case 0:
    case 1:
    case 2:
        seen->cancel_asked = true;
        tasks_cancel(s->tasks, id, on_cancelled, ask_new(s, id));
        break;
    case 3:
        seen->retry_asked = true;
        tasks_retry(s->tasks, id, below(s, 2) == 0, on_retried, ask_new(s, id));
        break;
    case 4:
        seen->remove_asked = true;
        tasks_remove(s->tasks, id, on_removed, ask_new(s, id));
        break;
    case 5:
        seen->remove_asked = seen->erase_asked = true;
        tasks_erase(s->tasks, erase_one, on_erased, ask_new(s, id));
        break;
    default:
        move(s, id);
        break;
    }
}

/* ---- another berth on this database, that takes what runs here for lost ---- */

struct taking {
    struct store_op op;
    struct scene *scene;
    int64_t id, fence;
};

static int run_taking(struct store_op *op, struct sql *db, struct error *reterr)
{
    const struct taking *t = container_of(op, struct taking, op);

    return sql_run(db, reterr,
                   "UPDATE tasks SET fence = fence + 1 WHERE id = ? AND state = 1 AND fence = ?",
                   "ii", t->id, t->fence);
}

static void on_taken(struct store_op *op)
{
    struct taking *t = container_of(op, struct taking, op);

    if (op->result == 1) {
        judge_seen(t->scene, t->id)->fence++;
        t->scene->taken++;
    }
    t->scene->in_flight--;
    free(t);
}

static void take_over(struct scene *s)
{
    const struct stint *st;
    struct taking *t;

    if (s->life > LIVES) {
        return; /* nobody would give it back */
    }
    list_for_each (st, &s->stints, node) {
        if (st->state == STINT_RUNS && !st->elsewhere && below(s, 3) == 0) {
            t = xcalloc(1, sizeof(*t));
            *t = (struct taking){ .op = { .run = run_taking, .done = on_taken },
                                  .scene = s,
                                  .id = st->id,
                                  .fence = st->fence };
            judge_seen(s, st->id)->taken_asked = true;
            s->in_flight++;
            store_write(s->store, &t->op);
            return;
        }
    }
}

void client_act(struct scene *s)
{
    uint64_t dice = below(s, 24);

    if (dice < 9) {
        submit(s);
    } else if (dice < 11) {
        submit_again(s);
    } else if (dice == 11) {
        submit_lines(s);
    } else if (dice == 12) {
        unsigned lane = (unsigned)below(s, MODELS);

        house_set_online(s, lane, !s->online[lane]);
    } else if (dice == 13 && below(s, 4) == 0) {
        cancel_batch(s);
    } else if (dice == 14 && below(s, 4) == 0) {
        take_over(s);
    } else {
        change(s);
    }
}
