// SPDX-License-Identifier: Apache-2.0
/* The ring of samples. While it grows it has not turned yet: next is then count. */
#include "gpu/history.h"

#include <stdlib.h>

#include "base/mem.h"

enum { FIRST_ROOM = 16 };

void gpu_history_add(struct gpu_history *h, const struct gpu_device *d)
{
    if (h->count == h->room && h->room < GPU_SAMPLES_MAX) {
        h->room = h->room ? MIN_OF(h->room * 2, (size_t)GPU_SAMPLES_MAX) : FIRST_ROOM;
        h->ring = xrealloc(h->ring, h->room * sizeof(*h->ring));
        h->next = h->count;
    }
    h->ring[h->next] = (struct gpu_sample){
        .wall_ms = d->sampled_wall_ms,
        .memory_used_bytes = d->memory_used_bytes,
        .memory_total_bytes = d->memory_total_bytes,
        .utilization = (float)d->utilization,
        .temperature_c = (float)d->temperature_c,
        .power_w = (float)d->power_w,
    };
    h->next = (h->next + 1) % h->room;
    h->count = MIN_OF(h->count + 1, h->room);
}

const struct gpu_sample *gpu_history_at(const struct gpu_history *h, size_t i)
{
    if (i >= h->count) {
        return NULL;
    }
    return &h->ring[(h->next + h->room - h->count + i) % h->room];
}

void gpu_history_finish(struct gpu_history *h)
{
    free(h->ring);
    *h = (struct gpu_history){ 0 };
}
