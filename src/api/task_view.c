// SPDX-License-Identifier: Apache-2.0
/*
 * How the task doors show things. Tasks are written straight into a buffer, since they are many;
 * models are trees. Nothing that is secret is ever shown: a key is stars, wherever it is kept.
 */
#include "api/task_doors_int.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "gateway/history.h"

/* ---- pieces ---- */

void put_json_text(struct buf *out, const char *s, size_t n)
{
    _cleanup_(freep) char *copy = NULL;

    if (!s) {
        buf_puts(out, "null");
        return;
    }
    if (!is_valid_utf8(s, n)) {
        copy = xstrndup(s, n);
        n = strlen(copy);
        for (char *p = copy; *p; p++) {
            *p = (unsigned char)*p < 0x80 ? *p : '?';
        }
        s = copy;
    }
    buf_putc(out, '"');
    buf_put_json_escaped(out, s, n);
    buf_putc(out, '"');
}

void put_json_time(struct buf *out, int64_t wall_ms)
{
    char text[TIMEFMT_SIZE];

    if (wall_ms == 0) {
        buf_puts(out, "null");
        return;
    }
    timefmt_iso(wall_ms, text);
    buf_putc(out, '"');
    buf_puts(out, text);
    buf_putc(out, '"');
}

/* ---- a task ---- */

static void put_number(struct buf *out, const char *before, int64_t n)
{
    buf_puts(out, before);
    buf_put_int(out, n);
}

static void put_bodies(struct buf *out, const struct task *task, struct span input)
{
    buf_puts(out, ",\"input\":");
    if (input.p && input.p[0] == '"') {
        buf_append(out, input.p, input.n);
    } else if (input.p) {
        put_json_text(out, input.p, input.n);
    } else {
        put_json_text(out, task->input ? task->input : "", task->input_len);
    }
    buf_puts(out, ",\"output\":");
    put_json_text(out, task->output, task->output_len);
}

static void put_times(struct buf *out, const struct task *task)
{
    buf_puts(out, ",\"started_at\":");
    put_json_time(out, task->started_ms);
    buf_puts(out, ",\"completed_at\":");
    put_json_time(out, task->completed_ms);
    buf_puts(out, ",\"created_at\":");
    put_json_time(out, task->created_ms);
    buf_puts(out, ",\"updated_at\":");
    put_json_time(out, task->updated_ms);
    buf_puts(out, ",\"run_at\":");
    put_json_time(out, task->due_ms);
}

void task_put_open(struct buf *out, const struct task *task, enum task_bodies bodies,
                   struct span input)
{
    put_number(out, "{\"id\":", task->id);
    put_number(out, ",\"model_id\":", task->model_id);
    buf_puts(out, ",\"model_name\":");
    put_json_text(out, task->model, task->model ? strlen(task->model) : 0);
    buf_puts(out, ",\"type\":");
    put_json_text(out, task->type, task->type ? strlen(task->type) : 0);
    if (bodies == TASK_WITH_BODIES) {
        put_bodies(out, task, input);
    }
    buf_puts(out, ",\"status\":\"");
    buf_puts(out, task_state_name(task->state));
    put_number(out, "\",\"priority\":", task->priority);
    put_number(out, ",\"retry_count\":", task->retry_count);
    put_number(out, ",\"max_retries\":", task->max_retries);
    buf_puts(out, ",\"error_message\":");
    put_json_text(out, task->error, task->error ? strlen(task->error) : 0);
    buf_puts(out, task->dead ? ",\"dead_letter\":true" : ",\"dead_letter\":false");
    buf_puts(out, ",\"instance\":");
    put_json_text(out, task->instance && *task->instance ? task->instance : NULL,
                  task->instance ? strlen(task->instance) : 0);
    put_times(out, task);
}

void task_put_model(struct buf *out, struct api *api, int64_t model_id)
{
    const struct model *model = models_get(api->in.models, model_id);
    json_t *json = model ? task_model_json(api, model) : json_null();
    _cleanup_(freep) char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);

    buf_puts(out, ",\"model\":");
    buf_puts(out, text ? text : "null");
    json_decref(json);
}

/* ---- a model ---- */

