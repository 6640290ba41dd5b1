// SPDX-License-Identifier: Apache-2.0
/*
 * WebSockets of the doors: who is connected, what all of a kind are told, and /ws/tasks. A reader
 * that lets too much pile up is closed by the socket itself (1013); it comes again and looks at the
 * rows, which are the record. What /ws/tasks tells of the planner's jobs: evaluation_sockets.c.
 */
#include <stdlib.h>

#include "api/planner_doors_int.h"
#include "base/mem.h"
#include "codec/json.h"

enum { SOCKETS_MAX = 256, TEXT_MAX = 64 * 1024, CODE_GOING_AWAY = 1001 };

static void socket_free(struct socket *s)
{
    if (s->on_end) {
        s->on_end(s);
    }
    list_remove(&s->node);
    s->api->socket_count--;
    free(s);
}

static void on_close(void *owner)
{
    socket_free(owner);
}

static bool is_ping(struct span text)
{
    struct error e = { 0 };
    json_t *json = NULL;
    bool ping = span_eq(text, "ping");

    if (!ping && text.n > 0 && text.p[0] == '{' && json_read(text, TEXT_MAX, &json, &e) == 0) {
        ping = str_eq_opt(json_string_value(json_object_get(json, "type")), "ping");
        json_decref(json);
    }
    return ping;
}

static void on_text(void *owner, struct span text)
{
    struct socket *s = owner;

    if (s->kind == SOCKET_EVALUATIONS) {
        return;
    }
    if (s->kind == SOCKET_TASK_INSTANCES && span_eq(text, "ping")) { /* the seed's word for word */
        websocket_send(s->ws, SPAN("pong"));
    } else if (is_ping(text)) {
        socket_send_json(s, json_pack("{s:s, s:o}", "type", "pong", "timestamp", json_now(s->api)));
    } else if (s->on_text) {
        s->on_text(s, text);
    }
}

static const struct websocket_handler handler = { .on_text = on_text, .on_close = on_close };

struct socket *socket_open(struct api *api, struct http_exchange *x, enum socket_kind kind,
                           void (*on_text_fn)(struct socket *s, struct span text))
{
    const struct websocket_options options = {
        .max_message = kind == SOCKET_RESULTS ? TASK_OUTPUT_MAX + TEXT_MAX : TEXT_MAX,
    };
    struct socket *s;

    if (api->socket_count >= SOCKETS_MAX || api->phase == API_DRAINING) {
        respond_detail(x, 503, "%s",
                       api->phase == API_DRAINING ? "berth is going down"
                                                  : "too many WebSockets are open already");
        return NULL;
    }
    s = xcalloc(1, sizeof(*s));
    s->api = api;
    s->kind = kind;
    s->on_text = on_text_fn;
    s->ws = websocket_accept(x, &options, &handler, s);
    if (!s->ws) {
        free(s);
        return NULL;
    }
    list_append(&api->sockets, &s->node);
    api->socket_count++;
    return s;
}

void socket_send_json(struct socket *s, json_t *json)
{
    _cleanup_(freep) char *text = json_dumps(json, JSON_COMPACT);

    json_decref(json);
    if (text) {
        websocket_send(s->ws, span_of(text));
    }
}

bool sockets_listen(const struct api *api, enum socket_kind kind)
{
    const struct socket *s;

    list_for_each (s, &api->sockets, node) {
        if (s->kind == kind) {
            return true;
        }
    }
    return false;
}

void sockets_send(struct api *api, enum socket_kind kind, struct span json)
{
    struct socket *s;

    list_for_each (s, &api->sockets, node) {
        if (s->kind == kind) {
            websocket_send(s->ws, json);
        }
    }
}

void socket_close(struct socket *s, int code, const char *reason)
{
    websocket_close(s->ws, code, reason);
}

void sockets_end(struct api *api)
{
    struct socket *s;

    list_for_each (s, &api->sockets, node) {
        websocket_close(s->ws, CODE_GOING_AWAY, "berth is going down");
    }
}

void sockets_free(struct api *api)
{
    struct socket *s, *tmp;

    list_for_each_safe (s, tmp, &api->sockets, node) {
        websocket_destroy(s->ws);
        socket_free(s);
    }
}

/* ---- /ws/tasks ---- */

static void handle_tasks(void *owner, struct http_exchange *x, const struct route_params *params)
{
    _cleanup_(freep) char *kind = http_query_get(http_exchange_head(x)->query, "kind");
    struct api *api = owner;
    struct socket *s;

    if (!kind) {
        handle_ws_evaluations(api, x);
        return;
    }
    if (!str_eq(kind, "task")) {
        respond_detail(x, 404,
                       "there is no kind '%.40s': task tells the changes of the queue's tasks, "
                       "without a kind those of the planner's jobs are told",
                       kind);
        return;
    }
    s = socket_open(api, x, SOCKET_TASKS, NULL);
    if (s) {
        socket_send_json(s,
                         json_pack("{s:s, s:o}", "type", "connected", "timestamp", json_now(api)));
    }
}

// clang-format off
const struct route websockets_routes[] = {
    { "GET", "/ws/tasks", SCOPE_ADMIN, handle_tasks, "A WebSocket that tells every change of a planner job's status and progress; with kind=task, of the queue's tasks.",
      { NULL, NULL, "101 400 404 426 503", "kind:string" } },
};
// clang-format on
const size_t websockets_route_count = ARRAY_SIZE(websockets_routes);
