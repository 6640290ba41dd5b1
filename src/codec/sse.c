// SPDX-License-Identifier: Apache-2.0
/* The SSE reader finds an item's end byte by byte, keeping its place between feeds; only a whole
 * item is looked into. */
#include "codec/sse.h"

#include <assert.h>

void sse_reader_init(struct sse_reader *reader, size_t max_held)
{
    *reader = (struct sse_reader){ .first_line = true };
    buf_init(&reader->held, max_held);
    buf_init(&reader->joined, max_held);
}

void sse_reader_finish(struct sse_reader *reader)
{
    buf_finish(&reader->held);
    buf_finish(&reader->joined);
}

void sse_feed(struct sse_reader *reader, struct span bytes)
{
    assert(reader->fed.n == 0);
    reader->fed = bytes;
}

static bool is_line_end(char c)
{
    return c == '\n' || c == '\r';
}

/* Just behind the line end at p (one byte, or CRLF), noting a CR that stands last. */
static const char *skip_line_end(struct sse_reader *reader, const char *p, const char *end)
{
    bool cr = *p++ == '\r';

    if (cr && p < end && *p == '\n') {
        return p + 1;
    }
    reader->after_cr = cr && p == end;
    return p;
}

/* Goes on through the fed bytes from where the last call stopped. Just behind the item's end, or
 * NULL. */
static const char *find_end(struct sse_reader *reader)
{
    const char *p = reader->fed.p, *end = p + reader->fed.n;

    if (reader->after_cr && p < end) {
        p += *p == '\n';
        reader->after_cr = false;
    }
    while (p < end) {
        bool blank, ends;

        if (!reader->in_line && reader->first_line) {
            reader->comment = *p == ':';
        }
        blank = !reader->in_line && is_line_end(*p);
        while (p < end && !is_line_end(*p)) {
            p++;
        }
        reader->in_line = p == end;
        if (reader->in_line) {
            return NULL;
        }
        ends = blank || (reader->first_line && reader->comment);
        reader->first_line = ends;
        p = skip_line_end(reader, p, end);
        if (ends) {
            return p;
        }
    }
    return NULL;
}

/* Another data line: the first is given as it stands, more of them are joined. */
static void add_data(struct sse_reader *reader, struct sse_event *event, struct span line)
{
    if (!event->data.p) {
        event->data = line;
        return;
    }
    if (reader->joined.len == 0) {
        buf_append(&reader->joined, event->data.p, event->data.n);
    }
    buf_putc(&reader->joined, '\n');
    buf_append(&reader->joined, line.p, line.n);
    event->data = buf_span(&reader->joined);
}

static void read_line(struct sse_reader *reader, struct sse_event *event, struct span line)
{
    struct span value = line;
    struct span field = span_cut(&value, ':');

    if (!value.p) {
        value = (struct span){ line.p + line.n, 0 };
    } else if (value.n > 0 && value.p[0] == ' ') {
        value.p++;
        value.n--;
    }
    if (span_eq(field, "data")) {
        add_data(reader, event, value);
    } else if (span_eq(field, "event")) {
        event->name = value;
    } else if (span_eq(field, "id")) {
        event->id = value;
    }
}

/* Looks into a whole item. */
static void examine(struct sse_reader *reader, struct span raw, struct sse_event *ret)
{
    const char *p = raw.p, *end = p + raw.n;

    *ret = (struct sse_event){ .raw = raw, .whole = true };
    buf_clear(&reader->joined);
    if (!reader->begun && span_starts(raw, "\xEF\xBB\xBF")) {
        p += 3; /* a byte order mark, which the format allows at the very front */
    }
    reader->begun = true;
    while (p < end) {
        const char *from = p;

        while (p < end && !is_line_end(*p)) {
            p++;
        }
        if (p > from) {
            read_line(reader, ret, (struct span){ from, (size_t)(p - from) });
        }
        p += p < end;
    }
    if (reader->joined.overflow) {
        *ret = (struct sse_event){ .raw = raw };
    }
}

