// SPDX-License-Identifier: Apache-2.0
/*
 * A person asks for a place. What is asked is saved first (the priority, then that the model is
 * wanted); then the next passes tell what became of it, for as long as ANSWER_MS: whoever asked is
 * then told that it waits, and why. What was asked for (force, no preemption) stays with the wait.
 * A dry run asks the policy about the world as it would be, and changes nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "placement/placement_int.h"

enum { ANSWER_MS = 5000, MOVED_MAX = 64 };

enum phase {
    WISH_BEGINS,    /* in the next turn */
    WISH_SAVES,     /* with the catalogue */
    WISH_ESTIMATES, /* with the engines: a dry run of a model that has no instance */
    WISH_WATCHES,   /* the passes */
    WISH_COMMITS,   /* the decision is with the store */
};

struct wish {
    struct list node;
    struct placement *p; /* NULL: destroyed meanwhile, and answered */
    struct placement_ask ask;
    placement_done_fn done;
    void *arg;
    enum phase phase;
    struct timer timer;
    /* The answer. */
    struct placement_answer answer;
    char reason[480];
    char *moved[MOVED_MAX + 1];
    size_t moved_count;
};

static void wish_free(struct wish *w)
{
    for (size_t i = 0; i < w->moved_count; i++) {
        free(w->moved[i]);
    }
    free(w);
}

/* Ends the wish. A callback that is still to come for it would find it gone: only called from
 * where none is. */
static void finish(struct wish *w, int result, const struct error *e)
{
    timer_stop(&w->timer);
    list_remove(&w->node);
    w->answer.reason = w->reason;
    w->answer.moved = (const char *const *)w->moved;
    w->done(w->arg, result, result < 0 ? NULL : &w->answer, e);
    wish_free(w);
}

static void refuse(struct wish *w, int code, const char *sentence)
{
    struct error e = { 0 };

    error_set(&e, code, "%s", sentence);
    finish(w, code, &e);
}

static void answer(struct wish *w, enum placement_outcome outcome, const char *reason)
{
    struct error none = { 0 };

    w->answer.outcome = outcome;
    if (reason != w->reason) {
        snprintf(w->reason, sizeof(w->reason), "%s", reason);
    }
    finish(w, 0, &none);
}

static void note_moved(struct wish *w, const char *name)
{
    if (w->moved_count < MOVED_MAX) {
        w->moved[w->moved_count++] = xstrdup(name);
    }
}

static void note_moves(struct wish *w, struct snapshot *snap, const struct policy_plan *plan,
                       size_t instance)
{
    for (size_t i = 0; i < plan->action_count; i++) {
        const struct policy_action *a = &plan->actions[i];

        if (a->kind == POLICY_DISPLACE && a->other == instance) {
            note_moved(w, snapshot_name(snap, a->instance));
        }
    }
}

/* ---- admission ---- */

/* The first of its model that waits. */
static const struct seat *first_waiting(const struct placement *p, int64_t model_id)
{
    const struct seat *s;

    list_for_each (s, &p->seats, node) {
        if (s->model_id == model_id && seat_waits(s)) {
            return s;
        }
    }
    return NULL;
}

/* Models, not instances. */
static int queue_length(const struct placement *p)
{
    const struct seat *s;
    int n = 0;

    list_for_each (s, &p->seats, node) {
        n += first_waiting(p, s->model_id) == s;
    }
    return n;
}

int placement_admit(const struct placement *p, int64_t model_id, struct error *reterr)
{
    const struct model *model = models_get(p->models, model_id);
    int waiting;

    if (!p->engines || (model && model->wanted)) {
        return 0;
    }
    waiting = queue_length(p);
    if (waiting < p->rules.max_queue_size) {
        return 0;
    }
    return error_set(reterr, -EDQUOT,
                     "%d models wait for room already, and no more than %d may (max_queue_size)",
                     waiting, p->rules.max_queue_size);
}

/* ---- the end of a real one ---- */

static void on_committed(void *arg, int result, const struct error *e)
{
    struct wish *w = arg;

    if (result < 0) {
        finish(w, result, e);
    } else {
        answer(w, PLACEMENT_PLACED, w->reason);
    }
}

/* It has its place: whoever asked is told when that is stored. */
static void commit(struct wish *w, const struct seat *s)
{
    struct placement *p = w->p;
    struct error none = { 0 };

    w->phase = WISH_COMMITS;
    timer_stop(&w->timer);
    w->answer.place = s->place;
    w->answer.history_id = s->placed_id;
    w->answer.start_in_ms = seat_start_in_ms(p, s);
    if (p->store) {
        history_after(p, on_committed, w);
    } else {
        on_committed(w, 0, &none);
    }
}

