// SPDX-License-Identifier: Apache-2.0
/* What the gateway takes out of a request's body in one pass, and the body as it goes to the
 * engine. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

enum { BODY_PARTS_MAX = 3 };

struct gateway_request {
    char *model; /* owned */
    bool stream;
    bool asked_for_usage; /* stream_options.include_usage was true */
    bool added_usage;     /* we ask for it on our own account */
    uint32_t tokens;      /* work expected: prompt guessed from its bytes, plus the output limit */
    /* The body in pieces: spans of the original, and the insertion (a constant) between them. */
    struct span parts[BODY_PARTS_MAX];
    size_t part_count;
};

/* Spans point into body. `add_usage`: where the answer is streamed and its usage was not asked for,
 * ask for it. -EBADMSG (not JSON), -EINVAL (no model, wrong types). */
int gateway_request_read(struct span body, bool add_usage, struct gateway_request *ret,
                         struct error *reterr) _must_check_;
void gateway_request_finish(struct gateway_request *r);
