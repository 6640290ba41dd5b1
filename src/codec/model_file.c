// SPDX-License-Identifier: Apache-2.0
/*
 * Model files of every format, brought into one form. What an architecture does by custom and its
 * file does not say (which layers have a window) stands in tables here.
 */
#include "codec/model_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "codec/safetensors.h"

enum { CONFIG_BYTES_MAX = 16 << 20, STATE_VALUE_BYTES = 4, PART_DIGITS = 5 };

static uint32_t limited(uint64_t n)
{
    return (uint32_t)MIN_OF(n, (uint64_t)UINT32_MAX);
}

/* ---- GGUF: what keeps what ---- */

/* Every n-th layer is whole, the others have a window; whole_first: the first of n is, else the
 * last. llama.cpp: llama_hparams::set_swa_pattern, by architecture. */
struct custom {
    const char *architecture;
    unsigned period;
    bool whole_first;
    unsigned window; /* when the file does not say */
};

static const struct custom customs[] = {
    { "afmoe", 4, false, 0 },     { "cohere2", 4, false, 0 },        { "exaone4", 4, false, 0 },
    { "gemma2", 2, false, 4096 }, { "gemma3", 6, false, 0 },         { "gemma3n", 5, false, 0 },
    { "gpt-oss", 2, false, 0 },   { "llama4", 4, false, 8192 },      { "olmo2", 4, false, 0 },
    { "plamo3", 8, false, 0 },    { "smallthinker", 4, true, 4096 },
};

static const struct custom *custom_of(const char *architecture)
{
    for (size_t i = 0; i < ARRAY_SIZE(customs); i++) {
        if (str_eq(customs[i].architecture, architecture)) {
            return &customs[i];
        }
    }
    return NULL;
}

/* Encoders and diffusion models keep nothing from one pass to the next. */
static bool has_no_cache(const char *architecture)
{
    static const char *const names[] = { "t5encoder", "gemma-embedding", "dream",
                                         "llada",     "llada-moe",       "rnd1" };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (str_eq(names[i], architecture)) {
            return true;
        }
    }
    return strstr(architecture, "bert") != NULL;
}

static uint64_t window_of(const struct gguf_info *info)
{
    const struct custom *custom = custom_of(info->architecture);

    return info->sliding_window ? info->sliding_window : custom ? custom->window : 0;
}

/* A window that nobody says which layers have is taken for none: that is more, not less. */
static bool is_windowed(const struct gguf_info *info, unsigned layer)
{
    const struct custom *custom = custom_of(info->architecture);
    const struct gguf_list *pattern = &info->window_pattern;
    uint32_t period = pattern->count == 1 ? pattern->values[0] : custom ? custom->period : 0;

    if (window_of(info) == 0) {
        return false;
    }
    if (pattern->count > 1) {
        return layer < pattern->count && layer < GGUF_LAYERS_MAX && pattern->values[layer];
    }
    if (period == 0) {
        return false;
    }
    return custom && custom->whole_first ? layer % period != 0 : layer % period < period - 1;
}

static uint64_t kv_heads_of(const struct gguf_info *info, unsigned layer)
{
    const struct gguf_list *heads = &info->kv_heads;

    if (heads->count == 0) {
        return info->head_count;
    }
    if (heads->count == 1) {
        return heads->values[0];
    }
    return layer < heads->count && layer < GGUF_LAYERS_MAX ? heads->values[layer] : 0;
}

static bool is_attention(const struct gguf_info *info, unsigned layer)
{
    if (info->full_attention_interval > 1 && (layer + 1) % info->full_attention_interval) {
        return false;
    }
    return kv_heads_of(info, layer) > 0 && info->wkv_head_size == 0 &&
           !str_starts(info->architecture, "mamba");
}

