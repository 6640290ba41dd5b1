// SPDX-License-Identifier: Apache-2.0
/*
 * Engines: instances of models, their whole life, and the one place that changes it.
 *
 *     wanted model ──► WAITING ──► STARTING ──► READY ──► DRAINING ──► STOPPING ──► (gone)
 *                       ▲  ▲         │            │    (stop, restart, update)     │
 *                 delay │  │  failed │            │ crashed, hung                  │
 *                       │  │         ▼            ▼                                │
 *                       │  │        BACKOFF ◄─────┴── too often ──► FAILED         │
 *                       └──┼─────────┘                  (until start is asked again)
 *                          └──────────── moved aside (engines_displace) ───────────┘
 *
 * WAITING has no process and no memory: it waits until it is given its place (engines_place). Who
 * decides that is the room above (placement); when there is none
 * (engines_options_in.places_itself), an instance goes on by itself. Remote endpoints never wait.
 *
 * What failed but still has processes (hung, or workers that outlive their leader) passes through
 * STOPPING first: in BACKOFF and FAILED nothing of it lives. An instance that is stopped before it
 * was ready goes to STOPPING directly. One that drains and is wanted again returns to READY.
 *
 * An instance is first a row (uuid, model, epoch, socket, spec hash), committed; then a process,
 * started through `berth exec-engine`, which listens on instances/<uuid>/engine.sock below the data
 * directory and writes instances/<uuid>/engine.log. It carries BERTH_INSTANCE=<data-dir id>/<uuid>
 * in its environment. After a crash of berth the rows and the marked processes are brought together
 * again: what still lives and is still wanted as it is, is adopted; everything else that is marked
 * is killed. An instance keeps its uuid, row and log through its own restarts (BACKOFF); a restart
 * that is asked for, or a new definition, makes another instance once the old one is gone.
 *
 * A wanted model has config->replicas of them. A new definition that would change an engine's
 * command replaces it: at once where it is the only one, else one at a time, while all the others
 * serve; if the new one does not become ready, the others stay as they are. So does a restart that
 * is asked for.
 *
 * A remote endpoint is an instance without process, row, log and socket: STARTING asks it once,
 * READY goes on asking, BACKOFF waits for the next try, DRAINING goes straight away. Its failures
 * never make it FAILED, unless there is no way to ask (no key) or retry_policy is disabled: it
 * comes back by itself.
 *
 * Failures: the model's retry_policy says how often (max_attempts starts that did not last
 * engines.stable_after) and how fast; the first failure of one that was ready is retried at once.
 * What cannot get better by itself (no binary, no model file) is FAILED at once.
 *
 * Paths are relative to the data directory, which is berth's (and the engines') working directory,
 * so that socket paths stay short.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/notify.h"
#include "base/process.h"
#include "config/config.h"
#include "events/events.h"
#include "http/client.h"
#include "metrics/metrics.h"
#include "models/models.h"
#include "planner/need.h"
#include "store/store.h"

struct engines;
struct gpu;

extern const struct store_schema engines_schema;
extern const struct option_table
    engines_options; /* engines.llama_server, engines.start_timeout, engines.stop_grace,
                        engines.stall_timeout, engines.drain_timeout, engines.log_max … */

enum instance_state {
    INSTANCE_WAITING,  /* nothing runs; waits for its place */
    INSTANCE_STARTING, /* row committed or process loading; not routed to */
    INSTANCE_READY,    /* answers; routed to */
    INSTANCE_DRAINING, /* takes nothing new; what runs may end */
    INSTANCE_STOPPING, /* TERM sent, KILL follows after the grace */
    INSTANCE_BACKOFF,  /* no process; starts again at retry_at_ms */
    INSTANCE_FAILED,   /* no process; crash loop or cannot start at all; waits for a person */
    INSTANCE_STATE_MAX_,
};
const char *instance_state_name(enum instance_state s); /* "starting" … */

