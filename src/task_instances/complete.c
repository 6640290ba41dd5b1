// SPDX-License-Identifier: Apache-2.0
/*
 * Completions, as they are told: matched by the instance and its name for the task (or ours),
 * counted once, answered when they are committed. One may be told before the instance's answer to
 * the enqueue is read: it waits until all such answers of that instance have come. What ended
 * lately is remembered, so that what is told twice is known for what it is.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "task_instances/task_instances_int.h"

enum { KEY_SIZE = UUID_SIZE + PEER_NAME_MAX + 1, EARLY_LIMIT_FACTOR = 2 };

/* ---- answering ---- */

void completion_answer(struct completion *c, int result, const struct task *task, double total_ms,
                       const struct error *e)
{
    timer_stop(&c->limit);
    list_remove(&c->node);
    if (c->done) {
        c->done(c->arg, result, task, total_ms, e);
    }
    free(c->task_id);
    free(c->result);
    free(c->error);
    free(c);
}

static void answer_unknown(struct completion *c)
{
    struct error e = { 0 };

    error_set(&e, -ENOENT, "Task %.*s not found", PEER_NAME_MAX, c->task_id);
    completion_answer(c, -ENOENT, NULL, 0, &e);
}

static void on_limit(void *arg)
{
    completion_answer(arg, -ETIMEDOUT, NULL, 0,
                      &(struct error){ -ETIMEDOUT, "the completion was not stored in time" });
}

static double total_of(const struct task *task)
{
    return fmax(0, (double)(task->completed_ms - task->created_ms));
}

/* ---- what has ended already ---- */

static void remember(struct task_instances *ti, const char *key, const char *public_id)
{
    char **place = &ti->ended_ring[ti->ended_next++ % TASK_INSTANCE_RESULTS];

    if (*place) {
        free(map_remove(&ti->ended, *place));
        free(*place);
    }
    *place = xstrdup(key);
    free(map_put(&ti->ended, key, xstrdup(public_id)));
}

static void on_found(void *arg, int result, const struct task_details *d, const struct error *e)
{
    struct completion *c = arg;
    const struct task *task = result >= 0 ? d->task : NULL;

    if (task && task->kind == TASK_OF_INSTANCE && task->state != TASK_PENDING &&
        task->state != TASK_RUNNING) {
        completion_answer(c, 1, task, total_of(task), NULL);
    } else {
        answer_unknown(c);
    }
}

static void look_up(struct completion *c, const char *public_id)
{
    timer_stop(&c->limit); /* the answer always comes */
    list_remove(&c->node);
    tasks_get_public(c->ti->tasks, public_id, on_found, c);
}

/* ---- matching ---- */

static bool is_named(const struct peer *p, const char *name)
{
    return str_eq_opt(p->pub.instance_id, name) || str_eq(p->pub.uuid, name) ||
           str_eq(p->key, name);
}

static struct run *run_at(const struct peer *p, const char *task_id)
{
    char key[KEY_SIZE];
    struct run *run;

    snprintf(key, sizeof(key), "%s/%.*s", p->pub.uuid, PEER_NAME_MAX, task_id);
    run = map_get(&p->ti->by_remote, key);
    if (!run) {
        run = map_get(&p->ti->by_task, task_id);
    }
    return run && run->peer == p && (run->state == RUN_WORKING || run->state == RUN_FETCHING)
               ? run
               : NULL;
}

/* Several may call themselves by one name: the one that has the task is meant, else one that may
 * still turn out to have it. */
static struct peer *peer_named(const struct task_instances *ti, const char *name,
                               const char *task_id)
{
    struct peer *p, *found = peer_find(ti, name);

    found = found ? found : map_get(&ti->by_name, name);
    found = found ? found : map_get(&ti->by_key, name);
    if (found && run_at(found, task_id)) {
        return found;
    }
    list_for_each (p, &ti->peers, node) {
        if (is_named(p, name)) {
            if (run_at(p, task_id)) {
                return p;
            }
            found = !found || p->enqueuing > found->enqueuing ? p : found;
        }
    }
    return found;
}

static void apply(struct run *run, struct completion *c)
{
    list_remove(&c->node);
    c->repeated = !list_empty(&run->completions);
    list_append(&run->completions, &c->node);
    timer_start(&c->limit, (run->ti->timeout_ms * EARLY_LIMIT_FACTOR) + 1000);
    if (c->repeated) { /* the first one is on its way */
        return;
    }
    if (c->result || c->failed) {
        const struct task_result result = {
            .error = c->failed ? -EREMOTEIO : 0,
            .text = c->failed ? c->error : NULL,
            .output = { c->result, c->result_len },
        };

        run_end(run, &result, c->execution_ms);
    } else {
        run_fetch(run);
    }
}

/* Ending, or ended lately, or long ago, or never heard of. */
static void settle(struct completion *c, struct peer *p)
{
    struct task_instances *ti = c->ti;
    char key[KEY_SIZE];
    const char *public_id;
    struct ending *ending;

    snprintf(key, sizeof(key), "%s/%.*s", p->pub.uuid, PEER_NAME_MAX, c->task_id);
    public_id = map_get(&ti->ended, key);
    public_id = public_id ? public_id : c->task_id;
    ending = map_get(&ti->endings, public_id);
    if (ending) {
        c->repeated = true;
        list_remove(&c->node);
        list_append(&ending->completions, &c->node);
    } else if (strlen(public_id) < UUID_SIZE) {
        look_up(c, public_id);
    } else {
        answer_unknown(c);
    }
}

