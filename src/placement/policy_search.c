// SPDX-License-Identifier: Apache-2.0
/*
 * Placing one after the other can be short-sighted: the place that is best for one may be the only
 * one for the next. So where somebody found no place, a window of a few devices is looked at as a
 * whole: those that were just placed there, those that were not, and those that may be moved for
 * them are set anew in all combinations, as far as a budget of steps goes. What comes out is taken
 * only if its value is greater. A small machine is one window.
 *
 * Within a class, who runs stays unless newcomers of higher classes take his room: combinations in
 * which he would still fit, but is gone, do not count.
 */
#include "placement/policy_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

enum {
    DEVICES_MAX = 6, /* of a window; the host's pool comes beside them */
    ITEMS_MAX = 16,
    WINDOWS_MAX = 8,
    STEPS_WHOLE = 40000,
    STEPS_WINDOW = 500,
    GONE = -1,
};

struct item {
    size_t piece;
    int class;
    double served, cost;
    bool runs;     /* LOADING or READY before the pass */
    bool must;     /* its turn has come: it is not put off */
    unsigned mask; /* runs: the devices of the window on which it is */
    int64_t bytes[DEVICES_MAX + 1];
};

/* What a combination leaves out. */
struct loss {
    double lost[POLICY_CLASSES];
    double cost;
};

struct search {
    struct board *board;
    size_t devices[DEVICES_MAX + 1]; /* the last one is the host's pool, if there is one */
    unsigned device_count;           /* without it */
    unsigned slots;                  /* with it */
    struct item items[ITEMS_MAX];
    unsigned count;
    int64_t free[DEVICES_MAX + 1];
    unsigned leave_max, steps_left;
    int now[ITEMS_MAX], best[ITEMS_MAX]; /* GONE, or a mask of devices */
    struct loss loss;                    /* of `best` */
    bool improved;
};

static int compare_loss(const struct loss *a, const struct loss *b)
{
    for (int c = POLICY_CLASSES - 1; c >= 0; c--) {
        if (a->lost[c] != b->lost[c]) {
            return a->lost[c] < b->lost[c] ? -1 : 1;
        }
    }
    return (a->cost > b->cost) - (a->cost < b->cost);
}

static void lose(struct loss *l, const struct item *item)
{
    l->lost[item->class] += item->served;
    l->cost += item->runs ? item->cost : 0;
}

static const struct policy_instance *instance_of(const struct search *w, const struct item *item)
{
    return &w->board->s->instances[item->piece];
}

/* ---- the window and its items ---- */

static unsigned slot_of(const struct search *w, size_t device)
{
    unsigned k = 0;

    while (k < w->slots && w->devices[k] != device) {
        k++;
    }
    return k;
}

static bool lies_within(const struct search *w, const struct piece *p)
{
    for (unsigned h = 0; h < p->seat.count; h++) {
        if (slot_of(w, p->seat.holds[h].device) == w->slots) {
            return false;
        }
    }
    return p->seat.count > 0;
}

bool search_was_refused(const struct board *b, size_t piece)
{
    enum policy_reason reason = b->pieces[piece].verdict.reason;

    return b->pieces[piece].state == POLICY_WAITING &&
           (reason == POLICY_NO_ROOM || reason == POLICY_RATE_LIMIT || reason == POLICY_TOO_YOUNG ||
            reason == POLICY_TURN_COMES || reason == POLICY_PREEMPTION_OFF);
}

static bool is_newcomer(const struct search *w, size_t piece)
{
    const struct policy_instance *i = &w->board->s->instances[piece];
    const struct piece *p = &w->board->pieces[piece];

    if (i->force || (w->board->s->rules.preemption && !i->may_preempt)) {
        return false;
    }
    if (p->state == POLICY_WAITING) {
        return search_was_refused(w->board, piece);
    }
    return p->state == POLICY_RESERVED && p->fresh && !p->swapped && lies_within(w, p);
}

static bool did_run(const struct policy_instance *i)
{
    return i->state == POLICY_LOADING || i->state == POLICY_READY;
}

static bool is_movable(const struct search *w, size_t piece)
{
    const struct policy_instance *v = &w->board->s->instances[piece];
    const struct piece *p = &w->board->pieces[piece];
    const struct policy_rules *rules = &w->board->s->rules;

    if (!did_run(v) || v->pinned || !rules->preemption || !lies_within(w, p)) {
        return false;
    }
    if (p->state == POLICY_LEAVING) {
        return !p->swapped;
    }
    return v->state == POLICY_LOADING ||
           w->board->s->now_ms >= v->since_ms + rules->min_residency_ms;
}

