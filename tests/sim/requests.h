// SPDX-License-Identifier: Apache-2.0
/*
 * What the parts of test_requests.c share: the asks of the clients, what the simulated engines did
 * to them, and what was done to the models. Content is made from an ask's number, so that each side
 * can tell the other's bytes from a stranger's. Who does what:
 *
 *     test_requests.c      the house, what befalls models and engines, the end
 *     requests_client.c    the clients: what they ask, and what they make of the answer
 *     requests_engine.c    the engines
 *     requests_watch.c     what must hold at every moment
 */
#pragma once

#include "rig.h"

#include "base/buf.h"
#include "dispatch/dispatch.h"
#include "http/client.h"

enum {
    MODELS = 2,
    SLOTS = 2,
    REPLICAS = 3,
    ASKS_MAX = 64,
    WORD_MAX = 8192,
    /* as the settings say */
    QUEUE_MAX = 4,
    QUEUE_TIMEOUT_MS = 10000,
    DEADLINE_MS = 40000,
    STALL_MS = 4000,
    MAX_ATTEMPTS = 3,
    KEPT_MAX = 64 * 1024, /* of a whole answer, until it is whole */
    PIECES = 25,          /* deliveries that a message takes at most, with latency */
};

enum ask_state { ASK_OPEN, ASK_ANSWERED, ASK_CUT, ASK_LEFT };

/* One request of a client. */
struct ask {
    struct scene *scene;
    unsigned number;
    size_t model;
    bool stream, wants_usage, chat;
    unsigned tokens, word_bytes; /* of the answer; each token is a word of so many bytes */
    uint64_t deadline_ms, queue_timeout_ms;
    bool keeps;            /* it says how long the model is to stay: */
    int64_t keep_alive_ms; /* so long, or KEEP_ALIVE_FOREVER */

    enum ask_state state;
    struct http_call *call;
    char *request;     /* its body, which the call borrows */
    struct timer whim; /* leaves, stops reading, reads on */
    bool paused;
    int status;
    bool event_stream;
    struct buf body;
    uint64_t asked_ms, left_ms, resumed_ms;

    /* What engines did to it. */
    unsigned lost;      /* connections that ended before the client was sent anything; refusals */
    unsigned deaths;    /* of engines of its model, or of their connections, since it was asked */
    bool begun;         /* an engine has read it */
    bool broken;        /* an answer that is none, or none at all in time */
    bool cut;           /* an answer that was begun and not ended */
    bool refused;       /* an error of the engine's own */
    unsigned completed; /* answers written to the end */
};

/* A model, and what was done to it. Times are world_now_ms. */
struct subject {
    int64_t id;                /* 0: not there */
    uint64_t absent_ms;        /* was not there, then */
    uint64_t stopped_ms;       /* a person stopped it */
    uint64_t refusing_ms;      /* was not to be loaded on demand */
    uint64_t failed_ms;        /* an instance was given up, or stood so */
    uint64_t touched_ms;       /* was changed, or wanted, or not any more */
    uint64_t ready_ms;         /* an instance became ready; 0: none since it was loaded */
    uint64_t unloaded_ms;      /* was not wanted any more */
    bool on_demand;            /* as it is defined */
    bool idle;                 /* that it is not wanted is for idleness */
    bool busy;                 /* when it was looked at … */
    uint64_t looked_ms;        /* … then */
    unsigned starts;           /* new instances that there are reasons for */
    unsigned doubts;           /* looks in a row in which somebody waited for nothing */
    uint64_t unwanted_busy_ms; /* not wanted, though somebody waits, since then; 0: is not so */
};

struct scene {
    struct rig *rig;
    uint64_t latency_ms;
    bool kind; /* engines do no harm */
    struct dispatch *dispatch;
    int64_t unload_after_ms; /* or KEEP_ALIVE_FOREVER */
    struct list talks;       /* connections at engines */
    struct ask asks[ASKS_MAX];
    unsigned asked;
    struct subject subjects[MODELS];
    uint64_t removed_ms; /* a model was */
    struct timer watch;
    struct listener on_model, on_instance;
};

extern const char *const model_names[MODELS];

static inline uint64_t scene_now(const struct scene *s)
{
    return world_now_ms(s->rig->world);
}

static inline uint64_t scene_below(const struct scene *s, uint64_t bound)
{
    return world_random_below(s->rig->world, bound);
}

static inline bool scene_one_in(const struct scene *s, uint64_t n)
{
    return scene_below(s, n) == 0;
}

/* How late something may be that went over connections. */
static inline uint64_t scene_delay(const struct scene *s)
{
    return PIECES * s->latency_ms + 10;
}

/* --- requests_client.c */
void client_ask(struct scene *s, struct http_upstream *through);
/* After everything has ended. */
void clients_finish(struct scene *s);
/* Fails the test with this sentence, and with what is known of the ask. */
void _printf_(2, 3) complain(const struct ask *a, const char *fmt, ...);

/* --- requests_engine.c */
extern const struct rig_service scripted_service;
/* "<ask>.<token>;" and as many x as are lacking. */
const char *word_of(const struct ask *a, unsigned token, char out[WORD_MAX]);
/* The engine stops serving at once and ends a little later, as a large one does whose memory takes
 * time to give back. */
void engine_die_slowly(struct sim_engine *engine);
/* Closes the kept-alive connections on which nothing is going on. */
void engine_close_idle(struct sim_engine *engine);
/* It answers its probes from now on, and makes no token any more. */
void engine_get_stuck(struct sim_engine *engine);
/* It answers everything with an error for so long. */
void engine_get_sick(struct sim_engine *engine, uint64_t for_ms);
/* A whole answer that is not kept. */
bool ask_is_long(const struct ask *a);
/* Since when it has been working on what it has now; 0: it has nothing. */
uint64_t engine_works_since(const struct sim_engine *engine);
/* Requests that an engine is working on. */
unsigned engines_working(struct scene *s);

/* --- requests_watch.c */
/* After everything else listens. */
void watch_begin(struct scene *s);
void watch_end(struct scene *s);
/* Tells of what cannot be heard: the model will be gone, or is wished to be stopped, by a person.
 */
void watch_note_removal(struct scene *s, size_t model);
void watch_note_stop(struct scene *s, size_t model);
/* There is a reason for that many instances to be made anew. */
void watch_allow_starts(struct scene *s, size_t model, unsigned count);
