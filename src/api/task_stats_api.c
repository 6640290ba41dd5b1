// SPDX-License-Identifier: Apache-2.0
/*
 * Statistics of tasks, by what was ever done (rows that retention does not touch) and by what is
 * there now (counts in memory). Figures are of the queue's own tasks; a success rate is the share
 * of completed ones among all, in percent.
 */
#include <stdlib.h>

#include "api/task_doors_int.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "gateway/history.h"

enum { DAYS_DEFAULT = 7, DAYS_MAX = 365, RECENT_TASKS = 10, DAY_SIZE = 10 };

/* A request that waits for figures. */
struct inquiry {
    struct api *api;
    struct http_exchange *x; /* NULL once the client is gone */
    json_t *data;            /* said so far: the dashboard, which asks several times */
    struct buf recent;
};

static void on_gone(void *arg)
{
    ((struct inquiry *)arg)->x = NULL;
}

static const struct http_exchange_events inquiry_events = { .on_gone = on_gone };

static struct inquiry *inquire(struct api *api, struct http_exchange *x)
{
    struct inquiry *q = xcalloc(1, sizeof(*q));

    q->api = api;
    q->x = x;
    buf_init(&q->recent, TASK_ANSWER_MAX);
    http_exchange_set_events(x, &inquiry_events, q);
    return q;
}

static void inquiry_free(struct inquiry *q)
{
    json_decref(q->data);
    buf_finish(&q->recent);
    free(q);
}

/* True: it failed, or nobody waits any more, and that is the end of it. */
static bool is_over(struct inquiry *q, int result, const struct error *e)
{
    if (result >= 0 && q->x) {
        return false;
    }
    if (q->x) {
        envelope_fail(q->x, e);
    }
    inquiry_free(q);
    return true;
}

static void respond(struct inquiry *q, json_t *data)
{
    envelope_respond(q->x, "success", data);
    inquiry_free(q);
}

/* ---- figures ---- */

static struct task_counts counts_now(const struct api *api, int64_t model_id, const char *type)
{
    const struct task_filter filter = { .kind = TASK_OF_QUEUE,
                                        .model_id = model_id,
                                        .type = type,
                                        .state = -1,
                                        .priority = -1,
                                        .dead = -1 };

    return tasks_counts(api->in.tasks, &filter);
}

static double mean_ms(const struct task_stats *s)
{
    return s->completed > 0 ? (double)s->processing_ms / (double)s->completed : 0;
}

/* The counters that all rows have. */
static json_t *counters_json(const struct task_stats *s, const struct task_counts *now)
{
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f}", "total_tasks", (json_int_t)s->submitted,
        "pending_tasks", (json_int_t)now->by_state[TASK_PENDING], "running_tasks",
        (json_int_t)now->by_state[TASK_RUNNING], "completed_tasks", (json_int_t)s->completed,
        "failed_tasks", (json_int_t)s->failed, "cancelled_tasks", (json_int_t)s->cancelled,
        "success_rate", percent(s->completed, s->submitted), "avg_processing_ms", mean_ms(s));
}

static json_t *totals_json(const struct api *api, const struct task_stats *rows, size_t count)
{
    const struct task_stats none = { 0 };
    const struct task_counts now = counts_now(api, 0, NULL);

    return counters_json(count > 0 ? &rows[0] : &none, &now);
}

/* ---- one answer each ---- */

static void on_totals(void *arg, int result, const struct task_stats *rows, size_t count,
                      const struct error *e)
{
    struct inquiry *q = arg;

    if (!is_over(q, result, e)) {
        respond(q, totals_json(q->api, rows, count));
    }
}

void handle_task_stats(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;

    tasks_stats(api->in.tasks, TASK_STATS_ALL, TASK_OF_QUEUE, 0, on_totals, inquire(api, x));
}

static void on_days(void *arg, int result, const struct task_stats *rows, size_t count,
                    const struct error *e)
{
    struct inquiry *q = arg;
    json_t *list;

    if (is_over(q, result, e)) {
        return;
    }
    list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I, s:I, s:f}", "date", rows[i].key,
                                              "total", (json_int_t)rows[i].submitted, "completed",
                                              (json_int_t)rows[i].completed, "failed",
                                              (json_int_t)rows[i].failed, "cancelled",
                                              (json_int_t)rows[i].cancelled, "avg_processing_ms",
                                              mean_ms(&rows[i])));
    }
    respond(q, list);
}

static void handle_days(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    uint64_t days;

    if (envelope_query_number(x, "days", DAYS_DEFAULT, DAYS_MAX, &days)) {
        tasks_stats(api->in.tasks, TASK_STATS_BY_DAY, TASK_OF_QUEUE, (unsigned)days, on_days,
                    inquire(api, x));
    }
}

