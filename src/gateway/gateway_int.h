// SPDX-License-Identifier: Apache-2.0
/* The gateway's inside: its settings, the table of endpoints, and the one account of its requests.
 */
#pragma once

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "gateway/gateway.h"
#include "gateway/history.h"
#include "gateway/translation.h"

/* endpoints.c: one row for each kind of request. */
enum endpoint_id {
    ENDPOINT_CHAT,
    ENDPOINT_COMPLETIONS,
    ENDPOINT_EMBEDDINGS,
    ENDPOINT_RERANK,
    ENDPOINT_RESPONSES,
    ENDPOINT_MESSAGES,
    ENDPOINT_COUNT_TOKENS,
    ENDPOINT_OLLAMA_CHAT,
    ENDPOINT_OLLAMA_GENERATE,
    ENDPOINT_OLLAMA_EMBED,
    ENDPOINT_OLLAMA_EMBEDDINGS,
    ENDPOINT_PASS,
    ENDPOINT_MAX_,
};

/* How an error is told in the middle of an event stream. */
enum error_event {
    ERROR_EVENT_DATA,      /* data: {"error":{…}} */
    ERROR_EVENT_RESPONSES, /* event: error, data: {"type":"error","code","message",…} */
    ERROR_EVENT_ANTHROPIC, /* event: error, data: {"type":"error","error":{…}} */
};

struct endpoint {
    const char *name;        /* in metrics */
    const char *engine_path; /* NULL: the translation's, or what the caller of gateway_pass says */
    enum error_shape shape;
    enum error_event error_event;
    bool asks_usage; /* a stream that did not ask for its usage may be made to */
    const struct translation *translation; /* NULL: the bytes go as they are */
};

extern const struct endpoint endpoints[ENDPOINT_MAX_];
/* Starts the life of a request of this kind; ends x. (relay.c) */
void relay_start(struct gateway *g, struct http_exchange *x, const struct endpoint *endpoint);

extern const struct route gateway_openai_rows[], gateway_anthropic_rows[];
extern const size_t gateway_openai_row_count, gateway_anthropic_row_count;

/* What is counted of one model. Relays hold a reference; when the model is removed its cells go at
 * once, and the requests that run yet are not counted any more. */
struct model_counts {
    char *model;
    unsigned refs;
    bool removed; /* the cells are void */
    struct metric_cell *seconds, *first_byte, *prompt_tokens, *output_tokens, *cached_tokens;
    struct metric_cell *good[ENDPOINT_MAX_]; /* of status 200, NULL until one came */
    struct model_figures figures;
};

struct gateway {
    struct gateway_in in;
    struct map counts;  /* by the model's public id */
    struct list relays; /* all; deadlines and signs of life are swept */
    struct timer sweep;
    size_t spilled;     /* bytes queued towards slow clients, all relays together */
    struct buf scratch; /* for one function at a time */
    struct list spare;  /* relays whose memory is used again */
    unsigned spare_count;
    struct history *history;
    uint64_t stream_wait_ms, first_byte_timeout_ms, idle_timeout_ms, deadline_ms, queue_timeout_ms;
    size_t spill_per_stream, spill_budget;
    unsigned max_attempts;
    bool access_log;
    struct route_table openai, anthropic;
    struct ollama_door *ollama;
    struct metric_cell *failovers;
};

/* The catalogue's model of this name; at Ollama's doors "x:latest" is x, too. */
const struct model *gateway_find_model(const struct gateway *g, const char *name,
                                       enum error_shape shape);

/* models_list.c */
void models_list(void *gateway, struct http_exchange *x, const struct route_params *params);
void models_one(void *gateway, struct http_exchange *x, const struct route_params *params);

/* account.c: what is known of a request that has ended, in one place. */
void account_declare(struct gateway *g); /* metrics, at start */
struct model_counts *counts_of(struct gateway *g,
                               const struct model *model); /* takes a reference */
void counts_release(struct model_counts *c);
void counts_forget(struct gateway *g, const char *model);

/* A copy that fits and is UTF-8, cut between characters. */
void record_text(char *to, size_t size, struct span from);
/* A record as far as the request itself tells. */
void record_begin(struct gateway *g, struct http_exchange *x, struct request_record *ret);
struct account {
    struct request_record *record; /* status is set; times and counts are */
    const struct endpoint *endpoint;
    struct model_counts *counts; /* NULL: no model is known */
    uint64_t started_us;
    uint64_t cached_tokens;
    unsigned attempts;
    bool whole;                        /* the client has the whole answer */
    const char *request_id, *trace_id; /* trace_id NULL: none */
};
/* Counts, keeps and logs it. */
void account_close(struct gateway *g, const struct account *a);
/* The same of a request that is refused before its life began; x is not answered yet. model NULL:
 * it is not known. */
void account_refusal(struct gateway *g, struct http_exchange *x, const struct endpoint *endpoint,
                     const struct model *model, const struct error *e);

/* answer.c: errors and headers towards clients. */

/* An error that stands alone as the answer, in the door's shape; code NULL: the table's. */
void answer_error(struct http_exchange *x, enum error_shape shape, int error, const char *code,
                  const char *text);
/* The error as an event in the stream. sequence: the number of the next event. */
void error_event_write(enum error_event kind, int status, const char *type, const char *code,
                       const char *text, unsigned sequence, struct buf *out);
/* When to come back: retry-after, retry-after-ms, the place in the line and the expected wait. */
void answer_add_retry(struct gateway *g, struct http_exchange *x, int64_t model_id);
void answer_add_number(struct http_exchange *x, const char *name, uint64_t number);
/* The sentence in an engine's error object, owned by the caller; NULL when there is none. */
char *engine_error_text(struct span body);