const char *task_model_name(const struct model *model)
{
    const struct model_config *c = model->config;

    for (char **alias = c->aliases; alias && *alias; alias++) {
        if (str_eq(*alias, c->name)) {
            return c->name;
        }
    }
    return c->id;
}

const char *task_model_type(const struct model *model)
{
    const struct model_config *c = model->config;

    if (c->type) {
        return c->type;
    }
    return str_eq(c->framework, "openai")    ? "openai"
           : str_eq(c->framework, "command") ? "custom"
                                             : "local";
}

/* What may hold a secret inside is shown by its names only. */
static json_t *masked_object(const json_t *object)
{
    json_t *copy = json_object(), *value;
    const char *name;

    json_object_foreach(UNCONST(json_t *, object), name, value)
    {
        json_object_set_new(copy, name, json_string(TASK_SECRET_MASK));
    }
    return copy;
}

/* The parameters, in the contract's words. A local model that answers elsewhere says where. */
static json_t *config_json(const struct model_config *c)
{
    json_t *json = json_object(), *value;
    _cleanup_(freep) char *path = NULL;
    const char *name, *url = json_string_value(json_object_get(c->parameters, "base_url"));
    struct address where;

    json_object_foreach(c->parameters, name, value)
    {
        if (str_eq(name, "api_key_file") || str_eq(name, "api_key_env")) {
            json_object_set_new(json, "api_key", json_string(TASK_SECRET_MASK));
        } else if (str_eq(name, "headers") || str_eq(name, "env")) {
            json_object_set_new(json, name, masked_object(value));
        } else {
            json_object_set(json, name, value);
        }
    }
    if (c->type && str_eq(c->type, "local") && url &&
        address_parse_url(url, &where, &path, NULL) == 0) {
        json_object_set_new(json, "host", json_text(where.host));
        json_object_set_new(json, "port", json_integer(where.port));
    }
    if (!url || !str_eq(c->model_path, url)) {
        json_object_set_new(json, "model_path", json_text(c->model_path));
    }
    return json;
}

json_t *task_model_json(struct api *api, const struct model *model)
{
    const struct model_config *c = model->config;
    const struct model_figures f = gateway_model_figures(api->in.gateway, c->id);

    return json_pack(
        "{s:I, s:s, s:s, s:o, s:s, s:i, s:i, s:I, s:I, s:s?, s:s?}", "id", (json_int_t)model->id,
        "name", task_model_name(model), "type", task_model_type(model), "config", config_json(c),
        "status", model_status_name(model->task_status), "max_workers",
        (int)tasks_max_workers(api->in.tasks, model->id), "current_workers",
        (int)tasks_running(api->in.tasks, model->id), "total_requests", (json_int_t)f.requests,
        "success_requests", (json_int_t)(f.requests - f.errors), "created_at", c->created_at,
        "updated_at", c->updated_at);
}

/* ---- the queue ---- */

json_t *queue_counts_json(const struct task_counts *c)
{
    const json_int_t high = (json_int_t)c->pending_by_class[TASK_HIGH],
                     medium = (json_int_t)c->pending_by_class[TASK_MEDIUM],
                     low = (json_int_t)c->pending_by_class[TASK_LOW],
                     running = (json_int_t)c->by_state[TASK_RUNNING],
                     delayed = (json_int_t)c->delayed;

    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "high_priority_count", high,
                     "medium_priority_count", medium, "low_priority_count", low, "processing_count",
                     running, "delayed_count", delayed, "total_count",
                     high + medium + low + running + delayed);
}

json_t *queue_status_json(struct api *api)
{
    const struct task_filter filter = {
        .kind = TASK_OF_QUEUE, .state = -1, .priority = -1, .dead = -1
    };
    const struct task_counts c = tasks_counts(api->in.tasks, &filter);

    return queue_counts_json(&c);
}

char *known_task_types(struct api *api)
{
    const struct task_type *type;
    struct buf b = BUF_INIT(16384);
    size_t cursor = 0;

    while ((type = task_types_next(api->in.task_types, &cursor))) {
        buf_printf(&b, "%s%s", b.len > 0 ? ", " : "", type->name);
    }
    buf_puts(&b, "");
    return b.mem ? buf_take(&b, NULL) : xstrdup("none");
}
