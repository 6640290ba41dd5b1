// SPDX-License-Identifier: Apache-2.0
/* The edits of a request on any bytes: what was taken goes to the engine as one JSON object, with
 * the name that the engine knows, asking for usage where that was promised, without keep_alive. */
#include <stdlib.h>

#include "base/buf.h"
#include "codec/scan.h"
#include "gateway/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { F_MODEL, F_OPTIONS, F_USAGE, F_KEEP_ALIVE, F_TTL, F_COUNT };

static void check(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void check_edits(struct gateway_request *r, struct span name)
{
    struct scan_member f[F_COUNT] = { { .name = "model" },
                                      { .name = "stream_options" },
                                      { .name = "stream_options.include_usage" },
                                      { .name = "keep_alive" },
                                      { .name = "ttl" } };
    struct buf body = BUF_INIT(1 << 20);

    gateway_request_compose(r, name);
    for (size_t i = 0; i < r->part_count; i++) {
        buf_append(&body, r->parts[i].p, r->parts[i].n);
    }
    check(scan_object(buf_span(&body), f, F_COUNT, NULL) == 0);
    check(f[F_MODEL].type == SCAN_STRING);
    check(!name.p || (f[F_MODEL].value.n == name.n && !memcmp(f[F_MODEL].value.p, name.p, name.n)));
    check(f[F_KEEP_ALIVE].type == SCAN_ABSENT && f[F_TTL].type == SCAN_ABSENT);
    if (r->added_usage || r->asked_for_usage) {
        check(f[F_USAGE].type == SCAN_BOOL && span_eq(f[F_USAGE].value, "true"));
    }
    buf_finish(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gateway_request r;

    if (size < 1 || gateway_request_read((struct span){ (const char *)data + 1, size - 1 },
                                         data[0] & 1, &r, NULL) < 0) {
        return 0;
    }
    check_edits(&r, SPAN("\"the engine's\""));
    check_edits(&r, (struct span){ 0 });
    gateway_request_finish(&r);
    return 0;
}
