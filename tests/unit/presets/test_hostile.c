// SPDX-License-Identifier: Apache-2.0
/* Requests that somebody spoiled at random: each is read or refused with a sentence that names a
 * member, and what is read is answered in finite numbers. SEED replays a history. */
#include "unit.h"

#include <math.h>
#include <string.h>

#include "base/macros.h"
#include "base/str.h"
#include "presets/example.h"
#include "presets/presets.h"

enum { ROUNDS = 3000, ASKS_MAX = 3 };

static uint64_t seed;

static uint64_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static size_t below(size_t n)
{
    return n ? next() % n : 0;
}

/* ---- spoiling ---- */

static json_t *odd_value(void)
{
    static const double numbers[] = { 0,    -1,    1,     2, 3,  0.5, -0.0, 1e-300, 1e300,
                                      7e15, 65536, 65537, 8, 64, 128, 4096, 1e9 };
    static const char *const texts[] = { "",     "x",   "h100", "deepseek-v3", "fp8",
                                         "auto", "moe", "mla",  "%s%n",        "\xf0\x9f\x9a\xa2" };
    char *longest;
    json_t *v;

    switch (below(9)) {
    case 0:
        return json_null();
    case 1:
        return json_boolean(below(2));
    case 2:
        return json_array();
    case 3:
        return json_object();
    case 4:
        return json_string(texts[below(ARRAY_SIZE(texts))]);
    case 5:
        return json_integer((json_int_t)next());
    case 6:
        longest = malloc(5001);
        assert_non_null(longest);
        memset(longest, 'a' + (int)below(3), 5000);
        longest[5000] = '\0';
        v = json_string(longest);
        free(longest);
        return v;
    default:
        return json_real(numbers[below(ARRAY_SIZE(numbers))]);
    }
}

/* A member of an object, or an element, somewhere below; NULL name: an element at *index. */
static json_t *pick_place(json_t *at, const char **name, size_t *index)
{
    for (;;) {
        json_t *inner = NULL;

        *name = NULL;
        if (json_is_object(at) && json_object_size(at) > 0) {
            void *it = json_object_iter(at);

            for (size_t skip = below(json_object_size(at)); skip > 0; skip--) {
                it = json_object_iter_next(at, it);
            }
            *name = json_object_iter_key(it);
            inner = json_object_iter_value(it);
        } else if (json_is_array(at) && json_array_size(at) > 0) {
            *index = below(json_array_size(at));
            inner = json_array_get(at, *index);
        } else {
            return NULL;
        }
        if (below(4) == 0 || (json_is_object(inner) && json_object_size(inner) == 0) ||
            (json_is_array(inner) && json_array_size(inner) == 0) ||
            (!json_is_object(inner) && !json_is_array(inner))) {
            return at;
        }
        at = inner;
    }
}

/* Members that the example does not have, where they belong. */
static void add_member(json_t *body)
{
    static const char *const pairs[][2] = {
        { "model", "moe_config" },
        { "model", "mla_config" },
        { "model", "head_dim" },
        { "model", "architectures" },
        { "model", "preset" },
        { "model", "sliding_window" },
        { "hardware", "chip" },
        { "inference", "rate_per_s" },
        { "inference", "speculation" },
        { "inference", "prefix_hit" },
        { "inference", "slo" },
        { "topology", "levels" },
        { "topology", "pod_count" },
        { "topology", "rack_config" },
        { "search_constraints", "top_k" },
        { "search_constraints", "score_weights" },
        { "search_constraints", "max_memory_ratio" },
        { "search_constraints", "optimization_target" },
    };
    const size_t i = below(ARRAY_SIZE(pairs) + 2);
    json_t *moe;

    if (i < ARRAY_SIZE(pairs)) {
        json_object_set_new(json_object_get(body, pairs[i][0]), pairs[i][1], odd_value());
        return;
    }
    if (i == ARRAY_SIZE(pairs)) {
        json_object_set_new(body, "search_mode", json_string("manual"));
        json_object_set_new(
            body, "manual_parallelism",
            json_pack("{s:o, s:o, s:o}", "tp", odd_value(), "dp", odd_value(), "ep", odd_value()));
        return;
    }
    moe = json_pack("{s:o, s:i, s:o, s:o, s:o}", "num_experts", odd_value(), "num_experts_per_tok",
                    2, "moe_layer_freq", odd_value(), "first_k_dense_replace", odd_value(),
                    "num_shared_experts", odd_value());
    json_object_set_new(json_object_get(body, "model"), "moe_config", moe);
    json_object_set_new(json_object_get(body, "model"), "model_type", json_string("moe"));
}

static void spoil(json_t *body)
{
    const char *name = NULL;
    size_t index = 0;
    json_t *place;

    if (below(3) == 0) {
        add_member(body);
        return;
    }
    place = pick_place(body, &name, &index);
    if (place && name) {
        if (below(4) == 0) {
            json_object_del(place, name);
        } else {
            json_object_set_new(place, name, odd_value());
        }
    } else if (place) {
        if (below(4) == 0) {
            json_array_append(place, json_array_get(place, index));
        } else {
            json_array_set_new(place, index, odd_value());
        }
    }
}

/* ---- judging ---- */

static void assert_finite(const json_t *v)
{
    const char *key;
    json_t *inner;
    size_t i;

    assert_false(json_is_real(v) && !isfinite(json_real_value(v)));
    json_array_foreach(UNCONST(json_t *, v), i, inner)
    {
        assert_finite(inner);
    }
    json_object_foreach(UNCONST(json_t *, v), key, inner)
    {
        assert_finite(inner);
    }
}

