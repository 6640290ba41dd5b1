// SPDX-License-Identifier: Apache-2.0
/*
 * Everything as the policy wants it: devices with what is not ours, instances with their places,
 * what they need, and who asks for them. Made anew for every pass, good for one turn.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "placement/placement_int.h"

/* What loads that was never measured, it is taken to load at this speed. */
#define LOAD_BYTES_PER_SECOND 1e9

/* ---- devices ---- */

static struct policy_device device_of(struct placement *p, const struct gpu_device *d)
{
    const struct room *r = room_of(p, d->index);

    return (struct policy_device){
        .index = d->index,
        .vendor = (int)d->vendor,
        .unusable = d->unresponsive,
        .total_bytes = d->memory_total_bytes,
        .other_bytes = r->other_bytes,
        .held_bytes = r->held_bytes,
    };
}

/* The host beside GPUs: what is used there and was not reserved for ours is somebody else's. */
static struct policy_device host_pool(struct placement *p)
{
    const struct gpu_host *host = gpu_host(p->gpu);
    const struct seat *s;
    uint64_t ours = 0;

    list_for_each (s, &p->seats, node) {
        ours += seat_is_up(s) ? s->place.host_bytes : 0;
    }
    return (struct policy_device){
        .index = HOST_POOL,
        .vendor = (int)GPU_UNKNOWN,
        .host_pool = true,
        .total_bytes = host->memory_total_bytes,
        .other_bytes = host->memory_used_bytes - MIN_OF(ours, host->memory_used_bytes),
    };
}

static void add_devices(struct placement *p, struct snapshot *ret)
{
    const struct gpu_device *d;
    bool has_gpus = false;
    size_t cursor = 0, n = 1;

    while (gpu_next(p->gpu, &cursor)) {
        n++;
    }
    ret->devices = xcalloc(n, sizeof(*ret->devices));
    cursor = 0;
    while ((d = gpu_next(p->gpu, &cursor))) {
        has_gpus |= !d->cpu;
        ret->devices[ret->s.device_count++] = device_of(p, d);
    }
    if (has_gpus && gpu_host(p->gpu)->memory_total_bytes > 0) {
        ret->devices[ret->s.device_count++] = host_pool(p);
    }
    ret->s.devices = ret->devices;
}

/* ---- instances ---- */

static double reload_s(const struct memory_need *need)
{
    uint64_t bytes = need->weight_bytes ? need->weight_bytes
                                        : need->split_bytes + need->fixed_bytes + need->host_bytes;

    return need->load_ms ? need->load_ms / 1000.0 : (double)bytes / LOAD_BYTES_PER_SECOND;
}

/* Of this vendor only, by the definition's own word; -1: any. */
static int vendor_of(const struct model_config *config)
{
    const char *word = json_string_value(json_object_get(config->parameters, "gpu_vendor"));
    int vendor = word ? gpu_vendor_from_string(word) : -1;

    return vendor < 0 ? -1 : vendor;
}

/* The indexes of a definition are its vendor's: NVIDIA's where there are any. What is not there
 * gets an index that no device has. */
static int *named_devices(const struct placement *p, const struct model_config *config)
{
    int vendor = vendor_of(config);
    int *list;

    if (config->gpu_device_count == 0) {
        return NULL;
    }
    if (vendor < 0) {
        vendor = gpu_count(p->gpu, GPU_NVIDIA) ? GPU_NVIDIA : GPU_AMD;
    }
    list = xcalloc(config->gpu_device_count, sizeof(*list));
    for (size_t i = 0; i < config->gpu_device_count; i++) {
        const struct gpu_device *d =
            gpu_of_vendor(p->gpu, (enum gpu_vendor)vendor, config->gpu_devices[i]);
        const struct gpu_device *any = gpu_find(p->gpu, config->gpu_devices[i]);

        /* On a machine without GPUs device 0 is the CPU; scripts know other vendors too. */
        if (!d && any && (any->cpu || any->vendor > GPU_AMD)) {
            d = any;
        }
        list[i] = d ? d->index : HOST_POOL + 1;
    }
    return list;
}

/* Of an engine that runs without a place (one that an older berth has started): what it was
 * measured to take, else what it needs on the devices of its definition, or on the first. */
static struct place guess_place(const struct placement *p, const struct instance *inst,
                                const int *named, size_t count)
{
    struct place place = { .host_bytes = inst->need.host_bytes };
    size_t cursor = 0, n = count ? MIN_OF(count, (size_t)PLACE_DEVICES_MAX) : 1;

    if (inst->taken.count > 0) {
        return inst->taken;
    }
    for (size_t i = 0; i < n; i++) {
        const struct gpu_device *d = named ? gpu_find(p->gpu, named[i]) : gpu_next(p->gpu, &cursor);

        if (d) {
            place.shares[place.count++] =
                (struct place_share){ d->index, memory_need_on(&inst->need, (unsigned)n,
                                                               d->memory_total_bytes) };
        }
    }
    return place;
}

static int state_of(const struct seat *s)
{
    switch (s->state) {
    case INSTANCE_WAITING:
        return s->reserved ? POLICY_RESERVED : POLICY_WAITING;
    case INSTANCE_STARTING:
        return POLICY_LOADING;
    case INSTANCE_READY:
        return POLICY_READY;
    case INSTANCE_DRAINING:
    case INSTANCE_STOPPING:
        return POLICY_LEAVING;
    default:
        return -1; /* nothing of it runs, and it is not to be placed yet */
    }
}

