// SPDX-License-Identifier: Apache-2.0
/*
 * Tasks: durable work. What is accepted is committed; it is then pending, running, and at last
 * completed, failed or cancelled, and whoever asks is told why it waits.
 *
 *     submit ──► PENDING ──claim──► RUNNING ──► COMPLETED
 *                 ▲  ▲ │               │  │
 *      retry by a │  │ │ cancel        │  └──► CANCELLED (what an engine does for it ends)
 *      person     │  │ └──► CANCELLED  │
 *                 │  └── again later ──┤ (another try helps, and there is one left)
 *               FAILED ◄───────────────┘ (none left: a dead letter; or none would help)
 *
 * The store is the truth. Every change is a compare-and-set on the row (state, and fence once it
 * runs); "nothing changed" is an answer, not an error. A claim makes the fence one larger: what an
 * attempt of an earlier fence tells changes nothing.
 *
 * The order: by lane (a model; or the model of Task Instances), in a lane strictly by class (3 high
 * … 1 low, 0 batch), in a class by id. In memory each class of a lane is a window of the first of
 * them, filled again by key from an index, so that memory and the cost of a claim do not grow with
 * the backlog. What is delayed waits in the store until it is due.
 *
 * Who works is somebody else's business (tasks/runner.h). A task is claimed when there is a place
 * for it, so what is pending can still be cancelled, moved and overtaken.
 *
 * Delays, retention and ageing outlast berth, so they go by the wall clock: when that is set back
 * they take longer by as much, when it is set forward they are over sooner (within a minute). How
 * long an attempt may take goes by the monotonic one.
 *
 * Everything runs on the loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/notify.h"
#include "base/str.h"
#include "config/config.h"
#include "events/events.h"
#include "metrics/metrics.h"
#include "models/models.h"
#include "store/store.h"
#include "tasks/runner.h"

struct tasks;

extern const struct store_schema tasks_schema;
/* queue.max_queue_size, queue.max_queue_bytes, queue.task_timeout, queue.max_retries,
 * queue.retry_delay, queue.retry_delay_max, queue.ageing, queue.keep, worker.default_workers,
 * worker.max_workers … */
extern const struct option_table tasks_options;

enum task_state {
    TASK_PENDING,
    TASK_RUNNING,
    TASK_COMPLETED,
    TASK_FAILED,
    TASK_CANCELLED,
    TASK_STATE_MAX_,
};
const char *task_state_name(enum task_state s); /* "pending" … */
int task_state_from_string(const char *s);      /* -EINVAL */

/* Which door's they are: each door shows its own. */
enum task_kind {
    TASK_OF_QUEUE,      /* /api/v1/tasks */
    TASK_OF_BATCH,      /* a line of /v1/batches */
    TASK_OF_INSTANCE,   /* /queue/submit */
    TASK_OF_EVALUATION, /* /api/evaluation: a job of the planner */
    TASK_KIND_MAX_,
};

enum {
    TASK_BATCH = 0, /* classes; the contract's priorities are 1 to 3 */
    TASK_LOW = 1,
    TASK_MEDIUM = 2,
    TASK_HIGH = 3,
    TASK_CLASSES = 4,
    TASK_TYPE_MAX = 63,         /* bytes of a type's name */
    TASK_KEY_MAX = 255,         /* bytes of an idempotency key */
    TASK_INPUT_MAX = 32 << 20,  /* bytes of input and options */
    TASK_ERROR_MAX = 2000,      /* bytes of an error that is kept */
    TASK_OUTPUT_MAX = 4 << 20,  /* bytes of an output that is kept; longer ones fail the task */
    TASK_LOGS_MAX = 1000,       /* rows of one task's log */
    TASKS_LIST_MAX = 1000,      /* tasks in one answer */
    TASKS_OFFSET_MAX = 1000000, /* tasks that a list may skip */
    TASK_KEPT = -1,             /* batch_id of what is kept until somebody removes it */
};

