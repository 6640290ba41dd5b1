// SPDX-License-Identifier: Apache-2.0
/* config.json of the families as their makers publish them, and GGUF: the dimensions that come out
 * are those of the presets, whose totals are published. */
#include "unit.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macros.h"
#include "presets/presets.h"

static struct error error;
static char folder[64];

static const struct {
    const char *preset, *config;
    int format;
    int tied;
} families[] = {
    { "llama-3.1-8b",
      "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_size\":4096,"
      "\"intermediate_size\":14336,\"num_attention_heads\":32,\"num_hidden_layers\":32,"
      "\"num_key_value_heads\":8,\"vocab_size\":128256,\"tie_word_embeddings\":false,"
      "\"torch_dtype\":\"bfloat16\",\"max_position_embeddings\":131072}",
      PLANNER_BF16, 0 },
    { "qwen2.5-7b",
      "{\"architectures\":[\"Qwen2ForCausalLM\"],\"model_type\":\"qwen2\",\"hidden_size\":3584,"
      "\"intermediate_size\":18944,\"num_attention_heads\":28,\"num_hidden_layers\":28,"
      "\"num_key_value_heads\":4,\"vocab_size\":152064,\"tie_word_embeddings\":false,"
      "\"sliding_window\":131072,\"use_sliding_window\":false,\"max_window_layers\":28,"
      "\"torch_dtype\":\"bfloat16\"}",
      PLANNER_BF16, 0 },
    /* the head's size is told, and is not hidden / heads */
    { "qwen3-32b",
      "{\"architectures\":[\"Qwen3ForCausalLM\"],\"model_type\":\"qwen3\",\"hidden_size\":5120,"
      "\"head_dim\":128,\"intermediate_size\":25600,\"num_attention_heads\":64,"
      "\"num_hidden_layers\":64,\"num_key_value_heads\":8,\"vocab_size\":151936,"
      "\"tie_word_embeddings\":false,\"sliding_window\":null,\"torch_dtype\":\"bfloat16\","
      "\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":128}}",
      PLANNER_INT4, 0 },
    { "qwen3-30b-a3b",
      "{\"architectures\":[\"Qwen3MoeForCausalLM\"],\"model_type\":\"qwen3_moe\",\"hidden_size\":"
      "2048,\"head_dim\":128,\"intermediate_size\":6144,\"moe_intermediate_size\":768,"
      "\"num_experts\":128,\"num_experts_per_tok\":8,\"decoder_sparse_step\":1,\"mlp_only_layers\":"
      "[],\"num_attention_heads\":32,\"num_hidden_layers\":48,\"num_key_value_heads\":4,"
      "\"vocab_size\":151936,\"tie_word_embeddings\":false,\"use_sliding_window\":false}",
      -1, 0 },
    { "mixtral-8x7b",
      "{\"architectures\":[\"MixtralForCausalLM\"],\"model_type\":\"mixtral\",\"hidden_size\":4096,"
      "\"intermediate_size\":14336,\"num_attention_heads\":32,\"num_hidden_layers\":32,"
      "\"num_key_value_heads\":8,\"num_local_experts\":8,\"num_experts_per_tok\":2,"
      "\"sliding_window\":null,\"vocab_size\":32000,\"torch_dtype\":\"bfloat16\","
      "\"tie_word_embeddings\":false}",
      PLANNER_BF16, 0 },
    { "deepseek-v3",
      "{\"architectures\":[\"DeepseekV3ForCausalLM\"],\"model_type\":\"deepseek_v3\","
      "\"first_k_dense_replace\":3,\"hidden_size\":7168,\"intermediate_size\":18432,"
      "\"kv_lora_rank\":512,\"moe_intermediate_size\":2048,\"moe_layer_freq\":1,\"n_group\":8,"
      "\"n_routed_experts\":256,\"n_shared_experts\":1,\"num_attention_heads\":128,"
      "\"num_experts_per_tok\":8,\"num_hidden_layers\":61,\"num_key_value_heads\":128,"
      "\"num_nextn_predict_layers\":1,\"q_lora_rank\":1536,\"qk_nope_head_dim\":128,"
      "\"qk_rope_head_dim\":64,\"v_head_dim\":128,\"vocab_size\":129280,\"tie_word_embeddings\":"
      "false,\"torch_dtype\":\"bfloat16\",\"quantization_config\":{\"quant_method\":\"fp8\","
      "\"fmt\":"
      "\"e4m3\",\"weight_block_size\":[128,128]}}",
      PLANNER_FP8, 0 },
    { "kimi-k2",
      "{\"architectures\":[\"DeepseekV3ForCausalLM\"],\"model_type\":\"kimi_k2\","
      "\"first_k_dense_replace\":1,\"hidden_size\":7168,\"intermediate_size\":18432,"
      "\"kv_lora_rank\":512,\"moe_intermediate_size\":2048,\"moe_layer_freq\":1,"
      "\"n_routed_experts\":384,\"n_shared_experts\":1,\"num_attention_heads\":64,"
      "\"num_experts_per_tok\":8,\"num_hidden_layers\":61,\"num_key_value_heads\":64,"
      "\"q_lora_rank\":1536,\"qk_nope_head_dim\":128,\"qk_rope_head_dim\":64,\"v_head_dim\":128,"
      "\"vocab_size\":163840,\"tie_word_embeddings\":false}",
      -1, 0 },
    { "gemma-2-9b",
      "{\"architectures\":[\"Gemma2ForCausalLM\"],\"model_type\":\"gemma2\",\"hidden_size\":3584,"
      "\"head_dim\":256,\"intermediate_size\":14336,\"num_attention_heads\":16,"
      "\"num_hidden_layers\":42,\"num_key_value_heads\":8,\"sliding_window\":4096,"
      "\"vocab_size\":256000,\"torch_dtype\":\"bfloat16\"}",
      PLANNER_BF16, 1 },
    /* it sees: the language model stands inside */
    { "gemma-3-27b",
      "{\"architectures\":[\"Gemma3ForConditionalGeneration\"],\"model_type\":\"gemma3\","
      "\"text_config\":{\"model_type\":\"gemma3_text\",\"head_dim\":128,\"hidden_size\":5376,"
      "\"intermediate_size\":21504,\"num_attention_heads\":32,\"num_hidden_layers\":62,"
      "\"num_key_value_heads\":16,\"sliding_window\":1024,\"sliding_window_pattern\":6,"
      "\"vocab_size\":262144},\"torch_dtype\":\"bfloat16\",\"vision_config\":{\"hidden_size\":1152,"
      "\"num_hidden_layers\":27}}",
      PLANNER_BF16, 1 },
    { "gpt-oss-120b",
      "{\"architectures\":[\"GptOssForCausalLM\"],\"model_type\":\"gpt_oss\",\"hidden_size\":2880,"
      "\"head_dim\":64,\"intermediate_size\":2880,\"num_attention_heads\":64,"
      "\"num_hidden_layers\":36,\"num_key_value_heads\":8,\"num_local_experts\":128,"
      "\"num_experts_per_tok\":4,\"experts_per_token\":4,\"sliding_window\":128,\"vocab_size\":"
      "201088,\"tie_word_embeddings\":false,\"quantization_config\":{\"quant_method\":\"mxfp4\","
      "\"modules_to_not_convert\":[\"model.layers.*.self_attn\"]}}",
      PLANNER_MXFP4, 0 },
    { "phi-3-mini",
      "{\"architectures\":[\"Phi3ForCausalLM\"],\"model_type\":\"phi3\",\"hidden_size\":3072,"
      "\"intermediate_size\":8192,\"num_attention_heads\":32,\"num_hidden_layers\":32,"
      "\"num_key_value_heads\":32,\"vocab_size\":32064,\"torch_dtype\":\"bfloat16\","
      "\"tie_word_embeddings\":false}",
      PLANNER_BF16, 0 },
    { "mistral-7b",
      "{\"architectures\":[\"MistralForCausalLM\"],\"model_type\":\"mistral\",\"hidden_size\":4096,"
      "\"intermediate_size\":14336,\"num_attention_heads\":32,\"num_hidden_layers\":32,"
      "\"num_key_value_heads\":8,\"sliding_window\":null,\"vocab_size\":32000,"
      "\"tie_word_embeddings\":false,\"torch_dtype\":\"float16\"}",
      PLANNER_BF16, 0 },
    { "glm-4.5-air",
      "{\"architectures\":[\"Glm4MoeForCausalLM\"],\"model_type\":\"glm4_moe\",\"hidden_size\":"
      "4096,"
      "\"head_dim\":128,\"intermediate_size\":10944,\"moe_intermediate_size\":1408,"
      "\"n_routed_experts\":128,\"n_shared_experts\":1,\"num_experts_per_tok\":8,"
      "\"first_k_dense_replace\":1,\"num_attention_heads\":96,\"num_hidden_layers\":46,"
      "\"num_key_value_heads\":8,\"vocab_size\":151552,\"tie_word_embeddings\":false,"
      "\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"config_groups\":{"
      "\"group_0\":{\"weights\":{\"num_bits\":8,\"type\":\"float\"}}}}}",
      PLANNER_FP8, 0 },
    { "llama-4-maverick",
      "{\"architectures\":[\"Llama4ForConditionalGeneration\"],\"model_type\":\"llama4\","
      "\"text_config\":{\"model_type\":\"llama4_text\",\"attention_chunk_size\":8192,\"head_dim\":"
      "128,\"hidden_size\":5120,\"interleave_moe_layer_step\":2,\"intermediate_size\":8192,"
      "\"intermediate_size_mlp\":16384,\"num_attention_heads\":40,\"num_experts_per_tok\":1,"
      "\"num_hidden_layers\":48,\"num_key_value_heads\":8,\"num_local_experts\":128,"
      "\"vocab_size\":202048},\"tie_word_embeddings\":false}",
      -1, 0 },
    { "falcon-7b",
      "{\"architectures\":[\"FalconForCausalLM\"],\"model_type\":\"falcon\",\"hidden_size\":4544,"
      "\"num_attention_heads\":71,\"num_hidden_layers\":32,\"multi_query\":true,"
      "\"new_decoder_architecture\":false,\"vocab_size\":65024,\"torch_dtype\":\"bfloat16\"}",
      PLANNER_BF16, 0 },
    { "phi-2",
      "{\"architectures\":[\"PhiForCausalLM\"],\"model_type\":\"phi\",\"hidden_size\":2560,"
      "\"intermediate_size\":10240,\"num_attention_heads\":32,\"num_hidden_layers\":32,"
      "\"num_key_value_heads\":null,\"vocab_size\":51200,\"tie_word_embeddings\":false}",
      -1, 0 },
};

