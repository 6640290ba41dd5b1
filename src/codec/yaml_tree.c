// SPDX-License-Identifier: Apache-2.0
/* libyaml's events made into a tree. The path of the node in the making is kept as text, so that
 * its line can be found again. */
#include "codec/yaml_tree.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/buf.h"
#include "base/mem.h"

enum { PATH_MAX_BYTES = 4096, VALUE_WEIGHT = 64 };

/* What an alias copies. value is owned. */
struct anchor {
    json_t *value;
    size_t weight;
    unsigned depth; /* levels of containers in it */
};

struct reader {
    yaml_parser_t parser;
    const char *name;
    struct buf path;
    struct map anchors; /* name → struct anchor, owned */
    struct map *lines;
    size_t weight;
    unsigned depth;
    struct error *reterr;
};

static int complain(struct reader *r, size_t line, const char *what)
{
    return error_set(r->reterr, -EINVAL, "%s:%zu: %s", r->name, line + 1, what);
}

static int next_event(struct reader *r, yaml_event_t *ret)
{
    const yaml_parser_t *p = &r->parser;

    if (yaml_parser_parse(&r->parser, ret)) {
        return 0;
    }
    return complain(r, p->error == YAML_READER_ERROR ? p->mark.line : p->problem_mark.line,
                    p->problem ? p->problem : "this is not YAML");
}

static int add_weight(struct reader *r, size_t weight, size_t line)
{
    r->weight += weight;
    if (r->weight > YAML_WEIGHT_MAX) {
        return complain(r, line,
                        "the file holds too much (aliases count as often as they are used)");
    }
    return 0;
}

static bool is_number(const char *s, bool *ret_whole)
{
    const char *p = s + (*s == '-' || *s == '+');
    size_t digits = strspn(p, "0123456789");

    *ret_whole = true;
    if (digits > 1 && *p == '0') {
        return false; /* 0755 stays as it was written */
    }
    p += digits;
    if (*p == '.') {
        size_t more = strspn(p + 1, "0123456789");

        *ret_whole = false;
        digits += more;
        p += 1 + more;
    }
    if (digits > 0 && (*p == 'e' || *p == 'E')) {
        size_t exponent;

        p += 1 + (p[1] == '-' || p[1] == '+');
        exponent = strspn(p, "0123456789");
        *ret_whole = false;
        p += exponent;
        digits = exponent ? digits : 0;
    }
    return digits > 0 && *p == '\0';
}

static json_t *plain_scalar(const char *s, size_t n)
{
    bool whole;

    if (n == 0 || str_eq(s, "~") || str_eq(s, "null") || str_eq(s, "Null") || str_eq(s, "NULL")) {
        return json_null();
    }
    if (str_eq(s, "true") || str_eq(s, "True") || str_eq(s, "TRUE")) {
        return json_true();
    }
    if (str_eq(s, "false") || str_eq(s, "False") || str_eq(s, "FALSE")) {
        return json_false();
    }
    if (is_number(s, &whole)) {
        struct span digits = { *s == '+' ? s + 1 : s, *s == '+' ? n - 1 : n };
        int64_t v;

        if (whole && span_to_i64(digits, &v) == 0) {
            return json_integer(v);
        }
        if (!whole && isfinite(strtod(s, NULL))) {
            return json_real(strtod(s, NULL));
        }
    }
    return json_stringn(s, n);
}

static json_t *scalar(const yaml_event_t *e)
{
    const char *s = (const char *)e->data.scalar.value;

    if (e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        return plain_scalar(s, e->data.scalar.length);
    }
    return json_stringn(s, e->data.scalar.length);
}

static void note_line(struct reader *r, size_t line)
{
    map_put(r->lines, buf_data(&r->path), (void *)(uintptr_t)(line + 1));
}

/* Steps down in the path; *ret_before is where pop returns to. */
static int push(struct reader *r, const char *step, size_t line, size_t *ret_before)
{
    *ret_before = r->path.len;
    if (r->path.len > 0) {
        buf_putc(&r->path, '.');
    }
    buf_puts(&r->path, step);
    if (r->path.overflow) {
        return complain(r, line, "the keys down to here are too long");
    }
    return 0;
}

static void pop(struct reader *r, size_t before)
{
    r->path.len = before;
    if (r->path.mem) {
        r->path.mem[r->path.start + before] = '\0';
    }
}

static int check_tag(struct reader *r, const yaml_char_t *tag, size_t line)
{
    return tag ? complain(r, line, "tags (!...) are not understood here") : 0;
}

static int read_node(struct reader *r, const yaml_event_t *e, json_t **ret);

