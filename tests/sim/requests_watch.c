// SPDX-License-Identifier: Apache-2.0
/*
 * What must hold at every moment of a history, looked at ten times a second of its time and at
 * every change that is told: about models (wanted while somebody asks for them, unloaded when
 * nobody does), instances (none too many, none too long in a state that has no reason), and the
 * line (nobody waits beside a free seat, everybody is answered in time).
 */
#include "requests.h"

#include <string.h>

#include "base/mem.h"

enum {
    LOOK_MS = 100,
    SOON_MS = 100,    /* what is decided is done by then */
    UNLOAD_MS = 1000, /* placement may look so late at what was busy */
    AVOID_MS = 1000,  /* times the attempts: an instance that lost a request is kept from it */
    DOUBTS = 3,
};

static const struct model *model_of(const struct scene *s, const struct subject *of)
{
    return of->id ? models_get(s->rig->models, of->id) : NULL;
}

static const char *name_of(const struct scene *s, const struct subject *of)
{
    return model_names[of - s->subjects];
}

static struct subject *find_subject(struct scene *s, int64_t id)
{
    for (size_t i = 0; i < MODELS; i++) {
        if (s->subjects[i].id == id) {
            return &s->subjects[i];
        }
    }
    return NULL;
}

static struct subject *find_named(struct scene *s, const char *public_id)
{
    for (size_t i = 0; i < MODELS; i++) {
        if (str_eq(model_names[i], public_id)) {
            return &s->subjects[i];
        }
    }
    fail_msg("a model that nobody made: %s", public_id);
    return NULL;
}

static bool is_busy(const struct scene *s, int64_t id)
{
    struct dispatch_load load = dispatch_model_load(s->dispatch, id);

    return load.in_flight + load.waiting > 0;
}

/* ---- how long a model is to stay */

struct range {
    int64_t least, most; /* ms; KEEP_ALIVE_FOREVER for ever */
};

static int64_t longer(int64_t a, int64_t b)
{
    return a == KEEP_ALIVE_FOREVER || b == KEEP_ALIVE_FOREVER ? KEEP_ALIVE_FOREVER : MAX_OF(a, b);
}

static int64_t shorter(int64_t a, int64_t b)
{
    return a == KEEP_ALIVE_FOREVER ? b : b == KEEP_ALIVE_FOREVER ? a : MIN_OF(a, b);
}

/* The last request that said something rules, if it came after the model was unloaded. Where it is
 * not certain what came when, either may. */
static struct range stay_of(const struct scene *s, const struct subject *of)
{
    const struct model *model = model_of(s, of);
    int64_t defined = model->config->keep_alive_ms;
    struct range r;

    defined = defined == KEEP_ALIVE_DEFAULT ? s->unload_after_ms : defined;
    r = (struct range){ defined, defined };
    for (unsigned i = 0; i < s->asked; i++) {
        const struct ask *a = &s->asks[i];
        bool certain = s->latency_ms == 0 && a->asked_ms > of->unloaded_ms + 2;

        if (!a->keeps || of != &s->subjects[a->model] ||
            a->asked_ms + scene_delay(s) < of->unloaded_ms) {
            continue;
        }
        r.least = certain ? a->keep_alive_ms : shorter(r.least, a->keep_alive_ms);
        r.most = certain ? a->keep_alive_ms : longer(r.most, a->keep_alive_ms);
    }
    return model->config->pinned ? (struct range){ KEEP_ALIVE_FOREVER, KEEP_ALIVE_FOREVER } : r;
}

static uint64_t idle_since(const struct scene *s, const struct subject *of)
{
    return MAX_OF(of->ready_ms, dispatch_last_used_ms(s->dispatch, of->id));
}

/* It is unloaded for idleness. */
static void check_unload(struct scene *s, struct subject *of)
{
    uint64_t since = idle_since(s, of), now = scene_now(s);
    int64_t stay = stay_of(s, of).least;

    if (of->touched_ms + 5 > now) {
        return; /* it may have been decided by what was then */
    }
    if (is_busy(s, of->id) && of->busy && of->looked_ms + 5 < now && since < of->looked_ms) {
        fail_msg("%s is unloaded while it works", name_of(s, of));
    }
    if (of->ready_ms == 0) {
        fail_msg("%s is unloaded before it was ready", name_of(s, of));
    }
    if (stay == KEEP_ALIVE_FOREVER || (now - since > 2 && now - since + 2 < (uint64_t)stay)) {
        fail_msg("%s is unloaded after %llu ms, not %lld", name_of(s, of),
                 (unsigned long long)(now - since), (long long)stay);
    }
}

