// SPDX-License-Identifier: Apache-2.0
/*
 * The strict HTTP/1.1 reader. A head is searched for its end line by line (so that a bare LF is
 * refused as soon as it is seen), then read once. The rule it keeps: the verdict depends on the
 * bytes alone, never on how they were cut into reads.
 */
#include "http/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

enum { CLASS_TOKEN = 1, CLASS_VALUE = 2, CLASS_TARGET = 4, CLASS_HOST = 8 };

/* Which classes each byte belongs to; filled before main. */
static unsigned char classes[256];

static void fill(const char *chars, unsigned char class)
{
    for (; *chars; chars++) {
        classes[(unsigned char)*chars] |= class;
    }
}

__attribute__((constructor)) static void fill_classes(void)
{
    for (int c = 0; c < 256; c++) {
        classes[c] |= (c >= 0x20 && c != 0x7F) || c == '\t' ? CLASS_VALUE : 0;
        classes[c] |= c > 0x20 && c < 0x7F && !strchr("#\"<>\\", c) ? CLASS_TARGET : 0;
    }
    fill("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
         CLASS_TOKEN | CLASS_HOST);
    fill("!#$%&'*+-.^_`|~", CLASS_TOKEN);
    fill("-._~", CLASS_HOST);
}

static bool is_class(char c, int class)
{
    return classes[(unsigned char)c] & class;
}

static bool all_of(struct span s, int class)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!is_class(s.p[i], class)) {
            return false;
        }
    }
    return true;
}

/* Both of n bytes; b is lower case letters, digits and '-'. */
static bool same_nocase(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)a[i];

        if (c >= 'A' && c <= 'Z') {
            c |= 0x20;
        }
        if (c != (unsigned char)b[i]) {
            return false;
        }
    }
    return true;
}

static int bad(struct error *reterr, const char *what)
{
    return error_set(reterr, -EBADMSG, "%s", what);
}

/* Length of the head when its blank line stands in the n bytes, 0 when not yet. The first line may
 * not be blank. */
static ssize_t find_end(const char *p, size_t n, size_t *scanned, struct error *reterr)
{
    const char *at = p + *scanned, *end = p + n, *lf;

    while (at < end && (lf = memchr(at, '\n', (size_t)(end - at)))) {
        if (lf == p || lf[-1] != '\r') {
            return bad(reterr, "a line ends with LF alone");
        }
        at = lf + 1;
        if (lf - p == 1) {
            return bad(reterr, "the first line is empty");
        }
        if (lf[-2] == '\n') {
            *scanned = (size_t)(at - p);
            return at - p;
        }
    }
    *scanned = n;
    return 0;
}

/* What the header fields said that the framing depends on. */
struct facts {
    unsigned hosts, lengths, codings;
    bool chunked, unknown_coding, bad_length, bad_host, tab;
    bool close, keep_alive, conn_upgrade, has_upgrade, expect;
    uint64_t length;
};

static bool port_is_valid(struct span s)
{
    uint64_t port;

    return span_to_u64(s, &port) == 0 && port <= 65535;
}

/* name or IPv4 or [IPv6], then perhaps ":port". */
static bool host_is_valid(struct span s)
{
    size_t i = 0;

    if (s.n > 0 && s.p[0] == '[') {
        const char *close = memchr(s.p, ']', s.n);

        if (!close || close - s.p < 3) {
            return false;
        }
        for (const char *q = s.p + 1; q < close; q++) {
            if (!(*q == ':' || *q == '.' || (*q >= '0' && *q <= '9') ||
                  ((*q | 0x20) >= 'a' && (*q | 0x20) <= 'f'))) {
                return false;
            }
        }
        i = (size_t)(close - s.p) + 1;
    } else {
        while (i < s.n && is_class(s.p[i], CLASS_HOST)) {
            i++;
        }
    }
    return i > 0 && (i == s.n ||
                     (s.p[i] == ':' && port_is_valid((struct span){ s.p + i + 1, s.n - i - 1 })));
}

