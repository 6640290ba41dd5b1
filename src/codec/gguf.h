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
    uint64_t vocab_size; /* <architecture>.vocab_size, else the number of tokens in the tokenizer */
    uint64_t split_count; /* files that the model lies in, when it is split; this file is one */
    uint64_t tensor_count;
    uint64_t tensor_bytes;           /* of the types in `gguf_type_name` */
    uint64_t type_bytes[GGUF_TYPES]; /* the same by ggml type */
    uint64_t unknown_tensors;        /* of types newer than this reader: not in the sums */
    uint64_t data_offset;            /* where tensor data begins */
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

/* "Q4_K"; NULL for a type that this reader does not know. */
const char *gguf_type_name(uint32_t type);
