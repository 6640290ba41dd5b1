// SPDX-License-Identifier: Apache-2.0
/*
 * Streams over libuv: TCP and unix sockets.
 *
 *     stream_write ──► out ──(end of turn: uv_try_write)──► kernel
 *                       └─ what the kernel did not take ──► sending ──(uv_write)──► kernel ──►
 * on_drain
 *
 * Connecting makes one such stream an address, until one of them stands: a name may have several.
 *
 * A stream that its owner has let go of (handler NULL) lives on only to send its rest (lingering)
 * and to be closed.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/resolve_int.h"
#include "base/world_uv_int.h"

enum { BACKLOG = 1024, MAX_QUEUED = 1 << 30, KEEP_OUT_BYTES = 4096 };
enum { ATTEMPT_MS = 1500 }; /* for one of several addresses, the last excepted */

struct uv_conn {
    struct stream base;
    struct uv_world *world;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } h;
    struct buf out;     /* written in this turn, or while sending */
    struct buf sending; /* with the kernel's writability; empty when there is none */
    union {
        uv_connect_t connect; /* until it is connected; data: the uv_connecting, NULL once it let
                                 go */
        uv_write_t write;
    } req;
    struct list dirty, lingering_node;
    bool reading, told_end, peer_done, lingering, shut, closing;
    int broken; /* a write failed: negative errno */
    struct timer linger;
    uv_shutdown_t shutdown_req;
};

static struct uv_conn *conn_of(const struct stream *s)
{
    return container_of(UNCONST(struct stream *, s), struct uv_conn, base);
}

static void on_conn_closed(uv_handle_t *handle)
{
    struct uv_conn *c = handle->data;

    buf_finish(&c->out);
    buf_finish(&c->sending);
    free(c);
}

static void close_conn(struct stream *s)
{
    struct uv_conn *c = conn_of(s);

    s->handler = NULL;
    timer_stop(&c->linger);
    list_remove(&c->dirty);
    list_remove(&c->lingering_node);
    if (!c->closing) {
        c->closing = true;
        uv_close(&c->h.handle, on_conn_closed);
    }
}

