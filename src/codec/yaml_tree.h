// SPDX-License-Identifier: Apache-2.0
/*
 * YAML as a JSON tree, with the line of every value kept on the side. One document; keys are plain text; a key twice is an error; scalars follow YAML 1.2's core
 * schema (true, false, null, ~, whole and decimal numbers are typed when they are not quoted; on, off, yes, no are text). Anchors and aliases work, within a bound
 * on the number of nodes. Any thread.
 */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/map.h"
#include "base/str.h"

enum { YAML_SIZE_MAX = 4 * 1024 * 1024, YAML_DEPTH_MAX = 32, YAML_NODES_MAX = 200000 };

struct yaml_document {
    json_t *root;      /* json_null() of an empty document */
    struct map lines;  /* path ("server.listen", "models.0.id") → line number, as (void *)(uintptr_t)line */
};

/* name is what stands before the line in errors: "berth.yaml:3: …". On success the caller finishes *ret, which must not be copied; on failure it is void. */
int yaml_read(struct span text, const char *name, struct yaml_document *ret, struct error *reterr) _must_check_;
void yaml_document_finish(struct yaml_document *d);
/* 0 when it is not known. */
int yaml_line(const struct yaml_document *d, const char *path);
