// SPDX-License-Identifier: Apache-2.0
/* The chunked coding: the same payload, the same end and the same verdict however the bytes are
 * cut; what was decoded survives being encoded again. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
    ssize_t end; /* bytes used up to the end, 0: it did not end, or the error */
    size_t n;
    char *payload;
};

static struct result decode(const char *data, size_t size, size_t step)
{
    struct result r = { .payload = malloc(size + 1) };
    struct http_chunked c = { 0 };
    size_t at = 0;

    assert(r.payload);
    while (at < size && !c.done) {
        size_t piece = size - at < step ? size - at : step, used = 0;
        char *copy = malloc(piece ? piece : 1);

        assert(copy);
        memcpy(copy, data + at, piece);
        while (used < piece && !c.done) {
            struct span got;
            ssize_t n = http_chunked_next(&c, copy + used, piece - used, &got);

            if (n < 0) {
                free(copy);
                r.end = n;
                return r;
            }
            assert(n > 0 && got.p >= copy && got.p + got.n <= copy + piece);
            memcpy(r.payload + r.n, got.p, got.n);
            r.n += got.n;
            used += (size_t)n;
        }
        free(copy);
        at += used;
    }
    r.end = c.done ? (ssize_t)at : 0;
    return r;
}

static void check_encoded(const struct result *r)
{
    char *text = malloc(r->n + 40);
    size_t n = 0;
    struct result again;

    assert(text);
    if (r->n > 0) {
        n = (size_t)sprintf(text, "%zx\r\n", r->n);
        memcpy(text + n, r->payload, r->n);
        n += r->n;
        n += (size_t)sprintf(text + n, "\r\n");
    }
    n += (size_t)sprintf(text + n, "0\r\n\r\n");
    again = decode(text, n, n);
    assert(again.end == (ssize_t)n && again.n == r->n &&
           memcmp(again.payload, r->payload, r->n) == 0);
    free(again.payload);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct result whole, other;

    if (size == 0 || size > 8192) {
        return 0;
    }
    whole = decode((const char *)data, size, size);
    for (size_t step = 1; step < size; step = step * 3 + 1) {
        other = decode((const char *)data, size, step);
        assert(other.end == whole.end && other.n == whole.n);
        assert(memcmp(other.payload, whole.payload, whole.n) == 0);
        free(other.payload);
    }
    check_encoded(&whole);
    free(whole.payload);
    return 0;
}
