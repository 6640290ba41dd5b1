// SPDX-License-Identifier: Apache-2.0
/*
 * A task as one request to an engine, from the place in dispatch's line to the account.
 *
 *     reserve ──► WAITING ──grant──► PLACED ──run──► ASKED ──end──► task_slot_done
 *                    │                  │              │
 *                    └── refused        └──────────────┴── cancel: its call and its ticket end
 *
 * The place is held until the claim is committed, so that no task stands in an engine's own queue.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gateway/engine_request.h"
#include "gateway/task_run_int.h"
#include "gateway/task_why.h"

/* In the line, which stands in the queue's place. */
enum { PLACE_WAIT_MS = 24 * 60 * 60 * 1000 };

/* Ending */

void task_run_end_call(struct task_run *r)
{
    if (r->call) {
        engines_note_work(r->gateway->in.engines, r->slot->instance, -1, false);
        r->call = NULL;
    }
}

static void release(struct task_run *r)
{
    if (r->ticket && r->usage.found) {
        dispatch_note_usage(r->ticket, r->usage.prompt_tokens, r->usage.cached_tokens,
                            r->usage.completion_tokens);
    }
    if (r->ticket) {
        dispatch_release(TAKE_PTR(r->ticket), r->outcome);
    }
}

/* A request like every other, once an engine was asked. */
static void close_account(struct task_run *r, int status, const char *error)
{
    if (!r->counts) {
        return;
    }
    r->record.status = status;
    r->record.prompt_tokens = (uint32_t)MIN_OF(r->usage.prompt_tokens, (uint64_t)UINT32_MAX);
    r->record.output_tokens = (uint32_t)MIN_OF(r->usage.completion_tokens, (uint64_t)UINT32_MAX);
    record_text(r->record.error, sizeof(r->record.error), span_of(error));
    account_close(r->gateway, &(struct account){ .record = &r->record,
                                                 .endpoint = r->endpoint,
                                                 .counts = r->counts,
                                                 .started_us = r->started_us,
                                                 .cached_tokens = r->usage.cached_tokens,
                                                 .attempts = 1,
                                                 .whole = status == 200,
                                                 .request_id = r->request_id });
    counts_release(r->counts);
}

static void free_run(struct task_run *r)
{
    timer_stop(&r->ending);
    gateway_request_finish(&r->request);
    task_request_finish(&r->made);
    buf_finish(&r->answer);
    free(r->model_text);
    free(r);
}

/* The queue may ask for the next place from inside. */
void task_run_finish(struct task_run *r, const struct task_result *result)
{
    struct task_slot *slot = r->slot;
    int status = result->error == 0    ? 200
                 : result->http_status ? result->http_status
                                       : error_kind(result->error)->http_status;

    task_run_end_call(r);
    close_account(r, status, result->error ? result->text : "");
    release(r);
    slot->runner_data = NULL;
    task_slot_done(slot, result);
    free_run(r);
}

static void on_ending(void *arg)
{
    struct task_run *r = arg;

    task_run_finish(r, &r->end);
}

/* Before anything was sent; told in a later turn. */
static void end_soon(struct task_run *r, const struct error *e, bool lost)
{
    memcpy(r->end_text, e->text, sizeof(r->end_text));
    r->end = (struct task_result){ .error = e->code, .lost = lost, .text = r->end_text };
    timer_start(&r->ending, 0);
}

/* The place */

static enum dispatch_rank rank_of(unsigned priority)
{
    static const enum dispatch_rank ranks[TASK_CLASSES] = {
        [TASK_BATCH] = RANK_BATCH,
        [TASK_LOW] = RANK_TASK_LOW,
        [TASK_MEDIUM] = RANK_TASK_MEDIUM,
        [TASK_HIGH] = RANK_TASK_HIGH,
    };

    return ranks[MIN_OF(priority, (unsigned)TASK_HIGH)];
}

static void take_place(struct task_run *r, const struct instance *instance)
{
    memcpy(r->slot->instance, instance->uuid, sizeof(r->slot->instance));
    r->state = RUN_PLACED;
}

static void on_grant(void *owner, const struct instance *instance)
{
    struct task_run *r = owner;

    take_place(r, instance);
    task_slot_granted(r->slot);
}

static void on_refuse(void *owner, const struct error *e)
{
    struct task_run *r = owner;
    struct task_slot *slot = r->slot;

    r->ticket = NULL;
    slot->runner_data = NULL;
    free_run(r);
    task_slot_refused(slot, e);
}

static int reserve(void *owner, struct task_slot *slot, struct error *reterr)
{
    struct gateway *g = owner;
    struct task_run *r;
    struct dispatch_ask ask = {
        .model_id = slot->model_id,
        .rank = rank_of(slot->priority),
        .tokens = slot->tokens + UNLIMITED_OUTPUT_TOKENS, /* as of a request like it */
        .prompt_tokens = slot->tokens,
        .queue_timeout_ms = PLACE_WAIT_MS,
        .on_grant = on_grant,
        .on_refuse = on_refuse,
    };
    const struct instance *instance = NULL;
    int n;

    if (!g->in.task_types) {
        return error_set(reterr, -ENOTSUP, "no tasks are run here");
    }
    r = xcalloc(1, sizeof(*r));
    r->gateway = g;
    r->slot = slot;
    r->model_id = slot->model_id;
    buf_init(&r->answer, TASK_RUN_ANSWER_MAX);
    timer_init(&r->ending, g->in.world, "task ending", on_ending, r);
    ask.owner = r;
    n = dispatch_acquire(g->in.dispatch, &ask, &r->ticket, &instance, reterr);
    if (n < 0) {
        free_run(r);
        return n;
    }
    slot->runner_data = r;
    if (n > 0) {
        take_place(r, instance);
    }
    return n;
}

