// SPDX-License-Identifier: Apache-2.0
/*
 * What lies on each device: what is ours by what was placed, what is not by what the devices read.
 * While something loads or leaves there, or a reading may be older than the last change, what is
 * somebody else's is held to be as large as it was: so nothing is counted twice and nothing twice
 * free. A ghost goes when the used memory can be explained without it, and has fallen by what it
 * took, or needs nothing of what loads or ends; or when placement.verify_timeout is over.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "placement/placement_int.h"

enum { LOOK_MS = 250, STALE_READINGS = 2 };

struct room *room_of(struct placement *p, int device)
{
    size_t at = (size_t)device;

    if (at >= p->room_count) {
        size_t count = MAX_OF(at + 1, 2 * p->room_count);

        p->rooms = xrealloc(p->rooms, count * sizeof(*p->rooms));
        memset(p->rooms + p->room_count, 0, (count - p->room_count) * sizeof(*p->rooms));
        p->room_count = count;
    }
    return &p->rooms[at];
}

/* A round of readings may be under way that began before: the one after it tells. */
void room_changed(struct placement *p, const struct place *place)
{
    for (unsigned i = 0; i < place->count; i++) {
        room_of(p, place->shares[i].device)->stale = STALE_READINGS;
    }
    if (p->gpu && place->count > 0) {
        gpu_sample_now(p->gpu);
    }
}

bool room_is_fresh(struct placement *p, const struct place *place)
{
    for (unsigned i = 0; i < place->count; i++) {
        if (room_of(p, place->shares[i].device)->stale > 0 &&
            gpu_find(p->gpu, place->shares[i].device)) {
            return false;
        }
    }
    return true;
}

/* ---- counting ---- */

/* Best known: what it was measured to take, while that is what it takes now. */
static uint64_t use_of(const struct seat *s, const struct place_share *share)
{
    uint64_t taken = s->state == INSTANCE_READY ? place_bytes_on(&s->taken, share->device) : 0;

    return taken ? taken : share->bytes;
}

static void count_seat(struct placement *p, const struct seat *s)
{
    for (unsigned i = 0; i < s->place.count; i++) {
        struct room *r = room_of(p, s->place.shares[i].device);

        r->reserved_bytes += s->place.shares[i].bytes;
        if (seat_is_up(s)) {
            r->taken_bytes += use_of(s, &s->place.shares[i]);
            r->ending_bytes += s->state == INSTANCE_STOPPING ? s->place.shares[i].bytes : 0;
            r->moving |= s->state != INSTANCE_READY;
            r->loading_bytes += s->state == INSTANCE_STARTING ? s->place.shares[i].bytes : 0;
        }
    }
}

static void count_ours(struct placement *p)
{
    struct seat *s;
    struct ghost *g;

    for (size_t i = 0; i < p->room_count; i++) {
        struct room *r = &p->rooms[i];

        r->taken_bytes = r->loading_bytes = r->ending_bytes = 0;
        r->held_bytes = r->reserved_bytes = 0;
        r->moving = false;
    }
    list_for_each (s, &p->seats, node) {
        count_seat(p, s);
    }
    list_for_each (g, &p->ghosts, node) {
        for (unsigned i = 0; i < g->held.count; i++) {
            room_of(p, g->held.shares[i].device)->held_bytes += g->held.shares[i].bytes;
        }
    }
}

static void count_others(struct placement *p)
{
    const struct gpu_device *d;
    size_t cursor = 0;

    while ((d = gpu_next(p->gpu, &cursor))) {
        struct room *r = room_of(p, d->index);
        /* At the first look, what loads or ends may show in no reading: it explains nothing. */
        uint64_t ours = r->known ? r->taken_bytes + r->held_bytes
                                 : r->taken_bytes - r->loading_bytes - r->ending_bytes;
        uint64_t rest = d->memory_used_bytes - MIN_OF(ours, d->memory_used_bytes);
        /* What an ended process of ours has left behind is nobody's by the device's list. */
        uint64_t left = MIN_OF(r->ending_bytes + r->held_bytes, d->foreign_bytes);
        uint64_t least = MAX_OF(rest, d->foreign_bytes - left);
        bool at_rest = !r->moving && r->held_bytes == 0 && r->stale == 0;

        if (d->unresponsive && r->known) {
            continue;
        }
        if (at_rest || !r->known) {
            r->other_bytes = least;
        } else if (r->stale == 0) {
            r->other_bytes = MAX_OF(r->other_bytes, least);
        }
        if (r->stale == 0 || !r->known) {
            r->used_bytes = d->memory_used_bytes;
            r->seen_loads = r->loads;
        }
        r->known = true;
    }
}

/* ---- ghosts ---- */

static bool is_free(struct placement *p, const struct ghost *g, unsigned i)
{
    const struct gpu_device *d = gpu_find(p->gpu, g->held.shares[i].device);
    const struct room *r = room_of(p, g->held.shares[i].device);
    uint64_t bytes = g->held.shares[i].bytes, used, fall, most;

    if (!d) {
        return true;
    }
    if (r->stale > 0 || d->unresponsive) {
        return false;
    }
    used = d->memory_used_bytes;
    most = r->other_bytes + r->taken_bytes + r->held_bytes - bytes + bytes / 10;
    if (used > most) {
        return false;
    }
    fall = g->fall[i] ? g->fall[i] : bytes;
    if (used + fall - fall / 10 <= MAX_OF(g->before[i], fall)) {
        return true;
    }
    /* What loads may hide the fall. But what lingers may look like what loads, or like what ends
     * and has given its own back already: they get no credit. */
    return used + r->loading_bytes + r->ending_bytes <= most &&
           (g->fall[i] == 0 || r->loads != g->loads[i]);
}

