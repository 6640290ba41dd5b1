// SPDX-License-Identifier: Apache-2.0
/* Intrusive binary min-heap. Ties must be broken by the caller's order function, so that runs
 * repeat. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct heap_node {
    size_t index; /* 1-based place; 0 while not in a heap */
};

struct heap {
    struct heap_node **nodes;
    size_t count, cap;
    bool (*before)(const struct heap_node *a, const struct heap_node *b);
};

void heap_init(struct heap *h, bool (*before)(const struct heap_node *, const struct heap_node *));
void heap_finish(struct heap *h); /* forgets the nodes, which the caller owns */
void heap_push(struct heap *h, struct heap_node *n);
/* Of a node that is not in the heap: does nothing. */
void heap_remove(struct heap *h, struct heap_node *n);
static inline struct heap_node *heap_top(const struct heap *h)
{
    return h->count ? h->nodes[0] : NULL;
}
