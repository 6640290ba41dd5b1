// SPDX-License-Identifier: Apache-2.0
/*
 * Lanes: one for each model and kind of task. A lane knows its windows, its counters and its slots;
 * which of its tasks is next is decided here, who may work on it in slots.c.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tasks/tasks_int.h"

enum { LANE_KEY_MAX = 400 };

static void write_key(char out[LANE_KEY_MAX], enum task_kind kind, int64_t model_id,
                      const char *name)
{
    if (model_id) {
        snprintf(out, LANE_KEY_MAX, "%d:%lld", (int)kind, (long long)model_id);
    } else {
        snprintf(out, LANE_KEY_MAX, "%d::%s", (int)kind, name);
    }
}

struct lane *lane_find(const struct tasks *t, enum task_kind kind, int64_t model_id,
                       const char *name)
{
    char key[LANE_KEY_MAX];

    write_key(key, kind, model_id, name);
    return map_get(&t->lanes_by_key, key);
}

struct lane *lane_of_id(const struct tasks *t, int64_t id)
{
    assert(id > 0 && (size_t)id < t->lanes_cap && t->lanes_by_id[id]);
    return t->lanes_by_id[id];
}

static void index_by_id(struct tasks *t, struct lane *lane)
{
    if ((size_t)lane->id >= t->lanes_cap) {
        size_t cap = MAX_OF(2 * t->lanes_cap, (size_t)lane->id + 16);

        t->lanes_by_id = xrealloc(t->lanes_by_id, cap * sizeof(*t->lanes_by_id));
        memset(t->lanes_by_id + t->lanes_cap, 0, (cap - t->lanes_cap) * sizeof(*t->lanes_by_id));
        t->lanes_cap = cap;
    }
    t->lanes_by_id[lane->id] = lane;
    t->last_lane_id = MAX_OF(t->last_lane_id, lane->id);
}

static void find_pair(struct lane *lane)
{
    if (lane->model_id && lane->kind != TASK_OF_INSTANCE) {
        lane->pair =
            lane_find(lane->tasks, lane->kind == TASK_OF_QUEUE ? TASK_OF_BATCH : TASK_OF_QUEUE,
                      lane->model_id, lane->name);
        if (lane->pair) {
            lane->pair->pair = lane;
        }
    }
}

struct lane *lane_add(struct tasks *t, int64_t id, enum task_kind kind, int64_t model_id,
                      const char *name)
{
    struct lane *lane = xcalloc(1, sizeof(*lane));
    char key[LANE_KEY_MAX];

    lane->tasks = t;
    lane->id = id;
    lane->kind = kind;
    lane->model_id = model_id;
    lane->name = xstrdup(name);
    list_init(&lane->kicked);
    list_init(&lane->starved);
    list_init(&lane->types);
    list_init(&lane->asking_slots);
    list_init(&lane->slots);
    list_append(&t->lanes, &lane->node);
    write_key(key, kind, model_id, name);
    map_put(&t->lanes_by_key, key, lane);
    index_by_id(t, lane);
    find_pair(lane);
    return lane;
}

struct lane *lane_make(struct tasks *t, enum task_kind kind, int64_t model_id, const char *name)
{
    struct lane *lane = lane_find(t, kind, model_id, name);

    return lane ? lane : lane_add(t, t->last_lane_id + 1, kind, model_id, name);
}

struct lane *lane_free(struct lane *lane)
{
    for (unsigned c = 0; c < TASK_CLASSES; c++) {
        free(lane->windows[c].heads);
    }
    while (!list_empty(&lane->types)) {
        struct lane_type *type = list_first(&lane->types, struct lane_type, node);

        list_remove(&type->node);
        free(type);
    }
    list_remove(&lane->kicked);
    list_remove(&lane->starved);
    list_remove(&lane->node);
    free(lane->name);
    free(lane);
    return NULL;
}

struct lane_type *lane_type_make(struct lane *lane, const char *name)
{
    struct lane_type *type;

    list_for_each (type, &lane->types, node) {
        if (str_eq(type->name, name)) {
            return type;
        }
    }
    type = xcalloc(1, sizeof(*type));
    snprintf(type->name, sizeof(type->name), "%s", name);
    list_append(&lane->types, &type->node);
    return type;
}

uint64_t lane_count(const struct lane *lane, unsigned cell)
{
    const struct lane_type *type;
    uint64_t n = 0;

    list_for_each (type, &lane->types, node) {
        for (unsigned c = 0; c < TASK_CLASSES; c++) {
            n += type->n[c][cell];
        }
    }
    return n;
}

void lane_kick(struct lane *lane)
{
    struct tasks *t = lane->tasks;

    if (list_empty(&lane->kicked)) {
        list_append(&t->kicked, &lane->kicked);
    }
    if (!timer_active(&t->work)) {
        timer_start(&t->work, 0);
    }
}

void lane_kick_model(struct lane *lane)
{
    struct lane *first = lane->pair && lane->kind == TASK_OF_BATCH ? lane->pair : lane;

    lane_kick(first);
    if (first->pair) {
        lane_kick(first->pair);
    }
}

/* Those with something that waits. */
void lanes_kick_all(struct tasks *t)
{
    struct lane *lane;

    list_for_each (lane, &t->lanes, node) {
        if (lane->asking || lane_count(lane, TASK_PENDING) || lane_count(lane, CELL_DELAYED)) {
            lane_kick(lane);
        }
    }
}

