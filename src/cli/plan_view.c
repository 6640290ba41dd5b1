// SPDX-License-Identifier: Apache-2.0
/* berth plan's answers: a table with its legend, and JSON. */
#include <math.h>
#include <string.h>

#include "cli/cmd_plan.h"

enum { SHAPE_SIZE = 96 };

/* Chip-hours of a million output tokens; with a price, money. */
static double cost_of(const struct plan_report *p, const struct planner_result *r)
{
    const double price = p->request->chip.chip.price_hour;
    const double hours = r->chips * 1e6 / fmax(r->output_tokens_ps, 1e-9) / 3600;

    return price > 0 ? hours * price : hours;
}

static size_t add_part(char *out, size_t n, const char *name, unsigned value, bool always)
{
    if (value <= 1 && !always) {
        return n;
    }
    n += (size_t)snprintf(out + n, SHAPE_SIZE - n, "%s%s%u", n > 0 ? " " : "", name, value);
    return MIN_OF(n, (size_t)SHAPE_SIZE - 1);
}

static void describe(const struct planner_model *m, const struct planner_plan *p,
                     char out[SHAPE_SIZE])
{
    size_t n = add_part(out, 0, "tp", p->tp, true);

    n = add_part(out, n, "pp", p->pp, false);
    n = add_part(out, n, "adp", p->adp, false);
    n = add_part(out, n, "ep", p->ep, m->experts > 0);
    if (p->sp) {
        n += (size_t)snprintf(out + n, SHAPE_SIZE - n, " sp");
    }
    add_part(out, MIN_OF(n, (size_t)SHAPE_SIZE - 1), "x", p->replicas, false);
}

/* "P tp2 x3 | D tp4" where other chips do the prefill. */
static void describe_whole(const struct planner_model *m, const struct planner_candidate *c,
                           char out[2 * SHAPE_SIZE + 16])
{
    char prefill[SHAPE_SIZE], decode[SHAPE_SIZE];

    describe(m, &c->plan, decode);
    if (c->prefill.replicas == 0) {
        snprintf(out, 2 * SHAPE_SIZE + 16, "%s", decode);
        return;
    }
    describe(m, &c->prefill, prefill);
    snprintf(out, 2 * SHAPE_SIZE + 16, "P %s | D %s", prefill, decode);
}

/* ---- the table ---- */

static const char *const rungs[] = { "kernels measured on this chip",
                                     "kernels measured on another chip of its generation",
                                     "its data sheet only" };

static void print_row(const struct plan_report *p, struct table *t, size_t rank,
                      const struct planner_candidate *c)
{
    const struct planner_result *r = &c->result;
    char plan[2 * SHAPE_SIZE + 16];

    describe_whole(&p->request->model.model, c, plan);
    table_cell(t, "%zu%s%s", rank, c->pareto ? "*" : "", c->meets_slo ? "" : "!");
    table_cell(t, "%s", plan);
    table_cell(t, "%u", r->chips);
    table_cell(t, "%.0f", c->concurrency);
    table_cell(t, "%.0f", r->ttft_s * 1e3);
    table_cell(t, "%.1f (%.3g-%.3g)", r->tpot_s * 1e3, r->tpot_band.p10 * 1e3,
               r->tpot_band.p90 * 1e3);
    table_cell(t, "%.2f", r->e2e_s);
    table_cell(t, "%.0f", r->output_tokens_ps);
    table_cell(t, "%.0f", r->output_tokens_ps_chip);
    table_cell(t, "%.0f", r->output_tokens_ps_user);
    table_cell(t, "%.3g", cost_of(p, r));
    table_cell(t, "%.0f+%.0f/%.0f%s", r->weights_bytes / 1e9, r->kv_used_bytes / 1e9,
               r->memory_bytes / 1e9, r->sensitive ? "~" : "");
}

static void print_breakdown(const struct planner_candidate *c)
{
    const char *comma = " ";
    double sum = 0;

    for (int i = 0; i < PLANNER_WORK_MAX_; i++) {
        sum += c->result.decode_work_s[i];
    }
    printf("\nA decode step of the first: %.2f ms; MFU %.0f%%, MBU %.0f%%\n", sum * 1e3,
           c->result.mfu * 100, c->result.mbu * 100);
    for (int i = 0; i < PLANNER_WORK_MAX_; i++) {
        const double work = c->result.decode_work_s[i];

        if (work > 0) {
            printf("%s %s %.0f%%", comma, planner_work_names[i], 100 * work / sum);
            comma = ",";
        }
    }
    putchar('\n');
    if (c->result.tokens_per_step > 1) {
        printf("Each step gives a request %.2f tokens\n", c->result.tokens_per_step);
    }
    if (c->result.joules_per_token > 0) {
        printf("At full power %.3g J an output token\n", c->result.joules_per_token);
    }
}

