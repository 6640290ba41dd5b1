// SPDX-License-Identifier: Apache-2.0
/* libyaml's events made into a tree. The path of the node in the making is kept as text, so that its line can be found again. */
#include "codec/yaml_tree.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/buf.h"
#include "base/mem.h"

enum { PATH_MAX_BYTES = 4096 };

struct reader {
    yaml_parser_t parser;
    const char *name;
    struct buf path;
    struct map anchors; /* name → json_t, owned */
    struct map *lines;
    size_t nodes, depth;
    struct error *reterr;
};

static int complain(struct reader *r, size_t line, const char *what)
{
    return error_set(r->reterr, -EINVAL, "%s:%zu: %s", r->name, line + 1, what);
}

static int next_event(struct reader *r, yaml_event_t *ret)
{
    if (yaml_parser_parse(&r->parser, ret)) {
        return 0;
    }
    return error_set(r->reterr, -EINVAL, "%s:%zu: %s", r->name,
                     (r->parser.problem_mark.line ? r->parser.problem_mark.line : r->parser.context_mark.line) + 1,
                     r->parser.problem ? r->parser.problem : "this is not YAML");
}

static bool is_number(const char *s, bool *ret_whole)
{
    const char *p = s + (*s == '-' || *s == '+');
    size_t digits = strspn(p, "0123456789");

    *ret_whole = true;
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

static size_t push(struct reader *r, const char *step)
{
    size_t before = r->path.len;

    if (before > 0) {
        buf_putc(&r->path, '.');
    }
    buf_puts(&r->path, step);
    return before;
}

static void pop(struct reader *r, size_t before)
{
    r->path.len = before;
    if (r->path.mem) {
        r->path.mem[r->path.start + before] = '\0';
    }
}

static int read_node(struct reader *r, const yaml_event_t *e, json_t **ret);

static int read_member(struct reader *r, const yaml_event_t *key, json_t *object)
{
    const char *name = (const char *)key->data.scalar.value;
    size_t line = key->start_mark.line, before;
    yaml_event_t e;
    json_t *value = NULL;
    int n;

    if (key->type != YAML_SCALAR_EVENT) {
        return complain(r, line, "a key must be plain text");
    }
    if (json_object_get(object, name)) {
        return error_set(r->reterr, -EINVAL, "%s:%zu: '%s' stands here twice", r->name, line + 1, name);
    }
    n = next_event(r, &e);
    if (n < 0) {
        return n;
    }
    before = push(r, name);
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
    before = push(r, step);
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

static size_t count_nodes(const json_t *j)
{
    size_t n = 1, i;
    const char *key;
    json_t *value;

    json_array_foreach(j, i, value)
    {
        n += count_nodes(value);
    }
    json_object_foreach(UNCONST(json_t *, j), key, value)
    {
        n += count_nodes(value);
    }
    return n;
}

static int read_alias(struct reader *r, const yaml_event_t *e, json_t **ret)
{
    json_t *known = map_get(&r->anchors, (const char *)e->data.alias.anchor);

    if (!known) {
        return complain(r, e->start_mark.line, "an alias without its anchor before it");
    }
    r->nodes += count_nodes(known);
    if (r->nodes > YAML_NODES_MAX) {
        return complain(r, e->start_mark.line, "aliases make this document too large");
    }
    *ret = json_deep_copy(known);
    return 0;
}

static void keep_anchor(struct reader *r, const unsigned char *anchor, json_t *value)
{
    if (anchor) {
        json_decref(map_put(&r->anchors, (const char *)anchor, json_incref(value)));
    }
}

static int read_container(struct reader *r, const yaml_event_t *e, json_t **ret)
{
    bool mapping = e->type == YAML_MAPPING_START_EVENT;
    json_t *value = mapping ? json_object() : json_array();
    int n;

    if (++r->depth > YAML_DEPTH_MAX) {
        json_decref(value);
        return complain(r, e->start_mark.line, "nested too deeply");
    }
    n = mapping ? read_mapping(r, value) : read_sequence(r, value);
    r->depth--;
    if (n < 0) {
        json_decref(value);
        return n;
    }
    keep_anchor(r, mapping ? e->data.mapping_start.anchor : e->data.sequence_start.anchor, value);
    *ret = value;
    return 0;
}

static int read_node(struct reader *r, const yaml_event_t *e, json_t **ret)
{
    if (++r->nodes > YAML_NODES_MAX) {
        return complain(r, e->start_mark.line, "the document has too many nodes");
    }
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        *ret = scalar(e);
        if (!*ret) {
            return complain(r, e->start_mark.line, "a value must be UTF-8 text");
        }
        keep_anchor(r, e->data.scalar.anchor, *ret);
        return 0;
    case YAML_ALIAS_EVENT:
        return read_alias(r, e, ret);
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT:
        return read_container(r, e, ret);
    default:
        return complain(r, e->start_mark.line, "a value is missing");
    }
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
    struct reader r = { .name = name,
                        .path = BUF_INIT(PATH_MAX_BYTES),
                        .lines = &ret->lines,
                        .reterr = reterr };
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
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text.p, text.n);
    n = read_stream(&r, &ret->root);
    yaml_parser_delete(&r.parser);
    map_for_each(e, &r.anchors)
    {
        json_decref(e->value);
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
    return (int)(uintptr_t)map_get(&d->lines, path);
}
