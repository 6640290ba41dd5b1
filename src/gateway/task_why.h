// SPDX-License-Identifier: Apache-2.0
/* Why tasks of a model wait, beyond what the queue knows: a sentence made of what engines,
 * placement and dispatch tell. */
#pragma once

#include <stddef.h>

#include "gateway/gateway.h"

/* "" when nothing stands in their way. */
void task_why(const struct gateway *g, int64_t model_id, char *out, size_t size);
