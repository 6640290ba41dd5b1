// SPDX-License-Identifier: Apache-2.0
/*
 * Dispatch: which instance works on a request, and who waits. Load is counted here, at the moment
 * of dispatch, in tokens still to be done; nothing is scraped. In flight per instance is capped
 * (slots + 1): the line stands here, one a model, first come first served, bounded.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/notify.h"
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

struct dispatch_ask {
    int64_t model_id;
    uint32_t tokens;           /* expected work: prompt tokens (guessed from bytes) + token limit */
    uint64_t queue_timeout_ms; /* 0: the configured one */
    bool no_load; /* a stopped model is refused, not asked for (dispatch_demand_signal) */
    /* Asking again: uuid of the instance that failed this request just now; NULL at first. It goes
     * to another instance at once, or to the front of the line, however long that is. The one that
     * failed it is not used for it for exclude_ms, unless it has begun a new life: the end of a
     * connection is seen before the end of the process that it tells of. */
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
/* Place in the line from 1; 0 when granted. */
unsigned dispatch_position(const struct ticket *t);
/* How long this ticket will wait yet, by the measured rate at which the line moves; 0 when granted.
 */
uint64_t dispatch_ticket_wait_ms(const struct ticket *t);

struct dispatch_load {
    unsigned in_flight, waiting;
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

/* The strategy in use (gateway.strategy, until set by name: then until the next start or reload
 * that changes the option). -EINVAL with the list of names. */
const struct strategy *dispatch_strategy(const struct dispatch *d);
int dispatch_set_strategy(struct dispatch *d, const char *name, struct error *reterr) _must_check_;
/* All strategies; NULL at the end. */
const struct strategy *strategy_next(size_t *cursor);

struct dispatch_load dispatch_instance_load(const struct dispatch *d, const char *uuid);
struct dispatch_load dispatch_model_load(const struct dispatch *d, int64_t model_id);

/* To be connected to the engines' and the models' signals by daemon/wiring.c. */
void dispatch_on_instance(void *dispatch, const void *instance_change);
void dispatch_on_model(void *dispatch, const void *model_change);

/* A strategy is a pure choice among candidates (in the order of their making): the index of the one
 * to use, or -1 for none. One with in_flight >= cap has no room and is never chosen. */
struct candidate {
    const char *uuid;
    unsigned in_flight, cap;
    unsigned weight;
    uint64_t tokens;      /* outstanding */
    uint64_t response_ms; /* moving average; 0: none yet */
    uint64_t chosen;      /* how often it was chosen; one that joins begins level with the others */
};
struct choice {
    uint32_t tokens; /* of the request */
    uint64_t turn;   /* how many choices this model's line has made */
    uint64_t random; /* a random number */
};
struct strategy {
    const char *name;
    const char *help;
    int (*choose)(const struct candidate *candidates, size_t count, const struct choice *c);
};
extern const struct strategy least_outstanding_tokens; /* the default */
