// SPDX-License-Identifier: Apache-2.0
/*
 * OpenAI's /v1/batches. Shapes are exactly those of its clients; what berth adds is the member
 * `webhook` of an order, and any completion_window from a second on.
 */
#include <stdlib.h>

#include "api/batch_doors_int.h"
#include "base/mem.h"
#include "codec/json.h"

enum {
    ORDER_MAX_BYTES = 64 * 1024,
    METADATA_MAX = 16,
    METADATA_KEY_MAX = 64,
    METADATA_VALUE_MAX = 512,
    LIST_DEFAULT = 20,
    LIST_MAX = 100,
    EXPIRY_MIN_S = 60,
    EXPIRY_MAX_S = 10 * 366 * 86400,
    RETRY_AFTER_S = 30,
};

/* ---- a request that waits ---- */

static void on_gone(void *arg)
{
    struct batch_visit *v = arg;

    v->x = NULL;
    if (v->upload) { /* the bytes are gone with the exchange */
        batches_cancel_upload(v->upload);
        free(v);
    }
}

static const struct http_exchange_events visit_events = { .on_gone = on_gone };

struct batch_visit *batch_visit_create(struct api *api, struct http_exchange *x)
{
    struct batch_visit *v = xcalloc(1, sizeof(*v));

    v->api = api;
    v->x = x;
    http_exchange_set_events(x, &visit_events, v);
    return v;
}

void batch_visit_respond(struct batch_visit *v, json_t *json)
{
    if (v->x) {
        http_respond_json(v->x, 200, json);
    } else {
        json_decref(json);
    }
    free(v);
}

static void refuse(struct http_exchange *x, const struct error *e)
{
    char text[16];

    if (e->code == -EAGAIN) {
        snprintf(text, sizeof(text), "%d", RETRY_AFTER_S);
        http_exchange_add_header(x, "Retry-After", text);
    }
    respond_error(x, SHAPE_OPENAI, e);
}

void batch_visit_fail(struct batch_visit *v, const struct error *e)
{
    if (v->x) {
        refuse(v->x, e);
    }
    free(v);
}

void batch_refuse(struct http_exchange *x, int code, const char *fmt, ...)
{
    struct error err = { .code = code };
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(err.text, sizeof(err.text), fmt, ap);
    va_end(ap);
    refuse(x, &err);
}

json_t *batch_page(json_t *data, bool more)
{
    const size_t n = json_array_size(data);
    json_t *first = n ? json_object_get(json_array_get(data, 0), "id") : json_null();
    json_t *last = n ? json_object_get(json_array_get(data, n - 1), "id") : json_null();

    return json_pack("{s:s, s:o, s:O, s:O, s:b}", "object", "list", "data", data, "first_id", first,
                     "last_id", last, "has_more", (int)more);
}

bool batch_query_limit(struct http_exchange *x, unsigned fallback, unsigned max, unsigned *ret)
{
    _cleanup_(freep) char *text = http_query_get(http_exchange_head(x)->query, "limit");
    uint64_t n = fallback;

    if (text && (span_to_u64(span_of(text), &n) < 0 || n < 1 || n > max)) {
        batch_refuse(x, -EINVAL, "'limit' must be a number from 1 to %u", max);
        return false;
    }
    *ret = (unsigned)n;
    return true;
}

int batch_expiry(const char *anchor, int64_t seconds, uint64_t *ret_ms, struct error *reterr)
{
    if (!anchor || !str_eq(anchor, "created_at")) {
        return error_set(reterr, -EINVAL, "the anchor of an expiry must be 'created_at'");
    }
    if (seconds < EXPIRY_MIN_S || seconds > EXPIRY_MAX_S) {
        return error_set(reterr, -EINVAL, "the seconds of an expiry must be from %d to %d",
                         EXPIRY_MIN_S, EXPIRY_MAX_S);
    }
    *ret_ms = (uint64_t)seconds * 1000;
    return 0;
}

void batch_path_id(const struct route_params *params, char out[48])
{
    _cleanup_(freep) char *id = http_decode(params->values[0], false);

    snprintf(out, 48, "%s", id && is_valid_utf8(id, strlen(id)) ? id : "?");
}

/* ---- views ---- */

/* Seconds, or null for 0. */
static json_t *seconds_json(int64_t wall_ms)
{
    return wall_ms ? json_integer(wall_ms / 1000) : json_null();
}

static json_t *id_json(const char *id)
{
    return *id ? json_string(id) : json_null();
}