static void test_families(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        const struct planner_model *m = planner_find_model(families[i].preset);
        json_t *config = json_loads(families[i].config, 0, NULL);
        struct preset_model got;

        assert_non_null(config);
        assert_non_null(m);
        if (preset_model_from_json(NULL, config, &got, &error) < 0) {
            print_error("%s: %s\n", families[i].preset, error.text);
            fail();
        }
        if (planner_params(&got.model) != planner_params(m) ||
            got.model.window_layers != m->window_layers) {
            print_error("%s: %.0f and %.0f parameters, %u and %u windows\n", families[i].preset,
                        planner_params(&got.model), planner_params(m), got.model.window_layers,
                        m->window_layers);
            fail();
        }
        assert_float_equal(planner_active_params(&got.model), planner_active_params(m), 0);
        assert_float_equal(planner_kv_bytes_per_token(&got.model), planner_kv_bytes_per_token(m),
                           0);
        assert_int_equal(got.model.window, m->window);
        assert_int_equal(got.model.tied, families[i].tied);
        assert_int_equal(got.format, families[i].format);
        json_decref(config);
    }
}

static void test_odd_layers(void **state)
{
    json_t *config = json_loads(families[3].config, 0, NULL);
    struct preset_model got;

    /* every second layer has experts, and the sixth has none */
    json_object_set_new(config, "decoder_sparse_step", json_integer(2));
    json_object_set_new(config, "mlp_only_layers", json_pack("[i]", 5));
    assert_int_equal(preset_model_from_json(NULL, config, &got, &error), 0);
    assert_int_equal(got.model.dense_layers, 25);
    json_decref(config);
    config = json_loads(families[7].config, 0, NULL);
    json_object_set_new(
        config, "layer_types",
        json_pack("[s, s, s]", "sliding_attention", "full_attention", "sliding_attention"));
    assert_int_equal(preset_model_from_json(NULL, config, &got, &error), 0);
    assert_int_equal(got.model.window_layers, 2);
    json_decref(config);
}

