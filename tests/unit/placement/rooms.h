// SPDX-License-Identifier: Apache-2.0
/*
 * The rooms around placement as a few lines each, in a simulated world: a catalogue, engines that
 * load, drain and stop, devices whose used memory follows the engines (some free it late), and who
 * asks for what. Store and events are the real ones. What must always hold is checked when an
 * engine starts: its devices really have that much memory left.
 */
#pragma once

#include "unit.h"

#include <stdbool.h>

#include "base/sim.h"
#include "placement/placement.h"

enum { ROOMS_MODELS = 8, ROOMS_DEVICES = 4, ROOMS_ENGINES = 256 };
#define GB 1000000000ULL

struct fake_model {
    struct model model;
    struct model_config config;
    char name[16];
    bool exists;
    unsigned waiting; /* requests that wait for it */
    uint64_t waiting_since_ms;
    /* Of the engines that are started from now on: */
    struct memory_need need;
    uint64_t need_after_ms; /* until it is known */
    int64_t more_bytes;     /* than its place they take, of each device; less than nothing: less */
    bool measured;          /* and that is told, once they are ready */
    uint64_t load_ms, linger_ms;
    unsigned out_of_memory; /* so many starts will end for want of memory */
};

struct fake_engine {
    struct instance pub; /* state INSTANCE_STATE_MAX_: the slot is free */
    bool wanted_gone;
    unsigned in_flight;
    uint64_t drain_until_ms;
    struct timer timer, need_timer;
};

struct fake_device {
    struct gpu_device seen; /* as it was read last */
    uint64_t foreign_bytes; /* really */
    uint64_t total_bytes;
    bool cpu;
    uint64_t reading_bytes; /* used, when the reading that is under way began */
};

struct rooms {
    struct world *world;
    struct store *store;
    struct events *events;
    struct config *config;
    struct placement *placement;
    struct fake_model models[ROOMS_MODELS];
    struct fake_engine engines[ROOMS_ENGINES];
    struct fake_device devices[ROOMS_DEVICES];
    unsigned device_count;
    bool no_gpu, not_ready;
    bool untold;    /* devices do not tell whose memory it is */
    bool late_load; /* what loads takes its memory at the end */
    unsigned made;  /* engines so far */
    uint64_t probe_interval_ms;
    char log[16384];       /* "load a, displace b, free b …" */
    unsigned updates;      /* definitions saved */
    char events_log[8192]; /* kinds and subjects */
    struct listener listener;
};
extern struct rooms rooms;

/* Models "a", "b" … of ids 1, 2 …, which need bytes on one device. */
void rooms_open(uint64_t seed, unsigned devices, uint64_t device_bytes);
void rooms_close(void);
/* Builds placement; options as "BERTH_PLACEMENT_…=…", NULL-terminated, may be NULL. */
void rooms_start(const char *const *environ_);
/* As after a restart of berth: what runs is known anew. */
void rooms_restart(const char *const *environ_);

struct fake_model *rooms_model(int64_t id, uint64_t bytes, int priority);
void rooms_want(int64_t id, bool wanted, enum model_wish by);
void rooms_delete(int64_t id);
struct fake_engine *rooms_engine(int64_t id); /* the first of it, NULL */
bool rooms_is_ready(int64_t id);
void rooms_fail(
    int64_t id); /* its definition is none any more: it waits no longer, it has failed */
void rooms_demand(int64_t id, unsigned waiting); /* so many requests wait */
uint64_t rooms_used(unsigned device);            /* really */
void rooms_run(uint64_t ms);
bool rooms_logged(const char *text);