/* A read-only view; good until the turn ends. */
struct instance {
    char uuid[UUID_SIZE];
    int64_t model_id;
    int64_t model_epoch; /* of the definition that it runs */
    enum instance_state state;
    struct process_id process; /* pid 0 while there is none */
    struct address address;    /* where the engine listens; all 0 while WAITING */
    char log_path[96];
    unsigned replica;  /* which of the model's: 0 … replicas-1 */
    unsigned slots;    /* requests the engine works on at once; 0 until known */
    unsigned weight;   /* for the strategy `weighted`; at least 1 */
    bool remote;       /* an endpoint elsewhere: no process, log or socket of ours */
    bool sleeping;     /* READY, its memory given back; the next request wakes it */
    unsigned restarts; /* since it was last ready for a while, or asked to start */
    bool adopted;
    uint64_t state_since_ms;    /* world_now_ms */
    int64_t started_wall_ms;    /* of the process */
    uint64_t ready_in_ms;       /* how long loading took; 0 until ready */
    uint64_t retry_at_ms;       /* BACKOFF: world_now_ms of the next try */
    int64_t last_probe_wall_ms; /* last good answer of a health probe, 0 none */
    char *last_error;           /* why it last failed, with the engine's last words; NULL */
    struct place place; /* from engines_place until WAITING again; kept over restarts of berth */
    bool displaced;     /* DRAINING, STOPPING, WAITING: moved aside (engines_displace) */
    uint64_t waiting_since_ms; /* WAITING: world_now_ms since when it waits for room, back-offs
                                  included */
    unsigned out_of_memory;    /* starts in a row that ended for want of memory */
    bool need_known;           /* else `need` is not known yet: the model's file is being read */
    struct memory_need need;   /* of the definition as it is now */
    struct place taken; /* what it really takes, as measured last; count 0: not measured yet */
};

struct engines_options_in {
    struct world *world;
    const struct config *config;
    struct store *store;
    struct events *events;
    struct models *models;
    struct metrics *metrics;
    const struct gpu *gpu; /* the devices; NULL: those that the kernel shows, in number only */
    const char *data_id;   /* of the data directory */
    const char *self_path; /* our own executable, for exec-engine */
    bool places_itself;    /* nobody calls engines_place: instances do not wait */
    const char *proc_path; /* of processes and the kernel; NULL: /proc */
};

/* Hears models_signal by itself: what is wanted is started, what is not any more is stopped, what
 * was changed is replaced. */
struct engines *engines_create(const struct engines_options_in *in);
/* After the models are loaded, before the loop runs: reads the rows, scans the processes, adopts or
 * kills, then starts what is wanted. */
int engines_recover(struct engines *e, struct error *reterr) _must_check_;
/* New option values (reload). */
void engines_reconfigure(struct engines *e, const struct config *config);
/* Ready engines whose health is probed at all are probed at least so often from now on, whatever
 * their models say; 0: as they say. */
void engines_set_probe_interval(struct engines *e, uint64_t interval_ms);
/* SIGTERM of berth: stop every engine (drained); done(arg) when no marked process is left. */
void engines_stop_all(struct engines *e, void (*done)(void *arg), void *arg);
/* Lets go of everything, leaving the processes as they are. */
struct engines *engines_destroy(struct engines *e);

/* What it was made with, for gpus_of. */
const struct gpu *engines_gpu(const struct engines *e);

/* Checks what only the engine's driver can check: parameters, and what this machine has for them
 * (the server binary, the model file, devices, keys). Adds to v. */
void engines_validate(struct engines *e, const struct model_config *config, struct validation *v);
/* The part of it that is wrong wherever and whenever it runs, an unknown framework and a secret in
 * the open included: such a definition is not to be stored. */
void engines_check(const struct config *config, const struct model_config *model,
                   struct validation *v);
/* Is there a driver for this framework word? Canonical name ("llamacpp"), or NULL. */
const char *engines_driver_name(const char *framework);

/* Starts a new round for the model's FAILED and BACKOFF instances, now ("start" of a model that is
 * wanted already). */
void engines_retry(struct engines *e, int64_t model_id);
/* 1: the wanted model is as it shall be: every replica of its present definition is ready, and none
 * of an earlier definition or restart is left. 0: not yet, or not wanted. -ESRCH: a replica has
 * failed for good, with the reason. */
int engines_settled(const struct engines *e, int64_t model_id, struct error *reterr) _must_check_;
/* Stops and starts the instance(s) of a wanted model, drained. */
void engines_restart(struct engines *e, int64_t model_id);

/* ---- places and memory ---- */

/* The WAITING instance gets this place (copied) and starts. Nothing, when it is not WAITING any
 * more or is about to go, or its model has a newer definition than the one whose need it tells. */
