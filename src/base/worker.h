// SPDX-License-Identifier: Apache-2.0
/*
 * Workers: threads for what blocks (SQL, big parses, files). A job carries its own data to the
 * thread and back; the thread touches nothing else of the house. In a simulated world jobs run
 * inline, in order, at the next turn.
 */
#pragma once

#include <stddef.h>

#include "base/list.h"
#include "base/world.h"

struct job {
    struct list node; /* the worker's while submitted, as is the next one */
    struct worker *worker;
    void (*run)(
        struct job *job); /* on the worker's thread; may be NULL when the worker has run_batch */
    void (*done)(struct job *job); /* afterwards on the loop; owns the job's memory again */
    /* Instead of done, on whatever thread, when the worker was abandoned meanwhile; may be NULL.
     * Owns the job's memory, and nothing else of the house may be there any more. */
    void (*lost)(struct job *job);
};

struct worker_options {
    const char *name;  /* a constant: thread name, "slow turn" lines */
    unsigned threads;  /* at least 1 */
    size_t max_queued; /* jobs submitted and not yet done */
    /* Instead of each job's run: one call for everything that waits (at most max_batch), on the one
     * thread. The list is the callee's to walk; it leaves the nodes in it. */
    void (*run_batch)(struct list *jobs, void *arg);
    void *arg;
    size_t max_batch; /* 0: no limit */
};

struct worker;

struct worker *worker_create(struct world *w, const struct worker_options *options);
/* Waits for the jobs that stand, runs their done, ends the threads. Accepts NULL, returns NULL. */
struct worker *worker_destroy(struct worker *worker);
/* The same without waiting, for jobs that may hang: runs done of those that have ended; what has
 * not is left to the thread, which ends by itself. Returns NULL. */
struct worker *worker_abandon(struct worker *worker);
/* -EAGAIN when max_queued jobs stand already (nothing happened). */
int worker_submit(struct worker *worker, struct job *job) _must_check_;
size_t worker_queued(const struct worker *worker);
