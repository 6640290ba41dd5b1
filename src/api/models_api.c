// SPDX-License-Identifier: Apache-2.0
/*
 * The models door, /api/models: definitions (create, read, update, delete, validate) and the wish
 * to run them (start, stop, restart). A change is answered when it is committed; ?wait=1 answers
 * when the engine has followed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "api/api_int.h"
#include "api/paging.h"
#include "base/mem.h"

enum { WAIT_LIMIT_MS = 600 * 1000, REDIRECT_MAX = 4096 };

/* ---- telling ---- */

/* Where it lies; those that its definition names while it lies nowhere. */
static json_t *devices_json(const struct model_config *c, const struct instance *inst)
{
    json_t *devices;

    if (inst && inst->place.count > 0) {
        return place_devices_json(&inst->place);
    }
    devices = json_array();
    for (size_t i = 0; i < c->gpu_device_count; i++) {
        json_array_append_new(devices, json_integer(c->gpu_devices[i]));
    }
    return devices;
}

static json_t *aliases_json(const struct model_config *c)
{
    json_t *list = json_array();

    for (char **alias = c->aliases; alias && *alias; alias++) {
        json_array_append_new(list, json_text(*alias));
    }
    return list;
}

/* Where clients reach a running model: this very server, as the caller named it. */
static json_t *own_endpoint_json(struct http_exchange *x, bool running)
{
    const struct span host = http_header_get(http_exchange_head(x), "Host");
    char text[300];

    if (!running || !host.p || host.n > 255 || http_exchange_peer(x)->is_unix) {
        return json_null();
    }
    snprintf(text, sizeof(text), "http://%.*s/v1", SPAN_ARG(host));
    return json_text(text);
}

/* As measured, of all its instances; null before. */
static json_t *memory_json(const struct api *api, const struct model *model)
{
    const struct instance *inst;
    uint64_t bytes = 0;
    size_t cursor = 0;

    while ((inst = engines_next(api->in.engines, &cursor))) {
        bytes += inst->model_id == model->id ? place_bytes(&inst->taken) : 0;
    }
    return bytes > 0 ? json_integer(mib(bytes)) : json_null();
}

json_t *model_info(struct api *api, struct http_exchange *x, const struct model *model)
{
    const struct instance *inst = engines_of_model(api->in.engines, model->id);
    const struct model_config *c = model->config;

    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:i, s:o, s:s, s:b, s:s}", "id",
        c->id, "name", c->name, "framework", c->framework, "model_path", c->model_path, "status",
        status_words(model->wanted, inst)->status, "priority", c->priority, "gpu_devices",
        devices_json(c, inst), "memory_usage", memory_json(api, model), "api_endpoint",
        own_endpoint_json(x, inst && inst->state == INSTANCE_READY), "uptime",
        uptime_json(api, inst), "last_health_check", json_time(inst ? inst->last_probe_wall_ms : 0),
        "replicas", c->replicas, "aliases", aliases_json(c), "task_status",
        model_status_name(model->task_status), "pinned", c->pinned, "origin",
        model_origin_name(model->origin));
}

/* ---- the model of a path ---- */

const struct model *model_of_path(struct api *api, struct http_exchange *x,
                                  const struct route_params *params)
{
    _cleanup_(freep) char *id = http_decode(params->values[0], false);
    const struct model *model = id ? models_find(api->in.models, span_of(id)) : NULL;

    if (!model) {
        respond_detail(x, 404, "there is no model '%.*s'", (int)MIN_OF(params->values[0].n, 255),
                       params->values[0].p);
    }
    return model;
}

bool refuse_config_model(struct http_exchange *x, const struct model *model)
{
    if (model->origin != MODEL_FROM_CONFIG) {
        return false;
    }
    respond_detail(x, 409, "model '%s' is defined in the config file; change it there and reload",
                   model->config->id);
    return true;
}

/* What a failed change of the catalogue is answered with. */
static void respond_failure(struct wait *w, int result, const struct error *e)
{
    if (result == -EEXIST) {
        respond_detail(w->x, 400, "a model with the id '%s' exists already", w->public_id);
    } else if (result == -ENOENT) {
        respond_detail(w->x, 404, "there is no model '%s'", w->public_id);
    } else {
        respond_error(w->x, SHAPE_DETAIL, e);
    }
}

/* ---- reading ---- */

