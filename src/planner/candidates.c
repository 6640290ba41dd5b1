// SPDX-License-Identifier: Apache-2.0
/*
 * The load under which each shape is judged: the question's own, or the largest concurrency that
 * keeps the SLO, and with how many replicas. Replicas multiply throughput and chips and leave
 * latency alone, so that without a given load one replica's batch is found once for all.
 */
#include "planner/search_int.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/macros.h"
#include "base/mem.h"

/* go_on() is asked after so much work, an evaluation of a closed loop being 1: about a
 * millisecond. */
enum { WORK_MAX = 512, WORK_SLOW = 24 };
enum { ALL_REPLICAS = 16, FEW_REPLICAS = 4, REPLICAS_MAX = 64 };

/* ---- one evaluation ---- */

struct planner_load planner_candidate_load(const struct planner_question *q,
                                           const struct planner_candidate *c)
{
    struct planner_load l = {
        .kind = c->prefill.replicas > 0 ? PLANNER_DISAGGREGATED
                : q->rate_per_s > 0     ? PLANNER_OPEN_LOOP
                                        : PLANNER_CLOSED_LOOP,
        .isl = q->isl,
        .osl = q->osl,
        .concurrency = c->concurrency,
        .prefix_hit = q->prefix_hit,
        .chunk_tokens = q->chunk_tokens,
        .isl_cv = q->isl_cv,
        .osl_cv = q->osl_cv,
        .draft_tokens = q->draft_tokens,
        .acceptance = q->acceptance,
        .draft_share = q->draft_share,
        .prefill = c->prefill,
    };

    if (l.kind == PLANNER_OPEN_LOOP) {
        l.rate_per_s = q->rate_per_s;
        l.concurrency = 0;
    }
    return l;
}

bool planner_run_goes_on(struct planner_run *x, double share)
{
    const double done = x->begin + x->part * share;

    x->work = 0;
    x->told = fmin(fmax(x->told, done), 1);
    if (!x->f->stopped && x->q->go_on && !x->q->go_on(x->q->arg, x->told)) {
        x->f->stopped = true;
    }
    return !x->f->stopped;
}

static double over(double figure, double limit)
{
    return limit > 0 ? figure / limit : 0;
}

/* How far its latencies are from the SLO. */
static double latency_excess(const struct planner_question *q, const struct planner_result *r)
{
    return fmax(fmax(over(r->tpot_s, q->slo_tpot_s), over(r->ttft_s, q->slo_ttft_s)),
                over(r->e2e_s, q->slo_e2e_s));
}

static void judge(const struct planner_question *q, struct planner_candidate *c)
{
    c->slo_excess = latency_excess(q, &c->result);
    if (q->min_tokens_ps > 0) {
        c->slo_excess =
            fmax(c->slo_excess, q->min_tokens_ps / fmax(c->result.output_tokens_ps, 1e-9));
    }
    c->meets_slo = c->slo_excess <= 1;
}

void planner_run_evaluate(struct planner_run *x, struct planner_candidate *c)
{
    const struct planner_load l = planner_candidate_load(x->q, c);

    x->f->evaluations++;
    planner_evaluate(&x->setup, &c->plan, &l, &c->result);
    c->pareto = false;
    c->meets_slo = false;
    c->slo_excess = 0;
    if (c->result.bound == PLANNER_FITS) {
        judge(x->q, c);
        if (l.kind == PLANNER_OPEN_LOOP) {
            c->concurrency = c->result.running * c->plan.replicas;
        }
    }
    x->work += l.kind == PLANNER_CLOSED_LOOP ? 1 : WORK_SLOW;
    if (x->work >= WORK_MAX) {
        planner_run_goes_on(x, 0);
    }
}

/* ---- what becomes of it ---- */

/* Of too many the better half stays, and who is on the front. */
static void let_go(struct planner_run *x)
{
    struct planner_findings *f = x->f;
    size_t kept = PLANNER_KEPT_MAX / 2;

    planner_mark_front(f->candidates, f->count);
    planner_rank(f->candidates, f->count, x->q->objective);
    for (size_t i = kept; i < f->count && kept < PLANNER_KEPT_MAX / 4 * 3; i++) {
        if (f->candidates[i].pareto) {
            f->candidates[kept++] = f->candidates[i];
        }
    }
    f->count = kept;
}

