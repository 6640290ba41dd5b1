// SPDX-License-Identifier: Apache-2.0
/* Server-sent events: finding where one ends, and writing them. */
#include "codec/sse.h"

void sse_reader_init(struct sse_reader *r)
{
    *r = (struct sse_reader){ .held = BUF_INIT(SSE_EVENT_MAX) };
}

void sse_reader_finish(struct sse_reader *r)
{
    buf_finish(&r->held);
}

/* Length of the line end at p[i]; 0 when there is none, -1 when a CR is the last byte and an LF may follow. */
static int line_end_at(const char *p, size_t n, size_t i)
{
    if (p[i] == '\n') {
        return 1;
    }
    if (p[i] == '\r') {
        return i + 1 == n ? -1 : p[i + 1] == '\n' ? 2 : 1;
    }
    return 0;
}

/* The bytes up to the end of the first event, its blank line included; 0 when it is not whole. `from`: where nothing was found before. */
static size_t event_end(const char *p, size_t n, size_t from)
{
    for (size_t i = from; i < n; i++) {
        int first, second;

        if (p[i] != '\n' && p[i] != '\r') {
            const char *lf = memchr(p + i, '\n', n - i), *cr = memchr(p + i, '\r', lf ? (size_t)(lf - p) - i : n - i);
            const char *next = cr ? cr : lf;

            if (!next) {
                return 0;
            }
            i = (size_t)(next - p);
        }
        first = line_end_at(p, n, i);
        if (first < 0 || i + (size_t)first >= n) {
            return 0;
        }
        second = line_end_at(p, n, i + (size_t)first);
        if (second < 0) {
            return 0;
        }
        if (second > 0) {
            return i + (size_t)(first + second);
        }
        i += (size_t)first - 1;
    }
    return 0;
}

static struct span find_data(struct span raw)
{
    while (raw.n > 0) {
        const char *end = raw.p;
        struct span line;

        while (end < raw.p + raw.n && *end != '\n' && *end != '\r') {
            end++;
        }
        line = (struct span){ raw.p, (size_t)(end - raw.p) };
        if (span_starts(line, "data:")) {
            size_t skip = line.n > 5 && line.p[5] == ' ' ? 6 : 5;

            return (struct span){ line.p + skip, line.n - skip };
        }
        raw.n -= MIN_OF(raw.n, line.n + 1);
        raw.p = end + 1;
    }
    return (struct span){ NULL, 0 };
}

static void give(struct sse_event *ret, const char *p, size_t n)
{
    ret->raw = (struct span){ p, n };
    ret->data = find_data(ret->raw);
}

static void advance(struct span *s, size_t n)
{
    s->p += n;
    s->n -= n;
}

/* Nothing is held: events are taken straight from what was fed. */
static int read_direct(struct sse_reader *r, struct span *fed, struct sse_event *ret)
{
    size_t n = event_end(fed->p, fed->n, 0);

    if (n > 0) {
        give(ret, fed->p, n);
        advance(fed, n);
        return 1;
    }
    if (fed->n >= SSE_EVENT_MAX) {
        *ret = (struct sse_event){ .raw = *fed };
        r->oversize = true;
        advance(fed, fed->n);
        return 1;
    }
    (void)buf_append(&r->held, fed->p, fed->n);
    advance(fed, fed->n);
    return 0;
}

/* Something is held: the event ends somewhere in what was fed now, or not yet. Up to 3 held bytes may belong to its line ends. */
static int read_held(struct sse_reader *r, struct span *fed, struct sse_event *ret)
{
    size_t before = r->held.len, from = before > 4 ? before - 4 : 0, n;

    if (buf_append(&r->held, fed->p, fed->n) < 0) {
        give(ret, buf_data(&r->held), r->held.len);
        ret->data = (struct span){ NULL, 0 };
        r->give_back = r->oversize = true;
        return 1;
    }
    n = event_end(buf_data(&r->held), r->held.len, from);
    if (n == 0) {
        advance(fed, fed->n);
        return 0;
    }
    r->held.len = n; /* the rest goes on from fed */
    advance(fed, n - before);
    give(ret, buf_data(&r->held), n);
    r->give_back = true;
    return 1;
}

/* The rest of an event too large to hold. Its end is looked for in each piece alone: a blank line cut in two is found with the next event's. */
static int read_oversize(struct sse_reader *r, struct span *fed, struct sse_event *ret)
{
    size_t n = event_end(fed->p, fed->n, 0);

    r->oversize = n == 0;
    n = n ? n : fed->n;
    *ret = (struct sse_event){ .raw = { fed->p, n } };
    advance(fed, n);
    return 1;
}

int sse_read(struct sse_reader *r, struct span *fed, struct sse_event *ret)
{
    if (r->give_back) {
        buf_clear(&r->held);
        r->give_back = false;
    }
    if (fed->n == 0) {
        return 0;
    }
    if (r->oversize) {
        return read_oversize(r, fed, ret);
    }
    return r->held.len > 0 ? read_held(r, fed, ret) : read_direct(r, fed, ret);
}

struct span sse_reader_rest(const struct sse_reader *r)
{
    return r->give_back ? (struct span){ "", 0 } : buf_span(&r->held);
}

void sse_write_event(struct buf *out, int64_t id, const char *event, struct span data)
{
    if (id) {
        buf_printf(out, "id: %lld\n", (long long)id);
    }
    if (event) {
        buf_printf(out, "event: %s\n", event);
    }
    buf_puts(out, "data: ");
    buf_append(out, data.p, data.n);
    buf_puts(out, "\n\n");
}

void sse_write_comment(struct buf *out, const char *text)
{
    buf_printf(out, ": %s\n\n", text);
}
