// SPDX-License-Identifier: Apache-2.0
/* The last GPU_SAMPLES_MAX samples of a device: memory grows as they come, the oldest fall out. */
#pragma once

#include "gpu/gpu.h"

struct gpu_history {
    struct gpu_sample *ring;
    size_t room, count, next; /* next: where the next one is written */
};

void gpu_history_add(struct gpu_history *h, const struct gpu_device *d);
/* The oldest is 0; NULL beyond the last. */
const struct gpu_sample *gpu_history_at(const struct gpu_history *h, size_t i);
void gpu_history_finish(struct gpu_history *h);
