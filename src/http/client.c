// SPDX-License-Identifier: Apache-2.0
/*
 * The client side of HTTP/1.1 as its callers see it: upstreams, calls, fetches. What happens on the
 * wire is in client_link.c. The rule: callbacks come in later turns only, and a callback may do
 * anything, end the upstream included.
 */
#include "http/client.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/client_int.h"

/* Time */

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
            link_on_deadline(k);
        }
        k->busy--;
        if (!k->dead) {
            earliest = MIN_OF(earliest, k->deadline_ms);
        }
        link_free(k);
    }
    return earliest;
}

static void on_sweep(void *arg)
{
    struct http_upstream *u = arg;
    uint64_t active, idle;

    u->busy++;
    sweep_begin(&u->sweep);
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
        link_resume(k);
    }
    u->busy--;
    free_upstream(u);
}

/* Life of an upstream */

/* Of the Host header: without the port that the scheme has anyway. */
static char *host_of(const struct http_upstream_options *o)
{
    char where[ADDRESS_TEXT_SIZE];

    if (o->host || o->where.is_unix) {
        return xstrdup(o->host ? o->host : "localhost");
    }
    address_format(&o->where, where);
    if (o->where.port == (o->where.tls ? 443 : 80)) {
        *strrchr(where, ':') = '\0';
    }
    return xstrdup(where);
}

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

    u->world = w;
    *o = *options;
    DEFAULT(max_idle, 64);
    DEFAULT(idle_ms, 4000);
    DEFAULT(connect_timeout_ms, 5000);
    DEFAULT(max_head_bytes, 64 << 10);
    u->host = host_of(o);
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
        link_close(container_of(u->idle.next, struct link, node));
    }
}

struct http_upstream *http_upstream_destroy(struct http_upstream *u)
{
    if (!u) {
        return NULL;
    }
    while (!list_empty(&u->active) || !list_empty(&u->judged)) {
        struct list *from = list_empty(&u->active) ? &u->judged : &u->active;

        link_fail(container_of(from->next, struct link, node), -ECANCELED,
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
        p += snprintf(p, 40, "Content-Length: %zu\r\n", call->body_bytes);
    }
    p = put(p, "\r\n", 2);
    call->head_len = (size_t)(p - call->head);
}

void call_free(struct http_call *call)
{
    free(call->head);
    free(call);
}

void call_begin(struct http_call *call)
{
    struct http_upstream *u = call->upstream;
    struct link *k = call->retried ? NULL : list_first(&u->idle, struct link, node);

    if (!k) {
        k = link_open(u);
        k->call = call;
        call->link = k;
        link_set_deadline(k, MIN_OF(k->deadline_ms, call->head_deadline_ms));
        return;
    }
    list_remove(&k->node);
    list_append(&u->active, &k->node);
    u->idle_count--;
    k->call = call;
    call->link = k;
    link_send_request(k);
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
        .body_bytes = body_length(request),
        .head_timeout_ms = request->head_timeout_ms,
        .idle_timeout_ms = request->idle_timeout_ms,
        .head_deadline_ms = upstream_in_ms(u, request->head_timeout_ms),
        .to_head = str_eq(request->method, "HEAD"),
    };
    for (size_t i = 0; i < request->body_parts; i++) {
        parts[i] = request->body[i];
    }
    make_head(call, request);
    call_begin(call);
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
        link_set_deadline(k, NO_DEADLINE);
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
        link_close(call->link);
    }
    call_free(call);
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
