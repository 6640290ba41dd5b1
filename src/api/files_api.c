// SPDX-License-Identifier: Apache-2.0
/*
 * OpenAI's /v1/files, as batches need them. A form's file is stored from the request's body piece
 * by piece, and sent back piece by piece as the client takes it: neither is held a second time.
 */
#include <stdlib.h>

#include "api/batch_doors_int.h"
#include "base/mem.h"
#include "codec/multipart.h"

enum {
    QUEUED_MAX = 256 * 1024,
    FILENAME_MAX_BYTES = 255,
    LIST_DEFAULT = 10000,
    FORM_TURN_BYTES = 1024 * 1024,
};

/* ---- views ---- */

static json_t *file_json(const struct batch_file *f)
{
    json_t *json =
        json_pack("{s:s, s:s, s:I, s:I, s:o, s:s, s:s}", "id", f->public_id, "object", "file",
                  "bytes", (json_int_t)f->bytes, "created_at", (json_int_t)(f->created_ms / 1000),
                  "filename", json_text(f->filename), "purpose", f->purpose, "status", "processed");

    if (f->expires_ms > 0) {
        json_object_set_new(json, "expires_at", json_integer(f->expires_ms / 1000));
    }
    return json;
}

static void on_file(void *arg, int result, const struct batch_file *f, const struct error *e)
{
    if (result < 0) {
        batch_visit_fail(arg, e);
    } else {
        batch_visit_respond(arg, file_json(f));
    }
}

/* ---- adding ---- */

struct form {
    struct span data;
    char *filename, *purpose;
    uint64_t keep_ms;
};

static void form_finish(struct form *f)
{
    free(f->filename);
    free(f->purpose);
}

/* A plain field's text; NULL when it is not there, or not good UTF-8. */
static int find_text(const struct multipart *m, const char *name, char **ret, struct error *reterr)
{
    const struct multipart_part *part;
    int r = multipart_find(m, name, &part, reterr);

    if (r < 0) {
        return r;
    }
    if (part && (memchr(part->data.p, '\0', part->data.n) || part->data.n > 1024 ||
                 !is_valid_utf8(part->data.p, part->data.n))) {
        return error_set(reterr, -EINVAL, "'%s' is no good text", name);
    }
    *ret = part ? span_dup(part->data) : NULL;
    return 0;
}

static int read_file_part(const struct multipart *m, struct form *f, struct error *reterr)
{
    const struct multipart_part *part;
    int r = multipart_find(m, "file", &part, reterr);

    if (r < 0) {
        return r;
    }
    if (!part || !part->filename.p) {
        return error_set(reterr, -EINVAL, "the form has no file of the name 'file'");
    }
    f->data = part->data;
    f->filename = multipart_text(part->filename);
    if (!*f->filename || strlen(f->filename) > FILENAME_MAX_BYTES ||
        !is_valid_utf8(f->filename, strlen(f->filename))) {
        return error_set(reterr, -EINVAL, "the file's name must be a text of 1 to %d bytes",
                         FILENAME_MAX_BYTES);
    }
    return 0;
}

static int read_expiry(const struct multipart *m, struct form *f, struct error *reterr)
{
    _cleanup_(freep) char *anchor = NULL, *seconds = NULL;
    int64_t n = 0;
    int r = find_text(m, "expires_after[anchor]", &anchor, reterr);

    r = r < 0 ? r : find_text(m, "expires_after[seconds]", &seconds, reterr);
    if (r < 0 || (!anchor && !seconds)) {
        return r;
    }
    if (!seconds || span_to_i64(span_of(seconds), &n) < 0) {
        return error_set(reterr, -EINVAL, "'expires_after[seconds]' must be a number");
    }
    return batch_expiry(anchor, n, &f->keep_ms, reterr);
}

static int take_form(const struct multipart *m, struct form *f, struct error *reterr)
{
    int r = find_text(m, "purpose", &f->purpose, reterr);

    if (r < 0) {
        return r;
    }
    if (!f->purpose || !str_eq(f->purpose, "batch")) {
        return error_set(reterr, -EINVAL, "'purpose' must be 'batch': files serve batches only");
    }
    r = read_file_part(m, f, reterr);
    return r < 0 ? r : read_expiry(m, f, reterr);
}

static void on_added(void *arg, int result, const struct batch_file *f, const struct error *e)
{
    struct batch_visit *v = arg;

    v->upload = NULL;
    on_file(v, result, f, e);
}

/* A form that is looked through, some of it each turn. */
struct reading {
    struct api *api;
    struct http_exchange *x;
    struct multipart form;
    struct timer timer;
};

static void reading_free(struct reading *r)
{
    timer_stop(&r->timer);
    free(r);
}

static void on_reading_gone(void *arg)
{
    reading_free(arg);
}

static const struct http_exchange_events reading_events = { .on_gone = on_reading_gone };

static void add_file(struct api *api, struct http_exchange *x, const struct multipart *m)
{
    _cleanup_(form_finish) struct form form = { 0 };
    struct error err = { 0 };
    struct batch_visit *v;

    if (take_form(m, &form, &err) < 0) {
        respond_error(x, SHAPE_OPENAI, &err);
        return;
    }
    v = batch_visit_create(api, x);
    v->upload = batches_add_file(api->in.batches, form.filename, form.purpose, form.data,
                                 form.keep_ms, on_added, v);
}

