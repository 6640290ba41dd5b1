// SPDX-License-Identifier: Apache-2.0
/*
 * The door of models as seed 002 has it, /api/v1/models, on the one catalogue. What changes a model
 * goes the way of task_model_edit.c.
 */
#include "api/task_doors_int.h"
#include "api/task_model_edit.h"
#include "base/mem.h"

/* ---- handlers ---- */

static void handle_create(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct model_edit_order order = { .message = "created", .shows = true };
    const struct model_words *words = &order.words;

    if (!envelope_body(x, &order.body)) {
        return;
    }
    if (!model_words_read(x, order.body, &order.words)) {
        json_decref(order.body);
        return;
    }
    if (!words->name || !words->type || !words->config) {
        json_decref(order.body);
        envelope_invalid(x, "%s is required",
                         !words->name   ? "name"
                         : !words->type ? "type (openai, local or custom)"
                                        : "config");
        return;
    }
    model_edit_begin(owner, x, &order);
}

/* NULL: 400 or 404 is answered. */
static const struct model *find(struct api *api, struct http_exchange *x,
                                const struct route_params *params)
{
    const struct model *model;
    int64_t id;

    if (!envelope_id(x, params->values[0], &id)) {
        return NULL;
    }
    model = models_get(api->in.models, id);
    if (!model) {
        envelope_refuse(x, 404, "there is no model %lld", (long long)id);
    }
    return model;
}

/* The file's definitions are changed there. True: it is one, and that is answered. */
static bool refuse_fixed(struct http_exchange *x, const struct model *model)
{
    if (model->origin == MODEL_FROM_CONFIG) {
        envelope_refuse(x, 409,
                        "model '%s' is defined in the config file: change it there and reload; "
                        "only its status is set here",
                        model->config->id);
    }
    return model->origin == MODEL_FROM_CONFIG;
}

/* False: it is refused, and that is answered. */
static bool read_change(struct http_exchange *x, const struct model *model,
                        struct model_edit_order *o)
{
    const struct model_words *w = &o->words;

    if (!model_words_read(x, o->body, &o->words)) {
        return false;
    }
    if (w->type && !str_eq(w->type, task_model_type(model))) {
        envelope_invalid(x, "a model's type stays as it is (%s)", task_model_type(model));
        return false;
    }
    return !(w->name || w->config || w->max_workers > 0) || !refuse_fixed(x, model);
}

static void handle_update(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct model_edit_order order = { .message = "updated", .shows = true };
    const struct model *model = find(owner, x, params);

    if (!model || !envelope_body(x, &order.body)) {
        return;
    }
    order.id = model->id;
    if (!read_change(x, model, &order)) {
        json_decref(order.body);
        return;
    }
    model_edit_begin(owner, x, &order);
}

static void handle_status(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct model_edit_order order = { .message = "status changed" };
    const struct model *model = find(owner, x, params);
    struct model_words words;

    if (!model || !envelope_body(x, &order.body)) {
        return;
    }
    order.id = model->id;
    if (!model_words_read(x, order.body, &words)) {
        json_decref(order.body);
        return;
    }
    if (!words.status) {
        json_decref(order.body);
        envelope_invalid(x, "status is required: online, offline or maintenance");
        return;
    }
    order.words.status = words.status;
    model_edit_begin(owner, x, &order);
}

static void handle_delete(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct model_edit_order order = { .removes = true, .message = "deleted" };
    const struct model *model = find(owner, x, params);

    if (model && !refuse_fixed(x, model)) {
        order.id = model->id;
        model_edit_begin(owner, x, &order);
    }
}

static void handle_get(void *owner, struct http_exchange *x, const struct route_params *params)
{
    const struct model *model = find(owner, x, params);

    if (model) {
        envelope_respond(x, "success", task_model_json(owner, model));
    }
}

static void respond_models(struct api *api, struct http_exchange *x,
                           bool (*fits)(struct api *api, const struct model *m, const char *type,
                                        const char *status),
                           const char *type, const char *status)
{
    const struct model *model;
    json_t *list = json_array();
    size_t cursor = 0;

    while ((model = models_next(api->in.models, &cursor))) {
        if (fits(api, model, type, status)) {
            json_array_append_new(list, task_model_json(api, model));
        }
    }
    envelope_respond(x, "success", list);
}

static bool is_asked_for(struct api *api, const struct model *m, const char *type,
                         const char *status)
{
    return (!type || !*type || str_eq(type, task_model_type(m))) &&
           (!status || !*status || str_eq(status, model_status_name(m->task_status)));
}

static void handle_list(void *owner, struct http_exchange *x, const struct route_params *params)
{
    const struct span query = http_exchange_head(x)->query;
    _cleanup_(freep) char *type = http_query_get(query, "type");
    _cleanup_(freep) char *status = http_query_get(query, "status");

    if (status && *status && model_status_from_string(status) < 0) {
        envelope_invalid(x, "status must be online, offline or maintenance, not '%.60s'", status);
        return;
    }
    respond_models(owner, x, is_asked_for, type, status);
}

static bool is_available(struct api *api, const struct model *m, const char *type,
                         const char *status)
{
    return m->task_status == MODEL_ONLINE &&
           tasks_running(api->in.tasks, m->id) < tasks_max_workers(api->in.tasks, m->id);
}

static void handle_available(void *owner, struct http_exchange *x,
                             const struct route_params *params)
{
    respond_models(owner, x, is_available, NULL, NULL);
}

static void handle_stats(void *owner, struct http_exchange *x, const struct route_params *params)
{
    envelope_respond(x, "success", all_model_stats_json(owner));
}

// clang-format off
const struct route task_models_routes[] = {
    { "POST",   "/api/v1/models",             SCOPE_ADMIN, handle_create,    "Defines a model for tasks and requests; offline at first. Its key is kept in a file and never shown.",
      { "TaskModelCreate", "TaskModelAnswer", "200 400 429 503", NULL } },
    { "GET",    "/api/v1/models",             SCOPE_ADMIN, handle_list,      "The models.",
      { NULL, "TaskModelsList", "200 400", "type:string status:string" } },
    { "GET",    "/api/v1/models/available",   SCOPE_ADMIN, handle_available, "The models that are online and have a free worker.",
      { NULL, "TaskModelsList", "200", NULL } },
    { "GET",    "/api/v1/models/stats",       SCOPE_ADMIN, handle_stats,     "The models with their tasks and with the figures of their requests since berth started.",
      { NULL, "TaskModelStatsList", "200", NULL } },
    { "GET",    "/api/v1/models/{id}",        SCOPE_ADMIN, handle_get,       "One model, by its number.",
      { NULL, "TaskModelAnswer", "200 400 404", NULL } },
    { "PUT",    "/api/v1/models/{id}",        SCOPE_ADMIN, handle_update,    "Changes what is named. A new name is one more by which requests may call the model.",
      { "TaskModelUpdate", "TaskModelAnswer", "200 400 404 409 503", NULL } },
    { "DELETE", "/api/v1/models/{id}",        SCOPE_ADMIN, handle_delete,    "Forgets a model; refused while it has pending or running tasks.",
      { NULL, "EmptyAnswer", "200 400 404 409 503", NULL } },
    { "PUT",    "/api/v1/models/{id}/status", SCOPE_ADMIN, handle_status,    "Says whether tasks of the model run: online, offline or maintenance.",
      { "TaskModelStatus", "EmptyAnswer", "200 400 404 409 503", NULL } },
};
// clang-format on
const size_t task_models_route_count = ARRAY_SIZE(task_models_routes);
