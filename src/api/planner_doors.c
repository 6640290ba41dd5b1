// SPDX-License-Identifier: Apache-2.0
/*
 * What the planner's doors share. They speak as seed 001 did: {"detail": a sentence}, or a list of
 * {loc, msg, type} with a 422 for what has not the right type.
 */
#include <stdlib.h>
#include <string.h>

#include "api/planner_doors_int.h"
#include "base/mem.h"
#include "base/worker.h"
#include "codec/json.h"

enum { RETRY_AFTER_S = 5, REAL_DIGITS = 15, JOBS_MAX = 8 /* of the worker */ };

/* ---- refusing ---- */

/* "model.layers" → ["body", "model", "layers"]; what is a number is one. */
static json_t *location(const char *part, const char *field)
{
    json_t *loc = json_array();
    struct span rest = span_of(field), word;
    int64_t index;

    json_array_append_new(loc, json_string(part));
    while (rest.n > 0) {
        word = span_cut(&rest, '.');
        if (span_to_i64(word, &index) == 0) {
            json_array_append_new(loc, json_integer(index));
        } else {
            json_array_append_new(loc, json_stringn(word.p, word.n));
        }
    }
    return loc;
}

static void refuse_422(struct http_exchange *x, const char *part, const char *field,
                       const char *message)
{
    json_t *errors = json_pack("[{s:o, s:o, s:s}]", "loc", location(part, field), "msg",
                               json_text(message), "type", "value_error");

    respond_schema_errors(x, errors);
    json_decref(errors);
}

void planner_refuse_part(struct http_exchange *x, const char *part, const char *name,
                         const char *message)
{
    refuse_422(x, part, name, message);
}

void planner_refuse(struct http_exchange *x, int result, const char *field, const struct error *e)
{
    char text[16];

    field = field ? field : "";
    if (result == -EPROTO) {
        refuse_422(x, "body", field, e->text);
    } else if (result == -EINVAL && *field && !strstr(e->text, field)) {
        respond_detail(x, 400, "%s: %s", field, e->text);
    } else {
        if (result == -EAGAIN) {
            snprintf(text, sizeof(text), "%d", RETRY_AFTER_S);
            http_exchange_add_header(x, "Retry-After", text);
        }
        respond_detail(x, error_kind(result)->http_status, "%s", e->text);
    }
}

struct evaluations *planner_evaluations(struct api *api, struct http_exchange *x)
{
    if (!api->in.evaluations) {
        respond_detail(x, 503, "the planner's jobs are not served here");
    }
    return api->in.evaluations;
}

/* ---- a request that waits ---- */

static void on_gone(void *arg)
{
    struct planner_visit *v = arg;

    v->x = NULL;
}

static const struct http_exchange_events visit_events = { .on_gone = on_gone };

struct planner_visit *planner_visit_create(struct http_exchange *x)
{
    struct planner_visit *v = xcalloc(1, sizeof(*v));

    v->x = x;
    http_exchange_set_events(x, &visit_events, v);
    return v;
}

static void visit_free(struct planner_visit *v)
{
    free(v->file_name);
    paging_finish(&v->paging);
    free(v);
}

/* An answer whose text is being made; the tree is only read meanwhile. */
struct writing {
    struct job job;
    struct planner_visit *visit;
    json_t *answer;
    char *text;
};

static void run_writing(struct job *job)
{
    struct writing *w = container_of(job, struct writing, job);

    w->text = json_dumps(w->answer, JSON_COMPACT | JSON_REAL_PRECISION(REAL_DIGITS));
}

static void writing_free(struct writing *w)
{
    json_decref(w->answer);
    free(w->text);
    free(w);
}

static void on_written(struct job *job)
{
    struct writing *w = container_of(job, struct writing, job);

    if (w->visit->x && w->text) {
        http_respond(w->visit->x, 200, "application/json", span_of(w->text));
    } else if (w->visit->x) {
        respond_detail(w->visit->x, 500, "there is no memory for so large an answer");
    }
    visit_free(w->visit);
    writing_free(w);
}

/* False: the worker has no room. */
static bool write_later(struct planner_visit *v, json_t *answer)
{
    struct writing *w = xcalloc(1, sizeof(*w));

    *w = (struct writing){
        { .run = run_writing, .done = on_written }, v, json_incref(answer), NULL
    };
    if (worker_submit(planner_worker(v->api), &w->job) == 0) {
        return true;
    }
    writing_free(w);
    return false;
}

/* True: the visit is on its way still. */
static bool send_answer(struct planner_visit *v, json_t *answer)
{
    _cleanup_(freep) char *head = NULL;

    if (v->file_name) {
        head = xasprintf("attachment; filename=\"%s\"", v->file_name);
        http_exchange_add_header(v->x, "Content-Disposition", head);
    }
    if (v->api && !v->csv && write_later(v, answer)) {
        return true;
    }
    if (v->csv) {
        http_respond(v->x, 200, "text/csv; charset=utf-8",
                     (struct span){ json_string_value(answer), json_string_length(answer) });
    } else {
        http_respond_json(v->x, 200, json_incref(answer));
    }
    return false;
}

static bool deleted_none(const json_t *answer)
{
    return json_integer_value(json_object_get(answer, "deleted_count")) == 0;
}

void planner_answered(void *arg, int result, json_t *answer, const char *field,
                      const struct error *e)
{
    struct planner_visit *v = arg;

    if (v->x && result < 0) {
        planner_refuse(v->x, result, field, e);
    } else if (v->x && v->deletes_one && deleted_none(answer)) {
        respond_detail(v->x, 404, "there is no such experiment");
    } else if (v->x) {
        if (v->list) {
            paging_apply(&v->paging, answer, v->list);
        }
        if (send_answer(v, answer)) {
            return;
        }
    }
    visit_free(v);
}

/* ---- reading ---- */

json_t *planner_body(struct http_exchange *x)
{
    json_t *body = read_body(x);

    if (body && !json_is_object(body)) {
        refuse_422(x, "body", "", "the body must be a JSON object");
        json_decref(body);
        return NULL;
    }
    return body;
}

const json_t *planner_list(struct http_exchange *x, const json_t *body, const char *name,
                           json_type type, size_t max)
{
    const json_t *list = json_object_get(body, name);
    _cleanup_(freep) char *message = NULL;
    const json_t *item;
    size_t i;
    bool good = json_is_array(list) && json_array_size(list) >= 1 && json_array_size(list) <= max;

    json_array_foreach(UNCONST(json_t *, list), i, item)
    {
        good = good && json_typeof(item) == type;
    }
    if (good) {
        return list;
    }
    message = xasprintf("it must be a list of 1 to %zu %s", max,
                        type == JSON_STRING ? "texts" : "whole numbers");
    refuse_422(x, "body", name, message);
    return NULL;
}

char *planner_path_id(const struct route_params *params)
{
    char *text = http_decode(params->values[0], false);

    if (text && is_valid_utf8(text, strlen(text))) {
        return text;
    }
    free(text);
    return xstrdup("?");
}

/* ---- the worker ---- */

struct worker *planner_worker(struct api *api)
{
    if (!api->planner_worker) {
        api->planner_worker = worker_create(
            api->in.world, &(struct worker_options){
                               .name = "planner doors", .threads = 1, .max_queued = JOBS_MAX });
    }
    return api->planner_worker;
}
