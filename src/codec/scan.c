// SPDX-License-Identifier: Apache-2.0
/*
 * The scanner's two halves: `skip_*` move over one JSON thing and refuse what is not JSON;
 * `scan_members` does the same for the members of the first two levels, noting those that are
 * wanted. Nesting is counted in a row of bits, never in C stack.
 */
#include "codec/scan.h"

#include <assert.h>
#include <stdlib.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/mem.h"

enum { NAME_MAX_BYTES = 64 };

struct scanner {
    const char *start, *p, *end;
    struct scan_member *wanted;
    size_t count;
    unsigned depth;
    uint64_t
        objects[(SCAN_DEPTH_MAX + 63) / 64]; /* bit n: container n is an object, not an array */
    struct error *reterr;
};

/* A string as it stands in the text. */
struct raw_string {
    struct span inside; /* between the quotes */
    bool escaped;       /* holds a backslash */
};

static __attribute__((cold, noinline)) int fail(const struct scanner *s, const char *what)
{
    size_t at = (size_t)(s->p - s->start);

    if (s->p >= s->end) {
        return error_set(s->reterr, -EBADMSG, "invalid JSON: the text ends at byte %zu, where %s",
                         at, what);
    }
    return error_set(s->reterr, -EBADMSG, "invalid JSON at byte %zu: %s", at, what);
}

/* The next byte, or 0 (which is legal nowhere) at the end. */
static inline char peek(const struct scanner *s)
{
    return s->p < s->end ? *s->p : '\0';
}

static inline bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static inline void skip_blanks(struct scanner *s)
{
    while (s->p < s->end && is_blank(*s->p)) {
        s->p++;
    }
}

/* The first byte from p on that is a quote, a backslash, a control character or not ASCII. */
static inline const char *skip_plain(const char *p, const char *end)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\');
    const __m128i blank = _mm_set1_epi8(' ');

    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        /* compared as signed bytes, what is not ASCII is below a blank too */
        __m128i hit =
            _mm_or_si128(_mm_cmplt_epi8(v, blank),
                         _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash)));
        int mask = _mm_movemask_epi8(hit);

        if (mask) {
            return p + __builtin_ctz((unsigned)mask);
        }
    }
#else
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;

    for (; end - p >= 8; p += 8) {
        uint64_t v, quote, backslash;

        memcpy(&v, p, 8);
        quote = v ^ (ones * '"');
        backslash = v ^ (ones * '\\');
        /* may stop early behind a borrow, never late: the byte loop below looks again */
        if ((v | (v - ones * ' ') | (quote - ones) | (backslash - ones)) & tops) {
            break;
        }
    }
#endif
    while (p < end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80 && *p != '"' &&
           *p != '\\') {
        p++;
    }
    return p;
}

