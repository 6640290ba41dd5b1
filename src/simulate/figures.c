// SPDX-License-Identifier: Apache-2.0
/*
 * What is made of the requests of a run: counts, exact percentiles, shares of time. Everything here
 * is of virtual time: the same run gives the same figures, to the last digit.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "simulate/simulate_int.h"

const double sim_percentiles[SIM_PERCENTILES] = { 50, 90, 95, 99, 99.9 };

static const double answered_share = 0.99, growth = 1.5, growth_s = 0.5;

/* ---- spreads ---- */

/* Values of one kind, of one model or of all. */
struct values {
    double *list;
    size_t count;
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The nearest rank. */
static struct sim_spread spread_of(struct values *v)
{
    struct sim_spread s = { 0 };

    if (v->count == 0) {
        return s;
    }
    qsort(v->list, v->count, sizeof(v->list[0]), compare);
    for (size_t i = 0; i < v->count; i++) {
        s.mean += v->list[i];
    }
    s.mean /= (double)v->count;
    s.max = v->list[v->count - 1];
    for (int i = 0; i < SIM_PERCENTILES; i++) {
        size_t rank = (size_t)ceil(sim_percentiles[i] / 100 * (double)v->count);

        s.p[i] = v->list[MAX_OF(rank, 1U) - 1];
    }
    return s;
}

/* ---- one request ---- */

struct times {
    double ttft_s, tpot_s, e2e_s, wait_s;
    bool has_tpot;
};

static double seconds_between(uint64_t from_us, uint64_t to_us)
{
    return (double)(to_us - from_us) / 1e6;
}

static struct times times_of(const struct sim_ask *a)
{
    return (struct times){
        .ttft_s = seconds_between(a->at_us, a->first_us),
        .e2e_s = seconds_between(a->at_us, a->done_us),
        .wait_s = seconds_between(a->at_us, a->granted_us),
        .has_tpot = a->tokens > 1,
        .tpot_s = a->tokens > 1 ? seconds_between(a->first_us, a->done_us) / (a->tokens - 1) : 0,
    };
}

static double slo_ttft(const struct sim_run *run)
{
    return run->in->slo_ttft_s > 0 ? run->in->slo_ttft_s : run->fleet->slo_ttft_s;
}

static double slo_tpot(const struct sim_run *run)
{
    return run->in->slo_tpot_s > 0 ? run->in->slo_tpot_s : run->fleet->slo_tpot_s;
}

static bool meets(const struct sim_run *run, const struct times *t)
{
    double ttft_s = slo_ttft(run), tpot_s = slo_tpot(run);

    return (ttft_s <= 0 || t->ttft_s <= ttft_s) && (tpot_s <= 0 || t->tpot_s <= tpot_s);
}

/* ---- a model, or all ---- */

enum { ALL = -1 };

static void put(struct values *v, double value)
{
    v->list[v->count++] = value;
}

static void make_spreads(const struct sim_run *run, int model, struct sim_figures *f)
{
    double *memory = xcalloc(4 * run->ask_count + 1, sizeof(*memory));
    struct values ttft = { memory, 0 }, tpot = { memory + run->ask_count, 0 };
    struct values e2e = { memory + 2 * run->ask_count, 0 };
    struct values wait = { memory + 3 * run->ask_count, 0 };

    for (size_t i = 0; i < run->ask_count; i++) {
        const struct sim_ask *a = &run->asks[i];
        struct times t = times_of(a);

        if ((model == ALL || a->model == model) && a->state == ASK_ANSWERED) {
            put(&ttft, t.ttft_s);
            put(&e2e, t.e2e_s);
            put(&wait, t.wait_s);
            if (t.has_tpot) {
                put(&tpot, t.tpot_s);
            }
        }
    }
    f->ttft_s = spread_of(&ttft);
    f->tpot_s = spread_of(&tpot);
    f->e2e_s = spread_of(&e2e);
    f->wait_s = spread_of(&wait);
    free(memory);
}

static void count_one(const struct sim_run *run, const struct sim_ask *a, struct sim_figures *f,
                      uint64_t *good)
{
    const struct times t = times_of(a);

    f->requests++;
    f->refused += a->state == ASK_REFUSED;
    if (a->state != ASK_ANSWERED) {
        return;
    }
    f->answered++;
    f->prompt_tokens += run->in->trace->requests[a - run->asks].input_tokens;
    f->cached_tokens += a->cached_tokens;
    f->output_tokens += a->tokens;
    *good += meets(run, &t);
}

/* The mean TTFT of those that came in this quarter of the time in which requests come, from 0. */
static double quarter_ttft(const struct sim_run *run, int model, unsigned quarter)
{
    const uint64_t first_us = run->asks[0].at_us;
    const uint64_t span_us = run->asks[run->ask_count - 1].at_us - first_us + 1;
    double sum = 0;
    size_t n = 0;

    for (size_t i = 0; i < run->ask_count; i++) {
        const struct sim_ask *a = &run->asks[i];

        if ((model == ALL || a->model == model) && a->state == ASK_ANSWERED &&
            (a->at_us - first_us) * 4 / span_us == quarter) {
            sum += times_of(a).ttft_s;
            n++;
        }
    }
    return n ? sum / (double)n : 0;
}

static bool is_sustained(const struct sim_run *run, int model, const struct sim_figures *f)
{
    return (double)f->answered >= answered_share * (double)f->requests &&
           quarter_ttft(run, model, 3) <= growth * quarter_ttft(run, model, 1) + growth_s;
}

static void add_state(struct sim_model_state *to, const struct sim_model_state *s)
{
    to->busy_us += s->busy_us;
    to->alive_us += s->alive_us;
    to->kv_token_us += s->kv_token_us;
    to->kv_room_us += s->kv_room_us;
    to->swaps += s->swaps;
    to->preemptions += s->preemptions;
    to->loads += s->loads;
    to->engine_preemptions += s->engine_preemptions;
}

static void make_figures(const struct sim_run *run, int model, const struct sim_model_state *state,
                         struct sim_figures *f)
{
    const double s = MAX_OF(1e-6, seconds_between(run->began_us, run->last_us));
    uint64_t good = 0;

