// SPDX-License-Identifier: Apache-2.0
/*
 * Inside the simulator. A run is one struct sim_run: the rooms of the daemon in a simulated world
 * (house.c), the children that stand for engines (child.c), the requests and the clock (run.c), and
 * what is counted of them (figures.c).
 */
#pragma once

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/notify.h"
#include "base/sim.h"
#include "base/world.h"
#include "dispatch/dispatch.h"
#include "engines/engines.h"
#include "events/events.h"
#include "gpu/gpu.h"
#include "models/models.h"
#include "placement/placement.h"
#include "simulate/engine.h"
#include "simulate/simulate.h"

enum {
    SIM_KINDS_MAX = 16,
    SIM_OPTIONS_MAX = 64,
    SIM_MOMENTS = 60,
    SIM_ATTEMPTS = 2, /* as gateway.max_attempts: of one whose engine ended before a word */
    SIM_UNLIMITED_OUTPUT = 256 /* counted for a request that names no limit, as the gateway does */
};

/* ---- fleet.c ---- */

struct fleet_kind { /* so many chips of one kind */
    struct preset_chip chip;
    unsigned count;
};

struct fleet_model {
    char name[PRESET_NAME_MAX];
    struct preset_model model;
    int engine, format, kv;
    struct planner_plan plan;
    unsigned max_sequences, step_tokens, block_tokens;
    bool prefix_cache;
    double kv_tokens;    /* 0: what memory is left for */
    double memory_share; /* of each device */
    double load_gbps, start_s;
    unsigned output_limit; /* that requests name; 0: none */
    double share;          /* of the requests of a trace that names no models */
    json_t *definition;    /* what the catalogue is given; owned */
};

struct fleet {
    struct fleet_kind kinds[SIM_KINDS_MAX];
    unsigned kind_count, devices;
    struct fleet_model *models;
    size_t model_count;
    char strategy[64]; /* "": as the options say */
    double slo_ttft_s, slo_tpot_s;
    char *options[SIM_OPTIONS_MAX + 1]; /* "BERTH_GATEWAY_MAX_QUEUE=5"; owned, ends with NULL */
};

/* Which kind the device of this index is of. */
const struct fleet_kind *fleet_kind_of(const struct fleet *f, unsigned device);
unsigned fleet_model_devices(const struct fleet_model *m);
/* The options of the daemon as the fleet sets them. */
int fleet_config(const struct fleet *f, struct config **ret, struct error *reterr) _must_check_;

/* ---- a run ---- */

struct sim_child;

enum sim_ask_state { ASK_AHEAD, ASK_WAITS, ASK_RUNS, ASK_ANSWERED, ASK_REFUSED };

/* A request of the trace. Times are those of the world; 0: not yet. */
struct sim_ask {
    struct sim_run *run;
    struct ticket *ticket;
    struct sim_child *child; /* while it runs */
    uint64_t at_us, granted_us, first_us, done_us;
    uint32_t tokens, cached_tokens; /* that came; of its prompt, found */
    uint16_t model;                 /* of the fleet */
    uint8_t state, attempts;
};

/* A child that stands for an engine: it loads, answers probes, and works. */
struct sim_child {
    struct heap_node next;
    struct list node;
    struct sim_run *run;
    struct sim_process *process;
    struct stream_listener *listener;
    struct list conns;
    struct timer loads;
    uint64_t serial, ready_us, next_us;
    size_t model; /* of the fleet */
    char uuid[UUID_SIZE];
    struct sim_engine *engine;
    double kv_tokens;
    bool loaded;
};

struct sim_model_state {
    int64_t id; /* of the catalogue */
    struct step_times *times[SIM_KINDS_MAX];
    double kv_tokens[SIM_KINDS_MAX];
    uint64_t load_ms[SIM_KINDS_MAX];
    /* Of instances that have ended; those that live are added at the end. */
    double busy_us, alive_us, kv_token_us, kv_room_us;
    uint64_t swaps, preemptions, loads, engine_preemptions;
};

struct sim_run {
    const struct simulation *in;
    const struct fleet *fleet;
    char dir[64];
    int back; /* the folder that was the working directory before */
    struct world *world;
    struct config *config;
    struct store *store;
    struct metrics *metrics;
    struct gpu *gpu;
    struct events *events;
    struct models *models;
    struct engines *engines;
    struct dispatch *dispatch;
    struct placement *placement;
    struct listener listeners[12];
    unsigned listener_count;
    struct sim_model_state *models_state; /* as the fleet's */
    struct list children_alive;
    struct map children; /* by uuid */
    struct heap next;    /* children that work, by when their step ends */
    uint64_t child_serial;
    size_t adding;        /* model of the fleet whose id is not known yet */
    struct error trouble; /* of a child, in a place where nobody can be told */

    struct sim_ask *asks;
    size_t ask_count, asked, ended;
    uint64_t began_us, last_us;
    unsigned running, waiting;
    struct sim_moment moments[SIM_MOMENTS]; /* running and waiting, as they were then */
};

/* ---- house.c ---- */

/* Builds everything and loads what is to stand at the beginning. On failure, too, house_close is
 * owed. */
int house_open(struct sim_run *run, struct error *reterr) _must_check_;
void house_close(struct sim_run *run);

/* ---- child.c ---- */

void children_install(struct sim_run *run);
struct sim_child *child_find(struct sim_run *run, const char *uuid);
/* The time of its next step has changed. */
void child_moved(struct sim_child *c);
/* What it has done so far is added to its model's state. */
void child_count(struct sim_child *c);
/* Step times and the room of the cache, of a model on a kind of chip; worked out once. */
int run_prepare(struct sim_run *run, struct error *reterr) _must_check_;

/* ---- run.c ---- */

/* Plays the whole trace. -EINTR: go_on said so. */
int run_trace(struct sim_run *run, struct error *reterr) _must_check_;
extern const struct sim_engine_events run_events;
/* All that is still under way is dropped. */
void run_drop(struct sim_run *run);
/* The engine is gone: those that ran there ask again, or are lost. */
void run_lose(struct sim_run *run, struct sim_child *c);

/* ---- figures.c ---- */

void figures_make(struct sim_run *run, struct sim_result *ret);
