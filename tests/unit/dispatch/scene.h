// SPDX-License-Identifier: Apache-2.0
/*
 * Dispatch in a simulated world, over a catalogue and engines that are a few lines: models 1, 2 and
 * 3, and instances that a test brings up and changes as it likes. Askers note what they were told.
 */
#pragma once

#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/sim.h"
#include "dispatch/dispatch.h"

enum { MODELS = 3, INSTANCES = 6, SLOTS = 2, ASKERS = 200 };

/* The rooms below, as far as dispatch looks at them. */
extern struct model models[MODELS]; /* model id - 1 */
extern struct model_config configs[MODELS];
extern bool model_exists[MODELS];
extern struct instance instances[INSTANCES];
extern bool instance_exists[INSTANCES];
extern int drained[INSTANCES]; /* how often the engines were told */

struct scene;

struct asker {
    struct scene *scene;
    struct ticket *ticket;
    char granted[UUID_SIZE]; /* "" while waiting */
    int refused;             /* negative errno */
    char reason[480];
    int64_t model_id;
    enum dispatch_rank rank;
    unsigned order; /* of asking */
    bool again;     /* asked again: the front of the line is out of the order of asking */
    uint64_t held_until_ms;
    uint64_t asked_ms, granted_ms;
    void (*on_granted)(struct asker *a); /* may be NULL */
    struct timer work;                   /* for tests in which askers work by themselves */
};

struct scene {
    struct world *w;
    struct config *config;
    struct metrics *metrics;
    struct dispatch *d;
    struct listener on_demand;
    unsigned demanded[MODELS]; /* how often */
    unsigned demand_waiting;   /* what was said last */
    struct asker askers[ASKERS];
    unsigned asked;
    unsigned last_granted[MODELS]
                         [RANK_MAX_]; /* order of the last grant: first come, first served */
};

/* env: "NAME=value", NULL-terminated; NULL: a line of at most 20. All models are wanted, none is on
 * demand. */
void open_scene_with(struct scene *s, uint64_t seed, const char *const *env);
void open_scene(struct scene *s, uint64_t seed);
void close_scene(struct scene *s);

/* What dispatch_acquire says. Rank and on_granted of the asker stay as they are. */
int ask(struct scene *s, struct asker *a, int64_t model_id);
int ask_what(struct scene *s, struct asker *a, struct dispatch_ask what);
/* Its instance lost the request: it is asked for again. */
int ask_again(struct scene *s, struct asker *a, bool unreachable);
void end(struct asker *a, enum outcome outcome);
/* asks, is granted at once, ends. */
void ask_and_end(struct scene *s, int64_t model_id, enum outcome outcome);

void tell(struct scene *s, int i, enum instance_state to, bool gone);
/* In state STARTING. */
void make_instance(struct scene *s, int i, int64_t model_id, unsigned slots);
void bring_up(struct scene *s, int i, int64_t model_id);
void tell_wanted(struct scene *s, int64_t model_id, bool wanted, enum model_wish by);
