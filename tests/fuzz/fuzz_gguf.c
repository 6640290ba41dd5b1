// SPDX-License-Identifier: Apache-2.0
/* The GGUF reader on any bytes: it asks for nothing outside the file, and what it accepts lies
 * within it. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"
#include "codec/gguf.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span bytes = { (const char *)data, size };
    struct gguf_source source = { .read = read_bytes, .arg = &bytes, .size = size };
    struct gguf_info info;
    struct error e = { 0 };
    int r = gguf_read(&source, &info, &e);

    if (r < 0) {
        must(e.code == r && e.text[0] && is_valid_utf8(e.text, strlen(e.text)), "a sentence");
        return 0;
    }
    must(info.version == 2 || info.version == 3, "a version");
    must(is_valid_utf8(info.name, strlen(info.name)), "a name that is text");
    must(info.file_bytes == size, "the file's size");
    return 0;
}
