// SPDX-License-Identifier: Apache-2.0
/* The api object: its tables, its phase, and what all handlers share. */
#include "api/api.h"

#include <assert.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "api/front.h"
#include "api/task_doors_int.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "base/worker.h"
#include "codec/json.h"

enum { KEEP_ALIVE_MS = 15000 };

static void on_keep_alive(void *arg)
{
    struct api *api = arg;

    subscribers_keep_alive(api);
    timer_start(&api->keep_alive, KEEP_ALIVE_MS);
}

// clang-format off
static const struct option_row rows[] = {
    { "task_models.openai_url", OPTION_STRING, "https://api.openai.com/v1", 0, 0, NULL, true, false,
      "Where models of type openai are that name no base_url (POST /api/v1/models)." },
    { "files.roots", OPTION_LIST, "", 0, 0, NULL, true, false,
      "Folders that the file browser may show, with all below them; empty: those in which the files of the defined models lie." },
};
// clang-format on
const struct option_table api_options = { rows, ARRAY_SIZE(rows) };

static void set_tables(struct api *api)
{
    // clang-format off
    const struct route_table tables[API_TABLES] = {
        { "models",         SHAPE_DETAIL,   models_routes,         models_route_count,         api },
        { "events",         SHAPE_DETAIL,   events_routes,         events_route_count,         api },
        { "operations",     SHAPE_DETAIL,   ops_routes,            ops_route_count,            api },
        { "proxy",          SHAPE_DETAIL,   proxy_routes,          proxy_route_count,          api },
        { "system",         SHAPE_DETAIL,   system_routes,         system_route_count,         api },
        { "scheduler",      SHAPE_DETAIL,   scheduler_routes,      scheduler_route_count,      api },
        { "monitoring",     SHAPE_DETAIL,   monitoring_routes,     monitoring_route_count,     api },
        { "tasks",          SHAPE_ENVELOPE, tasks_routes,          tasks_route_count,          api },
        { "task models",    SHAPE_ENVELOPE, task_models_routes,    task_models_route_count,    api },
        { "task statistics", SHAPE_ENVELOPE, task_stats_routes,    task_stats_route_count,     api },
        { "websockets",     SHAPE_DETAIL,   websockets_routes,     websockets_route_count,     api },
        { "task instances", SHAPE_DETAIL,   task_instances_routes, task_instances_route_count, api },
        { "batches",        SHAPE_OPENAI,   batches_routes,        batches_route_count,        api },
        { "evaluations",    SHAPE_DETAIL,   evaluation_routes,     evaluation_route_count,     api },
        { "planner",        SHAPE_DETAIL,   planner_routes,        planner_route_count,        api },
        { "planner documents", SHAPE_DETAIL, documents_routes,     documents_route_count,      api },
        { "simulation",     SHAPE_DETAIL,   simulate_routes,       simulate_route_count,       api },
        { "file browser",   SHAPE_DETAIL,   browse_routes,         browse_route_count,         api },
    };
    // clang-format on

    memcpy(api->tables, tables, sizeof(tables));
}

struct api *api_create(const struct api_in *in)
{
    struct api *api = xcalloc(1, sizeof(*api));

    api->in = *in;
    list_init(&api->waits);
    list_init(&api->subscribers);
    list_init(&api->followers);
    list_init(&api->log_followers);
    list_init(&api->sockets);
    list_init(&api->model_edits);
    set_tables(api);
    api->made_ms = world_now_ms(in->world);
    timer_init(&api->keep_alive, in->world, "events keep-alive", on_keep_alive, api);
    timer_start(&api->keep_alive, KEEP_ALIVE_MS);
    return api;
}

static void detach_waits(struct api *api)
{
    struct wait *w, *tmp;

    list_for_each_safe (w, tmp, &api->waits, node) {
        list_remove(&w->node);
        w->api = NULL;
        if (timer_active(&w->timer)) { /* nothing else will come back to it */
            wait_free(w);
        }
    }
}

struct api *api_destroy(struct api *api)
{
    if (!api) {
        return NULL;
    }
    timer_stop(&api->keep_alive);
    detach_waits(api);
    subscribers_detach(api);
    followers_end(api);
    log_followers_end(api);
    sockets_free(api);
    model_edits_detach(api);
    worker_destroy(api->key_worker);
    worker_destroy(api->planner_worker);
    if (api->browser_worker) { /* a file system may hang: not waited for */
        worker_abandon(api->browser_worker);
    }
    free(api);
    return NULL;
}

