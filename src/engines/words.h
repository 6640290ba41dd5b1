// SPDX-License-Identifier: Apache-2.0
/* A growing NULL-terminated list of owned strings: what command lines and environments are made of,
 * and what a definition's own words become. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct words {
    char **list; /* NULL while nothing was added */
    size_t count;
};

void words_add(struct words *w, const char *word);
void words_addf(struct words *w, const char *fmt, ...) _printf_(2, 3);
/* The list, owned by the caller; never NULL (str_list_free). */
char **words_take(struct words *w);
void words_finish(struct words *w);

/* Adds what a definition says: a text, which is split as a shell would, without one, or a list of
 * texts. `what` names it in errors ("parameters.command"). */
int words_read(struct words *w, const char *what, const json_t *value,
               struct error *reterr) _must_check_;

/* What "${NAME}" stands for; "$$" is a dollar. */
struct word_value {
    const char *name, *value;
    bool used; /* it was asked for */
};
/* Replaces the names in each word by itself, so that a value with blanks stays in its word. -EINVAL
 * for a name that is not among the count values. */
int words_replace(struct words *w, const char *what, struct word_value *values, size_t count,
                  struct error *reterr) _must_check_;