static void read_item(const struct search *w, size_t piece, struct item *ret)
{
    const struct policy_instance *i = &w->board->s->instances[piece];
    const struct piece *p = &w->board->pieces[piece];

    *ret = (struct item){
        .piece = piece,
        .class = p->class,
        .served = p->served,
        .cost = p->cost,
        .runs = did_run(i),
        .must = p->state == POLICY_RESERVED && i->waiting > 0 &&
                w->board->s->now_ms >= i->waiting_since_ms + w->board->s->rules.swap_wait_ms,
    };
    for (unsigned h = 0; ret->runs && h < p->seat.count; h++) {
        unsigned slot = slot_of(w, p->seat.holds[h].device);

        ret->bytes[slot] += p->seat.holds[h].bytes;
        ret->mask |= 1U << slot;
    }
}

/* By class; who runs before who comes; then the larger value. */
static int compare_items(const void *left, const void *right)
{
    const struct item *a = left, *b = right;

    if (a->class != b->class) {
        return a->class > b->class ? -1 : 1;
    }
    if (a->runs != b->runs) {
        return a->runs ? -1 : 1;
    }
    if (a->served != b->served) {
        return a->served > b->served ? -1 : 1;
    }
    return (a->piece > b->piece) - (a->piece < b->piece);
}

/* False: too many for a window. `first` goes in before all others. */
static bool collect(struct search *w, size_t first)
{
    bool all = true;

    if (first != SIZE_MAX) {
        read_item(w, first, &w->items[w->count++]);
    }
    for (size_t i = 0; i < w->board->s->instance_count; i++) {
        if (i == first || (!is_newcomer(w, i) && !is_movable(w, i))) {
            continue;
        }
        if (w->count == ITEMS_MAX) {
            all = false;
            break;
        }
        if (first == SIZE_MAX || w->board->pieces[i].state != POLICY_WAITING) {
            read_item(w, i, &w->items[w->count++]);
        }
    }
    qsort(w->items, w->count, sizeof(w->items[0]), compare_items);
    return all;
}

static bool runners_fit(const struct search *w)
{
    for (unsigned k = 0; k < w->slots; k++) {
        int64_t free = w->free[k];

        for (unsigned n = 0; n < w->count; n++) {
            free -= w->items[n].bytes[k];
        }
        if (free < 0) {
            return false;
        }
    }
    return true;
}

/* The room as if no item were there, and what the items lose as it is. False: those that run are
 * too many already (others' memory has grown, say), which is nobody's reason to move. */
static bool set_out(struct search *w)
{
    static const struct policy_instance anyone = { 0 };
    unsigned gone = 0;

    for (unsigned k = 0; k < w->slots; k++) {
        w->free[k] = board_free(w->board, w->devices[k], &anyone);
    }
    for (unsigned n = 0; n < w->count; n++) {
        const struct piece *p = &w->board->pieces[w->items[n].piece];

        if (p->state != POLICY_WAITING && p->state != POLICY_LEAVING) {
            for (unsigned h = 0; h < p->seat.count; h++) {
                w->free[slot_of(w, p->seat.holds[h].device)] += p->seat.holds[h].bytes;
            }
        } else {
            lose(&w->loss, &w->items[n]);
            gone += w->items[n].runs;
        }
    }
    w->leave_max = w->board->preemptions_left - (w->board->preemptions - gone);
    return runners_fit(w);
}

/* ---- combinations ---- */

static void take(struct search *w, const int64_t *bytes, int sign)
{
    for (unsigned k = 0; k < w->slots; k++) {
        w->free[k] -= sign * bytes[k];
    }
}

static bool fits(const struct search *w, const int64_t *bytes)
{
    for (unsigned k = 0; k < w->slots; k++) {
        if (bytes[k] > 0 && bytes[k] > w->free[k]) {
            return false;
        }
    }
    return true;
}

static bool is_named(const struct search *w, const struct policy_instance *i, unsigned mask)
{
    unsigned named = 0;

    for (unsigned n = 0; n < i->device_count; n++) {
        unsigned slot = slot_of(w, board_device(w->board, i->devices[n]));

        if (slot >= w->device_count) {
            return false;
        }
        named |= 1U << slot;
    }
    return named == mask;
}

