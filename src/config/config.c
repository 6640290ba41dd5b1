// SPDX-License-Identifier: Apache-2.0
/*
 * Reading a configuration: the file's tree is walked once against the rows, then the environment is laid over it. Every value, defaults too, goes through the same parser,
 * so that a default that its own row would refuse is found by the first test that loads it.
 */
#include "config/config.h"

#include <assert.h>
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "codec/yaml_tree.h"

enum { SOURCE_MAX = 512 };

struct value {
    const struct option_row *row;
    char *text;   /* as given */
    char **list;  /* OPTION_LIST */
    int64_t num;  /* int, bool, ms, bytes */
    char *source;
};

struct config {
    char *path;
    struct map values; /* by name */
    json_t *models;
    int *model_lines;
};

/* Values from text */

static const char *range_text(const struct option_row *row, char out[96])
{
    if (row->type == OPTION_DURATION) {
        snprintf(out, 96, "%g s to %g s", (double)row->min / 1000, (double)row->max / 1000);
    } else {
        snprintf(out, 96, "%lld to %lld", (long long)row->min, (long long)row->max);
    }
    return out;
}

static int check_range(const struct option_row *row, int64_t v, struct error *reterr)
{
    char range[96];

    if ((row->min || row->max) && (v < row->min || v > row->max)) {
        return error_set(reterr, -EINVAL, "%s is out of range: %s", row->name, range_text(row, range));
    }
    return 0;
}

static int parse_bool(const char *text, int64_t *ret)
{
    static const char *const yes[] = { "true", "yes", "on", "1" };
    static const char *const no[] = { "false", "no", "off", "0" };

    for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
        if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
            *ret = strcasecmp(text, yes[i]) == 0;
            return 0;
        }
    }
    return -EINVAL;
}

static bool is_word_of(const char *words, const char *text)
{
    struct span rest = span_of(words);

    while (rest.p) {
        if (span_eq(span_cut(&rest, ' '), text)) {
            return true;
        }
    }
    return false;
}

static char **split_list(const char *text)
{
    struct span rest = span_of(text);
    char **list = xcalloc(1, sizeof(char *));
    size_t n = 0;

    while (rest.p) {
        struct span item = span_trim(span_cut(&rest, ','));

        if (item.n > 0) {
            list = xrealloc(list, (n + 2) * sizeof(char *));
            list[n++] = span_dup(item);
            list[n] = NULL;
        }
    }
    return list;
}

static int parse_number(const struct option_row *row, const char *text, int64_t *ret,
                        struct error *reterr)
{
    uint64_t u = 0;

    switch (row->type) {
    case OPTION_INT:
        if (span_to_i64(span_of(text), ret) < 0) {
            return error_set(reterr, -EINVAL, "%s must be a whole number, not \"%s\"", row->name, text);
        }
        break;
    case OPTION_DURATION:
        if (str_to_duration_ms(text, &u) < 0) {
            return error_set(reterr, -EINVAL, "%s must be a duration such as 300s, 5m or 250ms, not \"%s\"",
                             row->name, text);
        }
        *ret = (int64_t)u;
        break;
    case OPTION_BYTES:
        if (str_to_bytes(text, &u) < 0) {
            return error_set(reterr, -EINVAL, "%s must be a size such as 512MiB or 32K, not \"%s\"",
                             row->name, text);
        }
        *ret = (int64_t)u;
        break;
    default:
        if (parse_bool(text, ret) < 0) {
            return error_set(reterr, -EINVAL, "%s must be true or false, not \"%s\"", row->name, text);
        }
        return 0;
    }
    return check_range(row, *ret, reterr);
}

static void free_value(struct value *v)
{
    if (v) {
        free(v->text);
        free(v->source);
        str_list_free(v->list);
        free(v);
    }
}

static int set_value(struct config *c, const struct option_row *row, const char *text,
                     const char *source, struct error *reterr)
{
    struct value *v = xcalloc(1, sizeof(*v));
    int r = 0;

    v->row = row;
    v->text = xstrdup(text);
    v->source = xstrdup(source);
    if (row->type == OPTION_LIST) {
        v->list = split_list(text);
    } else if (row->type == OPTION_ENUM) {
        if (!is_word_of(row->words, text)) {
            r = error_set(reterr, -EINVAL, "%s must be one of: %s; not \"%s\"", row->name, row->words, text);
        }
    } else if (row->type != OPTION_STRING) {
        r = parse_number(row, text, &v->num, reterr);
    }
    if (r < 0) {
        free_value(v);
        return r;
    }
    free_value(map_put(&c->values, row->name, v));
    return 0;
}

