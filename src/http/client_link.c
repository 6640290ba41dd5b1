// SPDX-License-Identifier: Apache-2.0
/*
 * One connection of the HTTP client: a request out, its answer in.
 *
 * The request's body is written in LINK_HEAD, SEND_AHEAD_BYTES at a time; the stream's on_drain
 * asks for more. What is not written when the answer's head comes stays unsent.
 *
 * The rule: a link goes back into the pool only when the request was sent whole, and the answer was
 * read to its last byte and not one byte more. Anything else closes it.
 */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "http/client_int.h"

enum { SEND_AHEAD_BYTES = 256 << 10 }; /* of a request's body that may stand in the stream */

void link_set_deadline(struct link *k, uint64_t deadline_ms)
{
    k->deadline_ms = deadline_ms;
    if (deadline_ms != NO_DEADLINE) {
        sweep_need(&k->upstream->sweep, deadline_ms);
    }
}

void link_free(struct link *k)
{
    if (k->dead && k->busy == 0) {
        free(k);
    }
}

void link_close(struct link *k)
{
    assert(!k->dead);
    k->dead = true;
    if (k->state == LINK_IDLE) {
        k->upstream->idle_count--;
    }
    if (k->connecting) {
        stream_connect_cancel(k->connecting);
    }
    stream_close(k->stream);
    list_remove(&k->node);
    list_remove(&k->ready_node);
    buf_finish(&k->in);
    if (k->call) {
        k->call->link = NULL;
        k->call = NULL;
    }
    link_free(k);
}

/* Ends a call with an error; its link (if it still has one) is closed. */
static void fail_call(struct http_call *call, const struct error *e)
{
    const struct http_call_handler *handler = call->handler;
    void *owner = call->owner;

    if (call->link) {
        link_close(call->link);
    }
    call_free(call);
    handler->on_fail(owner, e);
}

void link_fail(struct link *k, int code, const char *fmt, ...)
{
    struct http_call *call = k->call;
    struct error e = { .code = code };
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(e.text, sizeof(e.text), fmt, ap);
    va_end(ap);
    if (call) {
        fail_call(call, &e);
    } else {
        link_close(k);
    }
}

static void describe(const struct http_upstream *u, char out[ADDRESS_TEXT_SIZE])
{
    address_format(&u->options.where, out);
}

/* The connection is gone while a call stands on it: once more on a fresh one when it was a stale
 * kept-alive one, else the call fails. */
static void on_broken(struct link *k, int err)
{
    struct http_call *call = k->call;
    char where[ADDRESS_TEXT_SIZE];

    if (call && k->reused && !k->got_bytes && !call->retried) {
        call->retried = true;
        link_close(k);
        call_begin(call);
        return;
    }
    describe(k->upstream, where);
    link_fail(k, -ECONNRESET, "the connection to %s ended %s%s%s", where,
              call && call->got_head ? "inside the answer" : "before the answer",
              err < 0 ? ": " : "", err < 0 ? strerror(-err) : "");
}

/* The answer is whole; `clean` when the connection stands exactly at its end. */
static void finish_answer(struct link *k, bool clean)
{
    struct http_upstream *u = k->upstream;
    struct http_call *call = k->call;
    const struct http_call_handler *handler = call->handler;
    void *owner = call->owner;

    k->call = NULL;
    call->link = NULL;
    call_free(call);
    if (clean && k->keep_alive && !k->ended && stream_queued(k->stream) == 0 &&
        u->options.max_idle > 0) {
        k->state = LINK_IDLE;
        k->reused = true;
        buf_finish(&k->in);
        list_remove(&k->node);
        list_prepend(&u->idle, &k->node);
        u->idle_count++;
        link_set_deadline(k, upstream_in_ms(u, u->options.idle_ms));
        stream_read_start(k->stream);
        if (u->idle_count > u->options.max_idle) {
            link_close(container_of(u->idle.prev, struct link, node));
        }
    } else {
        link_close(k);
    }
    handler->on_end(owner);
}

/* Reading answers. Each step returns how many bytes it used, or negative when there is nothing more
 * to do (the link may be closed then). */