static void print_refused(const struct plan_report *p)
{
    const struct planner_findings *f = p->findings;
    char why[PLANNER_REFUSAL_SIZE], plan[2 * SHAPE_SIZE + 16];

    for (int b = 1; b < PLANNER_BOUND_MAX_; b++) {
        const struct planner_candidate *c = &f->refused_example[b];
        const struct planner_load load = planner_candidate_load(&p->request->question, c);

        if (f->refused_by[b] == 0) {
            continue;
        }
        planner_refusal(p->setup, &c->plan, &load, &c->result, why);
        describe_whole(&p->request->model.model, c, plan);
        printf("Refused: %zu plan%s, such as %s: %s\n", f->refused_by[b],
               f->refused_by[b] == 1 ? "" : "s", plan, why);
    }
}

static bool has_limits(const struct planner_question *q)
{
    return q->slo_ttft_s > 0 || q->slo_tpot_s > 0 || q->slo_e2e_s > 0 || q->min_tokens_ps > 0;
}

static void print_legend(const struct plan_report *p)
{
    static const char *const orders[PLANNER_OBJECTIVE_MAX_] = {
        [PLANNER_COST] = "the most output tokens/s of a chip",
        [PLANNER_THROUGHPUT] = "the most output tokens/s of all",
        [PLANNER_LATENCY] = "the least time of a token",
        [PLANNER_EFFICIENCY] = "the share of the peaks that is used",
        [PLANNER_BALANCED] = "the weighted sum of latency, throughput, efficiency and balance",
        [PLANNER_CHIPS] = "the fewest chips",
    };
    const struct planner_findings *f = p->findings;

    printf("\nRanked by %s%s.\n* no other plan has more tokens/s both of a chip and of a user",
           orders[p->request->question.objective],
           has_limits(&p->request->question) ? " among plans that meet the SLO" : "");
    if (!f->candidates[0].meets_slo) {
        printf("\n! No plan meets the SLO; the nearest come first, the first is %.2f times over it",
               f->candidates[0].slo_excess);
    }
    printf("\n%s; MEMORY: weights + KV in use / a chip's, in GB\n",
           p->request->chip.chip.price_hour > 0 ? "USD/M: of a million output tokens"
                                                : "h/M: chip-hours of a million output tokens");
    puts("~ little is left for KV, so small errors tell; /CHIP, USER: output tokens/s of one");
}

static void print_head(const struct plan_report *p)
{
    const struct plan_request *r = p->request;

    printf("%s (%s, KV %g bytes) on %s with %s: %.0f tokens in, %.0f out\nEfficiencies: %s\n\n",
           r->model.model.name, planner_format_name(p->setup->format), p->setup->kv_bytes,
           r->chip.chip.name, planner_engine_name(p->setup->engine), r->question.isl,
           r->question.osl, rungs[p->setup->rung]);
}

void plan_print_table(const struct cli *cli, const struct plan_report *p)
{
    static const char *const headings[] = { "#",     "PLAN",    "CHIPS",
                                            "BATCH", "TTFT ms", "TPOT ms (p10-p90)",
                                            "E2E s", "TOK/s",   "/CHIP",
                                            "USER",  NULL,      "MEMORY" };
    const struct planner_findings *f = p->findings;
    const char *row[ARRAY_SIZE(headings)];
    struct table *t;

    memcpy(row, headings, sizeof(row));
    row[10] = p->request->chip.chip.price_hour > 0 ? "USD/M" : "h/M";
    print_head(p);
    if (f->count > 0) {
        t = table_create(row, ARRAY_SIZE(row));
        for (size_t i = 0; i < f->count && i < p->request->top_k; i++) {
            print_row(p, t, i + 1, &f->candidates[i]);
        }
        table_print(t, stdout, cli->color);
        table_free(t);
        print_breakdown(&f->candidates[0]);
        print_legend(p);
    } else if (f->tried == 0) {
        puts("Nothing was tried: no plan has this shape. tp divides the heads and keeps slices of "
             "64\n"
             "columns, stays on the fast links (or --across-nodes), and with pp and the replicas "
             "it is\n"
             "at most --chips; ep and moe-tp are for mixtures of experts. --plan tries any one "
             "plan.");
    } else {
        puts("No plan fits.");
    }
    print_refused(p);
}

/* ---- JSON ---- */

static json_t *number(double v)
{
    return json_real(isfinite(v) ? v : 0);
}

static json_t *json_band(const struct planner_band *b, double times)
{
    return json_pack("{s:o, s:o}", "p10", number(b->p10 * times), "p90", number(b->p90 * times));
}

static json_t *json_work(const double work[PLANNER_WORK_MAX_])
{
    json_t *o = json_object();

    for (int i = 0; i < PLANNER_WORK_MAX_; i++) {
        json_object_set_new(o, planner_work_names[i], number(work[i] * 1e3));
    }
    return o;
}

static json_t *json_shape(const struct planner_plan *p)
{
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:b}", "tp", (int)p->tp, "pp", (int)p->pp,
                     "attention_dp", (int)p->adp, "ep", (int)p->ep, "moe_tp", (int)p->moe_tp,
                     "replicas", (int)p->replicas, "sp", p->sp);
}

