// SPDX-License-Identifier: Apache-2.0
/*
 * Strategy: requests of one session go to one instance, without anybody remembering which. Every
 * pair of a session and an instance has a hash, and the highest of them decides (Thaler,
 * Ravishankar): an instance that comes takes its share of the sessions, one that goes gives its own
 * back to all the others, and no other session moves. Loads are bounded (Mirrokni, Thorup,
 * Zadimoghaddam): one that has a quarter more in flight than the mean is passed over. What belongs
 * to no session goes where the fewest tokens are outstanding.
 */
#include "dispatch/dispatch_int.h"

enum { BOUND_PERCENT = 125 };

static uint64_t score(const struct candidate *one, uint64_t session)
{
    uint64_t state = one->place ^ session;

    return splitmix_next(&state);
}

/* Requests that one may have, this one included. */
static uint64_t bound(const struct candidate *candidates, size_t count)
{
    uint64_t in_flight = 1;

    for (size_t i = 0; i < count; i++) {
        in_flight += candidates[i].in_flight;
    }
    return (in_flight * BOUND_PERCENT + 100 * count - 1) / (100 * count);
}

static int choose(const struct candidate *candidates, size_t count, const struct choice *c)
{
    uint64_t most, highest = 0;
    int best = -1;

    if (c->session == 0 || count == 0) {
        return least_outstanding_tokens.choose(candidates, count, c);
    }
    most = bound(candidates, count);
    for (size_t i = 0; i < count; i++) {
        const struct candidate *one = &candidates[i];
        uint64_t its = score(one, c->session);

        if (candidate_has_room(one) && one->in_flight < most && (best < 0 || its > highest)) {
            best = (int)i;
            highest = its;
        }
    }
    return best < 0 ? least_outstanding_tokens.choose(candidates, count, c) : best;
}

const struct strategy session_affinity = {
    .name = "session_affinity",
    .help = "Requests of one session go to one instance, unless it has more to do than its share.",
    .choose = choose,
};
