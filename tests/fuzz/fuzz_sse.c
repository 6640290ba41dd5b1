// SPDX-License-Identifier: Apache-2.0
/* The SSE reader on any bytes: the first two say how they are cut and how much may be held. */
#include "../unit/codec/sse_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t next_size(void *arg)
{
    uint32_t *state = arg;

    *state = *state * 1664525 + 1013904223;
    return 1 + (*state >> 24) % 17;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data + 2;
    uint32_t state;

    if (size < 2) {
        return 0;
    }
    state = data[0];
    sse_check(text, size - 2, data[1], next_size, &state);
    sse_check(text, size - 2, 1 << 20, next_size, &state);
    return 0;
}
