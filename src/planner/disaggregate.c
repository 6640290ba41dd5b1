// SPDX-License-Identifier: Apache-2.0
/*
 * Plans whose prefill runs on other chips than their decode (recipe 6.2). Each shape is looked at
 * once as a side of either kind; a side that another beats in all that a pair takes from it is
 * passed over with all its pairs. What is left is paired in such numbers that one side keeps up
 * with the other, and each pair is then evaluated as a whole.
 */
#include "planner/search_int.h"

#include <math.h>
#include <stdlib.h>

#include "base/macros.h"
#include "base/mem.h"

/* Concurrency of a replica's chip at which decode sides are compared when the load is given: powers
 * of two from 1/8. */
enum { LADDER = 12, FIGURES_MAX = LADDER + 1, CELLS = 4 };
/* What prefill chips keep of their rate beside others (recipe 6.2). */
static const double PREFILL_SHARE = 0.9;

struct side {
    struct planner_plan plan;
    unsigned chips;
    double figures[FIGURES_MAX]; /* the less the better */
    unsigned figure_count;
    double batch;  /* decode: requests that run in one replica */
    double rate;   /* requests/s of one replica */
    double time_s; /* decode: TPOT; prefill: of one request */
    bool beaten;
};

static bool is_given(const struct planner_question *q)
{
    return q->concurrency > 0 || q->rate_per_s > 0;
}

/* ---- sides ---- */

/* With so many requests at once in one replica, and nobody's prefill: an offline load has both
 * steps, each undisturbed. False when it does not fit. */
static bool look(struct planner_run *x, const struct planner_plan *p, double batch,
                 struct planner_result *r)
{
    const struct planner_candidate c = { .concurrency = batch };
    struct planner_load l = planner_candidate_load(x->q, &c);

    l.kind = PLANNER_OFFLINE;
    l.rate_per_s = 0;
    l.concurrency = batch;
    x->f->evaluations++;
    x->work++;
    planner_evaluate(&x->setup, p, &l, r);
    return r->bound == PLANNER_FITS;
}

static double step_of(const struct planner_run *x, const struct planner_result *r)
{
    return x->setup.k->pd_decode * r->decode_step_s / fmax(r->tokens_per_step, 1);
}

static bool is_good(const struct planner_run *x, const struct planner_result *r, double batch)
{
    const struct planner_question *q = x->q;
    const double tpot = step_of(x, r);

    return (q->slo_tpot_s <= 0 || tpot <= q->slo_tpot_s) &&
           (q->slo_e2e_s <= 0 || tpot * q->osl <= q->slo_e2e_s) && r->running >= 0.999 * batch;
}

/* The largest batch in the SLO, or 1. */
static bool look_at_decode(struct planner_run *x, struct side *s)
{
    struct planner_result r;
    unsigned low = 1, high = 1;

    if (!look(x, &s->plan, 1, &r)) {
        return false;
    }
    s->time_s = step_of(x, &r);
    if (is_good(x, &r, 1)) {
        high = (unsigned)fmin(r.fits_requests, (double)PLANNER_BATCH_MAX * s->plan.adp) + 1;
    }
    while (high - low > 1) {
        const unsigned mid = low + (high - low) / 2;

        if (look(x, &s->plan, mid, &r) && is_good(x, &r, mid)) {
            low = mid;
            s->time_s = step_of(x, &r);
        } else {
            high = mid;
        }
    }
    s->batch = low;
    s->rate = low / (fmax(x->q->osl, 1) * s->time_s);
    s->figures[0] = s->time_s;
    s->figures[1] = -s->rate / s->chips;
    s->figure_count = 2;
    return true;
}

/* Under a given load any number of requests may come to a replica. */
static void climb(struct planner_run *x, struct side *s)
{
    struct planner_result r;

    for (unsigned i = 0; i < LADDER; i++) {
        const double batch = fmax(ldexp(s->chips, (int)i - 3), 1);

        s->figures[i] =
            look(x, &s->plan, batch, &r) && r.running >= 0.999 * batch ? step_of(x, &r) : INFINITY;
        s->figures[LADDER] = -r.fits_requests / s->chips;
    }
    s->figure_count = LADDER + 1;
}

static bool look_at_prefill(struct planner_run *x, struct side *s)
{
    struct planner_result r;
    if (!look(x, &s->plan, 1, &r)) {
        return false;
    }
    s->time_s = r.prefill_s;
    s->rate =
        PREFILL_SHARE * s->plan.adp * s->plan.pp / fmax(planner_work_sum(r.prefill_work_s), 1e-12);
    s->figures[0] = s->time_s;
    s->figures[1] = -s->rate / s->chips;
    s->figure_count = 2;
    return true;
}

