// SPDX-License-Identifier: Apache-2.0
/*
 * The pass: reservations that no longer hold are taken back; who waits is placed, one after the
 * other, in free room or in room that others must make; what that left undone is improved; whoever
 * fits now is told to load. The plan is what then differs from the snapshot.
 */
#include "placement/policy_int.h"

#include <stdlib.h>

#include "base/macros.h"
#include "base/mem.h"

/* ---- who comes first ---- */

struct rank {
    const struct policy_instance *instance;
    size_t piece;
    enum policy_algorithm algorithm;
};

static uint64_t waits_since(const struct policy_instance *i)
{
    return i->waiting > 0 && i->waiting_since_ms > 0 ? MIN_OF(i->waiting_since_ms, i->since_ms)
                                                     : i->since_ms;
}

static int compare_ranks(const void *left, const void *right)
{
    const struct rank *a = left, *b = right;
    const struct policy_instance *x = a->instance, *y = b->instance;

    if (a->algorithm != POLICY_FIRST_COME) {
        if (x->priority != y->priority) {
            return x->priority > y->priority ? -1 : 1;
        }
        if ((x->waiting > 0) != (y->waiting > 0)) {
            return x->waiting > 0 ? -1 : 1;
        }
    }
    if (waits_since(x) != waits_since(y)) {
        return waits_since(x) < waits_since(y) ? -1 : 1;
    }
    if (x->id != y->id) {
        return x->id < y->id ? -1 : 1;
    }
    return (a->piece > b->piece) - (a->piece < b->piece);
}

/* All that wait or are reserved. Owned by the caller. */
static size_t *make_order(const struct policy_snapshot *s, enum policy_algorithm algorithm,
                          size_t *ret_count)
{
    struct rank *ranks = xcalloc(s->instance_count + 1, sizeof(*ranks));
    size_t *order = xcalloc(s->instance_count + 1, sizeof(*order)), count = 0;

    for (size_t i = 0; i < s->instance_count; i++) {
        if (s->instances[i].state == POLICY_WAITING || s->instances[i].state == POLICY_RESERVED) {
            ranks[count++] = (struct rank){ &s->instances[i], i, algorithm };
        }
    }
    qsort(ranks, count, sizeof(*ranks), compare_ranks);
    for (size_t k = 0; k < count; k++) {
        order[k] = ranks[k].piece;
    }
    free(ranks);
    *ret_count = count;
    return order;
}

/* ---- reservations that stand ---- */

static bool seat_is_usable(const struct board *b, size_t piece)
{
    const struct policy_instance *i = &b->s->instances[piece];
    const struct seat *seat = &b->pieces[piece].seat;

    for (unsigned h = 0; h < seat->devices; h++) {
        if (b->s->devices[seat->holds[h].device].unusable) {
            return false;
        }
    }
    return seat->devices == i->place.count;
}

static bool is_named(const struct policy_instance *i, int device)
{
    for (unsigned n = 0; n < i->device_count; n++) {
        if (i->devices[n] == device) {
            return true;
        }
    }
    return i->device_count == 0;
}

/* Is it the place that it would be given today? Its definition, or what it is known to need, may be
 * another one by now. */
static bool seat_is_right(const struct board *b, size_t piece)
{
    const struct policy_instance *i = &b->s->instances[piece];
    const struct seat *seat = &b->pieces[piece].seat;

    if (i->device_count > 0 && i->device_count != seat->devices) {
        return false;
    }
    for (unsigned h = 0; h < seat->devices; h++) {
        const struct policy_device *d = &b->s->devices[seat->holds[h].device];

        if (!is_named(i, d->index) || (i->vendor >= 0 && d->vendor != i->vendor) ||
            seat->holds[h].bytes != place_need(b, i, seat->devices, seat->holds[h].device)) {
            return false;
        }
    }
    return seat->host_bytes == i->need.host_bytes;
}

