// SPDX-License-Identifier: Apache-2.0
/*
 * The life of one request:
 *
 *     read ──► WAITING ──grant──► ASKED ──head──► ANSWERING ──end──► (gone)
 *                 ▲  (no instance)   │ lost before the engine's first byte, attempts left
 *                 └──────────────────┘
 *
 * Before the engine's first byte nothing is committed towards the client (but for a streaming
 * client that waits long: its headers and SSE comments), so a lost connection moves the request to
 * another instance, or to the same one's next life. After it a failure is an SSE error event, or a
 * cut connection. Of an event stream only whole events are sent, so that an error event can follow
 * at any moment.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "codec/scan.h"
#include "codec/sse.h"
#include "gateway/gateway_int.h"
#include "gateway/request.h"
#include "gateway/usage.h"

enum {
    SWEEP_MS = 1000,
    SMALL_SPILL = 16 * 1024,
    EVENT_MAX = 256 * 1024,
    REFUSAL_MAX = 64 * 1024,
    AVOID_MS = 1000, /* an instance that lost a request, times the attempts: long enough to see its
                        process end */
};

enum relay_state { RELAY_WAITING, RELAY_ASKED, RELAY_ANSWERING };

struct relay {
    struct list node; /* in gateway->relays */
    struct gateway *gateway;
    struct http_exchange *x; /* NULL once answered or gone */
    enum endpoint endpoint;
    enum relay_state state;
    struct gateway_request request;
    struct model_counts *counts;
    int64_t model_id;
    struct ticket *ticket;
    struct http_call *call;
    char uuid[UUID_SIZE]; /* of the instance that works on it, or failed last */
    unsigned attempts;
    int status;        /* of the answer */
    bool event_stream; /* the answer is SSE */
    bool refused;      /* the client has the headers of a stream, the engine answers otherwise */
    bool done;         /* "[DONE]" has passed: the client has it all, whatever comes */
    bool paused;
    uint64_t began_ms, sign_ms; /* when it came; when the next sign of life is due */
    size_t spilled;             /* part of gateway->spilled */
    struct usage usage;
    struct sse_reader sse; /* cuts an event stream into events */
    struct buf refusal;    /* the body of what the engine answers otherwise */
};

static void ask_for_instance(struct relay *r, bool unreachable);

/* Ending */

static void set_spilled(struct relay *r, size_t bytes)
{
    r->gateway->spilled += bytes - r->spilled;
    r->spilled = bytes;
}

static void free_relay(struct relay *r)
{
    set_spilled(r, 0);
    if (r->call) {
        http_call_cancel(r->call);
    }
    if (r->ticket) {
        dispatch_release(r->ticket);
    }
    list_remove(&r->node);
    counts_release(r->counts);
    gateway_request_finish(&r->request);
    sse_reader_finish(&r->sse);
    buf_finish(&r->refusal);
    free(r);
}

/* Accounts and forgets. The exchange has been answered, or is gone. */
static void finish(struct relay *r, int status)
{
    const struct model_counts *c = r->counts;

    if (!c->removed) {
        count_request(r->gateway, c->model, r->endpoint, status);
        metric_add(c->prompt_tokens, (double)r->usage.prompt_tokens);
        metric_add(c->output_tokens, (double)r->usage.completion_tokens);
        metric_add(c->cached_tokens, (double)r->usage.cached_tokens);
    }
    free_relay(r);
}

static double seconds_so_far(const struct relay *r)
{
    return (double)(world_now_us(r->gateway->in.world) - http_exchange_started_us(r->x)) / 1e6;
}

/* Ends with an error in whatever shape is still possible. */
static void fail(struct relay *r, int error, const char *code, const char *text)
{
    const struct error_kind *kind = error_kind(error);
    struct http_exchange *x = TAKE_PTR(r->x);
    struct buf b = BUF_INIT(8192);

    if (!http_respond_started(x)) {
        if (error == -EAGAIN || error == -ETIME) {
            char seconds[16];

            snprintf(seconds, sizeof(seconds), "%u",
                     dispatch_retry_after_s(r->gateway->in.dispatch, r->model_id));
            http_exchange_add_header(x, "retry-after", seconds);
        }
        answer_error(x, error, code, text);
    } else if (r->event_stream) {
        buf_puts(&b, "data: ");
        error_body(SHAPE_OPENAI, kind->http_status, kind->type, code ? code : kind->name, text, &b);
        buf_puts(&b, "\n\n");
        http_respond_write(x, buf_data(&b), b.len);
        http_respond_end(x);
    } else {
        http_respond_abort(x);
    }
    buf_finish(&b);
    finish(r, kind->http_status);
}

