// SPDX-License-Identifier: Apache-2.0
/* What the doors of batches and of their files share: a request that waits, and OpenAI's shapes. */
#pragma once

#include "api/api_int.h"

/* A request that waits for an answer of the batches. */
struct batch_visit {
    struct api *api;
    struct http_exchange *x;     /* NULL once the client is gone */
    struct batch_upload *upload; /* while the body is being stored */
    char public_id[48];          /* of the file that is being sent */
    int64_t offset, bytes;       /* of it: sent so far, whole */
    bool reading;                /* the next piece is being read */
};
struct batch_visit *batch_visit_create(struct api *api, struct http_exchange *x);

/* Each ends the exchange, if there is one still, and frees the visit. json is stolen. */
void batch_visit_respond(struct batch_visit *v, json_t *json);
void batch_visit_fail(struct batch_visit *v, const struct error *e);
/* Refused before anybody was asked; ends the exchange. */
void batch_refuse(struct http_exchange *x, int code, const char *fmt, ...) _printf_(3, 4);

/* The page's members beside its data (stolen): {object, data, first_id, last_id, has_more}. */
json_t *batch_page(json_t *data, bool more);
/* A number of the query from 1 to max. False: it is none, and that is answered. */
bool batch_query_limit(struct http_exchange *x, unsigned fallback, unsigned max, unsigned *ret);
/* Reads {"anchor": "created_at", "seconds": …}. */
int batch_expiry(const char *anchor, int64_t seconds, uint64_t *ret_ms,
                 struct error *reterr) _must_check_;
/* The id in the path as a text; what cannot be one is cut. */
void batch_path_id(const struct route_params *params, char out[48]);

void handle_add_file(void *api, struct http_exchange *x, const struct route_params *params);
void handle_list_files(void *api, struct http_exchange *x, const struct route_params *params);
void handle_get_file(void *api, struct http_exchange *x, const struct route_params *params);
void handle_file_content(void *api, struct http_exchange *x, const struct route_params *params);
void handle_remove_file(void *api, struct http_exchange *x, const struct route_params *params);
