// SPDX-License-Identifier: Apache-2.0
/* What a real and a simulated world share: the timer heap, the posted calls, and the tables of what
 * differs. */
#pragma once

#include "base/heap.h"
#include "base/list.h"
#include "base/process.h"
#include "base/stream.h"
#include "base/worker.h"
#include "base/world.h"

struct world_ops {
    void (*destroy)(struct world *w);
    void (*run)(struct world *w);
    void (*stop)(struct world *w);
    uint64_t (*now_ms)(struct world *w);
    uint64_t (*now_us)(struct world *w);
    int64_t (*wall_ms)(struct world *w);
    void (*random)(struct world *w, void *out, size_t n);
    /* The earliest timer or the list of posted calls changed. */
    void (*wake)(struct world *w);
    void (*on_signal)(struct world *w, int signum, void (*fn)(void *, int), void *arg);
    const struct worker_ops *workers;
    const struct process_ops *processes;
    const struct stream_world_ops *streams;
};

/* First member of every worker. */
struct worker {
    struct world *world;
    struct worker_options options;
    size_t queued; /* submitted, done not yet called */
};

struct worker_ops {
    struct worker *(*create)(struct world *w, const struct worker_options *options);
    void (*destroy)(struct worker *worker);
    void (*abandon)(struct worker *worker);
    void (*submit)(struct worker *worker, struct job *job);
};

struct process_ops {
    int (*spawn)(struct world *w, const struct spawn_spec *spec, struct process *p,
                 struct error *reterr);
    int (*adopt)(struct world *w, struct process *p, struct error *reterr);
    int (*signal)(struct process *p, int signum);
    void (*forget)(struct process *p); /* frees p */
    int (*scan)(struct world *w, const char *variable, process_found_fn found, void *arg);
    int (*kill)(struct world *w, struct process_id id, int signum);
};

struct process {
    struct world *world;
    struct process_id id;
    process_exit_fn on_exit;
    void *owner;
    bool child; /* ours: waitid tells how it ended */
    void *impl;
};

struct stream_ops {
    void (*read_start)(struct stream *s);
    void (*read_stop)(struct stream *s);
    void (*write)(struct stream *s, const void *p, size_t n);
    size_t (*queued)(const struct stream *s);
    void (*close)(struct stream *s);
    void (*close_flushed)(struct stream *s, uint64_t limit_ms);
};

struct stream {
    const struct stream_ops *ops;
    const struct stream_handler *handler;
    void *owner;
    struct address peer;
};

/* connect takes names, and leaves where->tls to base/tls.c (or refuses it). */
struct stream_world_ops {
    int (*listen)(struct world *w, const struct address *where, stream_accept_fn on_stream,
                  void *owner, struct stream_listener **ret, struct address *ret_bound,
                  struct error *reterr);
    void (*pause)(struct stream_listener *l, bool paused);
    void (*close_listener)(struct stream_listener *l);
    struct stream_connecting *(*connect)(struct world *w, const struct address *where,
                                         stream_connect_fn on_connect, void *owner);
};

/* First member of every listener. */
struct stream_listener {
    struct world *world;
};
/* Stands in everything that connects; the plain connection of TLS is one within another. */
struct stream_connecting {
    void (*cancel)(struct stream_connecting *c);
};

struct posted {
    struct list node;
    void (*fn)(void *arg);
    void *arg;
};

struct world {
    const struct world_ops *ops;
    struct heap timers;
    uint64_t timer_seq;
    struct list posted;
    const char *last_name; /* of what ran last in this turn */
    struct tls *tls;       /* of base/tls.c; NULL until the first connection */
};

void world_init(struct world *w, const struct world_ops *ops);
void world_finish(struct world *w);
/* When the earliest timer is due, UINT64_MAX when none. */
uint64_t world_next_due(const struct world *w);
/* Runs what was posted before the call, and the timers due by now_ms. Tells whether anything ran.
 */
bool world_run_due(struct world *w, uint64_t now_ms);
/* Takes a job that has run off its worker's count and calls its done. */
void worker_finish_job(struct job *job);
