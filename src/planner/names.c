// SPDX-License-Identifier: Apache-2.0
/*
 * Names as people write them: "meta-llama/Llama-3.1-70B-Instruct" is Llama-3.1-70B, "H100 SXM" is
 * H100-SXM. What is compared are letters and digits only.
 */
#include "planner/planner_int.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

/* Endings that name a tuning or a packing of the same dimensions; of two of which one ends with the
 * other the longer stands first. */
static const char *const endings[] = {
    "instruct",  "chat", "hf",         "base", "preview", "fp8kv", "fp8",      "nvfp4",
    "mxfp4",     "fp4",  "bf16",       "fp16", "awq",     "gptq",  "gguf",     "w4a16",
    "w8a8",      "int4", "int8",       "4bit", "8bit",    "it",    "bnb",      "mlx",
    "dynamic",   "q4km", "q40",        "q5km", "q6k",     "q80",   "thinking", "2507",
    "quantized", "v01",  "generation", "gpu"
};

/* Makers, before the name of a chip. */
static const char *const makers[] = { "nvidia", "amd",   "intel",   "google",  "apple",
                                      "huawei", "tesla", "geforce", "instinct" };

static bool drop_ending(char *name)
{
    const size_t n = strlen(name);

    for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
        const size_t m = strlen(endings[i]);

        if (n > m + 2 && str_eq(name + n - m, endings[i])) {
            name[n - m] = '\0';
            return true;
        }
    }
    return false;
}

static bool drop_maker(char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(makers); i++) {
        const size_t n = strlen(makers[i]);

        if (strncmp(name, makers[i], n) == 0 && strlen(name) > n + 1) {
            memmove(name, name + n, strlen(name) - n + 1);
            return true;
        }
    }
    return false;
}

void planner_fold_name(const char *name, char out[PLANNER_NAME_MAX])
{
    const char *slash = strrchr(name, '/');
    size_t n = 0;

    for (const char *p = slash ? slash + 1 : name; *p && n < PLANNER_NAME_MAX - 1; p++) {
        if (isalnum((unsigned char)*p)) {
            out[n++] = (char)tolower((unsigned char)*p);
        } else if (*p == '+' && n < PLANNER_NAME_MAX - 5) {
            memcpy(out + n, "plus", 4);
            n += 4;
        }
    }
    out[n] = '\0';
    while (drop_ending(out) || drop_maker(out)) {
    }
}

/* How far a folded word is from the nearest of a row's names. */
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

static const struct planner_chip *find_chip(const char *folded, double gb)
{
    for (const struct planner_chip *c = planner_chips; c->name; c++) {
        /* 80 GiB are 85.9 GB, and not all of a shared memory is the chip's */
        if ((gb <= 0 || (c->memory_gb > 0.85 * gb && c->memory_gb < 1.15 * gb)) &&
            is_row(folded, c->name, c->aliases)) {
            return c;
        }
    }
    return NULL;
}

/* Drops the words that tell a memory's size and kind ("80GB", "HBM3e"); returns the size, 0 when
 * there is none. */
static double drop_memory(const char *name, char out[PLANNER_NAME_MAX])
{
    double gb = 0;
    size_t n = 0;

    while (*name && n < PLANNER_NAME_MAX - 1) {
        size_t word = 0, digits;

        while (isalnum((unsigned char)name[word])) {
            word++;
        }
        digits = strspn(name, "0123456789");
        if (digits > 0 && digits < 5 && word >= digits + 1 && word <= digits + 3 &&
            strncasecmp(name + digits, "gib", word - digits > 2 ? 3 : 1) == 0) {
            gb = strtod(name, NULL);
        } else if (word < 3 || strncasecmp(name, "hbm", 3) != 0) {
            for (size_t i = 0; i < (word ? word : 1) && n < PLANNER_NAME_MAX - 1; i++) {
                out[n++] = name[i];
            }
        }
        name += word ? word : 1;
    }
    out[n] = '\0';
    return gb;
}

const struct planner_chip *planner_find_chip(const char *name)
{
    char wanted[PLANNER_NAME_MAX], rest[PLANNER_NAME_MAX];
    const struct planner_chip *c;
    double gb;

    planner_fold_name(name, wanted);
    c = find_chip(wanted, 0);
    if (c) {
        return c;
    }
    gb = drop_memory(name, rest);
    planner_fold_name(rest, wanted);
    return find_chip(wanted, gb);
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
