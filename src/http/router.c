// SPDX-License-Identifier: Apache-2.0
/*
 * Routes: paths without parameters are found in a map, the others are compared segment by segment.
 * Of the rows that fit path and method the one with the earlier literal segment wins, whatever the
 * order in which the tables were added.
 */
#include "http/router.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"

struct row {
    const struct route_table *table;
    const struct route *route;
    struct row *next_same_path; /* of a literal path */
};

struct router {
    struct row **rows; /* in the order of adding */
    size_t count;
    struct row **patterns; /* those with parameters */
    size_t pattern_count;
    struct map literals; /* path → struct row, a chain */
};

struct router *router_create(void)
{
    struct router *r = xcalloc(1, sizeof(*r));

    map_init(&r->literals);
    return r;
}

struct router *router_destroy(struct router *r)
{
    if (r) {
        for (size_t i = 0; i < r->count; i++) {
            free(r->rows[i]);
        }
        free(r->rows);
        free(r->patterns);
        map_finish(&r->literals);
        free(r);
    }
    return NULL;
}

static bool is_param(struct span segment)
{
    return segment.n >= 2 && segment.p[0] == '{' && segment.p[segment.n - 1] == '}';
}

static bool is_rest(struct span segment)
{
    return is_param(segment) && segment.p[segment.n - 2] == '*';
}

/* Two patterns that fit the same paths: equal but for the names of parameters. */
static bool same_pattern(const char *a, const char *b)
{
    struct span x = span_of(a), y = span_of(b);

    while (x.p && y.p) {
        struct span s = span_cut(&x, '/'), t = span_cut(&y, '/');

        if (is_param(s) != is_param(t) || is_rest(s) != is_rest(t)) {
            return false;
        }
        if (!is_param(s) && (s.n != t.n || memcmp(s.p, t.p, s.n) != 0)) {
            return false;
        }
    }
    return !x.p && !y.p;
}

static void check_new(const struct router *r, const struct route *route)
{
    assert(route->path[0] == '/' && route->method && route->handle);
    for (size_t i = 0; i < r->count; i++) {
        const struct route *other = r->rows[i]->route;

        assert(!(str_eq(other->method, route->method) && same_pattern(other->path, route->path)));
    }
}

static void push(struct row ***rows, size_t *count, struct row *row)
{
    *rows = xrealloc(*rows, (*count + 1) * sizeof(**rows));
    (*rows)[(*count)++] = row;
}

void router_add(struct router *r, const struct route_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        struct row *row = xcalloc(1, sizeof(*row));

        row->table = table;
        row->route = &table->routes[i];
        check_new(r, row->route);
        push(&r->rows, &r->count, row);
        if (strchr(row->route->path, '{')) {
            push(&r->patterns, &r->pattern_count, row);
        } else {
            row->next_same_path = map_put(&r->literals, row->route->path, row);
        }
    }
}

/* Fits path to a pattern with parameters; fills *ret on success. */
static bool fits(const char *pattern, struct span path, struct route_params *ret)
{
    struct span want = span_of(pattern), have = path;
    size_t count = 0;

    while (want.p && have.p) {
        struct span rest = have, segment, w = span_cut(&want, '/');

        segment = span_cut(&have, '/');
        if (is_param(w)) {
            if (count == ROUTE_PARAMS_MAX || (segment.n == 0 && !is_rest(w))) {
                return false;
            }
            ret->values[count++] = is_rest(w) ? rest : segment;
            if (is_rest(w)) {
                return true;
            }
        } else if (w.n != segment.n || memcmp(w.p, segment.p, w.n) != 0) {
            return false;
        }
    }
    return !want.p && !have.p;
}

/* Does pattern a win over b, both fitting one path? Literal before parameter before rest, from the
 * left. */
static bool wins(const char *a, const char *b)
{
    struct span x = span_of(a), y = span_of(b);

    while (x.p && y.p) {
        struct span s = span_cut(&x, '/'), t = span_cut(&y, '/');
        int rank_s = is_rest(s) ? 2 : is_param(s), rank_t = is_rest(t) ? 2 : is_param(t);

        if (rank_s != rank_t) {
            return rank_s < rank_t;
        }
    }
    return false;
}

/* 3: the row's own method; 2: HEAD on a GET row; 1: a row of every method; 0: no. */
static int method_fits(const struct route *route, struct span method)
{
    if (span_eq(method, route->method)) {
        return 3;
    }
    if (span_eq(method, "HEAD") && str_eq(route->method, "GET")) {
        return 2;
    }
    return str_eq(route->method, "*");
}

static void allow_one(struct route_match *m, const char *method)
{
    size_t len = strlen(m->allow);
    struct span list = span_of(m->allow);

    while (list.p) {
        if (span_eq(span_trim(span_cut(&list, ',')), method)) {
            return;
        }
    }
    if (len + strlen(method) + 3 <= sizeof(m->allow)) {
        snprintf(m->allow + len, sizeof(m->allow) - len, "%s%s", len ? ", " : "", method);
    }
}

static void allow_row(struct route_match *m, const char *method)
{
    static const char *const all[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" };

    if (str_eq(method, "*")) {
        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
            allow_one(m, all[i]);
        }
        return;
    }
    allow_one(m, method);
    if (str_eq(method, "GET")) {
        allow_one(m, "HEAD");
    }
}

struct best {
    const struct row *row;
    int method;
};

