// SPDX-License-Identifier: Apache-2.0
/*
 * Attempts and berth's own life: those of an earlier berth are adopted by their runner; at the end
 * they are waited for, left to go on without berth, or given back.
 */
#include "tasks/tasks_int.h"

bool slot_adopt(struct tasks *t, struct task *task)
{
    struct lane *lane = lane_of_id(t, task->lane);
    const struct runner_of_kind *by = &t->runners[lane->kind];
    struct task_slot *slot;

    if (!by->runner || !by->runner->adopt || !task->instance) {
        return false;
    }
    slot = slot_create(lane, SLOT_BOUND);
    snprintf(slot->instance, sizeof(slot->instance), "%s", task->instance);
    slot_begin_work(slot);
    slot->work = task_work_of(task);
    slot->priority = task->priority;
    if (!by->runner->adopt(by->owner, slot, &slot->work)) {
        slot_free(slot);
        return false;
    }
    slot_begin_running(slot, task);
    return true;
}

/* Calls fn for every slot that has a task; fn may end it. */
static void for_each_working(struct tasks *t, void (*fn)(struct task_slot *slot))
{
    struct lane *lane;

    list_for_each (lane, &t->lanes, node) {
        struct task_slot *slot, *tmp;

        list_for_each_safe (slot, tmp, &lane->slots, node) {
            fn(slot);
        }
    }
}

/* What runs nowhere any more has no runner to be told. */
static void drop(struct task_slot *slot)
{
    if (slot->state == SLOT_LEFT) {
        slot_free(slot);
    } else {
        slot_void(slot);
    }
}

static void leave(struct task_slot *slot)
{
    const struct runner_of_kind *by = &slot->tasks->runners[slot->lane->kind];

    if (slot->state == SLOT_RUNNING && by->runner->leave && by->runner->leave(by->owner, slot)) {
        slot_free(slot);
    }
}

static void take_back(struct task_slot *slot)
{
    if (slot->state == SLOT_RUNNING) {
        task_give_back(slot->tasks, slot->task_id, slot->fence, "berth went down while it ran");
        slot_void(slot);
    }
}

static void on_grace_over(void *arg)
{
    struct tasks *t = arg;

    for_each_working(t, take_back);
    slots_check_drained(t);
}

void drain_init(struct tasks *t)
{
    timer_init(&t->drain, t->in.world, "tasks drain", on_grace_over, t);
}

void tasks_drain(struct tasks *t, uint64_t grace_ms, void (*done)(void *arg), void *arg)
{
    struct lane *lane;

    t->draining = true;
    t->drained = done;
    t->drained_arg = arg;
    list_for_each (lane, &t->lanes, node) {
        lane_stop_asking(lane);
    }
    for_each_working(t, leave);
    timer_start(&t->drain, grace_ms);
    if (!timer_active(&t->work)) {
        timer_start(&t->work, 0);
    }
}

void slots_check_drained(struct tasks *t)
{
    void (*done)(void *arg) = t->drained;

    if (done && t->working == 0 && journal_is_idle(t)) {
        t->drained = NULL;
        timer_stop(&t->drain);
        done(t->drained_arg);
    }
}

void slots_finish(struct tasks *t)
{
    struct lane *lane;

    t->draining = true;
    t->drained = NULL;
    list_for_each (lane, &t->lanes, node) {
        lane_stop_asking(lane);
    }
    for_each_working(t, drop);
}
