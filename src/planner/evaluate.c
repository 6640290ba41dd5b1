// SPDX-License-Identifier: Apache-2.0
/*
 * One plan under one load: does it fit, how many requests run at once, and from the times of a
 * decode step and of a prefill what a user and an owner see (recipe 6). Numbers of one attention
 * rank carry "rank" in their names; a replica has adp of them.
 */
#include "planner/planner_int.h"

#include <math.h>
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
    double prefill_busy_s;  /* what a prefill costs the rank: with pp less than it takes */
    double prefill_share_s; /* of one of those that go through prefill together */
    double plain_step_s;    /* what the last decode step would take without speculation */
    double steps;           /* decode steps of one request: its output over the tokens of a step */
};

/* ---- steps ---- */

static void scale_work(double work[PLANNER_WORK_MAX_], double times)
{
    for (int i = 0; i < PLANNER_WORK_MAX_; i++) {
        work[i] *= times;
    }
}

/* What a running request holds, seen at any moment: who writes much is seen for longer, so that the
 * mean of the squares counts. */
static double mean_context(const struct planner_load *l)
{
    return l->isl + l->osl / 2 * (1 + l->osl_cv * l->osl_cv);
}

/* One pass of decode with so many queries a sequence. */
static double decode_pass(struct scene *c, double rank_sequences, double queries)
{
    const struct planner_plan *p = c->plan;
    const double flying = rank_sequences >= p->pp ? p->pp : 1;
    const double sequences = fmax(rank_sequences / flying, 1);
    const struct planner_pass pass = {
        .tokens = sequences * queries,
        .everywhere = fmax(rank_sequences / flying * p->adp, 1) * queries,
        .sequences = sequences,
        .context = mean_context(c->load),
        .logits = sequences * queries,
    };

    planner_pass_time(c->s, p, &pass, c->r->decode_work_s, &c->decode_bytes, &c->decode_flops);
    if (flying > 1) { /* the fullest stage sets the beat */
        const double layers = c->s->model->layers;

        return ceil(layers / p->pp) * p->pp / layers;
    }
    return 1;
}

/* Seconds of a decode step with so many sequences on every rank (fewer than one: some ranks idle).
 * With speculation: the drafts, one after the other, and the pass that verifies them. */
