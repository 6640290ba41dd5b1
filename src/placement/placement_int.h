// SPDX-License-Identifier: Apache-2.0
/*
 * The inside of the room: what its files share. Who does what:
 *
 *     placement.c   options, life, and who is told of what
 *     residency.c   which models are wanted: demand, idleness, keep_alive
 *     rules.c       what a person may set: checked, stored
 *     history.c     what was decided: the table, today's counts
 *     seats.c       what the controller knows of each instance, and what has ended and still holds
 *                   memory
 *     room.c        what lies on each device that is not ours
 *     snapshot.c    all of it as the policy wants it
 *     controller.c  asks the policy, does what it says
 *     schedule.c    a person asks for a place
 *     why.c         looking: who waits, until when, and why
 */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "base/world.h"
#include "placement/placement.h"

/* ---- residency ---- */

/* What is known of a model that is loaded, about to be, or was asked to be. By ascending id. */
struct stay {
    int64_t model_id;
    uint64_t ready_ms;     /* world_now_ms at which an instance became ready; 0: none has */
    bool asked;            /* a request carried keep_alive */
    bool asked_anew;       /* since it was last said that nobody wants it */
    int64_t keep_alive_ms; /* then: that */
    bool unloading;        /* that nobody wants it is with the catalogue */
    bool demanded;         /* somebody waits for it, and it is not wanted yet */
    bool by_demand;        /* only requests have loaded it, no person */
    /* What a person asked for with its place; until it has one. */
    bool no_preempt, force;
    bool aside;  /* was moved aside by an earlier berth, and has not come back since */
    bool called; /* comes back though it was moved aside and auto_recovery is off */
};
struct stay *stay_find(const struct placement *p, int64_t model_id);
struct stay *stay_make(struct placement *p, int64_t model_id);
void residency_on_demand(struct placement *p, const struct demand *d);
void residency_on_model(struct placement *p, const struct model_change *c);
void residency_on_instance(struct placement *p, const struct instance_change *c);
void residency_on_review(void *placement);
void residency_review_soon(struct placement *p);
/* Nobody wants it any more: so it is told to the catalogue, once. */
void residency_unload(struct placement *p, struct stay *s);

/* ---- seats ---- */

/* An instance as the controller knows it. */
struct seat {
    struct list node;
    uint64_t number; /* for the policy */
    char uuid[UUID_SIZE];
    int64_t model_id;
    char *model_name;                      /* public id, also after the model is gone */
    enum instance_state state;             /* as it was told last */
    struct place place;                    /* reserved, or held */
    struct place taken;                    /* what it was measured to take, while it is up */
    uint64_t used_then[PLACE_DEVICES_MAX]; /* STOPPING: of each share's device, when it was told to
                                              end; 0: it was not */
    bool reserved;                         /* the place is kept; it was not told to load yet */
    bool swapped;                          /* moved aside for an equal */
    unsigned out_of_memory;                /* starts in a row, as told last */
    uint64_t not_before_ms;                /* after them */
    uint64_t leave_by_ms; /* DRAINING for another: world_now_ms of the end of its grace */
    /* The verdict of the last pass; of one that waits or is reserved. */
    enum policy_reason reason;
    uint64_t at_ms;
    char sentence[480];
    bool refused; /* the failed allocation of this wait was recorded */
    /* Rows of the history that are not closed; 0: none. */
    int64_t placed_id, left_id;
    uint64_t placed_ms, left_ms;
};

/* What has ended, and whose memory was not seen to be free yet. */
struct ghost {
    struct list node;
    char *model_name;
    struct place held;
    uint64_t before[PLACE_DEVICES_MAX]; /* used bytes of each share's device while it lived */
    uint64_t fall[PLACE_DEVICES_MAX];   /* how much that must fall; 0: not known */
    unsigned loads[PLACE_DEVICES_MAX];  /* room.loads then; another: something hides the fall */
    uint64_t since_ms, left_ms;
    int64_t left_id;
};

struct seat *seat_find(const struct placement *p, const char *uuid);
/* Makes it when it is new. */
struct seat *seat_of(struct placement *p, const struct instance *inst);
/* It was moved aside, and no person has called it back. */
bool is_aside(const struct placement *p, const struct instance *inst);
/* Does it hold memory of a device, or is about to? */
bool seat_is_up(const struct seat *s);
/* Is wanted, and has no engine: it stands in the queue. */
bool seat_waits(const struct seat *s);
/* Its reservation is over, and came to nothing. */
void seat_release(struct placement *p, struct seat *s, const char *why);
void seats_hear_instance(struct placement *p, const struct instance_change *c);
/* A reading has come: the most that was used while something ends there is remembered. */
void seats_note_used(struct placement *p);
/* What has ended gave this back: what was used before counts without it, here and for other ghosts.
 */
void seats_note_free(struct placement *p, const struct place_share *share);
void seats_sweep(struct placement *p); /* frees those whose instances are gone */
void seats_finish(struct placement *p);
struct ghost *ghost_free(struct ghost *g);

/* ---- room ---- */

