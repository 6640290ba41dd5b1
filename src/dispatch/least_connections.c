// SPDX-License-Identifier: Apache-2.0
/* Strategy: the instance with the fewest requests in flight, among those with room. Ties go to the
 * one that was chosen less often, then to the first. */
#include "dispatch/dispatch_int.h"

static bool better(const struct candidate *a, const struct candidate *b)
{
    return a->in_flight != b->in_flight ? a->in_flight < b->in_flight : a->chosen < b->chosen;
}

static int choose(const struct candidate *candidates, size_t count, const struct choice *c)
{
    return candidate_best(candidates, count, better);
}

const struct strategy least_connections = {
    .name = "least_connections",
    .help = "The instance with the fewest requests in flight.",
    .choose = choose,
};
