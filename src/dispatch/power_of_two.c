// SPDX-License-Identifier: Apache-2.0
/* Strategy: two different instances at random among those with room; of these the one with fewer
 * requests in flight, then with fewer tokens still to be done, then the first drawn. */
#include "dispatch/dispatch_int.h"

static bool better(const struct candidate *a, const struct candidate *b)
{
    return a->in_flight != b->in_flight ? a->in_flight < b->in_flight : a->tokens < b->tokens;
}

static int choose(const struct candidate *candidates, size_t count, const struct choice *c)
{
    size_t n = candidates_with_room(candidates, count);
    uint64_t first, other;
    int a, b;

    if (n < 2) {
        return candidate_with_room(candidates, count, 0);
    }
    first = c->random % n;
    other = (first + 1 + c->random / n % (n - 1)) % n;
    a = candidate_with_room(candidates, count, first);
    b = candidate_with_room(candidates, count, other);
    return better(&candidates[b], &candidates[a]) ? b : a;
}

const struct strategy power_of_two = {
    .name = "power_of_two",
    .help = "Of two instances drawn at random the one with fewer requests in flight.",
    .choose = choose,
};
