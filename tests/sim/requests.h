// SPDX-License-Identifier: Apache-2.0
/*
 * What the two sides of test_requests.c share: the asks of the clients, and what the simulated
 * engines did to them. Content is made from an ask's number, so that each side can tell the other's
 * bytes from a stranger's.
 */
#pragma once

#include "rig.h"

#include "base/buf.h"
#include "dispatch/dispatch.h"
#include "http/client.h"

enum { MODELS = 2, SLOTS = 2, ASKS_MAX = 64, WORD_MAX = 8192 };

enum ask_state { ASK_OPEN, ASK_ANSWERED, ASK_CUT, ASK_LEFT };

/* One request of a client. */
struct ask {
    struct scene *scene;
    unsigned number;
    size_t model;
    bool stream, wants_usage, chat;
    unsigned tokens, word_bytes; /* of the answer; each token is a word of so many bytes */

    enum ask_state state;
    struct http_call *call;
    char *request;     /* its body, which the call borrows */
    struct timer whim; /* leaves, stops reading, reads on */
    bool paused;
    int status;
    bool event_stream;
    struct buf body;
    uint64_t asked_ms, left_ms;

    /* What engines did to it. */
    unsigned lost;      /* connections that ended before the head of its answer */
    unsigned deaths;    /* of engines of its model, or of their connections, since it was asked */
    bool broken;        /* an answer that is none, or none at all in time */
    bool cut;           /* an answer that was begun and not ended */
    bool refused;       /* a 500 of the engine's own */
    unsigned completed; /* answers written to the end */
};

struct scene {
    struct rig *rig;
    uint64_t latency_ms;
    bool kind; /* engines do no harm */
    struct dispatch *dispatch;
    struct list talks; /* connections at engines */
    struct ask asks[ASKS_MAX];
    unsigned asked;
};

extern const char *const model_names[MODELS];
extern const struct rig_service scripted_service;

/* "<ask>.<token>;" and as many x as are lacking. */
const char *word_of(const struct ask *a, unsigned token, char out[WORD_MAX]);
/* The engine stops serving at once and ends a little later, as a large one does whose memory takes
 * time to give back. */
void engine_die_slowly(struct sim_engine *engine);
/* Closes the kept-alive connections on which nothing is going on. */
void engine_close_idle(struct sim_engine *engine);
/* Requests that an engine is working on. */
unsigned engines_working(struct scene *s);
