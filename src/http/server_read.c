// SPDX-License-Identifier: Apache-2.0
/*
 * From bytes to a request: what a client sends is collected in `in` until head and body stand
 * whole, then handed over. The rule: whatever a peer can make grow is bounded here, and what cannot
 * be read is refused once, with the connection's end.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/macros.h"
#include "http/server_int.h"

enum { UNSENT_MAX = 256 << 10 }; /* of earlier answers; beyond it the next request waits */

static void refuse_parse(struct connection *c, int code, const char *text)
{
    connection_refuse(c,
                      code == -E2BIG             ? 431
                      : code == -ENOSYS          ? 501
                      : code == -EPROTONOSUPPORT ? 505
                                                 : 400,
                      text);
}

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

/* Reading requests. Each of these returns false when there is nothing more to do now (bytes
 * lacking, or refused: the connection is void then). */

static bool begin_body(struct connection *c)
{
    struct http_server *s = c->server;
    const struct http_head *h = &c->x->head;

    if (h->framing == HTTP_LENGTH && h->content_length > s->options.max_body_bytes) {
        connection_refuse(c, 413, "the request body is too large");
        return false;
    }
    if (h->framing == HTTP_LENGTH &&
        h->content_length > s->options.body_budget_bytes - s->held_bytes) {
        connection_refuse(c, 503, "too many request bodies are held at the moment");
        return false;
    }
    c->phase = PHASE_BODY;
    c->chunked = (struct http_chunked){ 0 };
    c->request_len = c->head_len;
    connection_set_deadline(c, s->options.body_timeout_ms);
    if (h->expect_continue && h->framing != HTTP_NO_BODY && c->in.len == c->head_len) {
        connection_write(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    }
    return true;
}

static bool read_head(struct connection *c)
{
    struct http_server *s = c->server;
    struct http_exchange *x = server_take_exchange(s);
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
        if (s->options.on_head) {
            s->options.on_head(s->options.owner, x);
        }
        return begin_body(c);
    }
    server_spare_exchange(s, x);
    if (len < 0) {
        refuse_parse(c, (int)len, e.text);
    } else if (c->in.len >= s->options.max_head_bytes) {
        connection_refuse(c, 431, "the request head is too large");
    }
    return false;
}

/* Counts n bytes more of a body; false when there is no room for them. */
static bool hold_body(struct connection *c, size_t n)
{
    struct http_server *s = c->server;

    if (n > s->options.max_body_bytes - c->body_len) {
        connection_refuse(c, 413, "the request body is too large");
        return false;
    }
    if (n > s->options.body_budget_bytes - s->held_bytes) {
        connection_refuse(c, 503, "too many request bodies are held at the moment");
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
            connection_refuse(c, 400, "the chunked coding of the body is broken");
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

static void hand_over(struct connection *c)
{
    struct http_server *s = c->server;

    c->phase = PHASE_ANSWER;
    c->keep_alive = c->x->head.keep_alive && !s->draining;
    c->handed = true;
    connection_mark_progress(c);
    connection_set_deadline(c, s->options.write_timeout_ms / 4 + 1);
    s->exchange_count++;
    s->options.handle(s->options.owner, c->x);
}

/* Looks at what stands in `in` in the next turn; until then nothing more is read. */
static void process_later(struct connection *c)
{
    connection_set_reading(c, false);
    if (list_empty(&c->ready_node)) {
        list_append(&c->server->ready, &c->ready_node);
        if (!timer_active(&c->server->ready_timer)) {
            timer_start(&c->server->ready_timer, 0);
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
            connection_set_reading(c, false); /* on_drain goes on */
            break;
        }
        if (c->phase == PHASE_IDLE) {
            c->phase = PHASE_HEAD;
            c->fresh = false;
            c->started_us = world_now_us(c->server->world);
            connection_set_deadline(c, c->server->options.head_timeout_ms);
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
    connection_free(c);
}

/* The request is done with: what came after it becomes `in`. */
static void move_on(struct connection *c)
{
    buf_consume(&c->in, c->request_len);
    c->scanned = c->head_len = c->request_len = 0;
    if (c->in.len > 0) {
        (void)buf_append(&c->in, buf_data(&c->ahead), c->ahead.len);
        buf_finish(&c->ahead);
    } else {
        server_return_buffer(c->server, &c->in);
        c->in = c->ahead;
        c->ahead = BUF_INIT(c->in.max);
    }
}

void connection_next_request(struct connection *c)
{
    struct http_server *s = c->server;

    connection_drop_exchange(c);
    if (!c->keep_alive || s->draining) {
        connection_close_flushed(c);
        return;
    }
    move_on(c);
    c->phase = PHASE_IDLE;
    connection_mark_progress(c);
    connection_set_deadline(
        c, MIN_OF(s->options.idle_timeout_ms, s->options.write_timeout_ms / 4 + 1));
    if (c->in.len > 0 && c->busy == 0) {
        process_later(c);
    } else {
        connection_set_reading(c, true);
    }
}

void server_on_ready(void *arg)
{
    struct http_server *s = arg;
    struct list batch;

    list_take(&s->ready, &batch);
    while (!list_empty(&batch)) {
        struct connection *c = container_of(batch.next, struct connection, ready_node);

        list_remove(&c->ready_node);
        connection_set_reading(c, true);
        process(c);
    }
}

/* Stream events */

/* Bytes beyond the request in hand: kept, and no more than the bound is read. */
static void keep_ahead(struct connection *c, const char *p, size_t n)
{
    (void)buf_append(&c->ahead, p, n);
    if (c->ahead.len >= c->server->options.max_pipelined_bytes) {
        connection_set_reading(c, false);
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
    server_lend_buffer(c->server, &c->in);
    before = buf_data(&c->in);
    (void)buf_append(&c->in, p, n);
    if (c->x && buf_data(&c->in) != before) {
        rebase_head(&c->x->head, buf_data(&c->in) - before);
    }
    if (c->phase == PHASE_BODY) {
        connection_set_deadline(c, c->server->options.body_timeout_ms);
    }
    process(c);
}

static void on_end(void *owner, int err)
{
    struct connection *c = owner;

    if (err == 0 && c->phase != PHASE_ANSWER && stream_queued(c->stream) > 0) {
        connection_close_flushed(c);
    } else {
        connection_cut(c);
    }
}

static void on_drain(void *owner)
{
    struct connection *c = owner;

    if (c->handed && c->x->events && c->x->events->on_drain) {
        c->x->events->on_drain(c->x->events_owner);
    } else if (c->phase == PHASE_IDLE && c->in.len > 0) {
        process_later(c);
    }
}

const struct stream_handler connection_stream_handler = { on_data, on_end, on_drain };
