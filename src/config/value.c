// SPDX-License-Identifier: Apache-2.0
/*
 * Values: what a row makes of a text, and back. Every value, defaults too, goes through the same
 * parser, so that a default that its own row would refuse is found by the first load.
 */
#include "config/config_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/mem.h"

/* ---- ranges ---- */

struct unit {
    int64_t size;
    const char *name;
};

/* The number in the largest of the units (largest first, the last is 1) that divides it. */
static void print_in_units(const struct unit *units, int64_t n, char *out, size_t size)
{
    while (units->size > 1 && n % units->size != 0) {
        units++;
    }
    snprintf(out, size, "%lld%s", (long long)(n / units->size), n == 0 ? "" : units->name);
}

bool option_range(const struct option_row *row, char out[OPTION_RANGE_SIZE])
{
    static const struct unit times[] = {
        { 86400000, "d" }, { 3600000, "h" }, { 60000, "m" }, { 1000, "s" }, { 1, "ms" },
    };
    static const struct unit sizes[] = {
        { 1ll << 40, "TiB" }, { 1 << 30, "GiB" }, { 1 << 20, "MiB" }, { 1 << 10, "KiB" }, { 1, "" },
    };
    static const struct unit counts[] = { { 1, "" } };
    const struct unit *units = row->type == OPTION_DURATION ? times
                               : row->type == OPTION_BYTES  ? sizes
                                                            : counts;
    char min[32], max[32];

    if (row->min == 0 && row->max == 0) {
        return false;
    }
    print_in_units(units, row->min, min, sizeof(min));
    print_in_units(units, row->max, max, sizeof(max));
    snprintf(out, OPTION_RANGE_SIZE, "%s to %s", min, max);
    return true;
}

static int check_range(const struct option_row *row, int64_t v, struct error *reterr)
{
    char range[OPTION_RANGE_SIZE];

    if (option_range(row, range) && (v < row->min || v > row->max)) {
        return error_set(reterr, -EINVAL, "%s is out of range: %s", row->name, range);
    }
    return 0;
}

/* ---- from text ---- */

static int parse_bool(const char *text, int64_t *ret)
{
    static const char *const yes[] = { "true", "yes", "on", "1" };
    static const char *const no[] = { "false", "no", "off", "0" };

    for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
        if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
            *ret = strcasecmp(text, yes[i]) == 0;
            return 0;
        }
    }
    return -EINVAL;
}

static bool is_word_of(const char *words, const char *text)
{
    struct span rest = span_of(words);

    while (rest.p) {
        if (span_eq(span_cut(&rest, ' '), text)) {
            return true;
        }
    }
    return false;
}

static char **split_list(const char *text)
{
    struct span rest = span_of(text);
    char **list = xcalloc(1, sizeof(char *));
    size_t n = 0;

    while (rest.p) {
        struct span item = span_trim(span_cut(&rest, ','));

        if (item.n > 0) {
            list = xrealloc(list, (n + 2) * sizeof(char *));
            list[n++] = span_dup(item);
            list[n] = NULL;
        }
    }
    return list;
}

static int parse_number(const struct option_row *row, const char *text, int64_t *ret,
                        struct error *reterr)
{
    uint64_t u = 0;

    switch (row->type) {
    case OPTION_INT:
        if (span_to_i64(span_of(text), ret) < 0) {
            return error_set(reterr, -EINVAL, "%s must be a whole number, not \"%s\"", row->name,
                             text);
        }
        break;
    case OPTION_DURATION:
        if (str_to_duration_ms(text, &u) < 0) {
            return error_set(reterr, -EINVAL,
                             "%s must be a duration such as 300s, 5m or 250ms, not \"%s\"",
                             row->name, text);
        }
        *ret = (int64_t)u;
        break;
    case OPTION_BYTES:
        if (str_to_bytes(text, &u) < 0) {
            return error_set(reterr, -EINVAL, "%s must be a size such as 512MiB or 32K, not \"%s\"",
                             row->name, text);
        }
        *ret = (int64_t)u;
        break;
    default:
        if (parse_bool(text, ret) < 0) {
            return error_set(reterr, -EINVAL, "%s must be true or false, not \"%s\"", row->name,
                             text);
        }
        return 0;
    }
    return check_range(row, *ret, reterr);
}

void value_free(struct value *v)
{
    if (v) {
        free(v->text);
        free(v->source);
        str_list_free(v->list);
        free(v);
    }
}

/* What the row makes of v->text. A list that is there already stays as it is. */
static int parse_value(struct value *v, struct error *reterr)
{
    const struct option_row *row = v->row;

    switch (row->type) {
    case OPTION_STRING:
        return 0;
    case OPTION_LIST:
        v->list = v->list ? v->list : split_list(v->text);
        return 0;
    case OPTION_ENUM:
        if (!is_word_of(row->words, v->text)) {
            return error_set(reterr, -EINVAL, "%s must be one of: %s; not \"%s\"", row->name,
                             row->words, v->text);
        }
        return 0;
    default:
        return parse_number(row, v->text, &v->num, reterr);
    }
}

int value_put(struct config *c, struct value *v, struct error *reterr)
{
    int r = parse_value(v, reterr);

    if (r < 0) {
        value_free(v);
        return r;
    }
    value_free(map_put(&c->values, v->row->name, v));
    return 0;
}

int value_set(struct config *c, const struct option_row *row, const char *text, const char *source,
              struct error *reterr)
{
    struct value *v = xcalloc(1, sizeof(*v));

    v->row = row;
    v->text = xstrdup(text);
    v->source = xstrdup(source);
    return value_put(c, v, reterr);
}

/* ---- as JSON ---- */

json_t *value_to_json(const struct value *v)
{
    json_t *list;

    if (v->row->secret && v->text[0]) {
        return json_string("***");
    }
    switch (v->row->type) {
    case OPTION_INT:
        return json_integer(v->num);
    case OPTION_BOOL:
        return json_boolean(v->num);
    case OPTION_LIST:
        list = json_array();
        for (char **p = v->list; *p; p++) {
            json_array_append_new(list, json_string(*p));
        }
        return list;
    default:
        return json_string(v->text);
    }
}

bool value_same(const struct value *a, const struct value *b)
{
    if (a->row->type == OPTION_STRING || a->row->type == OPTION_ENUM) {
        return str_eq(a->text, b->text);
    }
    if (a->row->type != OPTION_LIST) {
        return a->num == b->num; /* 300s is 5m */
    }
    for (size_t i = 0;; i++) {
        if (!str_eq_opt(a->list[i], b->list[i]) || !a->list[i]) {
            return a->list[i] == b->list[i];
        }
    }
}