static void check_idle(struct scene *s, struct subject *of, const struct model *model)
{
    int64_t stay = stay_of(s, of).most;
    uint64_t since = MAX_OF(idle_since(s, of), of->touched_ms);

    if (!model->wanted || is_busy(s, of->id) || stay == KEEP_ALIVE_FOREVER ||
        rig_count_instances(s->rig, of->id, INSTANCE_READY) == 0) {
        return;
    }
    if (scene_now(s) > since + (uint64_t)stay + UNLOAD_MS + SOON_MS) {
        fail_msg("%s is idle since %llu, and was to be unloaded after %lld ms", name_of(s, of),
                 (unsigned long long)since, (long long)stay);
    }
}

/* ---- what is told */

static void on_wanted(struct scene *s, struct subject *of, const struct model_change *c)
{
    of->idle = !c->model->wanted && c->by == WISH_IDLE;
    of->starts = c->model->wanted ? of->starts + (unsigned)c->model->config->replicas : 0;
    if (of->idle) {
        check_unload(s, of);
    }
    if (!c->model->wanted) {
        of->unloaded_ms = scene_now(s);
        of->ready_ms = 0;
    }
}

static void on_model(void *owner, const void *what)
{
    struct scene *s = owner;
    const struct model_change *c = what;
    struct subject *of = find_named(s, c->public_id);
    uint64_t now = scene_now(s);

    if (c->kind == MODEL_REMOVED) {
        s->removed_ms = now;
        return;
    }
    if (c->kind == MODEL_ADDED) {
        *of = (struct subject){
            .id = c->id, .absent_ms = now, .stopped_ms = of->stopped_ms, .failed_ms = of->failed_ms
        };
        of->refusing_ms = of->unloaded_ms = now;
    } else if (of->id != c->id) {
        return; /* it will be removed soon */
    }
    if (c->kind == MODEL_WANTED_CHANGED) {
        on_wanted(s, of, c);
    } else if (c->model->wanted) {
        of->starts += (unsigned)c->model->config->replicas;
    }
    if (!of->on_demand) {
        of->refusing_ms = now;
    }
    of->on_demand = c->model->config->on_demand;
    of->touched_ms = now;
}

static struct sim_engine *engine_of(const struct scene *s, const struct instance *in)
{
    struct sim_engine *engine;

    list_for_each (engine, &s->rig->alive, node) {
        if (str_eq(engine->uuid, in->uuid)) {
            return engine;
        }
    }
    return NULL;
}

/* Who has nothing to do makes no progress. */
static void check_verdict(const struct scene *s, const struct instance_change *c)
{
    const struct instance *in = c->instance;
    const struct sim_engine *engine = engine_of(s, in);

    if (c->from == INSTANCE_READY && c->to == INSTANCE_STOPPING && in->last_error && engine &&
        !engine->hung && strstr(in->last_error, "made no progress") &&
        engine_works_since(engine) == 0 && engine->worked_ms + scene_delay(s) < scene_now(s)) {
        fail_msg("an engine of %s without work is called hung", engine->alias);
    }
}

static void on_instance(void *owner, const void *what)
{
    struct scene *s = owner;
    const struct instance_change *c = what;
    struct subject *of = find_subject(s, c->instance->model_id);
    uint64_t now = scene_now(s);

    if (!of || !of->id) {
        return;
    }
    if (c->to == INSTANCE_FAILED || c->from == INSTANCE_FAILED) {
        of->failed_ms = now;
    }
    if (c->gone) {
        return;
    }
    check_verdict(s, c);
    if (c->to == INSTANCE_READY) {
        of->ready_ms = now;
    }
    if (c->made && of->starts-- == 0) {
        fail_msg("one more instance of %s is made, and there is no reason", name_of(s, of));
    }
}

