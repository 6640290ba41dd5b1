// SPDX-License-Identifier: Apache-2.0
/* The file: its tree is walked once against the rows. Whatever is wrong is told with its line. */
#include "config/config_int.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "codec/yaml_tree.h"

enum { SOURCE_MAX = 512 };

struct file {
    struct config *config;
    const char *name;
    const char *const *env;
    const struct option_table *const *tables;
    struct yaml_document doc;
    bool of_command; /* the model under way is run by its own command line */
    bool of_docker;  /* … or is a container with its own one */
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
    return environment_expand(raw, f->env, NULL, ret, reterr);
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
    const struct option_row *row = row_find(f->tables, name);
    struct value *v;
    int r;

    if (!row) {
        const char *meant = row_nearest(f->tables, name);

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
        value_free(v);
        return r;
    }
    return value_put(f->config, v, reterr);
}

/* A key may hold keys itself: `models: {openai: {timeout: 60s}}` is models.openai.timeout. */
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

        if (json_is_object(value) && section_known(f->tables, name)) {
            r = read_section(f, name, value, reterr);
        } else if (set_from_file(f, name, value, reterr) < 0) {
            r = at_line(f, name, reterr);
        }
        if (r < 0) {
            return r;
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

/* The names that an engine's own command line brings are not of the environment, nor are they in
 * what is added to that line and to its environment. */
static const char *const *kept_at(const struct file *f, const char *path)
{
    static const char *const names[] = { "PORT", "MODEL", "MODEL_ID", "SOCKET", NULL };
    static const char *const inside[] = { "PORT", "MODEL", "MODEL_ID", "HOST", NULL };
    const bool added = strstr(path, ".parameters.env.") || str_ends(path, ".additional_parameters");
    const bool own = strstr(path, ".parameters.command");

    if (f->of_docker) {
        return own || added || strstr(path, ".parameters.entrypoint") ? inside : NULL;
    }
    return own || (f->of_command && added) ? names : NULL;
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
        r = environment_expand(json_string_value(j), f->env, kept_at(f, buf_data(path)), &text,
                               reterr);
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

/* Whose words are left for an engine in the entry under way. */
static void note_framework(struct file *f, const json_t *model)
{
    const char *framework = json_string_value(json_object_get(model, "framework"));

    f->of_command = framework && str_eq(framework, "command");
    f->of_docker = framework && str_eq(framework, "docker");
}

/* A list of objects: `models`, `task_types`. */
static int read_entries(struct file *f, const char *name, json_t *items, struct entries *ret,
                        struct error *reterr)
{
    struct buf top = BUF_INIT(YAML_SIZE_MAX);
    json_t *item;
    size_t i;
    int r = 0;

    if (json_is_null(items)) {
        return 0;
    }
    if (!json_is_array(items)) {
        error_set(reterr, -EINVAL, "'%s' must be a list", name);
        return at_line(f, name, reterr);
    }
    ret->lines = xcalloc(json_array_size(items) + 1, sizeof(int));
    buf_puts(&top, name);
    json_array_foreach(items, i, item)
    {
        char path[40];

        snprintf(path, sizeof(path), "%s.%zu", name, i);
        ret->lines[i] = yaml_line(&f->doc, path);
        note_framework(f, item);
        r = r < 0 ? r : expand_step(f, &top, path + strlen(name) + 1, item, reterr);
    }
    buf_finish(&top);
    if (r < 0) {
        return r;
    }
    json_decref(ret->items);
    ret->items = json_incref(items);
    return 0;
}

/* Sections, and the two lists. `models` may be a section, too, where it has rows. */
static int read_part(struct file *f, const char *key, json_t *value, struct error *reterr)
{
    struct span meant;

    if (str_eq(key, "task_types")) {
        return read_entries(f, key, value, &f->config->task_types, reterr);
    }
    if (str_eq(key, "models") && !(json_is_object(value) && section_known(f->tables, key))) {
        return read_entries(f, key, value, &f->config->models, reterr);
    }
    if (section_known(f->tables, key)) {
        return read_section(f, key, value, reterr);
    }
    meant = section_nearest(f->tables, key);
    error_set(reterr, -EINVAL, "there is no section '%.100s'%s%.*s%s", key,
              meant.n ? "; did you mean '" : "", SPAN_ARG(meant), meant.n ? "'?" : "");
    return at_line(f, key, reterr);
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
        r = read_part(f, key, value, reterr);
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

int file_load(struct config *c, const char *path, const char *const *env,
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
