// SPDX-License-Identifier: Apache-2.0
/* The gateway's door: routes, options, metrics, the list of models. The life of a request is in
 * relay.c. */
#include "gateway/gateway.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/gateway_int.h"

// clang-format off
static const struct option_row option_rows[] = {
    { "gateway.stream_wait", OPTION_DURATION, "5s", 100, 600000, NULL, true, false,
      "A streaming client that has waited so long gets its headers and, from then on, SSE comments as signs of life." },
    { "gateway.first_byte_timeout", OPTION_DURATION, "600s", 1000, 86400000, NULL, true, false,
      "How long an engine may work on a request before the first byte of its answer." },
    { "gateway.idle_timeout", OPTION_DURATION, "300s", 1000, 86400000, NULL, true, false,
      "How long an engine may be silent in the middle of an answer." },
    { "gateway.spill_per_stream", OPTION_BYTES, "256KiB", 16384, 1073741824, NULL, true, false,
      "How much of an answer is held for a client that reads slowly before the engine is no longer read." },
    { "gateway.spill_budget", OPTION_BYTES, "32MiB", 1048576, 68719476736, NULL, true, false,
      "How much is held for all slow readers together; beyond it each holds 16 KiB at most." },
    { "gateway.max_attempts", OPTION_INT, "3", 1, 10, NULL, true, false,
      "How often a request is given to an instance, when the connection is lost before the first byte of the answer." },
};

static const struct metric metric_rows[] = {
    { "berth_requests_total", METRIC_COUNTER, "Requests answered, by the status that the client was told, in the head or in the error that ended a stream (499: it left). No model: it is not known.", { "model", "endpoint", "status" } },
    { "berth_request_seconds", METRIC_HISTOGRAM, "From the request's first byte to the answer's last.", { "model" }, metric_seconds },
    { "berth_first_byte_seconds", METRIC_HISTOGRAM, "From the request's first byte to the first byte of the engine's answer.", { "model" }, metric_seconds },
    { "berth_prompt_tokens_total", METRIC_COUNTER, "Prompt tokens, as the engines count them.", { "model" } },
    { "berth_output_tokens_total", METRIC_COUNTER, "Generated tokens, as the engines count them.", { "model" } },
    { "berth_cached_prompt_tokens_total", METRIC_COUNTER, "Prompt tokens that an engine found in its cache.", { "model" } },
    { "berth_failovers_total", METRIC_COUNTER, "Requests that had to be given to an instance anew, because one was lost before its first byte.", { NULL } },
    { "berth_spilled_bytes", METRIC_GAUGE, "Answer bytes held for clients that read slowly.", { NULL } },
};
// clang-format on

enum { M_REQUESTS, M_SECONDS, M_FIRST_BYTE, M_PROMPT, M_OUTPUT, M_CACHED, M_FAILOVERS, M_SPILLED };

const struct option_table gateway_options = { option_rows, ARRAY_SIZE(option_rows) };

static const char *const endpoint_names[ENDPOINT_MAX_] = {
    [ENDPOINT_CHAT] = "chat_completions",
    [ENDPOINT_COMPLETIONS] = "completions",
    [ENDPOINT_EMBEDDINGS] = "embeddings",
};

/* Metrics */

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

void gateway_on_model(void *gateway, const void *model_change)
{
    struct gateway *g = gateway;
    const struct model_change *change = model_change;

    struct model_counts *c;

    if (change->kind != MODEL_REMOVED) {
        return;
    }
    c = map_remove(&g->counts, change->public_id);
    if (c) {
        c->removed = true;
        counts_release(c);
    }
    /* Those of the rooms below, too, which have let go before (daemon/wiring.c). */
    metrics_forget(g->in.metrics, "model", change->public_id);
}

void count_request(struct gateway *g, const char *model, enum endpoint endpoint, int status)
{
    char text[12];
    const char *labels[] = { model, endpoint_names[endpoint], text };

    snprintf(text, sizeof(text), "%d", status);
    metric_add(metrics_cell(g->in.metrics, &metric_rows[M_REQUESTS], labels), 1);
}

static void on_collect(void *arg)
{
    struct gateway *g = arg;

    metric_set(metrics_cell(g->in.metrics, &metric_rows[M_SPILLED], NULL), (double)g->spilled);
}

/* Models */

/* One in the list: its id, of which each byte may be written as six, and the rest. */
enum { MODEL_BYTES_MAX = 6 * MODEL_ID_MAX + 256 };

static int64_t unix_seconds(const char *iso)
{
    struct tm tm = { 0 };

    return iso && strptime(iso, "%Y-%m-%dT%H:%M:%S", &tm) ? (int64_t)timegm(&tm) : 0;
}

/* Written, not built as a tree: there may be ten thousand. */
static void put_model(struct gateway *g, const struct model *m, struct buf *out)
{
    const struct instance *in = engines_of_model(g->in.engines, m->id);

    buf_puts(out, "{\"id\":\"");
    buf_put_json_escaped(out, m->config->id, strlen(m->config->id));
    buf_printf(out,
               "\",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"berth\",\"status\":\"%s\"}",
               (long long)unix_seconds(m->config->created_at),
               in ? instance_state_name(in->state) : "stopped");
}

