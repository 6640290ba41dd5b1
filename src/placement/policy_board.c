// SPDX-License-Identifier: Apache-2.0
/* The board of one pass: room on every device, and who sits where. Only this file changes sums. */
#include "placement/policy_int.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>

#include "base/mem.h"

size_t board_device(const struct board *b, int index)
{
    size_t low = 0, high = b->s->device_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (b->s->devices[middle].index < index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < b->s->device_count && b->s->devices[low].index == index ? low : SIZE_MAX;
}

static void init_room(struct board *b, size_t device)
{
    const struct policy_device *d = &b->s->devices[device];
    struct room *room = &b->rooms[device];

    room->limit =
        (int64_t)(b->s->rules.threshold * (double)d->total_bytes) - (int64_t)d->other_bytes;
    b->capacity[device] = room->limit + (int64_t)d->other_bytes;
    room->extra = (int64_t)d->total_bytes - (int64_t)d->other_bytes - room->limit;
    room->leaving = (int64_t)d->held_bytes;
    b->fits[device] = (struct fit){
        .free = room->limit,
        .now = room->limit - room->leaving,
        .vendor = d->vendor,
        .barred = d->unusable || d->host_pool ? INT_MAX : INT_MIN,
    };
    if (d->host_pool) {
        b->host = device;
    }
}

static int compare_ints(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return (x > y) - (x < y);
}

static void find_vendors(struct board *b)
{
    size_t n = 0;

    b->vendors = xcalloc(b->s->device_count + 1, sizeof(*b->vendors));
    for (size_t d = 0; d < b->s->device_count; d++) {
        if (!b->s->devices[d].host_pool &&
            (n == 0 || b->vendors[n - 1] != b->s->devices[d].vendor)) {
            b->vendors[n++] = b->s->devices[d].vendor;
        }
    }
    qsort(b->vendors, n, sizeof(*b->vendors), compare_ints);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || b->vendors[i] != b->vendors[i - 1]) {
            b->vendors[b->vendor_count++] = b->vendors[i];
        }
    }
    b->usable = xcalloc(b->vendor_count + 1, sizeof(*b->usable));
    for (size_t v = 0; v < b->vendor_count; v++) {
        for (size_t d = 0; d < b->s->device_count; d++) {
            b->usable[v] += b->fits[d].barred < INT_MAX && b->fits[d].vendor == b->vendors[v];
        }
    }
}

/* Shares on devices that are gone hold nothing here. */
static void read_seat(const struct board *b, size_t piece, struct seat *seat)
{
    const struct place *place = &b->s->instances[piece].place;

    *seat = (struct seat){ .host_bytes = place->host_bytes };
    for (unsigned i = 0; i < place->count && i < PLACE_DEVICES_MAX; i++) {
        size_t device = board_device(b, place->shares[i].device);

        if (device != SIZE_MAX) {
            place_add(seat, piece, device, (int64_t)place->shares[i].bytes);
            seat->devices++;
        }
    }
    if (b->host != SIZE_MAX && place->host_bytes > 0) {
        place_add(seat, piece, b->host, (int64_t)place->host_bytes);
    }
}

void board_init(struct board *b, const struct policy_snapshot *s)
{
    unsigned most = s->rules.max_preemptions_per_hour;

    *b = (struct board){ .s = s, .host = SIZE_MAX, .preemptions_left = UINT_MAX };
    if (most > 0) {
        b->preemptions_left = most > s->preemptions_last_hour ? most - s->preemptions_last_hour : 0;
    }
    b->fits = xcalloc(s->device_count + 1, sizeof(*b->fits));
    b->rooms = xcalloc(s->device_count + 1, sizeof(*b->rooms));
    b->capacity = xcalloc(s->device_count + 1, sizeof(*b->capacity));
    b->listed = xcalloc(s->instance_count + 1, sizeof(*b->listed));
    b->gain = xcalloc(s->device_count + 1, sizeof(*b->gain));
    b->pieces = xcalloc(s->instance_count + 1, sizeof(*b->pieces));
    b->victims = xcalloc(s->instance_count + 1, sizeof(*b->victims));
    b->chosen = xcalloc(s->instance_count + 1, sizeof(*b->chosen));
    b->trial = xcalloc(s->instance_count + 1, sizeof(*b->trial));
    b->gone = xcalloc(s->instance_count + 1, sizeof(*b->gone));
    for (size_t d = 0; d < s->device_count; d++) {
        init_room(b, d);
    }
    find_vendors(b);
    for (size_t i = 0; i < s->instance_count; i++) {
        b->pieces[i].other = SIZE_MAX;
        b->pieces[i].state = POLICY_WAITING;
        b->pieces[i].class = policy_class(s->instances[i].priority);
        b->pieces[i].served = policy_served(&s->instances[i]);
        b->pieces[i].cost = policy_reload_cost(&s->instances[i]);
        if (s->instances[i].state != POLICY_WAITING) {
            read_seat(b, i, &b->pieces[i].seat);
            board_set_state(b, i, s->instances[i].state);
        }
    }
}

