// SPDX-License-Identifier: Apache-2.0
/*
 * Choice of devices: the one that is filled best, else the fewest of one vendor, each of them
 * taking an equal part. A place where it can start at once goes before one that must become free.
 */
#include "placement/policy_int.h"

#include <string.h>

#include "base/macros.h"

int64_t place_need(const struct board *b, const struct policy_instance *i, unsigned n,
                   size_t device)
{
    return (int64_t)memory_need_on(&i->need, n, b->s->devices[device].total_bytes);
}

void place_add(struct seat *seat, size_t piece, size_t device, int64_t bytes)
{
    seat->holds[seat->count++] = (struct hold){ .piece = piece, .device = device, .bytes = bytes };
}

void place_add_host(const struct board *b, const struct policy_instance *i, struct seat *seat)
{
    seat->devices = seat->count;
    seat->host_bytes = i->need.host_bytes;
    if (b->host != SIZE_MAX && i->need.host_bytes > 0) {
        place_add(seat, SIZE_MAX, b->host, (int64_t)i->need.host_bytes);
    }
}

unsigned place_min_devices(const struct policy_instance *i)
{
    return i->need.min_devices > 0 ? i->need.min_devices : 1;
}

unsigned place_max_devices(const struct policy_instance *i)
{
    unsigned most = MAX_OF(i->need.max_devices, place_min_devices(i));

    return MIN_OF(most, (unsigned)PLACE_DEVICES_MAX);
}

bool place_named(const struct board *b, size_t piece, struct seat *ret)
{
    const struct policy_instance *i = &b->s->instances[piece];

    *ret = (struct seat){ 0 };
    if (i->device_count > PLACE_DEVICES_MAX) {
        return false;
    }
    for (unsigned n = 0; n < i->device_count; n++) {
        size_t device = board_device(b, i->devices[n]);

        if (device == SIZE_MAX || !place_may_use(b, i, device) ||
            b->s->devices[device].vendor != b->s->devices[board_device(b, i->devices[0])].vendor) {
            return false;
        }
        place_add(ret, piece, device, place_need(b, i, i->device_count, device));
    }
    place_add_host(b, i, ret);
    return true;
}

static bool host_has(const struct board *b, const struct policy_instance *i, const int64_t *gain)
{
    return b->host == SIZE_MAX || board_has(b, b->host, i, (int64_t)i->need.host_bytes, gain);
}

static bool find_named(const struct board *b, size_t piece, const int64_t *gain, struct seat *ret)
{
    const struct policy_instance *i = &b->s->instances[piece];

    if (!place_named(b, piece, ret)) {
        return false;
    }
    for (unsigned n = 0; n < ret->devices; n++) {
        if (!board_has(b, ret->holds[n].device, i, ret->holds[n].bytes, gain)) {
            return false;
        }
    }
    return true;
}

/* A device that would do; the better ones are less. */
struct offer {
    size_t device;
    int64_t bytes;
    int64_t rank; /* what stays free: little is good, or much where models are spread */
    bool waits;   /* others must leave first */
};

static bool is_better(const struct offer *a, const struct offer *b)
{
    if (a->waits != b->waits) {
        return !a->waits;
    }
    return a->rank != b->rank ? a->rank < b->rank : a->device < b->device;
}

static void insert_offer(struct offer *best, unsigned *count, unsigned n, const struct offer *o)
{
    unsigned at = *count;

    while (at > 0 && is_better(o, &best[at - 1])) {
        at--;
    }
    if (at == n) {
        return;
    }
    if (*count < n) {
        (*count)++;
    }
    for (unsigned k = *count - 1; k > at; k--) {
        best[k] = best[k - 1];
    }
    best[at] = *o;
}

/* The n best devices of the vendor (-1: of any; for n of 1). */
static bool best_of(const struct board *b, const struct policy_instance *i, int vendor, unsigned n,
                    const int64_t *gain, struct offer *best)
{
    const bool spreads = b->s->rules.algorithm == POLICY_SPREAD, shared = i->need.share > 0;
    const size_t devices = b->s->device_count;
    int64_t bytes = (int64_t)memory_need_on(&i->need, n, 0), enough = INT64_MAX;
    unsigned count = 0;

    for (size_t d = 0; d < devices; d++) {
        int64_t left, rank;

        bytes = shared ? place_need(b, i, 1, d) : bytes;
        left = board_free(b, d, i) + (gain ? gain[d] : 0) - bytes;
        rank = spreads ? -left : left;
        if ((left < 0 && bytes > 0) || rank >= enough) { /* most end here */
            continue;
        }
        if ((vendor < 0 || b->fits[d].vendor == vendor) && place_may_use(b, i, d)) {
            insert_offer(best, &count, n,
                         &(struct offer){ d, bytes, rank, board_now(b, d, i) < bytes });
            enough = count == n && !best[n - 1].waits ? best[n - 1].rank : INT64_MAX;
        }
    }
    return count == n;
}

