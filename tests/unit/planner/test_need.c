// SPDX-License-Identifier: Apache-2.0
/* The arithmetic of an instance's memory, with figures computed by hand and read from llama.cpp's
 * own log. */
#include "unit.h"

#include <errno.h>

#include "base/macros.h"
#include "planner/need.h"

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

static struct kv_type type(const char *name)
{
    struct kv_type t = { 0 };

    assert_int_equal(kv_type_from_string(name, &t), 0);
    return t;
}

static uint64_t layers(unsigned count, uint64_t cells, const char *name, uint32_t k, uint32_t v)
{
    const struct kv_cache cache = { type(name), type(name), cells, 0 };

    return count * kv_layer_bytes(&cache, k, v, false);
}

/* Llama-3-8B: 32 layers, 8 KV heads of 128: 2·1024 values a token and layer, 131,072 bytes in f16.
 * 8,192 tokens: 1 GiB; q8_0 34/64 of it, q4_0 18/64. Mixtral-8x7B has the same cache. Without
 * grouped heads (Llama-2-7B, 32 heads) it is four times as much. */
static void test_caches_of_known_models(void **state)
{
    assert_int_equal(layers(32, 8192, "f16", 1024, 1024), GIB);
    assert_int_equal(layers(32, 8192, "f32", 1024, 1024), 2 * GIB);
    assert_int_equal(layers(32, 8192, "q8_0", 1024, 1024), GIB / 64 * 34);
    assert_int_equal(layers(32, 8192, "q4_0", 1024, 1024), GIB / 64 * 18);
    assert_int_equal(layers(32, 8192, "fp8", 1024, 1024), GIB / 2);
    assert_int_equal(layers(32, 2048, "f16", 4096, 4096), GIB);
    /* DeepSeek-V3: 61 layers, one vector of 576: 70,272 bytes a token */
    assert_int_equal(layers(61, 1000, "f16", 576, 0), 70272000);
    /* as llama-server 0.7.0 logged it: 20 layers, 4 heads of 64, 8,192 cells: 160 MiB; q8_0 85 */
    assert_int_equal(layers(20, 8192, "f16", 256, 256), 160 * MIB);
    assert_int_equal(layers(20, 8192, "q8_0", 256, 256), 85 * MIB);
}

/* Gemma-2-9B at 8,192 tokens: 42 layers, 8 heads of 256; every other one keeps 4,096 + 512 tokens.
 * Whole: 21 · 8192 · 2 · 2048 · 2 = 1,409,286,144; windowed: 21 · 4608 · 8192 = 792,723,456. */
static void test_windows(void **state)
{
    const uint64_t cells = llamacpp_window_cells(8192, 1, 1, 4096, 512);
    const struct kv_cache cache = { { 1, 2 }, { 1, 2 }, 8192, cells };

    assert_int_equal(cells, 4608);
    assert_int_equal(
        21 * (kv_layer_bytes(&cache, 2048, 2048, false) + kv_layer_bytes(&cache, 2048, 2048, true)),
        1409286144 + UINT64_C(792723456));
    /* never more than a whole layer has; each stream has its own; a shared one holds all windows */
    assert_int_equal(llamacpp_window_cells(2048, 1, 1, 4096, 512), 2048);
    assert_int_equal(llamacpp_window_cells(8192, 4, 4, 1024, 512), 4 * 1536);
    assert_int_equal(llamacpp_window_cells(32768, 1, 4, 1024, 512), 4608);
    assert_int_equal(llamacpp_window_cells(8192, 1, 1, 128, 500), 768); /* in 256s */
}

/* Of 0.7.0's log, MiB × 10: 1024 wide, 2816 inside, 16 heads, 4 KV heads of 64; 1536, 4096, 24, 24;
 * 2048, 5632, 32, 8. */
