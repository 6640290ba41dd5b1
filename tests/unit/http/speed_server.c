// SPDX-License-Identifier: Apache-2.0
/*
 * Not a test: a bare server (200 bytes an answer), or a bare reverse proxy, on the room http, to be
 * measured from outside.
 *
 *   speed_server ADDRESS [UPSTREAM]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/client.h"
#include "http/server.h"

struct relay {
    struct http_exchange *x;
    struct http_call *call;
    struct span body;
};

static struct http_upstream *upstream;
static char answer[201];

static void on_head(void *owner, const struct http_head *head)
{
    struct relay *r = owner;
    char type[100];

    snprintf(type, sizeof(type), "%.*s", SPAN_ARG(http_header_get(head, "content-type")));
    http_respond_start(r->x, head->status, type,
                       head->framing == HTTP_LENGTH ? (int64_t)head->content_length : -1);
}

static void on_body(void *owner, const char *p, size_t n)
{
    struct relay *r = owner;

    http_respond_write(r->x, p, n);
}

static void on_end(void *owner)
{
    struct relay *r = owner;

    http_respond_end(r->x);
    free(r);
}

static void on_fail(void *owner, const struct error *e)
{
    struct relay *r = owner;

    fprintf(stderr, "upstream: %s\n", e->text);
    if (http_respond_started(r->x)) {
        http_respond_abort(r->x);
    } else {
        http_respond(r->x, 502, "text/plain", span_of(e->text));
    }
    free(r);
}

static void on_gone(void *owner)
{
    struct relay *r = owner;

    http_call_cancel(r->call);
    free(r);
}

static void handle(void *owner, struct http_exchange *x)
{
    static const struct http_call_handler handler = { on_head, on_body, on_end, on_fail };
    static const struct http_exchange_events events = { .on_gone = on_gone };
    struct relay *r;
    char path[500];

    if (!upstream) {
        http_respond(x, 200, "application/json", span_of(answer));
        return;
    }
    r = xcalloc(1, sizeof(*r));
    r->x = x;
    r->body = http_exchange_body(x);
    snprintf(path, sizeof(path), "%.*s", SPAN_ARG(http_exchange_head(x)->target));
    http_exchange_set_events(x, &events, r);
    r->call = http_call_start(
        upstream,
        &(struct http_call_request){ .method = r->body.n ? "POST" : "GET",
                                     .path = path,
                                     .headers = "Content-Type: application/json\r\n",
                                     .body = &r->body,
                                     .body_parts = r->body.n > 0 },
        &handler, r);
}

int main(int argc, char **argv)
{
    struct world *w = world_create();
    struct http_server *s =
        http_server_create(w, &(struct http_server_options){ .handle = handle });
    struct error e = { 0 };
    struct address a;

    memset(answer, 'x', 200);
    if (argc < 2 || address_parse(argv[1], &a, &e) < 0 ||
        http_server_listen(s, &a, NULL, NULL, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    if (argc > 2) {
        if (address_parse(argv[2], &a, &e) < 0) {
            return 1;
        }
        upstream =
            http_upstream_create(w, &(struct http_upstream_options){ .where = a, .max_idle = 256 });
    }
    world_run(w);
    return 0;
}
