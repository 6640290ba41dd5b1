// SPDX-License-Identifier: Apache-2.0
/*
 * One plan under one load: does it fit, how many requests run at once, and from the times of a
 * decode step and of a prefill what a user and an owner see (recipe 6). Numbers of one attention
 * rank carry "rank" in their names; a replica has adp of them.
 */
#include "planner/planner_int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

unsigned planner_plan_chips(const struct planner_plan *p)
{
    return p->tp * p->pp * p->adp * p->replicas;
}

/* Everything that a load's formulas share. */
struct scene {
    const struct planner_setup *s;
    const struct planner_plan *plan;
    const struct planner_load *load;
    struct planner_result *r;
    unsigned chunk;
    double decode_bytes, decode_flops, prefill_flops; /* of one chip, of the last step computed */
    double prefill_busy_s; /* what a prefill costs the rank: with pp less than it takes */
};

/* ---- steps ---- */

/* Seconds of a decode step with so many sequences on every rank (fewer than one: some ranks idle).
 */
static double decode_step(struct scene *c, double rank_sequences)
{
    const struct planner_plan *p = c->plan;
    const struct planner_model *m = c->s->model;
    const double flying = rank_sequences >= p->pp ? p->pp : 1;
    const double tokens = fmax(rank_sequences / flying, 1);
    const struct planner_pass pass = {
        .tokens = tokens,
        .everywhere = fmax(rank_sequences / flying * p->adp, 1),
        .sequences = tokens,
        .context = c->load->isl + c->load->osl / 2,
        .logits = tokens,
    };
    double t = 0;

    planner_pass_time(c->s, p, &pass, c->r->decode_work_s, &c->decode_bytes, &c->decode_flops);
    for (int i = 0; i < PLANNER_WORK_MAX_; i++) {
        t += c->r->decode_work_s[i];
    }
    if (p->adp > 1) { /* all wait for the slowest rank */
        t *= c->s->k->adp_uneven;
    }
    if (flying > 1) { /* the fullest stage sets the beat */
        t *= ceil((double)m->layers / p->pp) * p->pp / m->layers;
    }
    return t;
}

/* Seconds until so many sequences have gone through prefill together; also how long that keeps the
 * first stage busy. */
static double prefill(struct scene *c, double sequences)
{
    const struct planner_plan *p = c->plan;
    const double fresh = fmax(c->load->isl * (1 - c->load->prefix_hit), 1);
    const double cached = c->load->isl - fresh, all = sequences * fresh;
    const double passes = ceil(all / c->chunk), tokens = all / passes;
    const double of_one = fmin(tokens, fresh); /* a long request goes in pieces */
    const struct planner_pass pass = {
        .tokens = tokens,
        .everywhere = tokens * p->adp,
        .sequences = fmax(tokens / fresh, 1),
        .context = fmax(cached, 0) + (fresh - of_one) / 2,
        .prefill = true,
        .logits = fmax(tokens / fresh, 1),
    };
    double t = 0;

    planner_pass_time(c->s, p, &pass, c->r->prefill_work_s, NULL, &c->prefill_flops);
    for (int i = 0; i < PLANNER_WORK_MAX_; i++) {
        c->r->prefill_work_s[i] *= passes;
        t += c->r->prefill_work_s[i];
    }
    c->prefill_flops *= passes;
    c->prefill_busy_s = t / p->pp;
    if (c->s->engine == PLANNER_ENGINE_LLAMACPP) { /* its stages overlap in part only */
        const double o = c->s->k->gguf_overlap;

        return t * (1 - o + o * (passes + p->pp - 1) / (passes * p->pp));
    }
    return t * (passes + p->pp - 1) / (passes * p->pp);
}

/* ---- memory ---- */

static double memory_of(const struct planner_setup *s)
{
    return s->chip->memory_gb * 1e9;
}

/* What is left for KV on the fullest chip: TensorRT-LLM takes 0.9 of what is free, vLLM and SGLang
 * 0.9 of the whole less what they use; who has little left that way raises the share, up to 0.97 of
 * the whole. */
static double kv_budget(const struct scene *c, double one_request)
{
    const double total = memory_of(c->s), little = fmax(one_request, 0.1 * total);
    const double used = c->r->weights_bytes + c->r->activation_bytes + c->r->fixed_bytes;
    double budget;

    if (c->s->engine == PLANNER_ENGINE_LLAMACPP) {
        return total - used;
    }
    budget = c->s->engine == PLANNER_ENGINE_TRTLLM ? 0.9 * (total - used) : 0.9 * total - used;
    return budget < little ? fmin(0.97 * total - used, little) : budget;
}

static bool refuse(struct planner_result *r, enum planner_bound bound, double need, double have)
{
    r->bound = bound;
    r->need = need;
    r->have = have;
    return false;
}

