// SPDX-License-Identifier: Apache-2.0
/*
 * What the parts of test_placement.c share: a whole control plane (store, events, models, engines,
 * dispatch, placement) over made-up devices, simulated engines that really take their memory, and
 * clients that ask dispatch for an instance. Who does what:
 *
 *     test_placement.c     random histories, and their end
 *     test_placement_races.c   what is known to be hard, one test each
 *     placement_house.c    building a berth, killing it, and the catalogue
 *     placement_engine.c   the engines
 *     placement_client.c   the clients
 *     placement_watch.c    what must hold at every moment, as the devices and instances are
 *     placement_judge.c    what must hold by the stored events alone
 */
#pragma once

#include "unit.h"

#include <string.h>

#include "base/mem.h"
#include "base/sim.h"
#include "dispatch/dispatch.h"
#include "placement/placement.h"
#include "sim_gpu.h"

#define GIB (1ULL << 30)
#define MIB (1ULL << 20)

enum {
    SUBJECTS = 6,
    REPLICAS = 2,
    CLIENTS_MAX = 200,
    ASKS_MAX = 100,
    /* as the settings say */
    MIN_RESIDENCY_MS = 10000,
    RETURN_AFTER_MS = 5000,
    SWAP_WAIT_MS = 15000,
    VERIFY_MS = 30000,
    GRACE_MS = 20000,
    QUEUE_TIMEOUT_MS = 60000,
    PREEMPTIONS_AN_HOUR = 2,
};

/* A model, as it was defined last. */
struct subject {
    int64_t id; /* 0: not there */
    char name[8];
    uint64_t declared_bytes;
    unsigned percent; /* of that its engines really take */
    unsigned version; /* of what is run */
    unsigned lives;   /* models of this name so far */
    bool fails;       /* its engines never come up */
    bool forced;      /* somebody asked for it by force, and it is not ready yet */
};

/* What a definition said, for the judge: events name members, never their values. */
struct fact {
    struct list node;
    char name[8];
    unsigned life; /* 1: of the first model of this name, … */
    int64_t epoch;
    int priority;
    bool pinned;
};

/* A moment at which berth was killed: the last event before it. */
struct death {
    struct list node;
    int64_t event_id;
};

/* How the next engine behaves. */
struct behaviour {
    uint64_t load_ms;   /* until it answers */
    uint64_t linger_ms; /* its memory is given back so long after its end */
    uint64_t crash_ms;  /* it ends by itself so long after its start; 0: never */
    bool never_ready;
    bool ignores_term;
};

struct sim_engine {
    struct list node;
    struct scene *scene;
    struct sim_process *process;
    struct behaviour behaviour;
    struct subject *subject;
    struct stream_listener *listener;
    struct timer takes, loads, ends;
    struct list conns;
    bool took, loaded, hung;
    int devices[SIM_DEVICES_MAX];
    unsigned device_count;
    uint64_t bytes; /* that it takes on each of them */
    unsigned replica;
    char uuid[UUID_SIZE];
    char log[96];
    struct address address;
};

/* One who asks for an instance, works with it for a while, and goes. */
struct client {
    struct list node;
    struct scene *scene;
    struct subject *subject;
    struct ticket *ticket;
    char uuid[UUID_SIZE]; /* of the instance that it has; "" while it waits */
    struct timer timer;   /* waiting: leaves; working: has ended */
    uint64_t asked_ms, work_ms;
    unsigned attempts;
};

/* One placement_schedule that is under way. */
struct asked {
    struct list node;
    struct scene *scene;
    struct placement_ask ask;
    bool dead; /* berth was killed since */
};

struct scene {
    struct world *world;
    struct config *config;
    struct store *store;
    struct list writes; /* that are with the store */
    unsigned write_count;
    unsigned kill_at; /* berth is to be killed when so many were submitted; 0: not */
    bool kill_keeps;  /* … and what it had submitted is stored all the same */
    bool dropping;    /* berth is dead: nothing of what it had submitted is stored */
    bool down;        /* no berth is there */
    struct events *events;
    struct models *models;
    struct metrics *metrics;
    struct engines *engines;
    struct dispatch *dispatch;
    struct placement *placement;
    struct listener listeners[16];
    unsigned listener_count;

    struct sim_machine *machine;
    struct gpu *gpu;
    struct list engines_alive; /* struct sim_engine */
    void (*roll)(struct scene *s, struct behaviour *b);
    unsigned starts, out_of_memory;
    bool forces; /* somebody may ask for a place by force */
    bool exact;  /* engines take what they say, and nobody else takes anything */

