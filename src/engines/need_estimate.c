// SPDX-License-Identifier: Apache-2.0
/* Estimates that more than one driver makes, and words about memory that more than one engine has.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "engines/need.h"

#define MIB ((uint64_t)1 << 20)
#define PIB ((uint64_t)1 << 50)

enum {
    CONTEXT_TOKENS = 8192, /* of an engine whose settings are not known: that much cache */
    RUNTIME_MIB = 512,
};

static uint64_t cache_bytes(const struct model_facts *facts)
{
    const struct kv_cache cache = { { 1, 2 }, { 1, 2 }, CONTEXT_TOKENS, CONTEXT_TOKENS };
    uint64_t sum = 0;

    for (unsigned i = 0; i < facts->layer_count; i++) {
        const struct model_layer *l = &facts->layers[i];

        sum += kv_layer_bytes(&cache, l->k_values, l->v_values, l->windowed) + l->state_bytes;
    }
    return sum;
}

void need_of_share(double share, unsigned devices, const struct model_facts *facts,
                   struct memory_need *ret)
{
    *ret = (struct memory_need){ .share = share,
                                 .min_devices = devices,
                                 .max_devices = devices,
                                 .weight_bytes = facts ? facts->weight_bytes : 0 };
}

void need_of_files(const struct model_facts *facts, struct memory_need *ret)
{
    *ret = (struct memory_need){ .min_devices = 1, .max_devices = PLACE_DEVICES_MAX };
    if (!facts || facts->weight_bytes == 0) {
        return;
    }
    ret->weight_bytes = facts->weight_bytes;
    ret->kv_bytes = cache_bytes(facts);
    ret->runtime_bytes = RUNTIME_MIB * MIB;
    ret->split_bytes = ret->weight_bytes + ret->kv_bytes;
    ret->fixed_bytes = ret->runtime_bytes;
    ret->estimated_bytes = ret->split_bytes + ret->fixed_bytes;
}

uint64_t need_failed_bytes(const char *last_words)
{
    static const char mark[] = "of size ";
    uint64_t most = 0;

    for (const char *at = last_words; at && (at = strstr(at, mark));) {
        at += strlen(mark);
        if (isdigit((unsigned char)*at)) {
            uint64_t bytes = strtoull(at, NULL, 10);

            most = bytes < PIB ? MAX_OF(most, bytes) : most; /* more is nonsense, or garbled */
        }
    }
    return most;
}

bool need_is_out_of_memory(const char *last_words)
{
    static const char *const words[] = {
        "out of memory",
        "OutOfMemory",
        "OutOfDeviceMemory",
        "std::bad_alloc",
        "unable to allocate",
        "failed to allocate",
        "annot allocate memory",
        "insufficient memory",
        "not enough memory",
        "No available memory for the cache blocks",
        "KV cache is needed, which is larger than",
        "less than desired GPU memory utilization",
        "MemoryError",
    };

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (strstr(last_words, words[i])) {
            return true;
        }
    }
    return false;
}
