// SPDX-License-Identifier: Apache-2.0
/*
 * What must hold at every moment, by the instances and by what the devices were read to hold: where
 * something is told to load there is room, nothing else loads there, and what lay there before is
 * seen to be gone; who is pinned or young is not moved; who is moved has its grace; who waits is
 * told why.
 */
#include "placement_scene.h"

enum { LOOK_MS = 500, SOON_MS = 100 };

/* What was seen of an instance so far. */
struct track {
    struct list node;
    char uuid[UUID_SIZE];
    bool displaced;
    uint64_t ready_ms;
    uint64_t draining_ms; /* moved aside, since then */
};

static struct track *track_of(struct scene *s, const char *uuid)
{
    struct track *t;

    list_for_each (t, &s->tracks, node) {
        if (str_eq(t->uuid, uuid)) {
            return t;
        }
    }
    t = xcalloc(1, sizeof(*t));
    strcpy(t->uuid, uuid);
    list_append(&s->tracks, &t->node);
    return t;
}

static const char *name_of(struct scene *s, const struct instance *in)
{
    const struct subject *of = subject_of(s, in->model_id);

    return of ? of->name : "(deleted)";
}

static bool is_forced(struct scene *s)
{
    for (size_t i = 0; i < SUBJECTS; i++) {
        if (s->subjects[i].forced) {
            return true;
        }
    }
    return false;
}

/* ---- placing ---- */

static bool holds_place(const struct instance *in)
{
    return in->state == INSTANCE_STARTING || in->state == INSTANCE_READY ||
           in->state == INSTANCE_DRAINING || in->state == INSTANCE_STOPPING;
}

/* Of our instances on this device, but `not`. */
static uint64_t reserved_on(struct scene *s, int device, const struct instance * not )
{
    const struct instance *in;
    uint64_t bytes = 0;
    size_t cursor = 0;

    while ((in = engines_next(s->engines, &cursor))) {
        if (in != not &&holds_place(in)) {
            bytes += place_bytes_on(&in->place, device);
        }
    }
    return bytes;
}

/* What others are seen to hold there, at the least. */
static uint64_t foreign_on(const struct gpu_device *d)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < d->process_count; i++) {
        bytes += d->processes[i].pid > SIM_DEVICES_MAX ? 0 : d->processes[i].memory_bytes;
    }
    return bytes;
}

static uint64_t limit_on(const struct scene *s, const struct gpu_device *d)
{
    return (uint64_t)((double)d->memory_total_bytes *
                      placement_rules(s->placement)->resource_threshold);
}

/* Of those that end: what others take meanwhile cannot be told from what they leave behind. */
static uint64_t ending_on(struct scene *s, int device)
{
    const struct instance *in;
    uint64_t bytes = 0;
    size_t cursor = 0;

    while ((in = engines_next(s->engines, &cursor))) {
        bytes += in->state == INSTANCE_STOPPING ? place_bytes_on(&in->place, device) : 0;
    }
    return bytes;
}

static void check_room(struct scene *s, const struct instance *in, int device, uint64_t bytes)
{
    const struct gpu_device *d = gpu_find(s->gpu, device);
    uint64_t others;

    if (!d) {
        complain(s, "%s is told to load on device %d, which is not there", name_of(s, in), device);
    }
    others = reserved_on(s, device, in) + foreign_on(d);
    others -= MIN_OF(foreign_on(d), ending_on(s, device));
    if (!is_forced(s) && others + bytes > limit_on(s, d) + MIB) {
        complain(s, "%s is told to load on device %d, where there is no room: %.2f GiB of others",
                 name_of(s, in), device, (double)others / (double)GIB);
    }
    if (bytes > d->memory_free_bytes + MIB) {
        complain(s, "%s is told to load on device %d, where only %.2f GiB were seen to be free",
                 name_of(s, in), device, (double)d->memory_free_bytes / (double)GIB);
    }
}

