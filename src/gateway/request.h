// SPDX-License-Identifier: Apache-2.0
/* What the gateway takes out of a request's body in one pass, and the body as it goes to the
 * engine: the client's own bytes, with at most three edits. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

enum { BODY_EDITS_MAX = 3, BODY_PARTS_MAX = 2 * BODY_EDITS_MAX + 1 };
enum { UNLIMITED_OUTPUT_TOKENS = 256 }; /* counted for a request that names no limit */

/* [from, to) of the body becomes text. */
struct body_edit {
    const char *from, *to;
    struct span text;
};

struct gateway_request {
    char *model; /* owned */
    bool stream;
    bool asked_for_usage; /* stream_options.include_usage was true */
    bool added_usage;     /* we ask for it on our own account */
    bool has_keep_alive;
    int64_t keep_alive_ms; /* as models.h has it */
    uint32_t tokens;       /* work expected: prompt guessed from its bytes, plus the output limit */
    uint32_t prompt_tokens; /* the guess of the prompt alone */
    uint32_t output_limit;  /* its own; 0: none */
    uint64_t session;       /* hash of `prompt_cache_key`, else of `user`; 0: neither */
    /* From the system prompt to the end of what the model reads; absent when that cannot be told.
     */
    struct span prompt;

    struct span body, model_value;
    struct body_edit edits[BODY_EDITS_MAX - 1]; /* but for the model's */
    size_t edit_count;
    /* The body in pieces: spans of the original, and what stands between them. */
    struct span parts[BODY_PARTS_MAX];
    size_t part_count;
};

/* Spans point into body. `add_usage`: where the answer is streamed and its usage was not asked for,
 * ask for it. keep_alive or ttl is taken out. -EBADMSG (not JSON), -EINVAL (no model, wrong types).
 */
int gateway_request_read(struct span body, bool add_usage, struct gateway_request *ret,
                         struct error *reterr) _must_check_;
/* A body that is not looked into. */
void gateway_request_opaque(struct span body, struct gateway_request *ret);
/* Makes the parts: with this JSON text in place of the model's value, or (absent) with its own.
 * model_text is borrowed as long as the parts are used. */
void gateway_request_compose(struct gateway_request *r, struct span model_text);
/* What requests of one session have in common; never 0. */
uint64_t session_hash(struct span name);
void gateway_request_finish(struct gateway_request *r);