static const struct task_stats *find_model(const struct task_stats *rows, size_t count, int64_t id)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].model_id == id) {
            return &rows[i];
        }
    }
    return NULL;
}

/* model NULL: it was removed, its row stays. */
static json_t *model_row(const struct api *api, const struct model *model,
                         const struct task_stats *s)
{
    const struct task_counts now = counts_now(api, model ? model->id : s->model_id, NULL);
    const struct task_stats none = { 0 };
    json_t *row = counters_json(s ? s : &none, &now);

    json_object_set_new(row, "model_id", json_integer(model ? model->id : s->model_id));
    json_object_set_new(row, "model_name", json_text(model ? task_model_name(model) : s->key));
    json_object_set_new(row, "model_type", json_text(model ? task_model_type(model) : NULL));
    return row;
}

static void on_models(void *arg, int result, const struct task_stats *rows, size_t count,
                      const struct error *e)
{
    struct inquiry *q = arg;
    const struct model *model;
    size_t cursor = 0;
    json_t *list;

    if (is_over(q, result, e)) {
        return;
    }
    list = json_array();
    while ((model = models_next(q->api->in.models, &cursor))) {
        json_array_append_new(list, model_row(q->api, model, find_model(rows, count, model->id)));
    }
    for (size_t i = 0; i < count; i++) {
        if (!models_get(q->api->in.models, rows[i].model_id)) {
            json_array_append_new(list, model_row(q->api, NULL, &rows[i]));
        }
    }
    respond(q, list);
}

static void handle_models(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;

    tasks_stats(api->in.tasks, TASK_STATS_BY_MODEL, TASK_OF_QUEUE, 0, on_models, inquire(api, x));
}

static void on_types(void *arg, int result, const struct task_stats *rows, size_t count,
                     const struct error *e)
{
    struct inquiry *q = arg;
    json_t *list;

    if (is_over(q, result, e)) {
        return;
    }
    list = json_array();
    for (size_t i = 0; i < count; i++) {
        const struct task_counts now = counts_now(q->api, 0, rows[i].key);
        json_t *row = counters_json(&rows[i], &now);

        json_object_set_new(row, "type", json_text(rows[i].key));
        json_array_append_new(list, row);
    }
    respond(q, list);
}

static void handle_types(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;

    tasks_stats(api->in.tasks, TASK_STATS_BY_TYPE, TASK_OF_QUEUE, 0, on_types, inquire(api, x));
}

/* ---- models with figures ---- */

static json_t *model_stats_json(struct api *api, const struct model *model)
{
    const struct model_figures f = gateway_model_figures(api->in.gateway, model->config->id);
    const struct task_counts now = counts_now(api, model->id, NULL);
    json_t *json = task_model_json(api, model);

    json_object_set_new(json, "pending_tasks",
                        json_integer((json_int_t)now.by_state[TASK_PENDING]));
    json_object_set_new(json, "running_tasks",
                        json_integer((json_int_t)now.by_state[TASK_RUNNING]));
    json_object_set_new(json, "queue_status", queue_counts_json(&now));
    json_object_set_new(json, "success_rate",
                        json_real(percent(f.requests - f.errors, f.requests)));
    json_object_set_new(
        json, "avg_response_ms",
        json_real(f.requests > 0 ? (double)f.total_response_ms / (double)f.requests : 0));
    return json;
}

json_t *all_model_stats_json(struct api *api)
{
    const struct model *model;
    json_t *list = json_array();
    size_t cursor = 0;

    while ((model = models_next(api->in.models, &cursor))) {
        json_array_append_new(list, model_stats_json(api, model));
    }
    return list;
}

/* ---- the dashboard: totals, then today, then the latest tasks ---- */

static json_t *worker_json(struct api *api, const struct task_worker *w)
{
    return json_pack("{s:o, s:I, s:s, s:s, s:o, s:o, s:o}", "worker_id",
                     json_sprintf("worker-%lld-%u", (long long)w->model_id, w->number), "model_id",
                     (json_int_t)w->model_id, "model_name", w->model, "status",
                     w->task_id ? "busy" : "idle", "current_task_id",
                     w->task_id ? json_integer(w->task_id) : json_null(), "start_time",
                     json_time(w->since_ms), "last_heartbeat", json_now(api));
}

static json_t *workers_json(struct api *api)
{
    json_t *list = json_array();
    struct task_worker w;
    size_t cursor = 0;

    while (tasks_next_worker(api->in.tasks, &cursor, &w)) {
        json_array_append_new(list, worker_json(api, &w));
    }
    return list;
}

static int online_models(const struct api *api)
{
    const struct model *model;
    size_t cursor = 0;
    int online = 0;

    while ((model = models_next(api->in.models, &cursor))) {
        online += model->task_status == MODEL_ONLINE;
    }
    return online;
}

