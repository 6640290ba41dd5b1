// SPDX-License-Identifier: Apache-2.0
/*
 * The policy of placement: given what there is (devices, instances, who waits, the rules, the time)
 * what is to be done, and why. A pure function: no I/O, no clock, nothing is kept; the same
 * snapshot gets the same plan. So it decides in production, answers `why` and dry runs, and is
 * tested with random worlds.
 *
 * Room. What an instance holds it holds from its reservation until its memory was seen to be free
 * again. For every device, at any time:
 *
 *     LOADING + READY + LEAVING + held (by ghosts) + RESERVED that has been told to load
 *         <= total × threshold − others' memory
 *
 * A waiting instance is RESERVED a place when it would fit once all that LEAVES has gone:
 *
 *     LOADING + READY + RESERVED (this one too) <= total × threshold − others' memory
 *
 * and is told to load (POLICY_LOAD) when it fits with what still leaves, and nothing else is
 * loading on any of its devices. Both hold together, so a reservation is never starved by a smaller
 * one that starts at once. A reservation is taken back when its room or its device is gone, or when
 * what the instance needs has changed; where not all of them fit any more, the more important ones
 * keep theirs. Host memory is counted on the host's pool, where there is one.
 *
 * Where. The devices that the definition names, all of them; else one, else the fewest of one
 * vendor, each with an equal part. A place where it can load at once goes before one that must
 * become free; then the one that it fills best (POLICY_SPREAD: that has most left).
 *
 * Who may make room for whom. Nobody moves a pinned one, one of higher priority, or one that leaves
 * already; and an instance for which the request forbids it (may_preempt) moves nobody.
 *   - withdrawal: a RESERVED one of lower priority goes back to the queue. It holds nothing yet, so
 *     neither `preemption` nor the limit of an hour is asked.
 *   - preemption: one of lower priority that is READY for min_residency, or still LOADS (it has
 *     served nobody, and a load of minutes must not keep a more important one waiting), within
 *     `preemption` and max_preemptions_per_hour.
 *   - swap: a READY one of equal priority and another model, resident for min_residency, gives way
 *     to one that requests wait for: when it is idle itself, or when they have waited for
 *     swap_wait_ms; then it is drained for them. So requests for models that cannot be resident
 *     together are served in batches: A B A B A B becomes A A A B B B. Two models that nobody asks
 *     for never swap. It is no preemption, and not limited as such.
 *   - force: a newcomer that is forced ignores threshold, min_residency, return_after and
 *     auto_recovery. It is bound by `preemption` and the limit of an hour, as others are.
 *   - POLICY_FIRST_COME: what is RESERVED or LOADS keeps its turn: no later one withdraws it or
 *     breaks it off, of whatever priority, unless it is forced.
 *
 * Whom: the set with the least harm, of those that make enough room, and nobody in it who could
 * stay. Harm, compared in this order: the highest class (priority) that loses anything; what every
 * class loses, from the highest down: requests (in flight and waiting) and one for each instance,
 * so an idle one goes before a busy one; the sum of use_rate × reload_s ÷ GiB freed over those that
 * are READY; fewer that are READY, so of idle ones a load goes first; reservations withdrawn, the
 * fewer and the lower the better: they weigh only where all else is equal, so a reservation goes
 * before anything that runs. All combinations of ten candidates on a place are tried; of more, the
 * least harmful go first, and who can stay after all stays.
 *
 * What was moved aside comes back by priority when there is room: return_after_ms after it went at
 * the earliest, and if auto_recovery is on; at once, and always, if requests wait for it.
 *
 * The value that a plan maximises, lexicographic by priority class from the highest down: requests
 * served (the in-flight and waiting requests of the instances that are placed, and one for each
 * instance); then the least of what moving costs: for each READY one that is moved, use_rate ×
 * reload_s ÷ GiB freed. The harm of a set of victims is what it takes from this value. Within a
 * class the value moves nobody: who runs stays, unless higher ones need the room, or by a swap. On
 * small machines the best plan is searched for; on large ones in windows of a few devices around
 * those that found no place. An instance whose turn has come (swap_wait), that is forced, or that
 * may not preempt is not put off for a greater value, and POLICY_FIRST_COME does not search.
 *
 * Starvation. No reservation is made for what cannot fit, so a large one does not block smaller
 * ones. But one that only residency or a load keeps out (POLICY_TOO_YOUNG) keeps the devices that
 * it will get from all of its priority and below: so among equals whose requests wait, each has its
 * turn after at most one round of the others, each of them swap_wait + min_residency + the time to
 * drain, free and load. Lower priorities may starve; that is what priority means.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "planner/need.h"

enum policy_algorithm {
    POLICY_PRIORITY_BASED, /* by priority, then by who has waited longest; the device that it fills
                              best */
    POLICY_SPREAD,         /* the same order; the device that has most room left */
    POLICY_FIRST_COME, /* by who has waited longest; priority only says who may be moved, once it
                          is ready */
    POLICY_ALGORITHM_MAX_,
};
const char *policy_algorithm_name(enum policy_algorithm a); /* "priority_based", "spread", … */
int policy_algorithm_from_string(const char *s);            /* -EINVAL */