static void tell_end(struct uv_conn *c, int err)
{
    c->peer_done = true;
    if (c->lingering) {
        if (c->shut || err < 0) {
            close_conn(&c->base);
        }
    } else if (!c->told_end && c->base.handler) {
        c->told_end = true;
        c->base.handler->on_end(c->base.owner, err);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct uv_conn *c = handle->data;

    *ret = uv_buf_init(c->world->read_buffer, READ_BUFFER_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct uv_conn *c = stream->data;

    if (n > 0) {
        if (c->base.handler) {
            c->base.handler->on_data(c->base.owner, buf->base, (size_t)n);
        }
    } else if (n < 0) {
        uv_read_stop(stream);
        c->reading = false;
        tell_end(c, n == UV_EOF ? c->broken : (int)n);
    }
}

static void read_start(struct stream *s)
{
    struct uv_conn *c = conn_of(s);

    if (!c->reading && !c->told_end) {
        c->reading = true;
        uv_read_start(&c->h.stream, on_alloc, on_read);
    }
}

static void read_stop(struct stream *s)
{
    struct uv_conn *c = conn_of(s);

    if (c->reading) {
        c->reading = false;
        uv_read_stop(&c->h.stream);
    }
}

static void mark_dirty(struct uv_conn *c)
{
    if (list_empty(&c->dirty)) {
        list_append(&c->world->dirty, &c->dirty);
    }
}

static void write_bytes(struct stream *s, const void *p, size_t n)
{
    struct uv_conn *c = conn_of(s);

    if (c->broken) {
        return;
    }
    if (buf_append(&c->out, p, n) < 0) {
        c->broken = -ENOBUFS;
    }
    mark_dirty(c);
}

static size_t queued(const struct stream *s)
{
    const struct uv_conn *c = conn_of(s);

    return c->out.len + (c->sending.len > 0 ? uv_stream_get_write_queue_size(&c->h.stream) : 0);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
}

/* Everything of a lingering stream is out: say so to the peer, then wait for it to close, so that
 * the last bytes are not lost in a reset. */
static void finish_linger(struct uv_conn *c)
{
    if (c->peer_done) {
        close_conn(&c->base);
    } else if (!c->shut) {
        c->shut = true;
        uv_shutdown(&c->shutdown_req, &c->h.stream, on_shutdown);
        read_start(&c->base);
    }
}

static void on_all_sent(struct uv_conn *c)
{
    if (c->out.cap > KEEP_OUT_BYTES) {
        buf_finish(&c->out);
    }
    if (c->lingering) {
        finish_linger(c);
    } else if (c->base.handler && c->base.handler->on_drain) {
        c->base.handler->on_drain(c->base.owner);
    }
}

/* Nothing can be sent any more. While reading is on the end is told by the reader: what the peer
 * said last, and perhaps why it listens no more, still stands in the socket. */
static void write_failed(struct uv_conn *c, int err)
{
    c->broken = err;
    buf_finish(&c->out);
    list_remove(&c->dirty);
    if (!c->reading || c->lingering) {
        tell_end(c, err);
    }
}

static void on_written(uv_write_t *req, int status);

/* The kernel is full: what stands in `out` waits as `sending`. */
static void send_later(struct uv_conn *c)
{
    uv_buf_t b;
    struct buf empty = c->sending;

    c->sending = c->out;
    c->out = empty;
    b = uv_buf_init(UNCONST(char *, buf_data(&c->sending)), (unsigned)c->sending.len);
    uv_write(&c->req.write, &c->h.stream, &b, 1, on_written);
}

static void flush(struct uv_conn *c)
{
    if (c->broken) {
        tell_end(c, c->broken);
        return;
    }
    if (c->sending.len > 0 || c->out.len == 0) {
        return;
    }
    while (c->out.len > 0) {
        uv_buf_t b = uv_buf_init(UNCONST(char *, buf_data(&c->out)), (unsigned)c->out.len);
        int n = uv_try_write(&c->h.stream, &b, 1);

        if (n == UV_EAGAIN) {
            send_later(c);
            return;
        }
        if (n < 0) {
            write_failed(c, n);
            return;
        }
        buf_consume(&c->out, (size_t)n);
    }
    on_all_sent(c);
}

static void on_written(uv_write_t *req, int status)
{
    struct uv_conn *c = container_of(req, struct uv_conn, req.write);

    buf_finish(&c->sending);
    if (c->closing) {
        return;
    }
    if (status < 0) {
        write_failed(c, status);
    } else if (c->out.len > 0) {
        mark_dirty(c);
    } else {
        on_all_sent(c);
    }
}

void uv_streams_flush(struct uv_world *w)
{
    while (!list_empty(&w->dirty)) {
        struct uv_conn *c = list_first(&w->dirty, struct uv_conn, dirty);

        list_remove(&c->dirty);
        flush(c);
    }
}

static void on_linger_limit(void *arg)
{
    struct uv_conn *c = arg;

    close_conn(&c->base);
}

static void close_flushed(struct stream *s, uint64_t limit_ms)
{
    struct uv_conn *c = conn_of(s);

    s->handler = NULL;
    if (c->broken || limit_ms == 0) {
        close_conn(s);
        return;
    }
    c->lingering = true;
    list_append(&c->world->lingering, &c->lingering_node);
    timer_start(&c->linger, limit_ms);
    if (queued(s) == 0) {
        finish_linger(c);
    }
}

void uv_streams_abandon(struct uv_world *w)
{
    struct uv_conn *c;

    while ((c = list_first(&w->lingering, struct uv_conn, lingering_node))) {
        close_conn(&c->base);
    }
}

static const struct stream_ops conn_ops = { read_start, read_stop,  write_bytes,
                                            queued,     close_conn, close_flushed };

static struct uv_conn *create_conn(struct uv_world *w, bool is_unix)
{
    struct uv_conn *c = xcalloc(1, sizeof(*c));

    c->base.ops = &conn_ops;
    c->world = w;
    buf_init(&c->out, MAX_QUEUED);
    buf_init(&c->sending, MAX_QUEUED);
    list_init(&c->dirty);
    list_init(&c->lingering_node);
    timer_init(&c->linger, &w->base, "linger", on_linger_limit, c);
    if (is_unix) {
        uv_pipe_init(&w->loop, &c->h.pipe, 0);
    } else {
        uv_tcp_init(&w->loop, &c->h.tcp);
    }
    c->h.handle.data = c;
    return c;
}

static void read_sockaddr(const struct sockaddr_storage *sa, struct address *ret)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)sa;

    *ret = (struct address){ .is_unix = sa->ss_family == AF_UNIX };
    if (sa->ss_family == AF_INET) {
        inet_ntop(AF_INET, &v4->sin_addr, ret->host, sizeof(ret->host));
        ret->port = ntohs(v4->sin_port);
    } else if (sa->ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &v6->sin6_addr, ret->host, sizeof(ret->host));
        ret->port = ntohs(v6->sin6_port);
    }
}

/* False: the host is a name. */
static bool make_sockaddr(const struct address *a, struct sockaddr_storage *ret)
{
    return uv_ip4_addr(a->host, a->port, (struct sockaddr_in *)ret) == 0 ||
           uv_ip6_addr(a->host, a->port, (struct sockaddr_in6 *)ret) == 0;
}

