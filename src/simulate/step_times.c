// SPDX-License-Identifier: Apache-2.0
/*
 * Two tables of seconds, read bilinearly. An axis has every whole number up to a bound, so that
 * what jumps there (another kernel, a pipeline that fills) is met exactly, and from there on a
 * fixed number of points an octave: where a number lies can be read off its bits.
 *
 *     decode:  sequences x mean context
 *     chunk:   tokens x mean number of tokens that one of them looks back at
 */
#include "simulate/step_times.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"

enum { MANTISSA_BITS = 52, CONTEXT_MAX = 1 << 24 };

struct axis {
    unsigned exact; /* whole numbers up to here, a power of two */
    unsigned bits;  /* 2^bits points an octave behind it */
    double last;
    unsigned count;
};

static const struct axis sequences = { 256, 3, STEP_DECODES_MAX, 256 + 8 * 8 + 1 };
static const struct axis contexts = { 1, 1, CONTEXT_MAX, 1 + 24 * 2 + 1 };
static const struct axis tokens_of_chunk = { 64, 3, STEP_TOKENS_MAX, 64 + 14 * 8 + 1 };

struct step_times {
    struct planner_mix mix;
    float *decode, *chunk; /* rows of contexts.count + 1, and a row more than the axis: the last
                              point's neighbours, which count for nothing */
};

/* ---- axes ---- */

static uint64_t bits_of(double x)
{
    uint64_t u;

    memcpy(&u, &x, sizeof(u));
    return u;
}

static double point(const struct axis *a, unsigned i)
{
    uint64_t u;
    double x;

    if (i <= a->exact) {
        return i;
    }
    u = bits_of(a->exact) + ((uint64_t)(i - a->exact) << (MANTISSA_BITS - a->bits));
    memcpy(&x, &u, sizeof(x));
    return x;
}

/* The point at or below x; how far on the way to the next it is goes to *ret_part. */
static inline unsigned place(const struct axis *a, double x, double *ret_part)
{
    const unsigned shift = MANTISSA_BITS - a->bits;
    uint64_t above;

    x = MIN_OF(x, a->last);
    if (x < a->exact) {
        *ret_part = x - (unsigned)x;
        return (unsigned)x;
    }
    above = bits_of(x) - bits_of(a->exact);
    *ret_part =
        (double)(above & (((uint64_t)1 << shift) - 1)) * (1.0 / (double)((uint64_t)1 << shift));
    return a->exact + (unsigned)(above >> shift);
}

static inline double read_table(const float *table, const struct axis *a, double x, double context)
{
    double down, right;
    const unsigned width = contexts.count + 1;
    const unsigned i = place(a, x, &down), j = place(&contexts, context, &right);
    const float *p = table + (size_t)i * width + j;
    const double upper = p[0] + right * (p[1] - p[0]);
    const double lower = p[width] + right * (p[width + 1] - p[width]);

    return upper + down * (lower - upper);
}

/* ---- making them ---- */

typedef double (*seconds_fn)(const struct planner_setup *s, const struct planner_plan *plan,
                             double n, double seen);

static double decode_seconds(const struct planner_setup *s, const struct planner_plan *plan,
                             double n, double seen)
{
    return planner_decode_s(s, plan, n, seen);
}

/* The planner counts what stands before the chunk; the tables what a token of it sees in the mean,
 * itself included: before + (n + 1) / 2. */
static double chunk_seconds(const struct planner_setup *s, const struct planner_plan *plan,
                            double n, double seen)
{
    return planner_chunk_s(s, plan, n, seen - (n + 1) / 2);
}

static float *make_table(const struct planner_setup *s, const struct planner_plan *plan,
                         const struct axis *a, seconds_fn seconds)
{
    const unsigned width = contexts.count + 1;
    float *table = xcalloc((size_t)(a->count + 1) * width, sizeof(*table));

    for (unsigned i = 1; i < a->count; i++) { /* the first row is for nothing at all: 0 */
        float *row = table + (size_t)i * width;

        for (unsigned j = 0; j < contexts.count; j++) {
            row[j] = (float)seconds(s, plan, point(a, i), MAX_OF(point(&contexts, j), 1));
        }
        row[contexts.count] = row[contexts.count - 1];
    }
    memcpy(table + (size_t)a->count * width, table + (size_t)(a->count - 1) * width,
           width * sizeof(*table));
    return table;
}

struct step_times *step_times_create(const struct planner_setup *s, const struct planner_plan *plan)
{
    struct step_times *t = xcalloc(1, sizeof(*t));

    planner_mix(s, plan, &t->mix);
    t->decode = make_table(s, plan, &sequences, decode_seconds);
    t->chunk = make_table(s, plan, &tokens_of_chunk, chunk_seconds);
    return t;
}

struct step_times *step_times_free(struct step_times *t)
{
    if (t) {
        free(t->decode);
        free(t->chunk);
        free(t);
    }
    return NULL;
}

/* ---- reading ---- */

/* Thirty years are for ever. */
static uint64_t to_us(double seconds)
{
    const double us = seconds * 1e6 + 0.5;

    return us < 1e15 ? (uint64_t)us : (uint64_t)1e15;
}

uint64_t step_times_us(const struct step_times *t, unsigned decodes, double context,
                       unsigned tokens, double before)
{
    double decode = 0, chunk = 0;
    uint64_t us;

    if (decodes > 0) {
        decode = read_table(t->decode, &sequences, decodes, MAX_OF(context, 1));
    }
    if (tokens > 0) {
        chunk = read_table(t->chunk, &tokens_of_chunk, tokens,
                           MAX_OF(before + ((double)tokens + 1) / 2, 1));
    }
    us = to_us(planner_mixed_s(&t->mix, decode, chunk));
    return MAX_OF(us, 1);
}

uint64_t step_times_first_us(const struct step_times *t)
{
    return to_us(t->mix.first_s);
}
