// SPDX-License-Identifier: Apache-2.0
/*
 * Models as people write them: our own members, those of seed 001's requests, or a config.json; by
 * name, or {preset: NAME} and what differs. One table says which names a dimension goes by.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "presets/presets_int.h"

enum { DIM_MAX = 1 << 24 };

/* The first name is ours; a config.json is read by the others only. block: the object that the seed
 * puts it into. */
struct dim {
    size_t offset;
    unsigned low, high;
    const char *block;
    const char *names[6];
};

#define AT(member) offsetof(struct planner_model, member)
// clang-format off
static const struct dim dims[] = {
    { AT(layers), 1, 1024, NULL, { "layers", "num_layers", "num_hidden_layers", "n_layer", "n_layers" } },
    { AT(hidden), 1, 1 << 20, NULL, { "hidden", "hidden_size", "n_embd", "d_model" } },
    { AT(inter), 0, DIM_MAX, NULL, { "inter", "intermediate_size", "n_inner", "ffn_hidden_size", "ffn_dim" } },
    { AT(heads), 1, 65536, NULL, { "heads", "num_attention_heads", "n_head", "n_heads" } },
    { AT(kv_heads), 0, 65536, NULL, { "kv_heads", "num_kv_heads", "num_key_value_heads", "multi_query_group_num", "n_head_kv" } },
    { AT(head_dim), 1, 65536, NULL, { "head_dim", "head_dim", "kv_channels" } },
    { AT(vocab), 1, DIM_MAX, NULL, { "vocab", "vocab_size", "padded_vocab_size" } },
    { AT(experts), 0, 65536, "moe_config", { "experts", "num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts" } },
    { AT(top_k), 0, 65536, "moe_config", { "top_k", "num_experts_per_tok", "num_experts_per_token", "moe_top_k", "moe_topk" } },
    { AT(moe_inter), 0, DIM_MAX, "moe_config", { "moe_inter", "expert_intermediate_size", "moe_intermediate_size", "expert_ffn_hidden_size" } },
    { AT(shared_inter), 0, DIM_MAX, NULL, { "shared_inter", "shared_expert_intermediate_size" } },
    { AT(dense_layers), 0, 1024, "moe_config", { "dense_layers", "first_k_dense_replace" } },
    { AT(q_lora), 0, DIM_MAX, "mla_config", { "q_lora", "q_lora_rank" } },
    { AT(kv_lora), 0, DIM_MAX, "mla_config", { "kv_lora", "kv_lora_rank" } },
    { AT(qk_nope), 0, 65536, "mla_config", { "qk_nope", "qk_nope_head_dim" } },
    { AT(qk_rope), 0, 65536, "mla_config", { "qk_rope", "qk_rope_head_dim" } },
    { AT(v_dim), 0, 65536, "mla_config", { "v_dim", "v_head_dim" } },
    { AT(window), 0, DIM_MAX, NULL, { "window", "sliding_window", "attention_chunk_size" } },
    { AT(window_layers), 0, 1024, NULL, { "window_layers" } },
};

/* All that is heard; a slip of the finger beside one of these is a fault. */
static const char *const known[] = {
    "preset", "name", "aliases", "source", "precision", "layers", "hidden", "inter", "heads", "kv_heads", "head_dim", "vocab", "tied", "plain_mlp",
    "experts", "top_k", "moe_inter", "shared_inter", "dense_layers", "q_lora", "kv_lora", "qk_nope", "qk_rope", "v_dim", "indexer", "window",
    "window_layers", "model_name", "model_type", "hidden_size", "num_layers", "num_attention_heads", "num_kv_heads", "intermediate_size", "vocab_size",
    "weight_dtype", "activation_dtype", "dtype", "max_seq_length", "attention_type", "norm_type", "moe_config", "mla_config", "tie_word_embeddings",
    "num_key_value_heads", "sliding_window", "published_b", NULL,
};
static const char *const known_moe[] = {
    "num_experts", "num_experts_per_tok", "expert_capacity_factor", "num_shared_experts", "expert_intermediate_size", "first_k_dense_replace",
    "moe_layer_freq", "moe_tp", "ep_tp_strategy", NULL,
};
static const char *const known_mla[] = {
    "kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "variant", NULL,
};
// clang-format on

