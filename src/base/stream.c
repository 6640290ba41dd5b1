// SPDX-License-Identifier: Apache-2.0
/* Addresses as text, and the parts of a stream that are the same in every world. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/tls_int.h"
#include "base/world_int.h"

static int parse_unix(const char *path, struct address *ret, struct error *reterr)
{
    if (!*path || strlen(path) >= sizeof(ret->path)) {
        return error_set(reterr, -EINVAL, "a unix socket path has 1 to %zu bytes: \"%s\"",
                         sizeof(ret->path) - 1, path);
    }
    *ret = (struct address){ .is_unix = true };
    memcpy(ret->path, path, strlen(path) + 1);
    return 0;
}

/* Cuts "host:port" or "[v6]:port"; the host without brackets. */
static bool split_host_port(struct span text, struct span *host, struct span *port)
{
    const char *colon = memrchr(text.p, ':', text.n);

    if (!colon) {
        return false;
    }
    *host = (struct span){ text.p, (size_t)(colon - text.p) };
    *port = (struct span){ colon + 1, text.n - host->n - 1 };
    if (host->n > 0 && host->p[0] == '[') {
        if (host->n < 2 || host->p[host->n - 1] != ']') {
            return false;
        }
        *host = (struct span){ host->p + 1, host->n - 2 };
        return true;
    }
    return !memchr(host->p, ':', host->n);
}

static bool is_literal(const char *host)
{
    unsigned char bin[16];

    return inet_pton(AF_INET, host, bin) == 1 || inet_pton(AF_INET6, host, bin) == 1;
}

int address_parse(const char *text, struct address *ret, struct error *reterr)
{
    struct span host, port;
    struct address a = { 0 };
    uint64_t number;

    if (str_starts(text, "unix:")) {
        return parse_unix(text + 5, ret, reterr);
    }
    if (!split_host_port(span_of(text), &host, &port) || host.n >= sizeof(a.host) ||
        span_to_u64(port, &number) < 0 || number > 65535) {
        return error_set(reterr, -EINVAL,
                         "\"%s\" is not an address: HOST:PORT, [IPv6]:PORT or unix:PATH", text);
    }
    a.port = (uint16_t)number;
    if (span_eq_nocase(host, "localhost")) {
        host = SPAN("127.0.0.1");
    } else if (host.n == 0 || span_eq(host, "*")) {
        host = SPAN("::");
    }
    memcpy(a.host, host.p, host.n);
    if (!is_literal(a.host)) {
        return error_set(reterr, -EINVAL, "\"%s\" is not an IPv4 or IPv6 address", a.host);
    }
    *ret = a;
    return 0;
}

/* Base URLs */

/* Labels of letters, digits, '-' and '_' (which Docker's names have), with dots between them. */
static bool is_name(struct span host)
{
    size_t label = 0;

    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '-' || c == '_';

        if (!word && (c != '.' || label == 0)) {
            return false;
        }
        label = word ? label + 1 : 0;
        if (label > 63) {
            return false;
        }
    }
    return host.n > 0 && host.n <= 254;
}

static int read_host(struct span host, bool bracketed, struct address *a, struct error *reterr)
{
    if (host.n < sizeof(a->host)) {
        memcpy(a->host, host.p, host.n);
    }
    if (bracketed ? !is_literal(a->host) || !strchr(a->host, ':') : !is_name(host)) {
        return error_set(reterr, -EINVAL,
                         "a base URL begins with http:// or https:// and a host: a name, an IPv4 "
                         "address, or an IPv6 address in brackets");
    }
    for (char *c = a->host; *c; c++) {
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
    }
    return 0;
}

/* "HOST", "HOST:PORT", "[IPv6]", "[IPv6]:PORT"; a->port is the default. */
static int read_authority(struct span text, struct address *a, struct error *reterr)
{
    bool bracketed = text.n > 0 && text.p[0] == '[';
    const char *end = memchr(text.p, bracketed ? ']' : ':', text.n);
    struct span host = text, port = { 0 };
    uint64_t number = a->port;

    if (bracketed && end) {
        host = (struct span){ text.p + 1, (size_t)(end - text.p) - 1 };
        end++;
    }
    if (end && end < text.p + text.n) {
        port = (struct span){ end, (size_t)(text.p + text.n - end) };
        host.n = bracketed ? host.n : (size_t)(end - text.p);
    }
    if (port.p &&
        (port.p[0] != ':' || span_to_u64((struct span){ port.p + 1, port.n - 1 }, &number) < 0 ||
         number == 0 || number > 65535)) {
        return error_set(reterr, -EINVAL, "the port of a base URL is a number from 1 to 65535");
    }
    a->port = (uint16_t)number;
    return read_host(host, bracketed, a, reterr);
}

