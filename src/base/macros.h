// SPDX-License-Identifier: Apache-2.0
/* The few compiler words that the whole house uses. */
#pragma once

#include <stddef.h>

#define _must_check_        __attribute__((warn_unused_result))
#define _cleanup_(fn)       __attribute__((cleanup(fn)))
#define _printf_(fmt, args) __attribute__((format(printf, fmt, args)))
#define _unused_            __attribute__((unused))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* The struct of type `type` whose member `member` lies at `ptr`. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Hands an owned pointer over: its value, and the variable is NULL afterwards. */
#define TAKE_PTR(p)                                                                                \
    ({                                                                                             \
        __typeof__(p) taken_ = (p);                                                                \
        (p) = NULL;                                                                                \
        taken_;                                                                                    \
    })

/* Drops const of a pointer that a C library takes as non-const but does not write through. */
#define UNCONST(type, p) ((type)(uintptr_t)(p))

#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))