static void test_faults(void **state)
{
    static const char *const members[] = { "hidden_size", "num_hidden_layers",
                                           "num_attention_heads", "vocab_size" };
    struct preset_model got;

    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        json_t *config = json_loads(families[0].config, 0, NULL);

        json_object_del(config, members[i]);
        assert_int_equal(preset_model_from_json(NULL, config, &got, &error), -EINVAL);
        assert_int_equal(strncmp(error.text, members[i], strlen(members[i])), 0);
        json_object_set_new(config, members[i], json_string("many"));
        assert_int_equal(preset_model_from_json(NULL, config, &got, &error), -EINVAL);
        json_object_set_new(config, members[i], json_real(1e18));
        assert_int_equal(preset_model_from_json(NULL, config, &got, &error), -EINVAL);
        json_object_set_new(config, members[i], json_real(1e18));
        json_object_del(config, "architectures"); /* still known by its other members */
        json_object_del(config, members[i]);
        assert_int_equal(preset_model_from_json(NULL, config, &got, &error), -EINVAL);
        assert_int_equal(strncmp(error.text, members[i], strlen(members[i])), 0);
        json_decref(config);
    }
}

/* ---- files ---- */

static const char *put(const char *name, const char *text)
{
    static char path[160];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return path;
}

static void test_import(void **state)
{
    struct preset_model got;
    char path[128];

    put("config.json", families[0].config);
    assert_int_equal(preset_model_import(folder, &got, &error), 0);
    assert_int_equal(got.model.layers, 32);
    assert_string_equal(got.model.name, strrchr(folder, '/') + 1);
    assert_ptr_equal(got.model.name, got.name);
    snprintf(path, sizeof(path), "%s/config.json", folder);
    assert_int_equal(preset_model_import(path, &got, &error), 0);
    assert_int_equal(got.format, PLANNER_BF16);
    assert_int_equal(preset_model_import(put("config.json", "{\"a\": "), &got, &error), -EINVAL);
    assert_non_null(strstr(error.text, "config.json"));
    assert_int_equal(preset_model_import(put("config.json", "[]"), &got, &error), -EINVAL);
    assert_int_equal(preset_model_import(put("x.gguf", "GGUF"), &got, &error), -EINVAL);
    unlink(path);
    snprintf(path, sizeof(path), "%s/x.gguf", folder);
    unlink(path);
    assert_int_equal(preset_model_import(folder, &got, &error), -ENOENT);
    assert_int_equal(preset_model_import("/no/such/model", &got, &error), -ENOENT);
}

