// SPDX-License-Identifier: Apache-2.0
/*
 * The life of one request (relay_int.h draws it). Before the engine's first byte nothing is
 * committed towards the client (but for a streaming client that waits long: its headers and SSE
 * comments), so a lost connection moves the request to another instance, or to the same one's next
 * life. After it a failure is an error event, or a cut connection. Whatever happens, it ends by its
 * deadline.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/engine_request.h"
#include "gateway/relay_int.h"

enum {
    SPARE_MAX = 64,
    AVOID_MS = 1000, /* an instance that lost a request, times the attempts: long enough to see its
                        process end */
};

static void ask_for_instance(struct relay *r, bool unreachable);

/* Ending */

void relay_set_spilled(struct relay *r, size_t bytes)
{
    r->gateway->spilled += bytes - r->spilled;
    r->spilled = bytes;
}

void relay_end_call(struct relay *r)
{
    if (r->call) {
        if (!r->paused) {
            engines_note_work(r->gateway->in.engines, r->uuid, -1, r->request.stream);
        }
        r->call = NULL;
    }
}

static void cancel_call(struct relay *r)
{
    struct http_call *call = r->call;

    if (call) {
        relay_end_call(r);
        http_call_cancel(call);
    }
}

/* Relays are large and short-lived: some are kept, as the server keeps its exchanges. */

static struct relay *take_spare(struct gateway *g)
{
    struct relay *r = list_first(&g->spare, struct relay, node);

    if (!r) {
        return xcalloc(1, sizeof(*r));
    }
    list_remove(&r->node);
    g->spare_count--;
    memset(r, 0, sizeof(*r));
    return r;
}

static void give_back(struct relay *r)
{
    struct gateway *g = r->gateway;

    if (g->spare_count < SPARE_MAX) {
        g->spare_count++;
        list_prepend(&g->spare, &r->node);
    } else {
        free(r);
    }
}

void relay_forget_spare(struct gateway *g)
{
    struct relay *r, *tmp;

    list_for_each_safe (r, tmp, &g->spare, node) {
        free(r);
    }
}

static void free_relay(struct relay *r)
{
    relay_set_spilled(r, 0);
    cancel_call(r);
    if (r->ticket) {
        if (r->usage.found) {
            dispatch_note_usage(r->ticket, r->usage.prompt_tokens, r->usage.cached_tokens,
                                r->usage.completion_tokens);
        }
        dispatch_release(r->ticket, r->outcome);
    }
    list_remove(&r->node);
    counts_release(r->counts);
    gateway_request_finish(&r->request);
    translated_finish(&r->translated);
    sse_reader_finish(&r->sse);
    buf_finish(&r->held);
    free(r->model_text);
    free(r->path);
    give_back(r);
}

void relay_finish(struct relay *r, int status)
{
    if (status >= 400 && !r->record.error[0]) {
        snprintf(r->record.error, sizeof(r->record.error), "the engine answered with status %d",
                 status);
    }
    r->record.status = status;
    r->record.prompt_tokens = (uint32_t)MIN_OF(r->usage.prompt_tokens, (uint64_t)UINT32_MAX);
    r->record.output_tokens = (uint32_t)MIN_OF(r->usage.completion_tokens, (uint64_t)UINT32_MAX);
    memcpy(r->record.instance, r->uuid, sizeof(r->record.instance));
    account_close(
        r->gateway,
        &(struct account){ .record = &r->record,
                           .endpoint = r->endpoint,
                           .counts = r->counts,
                           .started_us = r->started_us,
                           .cached_tokens = r->usage.cached_tokens,
                           .attempts = r->attempts,
                           .whole = r->whole,
                           .request_id = r->request_id,
                           .trace_id = r->headers.trace_id[0] ? r->headers.trace_id : NULL });
    free_relay(r);
}

void relay_add_served(struct relay *r)
{
    if (r->attempts > 0) {
        http_exchange_add_header(r->x, "x-berth-instance", r->uuid);
        answer_add_number(r->x, "x-berth-queue-ms", r->record.queue_ms);
    }
}

