// SPDX-License-Identifier: Apache-2.0
/*
 * A Hugging Face config.json as the planner's dimensions. What families leave out of theirs (tied
 * embeddings, windows, which layers have experts) stands in one table; the head's size is read
 * where it is told, and is hidden / heads only where it is not.
 */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "presets/presets_int.h"

/* What a family's configuration class assumes when the file says nothing. */
struct family {
    const char *type;     /* model_type */
    bool tied;            /* tie_word_embeddings */
    bool plain_mlp;       /* two matrices */
    unsigned period;      /* every n-th layer sees all, the others a window; 0: no such rule */
    unsigned head_dim;    /* 0: hidden / heads */
    bool experts_are_mlp; /* intermediate_size is an expert's */
};

// clang-format off
static const struct family families[] = {
    { "gemma",        true,  false, 0, 256, false },
    { "gemma2",       true,  false, 2, 256, false },
    { "gemma3",       true,  false, 6, 256, false },
    { "gemma3_text",  true,  false, 6, 256, false },
    { "gpt_oss",      false, false, 2, 64,  true },
    { "mixtral",      false, false, 0, 0,   true },
    { "phimoe",       false, false, 0, 0,   true },
    { "minimax_m2",   false, false, 0, 0,   true },
    { "llama4",       false, false, 4, 0,   true },
    { "llama4_text",  false, false, 4, 0,   true },
    { "cohere",       true,  false, 0, 0,   false },
    { "cohere2",      true,  false, 4, 0,   false },
    { "falcon",       false, true,  0, 0,   false },
    { "gpt2",         true,  true,  0, 0,   false },
    { "gptj",         false, true,  0, 0,   false },
    { "gpt_neox",     false, true,  0, 0,   false },
    { "gpt_bigcode",  true,  true,  0, 0,   false },
    { "opt",          true,  true,  0, 0,   false },
    { "phi",          false, true,  0, 0,   false },
    { "starcoder2",   true,  true,  0, 0,   false },
    /* as a GGUF calls them */
    { "gptneox",      false, true,  0, 0,   false },
    { "phi2",         false, true,  0, 0,   false },
    { "starcoder",    true,  true,  0, 0,   false },
    { "bloom",        true,  true,  0, 0,   false },
    { "mpt",          true,  true,  0, 0,   false },
};
// clang-format on

static const struct family *family_of(const char *type)
{
    static const struct family other = { .type = "" };

    for (size_t i = 0; type && i < ARRAY_SIZE(families); i++) {
        if (str_eq(families[i].type, type)) {
            return &families[i];
        }
    }
    return &other;
}

bool model_is_plain(const char *family)
{
    return family_of(family)->plain_mlp;
}

bool model_is_config(const json_t *object)
{
    static const char *const signs[] = {
        "architectures", "num_hidden_layers",      "text_config", "n_layer", "transformers_version",
        "torch_dtype",   "max_position_embeddings"
    };

    for (size_t i = 0; i < ARRAY_SIZE(signs); i++) {
        if (json_object_get(object, signs[i])) {
            return true;
        }
    }
    return false;
}

/* ---- experts ---- */

/* Every so many-th layer has experts, by the two families' counting. */
static unsigned sparse_layers(const struct fields *f, const struct planner_model *m)
{
    const json_t *dense = fields_get(f, "mlp_only_layers");
    const unsigned first = m->dense_layers;
    const unsigned freq = json_is_array(fields_get(f, "moe_layer_freq"))
                              ? 1
                              : fields_count(f, "moe_layer_freq", 1, 1024, 1);
    const unsigned step = fields_count(f, "decoder_sparse_step", 1, 1024, 1);
    const unsigned every = fields_count(f, "interleave_moe_layer_step", 1, 1024, 1);
    unsigned sparse = 0;

    for (unsigned i = 0; i < m->layers; i++) {
        bool has = i >= first && i % freq == 0 && (i + 1) % step == 0 && (i + 1) % every == 0;

        for (size_t d = 0; d < json_array_size(dense) && d < 1024; d++) {
            has = has && json_integer_value(json_array_get(dense, d)) != (json_int_t)i;
        }
        sparse += has;
    }
    return sparse;
}

