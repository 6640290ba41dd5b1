// SPDX-License-Identifier: Apache-2.0
/*
 * The server side of HTTP/1.1. One connection carries one exchange at a time:
 *
 *     in:    [ head | body, chunks decoded in place | begin of the next request ]
 *                └─► handle(x) ─► http_respond_* ─► the next
 *     ahead: what comes while an exchange stands, so that the bytes of the exchange never move
 *
 * The rule: whatever a peer can make grow is bounded here, and a connection on which framing failed
 * is closed after the answer.
 */
#include "http/server.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/list.h"
#include "base/mem.h"
#include "http/sweep_int.h"

enum {
    LINGER_MS = 2000,
    ID_MAX = 128,
    EXTRA_HEADERS_MAX = 8,
    EXTRA_BYTES_MAX = 8192,
    SPARE_EXCHANGES_MAX = 64,
    SPARE_BUFFERS_MAX = 64,
    FIRST_BUFFER_BYTES = 4096,
    SPARE_BUFFER_BYTES_MAX = 16384,
    UNSENT_MAX = 256 << 10, /* of earlier answers; beyond it the next request waits */
    UNSENT_LOOK_MS = 20,
};

enum phase {
    PHASE_IDLE, /* kept alive, no byte of a request */
    PHASE_HEAD, /* waiting for the rest of a head (or for the first byte of a new connection) */
    PHASE_BODY,
    PHASE_ANSWER, /* an exchange stands */
};

struct connection;

struct http_exchange {
    struct connection *conn;
    struct list node; /* the server's spare ones */
    struct http_head head;
    uint64_t started_us;
    const struct http_exchange_events *events;
    void *events_owner;
    struct buf extra; /* header lines for the answer */
    unsigned extra_count;
    bool started, chunked_answer, no_body, until_close;
    int64_t left; /* of an answer with a length; -1: none was told */
    char id[ID_MAX + 1];
};

struct connection {
    struct http_server *server;
    struct list node;       /* the server's connections */
    struct list ready_node; /* the server's list of those with a pipelined request to look at */
    struct stream *stream;
    void *tag;
    enum phase phase;
    struct http_exchange *x; /* from the whole head to the end of the answer */
    struct buf in, ahead;
    size_t scanned, head_len;
    size_t body_len;    /* of the body, as far as it stands (decoded) */
    size_t request_len; /* bytes of `in` that the current request takes, once it is whole */
    struct http_chunked chunked;
    uint64_t started_us; /* when the first byte of the current request came */
    uint64_t deadline_ms;
    uint64_t written, sent_mark, stall_since_ms;
    unsigned busy;                          /* callbacks that run: memory stays */
    bool fresh;                             /* no byte has come yet */
    bool dead, reading, keep_alive, handed; /* handed: the handler knows x */
};

struct server_listener {
    struct list node;
    struct http_server *server;
    struct stream_listener *listener;
    void *tag;
};

struct http_server {
    struct world *world;
    struct http_server_options options;
    struct list connections, listeners, ready, spare_exchanges;
    unsigned spare_exchange_count, spare_buffer_count;
    struct {
        char *mem;
        size_t cap;
    } spare_buffers[SPARE_BUFFERS_MAX];
    size_t connection_count, exchange_count, held_bytes;
    struct sweep sweep;
    struct timer ready_timer, drained_timer;
    bool paused, draining, destroying;
    void (*drained)(void *owner);
    void *drained_owner;
    uint64_t id_prefix, id_count;
    int64_t date_second;
    char date[64]; /* "Date: ...\r\n" */
    struct buf scratch;
};

/* Buffers: those of recently finished requests are used again, so that an idle connection keeps
 * none. */

static void lend_buffer(struct http_server *s, struct buf *b)
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

static void return_buffer(struct http_server *s, struct buf *b)
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

static struct http_exchange *take_exchange(struct http_server *s)
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

static void spare_exchange(struct http_server *s, struct http_exchange *x)
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

