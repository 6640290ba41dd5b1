// SPDX-License-Identifier: Apache-2.0
/* Memory of an instance: the arithmetic. */
#include "planner/need.h"

#include "base/macros.h"

static const char *const source_names[NEED_SOURCE_MAX_] = {
    [NEED_UNKNOWN] = "unknown",
    [NEED_DECLARED] = "declared",
    [NEED_ESTIMATED] = "estimated",
    [NEED_MEASURED] = "measured",
};

const char *need_source_name(enum need_source s)
{
    return source_names[s];
}

uint64_t memory_need_on(const struct memory_need *need, unsigned n, uint64_t device_total_bytes)
{
    if (need->share > 0) {
        return (uint64_t)(need->share * (double)device_total_bytes);
    }
    return (need->split_bytes + n - 1) / n + need->fixed_bytes;
}

uint64_t place_bytes(const struct place *place)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < place->count; i++) {
        sum += place->shares[i].bytes;
    }
    return sum;
}

uint64_t place_bytes_on(const struct place *place, int device)
{
    for (unsigned i = 0; i < place->count; i++) {
        if (place->shares[i].device == device) {
            return place->shares[i].bytes;
        }
    }
    return 0;
}
