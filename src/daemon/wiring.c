// SPDX-License-Identifier: Apache-2.0
/*
 * Who listens to whom: the one place where a lower room's signal meets an upper room.
 *
 *     models   ──► engines, dispatch, placement, gateway, tasks, api (a removed one's key goes)
 *     engines  ──► dispatch, placement, tasks (there may be a place now)
 *     tasks    ──► batches, evaluations, api (told live), task_instances (what is committed)
 *     task_instances ──► api (/ws/task_events)
 *     evaluations ──► api (/ws/tasks)
 *     batches  ──► webhooks (there may be something to tell)
 *     dispatch ──► placement (somebody waits for a model that is not wanted)
 *     events   ──► api (/api/events)
 *     monitor  ──► api (/api/events: samples)
 *     store    ──► events (it takes no more writes)
 *     gpu      ──► events (devices come and go), placement
 *
 * Order matters: dispatch must know of a change before the gateway or a door acts on it.
 */
#include <assert.h>

#include "daemon/daemon_int.h"

static void subscribe(struct daemon *d, struct notify *to, void (*fn)(void *, const void *),
                      void *owner)
{
    struct listener *l = &d->subscriptions[d->subscription_count++];

    assert(d->subscription_count <= MAX_SUBSCRIPTIONS);
    l->fn = fn;
    l->owner = owner;
    notify_add(to, l);
}

/* Told and kept in the ring, though not stored: the store is the one that fails. */
static void on_store_read_only(void *owner, const void *reason)
{
    struct daemon *d = owner;

    events_emit(d->events, EVENT_STORE_READ_ONLY, "",
                json_pack("{s:s}", "reason", store_read_only_reason(d->store)));
}

// clang-format off
static const int device_events[] = {
    [GPU_APPEARED]     = EVENT_DEVICE_APPEARED,
    [GPU_VANISHED]     = EVENT_DEVICE_VANISHED,
    [GPU_UNRESPONSIVE] = EVENT_DEVICE_UNRESPONSIVE,
    [GPU_RESPONSIVE]   = EVENT_DEVICE_RESPONSIVE,
    [GPU_SAMPLED]      = -1,
    [GPU_READY]        = -1,
};
// clang-format on

static void on_device(void *owner, const void *what)
{
    const struct gpu_change *change = what;
    struct daemon *d = owner;

    if (device_events[change->kind] >= 0) {
        events_emit(d->events, (enum event_kind)device_events[change->kind], "",
                    json_pack("{s:i, s:s, s:s}", "device", change->device->index, "id",
                              change->device->id, "name", change->device->name));
    }
}

static void on_instance_for_tasks(void *owner, const void *what)
{
    const struct instance_change *change = what;
    const struct daemon *d = owner;

    if (change->from != change->to) {
        tasks_wake(d->tasks);
    }
}

void daemon_wire(struct daemon *d)
{
    subscribe(d, models_signal(d->models), engines_on_model, d->engines);
    subscribe(d, models_signal(d->models), dispatch_on_model, d->dispatch);
    subscribe(d, models_signal(d->models), placement_on_model, d->placement);
    subscribe(d, models_signal(d->models), gateway_on_model, d->gateway);
    subscribe(d, models_signal(d->models), tasks_on_model, d->tasks);
    subscribe(d, models_signal(d->models), api_on_model, d->api);
    subscribe(d, engines_signal(d->engines), dispatch_on_instance, d->dispatch);
    subscribe(d, engines_signal(d->engines), placement_on_instance, d->placement);
    subscribe(d, engines_signal(d->engines), on_instance_for_tasks, d);
    subscribe(d, tasks_signal(d->tasks), batches_on_task, d->batches);
    subscribe(d, batches_signal(d->batches), webhooks_on_change, d->webhooks);
    subscribe(d, tasks_signal(d->tasks), evaluations_on_task, d->evaluations);
    subscribe(d, evaluations_signal(d->evaluations), api_on_evaluation, d->api);
    subscribe(d, tasks_signal(d->tasks), api_on_task, d->api);
    subscribe(d, tasks_signal(d->tasks), task_instances_on_task, d->task_instances);
    subscribe(d, task_instances_signal(d->task_instances), api_on_task_ended, d->api);
    subscribe(d, dispatch_demand_signal(d->dispatch), placement_on_demand, d->placement);
    subscribe(d, events_signal(d->events), api_on_event, d->api);
    subscribe(d, monitor_signal(d->monitor), api_on_sample, d->api);
    subscribe(d, gpu_signal(d->gpu), on_device, d);
    subscribe(d, gpu_signal(d->gpu), placement_on_device, d->placement);
    subscribe(d, store_read_only_signal(d->store), on_store_read_only, d);
}
