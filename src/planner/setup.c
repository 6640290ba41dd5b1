// SPDX-License-Identifier: Apache-2.0
/*
 * What a model's precision and an engine make of a chip: bytes of each weight, and for each kind of
 * work its start, its FLOP/s and its bytes/s. A chip without fits of its own takes those of its
 * generation, else generic ones; the rung says which.
 */
#include "planner/planner_int.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

/* ---- formats ---- */

/* Bytes of a weight with its scales (recipe 2.1; of the K mixes the mean of a file). */
static const struct {
    const char *name;
    const char *aliases;
    double bytes;
    enum planner_math math;
} formats[PLANNER_FORMAT_MAX_] = {
    [PLANNER_BF16] = { "bf16", "fp16,f16,float16,bfloat16", 2, PLANNER_MATH_BF16 },
    [PLANNER_FP8] = { "fp8", "f8,e4m3,fp8_e4m3,fp8_block,fp8-block,w8a8_fp8,w8a8-fp8", 1,
                      PLANNER_MATH_FP8 },
    [PLANNER_INT8] = { "int8", "w8a8,w8a8_int8,w8a8-int8,w8a16,int8_wo,sq", 1, PLANNER_MATH_INT8 },
    [PLANNER_NVFP4] = { "nvfp4", "fp4,w4a4", 0.5625, PLANNER_MATH_FP4 },
    [PLANNER_MXFP4] = { "mxfp4", "", 0.53125, PLANNER_MATH_MXFP4 },
    [PLANNER_INT4] = { "int4",
                       "awq,gptq,w4a16,int4_wo,int4_awq,int4-awq,awq_int4,gptq_int4,awq-int4,gptq-"
                       "int4,w4a8",
                       0.53, PLANNER_MATH_WO4 },
    [PLANNER_Q8_0] = { "q8_0", "", 1.0625, PLANNER_MATH_GGUF },
    [PLANNER_Q6_K] = { "q6_k", "", 0.8203, PLANNER_MATH_GGUF },
    [PLANNER_Q5_K_M] = { "q5_k_m", "q5_k", 0.711, PLANNER_MATH_GGUF },
    [PLANNER_Q4_K_M] = { "q4_k_m", "q4_k", 0.566, PLANNER_MATH_GGUF },
    [PLANNER_Q4_0] = { "q4_0", "", 0.58, PLANNER_MATH_GGUF },
    [PLANNER_Q3_K_M] = { "q3_k_m", "q3_k", 0.489, PLANNER_MATH_GGUF },
    [PLANNER_Q2_K] = { "q2_k", "", 0.396, PLANNER_MATH_GGUF },
};

static const char *const engines[PLANNER_ENGINE_MAX_] = {
    [PLANNER_ENGINE_VLLM] = "vllm",
    [PLANNER_ENGINE_TRTLLM] = "trtllm",
    [PLANNER_ENGINE_SGLANG] = "sglang",
    [PLANNER_ENGINE_LLAMACPP] = "llama.cpp",
};

static const char *const kv_formats[PLANNER_KV_MAX_] = { "auto", "16", "8", "4" };

static bool is_one_of(const char *word, const char *commas)
{
    struct span rest = span_of(commas);

    while (rest.n > 0) {
        const struct span one = span_cut(&rest, ',');

        if (strlen(word) == one.n && strncasecmp(word, one.p, one.n) == 0) {
            return true;
        }
    }
    return false;
}

int planner_format_from_string(const char *name)
{
    for (int i = 0; i < PLANNER_FORMAT_MAX_; i++) {
        if (strcasecmp(formats[i].name, name) == 0 || is_one_of(name, formats[i].aliases)) {
            return i;
        }
    }
    return -1;
}

int planner_kv_format_from_string(const char *name)
{
    for (int i = 0; i < PLANNER_KV_MAX_; i++) {
        if (strcasecmp(kv_formats[i], name) == 0) {
            return i;
        }
    }
    if (!name[0]) {
        return PLANNER_KV_AUTO;
    }
    if (is_one_of(name, "fp8,int8,q8_0,e4m3,fp8_e4m3,fp8_e5m2,8")) {
        return PLANNER_KV_8;
    }
    if (is_one_of(name, "fp4,nvfp4,q4_0,int4")) {
        return PLANNER_KV_4;
    }
    return is_one_of(name, "bf16,fp16,f16,float16,bfloat16") ? PLANNER_KV_16 : -1;
}

