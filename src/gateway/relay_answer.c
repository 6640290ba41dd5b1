// SPDX-License-Identifier: Apache-2.0
/*
 * The engine's answer on its way to the client, and the client's own doings meanwhile. Of an event
 * stream only whole events are sent, so that an error event can follow at any moment. The engine's
 * own errors pass as they are where the door speaks as the engine does, and are told in the door's
 * shape elsewhere.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "codec/scan.h"
#include "gateway/engine_request.h"
#include "gateway/relay_int.h"

enum {
    SMALL_SPILL = 16 * 1024,
    REFUSAL_MAX = 64 * 1024,
    KEPT_MAX = REFUSAL_MAX, /* of a whole answer; a longer one is not kept */
    WHOLE_MAX = 32 * 1024 * 1024,
    TRANSLATED_MAX = 2 * WHOLE_MAX,
};

/* The client's side */

static void on_client_gone(void *owner)
{
    struct relay *r = owner;

    r->x = NULL;
    record_text(r->record.error, sizeof(r->record.error), SPAN("the client left"));
    relay_finish(r, 499);
}

static size_t spill_limit(const struct gateway *g)
{
    return g->spilled < g->spill_budget ? g->spill_per_stream : SMALL_SPILL;
}

static void on_client_drain(void *owner)
{
    struct relay *r = owner;

    relay_set_spilled(r, http_exchange_queued(r->x) + r->held.len);
    if (r->paused) {
        r->paused = false;
        engines_note_work(r->gateway->in.engines, r->uuid, 1, r->request.stream);
        http_call_resume(r->call);
    }
}

const struct http_exchange_events relay_client_events = { on_client_gone, on_client_drain };

/* After a piece: a client that reads more slowly than the engine writes stops the engine, whose
 * progress is not judged by this request meanwhile. */
static void press_back(struct relay *r)
{
    size_t queued = http_exchange_queued(r->x);

    relay_set_spilled(r, queued + r->held.len);
    if (!r->paused && queued > spill_limit(r->gateway)) {
        r->paused = true;
        engines_note_work(r->gateway->in.engines, r->uuid, -1, r->request.stream);
        http_call_pause(r->call);
    }
}

/* The head */

static void note_first_byte(struct relay *r)
{
    uint64_t us = world_now_us(r->gateway->in.world) - r->started_us;

    if (!r->counts->removed &&
        r->record.first_byte_ms == 0) { /* once, whoever answers in the end */
        metric_observe(r->counts->first_byte, (double)us / 1e6);
    }
    r->record.first_byte_ms = (uint32_t)MAX_OF(us / 1000, (uint64_t)1);
}

static bool is_event_stream(const struct http_head *head)
{
    return span_starts(http_header_get(head, "content-type"), "text/event-stream");
}

static bool another_is_open(const struct relay *r)
{
    const struct gateway *g = r->gateway;
    const struct instance *i;
    struct dispatch_target target;
    size_t cursor = 0;

    while ((i = engines_next(g->in.engines, &cursor))) {
        if (i->model_id == r->model_id && i->state == INSTANCE_READY && !str_eq(i->uuid, r->uuid) &&
            dispatch_target(g->in.dispatch, i->uuid, &target) && target.breaker != BREAKER_OPEN) {
            return true;
        }
    }
    return false;
}

static void copy_header(struct relay *r, const struct http_head *head, const char *name)
{
    struct span value = http_header_get(head, name);
    _cleanup_(freep) char *text = value.p ? span_dup(value) : NULL;

    if (text) {
        http_exchange_add_header(r->x, name, text);
    }
}

/* When to come back: as the engine says, else as the line says. */
static void add_retry(struct relay *r, const struct http_head *head)
{
    if (http_header_get(head, "retry-after").p || http_header_get(head, "retry-after-ms").p) {
        copy_header(r, head, "retry-after");
        copy_header(r, head, "retry-after-ms");
    } else {
        answer_add_retry(r->gateway, r->x, r->model_id);
    }
}

static void add_headers(struct relay *r, const struct http_head *head)
{
    relay_add_served(r);
    if (head->status == 429 || head->status == 503) {
        add_retry(r, head);
    }
}

/* -1: none is told. An answer to HEAD has the length of what it does not bring. */
static int64_t length_of(const struct http_head *head)
{
    struct span told = http_header_get(head, "content-length");
    uint64_t length = 0;

    if (head->framing == HTTP_LENGTH) {
        return (int64_t)head->content_length;
    }
    if (head->framing != HTTP_NO_BODY) {
        return -1;
    }
    return told.p && span_to_u64(told, &length) == 0 ? (int64_t)length : 0;
}

