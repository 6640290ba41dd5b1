// SPDX-License-Identifier: Apache-2.0
/*
 * Choice of those that must go for a newcomer. Harm is what the value loses: the highest class
 * first, in it the requests and the instances, then what loading again costs; reservations that are
 * withdrawn weigh only where all that is equal. Few candidates are tried in all combinations; of
 * many, the least harmful go first, and whoever can stay after all stays.
 */
#include "placement/policy_int.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

enum {
    EXACT_MAX = 10, /* candidates of one place that are tried in all combinations */
    WIDER_MAX = 2,  /* devices more than the fewest, where that does less harm */
};

struct harm {
    int top; /* the highest class that loses anything; -1: none */
    double lost[POLICY_CLASSES];
    double cost;
    unsigned ready;        /* those among them that do not load any more */
    unsigned reservations; /* priorities of those that are withdrawn, and one for each */
    unsigned preemptions;
};

/* What one choice is about: bytes that are missing, by hold of the seat. */
struct quest {
    struct board *board;
    const struct victim *victims;
    size_t count;
    unsigned holds;
    size_t best_count, trial_count; /* in board->chosen, board->trial */
    bool found;
    struct harm best;
};

static const struct harm no_harm = { .top = -1 };

static int compare_harm(const struct harm *a, const struct harm *b)
{
    if (a->top != b->top) {
        return a->top < b->top ? -1 : 1;
    }
    for (int c = a->top; c >= 0; c--) {
        if (a->lost[c] != b->lost[c]) {
            return a->lost[c] < b->lost[c] ? -1 : 1;
        }
    }
    if (a->cost != b->cost) {
        return a->cost < b->cost ? -1 : 1;
    }
    if (a->ready != b->ready) {
        return a->ready < b->ready ? -1 : 1;
    }
    return (a->reservations > b->reservations) - (a->reservations < b->reservations);
}

static void add_harm(struct harm *h, const struct victim *v)
{
    if (v->is_reserved) {
        h->reservations += 1 + (unsigned)v->class;
        return;
    }
    h->top = MAX_OF(h->top, v->class);
    h->lost[v->class] += v->served;
    h->cost += v->cost;
    h->ready += v->is_ready;
    h->preemptions += v->is_preempted;
}

/* ---- who may be moved ---- */

static bool is_old_enough(const struct policy_snapshot *s, const struct policy_instance *v)
{
    return s->now_ms >= v->since_ms + s->rules.min_residency_ms;
}

/* What has served nobody yet has no residency; but the first to come keeps his turn. */
static bool keeps_turn(const struct board *b, const struct policy_instance *i)
{
    return b->s->rules.algorithm == POLICY_FIRST_COME && !i->force;
}

/* One of lower priority that is RESERVED. Where the first come keeps his turn, one that was placed
 * in this pass has others that leave for it: it is left alone until the next. */
static bool may_withdraw(const struct board *b, const struct policy_instance *i, size_t victim,
                         unsigned allowance)
{
    bool first_come = b->s->rules.algorithm == POLICY_FIRST_COME;
    bool is_due = !keeps_turn(b, i) && !(first_come && b->pieces[victim].fresh);

    return (i->may_preempt || (allowance & ALLOW_MOVES)) && (is_due || (allowance & ALLOW_YOUNG));
}

/* One of lower priority that loads or is ready. */
static bool may_preempt(const struct board *b, const struct policy_instance *i,
                        const struct policy_instance *v, unsigned allowance)
{
    bool allowed = (b->s->rules.preemption && i->may_preempt) || (allowance & ALLOW_MOVES);
    bool in_time = b->preemptions < b->preemptions_left || (allowance & ALLOW_RATE);
    bool is_due =
        v->state == POLICY_LOADING ? !keeps_turn(b, i) : i->force || is_old_enough(b->s, v);

    return allowed && in_time && (is_due || (allowance & ALLOW_YOUNG));
}

/* One of the same priority. */
static bool may_swap(const struct policy_snapshot *s, const struct policy_instance *i,
                     const struct policy_instance *v, unsigned allowance)
{
    bool idle = v->in_flight == 0 && v->waiting == 0;
    bool its_turn = s->now_ms >= i->waiting_since_ms + s->rules.swap_wait_ms;
    bool is_due = v->state == POLICY_READY && is_old_enough(s, v);

    return i->waiting > 0 && i->model_id != v->model_id &&
           (i->may_preempt || (allowance & ALLOW_MOVES)) &&
           (idle || its_turn || (allowance & ALLOW_TURN)) && (is_due || (allowance & ALLOW_YOUNG));
}