/* What the newcomer would take of every slot on these devices. False: it may not be there. */
static bool spread_over(const struct search *w, const struct item *item, unsigned mask,
                        int64_t *ret_bytes)
{
    const struct policy_instance *i = instance_of(w, item);
    unsigned n = (unsigned)__builtin_popcount(mask);
    int vendor = w->board->fits[w->devices[__builtin_ctz(mask)]].vendor;

    if (i->device_count > 0 ? !is_named(w, i, mask)
                            : n < place_min_devices(i) || n > place_max_devices(i)) {
        return false;
    }
    memset(ret_bytes, 0, (DEVICES_MAX + 1) * sizeof(*ret_bytes));
    for (unsigned k = 0; k < w->device_count; k++) {
        if (!(mask & (1U << k))) {
            continue;
        }
        if (!place_may_use(w->board, i, w->devices[k]) ||
            w->board->fits[w->devices[k]].vendor != vendor) {
            return false;
        }
        ret_bytes[k] = place_need(w->board, i, n, w->devices[k]);
    }
    if (w->slots > w->device_count) {
        ret_bytes[w->device_count] = (int64_t)i->need.host_bytes;
    }
    return true;
}

static void keep(struct search *w, const struct loss *loss)
{
    w->loss = *loss;
    w->improved = true;
    memcpy(w->best, w->now, sizeof(w->best));
}

/* Those that run, of the class that ends before `next`: is one gone that would still fit? */
static bool left_needlessly(const struct search *w, unsigned next)
{
    for (unsigned k = next; k-- > 0 && w->items[k].runs;) {
        if (w->items[k].class != w->items[next - 1].class) {
            break;
        }
        if (w->now[k] == GONE && fits(w, w->items[k].bytes)) {
            return true;
        }
    }
    return false;
}

static void set_next(struct search *w, unsigned next, unsigned left, const struct loss *loss);

static void set_running(struct search *w, unsigned next, unsigned left, const struct loss *loss)
{
    struct item *item = &w->items[next];
    struct loss with = *loss;

    if (fits(w, item->bytes)) {
        w->now[next] = (int)item->mask;
        take(w, item->bytes, 1);
        set_next(w, next + 1, left, loss);
        take(w, item->bytes, -1);
    }
    if (left > 0) {
        w->now[next] = GONE;
        lose(&with, item);
        set_next(w, next + 1, left - 1, &with);
    }
}

static void set_newcomer(struct search *w, unsigned next, unsigned left, const struct loss *loss)
{
    struct item *item = &w->items[next];
    struct loss with = *loss;
    int64_t bytes[DEVICES_MAX + 1];

    for (unsigned mask = 1; mask < 1U << w->device_count; mask++) {
        if (spread_over(w, item, mask, bytes) && fits(w, bytes)) {
            w->now[next] = (int)mask;
            take(w, bytes, 1);
            set_next(w, next + 1, left, loss);
            take(w, bytes, -1);
        }
    }
    if (!item->must) {
        w->now[next] = GONE;
        lose(&with, item);
        set_next(w, next + 1, left, &with);
    }
}

static void set_next(struct search *w, unsigned next, unsigned left, const struct loss *loss)
{
    if (w->steps_left == 0 || compare_loss(loss, &w->loss) >= 0) {
        return;
    }
    w->steps_left--;
    if (next > 0 && w->items[next - 1].runs &&
        (next == w->count || !w->items[next].runs ||
         w->items[next].class != w->items[next - 1].class) &&
        left_needlessly(w, next)) {
        return;
    }
    if (next == w->count) {
        keep(w, loss);
    } else if (w->items[next].runs) {
        set_running(w, next, left, loss);
    } else {
        set_newcomer(w, next, left, loss);
    }
}

/* ---- what was found ---- */

static void clear(struct search *w)
{
    for (unsigned n = 0; n < w->count; n++) {
        size_t piece = w->items[n].piece;
        struct piece *p = &w->board->pieces[piece];

        if (w->items[n].runs && p->state == POLICY_LEAVING) {
            board_set_state(w->board, piece, w->board->s->instances[piece].state);
            w->board->preemptions--;
            p->other = SIZE_MAX;
        } else if (!w->items[n].runs && p->state == POLICY_RESERVED) {
            board_set_state(w->board, piece, POLICY_WAITING);
            p->fresh = false;
        }
    }
}

/* The most important one of those that have come to its devices. */
static size_t mover_of(const struct search *w, unsigned gone)
{
    unsigned host = 1U << w->device_count; /* everybody is on it, as far as it is there */

    for (unsigned n = 0; n < w->count; n++) {
        if (!w->items[n].runs && w->best[n] != GONE &&
            (((unsigned)w->best[n] | host) & w->items[gone].mask) != 0 &&
            instance_of(w, &w->items[n])->priority > instance_of(w, &w->items[gone])->priority) {
            return w->items[n].piece;
        }
    }
    return SIZE_MAX;
}

