// SPDX-License-Identifier: Apache-2.0
/* The parts of a request to an engine that do not depend on who asks. */
#include "gateway/engine_request.h"

#include <stdlib.h>

#include "base/mem.h"

void engine_header(struct buf *out, const char *name, struct span value)
{
    if (value.p) {
        buf_puts(out, name);
        buf_append(out, ": ", 2);
        buf_append(out, value.p, value.n);
        buf_append(out, "\r\n", 2);
    }
}

void engine_json_headers(struct buf *out, bool stream)
{
    buf_puts(out, stream ? "Content-Type: application/json\r\nAccept: text/event-stream\r\n"
                         : "Content-Type: application/json\r\nAccept: application/json\r\n");
}

void engine_route_headers(struct buf *out, const struct engine_route *route)
{
    if (route->headers) {
        buf_puts(out, route->headers);
    }
}

void engine_name_model(struct gateway_request *r, const char *name, char **text)
{
    struct buf out = BUF_INIT(8 * ENGINE_PATH_MAX);

    if (!name && !*text) {
        return;
    }
    free(*text);
    *text = NULL;
    if (name && !str_eq(name, r->model)) {
        buf_putc(&out, '"');
        buf_put_json_escaped(&out, name, strlen(name));
        buf_putc(&out, '"');
        *text = buf_take(&out, NULL);
    }
    gateway_request_compose(r, span_of(*text));
}

bool engine_cannot_serve(int status)
{
    return status == 502 || status == 503 || status == 504;
}

enum outcome engine_outcome(int status)
{
    return engine_cannot_serve(status)      ? OUTCOME_FAILED
           : status >= 500 && status != 501 ? OUTCOME_ERROR
                                            : OUTCOME_GOOD;
}