static void check_alone(struct scene *s, const struct instance *in, int device)
{
    const struct instance *other;
    size_t cursor = 0;

    while ((other = engines_next(s->engines, &cursor))) {
        if (other != in && other->state == INSTANCE_STARTING &&
            place_bytes_on(&other->place, device)) {
            complain(s, "%s is told to load on device %d while %s loads there", name_of(s, in),
                     device, name_of(s, other));
        }
    }
}

static void check_named(struct scene *s, const struct instance *in)
{
    const struct model *model = models_get(s->models, in->model_id);

    if (!model || model->config->gpu_device_count == 0) {
        return;
    }
    for (size_t i = 0; i < model->config->gpu_device_count; i++) {
        if (place_bytes_on(&in->place, model->config->gpu_devices[i]) == 0) {
            complain(s, "%s is not placed on device %d, which it names", name_of(s, in),
                     model->config->gpu_devices[i]);
        }
    }
    if (in->place.count != model->config->gpu_device_count) {
        complain(s, "%s is placed where it does not want to be", name_of(s, in));
    }
}

static void check_place(struct scene *s, const struct instance *in)
{
    if (in->place.count == 0) {
        complain(s, "%s is told to load nowhere", name_of(s, in));
    }
    for (unsigned i = 0; i < in->place.count; i++) {
        check_room(s, in, in->place.shares[i].device, in->place.shares[i].bytes);
        check_alone(s, in, in->place.shares[i].device);
    }
    check_named(s, in);
}

/* What engines take there beyond what they were given. */
uint64_t excess_on(struct scene *s, int device)
{
    const struct sim_engine *engine;
    uint64_t bytes = 0;

    list_for_each (engine, &s->engines_alive, node) {
        const struct instance *in = engines_find(s->engines, engine->uuid);
        const uint64_t given = in ? place_bytes_on(&in->place, device) : 0;

        bytes += given && engine->bytes > given ? engine->bytes - given : 0;
    }
    return bytes;
}

/* Of those that may be moved for one of this priority. */
static uint64_t movable_on(struct scene *s, int device, int priority)
{
    const struct instance *in;
    uint64_t bytes = 0;
    size_t cursor = 0;

    while ((in = engines_next(s->engines, &cursor))) {
        const struct model *model = models_get(s->models, in->model_id);

        if (in->state == INSTANCE_READY && !model->config->pinned &&
            model->config->priority < priority) {
            bytes += place_bytes_on(&in->place, device);
        }
    }
    return bytes;
}

bool has_room(struct scene *s, const struct instance *in, bool moving)
{
    const struct model *model = models_get(s->models, in->model_id);
    const struct gpu_device *d;
    size_t cursor = 0;

    while ((d = gpu_next(s->gpu, &cursor))) {
        const uint64_t need = memory_need_on(&in->need, 1, d->memory_total_bytes);
        bool named =
            model->config->gpu_device_count == 0 ||
            (model->config->gpu_device_count == 1 && model->config->gpu_devices[0] == d->index);
        uint64_t used = reserved_on(s, d->index, NULL) + foreign_on(d) + excess_on(s, d->index);

        if (moving) {
            used -= movable_on(s, d->index, model->config->priority);
        }
        if (named && need + used <= limit_on(s, d)) {
            return true;
        }
    }
    return false;
}

/* ---- moving ---- */

static void note_displaced(struct scene *s, struct track *t, const struct instance *in,
                           enum instance_state from)
{
    const struct model *model = models_get(s->models, in->model_id);
    const struct subject *of = subject_of(s, in->model_id);

    t->displaced = true;
    t->draining_ms = scene_now(s);
    if (of && of->forced) {
        return; /* a person asked for it to be placed again */
    }
    if (model && model->config->pinned) {
        complain(s, "%s is moved aside though it is pinned", name_of(s, in));
    }
    if (from == INSTANCE_READY && !is_forced(s) && scene_now(s) < t->ready_ms + MIN_RESIDENCY_MS) {
        complain(s, "%s is moved aside %llu ms after it became ready", name_of(s, in),
                 (unsigned long long)(scene_now(s) - t->ready_ms));
    }
}

