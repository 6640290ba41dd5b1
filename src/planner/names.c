// SPDX-License-Identifier: Apache-2.0
/*
 * Names as people write them: "meta-llama/Llama-3.1-70B-Instruct" is Llama-3.1-70B, "H100 SXM" is
 * H100-SXM. What is compared are letters and digits only.
 */
#include "planner/planner_int.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

/* Endings that name a tuning or a packing of the same dimensions. */
static const char *const endings[] = { "instruct", "chat",     "it",    "hf",    "base", "preview",
                                       "fp8",      "fp4",      "nvfp4", "bf16",  "awq",  "gptq",
                                       "gguf",     "thinking", "2507",  "w4a16", "v01" };

static void drop_endings(char *name)
{
    bool again = true;

    while (again) {
        const size_t n = strlen(name);

        again = false;
        for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
            const size_t m = strlen(endings[i]);

            if (n > m + 2 && str_eq(name + n - m, endings[i])) {
                name[n - m] = '\0';
                again = true;
                break;
            }
        }
    }
}

void planner_fold_name(const char *name, char out[PLANNER_NAME_MAX])
{
    const char *slash = strrchr(name, '/');
    size_t n = 0;

    for (const char *p = slash ? slash + 1 : name; *p && n < PLANNER_NAME_MAX - 1; p++) {
        if (isalnum((unsigned char)*p)) {
            out[n++] = (char)tolower((unsigned char)*p);
        }
    }
    out[n] = '\0';
    drop_endings(out);
}

/* How far a folded word is from the nearest of a row's names; a beginning counts as near. */
static size_t distance_to_row(const char *wanted, const char *name, const char *aliases)
{
    char folded[PLANNER_NAME_MAX], alias[PLANNER_NAME_MAX];
    size_t best, d;
    struct span rest = span_of(aliases ? aliases : "");

    planner_fold_name(name, folded);
    best = str_distance(wanted, folded);
    while (rest.n > 0) {
        const struct span one = span_cut(&rest, ',');

        snprintf(alias, sizeof(alias), "%.*s", (int)one.n, one.p);
        planner_fold_name(alias, folded);
        d = str_distance(wanted, folded);
        best = MIN_OF(best, d);
    }
    return best;
}

static bool is_row(const char *wanted, const char *name, const char *aliases)
{
    char folded[PLANNER_NAME_MAX], alias[PLANNER_NAME_MAX];
    struct span rest = span_of(aliases ? aliases : "");

    planner_fold_name(name, folded);
    while (!str_eq(folded, wanted) && rest.n > 0) {
        const struct span one = span_cut(&rest, ',');

        snprintf(alias, sizeof(alias), "%.*s", (int)one.n, one.p);
        planner_fold_name(alias, folded);
    }
    return str_eq(folded, wanted);
}

const struct planner_chip *planner_find_chip(const char *name)
{
    char wanted[PLANNER_NAME_MAX];

    planner_fold_name(name, wanted);
    for (const struct planner_chip *c = planner_chips; c->name; c++) {
        if (is_row(wanted, c->name, c->aliases)) {
            return c;
        }
    }
    return NULL;
}

const struct planner_model *planner_find_model(const char *name)
{
    char wanted[PLANNER_NAME_MAX];

    planner_fold_name(name, wanted);
    for (const struct planner_model *m = planner_models; m->name; m++) {
        if (is_row(wanted, m->name, m->aliases)) {
            return m;
        }
    }
    return NULL;
}

/* Keeps the max nearest, sorted. */
static size_t keep_nearest(const char **names, size_t *distances, size_t count, size_t max,
                           const char *name, size_t d)
{
    size_t i;

    if (count == max && (max == 0 || d >= distances[max - 1])) {
        return count;
    }
    i = count < max ? count : max - 1;
    while (i > 0 && distances[i - 1] > d) {
        names[i] = names[i - 1];
        distances[i] = distances[i - 1];
        i--;
    }
    names[i] = name;
    distances[i] = d;
    return count < max ? count + 1 : count;
}

enum { NEAR_MAX = 16 };

size_t planner_near_chips(const char *name, const char **ret, size_t max)
{
    char wanted[PLANNER_NAME_MAX];
    size_t distances[NEAR_MAX], count = 0;

    max = MIN_OF(max, (size_t)NEAR_MAX);
    planner_fold_name(name, wanted);
    for (const struct planner_chip *c = planner_chips; c->name; c++) {
        count = keep_nearest(ret, distances, count, max, c->name,
                             distance_to_row(wanted, c->name, c->aliases));
    }
    return count;
}

size_t planner_near_models(const char *name, const char **ret, size_t max)
{
    char wanted[PLANNER_NAME_MAX];
    size_t distances[NEAR_MAX], count = 0;

    max = MIN_OF(max, (size_t)NEAR_MAX);
    planner_fold_name(name, wanted);
    for (const struct planner_model *m = planner_models; m->name; m++) {
        count = keep_nearest(ret, distances, count, max, m->name,
                             distance_to_row(wanted, m->name, m->aliases));
    }
    return count;
}
