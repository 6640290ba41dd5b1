// SPDX-License-Identifier: Apache-2.0
/* How much processor time a process and its descendants have used. */
#pragma once

#include <stdint.h>

#include "base/process.h"

/* Clock ticks (sysconf(_SC_CLK_TCK)) of the process and of all that descend from it, the ended ones
 * that were waited for included; 0 when it has ended or was another one. proc: "/proc". */
uint64_t processor_time_ticks(const char *proc, struct process_id id);
