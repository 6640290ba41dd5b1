// SPDX-License-Identifier: Apache-2.0
/*
 * A berth without its upper rooms in a simulated world: store, events, models, metrics, engines, a
 * directory of its own, and a simulated engine whose behaviour each test (or a dice) chooses. What
 * must always hold is checked when a process starts.
 */
#pragma once

#include "unit.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/sim.h"
#include "engines/engines.h"

/* How simulated engines behave when they start; copied at that moment. */
struct behaviour {
    uint64_t load_ms;      /* until /health answers 200 */
    uint64_t end_after_ms; /* then it ends by itself (0: never) */
    int end_code, end_signal;
    bool never_ready;
    bool ignores_term;
    bool has_worker;        /* a second marked process that outlives it */
    const char *last_words; /* written to the log when it ends by itself */
    unsigned slots;         /* that it tells of; 0: 4 */
};

struct sim_engine {
    struct list node;
    struct rig *rig;
    struct sim_process *process;
    struct behaviour behaviour;
    struct stream_listener *listener;
    struct timer load, end;
    struct list conns;
    bool loaded, hung;
    bool stuck;         /* for a service: it works, and gets nowhere … */
    uint64_t stuck_ms;  /* … since then */
    uint64_t sick_ms;   /* for a service: until then it fails whatever it is asked */
    uint64_t worked_ms; /* for a service: it has ended a request then */
    bool asleep;        /* says so, and must not be asked for its progress */
    uint64_t progress;  /* the number that it tells */
    int slots_status;   /* of its answer to that question; 0: 200 */
    int status;         /* of its answers when loaded; 0: 200 */
    unsigned asked;     /* requests so far */
    char request[1024]; /* the head of the last one */
    bool is_worker;
    unsigned replica;
    char alias[64];
    char uuid[UUID_SIZE];
    char log[96];
    struct address address;
};

/* A test whose engines do more than answer probes serves their connections itself. */
struct rig_service {
    void (*on_stream)(struct sim_engine *engine, struct stream *s); /* owns s */
    void (*on_end)(struct sim_engine *engine); /* the process ends: closes what it owns */
};

struct rig_options {
    const char *const *environment;           /* option settings ("BERTH_ENGINES_START_TIMEOUT=2s"),
                                                 NULL-terminated; may be NULL */
    const struct option_table *const *tables; /* NULL-terminated; NULL: those of the engines */
    const struct store_schema *const *schemas; /* NULL-terminated; NULL: events, models, engines */
    bool gated; /* instances wait until the test places them; else they place themselves */
};

enum { RIG_CHANGES_MAX = 256 };

struct rig {
    struct world *world;
    struct config *config;
    struct store *store;
    struct events *events;
    struct models *models;
    struct metrics *metrics;
    struct engines *engines;
    const struct gpu *gpu; /* that the next berth (rig_crash) is made with; the test's */
    struct listener listener, on_model;
    struct behaviour behaviour;                         /* of engines that start from now on */
    void (*roll)(struct rig *rig, struct behaviour *b); /* instead of it, per start; may be NULL */
    const struct rig_service *service; /* instead of one-line answers; may be NULL */
    void *user;                        /* the service's */
    struct list alive;                 /* struct sim_engine */
    bool gated;                        /* see rig_options */
    bool drains;                       /* says at once that a draining instance is empty */
    unsigned starts;                   /* of leaders, so far */
    char trail[4096];                  /* "starting ready draining …" as told by the signal */
    int last_result;                   /* of the last change of the catalogue */
    int64_t last_id;
    char dir[64];
};

struct rig *rig_create(uint64_t seed, const char *const *environment);
struct rig *rig_create_with(uint64_t seed, const struct rig_options *options);
void rig_destroy(struct rig *rig);
/* kill -9 of berth, and a new one: engines live on. */
/* berth is gone for now: the processes live on, nobody watches them. */
void rig_lose_engines(struct rig *rig);
void rig_crash(struct rig *rig);
void rig_recover(struct rig *rig);

/* members: JSON members of ModelConfig that replace the usual ones ("\"retry_policy\":{…}"), or
 * NULL. Returns the model's id; wanted when its definition says so. */
int64_t rig_define_model(struct rig *rig, const char *public_id, const char *members);
/* The same; wanted at once. */
int64_t rig_add_model(struct rig *rig, const char *public_id, const char *members);
struct model_config *rig_model_config(const char *public_id, const char *members);
void rig_want(struct rig *rig, int64_t id, bool wanted);
void rig_update_model(struct rig *rig, int64_t id, const char *public_id, const char *members);
void rig_remove_model(struct rig *rig, int64_t id);

/* Virtual time passes until the model's instance is in this state; fails the test after limit_ms.
 */
const struct instance *rig_await(struct rig *rig, int64_t model_id, enum instance_state state,
                                 uint64_t limit_ms);
/* … until nothing of it is left. */
void rig_await_gone(struct rig *rig, int64_t model_id, uint64_t limit_ms);
/* The leader that lives, or NULL; of several replicas the one that started first. */
struct sim_engine *rig_engine(struct rig *rig, const char *alias);
struct sim_engine *rig_replica(struct rig *rig, const char *alias, unsigned replica);
/* Virtual time passes until the model has `count` instances and all of them are in this state. */
void rig_await_all(struct rig *rig, int64_t model_id, enum instance_state state, size_t count,
                   uint64_t limit_ms);
size_t rig_count_instances(struct rig *rig, int64_t model_id, enum instance_state state);

/* Something that listens on 127.0.0.1 and answers like an engine, and that berth did not start.
 * NULL when the port is taken. Closing accepts NULL. */
struct sim_engine *rig_open_endpoint(struct rig *rig, uint16_t port);
void rig_close_endpoint(struct sim_engine *endpoint);

/* What the kernel's count of its OOM kills is from now on. */
void rig_count_oom_kill(struct rig *rig, unsigned count);

size_t rig_count_alive(struct rig *rig, const char *alias); /* workers too; NULL: of all models */
int64_t rig_count_rows(struct rig *rig);
/* The text of all metrics, owned by the caller. */
char *rig_metrics(struct rig *rig);

static inline void assert_contains(const char *text, const char *part)
{
    if (!text || !strstr(text, part)) {
        fail_msg("'%s' is missing in '%s'", part, text ? text : "(nothing)");
    }
}
