// SPDX-License-Identifier: Apache-2.0
/* The overview of `berth top`, made of what the doors say. */
#pragma once

#include "cli/cli_int.h"

/* Answers as they came last; NULL: there was none. */
struct top_facts {
    json_t *health;    /* /health */
    json_t *service;   /* /api/monitoring/service */
    json_t *devices;   /* /api/v1/system/gpu */
    json_t *models;    /* /api/models/ */
    json_t *instances; /* /api/instances */
    json_t *events;    /* /api/events, the newest first */
};

/* rows: what there is place for, 0 for all of it. lost: the daemon does not answer now. */
void top_print(FILE *out, const struct cli *cli, const struct top_facts *facts, int rows,
               bool lost);
