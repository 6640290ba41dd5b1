// SPDX-License-Identifier: Apache-2.0
/* The value of a state of affairs. What a move takes from it is the harm that it does. */
#include "placement/policy_int.h"

#include "base/macros.h"

int policy_class(int priority)
{
    return MAX_OF(0, MIN_OF(priority, POLICY_CLASSES - 1));
}

double policy_served(const struct policy_instance *i)
{
    return 1 + (double)i->in_flight + (double)i->waiting;
}

double policy_reload_cost(const struct policy_instance *i)
{
    double gib = (double)(place_bytes(&i->place) + i->place.host_bytes) / (1024.0 * 1024 * 1024);

    return i->state == POLICY_READY ? i->use_rate * i->reload_s / MAX_OF(gib, 1.0 / 1024) : 0;
}

struct policy_value policy_value_of(const struct policy_snapshot *s, const bool *placed)
{
    struct policy_value v = { 0 };

    for (size_t k = 0; k < s->instance_count; k++) {
        const struct policy_instance *i = &s->instances[k];

        if (placed[k]) {
            v.served[policy_class(i->priority)] += policy_served(i);
        } else {
            v.reload_s += policy_reload_cost(i);
        }
    }
    return v;
}
