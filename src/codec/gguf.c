// SPDX-License-Identifier: Apache-2.0
/* The GGUF reader: a window that slides over the header, never past the file's end nor past
 * GGUF_HEADER_MAX. */
#include "codec/gguf.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

enum {
    WINDOW = 64 << 10,
    DEFAULT_ALIGNMENT = 32,
    DIMENSIONS_MAX = 4,
    NESTED_ARRAYS_MAX = 4,
    KEY_BYTES_MAX = 65535, /* the format's own limit */
    TENSOR_NAME_MAX = 1024,
};

/* Types of metadata values, as in the file. */
enum value_type {
    V_U8,
    V_I8,
    V_U16,
    V_I16,
    V_U32,
    V_I32,
    V_F32,
    V_BOOL,
    V_STRING,
    V_ARRAY,
    V_U64,
    V_I64,
    V_F64,
    V_MAX_,
};

static const uint8_t value_bytes[V_MAX_] = {
    [V_U8] = 1,  [V_I8] = 1,   [V_U16] = 2, [V_I16] = 2, [V_U32] = 4, [V_I32] = 4,
    [V_F32] = 4, [V_BOOL] = 1, [V_U64] = 8, [V_I64] = 8, [V_F64] = 8, /* 0: variable */
};

/* A tensor's values lie in blocks of `values` values and `bytes` bytes. */
struct tensor_type {
    const char *name;
    uint32_t values, bytes;
};

// clang-format off
static const struct tensor_type tensor_types[GGUF_TYPES] = {
    [0]  = { "F32",     1,   4 },   [1]  = { "F16",     1,   2 },
    [2]  = { "Q4_0",    32,  18 },  [3]  = { "Q4_1",    32,  20 },
    [6]  = { "Q5_0",    32,  22 },  [7]  = { "Q5_1",    32,  24 },
    [8]  = { "Q8_0",    32,  34 },  [9]  = { "Q8_1",    32,  36 },
    [10] = { "Q2_K",    256, 84 },  [11] = { "Q3_K",    256, 110 },
    [12] = { "Q4_K",    256, 144 }, [13] = { "Q5_K",    256, 176 },
    [14] = { "Q6_K",    256, 210 }, [15] = { "Q8_K",    256, 292 },
    [16] = { "IQ2_XXS", 256, 66 },  [17] = { "IQ2_XS",  256, 74 },
    [18] = { "IQ3_XXS", 256, 98 },  [19] = { "IQ1_S",   256, 50 },
    [20] = { "IQ4_NL",  32,  18 },  [21] = { "IQ3_S",   256, 110 },
    [22] = { "IQ2_S",   256, 82 },  [23] = { "IQ4_XS",  256, 136 },
    [24] = { "I8",      1,   1 },   [25] = { "I16",     1,   2 },
    [26] = { "I32",     1,   4 },   [27] = { "I64",     1,   8 },
    [28] = { "F64",     1,   8 },   [29] = { "IQ1_M",   256, 56 },
    [30] = { "BF16",    1,   2 },   [34] = { "TQ1_0",   256, 54 },
    [35] = { "TQ2_0",   256, 66 },  [39] = { "MXFP4",   32,  17 },
};
// clang-format on

struct reader {
    const struct gguf_source *source;
    struct gguf_info *info;
    struct error *reterr;
    uint64_t at; /* next byte of the file */
    char *window;
    uint64_t window_at;
    size_t window_n;
    uint64_t metadata_at, metadata_count;
    uint64_t alignment, token_count;
    bool passed_a_prefix; /* an <architecture>.* key came before general.architecture */
};

const char *gguf_type_name(uint32_t type)
{
    return type < GGUF_TYPES ? tensor_types[type].name : NULL;
}

/* n bytes more must lie in the file, and in the part that a header may take. */
static int check_left(const struct reader *r, uint64_t n)
{
    uint64_t left = r->source->size - r->at;

    if (n > left) {
        return error_set(r->reterr, -EINVAL, "truncated: the header goes on beyond the file's end");
    }
    if (n > GGUF_HEADER_MAX || r->at > GGUF_HEADER_MAX - n) {
        return error_set(r->reterr, -EINVAL, "broken: the header is larger than %d MiB",
                         GGUF_HEADER_MAX >> 20);
    }
    return 0;
}

