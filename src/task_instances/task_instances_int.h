// SPDX-License-Identifier: Apache-2.0
/*
 * Inside task_instances.
 *
 *     peer    one instance: its row, its questions, its estimate, what it works on (runs)
 *     line    one model: its peers, and those who wait for a choice among them
 *     run     one attempt at one task: from the choice of a peer to its end
 *     ending  a told completion, until it is committed
 *
 * A run is in one state at a time:
 *
 *     CHOOSING ──► CHOSEN ──► ENQUEUING ──► WORKING ──► FETCHING ──► (ended)
 *        ▲                        │  refused: the next best
 *        └────────────────────────┘
 */
#pragma once

#include "base/map.h"
#include "task_instances/task_instances.h"

enum {
    PEER_NAME_MAX = 255, /* bytes of what a peer calls itself, its model, a task */
    PEER_KEY_SIZE = PEER_NAME_MAX + 16,
    PEER_ANSWER_MAX = 1 << 20, /* bytes of its answers; of results: TASK_OUTPUT_MAX and this */
    PEER_ERROR_MAX = 300,
    INFO_GENERATION = 3, /* of the protocol: GET /info; before it GET /status */
    LOOK_MAX = 8,        /* results that one peer is asked for at a time */
    LOOKS_MAX = 256,     /* after one probe, while it works */
};

/* ---- estimate.c: until a task given now would begin, exactly ---- */

/* What one task adds. */
struct share {
    double ms, var;
    uint64_t seq; /* of the giving, within its peer */
    bool counted;
};
struct tally {
    double base_ms, base_var;       /* as the peer said when it was asked */
    double added_ms, added_var;     /* given since it was asked, and not ended */
    double removed_ms, removed_var; /* ended since it was asked, and counted in its answer */
    unsigned added;                 /* how many */
    uint64_t seq;                   /* what was given up to here is in its answer */
};
struct estimate {
    struct tally now, next; /* next: while it is being asked */
    bool asking;
    uint64_t seq;
};
void estimate_give(struct estimate *e, struct share *s, double ms, double var);
/* Takes off exactly what giving it has added. */
void estimate_end(struct estimate *e, struct share *s);
void estimate_ask(struct estimate *e);
void estimate_answer(struct estimate *e, double ms, double error_ms);
/* It did not answer: what was known goes on. */
void estimate_fail(struct estimate *e);
double estimate_wait(const struct estimate *e, double *ret_error);

/* Times that were seen, as a mean and a variance that forget. */
struct learnt {
    double mean_ms, var;
    uint64_t count;
};
void learnt_add(struct learnt *l, double ms);

/* ---- objects ---- */

struct peer;
struct run;
struct ask;
struct choice_wait;
struct submission;
struct trim;

struct line {
    struct task_instances *ti;
    char *model;
    struct list peers;
    size_t peer_count;
    struct list choices; /* struct choice_wait */
    unsigned asking;     /* peers that are asked for their prediction, and waited for */
    struct timer patience;
    struct learnt learnt;
    uint64_t turn;
};

struct waiter { /* for a peer's first probe */
    struct list node;
    task_instance_fn done;
    void *arg;
};

enum probe_lane { PROBE_NEW, PROBE_READY, PROBE_DEAD, PROBE_LANES };

struct peer {
    struct task_instance pub;
    struct task_instances *ti;
    struct list node;        /* of ti->peers, in the order of registration */
    uint64_t number;         /* of its registration; never used again */
    char key[PEER_KEY_SIZE]; /* "host:port" */
    char *given_model;       /* as registered; NULL */
    bool from_file;          /* of task_instances.config */
    bool gone;               /* removed, to be freed */
    uint64_t place;          /* candidate_place */
    bool leaving;            /* its row is being deleted */
    bool again;              /* it registered meanwhile: it stays */
    struct line *line;       /* NULL: no model yet */
    struct list of_line;
    struct http_upstream *upstream;