/* Others' memory may have grown, devices may have gone: the more important ones keep theirs. */
static void check_reservations(struct board *b, const size_t *order, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        if (b->pieces[order[k]].state == POLICY_RESERVED) {
            board_set_state(b, order[k], POLICY_WAITING);
            b->pieces[order[k]].withdrawn = true;
        }
        b->pieces[order[k]].pending = true;
    }
    for (size_t k = 0; k < count; k++) {
        struct piece *p = &b->pieces[order[k]];
        bool usable = p->withdrawn && seat_is_usable(b, order[k]);
        bool right = usable && seat_is_right(b, order[k]);

        if (right && board_seat_fits(b, &b->s->instances[order[k]], &p->seat)) {
            board_set_state(b, order[k], POLICY_RESERVED);
            p->withdrawn = false;
        } else if (p->withdrawn) {
            p->withdrawn_reason = !usable  ? POLICY_NO_DEVICE
                                  : !right ? POLICY_FITS
                                           : POLICY_NO_ROOM;
        }
    }
}

/* ---- places ---- */

static void try_place(struct board *b, size_t piece)
{
    struct seat seat;

    b->pieces[piece].pending = false;
    if (!verdict_eligible(b, piece)) {
        return;
    }
    if (place_find(b, piece, NULL, &seat)) {
        board_reserve(b, piece, &seat);
    } else if (!victims_make_room(b, piece)) {
        verdict_refused(b, piece);
    }
}

/* Who loses a reservation to a more important one is tried again; that ends, since each time the
 * more important one keeps it. */
static void place_all(struct board *b, const size_t *order, size_t count)
{
    bool again = true;

    while (again) {
        again = false;
        for (size_t k = 0; k < count; k++) {
            if (b->pieces[order[k]].state == POLICY_WAITING && b->pieces[order[k]].pending) {
                try_place(b, order[k]);
                again = true;
            }
        }
    }
}

static void lift_bars(struct board *b)
{
    for (size_t d = 0; d < b->s->device_count; d++) {
        struct fit *fit = &b->fits[d];

        if (fit->barred > INT_MIN && fit->barred < INT_MAX &&
            b->pieces[b->rooms[d].barred_for].state != POLICY_WAITING) {
            fit->barred = INT_MIN;
        }
    }
}

/* Who went may have left more than was needed: perhaps for one that came before in the order. */
static void fill_gaps(struct board *b, const size_t *order, size_t count)
{
    struct seat seat;

    if (!b->has_moved) {
        return;
    }
    lift_bars(b);
    for (size_t k = 0; k < count; k++) {
        if (search_was_refused(b, order[k]) && place_find(b, order[k], NULL, &seat)) {
            board_reserve(b, order[k], &seat);
        }
    }
    b->has_moved = false;
}

/* ---- loads ---- */

static bool waits_for_load(const struct board *b, const struct seat *seat)
{
    for (unsigned h = 0; h < seat->devices; h++) {
        const struct room *room = &b->rooms[seat->holds[h].device];

        if (room->loading > 0 || room->claimed) {
            return true;
        }
    }
    return false;
}

static void tell_wait(struct board *b, size_t piece, enum policy_reason reason)
{
    const struct policy_instance *i = &b->s->instances[piece];
    const struct hold *first = &b->pieces[piece].seat.holds[0];
    struct policy_verdict *v = &b->pieces[piece].verdict;

    *v = (struct policy_verdict){ piece, reason, .device = -1, .other = SIZE_MAX };
    if (b->pieces[piece].seat.devices > 0) {
        v->device = b->s->devices[first->device].index;
        v->device_count = b->pieces[piece].seat.devices;
        v->need_bytes = (uint64_t)first->bytes;
        v->free_bytes = (uint64_t)MAX_OF(board_now(b, first->device, i), 0);
    }
}

/* One that has its memory and waits for a load only keeps its devices from loads of lesser ones. */
static void start_loads(struct board *b, const size_t *order, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        struct piece *p = &b->pieces[order[k]];

        if (p->state != POLICY_RESERVED) {
            continue;
        }
        if (!board_fits_now(b, &b->s->instances[order[k]], &p->seat)) {
            tell_wait(b, order[k], POLICY_WAITS_FOR_MEMORY);
        } else if (!waits_for_load(b, &p->seat)) {
            board_set_state(b, order[k], POLICY_LOADING);
            p->loads = true;
        } else {
            tell_wait(b, order[k], POLICY_WAITS_FOR_LOAD);
            for (unsigned h = 0; h < p->seat.devices; h++) {
                b->rooms[p->seat.holds[h].device].claimed = true;
            }
        }
    }
}