/* llama.cpp: llama_hparams::n_embd_r and n_embd_s, kept as f32. */
static uint64_t state_values(const struct gguf_info *info)
{
    uint64_t channels = info->ssm_inner_size + 2 * info->ssm_group_count * info->ssm_state_size;

    if (info->wkv_head_size) {
        return info->embedding_length * (info->wkv_head_size + 2);
    }
    return (info->ssm_conv_kernel ? info->ssm_conv_kernel - 1 : 0) * channels +
           info->ssm_state_size * info->ssm_inner_size;
}

static void fill_attention(const struct gguf_info *info, struct model_facts *f,
                           struct model_layer *layer, unsigned i)
{
    uint64_t k = info->key_length ? info->key_length : f->head_values;
    uint64_t v = info->value_length ? info->value_length : f->head_values;
    uint64_t heads = kv_heads_of(info, i);

    layer->windowed = is_windowed(info, i);
    if (layer->windowed && info->key_length_swa) {
        k = info->key_length_swa;
        v = info->value_length_swa ? info->value_length_swa : k;
    }
    layer->k_values = limited(heads * k);
    layer->v_values = f->latent ? 0 : limited(heads * v);
}

static void fill_layer(const struct gguf_info *info, struct model_facts *f, unsigned i)
{
    struct model_layer *layer = &f->layers[i];
    uint64_t beyond = info->next_n_layers + info->shared_kv_layers;
    bool keeps = i + MIN_OF(beyond, (uint64_t)f->layer_count) < f->layer_count;

    layer->weight_bytes = info->layer_bytes[i];
    layer->expert_bytes = info->layer_expert_bytes[i];
    if (!keeps || has_no_cache(info->architecture)) {
        return;
    }
    if (is_attention(info, i)) {
        fill_attention(info, f, layer, i);
    }
    if (!is_attention(info, i) || str_eq(info->architecture, "falcon-h1")) {
        layer->state_bytes = STATE_VALUE_BYTES * state_values(info);
    }
}

/* ---- GGUF: the files ---- */

/* Numbers beyond any sense would only overflow what is computed of them. */
static int check_numbers(const char *path, const struct gguf_info *info, struct error *reterr)
{
    const uint64_t numbers[] = {
        info->embedding_length, info->head_count,        info->key_length,
        info->value_length,     info->key_length_swa,    info->value_length_swa,
        info->ssm_conv_kernel,  info->ssm_inner_size,    info->ssm_state_size,
        info->ssm_group_count,  info->vocab_size,        info->wkv_head_size,
        info->expert_count,     info->expert_used_count, info->expert_feed_forward
    };

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        if (numbers[i] > 1 << 24) {
            return error_set(reterr, -EINVAL, "%s: broken: a size of %llu", path,
                             (unsigned long long)numbers[i]);
        }
    }
    if (state_values(info) > (uint64_t)1 << 32) {
        return error_set(reterr, -EINVAL, "%s: broken: a state of %llu values", path,
                         (unsigned long long)state_values(info));
    }
    if (info->block_count > MODEL_LAYERS_MAX) {
        return error_set(reterr, -EINVAL,
                         "%s: %llu layers are more than the %d that are understood", path,
                         (unsigned long long)info->block_count, MODEL_LAYERS_MAX);
    }
    return 0;
}

static void fill_head(const struct gguf_info *info, struct model_facts *f)
{
    f->format = MODEL_GGUF;
    snprintf(f->architecture, sizeof(f->architecture), "%.63s", info->architecture);
    f->context_length = info->context_length;
    f->hidden = info->embedding_length;
    f->heads = info->head_count;
    f->head_values = info->head_count ? info->embedding_length / info->head_count : 0;
    f->feed_forward = gguf_list_greatest(&info->feed_forward);
    f->vocab = info->vocab_size;
    f->window = window_of(info);
    f->latent = info->key_length_mla > 0;
    f->experts = info->expert_count;
    f->experts_used = info->expert_used_count;
    f->expert_feed_forward = info->expert_feed_forward;
    f->layer_count = (unsigned)info->block_count;
}

