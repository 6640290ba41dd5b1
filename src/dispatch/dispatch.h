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
    /* Asking again: uuid of the instance that failed this request just now; NULL at first. It goes
     * to another instance at once, or to the front of the line, however long that is. The one that
     * failed it is not used for it for exclude_ms, unless it has begun a new life: the end of a
     * connection is seen before the end of the process that it tells of. */
    const char *exclude;
    uint64_t exclude_ms;
    bool unreachable; /* it could not even be connected to: it is used for nobody meanwhile */
    /* The instance to use; hold the uuid. Comes in a later turn only. */
    void (*on_grant)(void *owner, const struct instance *instance);
    /* -ETIME waited too long, -ESRCH the model cannot run (stopped, failed: with the reason),
     * -ENOENT it was deleted. The ticket is void. */
    void (*on_refuse)(void *owner, const struct error *e);
    void *owner;
};

/* Returns 1 when granted at once (*ret_instance set, on_grant does not come), 0 when it waits, or
 * negative errno with the reason: -ENOENT, -ESRCH (model stopped or failed), -EAGAIN (line full).
 * The ticket is the caller's until dispatch_release, or a refusal. */
int dispatch_acquire(struct dispatch *d, const struct dispatch_ask *ask, struct ticket **ret,
                     const struct instance **ret_instance, struct error *reterr) _must_check_;
/* Ends the ticket in whatever state: waiting (leaves the line) or granted (the instance is free for
 * the next one). */
void dispatch_release(struct ticket *t);
/* A token came: the work left shrinks. */
void dispatch_progress(struct ticket *t, uint32_t tokens);
/* Place in the line from 1; 0 when granted. */
unsigned dispatch_position(const struct ticket *t);

struct dispatch_load {
    unsigned in_flight, waiting;
    uint64_t tokens;
};
/* How long a request that came now would wait before it is dispatched, by the measured time of
 * service and the line that stands. */
uint64_t dispatch_expected_wait_ms(const struct dispatch *d, int64_t model_id);
/* A Retry-After in whole seconds for a refused request: the expected wait, floor 1 s, ceiling 300
 * s, jittered so that clients do not come back together. */
unsigned dispatch_retry_after_s(const struct dispatch *d, int64_t model_id);

struct dispatch_load dispatch_instance_load(const struct dispatch *d, const char *uuid);
struct dispatch_load dispatch_model_load(const struct dispatch *d, int64_t model_id);

/* To be connected to the engines' and the models' signals by daemon/wiring.c. */
void dispatch_on_instance(void *dispatch, const void *instance_change);
void dispatch_on_model(void *dispatch, const void *model_change);

/* A strategy is a pure choice among candidates: the index of the one to use, or -1 for none. */
struct candidate {
    const char *uuid;
    unsigned in_flight, cap;
    uint64_t tokens; /* outstanding */
};
struct strategy {
    const char *name;
    const char *help;
    int (*choose)(const struct candidate *candidates, size_t count, uint32_t tokens);
};
extern const struct strategy least_outstanding_tokens;
