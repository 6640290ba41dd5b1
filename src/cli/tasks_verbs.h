// SPDX-License-Identifier: Apache-2.0
/* What `berth tasks` does with single tasks: showing them, and its verbs. */
#pragma once

#include "cli/cli_int.h"

struct task_verb;
/* NULL: there is no such verb. */
const struct task_verb *task_verb_find(const char *word);
/* Does it with the tasks that the words after it name: all of them, also when one cannot be. The
 * exit code of the first that could not be. */
int task_verb_run(struct cli *cli, const struct task_verb *verb);
/* Shows the tasks that the words name; watch: stays with each until it has ended. */
int task_show_all(struct cli *cli, bool watch);
