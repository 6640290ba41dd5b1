// SPDX-License-Identifier: Apache-2.0
/* Names of the policy's words, and one sentence for every decision. */
#include "placement/policy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/macros.h"
#include "base/str.h"
#include "gpu/gpu.h"

static const char *const algorithm_names[POLICY_ALGORITHM_MAX_] = {
    [POLICY_PRIORITY_BASED] = "priority_based",
    [POLICY_SPREAD] = "spread",
    [POLICY_FIRST_COME] = "first_come",
};

static const char *const reason_names[POLICY_REASON_MAX_] = {
    [POLICY_FITS] = "fits",
    [POLICY_AFTER_MOVES] = "after_moves",
    [POLICY_RETURNS] = "returns",
    [POLICY_PREEMPTED] = "preempted",
    [POLICY_SWAPPED_IDLE] = "swapped_idle",
    [POLICY_SWAPPED_TURN] = "swapped_turn",
    [POLICY_OUTRANKED] = "outranked",
    [POLICY_NEVER_FITS] = "never_fits",
    [POLICY_NO_ROOM] = "no_room",
    [POLICY_NO_DEVICE] = "no_device",
    [POLICY_PREEMPTION_OFF] = "preemption_off",
    [POLICY_RATE_LIMIT] = "rate_limit",
    [POLICY_TOO_YOUNG] = "too_young",
    [POLICY_TURN_COMES] = "turn_comes",
    [POLICY_RETURNS_LATER] = "returns_later",
    [POLICY_RECOVERY_OFF] = "recovery_off",
    [POLICY_NOT_YET] = "not_yet",
    [POLICY_HELD_BACK] = "held_back",
    [POLICY_WAITS_FOR_MEMORY] = "waits_for_memory",
    [POLICY_WAITS_FOR_LOAD] = "waits_for_load",
};

const char *policy_algorithm_name(enum policy_algorithm a)
{
    return algorithm_names[a];
}

int policy_algorithm_from_string(const char *s)
{
    for (int a = 0; a < POLICY_ALGORITHM_MAX_; a++) {
        if (str_eq(s, algorithm_names[a])) {
            return a;
        }
    }
    return -EINVAL;
}

const char *policy_reason_name(enum policy_reason r)
{
    return reason_names[r];
}

/* ---- pieces of sentences ---- */

enum { WORD_SIZE = 48, NAME_SIZE = 192, PLACE_SIZE = 192 };

struct speech {
    const struct policy_snapshot *s;
    const struct policy_verdict *v;
    char need[WORD_SIZE], free[WORD_SIZE], in[WORD_SIZE]; /* "41.2 GB", "36.0 GB", " in 4 s" */
    char where[WORD_SIZE];                                /* "on one device" */
    char device[WORD_SIZE];                               /* "gpu1" */
    char other[NAME_SIZE];                                /* "'llama'" */
};

/* A GB is 1024 MB here, as in the doors and in `berth gpus`, which a reader compares it with. */
static void say_bytes(uint64_t bytes, char *out)
{
    const double mb = (double)bytes / (1 << 20);

    if (mb >= 1024) {
        snprintf(out, WORD_SIZE, "%.1f GB", mb / 1024);
    } else {
        snprintf(out, WORD_SIZE, "%.1f MB", mb);
    }
}

/* On a machine without GPUs the host is the one device. */
static bool is_host(const struct policy_snapshot *s, int index)
{
    for (size_t d = 0; d < s->device_count; d++) {
        if (s->devices[d].index == index) {
            return s->devices[d].host_pool ||
                   (s->device_count == 1 && s->devices[d].vendor == GPU_UNKNOWN);
        }
    }
    return false;
}

static void say_device(const struct policy_snapshot *s, int index, char *out)
{
    if (is_host(s, index)) {
        snprintf(out, WORD_SIZE, "the host");
    } else {
        snprintf(out, WORD_SIZE, "gpu%d", index);
    }
}

