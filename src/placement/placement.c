// SPDX-License-Identifier: Apache-2.0
/*
 * Demand loads, idleness unloads. There is one timer for all models: it sleeps until the first of
 * them can be due. Only wishes are made here (models_set_wanted); engines do the rest.
 */
#include "placement/placement.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

enum { LONGEST_SLEEP_MS = 60 * 60 * 1000, RETRY_MS = 1000 };

// clang-format off
static const struct option_row rows[] = {
    { "placement.unload_after", OPTION_DURATION, "0s", 0, 31536000000, NULL, true, false,
      "How long a model stays loaded after its last request, unless it says so itself (keep_alive); 0: for ever." },
};
// clang-format on

const struct option_table placement_options = { rows, ARRAY_SIZE(rows) };

/* What is known of a model that is loaded, or about to be. By ascending id. */
struct stay {
    int64_t model_id;
    uint64_t ready_ms;     /* world_now_ms at which an instance became ready; 0: none has */
    bool asked;            /* a request carried keep_alive */
    bool asked_anew;       /* since it was last said that nobody wants it */
    int64_t keep_alive_ms; /* then: that */
    bool unloading;        /* that nobody wants it is with the catalogue */
    bool demanded;         /* somebody waits for it, and it is not wanted yet */
};

struct placement {
    struct world *world;
    struct models *models;
    struct dispatch *dispatch;
    uint64_t unload_after_ms;
    struct stay *stays;
    size_t count, cap;
    struct timer review;
};

