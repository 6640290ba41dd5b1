// SPDX-License-Identifier: Apache-2.0
/*
 * The planner: what will this model do on that hardware? Memory, time and throughput of a
 * deployment, computed from the dimensions of the model and the data sheet of the chip by a dozen
 * formulas whose free numbers were fitted on published measurements (docs/planner.md says on which,
 * and how well they do on others).
 *
 * Pure arithmetic: no I/O, no clock, no state, nothing allocated that outlives the call (the search
 * hands out one array). The same question gets the same answer, to the last digit.
 *
 * How to use it:
 *   planner_find_model("llama-3.1-70b"), planner_find_chip("h100-sxm")
 *   planner_setup_init()   resolves model x chip x engine x precision once
 *   planner_evaluate()     one plan under one load
 *   planner_search()       all plans of a setup, ranked
 *   planner_check_text()   predictions for a CSV of measurements, and how far off they are
 *
 * Units stand in the names. GB is 1e9 bytes; an "80 GB" card has 85.9 of them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* ---- what is known: chips and models ---- */

enum planner_generation {
    PLANNER_GEN_OTHER,
    PLANNER_GEN_AMPERE,
    PLANNER_GEN_ADA,
    PLANNER_GEN_HOPPER,
    PLANNER_GEN_BLACKWELL,
    PLANNER_GEN_CDNA,
    PLANNER_GEN_TPU,
    PLANNER_GEN_APPLE,
    PLANNER_GEN_MAX_,
};

/* Peaks are dense (no sparsity); links are one direction of one chip. 0: it has none, or not known.
 */
struct planner_chip {
    const char *name;
    const char *aliases; /* other names, separated by commas */
    enum planner_generation generation;
    double bf16_tflops, fp8_tflops, fp4_tflops, int8_tops;
    double memory_gb, bandwidth_gbps;
    double scaleup_gbps;
    unsigned scaleup_chips; /* how many chips such links join */
    double scaleout_gbps, tdp_w;
    const char *source;
};

/* Dimensions, as a config.json has them. */
struct planner_model {
    const char *name;
    const char *aliases;
    unsigned layers, hidden, inter, heads, kv_heads, head_dim, vocab;
    bool tied;      /* the head is the embedding */
    bool plain_mlp; /* two matrices instead of three */
    /* Mixture of experts; experts 0: dense. */
    unsigned experts, top_k, moe_inter;
    unsigned shared_inter; /* of all shared experts together */
    unsigned dense_layers; /* layers of a MoE model that have none */
    /* Multi-head latent attention; kv_lora 0: none. */
    unsigned q_lora, kv_lora, qk_nope, qk_rope, v_dim;
    bool indexer; /* sparse attention with an index of 128 bytes a token and layer */
    /* The layers that see only the last window tokens. */
    unsigned window, window_layers;
    double published_b; /* billions of parameters as published; 0: not known */
    const char *source;
};

extern const struct planner_chip planner_chips[];   /* ends with a NULL name */
extern const struct planner_model planner_models[]; /* the same */

/* By name or alias; case, punctuation, "instruct" and an owner before a slash do not count. NULL
 * when there is none. */
const struct planner_chip *planner_find_chip(const char *name);
const struct planner_model *planner_find_model(const char *name);
/* The nearest names, nearest first, at most max. Returns how many. */
size_t planner_near_chips(const char *name, const char **ret, size_t max);
size_t planner_near_models(const char *name, const char **ret, size_t max);

/* Parameters, in units: all of them, and those that one token meets. Recipe: attention
 * H D (2h + 2kv), or MLA H ql + ql h (nd+rd) + H (kl+rd) + kl h (nd+vd) + h vd H; MLP 3 H I (2 H I
 * plain); experts E 3 H mi + shared + router E H; embedding V H once (tied) or twice. */
double planner_params(const struct planner_model *m);
double planner_active_params(const struct planner_model *m);
/* Bytes of KV cache a token of full attention takes in all layers on all chips together at 2 bytes
 * a value: 4 L kv D; MLA 2 L (kl + rd). */
