// SPDX-License-Identifier: Apache-2.0
/*
 * The formats of traces: JSON lines of Mooncake, CSV of Azure and ours. Foreign bytes: nothing is
 * taken that was not checked.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/scan.h"
#include "simulate/trace_int.h"

enum { NUMBER_MAX = 64, COLUMNS_MAX = 5 };
#define TIME_MAX_S 1e11

/* ---- numbers ---- */

/* What stands in the file instead, as far as a sentence shows it: text, and not much of it. */
static struct span shown(struct span text)
{
    text.n = MIN_OF(text.n, 40);
    while (text.n > 0 && !is_valid_utf8(text.p, text.n)) {
        text.n--;
    }
    return text;
}

static int read_seconds(struct span text, const char *what, double unit, double *ret,
                        struct error *reterr)
{
    char copy[NUMBER_MAX] = "", *end = copy;
    double x = NAN;

    if (text.n > 0 && text.n < sizeof(copy)) {
        memcpy(copy, text.p, text.n);
        copy[text.n] = 0;
        x = strspn(copy, "0123456789+-.eE") == text.n ? strtod(copy, &end) * unit : NAN;
    }
    if (text.n == 0 || end != copy + text.n || !(fabs(x) <= TIME_MAX_S)) {
        return error_set(reterr, -EINVAL, "%s must be a time, not '%.*s'", what,
                         SPAN_ARG(shown(text)));
    }
    *ret = x;
    return 0;
}

static int read_tokens(struct span text, const char *what, uint32_t *ret, struct error *reterr)
{
    uint64_t n;

    if (span_to_u64(text, &n) < 0 || n < 1 || n > TRACE_TOKENS_MAX) {
        return error_set(reterr, -EINVAL, "%s must be a whole number from 1 to %d, not '%.*s'",
                         what, TRACE_TOKENS_MAX, SPAN_ARG(shown(text)));
    }
    *ret = (uint32_t)n;
    return 0;
}

/* ---- Mooncake: JSON lines ---- */

enum { TIMESTAMP, INPUT, OUTPUT, HASHES, MEMBERS };

/* A JSON array of whole numbers, in text that is known to be JSON. */
static int read_hashes(struct trace_reader *r, struct span text, struct trace_request *q,
                       struct error *reterr)
{
    const unsigned most = (q->input_tokens + TRACE_BLOCK_TOKENS - 1) / TRACE_BLOCK_TOKENS;
    struct span rest = { text.p + 1, text.n - 2 };
    uint64_t id, before = 0;
    int ret;

    while (rest.p) {
        struct span item = span_cut(&rest, ',');

        while (item.n && strchr(" \t\r\n", *item.p)) {
            item.p++, item.n--;
        }
        while (item.n && strchr(" \t\r\n", item.p[item.n - 1])) {
            item.n--;
        }
        if (item.n == 0 && !rest.p && q->block_count == 0) {
            break; /* [] */
        }
        if (span_to_u64(item, &id) < 0) {
            return error_set(reterr, -EINVAL, "hash_ids must hold whole numbers, not '%.*s'",
                             SPAN_ARG(shown(item)));
        }
        if (q->block_count == most) {
            return error_set(reterr, -EINVAL,
                             "hash_ids has more than %u blocks, and %u tokens have only so many",
                             most, q->input_tokens);
        }
        before = trace_mix(before, id);
        ret = trace_add_block(r, before, reterr);
        if (ret < 0) {
            return ret;
        }
        q->block_count++;
    }
    return 0;
}

