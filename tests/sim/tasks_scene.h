// SPDX-License-Identifier: Apache-2.0
/*
 * The scene of the crash test: one berth's store, events, models and tasks on a disk that forgets
 * what was not synced (crash_vfs.h), clients that ask for everything at once, runners that do all
 * that runners do, and a judge who knows only what was answered, run and told, and the rows.
 *
 * Who is who: an order is what a client sent (its token is the input, so that every row and run
 * tells whose it is); a seen is a task that was told of or stands in the rows, by its id; a stint
 * is a runner's side of one slot.
 */
#pragma once

#include "unit.h"

#include "base/list.h"
#include "base/mem.h"
#include "base/sim.h"
#include "config/config.h"
#include "crash_vfs.h"
#include "events/events.h"
#include "metrics/metrics.h"
#include "models/models.h"
#include "store/store.h"
#include "tasks/tasks.h"

enum {
    MODELS = 3,
    REMOTES = 2, /* models of Task Instances */
    LANES = MODELS + REMOTES,
    BATCHES = 3,
    ORDERS_MAX = 6000,
    SEEN_MAX = 8000,
    LIVES = 5, /* that end by force or in good order; the one after them is watched to its end */
    DUE_SLACK_MS = 1500,    /* what is due may be looked at that much later */
    ATTEMPT_MS = 20 * 1000, /* queue.task_timeout here */
};

/* What became of a submit, as its client knows it. */
enum fate { FATE_ASKED, FATE_ACKNOWLEDGED, FATE_REFUSED, FATE_UNKNOWN, FATE_NOT_THERE };

struct order {
    enum fate fate;
    enum task_kind kind;
    unsigned lane, priority;
    int64_t id; /* 0: not known */
    bool keyed, bound, delayed;
    unsigned piece; /* of batch lines: which call they came with; they come all or none */
    bool seen;      /* a task of it was there */
    unsigned rows;  /* at the last look */
};

struct seen {
    bool known, gone;
    int token;
    int told;      /* enum task_state */
    int64_t fence; /* as told */
    unsigned life; /* in which it was told */
    unsigned lane, priority;
    enum task_kind kind;
    int64_t due_ms, finished_ms;
    uint64_t pending_seq; /* when it was told to be pending, or to be moved */
    int64_t run_fence;    /* of the last run; 0: never ran */
    int64_t ok_fence;     /* of the last attempt that its runner completed */
    unsigned priorities;  /* bits: those it may have */
    int64_t batch_id;
    unsigned moves; /* asked and not answered */
    bool cancel_asked, cancel_acknowledged, retry_asked, remove_asked, erase_asked;
    bool taken_asked; /* another berth may have claimed it anew */
    bool there;       /* at the last look at the rows */
};

enum stint_state { STINT_ASKED, STINT_GRANTED, STINT_RUNS };

struct stint {
    struct list node;
    struct scene *scene;
    struct task_slot *slot; /* NULL: berth is gone, the work is not (a Task Instance's) */
    enum stint_state state;
    unsigned lane;
    bool elsewhere; /* at a Task Instance */
    uint64_t grant_seq;
    int64_t grant_wall_ms;
    int64_t id, fence;
    struct timer timer;
};

struct scene {
    struct world *world;
    struct crash_disk *disk;
    char dir[64], path[96];
    struct config *config;
    struct store *store;
    struct events *events;
    struct models *models;
    struct metrics *metrics;
    struct tasks *tasks;
    struct listener on_task, on_model, models_on_tasks;
    unsigned life;
    bool up, calm; /* calm: runners do their best, nobody disturbs */
    int64_t keep_ms;

    int64_t model_ids[MODELS];
    unsigned max_workers[MODELS];
    bool online[MODELS];
    uint64_t offline_seq[MODELS]; /* when it was last told to be offline */

    uint64_t seq;                    /* of all that the outside sees */
    struct order orders[ORDERS_MAX]; /* by token, from 1 */
    int order_count;
    unsigned piece_count;
    bool batch_cancelled[BATCHES + 1];
    struct seen seen[SEEN_MAX]; /* by id */
    int64_t seen_max;
    unsigned in_flight; /* changes asked and not answered */
    struct list stints;
    struct list late_writes, late_reads;
    struct timer late;
    unsigned long long runs, cancels, adoptions, duplicates, acknowledged, taken,
        erasures; /* for the last line */
};

/* ---- house: life and death ---- */
struct scene *house_create(uint64_t seed);
void house_destroy(struct scene *s);
void house_begin(struct scene *s); /* builds a berth on what the disk has */
/* Everything that is not on the disk by now is lost. */
void house_kill(struct scene *s);
void house_stop(struct scene *s); /* in good order */
uint64_t scene_now(struct scene *s);
unsigned lane_of(const struct scene *s, int64_t model_id, const char *model);
const char *remote_name(unsigned lane);
void house_set_online(struct scene *s, unsigned model, bool online);
__attribute__((noreturn)) void complain(struct scene *s, const char *fmt, ...) _printf_(2, 3);

/* ---- what the store answers, late ---- */
void latency_begin(struct scene *s);
void latency_end(struct scene *s); /* all that has ended is told */

/* ---- clients ---- */
void client_act(struct scene *s); /* one thing, or a burst of the same */
/* Alters what is first in a lane, as it is about to be claimed. */
void client_interfere(struct scene *s, unsigned lane);

/* ---- runners ---- */
extern const struct task_runner local_runner, remote_runner;
/* A place for a task that is bound as it is submitted. */
struct task_slot *runner_take_place(struct scene *s, unsigned lane);
void runner_give_place_back(struct scene *s, struct task_slot *slot);
void runners_drop(struct scene *s); /* berth is gone: forgets all slots */
void runners_finish(struct scene *s);

/* ---- judge ---- */
bool judge_may_be_cancelled(const struct scene *s, const struct seen *seen);
bool judge_may_be_removed(struct scene *s, const struct seen *seen);
/* Task id is order token's: complains when it cannot be. */
void judge_link(struct scene *s, int64_t id, int token);
struct seen *judge_seen(struct scene *s, int64_t id);
/* The whole input of an order. */
size_t order_text(int token, char *out, size_t size);
void judge_on_task(void *scene, const void *change);
void judge_on_submit(struct scene *s, int token, int result, const struct task *task);
/* Its cancel is acknowledged: whoever worked on it has been told. */
void judge_on_cancelled(struct scene *s, int64_t id);
void judge_on_run(struct scene *s, const struct stint *stint, const struct task_work *work);
void judge_on_grant(struct scene *s, struct stint *stint);
void judge_after_death(struct scene *s); /* reads the rows of a berth that is not there */
void judge_at_end(struct scene *s);      /* all has ended: the rows, counters and statistics */

/* A row, as it stands in the file; texts are good for the call. */
struct row {
    int64_t id, model_id, fence, due_ms, completed_ms, batch_id;
    int kind, state;
    unsigned priority;
    const char *model, *output;
    struct span input;
};
