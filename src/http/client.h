// SPDX-License-Identifier: Apache-2.0
/*
 * HTTP client: one pool of kept-alive connections per upstream (last used first), calls on it. A
 * call on a kept-alive connection that dies before the first byte of the answer is tried once more
 * on a fresh one, unseen by the caller, whatever its method. We never half-close.
 *
 * A large request leaves as fast as the upstream takes it; of its body no more than 256 KiB are
 * copied at a time. An upstream that answers before it has read the whole request (413, say) is
 * heard: the rest of the body is not sent, and the connection is not used again.
 *
 * An upstream with TLS (options.where.tls) is like any other. An answer whose end is the end of the
 * connection is whole there only when the peer says goodbye (close_notify); one with a length or in
 * chunks needs no goodbye.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/stream.h"
#include "http/message.h"

struct http_upstream;
struct http_call;

struct http_upstream_options {
    struct address where;
    const char *host; /* of the Host header; NULL: "localhost" for unix, else that of `where`, with
                         the port when it is not the scheme's own */
    size_t max_idle;  /* kept connections; 0: 64 */
    uint64_t idle_ms; /* how long they are kept; 0: 4 s (llama-server closes after 5 s) */
    uint64_t connect_timeout_ms; /* looking up the name and TLS included; 0: 5 s */
    size_t max_head_bytes;       /* of an answer; 0: 64 KiB */
};

struct http_upstream *http_upstream_create(struct world *w,
                                           const struct http_upstream_options *options);
/* Fails the calls that stand (-ECANCELED), closes all. Accepts NULL, returns NULL. */
struct http_upstream *http_upstream_destroy(struct http_upstream *u);
/* Closes idle connections now. */
void http_upstream_flush(struct http_upstream *u);

struct http_call_handler {
    /* The head of the answer (not 1xx); spans are good for the call only. */
    void (*on_head)(void *owner, const struct http_head *head);
    /* Payload, chunk framing taken off; n > 0; one call per piece as it came. */
    void (*on_body)(void *owner, const char *p, size_t n);
    /* The answer is whole. The call is void. */
    void (*on_end)(void *owner);
    /* It failed: e->code -ECONNREFUSED (could not connect, in time or at all; the sentence says
     * why: name not known, certificate not valid, …), -ECONNRESET (cut),
     * -EPROTO (broken HTTP), -ETIMEDOUT (up to 100 ms late), -ECANCELED. The call is void. */
    void (*on_fail)(void *owner, const struct error *e);
};

struct http_call_request {
    const char *method; /* a constant */
    const char *path;   /* with query; copied */
    const char *headers; /* "Name: value\r\n…" without Host, Content-Length, Connection; copied; may
                            be NULL */
    const struct span *body;  /* pieces, sent one after the other; the bytes are borrowed until
                                 on_head, on_end or on_fail */
    size_t body_parts;        /* 0: no body */
    uint64_t head_timeout_ms; /* from the start to the head of the answer; 0: none */
    uint64_t idle_timeout_ms; /* between pieces of the answer's body; 0: none */
};

/* Callbacks come in later turns only. */
struct http_call *http_call_start(struct http_upstream *u, const struct http_call_request *request,
                                  const struct http_call_handler *handler, void *owner);
/* Stop and go on with reading the answer (back-pressure). Pausing takes effect at once, pieces that
 * were read already are kept; after resume they come in a later turn. Idle time does not count
 * while paused. */
void http_call_pause(struct http_call *c);
void http_call_resume(struct http_call *c);
/* No callback comes any more, the connection is closed at once. From inside on_body the bytes of
 * that call are void afterwards. */
void http_call_cancel(struct http_call *c);

/* A small whole request for control traffic (probes, management): collects the answer up to
 * max_body. done: result 0 with status and body (good for the call), or negative errno with e
 * (those of on_fail, -EFBIG beyond max_body). Cancel with http_fetch_cancel before done came. */
struct http_fetch;
typedef void (*http_fetch_fn)(void *owner, int result, int status, struct span body,
                              const struct error *e);
struct http_fetch *http_fetch_start(struct http_upstream *u,
                                    const struct http_call_request *request, size_t max_body,
                                    http_fetch_fn done, void *owner);
void http_fetch_cancel(struct http_fetch *f);
