// SPDX-License-Identifier: Apache-2.0
/*
 * The world: devices whose other users come and go, models that are wanted and not, requests,
 * processes that take their time to load, drain, and give memory back, loads that fail. It does
 * what the policy says and asks it again after every change, and at the moment that it names.
 */
#include "policy_log.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"

enum { STEPS = 30, PREEMPTIONS_KEPT = 4096 };
#define GB 1000000000ULL

struct model {
    bool wanted, displaced, stops; /* stops: it is not to wait again */
    enum policy_state state;
    bool there; /* it has an instance */
    struct log_spec spec;
    struct place place;
    uint64_t since_ms, ends_ms; /* of the state */
    uint64_t not_before_ms;
    bool fails; /* this load will */
    unsigned waiting, in_flight;
    uint64_t waiting_since_ms;
    struct place held; /* of an ended process */
    uint64_t freed_ms; /* 0: nothing is held */
};

struct world {
    uint64_t random, now_ms, next_ms;
    int fault;
    struct log *log;
    struct policy_rules rules;
    struct policy_device devices[LOG_DEVICES];
    bool there[LOG_DEVICES];
    size_t device_count;
    struct model models[LOG_MODELS];
    int model_count;
    uint64_t preemptions[PREEMPTIONS_KEPT];
    size_t preemption_count;
    bool crowded; /* nobody gets idle any more */
};

static uint64_t below(struct world *w, uint64_t n)
{
    uint64_t z = w->random += 0x9e3779b97f4a7c15ULL;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return (z ^ (z >> 31)) % n;
}

static bool one_in(struct world *w, uint64_t n)
{
    return below(w, n) == 0;
}

static struct log_entry *tell(struct world *w, enum log_kind kind, int model)
{
    struct log *log = w->log;

    if (log->count == log->room) {
        log->room = log->room ? 2 * log->room : 256;
        log->entries = xrealloc(log->entries, log->room * sizeof(*log->entries));
    }
    log->entries[log->count] =
        (struct log_entry){ .ms = w->now_ms, .kind = kind, .model = model, .other = -1 };
    return &log->entries[log->count++];
}

void log_finish(struct log *log)
{
    free(log->entries);
    *log = (struct log){ 0 };
}

/* ---- devices and rules ---- */

static void tell_device(struct world *w, size_t d)
{
    tell(w, w->there[d] ? LOG_DEVICE : LOG_GONE, w->devices[d].index)->device = w->devices[d];
}

static void make_devices(struct world *w)
{
    bool pool = one_in(w, 4), mixed = one_in(w, 6);

    w->device_count = 1 + below(w, 3);
    for (size_t d = 0; d < w->device_count; d++) {
        w->devices[d] = (struct policy_device){ .index = (int)(2 * d),
                                                .vendor = mixed ? (int)(d % 2) : 0,
                                                .total_bytes = (16 + 8 * below(w, 4)) * GB };
    }
    if (pool) {
        w->devices[w->device_count++] = (struct policy_device){
            .index = HOST_POOL, .vendor = 3, .host_pool = true, .total_bytes = 24 * GB
        };
    }
    for (size_t d = 0; d < w->device_count; d++) {
        w->there[d] = true;
        tell_device(w, d);
    }
}

static void roll_rules(struct world *w)
{
    w->rules = (struct policy_rules){
        .algorithm = (enum policy_algorithm)below(w, POLICY_ALGORITHM_MAX_),
        .preemption = !one_in(w, 6),
        .auto_recovery = !one_in(w, 8),
        .threshold = one_in(w, 2) ? 1.0 : 0.8,
        .min_residency_ms = 1000 * below(w, 12),
        .return_after_ms = 1000 * below(w, 8),
        .swap_wait_ms = 1000 * (1 + below(w, 20)),
        .max_preemptions_per_hour = one_in(w, 3) ? (unsigned)(1 + below(w, 3)) : 0,
    };
    tell(w, LOG_RULES, -1)->rules = w->rules;
}

/* ---- models ---- */

static void tell_demand(struct world *w, int m)
{
    struct log_entry *e = tell(w, LOG_DEMAND, m);

    e->waiting = w->models[m].waiting;
    e->in_flight = w->models[m].in_flight;
    e->since_ms = w->models[m].waiting_since_ms;
}

static void roll_spec(struct world *w, struct log_spec *s)
{
    *s = (struct log_spec){
        .priority = 1 + (int)below(w, 5),
        .pinned = one_in(w, 8),
        .may_preempt = !one_in(w, 8),
        .force = one_in(w, 12),
        .need = { .split_bytes = (2 + below(w, 22)) * GB,
                  .fixed_bytes = below(w, 2) * GB,
                  .share = one_in(w, 10) ? 0.5 : 0,
                  .host_bytes = one_in(w, 5) ? (1 + below(w, 10)) * GB : 0,
                  .min_devices = 1,
                  .max_devices = one_in(w, 3) ? 3 : 1 },
    };
    if (one_in(w, 8)) {
        s->device_count = 1 + (w->device_count > 1 && one_in(w, 2));
        s->devices[0] = w->devices[0].index;
        s->devices[1] = w->devices[1].index;
    }
}

