// SPDX-License-Identifier: Apache-2.0
/*
 * The blocks of a simulated engine's KV cache: counted, not placed. A block is free, or used: by
 * one request alone (own), or as part of a prefix that requests share; or it is kept: part of a
 * prefix that nobody uses now, and that goes, least recently used first, when its room is needed.
 *
 *     total = free + used + kept
 *
 * A prefix is as many blocks as TRACE_BLOCK_TOKENS fill, and is known by its hash.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct kv_prefix {
    uint64_t hash;
    uint32_t users;
    uint32_t older, newer; /* in the ring of those without users; its head is number 0 */
    uint32_t chain;        /* next of the same bucket, or next unused one; 0: none */
};

struct kv_blocks {
    uint64_t total, free, used, kept;
    unsigned per_prefix;
    struct kv_prefix *prefixes; /* by number, from 1 */
    uint32_t *buckets;          /* room is a power of two, as many as prefixes */
    uint32_t room, count, made; /* count: known now; made: numbers given out so far */
    uint32_t unused;            /* first of the numbers that came back */
};

void kv_init(struct kv_blocks *k, uint64_t total, unsigned per_prefix);
void kv_finish(struct kv_blocks *k);

/* The leading hashes of n that are known: their numbers to `ret`, how many is returned, and how
 * many of them are without users to *ret_idle. Nothing changes. */
uint32_t kv_match(const struct kv_blocks *k, const uint64_t *hashes, uint32_t n, uint32_t *ret,
                  uint32_t *ret_idle);
/* One more user. */
void kv_hold(struct kv_blocks *k, uint32_t prefix);
/* One less; the last one's is kept, as that used most recently. */
void kv_drop(struct kv_blocks *k, uint32_t prefix);

/* What can be taken: the free ones and the kept ones. */
static inline uint64_t kv_room(const struct kv_blocks *k)
{
    return k->free + k->kept;
}
/* n blocks for one request alone; kept ones give way. False, and nothing is taken, when there are
 * not so many. */
bool kv_take(struct kv_blocks *k, uint64_t n);
void kv_give(struct kv_blocks *k, uint64_t n);
/* per_prefix of a request's own blocks hold this now: they are a prefix with one user, whose number
 * is returned. 0: another one is known by this hash already. */
uint32_t kv_publish(struct kv_blocks *k, uint64_t hash);
