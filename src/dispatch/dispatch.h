// SPDX-License-Identifier: Apache-2.0
/*
 * Dispatch: which instance works on a request, and who waits. Load is counted here, at the moment
 * of dispatch, in tokens still to be done and in predicted time; nothing is scraped. In flight per
 * instance is capped (slots + 1): the line stands here, one a model, by rank, first come first
 * served within, bounded.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/notify.h"
#include "base/str.h"
#include "config/config.h"
#include "engines/engines.h"
#include "metrics/metrics.h"

struct dispatch;
struct ticket;

extern const struct option_table dispatch_options; /* gateway.max_queue, gateway.queue_timeout … */

struct dispatch *dispatch_create(struct world *w, const struct config *config,
                                 struct models *models, struct engines *engines,
                                 struct metrics *metrics);
struct dispatch *dispatch_destroy(struct dispatch *d);
void dispatch_reconfigure(struct dispatch *d, const struct config *config);

/* Who goes first in a line: requests that somebody waits for, then tasks by class. Only a request
 * takes the one place beyond an engine's slots: none ever waits in an engine behind a task that had
 * not begun. What is said of a ticket's place and wait counts those before it only: of its own rank
 * and of better ones. gateway.max_queue bounds the requests that wait; tasks are bounded apart. */
enum dispatch_rank {
    RANK_REQUEST,
    RANK_TASK_HIGH,
    RANK_TASK_MEDIUM,
    RANK_TASK_LOW,
    RANK_BATCH,
    RANK_MAX_
};

/* A prompt's beginning is known by its blocks: the first ones short, then each an eighth of all
 * before it, so that 64 of them reach over about a megabyte, and what is shared of a long prompt is
 * known to an eighth of itself. */
enum { PREFIX_BLOCK_BYTES = 256, PREFIX_SHORT_BYTES = 4096, PREFIX_BLOCKS_MAX = 64 };
/* Where the block ends that begins at `end`, the end of the one before it (0: the first). */
static inline size_t prefix_next_end(size_t end)
{
    size_t eighth = end / 8 / PREFIX_BLOCK_BYTES * PREFIX_BLOCK_BYTES;

    return end + (end < PREFIX_SHORT_BYTES ? (size_t)PREFIX_BLOCK_BYTES : eighth);
}

struct dispatch_ask {
    int64_t model_id;
    enum dispatch_rank rank;
    uint32_t tokens;        /* expected work: prompt tokens (guessed from bytes) + token limit */
    uint32_t prompt_tokens; /* the guess of the prompt alone; 0: not known */
    uint32_t output_limit;  /* the request's own; 0: none */
    /* Hashes of the prompt's beginning, each of all bytes up to the end of its block
     * (prefix_hashes); copied. */
    const uint64_t *prefix;
    unsigned prefix_count;
    /* How many tokens of the prompt each of these stands for, ascending; NULL: as its bytes are
     * guessed to be tokens. Copied. */
    const uint32_t *prefix_tokens;
    uint64_t session;          /* hash of whom or what the request belongs to; 0: nothing */
    uint64_t queue_timeout_ms; /* 0: the configured one */
    bool no_load; /* a stopped model is refused, not asked for (dispatch_demand_signal) */
    /* Asking again: uuid of the instance that failed this request just now; NULL at first. It goes
     * to another instance at once, or to the front of its rank, however long the line is. The one
     * that failed it is not used for it for exclude_ms, unless it has begun a new life: the end of
     * a connection is seen before the end of the process that it tells of. */
    const char *exclude;
    uint64_t exclude_ms;
    bool unreachable; /* it could not even be connected to: its breaker is open meanwhile */
    /* The instance to use; hold the uuid. Comes in a later turn only. */
    void (*on_grant)(void *owner, const struct instance *instance);
    /* -ETIME waited too long (and for what: room on a device, or an instance), -ESRCH the model
     * cannot run (stopped by a person, failed: with the reason), -ENOENT it was deleted. The ticket
     * is void. */
    void (*on_refuse)(void *owner, const struct error *e);
    void *owner;
};

/* Returns 1 when granted at once (*ret_instance set, on_grant does not come), 0 when it waits, or
 * negative errno with the reason: -ENOENT, -ESRCH (the model failed, or is stopped and not to be
 * loaded on demand), -EAGAIN (line full). The ticket is the caller's until dispatch_release, or a
 * refusal. Who waits for a stopped model that may be loaded on demand is told of by
 * dispatch_demand_signal. */
int dispatch_acquire(struct dispatch *d, const struct dispatch_ask *ask, struct ticket **ret,
                     const struct instance **ret_instance, struct error *reterr) _must_check_;
/* How a granted ticket ended: what the breaker and the figures of the instance learn from it. */
enum outcome {
    OUTCOME_NONE,   /* nothing was learnt: the client left, or nothing was asked */
    OUTCOME_GOOD,   /* the engine answered (its refusals of bad requests included) */
    OUTCOME_ERROR,  /* it answered with an error of its own (500): it may be broken, or the request
                       was one that it cannot read */
    OUTCOME_FAILED, /* connection lost or refused, time over, broken HTTP, 502, 503, 504 */
};
/* Ends the ticket in whatever state: waiting (leaves the line) or granted (the instance is free for
 * the next one). */
