// SPDX-License-Identifier: Apache-2.0
/*
 * What one instance of a model needs of memory, and where that lies: plain numbers that engines
 * fill, placement decides on, and doors show. The arithmetic of the estimate is here too; reading
 * model files is not (codec/model_file.h), nor is what an engine makes of its parameters (the
 * drivers).
 *
 * Bytes; a device is the index that the room of devices gives (gpu.h). On a machine without GPUs
 * device 0 is the host, and everything lies there.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { PLACE_DEVICES_MAX = 16 };

/* Where an instance's memory lies, or will lie. */
struct place_share {
    int device;
    uint64_t bytes;
};
struct place {
    unsigned count; /* 0: no place */
    struct place_share shares[PLACE_DEVICES_MAX];
    uint64_t host_bytes; /* of the host's memory, beside them, where the host is not a device */
};

/* Which figure the need is. */
enum need_source {
    NEED_UNKNOWN,   /* nothing is told and nothing can be read: 0 bytes */
    NEED_DECLARED,  /* resource_requirements.gpu_memory: until the first measurement */
    NEED_ESTIMATED, /* nothing is declared: from the model file and the engine's parameters */
    NEED_MEASURED,  /* the larger of what it took and what is estimated */
    NEED_SOURCE_MAX_,
};
const char *need_source_name(enum need_source s); /* "declared" … */

struct memory_need {
    enum need_source source;
    /* What is to be reserved: on each of n devices split_bytes / n + fixed_bytes, or, with share >
     * 0, that share of each device's total, whatever the rest says (vLLM). */
    uint64_t split_bytes; /* weights and KV cache on devices, which n devices divide evenly */
    uint64_t fixed_bytes; /* compute buffers and runtime, on each of them */
    double share;
    uint64_t host_bytes;               /* host memory beside them (layers that stay there) */
    unsigned min_devices, max_devices; /* how many it may be spread over; 1, 1: never */
    uint32_t load_ms;                  /* how long loading took last time; 0: not known */
    /* For people: what it consists of. All devices together. */
    uint64_t weight_bytes, kv_bytes, compute_bytes, runtime_bytes;
    uint64_t declared_bytes, estimated_bytes, measured_bytes; /* totals on one device; 0: none */
};

/* Bytes on each of n devices of this size. */
uint64_t memory_need_on(const struct memory_need *need, unsigned n, uint64_t device_total_bytes);
/* The sum over a place. */
uint64_t place_bytes(const struct place *place);
/* Of this device; 0 when it is not among them. */
uint64_t place_bytes_on(const struct place *place, int device);

/*
 * ---- the arithmetic of estimates ----
 *
 * Where the formulas come from: the KV cache is what llama.cpp's llama_kv_cache allocates (checked
 * to the byte against its log for f16, q8_0 and q4_0) and vLLM's KVCacheSpec counts; windowed
 * layers as llama_kv_cache_iswa; MLA as one latent vector of kv_lora_rank + qk_rope_head_dim values
 * (DeepSeek-V2, arXiv 2405.04434, 2.1.2). The compute buffer is what llama.cpp 0.7.0 reserved for
 * dense models of three shapes, at micro-batches of 128 to 2048 and contexts of 512 to 65,536, with
 * and without flash attention: the formula gives those figures to 0.1 MiB.
 */

/* Values of a cache lie in blocks: f16 is one in 2 bytes, q8_0 32 in 34. */
struct kv_type {
    uint32_t values, bytes;
};
/* "f16", "q8_0" … as llama.cpp names them; also "fp8". -EINVAL for others. */
int kv_type_from_string(const char *name, struct kv_type *ret);

struct kv_cache {
    struct kv_type k, v;
    uint64_t cells;        /* tokens that a layer holds, of all sequences together */
    uint64_t window_cells; /* … that a windowed one holds */
};
/* What one layer takes that keeps so many values of a token. */
uint64_t kv_layer_bytes(const struct kv_cache *cache, uint32_t k_values, uint32_t v_values,
                        bool windowed);
/* Cells of llama.cpp's windowed layers: per stream the window of its sequences and a micro-batch,
 * in 256s, never more than a whole layer has. */
uint64_t llamacpp_window_cells(uint64_t stream_cells, uint64_t streams, uint64_t sequences,
                               uint64_t window, uint64_t ubatch);

/* What a graph of llama.cpp is made of. */
struct llamacpp_graph {
    uint64_t hidden, feed_forward, heads;
    uint64_t qkv_values; /* of a token: queries, keys and values of a layer */
    uint64_t vocab;
    uint64_t experts_used, expert_feed_forward; /* 0: dense */
    uint64_t ubatch;                            /* tokens at once */
    uint64_t cells;        /* that a token may look at: the context of a stream */
    uint64_t window_cells; /* the same in windowed layers; 0: there are none */
    uint64_t sequences;
    bool flash_attention;
};
/* The compute buffer that it reserves; a prompt that fills the context touches all of it. */
uint64_t llamacpp_compute_bytes(const struct llamacpp_graph *g);
/* The logits of the sequences. */
uint64_t llamacpp_output_bytes(const struct llamacpp_graph *g);
