// SPDX-License-Identifier: Apache-2.0
/* Strategy: the instance that is predicted to be through with what it has first, among those with
 * room. Ties go to the surer prediction, then to fewer requests in flight, then by uuid, so that
 * the order of the candidates does not matter. */
#include <string.h>

#include "dispatch/dispatch_int.h"

static bool better(const struct candidate *a, const struct candidate *b)
{
    if (a->wait_ms != b->wait_ms) {
        return a->wait_ms < b->wait_ms;
    }
    if (a->wait_error_ms != b->wait_error_ms) {
        return a->wait_error_ms < b->wait_error_ms;
    }
    return a->in_flight != b->in_flight ? a->in_flight < b->in_flight
                                        : strcmp(a->uuid, b->uuid) < 0;
}

static int choose(const struct candidate *candidates, size_t count, const struct choice *c)
{
    return candidate_best(candidates, count, better);
}

const struct strategy shortest_queue = {
    .name = "shortest_queue",
    .help = "The instance whose predicted work is done first; of equals the surer one.",
    .choose = choose,
};