static void add_weights(const struct gguf_info *info, struct model_facts *f)
{
    f->file_bytes += info->file_bytes;
    f->weight_bytes += info->tensor_bytes;
    f->embedding_bytes += info->embedding_bytes;
    f->output_bytes += info->output_bytes;
    f->output_type = info->output_bytes ? info->output_type : f->output_type;
    for (int i = 0; i < GGUF_TYPES; i++) {
        f->matrix_bytes[i] += info->matrix_bytes[i];
    }
}

/* "…-00002-of-00003.gguf": where the number of the part stands; NULL: it is no part. */
static char *part_number(char *path)
{
    size_t n = strlen(path), tail = strlen("-00001-of-00003.gguf");
    char *at = n > tail ? path + n - tail + 1 : NULL;

    return at && at[-1] == '-' && strspn(at, "0123456789") == PART_DIGITS &&
                   str_starts(at + PART_DIGITS, "-of-") &&
                   strspn(at + PART_DIGITS + 4, "0123456789") == PART_DIGITS
               ? at
               : NULL;
}

/* Calls fn(arg, part's path) for the file or all the parts that it is one of. */
static int each_part(const char *path, int (*fn)(void *arg, const char *path, struct error *reterr),
                     void *arg, struct error *reterr)
{
    _cleanup_(freep) char *part = xstrdup(path);
    char *number = part_number(part);
    unsigned count = number ? (unsigned)strtoul(number + PART_DIGITS + 4, NULL, 10) : 1;
    char digits[16];
    int r = 0;

    if (count == 0 || count > MODEL_PARTS_MAX) {
        return error_set(reterr, -EINVAL, "%s: a model of %u parts", path, count);
    }
    for (unsigned i = 1; i <= count && r == 0; i++) {
        if (number) {
            snprintf(digits, sizeof(digits), "%05u", i);
            memcpy(number, digits, PART_DIGITS);
        }
        r = fn(arg, part, reterr);
    }
    return r;
}

struct gguf_reading {
    struct model_facts *facts;
    struct gguf_info *whole; /* the first part's; the layers' bytes of all */
    struct gguf_info *part;
};

static int read_part(void *arg, const char *path, struct error *reterr)
{
    struct gguf_reading *g = arg;
    int r = gguf_read_file(path, g->part, reterr);

    if (r < 0) {
        return r;
    }
    if (g->facts->parts++ == 0) {
        *g->whole = *g->part;
    } else {
        for (int i = 0; i < GGUF_LAYERS_MAX; i++) {
            g->whole->layer_bytes[i] += g->part->layer_bytes[i];
            g->whole->layer_expert_bytes[i] += g->part->layer_expert_bytes[i];
        }
    }
    if (g->part->embedding_bytes) {
        g->whole->embedding_type = g->part->embedding_type;
        g->whole->embedding_in_eights = g->part->embedding_in_eights;
    }
    add_weights(g->part, g->facts);
    return 0;
}

static int read_gguf(const char *path, struct model_facts *f, struct error *reterr)
{
    struct gguf_reading g = { .facts = f };
    int r;

    g.whole = xcalloc(2, sizeof(*g.whole));
    g.part = g.whole + 1;
    r = each_part(path, read_part, &g, reterr);
    r = r < 0 ? r : check_numbers(path, g.whole, reterr);
    if (r == 0) {
        fill_head(g.whole, f);
        for (unsigned i = 0; i < f->layer_count; i++) {
            fill_layer(g.whole, f, i);
        }
        if (f->output_bytes == 0 && g.whole->embedding_in_eights) {
            f->matrix_bytes[g.whole->embedding_type] += f->embedding_bytes;
        }
    }
    free(g.whole);
    return r;
}

/* ---- config.json ---- */

