// SPDX-License-Identifier: Apache-2.0
/*
 * What a model's files say of its size and shape, whatever their format:
 *
 *     a GGUF file               all parts of it ("…-00001-of-00003.gguf") together
 *     a directory               its config.json, and the headers of its *.safetensors
 *     a config.json             the same of the directory that it lies in
 *     a *.safetensors file      the same; a file of its own where there is no config.json
 *
 * So that one arithmetic (planner/need.h) serves for all. Headers are read, tensors are not. What a
 * file does not say is 0. Blocking: call it on a worker.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "codec/gguf.h"

enum {
    MODEL_LAYERS_MAX = 512, /* a model of more is refused */
    MODEL_PARTS_MAX = 1024, /* files that it lies in */
};

enum model_format { MODEL_GGUF, MODEL_SAFETENSORS, MODEL_FORMAT_MAX_ };

/* What a layer keeps for every token and for every sequence, in values. */
struct model_layer {
    uint32_t k_values, v_values; /* of a token, all its KV heads; 0: keeps nothing, or MLA's one
                                    latent vector, which is in k_values */
    bool windowed;               /* keeps the last `window` tokens only */
    uint64_t state_bytes;        /* of a sequence: recurrent state */
    uint64_t weight_bytes;
    uint64_t expert_bytes; /* of them: its experts */
};

struct model_facts {
    enum model_format format;
    char architecture[64];
    unsigned parts;        /* files */
    uint64_t file_bytes;   /* all of them */
    uint64_t weight_bytes; /* tensors */
    uint64_t embedding_bytes;
    uint64_t output_bytes; /* 0: the embedding serves */
    uint32_t output_type;  /* GGUF: of its values */
    bool weights_unknown;  /* a config.json without files that could be read: bytes are 0 */
    /* GGUF: matrices whose rows come in eights, by type: of them an engine may make a copy in
     * another order. The output's included, also when it is the embedding. */
    uint64_t matrix_bytes[GGUF_TYPES];
    uint64_t context_length; /* that it was trained for */
    uint64_t hidden, heads, head_values, feed_forward, vocab;
    uint64_t window;
    bool latent; /* MLA */
    uint64_t experts, experts_used, expert_feed_forward;
    uint32_t value_bits; /* safetensors: of most weights (16, 8, 4 …); 0 unknown */
    unsigned layer_count;
    struct model_layer layers[MODEL_LAYERS_MAX];
};

/* -ENOENT and the like, -EINVAL: what is wrong with it, the sentence begins with the path;
 * -ENOTSUP: it is none of these. *ret is large: keep it off small stacks. */
int model_file_read(const char *path, struct model_facts *ret, struct error *reterr) _must_check_;

/* Tells one state of the files from another without reading them: the sum of sizes and the last
 * change (ns since 1970) of what model_file_read would look at. */
struct model_stamp {
    uint64_t bytes, changed_ns;
};
int model_file_stamp(const char *path, struct model_stamp *ret, struct error *reterr) _must_check_;