void planner_run_keep(struct planner_run *x, const struct planner_candidate *c)
{
    struct planner_findings *f = x->f;

    f->found++;
    if (f->count == PLANNER_KEPT_MAX) {
        let_go(x);
    }
    if (f->count == x->room) {
        x->room = x->room ? 2 * x->room : 64;
        f->candidates = xrealloc(f->candidates, x->room * sizeof(*c));
    }
    f->candidates[f->count] = *c;
    f->meeting += c->meets_slo;
    planner_score_candidate(&x->setup, x->q, &f->candidates[f->count++]);
}

void planner_run_refuse(struct planner_run *x, const struct planner_candidate *c)
{
    struct planner_findings *f = x->f;
    const enum planner_bound b = c->result.bound;

    f->refused++;
    if (f->refused_by[b]++ == 0) {
        f->refused_example[b] = *c;
    }
    if (f->refusal_count == PLANNER_REFUSALS_MAX) {
        return;
    }
    if (f->refusal_count == x->refusal_room) {
        x->refusal_room = x->refusal_room ? 2 * x->refusal_room : 8;
        f->refusals = xrealloc(f->refusals, x->refusal_room * sizeof(*c));
    }
    f->refusals[f->refusal_count++] = *c;
}

void planner_run_count(struct planner_run *x, const struct planner_candidate *c)
{
    x->f->tried++;
    if (c->result.bound == PLANNER_FITS) {
        planner_run_keep(x, c);
    } else {
        planner_run_refuse(x, c);
    }
}

struct planner_candidate planner_run_multiply(const struct planner_run *x,
                                              const struct planner_candidate *one, unsigned n)
{
    struct planner_candidate c = *one;
    struct planner_result *r = &c.result;

    c.plan.replicas *= n;
    c.prefill.replicas *= n;
    c.concurrency *= n;
    r->chips *= n;
    r->requests_ps *= n;
    r->output_tokens_ps *= n;
    r->total_tokens_ps *= n;
    r->throughput_band.p10 *= n;
    r->throughput_band.p90 *= n;
    if (r->bound == PLANNER_FITS) {
        judge(x->q, &c);
    }
    return c;
}

/* ---- the largest batch ---- */

/* No more than memory holds: who waits for memory gains nothing. */
static bool is_good(const struct planner_run *x, const struct planner_candidate *c)
{
    return c->result.bound == PLANNER_FITS && latency_excess(x->q, &c->result) <= 1 &&
           c->result.running >= 0.999 * c->concurrency;
}

/* The largest concurrency of one replica that is good, by bisection over whole requests; when one
 * request is too much already, that one. */
static void best_batch(struct planner_run *x, const struct planner_plan *p,
                       struct planner_candidate *ret)
{
    unsigned low = 1, high = PLANNER_BATCH_MAX * p->adp + 1;
    struct planner_candidate c;

    *ret = (struct planner_candidate){ .plan = *p, .concurrency = 1 };
    ret->plan.replicas = 1;
    planner_run_evaluate(x, ret);
    if (!is_good(x, ret)) {
        return;
    }
    if (ret->result.fits_requests < high) {
        high = (unsigned)ret->result.fits_requests + 1;
        high = high < 2 ? 2 : high;
    }
    c = *ret;
    while (high - low > 1 && !x->f->stopped) {
        const unsigned mid = low + (high - low) / 2;

        c.concurrency = mid;
        planner_run_evaluate(x, &c);
        if (is_good(x, &c)) {
            low = mid;
            *ret = c;
        } else {
            high = mid;
        }
    }
}

/* ---- replicas ---- */

struct numbers {
    unsigned n[REPLICAS_MAX];
    size_t count;
};

static void add_number(struct numbers *l, unsigned n)
{
    size_t i = l->count;

    for (size_t j = 0; j < l->count; j++) {
        if (l->n[j] == n) {
            return;
        }
    }
    if (l->count == REPLICAS_MAX) {
        return;
    }
    for (l->count++; i > 0 && l->n[i - 1] > n; i--) {
        l->n[i] = l->n[i - 1];
    }
    l->n[i] = n;
}

static void list_numbers(unsigned all, unsigned most, struct numbers *ret)
{
    ret->count = 0;
    for (unsigned n = 1; n <= most; n = n < all ? n + 1 : 2 * n) {
        add_number(ret, n);
    }
    if (most > 0) {
        add_number(ret, most);
    }
}

