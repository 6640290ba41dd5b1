// SPDX-License-Identifier: Apache-2.0
/*
 * Server-sent events, for relays: bytes are fed as they come, and come out again, all of them and
 * in order, cut into items:
 *
 *     id: 7\n  event: note\n  data: {"a":1}\n  \n      an event, up to and with its blank line
 *     : ping\n                                         a comment line or a blank line between
 * events (the beginning of an event beyond max_held)      bytes that were not examined
 *
 * An item that lies whole in the fed bytes is not copied. The beginning of one that does not is
 * held back until its end comes, but never more than max_held bytes: a longer event is passed on
 * unexamined. Lines end with CR, LF or CRLF; an item that ends with CR is not held back for a LF
 * that may follow, which then stands at the front of the next item.
 *
 *     sse_feed(&reader, bytes);
 *     while (sse_next(&reader, &event)) { ... }
 *
 * One reader a stream; any one thread.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

struct sse_event {
    struct span raw;  /* all bytes of the item, to be passed on; never empty */
    bool whole;       /* false: unexamined, the other spans are absent */
    struct span data; /* the payload, lines joined by LF; absent when there is no data line (a
                         comment, a blank line) */
    struct span name; /* of the `event:` line; absent without one */
    struct span id;   /* of the `id:` line; absent without one */
};

struct sse_reader {
    struct buf held;    /* what came of an item before the bytes fed last */
    struct buf joined;  /* the payload of an event with several data lines */
    struct span fed;    /* rest of the bytes fed last; borrowed */
    bool held_is_given; /* held was handed out and goes at the next call */
    bool passing;       /* inside an event that is passed on unexamined */
    bool after_cr;      /* a LF now belongs to the line end before it */
    bool in_line;       /* not at a line's first byte */
    bool first_line;    /* of an item */
    bool comment;       /* the item's first line began with a colon */
    bool begun;         /* an item came out */
};

void sse_reader_init(struct sse_reader *reader, size_t max_held);
void sse_reader_finish(struct sse_reader *reader); /* frees; also of zeroed memory */

/* The bytes must stand until sse_next returned false. Every feed is followed by that loop (assert).
 */
void sse_feed(struct sse_reader *reader, struct span bytes);
/* The next item; its spans are good until the next call on this reader. False when more bytes are
 * needed. */
bool sse_next(struct sse_reader *reader, struct sse_event *ret);
/* At the stream's end: the beginning of an item that never ended, as an unexamined item. False when
 * there is none. */
bool sse_rest(struct sse_reader *reader, struct sse_event *ret);

/* Writers. -EFBIG when out is full (nothing was written). name and id may be NULL and hold no line
 * end (assert); a payload with several lines (at LF, CR or CRLF) is written as several data lines.
 */
int sse_write_event(struct buf *out, const char *name, const char *id,
                    struct span data) _must_check_;
/* ": text" and a blank line; text holds no line end (assert). */
int sse_write_comment(struct buf *out, const char *text) _must_check_;
