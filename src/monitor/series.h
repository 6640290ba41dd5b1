// SPDX-License-Identifier: Apache-2.0
/*
 * A series: the last samples of one thing, all of one size, in a ring that is allocated with the
 * first of them. What is full loses its oldest.
 */
#pragma once

#include <stddef.h>

struct series {
    size_t size, room;  /* of one sample; how many are kept */
    size_t count, next; /* next: where the next one is written */
    char *ring;         /* NULL while there is none */
};

void series_init(struct series *s, size_t size, size_t room);
/* The sample is copied. */
void series_add(struct series *s, const void *sample);
/* The oldest is 0; NULL beyond the last. Void with the next series_add. */
const void *series_at(const struct series *s, size_t i);
/* NULL: there is none. */
const void *series_last(const struct series *s);
/* Empty again, and without memory. It may be used on. */
void series_finish(struct series *s);
