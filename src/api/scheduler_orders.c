// SPDX-License-Identifier: Apache-2.0
/*
 * The scheduler door, the part that changes something: the policy, asking for a place, priorities,
 * giving up. Each is answered when it is committed.
 */
#include <stdlib.h>

#include "api/api_int.h"
#include "base/mem.h"

/* ---- policy ---- */

/* What an absent member means: the contract's defaults, whatever the options say. */
static const struct placement_rules contract_rules = {
    .algorithm = POLICY_PRIORITY_BASED,
    .preemption_enabled = true,
    .auto_recovery_enabled = true,
    .resource_threshold = 0.8,
    .priority_levels = 10,
    .max_queue_size = 50,
    .scheduling_interval_s = 30,
    .health_check_interval_s = 60,
};

static json_t *policy_json(const struct api *api)
{
    const struct placement_rules *r = placement_rules(api->in.placement);

    return json_pack("{s:s, s:b, s:b, s:f, s:i, s:i, s:i, s:i}", "scheduling_algorithm",
                     policy_algorithm_name(r->algorithm), "preemption_enabled",
                     (int)r->preemption_enabled, "auto_recovery_enabled",
                     (int)r->auto_recovery_enabled, "resource_threshold", r->resource_threshold,
                     "priority_levels", r->priority_levels, "max_queue_size", r->max_queue_size,
                     "scheduling_interval", r->scheduling_interval_s, "health_check_interval",
                     r->health_check_interval_s);
}

void handle_policy(void *owner, struct http_exchange *x, const struct route_params *params)
{
    http_respond_json(x, 200, policy_json(owner));
}

static void on_policy_set(void *arg, int result, const struct error *e)
{
    struct wait *w = arg;

    if (w->x && w->api) {
        if (result < 0) {
            respond_error(w->x, SHAPE_DETAIL, e);
        } else {
            http_respond_json(w->x, 200,
                              json_pack("{s:b, s:s, s:o, s:b, s:o}", "success", 1, "message",
                                        "the policy is in force from now on, and is kept", "policy",
                                        policy_json(w->api), "restart_required", 0, "updated_at",
                                        json_now(w->api)));
        }
    }
    wait_free(w);
}

/* Owned by the caller. */
static char *algorithm_names(void)
{
    struct buf b = BUF_INIT(1024);

    for (int a = 0; a < POLICY_ALGORITHM_MAX_; a++) {
        buf_printf(&b, "%s%s", a > 0 ? ", " : "", policy_algorithm_name((enum policy_algorithm)a));
    }
    return buf_take(&b, NULL);
}

/* False: what is wrong is answered. */
static bool read_rules(struct body *b, struct http_exchange *x, struct placement_rules *ret)
{
    const struct placement_rules *d = &contract_rules;
    const char *algorithm =
        body_text(b, "scheduling_algorithm", policy_algorithm_name(d->algorithm));
    const int found = policy_algorithm_from_string(algorithm);

    ret->preemption_enabled = body_bool(b, "preemption_enabled", d->preemption_enabled);
    ret->auto_recovery_enabled = body_bool(b, "auto_recovery_enabled", d->auto_recovery_enabled);
    ret->resource_threshold = body_number(b, "resource_threshold", d->resource_threshold);
    ret->priority_levels = body_int(b, "priority_levels", d->priority_levels);
    ret->max_queue_size = body_int(b, "max_queue_size", d->max_queue_size);
    ret->scheduling_interval_s = body_int(b, "scheduling_interval", d->scheduling_interval_s);
    ret->health_check_interval_s = body_int(b, "health_check_interval", d->health_check_interval_s);
    if (!body_is_good(b, x)) {
        return false;
    }
    if (found < 0) {
        _cleanup_(freep) char *names = algorithm_names();

        respond_detail(x, 400, "there is no scheduling_algorithm '%s'; there are %s", algorithm,
                       names);
        return false;
    }
    ret->algorithm = (enum policy_algorithm)found;
    return true;
}

