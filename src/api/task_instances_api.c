// SPDX-License-Identifier: Apache-2.0
/*
 * The door of Task Instances: registering, submitting and asking, in seed 004's words. A handler
 * that waits holds a `call`, which outlives its exchange.
 */
#include "api/task_instances_int.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

/* ---- what handlers share ---- */

static void on_gone(void *arg)
{
    ((struct ti_call *)arg)->x = NULL;
}

static const struct http_exchange_events call_events = { .on_gone = on_gone };

struct ti_call *ti_call_create(struct api *api, struct http_exchange *x)
{
    struct ti_call *call = xcalloc(1, sizeof(*call));

    call->api = api;
    call->x = x;
    http_exchange_set_events(x, &call_events, call);
    return call;
}

void ti_call_answer(struct ti_call *call, int status, json_t *json)
{
    if (call->x) {
        http_respond_json(call->x, status, json);
    } else {
        json_decref(json);
    }
    json_decref(call->kept);
    free(call->text);
    free(call);
}

void ti_call_refuse(struct ti_call *call, int status, const char *detail)
{
    ti_call_answer(call, status, json_pack("{s:o}", "detail", json_text(detail)));
}

void ti_call_fail(struct ti_call *call, const struct error *e)
{
    ti_call_refuse(call, error_kind(e->code)->http_status, e->text);
}

/* As a list of complaints in a door's usual words. */
const char *need_text(struct body *b, const char *name)
{
    if (!json_object_get(b->json, name)) {
        body_complain(b, name, "Field required", "missing");
    }
    return body_text(b, name, NULL);
}

json_t *need_object(struct body *b, const char *name, bool required)
{
    json_t *value = json_object_get(b->json, name);

    if (!value && required) {
        body_complain(b, name, "Field required", "missing");
    } else if (value && !json_is_object(value)) {
        body_complain(b, name, "must be an object", "dict_type");
    }
    return json_is_object(value) ? value : NULL;
}

char *need_query(struct http_exchange *x, const char *name)
{
    char *text = http_query_get(http_exchange_head(x)->query, name);
    json_t *errors;

    if (text) {
        return text;
    }
    errors = json_pack("[{s:[s, s], s:s, s:s}]", "loc", "query", name, "msg", "Field required",
                       "type", "missing");
    respond_schema_errors(x, errors);
    json_decref(errors);
    return NULL;
}

/* ---- registering ---- */

static json_t *registered_json(const char *status, json_t *message, const char *uuid)
{
    return json_pack("{s:s, s:o, s:s}", "status", status, "message", message, "ti_uuid", uuid);
}

static json_t *registered_words(int result, const struct error *e)
{
    if (result == 1) {
        return json_sprintf("TaskInstance registered, but it does not answer yet: %s", e->text);
    }
    return json_string(result == 2 ? "TaskInstance is registered already"
                                   : "TaskInstance registered successfully");
}

static void on_registered(void *arg, int result, const struct task_instance *instance,
                          const struct error *e)
{
    if (result < 0) {
        ti_call_answer(arg, 200, registered_json("error", json_text(e->text), ""));
    } else {
        ti_call_answer(arg, 200,
                       registered_json("success", registered_words(result, e), instance->uuid));
    }
}

void check_model_name(struct body *b, const char *model)
{
    if (model && (!*model || strlen(model) > MODEL_ID_MAX)) {
        body_complain(b, "model_name", "must have 1 to 255 bytes", "value_error");
    }
}

static int need_port(struct body *b, bool required)
{
    if (!json_object_get(b->json, "port")) {
        if (required) {
            body_complain(b, "port", "Field required", "missing");
        }
        return 0;
    }
    return body_int(b, "port", 0);
}

