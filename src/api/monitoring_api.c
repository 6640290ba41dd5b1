// SPDX-License-Identifier: Apache-2.0
/*
 * The monitoring door, /api/monitoring: how the host, the devices and the models are, and how they
 * were in the last hour. What is asked for beyond that hour is answered with what there is. Memory
 * is in MiB, times of requests in milliseconds.
 */
#include <stdlib.h>

#include "api/api_int.h"
#include "base/mem.h"

enum {
    HOURS_DEFAULT = 1,
    HISTORY_HOURS_DEFAULT = 24,
    HOURS_MAX = 8760,
    LIMIT_DEFAULT = 1000,
    LIMIT_MAX = 10000,
};

static double told(double figure)
{
    return figure < 0 ? 0 : figure;
}

/* ---- now ---- */

static json_t *device_metrics(const struct gpu_device *d)
{
    return json_pack("{s:i, s:o, s:f, s:I, s:I, s:f, s:f}", "device_id", d->index, "timestamp",
                     json_time(d->sampled_wall_ms), "utilization", told(d->utilization),
                     "memory_used", mib(d->memory_used_bytes), "memory_total",
                     mib(d->memory_total_bytes), "temperature", told(d->temperature_c),
                     "power_usage", told(d->power_w));
}

json_t *all_device_metrics(const struct api *api)
{
    const struct gpu_device *d;
    json_t *list = json_array();
    size_t cursor = 0;

    while ((d = gpu_next(api->in.gpu, &cursor))) {
        json_array_append_new(list, device_metrics(d));
    }
    return list;
}

static void handle_devices(void *owner, struct http_exchange *x, const struct route_params *params)
{
    http_respond_json(x, 200, all_device_metrics(owner));
}

static void handle_system(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct gpu_host *h = gpu_host(api->in.gpu);
    json_t *json = overview_json(api);

    json_object_set_new(json, "gpu_metrics", all_device_metrics(api));
    json_object_set_new(
        json, "system_metrics",
        json_pack("{s:f, s:f, s:f}", "cpu_percent", told(h->cpu_percent), "memory_percent",
                  percent(h->memory_used_bytes, h->memory_total_bytes), "disk_percent",
                  percent(h->disk_used_bytes, h->disk_total_bytes)));
    http_respond_json(x, 200, json);
}

static void handle_host(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;

    http_respond_json(x, 200, host_json(api, gpu_host(api->in.gpu)));
}

/* ---- what was ---- */

bool range_read(struct api *api, struct http_exchange *x, struct range *ret)
{
    uint64_t hours;

    if (!query_from_one(x, "hours", HISTORY_HOURS_DEFAULT, HOURS_MAX, &hours) ||
        !query_from_one(x, "limit", LIMIT_DEFAULT, LIMIT_MAX, &ret->limit)) {
        return false;
    }
    ret->since_wall_ms = world_wall_ms(api->in.world) - (int64_t)hours * MS_PER_HOUR;
    return true;
}

void range_cut(const struct range *range, json_t *list)
{
    while (json_array_size(list) > range->limit) {
        json_array_remove(list, 0);
    }
}

static json_t *device_sample(int device, const struct gpu_sample *s)
{
    return json_pack("{s:i, s:o, s:f, s:I, s:I, s:f, s:f}", "device_id", device, "timestamp",
                     json_time(s->wall_ms), "utilization", told((double)s->utilization),
                     "memory_used", mib(s->memory_used_bytes), "memory_total",
                     mib(s->memory_total_bytes), "temperature", told((double)s->temperature_c),
                     "power_usage", told((double)s->power_w));
}

/* What is left to tell of a device: its first so many readings. */
struct readings {
    int device;
    size_t left;
};

/* Takes the latest reading of them all, of equally late ones that of the last device; NULL: none is
 * left, or in the range. Owned by the caller. */
static json_t *take_latest(const struct api *api, struct readings *all, size_t count,
                           const struct range *range)
{
    const struct gpu_sample *latest = NULL;
    struct readings *from = NULL;

    for (size_t i = 0; i < count; i++) {
        const struct gpu_sample *s =
            all[i].left > 0 ? gpu_sample_at(api->in.gpu, all[i].device, all[i].left - 1) : NULL;

        if (s && s->wall_ms >= range->since_wall_ms && (!latest || s->wall_ms >= latest->wall_ms)) {
            latest = s;
            from = &all[i];
        }
    }
    if (!latest) {
        return NULL;
    }
    from->left--;
    return device_sample(from->device, latest);
}