static double decode_step(struct scene *c, double rank_sequences)
{
    const struct planner_load *l = c->load;
    const struct planner_chip *chip = c->s->chip;
    double *work = c->r->decode_work_s;
    double times = chip->decode_times > 0 ? chip->decode_times : 1, draft_s = 0;

    times *= planner_slowest(c->s->k->adp_uneven, c->plan->adp);
    if (l->draft_tokens > 0) {
        const double share = l->draft_share > 0 ? l->draft_share : 1.0 / c->s->model->layers;
        const double beat = decode_pass(c, rank_sequences, 1);

        draft_s = l->draft_tokens * share * times * beat * planner_work_sum(work);
        c->plain_step_s = times * beat * planner_work_sum(work);
    }
    times *= decode_pass(c, rank_sequences, l->draft_tokens + 1.0);
    if (draft_s > 0) {
        times += draft_s / planner_work_sum(work);
    }
    if (times != 1) {
        scale_work(work, times);
    }
    if (l->draft_tokens == 0) {
        c->plain_step_s = planner_work_sum(work);
    }
    return planner_work_sum(work);
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
        .uneven = c->load->isl_cv * c->load->isl_cv,
    };
    const double times = passes * (c->s->chip->prefill_times > 0 ? c->s->chip->prefill_times : 1) *
                         planner_slowest(c->s->k->adp_prefill, p->adp);
    double t;

    planner_pass_time(c->s, p, &pass, c->r->prefill_work_s, NULL, &c->prefill_flops);
    scale_work(c->r->prefill_work_s, times);
    t = planner_work_sum(c->r->prefill_work_s);
    c->prefill_flops *= passes;
    c->prefill_busy_s = t / p->pp;
    if (c->s->engine == PLANNER_ENGINE_LLAMACPP) { /* its stages overlap in part only */
        const double o = c->s->k->gguf_overlap;

        t *= 1 - o + o * (passes + p->pp - 1) / (passes * p->pp);
    } else {
        t *= (passes + p->pp - 1) / (passes * p->pp);
    }
    c->r->bubble = fmax(1 - c->prefill_busy_s / t, 0);
    return t;
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

    if (c->s->memory_share > 0) {
        return c->s->memory_share * total - used;
    }
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
    /* of lengths that vary, one that is two deviations longer has to fit as well */
    one = planner_request_kv(c->s, c->plan,
                             l->isl * (1 + 2 * l->isl_cv) + l->osl * (1 + 2 * l->osl_cv), c->chunk);
    mean = planner_request_kv(c->s, c->plan, l->isl + held * l->osl * (1 + l->osl_cv * l->osl_cv),
                              c->chunk);
    r->kv_budget_bytes = kv_budget(c, one);
    if (r->kv_budget_bytes <= 0) {
        return refuse(r, PLANNER_WEIGHTS, m.weights + m.activation + m.fixed,
                      (c->s->memory_share > 0 ? c->s->memory_share : 0.97) * r->memory_bytes);
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
 * step as leave it, b / steps, and go through together, or all of a wave where requests come in
 * waves; part of a decode step is saved because the weights are read once for both, but launching a
 * prefill's kernels stops the others, too. */
static double cost_of_prefill(struct scene *c, double b, double burst, double *ret_alone)
{
    const struct planner_coefficients *k = c->s->k;
    const double most = fmax(c->chunk / fmax(c->load->isl, 1), 1);
    const double together = fmin(fmax(fmax(b / c->steps, burst > 0.5 ? burst * b : 1), 1), most);
    double busy = 0;

    if (together > 1) {
        prefill(c, together);
        busy = c->prefill_busy_s;
    }
    *ret_alone = prefill(c, 1);
    busy = together > 1 ? busy : c->prefill_busy_s;
    busy += k->launch * c->s->prefill_host_s * c->s->model->layers / c->plan->pp;
    c->prefill_share_s = busy / together;
    return fmax(busy - k->half * c->plain_step_s, k->floor * busy) / together;
}

/* TPOT = d0 + (b-1) c / osl; TTFT = h L + a Tp (1 + q rho/(1-rho) + w (b-1)/2) + g d0 (b-1)/(b+15):
 * who comes into a crowd waits for some of its steps. With speculation d0 is a step's share for a
 * token. */
static void closed_loop(struct scene *c, double rank_batch)
{
    const struct first_token f = first_token_of(c->s);
    const double b = fmin(rank_batch, fmin(c->r->fits_requests, max_sequences(c->s)));
    const double others = fmax(b - 1, 0), osl = fmax(c->load->osl, 1);
    const double step = decode_step(c, b);
    double tp;
    const double cost = cost_of_prefill(c, b, f.burst, &tp),
                 uneven = 1 + c->load->isl_cv * c->load->isl_cv;
    const double crowd = b * cost / (c->steps * step); /* rho / (1 - rho) */
    struct planner_result *r = c->r;

    r->running = b * c->plan->adp;
    r->decode_step_s = step;
    r->prefill_s = tp;
    r->tpot_s = (step * c->steps + others * cost * (1 - f.burst / 2)) / osl;
    r->ttft_s = f.layer_s * c->s->model->layers +
                f.times * (tp + c->prefill_busy_s * f.queue * crowd * fmin(others, 1) * uneven +
                           c->prefill_share_s * f.burst * others / 2) +
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
    const double step = decode_step(c, b), uneven = 1 + c->load->isl_cv * c->load->isl_cv;
    double tp;
    const double rho = fmin(rank_rate * cost_of_prefill(c, b, 0, &tp), 0.99);
    struct planner_result *r = c->r;

    r->running = b * c->plan->adp;
    r->decode_step_s = step;
    r->prefill_s = tp;
    r->tpot_s = step * c->steps / osl / (1 - rho);
    r->ttft_s = f.layer_s * c->s->model->layers + f.times * tp +
                rank_rate * tp * tp * uneven / (2 * (1 - rho)) + step / 2 / (1 - rho);
    r->e2e_s = r->ttft_s + (osl - 1) * r->tpot_s;
}

/* So many come, and b of them run at once: is there time for their prefills, and are they gone
 * before others need their place? */
static bool keeps_up(struct scene *c, double rank_rate, double b)
{
    open_at(c, rank_rate, b);
    return rank_rate * c->prefill_busy_s < 1 && rank_rate * c->r->e2e_s <= b;
}

/* The highest rate that a rank keeps up with. */
static double capacity(struct scene *c, double most)
{
    double low = 0, high;

    open_at(c, 0, most);
    high = most / c->r->e2e_s;
    for (int i = 0; i < 30; i++) {
        const double rate = (low + high) / 2;

        if (keeps_up(c, rate, most)) {
            low = rate;
        } else {
            high = rate;
        }
    }
    return low;
}

static bool open_loop(struct scene *c)
{
    const double ranks = (double)c->plan->replicas * c->plan->adp;
    const double rate = c->load->rate_per_s / ranks;
    const double most = fmin(c->r->fits_requests, max_sequences(c->s));
    double low = 0, high = most;

    if (!keeps_up(c, rate, most)) {
        const double served = capacity(c, most) * ranks;

        closed_loop(c, most);
        return refuse(c->r, PLANNER_UNSUSTAINABLE, c->load->rate_per_s, served);
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

/* Seconds that b requests of a rank take together: b c + osl d0(b). */
static double round_time(struct scene *c, double b)
{
    const double step = decode_step(c, b), cost = cost_of_prefill(c, b, 0, &c->r->prefill_s);

    c->r->decode_step_s = step;
    return b * (cost + c->s->k->offline_small * 1e-4) + c->steps * step;
}

/* out tok/s = C osl / (C c + osl d0(C)), C as many as memory holds. Of a given number of requests
 * the last round is the smaller one. */
static void offline(struct scene *c)
{
    const double osl = fmax(c->load->osl, 1), ranks = (double)c->plan->adp * c->plan->replicas;
    const double all = c->load->requests / ranks;
    double b = fmin(c->r->fits_requests, max_sequences(c->s)), rest, last = 0;
    struct planner_result *r = c->r;

    if (c->load->concurrency > 0) {
        b = fmin(b, c->load->concurrency / ranks);
    }
    b = all > 0 ? fmin(b, all) : b;
    rest = fmod(all, b);
    if (all > b && rest > 0) {
        last = round_time(c, rest);
    }
    r->running = b * c->plan->adp;
    r->e2e_s = round_time(c, b);
    r->tpot_s = r->e2e_s / osl;
    r->ttft_s = r->prefill_s;
    r->requests_ps = c->s->k->offline * r->running / r->e2e_s;
    if (all > b) {
        r->requests_ps *= all / b / (floor(all / b) + last / r->e2e_s);
    }
}

static void one_batch(struct scene *c, double rank_batch)
{
    const double osl = fmax(c->load->osl, 1);
    struct planner_result *r = c->r;

    r->running = rank_batch * c->plan->adp;
    r->prefill_s = prefill(c, fmax(rank_batch, 1));
    r->decode_step_s = decode_step(c, rank_batch);
    r->ttft_s = r->prefill_s + first_token_of(c->s).layer_s * c->s->model->layers;
    r->tpot_s = r->decode_step_s * c->steps / osl;
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
        const double step = k->pd_decode * decode_step(c, b), leave = b * ranks / (c->steps * step);

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
    r->bubble = aside.bubble;
    r->tpot_s = r->decode_step_s * c->steps / osl;
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

/* What all chips compute in a second, those of the prefill side included, over their peak. */
static double mfu(const struct scene *c, double steps)
{
    const struct planner_plan *p = c->plan;
    const unsigned tp = c->load->kind == PLANNER_DISAGGREGATED ? c->load->prefill.tp : p->tp;
    const double useful = c->decode_flops / (c->load->draft_tokens + 1.0); /* of one token */
    const double prefill = c->r->requests_ps * c->prefill_flops * tp;

    return p->replicas * (prefill + steps * useful * p->tp * p->adp) /
           (c->r->chips * c->s->peak_flops);
}

static void finish(struct scene *c)
{
    struct planner_result *r = c->r;
    const struct planner_plan *p = c->plan;
    const double ranks = (double)p->adp, steps = 1 / fmax(r->tpot_s, 1e-9);

    r->kv_used_bytes =
        fmin(r->running / ranks, r->fits_requests) * (r->kv_budget_bytes / r->fits_requests);
    r->fits_requests *= ranks;
    r->mfu = mfu(c, steps);
    r->mbu = c->decode_bytes / (r->decode_step_s * c->s->chip->bandwidth_gbps * 1e9 * p->pp);
    r->requests_ps *= p->replicas;
    r->output_tokens_ps = r->requests_ps * c->load->osl;
    r->total_tokens_ps = r->requests_ps * (c->load->isl + c->load->osl);
    r->output_tokens_ps_chip = r->output_tokens_ps / r->chips;
    r->output_tokens_ps_user = steps;
    r->joules_per_token = r->chips * c->s->chip->tdp_w / fmax(r->output_tokens_ps, 1e-9);
    r->price_per_million =
        r->chips * c->s->chip->price_hour / 3600 / fmax(r->output_tokens_ps, 1e-9) * 1e6;
    r->ttft_band = band_of(c, PLANNER_FIGURE_TTFT, r->ttft_s);
    r->tpot_band = band_of(c, PLANNER_FIGURE_TPOT, r->tpot_s);
    r->throughput_band = band_of(c, PLANNER_FIGURE_THROUGHPUT, r->output_tokens_ps);
}

/* (1 - a^(n+1)) / (1 - a): the first draft that is not accepted ends the step's tokens. */
static double tokens_per_step(const struct planner_load *l)
{
    const double a = fmin(fmax(l->acceptance, 0), 1), n = l->draft_tokens;

    if (n == 0) {
        return 1;
    }
    return a > 0.999999 ? n + 1 : (1 - pow(a, n + 1)) / (1 - a);
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
    ret->tokens_per_step = tokens_per_step(load);
    c.steps = fmax(load->osl, 1) / ret->tokens_per_step;
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
