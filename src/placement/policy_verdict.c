// SPDX-License-Identifier: Apache-2.0
/*
 * Why one waits. The reason is the first thing that, were it otherwise, would let it in: devices at
 * all, their size, then the rules about moving others, one after the other. One that only time
 * keeps out keeps the devices that it will get from those that do not go before it; so whoever is
 * placed later cannot shut it out for ever.
 */
#include "placement/policy_int.h"

#include <string.h>

#include "base/macros.h"

static void wait_for(struct board *b, size_t piece, enum policy_reason reason, uint64_t at_ms)
{
    b->pieces[piece].verdict = (struct policy_verdict){
        .instance = piece,
        .reason = reason,
        .device = -1,
        .at_ms = at_ms,
        .other = SIZE_MAX,
    };
}

bool verdict_eligible(struct board *b, size_t piece)
{
    const struct policy_instance *i = &b->s->instances[piece];
    const struct policy_rules *rules = &b->s->rules;
    bool returns = i->displaced && i->waiting == 0 && !i->force;

    if (i->held_back) {
        wait_for(b, piece, POLICY_HELD_BACK, 0);
    } else if (b->s->now_ms < i->not_before_ms) {
        wait_for(b, piece, POLICY_NOT_YET, i->not_before_ms);
    } else if (returns && !rules->auto_recovery) {
        wait_for(b, piece, POLICY_RECOVERY_OFF, 0);
    } else if (returns && b->s->now_ms < i->since_ms + rules->return_after_ms) {
        wait_for(b, piece, POLICY_RETURNS_LATER, i->since_ms + rules->return_after_ms);
    } else {
        return true;
    }
    return false;
}

/* ---- the nearest place, in numbers ---- */

static unsigned usable_devices(const struct board *b, const struct policy_instance *i)
{
    unsigned most = 0;

    for (size_t v = 0; v < b->vendor_count; v++) {
        if (i->vendor < 0 || i->vendor == b->vendors[v]) {
            most = MAX_OF(most, b->usable[v]);
        }
    }
    return most;
}

struct slack {
    size_t device;
    int64_t bytes, need, free;
};

static struct slack slack_on(const struct board *b, const struct policy_instance *i, size_t device,
                             int64_t need)
{
    int64_t free = MAX_OF(board_free(b, device, i) + b->gain[device], 0);

    return (struct slack){ device, free - need, need, free };
}

/* The least of the n devices that have most. */
static struct slack nearest(const struct board *b, const struct policy_instance *i, unsigned n)
{
    const bool shared = i->need.share > 0;
    int64_t need = (int64_t)memory_need_on(&i->need, n, 0);
    struct slack best[PLACE_DEVICES_MAX];
    unsigned count = 0, at;

    for (size_t d = 0; d < b->s->device_count; d++) {
        struct slack s;

        if (!place_may_use(b, i, d)) {
            continue;
        }
        s = slack_on(b, i, d, shared ? place_need(b, i, n, d) : need);
        for (at = count; at > 0 && s.bytes > best[at - 1].bytes; at--) {
            if (at < n) {
                best[at] = best[at - 1];
            }
        }
        if (at < n) {
            best[at] = s;
            count = MIN_OF(count + 1, n);
        }
    }
    return best[count - 1];
}

static struct slack nearest_named(const struct board *b, size_t piece, const struct seat *seat)
{
    const struct policy_instance *i = &b->s->instances[piece];
    struct slack worst = slack_on(b, i, seat->holds[0].device, seat->holds[0].bytes);

    for (unsigned h = 1; h < seat->devices; h++) {
        struct slack s = slack_on(b, i, seat->holds[h].device, seat->holds[h].bytes);

        worst = s.bytes < worst.bytes ? s : worst;
    }
    return worst;
}

/* Spread over n devices, by b->gain. Its devices must be there. */
static void tell_nearest(struct board *b, size_t piece, unsigned n)
{
    const struct policy_instance *i = &b->s->instances[piece];
    struct policy_verdict *v = &b->pieces[piece].verdict;
    struct seat seat;
    struct slack s;

    if (i->device_count > 0 && place_named(b, piece, &seat)) {
        n = i->device_count;
        s = nearest_named(b, piece, &seat);
    } else {
        s = nearest(b, i, n);
    }
    if (b->host != SIZE_MAX && i->need.host_bytes > 0 && s.bytes >= 0) {
        s = slack_on(b, i, b->host, (int64_t)i->need.host_bytes);
        n = 1;
    }
    v->device = b->s->devices[s.device].index;
    v->device_count = n;
    v->need_bytes = (uint64_t)s.need;
    v->free_bytes = (uint64_t)s.free;
}

/* ---- reasons ---- */

static bool devices_are_there(const struct board *b, size_t piece)
{
    const struct policy_instance *i = &b->s->instances[piece];
    struct seat seat;

    if (i->device_count > 0) {
        return place_named(b, piece, &seat);
    }
    return usable_devices(b, i) >= MIN_OF(place_min_devices(i), (unsigned)PLACE_DEVICES_MAX);
}

/* As if nobody were there. */
static void gain_everything(struct board *b)
{
    for (size_t d = 0; d < b->s->device_count; d++) {
        b->gain[d] = b->capacity[d] - b->fits[d].free;
    }
}

