// SPDX-License-Identifier: Apache-2.0
/* Learning and predicting: distributions over logarithmic buckets, and what is made of them. */
#include "dispatch/predictor.h"

#include <math.h>

#include "base/macros.h"

enum { PER_OCTAVE = 12, LOWEST_OCTAVE = -8 };
enum { KEPT_WORTH = 16 };  /* so many of the last ones are never forgotten, roughly */
enum { FADES = 256 };      /* a half-life: floats cannot fade by as little as a millisecond makes */
enum { OWN_FROM = 3 };     /* as few say something of an instance */
enum { SURE_FROM = 6 };    /* standard errors: by more than that it differs from the others */
enum { RATIOS_FROM = 20 }; /* as few say something of how predictions come out */

static const double default_prefill_ms = 1, default_decode_ms = 30, default_output = 200;
static const double ninth_tenths = 1.645; /* of a normal distribution, in standard deviations */
static const float forgotten = 1e-9F;

/* Spreads */

static unsigned bucket_of(double value)
{
    float at = value > 0 ? floorf((log2f((float)value) - LOWEST_OCTAVE) * PER_OCTAVE) : 0;

    return (unsigned)MAX_OF(0.0F, MIN_OF((float)SPREAD_BUCKETS - 1, at));
}

static double lower_bound(unsigned bucket)
{
    return exp2(LOWEST_OCTAVE + (double)bucket / PER_OCTAVE);
}

static const double bucket_ratio = 1.0594630943592953, half_ratio = 1.029302236643492;

static void fade(struct spread *s, uint64_t at_ms, uint64_t half_life_ms)
{
    double lives = at_ms > s->at_ms ? (double)(at_ms - s->at_ms) / (double)half_life_ms : 0, by;

    if (lives * FADES < 1) {
        return;
    }
    s->at_ms = at_ms;
    by = MAX_OF(exp2(-lives), MIN_OF(1.0, KEPT_WORTH / s->total));
    s->total *= by;
    s->sum *= by;
    s->squares *= by;
    for (unsigned b = s->first; b < s->end; b++) {
        s->weights[b] = s->weights[b] > forgotten ? s->weights[b] * (float)by : 0;
    }
}

void spread_add(struct spread *s, double value, uint64_t at_ms, uint64_t half_life_ms)
{
    spread_add_weighted(s, value, 1, at_ms, half_life_ms);
}

void spread_add_weighted(struct spread *s, double value, double weight, uint64_t at_ms,
                         uint64_t half_life_ms)
{
    unsigned bucket = bucket_of(value);

    if (s->count > 0) {
        fade(s, at_ms, half_life_ms);
    } else {
        s->at_ms = at_ms;
    }
    s->weights[bucket] += (float)weight;
    s->first = s->count ? MIN_OF(s->first, bucket) : bucket;
    s->end = MAX_OF(s->end, bucket + 1);
    s->total += weight;
    s->sum += weight * value;
    s->squares += weight * value * value;
    s->count++;
}

double spread_mean(const struct spread *s)
{
    return s->total > 0 ? s->sum / s->total : 0;
}

double spread_error(const struct spread *s)
{
    double mean = spread_mean(s), little = mean / (s->total + 1);
    double variance = s->total > 0 ? s->squares / s->total - mean * mean : 0;

    return s->total > 0 ? sqrt(MAX_OF(0.0, variance) * (1 + 1 / s->total) + little * little) : 0;
}

static double weight_at(const struct spread *s, unsigned bucket)
{
    return bucket < SPREAD_BUCKETS ? s->weights[bucket] : 0; /* -1, too, is beyond */
}

/* Between two buckets as many lie as in both, but in an empty one none. */
static double slope(double a, double b)
{
    return a > 0 && b > 0 ? 2 * a * b / (a + b) : 0;
}

/* The value in the bucket below which `weight` of it lies. How weight adds up is known at the edges
 * of buckets only; between them it is a monotone cubic (Fritsch, Carlson), of which the root is
 * halved in on. So a distribution may be as narrow as a few buckets. */
static double inside(const struct spread *s, unsigned bucket, double weight)
{
    double all = weight_at(s, bucket), low = 0, high = 1;
    double from = slope(weight_at(s, bucket - 1), all), to = slope(all, weight_at(s, bucket + 1));

    for (int i = 0; i < 24; i++) {
        double t = (low + high) / 2;
        double below =
            t * (1 - t) * (1 - t) * from + t * t * (3 - 2 * t) * all - t * t * (1 - t) * to;

        *(below < weight ? &low : &high) = t;
    }
    return lower_bound(bucket) * exp2(low / PER_OCTAVE);
}

double spread_quantile(const struct spread *s, double share)
{
    double total = 0, below = 0;

    for (unsigned b = s->first; b < s->end; b++) { /* not s->total: floats add up otherwise */
        total += s->weights[b];
    }
    for (unsigned b = s->first; b < s->end; b++) {
        double weight = s->weights[b];

        if (weight > 0 && below + weight >= share * total) {
            return inside(s, b, share * total - below);
        }
        below += weight;
    }
    return total > 0 ? lower_bound(s->end) : 0;
}

/* Lengths */

void lengths_add(struct lengths *l, uint64_t tokens, bool cut, uint64_t at_ms,
                 uint64_t half_life_ms)
{
    struct spread *with = cut ? &l->cut : &l->ended, *without = cut ? &l->ended : &l->cut;

    if (without->count > 0) { /* both age together */
        fade(without, at_ms, half_life_ms);
    }
    spread_add(with, (double)tokens, at_ms, half_life_ms);
}