/* The client's side */

static void on_client_gone(void *owner)
{
    struct relay *r = owner;

    r->x = NULL;
    finish(r, 499);
}

static size_t spill_limit(const struct gateway *g)
{
    return g->spilled < g->spill_budget ? g->spill_per_stream : SMALL_SPILL;
}

static void on_client_drain(void *owner)
{
    struct relay *r = owner;

    set_spilled(r, http_exchange_queued(r->x));
    if (r->paused) {
        r->paused = false;
        http_call_resume(r->call);
    }
}

static const struct http_exchange_events client_events = { on_client_gone, on_client_drain };

/* After a piece: a client that reads more slowly than the engine writes stops the engine. */
static void press_back(struct relay *r)
{
    size_t queued = http_exchange_queued(r->x);

    set_spilled(r, queued);
    if (!r->paused && queued > spill_limit(r->gateway)) {
        r->paused = true;
        http_call_pause(r->call);
    }
}

/* The engine's side */

static void begin_answer(struct relay *r, const struct http_head *head)
{
    struct span type = http_header_get(head, "content-type");
    _cleanup_(freep) char *type_text = span_dup(type.p ? type : SPAN("application/octet-stream"));
    int64_t length = head->framing == HTTP_LENGTH ? (int64_t)head->content_length : -1;

    r->event_stream = span_starts(type, "text/event-stream");
    if (head->framing == HTTP_NO_BODY) {
        length = 0;
    }
    http_respond_start(r->x, head->status, type_text, r->event_stream ? -1 : length);
}

static void on_head(void *owner, const struct http_head *head)
{
    struct relay *r = owner;

    r->state = RELAY_ANSWERING;
    r->status = head->status;
    engines_note_progress(r->gateway->in.engines, r->uuid);
    if (!r->counts->removed) {
        metric_observe(r->counts->first_byte, seconds_so_far(r));
    }
    if (!http_respond_started(r->x)) {
        begin_answer(r, head);
    } else {
        r->refused = head->status != 200 ||
                     !span_starts(http_header_get(head, "content-type"), "text/event-stream");
    }
}

/* The stream's headers are out already (stream_wait): what the engine answers instead of a stream
 * can only be told as the one event, when it is an error object, or in our words. */
static void tell_refusal(struct relay *r)
{
    struct scan_member error = { .name = "error" };
    struct buf event = BUF_INIT(2 * REFUSAL_MAX);
    char text[96];

    if (r->status == 200 || scan_object(buf_span(&r->refusal), &error, 1, NULL) < 0 ||
        error.type != SCAN_OBJECT ||
        sse_write_event(&event, NULL, NULL, buf_span(&r->refusal)) < 0) {
        snprintf(text, sizeof(text), "the engine answered with status %d, and no stream",
                 r->status);
        buf_finish(&event);
        fail(r, -EPROTO, NULL, text);
        return;
    }
    http_respond_write(r->x, buf_data(&event), event.len);
    buf_finish(&event);
    http_respond_end(TAKE_PTR(r->x));
    finish(r, r->status);
}

/* The event that answers our own stream_options.include_usage: no choices, only usage. */
static bool is_our_usage_event(struct span data)
{
    return data.p && data.n > 0 && memmem(data.p, data.n, "\"choices\":[]", 12) &&
           memmem(data.p, data.n, "\"usage\":", 8);
}

/* Events that stand side by side in the piece leave in one write. */
struct run {
    const char *p;
    size_t n;
};

static void send_run(struct relay *r, struct run *run)
{
    if (run->n > 0) {
        http_respond_write(r->x, run->p, run->n);
    }
    *run = (struct run){ 0 };
}

static void relay_events(struct relay *r, const char *p, size_t n)
{
    struct sse_event event;
    struct run run = { 0 };

    sse_feed(&r->sse, (struct span){ p, n });
    while (sse_next(&r->sse, &event)) {
        bool within = event.raw.p >= p && event.raw.p < p + n;

        r->done |= span_eq(event.data, "[DONE]");
        if (r->request.added_usage && is_our_usage_event(event.data)) {
            continue;
        }
        if (!within || run.p + run.n != event.raw.p) {
            send_run(r, &run);
        }
        if (within) {
            run.p = run.n ? run.p : event.raw.p;
            run.n += event.raw.n;
        } else {
            http_respond_write(r->x, event.raw.p, event.raw.n);
        }
    }
    send_run(r, &run);
}