static int skip(struct reader *r, uint64_t n)
{
    int x = check_left(r, n);

    if (x == 0) {
        r->at += n;
    }
    return x;
}

/* n is at most WINDOW. */
static int take(struct reader *r, void *out, size_t n)
{
    int x = check_left(r, n);

    if (x < 0) {
        return x;
    }
    if (r->at < r->window_at || r->at + n > r->window_at + r->window_n) {
        uint64_t left = r->source->size - r->at;

        r->window_at = r->at;
        r->window_n = left < WINDOW ? (size_t)left : WINDOW;
        x = r->source->read(r->source->arg, r->window_at, r->window, r->window_n);
        if (x < 0) {
            r->window_n = 0;
            return error_set(r->reterr, x, "cannot be read: %s", strerror(-x));
        }
    }
    memcpy(out, r->window + (r->at - r->window_at), n);
    r->at += n;
    return 0;
}

/* Little-endian, of 1 to 8 bytes. */
static int take_number(struct reader *r, size_t bytes, uint64_t *ret)
{
    unsigned char raw[8];
    int x = take(r, raw, bytes);

    *ret = 0;
    if (x == 0) {
        for (size_t i = bytes; i > 0; i--) {
            *ret = *ret << 8 | raw[i - 1];
        }
    }
    return x;
}

/* A string of which the first bytes go to out (terminated); *ret_n is its whole length. */
static int take_string(struct reader *r, char *out, size_t out_size, uint64_t *ret_n)
{
    uint64_t n;
    size_t kept;
    int x = take_number(r, 8, &n);

    if (x < 0) {
        return x;
    }
    kept = n < out_size ? (size_t)n : out_size - 1;
    x = check_left(r, n);
    x = x < 0 ? x : take(r, out, kept);
    if (x < 0) {
        return x;
    }
    out[kept] = '\0';
    *ret_n = n;
    return skip(r, n - kept);
}

static int skip_values(struct reader *r, uint64_t type, uint64_t count, unsigned nested);

static int take_array_head(struct reader *r, uint64_t *ret_type, uint64_t *ret_count)
{
    int x = take_number(r, 4, ret_type);

    return x < 0 ? x : take_number(r, 8, ret_count);
}

static int skip_string(struct reader *r)
{
    uint64_t n;
    int x = take_number(r, 8, &n);

    return x < 0 ? x : skip(r, n);
}

static int skip_array(struct reader *r, unsigned nested)
{
    uint64_t type, count;
    int x;

    if (nested == NESTED_ARRAYS_MAX) {
        return error_set(r->reterr, -EINVAL, "broken: arrays are nested too deep");
    }
    x = take_array_head(r, &type, &count);
    return x < 0 ? x : skip_values(r, type, count, nested + 1);
}

static int skip_values(struct reader *r, uint64_t type, uint64_t count, unsigned nested)
{
    uint64_t bytes;
    int x = 0;

    if (type >= V_MAX_) {
        return error_set(r->reterr, -EINVAL,
                         "broken: a metadata value has the unknown type %" PRIu64, type);
    }
    if (value_bytes[type]) {
        return skip(r,
                    __builtin_mul_overflow(count, value_bytes[type], &bytes) ? UINT64_MAX : bytes);
    }
    for (uint64_t i = 0; i < count && x == 0; i++) {
        x = type == V_STRING ? skip_string(r) : skip_array(r, nested);
    }
    return x;
}

/* One number of a whole type; a negative one counts as 0. */
static int take_whole(struct reader *r, uint64_t type, uint64_t *ret)
{
    size_t bytes = value_bytes[type];
    bool is_signed = type == V_I8 || type == V_I16 || type == V_I32 || type == V_I64;
    int x = take_number(r, bytes, ret);

    if (x == 0 && is_signed && *ret >> (8 * bytes - 1)) {
        *ret = 0;
    }
    return x;
}

static bool is_whole(uint64_t type)
{
    return type < V_MAX_ && value_bytes[type] && type != V_F32 && type != V_F64 && type != V_BOOL;
}

