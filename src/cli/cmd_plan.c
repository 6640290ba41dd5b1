// SPDX-License-Identifier: Apache-2.0
/*
 * berth plan: what a model will do on some chips, before anybody buys or starts anything. Needs no
 * daemon. All arithmetic is the planner's; here are its questions and its answers in words.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cmd_plan.h"
#include "cli/commands.h"
#include "planner/planner.h"

// clang-format off
static const struct cli_option options[] = {
    { "model",       0, "NAME", "the model: llama-3.1-70b" },
    { "chip",        0, "NAME", "the chip: h100-sxm" },
    { "chips",       0, "N",    "so many of them at most (default: 8)" },
    { "isl",         0, "N",    "mean tokens of a prompt (default: 1024)" },
    { "osl",         0, "N",    "mean tokens of an answer (default: 256)" },
    { "slo-ttft",    0, "TIME", "the first token within: 500ms, 2s" },
    { "slo-tpot",    0, "TIME", "each further token within: 50ms" },
    { "concurrency", 0, "N",    "requests at the same time (default: the most that keeps the SLO)" },
    { "engine",      0, "NAME", "vllm, trtllm, sglang or llama.cpp (default: vllm)" },
    { "precision",   0, "NAME", "bf16, fp8, nvfp4, mxfp4, int8, int4, q8_0, q4_k_m … (default: fp8 where the chip has it, else bf16)" },
    { "kv",          0, "BITS", "of a value in the KV cache: 16, 8 or 4 (default: as the engine does)" },
    { "prefix-hit",  0, "N",    "percent of the prompt found in the prefix cache (default: 0)" },
    { "tp",          0, "N",    "only plans with this tensor parallelism" },
    { "pp",          0, "N",    "only plans with so many pipeline stages" },
    { "ep",          0, "N",    "only plans with this expert parallelism" },
    { "objective",   0, "NAME", "cost, throughput or latency (default: cost)" },
    { "price",       0, "USD",  "of a chip for an hour; shows the cost of a million output tokens" },
    { "top",         0, "N",    "so many plans (default: 10)" },
    { "rows",        0, "FILE", "check: writes a CSV line for each row" },
    { NULL, 0, NULL, NULL },
};
// clang-format on

/* What was asked, read. */
struct ask {
    const struct planner_model *model;
    const struct planner_chip *chip;
    int engine, format, kv;
    struct planner_question q;
    double price;
    uint64_t top;
};

/* ---- reading ---- */

typedef size_t (*near_fn)(const char *name, const char **ret, size_t max);

static int unknown(const char *what, const char *name, near_fn near)
{
    const char *names[3];
    const size_t n = near(name, names, ARRAY_SIZE(names));

    complain("there is no %s '%s'; the nearest are %s%s%s%s%s", what, name, n > 0 ? names[0] : "",
             n > 1 ? ", " : "", n > 1 ? names[1] : "", n > 2 ? ", " : "", n > 2 ? names[2] : "");
    return -EINVAL;
}

static int read_names(const struct cli *cli, struct ask *a)
{
    const char *model = cli_value(cli, "model"), *chip = cli_value(cli, "chip");

    if (!model || !chip) {
        complain("plan needs --model and --chip");
        return -EINVAL;
    }
    a->model = planner_find_model(model);
    if (!a->model) {
        return unknown("model", model, planner_near_models);
    }
    a->chip = planner_find_chip(chip);
    if (!a->chip) {
        return unknown("chip", chip, planner_near_chips);
    }
    return 0;
}

/* The option's value by a table of words; fallback when it is not given. */
static int read_word(const struct cli *cli, const char *option, int (*from)(const char *),
                     int fallback, int *ret)
{
    const char *text = cli_value(cli, option);

    *ret = text ? from(text) : fallback;
    if (*ret < 0) {
        complain("--%s: there is no '%s'; 'berth plan --help' lists them", option, text);
        return -EINVAL;
    }
    return 0;
}

