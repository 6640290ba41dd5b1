// SPDX-License-Identifier: Apache-2.0
/* How results of simulations look: one in detail, several as a table, and both as JSON. */
#include "cli/simulate_view.h"

#include "base/mem.h"
#include "cli/cli_int.h"

static void print_spread(const char *label, const struct sim_spread *s, double times,
                         const char *unit)
{
    print_line(label, "mean %.4g  p50 %.4g  p90 %.4g  p95 %.4g  p99 %.4g  p99.9 %.4g  max %.4g %s",
               s->mean * times, s->p[0] * times, s->p[1] * times, s->p[2] * times, s->p[3] * times,
               s->p[4] * times, s->max * times, unit);
}

static void print_models(const struct sim_result *r)
{
    static const char *const headings[] = { "MODEL",    "REQUESTS", "ANSWERED", "P50 TTFT",
                                            "P99 TTFT", "P99 TPOT", "SLO",      "BUSY",
                                            "KV",       "LOADS",    "SWAPS",    "PREEMPTED" };
    struct table *t = table_create(headings, ARRAY_SIZE(headings));

    for (size_t i = 0; i < r->model_count; i++) {
        const struct sim_figures *f = &r->models[i];

        table_cell(t, "%s", f->name);
        table_cell(t, "%llu", (unsigned long long)f->requests);
        table_cell(t, "%llu", (unsigned long long)f->answered);
        table_cell(t, "%.3f s", f->ttft_s.p[0]);
        table_cell(t, "%.3f s", f->ttft_s.p[3]);
        table_cell(t, "%.1f ms", 1000 * f->tpot_s.p[3]);
        if (r->has_slo) {
            table_cell(t, "%.1f %%", 100 * f->slo_share);
        } else {
            table_cell(t, "-");
        }
        table_cell(t, "%.0f %%", 100 * f->busy_share);
        table_cell(t, "%.0f %%", 100 * f->kv_share);
        table_cell(t, "%llu", (unsigned long long)f->loads);
        table_cell(t, "%llu", (unsigned long long)f->swaps);
        table_cell(t, "%llu", (unsigned long long)f->preemptions);
    }
    table_print(t, stdout, false);
    table_free(t);
}

void simulate_print_one(const struct sim_result *r)
{
    const struct sim_figures *f = &r->all;

    print_line("strategy", "%s", r->strategy);
    print_line("requests", "%llu at %.3g/s in %.0f s: %llu answered, %llu refused%s",
               (unsigned long long)f->requests, r->rate_rps, r->virtual_s,
               (unsigned long long)f->answered, (unsigned long long)f->refused,
               f->sustained ? "" : "; this rate is not sustained");
    print_spread("TTFT", &f->ttft_s, 1, "s");
    print_spread("TPOT", &f->tpot_s, 1000, "ms");
    print_spread("E2E", &f->e2e_s, 1, "s");
    print_spread("waited", &f->wait_s, 1, "s, for an instance");
    if (r->has_slo) {
        print_line("SLO", "%.2f %% of all requests met it: goodput %.4g/s of %.4g/s answered",
                   100 * f->slo_share, f->goodput_rps, f->throughput_rps);
    } else {
        print_line("SLO", "none was told; %.4g/s answered", f->throughput_rps);
    }
    print_line("tokens", "%.0f/s out; of the prompts %.1f %% found in caches", f->output_tokens_ps,
               f->prompt_tokens ? 100 * (double)f->cached_tokens / (double)f->prompt_tokens : 0);
    print_line("engines",
               "busy %.1f %% of the time, %.1f %% of KV in use, %llu put back for want "
               "of KV; %llu loads, %llu swaps, %llu preemptions",
               100 * f->busy_share, 100 * f->kv_share, (unsigned long long)f->engine_preemptions,
               (unsigned long long)f->loads, (unsigned long long)f->swaps,
               (unsigned long long)f->preemptions);
    print_models(r);
}

/* What a table has beside the usual. */
struct columns {
    bool seeds, slo, moves;
};

static void add_row(struct table *t, const struct sim_cell *c, const struct columns *with)
{
    table_cell(t, "%s", c->first.strategy);
    table_cell(t, "%.2f", c->first.rate_rps);
    table_cell(t, "%.3f s", c->ttft[0]);
    if (with->seeds) {
        table_cell(t, "%.3f s (%.3f-%.3f)", c->ttft[2], c->p99_low, c->p99_high);
    } else {
        table_cell(t, "%.3f s", c->ttft[2]);
    }
    table_cell(t, "%.1f ms", 1000 * c->tpot[0]);
    table_cell(t, "%.1f ms", 1000 * c->tpot[1]);
    table_cell(t, "%.1f %%", 100 * c->answered_share);
    if (with->slo) {
        table_cell(t, "%.1f %%", 100 * c->slo_share);
        table_cell(t, "%.2f/s", c->goodput_rps);
    }
    table_cell(t, "%.0f %%", 100 * c->busy_share);
    table_cell(t, "%.1f %%", 100 * c->cached_share);
    if (with->moves) {
        table_cell(t, "%.3g", c->swaps);
        table_cell(t, "%.3g", c->preemptions);
    }
    table_cell(t, "%s", c->sustained ? "yes" : "no");
}

static struct table *make_table(const struct columns *with)
{
    const char *headings[] = { "STRATEGY", "RATE/S",   "TTFT p50", "TTFT p99", "TPOT p50",
                               "TPOT p99", "ANSWERED", NULL,       NULL,       NULL,
                               NULL,       NULL,       NULL,       NULL };
    size_t n = 7;

    if (with->slo) {
        headings[n++] = "SLO";
        headings[n++] = "GOODPUT";
    }
    headings[n++] = "BUSY";
    headings[n++] = "CACHED";
    if (with->moves) {
        headings[n++] = "SWAPS";
        headings[n++] = "MOVED";
    }
    headings[n++] = "SUSTAINED";
    return table_create(headings, n);
}

void simulate_print_table(const struct sim_cell *cells, size_t count, bool seeds)
{
    struct columns with = { .seeds = seeds };
    struct table *t;

    for (size_t i = 0; i < count; i++) {
        with.slo |= cells[i].first.has_slo;
        with.moves |= cells[i].swaps + cells[i].preemptions > 0;
    }
    t = make_table(&with);
    for (size_t i = 0; i < count; i++) {
        add_row(t, &cells[i], &with);
    }
    table_print(t, stdout, false);
    table_free(t);
}

static json_t *cells_to_json(const struct sim_cell *cells, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++) {
        json_t *o = sim_result_to_json(&cells[i].first);

        json_object_set_new(o, "p99_ttft_s", json_real(cells[i].ttft[2]));
        json_object_set_new(o, "sustained", json_boolean(cells[i].sustained));
        json_array_append_new(list, o);
    }
    return list;
}

void simulate_print_json(const struct sim_cell *cells, size_t count, bool seeds)
{
    json_t *json = count == 1 && !seeds ? sim_result_to_json(&cells[0].first)
                                        : json_pack("{s:o}", "runs", cells_to_json(cells, count));

    print_json(json);
    json_decref(json);
}
