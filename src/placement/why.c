// SPDX-License-Identifier: Apache-2.0
/*
 * Looking: who waits for room and until when, what a device has left, and why a model is where it
 * is. Nothing here changes anything.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "placement/placement_int.h"

enum { STOP_MS = 1000 }; /* what stopping takes at least, for a prediction */

/* ---- when ---- */

static bool shares_device(const struct place *a, const struct place *b)
{
    for (unsigned i = 0; i < a->count; i++) {
        for (unsigned k = 0; k < b->count; k++) {
            if (a->shares[i].device == b->shares[k].device) {
                return true;
            }
        }
    }
    return false;
}

/* What of the measured load time is left; false: it was never measured. */
static bool load_left(struct placement *p, const struct seat *s, uint64_t *ret_ms)
{
    const struct instance *inst = engines_find(p->engines, s->uuid);
    uint64_t gone;

    if (!inst || inst->need.load_ms == 0) {
        return false;
    }
    gone = s->state == INSTANCE_STARTING ? world_now_ms(p->world) - inst->state_since_ms : 0;
    *ret_ms = inst->need.load_ms - MIN_OF(gone, (uint64_t)inst->need.load_ms);
    return true;
}

static uint64_t leave_left(struct placement *p, const struct seat *s)
{
    uint64_t now = world_now_ms(p->world);
    unsigned busy = dispatch_instance_load(p->dispatch, s->uuid).in_flight;

    return s->state == INSTANCE_DRAINING && busy > 0 && s->leave_by_ms > now
               ? s->leave_by_ms - now + STOP_MS
               : STOP_MS;
}

uint64_t seat_start_in_ms(struct placement *p, const struct seat *s)
{
    uint64_t now = world_now_ms(p->world), leave = 0, loads = 0, left = 0;
    const struct seat *o;

    if (!s->reserved) {
        return s->state == INSTANCE_WAITING && s->at_ms > now ? s->at_ms - now : 0;
    }
    list_for_each (o, &p->seats, node) {
        if (o == s || !shares_device(&o->place, &s->place)) {
            continue;
        }
        if (o->state == INSTANCE_DRAINING || o->state == INSTANCE_STOPPING) {
            leave = MAX_OF(leave, leave_left(p, o));
        } else if (o->state == INSTANCE_STARTING || (o->reserved && o->placed_id < s->placed_id)) {
            if (!load_left(p, o, &left)) {
                return 0;
            }
            loads += left;
        }
    }
    return MAX_OF(leave + loads, 1);
}

/* ---- the queue ---- */

struct rank {
    const struct seat *seat;
    int priority;
    uint64_t since_ms;
    bool displaced;
};

static int compare_ranks(const void *a, const void *b)
{
    const struct rank *x = a, *y = b;

    if (x->priority != y->priority) {
        return x->priority < y->priority ? 1 : -1;
    }
    if (x->since_ms != y->since_ms) {
        return x->since_ms < y->since_ms ? -1 : 1;
    }
    return x->seat->number < y->seat->number ? -1 : 1;
}

static struct rank *rank_waiting(struct placement *p, size_t *ret_count)
{
    struct rank *ranks;
    const struct seat *s;
    size_t n = 0;

    list_for_each (s, &p->seats, node) {
        n += seat_waits(s);
    }
    ranks = xcalloc(n + 1, sizeof(*ranks));
    n = 0;
    list_for_each (s, &p->seats, node) {
        const struct instance *inst = seat_waits(s) ? engines_find(p->engines, s->uuid) : NULL;
        const struct model *model = inst ? models_get(p->models, s->model_id) : NULL;

        if (model) {
            ranks[n++] = (struct rank){ s, model->config->priority, inst->waiting_since_ms,
                                        is_aside(p, inst) };
        }
    }
    qsort(ranks, n, sizeof(*ranks), compare_ranks);
    *ret_count = n;
    return ranks;
}

static struct placement_waiting waiting_of(struct placement *p, const struct rank *rank)
{
    const struct seat *s = rank->seat;
    uint64_t now = world_now_ms(p->world);
    struct placement_waiting w = {
        .model_id = s->model_id,
        .displaced = rank->displaced,
        .reserved = s->reserved,
        .place = s->place,
        .reason = policy_reason_name(s->reason),
        .sentence = s->sentence[0] ? s->sentence : "it is about to be decided",
        .waiting_ms = now - MIN_OF(rank->since_ms, now),
        .start_in_ms = seat_start_in_ms(p, s),
    };

    memcpy(w.uuid, s->uuid, sizeof(w.uuid));
    return w;
}