static void on_body(void *owner, const char *p, size_t n)
{
    struct relay *r = owner;

    if (r->refused) {
        (void)buf_append(&r->refusal, p, n); /* one that is too long is no object in the end */
        return;
    }
    usage_feed(&r->usage, p, n);
    if (r->event_stream) {
        dispatch_progress(r->ticket, 1);
        engines_note_progress(r->gateway->in.engines, r->uuid);
        relay_events(r, p, n);
    } else {
        http_respond_write(r->x, p, n);
    }
    press_back(r);
}

static void on_end(void *owner)
{
    struct relay *r = owner;
    struct http_exchange *x;
    struct sse_event rest;

    r->call = NULL;
    if (!r->counts->removed) {
        metric_observe(r->counts->seconds, seconds_so_far(r));
    }
    if (r->refused) {
        tell_refusal(r);
        return;
    }
    x = TAKE_PTR(r->x);
    if (r->event_stream && sse_rest(&r->sse, &rest)) {
        http_respond_write(x, rest.raw.p, rest.raw.n);
    }
    http_respond_end(x);
    finish(r, r->status);
}

/* Moves the request to another instance, or to the same one's next life. */
static void try_again(struct relay *r, bool unreachable)
{
    dispatch_release(TAKE_PTR(r->ticket));
    metric_add(r->gateway->failovers, 1);
    r->state = RELAY_WAITING;
    ask_for_instance(r, unreachable);
}

static bool may_try_again(const struct relay *r, const struct error *e)
{
    return r->state == RELAY_ASKED && r->attempts < r->gateway->max_attempts &&
           (e->code == -ECONNREFUSED || e->code == -ECONNRESET || e->code == -ECANCELED);
}

static void on_fail(void *owner, const struct error *e)
{
    struct relay *r = owner;
    char text[600];

    r->call = NULL;
    if (r->done) {
        on_end(r);
        return;
    }
    log_info("gateway", r->counts->model, "the engine failed a request",
             kv_str("request", http_exchange_id(r->x)), kv_str("instance", r->uuid),
             kv_str("error", e->text), kv_int("answering", r->state == RELAY_ANSWERING));
    if (may_try_again(r, e)) {
        try_again(r, e->code == -ECONNREFUSED);
        return;
    }
    snprintf(text, sizeof(text), "the engine failed %s: %s",
             r->state == RELAY_ANSWERING ? "while it answered" : "before it answered", e->text);
    fail(r, e->code == -ETIMEDOUT ? -ETIMEDOUT : -EPROTO, NULL, text);
}

static const struct http_call_handler engine_events = { on_head, on_body, on_end, on_fail };

static const char *const paths[ENDPOINT_MAX_] = {
    [ENDPOINT_CHAT] = "/v1/chat/completions",
    [ENDPOINT_COMPLETIONS] = "/v1/completions",
    [ENDPOINT_EMBEDDINGS] = "/v1/embeddings",
};

/* Headers towards engines are made, not forwarded. */
static void ask_engine(struct relay *r, const struct instance *instance)
{
    struct gateway *g = r->gateway;
    struct http_upstream *upstream = engines_upstream(g->in.engines, instance->uuid);
    char headers[256];
    struct http_call_request request = {
        .method = "POST",
        .path = paths[r->endpoint],
        .headers = headers,
        .body = r->request.parts,
        .body_parts = r->request.part_count,
        .head_timeout_ms = g->first_byte_timeout_ms,
        .idle_timeout_ms = g->idle_timeout_ms,
    };

    memcpy(r->uuid, instance->uuid, sizeof(r->uuid));
    r->attempts++;
    if (!upstream) {
        fail(r, -ESRCH, NULL, "the instance went away");
        return;
    }
    snprintf(headers, sizeof(headers),
             "Content-Type: application/json\r\nAccept: %s\r\nx-request-id: %s\r\n",
             r->request.stream ? "text/event-stream" : "application/json", http_exchange_id(r->x));
    r->state = RELAY_ASKED;
    r->call = http_call_start(upstream, &request, &engine_events, r);
}