static void seat_newcomer(struct search *w, unsigned n)
{
    const struct policy_instance *i = instance_of(w, &w->items[n]);
    int64_t bytes[DEVICES_MAX + 1] = { 0 };
    struct seat seat = { 0 };

    spread_over(w, &w->items[n], (unsigned)w->best[n], bytes);
    for (unsigned k = 0; k < w->device_count; k++) {
        if ((unsigned)w->best[n] & (1U << k)) {
            place_add(&seat, w->items[n].piece, w->devices[k], bytes[k]);
        }
    }
    place_add_host(w->board, i, &seat);
    board_reserve(w->board, w->items[n].piece, &seat);
}

static void apply(struct search *w)
{
    clear(w);
    w->board->has_moved = true;
    for (unsigned n = 0; n < w->count; n++) {
        if (w->items[n].runs && w->best[n] == GONE) {
            w->board->pieces[w->items[n].piece].other = mover_of(w, n);
            w->board->preemptions++;
            board_set_state(w->board, w->items[n].piece, POLICY_LEAVING);
        }
    }
    for (unsigned n = 0; n < w->count; n++) {
        if (!w->items[n].runs && w->best[n] != GONE) {
            seat_newcomer(w, n);
        }
    }
    for (unsigned n = 0; n < w->count; n++) {
        if (!w->items[n].runs && w->best[n] == GONE) {
            verdict_refused(w->board, w->items[n].piece);
        }
    }
}

static void improve_window(struct search *w, size_t first, unsigned steps)
{
    static const struct loss none = { 0 };

    w->slots = w->device_count;
    if (w->board->host != SIZE_MAX) {
        w->devices[w->slots++] = w->board->host;
    }
    if (!collect(w, first) && first == SIZE_MAX) {
        return;
    }
    if (!set_out(w)) {
        return;
    }
    w->steps_left = steps;
    set_next(w, 0, w->leave_max, &none);
    if (w->improved) {
        apply(w);
    }
}

/* The devices on which it is nearest to having room. */
static void choose_window(struct search *w, size_t piece)
{
    const struct policy_instance *i = &w->board->s->instances[piece];
    int64_t slack[DEVICES_MAX];
    unsigned most = MIN_OF(MAX_OF(3U, place_max_devices(i)), (unsigned)DEVICES_MAX), at;

    victims_gain(w->board, piece, 0);
    for (size_t d = 0; d < w->board->s->device_count; d++) {
        int64_t has = board_free(w->board, d, i) + w->board->gain[d];

        if (!place_may_use(w->board, i, d)) {
            continue;
        }
        for (at = w->device_count; at > 0 && has > slack[at - 1]; at--) {
            if (at < most) {
                slack[at] = slack[at - 1];
                w->devices[at] = w->devices[at - 1];
            }
        }
        if (at < most) {
            slack[at] = has;
            w->devices[at] = d;
            w->device_count = MIN_OF(w->device_count + 1, most);
        }
    }
}

static bool is_whole(const struct board *b)
{
    return b->s->device_count - (b->host != SIZE_MAX) <= DEVICES_MAX &&
           b->s->instance_count <= ITEMS_MAX;
}

static void improve_whole(struct board *b)
{
    struct search w = { .board = b };

    for (size_t d = 0; d < b->s->device_count; d++) {
        if (d != b->host) {
            w.devices[w.device_count++] = d;
        }
    }
    improve_window(&w, SIZE_MAX, STEPS_WHOLE);
}

/* Somebody found no place, or had to go: perhaps he need not. */
static bool has_losers(const struct board *b, const size_t *order, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        if (search_was_refused(b, order[k])) {
            return true;
        }
    }
    return b->preemptions > 0;
}

void search_improve(struct board *b, const size_t *order, size_t count)
{
    unsigned windows = 0;

    if (is_whole(b)) {
        if (has_losers(b, order, count)) {
            improve_whole(b);
        }
        return;
    }
    for (size_t k = 0; k < count && windows < WINDOWS_MAX; k++) {
        struct search w = { .board = b };

        if (b->pieces[order[k]].state != POLICY_WAITING || !is_newcomer(&w, order[k])) {
            continue;
        }
        choose_window(&w, order[k]);
        if (w.device_count > 0) {
            improve_window(&w, order[k], STEPS_WINDOW);
            windows++;
        }
    }
}
