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
    uint32_t load_ms; /* how long loading took last time; 0: not known */
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
