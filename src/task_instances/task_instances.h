// SPDX-License-Identifier: Apache-2.0
/*
 * Task Instances: engines that people run themselves and that register here (seed 004). Each serves
 * one model, has a queue of its own and is asked through its own protocol, of which there are two
 * generations; which one it speaks is seen when it is asked first.
 *
 *     register ──► UNREACHABLE ◄──► READY ──remove──► DRAINING ──► (gone)
 *                   (probed, not chosen)              (its tasks end, or are given to others)
 *
 * A task of theirs is bound as it is submitted: an instance is chosen among those of the model by
 * the strategy in use, from its predicted wait (asked for again before it is older than
 * task_instances.refresh, kept up to date by what was sent since and what has ended since), the
 * task is committed, then enqueued there. Its completion (told by /notify/task_complete, or found
 * when the instance is asked) is matched by the instance and its own name for the task. If the
 * instance goes, the task is given to another one.
 *
 * What is asked of an instance goes to the host and port that were registered, by plain HTTP, at
 * the few fixed paths of its protocol, with answers of bounded size: whoever may register may make
 * berth send such requests to any host that it can reach. Registering and removing are therefore
 * the administration's; submitting, asking and telling of results are for those who may infer.
 *
 * Work is done at least once: when it cannot be known whether an instance has a task (it went away,
 * it does not know it though by its own word it has fewer than it was given, berth was killed
 * before the instance had answered), it is given to one again. Its completion is counted once.
 *
 * Rows of instances are stored. Everything runs on the loop.
 */
#pragma once

#include "dispatch/dispatch.h"
#include "events/events.h"
#include "http/client.h"
#include "metrics/metrics.h"
#include "tasks/tasks.h"

struct task_instances;

extern const struct store_schema task_instances_schema;
extern const struct option_table
    task_instances_options;                           /* task_instances.heartbeat, .timeout,
                                                          .refresh, .config (SCHEDULER_CONFIG_PATH) … */
extern const struct task_runner task_instance_runner; /* owner: struct task_instances * */

enum { TASK_INSTANCES_MAX = 10000, TASK_INSTANCE_RESULTS = 10000 };

enum task_instance_state { TI_UNREACHABLE, TI_READY, TI_DRAINING };
const char *task_instance_state_name(enum task_instance_state s);

/* A read-only view; good until the turn ends. */
struct task_instance {
    char uuid[UUID_SIZE];
    char host[256];
    uint16_t port;
    char *model;         /* NULL: it has not said yet */
    char *instance_id;   /* what it calls itself; NULL */
    unsigned generation; /* 2: /status …; 3: /info …; 0: not known yet */
    enum task_instance_state state;
    unsigned replicas, queue_size; /* as it said last */
    unsigned in_flight;            /* given by us and not ended */
    double expected_ms, error_ms;  /* until a task given now would begin */
    uint64_t chosen, completed, failed;
    int64_t seen_wall_ms; /* its last good answer; 0: none */
    char *last_error;     /* why it does not answer; NULL: it does, or was not asked yet */
};

struct task_instances *task_instances_create(struct world *w, const struct config *config,
                                             struct store *store, struct events *events,
                                             struct tasks *tasks, struct metrics *metrics);
/* Before tasks_start (which adopts): the rows, and the file of task_instances.config. */
int task_instances_start(struct task_instances *ti, struct error *reterr) _must_check_;
void task_instances_reconfigure(struct task_instances *ti, const struct config *config);
/* To be connected to the tasks' signal by daemon/wiring.c: completions are counted, and answered,
 * when they are committed. */
void task_instances_on_task(void *task_instances, const void *task_change);
/* After tasks_destroy. What was asked and is not yet answered ends -ECANCELED. */
struct task_instances *task_instances_destroy(struct task_instances *ti);

/* Who runs a task of /queue/submit when no Task Instance serves its model but the catalogue does.
 */
void task_instances_set_fallback(struct task_instances *ti, const struct task_runner *runner,
                                 void *owner);

const struct task_instance *task_instances_next(const struct task_instances *ti, size_t *cursor);
const struct task_instance *task_instances_find(const struct task_instances *ti, const char *uuid);
const struct task_instance *task_instances_at(const struct task_instances *ti, const char *host,
                                              uint16_t port);

