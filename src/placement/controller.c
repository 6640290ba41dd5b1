// SPDX-License-Identifier: Apache-2.0
/*
 * The controller: after any change, in a turn of its own, everything is decided anew: snapshot →
 * policy → actions in their order.
 *
 * What holds when berth is killed at any moment. A reservation lives in memory only: after a
 * restart it is decided again. A decision to place is submitted to the store before the row of the
 * engine's start, and writes are committed in order: no engine runs that the history does not tell
 * of. A decision to move aside is a fact that is told while the drain begins: the kill can take the
 * row with it, and then the engine is either still there, is adopted with the place that its own
 * row holds, and decided about anew; or it is gone, and its instance waits again like any other.
 * Nothing is placed before the devices were read, the rules and rows loaded and what still runs
 * adopted: so what runs is in the first snapshot.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "placement/placement_int.h"

enum { POLL_MS = 250 };

void decide_soon(struct placement *p)
{
    if (p->engines) {
        timer_start(&p->decide, 0);
    }
}

bool controller_is_ready(const struct placement *p)
{
    return p->engines && p->loaded && (!p->gpu || gpu_ready(p->gpu));
}

/* ---- actions ---- */

struct pass {
    struct placement *p;
    struct snapshot snap;
    struct policy_plan plan;
    char sentence[480];
};

static const enum event_kind act_events[] = {
    [ACT_SCHEDULED] = EVENT_MODEL_PLACED,  [ACT_PREEMPTED] = EVENT_MODEL_PREEMPTED,
    [ACT_SWAPPED] = EVENT_MODEL_SWAPPED,   [ACT_RECOVERED] = EVENT_MODEL_RECOVERED,
    [ACT_FAILED] = EVENT_PLACEMENT_FAILED,
};

static int64_t record(struct placement *p, const struct seat *s,
                      const struct placement_entry *entry)
{
    json_t *data = json_pack("{s:s, s:o, s:s, s:s}", "instance", s->uuid, "place",
                             place_to_json(&entry->place), "reason", entry->reason, "for",
                             entry->for_model ? entry->for_model : "");
    struct event *event = NULL;

    log_info("placement", s->model_name, placement_act_name(entry->act),
             kv_str("why", entry->reason));
    if (p->events) {
        event = event_create(p->world, act_events[entry->act], s->model_name, data);
    } else {
        json_decref(data);
    }
    return history_note(p, entry, event, NULL, NULL);
}

static void reserve(struct pass *pass, const struct policy_action *a)
{
    struct seat *s = pass->snap.seats[a->instance];
    const struct instance *inst = engines_find(pass->p->engines, s->uuid);
    bool returns = inst && is_aside(pass->p, inst);

    s->place = a->place;
    s->reserved = true;
    s->placed_ms = world_now_ms(pass->p->world);
    s->placed_id = record(pass->p, s,
                          &(struct placement_entry){ .model_id = s->model_id,
                                                     .model_name = s->model_name,
                                                     .act = returns ? ACT_RECOVERED : ACT_SCHEDULED,
                                                     .success = true,
                                                     .reason = pass->sentence,
                                                     .place = a->place,
                                                     .duration_ms = -1 });
}

static void withdraw(struct pass *pass, const struct policy_action *a)
{
    struct seat *s = pass->snap.seats[a->instance];

    seat_release(pass->p, s, pass->sentence);
    log_info("placement", s->model_name, "reservation withdrawn", kv_str("why", pass->sentence));
}

static void tell_to_load(struct pass *pass, const struct policy_action *a)
{
    struct seat *s = pass->snap.seats[a->instance];
    const struct place place = s->place;

    if (!room_is_fresh(pass->p, &place)) { /* the next reading brings us here again */
        s->reason = POLICY_WAITS_FOR_MEMORY;
        snprintf(s->sentence, sizeof(s->sentence),
                 "has its place; waits until its devices were read anew");
        return;
    }
    s->reserved = false;
    engines_place(pass->p->engines, s->uuid, &place);
    s = seat_find(pass->p, s->uuid);
    if (s && s->state == INSTANCE_WAITING) {
        seat_release(pass->p, s, "it is about to leave, or was defined anew");
    }
}