double planner_kv_bytes_per_token(const struct planner_model *m);

/* ---- precision and engine ---- */

enum planner_format {
    PLANNER_BF16,
    PLANNER_FP8,
    PLANNER_INT8,
    PLANNER_NVFP4,
    PLANNER_MXFP4,
    PLANNER_INT4, /* groups of 128, weights only */
    PLANNER_Q8_0,
    PLANNER_Q6_K,
    PLANNER_Q5_K_M,
    PLANNER_Q4_K_M,
    PLANNER_Q4_0,
    PLANNER_Q3_K_M,
    PLANNER_Q2_K,
    PLANNER_FORMAT_MAX_,
};

enum planner_kv_format {
    PLANNER_KV_AUTO, /* what the engine does when nobody says: 8 bits with FP8 or FP4 weights for
                        TensorRT-LLM and on Blackwell, else 16 */
    PLANNER_KV_16,
    PLANNER_KV_8,
    PLANNER_KV_4,
    PLANNER_KV_MAX_,
};

enum planner_engine {
    PLANNER_ENGINE_VLLM,
    PLANNER_ENGINE_TRTLLM,
    PLANNER_ENGINE_SGLANG,
    PLANNER_ENGINE_LLAMACPP,
    PLANNER_ENGINE_MAX_,
};

/* -1 when there is none of this name. */
int planner_format_from_string(const char *name);
int planner_kv_format_from_string(const char *name);
/* Takes "vllm 0.12.0", "TensorRT-LLM 1.0 (PyTorch)", "llama.cpp May-2024"; a version is not looked
 * at. */
int planner_engine_from_string(const char *name);
const char *planner_format_name(enum planner_format f);
const char *planner_engine_name(enum planner_engine e);

/* ---- a setup: what stays the same while plans change ---- */

struct planner_coefficients;
/* The free numbers that are shipped; docs/planner.md has the command that makes them. */
extern const struct planner_coefficients planner_shipped;

enum { PLANNER_RANKS_LOG_MAX = 4 }; /* fits for 1, 2, 4, 8 ranks */

/* What one operation costs: seconds of start, FLOP/s and bytes/s that it reaches, and how sharp the
 * roofline's corner is. */
struct planner_cost {
    double start_s, flops, bytes_ps, p;
};

struct planner_wire {
    double alpha_s, bytes_ps;
};

/* Filled by planner_setup_init(); to be read only. */
struct planner_setup {
    const struct planner_model *model;
    const struct planner_chip *chip;
    enum planner_engine engine;
    enum planner_format format;
    const struct planner_coefficients *k;
    /* Where the chip's efficiency comes from: 0 fits of this chip, 1 of another of its generation,
     * 2 generic values. */
    int rung;
    double kv_bytes;                                         /* one value */
    double attn_bytes, mlp_bytes, expert_bytes, embed_bytes; /* one weight */
    struct planner_cost attn_gemm, mlp_gemm, head_gemm, expert_gemm;
    double attn_read_ps, attn_start_s,
        attn_peak;    /* decode: bytes/s; both: start; prefill: FLOP/s */
    double mla_flops; /* of the absorbed decode core */
    struct planner_wire quick[PLANNER_RANKS_LOG_MAX], bulk[PLANNER_RANKS_LOG_MAX],
        across; /* all-reduce by log2(ranks); between nodes */
    double elementwise_ps, elementwise_s, host_s, prefill_host_s;
    double peak_flops; /* for MFU: the tensor format that computes most */
    double miss_log2;  /* log2(1 - k/E) */
};

/* Resolves efficiencies and bytes; coefficients NULL: those that are shipped. */
void planner_setup_init(struct planner_setup *s, const struct planner_model *model,
                        const struct planner_chip *chip, enum planner_engine engine,
                        enum planner_format format, enum planner_kv_format kv,
                        const struct planner_coefficients *k);

/* ---- one plan under one load ---- */

