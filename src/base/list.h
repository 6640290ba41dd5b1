// SPDX-License-Identifier: Apache-2.0
/* Intrusive doubly linked ring. A node stands in at most one list; an initialised node may be
 * removed twice. */
#pragma once

#include <stdbool.h>

#include "base/macros.h"

struct list {
    struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_append(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_prepend(struct list *head, struct list *node)
{
    list_append(head->next, node);
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* Moves everything from `from` to the (initialised, empty) head `to`. */
static inline void list_take(struct list *from, struct list *to)
{
    list_init(to);
    if (!list_empty(from)) {
        *to = *from;
        to->next->prev = to;
        to->prev->next = to;
        list_init(from);
    }
}

#define list_first(head, type, member)                                                             \
    (list_empty(head) ? NULL : container_of((head)->next, type, member))

#define list_for_each(pos, head, member)                                                           \
    for (pos = container_of((head)->next, __typeof__(*pos), member); &pos->member != (head);       \
         pos = container_of(pos->member.next, __typeof__(*pos), member))

/* The current element may be removed and freed while walking; no other may. */
#define list_for_each_safe(pos, tmp, head, member)                                                 \
    for (pos = container_of((head)->next, __typeof__(*pos), member),                               \
        tmp = container_of(pos->member.next, __typeof__(*pos), member);                            \
         &pos->member != (head);                                                                   \
         pos = tmp, tmp = container_of(tmp->member.next, __typeof__(*tmp), member))
