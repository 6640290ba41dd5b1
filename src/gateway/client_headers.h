// SPDX-License-Identifier: Apache-2.0
/* What the gateway reads of a request's headers, and which of them go on to the engine. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "http/message.h"

enum { TRACE_ID_SIZE = 33 };

struct client_headers {
    struct span user_agent;                 /* absent when there is none; good as the head is */
    uint64_t deadline_ms, queue_timeout_ms; /* 0: not given */
    uint64_t session;                       /* hash of x-session-id; 0: none */
    char trace_id[TRACE_ID_SIZE];           /* of a well-formed traceparent, else "" */
    bool forwards;                          /* some header is for the engine, too */
};

/* -EINVAL: a duration that is none. */
int client_headers_read(const struct http_head *head, struct client_headers *ret,
                        struct error *reterr) _must_check_;
/* Appends the lines that go on: traceparent when it is well-formed, tracestate with it,
 * anthropic-version and anthropic-beta. Nothing that could hold a key. */
void client_headers_forward(const struct http_head *head, const struct client_headers *h,
                            struct buf *out);

/* W3C Trace Context: version, trace id, parent id, flags. */
bool traceparent_is_valid(struct span value);