static void keep_head(struct relay *r, const struct http_head *head)
{
    struct span type = http_header_get(head, "content-type");

    if (!type.p || type.n >= sizeof(r->type)) {
        type = SPAN("application/octet-stream");
    }
    memcpy(r->type, type.p, type.n);
    r->type[type.n] = '\0';
    r->length = length_of(head);
}

static void begin_answer(struct relay *r)
{
    r->event_stream = r->mode == ANSWER_EVENTS;
    http_respond_start(r->x, r->status, r->type, r->event_stream ? -1 : r->length);
}

static enum answer_mode mode_of(const struct relay *r, const struct http_head *head)
{
    bool stream = head->status == 200 && is_event_stream(head);

    if (r->endpoint->translation) {
        return stream && r->translated.stream ? ANSWER_LINES : ANSWER_HELD;
    }
    if (http_respond_started(r->x)) {
        return stream ? ANSWER_EVENTS : ANSWER_HELD;
    }
    if (r->endpoint->shape != SHAPE_OPENAI && head->status >= 400) {
        return ANSWER_HELD;
    }
    if (is_event_stream(head)) {
        return ANSWER_EVENTS;
    }
    return r->path ? ANSWER_BYTES : ANSWER_WHOLE;
}

/* Those of a good answer that is kept come with it: it may be another instance's in the end. */
static bool headers_come_later(const struct relay *r)
{
    return r->status == 200 && (r->mode == ANSWER_WHOLE || r->mode == ANSWER_HELD);
}

/* Its headers went while it waited, so who answers it is told as one more comment. */
static void tell_served(struct relay *r)
{
    char text[128];
    const int n = snprintf(text, sizeof(text), ": answered by %s, %llu ms in line\n\n", r->uuid,
                           (unsigned long long)r->record.queue_ms);

    relay_send(r, text, (size_t)n);
}

static void on_head(void *owner, const struct http_head *head)
{
    struct relay *r = owner;

    engines_note_progress(r->gateway->in.engines, r->uuid);
    if (engine_cannot_serve(head->status) && relay_may_try_again(r) && another_is_open(r)) {
        relay_try_again(r, false);
        return;
    }
    r->state = RELAY_ANSWERING;
    r->status = head->status;
    note_first_byte(r);
    r->mode = mode_of(r, head);
    buf_init(&r->held, r->endpoint->translation ? WHOLE_MAX : REFUSAL_MAX);
    if (http_respond_started(r->x)) {
        if (r->mode == ANSWER_EVENTS) {
            tell_served(r);
        }
        return;
    }
    keep_head(r, head);
    if (!headers_come_later(r)) {
        add_headers(r, head);
    }
    if (r->mode == ANSWER_LINES) {
        http_respond_start(r->x, 200, r->endpoint->translation->stream_type, -1);
        r->line_stream = true;
    } else if (r->mode == ANSWER_EVENTS || r->mode == ANSWER_BYTES) {
        begin_answer(r);
    }
}

void relay_forget_answer(struct relay *r)
{
    buf_finish(&r->held);
    relay_set_spilled(r, 0);
    r->usage = (struct usage){ 0 };
}

/* The body */

/* The event that answers our own stream_options.include_usage: no choices, only usage. */
static bool is_our_usage_event(struct span data)
{
    struct scan_member f[] = { { .name = "choices" }, { .name = "usage" } };

    return data.p && memmem(data.p, data.n, "\"usage\"", 7) &&
           scan_object(data, f, ARRAY_SIZE(f), NULL) == 0 && f[0].type == SCAN_ARRAY &&
           scan_opening(f[0].value).empty && f[1].type == SCAN_OBJECT;
}

/* After it nothing of worth comes: "[DONE]" of OpenAI, the last events of Responses and Anthropic.
 */
static bool is_last_event(const struct sse_event *event)
{
    if (!event->name.p) {
        return span_eq(event->data, "[DONE]");
    }
    return span_eq(event->name, "message_stop") || span_eq(event->name, "response.completed") ||
           span_eq(event->name, "response.incomplete") || span_eq(event->name, "response.failed");
}

static void note_event(struct relay *r, const struct sse_event *event)
{
    r->events += event->data.p != NULL;
    r->done |= is_last_event(event);
}

/* Events that stand side by side in the piece leave in one write. */
struct run {
    const char *p;
    size_t n;
};

static void send_run(struct relay *r, struct run *run)
{
    if (run->n > 0) {
        relay_send(r, run->p, run->n);
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

        note_event(r, &event);
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
            relay_send(r, event.raw.p, event.raw.n);
        }
    }
    send_run(r, &run);
}