    struct timer heartbeat;
    struct list probe_node; /* of a lane's queue */
    int probe_lane;         /* while queued or probing; -1 */
    struct ask *probe;
    bool probe_second;        /* the other generation is being asked */
    uint64_t probe_seq;       /* runs enqueued up to here were there when it was asked */
    uint64_t probes;          /* answered ones */
    unsigned looks_left;      /* until the next one */
    bool busy;                /* it said that it works */
    uint64_t silent_since_ms; /* has not answered since; 0: it answers */
    struct list waiters;
    struct timer patience; /* of those who wait for the first probe */

    struct estimate estimate;
    struct ask *predict;
    uint64_t predicted_ms; /* when it was asked last and has answered; 0: never */
    uint64_t asked_ms;     /* when the question that is out was asked */
    bool overdue;          /* it is not waited for any more */
    bool unsure;           /* its prediction failed */
    struct learnt learnt;

    struct list runs; /* those of which it is longest not known that it has them first */
    uint64_t run_seq;
    unsigned enqueuing, looking;
};

enum run_state { RUN_CHOOSING, RUN_CHOSEN, RUN_ENQUEUING, RUN_WORKING, RUN_FETCHING };

struct run {
    struct list node; /* of its peer's runs, or of ti->homeless */
    struct task_instances *ti;
    struct task_slot *slot;
    struct submission *submission; /* who waits for it to be enqueued; NULL */
    struct peer *peer;             /* NULL while choosing */
    struct choice_wait *choice;    /* while choosing */
    enum run_state state;
    struct share share;
    const struct strategy *strategy; /* NULL: not known (adopted) */
    char public_id[UUID_SIZE];
    char *model, *remote;         /* remote: NULL before it is enqueued */
    uint64_t seq;                 /* of its peer's run_seq, when it was enqueued */
    const struct task_work *work; /* once its claim is committed: the queue's, as long as slot */
    double told_ms;               /* its metadata's server_time_cost; negative: it does not say */
    bool doubt;                   /* adopted: it may have ended while nobody listened */
    uint64_t looked;              /* its peer's probe after which it was looked at last; 0: never */
    bool missed;             /* by what its peer said, it must have ended when it was asked for */
    bool there;              /* the peer has it, it said */
    unsigned absent;         /* how often in a row the peer did not know it though it was missed */
    struct ask *ask;         /* enqueue, or its result */
    struct list completions; /* told, struct completion */
    uint64_t *tried;         /* numbers of peers that refused it */
    size_t tried_count;
};

/* A told completion: waits for the task to be known (early), its result, or its commit. */
struct completion {
    struct list node;
    struct task_instances *ti;
    char *task_id;
    struct peer *peer; /* while early */
    double execution_ms;
    char *result; /* JSON text; NULL: none */
    size_t result_len;
    bool failed, repeated;
    char *error;
    void (*done)(void *arg, int result, const struct task *task, double total_ms,
                 const struct error *e);
    void *arg;
    struct timer limit;
};

/* Of a task whose end is with the store. */
struct ending {
    char public_id[UUID_SIZE];
    const struct strategy *strategy;
    double execution_ms;
    bool timed; /* it completed, and its time is known */
    struct list completions;
};

struct timing_row {
    const struct strategy *strategy;
    struct task_timing timing;
};
enum { TIMING_ROWS = 32, RECENT_MAX = 10 };

struct task_instances {
    struct world *world;
    const struct config *config;
    struct store *store;
    struct events *events;
    struct tasks *tasks;
    struct metrics *metrics;
    const struct task_runner *fallback;
    void *fallback_owner;
    struct notify ended_signal;

    double error_weight;
    uint64_t heartbeat_ms, timeout_ms, refresh_ms, patience_ms, lost_after_ms, task_timeout_ms;
    const struct strategy *strategy, *configured_strategy;

