// SPDX-License-Identifier: Apache-2.0
/* Strategy: each instance gets its share by weight, smoothly: the next request goes to the one that
 * was chosen least often for its weight, among those with room. Ties go to the heavier one, then to
 * the first. */
#include "dispatch/dispatch_int.h"

/* a.chosen / a.weight < b.chosen / b.weight, without rounding. */
static bool better(const struct candidate *a, const struct candidate *b)
{
    unsigned __int128 left = (unsigned __int128)a->chosen * b->weight;
    unsigned __int128 right = (unsigned __int128)b->chosen * a->weight;

    return left != right ? left < right : a->weight > b->weight;
}

static int choose(const struct candidate *candidates, size_t count, const struct choice *c)
{
    return candidate_best(candidates, count, better);
}

const struct strategy weighted = {
    .name = "weighted",
    .help = "Each instance in proportion to its weight (its slots, when the model names none).",
    .choose = choose,
};
