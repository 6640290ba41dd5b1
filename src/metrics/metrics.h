// SPDX-License-Identifier: Apache-2.0
/*
 * Counters, gauges and histograms, declared in tables by the rooms that count, kept in memory,
 * written in Prometheus' text format. A cell (one metric with one set of label values) is looked up
 * once and kept by its user: counting is then one addition.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct metrics;

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
enum { METRIC_LABELS_MAX = 4, METRIC_CELLS_MAX = 2000, METRIC_BUCKETS_MAX = 24 };

struct metric {
    const char *name; /* berth_requests_total */
    enum metric_type type;
    const char *help;
    const char *labels[METRIC_LABELS_MAX]; /* names; NULL ends */
    const double *buckets; /* of a histogram: upper bounds, positive and growing, ended by 0 */
};

struct metric_cell {
    double value; /* counter, gauge; of a histogram the sum */
    uint64_t count;
    const double *bounds;
    uint64_t buckets[METRIC_BUCKETS_MAX];
};

/* Seconds from 1 ms to 10 min, ends with 0: for latencies. */
extern const double metric_seconds[];

struct metrics *metrics_create(void);
struct metrics *metrics_destroy(struct metrics *m);
/* Tables are constants that outlive m; names must be new. */
void metrics_declare(struct metrics *m, const struct metric *table, size_t count);
/*
 * The cell of these label values (as many as the metric has labels; NULL when it has none, it then
 * stands as 0 from the start). It lives until metrics_forget or the end. Values are cut at 256
 * bytes, and what is not UTF-8 in them becomes '?'. Beyond METRIC_CELLS_MAX of one metric all new
 * ones share a cell whose label values are "other".
 */
struct metric_cell *metrics_cell(struct metrics *m, const struct metric *metric,
                                 const char *const *values);
/* Removes every cell in which label `name` has `value` (a model that is gone). Users must have let
 * go. */
void metrics_forget(struct metrics *m, const char *name, const char *value);

static inline void metric_add(struct metric_cell *c, double by)
{
    c->value += by;
}
static inline void metric_set(struct metric_cell *c, double to)
{
    c->value = to;
}
void metric_observe(struct metric_cell *c, double value);

/* Called before each exposition, for gauges that are read from elsewhere. */
void metrics_on_collect(struct metrics *m, void (*fn)(void *arg), void *arg);
/* Text format 0.0.4. -EFBIG when out is full, with a part of the text in it. */
int metrics_write(struct metrics *m, struct buf *out) _must_check_;
