// SPDX-License-Identifier: Apache-2.0
/*
 * Strategy: the instance where the request is predicted to be done first: what is before it, waking
 * if it sleeps, reading what it has not cached of the prompt, making the expected output; plus the
 * weighed error of all that (gateway.error_weight). Ties go to fewer requests in flight, then to
 * fewer choices so far, then to the first.
 */
#include <math.h>

#include "dispatch/dispatch_int.h"

static double square(double x)
{
    return x * x;
}

static double cost(const struct candidate *one, const struct choice *c)
{
    uint32_t cached = MIN_OF(one->cached_tokens, c->prompt_tokens);
    double uncached = (double)(c->prompt_tokens - cached);
    double expected = one->wait_ms + one->read_ms + one->swap_ms + uncached * one->prefill_ms +
                      c->output_tokens * one->decode_ms;
    double variance = square(one->wait_error_ms) + square(uncached * one->prefill_error) +
                      square(c->output_tokens * one->decode_error) +
                      square(c->output_error * one->decode_ms) +
                      square(c->output_error * one->decode_error);

    return expected + c->error_weight * sqrt(variance);
}

static bool better(const struct candidate *a, const struct candidate *b)
{
    return a->in_flight != b->in_flight ? a->in_flight < b->in_flight : a->chosen < b->chosen;
}

static int choose(const struct candidate *candidates, size_t count, const struct choice *c)
{
    double least = 0;
    int best = -1;

    for (size_t i = 0; i < count; i++) {
        const struct candidate *one = &candidates[i];
        double ms;

        if (!candidate_has_room(one)) {
            continue;
        }
        ms = cost(one, c);
        if (best < 0 || ms < least || (ms == least && better(one, &candidates[best]))) {
            best = (int)i;
            least = ms;
        }
    }
    return best;
}

const struct strategy earliest_completion = {
    .name = "earliest_completion",
    .help = "The instance where the request is predicted to be done first, by learnt speed, length "
            "of answers and what is cached of its prompt.",
    .looks_at = LOOKS_AT_PREFIX,
    .choose = choose,
};
