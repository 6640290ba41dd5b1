// SPDX-License-Identifier: Apache-2.0
/*
 * ModelConfig.parameters, as drivers read them: a table of names and kinds for each driver, and
 * what is common to all of them (port, host, env, parallel, weight, gpu_vendor, the figures of the
 * memory estimate). A value of a wrong kind counts as absent here; parameters_validate names it.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/stream.h"
#include "engines/devices.h"
#include "engines/engine_driver.h"
#include "engines/words.h"
#include "models/models.h"

enum parameter_kind {
    PARAMETER_INT,
    PARAMETER_NUMBER,
    PARAMETER_BOOL, /* as a flag: the flag alone, when true */
    PARAMETER_TEXT,
    PARAMETER_OBJECT,
    PARAMETER_OWN, /* the driver checks it itself */
};

struct parameter {
    const char *name;
    enum parameter_kind kind;
    const char *flag; /* of the engine's command line; NULL: it is used elsewhere */
    int64_t min, max; /* of ints; both 0: any */
};

struct parameter_table {
    const struct parameter *rows;
    size_t count;
};

#define PARAMETER_TABLE(rows) ((struct parameter_table){ rows, ARRAY_SIZE(rows) })

/* NULL when absent or null. Good while the model is. */
const json_t *parameter_get(const struct model_config *model, const char *name);
int64_t parameter_int(const struct model_config *model, const char *name, int64_t otherwise);
const char *parameter_text(const struct model_config *model, const char *name);
bool parameter_bool(const struct model_config *model, const char *name, bool otherwise);

/* What every driver checks in a definition: kinds and ranges by its table and the common one,
 * unknown names (a warning), env, additional_parameters, the ports of all replicas. */
void parameters_validate(const struct model_config *model, struct parameter_table own,
                         struct validation *v);

/* A common one, as far as its range allows it: a definition that breaks rules may be stored. */
int64_t parameter_within(const struct model_config *model, const char *name, int64_t otherwise);
/* "parallel", or engines.parallel. */
unsigned parameter_slots(const struct engine_context *c);
/* "weight"; 0 when absent. */
unsigned parameter_weight(const struct model_config *model);
/* The port that the definition names, for this replica; 0 when it names none. */
uint16_t parameter_port(const struct engine_context *c);
/* Where an engine that listens on host (NULL: 127.0.0.1; 0.0.0.0 and :: too) and port is reached.
 */
int parameter_address(const char *host, uint16_t port, struct address *ret,
                      struct error *reterr) _must_check_;

/* The flags of the table, in its order. */
void parameters_add_flags(const struct model_config *model, struct parameter_table table,
                          struct words *argv);
/* The words of additional_parameters. */
int parameters_add_additional(const struct model_config *model, struct words *argv,
                              struct error *reterr) _must_check_;

/* The definition's env, then the variable that tells the devices. */
void parameters_add_env(const struct model_config *model, const struct gpus *gpus,
                        struct words *env);
/* "NAME=value", unless the name is set already. */
void env_add(struct words *env, const char *entry);

/* An absolute path to the program, owned by the caller: of a name by PATH, of a path against the
 * working directory. -ENOENT when there is no such executable file. */
int program_find(const char *name, char **ret) _must_check_;
/* -errno with a sentence that calls the file `what` ("model file") when it cannot be read. */
int file_check(const char *what, const char *path, struct error *reterr) _must_check_;
