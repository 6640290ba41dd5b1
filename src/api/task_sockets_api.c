// SPDX-License-Identifier: Apache-2.0
/*
 * The WebSockets of Task Instances. /ws/result_submit: first {"type": "register", "instance_id"},
 * within 10 s, then {"type": "result" …} (the members of /result/submit), {"type": "batch",
 * "results": […]} and {"type": "task" …} (those of /queue/submit), each answered by an ack once it
 * is committed. /ws/task_events: every completion, as it is committed.
 */
#include <stdlib.h>

#include "api/task_instances_int.h"
#include "base/mem.h"

enum { REGISTER_LIMIT_MS = 10000, CODE_POLICY = 1008, IN_FLIGHT_MAX = 256 };

/* The state of one /ws/result_submit. Answers that come after its end are dropped. */
struct result_socket {
    struct socket *s; /* NULL: closed */
    struct api *api;
    char *instance_id; /* NULL: not registered yet */
    struct timer limit;
    unsigned out;
};

struct told {
    struct result_socket *rs;
    struct told_batch *batch; /* NULL: it came alone */
    char *id;
    size_t index;
};
struct told_batch {
    json_t *results;
    size_t out;
    bool sending;
};

static void let_go(struct result_socket *rs)
{
    if (!rs->s && rs->out == 0) {
        free(rs->instance_id);
        free(rs);
    }
}

static void on_socket_end(struct socket *s)
{
    struct result_socket *rs = s->data;

    timer_stop(&rs->limit);
    rs->s = NULL;
    let_go(rs);
}

static void say(struct result_socket *rs, json_t *json)
{
    if (rs->s) {
        socket_send_json(rs->s, json);
    } else {
        json_decref(json);
    }
}

static void complain(struct result_socket *rs, const char *message)
{
    say(rs, json_pack("{s:s, s:o}", "type", "error", "message", json_text(message)));
}

static json_t *ack_of(const struct told *t, json_t *outcome)
{
    json_object_set_new(outcome, "type", json_string("ack"));
    json_object_set_new(outcome, "task_id", json_text(t->id));
    return outcome;
}

static void end_told_batch(struct result_socket *rs, struct told_batch *batch)
{
    if (batch->out == 0 && !batch->sending) {
        say(rs, json_pack("{s:s, s:I, s:o}", "type", "ack", "count",
                          (json_int_t)json_array_size(batch->results), "results", batch->results));
        free(batch);
    }
}

static void on_told(void *arg, int result, const struct task *task, double total_ms,
                    const struct error *e)
{
    struct told *t = arg;
    struct result_socket *rs = t->rs;
    json_t *ack = ack_of(t, ti_completion_json(result, t->id, task, total_ms, e));

    rs->out--;
    if (t->batch) {
        json_array_set_new(t->batch->results, t->index, ack);
        t->batch->out--;
        end_told_batch(rs, t->batch);
    } else {
        say(rs, ack);
    }
    free(t->id);
    free(t);
    let_go(rs);
}

/* What is wrong with it is said; false then. */
static bool tell_result(struct result_socket *rs, json_t *message, struct told_batch *batch,
                        size_t index)
{
    struct body b = { .json = message, .errors = json_array() };
    struct ti_completion r = { .result = NULL };
    struct told *t;
    bool good;

    if (!json_object_get(message, "instance_id")) {
        json_object_set_new(message, "instance_id", json_string(rs->instance_id));
    }
    ti_completion_read(&b, &r);
    good = json_array_size(b.errors) == 0;
    if (good) {
        t = xcalloc(1, sizeof(*t));
        *t = (struct told){ rs, batch, xstrdup(r.c.task_id), index };
        rs->out++;
        if (batch) {
            batch->out++;
        }
        task_instances_complete(rs->api->in.task_instances, &r.c, on_told, t);
    }
    free(r.result);
    json_decref(b.errors);
    return good;
}

static void take_batch(struct result_socket *rs, const json_t *list)
{
    struct told_batch *batch;
    json_t *item;
    size_t i;

    if (!json_is_array(list) || json_array_size(list) > IN_FLIGHT_MAX) {
        complain(rs, "a batch needs a list of at most 256 results");
        return;
    }
    batch = xcalloc(1, sizeof(*batch));
    batch->results = json_array();
    batch->sending = true;
    json_array_foreach((json_t *)(uintptr_t)list, i, item)
    {
        json_array_append_new(batch->results, json_pack("{s:s, s:s, s:s}", "type", "ack", "status",
                                                        "error", "message", "it is no result"));
    }
    json_array_foreach((json_t *)(uintptr_t)list, i, item)
    {
        if (json_is_object(item)) {
            tell_result(rs, item, batch, i);
        }
    }
    batch->sending = false;
    end_told_batch(rs, batch);
}

