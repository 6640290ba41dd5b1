// SPDX-License-Identifier: Apache-2.0
/*
 * Inside the config room: a value and the configuration that holds it (value.c makes it of text),
 * the rows by name (rows.c), the environment (environment.c), the file (file.c).
 */
#pragma once

#include "base/map.h"
#include "base/str.h"
#include "config/config.h"

enum { EXPANDED_MAX = 4 << 20 };

struct value {
    const struct option_row *row;
    char *text;  /* as given */
    char **list; /* OPTION_LIST */
    int64_t num; /* int, bool, ms, bytes */
    char *source;
};

/* A list of objects in the file. */
struct entries {
    json_t *items; /* array, never NULL */
    int *lines;    /* in which each begins; NULL: there is none */
};

struct config {
    char *path;
    struct map values; /* by name */
    struct entries models, task_types;
};

/* ---- value.c */

/* Parses v->text by its row (a list that is there already stays as it is) and puts it in the place
 * of what the option had. Takes v over, in any case. */
int value_put(struct config *c, struct value *v, struct error *reterr) _must_check_;
int value_set(struct config *c, const struct option_row *row, const char *text, const char *source,
              struct error *reterr) _must_check_;
void value_free(struct value *v);
/* As an answer shows it: secrets as "***". */
json_t *value_to_json(const struct value *v);
bool value_same(const struct value *a, const struct value *b);

/* ---- rows.c */

const struct option_row *row_find(const struct option_table *const *tables, const char *name);
/* The option that was meant, or NULL: nearly the same name, or the same key in another section. */
const char *row_nearest(const struct option_table *const *tables, const char *name);
bool section_known(const struct option_table *const *tables, const char *name);
/* The section that was meant, or ""; borrowed from a row's name. */
struct span section_nearest(const struct option_table *const *tables, const char *name);

/* ---- environment.c */

/* Replaces ${NAME}; $$ is a dollar; any other $ stands for itself. keep: somebody else replaces
 * these names and $$ later, so they stay as they are; NULL: nobody does. */
int environment_expand(const char *s, const char *const *env, const char *const *keep, char **ret,
                       struct error *reterr) _must_check_;
/* Lays BERTH_SECTION_KEY over what is there. */
int environment_apply(struct config *c, const char *const *env,
                      const struct option_table *const *tables, struct error *reterr) _must_check_;

/* ---- file.c */

int file_load(struct config *c, const char *path, const char *const *env,
              const struct option_table *const *tables, struct error *reterr) _must_check_;
