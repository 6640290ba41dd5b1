// SPDX-License-Identifier: Apache-2.0
/* The front: route, access, content, then the door. Every refusal speaks in the door's own shape.
 */
#include "api/front.h"

#include <assert.h>

#include "base/mem.h"

enum { FRONT_TABLES_MAX = 24 };

// clang-format off
static const struct metric requests_metric = {
    "berth_http_requests_total", METRIC_COUNTER,
    "Requests handed to a door, by door and route", { "door", "method", "route" }, NULL,
};
static const struct metric refused_metric = {
    "berth_http_refused_total", METRIC_COUNTER,
    "Requests refused before any door saw them, by reason", { "reason" }, NULL,
};
// clang-format on

/* One counter a route, looked up at its first request and kept: counting is then one addition. */
struct table_cells {
    const struct route_table *table;
    struct metric_cell **cells; /* as many as the table has routes; NULL until first used */
};

struct front {
    struct router *router;
    struct access *access;
    struct metrics *metrics;
    struct table_cells tables[FRONT_TABLES_MAX];
    size_t table_count;
};

struct front *front_create(struct router *router, struct access *access, struct metrics *metrics)
{
    struct front *f = xcalloc(1, sizeof(*f));

    f->router = router;
    f->access = access;
    f->metrics = metrics;
    metrics_declare(metrics, &requests_metric, 1);
    metrics_declare(metrics, &refused_metric, 1);
    return f;
}

struct front *front_destroy(struct front *f)
{
    if (!f) {
        return NULL;
    }
    for (size_t i = 0; i < f->table_count; i++) {
        free(f->tables[i].cells);
    }
    free(f);
    return NULL;
}

static struct metric_cell **cells_of(struct front *f, const struct route_table *table)
{
    struct table_cells *new_one;

    for (size_t i = 0; i < f->table_count; i++) {
        if (f->tables[i].table == table) {
            return f->tables[i].cells;
        }
    }
    assert(f->table_count < FRONT_TABLES_MAX);
    new_one = &f->tables[f->table_count++];
    new_one->table = table;
    new_one->cells = xcalloc(table->count, sizeof(*new_one->cells));
    return new_one->cells;
}

static void count_request(struct front *f, const struct route_match *match)
{
    struct metric_cell **cell = &cells_of(f, match->table)[match->route - match->table->routes];

    if (!*cell) {
        const char *values[] = { match->table->door, match->route->method, match->route->path };

        *cell = metrics_cell(f->metrics, &requests_metric, values);
    }
    metric_add(*cell, 1);
}

static void refuse(struct front *f, struct http_exchange *x, enum error_shape shape,
                   const struct error *e)
{
    const char *values[] = { error_kind(e->code)->name };

    metric_add(metrics_cell(f->metrics, &refused_metric, values), 1);
    respond_error(x, shape, e);
}

/* What stands between a known route and its handler. */
static int check(struct front *f, struct http_exchange *x, const struct route *route,
                 struct error *e)
{
    int r = access_check(f->access, x, route->scope, e);

    if (r < 0) {
        return r;
    }
    if (http_exchange_head(x)->framing == HTTP_NO_BODY) {
        return 0;
    }
    if (route->raw) {
        return 0;
    }
    if (route->scope == SCOPE_ADMIN && http_exchange_body(x).n > FRONT_MANAGEMENT_BODY_MAX) {
        return error_set(e, -EFBIG, "the body has %zu bytes, more than the %d allowed here",
                         http_exchange_body(x).n, FRONT_MANAGEMENT_BODY_MAX);
    }
    return access_check_content(x, e);
}

void front_on_head(void *owner, struct http_exchange *x)
{
    const struct front *f = owner;

    access_allow_origin(f->access, x);
}

/* A browser asks on behalf of a page of another site: answered for every door alike. */
static void answer_preflight(struct front *f, struct http_exchange *x,
                             const struct route_match *match)
{
    struct error e = { 0 };

    if (access_preflight(f->access, x, match->allow, &e) < 0) {
        refuse(f, x, match->table->shape, &e);
    }
}

void front_handle(void *owner, struct http_exchange *x)
{
    struct front *f = owner;
    const struct http_head *head = http_exchange_head(x);
    const struct route_match match = router_match(f->router, head->method, head->path);
    struct error e = { 0 };

    if (!match.table) {
        error_set(&e, -ENOENT, "there is nothing at %.*s", (int)MIN_OF(head->path.n, 200),
                  head->path.p);
        refuse(f, x, router_shape(f->router, head->path), &e);
        return;
    }
    if (match.allow[0] && access_is_preflight(x)) {
        answer_preflight(f, x, &match);
        return;
    }
    if (!match.route) {
        http_exchange_add_header(x, "Allow", match.allow);
        error_set(&e, -EOPNOTSUPP, "the method %.*s is not known here (known: %s)",
                  (int)MIN_OF(head->method.n, 20), head->method.p, match.allow);
        refuse(f, x, match.table->shape, &e);
        return;
    }
    if (check(f, x, match.route, &e) < 0) {
        refuse(f, x, match.table->shape, &e);
        return;
    }
    count_request(f, &match);
    match.route->handle(match.table->owner, x, &match.params);
}

void front_error_body(void *owner, struct span path, int status, const char *text, struct buf *out)
{
    const struct front *f = owner;

    error_body(router_shape(f->router, path), status,
               status < 500 ? "invalid_request_error" : "server_error", NULL, text, out);
}