int model_dtype(const char *name)
{
    return planner_format_from_string(name);
}

/* ---- dimensions ---- */

/* The object that says this dimension: the seed's block, else the model itself. */
static const struct fields *where(const struct fields *f, const struct fields *moe,
                                  const struct fields *mla, const struct dim *d)
{
    const struct fields *block = !d->block ? NULL : str_eq(d->block, "moe_config") ? moe : mla;

    return block && block->object && fields_has(block, fields_pick(block, d->names)) ? block : f;
}

void model_dims_read(const struct fields *f, struct planner_model *m, bool config)
{
    const struct fields moe = fields_object(f, "moe_config", false);
    const struct fields mla = fields_object(f, "mla_config", false);

    for (size_t i = 0; i < ARRAY_SIZE(dims); i++) {
        const struct dim *d = &dims[i];
        const struct fields *at = where(f, &moe, &mla, d);
        unsigned *value = (unsigned *)(void *)((char *)m + d->offset);

        if (config && !d->names[1]) {
            continue;
        }
        *value =
            fields_count(at, fields_pick(at, d->names + (config ? 1 : 0)), d->low, d->high, *value);
    }
}

/* Layers that have experts: from the first_k-th on, every freq-th. */
static unsigned dense_of(unsigned layers, unsigned first, unsigned freq)
{
    unsigned dense = 0;

    for (unsigned i = 0; i < layers; i++) {
        dense += i < first || i % freq != 0;
    }
    return dense;
}

static void read_moe(const struct fields *f, struct planner_model *m)
{
    const struct fields moe = fields_object(f, "moe_config", false);
    unsigned shared;

    if (!moe.object) {
        return;
    }
    fields_spelling(&moe, known_moe);
    fields_require(&moe, "num_experts");
    if (m->experts == 0) {
        return;
    }
    fields_require(&moe, "num_experts_per_tok");
    if (m->moe_inter == 0) {
        m->moe_inter = m->inter;
    }
    shared = fields_count(&moe, "num_shared_experts", 0, 64, 0);
    if (fields_has(&moe, "num_shared_experts")) {
        m->shared_inter = shared * m->moe_inter;
    }
    m->dense_layers =
        dense_of(m->layers, m->dense_layers, fields_count(&moe, "moe_layer_freq", 1, 1024, 1));
    /* heard and not needed: engines drop no token, and the plan says how experts are divided */
    fields_number(&moe, "expert_capacity_factor", 0, 1e6, 0);
    fields_count(&moe, "moe_tp", 1, 65536, 1);
    fields_text(&moe, "ep_tp_strategy");
}

/* ---- attention ---- */

enum attention { MHA, GQA, MQA, MLA, ATTENTION_MAX_ };

static int attention_from_string(const char *name)
{
    static const char *const names[ATTENTION_MAX_] = { "mha", "gqa", "mqa", "mla" };

    for (int i = 0; i < ATTENTION_MAX_; i++) {
        if (span_eq_nocase(span_of(name), names[i])) {
            return i;
        }
    }
    return -1;
}

static void read_latent(const struct fields *f, struct planner_model *m)
{
    const struct fields mla = fields_object(f, "mla_config", false);

    if (mla.object) {
        fields_spelling(&mla, known_mla);
        fields_require(&mla, "kv_lora_rank");
        fields_text(&mla, "variant");
    }
    if (m->kv_lora > 0) {
        m->kv_heads = m->head_dim = 0;
    }
}