static ssize_t read_head(struct link *k, const char *p, size_t n)
{
    struct http_upstream *u = k->upstream;
    struct http_call *call = k->call;
    struct http_head head;
    struct error e = { 0 };
    ssize_t len = http_parse_response(p, n, &k->scanned, call->to_head, &head, &e);

    if (len < 0 || (len > 0 && head.status == 101)) {
        link_fail(k, -EPROTO, "the answer is not understood: %s",
                  len < 0 ? e.text : "101 was not asked for");
        return -1;
    }
    if ((size_t)len > u->options.max_head_bytes || (len == 0 && n >= u->options.max_head_bytes)) {
        link_fail(k, -EPROTO, "the head of the answer is too large");
        return -1;
    }
    if (len == 0) {
        return -1;
    }
    k->scanned = 0;
    if (head.status < 200) {
        return len;
    }
    k->state = LINK_BODY;
    k->keep_alive = head.keep_alive && call->unsent == 0;
    k->framing = head.framing;
    k->left = head.content_length;
    k->chunked = (struct http_chunked){ 0 };
    call->got_head = true;
    free(TAKE_PTR(call->head));
    call->handler->on_head(call->owner, &head);
    return len;
}

static ssize_t read_chunked(struct link *k, const char *p, size_t n)
{
    struct span data;
    ssize_t used = http_chunked_next(&k->chunked, p, n, &data);

    if (used < 0) {
        link_fail(k, -EPROTO, "the chunked coding of the answer is broken");
        return -1;
    }
    if (data.n > 0) {
        k->call->handler->on_body(k->call->owner, data.p, data.n);
    }
    return used;
}

static ssize_t read_plain(struct link *k, const char *p, size_t n)
{
    size_t take = n;

    if (k->framing == HTTP_LENGTH) {
        take = k->left < n ? (size_t)k->left : n;
        k->left -= take;
    }
    if (take > 0) {
        k->call->handler->on_body(k->call->owner, p, take);
    }
    return (ssize_t)take;
}

static bool answer_is_whole(const struct link *k)
{
    return k->state == LINK_BODY &&
           (k->framing == HTTP_NO_BODY || (k->framing == HTTP_LENGTH && k->left == 0) ||
            (k->framing == HTTP_CHUNKED && k->chunked.done));
}

static bool may_read(const struct link *k)
{
    return !k->dead && k->call && !k->call->paused;
}

/* Reads as much of the n bytes as it can; returns how many were used. The link may be closed or
 * idle afterwards. */
static size_t read_answer(struct link *k, const char *p, size_t n)
{
    size_t used = 0;

    while (may_read(k)) {
        ssize_t r;

        if (answer_is_whole(k)) {
            finish_answer(k, used == n);
            break;
        }
        if (used == n) {
            break;
        }
        r = k->state == LINK_HEAD        ? read_head(k, p + used, n - used)
            : k->framing == HTTP_CHUNKED ? read_chunked(k, p + used, n - used)
                                         : read_plain(k, p + used, n - used);
        if (r < 0) {
            break;
        }
        used += (size_t)r;
    }
    return used;
}

static void judge_end(struct link *k)
{
    if (!may_read(k) || !k->ended) {
        return;
    }
    if (k->state == LINK_BODY && k->framing == HTTP_UNTIL_CLOSE && k->end_err == 0) {
        finish_answer(k, false);
    } else {
        on_broken(k, k->end_err);
    }
}

static void touch_idle_timer(struct link *k)
{
    if (k->state == LINK_BODY && k->call) {
        link_set_deadline(k, k->call->paused
                                 ? NO_DEADLINE
                                 : upstream_in_ms(k->upstream, k->call->idle_timeout_ms));
    }
}

/* Reads what stands in `in`. */
static void read_kept(struct link *k)
{
    if (k->in.len > 0 || answer_is_whole(k)) {
        size_t used = read_answer(k, buf_data(&k->in), k->in.len);

        if (!k->dead && k->in.len > 0) {
            buf_consume(&k->in, used);
        }
        if (!k->dead && k->in.len == 0) {
            buf_finish(&k->in);
        }
    }
}

static void on_data(void *owner, const char *p, size_t n)
{
    struct link *k = owner;

    if (k->state == LINK_IDLE) { /* nothing was asked */
        link_close(k);
        return;
    }
    k->busy++;
    k->got_bytes = true;
    if (k->in.len > 0) {
        (void)buf_append(&k->in, p, n);
        read_kept(k);
    } else {
        size_t used = read_answer(k, p, n);

        if (!k->dead && used < n) {
            (void)buf_append(&k->in, p + used, n - used);
        }
    }
    if (!k->dead) {
        touch_idle_timer(k);
    }
    k->busy--;
    link_free(k);
}

