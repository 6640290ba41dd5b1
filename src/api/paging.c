// SPDX-License-Identifier: Apache-2.0
/*
 * Pages of lists that stand in memory, as arrays of JSON objects: what fits is collected, put in
 * order, cut. The objects are those that are answered, so that what a client sorts and looks for is
 * what it sees.
 */
#include "api/paging.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/api_int.h"
#include "base/mem.h"

/* ---- reading the query ---- */

void paging_refuse(struct http_exchange *x, const char *name, const char *message)
{
    json_t *errors = json_pack("[{s:[s, s], s:s, s:s}]", "loc", "query", name, "msg", message,
                               "type", "value_error");

    respond_schema_errors(x, errors);
    json_decref(errors);
}

/* What is given and not empty, owned by the caller; NULL: it is not. */
static char *query_text(struct http_exchange *x, const char *name)
{
    char *text = http_query_get(http_exchange_head(x)->query, name);

    if (text && !*text) {
        free(text);
        return NULL;
    }
    return text;
}

static bool is_given(struct http_exchange *x, const char *name)
{
    _cleanup_(freep) char *text = query_text(x, name);

    return text != NULL;
}

/* Is it one of the words? */
static bool is_among(const char *words, struct span word)
{
    struct span rest = span_of(words);

    while (rest.n > 0) {
        const struct span one = span_cut(&rest, ' ');

        if (one.n == word.n && memcmp(one.p, word.p, word.n) == 0) {
            return true;
        }
    }
    return false;
}

static bool read_number(struct http_exchange *x, const char *name, uint64_t min, uint64_t max,
                        uint64_t *ret)
{
    _cleanup_(freep) char *text = query_text(x, name);
    _cleanup_(freep) char *message = NULL;

    if (!text || (span_to_u64(span_of(text), ret) == 0 && *ret >= min && *ret <= max)) {
        return true;
    }
    message = xasprintf("must be a whole number from %llu to %llu", (unsigned long long)min,
                        (unsigned long long)max);
    paging_refuse(x, name, message);
    return false;
}

static bool read_sort(struct http_exchange *x, struct paging *p)
{
    _cleanup_(freep) char *text = query_text(x, "sort");
    _cleanup_(freep) char *message = NULL;
    const char *member = text;

    if (!text) {
        return true;
    }
    p->descending = *text == '-';
    member += p->descending;
    if (is_among(p->kind->sorts, span_of(member))) {
        p->sort = xstrdup(member);
        return true;
    }
    message = xasprintf("the list is sorted by one of: %s (descending with a '-' before it)",
                        p->kind->sorts);
    paging_refuse(x, "sort", message);
    return false;
}

static void read_filters(struct http_exchange *x, struct paging *p)
{
    struct span rest = span_of(p->kind->filters);

    for (size_t i = 0; rest.n > 0 && i < PAGE_FILTERS_MAX; i++) {
        _cleanup_(freep) char *name = span_dup(span_cut(&rest, ' '));

        p->filters[i] = query_text(x, name);
        p->asked = p->asked || p->filters[i];
    }
}

bool paging_read(struct http_exchange *x, const struct paging_kind *kind, struct paging *ret)
{
    struct paging p = { .kind = kind, .limit = UINT64_MAX };

    if (!read_number(x, "limit", 1, PAGE_LIMIT_MAX, &p.limit) ||
        !read_number(x, "offset", 0, PAGE_OFFSET_MAX, &p.offset) || !read_sort(x, &p)) {
        return false;
    }
    p.q = query_text(x, "q");
    p.asked = is_given(x, "limit") || is_given(x, "offset") || p.sort || p.q;
    read_filters(x, &p);
    *ret = p;
    return true;
}

void paging_finish(struct paging *p)
{
    free(p->sort);
    free(p->q);
    for (size_t i = 0; i < PAGE_FILTERS_MAX; i++) {
        free(p->filters[i]);
    }
}

/* ---- what fits ---- */

/* A value as people write it, in room; NULL: it is null, or more than a text or number. */
static const char *value_text(const json_t *value, char room[32])
{
    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_STRING:
        return json_string_value(value);
    case JSON_INTEGER:
        snprintf(room, 32, "%lld", (long long)json_integer_value(value));
        return room;
    case JSON_REAL:
        snprintf(room, 32, "%g", json_real_value(value));
        return room;
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    default:
        return NULL;
    }
}

