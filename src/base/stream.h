// SPDX-License-Identifier: Apache-2.0
/*
 * Connections. One `struct stream` under server and client alike, over TCP, a unix socket, TLS on
 * top of TCP, or memory in a simulated world.
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

/* Where to listen or connect. */
struct address {
    bool is_unix;
    bool tls;       /* to connect only */
    uint16_t port;  /* 0: any free one */
    char host[256]; /* a literal IPv4 or IPv6 address; to connect also a name, in lower case */
    char path[108];
};

enum { ADDRESS_TEXT_SIZE = 272 };

/* "127.0.0.1:8080", "[::1]:8080", "localhost:8080" (127.0.0.1), ":8080" (all), "unix:PATH". Other
 * names are refused. */
int address_parse(const char *text, struct address *ret, struct error *reterr) _must_check_;
/* A base URL: "http://HOST[:PORT][/PATH]" or "https://…" (TLS); HOST is a name, an IPv4 address or
 * an IPv6 address in brackets. *ret_path is the caller's: "" or "/…" without a '/' at its end. The
 * sentence of a refusal does not repeat the URL, which may hold a secret. */
int address_parse_url(const char *url, struct address *ret, char **ret_path,
                      struct error *reterr) _must_check_;
/* "127.0.0.1:8080", "[::1]:8080", "api.example.com:443", "unix:PATH" */
void address_format(const struct address *a, char out[ADDRESS_TEXT_SIZE]);
/* A unix socket, 127.0.0.0/8 or ::1 */
bool address_is_loopback(const struct address *a);

struct stream_handler {
    /* n > 0 bytes, borrowed for the call. Comes only while reading is on. */
    void (*on_data)(void *owner, const char *p, size_t n);
    /* The peer closed its sending side (err 0) or the connection broke (negative errno). Comes at
     * most once; closing is still the owner's. With reading off, a broken connection may be told
     * late. Over TLS only a peer that says so (close_notify) has closed: a connection that just
     * ends may have been cut by anybody, and is -ECONNRESET. */
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

/* e NULL: connected, and s is the caller's. Else s is NULL and e (good for the call) says why:
 * -ECONNREFUSED (nothing takes connections there), -EHOSTUNREACH (the name is not known), -EPROTO
 * (no TLS that can be trusted). Its sentence reads well after "cannot connect to HOST:PORT: ". Runs
 * once, in a later turn. */
typedef void (*stream_connect_fn)(void *owner, struct stream *s, const struct error *e);

struct stream_connecting;

/*
 * Never fails at once. There is no time limit here: the owner has a timer and cancels.
 *
 * A name is looked up each time, by the system (/etc/hosts, DNS), and its addresses are tried one
 * after the other. With `tls` it is told when the handshake is done: TLS 1.2 or later, and a
 * certificate for that host (name or IP address) from an authority that the system trusts. OpenSSL
 * finds those where SSL_CERT_FILE and SSL_CERT_DIR say, read once a world.
 *
 * In a simulated world a name leads to whoever listens on exactly that host, and TLS is refused.
 */
struct stream_connecting *stream_connect(struct world *w, const struct address *where,
                                         stream_connect_fn on_connect, void *owner);
/* on_connect will not come. Void once on_connect came. */
void stream_connect_cancel(struct stream_connecting *c);
