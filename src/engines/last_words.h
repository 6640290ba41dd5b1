// SPDX-License-Identifier: Apache-2.0
/* The few lines of an engine's log that tell why it ended: bounded in number and length, none
 * twice. */
#pragma once

#include "base/str.h"

enum { WORDS_LINES = 5, WORDS_LINE_MAX = 240 };

struct last_lines {
    struct span lines[WORDS_LINES]; /* borrowed from the log */
    size_t count;
};

/* Cut to WORDS_LINE_MAX; a sixth line pushes the first one out; one that stands is not repeated. */
void last_lines_keep(struct last_lines *last, struct span line);
/* "one; two", owned by the caller; NULL when there is none. */
char *last_lines_join(const struct last_lines *last);
/* The last lines of a log that are not blank: for engines whose words nobody knows better. */
char *last_words_plain(struct span log_tail);