static void handle_register(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    struct body b;
    const char *host, *model;
    int port;

    if (!body_read(x, &b)) {
        return;
    }
    host = need_text(&b, "host");
    port = need_port(&b, true);
    model = body_text(&b, "model_name", NULL);
    check_model_name(&b, model);
    if (body_is_good(&b, x)) {
        if (port < 1 || port > UINT16_MAX) {
            http_respond_json(
                x, 200,
                registered_json("error", json_string("the port must be from 1 to 65535"), ""));
        } else {
            task_instances_register(api->in.task_instances, host, (uint16_t)port, model,
                                    on_registered, ti_call_create(api, x));
        }
    }
    body_finish(&b);
}

static json_t *removed_json(const struct ti_call *call, const char *status, json_t *message)
{
    json_t *json = json_pack("{s:s, s:o, s:o}", "status", status, "message", message, "ti_uuid",
                             json_text(call->text));

    json_object_update(json, call->kept); /* host and port, where they were given */
    return json;
}

static void on_removed(void *arg, int result, const struct task_instance *instance,
                       const struct error *e)
{
    struct ti_call *call = arg;

    if (result < 0) {
        ti_call_answer(call, 200, removed_json(call, "error", json_text(e->text)));
    } else {
        ti_call_answer(
            call, 200,
            removed_json(call, "success", json_string("TaskInstance removed successfully")));
    }
}

static bool is_uuid(const char *s)
{
    for (int i = 0; i < UUID_SIZE - 1; i++) {
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? s[i] != '-' : !strchr("0123456789abcdefABCDEF", s[i]) || !s[i]) {
            return false;
        }
    }
    return s[UUID_SIZE - 1] == '\0';
}

/* The later generation's clients name it by host and port. */
static void remove_at(struct ti_call *call, const char *host, int port, bool drain)
{
    const struct task_instance *i =
        task_instances_at(call->api->in.task_instances, host, (uint16_t)port);

    call->kept = json_pack("{s:o, s:i}", "host", json_text(host), "port", port);
    if (!i || port < 1 || port > UINT16_MAX) {
        ti_call_answer(
            call, 200,
            removed_json(call, "error", json_sprintf("TaskInstance %s:%d not found", host, port)));
        return;
    }
    call->text = xstrdup(i->uuid);
    task_instances_remove(call->api->in.task_instances, i->uuid, drain, on_removed, call);
}

static void remove_uuid(struct ti_call *call, const char *uuid, bool drain)
{
    call->text = xstrdup(uuid);
    if (!is_uuid(uuid)) {
        ti_call_answer(call, 200, removed_json(call, "error", json_string("Invalid UUID format")));
        return;
    }
    for (char *p = call->text; *p; p++) {
        *p = (char)(*p >= 'A' && *p <= 'F' ? *p + ('a' - 'A') : *p);
    }
    uuid = call->text;
    task_instances_remove(call->api->in.task_instances, uuid, drain, on_removed, call);
}

static void handle_remove(void *owner, struct http_exchange *x, const struct route_params *params)
{
    const char *uuid, *host;
    struct body b;
    bool drain;
    int port;

    if (!body_read(x, &b)) {
        return;
    }
    host = body_text(&b, "host", NULL);
    port = need_port(&b, host != NULL);
    uuid = host ? body_text(&b, "ti_uuid", NULL) : need_text(&b, "ti_uuid");
    host = host ? host : "";
    drain = body_bool(&b, "drain", false);
    if (body_is_good(&b, x)) {
        if (uuid) {
            remove_uuid(ti_call_create(owner, x), uuid, drain);
        } else {
            remove_at(ti_call_create(owner, x), host, port, drain);
        }
    }
    body_finish(&b);
}

/* ---- submitting ---- */

