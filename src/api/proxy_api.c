// SPDX-License-Identifier: Apache-2.0
/*
 * The proxy door, /api/proxy: which instances take requests, what they and the gateway have
 * counted, what was asked last, how instances are chosen, and any path of a model's engine. Every
 * figure is the gateway's or dispatch's own; nothing is counted here. Times are in milliseconds,
 * rates in percent.
 */
#include <stdlib.h>

#include "api/api_int.h"
#include "api/paging.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "gateway/gateway.h"
#include "gateway/history.h"

enum {
    HOURS_DEFAULT = 24,
    HOURS_MAX = 8760,
    LIMIT_DEFAULT = 100,
};

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

/* ---- targets ---- */

struct target_counts {
    int targets, active;
};

static bool is_active(const struct instance *inst, const struct dispatch_target *t)
{
    return inst->state == INSTANCE_READY && t->breaker != BREAKER_OPEN;
}

static json_t *target_json(struct api *api, const struct model *model, const struct instance *inst,
                           struct target_counts *counts)
{
    struct dispatch_target t = { 0 };
    const bool active = dispatch_target(api->in.dispatch, inst->uuid, &t) && is_active(inst, &t);

    counts->targets++;
    counts->active += active;
    return json_pack("{s:s, s:o, s:s, s:i, s:i, s:b, s:o, s:i, s:I, s:I, s:I, s:I}", "model_id",
                     model->config->id, "endpoint", endpoint_json(api, inst), "framework",
                     model->config->framework, "priority", model->config->priority, "weight",
                     (int)inst->weight, "active", active, "last_health_check",
                     json_time(inst->last_probe_wall_ms), "consecutive_failures",
                     (int)t.consecutive_failures, "total_requests", (json_int_t)t.requests,
                     "total_response_time", (json_int_t)t.total_response_ms, "error_count",
                     (json_int_t)t.errors, "average_response_time", (json_int_t)t.response_ms);
}

static json_t *targets_of(struct api *api, const struct model *model, struct target_counts *counts)
{
    const struct instance *inst;
    json_t *list = json_array();
    size_t cursor = 0;

    while ((inst = engines_next(api->in.engines, &cursor))) {
        if (inst->model_id == model->id) {
            json_array_append_new(list, target_json(api, model, inst, counts));
        }
    }
    return list;
}

/* The model that ?model_id= names; false: there is none of that name, and that is answered. */
static bool model_of_query(struct api *api, struct http_exchange *x, const struct model **ret)
{
    _cleanup_(freep) char *id = http_query_get(http_exchange_head(x)->query, "model_id");

    *ret = id && *id ? models_find(api->in.models, span_of(id)) : NULL;
    if (id && *id && !*ret) {
        respond_detail(x, 404, "there is no model '%s'", id);
        return false;
    }
    return true;
}

static void handle_targets(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    struct target_counts counts = { 0 };
    const struct model *model, *only;
    json_t *targets;
    size_t cursor = 0;

    if (!model_of_query(api, x, &only)) {
        return;
    }
    targets = json_object();
    while ((model = models_next(api->in.models, &cursor))) {
        if (!only || only == model) {
            json_object_set_new(targets, model->config->id, targets_of(api, model, &counts));
        }
    }
    http_respond_json(x, 200,
                      json_pack("{s:o, s:i, s:o}", "targets", targets, "total_models",
                                (int)json_object_size(targets), "timestamp", json_now(api)));
}

/* ---- figures ---- */

static void add_figures(struct model_figures *sum, const struct model_figures *f)
{
    sum->requests += f->requests;
    sum->errors += f->errors;
    sum->total_response_ms += f->total_response_ms;
}

static json_t *summary_json(size_t models, const struct target_counts *counts,
                            const struct model_figures *sum)
{
    return json_pack("{s:i, s:i, s:i, s:I, s:I, s:f, s:f}", "total_models", (int)models,
                     "total_targets", counts->targets, "active_targets", counts->active,
                     "total_requests", (json_int_t)sum->requests, "total_errors",
                     (json_int_t)sum->errors, "average_response_time",
                     ratio((double)sum->total_response_ms, (double)sum->requests), "error_rate",
                     100 * ratio((double)sum->errors, (double)sum->requests));
}