int planner_engine_from_string(const char *name)
{
    if (strncasecmp(name, "tensorrt", 8) == 0 || strncasecmp(name, "trt", 3) == 0) {
        return PLANNER_ENGINE_TRTLLM;
    }
    if (strncasecmp(name, "llama.cpp", 9) == 0 || strncasecmp(name, "llamacpp", 8) == 0) {
        return PLANNER_ENGINE_LLAMACPP;
    }
    for (int i = 0; i < PLANNER_ENGINE_MAX_; i++) {
        if (strncasecmp(engines[i], name, strlen(engines[i])) == 0) {
            return i;
        }
    }
    return -1;
}

const char *planner_format_name(enum planner_format f)
{
    return formats[f].name;
}

const char *planner_engine_name(enum planner_engine e)
{
    return engines[e];
}

/* ---- finding a fit ---- */

/* The better of two fits for this setup: same chip and engine, same chip, same generation and
 * engine, same generation. Returns how good, 0 for none of these. */
static int fitness(const struct planner_setup *s, const struct planner_op_fit *f)
{
    const bool engine = f->engine == s->engine;

    if (str_eq(f->chip, s->chip->kernels ? s->chip->kernels : s->chip->name)) {
        return engine ? 4 : 3;
    }
    if (s->chip->generation != PLANNER_GEN_OTHER && f->generation == s->chip->generation) {
        return engine ? 2 : 1;
    }
    return 0;
}

/* The engine's own, unless the same kernels were measured much better in another's tables. */
static bool better(const struct planner_setup *s, const struct planner_op_fit *f,
                   const struct planner_op_fit *best)
{
    const int a = fitness(s, f), b = best ? fitness(s, best) : 0;

    if (a == 0 || b == 0) {
        return a > b;
    }
    if ((a + 1) / 2 != (b + 1) / 2) {
        return a > b;
    }
    return a > b ? f->median_error < 2 * best->median_error
                 : f->median_error < 0.5 * best->median_error;
}

static const struct planner_op_fit *find_fit(struct planner_setup *s, enum planner_op op,
                                             enum planner_math math)
{
    const struct planner_op_fit *best = NULL;
    int goodness = 0;

    for (const struct planner_op_fit *f = planner_op_fits; f->chip; f++) {
        if (f->op == op && f->math == math && better(s, f, best)) {
            best = f;
        }
    }
    goodness = best ? fitness(s, best) : 0;
    s->rung = MAX_OF(s->rung, goodness >= 3 ? 0 : goodness >= 1 ? 1 : 2);
    return best;
}

/* ---- arithmetic ---- */

static double peak_of(const struct planner_chip *c, enum planner_math math)
{
    double tera = c->bf16_tflops;

    if (math == PLANNER_MATH_FP8 || math == PLANNER_MATH_FP8_BLOCK) {
        tera = c->fp8_tflops;
    } else if (math == PLANNER_MATH_FP4) {
        tera = c->fp4_tflops;
    } else if (math == PLANNER_MATH_INT8) {
        tera = c->int8_tops;
    }
    return tera * 1e12;
}

/* What a chip does with weights that its tensor units cannot eat. */
static enum planner_math math_on(const struct planner_chip *c, enum planner_math math)
{
    if (peak_of(c, math) > 0) {
        return math;
    }
    return math == PLANNER_MATH_FP4 ? PLANNER_MATH_WO4 : PLANNER_MATH_WO8;
}

static double start_of(const struct planner_coefficients *k, enum planner_math math)
{
    switch (math) {
    case PLANNER_MATH_FP8:
    case PLANNER_MATH_FP8_BLOCK:
    case PLANNER_MATH_INT8:
        return k->start_fp8_us;
    case PLANNER_MATH_FP4:
        return k->start_fp4_us;
    case PLANNER_MATH_WO8:
    case PLANNER_MATH_WO4:
        return k->start_wo_us;
    default:
        return k->start_bf16_us;
    }
}