static void displace(struct pass *pass, const struct policy_action *a)
{
    struct placement *p = pass->p;
    struct seat *s = pass->snap.seats[a->instance];
    bool preempted = a->reason == POLICY_PREEMPTED;

    s->swapped = !preempted;
    s->left_ms = world_now_ms(p->world);
    s->leave_by_ms = s->left_ms + p->grace_ms;
    s->left_id =
        record(p, s,
               &(struct placement_entry){
                   .model_id = s->model_id,
                   .model_name = s->model_name,
                   .act = preempted ? ACT_PREEMPTED : ACT_SWAPPED,
                   .success = true,
                   .reason = pass->sentence,
                   .place = s->place,
                   .duration_ms = -1,
                   .for_model = a->other == SIZE_MAX ? "" : snapshot_name(&pass->snap, a->other) });
    engines_displace(p->engines, s->uuid, p->grace_ms, pass->sentence);
}

static void act(struct pass *pass, const struct policy_action *a)
{
    static void (*const acts[])(struct pass *, const struct policy_action *) = {
        [POLICY_RESERVE] = reserve,
        [POLICY_WITHDRAW] = withdraw,
        [POLICY_LOAD] = tell_to_load,
        [POLICY_DISPLACE] = displace,
    };

    policy_explain_action(&pass->snap.s, a, snapshot_name, &pass->snap, pass->sentence,
                          sizeof(pass->sentence));
    acts[a->kind](pass, a);
}

/* ---- verdicts ---- */

/* Is that a failed allocation, to be told to whoever looks after the machine? What was moved aside
 * has had its word. */
static bool is_refusal(const struct seat *s, enum policy_reason reason, bool displaced)
{
    switch (reason) {
    case POLICY_NEVER_FITS:
    case POLICY_NO_DEVICE:
        return !s->refused;
    case POLICY_NO_ROOM:
    case POLICY_PREEMPTION_OFF:
    case POLICY_RATE_LIMIT:
        return !s->refused && !displaced;
    default:
        return false;
    }
}

static void judge(struct pass *pass, const struct policy_verdict *v)
{
    const struct policy_instance *in = &pass->snap.instances[v->instance];
    struct seat *s = pass->snap.seats[v->instance];

    if (s->state != INSTANCE_WAITING) {
        return; /* it has begun to load meanwhile */
    }
    s->reason = v->reason;
    s->at_ms = v->at_ms;
    policy_explain(&pass->snap.s, v, snapshot_name, &pass->snap, s->sentence, sizeof(s->sentence));
    if (in->held_back) {
        snprintf(s->sentence, sizeof(s->sentence), "what it needs of memory is being found out");
    }
    if (is_refusal(s, v->reason, in->displaced)) {
        s->refused = true;
        record(pass->p, s,
               &(struct placement_entry){ .model_id = s->model_id,
                                          .model_name = s->model_name,
                                          .act = ACT_FAILED,
                                          .reason = s->sentence,
                                          .duration_ms = -1 });
    }
}

/* ---- who is not needed ---- */

/* A model that only requests have asked for, that has no engine and for which nobody waits, would
 * fill the queue for nothing. One that was preempted comes back, as does what a person started. */
static void let_go_unneeded(struct placement *p)
{
    struct seat *s;

    list_for_each (s, &p->seats, node) {
        struct stay *stay = seat_waits(s) ? stay_find(p, s->model_id) : NULL;
        const struct model *model =
            stay && stay->by_demand ? models_get(p->models, s->model_id) : NULL;
        const struct instance *inst = model ? engines_find(p->engines, s->uuid) : NULL;
        struct dispatch_load load;

        if (!inst || !model->wanted || (inst->displaced && !s->swapped) ||
            engines_of_model(p->engines, s->model_id) != inst) {
            continue;
        }
        load = dispatch_model_load(p->dispatch, s->model_id);
        if (load.waiting == 0 && load.in_flight == 0 && !model->config->pinned) {
            residency_unload(p, stay);
        }
    }
}