static void evaluate_with(struct planner_run *x, const struct planner_plan *p, unsigned n,
                          struct planner_candidate *ret)
{
    *ret = (struct planner_candidate){ .plan = *p, .concurrency = x->q->concurrency };
    ret->plan.replicas = n;
    planner_run_evaluate(x, ret);
}

/* What one replica can serve, from a refusal; 0: it was none. */
static double capacity_of(const struct planner_candidate *c)
{
    return c->result.bound == PLANNER_UNSUSTAINABLE ? c->result.have / c->plan.replicas : 0;
}

static bool does_it(const struct planner_candidate *c)
{
    return c->result.bound == PLANNER_FITS && c->meets_slo;
}

/* The fewest that meet the SLO under a given load; more share it, and latency falls. Looked for
 * from low (which do not) upwards in growing steps, then between the last two. */
static void add_fewest(struct planner_run *x, const struct planner_plan *p, unsigned low,
                       unsigned most, struct numbers *l)
{
    unsigned high = low, step = 1 + low / 8;
    struct planner_candidate c = { 0 };

    do {
        low = high;
        high = MIN_OF(high + step, most);
        step *= 3;
        evaluate_with(x, p, high, &c);
    } while (!does_it(&c) && high < most && !x->f->stopped);
    if (!does_it(&c)) {
        return;
    }
    while (high - low > 1 && !x->f->stopped) {
        const unsigned mid = low + (high - low) / 2;

        evaluate_with(x, p, mid, &c);
        if (does_it(&c)) {
            high = mid;
        } else {
            low = mid;
        }
    }
    add_number(l, high);
}

/* With fewer than the rate over what one replica serves, it is not served. */
static void try_given_load(struct planner_run *x, const struct planner_plan *p, struct numbers *l,
                           unsigned most)
{
    const double rate = x->q->rate_per_s;
    struct planner_candidate c;
    double capacity;

    evaluate_with(x, p, l->n[0], &c);
    capacity = capacity_of(&c);
    if (most > l->n[0] && !does_it(&c) &&
        (c.result.bound == PLANNER_FITS || c.result.bound == PLANNER_UNSUSTAINABLE)) {
        const double low = capacity > 0 ? floor(0.95 * rate / capacity) : 1;

        if (low < most) {
            add_fewest(x, p, (unsigned)fmax(low, 1), most, l);
        }
    }
    planner_run_count(x, &c);
    for (size_t i = 1; i < l->count && !x->f->stopped; i++) {
        if (capacity > 0 && l->n[i] * capacity < 0.9 * rate) {
            c.plan.replicas = l->n[i];
            c.result.chips = planner_plan_chips(&c.plan);
            c.result.have = l->n[i] * capacity;
        } else {
            evaluate_with(x, p, l->n[i], &c);
        }
        planner_run_count(x, &c);
    }
}

static void try_best_load(struct planner_run *x, const struct planner_plan *p, struct numbers *l,
                          unsigned most)
{
    struct planner_candidate one, c;
    double need;

    best_batch(x, p, &one);
    need = one.result.bound == PLANNER_FITS
               ? ceil(x->q->min_tokens_ps / fmax(one.result.output_tokens_ps, 1e-9))
               : 0;
    if (l->count > 1 && need >= 1 && need <= most) {
        add_number(l, (unsigned)need);
    }
    for (size_t i = 0; i < l->count && !x->f->stopped; i++) {
        c = planner_run_multiply(x, &one, l->n[i]);
        planner_run_count(x, &c);
    }
}

void planner_run_replicas(struct planner_run *x, const struct planner_plan *shape,
                          unsigned replicas)
{
    unsigned most = replicas ? replicas : x->max_chips / planner_plan_chips(shape);
    struct numbers l;

    if (replicas) {
        l = (struct numbers){ { replicas }, 1 };
    } else {
        if (x->q->concurrency > 0) { /* an idle replica serves nobody */
            most = MIN_OF(most, (unsigned)fmin(ceil(x->q->concurrency), 1e9));
        }
        list_numbers(x->q->rate_per_s > 0 ? FEW_REPLICAS : ALL_REPLICAS, most, &l);
    }
    assert(l.count > 0);
    if (x->q->concurrency > 0 || x->q->rate_per_s > 0) {
        try_given_load(x, shape, &l, most);
    } else {
        try_best_load(x, shape, &l, most);
    }
}
