// SPDX-License-Identifier: Apache-2.0
/*
 * Topologies as people write them: our own levels, seed 001's tree of pods, racks, boards and
 * chips, or its counts. A tree's levels are as wide as their widest part; its chips are counted one
 * by one.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "presets/presets_int.h"

enum { CHIPS_MAX = 65536, PARTS_MAX = 65536, CONNECTIONS_MAX = 1 << 20 };

static const char *const links[] = {
    [PLANNER_LINK_SWITCH] = "switch",
    [PLANNER_LINK_RING] = "ring",
    [PLANNER_LINK_MESH] = "mesh",
    [PLANNER_LINK_PCIE] = "pcie",
};

static int link_from_string(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
        if (span_eq_nocase(span_of(name), links[i])) {
            return (int)i;
        }
    }
    return -1;
}

static void add_level(struct planner_topology *t, const char *name, double groups)
{
    struct planner_level *l = &t->levels[t->level_count++];

    *l = (struct planner_level){ .groups = (unsigned)fmin(groups, CHIPS_MAX) };
    snprintf(l->name, sizeof(l->name), "%.15s", name);
}

static void check_total(const struct fields *f, double chips)
{
    if (chips < 1 || chips > CHIPS_MAX) {
        fields_fault(f, -EINVAL, NULL, "%.0f chips stand there; from 1 to %d can be", chips,
                     CHIPS_MAX);
    }
}

/* ---- our own ---- */

static void read_level(const struct fields *f, struct planner_topology *t)
{
    const char *name = fields_text(f, "name");
    const unsigned at = t->level_count;
    struct planner_level *l = &t->levels[at];

    fields_require(f, "groups");
    add_level(t, name ? name : "level", fields_count(f, "groups", 1, CHIPS_MAX, 1));
    l->gbps = fields_number(f, "gbps", 0, 1e6, 0);
    l->alpha_us = fields_number(f, "alpha_us", 0, 1e6, l->alpha_us);
    l->link = (enum planner_link)fields_word(
        f, "link", link_from_string, "switch, ring, mesh and pcie are known", PLANNER_LINK_SWITCH);
}

static unsigned read_levels(const struct fields *f, struct planner_topology *t)
{
    static const char *const known[] = { "name", "groups", "gbps", "alpha_us", "link", NULL };
    const json_t *levels = fields_get(f, "levels");
    double chips = 1;
    char path[FIELD_PATH_MAX];

    if (!json_is_array(levels)) {
        fields_fault(f, -EPROTO, "levels", "this has to be an array");
        return 0;
    }
    if (json_array_size(levels) < 1 || json_array_size(levels) > PLANNER_LEVELS_MAX) {
        fields_fault(f, -EINVAL, "levels", "from 1 to %d can be", PLANNER_LEVELS_MAX);
        return 0;
    }
    for (size_t i = 0; i < json_array_size(levels); i++) {
        struct fields one;

        snprintf(path, sizeof(path), "%.60s%slevels[%zu]", f->path, *f->path ? "." : "", i);
        one = fields_of(json_array_get(levels, i), path, f->fault);
        fields_spelling(&one, known);
        read_level(&one, t);
        chips *= t->levels[i].groups;
    }
    check_total(f, chips);
    return (unsigned)fmin(chips, CHIPS_MAX);
}

/* ---- the tree ---- */

enum { POD, RACK, BOARD, CHIP, DEPTHS };

/* How wide each depth is at most, and all chips. */
struct tree {
    size_t widest[DEPTHS];
    size_t parts, chips;
};

static const char *const members[DEPTHS] = { "pods", "racks", "boards", "chips" };

/* Depth is bounded by the table; so is the number of parts. */
static void count_parts(const struct fields *f, unsigned depth, struct tree *t)
{
    const json_t *parts = fields_get(f, members[depth]), *part;
    char path[FIELD_PATH_MAX];
    size_t i;

    if (!json_is_array(parts)) {
        fields_fault(f, -EPROTO, members[depth], "this has to be an array");
        return;
    }
    t->widest[depth] = MAX_OF(t->widest[depth], json_array_size(parts));
    t->parts += json_array_size(parts) + 1;
    if (t->parts > 4 * PARTS_MAX) {
        fields_fault(f, -EINVAL, members[depth], "more than %d parts", 4 * PARTS_MAX);
        return;
    }
    if (depth == CHIP) {
        t->chips += json_array_size(parts);
        return;
    }
    json_array_foreach(UNCONST(json_t *, parts), i, part)
    {
        struct fields inner;

        snprintf(path, sizeof(path), "%.60s%s%s[%zu]", f->path, *f->path ? "." : "", members[depth],
                 i);
        inner = fields_of(part, path, f->fault);
        if (f->fault->code != 0) {
            return;
        }
        count_parts(&inner, depth + 1, t);
    }
}

/* A connection is of the level that it names, or "intra" a board and "inter" beyond. Of several the
 * fastest counts, one way, and the least latency. */
static void read_connections(const struct fields *f, struct planner_level *l)
{
    const json_t *connections = fields_get(f, "connections"), *one;
    const char *type = str_eq(l->name, "board") ? "intra" : "inter";
    size_t i;

    json_array_foreach(UNCONST(json_t *, connections), i, one)
    {
        const char *kind = json_string_value(json_object_get(one, "type"));
        const double gbps = json_number_value(json_object_get(one, "bandwidth"));
        const double us = json_number_value(json_object_get(one, "latency"));

        if (i >= CONNECTIONS_MAX || !kind || !(gbps > 0 && gbps < 1e6) ||
            (!str_eq(kind, type) && !str_eq(kind, l->name))) {
            continue;
        }
        l->gbps = fmax(l->gbps, gbps);
        if (us > 0 && us < 1e6 && (l->alpha_us <= 0 || us < l->alpha_us)) {
            l->alpha_us = us;
        }
    }
}

