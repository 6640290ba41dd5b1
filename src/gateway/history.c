// SPDX-License-Identifier: Apache-2.0
/* The ring of the latest requests: its memory is taken as it fills, once, and never grows beyond
 * HISTORY_KEPT records. */
#include "gateway/history.h"

#include <stdlib.h>

#include "base/macros.h"
#include "base/mem.h"

enum { FIRST_ROOM = 32 };

struct history {
    struct request_record *records;
    size_t room, count, next; /* next: where the next one goes */
    uint64_t total;           /* ever */
};

struct history *history_create(void)
{
    return xcalloc(1, sizeof(struct history));
}

struct history *history_destroy(struct history *h)
{
    if (h) {
        free(h->records);
        free(h);
    }
    return NULL;
}

void history_add(struct history *h, const struct request_record *r)
{
    if (h->next == h->room && h->room < HISTORY_KEPT) {
        h->room = MIN_OF(MAX_OF(2 * h->room, (size_t)FIRST_ROOM), (size_t)HISTORY_KEPT);
        h->records = xrealloc(h->records, h->room * sizeof(*h->records));
    }
    h->next = h->next == HISTORY_KEPT ? 0 : h->next;
    h->records[h->next++] = *r;
    h->total++;
    h->count = MAX_OF(h->count, h->next);
}

uint64_t history_total(const struct history *h)
{
    return h->total;
}

const struct request_record *history_at(const struct history *h, size_t nth)
{
    if (nth >= h->count) {
        return NULL;
    }
    return &h->records[(h->next + h->count - 1 - nth) % h->count];
}