/* When the newcomer may move v, if only time is in the way; 0: that is not known. */
static uint64_t movable_at(const struct board *b, size_t newcomer, size_t victim)
{
    const struct policy_instance *i = &b->s->instances[newcomer], *v = &b->s->instances[victim];
    uint64_t at = v->since_ms + b->s->rules.min_residency_ms;

    if (v->state != POLICY_READY) {
        return 0;
    }
    if (v->priority == i->priority && (v->in_flight > 0 || v->waiting > 0)) {
        at = MAX_OF(at, i->waiting_since_ms + b->s->rules.swap_wait_ms);
    }
    return at > b->s->now_ms ? at : 0;
}

/* The first moment at which more may be moved, and the largest of those that stand in the way. */
static void tell_obstacle(struct board *b, size_t piece, unsigned allowance)
{
    struct policy_verdict *verdict = &b->pieces[piece].verdict;
    uint64_t most = 0;

    for (size_t v = 0; v < b->s->instance_count; v++) {
        uint64_t at = movable_at(b, piece, v), bytes = place_bytes(&b->s->instances[v].place);

        if (!b->listed[v] || !victims_may_move(b, piece, v, allowance) ||
            victims_may_move(b, piece, v, 0)) {
            continue;
        }
        if (at > 0 && (verdict->at_ms == 0 || at < verdict->at_ms)) {
            verdict->at_ms = at;
        }
        if (bytes > most) {
            most = bytes;
            verdict->other = v;
        }
    }
}

static void tell_holder(struct board *b, size_t piece)
{
    struct policy_verdict *v = &b->pieces[piece].verdict;
    size_t device = board_device(b, v->device);
    int64_t most = 0;

    for (const struct hold *h = b->rooms[device].holds; h; h = h->next) {
        if (h->piece != piece && (h->bytes > most || (h->bytes == most && h->piece < v->other))) {
            most = h->bytes;
            v->other = h->piece;
        }
    }
}

static void bar(struct board *b, size_t piece, const struct seat *seat)
{
    for (unsigned h = 0; h < seat->devices; h++) {
        struct fit *fit = &b->fits[seat->holds[h].device];

        if (fit->barred < b->s->instances[piece].priority) {
            fit->barred = b->s->instances[piece].priority;
            b->rooms[seat->holds[h].device].barred_for = piece;
            b->has_bars = true;
        }
    }
}

/* All moves that are allowed would do, and yet it was not placed: they would be too many, or the
 * device is kept for another one. */
static void refused_in_spite(struct board *b, size_t piece)
{
    struct policy_verdict *v = &b->pieces[piece].verdict;
    struct seat seat;

    b->ignores_bars = false;
    if (place_fewest(b, piece, b->gain) > 0) {
        v->reason = POLICY_RATE_LIMIT;
        return;
    }
    v->reason = POLICY_NO_ROOM;
    b->ignores_bars = true;
    if (place_find(b, piece, b->gain, &seat)) {
        v->other = b->rooms[seat.holds[0].device].barred_for;
    }
}

static void refused_for_moves(struct board *b, size_t piece)
{
    static const struct {
        unsigned allowance;
        enum policy_reason reason;
    } steps[] = {
        { ALLOW_YOUNG, POLICY_TOO_YOUNG },
        { ALLOW_YOUNG | ALLOW_TURN, POLICY_TURN_COMES },
        { ALLOW_YOUNG | ALLOW_TURN | ALLOW_RATE, POLICY_RATE_LIMIT },
        { ALLOW_YOUNG | ALLOW_TURN | ALLOW_RATE | ALLOW_MOVES, POLICY_PREEMPTION_OFF },
    };
    struct policy_verdict *v = &b->pieces[piece].verdict;
    struct seat seat;

    v->reason = POLICY_NO_ROOM;
    if (!victims_gain(b, piece, steps[ARRAY_SIZE(steps) - 1].allowance) ||
        place_fewest(b, piece, b->gain) == 0) {
        tell_holder(b, piece);
        return;
    }
    for (size_t k = 0; k < ARRAY_SIZE(steps); k++) {
        if (victims_gain(b, piece, steps[k].allowance) && place_find(b, piece, b->gain, &seat)) {
            v->reason = steps[k].reason;
            tell_obstacle(b, piece, steps[k].allowance);
            if (v->reason == POLICY_TOO_YOUNG) {
                bar(b, piece, &seat);
            }
            return;
        }
    }
}

/* Told of the fewest devices that could hold it at all: that is what a reader thinks of. */
static void refused_by_devices(struct board *b, size_t piece)
{
    const struct policy_instance *i = &b->s->instances[piece];
    unsigned fewest;
    bool some;

    gain_everything(b);
    fewest = place_fewest(b, piece, b->gain);
    if (fewest == 0) {
        wait_for(b, piece, POLICY_NEVER_FITS, 0);
        tell_nearest(b, piece, MIN_OF(place_max_devices(i), usable_devices(b, i)));
        return;
    }
    wait_for(b, piece, POLICY_NO_ROOM, 0);
    some = victims_gain(b, piece, 0);
    tell_nearest(b, piece, fewest);
    if ((some || b->has_bars) && place_fewest(b, piece, b->gain) > 0) {
        refused_in_spite(b, piece);
    } else {
        refused_for_moves(b, piece);
    }
}

void verdict_refused(struct board *b, size_t piece)
{
    const struct policy_instance *i = &b->s->instances[piece];

    b->ignores_bars = true;
    if (devices_are_there(b, piece)) {
        refused_by_devices(b, piece);
    } else {
        wait_for(b, piece, POLICY_NO_DEVICE, 0);
        b->pieces[piece].verdict.device_count = MAX_OF(i->device_count, place_min_devices(i));
    }
    b->ignores_bars = false;
}
