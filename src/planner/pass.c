// SPDX-License-Identifier: Apache-2.0
/*
 * The time of one pass through the model: every kind of work of a layer by the soft roofline
 * t = start + ((F/flops)^p + (B/bytes_ps)^p)^(1/p), collectives by alpha + f S / bandwidth
 * (recipe 3, 4 and 5).
 */
#include "planner/planner_int.h"

#include <math.h>

const char *const planner_work_names[PLANNER_WORK_MAX_] = {
    [PLANNER_WORK_GEMM] = "gemm",
    [PLANNER_WORK_ATTENTION] = "attention",
    [PLANNER_WORK_EXPERTS] = "experts",
    [PLANNER_WORK_COMM] = "communication",
    [PLANNER_WORK_ELEMENTWISE] = "elementwise",
    [PLANNER_WORK_HOST] = "host",
};

/* What a pass adds up. */
struct sum {
    const struct planner_setup *s;
    const struct planner_plan *plan;
    double *work;
    double bytes, flops;
    bool unpack;
};

static double soft_max(double a, double b, double p)
{
    const double high = fmax(a, b), low = fmin(a, b);

    if (low < 1e-4 * high) {
        return high;
    }
    if (p == 1) {
        return high + low;
    }
    /* seven digits are plenty here, and twice as quick */
    return high * (double)exp2f(log2f(1 + exp2f((float)p * log2f((float)(low / high)))) / (float)p);
}

static void add_cost(struct sum *t, enum planner_work kind, const struct planner_cost *c,
                     double times, double flops, double bytes)
{
    t->work[kind] += times * (c->start_s + soft_max(flops / c->flops, bytes / c->bytes_ps, c->p));
    t->flops += times * flops;
}

/* times GEMMs of m x n x k, weights of so many bytes each. */
static void add_gemm(struct sum *t, const struct planner_cost *c, double times, double m, double n,
                     double k, double weight_bytes)
{
    add_cost(t, PLANNER_WORK_GEMM, c, times, 2 * m * n * k, n * k * weight_bytes + 2 * m * (n + k));
    t->bytes += times * n * k * weight_bytes;
    if (t->unpack && m > 32) { /* llama.cpp's CUDA path makes 16-bit weights of them first */
        t->work[PLANNER_WORK_GEMM] +=
            times * n * k * t->s->k->gguf_unpack / (t->s->chip->bandwidth_gbps * 1e9);
    }
}

/* ---- attention ---- */

/* Share of the bf16 peak that prefill attention reaches, by log2 of the length from 256 on,
 * measured (recipe 4). */
static double prefill_share(const struct planner_setup *s, double length)
{
    static const double by_generation[PLANNER_GEN_MAX_][7] = {
        [PLANNER_GEN_OTHER] = { .17, .27, .36, .42, .47, .50, .52 },
        [PLANNER_GEN_AMPERE] = { .20, .30, .39, .46, .51, .54, .56 },
        [PLANNER_GEN_ADA] = { .18, .32, .42, .48, .52, .55, .56 },
        [PLANNER_GEN_HOPPER] = { .11, .18, .27, .36, .44, .49, .53 },
        [PLANNER_GEN_BLACKWELL] = { .06, .11, .19, .27, .35, .42, .47 },
        [PLANNER_GEN_CDNA] = { .11, .18, .27, .36, .42, .45, .47 },
        [PLANNER_GEN_TPU] = { .11, .18, .27, .36, .42, .45, .47 },
        [PLANNER_GEN_APPLE] = { .17, .27, .36, .42, .47, .50, .52 },
    };
    static const double hopper_vllm[7] = { .17, .27, .39, .52, .61, .68, .71 };
    const bool fast =
        s->chip->generation == PLANNER_GEN_HOPPER && s->engine != PLANNER_ENGINE_TRTLLM;
    const double *row = fast ? hopper_vllm : by_generation[s->chip->generation];
    const double at = fmin(fmax(log2(length) - 8, 0), 6);
    const int i = at >= 5 ? 5 : (int)at;

    if (s->engine == PLANNER_ENGINE_LLAMACPP || s->model->kv_lora > 0) {
        return 1; /* these have a constant share */
    }
    return row[i] + (row[i + 1] - row[i]) * (at - i);
}

/* Pairs of a new token with those before it and itself, n new after p, seen through a window. */
static double pairs(double n, double p, double window)
{
    if (window <= 0 || p + n <= window) {
        return n * p + n * (n + 1) / 2;
    }
    if (p >= window) {
        return n * window;
    }
    return pairs(window - p, p, 0) + (n - (window - p)) * window;
}

