// SPDX-License-Identifier: Apache-2.0
/*
 * Learning and predicting. What is learnt from the first half of a stream of known distribution
 * must hold for the second: of the nine-in-ten interval, that nine in ten are in it.
 */
#include "unit.h"

#include <math.h>

#include "base/sim.h"
#include "dispatch/predictor.h"

enum { HALF = 2000, SEEDS = 20, HALF_LIFE_MS = 600 * 1000, EVERY_MS = 100 };

/* Distributions */

static double uniform(struct world *w)
{
    return ((double)world_random_below(w, 1 << 30) + 1) / (1 << 30);
}

static double normal(struct world *w)
{
    return sqrt(-2 * log(uniform(w))) * cos(2 * M_PI * uniform(w));
}

static double draw_narrow(struct world *w)
{
    return 40 * exp(0.05 * normal(w));
}

static double draw_lognormal(struct world *w)
{
    return 200 * exp(0.8 * normal(w));
}

static double draw_heavy(struct world *w)
{
    return 30 * exp(1.6 * normal(w));
}

static double draw_exponential(struct world *w)
{
    return -300 * log(uniform(w));
}

static double draw_even(struct world *w)
{
    return 10 + 490 * uniform(w);
}

static double draw_two_humps(struct world *w)
{
    return uniform(w) < 0.6 ? 20 * exp(0.2 * normal(w)) : 900 * exp(0.3 * normal(w));
}

static double draw_few_hundredths(struct world *w)
{
    return 0.02 * exp(0.5 * normal(w));
}

static const struct {
    const char *name;
    double (*draw)(struct world *w);
} streams[] = {
    { "narrow", draw_narrow },
    { "lognormal", draw_lognormal },
    { "heavy", draw_heavy },
    { "exponential", draw_exponential },
    { "even", draw_even },
    { "two humps", draw_two_humps },
    { "hundredths", draw_few_hundredths },
};

/* How many of a hundred of the second half lie in the interval that the first half gives. */
static double coverage(struct world *w, double (*draw)(struct world *w))
{
    struct spread s = { 0 };
    double low, high;
    unsigned inside = 0;

    for (int i = 0; i < HALF; i++) {
        spread_add(&s, draw(w), (uint64_t)i * EVERY_MS, HALF_LIFE_MS);
    }
    low = spread_quantile(&s, 0.05);
    high = spread_quantile(&s, 0.95);
    for (int i = 0; i < HALF; i++) {
        double value = draw(w);

        inside += value >= low && value <= high;
    }
    return 100.0 * inside / HALF;
}

static void nine_in_ten_are_in_the_interval(void **state)
{
    uint64_t seed = test_seed("nine_in_ten_are_in_the_interval");

    for (size_t d = 0; d < ARRAY_SIZE(streams); d++) {
        double least = 100, most = 0;

        for (unsigned i = 0; i < SEEDS; i++) {
            struct world *w = sim_create(seed + i);
            double percent = coverage(w, streams[d].draw);

            world_destroy(w);
            least = MIN_OF(least, percent);
            most = MAX_OF(most, percent);
        }
        print_message("   %-12s %.1f … %.1f %%\n", streams[d].name, least, most);
        assert_true(least >= 85 && most <= 95);
    }
}

/* Requests as a whole: a prompt of any length, an answer up to its limit; what is learnt of the
 * parts gives what is expected, and what came of such expectations gives the interval. */
struct request {
    uint32_t prompt, limit;
    uint64_t output;
    double prefill_ms, decode_ms; /* a token */
};

static struct request draw_request(struct world *w, double (*draw_length)(struct world *w))
{
    struct request r = {
        .prompt = 50 + (uint32_t)world_random_below(w, 3000),
        .limit = 100 + (uint32_t)world_random_below(w, 900),
        .prefill_ms = 0.8 * exp(0.2 * normal(w)),
        .decode_ms = 25 * exp(0.3 * normal(w)),
    };

    r.output = (uint64_t)MIN_OF((double)r.limit, MAX_OF(1.0, round(draw_length(w))));
    return r;
}

static struct estimate expect(const struct request *r, const struct lengths *lengths,
                              const struct speed *speed)
{
    struct figures f;
    double mean, error;

    (void)predictor_figures(speed, speed, &f);
    if (!lengths_expect(lengths, r->limit, &mean, &error)) {
        predictor_default_output(r->limit, &mean, &error);
    }
    return predictor_estimate(&f, r->prompt, mean, error);
}

static double took_ms(const struct request *r)
{
    return r->prompt * r->prefill_ms + (double)r->output * r->decode_ms;
}

static void learn(const struct request *r, struct lengths *lengths, struct speed *speed,
                  struct spread *ratios, uint64_t at_ms)
{
    struct estimate e = expect(r, lengths, speed);

    spread_add(ratios, took_ms(r) / (e.prefill_ms + e.decode_ms), at_ms, HALF_LIFE_MS);
    lengths_add(lengths, r->output, r->output >= r->limit, at_ms, HALF_LIFE_MS);
    spread_add(&speed->prefill, r->prefill_ms, at_ms, HALF_LIFE_MS);
    spread_add(&speed->decode, r->decode_ms, at_ms, HALF_LIFE_MS);
}

