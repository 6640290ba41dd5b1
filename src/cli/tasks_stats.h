// SPDX-License-Identifier: Apache-2.0
/* Figures of the tasks: `berth tasks stats` and `types`, and the tasks' half of `berth queue`. */
#pragma once

#include "cli/cli_int.h"

/* Each returns the exit code. */
int tasks_print_stats(struct cli *cli);
int tasks_print_types(struct cli *cli);
/* The tasks that wait and run, by class and model: as JSON (owned by the caller), or printed.
 * *ret is untouched after a failure, of which is spoken. */
int tasks_queue_json(struct cli *cli, json_t **ret) _must_check_;
void tasks_print_queue(const struct cli *cli, const json_t *queue);