static int default_format(const struct ask *a)
{
    if (a->engine == PLANNER_ENGINE_LLAMACPP) {
        return PLANNER_Q4_K_M;
    }
    return a->chip->fp8_tflops > 0 ? PLANNER_FP8 : PLANNER_BF16;
}

static int read_words(const struct cli *cli, struct ask *a)
{
    int objective = 0;

    if (read_word(cli, "engine", planner_engine_from_string, PLANNER_ENGINE_VLLM, &a->engine) < 0 ||
        read_word(cli, "precision", planner_format_from_string, default_format(a), &a->format) <
            0 ||
        read_word(cli, "kv", planner_kv_format_from_string, PLANNER_KV_AUTO, &a->kv) < 0 ||
        read_word(cli, "objective", planner_objective_from_string, PLANNER_COST, &objective) < 0) {
        return -EINVAL;
    }
    a->q.objective = (enum planner_objective)objective;
    return 0;
}

/* "50ms", "2s", "0.5s"; 0 when it is not given. */
static int read_time(const struct cli *cli, const char *option, double *ret)
{
    const char *text = cli_value(cli, option);
    char *end = NULL;
    double v;

    *ret = 0;
    if (!text) {
        return 0;
    }
    v = strtod(text, &end);
    if (end != text && (str_eq(end, "ms") || str_eq(end, "s")) && isfinite(v) && v > 0) {
        *ret = str_eq(end, "ms") ? v / 1e3 : v;
        return 0;
    }
    complain("--%s: '%s' is no time; write 50ms or 2s", option, text);
    return -EINVAL;
}

static int read_count(const struct cli *cli, const char *option, uint64_t fallback, uint64_t most,
                      uint64_t *ret)
{
    if (cli_number(cli, option, fallback, ret) < 0) {
        return -EINVAL;
    }
    if (*ret > most) {
        complain("--%s: at most %llu", option, (unsigned long long)most);
        return -EINVAL;
    }
    return 0;
}

static int read_numbers(const struct cli *cli, struct ask *a)
{
    uint64_t chips, isl, osl, batch, hit, tp, pp, ep;
    const char *price = cli_value(cli, "price");
    char *end = NULL;

    if (read_count(cli, "chips", 8, 65536, &chips) < 0 ||
        read_count(cli, "isl", 1024, 100000000, &isl) < 0 ||
        read_count(cli, "osl", 256, 100000000, &osl) < 0 ||
        read_count(cli, "concurrency", 0, 10000000, &batch) < 0 ||
        read_count(cli, "prefix-hit", 0, 100, &hit) < 0 ||
        read_count(cli, "tp", 0, 65536, &tp) < 0 || read_count(cli, "pp", 0, 65536, &pp) < 0 ||
        read_count(cli, "ep", 0, 65536, &ep) < 0 ||
        read_count(cli, "top", 10, 100000, &a->top) < 0 ||
        read_time(cli, "slo-ttft", &a->q.slo_ttft_s) < 0 ||
        read_time(cli, "slo-tpot", &a->q.slo_tpot_s) < 0) {
        return -EINVAL;
    }
    if (chips == 0 || isl == 0 || osl == 0) {
        complain("--chips, --isl and --osl are at least 1");
        return -EINVAL;
    }
    a->price = price ? strtod(price, &end) : 0;
    if (price && (end == price || *end != '\0' || !isfinite(a->price) || a->price <= 0)) {
        complain("--price: '%s' is no price", price);
        return -EINVAL;
    }
    a->q.max_chips = (unsigned)chips;
    a->q.isl = (double)isl;
    a->q.osl = (double)osl;
    a->q.concurrency = (double)batch;
    a->q.prefix_hit = (double)hit / 100;
    a->q.tp = (unsigned)tp;
    a->q.pp = (unsigned)pp;
    a->q.ep = (unsigned)ep;
    return 0;
}

/* ---- what a plan costs ---- */

