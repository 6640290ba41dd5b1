// SPDX-License-Identifier: Apache-2.0
/* Array heap; every node knows its place, so removal needs no search. */
#include "base/heap.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

void heap_init(struct heap *h, bool (*before)(const struct heap_node *, const struct heap_node *))
{
    *h = (struct heap){ .before = before };
}

void heap_finish(struct heap *h)
{
    free(h->nodes);
    heap_init(h, h->before);
}

static void place(struct heap *h, size_t i, struct heap_node *n)
{
    h->nodes[i] = n;
    n->index = i + 1;
}

static void sift_up(struct heap *h, size_t i, struct heap_node *n)
{
    while (i > 0 && h->before(n, h->nodes[(i - 1) / 2])) {
        place(h, i, h->nodes[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(h, i, n);
}

static void sift_down(struct heap *h, size_t i, struct heap_node *n)
{
    for (;;) {
        size_t child = 2 * i + 1;

        if (child + 1 < h->count && h->before(h->nodes[child + 1], h->nodes[child])) {
            child++;
        }
        if (child >= h->count || !h->before(h->nodes[child], n)) {
            break;
        }
        place(h, i, h->nodes[child]);
        i = child;
    }
    place(h, i, n);
}

void heap_push(struct heap *h, struct heap_node *n)
{
    assert(n->index == 0);
    if (h->count == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 64;
        h->nodes = xrealloc(h->nodes, h->cap * sizeof(struct heap_node *));
    }
    sift_up(h, h->count++, n);
}

void heap_remove(struct heap *h, struct heap_node *n)
{
    struct heap_node *last;
    size_t i;

    if (n->index == 0) {
        return;
    }
    i = n->index - 1;
    last = h->nodes[--h->count];
    n->index = 0;
    if (last == n) {
        return;
    }
    if (i > 0 && h->before(last, h->nodes[(i - 1) / 2])) {
        sift_up(h, i, last);
    } else {
        sift_down(h, i, last);
    }
}
