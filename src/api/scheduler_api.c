// SPDX-License-Identifier: Apache-2.0
/*
 * The scheduler door, /api/v1/scheduler, the part that shows: who runs, who waits and why, what
 * was decided, what lies where. Memory is in MiB, durations in seconds. What changes something
 * stands in scheduler_orders.c.
 */
#include <stdlib.h>

#include "api/api_int.h"
#include "api/paging.h"
#include "base/mem.h"

enum { LIMIT_DEFAULT = 50, HOURS_DEFAULT = 24, HOURS_MAX = 8760 };

json_t *place_devices_json(const struct place *place)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < place->count; i++) {
        json_array_append_new(list, json_integer(place->shares[i].device));
    }
    return list;
}

/* ---- status ---- */

/* The contract's four counts: queued is whoever is on the way up, failed is whoever gave up. */
static json_t *model_counts(const struct api *api)
{
    static const char *const queued_words[] = { "queued", "preempted", "starting" };
    const struct model *model;
    size_t cursor = 0;
    int total = 0, running = 0, queued = 0, failed = 0;

    while ((model = models_next(api->in.models, &cursor))) {
        const char *status = model_status(api, model);

        total++;
        running += str_eq(status, "running");
        failed += str_eq(status, "error");
        for (size_t i = 0; i < ARRAY_SIZE(queued_words); i++) {
            queued += str_eq(status, queued_words[i]);
        }
    }
    return json_pack("{s:i, s:i, s:i, s:i}", "total", total, "running", running, "queued", queued,
                     "failed", failed);
}

static void handle_status(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct placement_counts c = placement_counts(api->in.placement);
    json_t *scheduler = json_pack(
        "{s:s, s:o, s:b, s:b, s:i, s:i, s:i, s:i, s:i}", "status", "running", "last_schedule_time",
        json_time(c.last_decision_wall_ms), "auto_scheduling_enabled", 1, "preemption_enabled",
        (int)placement_rules(api->in.placement)->preemption_enabled, "total_schedules_today",
        (int)c.decisions_today, "successful_schedules", (int)c.placed_today, "failed_schedules",
        (int)c.failed_today, "preemptions_last_hour", (int)c.preemptions_last_hour,
        "preemptions_last_day", (int)c.preemptions_last_day);

    http_respond_json(x, 200,
                      json_pack("{s:o, s:o, s:o}", "scheduler", scheduler, "models",
                                model_counts(api), "timestamp", json_now(api)));
}

/* ---- queue ---- */

/* A model of the queue: neither running nor stopped. */
struct queued {
    const struct model *model;
    struct placement_waiting waiting; /* of the first of its instances that waits */
    bool waits;
    size_t order;
};

static int compare_queued(const void *a, const void *b)
{
    const struct queued *one = a, *two = b;

    if (one->model->config->priority != two->model->config->priority) {
        return one->model->config->priority > two->model->config->priority ? -1 : 1;
    }
    if (one->waiting.waiting_ms != two->waiting.waiting_ms) {
        return one->waiting.waiting_ms > two->waiting.waiting_ms ? -1 : 1;
    }
    return one->order < two->order ? -1 : 1;
}

static void add_waiting(struct api *api, struct queued *list, size_t count)
{
    struct placement_waiting w;
    size_t cursor = 0;

    while (placement_next_waiting(api->in.placement, &cursor, &w)) {
        for (size_t i = 0; i < count; i++) {
            if (!list[i].waits && list[i].model->id == w.model_id) {
                list[i].waiting = w;
                list[i].waits = true;
            }
        }
    }
}

/* Owned by the caller. */
static struct queued *collect_queue(struct api *api, size_t *ret_count)
{
    struct queued *list = xcalloc(models_count(api->in.models) + 1, sizeof(*list));
    const struct model *model;
    size_t cursor = 0, n = 0;

    while ((model = models_next(api->in.models, &cursor))) {
        const char *status = model_status(api, model);

        if (str_eq(status, "running") || str_eq(status, "stopped")) {
            continue;
        }
        list[n] = (struct queued){ .model = model, .order = n };
        n++;
    }
    add_waiting(api, list, n);
    qsort(list, n, sizeof(*list), compare_queued);
    *ret_count = n;
    return list;
}