static int read_json(const char *path, json_t **ret, struct error *reterr)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    _cleanup_(freep) char *text = NULL;
    struct stat st;
    ssize_t n;
    int r;

    if (fd < 0 || fstat(fd, &st) < 0) {
        r = -errno;
        return error_set(reterr, r, "%s: %s", path, strerror(-r));
    }
    if (!S_ISREG(st.st_mode) || st.st_size > CONFIG_BYTES_MAX) {
        return error_set(reterr, -EINVAL, "%s: not a file of at most %d MiB", path,
                         CONFIG_BYTES_MAX >> 20);
    }
    text = xmalloc((size_t)st.st_size + 1);
    n = pread(fd, text, (size_t)st.st_size, 0);
    if (n < 0) {
        r = -errno;
        return error_set(reterr, r, "%s: %s", path, strerror(-r));
    }
    r = json_read((struct span){ text, (size_t)n }, CONFIG_BYTES_MAX, ret, reterr);
    if (r == 0 && !json_is_object(*ret)) {
        json_decref(*ret);
        r = error_set(reterr, -EINVAL, "%s: not a JSON object", path);
    } else if (r < 0) {
        r = error_set(reterr, -EINVAL, "%s: not JSON that can be read", path);
    }
    return r;
}

/* The first of the names that is there; a size beyond any sense counts as absent. */
static uint64_t number_of(const json_t *config, const char *const *names)
{
    for (; *names; names++) {
        json_int_t n = json_integer_value(json_object_get(config, *names));

        if (n > 0 && n <= 1 << 24) {
            return (uint64_t)n;
        }
    }
    return 0;
}

#define NUMBER(config, ...) number_of(config, (const char *const[]){ __VA_ARGS__, NULL })

static bool is_windowed_type(const json_t *types, unsigned layer)
{
    const char *type = json_string_value(json_array_get(types, layer));

    return type && (str_starts(type, "sliding") || str_starts(type, "chunked"));
}

static bool is_attention_type(const json_t *types, unsigned layer)
{
    const char *type = json_string_value(json_array_get(types, layer));

    return !type || strstr(type, "attention") == NULL || !str_starts(type, "linear");
}

/* Which layers have the window, where the list of their kinds is not there. */
static uint64_t period_of(const json_t *config)
{
    const char *type = json_string_value(json_object_get(config, "model_type"));
    uint64_t period = NUMBER(config, "sliding_window_pattern", "_sliding_window_pattern");
    const struct custom *custom = type ? custom_of(type) : NULL;

    return period ? period : custom ? custom->period : 0;
}

static bool is_windowed_by_config(const json_t *config, const struct model_facts *f, unsigned layer)
{
    const json_t *types = json_object_get(config, "layer_types");
    uint64_t period = period_of(config);

    if (f->window == 0) {
        return false;
    }
    if (json_array_size(types)) {
        return is_windowed_type(types, layer);
    }
    return period ? layer % period < period - 1 : true;
}

static void fill_layer_by_config(const json_t *config, struct model_facts *f, unsigned i)
{
    uint64_t kv_heads = NUMBER(config, "num_key_value_heads", "multi_query_group_num");
    uint64_t latent = NUMBER(config, "kv_lora_rank");
    struct model_layer *layer = &f->layers[i];

    if (!is_attention_type(json_object_get(config, "layer_types"), i)) {
        return;
    }
    layer->windowed = is_windowed_by_config(config, f, i);
    if (latent) {
        layer->k_values = limited(latent + NUMBER(config, "qk_rope_head_dim"));
        return;
    }
    layer->k_values = layer->v_values = limited((kv_heads ? kv_heads : f->heads) * f->head_values);
}

static uint32_t bits_of_word(const char *dtype)
{
    static const struct {
        const char *word;
        uint32_t bits;
    } words[] = { { "float32", 32 }, { "bfloat16", 16 }, { "float16", 16 }, { "float8", 8 } };

    for (size_t i = 0; dtype && i < ARRAY_SIZE(words); i++) {
        if (strstr(dtype, words[i].word)) {
            return words[i].bits;
        }
    }
    return 0;
}

