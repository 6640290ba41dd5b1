// SPDX-License-Identifier: Apache-2.0
/*
 * The runners: what a local one and a Task Instance may do to the queue. They grant late or never,
 * complete, fail, lose what they had, hang until the queue's patience ends; a Task Instance goes on
 * when berth dies, and is adopted, or not.
 */
#include "tasks_scene.h"

#include <errno.h>

static bool one_in(struct scene *s, uint64_t n)
{
    return world_random_below(s->world, n) == 0;
}

static void stint_free(struct stint *st)
{
    timer_stop(&st->timer);
    list_remove(&st->node);
    free(st);
}

static struct stint *stint_new(struct scene *s, struct task_slot *slot, unsigned lane)
{
    struct stint *st = xcalloc(1, sizeof(*st));

    st->scene = s;
    st->slot = slot;
    st->lane = lane;
    st->elsewhere = lane >= MODELS;
    list_append(&s->stints, &st->node);
    return st;
}

/* ---- how an attempt ends ---- */

static void end_attempt(struct stint *st, struct task_result *result)
{
    struct scene *s = st->scene;
    struct task_slot *slot = st->slot;
    struct seen *seen = judge_seen(s, st->id);

    if (result->error == 0) {
        seen->ok_fence = st->fence;
    }
    stint_free(st);
    if (slot) {
        task_slot_done(slot, result);
    }
}

static void complete(struct stint *st)
{
    char output[64];
    int n = snprintf(output, sizeof(output), "%d:%lld", judge_seen(st->scene, st->id)->token,
                     (long long)st->fence);

    end_attempt(st, &(struct task_result){ .output = { output, (size_t)n }, .http_status = 200 });
}

static void on_end(void *arg)
{
    struct stint *st = arg;
    struct scene *s = st->scene;
    uint64_t dice = world_random_below(s->world, 20);

    if (s->calm || dice < 11) {
        complete(st);
    } else if (dice < 14) {
        end_attempt(st, &(struct task_result){ .error = -EIO, .helps = true, .text = "broken" });
    } else if (dice == 14) {
        end_attempt(st, &(struct task_result){ .error = -EINVAL, .text = "no good" });
    } else if (dice == 15) {
        end_attempt(st,
                    &(struct task_result){ .error = -EAGAIN,
                                           .helps = true,
                                           .text = "too many",
                                           .retry_after_ms = world_random_below(s->world, 20000) });
    } else if (dice < 18) {
        end_attempt(st, &(struct task_result){ .error = -EPIPE, .lost = true, .text = "lost" });
    } else {
        /* hangs: the queue ends it */
    }
}

static void begin(struct stint *st)
{
    struct scene *s = st->scene;
    uint64_t longest = one_in(s, 3) ? 4000 : 60;

    timer_init(&st->timer, s->world, "sim.attempt", on_end, st);
    timer_start(&st->timer, s->calm ? 5 : world_random_below(s->world, longest));
}

/* ---- places ---- */

static void on_late_answer(void *arg)
{
    struct stint *st = arg;
    struct task_slot *slot = st->slot;
    struct error e = { 0 };

    if (!st->scene->calm && one_in(st->scene, 4)) {
        error_set(&e, -EBUSY, "no room after all");
        stint_free(st);
        task_slot_refused(slot, &e);
        return;
    }
    if (!st->scene->calm && one_in(st->scene, 4)) {
        client_interfere(st->scene, st->lane);
    }
    judge_on_grant(st->scene, st);
    task_slot_granted(slot);
}

