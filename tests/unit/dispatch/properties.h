// SPDX-License-Identifier: Apache-2.0
/* What every strategy must keep to, and random candidates to hold it to that. */
#pragma once

#include "unit.h"

#include "base/sim.h"
#include "dispatch/dispatch.h"

enum { MANY = 16 };

/* Random ones, at most MANY, with room and without; returns how many. */
size_t roll_candidates(struct world *w, struct candidate c[MANY]);
struct choice roll_choice(struct world *w);
/* Over this many rolls: never one without room, always one when there is room, the same question
 * gets the same answer, and nothing that stands behind the candidates is looked at. */
void check_properties(struct world *w, const struct strategy *s, int rounds);
