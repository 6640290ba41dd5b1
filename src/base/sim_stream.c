// SPDX-License-Identifier: Apache-2.0
/*
 * Simulated connections: two ends in memory. What one end writes stands in the other's inbox; an
 * inbox over KERNEL_BYTES counts as queued with the writer, as a full kernel buffer would. With
 * latency, bytes come late and in pieces of random size.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/sim_int.h"
#include "base/str.h"

enum { KERNEL_BYTES = 64 * 1024, PIECE_BYTES = 64 * 1024, MAX_INBOX = 1 << 30 };

struct sim_conn {
    struct stream base;
    struct sim_world *world;
    struct sim_conn *peer; /* NULL once it is gone */
    struct buf inbox;
    bool peer_ended; /* no more will come */
    int end_error;   /* how */
    bool reading, told_end, was_full, lingering, dead;
    struct timer deliver, drain, linger;
};

struct sim_listener {
    struct stream_listener base;
    struct list node;
    struct address where;
    stream_accept_fn on_stream;
    void *owner;
    bool paused;
    struct list waiting; /* sim_connecting */
};

struct sim_connecting {
    struct stream_connecting base;
    struct sim_world *world;
    struct list node; /* in a paused listener's line */
    struct address where;
    struct timer timer;
    stream_connect_fn on_connect;
    void *owner;
};

static struct sim_conn *conn_of(const struct stream *s)
{
    return container_of(UNCONST(struct stream *, s), struct sim_conn, base);
}

static uint64_t latency(struct sim_world *w)
{
    return w->latency_ms ? world_random_below(&w->base, w->latency_ms + 1) : 0;
}

static void schedule(struct sim_conn *c)
{
    if (c->reading && !timer_active(&c->deliver) && (c->inbox.len > 0 || c->peer_ended)) {
        timer_start(&c->deliver, latency(c->world));
    }
}

static void maybe_drained(struct sim_conn *reader)
{
    struct sim_conn *writer = reader->peer;

    if (writer && writer->was_full && reader->inbox.len <= KERNEL_BYTES) {
        writer->was_full = false;
        timer_start(&writer->drain, 0);
    }
}

static void on_deliver(void *arg)
{
    struct sim_conn *c = arg;

    if (c->inbox.len > 0) {
        size_t n = MIN_OF(c->inbox.len, (size_t)PIECE_BYTES);
        char *piece;

        if (c->world->latency_ms) {
            n = 1 + world_random_below(&c->world->base, n);
        }
        piece = xmemdup(buf_data(&c->inbox), n);
        buf_consume(&c->inbox, n);
        maybe_drained(c);
        schedule(c);
        c->base.handler->on_data(c->base.owner, piece, n);
        free(piece);
    } else if (c->peer_ended && !c->told_end) {
        c->told_end = true;
        c->base.handler->on_end(c->base.owner, c->end_error);
    }
}

static void on_drain(void *arg)
{
    struct sim_conn *c = arg;

    if (c->base.handler && c->base.handler->on_drain) {
        c->base.handler->on_drain(c->base.owner);
    }
}

static void read_start(struct stream *s)
{
    struct sim_conn *c = conn_of(s);

    if (!c->told_end) {
        c->reading = true;
        schedule(c);
    }
}

static void read_stop(struct stream *s)
{
    struct sim_conn *c = conn_of(s);

    c->reading = false;
    timer_stop(&c->deliver);
}

static void write_bytes(struct stream *s, const void *p, size_t n)
{
    struct sim_conn *c = conn_of(s), *to = c->peer;

    if (!to) {
        return;
    }
    if (to->lingering) {
        return; /* it reads no more */
    }
    (void)buf_append(&to->inbox, p, n);
    c->was_full |= to->inbox.len > KERNEL_BYTES;
    schedule(to);
}

static size_t queued(const struct stream *s)
{
    const struct sim_conn *c = conn_of(s);

    return c->peer && c->peer->inbox.len > KERNEL_BYTES ? c->peer->inbox.len - KERNEL_BYTES : 0;
}

static void free_conn(void *arg)
{
    struct sim_conn *c = arg;

    buf_finish(&c->inbox);
    free(c);
}

/* A connection closed with bytes unread resets the other side, as TCP and unix sockets do. */
static void end_peer(struct sim_conn *c)
{
    struct sim_conn *peer = TAKE_PTR(c->peer);

    if (peer) {
        peer->peer = NULL;
        peer->peer_ended = true;
        peer->end_error = c->inbox.len > 0 ? -ECONNRESET : 0;
        schedule(peer);
    }
}

static void close_conn(struct stream *s)
{
    struct sim_conn *c = conn_of(s);

    if (c->dead) {
        return;
    }
    c->dead = true;
    timer_stop(&c->deliver);
    timer_stop(&c->drain);
    timer_stop(&c->linger);
    end_peer(c);
    /* In the callback of this very stream its memory must stand until the turn ends. */
    world_post(&c->world->base, free_conn, c);
}

static void on_linger(void *arg)
{
    struct sim_conn *c = arg;

    close_conn(&c->base);
}

static void close_flushed(struct stream *s, uint64_t limit_ms)
{
    struct sim_conn *c = conn_of(s);

    /* Everything written stands with the peer already: closing loses nothing of it. */
    c->lingering = true;
    read_stop(s);
    buf_clear(&c->inbox);
    timer_start(&c->linger, 0);
}

