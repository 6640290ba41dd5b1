// SPDX-License-Identifier: Apache-2.0
/*
 * Why a task waits: what the queue knows, then what its runner knows; its place, and when it will
 * begin by the measured pace.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "base/timefmt.h"
#include "tasks/tasks_int.h"

enum { PLACE_MAX = 10000 }; /* so far back is counted */

struct waiting {
    struct task_read read;
    int64_t lane_id, id, due_ms;
    unsigned class;
    uint64_t higher; /* ready ones of higher classes */
    int64_t before;  /* of its own class; beyond PLACE_MAX: not known */
    tasks_wait_fn fn;
    void *arg;
};

static int run_place(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct waiting *p = container_of(op, struct waiting, read.op);
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT count(*) FROM (SELECT 1 FROM tasks WHERE lane = ? AND class = ? "
                      "AND state = 0 AND due_ms = 0 AND id < ? LIMIT ?)",
                      "iiii", p->lane_id, (int64_t)p->class, p->id, (int64_t)PLACE_MAX + 1);

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    p->before = r > 0 ? sql_int(st, 0) : PLACE_MAX + 1;
    return MIN_OF(r, 0);
}

/* ---- the reason ---- */

static unsigned busy_of_model(const struct lane *lane)
{
    return lane->busy + (lane->pair ? lane->pair->busy : 0);
}

static void say_runner(const struct lane *lane, char *out, size_t size)
{
    const struct runner_of_kind *by = &lane->tasks->runners[lane->kind];

    if (by->runner && by->runner->why) {
        by->runner->why(by->owner, lane->model_id, lane->name, out, size);
    }
    if (!out[0]) {
        snprintf(out, size, "%.190s", lane->refusal);
    }
}

static void say_model(const struct lane *lane, char *out, size_t size)
{
    const struct model *model = lane_model(lane);

    if (!model) {
        snprintf(out, size, "the model was removed");
    } else if (model->task_status != MODEL_ONLINE) {
        snprintf(out, size, "the model is %s%s",
                 model->task_status == MODEL_MAINTENANCE ? "in " : "",
                 model_status_name(model->task_status));
    }
}

static void say_workers(const struct lane *lane, char *out, size_t size)
{
    const struct tasks *t = lane->tasks;
    unsigned max = lane_max_workers(lane);

    if (!lane_is_bounded(lane)) {
        return;
    }
    if (busy_of_model(lane) >= max) {
        snprintf(out, size,
                 max == 1 ? "the model's one worker is busy"
                          : "all %u workers of the model are busy",
                 max);
    } else if (t->busy >= t->max_workers) {
        snprintf(out, size, "all %u workers of all models are busy", t->max_workers);
    }
}

static void say_why(const struct waiting *p, struct lane *lane, uint64_t place, char *out,
                    size_t size)
{
    struct tasks *t = lane->tasks;
    char at[TIMEFMT_SIZE];

    out[0] = '\0';
    if (p->due_ms) {
        timefmt_iso(p->due_ms, at);
        snprintf(out, size, "delayed until %s", at);
        return;
    }
    if (lane->model_id) {
        say_model(lane, out, size);
    }
    if (!out[0] && t->draining) {
        snprintf(out, size, "berth is going down");
    } else if (!out[0] && !t->runners[lane->kind].runner) {
        snprintf(out, size, "nothing works on such tasks here");
    }
    if (!out[0]) {
        say_workers(lane, out, size);
    }
    if (!out[0]) {
        say_runner(lane, out, size);
    }
    if (!out[0]) {
        snprintf(out, size, place > 1 ? "other tasks are before it" : "it is about to begin");
    }
}

/* ---- the estimate ---- */

/* Nothing of the model works, and its runner says why: the pace tells nothing. */
static bool is_held_up(const struct lane *lane)
{
    char reason[sizeof(((struct task_wait *)0)->reason)] = "";

    if (busy_of_model(lane) == 0) {
        say_runner(lane, reason, sizeof(reason));
    }
    return reason[0] != '\0';
}

static int64_t estimate(const struct waiting *p, const struct lane *lane, uint64_t place)
{
    const struct tasks *t = lane->tasks;
    unsigned workers = MAX_OF(MIN_OF(lane_max_workers(lane), t->max_workers), 1u);
    const struct model *model = lane_model(lane);
    uint64_t before, rounds;

    if (p->due_ms || place == 0 || lane->mean_ms <= 0 || t->draining ||
        (lane->model_id && (!model || model->task_status != MODEL_ONLINE)) || is_held_up(lane)) {
        return p->due_ms;
    }
    before = place - 1 + busy_of_model(lane);
    rounds = before / workers;
    return world_wall_ms(t->in.world) + (int64_t)((double)rounds * lane->mean_ms);
}