/* Cuts the next token off a comma-separated list; false when *list is used up. */
static bool next_token(struct span *list, struct span *ret)
{
    while (list->p && list->n > 0) {
        *ret = span_trim(span_cut(list, ','));
        if (ret->n > 0) {
            return true;
        }
    }
    return false;
}

static void note_connection(struct facts *f, struct span value)
{
    struct span token;

    while (next_token(&value, &token)) {
        f->close |= token.n == 5 && same_nocase(token.p, "close", 5);
        f->keep_alive |= token.n == 10 && same_nocase(token.p, "keep-alive", 10);
        f->conn_upgrade |= token.n == 7 && same_nocase(token.p, "upgrade", 7);
    }
}

/* White space by the letter of RFC 9110, which some readers do not take for such: framing must not
 * hang on it. */
static bool tab_follows(struct span value)
{
    const char *p = value.p + value.n;

    while (*p == ' ') {
        p++;
    }
    return *p == '\t';
}

static void note_header(struct facts *f, const struct http_header *h)
{
    const char *name = h->name.p;

    switch (h->name.n) {
    case 4:
        if (same_nocase(name, "host", 4)) {
            f->hosts++;
            f->bad_host |= !host_is_valid(h->value);
        }
        break;
    case 6:
        if (same_nocase(name, "expect", 6)) {
            f->expect |= span_eq_nocase(h->value, "100-continue");
        }
        break;
    case 7:
        f->has_upgrade |= same_nocase(name, "upgrade", 7);
        break;
    case 10:
        if (same_nocase(name, "connection", 10)) {
            note_connection(f, h->value);
        }
        break;
    case 14:
        if (same_nocase(name, "content-length", 14)) {
            f->lengths++;
            f->tab |= tab_follows(h->value);
            f->bad_length |= span_to_u64(h->value, &f->length) < 0 || f->length > INT64_MAX;
        }
        break;
    case 17:
        if (same_nocase(name, "transfer-encoding", 17)) {
            f->codings++;
            f->tab |= tab_follows(h->value);
            f->chunked = span_eq_nocase(h->value, "chunked");
            f->unknown_coding |= !f->chunked;
        }
        break;
    default:
        break;
    }
}

/* Reads "name: value" lines up to the blank one at `end`. */
static int read_headers(const char *at, const char *end, struct http_head *head, struct facts *f,
                        struct error *reterr)
{
    head->header_count = 0;
    while (at < end) {
        struct http_header *h = &head->headers[head->header_count];
        const char *p = at, *from, *to;

        while (is_class(*p, CLASS_TOKEN)) {
            p++;
        }
        if (p == at || *p != ':') {
            return bad(reterr, p == at && (*p == ' ' || *p == '\t')
                                   ? "a header line is folded"
                                   : "a header name is not a token followed by ':'");
        }
        if (head->header_count == HTTP_HEADERS_MAX) {
            return error_set(reterr, -E2BIG, "more than %d header fields", HTTP_HEADERS_MAX);
        }
        h->name = (struct span){ at, (size_t)(p - at) };
        for (p++; *p == ' ' || *p == '\t'; p++) {
        }
        from = p;
        while (is_class(*p, CLASS_VALUE)) {
            p++;
        }
        if (p[0] != '\r' || p[1] != '\n') {
            return bad(reterr, "a header value holds a control byte");
        }
        for (to = p; to > from && (to[-1] == ' ' || to[-1] == '\t'); to--) {
        }
        h->value = (struct span){ from, (size_t)(to - from) };
        note_header(f, h);
        head->header_count++;
        at = p + 2;
    }
    return 0;
}