static void handle_list(void *owner, struct http_exchange *x, const struct route_params *params)
{
    static const struct paging_kind kind = {
        .sorts = "id name framework status priority memory_usage uptime replicas task_status",
        .texts = "id name aliases framework model_path",
        .filters = "status framework pinned task_status",
    };
    struct api *api = owner;
    json_t *list;
    const struct model *model;
    struct paging paging;
    size_t cursor = 0;

    if (!paging_read(x, &kind, &paging)) {
        return;
    }
    list = json_array();
    while ((model = models_next(api->in.models, &cursor))) {
        json_array_append_new(list, model_info(api, x, model));
    }
    paging_respond(x, &paging, list);
    paging_finish(&paging);
}

static void handle_get(void *owner, struct http_exchange *x, const struct route_params *params)
{
    const struct model *model = model_of_path(owner, x, params);

    if (model) {
        http_respond_json(x, 200, model_info(owner, x, model));
    }
}

/* With its status as it is now, so that what is read can be given back. */
static json_t *definition_json(const struct model *model)
{
    json_t *json = model_config_to_json(model->config);

    json_object_set_new(json, "task_status", json_string(model_status_name(model->task_status)));
    return json;
}

static void handle_config(void *owner, struct http_exchange *x, const struct route_params *params)
{
    const struct model *model = model_of_path(owner, x, params);

    if (model) {
        http_respond_json(x, 200, definition_json(model));
    }
}

static void handle_status(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct model *model = model_of_path(api, x, params);
    const struct status_words *words;

    if (!model) {
        return;
    }
    words = status_words(model->wanted, engines_of_model(api->in.engines, model->id));
    http_respond_json(x, 200,
                      json_pack("{s:s, s:s, s:s, s:o}", "model_id", model->config->id, "status",
                                words->status, "health", words->health, "timestamp",
                                json_now(api)));
}

/* ---- defining ---- */

/* json is stolen. NULL: it is no good definition, 422 or 400 is answered and x is void. */
static struct model_config *check_config(struct api *api, struct http_exchange *x, json_t *json)
{
    struct validation v = validation_init();
    struct model_config *config = model_config_parse(json, &v);

    json_decref(json);
    if (config) {
        engines_check(api->in.config, config, &v);
        dispatch_check(config, &v);
    }
    if (!config || !validation_ok(&v)) {
        _cleanup_(freep) char *text = join_strings(v.errors);

        config = model_config_free(config);
        if (json_array_size(v.schema_errors) > 0) {
            respond_schema_errors(x, v.schema_errors);
        } else {
            respond_detail(x, 400, "%s", text);
        }
    }
    validation_finish(&v);
    return config;
}

static bool says_status(const json_t *body)
{
    return json_is_string(json_object_get(body, "task_status"));
}

static void on_created(void *arg, int result, int64_t id, const struct error *e)
{
    struct wait *w = arg;

    if (w->x && w->api) {
        if (result < 0) {
            respond_failure(w, result, e);
        } else {
            respond_done(w->x, 201, "the model is defined", w->public_id);
        }
    }
    wait_free(w);
}

static void handle_create(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    json_t *json = read_body(x);
    struct model_config *config = json ? check_config(api, x, json) : NULL;

    if (config) {
        models_add(api->in.models, config, MODEL_FROM_API, on_created,
                   wait_create(api, x, config->id, 0));
    }
}

static void on_updated(void *arg, int result, int64_t id, const struct error *e)
{
    struct wait *w = arg;

    if (w->x && w->api) {
        const struct model *model = models_get(w->api->in.models, w->model_id);

        if (result < 0) {
            respond_failure(w, result, e);
        } else if (!model) {
            respond_detail(w->x, 404, "model '%s' was deleted meanwhile", w->public_id);
        } else {
            http_respond_json(w->x, 200, definition_json(model));
        }
    }
    wait_free(w);
}

/* What it says of its tasks is meant, even if an earlier definition said the same. */
static void on_updated_with_status(void *arg, int result, int64_t id, const struct error *e)
{
    struct wait *w = arg;
    const struct model *model = w->api && result >= 0 ? models_get(w->api->in.models, id) : NULL;

    if (model) {
        models_set_task_status(w->api->in.models, id, model->config->task_status, on_updated, w);
    } else {
        on_updated(w, result, id, e);
    }
}

static void handle_update(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct model *model = model_of_path(api, x, params);
    struct model_config *config;
    json_t *json;
    bool status;

    if (!model || refuse_config_model(x, model)) {
        return;
    }
    json = read_body(x);
    if (!json) {
        return;
    }
    if (json_is_object(json)) {
        json_object_set_new(json, "id", json_string(model->config->id));
    }
    status = says_status(json);
    config = check_config(api, x, json);
    if (config) {
        models_update(api->in.models, model->id, config,
                      status ? on_updated_with_status : on_updated,
                      wait_create(api, x, model->config->id, model->id));
    }
}

