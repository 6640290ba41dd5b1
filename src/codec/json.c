// SPDX-License-Identifier: Apache-2.0
/* jansson, with our limits and our sentences. */
#include "codec/json.h"

#include <assert.h>
#include <stdlib.h>
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

/* The member, or NULL and in *ret_r what the getter returns. */
static json_t *find_member(const json_t *object, const char *key, enum json_need need, int *ret_r,
                           struct error *reterr)
{
    json_t *value;

    assert(json_is_object(object));
    value = json_object_get(object, key);
    if (value && !json_is_null(value)) {
        return value;
    }
    *ret_r = need == JSON_REQUIRED ? error_set(reterr, -EINVAL, "'%s' is missing", key) : 0;
    return NULL;
}

static int wrong_type(const char *key, const char *wanted, struct error *reterr)
{
    return error_set(reterr, -EINVAL, "'%s' must be %s", key, wanted);
}

int json_get_string(const json_t *object, const char *key, enum json_need need, const char **ret,
                    struct error *reterr)
{
    int r;
    const json_t *value = find_member(object, key, need, &r, reterr);

    if (!value) {
        return r;
    }
    if (!json_is_string(value)) {
        return wrong_type(key, "a string", reterr);
    }
    *ret = json_string_value(value);
    return 1;
}

int json_get_bool(const json_t *object, const char *key, enum json_need need, bool *ret,
                  struct error *reterr)
{
    int r;
    const json_t *value = find_member(object, key, need, &r, reterr);

    if (!value) {
        return r;
    }
    if (!json_is_boolean(value)) {
        return wrong_type(key, "true or false", reterr);
    }
    *ret = json_is_true(value);
    return 1;
}

int json_get_int(const json_t *object, const char *key, enum json_need need,
                 struct json_range range, int64_t *ret, struct error *reterr)
{
    int r;
    const json_t *value = find_member(object, key, need, &r, reterr);

    if (!value) {
        return r;
    }
    if (!json_is_integer(value)) {
        return wrong_type(key, "a whole number", reterr);
    }
    if (json_integer_value(value) < range.min || json_integer_value(value) > range.max) {
        return error_set(reterr, -EINVAL, "'%s' must be between %lld and %lld, not %lld", key,
                         (long long)range.min, (long long)range.max,
                         (long long)json_integer_value(value));
    }
    *ret = json_integer_value(value);
    return 1;
}

int json_get_number(const json_t *object, const char *key, enum json_need need, double *ret,
                    struct error *reterr)
{
    int r;
    const json_t *value = find_member(object, key, need, &r, reterr);

    if (!value) {
        return r;
    }
    if (!json_is_number(value)) {
        return wrong_type(key, "a number", reterr);
    }
    *ret = json_number_value(value);
    return 1;
}

int json_get_object(const json_t *object, const char *key, enum json_need need, json_t **ret,
                    struct error *reterr)
{
    int r;
    json_t *value = find_member(object, key, need, &r, reterr);

    if (!value) {
        return r;
    }
    if (!json_is_object(value)) {
        return wrong_type(key, "an object", reterr);
    }
    *ret = value;
    return 1;
}

int json_get_array(const json_t *object, const char *key, enum json_need need, json_t **ret,
                   struct error *reterr)
{
    int r;
    json_t *value = find_member(object, key, need, &r, reterr);

    if (!value) {
        return r;
    }
    if (!json_is_array(value)) {
        return wrong_type(key, "an array", reterr);
    }
    *ret = value;
    return 1;
}

char *json_write(const json_t *json, size_t *ret_len)
{
    char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);

    if (text && ret_len) {
        *ret_len = strlen(text);
    }
    return text;
}

static int append(const char *p, size_t n, void *out)
{
    return buf_append(out, p, n);
}

int json_write_buf(const json_t *json, struct buf *out)
{
    return json_dump_callback(json, append, out, JSON_COMPACT | JSON_ENCODE_ANY) < 0 ? -EFBIG : 0;
}
