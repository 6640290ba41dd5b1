// SPDX-License-Identifier: Apache-2.0
/*
 * What a kind of engine must know to be run: the replaceable part of this room. One file a driver;
 * the list stands in drivers.c. A driver only knows words: it starts nothing, waits for nothing and
 * keeps nothing between calls.
 */
#pragma once

#include "engines/engines.h"

struct container_spec;
struct model_facts;

/* How one instance is to be run; owned by the caller of `command` (engine_command_finish). */
struct engine_command {
    char *
        *argv; /* argv[0] is an absolute path; NULL-terminated. NULL: a remote endpoint, no process
                */
    struct container_spec
        *container; /* instead of argv: a container is to run (container.h); owned */
    char **env; /* additions and replacements, "NAME=value"; NULL-terminated, or NULL for none */
    unsigned slots;         /* requests it will work on at once */
    unsigned weight;        /* for the strategy `weighted`; 0: its slots */
    struct address address; /* where it listens */
    /* What goes into struct engine_route; owned, NULL where there is nothing. */
    char *base_path; /* stands in a path instead of its leading "/v1" */
    char *headers; /* "Authorization: Bearer …\r\n": a secret, never logged, not hashed by value */
    char *model;   /* the name that the engine knows the model by; NULL: it does not care */
};

struct engine_context {
    const struct config *config;
    const struct model_config *model;
    const struct gpu *gpu;     /* the devices; NULL: they are not known (devices.h) */
    const struct place *place; /* where it was placed; NULL: as the definition says */
    const char *socket_path;   /* relative to the working directory, ends with ".sock" */
    unsigned replica;          /* 0 …; a port that the model names is the first replica's */
    uint16_t port; /* on 127.0.0.1, for drivers with needs_port; the same for an instance's
                      whole process */
};

/* What an engine tells of itself; what it does not tell stays as it was. */
struct engine_info {
    unsigned slots;
    bool sleeping;
};

struct engine_driver {
    const char *name;
    /* The words of ModelConfig.framework that mean this driver; NULL-terminated. */
    const char *const *frameworks;
    const char *help;
    /* Adds to v what is wrong with the definition itself, wherever it runs, and to machine (may be
     * v) what this machine lacks for it: a binary, a file, a device, a key. Of the context only
     * config, model and gpu are set. */
    void (*validate)(const struct engine_context *c, struct validation *v,
                     struct validation *machine);
    /* The same input gives the same command: an engine that lives is known again by it. *ret is
     * untouched on failure, which means that a start would be in vain: it is not tried again by
     * itself. -EINVAL: the definition is wrong; anything else: the machine lacks something. */
    int (*command)(const struct engine_context *c, struct engine_command *ret,
                   struct error *reterr) _must_check_;
    /* Listens on a port that berth chooses (engine_context.port). */
    bool needs_port;
    /* GET: 200 is ready, everything else is not (yet). health_check.endpoint of the model goes
     * before it. Of a remote endpoint any answer below 500 but 401 and 403 is good. */
    const char *probe_path;
    /* Reads what the engine tells of itself once ready and then with each health probe (GET of
     * info_path, which must not wake a sleeping engine). info_path NULL: never asked. */
    const char *info_path;
    void (*read_info)(struct span body, struct engine_info *info);
    /* Asked only while requests are in flight and no byte of an answer came for a while: a number
     * that changes when the engine gets on with its work. NULL: bytes of streams are all that
     * tells.
     */
    const char *progress_path;
    uint64_t (*read_progress)(struct span body);
    /* What an instance needs of memory, from the definition and what its model file says (facts
     * NULL: there is no file, or it cannot be read). Fills everything but source, declared_bytes
     * and measured_bytes; estimated_bytes 0 where it cannot tell. NULL: it never can. Pure. */
    void (*need)(const struct engine_context *c, const struct model_facts *facts,
                 struct memory_need *ret);
    /* Do these last words say that memory was short? NULL: nobody knows. */
    bool (*is_out_of_memory)(const char *last_words);
    /* Picks the lines that tell why it ended out of the log's tail; the result is owned by the
     * caller, NULL when there is nothing to say. */
    char *(*last_words)(struct span log_tail);
};

void engine_command_finish(struct engine_command *c);

extern const struct engine_driver llamacpp_driver;
extern const struct engine_driver command_driver;
extern const struct engine_driver openai_driver;
extern const struct engine_driver docker_driver;
extern const struct engine_driver vllm_driver;