static int compare_groups(const struct offer *a, const struct offer *b, unsigned n)
{
    int64_t rank = 0;
    int waits = 0;

    for (unsigned k = 0; k < n; k++) {
        waits += a[k].waits - b[k].waits;
        rank += a[k].rank / (int64_t)n - b[k].rank / (int64_t)n;
    }
    if (waits != 0) {
        return waits;
    }
    return rank < 0 ? -1 : rank > 0;
}

static bool find_group(const struct board *b, const struct policy_instance *i, unsigned n,
                       const int64_t *gain, struct offer *best)
{
    struct offer group[PLACE_DEVICES_MAX];
    bool found = false;

    if (n == 1 || i->vendor >= 0 || b->vendor_count == 1) {
        return best_of(b, i, i->vendor, n, gain, best);
    }
    for (size_t v = 0; v < b->vendor_count; v++) {
        if (best_of(b, i, b->vendors[v], n, gain, group) &&
            (!found || compare_groups(group, best, n) < 0)) {
            memcpy(best, group, n * sizeof(*best));
            found = true;
        }
    }
    return found;
}

/* ---- over how many ---- */

/* Is that enough on each of n devices: what the least of them has, beyond its share of it? */
static bool is_enough(const struct policy_instance *i, unsigned n, int64_t least)
{
    int64_t need = i->need.share > 0 ? 0 : (int64_t)memory_need_on(&i->need, n, 0);

    return need == 0 ? i->need.share == 0 || least >= 0 : least >= need;
}

/* The n devices of the vendor that have most for it, in order: what they have beyond its share of
 * them. Ends as soon as it has found `few` that are enough. */
static unsigned largest(const struct board *b, const struct policy_instance *i, int vendor,
                        unsigned few, unsigned n, const int64_t *gain, int64_t *most)
{
    const bool shared = i->need.share > 0;
    const size_t devices = b->s->device_count;
    int64_t least = INT64_MIN; /* whoever has no more is not among them */
    unsigned count = 0, at;

    for (size_t d = 0; d < devices; d++) {
        int64_t has = board_free(b, d, i) + (gain ? gain[d] : 0);

        has -= shared ? place_need(b, i, 1, d) : 0;
        if (has <= least || b->fits[d].vendor != vendor || !place_may_use(b, i, d)) {
            continue;
        }
        at = count;
        for (count = MIN_OF(count + 1, n), at = MIN_OF(at, n - 1); at > 0 && has > most[at - 1];
             at--) {
            most[at] = most[at - 1];
        }
        most[at] = has;
        if (count >= few && is_enough(i, few, most[few - 1])) {
            break;
        }
        least = count == n ? most[n - 1] : INT64_MIN;
    }
    return count;
}

static unsigned fewest_of(const struct board *b, const struct policy_instance *i, int vendor,
                          const int64_t *gain)
{
    int64_t most[PLACE_DEVICES_MAX];
    unsigned few = MIN_OF(place_min_devices(i), place_max_devices(i));
    unsigned count = largest(b, i, vendor, few, place_max_devices(i), gain, most);

    for (unsigned n = place_min_devices(i); n <= count; n++) {
        if (is_enough(i, n, most[n - 1])) {
            return n;
        }
    }
    return 0;
}

unsigned place_fewest(const struct board *b, size_t piece, const int64_t *gain)
{
    const struct policy_instance *i = &b->s->instances[piece];
    unsigned fewest = 0;
    struct seat seat;

    if (!host_has(b, i, gain)) {
        return 0;
    }
    if (i->device_count > 0) {
        return find_named(b, piece, gain, &seat) ? i->device_count : 0;
    }
    for (size_t v = 0; v < b->vendor_count; v++) {
        unsigned n = fewest_of(b, i, b->vendors[v], gain);

        if (n > 0 && (fewest == 0 || n < fewest)) {
            fewest = n;
        }
    }
    return fewest;
}

bool place_find(const struct board *b, size_t piece, const int64_t *gain, struct seat *ret)
{
    const struct policy_instance *i = &b->s->instances[piece];
    struct offer best[PLACE_DEVICES_MAX];
    unsigned n = 1;

    if (!host_has(b, i, gain)) {
        return false;
    }
    if (i->device_count > 0) {
        return find_named(b, piece, gain, ret);
    }
    if (place_min_devices(i) > 1 || !find_group(b, i, 1, gain, best)) {
        n = place_max_devices(i) > 1 ? place_fewest(b, piece, gain) : 0;
        if (n == 0 || !find_group(b, i, n, gain, best)) {
            return false;
        }
    }
    *ret = (struct seat){ 0 };
    for (unsigned k = 0; k < n; k++) {
        place_add(ret, piece, best[k].device, best[k].bytes);
    }
    place_add_host(b, i, ret);
    return true;
}
