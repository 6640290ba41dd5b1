// SPDX-License-Identifier: Apache-2.0
/*
 * What a kind of engine must know to be run: the replaceable part of this room. One file a driver;
 * the list stands in drivers.c. A driver only knows words: it starts nothing, waits for nothing and
 * keeps nothing between calls.
 */
#pragma once

#include "engines/engines.h"

/* How one instance is to be run; owned by the caller of `command` (engine_command_finish). */
struct engine_command {
    char **argv; /* argv[0] is an absolute path; NULL-terminated */
    char **env;  /* additions and replacements, "NAME=value"; NULL-terminated, or NULL for none */
    unsigned slots;         /* requests it will work on at once */
    struct address address; /* where it will listen */
};

struct engine_context {
    const struct config *config;
    const struct model_config *model;
    const char *socket_path; /* relative to the working directory, ends with ".sock" */
};

struct engine_driver {
    const char *name;
    /* The words of ModelConfig.framework that mean this driver; NULL-terminated. */
    const char *const *frameworks;
    const char *help;
    /* Adds what is wrong with the parameters, the server binary and the model file to v. */
    void (*validate)(const struct config *config, const struct model_config *model,
                     struct validation *v);
    /* The same input gives the same command: an engine that lives is known again by it. *ret is
     * untouched on failure, which means that a start would be in vain (no binary, no model file):
     * it is not tried again by itself. */
    int (*command)(const struct engine_context *c, struct engine_command *ret,
                   struct error *reterr) _must_check_;
    /* GET: 200 is ready, everything else is not (yet). */
    const char *probe_path;
    /* Reads what the engine tells of itself once ready (GET of info_path): may set *ret_slots.
     * info_path NULL: never asked. */
    const char *info_path;
    void (*read_info)(struct span body, unsigned *ret_slots);
    /* Picks the lines that tell why it ended out of the log's tail; the result is owned by the
     * caller, NULL when there is nothing to say. */
    char *(*last_words)(struct span log_tail);
};

void engine_command_finish(struct engine_command *c);

extern const struct engine_driver llamacpp_driver;
