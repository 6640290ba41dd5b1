// SPDX-License-Identifier: Apache-2.0
/* Strategy: the instance with the least of predicted wait plus its error, the latter weighed
 * (gateway.error_weight), among those with room: who does not like surprises takes a large weight.
 * Ties go to fewer requests in flight, then by uuid. */
#include <string.h>

#include "dispatch/dispatch_int.h"

static bool better(const struct candidate *a, const struct candidate *b)
{
    return a->in_flight != b->in_flight ? a->in_flight < b->in_flight
                                        : strcmp(a->uuid, b->uuid) < 0;
}

static int choose(const struct candidate *candidates, size_t count, const struct choice *c)
{
    double least = 0;
    int best = -1;

    for (size_t i = 0; i < count; i++) {
        const struct candidate *one = &candidates[i];
        double cost = one->wait_ms + c->error_weight * one->wait_error_ms;

        if (candidate_has_room(one) &&
            (best < 0 || cost < least || (cost == least && better(one, &candidates[best])))) {
            best = (int)i;
            least = cost;
        }
    }
    return best;
}

const struct strategy weighted_wait = {
    .name = "weighted_wait",
    .help = "The instance with the least predicted wait plus weighed error (gateway.error_weight).",
    .choose = choose,
};