static bool is_plan(const struct planner_model *m, const struct planner_plan *p,
                    struct planner_result *r)
{
    const unsigned group = p->tp * p->adp;

    if (!p->tp || !p->pp || !p->adp || !p->ep || !p->moe_tp || !p->replicas) {
        return refuse(r, PLANNER_BAD_PLAN, 1, 0);
    }
    if (p->pp > m->layers || p->tp > m->heads || m->heads % p->tp != 0) {
        return refuse(r, PLANNER_BAD_PLAN, p->tp, m->heads);
    }
    if (m->experts == 0 && (p->ep > 1 || p->moe_tp > 1)) {
        return refuse(r, PLANNER_BAD_EXPERTS, p->ep * p->moe_tp, 1);
    }
    if (m->experts > 0 && (p->ep * p->moe_tp != group || m->experts % p->ep != 0)) {
        return refuse(r, PLANNER_BAD_EXPERTS, p->ep * p->moe_tp, group);
    }
    return true;
}

static double max_sequences(const struct planner_setup *s)
{
    return s->engine == PLANNER_ENGINE_VLLM ? 1024 : 2048;
}

static bool fits(struct scene *c, double rank_batch)
{
    const struct planner_load *l = c->load;
    struct planner_result *r = c->r;
    const struct planner_coefficients *k = c->s->k;
    const double held = c->s->engine == PLANNER_ENGINE_TRTLLM ? k->held_trtllm : k->held;
    struct planner_memory m;
    double one, mean;

    planner_memory(c->s, c->plan, fmin(rank_batch, max_sequences(c->s)), c->chunk, &m);
    r->weights_bytes = m.weights;
    r->activation_bytes = m.activation;
    r->fixed_bytes = m.fixed;
    r->memory_bytes = memory_of(c->s);
    one = planner_request_kv(c->s, c->plan, l->isl + l->osl, c->chunk);
    mean = planner_request_kv(c->s, c->plan, l->isl + held * l->osl, c->chunk);
    r->kv_budget_bytes = kv_budget(c, one);
    if (r->kv_budget_bytes <= 0) {
        return refuse(r, PLANNER_WEIGHTS, m.weights + m.activation + m.fixed,
                      0.97 * r->memory_bytes);
    }
    if (one > r->kv_budget_bytes) {
        return refuse(r, PLANNER_ONE_REQUEST, one, r->kv_budget_bytes);
    }
    if (l->kind == PLANNER_STATIC && rank_batch * one > 1.05 * r->kv_budget_bytes) {
        return refuse(r, PLANNER_BATCH, rank_batch * one, r->kv_budget_bytes);
    }
    r->fits_requests = r->kv_budget_bytes / mean;
    r->sensitive = r->kv_budget_bytes < 0.1 * r->memory_bytes;
    return true;
}

/* ---- loads ---- */

struct first_token {
    double layer_s, times, queue, burst, wait;
};

static struct first_token first_token_of(const struct planner_setup *s)
{
    const struct planner_coefficients *k = s->k;

    switch (s->engine) {
    case PLANNER_ENGINE_TRTLLM:
        return (struct first_token){ s->prefill_host_s, k->first_trtllm, k->queue_trtllm,
                                     k->burst_trtllm, k->wait_trtllm };
    case PLANNER_ENGINE_SGLANG:
        return (struct first_token){ s->prefill_host_s, k->first_sglang, k->queue_sglang,
                                     k->burst_sglang, k->wait_sglang };
    case PLANNER_ENGINE_LLAMACPP:
        return (struct first_token){ 0, 1, k->queue_vllm, k->burst_vllm, 0 };
    default:
        return (struct first_token){ s->prefill_host_s, k->first_vllm, k->queue_vllm, k->burst_vllm,
                                     k->wait_vllm };
    }
}

/* What another's prefill adds to my time; the time of one alone goes to *ret_alone. As many enter a
 * step as leave it, b / osl, and go through together; part of a decode step is saved because the
 * weights are read once for both. */
static double cost_of_prefill(struct scene *c, double b, double step, double *ret_alone)
{
    const struct planner_coefficients *k = c->s->k;
    const double most = fmax(c->chunk / fmax(c->load->isl, 1), 1);
    const double together = fmin(fmax(b / fmax(c->load->osl, 1), 1), most);
    double busy = 0;

    if (together > 1) {
        prefill(c, together);
        busy = c->prefill_busy_s;
    }
    *ret_alone = prefill(c, 1);
    busy = together > 1 ? busy : c->prefill_busy_s;
    return fmax(busy - k->half * step, k->floor * busy) / together;
}

/* TPOT = d0 + (b-1) c / osl; TTFT = h L + a Tp (1 + q rho/(1-rho) + w (b-1)/2) + g d0 (b-1)/(b+15):
 * who comes into a crowd waits for some of its steps. */