/* Inside a replica tp * adp = moe_tp * ep for a mixture of experts (ep = moe_tp = 1 for others); a
 * replica has tp * adp * pp chips. */
struct planner_plan {
    unsigned tp, pp;
    unsigned adp; /* attention data parallel: so many groups of tp chips share the experts */
    unsigned ep, moe_tp;
    unsigned replicas;
};

enum planner_load_kind {
    PLANNER_CLOSED_LOOP,   /* so many requests at all times, each followed by the next */
    PLANNER_OPEN_LOOP,     /* requests at a rate */
    PLANNER_OFFLINE,       /* as many at once as memory holds */
    PLANNER_STATIC,        /* one batch: all prefill, then all decode */
    PLANNER_DISAGGREGATED, /* closed loop; other chips do the prefill */
    PLANNER_LOAD_MAX_,
};

struct planner_load {
    enum planner_load_kind kind;
    double isl, osl;       /* mean tokens in and out */
    double concurrency;    /* of all replicas together; offline: 0, or its maximum */
    double rate_per_s;     /* open loop: requests */
    double prefix_hit;     /* share of the input found in the cache, 0 to 1 */
    unsigned chunk_tokens; /* of prefill in one step; 0: the engine's default */
    /* Disaggregated: the chips that prefill. The plan is that of the decode side. */
    struct planner_plan prefill;
};

/* What a plan was refused for. */
enum planner_bound {
    PLANNER_FITS,
    PLANNER_BAD_PLAN,      /* the numbers do not make a plan: see planner_refusal() */
    PLANNER_BAD_EXPERTS,   /* tp * adp is not moe_tp * ep, or experts on a dense model */
    PLANNER_WEIGHTS,       /* weights, activations and fixed costs are more than the memory */
    PLANNER_ONE_REQUEST,   /* what is left holds not even one request's KV cache */
    PLANNER_BATCH,         /* static batch: what is left does not hold them all */
    PLANNER_UNSUSTAINABLE, /* open loop: more arrives than can be served */
    PLANNER_BOUND_MAX_,
};

enum planner_work {
    PLANNER_WORK_GEMM,
    PLANNER_WORK_ATTENTION,
    PLANNER_WORK_EXPERTS,
    PLANNER_WORK_COMM,
    PLANNER_WORK_ELEMENTWISE,
    PLANNER_WORK_HOST,
    PLANNER_WORK_MAX_,
};
extern const char *const planner_work_names[PLANNER_WORK_MAX_];

struct planner_band {
    double p10, p90;
};

struct planner_result {
    enum planner_bound bound;
    double need, have; /* what the bound was about: bytes, tokens, requests/s */
    /* Memory of the fullest chip, in bytes. */
    double weights_bytes, activation_bytes, fixed_bytes, kv_budget_bytes, memory_bytes;
    double kv_used_bytes;
    bool sensitive; /* less than a tenth of the memory is left for KV: small errors tell */
    /* Of one replica. */
    double fits_requests; /* as many fit into the KV cache, at their mean length */
    double running;       /* as many run at once */
    unsigned chips;
    double decode_step_s, prefill_s;
    double ttft_s, tpot_s, e2e_s;
    /* Of all replicas together. */
    double output_tokens_ps, total_tokens_ps, requests_ps;
    double output_tokens_ps_chip, output_tokens_ps_user;
    /* Shares of the peak. Above 1 is a fault of the model, and is shown. */
    double mfu, mbu;
    double decode_work_s[PLANNER_WORK_MAX_], prefill_work_s[PLANNER_WORK_MAX_];
    struct planner_band ttft_band, tpot_band, throughput_band; /* holds 4 of 5 measurements */
};

/* Always fills *ret; a plan that cannot be has its bound set, and no times. */
void planner_evaluate(const struct planner_setup *s, const struct planner_plan *plan,
                      const struct planner_load *load, struct planner_result *ret);