static void on_ws_submitted(void *arg, int result, const struct task *task, const struct error *e)
{
    struct told *t = arg;
    struct result_socket *rs = t->rs;

    rs->out--;
    if (result < 0) {
        say(rs, json_pack("{s:s, s:s, s:o, s:o}", "type", "task_ack", "status", "error", "task_id",
                          json_text(t->id), "message", json_text(e->text)));
    } else {
        say(rs, json_pack("{s:s, s:s, s:s, s:o}", "type", "task_ack", "status", "success",
                          "task_id", task->public_id, "scheduled_ti", json_text(task->instance)));
    }
    free(t->id);
    free(t);
    let_go(rs);
}

static void take_task(struct result_socket *rs, json_t *message)
{
    struct body b = { .json = message, .errors = json_array() };
    const char *model = json_string_value(json_object_get(message, "model_name"));
    struct ti_order o = { 0 };
    struct told *t;

    if (!model || !*model || strlen(model) > MODEL_ID_MAX ||
        !ti_order_read(rs->api, &b, model, &o)) {
        complain(rs, "a task needs model_name and task_input");
    } else {
        t = xcalloc(1, sizeof(*t));
        *t = (struct told){ .rs = rs, .id = xstrdup_opt(o.order.task_id) };
        rs->out++;
        task_instances_submit(rs->api->in.task_instances, &o.order, on_ws_submitted, t);
    }
    ti_order_finish(&o);
    json_decref(b.errors);
}

static void take_register(struct result_socket *rs, const json_t *message)
{
    const char *id = json_string_value(json_object_get(message, "instance_id"));

    if (!id || !*id || strlen(id) > MODEL_ID_MAX) {
        complain(rs, "register needs instance_id");
        return;
    }
    timer_stop(&rs->limit);
    free(rs->instance_id);
    rs->instance_id = xstrdup(id);
    say(rs, json_pack("{s:s, s:s}", "type", "registered", "instance_id", id));
}

static void take_message(struct result_socket *rs, json_t *message)
{
    const char *type = json_string_value(json_object_get(message, "type"));

    type = type ? type : "";
    if (str_eq(type, "register")) {
        take_register(rs, message);
    } else if (!rs->instance_id) {
        complain(rs, "the first message must be a register message");
        socket_close(rs->s, CODE_POLICY, "not registered");
    } else if (rs->out >= IN_FLIGHT_MAX) {
        complain(rs, "too many messages are not acknowledged yet");
    } else if (str_eq(type, "result")) {
        if (!tell_result(rs, message, NULL, 0)) {
            complain(rs, "a result needs task_id and execution_time");
        }
    } else if (str_eq(type, "batch")) {
        take_batch(rs, json_object_get(message, "results"));
    } else if (str_eq(type, "task")) {
        take_task(rs, message);
    } else if (!str_eq(type, "ack") && !str_eq(type, "task_ack") && !str_eq(type, "pong")) {
        complain(rs, "the type is unknown: register, result, batch, task and ping are known");
    }
}

static void on_ws_text(struct socket *s, struct span text)
{
    struct result_socket *rs = s->data;
    json_t *message = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);

    if (json_is_object(message)) {
        take_message(rs, message);
    } else {
        complain(rs, "a message is a JSON object");
    }
    json_decref(message);
}

static void on_register_limit(void *arg)
{
    struct result_socket *rs = arg;

    socket_close(rs->s, CODE_POLICY, "no register message came in time");
}

void handle_ws_results(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    struct socket *s = socket_open(api, x, SOCKET_RESULTS, on_ws_text);
    struct result_socket *rs;

    if (!s) {
        return;
    }
    rs = xcalloc(1, sizeof(*rs));
    rs->s = s;
    rs->api = api;
    s->data = rs;
    s->on_end = on_socket_end;
    timer_init(&rs->limit, api->in.world, "task instance's register", on_register_limit, rs);
    timer_start(&rs->limit, REGISTER_LIMIT_MS);
}

void handle_ws_events(void *owner, struct http_exchange *x, const struct route_params *params)
{
    socket_open(owner, x, SOCKET_TASK_INSTANCES, NULL);
}

void api_on_task_ended(void *arg, const void *what)
{
    struct api *api = arg;
    const struct task_instance_ended *ended = what;
    const struct task *task = ended->task;
    json_t *json;
    char *text;

    if (!sockets_listen(api, SOCKET_TASK_INSTANCES)) {
        return;
    }
    json = json_pack("{s:o, s:{s:s, s:s, s:s, s:o, s:f, s:o, s:o}}", "event",
                     json_sprintf("task_%s", task_state_name(task->state)), "data", "task_id",
                     task->public_id, "task_status", ti_status_of(task), "scheduled_ti",
                     task->instance ? task->instance : "", "model_name", json_text(task->model),
                     "total_time_ms", ended->total_ms, "execution_time",
                     ended->execution_ms < 0 ? json_null() : json_real(ended->execution_ms),
                     "error", json_text(task->error));
    text = json_dumps(json, JSON_COMPACT);
    sockets_send(api, SOCKET_TASK_INSTANCES, span_of(text));
    free(text);
    json_decref(json);
}
