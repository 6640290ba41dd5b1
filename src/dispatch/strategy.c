// SPDX-License-Identifier: Apache-2.0
/* All strategies, the default first, and what most of them are made of. */
#include <assert.h>

#include "dispatch/dispatch_int.h"

static const struct strategy *const strategies[] = {
    &least_outstanding_tokens,
    &least_connections,
    &response_time,
    &power_of_two,
    &round_robin,
    &weighted,
    &random_choice,
    &shortest_queue,
    &weighted_wait,
    &probabilistic,
    &earliest_completion,
    &prefix_affinity,
    &session_affinity,
};

_Static_assert(ARRAY_SIZE(strategies) <= STRATEGIES_MAX, "more counters, then");

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

size_t strategy_index(const struct strategy *s)
{
    size_t i = 0;

    while (strategies[i] != s) {
        i++;
        assert(i < ARRAY_SIZE(strategies));
    }
    return i;
}

int strategy_check(const char *name, struct error *reterr)
{
    const struct strategy *other;
    size_t cursor = 0;

    if (strategy_find(name)) {
        return 0;
    }
    error_set(reterr, -EINVAL, "there is no strategy '%.64s', only:", name);
    while (reterr && (other = strategy_next(&cursor))) {
        size_t n = strlen(reterr->text);

        snprintf(reterr->text + n, sizeof(reterr->text) - n, " %s", other->name);
    }
    return -EINVAL;
}

/* Steele, Lea, Flood: splitmix64. */
uint64_t splitmix_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15U;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

/* FNV-1a, then mixed well. */
uint64_t candidate_place(const char *uuid)
{
    uint64_t hash = 0xcbf29ce484222325U;

    for (; *uuid; uuid++) {
        hash = (hash ^ (unsigned char)*uuid) * 0x100000001b3U;
    }
    return splitmix_next(&hash);
}

int candidate_best(const struct candidate *candidates, size_t count,
                   bool (*better)(const struct candidate *, const struct candidate *))
{
    int best = -1;

    for (size_t i = 0; i < count; i++) {
        if (candidate_has_room(&candidates[i]) &&
            (best < 0 || better(&candidates[i], &candidates[best]))) {
            best = (int)i;
        }
    }
    return best;
}

size_t candidates_with_room(const struct candidate *candidates, size_t count)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        n += candidate_has_room(&candidates[i]);
    }
    return n;
}

int candidate_with_room(const struct candidate *candidates, size_t count, uint64_t n)
{
    for (size_t i = 0; i < count; i++) {
        if (candidate_has_room(&candidates[i]) && n-- == 0) {
            return (int)i;
        }
    }
    return -1;
}
