// SPDX-License-Identifier: Apache-2.0
/* What lies in memory: the sum of the dimensions is the published size, KV cache to the byte, and
 * who shares what with whom. Several are faults of other planners, kept away by a test each. */
#include "unit.h"

#include <math.h>

#include "planner/planner_int.h"

static struct planner_setup setup(const char *model, const char *chip, enum planner_format f)
{
    struct planner_setup s;

    planner_setup_init(&s, planner_find_model(model), planner_find_chip(chip), PLANNER_ENGINE_VLLM,
                       f, PLANNER_KV_16, NULL);
    return s;
}

static struct planner_memory memory(const struct planner_setup *s, struct planner_plan p)
{
    struct planner_memory m;

    planner_memory(s, &p, 1, 2048, &m);
    return m;
}

static void assert_near(double got, double wanted, double share)
{
    if (fabs(got - wanted) > share * fabs(wanted)) {
        print_error("got %.10g, wanted %.10g within %g %%\n", got, wanted, share * 100);
        fail();
    }
}

static void test_published_sizes(void **state)
{
    for (const struct planner_model *m = planner_models; m->name; m++) {
        if (m->published_b > 0) {
            print_message("%s: %.2f of %.2f\n", m->name, planner_params(m) / 1e9, m->published_b);
            assert_near(planner_params(m) / 1e9, m->published_b, 0.01);
        }
    }
}

static void test_active_parameters(void **state)
{
    assert_near(planner_active_params(planner_find_model("DeepSeek-V3")) / 1e9, 37.55, 0.01);
    assert_near(planner_active_params(planner_find_model("Qwen3-235B-A22B")) / 1e9, 22.19, 0.01);
    assert_near(planner_active_params(planner_find_model("GPT-OSS-120B")) / 1e9, 5.71, 0.01);
}