static void closed_loop(struct scene *c, double rank_batch)
{
    const struct first_token f = first_token_of(c->s);
    const double b = fmin(rank_batch, fmin(c->r->fits_requests, max_sequences(c->s)));
    const double others = fmax(b - 1, 0), osl = fmax(c->load->osl, 1);
    double tp;
    const double step = decode_step(c, b), cost = cost_of_prefill(c, b, step, &tp);
    const double crowd = b * cost / (osl * step); /* rho / (1 - rho) */
    struct planner_result *r = c->r;

    r->running = b * c->plan->adp;
    r->decode_step_s = step;
    r->prefill_s = tp;
    r->tpot_s = step + others * cost / osl;
    r->ttft_s = f.layer_s * c->s->model->layers +
                f.times * (tp + c->prefill_busy_s *
                                    (f.queue * crowd * fmin(others, 1) + f.burst * others / 2)) +
                f.wait * step * others / (others + 16);
    r->e2e_s = r->ttft_s + (osl - 1) * r->tpot_s;
    if (rank_batch > b) { /* the rest wait for memory */
        r->ttft_s += (rank_batch - b) * r->e2e_s / b;
        r->e2e_s = r->ttft_s + (osl - 1) * r->tpot_s;
    }
    r->requests_ps = rank_batch * c->plan->adp / r->e2e_s;
}

/* Requests at a rate: b follows from b = rate * E2E(b). */
static void open_at(struct scene *c, double rank_rate, double b)
{
    const struct first_token f = first_token_of(c->s);
    const double osl = fmax(c->load->osl, 1);
    double tp;
    const double step = decode_step(c, b), cost = cost_of_prefill(c, b, step, &tp);
    const double rho = fmin(rank_rate * cost, 0.99);
    struct planner_result *r = c->r;

    r->running = b * c->plan->adp;
    r->decode_step_s = step;
    r->prefill_s = tp;
    r->tpot_s = step / (1 - rho);
    r->ttft_s = f.layer_s * c->s->model->layers + f.times * tp +
                rank_rate * tp * tp / (2 * (1 - rho)) + step / 2 / (1 - rho);
    r->e2e_s = r->ttft_s + (osl - 1) * r->tpot_s;
}

static bool open_loop(struct scene *c)
{
    const double rate = c->load->rate_per_s / c->plan->replicas / c->plan->adp;
    const double most = fmin(c->r->fits_requests, max_sequences(c->s));
    double low = 0, high = most;

    open_at(c, rate, most);
    if (rate * c->prefill_busy_s >= 1 || most < rate * c->r->e2e_s) {
        closed_loop(c, most);
        return refuse(c->r, PLANNER_UNSUSTAINABLE, c->load->rate_per_s,
                      c->r->requests_ps * c->plan->replicas);
    }
    for (int i = 0; i < 20; i++) {
        const double b = (low + high) / 2;

        open_at(c, rate, b);
        if (b < rate * c->r->e2e_s) {
            low = b;
        } else {
            high = b;
        }
    }
    open_at(c, rate, high);
    c->r->requests_ps = rate * c->plan->adp;
    return true;
}

/* out tok/s = C osl / (C c + osl d0(C)), C as many as memory holds. */
static void offline(struct scene *c)
{
    const struct planner_coefficients *k = c->s->k;
    const double osl = fmax(c->load->osl, 1), ranks = (double)c->plan->adp * c->plan->replicas;
    double b = fmin(c->r->fits_requests, max_sequences(c->s)), cost, round;
    struct planner_result *r = c->r;

    if (c->load->concurrency > 0) {
        b = fmin(b, c->load->concurrency / ranks);
    }
    r->running = b * c->plan->adp;
    r->decode_step_s = decode_step(c, b);
    cost = cost_of_prefill(c, b, r->decode_step_s, &r->prefill_s);
    round = b * (cost + k->offline_small * 1e-4) + osl * r->decode_step_s;
    r->tpot_s = round / osl;
    r->ttft_s = r->prefill_s;
    r->e2e_s = round;
    r->requests_ps = k->offline * r->running / round;
}

static void one_batch(struct scene *c, double rank_batch)
{
    const double osl = fmax(c->load->osl, 1);
    struct planner_result *r = c->r;

    r->running = rank_batch * c->plan->adp;
    r->prefill_s = prefill(c, fmax(rank_batch, 1));
    r->decode_step_s = decode_step(c, rank_batch);
    r->ttft_s = r->prefill_s + first_token_of(c->s).layer_s * c->s->model->layers;
    r->tpot_s = r->decode_step_s;
    r->e2e_s = r->ttft_s + (osl - 1) * r->tpot_s;
    r->requests_ps = r->running / r->e2e_s;
}