static const struct policy_action *reservation(const struct snapshot *snap,
                                               const struct policy_plan *plan, const char *uuid)
{
    for (size_t i = 0; plan && i < plan->action_count; i++) {
        const struct policy_action *a = &plan->actions[i];

        if (a->kind == POLICY_RESERVE && snap->seats[a->instance] &&
            str_eq(snap->seats[a->instance]->uuid, uuid)) {
            return a;
        }
    }
    return NULL;
}

/* Nothing is asked for any more: whoever asked is told. */
static bool is_in_vain(struct wish *w)
{
    const struct model *model = models_get(w->p->models, w->ask.model_id);

    if (!model) {
        refuse(w, -ENOENT, "the model was deleted meanwhile");
    } else if (!model->wanted) {
        answer(w, PLACEMENT_FAILED, "the model was stopped meanwhile");
    }
    return !model || !model->wanted;
}

/* What its first instance came to in this pass. */
static void judge(struct wish *w, struct snapshot *snap, const struct policy_plan *plan)
{
    struct placement *p = w->p;
    const struct instance *inst = engines_of_model(p->engines, w->ask.model_id);
    const struct seat *s = inst ? seat_find(p, inst->uuid) : NULL;
    const struct policy_action *a;

    if (inst && inst->remote) {
        answer(w, PLACEMENT_PLACED, "it is an endpoint elsewhere, which needs no room here");
        return;
    }
    if (!s) {
        return; /* not made yet */
    }
    a = reservation(snap, plan, s->uuid);
    if (s->reserved || s->state == INSTANCE_STARTING ||
        (s->state == INSTANCE_READY && !w->ask.force)) {
        if (a) {
            note_moves(w, snap, plan, a->instance);
            policy_explain_action(&snap->s, a, snapshot_name, snap, w->reason, sizeof(w->reason));
        } else {
            snprintf(w->reason, sizeof(w->reason), "%s",
                     s->reserved && s->sentence[0] ? s->sentence : "it has its place");
        }
        commit(w, s);
    } else if (s->state == INSTANCE_FAILED) {
        answer(w, PLACEMENT_FAILED, inst->last_error ? inst->last_error : "its engine has failed");
    } else if (s->state == INSTANCE_WAITING && inst->need_known && s->sentence[0]) {
        bool never = s->reason == POLICY_NEVER_FITS || s->reason == POLICY_NO_DEVICE;

        w->answer.start_in_ms = seat_start_in_ms(p, s);
        answer(w, never ? PLACEMENT_FAILED : PLACEMENT_QUEUED, s->sentence);
    }
}

void wishes_on_plan(struct placement *p, struct snapshot *snap, const struct policy_plan *plan)
{
    struct wish *w, *tmp;

    list_for_each_safe (w, tmp, &p->wishes, node) {
        if (w->phase == WISH_WATCHES && !is_in_vain(w)) {
            judge(w, snap, plan);
        }
    }
}

/* Nothing was decided for so long: it goes on without whoever asked. */
static void on_late(struct wish *w)
{
    const struct instance *inst = engines_of_model(w->p->engines, w->ask.model_id);
    const struct seat *s = inst ? seat_find(w->p, inst->uuid) : NULL;

    if (is_in_vain(w)) {
        return;
    }
    if (!controller_is_ready(w->p)) {
        answer(w, PLACEMENT_QUEUED, "the devices are not known yet");
    } else if (inst && inst->state == INSTANCE_BACKOFF) {
        answer(w, PLACEMENT_QUEUED, inst->last_error ? inst->last_error : "it is tried again");
    } else if (s && s->sentence[0] && s->state == INSTANCE_WAITING) {
        answer(w, PLACEMENT_QUEUED, s->sentence);
    } else if (s && (s->state == INSTANCE_DRAINING || s->state == INSTANCE_STOPPING)) {
        answer(w, PLACEMENT_QUEUED, "its requests end first, then it is placed again");
    } else {
        answer(w, PLACEMENT_QUEUED, "what it needs of memory is being found out");
    }
}

/* ---- dry runs ---- */

/* The first of its instances that is there; with force as if all of them had gone already. What
 * leaves is none of them: another one would come. */
