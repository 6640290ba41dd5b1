// SPDX-License-Identifier: Apache-2.0
/*
 * Checks the SSE reader on any bytes and any cuts; for the unit test and the fuzzer. All bytes must
 * come out in order, and the payloads must be those that a plain reading of the whole text gives.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "codec/sse.h"

#define SSE_ORACLE(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* "name|id|data" and a line end, for every event with a payload. */
static inline void sse_note(struct buf *out, struct span name, struct span id, struct span data)
{
    buf_append(out, name.p, name.n);
    buf_putc(out, '|');
    buf_append(out, id.p, id.n);
    buf_putc(out, '|');
    buf_append(out, data.p, data.n);
    buf_puts(out, "\n====\n");
}

struct sse_plain {
    char *name, *id;
    size_t name_n, id_n;
    struct buf data;
    bool any;
};

static inline void sse_plain_line(struct sse_plain *e, const char *line, size_t n)
{
    const char *colon = n ? memchr(line, ':', n) : NULL;
    size_t field = colon ? (size_t)(colon - line) : n;
    const char *value = colon ? colon + 1 : line + n;
    size_t value_n = (size_t)(line + n - value);

    if (value_n && *value == ' ') {
        value++;
        value_n--;
    }
    if (field == 4 && memcmp(line, "data", 4) == 0) {
        if (e->any) {
            buf_putc(&e->data, '\n');
        }
        buf_append(&e->data, value, value_n);
        e->any = true;
    } else if (field == 5 && memcmp(line, "event", 5) == 0) {
        e->name = UNCONST(char *, value);
        e->name_n = value_n;
    } else if (field == 2 && memcmp(line, "id", 2) == 0) {
        e->id = UNCONST(char *, value);
        e->id_n = value_n;
    }
}

/* The plain reading: a copy with every line end as LF, then line by line. */
static inline void sse_plain_read(const char *p, size_t n, struct buf *out)
{
    struct buf text = BUF_INIT(16 << 20);
    struct sse_plain e = { .data = BUF_INIT(16 << 20) };
    size_t from = n >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;

    for (size_t i = from; i < n; i++) {
        if (p[i] == '\r') {
            buf_putc(&text, '\n');
            i += i + 1 < n && p[i + 1] == '\n';
        } else {
            buf_putc(&text, p[i]);
        }
    }
    for (const char *line = buf_data(&text), *end = line + text.len, *stop; line < end;
         line = stop + 1) {
        stop = memchr(line, '\n', (size_t)(end - line));
        if (!stop) {
            break;
        }
        if (stop > line) {
            sse_plain_line(&e, line, (size_t)(stop - line));
            continue;
        }
        if (e.any) {
            sse_note(out, (struct span){ e.name, e.name_n }, (struct span){ e.id, e.id_n },
                     buf_span(&e.data));
        }
        buf_clear(&e.data);
        e = (struct sse_plain){ .data = e.data };
    }
    buf_finish(&e.data);
    buf_finish(&text);
}

static inline void sse_drain(struct sse_reader *reader, struct buf *raw, struct buf *events)
{
    struct sse_event e;

    while (sse_next(reader, &e)) {
        SSE_ORACLE(e.raw.n > 0 && (e.whole || !e.data.p));
        SSE_ORACLE(reader->held.len <= reader->held.max);
        buf_append(raw, e.raw.p, e.raw.n);
        if (e.data.p) {
            sse_note(events, e.name, e.id, e.data);
        }
    }
}

/* Feeds pieces whose sizes come from next_size; with room for everything the events are compared
 * too. */
static inline void sse_check(const char *p, size_t n, size_t max_held,
                             size_t (*next_size)(void *arg), void *arg)
{
    struct buf raw = BUF_INIT(16 << 20), events = BUF_INIT(16 << 20), plain = BUF_INIT(16 << 20);
    struct sse_reader reader;
    struct sse_event rest;

    sse_reader_init(&reader, max_held);
    for (size_t at = 0; at < n;) {
        size_t size = next_size(arg);
        size_t piece = size < 1 ? 1 : size > n - at ? n - at : size;
        char *copy = malloc(piece); /* gone afterwards: nothing may point into it */

        SSE_ORACLE(copy);
        memcpy(copy, p + at, piece);
        sse_feed(&reader, (struct span){ copy, piece });
        sse_drain(&reader, &raw, &events);
        free(copy);
        at += piece;
    }
    if (sse_rest(&reader, &rest)) {
        buf_append(&raw, rest.raw.p, rest.raw.n);
    }
    SSE_ORACLE(raw.len == n && (n == 0 || memcmp(buf_data(&raw), p, n) == 0));
    if (max_held >= n) {
        sse_plain_read(p, n, &plain);
        SSE_ORACLE(plain.len == events.len &&
                   memcmp(buf_data(&plain), buf_data(&events), plain.len) == 0);
    }
    sse_reader_finish(&reader);
    buf_finish(&raw);
    buf_finish(&events);
    buf_finish(&plain);
}