/* done: after the commit and its first probe (or task_instances.timeout). result 0: it answers; 1:
 * registered, but it does not answer yet (the sentence in e); 2: it stood already (instance is
 * that); negative errno. model NULL: it says so itself. */
typedef void (*task_instance_fn)(void *arg, int result, const struct task_instance *instance,
                                 const struct error *e);
void task_instances_register(struct task_instances *ti, const char *host, uint16_t port,
                             const char *model, task_instance_fn done, void *arg);
/* Without drain it goes at once, and what it has is given to others; done comes after the commit.
 * With drain it gets no new tasks, ends what it has (all is given to others when it stops
 * answering), and then goes; done comes at once. -ESRCH: there is none of this uuid. */
void task_instances_remove(struct task_instances *ti, const char *uuid, bool drain,
                           task_instance_fn done, void *arg);

/* Asks those whose prediction is old (of a model; NULL: all), so that what is read then is true;
 * done comes when they have answered, or after task_instances.patience. */
void task_instances_refresh(struct task_instances *ti, const char *model, void (*done)(void *arg),
                            void *arg);

/* Does anything serve this model? */
bool task_instances_serve(const struct task_instances *ti, const char *model);
/* Chooses, commits, enqueues (when an instance refuses it, at the next best one). done: result 0
 * with the task (instance set), or negative errno: -ENOENT "No TaskInstances configured" / "No
 * available instances for model type <m>" (nothing is stored), -EEXIST (a task has this task_id),
 * anything else "Failed to schedule task: …" (when no instance took it, it stands as failed). input
 * and metadata: JSON objects. When no instance serves the model and model_id is not 0, the task
 * becomes one of that model of the catalogue: done comes once it is committed, and it has no
 * instance. */
struct task_instance_order {
    const char *model, *task_id; /* task_id: the client's, or NULL */
    int64_t model_id;            /* of the catalogue's model of this name; 0: there is none */
    struct span input, metadata;
    bool queued; /* told as soon as it is committed; its instance is chosen afterwards */
};
void task_instances_submit(struct task_instances *ti, const struct task_instance_order *order,
                           tasks_done_fn done, void *arg);

/* A completion was told. done: result 0 (with the task), 1 (told before: nothing changed), -ESRCH
 * (no such instance), -ENOENT (no such task there). task_id: the instance's name for it, or ours.
 */
struct task_completion {
    const char *task_id, *instance_id;
    double execution_ms;
    struct span result; /* JSON, or absent: it is fetched from the instance */
    bool failed;
    const char *error;
};
void task_instances_complete(struct task_instances *ti, const struct task_completion *c,
                             void (*done)(void *arg, int result, const struct task *task,
                                          double total_ms, const struct error *e),
                             void *arg);

/* By which strategy an instance is chosen: what was set since the start, else the option
 * task_instances.strategy. "weighted" is the seed's (weighted_wait of dispatch); all others are
 * dispatch's names. -EINVAL with the list of names. */
const char *task_instances_strategy(const struct task_instances *ti);
int task_instances_set_strategy(struct task_instances *ti, const char *name,
                                struct error *reterr) _must_check_;

/* Removes finished tasks of /queue/submit, in pieces; done tells how many. */
void task_instances_clear(struct task_instances *ti,
                          void (*done)(void *arg, int result, uint64_t cleared,
                                       const struct error *e),
                          void *arg);

/* Emits const struct task_instance_ended * when the end of a task is committed. */
struct task_instance_ended {
    const struct task *task; /* without bodies */
    double total_ms, execution_ms;
};
struct notify *task_instances_signal(struct task_instances *ti);

/* Times of what was completed since start, for all and per strategy. */
struct task_timing {
    uint64_t tasks;
    double total_ms, execution_ms, overhead_ms; /* sums */
    double min_total_ms, max_total_ms;
};
struct task_timing task_instances_timing(const struct task_instances *ti,
                                         const char *strategy /* NULL: all */);
struct task_timing_entry {
    char task_id[UUID_SIZE];
    double total_ms, execution_ms, overhead_ms;
};
/* The last ones, at most 10, the newest last. */
size_t task_instances_recent(const struct task_instances *ti, struct task_timing_entry ret[10]);
