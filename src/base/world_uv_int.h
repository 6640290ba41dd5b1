// SPDX-License-Identifier: Apache-2.0
/* The real world's inside: what its clock, workers, processes and streams share. */
#pragma once

#include <pthread.h>
#include <uv.h>

#include "base/world_int.h"

enum { READ_BUFFER_SIZE = 64 * 1024 };

struct uv_world {
    struct world base;
    uv_loop_t loop;
    uv_timer_t timer;     /* the earliest of base.timers … */
    uint64_t armed_ms;    /* … which is due then; UINT64_MAX while it is not armed */
    uv_idle_t idle;       /* runs while something is posted or due: the poll does not wait */
    uv_prepare_t prepare; /* before the poll: due things, then flush */
    uv_check_t check;     /* after the poll: flush */
    uv_async_t async;     /* jobs are done */
    struct list signals;
    struct list dirty;     /* streams with bytes to send */
    struct list lingering; /* streams without an owner that send their rest */
    unsigned resolving;    /* look-ups of names that libuv has */
    pthread_mutex_t done_lock;
    struct list done; /* jobs that have run */
    char read_buffer[READ_BUFFER_SIZE];
};

static inline struct uv_world *uv_world_of(struct world *w)
{
    return container_of(w, struct uv_world, base);
}

extern const struct worker_ops uv_worker_ops;
extern const struct process_ops uv_process_ops;
extern const struct stream_world_ops uv_stream_ops;

/* Sends what streams have queued. */
void uv_streams_flush(struct uv_world *w);
/* Closes those that only send their rest. */
void uv_streams_abandon(struct uv_world *w);
/* Calls done of the jobs that have run. */
void uv_workers_collect(struct uv_world *w);