static size_t suppose_again(struct wish *w, struct snapshot *snap)
{
    size_t found = SIZE_MAX;

    for (size_t i = 0; i < snap->s.instance_count; i++) {
        struct policy_instance *in = &snap->instances[i];

        if (in->model_id != w->ask.model_id || in->state == POLICY_LEAVING) {
            continue;
        }
        found = found == SIZE_MAX ? i : found;
        if (w->ask.force || in->state == POLICY_RESERVED) {
            in->state = POLICY_WAITING;
            in->place = (struct place){ 0 };
        }
    }
    return found;
}

static void set_terms(const struct wish *w, struct policy_instance *in,
                      const struct memory_need *need, const struct placement_rules *rules)
{
    if (in->held_back) { /* what it needs is known by now */
        in->need = *need;
        in->held_back = false;
    }
    if (w->ask.priority) {
        in->priority = MIN_OF(w->ask.priority, rules->priority_levels);
    }
    in->force = w->ask.force;
    in->may_preempt = w->ask.allow_preemption;
    in->displaced = false; /* it is called back */
}

static void tell_plan(struct wish *w, struct snapshot *snap, const struct policy_plan *plan,
                      size_t at)
{
    for (size_t i = 0; i < plan->action_count; i++) {
        const struct policy_action *a = &plan->actions[i];

        if (a->kind == POLICY_RESERVE && a->instance == at) {
            note_moves(w, snap, plan, at);
            w->answer.place = a->place;
            policy_explain_action(&snap->s, a, snapshot_name, snap, w->reason, sizeof(w->reason));
            answer(w, PLACEMENT_PLACED, w->reason);
            return;
        }
    }
    for (size_t i = 0; i < plan->verdict_count; i++) {
        const struct policy_verdict *v = &plan->verdicts[i];
        bool never = v->reason == POLICY_NEVER_FITS || v->reason == POLICY_NO_DEVICE;

        if (v->instance == at) {
            policy_explain(&snap->s, v, snapshot_name, snap, w->reason, sizeof(w->reason));
            answer(w, never ? PLACEMENT_FAILED : PLACEMENT_QUEUED, w->reason);
            return;
        }
    }
    w->answer.place = snap->instances[at].place;
    answer(w, PLACEMENT_PLACED, "it has its place");
}

static void dry_run(struct wish *w, const struct model *model, const struct memory_need *need)
{
    struct placement *p = w->p;
    struct snapshot snap;
    struct policy_plan plan = { 0 };
    size_t at;

    if (!controller_is_ready(p) || !p->gpu) {
        answer(w, PLACEMENT_QUEUED, "the devices are not known yet");
        return;
    }
    snapshot_make(p, &snap);
    at = suppose_again(w, &snap);
    at = at == SIZE_MAX ? snapshot_suppose(p, &snap, model, need) : at;
    set_terms(w, &snap.instances[at], need, &p->rules);
    policy_decide(&snap.s, &plan);
    tell_plan(w, &snap, &plan, at);
    policy_plan_finish(&plan);
    snapshot_finish(&snap);
}

static void on_estimated(void *arg, int result, const struct memory_need *need,
                         const struct error *e)
{
    struct wish *w = arg;
    const struct model *model;

    if (!w->p) {
        wish_free(w);
        return;
    }
    w->phase = WISH_WATCHES;
    model = models_get(w->p->models, w->ask.model_id);
    if (!model) {
        refuse(w, -ENOENT, "the model was deleted meanwhile");
    } else if (!need || (result < 0 && need->source == NEED_UNKNOWN)) {
        answer(w, PLACEMENT_FAILED, e->text);
    } else {
        dry_run(w, model, need);
    }
}

static void begin_dry(struct wish *w, const struct model *model)
{
    const struct instance *inst = engines_of_model(w->p->engines, w->ask.model_id);

    if (inst && inst->need_known && inst->state != INSTANCE_BACKOFF &&
        inst->state != INSTANCE_FAILED) {
        dry_run(w, model, &inst->need);
        return;
    }
    w->phase = WISH_ESTIMATES;
    engines_estimate(w->p->engines, model->config, on_estimated, w);
}

/* ---- real ones ---- */

/* From now on it is as asked. */
static void begin_watch(struct wish *w)
{
    struct placement *p = w->p;
    struct stay *stay = stay_make(p, w->ask.model_id);
    const struct instance *inst;
    size_t cursor = 0;

    stay->force = w->ask.force;
    stay->no_preempt = !w->ask.allow_preemption;
    stay->called = true;
    placement_on_start(p, w->ask.model_id);
    w->phase = WISH_WATCHES;
    timer_start(&w->timer, ANSWER_MS);
    while (w->ask.force && (inst = engines_next(p->engines, &cursor))) {
        if (inst->model_id == w->ask.model_id && inst->state == INSTANCE_READY && !inst->remote) {
            engines_displace(p->engines, inst->uuid, p->grace_ms, "asked to be placed again");
        }
    }
    engines_retry(p->engines, w->ask.model_id);
    decide_soon(p);
}

