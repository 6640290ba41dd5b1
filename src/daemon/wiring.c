// SPDX-License-Identifier: Apache-2.0
/*
 * Who listens to whom: the one place where a lower room's signal meets an upper room.
 *
 *     models  ──► engines (by itself: it stands above), dispatch, gateway
 *     engines ──► dispatch
 *     events  ──► api (/api/events)
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

void daemon_wire(struct daemon *d)
{
    subscribe(d, models_signal(d->models), dispatch_on_model, d->dispatch);
    subscribe(d, models_signal(d->models), gateway_on_model, d->gateway);
    subscribe(d, engines_signal(d->engines), dispatch_on_instance, d->dispatch);
    subscribe(d, events_signal(d->events), api_on_event, d->api);
}
