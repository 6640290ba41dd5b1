// SPDX-License-Identifier: Apache-2.0
/*
 * Memory. The x-functions abort when memory is out: they are for small sizes that we choose
 * ourselves. A size that comes from outside goes through try_malloc/try_realloc and is answered
 * with an error.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>

#include "base/macros.h"

void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *p, size_t size) __attribute__((returns_nonnull));
void *xmemdup(const void *p, size_t size) __attribute__((malloc, returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
/* NULL stays NULL. */
char *xstrdup_opt(const char *s);
char *xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *fmt, ...) _printf_(1, 2) __attribute__((malloc, returns_nonnull));
char *xvasprintf(const char *fmt, va_list ap) __attribute__((malloc, returns_nonnull));

/* NULL when memory is out. */
void *try_malloc(size_t size) _must_check_;
void *try_realloc(void *p, size_t size) _must_check_;

/* For `_cleanup_(freep) char *s = NULL;`. */
void freep(void *pp);
/* For `_cleanup_(closep) int fd = -1;`. */
void closep(int *fd);
