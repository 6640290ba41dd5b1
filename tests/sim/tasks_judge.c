// SPDX-License-Identifier: Apache-2.0
/*
 * The judge of what berth tells while it lives: each change follows from the one before and has a
 * cause, nothing runs twice at one fence, nothing runs before what is before it in its lane, and
 * not more than may run at once.
 */
#include "tasks_scene.h"

#include <errno.h>
#include <string.h>

struct seen *judge_seen(struct scene *s, int64_t id)
{
    if (id < 0 || id >= SEEN_MAX) {
        complain(s, "a task with the id %lld", (long long)id);
    }
    return &s->seen[id];
}

size_t order_text(int token, char *out, size_t size)
{
    int padding = token % 7 == 0 ? 3000 : token % 50;

    return (size_t)snprintf(out, size, "%d:%0*d", token, padding + 1, 0);
}

static bool is_finished(int state)
{
    return state == TASK_COMPLETED || state == TASK_FAILED || state == TASK_CANCELLED;
}

static const char *name_of(int state)
{
    return state < 0 ? "not there" : task_state_name((enum task_state)state);
}

bool judge_may_be_cancelled(const struct scene *s, const struct seen *seen)
{
    return seen->cancel_asked || (seen->kind == TASK_OF_BATCH && seen->batch_id > 0 &&
                                  seen->batch_id <= BATCHES && s->batch_cancelled[seen->batch_id]);
}

bool judge_may_be_removed(struct scene *s, const struct seen *seen)
{
    return seen->remove_asked ||
           (seen->finished_ms && world_wall_ms(s->world) >= seen->finished_ms + s->keep_ms);
}

void judge_link(struct scene *s, int64_t id, int token)
{
    struct seen *seen = judge_seen(s, id);
    const struct seen *before;
    struct order *o;

    if (token < 1 || token > s->order_count) {
        complain(s, "task %lld is of no order (%d)", (long long)id, token);
    }
    o = &s->orders[token];
    if (seen->token && seen->token != token) {
        complain(s, "task %lld is of order %d and of order %d", (long long)id, seen->token, token);
    }
    before = o->id && o->id != id ? judge_seen(s, o->id) : NULL;
    /* A key is free again once its task is removed, which may be committed and not told. */
    if (before && !before->gone && !(o->keyed && judge_may_be_removed(s, before))) {
        complain(s, "order %d is task %lld and task %lld", token, (long long)o->id, (long long)id);
    }
    seen->token = token;
    o->id = id;
    o->seen = true;
}

/* ---- changes, as they are told ---- */

static void note(struct scene *s, struct seen *seen, const struct task *t)
{
    if (t->state == TASK_PENDING) {
        seen->pending_seq = ++s->seq;
    }
    if (is_finished((int)t->state) && !is_finished(seen->told)) {
        seen->finished_ms = t->completed_ms; /* it is told a little later */
    }
    seen->told = (int)t->state;
    seen->fence = t->fence;
    seen->life = s->life;
    seen->priority = t->priority;
    seen->due_ms = t->due_ms;
}

static void meet(struct scene *s, struct seen *seen, const struct task_change *c)
{
    const struct task *t = c->task;

    if (c->from != -1 || seen->known) {
        complain(s, "task %lld is told of as new, and it %s", (long long)t->id,
                 seen->known ? "is known" : "says it is not");
    }
    if (t->state != TASK_PENDING && !(t->state == TASK_RUNNING && t->kind == TASK_OF_INSTANCE)) {
        complain(s, "the new task %lld is %s", (long long)t->id, name_of((int)t->state));
    }
    seen->known = true;
    seen->kind = t->kind;
    seen->lane = lane_of(s, t->model_id, t->model);
    seen->batch_id = t->batch_id;
    seen->priorities = 1u << t->priority;
    s->seen_max = MAX_OF(s->seen_max, t->id);
    if (t->kind == TASK_OF_BATCH) {
        judge_link(s, t->id, (int)t->batch_line);
    }
}