static void read_attention(const struct fields *f, struct planner_model *m)
{
    const int kind = fields_word(f, "attention_type", attention_from_string,
                                 "mha, gqa, mqa or mla are known", -1);

    read_latent(f, m);
    if (kind == MLA && m->kv_lora == 0) {
        fields_fault(f, -EPROTO, "mla_config", "attention_type is mla, so this has to be there");
    }
    if (m->kv_lora > 0) {
        if (kind >= 0 && kind != MLA) {
            fields_fault(f, -EINVAL, "attention_type", "a model with an mla_config is mla");
        }
        return;
    }
    if (m->kv_heads == 0) {
        if (kind == GQA) {
            fields_fault(f, -EPROTO, "num_kv_heads",
                         "attention_type is gqa, so this has to be there");
        }
        m->kv_heads = kind == MQA ? 1 : m->heads;
    }
    if ((kind == MHA && m->kv_heads != m->heads) || (kind == MQA && m->kv_heads != 1)) {
        fields_fault(f, -EINVAL, "num_kv_heads", "%u do not go with attention_type %s", m->kv_heads,
                     kind == MHA ? "mha: it is one for each head" : "mqa: it is one");
    }
    if (m->head_dim == 0 && m->heads > 0 && m->hidden % m->heads == 0) {
        m->head_dim = m->hidden / m->heads;
    }
}

void model_check(const struct fields *f, const struct planner_model *m)
{
    if (m->kv_lora == 0 && m->head_dim == 0) {
        fields_fault(f, -EINVAL, "head_dim",
                     "it is missing, and %u hidden values do not divide by %u heads", m->hidden,
                     m->heads);
    }
    if (m->kv_lora == 0 && (m->kv_heads == 0 || m->heads % m->kv_heads != 0)) {
        fields_fault(f, -EINVAL, "num_kv_heads", "%u heads do not divide by %u KV heads", m->heads,
                     m->kv_heads);
    }
    if (m->kv_lora > 0 && (m->v_dim == 0 || m->qk_nope + m->qk_rope == 0)) {
        fields_fault(f, -EINVAL, "mla_config",
                     "qk_nope_head_dim, qk_rope_head_dim and v_head_dim have to be there");
    }
    if (m->experts > 0 && (m->top_k == 0 || m->top_k > m->experts)) {
        fields_fault(f, -EINVAL, "moe_config.num_experts_per_tok", "%u of %u experts cannot be",
                     m->top_k, m->experts);
    }
    if (m->experts > 0 && m->moe_inter == 0) {
        fields_fault(f, -EINVAL, "moe_config.expert_intermediate_size", "it is missing");
    }
    if (m->experts > 0 && m->dense_layers > m->layers) {
        fields_fault(f, -EINVAL, "moe_config.first_k_dense_replace", "%u of %u layers cannot be",
                     m->dense_layers, m->layers);
    }
    if ((m->experts == 0 || m->dense_layers > 0) && m->inter == 0) {
        fields_fault(f, -EPROTO, "intermediate_size", "this is missing");
    }
    if (m->window_layers > m->layers) {
        fields_fault(f, -EINVAL, "window_layers", "%u of %u layers cannot be", m->window_layers,
                     m->layers);
    }
}

/* ---- words ---- */

static int norm_from_string(const char *name)
{
    return span_eq_nocase(span_of(name), "rmsnorm") || span_eq_nocase(span_of(name), "layernorm")
               ? 0
               : -1;
}

static const char precisions[] = "bf16, fp16, fp8, int8 and int4 are known (fp32 is not served)";

static bool is_narrow(int format)
{
    return format == PLANNER_FP8 || format == PLANNER_INT8 || format == PLANNER_NVFP4;
}

