// SPDX-License-Identifier: Apache-2.0
/*
 * The HTTP server's connections, from accept to close: how many, how long, in what memory. Bytes
 * are read in server_read.c and written in server_answer.c. The rule: a connection leaves the
 * server by connection_forget alone, and while `busy` says that a callback of it runs, its memory
 * stays.
 */
#include "http/server.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/server_int.h"

enum {
    LINGER_MS = 2000,
    SPARE_EXCHANGES_MAX = 64,
    FIRST_BUFFER_BYTES = 4096,
    SPARE_BUFFER_BYTES_MAX = 16384,
};

struct server_listener {
    struct list node;
    struct http_server *server;
    struct stream_listener *listener;
    void *tag;
};

/* Memory */

void server_lend_buffer(struct http_server *s, struct buf *b)
{
    if (!b->mem && s->spare_buffer_count > 0) {
        s->spare_buffer_count--;
        b->mem = s->spare_buffers[s->spare_buffer_count].mem;
        b->cap = s->spare_buffers[s->spare_buffer_count].cap;
        b->mem[0] = '\0';
    } else if (!b->mem) {
        b->mem = xmalloc(FIRST_BUFFER_BYTES);
        b->cap = FIRST_BUFFER_BYTES;
        b->mem[0] = '\0';
    }
}

void server_return_buffer(struct http_server *s, struct buf *b)
{
    if (b->mem && b->cap <= SPARE_BUFFER_BYTES_MAX && s->spare_buffer_count < SPARE_BUFFERS_MAX) {
        s->spare_buffers[s->spare_buffer_count].mem = b->mem;
        s->spare_buffers[s->spare_buffer_count].cap = b->cap;
        s->spare_buffer_count++;
        *b = BUF_INIT(b->max);
    } else {
        buf_finish(b);
    }
}

struct http_exchange *server_take_exchange(struct http_server *s)
{
    struct http_exchange *x = list_first(&s->spare_exchanges, struct http_exchange, node);

    if (x) {
        list_remove(&x->node);
        s->spare_exchange_count--;
        return x;
    }
    x = xmalloc(sizeof(*x));
    list_init(&x->node);
    buf_init(&x->extra, EXTRA_BYTES_MAX);
    return x;
}

void server_spare_exchange(struct http_server *s, struct http_exchange *x)
{
    if (s->spare_exchange_count < SPARE_EXCHANGES_MAX) {
        list_prepend(&s->spare_exchanges, &x->node);
        s->spare_exchange_count++;
    } else {
        buf_finish(&x->extra);
        free(x);
    }
}

/* Connections: their deadlines and their end */

static uint64_t now_ms(const struct connection *c)
{
    return world_now_ms(c->server->world);
}

void connection_set_deadline(struct connection *c, uint64_t delay_ms)
{
    c->deadline_ms = now_ms(c) + delay_ms;
    sweep_need(&c->server->sweep, c->deadline_ms);
}

void connection_set_reading(struct connection *c, bool on)
{
    if (c->reading == on || !c->stream) {
        return;
    }
    c->reading = on;
    if (on) {
        stream_read_start(c->stream);
    } else {
        stream_read_stop(c->stream);
    }
}

void connection_mark_progress(struct connection *c)
{
    c->sent_mark = c->written - stream_queued(c->stream);
    c->stall_since_ms = now_ms(c);
}

static void on_drained_timer(void *arg)
{
    struct http_server *s = arg;

    if (s->drained) {
        void (*fn)(void *) = s->drained;

        s->drained = NULL;
        fn(s->drained_owner);
    }
}

static void update_accepting(struct http_server *s)
{
    bool pause = s->connection_count >= s->options.max_connections;
    struct server_listener *l;

    if (s->paused == pause || s->destroying) {
        return;
    }
    s->paused = pause;
    list_for_each (l, &s->listeners, node) {
        stream_listener_pause(l->listener, pause);
        if (s->paused != pause) {
            return; /* resuming brought a connection at once, and the cap is reached again */
        }
    }
}

void connection_drop_exchange(struct connection *c)
{
    struct http_exchange *x = TAKE_PTR(c->x);

    if (!x) {
        return;
    }
    c->server->held_bytes -= c->body_len;
    c->server->exchange_count -= c->handed;
    c->handed = false;
    c->body_len = 0;
    server_spare_exchange(c->server, x);
}

