// SPDX-License-Identifier: Apache-2.0
/* Rows by name, and what was meant by a name that is none. */
#include "config/config_int.h"

#include "base/mem.h"

const struct option_row *row_find(const struct option_table *const *tables, const char *name)
{
    for (; *tables; tables++) {
        for (size_t i = 0; i < (*tables)->count; i++) {
            if (str_eq((*tables)->rows[i].name, name)) {
                return &(*tables)->rows[i];
            }
        }
    }
    return NULL;
}

/* The key of a full name: what stands behind the point. */
static const char *key_of(const char *name)
{
    const char *point = strchr(name, '.');

    return point ? point + 1 : name;
}

const char *row_nearest(const struct option_table *const *tables, const char *name)
{
    size_t best = 4;
    const char *found = NULL;

    for (; *tables; tables++) {
        for (size_t i = 0; i < (*tables)->count; i++) {
            const char *row = (*tables)->rows[i].name;
            size_t d = str_distance(name, row);

            d = d > 3 && str_eq(key_of(name), key_of(row)) ? 3 : d;
            if (d < best) {
                best = d;
                found = row;
            }
        }
    }
    return found;
}

struct span section_nearest(const struct option_table *const *tables, const char *name)
{
    static const char *const lists[] = { "models", "task_types" };
    struct span found = SPAN("");
    size_t best = 3;

    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        size_t d = str_distance(name, lists[i]);

        if (d < best) {
            best = d;
            found = span_of(lists[i]);
        }
    }
    for (; *tables; tables++) {
        for (size_t i = 0; i < (*tables)->count; i++) {
            struct span rest = span_of((*tables)->rows[i].name), section = span_cut(&rest, '.');
            _cleanup_(freep) char *text = span_dup(section);
            size_t d = str_distance(name, text);

            if (d < best) {
                best = d;
                found = section;
            }
        }
    }
    return found;
}

bool section_known(const struct option_table *const *tables, const char *name)
{
    size_t n = strlen(name);

    for (; *tables; tables++) {
        for (size_t i = 0; i < (*tables)->count; i++) {
            const char *row = (*tables)->rows[i].name;

            if (strncmp(row, name, n) == 0 && row[n] == '.') {
                return true;
            }
        }
    }
    return false;
}