/* When it will load, or be loaded; null: nobody knows. */
static json_t *estimate_json(struct api *api, const struct queued *q)
{
    const struct instance *inst = engines_of_model(api->in.engines, q->model->id);
    const int64_t now = world_wall_ms(api->in.world);
    uint64_t since_ms, left_ms;

    if (q->waits) {
        left_ms = q->waiting.start_in_ms;
        return left_ms > 0 ? json_time(now + (int64_t)left_ms) : json_null();
    }
    if (!inst || inst->state != INSTANCE_STARTING || inst->need.load_ms == 0) {
        return json_null();
    }
    since_ms = world_now_ms(api->in.world) - inst->state_since_ms;
    left_ms = inst->need.load_ms > since_ms ? inst->need.load_ms - since_ms : 0;
    return json_time(now + (int64_t)left_ms);
}

/* Why it is not running, in a sentence. */
static json_t *reason_json(struct api *api, const struct queued *q)
{
    const struct instance *inst = engines_of_model(api->in.engines, q->model->id);

    if (q->waits) {
        return json_text(q->waiting.sentence);
    }
    if (inst && (inst->state == INSTANCE_BACKOFF || inst->state == INSTANCE_FAILED)) {
        return json_text(inst->last_error);
    }
    if (inst && inst->state == INSTANCE_STARTING) {
        return json_string("it is loading");
    }
    if (inst && (inst->state == INSTANCE_DRAINING || inst->state == INSTANCE_STOPPING)) {
        return json_string(inst->displaced ? "it is being moved aside" : "it is being stopped");
    }
    return json_string("it has not been considered yet");
}

static json_t *queued_json(struct api *api, struct http_exchange *x, const struct queued *q,
                           size_t position)
{
    json_t *json = model_info(api, x, q->model);

    json_object_set_new(json, "queue_position", json_integer((json_int_t)position));
    json_object_set_new(json, "estimated_start_time", estimate_json(api, q));
    json_object_set_new(json, "reason", reason_json(api, q));
    json_object_set_new(json, "waiting", json_real((double)q->waiting.waiting_ms / 1000));
    json_object_set_new(json, "reserved", json_boolean(q->waits && q->waiting.reserved));
    if (q->waits && q->waiting.reserved) {
        json_object_set_new(json, "gpu_devices", place_devices_json(&q->waiting.place));
    }
    return json;
}

static void handle_queue(void *owner, struct http_exchange *x, const struct route_params *params)
{
    static const struct paging_kind kind = {
        .sorts = "queue_position id name priority status waiting estimated_start_time",
        .texts = "id name aliases reason",
        .filters = "status framework",
    };
    struct api *api = owner;
    struct paging paging;
    struct queued *list;
    json_t *queue, *answer;
    size_t count;

    if (!paging_read(x, &kind, &paging)) {
        return;
    }
    list = collect_queue(api, &count);
    queue = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(queue, queued_json(api, x, &list[i], i + 1));
    }
    free(list);
    answer = json_pack("{s:o, s:o}", "queue", queue, "timestamp", json_now(api));
    paging_apply(&paging, answer, "queue");
    paging_finish(&paging);
    http_respond_json(x, 200, answer);
}

/* ---- history ---- */

struct history_ask {
    struct wait *w;
    json_t *entries;
    uint64_t limit, hours;
    char *model_id, *action; /* NULL: all */
};

/* Memory on the host's own device counts as the system's. */
static json_t *usage_json(const struct api *api, const struct placement_entry *e,
                          const struct model *model)
{
    const json_t *cores =
        model ? json_object_get(model->config->resource_requirements, "cpu_cores") : NULL;
    uint64_t gpu = 0, system = e->place.host_bytes;

    for (unsigned i = 0; i < e->place.count; i++) {
        const struct gpu_device *d = gpu_find(api->in.gpu, e->place.shares[i].device);

        *(d && d->cpu ? &system : &gpu) += e->place.shares[i].bytes;
    }
    return json_pack("{s:I, s:I, s:I}", "gpu_memory", mib(gpu), "cpu_cores",
                     json_is_integer(cores) ? json_integer_value(cores) : (json_int_t)0,
                     "system_memory", mib(system));
}

/* The contract knows four words; giving way to an equal is the second of them. */
static const char *action_name(enum placement_act act)
{
    return placement_act_name(act == ACT_SWAPPED ? ACT_PREEMPTED : act);
}

static json_t *entry_json(const struct api *api, const struct placement_entry *e)
{
    const struct model *model = models_find(api->in.models, span_of(e->model_name));

    return json_pack(
        "{s:o, s:o, s:o, s:s, s:o, s:o, s:s, s:o, s:f, s:b, s:o, s:s, s:o}", "id",
        json_sprintf("%lld", (long long)e->id), "model_id", json_text(e->model_name), "model_name",
        json_text(model ? model->config->name : e->model_name), "action", action_name(e->act),
        "timestamp", json_time(e->wall_ms), "gpu_devices", place_devices_json(&e->place), "result",
        e->success ? "success" : "failed", "reason", json_text(e->reason), "duration",
        e->duration_ms > 0 ? (double)e->duration_ms / 1000 : 0.0, "ended",
        (int)(e->duration_ms >= 0 || !e->success), "resource_usage", usage_json(api, e, model),
        "decision", placement_act_name(e->act), "made_room_for",
        json_text(e->for_model && e->for_model[0] ? e->for_model : NULL));
}