/* Corrects the kernel tables; what is published of CDNA needs none. */
static double ec_times(const struct planner_setup *s, enum planner_math math)
{
    const struct planner_coefficients *k = s->k;

    if (s->chip->generation == PLANNER_GEN_CDNA) {
        return 1;
    }
    switch (math) {
    case PLANNER_MATH_FP8:
    case PLANNER_MATH_INT8:
        return k->ec_fp8;
    case PLANNER_MATH_FP8_BLOCK:
        return k->ec_block;
    case PLANNER_MATH_FP4:
        return k->ec_fp4;
    case PLANNER_MATH_WO8:
    case PLANNER_MATH_WO4:
        return k->ec_wo;
    default:
        return k->ec_bf16;
    }
}

static double engine_times(const struct planner_setup *s, enum planner_math math)
{
    return s->engine != PLANNER_ENGINE_VLLM || math == PLANNER_MATH_BF16 ? 1 : s->k->ec_vllm;
}

static const struct planner_chip *find_chip_of(const char *name)
{
    const struct planner_chip *c = planner_chips;

    while (c->name && !str_eq(c->name, name)) {
        c++;
    }
    return c->name ? c : NULL;
}

/* Who has fewer watts for each of the peak's FLOP/s than the chip that was measured lowers its
 * clock under load, by about the third root (power goes with clock times the square of the voltage,
 * which goes with the clock). */
static double power_times(const struct planner_chip *c, const struct planner_chip *measured)
{
    if (!measured || measured == c || c->tdp_w <= 0 || measured->tdp_w <= 0) {
        return 1;
    }
    return fmin(cbrt(c->tdp_w / c->bf16_tflops / (measured->tdp_w / measured->bf16_tflops)), 1.15);
}

/* Recipe 4: when no fit is near. CDNA reaches less of its peak: published GEMM measurements of the
 * MI300X are near 620 of 1307 and 990 of 2614 TFLOP/s (recalled). */
static double generic_ec(const struct planner_chip *c, enum planner_math math)
{
    if (c->generation == PLANNER_GEN_CDNA) {
        return math == PLANNER_MATH_BF16 ? 0.47 : math == PLANNER_MATH_FP4 ? 0.30 : 0.38;
    }
    return math == PLANNER_MATH_FP4 ? 0.40
           : math == PLANNER_MATH_FP8 || math == PLANNER_MATH_FP8_BLOCK || math == PLANNER_MATH_INT8
               ? 0.55
               : 0.70;
}

/* llama.cpp's kernels have numbers of their own. */
static struct planner_cost gguf_cost(const struct planner_setup *s, enum planner_math math)
{
    const struct planner_coefficients *k = s->k;
    const bool apple = s->chip->generation == PLANNER_GEN_APPLE, quant = math == PLANNER_MATH_GGUF;
    const double ec = apple ? k->apple_ec : quant ? k->gguf_ec : k->gguf_ec_16;
    const double em = apple   ? quant ? k->apple_em : k->apple_em_16
                      : quant ? k->gguf_em
                              : k->gguf_em_16;

    return (struct planner_cost){ 0, ec * s->chip->bf16_tflops * 1e12,
                                  em * s->chip->bandwidth_gbps * 1e9, 4 };
}

static struct planner_cost gemm_cost(struct planner_setup *s, enum planner_math math)
{
    const struct planner_coefficients *k = s->k;
    const struct planner_op_fit *f;
    double ec, em, p;

    if (s->engine == PLANNER_ENGINE_LLAMACPP) {
        return gguf_cost(s, math);
    }
    math = math_on(s->chip, math);
    f = find_fit(s, PLANNER_OP_GEMM, math);
    ec = (f ? f->ec : generic_ec(s->chip, math)) * ec_times(s, math) * engine_times(s, math);
    ec *= power_times(s->chip, f ? find_chip_of(f->chip) : NULL);
    em = fmin((f ? f->em : 0.80) * k->em_gemm, 1);
    p = f ? f->p : 2;
    return (struct planner_cost){ start_of(k, math) * 1e-6, ec * peak_of(s->chip, math),
                                  em * s->chip->bandwidth_gbps * 1e9, p };
}