/* Of one device, by its index. */
struct room {
    bool known;             /* other_bytes was found out once */
    uint64_t other_bytes;   /* somebody else's, as told by the last reading at rest */
    uint64_t decided_bytes; /* the same at the last pass */
    uint64_t used_bytes;    /* of the last good reading */
    unsigned stale;         /* readings that are to be awaited, since what lies there has changed */
    unsigned loads;         /* how often something began to load there */
    unsigned seen_loads;    /* of them: before the last good reading */
    /* Of the last count: */
    uint64_t taken_bytes, held_bytes, reserved_bytes;
    uint64_t loading_bytes; /* of the taken: of those that load, and may show in no reading yet */
    uint64_t ending_bytes;  /* of the taken: of those whose processes end or have ended */
    bool moving;            /* something loads or leaves there */
};
struct room *room_of(struct placement *p, int device); /* makes it; void after the next call */
/* What lies on these devices changes: readings from before are not believed. */
void room_changed(struct placement *p, const struct place *place);
/* The devices were read since something began or ended there: only then anything is loaded. */
bool room_is_fresh(struct placement *p, const struct place *place);
/* Counts what is ours, then what is not, by the readings that are there. Lets go of ghosts whose
 * memory is free. When something has changed by more than a hundredth, everything is decided anew.
 */
void rooms_refresh(struct placement *p);
void room_on_device(struct placement *p, const struct gpu_change *c);
void room_on_look(void *placement);

/* ---- snapshot ---- */

enum { HOST_POOL = 1 << 20 }; /* the index of the host's memory beside GPUs */

struct snapshot {
    struct policy_snapshot s;
    struct policy_device *devices;
    struct policy_instance *instances;
    struct seat **seats; /* of each instance; NULL: one that is only supposed */
    int **named;         /* the devices that each one's definition names; NULL */
    const char *supposed_name;
};
/* All is good for this turn only. */
void snapshot_make(struct placement *p, struct snapshot *ret);
/* One more, that waits; returns its index. */
size_t snapshot_suppose(struct placement *p, struct snapshot *snap, const struct model *model,
                        const struct memory_need *need);
void snapshot_finish(struct snapshot *snap);
const char *snapshot_name(void *snapshot, size_t instance);

/* ---- controller ---- */

void decide_soon(struct placement *p);
void controller_on_decide(void *placement);
void controller_on_poll(void *placement);
/* Everything is known that must be: the rows, the engines that run, the devices. */
bool controller_is_ready(const struct placement *p);

/* ---- history ---- */

/* Numbers the entry, stores it with the event (stolen, may be NULL). done may be NULL. */
typedef void (*history_done_fn)(void *arg, int result, const struct error *e);
int64_t history_note(struct placement *p, const struct placement_entry *entry, struct event *event,
                     history_done_fn done, void *arg);
/* How it went on. reason and event may be NULL; with a reason it is a failure. */
void history_end(struct placement *p, int64_t id, int64_t duration_ms, const char *reason,
                 struct event *event);
/* Runs only when all that was stored before is; for commit before answer. */
void history_after(struct placement *p, history_done_fn done, void *arg);
int history_load(struct placement *p, struct error *reterr) _must_check_;
unsigned history_preemptions_since(const struct placement *p, int64_t wall_ms);
void history_detach(struct placement *p);
void history_finish(struct placement *p);
json_t *place_to_json(const struct place *place);

/* ---- rules ---- */

int rules_load(struct placement *p, struct error *reterr) _must_check_;
void rules_reconfigure(struct placement *p, const struct config *config);
void rules_detach(struct placement *p);
extern const char placement_rules_table[], placements_table[];

/* ---- schedule ---- */

struct wish;
/* After a pass: who asked gets an answer. plan's actions with their snapshot. */
void wishes_on_plan(struct placement *p, struct snapshot *snap, const struct policy_plan *plan);
void wishes_detach(struct placement *p);

/* ---- why ---- */

/* Until it is expected to load; 0: not known. */
uint64_t seat_start_in_ms(struct placement *p, const struct seat *s);

enum { METRIC_DECISIONS, METRIC_WAITING, METRIC_RESERVED, METRIC_HELD, METRIC_PASS, METRIC_MAX_ };
extern const struct metric placement_metrics[];

enum { PREEMPTIONS_KEPT = 10000 };

struct placement {
    struct world *world;
    struct store *store;
    struct events *events;
    struct models *models;
    struct engines *engines;
    struct dispatch *dispatch;
    struct gpu *gpu;
    struct metrics *metrics;
    bool loaded;
    bool draining; /* berth goes down */

    /* residency */
    uint64_t unload_after_ms;
    struct stay *stays;
    size_t stay_count, stay_cap;
    struct timer review;

    /* rules */
    struct placement_rules rules, configured;
    bool rules_set; /* by a person: they go before the options */
    uint64_t min_residency_ms, return_after_ms, swap_wait_ms, grace_ms, verify_timeout_ms;
    unsigned max_preemptions_per_hour;
    struct list rule_ops;

    /* controller */
    struct list seats, ghosts;
    struct list gone;   /* seats that are freed after the pass */
    struct map by_uuid; /* of the seats */
    uint64_t next_number;
    struct room *rooms;
    size_t room_count;
    struct timer decide, look, poll;
    uint64_t asked_ms;    /* for a reading, last */
    uint64_t poll_digest; /* who is asked for, at the last look */

    /* history */
    struct list records, queries; /* with the store */
    int64_t next_id;
    int64_t day_wall_ms, last_wall_ms; /* local midnight; the last decision */
    unsigned placed_today, failed_today;
    int64_t *preemptions; /* wall times of the last day, ascending */
    size_t preemption_count;

    struct list wishes;
};
