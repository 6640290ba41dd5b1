// SPDX-License-Identifier: Apache-2.0
/* Strategy: two different instances at random among those with room; of these the one with fewer
 * requests in flight, then with fewer tokens still to be done, then the first drawn. */
#include "dispatch/dispatch_int.h"

/* The n-th (from 0) of those with room; -1 when there are not so many. */
static int find_with_room(const struct candidate *candidates, size_t count, uint64_t n)
{
    for (size_t i = 0; i < count; i++) {
        if (candidates[i].in_flight < candidates[i].cap && n-- == 0) {
            return (int)i;
        }
    }
    return -1;
}

static size_t count_with_room(const struct candidate *candidates, size_t count)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        n += candidates[i].in_flight < candidates[i].cap;
    }
    return n;
}

static bool better(const struct candidate *a, const struct candidate *b)
{
    return a->in_flight != b->in_flight ? a->in_flight < b->in_flight : a->tokens < b->tokens;
}

static int choose(const struct candidate *candidates, size_t count, const struct choice *c)
{
    size_t n = count_with_room(candidates, count);
    uint64_t first, other;
    int a, b;

    if (n < 2) {
        return find_with_room(candidates, count, 0);
    }
    first = c->random % n;
    other = (first + 1 + c->random / n % (n - 1)) % n;
    a = find_with_room(candidates, count, first);
    b = find_with_room(candidates, count, other);
    return better(&candidates[b], &candidates[a]) ? b : a;
}

const struct strategy power_of_two = {
    .name = "power_of_two",
    .help = "Of two instances drawn at random the one with fewer requests in flight.",
    .choose = choose,
};
