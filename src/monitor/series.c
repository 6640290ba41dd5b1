// SPDX-License-Identifier: Apache-2.0
/* A ring of samples. */
#include "monitor/series.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"

void series_init(struct series *s, size_t size, size_t room)
{
    *s = (struct series){ .size = size, .room = room };
}

void series_add(struct series *s, const void *sample)
{
    if (!s->ring) {
        s->ring = xcalloc(s->room, s->size);
    }
    memcpy(s->ring + s->next * s->size, sample, s->size);
    s->next = (s->next + 1) % s->room;
    s->count = MIN_OF(s->count + 1, s->room);
}

const void *series_at(const struct series *s, size_t i)
{
    if (i >= s->count) {
        return NULL;
    }
    return s->ring + (s->next + s->room - s->count + i) % s->room * s->size;
}

const void *series_last(const struct series *s)
{
    return s->count > 0 ? series_at(s, s->count - 1) : NULL;
}

void series_finish(struct series *s)
{
    free(s->ring);
    series_init(s, s->size, s->room);
}
