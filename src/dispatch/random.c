// SPDX-License-Identifier: Apache-2.0
/* Strategy: any of those with room, each as likely as the others. */
#include "dispatch/dispatch_int.h"

static int choose(const struct candidate *candidates, size_t count, const struct choice *c)
{
    size_t n = candidates_with_room(candidates, count);

    return n ? candidate_with_room(candidates, count, c->random % n) : -1;
}

const struct strategy random_choice = {
    .name = "random",
    .help = "Any instance with room, each as likely as the others.",
    .choose = choose,
};
