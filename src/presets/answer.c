// SPDX-License-Identifier: Apache-2.0
/*
 * Plans as an answer: the contract's members first, then what the planner knows besides. Every
 * number is finite; a plan that is refused, or misses a limit that was set, has zeros there and a
 * reason that says what was needed and what there was.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "presets/presets_int.h"

static json_t *number(double v)
{
    return json_real(isfinite(v) ? v : 0);
}

static json_t *band(const struct planner_band *b, double times)
{
    return json_pack("{s:o, s:o}", "p10", number(b->p10 * times), "p90", number(b->p90 * times));
}

static json_t *work_ms(const double work[PLANNER_WORK_MAX_])
{
    json_t *o = json_object();

    for (int i = 0; i < PLANNER_WORK_MAX_; i++) {
        json_object_set_new(o, planner_work_names[i], number(work[i] * 1e3));
    }
    return o;
}

/* dp is the seed's: all copies of the attention. */
static json_t *parallelism(const struct planner_plan *p)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "dp",
                     (json_int_t)p->replicas * p->adp, "tp", (json_int_t)p->tp, "pp",
                     (json_int_t)p->pp, "ep", (json_int_t)p->ep, "sp",
                     (json_int_t)(p->sp ? p->tp : 1), "moe_tp", (json_int_t)p->moe_tp,
                     "attention_dp", (json_int_t)p->adp, "replicas", (json_int_t)p->replicas);
}

static void plan_id(const struct planner_plan *p, char out[96])
{
    const struct {
        const char *name;
        unsigned value;
    } parts[] = {
        { "tp", p->tp },         { "pp", p->pp },      { "adp", p->adp },          { "ep", p->ep },
        { "moe_tp", p->moe_tp }, { "x", p->replicas }, { "sp", p->sp ? p->tp : 1 }
    };
    size_t n = 0;

    out[0] = '\0';
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].value > 1 && n < 90) {
            n += (size_t)snprintf(out + n, 96 - n, "%s%s%u", n > 0 ? "_" : "", parts[i].name,
                                  parts[i].value);
        }
    }
    if (n == 0) {
        snprintf(out, 96, "single");
    }
}

/* ---- why not ---- */

static bool miss(char out[PLANNER_REFUSAL_SIZE], const char *what, double is, double limit)
{
    if (limit <= 0 || is <= limit) {
        return false;
    }
    snprintf(out, PLANNER_REFUSAL_SIZE,
             "the %s at its lowest load: %.1f ms are needed, and the limit is %.1f ms", what,
             is * 1e3, limit * 1e3);
    return true;
}

static void missed_limit(const struct planner_question *q, const struct planner_candidate *c,
                         char out[PLANNER_REFUSAL_SIZE])
{
    const struct planner_result *r = &c->result;

    if (miss(out, "time of a token", r->tpot_s, q->slo_tpot_s) ||
        miss(out, "time to the first token", r->ttft_s, q->slo_ttft_s) ||
        miss(out, "time of a request", r->e2e_s, q->slo_e2e_s)) {
        return;
    }
    if (q->min_tokens_ps > r->output_tokens_ps) {
        snprintf(out, PLANNER_REFUSAL_SIZE, "throughput: %.0f tokens/s are needed, and it has %.0f",
                 q->min_tokens_ps, r->output_tokens_ps);
        return;
    }
    snprintf(out, PLANNER_REFUSAL_SIZE, "it is %.2f times over the limits that were set",
             c->slo_excess);
}

/* A person's plan may want more chips than there are; the planner's sentence says the rest. */
static void refusal(const struct plan_request *r, const struct planner_setup *setup,
                    const struct planner_candidate *c, char out[PLANNER_REFUSAL_SIZE])
{
    const struct planner_question *q = &r->question;
    const struct planner_load load = planner_candidate_load(q, c);

    if (c->result.bound == PLANNER_FITS) {
        missed_limit(q, c, out);
    } else if (planner_plan_chips(&c->plan) > q->max_chips) {
        snprintf(out, PLANNER_REFUSAL_SIZE, "the plan needs %u chips, and there are %u",
                 planner_plan_chips(&c->plan), q->max_chips);
    } else {
        planner_refusal(setup, &c->plan, &load, &c->result, out);
    }
}

/* ---- a plan ---- */

