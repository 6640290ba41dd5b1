// SPDX-License-Identifier: Apache-2.0
/*
 * All plans of a setup under the limits of a question, ranked (recipe 8): every shape of a replica
 * with every number of them, then, when asked, pairs with other chips for the prefill.
 */
#include "planner/search_int.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/macros.h"

static const char *const objectives[PLANNER_OBJECTIVE_MAX_] = {
    [PLANNER_COST] = "cost",         [PLANNER_THROUGHPUT] = "throughput",
    [PLANNER_LATENCY] = "latency",   [PLANNER_EFFICIENCY] = "efficiency",
    [PLANNER_BALANCED] = "balanced", [PLANNER_CHIPS] = "chips",
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

const char *planner_objective_name(enum planner_objective o)
{
    return objectives[o];
}

static void begin(struct planner_run *x, const struct planner_setup *s,
                  const struct planner_question *q, struct planner_findings *ret)
{
    assert(q->max_chips > 0 && q->objective < PLANNER_OBJECTIVE_MAX_);
    memset(ret, 0, sizeof(*ret));
    *x =
        (struct planner_run){ .setup = *s,
                              .q = q,
                              .max_chips = MIN_OF(q->max_chips, (unsigned)PLANNER_SEARCH_CHIPS_MAX),
                              .f = ret,
                              .part = 1 };
    x->setup.memory_share = q->max_memory_share;
    planner_run_goes_on(x, 0);
}

static void end(struct planner_run *x)
{
    struct planner_findings *f = x->f;

    planner_mark_front(f->candidates, f->count);
    planner_rank(f->candidates, f->count, x->q->objective);
    if (!f->stopped && x->q->go_on) {
        (void)x->q->go_on(x->q->arg, 1);
    }
}

static void try_shapes(struct planner_run *x, const struct planner_plan *shapes, size_t count)
{
    const double part = x->part / (double)(count + 1);
    const unsigned wanted = x->q->replicas;

    x->part = part;
    for (size_t i = 0; i < count && !x->f->stopped; i++) {
        if (wanted <= x->max_chips / planner_plan_chips(&shapes[i])) {
            planner_run_replicas(x, &shapes[i], wanted);
        }
        x->begin += part;
    }
}

void planner_search(const struct planner_setup *s, const struct planner_question *q,
                    struct planner_findings *ret)
{
    struct planner_plan *shapes;
    struct planner_run x;
    size_t count;

    begin(&x, s, q, ret);
    shapes = planner_list_shapes(&x, &count);
    x.part = q->disaggregated ? 0.3 : 1;
    try_shapes(&x, shapes, count);
    if (q->disaggregated && !ret->stopped) {
        x.begin = 0.3;
        x.part = 0.7;
        planner_run_disaggregated(&x, shapes, count);
    }
    free(shapes);
    end(&x);
}

/* A person's numbers may be any. */
static double chips_of(const struct planner_plan *p)
{
    return (double)p->tp * p->pp * p->adp * p->replicas;
}

void planner_try(const struct planner_setup *s, const struct planner_question *q,
                 const struct planner_plan *plan, const struct planner_plan *prefill,
                 struct planner_findings *ret)
{
    const double chips = chips_of(plan) + chips_of(prefill);
    struct planner_candidate c = { .plan = *plan,
                                   .prefill = *prefill,
                                   .concurrency = q->concurrency };
    struct planner_run x;

    begin(&x, s, q, ret);
    if (chips > q->max_chips) {
        c.result.bound = PLANNER_CHIPS_SHORT;
        c.result.need = chips;
        c.result.have = q->max_chips;
        planner_run_count(&x, &c);
    } else if (plan->replicas == 0 || prefill->replicas > 0) {
        planner_run_evaluate(&x, &c);
        planner_run_count(&x, &c);
    } else {
        planner_run_replicas(&x, plan, plan->replicas);
    }
    end(&x);
}

void planner_findings_finish(struct planner_findings *f)
{
    free(f->candidates);
    free(f->refusals);
    *f = (struct planner_findings){ 0 };
}
