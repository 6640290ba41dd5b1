// SPDX-License-Identifier: Apache-2.0
/*
 * The simulated world: a virtual clock that jumps to the next thing due, randomness from a seed,
 * streams that are memory, children that are scripted in the test, workers that run inline. The
 * same seed gives the same run.
 */
#pragma once

#include "base/list.h"
#include "base/process.h"
#include "base/stream.h"
#include "base/world.h"

struct world *sim_create(uint64_t seed); /* world_destroy ends it */

/* Runs everything due within the next ms of virtual time, then stands there. */
void sim_run_for(struct world *w, uint64_t ms);
/* Runs until pred(arg) or until limit_ms of virtual time have passed; tells whether pred came true.
 */
bool sim_run_until(struct world *w, bool (*pred)(void *arg), void *arg, uint64_t limit_ms);
/* For who moves the clock himself: when the world has something to do next, in microseconds of
 * virtual time (UINT64_MAX: nothing), and running all that is due by then, to stand there. */
uint64_t sim_next_due_us(struct world *w);
void sim_run_to_us(struct world *w, uint64_t at_us);
/* Latency of each delivery on a simulated connection: evenly from 0 to max_ms (0 at first). */
void sim_set_latency(struct world *w, uint64_t max_ms);

/* Scripted children. */
struct sim_process;

struct sim_program {
    /* The child begins: p->user is the script's own. Returns negative errno to fail the spawn
     * itself. */
    int (*start)(struct sim_process *p, const struct spawn_spec *spec);
    /* A signal other than KILL; by default (NULL) it ends the child by that signal. */
    void (*on_signal)(struct sim_process *p, int signum);
    /* The child ends, for whatever reason: frees p->user. May be NULL. */
    void (*finish)(struct sim_process *p);
};

struct sim_process {
    struct list node;
    struct world *world;
    const struct sim_program *program;
    struct process_id id;
    char **env;
    struct process *watcher; /* who is told of the end */
    void *context;           /* given with the program */
    bool ended;
    struct process_exit how; /* once ended */
    void *user;
};

/* What a spawn whose argv[0] or any later word ends with `suffix` runs. */
void sim_set_program(struct world *w, const char *suffix, const struct sim_program *program,
                     void *context);
/* The context given with the program that p runs. */
void *sim_process_context(const struct sim_process *p);
void sim_process_exit(struct sim_process *p, int code, int signal);
/* How many simulated children live. */
size_t sim_live_processes(struct world *w);