void connection_free(struct connection *c)
{
    if (c->dead && c->busy == 0) {
        free(c);
    }
}

void connection_forget(struct connection *c)
{
    struct http_server *s = c->server;

    assert(!c->dead);
    connection_drop_exchange(c);
    c->stream = NULL;
    c->dead = true;
    list_remove(&c->node);
    list_remove(&c->ready_node);
    server_return_buffer(s, &c->in);
    buf_finish(&c->ahead);
    s->connection_count--;
    update_accepting(s);
    if (s->draining && s->connection_count == 0 && !s->destroying) {
        timer_start(&s->drained_timer, 0);
    }
    connection_free(c);
}

void connection_close(struct connection *c)
{
    stream_close(c->stream);
    connection_forget(c);
}

void connection_close_flushed(struct connection *c)
{
    stream_close_flushed(c->stream, LINGER_MS);
    connection_forget(c);
}

void connection_cut(struct connection *c)
{
    struct http_exchange *x = c->handed ? c->x : NULL;
    const struct http_exchange_events *events = x ? x->events : NULL;
    void *owner = x ? x->events_owner : NULL;

    connection_close(c);
    if (events && events->on_gone) {
        events->on_gone(owner);
    }
}

static void on_accept(void *owner, struct stream *stream)
{
    struct server_listener *l = owner;
    struct http_server *s = l->server;
    struct connection *c = xcalloc(1, sizeof(*c));

    c->server = s;
    c->stream = stream;
    c->tag = l->tag;
    c->phase = PHASE_IDLE;
    buf_init(&c->in, SIZE_MAX / 4);
    buf_init(&c->ahead, SIZE_MAX / 4);
    list_append(&s->connections, &c->node);
    list_init(&c->ready_node);
    s->connection_count++;
    stream_set_handler(stream, &connection_stream_handler, c);
    connection_set_reading(c, true);
    connection_set_deadline(c, s->options.head_timeout_ms);
    c->fresh = true;
    update_accepting(s);
}

/* Deadlines */

/* Cuts the connection when what is queued has not moved for too long. */
static void check_stall(struct connection *c)
{
    uint64_t sent = c->written - stream_queued(c->stream), now = now_ms(c);

    if (stream_queued(c->stream) == 0 || sent != c->sent_mark) {
        connection_mark_progress(c);
    }
    if (now - c->stall_since_ms >= c->server->options.write_timeout_ms) {
        connection_cut(c);
    } else {
        c->deadline_ms = now + c->server->options.write_timeout_ms / 4 + 1;
    }
}

/* Between requests: the end of the last answer may still be under way. */
static void check_idle(struct connection *c)
{
    uint64_t end = c->stall_since_ms + c->server->options.idle_timeout_ms;

    if (stream_queued(c->stream) > 0) {
        check_stall(c);
    } else if (end > now_ms(c) && !c->fresh) {
        c->deadline_ms = end;
    } else {
        connection_close_flushed(c);
    }
}

static void on_deadline(struct connection *c)
{
    switch (c->phase) {
    case PHASE_IDLE:
        check_idle(c);
        break;
    case PHASE_HEAD:
        connection_refuse(c, 408, "the request head did not come in time");
        break;
    case PHASE_BODY:
        connection_refuse(c, 408, "the request body did not come in time");
        break;
    case PHASE_ANSWER:
        check_stall(c);
        break;
    }
}

static void on_sweep(void *arg)
{
    struct http_server *s = arg;
    uint64_t now = world_now_ms(s->world), earliest = NO_DEADLINE;
    struct list todo;

    /* Each connection moves back into the server's list before it is judged, so that whatever a
     * callback closes is no trouble. */
    sweep_begin(&s->sweep);
    list_take(&s->connections, &todo);
    while (!list_empty(&todo)) {
        struct connection *c = container_of(todo.next, struct connection, node);

        list_remove(&c->node);
        list_append(&s->connections, &c->node);
        if (c->deadline_ms <= now) {
            c->busy++;
            on_deadline(c);
            c->busy--;
        }
        if (!c->dead) {
            earliest = MIN_OF(earliest, c->deadline_ms);
        }
        connection_free(c);
    }
    sweep_again(&s->sweep, earliest);
}

