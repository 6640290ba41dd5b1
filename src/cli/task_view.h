// SPDX-License-Identifier: Apache-2.0
/* Tasks as the task commands show them: what is in the daemon's answers, in words. */
#pragma once

#include "cli/cli_int.h"

enum { PRIORITY_LOW = 1, PRIORITY_MEDIUM, PRIORITY_HIGH };

/* "high" and "3" are 3; 0: it is none. */
int priority_from_string(const char *text);
const char *priority_name(int64_t priority); /* "high"; "?" */
/* The path of a task's door from its id as it was typed; NULL, having spoken, when that is none.
 * Owned by the caller. */
char *task_path(const char *id, const char *after);
/* Its model's name: good as long as the task. */
const char *task_model(const json_t *task);
/* What it waits for, or why it failed; owned by the caller. */
char *task_note(const json_t *task);
/* Stays with a task until it has ended, and tells of its end: the output on stdout, or why there is
 * none on stderr (--json: the task). The exit code: 0 only when it is completed. */
int task_wait(struct cli *cli, int64_t id, uint64_t limit_ms) _must_check_;
/* The daemon's answers hold what they tell in `data`. */
const json_t *answer_data(const json_t *answer);
