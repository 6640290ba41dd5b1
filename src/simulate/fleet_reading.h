// SPDX-License-Identifier: Apache-2.0
/*
 * Members of an object of a fleet's file. The first thing that is wrong is kept, in a sentence that
 * begins with its member; readers go on, and whoever began looks at the result at the end.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/macros.h"

/* An object being read, and where it stands ("models.0."). */
struct reading {
    const json_t *object;
    const char *at;
    struct error *reterr;
    int result; /* of the first thing that was wrong */
};

void _printf_(3, 4) reading_wrong(struct reading *in, const char *member, const char *fmt, ...);
/* known ends with NULL. */
void reading_check_members(struct reading *in, const char *const *known);
double reading_number(struct reading *in, const char *member, double def, double min, double max);
unsigned reading_whole(struct reading *in, const char *member, unsigned def, unsigned min,
                       unsigned max);
/* Seconds: a number, or "250ms"; a day at most. 0: absent. */
double reading_seconds(struct reading *in, const char *member);
bool reading_flag(struct reading *in, const char *member, bool def);
/* NULL when it is absent (or wrong). */
const char *reading_text(struct reading *in, const char *member);
/* A word that from() knows. */
int reading_word(struct reading *in, const char *member, int def, int (*from)(const char *));
