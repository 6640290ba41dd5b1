// SPDX-License-Identifier: Apache-2.0
/* The policy of placement. */
#include "placement/policy.h"

#include "base/macros.h"
#include "base/mem.h"
