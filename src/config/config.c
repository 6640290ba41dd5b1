// SPDX-License-Identifier: Apache-2.0
/* The door: a configuration is loaded in layers (defaults, file, environment) or not at all, then
 * read by name. */
#include "config/config_int.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

int config_load(const char *path, const char *const *environ_,
                const struct option_table *const *tables, struct config **ret, struct error *reterr)
{
    struct config *c = xcalloc(1, sizeof(*c));
    int r = 0;

    map_init(&c->values);
    c->models.items = json_array();
    c->task_types.items = json_array();
    for (const struct option_table *const *t = tables; *t; t++) {
        for (size_t i = 0; i < (*t)->count && r == 0; i++) {
            r = value_set(c, &(*t)->rows[i], (*t)->rows[i].def, "default", reterr);
            if (r < 0) {
                error_prefix(reterr, "default: ");
            }
        }
    }
    if (r == 0 && path) {
        r = file_load(c, path, environ_, tables, reterr);
    }
    if (r == 0) {
        r = environment_apply(c, environ_, tables, reterr);
    }
    if (r < 0) {
        config_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

static void free_entries(struct entries *e)
{
    json_decref(e->items);
    free(e->lines);
}

struct config *config_free(struct config *c)
{
    if (c) {
        map_for_each(e, &c->values)
        {
            value_free(e->value);
        }
        map_finish(&c->values);
        free_entries(&c->models);
        free_entries(&c->task_types);
        free(c->path);
        free(c);
    }
    return NULL;
}

/* Reading values */

static const struct value *get(const struct config *c, const char *name)
{
    const struct value *v = map_get(&c->values, name);

    assert(v);
    return v;
}

const char *config_string(const struct config *c, const char *name)
{
    const struct value *v = get(c, name);

    assert(v->row->type == OPTION_STRING || v->row->type == OPTION_ENUM);
    return v->text;
}

int64_t config_int(const struct config *c, const char *name)
{
    const struct value *v = get(c, name);

    assert(v->row->type == OPTION_INT);
    return v->num;
}

bool config_bool(const struct config *c, const char *name)
{
    const struct value *v = get(c, name);

    assert(v->row->type == OPTION_BOOL);
    return v->num != 0;
}

uint64_t config_duration_ms(const struct config *c, const char *name)
{
    const struct value *v = get(c, name);

    assert(v->row->type == OPTION_DURATION);
    return (uint64_t)v->num;
}

uint64_t config_bytes(const struct config *c, const char *name)
{
    const struct value *v = get(c, name);

    assert(v->row->type == OPTION_BYTES);
    return (uint64_t)v->num;
}

const char *const *config_list(const struct config *c, const char *name)
{
    const struct value *v = get(c, name);

    assert(v->row->type == OPTION_LIST);
    return (const char *const *)v->list;
}

int config_set_default(struct config *c, const char *name, const char *text, const char *source,
                       struct error *reterr)
{
    const struct value *v = get(c, name);
    int r;

    if (!str_eq(v->source, "default")) {
        return 0;
    }
    r = value_set(c, v->row, text, source, reterr);
    return r < 0 ? error_prefix(reterr, "%s: ", source) : r;
}

const char *config_source(const struct config *c, const char *name)
{
    return get(c, name)->source;
}

const struct option_row *config_row(const struct config *c, const char *name)
{
    return get(c, name)->row;
}

static int line_of(const struct entries *e, size_t index)
{
    return e->lines && index < json_array_size(e->items) ? e->lines[index] : 0;
}

json_t *config_models(const struct config *c)
{
    return c->models.items;
}

int config_model_line(const struct config *c, size_t index)
{
    return line_of(&c->models, index);
}

json_t *config_task_types(const struct config *c)
{
    return c->task_types.items;
}

int config_task_type_line(const struct config *c, size_t index)
{
    return line_of(&c->task_types, index);
}

const char *config_path(const struct config *c)
{
    return c->path;
}

/* As JSON */

json_t *config_diff(const struct config *a, const struct config *b)
{
    json_t *out = json_array();

    map_for_each(e, &b->values)
    {
        const struct value *to = e->value, *from = map_get(&a->values, e->key);

        if (from && !value_same(from, to)) {
            json_array_append_new(out, json_pack("{s:s, s:o, s:o, s:b}", "name", e->key, "from",
                                                 value_to_json(from), "to", value_to_json(to),
                                                 "restart_required", !to->row->reload));
        }
    }
    return out;
}

json_t *config_to_json(const struct config *c)
{
    json_t *out = json_object();

    map_for_each(e, &c->values)
    {
        struct span key = span_of(e->key), section = span_cut(&key, '.');
        _cleanup_(freep) char *name = span_dup(section);
        json_t *object = json_object_get(out, name);

        if (!object) {
            object = json_object();
            json_object_set_new(out, name, object);
        }
        json_object_set_new(object, key.p, value_to_json(e->value));
    }
    return out;
}