/* A line moves; what was given up, or stopped by a person, does not come back by itself. */
static bool waiting_helps(const struct relay *r, int error)
{
    const struct instance *best =
        error == -ESRCH ? engines_of_model(r->gateway->in.engines, r->model_id) : NULL;

    return error == -EAGAIN || error == -ETIME || (best && best->state != INSTANCE_FAILED);
}

/* Refused before anything was sent. */
static void answer_failure(struct relay *r, int error, const char *code, const char *text)
{
    struct gateway *g = r->gateway;
    struct http_exchange *x;

    if (waiting_helps(r, error)) {
        answer_add_retry(g, r->x, r->model_id);
    } else {
        relay_add_served(r);
    }
    x = TAKE_PTR(r->x);
    if (r->refuse) {
        struct error e;

        error_set(&e, error, "%s", text);
        r->refuse(x, r->counts->model, &e);
    } else {
        answer_error(x, r->endpoint->shape, error, code, text);
    }
}

/* In the middle of a stream. */
static void stream_failure(struct relay *r, const struct error_kind *kind, const char *code,
                           const char *text)
{
    struct buf *out = &r->gateway->scratch;

    buf_clear(out);
    if (r->line_stream) {
        r->endpoint->translation->stream_error(r->translated.state, text, out);
    } else {
        error_event_write(r->endpoint->error_event, kind->http_status, kind->type,
                          code ? code : kind->name, text, r->events, out);
    }
    relay_send(r, buf_data(out), out->len);
    http_respond_end(TAKE_PTR(r->x));
}

void relay_fail(struct relay *r, int error, const char *code, const char *text)
{
    const struct error_kind *kind = error_kind(error);

    if (r->done) { /* the client has it all; only the end of the engine's connection is missing */
        http_respond_end(TAKE_PTR(r->x));
        relay_finish(r, r->status);
        return;
    }
    record_text(r->record.error, sizeof(r->record.error), span_of(text));
    if (!http_respond_started(r->x)) {
        answer_failure(r, error, code, text);
    } else if (r->event_stream || r->line_stream) {
        stream_failure(r, kind, code, text);
    } else {
        http_respond_abort(TAKE_PTR(r->x));
    }
    relay_finish(r, kind->http_status);
}

/* Of an answer that is kept, the client has seen nothing. */
bool relay_may_try_again(const struct relay *r)
{
    bool kept = r->state == RELAY_ANSWERING && r->status == 200 &&
                (r->mode == ANSWER_WHOLE || r->mode == ANSWER_HELD) && !http_respond_started(r->x);

    return (r->state == RELAY_ASKED || kept) && r->attempts < r->gateway->max_attempts;
}

void relay_try_again(struct relay *r, bool unreachable)
{
    cancel_call(r);
    dispatch_release(TAKE_PTR(r->ticket), OUTCOME_FAILED);
    metric_add(r->gateway->failovers, 1);
    relay_forget_answer(r);
    r->state = RELAY_WAITING;
    ask_for_instance(r, unreachable);
}

/* Asking an engine */

static const char *engine_headers(struct relay *r, const struct engine_route *route)
{
    const struct http_head *head = http_exchange_head(r->x);
    struct buf *out = &r->gateway->scratch;

    buf_clear(out);
    if (r->path) {
        engine_header(out, "Content-Type", http_header_get(head, "content-type"));
        engine_header(out, "Accept", http_header_get(head, "accept"));
    } else {
        engine_json_headers(out, r->request.stream);
    }
    engine_header(out, "x-request-id", span_of(r->request_id));
    client_headers_forward(head, &r->headers, out);
    engine_route_headers(out, route);
    return buf_data(out);
}

static const char *path_wanted(const struct relay *r)
{
    return r->path ? r->path : r->translated.path ? r->translated.path : r->endpoint->engine_path;
}