/* Who waits for the model waits for one of its instances: the one that will serve first. */
static void add_demand(const struct placement *p, const struct instance *inst,
                       struct policy_instance *ret)
{
    struct dispatch_load load = dispatch_model_load(p->dispatch, inst->model_id);

    ret->in_flight = dispatch_instance_load(p->dispatch, inst->uuid).in_flight;
    ret->use_rate = dispatch_use_rate(p->dispatch, inst->model_id);
    if (engines_of_model(p->engines, inst->model_id) == inst) {
        ret->waiting = load.waiting;
        ret->waiting_since_ms = load.waiting ? load.waiting_since_ms : 0;
    }
}

static void add_model(const struct placement *p, const struct model *model,
                      struct policy_instance *ret)
{
    const struct stay *stay = stay_find(p, model->id);

    ret->model_id = model->id;
    ret->priority = MIN_OF(model->config->priority, p->rules.priority_levels);
    ret->pinned = model->config->pinned;
    ret->may_preempt = !stay || !stay->no_preempt;
    ret->force = stay && stay->force;
    ret->vendor = vendor_of(model->config);
    ret->device_count = (unsigned)model->config->gpu_device_count;
}

static void add_instance(struct placement *p, const struct instance *inst, struct snapshot *ret)
{
    const struct model *model = models_get(p->models, inst->model_id);
    size_t i = ret->s.instance_count;
    struct policy_instance *in = &ret->instances[i];
    struct seat *s = inst->remote ? NULL : seat_of(p, inst);
    int state = s ? state_of(s) : -1;

    if (state < 0 || (!model && state == POLICY_WAITING)) {
        return;
    }
    *in = (struct policy_instance){ .id = s->number,
                                    .model_id = inst->model_id,
                                    .priority = MODEL_PRIORITY_MIN,
                                    .vendor = -1,
                                    .state = (enum policy_state)state,
                                    .need = inst->need,
                                    .not_before_ms = s->not_before_ms,
                                    .reload_s = reload_s(&inst->need) };
    if (model) {
        add_model(p, model, in);
        ret->named[i] = named_devices(p, model->config);
        in->devices = ret->named[i];
    }
    add_demand(p, inst, in);
    in->held_back = state == POLICY_WAITING && !inst->need_known;
    in->displaced = is_aside(p, inst);
    in->since_ms = state == POLICY_READY ? inst->state_since_ms : inst->waiting_since_ms;
    if (seat_is_up(s) && s->place.count == 0 && s->place.host_bytes == 0) {
        s->place = guess_place(p, inst, in->devices, in->device_count);
    }
    in->place = s->place;
    ret->seats[i] = s;
    ret->s.instance_count++;
}

static struct policy_rules rules_of(const struct placement *p)
{
    return (struct policy_rules){
        .algorithm = p->rules.algorithm,
        .preemption = p->rules.preemption_enabled,
        .auto_recovery = p->rules.auto_recovery_enabled,
        .threshold = p->rules.resource_threshold,
        .min_residency_ms = p->min_residency_ms,
        .return_after_ms = p->return_after_ms,
        .swap_wait_ms = p->swap_wait_ms,
        .max_preemptions_per_hour = p->max_preemptions_per_hour,
    };
}

void snapshot_make(struct placement *p, struct snapshot *ret)
{
    const struct instance *inst;
    size_t cursor = 0, n = 1;

    *ret = (struct snapshot){ 0 };
    ret->s.now_ms = world_now_ms(p->world);
    ret->s.rules = rules_of(p);
    ret->s.preemptions_last_hour =
        history_preemptions_since(p, world_wall_ms(p->world) - (int64_t)3600 * 1000);
    while (engines_next(p->engines, &cursor)) {
        n++;
    }
    ret->instances = xcalloc(n, sizeof(*ret->instances));
    ret->seats = xcalloc(n, sizeof(*ret->seats));
    ret->named = xcalloc(n, sizeof(*ret->named));
    cursor = 0;
    while ((inst = engines_next(p->engines, &cursor))) {
        add_instance(p, inst, ret);
    }
    ret->s.instances = ret->instances;
    rooms_refresh(p); /* after the places are known */
    add_devices(p, ret);
}

size_t snapshot_suppose(struct placement *p, struct snapshot *snap, const struct model *model,
                        const struct memory_need *need)
{
    size_t i = snap->s.instance_count++; /* there is room for one more */
    struct policy_instance *in = &snap->instances[i];

    *in = (struct policy_instance){ .id = p->next_number,
                                    .state = POLICY_WAITING,
                                    .need = *need,
                                    .since_ms = snap->s.now_ms,
                                    .reload_s = reload_s(need) };
    add_model(p, model, in);
    snap->named[i] = named_devices(p, model->config);
    in->devices = snap->named[i];
    snap->supposed_name = model->config->id;
    return i;
}

void snapshot_finish(struct snapshot *snap)
{
    for (size_t i = 0; i < snap->s.instance_count; i++) {
        free(snap->named[i]);
    }
    free(snap->named);
    free(snap->seats);
    free(snap->instances);
    free(snap->devices);
}

const char *snapshot_name(void *arg, size_t instance)
{
    const struct snapshot *snap = arg;

    return snap->seats[instance] ? snap->seats[instance]->model_name : snap->supposed_name;
}