void dispatch_release(struct ticket *t, enum outcome outcome);
/* A token came: the work left shrinks. */
void dispatch_progress(struct ticket *t, uint32_t tokens);
/* What a granted request really took, as the engine says; before its release. The predictor learns
 * of it, together with the times that were seen here (granted, first progress, end). */
void dispatch_note_usage(struct ticket *t, uint64_t prompt_tokens, uint64_t cached_tokens,
                         uint64_t output_tokens);
/* The hashes of a prompt's beginning into out; returns how many. Pure. */
unsigned prefix_hashes(struct span prompt, uint64_t out[PREFIX_BLOCKS_MAX]);
/* Place in the line from 1, behind all of better ranks; 0 when granted. */
unsigned dispatch_position(const struct ticket *t);
/* How long this ticket will wait yet, by the measured rate at which the line moves; 0 when granted.
 */
uint64_t dispatch_ticket_wait_ms(const struct ticket *t);

struct dispatch_load {
    unsigned in_flight, waiting;
    unsigned waiting_requests; /* of those who wait: of RANK_REQUEST */
    uint64_t tokens;
    uint64_t waiting_since_ms; /* world_now_ms at which the one that has waited longest came; 0:
                                  nobody waits */
};
/* Requests a second that the model gets, as an average that halves every gateway.use_half_life. One
 * that is asked for again counts once, one that was refused at once does not. */
double dispatch_use_rate(const struct dispatch *d, int64_t model_id);
/* How long a request that came now would wait before it is dispatched: by the line that stands and
 * the measured rate at which it moves; while no instance is ready, what is left of the measured
 * time of loading comes on top. (How long an instance waits for room is not known here: placement
 * may know, and adds it.) */
uint64_t dispatch_expected_wait_ms(const struct dispatch *d, int64_t model_id);
/* When a refused request should come again, in ms: the expected wait, floor 1 s, ceiling 300 s,
 * plus up to a quarter of itself so that clients do not come back together. (Retry-After is this in
 * whole seconds, rounded up.) */
uint64_t dispatch_retry_after_ms(const struct dispatch *d, int64_t model_id);
/* world_now_ms of the end of the model's last request (0: there was none). Idle since then is a
 * model with nothing in flight and nobody waiting. */
uint64_t dispatch_last_used_ms(const struct dispatch *d, int64_t model_id);

/*
 * Emits const struct demand * in a turn of its own whenever somebody waits for a model that is not
 * wanted and may be loaded on demand, or is in flight at one that is being unloaded for idleness:
 * it is to be wanted. Said once, and again when the model is unloaded while somebody still waits,
 * or somebody comes after the line was empty. As long as somebody waits for it, an instance that is
 * being unloaded is not said to be drained: it can return to READY. (One that is moved aside
 * cannot: it is drained when nothing is in flight there, whoever waits.)
 *
 * Also when somebody waits for a model that is wanted and all of whose instances wait for room
 * (wants_room): once, and again when somebody comes after the line was empty.
 */
struct demand {
    int64_t model_id;
    unsigned waiting;
    bool wants_room; /* the model is wanted; its instances wait for a place */
};
struct notify *dispatch_demand_signal(struct dispatch *d);

/* The breaker of an instance: after gateway.breaker_failures failures in a row it is open for
 * gateway.breaker_open (longer each time, up to eight times that) and gets nothing; then half open:
 * one request at a time, until one is good or has tokens (closed) or fails (open again). What was
 * sent before it opened does not move it. With no other instance to go to requests wait in the
 * line; but errors that it answers with (OUTCOME_ERROR) open it only while another one's is closed:
 * nobody's bad requests take the last instance from all others. A new life starts closed. */
enum breaker { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };
const char *breaker_name(enum breaker b); /* "closed", "open", "half_open" */

/* What is known of an instance that takes requests, since berth started or the instance was made.
 */
struct dispatch_target {
    enum breaker breaker;
    unsigned consecutive_failures, in_flight, weight;
    uint64_t requests, errors;  /* granted and ended */
    uint64_t total_response_ms; /* of the good ones */
    uint64_t response_ms;       /* moving average; 0: none yet */
};
/* False: it takes no requests (now). */
bool dispatch_target(const struct dispatch *d, const char *uuid, struct dispatch_target *ret);

/* The strategy in use for a model (0: for those that have none of their own): what was set by name
 * since the start (for the model, then for all; a reload that changes gateway.strategy ends the
 * latter), else the definition's `strategy`, else gateway.strategy. Setting: name NULL is "no own
 * one"; -EINVAL with the list of names. */
const struct strategy *dispatch_strategy(const struct dispatch *d, int64_t model_id);
int dispatch_set_strategy(struct dispatch *d, int64_t model_id, const char *name,
                          struct error *reterr) _must_check_;