static void on_grant(void *owner, const struct instance *instance)
{
    ask_engine(owner, instance);
}

static void on_refuse(void *owner, const struct error *e)
{
    struct relay *r = owner;

    r->ticket = NULL;
    fail(r, e->code, e->code == -ENOENT ? "model_not_found" : NULL, e->text);
}

static void ask_for_instance(struct relay *r, bool unreachable)
{
    struct dispatch_ask ask = {
        .model_id = r->model_id,
        .tokens = r->request.tokens,
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

    n = dispatch_acquire(r->gateway->in.dispatch, &ask, &r->ticket, &instance, &e);
    if (n < 0) {
        r->ticket = NULL;
        on_refuse(r, &e);
    } else if (n > 0) {
        ask_engine(r, instance);
    }
}

/* Signs of life */

static void comment(struct relay *r, uint64_t waited_s)
{
    struct buf b = BUF_INIT(256);
    unsigned place = r->ticket ? dispatch_position(r->ticket) : 0;

    if (!http_respond_started(r->x)) {
        http_respond_start(r->x, 200, "text/event-stream", -1);
        r->event_stream = true;
    }
    if (place > 0) {
        buf_printf(&b, ": waiting for an instance, place %u, %llu s\n\n", place,
                   (unsigned long long)waited_s);
    } else {
        buf_printf(&b, ": waiting for the first token, %llu s\n\n", (unsigned long long)waited_s);
    }
    http_respond_write(r->x, buf_data(&b), b.len);
    buf_finish(&b);
}

static void sweep_soon(struct gateway *g)
{
    if (!list_empty(&g->relays) && !timer_active(&g->sweep)) {
        timer_start(&g->sweep, MIN_OF(g->stream_wait_ms, (uint64_t)SWEEP_MS));
    }
}

void relay_sweep(void *gateway)
{
    struct gateway *g = gateway;
    uint64_t now = world_now_ms(g->in.world);
    struct relay *r;

    list_for_each (r, &g->relays, node) {
        if (r->request.stream && r->state != RELAY_ANSWERING && now >= r->sign_ms) {
            comment(r, (now - r->began_ms) / 1000);
            r->sign_ms = now + MAX_OF(g->stream_wait_ms, (uint64_t)SWEEP_MS);
        }
    }
    sweep_soon(g);
}

/* The beginning */

/* Refused before it is known which model it is about. */
static void refuse(struct gateway *g, struct http_exchange *x, enum endpoint endpoint,
                   const struct error *e)
{
    count_request(g, "", endpoint, error_kind(e->code)->http_status);
    answer_error(x, e->code, e->code == -ENOENT ? "model_not_found" : NULL, e->text);
}

/* The request and its model; on failure there is nothing to finish. */
static int read_request(struct gateway *g, struct http_exchange *x, enum endpoint endpoint,
                        struct gateway_request *ret, const struct model **ret_model,
                        struct error *reterr)
{
    int r = gateway_request_read(http_exchange_body(x), endpoint == ENDPOINT_CHAT, ret, reterr);

    if (r < 0) {
        return r;
    }
    *ret_model = models_find(g->in.models, span_of(ret->model));
    if (!*ret_model) {
        r = error_set(reterr, -ENOENT,
                      "the model '%s' does not exist; GET /v1/models lists those that do",
                      strlen(ret->model) > MODEL_ID_MAX ? "…" : ret->model);
        gateway_request_finish(ret);
    }
    return r;
}

void relay_start(struct gateway *g, struct http_exchange *x, enum endpoint endpoint)
{
    struct gateway_request request = { 0 };
    const struct model *model = NULL;
    struct error e = { 0 };
    struct relay *r;

    if (read_request(g, x, endpoint, &request, &model, &e) < 0) {
        refuse(g, x, endpoint, &e);
        return;
    }
    r = xcalloc(1, sizeof(*r));
    r->gateway = g;
    r->x = x;
    r->endpoint = endpoint;
    r->request = request;
    r->model_id = model->id;
    r->counts = counts_of(g, model);
    r->began_ms = world_now_ms(g->in.world);
    r->sign_ms = r->began_ms + g->stream_wait_ms;
    sse_reader_init(&r->sse, EVENT_MAX);
    buf_init(&r->refusal, REFUSAL_MAX);
    list_append(&g->relays, &r->node);
    sweep_soon(g);
    http_exchange_set_events(x, &client_events, r);
    ask_for_instance(r, false);
}