static void set_deadline(struct connection *c, uint64_t delay_ms)
{
    c->deadline_ms = now_ms(c) + delay_ms;
    sweep_need(&c->server->sweep, c->deadline_ms);
}

static void set_reading(struct connection *c, bool on)
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

static void drop_exchange(struct connection *c)
{
    struct http_exchange *x = TAKE_PTR(c->x);

    if (!x) {
        return;
    }
    c->server->held_bytes -= c->body_len;
    c->server->exchange_count -= c->handed;
    c->handed = false;
    c->body_len = 0;
    spare_exchange(c->server, x);
}

static void free_connection(struct connection *c)
{
    if (c->dead && c->busy == 0) {
        free(c);
    }
}

/* Takes the connection out of the server; the stream is closed by the caller or was handed away. */
static void forget_connection(struct connection *c)
{
    struct http_server *s = c->server;

    assert(!c->dead);
    drop_exchange(c);
    c->stream = NULL;
    c->dead = true;
    list_remove(&c->node);
    list_remove(&c->ready_node);
    return_buffer(s, &c->in);
    buf_finish(&c->ahead);
    s->connection_count--;
    update_accepting(s);
    if (s->draining && s->connection_count == 0 && !s->destroying) {
        timer_start(&s->drained_timer, 0);
    }
    free_connection(c);
}

static void close_connection(struct connection *c)
{
    stream_close(c->stream);
    forget_connection(c);
}

static void close_connection_flushed(struct connection *c)
{
    stream_close_flushed(c->stream, LINGER_MS);
    forget_connection(c);
}

/* The client is gone, or must be. The handler hears of it when it knows of the exchange. */
static void cut_connection(struct connection *c)
{
    struct http_exchange *x = c->handed ? c->x : NULL;
    const struct http_exchange_events *events = x ? x->events : NULL;
    void *owner = x ? x->events_owner : NULL;

    close_connection(c);
    if (events && events->on_gone) {
        events->on_gone(owner);
    }
}

/* Writing heads */

static const char *date_line(struct http_server *s)
{
    static const char days[] = "SunMonTueWedThuFriSat",
                      months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int64_t second = world_wall_ms(s->world) / 1000;

    if (second != s->date_second) {
        time_t t = (time_t)second;
        struct tm tm;

        s->date_second = second;
        gmtime_r(&t, &tm);
        snprintf(s->date, sizeof(s->date), "Date: %.3s, %02d %.3s %04d %02d:%02d:%02d GMT\r\n",
                 days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900,
                 tm.tm_hour, tm.tm_min, tm.tm_sec);
    }
    return s->date;
}

static void put_status_line(struct buf *b, int status)
{
    if (status == 200) {
        buf_append(b, "HTTP/1.1 200 OK\r\n", 17);
    } else {
        buf_printf(b, "HTTP/1.1 %03d %s\r\n", status, http_status_text(status));
    }
}