static void test_kv_exact(void **state)
{
    static const struct {
        const char *model;
        double bytes;
    } rows[] = {
        { "Llama-2-7B", 524288 },     { "Llama-3.1-70B", 327680 },
        { "Llama-3.1-405B", 516096 }, { "Qwen3-32B", 262144 },
        { "Gemma-3-27B", 507904 },    { "DeepSeek-V3", 70272 },
        { "GLM-5", 89856 },           { "GPT-OSS-120B", 73728 },
        { "Phi-2", 327680 },          { "Qwen3-235B-A22B", 192512 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_true(planner_kv_bytes_per_token(planner_find_model(rows[i].model)) == rows[i].bytes);
    }
}

/* Pages of 16 tokens; 8 bits are half; a window holds no more than itself and the chunk in flight.
 */
static void test_kv_of_a_request(void **state)
{
    struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM", PLANNER_BF16);
    const struct planner_plan one = { 1, 1, 1, 1, 1, 1 }, eight = { 8, 1, 1, 1, 1, 1 };
    struct planner_plan wide = { 16, 1, 1, 1, 1, 1 };
    double bytes;

    assert_true(planner_request_kv(&s, &one, 1000, 512) == 1008 * 327680.0);
    assert_true(planner_request_kv(&s, &eight, 1024, 512) == 1024 * 327680.0 / 8);
    /* more chips than KV heads: each holds one whole head all the same */
    assert_true(planner_request_kv(&s, &wide, 1024, 512) == 1024 * 327680.0 / 8);
    bytes = planner_request_kv(&s, &one, 1024, 512);
    s.kv_bytes = 1;
    assert_true(planner_request_kv(&s, &one, 1024, 512) == bytes / 2);
    s = setup("Gemma-3-27B", "H100-SXM", PLANNER_BF16);
    /* 10 full layers and 52 of window 1024 with a chunk of 512 */
    assert_true(planner_request_kv(&s, &one, 16384, 512) ==
                507904.0 / 62 * (10 * 16384 + 52 * 1536));
}

/* So it is with their weights: beyond as many chips as KV heads, K and V are divided no further. */
static void test_whole_heads(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM", PLANNER_BF16);
    const double eight = memory(&s, (struct planner_plan){ 8, 1, 1, 1, 1, 1 }).weights;
    const double sixteen = memory(&s, (struct planner_plan){ 16, 1, 1, 1, 1, 1 }).weights;
    const double kv = 80 * 2.0 * 8192 * 128 * 8 * 2 / 8;

    assert_near(sixteen, (eight - kv) / 2 + kv, 1e-9);
}

/* Latent KV is the same on every chip of a tensor-parallel group. */
static void test_latent_kv_is_replicated(void **state)
{
    const struct planner_setup s = setup("DeepSeek-V3", "H200-SXM", PLANNER_FP8);
    const struct planner_plan one = { 1, 1, 1, 1, 1, 1 }, eight = { 8, 1, 1, 1, 8, 1 };

    assert_true(planner_request_kv(&s, &one, 4096, 512) == 4096 * 70272.0);
    assert_true(planner_request_kv(&s, &eight, 4096, 512) == 4096 * 70272.0);
}

/* The head's size is the model's own figure: Qwen3-0.6B has 16 heads of 128 in 1024. */
static void test_head_size_is_read(void **state)
{
    struct planner_weights w;

    planner_layer_weights(planner_find_model("Qwen3-0.6B"), &w);
    assert_true(w.attn_split == 2.0 * 1024 * 128 * 16);
    assert_true(w.attn_kv == 2.0 * 1024 * 128 * 8);
}

static void test_tied_embedding(void **state)
{
    const struct planner_model *m = planner_find_model("Llama-3.1-8B");
    struct planner_model tied = *m;

    tied.tied = true;
    assert_true(planner_params(m) - planner_params(&tied) == 128256.0 * 4096);
}

static void test_latent_query_is_counted_once(void **state)
{
    struct planner_weights w;

    planner_layer_weights(planner_find_model("DeepSeek-V3"), &w);
    assert_true(w.attn_split + w.attn_whole == 7168.0 * 1536 + 1536.0 * 128 * 192 + 7168.0 * 576 +
                                                   512.0 * 128 * 256 + 128.0 * 128 * 7168);
}

/* Experts are divided by ep x moe_tp, once, whichever way. */
static void test_experts_divided_once(void **state)
{
    const struct planner_setup s = setup("Mixtral-8x7B", "H100-SXM", PLANNER_BF16);
    const double by_ep = memory(&s, (struct planner_plan){ 8, 1, 1, 8, 1, 1 }).weights;
    const double by_tp = memory(&s, (struct planner_plan){ 8, 1, 1, 1, 8, 1 }).weights;
    const double mixed = memory(&s, (struct planner_plan){ 8, 1, 1, 2, 4, 1 }).weights;

    assert_near(by_ep, by_tp, 1e-9);
    assert_near(mixed, by_tp, 1e-9);
    assert_near(by_ep, 2 * planner_params(s.model) / 8, 0.01);
}

static void test_stages_divide_experts_too(void **state)
{
    const struct planner_setup s = setup("Qwen3-235B-A22B", "H100-SXM", PLANNER_FP8);
    const double one = memory(&s, (struct planner_plan){ 4, 1, 1, 4, 1, 1 }).weights;
    const double two = memory(&s, (struct planner_plan){ 4, 2, 1, 4, 1, 1 }).weights;

    assert_near(two, one / 2, 0.03);
}

/* Three dense layers come first, so that another stage is the fullest; where every other layer is
 * dense each stage has its half of them. */
static void test_stages_with_dense_layers(void **state)
{
    const struct planner_setup first = setup("DeepSeek-V3", "H200-SXM", PLANNER_FP8);
    const struct planner_setup turns = setup("Llama-4-Maverick", "H200-SXM", PLANNER_FP8);
    const double one = memory(&turns, (struct planner_plan){ 8, 1, 1, 8, 1, 1 }).weights;
    const double two = memory(&turns, (struct planner_plan){ 8, 2, 1, 8, 1, 1 }).weights;
    const double whole = memory(&first, (struct planner_plan){ 8, 1, 1, 8, 1, 1 }).weights;
    const double half = memory(&first, (struct planner_plan){ 8, 2, 1, 8, 1, 1 }).weights;

    assert_near(two, one / 2, 0.03);
    assert_true(half > 31.0 / 61 * whole && half < 32.5 / 58 * whole);
}

/* A card of "80 GB" has 85.9e9 bytes: Llama 70B in 16 bits goes on two, and 4-bit formats keep
 * their scales and 16-bit embeddings. */
static void test_measured_plans_fit(void **state)
{
    static const struct {
        const char *model, *chip;
        enum planner_engine engine;
        enum planner_format format;
        struct planner_plan plan;
        double isl, osl;
    } rows[] = {
        { "Llama-3.1-70B",
          "A100-SXM-80GB",
          PLANNER_ENGINE_TRTLLM,
          PLANNER_BF16,
          { 2, 1, 1, 1, 1, 1 },
          2048,
          2048 },
        { "Llama-3.1-70B",
          "H100-SXM",
          PLANNER_ENGINE_TRTLLM,
          PLANNER_FP8,
          { 1, 1, 1, 1, 1, 1 },
          2048,
          128 },
        { "DeepSeek-R1",
          "B200-SXM",
          PLANNER_ENGINE_SGLANG,
          PLANNER_FP8,
          { 4, 1, 1, 1, 4, 1 },
          8192,
          1024 },
        { "Llama-3.1-8B",
          "RTX 4080 16GB",
          PLANNER_ENGINE_LLAMACPP,
          PLANNER_BF16,
          { 1, 1, 1, 1, 1, 1 },
          1,
          1024 },
        { "Llama-3.1-70B",
          "RTX 3090",
          PLANNER_ENGINE_LLAMACPP,
          PLANNER_BF16,
          { 1, 6, 1, 1, 1, 1 },
          1,
          4096 },
        { "GPT-OSS-120B",
          "H100-SXM",
          PLANNER_ENGINE_VLLM,
          PLANNER_MXFP4,
          { 1, 1, 1, 1, 1, 1 },
          1024,
          1024 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct planner_load load = {
            .kind = PLANNER_CLOSED_LOOP, .isl = rows[i].isl, .osl = rows[i].osl, .concurrency = 1
        };
        char why[PLANNER_REFUSAL_SIZE];
        struct planner_setup s;
        struct planner_result r;

        planner_setup_init(&s, planner_find_model(rows[i].model), planner_find_chip(rows[i].chip),
                           rows[i].engine, rows[i].format, PLANNER_KV_AUTO, NULL);
        planner_evaluate(&s, &rows[i].plan, &load, &r);
        planner_refusal(&s, &rows[i].plan, &load, &r, why);
        print_message("%s on %s: %.1f GB %s\n", rows[i].model, rows[i].chip, r.weights_bytes / 1e9,
                      why);
        assert_int_equal(r.bound, PLANNER_FITS);
    }
}

/* More chips in any direction never mean more weights on one of them. */
static void test_random_more_chips_less_each(void **state)
{
    uint64_t seed = test_seed("more_chips");
    size_t models = 1;

    while (planner_models[models].name) {
        models++;
    }
    for (int i = 0; i < 20000; i++) {
        struct planner_plan p = { 1, 1, 1, 1, 1, 1 }, q;
        struct planner_setup s;
        const struct planner_model *m;

        seed = seed * 6364136223846793005U + 1442695040888963407U;
        m = &planner_models[(seed >> 33) % models];
        s = setup(m->name, "H100-SXM", (seed >> 50) % 2 ? PLANNER_FP8 : PLANNER_BF16);
        p.tp = 1U << (seed >> 20) % 4;
        p.pp = 1U << (seed >> 24) % 3;
        p.moe_tp = m->experts > 0 ? p.tp : 1;
        q = p;
        if ((seed >> 40) % 2 && 2 * q.pp <= m->layers) {
            q.pp *= 2;
        } else {
            q.tp *= 2;
            q.moe_tp = m->experts > 0 ? q.tp : 1;
        }
        if (memory(&s, q).weights > memory(&s, p).weights * 1.0000001) {
            print_error("%s: tp%u pp%u %.4g < tp%u pp%u %.4g\n", m->name, p.tp, p.pp,
                        memory(&s, p).weights, q.tp, q.pp, memory(&s, q).weights);
            fail();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_sizes),
        cmocka_unit_test(test_active_parameters),
        cmocka_unit_test(test_kv_exact),
        cmocka_unit_test(test_kv_of_a_request),
        cmocka_unit_test(test_whole_heads),
        cmocka_unit_test(test_latent_kv_is_replicated),
        cmocka_unit_test(test_head_size_is_read),
        cmocka_unit_test(test_tied_embedding),
        cmocka_unit_test(test_latent_query_is_counted_once),
        cmocka_unit_test(test_experts_divided_once),
        cmocka_unit_test(test_stages_divide_experts_too),
        cmocka_unit_test(test_stages_with_dense_layers),
        cmocka_unit_test(test_measured_plans_fit),
        cmocka_unit_test(test_random_more_chips_less_each),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