/* Of today, in UTC; its id is the day's number since 1970. */
static json_t *system_stats_json(struct api *api, const struct task_stats *rows, size_t count)
{
    const int64_t now_ms = world_wall_ms(api->in.world), day = now_ms / (24ll * MS_PER_HOUR);
    const struct task_counts now = counts_now(api, 0, NULL);
    struct task_stats none = { 0 };
    const struct task_stats *today;
    char date[TIMEFMT_SIZE];

    timefmt_iso(now_ms, date);
    date[DAY_SIZE] = '\0';
    today = count > 0 && str_eq(rows[0].key, date) ? &rows[0] : &none;
    return json_pack("{s:I, s:s, s:I, s:I, s:I, s:f, s:I, s:i, s:o}", "id", (json_int_t)day,
                     "stat_date", date, "total_tasks", (json_int_t)today->submitted,
                     "completed_tasks", (json_int_t)today->completed, "failed_tasks",
                     (json_int_t)today->failed, "avg_processing_time_ms", mean_ms(today),
                     "queue_length", (json_int_t)now.by_state[TASK_PENDING], "active_models",
                     online_models(api), "created_at", json_time(day * 24ll * MS_PER_HOUR));
}

static void on_dashboard_recent(void *arg, int result, struct task *const *tasks, size_t count,
                                uint64_t total, const struct error *e)
{
    struct inquiry *q = arg;
    _cleanup_(freep) char *text = NULL;
    struct buf *b = &q->recent;

    if (is_over(q, result, e)) {
        return;
    }
    text = json_dumps(q->data, JSON_COMPACT);
    buf_append(b, text, strlen(text) - 1); /* without its closing brace */
    buf_puts(b, ",\"recent_tasks\":[");
    for (size_t i = 0; i < count; i++) {
        buf_puts(b, i > 0 ? "," : "");
        task_put_open(b, tasks[i], TASK_WITH_BODIES, (struct span){ 0 });
        task_put_model(b, q->api, tasks[i]->model_id);
        buf_putc(b, '}');
    }
    buf_puts(b, "]}");
    envelope_respond_text(q->x, "success", b);
    inquiry_free(q);
}

static void on_dashboard_today(void *arg, int result, const struct task_stats *rows, size_t count,
                               const struct error *e)
{
    const struct task_query recent = {
        .filter = { .kind = TASK_OF_QUEUE, .state = -1, .priority = -1, .dead = -1 },
        .by = TASKS_BY_CREATED,
        .bodies = true,
        .limit = RECENT_TASKS,
    };
    struct inquiry *q = arg;

    if (!is_over(q, result, e)) {
        json_object_set_new(q->data, "system_stats", system_stats_json(q->api, rows, count));
        tasks_list(q->api->in.tasks, &recent, on_dashboard_recent, q);
    }
}

static void on_dashboard_totals(void *arg, int result, const struct task_stats *rows, size_t count,
                                const struct error *e)
{
    struct inquiry *q = arg;
    struct api *api = q->api;

    if (is_over(q, result, e)) {
        return;
    }
    q->data = json_pack("{s:o, s:o, s:o, s:o}", "task_stats", totals_json(api, rows, count),
                        "model_stats", all_model_stats_json(api), "queue_status",
                        queue_status_json(api), "worker_status", workers_json(api));
    tasks_stats(api->in.tasks, TASK_STATS_BY_DAY, TASK_OF_QUEUE, 1, on_dashboard_today, q);
}

static void handle_dashboard(void *owner, struct http_exchange *x,
                             const struct route_params *params)
{
    struct api *api = owner;

    tasks_stats(api->in.tasks, TASK_STATS_ALL, TASK_OF_QUEUE, 0, on_dashboard_totals,
                inquire(api, x));
}

// clang-format off
const struct route task_stats_routes[] = {
    { "GET", "/api/v1/stats/dashboard",   SCOPE_ADMIN, handle_dashboard, "Tasks, models, queue, workers, today and the latest tasks, in one answer.",
      { NULL, "DashboardAnswer", "200 500 504", NULL } },
    { "GET", "/api/v1/stats/tasks/date",  SCOPE_ADMIN, handle_days,      "Tasks by the day of their submission (UTC), the newest first.",
      { NULL, "TaskDaysAnswer", "200 400 500", "days:integer" } },
    { "GET", "/api/v1/stats/tasks/model", SCOPE_ADMIN, handle_models,    "Tasks by model.",
      { NULL, "TaskModelsAnswer", "200 500", NULL } },
    { "GET", "/api/v1/stats/tasks/type",  SCOPE_ADMIN, handle_types,     "Tasks by type.",
      { NULL, "TaskKindsAnswer", "200 500", NULL } },
};
// clang-format on
const size_t task_stats_route_count = ARRAY_SIZE(task_stats_routes);
