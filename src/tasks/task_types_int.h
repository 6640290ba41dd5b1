// SPDX-License-Identifier: Apache-2.0
/* Inside task types: the rows (task_types.c), a task as a request (task_types_compose.c), an answer
 * as an output (task_types_output.c). */
#pragma once

#include "tasks/task_types.h"

#define CHAT_PATH "/v1/chat/completions"

/* Is it a path that may be asked of an engine? -EINVAL. */
int task_path_check(const char *path, struct error *reterr) _must_check_;
/* What comes of it. */
enum task_output task_output_of(const char *path);

/* The two that no door lists. */
extern const struct task_type task_type_batch, task_type_instance;