bool placement_next_waiting(struct placement *p, size_t *cursor, struct placement_waiting *ret)
{
    size_t n;
    _cleanup_(freep) struct rank *ranks = rank_waiting(p, &n);

    if (*cursor >= n) {
        return false;
    }
    *ret = waiting_of(p, &ranks[(*cursor)++]);
    return true;
}

/* ---- devices ---- */

static uint64_t less(uint64_t from, uint64_t what)
{
    return from - MIN_OF(from, what);
}

bool placement_room(struct placement *p, int device, struct placement_room *ret)
{
    const struct gpu_device *d = p->gpu && device >= 0 ? gpu_find(p->gpu, device) : NULL;
    const struct room *r;

    if (!d) {
        return false;
    }
    if (p->engines) {
        rooms_refresh(p);
    }
    r = room_of(p, device);
    *ret = (struct placement_room){
        .total_bytes = d->memory_total_bytes,
        .placeable_bytes = (uint64_t)((double)d->memory_total_bytes * p->rules.resource_threshold),
        .reserved_bytes = r->reserved_bytes,
        .held_bytes = r->held_bytes,
        .other_bytes = r->other_bytes,
    };
    ret->free_bytes = d->unresponsive ? 0
                                      : less(ret->placeable_bytes,
                                             r->reserved_bytes + r->held_bytes + r->other_bytes);
    return true;
}

/* ---- why ---- */

static json_t *json_bytes(uint64_t bytes)
{
    return json_integer((json_int_t)bytes);
}

static json_t *need_to_json(const struct memory_need *n)
{
    json_t *o = json_pack("{s:s, s:i, s:i, s:f, s:f}", "source", need_source_name(n->source),
                          "min_devices", (int)n->min_devices, "max_devices", (int)n->max_devices,
                          "share", n->share, "load_seconds", n->load_ms / 1000.0);
    const struct {
        const char *name;
        uint64_t bytes;
    } parts[] = {
        { "split_bytes", n->split_bytes },
        { "fixed_bytes", n->fixed_bytes },
        { "host_bytes", n->host_bytes },
        { "weight_bytes", n->weight_bytes },
        { "kv_bytes", n->kv_bytes },
        { "compute_bytes", n->compute_bytes },
        { "runtime_bytes", n->runtime_bytes },
        { "declared_bytes", n->declared_bytes },
        { "estimated_bytes", n->estimated_bytes },
        { "measured_bytes", n->measured_bytes },
    };

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        json_object_set_new(o, parts[i].name, json_bytes(parts[i].bytes));
    }
    return o;
}

static json_t *instance_to_json(struct placement *p, const struct instance *inst)
{
    const struct seat *s = seat_find(p, inst->uuid);
    const struct place nowhere = { 0 };
    json_t *o =
        json_pack("{s:s, s:s, s:b, s:b, s:o, s:o}", "instance", inst->uuid, "state",
                  instance_state_name(inst->state), "displaced", inst->displaced, "reserved",
                  s && s->reserved, "place", place_to_json(s ? &s->place : &nowhere), "taken",
                  inst->taken.count ? place_to_json(&inst->taken) : json_null());

    if (s && seat_waits(s)) {
        json_object_set_new(o, "reason", json_string(policy_reason_name(s->reason)));
        json_object_set_new(o, "sentence", json_string(s->sentence));
        json_object_set_new(o, "start_in_ms", json_bytes(seat_start_in_ms(p, s)));
    }
    if (inst->last_error) {
        json_object_set_new(o, "last_error", json_string(inst->last_error));
    }
    return o;
}

/* By moves that its priority allows, on that device. */
static uint64_t movable_bytes(const struct snapshot *snap, const struct policy_instance *me,
                              int device)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < snap->s.instance_count; i++) {
        const struct policy_instance *in = &snap->instances[i];

        if (in->priority < me->priority && !in->pinned && in->model_id != me->model_id) {
            sum += place_bytes_on(&in->place, device);
        }
    }
    return sum;
}

static json_t *candidates(struct placement *p, const struct snapshot *snap,
                          const struct policy_instance *me)
{
    json_t *list = json_array();
    const struct gpu_device *d;
    struct placement_room room;
    size_t cursor = 0;

    while ((d = gpu_next(p->gpu, &cursor))) {
        bool named = me->device_count == 0;

        for (unsigned i = 0; i < me->device_count; i++) {
            named |= me->devices[i] == d->index;
        }
        if (!named || !placement_room(p, d->index, &room)) {
            continue;
        }
        json_array_append_new(
            list, json_pack("{s:i, s:s, s:o, s:o, s:o, s:o, s:o}", "device", d->index, "name",
                            d->name, "placeable_bytes", json_bytes(room.placeable_bytes),
                            "free_bytes", json_bytes(room.free_bytes), "movable_bytes",
                            json_bytes(movable_bytes(snap, me, d->index)), "other_bytes",
                            json_bytes(room.other_bytes), "need_bytes",
                            json_bytes(memory_need_on(&me->need, MAX_OF(me->need.min_devices, 1),
                                                      d->memory_total_bytes))));
    }
    return list;
}