/* The rules that requests and responses share. */
static int judge_framing(const struct facts *f, struct http_head *head, struct error *reterr)
{
    if (f->tab) {
        return bad(reterr, "a tab stands behind the value of Content-Length or Transfer-Encoding");
    }
    if (f->lengths > 1) {
        return bad(reterr, "more than one Content-Length");
    }
    if (f->bad_length) {
        return bad(reterr, "Content-Length is not a number");
    }
    if (f->codings > 1) {
        return bad(reterr, "more than one Transfer-Encoding");
    }
    if (f->codings && f->lengths) {
        return bad(reterr, "Transfer-Encoding together with Content-Length");
    }
    if (f->codings && head->minor == 0) {
        return bad(reterr, "Transfer-Encoding in HTTP/1.0");
    }
    if (f->unknown_coding) {
        return error_set(reterr, -ENOSYS, "of the transfer codings only chunked is known");
    }
    head->framing = f->chunked ? HTTP_CHUNKED : f->lengths ? HTTP_LENGTH : HTTP_NO_BODY;
    head->content_length = f->lengths ? f->length : 0;
    head->keep_alive = !f->close && (head->minor == 1 || f->keep_alive);
    head->upgrade = f->has_upgrade && f->conn_upgrade && head->minor == 1;
    head->expect_continue = f->expect && head->minor == 1;
    return 0;
}

static int read_version(struct span s, struct http_head *head, struct error *reterr)
{
    if (s.n != 8 || memcmp(s.p, "HTTP/", 5) != 0 || s.p[6] != '.' || s.p[5] < '0' || s.p[5] > '9' ||
        s.p[7] < '0' || s.p[7] > '9') {
        return bad(reterr, "the first line names no HTTP version");
    }
    if (s.p[5] != '1' || s.p[7] > '1') {
        return error_set(reterr, -EPROTONOSUPPORT, "HTTP/%c.%c is not spoken here, HTTP/1.1 is",
                         s.p[5], s.p[7]);
    }
    head->minor = s.p[7] - '0';
    return 0;
}

static int read_target(struct span s, struct http_head *head, struct error *reterr)
{
    const char *q;

    head->target = s;
    head->path = s;
    head->query = (struct span){ 0 };
    if (s.n == 1 && s.p[0] == '*' && span_eq(head->method, "OPTIONS")) {
        return 0;
    }
    if (s.n == 0 || s.p[0] != '/' || !all_of(s, CLASS_TARGET)) {
        return bad(reterr, "the request target is not a path");
    }
    q = memchr(s.p, '?', s.n);
    if (q) {
        head->path.n = (size_t)(q - s.p);
        head->query = (struct span){ q + 1, s.n - head->path.n - 1 };
    }
    return 0;
}

/* Cuts the line at p (it ends with CRLF before `end`); *ret_next is where the next begins. */
static int cut_line(const char *p, const char *end, struct span *ret_line, const char **ret_next,
                    struct error *reterr)
{
    const char *lf = memchr(p, '\n', (size_t)(end - p));

    *ret_line = (struct span){ p, (size_t)(lf - p) - 1 };
    *ret_next = lf + 1;
    return all_of(*ret_line, CLASS_VALUE) ? 0 : bad(reterr, "the first line holds a control byte");
}

static int read_request_line(struct span line, struct http_head *head, struct error *reterr)
{
    struct span rest = line, target;
    int r;

    head->method = span_cut(&rest, ' ');
    target = span_cut(&rest, ' ');
    if (!rest.p || head->method.n == 0 || !all_of(head->method, CLASS_TOKEN)) {
        return bad(reterr, "the first line is not \"METHOD target HTTP/1.1\"");
    }
    r = read_version(rest, head, reterr);
    return r < 0 ? r : read_target(target, head, reterr);
}

/* Where the first line begins: one blank line before a request is forgiven (RFC 9112, 2.2). What
 * stands there of a request must begin with a token. */
static ssize_t find_start(const char *p, size_t n, struct error *reterr)
{
    size_t skip = n > 0 && p[0] == '\r' ? 2 : 0;

    if ((skip > 0 && n > 1 && p[1] != '\n') || (n > skip && !is_class(p[skip], CLASS_TOKEN))) {
        return bad(reterr, "this is not HTTP");
    }
    return (ssize_t)skip;
}

ssize_t http_parse_request(const char *p, size_t n, size_t *scanned, struct http_head *head,
                           struct error *reterr)
{
    struct facts f = { 0 };
    struct span line;
    const char *headers;
    ssize_t skip = find_start(p, n, reterr), len;
    int r;

