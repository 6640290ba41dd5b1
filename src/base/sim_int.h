// SPDX-License-Identifier: Apache-2.0
/* The simulated world's inside. */
#pragma once

#include "base/sim.h"
#include "base/world_int.h"

struct sim_program_entry {
    struct list node;
    char *suffix;
    const struct sim_program *program;
    void *context;
};

struct sim_world {
    struct world base;
    uint64_t now_us;    /* virtual, monotonic; starts at one hour so that "now - x" never wraps */
    uint64_t random[2]; /* xorshift128+ */
    uint64_t latency_ms;
    struct list programs, processes, listeners;
    pid_t next_pid;
    uint16_t next_port;
    bool stopping;
};

static inline struct sim_world *sim_of(struct world *w)
{
    return container_of(w, struct sim_world, base);
}

extern const struct stream_world_ops sim_stream_ops;
extern const struct process_ops sim_process_ops;
