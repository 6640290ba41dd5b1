// SPDX-License-Identifier: Apache-2.0
/*
 * The door of Task Instances: tasks and their results, one and all. What may be long (all tasks) is
 * read in pages and answered up to a bound of bytes; beyond it results are left out, and that is
 * said.
 */
#include <stdlib.h>

#include "api/task_instances_int.h"
#include "base/mem.h"

enum {
    PAGE = 8,                   /* with inputs and results, which may be long */
    PAGE_BARE = TASKS_LIST_MAX, /* without */
    RESULTS_MAX = 4 << 20,      /* bytes of results in one answer */
    LIMIT_MAX = 2 * TASK_INSTANCE_RESULTS,
    BATCH_MAX = 1000,
    BATCH_AT_ONCE = 64,
};

/* ---- one task ---- */

const char *ti_status_of(const struct task *task)
{
    static const char *const words[TASK_STATE_MAX_] = {
        [TASK_PENDING] = "queued", [TASK_RUNNING] = "scheduled",   [TASK_COMPLETED] = "completed",
        [TASK_FAILED] = "failed",  [TASK_CANCELLED] = "cancelled",
    };

    return words[task->state];
}

static json_t *result_json(const struct task *task)
{
    json_t *json;

    if (!task->output || task->output_len == 0) {
        return json_null();
    }
    json = json_loadb(task->output, task->output_len, JSON_DECODE_ANY, NULL);
    return json ? json : json_text(task->output);
}

static json_t *task_json(const struct task *task, json_t *result)
{
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:f, s:o}", "task_id", task->public_id, "task_status",
                  ti_status_of(task), "scheduled_ti", task->instance ? task->instance : "",
                  "submit_time", (double)task->created_ms / 1000, "result", result);

    if (task->error) {
        json_object_set_new(json, "error", json_text(task->error));
    }
    return json;
}

static void on_query(void *arg, int result, const struct task_details *d, const struct error *e)
{
    struct ti_call *call = arg;
    char text[64 + UUID_SIZE * 2];

    if (result == -ENOENT || (result >= 0 && d->task->kind != TASK_OF_INSTANCE)) {
        snprintf(text, sizeof(text), "Task %.64s not found", call->text);
        ti_call_refuse(call, 404, text);
    } else if (result < 0) {
        ti_call_fail(call, e);
    } else if (call->kept) { /* /result/fetch */
        ti_call_answer(call, 200,
                       json_pack("{s:s, s:s, s:o, s:o}", "task_id", d->task->public_id, "status",
                                 ti_status_of(d->task), "result", result_json(d->task), "error",
                                 json_text(d->task->error)));
    } else {
        ti_call_answer(call, 200, task_json(d->task, result_json(d->task)));
    }
}

static void query(struct ti_call *call)
{
    tasks_get_public(call->api->in.tasks, call->text, on_query, call);
}

void handle_task_query(void *owner, struct http_exchange *x, const struct route_params *params)
{
    char *id = need_query(x, "task_id");
    struct ti_call *call;

    if (id) {
        call = ti_call_create(owner, x);
        call->text = id;
        query(call);
    }
}

void handle_fetch(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct ti_call *call;
    const char *id;
    struct body b;

    if (!body_read(x, &b)) {
        return;
    }
    id = need_text(&b, "task_id");
    if (body_is_good(&b, x)) {
        call = ti_call_create(owner, x);
        call->text = xstrdup(id);
        call->kept = json_true();
        query(call);
    }
    body_finish(&b);
}

/* ---- all tasks ---- */

struct listing {
    struct ti_call *call;
    json_t *list;
    size_t bytes, left;
    int64_t after_id;
    uint64_t total;
    bool completed, omitted;
};

static void next_page(struct listing *l);

static void end_listing(struct listing *l, const struct error *e)
{
    json_t *json;

    if (e) {
        ti_call_fail(l->call, e);
        json_decref(l->list);
    } else {
        json = json_pack("{s:s, s:I, s:o}", "status", "success",
                         l->completed ? "total_results" : "total_tasks", (json_int_t)l->total,
                         l->completed ? "results" : "tasks", l->list);
        if (l->omitted) {
            json_object_set_new(json, "message",
                                json_string("results beyond 4 MiB are left out (result_omitted); "
                                            "ask for them one by one"));
        }
        ti_call_answer(l->call, 200, json);
    }
    free(l);
}

static void put(struct listing *l, const struct task *task)
{
    json_t *json;

    l->bytes += task->output_len;
    l->omitted = l->omitted || l->bytes > RESULTS_MAX;
    json = task_json(task, l->omitted ? json_null() : result_json(task));
    json_object_set_new(json, "model_name", json_text(task->model));
    json_object_set_new(json, "completion_time",
                        task->completed_ms ? json_real((double)task->completed_ms / 1000)
                                           : json_null());
    if (l->omitted && task->state == TASK_COMPLETED) {
        json_object_set_new(json, "result_omitted", json_true());
    }
    json_array_append_new(l->list, json);
    l->after_id = task->id;
    l->left--;
}

