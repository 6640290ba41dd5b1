// SPDX-License-Identifier: Apache-2.0
/*
 * The OpenAI-compatible surface: /v1/models, /v1/chat/completions, /v1/completions, /v1/embeddings.
 *
 * A request's bytes are read once (codec/scan.h), never made into a tree, and go to the engine as
 * they came, unknown fields included. The engine's bytes go to the client as they come. One edit is
 * made: a streamed chat that did not ask for its usage gets `stream_options.include_usage`, and the
 * one event that answers it is dropped again, so that every request is accounted for.
 */
#pragma once

#include "config/config.h"
#include "dispatch/dispatch.h"
#include "engines/engines.h"
#include "http/router.h"
#include "metrics/metrics.h"
#include "models/models.h"

struct gateway;

extern const struct option_table gateway_options;

struct gateway_in {
    struct world *world;
    const struct config *config;
    struct models *models;
    struct engines *engines;
    struct dispatch *dispatch;
    struct metrics *metrics;
};

struct gateway *gateway_create(const struct gateway_in *in);
void gateway_reconfigure(struct gateway *g, const struct config *config);
/* Every exchange must have ended (http_server_destroy) before. */
struct gateway *gateway_destroy(struct gateway *g);

/* The routes, for the router. */
const struct route_table *gateway_routes(struct gateway *g);

/* To be connected to the models' signal, after dispatch: ends a removed model's metrics. */
void gateway_on_model(void *gateway, const void *model_change);