/* A task, as it is stored. The texts are the holder's. */
struct task {
    int64_t id;
    char public_id[UUID_SIZE]; /* what its clients call it; "" of TASK_OF_QUEUE, TASK_OF_BATCH */
    enum task_kind kind;
    int64_t model_id; /* 0: no model of the catalogue */
    char *model;      /* its public id when it was submitted, or the Task Instances' model */
    char *
        type; /* a row of task_types.h; "batch" of a batch's line, "instance" of TASK_OF_INSTANCE */
    enum task_state state;
    unsigned priority; /* class */
    unsigned retry_count, max_retries;
    unsigned lost; /* attempts that were lost and not counted as retries */
    int64_t fence; /* claims so far */
    int64_t created_ms, updated_ms, started_ms, completed_ms; /* wall; 0: not yet */
    int64_t due_ms;                                           /* delayed until then; 0: not */
    char *instance;               /* uuid of what works, or worked, on it; NULL */
    char *remote_id;              /* what that calls it (TASK_OF_INSTANCE); NULL */
    char *error;                  /* NULL */
    int http_status;              /* of the engine's answer; 0: none */
    bool dead;                    /* failed with all tries used up */
    int64_t batch_id, batch_line; /* of TASK_OF_BATCH (batch_id: or TASK_KEPT); else 0 */
    int64_t lane;                 /* the queue's own */
    uint64_t bytes, timeout_ms;   /* of the input and options; of one attempt */
    char *webhook;                /* NULL */
    /* Only where it is said so: */
    char *input, *output, *options; /* options: a JSON object as text; NULL where there is none */
    size_t input_len, output_len;
};
/* Accepts NULL, returns NULL. */
struct task *task_free(struct task *t);

struct tasks_in {
    struct world *world;
    const struct config *config;
    struct store *store;
    struct events *events;
    struct models *models;
    struct metrics *metrics;
};
struct tasks *tasks_create(const struct tasks_in *in);
/* Who works on the tasks of this kind; before tasks_start. owner outlives the tasks' runs. */
void tasks_set_runner(struct tasks *t, enum task_kind kind, const struct task_runner *runner,
                      void *owner);
/* Who is told when a task with a webhook ends; NULL: nobody is woken (the rows stand). Borrowed. */
struct webhooks;
void tasks_set_webhooks(struct tasks *t, struct webhooks *webhooks);
/* Reads what an earlier berth left, before the loop runs: counters, lanes, what was running (its
 * runner may adopt it; else it is pending again, at once). */
int tasks_start(struct tasks *t, struct error *reterr) _must_check_;
void tasks_reconfigure(struct tasks *t, const struct config *config);
/* Nothing is claimed any more; done(arg) when nothing runs (what its runner can leave, e.g. a Task
 * Instance's work, is left) or after grace_ms, when what still runs is given back (pending). done
 * never comes from inside this call. May be called again with a shorter grace: then only the last
 * done comes. */
void tasks_drain(struct tasks *t, uint64_t grace_ms, void (*done)(void *arg), void *arg);
/* Before store_close. Changes under way end -ECANCELED (those with a fn of their own when the store
 * is done with them: in store_close). Accepts NULL, returns NULL. */
struct tasks *tasks_destroy(struct tasks *t);

/* ---- changes: done (may be NULL) runs in a later turn, after the commit ---- */

/* result: 0 or above, or negative errno with the sentence in e: -ENOENT (no such task), -EBUSY (it
 * is not in a state that allows it: the sentence says which it is in), -EROFS, -EAGAIN (the store's
 * queue is full), -ECANCELED. task: as it is now, good for the call, without bodies; NULL on
 * failure. */
typedef void (*tasks_done_fn)(void *arg, int result, const struct task *task,
                              const struct error *e);

struct task_order {
    enum task_kind kind;
    int64_t model_id;  /* or 0 and: */
    const char *model; /* the Task Instances' model */
    const char *type;
    unsigned priority;
    struct span input, options; /* options: a JSON object, or absent */
    int max_retries;            /* -1: queue.max_retries */
    uint64_t timeout_ms;        /* of one attempt; 0: queue.task_timeout */
    uint64_t delay_ms;          /* from when it is taken; or: */
    int64_t run_at_ms;          /* wall clock; a time in the past is now */
    struct span idempotency_key;
    const char *webhook;   /* URL; NULL: none. Checked by webhook_check */
    const char *public_id; /* of TASK_OF_INSTANCE; a taken one is -EEXIST */
    int64_t batch_id, batch_line;
    /* It has its place already: claimed as it is submitted (fence 1, RUNNING), and run once that is
     * committed. The slot is from task_slot_claim; its runner is told as by any claim. */
    struct task_slot *slot;
};
/* Everything is copied. result 1: a task with this idempotency key stands already, and is given
 * (-EEXIST when its order was another: another lane, type, input or options. Priority, delay and
 * the like say how, not what: with others it is the same order, and they change nothing). A key is
 * known as long as its task is kept. Refused at once, in the return value: -EAGAIN when the
 * queue is full (tasks or bytes; tasks_retry_after_ms), -EFBIG, -ENOENT (no such model), -EROFS. */