static void put_number(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t n = 0;

    do {
        digits[sizeof(digits) - ++n] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    buf_append(b, digits + sizeof(digits) - n, n);
}

static bool status_has_body(int status)
{
    return status >= 200 && status != 204 && status != 304;
}

/* The head of an answer in the server's scratch buffer. length -1: none is told. */
static struct buf *make_head(struct http_exchange *x, int status, const char *content_type,
                             int64_t length)
{
    struct connection *c = x->conn;
    struct buf *b = &c->server->scratch;

    buf_clear(b);
    put_status_line(b, status);
    buf_puts(b, date_line(c->server));
    if (content_type) {
        buf_append(b, "Content-Type: ", 14);
        buf_puts(b, content_type);
        buf_append(b, "\r\n", 2);
    }
    if (length >= 0 && status != 204 && status != 304) {
        buf_append(b, "Content-Length: ", 16);
        put_number(b, (uint64_t)length);
        buf_append(b, "\r\n", 2);
    } else if (x->chunked_answer) {
        buf_append(b, "Transfer-Encoding: chunked\r\n", 28);
    }
    if (!c->keep_alive) {
        buf_append(b, "Connection: close\r\n", 19);
    } else if (x->head.minor == 0) {
        buf_append(b, "Connection: keep-alive\r\n", 24);
    }
    buf_append(b, "x-request-id: ", 14);
    buf_puts(b, http_exchange_id(x));
    buf_append(b, "\r\n", 2);
    buf_append(b, buf_data(&x->extra), x->extra.len);
    buf_append(b, "\r\n", 2);
    return b;
}

static void write_out(struct connection *c, const void *p, size_t n)
{
    stream_write(c->stream, p, n);
    c->written += n;
}

/* The server's own refusals */

static void default_error_body(struct span path, int status, const char *text, struct buf *out)
{
    buf_puts(out, "{\"error\":\"");
    buf_put_json_escaped(out, text, strlen(text));
    buf_puts(out, "\"}");
}

/* The path of a request that could not be read, as far as it shows: only to choose the shape of the
 * error. */
static struct span visible_path(const struct buf *in)
{
    struct span line = buf_span(in), target;

    line = span_cut(&line, '\r');
    span_cut(&line, ' ');
    target = line.p ? span_cut(&line, ' ') : line;
    return span_cut(&target, '?');
}

/* Answers an error and closes. x, when there is one, is not known to the handler yet; `in` may hold
 * anything. */
static void refuse(struct connection *c, int status, const char *text)
{
    struct buf *b = &c->server->scratch;
    struct buf body = BUF_INIT(65536);
    struct span path = c->x ? c->x->head.path : visible_path(&c->in);
    bool to_head = c->x && span_eq(c->x->head.method, "HEAD");

    (c->server->options.error_body ? c->server->options.error_body
                                   : default_error_body)(path, status, text, &body);
    buf_clear(b);
    put_status_line(b, status);
    buf_puts(b, date_line(c->server));
    buf_printf(b,
               "Content-Type: application/json\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
               body.len);
    write_out(c, buf_data(b), b->len);
    if (!to_head) {
        write_out(c, buf_data(&body), body.len);
    }
    buf_finish(&body);
    close_connection_flushed(c);
}

static void refuse_parse(struct connection *c, int code, const char *text)
{
    refuse(c,
           code == -E2BIG             ? 431
           : code == -ENOSYS          ? 501
           : code == -EPROTONOSUPPORT ? 505
                                      : 400,
           text);
}

/* Reading requests. Each of these returns false when there is nothing more to do now (bytes
 * lacking, refused, or an exchange stands). */

/* The spans of the head point into `in`, which has moved. */
static void rebase_head(struct http_head *h, ptrdiff_t by)
{
    struct span *spans[] = { &h->method, &h->target, &h->path, &h->query };

    for (size_t i = 0; i < ARRAY_SIZE(spans); i++) {
        spans[i]->p += spans[i]->p ? by : 0;
    }
    for (size_t i = 0; i < h->header_count; i++) {
        h->headers[i].name.p += by;
        h->headers[i].value.p += by;
    }
}

static bool begin_body(struct connection *c)
{
    struct http_server *s = c->server;
    const struct http_head *h = &c->x->head;

    if (h->framing == HTTP_LENGTH && h->content_length > s->options.max_body_bytes) {
        refuse(c, 413, "the request body is too large");
        return false;
    }
    if (h->framing == HTTP_LENGTH &&
        h->content_length > s->options.body_budget_bytes - s->held_bytes) {
        refuse(c, 503, "too many request bodies are held at the moment");
        return false;
    }
    c->phase = PHASE_BODY;
    c->chunked = (struct http_chunked){ 0 };
    c->request_len = c->head_len;
    set_deadline(c, s->options.body_timeout_ms);
    if (h->expect_continue && h->framing != HTTP_NO_BODY && c->in.len == c->head_len) {
        write_out(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    }
    return true;
}

static bool read_head(struct connection *c)
{
    struct http_server *s = c->server;
    struct http_exchange *x = take_exchange(s);
    struct error e = { 0 };
    ssize_t len = http_parse_request(buf_data(&c->in), c->in.len, &c->scanned, &x->head, &e);

    if (len > 0 && (size_t)len <= s->options.max_head_bytes) {
        x->conn = c;
        x->started_us = c->started_us;
        x->events = NULL;
        buf_clear(&x->extra);
        x->extra_count = 0;
        x->started = x->chunked_answer = x->no_body = x->until_close = false;
        x->left = -1;
        x->id[0] = '\0';
        c->x = x;
        c->body_len = 0;
        c->head_len = (size_t)len;
        return begin_body(c);
    }
    spare_exchange(s, x);
    if (len < 0) {
        refuse_parse(c, (int)len, e.text);
    } else if (c->in.len >= s->options.max_head_bytes) {
        refuse(c, 431, "the request head is too large");
    }
    return false;
}

/* Counts n bytes more of a body; false when there is no room for them. */
static bool hold_body(struct connection *c, size_t n)
{
    struct http_server *s = c->server;

    if (n > s->options.max_body_bytes - c->body_len) {
        refuse(c, 413, "the request body is too large");
        return false;
    }
    if (n > s->options.body_budget_bytes - s->held_bytes) {
        refuse(c, 503, "too many request bodies are held at the moment");
        return false;
    }
    c->body_len += n;
    s->held_bytes += n;
    return true;
}

static bool read_length_body(struct connection *c)
{
    size_t want = (size_t)c->x->head.content_length;
    size_t have = MIN_OF(c->in.len - c->head_len, want);

    if (have > c->body_len && !hold_body(c, have - c->body_len)) {
        return false;
    }
    c->request_len = c->head_len + have;
    return have == want;
}

/* Decodes what came in place: the payload moves up to the body's end, the framing bytes vanish. */
static bool read_chunked_body(struct connection *c)
{
    char *base = UNCONST(char *, buf_data(&c->in));

    while (!c->chunked.done && c->request_len < c->in.len) {
        struct span data;
        ssize_t n = http_chunked_next(&c->chunked, base + c->request_len,
                                      c->in.len - c->request_len, &data);

        if (n < 0) {
            refuse(c, 400, "the chunked coding of the body is broken");
            return false;
        }
        if (data.n > 0) {
            size_t at = c->head_len + c->body_len;

            if (!hold_body(c, data.n)) {
                return false;
            }
            memmove(base + at, data.p, data.n);
        }
        c->request_len += (size_t)n;
    }
    if (!c->chunked.done) {
        c->in.len = c->request_len = c->head_len + c->body_len;
    }
    return c->chunked.done;
}

static bool read_body(struct connection *c)
{
    assert(c->x);
    switch (c->x->head.framing) {
    case HTTP_LENGTH:
        return read_length_body(c);
    case HTTP_CHUNKED:
        return read_chunked_body(c);
    default:
        c->request_len = c->head_len;
        return true;
    }
}

/* How far sending has come, and when. */
static void mark_progress(struct connection *c)
{
    c->sent_mark = c->written - stream_queued(c->stream);
    c->stall_since_ms = now_ms(c);
}

static void hand_over(struct connection *c)
{
    struct http_server *s = c->server;

    c->phase = PHASE_ANSWER;
    c->keep_alive = c->x->head.keep_alive && !s->draining;
    c->handed = true;
    mark_progress(c);
    set_deadline(c, s->options.write_timeout_ms / 4 + 1);
    s->exchange_count++;
    s->options.handle(s->options.owner, c->x);
}

/* Looks at what stands in `in` after delay_ms; until then nothing more is read. */
static void process_later(struct connection *c, uint64_t delay_ms)
{
    set_reading(c, false);
    if (list_empty(&c->ready_node)) {
        list_append(&c->server->ready, &c->ready_node);
        if (!timer_active(&c->server->ready_timer)) {
            timer_start(&c->server->ready_timer, delay_ms);
        }
    }
}

/* Reads requests from `in` as long as one follows the other; not while many bytes of answers wait
 * for a client that does not read. */
static void process(struct connection *c)
{
    c->busy++;
    while (!c->dead && c->phase != PHASE_ANSWER && c->in.len > 0) {
        if (c->phase == PHASE_IDLE && stream_queued(c->stream) > UNSENT_MAX) {
            process_later(c, UNSENT_LOOK_MS);
            break;
        }
        if (c->phase == PHASE_IDLE) {
            c->phase = PHASE_HEAD;
            c->fresh = false;
            c->started_us = world_now_us(c->server->world);
            set_deadline(c, c->server->options.head_timeout_ms);
        }
        if (c->phase == PHASE_HEAD && !read_head(c)) {
            break;
        }
        if (!read_body(c)) {
            break;
        }
        hand_over(c);
    }
    c->busy--;
    free_connection(c);
}

/* The answer is out: the connection is ready for the next request. */
static void next_request(struct connection *c)
{
    struct http_server *s = c->server;

    drop_exchange(c);
    if (!c->keep_alive || s->draining) {
        close_connection_flushed(c);
        return;
    }
    buf_consume(&c->in, c->request_len);
    c->scanned = c->head_len = c->request_len = 0;
    if (c->in.len == 0) {
        return_buffer(s, &c->in);
    }
    if (c->ahead.len > 0) {
        if (c->in.len == 0) {
            struct buf tmp = c->in;

            c->in = c->ahead;
            c->in.max = tmp.max;
            c->ahead = BUF_INIT(c->ahead.max);
        } else {
            (void)buf_append(&c->in, buf_data(&c->ahead), c->ahead.len);
        }
        buf_finish(&c->ahead);
    }
    c->phase = PHASE_IDLE;
    mark_progress(c);
    set_deadline(c, MIN_OF(s->options.idle_timeout_ms, s->options.write_timeout_ms / 4 + 1));
    if (c->in.len > 0 && c->busy == 0) {
        process_later(c, 0);
    } else {
        set_reading(c, true);
    }
}

static void on_ready(void *arg)
{
    struct http_server *s = arg;
    struct list batch;

    list_take(&s->ready, &batch);
    while (!list_empty(&batch)) {
        struct connection *c = container_of(batch.next, struct connection, ready_node);

        list_remove(&c->ready_node);
        set_reading(c, true);
        process(c);
    }
}

/* Stream events */

/* Bytes beyond the request in hand: kept, and no more than the bound is read. */
static void keep_ahead(struct connection *c, const char *p, size_t n)
{
    (void)buf_append(&c->ahead, p, n);
    if (c->ahead.len >= c->server->options.max_pipelined_bytes) {
        set_reading(c, false);
    }
}

static void on_data(void *owner, const char *p, size_t n)
{
    struct connection *c = owner;
    const char *before;

    if (c->phase == PHASE_ANSWER) {
        keep_ahead(c, p, n);
        return;
    }
    lend_buffer(c->server, &c->in);
    before = buf_data(&c->in);
    if (buf_append(&c->in, p, n) < 0) {
        close_connection(c);
        return;
    }
    if (c->x && buf_data(&c->in) != before) {
        rebase_head(&c->x->head, buf_data(&c->in) - before);
    }
    if (c->phase == PHASE_BODY) {
        set_deadline(c, c->server->options.body_timeout_ms);
    }
    process(c);
}

static void on_end(void *owner, int err)
{
    struct connection *c = owner;

    if (err == 0 && c->phase != PHASE_ANSWER && stream_queued(c->stream) > 0) {
        close_connection_flushed(c);
    } else {
        cut_connection(c);
    }
}

static void on_drain(void *owner)
{
    struct connection *c = owner;

    if (c->handed && c->x->events && c->x->events->on_drain) {
        c->x->events->on_drain(c->x->events_owner);
    }
}

static const struct stream_handler stream_handler = { on_data, on_end, on_drain };

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
    stream_set_handler(stream, &stream_handler, c);
    set_reading(c, true);
    set_deadline(c, s->options.head_timeout_ms);
    c->fresh = true;
    update_accepting(s);
}

/* Deadlines */

/* Cuts the connection when what is queued has not moved for too long. */
static void check_stall(struct connection *c)
{
    uint64_t sent = c->written - stream_queued(c->stream), now = now_ms(c);

    if (stream_queued(c->stream) == 0 || sent != c->sent_mark) {
        mark_progress(c);
    }
    if (now - c->stall_since_ms >= c->server->options.write_timeout_ms) {
        cut_connection(c);
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
        close_connection_flushed(c);
    }
}

static void on_deadline(struct connection *c)
{
    switch (c->phase) {
    case PHASE_IDLE:
        check_idle(c);
        break;
    case PHASE_HEAD:
        refuse(c, 408, "the request head did not come in time");
        break;
    case PHASE_BODY:
        refuse(c, 408, "the request body did not come in time");
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
        free_connection(c);
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
    timer_init(&s->ready_timer, w, "http pipelined", on_ready, s);
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
            close_connection_flushed(c);
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
        cut_connection(container_of(s->connections.next, struct connection, node));
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

/* What the handler asks */

const struct http_head *http_exchange_head(const struct http_exchange *x)
{
    return &x->head;
}

struct span http_exchange_body(const struct http_exchange *x)
{
    return (struct span){ buf_data(&x->conn->in) + x->conn->head_len, x->conn->body_len };
}

const struct address *http_exchange_peer(const struct http_exchange *x)
{
    return stream_peer(x->conn->stream);
}

void *http_exchange_tag(const struct http_exchange *x)
{
    return x->conn->tag;
}

struct http_server *http_exchange_server(const struct http_exchange *x)
{
    return x->conn->server;
}

struct world *http_exchange_world(const struct http_exchange *x)
{
    return x->conn->server->world;
}

uint64_t http_exchange_started_us(const struct http_exchange *x)
{
    return x->started_us;
}

static bool id_is_sane(struct span id)
{
    if (id.n == 0 || id.n > ID_MAX) {
        return false;
    }
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];

        if (!((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '.' ||
              c == '_' || c == ':' || c == '-')) {
            return false;
        }
    }
    return true;
}

static void put_hex(char *out, uint64_t v, int digits)
{
    while (digits-- > 0) {
        out[digits] = "0123456789abcdef"[v & 15];
        v >>= 4;
    }
}

const char *http_exchange_id(struct http_exchange *x)
{
    struct span asked;

    if (x->id[0]) {
        return x->id;
    }
    asked = http_header_get(&x->head, "x-request-id");
    if (id_is_sane(asked)) {
        memcpy(x->id, asked.p, asked.n);
        x->id[asked.n] = '\0';
    } else {
        put_hex(x->id, x->conn->server->id_prefix, 14);
        put_hex(x->id + 14, ++x->conn->server->id_count, 10);
        x->id[24] = '\0';
    }
    return x->id;
}

void http_exchange_add_header(struct http_exchange *x, const char *name, const char *value)
{
    assert(!x->started);
    for (const char *p = value; *p; p++) {
        if (((unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7F) {
            return; /* would break the head */
        }
    }
    if (x->extra_count < EXTRA_HEADERS_MAX &&
        strlen(name) + strlen(value) + 4 <= x->extra.max - x->extra.len) {
        x->extra_count++;
        buf_printf(&x->extra, "%s: %s\r\n", name, value);
    }
}

void http_exchange_set_events(struct http_exchange *x, const struct http_exchange_events *events,
                              void *owner)
{
    x->events = events;
    x->events_owner = owner;
}

/* Answers */

void http_respond(struct http_exchange *x, int status, const char *content_type, struct span body)
{
    struct connection *c = x->conn;
    struct buf *head;

    assert(!x->started && status >= 200);
    head = make_head(x, status, content_type, (int64_t)body.n);
    write_out(c, buf_data(head), head->len);
    if (status_has_body(status) && !span_eq(x->head.method, "HEAD")) {
        write_out(c, body.p, body.n);
    }
    next_request(c);
}

void http_respond_json(struct http_exchange *x, int status, json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);

    json_decref(json);
    http_respond(x, status, "application/json", span_of(text ? text : "null"));
    free(text);
}

void http_respond_start(struct http_exchange *x, int status, const char *content_type,
                        int64_t length)
{
    struct connection *c = x->conn;
    struct buf *head;

    assert(!x->started && status >= 200);
    x->no_body = !status_has_body(status) || span_eq(x->head.method, "HEAD");
    if (length < 0 && status_has_body(status)) {
        x->chunked_answer = x->head.minor == 1;
        x->until_close = !x->chunked_answer;
        c->keep_alive = c->keep_alive && !x->until_close;
    }
    x->left = length;
    head = make_head(x, status, content_type, length);
    x->started = true;
    write_out(c, buf_data(head), head->len);
}

static void write_chunk(struct connection *c, const char *p, size_t n)
{
    char line[18];
    int digits = 1;

    while (digits < 16 && n >> (4 * digits)) {
        digits++;
    }
    put_hex(line, n, digits);
    line[digits] = '\r';
    line[digits + 1] = '\n';
    write_out(c, line, (size_t)digits + 2);
    write_out(c, p, n);
    write_out(c, "\r\n", 2);
}

void http_respond_write(struct http_exchange *x, const char *p, size_t n)
{
    assert(x->started);
    if (n == 0 || x->no_body) {
        return;
    }
    if (x->chunked_answer) {
        write_chunk(x->conn, p, n);
        return;
    }
    if (x->left >= 0) {
        assert(n <= (uint64_t)x->left);
        x->left -= (int64_t)n;
    }
    write_out(x->conn, p, n);
}

void http_respond_end(struct http_exchange *x)
{
    struct connection *c = x->conn;

    assert(x->started);
    if (x->chunked_answer && !x->no_body) {
        write_out(c, "0\r\n\r\n", 5);
    } else if (x->left > 0 && !x->no_body) {
        http_respond_abort(x);
        return;
    }
    next_request(c);
}

void http_respond_abort(struct http_exchange *x)
{
    struct connection *c = x->conn;

    if (x->started && !x->until_close) {
        close_connection_flushed(c);
    } else {
        close_connection(c);
    }
}

bool http_respond_started(const struct http_exchange *x)
{
    return x->started;
}

size_t http_exchange_queued(const struct http_exchange *x)
{
    return stream_queued(x->conn->stream);
}

struct stream *http_exchange_upgrade(struct http_exchange *x, const char *header_lines,
                                     struct buf *ret_rest)
{
    struct connection *c = x->conn;
    struct stream *stream = c->stream;
    struct buf *b = &c->server->scratch;

    assert(!x->started);
    buf_clear(b);
    buf_puts(b, "HTTP/1.1 101 Switching Protocols\r\n");
    buf_puts(b, date_line(c->server));
    buf_printf(b, "x-request-id: %s\r\n", http_exchange_id(x));
    buf_append(b, buf_data(&x->extra), x->extra.len);
    buf_puts(b, header_lines);
    buf_puts(b, "\r\n");
    write_out(c, buf_data(b), b->len);
    buf_init(ret_rest, SIZE_MAX / 4);
    (void)buf_append(ret_rest, buf_data(&c->in) + c->request_len, c->in.len - c->request_len);
    (void)buf_append(ret_rest, buf_data(&c->ahead), c->ahead.len);
    set_reading(c, false);
    forget_connection(c);
    return stream;
}