void handle_set_policy(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    struct placement_rules rules = { 0 };
    struct error e = { 0 };
    struct body body;
    struct wait *w;

    if (!body_read(x, &body)) {
        return;
    }
    if (read_rules(&body, x, &rules)) {
        w = wait_create(api, x, "", 0);
        if (placement_set_rules(api->in.placement, &rules, on_policy_set, w, &e) < 0) {
            respond_error(x, SHAPE_DETAIL, &e);
            wait_free(w);
        }
    }
    body_finish(&body);
}

/* ---- schedule ---- */

static json_t *moved_json(const struct placement_answer *a)
{
    json_t *list = json_array();

    for (const char *const *id = a->moved; id && *id; id++) {
        json_array_append_new(list, json_text(*id));
    }
    return list;
}

static json_t *answer_json(const struct wait *w, const struct placement_answer *a)
{
    // clang-format off
    static const char *const outcomes[] = {
        [PLACEMENT_PLACED] = "placed", [PLACEMENT_QUEUED] = "queued", [PLACEMENT_FAILED] = "failed",
    };
    // clang-format on
    const int64_t now = world_wall_ms(w->api->in.world);

    return json_pack(
        "{s:b, s:o, s:s, s:o, s:o, s:o, s:o, s:s, s:b, s:o}", "success",
        (int)(a->outcome == PLACEMENT_PLACED), "message", json_text(a->reason), "model_id",
        w->public_id, "gpu_devices", place_devices_json(&a->place), "preempted_models",
        moved_json(a), "schedule_time", json_time(now), "history_id",
        a->history_id > 0 ? json_sprintf("%lld", (long long)a->history_id) : json_null(), "outcome",
        outcomes[a->outcome], "dry_run", (int)w->dry_run, "estimated_start_time",
        a->start_in_ms > 0 ? json_time(now + (int64_t)a->start_in_ms) : json_null());
}

static void on_scheduled(void *arg, int result, const struct placement_answer *answer,
                         const struct error *e)
{
    struct wait *w = arg;

    if (w->x && w->api) {
        if (result == -EALREADY) {
            respond_detail(w->x, 400, "%s", e->text);
        } else if (result < 0) {
            respond_error(w->x, SHAPE_DETAIL, e);
        } else {
            http_respond_json(w->x, 200, answer_json(w, answer));
        }
    }
    wait_free(w);
}

/* 0: none is given. */
static int read_priority(struct body *b)
{
    int priority;

    if (json_is_null(json_object_get(b->json, "priority"))) {
        return 0;
    }
    priority = body_int(b, "priority", MODEL_PRIORITY_MIN);
    if (json_is_integer(json_object_get(b->json, "priority")) &&
        (priority < MODEL_PRIORITY_MIN || priority > MODEL_PRIORITY_MAX)) {
        body_complain(b, "priority", "must be from 1 to 10", "value_error");
    }
    return json_object_get(b->json, "priority") ? priority : 0;
}

/* A given priority is saved to the definition. */
static bool changes_priority(const struct model *model, const struct placement_ask *ask)
{
    return !ask->dry_run && ask->priority > 0 && ask->priority != model->config->priority;
}

void handle_schedule(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    struct placement_ask ask = { 0 };
    const struct model *model;
    const char *id;
    struct body body;
    struct wait *w;

    if (!body_read(x, &body)) {
        return;
    }
    if (!json_object_get(body.json, "model_id")) {
        body_complain(&body, "model_id", "field required", "missing");
    }
    id = body_text(&body, "model_id", "");
    ask.priority = read_priority(&body);
    ask.force = body_bool(&body, "force", false);
    ask.allow_preemption = body_bool(&body, "allow_preemption", true);
    ask.dry_run = body_bool(&body, "dry_run", false);
    if (body_is_good(&body, x)) {
        model = models_find(api->in.models, span_of(id));
        if (!model) {
            respond_detail(x, 404, "there is no model '%.255s'", id);
        } else if (!changes_priority(model, &ask) || !refuse_config_model(x, model)) {
            w = wait_create(api, x, model->config->id, model->id);
            w->dry_run = ask.dry_run;
            ask.model_id = model->id;
            placement_schedule(api->in.placement, &ask, on_scheduled, w);
        }
    }
    body_finish(&body);
}

