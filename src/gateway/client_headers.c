// SPDX-License-Identifier: Apache-2.0
/* One walk over the headers; told apart by their length first, since most are none of ours. */
#include "gateway/client_headers.h"

#include <string.h>

#include "gateway/request.h"

enum { VALUE_MAX = 1024, TRACEPARENT_LENGTH = 55 };

static bool is_hex(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f'))) {
            return false;
        }
    }
    return true;
}

static bool is_zero(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '0') {
            return false;
        }
    }
    return true;
}

/* 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01; later versions may append "-…". */
bool traceparent_is_valid(struct span v)
{
    struct span version = { v.p, 2 }, trace = { v.p + 3, 32 }, parent = { v.p + 36, 16 },
                flags = { v.p + 53, 2 };

    if (!v.p || v.n < TRACEPARENT_LENGTH || v.n > VALUE_MAX || v.p[2] != '-' || v.p[35] != '-' ||
        v.p[52] != '-' || !is_hex(version) || span_eq(version, "ff")) {
        return false;
    }
    if (v.n > TRACEPARENT_LENGTH && (span_eq(version, "00") || v.p[TRACEPARENT_LENGTH] != '-')) {
        return false;
    }
    return is_hex(trace) && !is_zero(trace) && is_hex(parent) && !is_zero(parent) && is_hex(flags);
}

static int read_duration(const struct http_header *header, uint64_t *ret_ms, struct error *reterr)
{
    char text[32];

    if (header->value.n < sizeof(text)) {
        memcpy(text, header->value.p, header->value.n);
        text[header->value.n] = '\0';
        if (str_to_duration_ms(text, ret_ms) == 0 && *ret_ms > 0) {
            return 0;
        }
    }
    return error_set(reterr, -EINVAL, "the header %.*s must be a duration above 0, such as 30s",
                     SPAN_ARG(header->name));
}

/* Two of them say nothing (two traces); the first makes trace_id, a second takes it back. */
static void read_traceparent(struct span value, struct client_headers *h)
{
    if (h->trace_id[0] || !traceparent_is_valid(value)) {
        h->trace_id[0] = '\0';
        return;
    }
    memcpy(h->trace_id, value.p + 3, TRACE_ID_SIZE - 1);
    h->trace_id[TRACE_ID_SIZE - 1] = '\0';
    h->forwards = true;
}

static int read_one(const struct http_header *header, struct client_headers *h,
                    struct error *reterr)
{
    switch (header->name.n) {
    case 10:
        if (span_eq_nocase(header->name, "user-agent")) {
            h->user_agent = header->value;
        }
        break;
    case 11:
        if (span_eq_nocase(header->name, "traceparent")) {
            read_traceparent(header->value, h);
        }
        break;
    case 12:
        if (span_eq_nocase(header->name, "x-session-id") && header->value.n > 0) {
            h->session = session_hash(header->value);
        }
        break;
    case 14:
        h->forwards |= span_eq_nocase(header->name, "anthropic-beta");
        break;
    case 16:
        if (span_eq_nocase(header->name, "x-berth-deadline")) {
            return read_duration(header, &h->deadline_ms, reterr);
        }
        break;
    case 17:
        h->forwards |= span_eq_nocase(header->name, "anthropic-version");
        break;
    case 21:
        if (span_eq_nocase(header->name, "x-berth-queue-timeout")) {
            return read_duration(header, &h->queue_timeout_ms, reterr);
        }
        break;
    }
    return 0;
}

int client_headers_read(const struct http_head *head, struct client_headers *ret,
                        struct error *reterr)
{
    int r;

    *ret = (struct client_headers){ 0 };
    for (size_t i = 0; i < head->header_count; i++) {
        r = read_one(&head->headers[i], ret, reterr);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static const char *line_for_engine(struct span name, bool traced)
{
    if (traced && span_eq_nocase(name, "traceparent")) {
        return "traceparent";
    }
    if (traced && span_eq_nocase(name, "tracestate")) {
        return "tracestate";
    }
    if (span_eq_nocase(name, "anthropic-version")) {
        return "anthropic-version";
    }
    return span_eq_nocase(name, "anthropic-beta") ? "anthropic-beta" : NULL;
}

void client_headers_forward(const struct http_head *head, const struct client_headers *h,
                            struct buf *out)
{
    for (size_t i = 0; h->forwards && i < head->header_count; i++) {
        const struct http_header *header = &head->headers[i];
        const char *name = line_for_engine(header->name, h->trace_id[0] != '\0');

        if (name && header->value.n <= VALUE_MAX) {
            buf_printf(out, "%s: %.*s\r\n", name, SPAN_ARG(header->value));
        }
    }
}