/* alone: there is one of each, else as many of the smaller as have the chips of the other. */
static bool beats(const struct side *a, const struct side *b, bool alone)
{
    if (alone ? a->chips != b->chips : b->chips % a->chips != 0) {
        return false;
    }
    for (unsigned i = 0; i < a->figure_count; i++) {
        if (a->figures[i] > b->figures[i]) {
            return false;
        }
    }
    return true;
}

/* Of two that beat each other the first stays. */
static void mark_beaten(struct side *sides, size_t count, bool alone)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count && !sides[i].beaten; j++) {
            sides[i].beaten = i != j && !sides[j].beaten && beats(&sides[j], &sides[i], alone) &&
                              (j < i || !beats(&sides[i], &sides[j], alone));
        }
    }
}

/* All shapes that can be this side; who cannot is no plan and not counted. */
static struct side *list_sides(struct planner_run *x, const struct planner_plan *shapes,
                               size_t count, bool decode, size_t *ret_count)
{
    struct side *sides = xcalloc(count + 1, sizeof(*sides));

    *ret_count = 0;
    for (size_t i = 0; i < count && !x->f->stopped; i++) {
        struct side s = { .plan = shapes[i], .chips = planner_plan_chips(&shapes[i]) };

        if (decode ? look_at_decode(x, &s) : look_at_prefill(x, &s)) {
            if (decode && is_given(x->q)) {
                climb(x, &s);
            }
            sides[(*ret_count)++] = s;
        }
        if (x->work > 512) {
            planner_run_goes_on(x, 0);
        }
    }
    mark_beaten(sides, *ret_count, decode && x->q->replicas > 0);
    return sides;
}

/* ---- pairs ---- */

struct pair {
    const struct side *decode, *prefill;
};

/* The first token of a request that finds nobody before it. */
static double first_of(const struct planner_run *x, const struct pair *p)
{
    return x->setup.k->pd_queue * p->prefill->time_s +
           x->setup.prefill_host_s * x->setup.model->layers;
}

static struct planner_candidate pair_up(const struct pair *p, unsigned np, unsigned nd)
{
    struct planner_candidate c = { .plan = p->decode->plan, .prefill = p->prefill->plan };

    c.plan.replicas = nd;
    c.prefill.replicas = np;
    return c;
}

static unsigned chips_of(const struct pair *p, unsigned np, unsigned nd)
{
    return np * p->prefill->chips + nd * p->decode->chips;
}

static unsigned divisor_of(unsigned a, unsigned b)
{
    return b == 0 ? a : divisor_of(b, a % b);
}

/* Open loop: the concurrency at which as many leave as arrive (Little's law): those in decode,
 * whose step grows with their number, and those before it. */
static void find_concurrency(struct planner_run *x, const struct pair *p,
                             struct planner_candidate *c)
{
    const double rate = x->q->rate_per_s / c->plan.replicas, osl = fmax(x->q->osl, 1);
    double low = 0, high = (double)PLANNER_BATCH_MAX * c->plan.adp;
    struct planner_result r;

    for (int i = 0; i < 16; i++) {
        const double batch = (low + high) / 2;

        if (look(x, &c->plan, batch * c->plan.replicas, &r) && r.running >= 0.999 * batch &&
            batch / (osl * step_of(x, &r)) < rate) {
            low = batch;
        } else {
            high = batch;
        }
    }
    c->concurrency = high * c->plan.replicas + x->q->rate_per_s * first_of(x, p);
    planner_run_evaluate(x, c);
    if (c->result.bound == PLANNER_FITS && c->result.requests_ps < 0.99 * x->q->rate_per_s) {
        c->result.bound = PLANNER_UNSUSTAINABLE;
        c->result.need = x->q->rate_per_s;
        c->result.have = c->result.requests_ps;
    }
}

/* Requests in decode and before it: as many as keep all decode replicas at their batch; where
 * prefill is the narrow place, as many as keep that busy, since more would only wait for it. */
static void find_load(struct planner_run *x, const struct pair *p, struct planner_candidate *c)
{
    const double nd = c->plan.replicas;

    c->concurrency = nd * (p->decode->batch + floor(p->decode->rate * first_of(x, p)));
    planner_run_evaluate(x, c);
    if (c->result.bound == PLANNER_FITS && c->result.running < 0.99 * p->decode->batch) {
        c->concurrency =
            fmax(floor(nd * c->result.running + c->result.requests_ps * first_of(x, p)), 1);
        planner_run_evaluate(x, c);
    }
}

/* These numbers, once and in multiples. */
static void try_cell(struct planner_run *x, const struct pair *p, unsigned np, unsigned nd)
{
    const unsigned room = x->max_chips / chips_of(p, np, nd);
    const unsigned most = x->q->replicas ? MIN_OF(room, 1U) : room;
    struct planner_candidate one = pair_up(p, np, nd);

    if (most == 0) {
        return;
    }
    find_load(x, p, &one);
    for (unsigned n = 1; n <= most && !x->f->stopped; n = n < most && 2 * n > most ? most : 2 * n) {
        const struct planner_candidate c = planner_run_multiply(x, &one, n);

        planner_run_count(x, &c);
    }
}