static inline bool is_continuation(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

/* Length of the well-formed multi-byte sequence at p (Unicode, table 3-7), or 0. */
static inline size_t utf8_length(const char *p, const char *end)
{
    unsigned char a = (unsigned char)p[0];
    unsigned char b = end - p > 1 ? (unsigned char)p[1] : 0;

    if (a >= 0xE1 && a <= 0xEF && a != 0xED) {
        return end - p > 2 && is_continuation(p[1]) && is_continuation(p[2]) ? 3 : 0;
    }
    if (a >= 0xC2 && a <= 0xDF) {
        return is_continuation((char)b) ? 2 : 0;
    }
    if (a == 0xE0 || a == 0xED) {
        bool second = a == 0xE0 ? b >= 0xA0 && b <= 0xBF : b >= 0x80 && b <= 0x9F;

        return second && end - p > 2 && is_continuation(p[2]) ? 3 : 0;
    }
    if (a >= 0xF0 && a <= 0xF4) {
        bool second = b >= (a == 0xF0 ? 0x90 : 0x80) && b <= (a == 0xF4 ? 0x8F : 0xBF);

        return second && end - p > 3 && is_continuation(p[2]) && is_continuation(p[3]) ? 4 : 0;
    }
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits behind "\u" at p, or -1. */
static int32_t hex4(const char *p, const char *end)
{
    int32_t v = 0;

    if (end - p < 6 || p[0] != '\\' || p[1] != 'u') {
        return -1;
    }
    for (int i = 2; i < 6; i++) {
        int digit = hex_digit(p[i]);

        if (digit < 0) {
            return -1;
        }
        v = v << 4 | digit;
    }
    return v;
}

/* Reads the escape at p: its code point, and in *ret_len its length in the text. -1 when there is
 * none. */
static int32_t read_escape(const char *p, const char *end, size_t *ret_len)
{
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *letter = end - p > 1 && p[1] ? strchr(letters, p[1]) : NULL;
    int32_t high, low;

    if (letter) {
        *ret_len = 2;
        return meant[letter - letters];
    }
    high = hex4(p, end);
    *ret_len = 6;
    if (high < 0xD800 || high > 0xDFFF) {
        return high;
    }
    low = high < 0xDC00 ? hex4(p + 6, end) : -1;
    *ret_len = 12;
    return low >= 0xDC00 && low <= 0xDFFF ? 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00) : -1;
}

/* At a quote. */
static int skip_string(struct scanner *s, struct raw_string *ret)
{
    const char *first = ++s->p;
    size_t len;

    ret->escaped = false;
    for (;;) {
        s->p = skip_plain(s->p, s->end);
        if (s->p >= s->end) {
            return fail(s, "a string is not closed");
        }
        if (*s->p == '"') {
            ret->inside = (struct span){ first, (size_t)(s->p - first) };
            s->p++;
            return 0;
        }
        if (*s->p == '\\') {
            ret->escaped = true;
            if (read_escape(s->p, s->end, &len) < 0) {
                return fail(s, "an escape is not one of JSON's, or half of a surrogate pair");
            }
            s->p += len;
            continue;
        }
        if ((unsigned char)*s->p < 0x20) {
            return fail(s, "a control character stands in a string");
        }
        do { /* text that is not ASCII comes in runs */
            len = utf8_length(s->p, s->end);
            if (len == 0) {
                return fail(s, "a string is not UTF-8");
            }
            s->p += len;
        } while (s->p < s->end && (unsigned char)*s->p >= 0x80);
    }
}

/* At least one digit. */
static bool skip_digits(struct scanner *s)
{
    const char *from = s->p;

    while (s->p < s->end && *s->p >= '0' && *s->p <= '9') {
        s->p++;
    }
    return s->p > from;
}

static int skip_number(struct scanner *s)
{
    if (peek(s) == '-') {
        s->p++;
    }
    if (peek(s) == '0') {
        s->p++;
    } else if (!skip_digits(s)) {
        return fail(s, "a value was expected");
    }
    if (peek(s) == '.') {
        s->p++;
        if (!skip_digits(s)) {
            return fail(s, "digits were expected");
        }
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        s->p++;
        if (peek(s) == '+' || peek(s) == '-') {
            s->p++;
        }
        if (!skip_digits(s)) {
            return fail(s, "digits were expected");
        }
    }
    return 0;
}

static int skip_word(struct scanner *s, const char *word)
{
    size_t n = strlen(word);

    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0) {
        return fail(s, "a value was expected");
    }
    s->p += n;
    return 0;
}

static int skip_scalar(struct scanner *s)
{
    struct raw_string unused;

    switch (peek(s)) {
    case '"':
        return skip_string(s, &unused);
    case 't':
        return skip_word(s, "true");
    case 'f':
        return skip_word(s, "false");
    case 'n':
        return skip_word(s, "null");
    default:
        return skip_number(s);
    }
}

static int enter(struct scanner *s, bool object)
{
    uint64_t bit = (uint64_t)1 << (s->depth % 64);

    if (s->depth == SCAN_DEPTH_MAX) {
        return fail(s, "it is nested too deep");
    }
    if (object) {
        s->objects[s->depth / 64] |= bit;
    } else {
        s->objects[s->depth / 64] &= ~bit;
    }
    s->depth++;
    s->p++;
    skip_blanks(s);
    return 0;
}

static bool in_object(const struct scanner *s)
{
    return s->objects[(s->depth - 1) / 64] >> ((s->depth - 1) % 64) & 1;
}

/* A key and its colon, up to the value's first byte. */
static int skip_key(struct scanner *s, struct raw_string *ret)
{
    int r;

    if (peek(s) != '"') {
        return fail(s, "a key in quotes was expected");
    }
    r = skip_string(s, ret);
    if (r < 0) {
        return r;
    }
    skip_blanks(s);
    if (peek(s) != ':') {
        return fail(s, "a colon was expected");
    }
    s->p++;
    skip_blanks(s);
    return 0;
}

/* Behind a value: leaves the containers that end here, down to `base` deep, or goes on to the next
 * value's first byte. */