static void handle_stats(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    struct target_counts all = { 0 };
    struct model_figures sum = { 0 };
    json_t *models = json_object();
    const struct model *model;
    size_t cursor = 0;

    while ((model = models_next(api->in.models, &cursor))) {
        const struct model_figures f = gateway_model_figures(api->in.gateway, model->config->id);
        struct target_counts own = { 0 };
        json_t *targets = targets_of(api, model, &own);

        json_object_set_new(models, model->config->id,
                            json_pack("{s:i, s:i, s:o}", "total_targets", own.targets,
                                      "active_targets", own.active, "targets", targets));
        all.targets += own.targets;
        all.active += own.active;
        add_figures(&sum, &f);
    }
    http_respond_json(x, 200,
                      json_pack("{s:o, s:o, s:o}", "summary",
                                summary_json(json_object_size(models), &all, &sum), "models",
                                models, "timestamp", json_now(api)));
}

/* What stands in the history of a model since a moment. */
struct window {
    uint64_t requests, errors, total_ms, prompt_tokens, output_tokens;
    bool whole; /* the history reaches back that far */
};

static struct window look_back(struct api *api, const char *id, int64_t since_ms)
{
    const struct history *h = gateway_history(api->in.gateway);
    const struct request_record *r;
    struct window w = { .whole = true };
    size_t n = 0;

    for (; (r = history_at(h, n)); n++) {
        if (r->wall_ms < since_ms) {
            continue; /* in the order of their ends, not of their beginnings */
        }
        if (str_eq(r->model, id)) {
            w.requests++;
            w.errors += r->status >= 500;
            w.total_ms += r->total_ms;
            w.prompt_tokens += r->prompt_tokens;
            w.output_tokens += r->output_tokens;
        }
    }
    if (n >= HISTORY_KEPT) {
        w.whole = history_at(h, n - 1)->wall_ms < since_ms;
    }
    return w;
}

static json_t *window_json(struct api *api, const struct model *model, uint64_t hours)
{
    const int64_t now = world_wall_ms(api->in.world);
    const struct window w = look_back(api, model->config->id, now - (int64_t)hours * MS_PER_HOUR);
    const struct model_figures f = gateway_model_figures(api->in.gateway, model->config->id);
    struct target_counts counts = { 0 };

    json_decref(targets_of(api, model, &counts));
    return json_pack("{s:I, s:I, s:f, s:f, s:f, s:I, s:I, s:b, s:i, s:i, s:{s:I, s:I, s:I}}",
                     "request_count", (json_int_t)w.requests, "error_count", (json_int_t)w.errors,
                     "average_response_time", ratio((double)w.total_ms, (double)w.requests),
                     "error_rate", 100 * ratio((double)w.errors, (double)w.requests), "throughput",
                     (double)w.requests / ((double)hours * 3600), "prompt_tokens",
                     (json_int_t)w.prompt_tokens, "output_tokens", (json_int_t)w.output_tokens,
                     "complete", w.whole, "total_targets", counts.targets, "active_targets",
                     counts.active, "since_start", "total_requests", (json_int_t)f.requests,
                     "total_errors", (json_int_t)f.errors, "total_response_time",
                     (json_int_t)f.total_response_ms);
}

static void handle_model_stats(void *owner, struct http_exchange *x,
                               const struct route_params *params)
{
    struct api *api = owner;
    const struct model *model = model_of_path(api, x, params);
    uint64_t hours;

    if (!model || !query_from_one(x, "hours", HOURS_DEFAULT, HOURS_MAX, &hours)) {
        return;
    }
    http_respond_json(x, 200,
                      json_pack("{s:s, s:I, s:o, s:o}", "model_id", model->config->id,
                                "time_range_hours", (json_int_t)hours, "stats",
                                window_json(api, model, hours), "timestamp", json_now(api)));
}

/* ---- history ---- */

static json_t *record_json(const struct request_record *r)
{
    json_t *json =
        json_pack("{s:o, s:o, s:o, s:o, s:i, s:o, s:I, s:I, s:I, s:o, s:o, s:I, s:I, s:I, s:I}",
                  "model_id", json_text(r->model), "timestamp", json_time(r->wall_ms), "method",
                  json_text(r->method), "path", json_text(r->path), "status_code", r->status,
                  "status_class", json_sprintf("%dxx", r->status / 100), "response_time",
                  (json_int_t)r->total_ms, "request_size", (json_int_t)r->request_bytes,
                  "response_size", (json_int_t)r->response_bytes, "client_ip", json_text(r->client),
                  "user_agent", json_text(r->user_agent), "queue_time", (json_int_t)r->queue_ms,
                  "first_byte_time", (json_int_t)r->first_byte_ms, "prompt_tokens",
                  (json_int_t)r->prompt_tokens, "output_tokens", (json_int_t)r->output_tokens);

    if (r->instance[0]) {
        json_object_set_new(json, "instance", json_text(r->instance));
    }
    if (r->error[0]) {
        json_object_set_new(json, "error_message", json_text(r->error));
    }
    return json;
}

