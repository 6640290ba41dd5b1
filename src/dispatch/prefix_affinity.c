// SPDX-License-Identifier: Apache-2.0
/*
 * Strategy: the instance that has the most of the prompt cached, so that it need not read it again;
 * unless it has much more to do than the least loaded one, or what is cached is a small part: then
 * the one with the fewest outstanding tokens. Of those with equally much cached the less loaded.
 */
#include "dispatch/dispatch_int.h"

/* Much more: over half as much again, and over two requests like this one. */
enum { GUARD_PERCENT = 150, GUARD_REQUESTS = 2, LEAST_PART = 4 /* of the prompt: a quarter */ };

static bool better(const struct candidate *a, const struct candidate *b)
{
    if (a->cached_tokens != b->cached_tokens) {
        return a->cached_tokens > b->cached_tokens;
    }
    return a->tokens != b->tokens ? a->tokens < b->tokens : a->in_flight < b->in_flight;
}

/* Of those within the guard. */
static int find_affine(const struct candidate *candidates, size_t count, const struct choice *c,
                       uint64_t least)
{
    uint64_t most = least * GUARD_PERCENT / 100 + (uint64_t)GUARD_REQUESTS * c->tokens;
    int best = -1;

    for (size_t i = 0; i < count; i++) {
        const struct candidate *one = &candidates[i];

        if (candidate_has_room(one) && one->tokens <= most && one->cached_tokens > 0 &&
            (uint64_t)one->cached_tokens * LEAST_PART >= c->prompt_tokens &&
            (best < 0 || better(one, &candidates[best]))) {
            best = (int)i;
        }
    }
    return best;
}

static int choose(const struct candidate *candidates, size_t count, const struct choice *c)
{
    int least = least_outstanding_tokens.choose(candidates, count, c), affine;

    if (least < 0) {
        return -1;
    }
    affine = find_affine(candidates, count, c, candidates[least].tokens);
    return affine < 0 ? least : affine;
}

const struct strategy prefix_affinity = {
    .name = "prefix_affinity",
    .help = "The instance that has the most of the prompt cached, unless it has much more to do "
            "than the others.",
    .looks_at = LOOKS_AT_PREFIX,
    .choose = choose,
};
