// SPDX-License-Identifier: Apache-2.0
/* Token counts from passing bytes. */
#include "gateway/usage.h"

#include <string.h>

#include "base/macros.h"

/* The number after "key": within the n bytes at p; false when there is none, or when it may go on
 * beyond the end. */
static bool number_after(const char *p, size_t n, struct span key, uint64_t *ret)
{
    const char *end = p + n, *at = memmem(p, n, key.p, key.n);
    struct span digits;

    if (!at) {
        return false;
    }
    at += key.n;
    while (at < end && (*at == ' ' || *at == ':')) {
        at++;
    }
    digits.p = at;
    while (at < end && *at >= '0' && *at <= '9') {
        at++;
    }
    digits.n = (size_t)(at - digits.p);
    return at < end && span_to_u64(digits, ret) == 0;
}

/* The object that opens at p, as far as it stands there: no bracket occurs in it but its own. */
static size_t object_length(const char *p, size_t n)
{
    size_t depth = 0;

    for (size_t i = 0; i < n; i++) {
        depth += p[i] == '{';
        if (p[i] == '}' && --depth == 0) {
            return i + 1;
        }
    }
    return n;
}

static void read_counts(struct usage *u, struct span object)
{
    uint64_t prompt, read = 0, written = 0;
    bool found = number_after(object.p, object.n, SPAN("\"prompt_tokens\""), &prompt);

    /* Anthropic counts what the cache gave, or took, apart. */
    if (!found && number_after(object.p, object.n, SPAN("\"input_tokens\""), &prompt)) {
        found = true;
        (void)number_after(object.p, object.n, SPAN("\"cache_read_input_tokens\""), &read);
        (void)number_after(object.p, object.n, SPAN("\"cache_creation_input_tokens\""), &written);
    }
    if (found) {
        u->prompt_tokens = prompt + read + written;
        u->cached_tokens = read;
        (void)number_after(object.p, object.n, SPAN("\"cached_tokens\""), &u->cached_tokens);
    }
    found |=
        number_after(object.p, object.n, SPAN("\"completion_tokens\""), &u->completion_tokens) ||
        number_after(object.p, object.n, SPAN("\"output_tokens\""), &u->completion_tokens);
    u->found |= found;
}

/* Behind the first "usage": in the bytes; NULL when there is none. It is found by its g, which is
 * rare in what answers are made of: every byte of every answer passes here. */
static const char *behind_usage(const char *p, const char *end)
{
    static const char needle[] = "\"usage\":";
    enum { NEEDLE = sizeof(needle) - 1, G = 4 };

    while (end - p >= NEEDLE) {
        const char *g = memchr(p + G, 'g', (size_t)(end - p) - (NEEDLE - 1));

        if (!g || memcmp(g - G, needle, NEEDLE) == 0) {
            return g ? g - G + NEEDLE : NULL;
        }
        p = g - G + 1;
    }
    return NULL;
}

/* The objects after each "usage": in the bytes. */
static void look(struct usage *u, const char *p, size_t n)
{
    const char *end = p + n, *at = p;

    while ((at = behind_usage(at, end))) {
        while (at < end && *at == ' ') {
            at++;
        }
        if (at < end && *at == '{') {
            read_counts(u, (struct span){ at, object_length(at, (size_t)(end - at)) });
        }
    }
}

void usage_feed(struct usage *u, const char *p, size_t n)
{
    char joint[2 * USAGE_CARRY];
    size_t head = MIN_OF(n, (size_t)USAGE_CARRY), keep;

    if (u->carry_len > 0) {
        memcpy(joint, u->carry, u->carry_len);
        memcpy(joint + u->carry_len, p, head);
        look(u, joint, u->carry_len + head);
    }
    look(u, p, n);
    if (n >= USAGE_CARRY) {
        memcpy(u->carry, p + n - USAGE_CARRY, USAGE_CARRY);
        u->carry_len = USAGE_CARRY;
        return;
    }
    keep = MIN_OF(u->carry_len, USAGE_CARRY - n);
    memmove(u->carry, u->carry + u->carry_len - keep, keep);
    memcpy(u->carry + keep, p, n);
    u->carry_len = keep + n;
}
