// SPDX-License-Identifier: Apache-2.0
/* The properties of strategies. */
#include "properties.h"

size_t roll_candidates(struct world *w, struct candidate c[MANY])
{
    static const char *const uuids[MANY] = { "a", "b", "c", "d", "e", "f", "g", "h",
                                             "i", "j", "k", "l", "m", "n", "o", "p" };
    size_t count = world_random_below(w, MANY + 1);
    unsigned full = (unsigned)world_random_below(w, 3); /* of two */

    for (size_t i = 0; i < count; i++) {
        unsigned cap = (unsigned)world_random_below(w, 6); /* 0: the one that is excluded */

        c[i] = (struct candidate){
            .uuid = uuids[i],
            .in_flight =
                world_random_below(w, 2) < full ? cap : (unsigned)world_random_below(w, cap + 2),
            .cap = cap,
            .weight = 1 + (unsigned)world_random_below(w, 9),
            .tokens = world_random_below(w, 4) * 100,
            .response_ms = world_random_below(w, 4) * 100,
            .chosen = world_random_below(w, 1000),
            .place = world_random_below(w, UINT64_MAX),
            .wait_ms = (double)world_random_below(w, 4) * 100,
            .wait_error_ms = (double)world_random_below(w, 3) * 50,
            .swap_ms = (double)world_random_below(w, 2) * 1000,
            .prefill_ms = (double)world_random_below(w, 3),
            .prefill_error = (double)world_random_below(w, 3),
            .decode_ms = (double)world_random_below(w, 50),
            .decode_error = (double)world_random_below(w, 50),
            .cached_tokens = (uint32_t)world_random_below(w, 3) * 100,
        };
    }
    return count;
}

struct choice roll_choice(struct world *w)
{
    return (struct choice){
        .tokens = (uint32_t)world_random_below(w, 500),
        .prompt_tokens = (uint32_t)world_random_below(w, 300),
        .output_tokens = (double)world_random_below(w, 300),
        .output_error = (double)world_random_below(w, 300),
        .session = world_random_below(w, 2) ? world_random_below(w, UINT64_MAX) : 0,
        .turn = world_random_below(w, 1000),
        .random = world_random_below(w, UINT64_MAX),
        .error_weight = (double)world_random_below(w, 3) / 2,
    };
}

void check_properties(struct world *w, const struct strategy *s, int rounds)
{
    for (int round = 0; round < rounds; round++) {
        struct candidate c[MANY] = { 0 };
        size_t count = roll_candidates(w, c);
        struct choice choice = roll_choice(w);
        bool room = false;
        int i;

        for (size_t n = 0; n < count; n++) {
            room |= c[n].in_flight < c[n].cap;
        }
        i = s->choose(c, count, &choice);
        if ((i >= 0) != room || i >= (int)count || (i >= 0 && c[i].in_flight >= c[i].cap)) {
            fail_msg("%s chose %d of %zu", s->name, i, count);
        }
        for (size_t n = count; n < MANY; n++) { /* what would be best of all, were it there */
            c[n] =
                (struct candidate){ .uuid = "0", .cap = 100, .weight = 100, .cached_tokens = 900 };
        }
        assert_int_equal(i, s->choose(c, count, &choice));
    }
}
