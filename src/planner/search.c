// SPDX-License-Identifier: Apache-2.0
/*
 * All plans of a setup under the limits of a question, ranked (recipe 8). For each setting of tp,
 * pp, attention dp, ep and moe_tp the concurrency of one replica is found once: TPOT and TTFT rise
 * with it, so the largest that keeps the SLO is bisected. Replicas multiply throughput and chips
 * and leave latency alone, so they are tried without another evaluation of the batch.
 */
#include "planner/planner_int.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

static const char *const objectives[PLANNER_OBJECTIVE_MAX_] = {
    [PLANNER_COST] = "cost",
    [PLANNER_THROUGHPUT] = "throughput",
    [PLANNER_LATENCY] = "latency",
};

int planner_objective_from_string(const char *name)
{
    for (int i = 0; i < PLANNER_OBJECTIVE_MAX_; i++) {
        if (strcasecmp(objectives[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

struct search {
    const struct planner_setup *s;
    const struct planner_question *q;
    struct planner_findings *f;
    size_t room;
};

enum { BATCH_MAX = 4096 };

/* ---- one plan ---- */

static void evaluate(struct search *x, const struct planner_plan *p, double concurrency,
                     struct planner_candidate *ret)
{
    const struct planner_question *q = x->q;
    const struct planner_load load = {
        .kind = PLANNER_CLOSED_LOOP,
        .isl = q->isl,
        .osl = q->osl,
        .concurrency = concurrency,
        .prefix_hit = q->prefix_hit,
    };

    x->f->evaluations++;
    ret->plan = *p;
    ret->concurrency = concurrency;
    planner_evaluate(x->s, p, &load, &ret->result);
    ret->slo_excess = 0;
    if (q->slo_tpot_s > 0) {
        ret->slo_excess = ret->result.tpot_s / q->slo_tpot_s;
    }
    if (q->slo_ttft_s > 0) {
        ret->slo_excess = fmax(ret->slo_excess, ret->result.ttft_s / q->slo_ttft_s);
    }
    ret->meets_slo = ret->slo_excess <= 1;
}

/* No more than memory holds: who waits for memory gains nothing. */
static bool is_good(const struct planner_candidate *c)
{
    return c->meets_slo && c->result.running >= 0.999 * c->concurrency / c->plan.replicas;
}

/* The largest concurrency of one replica that is good, by bisection over whole requests; when one
 * request is too much already, that one. */
static void best_batch(struct search *x, const struct planner_plan *p,
                       struct planner_candidate *ret)
{
    unsigned low = 1, high = BATCH_MAX + 1;
    struct planner_candidate c;

    evaluate(x, p, 1, ret);
    if (ret->result.bound != PLANNER_FITS || !is_good(ret)) {
        return;
    }
    if (ret->result.fits_requests * p->adp < high) {
        high = (unsigned)(ret->result.fits_requests * p->adp) + 1;
        high = high < 2 ? 2 : high;
    }
    while (high - low > 1) {
        const unsigned mid = low + (high - low) / 2;

        evaluate(x, p, mid, &c);
        if (c.result.bound == PLANNER_FITS && is_good(&c)) {
            low = mid;
            *ret = c;
        } else {
            high = mid;
        }
    }
}

static void keep(struct search *x, const struct planner_candidate *c)
{
    struct planner_findings *f = x->f;

    if (f->count == x->room) {
        x->room = x->room ? 2 * x->room : 64;
        f->candidates = xrealloc(f->candidates, x->room * sizeof(*c));
    }
    f->candidates[f->count++] = *c;
}

static void refuse(struct search *x, const struct planner_candidate *c)
{
    struct planner_findings *f = x->f;
    const enum planner_bound b = c->result.bound;

    f->refused++;
    if (f->refused_by[b]++ == 0) {
        f->refused_example[b] = *c;
    }
}

/* What n replicas make of one. */
static struct planner_candidate multiply(const struct planner_candidate *one, unsigned n)
{
    struct planner_candidate c = *one;
    struct planner_result *r = &c.result;

    c.plan.replicas = n;
    c.concurrency *= n;
    r->chips *= n;
    r->requests_ps *= n;
    r->output_tokens_ps *= n;
    r->total_tokens_ps *= n;
    r->throughput_band.p10 *= n;
    r->throughput_band.p90 *= n;
    return c;
}

/* With the concurrency given, each number of replicas is another load; else the best batch of one
 * replica holds for all. Powers of two, and the most that there is room for. */
static void try_replicas(struct search *x, struct planner_plan p)
{
    const unsigned chips = planner_plan_chips(&p), most = x->q->max_chips / chips;
    struct planner_candidate one, c;

    if (x->q->concurrency <= 0) {
        best_batch(x, &p, &one);
    }
    for (unsigned n = 1; n <= most; n = n < most && 2 * n > most ? most : 2 * n) {
        x->f->tried++;
        if (x->q->concurrency > 0) {
            p.replicas = n;
            evaluate(x, &p, x->q->concurrency, &c);
        } else {
            c = multiply(&one, n);
        }
        if (c.result.bound == PLANNER_FITS) {
            keep(x, &c);
        } else {
            refuse(x, &c);
        }
    }
}

/* ---- all plans ---- */

static bool wanted(unsigned value, unsigned only)
{
    return only == 0 || value == only;
}

/* The ways to divide the experts of tp * adp chips. */
static void try_experts(struct search *x, struct planner_plan p)
{
    const struct planner_model *m = x->s->model;
    const unsigned group = p.tp * p.adp;

    if (m->experts == 0) {
        if (wanted(1, x->q->ep)) {
            try_replicas(x, p);
        }
        return;
    }
    for (unsigned ep = 1; ep <= group; ep *= 2) {
        p.ep = ep;
        p.moe_tp = group / ep;
        /* a slice of an expert is a multiple of 64 wide */
        if (group % ep == 0 && m->experts % ep == 0 && wanted(ep, x->q->ep) &&
            m->moe_inter % (64 * p.moe_tp) == 0) {
            try_replicas(x, p);
        }
    }
}

static bool may_divide(const struct search *x, unsigned tp)
{
    const struct planner_model *m = x->s->model;
    const struct planner_chip *c = x->s->chip;

    if (tp > 1 && tp > c->scaleup_chips && !x->q->across_nodes) {
        return false;
    }
    return m->heads % tp == 0 && (m->inter == 0 || m->inter % (64 * tp) == 0 || tp == 1);
}

/* At most one layer of imbalance comes of itself; stages beyond 16 help nobody. */
static void try_all(struct search *x)
{
    const struct planner_question *q = x->q;
    const struct planner_model *m = x->s->model;
    const unsigned adp_max = m->experts > 0 ? 64 : 1;

    for (unsigned tp = 1; tp <= q->max_chips; tp *= 2) {
        if (!may_divide(x, tp) || !wanted(tp, q->tp)) {
            continue;
        }
        for (unsigned pp = 1; tp * pp <= q->max_chips && pp <= m->layers && pp <= 16; pp *= 2) {
            for (unsigned adp = 1; adp <= adp_max && tp * pp * adp <= q->max_chips; adp *= 2) {
                if (wanted(pp, q->pp)) {
                    try_experts(x, (struct planner_plan){ tp, pp, adp, 1, 1, 1 });
                }
            }
        }
    }
}

/* ---- order ---- */

static int compare(double a, double b)
{
    return (a > b) - (a < b);
}

static int by_shape(const struct planner_plan *a, const struct planner_plan *b)
{
    const unsigned x[] = { planner_plan_chips(a), a->tp, a->pp, a->adp, a->ep, a->replicas };
    const unsigned y[] = { planner_plan_chips(b), b->tp, b->pp, b->adp, b->ep, b->replicas };

    for (size_t i = 0; i < ARRAY_SIZE(x); i++) {
        if (x[i] != y[i]) {
            return x[i] < y[i] ? -1 : 1;
        }
    }
    return 0;
}

static int by_objective(const struct planner_candidate *a, const struct planner_candidate *b,
                        enum planner_objective o)
{
    int r;

    if (a->meets_slo != b->meets_slo) {
        return a->meets_slo ? -1 : 1;
    }
    if (!a->meets_slo) { /* the nearest to it */
        r = compare(a->slo_excess, b->slo_excess);
        return r ? r : by_shape(&a->plan, &b->plan);
    }
    switch (o) {
    case PLANNER_THROUGHPUT:
        r = compare(b->result.output_tokens_ps, a->result.output_tokens_ps);
        break;
    case PLANNER_LATENCY:
        r = compare(a->result.tpot_s, b->result.tpot_s);
        r = r ? r : compare(a->result.ttft_s, b->result.ttft_s);
        break;
    default:
        r = compare(b->result.output_tokens_ps_chip, a->result.output_tokens_ps_chip);
    }
    return r ? r : by_shape(&a->plan, &b->plan);
}

static int by_cost(const void *a, const void *b)
{
    return by_objective(a, b, PLANNER_COST);
}

static int by_throughput(const void *a, const void *b)
{
    return by_objective(a, b, PLANNER_THROUGHPUT);
}

static int by_latency(const void *a, const void *b)
{
    return by_objective(a, b, PLANNER_LATENCY);
}

/* ---- Pareto ---- */

static int by_front(const void *a, const void *b)
{
    const struct planner_candidate *x = *(struct planner_candidate *const *)a;
    const struct planner_candidate *y = *(struct planner_candidate *const *)b;
    int r = compare(y->result.output_tokens_ps_chip, x->result.output_tokens_ps_chip);

    r = r ? r : compare(y->result.output_tokens_ps_user, x->result.output_tokens_ps_user);
    return r ? r : by_shape(&x->plan, &y->plan);
}

/* By the first figure downwards, a plan is on the front when it beats all before it in the second.
 */
static void mark_front(struct planner_findings *f)
{
    struct planner_candidate **order = xcalloc(f->count + 1, sizeof(*order));
    double best = 0;

    for (size_t i = 0; i < f->count; i++) {
        order[i] = &f->candidates[i];
    }
    qsort(order, f->count, sizeof(*order), by_front);
    for (size_t i = 0; i < f->count; i++) {
        order[i]->pareto = order[i]->result.output_tokens_ps_user > best;
        best = fmax(best, order[i]->result.output_tokens_ps_user);
    }
    free(order);
}

void planner_search(const struct planner_setup *s, const struct planner_question *q,
                    struct planner_findings *ret)
{
    static int (*const orders[PLANNER_OBJECTIVE_MAX_])(const void *, const void *) = {
        [PLANNER_COST] = by_cost,
        [PLANNER_THROUGHPUT] = by_throughput,
        [PLANNER_LATENCY] = by_latency,
    };
    struct search x = { .s = s, .q = q, .f = ret };

    assert(q->max_chips > 0 && q->objective < PLANNER_OBJECTIVE_MAX_);
    memset(ret, 0, sizeof(*ret));
    try_all(&x);
    if (ret->count > 0) {
        mark_front(ret);
        qsort(ret->candidates, ret->count, sizeof(*ret->candidates), orders[q->objective]);
    }
}

void planner_findings_finish(struct planner_findings *f)
{
    free(f->candidates);
    *f = (struct planner_findings){ 0 };
}
