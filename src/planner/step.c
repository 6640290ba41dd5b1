// SPDX-License-Identifier: Apache-2.0
/*
 * One step of a running instance, for who follows it step by step: the same passes and the same
 * rule for decode and prefill in one step that a plan's TPOT is made of, with nothing averaged over
 * a load.
 */
#include "planner/planner_int.h"

#include <math.h>

static double sum_of(const struct planner_setup *s, const struct planner_plan *plan,
                     const struct planner_pass *pass)
{
    double work[PLANNER_WORK_MAX_];

    planner_pass_time(s, plan, pass, work, NULL, NULL);
    return planner_work_sum(work);
}

double planner_slowest(double of_eight, unsigned ranks)
{
    static const double roots[] = { 0, 0.577350269, 0.816496581, 1 }; /* sqrt(log2(n) / 3) */
    const unsigned i = ranks > 1 ? planner_wire_index(ranks) : 0;

    return 1 + (of_eight - 1) * roots[i < 3 ? i : 3];
}

double planner_decode_s(const struct planner_setup *s, const struct planner_plan *plan,
                        double decodes, double context)
{
    const double rank = decodes / plan->adp, layers = s->model->layers;
    const double flying = rank >= plan->pp ? plan->pp : 1;
    const double tokens = fmax(rank / flying, 1);
    const struct planner_pass pass = {
        .tokens = tokens,
        .everywhere = fmax(decodes / flying, 1),
        .sequences = tokens,
        .context = context,
        .logits = tokens,
    };
    double times = s->chip->decode_times > 0 ? s->chip->decode_times : 1;

    times *= planner_slowest(s->k->adp_uneven, plan->adp);
    if (flying > 1) { /* the fullest stage sets the beat */
        times *= ceil(layers / plan->pp) * plan->pp / layers;
    }
    return times * sum_of(s, plan, &pass);
}

double planner_chunk_s(const struct planner_setup *s, const struct planner_plan *plan,
                       double tokens, double before)
{
    const struct planner_pass pass = {
        .tokens = fmax(tokens / plan->adp, 1),
        .everywhere = tokens,
        .sequences = 1,
        .context = before,
        .prefill = true,
        .logits = 1,
    };

    double times = s->chip->prefill_times > 0 ? s->chip->prefill_times : 1;

    times *= planner_slowest(s->k->adp_prefill, plan->adp);
    return times * sum_of(s, plan, &pass);
}

void planner_mix(const struct planner_setup *s, const struct planner_plan *plan,
                 struct planner_mix *ret)
{
    const struct planner_coefficients *k = s->k;

    *ret =
        (struct planner_mix){ .stages = plan->pp, .lone = 1, .half = k->half, .floor = k->floor };
    switch (s->engine) {
    case PLANNER_ENGINE_TRTLLM:
        ret->lone = k->first_trtllm;
        break;
    case PLANNER_ENGINE_SGLANG:
        ret->lone = k->first_sglang;
        break;
    case PLANNER_ENGINE_VLLM:
        ret->lone = k->first_vllm;
        break;
    default:
        return;
    }
    ret->first_s = s->prefill_host_s * s->model->layers;
    ret->launch_s = k->launch * ret->first_s / plan->pp;
}

double planner_step_s(const struct planner_setup *s, const struct planner_plan *plan,
                      double decodes, double context, double chunk_tokens, double before)
{
    struct planner_mix mix;

    planner_mix(s, plan, &mix);
    return planner_mixed_s(&mix, decodes > 0 ? planner_decode_s(s, plan, decodes, context) : 0,
                           chunk_tokens > 0 ? planner_chunk_s(s, plan, chunk_tokens, before) : 0);
}