/* "24h" again, as it would be written. */
static json_t *window_json(uint64_t ms)
{
    const uint64_t s = ms / 1000;
    char text[32];

    if (ms % 1000) {
        snprintf(text, sizeof(text), "%llums", (unsigned long long)ms);
    } else if (s % 3600 == 0) {
        snprintf(text, sizeof(text), "%lluh", (unsigned long long)(s / 3600));
    } else if (s % 60 == 0) {
        snprintf(text, sizeof(text), "%llum", (unsigned long long)(s / 60));
    } else {
        snprintf(text, sizeof(text), "%llus", (unsigned long long)s);
    }
    return json_string(text);
}

static json_t *parsed(const char *text)
{
    json_t *json = text ? json_loads(text, 0, NULL) : NULL;

    return json ? json : json_null();
}

static json_t *batch_json(const struct batch *b)
{
    json_t *errors = json_null();

    if (b->errors) {
        errors = json_pack("{s:s, s:o}", "object", "list", "data", parsed(b->errors));
    }
    return json_pack(
        "{s:s, s:s, s:s, s:o, s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
        "s:o, s:{s:I, s:I, s:I}, s:o}",
        "id", b->public_id, "object", "batch", "endpoint", b->endpoint, "errors", errors,
        "input_file_id", b->input_file, "completion_window", window_json(b->completion_window_ms),
        "status", batch_state_name(b->state), "output_file_id", id_json(b->output_file),
        "error_file_id", id_json(b->error_file), "created_at", seconds_json(b->created_ms),
        "in_progress_at", seconds_json(b->in_progress_ms), "expires_at",
        seconds_json(b->expires_ms), "finalizing_at", seconds_json(b->finalizing_ms),
        "completed_at", seconds_json(b->completed_ms), "failed_at", seconds_json(b->failed_ms),
        "expired_at", seconds_json(b->expired_ms), "cancelling_at", seconds_json(b->cancelling_ms),
        "cancelled_at", seconds_json(b->cancelled_ms), "request_counts", "total",
        (json_int_t)b->total, "completed", (json_int_t)b->completed, "failed",
        (json_int_t)b->failed, "metadata", parsed(b->metadata));
}

static void on_batch(void *arg, int result, const struct batch *b, const struct error *e)
{
    if (result < 0) {
        batch_visit_fail(arg, e);
    } else {
        batch_visit_respond(arg, batch_json(b));
    }
}

/* ---- a new batch ---- */

static int read_text(const json_t *json, const char *name, bool needed, const char **ret,
                     struct error *reterr)
{
    const json_t *value = json_object_get(json, name);

    *ret = json_string_value(value);
    if ((value && !json_is_null(value) && !*ret) || (needed && !*ret)) {
        return error_set(reterr, -EINVAL, "'%s' must be a text", name);
    }
    return 0;
}

static int check_metadata(json_t *json, struct error *reterr)
{
    const char *key;
    json_t *value;

    if (!json_is_object(json) || json_object_size(json) > METADATA_MAX) {
        return error_set(reterr, -EINVAL, "'metadata' must be an object of at most %d members",
                         METADATA_MAX);
    }
    json_object_foreach(json, key, value)
    {
        if (strlen(key) > METADATA_KEY_MAX || !json_is_string(value) ||
            json_string_length(value) > METADATA_VALUE_MAX) {
            return error_set(reterr, -EINVAL,
                             "'metadata' must have texts of at most %d bytes, and names of at most "
                             "%d",
                             METADATA_VALUE_MAX, METADATA_KEY_MAX);
        }
    }
    return 0;
}

/* The caller frees *ret_metadata. */
static int read_order(json_t *json, struct batch_order *order, char **ret_metadata,
                      struct error *reterr)
{
    json_t *metadata = json_object_get(json, "metadata");
    json_t *expires = json_object_get(json, "output_expires_after");
    const char *window = NULL;
    int r = read_text(json, "input_file_id", true, &order->input_file, reterr);

