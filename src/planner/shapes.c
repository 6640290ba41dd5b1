// SPDX-License-Identifier: Apache-2.0
/*
 * The shapes that a replica may have: how it divides the heads, the layers and the experts among
 * its chips, as far as engines take it (recipe 8.1).
 */
#include "planner/search_int.h"

#include <limits.h>
#include <stdlib.h>

#include "base/macros.h"
#include "base/mem.h"

enum { STAGES_MAX = 16, RANKS_MAX = 1024 };

struct list {
    const struct planner_run *x;
    struct planner_plan *plans;
    size_t count, room;
};

static void add(struct list *l, const struct planner_plan *p)
{
    if (l->count == l->room) {
        l->room = l->room ? 2 * l->room : 64;
        l->plans = xrealloc(l->plans, l->room * sizeof(*p));
    }
    l->plans[l->count++] = *p;
}

/* The numbers to try: what the question names, else powers of two. */
static unsigned first_of(unsigned only)
{
    return only ? only : 1;
}

static unsigned next_of(unsigned value, unsigned only)
{
    return only ? UINT_MAX : 2 * value;
}

/* Columns that a slice of a matrix is made of; those of MXFP4 are padded. */
static unsigned slice_of(const struct planner_setup *s)
{
    return planner_in_blocks(s) ? 128 : s->format == PLANNER_MXFP4 ? 8 : 64;
}

static bool divides_heads(const struct planner_run *x, unsigned tp)
{
    const struct planner_model *m = x->setup.model;

    if (m->heads % tp != 0) {
        return false;
    }
    return x->q->any_heads || m->kv_heads == 0 || m->kv_heads % tp == 0 || tp % m->kv_heads == 0;
}

static bool may_divide(const struct planner_run *x, unsigned tp)
{
    const struct planner_model *m = x->setup.model;

    if (tp > 1 && tp > planner_fast_domain(&x->setup) && !x->q->across_nodes) {
        return false;
    }
    return divides_heads(x, tp) &&
           (tp == 1 || m->inter == 0 || m->inter % (slice_of(&x->setup) * tp) == 0);
}

static void add_experts(struct list *l, struct planner_plan p)
{
    const struct planner_run *x = l->x;
    const struct planner_question *q = x->q;
    const struct planner_model *m = x->setup.model;
    const unsigned group = p.tp * p.adp;

    for (p.ep = first_of(q->ep); p.ep <= group; p.ep = next_of(p.ep, q->ep)) {
        p.moe_tp = group / p.ep;
        if (group % p.ep == 0 && m->experts % p.ep == 0 &&
            (q->moe_tp == 0 || p.moe_tp == q->moe_tp) &&
            (p.moe_tp == 1 || m->moe_inter % (slice_of(&x->setup) * p.moe_tp) == 0)) {
            add(l, &p);
        }
    }
}

/* Without experts there is nothing that attention dp would share: more replicas are the same. */
static void add_groups(struct list *l, struct planner_plan p)
{
    const struct planner_run *x = l->x;
    const unsigned of_tp = p.tp * p.pp;

    if (x->setup.model->experts == 0) {
        if (x->q->ep <= 1 && x->q->moe_tp <= 1) {
            add(l, &p);
        }
        return;
    }
    for (p.adp = 1; of_tp * p.adp <= x->max_chips && p.tp * p.adp <= RANKS_MAX; p.adp *= 2) {
        add_experts(l, p);
    }
}

static void add_stages(struct list *l, struct planner_plan p)
{
    const struct planner_run *x = l->x;
    const struct planner_question *q = x->q;
    const unsigned layers = x->setup.model->layers, room = x->max_chips / p.tp;
    const unsigned most = MIN_OF(MIN_OF(layers, room), q->pp ? layers : STAGES_MAX);

    for (p.pp = first_of(q->pp); p.pp <= most; p.pp = next_of(p.pp, q->pp)) {
        if (q->even_layers && layers % p.pp != 0) {
            continue;
        }
        p.sp = false;
        add_groups(l, p);
        if (q->sp && p.tp > 1) {
            p.sp = true;
            add_groups(l, p);
        }
    }
}

struct planner_plan *planner_list_shapes(const struct planner_run *x, size_t *ret_count)
{
    struct list l = { .x = x };
    const unsigned only = x->q->tp;

    for (unsigned tp = first_of(only); tp <= x->max_chips; tp = next_of(tp, only)) {
        if (may_divide(x, tp)) {
            add_stages(&l, (struct planner_plan){ tp, 1, 1, 1, 1, 1, false });
        }
    }
    *ret_count = l.count;
    return l.plans;
}