static struct planner_cost expert_cost(struct planner_setup *s, enum planner_math math)
{
    const struct planner_coefficients *k = s->k;
    const bool newest = s->chip->generation == PLANNER_GEN_BLACKWELL;
    const double start = 1e-6 * (newest ? k->moe_start_new_us : k->moe_start_us);
    const double bandwidth = s->chip->bandwidth_gbps * 1e9;
    const struct planner_op_fit *f;
    double ec, em, times;

    if (s->engine == PLANNER_ENGINE_LLAMACPP) {
        return gguf_cost(s, math);
    }
    math = math_on(s->chip, math);
    if (math == PLANNER_MATH_MXFP4) {
        const bool native = s->chip->fp4_tflops > 0;

        ec = native ? k->mxfp4_ec_native : k->mxfp4_ec;
        em = native ? k->mxfp4_em_native : k->mxfp4_em;
        return (struct planner_cost){ start, ec * s->chip->bf16_tflops * 1e12, em * bandwidth, 2 };
    }
    f = find_fit(s, PLANNER_OP_MOE, math);
    times = math == PLANNER_MATH_BF16                                    ? k->moe_ec_bf16
            : math == PLANNER_MATH_FP8 || math == PLANNER_MATH_FP8_BLOCK ? k->moe_ec_fp8
            : math == PLANNER_MATH_FP4                                   ? k->moe_ec_fp4
                                                                         : k->ec_wo;
    ec = (f ? f->ec : 0.8 * generic_ec(s->chip, math)) * times; /* small products reach less */
    em = (f ? f->em : 0.9) * (math == PLANNER_MATH_FP4 ? k->moe_em_fp4 : k->moe_em);
    em = fmin(em, 0.95);
    ec *= power_times(s->chip, f ? find_chip_of(f->chip) : NULL);
    return (struct planner_cost){ start, ec * peak_of(s->chip, math), em * bandwidth,
                                  f ? fmax(f->p, 1) : 1 };
}

static bool is_family(const struct planner_model *m, const char *commas)
{
    struct span rest = span_of(commas);

    while (rest.n > 0) {
        const struct span one = span_cut(&rest, ',');

        if (strncasecmp(m->name, one.p, one.n) == 0) {
            return true;
        }
    }
    return false;
}

/* For TensorRT-LLM the others but latent attention are made with one scale. */
bool planner_in_blocks(const struct planner_setup *s)
{
    return s->format == PLANNER_FP8 &&
           (s->model->kv_lora > 0 ||
            (s->engine != PLANNER_ENGINE_TRTLLM && is_family(s->model, "Qwen3,GLM,MiniMax")));
}

/* Which numbers stand in which tensor: latent attention stays at 16 bits in 4-bit checkpoints, and
 * GPT-OSS's MXFP4 is for experts only (recipe 2.1). */
static void set_formats(struct planner_setup *s)
{
    const struct planner_model *m = s->model;
    const double bytes = formats[s->format].bytes;
    enum planner_math math = formats[s->format].math, attn, mlp;
    const bool gguf = math == PLANNER_MATH_GGUF;
    const bool four = s->format == PLANNER_NVFP4 || s->format == PLANNER_INT4;

    if (planner_in_blocks(s)) {
        math = PLANNER_MATH_FP8_BLOCK;
    }
    attn = four && m->kv_lora > 0 ? PLANNER_MATH_BF16 : math;
    mlp = math;
    s->attn_bytes = attn == math ? bytes : 2;
    s->mlp_bytes = bytes;
    if (s->format == PLANNER_INT4 && m->kv_lora > 0) { /* nothing but the experts */
        mlp = PLANNER_MATH_BF16;
        s->mlp_bytes = 2;
    }
    if (s->format == PLANNER_MXFP4) {
        attn = mlp = m->experts > 0 ? PLANNER_MATH_BF16 : math;
        s->attn_bytes = s->mlp_bytes = m->experts > 0 ? 2 : bytes;
    }
    s->expert_bytes = bytes;
    s->embed_bytes = gguf ? bytes : 2;
    s->attn_gemm = gemm_cost(s, attn);
    s->mlp_gemm = gemm_cost(s, mlp);
    s->head_gemm = gemm_cost(s, gguf ? math : PLANNER_MATH_BF16);
    if (m->experts > 0) {
        s->expert_gemm = expert_cost(s, math);
    }
    math = math == PLANNER_MATH_MXFP4 ? PLANNER_MATH_BF16 : math_on(s->chip, math);
    s->peak_flops = peak_of(s->chip, math);
}

