// SPDX-License-Identifier: Apache-2.0
/*
 * A pool of prefixes with chained buckets and a ring of idle ones. Numbers instead of pointers, so
 * that the pool can grow; it grows to what the cache holds, and no further.
 */
#include "simulate/engine_blocks.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { FIRST_ROOM = 64 };

void kv_init(struct kv_blocks *k, uint64_t total, unsigned per_prefix)
{
    *k = (struct kv_blocks){ .total = total, .free = total, .per_prefix = per_prefix };
    k->room = FIRST_ROOM;
    k->prefixes = xcalloc(k->room + 1, sizeof(*k->prefixes));
    k->buckets = xcalloc(k->room, sizeof(*k->buckets));
}

void kv_finish(struct kv_blocks *k)
{
    free(k->prefixes);
    free(k->buckets);
    *k = (struct kv_blocks){ 0 };
}

/* ---- the table ---- */

static uint32_t *bucket_of(const struct kv_blocks *k, uint64_t hash)
{
    return &k->buckets[(hash * 0x9E3779B97F4A7C15ULL >> 32) & (k->room - 1)];
}

static uint32_t find(const struct kv_blocks *k, uint64_t hash)
{
    uint32_t i = *bucket_of(k, hash);

    while (i && k->prefixes[i].hash != hash) {
        i = k->prefixes[i].chain;
    }
    return i;
}

static void chain(struct kv_blocks *k, uint32_t i)
{
    uint32_t *bucket = bucket_of(k, k->prefixes[i].hash);

    k->prefixes[i].chain = *bucket;
    *bucket = i;
}

static void unchain(struct kv_blocks *k, uint32_t i)
{
    uint32_t *at = bucket_of(k, k->prefixes[i].hash);

    while (*at != i) {
        at = &k->prefixes[*at].chain;
    }
    *at = k->prefixes[i].chain;
}

/* All numbers are in use, so that each stands in a bucket. */
static void grow(struct kv_blocks *k)
{
    k->room *= 2;
    k->prefixes = xrealloc(k->prefixes, ((size_t)k->room + 1) * sizeof(*k->prefixes));
    free(k->buckets);
    k->buckets = xcalloc(k->room, sizeof(*k->buckets));
    for (uint32_t i = 1; i <= k->made; i++) {
        chain(k, i);
    }
}

static uint32_t new_number(struct kv_blocks *k)
{
    const uint32_t i = k->unused;

    if (i) {
        k->unused = k->prefixes[i].chain;
        return i;
    }
    if (k->made == k->room) {
        grow(k);
    }
    return ++k->made;
}

/* ---- the ring of idle ones ---- */

static void leave_ring(struct kv_blocks *k, uint32_t i)
{
    struct kv_prefix *p = &k->prefixes[i];

    k->prefixes[p->older].newer = p->newer;
    k->prefixes[p->newer].older = p->older;
}

static void join_ring(struct kv_blocks *k, uint32_t i)
{
    struct kv_prefix *p = &k->prefixes[i], *head = &k->prefixes[0];

    p->older = head->older;
    p->newer = 0;
    k->prefixes[head->older].newer = i;
    head->older = i;
}

/* The one that was used least recently goes. */
static void evict(struct kv_blocks *k)
{
    const uint32_t i = k->prefixes[0].newer;

    assert(i);
    leave_ring(k, i);
    unchain(k, i);
    k->prefixes[i].chain = k->unused;
    k->unused = i;
    k->count--;
    k->kept -= k->per_prefix;
    k->free += k->per_prefix;
}

/* ---- what requests do ---- */

uint32_t kv_match(const struct kv_blocks *k, const uint64_t *hashes, uint32_t n, uint32_t *ret,
                  uint32_t *ret_idle)
{
    uint32_t found = 0;

    *ret_idle = 0;
    for (; found < n; found++) {
        ret[found] = find(k, hashes[found]);
        if (!ret[found]) {
            break;
        }
        *ret_idle += k->prefixes[ret[found]].users == 0;
    }
    return found;
}

void kv_hold(struct kv_blocks *k, uint32_t prefix)
{
    if (k->prefixes[prefix].users++ == 0) {
        leave_ring(k, prefix);
        k->kept -= k->per_prefix;
        k->used += k->per_prefix;
    }
}

void kv_drop(struct kv_blocks *k, uint32_t prefix)
{
    assert(k->prefixes[prefix].users > 0);
    if (--k->prefixes[prefix].users == 0) {
        join_ring(k, prefix);
        k->used -= k->per_prefix;
        k->kept += k->per_prefix;
    }
}

bool kv_take(struct kv_blocks *k, uint64_t n)
{
    if (n > kv_room(k)) {
        return false;
    }
    while (k->free < n) {
        evict(k);
    }
    k->free -= n;
    k->used += n;
    return true;
}

void kv_give(struct kv_blocks *k, uint64_t n)
{
    assert(n <= k->used);
    k->used -= n;
    k->free += n;
}

uint32_t kv_publish(struct kv_blocks *k, uint64_t hash)
{
    uint32_t i;

    if (find(k, hash)) {
        return 0;
    }
    i = new_number(k);
    k->prefixes[i] = (struct kv_prefix){ .hash = hash, .users = 1 };
    chain(k, i);
    k->count++;
    return i;
}
