// SPDX-License-Identifier: Apache-2.0
/*
 * Placement: which models are up, on which devices, and who makes room for whom.
 *
 *     residency.c   a model that somebody asks for is wanted, one that nobody has asked for during
 *                   its keep_alive is not any more
 *     policy.c      what is to be done (policy.h): pure
 *     controller.c  makes the snapshot, asks the policy, does what it says, watches that memory
 *                   really falls
 *     history.c     what was decided, stored; the rules that a person set, stored
 *
 * Every instance of a model that is run on this machine waits (INSTANCE_WAITING) until it is given
 * its place here. The order of a swap: reserve → drain → stop → the processes are gone, and the
 * devices' used memory has fallen (or placement.verify_timeout is over: then it counts as somebody
 * else's) → load. Loads on one device come one after another.
 *
 * Idle is a model with nothing in flight and nobody waiting; its time runs from the end of its last
 * request, or from the moment at which it became ready. A pinned model is never unloaded or moved.
 *
 * Without a room of devices (tests) everything is placed at once, where its definition says.
 */
#pragma once

#include <jansson.h>

#include "config/config.h"
#include "dispatch/dispatch.h"
#include "engines/engines.h"
#include "events/events.h"
#include "gpu/gpu.h"
#include "metrics/metrics.h"
#include "models/models.h"
#include "placement/policy.h"
#include "store/store.h"

struct placement;

extern const struct option_table placement_options; /* placement.unload_after, .algorithm … */
extern const struct store_schema placement_schema;

struct placement_in {
    struct world *world;
    const struct config *config;
    struct store *store;   /* NULL: nothing is kept (tests) */
    struct events *events; /* NULL with it */
    struct models *models;
    struct engines *engines; /* NULL: residency only (tests) */
    struct dispatch *dispatch;
    struct gpu *gpu; /* NULL: no devices are known */
    struct metrics *metrics;
};

struct placement *placement_create(const struct placement_in *in);
/* After the models are loaded, before the loop runs: the rules that a person has set, who was moved
 * aside when berth ended, today's counts. */
int placement_load(struct placement *p, struct error *reterr) _must_check_;
void placement_reconfigure(struct placement *p, const struct config *config);
/* berth goes down: what is wanted stays so, for the next berth; nothing is unloaded for idleness
 * any more. */
void placement_drain(struct placement *p);
/* Before dispatch, engines and models. Accepts NULL, returns NULL. */
struct placement *placement_destroy(struct placement *p);

/* ---- residency ---- */

/* A request carried keep_alive: from now on this rules for the model (KEEP_ALIVE_FOREVER, 0 or
 * milliseconds) until another request says otherwise or the model is unloaded. */
void placement_keep_alive(struct placement *p, int64_t model_id, int64_t keep_alive_ms);
/* A request asks for the model to be unloaded: so it is as soon as nothing runs, unless it is
 * pinned. Nothing, when it is not loaded. */
void placement_let_go(struct placement *p, int64_t model_id);
/* A person has started it, though requests had already: from now on it waits for its place without
 * them too. Of one that nobody wanted before, the catalogue tells. */
void placement_on_start(struct placement *p, int64_t model_id);
/* When the model will be unloaded if nobody asks for it, as wall time in ms; 0: never, or it is not
 * loaded. While it is busy: from now. */
int64_t placement_expires_wall_ms(const struct placement *p, int64_t model_id);

/* ---- the rules ---- */

/* What a person may set; the contract's names. */
struct placement_rules {
    enum policy_algorithm algorithm; /* scheduling_algorithm */
    bool preemption_enabled, auto_recovery_enabled;
    double resource_threshold; /* 0.1–1.0 */
    int priority_levels; /* 1–20: priorities beyond it are refused by the doors and count as it */
    int max_queue_size;  /* models that wait for room: beyond it a start is refused */
    int scheduling_interval_s;   /* 10–300: everything is decided anew at least so often */
    int health_check_interval_s; /* 1–3600: ready models are probed at least so often */
};
/* The rules in use: those that were set, else the options placement.*. */
const struct placement_rules *placement_rules(const struct placement *p);
/* Applies at once and is kept over restarts: from then on it goes before the options. -EINVAL with
 * the sentence; done (may be NULL) after the commit. */
int placement_set_rules(struct placement *p, const struct placement_rules *rules,
                        void (*done)(void *arg, int result, const struct error *e), void *arg,
                        struct error *reterr) _must_check_;

/* ---- asking for a place ---- */

