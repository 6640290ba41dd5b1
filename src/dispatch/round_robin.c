// SPDX-License-Identifier: Apache-2.0
/* Strategy: one instance after the other; one without room is passed over. */
#include "dispatch/dispatch_int.h"

static int choose(const struct candidate *candidates, size_t count, const struct choice *c)
{
    for (size_t i = 0; i < count; i++) {
        size_t at = (size_t)((c->turn + i) % count);

        if (candidates[at].in_flight < candidates[at].cap) {
            return (int)at;
        }
    }
    return -1;
}

const struct strategy round_robin = {
    .name = "round_robin",
    .help = "One instance after the other.",
    .choose = choose,
};
