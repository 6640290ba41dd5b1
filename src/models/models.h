// SPDX-License-Identifier: Apache-2.0
/*
 * The catalogue: what users ask for by name. The store is the truth, memory is a cache of it that
 * is changed only after the commit. Pointers to a model are good until the turn ends: keep the
 * int64 id.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/notify.h"
#include "events/events.h"
#include "store/store.h"

struct models;

extern const struct store_schema models_schema;

enum {
    MODEL_PRIORITY_MIN = 1,
    MODEL_PRIORITY_MAX = 10,
    MODEL_ID_MAX = 255,               /* bytes of a public id */
    MODEL_CONFIG_MAX = 256 * 1024,    /* bytes of a definition as compact JSON */
    MODEL_WARN_MEMORY_MB = 80 * 1024, /* gpu_memory beyond it is warned of */
    MODEL_ALIASES_MAX = 32,
    MODEL_REPLICAS_MAX = 32,
    MODEL_WORKERS_MAX = 1000,
    MODELS_MAX = 10000,
};

struct health_check {
    bool enabled;     /* true */
    int interval_s;   /* 30 */
    int timeout_s;    /* 10 */
    int max_failures; /* 3 */
    char *endpoint;   /* a path; NULL: the driver's own */
};

struct retry_policy {
    bool enabled;           /* true */
    int max_attempts;       /* 3 */
    double initial_delay_s; /* 5 */
    double max_delay_s;     /* 300 */
    double backoff_factor;  /* 2.0 */
};

/* Tasks of a model run, wait, or wait for the maintainer. Requests are not concerned. Like `wanted`
 * it is set while berth runs, whoever defined the model, and survives restarts. */
enum model_status { MODEL_ONLINE, MODEL_OFFLINE, MODEL_MAINTENANCE, MODEL_STATUS_MAX_ };
const char *model_status_name(enum model_status s); /* "online" … */
int model_status_from_string(const char *s);        /* -EINVAL */

/* model_config.keep_alive_ms beside a number of milliseconds, of which 0 means: unload as soon as
 * nothing runs */
enum { KEEP_ALIVE_DEFAULT = -2, KEEP_ALIVE_FOREVER = -1 };

/* A definition: the contract's ModelConfig and what berth adds to it (from autostart on). */
struct model_config {
    char *id;        /* the public id, the name in requests */
    char *name;      /* for people */
    char *framework; /* as given: "llama_cpp", "vllm", "docker", or a driver's own name ("llamacpp")
                      */
    char *model_path;
    int priority;
    int *gpu_devices;
    size_t gpu_device_count;
    char *additional_parameters;   /* NULL when none */
    json_t *parameters;            /* object, never NULL */
    json_t *resource_requirements; /* object as given, never NULL */
    int64_t gpu_memory_mb;         /* 0: "auto", what is estimated */
    struct health_check health_check;
    struct retry_policy retry_policy;
    bool autostart;        /* wanted as soon as it is defined */
    bool pinned;           /* the same, and never unloaded or moved aside by berth itself */
    bool on_demand;        /* true: a request for it starts it when it is stopped */
    int replicas;          /* instances of it while it is wanted; 1 */
    char **aliases;        /* other names in requests; NULL-terminated, or NULL for none */
    int64_t keep_alive_ms; /* how long it stays after its last request: `keep_alive` (seconds, a
                              duration such as "5m", negative: for ever) or llama-swap's `ttl`
                              (seconds, 0: for ever) */
    enum model_status task_status; /* `task_status`: what struct model's begins with; online */
    int max_workers;               /* tasks of it that may run at once; 0: worker.default_workers */
    char *strategy; /* how an instance is chosen, a name of dispatch's; NULL: the configured one */
    char *type;     /* seed 002's word for it, as given at its door (openai, local, custom); NULL */
    char *created_at, *updated_at; /* ISO, set by the catalogue; NULL before */
};

/* What is wrong with a definition, as the contract tells it: errors forbid, warnings do not. */
struct validation {
    json_t *errors, *warnings; /* arrays of strings */
    json_t *schema_errors; /* array of {loc, msg, type}: not even the types are right (HTTP 422) */
};
struct validation validation_init(void);
void validation_finish(struct validation *v);
bool validation_ok(const struct validation *v); /* neither errors nor schema_errors */
void validation_error(struct validation *v, const char *fmt, ...) _printf_(2, 3);
void validation_warn(struct validation *v, const char *fmt, ...) _printf_(2, 3);

/*
 * Reads a ModelConfig. Unknown members are left out with a warning (those of parameters are the
 * driver's, those of resource_requirements are kept); created_at and updated_at are taken no notice
 * of. Returns NULL when the schema is not met (a required member is absent, a type is wrong); what
 * is wrong is in v. A definition that only breaks rules is returned, with errors in v. Checks that
 * need the engine (parameters, files) are its driver's: engines_validate.
 */
struct model_config *model_config_parse(const json_t *json, struct validation *v);
/* What `keep_alive` means in a definition or a request's body: a number of seconds or a duration
 * ("90s", "5m", "-1"). -EINVAL when it is neither. */
