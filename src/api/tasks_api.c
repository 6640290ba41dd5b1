// SPDX-License-Identifier: Apache-2.0
/*
 * The door of tasks, /api/v1/tasks. It shows the queue's own tasks only: a batch's lines and those
 * of Task Instances have ids in the same row and are "not there" here. A new task is answered once
 * it is committed; reading the order is task_order.c's.
 */
#include <stdlib.h>

#include "api/task_doors_int.h"
#include "api/task_order.h"
#include "base/mem.h"

/* A request that waits for the queue. */
struct visit {
    struct api *api;
    struct http_exchange *x; /* NULL once the client is gone */
    struct span input;       /* a new task's, as it stands in the request's body */
    const char *message;     /* of the good answer */
    struct buf out;          /* what is said so far */
    /* a change: */
    void (*act)(struct visit *v);
    int64_t id;
    int priority; /* 0: as it is */
    bool cancel, retry, again, shows;
};

static void on_gone(void *arg)
{
    ((struct visit *)arg)->x = NULL;
}

static const struct http_exchange_events visit_events = { .on_gone = on_gone };

static struct visit *visit_create(struct api *api, struct http_exchange *x)
{
    struct visit *v = xcalloc(1, sizeof(*v));

    v->api = api;
    v->x = x;
    v->message = "success";
    buf_init(&v->out, TASK_ANSWER_MAX);
    http_exchange_set_events(x, &visit_events, v);
    return v;
}

static void visit_free(struct visit *v)
{
    buf_finish(&v->out);
    free(v);
}

static void fail(struct visit *v, const struct error *e)
{
    if (v->x) {
        envelope_fail(v->x, e);
    }
    visit_free(v);
}

static void finish_visit(struct visit *v, bool with_data)
{
    if (v->x && with_data) {
        envelope_respond_text(v->x, v->message, &v->out);
    } else if (v->x) {
        envelope_respond(v->x, v->message, NULL);
    }
    visit_free(v);
}

/* False: it failed, or is no task of this door, and that is answered. */
static bool is_found(struct visit *v, int result, const struct task_details *d,
                     const struct error *e)
{
    struct error none = { 0 };

    if (result < 0 && result != -ENOENT) {
        fail(v, e);
        return false;
    }
    if (result == -ENOENT || d->task->kind != TASK_OF_QUEUE) {
        error_set(&none, -ENOENT, "there is no task %lld", (long long)v->id);
        fail(v, &none);
        return false;
    }
    return true;
}

/* ---- a new task ---- */

/* The task that the key stands for has gone its way meanwhile. */
static void on_existing(void *arg, int result, const struct task_details *d, const struct error *e)
{
    struct visit *v = arg;

    if (is_found(v, result, d, e)) {
        task_put_open(&v->out, d->task, TASK_WITH_BODIES, (struct span){ 0 });
        buf_putc(&v->out, '}');
        finish_visit(v, true);
    }
}

static void on_submitted(void *arg, int result, const struct task *task, const struct error *e)
{
    struct visit *v = arg;

    if (result < 0) {
        fail(v, e);
        return;
    }
    if (result == 1) {
        v->id = task->id;
        v->message = "exists";
        tasks_get(v->api->in.tasks, v->id, on_existing, v);
        return;
    }
    if (v->x) { /* else the body, in which the input stands, is gone too */
        v->message = "created";
        task_put_open(&v->out, task, TASK_WITH_BODIES, v->input);
        buf_putc(&v->out, '}');
    }
    finish_visit(v, true);
}

static void refuse_submit(struct visit *v, const struct error *e)
{
    char text[24];

    if (e->code == -EAGAIN) {
        const uint64_t ms = tasks_retry_after_ms(v->api->in.tasks);

        snprintf(text, sizeof(text), "%llu", (unsigned long long)((ms + 999) / 1000));
        http_exchange_add_header(v->x, "Retry-After", text);
        snprintf(text, sizeof(text), "%llu", (unsigned long long)ms);
        http_exchange_add_header(v->x, "retry-after-ms", text);
    }
    fail(v, e);
}

static void handle_submit(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    struct order_reading reading;
    struct error e = { 0 };
    struct visit *v;

    if (!task_order_read(api, x, &reading)) {
        return;
    }
    v = visit_create(api, x);
    v->input = reading.input_json;
    if (tasks_submit(api->in.tasks, &reading.order, on_submitted, v, &e) < 0) {
        refuse_submit(v, &e);
    }
    task_order_finish(&reading);
}

/* ---- one task ---- */