static int reserve(void *owner, struct task_slot *slot, struct error *reterr)
{
    struct scene *s = owner;
    struct stint *st;
    uint64_t dice = s->calm ? 0 : world_random_below(s->world, 10);

    if (!s->up) {
        complain(s, "a place is asked for by a berth that is gone");
    }
    if (dice == 9) {
        return error_set(reterr, -EBUSY, "nobody works now");
    }
    st = stint_new(s, slot, lane_of(s, slot->model_id, slot->model));
    slot->runner_data = st;
    if (st->elsewhere) {
        snprintf(slot->instance, sizeof(slot->instance), "00000000-0000-4000-8000-%012u", st->lane);
    }
    if (dice < 6) {
        judge_on_grant(s, st);
        return 1;
    }
    timer_init(&st->timer, s->world, "sim.grant", on_late_answer, st);
    timer_start(&st->timer, world_random_below(s->world, 200));
    return 0;
}

static void run(void *owner, struct task_slot *slot, const struct task_work *work)
{
    struct scene *s = owner;
    struct stint *st = slot->runner_data;
    char name[48];

    assert_ptr_equal(st->slot, slot);
    st->id = work->id;
    st->fence = work->fence;
    judge_on_run(s, st, work);
    st->state = STINT_RUNS;
    s->runs++;
    begin(st);
    if (st->elsewhere) {
        snprintf(name, sizeof(name), "far-%lld-%lld", (long long)work->id, (long long)work->fence);
        task_slot_set_remote(slot, name);
    }
}

static void cancel(void *owner, struct task_slot *slot)
{
    struct scene *s = owner;
    struct stint *st = slot->runner_data;

    assert_ptr_equal(st->slot, slot);
    s->cancels++;
    if (s->up) { /* a berth that dies tells nobody */
        stint_free(st);
    }
}

struct task_slot *runner_take_place(struct scene *s, unsigned lane)
{
    struct stint *st = stint_new(s, NULL, lane);
    char instance[UUID_SIZE];

    snprintf(instance, sizeof(instance), "00000000-0000-4000-8000-%012u", lane);
    st->slot = task_slot_claim(s->tasks, TASK_OF_INSTANCE, remote_name(lane), instance, st);
    judge_on_grant(s, st);
    return st->slot;
}

void runner_give_place_back(struct scene *s, struct task_slot *slot)
{
    struct stint *st, *tmp;

    task_slot_cancel(slot);
    list_for_each_safe (st, tmp, &s->stints, node) {
        if (st->slot == slot) {
            stint_free(st);
        }
    }
}

/* ---- Task Instances outlive berth ---- */

static bool adopt(void *owner, struct task_slot *slot, const struct task_work *work)
{
    struct scene *s = owner;
    struct stint *st;

    list_for_each (st, &s->stints, node) {
        if (!st->slot && st->id == work->id && st->fence == work->fence) {
            if (one_in(s, 4)) { /* it has forgotten */
                stint_free(st);
                return false;
            }
            st->slot = slot;
            slot->runner_data = st;
            s->adoptions++;
            if (!timer_active(&st->timer)) { /* ended while nobody heard, or hangs */
                begin(st);
            }
            return true;
        }
    }
    return false;
}

/* In good order: the work goes on. */
static bool leave(void *owner, struct task_slot *slot)
{
    struct stint *st = slot->runner_data;

    st->slot = NULL;
    timer_stop(&st->timer);
    return true;
}

const struct task_runner local_runner = {
    .name = "local", .reserve = reserve, .run = run, .cancel = cancel
};

const struct task_runner remote_runner = { .name = "remote",
                                           .reserve = reserve,
                                           .run = run,
                                           .cancel = cancel,
                                           .adopt = adopt,
                                           .leave = leave,
                                           .unbounded = true };

void runners_drop(struct scene *s)
{
    struct stint *st, *tmp;

    list_for_each_safe (st, tmp, &s->stints, node) {
        if (!st->elsewhere || st->state != STINT_RUNS) {
            stint_free(st);
            continue;
        }
        st->slot = NULL;
        timer_stop(&st->timer);
    }
}

void runners_finish(struct scene *s)
{
    while (!list_empty(&s->stints)) {
        stint_free(list_first(&s->stints, struct stint, node));
    }
}