int tasks_submit(struct tasks *t, const struct task_order *order, tasks_done_fn done, void *arg,
                 struct error *reterr) _must_check_;
/* Many in one transaction, all or none; task NULL in done, result: how many. They do not count
 * against queue.max_queue_size, which is for TASK_OF_QUEUE and TASK_OF_INSTANCE. fn runs inside
 * that transaction (arg the same; may be NULL): rows of the caller's own room that belong to it. */
void tasks_submit_lines(struct tasks *t, const struct task_order *orders, size_t count,
                        int (*fn)(void *arg, struct sql *db, struct error *reterr),
                        tasks_done_fn done, void *arg);
/* Pending or running ones; the engine's work ends. */
void tasks_cancel(struct tasks *t, int64_t id, tasks_done_fn done, void *arg);
/* Failed ones become pending, and that counts as a retry; one with all tries used up is -EBUSY
 * unless `again`, which begins at 0. */
void tasks_retry(struct tasks *t, int64_t id, bool again, tasks_done_fn done, void *arg);
/* Of pending ones, which move; of running ones for their next try. */
void tasks_set_priority(struct tasks *t, int64_t id, unsigned priority, tasks_done_fn done,
                        void *arg);
/* Finished ones: the row, its bodies and its log. */
void tasks_remove(struct tasks *t, int64_t id, tasks_done_fn done, void *arg);
/* These go, whatever state they are in: rows, bodies and logs; what works on one is let go of, and
 * the statistics count one that had not ended as cancelled. fn says which, inside the transaction
 * (with rows of the caller's own room that belong to them; what it refuses is undone). done: task
 * NULL, result: how many went. */
struct task_ids {
    int64_t *ids; /* fn's to allocate, the callee's to free */
    size_t count;
};
void tasks_erase(struct tasks *t,
                 int (*fn)(void *arg, struct sql *db, struct task_ids *ret, struct error *reterr),
                 tasks_done_fn done, void *arg);
/* Cancels all unfinished ones of a batch; result: how many. In bounded pieces. */
void tasks_cancel_batch(struct tasks *t, int64_t batch_id, tasks_done_fn done, void *arg);

/* Something that tasks wait for may have changed (a model's status, an instance): look again. Also
 * called by itself on the models' signal. */
void tasks_wake(struct tasks *t);
void tasks_on_model(void *tasks, const void *model_change);

/* ---- reading ---- */

struct task_filter {
    int kind;                 /* enum task_kind; -1: all */
    int64_t model_id;         /* 0: all */
    const char *model, *type; /* NULL: all */
    int state, priority;      /* -1: all */
    int64_t batch_id;         /* 0: all */
    int dead;                 /* -1: all */
    const char *text;         /* in input, output, error, type or model, whatever case; NULL: all */
    int64_t from_ms, to_ms;   /* submitted in this time, the ends too; 0: open */
};
enum task_order_by {
    TASKS_BY_CREATED, /* by id */
    TASKS_BY_UPDATED,
    TASKS_BY_STARTED,
    TASKS_BY_COMPLETED,
    TASKS_BY_PRIORITY,
    TASKS_BY_STATE,
    TASKS_BY_RETRIES,
    TASKS_BY_MODEL,
    TASKS_BY_TYPE,
    TASK_ORDER_BY_MAX_,
};
int task_order_by_from_string(const char *s); /* "created_at", "id" …; -EINVAL */
struct task_query {
    struct task_filter filter;
    enum task_order_by by;
    bool ascending;
    bool bodies; /* with input, output, options */
    unsigned offset, limit;
    int64_t after_id; /* by id only: those beyond it; 0: from the first */
};
/* done comes once, in a later turn; tasks and the array are good for the call. total: of all that
 * match. -ETIMEDOUT when that took too long, -EINVAL (offset). */
