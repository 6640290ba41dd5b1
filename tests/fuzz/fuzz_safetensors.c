// SPDX-License-Identifier: Apache-2.0
/* The safetensors reader on any bytes: it asks for nothing outside the file, what it tells of lies
 * within it, and no tensor is longer than its data. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"
#include "codec/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "not so: %s\n", what);
        abort();
    }
}

static int read_bytes(void *arg, uint64_t offset, void *out, size_t n)
{
    const struct span *bytes = arg;

    must(offset <= bytes->n && n <= bytes->n - offset, "a read within the file");
    memcpy(out, bytes->p + offset, n);
    return 0;
}

struct sum {
    uint64_t bytes, size;
};

static void on_tensor(void *arg, const struct safetensors_tensor *t)
{
    struct sum *sum = arg;

    must(t->bytes <= sum->size, "a tensor within the file");
    must(t->bits == 0 || t->values * t->bits == t->bytes * 8, "as long as its shape");
    sum->bytes += t->bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span bytes = { (const char *)data, size };
    struct gguf_source source = { .read = read_bytes, .arg = &bytes, .size = size };
    struct sum sum = { 0, size };
    struct error e = { 0 };
    int r = safetensors_read(&source, on_tensor, &sum, &e);

    if (r < 0) {
        must(e.code == r && e.text[0] && is_valid_utf8(e.text, strlen(e.text)), "a sentence");
    } else {
        must(sum.bytes <= size, "tensors apart");
    }
    return 0;
}