/* A row whose path fits: better than what was found so far? */
static void consider(struct route_match *m, struct best *best, const struct row *row,
                     struct span method, const struct route_params *params)
{
    int fit = method_fits(row->route, method);

    if (!m->table) {
        m->table = row->table;
    }
    allow_row(m, row->route->method);
    if (!fit) {
        return;
    }
    if (best->row && (wins(best->row->route->path, row->route->path) ||
                      (!wins(row->route->path, best->row->route->path) && fit <= best->method))) {
        return;
    }
    *best = (struct best){ row, fit };
    m->params = *params;
}

struct route_match router_match(const struct router *r, struct span method, struct span path)
{
    struct route_match m = { 0 };
    struct best best = { 0 };
    struct route_params params = { 0 };

    for (const struct row *row = map_get_span(&r->literals, path); row; row = row->next_same_path) {
        if (span_eq(method, row->route->method)) { /* nothing can win over this one */
            return (struct route_match){ .table = row->table, .route = row->route };
        }
        consider(&m, &best, row, method, &params);
    }
    for (size_t i = 0; i < r->pattern_count; i++) {
        params = (struct route_params){ 0 };
        if (fits(r->patterns[i]->route->path, path, &params)) {
            consider(&m, &best, r->patterns[i], method, &params);
        }
    }
    if (best.row) {
        m.table = best.row->table;
        m.route = best.row->route;
        if (!str_eq(best.row->route->method, "*")) {
            m.allow[0] = '\0';
        }
    }
    return m;
}

/* How many leading segments of path a pattern shares; the first, before the first '/', is empty and
 * counts for nothing. */
static size_t shared_segments(const char *pattern, struct span path)
{
    struct span want = span_of(pattern), have = path;
    size_t n = 0;

    span_cut(&want, '/');
    span_cut(&have, '/');
    while (want.p && have.p) {
        struct span w = span_cut(&want, '/'), h = span_cut(&have, '/');

        if (!is_param(w) && (w.n != h.n || memcmp(w.p, h.p, w.n) != 0)) {
            break;
        }
        if (is_param(w) && n == 0) {
            break; /* a catch-all at the root says nothing about the door */
        }
        n++;
    }
    return n;
}

enum error_shape router_shape(const struct router *r, struct span path)
{
    enum error_shape shape = SHAPE_DETAIL;
    size_t most = 0;

    for (size_t i = 0; i < r->count; i++) {
        size_t n = shared_segments(r->rows[i]->route->path, path);

        if (n > most) {
            most = n;
            shape = r->rows[i]->table->shape;
        }
    }
    return shape;
}

const struct route *router_next(const struct router *r, size_t *cursor,
                                const struct route_table **ret_table)
{
    const struct row *row = *cursor < r->count ? r->rows[*cursor] : NULL;

    if (!row) {
        return NULL;
    }
    ++*cursor;
    if (ret_table) {
        *ret_table = row->table;
    }
    return row->route;
}

/* Errors as answers */

/* A JSON string; what is not UTF-8 (it came from a peer) shows as question marks. */
static void put_string(struct buf *out, const char *text)
{
    bool valid = is_valid_utf8(text, strlen(text));
    char *copy = xstrdup(text);

    for (char *p = copy; *p && !valid; p++) {
        *p = (unsigned char)*p < 0x80 ? *p : '?';
    }
    buf_putc(out, '"');
    buf_put_json_escaped(out, copy, strlen(copy));
    buf_putc(out, '"');
    free(copy);
}

/* Anthropic's words, by status. */
static const char *anthropic_type(int status)
{
    switch (status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 413:
        return "request_too_large";
    case 408:
    case 504:
        return "timeout_error";
    case 429:
        return "rate_limit_error";
    case 503:
    case 529:
        return "overloaded_error";
    default:
        return status < 500 ? "invalid_request_error" : "api_error";
    }
}

void error_body(enum error_shape shape, int status, const char *type, const char *code,
                const char *message, struct buf *out)
{
    switch (shape) {
    case SHAPE_OPENAI:
        buf_puts(out, "{\"error\":{\"message\":");
        put_string(out, message);
        buf_puts(out, ",\"type\":");
        put_string(out, type);
        buf_puts(out, ",\"param\":null,\"code\":");
        if (code) {
            put_string(out, code);
        } else {
            buf_puts(out, "null");
        }
        buf_puts(out, "}}");
        break;
    case SHAPE_ANTHROPIC:
        buf_printf(out, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":",
                   anthropic_type(status));
        put_string(out, message);
        buf_puts(out, "}}");
        break;
    case SHAPE_OLLAMA:
        buf_puts(out, "{\"error\":");
        put_string(out, message);
        buf_puts(out, "}");
        break;
    case SHAPE_ENVELOPE:
        buf_puts(out, "{\"code\":-1,\"message\":");
        put_string(out, message);
        buf_puts(out, "}");
        break;
    case SHAPE_DETAIL:
        buf_puts(out, "{\"detail\":");
        put_string(out, message);
        buf_puts(out, "}");
        break;
    }
}

void respond_error(struct http_exchange *x, enum error_shape shape, const struct error *e)
{
    const struct error_kind *kind = error_kind(e->code);
    struct buf body = BUF_INIT(16384);

    if (kind->http_status == 401) {
        http_exchange_add_header(x, "WWW-Authenticate", "Bearer");
    }
    error_body(shape, kind->http_status, kind->type, kind->name, e->text, &body);
    http_respond(x, kind->http_status, "application/json", buf_span(&body));
    buf_finish(&body);
}
