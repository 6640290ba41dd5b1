// SPDX-License-Identifier: Apache-2.0
/*
 * Inside the HTTP client: what its two files share.
 *
 *     client.c       upstreams with their pools, calls as the caller sees them, fetches
 *     client_link.c  one connection: a request out, its answer in
 *
 * A call lives on a link (one connection), new or taken from the pool, last used first:
 *
 *     call_begin ─► LINK_CONNECTING ─► LINK_HEAD ─► LINK_BODY ─► on_end ─┐
 *                         ▲               ▲                              ▼
 *                         └─ pool empty ──┴──── the next call ◄──── LINK_IDLE (pool)
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/stream.h"
#include "base/world.h"
#include "http/client.h"
#include "http/message.h"
#include "http/sweep_int.h"

enum link_state { LINK_CONNECTING, LINK_HEAD, LINK_BODY, LINK_IDLE };

struct link {
    struct list node;       /* the upstream's links, by state: idle ones apart, last used first */
    struct list ready_node; /* the upstream's list of resumed ones */
    struct http_upstream *upstream;
    struct stream_connecting *connecting;
    struct stream *stream;
    struct http_call *call; /* NULL while idle */
    enum link_state state;
    struct buf in; /* bytes that came and are not read yet: a head in pieces, or the rest of a read
                      when paused */
    size_t scanned;
    enum http_framing framing;
    uint64_t left; /* of a body with a length */
    struct http_chunked chunked;
    bool keep_alive; /* good for another call, as far as is known; void before LINK_BODY */
    bool reused;     /* it has carried a call before this one */
    bool got_bytes;  /* since the request was sent */
    bool ended;      /* the stream has, by end_err */
    int end_err;
    uint64_t deadline_ms;
    unsigned busy; /* callbacks that run: memory stays */
    bool dead;
};

struct http_call {
    struct http_upstream *upstream;
    struct link *link;
    const struct http_call_handler *handler;
    void *owner;
    char *head; /* of the request, kept until the answer's head (for the one retry) */
    size_t head_len;
    const struct span
        *body; /* a copy of the array, behind this struct; the bytes are the caller's */
    size_t body_parts, body_bytes;
    size_t part, part_sent; /* how far the body is written: to byte part_sent of body[part] */
    size_t unsent;          /* bytes of the body that are not written yet */
    uint64_t head_timeout_ms, idle_timeout_ms, head_deadline_ms;
    bool to_head, paused, retried, got_head;
};

struct http_upstream {
    struct world *world;
    struct http_upstream_options options;
    char *host;
    struct list active, idle, ready, judged; /* judged: links that a sweep has still to look at */
    size_t idle_count;
    struct sweep sweep;
    struct timer ready_timer;
    unsigned busy; /* callbacks that run: memory stays */
    bool dead;
};

static inline uint64_t upstream_in_ms(struct http_upstream *u, uint64_t ms)
{
    return ms ? world_now_ms(u->world) + ms : NO_DEADLINE;
}

/* client.c */

/* Puts the call on a link; a second try on a fresh one. */
void call_begin(struct http_call *call);
void call_free(struct http_call *call);

/* client_link.c */

/* A link that is about to connect; the caller gives it its call within this turn. */
struct link *link_open(struct http_upstream *u);
/* Sends the request of its call, from the begin. */
void link_send_request(struct link *k);
/* Reads on: what was kept while paused, then the stream. */
void link_resume(struct link *k);
void link_set_deadline(struct link *k, uint64_t deadline_ms);
/* Its deadline has come. */
void link_on_deadline(struct link *k);
/* Closes it, and fails the call that stands on it. */
void link_fail(struct link *k, int code, const char *fmt, ...) _printf_(3, 4);
/* Closes it; a call that stands on it is left without a link. */
void link_close(struct link *k);
/* Frees it when it is dead and not busy. */
void link_free(struct link *k);
