// SPDX-License-Identifier: Apache-2.0
/*
 * What may be kept as a document: ids that are names, benchmarks with their parts, and chips,
 * models and topologies that the planner can compute with.
 */
#include <string.h>

#include "base/str.h"
#include "evaluations/documents_int.h"

const char *const document_kind_names[DOCUMENT_KIND_MAX_] = {
    [DOCUMENT_BENCHMARK] = "benchmark",
    [DOCUMENT_TOPOLOGY] = "topology",
    [DOCUMENT_CHIP] = "chip",
    [DOCUMENT_MODEL] = "model",
};

int document_kind_from_string(const char *s)
{
    for (int i = 0; i < DOCUMENT_KIND_MAX_; i++) {
        if (str_eq(document_kind_names[i], s)) {
            return i;
        }
    }
    return -EINVAL;
}

const char *const document_sections[DOCUMENT_KIND_MAX_] = {
    [DOCUMENT_TOPOLOGY] = "topologies", [DOCUMENT_CHIP] = "chips", [DOCUMENT_MODEL] = "models"
};

/* Names have rules of their own in the book. */
int document_check_entry(enum document_kind kind, const char *id, json_t *entry,
                         struct error *reterr)
{
    struct presets *scratch = presets_create();
    json_t *document = json_pack("{s:{s:O}}", document_sections[kind], id, entry);
    int r = document ? presets_add(scratch, document, reterr)
                     : error_set(reterr, -EINVAL, "it is no object");

    json_decref(document);
    presets_destroy(scratch);
    return r;
}

int document_check_id(const char *id, struct error *reterr)
{
    const size_t n = strlen(id);

    if (n == 0 || n > DOCUMENT_ID_MAX) {
        return error_set(reterr, -EINVAL, "id: it must have 1 to %d bytes", DOCUMENT_ID_MAX);
    }
    for (const char *p = id; *p; p++) {
        const bool word = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                          (*p >= '0' && *p <= '9') || (*p & 0x80);

        if (!word && !strchr(" ._-", *p)) {
            return error_set(reterr, -EINVAL,
                             "id: letters, digits, blanks and . _ - may stand in it, nothing else");
        }
    }
    if (id[strspn(id, ". ")] == '\0' || !is_valid_utf8(id, n)) {
        return error_set(reterr, -EINVAL, "id: '%.40s' is no name", id);
    }
    return 0;
}

static int check_benchmark(const json_t *object, struct error *reterr)
{
    static const char *const parts[] = { "model", "inference" };
    const char *name = json_string_value(json_object_get(object, "name"));

    if (!name || !*name || strlen(name) > EVALUATION_NAME_MAX) {
        return error_set(reterr, -EPROTO, "name: it must be a text of 1 to %d bytes",
                         EVALUATION_NAME_MAX);
    }
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        if (!json_is_object(json_object_get(object, parts[i]))) {
            return error_set(reterr, -EPROTO, "%s: it must be an object", parts[i]);
        }
    }
    return 0;
}

/* As the book is to have it. */
static int make_entry(const struct presets *book, enum document_kind kind, const json_t *object,
                      json_t **ret, struct error *reterr)
{
    struct preset_chip chip;
    struct preset_model model;
    struct planner_topology topology = { 0 };
    int r;

    switch (kind) {
    case DOCUMENT_CHIP:
        r = preset_chip_from_json(book, object, &chip, reterr);
        *ret = r < 0 ? NULL : preset_chip_to_json(&chip.chip);
        return r;
    case DOCUMENT_MODEL:
        r = preset_model_from_json(book, object, &model, reterr);
        *ret = r < 0 ? NULL : preset_model_document(&model);
        return r;
    case DOCUMENT_TOPOLOGY:
        r = preset_topology_from_json(object, &topology, reterr);
        *ret = r < 0 ? NULL : preset_topology_to_json(&topology);
        return r;
    default:
        *ret = NULL;
        return check_benchmark(object, reterr);
    }
}

int document_check(const struct presets *book, enum document_kind kind, const char *id,
                   const json_t *object, json_t **ret_entry, struct error *reterr)
{
    static const char *const words[] = { "id", "name", "description", "created_at", "updated_at" };
    json_t *bare, *entry = NULL;
    int r;

    if (!json_is_object(object)) {
        return error_set(reterr, -EPROTO, "it must be an object");
    }
    if (kind == DOCUMENT_BENCHMARK) {
        return check_benchmark(object, reterr);
    }
    bare = json_copy(UNCONST(json_t *, object));
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        json_object_del(bare, words[i]);
    }
    json_object_set_new(bare, "name", json_string(id));
    r = make_entry(book, kind, bare, &entry, reterr);
    json_decref(bare);
    if (r >= 0) {
        r = document_check_entry(kind, id, entry, reterr);
        r = r < 0 ? error_prefix(reterr, "id: ") : r;
    }
    if (r < 0) {
        json_decref(entry);
        return r;
    }
    *ret_entry = entry;
    return 0;
}

void document_field(const struct error *e, char field[PRESET_NAME_MAX])
{
    const size_t n =
        strspn(e->text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-[]");

    if (n > 0 && n < PRESET_NAME_MAX && e->text[n] == ':') {
        memcpy(field, e->text, n);
        field[n] = '\0';
    }
}