/* Members of a definition that are to be others. */
struct patch {
    struct wait *w;
    json_t *members;
};

static struct wait *patch_end(struct patch *p)
{
    struct wait *w = p->w;

    json_decref(p->members);
    free(p);
    return w;
}

static void patch(struct patch *p, const struct model *model);

/* What was changed while it waited for its turn is not undone: the members go into that. */
static void on_patched(void *arg, int result, int64_t id, const struct error *e)
{
    struct patch *p = arg;
    struct wait *w = p->w;
    const struct model *model = w->api && w->x ? models_get(w->api->in.models, id) : NULL;
    const bool status = says_status(p->members);

    if (result != -ESTALE || !model) {
        patch_end(p);
        (status ? on_updated_with_status : on_updated)(w, result, id, e);
    } else if (refuse_config_model(w->x, model)) {
        wait_free(patch_end(p));
    } else {
        patch(p, model);
    }
}

static void patch(struct patch *p, const struct model *model)
{
    struct wait *w = p->w;
    json_t *whole = model_config_to_json(model->config);
    struct model_config *config;

    json_object_update(whole, p->members);
    json_object_set_new(whole, "id", json_string(model->config->id));
    config = check_config(w->api, w->x, whole);
    if (config) {
        models_update_from(w->api->in.models, model->id, model->epoch, config, on_patched, p);
    } else {
        wait_free(patch_end(p));
    }
}

/* The members that are given replace those of the definition, whole. */
static void handle_patch(void *owner, struct http_exchange *x, const struct route_params *params)
{
    const struct model *model = model_of_path(owner, x, params);
    struct body body;
    struct patch *p;

    if (!model || refuse_config_model(x, model) || !body_read(x, &body)) {
        return;
    }
    p = xcalloc(1, sizeof(*p));
    p->members = json_incref(body.json);
    p->w = wait_create(owner, x, model->config->id, model->id);
    body_finish(&body);
    patch(p, model);
}

static void on_status_set(void *arg, int result, int64_t id, const struct error *e)
{
    struct wait *w = arg;

    if (w->x && w->api && result < 0) {
        respond_failure(w, result, e);
    } else if (w->x && w->api) {
        respond_done(w->x, 200, w->message, w->public_id);
    }
    wait_free(w);
}

/* Also of models of the config file. */
static void handle_task_status(void *owner, struct http_exchange *x,
                               const struct route_params *params)
{
    struct api *api = owner;
    const struct model *model = model_of_path(api, x, params);
    struct body body;
    struct wait *w;
    int status;

    if (!model || !body_read(x, &body)) {
        return;
    }
    status = model_status_from_string(body_text(&body, "status", NULL));
    if (status < 0) {
        body_complain(&body, "status", "must be online, offline or maintenance", "value_error");
    }
    if (body_is_good(&body, x)) {
        w = wait_create(api, x, model->config->id, model->id);
        w->message = model_status_name((enum model_status)status);
        models_set_task_status(api->in.models, model->id, (enum model_status)status, on_status_set,
                               w);
    }
    body_finish(&body);
}

/* ---- running ---- */

static bool running_settled(struct wait *w)
{
    const struct model *model = models_get(w->api->in.models, w->model_id);
    struct error e = { 0 };
    int r = engines_settled(w->api->in.engines, w->model_id, &e);

    if (!model) {
        respond_detail(w->x, 404, "model '%s' was deleted meanwhile", w->public_id);
    } else if (!model->wanted) {
        respond_detail(w->x, 500, "model '%s' was stopped meanwhile", w->public_id);
    } else if (r < 0) {
        respond_detail(w->x, 500, "%s", e.text);
    } else if (r > 0) {
        respond_done(w->x, 200, "running", w->public_id);
    }
    return !model || !model->wanted || r != 0;
}

static bool stopped_settled(struct wait *w)
{
    if (engines_of_model(w->api->in.engines, w->model_id)) {
        return false;
    }
    respond_done(w->x, 200, w->message, w->public_id);
    return true;
}

/* The wish is committed: answers now, or when the engine has followed. Frees w unless it goes on
 * waiting. */
static void settle(struct wait *w)
{
    if (!w->until_settled) {
        respond_done(w->x, w->status, w->message, w->public_id);
        wait_free(w);
        return;
    }
    w->deadline_ms = world_now_ms(w->api->in.world) + WAIT_LIMIT_MS;
    timer_start(&w->timer, 0);
}

