// SPDX-License-Identifier: Apache-2.0
/*
 * Reading the order of a task from the body of POST /api/v1/tasks, in one pass and without a tree,
 * since they come by the ten thousand.
 */
#pragma once

#include "api/api_int.h"

struct order_reading {
    struct task_order order; /* what it points to is here, in the body, or in the catalogue */
    struct span input_json;  /* the input as it stands in the body */
    char *input, *webhook;
};

/* False: it is refused, and that is answered. Else the caller finishes it. */
bool task_order_read(struct api *api, struct http_exchange *x, struct order_reading *ret);
void task_order_finish(struct order_reading *r);