/* Activations of 16 bits go with all weights; those of 8 or 4 with weights of no more bits. */
static void read_precision(const struct fields *f, struct preset_model *ret)
{
    static const char *const names[] = { "precision", "weight_dtype", "dtype", NULL };
    const int activations = fields_word(f, "activation_dtype", model_dtype,
                                        "bf16, fp16, fp8 and int8 are known", PLANNER_BF16);

    ret->format = fields_word(f, fields_pick(f, names), model_dtype, precisions, ret->format);
    if (activations != PLANNER_BF16 && !is_narrow(activations)) {
        fields_fault(f, -EINVAL, "activation_dtype", "no engine computes with %s activations",
                     planner_format_name((enum planner_format)activations));
    } else if (activations != PLANNER_BF16 && (ret->format < 0 || ret->format == PLANNER_BF16)) {
        fields_fault(f, -EINVAL, "activation_dtype",
                     "activations of fewer bits than the weights: say weight_dtype %s too",
                     planner_format_name((enum planner_format)activations));
    }
}

static void check_kind(const struct fields *f, const struct planner_model *m)
{
    const char *type = fields_text(f, "model_type");

    if (!type || !fields_has(f, "hidden_size")) {
        return;
    }
    if (str_eq(type, "moe") && m->experts == 0) {
        fields_fault(f, -EPROTO, "moe_config", "model_type is moe, so this has to be there");
    }
    if (str_eq(type, "dense") && m->experts > 0) {
        fields_fault(f, -EINVAL, "model_type", "a model with %u experts is no dense one",
                     m->experts);
    }
}

static void read_names(const struct fields *f, struct preset_model *ret)
{
    static const char *const names[] = { "name", "model_name", NULL };
    const char *name = fields_text(f, fields_pick(f, names)), *source = fields_text(f, "source");

    if (name && *name) {
        preset_name_copy(ret->name, name);
    } else if (!*ret->name) {
        preset_name_copy(ret->name, "unnamed");
    }
    if (source || !*ret->source) {
        preset_name_copy(ret->source, source ? source : "given");
    }
}

/* ---- a model ---- */

static bool find_preset(const struct presets *p, const struct fields *f, const char *member,
                        const char *name, struct preset_model *ret)
{
    const char *near[3] = { book_near_model(p, name), "", "" };
    const size_t own = near[0] ? 1 : 0;

    if (presets_find_model(p, name, ret)) {
        return true;
    }
    planner_near_models(name, near + own, ARRAY_SIZE(near) - own);
    fields_fault(f, -EINVAL, member, "there is no model '%.64s'; the nearest are %s, %s, %s", name,
                 near[0], near[1], near[2]);
    return false;
}

/* A name without dimensions is that of a preset. */
static bool read_base(const struct presets *p, const struct fields *f, struct preset_model *ret)
{
    static const char *const layers[] = { "layers", "num_layers", "num_hidden_layers", NULL };
    static const char *const hidden[] = { "hidden", "hidden_size", NULL };
    static const char *const names[] = { "preset", "model_name", "name", NULL };
    const char *member = fields_pick(f, names), *name;

    if (!fields_has(f, "preset") &&
        (fields_has(f, fields_pick(f, layers)) || fields_has(f, fields_pick(f, hidden)))) {
        return false;
    }
    name = fields_text(f, member);
    if (!name || (!fields_has(f, "preset") && !presets_model(p, name))) {
        return false;
    }
    return find_preset(p, f, member, name, ret);
}

static void require_dims(const struct fields *f)
{
    static const char *const own[] = { "layers", "hidden", "heads", "vocab" };
    static const char *const seed[] = { "num_layers", "hidden_size", "num_attention_heads",
                                        "vocab_size" };
    const bool ours = fields_has(f, "layers") || fields_has(f, "hidden");

    for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
        const char *const pair[] = { own[i], seed[i], NULL };

        if (!fields_has(f, fields_pick(f, pair))) {
            fields_require(f, ours ? own[i] : seed[i]);
        }
    }
}