/* ---- attention, wires, host ---- */

static void set_attention(struct planner_setup *s)
{
    const struct planner_coefficients *k = s->k;
    const double bandwidth = s->chip->bandwidth_gbps * 1e9, peak = s->chip->bf16_tflops * 1e12;

    s->attn_start_s = k->attn_start_us * 1e-6;
    s->attn_peak = k->attn_prefill * peak;
    s->attn_read_ps = bandwidth * (s->model->kv_lora > 0 ? k->mla_em
                                   : s->kv_bytes < 2     ? k->attn_em_8
                                                         : k->attn_em);
    s->mla_flops = k->mla_ec * peak;
    if (s->engine == PLANNER_ENGINE_LLAMACPP) {
        s->attn_start_s = 0;
        s->attn_peak = k->gguf_attn * peak;
        s->attn_read_ps = k->gguf_attn_em * bandwidth;
    } else if (s->model->kv_lora > 0) {
        s->attn_peak = k->mla_prefill * peak;
    }
}

/* Of this chip, or of one of its generation with the same links. */
static bool suits(const struct planner_comm_fit *f, const struct planner_chip *c)
{
    const struct planner_chip *other = find_chip_of(f->chip);

    return other && other->generation == c->generation && other->scaleup_gbps == c->scaleup_gbps;
}

static const struct planner_comm_fit *find_comm(const struct planner_chip *c,
                                                enum planner_collective collective, bool quick,
                                                unsigned ranks)
{
    const struct planner_comm_fit *near = NULL;

    for (const struct planner_comm_fit *f = planner_comm_fits; f->chip; f++) {
        if (f->collective != collective || f->quick != quick || f->ranks != ranks) {
            continue;
        }
        if (str_eq(f->chip, c->kernels ? c->kernels : c->name)) {
            return f;
        }
        near = !near && suits(f, c) ? f : near;
    }
    return near;
}

static bool is_pcie(const struct planner_chip *c)
{
    return c->scaleup_gbps <= 64;
}

static struct planner_wire wire_of(const struct planner_setup *s, bool quick, unsigned ranks)
{
    const struct planner_coefficients *k = s->k;
    const struct planner_comm_fit *f =
        is_pcie(s->chip) ? NULL : find_comm(s->chip, PLANNER_COMM_ALL_REDUCE, quick, ranks);
    const double link = s->chip->scaleup_gbps * 1e9;
    double alpha_us, bus;

    if (f) {
        alpha_us = f->alpha_us;
        bus = f->bus_gbps * 1e9;
    } else if (is_pcie(s->chip)) {
        alpha_us = 4.0 + 2.2 * ranks;
        bus = k->pcie_bus * fmax(link, 1e9);
    } else {
        alpha_us = quick ? 3.0 + 0.3 * ranks : 5.0 + 2.0 * ranks;
        bus = link * (quick ? k->link_quick : k->link_bulk);
    }
    return (struct planner_wire){ 1e-6 * alpha_us * (quick ? k->quick_alpha : k->bulk_alpha),
                                  bus * (quick ? k->quick_bus : k->bulk_bus) };
}

/* A reduce-scatter and an all-gather, one after the other: both starts, and the mean of the two
 * bandwidths. */
static struct planner_wire parted_of(const struct planner_setup *s, unsigned ranks)
{
    const struct planner_coefficients *k = s->k;
    const struct planner_comm_fit *a, *b;

