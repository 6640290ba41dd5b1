// SPDX-License-Identifier: Apache-2.0
/* Runs random histories one after the other, each from its own seed. SEED and HISTORIES replay. */
#pragma once

#include "unit.h"

static uint64_t current_seed;

/* After a failure this is the history to replay; after success it tells how far it came. */
static inline int tell_seed(void **state)
{
    printf("last history: SEED=%llu HISTORIES=1\n", (unsigned long long)current_seed);
    return 0;
}

static inline void run_histories(const char *test, int count, void (*run_history)(uint64_t seed))
{
    uint64_t seed = test_seed(test);
    const char *given = getenv("HISTORIES");

    count = given ? atoi(given) : count;
    for (int i = 0; i < count; i++) {
        current_seed = seed + (uint64_t)i;
        run_history(current_seed);
    }
}
