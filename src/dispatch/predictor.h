// SPDX-License-Identifier: Apache-2.0
/*
 * What is learnt of requests as they end: how long answers are, how fast prompts are read and
 * tokens made. Pure: time is a parameter. What was learnt counts half after a half-life, but the
 * worth of the last few is always kept, so that a rare model is not forgotten over night.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Twelve buckets an octave, from 2^-8 to 2^22; what lies outside is counted in the outermost. */
enum { SPREAD_BUCKETS = 360 };

/* How one kind of value is distributed. All zero is an empty one. */
struct spread {
    float weights[SPREAD_BUCKETS];
    unsigned first, end;        /* beyond them all weights are 0 */
    double total, sum, squares; /* of the weights, of weight x value, of weight x value² */
    uint64_t count;             /* of values, ever */
    uint64_t at_ms;             /* until then it has faded */
};
void spread_add(struct spread *s, double value, uint64_t at_ms, uint64_t half_life_ms);
/* One that tells so many times as much as another. */
void spread_add_weighted(struct spread *s, double value, double weight, uint64_t at_ms,
                         uint64_t half_life_ms);
/* 0 while it is empty. */
double spread_mean(const struct spread *s);
/* The standard error of a prediction by the mean: wide as long as little is known. */
double spread_error(const struct spread *s);
/* The value below which this share (0…1) of all lies; 0 while it is empty. */
double spread_quantile(const struct spread *s, double share);

/* Lengths of answers. One that was cut at its request's limit says only that it would have been at
 * least so long (Kaplan, Meier). */
struct lengths {
    struct spread ended, cut;
};
void lengths_add(struct lengths *l, uint64_t tokens, bool cut, uint64_t at_ms,
                 uint64_t half_life_ms);
/* Of a request with this limit (0: none); false while nothing is known. */
bool lengths_expect(const struct lengths *l, uint64_t limit, double *ret_mean, double *ret_error);

/* How fast an instance is: ms a prompt token that is not cached, ms an output token. */
struct speed {
    struct spread prefill, decode;
};
struct figures {
    double prefill_ms, prefill_error, decode_ms, decode_error;
};
/* What is to be expected: by what this instance showed (own, may be NULL), else by what all of the
 * model did, else by defaults. Returns whether all of it is the instance's own. */
bool predictor_figures(const struct speed *own, const struct speed *all, struct figures *ret);
/* Of a model of which nothing is known. */
void predictor_default_output(uint64_t limit, double *ret_mean, double *ret_error);

/* Of one request. */
struct estimate {
    double prefill_ms, decode_ms, error_ms;
};
struct estimate predictor_estimate(const struct figures *f, uint32_t uncached_tokens,
                                   double output_tokens, double output_error);
/* Between what nine of ten requests take of which this is expected; ratios: how such expectations
 * came out, as the quotient of what it was and what was expected. */
void predictor_interval(const struct estimate *e, const struct spread *ratios, double *ret_low,
                        double *ret_high);
