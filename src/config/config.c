// SPDX-License-Identifier: Apache-2.0
/*
 * Reading a configuration: the file's tree is walked once against the rows, then the environment is
 * laid over it. Every value, defaults too, goes through the same parser, so that a default that its
 * own row would refuse is found by the first load.
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

enum { SOURCE_MAX = 512, EXPANDED_MAX = 4 << 20 };

struct value {
    const struct option_row *row;
    char *text;  /* as given */
    char **list; /* OPTION_LIST */
    int64_t num; /* int, bool, ms, bytes */
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
        return error_set(reterr, -EINVAL, "%s is out of range: %s", row->name,
                         range_text(row, range));
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
            return error_set(reterr, -EINVAL, "%s must be a whole number, not \"%s\"", row->name,
                             text);
        }
        break;
    case OPTION_DURATION:
        if (str_to_duration_ms(text, &u) < 0) {
            return error_set(reterr, -EINVAL,
                             "%s must be a duration such as 300s, 5m or 250ms, not \"%s\"",
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
            return error_set(reterr, -EINVAL, "%s must be true or false, not \"%s\"", row->name,
                             text);
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

/* What the row makes of v->text. A list that is there already stays as it is. */
static int parse_value(struct value *v, struct error *reterr)
{
    const struct option_row *row = v->row;

    switch (row->type) {
    case OPTION_STRING:
        return 0;
    case OPTION_LIST:
        v->list = v->list ? v->list : split_list(v->text);
        return 0;
    case OPTION_ENUM:
        if (!is_word_of(row->words, v->text)) {
            return error_set(reterr, -EINVAL, "%s must be one of: %s; not \"%s\"", row->name,
                             row->words, v->text);
        }
        return 0;
    default:
        return parse_number(row, v->text, &v->num, reterr);
    }
}

/* Takes v over. */
static int put_value(struct config *c, struct value *v, struct error *reterr)
{
    int r = parse_value(v, reterr);

    if (r < 0) {
        free_value(v);
        return r;
    }
    free_value(map_put(&c->values, v->row->name, v));
    return 0;
}

static int set_value(struct config *c, const struct option_row *row, const char *text,
                     const char *source, struct error *reterr)
{
    struct value *v = xcalloc(1, sizeof(*v));

    v->row = row;
    v->text = xstrdup(text);
    v->source = xstrdup(source);
    return put_value(c, v, reterr);
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

/* The key of a full name: what stands behind the point. */
static const char *key_of(const char *name)
{
    const char *point = strchr(name, '.');

    return point ? point + 1 : name;
}

/* The option that was meant, or NULL: nearly the same name, or the same key in another section. */
static const char *nearest(const struct option_table *const *tables, const char *name)
{
    size_t best = 4;
    const char *found = NULL;

    for (; *tables; tables++) {
        for (size_t i = 0; i < (*tables)->count; i++) {
            const char *row = (*tables)->rows[i].name;
            size_t d = edit_distance(name, row);

            d = d > 3 && str_eq(key_of(name), key_of(row)) ? 3 : d;
            if (d < best) {
                best = d;
                found = row;
            }
        }
    }
    return found;
}

/* The section that was meant, or ""; borrowed from a row's name. */
static struct span nearest_section(const struct option_table *const *tables, const char *name)
{
    struct span found = edit_distance(name, "models") < 3 ? SPAN("models") : SPAN("");
    size_t best = found.n ? edit_distance(name, "models") : 3;

    for (; *tables; tables++) {
        for (size_t i = 0; i < (*tables)->count; i++) {
            struct span rest = span_of((*tables)->rows[i].name), section = span_cut(&rest, '.');
            _cleanup_(freep) char *text = span_dup(section);
            size_t d = edit_distance(name, text);

            if (d < best) {
                best = d;
                found = section;
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

static bool is_env_name(struct span name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        if (c != '_' && !isalpha((unsigned char)c) && (i == 0 || !isdigit((unsigned char)c))) {
            return false;
        }
    }
    return name.n > 0;
}

/* The value for the ${NAME} at s; *ret_end is its closing brace. NULL when there is none. */
static const char *expand_one(const char *s, const char *const *env, const char **ret_end,
                              struct error *reterr)
{
    const char *close = strchr(s, '}'), *value;
    struct span name = { s + 2, close ? (size_t)(close - s) - 2 : 0 };

    if (!close || !is_env_name(name)) {
        error_set(reterr, -EINVAL,
                  close ? "${%.*s} is not a name of the environment" : "${%.*s is not closed",
                  MIN_OF((int)(close ? name.n : strlen(s + 2)), 60), s + 2);
        return NULL;
    }
    value = env_get(env, name);
    if (!value) {
        error_set(reterr, -EINVAL, "the environment has no %.*s", SPAN_ARG(name));
    } else if (!is_valid_utf8(value, strlen(value))) {
        error_set(reterr, -EINVAL, "%.*s in the environment is not UTF-8", SPAN_ARG(name));
        value = NULL;
    }
    *ret_end = close;
    return value;
}

/* Replaces ${NAME}; $$ is a dollar; any other $ stands for itself. */
static int expand(const char *s, const char *const *env, char **ret, struct error *reterr)
{
    struct buf b = BUF_INIT(EXPANDED_MAX);

    for (; *s && !b.overflow; s++) {
        if (s[0] == '$' && s[1] == '{') {
            const char *value = expand_one(s, env, &s, reterr);

            if (!value) {
                buf_finish(&b);
                return -EINVAL;
            }
            buf_puts(&b, value);
        } else {
            buf_putc(&b, *s);
            s += s[0] == '$' && s[1] == '$';
        }
    }
    if (b.overflow) {
        buf_finish(&b);
        return error_set(reterr, -EINVAL, "a text is longer than %d bytes", EXPANDED_MAX);
    }
    *ret = buf_take(&b, NULL);
    return 0;
}

/* "server.listen" is BERTH_SERVER_LISTEN */
static bool is_env_of(struct span variable, const char *option)
{
    static const char prefix[] = "BERTH_";
    size_t n = sizeof(prefix) - 1;

    if (!span_starts(variable, prefix) || variable.n != n + strlen(option)) {
        return false;
    }
    for (size_t i = 0; option[i]; i++) {
        char c = option[i] == '.' ? '_' : (char)toupper((unsigned char)option[i]);

        if (variable.p[n + i] != c) {
            return false;
        }
    }
    return true;
}

static const struct option_row *find_row_of_env(const struct option_table *const *tables,
                                                struct span variable)
{
    for (; *tables; tables++) {
        for (size_t i = 0; i < (*tables)->count; i++) {
            if (is_env_of(variable, (*tables)->rows[i].name)) {
                return &(*tables)->rows[i];
            }
        }
    }
    return NULL;
}

/* Variables that begin with BERTH_ and are no options: an engine's mark, and what the command line
 * reads. */
static bool is_known_variable(const char *name)
{
    static const char *const known[] = { "BERTH_INSTANCE", "BERTH_DATA_DIR", "BERTH_CONFIG",
                                         "BERTH_KEY", "BERTH_URL" };

    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (str_eq(name, known[i])) {
            return true;
        }
    }
    return false;
}

static int apply_environment(struct config *c, const char *const *env,
                             const struct option_table *const *tables, struct error *reterr)
{
    for (; env && *env; env++) {
        struct span value = span_of(*env), variable = span_cut(&value, '=');
        const struct option_row *row = find_row_of_env(tables, variable);
        _cleanup_(freep) char *name = NULL;

        if (!span_starts(variable, "BERTH_") || !value.p) {
            continue;
        }
        name = span_dup(variable);
        if (row && !is_valid_utf8(value.p, value.n)) {
            return error_set(reterr, -EINVAL, "%s: the value is not UTF-8", name);
        }
        if (row && set_value(c, row, value.p, name, reterr) < 0) {
            return error_prefix(reterr, "%s: ", name);
        }
        if (!row && !is_known_variable(name)) {
            log_warn("config", name, "no option has this name, ignoring");
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

/* A scalar for this row, expanded; owned by the caller. */
static int read_text(struct file *f, const struct option_row *row, const json_t *j, char **ret,
                     struct error *reterr)
{
    bool number =
        row->type == OPTION_INT || row->type == OPTION_DURATION || row->type == OPTION_BYTES;
    _cleanup_(freep) char *raw = json_is_null(j) ? xstrdup("") : scalar_text(j);

    if (!raw) {
        return error_set(reterr, -EINVAL, "%s must be a plain value", row->name);
    }
    if (json_is_real(j) && !number) {
        return error_set(reterr, -EINVAL, "%s must be text: put the number in quotes", row->name);
    }
    return expand(raw, f->env, ret, reterr);
}

/* A list as it stands in the file: its items are not split again. */
static int read_list(struct file *f, struct value *v, const json_t *array, struct error *reterr)
{
    struct buf joined = BUF_INIT(EXPANDED_MAX);
    size_t i;
    json_t *item;
    int r = 0;

    v->list = xcalloc(json_array_size(array) + 1, sizeof(char *));
    json_array_foreach(array, i, item)
    {
        r = read_text(f, v->row, item, &v->list[i], reterr);
        if (r < 0) {
            break;
        }
        buf_printf(&joined, "%s%s", i ? "," : "", v->list[i]);
    }
    v->text = buf_take(&joined, NULL);
    return r;
}

static int set_from_file(struct file *f, const char *name, const json_t *j, struct error *reterr)
{
    const struct option_row *row = find_row(f->tables, name);
    struct value *v;
    int r;

    if (!row) {
        const char *meant = nearest(f->tables, name);

        return error_set(reterr, -EINVAL, "there is no option '%.200s'%s%s%s", name,
                         meant ? "; did you mean '" : "", meant ? meant : "", meant ? "'?" : "");
    }
    v = xcalloc(1, sizeof(*v));
    v->row = row;
    v->source = xasprintf("%.*s:%d", SOURCE_MAX, f->name, yaml_line(&f->doc, name));
    if (json_is_array(j) && row->type == OPTION_LIST) {
        r = read_list(f, v, j, reterr);
    } else {
        r = read_text(f, row, j, &v->text, reterr);
    }
    if (r < 0) {
        free_value(v);
        return r;
    }
    return put_value(f->config, v, reterr);
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

static int expand_tree(struct file *f, struct buf *path, json_t *j, struct error *reterr);

/* The same of one member or item, which stands one step further down. */
static int expand_step(struct file *f, struct buf *path, const char *step, json_t *j,
                       struct error *reterr)
{
    struct buf below = BUF_INIT(path->max);
    int r;

    buf_printf(&below, "%s.%s", buf_data(path), step);
    r = expand_tree(f, &below, j, reterr);
    buf_finish(&below);
    return r;
}

/* ${ENV} in every string of the tree at path. */
static int expand_tree(struct file *f, struct buf *path, json_t *j, struct error *reterr)
{
    _cleanup_(freep) char *text = NULL;
    char step[24];
    const char *key;
    json_t *value;
    size_t i;
    int r = 0;

    if (json_is_string(j)) {
        r = expand(json_string_value(j), f->env, &text, reterr);
        return r < 0 ? at_line(f, buf_data(path), reterr) : json_string_set(j, text);
    }
    json_array_foreach(j, i, value)
    {
        snprintf(step, sizeof(step), "%zu", i);
        r = r < 0 ? r : expand_step(f, path, step, value, reterr);
    }
    json_object_foreach(j, key, value)
    {
        r = r < 0 ? r : expand_step(f, path, key, value, reterr);
    }
    return r;
}

static int read_models(struct file *f, json_t *models, struct error *reterr)
{
    struct config *c = f->config;
    struct buf top = BUF_INIT(YAML_SIZE_MAX);
    json_t *model;
    size_t i;
    int r;

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
    }
    buf_puts(&top, "models");
    r = expand_tree(f, &top, models, reterr);
    buf_finish(&top);
    if (r < 0) {
        return r;
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
        return error_set(reterr, -EINVAL, "%s:1: the file must hold sections", f->name);
    }
    json_object_foreach(f->doc.root, key, value)
    {
        if (str_eq(key, "models")) {
            r = read_models(f, value, reterr);
        } else if (is_section(f->tables, key)) {
            r = read_section(f, key, value, reterr);
        } else {
            struct span meant = nearest_section(f->tables, key);

            error_set(reterr, -EINVAL, "there is no section '%.100s'%s%.*s%s", key,
                      meant.n ? "; did you mean '" : "", SPAN_ARG(meant), meant.n ? "'?" : "");
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
            if (r < 0) {
                error_prefix(reterr, "default: ");
            }
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

static bool same(const struct value *a, const struct value *b)
{
    if (a->row->type == OPTION_STRING || a->row->type == OPTION_ENUM) {
        return str_eq(a->text, b->text);
    }
    if (a->row->type != OPTION_LIST) {
        return a->num == b->num; /* 300s is 5m */
    }
    for (size_t i = 0;; i++) {
        if (!str_eq_opt(a->list[i], b->list[i]) || !a->list[i]) {
            return a->list[i] == b->list[i];
        }
    }
}

json_t *config_diff(const struct config *a, const struct config *b)
{
    json_t *out = json_array();

    map_for_each(e, &b->values)
    {
        const struct value *to = e->value, *from = map_get(&a->values, e->key);

        if (from && !same(from, to)) {
            json_array_append_new(out, json_pack("{s:s, s:o, s:o, s:b}", "name", e->key, "from",
                                                 shown(from), "to", shown(to), "restart_required",
                                                 !to->row->reload));
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
