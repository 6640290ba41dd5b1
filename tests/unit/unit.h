// SPDX-License-Identifier: Apache-2.0
/* What every unit test includes: cmocka with the headers it wants first, and a seed that is printed
 * and can be given. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

/* SEED from the environment (it replays one history), else FIRST_SEED (the first of many: the
 * gate's runs are all alike), else a fresh one; printed, so that a failure can be replayed. */
static inline uint64_t test_seed(const char *test)
{
    const char *given = getenv("SEED") ? getenv("SEED") : getenv("FIRST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 1000003;

    printf("%s: SEED=%llu\n", test, (unsigned long long)seed);
    return seed;
}