static int skip_after_value(struct scanner *s, unsigned base)
{
    while (s->depth > base) {
        bool object = in_object(s);
        struct raw_string unused;

        skip_blanks(s);
        if (peek(s) == ',') {
            s->p++;
            skip_blanks(s);
            return object ? skip_key(s, &unused) : 0;
        }
        if (peek(s) != (object ? '}' : ']')) {
            return fail(s, object ? "a comma or } was expected" : "a comma or ] was expected");
        }
        s->p++;
        s->depth--;
    }
    return 0;
}

/* At the value's first byte; stops just behind its last. */
static int skip_value(struct scanner *s)
{
    unsigned base = s->depth;
    int r;

    do {
        char c = peek(s);
        struct raw_string unused;

        if (c == '{' || c == '[') {
            r = enter(s, c == '{');
            if (r < 0) {
                return r;
            }
            if (peek(s) != (c == '{' ? '}' : ']')) {
                r = c == '{' ? skip_key(s, &unused) : 0;
                if (r < 0) {
                    return r;
                }
                continue;
            }
            s->p++;
            s->depth--;
        } else {
            r = skip_scalar(s);
            if (r < 0) {
                return r;
            }
        }
        r = skip_after_value(s, base);
        if (r < 0) {
            return r;
        }
    } while (s->depth > base);
    return 0;
}

