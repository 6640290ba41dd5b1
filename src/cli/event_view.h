// SPDX-License-Identifier: Apache-2.0
/* An event as a line. */
#pragma once

#include "cli/cli_int.h"

/* "AT instance_state   chat from=starting to=ready" */
void event_print(FILE *out, const char *at, const json_t *event);
