// SPDX-License-Identifier: Apache-2.0
/*
 * Who does what when: the chunks of a prefill through the stages of a pipeline, one behind the
 * other (so that the first and the last stages wait), then decode steps. The lengths are those of
 * planner_evaluate(): all chunks together take its prefill_s, a step takes its decode_step_s, and
 * the kinds of work share each bar as they share the whole.
 */
#include "planner/planner_int.h"

#include <math.h>

struct pen {
    struct planner_bar *out;
    size_t max, count;
};

static void draw(struct pen *p, const struct planner_bar *bar)
{
    if (bar->length_s <= 0) {
        return;
    }
    if (p->count < p->max) {
        p->out[p->count] = *bar;
    }
    p->count++;
}

/* One stage's or several stages' time of equal length, kind after kind; stages that work at the
 * same time have equal bars, so that all are ordered by their start. */
struct slot {
    bool decode;
    const double *work;
    double sum, start_s, length_s;
    unsigned first_stage, first_index, stages; /* stage first + i has index first - i */
};

static void draw_slot(struct pen *p, const struct slot *s)
{
    double at = s->start_s;

    for (int k = 0; k < PLANNER_WORK_MAX_; k++) {
        const double length = s->length_s * s->work[k] / s->sum;

        for (unsigned i = 0; i < s->stages; i++) {
            const struct planner_bar bar = { s->first_stage + i,   s->decode, s->first_index - i,
                                             (enum planner_work)k, at,        length };

            draw(p, &bar);
        }
        at += length;
    }
}

/* ---- prefill ---- */

/* A static batch goes through prefill as one. */
static double chunks_of(const struct planner_setup *s, const struct planner_plan *p,
                        const struct planner_load *l)
{
    const double fresh = fmax(l->isl * (1 - l->prefix_hit), 1);
    const double requests =
        l->kind == PLANNER_STATIC ? fmax(l->concurrency / p->replicas / p->adp, 1) : 1;

    return ceil(requests * fresh /
                (l->chunk_tokens > 0 ? l->chunk_tokens : planner_default_chunk(s->engine)));
}

static void draw_waits(struct pen *p, unsigned stages, unsigned chunks, unsigned slot, double beat)
{
    for (unsigned i = 0; i < stages; i++) {
        const struct planner_bar before = { i, false, 0, PLANNER_WORK_MAX_, 0, i * beat };
        const struct planner_bar after = { i,           false,
                                           chunks - 1,  PLANNER_WORK_MAX_,
                                           slot * beat, (stages - 1 - i) * beat };

        if (slot == 0) {
            draw(p, &before);
        }
        if (slot == chunks + i) {
            draw(p, &after);
        }
    }
}

static void draw_prefill(struct pen *p, unsigned stages, unsigned chunks, const double *work,
                         double length_s)
{
    const unsigned slots = chunks + stages - 1;
    const double beat = length_s / slots, sum = planner_work_sum(work);

    for (unsigned slot = 0; slot < slots; slot++) {
        const unsigned first = slot < chunks ? 0 : slot - chunks + 1;
        const unsigned last = slot < stages ? slot : stages - 1;
        const struct slot s = { false, work,  sum,          slot * beat,
                                beat,  first, slot - first, last - first + 1 };

        draw_waits(p, stages, chunks, slot, beat);
        draw_slot(p, &s);
    }
}

/* ---- decode ---- */

struct decode {
    unsigned first_stage, stages, tokens;
    const double *work;
    double start_s, step_s;
    bool alone; /* too few requests to keep the other stages busy meanwhile */
};

static void draw_step(struct pen *p, const struct decode *d, unsigned token)
{
    const double beat = d->step_s / d->stages, start = d->start_s + token * d->step_s;
    const double sum = planner_work_sum(d->work);

    for (unsigned i = 0; i < d->stages; i++) {
        const struct slot s = { true,  d->work, sum, start + i * beat, beat, d->first_stage + i,
                                token, 1 };
        const bool last = token + 1 == d->tokens;
        const struct planner_bar wait = { d->first_stage + i,
                                          true,
                                          token,
                                          PLANNER_WORK_MAX_,
                                          start + (i + 1) * beat,
                                          ((last ? d->stages - i : d->stages) - 1) * beat };

        draw_slot(p, &s);
        if (d->alone) {
            draw(p, &wait);
        }
    }
}

static void draw_decode(struct pen *p, const struct decode *d)
{
    for (unsigned i = 1; d->alone && i < d->stages && d->tokens > 0; i++) {
        const struct planner_bar wait = {
            d->first_stage + i, true, 0, PLANNER_WORK_MAX_, d->start_s, i * d->step_s / d->stages
        };

        draw(p, &wait);
    }
    for (unsigned token = 0; token < d->tokens; token++) {
        draw_step(p, d, token);
    }
}

size_t planner_timeline(const struct planner_setup *s, const struct planner_plan *plan,
                        const struct planner_load *load, unsigned tokens, struct planner_bar *out,
                        size_t max)
{
    const bool apart = load->kind == PLANNER_DISAGGREGATED;
    const struct planner_plan *first = apart ? &load->prefill : plan;
    struct pen pen = { .out = out, .max = max };
    struct planner_result r;
    struct decode d;

    planner_evaluate(s, plan, load, &r);
    if (r.bound != PLANNER_FITS) {
        return 0;
    }
    draw_prefill(&pen, first->pp, (unsigned)fmin(chunks_of(s, first, load), PLANNER_TIMELINE_MAX),
                 r.prefill_work_s, r.prefill_s);
    d = (struct decode){ .first_stage = apart ? first->pp : 0,
                         .stages = plan->pp,
                         .tokens = tokens < PLANNER_TIMELINE_MAX ? tokens : PLANNER_TIMELINE_MAX,
                         .work = r.decode_work_s,
                         .start_s = r.prefill_s,
                         .step_s = r.decode_step_s,
                         .alone = r.running / plan->adp < plan->pp };
    draw_decode(&pen, &d);
    return pen.count;
}