/* ---- asking ---- */

static uint64_t place_of(const struct waiting *p, struct lane *lane)
{
    uint64_t queue_first =
        lane->kind == TASK_OF_BATCH && lane->pair ? lane_count(lane->pair, TASK_PENDING) : 0;
    uint64_t place = lane_place(lane, p->class, p->id);

    if (p->due_ms) {
        return 0;
    }
    if (!place && p->before <= PLACE_MAX) {
        place = p->higher + (uint64_t)p->before + 1;
    }
    return place ? place + queue_first : 0;
}

static void answer(struct task_read *read, int result, const struct error *e)
{
    struct waiting *p = container_of(read, struct waiting, read);
    struct task_wait w = { .place = 0 };
    struct lane *lane;

    if (!read->tasks) {
        p->fn(p->arg, result, &w);
        return;
    }
    if (result < 0) {
        p->before = PLACE_MAX + 1; /* not known: the rest can be told all the same */
    }
    lane = lane_of_id(read->tasks, p->lane_id);
    w.place = place_of(p, lane);
    w.starts_ms = estimate(p, lane, w.place);
    say_why(p, lane, w.place, w.reason, sizeof(w.reason));
    p->fn(p->arg, 0, &w);
}

static void finish(struct task_read *read)
{
    free(container_of(read, struct waiting, read));
}

static uint64_t count_higher(const struct lane *lane, unsigned class)
{
    const struct lane_type *type;
    uint64_t n = 0;

    list_for_each (type, &lane->types, node) {
        for (unsigned c = class + 1; c < TASK_CLASSES; c++) {
            n += type->n[c][TASK_PENDING];
        }
    }
    return n;
}

void tasks_why(struct tasks *t, const struct task *task, tasks_wait_fn done, void *arg)
{
    struct waiting *p = xcalloc(1, sizeof(*p));

    p->lane_id = task->lane;
    p->id = task->id;
    p->due_ms = task->due_ms;
    p->class = task->priority;
    p->higher = count_higher(lane_of_id(t, task->lane), task->priority);
    p->fn = done;
    p->arg = arg;
    p->read.answer = answer;
    p->read.finish = finish;
    read_start(t, &p->read, run_place);
}

/* ---- workers ---- */

unsigned tasks_running(const struct tasks *t, int64_t model_id)
{
    const struct lane *lane = lane_find(t, TASK_OF_QUEUE, model_id, "");

    lane = lane ? lane : lane_find(t, TASK_OF_BATCH, model_id, "");
    return lane && model_id ? busy_of_model(lane) : 0;
}

unsigned tasks_max_workers(const struct tasks *t, int64_t model_id)
{
    const struct model *model = models_get(t->in.models, model_id);

    return model && model->config->max_workers > 0 ? (unsigned)model->config->max_workers
                                                   : t->default_workers;
}

static const struct task_slot *slot_of_number(const struct lane *lane, unsigned number)
{
    const struct task_slot *slot;

    list_for_each (slot, &lane->slots, node) {
        if (slot->number == number && slot->state == SLOT_RUNNING) {
            return slot;
        }
    }
    return NULL;
}

static void describe_worker(const struct tasks *t, const struct model *model, unsigned number,
                            struct task_worker *ret)
{
    static const enum task_kind kinds[] = { TASK_OF_QUEUE, TASK_OF_BATCH };

    *ret = (struct task_worker){ .model_id = model->id,
                                 .model = model->config->id,
                                 .number = number,
                                 .since_ms = t->started_wall_ms };
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const struct lane *lane = lane_find(t, kinds[i], model->id, "");
        const struct task_slot *slot = lane ? slot_of_number(lane, number) : NULL;

        if (slot) {
            ret->task_id = slot->task_id;
            ret->since_ms = slot->started_wall_ms;
        }
    }
}

/* The cursor: how many models went before, and the worker's number. */
bool tasks_next_worker(const struct tasks *t, size_t *cursor, struct task_worker *ret)
{
    enum { NUMBER_BITS = 16 };
    size_t at = *cursor >> NUMBER_BITS;
    unsigned number = *cursor & ((1u << NUMBER_BITS) - 1);

    for (;;) {
        size_t next = at;
        const struct model *model = models_next(t->in.models, &next);

        if (!model) {
            return false;
        }
        if (model->task_status == MODEL_ONLINE && number < tasks_max_workers(t, model->id)) {
            describe_worker(t, model, number, ret);
            *cursor = at << NUMBER_BITS | (number + 1);
            return true;
        }
        at = next;
        number = 0;
    }
}