/* All strategies; NULL at the end. */
const struct strategy *strategy_next(size_t *cursor);
/* NULL when there is none of this name. */
const struct strategy *strategy_find(const char *name);
/* -EINVAL with the list of names, when there is none of this name. */
int strategy_check(const char *name, struct error *reterr) _must_check_;
/* Beside engines_check: the part of a definition that dispatch knows of, its `strategy`. Adds to v.
 * (In one that stands, a name that there is not any more counts as none.) */
void dispatch_check(const struct model_config *model, struct validation *v);

/* What is predicted of an instance for a request that came now, for people and doors. */
struct prediction {
    /* Until it would begin: a slot is free, and the prompts before it are read; and the standard
     * error of the slot's part. */
    double wait_ms, wait_error_ms;
    double prefill_ms, decode_ms, error_ms; /* then; error of the whole */
    double low_ms, high_ms; /* nine of ten take so long, from their beginning to their end */
    double output_tokens, ms_per_output_token; /* expected */
    uint64_t
        learnt_from; /* requests of this instance; as long as they do not surely differ from its
                        model's others', all of these tell; 0: cold, by others or defaults */
};
/* False: it takes no requests (now). */
bool dispatch_predict(const struct dispatch *d, const char *uuid, uint32_t prompt_tokens,
                      uint32_t output_limit, struct prediction *ret);

struct dispatch_load dispatch_instance_load(const struct dispatch *d, const char *uuid);
struct dispatch_load dispatch_model_load(const struct dispatch *d, int64_t model_id);

/* To be connected to the engines' and the models' signals by daemon/wiring.c. */
void dispatch_on_instance(void *dispatch, const void *instance_change);
void dispatch_on_model(void *dispatch, const void *model_change);

/*
 * A strategy is a pure choice among candidates (in the order of their making): the index of the one
 * to use, or -1 for none. One with in_flight >= cap has no room and is never chosen; when one has
 * room, one is chosen. Candidates are a live array, changed when something changes, not made for
 * each choice; the members marked * are set for each choice, and only for strategies that say that
 * they look at them (.looks_at).
 *
 * Adding one is a file with a `const struct strategy` and a row in strategy.c;
 * examples/custom_strategy.c shows it.
 */
struct candidate {
    const char *uuid;
    unsigned in_flight, cap; /* cap as it is for the asker's rank */
    unsigned weight;
    uint64_t tokens;      /* outstanding */
    uint64_t response_ms; /* moving average; 0: none yet */
    uint64_t chosen;      /* how often it was chosen; one that joins begins level with the others */
    uint64_t place;       /* of it among those for sessions: candidate_place of its uuid */
    /* The predicted work that is left of all that is in flight, each with the estimate that was
     * added when it was given and is taken off when it leaves, over its slots; and the standard
     * error of that. 0 when nothing is in flight. */
    double wait_ms, wait_error_ms;
    /* What of that is prompts that are not read yet, beyond what stands in wait_ms of it: an engine
     * answers many at once but reads one after the other, so that is not divided by its slots. */
    double read_ms;
    double swap_ms;                   /* before it can begin at all: waking; 0: it is there */
    double prefill_ms, prefill_error; /* a prompt token that is not cached */
    double decode_ms, decode_error;   /* an output token */
    uint32_t cached_tokens;           /* * of the request's prompt */
};
struct choice {
    uint32_t tokens; /* of the request */
    uint32_t prompt_tokens;
    double output_tokens, output_error; /* expected: the model's learnt length, the limit */
    uint64_t session;                   /* 0: none */
    uint64_t turn;                      /* how many choices this model's line has made */
    uint64_t random;                    /* a random number; more by splitmix_next of it */
    double error_weight;                /* of a millisecond of error against one of expectation */
};
enum { LOOKS_AT_PREFIX = 1 };
struct strategy {
    const char *name;
    const char *help;
    unsigned looks_at;
    int (*choose)(const struct candidate *candidates, size_t count, const struct choice *c);
};
extern const struct strategy least_outstanding_tokens; /* the default */

/* For strategies. */

/* The next of a row of random numbers that begins with a choice's. */
uint64_t splitmix_next(uint64_t *state);
static inline bool candidate_has_room(const struct candidate *c)
{
    return c->in_flight < c->cap;
}
/* The first of those with room than which no other is better; -1 when none has room. */
int candidate_best(const struct candidate *candidates, size_t count,
                   bool (*better)(const struct candidate *, const struct candidate *));
/* Of those with room: how many, and the n-th from 0 (-1 when there are not so many). */
size_t candidates_with_room(const struct candidate *candidates, size_t count);
int candidate_with_room(const struct candidate *candidates, size_t count, uint64_t n);

/* For others who choose by strategy. */

uint64_t candidate_place(const char *uuid);
/* A choice of which all but the request is set (turn: 0). */
struct choice dispatch_choice(struct dispatch *d);