/* Rows */

static const struct option_row *find_row(const struct option_table *const *tables, const char *name)
{
    for (; *tables; tables++) {
        for (size_t i = 0; i < (*tables)->count; i++) {
            if (str_eq((*tables)->rows[i].name, name)) {
                return &(*tables)->rows[i];
            }
        }
    }
    return NULL;
}

static size_t edit_distance(const char *a, const char *b)
{
    size_t m = strlen(b), row[128];

    if (m >= ARRAY_SIZE(row)) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= m; j++) {
        row[j] = j;
    }
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            row[j] = MIN_OF(change, 1 + MIN_OF(row[j], row[j - 1]));
        }
    }
    return row[m];
}

static const char *nearest(const struct option_table *const *tables, const char *name)
{
    size_t best = 4;
    const char *found = NULL;

    for (; *tables; tables++) {
        for (size_t i = 0; i < (*tables)->count; i++) {
            size_t d = edit_distance(name, (*tables)->rows[i].name);

            if (d < best) {
                best = d;
                found = (*tables)->rows[i].name;
            }
        }
    }
    return found;
}

static bool is_section(const struct option_table *const *tables, const char *name)
{
    size_t n = strlen(name);

    for (; *tables; tables++) {
        for (size_t i = 0; i < (*tables)->count; i++) {
            const char *row = (*tables)->rows[i].name;

            if (strncmp(row, name, n) == 0 && row[n] == '.') {
                return true;
            }
        }
    }
    return false;
}

/* The environment */

static const char *env_get(const char *const *env, struct span name)
{
    for (; env && *env; env++) {
        if (strncmp(*env, name.p, name.n) == 0 && (*env)[name.n] == '=') {
            return *env + name.n + 1;
        }
    }
    return NULL;
}

/* Replaces ${NAME}; $$ is a dollar. */
static int expand(const char *s, const char *const *env, char **ret, struct error *reterr)
{
    struct buf b = BUF_INIT(1 << 20);

    for (; *s; s++) {
        const char *close = *s == '$' && s[1] == '{' ? strchr(s, '}') : NULL;

        if (*s == '$' && s[1] == '$') {
            buf_putc(&b, *s++);
        } else if (close) {
            struct span name = { s + 2, (size_t)(close - s) - 2 };
            const char *value = env_get(env, name);

            if (!value) {
                buf_finish(&b);
                return error_set(reterr, -EINVAL, "the environment has no %.*s", SPAN_ARG(name));
            }
            buf_puts(&b, value);
            s = close;
        } else {
            buf_putc(&b, *s);
        }
    }
    *ret = buf_take(&b, NULL);
    return 0;
}

static int apply_environment(struct config *c, const char *const *env,
                             const struct option_table *const *tables, struct error *reterr)
{
    for (; env && *env; env++) {
        struct span value = span_of(*env), name = span_cut(&value, '=');
        bool known = false;

        if (!span_starts(name, "BERTH_") || !value.p) {
            continue;
        }
        for (const struct option_table *const *t = tables; *t && !known; t++) {
            for (size_t i = 0; i < (*t)->count && !known; i++) {
                const struct option_row *row = &(*t)->rows[i];
                char upper[128] = "BERTH_";
                size_t n = 6;
                int r;

                for (const char *p = row->name; *p && n + 1 < sizeof(upper); p++) {
                    upper[n++] = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
                }
                known = span_eq(name, upper);
                r = known ? set_value(c, row, value.p, upper, reterr) : 0;
                if (r < 0) {
                    return error_prefix(reterr, "%s: ", upper);
                }
            }
        }
        if (!known && !span_eq(name, "BERTH_INSTANCE") && !span_eq(name, "BERTH_DATA_DIR") &&
            !span_eq(name, "BERTH_CONFIG") && !span_eq(name, "BERTH_KEY") && !span_eq(name, "BERTH_URL")) {
            _cleanup_(freep) char *text = span_dup(name);

            log_warn("config", text, "no option has this name, ignoring");
        }
    }
    return 0;
}

/* The file */

struct file {
    struct config *config;
    const char *name;
    const char *const *env;
    const struct option_table *const *tables;
    struct yaml_document doc;
};

static int at_line(struct file *f, const char *path, struct error *reterr)
{
    return error_prefix(reterr, "%s:%d: ", f->name, yaml_line(&f->doc, path));
}

