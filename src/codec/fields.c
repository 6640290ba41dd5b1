// SPDX-License-Identifier: Apache-2.0
/* Members of foreign objects: each is read once, with its type and its bounds; the first fault is
 * the one that is told. */
#include "codec/fields.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

enum { SPELLING_MIN = 5, SPELLING_DISTANCE = 2, DAY_S = 86400 };

/* Foreign names go into sentences and logs: what does not print becomes a question mark, and what
 * was cut is not cut inside a character. */
static void make_plain(char *s)
{
    size_t n = strlen(s);

    while (n > 0 && !is_valid_utf8(s, n)) {
        s[--n] = '\0';
    }
    for (; *s; s++) {
        if ((unsigned char)*s < 0x20 || (unsigned char)*s == 0x7f) {
            *s = '?';
        }
    }
}

static void join_path(char out[FIELD_PATH_MAX], const char *path, const char *name)
{
    const bool both = *path && *name;
    char whole[2 * FIELD_PATH_MAX + 2];

    snprintf(whole, sizeof(whole), "%.*s%s%.*s", FIELD_PATH_MAX, path, both ? "." : "",
             FIELD_PATH_MAX, name);
    memcpy(out, whole, FIELD_PATH_MAX);
    out[FIELD_PATH_MAX - 1] = '\0';
    make_plain(out);
}

void fields_fault(const struct fields *f, int code, const char *name, const char *fmt, ...)
{
    struct fault *fault = f->fault;
    char text[320];
    va_list ap;

    if (fault->code != 0) {
        return;
    }
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    make_plain(text);
    fault->code = code;
    join_path(fault->field, f->path, name ? name : "");
    error_set(&fault->error, code, "%s%s%s", fault->field, *fault->field ? ": " : "", text);
}

int fault_result(const struct fault *fault, char field[FIELD_PATH_MAX], struct error *reterr)
{
    if (fault->code != 0) {
        if (field) {
            memcpy(field, fault->field, FIELD_PATH_MAX);
        }
        if (reterr) {
            *reterr = fault->error;
        }
    }
    return fault->code;
}

struct fields fields_of(const json_t *object, const char *path, struct fault *fault)
{
    struct fields f = { .object = object, .fault = fault };

    join_path(f.path, "", path);
    if (!json_is_object(object)) {
        fields_fault(&f, -EPROTO, NULL, "this has to be an object");
        f.object = NULL;
    }
    return f;
}

struct fields fields_object(const struct fields *f, const char *name, bool required)
{
    const json_t *v = fields_get(f, name);
    struct fields inner = { .object = json_is_object(v) ? v : NULL, .fault = f->fault };

    join_path(inner.path, f->path, name);
    if (!v && required) {
        fields_fault(f, -EPROTO, name, "this is missing");
    } else if (v && !inner.object) {
        fields_fault(f, -EPROTO, name, "this has to be an object");
    }
    return inner;
}

const json_t *fields_get(const struct fields *f, const char *name)
{
    const json_t *v = f->object ? json_object_get(f->object, name) : NULL;

    return json_is_null(v) ? NULL : v;
}

bool fields_has(const struct fields *f, const char *name)
{
    return fields_get(f, name) != NULL;
}

const char *fields_pick(const struct fields *f, const char *const *names)
{
    for (size_t i = 0; names[i]; i++) {
        if (fields_has(f, names[i])) {
            return names[i];
        }
    }
    return names[0];
}

void fields_require(const struct fields *f, const char *name)
{
    if (!fields_has(f, name)) {
        fields_fault(f, -EPROTO, name, "this is missing");
    }
}

double fields_number(const struct fields *f, const char *name, double low, double high,
                     double fallback)
{
    const json_t *v = fields_get(f, name);
    double n;

    if (!v) {
        return fallback;
    }
    if (!json_is_number(v)) {
        fields_fault(f, -EPROTO, name, "this has to be a number");
        return fallback;
    }
    n = json_number_value(v);
    if (!isfinite(n) || n < low || n > high) {
        fields_fault(f, -EINVAL, name, "%.6g is out of range (%.6g to %.6g)", n, low, high);
        return fallback;
    }
    return n;
}

unsigned fields_count(const struct fields *f, const char *name, unsigned low, unsigned high,
                      unsigned fallback)
{
    const double n = fields_number(f, name, low, high, fallback);

    if (n != floor(n)) {
        fields_fault(f, -EINVAL, name, "%.6g is not a whole number", n);
        return fallback;
    }
    return (unsigned)n;
}

double fields_seconds(const struct fields *f, const char *name, double fallback)
{
    const json_t *v = fields_get(f, name);
    uint64_t ms;

    if (!json_is_string(v)) {
        return fields_number(f, name, 0, DAY_S, fallback);
    }
    if (str_to_duration_ms(json_string_value(v), &ms) < 0 || ms > (uint64_t)DAY_S * 1000) {
        fields_fault(f, -EINVAL, name, "a time of at most a day is expected, such as 2s or 50ms");
        return fallback;
    }
    return (double)ms / 1000;
}

bool fields_bool(const struct fields *f, const char *name, bool fallback)
{
    const json_t *v = fields_get(f, name);

    if (v && !json_is_boolean(v)) {
        fields_fault(f, -EPROTO, name, "this has to be true or false");
        return fallback;
    }
    return v ? json_is_true(v) : fallback;
}

const char *fields_text(const struct fields *f, const char *name)
{
    const json_t *v = fields_get(f, name);

    if (v && !json_is_string(v)) {
        fields_fault(f, -EPROTO, name, "this has to be a text");
        return NULL;
    }
    return json_string_value(v);
}

int fields_word(const struct fields *f, const char *name, int (*from)(const char *),
                const char *words, int fallback)
{
    const char *text = fields_text(f, name);
    int n;

    if (!text) {
        return fallback;
    }
    n = from(text);
    if (n < 0) {
        fields_fault(f, -EINVAL, name, "there is no '%.40s': %s", text, words);
        return fallback;
    }
    return n;
}

/* ---- spelling ---- */

static bool is_known(const char *name, const char *const *known)
{
    while (*known && !str_eq(name, *known)) {
        known++;
    }
    return *known != NULL;
}

static const char *nearest(const char *name, const char *const *known)
{
    for (; *known; known++) {
        if (strlen(*known) >= SPELLING_MIN && str_distance(name, *known) <= SPELLING_DISTANCE) {
            return *known;
        }
    }
    return NULL;
}

void fields_only(const struct fields *f, const char *const *known)
{
    const char *name;
    json_t *value;

    if (!f->object) {
        return;
    }
    json_object_foreach(UNCONST(json_t *, f->object), name, value)
    {
        if (!is_known(name, known)) {
            fields_fault(f, -EINVAL, name, "there is no such member");
        }
    }
}

void fields_spelling(const struct fields *f, const char *const *known)
{
    const char *name, *near;
    json_t *value;

    if (!f->object) {
        return;
    }
    json_object_foreach(UNCONST(json_t *, f->object), name, value)
    {
        near = is_known(name, known) ? NULL : nearest(name, known);
        if (near) {
            fields_fault(f, -EINVAL, name, "there is no such member; %s is meant?", near);
        }
    }
}