static void take_fed(struct sse_reader *reader, size_t n)
{
    reader->fed.p += n;
    reader->fed.n -= n;
}

/* Hands out n of the fed bytes unexamined. */
static bool pass_fed(struct sse_reader *reader, size_t n, bool ends, struct sse_event *ret)
{
    *ret = (struct sse_event){ .raw = { reader->fed.p, n } };
    take_fed(reader, n);
    reader->passing = !ends;
    reader->begun = true;
    return true;
}

static bool give_held(struct sse_reader *reader)
{
    reader->held_is_given = true;
    return true;
}

bool sse_next(struct sse_reader *reader, struct sse_event *ret)
{
    struct sse_reader before = *reader;
    const char *end;
    char *to;
    size_t n;

    if (reader->held_is_given) {
        buf_clear(&reader->held);
        reader->held_is_given = false;
    }
    if (reader->fed.n == 0) {
        return false;
    }
    end = find_end(reader);
    n = end ? (size_t)(end - reader->fed.p) : reader->fed.n;
    if (reader->passing) {
        return pass_fed(reader, n, end, ret);
    }
    if (end && reader->held.len == 0) {
        examine(reader, (struct span){ reader->fed.p, n }, ret);
        take_fed(reader, n);
        return true;
    }
    to = buf_reserve(&reader->held, n);
    if (!to) { /* too long to hold */
        if (reader->held.len == 0) {
            return pass_fed(reader, n, false, ret);
        }
        /* what is held goes first; the fed bytes are walked again by the next call */
        reader->after_cr = before.after_cr;
        reader->in_line = before.in_line;
        reader->first_line = before.first_line;
        reader->comment = before.comment;
        reader->passing = true;
        *ret = (struct sse_event){ .raw = buf_span(&reader->held) };
        return give_held(reader);
    }
    memcpy(to, reader->fed.p, n);
    buf_added(&reader->held, n);
    take_fed(reader, n);
    if (!end) {
        return false;
    }
    examine(reader, buf_span(&reader->held), ret);
    return give_held(reader);
}

bool sse_rest(struct sse_reader *reader, struct sse_event *ret)
{
    assert(reader->fed.n == 0);
    if (reader->held_is_given || reader->held.len == 0) {
        return false;
    }
    *ret = (struct sse_event){ .raw = buf_span(&reader->held) };
    return give_held(reader);
}

static bool is_one_line(const char *s)
{
    return !strpbrk(s, "\r\n");
}

/* An append that failed is taken back. */
static int end_write(struct buf *out, size_t before, bool overflow_before)
{
    if (!out->overflow) {
        return 0;
    }
    out->len = before;
    out->overflow = overflow_before;
    if (out->mem) {
        out->mem[out->start + out->len] = '\0';
    }
    return -EFBIG;
}

static void write_data(struct buf *out, struct span data)
{
    const char *p = data.p, *end = p + data.n;

    for (;;) {
        const char *from = p;

        while (p < end && !is_line_end(*p)) {
            p++;
        }
        buf_puts(out, "data: ");
        buf_append(out, from, (size_t)(p - from));
        buf_putc(out, '\n');
        if (p == end) {
            return;
        }
        p += end - p > 1 && p[0] == '\r' && p[1] == '\n' ? 2 : 1;
    }
}

int sse_write_event(struct buf *out, const char *name, const char *id, struct span data)
{
    size_t before = out->len;
    bool overflow_before = out->overflow;

    assert((!name || is_one_line(name)) && (!id || is_one_line(id)));
    out->overflow = false;
    if (id) {
        buf_printf(out, "id: %s\n", id);
    }
    if (name) {
        buf_printf(out, "event: %s\n", name);
    }
    write_data(out, data.p ? data : SPAN(""));
    buf_putc(out, '\n');
    return end_write(out, before, overflow_before);
}

int sse_write_comment(struct buf *out, const char *text)
{
    size_t before = out->len;
    bool overflow_before = out->overflow;

    assert(is_one_line(text));
    out->overflow = false;
    buf_printf(out, ": %s\n\n", text);
    return end_write(out, before, overflow_before);
}
