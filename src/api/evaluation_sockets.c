// SPDX-License-Identifier: Apache-2.0
/*
 * /ws/tasks as seed 001 has it: every change of a planner job's status or progress, to all clients,
 * and nothing else. Who connects (again) first gets the present state of what runs or waits. The
 * readers of /api/events get the same as `event: evaluation`.
 */
#include <stdlib.h>

#include "api/planner_doors_int.h"
#include "base/mem.h"

static json_t *update_json(const struct evaluation_state *s)
{
    return json_pack("{s:s, s:s, s:s, s:f, s:o, s:o, s:O?}", "type", "task_update", "task_id",
                     s->task_id, "status", s->status, "progress", s->progress, "message",
                     json_text(s->message ? s->message : ""), "error", json_text(s->error),
                     "search_stats", UNCONST(json_t *, s->search_stats));
}

void api_on_evaluation(void *owner, const void *what)
{
    struct api *api = owner;
    _cleanup_(freep) char *text = NULL;
    json_t *json;

    if (!sockets_listen(api, SOCKET_EVALUATIONS) && api->subscriber_count == 0) {
        return;
    }
    json = update_json(what);
    text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    if (text) {
        sockets_send(api, SOCKET_EVALUATIONS, span_of(text));
        subscribers_tell_evaluation(api, span_of(text));
    }
}

void handle_ws_evaluations(struct api *api, struct http_exchange *x)
{
    struct evaluations *v = planner_evaluations(api, x);
    struct socket *s = v ? socket_open(api, x, SOCKET_EVALUATIONS, NULL) : NULL;
    struct evaluation_state state;
    size_t cursor = 0;

    while (s && evaluations_next_live(v, &cursor, &state)) {
        socket_send_json(s, update_json(&state));
    }
}
