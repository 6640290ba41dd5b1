// SPDX-License-Identifier: Apache-2.0
/*
 * Inside the HTTP server: what its three files share.
 *
 *     server.c         listeners, connections from accept to close, limits, deadlines, draining
 *     server_read.c    bytes ─► a request ─► handle(x)
 *     server_answer.c  handle(x) ─► http_exchange_*, http_respond_* ─► bytes
 *
 * A connection carries one exchange at a time. Its bytes stand in two buffers, so that those of the
 * exchange in hand never move under the handler:
 *
 *            ┌─ head_len ─┬─ body_len ─┐
 *     in:    [ head       | body       | begin of the next request ]
 *            └────── request_len ──────┘   (longer than both when the body came in chunks: they are
 *                                           decoded in place, and the last of their framing stays)
 *     ahead: [ what came while the exchange stood ]
 *
 * Its phases:
 *
 *     IDLE ──a byte──► HEAD ──blank line──► BODY ──whole──► ANSWER ──answered──► IDLE
 *
 * In ANSWER what comes goes to `ahead`; in IDLE a byte waits in `in` only while much of earlier
 * answers is unsent.
 *
 * It ends in one of three ways: connection_close (at once), connection_close_flushed (what is
 * queued goes out first), connection_cut (at once, and the handler is told by on_gone). After any
 * of them only `dead` and `busy` may be looked at, and those only by who holds it busy.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/stream.h"
#include "base/world.h"
#include "http/message.h"
#include "http/server.h"
#include "http/sweep_int.h"

enum { REQUEST_ID_MAX = 128, EXTRA_BYTES_MAX = 8192, SPARE_BUFFERS_MAX = 64 };

enum phase {
    PHASE_IDLE,   /* no byte of a request: a new connection, or a kept-alive one */
    PHASE_HEAD,   /* waiting for the rest of a head */
    PHASE_BODY,   /* x stands, the handler does not know it yet */
    PHASE_ANSWER, /* the handler has x */
};

struct http_exchange {
    struct connection *conn;
    struct list node; /* the server's spare ones */
    struct http_head head;
    uint64_t started_us;
    const struct http_exchange_events *events;
    void *events_owner;
    struct buf extra; /* header lines for the answer */
    unsigned extra_count;
    bool started;                /* the answer's head is written */
    bool chunked_answer;         /* the answer goes out in chunks */
    bool until_close;            /* the answer ends where the connection does */
    bool no_body;                /* nothing follows the answer's head */
    int64_t left;                /* of an answer with a length; -1: none was told */
    char id[REQUEST_ID_MAX + 1]; /* "" until somebody asks */
};

struct connection {
    struct http_server *server;
    struct list node;       /* the server's connections */
    struct list ready_node; /* the server's list of those with a request in `in` to look at */
    struct stream *stream;
    void *tag; /* the listener's */
    enum phase phase;
    struct http_exchange *x; /* from the whole head to the end of the answer */
    bool handed;             /* the handler knows x */
    bool keep_alive;         /* after the answer; void before ANSWER */

    struct buf in, ahead;
    size_t scanned;     /* of `in`, in search of the blank line */
    size_t head_len;    /* of the current request, once its head is whole */
    size_t body_len;    /* of the body, as far as it stands (decoded) */
    size_t request_len; /* bytes of `in` that the current request takes, once it is whole */
    struct http_chunked chunked;
    uint64_t started_us; /* when the first byte of the current request came */
    bool fresh;          /* no byte has come yet */
    bool reading;

    uint64_t deadline_ms;
    uint64_t written;        /* bytes written to the stream */
    uint64_t sent_mark;      /* of these with the kernel when sending was last seen to move … */
    uint64_t stall_since_ms; /* … which was then */

    unsigned busy; /* callbacks that run: memory stays */
    bool dead;
};

struct http_server {
    struct world *world;
    struct http_server_options options;
    struct list connections, listeners, ready;
    size_t connection_count, exchange_count;
    size_t held_bytes; /* of request bodies */
    struct sweep sweep;
    struct timer ready_timer, drained_timer;
    bool paused; /* accepting, at the cap */
    bool draining, destroying;
    void (*drained)(void *owner);
    void *drained_owner;
    struct list spare_exchanges;
    unsigned spare_exchange_count, spare_buffer_count;
    struct {
        char *mem;
        size_t cap;
    } spare_buffers[SPARE_BUFFERS_MAX];
    uint64_t id_prefix, id_count; /* of fresh request ids */
    int64_t date_second;          /* what `date` tells */
    char date[64];                /* "Date: ...\r\n" */
    struct buf scratch;           /* for one answer's head at a time */
};

/* server.c */

/* Memory of requests that ended is used again, so that an idle connection keeps none. */
void server_lend_buffer(struct http_server *s, struct buf *b);
void server_return_buffer(struct http_server *s, struct buf *b);
/* An exchange of which only `extra` is set up. */
struct http_exchange *server_take_exchange(struct http_server *s);
void server_spare_exchange(struct http_server *s, struct http_exchange *x);

void connection_set_deadline(struct connection *c, uint64_t delay_ms);
void connection_set_reading(struct connection *c, bool on);
/* Sending has moved: the write time-out counts from now. */
void connection_mark_progress(struct connection *c);
/* x is void, its bytes leave the budget. */
void connection_drop_exchange(struct connection *c);
/* Takes the connection out of the server; the stream is closed by the caller or was handed away. */
void connection_forget(struct connection *c);
/* Frees it when it is dead and not busy. */
void connection_free(struct connection *c);
void connection_close(struct connection *c);
void connection_close_flushed(struct connection *c);
/* The client is gone, or must be. The handler hears of it when it knows of the exchange. */
void connection_cut(struct connection *c);

/* server_read.c */

extern const struct stream_handler connection_stream_handler;
/* The answer is out: x is void, the next request may come (or the connection closes). */
void connection_next_request(struct connection *c);
/* Looks at the connections with a request in `in`: the server's ready_timer. */
void server_on_ready(void *server);

/* server_answer.c */

/* Answers an error of the server's own and closes. The handler must not know of x yet. */
void connection_refuse(struct connection *c, int status, const char *text);

static inline void connection_write(struct connection *c, const void *p, size_t n)
{
    stream_write(c->stream, p, n);
    c->written += n;
}