static void say_moment(const struct policy_snapshot *s, uint64_t at_ms, char *out)
{
    uint64_t left_s = at_ms > s->now_ms ? (at_ms - s->now_ms + 999) / 1000 : 0;

    if (at_ms == 0) {
        out[0] = '\0';
    } else if (left_s < 120) {
        snprintf(out, WORD_SIZE, "in %" PRIu64 " s", left_s);
    } else {
        snprintf(out, WORD_SIZE, "in %" PRIu64 " min", (left_s + 59) / 60);
    }
}

static void say_other(size_t other, const char *(*name)(void *arg, size_t instance), void *arg,
                      char *out)
{
    if (other == SIZE_MAX) {
        snprintf(out, NAME_SIZE, "another model");
    } else {
        snprintf(out, NAME_SIZE, "'%s'", name(arg, other));
    }
}

static void say_where(const struct speech *p, char *out)
{
    if (str_eq(p->device, "the host")) {
        snprintf(out, WORD_SIZE, "of the host's memory");
    } else if (p->v->device_count <= 1) {
        snprintf(out, WORD_SIZE, "on one device");
    } else {
        snprintf(out, WORD_SIZE, "on each of %u devices", p->v->device_count);
    }
}

static void say_place(const struct policy_snapshot *s, const struct place *place, char *out)
{
    size_t used = 0;

    out[0] = '\0';
    for (unsigned i = 0; i < place->count && used < PLACE_SIZE; i++) {
        char device[WORD_SIZE];

        say_device(s, place->shares[i].device, device);
        used += (size_t)snprintf(out + used, PLACE_SIZE - used, "%s%s", i > 0 ? ", " : "", device);
    }
}

/* ---- why it waits ---- */

static uint64_t total_of(const struct policy_snapshot *s, int index)
{
    for (size_t d = 0; d < s->device_count; d++) {
        if (s->devices[d].index == index) {
            return s->devices[d].total_bytes;
        }
    }
    return 0;
}

/* Where a higher threshold would do, that is said. */
static void explain_size(const struct speech *p, char *out, size_t size)
{
    uint64_t total = total_of(p->s, p->v->device);
    uint64_t kept_back = (uint64_t)((1 - p->s->rules.threshold) * (double)total);
    int n = snprintf(out, size, "needs %s %s; %s has %s for models", p->need, p->where, p->device,
                     p->free);

    if (kept_back > 0 && p->v->need_bytes <= p->v->free_bytes + kept_back && n > 0 &&
        (size_t)n < size) {
        char all[WORD_SIZE];

        say_bytes(total, all);
        snprintf(out + n, size - (size_t)n, " (resource_threshold is %.0f %% of its %s)",
                 100 * p->s->rules.threshold, all);
    }
}

static void explain_time(const struct speech *p, char *out, size_t size)
{
    switch (p->v->reason) {
    case POLICY_TOO_YOUNG:
        snprintf(out, size, "needs %s %s; %s was loaded a moment ago and may be moved %s", p->need,
                 p->where, p->other,
                 p->v->at_ms > 0 ? p->in : "when it has been ready for a while");
        break;
    case POLICY_TURN_COMES:
        snprintf(out, size, "%s is busy; its turn comes when that is idle, or %s", p->other,
                 p->v->at_ms > 0 ? p->in : "when it has waited long enough");
        break;
    case POLICY_RETURNS_LATER:
        snprintf(out, size, "was moved aside a moment ago, comes back %s at the earliest", p->in);
        break;
    default:
        snprintf(out, size, "is tried again %s", p->in);
        break;
    }
}

static void explain_moves(const struct speech *p, char *out, size_t size)
{
    switch (p->v->reason) {
    case POLICY_PREEMPTION_OFF:
        snprintf(out, size,
                 "needs %s %s; %s could give %s, and %s may not be moved: preemption is "
                 "not allowed",
                 p->need, p->where, p->device, p->free, p->other);
        break;
    case POLICY_RATE_LIMIT:
        snprintf(out, size,
                 "needs %s %s; %s would have to go, and the %u preemptions of this hour "
                 "are used up",
                 p->need, p->where, p->other, p->s->rules.max_preemptions_per_hour);
        break;
    case POLICY_WAITS_FOR_MEMORY:
        snprintf(out, size, "has its place on %s; waits until %s is free there (now %s)", p->device,
                 p->need, p->free);
        break;
    default:
        snprintf(out, size, "has its place on %s; waits until another load there has ended",
                 p->device);
        break;
    }
}

