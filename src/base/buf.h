// SPDX-License-Identifier: Apache-2.0
/*
 * A growing byte buffer with a maximum set at birth. Bytes are appended at the end and consumed at
 * the front:
 *
 *     data ──► [ consumed | len bytes that stand | free ]
 *
 * Appending beyond the maximum fails with -EFBIG, changes nothing and sets `overflow`, so that a
 * row of appends can be checked once at the end. There is always a terminating NUL after the bytes
 * that stand (not counted), so text can be read as a C string.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/str.h"

struct buf {
    char *mem;     /* allocation; NULL while empty */
    size_t start;  /* first byte that stands */
    size_t len;    /* how many stand */
    size_t cap;    /* of mem */
    size_t max;    /* of len */
    bool overflow; /* an append was refused since the last clear */
};

#define BUF_INIT(max_bytes) ((struct buf){ .max = (max_bytes) })

void buf_init(struct buf *b, size_t max);
/* Frees the memory; the buffer stays usable and keeps its maximum. */
void buf_finish(struct buf *b);

/* The bytes that stand, NUL after them; "" when empty. Void after the next append. */
const char *buf_data(const struct buf *b);
static inline struct span buf_span(const struct buf *b)
{
    return (struct span){ buf_data(b), b->len };
}
/* Room for n more bytes: where to write them (then buf_added), or NULL beyond the maximum. */
char *buf_reserve(struct buf *b, size_t n) _must_check_;
void buf_added(struct buf *b, size_t n);

int buf_append(struct buf *b, const void *p, size_t n);
int buf_puts(struct buf *b, const char *s);
int buf_putc(struct buf *b, char c);
/* A whole number in digits. */
int buf_put_int(struct buf *b, int64_t n);
int buf_printf(struct buf *b, const char *fmt, ...) _printf_(2, 3);
int buf_vprintf(struct buf *b, const char *fmt, va_list ap);
/* Appends s as the inside of a JSON string (escaped, without the quotes). */
int buf_put_json_escaped(struct buf *b, const char *s, size_t n);

void buf_consume(struct buf *b, size_t n);
void buf_clear(struct buf *b);
/* The bytes as a C string owned by the caller; the buffer is empty afterwards. */
char *buf_take(struct buf *b, size_t *ret_len);
