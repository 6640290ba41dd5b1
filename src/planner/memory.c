// SPDX-License-Identifier: Apache-2.0
/*
 * What lies in a chip's memory: weights by tensor, KV cache by layer kind, activations and what the
 * runtime takes (recipe 2). The fullest chip decides.
 */
#include "planner/planner_int.h"

#include <math.h>

/* ---- parameters ---- */

static double attention_params(const struct planner_model *m)
{
    const double h = m->hidden, heads = m->heads;

    if (m->kv_lora > 0) {
        const double query = heads * (m->qk_nope + m->qk_rope);

        return (m->q_lora > 0 ? m->q_lora * (h + query) : h * query) +
               h * (m->kv_lora + m->qk_rope) + m->kv_lora * heads * (m->qk_nope + m->v_dim) +
               heads * m->v_dim * h;
    }
    return h * m->head_dim * (2.0 * heads + 2.0 * m->kv_heads);
}

static double mlp_params(const struct planner_model *m, double inner)
{
    return (m->plain_mlp ? 2.0 : 3.0) * m->hidden * inner;
}

static double embedding_params(const struct planner_model *m)
{
    return (m->tied ? 1.0 : 2.0) * m->vocab * m->hidden;
}

static double params_with(const struct planner_model *m, double experts)
{
    const double dense = m->experts > 0 ? m->dense_layers : m->layers;
    const double sparse = m->layers - dense;

    return m->layers * attention_params(m) + dense * mlp_params(m, m->inter) +
           sparse * (experts * mlp_params(m, m->moe_inter) + mlp_params(m, m->shared_inter) +
                     (double)m->experts * m->hidden) +
           embedding_params(m);
}

double planner_params(const struct planner_model *m)
{
    return params_with(m, m->experts);
}

double planner_active_params(const struct planner_model *m)
{
    return params_with(m, m->top_k);
}

double planner_kv_bytes_per_token(const struct planner_model *m)
{
    if (m->kv_lora > 0) {
        return 2.0 * m->layers * (m->kv_lora + m->qk_rope);
    }
    return 4.0 * m->layers * m->kv_heads * m->head_dim;
}

void planner_layer_weights(const struct planner_model *m, struct planner_weights *ret)
{
    const double h = m->hidden;

    *ret = (struct planner_weights){ 0 };
    if (m->kv_lora > 0) {
        ret->attn_whole = h * m->q_lora + h * (m->kv_lora + m->qk_rope);
        ret->attn_split = attention_params(m) - ret->attn_whole;
    } else {
        ret->attn_split = 2.0 * h * m->head_dim * m->heads;
        ret->attn_kv = 2.0 * h * m->head_dim * m->kv_heads;
    }
    ret->mlp = mlp_params(m, m->inter);
    ret->expert = mlp_params(m, m->moe_inter);
    ret->shared = mlp_params(m, m->shared_inter);
    ret->router = (double)m->experts * h;
}

/* ---- on a chip ---- */

/* A chip holds at least one whole KV head. */
static double kv_share(const struct planner_model *m, unsigned tp)
{
    return m->kv_heads == 0 ? 1 : ceil((double)m->kv_heads / tp) / m->kv_heads;
}

static double layer_bytes(const struct planner_setup *s, const struct planner_plan *p, bool sparse)
{
    const struct planner_model *m = s->model;
    struct planner_weights w;
    double bytes;

    planner_layer_weights(m, &w);
    bytes = s->attn_bytes * (w.attn_split / p->tp + w.attn_kv * kv_share(m, p->tp) + w.attn_whole);
    if (!sparse) {
        return bytes + s->mlp_bytes * w.mlp / p->tp;
    }
    return bytes + s->expert_bytes * w.expert * m->experts / (p->ep * p->moe_tp) +
           s->mlp_bytes * w.shared / p->tp + 2 * w.router;
}

/* So many layers that lie together. In a mixture of experts the dense ones come first, so that
 * others have none of them; where they are half of all they take turns with the rest. */
static double layers_bytes(const struct planner_setup *s, const struct planner_plan *p,
                           unsigned count)
{
    const struct planner_model *m = s->model;
    const double all = m->experts > 0 ? m->layers - m->dense_layers : 0;
    const double sparse = 2 * all <= m->layers ? ceil(count * all / m->layers) : fmin(count, all);
    const double dense = count - sparse;

    return (sparse > 0 ? sparse * layer_bytes(s, p, true) : 0) +
           (dense > 0 ? dense * layer_bytes(s, p, false) : 0);
}

/* The fullest stage: the layers are dealt so that the head counts as one. */
static double stage_bytes(const struct planner_setup *s, const struct planner_plan *p)
{
    const struct planner_model *m = s->model;
    const double table = s->embed_bytes * m->vocab * m->hidden / p->tp;
    const bool on_host = s->engine == PLANNER_ENGINE_LLAMACPP; /* llama.cpp leaves it there */
    const double embedding = on_host ? 0 : table;
    const unsigned most = (m->layers + p->pp - 1) / p->pp;
    const unsigned last = (m->layers + 1 + p->pp - 1) / p->pp - 1;

    if (p->pp == 1) {
        return layers_bytes(s, p, m->layers) + embedding + (m->tied && !on_host ? 0 : table);
    }
    return fmax(layers_bytes(s, p, most) + embedding, layers_bytes(s, p, last) + table);
}

unsigned planner_default_chunk(enum planner_engine e)
{
    return e == PLANNER_ENGINE_LLAMACPP ? 512 : 8192;
}

void planner_memory(const struct planner_setup *s, const struct planner_plan *plan, double batch,
                    unsigned chunk, struct planner_memory *ret)
{
    const bool wide = s->model->experts > 0 || s->model->kv_lora > 0;
    const double by_tp[] = { 11, 6.5, 5, 5 };
    const unsigned step = plan->tp >= 8 ? 3 : plan->tp >= 4 ? 2 : plan->tp >= 2 ? 1 : 0;
    const double tokens = fmax(chunk, batch);

    ret->weights = stage_bytes(s, plan);
    ret->activation = 2 * tokens * s->model->hidden * by_tp[plan->sp ? 0 : step] * (wide ? 2 : 1);
    ret->activation = fmax(70e6, ret->activation / (plan->sp ? plan->tp : 1));
    if (s->engine == PLANNER_ENGINE_LLAMACPP) {
        ret->activation = 4.0 * tokens * (s->model->hidden + s->model->vocab / 4.0);
        ret->fixed = 0.1e9;
    } else {
        ret->fixed = s->engine == PLANNER_ENGINE_TRTLLM ? 2.0e9 : 1.2e9;
        ret->fixed += plan->tp * plan->adp > 1 ? 0.36e9 : 0;
    }
}

double planner_request_kv(const struct planner_setup *s, const struct planner_plan *plan,
                          double tokens, unsigned chunk)
{
    const struct planner_model *m = s->model;
    const double page = s->engine == PLANNER_ENGINE_LLAMACPP ? 256 : 16;
    const double held = ceil(tokens / page) * page;
    const double stage = ceil((double)m->layers / plan->pp) / m->layers;
    const double windowed = fmin(held, m->window + (double)chunk);
    double bytes;

    if (m->kv_lora > 0) {
        bytes = m->layers * held * (m->kv_lora + m->qk_rope) * s->kv_bytes;
        bytes += m->indexer ? 128.0 * m->layers * held : 0;
    } else {
        bytes = 2.0 * s->kv_bytes * ceil((double)m->kv_heads / plan->tp) * m->head_dim *
                ((m->layers - m->window_layers) * held + m->window_layers * windowed);
    }
    return bytes * stage;
}