static bool holds(const json_t *value, const char *q)
{
    char room[32];
    const char *text = value_text(value, room);
    const json_t *item;
    size_t i;

    if (text) {
        return strcasestr(text, q) != NULL;
    }
    json_array_foreach(UNCONST(json_t *, value), i, item)
    {
        text = value_text(item, room);
        if (text && strcasestr(text, q)) {
            return true;
        }
    }
    return false;
}

static bool is_found(const struct paging *p, const json_t *object)
{
    struct span rest = span_of(p->kind->texts);

    while (rest.n > 0) {
        const struct span name = span_cut(&rest, ' ');

        if (holds(json_object_getn(object, name.p, name.n), p->q)) {
            return true;
        }
    }
    return false;
}

static bool equals_one_of(const json_t *value, const char *wanted)
{
    char room[32];
    const char *text = value_text(value, room);
    struct span rest = span_of(wanted);

    if (text && str_eq(text, wanted)) { /* a name may have commas */
        return true;
    }
    while (text && rest.n > 0) {
        if (span_eq(span_trim(span_cut(&rest, ',')), text)) {
            return true;
        }
    }
    return false;
}

static bool fits(const struct paging *p, const json_t *object)
{
    struct span rest = span_of(p->kind->filters);

    for (size_t i = 0; rest.n > 0 && i < PAGE_FILTERS_MAX; i++) {
        const struct span name = span_cut(&rest, ' ');

        if (p->filters[i] &&
            !equals_one_of(json_object_getn(object, name.p, name.n), p->filters[i])) {
            return false;
        }
    }
    return !p->q || is_found(p, object);
}

/* ---- in order ---- */

struct row {
    json_t *object; /* borrowed */
    const json_t *key;
    size_t place; /* in the list as it stood */
    bool descending;
};

static bool is_nothing(const json_t *value)
{
    return !value || json_is_null(value);
}

static int compare_values(const json_t *a, const json_t *b)
{
    char room_a[32], room_b[32];
    const char *text_a, *text_b;

    if (json_is_number(a) && json_is_number(b)) {
        const double x = json_number_value(a), y = json_number_value(b);

        return x < y ? -1 : x > y;
    }
    text_a = value_text(a, room_a);
    text_b = value_text(b, room_b);
    return text_a && text_b ? strcasecmp(text_a, text_b) : 0;
}

static int compare_rows(const void *one, const void *other)
{
    const struct row *a = one, *b = other;
    int r = is_nothing(a->key) - is_nothing(b->key);

    if (r == 0 && !is_nothing(a->key)) {
        r = compare_values(a->key, b->key);
        r = a->descending ? -r : r;
    }
    return r != 0 ? r : (a->place > b->place) - (a->place < b->place);
}

json_t *paging_take(const struct paging *p, json_t *list, size_t *ret_total)
{
    struct row *rows = xcalloc(json_array_size(list) + 1, sizeof(*rows));
    json_t *page = json_array(), *object;
    size_t count = 0, i;

    json_array_foreach(list, i, object)
    {
        if (fits(p, object)) {
            rows[count++] = (struct row){ object, p->sort ? json_object_get(object, p->sort) : NULL,
                                          i, p->descending };
        }
    }
    if (p->sort) {
        qsort(rows, count, sizeof(*rows), compare_rows);
    }
    for (i = p->offset; i < count && json_array_size(page) < p->limit; i++) {
        json_array_append(page, rows[i].object);
    }
    free(rows);
    json_decref(list);
    *ret_total = count;
    return page;
}

/* ---- answering ---- */

void paging_tell_total(struct http_exchange *x, uint64_t total)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)total);
    http_exchange_add_header(x, "X-Total-Count", text);
}

void paging_respond(struct http_exchange *x, const struct paging *p, json_t *list)
{
    size_t total;
    json_t *page = paging_take(p, list, &total);

    paging_tell_total(x, total);
    http_respond_json(x, 200, page);
}

void paging_apply(const struct paging *p, json_t *object, const char *name)
{
    size_t total;
    json_t *page = paging_take(p, json_incref(json_object_get(object, name)), &total);

    json_object_set_new(object, name, page);
    json_object_set_new(object, "total_count", json_integer((json_int_t)total));
}