struct policy_rules {
    enum policy_algorithm algorithm;
    bool preemption;           /* anything may be preempted at all (swaps are none) */
    bool auto_recovery;        /* what was moved aside comes back by itself */
    double threshold;          /* of a device's memory, how much may be placed: 0.1–1.0 */
    uint64_t min_residency_ms; /* what became ready less than this ago is not moved */
    uint64_t return_after_ms;
    uint64_t swap_wait_ms;
    unsigned max_preemptions_per_hour; /* 0: no limit */
};

struct policy_device {
    int index;      /* ascending in a snapshot */
    int vendor;     /* an instance is never spread over two vendors */
    bool host_pool; /* the host's memory on a machine with GPUs: takes host_bytes only */
    bool unusable;  /* unresponsive: nothing new goes there */
    uint64_t total_bytes;
    uint64_t other_bytes; /* held by processes that are not ours */
    uint64_t held_bytes; /* of ours that have ended, and whose memory was not seen to be free yet */
};

enum policy_state {
    POLICY_WAITING,  /* no place */
    POLICY_RESERVED, /* its place is kept; it has not begun to load */
    POLICY_LOADING,
    POLICY_READY,
    POLICY_LEAVING, /* drains or stops */
};

struct policy_instance {
    uint64_t id; /* any number that stays; ties are broken by it */
    int64_t model_id;
    enum policy_state state;
    int priority; /* higher is more important */
    bool pinned;
    bool displaced;   /* WAITING: it was moved aside */
    bool may_preempt; /* WAITING, RESERVED: it may move others */
    bool force;
    bool held_back; /* WAITING: not to be placed now (a person cancelled, an error waits): reason
                       HELD_BACK */
    struct memory_need need;
    const int *devices;    /* those that the definition names: all of them, no others; borrowed */
    unsigned device_count; /* 0: the policy chooses */
    int vendor;            /* devices of this vendor only; -1: any */
    struct place place;    /* of all but WAITING */
    unsigned in_flight,
        waiting; /* requests now (waiting: for the model, told to one of its instances) */
    uint64_t waiting_since_ms; /* of the one that has waited longest; 0: none */
    uint64_t since_ms; /* WAITING: in the queue since; READY: since; WAITING and displaced: moved
                          aside at */
    uint64_t not_before_ms; /* WAITING: not placed earlier (out of memory just now) */
    double use_rate;        /* requests a second, lately */
    double reload_s;        /* how long loading takes */
};

struct policy_snapshot {
    uint64_t now_ms;
    struct policy_rules rules;
    unsigned preemptions_last_hour;
    const struct policy_device *devices;
    size_t device_count;
    const struct policy_instance *instances;
    size_t instance_count;
};

enum policy_action_kind {
    POLICY_RESERVE,  /* WAITING → RESERVED at `place` */
    POLICY_WITHDRAW, /* RESERVED → WAITING: OUTRANKED, NO_ROOM, NO_DEVICE, or FITS: another place
                        does, since what it needs has changed */
    POLICY_LOAD,     /* RESERVED → LOADING: it fits now */
    POLICY_DISPLACE, /* drain, stop, and wait for room */
    POLICY_ACTION_MAX_,
};