static void on_page(void *arg, int result, struct task *const *tasks, size_t count, uint64_t total,
                    const struct error *e)
{
    struct listing *l = arg;
    const unsigned page = l->omitted ? PAGE_BARE : PAGE;

    if (result < 0) {
        end_listing(l, e);
        return;
    }
    l->total = l->after_id == 0 ? total : l->total;
    for (size_t i = 0; i < count && l->left > 0; i++) {
        put(l, tasks[i]);
    }
    if (count < page || l->left == 0 || !l->call->x) {
        end_listing(l, NULL);
        return;
    }
    next_page(l);
}

static void next_page(struct listing *l)
{
    tasks_list(l->call->api->in.tasks,
               &(struct task_query){
                   .filter = { .kind = TASK_OF_INSTANCE,
                               .state = l->completed ? TASK_COMPLETED : -1,
                               .priority = -1,
                               .dead = -1 },
                   .by = TASKS_BY_CREATED,
                   .bodies = !l->omitted,
                   .limit = l->omitted ? PAGE_BARE : PAGE,
                   .after_id = l->after_id,
               },
               on_page, l);
}

static void list_all(struct api *api, struct http_exchange *x, bool completed)
{
    struct listing *l;
    uint64_t limit;

    if (!query_from_one(x, "limit", LIMIT_MAX, LIMIT_MAX, &limit)) {
        return;
    }
    l = xcalloc(1, sizeof(*l));
    l->call = ti_call_create(api, x);
    l->list = json_array();
    l->left = limit;
    l->completed = completed;
    next_page(l);
}

void handle_all_tasks(void *owner, struct http_exchange *x, const struct route_params *params)
{
    list_all(owner, x, false);
}

void handle_fetch_all(void *owner, struct http_exchange *x, const struct route_params *params)
{
    list_all(owner, x, true);
}

static void on_cleared(void *arg, int result, uint64_t cleared, const struct error *e)
{
    if (result < 0) {
        ti_call_fail(arg, e);
        return;
    }
    ti_call_answer(arg, 200,
                   json_pack("{s:s, s:o, s:I}", "status", "success", "message",
                             json_sprintf("Cleared %lu finished tasks", (unsigned long)cleared),
                             "cleared_count", (json_int_t)cleared));
}

void handle_clear(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;

    task_instances_clear(api->in.task_instances, on_cleared, ti_call_create(api, x));
}

/* ---- completions ---- */

json_t *ti_completion_json(int result, const char *id, const struct task *task, double total_ms,
                           const struct error *e)
{
    json_t *json;

    if (result < 0) { /* neither of these is an error for the instance */
        return json_pack("{s:s, s:o}", "status", "warning", "message", json_text(e->text));
    }
    json = json_pack("{s:s, s:o, s:f}", "status", "success", "message",
                     result == 1 ? json_sprintf("Task %s completion was processed before", id)
                                 : json_sprintf("Task %s completion processed", id),
                     "total_time_ms", total_ms);
    return json;
}

static void on_notified(void *arg, int result, const struct task *task, double total_ms,
                        const struct error *e)
{
    struct ti_call *call = arg;

    if (result < 0 && result != -ESRCH && result != -ENOENT) {
        ti_call_refuse(call, 503, e->text);
    } else {
        ti_call_answer(call, 200, ti_completion_json(result, call->text, task, total_ms, e));
    }
}

void ti_completion_read(struct body *b, struct ti_completion *ret)
{
    const json_t *result = json_object_get(b->json, "result");
    const char *status = json_string_value(json_object_get(b->json, "status"));
    const char *error = json_string_value(json_object_get(b->json, "error"));

    ret->c.task_id = need_text(b, "task_id");
    ret->c.instance_id = need_text(b, "instance_id");
    if (!json_object_get(b->json, "execution_time")) {
        body_complain(b, "execution_time", "Field required", "missing");
    }
    ret->c.execution_ms = body_number(b, "execution_time", 0);
    if (ret->c.execution_ms < 0) {
        body_complain(b, "execution_time", "must not be negative", "value_error");
    }
    ret->c.failed =
        (status && (str_eq(status, "failed") || str_eq(status, "error"))) || (error && *error);
    ret->c.error = error && *error ? error : "the Task Instance says that it failed";
    if (result && !json_is_null(result)) {
        ret->result = json_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY);
        ret->c.result = span_of(ret->result);
    }
}

