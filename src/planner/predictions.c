// SPDX-License-Identifier: Apache-2.0
/*
 * What the planner says to a row of measurements, and how far that is off. A row that cannot be
 * predicted says why, and counts as a miss.
 */
#include "planner/planner_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

/* ---- predictions ---- */

static bool is_mlperf(const struct planner_row *row)
{
    return strncmp(row->workload, "mlperf", 6) == 0;
}

/* Requests of many lengths, and under a latency limit, are served less well than equal ones. */
static double evenness(const struct planner_row *row, const struct planner_coefficients *k)
{
    if (!is_mlperf(row)) {
        return 1;
    }
    return strcmp(row->workload, "mlperf_server") == 0 ? k->mixed * k->server : k->mixed;
}

/* inverse: of what rises when the figure falls. */
static void set_prediction(struct planner_row *row, double value, enum planner_figure figure,
                           bool inverse)
{
    const struct planner_band b = planner_bands[row->load.kind][figure];

    if (!(value > 0 && isfinite(value))) {
        planner_row_complain(row, "this load makes no %s", row->metric);
        return;
    }
    row->predicted_ok = true;
    row->predicted = value;
    row->band = inverse ? (struct planner_band){ value / b.p90, value / b.p10 }
                        : (struct planner_band){ value * b.p10, value * b.p90 };
}

static void pick_metric(struct planner_row *row, const struct planner_setup *s,
                        const struct planner_result *r)
{
    const struct planner_coefficients *k = s->k;
    const double share = evenness(row, k), tpot_ms = 1e3 * r->tpot_s;

    if (str_eq(row->metric, "ttft_mean")) {
        set_prediction(row, 1e3 * r->ttft_s, PLANNER_FIGURE_TTFT, false);
    } else if (str_eq(row->metric, "tpot_mean") || str_eq(row->metric, "itl_mean")) {
        set_prediction(row, tpot_ms, PLANNER_FIGURE_TPOT, false);
    } else if (str_eq(row->metric, "tpot_p99")) {
        /* MLPerf's server scenario is the highest rate that keeps it below 200 ms */
        const double p99 = tpot_ms * k->server_p99, most = is_mlperf(row) ? 200 : p99;

        set_prediction(row, fmin(p99, most), PLANNER_FIGURE_TPOT, false);
    } else if (str_eq(row->metric, "output_tokens_per_s")) {
        set_prediction(row, share * r->output_tokens_ps, PLANNER_FIGURE_THROUGHPUT, false);
    } else if (str_eq(row->metric, "output_tokens_per_s_per_gpu")) {
        set_prediction(row, share * r->output_tokens_ps / r->chips, PLANNER_FIGURE_THROUGHPUT,
                       false);
    } else if (str_eq(row->metric, "total_tokens_per_s")) {
        set_prediction(row, share * r->total_tokens_ps, PLANNER_FIGURE_THROUGHPUT, false);
    } else if (str_eq(row->metric, "request_latency")) {
        set_prediction(row, r->e2e_s, PLANNER_FIGURE_TPOT, false);
    } else if (str_eq(row->metric, "decode_tokens_per_s")) {
        set_prediction(row, 1 / r->tpot_s, PLANNER_FIGURE_TPOT, true);
    } else if (str_eq(row->metric, "prefill_tokens_per_s")) {
        set_prediction(row, row->load.isl / r->ttft_s, PLANNER_FIGURE_TTFT, true);
    } else {
        planner_row_complain(row, "unknown metric '%s'", row->metric);
    }
}

void planner_row_predict(struct planner_row *row, const struct planner_coefficients *k)
{
    struct planner_load load = row->load;
    struct planner_setup s;
    struct planner_result r;

    row->predicted_ok = false;
    if (!row->understood) {
        return;
    }
    row->reason[0] = '\0';
    planner_setup_init(&s, row->model, row->chip, row->engine, row->format, row->kv, k);
    load.acceptance = s.k->mtp_accept;
    planner_evaluate(&s, &row->plan, &load, &r);
    if (r.bound != PLANNER_FITS) {
        planner_refusal(&s, &row->plan, &load, &r, row->reason);
        if (r.bound != PLANNER_UNSUSTAINABLE) {
            return;
        }
    }
    pick_metric(row, &s, &r);
    if (row->load.kind == PLANNER_CLOSED_LOOP && !row->reason[0] &&
        r.running * row->plan.replicas < 0.99 * row->load.concurrency) {
        snprintf(row->reason, sizeof(row->reason),
                 "memory holds %.0f of %.0f requests, the rest wait",
                 r.running * row->plan.replicas, row->load.concurrency);
    }
}

/* ---- scores ---- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

void planner_score(const struct planner_rows *rows, planner_select_fn select, const void *arg,
                   struct planner_score *ret)
{
    double *errors = xcalloc(rows->count + 1, sizeof(*errors)), sum = 0;
    size_t near = 0, inside = 0, n = 0;

    *ret = (struct planner_score){ 0 };
    for (size_t i = 0; i < rows->count; i++) {
        const struct planner_row *row = &rows->rows[i];

        if (select && !select(row, arg)) {
            continue;
        }
        ret->count++;
        if (!row->predicted_ok || row->value <= 0) {
            continue;
        }
        errors[n] = fabs(row->predicted - row->value) / row->value;
        sum += errors[n];
        near += errors[n] <= 0.20;
        inside += row->value >= row->band.p10 && row->value <= row->band.p90;
        n++;
    }
    ret->predicted = n;
    if (n > 0) {
        qsort(errors, n, sizeof(*errors), by_value);
        ret->median_ape = n % 2 ? errors[n / 2] : (errors[n / 2 - 1] + errors[n / 2]) / 2;
        ret->mean_ape = sum / (double)n;
        ret->within_20 = (double)near / (double)ret->count;
        ret->in_band = (double)inside / (double)ret->count;
    }
    free(errors);
}
