// SPDX-License-Identifier: Apache-2.0
/* Inside of access: what is kept in memory. */
#pragma once

#include "access/access.h"
#include "access/rules.h"

struct access {
    struct access_policy policy;
    bool beyond_loopback; /* berth listens there too */
    char **origins;       /* what policy.origins points to; NULL: none */
};
