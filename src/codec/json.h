// SPDX-License-Identifier: Apache-2.0
/*
 * JSON trees, the strict way: jansson with limits, with sentences for the user, and with typed
 * access to members. For management and storage; what passes through the gateway is scanned
 * (codec/scan.h), not parsed. Any thread, as long as a tree is used by one at a time.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"

enum { JSON_DEPTH_MAX = 128, JSON_BYTES_MAX = 16 << 20 };

/*
 * Parses an object or an array of at most max_bytes bytes. Refused: a key that stands twice in one
 * object, anything behind the value, bytes that are not UTF-8, nesting beyond JSON_DEPTH_MAX (all
 * -EBADMSG, "invalid JSON in line 3, column 7: ..."), a longer text (-EFBIG). jansson refuses
 * besides what it cannot hold: numbers beyond 64 bits or the range of double, and \u0000. *ret is a
 * new reference.
 */
int json_read(struct span text, size_t max_bytes, json_t **ret, struct error *reterr) _must_check_;

/*
 * Typed access to a member of an object. 1: it is there and *ret is set; 0: it is absent or null
 * and *ret is as it was, so that defaults are set before the call; -EINVAL: it has another type, or
 * is out of range, or JSON_REQUIRED and absent, with a sentence that names the key. What is given
 * is borrowed from the tree.
 */
enum json_need { JSON_OPTIONAL, JSON_REQUIRED };

int json_get_string(const json_t *object, const char *key, enum json_need need, const char **ret,
                    struct error *reterr) _must_check_;
int json_get_bool(const json_t *object, const char *key, enum json_need need, bool *ret,
                  struct error *reterr) _must_check_;
/* min and max are allowed values. */
struct json_range {
    int64_t min, max;
};
int json_get_int(const json_t *object, const char *key, enum json_need need,
                 struct json_range range, int64_t *ret, struct error *reterr) _must_check_;
/* Whole numbers and fractions. */
int json_get_number(const json_t *object, const char *key, enum json_need need, double *ret,
                    struct error *reterr) _must_check_;
int json_get_object(const json_t *object, const char *key, enum json_need need, json_t **ret,
                    struct error *reterr) _must_check_;
int json_get_array(const json_t *object, const char *key, enum json_need need, json_t **ret,
                   struct error *reterr) _must_check_;

/* Compact text of any value, members in the order in which they were set. Owned by the caller; NULL
 * when memory is out. */
char *json_write(const json_t *json, size_t *ret_len);
/* The same, appended to out. -EFBIG when out is full, with a part of the text in it. */
int json_write_buf(const json_t *json, struct buf *out) _must_check_;
