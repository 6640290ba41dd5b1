// SPDX-License-Identifier: Apache-2.0
/*
 * The header of a safetensors file: eight bytes of length, a JSON object that names every tensor
 * with its type, shape and place, then the tensors. Every length is checked against the file's, and
 * no two tensors may lie over one another. The tensors are not read. Blocking: call it on a worker.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "codec/gguf.h"

enum {
    SAFETENSORS_HEADER_MAX = 32 << 20, /* the format allows 100 MB; no model has a tenth of it */
    SAFETENSORS_TENSORS_MAX = 200000,
};

struct safetensors_tensor {
    const char *name; /* borrowed for the call */
    uint64_t bytes, values;
    uint32_t bits; /* of a value; 0: a type that is not known here */
};

/* fn is told of every tensor. -EINVAL with what is wrong ("truncated: …"), or the source's error.
 */
int safetensors_read(const struct gguf_source *source,
                     void (*fn)(void *arg, const struct safetensors_tensor *t), void *arg,
                     struct error *reterr) _must_check_;
/* The same of a file; the sentence begins with its path. */
int safetensors_read_file(const char *path,
                          void (*fn)(void *arg, const struct safetensors_tensor *t), void *arg,
                          uint64_t *ret_file_bytes, struct error *reterr) _must_check_;
