// SPDX-License-Identifier: Apache-2.0
/*
 * The monitoring door, the part that tells of the whole service: the last hour of it, and each
 * sample as it comes, live on /api/events with the devices and the host, so that pages need not
 * ask again and again. The text is made only when somebody listens.
 */
#include <stdlib.h>

#include "api/api_int.h"
#include "base/mem.h"

static json_t *number_or_null(float ms)
{
    return ms < 0 ? json_null() : json_real((double)ms);
}

static json_t *times_json(const struct service_times *t)
{
    return json_pack("{s:o, s:o}", "mean", number_or_null(t->mean_ms), "p95",
                     number_or_null(t->p95_ms));
}

static json_t *sample_json(const struct service_sample *s)
{
    return json_pack("{s:o, s:f, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:I, s:I, s:I, s:I}",
                     "timestamp", json_time(s->wall_ms), "seconds", MONITOR_STEP_MS / 1000.0,
                     "requests", (json_int_t)s->requests, "errors", (json_int_t)s->errors,
                     "prompt_tokens", (json_int_t)s->prompt_tokens, "output_tokens",
                     (json_int_t)s->output_tokens, "first_byte", times_json(&s->first_byte),
                     "total", times_json(&s->total), "queue", times_json(&s->queue), "in_flight",
                     (json_int_t)s->in_flight, "waiting", (json_int_t)s->waiting, "tasks_pending",
                     (json_int_t)s->tasks_pending, "tasks_running", (json_int_t)s->tasks_running);
}

/* service NULL: there was no step yet. */
static json_t *now_json(struct api *api, const struct service_sample *service)
{
    return json_pack("{s:s, s:o, s:o, s:o}", "type", "sample", "service",
                     service ? sample_json(service) : json_null(), "devices",
                     all_device_metrics(api), "host", host_json(api, gpu_host(api->in.gpu)));
}

void api_on_sample(void *owner, const void *what)
{
    struct api *api = owner;
    json_t *json;
    char *text;

    if (!subscribers_want_samples(api)) {
        return;
    }
    json = now_json(api, what);
    text = json_dumps(json, JSON_COMPACT);
    subscribers_tell_sample(api, span_of(text));
    free(text);
    json_decref(json);
}

void handle_service(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct service_sample *last = NULL, *s;

    for (size_t i = 0; api->in.monitor && (s = monitor_service_at(api->in.monitor, i)); i++) {
        last = s;
    }
    http_respond_json(x, 200, now_json(api, last));
}

void handle_service_history(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct service_sample *s;
    struct range range;
    json_t *list;

    if (!range_read(api, x, &range)) {
        return;
    }
    list = json_array();
    for (size_t i = 0; api->in.monitor && (s = monitor_service_at(api->in.monitor, i)); i++) {
        if (s->wall_ms >= range.since_wall_ms) {
            json_array_append_new(list, sample_json(s));
        }
    }
    range_cut(&range, list);
    http_respond_json(x, 200, list);
}