static json_t *json_memory(const struct planner_result *r)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "weights_gb",
                     number(r->weights_bytes / 1e9), "kv_gb", number(r->kv_used_bytes / 1e9),
                     "kv_budget_gb", number(r->kv_budget_bytes / 1e9), "activations_gb",
                     number(r->activation_bytes / 1e9), "runtime_gb", number(r->fixed_bytes / 1e9),
                     "chip_gb", number(r->memory_bytes / 1e9), "sensitive", r->sensitive);
}

static void add_times(json_t *o, const struct planner_result *r)
{
    json_object_set_new(o, "ttft_ms", number(r->ttft_s * 1e3));
    json_object_set_new(o, "ttft_ms_band", json_band(&r->ttft_band, 1e3));
    json_object_set_new(o, "tpot_ms", number(r->tpot_s * 1e3));
    json_object_set_new(o, "tpot_ms_band", json_band(&r->tpot_band, 1e3));
    json_object_set_new(o, "e2e_ms", number(r->e2e_s * 1e3));
    json_object_set_new(o, "requests_per_s", number(r->requests_ps));
    json_object_set_new(o, "output_tokens_per_s", number(r->output_tokens_ps));
    json_object_set_new(o, "output_tokens_per_s_band", json_band(&r->throughput_band, 1));
    json_object_set_new(o, "output_tokens_per_s_per_chip", number(r->output_tokens_ps_chip));
    json_object_set_new(o, "output_tokens_per_s_per_user", number(r->output_tokens_ps_user));
    json_object_set_new(o, "mfu", number(r->mfu));
    json_object_set_new(o, "mbu", number(r->mbu));
    json_object_set_new(o, "tokens_per_step", number(r->tokens_per_step));
    json_object_set_new(o, "bubble", number(r->bubble));
    json_object_set_new(o, "joules_per_output_token", number(r->joules_per_token));
}

static json_t *json_plan(const struct plan_report *p, const struct planner_candidate *c)
{
    const struct planner_result *r = &c->result;
    const bool priced = p->request->chip.chip.price_hour > 0;
    json_t *o = json_pack(
        "{s:o, s:i, s:f, s:b, s:b, s:o, s:{s:f, s:f, s:f, s:f}}", "plan", json_shape(&c->plan),
        "chips", (int)r->chips, "concurrency", c->concurrency, "meets_slo", c->meets_slo, "pareto",
        c->pareto, "score", number(c->score), "scores", "latency", c->scores.latency, "throughput",
        c->scores.throughput, "efficiency", c->scores.efficiency, "balance", c->scores.balance);

    if (c->prefill.replicas > 0) {
        json_object_set_new(o, "prefill_plan", json_shape(&c->prefill));
    }
    add_times(o, r);
    json_object_set_new(o, priced ? "usd_per_m_output_tokens" : "chip_hours_per_m_output_tokens",
                        number(cost_of(p, r)));
    json_object_set_new(o, "memory", json_memory(r));
    json_object_set_new(o, "decode_step_ms", json_work(r->decode_work_s));
    json_object_set_new(o, "prefill_ms", json_work(r->prefill_work_s));
    return o;
}

static json_t *json_refused(const struct plan_report *p)
{
    const struct planner_findings *f = p->findings;
    json_t *list = json_array();
    char why[PLANNER_REFUSAL_SIZE];

    for (int b = 1; b < PLANNER_BOUND_MAX_; b++) {
        const struct planner_candidate *c = &f->refused_example[b];
        const struct planner_load load = planner_candidate_load(&p->request->question, c);

        if (f->refused_by[b] > 0) {
            planner_refusal(p->setup, &c->plan, &load, &c->result, why);
            json_array_append_new(list, json_pack("{s:I, s:s, s:o, s:s}", "count",
                                                  (json_int_t)f->refused_by[b], "bound",
                                                  planner_bound_name((enum planner_bound)b),
                                                  "example", json_shape(&c->plan), "reason", why));
        }
    }
    return list;
}

void plan_print_json(const struct plan_report *p, bool timeline)
{
    const struct planner_findings *f = p->findings;
    json_t *plans = json_array(), *all;

    for (size_t i = 0; i < f->count && i < p->request->top_k; i++) {
        json_array_append_new(plans, json_plan(p, &f->candidates[i]));
    }
    all = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:{s:I, s:I, s:I, s:I, s:I}, s:o, s:o, s:o}",
                    "model", p->request->model.model.name, "chip", p->request->chip.chip.name,
                    "engine", planner_engine_name(p->setup->engine), "precision",
                    planner_format_name(p->setup->format), "efficiencies", rungs[p->setup->rung],
                    "question", plan_request_to_json(p->request), "search", "tried",
                    (json_int_t)f->tried, "feasible", (json_int_t)f->found, "refused",
                    (json_int_t)f->refused, "pruned", (json_int_t)f->pruned, "evaluations",
                    (json_int_t)f->evaluations, "stats", plan_stats_to_json(f), "plans", plans,
                    "refused", json_refused(p));
    if (timeline) {
        json_object_set_new(all, "timeline", plan_timeline_json(p));
    }
    print_json(all);
    json_decref(all);
}