static void ask_engine(struct relay *r, const struct instance *instance)
{
    struct gateway *g = r->gateway;
    struct engine_route route;
    char path[ENGINE_PATH_MAX];
    struct http_call_request request = {
        .method = r->method,
        .path = path,
        .head_timeout_ms = g->first_byte_timeout_ms,
        .idle_timeout_ms = g->idle_timeout_ms,
    };

    if (!engines_route(g->in.engines, r->uuid, &route)) {
        relay_fail(r, -ESRCH, NULL, "the instance went away");
        return;
    }
    if (engine_route_path(&route, span_of(path_wanted(r)), path) < 0) {
        relay_fail(r, -EINVAL, NULL, "the path is too long for this engine");
        return;
    }
    if (!r->path) {
        engine_name_model(&r->request, route.model, &r->model_text);
    }
    request.body = r->request.parts;
    request.body_parts = r->request.part_count;
    request.headers = engine_headers(r, &route);
    r->state = RELAY_ASKED;
    r->call = http_call_start(route.upstream, &request, &relay_engine_events, r);
    engines_note_work(g->in.engines, r->uuid, 1, r->request.stream);
}

/* The line */

static void begin_work(struct relay *r, const struct instance *instance)
{
    memcpy(r->uuid, instance->uuid, sizeof(r->uuid));
    r->attempts++;
    r->record.queue_ms += (uint32_t)(world_now_ms(r->gateway->in.world) - r->wait_ms);
    if (r->translated.load) {
        relay_answer_nothing(r);
    } else {
        ask_engine(r, instance);
    }
}

static void on_grant(void *owner, const struct instance *instance)
{
    begin_work(owner, instance);
}

static void on_refuse(void *owner, const struct error *e)
{
    struct relay *r = owner;

    r->ticket = NULL;
    r->record.queue_ms += (uint32_t)(world_now_ms(r->gateway->in.world) - r->wait_ms);
    relay_fail(r, e->code, e->code == -ENOENT ? "model_not_found" : NULL, e->text);
}

/* Only for strategies that look at it. */
static unsigned hash_prefix(const struct relay *r, uint64_t out[PREFIX_BLOCKS_MAX])
{
    const struct strategy *s = dispatch_strategy(r->gateway->in.dispatch, r->model_id);

    return s->looks_at & LOOKS_AT_PREFIX ? prefix_hashes(r->request.prompt, out) : 0;
}

static void ask_for_instance(struct relay *r, bool unreachable)
{
    uint64_t prefix[PREFIX_BLOCKS_MAX];
    struct dispatch_ask ask = {
        .model_id = r->model_id,
        .rank = RANK_REQUEST,
        .tokens = r->request.tokens,
        .prompt_tokens = r->request.prompt_tokens,
        .output_limit = r->request.output_limit,
        .prefix = prefix,
        .prefix_count = hash_prefix(r, prefix),
        .session = r->headers.session ? r->headers.session : r->request.session,
        .queue_timeout_ms = r->headers.queue_timeout_ms,
        .no_load = r->path != NULL,
        .exclude = r->attempts ? r->uuid : NULL,
        .exclude_ms = (uint64_t)r->attempts * AVOID_MS,
        .unreachable = unreachable,
        .on_grant = on_grant,
        .on_refuse = on_refuse,
        .owner = r,
    };
    const struct instance *instance = NULL;
    struct error e = { 0 };
    int n;

    r->outcome = OUTCOME_NONE;
    r->wait_ms = world_now_ms(r->gateway->in.world);
    n = dispatch_acquire(r->gateway->in.dispatch, &ask, &r->ticket, &instance, &e);
    if (n < 0) {
        on_refuse(r, &e);
    } else if (n > 0) {
        begin_work(r, instance);
    }
}

/* The beginning */

static uint64_t limit(uint64_t asked_ms, uint64_t most_ms)
{
    return asked_ms ? MIN_OF(asked_ms, most_ms) : most_ms;
}