static void want(struct world *w, int m)
{
    struct model *model = &w->models[m];

    if (model->there) {
        return;
    }
    roll_spec(w, &model->spec);
    model->wanted = model->there = true;
    model->displaced = model->stops = false;
    model->state = POLICY_WAITING;
    model->since_ms = w->now_ms;
    model->not_before_ms = 0;
    model->waiting = model->in_flight = 0;
    tell(w, LOG_WANTED, m)->spec = model->spec;
}

static void leave(struct world *w, int m)
{
    struct model *model = &w->models[m];
    bool runs = model->state == POLICY_READY && model->in_flight > 0;

    model->state = POLICY_LEAVING;
    model->ends_ms = w->now_ms + 1 + (runs ? below(w, DRAIN_MS_MAX) : below(w, 500));
}

static void unwant(struct world *w, int m)
{
    struct model *model = &w->models[m];

    if (!model->there) {
        return;
    }
    tell(w, LOG_UNWANTED, m);
    model->wanted = false;
    model->stops = true;
    if (model->state == POLICY_WAITING || model->state == POLICY_RESERVED) {
        model->there = false;
    } else if (model->state != POLICY_LEAVING) {
        leave(w, m);
    }
}

static void ask(struct world *w, int m)
{
    struct model *model = &w->models[m];

    if (!model->there || one_in(w, 3)) {
        model->waiting = 0;
    } else {
        model->waiting_since_ms = model->waiting > 0 ? model->waiting_since_ms : w->now_ms;
        model->waiting += 1 + (unsigned)below(w, 3);
    }
    if (model->there && model->state == POLICY_READY) {
        model->in_flight = model->waiting;
        model->waiting = 0;
    }
    model->waiting_since_ms = model->waiting > 0 ? model->waiting_since_ms : 0;
    tell_demand(w, m);
}

/* Its process ends by itself. */
static void fail(struct world *w, int m)
{
    struct model *model = &w->models[m];
    struct log_entry *e;

    tell(w, LOG_FREED, m)->place = model->place;
    model->in_flight = 0;
    model->there = !model->stops && model->state != POLICY_LEAVING;
    model->state = POLICY_WAITING;
    model->displaced = false;
    model->since_ms = w->now_ms;
    model->not_before_ms = w->now_ms + 1000 * below(w, 6);
    e = tell(w, LOG_FAILED, m);
    e->since_ms = model->not_before_ms;
    if (!model->there) {
        model->wanted = false;
        tell(w, LOG_UNWANTED, m);
    }
}

static void vanish(struct world *w, size_t d)
{
    w->there[d] = false;
    tell_device(w, d);
    for (int m = 0; m < w->model_count; m++) {
        struct model *model = &w->models[m];
        bool runs =
            model->there && model->state != POLICY_WAITING && model->state != POLICY_RESERVED;

        for (unsigned k = 0; runs && k < model->place.count; k++) {
            if (model->place.shares[k].device == w->devices[d].index) {
                fail(w, m);
                break;
            }
        }
    }
}

/* ---- what the policy says ---- */

static size_t hold_bytes(const struct world *w, int device)
{
    uint64_t sum = 0;

    for (int m = 0; m < w->model_count; m++) {
        const struct model *model = &w->models[m];

        if (model->freed_ms > 0) {
            sum +=
                device == HOST_POOL ? model->held.host_bytes : place_bytes_on(&model->held, device);
        }
    }
    return sum;
}

static unsigned preemptions_last_hour(const struct world *w)
{
    unsigned n = 0;

    for (size_t k = 0; k < w->preemption_count; k++) {
        n += w->preemptions[k] + 3600000 > w->now_ms;
    }
    return n;
}

static void show(const struct world *w, int m, struct policy_instance *ret)
{
    const struct model *model = &w->models[m];

    *ret = (struct policy_instance){
        .id = (uint64_t)m + 1,
        .model_id = m + 1,
        .state = model->state,
        .priority = model->spec.priority,
        .pinned = model->spec.pinned,
        .displaced = model->displaced,
        .may_preempt = model->spec.may_preempt,
        .force = model->spec.force,
        .need = model->spec.need,
        .devices = model->spec.devices,
        .device_count = model->spec.device_count,
        .vendor = -1,
        .in_flight = model->in_flight,
        .waiting = model->waiting,
        .waiting_since_ms = model->waiting_since_ms,
        .since_ms = model->since_ms,
        .not_before_ms = model->not_before_ms,
        .use_rate = (double)(m % 3),
        .reload_s = m + 1,
    };
    if (model->state != POLICY_WAITING) {
        ret->place = model->place;
    }
}