    struct list peers, dead;
    struct peer *all[TASK_INSTANCES_MAX]; /* the same, for those who walk with a cursor */
    size_t count;
    uint64_t last_number;
    struct map by_uuid, by_key, lines;
    struct map by_name; /* what they call themselves; of one name, one of them */
    struct timer burial;
    struct list saves; /* rows on their way to the store */

    struct list probe_queues[PROBE_LANES];
    unsigned probing[PROBE_LANES];
    unsigned predicting;           /* peers that are asked for their prediction */
    unsigned asking;               /* of them, those that are not overdue */
    struct candidate *candidates;  /* of one choice; kept for the next */
    struct peer **candidate_peers; /* the same */
    size_t candidates_max;

    struct list homeless; /* runs that have no peer (yet) */
    struct map by_task;   /* public id → run */
    struct map by_remote; /* "uuid/remote id" → run */
    struct list early;    /* completions of tasks that are not known yet */
    struct map endings;   /* public id → ending */
    struct list submissions;

    char *ended_ring[TASK_INSTANCE_RESULTS]; /* keys of `ended`, the oldest is overwritten */
    size_t ended_next;
    struct map ended; /* "uuid/remote id" → public id (owned) */

    struct task_timing timing;
    struct timing_row timing_rows[TIMING_ROWS];
    size_t timing_row_count;
    struct task_timing_entry recent[RECENT_MAX];
    size_t recent_count;
    struct trim *trim; /* of what is beyond the limit; NULL */
    struct list clears, refreshes;
    bool down; /* berth goes down: rows stay as they are */
};

/* ---- ask.c: one question to a peer ---- */

/* result 0: it answered with that status, json: its body as a tree (borrowed) or NULL; negative
 * errno with the reason. */
typedef void (*ask_fn)(void *owner, int result, int status, const json_t *json,
                       const struct error *e);
struct ask_what {
    const char *method, *path;
    char *body;          /* JSON text, taken over; NULL: none */
    uint64_t timeout_ms; /* of the whole answer */
    size_t max_answer;   /* 0: PEER_ANSWER_MAX */
    ask_fn done;
    void *owner;
};
struct ask *ask_start(struct peer *p, const struct ask_what *what);
struct ask *ask_cancel(struct ask *a); /* accepts NULL, returns NULL */
/* The sentence of an answer that is none: of a status that is not 2xx with its "detail". */
int ask_refusal(int result, int status, const json_t *json, const struct error *e,
                struct error *reterr);
const char *json_short_text(const json_t *object, const char *name); /* NULL when it is not fit */

/* ---- peers.c: the registry ---- */

struct peer *peer_find(const struct task_instances *ti, const char *uuid);
struct peer *peer_of_key(const struct task_instances *ti, const char *host, uint16_t port);
struct peer *peer_add(struct task_instances *ti, const char *uuid, const char *host, uint16_t port,
                      const char *model);
void peer_forget_name(struct peer *p);
void peer_set_model(struct peer *p, const char *model);
void peer_tell(struct peer *p, const char *change);
/* Out of the registry; it is freed in a later turn. */
void peer_bury(struct peer *p);
void peers_init(struct task_instances *ti);
void peers_free(struct task_instances *ti);
/* Gives what it works on to others. */
void peer_give_up_runs(struct peer *p, const char *why);
/* A draining one that has ended its work goes. */
void peer_settle(struct peer *p);
void peer_remove(struct peer *p, task_instance_fn done, void *arg);
/* "host:port" */
void peer_write_key(char *out, size_t size, const char *host, uint16_t port);
/* Host as it is stored; -EINVAL with the sentence. */
int host_normalize(const char *host, char out[PEER_NAME_MAX + 1], struct error *reterr);

/* ---- rows.c: their rows ---- */

