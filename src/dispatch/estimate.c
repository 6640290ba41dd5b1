// SPDX-License-Identifier: Apache-2.0
/*
 * What requests are expected to take, counted on their seats, and what is learnt when they end. A
 * ticket's estimate is fixed when it is granted; as tokens come, or time goes by, less of it is
 * left; what is left when it leaves is what is taken off. All of it is counted in whole numbers, so
 * that a seat on which nothing is left stands at 0 exactly, whatever came and went.
 */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "dispatch/dispatch_int.h"

/* Of one request; a day is long enough, and leaves room for the sums. */
enum { LONGEST_MS = 86400 * 1000 };
enum { AGE_EVERY_MS = 250 };

/* Quotients: 1 is a perfect prediction. */
static const double quotients[] = {
    0.1, 0.25, 0.5, 0.67, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 4, 10, 0
};

// clang-format off
static const struct metric metric_rows[] = {
    { "berth_prediction_ratio", METRIC_HISTOGRAM, "How long it really took, over what was predicted at dispatch: until the first token, and the whole request.", { "model", "of" }, quotients },
};
// clang-format on

void estimates_declare_metrics(struct metrics *metrics)
{
    metrics_declare(metrics, metric_rows, ARRAY_SIZE(metric_rows));
}

static void on_age(void *arg);

void estimate_begin(struct line *l)
{
    const struct model *model = models_get(l->dispatch->models, l->model_id);
    const char *first[] = { model->config->id, "first_token" };
    const char *whole[] = { model->config->id, "whole" };

    l->first_cell = metrics_cell(l->dispatch->metrics, &metric_rows[0], first);
    l->whole_cell = metrics_cell(l->dispatch->metrics, &metric_rows[0], whole);
    (void)predictor_figures(NULL, &l->speed, &l->figures);
    list_init(&l->silent);
    timer_init(&l->age, l->dispatch->world, "dispatch age", on_age, l);
}

/* A choice and the estimate that follows it ask the same. */
void line_expect_output(struct line *l, uint64_t limit, double *ret_mean, double *ret_error)
{
    struct expected *e = &l->expected;
    uint64_t learnt = l->lengths.ended.count + l->lengths.cut.count;

    if (!e->known || e->limit != limit || e->learnt != learnt) {
        *e = (struct expected){ .limit = limit, .learnt = learnt, .known = true };
        if (!lengths_expect(&l->lengths, limit, &e->mean, &e->error)) {
            predictor_default_output(limit, &e->mean, &e->error);
        }
    }
    *ret_mean = e->mean;
    *ret_error = e->error;
}

void seat_figures_changed(struct seat *s)
{
    s->cold = !predictor_figures(s->speed, &s->line->speed, &s->figures);
}

/* Predicting */

/* Until a slot is free for a request given now: as many of those before it must leave, which do so
 * one after the other. */
static double share_before(const struct seat *s)
{
    return s->in_flight < s->slots
               ? 0
               : (double)(s->in_flight - s->slots + 1) / s->slots / s->in_flight;
}

/* Until it would begin: when there is a slot, and the prompts before it have been read. */
static double wait_ms(const struct seat *s)
{
    double swap_ms = s->sleeping ? (double)line_load_time_ms(s->line) : 0;
    double slot_us = (double)s->work_us * share_before(s);

    return swap_ms + MAX_OF(slot_us, (double)s->read_us) / 1000;
}

static uint32_t prompt_of(const struct dispatch_ask *ask)
{
    return ask->prompt_tokens                ? ask->prompt_tokens
           : ask->tokens > ask->output_limit ? ask->tokens - ask->output_limit
                                             : 0;
}

static struct estimate estimate(const struct seat *s, uint32_t uncached, uint32_t output_limit,
                                double *ret_output)
{
    double error;

    line_expect_output(s->line, output_limit, ret_output, &error);
    return predictor_estimate(&s->figures, uncached, *ret_output, error);
}

static uint64_t bounded_us(double ms)
{
    return (uint64_t)(1000 * MIN_OF(ms, (double)LONGEST_MS));
}

static double whole_ms(const struct ticket *t)
{
    return t->estimate.prefill_ms + t->estimate.decode_ms;
}

static void take_off(struct seat *s, struct ticket *t)
{
    s->work_us -= t->work_us;
    s->error_ms2 -= t->error_ms2;
    s->read_us -= t->read_us;
    t->work_us = t->error_ms2 = t->read_us = 0;
}

/* So much is left of it now, and of its error the same part; of its prompt (nothing, once it has
 * begun to answer) so much is to be read. */