static double coverage_of_requests(struct world *w, double (*draw_length)(struct world *w))
{
    struct lengths lengths = { 0 };
    struct speed speed = { 0 };
    struct spread ratios = { 0 };
    unsigned inside = 0;

    for (int i = 0; i < HALF; i++) {
        struct request r = draw_request(w, draw_length);

        learn(&r, &lengths, &speed, &ratios, (uint64_t)i * EVERY_MS);
    }
    for (int i = 0; i < HALF; i++) {
        struct request r = draw_request(w, draw_length);
        struct estimate e = expect(&r, &lengths, &speed);
        double low, high;

        predictor_interval(&e, &ratios, &low, &high);
        inside += took_ms(&r) >= low && took_ms(&r) <= high;
    }
    return 100.0 * inside / HALF;
}

static void nine_in_ten_whole_requests_are_in_the_interval(void **state)
{
    uint64_t seed = test_seed("nine_in_ten_whole_requests_are_in_the_interval");

    for (size_t d = 0; d < 6; d++) { /* those that are lengths */
        double least = 100, most = 0;

        for (unsigned i = 0; i < SEEDS; i++) {
            struct world *w = sim_create(seed + i);
            double percent = coverage_of_requests(w, streams[d].draw);

            world_destroy(w);
            least = MIN_OF(least, percent);
            most = MAX_OF(most, percent);
        }
        print_message("   %-12s %.1f … %.1f %%\n", streams[d].name, least, most);
        assert_true(least >= 85 && most <= 95);
    }
}

static void near(double is, double expected, double part)
{
    if (fabs(is - expected) > part * fabs(expected)) {
        fail_msg("%g is not within %g %% of %g", is, 100 * part, expected);
    }
}

static void quantiles_and_moments_are_those_of_the_stream(void **state)
{
    struct world *w = sim_create(test_seed("quantiles_and_moments"));
    struct spread s = { 0 };

    for (int i = 0; i < 20000; i++) {
        spread_add(&s, draw_exponential(w), 0, HALF_LIFE_MS);
    }
    near(spread_mean(&s), 300, 0.05);
    near(spread_error(&s), 300, 0.07);
    near(spread_quantile(&s, 0.25), 300 * -log(0.75), 0.07);
    near(spread_quantile(&s, 0.5), 300 * -log(0.5), 0.07);
    near(spread_quantile(&s, 0.99), 300 * -log(0.01), 0.1);
    world_destroy(w);
}

static void an_empty_spread_and_one_value(void **state)
{
    struct spread s = { 0 };

    assert_true(spread_mean(&s) == 0 && spread_error(&s) == 0 && spread_quantile(&s, 0.5) == 0);
    spread_add(&s, 100, 0, HALF_LIFE_MS);
    assert_true(spread_mean(&s) == 100);
    near(spread_error(&s), 50, 0.01); /* one value says little */
    near(spread_quantile(&s, 0.5), 100, 0.2);
    spread_add(&s, 0, 0, HALF_LIFE_MS);
    spread_add(&s, 1e12, 0, HALF_LIFE_MS);
    assert_true(isfinite(spread_quantile(&s, 0.999)));
}

/* An engine that became half as fast is known to be after a few half-lives, and half known after
 * one. */
static void what_was_counts_half_after_the_half_life(void **state)
{
    struct spread s = { 0 };
    uint64_t at_ms = 0;

    for (; at_ms < 10 * HALF_LIFE_MS; at_ms += 1000) {
        spread_add(&s, 10, at_ms, HALF_LIFE_MS);
    }
    for (; at_ms < 11 * HALF_LIFE_MS; at_ms += 1000) {
        spread_add(&s, 20, at_ms, HALF_LIFE_MS);
    }
    near(spread_mean(&s), 15, 0.01);
    for (; at_ms < 16 * HALF_LIFE_MS; at_ms += 1000) {
        spread_add(&s, 20, at_ms, HALF_LIFE_MS);
    }
    near(spread_mean(&s), 20, 0.02);
    near(spread_quantile(&s, 0.5), 20, 0.2);
}

/* However close together values come, and however long the half-life: what is kept of each bucket
 * fades as the whole does, and is gone in the end. */
static void all_of_it_fades_alike(void **state)
{
    const uint64_t day_ms = 86400 * 1000;
    struct spread s = { 0 };
    double kept = 0, old = 0;

    for (uint64_t at_ms = 0; at_ms < 4000000; at_ms++) {
        spread_add(&s, 10, at_ms, day_ms);
    }
    for (int b = 0; b < SPREAD_BUCKETS; b++) {
        kept += s.weights[b];
    }
    near(kept, s.total, 0.001);
    for (uint64_t n = 1; n < 1400; n++) {
        spread_add(&s, 1000, 4000000 + n * day_ms / 10, day_ms);
    }
    for (unsigned b = s.first; b < s.first + 12; b++) {
        old += s.weights[b];
    }
    assert_true(old == 0);
}