/* ---- the pass ---- */

/* Without devices everything is where its definition says. */
static void place_everything(struct placement *p)
{
    const struct place nowhere = { 0 };
    struct seat *s, *tmp;

    list_for_each_safe (s, tmp, &p->seats, node) {
        if (s->state == INSTANCE_WAITING) {
            engines_place(p->engines, s->uuid, &nowhere);
        }
    }
}

/* Who is asked for, in short: a change of it is a reason to decide anew. Dispatch tells nobody. */
static uint64_t demand_digest(const struct placement *p)
{
    uint64_t digest = 1469598103934665603U;
    const struct seat *s;

    list_for_each (s, &p->seats, node) {
        struct dispatch_load model = dispatch_model_load(p->dispatch, s->model_id);
        struct dispatch_load own = dispatch_instance_load(p->dispatch, s->uuid);

        digest = (digest ^ (s->number * 4 + 2 * (model.waiting > 0) + (own.in_flight > 0))) *
                 1099511628211U;
    }
    return digest;
}

static bool somebody_waits(const struct placement *p)
{
    const struct seat *s;

    list_for_each (s, &p->seats, node) {
        if (seat_waits(s)) {
            return true;
        }
    }
    return false;
}

void controller_on_poll(void *placement)
{
    struct placement *p = placement;
    uint64_t digest = demand_digest(p);

    if (digest != p->poll_digest) {
        p->poll_digest = digest;
        decide_soon(p);
    }
    if (somebody_waits(p)) {
        timer_start(&p->poll, POLL_MS);
    }
}

static void sleep_until_next(struct placement *p, uint64_t next_ms)
{
    uint64_t now = world_now_ms(p->world);
    uint64_t sleep = (uint64_t)p->rules.scheduling_interval_s * 1000;

    if (next_ms > 0) {
        sleep = MIN_OF(sleep, next_ms - MIN_OF(next_ms, now));
    }
    if (!timer_active(&p->decide)) { /* else something has changed meanwhile */
        timer_start(&p->decide, MAX_OF(sleep, 1));
    }
    if (somebody_waits(p) && !timer_active(&p->poll)) {
        p->poll_digest = demand_digest(p);
        timer_start(&p->poll, POLL_MS);
    }
}

static void decide(struct placement *p)
{
    struct pass pass = { .p = p };
    uint64_t began_us = world_now_us(p->world);

    snapshot_make(p, &pass.snap);
    timer_stop(&p->decide); /* what the snapshot found out is in it */
    policy_decide(&pass.snap.s, &pass.plan);
    if (p->metrics) {
        metric_observe(metrics_cell(p->metrics, &placement_metrics[METRIC_PASS], NULL),
                       (double)(world_now_us(p->world) - began_us) / 1e6);
    }
    for (size_t i = 0; i < pass.plan.action_count; i++) {
        act(&pass, &pass.plan.actions[i]);
    }
    for (size_t i = 0; i < pass.plan.verdict_count; i++) {
        judge(&pass, &pass.plan.verdicts[i]);
    }
    wishes_on_plan(p, &pass.snap, &pass.plan);
    sleep_until_next(p, pass.plan.next_ms);
    policy_plan_finish(&pass.plan);
    snapshot_finish(&pass.snap);
}

void controller_on_decide(void *placement)
{
    struct placement *p = placement;

    if (!controller_is_ready(p)) {
        return; /* what is awaited comes with a change of its own */
    }
    if (!p->gpu) {
        place_everything(p);
        wishes_on_plan(p, NULL, NULL);
        return;
    }
    seats_sweep(p);
    let_go_unneeded(p);
    decide(p);
}