    if (skip < 0 || n <= (size_t)skip) {
        return skip < 0 ? skip : 0;
    }
    p += skip;
    *scanned -= *scanned > 0 ? (size_t)skip : 0;
    len = find_end(p, n - (size_t)skip, scanned, reterr);
    *scanned += (size_t)skip;
    if (len <= 0) {
        return len;
    }
    head->status = 0;
    r = cut_line(p, p + len, &line, &headers, reterr);
    if (r == 0) {
        r = read_request_line(line, head, reterr);
    }
    if (r == 0) {
        r = read_headers(headers, p + len - 2, head, &f, reterr);
    }
    if (r == 0) {
        r = judge_framing(&f, head, reterr);
    }
    if (r < 0) {
        return r;
    }
    if (f.hosts > 1 || (f.hosts == 0 && head->minor == 1)) {
        return bad(reterr, f.hosts ? "more than one Host" : "the Host header is missing");
    }
    return f.bad_host ? bad(reterr, "the Host header is not a host") : len + skip;
}

static int read_status_line(struct span line, struct http_head *head, struct error *reterr)
{
    struct span rest = line;
    struct span version = span_cut(&rest, ' ');
    struct span code = rest.p ? span_cut(&rest, ' ') : rest;
    uint64_t status;
    int r = read_version(version, head, reterr);

    if (r < 0) {
        return r;
    }
    if (code.n != 3 || span_to_u64(code, &status) < 0 || status < 100 || status > 599) {
        return bad(reterr, "the first line has no status between 100 and 599");
    }
    head->status = (int)status;
    return 0;
}

static int judge_response(const struct facts *f, bool to_head, struct http_head *head,
                          struct error *reterr)
{
    bool no_content = head->status < 200 || head->status == 204;
    int r = judge_framing(f, head, reterr);

    if (r < 0) {
        return r;
    }
    if (no_content && (f->codings || (f->lengths && f->length > 0))) {
        return bad(reterr, "a status that has no body comes with one");
    }
    if (no_content || to_head || head->status == 304) {
        head->framing = HTTP_NO_BODY;
    } else if (!f->codings && !f->lengths) {
        head->framing = HTTP_UNTIL_CLOSE;
        head->keep_alive = false;
    }
    return 0;
}

ssize_t http_parse_response(const char *p, size_t n, size_t *scanned, bool to_head,
                            struct http_head *head, struct error *reterr)
{
    struct facts f = { 0 };
    struct span line;
    const char *headers;
    ssize_t len;
    int r;

    if (n > 0 && p[0] != 'H') {
        return bad(reterr, "this is not HTTP");
    }
    len = find_end(p, n, scanned, reterr);
    if (len <= 0) {
        return len;
    }
    head->method = head->target = head->path = head->query = (struct span){ 0 };
    r = cut_line(p, p + len, &line, &headers, reterr);
    if (r == 0) {
        r = read_status_line(line, head, reterr);
    }
    if (r == 0) {
        r = read_headers(headers, p + len - 2, head, &f, reterr);
    }
    if (r == 0) {
        r = judge_response(&f, to_head, head, reterr);
    }
    return r < 0 ? r : len;
}

struct span http_header_get(const struct http_head *head, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < head->header_count; i++) {
        const struct http_header *h = &head->headers[i];

        if (h->name.n == n && strncasecmp(h->name.p, name, n) == 0) {
            return h->value;
        }
    }
    return (struct span){ 0 };
}

bool http_header_has_token(const struct http_head *head, const char *name, const char *token)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < head->header_count; i++) {
        const struct http_header *h = &head->headers[i];
        struct span list = h->value, item;

        if (h->name.n != n || strncasecmp(h->name.p, name, n) != 0) {
            continue;
        }
        while (next_token(&list, &item)) {
            if (span_eq_nocase(item, token)) {
                return true;
            }
        }
    }
    return false;
}

/* The chunked coding */