static void on_end(void *owner, int err)
{
    struct link *k = owner;

    k->ended = true;
    k->end_err = err;
    if (k->state == LINK_IDLE) {
        link_close(k);
        return;
    }
    k->busy++;
    judge_end(k);
    k->busy--;
    link_free(k);
}

void link_resume(struct link *k)
{
    k->busy++;
    read_kept(k);
    judge_end(k);
    if (may_read(k) && k->stream) {
        touch_idle_timer(k);
        stream_read_start(k->stream);
    }
    k->busy--;
    link_free(k);
}

/* Sending requests */

/* Writes of the body what the stream has room for. When some is left, the stream has bytes queued,
 * so that on_drain comes. */
static void send_body(struct link *k)
{
    struct http_call *call = k->call;
    size_t queued;

    while (call->unsent > 0 && (queued = stream_queued(k->stream)) < SEND_AHEAD_BYTES) {
        const struct span *part = &call->body[call->part];
        size_t n = MIN_OF(part->n - call->part_sent, SEND_AHEAD_BYTES - queued);

        stream_write(k->stream, part->p + call->part_sent, n);
        call->unsent -= n;
        call->part_sent += n;
        if (call->part_sent == part->n) {
            call->part++;
            call->part_sent = 0;
        }
    }
}

static void on_drain(void *owner)
{
    struct link *k = owner;

    if (k->state == LINK_HEAD) {
        send_body(k);
    }
}

static const struct stream_handler link_handler = { on_data, on_end, on_drain };

void link_send_request(struct link *k)
{
    struct http_call *call = k->call;

    k->state = LINK_HEAD;
    k->scanned = 0;
    k->got_bytes = false;
    call->part = call->part_sent = 0;
    call->unsent = call->body_bytes;
    stream_write(k->stream, call->head, call->head_len);
    send_body(k);
    link_set_deadline(k, call->head_deadline_ms);
    if (call->paused) {
        stream_read_stop(k->stream);
    } else {
        stream_read_start(k->stream);
    }
}

static void on_connect(void *owner, struct stream *s, const struct error *e)
{
    struct link *k = owner;
    char where[ADDRESS_TEXT_SIZE];

    k->connecting = NULL;
    if (e) {
        describe(k->upstream, where);
        link_fail(k, -ECONNREFUSED, "cannot connect to %s: %s", where, e->text);
        return;
    }
    k->stream = s;
    stream_set_handler(s, &link_handler, k);
    link_send_request(k);
}

struct link *link_open(struct http_upstream *u)
{
    struct link *k = xcalloc(1, sizeof(*k));

    k->upstream = u;
    buf_init(&k->in, SIZE_MAX / 4);
    list_init(&k->ready_node);
    k->state = LINK_CONNECTING;
    list_append(&u->active, &k->node);
    k->connecting = stream_connect(u->world, &u->options.where, on_connect, k);
    link_set_deadline(k, upstream_in_ms(u, u->options.connect_timeout_ms));
    return k;
}

/* Time */

void link_on_deadline(struct link *k)
{
    struct http_call *call = k->call;
    char where[ADDRESS_TEXT_SIZE];

    if (!call) {
        link_close(k);
        return;
    }
    describe(k->upstream, where);
    switch (k->state) {
    case LINK_IDLE: /* has no call */
        break;
    case LINK_CONNECTING:
        if (call->head_deadline_ms <= world_now_ms(k->upstream->world)) {
            link_fail(k, -ETIMEDOUT, "%s did not answer within %llu ms", where,
                      (unsigned long long)call->head_timeout_ms);
        } else {
            link_fail(k, -ECONNREFUSED, "no connection to %s within %llu ms", where,
                      (unsigned long long)k->upstream->options.connect_timeout_ms);
        }
        break;
    case LINK_HEAD:
        link_fail(k, -ETIMEDOUT, "%s did not answer within %llu ms", where,
                  (unsigned long long)call->head_timeout_ms);
        break;
    case LINK_BODY:
        link_fail(k, -ETIMEDOUT, "%s stopped in the middle of its answer for %llu ms", where,
                  (unsigned long long)call->idle_timeout_ms);
        break;
    }
}