bool ti_order_read(struct api *api, struct body *b, const char *model, struct ti_order *ret)
{
    const json_t *input = need_object(b, "task_input", true);
    const json_t *metadata = need_object(b, "metadata", false);
    const char *id = body_text(b, "task_id", NULL);
    const struct model *of_catalogue;

    if (id && (!*id || strlen(id) >= UUID_SIZE)) {
        body_complain(b, "task_id", "must have 1 to 36 bytes", "value_error");
    }
    if (json_array_size(b->errors) > 0) {
        return false;
    }
    of_catalogue = models_find(api->in.models, span_of(model));
    ret->input = json_dumps(input, JSON_COMPACT);
    ret->metadata = metadata ? json_dumps(metadata, JSON_COMPACT) : xstrdup("{}");
    ret->order = (struct task_instance_order){
        .model = model,
        .task_id = id,
        .model_id = of_catalogue ? of_catalogue->id : 0,
        .input = span_of(ret->input),
        .metadata = span_of(ret->metadata),
    };
    return true;
}

void ti_order_finish(struct ti_order *o)
{
    free(o->input);
    free(o->metadata);
}

int ti_submit_status(int code)
{
    return code == -EEXIST ? 409 : code == -EFBIG ? 413 : 503;
}

static void on_submitted(void *arg, int result, const struct task *task, const struct error *e)
{
    struct ti_call *call = arg;

    if (result < 0) {
        ti_call_refuse(call, ti_submit_status(result), e->text);
        return;
    }
    ti_call_answer(call, 200,
                   json_pack("{s:s, s:s, s:s}", "status", "success", "task_id", task->public_id,
                             "scheduled_ti", task->instance ? task->instance : ""));
}

static void submit(void *owner, struct http_exchange *x, bool queued)
{
    struct api *api = owner;
    struct ti_order o = { 0 };
    const char *model;
    struct body b;

    if (!body_read(x, &b)) {
        return;
    }
    model = need_text(&b, "model_name");
    check_model_name(&b, model);
    ti_order_read(api, &b, model ? model : "", &o);
    if (body_is_good(&b, x)) {
        o.order.queued = queued;
        task_instances_submit(api->in.task_instances, &o.order, on_submitted,
                              ti_call_create(api, x));
    }
    ti_order_finish(&o);
    body_finish(&b);
}

static void handle_submit(void *owner, struct http_exchange *x, const struct route_params *params)
{
    submit(owner, x, false);
}

static void handle_submit_async(void *owner, struct http_exchange *x,
                                const struct route_params *params)
{
    submit(owner, x, true);
}

/* ---- queues ---- */

static void on_refreshed(void *arg)
{
    struct ti_call *call = arg;
    json_t *queues = json_array();
    const struct task_instance *i;
    size_t cursor = 0;

    while ((i = task_instances_next(call->api->in.task_instances, &cursor))) {
        if (i->state == TI_UNREACHABLE || i->last_error ||
            (call->text && !str_eq_opt(i->model, call->text))) {
            continue;
        }
        json_array_append_new(queues, json_pack("{s:o, s:s, s:f, s:f}", "model_name",
                                                json_text(i->model ? i->model : "unknown"),
                                                "ti_uuid", i->uuid, "waiting_time_expect",
                                                i->expected_ms, "waiting_time_error", i->error_ms));
    }
    ti_call_answer(call, 200, json_pack("{s:s, s:o}", "status", "success", "queues", queues));
}

static void handle_queue_info(void *owner, struct http_exchange *x,
                              const struct route_params *params)
{
    struct api *api = owner;
    struct ti_call *call = ti_call_create(api, x);

    call->text = http_query_get(http_exchange_head(x)->query, "model_name");
    task_instances_refresh(api->in.task_instances, call->text, on_refreshed, call);
}

static json_t *timing_json(const struct task_timing *t)
{
    const double n = t->tasks > 0 ? (double)t->tasks : 1;
    json_t *json = json_pack("{s:I, s:f, s:f, s:f}", "total_tasks", (json_int_t)t->tasks,
                             "avg_total_time_ms", t->total_ms / n, "avg_execution_time_ms",
                             t->execution_ms / n, "avg_overhead_ms", t->overhead_ms / n);

    if (t->tasks > 0) {
        json_object_set_new(json, "min_total_time_ms", json_real(t->min_total_ms));
        json_object_set_new(json, "max_total_time_ms", json_real(t->max_total_ms));
    }
    return json;
}

