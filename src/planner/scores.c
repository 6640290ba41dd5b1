// SPDX-License-Identifier: Apache-2.0
/*
 * Which plan is better: the scores that planner.h states, the order by them, and the front of those
 * that no other beats. Everything here is a function of the candidates alone, ties are broken by
 * their shape, so that the same plans come out in the same order.
 */
#include "planner/search_int.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"

/* ---- scores ---- */

static const struct planner_score_weights usual = { 0.3, 0.35, 0.2, 0.15 };
static const double TPOT_S = 0.05, TTFT_S = 1;

/* 0 for nothing, 1 for endlessly much, half at the middle; never quite 1. */
static double part_of(double figure, double middle)
{
    return figure <= 0 ? 0 : figure / (figure + middle);
}

static double communication(const struct planner_result *r)
{
    const double all = planner_work_sum(r->decode_work_s) + planner_work_sum(r->prefill_work_s);

    return all > 0
               ? (r->decode_work_s[PLANNER_WORK_COMM] + r->prefill_work_s[PLANNER_WORK_COMM]) / all
               : 0;
}

/* Layers of a mean stage over those of the fullest. */
static double evenness(const struct planner_model *m, unsigned pp)
{
    const double mean = (double)m->layers / pp;

    return mean / ceil(mean);
}

/* Tokens/s that a chip would compute at its peak. */
static double ideal_of(const struct planner_setup *s)
{
    return s->peak_flops / (2 * planner_active_params(s->model));
}

static void set_scores(const struct planner_setup *s, const struct planner_question *q,
                       struct planner_candidate *c)
{
    const struct planner_result *r = &c->result;
    const double tpot = r->tpot_s / (q->slo_tpot_s > 0 ? q->slo_tpot_s : TPOT_S);
    const double ttft = r->ttft_s / (q->slo_ttft_s > 0 ? q->slo_ttft_s : TTFT_S);

    c->scores.latency = 100 / (1 + (tpot + ttft) / 2);
    c->scores.throughput = 100 * part_of(r->output_tokens_ps, 0.1 * q->max_chips * ideal_of(s));
    c->scores.efficiency = 100 * part_of(0.6 * r->mfu + 0.4 * r->mbu, 0.5);
    c->scores.balance =
        100 * (1 - r->bubble) * evenness(s->model, c->plan.pp) * (1 - communication(r));
}

static double balanced(const struct planner_question *q, const struct planner_scores *s)
{
    const struct planner_score_weights *w = &q->weights;
    double sum;

    if (!(w->latency + w->throughput + w->efficiency + w->balance > 0)) {
        w = &usual;
    }
    sum = w->latency + w->throughput + w->efficiency + w->balance;
    return (w->latency * s->latency + w->throughput * s->throughput +
            w->efficiency * s->efficiency + w->balance * s->balance) /
           sum;
}

static double wanted(const struct planner_setup *s, const struct planner_question *q,
                     const struct planner_candidate *c)
{
    switch (q->objective) {
    case PLANNER_THROUGHPUT:
        return c->scores.throughput;
    case PLANNER_LATENCY:
        return 100 / (1 + c->result.tpot_s / (q->slo_tpot_s > 0 ? q->slo_tpot_s : TPOT_S));
    case PLANNER_EFFICIENCY:
        return c->scores.efficiency;
    case PLANNER_BALANCED:
        return balanced(q, &c->scores);
    case PLANNER_CHIPS:
        return 100 * (1 - c->result.chips / (q->max_chips + 1.0));
    default:
        return 100 * part_of(c->result.output_tokens_ps_chip, 0.1 * ideal_of(s));
    }
}

void planner_score_candidate(const struct planner_setup *s, const struct planner_question *q,
                             struct planner_candidate *c)
{
    set_scores(s, q, c);
    c->score = c->meets_slo ? 50 + wanted(s, q, c) / 2 : 50 / fmax(c->slo_excess, 1);
}

/* ---- order ---- */

static int compare(double a, double b)
{
    return (a > b) - (a < b);
}

static int by_shape(const struct planner_candidate *a, const struct planner_candidate *b)
{
    const struct planner_plan *p = &a->plan, *q = &b->plan;
    const unsigned x[] = { a->result.chips, p->tp,          p->pp,         p->adp,
                           p->ep,           p->replicas,    p->sp,         a->prefill.tp,
                           a->prefill.pp,   a->prefill.adp, a->prefill.ep, a->prefill.replicas,
                           a->prefill.sp };
    const unsigned y[] = { b->result.chips, q->tp,          q->pp,         q->adp,
                           q->ep,           q->replicas,    q->sp,         b->prefill.tp,
                           b->prefill.pp,   b->prefill.adp, b->prefill.ep, b->prefill.replicas,
                           b->prefill.sp };

    for (size_t i = 0; i < ARRAY_SIZE(x); i++) {
        if (x[i] != y[i]) {
            return x[i] < y[i] ? -1 : 1;
        }
    }
    return 0;
}

/* What is sorted: the figures of a candidate, which itself is moved only once. */
struct key {
    double first, second; /* downwards */
    const struct planner_candidate *c;
};

static int by_key(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    int r = compare(y->first, x->first);

    r = r ? r : compare(y->second, x->second);
    return r ? r : by_shape(x->c, y->c);
}

void planner_rank(struct planner_candidate *c, size_t count, enum planner_objective o)
{
    struct key *keys = xcalloc(count + 1, sizeof(*keys));
    struct planner_candidate *sorted = xcalloc(count + 1, sizeof(*sorted));

    assert(count == 0 || c);
    for (size_t i = 0; i < count; i++) {
        keys[i] = (struct key){ c[i].score, 0, &c[i] };
        if (o == PLANNER_LATENCY) {
            keys[i].second = -c[i].result.ttft_s;
        } else if (o == PLANNER_CHIPS) {
            keys[i].second = c[i].result.output_tokens_ps_chip;
        }
    }
    qsort(keys, count, sizeof(*keys), by_key);
    for (size_t i = 0; i < count; i++) {
        sorted[i] = *keys[i].c;
    }
    if (count > 0) {
        memcpy(c, sorted, count * sizeof(*c));
    }
    free(sorted);
    free(keys);
}

/* ---- the front ---- */

/* By the first figure downwards, a plan is on the front when it beats all before it in the second.
 */
void planner_mark_front(struct planner_candidate *c, size_t count)
{
    struct key *keys = xcalloc(count + 1, sizeof(*keys));
    double best = -1;

    for (size_t i = 0; i < count; i++) {
        keys[i] = (struct key){ c[i].result.output_tokens_ps_chip,
                                c[i].result.output_tokens_ps_user, &c[i] };
    }
    qsort(keys, count, sizeof(*keys), by_key);
    for (size_t i = 0; i < count; i++) {
        struct planner_candidate *one = &c[keys[i].c - c];

        one->pareto = keys[i].second > best;
        best = fmax(best, keys[i].second);
    }
    free(keys);
}
