// SPDX-License-Identifier: Apache-2.0
/* Strategy: the instance with the fewest tokens still to be done, among those with room. Ties go to
 * fewer requests, then to the first. */
#include "dispatch/dispatch_int.h"

static bool better(const struct candidate *a, const struct candidate *b)
{
    return a->tokens != b->tokens ? a->tokens < b->tokens : a->in_flight < b->in_flight;
}

static int choose(const struct candidate *candidates, size_t count, const struct choice *c)
{
    return candidate_best(candidates, count, better);
}

const struct strategy least_outstanding_tokens = {
    .name = "least_outstanding_tokens",
    .help = "The instance with the fewest prompt and output tokens still to be done.",
    .choose = choose,
};