/* One sentence with the numbers: why it was refused. */
enum { PLANNER_REFUSAL_SIZE = 240 };
void planner_refusal(const struct planner_setup *s, const struct planner_plan *plan,
                     const struct planner_load *load, const struct planner_result *r,
                     char out[PLANNER_REFUSAL_SIZE]);
unsigned planner_plan_chips(const struct planner_plan *plan);

/* ---- the search ---- */

enum planner_objective {
    PLANNER_COST,       /* chip-seconds for an output token, the least first */
    PLANNER_THROUGHPUT, /* output tokens/s of all chips */
    PLANNER_LATENCY,    /* TPOT, then TTFT */
    PLANNER_OBJECTIVE_MAX_,
};
int planner_objective_from_string(const char *name);

struct planner_question {
    unsigned max_chips;
    double isl, osl, prefix_hit;
    double slo_ttft_s, slo_tpot_s; /* 0: none */
    double concurrency;            /* 0: the largest that keeps the SLO */
    unsigned tp, pp, ep;           /* 0: any */
    bool across_nodes;             /* a replica's tp may leave the scale-up domain */
    enum planner_objective objective;
};

struct planner_candidate {
    struct planner_plan plan;
    double concurrency;
    struct planner_result result;
    bool meets_slo;
    double slo_excess; /* the largest figure over its SLO; 1 or less when it is met */
    bool pareto;       /* no other has both more tokens/s per chip and more per user */
};

struct planner_findings {
    struct planner_candidate *candidates; /* best first; freed by planner_findings_finish() */
    size_t count;
    size_t tried, refused; /* plans (not batches); refused ones are among the tried */
    size_t evaluations;
    /* One refused plan for each bound, as an example. */
    struct planner_candidate refused_example[PLANNER_BOUND_MAX_];
    size_t refused_by[PLANNER_BOUND_MAX_];
};

/* Tries every setting under the question's limits, each at the largest concurrency that keeps the
 * SLO (found by bisection, since TPOT and TTFT rise with it), or at the lowest when none does. Ties
 * go to fewer chips, then to the smaller tp, pp, ep. */
void planner_search(const struct planner_setup *s, const struct planner_question *q,
                    struct planner_findings *ret);
void planner_findings_finish(struct planner_findings *f);

/* ---- predictions for measurements ---- */

/* One line of a CSV of measurements, in the columns id, workload, model, precision, kv_dtype, chip,
 * chips, tp, pp, dp, ep, moe_tp, isl, osl, concurrency, req_rate, framework, metric, value, tier,
 * split_tag, note (in any order, others are passed over). */
struct planner_row {
    char id[64], workload[32], metric[48], split_tag[32], tier[8];
    const struct planner_model *model;
    const struct planner_chip *chip;
    int engine, format, kv;
    bool understood;  /* else reason says what is wrong with it */
    bool generic_isl; /* the row had none */
    struct planner_plan plan;
    struct planner_load load;
    double value;
    char reason[PLANNER_REFUSAL_SIZE]; /* why it cannot be predicted; "" when it can */
    /* After planner_row_predict(). */
    bool predicted_ok;
    double predicted;
    struct planner_band band;
};

struct planner_rows {
    struct planner_row *rows;
    size_t count;
};

/* Reads CSV text (RFC 4180 quoting). -EINVAL when the head line lacks a column that it needs. A row
 * that cannot be understood is kept, with its reason. */
int planner_rows_parse(const char *text, size_t size, struct planner_rows *ret,
                       struct error *reterr) _must_check_;
void planner_rows_finish(struct planner_rows *r);
/* Fills predicted, band and reason. */
void planner_row_predict(struct planner_row *row, const struct planner_coefficients *k);

struct planner_score {
    size_t count, predicted;
    double median_ape, mean_ape; /* of the predicted ones */
    double within_20;            /* share of all: what was not predicted is a miss */
    double in_band;
};
/* The rows that select() wants (NULL: all). */
typedef bool (*planner_select_fn)(const struct planner_row *row, const void *arg);
void planner_score(const struct planner_rows *rows, planner_select_fn select, const void *arg,
                   struct planner_score *ret);
