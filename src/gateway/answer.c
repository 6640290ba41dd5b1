// SPDX-License-Identifier: Apache-2.0
/* What clients are told when something is not as they asked: in the shape of their door, with the
 * status of the error table, and where waiting helps, when to come back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/scan.h"
#include "codec/sse.h"
#include "gateway/gateway_int.h"

enum { ERROR_MAX = 16 * 1024 };

void answer_error(struct http_exchange *x, enum error_shape shape, int error, const char *code,
                  const char *text)
{
    const struct error_kind *kind = error_kind(error);
    struct buf body = BUF_INIT(ERROR_MAX);

    error_body(shape, kind->http_status, kind->type, code ? code : kind->name, text, &body);
    http_respond(x, kind->http_status, "application/json", buf_span(&body));
    buf_finish(&body);
}

/* The Responses API has the members of its error event at the top; older clients look for an
 * `error` object. */
static void put_responses_error(int status, const char *type, const char *code, const char *text,
                                unsigned sequence, struct buf *out)
{
    struct buf object = BUF_INIT(ERROR_MAX);

    error_body(SHAPE_OPENAI, status, type, code, text, &object);
    buf_printf(out, "{\"type\":\"error\",\"sequence_number\":%u,\"code\":\"%s\",\"param\":null,",
               sequence, code);
    buf_puts(out, "\"message\":\"");
    buf_put_json_escaped(out, text, strlen(text));
    buf_puts(out, "\",");
    buf_puts(out, buf_data(&object) + 1); /* "error":{…}} */
    buf_finish(&object);
}

void error_event_write(enum error_event kind, int status, const char *type, const char *code,
                       const char *text, unsigned sequence, struct buf *out)
{
    switch (kind) {
    case ERROR_EVENT_DATA:
        buf_puts(out, "data: ");
        error_body(SHAPE_OPENAI, status, type, code, text, out);
        break;
    case ERROR_EVENT_RESPONSES:
        buf_puts(out, "event: error\ndata: ");
        put_responses_error(status, type, code, text, sequence, out);
        break;
    case ERROR_EVENT_ANTHROPIC:
        buf_puts(out, "event: error\ndata: ");
        error_body(SHAPE_ANTHROPIC, status, type, code, text, out);
        break;
    }
    buf_puts(out, "\n\n");
}

void answer_add_number(struct http_exchange *x, const char *name, uint64_t number)
{
    char digits[24], *p = digits + sizeof(digits);

    *--p = '\0';
    do {
        *--p = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    http_exchange_add_header(x, name, p);
}

void answer_add_retry(struct gateway *g, struct http_exchange *x, int64_t model_id)
{
    const struct dispatch *d = g->in.dispatch;
    uint64_t ms = dispatch_retry_after_ms(d, model_id);

    answer_add_number(x, "retry-after", (ms + 999) / 1000);
    answer_add_number(x, "retry-after-ms", ms);
    answer_add_number(x, "x-berth-queue-position",
                      dispatch_model_load(d, model_id).waiting_requests + 1);
    answer_add_number(x, "x-berth-expected-wait-ms", dispatch_expected_wait_ms(d, model_id));
}

/* Engines write {"error":{"message":…}}, {"error":"…"} or {"message":…}. */
char *engine_error_text(struct span body)
{
    struct scan_member f[] = { { .name = "error" },
                               { .name = "error.message" },
                               { .name = "message" } };
    char *text = NULL;

    if (scan_object(body, f, ARRAY_SIZE(f), NULL) < 0) {
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(f) && !text; i++) {
        const struct scan_member *m = &f[i];

        if (m->type == SCAN_STRING && scan_string(m, &text, NULL) < 0) {
            text = NULL;
        }
    }
    return text;
}