int keep_alive_parse(const json_t *value, int64_t *ret_ms, struct error *reterr) _must_check_;
/* autostart or pinned: it is to run as soon as it is defined. */
bool model_config_is_wanted(const struct model_config *c);
/* An alias of one that is an id or alias of the other; NULL: none. (Two equal ids are not told: the
 * store does.) */
const char *model_config_shared_name(const struct model_config *a, const struct model_config *b);
/* Accepts NULL, returns NULL. */
struct model_config *model_config_free(struct model_config *c);
/* The contract's object, whole, owned by the caller. */
json_t *model_config_to_json(const struct model_config *c);

enum model_origin { MODEL_FROM_API, MODEL_FROM_CONFIG, MODEL_ORIGIN_MAX_ };
const char *model_origin_name(enum model_origin origin); /* "api", "config" */

struct model {
    int64_t id;
    struct model_config *config;
    enum model_origin origin;
    bool wanted; /* should run: set by start and autostart, cleared by stop; survives restarts */
    enum model_status task_status;
    int64_t epoch; /* grows with every change of the definition */
};

struct models *models_create(struct world *w, struct store *store, struct events *events);
/* Reads all from the store: before the loop runs. A definition that cannot be read any more is
 * logged and left out. */
int models_load(struct models *m, struct error *reterr) _must_check_;
/* Before events_destroy and store_close. Changes under way end -ECANCELED (what is with the store
 * may still be stored). Accepts NULL, returns NULL. */
struct models *models_destroy(struct models *m);

const struct model *models_get(const struct models *m, int64_t id);
/* By its public id or one of its aliases; a public id goes before an alias. */
const struct model *models_find(const struct models *m, struct span name);
size_t models_count(const struct models *m);
/* In the order of creation: *cursor starts at 0; NULL at the end. Changing the catalogue while
 * walking is not allowed (asking for a change is: it comes later). */
const struct model *models_next(const struct models *m, size_t *cursor);

/*
 * Changes are asynchronous; done (may be NULL) runs on the loop in a later turn, after the commit
 * (result 0, id; e is empty) or the failure (negative errno, the sentence in e). Changes of one
 * model run in order, one at a time. Errors of all: -ENOENT, -EROFS, -EAGAIN (the store's queue is
 * full), -EBUSY (another berth on this database has changed the model: memory has what it is now,
 * ask again), -ECANCELED (shutdown).
 */
typedef void (*models_done_fn)(void *arg, int result, int64_t id, const struct error *e);
/* -EEXIST when the public id or an alias is taken (by an id or an alias of another), -EDQUOT beyond
 * MODELS_MAX. config is taken over in any case. With autostart the model is wanted from the start.
 */
void models_add(struct models *m, struct model_config *config, enum model_origin origin,
                models_done_fn done, void *arg);
/* The public id and the origin stay as they were. When autostart is turned on by it, the model
 * becomes wanted. A task_status that is another one than the definition's before becomes
 * the model's. config is taken over in any case. */
void models_update(struct models *m, int64_t id, struct model_config *config, models_done_fn done,
                   void *arg);
/* The same with a definition that was made of the one of this epoch: -ESTALE when there is another
 * one by the time its turn has come, so that nothing is undone unseen. */
void models_update_from(struct models *m, int64_t id, int64_t epoch, struct model_config *config,
                        models_done_fn done, void *arg);
void models_remove(struct models *m, int64_t id, models_done_fn done, void *arg);
/* Whoever defined it. A status that it has already changes nothing and is told to nobody but done.
 */
void models_set_task_status(struct models *m, int64_t id, enum model_status status,
                            models_done_fn done, void *arg);
/* Who wishes that a model runs, or does not. */
enum model_wish { WISH_USER, WISH_DEMAND, WISH_IDLE, WISH_MAX_ };
const char *model_wish_name(enum model_wish wish); /* "user", "demand", "idle" */
/* Wanting what is wanted already changes nothing and is told to nobody but done. */
void models_set_wanted(struct models *m, int64_t id, bool wanted, enum model_wish by,
                       models_done_fn done, void *arg);
/*
 * Makes the models of origin config equal to this list of definitions with distinct ids (each taken
 * over, the array is not): adds, updates what differs, removes. A model that was made by the API
 * and now stands in the list becomes the file's. done comes once, when all is done: 0 or the first
 * failure; id is 0. Before the loop runs and at reload.
 */
void models_apply_config(struct models *m, struct model_config **configs, size_t count,
                         models_done_fn done, void *arg);

enum model_change_kind {
    MODEL_ADDED,
    MODEL_UPDATED, /* of the definition, the status may have come with it */
    MODEL_REMOVED,
    MODEL_WANTED_CHANGED,
    MODEL_STATUS_CHANGED,
};
struct model_change {
    enum model_change_kind kind;
    int64_t id;
    enum model_wish by; /* of MODEL_WANTED_CHANGED */
    const char *public_id;
    const struct model *model; /* as it is now; for MODEL_REMOVED as it was, void after the call */
};
/* Emits const struct model_change * after the commit, before done. An update that makes the model
 * wanted (autostart turned on) emits MODEL_UPDATED, then MODEL_WANTED_CHANGED. */
struct notify *models_signal(struct models *m);
