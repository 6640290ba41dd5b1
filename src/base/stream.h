// SPDX-License-Identifier: Apache-2.0
/*
 * Connections. One `struct stream` under server and client alike, over TCP, a unix socket, or
 * memory in a simulated world.
 *
 *   - What is written is copied and sent at the end of the turn, in one send.
 *   - A handler may do anything with the stream from inside a callback, close it included.
 *   - stream_close is final: no callback comes after it, and the pointer is void.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/world.h"

struct stream;
struct stream_listener;

/* Where to listen or connect: "127.0.0.1:8080", "[::1]:8080", "localhost:8080" (127.0.0.1), ":8080"
 * (all), "unix:PATH". */
struct address {
    bool is_unix;
    char host[64]; /* a literal IPv4 or IPv6 address */
    uint16_t port; /* 0: any free one */
    char path[108];
};

enum { ADDRESS_TEXT_SIZE = 128 };

int address_parse(const char *text, struct address *ret, struct error *reterr) _must_check_;
void address_format(const struct address *a, char out[ADDRESS_TEXT_SIZE]);
/* A unix socket, 127.0.0.0/8 or ::1 */
bool address_is_loopback(const struct address *a);

struct stream_handler {
    /* n > 0 bytes, borrowed for the call. Comes only while reading is on. */
    void (*on_data)(void *owner, const char *p, size_t n);
    /* The peer closed its sending side (err 0) or the connection broke (negative errno). Comes at
     * most once; closing is still the owner's. With reading off, a broken connection may be told
     * late. */
    void (*on_end)(void *owner, int err);
    /* Everything queued is with the kernel. Comes at the end of a turn, whenever stream_queued told
     * of some (and now and then without need); never from inside a call of the owner. */
    void (*on_drain)(void *owner);
};

/* From now on these are called; replaces what was set before. Reading is off at first. */
void stream_set_handler(struct stream *s, const struct stream_handler *handler, void *owner);
void stream_read_start(struct stream *s);
void stream_read_stop(struct stream *s);

/* Takes a copy. After an error it does nothing (on_end has come or will come). */
void stream_write(struct stream *s, const void *p, size_t n);
/* Bytes written and not yet with the kernel. */
size_t stream_queued(const struct stream *s);
/* The peer's address; of a unix socket is_unix with an empty path. */
const struct address *stream_peer(const struct stream *s);

/* At once; what is queued may be lost. Accepts NULL. */
void stream_close(struct stream *s);
/* Sends what is queued, for at most limit_ms, then closes. The owner lets go now, as with
 * stream_close. */
void stream_close_flushed(struct stream *s, uint64_t limit_ms);

/* on_stream: a new connection, owned by the callee, which must set a handler (or close it) within
 * the call. */
typedef void (*stream_accept_fn)(void *owner, struct stream *s);

/* Listens. A unix path that exists as a dead socket is replaced; file mode 0600. *ret_bound (may be
 * NULL) tells the real port. -EADDRINUSE, -EACCES, -EADDRNOTAVAIL with a sentence. */
int stream_listen(struct world *w, const struct address *where, stream_accept_fn on_stream,
                  void *owner, struct stream_listener **ret, struct address *ret_bound,
                  struct error *reterr) _must_check_;
/* While paused, connections wait in the kernel. */
void stream_listener_pause(struct stream_listener *l, bool paused);
/* Accepts NULL, returns NULL; a unix path is unlinked. */
struct stream_listener *stream_listener_close(struct stream_listener *l);

/* status 0: connected, and s is the caller's; else a negative errno and s is NULL. Runs once, in a
 * later turn. */
typedef void (*stream_connect_fn)(void *owner, struct stream *s, int status);

struct stream_connecting;

/* Never fails at once. There is no time limit here: the owner has a timer and cancels. */
struct stream_connecting *stream_connect(struct world *w, const struct address *where,
                                         stream_connect_fn on_connect, void *owner);
/* on_connect will not come. Void once on_connect came. */
void stream_connect_cancel(struct stream_connecting *c);