static uint32_t value_bits(const json_t *config)
{
    const json_t *quantization = json_object_get(config, "quantization_config");
    const char *method = json_string_value(json_object_get(quantization, "quant_method"));
    uint64_t bits = NUMBER(quantization, "bits");
    const char *dtype = json_string_value(json_object_get(config, "torch_dtype"));

    if (bits) {
        return limited(bits);
    }
    if (method && strstr(method, "fp8")) {
        return 8;
    }
    return bits_of_word(dtype ? dtype : json_string_value(json_object_get(config, "dtype")));
}

/* Windows may be told and switched off (Qwen2). */
static uint64_t window_by_config(const json_t *config)
{
    const json_t *use = json_object_get(config, "use_sliding_window");

    return json_is_false(use) ? 0 : NUMBER(config, "sliding_window", "attention_chunk_size");
}

static int fill_by_config(const char *path, const json_t *whole, struct model_facts *f,
                          struct error *reterr)
{
    const json_t *text = json_object_get(whole, "text_config"); /* of a model that sees */
    const json_t *config = json_is_object(text) ? text : whole;
    const json_t *names = json_object_get(whole, "architectures");
    const char *architecture = json_string_value(json_array_get(names, 0));
    uint64_t layers = NUMBER(config, "num_hidden_layers", "n_layer", "num_layers", "n_layers");

    if (layers > MODEL_LAYERS_MAX) {
        return error_set(reterr, -EINVAL, "%s: more than %d layers", path, MODEL_LAYERS_MAX);
    }
    snprintf(f->architecture, sizeof(f->architecture), "%.63s", architecture ? architecture : "");
    f->context_length = NUMBER(config, "max_position_embeddings", "n_positions", "seq_length");
    f->hidden = NUMBER(config, "hidden_size", "n_embd", "d_model");
    f->heads = NUMBER(config, "num_attention_heads", "n_head");
    f->head_values = NUMBER(config, "head_dim");
    f->head_values = f->head_values ? f->head_values : f->heads ? f->hidden / f->heads : 0;
    f->feed_forward = NUMBER(config, "intermediate_size", "n_inner", "ffn_dim");
    f->vocab = NUMBER(config, "vocab_size");
    f->window = window_by_config(config);
    f->latent = NUMBER(config, "kv_lora_rank") > 0;
    f->experts = NUMBER(config, "n_routed_experts", "num_local_experts", "num_experts");
    f->experts_used = NUMBER(config, "num_experts_per_tok");
    f->expert_feed_forward = NUMBER(config, "moe_intermediate_size");
    f->value_bits = value_bits(json_object_get(whole, "quantization_config") ? whole : config);
    f->layer_count = (unsigned)layers;
    for (unsigned i = 0; i < f->layer_count; i++) {
        fill_layer_by_config(config, f, i);
    }
    return 0;
}

/* ---- safetensors ---- */

/* The layer of "model.layers.17.mlp.…" or "h.17.…"; -1: of none. */
static int layer_of(const char *name)
{
    static const char *const marks[] = { "layers.", "h.", "blocks." };

    for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
        const char *at = strstr(name, marks[i]);
        unsigned long n;
        char *end;

        if (!at || (at > name && at[-1] != '.')) {
            continue;
        }
        at += strlen(marks[i]);
        n = strtoul(at, &end, 10);
        if (end > at && *end == '.' && n < MODEL_LAYERS_MAX) {
            return (int)n;
        }
    }
    return -1;
}

static void on_tensor(void *arg, const struct safetensors_tensor *t)
{
    struct model_facts *f = arg;
    int layer = layer_of(t->name);

    f->weight_bytes += t->bytes;
    if (layer >= 0) {
        f->layers[layer].weight_bytes += t->bytes;
        f->layers[layer].expert_bytes += strstr(t->name, ".experts.") ? t->bytes : 0;
    } else if (strstr(t->name, "embed_tokens.weight") || strstr(t->name, "wte.weight")) {
        f->embedding_bytes += t->bytes;
    } else if (str_ends(t->name, "lm_head.weight")) {
        f->output_bytes += t->bytes;
    }
}

