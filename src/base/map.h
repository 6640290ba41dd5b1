// SPDX-License-Identifier: Apache-2.0
/*
 * String map. Keys are copied, values are borrowed. Walking goes in the order of insertion, never
 * in pointer or hash order, so that the same history gives the same decisions.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/str.h"

struct map_entry {
    struct list order;
    struct map_entry *chain;
    uint64_t hash;
    void *value;
    size_t key_len;
    char key[];
};

struct map {
    struct list order;
    struct map_entry **buckets; /* NULL while empty */
    size_t mask;                /* number of buckets - 1 */
    size_t count;
};

void map_init(struct map *m);
/* Frees entries and keys, not the values. The map stays usable. */
void map_finish(struct map *m);

void *map_get(const struct map *m, const char *key);
void *map_get_span(const struct map *m, struct span key);
/* Returns the value that stood there (NULL when none); value must not be NULL. */
void *map_put(struct map *m, const char *key, void *value);
void *map_remove(struct map *m, const char *key);

/* map_for_each(entry, &m) { struct thing *t = entry->value; }  The current entry may be removed
 * while walking. */
#define map_for_each(e, m)                                                                         \
    for (struct map_entry *e = container_of((m)->order.next, struct map_entry, order),             \
                          *e##_next = container_of(e->order.next, struct map_entry, order);        \
         &e->order != &(m)->order;                                                                 \
         e = e##_next, e##_next = container_of(e##_next->order.next, struct map_entry, order))
