// SPDX-License-Identifier: Apache-2.0
/*
 * The reader of multipart/form-data: first the boundary, then part after part. The end of a part is
 * looked for by its CR, which no boundary holds: whatever the bytes are, each is looked at once, or
 * twice.
 */
#include "codec/multipart.h"

#include <stdlib.h>

#include "base/mem.h"

static void advance(struct span *s, size_t n)
{
    s->p += n;
    s->n -= n;
}

static bool take(struct span *s, const char *text)
{
    if (!span_starts(*s, text)) {
        return false;
    }
    advance(s, strlen(text));
    return true;
}

static bool is_token_char(char c)
{
    return c > ' ' && c < 0x7f && !strchr("()<>@,;:\\\"/[]?=", c);
}

/* RFC 2046: what a boundary may be made of. */
static bool is_boundary(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              (c && strchr("'()+_,-./:=? ", c)))) {
            return false;
        }
    }
    return s.n > 0 && s.n <= MULTIPART_BOUNDARY_MAX && s.p[s.n - 1] != ' ';
}

/* One "; name=value" or "; name="value""; a quoted value is given as it stands between its quotes.
 * 1: one was read, 0: the end, -EINVAL. */
static int next_parameter(struct span *s, struct span *ret_name, struct span *ret_value)
{
    size_t n = 0;

    *s = span_trim(*s);
    if (s->n == 0) {
        return 0;
    }
    if (!take(s, ";")) {
        return -EINVAL;
    }
    *s = span_trim(*s);
    while (n < s->n && is_token_char(s->p[n])) {
        n++;
    }
    *ret_name = (struct span){ s->p, n };
    advance(s, n);
    if (n == 0 || !take(s, "=")) {
        return -EINVAL;
    }
    n = 0;
    if (take(s, "\"")) {
        while (n < s->n && s->p[n] != '"') {
            n += s->p[n] == '\\' && n + 1 < s->n ? 2 : 1;
        }
        if (n >= s->n) {
            return -EINVAL;
        }
        *ret_value = (struct span){ s->p, n };
        advance(s, n + 1);
        return 1;
    }
    while (n < s->n && is_token_char(s->p[n])) {
        n++;
    }
    *ret_value = (struct span){ s->p, n };
    advance(s, n);
    return n > 0 ? 1 : -EINVAL;
}

static int find_boundary(struct span type, struct span *ret, struct error *reterr)
{
    struct span rest = type, name, value;
    const struct span media = span_trim(span_cut(&rest, ';'));
    int r;

    if (!span_eq_nocase(media, "multipart/form-data")) {
        return error_set(reterr, -EINVAL, "the body must be multipart/form-data");
    }
    *ret = (struct span){ 0 };
    if (rest.p) { /* with its semicolon */
        rest = (struct span){ rest.p - 1, rest.n + 1 };
    }
    while ((r = next_parameter(&rest, &name, &value)) > 0) {
        if (span_eq_nocase(name, "boundary")) {
            if (ret->p) {
                return error_set(reterr, -EINVAL, "the Content-Type names two boundaries");
            }
            *ret = value;
        }
    }
    if (r < 0 || !ret->p || !is_boundary(*ret)) {
        return error_set(reterr, -EINVAL, "the Content-Type names no good boundary");
    }
    return 0;
}

static int read_disposition(struct span value, struct multipart_part *part, struct error *reterr)
{
    struct span rest = value, name, parameter;
    const struct span kind = span_trim(span_cut(&rest, ';'));
    int r;

    if (!span_eq_nocase(kind, "form-data") || part->name.p) {
        return error_set(reterr, -EBADMSG, "a part of the form has no good Content-Disposition");
    }
    if (rest.p) {
        rest = (struct span){ rest.p - 1, rest.n + 1 };
    }
    while ((r = next_parameter(&rest, &name, &parameter)) > 0) {
        struct span *member = span_eq_nocase(name, "name")       ? &part->name
                              : span_eq_nocase(name, "filename") ? &part->filename
                                                                 : NULL;

        if (member && member->p) {
            return error_set(reterr, -EBADMSG, "a part of the form says '%s' twice",
                             member == &part->name ? "name" : "filename");
        }
        if (member) {
            *member = parameter;
        }
    }
    if (r < 0 || !part->name.p) {
        return error_set(reterr, -EBADMSG, "a part of the form has no name");
    }
    return 0;
}

static int read_header(struct span line, struct multipart_part *part, struct error *reterr)
{
    struct span value = line;
    const struct span name = span_cut(&value, ':');

    if (!value.p || name.n == 0 || memchr(line.p, '\0', line.n) || memchr(line.p, '\r', line.n) ||
        memchr(line.p, '\n', line.n)) {
        return error_set(reterr, -EBADMSG, "a part of the form has a broken header");
    }
    value = span_trim(value);
    if (span_eq_nocase(name, "content-disposition")) {
        return read_disposition(value, part, reterr);
    }
    if (span_eq_nocase(name, "content-type")) {
        part->content_type = value;
    } else if (span_eq_nocase(name, "content-transfer-encoding") &&
               !span_eq_nocase(value, "binary") && !span_eq_nocase(value, "8bit") &&
               !span_eq_nocase(value, "7bit")) {
        return error_set(reterr, -EBADMSG, "parts of a form must not be encoded (%.*s)",
                         (int)MIN_OF(value.n, (size_t)32), value.p);
    }
    return 0;
}