static int add_file(struct model_facts *f, const char *path, struct error *reterr)
{
    uint64_t bytes = 0;
    int r;

    if (f->parts == MODEL_PARTS_MAX) {
        return error_set(reterr, -EINVAL, "%s: more than %d files", path, MODEL_PARTS_MAX);
    }
    r = safetensors_read_file(path, on_tensor, f, &bytes, reterr);
    f->parts++;
    f->file_bytes += bytes;
    return r;
}

/* The files that the index names, each once. */
static int add_indexed(struct model_facts *f, const char *dir, const json_t *index,
                       struct error *reterr)
{
    json_t *map = json_object_get(index, "weight_map");
    json_t *files = json_object();
    const char *name;
    json_t *value;
    int r = 0;

    json_object_foreach(map, name, value)
    {
        if (json_is_string(value)) {
            json_object_set(files, json_string_value(value), value);
        }
    }
    json_object_foreach(files, name, value)
    {
        _cleanup_(freep) char *path = xasprintf("%s/%s", dir, name);

        if (strchr(name, '/')) {
            r = error_set(reterr, -EINVAL, "%s: the index names a file elsewhere: %.80s", dir,
                          name);
        }
        r = r < 0 ? r : add_file(f, path, reterr);
        if (r < 0) {
            break;
        }
    }
    json_decref(files);
    return r;
}

static int add_all(struct model_facts *f, const char *dir, struct error *reterr)
{
    DIR *d = opendir(dir);
    struct dirent *entry;
    int r = d ? 0 : error_set(reterr, -errno, "%s: %s", dir, strerror(errno));

    while (r == 0 && (entry = readdir(d))) {
        _cleanup_(freep) char *path = xasprintf("%s/%s", dir, entry->d_name);

        r = str_ends(entry->d_name, ".safetensors") ? add_file(f, path, reterr) : 0;
    }
    if (d) {
        closedir(d);
    }
    return r;
}

static int add_weight_files(struct model_facts *f, const char *dir, struct error *reterr)
{
    _cleanup_(freep) char *index_path = xasprintf("%s/model.safetensors.index.json", dir);
    _cleanup_(freep) char *single = xasprintf("%s/model.safetensors", dir);
    json_t *index = NULL;
    int r;

    if (access(index_path, F_OK) == 0) {
        r = read_json(index_path, &index, reterr);
        if (r == 0) {
            r = add_indexed(f, dir, index, reterr);
            json_decref(index);
        }
        return r;
    }
    return access(single, F_OK) == 0 ? add_file(f, single, reterr) : add_all(f, dir, reterr);
}

static int read_directory(const char *dir, struct model_facts *f, struct error *reterr)
{
    _cleanup_(freep) char *config_path = xasprintf("%s/config.json", dir);
    json_t *config = NULL;
    int r = read_json(config_path, &config, reterr);

    if (r < 0) {
        return r;
    }
    f->format = MODEL_SAFETENSORS;
    r = fill_by_config(config_path, config, f, reterr);
    json_decref(config);
    r = r < 0 ? r : add_weight_files(f, dir, reterr);
    f->weights_unknown = f->weight_bytes == 0;
    return r;
}

static char *dir_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return !slash          ? xstrdup(".")
           : slash == path ? xstrdup("/")
                           : xstrndup(path, (size_t)(slash - path));
}

static int read_tensors_file(const char *path, struct model_facts *f, struct error *reterr)
{
    _cleanup_(freep) char *dir = dir_of(path);
    _cleanup_(freep) char *config_path = xasprintf("%s/config.json", dir);
    json_t *config = NULL;
    int r = 0;

    f->format = MODEL_SAFETENSORS;
    if (access(config_path, F_OK) == 0) {
        r = read_json(config_path, &config, reterr);
        if (r == 0) {
            r = fill_by_config(config_path, config, f, reterr);
            json_decref(config);
        }
    }
    return r < 0 ? r : add_file(f, path, reterr);
}

/* ---- whichever it is ---- */