/* What would have to go, if it were asked for with force. */
static json_t *moves(struct snapshot *snap, size_t at)
{
    json_t *list = json_array();
    struct policy_plan plan = { 0 };

    snap->instances[at].force = snap->instances[at].may_preempt = true;
    snap->instances[at].displaced = false;
    policy_decide(&snap->s, &plan);
    for (size_t i = 0; i < plan.action_count; i++) {
        const struct policy_action *a = &plan.actions[i];

        if (a->kind == POLICY_DISPLACE && a->other == at) {
            json_array_append_new(list, json_string(snapshot_name(snap, a->instance)));
        }
    }
    policy_plan_finish(&plan);
    return list;
}

/* Of the first that waits: where it could go. */
static void add_outlook(struct placement *p, int64_t model_id, json_t *to)
{
    struct snapshot snap;

    if (!controller_is_ready(p) || !p->gpu) {
        return;
    }
    snapshot_make(p, &snap);
    for (size_t i = 0; i < snap.s.instance_count; i++) {
        const struct policy_instance *in = &snap.instances[i];

        if (in->model_id == model_id && in->state == POLICY_WAITING) {
            json_object_set_new(to, "candidates", candidates(p, &snap, in));
            json_object_set_new(to, "moves", in->held_back ? json_array() : moves(&snap, i));
            break;
        }
    }
    snapshot_finish(&snap);
}

static const char *place_words(const struct seat *s, char *out, size_t size)
{
    size_t at = 0;

    if (s->place.count == 0) {
        return "";
    }
    at += (size_t)snprintf(out, size, " on device");
    for (unsigned i = 0; i < s->place.count && at < size; i++) {
        at +=
            (size_t)snprintf(out + at, size - at, "%s %d", i ? "," : "", s->place.shares[i].device);
    }
    return out;
}

static json_t *sentence_of(struct placement *p, const struct model *model,
                           const struct instance *inst)
{
    const struct seat *s = inst ? seat_find(p, inst->uuid) : NULL;
    char place[256];

    if (!model->wanted && !inst) {
        return json_string("nobody wants it: it was not started, or it was stopped");
    }
    if (!inst) {
        return json_string("it is about to be started");
    }
    if (inst->remote) {
        return json_string("it is an endpoint elsewhere, which needs no room here");
    }
    switch (inst->state) {
    case INSTANCE_WAITING:
        return json_string(s && s->sentence[0] ? s->sentence : "it is about to be decided");
    case INSTANCE_STARTING:
        return json_sprintf("it loads%s", s ? place_words(s, place, sizeof(place)) : "");
    case INSTANCE_READY:
        return json_sprintf("it runs%s", s ? place_words(s, place, sizeof(place)) : "");
    case INSTANCE_DRAINING:
    case INSTANCE_STOPPING:
        return json_string(inst->displaced ? "it is being moved aside" : "it is being stopped");
    default:
        return json_string(inst->last_error ? inst->last_error : "its engine has failed");
    }
}

json_t *placement_why(struct placement *p, int64_t model_id)
{
    const struct model *model = models_get(p->models, model_id);
    const struct instance *best = p->engines ? engines_of_model(p->engines, model_id) : NULL;
    const struct instance *inst;
    json_t *instances, *why;
    size_t cursor = 0;

    if (!model) {
        return NULL;
    }
    instances = json_array();
    why = json_pack("{s:s, s:i, s:b, s:s, s:o, s:o, s:o, s:[], s:[]}", "model_id",
                    model->config->id, "priority", model->config->priority, "wanted", model->wanted,
                    "status", best ? instance_state_name(best->state) : "stopped", "sentence",
                    sentence_of(p, model, best), "need",
                    best && best->need_known ? need_to_json(&best->need) : json_null(), "instances",
                    instances, "candidates", "moves");
    while (p->engines && (inst = engines_next(p->engines, &cursor))) {
        if (inst->model_id == model_id) {
            json_array_append_new(instances, instance_to_json(p, inst));
        }
    }
    add_outlook(p, model_id, why);
    return why;
}