/* The text of a scalar as it could stand in the environment; NULL for null and containers. */
static char *scalar_text(const json_t *j)
{
    switch (json_typeof(j)) {
    case JSON_STRING:
        return xstrdup(json_string_value(j));
    case JSON_INTEGER:
        return xasprintf("%lld", (long long)json_integer_value(j));
    case JSON_REAL:
        return xasprintf("%.15g", json_real_value(j));
    case JSON_TRUE:
        return xstrdup("true");
    case JSON_FALSE:
        return xstrdup("false");
    default:
        return NULL;
    }
}

static int list_text(const json_t *array, char **ret, struct error *reterr)
{
    struct buf b = BUF_INIT(1 << 20);
    size_t i;
    json_t *item;

    json_array_foreach(array, i, item)
    {
        _cleanup_(freep) char *text = scalar_text(item);

        if (!text) {
            buf_finish(&b);
            return error_set(reterr, -EINVAL, "a list must hold plain values");
        }
        buf_printf(&b, "%s%s", i ? "," : "", text);
    }
    *ret = buf_take(&b, NULL);
    return 0;
}

static int set_from_file(struct file *f, const char *name, const json_t *j, struct error *reterr)
{
    const struct option_row *row = find_row(f->tables, name);
    _cleanup_(freep) char *raw = NULL, *text = NULL;
    char source[SOURCE_MAX];
    int r = 0;

    if (!row) {
        const char *meant = nearest(f->tables, name);

        return error_set(reterr, -EINVAL, "there is no option '%s'%s%s%s", name,
                         meant ? "; did you mean '" : "", meant ? meant : "", meant ? "'?" : "");
    }
    if (json_is_array(j) && row->type == OPTION_LIST) {
        r = list_text(j, &raw, reterr);
    } else {
        raw = json_is_null(j) ? xstrdup("") : scalar_text(j);
    }
    if (r == 0 && !raw) {
        r = error_set(reterr, -EINVAL, "%s must be a plain value", name);
    }
    r = r < 0 ? r : expand(raw, f->env, &text, reterr);
    if (r < 0) {
        return r;
    }
    snprintf(source, sizeof(source), "%s:%d", f->name, yaml_line(&f->doc, name));
    return set_value(f->config, row, text, source, reterr);
}

static int read_section(struct file *f, const char *section, json_t *object, struct error *reterr)
{
    const char *key;
    json_t *value;
    int r = 0;

    if (json_is_null(object)) {
        return 0;
    }
    if (!json_is_object(object)) {
        error_set(reterr, -EINVAL, "'%s' must be a section with keys", section);
        return at_line(f, section, reterr);
    }
    json_object_foreach(object, key, value)
    {
        _cleanup_(freep) char *name = xasprintf("%s.%s", section, key);

        r = set_from_file(f, name, value, reterr);
        if (r < 0) {
            return at_line(f, name, reterr);
        }
    }
    return 0;
}

/* ${ENV} in every string of the tree. */
static int expand_tree(struct file *f, json_t *j, struct error *reterr)
{
    const char *key;
    json_t *value;
    size_t i;
    int r = 0;

    if (json_is_string(j)) {
        _cleanup_(freep) char *text = NULL;

        r = expand(json_string_value(j), f->env, &text, reterr);
        return r < 0 ? r : json_string_set(j, text);
    }
    json_array_foreach(j, i, value)
    {
        r = r < 0 ? r : expand_tree(f, value, reterr);
    }
    json_object_foreach(j, key, value)
    {
        r = r < 0 ? r : expand_tree(f, value, reterr);
    }
    return r;
}

static int read_models(struct file *f, json_t *models, struct error *reterr)
{
    struct config *c = f->config;
    json_t *model;
    size_t i;

    if (json_is_null(models)) {
        return 0;
    }
    if (!json_is_array(models)) {
        error_set(reterr, -EINVAL, "'models' must be a list");
        return at_line(f, "models", reterr);
    }
    c->model_lines = xcalloc(json_array_size(models) + 1, sizeof(int));
    json_array_foreach(models, i, model)
    {
        char path[32];

        snprintf(path, sizeof(path), "models.%zu", i);
        c->model_lines[i] = yaml_line(&f->doc, path);
        if (expand_tree(f, model, reterr) < 0) {
            return at_line(f, path, reterr);
        }
    }
    json_decref(c->models);
    c->models = json_incref(models);
    return 0;
}

