// SPDX-License-Identifier: Apache-2.0
/*
 * An engine's answer to a task. Whether another try helps is decided here: an engine that refuses
 * the request refuses it again; one that is busy, broken or gone may answer the next time.
 */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/engine_request.h"
#include "gateway/task_run_int.h"

enum { RETRY_AFTER_MAX_S = 86400 };

/* Does a refusal of this status come again? */
static bool may_pass(int status)
{
    return status == 408 || status == 425 || status == 429 || (status >= 500 && status != 501);
}

static int errno_of(int status)
{
    switch (status) {
    case 404:
        return -ENOENT;
    case 429:
        return -EAGAIN;
    case 408:
    case 504:
        return -ETIMEDOUT;
    default:
        return status >= 400 && status < 500 ? -EINVAL : -EPROTO;
    }
}

static void finish_failed(struct task_run *r, const struct error *e, bool helps)
{
    bool whole = r->whole_refusal && is_valid_utf8(buf_data(&r->answer), r->answer.len);
    struct task_result result = {
        .error = e->code,
        .helps = helps,
        .text = e->text,
        .http_status = r->status,
        .output = whole && r->status ? buf_span(&r->answer) : (struct span){ 0 },
        .retry_after_ms = r->retry_after_ms,
    };

    task_run_finish(r, &result);
}

static void end_refused(struct task_run *r)
{
    _cleanup_(freep) char *text = engine_error_text(buf_span(&r->answer));
    struct error e;

    if (text) {
        error_set(&e, errno_of(r->status), "%s", text);
    } else {
        error_set(&e, errno_of(r->status), "the engine answered with status %d", r->status);
    }
    finish_failed(r, &e, may_pass(r->status));
}

static void end_good(struct task_run *r)
{
    struct task_result result = { .http_status = r->status };
    struct error e = { 0 };
    char *output = NULL;
    int n = task_types_output(r->output_kind, buf_span(&r->answer), &output, &result.output.n, &e);

    if (n < 0) {
        finish_failed(r, &e, n == -EPROTO || n == -ENOMEM);
        return;
    }
    result.output.p = output;
    task_run_finish(r, &result);
    free(output);
}

static void on_end(void *owner)
{
    struct task_run *r = owner;

    task_run_end_call(r);
    r->outcome = engine_outcome(r->status);
    if (r->status >= 200 && r->status < 300) {
        end_good(r);
    } else {
        end_refused(r);
    }
}

static uint64_t retry_after_ms(const struct http_head *head)
{
    uint64_t n;

    if (span_to_u64(http_header_get(head, "retry-after-ms"), &n) == 0) {
        return MIN_OF(n, (uint64_t)RETRY_AFTER_MAX_S * 1000);
    }
    if (span_to_u64(http_header_get(head, "retry-after"), &n) == 0) {
        return MIN_OF(n, (uint64_t)RETRY_AFTER_MAX_S) * 1000;
    }
    return 0;
}

static void on_head(void *owner, const struct http_head *head)
{
    struct task_run *r = owner;
    uint64_t us = world_now_us(r->gateway->in.world) - r->started_us;

    engines_note_progress(r->gateway->in.engines, r->slot->instance);
    r->status = head->status;
    r->retry_after_ms = retry_after_ms(head);
    r->record.first_byte_ms = (uint32_t)MAX_OF(us / 1000, (uint64_t)1);
    if (!r->counts->removed) {
        metric_observe(r->counts->first_byte, (double)us / 1e6);
    }
}

static void on_body(void *owner, const char *p, size_t n)
{
    struct task_run *r = owner;
    struct http_call *call = r->call;
    struct error e;

    engines_note_progress(r->gateway->in.engines, r->slot->instance);
    r->record.response_bytes += n;
    usage_feed(&r->usage, p, n);
    if (buf_append(&r->answer, p, n) < 0) {
        http_call_cancel(call);
        error_set(&e, -EFBIG, "the engine's answer is longer than %d MiB",
                  TASK_RUN_ANSWER_MAX >> 20);
        r->whole_refusal = false;
        finish_failed(r, &e, false);
    }
}

/* It was moved aside by berth itself, in the middle of the work. */
static bool was_displaced(const struct task_run *r)
{
    const struct instance *i = engines_find(r->gateway->in.engines, r->slot->instance);

    return i && i->displaced;
}

static void on_fail(void *owner, const struct error *e)
{
    struct task_run *r = owner;
    struct error told;
    bool lost = e->code == -ECONNREFUSED || (e->code == -ECANCELED && was_displaced(r));

    task_run_end_call(r);
    error_set(&told, e->code == -ETIMEDOUT ? -ETIMEDOUT : -EPROTO, "the engine failed %s: %.400s",
              r->status ? "while it answered" : "before it answered", e->text);
    log_info("gateway", r->counts->model, "the engine failed a task",
             kv_str("request", r->request_id), kv_str("instance", r->slot->instance),
             kv_str("error", e->text));
    r->outcome = OUTCOME_FAILED;
    r->status = 0;
    task_run_finish(r, &(struct task_result){
                           .error = told.code, .helps = true, .lost = lost, .text = told.text });
}

const struct http_call_handler task_run_answer = { on_head, on_body, on_end, on_fail };