/* NULL: yes; else why not. */
static const char *why_not(const struct scene *s, const struct seen *seen, const struct task *t)
{
    bool same_fence = t->fence == seen->fence;

    switch (t->state) {
    case TASK_PENDING:
        return !same_fence                  ? "its fence changed"
               : seen->told <= TASK_RUNNING ? NULL
               : seen->told != TASK_FAILED  ? "it had ended"
               : !seen->retry_asked         ? "nobody asked for a retry"
                                            : NULL;
    case TASK_RUNNING:
        return is_finished(seen->told)                    ? "it had ended"
               : seen->told == TASK_RUNNING && same_fence ? NULL
               : t->fence != seen->fence + 1              ? "its fence did not grow by one"
               : seen->told == TASK_RUNNING               ? "it runs already"
                                                          : NULL;
    case TASK_COMPLETED:
        return seen->told != TASK_RUNNING || !same_fence ? "it did not run at this fence"
               : seen->ok_fence != t->fence              ? "no runner had completed it"
                                                         : NULL;
    case TASK_FAILED:
        return seen->told != TASK_RUNNING || !same_fence ? "it did not run at this fence" : NULL;
    case TASK_CANCELLED:
        return is_finished(seen->told)            ? "it had ended"
               : !judge_may_be_cancelled(s, seen) ? "nobody asked for it"
                                                  : NULL;
    case TASK_STATE_MAX_:
        break;
    }
    return "there is no such state";
}

static void check_change(struct scene *s, struct seen *seen, const struct task_change *c)
{
    const struct task *t = c->task;
    const char *why = why_not(s, seen, t);

    if (seen->gone || c->from != seen->told) {
        complain(s, "task %lld becomes %s from %s, last told %s%s", (long long)t->id,
                 name_of((int)t->state), name_of(c->from), name_of(seen->told),
                 seen->gone ? " and then removed" : "");
    }
    if (why) {
        complain(s, "task %lld becomes %s at fence %lld, from %s at fence %lld: %s",
                 (long long)t->id, name_of((int)t->state), (long long)t->fence, name_of(seen->told),
                 (long long)seen->fence, why);
    }
    if (!(seen->priorities & 1u << t->priority)) {
        complain(s, "task %lld is of class %u, which nobody asked for", (long long)t->id,
                 t->priority);
    }
}

void judge_on_task(void *scene, const void *change)
{
    struct scene *s = scene;
    const struct task_change *c = change;
    struct seen *seen = judge_seen(s, c->task->id);

    if (c->removed) {
        if (!seen->known || seen->gone || !judge_may_be_removed(s, seen) ||
            !(is_finished(seen->told) || seen->erase_asked)) {
            complain(s, "task %lld, %s, is removed", (long long)c->task->id, name_of(seen->told));
        }
        seen->gone = true;
        return;
    }
    if (!seen->known || c->from == -1) {
        meet(s, seen, c);
    } else {
        check_change(s, seen, c);
    }
    note(s, seen, c->task);
}

void judge_on_submit(struct scene *s, int token, int result, const struct task *task)
{
    struct order *o = &s->orders[token];

    if (result == -EAGAIN || result == -EFBIG || result == -ENOENT) {
        if (o->fate == FATE_ASKED && !o->keyed) {
            o->fate = FATE_REFUSED;
        }
        return;
    }
    if (result == -ECANCELED || result == -EROFS) {
        o->fate = o->fate == FATE_ASKED ? FATE_UNKNOWN : o->fate;
        return;
    }
    if (result < 0) {
        complain(s, "order %d is refused: %d", token, result);
    }
    s->acknowledged += o->fate != FATE_ACKNOWLEDGED;
    o->fate = FATE_ACKNOWLEDGED;
    if (!task) {
        return; /* a batch's line */
    }
    s->duplicates += result == 1;
    if (!judge_seen(s, task->id)->known) {
        complain(s, "task %lld is acknowledged, but was never told of", (long long)task->id);
    }
    if (result == 1 && (!o->keyed || !o->seen) && o->id != task->id) {
        complain(s, "order %d is told to be there already", token);
    }
    judge_link(s, task->id, token);
}