    a = find_comm(s->chip, PLANNER_COMM_REDUCE_SCATTER, false, ranks);
    b = find_comm(s->chip, PLANNER_COMM_ALL_GATHER, false, ranks);
    if (is_pcie(s->chip) || !a || !b) {
        struct planner_wire w = wire_of(s, false, ranks);

        w.alpha_s *= 1.4; /* as the measured ones have it */
        return w;
    }
    return (struct planner_wire){ 1e-6 * (a->alpha_us + b->alpha_us) * k->bulk_alpha,
                                  2e9 / (1 / a->bus_gbps + 1 / b->bus_gbps) * k->bulk_bus };
}

static void set_wires(struct planner_setup *s)
{
    for (unsigned i = 0; i < PLANNER_RANKS_LOG_MAX; i++) {
        s->quick[i] = wire_of(s, true, 1U << i);
        s->bulk[i] = wire_of(s, false, 1U << i);
        s->parted[i] = parted_of(s, 1U << i);
    }
    /* microsoft/vidur: send and receive 23-28 us; all-reduce across DGX nodes 60-74 us. */
    s->across =
        (struct planner_wire){ s->k->far_us * 1e-6, fmax(s->chip->scaleout_gbps, 1) * 0.75e9 };
}

static void set_host(struct planner_setup *s)
{
    const struct planner_coefficients *k = s->k;

    const double more = is_family(s->model, "Qwen3,Gemma-3,GLM,MiniMax") ? 2 / k->elementwise_n : 0;

    s->elementwise_s = k->elementwise_us * 1e-6 * (1 + more); /* norms of q and k */
    s->elementwise_ps = 0.8 * s->chip->bandwidth_gbps * 1e9 / (1 + more);
    switch (s->engine) {
    case PLANNER_ENGINE_TRTLLM:
        s->host_s = k->host_trtllm_ms * 1e-3;
        s->prefill_host_s = k->prefill_ms_trtllm * 1e-3;
        break;
    case PLANNER_ENGINE_SGLANG:
        s->host_s = k->host_sglang_ms * 1e-3;
        s->prefill_host_s = k->prefill_ms_sglang * 1e-3;
        break;
    case PLANNER_ENGINE_LLAMACPP:
        s->elementwise_s = 0;
        s->host_s = 0.1e-3;
        s->prefill_host_s = 0;
        break;
    default:
        s->host_s = k->host_vllm_ms * 1e-3;
        s->prefill_host_s = k->prefill_ms_vllm * 1e-3;
    }
    if (s->model->kv_lora > 0 &&
        (s->engine == PLANNER_ENGINE_TRTLLM || s->engine == PLANNER_ENGINE_SGLANG)) {
        s->prefill_host_s += k->prefill_ms_mla * 1e-3;
    }
}

static double kv_value_bytes(const struct planner_chip *c, enum planner_engine e,
                             enum planner_format f, enum planner_kv_format kv)
{
    const bool newest = c->generation == PLANNER_GEN_BLACKWELL;
    const bool eight = f == PLANNER_FP8 || f == PLANNER_NVFP4 || (f == PLANNER_MXFP4 && newest);

    switch (kv) {
    case PLANNER_KV_16:
        return 2;
    case PLANNER_KV_8:
        return 1;
    case PLANNER_KV_4:
        return 0.5625;
    default:
        return eight && (e == PLANNER_ENGINE_TRTLLM || newest) ? 1 : 2;
    }
}

void planner_setup_init(struct planner_setup *s, const struct planner_model *model,
                        const struct planner_chip *chip, enum planner_engine engine,
                        enum planner_format format, enum planner_kv_format kv,
                        const struct planner_coefficients *k)
{
    *s = (struct planner_setup){ .model = model,
                                 .chip = chip,
                                 .engine = engine,
                                 .format = format,
                                 .k = k ? k : &planner_shipped,
                                 .kv_bytes = kv_value_bytes(chip, engine, format, kv) };
    set_formats(s);
    set_attention(s);
    set_wires(s);
    set_host(s);
}