static void match(struct completion *c, struct peer *p)
{
    struct run *run = run_at(p, c->task_id);

    if (run) {
        apply(run, c);
    } else if (p->enqueuing > 0 && !p->gone) {
        c->peer = p;
        list_remove(&c->node);
        list_append(&c->ti->early, &c->node);
    } else {
        settle(c, p);
    }
}

void completions_retry(struct task_instances *ti, struct peer *p)
{
    struct completion *c, *tmp;
    struct list mine;

    list_init(&mine);
    list_for_each_safe (c, tmp, &ti->early, node) {
        if (c->peer == p) {
            list_remove(&c->node);
            list_append(&mine, &c->node);
        }
    }
    while ((c = list_first(&mine, struct completion, node))) {
        list_remove(&c->node);
        c->peer = NULL;
        match(c, p);
    }
}

void task_instances_complete(struct task_instances *ti, const struct task_completion *what,
                             void (*done)(void *arg, int result, const struct task *task,
                                          double total_ms, const struct error *e),
                             void *arg)
{
    struct peer *p = peer_named(ti, what->instance_id, what->task_id);
    struct completion *c;
    struct error e = { 0 };

    if (!p) {
        error_set(&e, -ESRCH, "Instance %.*s not found", PEER_NAME_MAX, what->instance_id);
        done(arg, -ESRCH, NULL, 0, &e);
        return;
    }
    c = xcalloc(1, sizeof(*c));
    c->ti = ti;
    c->task_id = xstrdup(what->task_id);
    c->execution_ms = what->execution_ms;
    c->result = what->result.p ? span_dup(what->result) : NULL;
    c->result_len = what->result.n;
    c->failed = what->failed;
    c->error = xstrdup_opt(what->error);
    c->done = done;
    c->arg = arg;
    list_init(&c->node);
    timer_init(&c->limit, ti->world, "task instance's completion", on_limit, c);
    timer_start(&c->limit, ti->timeout_ms * EARLY_LIMIT_FACTOR);
    match(c, p);
}

/* ---- the commit ---- */

/* run->completions are the ending's from now on. */
void run_note_end(struct run *run, bool timed, double execution_ms)
{
    struct task_instances *ti = run->ti;
    struct ending *ending = xcalloc(1, sizeof(*ending)), *old;
    struct completion *c;
    char key[KEY_SIZE];

    snprintf(ending->public_id, sizeof(ending->public_id), "%s", run->public_id);
    ending->strategy = run->strategy;
    ending->execution_ms = execution_ms;
    ending->timed = timed;
    list_take(&run->completions, &ending->completions);
    if (run->peer && run->remote) {
        snprintf(key, sizeof(key), "%s/%s", run->peer->pub.uuid, run->remote);
        remember(ti, key, run->public_id);
    }
    old = map_put(&ti->endings, ending->public_id, ending);
    while (old && (c = list_first(&old->completions, struct completion, node))) {
        answer_unknown(c);
    }
    free(old);
}

static void tell(struct task_instances *ti, struct ending *ending, const struct task *task)
{
    const double total_ms = total_of(task);
    struct completion *c;

    if (ending->timed && task->state == TASK_COMPLETED) {
        timing_add(ti, ending->strategy, task->public_id, total_ms, ending->execution_ms);
    }
    timing_count(ti, ending->strategy, task_state_name(task->state));
    while ((c = list_first(&ending->completions, struct completion, node))) {
        completion_answer(c, c->repeated ? 1 : 0, task, total_ms, NULL);
    }
}

void task_instances_on_task(void *task_instances, const void *task_change)
{
    struct task_instances *ti = task_instances;
    const struct task_change *change = task_change;
    const struct task *task = change->task;
    const bool over = task->state == TASK_COMPLETED || task->state == TASK_FAILED ||
                      task->state == TASK_CANCELLED;
    const struct run *run =
        task->kind == TASK_OF_INSTANCE ? map_get(&ti->by_task, task->public_id) : NULL;
    struct ending *ending;

    if (run && run->submission && task->remote_id && task->state == TASK_RUNNING) {
        submission_stored(run->submission);
    }
    if (task->kind != TASK_OF_INSTANCE || change->removed || !over ||
        change->from == (int)task->state) {
        return;
    }
    if (task->state == TASK_FAILED) {
        submissions_on_failed(ti, task->public_id);
    }
    ending = map_remove(&ti->endings, task->public_id);
    if (ending) {
        tell(ti, ending, task);
    }
    notify_emit(&ti->ended_signal, &(struct task_instance_ended){
                                       .task = task,
                                       .total_ms = total_of(task),
                                       .execution_ms = ending ? ending->execution_ms : -1,
                                   });
    free(ending);
    keep_check(ti);
}

/* Those that still look for their task come back from tasks_destroy before this. */
void completions_end(struct task_instances *ti)
{
    static const struct error down = { -ECANCELED, "berth goes down" };
    struct completion *c;

    while ((c = list_first(&ti->early, struct completion, node))) {
        completion_answer(c, -ECANCELED, NULL, 0, &down);
    }
    map_for_each(e, &ti->endings)
    {
        struct ending *ending = e->value;

        while ((c = list_first(&ending->completions, struct completion, node))) {
            completion_answer(c, -ECANCELED, NULL, 0, &down);
        }
        free(ending);
    }
    map_finish(&ti->endings);
    map_for_each(e, &ti->ended)
    {
        free(e->value);
    }
    map_finish(&ti->ended);
    for (size_t i = 0; i < TASK_INSTANCE_RESULTS; i++) {
        free(ti->ended_ring[i]);
    }
}
