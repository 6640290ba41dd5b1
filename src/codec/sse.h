// SPDX-License-Identifier: Apache-2.0
/*
 * Server-sent events. A reader for relays, which cuts a passing stream into events without copying those that lie whole in what was fed; and
 * writers.
 *
 *     struct span fed = { p, n };
 *     while (sse_read(&reader, &fed, &event) > 0) { … event.raw is what to pass on, event.data what it says … }
 *
 * Lines end in LF, CRLF or CR. An event that grows beyond SSE_EVENT_MAX is handed over in pieces, with no data: pass them on unexamined.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

enum { SSE_EVENT_MAX = 256 * 1024 };

struct sse_event {
    struct span raw;  /* all bytes, the blank line included */
    struct span data; /* of its first "data:" line, without the blank after the colon; absent in comments and oversize pieces */
};

struct sse_reader {
    struct buf held; /* the beginning of an event that is not whole yet */
    bool give_back;  /* held was handed over by the last call and goes now */
    bool oversize;   /* in the middle of an event that is too large to hold */
};

void sse_reader_init(struct sse_reader *r);
void sse_reader_finish(struct sse_reader *r);

/* Takes the next event from *fed (which is cut accordingly): 1 with *ret, or 0 when the rest is held for later. Spans lie in the fed bytes or in the reader, and are
 * good until the next call. */
int sse_read(struct sse_reader *r, struct span *fed, struct sse_event *ret);
/* What is held when the stream ends: an unfinished event. */
struct span sse_reader_rest(const struct sse_reader *r);

/* "id: …\nevent: …\ndata: …\n\n"; id 0 and event NULL are left out; data must hold no line ends (compact JSON does not). */
void sse_write_event(struct buf *out, int64_t id, const char *event, struct span data);
void sse_write_comment(struct buf *out, const char *text);
