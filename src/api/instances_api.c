// SPDX-License-Identifier: Apache-2.0
/*
 * The models door, the part that shows engines: instances, their state in the contract's words,
 * their health.
 */
#include <stdlib.h>

#include "api/api_int.h"
#include "api/paging.h"
#include "base/mem.h"

enum { PROBE_BODY_MAX = 500, PREDICTED_PROMPT_TOKENS = 1000 };

/* ---- the contract's words ---- */

// clang-format off
static const struct status_words state_words[INSTANCE_STATE_MAX_] = {
    [INSTANCE_WAITING]  = { "queued",   "unknown" },
    [INSTANCE_STARTING] = { "starting", "unknown" },
    [INSTANCE_READY]    = { "running",  "healthy" },
    [INSTANCE_DRAINING] = { "stopping", "unknown" },
    [INSTANCE_STOPPING] = { "stopping", "unknown" },
    [INSTANCE_BACKOFF]  = { "error",    "unhealthy" }, /* until the next try begins */
    [INSTANCE_FAILED]   = { "error",    "unhealthy" },
};
static const struct status_words wanted_words   = { "starting", "unknown" }; /* no instance yet */
static const struct status_words unwanted_words = { "stopped",  "unknown" };
static const struct status_words displaced_words = { "preempted", "unknown" }; /* it waits for room again */
// clang-format on

const struct status_words *status_words(bool wanted, const struct instance *instance)
{
    if (instance && instance->state == INSTANCE_WAITING && instance->displaced) {
        return &displaced_words;
    }
    if (instance) {
        return &state_words[instance->state];
    }
    return wanted ? &wanted_words : &unwanted_words;
}

const char *model_status(const struct api *api, const struct model *model)
{
    return status_words(model->wanted, engines_of_model(api->in.engines, model->id))->status;
}

json_t *uptime_json(struct api *api, const struct instance *inst)
{
    if (!inst || inst->process.pid == 0 || inst->started_wall_ms == 0) {
        return json_null();
    }
    return json_integer((world_wall_ms(api->in.world) - inst->started_wall_ms) / 1000);
}

static json_t *health_result(const struct instance *inst)
{
    bool healthy;

    if (!inst) {
        return json_null();
    }
    /* What once went wrong says nothing of one that is well. */
    healthy = inst->state == INSTANCE_READY;
    return json_pack("{s:b, s:s, s:o, s:o}", "is_healthy", healthy, "state",
                     instance_state_name(inst->state), "message",
                     json_text(healthy ? NULL : inst->last_error), "last_check",
                     json_time(inst->last_probe_wall_ms));
}

void handle_model_health(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct model *model = model_of_path(api, x, params);
    const struct instance *inst;

    if (!model) {
        return;
    }
    inst = engines_of_model(api->in.engines, model->id);
    http_respond_json(x, 200,
                      json_pack("{s:s, s:s, s:o, s:o}", "model_id", model->config->id,
                                "health_status", status_words(model->wanted, inst)->health,
                                "health_result", health_result(inst), "timestamp", json_now(api)));
}

/* ---- instances ---- */

/* Owned by the caller. */
static char *absolute_path(struct api *api, const char *path)
{
    return path[0] == '/' ? xstrdup(path) : xasprintf("%s/%s", api->in.data_dir, path);
}

static json_t *path_json(struct api *api, const char *path)
{
    _cleanup_(freep) char *whole = absolute_path(api, path);

    return path[0] == '\0' ? json_null() : json_text(whole);
}

json_t *endpoint_json(struct api *api, const struct instance *inst)
{
    const char *scheme = inst->address.tls ? "https" : "http";
    char where[ADDRESS_TEXT_SIZE];

    if (inst->address.is_unix) {
        _cleanup_(freep) char *whole = absolute_path(api, inst->address.path);

        return json_sprintf("unix:%s", whole);
    }
    address_format(&inst->address, where);
    return json_sprintf("%s://%s", scheme, where);
}