    r = r < 0 ? r : read_text(json, "endpoint", true, &order->endpoint, reterr);
    r = r < 0 ? r : read_text(json, "completion_window", true, &window, reterr);
    r = r < 0 ? r : read_text(json, "webhook", false, &order->webhook, reterr);
    if (r >= 0 && str_to_duration_ms(window, &order->completion_window_ms) < 0) {
        r = error_set(reterr, -EINVAL, "'completion_window' must be a duration such as 24h");
    }
    if (r >= 0 && metadata && !json_is_null(metadata)) {
        r = check_metadata(metadata, reterr);
        *ret_metadata = r < 0 ? NULL : json_dumps(metadata, JSON_COMPACT);
        order->metadata = span_of(*ret_metadata);
    }
    if (r >= 0 && expires && !json_is_null(expires)) {
        r = batch_expiry(json_string_value(json_object_get(expires, "anchor")),
                         json_integer_value(json_object_get(expires, "seconds")),
                         &order->output_keep_ms, reterr);
    }
    return r;
}

static void handle_create(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    _cleanup_(freep) char *metadata = NULL;
    struct batch_order order = { 0 };
    struct error err = { 0 };
    json_t *json = NULL;
    int r = json_read(http_exchange_body(x), ORDER_MAX_BYTES, &json, &err);

    if (r >= 0) {
        r = read_order(json, &order, &metadata, &err);
    }
    if (r < 0) {
        refuse(x, &err);
    } else {
        batches_submit(api->in.batches, &order, on_batch, batch_visit_create(api, x));
    }
    json_decref(json);
}

/* ---- asking ---- */

static void on_batches(void *arg, int result, struct batch *const *batches, size_t count, bool more,
                       const struct error *e)
{
    json_t *data;

    if (result < 0) {
        batch_visit_fail(arg, e);
        return;
    }
    data = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(data, batch_json(batches[i]));
    }
    batch_visit_respond(arg, batch_page(data, more));
}

static void handle_list(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    _cleanup_(freep) char *after = http_query_get(http_exchange_head(x)->query, "after");
    unsigned limit;

    if (batch_query_limit(x, LIST_DEFAULT, LIST_MAX, &limit)) {
        batches_list(api->in.batches, after, limit, on_batches, batch_visit_create(api, x));
    }
}

static void handle_get(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    char id[48];

    batch_path_id(params, id);
    batches_get(api->in.batches, id, on_batch, batch_visit_create(api, x));
}

static void handle_cancel_batch(void *owner, struct http_exchange *x,
                                const struct route_params *params)
{
    struct api *api = owner;
    char id[48];

    batch_path_id(params, id);
    batches_cancel(api->in.batches, id, on_batch, batch_visit_create(api, x));
}

// clang-format off
const struct route batches_routes[] = {
    { "POST", "/v1/files", SCOPE_INFERENCE, handle_add_file,
      "Stores a file (multipart/form-data: file, purpose \"batch\", expires_after).",
      { NULL, "OpenAIFile", "200 400 413 429 500 503 507", NULL }, true },
    { "GET", "/v1/files", SCOPE_INFERENCE, handle_list_files, "Lists the stored files, the newest first.",
      { NULL, "OpenAIFileList", "200 400 404 500", "purpose:string after:string limit:integer order:string" } },
    { "GET", "/v1/files/{id}", SCOPE_INFERENCE, handle_get_file, "One file, described.",
      { NULL, "OpenAIFile", "200 404 500", NULL } },
    { "GET", "/v1/files/{id}/content", SCOPE_INFERENCE, handle_file_content, "The bytes of a file.",
      { NULL, NULL, "200 404 500", NULL } },
    { "DELETE", "/v1/files/{id}", SCOPE_INFERENCE, handle_remove_file, "Removes a file that no running batch needs.",
      { NULL, "OpenAIFileDeleted", "200 404 409 500 503", NULL } },
    { "POST", "/v1/batches", SCOPE_INFERENCE, handle_create, "Works off a file of requests behind everything else.",
      { "OpenAIBatchRequest", "OpenAIBatch", "200 400 403 404 413 429 500 503", NULL } },
    { "GET", "/v1/batches", SCOPE_INFERENCE, handle_list, "Lists the batches, the newest first.",
      { NULL, "OpenAIBatchList", "200 400 404 500", "after:string limit:integer" } },
    { "GET", "/v1/batches/{id}", SCOPE_INFERENCE, handle_get, "One batch.",
      { NULL, "OpenAIBatch", "200 404 500", NULL } },
    { "POST", "/v1/batches/{id}/cancel", SCOPE_INFERENCE, handle_cancel_batch,
      "Ends a batch; what has been answered by then stands in its files.",
      { NULL, "OpenAIBatch", "200 404 409 500 503", NULL } },
};
// clang-format on
const size_t batches_route_count = ARRAY_SIZE(batches_routes);
