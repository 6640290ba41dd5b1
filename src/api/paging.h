// SPDX-License-Identifier: Apache-2.0
/*
 * Pages of lists: limit, offset, sort (a member; "-member": descending), q (a text that is looked
 * for, whatever its case) and filters, which are named like the members that they compare. The
 * rule: where none of them is given the list is answered whole, as it stands.
 *
 * A filter takes several values with commas between: one of them must fit. What has no value of the
 * member that a list is sorted by stands last, in either direction; equals keep their order.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "http/server.h"

/* The parameters that every list has, for a route's row. */
#define PAGING_QUERY "limit:integer offset:integer sort:string q:string"

enum { PAGE_LIMIT_MAX = 1000, PAGE_OFFSET_MAX = 1000000, PAGE_FILTERS_MAX = 6 };

/* What may be asked of a list; words with blanks between, "" for none. */
struct paging_kind {
    const char *sorts;   /* members by which it may be sorted */
    const char *texts;   /* members that q looks into; a list of texts counts as its texts */
    const char *filters; /* members that a parameter of the same name compares */
};

struct paging {
    const struct paging_kind *kind;
    bool asked;     /* a parameter was given */
    uint64_t limit; /* UINT64_MAX: all */
    uint64_t offset;
    char *sort; /* the member; NULL: as the list stands */
    bool descending;
    char *q;                         /* NULL: everything fits */
    char *filters[PAGE_FILTERS_MAX]; /* as kind->filters names them; NULL: whatever */
};

/* Reads the query. False: a value is none, and the 422 that names it is answered (nothing is to be
 * finished then). */
bool paging_read(struct http_exchange *x, const struct paging_kind *kind, struct paging *ret);
void paging_finish(struct paging *p);

/* Takes the page out of a list of objects, which is stolen; *ret_total: how many fit, of all pages.
 * Owned by the caller. */
json_t *paging_take(const struct paging *p, json_t *list, size_t *ret_total);

/* Answers with the page of the list, which is stolen: as an array, the total in X-Total-Count. */
void paging_respond(struct http_exchange *x, const struct paging *p, json_t *list);
/* The same in an object: `name` is replaced by its page, total_count is set. */
void paging_apply(const struct paging *p, json_t *object, const char *name);

/* Says in X-Total-Count how many there are, of all pages. */
void paging_tell_total(struct http_exchange *x, uint64_t total);
/* A 422 that names the parameter. */
void paging_refuse(struct http_exchange *x, const char *name, const char *message);