static int read_json_line(struct trace_reader *r, struct span line, struct error *reterr)
{
    struct trace_request q = { 0 };
    struct scan_member m[MEMBERS] = {
        [TIMESTAMP] = { .name = "timestamp" },
        [INPUT] = { .name = "input_length" },
        [OUTPUT] = { .name = "output_length" },
        [HASHES] = { .name = "hash_ids" },
    };
    int ret = scan_object(line, m, MEMBERS, reterr);

    if (ret < 0) {
        return ret;
    }
    for (int i = 0; i < HASHES; i++) {
        if (m[i].type != SCAN_NUMBER) {
            return error_set(reterr, -EINVAL, "%s must be there, and a number", m[i].name);
        }
    }
    if (m[HASHES].type != SCAN_ABSENT && m[HASHES].type != SCAN_ARRAY) {
        return error_set(reterr, -EINVAL, "hash_ids must be a list of numbers");
    }
    ret = read_seconds(m[TIMESTAMP].value, "timestamp", 1e-3, &q.at_s, reterr);
    if (ret >= 0) {
        ret = read_tokens(m[INPUT].value, "input_length", &q.input_tokens, reterr);
    }
    if (ret >= 0) {
        ret = read_tokens(m[OUTPUT].value, "output_length", &q.output_tokens, reterr);
    }
    if (ret >= 0 && m[HASHES].type == SCAN_ARRAY) {
        ret = read_hashes(r, m[HASHES].value, &q, reterr);
    }
    return ret < 0 ? ret : trace_add(r, &q, reterr);
}

/* ---- CSV ---- */

/* Cuts a line into `count` fields. */
static int read_fields(struct span line, unsigned count, struct span *ret, struct error *reterr)
{
    unsigned n = 0;

    for (struct span rest = line; rest.p; n++) {
        const struct span field = span_cut(&rest, ',');

        if (n < count) {
            ret[n] = span_trim(field);
        }
    }
    if (n != count) {
        return error_set(reterr, -EINVAL, "%u columns were expected, not %u", count, n);
    }
    return 0;
}

/* So many digits; -1 when there are others. */
static int digits(const char *p, unsigned n)
{
    int x = 0;

    for (unsigned i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return -1;
        }
        x = 10 * x + p[i] - '0';
    }
    return x;
}