/* The request */

static int make_request(struct task_run *r, const struct task_work *work, struct error *reterr)
{
    const struct gateway *g = r->gateway;
    const struct task_type *type = task_types_of_task(g->in.task_types, work->type);
    const struct model *model = models_get(g->in.models, r->model_id);
    int n;

    if (!type) {
        return error_set(reterr, -EINVAL, "there is no task type '%.*s'", TASK_TYPE_MAX,
                         work->type);
    }
    if (!model) {
        return error_set(reterr, -ENOENT, "the model does not exist any more");
    }
    n = task_types_compose(type, model->config, work->input, work->options, &r->made, reterr);
    if (n < 0) {
        return n;
    }
    r->output_kind = type->output;
    r->whole_refusal = task_type_is_line(type);
    return gateway_request_read((struct span){ r->made.body, r->made.body_len }, false, &r->request,
                                reterr);
}

static const struct endpoint *endpoint_of(const char *path)
{
    for (int i = 0; i < ENDPOINT_MAX_; i++) {
        if (endpoints[i].engine_path && str_eq(path, endpoints[i].engine_path)) {
            return &endpoints[i];
        }
    }
    return &endpoints[ENDPOINT_PASS];
}

static void open_account(struct task_run *r, const struct task_work *work)
{
    struct gateway *g = r->gateway;
    const struct model *model = models_get(g->in.models, r->model_id);
    struct request_record *record = &r->record;

    r->started_us = world_now_us(g->in.world);
    r->endpoint = endpoint_of(r->made.path);
    r->counts = counts_of(g, model);
    snprintf(r->request_id, sizeof(r->request_id), "task-%lld-%lld", (long long)work->id,
             (long long)work->fence);
    record->wall_ms = world_wall_ms(g->in.world);
    record->request_bytes = r->made.body_len;
    record_text(record->method, sizeof(record->method), SPAN("POST"));
    record_text(record->path, sizeof(record->path),
                (struct span){ r->made.path, strcspn(r->made.path, "?") });
    record_text(record->model, sizeof(record->model), span_of(model->config->id));
    record_text(record->user_agent, sizeof(record->user_agent), SPAN("task"));
    memcpy(record->instance, r->slot->instance, sizeof(record->instance));
}

static const char *headers_of(struct task_run *r, const struct engine_route *route)
{
    struct buf *out = &r->gateway->scratch;

    buf_clear(out);
    engine_json_headers(out, false);
    engine_header(out, "x-request-id", span_of(r->request_id));
    engine_route_headers(out, route);
    return buf_data(out);
}

/* The place was given a commit ago. */
static bool still_serves(const struct task_run *r)
{
    const struct instance *i = engines_find(r->gateway->in.engines, r->slot->instance);

    return i && (i->state == INSTANCE_READY || i->state == INSTANCE_DRAINING);
}

static int ask_engine(struct task_run *r, const struct task_work *work, struct error *reterr)
{
    struct gateway *g = r->gateway;
    struct engine_route route;
    char path[ENGINE_PATH_MAX];
    struct http_call_request request = { .method = "POST",
                                         .path = path,
                                         .idle_timeout_ms = g->idle_timeout_ms };

    if (!still_serves(r) || !engines_route(g->in.engines, r->slot->instance, &route)) {
        return error_set(reterr, -ESRCH, "the instance went away");
    }
    if (engine_route_path(&route, span_of(r->made.path), path) < 0) {
        return error_set(reterr, -EINVAL, "the path is too long for this engine");
    }
    engine_name_model(&r->request, route.model, &r->model_text);
    open_account(r, work);
    request.body = r->request.parts;
    request.body_parts = r->request.part_count;
    request.headers = headers_of(r, &route);
    r->state = RUN_ASKED;
    r->call = http_call_start(route.upstream, &request, &task_run_answer, r);
    engines_note_work(g->in.engines, r->slot->instance, 1, false);
    return 0;
}

static void run(void *owner, struct task_slot *slot, const struct task_work *work)
{
    struct task_run *r = slot->runner_data;
    struct error e = { 0 };

    if (make_request(r, work, &e) < 0) {
        end_soon(r, &e, false);
    } else if (ask_engine(r, work, &e) < 0) {
        end_soon(r, &e, e.code == -ESRCH);
    }
}

static void cancel(void *owner, struct task_slot *slot)
{
    struct task_run *r = slot->runner_data;
    struct http_call *call = r ? r->call : NULL;

    if (!r) {
        return;
    }
    slot->runner_data = NULL;
    task_run_end_call(r);
    if (call) {
        http_call_cancel(call);
    }
    close_account(r, 499, "the task was cancelled, or its time was over");
    release(r);
    free_run(r);
}

static void why(void *owner, int64_t model_id, const char *model, char *out, size_t size)
{
    task_why(owner, model_id, out, size);
}

const struct task_runner gateway_task_runner = {
    .name = "gateway",
    .reserve = reserve,
    .run = run,
    .cancel = cancel,
    .why = why,
};