static size_t put_utf8(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

/* Unescapes a string that was checked. out has room for as many bytes as the raw text has: none
 * grows. */
static size_t unescape(struct span inside, char *out)
{
    const char *p = inside.p, *end = inside.p + inside.n;
    char *to = out;
    size_t len;

    while (p < end) {
        if (*p != '\\') {
            *to++ = *p++;
            continue;
        }
        to += put_utf8((uint32_t)read_escape(p, end, &len), to);
        p += len;
    }
    return (size_t)(to - out);
}

/* The row of wanted that this key names below `parent` (NULL: at the top). */
static struct scan_member *find_wanted(const struct scanner *s, struct span key,
                                       const struct scan_member *parent)
{
    size_t prefix = parent ? strlen(parent->name) : 0;

    for (size_t i = 0; i < s->count; i++) {
        const char *name = s->wanted[i].name;

        if (parent) {
            if (strncmp(name, parent->name, prefix) != 0 || name[prefix] != '.') {
                continue;
            }
            name += prefix + 1;
        }
        if (*name == *key.p && strncmp(name, key.p, key.n) == 0 && name[key.n] == '\0' &&
            (parent || !memchr(key.p, '.', key.n))) {
            return &s->wanted[i];
        }
    }
    return NULL;
}

/* The same of a key with escapes in it; apart, so that plain keys do not pay for the room. */
static __attribute__((noinline)) struct scan_member *
find_escaped(const struct scanner *s, struct span inside, const struct scan_member *parent)
{
    char plain[6 * NAME_MAX_BYTES] = { 0 };
    size_t n;

    if (inside.n > sizeof(plain)) {
        return NULL;
    }
    n = unescape(inside, plain);
    if (n >= NAME_MAX_BYTES || memchr(plain, '\0', n)) {
        return NULL;
    }
    return find_wanted(s, (struct span){ plain, n }, parent);
}

static struct scan_member *match_key(const struct scanner *s, const struct raw_string *key,
                                     const struct scan_member *parent)
{
    if (key->inside.n == 0) {
        return NULL;
    }
    if (key->escaped) {
        return find_escaped(s, key->inside, parent);
    }
    return key->inside.n < NAME_MAX_BYTES ? find_wanted(s, key->inside, parent) : NULL;
}

static enum scan_type type_at(char c)
{
    switch (c) {
    case '"':
        return SCAN_STRING;
    case '{':
        return SCAN_OBJECT;
    case '[':
        return SCAN_ARRAY;
    case 't':
    case 'f':
        return SCAN_BOOL;
    case 'n':
        return SCAN_NULL;
    default:
        return SCAN_NUMBER;
    }
}

static int scan_members(struct scanner *s, const struct scan_member *parent);

/* A member, from its key on. An object at the top that is wanted is looked into. */
static int scan_one(struct scanner *s, const struct scan_member *parent)
{
    const char *from = s->p, *value;
    struct scan_member *member;
    struct raw_string key = { 0 };
    int r;

    r = skip_key(s, &key);
    if (r < 0) {
        return r;
    }
    member = match_key(s, &key, parent);
    if (!member) {
        return skip_value(s);
    }
    if (member->type != SCAN_ABSENT) {
        return error_set(s->reterr, -EINVAL, "the key '%s' stands there twice, again at byte %zu",
                         member->name, (size_t)(from - s->start));
    }
    value = s->p;
    member->type = type_at(peek(s));
    r = member->type == SCAN_OBJECT && !parent ? scan_members(s, member) : skip_value(s);
    member->value = (struct span){ value, (size_t)(s->p - value) };
    member->whole = (struct span){ from, (size_t)(s->p - from) };
    return r;
}

/* At the opening brace; stops just behind the closing one. Recurses once, from the top into a
 * wanted object. */
static int scan_members(struct scanner *s, const struct scan_member *parent)
{
    int r;

    r = enter(s, true);
    if (r < 0) {
        return r;
    }
    if (peek(s) != '}') {
        for (;;) {
            r = scan_one(s, parent);
            if (r < 0) {
                return r;
            }
            skip_blanks(s);
            if (peek(s) != ',') {
                break;
            }
            s->p++;
            skip_blanks(s);
        }
        if (peek(s) != '}') {
            return fail(s, "a comma or } was expected");
        }
    }
    s->p++;
    s->depth--;
    return 0;
}

int scan_object(struct span text, struct scan_member *wanted, size_t count, struct error *reterr)
{
    struct span t = text.p ? text : SPAN("");
    struct scanner s = {
        .start = t.p,
        .p = t.p,
        .end = t.p + t.n,
        .wanted = wanted,
        .count = count,
        .reterr = reterr,
    };
    int r;

    for (size_t i = 0; i < count; i++) {
        assert(strlen(wanted[i].name) < NAME_MAX_BYTES);
        wanted[i] = (struct scan_member){ .name = wanted[i].name };
    }
    skip_blanks(&s);
    if (peek(&s) != '{') {
        if (span_starts(t, "\xEF\xBB\xBF")) {
            return fail(&s, "it begins with a byte order mark");
        }
        return error_set(reterr, s.p == s.end ? -EBADMSG : -EINVAL, "a JSON object was expected");
    }
    r = scan_members(&s, NULL);
    if (r < 0) {
        return r;
    }
    skip_blanks(&s);
    return s.p == s.end ? 0 : fail(&s, "something follows the object");
}

struct scan_opening scan_opening(struct span container)
{
    struct scan_opening opening;
    const char *p = container.p;

    while (is_blank(*p)) {
        p++;
    }
    assert(*p == '{' || *p == '[');
    opening.at = ++p;
    while (is_blank(*p)) {
        p++;
    }
    opening.empty = *p == '}' || *p == ']';
    return opening;
}

struct span scan_cut(const struct scan_member *member)
{
    const char *from = member->whole.p, *to = from + member->whole.n;
    const char *p;

    assert(member->type != SCAN_ABSENT);
    /* a brace stands behind every member and before every key, so that neither walk leaves the text
     */
    for (p = to; is_blank(*p); p++) {
    }
    if (*p == ',') {
        return (struct span){ from, (size_t)(p + 1 - from) };
    }
    for (p = from - 1; is_blank(*p); p--) {
    }
    if (*p == ',') {
        from = p;
    }
    return (struct span){ from, (size_t)(to - from) };
}

int scan_bool(const struct scan_member *member, bool *ret, struct error *reterr)
{
    assert(member->type != SCAN_ABSENT);
    if (member->type != SCAN_BOOL) {
        return error_set(reterr, -EINVAL, "'%s' must be a boolean", member->name);
    }
    *ret = member->value.p[0] == 't';
    return 0;
}

int scan_int(const struct scan_member *member, int64_t *ret, struct error *reterr)
{
    assert(member->type != SCAN_ABSENT);
    if (member->type != SCAN_NUMBER || span_to_i64(member->value, ret) < 0) {
        return error_set(reterr, -EINVAL, "'%s' must be a whole number%s", member->name,
                         member->type == SCAN_NUMBER ? " that fits in 64 bits" : "");
    }
    return 0;
}

int scan_string(const struct scan_member *member, char **ret, struct error *reterr)
{
    struct span inside = { member->value.p + 1, member->value.n - 2 };
    char *s;
    size_t n;

    assert(member->type != SCAN_ABSENT);
    if (member->type != SCAN_STRING) {
        return error_set(reterr, -EINVAL, "'%s' must be a string", member->name);
    }
    s = try_malloc(inside.n + 1);
    if (!s) {
        return error_set(reterr, -EFBIG, "'%s' is too long", member->name);
    }
    n = unescape(inside, s);
    s[n] = '\0';
    if (strlen(s) != n) {
        free(s);
        return error_set(reterr, -EINVAL, "'%s' holds a NUL character", member->name);
    }
    *ret = s;
    return 0;
}