/* Prefill on other chips: either they are the narrow place and requests queue before them, or
 * decode is. The plan's replicas decode together. */
static void disaggregated(struct scene *c, double rank_batch)
{
    const struct planner_coefficients *k = c->s->k;
    const struct planner_plan *p = &c->load->prefill;
    const double osl = fmax(c->load->osl, 1), ranks = (double)c->plan->adp * c->plan->replicas;
    const double all = rank_batch * ranks, most = fmin(c->r->fits_requests, max_sequences(c->s));
    struct scene other = *c;
    struct planner_result aside = *c->r, *r = c->r;
    double tp, rate, low = 0, high = fmin(rank_batch, most), b, first;

    other.plan = p;
    other.r = &aside;
    tp = prefill(&other, 1);
    rate = 0.9 * p->adp * p->replicas / other.prefill_busy_s;
    first = k->pd_queue * tp + first_token_of(c->s).layer_s * c->s->model->layers;
    for (int i = 0; i < 20;
         i++) { /* in decode: what prefill delivers, or all who are not before it */
        b = (low + high) / 2;
        const double step = k->pd_decode * decode_step(c, b), leave = b * ranks / (osl * step);

        if (leave < rate && b * ranks + leave * first < all) {
            low = b;
        } else {
            high = b;
        }
    }
    b = high;
    memcpy(r->prefill_work_s, aside.prefill_work_s, sizeof(r->prefill_work_s));
    c->prefill_flops = other.prefill_flops;
    r->running = b * c->plan->adp;
    r->decode_step_s = k->pd_decode * decode_step(c, b);
    r->prefill_s = tp;
    r->tpot_s = r->decode_step_s;
    r->requests_ps = r->running / (osl * r->tpot_s);
    r->ttft_s = fmax((all - b * ranks) / (r->requests_ps * c->plan->replicas), first) + r->tpot_s;
    r->e2e_s = r->ttft_s + (osl - 1) * r->tpot_s;
}

/* ---- all of it ---- */

static struct planner_band band_of(const struct scene *c, enum planner_figure figure, double value)
{
    const struct planner_band b = planner_bands[c->load->kind][figure];

    return (struct planner_band){ value * b.p10, value * b.p90 };
}

static void finish(struct scene *c)
{
    struct planner_result *r = c->r;
    const struct planner_plan *p = c->plan;
    const double ranks = (double)p->adp, steps = 1 / fmax(r->tpot_s, 1e-9);

    r->kv_used_bytes =
        fmin(r->running / ranks, r->fits_requests) * (r->kv_budget_bytes / r->fits_requests);
    r->mfu = (r->requests_ps / ranks * c->prefill_flops + steps * c->decode_flops) /
             (c->s->peak_flops * p->pp);
    r->mbu = c->decode_bytes / (r->decode_step_s * c->s->chip->bandwidth_gbps * 1e9 * p->pp);
    r->requests_ps *= p->replicas;
    r->output_tokens_ps = r->requests_ps * c->load->osl;
    r->total_tokens_ps = r->requests_ps * (c->load->isl + c->load->osl);
    r->output_tokens_ps_chip = r->output_tokens_ps / r->chips;
    r->output_tokens_ps_user = steps;
    r->ttft_band = band_of(c, PLANNER_FIGURE_TTFT, r->ttft_s);
    r->tpot_band = band_of(c, PLANNER_FIGURE_TPOT, r->tpot_s);
    r->throughput_band = band_of(c, PLANNER_FIGURE_THROUGHPUT, r->output_tokens_ps);
}

void planner_evaluate(const struct planner_setup *s, const struct planner_plan *plan,
                      const struct planner_load *load, struct planner_result *ret)
{
    struct scene c = { .s = s, .plan = plan, .load = load, .r = ret };
    double rank_batch;

    memset(ret, 0, sizeof(*ret));
    c.chunk = load->chunk_tokens > 0 ? load->chunk_tokens : planner_default_chunk(s->engine);
    if (!is_plan(s->model, plan, ret)) {
        return;
    }
    ret->chips = planner_plan_chips(plan);
    if (load->kind == PLANNER_DISAGGREGATED) {
        ret->chips += planner_plan_chips(&load->prefill);
    }
    rank_batch = load->concurrency / plan->replicas / plan->adp;
    if (!fits(&c, rank_batch)) {
        return;
    }
    switch (load->kind) {
    case PLANNER_OPEN_LOOP:
        open_loop(&c);
        break;
    case PLANNER_OFFLINE:
        offline(&c);
        break;
    case PLANNER_STATIC:
        one_batch(&c, rank_batch);
        break;
    case PLANNER_DISAGGREGATED:
        disaggregated(&c, rank_batch);
        break;
    default:
        closed_loop(&c, rank_batch);
    }
    finish(&c);
}

/* ---- words ---- */

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
    default:
        break;
    }
}
