// SPDX-License-Identifier: Apache-2.0
/*
 * A house for the planner's jobs: the queue, a store, this room, in the real world (searches run on
 * threads) or the simulated one (each within a turn). A search does what it really does, and waits
 * before that as long as the test holds it.
 */
#pragma once

#include "unit.h"

#include <stdatomic.h>

#include "base/sim.h"
#include "evaluations/evaluations.h"

enum { HOUSE_TOLD = 4096 };

struct house {
    struct world *w;
    bool real;
    const char *vfs;
    char dir[64], path[96];
    struct config *config;
    struct store *store;
    struct events *events;
    struct models *models;
    struct metrics *metrics;
    struct tasks *t;
    struct evaluations *v;
    struct listener on_task, on_state, on_models;

    /* What was answered last, and how often. */
    unsigned answers;
    int result;
    json_t *answer; /* owned */
    char field[PRESET_NAME_MAX], error[480];
    /* What was told live: "ID:status@progress " of each. */
    char told[HOUSE_TOLD];
    unsigned told_count;
    double least, most; /* progress of running ones between 0 and 100 that was told */
};

/* Searches wait while it is set, asking whether to go on, at half their way. */
extern atomic_bool house_hold;
extern atomic_uint house_searches; /* that are at it now */
extern atomic_uint house_asked;    /* how often they asked */

void house_open(struct house *h, bool real, const char *yaml, const char *vfs);
void house_close(struct house *h);
/* Ends all and begins anew with what is stored; drained: as a good end does. */
void house_restart(struct house *h, bool drained);
/* The ends without a store's close being good: what a power cut leaves. */
void house_stop(struct house *h);
int house_start(struct house *h);

/* Runs until fn says so; fails after 20 s. */
void house_until(struct house *h, bool (*fn)(struct house *h));
void house_settle(struct house *h);                 /* a few turns, and what they write */
void house_wait(struct house *h, unsigned answers); /* until so many were given in all */
void house_done(void *arg, int result, json_t *answer, const char *field, const struct error *e);

/* The contract's own request under this name; owned by the caller. */
json_t *house_body(const char *name);
/* Submits and waits: the task's id (in a buffer of the house's own, good for 64 calls), or NULL. */
const char *house_submit(struct house *h, const char *name);
const char *house_submit_body(struct house *h, json_t *body);   /* takes it over */
const char *house_status(struct house *h, const char *task_id); /* "" when there is none */
void house_until_status(struct house *h, const char *task_id, const char *status);
/* A number out of the store; sql may have one text parameter. */
int64_t house_number(struct house *h, const char *sql, const char *arg);
char *house_text(struct house *h, const char *sql, const char *arg); /* owned; NULL */
void house_write(struct house *h, const char *sql);
/* Whatever is counted equals what stands; no row belongs to nothing. */
void house_check(struct house *h);