void board_finish(struct board *b)
{
    free(b->fits);
    free(b->usable);
    free(b->rooms);
    free(b->capacity);
    free(b->listed);
    free(b->gain);
    free(b->pieces);
    free(b->victims);
    free(b->chosen);
    free(b->trial);
    free(b->gone);
    free(b->vendors);
}

bool board_seat_fits(const struct board *b, const struct policy_instance *i,
                     const struct seat *seat)
{
    for (unsigned h = 0; h < seat->count; h++) {
        if (!board_has(b, seat->holds[h].device, i, seat->holds[h].bytes, NULL)) {
            return false;
        }
    }
    return true;
}

bool board_fits_now(const struct board *b, const struct policy_instance *i, const struct seat *seat)
{
    for (unsigned h = 0; h < seat->count; h++) {
        if (seat->holds[h].bytes > 0 &&
            seat->holds[h].bytes > board_now(b, seat->holds[h].device, i)) {
            return false;
        }
    }
    return true;
}

int64_t board_bytes_on(const struct piece *p, size_t device)
{
    int64_t sum = 0;

    for (unsigned h = 0; h < p->seat.count; h++) {
        sum += p->seat.holds[h].device == device ? p->seat.holds[h].bytes : 0;
    }
    return sum;
}

static bool is_listed(enum policy_state state)
{
    return state == POLICY_RESERVED || state == POLICY_LOADING || state == POLICY_READY;
}

static void count(struct room *room, enum policy_state state, int64_t bytes, int sign)
{
    switch (state) {
    case POLICY_RESERVED:
        room->reserved += sign * bytes;
        break;
    case POLICY_LOADING:
        room->loading += (unsigned)sign;
        room->staying += sign * bytes;
        break;
    case POLICY_READY:
        room->staying += sign * bytes;
        break;
    case POLICY_LEAVING:
        room->leaving += sign * bytes;
        break;
    case POLICY_WAITING:
        break;
    }
}

static void unlink_hold(struct room *room, const struct hold *hold)
{
    for (struct hold **p = &room->holds; *p; p = &(*p)->next) {
        if (*p == hold) {
            *p = hold->next;
            return;
        }
    }
}

void board_set_state(struct board *b, size_t piece, enum policy_state state)
{
    struct piece *p = &b->pieces[piece];
    enum policy_state was = p->state;

    for (unsigned h = 0; h < p->seat.count; h++) {
        struct hold *hold = &p->seat.holds[h];
        struct room *room = &b->rooms[hold->device];

        count(room, was, hold->bytes, -1);
        count(room, state, hold->bytes, 1);
        b->fits[hold->device].free = room->limit - room->staying - room->reserved;
        b->fits[hold->device].now = room->limit - room->staying - room->leaving;
        if (is_listed(was) && !is_listed(state)) {
            unlink_hold(room, hold);
        } else if (!is_listed(was) && is_listed(state)) {
            hold->piece = piece;
            hold->next = room->holds;
            room->holds = hold;
        }
    }
    p->state = state;
    b->listed[piece] = is_listed(state);
}

void board_reserve(struct board *b, size_t piece, const struct seat *seat)
{
    assert(b->pieces[piece].state == POLICY_WAITING);
    b->pieces[piece].seat = *seat;
    b->pieces[piece].fresh = true;
    board_set_state(b, piece, POLICY_RESERVED);
}

void board_place(const struct board *b, const struct seat *seat, struct place *ret)
{
    *ret = (struct place){ .count = seat->devices, .host_bytes = seat->host_bytes };
    for (unsigned i = 0; i < seat->devices; i++) {
        ret->shares[i].device = b->s->devices[seat->holds[i].device].index;
        ret->shares[i].bytes = (uint64_t)seat->holds[i].bytes;
    }
}