static void judge_plan(const struct plan_request *r, const struct planner_setup *setup,
                       const struct planner_candidate *c)
{
    json_t *plan = plan_candidate_to_json(r, setup, c);
    const char *why = json_string_value(json_object_get(plan, "infeasible_reason"));
    const double rate = json_number_value(json_object_get(plan, "throughput"));

    assert_non_null(plan);
    assert_finite(plan);
    if (json_is_true(json_object_get(plan, "is_feasible"))) {
        assert_null(why);
        assert_true(rate > 0);
    } else {
        assert_true(why && *why);
        assert_true(rate == 0);
    }
    json_decref(plan);
}

static bool go_on(void *arg, double done)
{
    return ++*(int *)arg < ASKS_MAX;
}

static void judge(const struct plan_request *r)
{
    struct planner_setup setup;
    struct planner_findings f;
    int asks = 0;
    json_t *json = plan_request_to_json(r), *stats;

    assert_finite(json);
    plan_request_run(r, go_on, &asks, &setup, &f);
    for (size_t i = 0; i < f.count && i < 5; i++) {
        judge_plan(r, &setup, &f.candidates[i]);
    }
    for (size_t i = 0; i < f.refusal_count && i < 5; i++) {
        judge_plan(r, &setup, &f.refusals[i]);
    }
    stats = plan_stats_to_json(&f);
    assert_finite(stats);
    assert_true(json_integer_value(json_object_get(stats, "total_plans")) ==
                json_integer_value(json_object_get(stats, "feasible_plans")) +
                    json_integer_value(json_object_get(stats, "infeasible_plans")) +
                    json_integer_value(json_object_get(stats, "pruned_plans")));
    json_decref(stats);
    json_decref(json);
    planner_findings_finish(&f);
}

static void test_spoiled_requests(void **state)
{
    struct plan_request *r = calloc(1, sizeof(*r));
    size_t read = 0, refused = 0;

    assert_non_null(r);
    seed = test_seed("spoiled_requests") | 1;
    for (int i = 0; i < ROUNDS; i++) {
        json_t *body = example();
        char field[PRESET_NAME_MAX] = "";
        struct error e = { 0 };
        int result;

        for (size_t n = 1 + below(3); n > 0; n--) {
            spoil(body);
        }
        result = plan_request_from_json(NULL, body, r, field, &e);
        if (result == 0) {
            read++;
            judge(r);
        } else {
            refused++;
            assert_true(result == -EINVAL || result == -EPROTO);
            assert_true(e.text[0] && field[0]);
            assert_int_equal(strncmp(e.text, field, strlen(field)), 0);
            assert_true(is_valid_utf8(e.text, strlen(e.text)));
        }
        json_decref(body);
    }
    printf("%zu read, %zu refused\n", read, refused);
    assert_true(read > ROUNDS / 20 && refused > ROUNDS / 20);
    free(r);
}

/* A config.json from anywhere. */
static void test_spoiled_models(void **state)
{
    static const char text[] =
        "{\"architectures\":[\"X\"],\"model_type\":\"llama4\",\"text_config\":{\"model_type\":"
        "\"llama4_text\",\"attention_chunk_size\":8192,\"head_dim\":128,\"hidden_size\":5120,"
        "\"interleave_moe_layer_step\":2,\"intermediate_size\":8192,\"intermediate_size_mlp\":"
        "16384,"
        "\"num_attention_heads\":40,\"num_experts_per_tok\":1,\"num_hidden_layers\":48,"
        "\"mlp_only_layers\":[1,2],\"moe_layer_freq\":1,\"decoder_sparse_step\":1,\"layer_types\":"
        "[\"sliding_attention\",\"full_attention\"],\"n_shared_experts\":1,\"kv_lora_rank\":null,"
        "\"num_key_value_heads\":8,\"num_local_experts\":128,\"vocab_size\":202048,"
        "\"sliding_window_pattern\":4,\"multi_query\":false},\"tie_word_embeddings\":false,"
        "\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"bits\":4,"
        "\"config_groups\":{\"group_0\":{\"weights\":{\"num_bits\":8,\"type\":\"float\"}}}}}";
    size_t read = 0;

    seed = test_seed("spoiled_models") | 1;
    for (int i = 0; i < ROUNDS; i++) {
        json_t *config = json_loads(text, 0, NULL);
        struct preset_model m;
        struct error e = { 0 };

        for (size_t n = 1 + below(3); n > 0; n--) {
            const char *name = NULL;
            size_t index = 0;
            json_t *place = pick_place(config, &name, &index);

            if (place && name) {
                json_object_set_new(place, name, odd_value());
            } else if (place) {
                json_array_set_new(place, index, odd_value());
            }
        }
        if (preset_model_from_json(NULL, config, &m, &e) == 0) {
            read++;
            assert_true(isfinite(planner_params(&m.model)) && planner_params(&m.model) > 0);
            assert_true(m.model.dense_layers <= m.model.layers);
            assert_true(m.model.window_layers <= m.model.layers);
        } else {
            assert_true(e.text[0]);
        }
        json_decref(config);
    }
    printf("%zu read\n", read);
    assert_true(read > ROUNDS / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spoiled_requests),
        cmocka_unit_test(test_spoiled_models),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