void engines_place(struct engines *e, const char *uuid, const struct place *place);
/* Moves it aside: what runs may end within grace_ms (0: engines.drain_timeout), then it is stopped
 * and WAITING again; one that is still loading is stopped at once. It is not un-drained by demand.
 * Nothing, when it is WAITING or ends anyway. `why` is for people and copied. */
void engines_displace(struct engines *e, const char *uuid, uint64_t grace_ms, const char *why);
/* The WAITING instance counts as moved aside: it was when an earlier berth ran. */
void engines_note_displaced(struct engines *e, const char *uuid);
/* What a definition needs, with what was measured of it before: done comes once, in a later turn.
 * -EINVAL and the like with the reason when its file cannot be read (need then is what is
 * declared); -ECANCELED from engines_destroy. config is borrowed for the call. */
typedef void (*engines_need_fn)(void *arg, int result, const struct memory_need *need,
                                const struct error *e);
void engines_estimate(struct engines *e, const struct model_config *config, engines_need_fn done,
                      void *arg);

/* Instances in the order of their making; NULL at the end; *cursor starts at 0. */
const struct instance *engines_next(const struct engines *e, size_t *cursor);
const struct instance *engines_find(const struct engines *e, const char *uuid);
/* The best of the model's instances (ready first, then starting, then whatever), or NULL. */
const struct instance *engines_of_model(const struct engines *e, int64_t model_id);
/* How an instance is reached. All of it is good until the turn ends. */
struct engine_route {
    struct http_upstream *upstream; /* the pool of connections to it */
    const char *base_path; /* to stand in a path instead of its leading "/v1"; NULL: paths are as
                              they are */
    const char *headers;   /* header lines to add (a key): a secret; NULL: none */
    const char *model;     /* the name to put into a body's `model`; NULL: any will do */
    bool remote;
};
/* False when it is not there, or has no process. */
bool engines_route(struct engines *e, const char *uuid, struct engine_route *ret) _must_check_;
enum { ENGINE_PATH_MAX = 2048 };
/* The path as this engine wants it, into out. -ENAMETOOLONG. */
int engine_route_path(const struct engine_route *route, struct span path,
                      char out[ENGINE_PATH_MAX]) _must_check_;

/* dispatch says that a draining instance has nothing in flight any more. */
void engines_drained(struct engines *e, const char *uuid);
/* Liveness is judged by progress. The gateway tells when it gives an instance a request (+1) and
 * when that has ended (-1); `streams`: its bytes are to come one by one. An instance that works on
 * something and gets nowhere for engines.stall_timeout is hung, whatever its health probe says. */
void engines_note_work(struct engines *e, const char *uuid, int change, bool streams);
/* Bytes of an answer came. */
void engines_note_progress(struct engines *e, const char *uuid);

/* Asks the engine now, as its health probe does; done gets 0 when it is well, with status and body,
 * or the error; -EPROTO comes with status and body too: it answered, but not well. */
void engines_probe(struct engines *e, int64_t model_id, http_fetch_fn done, void *owner);
/* The last lines of the engine's own log (at most max_bytes), owned by the caller; NULL when there
 * is none. */
char *engines_log_tail(struct engines *e, const char *uuid, size_t max_bytes);

/* To be connected to the models' signal by daemon/wiring.c: what is wanted may have changed. */
void engines_on_model(void *engines, const void *model_change);

/*
 * Emits const struct instance_change * for every new instance (made; from and to are equal) and at
 * every state change, from within the turn in which it happens; and, from and to the same state,
 * when a ready engine tells another number of slots than before or that it sleeps, when its need
 * became known or another, and when its memory was measured. What a change promises is committed
 * before it (the row before the process); what it states as a fact (it answers, it died) is told at
 * once, and its row and event follow: nobody shall be sent to an engine that is dead. Listeners may
 * call engines_drained, engines_note_progress and engines_note_displaced from inside, nothing else
 * that changes an instance.
 */
struct instance_change {
    const struct instance *instance;
    enum instance_state from, to;
    bool made; /* the first word about this instance */
    bool gone; /* the last word about this instance: it is forgotten after the call */
};
struct notify *engines_signal(struct engines *e);

/* `berth exec-engine …`: turns this process into the engine, or ends it with an exit code. Returns
 * never. */
_Noreturn void exec_engine_main(int argc, char **argv);
