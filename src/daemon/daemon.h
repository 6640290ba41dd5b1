// SPDX-License-Identifier: Apache-2.0
/* The daemon: builds the rooms in order, wires them, runs, drains, tears down in reverse. */
#pragma once

#include <jansson.h>

#include "config/config.h"

#define BERTH_VERSION    "0.1.0"
#define DEFAULT_DATA_DIR "berth-data"

struct daemon_options {
    const char *config_path; /* NULL: ./berth.yaml, then /etc/berth/berth.yaml, then none */
    const char
        *data_dir; /* NULL: $BERTH_DATA_DIR, then DEFAULT_DATA_DIR; made when it is missing */
    const char *const
        *listen; /* NULL-terminated addresses instead of server.listen; NULL: as configured */
};

/* Runs until SIGTERM or SIGINT. Returns the exit code; what went wrong has been said on stderr. */
int daemon_run(const struct daemon_options *options);

/* The tables of every option there is, NULL-terminated: for `berth config`. */
const struct option_table *const *daemon_option_tables(void);
/* The file that would be read: given, or the first default that exists; NULL when none. Owned by
 * the caller. */
char *daemon_config_path(const char *given);
/* Reads and checks the whole configuration, models included. */
int daemon_load_config(const char *path, const char *const *listen, struct config **ret,
                       struct error *reterr) _must_check_;
/* The directory that would be used, absolute. Owned by the caller. */
char *daemon_data_dir(const char *given);
/* What GET /openapi.json answers, without a daemon. Owned by the caller. */
int daemon_openapi(json_t **ret, struct error *reterr) _must_check_;