enum policy_reason {
    POLICY_FITS,         /* there is room */
    POLICY_AFTER_MOVES,  /* there is, once others have gone */
    POLICY_RETURNS,      /* it was moved aside, and there is room again */
    POLICY_PREEMPTED,    /* by `other`, of higher priority */
    POLICY_SWAPPED_IDLE, /* for `other`, which requests wait for; it was idle itself */
    POLICY_SWAPPED_TURN, /* for `other`, whose requests have waited for swap_wait */
    POLICY_OUTRANKED,    /* a reservation withdrawn for `other` */
    /* Why it waits: */
    POLICY_NEVER_FITS,     /* needs more than the devices it may use have at all (need, limit) */
    POLICY_NO_ROOM,        /* would fit, but what is there may not be moved (need, free, device), or
                              the device is kept for `other`, whose turn comes */
    POLICY_NO_DEVICE,      /* the devices that it names are not there, or not usable */
    POLICY_PREEMPTION_OFF, /* room could be made, but the rules or the request forbid it */
    POLICY_RATE_LIMIT,     /* max_preemptions_per_hour is reached */
    POLICY_TOO_YOUNG,  /* what could be moved has not been there for min_residency (until at_ms), or
                          still loads, or keeps its turn (at_ms 0) */
    POLICY_TURN_COMES, /* an equal is busy: its turn comes at at_ms at the latest */
    POLICY_RETURNS_LATER, /* moved aside a moment ago (until at_ms) */
    POLICY_RECOVERY_OFF,  /* moved aside, and auto_recovery is off */
    POLICY_NOT_YET,       /* not_before_ms (at_ms) */
    POLICY_HELD_BACK,
    POLICY_WAITS_FOR_MEMORY, /* RESERVED: others still leave */
    POLICY_WAITS_FOR_LOAD,   /* RESERVED: another one loads on its device */
    POLICY_REASON_MAX_,
};
const char *policy_reason_name(enum policy_reason r); /* "no_room" … */

struct policy_action {
    enum policy_action_kind kind;
    size_t instance; /* index in the snapshot */
    size_t other;    /* index of the one that it is done for, or SIZE_MAX */
    enum policy_reason reason;
    struct place place; /* of RESERVE */
};

/* Of every instance that is WAITING or RESERVED after the plan. */
struct policy_verdict {
    size_t instance;
    enum policy_reason reason;
    int device;            /* the one that came nearest; -1 */
    unsigned device_count; /* over how many it was tried */
    uint64_t need_bytes,
        free_bytes; /* on it; free: what could be had by all moves that are allowed */
    uint64_t at_ms; /* when that can change by time alone; 0: it does not */
    size_t other;   /* what stands in the way, or SIZE_MAX */
};

struct policy_plan {
    struct policy_action *actions; /* in the order in which they are to be done */
    size_t action_count;
    struct policy_verdict *verdicts; /* by ascending instance */
    size_t verdict_count;
    uint64_t next_ms; /* when time alone changes something: decide again then; 0: never */
};

/* Never fails. The caller owns the plan: policy_plan_finish. */
void policy_decide(const struct policy_snapshot *s, struct policy_plan *ret);
void policy_plan_finish(struct policy_plan *plan);

/* One sentence for people: "needs 41.2 GB on one device; gpu1 could give 36.0 GB". Instances are
 * named by name(arg, index). */
void policy_explain(const struct policy_snapshot *s, const struct policy_verdict *v,
                    const char *(*name)(void *arg, size_t instance), void *arg, char *out,
                    size_t size);
void policy_explain_action(const struct policy_snapshot *s, const struct policy_action *a,
                           const char *(*name)(void *arg, size_t instance), void *arg, char *out,
                           size_t size);

/* The value of a state of affairs, as the header defines it, for tests and dry runs: of the
 * instances i for which placed[i]. value[c] is what class c (priority) gets. */
enum { POLICY_CLASSES = 21 };
struct policy_value {
    double served[POLICY_CLASSES];
    double reload_s; /* what moving costs: weighed as above; less is better */
};
struct policy_value policy_value_of(const struct policy_snapshot *s, const bool *placed);
