// SPDX-License-Identifier: Apache-2.0
/*
 * Made-up devices in a simulated world, and the room of devices (gpu/gpu.h) that looks at them:
 * what is linked in place of the real one. What a device really holds is here (sim_machine); what
 * berth knows of it is a reading that was taken a moment ago (struct gpu).
 */
#pragma once

#include "base/list.h"
#include "gpu/gpu.h"

enum { SIM_DEVICES_MAX = 4 }; /* pids up to it are foreign processes: device + 1 */

/* Memory that is held on one device. */
struct sim_holding {
    struct list node;
    int64_t pid; /* 0: nobody's any more, it is not given back yet */
    bool ours;   /* of an engine */
    uint64_t bytes;
    uint64_t ended_ms; /* of one that is not given back yet: since then */
    struct timer end;
    struct sim_device *device;
};

struct sim_device {
    struct gpu_device facts; /* but its memory and processes */
    bool present;
    bool tells_bytes; /* of its processes */
    struct list holdings;
    struct sim_machine *machine;
};

struct sim_machine {
    struct world *world;
    unsigned count;
    struct sim_device devices[SIM_DEVICES_MAX];
    struct gpu_host host;
    uint64_t slowness_ms;                    /* a reading takes up to so long */
    struct gpu *gpu;                         /* berth's eyes, or NULL */
    bool (*is_ours)(void *arg, int64_t pid); /* as gpu_in has it; void while NULL */
    void *arg;
};

struct sim_machine *sim_machine_create(struct world *world);
/* One more device, of this size. */
struct sim_device *sim_machine_add(struct sim_machine *m, enum gpu_vendor vendor, uint64_t bytes);
struct sim_machine *sim_machine_destroy(struct sim_machine *m);
/* berth begins: it has looked at them once. gpu_destroy ends it. */
struct gpu *sim_gpu_open(struct sim_machine *m);

uint64_t sim_device_used(const struct sim_device *d);
uint64_t sim_device_free(const struct sim_device *d);
/* Of engines that have ended, not given back yet, since at most so long (0: however long). */
uint64_t sim_device_lingering(const struct sim_device *d, uint64_t within_ms);
/* False: there is not so much. */
bool sim_device_take(struct sim_device *d, int64_t pid, uint64_t bytes) _must_check_;
/* Everything that this process holds, on all devices, is given back after a while. */
void sim_machine_release(struct sim_machine *m, int64_t pid, uint64_t linger_ms);
/* What is not given back yet is, now. */
void sim_machine_flush(struct sim_machine *m);
