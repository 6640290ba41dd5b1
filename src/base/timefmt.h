// SPDX-License-Identifier: Apache-2.0
/* Wall-clock milliseconds since 1970 as text. */
#pragma once

#include <stdint.h>

enum { TIMEFMT_SIZE = 32 };

/* "2026-01-02T03:04:05.678Z" */
void timefmt_iso(int64_t wall_ms, char out[TIMEFMT_SIZE]);
