// SPDX-License-Identifier: Apache-2.0
/*
 * The inference surface: OpenAI's /v1, Anthropic's /v1/messages, Ollama's /api, and any path of
 * a model's engine through /api/proxy/models/{id}/{path}.
 *
 * A request's bytes are read once (codec/scan.h), never made into a tree, and go to the engine as
 * they came, unknown fields included. The engine's bytes go to the client as they come. The edits
 * that are made: a streamed chat that did not ask for its usage gets
 * `stream_options.include_usage`, and the one event that answers it is dropped again, so that every
 * request is accounted for; an engine that knows the model by another name gets that one;
 * `keep_alive` (or `ttl`) is berth's and is taken out.
 *
 * Headers that a client may send: x-berth-deadline and x-berth-queue-timeout (durations, no longer
 * than the configured ones), x-session-id (what belongs together may go to one instance; without
 * it the body's prompt_cache_key or user say so), x-request-id, traceparent and tracestate,
 * anthropic-version and anthropic-beta. Those that it gets: x-request-id, x-berth-instance,
 * x-berth-queue-ms; while it waits, or is refused for now, x-berth-queue-position and
 * x-berth-expected-wait-ms; then also retry-after and retry-after-ms.
 */
#pragma once

#include "config/config.h"
#include "dispatch/dispatch.h"
#include "engines/engines.h"
#include "http/router.h"
#include "metrics/metrics.h"
#include "models/models.h"
#include "placement/placement.h"
#include "tasks/runner.h"
#include "tasks/task_types.h"

struct gateway;

extern const struct option_table gateway_options;

struct gateway_in {
    struct world *world;
    const struct config *config;
    struct models *models;
    struct engines *engines;
    struct dispatch *dispatch;
    struct placement *placement;
    struct metrics *metrics;
    const struct task_types *task_types; /* what tasks become (task_runner.c); NULL: none run */
};

struct gateway *gateway_create(const struct gateway_in *in);
void gateway_reconfigure(struct gateway *g, const struct config *config);
/* Every exchange must have ended (http_server_destroy) before. */
struct gateway *gateway_destroy(struct gateway *g);

/* The routes, for the router: a table for each shape of errors. OpenAI's is to be added first:
 * unknown paths below /v1 speak as its first row does. */
const struct route_table *gateway_routes(struct gateway *g);
const struct route_table *gateway_anthropic_routes(struct gateway *g);
const struct route_table *gateway_ollama_routes(struct gateway *g);

/* Answers x with an error of our own, in the words of the door that called gateway_pass. */
typedef void (*gateway_refuse_fn)(struct http_exchange *x, const char *model_id,
                                  const struct error *e);
/* Hands any request on to an instance of the model, as it is: method, path (with query, as it came
 * encoded), body, and the engine's answer back, streamed. Takes part in dispatch, failover before
 * the first byte, deadlines, history and figures like every request. A stopped model is refused
 * with 503, not loaded. Ends the exchange. */
void gateway_pass(struct gateway *g, struct http_exchange *x, const struct model *model,
                  struct span path, gateway_refuse_fn refuse);

/* Works on tasks of the catalogue's models: each becomes one request to an engine, through dispatch
 * (behind the requests that somebody waits for), in the same account and history. owner: the
 * gateway. */
extern const struct task_runner gateway_task_runner;

/* To be connected to the models' signal, after dispatch: ends a removed model's metrics. */
void gateway_on_model(void *gateway, const void *model_change);