enum chunk_state {
    CHUNK_SIZE, /* hex digits */
    EXT_START,  /* after ';' */
    EXT_NAME,
    EXT_VALUE_START, /* after '=' */
    EXT_VALUE,
    EXT_QUOTED,
    EXT_ESCAPED,    /* after a backslash in quotes */
    EXT_QUOTED_END, /* after the closing quote */
    CHUNK_SIZE_LF,  /* the CR of the size line has come */
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    TRAILER_START, /* at the begin of a trailer line */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    CHUNK_LAST_LF, /* the CR of the blank line has come */
};

enum { SIZE_DIGITS_MAX = 16, EXT_BYTES_MAX = 256, TRAILER_BYTES_MAX = 8192 };

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int step_size(struct http_chunked *c, char ch)
{
    int digit = hex_value(ch);

    if (digit >= 0) {
        c->left = c->left << 4 | (unsigned)digit;
        return ++c->count > SIZE_DIGITS_MAX ? -EBADMSG : CHUNK_SIZE;
    }
    if (c->count == 0 || c->left > INT64_MAX) {
        return -EBADMSG;
    }
    c->count = 0;
    return ch == '\r' ? CHUNK_SIZE_LF : ch == ';' ? EXT_START : -EBADMSG;
}

/*
 * Extensions are read past, by the grammar of RFC 9112, 7.1.1, without the white space that it
 * calls bad: what one reader takes for an extension and another does not is where smuggled requests
 * come from.
 */
static int step_ext(struct http_chunked *c, char ch)
{
    bool token = is_class(ch, CLASS_TOKEN);

    if (++c->count > EXT_BYTES_MAX) {
        return -EBADMSG;
    }
    switch (c->state) {
    case EXT_START:
        return token ? EXT_NAME : -EBADMSG;
    case EXT_VALUE_START:
        return token ? EXT_VALUE : ch == '"' ? EXT_QUOTED : -EBADMSG;
    case EXT_QUOTED:
        return ch == '"'                   ? EXT_QUOTED_END
               : ch == '\\'                ? EXT_ESCAPED
               : is_class(ch, CLASS_VALUE) ? EXT_QUOTED
                                           : -EBADMSG;
    case EXT_ESCAPED:
        return is_class(ch, CLASS_VALUE) ? EXT_QUOTED : -EBADMSG;
    default:
        break;
    }
    if (ch == '\r') {
        c->count = 0;
        return CHUNK_SIZE_LF;
    }
    return ch == ';'                             ? EXT_START
           : ch == '=' && c->state == EXT_NAME   ? EXT_VALUE_START
           : token && c->state != EXT_QUOTED_END ? c->state
                                                 : -EBADMSG;
}

static int step_trailer(struct http_chunked *c, char ch)
{
    if (++c->count > TRAILER_BYTES_MAX) {
        return -EBADMSG;
    }
    switch (c->state) {
    case TRAILER_START:
        return ch == '\r' ? CHUNK_LAST_LF : is_class(ch, CLASS_TOKEN) ? TRAILER_NAME : -EBADMSG;
    case TRAILER_NAME:
        return ch == ':' ? TRAILER_VALUE : is_class(ch, CLASS_TOKEN) ? TRAILER_NAME : -EBADMSG;
    case TRAILER_VALUE:
        return ch == '\r' ? TRAILER_LF : is_class(ch, CLASS_VALUE) ? TRAILER_VALUE : -EBADMSG;
    default:
        return ch == '\n' ? TRAILER_START : -EBADMSG;
    }
}

/* One byte of framing: the next state, or -EBADMSG. */
static int step(struct http_chunked *c, char ch)
{
    switch (c->state) {
    case CHUNK_SIZE:
        return step_size(c, ch);
    case EXT_START:
    case EXT_NAME:
    case EXT_VALUE_START:
    case EXT_VALUE:
    case EXT_QUOTED:
    case EXT_ESCAPED:
    case EXT_QUOTED_END:
        return step_ext(c, ch);
    case CHUNK_SIZE_LF:
        return ch != '\n' ? -EBADMSG : c->left > 0 ? CHUNK_DATA : TRAILER_START;
    case CHUNK_DATA_CR:
        return ch == '\r' ? CHUNK_DATA_LF : -EBADMSG;
    case CHUNK_DATA_LF:
        return ch == '\n' ? CHUNK_SIZE : -EBADMSG;
    case CHUNK_LAST_LF:
        c->done = ch == '\n';
        return c->done ? CHUNK_LAST_LF : -EBADMSG;
    default:
        return step_trailer(c, ch);
    }
}

