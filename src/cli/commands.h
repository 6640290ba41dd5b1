// SPDX-License-Identifier: Apache-2.0
/* The rows of all commands; each stands in its own file. */
#pragma once

#include "cli/cli_int.h"

extern const struct command batch_command, batches_command, completion_command, config_command,
    doctor_command, events_command, gpus_command, help_command, history_command, load_command,
    logs_command, models_command, openapi_command, plan_command, policy_command, ps_command,
    queue_command, rm_command, serve_command, simulate_command, stop_command, submit_command,
    tasks_command, ti_command, top_command, version_command, why_command;