/* Chip-hours of a million output tokens; with a price, dollars. */
static double cost_of(const struct ask *a, const struct planner_result *r)
{
    const double hours = r->chips * 1e6 / fmax(r->output_tokens_ps, 1e-9) / 3600;

    return a->price > 0 ? hours * a->price : hours;
}

static void describe_plan(const struct planner_model *m, const struct planner_plan *p, char *out,
                          size_t size)
{
    size_t n = (size_t)snprintf(out, size, "tp%u", p->tp);

    if (p->pp > 1) {
        n += (size_t)snprintf(out + n, size - n, " pp%u", p->pp);
    }
    if (p->adp > 1) {
        n += (size_t)snprintf(out + n, size - n, " adp%u", p->adp);
    }
    if (m->experts > 0) {
        n += (size_t)snprintf(out + n, size - n, " ep%u", p->ep);
    }
    if (p->replicas > 1) {
        snprintf(out + n, size - n, " x%u", p->replicas);
    }
}

/* ---- a table ---- */

static const char *const rungs[] = { "kernels measured on this chip",
                                     "kernels measured on another chip of its generation",
                                     "its data sheet only" };

static void print_row(const struct ask *a, struct table *t, size_t rank,
                      const struct planner_candidate *c)
{
    const struct planner_result *r = &c->result;
    char plan[64];

    describe_plan(a->model, &c->plan, plan, sizeof(plan));
    table_cell(t, "%zu%s%s", rank, c->pareto ? "*" : "", c->meets_slo ? "" : "!");
    table_cell(t, "%s", plan);
    table_cell(t, "%u", r->chips);
    table_cell(t, "%.0f", c->concurrency);
    table_cell(t, "%.0f", r->ttft_s * 1e3);
    table_cell(t, "%.1f (%.1f-%.1f)", r->tpot_s * 1e3, r->tpot_band.p10 * 1e3,
               r->tpot_band.p90 * 1e3);
    table_cell(t, "%.2f", r->e2e_s);
    table_cell(t, "%.0f", r->output_tokens_ps);
    table_cell(t, "%.0f", r->output_tokens_ps_chip);
    table_cell(t, "%.1f", r->output_tokens_ps_user);
    table_cell(t, "%.3g", cost_of(a, r));
    table_cell(t, "%.0f+%.0f/%.0f%s", r->weights_bytes / 1e9, r->kv_used_bytes / 1e9,
               r->memory_bytes / 1e9, r->sensitive ? "~" : "");
    table_cell(t, "%.0f%%", r->mfu * 100);
    table_cell(t, "%.0f%%", r->mbu * 100);
}

static void print_breakdown(const struct planner_candidate *c)
{
    double sum = 0;

    for (int i = 0; i < PLANNER_WORK_MAX_; i++) {
        sum += c->result.decode_work_s[i];
    }
    printf("\nA decode step of the first: %.2f ms", sum * 1e3);
    for (int i = 0; i < PLANNER_WORK_MAX_; i++) {
        printf("%s %s %.0f%%", i ? "," : ":", planner_work_names[i],
               100 * c->result.decode_work_s[i] / sum);
    }
    putchar('\n');
}

static void print_refused(const struct planner_setup *s, const struct ask *a,
                          const struct planner_findings *f)
{
    char why[PLANNER_REFUSAL_SIZE], plan[64];

    for (int b = 1; b < PLANNER_BOUND_MAX_; b++) {
        const struct planner_candidate *c = &f->refused_example[b];
        const struct planner_load load = { .isl = a->q.isl,
                                           .osl = a->q.osl,
                                           .concurrency = c->concurrency };

        if (f->refused_by[b] == 0) {
            continue;
        }
        planner_refusal(s, &c->plan, &load, &c->result, why);
        describe_plan(a->model, &c->plan, plan, sizeof(plan));
        printf("Refused: %zu plan%s, such as %s: %s\n", f->refused_by[b],
               f->refused_by[b] == 1 ? "" : "s", plan, why);
    }
}