/* As many of both as serve the rate, and twice as many. */
static void try_rate(struct planner_run *x, const struct pair *p)
{
    const unsigned only = x->q->replicas;
    const double nd = only ? only : fmax(ceil(x->q->rate_per_s / p->decode->rate), 1);
    const double np = fmax(ceil(x->q->rate_per_s / p->prefill->rate), 1);

    for (unsigned n = 1; n <= (only ? 1 : 2) && !x->f->stopped; n++) {
        struct planner_candidate c;

        if (n * (nd * p->decode->chips + np * p->prefill->chips) <= x->max_chips) {
            c = pair_up(p, n * (unsigned)np, n * (unsigned)nd);
            find_concurrency(x, p, &c);
            planner_run_count(x, &c);
        }
    }
}

/* Replicas for prefill as many as feed so many for decode, or as there is room for. */
static unsigned feeders(const struct planner_run *x, const struct pair *p, unsigned nd,
                        double decode_rate)
{
    const double left = (double)x->max_chips - (double)nd * p->decode->chips;

    return (unsigned)fmin(ceil(nd * decode_rate / p->prefill->rate),
                          floor(fmax(left, 0) / p->prefill->chips));
}

static void try_both(struct planner_run *x, const struct pair *p, unsigned np, unsigned nd)
{
    struct planner_candidate c = pair_up(p, np, nd);

    c.concurrency = x->q->concurrency;
    planner_run_evaluate(x, &c);
    planner_run_count(x, &c);
}

/* A load that is given: with more replicas each has fewer requests, and a shorter step; an idle one
 * serves nobody. */
static void try_concurrency(struct planner_run *x, const struct pair *p)
{
    const unsigned room = x->max_chips / p->decode->chips, only = x->q->replicas;
    const unsigned most = only ? MIN_OF(only, room) : (unsigned)fmin(room, ceil(x->q->concurrency));

    for (unsigned nd = only ? only : 1; nd <= most && !x->f->stopped;
         nd = nd < CELLS ? nd + 1 : 2 * nd) {
        const double batch = fmin(fmax(x->q->concurrency / nd, 1), p->decode->batch);
        struct planner_result r;
        unsigned np;

        if (!look(x, &p->decode->plan, batch, &r)) {
            continue;
        }
        np = feeders(x, p, nd, batch / (fmax(x->q->osl, 1) * step_of(x, &r)));
        if (np > 0) {
            try_both(x, p, np, nd);
        }
        if (np > 1) {
            try_both(x, p, np - 1, nd);
        }
    }
}

/* For some numbers of decode replicas as many for prefill as feed them, and one fewer. */
static void try_ratios(struct planner_run *x, const struct pair *p)
{
    const unsigned only = x->q->replicas;

    for (unsigned nd = only ? only : 1; nd <= (only ? only : CELLS) && !x->f->stopped; nd++) {
        const unsigned np = feeders(x, p, nd, p->decode->rate);

        if (np > 0 && (only || divisor_of(np, nd) == 1)) {
            try_cell(x, p, np, nd);
        }
        if (np > 1 && (only || divisor_of(np - 1, nd) == 1)) {
            try_cell(x, p, np - 1, nd);
        }
    }
}

static void try_pair(struct planner_run *x, const struct pair *p)
{
    if (x->q->rate_per_s > 0) {
        try_rate(x, p);
    } else if (x->q->concurrency > 0) {
        try_concurrency(x, p);
    } else {
        try_ratios(x, p);
    }
}

static size_t count_left(const struct side *s, size_t count)
{
    size_t left = 0;

    for (size_t i = 0; i < count; i++) {
        left += !s[i].beaten;
    }
    return left;
}

void planner_run_disaggregated(struct planner_run *x, const struct planner_plan *shapes,
                               size_t count)
{
    size_t decodes, prefills, left;
    struct side *d = list_sides(x, shapes, count, true, &decodes);
    struct side *p = list_sides(x, shapes, count, false, &prefills);

    left = count_left(d, decodes) * count_left(p, prefills);
    x->f->pruned += decodes * prefills - left;
    x->f->tried += decodes * prefills - left;
    for (size_t i = 0; i < decodes && !x->f->stopped; i++) {
        for (size_t j = 0; j < prefills && !d[i].beaten && !x->f->stopped; j++) {
            const struct pair pair = { &d[i], &p[j] };

            if (!p[j].beaten) {
                try_pair(x, &pair);
                x->begin += x->part / left;
            }
        }
    }
    free(d);
    free(p);
}