/* null for 0: what an instance without a process has */
static json_t *number_or_null(json_int_t n)
{
    return n ? json_integer(n) : json_null();
}

/* What is predicted of a request of so many prompt tokens that came now. */
static json_t *prediction_json(struct api *api, const struct instance *inst)
{
    struct prediction p;

    if (!dispatch_predict(api->in.dispatch, inst->uuid, PREDICTED_PROMPT_TOKENS, 0, &p)) {
        return json_null();
    }
    return json_pack("{s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I}", "prompt_tokens",
                     PREDICTED_PROMPT_TOKENS, "wait_ms", p.wait_ms, "wait_error_ms",
                     p.wait_error_ms, "prefill_ms", p.prefill_ms, "decode_ms", p.decode_ms,
                     "low_ms", p.low_ms, "high_ms", p.high_ms, "output_tokens", p.output_tokens,
                     "ms_per_output_token", p.ms_per_output_token, "learnt_from",
                     (json_int_t)p.learnt_from);
}

/* What dispatch knows of an instance: nulls while it takes no requests. */
static void add_figures(struct api *api, const struct instance *inst, json_t *json)
{
    struct dispatch_target t = { 0 };
    const bool known = dispatch_target(api->in.dispatch, inst->uuid, &t);

    json_object_set_new(json, "breaker",
                        known ? json_string(breaker_name(t.breaker)) : json_null());
    json_object_set_new(json, "requests",
                        known ? json_integer((json_int_t)t.requests) : json_null());
    json_object_set_new(json, "errors", known ? json_integer((json_int_t)t.errors) : json_null());
    json_object_set_new(json, "consecutive_failures",
                        known ? json_integer(t.consecutive_failures) : json_null());
    json_object_set_new(json, "response_ms",
                        known ? number_or_null((json_int_t)t.response_ms) : json_null());
    json_object_set_new(json, "predicted", prediction_json(api, inst));
}

/* When it is unloaded if nobody asks for its model any more. */
static json_t *expiry_json(struct api *api, const struct instance *inst)
{
    return json_time(
        api->in.placement ? placement_expires_wall_ms(api->in.placement, inst->model_id) : 0);
}

/* What of whose memory it has, in MiB. */
static json_t *place_json(const struct place *place)
{
    json_t *shares = json_array();

    for (unsigned i = 0; i < place->count; i++) {
        json_array_append_new(shares, json_pack("{s:i, s:I}", "device", place->shares[i].device,
                                                "memory", mib(place->shares[i].bytes)));
    }
    return json_pack("{s:o, s:I}", "devices", shares, "host_memory", mib(place->host_bytes));
}

static void add_place(const struct instance *inst, json_t *json)
{
    const bool measured = inst->taken.count > 0 || inst->taken.host_bytes > 0;
    const bool placed = inst->place.count > 0 || inst->place.host_bytes > 0;

    json_object_set_new(json, "place", placed ? place_json(&inst->place) : json_null());
    json_object_set_new(json, "memory_taken", measured ? place_json(&inst->taken) : json_null());
    json_object_set_new(json, "displaced", json_boolean(inst->displaced));
}