/* ---- priorities ---- */

static void respond_failure(struct wait *w, int result, const struct error *e)
{
    if (result == -ENOENT) {
        respond_detail(w->x, 404, "there is no model '%s'", w->public_id);
    } else {
        respond_error(w->x, SHAPE_DETAIL, e);
    }
}

static void on_prioritized(void *arg, int result, int64_t id, const struct error *e)
{
    struct wait *w = arg;

    if (w->x && w->api) {
        if (result < 0) {
            respond_failure(w, result, e);
        } else {
            http_respond_json(w->x, 200,
                              json_pack("{s:b, s:o, s:s, s:i, s:i, s:o}", "success", 1, "message",
                                        json_sprintf("the priority is %d now", w->priority),
                                        "model_id", w->public_id, "old_priority", w->priority - 1,
                                        "new_priority", w->priority, "updated_at",
                                        json_now(w->api)));
        }
    }
    wait_free(w);
}

/* Owned by the caller. */
static struct model_config *copy_config(const struct model_config *config)
{
    struct validation v = validation_init();
    json_t *json = model_config_to_json(config);
    struct model_config *copy = model_config_parse(json, &v);

    json_decref(json);
    validation_finish(&v);
    return copy;
}

static int highest_priority(const struct api *api)
{
    return MIN_OF(placement_rules(api->in.placement)->priority_levels, (int)MODEL_PRIORITY_MAX);
}

void handle_prioritize(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct model *model = model_of_path(api, x, params);
    struct model_config *config;
    struct wait *w;

    if (!model) {
        return;
    }
    if (model->config->priority >= highest_priority(api)) {
        http_respond_json(x, 200,
                          json_pack("{s:b, s:s, s:i}", "success", 0, "message",
                                    "the priority is the highest already", "current_priority",
                                    model->config->priority));
        return;
    }
    if (refuse_config_model(x, model)) {
        return;
    }
    config = copy_config(model->config);
    w = wait_create(api, x, model->config->id, model->id);
    w->priority = ++config->priority;
    models_update(api->in.models, model->id, config, on_prioritized, w);
}

/* ---- giving up ---- */

static void on_cancelled(void *arg, int result, int64_t id, const struct error *e)
{
    struct wait *w = arg;

    if (w->x && w->api) {
        if (result < 0) {
            respond_failure(w, result, e);
        } else {
            http_respond_json(w->x, 200,
                              json_pack("{s:b, s:s, s:s, s:o}", "success", 1, "message",
                                        "the model is not wanted any more", "model_id",
                                        w->public_id, "cancelled_at", json_now(w->api)));
        }
    }
    wait_free(w);
}

void handle_cancel(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct model *model = model_of_path(api, x, params);

    if (!model) {
        return;
    }
    if (str_eq(model_status(api, model), "running")) {
        respond_detail(x, 400, "model '%s' is running: stop it instead", model->config->id);
        return;
    }
    if (!model->wanted) {
        respond_detail(x, 400, "model '%s' is not in the queue: nobody wants it to run",
                       model->config->id);
        return;
    }
    models_set_wanted(api->in.models, model->id, false, WISH_USER, on_cancelled,
                      wait_create(api, x, model->config->id, model->id));
}

/* ---- deciding anew ---- */

void handle_restart_scheduler(void *owner, struct http_exchange *x,
                              const struct route_params *params)
{
    struct api *api = owner;

    gpu_sample_now(api->in.gpu);
    placement_reconfigure(api->in.placement, api->in.config);
    http_respond_json(
        x, 200,
        json_pack("{s:b, s:s, s:o, s:s}", "success", 1, "message",
                  "the devices are read again and everything is decided anew",
                  "restart_requested_at", json_now(api), "note",
                  "placement is a part of berth and has no process of its own that could restart; "
                  "engines go on unless the new decision moves them"));
}
