// SPDX-License-Identifier: Apache-2.0
/*
 * The client side of HTTP/1.1. A call lives on a link (one connection), new or taken from the pool,
 * last used first:
 *
 *     http_call_start ─► LINK_CONNECTING ─► LINK_HEAD ─► LINK_BODY ─► on_end ─► LINK_IDLE (pool) ─►
 * the next call
 *
 * The rule: a link goes back into the pool only when the answer was read to its last byte and not
 * one byte more. Anything else closes it.
 */
#include "http/client.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/mem.h"
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
    bool keep_alive, reused, got_bytes, ended, dead;
    int end_err;
    unsigned busy; /* callbacks that run: memory stays */
    uint64_t deadline_ms;
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
    size_t body_parts;
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

static void start_link(struct http_call *call);

/* Links */

static void set_deadline(struct link *k, uint64_t deadline_ms)
{
    k->deadline_ms = deadline_ms;
    if (deadline_ms != NO_DEADLINE) {
        sweep_need(&k->upstream->sweep, deadline_ms);
    }
}

static uint64_t in_ms(struct http_upstream *u, uint64_t ms)
{
    return ms ? world_now_ms(u->world) + ms : NO_DEADLINE;
}

static void free_link(struct link *k)
{
    if (k->dead && k->busy == 0) {
        free(k);
    }
}

static void close_link(struct link *k)
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
    free_link(k);
}

static void free_call(struct http_call *call)
{
    free(call->head);
    free(call);
}

/* Ends a call with an error; its link (if it still has one) is closed. */
static void fail_call(struct http_call *call, const struct error *e)
{
    const struct http_call_handler *handler = call->handler;
    void *owner = call->owner;

    if (call->link) {
        close_link(call->link);
    }
    free_call(call);
    handler->on_fail(owner, e);
}