static json_t *instance_json(struct api *api, const struct instance *inst)
{
    const struct dispatch_load load = dispatch_instance_load(api->in.dispatch, inst->uuid);
    const struct dispatch_load line = dispatch_model_load(api->in.dispatch, inst->model_id);
    const struct model *model = models_get(api->in.models, inst->model_id);
    char where[ADDRESS_TEXT_SIZE];
    json_t *json;
    bool told;

    address_format(&inst->address, where);
    told = inst->address.is_unix || *inst->address.host; /* else it waits for its place */
    json = json_pack(
        "{s:o, s:s, s:s, s:i, s:b, s:b, s:i, s:o, s:o, s:o, s:o, s:o, s:i, s:i, s:b, s:o, s:I, "
        "s:o, s:i, s:i}",
        "model", json_text(model ? model->config->id : NULL), "id", inst->uuid, "state",
        instance_state_name(inst->state), "replica", (int)inst->replica, "remote", inst->remote,
        "sleeping", inst->sleeping, "weight", (int)inst->weight, "pid",
        number_or_null(inst->process.pid), "start_time",
        number_or_null((json_int_t)inst->process.start_time), "socket",
        path_json(api, inst->address.is_unix ? inst->address.path : ""), "address",
        json_text(told ? where : NULL), "log", path_json(api, inst->log_path), "slots",
        (int)inst->slots, "restarts", (int)inst->restarts, "adopted", inst->adopted, "last_error",
        json_text(inst->last_error), "ready_in_ms", (json_int_t)inst->ready_in_ms, "uptime",
        uptime_json(api, inst), "in_flight", (int)load.in_flight, "waiting", (int)line.waiting);
    add_figures(api, inst, json);
    add_place(inst, json);
    json_object_set_new(json, "expires_at", expiry_json(api, inst));
    return json;
}

/* model NULL: of all. */
static void respond_instances(struct api *api, struct http_exchange *x, const struct model *model)
{
    static const struct paging_kind kind = {
        .sorts = "model id state replica pid slots restarts uptime in_flight waiting requests "
                 "errors response_ms expires_at",
        .texts = "model id address state last_error",
        .filters = "model state",
    };
    const struct instance *inst;
    json_t *list, *answer;
    struct paging paging;
    size_t cursor = 0;

    if (!paging_read(x, &kind, &paging)) {
        return;
    }
    list = json_array();
    while ((inst = engines_next(api->in.engines, &cursor))) {
        if (!model || inst->model_id == model->id) {
            json_array_append_new(list, instance_json(api, inst));
        }
    }
    answer = json_pack("{s:o}", "instances", list);
    paging_apply(&paging, answer, "instances");
    paging_finish(&paging);
    http_respond_json(x, 200, answer);
}

void handle_all_instances(void *owner, struct http_exchange *x, const struct route_params *params)
{
    respond_instances(owner, x, NULL);
}

void handle_instances(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct model *model = model_of_path(api, x, params);

    if (model) {
        respond_instances(api, x, model);
    }
}

/* ---- probing ---- */

static void on_probed(void *owner, int result, int status, struct span body, const struct error *e)
{
    struct wait *w = owner;
    const bool good = result == 0; /* engines judge what is good for which engine */
    _cleanup_(freep) char *text = NULL;
    json_t *answer;

    if (!w->x || !w->api) {
        wait_free(w);
        return;
    }
    text = result < 0 ? xstrdup(e->text)
                      : xstrndup(body.p ? body.p : "", MIN_OF(body.n, (size_t)PROBE_BODY_MAX));
    answer = json_pack("{s:b, s:s, s:s, s:{s:b, s:i, s:o, s:o}}", "success", good, "message",
                       good ? "the engine answers" : "the engine does not answer as it should",
                       "model_id", w->public_id, "health_result", "is_healthy", good, "http_status",
                       status, "message", json_text(text), "last_check", json_now(w->api));
    http_respond_json(w->x, 200, answer);
    wait_free(w);
}

void handle_health_check(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct model *model = model_of_path(api, x, params);
    const struct instance *inst;

    if (!model) {
        return;
    }
    inst = engines_of_model(api->in.engines, model->id);
    if (!inst || (inst->process.pid == 0 && !inst->remote)) {
        http_respond_json(x, 200,
                          json_pack("{s:b, s:s, s:s, s:o}", "success", 0, "message",
                                    "the model is not running", "model_id", model->config->id,
                                    "health_result", health_result(inst)));
        return;
    }
    engines_probe(api->in.engines, model->id, on_probed,
                  wait_create(api, x, model->config->id, model->id));
}