    for (size_t i = 0; i < run->ask_count; i++) {
        if (model == ALL || run->asks[i].model == model) {
            count_one(run, &run->asks[i], f, &good);
        }
    }
    make_spreads(run, model, f);
    f->slo_share = f->requests ? (double)good / (double)f->requests : 1;
    f->goodput_rps = (double)good / s;
    f->throughput_rps = (double)f->answered / s;
    f->output_tokens_ps = (double)f->output_tokens / s;
    f->busy_share = state->alive_us > 0 ? state->busy_us / state->alive_us : 0;
    f->kv_share = state->kv_room_us > 0 ? state->kv_token_us / state->kv_room_us : 0;
    f->swaps = state->swaps;
    f->preemptions = state->preemptions;
    f->loads = state->loads;
    f->engine_preemptions = state->engine_preemptions;
    f->sustained = is_sustained(run, model, f);
}

/* ---- over time ---- */

static void make_moments(const struct sim_run *run, struct sim_result *ret)
{
    const uint64_t span_us = run->asks[run->ask_count - 1].at_us - run->began_us + 1;
    uint64_t came[SIM_MOMENTS] = { 0 }, answered[SIM_MOMENTS] = { 0 };

    ret->moment_count = SIM_MOMENTS;
    ret->moments = xmemdup(run->moments, sizeof(run->moments));
    for (size_t i = 0; i < run->ask_count; i++) {
        const struct sim_ask *a = &run->asks[i];
        size_t at = (size_t)((a->at_us - run->began_us) * SIM_MOMENTS / span_us);

        came[at]++;
        if (a->state == ASK_ANSWERED) {
            answered[at]++;
            ret->moments[at].ttft_s += times_of(a).ttft_s;
        }
    }
    for (size_t i = 0; i < SIM_MOMENTS; i++) {
        struct sim_moment *m = &ret->moments[i];
        const double part_s = (double)span_us / 1e6 / SIM_MOMENTS;

        m->at_s = (double)i * part_s;
        m->arrivals_ps = (double)came[i] / part_s;
        m->ttft_s = answered[i] ? m->ttft_s / (double)answered[i] : 0;
    }
}

void figures_make(struct sim_run *run, struct sim_result *ret)
{
    struct sim_model_state all = { 0 };
    struct sim_child *c;
    double came_s;

    list_for_each (c, &run->children_alive, node) {
        child_count(c);
    }
    ret->model_count = run->fleet->model_count;
    ret->models = xcalloc(ret->model_count, sizeof(*ret->models));
    for (size_t i = 0; i < ret->model_count; i++) {
        add_state(&all, &run->models_state[i]);
        strcpy(ret->models[i].name, run->fleet->models[i].name);
        make_figures(run, (int)i, &run->models_state[i], &ret->models[i]);
    }
    make_figures(run, ALL, &all, &ret->all);
    ret->has_slo = slo_ttft(run) > 0 || slo_tpot(run) > 0;
    ret->virtual_s = seconds_between(run->began_us, run->last_us);
    came_s = seconds_between(run->began_us, run->asks[run->ask_count - 1].at_us);
    ret->rate_rps = came_s > 0 ? (double)run->ask_count / came_s : 0;
    make_moments(run, ret);
}

void sim_result_finish(struct sim_result *r)
{
    free(r->models);
    free(r->moments);
    r->models = NULL;
    r->moments = NULL;
}

/* ---- as JSON ---- */

static json_t *spread_to_json(const struct sim_spread *s)
{
    json_t *o = json_pack("{s:f}", "mean", s->mean);

    for (int i = 0; i < SIM_PERCENTILES; i++) {
        char name[16];

        snprintf(name, sizeof(name), "p%g", sim_percentiles[i]);
        json_object_set_new(o, name, json_real(s->p[i]));
    }
    json_object_set_new(o, "max", json_real(s->max));
    return o;
}

static json_t *figures_to_json(const struct sim_figures *f)
{
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I,"
        " s:I, s:I, s:b}",
        "requests", (json_int_t)f->requests, "answered", (json_int_t)f->answered, "refused",
        (json_int_t)f->refused, "prompt_tokens", (json_int_t)f->prompt_tokens, "cached_tokens",
        (json_int_t)f->cached_tokens, "output_tokens", (json_int_t)f->output_tokens, "ttft_s",
        spread_to_json(&f->ttft_s), "tpot_s", spread_to_json(&f->tpot_s), "e2e_s",
        spread_to_json(&f->e2e_s), "wait_s", spread_to_json(&f->wait_s), "slo_share", f->slo_share,
        "goodput_rps", f->goodput_rps, "throughput_rps", f->throughput_rps, "output_tokens_ps",
        f->output_tokens_ps, "busy_share", f->busy_share, "kv_share", f->kv_share, "swaps",
        (json_int_t)f->swaps, "preemptions", (json_int_t)f->preemptions, "loads",
        (json_int_t)f->loads, "engine_preemptions", (json_int_t)f->engine_preemptions, "sustained",
        f->sustained);
}

json_t *sim_result_to_json(const struct sim_result *r)
{
    json_t *o =
        json_pack("{s:s, s:b, s:f, s:f, s:o, s:o, s:o}", "strategy", r->strategy, "has_slo",
                  r->has_slo, "rate_rps", r->rate_rps, "virtual_s", r->virtual_s, "all",
                  figures_to_json(&r->all), "models", json_object(), "moments", json_array());

    for (size_t i = 0; i < r->model_count; i++) {
        json_object_set_new(json_object_get(o, "models"), r->models[i].name,
                            figures_to_json(&r->models[i]));
    }
    for (size_t i = 0; i < r->moment_count; i++) {
        const struct sim_moment *m = &r->moments[i];

        json_array_append_new(json_object_get(o, "moments"),
                              json_pack("{s:f, s:f, s:f, s:f, s:f}", "at_s", m->at_s, "arrivals_ps",
                                        m->arrivals_ps, "ttft_s", m->ttft_s, "running", m->running,
                                        "waiting", m->waiting));
    }
    return o;
}
