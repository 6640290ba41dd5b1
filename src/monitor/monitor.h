// SPDX-License-Identifier: Apache-2.0
/*
 * Monitoring: how the host, the models and the service were in the last hour, a sample every
 * MONITOR_STEP_MS.
 * (The devices' own samples are kept by gpu.h.) Nothing is measured here: the figures are those of
 * gpu, engines, dispatch and the gateway, but for the processor time of engines.
 *
 * Memory is bounded: a model has a series from when it first has an instance or a request, until it
 * was without both for an hour, and at most MONITOR_MODELS_MAX of them have one.
 *
 * Everything here is called on the loop.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/notify.h"
#include "dispatch/dispatch.h"
#include "engines/engines.h"
#include "gateway/gateway.h"
#include "gpu/gpu.h"
#include "models/models.h"
#include "monitor/service.h"
#include "tasks/tasks.h"

enum {
    MONITOR_STEP_MS = 10 * 1000,
    MONITOR_SPAN_MS = 60 * 60 * 1000,
    MONITOR_SAMPLES_MAX = MONITOR_SPAN_MS / MONITOR_STEP_MS,
    MONITOR_MODELS_MAX = 500,
};

struct monitor;

struct monitor_in {
    struct world *world;
    const struct gpu *gpu;
    const struct models *models;
    const struct engines *engines;
    const struct dispatch *dispatch;
    const struct gateway *gateway;
    const struct tasks *tasks; /* NULL: there are none (tests) */
    const char *proc;          /* where processes are looked at; NULL: "/proc" */
};

/* All that `in` points to must outlive the monitor. Its timer runs from now on. */
struct monitor *monitor_create(const struct monitor_in *in);
/* Accepts NULL, returns NULL. */
struct monitor *monitor_destroy(struct monitor *m);

/* A model in one step: what was asked and ended in it, and how it was at its end. */
struct monitor_sample {
    int64_t wall_ms;
    uint32_t requests, errors;
    uint64_t total_response_ms;
    uint32_t active;       /* requests in flight */
    uint64_t memory_bytes; /* measured, of all its instances; 0: not measured */
    float cpu_percent;     /* of one core */
    float gpu_percent;     /* of the devices that it lies on, in the mean */
};

/* What was asked of a model since a moment, to this very moment. */
struct monitor_window {
    int64_t from_wall_ms, to_wall_ms; /* from: later than asked for when nobody watched then */
    uint64_t requests, errors, total_response_ms;
};

/* The oldest is 0; NULL beyond the last. Void after the turn. Never older than MONITOR_SPAN_MS. */
const struct gpu_host *monitor_host_at(const struct monitor *m, size_t i);
const struct service_sample *monitor_service_at(const struct monitor *m, size_t i);
const struct monitor_sample *monitor_model_at(const struct monitor *m, int64_t model_id, size_t i);
struct monitor_window monitor_model_window(const struct monitor *m, const struct model *model,
                                           int64_t since_wall_ms);

/* Emits const struct service_sample * at the end of every step, when all of it is kept. */
struct notify *monitor_signal(struct monitor *m);