static void on_wished(void *arg, int result, int64_t id, const struct error *e)
{
    struct wait *w = arg;

    if (w->api && w->start && result >= 0) {
        placement_on_start(w->api->in.placement, w->model_id);
    }
    if (w->api && w->retry && result >= 0) {
        engines_retry(w->api->in.engines, w->model_id);
    }
    if (!w->x || !w->api) {
        wait_free(w);
        return;
    }
    if (result < 0) {
        respond_failure(w, result, e);
        wait_free(w);
        return;
    }
    settle(w);
}

/* False: the definition cannot run on this machine, and that is answered. */
static bool can_run(struct api *api, struct http_exchange *x, const struct model *model)
{
    struct validation v = validation_init();
    bool ok;

    engines_validate(api->in.engines, model->config, &v);
    ok = validation_ok(&v);
    if (!ok) {
        _cleanup_(freep) char *text = join_strings(v.errors);

        respond_detail(x, 500, "%s", text);
    }
    validation_finish(&v);
    return ok;
}

static bool is_down(const struct instance *inst)
{
    return inst && (inst->state == INSTANCE_BACKOFF || inst->state == INSTANCE_FAILED);
}

static bool any_is_down(struct api *api, int64_t model_id)
{
    const struct instance *inst;
    size_t cursor = 0;

    while ((inst = engines_next(api->in.engines, &cursor))) {
        if (inst->model_id == model_id && is_down(inst)) {
            return true;
        }
    }
    return false;
}

static void want(struct api *api, struct http_exchange *x, const struct model *model)
{
    const struct instance *inst = engines_of_model(api->in.engines, model->id);
    struct wait *w = wait_create(api, x, model->config->id, model->id);

    w->start = true;
    w->retry = model->wanted && any_is_down(api, model->id);
    w->message = inst && inst->state == INSTANCE_READY ? "running" : "starting";
    w->settled = running_settled;
    models_set_wanted(api->in.models, model->id, true, WISH_USER, on_wished, w);
}

/* False: too many models wait for room already, and that is answered. */
static bool may_queue(struct api *api, struct http_exchange *x, const struct model *model)
{
    struct error e = { 0 };

    if (placement_admit(api->in.placement, model->id, &e) < 0) {
        respond_error(x, SHAPE_DETAIL, &e);
        return false;
    }
    return true;
}

static void handle_start(void *owner, struct http_exchange *x, const struct route_params *params)
{
    const struct model *model = model_of_path(owner, x, params);

    if (model && can_run(owner, x, model) && may_queue(owner, x, model)) {
        want(owner, x, model);
    }
}

static void handle_stop(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct model *model = model_of_path(api, x, params);
    struct wait *w;

    if (!model) {
        return;
    }
    w = wait_create(api, x, model->config->id, model->id);
    w->message =
        engines_of_model(api->in.engines, model->id) && !w->until_settled ? "stopping" : "stopped";
    w->settled = stopped_settled;
    models_set_wanted(api->in.models, model->id, false, WISH_USER, on_wished, w);
}

static void handle_restart(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct model *model = model_of_path(api, x, params);
    const struct instance *inst;
    struct wait *w;

    if (!model || !can_run(api, x, model)) {
        return;
    }
    inst = engines_of_model(api->in.engines, model->id);
    if (!model->wanted || !inst || is_down(inst)) {
        want(api, x, model);
        return;
    }
    w = wait_create(api, x, model->config->id, model->id);
    w->message = "restarting";
    w->settled = running_settled;
    engines_restart(api->in.engines, model->id);
    settle(w);
}

static void handle_delete(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct model *model = model_of_path(api, x, params);
    struct wait *w;

    if (!model || refuse_config_model(x, model)) {
        return;
    }
    w = wait_create(api, x, model->config->id, model->id);
    w->message = "deleted";
    w->settled = stopped_settled;
    models_remove(api->in.models, model->id, on_wished, w);
}

/* ---- without the slash ---- */

static void handle_redirect(void *owner, struct http_exchange *x, const struct route_params *params)
{
    const struct span query = http_exchange_head(x)->query;
    _cleanup_(freep) char *where =
        xasprintf("/api/models/%s%.*s", query.p ? "?" : "", (int)query.n, query.p ? query.p : "");

    if (strlen(where) > REDIRECT_MAX) { /* a cut query would be another question */
        respond_detail(x, 414, "the query is longer than %d bytes; ask /api/models/ itself",
                       REDIRECT_MAX);
        return;
    }
    http_exchange_add_header(x, "Location", where);
    http_respond(x, 307, "application/json", SPAN("{\"detail\":\"see /api/models/\"}"));
}