static bool begins_with_gguf(const char *path)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    char magic[4];

    return fd >= 0 && pread(fd, magic, sizeof(magic), 0) == sizeof(magic) &&
           memcmp(magic, "GGUF", sizeof(magic)) == 0;
}

enum kind { KIND_GGUF, KIND_DIRECTORY, KIND_CONFIG, KIND_TENSORS, KIND_OTHER };

static enum kind kind_of(const char *path, const struct stat *st)
{
    if (S_ISDIR(st->st_mode)) {
        return KIND_DIRECTORY;
    }
    if (!S_ISREG(st->st_mode)) {
        return KIND_OTHER;
    }
    if (str_ends(path, ".safetensors")) {
        return KIND_TENSORS;
    }
    if (str_ends(path, "config.json")) {
        return KIND_CONFIG;
    }
    return str_ends(path, ".gguf") || begins_with_gguf(path) ? KIND_GGUF : KIND_OTHER;
}

static int read_any(const char *path, enum kind kind, struct model_facts *f, struct error *reterr)
{
    _cleanup_(freep) char *dir = NULL;

    switch (kind) {
    case KIND_GGUF:
        return read_gguf(path, f, reterr);
    case KIND_DIRECTORY:
        return read_directory(path, f, reterr);
    case KIND_CONFIG:
        dir = dir_of(path);
        return read_directory(dir, f, reterr);
    case KIND_TENSORS:
        return read_tensors_file(path, f, reterr);
    default:
        return error_set(reterr, -ENOTSUP, "%s: neither GGUF nor safetensors", path);
    }
}

int model_file_read(const char *path, struct model_facts *ret, struct error *reterr)
{
    struct stat st;
    int r;

    if (stat(path, &st) < 0) {
        r = -errno;
        return error_set(reterr, r, "%s: %s", path, strerror(-r));
    }
    memset(ret, 0, sizeof(*ret));
    return read_any(path, kind_of(path, &st), ret, reterr);
}

/* ---- the stamp ---- */

static void stamp_with(struct model_stamp *stamp, const struct stat *st)
{
    uint64_t changed = (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec;

    stamp->bytes += (uint64_t)st->st_size;
    stamp->changed_ns = MAX_OF(stamp->changed_ns, changed);
}

static int stamp_part(void *arg, const char *path, struct error *reterr)
{
    struct stat st;

    if (stat(path, &st) < 0) {
        int r = -errno;

        return error_set(reterr, r, "%s: %s", path, strerror(-r));
    }
    stamp_with(arg, &st);
    return 0;
}

static int stamp_directory(const char *dir, struct model_stamp *stamp, struct error *reterr)
{
    DIR *d = opendir(dir);
    struct dirent *entry;
    struct stat st;

    if (!d) {
        return error_set(reterr, -errno, "%s: %s", dir, strerror(errno));
    }
    while ((entry = readdir(d))) {
        if ((str_ends(entry->d_name, ".safetensors") || str_ends(entry->d_name, ".json")) &&
            fstatat(dirfd(d), entry->d_name, &st, 0) == 0) {
            stamp_with(stamp, &st);
        }
    }
    closedir(d);
    return 0;
}

int model_file_stamp(const char *path, struct model_stamp *ret, struct error *reterr)
{
    _cleanup_(freep) char *dir = NULL;
    struct model_stamp stamp = { 0 };
    struct stat st;
    enum kind kind;
    int r;

    if (stat(path, &st) < 0) {
        r = -errno;
        return error_set(reterr, r, "%s: %s", path, strerror(-r));
    }
    kind = kind_of(path, &st);
    if (kind == KIND_DIRECTORY || kind == KIND_CONFIG || kind == KIND_TENSORS) {
        dir = kind == KIND_DIRECTORY ? xstrdup(path) : dir_of(path);
        r = stamp_directory(dir, &stamp, reterr);
    } else {
        r = each_part(path, stamp_part, &stamp, reterr);
    }
    if (r == 0) {
        *ret = stamp;
    }
    return r;
}