static int read_headers(struct multipart *m, struct multipart_part *part, struct error *reterr)
{
    const struct span window = { m->left.p, MIN_OF(m->left.n, (size_t)MULTIPART_HEAD_MAX) };
    const char *end = memmem(window.p, window.n, "\r\n\r\n", 4);
    struct span head;

    if (!end) {
        return error_set(reterr, window.n == MULTIPART_HEAD_MAX ? -E2BIG : -EBADMSG,
                         "the headers of a part of the form do not end");
    }
    head = (struct span){ m->left.p, (size_t)(end - m->left.p) };
    advance(&m->left, head.n + 4);
    while (head.n > 0) {
        const char *crlf = memmem(head.p, head.n, "\r\n", 2);
        const struct span line = { head.p, crlf ? (size_t)(crlf - head.p) : head.n };
        int rc = read_header(line, part, reterr);

        if (rc < 0) {
            return rc;
        }
        advance(&head, crlf ? line.n + 2 : line.n);
    }
    return part->name.p ? 0 : error_set(reterr, -EBADMSG, "a part of the form has no name");
}

/* What follows a delimiter: another part, or the end. */
static int begin_part(struct multipart *m, struct error *reterr)
{
    if (take(&m->left, "\r\n")) {
        if (m->count == MULTIPART_PARTS_MAX) {
            return error_set(reterr, -E2BIG, "the form has more than %d parts",
                             MULTIPART_PARTS_MAX);
        }
        m->parts[m->count] = (struct multipart_part){ 0 };
        return read_headers(m, &m->parts[m->count], reterr);
    }
    if (!take(&m->left, "--")) {
        return error_set(reterr, -EBADMSG, "something stands behind a boundary of the form");
    }
    take(&m->left, "\r\n");
    if (m->left.n > 0) {
        return error_set(reterr, -EBADMSG, "something stands behind the end of the form");
    }
    m->whole = true;
    return 0;
}

/* The delimiter that ends the data, looked for in the next max bytes; NULL: not there. */
static const char *find_end(struct multipart *m, size_t max)
{
    const char *p = m->left.p + m->looked, *end = m->left.p + m->left.n;
    const char *stop = p + MIN_OF(max, (size_t)(end - p));

    while (p < stop) {
        if (*p != '\r') {
            p = memchr(p, '\r', (size_t)(stop - p));
            if (!p) {
                break;
            }
        }
        if ((size_t)(end - p) >= m->delimiter_len && p[1] == '\n' &&
            memcmp(p, m->delimiter, m->delimiter_len) == 0) {
            return p;
        }
        p++;
    }
    m->looked = (size_t)(stop - m->left.p);
    return NULL;
}

int multipart_begin(struct multipart *m, struct span content_type, struct span body,
                    struct error *reterr)
{
    struct span boundary = { 0 };
    int r = find_boundary(content_type, &boundary, reterr);

    *m = (struct multipart){ .left = body };
    if (r < 0 || !boundary.p) {
        return -EINVAL;
    }
    memcpy(m->delimiter, "\r\n--", 4);
    memcpy(m->delimiter + 4, boundary.p, boundary.n);
    m->delimiter_len = boundary.n + 4;
    if (body.n < boundary.n + 2 || memcmp(body.p, m->delimiter + 2, boundary.n + 2) != 0) {
        return error_set(reterr, -EBADMSG, "the form does not begin with its boundary");
    }
    advance(&m->left, boundary.n + 2);
    return begin_part(m, reterr);
}

int multipart_step(struct multipart *m, size_t max, struct error *reterr)
{
    const char *end;
    int r;

    if (m->whole) {
        return 0;
    }
    end = find_end(m, max);
    if (!end) {
        return m->looked < m->left.n
                   ? 1
                   : error_set(reterr, -EBADMSG, "the form is cut: its last boundary is not there");
    }
    m->parts[m->count].data = (struct span){ m->left.p, (size_t)(end - m->left.p) };
    advance(&m->left, m->parts[m->count++].data.n + m->delimiter_len);
    m->looked = 0;
    r = begin_part(m, reterr);
    return r < 0 ? r : !m->whole;
}

int multipart_find(const struct multipart *m, const char *name, const struct multipart_part **ret,
                   struct error *reterr)
{
    const struct multipart_part *found = NULL;

    for (size_t i = 0; i < m->count; i++) {
        if (!span_eq(m->parts[i].name, name)) {
            continue;
        }
        if (found) {
            return error_set(reterr, -EINVAL, "the form has '%s' twice", name);
        }
        found = &m->parts[i];
    }
    *ret = found;
    return 0;
}

char *multipart_text(struct span s)
{
    static const struct {
        const char *from;
        char to;
    } escapes[] = {
        { "\\\"", '"' }, { "\\\\", '\\' }, { "%22", '"' }, { "%0D", '\r' }, { "%0A", '\n' }
    };
    char *out = xmalloc(s.n + 1), *p = out;

    while (s.n > 0) {
        size_t i = 0;

        while (i < ARRAY_SIZE(escapes) && !span_starts(s, escapes[i].from)) {
            i++;
        }
        *p++ = i < ARRAY_SIZE(escapes) ? escapes[i].to : s.p[0];
        advance(&s, i < ARRAY_SIZE(escapes) ? strlen(escapes[i].from) : 1);
    }
    *p = '\0';
    return out;
}