/* A model that is asked once a day remembers the last few days. */
static void the_last_few_are_kept_however_old(void **state)
{
    struct spread s = { 0 };
    uint64_t day_ms = 86400 * 1000;

    for (uint64_t day = 0; day < 30; day++) {
        spread_add(&s, day % 2 ? 10 : 30, day * day_ms, HALF_LIFE_MS);
    }
    near(spread_mean(&s), 20, 0.1);
    near(spread_quantile(&s, 0.9), 30, 0.2);
    near(spread_quantile(&s, 0.1), 10, 0.2);
}

/* Half of all requests are cut at 50 tokens; the answers would be 300 long on average all the same.
 */
static void lengths_see_through_their_limits(void **state)
{
    struct world *w = sim_create(test_seed("lengths_see_through_their_limits"));
    struct lengths l = { 0 };
    double mean, error;

    assert_false(lengths_expect(&l, 0, &mean, &error));
    for (int i = 0; i < 20000; i++) {
        double length = draw_exponential(w);
        bool limited = i % 2;

        lengths_add(&l, (uint64_t)(limited ? MIN_OF(50.0, length) : length),
                    limited && length >= 50, 0, HALF_LIFE_MS);
    }
    assert_true(lengths_expect(&l, 0, &mean, &error));
    near(mean, 300, 0.06);
    near(error, 300, 0.1);
    assert_true(lengths_expect(&l, 100, &mean, &error));
    near(mean, 300 * (1 - exp(-100.0 / 300)), 0.06);
    assert_true(lengths_expect(&l, 1, &mean, &error));
    near(mean, 1, 0.1);
    world_destroy(w);
}

/* All that was seen was cut: they are at least so long. */
static void only_cut_answers_are_as_long_as_their_limit(void **state)
{
    struct lengths l = { 0 };
    double mean, error;

    for (int i = 0; i < 100; i++) {
        lengths_add(&l, 64, true, 0, HALF_LIFE_MS);
    }
    assert_true(lengths_expect(&l, 0, &mean, &error));
    near(mean, 64, 0.2);
    assert_true(lengths_expect(&l, 32, &mean, &error));
    near(mean, 32, 0.01);
}

static void the_instance_then_its_model_then_defaults(void **state)
{
    struct speed own = { 0 }, all = { 0 };
    struct figures f, unknown;

    assert_false(predictor_figures(NULL, &all, &unknown));
    assert_true(unknown.decode_ms > 0 && unknown.decode_error == unknown.decode_ms);
    assert_true(unknown.prefill_ms > 0 && unknown.prefill_error == unknown.prefill_ms);
    for (int i = 0; i < 50; i++) {
        spread_add(&all.prefill, 2, 0, HALF_LIFE_MS);
        spread_add(&all.decode, 40, 0, HALF_LIFE_MS);
    }
    assert_false(predictor_figures(&own, &all, &f));
    near(f.decode_ms, 40, 0.001);
    near(f.prefill_ms, 2, 0.001);
    for (int i = 0; i < 2; i++) {
        spread_add(&own.decode, 10, 0, HALF_LIFE_MS);
    }
    assert_false(predictor_figures(&own, &all, &f));
    near(f.decode_ms, 40, 0.001);
    spread_add(&own.decode, 10, 0, HALF_LIFE_MS);
    assert_false(predictor_figures(&own, &all, &f)); /* not all of it */
    near(f.decode_ms, 10, 0.001);
    near(f.prefill_ms, 2, 0.001);
    for (int i = 0; i < 3; i++) {
        spread_add(&own.prefill, 1, 0, HALF_LIFE_MS);
    }
    assert_true(predictor_figures(&own, &all, &f));
    near(f.prefill_ms, 1, 0.001);
}

static void an_estimate_is_the_sum_of_its_parts(void **state)
{
    struct figures f = { 2, 0, 40, 0 };
    struct estimate e = predictor_estimate(&f, 100, 50, 0);

    assert_true(e.prefill_ms == 200 && e.decode_ms == 2000 && e.error_ms == 0);
    e = predictor_estimate(&f, 100, 50, 10);
    near(e.error_ms, 400, 0.001);
    f.prefill_error = 3;
    e = predictor_estimate(&f, 100, 50, 10);
    near(e.error_ms, 500, 0.001);
    f.decode_error = 8;
    e = predictor_estimate(&f, 0, 50, 10);
    near(e.error_ms, sqrt(400.0 * 400 + 400.0 * 400 + 80.0 * 80), 0.001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nine_in_ten_are_in_the_interval),
        cmocka_unit_test(nine_in_ten_whole_requests_are_in_the_interval),
        cmocka_unit_test(quantiles_and_moments_are_those_of_the_stream),
        cmocka_unit_test(an_empty_spread_and_one_value),
        cmocka_unit_test(what_was_counts_half_after_the_half_life),
        cmocka_unit_test(all_of_it_fades_alike),
        cmocka_unit_test(the_last_few_are_kept_however_old),
        cmocka_unit_test(lengths_see_through_their_limits),
        cmocka_unit_test(only_cut_answers_are_as_long_as_their_limit),
        cmocka_unit_test(the_instance_then_its_model_then_defaults),
        cmocka_unit_test(an_estimate_is_the_sum_of_its_parts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
