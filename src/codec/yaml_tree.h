// SPDX-License-Identifier: Apache-2.0
/*
 * YAML as a JSON tree, with the line of every value kept on the side.
 *
 * Plain scalars are typed as in YAML 1.2 (true, false, null, ~, whole and decimal numbers); on,
 * off, yes, no, what is quoted, and numbers that a JSON number would not give back (0755, 40
 * digits) are text. Refused, always with "FILE:LINE: ...": a key that stands twice, keys that are
 * not text, merge keys (<<), tags, a second document, NUL characters, nesting beyond
 * YAML_DEPTH_MAX, files over YAML_SIZE_MAX. Aliases are copied and what they add is counted: a file
 * that unfolds beyond YAML_WEIGHT_MAX is refused. Any thread.
 */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/map.h"
#include "base/str.h"

enum {
    YAML_SIZE_MAX = 4 << 20,
    YAML_DEPTH_MAX = 32,
    YAML_WEIGHT_MAX = 64 << 20, /* each value counts 64 bytes, its text and its path */
};

struct yaml_document {
    json_t *root;     /* json_null() of an empty document */
    struct map lines; /* path ("server.listen", "models.0.id") → line, as (void *)(uintptr_t)line */
};

/* name is what stands before the line in errors: "berth.yaml:3: ...". -EINVAL, -EFBIG. On success
 * the caller finishes *ret, which must not be copied; on failure it is void. */
int yaml_read(struct span text, const char *name, struct yaml_document *ret,
              struct error *reterr) _must_check_;
void yaml_document_finish(struct yaml_document *d);
/* From 1: of the key or item at this path or, inside a copy that an alias made, of the alias. 0
 * when nothing is known. */
int yaml_line(const struct yaml_document *d, const char *path);