void policy_explain(const struct policy_snapshot *s, const struct policy_verdict *v,
                    const char *(*name)(void *arg, size_t instance), void *arg, char *out,
                    size_t size)
{
    struct speech p = { .s = s, .v = v };

    say_bytes(v->need_bytes, p.need);
    say_bytes(v->free_bytes, p.free);
    say_device(s, v->device, p.device);
    say_where(&p, p.where);
    say_moment(s, v->at_ms, p.in);
    say_other(v->other, name, arg, p.other);
    switch (v->reason) {
    case POLICY_NEVER_FITS:
        explain_size(&p, out, size);
        break;
    case POLICY_NO_ROOM:
        snprintf(out, size, "needs %s %s; %s could give %s", p.need, p.where, p.device, p.free);
        break;
    case POLICY_NO_DEVICE:
        snprintf(out, size, "%s",
                 s->instances[v->instance].device_count > 0
                     ? "a device that its definition names is not there, or does not answer"
                     : "there are not enough devices that it could use");
        break;
    case POLICY_RECOVERY_OFF:
        snprintf(out, size,
                 "was moved aside, and does not come back by itself: auto_recovery is off");
        break;
    case POLICY_HELD_BACK:
        snprintf(out, size, "is held back");
        break;
    case POLICY_PREEMPTION_OFF:
    case POLICY_RATE_LIMIT:
    case POLICY_WAITS_FOR_MEMORY:
    case POLICY_WAITS_FOR_LOAD:
        explain_moves(&p, out, size);
        break;
    default:
        explain_time(&p, out, size);
        break;
    }
}

/* ---- what is done ---- */

static void explain_departure(const struct policy_snapshot *s, const struct policy_action *a,
                              const char *other, char *out, size_t size)
{
    int own = s->instances[a->instance].priority;
    int others = a->other == SIZE_MAX ? 0 : s->instances[a->other].priority;

    switch (a->reason) {
    case POLICY_PREEMPTED:
        snprintf(out, size, "makes room for %s (priority %d over %d)", other, others, own);
        break;
    case POLICY_SWAPPED_IDLE:
        snprintf(out, size, "is idle and makes room for %s, which requests wait for", other);
        break;
    case POLICY_SWAPPED_TURN:
        snprintf(out, size, "it is the turn of %s, whose requests have waited long enough", other);
        break;
    case POLICY_OUTRANKED:
        snprintf(out, size, "its place goes to %s (priority %d over %d)", other, others, own);
        break;
    case POLICY_NO_DEVICE:
        snprintf(out, size, "the device of its place is gone, or does not answer");
        break;
    case POLICY_FITS:
        snprintf(out, size, "what it needs has changed, and so has its place");
        break;
    default:
        snprintf(out, size, "there is no longer room where its place was");
        break;
    }
}

void policy_explain_action(const struct policy_snapshot *s, const struct policy_action *a,
                           const char *(*name)(void *arg, size_t instance), void *arg, char *out,
                           size_t size)
{
    char other[NAME_SIZE], where[PLACE_SIZE], bytes[WORD_SIZE];

    say_other(a->other, name, arg, other);
    say_place(s, &a->place, where);
    say_bytes(place_bytes(&a->place), bytes);
    switch (a->kind) {
    case POLICY_RESERVE:
        snprintf(out, size, "%s%s on %s%s", a->reason == POLICY_RETURNS ? "comes back: " : "",
                 bytes, where, a->reason == POLICY_AFTER_MOVES ? ", once others have gone" : "");
        break;
    case POLICY_LOAD:
        snprintf(out, size, "its memory is free: it loads");
        break;
    default:
        explain_departure(s, a, other, out, size);
        break;
    }
}