static void add_prefill_attention(struct sum *t, const struct planner_pass *pass, double layers,
                                  double window)
{
    const struct planner_setup *s = t->s;
    const struct planner_model *m = s->model;
    const double per_sequence = pass->tokens / pass->sequences;
    const double even = pairs(per_sequence, pass->context, window);
    const double seen = pass->sequences * (window > 0 ? even : even * (1 + pass->uneven));
    const double length = pass->context + per_sequence;
    const double dim = m->kv_lora > 0 ? m->qk_nope + m->qk_rope + m->v_dim : 2.0 * m->head_dim;
    const double flops = 2 * dim * m->heads / t->plan->tp * seen;
    const double share = prefill_share(s, window > 0 ? fmin(length, 2 * window) : length);

    t->work[PLANNER_WORK_ATTENTION] += layers * (s->attn_start_s + flops / (s->attn_peak * share));
    t->flops += layers * flops;
}

static double kv_bytes_of(const struct planner_setup *s, unsigned tp, double context, double window)
{
    const struct planner_model *m = s->model;

    if (m->kv_lora > 0) {
        return context * (m->kv_lora + m->qk_rope) * s->kv_bytes;
    }
    return 2 * (window > 0 ? fmin(context, window) : context) * ceil((double)m->kv_heads / tp) *
           m->head_dim * s->kv_bytes;
}

static void add_decode_attention(struct sum *t, const struct planner_pass *pass, double layers,
                                 double window)
{
    const struct planner_setup *s = t->s;
    const struct planner_model *m = s->model;
    const double heads = (double)m->heads / t->plan->tp;
    const double context = m->indexer ? fmin(pass->context, 2048) : pass->context;
    const double bytes = pass->sequences * kv_bytes_of(s, t->plan->tp, context, window);
    const double seen = window > 0 ? fmin(context, window) : context;
    double flops, seconds = bytes / s->attn_read_ps;

    if (m->kv_lora > 0) {
        flops = 2 * heads * seen * (2.0 * m->kv_lora + m->qk_rope) * pass->tokens;
        seconds = soft_max(seconds, flops / s->mla_flops, 2);
    } else {
        flops = 4 * heads * m->head_dim * seen * pass->tokens;
        seconds = fmax(seconds, flops / (0.3 * s->chip->bf16_tflops * 1e12));
    }
    t->work[PLANNER_WORK_ATTENTION] += layers * (s->attn_start_s + seconds);
    t->bytes += layers * bytes;
    t->flops += layers * flops;
}

static void add_attention(struct sum *t, const struct planner_pass *pass)
{
    const struct planner_model *m = t->s->model;
    const double full = m->layers - m->window_layers;

    if (pass->prefill) {
        add_prefill_attention(t, pass, full, 0);
    } else {
        add_decode_attention(t, pass, full, 0);
    }
    if (m->window_layers > 0 && pass->prefill) {
        add_prefill_attention(t, pass, m->window_layers, m->window);
    } else if (m->window_layers > 0) {
        add_decode_attention(t, pass, m->window_layers, m->window);
    }
}

static void add_projections(struct sum *t, const struct planner_pass *pass)
{
    const struct planner_setup *s = t->s;
    const struct planner_model *m = s->model;
    const double tp = t->plan->tp, T = pass->tokens, heads = m->heads / tp, b = s->attn_bytes;
    const struct planner_cost *c = &s->attn_gemm;

    if (m->kv_lora == 0) {
        const double kv = ceil(m->kv_heads / tp);

        add_gemm(t, c, m->layers, T, (heads + 2 * kv) * m->head_dim, m->hidden, b);
        add_gemm(t, c, m->layers, T, m->hidden, heads * m->head_dim, b);
        return;
    }
    add_gemm(t, c, m->layers, T, m->q_lora + m->kv_lora + m->qk_rope, m->hidden, b);
    add_gemm(t, c, m->layers, T, heads * (m->qk_nope + m->qk_rope),
             m->q_lora > 0 ? m->q_lora : m->hidden, b);
    if (pass->prefill) {
        add_gemm(t, c, m->layers, T, heads * (m->qk_nope + m->v_dim), m->kv_lora, b);
    } else { /* absorbed: two batched products, a head each */
        add_gemm(t, c, m->layers, T, heads * m->qk_nope, m->kv_lora, b);
        add_gemm(t, c, m->layers, T, heads * m->v_dim, m->kv_lora, b);
    }
    add_gemm(t, c, m->layers, T, m->hidden, heads * m->v_dim, b);
}

