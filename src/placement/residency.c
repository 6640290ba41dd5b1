// SPDX-License-Identifier: Apache-2.0
/*
 * Demand loads, idleness unloads. There is one timer for all models: it sleeps until the first of
 * them can be due. Only wishes are made here (models_set_wanted); who gets which place is the
 * controller's. While the queue for room is full (max_queue_size) demand waits with the requests.
 */
#include "placement/placement_int.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"

enum { LONGEST_SLEEP_MS = 60 * 60 * 1000, RETRY_MS = 1000 };

static size_t find_place(const struct placement *p, int64_t model_id)
{
    size_t low = 0, high = p->stay_count;

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

struct stay *stay_find(const struct placement *p, int64_t model_id)
{
    size_t at = find_place(p, model_id);

    return at < p->stay_count && p->stays[at].model_id == model_id ? &p->stays[at] : NULL;
}

struct stay *stay_make(struct placement *p, int64_t model_id)
{
    size_t at = find_place(p, model_id);

    if (at < p->stay_count && p->stays[at].model_id == model_id) {
        return &p->stays[at];
    }
    if (p->stay_count == p->stay_cap) {
        p->stay_cap = p->stay_cap ? 2 * p->stay_cap : 16;
        p->stays = xrealloc(p->stays, p->stay_cap * sizeof(*p->stays));
    }
    memmove(&p->stays[at + 1], &p->stays[at], (p->stay_count - at) * sizeof(*p->stays));
    p->stay_count++;
    p->stays[at] = (struct stay){ .model_id = model_id };
    return &p->stays[at];
}

static void forget_stay(struct placement *p, int64_t model_id)
{
    size_t at = find_place(p, model_id);

    if (at < p->stay_count && p->stays[at].model_id == model_id) {
        p->stay_count--;
        memmove(&p->stays[at], &p->stays[at + 1], (p->stay_count - at) * sizeof(*p->stays));
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
    s = stay_find(p, id);
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

void residency_unload(struct placement *p, struct stay *s)
{
    const struct model *model = models_get(p->models, s->model_id);

    if (s->unloading || p->draining) {
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
    if (placement_admit(p, s->model_id, NULL) < 0) {
        timer_start(&p->review, RETRY_MS);
        return;
    }
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

void residency_review_soon(struct placement *p)
{
    timer_start(&p->review, 0);
}

/* A busy model is looked at again when it can be due at the earliest: after its last request. */
void residency_on_review(void *placement)
{
    struct placement *p = placement;
    uint64_t now = world_now_ms(p->world), sleep = LONGEST_SLEEP_MS;

    for (size_t i = 0; i < p->stay_count; i++) {
        struct stay *s = &p->stays[i];
        uint64_t due = due_ms(p, s);

        load_again(p, s);
        if (due == 0) {
            continue;
        }
        if (is_busy(p, s->model_id)) {
            sleep = MIN_OF(sleep, MAX_OF(due - now, (uint64_t)RETRY_MS));
        } else if (due <= now) {
            residency_unload(p, s);
        } else {
            sleep = MIN_OF(sleep, due - now);
        }
    }
    if (p->stay_count > 0 && !timer_active(&p->review)) {
        timer_start(&p->review, sleep);
    }
}

/* What is told */

void placement_keep_alive(struct placement *p, int64_t model_id, int64_t ms)
{
    struct stay *s = stay_make(p, model_id);

    s->asked = ms != KEEP_ALIVE_DEFAULT;
    s->asked_anew = true;
    s->keep_alive_ms = ms;
    residency_review_soon(p);
}

/* Whatever was said before, this holds for this stay, never for the next one. */
void placement_let_go(struct placement *p, int64_t model_id)
{
    const struct model *model = models_get(p->models, model_id);
    struct stay *s;

    if (model && model->wanted) {
        s = stay_make(p, model_id);
        s->asked = true;
        s->asked_anew = false;
        s->keep_alive_ms = 0;
        residency_review_soon(p);
    }
}

void placement_on_start(struct placement *p, int64_t model_id)
{
    struct stay *s = stay_find(p, model_id);

    if (s) {
        s->by_demand = false;
    }
}

int64_t placement_expires_wall_ms(const struct placement *p, int64_t model_id)
{
    const struct stay *s = stay_find(p, model_id);
    uint64_t due = s ? due_ms(p, s) : 0;

    return due ? world_wall_ms(p->world) + (int64_t)(due - MIN_OF(due, world_now_ms(p->world))) : 0;
}

void residency_on_demand(struct placement *p, const struct demand *d)
{
    if (!d->wants_room && models_get(p->models, d->model_id)) {
        load(p, stay_make(p, d->model_id));
    }
}

void residency_on_model(struct placement *p, const struct model_change *c)
{
    if (c->kind == MODEL_REMOVED) {
        forget_stay(p, c->id);
    } else if (c->kind == MODEL_WANTED_CHANGED && c->model->wanted) {
        stay_make(p, c->id)->by_demand = c->by == WISH_DEMAND;
    } else if (c->kind == MODEL_WANTED_CHANGED && !c->model->wanted) {
        struct stay *s = stay_find(p, c->id);

        if (s) {
            /* What a request said while the wish was with the catalogue is for the next stay. */
            s->asked = s->asked && s->asked_anew && c->by == WISH_IDLE;
            s->ready_ms = 0;
            s->by_demand = s->no_preempt = s->force = s->called = s->aside = false;
        }
    }
    residency_review_soon(p);
}

void residency_on_instance(struct placement *p, const struct instance_change *c)
{
    if (!c->gone && c->from != INSTANCE_READY && c->to == INSTANCE_READY &&
        models_get(p->models, c->instance->model_id)) {
        stay_make(p, c->instance->model_id)->ready_ms = MAX_OF(world_now_ms(p->world), 1);
        residency_review_soon(p);
    }
}
