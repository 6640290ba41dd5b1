// SPDX-License-Identifier: Apache-2.0
/* What the planner's doors share: a request that waits for the evaluations, and how they refuse. */
#pragma once

#include "api/api_int.h"
#include "api/paging.h"
#include "evaluations/evaluations.h"

/* A request that waits for an answer of the evaluations. */
struct planner_visit {
    struct http_exchange *x; /* NULL once the client is gone */
    char *file_name;         /* of a download; NULL: it is none */
    bool csv;                /* the answer is the file's text */
    bool deletes_one;        /* of a list: that none was deleted is a 404 */
    struct api *api;         /* of a large answer, whose text is made on the worker; else NULL */
    const char *list;        /* the member of the answer that is a list to be paged; NULL: none */
    struct paging paging;    /* then */
};
struct planner_visit *planner_visit_create(struct http_exchange *x);
/* An evaluations_done_fn whose arg is a planner_visit: answers, and frees it. */
void planner_answered(void *visit, int result, json_t *answer, const char *field,
                      const struct error *e);

/* The evaluations, or NULL: there are none, and the 503 is answered. */
struct evaluations *planner_evaluations(struct api *api, struct http_exchange *x);
/* -EPROTO: a 422 about this member of the body; -EINVAL: a 400 that names it; and the rest as
 * everywhere, a 429 with Retry-After. */
void planner_refuse(struct http_exchange *x, int result, const char *field, const struct error *e);
/* A 422 about a part of the query or the path ("query", "path"). */
void planner_refuse_part(struct http_exchange *x, const char *part, const char *name,
                         const char *message);
/* The body as an object, the caller's; NULL: it is none, and that is answered. */
json_t *planner_body(struct http_exchange *x);
/* A list of 1 to max texts (or whole numbers) among the members, borrowed; NULL: it is none, and
 * that is answered. */
const json_t *planner_list(struct http_exchange *x, const json_t *body, const char *name,
                           json_type type, size_t max);
/* The {id} of the path, decoded, the caller's; "?", which nothing is called, where it is no text.
 */
char *planner_path_id(const struct route_params *params);

/* Of evaluation_import.c: a form with a file; it waits for its turn on the planner's worker. */
void handle_check_import(void *api, struct http_exchange *x, const struct route_params *params);
void handle_execute_import(void *api, struct http_exchange *x, const struct route_params *params);

/* For what would hold up the loop: large files, long charts. */
struct worker *planner_worker(struct api *api);

/* Of evaluation_sockets.c. */
void handle_ws_evaluations(struct api *api, struct http_exchange *x);
