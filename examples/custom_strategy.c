// SPDX-License-Identifier: Apache-2.0
/*
 * A dispatch strategy of one's own, worked out: "steady". It sends each request to the instance
 * whose predicted work is done first, as shortest_queue does, but it does not wander: as long as
 * the least busy one is only a little better than the heaviest (by weight), the heaviest is used.
 *
 * A strategy is one pure function. It is given the candidates and what is known of the request, and
 * returns the index of its choice. It must not choose one without room, it must choose one when any
 * has room, and it may keep nothing: the same question gets the same answer. Chance comes from
 * c->random.
 *
 * To use it in berth:
 *   1. copy this file to src/dispatch/steady.c, and list it in src/dispatch/meson.build;
 *   2. declare `steady` in src/dispatch/dispatch_int.h, beside the others;
 *   3. add `&steady,` to the table in src/dispatch/strategy.c;
 *   4. add its name to the words of gateway.strategy in src/dispatch/dispatch.c.
 * Then `gateway.strategy: steady`, a model's `strategy: steady`, and
 * PUT /api/proxy/load-balance?strategy=steady choose by it, and the tests of src/dispatch hold it
 * to the rules that all strategies keep.
 */
#include "dispatch/dispatch.h"

/* How much sooner the least busy one must be done before it is preferred. */
static const double worth_moving_ms = 50;

/* Is a better than b? Ties are for candidate_best to decide: the first stays. */
static bool is_done_sooner(const struct candidate *a, const struct candidate *b)
{
    return a->wait_ms < b->wait_ms;
}

static bool is_heavier(const struct candidate *a, const struct candidate *b)
{
    return a->weight > b->weight;
}

static int choose(const struct candidate *candidates, size_t count, const struct choice *c)
{
    /* candidate_best passes over those without room, and says -1 when none has any. */
    int soonest = candidate_best(candidates, count, is_done_sooner);
    int heaviest = candidate_best(candidates, count, is_heavier);

    (void)
        c; /* what is known of the request: its tokens, session, expected output, a random number */
    if (soonest < 0) {
        return -1;
    }
    return candidates[heaviest].wait_ms <= candidates[soonest].wait_ms + worth_moving_ms ? heaviest
                                                                                         : soonest;
}

extern const struct strategy steady;

const struct strategy steady = {
    .name = "steady",
    .help = "The heaviest instance, until another one would be done clearly sooner.",
    .choose = choose,
};