static void on_turn(void *arg)
{
    struct reading *r = arg;
    struct error err = { 0 };
    const int left = multipart_step(&r->form, FORM_TURN_BYTES, &err);

    if (left > 0) {
        timer_start(&r->timer, 0);
        return;
    }
    if (left < 0) {
        respond_error(r->x, SHAPE_OPENAI, &err);
    } else {
        add_file(r->api, r->x, &r->form);
    }
    reading_free(r);
}

void handle_add_file(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    struct reading *r = xcalloc(1, sizeof(*r));
    struct error err = { 0 };

    r->api = api;
    r->x = x;
    timer_init(&r->timer, api->in.world, "form", on_turn, r);
    if (multipart_begin(&r->form, http_header_get(http_exchange_head(x), "content-type"),
                        http_exchange_body(x), &err) < 0) {
        respond_error(x, SHAPE_OPENAI, &err);
        reading_free(r);
        return;
    }
    http_exchange_set_events(x, &reading_events, r);
    on_turn(r);
}

/* ---- asking ---- */

static void on_files(void *arg, int result, struct batch_file *const *files, size_t count,
                     bool more, const struct error *e)
{
    json_t *data;

    if (result < 0) {
        batch_visit_fail(arg, e);
        return;
    }
    data = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(data, file_json(files[i]));
    }
    batch_visit_respond(arg, batch_page(data, more));
}

void handle_list_files(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct span query = http_exchange_head(x)->query;
    _cleanup_(freep) char *purpose = http_query_get(query, "purpose");
    _cleanup_(freep) char *after = http_query_get(query, "after");
    _cleanup_(freep) char *order = http_query_get(query, "order");
    struct batch_files_query q = { .purpose = purpose, .after = after };

    if (order && !str_eq(order, "asc") && !str_eq(order, "desc")) {
        batch_refuse(x, -EINVAL, "'order' must be asc or desc");
        return;
    }
    q.ascending = order && str_eq(order, "asc");
    if (batch_query_limit(x, LIST_DEFAULT, LIST_DEFAULT, &q.limit)) {
        batches_list_files(api->in.batches, &q, on_files, batch_visit_create(api, x));
    }
}

void handle_get_file(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    char id[48];

    batch_path_id(params, id);
    batches_get_file(api->in.batches, id, on_file, batch_visit_create(api, x));
}

static void on_removed(void *arg, int result, const struct batch_file *f, const struct error *e)
{
    if (result < 0) {
        batch_visit_fail(arg, e);
    } else {
        batch_visit_respond(
            arg, json_pack("{s:s, s:s, s:b}", "id", f->public_id, "object", "file", "deleted", 1));
    }
}

void handle_remove_file(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    char id[48];

    batch_path_id(params, id);
    batches_remove_file(api->in.batches, id, on_removed, batch_visit_create(api, x));
}

/* ---- content ---- */

static void on_piece(void *arg, int result, struct span piece, const struct error *e);

static void read_next(struct batch_visit *v)
{
    v->reading = true;
    batches_read_file(v->api->in.batches, v->public_id, v->offset, on_piece, v);
}

static void on_content_gone(void *arg)
{
    struct batch_visit *v = arg;

    v->x = NULL;
    if (!v->reading) { /* nothing else comes back to it */
        free(v);
    }
}

static void on_content_drain(void *arg)
{
    struct batch_visit *v = arg;

    if (!v->reading) {
        read_next(v);
    }
}

static const struct http_exchange_events content_events = {
    .on_gone = on_content_gone,
    .on_drain = on_content_drain,
};

/* The file may be removed meanwhile: then the client sees that its copy is not whole. */
static void on_piece(void *arg, int result, struct span piece, const struct error *e)
{
    struct batch_visit *v = arg;

    v->reading = false;
    if (!v->x) {
        free(v);
        return;
    }
    if (result < 0 || !piece.p) {
        http_respond_abort(v->x);
        free(v);
        return;
    }
    piece.n = (size_t)MIN_OF((int64_t)piece.n, v->bytes - v->offset);
    v->offset += (int64_t)piece.n;
    http_respond_write(v->x, piece.p, piece.n);
    if (v->offset == v->bytes) {
        http_respond_end(v->x);
        free(v);
    } else if (http_exchange_queued(v->x) < QUEUED_MAX) {
        read_next(v);
    }
}

static void on_content_file(void *arg, int result, const struct batch_file *f,
                            const struct error *e)
{
    struct batch_visit *v = arg;

    if (result < 0 || !v->x) {
        batch_visit_fail(v, e);
        return;
    }
    v->bytes = f->bytes;
    http_exchange_set_events(v->x, &content_events, v);
    http_respond_start(v->x, 200, "application/octet-stream", f->bytes);
    if (f->bytes == 0 || span_eq(http_exchange_head(v->x)->method, "HEAD")) {
        http_respond_end(v->x);
        free(v);
        return;
    }
    read_next(v);
}

void handle_file_content(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    struct batch_visit *v = batch_visit_create(api, x);

    batch_path_id(params, v->public_id);
    batches_get_file(api->in.batches, v->public_id, on_content_file, v);
}