static void test_gguf(void **state)
{
    const char *path = SHARED "/models/stories260K.gguf";
    struct preset_model got;

    if (access(path, R_OK) < 0) {
        skip();
    }
    assert_int_equal(preset_model_import(path, &got, &error), 0);
    assert_int_equal(got.model.layers, 5);
    assert_int_equal(got.model.hidden, 64);
    assert_int_equal(got.model.heads, 8);
    assert_int_equal(got.model.kv_heads, 4);
    assert_int_equal(got.model.head_dim, 8);
    assert_int_equal(got.model.vocab, 512);
    assert_int_equal(got.format, PLANNER_BF16);
}

/* ---- GGUF made here ---- */

static void put_number(FILE *f, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        fputc((int)(v >> (8 * i)) & 0xff, f);
    }
}

static void put_text(FILE *f, const char *s)
{
    put_number(f, strlen(s), 8);
    fputs(s, f);
}

struct pair {
    const char *key;
    unsigned value;
};

/* Without tensors but the embedding's. */
static const char *put_gguf(const char *architecture, const struct pair *pairs, size_t count)
{
    const char *path = put("made.gguf", "GGUF");
    FILE *f = fopen(path, "ab");
    char key[96];

    assert_non_null(f);
    put_number(f, 3, 4);
    put_number(f, 1, 8);
    put_number(f, count + 1, 8);
    put_text(f, "general.architecture");
    put_number(f, 8, 4);
    put_text(f, architecture);
    for (size_t i = 0; i < count; i++) {
        snprintf(key, sizeof(key), "%s.%s", architecture, pairs[i].key);
        put_text(f, key);
        put_number(f, 4, 4);
        put_number(f, pairs[i].value, 4);
    }
    put_text(f, "token_embd.weight");
    put_number(f, 2, 4);
    put_number(f, 64, 8);
    put_number(f, 4, 8);
    put_number(f, 0, 4);
    put_number(f, 0, 8);
    while (ftell(f) % 32 != 0) {
        fputc(0, f);
    }
    for (int i = 0; i < 64 * 4 * 4; i++) {
        fputc(0, f);
    }
    fclose(f);
    return path;
}