/* ---- the plan ---- */

static void add_action(struct policy_plan *plan, enum policy_action_kind kind, size_t instance,
                       size_t other, enum policy_reason reason)
{
    plan->actions[plan->action_count++] = (struct policy_action){ kind, instance, other, reason };
}

static enum policy_reason displace_reason(const struct policy_snapshot *s, size_t piece,
                                          const struct piece *p)
{
    const struct policy_instance *i = &s->instances[piece];

    if (!p->swapped) {
        return POLICY_PREEMPTED;
    }
    return i->in_flight == 0 && i->waiting == 0 ? POLICY_SWAPPED_IDLE : POLICY_SWAPPED_TURN;
}

static void tell_departures(const struct board *b, struct policy_plan *plan)
{
    for (size_t i = 0; i < b->s->instance_count; i++) {
        const struct piece *p = &b->pieces[i];

        if (p->withdrawn) {
            add_action(plan, POLICY_WITHDRAW, i, p->other, p->withdrawn_reason);
        }
    }
    for (size_t i = 0; i < b->s->instance_count; i++) {
        const struct piece *p = &b->pieces[i];

        if (p->state == POLICY_LEAVING && b->s->instances[i].state != POLICY_LEAVING) {
            add_action(plan, POLICY_DISPLACE, i, p->other, displace_reason(b->s, i, p));
        }
    }
}

static void tell_arrivals(const struct board *b, const size_t *order, size_t count,
                          struct policy_plan *plan)
{
    for (size_t k = 0; k < count; k++) {
        const struct piece *p = &b->pieces[order[k]];
        enum policy_reason fits =
            b->s->instances[order[k]].displaced ? POLICY_RETURNS : POLICY_FITS;

        if (p->fresh) {
            bool waits = !p->loads && p->verdict.reason == POLICY_WAITS_FOR_MEMORY;

            add_action(plan, POLICY_RESERVE, order[k], SIZE_MAX, waits ? POLICY_AFTER_MOVES : fits);
            board_place(b, &p->seat, &plan->actions[plan->action_count - 1].place);
        }
    }
    for (size_t k = 0; k < count; k++) {
        if (b->pieces[order[k]].loads) {
            add_action(plan, POLICY_LOAD, order[k], SIZE_MAX,
                       b->s->instances[order[k]].displaced ? POLICY_RETURNS : POLICY_FITS);
        }
    }
}

static void tell_verdicts(const struct board *b, struct policy_plan *plan)
{
    for (size_t i = 0; i < b->s->instance_count; i++) {
        const struct policy_verdict *v = &b->pieces[i].verdict;

        if (b->pieces[i].state != POLICY_WAITING && b->pieces[i].state != POLICY_RESERVED) {
            continue;
        }
        plan->verdicts[plan->verdict_count++] = *v;
        if (v->at_ms > b->s->now_ms && (plan->next_ms == 0 || v->at_ms < plan->next_ms)) {
            plan->next_ms = v->at_ms;
        }
    }
}

void policy_decide(const struct policy_snapshot *s, struct policy_plan *ret)
{
    struct board b;
    size_t count, *order = make_order(s, s->rules.algorithm, &count);
    size_t *important = make_order(s, POLICY_PRIORITY_BASED, &count);

    board_init(&b, s);
    check_reservations(&b, important, count);
    place_all(&b, order, count);
    fill_gaps(&b, order, count);
    if (s->rules.algorithm != POLICY_FIRST_COME) {
        search_improve(&b, order, count);
        fill_gaps(&b, order, count);
    }
    start_loads(&b, order, count);

    *ret = (struct policy_plan){
        .actions = xcalloc(4 * s->instance_count + 1, sizeof(*ret->actions)),
        .verdicts = xcalloc(s->instance_count + 1, sizeof(*ret->verdicts)),
    };
    tell_departures(&b, ret);
    tell_arrivals(&b, order, count, ret);
    tell_verdicts(&b, ret);
    board_finish(&b);
    free(important);
    free(order);
}

void policy_plan_finish(struct policy_plan *plan)
{
    free(plan->actions);
    free(plan->verdicts);
    *plan = (struct policy_plan){ 0 };
}