static void list_models(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct gateway *g = owner;
    struct buf body = BUF_INIT((size_t)MODELS_MAX * MODEL_BYTES_MAX);
    const struct model *m;
    size_t cursor = 0;

    buf_puts(&body, "{\"object\":\"list\",\"data\":[");
    for (bool first = true; (m = models_next(g->in.models, &cursor)); first = false) {
        buf_puts(&body, first ? "" : ",");
        put_model(g, m, &body);
    }
    buf_puts(&body, "]}");
    http_respond(x, 200, "application/json", buf_span(&body));
    buf_finish(&body);
}

static void get_model(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct gateway *g = owner;
    _cleanup_(freep) char *id = http_decode(params->values[0], false);
    const struct model *m = id ? models_find(g->in.models, span_of(id)) : NULL;
    struct buf body = BUF_INIT(MODEL_BYTES_MAX);

    if (!m) {
        answer_error(x, -ENOENT, "model_not_found", "there is no such model");
        return;
    }
    put_model(g, m, &body);
    http_respond(x, 200, "application/json", buf_span(&body));
    buf_finish(&body);
}

void answer_error(struct http_exchange *x, int error, const char *code, const char *text)
{
    const struct error_kind *kind = error_kind(error);
    struct buf body = BUF_INIT(8192);

    error_body(SHAPE_OPENAI, kind->http_status, kind->type, code ? code : kind->name, text, &body);
    http_respond(x, kind->http_status, "application/json", buf_span(&body));
    buf_finish(&body);
}

static void chat(void *owner, struct http_exchange *x, const struct route_params *params)
{
    relay_start(owner, x, ENDPOINT_CHAT);
}

static void completions(void *owner, struct http_exchange *x, const struct route_params *params)
{
    relay_start(owner, x, ENDPOINT_COMPLETIONS);
}

static void embeddings(void *owner, struct http_exchange *x, const struct route_params *params)
{
    relay_start(owner, x, ENDPOINT_EMBEDDINGS);
}

#define RELAYED "200 400 404 408 413 415 429 499 500 501 502 503 504"
// clang-format off
static const struct route routes[] = {
    { "GET", "/v1/models", SCOPE_INFERENCE, list_models, "Lists the models that can be asked for.",
      { NULL, "OpenAIModelList", "200", NULL } },
    { "GET", "/v1/models/{id*}", SCOPE_INFERENCE, get_model, "One model.",
      { NULL, "OpenAIModel", "200 404", NULL } },
    { "POST", "/v1/chat/completions", SCOPE_INFERENCE, chat, "Chat, streamed (\"stream\": true) or whole.",
      { "ChatCompletionRequest", "ChatCompletion", RELAYED, NULL } },
    { "POST", "/v1/completions", SCOPE_INFERENCE, completions, "Text completion, streamed or whole.",
      { "CompletionRequest", "Completion", RELAYED, NULL } },
    { "POST", "/v1/embeddings", SCOPE_INFERENCE, embeddings, "Embeddings of one or more texts.",
      { "EmbeddingRequest", "EmbeddingList", RELAYED, NULL } },
};
// clang-format on

void gateway_reconfigure(struct gateway *g, const struct config *config)
{
    g->in.config = config;
    g->stream_wait_ms = config_duration_ms(config, "gateway.stream_wait");
    g->first_byte_timeout_ms = config_duration_ms(config, "gateway.first_byte_timeout");
    g->idle_timeout_ms = config_duration_ms(config, "gateway.idle_timeout");
    g->spill_per_stream = config_bytes(config, "gateway.spill_per_stream");
    g->spill_budget = config_bytes(config, "gateway.spill_budget");
    g->max_attempts = (unsigned)config_int(config, "gateway.max_attempts");
}

struct gateway *gateway_create(const struct gateway_in *in)
{
    struct gateway *g = xcalloc(1, sizeof(*g));

    g->in = *in;
    map_init(&g->counts);
    list_init(&g->relays);
    timer_init(&g->sweep, in->world, "gateway sweep", relay_sweep, g);
    g->table = (struct route_table){ .door = "OpenAI-compatible gateway",
                                     .shape = SHAPE_OPENAI,
                                     .routes = routes,
                                     .count = ARRAY_SIZE(routes),
                                     .owner = g };
    metrics_declare(in->metrics, metric_rows, ARRAY_SIZE(metric_rows));
    metrics_on_collect(in->metrics, on_collect, g);
    g->failovers = metrics_cell(in->metrics, &metric_rows[M_FAILOVERS], NULL);
    gateway_reconfigure(g, in->config);
    return g;
}

const struct route_table *gateway_routes(struct gateway *g)
{
    return &g->table;
}

struct gateway *gateway_destroy(struct gateway *g)
{
    if (!g) {
        return NULL;
    }
    timer_stop(&g->sweep);
    map_for_each(e, &g->counts)
    {
        counts_release(e->value);
    }
    map_finish(&g->counts);
    free(g);
    return NULL;
}