static void read_shared(const struct fields *f, struct planner_model *m, const char *type)
{
    static const char *const counts[] = { "n_shared_experts", "num_shared_experts",
                                          "moe_num_shared_experts", NULL };
    const char *count = fields_pick(f, counts);

    if (type && str_starts(type, "llama4")) {
        m->shared_inter = m->moe_inter;
    } else if (m->shared_inter == 0 && fields_has(f, count)) {
        m->shared_inter = fields_count(f, count, 0, 64, 0) * m->moe_inter;
    }
}

static void read_experts(const struct fields *f, const struct family *family, const char *type,
                         struct planner_model *m)
{
    if (m->experts == 0) {
        return;
    }
    if (m->top_k == 0) {
        m->top_k = fields_count(f, "experts_per_token", 1, 65536, 1); /* of early GPT-OSS */
    }
    if (m->moe_inter == 0 && (family->experts_are_mlp || m->inter > 0)) {
        m->moe_inter = m->inter;
    }
    if (family->experts_are_mlp) {
        m->inter = fields_count(f, "intermediate_size_mlp", 0, 1 << 24, 0);
    }
    read_shared(f, m, type);
    m->dense_layers = m->layers - sparse_layers(f, m);
}

/* ---- windows ---- */

static unsigned windowed_of_types(const json_t *types, unsigned layers)
{
    unsigned windowed = 0;

    for (unsigned i = 0; i < layers; i++) {
        const char *type = json_string_value(json_array_get(types, i));

        windowed += type && (str_starts(type, "sliding") || str_starts(type, "chunked"));
    }
    return windowed;
}

/* Told layer by layer, or by a period, or for all; Qwen tells a window and switches it off. */
static unsigned windowed_layers(const struct fields *f, const struct family *family,
                                const struct planner_model *m)
{
    static const char *const periods[] = { "sliding_window_pattern", "_sliding_window_pattern",
                                           NULL };
    const json_t *types = fields_get(f, "layer_types");
    const unsigned period =
        fields_count(f, fields_pick(f, periods), 1, 1024, family->period ? family->period : 0);

    if (m->window == 0 || !fields_bool(f, "use_sliding_window", true)) {
        return 0;
    }
    if (json_is_array(types)) {
        return windowed_of_types(types, m->layers);
    }
    return period ? m->layers - m->layers / period : m->layers;
}

/* ---- precision ---- */

static int format_of_packed(const json_t *quantization)
{
    const json_t *groups = json_object_get(quantization, "config_groups");
    const json_t *group = json_object_get(groups, "group_0");
    const json_t *weights = json_object_get(group, "weights");
    const json_int_t bits = json_integer_value(json_object_get(weights, "num_bits"));
    const char *type = json_string_value(json_object_get(weights, "type"));
    const bool floats = type && str_eq(type, "float");

    if (bits == 8) {
        return floats ? PLANNER_FP8 : PLANNER_INT8;
    }
    return bits == 4 ? (floats ? PLANNER_NVFP4 : PLANNER_INT4) : -1;
}

/* The words of quant_method, quant_algo and fmt that say it all. */
static int format_of_words(const char *words)
{
    static const struct {
        const char *word;
        int format;
    } rows[] = {
        { "nvfp4", PLANNER_NVFP4 }, { "mxfp4", PLANNER_MXFP4 }, { "fp8", PLANNER_FP8 },
        { "awq", PLANNER_INT4 },    { "int8", PLANNER_INT8 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (strstr(words, rows[i].word)) {
            return rows[i].format;
        }
    }
    return -1;
}

static void lower_words(const json_t *quantization, char out[128])
{
    const char *method = json_string_value(json_object_get(quantization, "quant_method"));
    const char *algo = json_string_value(json_object_get(quantization, "quant_algo"));

    snprintf(out, 128, "%.60s %.60s", method ? method : "", algo ? algo : "");
    for (char *p = out; *p; p++) {
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 'a' - 'A') : *p;
    }
}

