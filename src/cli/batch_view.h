// SPDX-License-Identifier: Apache-2.0
/* What `berth batch` and `berth batches` share. */
#pragma once

#include "cli/cli_int.h"

/* Stays with a batch until it has ended, then tells of it. The exit code: 0 only when it is
 * completed. output: where its answers are put then (NULL: nowhere). */
int batch_wait(struct cli *cli, const char *id, uint64_t limit_ms, const char *output) _must_check_;
/* Copies a stored file to a path ("-": stdout); all or nothing of a path. The exit code. */
int batch_fetch(struct cli *cli, const char *file_id, const char *path) _must_check_;
/* "completed, 500 of 500, 3 of them failed"; owned by the caller. */
char *batch_progress(const json_t *batch);