static void print_legend(const struct ask *a, const struct planner_findings *f)
{
    static const char *const orders[] = {
        [PLANNER_COST] = "the most output tokens/s of a chip",
        [PLANNER_THROUGHPUT] = "the most output tokens/s of all",
        [PLANNER_LATENCY] = "the least time of a token",
    };

    printf("\nRanked by %s%s. * no other plan has more tokens/s both of a chip and of a user",
           orders[a->q.objective],
           a->q.slo_ttft_s > 0 || a->q.slo_tpot_s > 0 ? " among plans that meet the SLO" : "");
    if (f->count > 0 && !f->candidates[0].meets_slo) {
        printf("\nNo plan meets the SLO; the nearest come first, the first is %.2f times over it",
               f->candidates[0].slo_excess);
    }
    puts("\nMEMORY is weights + KV in use / a chip's, in GB; ~ little is left for KV, so small "
         "errors tell");
}

static void print_table(const struct cli *cli, const struct planner_setup *s, const struct ask *a,
                        const struct planner_findings *f)
{
    static const char *const headings[] = { "#",     "PLAN",    "CHIPS",
                                            "BATCH", "TTFT ms", "TPOT ms (p10-p90)",
                                            "E2E s", "TOK/s",   "/CHIP",
                                            "/USER", NULL,      "MEMORY",
                                            "MFU",   "MBU" };
    const char *row[ARRAY_SIZE(headings)];
    struct table *t;

    memcpy(row, headings, sizeof(row));
    row[10] = a->price > 0 ? "USD/M" : "CHIP-h/M";
    printf("%s (%s, KV %g bytes) on %s with %s: %.0f tokens in, %.0f out; efficiencies from %s\n\n",
           a->model->name, planner_format_name(s->format), s->kv_bytes, a->chip->name,
           planner_engine_name(s->engine), a->q.isl, a->q.osl, rungs[s->rung]);
    if (f->count > 0) {
        t = table_create(row, ARRAY_SIZE(row));
        for (size_t i = 0; i < f->count && i < a->top; i++) {
            print_row(a, t, i + 1, &f->candidates[i]);
        }
        table_print(t, stdout, cli->color);
        table_free(t);
        print_breakdown(&f->candidates[0]);
        print_legend(a, f);
    } else {
        puts("No plan fits.");
    }
    print_refused(s, a, f);
}

/* ---- JSON ---- */

static json_t *json_band(const struct planner_band *b, double times)
{
    return json_pack("{s:f, s:f}", "p10", b->p10 * times, "p90", b->p90 * times);
}

static json_t *json_work(const double work[PLANNER_WORK_MAX_])
{
    json_t *o = json_object();

    for (int i = 0; i < PLANNER_WORK_MAX_; i++) {
        json_object_set_new(o, planner_work_names[i], json_real(work[i] * 1e3));
    }
    return o;
}

static json_t *json_shape(const struct planner_plan *p)
{
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i}", "tp", (int)p->tp, "pp", (int)p->pp,
                     "attention_dp", (int)p->adp, "ep", (int)p->ep, "moe_tp", (int)p->moe_tp,
                     "replicas", (int)p->replicas);
}