/* Whether this may be a key of the object. */
static int check_key(struct reader *r, const yaml_event_t *key, const json_t *object)
{
    const char *name = (const char *)key->data.scalar.value;
    size_t line = key->start_mark.line, before;
    int n;

    if (key->type != YAML_SCALAR_EVENT) {
        return complain(r, line, "a key must be plain text");
    }
    if (strlen(name) != key->data.scalar.length) {
        return complain(r, line, "a NUL character stands in a key");
    }
    if (str_eq(name, "<<") && key->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        return complain(r, line, "merge keys (<<) are not understood here");
    }
    if (json_object_get(object, name)) {
        n = push(r, name, line, &before);
        if (n == 0) {
            n = error_set(r->reterr, -EINVAL,
                          "%s:%zu: '%.100s' stands here twice, first in line %d", r->name, line + 1,
                          name, (int)(uintptr_t)map_get(r->lines, buf_data(&r->path)));
        }
        pop(r, before);
        return n;
    }
    return check_tag(r, key->data.scalar.tag, line);
}

static int read_member(struct reader *r, const yaml_event_t *key, json_t *object)
{
    const char *name = (const char *)key->data.scalar.value;
    size_t line = key->start_mark.line, before;
    yaml_event_t e;
    json_t *value = NULL;
    int n;

    n = check_key(r, key, object);
    if (n < 0) {
        return n;
    }
    n = push(r, name, line, &before);
    if (n < 0) {
        return n;
    }
    n = next_event(r, &e);
    if (n < 0) {
        return n;
    }
    note_line(r, line);
    n = read_node(r, &e, &value);
    pop(r, before);
    yaml_event_delete(&e);
    if (n == 0 && json_object_set_new(object, name, value) < 0) {
        n = complain(r, line, "a key must be UTF-8 text");
    }
    return n;
}

static int read_mapping(struct reader *r, json_t *object)
{
    for (;;) {
        yaml_event_t e;
        int n = next_event(r, &e);

        if (n < 0) {
            return n;
        }
        if (e.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&e);
            return 0;
        }
        n = read_member(r, &e, object);
        yaml_event_delete(&e);
        if (n < 0) {
            return n;
        }
    }
}

static int read_item(struct reader *r, const yaml_event_t *e, json_t *array)
{
    char step[24];
    size_t before;
    json_t *value = NULL;
    int n;

    snprintf(step, sizeof(step), "%zu", json_array_size(array));
    n = push(r, step, e->start_mark.line, &before);
    if (n < 0) {
        return n;
    }
    note_line(r, e->start_mark.line);
    n = read_node(r, e, &value);
    pop(r, before);
    return n < 0 ? n : json_array_append_new(array, value);
}

static int read_sequence(struct reader *r, json_t *array)
{
    for (;;) {
        yaml_event_t e;
        int n = next_event(r, &e);

        if (n < 0) {
            return n;
        }
        if (e.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&e);
            return 0;
        }
        n = read_item(r, &e, array);
        yaml_event_delete(&e);
        if (n < 0) {
            return n;
        }
    }
}

/* Levels of containers; what was read is never deeper than YAML_DEPTH_MAX. */
static unsigned depth_of(const json_t *j)
{
    unsigned deepest = 0, d;
    const char *key;
    json_t *value;
    size_t i;

    json_array_foreach(j, i, value)
    {
        d = depth_of(value);
        deepest = MAX_OF(deepest, d);
    }
    json_object_foreach(UNCONST(json_t *, j), key, value)
    {
        d = depth_of(value);
        deepest = MAX_OF(deepest, d);
    }
    return deepest + (json_is_array(j) || json_is_object(j));
}

static int read_alias(struct reader *r, const yaml_event_t *e, json_t **ret)
{
    const struct anchor *known = map_get(&r->anchors, (const char *)e->data.alias.anchor);
    int n;

    if (!known) {
        return complain(r, e->start_mark.line, "an alias without its anchor before it");
    }
    if (r->depth + known->depth > YAML_DEPTH_MAX) {
        return complain(r, e->start_mark.line, "nested too deeply");
    }
    n = add_weight(r, known->weight, e->start_mark.line);
    if (n == 0) {
        *ret = json_deep_copy(known->value);
    }
    return n;
}

static struct anchor *free_anchor(struct anchor *a)
{
    if (a) {
        json_decref(a->value);
        free(a);
    }
    return NULL;
}

/* A later anchor of the same name takes the place of the earlier one. */
static void keep_anchor(struct reader *r, const yaml_char_t *name, json_t *value, size_t weight)
{
    struct anchor *a = xcalloc(1, sizeof(*a));

    a->value = json_incref(value);
    a->weight = weight;
    a->depth = depth_of(value);
    free_anchor(map_put(&r->anchors, (const char *)name, a));
}

