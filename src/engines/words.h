// SPDX-License-Identifier: Apache-2.0
/* A growing NULL-terminated list of owned strings: what command lines and environments are made of.
 */
#pragma once

#include <stddef.h>

#include "base/macros.h"

struct words {
    char **list; /* NULL while nothing was added */
    size_t count;
};

void words_add(struct words *w, const char *word);
void words_addf(struct words *w, const char *fmt, ...) _printf_(2, 3);
/* The list, owned by the caller (str_list_free); never NULL. */
char **words_take(struct words *w);
void words_finish(struct words *w);
