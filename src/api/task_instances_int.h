// SPDX-License-Identifier: Apache-2.0
/* What the files of the Task Instances' door share. */
#pragma once

#include <string.h>

#include "api/api_int.h"

/* A request that waits; freed by its answer, which may come when the client is gone. */
struct ti_call {
    struct api *api;
    struct http_exchange *x; /* NULL once the client is gone */
    char *text;
    json_t *kept;
};
struct ti_call *ti_call_create(struct api *api, struct http_exchange *x);
/* All of these are its end. json is stolen. */
void ti_call_answer(struct ti_call *call, int status, json_t *json);
void ti_call_refuse(struct ti_call *call, int status, const char *detail);
void ti_call_fail(struct ti_call *call, const struct error *e);

const char *need_text(struct body *b, const char *name);
/* Complains of one that is too short or too long; NULL is none, which is not complained of. */
void check_model_name(struct body *b, const char *model);
/* Borrowed; NULL when it is none. */
json_t *need_object(struct body *b, const char *name, bool required);
/* Owned by the caller; NULL: the 422 is answered. */
char *need_query(struct http_exchange *x, const char *name);

/* An order out of a body; its texts are here and in the body. */
struct ti_order {
    struct task_instance_order order;
    char *input, *metadata;
};
/* False: complained of. */
bool ti_order_read(struct api *api, struct body *b, const char *model, struct ti_order *ret);
void ti_order_finish(struct ti_order *o);
/* Of a refused submit. */
int ti_submit_status(int code);

/* A told completion out of a body, of which what is wrong is complained of. */
struct ti_completion {
    struct task_completion c;
    char *result; /* to be freed */
};
void ti_completion_read(struct body *b, struct ti_completion *ret);
/* What it is answered with; id: as it was told. */
json_t *ti_completion_json(int result, const char *id, const struct task *task, double total_ms,
                           const struct error *e);
/* The seed's word for a task's state. */
const char *ti_status_of(const struct task *task);

void handle_submit_batch(void *api, struct http_exchange *x, const struct route_params *params);
void handle_task_query(void *api, struct http_exchange *x, const struct route_params *params);
void handle_all_tasks(void *api, struct http_exchange *x, const struct route_params *params);
void handle_clear(void *api, struct http_exchange *x, const struct route_params *params);
void handle_notify(void *api, struct http_exchange *x, const struct route_params *params);
void handle_fetch(void *api, struct http_exchange *x, const struct route_params *params);
void handle_fetch_all(void *api, struct http_exchange *x, const struct route_params *params);
void handle_ws_results(void *api, struct http_exchange *x, const struct route_params *params);
void handle_ws_events(void *api, struct http_exchange *x, const struct route_params *params);
