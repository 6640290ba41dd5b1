// SPDX-License-Identifier: Apache-2.0
/* Strategy: the instance with the fewest tokens still to be done, among those with room. Ties go to
 * fewer requests, then to the first. */
#include "dispatch/dispatch.h"

static bool better(const struct candidate *a, const struct candidate *b)
{
    return a->tokens != b->tokens ? a->tokens < b->tokens : a->in_flight < b->in_flight;
}

static int choose(const struct candidate *candidates, size_t count, uint32_t tokens)
{
    int best = -1;

    for (size_t i = 0; i < count; i++) {
        if (candidates[i].in_flight < candidates[i].cap &&
            (best < 0 || better(&candidates[i], &candidates[best]))) {
            best = (int)i;
        }
    }
    return best;
}

const struct strategy least_outstanding_tokens = {
    .name = "least_outstanding_tokens",
    .help = "The instance with the fewest prompt and output tokens still to be done.",
    .choose = choose,
};
