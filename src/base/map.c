// SPDX-License-Identifier: Apache-2.0
/* Chained hash table (FNV-1a) with a list through its entries in the order of insertion. */
#include "base/map.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { FIRST_BUCKETS = 16 };

static uint64_t hash_of(struct span key)
{
    uint64_t h = 14695981039346656037ULL;

    for (size_t i = 0; i < key.n; i++) {
        h = (h ^ (unsigned char)key.p[i]) * 1099511628211ULL;
    }
    return h;
}

void map_init(struct map *m)
{
    *m = (struct map){ 0 };
    list_init(&m->order);
}

void map_finish(struct map *m)
{
    map_for_each(e, m)
    {
        free(e);
    }
    free(m->buckets);
    map_init(m);
}

/* The link that points to the entry of `key`, or to the NULL where it would stand. */
static struct map_entry **find(const struct map *m, struct span key, uint64_t hash)
{
    struct map_entry **link = &m->buckets[hash & m->mask];

    while (*link && ((*link)->hash != hash || (*link)->key_len != key.n ||
                     memcmp((*link)->key, key.p, key.n) != 0)) {
        link = &(*link)->chain;
    }
    return link;
}

void *map_get_span(const struct map *m, struct span key)
{
    struct map_entry *e = m->buckets && key.p ? *find(m, key, hash_of(key)) : NULL;

    return e ? e->value : NULL;
}

void *map_get(const struct map *m, const char *key)
{
    return map_get_span(m, span_of(key));
}

static void rehash(struct map *m, size_t buckets)
{
    free(m->buckets);
    m->buckets = xcalloc(buckets, sizeof(struct map_entry *));
    m->mask = buckets - 1;
    map_for_each(e, m)
    {
        e->chain = m->buckets[e->hash & m->mask];
        m->buckets[e->hash & m->mask] = e;
    }
}

void *map_put(struct map *m, const char *key, void *value)
{
    struct span k = span_of(key);
    uint64_t hash = hash_of(k);
    struct map_entry *e, **link;

    if (!m->buckets || m->count > m->mask) {
        rehash(m, m->buckets ? 2 * (m->mask + 1) : FIRST_BUCKETS);
    }
    link = find(m, k, hash);
    if (*link) {
        void *old = (*link)->value;

        (*link)->value = value;
        return old;
    }
    e = xcalloc(1, sizeof(*e) + k.n + 1);
    e->hash = hash;
    e->value = value;
    e->key_len = k.n;
    memcpy(e->key, key, k.n + 1);
    list_append(&m->order, &e->order);
    *link = e;
    m->count++;
    return NULL;
}

void *map_remove(struct map *m, const char *key)
{
    struct span k = span_of(key);
    struct map_entry **link, *e;
    void *value;

    if (!m->buckets) {
        return NULL;
    }
    link = find(m, k, hash_of(k));
    e = *link;
    if (!e) {
        return NULL;
    }
    *link = e->chain;
    list_remove(&e->order);
    value = e->value;
    free(e);
    m->count--;
    return value;
}