/* False: it has failed, and the relay is gone. */
static bool relay_lines(struct relay *r, const char *p, size_t n)
{
    struct world *w = r->gateway->in.world;
    struct buf *out = &r->gateway->scratch;
    uint64_t now_us = world_now_us(w);
    struct sse_event event;
    bool whole = true;

    buf_clear(out);
    sse_feed(&r->sse, (struct span){ p, n });
    while (sse_next(&r->sse, &event)) {
        note_event(r, &event);
        whole &= event.whole;
        if (event.data.p) {
            r->done |= r->endpoint->translation->event(r->translated.state, event.data, now_us,
                                                       world_wall_ms(w), out);
        }
    }
    if (!whole || out->overflow) {
        r->outcome = OUTCOME_FAILED;
        relay_fail(r, -EPROTO, NULL, "the engine sent an event that is too long");
        return false;
    }
    if (out->len > 0) {
        relay_send(r, buf_data(out), out->len);
    }
    return true;
}

/* What cannot be passed on before its end counts among what is held for slow readers, too. False:
 * it would be too much, and the relay is gone. */
static bool hold(struct relay *r, const char *p, size_t n)
{
    const struct gateway *g = r->gateway;

    if (r->held.len > SMALL_SPILL && g->spilled + n > g->spill_budget) {
        relay_fail(r, -ECONNREFUSED, NULL, "too many long answers are held at the same time");
        return false;
    }
    (void)buf_append(&r->held, p, n); /* one that is too long is none in the end */
    return true;
}

/* It is longer than what is kept, or too many are: from now on it goes as it comes. */
static void stop_keeping(struct relay *r)
{
    if (headers_come_later(r)) {
        relay_add_served(r);
    }
    r->mode = ANSWER_BYTES;
    begin_answer(r);
    relay_send(r, buf_data(&r->held), r->held.len);
    buf_finish(&r->held);
}

static void keep(struct relay *r, const char *p, size_t n)
{
    const struct gateway *g = r->gateway;

    if (r->held.len + n <= KEPT_MAX && g->spilled + n <= g->spill_budget) {
        (void)buf_append(&r->held, p, n);
    } else {
        stop_keeping(r);
        relay_send(r, p, n);
    }
}

static void on_body(void *owner, const char *p, size_t n)
{
    struct relay *r = owner;

    usage_feed(&r->usage, p, n);
    if (r->mode == ANSWER_EVENTS || r->mode == ANSWER_LINES) {
        dispatch_progress(r->ticket, 1);
        engines_note_progress(r->gateway->in.engines, r->uuid);
    }
    switch (r->mode) {
    case ANSWER_EVENTS:
        relay_events(r, p, n);
        break;
    case ANSWER_LINES:
        if (!relay_lines(r, p, n)) {
            return;
        }
        break;
    case ANSWER_BYTES:
        relay_send(r, p, n);
        break;
    case ANSWER_WHOLE:
        keep(r, p, n);
        break;
    case ANSWER_HELD:
        if (!hold(r, p, n)) {
            return;
        }
        break;
    }
    press_back(r);
}

/* The end */

static void end_answer(struct relay *r, int status)
{
    http_respond_end(TAKE_PTR(r->x));
    relay_finish(r, status);
}

static void end_whole(struct relay *r)
{
    if (headers_come_later(r)) {
        relay_add_served(r);
    }
    r->record.response_bytes = r->held.len;
    http_respond(TAKE_PTR(r->x), r->status, r->type, buf_span(&r->held));
    relay_finish(r, r->status);
}

static void tell_whole(struct relay *r)
{
    struct world *w = r->gateway->in.world;
    struct buf out = BUF_INIT(TRANSLATED_MAX);
    struct error e = { 0 };
    int n = r->held.overflow
                ? error_set(&e, -EPROTO, "the engine's answer is too long to be translated")
                : r->endpoint->translation->whole(r->translated.state, buf_span(&r->held),
                                                  world_now_us(w), world_wall_ms(w), &out, &e);

    if (n == 0 && out.overflow) {
        n = error_set(&e, -EPROTO, "the engine's answer is too long to be translated");
    }
    if (n < 0) {
        buf_finish(&out);
        relay_fail(r, -EPROTO, NULL, e.text);
        return;
    }
    relay_add_served(r);
    r->record.response_bytes = out.len;
    http_respond(TAKE_PTR(r->x), 200, "application/json", buf_span(&out));
    buf_finish(&out);
    relay_finish(r, 200);
}

static const char *type_of(int status)
{
    return status < 500 ? "invalid_request_error" : "server_error";
}

