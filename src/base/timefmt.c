// SPDX-License-Identifier: Apache-2.0
/* Times as text, always UTC. By hand: an answer of a few hundred bytes holds several of them, and
 * strftime would be what it costs. */
#include "base/timefmt.h"

#include <string.h>

#include "base/macros.h"

#define MS_PER_DAY 86400000ll
#define LAST_MS    253402300799999ll /* 9999-12-31T23:59:59.999Z */

static void put_number(char *to, unsigned digits, unsigned n)
{
    while (digits-- > 0) {
        to[digits] = (char)('0' + n % 10);
        n /= 10;
    }
}

/* Years that begin in March have their leap day at the end; days count from 0000-03-01. */
static void put_day(char *to, unsigned days)
{
    const unsigned era = days / 146097, of_era = days % 146097;
    const unsigned year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    const unsigned of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const unsigned from_march = (5 * of_year + 2) / 153;
    const unsigned month = from_march < 10 ? from_march + 3 : from_march - 9;

    put_number(to, 4, year_of_era + era * 400 + (month <= 2));
    put_number(to + 5, 2, month);
    put_number(to + 8, 2, of_year - (153 * from_march + 2) / 5 + 1);
}

void timefmt_iso(int64_t wall_ms, char out[TIMEFMT_SIZE])
{
    enum { DAYS_TO_1970 = 719468 };
    const int64_t ms = MAX_OF(MIN_OF(wall_ms, LAST_MS), 0);
    const unsigned of_day = (unsigned)(ms % MS_PER_DAY);

    memcpy(out, "0000-00-00T00:00:00.000Z", sizeof("0000-00-00T00:00:00.000Z"));
    put_day(out, (unsigned)(ms / MS_PER_DAY) + DAYS_TO_1970);
    put_number(out + 11, 2, of_day / 3600000);
    put_number(out + 14, 2, of_day / 60000 % 60);
    put_number(out + 17, 2, of_day / 1000 % 60);
    put_number(out + 20, 3, of_day % 1000);
}
