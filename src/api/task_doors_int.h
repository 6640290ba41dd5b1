// SPDX-License-Identifier: Apache-2.0
/*
 * What the doors of tasks share: the envelope in which they answer, {"code": 0, "message": …,
 * "data": …} or {"code": -1, "message": …}, and how they show a task and a model.
 */
#pragma once

#include "api/api_int.h"
#include "base/buf.h"

/* Shown instead of a secret; given back, it means: as it was. */
#define TASK_SECRET_MASK "********"

enum { TASK_ANSWER_MAX = 64 << 20, TASK_KEY_NAME_SIZE = 64 };

/* ---- the envelope (envelope.c); each ends the exchange ---- */

/* data is stolen; NULL: it is left out. */
void envelope_respond(struct http_exchange *x, const char *message, json_t *data);
/* The same, with data as text: JSON. Beyond its buffer's maximum a 500 in words. */
void envelope_respond_text(struct http_exchange *x, const char *message, const struct buf *data);
/* A list, with what a pager needs; total, page and size go beside the data. */
void envelope_respond_page(struct http_exchange *x, const struct buf *data, uint64_t total,
                           unsigned page, unsigned size);
void envelope_refuse(struct http_exchange *x, int status, const char *fmt, ...) _printf_(3, 4);
/* 400, for a body or a query that is not as it must be. */
void envelope_invalid(struct http_exchange *x, const char *fmt, ...) _printf_(2, 3);
/* What a room refused. "Not in this state" is a 400 here. */
void envelope_fail(struct http_exchange *x, const struct error *e);

/* ---- reading; false: it is refused, and that is answered ---- */

bool envelope_id(struct http_exchange *x, struct span text, int64_t *ret);
bool envelope_query_number(struct http_exchange *x, const char *name, uint64_t fallback,
                           uint64_t max, uint64_t *ret);
/* The body as a JSON object, the caller's. */
bool envelope_body(struct http_exchange *x, json_t **ret);
/* A whole number among the members; absent or null: *ret stays as it is. */
bool envelope_member_int(struct http_exchange *x, const json_t *body, const char *name, int64_t min,
                         int64_t max, int64_t *ret);
/* A text among the members, borrowed; absent or null: NULL. */
bool envelope_member_text(struct http_exchange *x, const json_t *body, const char *name,
                          const char **ret);

/* ---- views (task_view.c) ---- */

/* A JSON string; what is not UTF-8 has '?' for its odd bytes. NULL is null. */
void put_json_text(struct buf *out, const char *s, size_t n);
/* A time as a JSON string; 0 is null. */
void put_json_time(struct buf *out, int64_t wall_ms);

enum task_bodies { TASK_NO_BODIES, TASK_WITH_BODIES };
/* A task without its closing brace, so that members can follow. input: for a task that brings no
 * bodies though they are to be shown, its input as it stands in the order: a JSON string, or what
 * is taken as it is written. */
void task_put_open(struct buf *out, const struct task *task, enum task_bodies bodies,
                   struct span input);
/* The model as a JSON object, after `,"model":`; null when it is not there any more. */
void task_put_model(struct buf *out, struct api *api, int64_t model_id);
/* The contract's Model. */
json_t *task_model_json(struct api *api, const struct model *model);
/* Its name at these doors: one by which requests may call it, too. */
const char *task_model_name(const struct model *model);
const char *task_model_type(const struct model *model);
/* {high_priority_count …} */
json_t *queue_status_json(struct api *api);
/* The same of these counts. */
json_t *queue_counts_json(const struct task_counts *c);
/* [ModelStats] */
json_t *all_model_stats_json(struct api *api);
/* "text-generation, custom …": what there is, for a sentence; the caller's. */
char *known_task_types(struct api *api);

/* Of task_bulk_api.c. */
void handle_task_bulk(void *api, struct http_exchange *x, const struct route_params *params);
void handle_task_list(void *api, struct http_exchange *x, const struct route_params *params);
void handle_task_stats(void *api, struct http_exchange *x, const struct route_params *params);

/* ---- keys of remote models (task_keys.c) ---- */

/* A name for a new one, relative to the data directory, good for parameters.api_key_file. */
void task_key_name(struct api *api, char ret[TASK_KEY_NAME_SIZE]);
/* Blocking; any thread. */
int task_key_write(const char *data_dir, const char *name, const char *key,
                   struct error *reterr) _must_check_;
/* Removes the file, if it is one of ours. NULL is none. */
void task_key_remove(const struct api *api, const char *name);
/* The file that a definition names, or NULL. */
const char *task_key_of(const struct model_config *config);
/* Removes those that no definition names: what a crash left behind. */
void task_keys_sweep(struct api *api);