static void load(struct world *w, int m)
{
    struct model *model = &w->models[m];

    model->state = POLICY_LOADING;
    model->fails = !w->crowded && one_in(w, 12);
    model->ends_ms = w->now_ms + 1 + below(w, LOAD_MS_MAX);
    tell(w, LOG_LOAD, m)->place = model->place;
}

static void obey(struct world *w, const struct policy_action *a, const int *of)
{
    static const enum log_kind kinds[] = { LOG_RESERVE, LOG_WITHDRAW, LOG_LOAD, LOG_DISPLACE };
    int m = of[a->instance];
    struct model *model = &w->models[m];
    struct log_entry *e;

    if (a->kind == POLICY_LOAD) {
        load(w, m);
        return;
    }
    e = tell(w, kinds[a->kind], m);
    e->other = a->other == SIZE_MAX ? -1 : of[a->other];
    e->reason = a->reason;
    e->place = a->place;
    if (a->kind == POLICY_RESERVE) {
        model->state = POLICY_RESERVED;
        model->place = a->place;
    } else if (a->kind == POLICY_WITHDRAW) {
        model->state = POLICY_WAITING;
    } else {
        if (a->reason == POLICY_PREEMPTED && w->preemption_count < PREEMPTIONS_KEPT) {
            w->preemptions[w->preemption_count++] = w->now_ms;
        }
        leave(w, m);
    }
}

static void decide(struct world *w)
{
    struct policy_instance instances[LOG_MODELS];
    struct policy_device devices[LOG_DEVICES];
    struct policy_snapshot s = {
        .now_ms = w->now_ms,
        .rules = w->rules,
        .preemptions_last_hour = preemptions_last_hour(w),
        .devices = devices,
        .instances = instances,
    };
    struct policy_plan plan;
    int of[LOG_MODELS];

    for (size_t d = 0; d < w->device_count; d++) {
        if (w->there[d]) {
            devices[s.device_count] = w->devices[d];
            devices[s.device_count++].held_bytes = hold_bytes(w, w->devices[d].index);
        }
    }
    for (int m = 0; m < w->model_count; m++) {
        if (w->models[m].there) {
            of[s.instance_count] = m;
            show(w, m, &instances[s.instance_count++]);
        }
    }
    policy_decide_faulty(&s, w->fault, &plan);
    for (size_t a = 0; a < plan.action_count; a++) {
        obey(w, &plan.actions[a], of);
    }
    for (size_t v = 0; v < plan.verdict_count; v++) {
        struct log_entry *e = tell(w, LOG_VERDICT, of[plan.verdicts[v].instance]);

        e->reason = plan.verdicts[v].reason;
    }
    w->next_ms = plan.next_ms;
    tell(w, LOG_PASS, -1);
    policy_plan_finish(&plan);
}

/* ---- time ---- */

static void become_ready(struct world *w, int m)
{
    struct model *model = &w->models[m];

    if (model->fails) {
        model->spec.need.split_bytes += GB;
        fail(w, m);
        if (model->there) {
            tell(w, LOG_WANTED, m)->spec = model->spec;
        }
        return;
    }
    model->state = POLICY_READY;
    model->displaced = false;
    model->since_ms = w->now_ms;
    tell(w, LOG_READY, m);
    model->in_flight = model->waiting;
    model->waiting = 0;
    model->waiting_since_ms = 0;
    tell_demand(w, m);
}

static void end(struct world *w, int m)
{
    struct model *model = &w->models[m];

    if (model->freed_ms > 0) { /* the memory of the one before is given back first */
        tell(w, LOG_FREED, m)->place = model->held;
    }
    model->held = model->place;
    model->freed_ms = w->now_ms + 1 + below(w, FREE_MS_MAX);
    model->there = !model->stops;
    model->state = POLICY_WAITING;
    model->displaced = true;
    model->since_ms = w->now_ms;
    model->in_flight = 0;
    tell(w, LOG_ENDED, m);
    if (w->crowded) {
        model->waiting = 1;
        model->waiting_since_ms = w->now_ms;
    }
    tell_demand(w, m);
}

/* The earliest thing that is due until then. */
static uint64_t next_due(const struct world *w, uint64_t until)
{
    uint64_t due = until;

    for (int m = 0; m < w->model_count; m++) {
        const struct model *model = &w->models[m];
        bool moves = model->there || model->state == POLICY_LEAVING;

        if (moves && (model->state == POLICY_LOADING || model->state == POLICY_LEAVING)) {
            due = MIN_OF(due, model->ends_ms);
        }
        if (model->freed_ms > 0) {
            due = MIN_OF(due, model->freed_ms);
        }
    }
    return w->next_ms > w->now_ms ? MIN_OF(due, w->next_ms) : due;
}