static void respond_history(struct history_ask *ask, int result)
{
    const struct wait *w = ask->w;

    if (result < 0) {
        respond_detail(w->x, 503, "the history cannot be read now");
        return;
    }
    paging_tell_total(w->x, (uint64_t)result);
    http_respond_json(w->x, 200,
                      json_pack("{s:O, s:I, s:i, s:{s:I, s:I, s:o}, s:o}", "history", ask->entries,
                                "total_count", (json_int_t)json_array_size(ask->entries),
                                "matching", result, "filters", "limit", (json_int_t)ask->limit,
                                "hours", (json_int_t)ask->hours, "model_id",
                                json_text(ask->model_id), "timestamp", json_now(w->api)));
}

static void on_entry(void *arg, const struct placement_entry *entry, int result)
{
    struct history_ask *ask = arg;

    if (entry) {
        if (ask->w->api) {
            json_array_append_new(ask->entries, entry_json(ask->w->api, entry));
        }
        return;
    }
    if (ask->w->x && ask->w->api) {
        respond_history(ask, result);
    }
    wait_free(ask->w);
    json_decref(ask->entries);
    free(ask->model_id);
    free(ask->action);
    free(ask);
}

static bool is_action(const char *word)
{
    for (int i = 0; i < ACT_MAX_; i++) {
        if (str_eq(word, placement_act_name((enum placement_act)i))) {
            return true;
        }
    }
    return false;
}

static void ask_history(struct api *api, struct http_exchange *x, const struct paging *paging,
                        uint64_t hours)
{
    struct history_ask *ask = xcalloc(1, sizeof(*ask));
    struct placement_history_filter filter = { 0 };

    ask->limit = paging->limit == UINT64_MAX ? LIMIT_DEFAULT : paging->limit;
    ask->hours = hours;
    ask->entries = json_array();
    ask->model_id = xstrdup_opt(paging->filters[0]);
    ask->action = xstrdup_opt(paging->filters[1]);
    ask->w = wait_create(api, x, "", 0);
    filter.limit = (unsigned)ask->limit;
    filter.offset = (unsigned)paging->offset;
    filter.since_wall_ms = world_wall_ms(api->in.world) - (int64_t)hours * MS_PER_HOUR;
    filter.model = ask->model_id;
    filter.act = ask->action;
    filter.text = paging->q;
    filter.oldest_first = paging->sort && !paging->descending;
    placement_history(api->in.placement, &filter, on_entry, ask);
}

static void handle_history(void *owner, struct http_exchange *x, const struct route_params *params)
{
    static const struct paging_kind kind = { .sorts = "timestamp",
                                             .texts = "",
                                             .filters = "model_id action" };
    struct paging paging;
    uint64_t hours;

    if (!query_from_one(x, "hours", HOURS_DEFAULT, HOURS_MAX, &hours) ||
        !paging_read(x, &kind, &paging)) {
        return;
    }
    if (paging.filters[1] && !is_action(paging.filters[1])) {
        paging_refuse(x, "action", "must be scheduled, preempted, swapped, recovered or failed");
    } else {
        ask_history(owner, x, &paging, hours);
    }
    paging_finish(&paging);
}

/* ---- resources ---- */

static json_t *allocation_json(const struct model *model, const struct instance *inst, int device)
{
    const uint64_t taken = place_bytes_on(&inst->taken, device);

    return json_pack("{s:s, s:s, s:i, s:o, s:o, s:I, s:s, s:s}", "model_id", model->config->id,
                     "model_name", model->config->name, "priority", model->config->priority,
                     "memory_usage", taken > 0 ? json_integer(mib(taken)) : json_null(),
                     "start_time", json_time(inst->started_wall_ms), "memory_reserved",
                     mib(place_bytes_on(&inst->place, device)), "instance", inst->uuid, "state",
                     instance_state_name(inst->state));
}

static bool lies_on(const struct place *place, int device)
{
    for (unsigned i = 0; i < place->count; i++) {
        if (place->shares[i].device == device) {
            return true;
        }
    }
    return false;
}