static json_t *recent_json(const struct task_instances *ti)
{
    struct task_timing_entry recent[10];
    const size_t n = task_instances_recent(ti, recent);
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, json_pack("{s:s, s:f, s:f, s:f}", "task_id", recent[i].task_id,
                                              "total_time_ms", recent[i].total_ms,
                                              "execution_time_ms", recent[i].execution_ms,
                                              "overhead_ms", recent[i].overhead_ms));
    }
    return list;
}

static void handle_queue_stats(void *owner, struct http_exchange *x,
                               const struct route_params *params)
{
    const struct task_instances *ti = ((struct api *)owner)->in.task_instances;
    struct task_timing all = task_instances_timing(ti, NULL);
    json_t *json = timing_json(&all), *by = json_object();
    const struct strategy *s;
    size_t cursor = 0;

    while ((s = strategy_next(&cursor))) {
        struct task_timing one = task_instances_timing(ti, s->name);

        if (one.tasks > 0) {
            json_object_set_new(by, s->name, timing_json(&one));
        }
    }
    json_object_set_new(json, "recent_tasks", recent_json(ti));
    json_object_set_new(json, "strategy", json_string(task_instances_strategy(ti)));
    json_object_set_new(json, "strategies", by);
    http_respond_json(x, 200, json);
}

/* ---- the scheduler ---- */

static void handle_set(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    struct error e = { 0 };
    const char *name;
    struct body b;

    if (!body_read(x, &b)) {
        return;
    }
    name = need_text(&b, "name");
    if (body_is_good(&b, x)) {
        if (task_instances_set_strategy(api->in.task_instances, name, &e) < 0) {
            respond_detail(x, 400, "%s", e.text);
        } else {
            http_respond_json(x, 200,
                              json_pack("{s:s, s:s}", "status", "success", "message", "OK"));
        }
    }
    body_finish(&b);
}

static json_t *instance_json(const struct task_instance *i)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:i, s:i, s:s, s:o, s:i, s:i, s:I, s:I, s:I, s:f, s:f}",
                     "uuid", i->uuid, "url",
                     json_sprintf(strchr(i->host, ':') ? "http://[%s]:%d" : "http://%s:%d", i->host,
                                  (int)i->port),
                     "instance_id", json_text(i->instance_id), "model_type", json_text(i->model),
                     "replicas", (int)i->replicas, "queue_size", (int)i->queue_size, "status",
                     task_instance_state_name(i->state), "error", json_text(i->last_error),
                     "generation", (int)i->generation, "in_flight", (int)i->in_flight, "chosen",
                     (json_int_t)i->chosen, "completed", (json_int_t)i->completed, "failed",
                     (json_int_t)i->failed, "waiting_time_expect", i->expected_ms,
                     "waiting_time_error", i->error_ms);
}

static void handle_info(void *owner, struct http_exchange *x, const struct route_params *params)
{
    const struct task_instances *ti = ((struct api *)owner)->in.task_instances;
    json_t *list = json_array(), *capacity = json_object();
    const struct task_instance *i;
    size_t cursor = 0;

    while ((i = task_instances_next(ti, &cursor))) {
        json_array_append_new(list, instance_json(i));
        if (i->model && i->state == TI_READY) {
            json_object_set_new(
                capacity, i->model,
                json_integer(json_integer_value(json_object_get(capacity, i->model)) +
                             i->replicas));
        }
    }
    http_respond_json(x, 200,
                      json_pack("{s:I, s:s, s:o, s:o}", "total_instances",
                                (json_int_t)json_array_size(list), "strategy",
                                task_instances_strategy(ti), "instances", list, "capacity_by_type",
                                capacity));
}