typedef void (*tasks_list_fn)(void *arg, int result, struct task *const *tasks, size_t count,
                              uint64_t total, const struct error *e);
void tasks_list(struct tasks *t, const struct task_query *query, tasks_list_fn done, void *arg);

struct task_log {
    int64_t id, wall_ms;
    const char *level; /* debug info warn error */
    char *message;
    char *data; /* a JSON object as text, or NULL */
};
struct task_details {
    struct task *task; /* with bodies */
    struct task_log *logs;
    size_t log_count;
};
typedef void (*tasks_details_fn)(void *arg, int result, const struct task_details *d,
                                 const struct error *e);
void tasks_get(struct tasks *t, int64_t id, tasks_details_fn done, void *arg);
/* The same by public_id (TASK_OF_INSTANCE, TASK_OF_EVALUATION). */
void tasks_get_public(struct tasks *t, const char *public_id, tasks_details_fn done, void *arg);

/* Why a pending task waits. */
struct task_wait {
    uint64_t place;    /* from 1; 0: not known (too far back to count quickly) */
    int64_t starts_ms; /* wall, by the measured pace; 0: nobody can tell */
    char reason[200];  /* "the model is offline", "all 2 workers are busy" … */
};
typedef void (*tasks_wait_fn)(void *arg, int result, const struct task_wait *w);
/* task: pending, as just read; copied. */
void tasks_why(struct tasks *t, const struct task *task, tasks_wait_fn done, void *arg);

/* Numbers that are kept in memory (and with each change in the store): cheap. */
struct task_counts {
    uint64_t by_state[TASK_STATE_MAX_];      /* rows that stand */
    uint64_t pending_by_class[TASK_CLASSES]; /* not the delayed ones */
    uint64_t delayed;
    uint64_t pending_bytes; /* of inputs of what is pending or running */
};
/* Of all that match kind, model_id and type of the filter (the rest is taken no notice of). */
struct task_counts tasks_counts(const struct tasks *t, const struct task_filter *filter);
/* When a refused submit should come again: backlog by measured rate, 1 s to 300 s, with jitter. */
uint64_t tasks_retry_after_ms(struct tasks *t);

/* What was ever done, by day, model or type; from rows that retention does not touch. */
enum task_stats_by { TASK_STATS_BY_DAY, TASK_STATS_BY_MODEL, TASK_STATS_BY_TYPE, TASK_STATS_ALL };
struct task_stats {
    char *key; /* day "2026-11-21" (UTC, of the submit), model's name, type; "" for all */
    int64_t model_id;
    uint64_t submitted, completed, failed, cancelled; /* failed: for good */
    uint64_t processing_ms;                           /* of completed ones, from their last start */
};
typedef void (*tasks_stats_fn)(void *arg, int result, const struct task_stats *rows, size_t count,
                               const struct error *e);
/* days: BY_DAY only, the newest first; days without a task are left out. kind -1: all. */
void tasks_stats(struct tasks *t, enum task_stats_by by, int kind, unsigned days,
                 tasks_stats_fn done, void *arg);

/* Workers: as many as a lane may run at once. */
struct task_worker {
    int64_t model_id;
    const char *model;
    unsigned number;  /* 0 … of this model */
    int64_t task_id;  /* 0: idle */
    int64_t since_ms; /* wall: of the task, or when the worker was there first */
};
/* *cursor starts at 0; false at the end. Of models of the catalogue that may take tasks. */
bool tasks_next_worker(const struct tasks *t, size_t *cursor, struct task_worker *ret);
/* How many of this model's run, and how many may. */
unsigned tasks_running(const struct tasks *t, int64_t model_id);
unsigned tasks_max_workers(const struct tasks *t, int64_t model_id);

/* Emits const struct task_change * after each commit that changed a task, in order. */
struct task_change {
    const struct task *task; /* without bodies */
    int from;                /* enum task_state; -1: it is new */
    bool removed;
};
struct notify *tasks_signal(struct tasks *t);
