// SPDX-License-Identifier: Apache-2.0
/*
 * Who works on tasks: the wall between the queue and those who reach an engine (the gateway), a
 * Task Instance, or a planner's worker. The queue asks for a place (reserve), claims a task only
 * once the place is there, and hands it over after the claim is committed (run).
 *
 *     queue                          runner
 *       │ reserve(slot) ───────────────► 1 now, 0 later, negative: not now
 *       │ ◄──────────── task_slot_granted(slot)  (or task_slot_refused)
 *       │ claims the lane's first task, commits
 *       │ run(slot, work) ─────────────►
 *       │ ◄──────────────── task_slot_done(slot, result)   the slot is void
 *       │ cancel(slot) ────────────────► at any time after reserve: the slot is void, nothing comes
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"
#include "base/str.h"
#include "base/world.h"

struct tasks;
struct task;
struct lane;

/* What is to be done: good until the slot is void. */
struct task_work {
    int64_t id, fence;
    const char *public_id, *type;
    unsigned priority;
    struct span input, options; /* options: a JSON object, or absent */
    uint64_t timeout_ms;        /* the queue itself cancels the slot after this time */
    const char *remote_id;      /* adopt: what the instance calls it; else NULL */
};

/* A place for one task; owned by the tasks room, void after task_slot_done, _refused or cancel. */
struct task_slot {
    /* For the runner: */
    int64_t model_id;  /* 0: none of the catalogue */
    const char *model; /* the lane's name */
    unsigned priority; /* class of the task that is first now */
    uint32_t tokens;   /* expected work of it, guessed from its bytes */
    void *runner_data; /* the runner's own */
    /* The runner sets it before it grants: uuid of what will work on it, or "". */
    char instance[UUID_SIZE];

    /* The queue's: */
    struct list node;
    struct tasks *tasks;
    struct lane *lane;
    int state;
    unsigned number; /* of the worker that it is */
    int64_t task_id, fence;
    int64_t started_wall_ms;
    struct timer timeout;
    struct task *task;
    struct task_work work;
};

/* How an attempt ended. Everything is copied. */
struct task_result {
    int error;        /* 0: completed; negative errno */
    bool helps;       /* would another try help? (of an error) */
    bool lost;        /* what worked on it is gone, it may be done elsewhere at once: not counted as
                         a try */
    const char *text; /* of the error: a sentence */
    struct span output;      /* also of an error where there is one (a batch line's refusal) */
    int http_status;         /* of the engine's answer; 0: none */
    uint64_t retry_after_ms; /* not before; 0: as the queue does by itself */
};

struct task_runner {
    const char *name;
    /* Asks for a place. 1: it is there, 0: it comes or is refused later, negative errno: not now,
     * with the reason (why() tells it, too); asked again when tasks_wake is called, or in a second.
     */
    int (*reserve)(void *owner, struct task_slot *slot, struct error *reterr);
    /* The claim is committed. task_slot_done comes in a later turn. */
    void (*run)(void *owner, struct task_slot *slot, const struct task_work *work);
    /* Let go of it, whatever it is doing; what an engine does for it ends. */
    void (*cancel)(void *owner, struct task_slot *slot);
    /* After a restart: a task that ran at slot->instance. True: it is looked after as after run.
     * NULL: never. */
    bool (*adopt)(void *owner, struct task_slot *slot, const struct task_work *work);
    /* berth goes down: true when this work goes on without us and is adopted later (the slot is
     * void then). NULL: never. */
    bool (*leave)(void *owner, struct task_slot *slot);
    /* Why does a lane of this model wait, beyond what the queue itself knows? A sentence, or "". */
    void (*why)(void *owner, int64_t model_id, const char *model, char *out, size_t size);
    /* Are places not bounded by workers (the peer has a queue of its own)? */
    bool unbounded;
};

/* Called by runners, on the loop; not from inside reserve. */
void task_slot_granted(struct task_slot *slot);
/* It will not come (now): the queue asks again later. */
void task_slot_refused(struct task_slot *slot, const struct error *e);
void task_slot_done(struct task_slot *slot, const struct task_result *result);
/* What works on it knows it by this name; committed with the attempt, and with slot->instance,
 * which the runner may have changed since. */
void task_slot_set_remote(struct task_slot *slot, const char *remote_id);

/* A slot for a task that is bound as it is submitted (task_order.slot): the runner has the place
 * already. Void like any other; cancel it with task_slot_cancel when nothing is submitted. */
struct task_slot *task_slot_claim(struct tasks *t, int kind, const char *model,
                                  const char *instance, void *runner_data);
void task_slot_cancel(struct task_slot *slot);