void judge_on_cancelled(struct scene *s, int64_t id)
{
    const struct stint *st;

    list_for_each (st, &s->stints, node) {
        if (st->state == STINT_RUNS && st->slot && st->id == id) {
            complain(s, "the cancel of task %lld is acknowledged, its work goes on", (long long)id);
        }
    }
}

/* ---- runs ---- */

void judge_on_grant(struct scene *s, struct stint *st)
{
    st->state = STINT_GRANTED;
    st->grant_seq = ++s->seq;
    st->grant_wall_ms = world_wall_ms(s->world);
}

/* In this lane (a batch's lines stand in one of their own, that yields workers) and before b, ready
 * when b's place was there, and still waiting? */
static bool is_overtaken(const struct seen *a, const struct seen *b, const struct stint *st,
                         bool smaller_id)
{
    bool before = a->priority != b->priority ? a->priority > b->priority : smaller_id;

    return a->known && !a->gone && a->told == TASK_PENDING && a->lane == b->lane &&
           a->kind == b->kind && before && a->pending_seq < st->grant_seq &&
           (a->due_ms == 0 || a->due_ms + DUE_SLACK_MS < st->grant_wall_ms);
}

static void check_order(struct scene *s, const struct stint *st, const struct seen *b)
{
    for (int64_t id = 1; id <= s->seen_max; id++) {
        const struct seen *a = judge_seen(s, id);

        if (is_overtaken(a, b, st, id < st->id)) {
            complain(
                s,
                "task %lld (class %u, kind %d) runs before task %lld (class %u, kind %d), which "
                "waits in life %u since %llu, due at %lld; its place is there since %llu, %lld",
                (long long)st->id, b->priority, (int)b->kind, (long long)id, a->priority,
                (int)a->kind, a->life, (unsigned long long)a->pending_seq, (long long)a->due_ms,
                (unsigned long long)st->grant_seq, (long long)st->grant_wall_ms);
        }
    }
}

static void check_place(struct scene *s, const struct stint *st)
{
    const struct stint *other;
    unsigned running = 1;

    if (st->lane >= MODELS) {
        return;
    }
    list_for_each (other, &s->stints, node) {
        running += other->lane == st->lane && other->state == STINT_RUNS;
    }
    if (running > s->max_workers[st->lane]) {
        complain(s, "%u tasks of m%u run, %u may", running, st->lane, s->max_workers[st->lane]);
    }
    if (!s->online[st->lane] && s->offline_seq[st->lane] < st->grant_seq) {
        complain(s, "task %lld runs, m%u is offline", (long long)st->id, st->lane);
    }
}

void judge_on_run(struct scene *s, const struct stint *st, const struct task_work *work)
{
    struct seen *seen = judge_seen(s, work->id);
    char text[4000];
    size_t n;

    if (!seen->known || seen->gone || seen->told != TASK_RUNNING || seen->fence != work->fence) {
        complain(s, "task %lld runs at fence %lld, last told %s at fence %lld", (long long)work->id,
                 (long long)work->fence, name_of(seen->told), (long long)seen->fence);
    }
    if (work->fence <= seen->run_fence) {
        complain(s, "task %lld runs at fence %lld, after it ran at fence %lld", (long long)work->id,
                 (long long)work->fence, (long long)seen->run_fence);
    }
    seen->run_fence = work->fence;
    judge_link(s, work->id, atoi(work->input.p));
    n = order_text(seen->token, text, sizeof(text));
    if (n != work->input.n || memcmp(work->input.p, text, n) != 0 || seen->lane != st->lane) {
        complain(s, "task %lld runs, and its input or model is another's", (long long)work->id);
    }
    if (!s->orders[seen->token].bound || work->fence > 1) { /* else it had its place with it */
        check_order(s, st, seen);
    }
    check_place(s, st);
}