/* Days since 1970-01-01 (in the proleptic Gregorian calendar), or -1 where there is no such day. */
static int64_t day_number(int year, int month, int day)
{
    static const int lengths[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    static const int before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    const int y = year - 1;

    if (year < 1970 || month < 1 || month > 12 || day < 1 ||
        day > lengths[month - 1] + (leap && month == 2)) {
        return -1;
    }
    return (int64_t)y * 365 + y / 4 - y / 100 + y / 400 + before[month - 1] + (leap && month > 2) +
           day - 1 - 719162;
}

/* ".6805900", perhaps "+00:00" or "Z" behind it. */
static bool read_fraction(struct span text, double *ret)
{
    double unit = 0.1, part = 0;
    size_t i = 0;

    if (text.n > 0 && text.p[0] == '.') {
        for (i = 1; i < text.n && text.p[i] >= '0' && text.p[i] <= '9'; i++) {
            part += unit * (text.p[i] - '0');
            unit /= 10;
        }
        if (i == 1 || i > 10) {
            return false;
        }
    }
    text = (struct span){ text.p + i, text.n - i };
    *ret = part;
    return text.n == 0 || span_eq(text, "Z") || span_eq(text, "+00:00");
}

/* "2023-11-16 18:15:46.6805900", in seconds of the first one's day. */
static int read_calendar(struct trace_reader *r, struct span text, double *ret,
                         struct error *reterr)
{
    const char *p = text.p;
    int64_t day = -1;
    int hour = -1, minute = -1, second = -1;
    double part = 0;

    if (text.n >= 19 && p[4] == '-' && p[7] == '-' && (p[10] == ' ' || p[10] == 'T') &&
        p[13] == ':' && p[16] == ':' &&
        read_fraction((struct span){ p + 19, text.n - 19 }, &part)) {
        day = day_number(digits(p, 4), digits(p + 5, 2), digits(p + 8, 2));
        hour = digits(p + 11, 2);
        minute = digits(p + 14, 2);
        second = digits(p + 17, 2);
    }
    if (day < 0 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 ||
        second > 60) {
        return error_set(reterr, -EINVAL,
                         "TIMESTAMP must be a time like 2023-11-16 18:15:46.6805900, not '%.*s'",
                         SPAN_ARG(shown(text)));
    }
    if (!r->has_day) {
        r->first_day = day;
        r->has_day = true;
    }
    *ret = (double)(day - r->first_day) * 86400 + hour * 3600 + minute * 60 + second + part;
    return 0;
}

static int read_azure_line(struct trace_reader *r, struct span line, struct error *reterr)
{
    struct trace_request q = { 0 };
    struct span f[3] = { 0 };
    int ret = read_fields(line, 3, f, reterr);

    if (ret >= 0) {
        ret = read_calendar(r, f[0], &q.at_s, reterr);
    }
    if (ret >= 0) {
        ret = read_tokens(f[1], "ContextTokens", &q.input_tokens, reterr);
    }
    if (ret >= 0) {
        ret = read_tokens(f[2], "GeneratedTokens", &q.output_tokens, reterr);
    }
    return ret < 0 ? ret : trace_add(r, &q, reterr);
}

/* The number of a name, from 1; a new one is given the next, or 0 when there are `most` already. */
static uint32_t number_of(struct map *m, struct span name, uint32_t most)
{
    const uint32_t *known = map_get_span(m, name);
    uint32_t number;
    char key[TRACE_NAME_SIZE];

    if (known) {
        return *known;
    }
    if (m->count == most) {
        return 0;
    }
    number = (uint32_t)m->count + 1;
    memcpy(key, name.p, name.n);
    key[name.n] = 0;
    map_put(m, key, xmemdup(&number, sizeof(number)));
    return number;
}

static int read_name(struct map *m, struct span text, const char *what, uint32_t most,
                     uint32_t *ret, struct error *reterr)
{
    uint32_t n;

    if (text.n == 0 || text.n >= TRACE_NAME_SIZE || memchr(text.p, 0, text.n) ||
        memchr(text.p, '"', text.n) || !is_valid_utf8(text.p, text.n)) {
        return error_set(reterr, -EINVAL, "%s must be a name of at most 63 bytes, without quotes",
                         what);
    }
    n = number_of(m, text, most);
    if (n == 0) {
        return error_set(reterr, -EINVAL, "more than %u names in the column %s", most, what);
    }
    *ret = n;
    return 0;
}

static int read_our_line(struct trace_reader *r, struct span line, struct error *reterr)
{
    struct trace_request q = { 0 };
    struct span f[COLUMNS_MAX] = { 0 };
    int ret = read_fields(line, r->columns, f, reterr);

    if (ret >= 0) {
        ret = read_seconds(f[0], "arrival_s", 1, &q.at_s, reterr);
    }
    if (ret >= 0) {
        ret = read_tokens(f[1], "input_tokens", &q.input_tokens, reterr);
    }
    if (ret >= 0) {
        ret = read_tokens(f[2], "output_tokens", &q.output_tokens, reterr);
    }
    if (ret >= 0 && r->columns > 3) {
        ret = read_name(&r->models, f[3], "model", TRACE_MODELS_MAX, &q.model, reterr);
        q.model -= 1;
    }
    if (ret >= 0 && r->columns > 4 && f[4].n > 0) {
        ret = read_name(&r->sessions, f[4], "session", TRACE_REQUESTS_MAX, &q.session, reterr);
    }
    return ret < 0 ? ret : trace_add(r, &q, reterr);
}

/* ---- which of them ---- */

trace_line_fn trace_format_of(struct trace_reader *r, struct span line, bool *ret_head)
{
    static const char *const ours[] = { "arrival_s,input_tokens,output_tokens",
                                        "arrival_s,input_tokens,output_tokens,model",
                                        "arrival_s,input_tokens,output_tokens,model,session" };
    const struct span head = span_trim(line);

    *ret_head = true;
    if (head.n > 0 && head.p[0] == '{') {
        *ret_head = false;
        return read_json_line;
    }
    if (span_eq(head, "TIMESTAMP,ContextTokens,GeneratedTokens")) {
        return read_azure_line;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(ours); i++) {
        if (span_eq(head, ours[i])) {
            r->columns = 3 + i;
            return read_our_line;
        }
    }
    return NULL;
}
