// SPDX-License-Identifier: Apache-2.0
/*
 * What the controller knows of each instance: its place from the moment at which it is reserved,
 * until its engine has ended; and ghosts: what has ended, until its memory was seen to be free.
 * Engines tell, and what they tell is the truth: a place is theirs once they have one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "placement/placement_int.h"

enum { OOM_PAUSE_MS = 10 * 1000, OOM_PAUSE_MAX_MS = 5 * 60 * 1000 };

struct seat *seat_find(const struct placement *p, const char *uuid)
{
    return map_get(&p->by_uuid, uuid);
}

/* What was moved aside when berth ended is so still. */
static void tell_aside(struct placement *p, const struct instance *inst)
{
    const struct stay *stay = stay_find(p, inst->model_id);

    if (inst->state == INSTANCE_WAITING && stay && stay->aside && !stay->called) {
        engines_note_displaced(p->engines, inst->uuid);
    }
}

struct seat *seat_of(struct placement *p, const struct instance *inst)
{
    struct seat *s = seat_find(p, inst->uuid);
    const struct model *model;

    if (s) {
        return s;
    }
    model = models_get(p->models, inst->model_id);
    s = xcalloc(1, sizeof(*s));
    s->number = p->next_number++;
    memcpy(s->uuid, inst->uuid, sizeof(s->uuid));
    s->model_id = inst->model_id;
    s->model_name = xstrdup(model ? model->config->id : "");
    s->state = inst->state;
    s->reason = POLICY_HELD_BACK;
    if (seat_is_up(s)) {
        s->place = inst->place;
    }
    list_append(&p->seats, &s->node);
    map_put(&p->by_uuid, s->uuid, s);
    tell_aside(p, inst);
    return s;
}

/* A pass may be looking at it. */
static void bury(struct placement *p, struct seat *s)
{
    map_remove(&p->by_uuid, s->uuid);
    list_remove(&s->node);
    s->state = INSTANCE_FAILED;
    list_append(&p->gone, &s->node);
}

static void seat_free(struct seat *s)
{
    list_remove(&s->node);
    free(s->model_name);
    free(s);
}

struct ghost *ghost_free(struct ghost *g)
{
    list_remove(&g->node);
    free(g->model_name);
    free(g);
    return NULL;
}

bool seat_is_up(const struct seat *s)
{
    return s->state == INSTANCE_STARTING || s->state == INSTANCE_READY ||
           s->state == INSTANCE_DRAINING || s->state == INSTANCE_STOPPING;
}

bool seat_waits(const struct seat *s)
{
    return s->state == INSTANCE_WAITING;
}

bool is_aside(const struct placement *p, const struct instance *inst)
{
    const struct stay *stay = stay_find(p, inst->model_id);

    return (inst->displaced || (stay && stay->aside)) && !(stay && stay->called);
}

/* ---- what ends ---- */

/* What is used on its devices while it lives: it may give its memory back long before its end. */
static void note_used(struct placement *p, struct seat *s)
{
    for (unsigned i = 0; i < s->place.count; i++) {
        int device = s->place.shares[i].device;
        const struct gpu_device *d = p->gpu ? gpu_find(p->gpu, device) : NULL;

        uint64_t used = MAX_OF(room_of(p, device)->used_bytes, d ? d->memory_used_bytes : 0);

        s->used_then[i] = MAX_OF(s->used_then[i], used);
    }
}

void seats_note_used(struct placement *p)
{
    struct seat *s;

    list_for_each (s, &p->seats, node) {
        if (s->state == INSTANCE_STOPPING) {
            note_used(p, s);
        }
    }
}

static void lower(const struct place *place, uint64_t used[], const struct place_share *by)
{
    for (unsigned i = 0; i < place->count; i++) {
        if (place->shares[i].device == by->device) {
            used[i] -= MIN_OF(used[i], by->bytes);
        }
    }
}