static size_t find_place(const struct placement *p, int64_t model_id)
{
    size_t low = 0, high = p->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (p->stays[middle].model_id < model_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct stay *find_stay(const struct placement *p, int64_t model_id)
{
    size_t at = find_place(p, model_id);

    return at < p->count && p->stays[at].model_id == model_id ? &p->stays[at] : NULL;
}

static struct stay *make_stay(struct placement *p, int64_t model_id)
{
    size_t at = find_place(p, model_id);

    if (at < p->count && p->stays[at].model_id == model_id) {
        return &p->stays[at];
    }
    if (p->count == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 16;
        p->stays = xrealloc(p->stays, p->cap * sizeof(*p->stays));
    }
    memmove(&p->stays[at + 1], &p->stays[at], (p->count - at) * sizeof(*p->stays));
    p->count++;
    p->stays[at] = (struct stay){ .model_id = model_id };
    return &p->stays[at];
}

static void forget_stay(struct placement *p, int64_t model_id)
{
    size_t at = find_place(p, model_id);

    if (at < p->count && p->stays[at].model_id == model_id) {
        p->count--;
        memmove(&p->stays[at], &p->stays[at + 1], (p->count - at) * sizeof(*p->stays));
    }
}

/* Wishes */

static void on_wished(void *arg, int result, int64_t id, const struct error *e)
{
    struct placement *p = arg;
    struct stay *s;

    if (result == -ECANCELED) {
        return; /* berth goes down, and p may have gone */
    }
    s = find_stay(p, id);
    if (s) {
        s->unloading = false;
    }
    if (result < 0 && result != -ENOENT) {
        log_warn("placement", NULL, "a model could not be loaded or unloaded, trying again",
                 kv_int("id", id), kv_str("error", e->text));
        timer_start(&p->review, RETRY_MS);
    }
}

/* Time */

/* KEEP_ALIVE_FOREVER, or milliseconds. */
static int64_t keep_alive_ms(const struct placement *p, const struct stay *s,
                             const struct model_config *config)
{
    int64_t ms = s->asked ? s->keep_alive_ms : config->keep_alive_ms;

    if (ms == KEEP_ALIVE_DEFAULT) {
        ms = p->unload_after_ms ? (int64_t)p->unload_after_ms : KEEP_ALIVE_FOREVER;
    }
    return config->pinned ? KEEP_ALIVE_FOREVER : ms;
}

static bool is_busy(const struct placement *p, int64_t model_id)
{
    struct dispatch_load load = dispatch_model_load(p->dispatch, model_id);

    return load.in_flight > 0 || load.waiting > 0;
}

/* world_now_ms at which it is to be unloaded if nobody asks for it; 0: never, or not now. */
static uint64_t due_ms(const struct placement *p, const struct stay *s)
{
    const struct model *model = models_get(p->models, s->model_id);
    int64_t keep;
    uint64_t since;

    if (!model || !model->wanted || !s->ready_ms) {
        return 0;
    }
    keep = keep_alive_ms(p, s, model->config);
    since = is_busy(p, s->model_id)
                ? world_now_ms(p->world)
                : MAX_OF(s->ready_ms, dispatch_last_used_ms(p->dispatch, s->model_id));
    return keep == KEEP_ALIVE_FOREVER ? 0 : since + (uint64_t)keep;
}

static void unload(struct placement *p, struct stay *s)
{
    const struct model *model = models_get(p->models, s->model_id);

    if (s->unloading) {
        return;
    }
    log_info("placement", model->config->id, "unloading: nobody asks for it");
    s->unloading = true;
    s->asked_anew = false;
    models_set_wanted(p->models, s->model_id, false, WISH_IDLE, on_wished, p);
}

static void load(struct placement *p, struct stay *s)
{
    s->demanded = true;
    models_set_wanted(p->models, s->model_id, true, WISH_DEMAND, on_wished, p);
}

/* The wish for it may have failed (a full disk). */
static void load_again(struct placement *p, struct stay *s)
{
    const struct model *model = models_get(p->models, s->model_id);

    if (!s->demanded || !model) {
        return;
    }
    s->demanded = false;
    if (!model->wanted && is_busy(p, s->model_id)) {
        load(p, s);
    }
}

static void review_soon(struct placement *p)
{
    timer_start(&p->review, 0);
}

/* A busy model is looked at again when it can be due at the earliest: after its last request. */
static void on_review(void *arg)
{
    struct placement *p = arg;
    uint64_t now = world_now_ms(p->world), sleep = LONGEST_SLEEP_MS;

    for (size_t i = 0; i < p->count; i++) {
        struct stay *s = &p->stays[i];
        uint64_t due = due_ms(p, s);

        load_again(p, s);
        if (due == 0) {
            continue;
        }
        if (is_busy(p, s->model_id)) {
            sleep = MIN_OF(sleep, MAX_OF(due - now, (uint64_t)RETRY_MS));
        } else if (due <= now) {
            unload(p, s);
        } else {
            sleep = MIN_OF(sleep, due - now);
        }
    }
    if (p->count > 0 && !timer_active(&p->review)) {
        timer_start(&p->review, sleep);
    }
}

/* What is told */

void placement_keep_alive(struct placement *p, int64_t model_id, int64_t ms)
{
    struct stay *s = make_stay(p, model_id);

    s->asked = ms != KEEP_ALIVE_DEFAULT;
    s->asked_anew = true;
    s->keep_alive_ms = ms;
    review_soon(p);
}

/* Whatever was said before, this holds for this stay, never for the next one. */
void placement_let_go(struct placement *p, int64_t model_id)
{
    const struct model *model = models_get(p->models, model_id);
    struct stay *s;

    if (model && model->wanted) {
        s = make_stay(p, model_id);
        s->asked = true;
        s->asked_anew = false;
        s->keep_alive_ms = 0;
        review_soon(p);
    }
}

int64_t placement_expires_wall_ms(const struct placement *p, int64_t model_id)
{
    const struct stay *s = find_stay(p, model_id);
    uint64_t due = s ? due_ms(p, s) : 0;

    return due ? world_wall_ms(p->world) + (int64_t)(due - MIN_OF(due, world_now_ms(p->world))) : 0;
}

void placement_on_demand(void *placement, const void *demand)
{
    struct placement *p = placement;
    const struct demand *d = demand;

    if (models_get(p->models, d->model_id)) {
        load(p, make_stay(p, d->model_id));
    }
}

void placement_on_model(void *placement, const void *model_change)
{
    struct placement *p = placement;
    const struct model_change *c = model_change;

    if (c->kind == MODEL_REMOVED) {
        forget_stay(p, c->id);
    } else if (c->kind == MODEL_WANTED_CHANGED && !c->model->wanted) {
        struct stay *s = find_stay(p, c->id);

        if (s) {
            /* What a request said while the wish was with the catalogue is for the next stay. */
            s->asked = s->asked && s->asked_anew && c->by == WISH_IDLE;
            s->ready_ms = 0;
        }
    }
    review_soon(p);
}

void placement_on_instance(void *placement, const void *instance_change)
{
    struct placement *p = placement;
    const struct instance_change *c = instance_change;

    if (!c->gone && c->from != INSTANCE_READY && c->to == INSTANCE_READY &&
        models_get(p->models, c->instance->model_id)) {
        make_stay(p, c->instance->model_id)->ready_ms = MAX_OF(world_now_ms(p->world), 1);
        review_soon(p);
    }
}

/* Life */

void placement_reconfigure(struct placement *p, const struct config *config)
{
    p->unload_after_ms = config_duration_ms(config, "placement.unload_after");
    review_soon(p);
}

struct placement *placement_create(const struct placement_in *in)
{
    struct placement *p = xcalloc(1, sizeof(*p));

    p->world = in->world;
    p->models = in->models;
    p->dispatch = in->dispatch;
    timer_init(&p->review, in->world, "placement", on_review, p);
    placement_reconfigure(p, in->config);
    return p;
}

struct placement *placement_destroy(struct placement *p)
{
    if (!p) {
        return NULL;
    }
    timer_stop(&p->review);
    free(p->stays);
    free(p);
    return NULL;
}