static const struct stream_ops conn_ops = { read_start, read_stop,  write_bytes,
                                            queued,     close_conn, close_flushed };

static struct sim_conn *create_conn(struct sim_world *w)
{
    struct sim_conn *c = xcalloc(1, sizeof(*c));

    c->base.ops = &conn_ops;
    c->world = w;
    buf_init(&c->inbox, MAX_INBOX);
    timer_init(&c->deliver, &w->base, "deliver", on_deliver, c);
    timer_init(&c->drain, &w->base, "drain", on_drain, c);
    timer_init(&c->linger, &w->base, "linger", on_linger, c);
    return c;
}

static bool same_place(const struct address *a, const struct address *b)
{
    return a->is_unix == b->is_unix && a->port == b->port && str_eq(a->host, b->host) &&
           str_eq(a->path, b->path);
}

static struct sim_listener *find_listener(struct sim_world *w, const struct address *where)
{
    struct sim_listener *l;

    list_for_each (l, &w->listeners, node) {
        if (same_place(&l->where, where)) {
            return l;
        }
    }
    return NULL;
}

static int listen_at(struct world *base, const struct address *where, stream_accept_fn on_stream,
                     void *owner, struct stream_listener **ret, struct address *ret_bound,
                     struct error *reterr)
{
    struct sim_world *w = sim_of(base);
    struct sim_listener *l;
    char text[ADDRESS_TEXT_SIZE];

    if (find_listener(w, where)) {
        address_format(where, text);
        return error_set(reterr, -EADDRINUSE, "cannot listen on %s: another program already does",
                         text);
    }
    l = xcalloc(1, sizeof(*l));
    l->base.world = base;
    l->where = *where;
    if (!where->is_unix && where->port == 0) {
        l->where.port = w->next_port++;
    }
    l->on_stream = on_stream;
    l->owner = owner;
    list_init(&l->waiting);
    list_append(&w->listeners, &l->node);
    if (ret_bound) {
        *ret_bound = l->where;
    }
    *ret = &l->base;
    return 0;
}

static bool is_name(const struct address *a)
{
    return !a->is_unix && !strchr(a->host, ':') && strspn(a->host, "0123456789.") < strlen(a->host);
}

static void refuse(struct sim_connecting *k)
{
    stream_connect_fn fn = k->on_connect;
    void *owner = k->owner;
    struct error e;

    if (k->where.tls) {
        error_set(&e, -EPROTO, "a simulated world has no TLS");
    } else if (is_name(&k->where)) {
        error_set(&e, -EHOSTUNREACH, "no address is known for the name \"%s\"", k->where.host);
    } else {
        error_set(&e, -ECONNREFUSED, "%s", strerror(ECONNREFUSED));
    }
    free(k);
    fn(owner, NULL, &e);
}

static void establish(struct sim_listener *l, struct sim_connecting *k)
{
    struct sim_world *w = sim_of(l->base.world);
    struct sim_conn *client = create_conn(w), *server = create_conn(w);
    stream_connect_fn fn = k->on_connect;
    void *owner = k->owner;

    client->peer = server;
    server->peer = client;
    client->base.peer = l->where;
    server->base.peer.is_unix = l->where.is_unix;
    if (!l->where.is_unix) {
        memcpy(server->base.peer.host, "127.0.0.1", sizeof("127.0.0.1"));
        server->base.peer.port = w->next_port++;
    }
    free(k);
    l->on_stream(l->owner, &server->base);
    fn(owner, &client->base, NULL);
}

static void on_connect_due(void *arg)
{
    struct sim_connecting *k = arg;
    struct sim_listener *l = find_listener(k->world, &k->where);

    if (!l || k->where.tls) {
        refuse(k);
    } else if (l->paused) {
        list_append(&l->waiting, &k->node);
    } else {
        establish(l, k);
    }
}

static void pause_listener(struct stream_listener *base, bool paused)
{
    struct sim_listener *l = container_of(base, struct sim_listener, base);

    l->paused = paused;
    while (!l->paused && !list_empty(&l->waiting)) {
        struct sim_connecting *k = list_first(&l->waiting, struct sim_connecting, node);

        list_remove(&k->node);
        establish(l, k);
    }
}

static void close_listener(struct stream_listener *base)
{
    struct sim_listener *l = container_of(base, struct sim_listener, base);

    list_remove(&l->node);
    while (!list_empty(&l->waiting)) {
        struct sim_connecting *k = list_first(&l->waiting, struct sim_connecting, node);

        list_remove(&k->node);
        timer_start(&k->timer, 0); /* finds nobody listening */
    }
    free(l);
}

static void cancel_connect(struct stream_connecting *base)
{
    struct sim_connecting *k = container_of(base, struct sim_connecting, base);

    timer_stop(&k->timer);
    list_remove(&k->node);
    free(k);
}

static struct stream_connecting *connect_to(struct world *base, const struct address *where,
                                            stream_connect_fn on_connect, void *owner)
{
    struct sim_connecting *k = xcalloc(1, sizeof(*k));

    k->base.cancel = cancel_connect;
    k->world = sim_of(base);
    list_init(&k->node);
    k->where = *where;
    k->on_connect = on_connect;
    k->owner = owner;
    timer_init(&k->timer, base, "connect", on_connect_due, k);
    timer_start(&k->timer, latency(k->world));
    return &k->base;
}

const struct stream_world_ops sim_stream_ops = { listen_at, pause_listener, close_listener,
                                                 connect_to };