void seats_note_free(struct placement *p, const struct place_share *share)
{
    struct seat *s;
    struct ghost *g;

    list_for_each (s, &p->seats, node) {
        lower(&s->place, s->used_then, share);
    }
    list_for_each (g, &p->ghosts, node) {
        lower(&g->held, g->before, share);
    }
}

static void add_share(struct placement *p, struct ghost *g, const struct seat *s, unsigned share_at)
{
    const struct place_share *share = &s->place.shares[share_at];
    const struct gpu_device *d = p->gpu ? gpu_find(p->gpu, share->device) : NULL;
    unsigned i = g->held.count;
    const struct room *r;

    /* The host's memory is free when the processes are gone; what is not there holds nothing. */
    if (!d || d->cpu || share->bytes == 0) {
        return;
    }
    g->held.shares[i] = *share;
    r = room_of(p, share->device);
    g->before[i] = MAX_OF(s->used_then[share_at], r->used_bytes);
    g->fall[i] = place_bytes_on(&s->taken, share->device);
    g->loads[i] = MIN_OF(r->seen_loads, r->loads - (r->loading_bytes > 0));
    g->held.count++;
}

/* Its processes are gone: what it held is watched. */
static void leave(struct placement *p, struct seat *s)
{
    struct ghost *g = xcalloc(1, sizeof(*g));

    g->model_name = xstrdup(s->model_name);
    g->since_ms = world_now_ms(p->world);
    g->left_id = s->left_id;
    g->left_ms = s->left_ms;
    s->left_id = 0;
    for (unsigned i = 0; i < s->place.count; i++) {
        add_share(p, g, s, i);
    }
    memset(s->used_then, 0, sizeof(s->used_then));
    room_changed(p, &s->place);
    list_append(&p->ghosts, &g->node);
    s->place = s->taken = (struct place){ 0 };
    if (!p->gpu) {
        ghost_free(g); /* nobody looks */
        return;
    }
    timer_start(&p->look, 0);
}

/* ---- what a placement came to ---- */

static void close_placed(struct placement *p, struct seat *s, const char *failure)
{
    if (s->placed_id) {
        history_end(p, s->placed_id,
                    failure ? -1 : (int64_t)(world_now_ms(p->world) - s->placed_ms), failure, NULL);
        s->placed_id = 0;
    }
}

static uint64_t pause_ms(unsigned times)
{
    uint64_t pause = OOM_PAUSE_MS;

    for (unsigned i = 1; i < times && pause < OOM_PAUSE_MAX_MS; i++) {
        pause *= 2;
    }
    return MIN_OF(pause, (uint64_t)OOM_PAUSE_MAX_MS);
}

static void note_out_of_memory(struct placement *p, struct seat *s, const struct instance *inst,
                               const struct place *place)
{
    char reason[480];
    struct event *event;

    snprintf(reason, sizeof(reason), "ran out of memory while loading, with %.1f GB reserved%s%s",
             (double)place_bytes(place) / (1 << 30), inst->last_error ? ": " : "",
             inst->last_error ? inst->last_error : "");
    s->not_before_ms = world_now_ms(p->world) + pause_ms(inst->out_of_memory);
    s->refused = true;
    event = p->events ? event_create(p->world, EVENT_PLACEMENT_FAILED, s->model_name,
                                     json_pack("{s:s, s:o, s:s}", "instance", s->uuid, "place",
                                               place_to_json(place), "reason", reason))
                      : NULL;
    log_warn("placement", s->model_name, "ran out of memory, to be placed anew",
             kv_int("times", (int64_t)inst->out_of_memory));
    if (s->placed_id) {
        history_end(p, s->placed_id, -1, reason, event);
        s->placed_id = 0;
    } else {
        history_note(p,
                     &(struct placement_entry){ .model_id = s->model_id,
                                                .model_name = s->model_name,
                                                .act = ACT_FAILED,
                                                .reason = reason,
                                                .place = *place,
                                                .duration_ms = -1 },
                     event, NULL, NULL);
    }
}

