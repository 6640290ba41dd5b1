// SPDX-License-Identifier: Apache-2.0
/* Inside of events: rows of the table, read on the store's threads. */
#pragma once

#include "events/events.h"

/* The events of one answer, owned. */
struct event_rows {
    struct event **items;
    size_t count;
};

struct event *event_dup(const struct event *e);
void event_rows_finish(struct event_rows *rows);
/* filter->limit and subject as in event_filter; rows must be empty. */
int event_rows_read(struct sql *db, const struct event_filter *filter, struct event_rows *rows,
                    struct error *reterr) _must_check_;
/* How many match, limit and offset or not. */
int event_rows_count(struct sql *db, const struct event_filter *filter,
                     struct error *reterr) _must_check_;
bool event_matches(const struct event *e, const struct event_filter *filter);

/* The oldest stored id and the newest ever given; 0 when there is none. */
int event_bounds_read(struct sql *db, int64_t *ret_first, int64_t *ret_last,
                      struct error *reterr) _must_check_;
/* Deletes up to a batch of events older than before_ms; returns how many (0: none is left). */
int event_rows_expire(struct sql *db, int64_t before_ms, struct error *reterr) _must_check_;