bool victims_may_move(const struct board *b, size_t newcomer, size_t victim, unsigned allowance)
{
    const struct policy_instance *i = &b->s->instances[newcomer], *v = &b->s->instances[victim];
    enum policy_state state = b->pieces[victim].state;

    if (!b->listed[victim] || v->pinned || v->priority > i->priority || victim == newcomer) {
        return false;
    }
    if (state == POLICY_RESERVED && v->priority < i->priority) {
        return may_withdraw(b, i, victim, allowance);
    }
    return v->priority < i->priority ? may_preempt(b, i, v, allowance)
                                     : may_swap(b->s, i, v, allowance);
}

bool victims_gain(struct board *b, size_t newcomer, unsigned allowance)
{
    bool some = false;

    memset(b->gain, 0, b->s->device_count * sizeof(*b->gain));
    for (size_t v = 0; v < b->s->instance_count; v++) {
        const struct piece *p = &b->pieces[v];

        if (!b->listed[v] || !victims_may_move(b, newcomer, v, allowance)) {
            continue;
        }
        for (unsigned h = 0; h < p->seat.count; h++) {
            b->gain[p->seat.holds[h].device] += p->seat.holds[h].bytes;
            some = true;
        }
    }
    return some;
}

/* ---- the set ---- */

static int compare_victims(const void *left, const void *right)
{
    const struct victim *a = left, *b = right;

    if (a->is_reserved != b->is_reserved) {
        return a->is_reserved ? -1 : 1;
    }
    if (a->class != b->class) {
        return a->class < b->class ? -1 : 1;
    }
    if (a->served != b->served) {
        return a->served < b->served ? -1 : 1;
    }
    if (a->cost != b->cost) {
        return a->cost < b->cost ? -1 : 1;
    }
    if (a->is_ready != b->is_ready) {
        return a->is_ready ? 1 : -1;
    }
    return (a->piece > b->piece) - (a->piece < b->piece);
}

static void fill_victim(const struct board *b, size_t newcomer, size_t piece,
                        const struct seat *seat, struct victim *ret)
{
    const struct piece *p = &b->pieces[piece];

    ret->piece = piece;
    ret->class = p->class;
    ret->served = p->served;
    ret->cost = p->cost;
    ret->is_reserved = p->state == POLICY_RESERVED;
    ret->is_ready = p->state == POLICY_READY;
    ret->is_preempted =
        !ret->is_reserved && b->s->instances[piece].priority < b->s->instances[newcomer].priority;
    for (unsigned h = 0; h < seat->count; h++) {
        ret->bytes[h] = board_bytes_on(p, seat->holds[h].device);
    }
}

static bool is_listed(const struct board *b, size_t count, size_t piece)
{
    for (size_t k = 0; k < count; k++) {
        if (b->victims[k].piece == piece) {
            return true;
        }
    }
    return false;
}

/* Those that would free something of what is missing. */
static size_t collect(struct board *b, size_t newcomer, const struct seat *seat,
                      const int64_t *missing)
{
    size_t count = 0;

    for (unsigned h = 0; h < seat->count; h++) {
        if (missing[h] <= 0) {
            continue;
        }
        for (const struct hold *hold = b->rooms[seat->holds[h].device].holds; hold;
             hold = hold->next) {
            if (hold->bytes > 0 && victims_may_move(b, newcomer, hold->piece, 0) &&
                (seat->count == 1 || !is_listed(b, count, hold->piece))) {
                fill_victim(b, newcomer, hold->piece, seat, &b->victims[count++]);
            }
        }
    }
    if (count > 1) {
        qsort(b->victims, count, sizeof(*b->victims), compare_victims);
    }
    return count;
}

static bool is_enough(const int64_t *missing, unsigned holds)
{
    for (unsigned h = 0; h < holds; h++) {
        if (missing[h] > 0) {
            return false;
        }
    }
    return true;
}

static void take(int64_t *missing, const struct victim *v, unsigned holds, int sign)
{
    for (unsigned h = 0; h < holds; h++) {
        missing[h] -= sign * v->bytes[h];
    }
}

static void keep_trial(struct quest *q, const struct harm *harm)
{
    q->found = true;
    q->best = *harm;
    q->best_count = q->trial_count;
    memcpy(q->board->chosen, q->board->trial, q->trial_count * sizeof(*q->board->trial));
}

/* All combinations of what stands at `next` and after it, none that cannot become the best. */
static void try_all(struct quest *q, size_t next, int64_t *missing, const struct harm *harm)
{
    struct harm with;

    if (harm->preemptions > q->board->preemptions_left - q->board->preemptions ||
        compare_harm(harm, &q->best) >= 0) {
        return;
    }
    if (is_enough(missing, q->holds)) {
        keep_trial(q, harm);
        return;
    }
    if (next == q->count) {
        return;
    }
    with = *harm;
    add_harm(&with, &q->victims[next]);
    q->board->trial[q->trial_count++] = next;
    take(missing, &q->victims[next], q->holds, 1);
    try_all(q, next + 1, missing, &with);
    take(missing, &q->victims[next], q->holds, -1);
    q->trial_count--;
    try_all(q, next + 1, missing, harm);
}

