// SPDX-License-Identifier: Apache-2.0
/*
 * Errors: a negative errno as the return value, a sentence for the user in the last parameter
 * `struct error *reterr`, and one table that says what a code means at every door (HTTP status,
 * OpenAI error type, exit code of the CLI).
 */
#pragma once

#include <errno.h>

#include "base/macros.h"

struct error {
    int code;       /* negative errno; 0 while nothing is wrong */
    char text[480]; /* one sentence without a final full stop, fit for the user */
};

/* Writes the sentence (when reterr is not NULL) and returns code, so that `return error_set(...)`
 * reads well. */
int error_set(struct error *reterr, int code, const char *fmt, ...) _printf_(3, 4);
/* Puts words before the sentence that stands there already: "config: line 3: ...". Returns reterr's
 * code. */
int error_prefix(struct error *reterr, const char *fmt, ...) _printf_(2, 3);

struct error_kind {
    int code;         /* negative errno */
    int http_status;  /* at every HTTP door */
    const char *type; /* OpenAI's error.type */
    const char *name; /* short stable word: OpenAI's error.code, the "error" of our own answers */
    int exit_code;    /* of a CLI command that ends with this error */
};

/* The row of `code`; a code without a row is answered with that of -EIO (500, server_error). Never
 * NULL. */
const struct error_kind *error_kind(int code);