// clang-format off
const struct route models_routes[] = {
    { "GET",    "/api/models/",                 SCOPE_ADMIN, handle_list,         "Lists the models with their status; how many there are stands in X-Total-Count.",
      { NULL, "ModelInfoList", "200 422", PAGING_QUERY " status:string framework:string pinned:boolean task_status:string" } },
    { "POST",   "/api/models/",                 SCOPE_ADMIN, handle_create,       "Defines a model.",
      { "ModelConfig", "Done", "201 400 422 503", NULL } },
    { "GET",    "/api/models",                  SCOPE_ADMIN, handle_redirect,     "Redirects to /api/models/.",
      { NULL, NULL, "307 414", NULL } },
    { "POST",   "/api/models",                  SCOPE_ADMIN, handle_redirect,     "Redirects to /api/models/.",
      { "ModelConfig", NULL, "307 414", NULL } },
    { "POST",   "/api/models/validate",         SCOPE_ADMIN, handle_validate_model,     "Checks a definition, with what its engine demands, estimates its memory, also while it is not complete, and changes nothing.",
      { "ModelConfigEdit", "ValidationResult", "200 422", NULL } },
    { "GET",    "/api/models/{id}",             SCOPE_ADMIN, handle_get,          "Tells one model with its status.",
      { NULL, "ModelInfo", "200 404", NULL } },
    { "PUT",    "/api/models/{id}",             SCOPE_ADMIN, handle_update,       "Replaces a definition; a running model is restarted with it, drained, when its engine's command would be another.",
      { "ModelConfig", "ModelConfig", "200 400 404 409 422 503", NULL } },
    { "PATCH",  "/api/models/{id}",             SCOPE_ADMIN, handle_patch,        "Replaces some members of a definition; a running model is restarted only when its engine's command would be another.",
      { "ModelConfigEdit", "ModelConfig", "200 400 404 409 422 503", NULL } },
    { "DELETE", "/api/models/{id}",             SCOPE_ADMIN, handle_delete,       "Deletes a model; its engine is stopped.",
      { NULL, "Done", "200 404 409 500 503", "wait:boolean" } },
    { "POST",   "/api/models/{id}/start",       SCOPE_ADMIN, handle_start,        "Asks for the model to run, now and after every restart of berth.",
      { NULL, "Done", "200 404 429 500 503", "wait:boolean" } },
    { "POST",   "/api/models/{id}/stop",        SCOPE_ADMIN, handle_stop,         "Stops the model, drained, until it is started again or (unless on_demand is false) asked for.",
      { NULL, "Done", "200 404 500 503", "wait:boolean" } },
    { "POST",   "/api/models/{id}/restart",     SCOPE_ADMIN, handle_restart,      "Stops and starts the model, drained.",
      { NULL, "Done", "200 404 500 503", "wait:boolean" } },
    { "GET",    "/api/models/{id}/status",      SCOPE_ADMIN, handle_status,       "Tells the model's status and health.",
      { NULL, "ModelStatus", "200 404", NULL } },
    { "PUT",    "/api/models/{id}/task-status", SCOPE_ADMIN, handle_task_status,  "Says whether tasks of the model run (online) or wait (offline, maintenance), also of one that the config file defines. Requests are not concerned.",
      { "TaskModelStatus", "Done", "200 404 422 503", NULL } },
    { "GET",    "/api/models/{id}/health",      SCOPE_ADMIN, handle_model_health,       "Tells what the last health probe found.",
      { NULL, "ModelHealth", "200 404", NULL } },
    { "POST",   "/api/models/{id}/health-check", SCOPE_ADMIN, handle_health_check, "Probes the engine now.",
      { NULL, "HealthCheck", "200 404", NULL } },
    { "GET",    "/api/models/{id}/config",      SCOPE_ADMIN, handle_config,       "Tells the model's whole definition.",
      { NULL, "ModelConfig", "200 404", NULL } },
    { "GET",    "/api/models/{id}/instances",   SCOPE_ADMIN, handle_instances,    "Lists the model's running engines.",
      { NULL, "InstanceList", "200 404 422", PAGING_QUERY " state:string" } },
    { "GET",    "/api/instances",               SCOPE_ADMIN, handle_all_instances, "Lists the running engines of all models.",
      { NULL, "InstanceList", "200 422", PAGING_QUERY " model:string state:string" } },
    { "GET",    "/api/models/{id}/logs",        SCOPE_ADMIN, handle_logs,         "The last lines of the engine's own log, and with follow=1 what comes after.",
      { NULL, "text/plain", "200 404 503", "lines:integer follow:boolean" } },
};
// clang-format on
const size_t models_route_count = ARRAY_SIZE(models_routes);
