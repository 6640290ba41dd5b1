// SPDX-License-Identifier: Apache-2.0
/*
 * A chip set right by what was measured on it: how many times longer its decode steps and its
 * prefills take than is computed, each the median over all figures, so that one odd row tells
 * nothing.
 */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "presets/presets_int.h"

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof(*values), by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* Measured over computed; 0 when it says nothing. */
static double ratio(double measured, double computed)
{
    const double r = computed > 0 ? measured / computed : 0;

    return measured > 0 && isfinite(r) && r > 0.01 && r < 100 ? r : 0;
}

/* The ratios of one figure of all rows, as the chip is now. Returns how many. */
static size_t collect(const struct planner_chip *chip, const struct preset_measured *m,
                      size_t count, bool first, double *out)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        struct planner_setup setup;
        struct planner_result r;
        double one;

        if ((first ? m[i].ttft_s : m[i].tpot_s) <= 0) {
            continue;
        }
        planner_setup_init(&setup, m[i].model, chip, (enum planner_engine)m[i].engine,
                           (enum planner_format)m[i].format, (enum planner_kv_format)m[i].kv, NULL);
        planner_evaluate(&setup, &m[i].plan, &m[i].load, &r);
        one = r.bound != PLANNER_FITS ? 0
              : first                 ? ratio(m[i].ttft_s, r.ttft_s)
                                      : ratio(m[i].tpot_s, r.tpot_s);
        if (one > 0) {
            out[n++] = one;
        }
    }
    return n;
}

int preset_chip_calibrate(struct planner_chip *chip, const struct preset_measured *m, size_t count,
                          struct error *reterr)
{
    struct planner_chip c = *chip;
    double *ratios = xcalloc(count + 1, sizeof(*ratios));
    size_t firsts, decodes;

    c.decode_times = c.prefill_times = 0;
    firsts = collect(&c, m, count, true, ratios);
    c.prefill_times = firsts > 0 ? median(ratios, firsts) : 0;
    decodes = collect(&c, m, count, false, ratios);
    c.decode_times = decodes > 0 ? median(ratios, decodes) : 0;
    free(ratios);
    if (firsts + decodes == 0) {
        return error_set(reterr, -ENODATA,
                         "none of the %zu figures can be held against a computed one", count);
    }
    *chip = c;
    return 0;
}