/* Of these devices. */
static json_t *device_samples(const struct api *api, struct readings *all, size_t count,
                              const struct range *range)
{
    json_t *list = json_array(), **taken;
    size_t n = 0, room = 0;

    for (size_t i = 0; i < count; i++) {
        room += all[i].left;
    }
    room = MIN_OF(room, range->limit);
    taken = xcalloc(room + 1, sizeof(json_t *));
    while (n < room && (taken[n] = take_latest(api, all, count, range))) {
        n++;
    }
    while (n > 0) {
        json_array_append_new(list, taken[--n]);
    }
    free(taken);
    return list;
}

/* The one that ?device_id= names; -1: none is named. False: there is none of that index, and that
 * is answered. */
static bool device_of_query(struct api *api, struct http_exchange *x, int *ret)
{
    _cleanup_(freep) char *text = http_query_get(http_exchange_head(x)->query, "device_id");
    json_t *errors;
    int64_t index;

    *ret = -1;
    if (!text) {
        return true;
    }
    if (span_to_i64(span_of(text), &index) == -EINVAL) {
        errors = json_pack("[{s:[s, s], s:s, s:s}]", "loc", "query", "device_id", "msg",
                           "the index of a device is a whole number", "type", "int_parsing");
        respond_schema_errors(x, errors);
        json_decref(errors);
        return false;
    }
    if (index < 0 || index > GPU_DEVICES_MAX || !gpu_find(api->in.gpu, (int)index)) {
        respond_detail(x, 404, "there is no device %s", text);
        return false;
    }
    *ret = (int)index;
    return true;
}

static void handle_device_history(void *owner, struct http_exchange *x,
                                  const struct route_params *params)
{
    struct api *api = owner;
    const struct gpu_device *d;
    struct readings *all;
    struct range range;
    size_t cursor = 0, count = 0;
    int only;

    if (!range_read(api, x, &range) || !device_of_query(api, x, &only)) {
        return;
    }
    all = xcalloc(GPU_DEVICES_MAX, sizeof(*all));
    while ((d = gpu_next(api->in.gpu, &cursor)) && count < GPU_DEVICES_MAX) {
        if (only < 0 || only == d->index) {
            all[count++] = (struct readings){ d->index, gpu_sample_count(api->in.gpu, d->index) };
        }
    }
    http_respond_json(x, 200, device_samples(api, all, count, &range));
    free(all);
}

static void handle_host_history(void *owner, struct http_exchange *x,
                                const struct route_params *params)
{
    struct api *api = owner;
    const struct gpu_host *h;
    struct range range;
    json_t *list;

    if (!range_read(api, x, &range)) {
        return;
    }
    list = json_array();
    for (size_t i = 0; api->in.monitor && (h = monitor_host_at(api->in.monitor, i)); i++) {
        if (h->sampled_wall_ms >= range.since_wall_ms) {
            json_array_append_new(list, host_json(api, h));
        }
    }
    range_cut(&range, list);
    http_respond_json(x, 200, list);
}

/* ---- models ---- */

static json_t *sample_json(const char *id, const struct monitor_sample *s)
{
    return json_pack("{s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:f, s:f}", "model_id", id, "timestamp",
                     json_time(s->wall_ms), "request_count", (json_int_t)s->requests,
                     "total_response_time", (json_int_t)s->total_response_ms, "error_count",
                     (json_int_t)s->errors, "active_connections", (json_int_t)s->active,
                     "memory_usage", mib(s->memory_bytes), "cpu_usage", (double)s->cpu_percent,
                     "gpu_utilization", (double)s->gpu_percent);
}

static void handle_model_history(void *owner, struct http_exchange *x,
                                 const struct route_params *params)
{
    struct api *api = owner;
    const struct model *model = model_of_path(api, x, params);
    const struct monitor_sample *s;
    struct range range;
    json_t *list;

    if (!model || !range_read(api, x, &range)) {
        return;
    }
    list = json_array();
    for (size_t i = 0; api->in.monitor && (s = monitor_model_at(api->in.monitor, model->id, i));
         i++) {
        if (s->wall_ms >= range.since_wall_ms) {
            json_array_append_new(list, sample_json(model->config->id, s));
        }
    }
    range_cut(&range, list);
    http_respond_json(x, 200, list);
}

static json_t *gpu_figures(const struct api *api, const struct model *model, int64_t since_wall_ms)
{
    const struct monitor_sample *s;
    json_t *list = json_array();

    for (size_t i = 0; (s = monitor_model_at(api->in.monitor, model->id, i)); i++) {
        if (s->wall_ms >= since_wall_ms) {
            json_array_append_new(list, json_real((double)s->gpu_percent));
        }
    }
    return list;
}

