// SPDX-License-Identifier: Apache-2.0
/*
 * The header of a GGUF file (versions 2 and 3, little-endian): what the model is, and whether the
 * file holds all that its tensor table promises, so that a broken download is refused before an
 * engine is started with it. The tensors themselves are not read.
 *
 *     magic version counts │ metadata │ tensor table │ padding │ tensor data
 *     └──────────────── header: read ────────────────┘          └ only its end is compared with the
 * file's
 *
 * Every count and length is checked against what is left of the file. Blocking: call it on a
 * worker.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum {
    GGUF_TYPES = 64,             /* tensor types that are told apart */
    GGUF_HEADER_MAX = 256 << 20, /* bytes of header; more is refused */
    GGUF_TEXT_MAX = 256,         /* longer names are cut */
    GGUF_LAYERS_MAX = 1024,      /* layers that are told one by one */
};

/* A number for all layers (count 1), or one for each (count = as many as stand in the file, of
 * which at most GGUF_LAYERS_MAX are kept). count 0: the file does not say. */
struct gguf_list {
    uint64_t count;
    uint32_t values[GGUF_LAYERS_MAX];
};

/* Numbers are 0 and texts "" where the file does not say. */
struct gguf_info {
    uint32_t version;
    char architecture[GGUF_TEXT_MAX]; /* "llama" */
    char name[GGUF_TEXT_MAX];         /* general.name */
    uint32_t file_type;               /* general.file_type; meaningful with has_file_type */
    bool has_file_type;
    bool has_chat_template;
    uint64_t context_length; /* these are <architecture>.<name> */
    uint64_t embedding_length;
    uint64_t block_count;
    uint64_t head_count; /* the greatest, where layers differ */
    uint64_t head_count_kv;
    struct gguf_list kv_heads; /* the same, layer by layer; 0: a layer that is no attention */
    struct gguf_list feed_forward;
    uint64_t key_length, value_length;         /* of a head */
    uint64_t key_length_swa, value_length_swa; /* the same in windowed layers */
    uint64_t key_length_mla;                   /* there: the cache holds latent vectors (MLA) */
    uint64_t kv_lora_rank, rope_dimension_count;
    uint64_t sliding_window;
    struct gguf_list window_pattern;  /* count 1: every n-th layer is whole; else 1: windowed */
    uint64_t full_attention_interval; /* every n-th layer is attention, the others recurrent */
    uint64_t shared_kv_layers;        /* the last n layers use the cache of earlier ones */
    uint64_t next_n_layers;           /* of block_count: they predict further tokens */
    uint64_t ssm_conv_kernel, ssm_inner_size, ssm_state_size, ssm_group_count;
    uint64_t wkv_head_size; /* of RWKV */
    uint64_t expert_count, expert_used_count, expert_feed_forward;
    uint64_t expert_shared_count, expert_shared_feed_forward; /* the latter of all together */
    uint64_t vocab_size; /* <architecture>.vocab_size, else the number of tokens in the tokenizer */
    uint64_t split_count; /* files that the model lies in, when it is split; this file is one */
    uint64_t tensor_count;
    uint64_t tensor_bytes;           /* of the types in `gguf_type_name` */
    uint64_t type_bytes[GGUF_TYPES]; /* the same by ggml type */
    /* Of the tensor_bytes: those of each layer, the input embedding, the output matrix (0: it is
     * the embedding itself). */
    uint64_t layer_bytes[GGUF_LAYERS_MAX];
    uint64_t layer_expert_bytes[GGUF_LAYERS_MAX]; /* of the layer's: those of its experts */
    uint64_t embedding_bytes, output_bytes;
    uint32_t embedding_type, output_type; /* of their values */
    bool embedding_in_eights;
    /* Of the layers' and the output's matrices, by type: those whose rows come in eights (engines
     * may keep a second copy of them in another order). */
    uint64_t matrix_bytes[GGUF_TYPES];
    uint64_t unknown_tensors; /* of types newer than this reader: not in the sums */
    uint64_t data_offset;     /* where tensor data begins */
    uint64_t file_bytes;
};

/* Where bytes come from. read gives exactly n bytes from offset, which lie within size, or a
 * negative errno. */
struct gguf_source {
    int (*read)(void *arg, uint64_t offset, void *out, size_t n);
    void *arg;
    uint64_t size;
};

/* -EINVAL with what is wrong ("truncated: tensor data ends 1,234 bytes beyond the file"), or the
 * error of the source. */
int gguf_read(const struct gguf_source *source, struct gguf_info *ret,
              struct error *reterr) _must_check_;
/* The same of a file; the sentence begins with its path. -ENOENT and the like when it cannot be
 * opened. */
int gguf_read_file(const char *path, struct gguf_info *ret, struct error *reterr) _must_check_;

/* A regular file as a source: good while *ret_fd stays open and where it is. It is the caller's to
 * close, also after a failure (-1: nothing was opened). The sentence begins with the path. */
int gguf_source_open(const char *path, int *ret_fd, struct gguf_source *ret,
                     struct error *reterr) _must_check_;

/* The greatest of those that are kept; 0: there are none. */
uint32_t gguf_list_greatest(const struct gguf_list *l);
/* "Q4_K"; NULL for a type that this reader does not know. */
const char *gguf_type_name(uint32_t type);