void watch_note_removal(struct scene *s, size_t model)
{
    struct subject *of = &s->subjects[model];

    if (rig_count_instances(s->rig, of->id, INSTANCE_FAILED) > 0) {
        of->failed_ms = scene_now(s);
    }
    of->id = 0;
    s->removed_ms = scene_now(s);
}

void watch_note_stop(struct scene *s, size_t model)
{
    s->subjects[model].stopped_ms = scene_now(s);
}

void watch_allow_starts(struct scene *s, size_t model, unsigned count)
{
    s->subjects[model].starts += count;
}

/* ---- instances */

static bool has_reason(const struct model *model, const struct instance *in)
{
    return in->state == INSTANCE_DRAINING || in->state == INSTANCE_STOPPING ||
           (model && model->wanted && (int)in->replica < model->config->replicas);
}

static void check_instances(struct scene *s)
{
    const struct instance *in;
    size_t cursor = 0;
    uint64_t now = scene_now(s);

    while ((in = engines_next(s->rig->engines, &cursor))) {
        const struct model *model = models_get(s->rig->models, in->model_id);
        const struct subject *of = find_subject(s, in->model_id);
        uint64_t since = MAX_OF(in->state_since_ms, of ? of->touched_ms : s->removed_ms);

        if (!has_reason(model, in) && now > since + SOON_MS) {
            fail_msg("replica %u of model %lld is still %s", in->replica, (long long)in->model_id,
                     instance_state_name(in->state));
        }
    }
}

/* What was deleted under its name may have to go first. */
static bool has_remains(const struct scene *s)
{
    const struct instance *in;
    size_t cursor = 0;

    while ((in = engines_next(s->rig->engines, &cursor))) {
        if (!models_get(s->rig->models, in->model_id)) {
            return true;
        }
    }
    return false;
}

static void check_wanted(struct scene *s, struct subject *of, const struct model *model)
{
    size_t count = rig_count_instances(s->rig, of->id, INSTANCE_STATE_MAX_);

    if (model->wanted && count == 0 && !has_remains(s) && scene_now(s) > of->touched_ms + SOON_MS) {
        fail_msg("%s is wanted, and there is no instance of it", name_of(s, of));
    }
}

/* What it wrote before may be read now, which looks like progress, or nobody reads it. */
static uint64_t last_reading(const struct scene *s, const char *alias)
{
    uint64_t last = 0;

    for (unsigned i = 0; i < s->asked; i++) {
        const struct ask *a = &s->asks[i];

        if (str_eq(model_names[a->model], alias)) {
            last = MAX_OF(last, a->state == ASK_OPEN && a->paused ? scene_now(s) : a->resumed_ms);
        }
    }
    return last;
}

static void check_stuck(struct scene *s)
{
    const struct instance *in;
    struct sim_engine *engine;

    list_for_each (engine, &s->rig->alive, node) {
        uint64_t since = engine->stuck && !engine->hung ? engine_works_since(engine) : 0;

        in = engines_find(s->rig->engines, engine->uuid);
        if (!since || !in || in->state != INSTANCE_READY) {
            continue;
        }
        since = MAX_OF(since, MAX_OF(engine->stuck_ms, in->state_since_ms));
        since = MAX_OF(since, last_reading(s, engine->alias));
        /* What it did before may be seen with the next question about its progress only. */
        if (scene_now(s) > since + STALL_MS + STALL_MS / 4 + 2 * scene_delay(s) + SOON_MS) {
            fail_msg("an engine of %s makes no token, and is let be", engine->alias);
        }
    }
}

/* ---- the line */

/* That a client left takes its time to be known. */
static bool is_in_line(const struct scene *s, const struct ask *a)
{
    return a->state == ASK_OPEN ||
           (a->state == ASK_LEFT && scene_now(s) <= a->left_ms + scene_delay(s));
}

/* Somebody who was failed there may have to wait for another one. */
static bool some_are_kept_away(const struct scene *s, const struct subject *of)
{
    for (unsigned i = 0; i < s->asked; i++) {
        const struct ask *a = &s->asks[i];

        if (is_in_line(s, a) && of == &s->subjects[a->model] && a->lost + a->deaths > 0) {
            return true;
        }
    }
    return false;
}

