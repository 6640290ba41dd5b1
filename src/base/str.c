// SPDX-License-Identifier: Apache-2.0
/* Spans and strict conversions. */
#include "base/str.h"

#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

#include "base/buf.h"
#include "base/mem.h"

bool span_eq(struct span s, const char *text)
{
    size_t n = strlen(text);

    return s.p && s.n == n && memcmp(s.p, text, n) == 0;
}

bool span_eq_nocase(struct span s, const char *text)
{
    size_t n = strlen(text);

    return s.p && s.n == n && strncasecmp(s.p, text, n) == 0;
}

bool span_starts(struct span s, const char *prefix)
{
    size_t n = strlen(prefix);

    return s.p && s.n >= n && memcmp(s.p, prefix, n) == 0;
}

struct span span_trim(struct span s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) {
        s.n--;
    }
    return s;
}

struct span span_cut(struct span *s, char sep)
{
    const char *at = s->n ? memchr(s->p, sep, s->n) : NULL;
    struct span head = *s;

    if (!at) {
        *s = (struct span){ NULL, 0 };
        return head;
    }
    head.n = (size_t)(at - s->p);
    s->p = at + 1;
    s->n -= head.n + 1;
    return head;
}

char *span_dup(struct span s)
{
    return xstrndup(s.p ? s.p : "", s.n);
}

bool str_eq_opt(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);

    return n >= m && strcmp(s + n - m, suffix) == 0;
}

/* Length of the well-formed sequence at p (Unicode table 3-7), or 0. */
static size_t utf8_sequence(const unsigned char *p, size_t n)
{
    unsigned char lo = 0x80, hi = 0xBF;
    size_t len;

    if (p[0] < 0x80) {
        return 1;
    }
    if (p[0] < 0xC2 || p[0] > 0xF4) {
        return 0;
    }
    len = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (p[0] == 0xE0) {
        lo = 0xA0;
    } else if (p[0] == 0xED) {
        hi = 0x9F;
    } else if (p[0] == 0xF0) {
        lo = 0x90;
    } else if (p[0] == 0xF4) {
        hi = 0x8F;
    }
    if (n < len || p[1] < lo || p[1] > hi) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return len;
}

size_t str_distance(const char *a, const char *b)
{
    enum { LONGEST = 127 };
    const size_t n = strlen(a), m = strlen(b);
    size_t row[LONGEST + 1];

    if (n > LONGEST || m > LONGEST) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= m; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            const size_t above = row[j];
            const size_t change = diagonal + (a[i - 1] != b[j - 1]);

            row[j] = MIN_OF(change, MIN_OF(above, row[j - 1]) + 1);
            diagonal = above;
        }
    }
    return row[m];
}

bool is_valid_utf8(const char *p, size_t n)
{
    for (size_t i = 0, len; i < n; i += len) {
        len = utf8_sequence((const unsigned char *)p + i, n - i);
        if (len == 0) {
            return false;
        }
    }
    return true;
}

int span_to_u64(struct span s, uint64_t *ret)
{
    uint64_t v = 0;

    if (s.n == 0) {
        return -EINVAL;
    }
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return -EINVAL;
        }
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v)) {
            return -ERANGE;
        }
    }
    *ret = v;
    return 0;
}

int span_to_i64(struct span s, int64_t *ret)
{
    bool negative = s.n > 0 && s.p[0] == '-';
    uint64_t v;
    int r;

    if (negative) {
        s.p++;
        s.n--;
    }
    r = span_to_u64(s, &v);
    if (r < 0) {
        return r;
    }
    if (v > (uint64_t)INT64_MAX + (negative ? 1 : 0)) {
        return -ERANGE;
    }
    *ret = negative ? (int64_t)(0 - v) : (int64_t)v;
    return 0;
}

struct unit {
    const char *name;
    double factor;
};

/* number[unit]: the number is decimal, with at most one point; the empty unit takes the first row.
 */
static int parse_with_unit(const char *s, const struct unit *units, size_t count, uint64_t *ret)
{
    double v = 0, scale = 1;
    const char *p = s;
    bool point = false;
    int digits = 0;

    for (; (*p >= '0' && *p <= '9') || (*p == '.' && !point); p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        v = v * 10 + (*p - '0');
        scale *= point ? 10 : 1;
        digits++;
    }
    if (digits == 0 || digits > 15) {
        return -EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        if (str_eq(p, units[i].name)) {
            v = v / scale * units[i].factor;
            if (v > 9e15) {
                return -ERANGE;
            }
            *ret = (uint64_t)(v + 0.5);
            return 0;
        }
    }
    return -EINVAL;
}

