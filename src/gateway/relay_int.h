// SPDX-License-Identifier: Apache-2.0
/*
 * Inside a request's life, which these files share:
 *
 *     relay.c          the beginning, the line, the engine asked, the end
 *     relay_signs.c    signs of life, deadlines
 *     relay_answer.c   the engine's answer on its way to the client
 *     pass.c           requests that are not looked into (gateway_pass)
 *     load.c           requests that only load or unload a model (Ollama's)
 *
 *     read ──► WAITING ──grant──► ASKED ──head──► ANSWERING ──end──► (gone)
 *                 ▲  (no instance)   │ lost, or not able to serve, before the
 *                 └──────────────────┘ engine's first byte, attempts left
 */
#pragma once

#include "codec/sse.h"
#include "gateway/client_headers.h"
#include "gateway/gateway_int.h"
#include "gateway/request.h"
#include "gateway/usage.h"

enum relay_state { RELAY_WAITING, RELAY_ASKED, RELAY_ANSWERING };

/* How the engine's bytes become the client's. */
enum answer_mode {
    ANSWER_BYTES,  /* as they come */
    ANSWER_WHOLE,  /* kept until the end, so that a failure in the middle can go elsewhere or be
                      told; one that grows long goes on as ANSWER_BYTES */
    ANSWER_EVENTS, /* an event stream: whole events, so that an error event can follow any time */
    ANSWER_LINES,  /* events, each translated */
    ANSWER_HELD, /* kept until the end: to be translated, or an error to be told in another shape */
};

struct relay {
    struct list node; /* in gateway->relays */
    struct gateway *gateway;
    struct http_exchange *x; /* NULL once answered or gone */
    const struct endpoint *endpoint;
    enum relay_state state;
    enum answer_mode mode; /* void before ANSWERING */
    struct client_headers headers;
    struct gateway_request request;
    struct translated translated; /* zero but with a translation */
    char *model_text;         /* JSON of the name that the engine knows; NULL: the client's own */
    char method[16];          /* towards the engine */
    char *path;               /* of gateway_pass; else NULL */
    gateway_refuse_fn refuse; /* the same */

    struct model_counts *counts;
    int64_t model_id;
    struct ticket *ticket;
    struct http_call *call;
    char uuid[UUID_SIZE]; /* of the instance that works on it, or failed last */
    enum outcome outcome; /* what the ticket's instance will be told */
    unsigned attempts;
    uint64_t started_us;                              /* of its first byte */
    uint64_t began_ms, deadline_ms, wait_ms, sign_ms; /* wait_ms: since when it waits;
                                                         sign_ms: when the next sign is due */
    uint64_t time_limit_ms;

    int status;        /* of the engine's answer */
    bool signs;        /* comments are sent while it waits */
    bool event_stream; /* the client has the headers of an event stream */
    bool line_stream;  /* the client has those of a translated one */
    bool done;         /* the last event has passed: the client has it all, whatever comes */
    bool whole;        /* the engine's answer came to its end */
    bool paused;
    unsigned events; /* that the engine sent */
    size_t spilled;  /* part of gateway->spilled */
    struct usage usage;
    struct sse_reader sse; /* cuts an event stream into events */
    struct buf held;       /* ANSWER_WHOLE, ANSWER_HELD */
    char type[128];        /* ANSWER_WHOLE: content type and length for the head */
    int64_t length;

    struct request_record record;
    char request_id[129];
};

/* relay.c */
enum { SSE_EVENT_MAX = 256 * 1024 };

/* A relay that has everything but its request; on failure x is answered, and there is none. */
struct relay *relay_new(struct gateway *g, struct http_exchange *x, const struct endpoint *endpoint,
                        const struct model *model, const struct client_headers *headers);
/* Into the line, or straight to an instance. */
void relay_go(struct relay *r);
/* An error in whatever shape is still possible, and the end. code NULL: the table's. */
void relay_fail(struct relay *r, int error, const char *code, const char *text);
/* The exchange was answered, with this status: accounts and forgets. */
void relay_finish(struct relay *r, int status);
/* Moves the request to another instance, or to the same one's next life. */
void relay_try_again(struct relay *r, bool unreachable);
bool relay_may_try_again(const struct relay *r);
/* The call is over, or is cancelled. */
void relay_end_call(struct relay *r);
/* Frees the memory that is kept for the next ones. */
void relay_forget_spare(struct gateway *g);
/* Headers about who served it and how long it waited; before the answer starts. */
void relay_add_served(struct relay *r);
void relay_set_spilled(struct relay *r, size_t bytes);

static inline void relay_send(struct relay *r, const char *p, size_t n)
{
    r->record.response_bytes += n;
    http_respond_write(r->x, p, n);
}

/* relay_signs.c */
/* From now on it is looked after: signs of life while it waits, and its deadline. */
void relay_watch(struct relay *r);
void relay_sweep(void *gateway);

/* relay_answer.c */
/* What came of an answer that nobody was told of. */
void relay_forget_answer(struct relay *r);
extern const struct http_call_handler relay_engine_events;
extern const struct http_exchange_events relay_client_events;

/* load.c: what is done with it instead of asking an engine. */
/* The translation's answer to a request that asked for nothing. */
void relay_answer_nothing(struct relay *r);
