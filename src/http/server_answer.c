// SPDX-License-Identifier: Apache-2.0
/*
 * What a handler sees of an exchange, and from its answer to bytes; the server's own refusals, too.
 * The rule: no answer leaves that could be read in two ways. Its framing is chosen here and
 * nowhere else, and one that is not whole ends with the connection.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/macros.h"
#include "http/server_int.h"

enum { EXTRA_HEADERS_MAX = 24, REAL_DIGITS = 15 };

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
    return status != 204 && status != 304;
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
    if (length >= 0 && status_has_body(status)) {
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

/* The server's own refusals */

static void default_error_body(void *owner, struct span path, int status, const char *text,
                               struct buf *out)
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

/* `in` may hold anything. */
void connection_refuse(struct connection *c, int status, const char *text)
{
    const struct http_server_options *options = &c->server->options;
    struct buf *b = &c->server->scratch;
    struct buf body = BUF_INIT(65536);
    struct span path = c->x ? c->x->head.path : visible_path(&c->in);
    bool to_head = c->x && span_eq(c->x->head.method, "HEAD");

    (options->error_body ? options->error_body : default_error_body)(options->owner, path, status,
                                                                     text, &body);
    buf_clear(b);
    put_status_line(b, status);
    buf_puts(b, date_line(c->server));
    if (c->x) {
        buf_printf(b, "x-request-id: %s\r\n", http_exchange_id(c->x));
        buf_append(b, buf_data(&c->x->extra), c->x->extra.len);
    }
    buf_printf(b,
               "Content-Type: application/json\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
               body.len);
    connection_write(c, buf_data(b), b->len);
    if (!to_head) {
        connection_write(c, buf_data(&body), body.len);
    }
    buf_finish(&body);
    connection_close_flushed(c);
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
    if (id.n == 0 || id.n > REQUEST_ID_MAX) {
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
        buf_puts(&x->extra, name);
        buf_append(&x->extra, ": ", 2);
        buf_puts(&x->extra, value);
        buf_append(&x->extra, "\r\n", 2);
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
    connection_write(c, buf_data(head), head->len);
    if (status_has_body(status) && !span_eq(x->head.method, "HEAD")) {
        connection_write(c, body.p, body.n);
    }
    connection_next_request(c);
}

void http_respond_json(struct http_exchange *x, int status, json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(REAL_DIGITS));

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
    connection_write(c, buf_data(head), head->len);
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
    connection_write(c, line, (size_t)digits + 2);
    connection_write(c, p, n);
    connection_write(c, "\r\n", 2);
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
    connection_write(x->conn, p, n);
}

void http_respond_end(struct http_exchange *x)
{
    struct connection *c = x->conn;

    assert(x->started);
    if (x->chunked_answer && !x->no_body) {
        connection_write(c, "0\r\n\r\n", 5);
    } else if (x->left > 0 && !x->no_body) {
        http_respond_abort(x);
        return;
    }
    connection_next_request(c);
}

void http_respond_abort(struct http_exchange *x)
{
    struct connection *c = x->conn;

    if (x->started && !x->until_close) {
        connection_close_flushed(c);
    } else {
        connection_close(c);
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
    connection_write(c, buf_data(b), b->len);
    buf_init(ret_rest, SIZE_MAX / 4);
    (void)buf_append(ret_rest, buf_data(&c->in) + c->request_len, c->in.len - c->request_len);
    (void)buf_append(ret_rest, buf_data(&c->ahead), c->ahead.len);
    connection_set_reading(c, false);
    connection_forget(c);
    return stream;
}
