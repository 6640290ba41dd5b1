// SPDX-License-Identifier: Apache-2.0
/* The growing buffer: doubles, slides its bytes to the front before it grows, never passes its
 * maximum. */
#include "base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { SMALLEST = 128 };

void buf_init(struct buf *b, size_t max)
{
    *b = BUF_INIT(max);
}

void buf_finish(struct buf *b)
{
    free(b->mem);
    *b = BUF_INIT(b->max);
}

const char *buf_data(const struct buf *b)
{
    return b->mem ? b->mem + b->start : "";
}

static bool grow(struct buf *b, size_t need)
{
    size_t cap = b->cap ? b->cap : SMALLEST;
    char *mem;

    while (cap < need) {
        cap *= 2;
    }
    mem = try_realloc(b->mem, cap);
    if (!mem) {
        return false;
    }
    b->mem = mem;
    b->cap = cap;
    return true;
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (n > b->max - b->len) {
        b->overflow = true;
        return NULL;
    }
    if (b->start + b->len + n + 1 > b->cap) {
        if (b->start > 0) {
            memmove(b->mem, b->mem + b->start, b->len);
            b->start = 0;
        }
        if (b->len + n + 1 > b->cap && !grow(b, b->len + n + 1)) {
            b->overflow = true;
            return NULL;
        }
    }
    return b->mem + b->start + b->len;
}

void buf_added(struct buf *b, size_t n)
{
    b->len += n;
    assert(b->start + b->len < b->cap);
    b->mem[b->start + b->len] = '\0';
}

int buf_append(struct buf *b, const void *p, size_t n)
{
    char *to;

    if (n == 0) {
        return 0;
    }
    to = buf_reserve(b, n);
    if (!to) {
        return -EFBIG;
    }
    memcpy(to, p, n);
    buf_added(b, n);
    return 0;
}

int buf_puts(struct buf *b, const char *s)
{
    return buf_append(b, s, strlen(s));
}

int buf_putc(struct buf *b, char c)
{
    return buf_append(b, &c, 1);
}

int buf_put_int(struct buf *b, int64_t n)
{
    char digits[24], *p = digits + sizeof(digits);
    uint64_t left = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;

    do {
        *--p = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (n < 0) {
        *--p = '-';
    }
    return buf_append(b, p, (size_t)(digits + sizeof(digits) - p));
}

int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    char piece[512], *to;
    va_list again;
    int n;

    va_copy(again, ap);
    n = vsnprintf(piece, sizeof(piece), fmt, again);
    va_end(again);
    if (n < 0) {
        return -EINVAL;
    }
    if (n > 0 && (size_t)n < sizeof(piece)) {
        return buf_append(b, piece, (size_t)n);
    }
    to = buf_reserve(b, (size_t)n);
    if (!to) {
        return -EFBIG;
    }
    if (n > 0) {
        vsnprintf(to, (size_t)n + 1, fmt, ap);
        buf_added(b, (size_t)n);
    }
    return 0;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = buf_vprintf(b, fmt, ap);
    va_end(ap);
    return r;
}

static char short_escape(unsigned char c)
{
    switch (c) {
    case '"':
    case '\\':
        return (char)c;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

int buf_put_json_escaped(struct buf *b, const char *s, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    size_t from = 0;

    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        char esc[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };
        size_t esc_len = 6;

        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        if (short_escape(c)) {
            esc[1] = short_escape(c);
            esc_len = 2;
        }
        buf_append(b, s + from, i - from);
        buf_append(b, esc, esc_len);
        from = i + 1;
    }
    buf_append(b, s + from, n - from);
    return b->overflow ? -EFBIG : 0;
}

void buf_consume(struct buf *b, size_t n)
{
    assert(n <= b->len);
    b->start += n;
    b->len -= n;
    if (b->len == 0 && b->mem) {
        b->start = 0;
        b->mem[0] = '\0';
    }
}

void buf_clear(struct buf *b)
{
    b->start = b->len = 0;
    b->overflow = false;
    if (b->mem) {
        b->mem[0] = '\0';
    }
}

char *buf_take(struct buf *b, size_t *ret_len)
{
    char *out;

    if (b->start > 0) {
        memmove(b->mem, b->mem + b->start, b->len + 1);
    }
    out = b->mem ? b->mem : xstrdup("");
    if (ret_len) {
        *ret_len = b->len;
    }
    *b = BUF_INIT(b->max);
    return out;
}
