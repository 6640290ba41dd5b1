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
 *   planner_timeline()     what each stage does when, in one prefill and some decode steps
 *   planner_rows_parse()   predictions for a CSV of measurements, and how far off they are
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
    /* Not in the data sheets: */
    double price_hour; /* of a chip, in whatever money the user counts; 0: not known */
    /* Calibration by the user's own instances: measured over computed time of a decode step and of
     * a prefill; 0: as computed. */
    double decode_times, prefill_times;
    /* A chip of the planner's whose measured kernels are this one's too; NULL: only its own name's.
     */
    const char *kernels;
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
    unsigned dense_layers; /* layers of a MoE model that have none: the first ones, or where they
                              are half or more of all, in turns with the others */
    /* Multi-head latent attention; kv_lora 0: none; q_lora 0: the query is not compressed. */
    unsigned q_lora, kv_lora, qk_nope, qk_rope, v_dim;
    bool indexer; /* sparse attention with an index of 128 bytes a token and layer */
    /* The layers that see only the last window tokens. */
    unsigned window, window_layers;
    double published_b; /* billions of parameters as published; 0: not known */
    const char *source;
};

extern const struct planner_chip planner_chips[];   /* ends with a NULL name */
extern const struct planner_model planner_models[]; /* the same */

/* By name or alias. What does not count: case, punctuation, an owner before a slash, a tuning or a
 * packing at the end ("instruct", "GGUF", "AWQ"), a chip's maker and kind of memory (a size has to
 * be the chip's). NULL when there is none. */
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
/* What they take, for a sentence that refuses another. */
#define PLANNER_FORMAT_WORDS                                                                       \
    "bf16, fp8, int8, nvfp4, mxfp4, int4, q8_0, q6_k, q5_k_m, q4_k_m, q4_0, q3_k_m and q2_k are "  \
    "known"
#define PLANNER_KV_WORDS     "auto, 16, 8 and 4 are known"
#define PLANNER_ENGINE_WORDS "vllm, trtllm, sglang and llama.cpp are known"
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

/* How chips hang together: levels from the innermost outwards; each joins so many groups of the
 * level below (the first: chips) by links of its own. A collective over several levels is the sum
 * of its phases, each at the level that it spans, and each with its start (recipe 5). Places: tp
 * innermost, then attention dp (with it ep and moe_tp), then pp, replicas outermost. */
enum planner_link {
    PLANNER_LINK_SWITCH,
    PLANNER_LINK_RING, /* a start for each step round it */
    PLANNER_LINK_MESH, /* a link for each pair: who talks to one other has one of (groups - 1) */
    PLANNER_LINK_PCIE, /* one uplink for each group below, shared by all its chips */
};
enum { PLANNER_LEVELS_MAX = 5 };
struct planner_level {
    char name[16]; /* "board", "node", "rack", "pod" … */
    unsigned groups;
    double gbps;     /* one way, of one chip by all its links; PCIE: of the uplink */
    double alpha_us; /* 0: not told: 5 at the innermost, beyond as between nodes */
    enum planner_link link;
};
struct planner_topology {
    unsigned level_count;
    struct planner_level levels[PLANNER_LEVELS_MAX];
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
    struct planner_wire parted[PLANNER_RANKS_LOG_MAX]; /* reduce-scatter and all-gather together */
    double elementwise_ps, elementwise_s, host_s, prefill_host_s;
    double peak_flops;                /* for MFU: the tensor format that computes most */
    struct planner_topology topology; /* levels 0: the chip's own two (scale-up, scale-out) */
    /* May be set after planner_setup_init(): of the chip's memory that the engine takes in all; 0:
     * as the engine does. */
    double memory_share;
};

/* Resolves efficiencies and bytes; coefficients NULL: those that are shipped. */
void planner_setup_init(struct planner_setup *s, const struct planner_model *model,
                        const struct planner_chip *chip, enum planner_engine engine,
                        enum planner_format format, enum planner_kv_format kv,
                        const struct planner_coefficients *k);
/* The links are these, not the data sheet's. Where a level is as fast as the chip's own scale-up
 * links, what was measured of those is used. */
void planner_setup_topology(struct planner_setup *s, const struct planner_topology *t);
/* All chips of a topology; 0 levels: 0. */
unsigned planner_topology_chips(const struct planner_topology *t);

/* ---- one plan under one load ---- */

/* Inside a replica tp * adp = moe_tp * ep for a mixture of experts (ep = moe_tp = 1 for others); a
 * replica has tp * adp * pp chips. */
