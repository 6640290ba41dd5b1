// SPDX-License-Identifier: Apache-2.0
/* The reader of traces on any bytes: what it accepts is in order and within its bounds, what it
 * refuses has a sentence with the line. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/str.h"
#include "simulate/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "not so: %s\n", what);
        abort();
    }
}

static void check(const struct trace *t)
{
    const uint64_t *blocks = t->block_memory;

    must(t->count > 0 && t->requests[0].at_s == 0, "it begins with a request");
    must(t->model_count > 0, "a model");
    for (size_t i = 0; i < t->count; i++) {
        const struct trace_request *q = &t->requests[i];

        must(i == 0 || q->at_s >= t->requests[i - 1].at_s, "in order of time");
        must(q->input_tokens >= 1 && q->input_tokens <= TRACE_TOKENS_MAX, "tokens in");
        must(q->output_tokens >= 1 && q->output_tokens <= TRACE_TOKENS_MAX, "tokens out");
        must(q->model < t->model_count, "a model that is named");
        must(q->block_count <= (q->input_tokens + TRACE_BLOCK_TOKENS - 1) / TRACE_BLOCK_TOKENS,
             "no more blocks than the prompt has");
        must(!q->blocks == !q->block_count && (!q->blocks || q->blocks >= blocks), "blocks");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const int fd = memfd_create("trace", MFD_CLOEXEC);
    char path[64];
    struct trace t;
    struct error e = { 0 };
    int r;

    must(fd >= 0 && write(fd, data, size) == (ssize_t)size, "a file");
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    r = trace_read(path, &t, &e);
    if (r < 0) {
        must(e.code == r && strstr(e.text, ", line "), "a sentence with the line");
        must(is_valid_utf8(e.text, strlen(e.text)), "a sentence in UTF-8");
    } else {
        check(&t);
        trace_finish(&t);
    }
    close(fd);
    return 0;
}