void api_add_routes(struct api *api, struct router *router)
{
    for (size_t i = 0; i < API_TABLES; i++) {
        router_add(router, &api->tables[i]);
    }
}

void api_reconfigure(struct api *api, const struct config *config)
{
    api->in.config = config;
}

void api_set_phase(struct api *api, enum api_phase phase)
{
    if (phase == API_SERVING && api->phase == API_STARTING) {
        task_keys_sweep(api);
    }
    api->phase = phase;
    if (phase == API_DRAINING) {
        subscribers_end(api);
        followers_end(api);
        log_followers_end(api);
        sockets_end(api);
    }
}

/* ---- answers ---- */

void respond_detail(struct http_exchange *x, int status, const char *fmt, ...)
{
    va_list ap;
    char *text;

    va_start(ap, fmt);
    text = xvasprintf(fmt, ap);
    va_end(ap);
    http_respond_json(x, status, json_pack("{s:o}", "detail", json_text(text)));
    free(text);
}

void respond_done(struct http_exchange *x, int status, const char *message, const char *model_id)
{
    http_respond_json(
        x, status,
        json_pack("{s:b, s:s, s:s}", "success", 1, "message", message, "model_id", model_id));
}

void respond_schema_errors(struct http_exchange *x, json_t *errors)
{
    http_respond_json(x, 422, json_pack("{s:O}", "detail", errors));
}

char *join_strings(const json_t *array)
{
    struct buf b = BUF_INIT(64 * 1024);
    size_t i;
    json_t *item;

    json_array_foreach((json_t *)(uintptr_t)array, i, item)
    {
        if (i > 0) {
            buf_puts(&b, "; ");
        }
        buf_puts(&b, json_string_value(item));
    }
    buf_puts(&b, "");
    return b.mem ? buf_take(&b, NULL) : xstrdup("");
}

json_t *json_text(const char *s)
{
    json_t *json = s ? json_string(s) : json_null();
    char *copy;

    if (json) {
        return json;
    }
    copy = xstrdup(s);
    for (char *p = copy; *p; p++) {
        *p = (unsigned char)*p < 0x80 ? *p : '?';
    }
    json = json_string(copy);
    free(copy);
    return json;
}

json_t *json_time(int64_t wall_ms)
{
    char text[TIMEFMT_SIZE];

    if (wall_ms == 0) {
        return json_null();
    }
    timefmt_iso(wall_ms, text);
    return json_string(text);
}

json_t *json_now(struct api *api)
{
    return json_time(world_wall_ms(api->in.world));
}

json_t *read_body(struct http_exchange *x)
{
    const struct span body = http_exchange_body(x);
    struct error err = { 0 };
    json_t *json, *errors;

    if (json_read(body, FRONT_MANAGEMENT_BODY_MAX, &json, &err) == 0) {
        return json;
    }
    errors =
        json_pack("[{s:[s], s:s, s:s}]", "loc", "body", "msg", err.text, "type", "json_invalid");
    respond_schema_errors(x, errors);
    json_decref(errors);
    return NULL;
}

/* ---- the members of a body ---- */

static void complain_at(json_t *errors, const char *name, const char *message, const char *type)
{
    json_array_append_new(errors, json_pack("{s:[s, s], s:s, s:s}", "loc", "body", name, "msg",
                                            message, "type", type));
}

bool body_read(struct http_exchange *x, struct body *ret)
{
    json_t *json = read_body(x), *errors;

    if (!json) {
        return false;
    }
    if (!json_is_object(json)) {
        errors = json_pack("[{s:[s], s:s, s:s}]", "loc", "body", "msg",
                           "the body must be a JSON object", "type", "dict_type");
        respond_schema_errors(x, errors);
        json_decref(errors);
        json_decref(json);
        return false;
    }
    *ret = (struct body){ .json = json, .errors = json_array() };
    return true;
}

void body_complain(struct body *b, const char *name, const char *message, const char *type)
{
    complain_at(b->errors, name, message, type);
}

bool body_bool(struct body *b, const char *name, bool fallback)
{
    const json_t *value = json_object_get(b->json, name);

    if (value && !json_is_boolean(value)) {
        complain_at(b->errors, name, "must be true or false", "bool_type");
    }
    return value ? json_is_true(value) : fallback;
}