struct planner_plan {
    unsigned tp, pp;
    unsigned adp; /* attention data parallel: so many groups of tp chips share the experts */
    unsigned ep, moe_tp;
    unsigned replicas;
    bool sp; /* sequence parallel: what lies between the GEMMs is divided by tp as well, and an
                all-reduce is a reduce-scatter and an all-gather */
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
    /* Lengths that vary: standard deviation over mean; 0: all are alike. */
    double isl_cv, osl_cv;
    /* Speculative decoding: so many tokens are drafted a step, each accepted with this chance if
     * those before it are; a step gives (1 - a^(n+1)) / (1 - a) tokens. draft_share: the time of a
     * draft token over that of the model's decode step (0: one layer's, as MTP has it). */
    unsigned draft_tokens;
    double acceptance, draft_share;
    /* Offline: requests in all, after which the run ends; 0: it never does. Who has fewer than
     * memory holds runs fewer at once, and the last ones leave places empty. */
    double requests;
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
    PLANNER_CHIPS_SHORT,   /* planner_try(): more chips than there are */
    PLANNER_BOUND_MAX_,
};
/* "fits", "bad_plan", "bad_experts", "weights", "one_request", "batch", "unsustainable",
 * "chips_short". */
const char *planner_bound_name(enum planner_bound b);

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
    double tokens_per_step;   /* of a request: 1 without speculation */
    double bubble;            /* share of the stages' time in which a prefill leaves them idle */
    double joules_per_token;  /* an output token, at full power of all chips: an upper bound */
    double price_per_million; /* output tokens; 0: the chip's price is not known */
    double decode_work_s[PLANNER_WORK_MAX_], prefill_work_s[PLANNER_WORK_MAX_];
    struct planner_band ttft_band, tpot_band, throughput_band; /* holds 4 of 5 measurements */
};

/* Always fills *ret; a plan that cannot be has its bound set, and no times (one that is overrun:
 * the times of as many requests as fit at once). */
void planner_evaluate(const struct planner_setup *s, const struct planner_plan *plan,
                      const struct planner_load *load, struct planner_result *ret);
/* One sentence with the numbers: why it was refused. */
enum { PLANNER_REFUSAL_SIZE = 240 };
void planner_refusal(const struct planner_setup *s, const struct planner_plan *plan,
                     const struct planner_load *load, const struct planner_result *r,
                     char out[PLANNER_REFUSAL_SIZE]);
unsigned planner_plan_chips(const struct planner_plan *plan);

/* ---- one step: for simulations ---- */

/* Seconds of a step of a replica in which `decodes` sequences that hold `context` tokens in the
 * mean get a token each, and `chunk_tokens` of prompts are computed that come after `before` others
 * (0 tokens: none). before is less than 0 when several short prompts share the chunk and see less
 * than one another. Of a plan with attention DP the sequences and the tokens lie evenly on its
 * groups; without decodes a chunk goes through all stages, beside decodes it takes one stage's
 * time. */
double planner_step_s(const struct planner_setup *s, const struct planner_plan *plan,
                      double decodes, double context, double chunk_tokens, double before);
/* Its two halves, by themselves, and what puts them together. */
double planner_decode_s(const struct planner_setup *s, const struct planner_plan *plan,
                        double decodes, double context);
double planner_chunk_s(const struct planner_setup *s, const struct planner_plan *plan,
                       double tokens, double before);
struct planner_mix {
    double first_s;     /* besides steps: what the server adds to a request's first token */
    double stages;      /* of the pipeline */
    double lone;        /* times the chunk's time when nothing is decoded */
    double half, floor; /* decode steps that a chunk saves; what it costs at least, of its time */
    double launch_s;    /* of the host, for which a chunk stops the decodes as well */
};
void planner_mix(const struct planner_setup *s, const struct planner_plan *plan,
                 struct planner_mix *ret);
/* decode_s, chunk_s: 0 when there is none. */
static inline double planner_mixed_s(const struct planner_mix *m, double decode_s, double chunk_s)
{
    const double busy = chunk_s / m->stages + (chunk_s > 0 ? m->launch_s : 0);
    const double saved = busy - m->half * decode_s;

    if (decode_s <= 0) {
        return m->lone * chunk_s;
    }
    return decode_s + (saved > m->floor * busy ? saved : m->floor * busy);
}

/* ---- when: the timeline ---- */

