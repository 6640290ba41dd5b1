// SPDX-License-Identifier: Apache-2.0
/* Strategy: the instance whose next answer is to be expected first, by its measured response time
 * and what it has in flight. Ones that were never measured go first: they have to be. Ties go to
 * fewer requests in flight, then to the first. */
#include "dispatch/dispatch_int.h"

static uint64_t expected_ms(const struct candidate *c)
{
    return c->response_ms * (c->in_flight + 1);
}

static bool better(const struct candidate *a, const struct candidate *b)
{
    uint64_t left = expected_ms(a), right = expected_ms(b);

    return left != right ? left < right : a->in_flight < b->in_flight;
}

static int choose(const struct candidate *candidates, size_t count, const struct choice *c)
{
    return candidate_best(candidates, count, better);
}

const struct strategy response_time = {
    .name = "response_time",
    .help =
        "The instance with the lowest measured response time, weighed by its requests in flight.",
    .choose = choose,
};
