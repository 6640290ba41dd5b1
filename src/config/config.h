// SPDX-License-Identifier: Apache-2.0
/*
 * Configuration: every option is one row of a table that its room owns. A value comes, later ones
 * winning, from the row's default, the YAML file (`section: {key: value}`), the environment
 * (BERTH_SECTION_KEY); ${NAME} in the file is replaced from the environment ($$ is a dollar, an
 * unset name is an error with its line). A loaded configuration is whole and checked, or there is
 * none.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum option_type {
    OPTION_STRING,
    OPTION_INT,
    OPTION_BOOL,
    OPTION_DURATION,
    OPTION_BYTES,
    OPTION_LIST /* of strings */,
    OPTION_ENUM,
    OPTION_TYPE_MAX_
};

struct option_row {
    const char *name; /* "server.listen": section.key, snake_case */
    enum option_type type;
    const char *def;  /* as it would be written in the file; a list is separated by commas; "" is an
                         empty string or list */
    int64_t min, max; /* of ints, durations (ms), bytes; both 0: no range */
    const char *words; /* of an enum: "auto on off" */
    bool reload;       /* a change takes effect without a restart */
    bool secret;       /* never shown */
    const char *help;  /* one sentence */
};

/* "1s to 1h", in words fit for the user. False: the row has no range. */
enum { OPTION_RANGE_SIZE = 80 };
bool option_range(const struct option_row *row, char out[OPTION_RANGE_SIZE]);

struct option_table {
    const struct option_row *rows;
    size_t count;
};

struct config;

/* path NULL: no file. tables: NULL-terminated array of pointers. environ_: "NAME=value" strings.
 * Errors say file, line and key. Unknown keys are errors (with the nearest known name); unknown
 * BERTH_ variables are only warned of. Blocking: reads the file. */
int config_load(const char *path, const char *const *environ_,
                const struct option_table *const *tables, struct config **ret,
                struct error *reterr) _must_check_;
struct config *config_free(struct config *c);

/* By full name; asking for an unknown option or the wrong type is a bug (assert). */
const char *config_string(const struct config *c, const char *name);
int64_t config_int(const struct config *c, const char *name);
bool config_bool(const struct config *c, const char *name);
uint64_t config_duration_ms(const struct config *c, const char *name);
uint64_t config_bytes(const struct config *c, const char *name);
/* NULL-terminated, borrowed. */
const char *const *config_list(const struct config *c, const char *name);
/* Sets an option that has its default yet, as if source ("FILE:3") had said so: for a value that
 * stands under another name. -EINVAL when it is none. */
int config_set_default(struct config *c, const char *name, const char *text, const char *source,
                       struct error *reterr) _must_check_;
/* Where the value came from: "default", "FILE:LINE", "BERTH_SERVER_LISTEN". */
const char *config_source(const struct config *c, const char *name);
const struct option_row *config_row(const struct config *c, const char *name);
/* The `models:` list of the file as a JSON array (empty when there is none), ${NAME} replaced in
 * its texts; in parameters.command, and in parameters.env and additional_parameters of the
 * framework `command`, ${PORT}, ${MODEL}, ${MODEL_ID}, ${SOCKET} and $$ are left for the engine; of
 * the framework `docker` also in parameters.entrypoint, with ${HOST} instead of ${SOCKET}.
 * Borrowed. */
json_t *config_models(const struct config *c);
/* The line in which the model of this index begins; 0 when there is none. */
int config_model_line(const struct config *c, size_t index);
/* The `task_types:` list of the file, in the same way (nothing is left for the engine; {{name}} is
 * not berth's to replace here). Borrowed. */
json_t *config_task_types(const struct config *c);
int config_task_type_line(const struct config *c, size_t index);
/* The file's absolute path, or NULL. */
const char *config_path(const struct config *c);

/* Names of the options whose values differ; those whose row says reload=false are marked. Caller
 * owns the array: [{name, from, to, restart_required}] */
json_t *config_diff(const struct config *a, const struct config *b);
/* All values as {section: {key: value}}, secrets as "***". */
json_t *config_to_json(const struct config *c);
