// SPDX-License-Identifier: Apache-2.0
/*
 * The one account: a request that has ended is counted, kept in the history and logged here, from
 * one record, so that figures, history, metrics and log never differ. Never a prompt, never a key.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/gateway_int.h"

// clang-format off
static const struct metric metric_rows[] = {
    { "berth_requests_total", METRIC_COUNTER, "Requests answered, by the status that the client was told, in the head or in the error that ended a stream (499: it left). No model: it is not known.", { "model", "endpoint", "status" } },
    { "berth_request_seconds", METRIC_HISTOGRAM, "From the request's first byte to the answer's last.", { "model" }, metric_seconds },
    { "berth_first_byte_seconds", METRIC_HISTOGRAM, "From the request's first byte to the first byte of the engine's answer.", { "model" }, metric_seconds },
    { "berth_prompt_tokens_total", METRIC_COUNTER, "Prompt tokens, as the engines count them.", { "model" } },
    { "berth_output_tokens_total", METRIC_COUNTER, "Generated tokens, as the engines count them.", { "model" } },
    { "berth_cached_prompt_tokens_total", METRIC_COUNTER, "Prompt tokens that an engine found in its cache.", { "model" } },
    { "berth_failovers_total", METRIC_COUNTER, "Requests that had to be given to an instance anew, because one was lost, or not able to serve, before its first byte.", { NULL } },
    { "berth_spilled_bytes", METRIC_GAUGE, "Answer bytes held for clients that read slowly.", { NULL } },
};
// clang-format on

enum { M_REQUESTS, M_SECONDS, M_FIRST_BYTE, M_PROMPT, M_OUTPUT, M_CACHED, M_FAILOVERS, M_SPILLED };

/* Counts */

struct model_counts *counts_of(struct gateway *g, const struct model *model)
{
    struct model_counts *c = map_get(&g->counts, model->config->id);
    const char *labels[] = { model->config->id };

    if (!c) {
        c = xcalloc(1, sizeof(*c));
        c->model = xstrdup(model->config->id);
        c->refs = 1;
        c->seconds = metrics_cell(g->in.metrics, &metric_rows[M_SECONDS], labels);
        c->first_byte = metrics_cell(g->in.metrics, &metric_rows[M_FIRST_BYTE], labels);
        c->prompt_tokens = metrics_cell(g->in.metrics, &metric_rows[M_PROMPT], labels);
        c->output_tokens = metrics_cell(g->in.metrics, &metric_rows[M_OUTPUT], labels);
        c->cached_tokens = metrics_cell(g->in.metrics, &metric_rows[M_CACHED], labels);
        map_put(&g->counts, c->model, c);
    }
    c->refs++;
    return c;
}

void counts_release(struct model_counts *c)
{
    if (--c->refs == 0) {
        free(c->model);
        free(c);
    }
}

void counts_forget(struct gateway *g, const char *model)
{
    struct model_counts *c = map_remove(&g->counts, model);

    if (c) {
        c->removed = true;
        counts_release(c);
    }
}

struct model_figures gateway_model_figures(const struct gateway *g, const char *public_id)
{
    const struct model_counts *c = map_get(&g->counts, public_id);

    return c ? c->figures : (struct model_figures){ 0 };
}

static void on_collect(void *arg)
{
    struct gateway *g = arg;

    metric_set(metrics_cell(g->in.metrics, &metric_rows[M_SPILLED], NULL), (double)g->spilled);
}

void account_declare(struct gateway *g)
{
    metrics_declare(g->in.metrics, metric_rows, ARRAY_SIZE(metric_rows));
    metrics_on_collect(g->in.metrics, on_collect, g);
    g->failovers = metrics_cell(g->in.metrics, &metric_rows[M_FAILOVERS], NULL);
}

/* Records */

void record_text(char *to, size_t size, struct span from)
{
    size_t n = MIN_OF(from.n, size - 1);
    unsigned char high = 0;

    while (n > 0 && n < from.n && ((unsigned char)from.p[n] & 0xC0) == 0x80) {
        n--;
    }
    for (size_t i = 0; i < n; i++) {
        to[i] = from.p[i];
        high |= (unsigned char)from.p[i];
    }
    to[n] = '\0';
    if (high >= 0x80 && !is_valid_utf8(to, n)) {
        for (char *p = to; *p; p++) {
            *p = (unsigned char)*p < 0x80 ? *p : '?';
        }
    }
}