/* The least harmful first, then back: whoever can stay stays. */
static void try_in_order(struct quest *q, int64_t *missing)
{
    struct harm harm = no_harm;
    size_t used = 0;

    while (used < q->count && !is_enough(missing, q->holds)) {
        take(missing, &q->victims[used++], q->holds, 1);
    }
    if (!is_enough(missing, q->holds)) {
        return;
    }
    q->trial_count = 0;
    for (size_t k = used; k-- > 0;) {
        take(missing, &q->victims[k], q->holds, -1);
        if (!is_enough(missing, q->holds)) {
            take(missing, &q->victims[k], q->holds, 1);
            add_harm(&harm, &q->victims[k]);
            q->board->trial[q->trial_count++] = k;
        }
    }
    if (harm.preemptions <= q->board->preemptions_left - q->board->preemptions &&
        compare_harm(&harm, &q->best) < 0) {
        keep_trial(q, &harm);
    }
}

/* A look before all combinations: are even those of the lowest classes too important? */
static bool is_worse(const struct quest *q, const int64_t *missing)
{
    int64_t left = missing[0];
    int top = -1;

    for (size_t k = 0; k < q->count && left > 0; k++) {
        left -= q->victims[k].bytes[0];
        top = q->victims[k].is_reserved ? top : q->victims[k].class;
    }
    return left > 0 || top > q->best.top;
}

/* Who must go for the seat, with less harm than *bound; the set is in b->chosen (of b->victims).
 * SIZE_MAX: there is none. */
static size_t choose(struct board *b, size_t newcomer, const struct seat *seat, struct harm *bound)
{
    const struct policy_instance *i = &b->s->instances[newcomer];
    struct quest q = { .board = b, .victims = b->victims, .holds = seat->count, .best = *bound };
    int64_t missing[HOLDS_MAX] = { 0 };

    for (unsigned h = 0; h < seat->count; h++) {
        missing[h] = seat->holds[h].bytes == 0
                         ? 0
                         : seat->holds[h].bytes - board_free(b, seat->holds[h].device, i);
    }
    q.count = collect(b, newcomer, seat, missing);
    if (is_worse(&q, missing)) {
        return SIZE_MAX;
    }
    if (q.count <= EXACT_MAX) {
        try_all(&q, 0, missing, &no_harm);
    } else {
        try_in_order(&q, missing);
    }
    if (!q.found) {
        return SIZE_MAX;
    }
    *bound = q.best;
    return q.best_count;
}

/* ---- the place ---- */

static const struct harm worst_harm = { .top = INT_MAX };

static void one_device(struct board *b, size_t newcomer, size_t device, struct seat *ret)
{
    const struct policy_instance *i = &b->s->instances[newcomer];

    *ret = (struct seat){ 0 };
    place_add(ret, newcomer, device, place_need(b, i, 1, device));
    place_add_host(b, i, ret);
}

static bool has_with_gain(const struct board *b, size_t newcomer, unsigned n, size_t device)
{
    const struct policy_instance *i = &b->s->instances[newcomer];

    return place_may_use(b, i, device) &&
           board_has(b, device, i, place_need(b, i, n, device), b->gain);
}

static void best_single(struct board *b, size_t newcomer, struct seat *best, struct harm *harm)
{
    struct seat seat;

    for (size_t d = 0; d < b->s->device_count; d++) {
        if ((b->rooms[d].holds || b->s->instances[newcomer].need.host_bytes > 0) &&
            has_with_gain(b, newcomer, 1, d)) {
            one_device(b, newcomer, d, &seat);
            if (choose(b, newcomer, &seat, harm) != SIZE_MAX) {
                *best = seat;
            }
        }
    }
}

struct spot {
    size_t device;
    struct harm harm;
};

/* The n devices of the vendor on which room is made with the least harm. */
static unsigned best_spots(struct board *b, size_t newcomer, int vendor, unsigned n,
                           struct spot *best)
{
    const struct policy_instance *i = &b->s->instances[newcomer];
    unsigned count = 0;