static int format_of_quantization(const json_t *quantization)
{
    char words[128];
    json_int_t bits = json_integer_value(json_object_get(quantization, "bits"));
    int format;

    lower_words(quantization, words);
    if (strstr(words, "compressed-tensors")) {
        return format_of_packed(quantization);
    }
    format = format_of_words(words);
    if (format >= 0) {
        return format;
    }
    bits = json_is_true(json_object_get(quantization, "load_in_4bit"))   ? 4
           : json_is_true(json_object_get(quantization, "load_in_8bit")) ? 8
                                                                         : bits;
    return bits == 4 ? PLANNER_INT4 : bits == 8 ? PLANNER_INT8 : -1;
}

static int format_by_config(const struct fields *whole, const struct fields *text)
{
    static const char *const dtypes[] = { "torch_dtype", "dtype", NULL };
    const json_t *quantization = fields_get(whole, "quantization_config");
    const struct fields *at = fields_has(text, fields_pick(text, dtypes)) ? text : whole;
    const json_t *dtype = fields_get(at, fields_pick(at, dtypes));

    quantization = quantization ? quantization : fields_get(text, "quantization_config");
    if (json_is_object(quantization)) {
        return format_of_quantization(quantization);
    }
    if (json_is_string(dtype) && str_eq(json_string_value(dtype), "float32")) {
        return PLANNER_BF16; /* engines cast it */
    }
    return json_is_string(dtype) ? model_dtype(json_string_value(dtype)) : -1;
}

/* ---- all of it ---- */

static void name_by_config(const struct fields *f, struct preset_model *ret)
{
    const json_t *architecture = json_array_get(fields_get(f, "architectures"), 0);
    const json_t *path = fields_get(f, "_name_or_path");

    if (json_is_string(path) && json_string_length(path) > 0) {
        preset_name_copy(ret->name, json_string_value(path));
    } else if (json_is_string(architecture)) {
        preset_name_copy(ret->name, json_string_value(architecture));
    }
    preset_name_copy(ret->source, "config.json");
}

static void require_config(const struct fields *f, const struct planner_model *m)
{
    const struct {
        unsigned value;
        const char *name;
    } rows[] = { { m->layers, "num_hidden_layers" },
                 { m->hidden, "hidden_size" },
                 { m->heads, "num_attention_heads" },
                 { m->vocab, "vocab_size" } };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].value == 0) {
            fields_fault(f, -EPROTO, rows[i].name, "this is missing");
        }
    }
}

/* Falcon says how many KV heads it has by two switches; GPT-2 and its kin have as many as heads. */
static void read_heads(const struct fields *f, const struct family *family, struct planner_model *m)
{
    if (m->kv_lora > 0) {
        m->kv_heads = m->head_dim = 0;
        return;
    }
    if (fields_bool(f, "multi_query", false) &&
        !fields_bool(f, "new_decoder_architecture", false) &&
        !fields_has(f, "multi_query_group_num")) {
        m->kv_heads = 1;
    }
    m->kv_heads = m->kv_heads > 0 ? m->kv_heads : m->heads;
    if (m->head_dim == 0 && family->head_dim > 0) {
        m->head_dim = family->head_dim;
    } else if (m->head_dim == 0 && m->heads > 0 && m->hidden % m->heads == 0) {
        m->head_dim = m->hidden / m->heads;
    }
}

void model_config_read(const struct fields *f, struct preset_model *ret)
{
    const struct fields inner = fields_object(f, "text_config", false);
    const struct fields *text = inner.object ? &inner : f;
    const char *whole_type = fields_text(f, "model_type"), *type = fields_text(text, "model_type");
    const struct family *family = family_of(type ? type : whole_type);
    const struct fields *tied = fields_has(f, "tie_word_embeddings") ? f : text;
    struct planner_model *m = &ret->model;

    model_dims_read(text, m, true);
    require_config(text, m);
    if (m->inter == 0 && family->plain_mlp) {
        m->inter = 4 * m->hidden;
    }
    m->tied = fields_bool(tied, "tie_word_embeddings", family->tied);
    m->plain_mlp = family->plain_mlp;
    m->indexer = fields_has(text, "index_topk");
    read_heads(text, family, m);
    read_experts(text, family, type ? type : whole_type, m);
    m->window_layers = windowed_layers(text, family, m);
    m->window = m->window_layers > 0 ? m->window : 0;
    ret->format = format_by_config(f, text);
    name_by_config(f, ret);
    model_check(text, m);
}