/* What runs may end within the grace. */
static void check_grace(struct scene *s, const struct track *t, const struct instance *in)
{
    const struct client *c;

    list_for_each (c, &s->clients, node) {
        if (str_eq(c->uuid, in->uuid) && scene_now(s) < t->draining_ms + GRACE_MS) {
            complain(s, "%s is stopped over its work, %llu ms after it was moved aside",
                     name_of(s, in), (unsigned long long)(scene_now(s) - t->draining_ms));
        }
    }
}

static void on_instance(void *owner, const void *what)
{
    const struct instance_change *c = what;
    struct scene *s = owner;
    const struct instance *in = c->instance;
    struct track *t = track_of(s, in->uuid);

    if (c->gone) {
        list_remove(&t->node);
        free(t);
        return;
    }
    if (in->displaced && !t->displaced && c->from != INSTANCE_WAITING) {
        note_displaced(s, t, in, c->from);
    }
    if (c->from == INSTANCE_WAITING && c->to == INSTANCE_STARTING) {
        check_place(s, in);
    }
    if (c->from == INSTANCE_DRAINING && c->to == INSTANCE_STOPPING && t->displaced &&
        engine_find(s, in->uuid) && engine_find(s, in->uuid)->loaded) {
        check_grace(s, t, in);
    }
    if (c->to == INSTANCE_READY && c->from != INSTANCE_READY) {
        struct subject *of = subject_of(s, in->model_id);

        t->ready_ms = scene_now(s);
        if (of) {
            of->forced = false;
        }
    }
    t->displaced = in->displaced;
}

/* ---- now and then ---- */

static bool is_in_queue(struct scene *s, const char *uuid)
{
    struct placement_waiting w;
    size_t cursor = 0;

    while (placement_next_waiting(s->placement, &cursor, &w)) {
        if (str_eq(w.uuid, uuid)) {
            return true;
        }
    }
    return false;
}

static void check_queue(struct scene *s)
{
    const struct instance *in;
    struct placement_waiting w;
    size_t cursor = 0;

    while (placement_next_waiting(s->placement, &cursor, &w)) {
        in = engines_find(s->engines, w.uuid);
        if (!in || in->model_id != w.model_id) {
            complain(s, "one waits that is not there: %s", w.uuid);
        }
        if (!w.reason[0] || !w.sentence[0]) {
            complain(s, "%s waits without a reason", name_of(s, in));
        }
    }
    cursor = 0;
    while ((in = engines_next(s->engines, &cursor))) {
        if (in->state == INSTANCE_WAITING && scene_now(s) > in->state_since_ms + SOON_MS &&
            !is_in_queue(s, in->uuid)) {
            complain(s, "%s waits, and is not in the queue", name_of(s, in));
        }
    }
}

static void check_rooms(struct scene *s)
{
    for (unsigned i = 0; i < s->machine->count; i++) {
        struct placement_room room;
        uint64_t ours = reserved_on(s, (int)i, NULL);

        if (placement_room(s->placement, (int)i, &room) && room.reserved_bytes < ours) {
            complain(s, "placement counts less on device %u than lies there: %.2f GiB", i,
                     (double)ours / (double)GIB);
        }
    }
}

static void on_look(void *arg)
{
    struct scene *s = arg;

    check_queue(s);
    check_rooms(s);
    timer_start(&s->look, LOOK_MS);
}

void watch_begin(struct scene *s)
{
    s->on_instance = (struct listener){ .fn = on_instance, .owner = s };
    notify_add(engines_signal(s->engines), &s->on_instance);
    timer_init(&s->look, s->world, "sim.look", on_look, s);
    timer_start(&s->look, LOOK_MS);
}

void watch_end(struct scene *s)
{
    timer_stop(&s->look);
    notify_remove(&s->on_instance);
    while (!list_empty(&s->tracks)) {
        struct track *t = list_first(&s->tracks, struct track, node);

        list_remove(&t->node);
        free(t);
    }
    for (size_t i = 0; i < SUBJECTS; i++) {
        s->subjects[i].forced = false;
    }
}
