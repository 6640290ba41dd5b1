// SPDX-License-Identifier: Apache-2.0
/*
 * How many finished tasks of Task Instances are kept: at most TASK_INSTANCE_RESULTS; beyond that
 * the oldest go, until a tenth of that is free. Also removing all of them. In pieces, so that
 * nothing else waits for it.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "task_instances/task_instances_int.h"

enum { PIECE = 100 };

/* One round of removing, at most `left` tasks. */
struct trim {
    struct list node; /* of ti->clears */
    struct task_instances *ti;
    uint64_t left, removed;
    unsigned out;       /* removals under way */
    bool any;           /* this piece removed something */
    int state;          /* enum task_state that is looked through */
    struct error error; /* why the last one that could not be removed could not */
    void (*done)(void *arg, int result, uint64_t cleared, const struct error *e);
    void *arg;
};

static void step(struct trim *t);

static void finish(struct trim *t, int result, const struct error *e)
{
    list_remove(&t->node);
    if (t->ti->trim == t) {
        t->ti->trim = NULL;
    }
    if (t->done) {
        t->done(t->arg, result, t->removed, e);
    }
    free(t);
}

static void on_removed(void *arg, int result, const struct task *task, const struct error *e)
{
    struct trim *t = arg;

    if (result >= 0) {
        t->removed++;
        t->any = true;
        t->left -= t->left > 0;
    }
    if (result < 0 && result != -ENOENT && result != -EBUSY) { /* another round has it */
        t->error = *e;
    }
    if (result == -ECANCELED) { /* berth goes down */
        t->left = 0;
    }
    if (--t->out == 0) {
        step(t);
    }
}

static void on_list(void *arg, int result, struct task *const *tasks, size_t count, uint64_t total,
                    const struct error *e)
{
    struct trim *t = arg;

    if (result < 0) {
        finish(t, result, e);
        return;
    }
    t->any = false;
    if (count == 0) {
        t->state++;
        t->any = true;
        step(t);
        return;
    }
    t->out = 1; /* removals end in later turns; this holds on until all are begun */
    for (size_t i = 0; i < count; i++) {
        t->out++;
        tasks_remove(t->ti->tasks, tasks[i]->id, on_removed, t);
    }
    if (--t->out == 0) {
        step(t);
    }
}

/* Those that cannot be removed (nothing of a piece could) end the round. */
static void step(struct trim *t)
{
    if (t->left == 0 || t->state > TASK_CANCELLED || !t->any) {
        finish(t, t->removed > 0 ? 0 : t->error.code, &t->error);
        return;
    }
    tasks_list(
        t->ti->tasks,
        &(struct task_query){
            .filter = { .kind = TASK_OF_INSTANCE, .state = t->state, .priority = -1, .dead = -1 },
            .by = TASKS_BY_CREATED,
            .ascending = true,
            .limit = (unsigned)MIN_OF(t->left, PIECE),
        },
        on_list, t);
}

static struct trim *begin(struct task_instances *ti, uint64_t most)
{
    struct trim *t = xcalloc(1, sizeof(*t));

    t->ti = ti;
    t->left = most;
    t->any = true;
    t->state = TASK_COMPLETED;
    list_append(&ti->clears, &t->node);
    return t;
}

void keep_check(struct task_instances *ti)
{
    const struct task_counts n = tasks_counts(
        ti->tasks,
        &(struct task_filter){ .kind = TASK_OF_INSTANCE, .state = -1, .priority = -1, .dead = -1 });
    const uint64_t kept =
        n.by_state[TASK_COMPLETED] + n.by_state[TASK_FAILED] + n.by_state[TASK_CANCELLED];

    if (kept > TASK_INSTANCE_RESULTS && !ti->trim) {
        ti->trim = begin(ti, kept - TASK_INSTANCE_RESULTS + TASK_INSTANCE_RESULTS / 10);
        step(ti->trim);
    }
}

void task_instances_clear(struct task_instances *ti,
                          void (*done)(void *arg, int result, uint64_t cleared,
                                       const struct error *e),
                          void *arg)
{
    struct trim *t = begin(ti, UINT64_MAX);

    t->done = done;
    t->arg = arg;
    step(t);
}