    for (size_t d = 0; d < b->s->device_count; d++) {
        struct spot s;
        struct seat seat;
        unsigned at;

        if (b->fits[d].vendor != vendor || !has_with_gain(b, newcomer, n, d)) {
            continue;
        }
        s.device = d;
        seat.count = 0;
        s.harm = count == n ? best[n - 1].harm : worst_harm;
        place_add(&seat, newcomer, d, place_need(b, i, n, d));
        if (choose(b, newcomer, &seat, &s.harm) == SIZE_MAX) {
            continue;
        }
        for (at = count; at > 0 && compare_harm(&s.harm, &best[at - 1].harm) < 0; at--) {
            if (at < n) {
                best[at] = best[at - 1];
            }
        }
        if (at < n) {
            best[at] = s;
            count = MIN_OF(count + 1, n);
        }
    }
    return count;
}

static void best_spread(struct board *b, size_t newcomer, unsigned n, struct seat *best,
                        struct harm *harm)
{
    const struct policy_instance *i = &b->s->instances[newcomer];
    struct spot spots[PLACE_DEVICES_MAX];
    struct seat seat;

    for (size_t v = 0; v < b->vendor_count; v++) {
        if ((i->vendor >= 0 && i->vendor != b->vendors[v]) ||
            best_spots(b, newcomer, b->vendors[v], n, spots) < n) {
            continue;
        }
        seat = (struct seat){ 0 };
        for (unsigned k = 0; k < n; k++) {
            place_add(&seat, newcomer, spots[k].device, place_need(b, i, n, spots[k].device));
        }
        place_add_host(b, i, &seat);
        if (choose(b, newcomer, &seat, harm) != SIZE_MAX) {
            *best = seat;
        }
    }
}

static void best_place(struct board *b, size_t newcomer, struct seat *best, struct harm *harm)
{
    const struct policy_instance *i = &b->s->instances[newcomer];
    struct seat seat;
    unsigned fewest;

    if (i->device_count > 0) {
        if (place_named(b, newcomer, &seat) && choose(b, newcomer, &seat, harm) != SIZE_MAX) {
            *best = seat;
        }
        return;
    }
    fewest = place_fewest(b, newcomer, b->gain);
    if (fewest == 0) {
        return;
    }
    for (unsigned n = fewest; n <= MIN_OF(place_max_devices(i), fewest + WIDER_MAX); n++) {
        if (n == 1) {
            best_single(b, newcomer, best, harm);
        } else {
            best_spread(b, newcomer, n, best, harm);
        }
    }
}

static void send_away(struct board *b, size_t newcomer, const struct victim *v)
{
    struct piece *p = &b->pieces[v->piece];

    p->other = newcomer;
    b->has_moved = true;
    if (v->is_reserved) {
        p->withdrawn |= !p->fresh;
        p->withdrawn_reason = POLICY_OUTRANKED;
        p->fresh = false;
        p->pending = true;
        board_set_state(b, v->piece, POLICY_WAITING);
        return;
    }
    b->preemptions += v->is_preempted;
    p->swapped = !v->is_preempted;
    b->pieces[newcomer].swapped |= p->swapped;
    b->gone[b->gone_count++] = v->piece;
    board_set_state(b, v->piece, POLICY_LEAVING);
}

/* The most important one of those that have gone and would fit again, the one that comes first of
 * equals; gone_count: none would. */
static size_t who_could_stay(const struct board *b)
{
    const struct policy_instance *all = b->s->instances;
    size_t best = b->gone_count;

    for (size_t k = 0; k < b->gone_count; k++) {
        size_t i = b->gone[k], other = best < b->gone_count ? b->gone[best] : SIZE_MAX;

        if ((other == SIZE_MAX || all[i].priority > all[other].priority ||
             (all[i].priority == all[other].priority && i < other)) &&
            board_seat_fits(b, &all[i], &b->pieces[i].seat)) {
            best = k;
        }
    }
    return best;
}

/* A later choice may have freed more than an earlier one needed: who can stay after all stays. */
static void let_stay(struct board *b)
{
    for (size_t k = who_could_stay(b); k < b->gone_count; k = who_could_stay(b)) {
        size_t i = b->gone[k];
        struct piece *p = &b->pieces[i];

        b->preemptions -= !p->swapped;
        p->other = SIZE_MAX;
        p->swapped = false;
        board_set_state(b, i, b->s->instances[i].state);
        b->gone[k] = b->gone[--b->gone_count];
    }
}

bool victims_make_room(struct board *b, size_t newcomer)
{
    struct harm harm = worst_harm, bound = worst_harm;
    struct seat seat = { 0 };
    size_t count;

    if (!victims_gain(b, newcomer, 0)) {
        return false;
    }
    best_place(b, newcomer, &seat, &harm);
    if (seat.count == 0) {
        return false;
    }
    count = choose(b, newcomer, &seat, &bound);
    for (size_t k = 0; k < count; k++) {
        send_away(b, newcomer, &b->victims[b->chosen[k]]);
    }
    board_reserve(b, newcomer, &seat);
    let_stay(b);
    return true;
}
