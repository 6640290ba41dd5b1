// SPDX-License-Identifier: Apache-2.0
/* Why a plan was refused, in words: the bound's name, and a sentence with the numbers. */
#include "planner/planner_int.h"

#include <stdio.h>

static const char *const bounds[PLANNER_BOUND_MAX_] = {
    [PLANNER_FITS] = "fits",
    [PLANNER_BAD_PLAN] = "bad_plan",
    [PLANNER_BAD_EXPERTS] = "bad_experts",
    [PLANNER_WEIGHTS] = "weights",
    [PLANNER_ONE_REQUEST] = "one_request",
    [PLANNER_BATCH] = "batch",
    [PLANNER_UNSUSTAINABLE] = "unsustainable",
    [PLANNER_CHIPS_SHORT] = "chips_short",
};

const char *planner_bound_name(enum planner_bound b)
{
    return bounds[b];
}

void planner_refusal(const struct planner_setup *s, const struct planner_plan *plan,
                     const struct planner_load *load, const struct planner_result *r,
                     char out[PLANNER_REFUSAL_SIZE])
{
    const double g = 1e9;

    out[0] = '\0';
    switch (r->bound) {
    case PLANNER_BAD_PLAN:
        snprintf(out, PLANNER_REFUSAL_SIZE,
                 "no plan: tp %u must divide the %u heads, pp %u be at most the %u layers",
                 plan->tp, s->model->heads, plan->pp, s->model->layers);
        break;
    case PLANNER_BAD_EXPERTS:
        snprintf(out, PLANNER_REFUSAL_SIZE,
                 "no plan: ep %u x moe_tp %u is not tp %u x attention dp %u, or does not suit %u "
                 "experts",
                 plan->ep, plan->moe_tp, plan->tp, plan->adp, s->model->experts);
        break;
    case PLANNER_WEIGHTS:
        snprintf(
            out, PLANNER_REFUSAL_SIZE,
            "does not fit: weights %.1f GB, activations %.1f GB and runtime %.1f GB a chip are "
            "%.1f GB, usable are %.1f of %.1f GB",
            r->weights_bytes / g, r->activation_bytes / g, r->fixed_bytes / g, r->need / g,
            r->have / g, r->memory_bytes / g);
        break;
    case PLANNER_ONE_REQUEST:
        snprintf(out, PLANNER_REFUSAL_SIZE,
                 "does not fit: one request of %.0f tokens needs %.2f GB of KV cache a chip, left "
                 "are %.2f of %.1f GB",
                 load->isl + load->osl, r->need / g, r->have / g, r->memory_bytes / g);
        break;
    case PLANNER_BATCH:
        snprintf(
            out, PLANNER_REFUSAL_SIZE,
            "does not fit: a batch of %.0f requests needs %.1f GB of KV cache a chip, left are "
            "%.1f of %.1f GB",
            load->concurrency, r->need / g, r->have / g, r->memory_bytes / g);
        break;
    case PLANNER_UNSUSTAINABLE:
        snprintf(out, PLANNER_REFUSAL_SIZE,
                 "not sustainable: %.2f requests/s arrive, %.2f can be served", r->need, r->have);
        break;
    case PLANNER_CHIPS_SHORT:
        snprintf(out, PLANNER_REFUSAL_SIZE, "needs %.0f chips, %.0f are available", r->need,
                 r->have);
        break;
    default:
        break;
    }
}
