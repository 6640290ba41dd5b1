// SPDX-License-Identifier: Apache-2.0
/*
 * A house for the queue: a simulated world, a store, models, and a runner that does what the test
 * says. Every run is noted; what a runner must never see (two attempts of one fence, a slot used
 * after its end) fails at once.
 */
#pragma once

#include "unit.h"

#include "base/sim.h"
#include "tasks/tasks.h"

enum { HOUSE_SLOTS = 512, HOUSE_RUNS = 20000 };

struct house_slot {
    struct task_slot *slot; /* NULL: free */
    bool granted, running;
    int64_t id, fence;
};

struct house {
    struct world *w;
    struct store *store;
    struct events *events;
    struct models *models;
    struct metrics *metrics;
    struct config *config;
    struct tasks *t;
    char dir[64], path[96];

    /* The runner: what reserve says (1, 0, negative); what happens with each slot. */
    int reserve_says;
    bool adopts, leaves;
    char instance[UUID_SIZE];
    struct house_slot slots[HOUSE_SLOTS];
    unsigned running, most_running, cancels, reserves;
    struct {
        int64_t id, fence;
    } runs[HOUSE_RUNS];
    size_t run_count;

    /* What was answered last, and how often. */
    unsigned answers;
    int result;
    char error[480];
    int64_t id;
    enum task_state state;
    struct task_details d; /* of the last house_get */
    struct task_wait wait;
    struct listener listener, on_models;
    char story[4096]; /* "1:new>pending 1:pending>running …" while told */
    bool tells;
};

extern const struct task_runner house_runner;

/* yaml: of the file, or NULL. In a file of its own when on_disk. */
void house_open(struct house *h, const char *yaml, bool on_disk);
void house_close(struct house *h);
/* Ends the queue and the store, and begins anew with what is stored. Slots are forgotten. */
void house_restart(struct house *h, bool drained);
/* A model that is online. */
int64_t house_model(struct house *h, const char *name, int workers);
void house_model_status(struct house *h, int64_t id, enum model_status status);
void house_remove_model(struct house *h, int64_t id);

void house_settle(struct house *h);
/* Submits and settles; the id, or the negative errno. */
int64_t house_submit(struct house *h, int64_t model, unsigned priority);
int64_t house_order(struct house *h, const struct task_order *order);
void house_grant_all(struct house *h);
struct house_slot *house_find(struct house *h, int64_t id);
void house_done(struct house *h, int64_t id, const struct task_result *result);
void house_complete(struct house *h, int64_t id, const char *output);
/* The state of a row in the store, -1 when there is none; and one number of it. */
int house_state(struct house *h, int64_t id);
int64_t house_number(struct house *h, const char *sql, int64_t arg);
/* Every counter equals what counting the rows gives. */
void house_check_counts(struct house *h);
/* Reads it into h->d; false: there is none. */
bool house_get(struct house *h, int64_t id);
void house_done_fn(void *arg, int result, const struct task *task, const struct error *e);
