// SPDX-License-Identifier: Apache-2.0
/* jansson, with our limits and our sentences. */
#include "codec/json.h"

#include <string.h>

/* jansson itself stops at 2048, so that the recursion here is bounded. */
static bool is_deeper(const json_t *json, unsigned limit)
{
    const char *key;
    json_t *value;
    size_t i;

    if (!json_is_object(json) && !json_is_array(json)) {
        return false;
    }
    if (limit == 0) {
        return true;
    }
    json_object_foreach(UNCONST(json_t *, json), key, value)
    {
        if (is_deeper(value, limit - 1)) {
            return true;
        }
    }
    json_array_foreach(json, i, value)
    {
        if (is_deeper(value, limit - 1)) {
            return true;
        }
    }
    return false;
}

int json_read(struct span text, size_t max_bytes, json_t **ret, struct error *reterr)
{
    json_error_t e;
    json_t *json;

    if (text.n > max_bytes) {
        return error_set(reterr, -EFBIG, "the JSON text is longer than %zu bytes", max_bytes);
    }
    if (text.n > 0 &&
        memchr(text.p, '\0', text.n)) { /* jansson loses one behind a word or a number */
        return error_set(reterr, -EBADMSG, "invalid JSON: a NUL byte stands in it");
    }
    json = json_loadb(text.p ? text.p : "", text.n, JSON_REJECT_DUPLICATES, &e);
    if (!json) {
        return error_set(reterr, -EBADMSG, "invalid JSON in line %d, column %d: %s", e.line,
                         e.column, e.text);
    }
    if (is_deeper(json, JSON_DEPTH_MAX)) {
        json_decref(json);
        return error_set(reterr, -EBADMSG, "invalid JSON: it is nested deeper than %d",
                         JSON_DEPTH_MAX);
    }
    *ret = json;
    return 0;
}
