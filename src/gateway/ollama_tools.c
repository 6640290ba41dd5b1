// SPDX-License-Identifier: Apache-2.0
/*
 * Walking inside accepted JSON, and tool calls: engines send their arguments as a string, in a
 * stream piece by piece; Ollama's clients want each call once, whole, with an object.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gateway/ollama_int.h"

/* Walking */

static bool is_separator(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == ',';
}

/* p stands on a quote; returns what follows the closing one. */
static const char *skip_string(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++) {
        p += *p == '\\';
    }
    return p < end ? p + 1 : end;
}

static const char *skip_container(const char *p, const char *end)
{
    unsigned depth = 0;

    while (p < end) {
        if (*p == '"') {
            p = skip_string(p, end);
            continue;
        }
        depth += *p == '[' || *p == '{';
        depth -= *p == ']' || *p == '}';
        p++;
        if (depth == 0) {
            break;
        }
    }
    return p;
}

bool raw_next(struct span *rest, struct span *ret)
{
    const char *p = rest->p, *end = rest->p + rest->n, *from;

    while (p < end && is_separator(*p)) {
        p++;
    }
    if (p == end) {
        return false;
    }
    from = p;
    if (*p == '"') {
        p = skip_string(p, end);
    } else if (*p == '[' || *p == '{') {
        p = skip_container(p, end);
    } else {
        while (p < end && !is_separator(*p)) {
            p++;
        }
    }
    *ret = (struct span){ from, (size_t)(p - from) };
    *rest = (struct span){ p, (size_t)(end - p) };
    return true;
}

enum scan_type raw_type(struct span value)
{
    switch (value.n ? *value.p : '\0') {
    case '\0':
        return SCAN_ABSENT;
    case '"':
        return SCAN_STRING;
    case '[':
        return SCAN_ARRAY;
    case '{':
        return SCAN_OBJECT;
    case 't':
    case 'f':
        return SCAN_BOOL;
    case 'n':
        return SCAN_NULL;
    default:
        return SCAN_NUMBER;
    }
}

double raw_number(const struct scan_member *m)
{
    char text[64];
    double v;

    if (m->type != SCAN_NUMBER || m->value.n >= sizeof(text)) {
        return 0;
    }
    memcpy(text, m->value.p, m->value.n);
    text[m->value.n] = '\0';
    v = strtod(text, NULL);
    return v > 0 ? fmin(v, 1e15) : 0;
}

void put_compact(struct buf *b, struct span s)
{
    const char *p = s.p, *end = s.p + s.n, *from = p;

    while (p < end) {
        if (*p == '"') {
            p = skip_string(p, end);
        } else if (is_separator(*p) && *p != ',') {
            buf_append(b, from, (size_t)(p - from));
            from = ++p;
        } else {
            p++;
        }
    }
    buf_append(b, from, (size_t)(p - from));
}

void put_text(struct buf *b, const char *text)
{
    buf_putc(b, '"');
    buf_put_json_escaped(b, text, strlen(text));
    buf_putc(b, '"');
}

/* Tool calls */

static struct tool_call *call_at(struct tool_calls *t, size_t index)
{
    if (index >= TOOL_CALLS_MAX) {
        t->overflow = true;
        return NULL;
    }
    if (!t->calls) {
        t->calls = xcalloc(TOOL_CALLS_MAX, sizeof(*t->calls));
        for (size_t i = 0; i < TOOL_CALLS_MAX; i++) {
            buf_init(&t->calls[i].arguments, TOOL_BYTES_MAX);
        }
    }
    t->count = MAX_OF(t->count, index + 1);
    return &t->calls[index];
}

static bool fits(struct tool_calls *t, size_t n)
{
    if (n > TOOL_BYTES_MAX - t->bytes) {
        t->overflow = true;
        return false;
    }
    t->bytes += n;
    return true;
}

/* Some engines say the name in every piece: the first one counts. */
static void take_raw(struct tool_calls *t, char **where, const struct scan_member *m)
{
    if (!*where && raw_filled(m) && fits(t, m->value.n)) {
        *where = span_dup(m->value);
    }
}

static void take_arguments(struct tool_calls *t, struct tool_call *call,
                           const struct scan_member *m)
{
    _cleanup_(freep) char *text = NULL;

    if (m->type == SCAN_OBJECT && fits(t, m->value.n)) {
        put_span(&call->arguments, m->value);
    } else if (m->type == SCAN_STRING && fits(t, m->value.n) && scan_string(m, &text, NULL) == 0) {
        buf_puts(&call->arguments, text);
    }
}

void tool_calls_gather(struct tool_calls *t, struct span array)
{
    enum { INDEX, ID, FUNCTION, NAME, ARGUMENTS, COUNT };
    struct span rest = raw_inside(array), element;

    for (size_t position = 0; raw_next(&rest, &element); position++) {
        struct scan_member f[COUNT] = {
            [INDEX] = { .name = "index" },
            [ID] = { .name = "id" },
            [FUNCTION] = { .name = "function" },
            [NAME] = { .name = "function.name" },
            [ARGUMENTS] = { .name = "function.arguments" },
        };
        int64_t index = (int64_t)position;
        struct tool_call *call;

        if (scan_object(element, f, COUNT, NULL) < 0) {
            continue;
        }
        if (f[INDEX].type == SCAN_NUMBER && scan_int(&f[INDEX], &index, NULL) < 0) {
            continue;
        }
        call = call_at(t, index < 0 ? 0 : (size_t)index);
        if (call) {
            take_raw(t, &call->id, &f[ID]);
            take_raw(t, &call->name, &f[NAME]);
            take_arguments(t, call, &f[ARGUMENTS]);
        }
    }
}

/* Arguments that are no text at all mean: none. */
static bool is_object(const struct tool_call *call)
{
    return call->arguments.len == 0 || scan_object(buf_span(&call->arguments), NULL, 0, NULL) == 0;
}

static void put_call(const struct tool_call *call, struct buf *out)
{
    buf_putc(out, '{');
    if (call->id) {
        buf_printf(out, "\"id\":%s,", call->id);
    }
    buf_printf(out, "\"function\":{\"name\":%s,\"arguments\":", call->name);
    put_compact(out, call->arguments.len ? buf_span(&call->arguments) : SPAN("{}"));
    buf_puts(out, "}}");
}

bool tool_calls_put(const struct tool_calls *t, struct buf *out)
{
    bool any = false;

    for (size_t i = 0; i < t->count; i++) {
        if (t->calls[i].name && is_object(&t->calls[i])) {
            buf_putc(out, any ? ',' : '[');
            put_call(&t->calls[i], out);
            any = true;
        }
    }
    if (any) {
        buf_putc(out, ']');
    }
    return any;
}

void tool_calls_put_rest(const struct tool_calls *t, struct buf *out)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct buf *arguments = &t->calls[i].arguments;

        if (!t->calls[i].name || !is_object(&t->calls[i])) {
            buf_put_json_escaped(out, buf_data(arguments), arguments->len);
        }
    }
}

void tool_calls_finish(struct tool_calls *t)
{
    for (size_t i = 0; t->calls && i < TOOL_CALLS_MAX; i++) {
        free(t->calls[i].id);
        free(t->calls[i].name);
        buf_finish(&t->calls[i].arguments);
    }
    free(t->calls);
    *t = (struct tool_calls){ 0 };
}