int body_int(struct body *b, const char *name, int fallback)
{
    const json_t *value = json_object_get(b->json, name);

    if (value && !json_is_integer(value)) {
        complain_at(b->errors, name, "must be a whole number", "int_type");
    }
    return value ? (int)MAX_OF(MIN_OF(json_integer_value(value), INT_MAX), INT_MIN) : fallback;
}

double body_number(struct body *b, const char *name, double fallback)
{
    const json_t *value = json_object_get(b->json, name);

    if (value && !json_is_number(value)) {
        complain_at(b->errors, name, "must be a number", "float_type");
    }
    return value ? json_number_value(value) : fallback;
}

const char *body_text(struct body *b, const char *name, const char *fallback)
{
    const json_t *value = json_object_get(b->json, name);

    if (value && !json_is_string(value)) {
        complain_at(b->errors, name, "must be a string", "string_type");
    }
    return json_is_string(value) ? json_string_value(value) : fallback;
}

bool body_is_good(struct body *b, struct http_exchange *x)
{
    if (json_array_size(b->errors) == 0) {
        return true;
    }
    respond_schema_errors(x, b->errors);
    return false;
}

void body_finish(struct body *b)
{
    json_decref(b->json);
    json_decref(b->errors);
}

uint64_t query_number(struct http_exchange *x, const char *name, uint64_t fallback)
{
    _cleanup_(freep) char *text = http_query_get(http_exchange_head(x)->query, name);
    uint64_t n;

    if (!text || span_to_u64(span_of(text), &n) < 0) {
        return fallback;
    }
    return n;
}

bool query_flag(struct http_exchange *x, const char *name)
{
    _cleanup_(freep) char *text = http_query_get(http_exchange_head(x)->query, name);

    return text && !str_eq(text, "0") && !str_eq(text, "false");
}

bool query_from_one(struct http_exchange *x, const char *name, uint64_t fallback, uint64_t max,
                    uint64_t *ret)
{
    _cleanup_(freep) char *text = http_query_get(http_exchange_head(x)->query, name);
    json_t *errors;

    *ret = fallback;
    if (!text || (span_to_u64(span_of(text), ret) == 0 && *ret >= 1 && *ret <= max)) {
        return true;
    }
    errors = json_pack("[{s:[s, s], s:o, s:s}]", "loc", "query", name, "msg",
                       json_sprintf("must be a whole number from 1 to %lu", (unsigned long)max),
                       "type", "value_error");
    respond_schema_errors(x, errors);
    json_decref(errors);
    return false;
}

bool accepts(struct http_exchange *x, const char *type)
{
    const struct span accept = http_header_get(http_exchange_head(x), "Accept");

    return accept.p && memmem(accept.p, accept.n, type, strlen(type));
}

/* ---- a request that waits ---- */

static void on_wait_gone(void *arg)
{
    struct wait *w = arg;

    w->x = NULL;
    if (timer_active(
            &w->timer)) { /* only its timer would come back to it, and there is nobody to answer */
        wait_free(w);
    }
}

static const struct http_exchange_events wait_events = { .on_gone = on_wait_gone };

static void on_wait_timer(void *arg);

struct wait *wait_create(struct api *api, struct http_exchange *x, const char *public_id,
                         int64_t model_id)
{
    struct wait *w = xcalloc(1, sizeof(*w));

    w->api = api;
    w->x = x;
    w->public_id = xstrdup(public_id);
    w->model_id = model_id;
    w->status = 200;
    w->until_settled = query_flag(x, "wait");
    timer_init(&w->timer, api->in.world, "api wait", on_wait_timer, w);
    list_append(&api->waits, &w->node);
    http_exchange_set_events(x, &wait_events, w);
    return w;
}

void wait_free(struct wait *w)
{
    timer_stop(&w->timer);
    list_remove(&w->node);
    free(w->public_id);
    free(w);
}

enum { WAIT_STEP_MS = 50 };

static void on_wait_timer(void *arg)
{
    struct wait *w = arg;

    if (w->settled(w)) {
        wait_free(w);
        return;
    }
    if (world_now_ms(w->api->in.world) >= w->deadline_ms) {
        respond_detail(w->x, 500, "model '%s' has not come to rest in time; it goes on",
                       w->public_id);
        wait_free(w);
        return;
    }
    timer_start(&w->timer, WAIT_STEP_MS);
}