static int read_scalar(struct reader *r, const yaml_event_t *e, json_t **ret)
{
    size_t line = e->start_mark.line, length = e->data.scalar.length;
    int n;

    n = check_tag(r, e->data.scalar.tag, line);
    if (n == 0 && memchr(e->data.scalar.value, '\0', length)) {
        n = complain(r, line, "a NUL character stands in a text");
    }
    if (n == 0) {
        n = add_weight(r, length, line);
    }
    if (n < 0) {
        return n;
    }
    *ret = scalar(e);
    return *ret ? 0 : complain(r, line, "a value must be UTF-8 text");
}

static int read_container(struct reader *r, const yaml_event_t *e, json_t **ret)
{
    bool mapping = e->type == YAML_MAPPING_START_EVENT;
    size_t line = e->start_mark.line;
    json_t *value;
    int n;

    n = check_tag(r, mapping ? e->data.mapping_start.tag : e->data.sequence_start.tag, line);
    if (n < 0) {
        return n;
    }
    if (r->depth == YAML_DEPTH_MAX) {
        return complain(r, line, "nested too deeply");
    }
    r->depth++;
    value = mapping ? json_object() : json_array();
    n = mapping ? read_mapping(r, value) : read_sequence(r, value);
    r->depth--;
    if (n < 0) {
        json_decref(value);
        return n;
    }
    *ret = value;
    return 0;
}

static int read_node(struct reader *r, const yaml_event_t *e, json_t **ret)
{
    const yaml_char_t *anchor = NULL;
    size_t before = r->weight;
    int n;

    n = add_weight(r, VALUE_WEIGHT + r->path.len, e->start_mark.line);
    if (n < 0) {
        return n;
    }
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        anchor = e->data.scalar.anchor;
        n = read_scalar(r, e, ret);
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = e->data.mapping_start.anchor;
        n = read_container(r, e, ret);
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = e->data.sequence_start.anchor;
        n = read_container(r, e, ret);
        break;
    case YAML_ALIAS_EVENT:
        return read_alias(r, e, ret);
    default:
        return complain(r, e->start_mark.line, "a value is missing");
    }
    if (n == 0 && anchor) {
        keep_anchor(r, anchor, *ret, r->weight - before);
    }
    return n;
}

/* One document, or none. */
static int read_stream(struct reader *r, json_t **ret)
{
    yaml_event_t e;
    int n;

    for (;;) {
        n = next_event(r, &e);
        if (n < 0) {
            return n;
        }
        if (e.type == YAML_STREAM_END_EVENT) {
            yaml_event_delete(&e);
            *ret = *ret ? *ret : json_null();
            return 0;
        }
        if (e.type == YAML_DOCUMENT_START_EVENT && *ret) {
            n = complain(r, e.start_mark.line, "more than one document");
        } else if (e.type != YAML_STREAM_START_EVENT && e.type != YAML_DOCUMENT_START_EVENT &&
                   e.type != YAML_DOCUMENT_END_EVENT) {
            n = read_node(r, &e, ret);
        }
        yaml_event_delete(&e);
        if (n < 0) {
            return n;
        }
    }
}

int yaml_read(struct span text, const char *name, struct yaml_document *ret, struct error *reterr)
{
    struct reader r = {
        .name = name, .path = BUF_INIT(PATH_MAX_BYTES), .lines = &ret->lines, .reterr = reterr
    };
    int n;

    if (text.n > YAML_SIZE_MAX) {
        return error_set(reterr, -EFBIG, "%s: larger than %d bytes", name, YAML_SIZE_MAX);
    }
    if (!yaml_parser_initialize(&r.parser)) {
        return error_set(reterr, -ENOMEM, "out of memory");
    }
    ret->root = NULL;
    map_init(&ret->lines);
    map_init(&r.anchors);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    n = read_stream(&r, &ret->root);
    yaml_parser_delete(&r.parser);
    map_for_each(e, &r.anchors)
    {
        free_anchor(e->value);
    }
    map_finish(&r.anchors);
    buf_finish(&r.path);
    if (n < 0) {
        yaml_document_finish(ret);
    }
    return n;
}

void yaml_document_finish(struct yaml_document *d)
{
    json_decref(d->root);
    d->root = NULL;
    map_finish(&d->lines);
}

int yaml_line(const struct yaml_document *d, const char *path)
{
    struct span at = span_of(path);

    for (;;) {
        uintptr_t line = (uintptr_t)map_get_span(&d->lines, at);

        if (line || at.n == 0) {
            return (int)line;
        }
        do {
            at.n--;
        } while (at.n > 0 && at.p[at.n] != '.');
    }
}
