// SPDX-License-Identifier: Apache-2.0
/*
 * The service as a whole in one step: how much was asked of all models together and how long that
 * took. The times are those of the requests that ended well, the latest HISTORY_KEPT of the step.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct history;

/* Times of some requests; -1: there was none. */
struct service_times {
    float mean_ms, p95_ms;
};

/* Of one step, and how it was at its end. */
struct service_sample {
    int64_t wall_ms;
    uint32_t requests, errors; /* that ended in it; errors: status 500 and above */
    uint64_t prompt_tokens, output_tokens;
    struct service_times first_byte, total, queue;
    uint32_t in_flight, waiting;
    uint32_t tasks_pending, tasks_running;
};

/* Fills in the times, of the latest `count` requests. */
void service_sample_times(struct service_sample *s, const struct history *h, uint64_t count);