    struct subject subjects[SUBJECTS];
    unsigned versions;
    struct list clients;
    unsigned client_count, granted, refused, left;
    struct list asks;      /* struct asked */
    struct list dead_asks; /* of berths that were killed */
    unsigned answered;

    int last_result;
    int64_t last_id;
    char dir[64];
    uint64_t began_ms;
    struct list facts, deaths;
    unsigned told[EVENT_KIND_MAX_]; /* events of each kind, as the judge has read them */
    struct listener on_instance;
    struct timer look;
    struct list tracks; /* struct track, of each instance */
};

static inline uint64_t scene_now(const struct scene *s)
{
    return world_now_ms(s->world);
}

static inline uint64_t scene_below(const struct scene *s, uint64_t bound)
{
    return world_random_below(s->world, bound);
}

static inline bool scene_one_in(const struct scene *s, uint64_t n)
{
    return scene_below(s, n) == 0;
}

/* --- placement_house.c */
/* A world and a berth in it. Devices are added to s->machine, then house_open. */
struct scene *house_create(uint64_t seed);
void house_open(struct scene *s);
void house_close(struct scene *s);
/* kill -9 of berth; what it had submitted to its store and what was not committed yet is lost,
 * or (lose = false) just committed. */
void house_kill(struct scene *s, bool lose);
/* A new berth finds what the old one left. */
void house_revive(struct scene *s);
/* SIGTERM and a new one: in between nothing lives. */
void house_restart(struct scene *s);
/* Runs on for so long; berth is killed on the way when s->kill_at says so: then true. */
bool house_run(struct scene *s, uint64_t ms);

/* The catalogue. members: JSON members that replace the usual ones, or NULL. Until it is stored. */
void subject_add(struct scene *s, struct subject *of, const char *members);
void subject_update(struct scene *s, struct subject *of, const char *members);
/* Not waited for. */
void subject_want(struct scene *s, struct subject *of, bool wanted);
void subject_remove(struct scene *s, struct subject *of);
struct subject *subject_find(struct scene *s, const char *name);
struct subject *subject_of(struct scene *s, int64_t id);
const struct model *subject_model(const struct scene *s, const struct subject *of);
bool subject_wanted(const struct scene *s, const struct subject *of);

/* Looks. */
size_t count_instances(const struct scene *s, const struct subject *of, enum instance_state state);
bool await(struct scene *s, bool (*pred)(struct scene *s, void *arg), void *arg, uint64_t limit_ms);
/* Until the subject has `count` instances in this state; fails the test after limit_ms. */
void await_state(struct scene *s, const struct subject *of, enum instance_state state, size_t count,
                 uint64_t limit_ms);
/* Everything that is known of the instances, devices and queue, for a failure's message. */
void house_dump(struct scene *s);
/* Dumps, and fails the test. */
_Noreturn void _printf_(2, 3) complain(struct scene *s, const char *fmt, ...);

/* --- placement_engine.c */
void engines_install(struct scene *s);
struct sim_engine *engine_find(struct scene *s, const char *uuid);
struct sim_engine *engine_of(struct scene *s, const struct subject *of);
/* It ends now, by a signal. */
void engine_kill(struct sim_engine *engine);

/* --- placement_client.c */
/* While it waits it has patience for so long (0: as long as dispatch has). */
void client_ask(struct scene *s, struct subject *of, uint64_t work_ms, uint64_t patience_ms);
/* The engine is not there any more. */
void clients_lose(struct scene *s, const char *uuid);
void clients_drop(struct scene *s); /* berth was killed: all connections are gone */
/* Asks placement for a place; it must answer, once. */
void schedule(struct scene *s, const struct placement_ask *ask);
bool everybody_is_done(struct scene *s, void *arg);

/* --- placement_watch.c */
void watch_begin(struct scene *s); /* after everything else listens */
void watch_end(struct scene *s);
/* Is there a device on which this instance may be placed, by what is known of it; when all move
 * that may be moved for it (moving)? */
bool has_room(struct scene *s, const struct instance *in, bool moving);
uint64_t excess_on(struct scene *s, int device);

/* --- placement_judge.c */
/* Reads the stored events, and the history, and judges them. */
void judge(struct scene *s);
/* What a model says is noted; so is the end of a berth (all that it could store is stored). */
void judge_note_model(struct scene *s, const struct model *model, bool added);
void judge_note_death(struct scene *s);
void judge_finish(struct scene *s);
