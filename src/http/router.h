// SPDX-License-Identifier: Apache-2.0
/*
 * Routes: one table a door, each row with its method, path, needed permission, handler and
 * documentation. The tables are also what /openapi.json is made of.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "http/server.h"

enum { ROUTE_PARAMS_MAX = 4 };

/* Who may call a route. */
enum route_scope { SCOPE_PUBLIC, SCOPE_INFERENCE, SCOPE_ADMIN };
/* In which shape the door speaks of errors. */
enum error_shape {
    SHAPE_DETAIL,    /* {"detail": …} */
    SHAPE_OPENAI,    /* {"error": {…}} */
    SHAPE_ANTHROPIC, /* {"type":"error","error":{"type","message"}} */
    SHAPE_OLLAMA,    /* {"error": "…"} */
    SHAPE_ENVELOPE,  /* {"code":-1,"message":…} */
};

/* What stands in the path for {…}, in the order of the pattern; percent-encoded as it came. */
struct route_params {
    struct span values[ROUTE_PARAMS_MAX];
};

struct route_doc {
    const char *request;  /* name of a schema in the door's schema table, or NULL */
    const char *response; /* the same, of the good answer */
    const char *statuses; /* "200 400 404": every status the handler may give by itself */
    const char *query;    /* "limit:integer level:string", or NULL */
};

struct route {
    const char *method; /* "*": every method that no other row of the path has */
    const char *path;   /* "/api/models/{id}/start"; a last "{rest*}" takes all that follows */
    enum route_scope scope;
    void (*handle)(void *owner, struct http_exchange *x, const struct route_params *params);
    const char *summary; /* one sentence */
    struct route_doc doc;
    bool raw; /* bodies of any type and any size that the server takes: what they mean is for the
                 handler */
};

struct route_table {
    const char *door; /* tag in the documentation */
    enum error_shape shape;
    const struct route *routes;
    size_t count;
    void *owner; /* given to the handlers */
};

struct router;
struct router *router_create(void);
struct router *router_destroy(struct router *r);
/* The table must outlive the router. Two rows of one method and path are a bug. Literal segments
 * win over parameters. */
void router_add(struct router *r, const struct route_table *table);

struct route_match {
    const struct route_table *table; /* NULL: no such path */
    const struct route *route;       /* NULL with a table: the path is known, the method is not */
    struct route_params params;
    char allow[64]; /* then, and for a row of method "*": the methods it has, "GET, POST" */
};
/* HEAD matches GET. Paths are compared as they came, without decoding. */
struct route_match router_match(const struct router *r, struct span method, struct span path);
/* The shape of errors about a path, known or not: that of the door with the longest prefix of it.
 */
enum error_shape router_shape(const struct router *r, struct span path);
/* Walks all rows: *cursor starts at 0. */
const struct route *router_next(const struct router *r, size_t *cursor,
                                const struct route_table **ret_table);

/* An error in a shape, with error_kind's status. OpenAI's has message, type, param (null), code. */
void respond_error(struct http_exchange *x, enum error_shape shape, const struct error *e);
/* The body alone; code may be NULL (OpenAI: null). */
void error_body(enum error_shape shape, int status, const char *type, const char *code,
                const char *message, struct buf *out);