static void drop_share(struct placement *p, struct ghost *g, unsigned i)
{
    const struct place_share free_share = g->held.shares[i];
    struct room *r = room_of(p, free_share.device);

    r->held_bytes -= MIN_OF(r->held_bytes, free_share.bytes);
    g->held.count--;
    for (unsigned k = i; k < g->held.count; k++) {
        g->held.shares[k] = g->held.shares[k + 1];
        g->before[k] = g->before[k + 1];
        g->fall[k] = g->fall[k + 1];
        g->loads[k] = g->loads[k + 1];
    }
    seats_note_free(p, &free_share); /* one fall frees one ghost */
}

static void give_up(struct placement *p, struct ghost *g)
{
    log_warn("placement", g->model_name,
             "its memory was not given back, from now on it counts as somebody else's",
             kv_int("bytes", (int64_t)place_bytes(&g->held)),
             kv_int("device", g->held.shares[0].device));
    if (p->events) {
        events_emit(p->events, EVENT_DEVICE_MEMORY_HELD, g->model_name, place_to_json(&g->held));
    }
}

/* What loads or ends may hide that it is free; before the next thing loads there, there is a
 * reading. */
static bool is_hidden(struct placement *p, const struct ghost *g)
{
    for (unsigned i = 0; i < g->held.count; i++) {
        const struct room *r = room_of(p, g->held.shares[i].device);

        if (r->loading_bytes + r->ending_bytes > 0) {
            return true;
        }
    }
    return false;
}

/* Tells whether it is gone. */
static bool watch(struct placement *p, struct ghost *g)
{
    uint64_t now = world_now_ms(p->world);

    for (unsigned i = g->held.count; i > 0; i--) {
        if (is_free(p, g, i - 1)) {
            drop_share(p, g, i - 1);
        }
    }
    if (g->held.count > 0 && (now < g->since_ms + p->verify_timeout_ms || is_hidden(p, g))) {
        return false;
    }
    if (g->left_id) {
        history_end(p, g->left_id, g->held.count ? -1 : (int64_t)(now - g->left_ms), NULL, NULL);
    }
    if (g->held.count > 0) {
        give_up(p, g);
    }
    ghost_free(g);
    return true;
}

static bool watch_ghosts(struct placement *p)
{
    struct ghost *g, *tmp;
    bool gone = false;

    list_for_each_safe (g, tmp, &p->ghosts, node) {
        gone |= watch(p, g);
    }
    return gone;
}

/* ---- news ---- */

static bool has_moved(struct placement *p)
{
    const struct gpu_device *d;
    size_t cursor = 0;
    bool moved = false;

    while ((d = gpu_next(p->gpu, &cursor))) {
        struct room *r = room_of(p, d->index);
        uint64_t more = MAX_OF(r->other_bytes, r->decided_bytes);
        uint64_t less = MIN_OF(r->other_bytes, r->decided_bytes);

        if (more - less > d->memory_total_bytes / 100) {
            r->decided_bytes = r->other_bytes;
            moved = true;
        }
    }
    return moved;
}

void rooms_refresh(struct placement *p)
{
    bool news;

    if (!p->gpu) {
        return;
    }
    count_ours(p);
    count_others(p);
    news = watch_ghosts(p);
    if (news) {
        count_ours(p);
        count_others(p);
    }
    if (has_moved(p) || news) {
        decide_soon(p);
    }
}

/* Is a reading wanted earlier than the devices' own round? */
static bool is_awaited(const struct placement *p)
{
    for (size_t i = 0; i < p->room_count; i++) {
        if (p->rooms[i].stale > 0 && gpu_find(p->gpu, (int)i)) {
            return true;
        }
    }
    return !list_empty(&p->ghosts);
}

void room_on_look(void *placement)
{
    struct placement *p = placement;

    uint64_t now = world_now_ms(p->world);

    rooms_refresh(p);
    if (!p->gpu || !is_awaited(p)) {
        return;
    }
    if (now >= p->asked_ms + LOOK_MS) { /* each reading brings us here */
        p->asked_ms = now;
        gpu_sample_now(p->gpu);
    }
    timer_start(&p->look, p->asked_ms + LOOK_MS - now);
}

void room_on_device(struct placement *p, const struct gpu_change *c)
{
    struct room *r = c->device ? room_of(p, c->device->index) : NULL;

    if (!r || c->kind != GPU_SAMPLED) {
        if (r && (c->kind == GPU_VANISHED || c->kind == GPU_APPEARED)) {
            r->known = false; /* whatever lies there when it is back */
            r->stale = 0;
        }
        decide_soon(p);
        return;
    }
    seats_note_used(p);
    if (r->stale > 0 && --r->stale == 0) {
        decide_soon(p); /* what was to load there may */
    }
    timer_start(&p->look, 0);
}