static json_t *metrics_json(const struct api *api, const struct model *model, uint64_t hours)
{
    const int64_t since = world_wall_ms(api->in.world) - (int64_t)hours * MS_PER_HOUR;
    const struct monitor_window w = monitor_model_window(api->in.monitor, model, since);
    const double seconds = (double)(w.to_wall_ms - w.from_wall_ms) / 1000;
    const double requests = (double)w.requests;

    return json_pack(
        "{s:s, s:{s:o, s:o}, s:I, s:f, s:f, s:f, s:o}", "model_id", model->config->id, "time_range",
        "start_time", json_time(w.from_wall_ms), "end_time", json_time(w.to_wall_ms),
        "request_count", (json_int_t)w.requests, "average_response_time",
        requests > 0 ? (double)w.total_response_ms / requests : 0.0, "error_rate",
        percent(w.errors, w.requests), "throughput", seconds > 0 ? requests / seconds : 0.0,
        "gpu_utilization", gpu_figures(api, model, w.from_wall_ms));
}

static void handle_model_metrics(void *owner, struct http_exchange *x,
                                 const struct route_params *params)
{
    struct api *api = owner;
    const struct model *model = model_of_path(api, x, params);
    uint64_t hours;

    if (model && query_from_one(x, "hours", HOURS_DEFAULT, HOURS_MAX, &hours)) {
        http_respond_json(x, 200, metrics_json(api, model, hours));
    }
}

static void handle_health(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct model *model = model_of_path(api, x, params);
    const struct instance *inst;

    if (!model) {
        return;
    }
    inst = engines_of_model(api->in.engines, model->id);
    http_respond_json(x, 200,
                      json_pack("{s:s, s:s, s:o}", "model_id", model->config->id, "health_status",
                                status_words(model->wanted, inst)->health, "timestamp",
                                json_now(api)));
}

// clang-format off
const struct route monitoring_routes[] = {
    { "GET", "/api/monitoring/system",              SCOPE_ADMIN, handle_system,         "Models and devices in a few figures, with each device's and the host's load.",
      { NULL, "MonitoringSystem", "200", NULL } },
    { "GET", "/api/monitoring/gpu",                 SCOPE_ADMIN, handle_devices,        "The last reading of each device.",
      { NULL, "GPUMetricsList", "200", NULL } },
    { "GET", "/api/monitoring/gpu/history",         SCOPE_ADMIN, handle_device_history, "The latest readings of the last hour, oldest first.",
      { NULL, "GPUMetricsList", "200 404 422", "device_id:integer hours:integer limit:integer" } },
    { "GET", "/api/monitoring/metrics/system",      SCOPE_ADMIN, handle_host,           "How busy the host is: CPU, memory, disk, network.",
      { NULL, "SystemResourceMetrics", "200", NULL } },
    { "GET", "/api/monitoring/system/history",      SCOPE_ADMIN, handle_host_history,   "The same in the last hour, every 10 seconds, oldest first.",
      { NULL, "SystemResourceMetricsList", "200 422", "hours:integer limit:integer" } },
    { "GET", "/api/monitoring/service",             SCOPE_ADMIN, handle_service,        "How the service was in the last step of 10 seconds, with the devices and the host: what /api/events tells as event: sample.",
      { NULL, "ServiceNow", "200", NULL } },
    { "GET", "/api/monitoring/service/history",     SCOPE_ADMIN, handle_service_history, "How much was asked of all models together in the last hour, every 10 seconds, oldest first.",
      { NULL, "ServiceSampleList", "200 422", "hours:integer limit:integer" } },
    { "GET", "/api/monitoring/models/{id}/metrics", SCOPE_ADMIN, handle_model_metrics,  "Sums up what the model was asked in the last hour; time_range tells since when.",
      { NULL, "ModelMetrics", "200 404 422", "hours:integer" } },
    { "GET", "/api/monitoring/models/{id}/history", SCOPE_ADMIN, handle_model_history,  "How the model was in the last hour, every 10 seconds, oldest first.",
      { NULL, "ModelPerformanceMetricsList", "200 404 422", "hours:integer limit:integer" } },
    { "GET", "/api/monitoring/models/{id}/health",  SCOPE_ADMIN, handle_health,         "Tells the model's health.",
      { NULL, "MonitoringHealth", "200 404", NULL } },
};
// clang-format on
const size_t monitoring_route_count = ARRAY_SIZE(monitoring_routes);