/* A window of which nobody says more is one of all layers. */
static void read_dims(const struct fields *f, struct preset_model *ret)
{
    static const char *const tied[] = { "tied", "tie_word_embeddings", NULL };
    struct planner_model *m = &ret->model;

    model_dims_read(f, m, false);
    m->tied = fields_bool(f, fields_pick(f, tied), m->tied);
    m->plain_mlp = fields_bool(f, "plain_mlp", m->plain_mlp);
    m->indexer = fields_bool(f, "indexer", m->indexer);
    read_moe(f, m);
    read_attention(f, m);
    if (m->window == 0) {
        m->window_layers = 0;
    } else if (!fields_has(f, "window_layers") && m->window_layers == 0) {
        m->window_layers = m->layers;
    }
}

static void read_object(const struct presets *p, const struct fields *f, struct preset_model *ret)
{
    const bool based = read_base(p, f, ret);

    if (!based && model_is_config(f->object)) {
        model_config_read(f, ret);
        read_names(f, ret);
        ret->format = fields_word(f, "precision", model_dtype, precisions, ret->format);
        return;
    }
    fields_spelling(f, known);
    if (!based) {
        require_dims(f);
    }
    read_dims(f, ret);
    read_names(f, ret);
    read_precision(f, ret);
    fields_word(f, "norm_type", norm_from_string, "rmsnorm and layernorm are known", 0);
    model_check(f, &ret->model);
    check_kind(f, &ret->model);
}

void model_read(const struct presets *p, const json_t *value, const char *path, struct fault *fault,
                struct preset_model *ret, unsigned *ret_positions)
{
    static const char *const positions[] = { "max_seq_length", "max_position_embeddings", NULL };
    struct fields f = { .fault = fault };

    memset(ret, 0, sizeof(*ret));
    ret->format = -1;
    ret->model.name = ret->name;
    ret->model.source = ret->source;
    if (ret_positions) {
        *ret_positions = 0;
    }
    if (json_is_string(value)) {
        snprintf(f.path, sizeof(f.path), "%s", path);
        find_preset(p, &f, NULL, json_string_value(value), ret);
        return;
    }
    f = fields_of(value, path, fault);
    if (!f.object) {
        return;
    }
    read_object(p, &f, ret);
    if (ret_positions) {
        *ret_positions = fields_count(&f, fields_pick(&f, positions), 1, 1 << 30, 0);
    }
}

int preset_model_from_json(const struct presets *p, const json_t *object, struct preset_model *ret,
                           struct error *reterr)
{
    struct preset_model m;
    struct fault fault = { 0 };

    model_read(p, object, "", &fault, &m, NULL);
    if (fault.code == 0) {
        preset_model_copy(ret, &m);
        return 0;
    }
    fault_result(&fault, NULL, reterr);
    return -EINVAL;
}

/* ---- back ---- */

json_t *preset_model_to_json(const struct planner_model *m)
{
    json_t *o = json_object();

    json_object_set_new(o, "name", json_string(m->name));
    for (size_t i = 0; i < ARRAY_SIZE(dims); i++) {
        const unsigned value = *(const unsigned *)(const void *)((const char *)m + dims[i].offset);

        if (value > 0) {
            json_object_set_new(o, dims[i].names[0], json_integer(value));
        }
    }
    json_object_set_new(o, "tied", json_boolean(m->tied));
    if (m->plain_mlp) {
        json_object_set_new(o, "plain_mlp", json_true());
    }
    if (m->indexer) {
        json_object_set_new(o, "indexer", json_true());
    }
    if (m->aliases && *m->aliases) {
        json_object_set_new(o, "aliases", json_string(m->aliases));
    }
    if (m->source && *m->source) {
        json_object_set_new(o, "source", json_string(m->source));
    }
    return o;
}

json_t *preset_model_document(const struct preset_model *m)
{
    json_t *o = preset_model_to_json(&m->model);

    if (m->format >= 0) {
        json_object_set_new(o, "precision",
                            json_string(planner_format_name((enum planner_format)m->format)));
    }
    return o;
}
