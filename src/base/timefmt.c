// SPDX-License-Identifier: Apache-2.0
/* Times as text, always UTC. */
#include "base/timefmt.h"

#include <stdio.h>
#include <time.h>

void timefmt_iso(int64_t wall_ms, char out[TIMEFMT_SIZE])
{
    time_t s = (time_t)(wall_ms / 1000);
    struct tm tm;
    char day[24];

    gmtime_r(&s, &tm);
    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, TIMEFMT_SIZE, "%s.%03dZ", day, (int)(wall_ms % 1000));
}
