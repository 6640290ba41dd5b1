// SPDX-License-Identifier: Apache-2.0
/* What model files say, brought into one form: shapes as real models have them, in files made here.
 */
#include "codec/model_maker.h"

#include <ftw.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"
#include "codec/model_file.h"

static struct model_facts facts;
static char dir[64];

static int set_up(void **state)
{
    strcpy(dir, "/tmp/berth-model-file-XXXXXX");
    assert_non_null(mkdtemp(dir));
    return chdir(dir);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    return remove(path);
}

static int tear_down(void **state)
{
    assert_int_equal(chdir("/"), 0);
    return nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void read_model(const char *path)
{
    struct error e = { 0 };

    if (model_file_read(path, &facts, &e) < 0) {
        fail_msg("%s", e.text);
    }
}

static void refuses(const char *path, int code, const char *words)
{
    struct error e = { 0 };

    assert_int_equal(model_file_read(path, &facts, &e), code);
    if (!strstr(e.text, words)) {
        fail_msg("'%s' is missing in '%s'", words, e.text);
    }
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* 64 wide, 4 heads of 16, 2 of them for KV, 8 layers. A layer in f16: (64·64 + 2·64·32 + 64·64 +
 * 3·64·160) · 2 = 86,016 bytes; embedding and output 64·256·2 = 32,768 each. */
static void test_a_dense_model(void **state)
{
    const struct llama_shape shape = { 8, 64, 4, 2, 160, 256, GG_F16 };

    gg_llama(&shape, "a.gguf");
    read_model("a.gguf");
    assert_int_equal(facts.format, MODEL_GGUF);
    assert_string_equal(facts.architecture, "llama");
    assert_int_equal(facts.layer_count, 8);
    assert_int_equal(facts.parts, 1);
    assert_int_equal(facts.layers[7].weight_bytes, 86016);
    assert_int_equal(facts.embedding_bytes, 32768);
    assert_int_equal(facts.output_bytes, 32768);
    assert_int_equal(facts.weight_bytes, 8 * 86016 + 2 * 32768);
    assert_true(facts.file_bytes > facts.weight_bytes);
    assert_int_equal(facts.matrix_bytes[GG_F16], facts.weight_bytes - 32768);
    assert_int_equal(facts.layers[0].k_values, 32);
    assert_int_equal(facts.layers[0].v_values, 32);
    assert_int_equal(facts.hidden, 64);
    assert_int_equal(facts.feed_forward, 160);
    assert_int_equal(facts.vocab, 256);
    assert_int_equal(facts.window, 0);
    assert_false(facts.latent);
}

/* The embedding is the output, too: what an engine copies of matrices includes it. */
static void test_a_tied_embedding(void **state)
{
    struct gguf_maker m = gg_begin("llama");

    gg_u32(&m, "block_count", 1);
    gg_u32(&m, "embedding_length", 64);
    gg_u32(&m, "attention.head_count", 4);
    gg_tensor(&m, "token_embd.weight", 64, 256, GG_Q4_0);
    gg_layer(&m, 0, 64, 64, 160, GG_Q4_0);
    gg_write(&m, "a.gguf");
    read_model("a.gguf");
    assert_int_equal(facts.output_bytes, 0);
    assert_int_equal(facts.matrix_bytes[GG_Q4_0], facts.weight_bytes);
    assert_int_equal(facts.layers[0].k_values, 64); /* all heads, as nothing else is said */
}

/* Jamba: layers without KV heads are recurrent; their state is f32: (conv - 1)·(inner + 2·groups·
 * state) + state·inner values of a sequence. */
static void test_layers_that_differ(void **state)
{
    const uint32_t heads[] = { 0, 2, 0, 2 };
    struct gguf_maker m = gg_begin("jamba");

    gg_u32(&m, "block_count", 4);
    gg_u32(&m, "embedding_length", 64);
    gg_u32(&m, "attention.head_count", 4);
    gg_list(&m, "attention.head_count_kv", GG_U32, heads, 4);
    gg_u32(&m, "ssm.conv_kernel", 4);
    gg_u32(&m, "ssm.inner_size", 128);
    gg_u32(&m, "ssm.state_size", 16);
    gg_write(&m, "a.gguf");
    read_model("a.gguf");
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(facts.layers[i].k_values, i % 2 ? 32 : 0);
        assert_int_equal(facts.layers[i].state_bytes, i % 2 ? 0 : 4 * (3 * 128 + 16 * 128));
    }
}

/* Which layers have a window: as lists say, as periods say, as the architecture does by custom. */
static void test_windows(void **state)
{
    static const struct {
        const char *architecture;
        uint32_t window, period; /* 0: not in the file */
        uint32_t want_window;
        const char *want; /* w: windowed */
    } rows[] = {
        { "gemma2", 0, 0, 4096, "w.w.w.w.w.w." },   { "gemma3", 1024, 0, 1024, "wwwww.wwwww." },
        { "gemma3", 512, 3, 512, "ww.ww.ww.ww." },  { "gpt-oss", 128, 0, 128, "w.w.w.w.w.w." },
        { "llama", 4096, 0, 4096, "............" }, { "smallthinker", 0, 0, 4096, ".www.www.www" },
        { "gemma", 0, 0, 0, "............" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct gguf_maker m = gg_begin(rows[i].architecture);

        gg_u32(&m, "block_count", 12);
        gg_u32(&m, "embedding_length", 64);
        gg_u32(&m, "attention.head_count", 4);
        if (rows[i].window) {
            gg_u32(&m, "attention.sliding_window", rows[i].window);
        }
        if (rows[i].period) {
            gg_u32(&m, "attention.sliding_window_pattern", rows[i].period);
        }
        gg_write(&m, "a.gguf");
        read_model("a.gguf");
        assert_int_equal(facts.window, rows[i].want_window);
        for (unsigned l = 0; l < 12; l++) {
            if (facts.layers[l].windowed != (rows[i].want[l] == 'w')) {
                fail_msg("%s (row %zu): layer %u", rows[i].architecture, i, l);
            }
        }
    }
}

static void test_a_window_list(void **state)
{
    const uint32_t windowed[] = { 1, 1, 0, 1 };
    struct gguf_maker m = gg_begin("somenew");

    gg_u32(&m, "block_count", 4);
    gg_u32(&m, "embedding_length", 64);
    gg_u32(&m, "attention.head_count", 4);
    gg_u32(&m, "attention.sliding_window", 32);
    gg_list(&m, "attention.sliding_window_pattern", GG_BOOL, windowed, 4);
    gg_u32(&m, "attention.shared_kv_layers", 1);
    gg_write(&m, "a.gguf");
    read_model("a.gguf");
    assert_true(facts.layers[0].windowed && facts.layers[1].windowed);
    assert_false(facts.layers[2].windowed);
    assert_int_equal(facts.layers[2].k_values, 64);
    assert_int_equal(facts.layers[3].k_values, 0); /* uses another one's */
}

/* DeepSeek-V3 as llama.cpp converts it: one head of 512 + 64 values, which is key and value. */
static void test_latent_attention(void **state)
{
    struct gguf_maker m = gg_begin("deepseek2");

    gg_u32(&m, "block_count", 61);
    gg_u32(&m, "embedding_length", 7168);
    gg_u32(&m, "attention.head_count", 128);
    gg_u32(&m, "attention.head_count_kv", 1);
    gg_u32(&m, "attention.key_length", 576);
    gg_u32(&m, "attention.value_length", 512);
    gg_u32(&m, "attention.key_length_mla", 192);
    gg_u32(&m, "attention.kv_lora_rank", 512);
    gg_write(&m, "a.gguf");
    read_model("a.gguf");
    assert_true(facts.latent);
    assert_int_equal(facts.layers[60].k_values, 576);
    assert_int_equal(facts.layers[60].v_values, 0);
}

static void test_an_encoder_keeps_nothing(void **state)
{
    struct gguf_maker m = gg_begin("nomic-bert");

    gg_u32(&m, "block_count", 2);
    gg_u32(&m, "embedding_length", 64);
    gg_u32(&m, "attention.head_count", 4);
    gg_write(&m, "a.gguf");
    read_model("a.gguf");
    assert_int_equal(facts.layers[0].k_values, 0);
}

static void test_parts_are_added_up(void **state)
{
    struct gguf_maker m = gg_begin("llama");

    gg_u32(&m, "block_count", 2);
    gg_u32(&m, "embedding_length", 64);
    gg_u32(&m, "attention.head_count", 4);
    gg_tensor(&m, "token_embd.weight", 64, 256, GG_F16);
    gg_layer(&m, 0, 64, 64, 160, GG_F16);
    gg_write(&m, "m-00001-of-00002.gguf");
    refuses("m-00001-of-00002.gguf", -ENOENT, "m-00002-of-00002.gguf");
    m = gg_begin("llama");
    gg_layer(&m, 1, 64, 64, 160, GG_F16);
    gg_tensor(&m, "output.weight", 64, 256, GG_F16);
    gg_write(&m, "m-00002-of-00002.gguf");
    read_model("m-00001-of-00002.gguf");
    assert_int_equal(facts.parts, 2);
    assert_int_equal(facts.layer_count, 2);
    assert_int_equal(facts.layers[0].weight_bytes, facts.layers[1].weight_bytes);
    assert_int_equal(facts.weight_bytes, 2 * facts.layers[0].weight_bytes + 2 * 32768);
    assert_int_equal(facts.output_bytes, 32768);
}

static void test_nonsense_is_refused(void **state)
{
    struct gguf_maker m = gg_begin("llama");

    refuses("none.gguf", -ENOENT, "none.gguf: No such file");
    write_text("text.gguf", "this is not a model, but it is long enough");
    refuses("text.gguf", -EINVAL, "not a GGUF file");
    write_text("model.bin", "whatever");
    refuses("model.bin", -ENOTSUP, "neither GGUF nor safetensors");
    refuses("/dev/null", -ENOTSUP, "neither GGUF nor safetensors");
    gg_u32(&m, "block_count", 100000);
    gg_write(&m, "deep.gguf");
    refuses("deep.gguf", -EINVAL, "100000 layers");
    m = gg_begin("llama");
    gg_u32(&m, "block_count", 1);
    gg_u32(&m, "attention.key_length", 4000000000u);
    gg_write(&m, "wide.gguf");
    refuses("wide.gguf", -EINVAL, "a size of 4000000000");
    write_text("x-00001-of-99999.gguf", "");
    refuses("x-00001-of-99999.gguf", -EINVAL, "99999 parts");
}

/* ---- safetensors ---- */

static const char *const shard_1 =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"model.embed_tokens.weight\":{\"dtype\":\"BF16\",\"shape\":[10,8],\"data_offsets\":[0,160]},"
    "\"model.layers.0.self_attn.q_proj.weight\":{\"dtype\":\"BF16\",\"shape\":[8,8],"
    "\"data_offsets\":[160,288]}}";
static const char *const shard_2 =
    "{\"model.layers.1.mlp.experts.0.w1.weight\":{\"dtype\":\"F8_E4M3\",\"shape\":[8,8],"
    "\"data_offsets\":[0,64]},"
    "\"lm_head.weight\":{\"dtype\":\"F32\",\"shape\":[10,8],\"data_offsets\":[64,384]}}";

static const char *const llama_config =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"num_hidden_layers\":2,"
    "\"hidden_size\":4096,\"num_attention_heads\":32,\"num_key_value_heads\":8,"
    "\"intermediate_size\":14336,\"vocab_size\":128256,\"max_position_embeddings\":8192,"
    "\"torch_dtype\":\"bfloat16\"}";

static void make_directory(const char *config)
{
    mkdir("hf", 0700);
    write_text("hf/config.json", config);
    st_write("hf/model-00001-of-00002.safetensors", shard_1, 288);
    st_write("hf/model-00002-of-00002.safetensors", shard_2, 384);
}

static void test_a_directory(void **state)
{
    make_directory(llama_config);
    read_model("hf");
    assert_int_equal(facts.format, MODEL_SAFETENSORS);
    assert_string_equal(facts.architecture, "LlamaForCausalLM");
    assert_int_equal(facts.parts, 2);
    assert_int_equal(facts.weight_bytes, 288 + 384);
    assert_int_equal(facts.embedding_bytes, 160);
    assert_int_equal(facts.output_bytes, 320);
    assert_int_equal(facts.layers[0].weight_bytes, 128);
    assert_int_equal(facts.layers[1].expert_bytes, 64);
    assert_int_equal(facts.layers[0].k_values, 1024);
    assert_int_equal(facts.layers[1].v_values, 1024);
    assert_int_equal(facts.value_bits, 16);
    assert_int_equal(facts.context_length, 8192);
    read_model("hf/config.json");
    assert_int_equal(facts.weight_bytes, 288 + 384);
}

/* The index says which files belong to the model: a second copy beside them does not count. */
static void test_the_index_counts(void **state)
{
    make_directory(llama_config);
    st_write("hf/consolidated.safetensors", shard_1, 288);
    write_text(
        "hf/model.safetensors.index.json",
        "{\"weight_map\":{\"a\":\"model-00001-of-00002.safetensors\","
        "\"b\":\"model-00001-of-00002.safetensors\",\"c\":\"model-00002-of-00002.safetensors\"}}");
    read_model("hf");
    assert_int_equal(facts.weight_bytes, 288 + 384);
    write_text("hf/model.safetensors.index.json", "{\"weight_map\":{\"a\":\"../../etc/passwd\"}}");
    refuses("hf", -EINVAL, "names a file elsewhere");
    write_text("hf/model.safetensors.index.json", "{\"weight_map\":{\"a\":\"gone.safetensors\"}}");
    refuses("hf", -ENOENT, "gone.safetensors");
}

static void read_config(const char *config)
{
    make_directory(config);
    unlink("hf/model.safetensors.index.json");
    unlink("hf/consolidated.safetensors");
    read_model("hf");
}

static void test_configs_of_real_models(void **state)
{
    /* DeepSeek-V3: 512 + 64 values a token and layer, fp8 weights */
    read_config("{\"num_hidden_layers\":61,\"hidden_size\":7168,\"num_attention_heads\":128,"
                "\"num_key_value_heads\":128,\"kv_lora_rank\":512,\"qk_rope_head_dim\":64,"
                "\"n_routed_experts\":256,\"num_experts_per_tok\":8,\"moe_intermediate_size\":2048,"
                "\"torch_dtype\":\"bfloat16\",\"quantization_config\":{\"quant_method\":\"fp8\"}}");
    assert_int_equal(facts.layers[60].k_values + facts.layers[60].v_values, 576);
    assert_int_equal(facts.value_bits, 8);
    assert_int_equal(facts.experts, 256);

    /* Gemma 3 sees: its text is inside, its heads are wider than hidden ÷ heads, 5 of 6 windowed */
    read_config("{\"architectures\":[\"Gemma3ForConditionalGeneration\"],\"text_config\":{"
                "\"num_hidden_layers\":34,\"hidden_size\":2560,\"num_attention_heads\":8,"
                "\"num_key_value_heads\":4,\"head_dim\":256,\"sliding_window\":1024,"
                "\"sliding_window_pattern\":6}}");
    assert_int_equal(facts.layer_count, 34);
    assert_int_equal(facts.layers[0].k_values, 1024);
    assert_true(facts.layers[4].windowed && !facts.layers[5].windowed);

    /* kinds of layers by name */
    read_config("{\"num_hidden_layers\":3,\"hidden_size\":64,\"num_attention_heads\":4,"
                "\"sliding_window\":128,\"layer_types\":[\"sliding_attention\",\"full_attention\","
                "\"linear_attention\"]}");
    assert_true(facts.layers[0].windowed && !facts.layers[1].windowed);
    assert_int_equal(facts.layers[2].k_values, 0);

    /* Mistral 7B v0.1: all; Qwen2: told, and switched off */
    read_config("{\"num_hidden_layers\":2,\"hidden_size\":4096,\"num_attention_heads\":32,"
                "\"num_key_value_heads\":8,\"sliding_window\":4096}");
    assert_true(facts.layers[0].windowed && facts.layers[1].windowed);
    read_config("{\"num_hidden_layers\":2,\"hidden_size\":4096,\"num_attention_heads\":32,"
                "\"sliding_window\":4096,\"use_sliding_window\":false}");
    assert_int_equal(facts.window, 0);
    assert_false(facts.layers[0].windowed);

    read_config("{\"num_hidden_layers\":1,\"hidden_size\":64,\"num_attention_heads\":4,"
                "\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4}}");
    assert_int_equal(facts.value_bits, 4);
}

static void test_broken_directories(void **state)
{
    mkdir("none", 0700);
    refuses("none", -ENOENT, "none/config.json");
    write_text("none/config.json", "{\"num_hidden_layers\": }");
    refuses("none", -EINVAL, "not JSON that can be read");
    write_text("none/config.json", "[1]");
    refuses("none", -EINVAL, "not a JSON object");
    write_text("none/config.json", "{\"num_hidden_layers\":99999}");
    refuses("none", -EINVAL, "more than 512 layers");
    write_text("none/config.json", "{\"num_hidden_layers\":2,\"hidden_size\":1e300}");
    read_model("none");
    assert_true(facts.weights_unknown);
    st_write("none/model.safetensors",
             "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", 8);
    refuses("none", -EINVAL, "ends 8 bytes beyond the file");
    st_write("alone.safetensors", shard_1, 288);
    read_model("alone.safetensors");
    assert_int_equal(facts.weight_bytes, 288);
}

static void test_the_stamp_sees_changes(void **state)
{
    const struct llama_shape shape = { 1, 64, 4, 2, 160, 256, GG_F16 };
    struct model_stamp a, b;
    struct error e = { 0 };

    gg_llama(&shape, "a.gguf");
    assert_int_equal(model_file_stamp("a.gguf", &a, &e), 0);
    assert_int_equal(truncate("a.gguf", (off_t)a.bytes + 1), 0);
    assert_int_equal(model_file_stamp("a.gguf", &b, &e), 0);
    assert_int_equal(b.bytes, a.bytes + 1);
    assert_int_equal(utimensat(AT_FDCWD, "a.gguf", (struct timespec[]){ { 5, 0 }, { 5, 7 } }, 0),
                     0);
    assert_int_equal(model_file_stamp("a.gguf", &b, &e), 0);
    assert_true(b.changed_ns == 5000000007);
    make_directory(llama_config);
    assert_int_equal(model_file_stamp("hf", &a, &e), 0);
    assert_int_equal(truncate("hf/model-00002-of-00002.safetensors", 1000), 0);
    assert_int_equal(model_file_stamp("hf", &b, &e), 0);
    assert_true(a.bytes != b.bytes);
    assert_int_equal(model_file_stamp("nowhere", &a, &e), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_dense_model),
        cmocka_unit_test(test_a_tied_embedding),
        cmocka_unit_test(test_layers_that_differ),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_a_window_list),
        cmocka_unit_test(test_latent_attention),
        cmocka_unit_test(test_an_encoder_keeps_nothing),
        cmocka_unit_test(test_parts_are_added_up),
        cmocka_unit_test(test_nonsense_is_refused),
        cmocka_unit_test(test_a_directory),
        cmocka_unit_test(test_the_index_counts),
        cmocka_unit_test(test_configs_of_real_models),
        cmocka_unit_test(test_broken_directories),
        cmocka_unit_test(test_the_stamp_sees_changes),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