static void leave(struct seat *s, struct ticket *t, double left_ms, double read_ms)
{
    double part = whole_ms(t) > 0 ? left_ms / whole_ms(t) : 0;
    double error_ms = MIN_OF(t->estimate.error_ms * part, (double)LONGEST_MS);

    take_off(s, t);
    t->work_us = bounded_us(left_ms);
    t->error_ms2 = (uint64_t)(error_ms * error_ms);
    t->read_us = bounded_us(read_ms);
    s->work_us += t->work_us;
    s->error_ms2 += t->error_ms2;
    s->read_us += t->read_us;
}

void estimate_add(struct seat *s, struct ticket *t)
{
    struct line *l = s->line;
    uint32_t prompt = prompt_of(&t->ask), cached = MIN_OF(t->cached_tokens, prompt);
    double output;

    t->estimate = estimate(s, prompt - cached, t->ask.output_limit, &output);
    t->begin_ms = wait_ms(s);
    t->token_ms = s->figures.decode_ms;
    t->queued = s->in_flight >= s->slots || s->sleeping;
    t->granted_us = world_now_us(l->dispatch->world);
    leave(s, t, whole_ms(t), t->estimate.prefill_ms);
    list_append(&l->silent, &t->node);
    if (!timer_active(&l->age)) {
        timer_start(&l->age, AGE_EVERY_MS);
    }
}

void estimate_remove(struct seat *s, struct ticket *t)
{
    take_off(s, t);
    list_remove(&t->node);
}

void estimate_progress(struct seat *s, struct ticket *t, uint32_t tokens)
{
    if (t->progress == 0) {
        t->first_us = world_now_us(s->line->dispatch->world);
        t->read_from_us = MAX_OF(t->granted_us, s->first_us);
        s->first_us = t->first_us;
        list_remove(&t->node);
    }
    t->progress += tokens;
    leave(s, t, MAX_OF(0.0, t->estimate.decode_ms - t->progress * t->token_ms), 0);
}

/* As long as nothing was seen of a request, this part of its prompt is to be read yet. */
static const double least_unread = 0.1;

/* Nothing was seen of it yet. What a time is expected to take yet that has passed for a while, of
 * which mean and error are known, is the rest of the mean, but in the end never less than error² /
 * mean (as of a gamma distribution): one that is sure is over then, of one that may be anything as
 * much is left as ever. */
static void age(struct ticket *t, uint64_t now_us)
{
    double worked_ms = (double)(now_us - t->granted_us) / 1000 - t->begin_ms, whole = whole_ms(t);
    double error = t->estimate.error_ms, least = whole > 0 ? error * error / whole : 0;
    double prefill_ms = t->estimate.prefill_ms;

    if (worked_ms > 0) {
        leave(t->seat, t, MAX_OF(MIN_OF(least, whole), whole - worked_ms),
              MAX_OF(prefill_ms * least_unread, prefill_ms - worked_ms));
        seat_show(t->seat);
    }
}

static void on_age(void *arg)
{
    struct line *l = arg;
    uint64_t now_us = world_now_us(l->dispatch->world);
    struct ticket *t;

    list_for_each (t, &l->silent, node) {
        age(t, now_us);
    }
    if (!list_empty(&l->silent)) {
        timer_start(&l->age, AGE_EVERY_MS);
    }
}

/* Learning */

/* How it was, of a request that has ended well. */
struct seen {
    uint64_t at_ms, prompt, uncached, output;
    double first_ms; /* until its first token; negative: that was not seen */
    double read_ms;  /* the part of that from its turn on */
    double whole_ms;
};

static struct seen look_at(const struct seat *s, const struct ticket *t)
{
    struct world *w = s->line->dispatch->world;
    uint64_t at_us = world_now_us(w), prompt = t->noted ? t->prompt : prompt_of(&t->ask);

    return (struct seen){
        .at_ms = world_now_ms(w),
        .prompt = prompt,
        .uncached = prompt - (t->noted ? t->cached : MIN_OF((uint64_t)t->cached_tokens, prompt)),
        .output = t->noted ? t->output : t->progress,
        .first_ms = t->progress > 1 ? (double)(t->first_us - t->granted_us) / 1000 : -1,
        .read_ms = (double)(t->first_us - t->read_from_us) / 1000,
        .whole_ms = (double)(at_us - t->granted_us) / 1000,
    };
}

static void add_both(struct seat *s, bool decode, double value, double weight, uint64_t at_ms)
{
    uint64_t half_life_ms = s->line->dispatch->learn_half_life_ms;

    if (!s->speed) {
        s->speed = xcalloc(1, sizeof(*s->speed));
    }
    spread_add_weighted(decode ? &s->speed->decode : &s->speed->prefill, value, weight, at_ms,
                        half_life_ms);
    spread_add_weighted(decode ? &s->line->speed.decode : &s->line->speed.prefill, value, weight,
                        at_ms, half_life_ms);
}

/* What a long prompt or answer took says more of a token than what a short one did, which is mostly
 * the step that it met: they weigh as they are long, beside the usual length. */
