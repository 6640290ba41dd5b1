// SPDX-License-Identifier: Apache-2.0
/*
 * The one-pass request scanner: checks that a text is one JSON object and hands back where chosen
 * members stand, without a tree and without allocation, so that the bytes can be passed on
 * untouched.
 *
 *     {"model": "tiny", "stream_options": {"include_usage": true}, "messages": [ ... ]}
 *               └─value┘
 *      └──── whole ────┘
 *
 * What it refuses (RFC 8259, read in one way only): anything after the object but blanks, a byte
 * order mark, bytes that are not UTF-8 (overlong forms and encoded surrogates too), control
 * characters in strings, unknown escapes, a \u surrogate without its partner (as jansson and the
 * engines do), nesting deeper than SCAN_DEPTH_MAX, and a wanted key that stands there twice. What
 * it lets pass, since values are the engine's business: numbers of any size (1e999, forty digits),
 * \u0000 in strings, duplicates of keys that nobody asked for.
 *
 * Any thread; nothing is kept between calls.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

enum { SCAN_DEPTH_MAX = 128 };

enum scan_type {
    SCAN_ABSENT,
    SCAN_NULL,
    SCAN_BOOL,
    SCAN_NUMBER,
    SCAN_STRING,
    SCAN_ARRAY,
    SCAN_OBJECT,
    SCAN_TYPE_MAX_
};

/*
 * One wanted member. name is given by the caller, the rest is filled in.
 * "stream_options.include_usage" is the member one level down; its parent, "stream_options", must
 * stand earlier in the same table. Names are shorter than 64 bytes; keys are compared unescaped
 * ("mo\u0064el" is model). The spans lie in the scanned text.
 */
struct scan_member {
    const char *name;
    enum scan_type type;
    struct span value; /* raw JSON text of the value, with its quotes or brackets */
    struct span whole; /* from the key's first quote to the value's end */
};

/*
 * Scans the whole text. 0, and every row of wanted is filled in (SCAN_ABSENT where there is none);
 * -EBADMSG when it is not JSON, -EINVAL when it is not an object or a wanted key stands there
 * twice, with the byte offset in the sentence and the table void.
 */
int scan_object(struct span text, struct scan_member *wanted, size_t count,
                struct error *reterr) _must_check_;

/* Where the object (or array) in this text opens: a member goes in at `at`, followed by a comma
 * unless it is empty. Of text that scan_object accepted, or the value of a member of type object or
 * array. */
struct scan_opening {
    const char *at; /* just after the bracket */
    bool empty;
};
struct scan_opening scan_opening(struct span container);

/* What to cut out of the text to remove a member: its whole and one of the commas beside it. Only
 * of a present member. */
struct span scan_cut(const struct scan_member *member);

/*
 * The value of a member, for C. An absent member is a bug of the caller (check type first); a value
 * of another type is -EINVAL, "'stream' must be a boolean".
 */
int scan_bool(const struct scan_member *member, bool *ret, struct error *reterr) _must_check_;
/* A whole number without fraction or exponent that fits. */
int scan_int(const struct scan_member *member, int64_t *ret, struct error *reterr) _must_check_;
/* Unescaped and terminated, owned by the caller. One that holds a NUL character is refused too. */
int scan_string(const struct scan_member *member, char **ret, struct error *reterr) _must_check_;