static bool has_free_seat(const struct scene *s, const struct subject *of)
{
    const struct instance *in;
    size_t cursor = 0;

    while ((in = engines_next(s->rig->engines, &cursor))) {
        struct dispatch_target t;

        if (in->model_id == of->id && in->state == INSTANCE_READY) {
            if (!dispatch_target(s->dispatch, in->uuid, &t)) {
                fail_msg("dispatch does not know of a ready instance of %s", name_of(s, of));
            }
            if (t.breaker == BREAKER_CLOSED ? t.in_flight <= MAX_OF(in->slots, 1U)
                                            : t.breaker == BREAKER_HALF_OPEN && t.in_flight == 0) {
                return true;
            }
        }
    }
    return false;
}

/* True: this is to be looked at again soon. What is granted, is granted in the next turn. */
static bool check_line(struct scene *s, struct subject *of)
{
    bool doubt = dispatch_model_load(s->dispatch, of->id).waiting > 0 && has_free_seat(s, of) &&
                 !some_are_kept_away(s, of);

    of->doubts = doubt ? of->doubts + 1 : 0;
    if (of->doubts > DOUBTS) {
        fail_msg("somebody waits for %s beside a free seat", name_of(s, of));
    }
    return doubt;
}

/* Who waits for a model makes it wanted; who is in flight, too, unless a person stopped it. */
static void check_demand(struct scene *s, struct subject *of, const struct model *model)
{
    struct dispatch_load load = dispatch_model_load(s->dispatch, of->id);
    uint64_t now = scene_now(s);

    if (model->wanted || !model->config->on_demand ||
        (load.waiting == 0 && (load.in_flight == 0 || !of->idle))) {
        of->unwanted_busy_ms = 0;
    } else if (of->unwanted_busy_ms == 0) {
        of->unwanted_busy_ms = now;
    } else if (now > of->unwanted_busy_ms + SOON_MS) {
        fail_msg("%s is left unloaded: %u wait, %u are in flight", name_of(s, of), load.waiting,
                 load.in_flight);
    }
}

/* Who reads slowly has the rest of his answer to read. */
static void check_times(const struct scene *s)
{
    for (unsigned i = 0; i < s->asked; i++) {
        const struct ask *a = &s->asks[i];
        uint64_t end = a->asked_ms + a->deadline_ms + 2 * scene_delay(s) + SOON_MS;
        uint64_t wait = a->asked_ms + a->queue_timeout_ms + 3 * scene_delay(s) + SOON_MS;
        uint64_t rest = a->resumed_ms ? a->resumed_ms + 200 * s->latency_ms + SOON_MS : 0;

        if (a->state == ASK_OPEN && !a->paused && !a->begun && a->lost + a->deaths == 0 &&
            scene_now(s) > MAX_OF(wait, rest)) {
            complain(a, "waits for longer than %llu ms", (unsigned long long)a->queue_timeout_ms);
        }
        if (a->state == ASK_OPEN && !a->paused && scene_now(s) > MAX_OF(end, rest)) {
            complain(a, "not answered within its deadline of %llu ms",
                     (unsigned long long)a->deadline_ms);
        }
    }
}

static void on_look(void *arg)
{
    struct scene *s = arg;
    bool doubt = false;

    for (size_t i = 0; i < MODELS; i++) {
        struct subject *of = &s->subjects[i];
        const struct model *model = model_of(s, of);

        if (model) {
            check_wanted(s, of, model);
            check_demand(s, of, model);
            check_idle(s, of, model);
            doubt |= check_line(s, of);
            of->busy = is_busy(s, of->id);
            of->looked_ms = scene_now(s);
        }
    }
    check_instances(s);
    check_stuck(s);
    check_times(s);
    timer_start(&s->watch, doubt ? 2 : LOOK_MS);
}

void watch_begin(struct scene *s)
{
    timer_init(&s->watch, s->rig->world, "watch", on_look, s);
    timer_start(&s->watch, LOOK_MS);
    s->on_model = (struct listener){ .fn = on_model, .owner = s };
    notify_add(models_signal(s->rig->models), &s->on_model);
    s->on_instance = (struct listener){ .fn = on_instance, .owner = s };
    notify_add(engines_signal(s->rig->engines), &s->on_instance);
}

void watch_end(struct scene *s)
{
    timer_stop(&s->watch);
    notify_remove(&s->on_model);
    notify_remove(&s->on_instance);
}