/* What lies on the device. */
static json_t *allocations_json(const struct api *api, int device)
{
    const struct instance *inst;
    json_t *list = json_array();
    size_t cursor = 0;

    while ((inst = engines_next(api->in.engines, &cursor))) {
        const struct model *model = models_get(api->in.models, inst->model_id);

        if (model && lies_on(&inst->place, device)) {
            json_array_append_new(list, allocation_json(model, inst, device));
        }
    }
    return list;
}

static double told(double figure)
{
    return figure < 0 ? 0 : figure;
}

static json_t *gpu_json(const struct api *api, const struct gpu_device *d)
{
    json_t *models = allocations_json(api, d->index);
    const json_int_t total = mib(d->memory_total_bytes), used = mib(d->memory_used_bytes);
    struct placement_room room = { 0 };
    json_t *json;

    json = json_pack("{s:i, s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:s, s:o, s:b}", "gpu_id", d->index,
                     "gpu_name", d->name, "memory_total", total, "memory_used", used, "memory_free",
                     total - used, "utilization", told(d->utilization), "temperature",
                     told(d->temperature_c), "power_usage", told(d->power_w), "allocation_status",
                     json_array_size(models) > 0 ? "allocated" : "free", "allocated_models", models,
                     "cpu", (int)d->cpu);
    if (placement_room(api->in.placement, d->index, &room)) {
        json_object_set_new(
            json, "placement",
            json_pack("{s:I, s:I, s:I, s:I, s:I}", "placeable", mib(room.placeable_bytes),
                      "reserved", mib(room.reserved_bytes), "held", mib(room.held_bytes), "others",
                      mib(room.other_bytes), "free", mib(room.free_bytes)));
    }
    return json;
}

static int placed_models(const struct api *api)
{
    const struct model *model;
    size_t cursor = 0;
    int placed = 0;

    while ((model = models_next(api->in.models, &cursor))) {
        const struct instance *inst = engines_of_model(api->in.engines, model->id);

        placed += inst && inst->place.count > 0;
    }
    return placed;
}

static void handle_resources(void *owner, struct http_exchange *x,
                             const struct route_params *params)
{
    struct api *api = owner;
    const struct gpu_device *d;
    json_t *list = json_array();
    json_int_t used = 0, total = 0;
    size_t cursor = 0;
    int count = 0, allocated = 0;

    while ((d = gpu_next(api->in.gpu, &cursor))) {
        json_t *one = gpu_json(api, d);

        count++;
        allocated += json_array_size(json_object_get(one, "allocated_models")) > 0;
        used += mib(d->memory_used_bytes);
        total += mib(d->memory_total_bytes);
        json_array_append_new(list, one);
    }
    http_respond_json(x, 200,
                      json_pack("{s:o, s:{s:i, s:i, s:i, s:i, s:I, s:I}, s:o}", "gpu_allocation",
                                list, "summary", "total_gpus", count, "allocated_gpus", allocated,
                                "free_gpus", count - allocated, "total_models", placed_models(api),
                                "total_memory_used", used, "total_memory_available", total,
                                "timestamp", json_now(api)));
}

/* ---- why ---- */

static void handle_why(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct model *model = model_of_path(api, x, params);
    json_t *why;

    if (!model) {
        return;
    }
    why = placement_why(api->in.placement, model->id);
    json_object_set_new(why, "model_id", json_string(model->config->id));
    json_object_set_new(why, "status", json_string(model_status(api, model)));
    http_respond_json(x, 200, why);
}

/* ---- health ---- */

json_t *component_json(const char *status, json_t *message)
{
    return json_pack("{s:s, s:o}", "status", status, "message", message);
}

static json_t *core_health(struct api *api)
{
    const char *read_only = store_read_only_reason(api->in.store);
    const struct placement_counts c = placement_counts(api->in.placement);

    if (read_only) {
        return component_json("degraded",
                              json_sprintf("decisions are made, but not kept: %s", read_only));
    }
    if (api->phase == API_DRAINING) {
        return component_json("degraded", json_string("berth is going down"));
    }
    if (c.last_decision_wall_ms == 0) {
        return component_json("healthy", json_string("there was nothing to decide yet"));
    }
    return component_json("healthy", json_sprintf("%u decisions today", c.decisions_today));
}

static json_t *monitor_health(const struct api *api)
{
    const struct gpu_device *d;
    size_t cursor = 0;
    int count = 0, silent = 0;

    while ((d = gpu_next(api->in.gpu, &cursor))) {
        count++;
        silent += d->unresponsive;
    }
    if (count == 0) {
        return component_json("unhealthy", json_string("no device is known"));
    }
    if (silent > 0) {
        return component_json(silent == count ? "unhealthy" : "degraded",
                              json_sprintf("%d of %d devices do not answer", silent, count));
    }
    return component_json("healthy", json_sprintf("%d of %d devices answer", count, count));
}