/* Walks the distribution of uncut lengths: bucket after bucket, which share of all ends there. What
 * is left at the end was longer than all that was seen to end. */
struct walk {
    const struct lengths *l;
    unsigned bucket, end;
    double risk; /* weight of those that got so far */
    double left; /* share of all that goes on */
};

static struct walk walk_begin(const struct lengths *l)
{
    const struct spread *a = &l->ended, *b = &l->cut;
    struct walk w = { .l = l, .left = 1, .end = MAX_OF(a->end, b->end) };
    unsigned first = a->count == 0   ? b->first
                     : b->count == 0 ? a->first
                                     : MIN_OF(a->first, b->first);

    for (unsigned i = first; i < w.end; i++) {
        w.risk += (double)a->weights[i] + (double)b->weights[i];
    }
    w.bucket = first - 1; /* the next one is the first */
    return w;
}

/* The share that ends in the next bucket in which anything does; false at the end. */
static bool walk_next(struct walk *w, double *ret_share)
{
    while (++w->bucket < w->end) {
        double ended = w->l->ended.weights[w->bucket], cut = w->l->cut.weights[w->bucket];

        if (ended + cut > 0) {
            *ret_share = w->risk > 0 ? w->left * MIN_OF(1.0, ended / w->risk) : 0;
            w->risk -= ended + cut;
            w->left -= *ret_share;
            return true;
        }
    }
    return false;
}

bool lengths_expect(const struct lengths *l, uint64_t limit, double *ret_mean, double *ret_error)
{
    struct walk w = walk_begin(l);
    double most = limit ? (double)limit : INFINITY, mean = 0, squares = 0, share, value, little;
    double known = w.risk, middle = lower_bound(w.bucket + 1) * half_ratio;
    unsigned at = w.bucket + 1;

    if (known <= 0) {
        return false;
    }
    while (walk_next(&w, &share)) {
        for (; at < w.bucket; at++) {
            middle *= bucket_ratio;
        }
        value = MIN_OF(most, middle);
        mean += share * value;
        squares += share * value * value;
    }
    value = MIN_OF(most, lower_bound(w.end));
    mean += w.left * value;
    squares += w.left * value * value;
    little = mean / (known + 1);
    *ret_mean = mean;
    *ret_error = sqrt(MAX_OF(0.0, squares - mean * mean) * (1 + 1 / known) + little * little);
    return true;
}

void predictor_default_output(uint64_t limit, double *ret_mean, double *ret_error)
{
    *ret_mean = limit ? MIN_OF((double)limit, default_output) : default_output;
    *ret_error = *ret_mean;
}

/* Speed */

/* The variance of the mean. */
static double doubt(const struct spread *s)
{
    double mean = spread_mean(s), variance = s->total > 0 ? s->squares / s->total - mean * mean : 0;

    return s->total > 0 ? MAX_OF(0.0, variance) / s->total : 0;
}

/* Is an instance really another one than the rest? What it was asked to do, and beside what,
 * differs more than most instances do: to believe in each one's own mean would be to send all to
 * the one that was lucky. */
static bool is_different(const struct spread *own, const struct spread *all)
{
    double by = fabs(spread_mean(own) - spread_mean(all));

    return own->count >= OWN_FROM && by > SURE_FROM * sqrt(doubt(own) + doubt(all));
}

/* Returns whether it is the instance's own. */
static bool figure(const struct spread *own, const struct spread *all, double unknown,
                   double *ret_mean, double *ret_error)
{
    const struct spread *from = own && is_different(own, all) ? own : all;

    if (from->count == 0) {
        *ret_mean = *ret_error = unknown;
        return false;
    }
    *ret_mean = spread_mean(from);
    *ret_error = spread_error(from);
    return from == own;
}

bool predictor_figures(const struct speed *own, const struct speed *all, struct figures *ret)
{
    bool prefill = figure(own ? &own->prefill : NULL, &all->prefill, default_prefill_ms,
                          &ret->prefill_ms, &ret->prefill_error);
    bool decode = figure(own ? &own->decode : NULL, &all->decode, default_decode_ms,
                         &ret->decode_ms, &ret->decode_error);

    return prefill && decode;
}

/* One request */

static double square(double x)
{
    return x * x;
}

struct estimate predictor_estimate(const struct figures *f, uint32_t uncached_tokens,
                                   double output_tokens, double output_error)
{
    double product = square(output_tokens * f->decode_error) + square(f->decode_ms * output_error) +
                     square(f->decode_error * output_error);

    return (struct estimate){
        .prefill_ms = uncached_tokens * f->prefill_ms,
        .decode_ms = output_tokens * f->decode_ms,
        .error_ms = sqrt(square(uncached_tokens * f->prefill_error) + product),
    };
}

void predictor_interval(const struct estimate *e, const struct spread *ratios, double *ret_low,
                        double *ret_high)
{
    double ms = e->prefill_ms + e->decode_ms;

    if (ratios->count >= RATIOS_FROM) {
        *ret_low = ms * spread_quantile(ratios, 0.05);
        *ret_high = ms * spread_quantile(ratios, 0.95);
    } else {
        *ret_low = MAX_OF(0.0, ms - ninth_tenths * e->error_ms);
        *ret_high = ms + ninth_tenths * e->error_ms;
    }
}
