// SPDX-License-Identifier: Apache-2.0
/*
 * Looking at files below some allowed folders, and at nothing else: what a path really names, links
 * followed, must be one of the roots or lie below it. What lies elsewhere is not even told to
 * exist.
 *
 * All of it blocks, for as long as a file system may: to be called on a worker.
 */
#pragma once

#include <jansson.h>

#include "api/paging.h"
#include "base/error.h"

enum {
    BROWSER_ENTRIES_MAX = 2000, /* of an answer */
    BROWSER_LOOKS_MAX = 100000, /* names that are read for it */
    BROWSER_PATH_MAX = 4000,
};

extern const struct paging_kind browser_paging; /* name size modified; q: the name */

/* roots: NULL-terminated; those that are not there count as none. All answers are the caller's. */

/* The contract's {path, directories, files, parent, allowed_roots}, with total_count and truncated.
 * -EPERM: it lies outside, -EINVAL, -ENOENT, -ENOTDIR, -EACCES, with the sentence. */
int browser_list(const char *const *roots, const char *path, const struct paging *paging,
                 json_t **ret, struct error *reterr) _must_check_;
/* The contract's {is_model, file_info, path}. -EPERM, -EINVAL, -ENOENT, -EACCES. */
int browser_look(const char *const *roots, const char *path, json_t **ret,
                 struct error *reterr) _must_check_;
/* [{path, name, accessible}] */
json_t *browser_roots(const char *const *roots);
