// SPDX-License-Identifier: Apache-2.0
/* Members of an object of a fleet's file: what is not as expected is said once, by its member. */
#include "simulate/fleet_reading.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"

void reading_wrong(struct reading *in, const char *member, const char *fmt, ...)
{
    _cleanup_(freep) char *text = NULL;
    va_list ap;

    if (in->result < 0) {
        return;
    }
    va_start(ap, fmt);
    text = xvasprintf(fmt, ap);
    va_end(ap);
    in->result = error_set(in->reterr, -EINVAL, "%s%s: %s", in->at, member, text);
}

void reading_check_members(struct reading *in, const char *const *known)
{
    const char *key;
    json_t *value;

    json_object_foreach(UNCONST(json_t *, in->object), key, value)
    {
        size_t i = 0;

        while (known[i] && !str_eq(known[i], key)) {
            i++;
        }
        if (!known[i]) {
            reading_wrong(in, key, "there is no such member");
        }
    }
}

double reading_number(struct reading *in, const char *member, double def, double min, double max)
{
    const json_t *v = json_object_get(in->object, member);
    double x = v ? json_number_value(v) : def;

    if (v && (!json_is_number(v) || !(x >= min && x <= max))) {
        reading_wrong(in, member, "a number from %g to %g is expected", min, max);
    }
    return x;
}

unsigned reading_whole(struct reading *in, const char *member, unsigned def, unsigned min,
                       unsigned max)
{
    double x = reading_number(in, member, def, min, max);

    if (x != floor(x)) {
        reading_wrong(in, member, "a whole number from %u to %u is expected", min, max);
    }
    return (unsigned)MAX_OF(0.0, MIN_OF(x, (double)UINT32_MAX));
}

double reading_seconds(struct reading *in, const char *member)
{
    const json_t *v = json_object_get(in->object, member);
    uint64_t ms;

    if (json_is_string(v) && str_to_duration_ms(json_string_value(v), &ms) == 0 &&
        ms <= 86400 * 1000) {
        return (double)ms / 1000;
    }
    if (json_is_string(v)) {
        reading_wrong(in, member, "a time of at most a day is expected, such as 2s or 50ms");
        return 0;
    }
    return reading_number(in, member, 0, 0, 86400);
}

bool reading_flag(struct reading *in, const char *member, bool def)
{
    const json_t *v = json_object_get(in->object, member);

    if (v && !json_is_boolean(v)) {
        reading_wrong(in, member, "true or false is expected");
    }
    return v ? json_is_true(v) : def;
}

const char *reading_text(struct reading *in, const char *member)
{
    const json_t *v = json_object_get(in->object, member);

    if (v && !json_is_string(v)) {
        reading_wrong(in, member, "a text is expected");
    }
    return json_string_value(v);
}

int reading_word(struct reading *in, const char *member, int def, int (*from)(const char *))
{
    const char *s = reading_text(in, member);
    int n = s ? from(s) : def;

    if (s && n < 0) {
        reading_wrong(in, member, "'%.60s' is not known", s);
        return def;
    }
    return n;
}
