// SPDX-License-Identifier: Apache-2.0
/*
 * What the gateway did last: a ring of the latest requests, whichever door they came through. The
 * one account that `/api/proxy/requests/history`, the figures per model and the access log are made
 * from.
 */
#pragma once

#include <stdint.h>

#include "gateway/gateway.h"

enum { HISTORY_KEPT = 1000 };

struct request_record {
    int64_t wall_ms; /* of its first byte */
    char model[64];  /* public id, cut; "" when it was not known */
    char method[8];
    char path[96];                              /* without query, cut */
    int status;                                 /* as the client was told; 499: it left */
    uint32_t total_ms, queue_ms, first_byte_ms; /* first_byte_ms 0: there was none */
    uint32_t prompt_tokens, output_tokens;
    uint64_t request_bytes, response_bytes;
    char client[48]; /* address without port; "" for unix sockets */
    char user_agent[64];
    char instance[37]; /* uuid of the last one asked; "" when none was */
    char error[120];   /* "" when it went well */
};

struct history;
struct history *history_create(void);
struct history *history_destroy(struct history *h);
void history_add(struct history *h, const struct request_record *r);
/* The nth latest (0: the last one); NULL beyond what is kept. Good until the turn ends. */
const struct request_record *history_at(const struct history *h, size_t nth);
/* How many were ever added. */
uint64_t history_total(const struct history *h);
/* The gateway's. */
const struct history *gateway_history(const struct gateway *g);

/* Figures of one model since berth started. */
struct model_figures {
    uint64_t requests, errors; /* errors: status 500 and above */
    uint64_t total_response_ms;
    uint64_t prompt_tokens, output_tokens;
};
struct model_figures gateway_model_figures(const struct gateway *g, const char *public_id);
