// SPDX-License-Identifier: Apache-2.0
/*
 * A house for batches: a simulated world, a store on a disk that can lose power, the queue, a
 * model, and an engine that answers each request as its own body says:
 *
 *     {"model":"m","n":7}                       200 {"n":7}
 *     {"model":"m","n":7,"status":400}          refused with that status, and a body
 *     {"model":"m","n":7,"dead":true}           fails for good, without an answer
 */
#pragma once

#include "unit.h"

#include "../store/crash_vfs.h"
#include "base/buf.h"
#include "base/sim.h"
#include "tasks/batches.h"
#include "tasks/webhooks.h"

struct house {
    struct world *w;
    struct crash_disk *disk;
    struct store *store;
    struct events *events;
    struct models *models;
    struct metrics *metrics;
    struct config *config;
    struct tasks *tasks;
    struct batches *b;
    struct webhooks *hooks;
    struct listener on_task, on_batch, on_model;
    char dir[64], cwd[512];

    /* The engine. */
    unsigned places; /* at once; 0: it takes nothing */
    bool holds;      /* it answers nobody */
    struct list runs;
    unsigned running, answered;

    /* What was answered last. */
    int result; /* 1: nothing yet */
    char error[480], id[48], content_text[64];
    struct batch batch; /* its texts are void, but for: */
    char errors[65536];
    struct batch_file file;
    char filename[300];
    char ids[64][48];
    size_t count;
    bool more;
};

void house_open(struct house *h, const char *yaml);
void house_close(struct house *h);
/* Everything down and up again; with a cut of the power in between when the disk lost it. */
void house_down(struct house *h);
void house_up(struct house *h);
void house_restart(struct house *h);
void house_settle(struct house *h);

/* Each settles, and returns the result; ids are in h->id. */
int house_add_file(struct house *h, const char *text, size_t n);
int house_submit(struct house *h, const char *file, const char *window);
enum batch_state house_state(struct house *h, const char *batch);
/* Until it has ended, or limit_ms are over. */
enum batch_state house_finish(struct house *h, const char *batch, uint64_t limit_ms);
int house_cancel(struct house *h, const char *batch);
int house_get_file(struct house *h, const char *file);
int house_remove_file(struct house *h, const char *file);
/* The whole file, the caller's; NULL when there is none. */
char *house_content(struct house *h, const char *file);
int64_t house_number(struct house *h, const char *sql);
size_t house_count_files(struct house *h); /* that lie on the disk */

/* The input of n requests: every seventh is refused with 400, every eleventh dies. */
void house_input(struct buf *out, int n);
void house_add_model(struct house *h, const char *name);
void house_remove_model(struct house *h, const char *name);