/* The number, or the greatest of an array of them (one a layer). Of other types: skipped. */
static int read_whole(struct reader *r, uint64_t type, uint64_t *ret)
{
    uint64_t count = 1, greatest = 0, v;
    int x = 0;

    if (type == V_ARRAY) {
        x = take_array_head(r, &type, &count);
        if (x < 0) {
            return x;
        }
    }
    if (!is_whole(type)) {
        return skip_values(r, type, count, 1);
    }
    for (uint64_t i = 0; i < count && x == 0; i++) {
        x = take_whole(r, type, &v);
        greatest = x == 0 && v > greatest ? v : greatest;
    }
    *ret = x == 0 ? greatest : 0;
    return x;
}

/* One value, or one a layer; truth counts as 1. Of other types: skipped. */
static int read_list(struct reader *r, uint64_t type, struct gguf_list *ret)
{
    uint64_t count = 1, v;
    int x = 0;

    *ret = (struct gguf_list){ 0 };
    if (type == V_ARRAY) {
        x = take_array_head(r, &type, &count);
        if (x < 0) {
            return x;
        }
    }
    if (!is_whole(type) && type != V_BOOL) {
        return skip_values(r, type, count, 1);
    }
    for (uint64_t i = 0; i < count && x == 0; i++) {
        x = take_whole(r, type, &v);
        if (x == 0 && i < GGUF_LAYERS_MAX) {
            ret->values[i] = (uint32_t)MIN_OF(v, (uint64_t)UINT32_MAX);
        }
    }
    ret->count = x == 0 ? count : 0;
    return x;
}

uint32_t gguf_list_greatest(const struct gguf_list *l)
{
    uint32_t greatest = 0;

    for (uint64_t i = 0; i < l->count && i < GGUF_LAYERS_MAX; i++) {
        greatest = MAX_OF(greatest, l->values[i]);
    }
    return greatest;
}

static int read_text(struct reader *r, uint64_t type, char out[GGUF_TEXT_MAX])
{
    uint64_t n;
    int x;

    if (type != V_STRING) {
        return skip_values(r, type, 1, 0);
    }
    x = take_string(r, out, GGUF_TEXT_MAX, &n);
    if (x == 0 && !is_valid_utf8(out, strlen(out))) {
        out[0] = '\0'; /* not text, or cut within a character: of no use to anybody */
    }
    return x;
}

/* How many tokens the tokenizer has, or how long the chat template is. */
static int read_length(struct reader *r, uint64_t type, uint64_t *ret)
{
    uint64_t of;
    int x;

    if (type == V_STRING) {
        x = take_number(r, 8, ret);
        return x < 0 ? x : skip(r, *ret);
    }
    if (type != V_ARRAY) {
        return skip_values(r, type, 1, 0);
    }
    x = take_array_head(r, &of, ret);
    return x < 0 ? x : skip_values(r, of, *ret, 1);
}

struct place_of_key {
    const char *name;
    size_t offset; /* in struct gguf_info */
};

#define AT(member) offsetof(struct gguf_info, member)

static const struct place_of_key numbers[] = {
    { "context_length", AT(context_length) },
    { "embedding_length", AT(embedding_length) },
    { "block_count", AT(block_count) },
    { "attention.head_count", AT(head_count) },
    { "attention.key_length", AT(key_length) },
    { "attention.value_length", AT(value_length) },
    { "attention.key_length_swa", AT(key_length_swa) },
    { "attention.value_length_swa", AT(value_length_swa) },
    { "attention.key_length_mla", AT(key_length_mla) },
    { "attention.kv_lora_rank", AT(kv_lora_rank) },
    { "attention.sliding_window", AT(sliding_window) },
    { "attention.shared_kv_layers", AT(shared_kv_layers) },
    { "full_attention_interval", AT(full_attention_interval) },
    { "nextn_predict_layers", AT(next_n_layers) },
    { "rope.dimension_count", AT(rope_dimension_count) },
    { "ssm.conv_kernel", AT(ssm_conv_kernel) },
    { "ssm.inner_size", AT(ssm_inner_size) },
    { "ssm.state_size", AT(ssm_state_size) },
    { "ssm.group_count", AT(ssm_group_count) },
    { "wkv.head_size", AT(wkv_head_size) },
    { "expert_count", AT(expert_count) },
    { "expert_feed_forward_length", AT(expert_feed_forward) },
    { "expert_shared_count", AT(expert_shared_count) },
    { "expert_shared_feed_forward_length", AT(expert_shared_feed_forward) },
    { "expert_used_count", AT(expert_used_count) },
    { "vocab_size", AT(vocab_size) },
};

