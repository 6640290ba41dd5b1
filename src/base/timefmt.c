// SPDX-License-Identifier: Apache-2.0
/* Times as text, always UTC. By hand: an answer of a few hundred bytes holds several of them, and
 * strftime would be what it costs. */
#include "base/timefmt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/macros.h"
#include "base/str.h"

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

int timefmt_parse(const char *s, int64_t *ret)
{
    struct tm tm = { 0 };
    int used = 0, hours = 0, minutes = 0, n;
    char sign[2] = "";
    double seconds;
    time_t at;

    if (strspn(s, "0123456789") != 4) { /* else sscanf takes blanks and signs */
        return -EINVAL;
    }
    n = sscanf(s, "%4d-%2d-%2d%*1[Tt ]%2d:%2d:%lf%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
               &tm.tm_hour, &tm.tm_min, &seconds, &used);
    if (n < 6 || !(seconds >= 0 && seconds < 61) || tm.tm_mon < 1 || tm.tm_mon > 12 ||
        tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59) {
        return -EINVAL;
    }
    s += used;
    if (!str_eq(s, "Z") && !str_eq(s, "z")) {
        used = 0;
        n = sscanf(s, "%1[+-]%2d:%2d%n", sign, &hours, &minutes, &used);
        if (n < 3 || s[used] != '\0' || hours > 23 || minutes > 59) {
            return -EINVAL;
        }
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    n = tm.tm_mday;
    at = timegm(&tm);
    if (tm.tm_mday != n) { /* the 31st of February */
        return -EINVAL;
    }
    *ret = (int64_t)at * 1000 + (int64_t)(seconds * 1000);
    *ret -= (sign[0] == '-' ? -1 : 1) * (hours * 3600000ll + minutes * 60000ll);
    return 0;
}