ssize_t http_chunked_next(struct http_chunked *c, const char *p, size_t n, struct span *ret_data)
{
    size_t i = 0;

    *ret_data = (struct span){ p, 0 };
    while (i < n && !c->done) {
        int next;

        if (c->state == CHUNK_DATA) {
            size_t take = c->left < n - i ? (size_t)c->left : n - i;

            *ret_data = (struct span){ p + i, take };
            c->left -= take;
            if (c->left == 0) {
                c->state = CHUNK_DATA_CR;
            }
            return (ssize_t)(i + take);
        }
        next = step(c, p[i]);
        if (next < 0) {
            return next;
        }
        c->state = next;
        i++;
    }
    return (ssize_t)i;
}

/* Words and codings */

const char *http_status_text(int status)
{
    // clang-format off
    static const struct { int status; const char *text; } texts[] = {
        { 100, "Continue" }, { 101, "Switching Protocols" },
        { 200, "OK" }, { 201, "Created" }, { 202, "Accepted" }, { 204, "No Content" }, { 206, "Partial Content" },
        { 301, "Moved Permanently" }, { 302, "Found" }, { 303, "See Other" }, { 304, "Not Modified" },
        { 307, "Temporary Redirect" }, { 308, "Permanent Redirect" },
        { 400, "Bad Request" }, { 401, "Unauthorized" }, { 402, "Payment Required" }, { 403, "Forbidden" },
        { 404, "Not Found" }, { 405, "Method Not Allowed" }, { 406, "Not Acceptable" }, { 408, "Request Timeout" },
        { 409, "Conflict" }, { 410, "Gone" }, { 411, "Length Required" }, { 412, "Precondition Failed" },
        { 413, "Content Too Large" }, { 414, "URI Too Long" }, { 415, "Unsupported Media Type" },
        { 416, "Range Not Satisfiable" }, { 417, "Expectation Failed" }, { 422, "Unprocessable Content" },
        { 423, "Locked" }, { 424, "Failed Dependency" }, { 425, "Too Early" }, { 426, "Upgrade Required" },
        { 428, "Precondition Required" }, { 429, "Too Many Requests" }, { 431, "Request Header Fields Too Large" },
        { 499, "Client Closed Request" },
        { 500, "Internal Server Error" }, { 501, "Not Implemented" }, { 502, "Bad Gateway" },
        { 503, "Service Unavailable" }, { 504, "Gateway Timeout" }, { 505, "HTTP Version Not Supported" },
        { 507, "Insufficient Storage" },
    };
    // clang-format on

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        if (texts[i].status == status) {
            return texts[i].text;
        }
    }
    return "Status";
}

char *http_decode(struct span s, bool query)
{
    char *out = xmalloc(s.n + 1);
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c == '%') {
            int hi = i + 2 < s.n ? hex_value(s.p[i + 1]) : -1;
            int lo = i + 2 < s.n ? hex_value(s.p[i + 2]) : -1;

            c = hi < 0 || lo < 0 ? '\0' : (char)(hi * 16 + lo);
            i += 2;
        } else if (c == '+' && query) {
            c = ' ';
        }
        if (c == '\0') {
            free(out);
            return NULL;
        }
        out[n++] = c;
    }
    out[n] = '\0';
    return out;
}

char *http_query_get(struct span query, const char *name)
{
    while (query.p && query.n > 0) {
        struct span value = span_cut(&query, '&');
        struct span key = span_cut(&value, '=');
        char *decoded = http_decode(key, true);
        bool found = decoded && strcmp(decoded, name) == 0;

        free(decoded);
        if (found) {
            return http_decode(value, true);
        }
    }
    return NULL;
}