void seat_release(struct placement *p, struct seat *s, const char *why)
{
    s->place = (struct place){ 0 };
    s->reserved = false;
    close_placed(p, s, why);
}

/* It holds the larger of what was reserved for it and what it was measured to take. */
static void note_taken(struct seat *s, const struct instance *inst)
{
    if (inst->taken.count == 0 && inst->taken.host_bytes == 0) {
        return;
    }
    s->taken = inst->taken;
    for (unsigned i = 0; i < s->place.count; i++) {
        struct place_share *share = &s->place.shares[i];

        share->bytes = MAX_OF(share->bytes, place_bytes_on(&s->taken, share->device));
    }
    s->place.host_bytes = MAX_OF(s->place.host_bytes, s->taken.host_bytes);
}

/* It has no engine any more. */
static void on_down(struct placement *p, struct seat *s, const struct instance *inst)
{
    struct place place = s->place;

    if (inst->out_of_memory > s->out_of_memory) {
        note_out_of_memory(p, s, inst, &place);
    } else if (s->placed_id) {
        close_placed(p, s,
                     inst->last_error ? inst->last_error : "it was stopped before it was ready");
    }
    s->out_of_memory = inst->out_of_memory;
    leave(p, s);
}

static void on_ready(struct placement *p, struct seat *s)
{
    struct stay *stay = stay_find(p, s->model_id);

    close_placed(p, s, NULL);
    s->refused = s->swapped = false;
    s->not_before_ms = 0;
    room_changed(p, &s->place);
    if (stay) {
        stay->no_preempt = stay->force = stay->called = stay->aside = false;
    }
}

/* Back-offs do not end a wait. */
static void on_waiting(struct seat *s)
{
    s->refused = s->refused && s->state == INSTANCE_BACKOFF;
    s->reason = POLICY_HELD_BACK;
    s->sentence[0] = '\0';
}

static void note_load(struct placement *p, const struct place *place)
{
    for (unsigned i = 0; i < place->count; i++) {
        room_of(p, place->shares[i].device)->loads++;
    }
}

void seats_hear_instance(struct placement *p, const struct instance_change *c)
{
    const struct instance *inst = c->instance;
    struct seat *s;
    bool was_up;

    if (!p->engines || inst->remote) {
        return;
    }
    s = seat_of(p, inst);
    was_up = seat_is_up(s);
    if (c->to == INSTANCE_STARTING && s->state != INSTANCE_STARTING) {
        s->reserved = false;
        s->place = inst->place.count || inst->place.host_bytes ? inst->place : s->place;
        room_changed(p, &s->place);
        note_load(p, &s->place);
    }
    if (c->to == INSTANCE_WAITING && s->state != INSTANCE_WAITING) {
        on_waiting(s);
    }
    if (c->to == INSTANCE_READY && s->state != INSTANCE_READY) {
        on_ready(p, s);
    }
    if (was_up && c->to == INSTANCE_STOPPING && s->state != INSTANCE_STOPPING) {
        note_used(p, s);
    }
    s->state = c->to;
    if (was_up && (c->gone || !seat_is_up(s))) {
        on_down(p, s, inst);
    } else if (s->reserved && !seat_waits(s)) { /* it failed before it had an engine */
        seat_release(p, s, inst->last_error ? inst->last_error : "it cannot start");
    } else if (seat_is_up(s)) {
        note_taken(s, inst);
    }
    if (c->gone) {
        close_placed(p, s, "nobody wants it any more");
        bury(p, s);
    }
}

void seats_sweep(struct placement *p)
{
    struct seat *s, *tmp;

    list_for_each_safe (s, tmp, &p->gone, node) {
        seat_free(s);
    }
}

void seats_finish(struct placement *p)
{
    struct seat *s, *tmp;
    struct ghost *g, *next;

    list_for_each_safe (s, tmp, &p->seats, node) {
        seat_free(s);
    }
    seats_sweep(p);
    list_for_each_safe (g, next, &p->ghosts, node) {
        ghost_free(g);
    }
    map_finish(&p->by_uuid);
}