/* What the engine says, or what is to be said of it, owned by the caller. */
static char *refusal_text(const struct relay *r)
{
    char *text = r->held.overflow ? NULL : engine_error_text(buf_span(&r->held));

    return text ? text
                : xasprintf("the engine answered with status %d%s", r->status,
                            r->status < 400 ? ", and not as it was asked to" : "");
}

/* It is in the door's shape already. */
static bool speaks_for_itself(const struct relay *r)
{
    struct scan_member f[] = { { .name = "type" }, { .name = "error" } };

    return r->endpoint->shape == SHAPE_ANTHROPIC && !r->held.overflow &&
           scan_object(buf_span(&r->held), f, ARRAY_SIZE(f), NULL) == 0 &&
           f[0].type == SCAN_STRING && span_eq(f[0].value, "\"error\"") && f[1].type == SCAN_OBJECT;
}

/* The engine's error as the whole answer. */
static void answer_refusal(struct relay *r, const char *text)
{
    struct buf body = BUF_INIT(2 * REFUSAL_MAX);
    struct span span;
    int status = r->status;

    error_body(r->endpoint->shape, status, type_of(status), "engine_error", text, &body);
    span = speaks_for_itself(r) ? buf_span(&r->held) : buf_span(&body);
    r->record.response_bytes = span.n;
    http_respond(TAKE_PTR(r->x), status, "application/json", span);
    buf_finish(&body);
    relay_finish(r, status);
}

/* The headers of a stream are out (stream_wait): what the engine answers instead of one can only be
 * told as the one event: OpenAI's is the engine's object itself. */
static void stream_refusal(struct relay *r, const char *text)
{
    struct scan_member error = { .name = "error" };
    struct buf out = BUF_INIT(2 * REFUSAL_MAX + 4096);

    if (r->endpoint->error_event != ERROR_EVENT_DATA || r->held.overflow ||
        scan_object(buf_span(&r->held), &error, 1, NULL) < 0 || error.type != SCAN_OBJECT ||
        sse_write_event(&out, NULL, NULL, buf_span(&r->held)) < 0) {
        buf_clear(&out);
        error_event_write(r->endpoint->error_event, r->status, type_of(r->status), "engine_error",
                          text, r->events, &out);
    }
    relay_send(r, buf_data(&out), out.len);
    buf_finish(&out);
    end_answer(r, r->status);
}

static void tell_refusal(struct relay *r)
{
    _cleanup_(freep) char *text = refusal_text(r);

    record_text(r->record.error, sizeof(r->record.error), span_of(text));
    if (r->status < 400) {
        relay_fail(r, -EPROTO, NULL, text);
    } else if (http_respond_started(r->x)) {
        stream_refusal(r, text);
    } else {
        answer_refusal(r, text);
    }
}

static void on_end(void *owner)
{
    struct relay *r = owner;
    struct sse_event rest;

    relay_end_call(r);
    r->outcome = engine_outcome(r->status);
    r->whole = true;
    switch (r->mode) {
    case ANSWER_HELD:
        if (r->status == 200 && r->endpoint->translation && !r->translated.stream) {
            tell_whole(r);
        } else {
            tell_refusal(r);
        }
        return;
    case ANSWER_LINES:
        if (!r->done) {
            relay_fail(r, -EPROTO, NULL, "the engine's answer ended before its end");
            return;
        }
        break;
    case ANSWER_EVENTS:
        if (sse_rest(&r->sse, &rest)) {
            relay_send(r, rest.raw.p, rest.raw.n);
        }
        break;
    case ANSWER_WHOLE:
        end_whole(r);
        return;
    case ANSWER_BYTES:
        break;
    }
    end_answer(r, r->status);
}

static void on_fail(void *owner, const struct error *e)
{
    struct relay *r = owner;
    bool lost = e->code == -ECONNREFUSED || e->code == -ECONNRESET || e->code == -ECANCELED;
    char text[600];

    relay_end_call(r);
    if (r->done) {
        on_end(r);
        return;
    }
    log_info("gateway", r->counts->model, "the engine failed a request",
             kv_str("request", r->request_id), kv_str("instance", r->uuid),
             kv_str("error", e->text), kv_int("answering", r->state == RELAY_ANSWERING));
    if (lost && relay_may_try_again(r)) {
        relay_try_again(r, e->code == -ECONNREFUSED);
        return;
    }
    r->outcome = OUTCOME_FAILED;
    snprintf(text, sizeof(text), "the engine failed %s: %s",
             r->state == RELAY_ANSWERING ? "while it answered" : "before it answered", e->text);
    relay_fail(r, e->code == -ETIMEDOUT ? -ETIMEDOUT : -EPROTO, NULL, text);
}

const struct http_call_handler relay_engine_events = { on_head, on_body, on_end, on_fail };