static int read_root(struct file *f, struct error *reterr)
{
    const char *key;
    json_t *value;
    int r = 0;

    if (json_is_null(f->doc.root)) {
        return 0;
    }
    if (!json_is_object(f->doc.root)) {
        return error_set(reterr, -EINVAL, "%s: the file must hold sections", f->name);
    }
    json_object_foreach(f->doc.root, key, value)
    {
        if (str_eq(key, "models")) {
            r = read_models(f, value, reterr);
        } else if (is_section(f->tables, key)) {
            r = read_section(f, key, value, reterr);
        } else {
            error_set(reterr, -EINVAL, "there is no section '%s'", key);
            r = at_line(f, key, reterr);
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int read_bytes(const char *path, struct buf *out, struct error *reterr)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return error_set(reterr, -errno, "cannot read %s: %s", path, strerror(errno));
    }
    for (;;) {
        char *to = buf_reserve(out, 65536);
        ssize_t n = to ? read(fd, to, 65536) : -1;

        if (n < 0) {
            return error_set(reterr, to ? -errno : -EFBIG, "cannot read %s: %s", path,
                             to ? strerror(errno) : "it is too large");
        }
        if (n == 0) {
            return 0;
        }
        buf_added(out, (size_t)n);
    }
}

static int load_file(struct config *c, const char *path, const char *const *env,
                     const struct option_table *const *tables, struct error *reterr)
{
    struct file f = { .config = c, .name = path, .env = env, .tables = tables };
    struct buf bytes = BUF_INIT(YAML_SIZE_MAX + 65536);
    int r;

    r = read_bytes(path, &bytes, reterr);
    if (r == 0) {
        r = yaml_read(buf_span(&bytes), path, &f.doc, reterr);
    }
    buf_finish(&bytes);
    if (r < 0) {
        return r;
    }
    c->path = realpath(path, NULL);
    r = read_root(&f, reterr);
    yaml_document_finish(&f.doc);
    return r;
}

int config_load(const char *path, const char *const *environ_,
                const struct option_table *const *tables, struct config **ret, struct error *reterr)
{
    struct config *c = xcalloc(1, sizeof(*c));
    int r = 0;

    map_init(&c->values);
    c->models = json_array();
    for (const struct option_table *const *t = tables; *t; t++) {
        for (size_t i = 0; i < (*t)->count && r == 0; i++) {
            r = set_value(c, &(*t)->rows[i], (*t)->rows[i].def, "default", reterr);
        }
    }
    if (r == 0 && path) {
        r = load_file(c, path, environ_, tables, reterr);
    }
    if (r == 0) {
        r = apply_environment(c, environ_, tables, reterr);
    }
    if (r < 0) {
        config_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

struct config *config_free(struct config *c)
{
    if (c) {
        map_for_each(e, &c->values)
        {
            free_value(e->value);
        }
        map_finish(&c->values);
        json_decref(c->models);
        free(c->model_lines);
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

const char *config_source(const struct config *c, const char *name)
{
    return get(c, name)->source;
}

json_t *config_models(const struct config *c)
{
    return c->models;
}

int config_model_line(const struct config *c, size_t index)
{
    return index < json_array_size(c->models) && c->model_lines ? c->model_lines[index] : 0;
}

const char *config_path(const struct config *c)
{
    return c->path;
}

/* As JSON */

static json_t *shown(const struct value *v)
{
    json_t *list;

    if (v->row->secret && v->text[0]) {
        return json_string("***");
    }
    switch (v->row->type) {
    case OPTION_INT:
        return json_integer(v->num);
    case OPTION_BOOL:
        return json_boolean(v->num);
    case OPTION_LIST:
        list = json_array();
        for (char **p = v->list; *p; p++) {
            json_array_append_new(list, json_string(*p));
        }
        return list;
    default:
        return json_string(v->text);
    }
}

json_t *config_diff(const struct config *a, const struct config *b)
{
    json_t *out = json_array();

    map_for_each(e, &b->values)
    {
        const struct value *to = e->value, *from = map_get(&a->values, e->key);

        if (from && !str_eq(from->text, to->text)) {
            json_array_append_new(out, json_pack("{s:s, s:o, s:o, s:b}", "name", e->key, "from", shown(from),
                                                 "to", shown(to), "restart_required", !to->row->reload));
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
        json_object_set_new(object, key.p, shown(e->value));
    }
    return out;
}
