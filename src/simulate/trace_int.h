// SPDX-License-Identifier: Apache-2.0
/* Inside traces: the lines of a file, what they say, and what a trace that was read and one that
 * was made share. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "base/map.h"
#include "base/str.h"
#include "simulate/trace.h"

enum { TRACE_LINE_MAX = 8 << 20 };

/* ---- lines ---- */

/* A file, line by line; a byte order mark at its beginning and blank lines at its end are passed
 * over. */
struct trace_lines {
    FILE *file;
    char *buffer;
    size_t at, end, room;
    size_t number; /* of the line that was given last, from 1 */
    bool all;      /* nothing more is in the file */
};
int trace_lines_open(struct trace_lines *l, const char *path, struct error *reterr) _must_check_;
/* 1, and *ret is a line without its end, valid until the next call; 0: no more; -EINVAL: too long,
 * or it cannot be read. */
int trace_lines_next(struct trace_lines *l, struct span *ret, struct error *reterr) _must_check_;
void trace_lines_close(struct trace_lines *l);

/* ---- what they say ---- */

struct trace_reader {
    struct trace *t;
    size_t room, block_count, block_room;
    struct map models, sessions; /* name → number from 1 */
    int64_t first_day;           /* of calendar times, so that seconds keep their digits */
    bool has_day;
    unsigned columns; /* of our own format */
};
int trace_add(struct trace_reader *r, const struct trace_request *q,
              struct error *reterr) _must_check_;
/* Of the request that is added next. */
int trace_add_block(struct trace_reader *r, uint64_t hash, struct error *reterr) _must_check_;

/* Understands one line and adds its request. */
typedef int (*trace_line_fn)(struct trace_reader *r, struct span line, struct error *reterr);
/* The first line tells; *ret_head: it is a head, and no request. NULL: none of them. */
trace_line_fn trace_format_of(struct trace_reader *r, struct span line, bool *ret_head);

/* ---- hashes and order ---- */

/* The hash of a prompt's beginning, from the one before it and the block's own id. */
uint64_t trace_mix(uint64_t before, uint64_t id);
/* Puts the requests in order of time (those of the same time stay as they are); the first is at 0.
 */
int trace_in_order(struct trace *t, struct error *reterr) _must_check_;