/* Cuts "45m" off "45m10s" into out. False when it is too long to be one. */
static bool cut_duration(const char **s, char out[32])
{
    size_t n = strspn(*s, "0123456789.");

    n += strcspn(*s + n, "0123456789.");
    if (n >= 32) {
        return false;
    }
    memcpy(out, *s, n);
    out[n] = '\0';
    *s += n;
    return true;
}

enum { DURATION_MAX_MS = 9000000000000000 }; /* of a part, and of the sum */

int str_to_duration_ms(const char *s, uint64_t *ret)
{
    static const struct unit units[] = { { "ms", 1 },         { "s", 1000 },        { "m", 60000 },
                                         { "h", 3600 * 1e3 }, { "d", 86400 * 1e3 }, { "", 1000 } };
    uint64_t sum = 0, ms;
    const char *rest = s;
    char part[32];
    int r;

    do {
        bool whole = rest == s;

        if (!cut_duration(&rest, part)) {
            return -EINVAL;
        }
        /* A bare number stands alone. */
        r = parse_with_unit(part, units, ARRAY_SIZE(units) - !(whole && !*rest), &ms);
        if (r < 0) {
            return r;
        }
        sum += ms;
        if (sum > DURATION_MAX_MS) {
            return -ERANGE;
        }
    } while (*rest);
    *ret = sum;
    return 0;
}

int str_to_bytes(const char *s, uint64_t *ret)
{
    static const struct unit units[] = {
        { "", 1 },
        { "B", 1 },
        { "K", 1024.0 },
        { "KiB", 1024.0 },
        { "kB", 1e3 },
        { "KB", 1e3 },
        { "M", 1048576.0 },
        { "MiB", 1048576.0 },
        { "MB", 1e6 },
        { "G", 1073741824.0 },
        { "GiB", 1073741824.0 },
        { "GB", 1e9 },
        { "T", 1099511627776.0 },
        { "TiB", 1099511627776.0 },
        { "TB", 1e12 },
    };

    return parse_with_unit(s, units, ARRAY_SIZE(units), ret);
}

void hex_encode(const void *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *p = bytes;

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = '\0';
}

bool secret_eq(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    unsigned char diff = n != m;

    for (size_t i = 0; i < n; i++) {
        diff |= (unsigned char)(a[i] ^ (m ? b[i % m] : 1));
    }
    return diff == 0;
}

/* One word of a command line, from *s on; quotes are taken off. */
static int take_word(const char **s, struct buf *word)
{
    char quote = 0;
    const char *p;

    for (p = *s; *p && (quote || !isspace((unsigned char)*p)); p++) {
        if (quote == 0 && (*p == '\'' || *p == '"')) {
            quote = *p;
        } else if (quote != 0 && *p == quote) {
            quote = 0;
        } else if (*p == '\\' && quote != '\'' && p[1] &&
                   (quote == 0 || p[1] == '"' || p[1] == '\\')) {
            buf_putc(word, *++p);
        } else {
            buf_putc(word, *p);
        }
    }
    *s = p;
    return quote ? -EINVAL : 0;
}

int str_split_words(const char *s, char ***ret_words, struct error *reterr)
{
    _cleanup_(str_list_freep) char **words = xcalloc(1, sizeof(*words));
    size_t count = 0;

    for (;;) {
        struct buf word = BUF_INIT(1 << 20);

        while (isspace((unsigned char)*s)) {
            s++;
        }
        if (!*s) {
            break;
        }
        if (take_word(&s, &word) < 0) {
            buf_finish(&word);
            return error_set(reterr, -EINVAL, "a quote is not closed");
        }
        words = xrealloc(words, (count + 2) * sizeof(*words));
        words[count++] = buf_take(&word, NULL);
        words[count] = NULL;
    }
    *ret_words = TAKE_PTR(words);
    return 0;
}

char **str_list_free(char **list)
{
    for (char **p = list; p && *p; p++) {
        free(*p);
    }
    free(list);
    return NULL;
}

void str_list_freep(char ***list)
{
    *list = str_list_free(*list);
}