enum { COMMON = 7 };
#define DIMENSIONS                                                                                 \
    { "block_count", 4 }, { "embedding_length", 64 }, { "attention.head_count", 4 },               \
        { "attention.head_count_kv", 2 }, { "feed_forward_length", 128 }, { "vocab_size", 4 },     \
    {                                                                                              \
        "context_length", 2048                                                                     \
    }

/* Shared experts by their size, or by how many of an expert's size; families without a gate. */
static void test_gguf_experts(void **state)
{
    static const struct pair sized[] = { DIMENSIONS,
                                         { "expert_count", 8 },
                                         { "expert_used_count", 2 },
                                         { "expert_feed_forward_length", 32 },
                                         { "expert_shared_feed_forward_length", 96 } };
    static const struct pair counted[] = { DIMENSIONS,
                                           { "expert_count", 8 },
                                           { "expert_used_count", 2 },
                                           { "expert_feed_forward_length", 32 },
                                           { "expert_shared_count", 2 } };
    static const struct pair absurd[] = { DIMENSIONS,
                                          { "expert_count", 8 },
                                          { "expert_used_count", 2 },
                                          { "expert_feed_forward_length", 4000000000U },
                                          { "expert_shared_count", 4000000000U } };
    struct preset_model got;
    const char *path = put_gguf("qwen2moe", sized, ARRAY_SIZE(sized));

    assert_int_equal(preset_model_import(path, &got, &error), 0);
    assert_int_equal(got.model.experts, 8);
    assert_int_equal(got.model.moe_inter, 32);
    assert_int_equal(got.model.shared_inter, 96);
    assert_false(got.model.plain_mlp);
    assert_int_equal(
        preset_model_import(put_gguf("glm4moe", counted, ARRAY_SIZE(counted)), &got, &error), 0);
    assert_int_equal(got.model.shared_inter, 64);
    assert_int_equal(
        preset_model_import(put_gguf("glm4moe", absurd, ARRAY_SIZE(absurd)), &got, &error), 0);
    assert_int_equal(got.model.shared_inter, 1 << 24);
    assert_int_equal(preset_model_import(put_gguf("falcon", sized, COMMON), &got, &error), 0);
    assert_true(got.model.plain_mlp);
    unlink(path);
}

static int set_up(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/berth-config-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families), cmocka_unit_test(test_odd_layers),
        cmocka_unit_test(test_faults),   cmocka_unit_test(test_import),
        cmocka_unit_test(test_gguf),     cmocka_unit_test(test_gguf_experts),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
