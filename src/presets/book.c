// SPDX-License-Identifier: Apache-2.0
/*
 * The book: chips, models and topologies by name. The planner's own are looked up in its tables;
 * what users add stands here, in the order in which it came, and is found first. A document is
 * added whole or not at all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "presets/presets_int.h"

struct own_chip {
    struct preset_chip preset;
    char aliases[BOOK_ALIASES_MAX];
};
struct own_model {
    struct preset_model preset;
    char aliases[BOOK_ALIASES_MAX];
};

/* Items are of their own memory: a model and a chip point into themselves. */
struct presets {
    struct own_chip **chips;
    struct own_model **models;
    struct preset_topology **topologies;
    size_t chip_count, model_count, topology_count;
};

/* ---- texts and copies ---- */

void preset_fold(const char *name, char out[PRESET_NAME_MAX])
{
    const char *slash = strrchr(name, '/');
    size_t n = 0;

    for (const char *p = slash ? slash + 1 : name; *p && n < PRESET_NAME_MAX - 1; p++) {
        if ((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || (unsigned char)*p >= 0x80) {
            out[n++] = *p;
        } else if (*p >= 'A' && *p <= 'Z') {
            out[n++] = (char)(*p + 'a' - 'A');
        }
    }
    out[n] = '\0';
}

void preset_name_copy(char out[PRESET_NAME_MAX], const char *name)
{
    size_t n;

    snprintf(out, PRESET_NAME_MAX, "%s", name);
    n = strlen(out);
    while (n > 0 && !is_valid_utf8(out, n)) {
        out[--n] = '\0';
    }
    for (char *p = out; *p; p++) {
        *p = (unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p;
    }
}

void preset_model_copy(struct preset_model *to, const struct preset_model *from)
{
    *to = *from;
    to->model.name = to->name;
    to->model.source = to->source;
}

void preset_chip_copy(struct preset_chip *to, const struct preset_chip *from)
{
    *to = *from;
    to->chip.name = to->name;
    to->chip.source = to->source;
}

void preset_model_of(struct preset_model *to, const struct planner_model *m)
{
    const struct planner_model from = *m;

    preset_name_copy(to->name, from.name);
    preset_name_copy(to->source, from.source ? from.source : "");
    to->model = from;
    to->model.name = to->name;
    to->model.source = to->source;
    to->model.aliases = "";
    to->format = -1;
}

void preset_chip_of(struct preset_chip *to, const struct planner_chip *c)
{
    const struct planner_chip from = *c;

    preset_name_copy(to->name, from.name);
    preset_name_copy(to->source, from.source ? from.source : "");
    to->chip = from;
    to->chip.name = to->name;
    to->chip.source = to->source;
    to->chip.aliases = "";
    if (!from.kernels) {
        const struct planner_chip *known = planner_find_chip(from.name);

        to->chip.kernels = known && str_eq(known->name, from.name) ? known->name : NULL;
    }
}

/* ---- finding ---- */

static bool is_called(const char *folded, const char *name, const char *aliases)
{
    char other[PRESET_NAME_MAX], alias[PRESET_NAME_MAX];
    struct span rest = span_of(aliases);

    preset_fold(name, other);
    while (!str_eq(other, folded) && rest.n > 0) {
        const struct span one = span_cut(&rest, ',');

        snprintf(alias, sizeof(alias), "%.*s", (int)MIN_OF(one.n, sizeof(alias) - 1), one.p);
        preset_fold(alias, other);
    }
    return *folded && str_eq(other, folded);
}

static struct own_chip *find_chip(const struct presets *p, const char *name)
{
    char folded[PRESET_NAME_MAX];

    preset_fold(name, folded);
    for (size_t i = 0; i < p->chip_count; i++) {
        if (is_called(folded, p->chips[i]->preset.name, p->chips[i]->aliases)) {
            return p->chips[i];
        }
    }
    return NULL;
}

static struct own_model *find_model(const struct presets *p, const char *name)
{
    char folded[PRESET_NAME_MAX];

    preset_fold(name, folded);
    for (size_t i = 0; i < p->model_count; i++) {
        if (is_called(folded, p->models[i]->preset.name, p->models[i]->aliases)) {
            return p->models[i];
        }
    }
    return NULL;
}

static struct preset_topology *find_topology(const struct presets *p, const char *name)
{
    char folded[PRESET_NAME_MAX];

    preset_fold(name, folded);
    for (size_t i = 0; i < p->topology_count; i++) {
        if (is_called(folded, p->topologies[i]->name, "")) {
            return p->topologies[i];
        }
    }
    return NULL;
}

const struct planner_chip *presets_chip(const struct presets *p, const char *name)
{
    const struct own_chip *own = p ? find_chip(p, name) : NULL;

    return own ? &own->preset.chip : planner_find_chip(name);
}

const struct planner_model *presets_model(const struct presets *p, const char *name)
{
    const struct own_model *own = p ? find_model(p, name) : NULL;

    return own ? &own->preset.model : planner_find_model(name);
}

bool presets_find_model(const struct presets *p, const char *name, struct preset_model *ret)
{
    const struct own_model *own = p ? find_model(p, name) : NULL;
    const struct planner_model *m = own ? NULL : planner_find_model(name);

    if (own) {
        preset_model_copy(ret, &own->preset);
        ret->model.aliases = "";
    } else if (m) {
        preset_model_of(ret, m);
    }
    return own || m;
}

const struct planner_topology *presets_topology(const struct presets *p, const char *name)
{
    const struct preset_topology *own = p ? find_topology(p, name) : NULL;

    return own ? &own->topology : NULL;
}

/* ---- what may be meant ---- */

enum { NEAR = 3 }; /* so many letters apart at most */

static void keep_nearer(const char *folded, const char *name, const char **best, size_t *distance)
{
    char other[PRESET_NAME_MAX];
    size_t d;

    preset_fold(name, other);
    d = str_distance(folded, other);
    if (d < *distance) {
        *distance = d;
        *best = name;
    }
}

const char *book_near_chip(const struct presets *p, const char *name)
{
    char folded[PRESET_NAME_MAX];
    const char *best = NULL;
    size_t distance = NEAR + 1;

    preset_fold(name, folded);
    for (size_t i = 0; p && i < p->chip_count; i++) {
        keep_nearer(folded, p->chips[i]->preset.name, &best, &distance);
    }
    return best;
}

const char *book_near_model(const struct presets *p, const char *name)
{
    char folded[PRESET_NAME_MAX];
    const char *best = NULL;
    size_t distance = NEAR + 1;

    preset_fold(name, folded);
    for (size_t i = 0; p && i < p->model_count; i++) {
        keep_nearer(folded, p->models[i]->preset.name, &best, &distance);
    }
    return best;
}

/* ---- walking: the user's first ---- */

const struct planner_chip *presets_next_chip(const struct presets *p, size_t *cursor, bool *own)
{
    const size_t at = (*cursor)++;

    *own = at < p->chip_count;
    if (*own) {
        return &p->chips[at]->preset.chip;
    }
    for (size_t i = 0; planner_chips[i].name; i++) {
        if (i == at - p->chip_count) {
            return &planner_chips[i];
        }
    }
    *cursor = at;
    return NULL;
}

const struct planner_model *presets_next_model(const struct presets *p, size_t *cursor, bool *own)
{
    const size_t at = (*cursor)++;

    *own = at < p->model_count;
    if (*own) {
        return &p->models[at]->preset.model;
    }
    for (size_t i = 0; planner_models[i].name; i++) {
        if (i == at - p->model_count) {
            return &planner_models[i];
        }
    }
    *cursor = at;
    return NULL;
}

const struct preset_topology *presets_next_topology(const struct presets *p, size_t *cursor)
{
    return *cursor < p->topology_count ? p->topologies[(*cursor)++] : NULL;
}

/* ---- adding: by name, whatever others call themselves besides ---- */

static bool is_same(const char *a, const char *b)
{
    char x[PRESET_NAME_MAX], y[PRESET_NAME_MAX];

    preset_fold(a, x);
    preset_fold(b, y);
    return str_eq(x, y);
}

void book_put_chip(struct presets *p, const struct preset_chip *c, const char *name,
                   const char *aliases)
{
    struct own_chip *own = NULL;

    for (size_t i = 0; i < p->chip_count && !own; i++) {
        own = is_same(p->chips[i]->preset.name, name) ? p->chips[i] : NULL;
    }
    if (!own) {
        own = xcalloc(1, sizeof(*own));
        p->chips = xrealloc(p->chips, (p->chip_count + 1) * sizeof(struct own_chip *));
        p->chips[p->chip_count++] = own;
    }
    preset_chip_copy(&own->preset, c);
    preset_name_copy(own->preset.name, name);
    snprintf(own->aliases, sizeof(own->aliases), "%s", aliases);
    own->preset.chip.aliases = own->aliases;
}

void book_put_model(struct presets *p, const struct preset_model *m, const char *name,
                    const char *aliases)
{
    struct own_model *own = NULL;

    for (size_t i = 0; i < p->model_count && !own; i++) {
        own = is_same(p->models[i]->preset.name, name) ? p->models[i] : NULL;
    }
    if (!own) {
        own = xcalloc(1, sizeof(*own));
        p->models = xrealloc(p->models, (p->model_count + 1) * sizeof(struct own_model *));
        p->models[p->model_count++] = own;
    }
    preset_model_copy(&own->preset, m);
    preset_name_copy(own->preset.name, name);
    snprintf(own->aliases, sizeof(own->aliases), "%s", aliases);
    own->preset.model.aliases = own->aliases;
}

void book_put_topology(struct presets *p, const struct planner_topology *t, const char *name)
{
    struct preset_topology *own = find_topology(p, name);

    if (!own) {
        own = xcalloc(1, sizeof(*own));
        p->topologies =
            xrealloc(p->topologies, (p->topology_count + 1) * sizeof(struct preset_topology *));
        p->topologies[p->topology_count++] = own;
    }
    own->topology = *t;
    preset_name_copy(own->name, name);
}

struct presets *book_copy(const struct presets *from)
{
    struct presets *to = presets_create();

    for (size_t i = 0; i < from->chip_count; i++) {
        const struct own_chip *c = from->chips[i];

        book_put_chip(to, &c->preset, c->preset.name, c->aliases);
    }
    for (size_t i = 0; i < from->model_count; i++) {
        const struct own_model *m = from->models[i];

        book_put_model(to, &m->preset, m->preset.name, m->aliases);
    }
    for (size_t i = 0; i < from->topology_count; i++) {
        book_put_topology(to, &from->topologies[i]->topology, from->topologies[i]->name);
    }
    return to;
}

void book_swap(struct presets *a, struct presets *b)
{
    const struct presets was = *a;

    *a = *b;
    *b = was;
}

size_t book_count(const struct presets *p)
{
    return p->chip_count + p->model_count + p->topology_count;
}

/* ---- the book ---- */

struct presets *presets_create(void)
{
    return xcalloc(1, sizeof(struct presets));
}

struct presets *presets_destroy(struct presets *p)
{
    if (!p) {
        return NULL;
    }
    for (size_t i = 0; i < p->chip_count; i++) {
        free(p->chips[i]);
    }
    for (size_t i = 0; i < p->model_count; i++) {
        free(p->models[i]);
    }
    for (size_t i = 0; i < p->topology_count; i++) {
        free(p->topologies[i]);
    }
    free(p->chips);
    free(p->models);
    free(p->topologies);
    free(p);
    return NULL;
}
