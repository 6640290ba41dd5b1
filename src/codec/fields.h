// SPDX-License-Identifier: Apache-2.0
/*
 * Members of an object that somebody else wrote. The first fault is kept with the path of its
 * member; readers go on with the fallback, and whoever began asks once at the end:
 *
 *     struct fault fault = { 0 };
 *     struct fields f = fields_of(object, "model", &fault);
 *     layers = fields_count(&f, "layers", 1, 4096, 0);
 *     return fault_result(&fault, field, reterr);
 *
 * A member that is null is as good as absent. -EPROTO: the wrong type, or it is missing; -EINVAL: a
 * value that cannot be.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

enum { FIELD_PATH_MAX = 96 };

struct fault {
    int code; /* 0: none yet */
    char field[FIELD_PATH_MAX];
    struct error error;
};

struct fields {
    const json_t *object; /* NULL: an object that is absent; all its members are */
    char path[FIELD_PATH_MAX];
    struct fault *fault;
};

/* object NULL or of another type: a fault, and an absent object. */
struct fields fields_of(const json_t *object, const char *path, struct fault *fault);
/* The object that the member is; absent when it is. required: that is a fault. */
struct fields fields_object(const struct fields *f, const char *name, bool required);
/* The first of these names that stands there, else the first; each list ends with NULL. */
const char *fields_pick(const struct fields *f, const char *const *names);
const json_t *fields_get(const struct fields *f, const char *name); /* NULL: absent or null */
bool fields_has(const struct fields *f, const char *name);
void fields_require(const struct fields *f, const char *name);

double fields_number(const struct fields *f, const char *name, double low, double high,
                     double fallback);
unsigned fields_count(const struct fields *f, const char *name, unsigned low, unsigned high,
                      unsigned fallback);
/* Seconds: a number of them, or a text such as "250ms"; a day at most. */
double fields_seconds(const struct fields *f, const char *name, double fallback);
bool fields_bool(const struct fields *f, const char *name, bool fallback);
/* NULL when it is absent; borrowed. */
const char *fields_text(const struct fields *f, const char *name);
/* A word that from() knows (its negative results are faults; the sentence names the words). */
int fields_word(const struct fields *f, const char *name, int (*from)(const char *),
                const char *words, int fallback);
/* A member that is none of these, but as near to one as a slip of the finger: a fault. Others are
 * passed over. Ends with NULL. */
void fields_spelling(const struct fields *f, const char *const *known);

/* Any member that is none of these is a fault. Ends with NULL. */
void fields_only(const struct fields *f, const char *const *known);

/* Says that a member is wrong, unless something was said before. name NULL: the object itself. */
void fields_fault(const struct fields *f, int code, const char *name, const char *fmt, ...)
    _printf_(4, 5);
/* 0, or the code with its sentence ("model.layers: …") in reterr and the member's path in field
 * (NULL: not asked for). */
int fault_result(const struct fault *fault, char field[FIELD_PATH_MAX], struct error *reterr);