static const struct place_of_key lists[] = {
    { "attention.head_count_kv", AT(kv_heads) },
    { "feed_forward_length", AT(feed_forward) },
    { "attention.sliding_window_pattern", AT(window_pattern) },
};

#undef AT

/* Where a key of the architecture is kept; NULL for those of no interest. */
static void *find_place(struct reader *r, const char *key, const struct place_of_key *places,
                        size_t count)
{
    size_t prefix = strlen(r->info->architecture);

    if (prefix == 0) {
        r->passed_a_prefix |= !str_starts(key, "general.") && !str_starts(key, "tokenizer.");
        return NULL;
    }
    if (strncmp(key, r->info->architecture, prefix) != 0 || key[prefix] != '.') {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (str_eq(key + prefix + 1, places[i].name)) {
            return (char *)r->info + places[i].offset;
        }
    }
    return NULL;
}

static int read_pair(struct reader *r)
{
    struct gguf_info *info = r->info;
    uint64_t type, n = 0, *number;
    struct gguf_list *list;
    char key[128];
    int x;

    x = take_string(r, key, sizeof(key), &n);
    if (x == 0 && (n == 0 || n > KEY_BYTES_MAX)) {
        x = error_set(r->reterr, -EINVAL, "broken: a metadata key is %" PRIu64 " bytes long", n);
    }
    x = x < 0 ? x : take_number(r, 4, &type);
    if (x < 0) {
        return x;
    }
    n = 0;
    number = find_place(r, key, numbers, ARRAY_SIZE(numbers));
    if (number) {
        return read_whole(r, type, number);
    }
    list = find_place(r, key, lists, ARRAY_SIZE(lists));
    if (list) {
        return read_list(r, type, list);
    }
    if (str_eq(key, "general.architecture")) {
        return read_text(r, type, info->architecture);
    }
    if (str_eq(key, "general.name")) {
        return read_text(r, type, info->name);
    }
    if (str_eq(key, "general.alignment")) {
        return read_whole(r, type, &r->alignment);
    }
    if (str_eq(key, "split.count")) {
        return read_whole(r, type, &info->split_count);
    }
    if (str_eq(key, "tokenizer.ggml.tokens")) {
        return read_length(r, type, &r->token_count);
    }
    if (str_eq(key, "tokenizer.chat_template")) {
        x = read_length(r, type, &n);
        info->has_chat_template = n > 0;
        return x;
    }
    if (str_eq(key, "general.file_type")) {
        x = read_whole(r, type, &n);
        info->file_type = (uint32_t)n;
        info->has_file_type = x == 0;
        return x;
    }
    return skip_values(r, type, 1, 0);
}

static int read_metadata(struct reader *r)
{
    int x = 0;

    r->at = r->metadata_at;
    for (uint64_t i = 0; i < r->metadata_count && x == 0; i++) {
        x = read_pair(r);
    }
    return x;
}

static int read_head(struct reader *r)
{
    struct gguf_info *info = r->info;
    uint64_t version = 0;
    char magic[4];
    int x;

    if (r->source->size < 24) {
        return error_set(r->reterr, -EINVAL, "not a GGUF file: only %" PRIu64 " bytes long",
                         r->source->size);
    }
    x = take(r, magic, sizeof(magic));
    if (x == 0 && memcmp(magic, "GGUF", 4) != 0) {
        x = error_set(r->reterr, -EINVAL, "not a GGUF file: it does not begin with GGUF");
    }
    x = x < 0 ? x : take_number(r, 4, &version);
    if (x < 0) {
        return x;
    }
    if (version != 2 && version != 3) {
        if ((version & 0xFFFF) == 0 && version != 0) {
            return error_set(r->reterr, -EINVAL, "big-endian GGUF files cannot be used here");
        }
        return error_set(r->reterr, -EINVAL,
                         "GGUF version %" PRIu64 " is not understood (2 and 3 are)", version);
    }
    info->version = (uint32_t)version;
    x = take_number(r, 8, &info->tensor_count);
    x = x < 0 ? x : take_number(r, 8, &r->metadata_count);
    r->metadata_at = r->at;
    return x;
}

/* What a tensor says of itself. */
struct tensor {
    char name[80];
    uint64_t values, row_values, rows, type, offset; /* rows: of each matrix in it */
    uint64_t dimensions;
};