static void test_compute_buffers_as_logged(void **state)
{
    static const struct {
        uint64_t hidden, ff, heads, qkv, ubatch, cells;
        bool flash;
        uint64_t mib_times_10;
    } rows[] = {
        { 1024, 2816, 16, 1536, 512, 8192, true, 345 },
        { 1024, 2816, 16, 1536, 512, 32768, true, 585 },
        { 1024, 2816, 16, 1536, 512, 65536, true, 905 },
        { 1024, 2816, 16, 1536, 128, 32768, true, 146 },
        { 1024, 2816, 16, 1536, 2048, 32768, true, 2341 },
        { 1024, 2816, 16, 1536, 512, 8192, false, 2850 },
        { 1024, 2816, 16, 1536, 512, 32768, false, 11010 },
        { 1536, 4096, 24, 4608, 512, 2048, true, 410 },
        { 1536, 4096, 24, 4608, 512, 8192, true, 470 },
        { 2048, 5632, 32, 3072, 512, 8192, true, 610 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct llamacpp_graph g = { .hidden = rows[i].hidden,
                                          .feed_forward = rows[i].ff,
                                          .heads = rows[i].heads,
                                          .qkv_values = rows[i].qkv,
                                          .vocab = 32000,
                                          .ubatch = rows[i].ubatch,
                                          .cells = rows[i].cells,
                                          .sequences = 4,
                                          .flash_attention = rows[i].flash };

        assert_in_range((llamacpp_compute_bytes(&g) * 10 + MIB / 2) / MIB, rows[i].mib_times_10 - 1,
                        rows[i].mib_times_10 + 1);
        assert_int_equal(llamacpp_output_bytes(&g), 4 * 4 * (32000 + rows[i].hidden));
    }
}

/* A mixture works with the experts that a token uses, not with all. */
static void test_experts_widen_the_buffer(void **state)
{
    struct llamacpp_graph g = { .hidden = 4096,
                                .feed_forward = 14336,
                                .heads = 32,
                                .ubatch = 512,
                                .cells = 4096,
                                .sequences = 1,
                                .flash_attention = true };
    uint64_t dense = llamacpp_compute_bytes(&g);

    g.experts_used = 2;
    g.expert_feed_forward = 14336;
    assert_int_equal(llamacpp_compute_bytes(&g) - dense,
                     512 * 4 * (2 * (3 * 14336 + 4096) - 3 * 14336));
}

static void test_types(void **state)
{
    struct kv_type t;

    assert_int_equal(kv_type_from_string("q9", &t), -EINVAL);
    assert_int_equal(kv_type_from_string("", &t), -EINVAL);
    assert_int_equal(type("q5_1").bytes, 24);
    assert_int_equal(type("bf16").bytes, 2);
}

/* Whatever a file and a definition say together: no figure wraps around, nor does the sum over 512
 * layers. */
static void test_absurd_numbers_stay_large(void **state)
{
    const struct kv_cache cache = { { 1, 4 }, { 1, 4 }, UINT64_MAX / 2, UINT64_MAX };
    const struct llamacpp_graph g = { .hidden = 1 << 24,
                                      .feed_forward = 1u << 31,
                                      .heads = 1 << 24,
                                      .ubatch = INT32_MAX,
                                      .cells = (uint64_t)INT32_MAX << 16 };

    assert_in_range(kv_layer_bytes(&cache, UINT32_MAX, UINT32_MAX, false), (uint64_t)1 << 48,
                    UINT64_MAX / 1024);
    assert_in_range(kv_layer_bytes(&cache, UINT32_MAX, 0, true), (uint64_t)1 << 48,
                    UINT64_MAX / 1024);
    assert_true(llamacpp_compute_bytes(&g) >= (uint64_t)1 << 48);
    assert_true(llamacpp_window_cells(UINT64_MAX, 2, 2, UINT64_MAX / 2, 512) >= (uint64_t)1 << 48);
}

static void test_on_devices(void **state)
{
    const struct memory_need need = { .split_bytes = 1001, .fixed_bytes = 10 };
    const struct memory_need share = { .split_bytes = 5, .share = 0.5 };
    const struct place place = { .count = 2, .shares = { { 3, 7 }, { 1, 8 } } };

    assert_int_equal(memory_need_on(&need, 1, 0), 1011);
    assert_int_equal(memory_need_on(&need, 2, 0), 511);
    assert_int_equal(memory_need_on(&share, 4, 100), 50);
    assert_int_equal(place_bytes(&place), 15);
    assert_int_equal(place_bytes_on(&place, 1), 8);
    assert_int_equal(place_bytes_on(&place, 2), 0);
    assert_string_equal(need_source_name(NEED_MEASURED), "measured");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_caches_of_known_models),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_compute_buffers_as_logged),
        cmocka_unit_test(test_experts_widen_the_buffer),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_absurd_numbers_stay_large),
        cmocka_unit_test(test_on_devices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