/* ---- MLP and experts ---- */

static void add_mlp(struct sum *t, double layers, double tokens, double inner)
{
    const struct planner_setup *s = t->s;
    const double i = inner / t->plan->tp, h = s->model->hidden;

    if (layers <= 0 || inner <= 0) {
        return;
    }
    add_gemm(t, &s->mlp_gemm, layers, tokens, (s->model->plain_mlp ? 1 : 2) * i, h, s->mlp_bytes);
    add_gemm(t, &s->mlp_gemm, layers, tokens, h, i, s->mlp_bytes);
}

/* Share of the experts that so many tokens touch: some are asked for far more often than others, so
 * that with a popularity of gamma distribution (mean 1, variance v) 1 - (1 + v T k/E)^(-1/v). */
static double touched_share(const struct planner_setup *s, double tokens)
{
    const double v = s->k->moe_skew, mean = tokens * s->model->top_k / s->model->experts;

    return 1 - (double)exp2f(log2f((float)(1 + v * mean)) / (float)-v);
}

/* Distinct experts that the tokens touch on one rank, and the busiest rank's share of the tokens.
 */
static void add_experts(struct sum *t, double layers, const struct planner_pass *pass)
{
    const struct planner_setup *s = t->s;
    const struct planner_model *m = s->model;
    const double ep = t->plan->ep, inner = (double)m->moe_inter / t->plan->moe_tp;
    const double touched = m->experts / ep * touched_share(s, pass->everywhere);
    double tokens = pass->everywhere * m->top_k / ep;
    double bytes;

    if (ep > 1) {
        tokens += sqrt(2 * log(ep) * tokens); /* tokens * (1 + sqrt(2 ln(ep) / tokens)) */
    }
    bytes = touched * 3 * m->hidden * inner * s->expert_bytes;
    t->bytes += layers * bytes;
    bytes += tokens * ((2.0 + 4 * s->k->moe_permute) * m->hidden + 3 * inner) * 2;
    t->flops -= layers * 6 * touched * s->k->moe_tile * m->hidden * inner; /* no useful work */
    add_cost(t, PLANNER_WORK_EXPERTS, &s->expert_gemm, layers,
             6 * (tokens + touched * s->k->moe_tile) * m->hidden * inner, bytes);
    add_gemm(t, &s->head_gemm, layers, pass->tokens, m->experts, m->hidden, 2);
}

/* ---- wires ---- */

unsigned planner_wire_index(double ranks)
{
    unsigned i = 0;

    while (i + 1 < PLANNER_RANKS_LOG_MAX && (double)(1U << i) < ranks) {
        i++;
    }
    return i;
}

static double wire_time(const struct planner_wire *w, double share, double bytes)
{
    return w->alpha_s + share * bytes / w->bytes_ps;
}

double planner_all_reduce(const struct planner_setup *s, unsigned ranks, double bytes)
{
    const unsigned domain = s->chip->scaleup_chips < 1 ? 1 : s->chip->scaleup_chips;
    const unsigned near = ranks < domain ? ranks : domain, far = (ranks + near - 1) / near;
    const unsigned i = planner_wire_index(near);
    double t = 0;

    if (near > 1) {
        const double share = 2.0 * (near - 1) / near;

        t = fmin(wire_time(&s->quick[i], share, bytes), wire_time(&s->bulk[i], share, bytes));
    }
    if (far > 1) { /* the phases follow one another; each chip carries its part across */
        t += wire_time(&s->across, 2.0 * (far - 1) / far, bytes / near);
    }
    return t;
}

/* What follows a product that tensor parallelism cut: an all-reduce, or with sequence parallelism
 * a reduce-scatter and an all-gather of the same bytes. */
static double join_time(const struct planner_setup *s, const struct planner_plan *p, double bytes)
{
    if (s->topology.level_count > 0) {
        return planner_topology_all_reduce(s, 1, p->tp, bytes);
    }
    if (!p->sp || p->tp > s->chip->scaleup_chips) {
        return planner_all_reduce(s, p->tp, bytes);
    }
    return wire_time(&s->parted[planner_wire_index(p->tp)], 2.0 * (p->tp - 1) / p->tp, bytes);
}

/* Tokens to their experts' ranks and back: each goes k times, or once to every rank, whichever is
 * less; back at 16 bits. */
