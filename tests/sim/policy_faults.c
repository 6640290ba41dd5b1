// SPDX-License-Identifier: Apache-2.0
/*
 * Policies that are wrong in one way each, to see that the checker sees it. A fault is what the
 * policy is told, or what is made of its plan: so the shipped code carries no hooks, and a fault
 * cannot rot when that code changes. What a policy does not look at, it is not told rightly.
 */
#include "policy_log.h"

#include <string.h>

#include "base/mem.h"

static const char *const names[FAULTS + 1] = {
    "none",
    "others' memory is not seen",
    "memory that still leaves is not seen",
    "equals are taken for lower ones",
    "pinned models are moved",
    "min_residency is ignored",
    "the limit of an hour is ignored",
    "memory is not divided over devices",
    "loads on one device run together",
    "what was moved aside does not come back",
    "a refusal has no verdict",
    "the threshold is ignored",
    "a busy equal gives way at once",
    "one more goes than needs to",
    "what was moved aside returns at once",
    "equals never give way",
    "a load is broken off for an equal",
};

const char *policy_fault_name(int fault)
{
    return names[fault];
}

static void mislead_about_devices(struct policy_snapshot *s, struct policy_device *devices,
                                  int fault)
{
    for (size_t d = 0; d < s->device_count; d++) {
        if (fault == 1) {
            devices[d].other_bytes = 0;
        } else if (fault == 2) {
            devices[d].held_bytes = 0;
        }
    }
}

static void mislead_about(struct policy_instance *i, int fault)
{
    bool runs = i->state == POLICY_READY;

    if (fault == 2 && i->state == POLICY_LEAVING) {
        i->place = (struct place){ 0 };
    } else if (fault == 3 && runs) {
        i->priority--;
    } else if (fault == 4) {
        i->pinned = false;
    } else if (fault == 8 && i->state == POLICY_LOADING) {
        i->state = POLICY_READY;
        i->pinned = true;
    } else if (fault == 9 && i->state == POLICY_WAITING && i->displaced) {
        i->held_back = true;
    } else if (fault == 12 && i->state == POLICY_READY) {
        i->in_flight = i->waiting = 0;
    } else if (fault == 16 && i->state == POLICY_LOADING) {
        i->state = POLICY_READY;
        i->since_ms = 0;
    } else if (fault == 15 && i->state == POLICY_WAITING) {
        i->waiting = 0;
        i->displaced = false;
    }
}

static void mislead_about_rules(struct policy_snapshot *s, int fault)
{
    if (fault == 5) {
        s->rules.min_residency_ms = 0;
    } else if (fault == 6) {
        s->rules.max_preemptions_per_hour = 0;
    } else if (fault == 11) {
        s->rules.threshold = 1.0;
    } else if (fault == 14) {
        s->rules.return_after_ms = 0;
    }
}

static void move_one_more(const struct policy_snapshot *s, struct policy_plan *plan)
{
    size_t other = SIZE_MAX;

    for (size_t a = 0; a < plan->action_count; a++) {
        if (plan->actions[a].kind == POLICY_DISPLACE) {
            other = plan->actions[a].other;
        }
    }
    for (size_t i = 0; other != SIZE_MAX && i < s->instance_count; i++) {
        const struct policy_instance *v = &s->instances[i];
        bool goes = false;

        for (size_t a = 0; a < plan->action_count; a++) {
            goes = goes || plan->actions[a].instance == i;
        }
        if (!goes && v->state == POLICY_READY && !v->pinned &&
            v->priority < s->instances[other].priority) {
            plan->actions[plan->action_count++] = (struct policy_action){
                .kind = POLICY_DISPLACE, .instance = i, .other = other, .reason = POLICY_PREEMPTED
            };
            return;
        }
    }
}

static void spoil(const struct policy_snapshot *s, int fault, struct policy_plan *plan)
{
    if (fault == 10 && plan->verdict_count > 0) {
        plan->verdict_count--;
    } else if (fault == 13) {
        move_one_more(s, plan);
    }
    for (size_t a = 0; fault == 7 && a < plan->action_count; a++) {
        struct place *place = &plan->actions[a].place;

        for (unsigned k = 1; k < place->count; k++) {
            place->shares[0].bytes += place->shares[k].bytes;
            place->shares[k].bytes = 0;
        }
    }
}

void policy_decide_faulty(const struct policy_snapshot *s, int fault, struct policy_plan *ret)
{
    struct policy_snapshot copy = *s;
    struct policy_device devices[LOG_DEVICES + 1];
    struct policy_instance instances[LOG_MODELS * 2];

    memcpy(devices, s->devices, s->device_count * sizeof(devices[0]));
    memcpy(instances, s->instances, s->instance_count * sizeof(instances[0]));
    copy.devices = devices;
    copy.instances = instances;
    mislead_about_devices(&copy, devices, fault);
    for (size_t i = 0; i < s->instance_count; i++) {
        mislead_about(&instances[i], fault);
    }
    mislead_about_rules(&copy, fault);
    policy_decide(&copy, ret);
    spoil(s, fault, ret);
}