/* Life of the server */

#define DEFAULT(field, value)                                                                      \
    do {                                                                                           \
        if (o->field == 0) {                                                                       \
            o->field = (value);                                                                    \
        }                                                                                          \
    } while (0)

static void fill_defaults(struct http_server_options *o)
{
    DEFAULT(max_head_bytes, 32 << 10);
    DEFAULT(max_body_bytes, 32 << 20);
    DEFAULT(body_budget_bytes, 512 << 20);
    DEFAULT(max_connections, 4096);
    DEFAULT(max_pipelined_bytes, 64 << 10);
    DEFAULT(head_timeout_ms, 10000);
    DEFAULT(body_timeout_ms, 30000);
    DEFAULT(idle_timeout_ms, 75000);
    DEFAULT(write_timeout_ms, 120000);
}

struct http_server *http_server_create(struct world *w, const struct http_server_options *options)
{
    struct http_server *s = xcalloc(1, sizeof(*s));

    assert(options->handle);
    s->world = w;
    s->options = *options;
    fill_defaults(&s->options);
    list_init(&s->connections);
    list_init(&s->listeners);
    list_init(&s->ready);
    list_init(&s->spare_exchanges);
    sweep_init(&s->sweep, w, "http deadlines", on_sweep, s);
    timer_init(&s->ready_timer, w, "http pipelined", server_on_ready, s);
    timer_init(&s->drained_timer, w, "http drained", on_drained_timer, s);
    world_random(w, &s->id_prefix, sizeof(s->id_prefix));
    s->date_second = -1;
    buf_init(&s->scratch, 128 << 10);
    return s;
}

int http_server_listen(struct http_server *s, const struct address *where, void *tag,
                       struct address *ret_bound, struct error *reterr)
{
    struct server_listener *l = xcalloc(1, sizeof(*l));
    int r;

    l->server = s;
    l->tag = tag;
    r = stream_listen(s->world, where, on_accept, l, &l->listener, ret_bound, reterr);
    if (r < 0) {
        free(l);
        return r;
    }
    list_append(&s->listeners, &l->node);
    if (s->paused) {
        stream_listener_pause(l->listener, true);
    }
    return 0;
}

static void close_listeners(struct http_server *s)
{
    struct server_listener *l, *tmp;

    list_for_each_safe (l, tmp, &s->listeners, node) {
        list_remove(&l->node);
        stream_listener_close(l->listener);
        free(l);
    }
}

void http_server_drain(struct http_server *s, void (*drained)(void *owner), void *owner)
{
    struct connection *c, *tmp;

    s->draining = true;
    s->drained = drained;
    s->drained_owner = owner;
    close_listeners(s);
    list_for_each_safe (c, tmp, &s->connections, node) {
        if (c->phase == PHASE_IDLE && c->in.len == 0) {
            connection_close_flushed(c);
        } else if (c->handed && !c->x->started) {
            c->keep_alive = false;
        }
    }
    if (s->connection_count == 0) {
        timer_start(&s->drained_timer, 0);
    }
}

struct http_server *http_server_destroy(struct http_server *s)
{
    struct http_exchange *x, *tmp;

    if (!s) {
        return NULL;
    }
    s->destroying = true;
    close_listeners(s);
    while (!list_empty(&s->connections)) {
        connection_cut(container_of(s->connections.next, struct connection, node));
    }
    timer_stop(&s->sweep.timer);
    timer_stop(&s->ready_timer);
    timer_stop(&s->drained_timer);
    list_for_each_safe (x, tmp, &s->spare_exchanges, node) {
        buf_finish(&x->extra);
        free(x);
    }
    while (s->spare_buffer_count > 0) {
        free(s->spare_buffers[--s->spare_buffer_count].mem);
    }
    buf_finish(&s->scratch);
    free(s);
    return NULL;
}

size_t http_server_connections(const struct http_server *s)
{
    return s->connection_count;
}

size_t http_server_exchanges(const struct http_server *s)
{
    return s->exchange_count;
}