static double all_to_all(const struct planner_setup *s, const struct planner_plan *p,
                         const struct planner_pass *pass)
{
    const unsigned ranks = p->tp * p->adp, domain = s->chip->scaleup_chips;
    const double h = s->model->hidden, k = s->model->top_k;
    const double there = s->expert_bytes <= 1 ? 1 : 2;
    const double copies = fmin(pass->tokens * k * (ranks - 1) / ranks, pass->tokens * (ranks - 1));
    const double bytes = copies * h * (there + 2) / p->tp;
    double t = 2 * s->k->moe_route_us * 1e-6;

    if (s->topology.level_count > 0) {
        return t + planner_topology_all_to_all(s, 1, ranks, bytes);
    }
    t += bytes / s->bulk[3].bytes_ps;
    if (ranks > domain) {
        const double off = 1 - (double)domain / ranks;

        t = fmax(t, off * bytes / s->across.bytes_ps + 2 * s->k->route_far_us * 1e-6);
    }
    return t;
}

static double hop_time(const struct planner_setup *s, const struct planner_plan *p, double bytes)
{
    if (s->engine == PLANNER_ENGINE_LLAMACPP) {
        return s->k->gguf_split_ms * 1e-3;
    }
    if (s->topology.level_count > 0) {
        return planner_topology_p2p(s, p->tp * p->adp, bytes / p->tp);
    }
    return wire_time(&s->bulk[1], 1, bytes / p->tp);
}

static void add_wires(struct sum *t, const struct planner_pass *pass, double sparse)
{
    const struct planner_setup *s = t->s;
    const struct planner_plan *p = t->plan;
    const double bytes = 2 * pass->tokens * s->model->hidden, layers = s->model->layers;
    double seconds = 0;

    if (p->tp > 1) {
        seconds += join_time(s, p, bytes) * (layers + (p->adp > 1 ? layers - sparse : layers));
    }
    if (p->adp > 1 && sparse > 0) {
        seconds += sparse * all_to_all(s, p, pass);
    }
    if (p->pp > 1) {
        seconds += (p->pp - 1) * hop_time(s, p, bytes);
    }
    t->work[PLANNER_WORK_COMM] += seconds;
}

/* ---- all of it ---- */

double planner_work_sum(const double work[PLANNER_WORK_MAX_])
{
    double t = 0;

    for (int i = 0; i < PLANNER_WORK_MAX_; i++) {
        t += work[i];
    }
    return t;
}

static bool unpacks(const struct planner_setup *s)
{
    return s->engine == PLANNER_ENGINE_LLAMACPP && s->format != PLANNER_BF16 &&
           s->chip->generation != PLANNER_GEN_APPLE;
}

void planner_pass_time(const struct planner_setup *s, const struct planner_plan *plan,
                       const struct planner_pass *pass, double work[PLANNER_WORK_MAX_],
                       double *ret_bytes, double *ret_flops)
{
    const struct planner_model *m = s->model;
    const double sparse = m->experts > 0 ? m->layers - m->dense_layers : 0;
    const double elementwise = s->k->elementwise_n * m->layers;
    const double own = plan->sp ? fmax(pass->tokens / plan->tp, 1) : pass->tokens;
    struct sum t = { s, plan, work, 0, 0, unpacks(s) };

    for (int i = 0; i < PLANNER_WORK_MAX_; i++) {
        work[i] = 0;
    }
    add_projections(&t, pass);
    add_attention(&t, pass);
    add_mlp(&t, m->layers - sparse, pass->tokens, m->inter);
    if (sparse > 0) {
        add_mlp(&t, sparse, pass->tokens, m->shared_inter);
        add_experts(&t, sparse, pass);
    }
    add_gemm(&t, &s->head_gemm, 1, pass->logits, (double)m->vocab / plan->tp, m->hidden,
             s->embed_bytes);
    add_wires(&t, pass, sparse);
    work[PLANNER_WORK_ELEMENTWISE] =
        elementwise * (s->elementwise_s + 4 * own * m->hidden / s->elementwise_ps);
    work[PLANNER_WORK_HOST] = s->host_s;
    if (m->kv_lora > 0) {
        work[PLANNER_WORK_ATTENTION] += m->layers * s->k->mla_us * 1e-6;
    }
    if (s->engine == PLANNER_ENGINE_LLAMACPP) {
        work[PLANNER_WORK_HOST] += m->layers * s->k->gguf_layer_us * 1e-6;
    } else if (!pass->prefill) {
        work[PLANNER_WORK_HOST] += pass->sequences * s->k->host_seq_us * 1e-6;
    }
    if (ret_bytes) {
        *ret_bytes = t.bytes;
    }
    if (ret_flops) {
        *ret_flops = t.flops;
    }
}
