// SPDX-License-Identifier: Apache-2.0
/* Borrowed pieces of text (spans) and strict conversions. Nothing here allocates unless it says so.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"

/* n bytes at p, not terminated, owned by somebody else. An absent span has p == NULL. */
struct span {
    const char *p;
    size_t n;
};

#define SPAN(literal) ((struct span){ "" literal, sizeof(literal) - 1 })
#define SPAN_ARG(s)   (int)(s).n, (s).p /* for "%.*s" */

static inline struct span span_of(const char *s)
{
    return (struct span){ s, s ? strlen(s) : 0 };
}

bool span_eq(struct span s, const char *text);
bool span_eq_nocase(struct span s, const char *text);
bool span_starts(struct span s, const char *prefix);
struct span span_trim(struct span s); /* of blanks and tabs */
/* Cuts s at the first `sep`: returns what stands before it, *s is what follows (absent when there
 * was no sep). */
struct span span_cut(struct span *s, char sep);
/* A terminated copy, owned by the caller. */
char *span_dup(struct span s);

static inline bool str_eq(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}
/* Both may be NULL; NULL equals only NULL. */
bool str_eq_opt(const char *a, const char *b);
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
/* How many letters must be put in, taken out or changed to make b of a; SIZE_MAX for words too long
 * to be anybody's typing (over 127 bytes). */
size_t str_distance(const char *a, const char *b);
bool is_valid_utf8(const char *p, size_t n);

/* Whole text must be a decimal number without sign, blanks or leading '+'. -EINVAL, -ERANGE. */
int span_to_u64(struct span s, uint64_t *ret) _must_check_;
/* The same with an optional '-'. */
int span_to_i64(struct span s, int64_t *ret) _must_check_;
/* "300s", "1.5h", "250ms", "2m", "1d", "2h45m"; a bare number is seconds. Negative durations are
 * refused. */
int str_to_duration_ms(const char *s, uint64_t *ret) _must_check_;
/* "32MiB", "4KiB", "1GiB", also K M G (binary) and kB MB GB (decimal); a bare number is bytes. */
int str_to_bytes(const char *s, uint64_t *ret) _must_check_;

/* Lower-case hex of n bytes into out (2n + 1 bytes). */
void hex_encode(const void *bytes, size_t n, char *out);

/* Compares two secrets without leaking by time where they differ. */
bool secret_eq(const char *a, const char *b);

/* Splits a command-line fragment into words: blanks separate, '...' and "..." and backslash quote
 * as in a POSIX shell, nothing is expanded or run. *ret_words is a NULL-terminated array owned by
 * the caller (str_list_free). -EINVAL for an open quote. */
int str_split_words(const char *s, char ***ret_words, struct error *reterr) _must_check_;
char **str_list_free(char **list);
void str_list_freep(char ***list);