static json_t *json_plan(const struct ask *a, const struct planner_candidate *c)
{
    const struct planner_result *r = &c->result;

    return json_pack(
        "{s:o, s:i, s:f, s:b, s:b, s:f, s:o, s:f, s:o, s:f, s:f, s:f, s:o, s:f, s:f, s:f, s:f, "
        "s:f, s:{s:f, s:f, s:f, s:f, s:f, s:f, s:b}, s:o, s:o}",
        "plan", json_shape(&c->plan), "chips", (int)r->chips, "concurrency", c->concurrency,
        "meets_slo", c->meets_slo, "pareto", c->pareto, "ttft_ms", r->ttft_s * 1e3, "ttft_ms_band",
        json_band(&r->ttft_band, 1e3), "tpot_ms", r->tpot_s * 1e3, "tpot_ms_band",
        json_band(&r->tpot_band, 1e3), "e2e_ms", r->e2e_s * 1e3, "requests_per_s", r->requests_ps,
        "output_tokens_per_s", r->output_tokens_ps, "output_tokens_per_s_band",
        json_band(&r->throughput_band, 1), "output_tokens_per_s_per_chip", r->output_tokens_ps_chip,
        "output_tokens_per_s_per_user", r->output_tokens_ps_user, "mfu", r->mfu, "mbu", r->mbu,
        a->price > 0 ? "usd_per_m_output_tokens" : "chip_hours_per_m_output_tokens", cost_of(a, r),
        "memory", "weights_gb", r->weights_bytes / 1e9, "kv_gb", r->kv_used_bytes / 1e9,
        "kv_budget_gb", r->kv_budget_bytes / 1e9, "activations_gb", r->activation_bytes / 1e9,
        "runtime_gb", r->fixed_bytes / 1e9, "chip_gb", r->memory_bytes / 1e9, "sensitive",
        r->sensitive, "decode_step_ms", json_work(r->decode_work_s), "prefill_ms",
        json_work(r->prefill_work_s));
}

static void print_as_json(const struct planner_setup *s, const struct ask *a,
                          const struct planner_findings *f)
{
    json_t *plans = json_array(), *refused = json_array(), *all;
    char why[PLANNER_REFUSAL_SIZE];

    for (size_t i = 0; i < f->count && i < a->top; i++) {
        json_array_append_new(plans, json_plan(a, &f->candidates[i]));
    }
    for (int b = 1; b < PLANNER_BOUND_MAX_; b++) {
        const struct planner_candidate *c = &f->refused_example[b];
        const struct planner_load load = { .isl = a->q.isl,
                                           .osl = a->q.osl,
                                           .concurrency = c->concurrency };

        if (f->refused_by[b] > 0) {
            planner_refusal(s, &c->plan, &load, &c->result, why);
            json_array_append_new(refused,
                                  json_pack("{s:i, s:o, s:s}", "count", (int)f->refused_by[b],
                                            "example", json_shape(&c->plan), "reason", why));
        }
    }
    all = json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:i, s:i, s:i, s:i}, s:o, s:o}", "model",
                    a->model->name, "chip", a->chip->name, "engine", planner_engine_name(s->engine),
                    "precision", planner_format_name(s->format), "efficiencies", rungs[s->rung],
                    "search", "tried", (int)f->tried, "feasible", (int)f->count, "refused",
                    (int)f->refused, "evaluations", (int)f->evaluations, "plans", plans, "refused",
                    refused);
    print_json(all);
    json_decref(all);
}

/* ---- the command ---- */

static int plan(struct cli *cli)
{
    struct ask a = { 0 };
    struct planner_setup s;
    struct planner_findings f;
    int code = 0;

    if (read_names(cli, &a) < 0 || read_words(cli, &a) < 0 || read_numbers(cli, &a) < 0) {
        return error_kind(-EINVAL)->exit_code;
    }
    planner_setup_init(&s, a.model, a.chip, a.engine, a.format, a.kv, NULL);
    planner_search(&s, &a.q, &f);
    if (cli->json) {
        print_as_json(&s, &a, &f);
    } else {
        print_table(cli, &s, &a, &f);
    }
    code = f.count > 0 ? 0 : 1;
    planner_findings_finish(&f);
    return code;
}

static int run(struct cli *cli)
{
    if (cli->arg_count == 0) {
        return plan(cli);
    }
    if (!str_eq(cli->args[0], "check") || cli->arg_count != 2) {
        complain("plan: say 'plan --model NAME --chip NAME …' or 'plan check FILE.csv'");
        return error_kind(-EINVAL)->exit_code;
    }
    return plan_check(cli, cli->args[1], cli_value(cli, "rows"));
}

const struct command plan_command = {
    "plan",
    "[check FILE.csv]",
    "Says what a model would do on given chips: the plans that fit, ranked; or checks predictions "
    "against measurements.",
    options,
    0,
    2,
    run,
    "check",
};