/* After accept or connect. */
static void conn_ready(struct uv_conn *c, bool is_unix)
{
    struct sockaddr_storage sa = { 0 };
    int n = sizeof(sa);

    if (is_unix) {
        c->base.peer.is_unix = true;
        return;
    }
    uv_tcp_nodelay(&c->h.tcp, 1);
    if (uv_tcp_getpeername(&c->h.tcp, (struct sockaddr *)&sa, &n) == 0) {
        read_sockaddr(&sa, &c->base.peer);
    }
}

/* Listening */

struct uv_listener {
    struct stream_listener base;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } h;
    struct address where;
    stream_accept_fn on_stream;
    void *owner;
    bool paused;
    bool pending; /* a connection waits for uv_accept */
};

static void accept_one(struct uv_listener *l)
{
    struct uv_conn *c = create_conn(uv_world_of(l->base.world), l->where.is_unix);

    if (uv_accept(&l->h.stream, &c->h.stream) < 0) {
        close_conn(&c->base);
        return;
    }
    conn_ready(c, l->where.is_unix);
    l->on_stream(l->owner, &c->base);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct uv_listener *l = stream->data;

    if (status < 0) {
        return; /* libuv goes on accepting; the next one may do better */
    }
    if (l->paused) {
        l->pending = true; /* libuv stops polling until it is accepted */
        return;
    }
    accept_one(l);
}

static void on_listener_closed(uv_handle_t *handle)
{
    free(container_of(handle, struct uv_listener, h.handle));
}

/* A socket file that nobody answers on is a leftover. */
static void remove_dead_socket(const char *path)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    struct stat st;
    int fd;

    if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        return;
    }
    memcpy(sa.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 && errno == ECONNREFUSED) {
        unlink(path);
    }
    closep(&fd);
}

static int bind_listener(struct uv_listener *l)
{
    struct sockaddr_storage sa = { 0 };
    int r;

    if (l->where.is_unix) {
        remove_dead_socket(l->where.path);
        r = uv_pipe_bind(&l->h.pipe, l->where.path);
        return r < 0 ? r : (chmod(l->where.path, 0600) < 0 ? -errno : 0);
    }
    return make_sockaddr(&l->where, &sa) ? uv_tcp_bind(&l->h.tcp, (struct sockaddr *)&sa, 0)
                                         : -EADDRNOTAVAIL;
}

static int listen_at(struct world *base, const struct address *where, stream_accept_fn on_stream,
                     void *owner, struct stream_listener **ret, struct address *ret_bound,
                     struct error *reterr)
{
    struct uv_world *w = uv_world_of(base);
    struct uv_listener *l = xcalloc(1, sizeof(*l));
    char text[ADDRESS_TEXT_SIZE];
    int r;

    l->base.world = base;
    l->where = *where;
    l->on_stream = on_stream;
    l->owner = owner;
    if (where->is_unix) {
        uv_pipe_init(&w->loop, &l->h.pipe, 0);
    } else {
        uv_tcp_init(&w->loop, &l->h.tcp);
    }
    l->h.handle.data = l;
    r = bind_listener(l);
    if (r == 0) {
        r = uv_listen(&l->h.stream, BACKLOG, on_connection);
    }
    if (r < 0) {
        address_format(where, text);
        uv_close(&l->h.handle, on_listener_closed);
        return error_set(reterr, r, "cannot listen on %s: %s", text,
                         r == -EADDRINUSE ? "another program already does" : strerror(-r));
    }
    if (ret_bound) {
        struct sockaddr_storage sa = { 0 };
        int n = sizeof(sa);

        *ret_bound = *where;
        if (!where->is_unix && uv_tcp_getsockname(&l->h.tcp, (struct sockaddr *)&sa, &n) == 0) {
            read_sockaddr(&sa, ret_bound);
        }
    }
    *ret = &l->base;
    return 0;
}

static void pause_listener(struct stream_listener *base, bool paused)
{
    struct uv_listener *l = container_of(base, struct uv_listener, base);

    l->paused = paused;
    if (!paused && l->pending) {
        l->pending = false;
        accept_one(l);
    }
}

static void close_listener(struct stream_listener *base)
{
    struct uv_listener *l = container_of(base, struct uv_listener, base);

    /* libuv unlinks a unix path that it bound. */
    uv_close(&l->h.handle, on_listener_closed);
}

/* Connecting */

