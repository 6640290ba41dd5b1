// SPDX-License-Identifier: Apache-2.0
/* Memory of an instance: the arithmetic. */
#include "planner/need.h"

#include <errno.h>

#include "base/macros.h"
#include "base/str.h"

enum { CELLS_STEP = 256 };

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

/* ---- estimates ---- */

int kv_type_from_string(const char *name, struct kv_type *ret)
{
    static const struct {
        const char *name;
        struct kv_type type;
    } types[] = {
        { "f32", { 1, 4 } },      { "f16", { 1, 2 } },    { "bf16", { 1, 2 } },
        { "fp8", { 1, 1 } },      { "q8_0", { 32, 34 } }, { "q5_1", { 32, 24 } },
        { "q5_0", { 32, 22 } },   { "q4_1", { 32, 20 } }, { "q4_0", { 32, 18 } },
        { "iq4_nl", { 32, 18 } },
    };

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (str_eq(types[i].name, name)) {
            *ret = types[i].type;
            return 0;
        }
    }
    return -EINVAL;
}

/* Files and definitions may say what they like: what is beyond this many is as good as endless, and
 * sums of such figures do not overflow. */
#define ENDLESS ((uint64_t)1 << 48)

static uint64_t times(uint64_t a, uint64_t b)
{
    uint64_t product;

    return __builtin_mul_overflow(a, b, &product) ? ENDLESS : MIN_OF(product, ENDLESS);
}

/* Rounded up to whole blocks. */
static uint64_t typed_bytes(const struct kv_type *type, uint64_t values)
{
    return (values + type->values - 1) / type->values * type->bytes;
}

uint64_t kv_layer_bytes(const struct kv_cache *cache, uint32_t k_values, uint32_t v_values,
                        bool windowed)
{
    uint64_t cells = windowed ? cache->window_cells : cache->cells;

    return typed_bytes(&cache->k, times(cells, k_values)) +
           typed_bytes(&cache->v, times(cells, v_values));
}

uint64_t llamacpp_window_cells(uint64_t stream_cells, uint64_t streams, uint64_t sequences,
                               uint64_t window, uint64_t ubatch)
{
    uint64_t cells = times(window, streams > 1 ? 1 : sequences) + ubatch;

    cells = MIN_OF(cells, stream_cells);
    return times((cells + CELLS_STEP - 1) / CELLS_STEP * CELLS_STEP, streams);
}

/* Per token two moments matter, in floats: the feed-forward with five vectors of the model's width
 * around it, and attention, which without flash attention makes a score for every cell and head.
 * The masks are there all the time. */
uint64_t llamacpp_compute_bytes(const struct llamacpp_graph *g)
{
    uint64_t around = 5 * g->hidden;
    uint64_t experts = times(g->experts_used, 3 * g->expert_feed_forward + g->hidden);
    uint64_t feed = around + MAX_OF(3 * g->feed_forward, experts);
    uint64_t attend = around + g->qkv_values + (g->flash_attention ? 0 : times(g->heads, g->cells));
    uint64_t mask = (g->flash_attention ? 2 : 4) * (g->cells + g->window_cells);

    return times(g->ubatch, 4 * MAX_OF(feed, attend) + mask);
}

uint64_t llamacpp_output_bytes(const struct llamacpp_graph *g)
{
    return times(4 * g->sequences, g->vocab + g->hidden);
}