static void handle_history(void *owner, struct http_exchange *x, const struct route_params *params)
{
    static const struct paging_kind kind = {
        .sorts = "timestamp model_id method path status_code response_time queue_time "
                 "first_byte_time prompt_tokens output_tokens request_size response_size client_ip",
        .texts = "model_id path client_ip user_agent error_message instance",
        .filters = "model_id status_class method",
    };
    struct api *api = owner;
    const struct history *h = gateway_history(api->in.gateway);
    const struct request_record *r;
    json_t *list, *answer;
    struct paging paging;

    if (!paging_read(x, &kind, &paging)) {
        return;
    }
    if (paging.limit == UINT64_MAX) {
        paging.limit = LIMIT_DEFAULT;
    }
    list = json_array();
    for (size_t n = 0; (r = history_at(h, n)); n++) {
        json_array_append_new(list, record_json(r));
    }
    answer = json_pack("{s:o, s:o, s:I, s:o}", "requests", list, "model_id_filter",
                       json_text(paging.filters[0]), "limit", (json_int_t)paging.limit, "timestamp",
                       json_now(api));
    paging_apply(&paging, answer, "requests");
    paging_finish(&paging);
    http_respond_json(x, 200, answer);
}

/* ---- strategy ---- */

/* How instances of a model are chosen; of those that have no strategy of their own, when it is
 * NULL.
 */
static void handle_load_balance(void *owner, struct http_exchange *x,
                                const struct route_params *params)
{
    struct api *api = owner;
    _cleanup_(freep) char *name = http_query_get(http_exchange_head(x)->query, "strategy");
    const struct model *model;
    const char *used;
    struct error e = { 0 };

    if (!model_of_query(api, x, &model)) {
        return;
    }
    if (dispatch_set_strategy(api->in.dispatch, model ? model->id : 0,
                              !name                     ? ""
                              : str_eq(name, "default") ? NULL
                                                        : name,
                              &e) < 0) {
        respond_detail(x, 400, "%s", e.text);
        return;
    }
    used = dispatch_strategy(api->in.dispatch, model ? model->id : 0)->name;
    http_respond_json(x, 200,
                      json_pack("{s:b, s:o, s:s, s:o}", "success", 1, "message",
                                json_sprintf("instances are chosen by %s from now on", used),
                                "strategy", used, "updated_at", json_now(api)));
}

static json_t *strategies_of_models(const struct api *api)
{
    json_t *list = json_object();
    const struct model *model;
    size_t cursor = 0;

    while ((model = models_next(api->in.models, &cursor))) {
        json_object_set_new(list, model->config->id,
                            json_string(dispatch_strategy(api->in.dispatch, model->id)->name));
    }
    return list;
}

static void handle_strategies(void *owner, struct http_exchange *x,
                              const struct route_params *params)
{
    struct api *api = owner;
    json_t *list = json_array();
    const struct strategy *s;
    size_t cursor = 0;

    while ((s = strategy_next(&cursor))) {
        json_array_append_new(list,
                              json_pack("{s:s, s:s}", "name", s->name, "description", s->help));
    }
    http_respond_json(x, 200,
                      json_pack("{s:s, s:o, s:o, s:o}", "strategy",
                                dispatch_strategy(api->in.dispatch, 0)->name, "models",
                                strategies_of_models(api), "strategies", list, "timestamp",
                                json_now(api)));
}

/* ---- passing on ---- */

/* What stands behind /api/proxy/models/{id}, as it came; owned by the caller. */
static char *path_behind(const struct http_exchange *x)
{
    struct span path = http_exchange_head(x)->path;

    for (int i = 0; i < 5; i++) {
        span_cut(&path, '/');
    }
    return xasprintf("/%.*s", (int)path.n, path.p ? path.p : "");
}