static int read_tensor(struct reader *r, struct tensor *t)
{
    uint64_t n, dimensions = 0, size = 0;
    int x;

    x = take_string(r, t->name, sizeof(t->name), &n);
    if (x == 0 && (n == 0 || n > TENSOR_NAME_MAX || !is_valid_utf8(t->name, strlen(t->name)))) {
        x = error_set(r->reterr, -EINVAL, "broken: a tensor has no sane name");
    }
    x = x < 0 ? x : take_number(r, 4, &dimensions);
    if (x == 0 && dimensions > DIMENSIONS_MAX) {
        x = error_set(r->reterr, -EINVAL, "broken: tensor '%s' has %" PRIu64 " dimensions", t->name,
                      dimensions);
    }
    t->values = t->row_values = t->rows = 1;
    t->dimensions = dimensions;
    for (uint64_t i = 0; x == 0 && i < dimensions; i++) {
        x = take_number(r, 8, &size);
        if (x == 0 && __builtin_mul_overflow(t->values, size, &t->values)) {
            x = error_set(r->reterr, -EINVAL, "broken: tensor '%s' has an impossible shape",
                          t->name);
        }
        t->row_values = x == 0 && i == 0 ? size : t->row_values;
        t->rows = x == 0 && i == 1 ? size : t->rows;
    }
    x = x < 0 ? x : take_number(r, 4, &t->type);
    return x < 0 ? x : take_number(r, 8, &t->offset);
}

/* "blk.17.ffn_up.weight": 17; -1: of no layer */
static int layer_of(const char *name)
{
    int layer = 0;

    if (!str_starts(name, "blk.")) {
        return -1;
    }
    name += 4;
    for (; *name >= '0' && *name <= '9' && layer < GGUF_LAYERS_MAX; name++) {
        layer = layer * 10 + (*name - '0');
    }
    return *name == '.' && layer < GGUF_LAYERS_MAX ? layer : -1;
}

/* Which part of the model it belongs to. No sum can overflow: tensor_bytes did not. */
static void sort_tensor(struct gguf_info *info, const struct tensor *t, uint64_t bytes)
{
    int layer = layer_of(t->name);
    bool output = str_eq(t->name, "output.weight");

    if (layer >= 0) {
        info->layer_bytes[layer] += bytes;
        info->layer_expert_bytes[layer] += strstr(t->name, "_exps.") ? bytes : 0;
    } else if (output) {
        info->output_bytes += bytes;
        info->output_type = (uint32_t)t->type;
    } else if (str_eq(t->name, "token_embd.weight")) {
        info->embedding_bytes += bytes;
        info->embedding_type = (uint32_t)t->type;
        info->embedding_in_eights = t->rows % 8 == 0;
    }
    if ((layer >= 0 || output) && t->dimensions >= 2 && t->rows % 8 == 0) {
        info->matrix_bytes[t->type] += bytes;
    }
}

/* *ret_end: where the tensor's bytes end, counted from the beginning of the data. */
static int count_tensor(struct reader *r, const struct tensor *t, uint64_t *ret_end)
{
    const struct tensor_type *type = t->type < GGUF_TYPES ? &tensor_types[t->type] : NULL;
    uint64_t bytes = 0;

    if (t->offset % r->alignment) {
        return error_set(r->reterr, -EINVAL, "broken: tensor '%s' is not aligned", t->name);
    }
    if (!type || !type->name) {
        r->info->unknown_tensors++; /* the engine may know it */
    } else if (t->row_values % type->values) {
        return error_set(r->reterr, -EINVAL, "broken: tensor '%s' does not fit the blocks of %s",
                         t->name, type->name);
    } else if (__builtin_mul_overflow(t->values / type->values, type->bytes, &bytes) ||
               __builtin_add_overflow(r->info->tensor_bytes, bytes, &r->info->tensor_bytes)) {
        return error_set(r->reterr, -EINVAL, "broken: tensor '%s' has an impossible shape",
                         t->name);
    } else {
        r->info->type_bytes[t->type] += bytes;
        sort_tensor(r->info, t, bytes);
    }
    if (__builtin_add_overflow(t->offset, bytes, ret_end)) {
        return error_set(r->reterr, -EINVAL, "broken: tensor '%s' has an impossible place",
                         t->name);
    }
    return 0;
}