static void _printf_(3, 4) fail_link(struct link *k, int code, const char *fmt, ...)
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
        close_link(k);
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
        close_link(k);
        start_link(call);
        return;
    }
    describe(k->upstream, where);
    fail_link(k, -ECONNRESET, "the connection to %s ended %s%s%s", where,
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
    free_call(call);
    if (clean && k->keep_alive && !k->ended && stream_queued(k->stream) == 0 &&
        u->options.max_idle > 0) {
        k->state = LINK_IDLE;
        k->reused = true;
        buf_finish(&k->in);
        list_remove(&k->node);
        list_prepend(&u->idle, &k->node);
        u->idle_count++;
        set_deadline(k, in_ms(u, u->options.idle_ms));
        stream_read_start(k->stream);
        if (u->idle_count > u->options.max_idle) {
            close_link(container_of(u->idle.prev, struct link, node));
        }
    } else {
        close_link(k);
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
        fail_link(k, -EPROTO, "the answer is not understood: %s",
                  len < 0 ? e.text : "101 was not asked for");
        return -1;
    }
    if ((size_t)len > u->options.max_head_bytes || (len == 0 && n >= u->options.max_head_bytes)) {
        fail_link(k, -EPROTO, "the head of the answer is too large");
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
    k->keep_alive = head.keep_alive;
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
        fail_link(k, -EPROTO, "the chunked coding of the answer is broken");
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
        set_deadline(k,
                     k->call->paused ? NO_DEADLINE : in_ms(k->upstream, k->call->idle_timeout_ms));
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
        close_link(k);
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
    free_link(k);
}

static void on_end(void *owner, int err)
{
    struct link *k = owner;

    k->ended = true;
    k->end_err = err;
    if (k->state == LINK_IDLE) {
        close_link(k);
        return;
    }
    k->busy++;
    judge_end(k);
    k->busy--;
    free_link(k);
}

static const struct stream_handler link_handler = { .on_data = on_data, .on_end = on_end };

static void send_request(struct link *k)
{
    struct http_call *call = k->call;

    k->state = LINK_HEAD;
    k->scanned = 0;
    k->got_bytes = false;
    stream_write(k->stream, call->head, call->head_len);
    for (size_t i = 0; i < call->body_parts; i++) {
        stream_write(k->stream, call->body[i].p, call->body[i].n);
    }
    set_deadline(k, call->head_deadline_ms);
    if (call->paused) {
        stream_read_stop(k->stream);
    } else {
        stream_read_start(k->stream);
    }
}

static void on_connect(void *owner, struct stream *s, int status)
{
    struct link *k = owner;
    char where[ADDRESS_TEXT_SIZE];

    k->connecting = NULL;
    if (status < 0) {
        describe(k->upstream, where);
        fail_link(k, -ECONNREFUSED, "cannot connect to %s: %s", where, strerror(-status));
        return;
    }
    k->stream = s;
    stream_set_handler(s, &link_handler, k);
    send_request(k);
}

static struct link *open_link(struct http_upstream *u)
{
    struct link *k = xcalloc(1, sizeof(*k));

    k->upstream = u;
    buf_init(&k->in, SIZE_MAX / 4);
    list_init(&k->ready_node);
    k->state = LINK_CONNECTING;
    list_append(&u->active, &k->node);
    k->connecting = stream_connect(u->world, &u->options.where, on_connect, k);
    set_deadline(k, in_ms(u, u->options.connect_timeout_ms));
    return k;
}

static void start_link(struct http_call *call)
{
    struct http_upstream *u = call->upstream;
    struct link *k = call->retried ? NULL : list_first(&u->idle, struct link, node);

    if (!k) {
        k = open_link(u);
        k->call = call;
        call->link = k;
        set_deadline(k, MIN_OF(k->deadline_ms, call->head_deadline_ms));
        return;
    }
    list_remove(&k->node);
    list_append(&u->active, &k->node);
    u->idle_count--;
    k->call = call;
    call->link = k;
    send_request(k);
}

/* Time */

static void on_deadline(struct link *k)
{
    struct http_call *call = k->call;
    char where[ADDRESS_TEXT_SIZE];

    if (!call) {
        close_link(k);
        return;
    }
    describe(k->upstream, where);
    switch (k->state) {
    case LINK_IDLE: /* has no call */
        break;
    case LINK_CONNECTING:
        if (call->head_deadline_ms <= world_now_ms(k->upstream->world)) {
            fail_link(k, -ETIMEDOUT, "%s did not answer within %llu ms", where,
                      (unsigned long long)call->head_timeout_ms);
        } else {
            fail_link(k, -ECONNREFUSED, "no connection to %s within %llu ms", where,
                      (unsigned long long)k->upstream->options.connect_timeout_ms);
        }
        break;
    case LINK_HEAD:
        fail_link(k, -ETIMEDOUT, "%s did not answer within %llu ms", where,
                  (unsigned long long)call->head_timeout_ms);
        break;
    case LINK_BODY:
        fail_link(k, -ETIMEDOUT, "%s stopped in the middle of its answer for %llu ms", where,
                  (unsigned long long)call->idle_timeout_ms);
        break;
    }
}

static void free_upstream(struct http_upstream *u)
{
    if (u->dead && u->busy == 0) {
        free(u->host);
        free(u);
    }
}

static uint64_t sweep_links(struct http_upstream *u, struct list *links)
{
    uint64_t now = world_now_ms(u->world), earliest = NO_DEADLINE;

    /* Each link moves back before it is judged, so that whatever a callback closes is no trouble.
     */
    list_take(links, &u->judged);
    while (!list_empty(&u->judged)) {
        struct link *k = container_of(u->judged.next, struct link, node);

        list_remove(&k->node);
        list_append(links, &k->node);
        k->busy++;
        if (k->deadline_ms <= now) {
            on_deadline(k);
        }
        k->busy--;
        if (!k->dead) {
            earliest = MIN_OF(earliest, k->deadline_ms);
        }
        free_link(k);
    }
    return earliest;
}

static void on_sweep(void *arg)
{
    struct http_upstream *u = arg;
    uint64_t active, idle;

    u->busy++;
    active = sweep_links(u, &u->active);
    idle = sweep_links(u, &u->idle);
    if (!u->dead) {
        sweep_again(&u->sweep, MIN_OF(active, idle));
    }
    u->busy--;
    free_upstream(u);
}

static void on_ready(void *arg)
{
    struct http_upstream *u = arg;
    struct list batch;

    u->busy++;
    list_take(&u->ready, &batch);
    while (!list_empty(&batch)) {
        struct link *k = container_of(batch.next, struct link, ready_node);

        list_remove(&k->ready_node);
        k->busy++;
        read_kept(k);
        judge_end(k);
        if (may_read(k) && k->stream) {
            touch_idle_timer(k);
            stream_read_start(k->stream);
        }
        k->busy--;
        free_link(k);
    }
    u->busy--;
    free_upstream(u);
}

/* Life of an upstream */

#define DEFAULT(field, value)                                                                      \
    do {                                                                                           \
        if (o->field == 0) {                                                                       \
            o->field = (value);                                                                    \
        }                                                                                          \
    } while (0)

struct http_upstream *http_upstream_create(struct world *w,
                                           const struct http_upstream_options *options)
{
    struct http_upstream *u = xcalloc(1, sizeof(*u));
    struct http_upstream_options *o = &u->options;
    char where[ADDRESS_TEXT_SIZE];

    u->world = w;
    *o = *options;
    DEFAULT(max_idle, 64);
    DEFAULT(idle_ms, 4000);
    DEFAULT(connect_timeout_ms, 5000);
    DEFAULT(max_head_bytes, 64 << 10);
    address_format(&o->where, where);
    u->host = xstrdup(o->host ? o->host : o->where.is_unix ? "localhost" : where);
    o->host = u->host;
    list_init(&u->active);
    list_init(&u->idle);
    list_init(&u->ready);
    list_init(&u->judged);
    sweep_init(&u->sweep, w, "http client deadlines", on_sweep, u);
    timer_init(&u->ready_timer, w, "http client resume", on_ready, u);
    return u;
}

void http_upstream_flush(struct http_upstream *u)
{
    while (!list_empty(&u->idle)) {
        close_link(container_of(u->idle.next, struct link, node));
    }
}

struct http_upstream *http_upstream_destroy(struct http_upstream *u)
{
    if (!u) {
        return NULL;
    }
    while (!list_empty(&u->active) || !list_empty(&u->judged)) {
        struct list *from = list_empty(&u->active) ? &u->judged : &u->active;

        fail_link(container_of(from->next, struct link, node), -ECANCELED,
                  "the upstream was given up");
    }
    http_upstream_flush(u);
    timer_stop(&u->sweep.timer);
    timer_stop(&u->ready_timer);
    u->dead = true;
    free_upstream(u);
    return NULL;
}

/* Calls */

static size_t body_length(const struct http_call_request *r)
{
    size_t n = 0;

    for (size_t i = 0; i < r->body_parts; i++) {
        n += r->body[i].n;
    }
    return n;
}

static char *put(char *to, const char *from, size_t n)
{
    memcpy(to, from, n);
    return to + n;
}

/* "METHOD path HTTP/1.1 … blank line", in memory of its own. */
static void make_head(struct http_call *call, const struct http_call_request *r)
{
    size_t method = strlen(r->method), path = strlen(r->path), host = strlen(call->upstream->host);
    size_t headers = r->headers ? strlen(r->headers) : 0;
    char *p = call->head = xmalloc(method + path + host + headers + 80);

    p = put(p, r->method, method);
    *p++ = ' ';
    p = put(p, r->path, path);
    p = put(p, " HTTP/1.1\r\nHost: ", 17);
    p = put(p, call->upstream->host, host);
    p = put(p, "\r\n", 2);
    p = put(p, r->headers ? r->headers : "", headers);
    if (r->body_parts > 0 || (!span_eq(span_of(r->method), "GET") && !call->to_head)) {
        p += snprintf(p, 40, "Content-Length: %zu\r\n", body_length(r));
    }
    p = put(p, "\r\n", 2);
    call->head_len = (size_t)(p - call->head);
}

struct http_call *http_call_start(struct http_upstream *u, const struct http_call_request *request,
                                  const struct http_call_handler *handler, void *owner)
{
    struct http_call *call = xmalloc(sizeof(*call) + request->body_parts * sizeof(struct span));
    struct span *parts = (struct span *)(call + 1);

    assert(!strpbrk(request->path, " \r\n"));
    *call = (struct http_call){
        .upstream = u,
        .handler = handler,
        .owner = owner,
        .body = parts,
        .body_parts = request->body_parts,
        .head_timeout_ms = request->head_timeout_ms,
        .idle_timeout_ms = request->idle_timeout_ms,
        .head_deadline_ms = in_ms(u, request->head_timeout_ms),
        .to_head = str_eq(request->method, "HEAD"),
    };
    for (size_t i = 0; i < request->body_parts; i++) {
        parts[i] = request->body[i];
    }
    make_head(call, request);
    start_link(call);
    return call;
}

void http_call_pause(struct http_call *call)
{
    struct link *k = call->link;

    call->paused = true;
    list_remove(&k->ready_node);
    if (k->stream) {
        stream_read_stop(k->stream);
    }
    if (k->state == LINK_BODY) {
        set_deadline(k, NO_DEADLINE);
    }
}

void http_call_resume(struct http_call *call)
{
    struct http_upstream *u = call->upstream;

    if (call->paused) {
        call->paused = false;
        list_append(&u->ready, &call->link->ready_node);
        timer_start(&u->ready_timer, 0);
    }
}

void http_call_cancel(struct http_call *call)
{
    if (call->link) {
        close_link(call->link);
    }
    free_call(call);
}

/* Fetch: a call whose whole answer is collected. */

struct http_fetch {
    struct http_call *call;
    struct buf body;
    int status;
    http_fetch_fn done;
    void *owner;
};

/* fetch is void afterwards. */
static void finish_fetch(struct http_fetch *f, int result, const struct error *e)
{
    http_fetch_fn done = f->done;
    void *owner = f->owner;
    struct buf body = f->body;
    int status = f->status;

    free(f);
    done(owner, result, status, buf_span(&body), e);
    buf_finish(&body);
}

static void on_fetch_head(void *owner, const struct http_head *head)
{
    struct http_fetch *f = owner;

    f->status = head->status;
}

static void on_fetch_body(void *owner, const char *p, size_t n)
{
    struct http_fetch *f = owner;
    struct error e;

    if (buf_append(&f->body, p, n) < 0) {
        http_call_cancel(f->call);
        error_set(&e, -EFBIG, "the answer is larger than %zu bytes", f->body.max);
        finish_fetch(f, -EFBIG, &e);
    }
}

static void on_fetch_end(void *owner)
{
    finish_fetch(owner, 0, NULL);
}

static void on_fetch_fail(void *owner, const struct error *e)
{
    finish_fetch(owner, e->code, e);
}

struct http_fetch *http_fetch_start(struct http_upstream *u,
                                    const struct http_call_request *request, size_t max_body,
                                    http_fetch_fn done, void *owner)
{
    static const struct http_call_handler handler = { on_fetch_head, on_fetch_body, on_fetch_end,
                                                      on_fetch_fail };
    struct http_fetch *f = xcalloc(1, sizeof(*f));

    buf_init(&f->body, max_body);
    f->done = done;
    f->owner = owner;
    f->call = http_call_start(u, request, &handler, f);
    return f;
}

void http_fetch_cancel(struct http_fetch *f)
{
    if (f) {
        http_call_cancel(f->call);
        buf_finish(&f->body);
        free(f);
    }
}