// clang-format off
const struct route task_instances_routes[] = {
    { "POST", "/ti/register", SCOPE_ADMIN, handle_register, "Registers a Task Instance, which need not answer yet; one at the same host and port is the same.",
      { "TaskInstanceRegister", "TaskInstanceAnswer", "200 422" } },
    { "POST", "/ti/remove", SCOPE_ADMIN, handle_remove, "Removes a Task Instance; what it works on is given to others, or (drain) ended there.",
      { "TaskInstanceRemove", "TaskInstanceAnswer", "200 422" } },
    { "POST", "/queue/submit", SCOPE_INFERENCE, handle_submit, "Submits a task to the best Task Instance of the model, or to the model that berth runs.",
      { "TaskInstanceSubmit", "TaskInstanceSubmitted", "200 409 413 422 503" } },
    { "POST", "/queue/submit_async", SCOPE_INFERENCE, handle_submit_async, "The same, answered as soon as the task is stored; its instance is chosen afterwards.",
      { "TaskInstanceSubmit", "TaskInstanceSubmitted", "200 409 413 422 503" } },
    { "POST", "/queue/submit_batch", SCOPE_INFERENCE, handle_submit_batch, "Submits many tasks of one model.",
      { "TaskInstanceBatch", "Any", "200 422" } },
    { "GET", "/queue/info", SCOPE_INFERENCE, handle_queue_info, "How long a task given to a Task Instance now would wait (ms), and the error of that.",
      { NULL, "TaskInstanceQueues", NULL, "model_name:string" } },
    { "GET", "/queue/stats", SCOPE_INFERENCE, handle_queue_stats, "Times of completed tasks of Task Instances since the start, for all and per strategy, and the last ten.",
      { NULL, "TaskInstanceStats", NULL } },
    { "GET", "/scheduler/info", SCOPE_ADMIN, handle_info, "All Task Instances with their figures, and the strategy in use.",
      { NULL, "TaskInstancesInfo", NULL } },
    { "POST", "/scheduler/set", SCOPE_ADMIN, handle_set, "Sets by which strategy Task Instances are chosen, until the next start.",
      { "TaskInstanceStrategy", "StatusMessage", "200 400 422" } },
    { "GET", "/task/query", SCOPE_INFERENCE, handle_task_query, "A task's state and result.",
      { NULL, "TaskInstanceTask", "200 404 422", "task_id:string" } },
    { "GET", "/task/all_tasks", SCOPE_ADMIN, handle_all_tasks, "All tasks of Task Instances, the newest first.",
      { NULL, "Any", "200 503", "limit:integer" } },
    { "POST", "/task/clear", SCOPE_ADMIN, handle_clear, "Forgets the finished tasks of Task Instances.",
      { NULL, "Any", "200 503" } },
    { "POST", "/notify/task_complete", SCOPE_INFERENCE, handle_notify, "A Task Instance tells that a task is completed.",
      { "TaskInstanceResult", "Any", "200 422 503" } },
    { "POST", "/result/submit", SCOPE_INFERENCE, handle_notify, "The same, with the result.",
      { "TaskInstanceResult", "Any", "200 422 503" } },
    { "POST", "/result/fetch", SCOPE_INFERENCE, handle_fetch, "A task's result.",
      { "TaskInstanceTaskId", "Any", "200 404 422" } },
    { "GET", "/result/fetch_all_completed", SCOPE_ADMIN, handle_fetch_all, "The results of all completed tasks of Task Instances, the newest first.",
      { NULL, "Any", "200 503", "limit:integer" } },
    { "GET", "/ws/result_submit", SCOPE_INFERENCE, handle_ws_results, "A WebSocket on which a Task Instance tells of results, and clients submit tasks.",
      { NULL, NULL, "101 400 426 503" } },
    { "GET", "/ws/task_events", SCOPE_INFERENCE, handle_ws_events, "A WebSocket that tells every completion of a task of a Task Instance.",
      { NULL, NULL, "101 400 426 503" } },
};
// clang-format on
const size_t task_instances_route_count = ARRAY_SIZE(task_instances_routes);