void record_begin(struct gateway *g, struct http_exchange *x, struct request_record *ret)
{
    const struct http_head *head = http_exchange_head(x);
    const struct address *peer = http_exchange_peer(x);
    uint64_t age_us = world_now_us(g->in.world) - http_exchange_started_us(x);

    ret->wall_ms = world_wall_ms(g->in.world) - (int64_t)(age_us / 1000);
    record_text(ret->method, sizeof(ret->method), head->method);
    record_text(ret->path, sizeof(ret->path), head->path);
    record_text(ret->client, sizeof(ret->client), span_of(peer->is_unix ? "" : peer->host));
    ret->request_bytes = http_exchange_body(x).n;
}

static struct metric_cell *status_cell(struct gateway *g, const struct account *a)
{
    char text[12];
    const char *labels[] = { a->counts ? a->counts->model : "", a->endpoint->name, text };

    snprintf(text, sizeof(text), "%d", a->record->status);
    return metrics_cell(g->in.metrics, &metric_rows[M_REQUESTS], labels);
}

/* Most end well: that cell is looked up once. */
static void count_status(struct gateway *g, const struct account *a)
{
    struct metric_cell **good = &a->counts->good[a->endpoint - endpoints];

    if (a->record->status != 200) {
        metric_add(status_cell(g, a), 1);
        return;
    }
    if (!*good) {
        *good = status_cell(g, a);
    }
    metric_add(*good, 1);
}

static void count(struct model_counts *c, const struct account *a, uint64_t total_us)
{
    const struct request_record *r = a->record;

    if (a->whole) {
        metric_observe(c->seconds, (double)total_us / 1e6);
    }
    metric_add(c->prompt_tokens, r->prompt_tokens);
    metric_add(c->output_tokens, r->output_tokens);
    metric_add(c->cached_tokens, (double)a->cached_tokens);
    c->figures.requests++;
    c->figures.errors += r->status >= 500;
    c->figures.total_response_ms += r->total_ms;
    c->figures.prompt_tokens += r->prompt_tokens;
    c->figures.output_tokens += r->output_tokens;
}

static void write_line(const struct account *a)
{
    const struct request_record *r = a->record;

    log_info("access", NULL, "request", kv_str("method", r->method), kv_str("path", r->path),
             kv_int("status", r->status), kv_str("model", r->model[0] ? r->model : NULL),
             kv_str("instance", r->instance[0] ? r->instance : NULL),
             kv_str("client", r->client[0] ? r->client : NULL), kv_int("queue_ms", r->queue_ms),
             kv_int("first_byte_ms", r->first_byte_ms), kv_int("total_ms", r->total_ms),
             kv_int("prompt_tokens", r->prompt_tokens), kv_int("output_tokens", r->output_tokens),
             kv_int("request_bytes", (int64_t)r->request_bytes),
             kv_int("response_bytes", (int64_t)r->response_bytes), kv_int("attempts", a->attempts),
             kv_str("request", a->request_id), kv_str("trace", a->trace_id),
             kv_str("error", r->error[0] ? r->error : NULL));
}

void account_close(struct gateway *g, const struct account *a)
{
    uint64_t total_us = world_now_us(g->in.world) - a->started_us;

    a->record->total_ms = MAX_OF((uint32_t)(total_us / 1000), a->record->first_byte_ms);
    if (!a->counts) {
        metric_add(status_cell(g, a), 1);
    } else if (!a->counts->removed) {
        count_status(g, a);
        count(a->counts, a, total_us);
    }
    history_add(g->history, a->record);
    if (g->access_log) {
        write_line(a);
    }
}

void account_refusal(struct gateway *g, struct http_exchange *x, const struct endpoint *endpoint,
                     const struct model *model, const struct error *e)
{
    struct request_record record = { .status = error_kind(e->code)->http_status };
    struct account a = {
        .record = &record,
        .endpoint = endpoint,
        .counts = model ? counts_of(g, model) : NULL,
        .started_us = http_exchange_started_us(x),
        .request_id = http_exchange_id(x),
    };

    record_begin(g, x, &record);
    record_text(record.user_agent, sizeof(record.user_agent),
                http_header_get(http_exchange_head(x), "user-agent"));
    record_text(record.error, sizeof(record.error), span_of(e->text));
    if (model) {
        record_text(record.model, sizeof(record.model), span_of(model->config->id));
    }
    account_close(g, &a);
    if (a.counts) {
        counts_release(a.counts);
    }
}