static void put_logs(struct buf *out, const struct task_details *d)
{
    buf_puts(out, ",\"logs\":[");
    for (size_t i = 0; i < d->log_count; i++) {
        const struct task_log *log = &d->logs[i];

        buf_printf(out, "%s{\"id\":%lld,\"task_id\":%lld,\"level\":\"%s\",\"message\":",
                   i > 0 ? "," : "", (long long)log->id, (long long)d->task->id, log->level);
        put_json_text(out, log->message, strlen(log->message));
        buf_printf(out, ",\"data\":%s,\"created_at\":", log->data ? log->data : "null");
        put_json_time(out, log->wall_ms);
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
}

static void on_why(void *arg, int result, const struct task_wait *w)
{
    struct visit *v = arg;

    if (result >= 0 && v->x) {
        buf_puts(&v->out, ",\"waiting\":{\"reason\":");
        put_json_text(&v->out, w->reason, strlen(w->reason));
        buf_puts(&v->out, ",\"place\":");
        if (w->place > 0) {
            buf_printf(&v->out, "%llu", (unsigned long long)w->place);
        } else {
            buf_puts(&v->out, "null");
        }
        buf_puts(&v->out, ",\"estimated_start\":");
        put_json_time(&v->out, w->starts_ms);
        buf_putc(&v->out, '}');
    } else {
        buf_puts(&v->out, ",\"waiting\":null");
    }
    buf_putc(&v->out, '}');
    finish_visit(v, true);
}

static void put_options(struct buf *out, const struct task *task)
{
    buf_puts(out, ",\"options\":");
    buf_puts(out, task->options && *task->options ? task->options : "null");
}

static void on_details(void *arg, int result, const struct task_details *d, const struct error *e)
{
    struct visit *v = arg;

    if (!is_found(v, result, d, e)) {
        return;
    }
    task_put_open(&v->out, d->task, TASK_WITH_BODIES, (struct span){ 0 });
    put_options(&v->out, d->task);
    task_put_model(&v->out, v->api, d->task->model_id);
    put_logs(&v->out, d);
    if (d->task->state == TASK_PENDING) {
        tasks_why(v->api->in.tasks, d->task, on_why, v);
        return;
    }
    buf_puts(&v->out, ",\"waiting\":null}");
    finish_visit(v, true);
}

static void show(struct visit *v)
{
    tasks_get(v->api->in.tasks, v->id, on_details, v);
}

static void handle_get(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct visit *v;
    int64_t id;

    if (envelope_id(x, params->values[0], &id)) {
        v = visit_create(owner, x);
        v->id = id;
        show(v);
    }
}

/* ---- changes: looked at first, so that only this door's tasks are touched ---- */

static void on_seen(void *arg, int result, const struct task_details *d, const struct error *e)
{
    struct visit *v = arg;

    if (is_found(v, result, d, e)) {
        v->act(v);
    }
}

static void change(struct api *api, struct http_exchange *x, int64_t id, const struct visit *what)
{
    struct visit *v = visit_create(api, x);

    v->id = id;
    v->act = what->act;
    v->priority = what->priority;
    v->cancel = what->cancel;
    v->retry = what->retry;
    v->again = what->again;
    v->shows = what->shows;
    v->message = what->message;
    tasks_get(api->in.tasks, id, on_seen, v);
}

static void on_changed(void *arg, int result, const struct task *task, const struct error *e)
{
    struct visit *v = arg;

    if (result < 0) {
        fail(v, e);
    } else if (v->shows) {
        show(v);
    } else {
        finish_visit(v, false);
    }
}

static void act_state(struct visit *v)
{
    if (v->cancel) {
        tasks_cancel(v->api->in.tasks, v->id, on_changed, v);
    } else {
        tasks_retry(v->api->in.tasks, v->id, v->again, on_changed, v);
    }
}

static void on_priority_set(void *arg, int result, const struct task *task, const struct error *e)
{
    struct visit *v = arg;

    if (result >= 0 && (v->cancel || v->retry)) {
        act_state(v);
    } else {
        on_changed(v, result, task, e);
    }
}

static void act_update(struct visit *v)
{
    if (v->priority > 0) {
        tasks_set_priority(v->api->in.tasks, v->id, (unsigned)v->priority, on_priority_set, v);
    } else {
        act_state(v);
    }
}

static void act_remove(struct visit *v)
{
    tasks_remove(v->api->in.tasks, v->id, on_changed, v);
}

static void handle_delete(void *owner, struct http_exchange *x, const struct route_params *params)
{
    const bool purge = query_flag(x, "purge");
    int64_t id;

    if (envelope_id(x, params->values[0], &id)) {
        change(owner, x, id,
               &(struct visit){ .act = purge ? act_remove : act_state,
                                .cancel = !purge,
                                .message = purge ? "removed" : "cancelled" });
    }
}

static void handle_retry(void *owner, struct http_exchange *x, const struct route_params *params)
{
    int64_t id;

    if (envelope_id(x, params->values[0], &id)) {
        change(owner, x, id,
               &(struct visit){ .act = act_state,
                                .retry = true,
                                .again = query_flag(x, "again"),
                                .message = "queued again" });
    }
}

/* {priority?, status?} False: it is refused, and that is answered. */
static bool read_update(struct http_exchange *x, const json_t *body, bool with_status,
                        struct visit *ret)
{
    const char *status = NULL;
    int64_t priority = 0;

    if (!envelope_member_int(x, body, "priority", TASK_LOW, TASK_HIGH, &priority) ||
        (with_status && !envelope_member_text(x, body, "status", &status))) {
        return false;
    }
    ret->priority = (int)priority;
    ret->cancel = status && str_eq(status, task_state_name(TASK_CANCELLED));
    ret->retry = status && str_eq(status, task_state_name(TASK_PENDING));
    if (status && !ret->cancel && !ret->retry) {
        envelope_invalid(x,
                         "status can be set to cancelled, or to pending (try a failed one again), "
                         "not to '%.60s'",
                         status);
        return false;
    }
    if (!status && priority == 0) {
        envelope_invalid(x, "%s",
                         with_status ? "name a priority or a status" : "name a priority (1 to 3)");
        return false;
    }
    return true;
}

static void update(struct api *api, struct http_exchange *x, struct span id_text, bool with_status)
{
    struct visit what = { .act = act_update, .shows = true, .message = "updated" };
    json_t *body;
    int64_t id;

    if (!envelope_id(x, id_text, &id) || !envelope_body(x, &body)) {
        return;
    }
    if (read_update(x, body, with_status, &what)) {
        change(api, x, id, &what);
    }
    json_decref(body);
}

static void handle_update(void *owner, struct http_exchange *x, const struct route_params *params)
{
    update(owner, x, params->values[0], true);
}

static void handle_priority(void *owner, struct http_exchange *x, const struct route_params *params)
{
    update(owner, x, params->values[0], false);
}

/* ---- types ---- */

static json_t *type_json(const struct task_type *type)
{
    static const char *const outputs[] = { [TASK_OUTPUT_TEXT] = "text",
                                           [TASK_OUTPUT_EMBEDDING] = "embedding",
                                           [TASK_OUTPUT_BODY] = "body" };
    json_t *json =
        json_pack("{s:s, s:s?, s:s?, s:s, s:b}", "name", type->name, "endpoint", type->endpoint,
                  "help", type->help, "output", outputs[type->output], "built_in", type->built_in);

    json_object_set_new(json, "template",
                        type->template ? json_deep_copy(type->template) : json_null());
    json_object_set_new(json, "defaults",
                        type->defaults ? json_deep_copy(type->defaults) : json_object());
    return json;
}

static void handle_types(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct task_type *type;
    json_t *list = json_array();
    size_t cursor = 0;

    while ((type = task_types_next(api->in.task_types, &cursor))) {
        json_array_append_new(list, type_json(type));
    }
    envelope_respond(x, "success", list);
}

// clang-format off
const struct route tasks_routes[] = {
    { "POST",   "/api/v1/tasks",               SCOPE_ADMIN, handle_submit,   "Queues a task; answered once it is stored. With an Idempotency-Key header the same order makes one task.",
      { "TaskCreate", "TaskAnswer", "200 400 403 404 409 413 429 503", NULL } },
    { "GET",    "/api/v1/tasks",               SCOPE_ADMIN, handle_task_list,  "The tasks, a page at a time.",
      { NULL, "TaskPage", "200 400 500 504", "model_id:integer model:string status:string type:string priority:integer page:integer page_size:integer order_by:string order:string dead_letter:boolean q:string created_after:string created_before:string" } },
    { "GET",    "/api/v1/tasks/stats",         SCOPE_ADMIN, handle_task_stats, "How many tasks there were, and how they ended.",
      { NULL, "TaskStatsAnswer", "200 500", NULL } },
    { "POST",   "/api/v1/tasks/bulk",          SCOPE_ADMIN, handle_task_bulk, "Cancels, tries again (with again also those that have used up all tries) or removes up to 100 tasks, and says of each how that went.",
      { "TaskBulk", "TaskBulkAnswer", "200 400 503", NULL } },
    { "GET",    "/api/v1/tasks/{id}",          SCOPE_ADMIN, handle_get,      "One task with its model, its log, and why it waits.",
      { NULL, "TaskDetailsAnswer", "200 400 404 500", NULL } },
    { "PUT",    "/api/v1/tasks/{id}",          SCOPE_ADMIN, handle_update,   "Changes a task's priority, cancels it (status cancelled) or tries it again (status pending).",
      { "TaskUpdate", "TaskDetailsAnswer", "200 400 404 503", NULL } },
    { "DELETE", "/api/v1/tasks/{id}",          SCOPE_ADMIN, handle_delete,   "Cancels a pending or running task; with purge, removes one that has ended.",
      { NULL, "EmptyAnswer", "200 400 404 503", "purge:boolean" } },
    { "POST",   "/api/v1/tasks/{id}/retry",    SCOPE_ADMIN, handle_retry,    "Queues a failed task again; with again also one that has used up all its tries.",
      { NULL, "EmptyAnswer", "200 400 404 503", "again:boolean" } },
    { "PUT",    "/api/v1/tasks/{id}/priority", SCOPE_ADMIN, handle_priority, "Changes a task's priority; one that waits moves.",
      { "TaskPriority", "TaskDetailsAnswer", "200 400 404 503", NULL } },
    { "GET",    "/api/v1/task-types",          SCOPE_ADMIN, handle_types,    "The types of tasks, and the request that each becomes.",
      { NULL, "TaskTypesAnswer", "200", NULL } },
};
// clang-format on
const size_t tasks_route_count = ARRAY_SIZE(tasks_routes);
