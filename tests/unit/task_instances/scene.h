// SPDX-License-Identifier: Apache-2.0
/*
 * Task Instances in a simulated world: a real queue in a store in memory, and fake instances that
 * are real HTTP servers there and do what the test says.
 */
#pragma once

#include "unit.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/sim.h"
#include "http/server.h"
#include "task_instances/task_instances.h"

enum { FAKES = 8, FAKE_TASKS = 512 };

struct fake_task {
    char name[64], our_id[UUID_SIZE];
    bool ended, failed;
};

struct fake {
    struct scene *scene;
    struct http_server *server; /* NULL: nothing listens */
    char host[32];
    const char *model, *name; /* name: instance_id; NULL: host */
    unsigned generation;      /* 2 or 3 */
    int replicas, queue_size; /* queue_size -1: what it has */
    double expected, error;
    int predict_status, enqueue_status; /* 0: 200 */
    bool mute;                          /* takes requests and never answers */
    bool mute_predict, mute_enqueue;
    size_t result_bytes; /* of each result; 0: a short one */
    bool forgetful;      /* knows nothing of its results */
    bool complete_first; /* tells of the completion before it answers the enqueue */
    struct fake_task tasks[FAKE_TASKS];
    unsigned count;
    unsigned asked_status, asked_predict, asked_info, asked_results;
    struct http_exchange *held; /* of mute_enqueue */
};

struct scene {
    struct world *w;
    struct store *store;
    struct events *events;
    struct models *models;
    struct metrics *metrics;
    struct config *config;
    struct tasks *tasks;
    struct task_instances *ti;
    struct listener on_task;
    struct fake fakes[FAKES];

    /* What was answered last. */
    unsigned answers, completions;
    int result;
    char uuid[UUID_SIZE], error[480];
    char task_id[UUID_SIZE], chosen[UUID_SIZE];
    double total_ms;
    struct task_details d;
    char output[256];
    char dir[64], path[96];
    bool failed_now;
};

/* yaml: the configuration, or NULL. */
void scene_open(struct scene *s, const char *yaml);
void scene_close(struct scene *s);
/* berth goes down and comes up again, with what is stored. */
void scene_restart(struct scene *s);
void run_for(struct scene *s, uint64_t ms);
/* Until one more answer has come. */
void wait_answer(struct scene *s, unsigned before);

void fake_up(struct scene *s, int i, const char *model);
void fake_down(struct scene *s, int i);
/* result as of task_instance_fn; s->uuid. */
int scene_register(struct scene *s, int i);
int scene_remove(struct scene *s, const char *uuid, bool drain);
/* 0 (s->task_id, s->chosen) or the negative errno (s->error). */
int scene_submit(struct scene *s, const char *model, const char *metadata);
/* The same under a name of the client's. */
int scene_submit_as(struct scene *s, const char *model, const char *metadata, const char *task_id);
int scene_complete(struct scene *s, const char *instance, const char *task, double ms,
                   const char *result);
/* Submits many at once ("many-N"), then completes them all. */
void scene_many(struct scene *s, const char *model, const char *instance, int from, int count);
/* The state of s->d.task; -1: there is none. */
int scene_query(struct scene *s, const char *task_id);
const struct task_instance *scene_instance(struct scene *s, int i);
/* Which fake has this uuid. */
int fake_of(struct scene *s, const char *uuid);
