// SPDX-License-Identifier: Apache-2.0
/*
 * Finds the token counts in an answer while it passes by, whichever API it speaks:
 *
 *     OpenAI      "usage":{"prompt_tokens","completion_tokens",{"cached_tokens"}}
 *     Responses   "usage":{"input_tokens","output_tokens",{"cached_tokens"}}
 *     Anthropic   "usage":{"input_tokens","cache_read_input_tokens","output_tokens"}, and at the
 *                 stream's end "usage":{"output_tokens"}
 *
 * The needle "usage": with its quotes cannot occur inside a JSON string (there the quotes would be
 * escaped), so a search by bytes is enough; pieces may be cut anywhere.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum { USAGE_CARRY = 256 };

struct usage {
    uint64_t prompt_tokens, completion_tokens, cached_tokens;
    bool found;
    size_t carry_len;
    char carry[USAGE_CARRY]; /* the end of what has passed */
};

/* Looks at the next piece; of each count the last one that was told holds. */
void usage_feed(struct usage *u, const char *p, size_t n);
