// SPDX-License-Identifier: Apache-2.0
/*
 * Checks the scanner against jansson on any bytes; for the unit test and the fuzzer. Both must say
 * the same, but for what the scanner's header lists: jansson alone refuses what it cannot hold, the
 * scanner alone refuses depth and wanted duplicates.
 */
#pragma once

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "codec/scan.h"

#define ORACLE(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static const char *const scan_wanted[] = { "model", "stream", "stream_options",
                                           "stream_options.include_usage", "max_tokens" };
enum { SCAN_WANTED = ARRAY_SIZE(scan_wanted) };

static inline int scan_with_names(struct span text, struct scan_member m[SCAN_WANTED],
                                  struct error *e)
{
    for (size_t i = 0; i < SCAN_WANTED; i++) {
        m[i] = (struct scan_member){ .name = scan_wanted[i] };
    }
    return scan_object(text, m, SCAN_WANTED, e);
}

static inline unsigned json_levels(json_t *j)
{
    unsigned deepest = 0, d;
    const char *key;
    json_t *value;
    size_t i;

    json_array_foreach(j, i, value)
    {
        d = json_levels(value);
        deepest = MAX_OF(deepest, d);
    }
    json_object_foreach(j, key, value)
    {
        d = json_levels(value);
        deepest = MAX_OF(deepest, d);
    }
    return deepest + (json_is_array(j) || json_is_object(j));
}

static inline enum scan_type scan_type_of(const json_t *j)
{
    if (!j) {
        return SCAN_ABSENT;
    }
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        return SCAN_OBJECT;
    case JSON_ARRAY:
        return SCAN_ARRAY;
    case JSON_STRING:
        return SCAN_STRING;
    case JSON_INTEGER:
    case JSON_REAL:
        return SCAN_NUMBER;
    case JSON_NULL:
        return SCAN_NULL;
    default:
        return SCAN_BOOL;
    }
}

/* The text with [from, from + n) replaced. */
static inline struct buf scan_edited(struct span text, const char *from, size_t n, const char *by)
{
    struct buf b = BUF_INIT(16 << 20);

    ORACLE(from >= text.p && from + n <= text.p + text.n);
    buf_append(&b, text.p, (size_t)(from - text.p));
    buf_puts(&b, by);
    buf_append(&b, from + n, (size_t)(text.p + text.n - from) - n);
    return b;
}

/* A member is what jansson says it is, and can be cut out. */
static inline void scan_check_member(struct span text, const struct scan_member *all, size_t i,
                                     const json_t *expected)
{
    struct scan_member again[SCAN_WANTED];
    struct span cut;
    struct buf b;
    json_t *value;
    json_error_t je;

    ORACLE(all[i].type == scan_type_of(expected));
    if (!expected) {
        return;
    }
    value = json_loadb(all[i].value.p, all[i].value.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &je);
    ORACLE(value && json_equal(value, expected));
    json_decref(value);
    ORACLE(*all[i].whole.p == '"');
    ORACLE(all[i].whole.p + all[i].whole.n == all[i].value.p + all[i].value.n);
    cut = scan_cut(&all[i]);
    b = scan_edited(text, cut.p, cut.n, "");
    ORACLE(scan_with_names(buf_span(&b), again, NULL) == 0);
    ORACLE(again[i].type == SCAN_ABSENT);
    buf_finish(&b);
}

/* A member can be put in where scan_opening says. */
static inline void scan_check_opening(struct span text)
{
    struct scan_opening o = scan_opening(text);
    struct buf b = scan_edited(text, o.at, 0, o.empty ? "\"zz\":[1]" : "\"zz\":[1],");
    struct scan_member m = { .name = "zz" };
    int r = scan_object(buf_span(&b), &m, 1, NULL);

    ORACLE((r == 0 && m.type == SCAN_ARRAY) || r == -EINVAL); /* unless zz is there already */
    ORACLE(r == 0 || memmem(text.p, text.n, "zz", 2) || memmem(text.p, text.n, "\\u", 2));
    buf_finish(&b);
}

static inline void scan_check_accepted(struct span text, const struct scan_member *m, json_t *j)
{
    json_t *options = json_object_get(j, "stream_options");

    for (size_t i = 0; i < SCAN_WANTED; i++) {
        const char *dot = strchr(scan_wanted[i], '.');

        scan_check_member(text, m, i,
                          dot ? json_object_get(options, dot + 1)
                              : json_object_get(j, scan_wanted[i]));
    }
    scan_check_opening(text);
}

/* A NUL byte is legal nowhere, but jansson loses one that follows a word or a number. */
static inline void scan_check(const char *p, size_t n)
{
    struct span text = { p, n };
    struct scan_member m[SCAN_WANTED];
    struct error e = { 0 };
    json_error_t je;
    json_t *j, *strict;
    int r = scan_with_names(text, m, &e);

    ORACLE(r == 0 || (r < 0 && e.code == r && e.text[0]));
    if (n > 0 && memchr(p, '\0', n)) {
        ORACLE(r < 0);
        return;
    }
    j = json_loadb(p, n, JSON_ALLOW_NUL, &je);
    if (!j) {
        enum json_error_code code = json_error_code(&je);

        /* it stopped at what it cannot hold, and says nothing of the rest */
        ORACLE(r < 0 || code == json_error_numeric_overflow || code == json_error_null_byte_in_key);
        return;
    }
    if (!json_is_object(j) || json_levels(j) > SCAN_DEPTH_MAX) {
        ORACLE(r < 0);
    } else if (r < 0) {
        strict = json_loadb(p, n, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &je);
        ORACLE(!strict && strstr(e.text, "twice"));
    } else {
        scan_check_accepted(text, m, j);
    }
    json_decref(j);
}
