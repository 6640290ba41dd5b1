// SPDX-License-Identifier: Apache-2.0
/*
 * The last lines of the log, LOG_RING_BYTES of them, as they were written: what can be read again
 * without knowing where stderr leads. The oldest make room for the newest. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

enum { LOG_RING_BYTES = 1024 * 1024, LOG_LINE_MAX = 4096 };

/* text: without its line feed; of at most LOG_LINE_MAX bytes, else it is left out. */
void log_ring_add(enum log_level level, int64_t wall_ms, const char *text, size_t n);

struct log_line {
    enum log_level level;
    int64_t wall_ms;
    size_t n;
    char text[LOG_LINE_MAX + 1];
};
/* The line at *cursor, which is moved behind it; 0 is the oldest one that is kept, as is one that
 * is kept no more. False: there is none yet. */
bool log_ring_next(uint64_t *cursor, struct log_line *ret);