/* ---- which is next ---- */

/* With ageing: the class whose head has waited longest beyond the bound; -1: none has. */
static int aged_class(struct lane *lane)
{
    const struct tasks *t = lane->tasks;
    int64_t now = world_wall_ms(t->in.world), oldest = INT64_MAX;
    int aged = -1;

    for (int c = 0; t->ageing_ms && c < TASK_CLASSES; c++) {
        const struct window *w = &lane->windows[c];

        window_refill(lane, (unsigned)c);
        if (w->count && now - w->heads[0].created_ms > (int64_t)t->ageing_ms &&
            w->heads[0].created_ms < oldest) {
            oldest = w->heads[0].created_ms;
            aged = c;
        }
    }
    return aged;
}

/* Not known yet: nothing stands in the window, and there may be something in the store. */
static bool is_unknown(const struct window *w)
{
    return w->count == 0 && w->more;
}

static int first_class(struct lane *lane)
{
    int aged = aged_class(lane);

    for (int c = TASK_CLASSES - 1; aged < 0 && c >= 0; c--) {
        window_refill(lane, (unsigned)c);
        if (is_unknown(&lane->windows[c])) {
            return -1;
        }
        if (lane->windows[c].count) {
            return c;
        }
    }
    return aged;
}

int lane_wanted_class(struct lane *lane)
{
    size_t heads = 0, asking = 0;

    if (first_class(lane) < 0) {
        return -1;
    }
    for (int c = TASK_CLASSES - 1; c >= 0; c--) {
        heads += lane->windows[c].count;
        asking += lane->asking_by_class[c];
        if (heads > asking) {
            return c;
        }
        if (is_unknown(&lane->windows[c])) {
            return -1;
        }
    }
    return -1;
}

bool lane_pop(struct lane *lane, struct head *ret, unsigned *ret_class)
{
    int c = first_class(lane);

    if (c < 0) {
        return false;
    }
    *ret = lane->windows[c].heads[0];
    *ret_class = (unsigned)c;
    window_remove(&lane->windows[c], ret->id);
    window_refill(lane, (unsigned)c);
    return true;
}

uint64_t lane_place(const struct lane *lane, unsigned class, int64_t id)
{
    const struct window *w = &lane->windows[class];
    uint64_t before = 0;

    for (unsigned c = class + 1; c < TASK_CLASSES; c++) {
        const struct lane_type *type;

        list_for_each (type, &lane->types, node) {
            before += type->n[c][TASK_PENDING];
        }
    }
    for (size_t i = 0; i < w->count; i++) {
        if (w->heads[i].id == id) {
            return before + i + 1;
        }
    }
    return 0;
}