static json_t *memory_json(const struct planner_result *r)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "weights_gb",
                     number(r->weights_bytes / 1e9), "activations_gb",
                     number(r->activation_bytes / 1e9), "runtime_gb", number(r->fixed_bytes / 1e9),
                     "kv_budget_gb", number(r->kv_budget_bytes / 1e9), "kv_used_gb",
                     number(r->kv_used_bytes / 1e9), "capacity_gb", number(r->memory_bytes / 1e9),
                     "fits_requests", number(r->fits_requests), "running", number(r->running),
                     "sensitive", r->sensitive);
}

static json_t *scores_json(const struct planner_scores *s)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "latency", number(s->latency), "throughput",
                     number(s->throughput), "efficiency", number(s->efficiency), "balance",
                     number(s->balance));
}

/* What the contract does not name; of plans that are feasible. */
static void add_figures(const struct plan_request *q, const struct planner_candidate *c,
                        json_t *plan)
{
    const struct planner_result *r = &c->result;
    const double cost = r->price_per_million;
    json_t *more = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:{s:o, s:o}, s:o, s:o, s:o}", "e2e",
        number(r->e2e_s * 1e3), "concurrency", number(c->concurrency), "requests_per_s",
        number(r->requests_ps), "total_throughput", number(r->total_tokens_ps), "tps_per_user",
        number(r->output_tokens_ps_user), "decode_step", number(r->decode_step_s * 1e3), "pareto",
        c->pareto, "ttft_band", band(&r->ttft_band, 1e3), "tpot_band", band(&r->tpot_band, 1e3),
        "throughput_band", band(&r->throughput_band, 1), "breakdown", "decode_ms",
        work_ms(r->decode_work_s), "prefill_ms", work_ms(r->prefill_work_s), "tokens_per_step",
        number(r->tokens_per_step), "bubble", number(r->bubble), "joules_per_token",
        number(r->joules_per_token));

    json_object_set_new(more, "scores", scores_json(&c->scores));
    json_object_set_new(more, "cost_per_million_tokens",
                        q->chip.chip.price_hour > 0 ? number(cost) : json_null());
    if (c->prefill.replicas > 0) {
        json_object_set_new(more, "prefill_parallelism", parallelism(&c->prefill));
    }
    json_object_update(plan, more);
    json_decref(more);
}

/* As the counts of a search have it. */
static const char *bound_word(int b)
{
    return b == PLANNER_FITS ? "limits" : planner_bound_name((enum planner_bound)b);
}

json_t *plan_candidate_to_json(const struct plan_request *r, const struct planner_setup *setup,
                               const struct planner_candidate *c)
{
    const struct planner_result *x = &c->result;
    const bool good = x->bound == PLANNER_FITS && c->meets_slo;
    const double on = good ? 1 : 0;
    char why[PLANNER_REFUSAL_SIZE] = "", id[96];
    unsigned chips = planner_plan_chips(&c->plan);
    json_t *plan;

    chips += c->prefill.replicas > 0 ? planner_plan_chips(&c->prefill) : 0;
    plan_id(&c->plan, id);
    plan =
        json_pack("{s:s, s:o, s:I, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "plan_id", id,
                  "parallelism", parallelism(&c->plan), "chips", (json_int_t)chips, "is_feasible",
                  good, "throughput", number(on * x->output_tokens_ps), "tps_per_chip",
                  number(on * x->output_tokens_ps_chip), "ttft", number(on * x->ttft_s * 1e3),
                  "tpot", number(on * x->tpot_s * 1e3), "mfu", number(on * x->mfu), "mbu",
                  number(on * x->mbu), "score", number(on * c->score), "memory", memory_json(x));
    if (good) {
        add_figures(r, c, plan);
    } else {
        refusal(r, setup, c, why);
        json_object_set_new(plan, "infeasible_reason", json_string(why));
        json_object_set_new(plan, "bound", json_string(bound_word((int)x->bound)));
    }
    return plan;
}

json_t *plan_stats_to_json(const struct planner_findings *f)
{
    json_t *refused = json_object();
    for (int b = 0; b < PLANNER_BOUND_MAX_; b++) {
        const size_t n = b == PLANNER_FITS ? f->found - f->meeting : f->refused_by[b];

        json_object_set_new(refused, bound_word(b), json_integer((json_int_t)n));
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "total_plans", (json_int_t)f->tried,
                     "feasible_plans", (json_int_t)f->meeting, "infeasible_plans",
                     (json_int_t)(f->refused + f->found - f->meeting), "pruned_plans",
                     (json_int_t)f->pruned, "evaluations", (json_int_t)f->evaluations, "refused_by",
                     refused);
}
