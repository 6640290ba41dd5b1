// SPDX-License-Identifier: Apache-2.0
/*
 * Strategy: one sample is drawn of each instance's predicted wait, which is taken to be normal
 * around its expectation and never below nothing; the smallest sample wins. So an instance gets the
 * share in which it is likely to be the first, whatever the scale: of queues of 10 and of 100 the
 * shorter one wins as clearly as of 1 and of 10. Of those that are drawn idle each is as likely.
 */
#include "dispatch/dispatch_int.h"

/* Roughly normal, with mean 0 and deviation 1: the sum of four even numbers of 16 bits, of which
 * each has a variance of 2^32 / 12. */
static double draw(uint64_t random)
{
    uint64_t sum =
        (random & 0xffff) + (random >> 16 & 0xffff) + (random >> 32 & 0xffff) + (random >> 48);

    return ((double)sum - 131070) * (1.7320508075688772 / 65536);
}

static int choose(const struct candidate *candidates, size_t count, const struct choice *c)
{
    uint64_t state = c->random, equals = 0;
    double least = 0;
    int best = -1;

    for (size_t i = 0; i < count; i++) {
        const struct candidate *one = &candidates[i];
        double sample = one->wait_ms + one->wait_error_ms * draw(splitmix_next(&state));

        sample = MAX_OF(sample, 0.0);
        if (!candidate_has_room(one) || (best >= 0 && sample > least)) {
            continue;
        }
        equals = best >= 0 && sample == least ? equals + 1 : 1;
        if (equals == 1 || splitmix_next(&state) % equals == 0) {
            best = (int)i;
        }
        least = sample;
    }
    return best;
}

const struct strategy probabilistic = {
    .name = "probabilistic",
    .help = "By chance: each instance as often as it is likely to be through with its work first.",
    .choose = choose,
};