struct relay *relay_new(struct gateway *g, struct http_exchange *x, const struct endpoint *endpoint,
                        const struct model *model, const struct client_headers *headers)
{
    struct relay *r = take_spare(g);
    const char *id = http_exchange_id(x);

    r->gateway = g;
    r->x = x;
    r->endpoint = endpoint;
    r->model_id = model->id;
    r->counts = counts_of(g, model);
    r->headers = *headers;
    r->headers.queue_timeout_ms =
        headers->queue_timeout_ms ? limit(headers->queue_timeout_ms, g->queue_timeout_ms) : 0;
    r->started_us = http_exchange_started_us(x);
    r->began_ms = world_now_ms(g->in.world);
    r->sign_ms = r->began_ms + g->stream_wait_ms;
    r->time_limit_ms = limit(headers->deadline_ms, g->deadline_ms);
    r->deadline_ms = r->started_us / 1000 + r->time_limit_ms;
    sse_reader_init(&r->sse, SSE_EVENT_MAX);
    memcpy(r->request_id, id, MIN_OF(strlen(id), sizeof(r->request_id) - 1));
    record_begin(g, x, &r->record);
    record_text(r->record.user_agent, sizeof(r->record.user_agent), headers->user_agent);
    record_text(r->record.model, sizeof(r->record.model), span_of(model->config->id));
    strcpy(r->method, "POST");
    list_append(&g->relays, &r->node);
    http_exchange_set_events(x, &relay_client_events, r);
    return r;
}

void relay_go(struct relay *r)
{
    r->signs = r->request.stream && !r->path && !r->endpoint->translation;
    relay_watch(r);
    if (r->translated.unload) {
        placement_let_go(r->gateway->in.placement, r->model_id);
        relay_answer_nothing(r);
    } else {
        ask_for_instance(r, false);
    }
}

/* A request in the door's own words becomes one that engines understand. */
static int translate(const struct translation *translation, struct http_exchange *x,
                     struct translated *ret, struct gateway_request *ret_request,
                     struct error *reterr)
{
    int n = translation->read(http_exchange_body(x), http_exchange_started_us(x), ret, reterr);

    if (n < 0) {
        return n;
    }
    *ret_request = (struct gateway_request){ 0 };
    if (ret->body) {
        n = gateway_request_read((struct span){ ret->body, ret->body_len }, false, ret_request,
                                 reterr);
    } else {
        ret_request->model = xstrdup(ret->model);
    }
    if (n < 0) {
        translated_finish(ret);
        return n;
    }
    ret_request->stream = ret->stream;
    ret_request->has_keep_alive = ret->has_keep_alive;
    ret_request->keep_alive_ms = ret->keep_alive_ms;
    return 0;
}

/* Everything that is known before its life begins. */
struct reading {
    struct client_headers headers;
    struct gateway_request request;
    struct translated translated;
    const struct model *model;
};

/* On failure there is nothing to forget. */
static int read_request(struct gateway *g, struct http_exchange *x, const struct endpoint *endpoint,
                        struct reading *in, struct error *reterr)
{
    int r = client_headers_read(http_exchange_head(x), &in->headers, reterr);

    if (r < 0) {
        return r;
    }
    r = endpoint->translation
            ? translate(endpoint->translation, x, &in->translated, &in->request, reterr)
            : gateway_request_read(http_exchange_body(x), endpoint->asks_usage, &in->request,
                                   reterr);
    if (r < 0) {
        return r;
    }
    in->model = gateway_find_model(g, in->request.model, endpoint->shape);
    if (!in->model) {
        r = error_set(reterr, -ENOENT,
                      "the model '%s' does not exist; GET /v1/models lists those that do",
                      strlen(in->request.model) > MODEL_ID_MAX ? "…" : in->request.model);
        gateway_request_finish(&in->request);
        translated_finish(&in->translated);
    }
    return r;
}

void relay_start(struct gateway *g, struct http_exchange *x, const struct endpoint *endpoint)
{
    struct reading in = { 0 };
    struct error e = { 0 };
    struct relay *r;

    if (read_request(g, x, endpoint, &in, &e) < 0) {
        account_refusal(g, x, endpoint, NULL, &e);
        answer_error(x, endpoint->shape, e.code, e.code == -ENOENT ? "model_not_found" : NULL,
                     e.text);
        return;
    }
    r = relay_new(g, x, endpoint, in.model, &in.headers);
    r->request = in.request;
    r->translated = in.translated;
    if (r->request.has_keep_alive && !r->translated.unload) {
        placement_keep_alive(g->in.placement, r->model_id, r->request.keep_alive_ms);
    }
    relay_go(r);
}