static int check_url_text(const char *url, struct error *reterr)
{
    for (const char *p = url; *p; p++) {
        if (*p <= ' ' || *p > '~') {
            return error_set(reterr, -EINVAL,
                             "a base URL has no blanks, no control characters and "
                             "nothing beyond ASCII");
        }
    }
    if (strpbrk(url, "?#")) {
        return error_set(reterr, -EINVAL, "a base URL has no query ('?') and no fragment ('#')");
    }
    return 0;
}

int address_parse_url(const char *url, struct address *ret, char **ret_path, struct error *reterr)
{
    bool tls = strncasecmp(url, "https://", 8) == 0;
    struct address a = { .tls = tls, .port = tls ? 443 : 80 };
    const char *p = url + (tls ? 8 : 7);
    size_t authority, path;
    int r;

    if (!tls && strncasecmp(url, "http://", 7) != 0) {
        return read_host((struct span){ "", 0 }, false, &a, reterr);
    }
    r = check_url_text(url, reterr);
    if (r < 0) {
        return r;
    }
    authority = strcspn(p, "/");
    if (memchr(p, '@', authority)) {
        return error_set(reterr, -EINVAL, "a base URL carries no user name and no password");
    }
    r = read_authority((struct span){ p, authority }, &a, reterr);
    if (r < 0) {
        return r;
    }
    p += authority;
    path = strlen(p);
    while (path > 0 && p[path - 1] == '/') {
        path--;
    }
    *ret = a;
    *ret_path = xstrndup(p, path);
    return 0;
}

void address_format(const struct address *a, char out[ADDRESS_TEXT_SIZE])
{
    if (a->is_unix) {
        snprintf(out, ADDRESS_TEXT_SIZE, "unix:%s", a->path);
    } else {
        bool v6 = strchr(a->host, ':') != NULL;

        snprintf(out, ADDRESS_TEXT_SIZE, "%s%s%s:%u", v6 ? "[" : "", a->host, v6 ? "]" : "",
                 a->port);
    }
}

bool address_is_loopback(const struct address *a)
{
    return a->is_unix || str_starts(a->host, "127.") || str_eq(a->host, "::1") ||
           str_starts(a->host, "::ffff:127.");
}

void stream_set_handler(struct stream *s, const struct stream_handler *handler, void *owner)
{
    s->handler = handler;
    s->owner = owner;
}

void stream_read_start(struct stream *s)
{
    s->ops->read_start(s);
}

void stream_read_stop(struct stream *s)
{
    s->ops->read_stop(s);
}

void stream_write(struct stream *s, const void *p, size_t n)
{
    if (n > 0) {
        s->ops->write(s, p, n);
    }
}

size_t stream_queued(const struct stream *s)
{
    return s->ops->queued(s);
}

const struct address *stream_peer(const struct stream *s)
{
    return &s->peer;
}

void stream_close(struct stream *s)
{
    if (s) {
        s->ops->close(s);
    }
}

void stream_close_flushed(struct stream *s, uint64_t limit_ms)
{
    s->ops->close_flushed(s, limit_ms);
}

int stream_listen(struct world *w, const struct address *where, stream_accept_fn on_stream,
                  void *owner, struct stream_listener **ret, struct address *ret_bound,
                  struct error *reterr)
{
    if (where->tls) {
        return error_set(reterr, -EINVAL, "TLS is for connections to others, not for listening");
    }
    return w->ops->streams->listen(w, where, on_stream, owner, ret, ret_bound, reterr);
}

void stream_listener_pause(struct stream_listener *l, bool paused)
{
    l->world->ops->streams->pause(l, paused);
}

struct stream_listener *stream_listener_close(struct stream_listener *l)
{
    if (l) {
        l->world->ops->streams->close_listener(l);
    }
    return NULL;
}

struct stream_connecting *stream_connect(struct world *w, const struct address *where,
                                         stream_connect_fn on_connect, void *owner)
{
    if (where->tls) {
        return tls_connect(w, where, on_connect, owner);
    }
    return w->ops->streams->connect(w, where, on_connect, owner);
}

void stream_connect_cancel(struct stream_connecting *c)
{
    c->cancel(c);
}