/* One bar of a Gantt chart. */
struct planner_bar {
    unsigned stage;         /* of the pipeline, from 0 */
    bool decode;            /* else prefill */
    unsigned index;         /* micro-batch (chunk) of the prefill; token of the decode */
    enum planner_work work; /* PLANNER_WORK_MAX_: idle (a bubble) */
    double start_s, length_s;
};
/*
 * One prefill of the load's input (static: of the whole batch's) and `tokens` decode steps after
 * it, on all stages of a replica (disaggregated: the stages of the prefill side come first, those
 * of the decode side after them); by kind of work, not by layer. The prefill ends at
 * planner_evaluate()'s prefill_s: what its TTFT has beyond that (queues, the engine's host time of
 * a first token, waiting for a step) is not drawn. Each step takes its decode_step_s, which is the
 * TPOT that nobody's prefill disturbs (with speculation for tokens_per_step tokens). While other
 * requests keep the stages busy a decode has no idle bars: they are drawn where fewer requests run
 * than there are stages.
 * Ordered by start; of those that start together the idle ones first, each kind by stage. Returns
 * how many there are; at most max are written. 0 for a plan that is refused. A prefill of more than
 * PLANNER_TIMELINE_MAX chunks is drawn as if it had so many, steps beyond as many are not.
 */
enum { PLANNER_TIMELINE_MAX = 4096 };
size_t planner_timeline(const struct planner_setup *s, const struct planner_plan *plan,
                        const struct planner_load *load, unsigned tokens, struct planner_bar *out,
                        size_t max);

/* ---- the search ---- */

enum planner_objective {
    PLANNER_COST, /* chip-seconds (with a price: money) for an output token, the least first */
    PLANNER_THROUGHPUT, /* output tokens/s of all chips */
    PLANNER_LATENCY,    /* TPOT, then TTFT */
    PLANNER_EFFICIENCY, /* MFU and MBU */
    PLANNER_BALANCED,   /* the weighted sum of the four scores */
    PLANNER_CHIPS,      /* the fewest chips that meet the SLO, then cost */
    PLANNER_OBJECTIVE_MAX_,
};
int planner_objective_from_string(const char *name); /* -1 */
const char *planner_objective_name(enum planner_objective o);

/*
 * The four scores of a plan, each above 0 and at most 100, strictly monotone in their figure, and
 * the same whichever other plans there are:
 *   latency     100 / (1 + (TPOT / its SLO + TTFT / its SLO) / 2); without an SLO 50 ms and 1 s
 *               count: 50 at the SLO
 *   throughput  100 x / (x + a tenth of X), x the output tokens/s, X what max_chips chips would
 *               compute at their peak: peak FLOP/s over 2 FLOP for each active parameter
 *   efficiency  100 e / (e + .5), e = .6 MFU + .4 MBU
 *   balance     100 times the share of their time that chips do not wait for one another: (1 -
 *               bubble) (mean layers of a stage / most) (1 - communication's share of prefill and
 *               decode); 100 for a chip alone
 */
struct planner_scores {
    double latency, throughput, efficiency, balance;
};

/* Weights of the scores in PLANNER_BALANCED, used over their sum; all 0 (or none above it): .3,
 * .35, .2, .15. */
struct planner_score_weights {
    double latency, throughput, efficiency, balance;
};

enum { PLANNER_SEARCH_CHIPS_MAX = 65536 };
struct planner_question {
    unsigned max_chips; /* more than PLANNER_SEARCH_CHIPS_MAX are as many */
    double isl, osl, prefix_hit;
    double slo_ttft_s, slo_tpot_s, slo_e2e_s; /* 0: none */
    double concurrency;                       /* of the whole; 0: the largest that keeps the SLO */
    double rate_per_s;                        /* open loop, instead of a concurrency; 0: none */
    double isl_cv, osl_cv;
    unsigned draft_tokens, chunk_tokens;
    double acceptance, draft_share;
    unsigned tp, pp, ep, moe_tp, replicas; /* 0: any */
    bool sp;                               /* also with sequence parallelism */
    bool disaggregated;      /* also with other chips for the prefill, in all ratios */
    bool across_nodes;       /* a replica's tp may leave the scale-up domain */
    bool any_heads;          /* tp need neither divide the KV heads nor be a multiple of them */
    bool even_layers;        /* pp has to divide the layers */
    double min_tokens_ps;    /* output, of the whole: less is like a figure above its SLO; 0: any */
    double max_memory_share; /* of the chip's memory that the engine takes; 0: as the engine does */
    enum planner_objective objective;
    struct planner_score_weights weights;
    /* Asked every millisecond or so, from inside the search, and at its begin (0) and end (1): done
     * never falls; false ends the search. NULL: never asked. */
    bool (*go_on)(void *arg, double done);
    void *arg;
};

struct planner_candidate {
    struct planner_plan plan;
    struct planner_plan prefill; /* disaggregated: of the prefill side; else replicas is 0 */
    double concurrency;          /* of the whole; open loop: what runs at once */
    struct planner_result result;
    bool meets_slo;    /* and min_tokens_ps */
    double slo_excess; /* the largest figure over its SLO; 1 or less when it is met */
    bool pareto;  /* no other has as many tokens/s per chip and per user, and more of one; of those
                     that are alike in both the first by shape */
    double score; /* see below */
    struct planner_scores scores;
};

