// SPDX-License-Identifier: Apache-2.0
/* Inside the cli room: the second half of `berth plan`. */
#pragma once

#include "cli/cli_int.h"

/* berth plan check FILE: predictions for the rows of a CSV of measurements, how far off they are,
 * and with rows_path a CSV of each. Returns the exit code. */
int plan_check(struct cli *cli, const char *path, const char *rows_path);
