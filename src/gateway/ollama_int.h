// SPDX-License-Identifier: Apache-2.0
/*
 * Inside of Ollama's door. Neither requests nor answers become trees: scan_object says where things
 * stand, and their raw text is written into another order, so that numbers, escapes and schemas
 * arrive as they were sent.
 *
 *     ollama_request.c   client's body ──► engine's body
 *     ollama_answer.c    engine's events and answers ──► client's lines
 *     ollama_tools.c     tool calls, gathered from the pieces of a stream
 *     ollama_door.c      routes, and what is answered without an engine
 */
#pragma once

#include "base/buf.h"
#include "codec/scan.h"
#include "gateway/gateway.h"
#include "gateway/translation.h"

enum ollama_kind {
    OLLAMA_CHAT,
    OLLAMA_GENERATE,
    OLLAMA_EMBED,
    OLLAMA_EMBEDDINGS,
    OLLAMA_KIND_MAX_
};

/* JSON that scan_object has accepted, further inside */

static inline bool raw_given(const struct scan_member *m)
{
    return m->type != SCAN_ABSENT && m->type != SCAN_NULL;
}
/* A string with at least one character, by its raw text. */
static inline bool raw_filled(const struct scan_member *m)
{
    return m->type == SCAN_STRING && m->value.n > 2;
}
/* What stands between the quotes or brackets. */
static inline struct span raw_inside(struct span value)
{
    return (struct span){ value.p + 1, value.n - 2 };
}
/* The next element of an array; rest is raw_inside of it at first. False at its end. */
bool raw_next(struct span *rest, struct span *ret);
enum scan_type raw_type(struct span value);
/* A number as it stands in the text, at least 0 and at most 1e15; 0 for anything else. */
double raw_number(const struct scan_member *m);
static inline void put_span(struct buf *b, struct span s)
{
    buf_append(b, s.p, s.n);
}
/* Without the blanks between its tokens, so that it fits into one line. */
void put_compact(struct buf *b, struct span s);
/* With quotes. */
void put_text(struct buf *b, const char *text);

/* Tool calls */

enum {
    TOOL_CALLS_MAX = 128,
    TOOL_BYTES_MAX = 4 << 20, /* of all names and arguments of one answer */
};

struct tool_call {
    char *id, *name;      /* raw JSON strings, owned; NULL while unknown */
    struct buf arguments; /* decoded, as they came so far */
};

struct tool_calls {
    struct tool_call *calls; /* TOOL_CALLS_MAX, or NULL while there are none */
    size_t count;
    size_t bytes;
    bool overflow; /* an answer beyond the limits */
};

/* The value of an engine's `tool_calls`: whole calls, or pieces of them with an index. */
void tool_calls_gather(struct tool_calls *t, struct span array);
/* Those with an object for arguments, as an array; nothing and false when there are none. */
bool tool_calls_put(const struct tool_calls *t, struct buf *out);
/* The arguments of the others (cut short by a token limit), escaped: they are told as text. */
void tool_calls_put_rest(const struct tool_calls *t, struct buf *out);
void tool_calls_finish(struct tool_calls *t);

/* One request */

struct ollama_state {
    enum ollama_kind kind;
    char *model; /* raw JSON string, owned */
    bool load, unload;
    bool native; /* the engine answers in llama.cpp's own form (/infill) */
    uint64_t began_us;
    uint64_t first_us; /* of the first event that brought something; 0 before */
    bool ended;        /* the client has its last line */
    char *finish;      /* done_reason once it is known, owned */
    struct tool_calls tools;
    uint64_t prompt_tokens, output_tokens;
    double prompt_ms, output_ms; /* as the engine measured them; 0: it did not */
};

struct ollama_state *ollama_state_create(enum ollama_kind kind, struct span model_json,
                                         uint64_t now_us);
void ollama_state_free(void *state); /* accepts NULL */

/* translation.read of each kind. */
int ollama_read(enum ollama_kind kind, struct span body, uint64_t now_us, struct translated *ret,
                struct error *reterr) _must_check_;

/* The door's own part of the gateway: what it knows of model files, and who looks. */
struct ollama_door *ollama_door_create(struct gateway *g);
struct ollama_door *ollama_door_destroy(struct ollama_door *d); /* accepts NULL, returns NULL */
const struct route_table *ollama_door_routes(struct ollama_door *d);