struct placement_ask {
    int64_t model_id;
    int priority;          /* 0: as it is; else it is saved to the definition first */
    bool force;            /* place again when running; ignore threshold, residency, hysteresis */
    bool allow_preemption; /* false: free room only, else queued with the reason */
    bool dry_run;          /* only say what would happen; nothing is saved */
};
enum placement_outcome {
    PLACEMENT_PLACED, /* a place is reserved; what must go first, goes */
    PLACEMENT_QUEUED, /* it waits; the sentence says why */
    PLACEMENT_FAILED, /* it cannot be placed at all, or not be asked for; the sentence says why */
};
struct placement_answer {
    enum placement_outcome outcome;
    const char *reason; /* the sentence */
    struct place place; /* of PLACED (the first replica's) */
    const char *const
        *moved; /* public ids of the models that are, or would be, moved aside; NULL-terminated */
    int64_t history_id;   /* of the stored decision; 0: none (dry run, queued) */
    uint64_t start_in_ms; /* until it is expected to load; 0: not known */
};
/* Comes once, in a later turn, after the commit; the answer is borrowed for the call. result: 0, or
 * -ENOENT, -EALREADY (running, and no force), -EDQUOT (max_queue_size), -EINVAL (priority), -EROFS
 * … with the sentence in e (answer is NULL then). */
typedef void (*placement_done_fn)(void *arg, int result, const struct placement_answer *answer,
                                  const struct error *e);
void placement_schedule(struct placement *p, const struct placement_ask *ask,
                        placement_done_fn done, void *arg);
/* May one more model be started, by max_queue_size? -EDQUOT with the sentence. For the doors that
 * start models. */
int placement_admit(const struct placement *p, int64_t model_id, struct error *reterr) _must_check_;

/* ---- looking ---- */

/* One that waits for room, or whose place is reserved. By priority, then by time. */
struct placement_waiting {
    int64_t model_id;
    char uuid[UUID_SIZE]; /* of the instance */
    bool displaced, reserved;
    struct place place;   /* reserved */
    const char *reason;   /* policy_reason_name */
    const char *sentence; /* for people; good until the turn ends */
    uint64_t waiting_ms;
    uint64_t
        start_in_ms; /* predicted drain + measured load time of what is before it; 0: not known */
};
/* *cursor starts at 0; false at the end. */
bool placement_next_waiting(struct placement *p, size_t *cursor, struct placement_waiting *ret);

struct placement_counts {
    int64_t last_decision_wall_ms; /* 0: none yet */
    unsigned decisions_today, placed_today,
        failed_today; /* since local midnight, restarts included */
    unsigned preemptions_last_hour, preemptions_last_day;
};
struct placement_counts placement_counts(const struct placement *p);

/* What placement counts on a device: for resources and `why`. */
struct placement_room {
    uint64_t total_bytes, placeable_bytes; /* total × threshold */
    uint64_t reserved_bytes;               /* by all instances of ours */
    uint64_t held_bytes;                   /* ended, not yet seen to be free */
    uint64_t other_bytes, free_bytes;      /* free: what could be placed now */
};
bool placement_room(struct placement *p, int device, struct placement_room *ret);

/* Why the model is where it is, or is not: {model_id, status, sentence, need {…}, instances [{…}],
 * waiting …, candidates: devices with what they could give, moves: what would have to go}. Owned by
 * the caller. */
json_t *placement_why(struct placement *p, int64_t model_id);

/* ---- the history ---- */

enum placement_act {
    ACT_SCHEDULED, /* placed (history word "scheduled") */
    ACT_PREEMPTED,
    ACT_SWAPPED,   /* gave way to an equal */
    ACT_RECOVERED, /* came back after it was moved aside */
    ACT_FAILED,    /* could not be placed; or did not fit after all (out of memory) */
    ACT_MAX_,
};
const char *placement_act_name(enum placement_act a);
struct placement_entry {
    int64_t id, wall_ms, model_id;
    const char *model_name; /* public id, also of a deleted one */
    enum placement_act act;
    bool success;
    const char *reason;
    struct place place;
    int64_t duration_ms;   /* of scheduled and recovered: from the decision until ready; of a
                              preemption: until its memory was free; -1: not yet, or never */
    const char *for_model; /* public id of the one that it made room for; "" */
};
struct placement_history_filter {
    unsigned limit; /* 1–1000 */
    int64_t since_wall_ms;
    const char *model; /* public id; NULL: all; borrowed for the call, as are the next two */
    const char *act;   /* placement_act_name; "preempted" is "swapped" too; NULL: all */
    const char *text;  /* stands in the model's name or the reason, in whatever case; NULL: all */
    unsigned offset;   /* so many that match are skipped */
    bool oldest_first;
};
/* Newest first: fn gets each entry (borrowed), then NULL with how many match in all, or negative
 * errno. All calls come together in a later turn. */
void placement_history(struct placement *p, const struct placement_history_filter *filter,
                       void (*fn)(void *arg, const struct placement_entry *entry, int result),
                       void *arg);

/* ---- to be connected by daemon/wiring.c ---- */

void placement_on_demand(void *placement, const void *demand);
void placement_on_model(void *placement, const void *model_change);
void placement_on_instance(void *placement, const void *instance_change);
void placement_on_device(void *placement, const void *gpu_change);
