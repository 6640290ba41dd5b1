// SPDX-License-Identifier: Apache-2.0
/* The gateway's inside: its settings, and what it counts per model. */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "gateway/gateway.h"

enum endpoint { ENDPOINT_CHAT, ENDPOINT_COMPLETIONS, ENDPOINT_EMBEDDINGS, ENDPOINT_MAX_ };

/* Cells of one model. Relays hold a reference; when the model is removed its cells go at once, and
 * the requests that run yet are not counted any more. */
struct model_counts {
    char *model;
    unsigned refs;
    bool removed; /* the cells are void */
    struct metric_cell *seconds, *first_byte, *prompt_tokens, *output_tokens, *cached_tokens;
};

struct gateway {
    struct gateway_in in;
    struct map counts;  /* by the model's public id */
    struct list relays; /* all; the silent ones are swept */
    struct timer sweep;
    size_t spilled; /* bytes queued towards slow clients, all relays together */
    uint64_t stream_wait_ms, first_byte_timeout_ms, idle_timeout_ms;
    size_t spill_per_stream, spill_budget;
    unsigned max_attempts;
    struct route_table table;
    struct metric_cell *failovers;
};

struct model_counts *counts_of(struct gateway *g,
                               const struct model *model); /* takes a reference */
void counts_release(struct model_counts *c);
/* One finished request; status as the client was told (499: it left). model "": not known. */
void count_request(struct gateway *g, const char *model, enum endpoint endpoint, int status);

/* relay.c: the life of one request. */
void relay_start(struct gateway *g, struct http_exchange *x, enum endpoint endpoint);
void relay_sweep(void *gateway);
/* Answers an OpenAI error object; code NULL: the table's. */
void answer_error(struct http_exchange *x, int error, const char *code, const char *text);
