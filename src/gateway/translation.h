// SPDX-License-Identifier: Apache-2.0
/*
 * Doors that speak otherwise than engines do (Ollama's): their requests are made into what engines
 * understand, and the answers back. A translation knows words only; the life of the request is the
 * relay's, as for every other door.
 *
 *     client's body ──read──► engine's body        engine's events ──event──► client's bytes
 *                                                  engine's answer ──whole──► client's body
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"

struct translated {
    char *model;      /* as the client named it; owned */
    const char *path; /* at the engine: a constant ("/v1/chat/completions") */
    char *body;       /* for the engine, with a `model`; owned. NULL: nothing is asked (load) */
    size_t body_len;
    bool stream; /* towards the client, and then towards the engine too */
    bool load;   /* no prompt: only load the model (Ollama's empty request), then whole() with an
                    absent span */
    bool unload; /* no prompt and keep_alive 0: it may go when nothing runs; whole() at once */
    bool has_keep_alive;
    int64_t keep_alive_ms;
    void *state; /* of this request; ended by finish */
};

struct translation {
    /* -EBADMSG (no JSON), -EINVAL (what is wrong with it); nothing is kept then. now_us: exact
     * monotonic time of the request's first byte, for durations in the answer. */
    int (*read)(struct span body, uint64_t now_us, struct translated *ret, struct error *reterr);
    const char *stream_type; /* "application/x-ndjson" */
    /* The data of one event of the engine's stream, "[DONE]" included: appends what the client is
     * to get, or nothing. True: the answer is whole now (not so after an error of the engine's). */
    bool (*event)(void *state, struct span data, uint64_t now_us, int64_t wall_ms, struct buf *out);
    /* The engine's whole answer with status 200. -EPROTO when it is not what it should be. */
    int (*whole)(void *state, struct span body, uint64_t now_us, int64_t wall_ms, struct buf *out,
                 struct error *reterr);
    /* An error in the middle of a stream. */
    void (*stream_error)(void *state, const char *text, struct buf *out);
    void (*finish)(void *state); /* accepts NULL */
};
void translated_finish(struct translated *t);

extern const struct translation ollama_chat, ollama_generate, ollama_embed, ollama_embeddings;