struct planner_findings {
    /* Best first; freed by planner_findings_finish(). All that were found, up to PLANNER_KEPT_MAX:
     * of more the best, and those of the front. */
    struct planner_candidate *candidates;
    size_t count;
    size_t found; /* plans that can be; meeting: of them, those that meet the SLO */
    size_t meeting;
    size_t tried;   /* plans, not batches: found + refused + pruned */
    size_t refused; /* cannot be, by a bound */
    size_t pruned;  /* passed over: see planner_search() */
    size_t evaluations;
    bool stopped; /* go_on said so: what was found until then */
    /* One refused plan for each bound, as an example; and the first so many of all. Their load is
     * the question's with the candidate's concurrency (planner_candidate_load()). */
    struct planner_candidate refused_example[PLANNER_BOUND_MAX_];
    size_t refused_by[PLANNER_BOUND_MAX_];
    struct planner_candidate *refusals;
    size_t refusal_count; /* at most PLANNER_REFUSALS_MAX */
};
enum { PLANNER_REFUSALS_MAX = 200, PLANNER_KEPT_MAX = 65536 };

/*
 * Tries every setting under the question's limits.
 *
 * Shapes: tp, attention dp and ep in powers of two (a number that the question names is taken as it
 * is), pp to 16; tp divides the heads and keeps slices of 64 columns (of 128 for FP8 in blocks, of
 * 8 for MXFP4, which engines pad), as engines ask; ep and moe_tp share the chips of a replica.
 * Replicas: all numbers to 16 (to 4 under a rate), beyond that powers of two, the most that there
 * is room for, and the fewest that do what is asked. Load: a rate (open loop) or a concurrency when
 * the question has one; else each shape gets the largest concurrency that keeps the SLO and finds
 * room in memory, by bisection since TPOT and TTFT rise with it, or one request when that is too
 * much already. Disaggregated plans: each decode side with each prefill side (a number that the
 * question names holds for both, its replicas for decode), as many of one as keep up with the
 * other, and no more requests than keep the narrower one busy. Passed over (pruned) are pairs with
 * a side that another of no more chips (a divisor of its; for decode as many, where the question
 * names the replicas) beats or equals: for prefill in time and prefills/s of a chip, for decode in
 * TPOT and requests/s of a chip (under a given load: in TPOT at every power of two of requests a
 * chip, and in the requests that memory holds). Such a pair can have no better TTFT, TPOT,
 * throughput or cost. Nothing else is passed over.
 *
 * Order: score downwards, ties (latency: after TTFT; chips: after cost) to fewer chips, then to the
 * smaller tp, pp, attention dp, ep, prefill side. The score is 50 + s/2 for a plan that meets the
 * SLO, and 50 / slo_excess for one that does not: what is above 50 does, and the nearest to it
 * comes first where none does. s, 0 to 100:
 *   cost        100 x / (x + a tenth of X) of one chip (see planner_scores)
 *   throughput, efficiency   that score
 *   latency     100 / (1 + TPOT / its SLO, or 50 ms)
 *   balanced    the weighted mean of the four
 *   chips       100 (1 - chips / (max_chips + 1))
 */
void planner_search(const struct planner_setup *s, const struct planner_question *q,
                    struct planner_findings *ret);
void planner_findings_finish(struct planner_findings *f);
/* The same for one plan that a person chose: one candidate, or one refusal. Only its numbers and
 * max_chips bind it, not the rules of the search; its replicas are those that are evaluated.
 * prefill: the plan of the chips that prefill (then q->concurrency is the load, and has to be
 * told); replicas 0: none. */
void planner_try(const struct planner_setup *s, const struct planner_question *q,
                 const struct planner_plan *plan, const struct planner_plan *prefill,
                 struct planner_findings *ret);
/* The load that a candidate was evaluated (or refused) under, e.g. for planner_refusal() and
 * planner_timeline(). */
struct planner_load planner_candidate_load(const struct planner_question *q,
                                           const struct planner_candidate *c);

/* ---- predictions for measurements ---- */

/* One line of a CSV of measurements, in the columns id, workload, model, precision, kv_dtype, chip,
 * chips, tp, pp, dp, ep, moe_tp, isl, osl, concurrency, req_rate, framework, metric, value, tier,
 * split_tag, note (in any order, others are passed over). What is published of a benchmark and no
 * column says, how many requests it has and whether it drafts, is in the load. */
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