static void advance(struct world *w, uint64_t ms)
{
    uint64_t until = w->now_ms + ms;

    while (w->now_ms < until) {
        w->now_ms = next_due(w, until);
        for (int m = 0; m < w->model_count; m++) {
            struct model *model = &w->models[m];

            if (model->freed_ms > 0 && model->freed_ms <= w->now_ms) {
                tell(w, LOG_FREED, m)->place = model->held;
                model->freed_ms = 0;
            }
            if (model->there && model->ends_ms <= w->now_ms) {
                if (model->state == POLICY_LOADING) {
                    become_ready(w, m);
                } else if (model->state == POLICY_LEAVING) {
                    end(w, m);
                }
            }
        }
        decide(w);
    }
}

static void happen(struct world *w)
{
    size_t d = below(w, w->device_count);
    int m = (int)below(w, (uint64_t)w->model_count);

    switch (below(w, 14)) {
    case 0:
        w->devices[d].other_bytes = one_in(w, 2) ? 0 : below(w, w->devices[d].total_bytes);
        tell_device(w, d);
        break;
    case 1:
        if (!w->there[d]) {
            w->there[d] = true;
            tell_device(w, d);
        } else if (!w->devices[d].host_pool && one_in(w, 3)) {
            vanish(w, d);
        }
        break;
    case 2:
        w->devices[d].unusable = !w->devices[d].host_pool && one_in(w, 3);
        tell_device(w, d);
        break;
    case 3:
        if (one_in(w, 3)) {
            roll_rules(w);
        }
        break;
    case 4:
    case 5:
        unwant(w, m);
        break;
    case 6:
    case 7:
    case 8:
        ask(w, m);
        break;
    default:
        want(w, m);
        break;
    }
}

/* ---- the ends of histories ---- */

static void heal(struct world *w)
{
    for (size_t d = 0; d < w->device_count; d++) {
        w->there[d] = true;
        w->devices[d].unusable = false;
        w->devices[d].other_bytes = 0;
        tell_device(w, d);
    }
    w->rules.auto_recovery = true;
    w->rules.max_preemptions_per_hour = 0;
    tell(w, LOG_RULES, -1)->rules = w->rules;
}

/* Room comes back and stays: all but one are gone. */
static void calm_down(struct world *w)
{
    int stays = -1;

    heal(w);
    for (int m = 0; m < w->model_count; m++) {
        if (w->models[m].there && (stays < 0 || w->models[m].displaced)) {
            stays = m;
        }
    }
    for (int m = 0; m < w->model_count; m++) {
        if (m != stays) {
            unwant(w, m);
        }
    }
    w->crowded = true; /* no load fails any more */
}

/* More want the one device than fit, all alike, and none of them is ever idle. */
static void crowd(struct world *w)
{
    for (int m = 0; m < w->model_count; m++) {
        unwant(w, m);
    }
    heal(w);
    decide(w);
    advance(w, DRAIN_MS_MAX + FREE_MS_MAX + LOAD_MS_MAX);
    w->crowded = true;
    for (int m = 0; m < w->model_count; m++) {
        struct model *model = &w->models[m];

        want(w, m);
        model->spec = (struct log_spec){
            .priority = 3,
            .may_preempt = true,
            .need = { .split_bytes = (4 + below(w, 7)) * GB, .min_devices = 1, .max_devices = 1 }
        };
        tell(w, LOG_WANTED, m)->spec = model->spec;
        model->waiting = 1;
        model->waiting_since_ms = w->now_ms;
        tell_demand(w, m);
    }
    tell(w, LOG_CROWDED, -1);
    decide(w);
    advance(w, 10 * 60000);
}

void policy_world_play(uint64_t seed, int fault, struct log *ret)
{
    struct world w = { .random = seed, .now_ms = 1000000, .fault = fault, .log = ret };

    *ret = (struct log){ 0 };
    w.model_count = 2 + (int)below(&w, LOG_MODELS - 1);
    make_devices(&w);
    roll_rules(&w);
    for (int step = 0; step < STEPS; step++) {
        happen(&w);
        decide(&w);
        advance(&w, 1 + below(&w, one_in(&w, 3) ? 15000 : 2000));
    }
    if (one_in(&w, 4)) {
        crowd(&w);
    } else {
        calm_down(&w);
        decide(&w);
        advance(&w, w.rules.return_after_ms + DRAIN_MS_MAX + FREE_MS_MAX + 2 * LOAD_MS_MAX + 30000);
    }
    tell(&w, LOG_END, -1);
}
