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

/* The object after the last "usage": in the bytes. */
static void look(struct usage *u, const char *p, size_t n)
{
    static const char needle[] = "\"usage\":";
    const char *end = p + n, *at = p;
    uint64_t prompt, completion, cached;

    while ((at = memmem(at, (size_t)(end - at), needle, sizeof(needle) - 1))) {
        at += sizeof(needle) - 1;
        if (!number_after(at, (size_t)(end - at), SPAN("\"prompt_tokens\""), &prompt)) {
            continue;
        }
        u->found = true;
        u->prompt_tokens = prompt;
        u->completion_tokens = 0;
        u->cached_tokens = 0;
        if (number_after(at, (size_t)(end - at), SPAN("\"completion_tokens\""), &completion)) {
            u->completion_tokens = completion;
        }
        if (number_after(at, (size_t)(end - at), SPAN("\"cached_tokens\""), &cached)) {
            u->cached_tokens = cached;
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