void row_save(struct peer *p);
void row_delete(struct peer *p, task_instance_fn done, void *arg);
void row_add(struct peer *p, task_instance_fn done, void *arg);
int ti_rows_load(struct task_instances *ti, struct error *reterr);
void saves_detach(struct task_instances *ti);

/* ---- file.c ---- */

int peer_file_load(struct task_instances *ti, struct error *reterr);

/* ---- probe.c ---- */

void probes_init(struct task_instances *ti);
void probe_begin(struct peer *p);
void probe_soon(struct peer *p);
void probe_stop(struct peer *p);
void peer_note_silent(struct peer *p, const struct error *e);
void peer_await(struct peer *p, task_instance_fn done, void *arg);
void peer_tell_waiters(struct peer *p, int result, const struct error *e);

/* ---- choose.c ---- */

struct choice_wait;
/* peer NULL: none, with the reason. */
typedef void (*choice_fn)(void *owner, struct peer *peer, const struct error *e);
/* 1: *ret is chosen; 0: done comes later; negative errno with the reason. tried: numbers of peers
 * (struct run) that are left out; borrowed until done. */
int choose(struct run *run, choice_fn done, struct peer **ret, struct error *reterr);
void choice_cancel(struct choice_wait *c);
struct line *ti_line_of(struct task_instances *ti, const char *model, bool make);
void line_leave(struct peer *p);
void predict_stop(struct peer *p);
void refreshes_end(struct task_instances *ti);
/* When nobody of the line is asked any more. */
void line_settle(struct line *line);
/* What a task will take there. told_ms: what it says itself; negative: nothing. */
void peer_cost(const struct peer *p, double told_ms, double *ret_ms, double *ret_var);
/* A time in ms that can be reckoned with; whoever tells it may tell anything. */
static inline bool is_time_ms(double ms)
{
    return ms >= 0 && ms < 1e12;
}
const struct strategy *strategy_named(const char *name);

/* ---- runs.c, looks.c ---- */

struct run *run_create(struct task_instances *ti, const char *model);
void run_bind(struct run *run, struct peer *p);
void run_unbind(struct run *run);
void run_free(struct run *run);
void run_set_id(struct run *run, const char *public_id);
void run_set_remote(struct run *run, const char *remote);
void run_work(struct run *run, const struct task_work *work);
/* Enqueues it at its peer. */
void run_enqueue(struct run *run);
void run_lost(struct run *run, const char *why);
/* Asks some of the peer for their results: those that must have ended by what it said last, or may
 * have. */
void runs_look(struct peer *p);
/* metadata.server_time_cost of a task's options; negative: there is none that is a time. */
double run_told_ms(struct span options);
/* It is told to be done: asks for its result, then ends it. */
void run_fetch(struct run *run);
/* The end of it: slot and run are void. execution_ms negative: not known. */
void run_end(struct run *run, const struct task_result *result, double execution_ms);

/* Without a word to anybody: the tasks are gone. */
void runs_end(struct task_instances *ti);

/* ---- submit.c ---- */

void submission_enqueued(struct submission *s);
/* Its name there is committed. */
void submission_stored(struct submission *s);
void submission_dropped(struct submission *s);
void submission_refused(struct submission *s, const struct error *e);
void submissions_on_failed(struct task_instances *ti, const char *public_id);
void submissions_end(struct task_instances *ti);

/* ---- complete.c ---- */

void completions_retry(struct task_instances *ti, struct peer *p);
void completion_answer(struct completion *c, int result, const struct task *task, double total_ms,
                       const struct error *e);
void completions_end(struct task_instances *ti);
void run_note_end(struct run *run, bool timed, double execution_ms);

/* ---- timing.c, keep.c ---- */

void timing_add(struct task_instances *ti, const struct strategy *strategy, const char *task_id,
                double total_ms, double execution_ms);
void timing_declare(struct task_instances *ti);
void timing_count(struct task_instances *ti, const struct strategy *strategy, const char *outcome);
void keep_check(struct task_instances *ti);