void handle_notify(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    struct ti_completion r = { .result = NULL };
    struct ti_call *call;
    struct body b;

    if (!body_read(x, &b)) {
        return;
    }
    ti_completion_read(&b, &r);
    if (body_is_good(&b, x)) {
        call = ti_call_create(api, x);
        call->text = xstrdup(r.c.task_id);
        task_instances_complete(api->in.task_instances, &r.c, on_notified, call);
    }
    free(r.result);
    body_finish(&b);
}

/* ---- many at once ---- */

struct ti_batch {
    struct ti_call *call;
    json_t *tasks, *results; /* results: by index, null until told */
    char *model;
    size_t next, out, good;
    bool sending;
};

struct ti_batch_item {
    struct ti_batch *batch;
    size_t index;
};

static void send_more(struct ti_batch *batch);

static void end_batch(struct ti_batch *batch)
{
    const size_t total = json_array_size(batch->tasks), bad = total - batch->good;

    ti_call_answer(batch->call, 200,
                   json_pack("{s:s, s:o, s:I, s:I, s:I, s:O}", "status",
                             bad == 0           ? "success"
                             : batch->good == 0 ? "error"
                                                : "partial",
                             "message",
                             json_sprintf("%lu of %lu tasks were submitted",
                                          (unsigned long)batch->good, (unsigned long)total),
                             "total_tasks", (json_int_t)total, "successful_tasks",
                             (json_int_t)batch->good, "failed_tasks", (json_int_t)bad, "results",
                             batch->results));
    json_decref(batch->tasks);
    json_decref(batch->results);
    free(batch->model);
    free(batch);
}

static void note_item(struct ti_batch *batch, size_t i, const struct task *task, const char *error)
{
    json_array_set_new(batch->results, i,
                       json_pack("{s:I, s:s, s:o, s:o, s:o}", "index", (json_int_t)i, "status",
                                 task ? "success" : "error", "task_id",
                                 json_text(task ? task->public_id : NULL), "scheduled_ti",
                                 json_text(task ? task->instance : NULL), "error",
                                 json_text(error)));
    batch->good += task != NULL;
}

static void on_item(void *arg, int result, const struct task *task, const struct error *e)
{
    struct ti_batch_item *item = arg;
    struct ti_batch *batch = item->batch;

    note_item(batch, item->index, result < 0 ? NULL : task, result < 0 ? e->text : NULL);
    free(item);
    batch->out--;
    send_more(batch);
}

static void send_item(struct ti_batch *batch, size_t i)
{
    struct body b = { .json = json_array_get(batch->tasks, i), .errors = json_array() };
    struct ti_order o = { 0 };
    struct ti_batch_item *item;

    if (!json_is_object(b.json)) {
        note_item(batch, i, NULL, "a task must be an object");
    } else if (!ti_order_read(batch->call->api, &b, batch->model, &o)) {
        _cleanup_(freep) char *text =
            json_dumps(json_array_get(b.errors, 0), JSON_COMPACT | JSON_ENCODE_ANY);

        note_item(batch, i, NULL, text);
    } else {
        item = xmalloc(sizeof(*item));
        *item = (struct ti_batch_item){ batch, i };
        batch->out++;
        task_instances_submit(batch->call->api->in.task_instances, &o.order, on_item, item);
    }
    ti_order_finish(&o);
    json_decref(b.errors);
}

static void send_more(struct ti_batch *batch)
{
    const size_t total = json_array_size(batch->tasks);

    if (batch->sending) {
        return;
    }
    batch->sending = true;
    while (batch->next < total && batch->out < BATCH_AT_ONCE) {
        send_item(batch, batch->next++);
    }
    batch->sending = false;
    if (batch->next == total && batch->out == 0) {
        end_batch(batch);
    }
}

static void check_batch(struct body *b, const json_t *tasks)
{
    if (!tasks) {
        body_complain(b, "tasks", "Field required", "missing");
    } else if (!json_is_array(tasks)) {
        body_complain(b, "tasks", "must be a list", "list_type");
    } else if (json_array_size(tasks) > BATCH_MAX) {
        body_complain(b, "tasks", "must have at most 1000 tasks", "too_long");
    }
}

void handle_submit_batch(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct ti_batch *batch;
    const char *model;
    struct body b;

    if (!body_read(x, &b)) {
        return;
    }
    model = need_text(&b, "model_name");
    check_model_name(&b, model);
    check_batch(&b, json_object_get(b.json, "tasks"));
    if (body_is_good(&b, x)) {
        batch = xcalloc(1, sizeof(*batch));
        batch->call = ti_call_create(owner, x);
        batch->tasks = json_incref(json_object_get(b.json, "tasks"));
        batch->results = json_array();
        batch->model = xstrdup(model);
        for (size_t i = 0; i < json_array_size(batch->tasks); i++) {
            json_array_append_new(batch->results, json_null());
        }
        send_more(batch);
    }
    body_finish(&b);
}
