// SPDX-License-Identifier: Apache-2.0
/*
 * What a document adds to the book: {chips, models, topologies}, each by name. All of it, or
 * nothing.
 */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "codec/yaml_tree.h"
#include "presets/presets_int.h"

struct adding {
    struct presets *book; /* what stands earlier in the document may be referred to */
    struct fault *fault;
};

/* Text, or a list of texts; as a row of the planner has them. */
static void read_aliases(const struct fields *f, char out[BOOK_ALIASES_MAX])
{
    const json_t *list = fields_get(f, "aliases");
    size_t n = 0;

    out[0] = '\0';
    if (json_is_string(list)) {
        snprintf(out, BOOK_ALIASES_MAX, "%s", json_string_value(list));
    } else if (list && !json_is_array(list)) {
        fields_fault(f, -EPROTO, "aliases", "this has to be a list of names");
    }
    for (size_t i = 0; i < json_array_size(list) && n < BOOK_ALIASES_MAX; i++) {
        const char *one = json_string_value(json_array_get(list, i));

        if (!one || strchr(one, ',')) {
            fields_fault(f, -EPROTO, "aliases", "this has to be a list of names");
            return;
        }
        n += (size_t)snprintf(out + n, BOOK_ALIASES_MAX - n, "%s%s", i ? "," : "", one);
    }
    if (strlen(out) >= BOOK_ALIASES_MAX - 1 || n >= BOOK_ALIASES_MAX) {
        fields_fault(f, -EINVAL, "aliases", "they are too long");
    }
}

/* A name alone is another name for a preset: an object without members. */
static struct fields named_fields(const json_t *value, const char *path, struct fault *fault)
{
    const struct fields none = { .fault = fault };

    return json_is_string(value) ? none : fields_of(value, path, fault);
}

static void add_chip(const struct adding *a, const char *name, const json_t *value,
                     const char *path)
{
    const struct fields f = named_fields(value, path, a->fault);
    struct preset_chip c;
    char aliases[BOOK_ALIASES_MAX];

    chip_read(a->book, value, path, a->fault, &c, NULL);
    read_aliases(&f, aliases);
    if (a->fault->code == 0) {
        book_put_chip(a->book, &c, name, aliases);
    }
}

static void add_model(const struct adding *a, const char *name, const json_t *value,
                      const char *path)
{
    const struct fields f = named_fields(value, path, a->fault);
    struct preset_model m;
    char aliases[BOOK_ALIASES_MAX];

    model_read(a->book, value, path, a->fault, &m, NULL);
    read_aliases(&f, aliases);
    if (a->fault->code == 0) {
        book_put_model(a->book, &m, name, aliases);
    }
}

static void add_topology(const struct adding *a, const char *name, const json_t *value,
                         const char *path)
{
    struct planner_topology t;
    unsigned chips;

    topology_read(value, path, a->fault, &t, &chips);
    if (a->fault->code == 0) {
        book_put_topology(a->book, &t, name);
    }
}

static void check_name(const struct fields *f, const char *name)
{
    char folded[PRESET_NAME_MAX];

    preset_fold(name, folded);
    if (!*folded || strlen(name) >= PRESET_NAME_MAX || strchr(name, ',') || strchr(name, '/')) {
        fields_fault(f, -EINVAL, NULL,
                     "'%.40s' is no name: letters and digits, at most %d bytes, no comma or slash",
                     name, PRESET_NAME_MAX - 1);
    }
}

typedef void (*add_fn)(const struct adding *a, const char *name, const json_t *value,
                       const char *path);

static void add_all(const struct adding *a, const struct fields *f, const char *member, add_fn add)
{
    const struct fields all = fields_object(f, member, false);
    const char *name;
    json_t *value;

    if (!all.object) {
        return;
    }
    json_object_foreach(UNCONST(json_t *, all.object), name, value)
    {
        char path[2 * PRESET_NAME_MAX];

        snprintf(path, sizeof(path), "%.32s.%.60s", all.path, name);
        check_name(&all, name);
        add(a, name, value, path);
        if (a->fault->code != 0) {
            return;
        }
    }
}

static void add_document(const struct adding *a, const json_t *document)
{
    static const char *const known[] = { "chips", "models", "topologies", NULL };
    const struct fields f = fields_of(document, "", a->fault);

    fields_spelling(&f, known);
    add_all(a, &f, "chips", add_chip);
    add_all(a, &f, "models", add_model);
    add_all(a, &f, "topologies", add_topology);
}

/* Into a copy first: what stands later in a document may build on what stands earlier, and a fault
 * at its end must leave nothing behind. */
int presets_add(struct presets *p, const json_t *document, struct error *reterr)
{
    struct presets *trial = book_copy(p);
    struct fault fault = { 0 };
    const struct adding a = { .book = trial, .fault = &fault };

    add_document(&a, document);
    if (fault.code == 0 && book_count(trial) > (size_t)PRESETS_MAX) {
        fault.code = -EINVAL;
        error_set(&fault.error, -EINVAL, "more than %d chips, models and topologies", PRESETS_MAX);
    }
    if (fault.code == 0) {
        book_swap(p, trial);
    }
    presets_destroy(trial);
    return fault_result(&fault, NULL, reterr) < 0 ? -EINVAL : 0;
}

int presets_add_file(struct presets *p, const char *path, struct error *reterr)
{
    struct buf bytes = BUF_INIT(YAML_SIZE_MAX);
    struct yaml_document doc;
    int r = preset_read_file(path, YAML_SIZE_MAX, &bytes, reterr);

    r = r < 0 ? r : yaml_read(buf_span(&bytes), path, &doc, reterr);
    buf_finish(&bytes);
    if (r < 0) {
        return r;
    }
    if (!json_is_null(doc.root)) {
        r = presets_add(p, doc.root, reterr);
        if (r < 0) {
            error_prefix(reterr, "%s: ", path);
        }
    }
    yaml_document_finish(&doc);
    return r;
}
