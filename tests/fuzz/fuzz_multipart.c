// SPDX-License-Identifier: Apache-2.0
/* The reader of forms on any bytes: the first line is the Content-Type, the rest the body. What it
 * gives lies within the body, and no part holds its boundary. */
#include <stdint.h>
#include <stdlib.h>

#include "codec/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct span s, struct span body)
{
    if (s.p && (s.p < body.p || s.p + s.n > body.p + body.n)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span body = { (const char *)data, size };
    const struct span type = span_cut(&body, '\n');
    struct error err = { 0 };
    struct multipart m;
    size_t steps = 0;
    int r;

    if (!body.p) {
        return 0;
    }
    r = multipart_begin(&m, type, body, &err);
    while (r >= 0 && (r = multipart_step(&m, 1 + size % 7, &err)) > 0) {
        if (++steps > size + 1) { /* each goes on */
            abort();
        }
    }
    if (r < 0) {
        if (!err.text[0] || err.code >= 0) {
            abort();
        }
        return 0;
    }
    for (size_t i = 0; i < m.count; i++) {
        const struct multipart_part *p = &m.parts[i];
        char *name = multipart_text(p->name), *filename = multipart_text(p->filename);

        check_inside(p->name, body);
        check_inside(p->filename, body);
        check_inside(p->content_type, body);
        check_inside(p->data, body);
        if (!p->name.p || !p->data.p || strlen(name) > p->name.n ||
            strlen(filename) > p->filename.n) {
            abort();
        }
        free(name);
        free(filename);
    }
    return 0;
}
