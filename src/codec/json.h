// SPDX-License-Identifier: Apache-2.0
/*
 * JSON trees, the strict way: jansson with limits and with sentences for the user. For management
 * and storage; what passes through the gateway is scanned (codec/scan.h), not parsed. Any thread,
 * as long as a tree is used by one at a time.
 */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/str.h"

enum { JSON_DEPTH_MAX = 128, JSON_BYTES_MAX = 16 << 20 };

/*
 * Parses an object or an array of at most max_bytes bytes. Refused: a key that stands twice in one
 * object, anything behind the value, NUL bytes, what is not UTF-8, nesting beyond JSON_DEPTH_MAX
 * (all -EBADMSG, "invalid JSON in line 3, column 7: ..."), a longer text (-EFBIG). jansson refuses
 * besides what it cannot hold: numbers beyond 64 bits or the range of double, and \u0000. *ret is a
 * new reference.
 */
int json_read(struct span text, size_t max_bytes, json_t **ret, struct error *reterr) _must_check_;
