// SPDX-License-Identifier: Apache-2.0
/* All strategies, the default first, and what most of them are made of. */
#include "dispatch/dispatch_int.h"

static const struct strategy *const strategies[] = {
    &least_outstanding_tokens,
    &least_connections,
    &response_time,
    &power_of_two,
    &round_robin,
    &weighted,
};

const struct strategy *strategy_next(size_t *cursor)
{
    return *cursor < ARRAY_SIZE(strategies) ? strategies[(*cursor)++] : NULL;
}

const struct strategy *strategy_find(const char *name)
{
    const struct strategy *s;
    size_t cursor = 0;

    while ((s = strategy_next(&cursor)) && !str_eq(s->name, name)) {
    }
    return s;
}

int candidate_best(const struct candidate *candidates, size_t count,
                   bool (*better)(const struct candidate *, const struct candidate *))
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
