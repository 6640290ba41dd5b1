// SPDX-License-Identifier: Apache-2.0
/*
 * HTTP server over streams. A request is handed over when its body stands whole (bounded per
 * request and in all); the handler answers at once or later. The client's socket is always read, so
 * that its leaving is seen (pipelined bytes are capped, and wait). A client that closes only its
 * sending side counts as gone, too. Time limits are up to 100 ms late, write_timeout_ms up to a
 * quarter of itself.
 *
 * Life of an exchange: handle(x) → any number of http_respond_* → end. It is void after
 * http_respond (whole), http_respond_end, http_respond_abort or http_exchange_upgrade, and when
 * on_gone comes. Exactly one of these ends it.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/stream.h"
#include "http/message.h"

struct http_server;
struct http_exchange;

struct http_server_options {
    /* Every request. owner is the server's. */
    void (*handle)(void *owner, struct http_exchange *x);
    void *owner;
    /* Every request as soon as its head stands, before its body came: may add headers to whatever
     * answer comes, the server's own refusals included. NULL: nobody. */
    void (*on_head)(void *owner, struct http_exchange *x);
    size_t max_head_bytes;      /* 0: 32 KiB → 431 */
    size_t max_body_bytes;      /* 0: 32 MiB → 413 */
    size_t body_budget_bytes;   /* all held bodies together; 0: 512 MiB → 503 */
    size_t max_connections;     /* 0: 4096; at the cap accepting pauses */
    size_t max_pipelined_bytes; /* 0: 64 KiB; beyond it the connection is not read until the answer
                                   is out */
    uint64_t head_timeout_ms; /* from the first byte to the whole head; 0: 10 s → 408. A connection
                                 on which no byte comes for so long is closed without a word */
    uint64_t body_timeout_ms;  /* between bytes of a body; 0: 30 s → 408 */
    uint64_t idle_timeout_ms;  /* kept-alive connection with nothing going on; 0: 75 s */
    uint64_t write_timeout_ms; /* nothing of what is queued could be sent for so long: the client is
                                  cut; 0: 120 s */
    /* Writes the body of an error that the server itself gives (400, 408, 413, 431, 501, 503,
     * 505), in the door's own shape; NULL: plain JSON. path is absent when the head was not read.
     */
    void (*error_body)(void *owner, struct span path, int status, const char *text,
                       struct buf *out);
};

struct http_server *http_server_create(struct world *w, const struct http_server_options *options);
/* tag tells listeners apart (http_exchange_tag). May be called several times. */
int http_server_listen(struct http_server *s, const struct address *where, void *tag,
                       struct address *ret_bound, struct error *reterr) _must_check_;
/* Stops accepting, closes idle connections, lets exchanges end; drained(owner) comes when none is
 * left (maybe at once, then in a later turn). */
void http_server_drain(struct http_server *s, void (*drained)(void *owner), void *owner);
/* Cuts what is left; on_gone comes for open exchanges. Not from inside a callback of the server.
 * Accepts NULL, returns NULL. */
struct http_server *http_server_destroy(struct http_server *s);
size_t http_server_connections(const struct http_server *s);
size_t http_server_exchanges(const struct http_server *s);

/* The request; spans are good while the exchange is. */
const struct http_head *http_exchange_head(const struct http_exchange *x);
struct span http_exchange_body(const struct http_exchange *x);
const struct address *http_exchange_peer(const struct http_exchange *x);
void *http_exchange_tag(const struct http_exchange *x);
struct world *http_exchange_world(const struct http_exchange *x);
/* When its first byte came (world_now_us). */
uint64_t http_exchange_started_us(const struct http_exchange *x);
/* The id of the request: the client's x-request-id when it is sane (1-128 of [A-Za-z0-9._:-]), else
 * a fresh one. Sent back with every answer; with the server's own errors as soon as the head was
 * read. */
const char *http_exchange_id(struct http_exchange *x);
/* One header more for whatever answer comes, before it is started; both are copied. At most 24 and
 * 8 KiB together; beyond that, and a value with control bytes, is left out. */
void http_exchange_add_header(struct http_exchange *x, const char *name, const char *value);

struct http_exchange_events {
    void (*on_gone)(void *owner);  /* the client left, or the server went down: x is void now */
    void (*on_drain)(void *owner); /* everything queued is with the kernel; comes whenever
                                      http_exchange_queued told of some */
};
void http_exchange_set_events(struct http_exchange *x, const struct http_exchange_events *events,
                              void *owner);

/* A whole answer. Content-Length, Connection, Date and x-request-id are added. body is copied; it
 * is not sent with 204, 304 and to HEAD. content_type may be NULL. */
void http_respond(struct http_exchange *x, int status, const char *content_type, struct span body);
/* The same with JSON from a tree (taken over). */
void http_respond_json(struct http_exchange *x, int status, json_t *json);
/* An answer in pieces: chunked when length is -1 (until close towards HTTP/1.0). With a length, no
 * more than that may be written, and ending before it is reached is the same as http_respond_abort.
 */
void http_respond_start(struct http_exchange *x, int status, const char *content_type,
                        int64_t length);
void http_respond_write(struct http_exchange *x, const char *p, size_t n);
void http_respond_end(struct http_exchange *x);
/* Cuts the connection so that the client sees that the answer is not whole; what was written before
 * is sent, for at most 2 s. An answer until close (HTTP/1.0, no length) is cut at once, queued
 * bytes lost: such a client cannot tell. */
void http_respond_abort(struct http_exchange *x);
bool http_respond_started(const struct http_exchange *x);
/* Bytes queued towards this client. */
size_t http_exchange_queued(const struct http_exchange *x);

/* Leaves HTTP (WebSocket): sends 101 with these header lines ("Name: value\r\n…"), hands over the
 * stream. x is void; the caller owns the stream, of which reading is off, and sets a handler at
 * once. *ret_rest: bytes read already, owned by the caller. */
struct stream *http_exchange_upgrade(struct http_exchange *x, const char *header_lines,
                                     struct buf *ret_rest);