static json_t *manager_health(const struct api *api)
{
    const struct model *model;
    size_t cursor = 0;
    int total = 0, failed = 0;

    while ((model = models_next(api->in.models, &cursor))) {
        total++;
        failed += str_eq(model_status(api, model), "error");
    }
    return component_json(failed > 0 ? "degraded" : "healthy",
                          failed > 0 ? json_sprintf("%d of %d models have failed", failed, total)
                                     : json_sprintf("none of %d models has failed", total));
}

/* The worst of them. */
static const char *worst_of(const json_t *components)
{
    const char *worst = "healthy", *name;
    json_t *component;

    json_object_foreach((json_t *)(uintptr_t)components, name, component)
    {
        const char *status = json_string_value(json_object_get(component, "status"));

        if (str_eq(status, "unhealthy")) {
            return status;
        }
        worst = str_eq(status, "degraded") ? "degraded" : worst;
    }
    return worst;
}

static void handle_health(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    json_t *components =
        json_pack("{s:o, s:o, s:o}", "scheduler_core", core_health(api), "resource_monitor",
                  monitor_health(api), "model_manager", manager_health(api));
    const char *status = worst_of(components);

    http_respond_json(x, str_eq(status, "unhealthy") ? 503 : 200,
                      json_pack("{s:s, s:o, s:o}", "status", status, "timestamp", json_now(api),
                                "components", components));
}

// clang-format off
const struct route scheduler_routes[] = {
    { "GET",  "/api/v1/scheduler/status",    SCOPE_ADMIN, handle_status,    "How many models run, wait and have failed; what was decided today.",
      { NULL, "SchedulerStatus", "200", NULL } },
    { "GET",  "/api/v1/scheduler/queue",     SCOPE_ADMIN, handle_queue,     "The models that are neither running nor stopped, the most important first, and why.",
      { NULL, "SchedulerQueue", "200 422", PAGING_QUERY " status:string framework:string" } },
    { "GET",  "/api/v1/scheduler/history",   SCOPE_ADMIN, handle_history,   "What was decided, newest first.",
      { NULL, "SchedulerHistory", "200 422 503", "hours:integer model_id:string action:string " PAGING_QUERY } },
    { "GET",  "/api/v1/scheduler/resources", SCOPE_ADMIN, handle_resources, "What lies on which device.",
      { NULL, "SchedulerResources", "200", NULL } },
    { "GET",  "/api/v1/scheduler/policy",    SCOPE_ADMIN, handle_policy,    "The rules of placement.",
      { NULL, "SchedulerPolicy", "200", NULL } },
    { "PUT",  "/api/v1/scheduler/policy",    SCOPE_ADMIN, handle_set_policy, "Sets the rules: applied at once, kept over restarts. What is absent takes its default.",
      { "SchedulerPolicy", "SchedulerPolicySet", "200 400 422 429 503", NULL } },
    { "POST", "/api/v1/scheduler/schedule",  SCOPE_ADMIN, handle_schedule,  "Asks for a place for a model, and starts it there.",
      { "ScheduleRequest", "ScheduleAnswer", "200 400 404 409 422 429 503", NULL } },
    { "POST", "/api/v1/scheduler/models/{id}/prioritize", SCOPE_ADMIN, handle_prioritize, "Raises the model's priority by one.",
      { NULL, "PrioritizeAnswer", "200 400 404 409 429 503", NULL } },
    { "POST", "/api/v1/scheduler/models/{id}/cancel", SCOPE_ADMIN, handle_cancel, "Takes a model out of the queue: it is not wanted any more.",
      { NULL, "CancelAnswer", "200 400 404 409 429 503", NULL } },
    { "POST", "/api/v1/scheduler/restart",   SCOPE_ADMIN, handle_restart_scheduler, "Reads the devices again and decides everything anew.",
      { NULL, "RestartAnswer", "200", NULL } },
    { "GET",  "/api/v1/scheduler/health",    SCOPE_ADMIN, handle_health,    "Tells whether placement, the devices and the models are well.",
      { NULL, "SchedulerHealth", "200 503", NULL } },
    { "GET",  "/api/v1/scheduler/why/{id}",  SCOPE_ADMIN, handle_why,       "Why the model is where it is, or is not.",
      { NULL, "SchedulerWhy", "200 404", NULL } },
};
// clang-format on
const size_t scheduler_route_count = ARRAY_SIZE(scheduler_routes);