static double weight_of(double *usual, double tokens)
{
    enum { REMEMBERED = 32 };
    static const double least = 0.01, most = 16;

    *usual += (tokens - *usual) / (*usual > 0 ? REMEMBERED : 1);
    return MAX_OF(least, MIN_OF(most, tokens / *usual));
}

static void add_answer(struct seat *s, const struct seen *seen, double ms)
{
    double tokens = (double)(seen->output - 1);

    add_both(s, true, ms / tokens, weight_of(&s->line->made_tokens, tokens), seen->at_ms);
}

static void add_read(struct seat *s, const struct seen *seen, double ms)
{
    double tokens = (double)seen->uncached;

    add_both(s, false, ms / tokens, weight_of(&s->line->read_tokens, tokens), seen->at_ms);
}

/* What waited in the engine first, or came in one piece, does not tell its parts. */
static void learn_speed(struct seat *s, const struct ticket *t, const struct seen *seen)
{
    double rest_ms = seen->whole_ms - seen->uncached * s->figures.prefill_ms;

    if (seen->first_ms >= 0) {
        if (!t->queued && seen->uncached > 0) {
            add_read(s, seen, seen->read_ms);
        }
        if (seen->output > 1) {
            add_answer(s, seen, seen->whole_ms - seen->first_ms);
        }
    } else if (!t->queued && seen->output == 0 && seen->uncached > 0) {
        add_read(s, seen, seen->whole_ms);
    } else if (!t->queued && seen->output > 0) {
        add_both(s, true, MAX_OF(rest_ms, seen->whole_ms / 2) / (double)seen->output, 1,
                 seen->at_ms);
    }
}

static void compare(struct seat *s, const struct ticket *t, const struct seen *seen)
{
    struct line *l = s->line;
    double whole = whole_ms(t);

    if (l->removed) {
        return; /* its cells are void */
    }
    if (seen->first_ms >= 0 && t->begin_ms + t->estimate.prefill_ms > 0) {
        metric_observe(l->first_cell, seen->first_ms / (t->begin_ms + t->estimate.prefill_ms));
    }
    if (t->begin_ms + whole > 0) {
        metric_observe(l->whole_cell, seen->whole_ms / (t->begin_ms + whole));
    }
    if (!t->queued && whole > 0) {
        spread_add(&l->ratios, seen->whole_ms / whole, seen->at_ms,
                   l->dispatch->learn_half_life_ms);
    }
}

/* So much makes those who follow the line's figures be told. */
static bool differs(double a, double b)
{
    return fabs(a - b) > 0.05 * b;
}

static void tell_cold_ones(struct line *l)
{
    struct figures now;
    struct seat *s;

    (void)predictor_figures(NULL, &l->speed, &now);
    if (!differs(now.prefill_ms, l->figures.prefill_ms) &&
        !differs(now.prefill_error, l->figures.prefill_error) &&
        !differs(now.decode_ms, l->figures.decode_ms) &&
        !differs(now.decode_error, l->figures.decode_error)) {
        return;
    }
    l->figures = now;
    list_for_each (s, &l->seats, node) {
        if (s->cold) {
            seat_figures_changed(s);
            seat_show(s);
        }
    }
}

void estimate_learn(struct seat *s, struct ticket *t)
{
    struct line *l = s->line;
    struct seen seen = look_at(s, t);
    bool cut = t->ask.output_limit > 0 && seen.output >= t->ask.output_limit;

    if (!t->noted && t->progress <= 1) {
        return; /* it was no inference, or a refusal; or nobody knows what it was */
    }
    if (seen.prompt + seen.output == 0) {
        return;
    }
    compare(s, t, &seen);
    if (seen.output > 0) {
        lengths_add(&l->lengths, seen.output, cut, seen.at_ms, l->dispatch->learn_half_life_ms);
    }
    learn_speed(s, t, &seen);
    s->learnt++;
    seat_figures_changed(s);
    tell_cold_ones(l);
}

/* Telling */

bool dispatch_predict(const struct dispatch *d, const char *uuid, uint32_t prompt_tokens,
                      uint32_t output_limit, struct prediction *ret)
{
    const struct seat *s = map_get(&d->seats, uuid);
    struct estimate e;
    double output;

    if (!s || !s->open) {
        return false;
    }
    e = estimate(s, prompt_tokens, output_limit, &output);
    *ret = (struct prediction){
        .wait_ms = wait_ms(s),
        .wait_error_ms = sqrt((double)s->error_ms2) * share_before(s),
        .prefill_ms = e.prefill_ms,
        .decode_ms = e.decode_ms,
        .error_ms = e.error_ms,
        .output_tokens = output,
        .ms_per_output_token = s->figures.decode_ms,
        .learnt_from = s->learnt,
    };
    predictor_interval(&e, &s->line->ratios, &ret->low_ms, &ret->high_ms);
    return true;
}