/* The catalogue's answers come also when everything goes down. */
static bool is_void(struct wish *w, int result, const struct error *e)
{
    if (!w->p) {
        wish_free(w);
        return true;
    }
    w->phase = WISH_WATCHES;
    if (result < 0) {
        finish(w, result, e);
        return true;
    }
    return false;
}

static void on_wanted(void *arg, int result, int64_t id, const struct error *e)
{
    struct wish *w = arg;

    (void)id;
    if (!is_void(w, result, e)) {
        begin_watch(w);
    }
}

static void want(struct wish *w)
{
    w->phase = WISH_SAVES;
    models_set_wanted(w->p->models, w->ask.model_id, true, WISH_USER, on_wanted, w);
}

static void on_saved(void *arg, int result, int64_t id, const struct error *e)
{
    struct wish *w = arg;

    (void)id;
    if (!is_void(w, result, e)) {
        want(w);
    }
}

static void save_priority(struct wish *w, const struct model *model)
{
    struct validation v = validation_init();
    json_t *json = model_config_to_json(model->config);
    struct model_config *config;

    json_object_set_new(json, "priority", json_integer(w->ask.priority));
    config = model_config_parse(json, &v);
    json_decref(json);
    if (!config || !validation_ok(&v)) {
        model_config_free(config);
        validation_finish(&v);
        refuse(w, -EINVAL, "its definition does not take this priority");
        return;
    }
    validation_finish(&v);
    w->phase = WISH_SAVES;
    models_update(w->p->models, w->ask.model_id, config, on_saved, w);
}

static bool runs(const struct placement *p, int64_t model_id)
{
    const struct instance *inst = engines_of_model(p->engines, model_id);

    return inst && (inst->state == INSTANCE_READY || inst->state == INSTANCE_STARTING);
}

static int check(const struct wish *w, const struct model *model, struct error *reterr)
{
    const struct placement *p = w->p;

    if (!model) {
        return error_set(reterr, -ENOENT, "there is no such model");
    }
    if (!p->engines) {
        return error_set(reterr, -ENOSYS, "nothing is placed here");
    }
    if (w->ask.priority &&
        (w->ask.priority < 1 ||
         w->ask.priority > MIN_OF(p->rules.priority_levels, (int)MODEL_PRIORITY_MAX))) {
        return error_set(reterr, -EINVAL, "priority: %d is not between 1 and %d", w->ask.priority,
                         MIN_OF(p->rules.priority_levels, (int)MODEL_PRIORITY_MAX));
    }
    if (!w->ask.force && runs(p, model->id)) {
        return error_set(reterr, -EALREADY, "the model is running already");
    }
    return first_waiting(p, model->id) ? 0 : placement_admit(p, model->id, reterr);
}

static void on_timer(void *arg)
{
    struct wish *w = arg;
    const struct model *model = models_get(w->p->models, w->ask.model_id);
    struct error e = { 0 };
    int r;

    if (w->phase != WISH_BEGINS) {
        on_late(w);
        return;
    }
    r = check(w, model, &e);
    if (r < 0) {
        finish(w, r, &e);
    } else if (w->ask.dry_run) {
        begin_dry(w, model);
    } else if (w->ask.priority && w->ask.priority != model->config->priority) {
        save_priority(w, model);
    } else {
        want(w);
    }
}

void placement_schedule(struct placement *p, const struct placement_ask *ask,
                        placement_done_fn done, void *arg)
{
    struct wish *w = xcalloc(1, sizeof(*w));

    w->p = p;
    w->ask = *ask;
    w->done = done;
    w->arg = arg;
    timer_init(&w->timer, p->world, "placement ask", on_timer, w);
    list_append(&p->wishes, &w->node);
    timer_start(&w->timer, 0);
}

void wishes_detach(struct placement *p)
{
    struct error e = { 0 };
    struct wish *w, *tmp;

    error_set(&e, -ECANCELED, "berth goes down");
    list_for_each_safe (w, tmp, &p->wishes, node) {
        if (w->phase == WISH_SAVES || w->phase == WISH_ESTIMATES) { /* its callback frees it */
            timer_stop(&w->timer);
            list_remove(&w->node);
            w->p = NULL;
            w->done(w->arg, -ECANCELED, NULL, &e);
        } else {
            finish(w, -ECANCELED, &e);
        }
    }
}