/* 1,234,567 */
static const char *with_commas(uint64_t n, char out[32])
{
    char *p = out + 31;

    *p = '\0';
    for (int digits = 0; n > 0 || digits == 0; n /= 10) {
        if (digits > 0 && digits % 3 == 0) {
            *--p = ',';
        }
        *--p = (char)('0' + n % 10);
        digits++;
    }
    return p;
}

static int check_end(struct reader *r, uint64_t data_end)
{
    uint64_t end, padding = (r->alignment - r->at % r->alignment) % r->alignment;
    char text[32];

    r->info->data_offset = r->at + padding;
    if (__builtin_add_overflow(r->info->data_offset, data_end, &end)) {
        end = UINT64_MAX;
    }
    if (data_end > 0 && end > r->source->size) {
        return error_set(r->reterr, -EINVAL, "truncated: tensor data ends %s bytes beyond the file",
                         with_commas(end - r->source->size, text));
    }
    if (r->info->tensor_bytes > data_end) {
        return error_set(r->reterr, -EINVAL, "broken: its tensors lie over one another");
    }
    return 0;
}

static int read_tensors(struct reader *r)
{
    uint64_t data_end = 0, end = 0;
    int x;

    for (uint64_t i = 0; i < r->info->tensor_count; i++) {
        struct tensor t;

        x = read_tensor(r, &t);
        x = x < 0 ? x : count_tensor(r, &t, &end);
        if (x < 0) {
            return x;
        }
        data_end = MAX_OF(data_end, end);
    }
    return check_end(r, data_end);
}

static int read_all(struct reader *r)
{
    int x;

    x = read_head(r);
    x = x < 0 ? x : read_metadata(r);
    if (x == 0 && r->passed_a_prefix && r->info->architecture[0]) {
        x = read_metadata(r); /* once more, now that the prefix of its keys is known */
    }
    if (x < 0) {
        return x;
    }
    if (r->alignment == 0 || r->alignment > 1 << 20 || (r->alignment & (r->alignment - 1))) {
        return error_set(r->reterr, -EINVAL, "broken: an alignment of %" PRIu64, r->alignment);
    }
    r->info->head_count_kv = gguf_list_greatest(&r->info->kv_heads);
    if (r->info->vocab_size == 0) {
        r->info->vocab_size = r->token_count;
    }
    return read_tensors(r);
}

int gguf_read(const struct gguf_source *source, struct gguf_info *ret, struct error *reterr)
{
    struct gguf_info info = { .file_bytes = source->size };
    struct reader r = {
        .source = source,
        .info = &info,
        .reterr = reterr,
        .alignment = DEFAULT_ALIGNMENT,
    };
    int x;

    r.window = xmalloc(WINDOW);
    x = read_all(&r);
    free(r.window);
    if (x == 0) {
        *ret = info;
    }
    return x;
}

static int read_fd(void *arg, uint64_t offset, void *out, size_t n)
{
    const int *fd = arg;
    size_t done = 0;

    while (done < n) {
        ssize_t got = pread(*fd, (char *)out + done, n - done, (off_t)(offset + done));

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? -errno : -EIO; /* it shrank meanwhile */
        }
        done += (size_t)got;
    }
    return 0;
}

int gguf_source_open(const char *path, int *ret_fd, struct gguf_source *ret, struct error *reterr)
{
    struct stat st;
    int r;

    /* not waiting for a writer when somebody names a FIFO */
    *ret_fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (*ret_fd < 0 || fstat(*ret_fd, &st) < 0) {
        r = -errno;
        return error_set(reterr, r, "%s: %s", path, strerror(-r));
    }
    if (!S_ISREG(st.st_mode)) {
        return error_set(reterr, -EINVAL, "%s: not a regular file", path);
    }
    *ret = (struct gguf_source){ .read = read_fd, .arg = ret_fd, .size = (uint64_t)st.st_size };
    return 0;
}

int gguf_read_file(const char *path, struct gguf_info *ret, struct error *reterr)
{
    _cleanup_(closep) int fd = -1;
    struct gguf_source source = { 0 };
    int r;

    r = gguf_source_open(path, &fd, &source, reterr);
    if (r < 0) {
        return r;
    }
    r = gguf_read(&source, ret, reterr);
    return r < 0 ? error_prefix(reterr, "%s: ", path) : r;
}
