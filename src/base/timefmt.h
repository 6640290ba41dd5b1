// SPDX-License-Identifier: Apache-2.0
/* Wall-clock milliseconds since 1970 as text. */
#pragma once

#include <stdint.h>

#include "base/macros.h"

enum { TIMEFMT_SIZE = 32 };

/* "2026-01-02T03:04:05.678Z"; what is not from 1970 to 9999 is the nearest of those. */
void timefmt_iso(int64_t wall_ms, char out[TIMEFMT_SIZE]);
/* "2026-01-02T03:04:05Z", "…05.678+02:00" as milliseconds since 1970. -EINVAL: it is none. */
int timefmt_parse(const char *s, int64_t *ret) _must_check_;