/* A failure that is not the engine's, in this door's words. */
static void refuse_pass(struct http_exchange *x, const char *model_id, const struct error *e)
{
    _cleanup_(freep) char *path = path_behind(x);

    http_respond_json(x, error_kind(e->code)->http_status,
                      json_pack("{s:o, s:o, s:o, s:o}", "error", json_text(e->text), "model_id",
                                json_text(model_id), "path", json_text(path), "timestamp",
                                json_time(world_wall_ms(http_exchange_world(x)))));
}

/* What the engine gets: that path and the query. */
static char *engine_path(const struct http_exchange *x)
{
    const struct span query = http_exchange_head(x)->query;
    _cleanup_(freep) char *path = path_behind(x);

    return xasprintf("%s%s%.*s", path, query.p ? "?" : "", (int)query.n, query.p ? query.p : "");
}

static void handle_pass(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    _cleanup_(freep) char *id = http_decode(params->values[0], false);
    const struct model *model = id ? models_find(api->in.models, span_of(id)) : NULL;
    _cleanup_(freep) char *path = engine_path(x);
    struct error e = { 0 };

    if (!model) {
        error_set(&e, -ENOENT, "there is no model '%s'", id ? id : "");
        refuse_pass(x, id ? id : "", &e);
        return;
    }
    /* A page that an engine serves shall not act as a page of ours. */
    http_exchange_add_header(x, "Content-Security-Policy", "sandbox");
    gateway_pass(api->in.gateway, x, model, span_of(path), refuse_pass);
}

/* ---- health ---- */

static void handle_proxy_health(void *owner, struct http_exchange *x,
                                const struct route_params *params)
{
    struct api *api = owner;
    struct target_counts c = { 0 };
    const struct model *model;
    const char *status, *message;
    size_t cursor = 0;

    while ((model = models_next(api->in.models, &cursor))) {
        json_decref(targets_of(api, model, &c));
    }
    status = c.active == c.targets ? "healthy" : c.active > 0 ? "degraded" : "unhealthy";
    message = c.targets == 0          ? "no model is running"
              : c.active == c.targets ? "every target takes requests"
              : c.active > 0          ? "some targets take no requests"
                                      : "no target takes requests";
    http_respond_json(x, 200,
                      json_pack("{s:s, s:i, s:i, s:i, s:i, s:o, s:s}", "status", status,
                                "total_models", (int)models_count(api->in.models), "total_targets",
                                c.targets, "active_targets", c.active, "inactive_targets",
                                c.targets - c.active, "timestamp", json_now(api), "message",
                                message));
}

// clang-format off
const struct route proxy_routes[] = {
    { "GET", "/api/proxy/targets", SCOPE_ADMIN, handle_targets, "Lists the instances of each model that requests may go to, with their figures.",
      { NULL, "ProxyTargets", "200 404", "model_id:string" } },
    { "GET", "/api/proxy/stats", SCOPE_ADMIN, handle_stats, "Sums up what was asked since berth started.",
      { NULL, "ProxyStats", "200", NULL } },
    { "GET", "/api/proxy/models/{id}/stats", SCOPE_ADMIN, handle_model_stats, "Sums up what one model was asked in the last hours, as far as the history reaches.",
      { NULL, "ProxyModelStats", "200 404 422", "hours:integer" } },
    { "GET", "/api/proxy/requests/history", SCOPE_ADMIN, handle_history, "Lists the latest requests, newest first.",
      { NULL, "ProxyHistory", "200 422", "model_id:string status_class:string method:string " PAGING_QUERY } },
    { "GET", "/api/proxy/load-balance", SCOPE_ADMIN, handle_strategies, "Lists the strategies by which instances can be chosen, and those in use.",
      { NULL, "ProxyStrategies", "200", NULL } },
    { "PUT", "/api/proxy/load-balance", SCOPE_ADMIN, handle_load_balance, "Sets by which strategy instances are chosen, of one model or of all without one of their own, until the next start; `default` as before.",
      { NULL, "ProxyStrategy", "200 400 404", "strategy:string model_id:string" } },
    { "GET", "/api/proxy/health", SCOPE_ADMIN, handle_proxy_health, "Tells whether instances take requests.",
      { NULL, "ProxyHealth", "200", NULL } },
    { "*", "/api/proxy/models/{id}/{path*}", SCOPE_ADMIN, handle_pass, "Hands any request on to an instance of the model, and its answer back.",
      { NULL, NULL, "404 429 503 504 default", NULL }, true },
};
// clang-format on
const size_t proxy_route_count = ARRAY_SIZE(proxy_routes);
