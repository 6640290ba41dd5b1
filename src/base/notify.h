// SPDX-License-Identifier: Apache-2.0
/*
 * How a lower room speaks upward: it owns a `struct notify`, others hang a `struct listener` on it.
 * Every subscription is made in daemon/wiring.c. Listeners run in the order in which they were
 * added, on the loop, and may remove themselves (no other) while they run.
 */
#pragma once

#include "base/list.h"

struct listener {
    struct list node;
    void (*fn)(void *owner, const void *what);
    void *owner;
};

struct notify {
    struct list listeners;
};

static inline void notify_init(struct notify *n)
{
    list_init(&n->listeners);
}

static inline void notify_add(struct notify *n, struct listener *l)
{
    list_append(&n->listeners, &l->node);
}

static inline void notify_remove(struct listener *l)
{
    list_remove(&l->node);
}

static inline void notify_emit(struct notify *n, const void *what)
{
    struct listener *l, *tmp;

    list_for_each_safe (l, tmp, &n->listeners, node) {
        l->fn(l->owner, what);
    }
}