struct uv_connecting {
    struct stream_connecting base;
    struct uv_world *world;
    struct uv_conn *conn; /* that is being connected; NULL between attempts */
    struct timer timer;   /* the attempt's time, or that of an error that came at once */
    int status;           /* of the attempt, when it failed at once */
    int first_error;      /* the first address is the system's best guess: it tells most */
    stream_connect_fn on_connect;
    void *owner;
    /* Of a name: */
    uint16_t port;
    struct resolving *resolving;
    struct addrinfo *addresses, *next; /* all of them, and the first not tried yet */
};

/* The attempt is over, or given up: what comes of it comes to nobody. */
static void drop_attempt(struct uv_connecting *k)
{
    struct uv_conn *c = TAKE_PTR(k->conn);

    timer_stop(&k->timer);
    if (c) {
        c->req.connect.data = NULL;
        close_conn(&c->base);
    }
}

static void free_connecting(struct uv_connecting *k)
{
    drop_attempt(k);
    resolve_cancel(k->resolving);
    resolve_free(k->addresses);
    free(k);
}

static void cancel_connect(struct stream_connecting *base)
{
    free_connecting(container_of(base, struct uv_connecting, base));
}

static void finish_connect(struct uv_connecting *k, const struct error *e)
{
    struct uv_conn *c = e ? NULL : TAKE_PTR(k->conn);
    stream_connect_fn on_connect = k->on_connect;
    void *owner = k->owner;

    if (c) {
        conn_ready(c, c->h.handle.type == UV_NAMED_PIPE);
    }
    free_connecting(k);
    on_connect(owner, c ? &c->base : NULL, e);
}

static void try_next(struct uv_connecting *k);

static void on_attempt_failed(struct uv_connecting *k, int status)
{
    struct error e;

    drop_attempt(k);
    k->first_error = k->first_error ? k->first_error : status;
    if (k->next) {
        try_next(k);
        return;
    }
    error_set(&e, -ECONNREFUSED, "%s", strerror(-k->first_error));
    finish_connect(k, &e);
}

static void on_connected(uv_connect_t *req, int status)
{
    struct uv_connecting *k = req->data;

    if (!k) {
        return;
    }
    if (status < 0) {
        on_attempt_failed(k, status);
    } else {
        finish_connect(k, NULL);
    }
}

static void on_attempt_time(void *arg)
{
    struct uv_connecting *k = arg;

    on_attempt_failed(k, k->status < 0 ? k->status : -ETIMEDOUT);
}

static void start_attempt(struct uv_connecting *k, bool is_unix)
{
    k->conn = create_conn(k->world, is_unix);
    k->conn->req.connect.data = k;
    k->status = 0;
}

static void try_address(struct uv_connecting *k, const struct sockaddr *sa)
{
    start_attempt(k, false);
    k->status = uv_tcp_connect(&k->conn->req.connect, &k->conn->h.tcp, sa, on_connected);
    if (k->status < 0) {
        timer_start(&k->timer, 0);
    } else if (k->next) {
        timer_start(&k->timer, ATTEMPT_MS);
    }
}

static void try_next(struct uv_connecting *k)
{
    struct addrinfo *a = k->next;
    struct sockaddr_storage sa = { 0 };

    k->next = a->ai_next;
    memcpy(&sa, a->ai_addr, a->ai_addrlen);
    if (sa.ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)&sa)->sin6_port = htons(k->port);
    } else {
        ((struct sockaddr_in *)&sa)->sin_port = htons(k->port);
    }
    try_address(k, (struct sockaddr *)&sa);
}

static void on_resolved(void *owner, struct addrinfo *addresses, const struct error *e)
{
    struct uv_connecting *k = owner;

    k->resolving = NULL;
    if (e) {
        finish_connect(k, e);
        return;
    }
    k->addresses = k->next = addresses;
    try_next(k);
}

static struct stream_connecting *connect_to(struct world *base, const struct address *where,
                                            stream_connect_fn on_connect, void *owner)
{
    struct uv_connecting *k = xcalloc(1, sizeof(*k));
    struct sockaddr_storage sa = { 0 };

    k->base.cancel = cancel_connect;
    k->world = uv_world_of(base);
    k->on_connect = on_connect;
    k->owner = owner;
    k->port = where->port;
    timer_init(&k->timer, base, "connect", on_attempt_time, k);
    if (where->is_unix) {
        start_attempt(k, true);
        uv_pipe_connect(&k->conn->req.connect, &k->conn->h.pipe, where->path, on_connected);
    } else if (make_sockaddr(where, &sa)) {
        try_address(k, (struct sockaddr *)&sa);
    } else {
        k->resolving = resolve_name(k->world, where->host, on_resolved, k);
    }
    return &k->base;
}

const struct stream_world_ops uv_stream_ops = { listen_at, pause_listener, close_listener,
                                                connect_to };