static unsigned read_tree(const struct fields *f, struct planner_topology *t)
{
    static const char *const names[DEPTHS] = { "cluster", "pod", "rack", "board" };
    struct tree tree = { 0 };

    count_parts(f, POD, &tree);
    for (int depth = CHIP; depth >= POD; depth--) {
        if (depth == CHIP || tree.widest[depth] > 1) {
            add_level(t, names[depth], (double)tree.widest[depth]);
            read_connections(f, &t->levels[t->level_count - 1]);
        }
    }
    check_total(f, (double)tree.chips);
    return (unsigned)MIN_OF(tree.chips, (size_t)CHIPS_MAX);
}

/* ---- counts ---- */

/* rack_config.boards[{count, chips[{count}]}]: all boards of a rack, and the chips of the fullest.
 */
static void count_rack(const struct fields *f, double *boards, double *chips, double *widest)
{
    const struct fields rack = fields_object(f, "rack_config", true);
    const json_t *kinds = fields_get(&rack, "boards"), *kind, *chip;
    char path[FIELD_PATH_MAX], inner_path[FIELD_PATH_MAX];
    size_t i, j;

    if (!json_is_array(kinds) || json_array_size(kinds) > PARTS_MAX) {
        fields_fault(&rack, -EPROTO, "boards", "this has to be an array");
        return;
    }
    json_array_foreach(UNCONST(json_t *, kinds), i, kind)
    {
        struct fields one;
        const json_t *inner;
        double count, on_board = 0;

        snprintf(path, sizeof(path), "%.60s.boards[%zu]", rack.path, i);
        one = fields_of(kind, path, f->fault);
        inner = fields_get(&one, "chips");
        count = fields_count(&one, "count", 0, CHIPS_MAX, 1);
        if (!json_is_array(inner)) {
            fields_fault(&one, -EPROTO, "chips", "this has to be an array");
            return;
        }
        json_array_foreach(UNCONST(json_t *, inner), j, chip)
        {
            struct fields c;

            snprintf(inner_path, sizeof(inner_path), "%.60s.chips[%zu]", one.path, j);
            c = fields_of(chip, inner_path, f->fault);
            on_board += fields_count(&c, "count", 0, CHIPS_MAX, 1);
        }
        *boards += count;
        *chips += count * on_board;
        *widest = fmax(*widest, on_board);
    }
}

static unsigned read_counts(const struct fields *f, struct planner_topology *t)
{
    const double pods = fields_count(f, "pod_count", 1, CHIPS_MAX, 1);
    const double racks = fields_count(f, "racks_per_pod", 1, CHIPS_MAX, 1);
    double boards = 0, chips = 0, widest = 0;

    count_rack(f, &boards, &chips, &widest);
    add_level(t, "board", widest);
    if (boards > 1) {
        add_level(t, "rack", boards);
    }
    if (racks > 1) {
        add_level(t, "pod", racks);
    }
    if (pods > 1) {
        add_level(t, "cluster", pods);
    }
    for (unsigned i = 0; i < t->level_count; i++) {
        read_connections(f, &t->levels[i]);
    }
    check_total(f, pods * racks * chips);
    return (unsigned)fmin(pods * racks * chips, CHIPS_MAX);
}

/* ---- one topology ---- */

bool topology_is_told(const json_t *value)
{
    return json_object_get(value, "levels") || json_object_get(value, "pods") ||
           json_object_get(value, "rack_config") || json_object_get(value, "pod_count");
}

void topology_read(const json_t *value, const char *path, struct fault *fault,
                   struct planner_topology *ret, unsigned *ret_chips)
{
    const struct fields f = fields_of(value, path, fault);

    memset(ret, 0, sizeof(*ret));
    *ret_chips = 0;
    if (!f.object) {
        return;
    }
    if (fields_has(&f, "levels")) {
        *ret_chips = read_levels(&f, ret);
    } else if (fields_has(&f, "rack_config") || fields_has(&f, "pod_count")) {
        *ret_chips = read_counts(&f, ret);
    } else {
        fields_require(&f, "pods");
        *ret_chips = read_tree(&f, ret);
    }
    if (fault->code != 0) {
        memset(ret, 0, sizeof(*ret));
    }
}

int preset_topology_from_json(const json_t *object, struct planner_topology *ret,
                              struct error *reterr)
{
    struct planner_topology t;
    struct fault fault = { 0 };
    unsigned chips;

    topology_read(object, "", &fault, &t, &chips);
    if (fault.code == 0) {
        *ret = t;
        return 0;
    }
    fault_result(&fault, NULL, reterr);
    return -EINVAL;
}

json_t *preset_topology_to_json(const struct planner_topology *t)
{
    json_t *levels = json_array();

    for (unsigned i = 0; i < t->level_count; i++) {
        const struct planner_level *l = &t->levels[i];

        json_array_append_new(levels, json_pack("{s:s, s:I, s:f, s:f, s:s}", "name", l->name,
                                                "groups", (json_int_t)l->groups, "gbps", l->gbps,
                                                "alpha_us", l->alpha_us, "link", links[l->link]));
    }
    return json_pack("{s:o}", "levels", levels);
}
