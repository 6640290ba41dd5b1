// SPDX-License-Identifier: Apache-2.0
/*
 * Inside the planner: the rows of fits, the free numbers, and the parts that evaluate() is made of.
 */
#pragma once

#include "planner/planner.h"

/* ---- fits (preset_fits.c) ---- */

enum planner_op { PLANNER_OP_GEMM, PLANNER_OP_MOE };

/* What the arithmetic units are fed with. WO: the weights only, arithmetic in bf16. */
enum planner_math {
    PLANNER_MATH_BF16,
    PLANNER_MATH_FP8,
    PLANNER_MATH_FP8_BLOCK,
    PLANNER_MATH_INT8,
    PLANNER_MATH_FP4,
    PLANNER_MATH_WO8,
    PLANNER_MATH_WO4,
    PLANNER_MATH_MXFP4,
    PLANNER_MATH_GGUF,
    PLANNER_MATH_MAX_,
};

struct planner_op_fit {
    enum planner_op op;
    const char *chip;
    enum planner_generation generation;
    enum planner_engine engine;
    enum planner_math math;
    unsigned points;
    double t0_us, ec, em, p;
    double median_error;
};

enum planner_collective {
    PLANNER_COMM_ALL_REDUCE,
    PLANNER_COMM_ALL_GATHER,
    PLANNER_COMM_REDUCE_SCATTER,
    PLANNER_COMM_ALL_TO_ALL,
};

struct planner_comm_fit {
    const char *chip;
    enum planner_collective collective;
    bool quick; /* the engine's own one-shot kernel; else NCCL */
    unsigned ranks;
    double alpha_us, bus_gbps;
};

extern const struct planner_op_fit planner_op_fits[];     /* ends with a NULL chip */
extern const struct planner_comm_fit planner_comm_fits[]; /* the same */

/* ---- the free numbers (coefficients.c) ---- */

/*
 * X(name, where the fit starts, lowest, highest, how hard it is pulled there, what it is). "times"
 * ones multiply what the tables say. tools/fit-planner moves them within their bounds and prints
 * coefficients.c. FIRM are those of kernels and wires, which were measured by themselves, and those
 * of which few rows speak; SOFT those of hosts and queues; FREE what only whole runs tell.
 */
// clang-format off
#define PLANNER_COEFFICIENTS(X)                                                                    \
    X(start_bf16_us, 2.5, 0.3, 8, FIRM, "start of a GEMM inside a captured graph")                 \
    X(start_fp8_us, 4, 0.3, 12, FIRM, "the same with its quantisation")                            \
    X(start_fp4_us, 5, 0.3, 14, FIRM, "the same")                                                  \
    X(start_wo_us, 6, 0.3, 20, FIRM, "the same, weights only")                                     \
    X(ec_bf16, 1, 0.6, 1.3, FIRM, "times the compute efficiency")                                  \
    X(ec_fp8, 1.2, 0.6, 1.35, FIRM, "the same")                                                    \
    X(ec_block, 1, 0.5, 1.8, FIRM, "the same, FP8 in blocks")                                      \
    X(ec_fp4, 1.3, 0.5, 2, FIRM, "the same")                                                       \
    X(ec_wo, 1, 0.4, 1.3, FIRM, "the same")                                                        \
    X(ec_vllm, 1, 0.6, 1.2, FIRM, "times the compute efficiency, 8 and 4 bits in vLLM")            \
    X(em_gemm, 1, 0.8, 1.2, FIRM, "times the memory efficiency")                                   \
    X(attn_em, 0.8, 0.4, 1, FIRM, "decode attention, share of the bandwidth")                      \
    X(attn_em_8, 0.75, 0.4, 1, FIRM, "the same with an 8-bit cache")                               \
    X(attn_start_us, 8, 1, 20, FIRM, "start of a decode attention")                                \
    X(attn_prefill, 1, 0.5, 2, FIRM, "times the measured share of the peak")                       \
    X(mla_em, 0.75, 0.2, 1, FIRM, "latent attention, share of the bandwidth")                      \
    X(mla_ec, 0.4, 0.1, 0.8, FIRM, "latent attention's decode, share of the peak")                 \
    X(mla_prefill, 0.45, 0.3, 0.8, FIRM, "latent attention's prefill, share of the peak")          \
    X(mla_us, 15, 0, 60, FIRM, "latent attention: time of a layer besides, by its small kernels")  \
    X(moe_start_us, 25, 3, 60, FIRM, "start of all expert kernels of a layer")                     \
    X(moe_start_new_us, 15, 2, 60, FIRM, "the same on Blackwell")                                  \
    X(moe_em, 1, 0.4, 1.3, FIRM, "times the memory efficiency")                                    \
    X(moe_ec_bf16, 1, 0.4, 2, FIRM, "times the compute efficiency")                                \
    X(moe_ec_fp8, 1, 0.4, 2, FIRM, "the same")                                                     \
    X(moe_ec_fp4, 1, 0.3, 3, FIRM, "the same")                                                     \
    X(moe_em_fp4, 1, 0.3, 1.3, FIRM, "times the memory efficiency of 4-bit experts")               \
    X(mxfp4_ec, 0.25, 0.05, 0.9, FIRM, "MXFP4 experts, share of the bf16 peak")                    \
    X(mxfp4_em, 0.8, 0.15, 1, FIRM, "MXFP4 experts, share of the bandwidth")                       \
    X(mxfp4_ec_native, 0.35, 0.05, 0.9, FIRM, "the same where the chip multiplies 4-bit numbers")  \
    X(mxfp4_em_native, 0.9, 0.15, 1, FIRM, "the same")                                             \
    X(moe_tile, 16, 0, 64, FIRM, "rows by which an expert's product is padded")                    \
    X(moe_skew, 1, 0.1, 4, FIRM, "variance of the experts' popularity, its mean 1")                \
    X(moe_permute, 0.6, 0, 2, FIRM, "sorting tokens by expert: passes over them, of four")         \
    X(moe_route_us, 15, 0, 40, FIRM, "start of dispatch and combine across ranks")                 \
    X(adp_uneven, 1.05, 1, 1.3, FREE, "attention DP of 8: the slowest rank over the mean")         \
    X(adp_prefill, 1.3, 1, 3, FREE, "attention DP: the same for a prefill")                        \
    X(route_far_us, 100, 20, 400, FIRM, "the same across nodes")                                   \
    X(far_us, 75, 20, 200, FIRM, "start of an all-reduce across nodes")                            \
    X(quick_alpha, 1.8, 0.8, 4, FIRM, "times the start of the engine's all-reduce: ranks drift")   \
    X(quick_bus, 0.6, 0.5, 1.2, FIRM, "times its bandwidth")                                       \
    X(bulk_alpha, 1.5, 0.8, 4, FIRM, "times the start of NCCL's")                                  \
    X(bulk_bus, 0.9, 0.7, 1.2, FIRM, "times its bandwidth")                                        \
    X(link_quick, 0.62, 0.3, 0.9, FIRM, "chips without fits: share of the link")                   \
    X(link_bulk, 0.8, 0.4, 1, FIRM, "the same for NCCL")                                           \
    X(pcie_bus, 0.5, 0.1, 1, FIRM, "all-reduce over PCIe: share of the slot")                      \
    X(elementwise_us, 2, 0.3, 6, FIRM, "start of an elementwise kernel")                           \
    X(elementwise_n, 5, 2, 9, FIRM, "of them in a layer")                                          \
    X(host_vllm_ms, 0.8, 0, 4, SOFT, "host time of a decode step")                                 \
    X(host_trtllm_ms, 0.3, 0, 3, SOFT, "the same")                                                 \
    X(host_sglang_ms, 0.7, 0.2, 1.1, SOFT, "the same")                                             \
    X(host_seq_us, 5, 0, 40, SOFT, "host time of a sequence in a step")                            \
    X(half, 0.7, 0, 1, SOFT, "decode steps that a prefill step saves")                             \
    X(floor, 0.3, 0.05, 1, SOFT, "least share of a prefill that it costs the others")              \
    X(prefill_ms_vllm, 0.55, 0, 1.5, SOFT, "host time of a first token for each layer")            \
    X(prefill_ms_trtllm, 0.1, 0, 1.5, SOFT, "the same")                                            \
    X(prefill_ms_sglang, 0.8, 0, 2, SOFT, "the same")                                              \
    X(prefill_ms_mla, 1, 0, 3, SOFT, "the same besides, latent attention, TensorRT-LLM and SGLang")\
    X(launch, 0.3, 0, 1.5, SOFT, "share of that for which a prefill stops the others")             \
    X(first_vllm, 0.96, 0.6, 1.5, SOFT, "TTFT: times the prefill")                                 \
    X(first_trtllm, 0.96, 0.6, 1.5, SOFT, "the same")                                              \
    X(first_sglang, 0.96, 0.6, 2, SOFT, "the same")                                                \
    X(queue_vllm, 1.17, 0, 8, SOFT, "TTFT: weight of the prefill queue")                           \
    X(queue_trtllm, 2, 0, 12, SOFT, "the same")                                                    \
    X(queue_sglang, 3, 0, 30, SOFT, "the same")                                                    \
    X(burst_vllm, 0.13, 0, 1, SOFT, "TTFT: share of the requests that come together")              \
    X(burst_trtllm, 0.12, 0, 1, SOFT, "the same")                                                  \
    X(burst_sglang, 0.9, 0.75, 1, SOFT, "the same")                                                \
    X(wait_vllm, 0.97, 0, 20, SOFT, "TTFT: decode steps before it when many are there")            \
    X(wait_trtllm, 2, 0, 20, SOFT, "the same")                                                     \
    X(wait_sglang, 1, 0, 20, SOFT, "the same")                                                     \
    X(mtp_accept, 0.6, 0.2, 0.95, FREE, "chance that a draft of the model's own heads is accepted")\
    X(held, 0.55, 0.4, 1, FREE, "share of the output for which a running request holds memory")    \
    X(held_trtllm, 0.85, 0.4, 1, FREE, "the same where memory is reserved ahead")                  \
    X(offline, 1, 0.7, 1.2, FREE, "offline: times the throughput")                                 \
    X(offline_small, 1, 0, 3, FREE, "offline: host milliseconds of an admitted request, tenths")   \
    X(mixed, 0.9, 0.5, 1, FIRM, "lengths that vary: share of the throughput")                      \
    X(server, 0.93, 0.6, 1, FIRM, "the same under a latency limit")                                \
    X(server_p99, 1.3, 0.7, 3, FIRM, "p99 of TPOT over its mean there")                            \
    X(gguf_em, 0.75, 0.4, 1, FIRM, "llama.cpp: share of the bandwidth, k-quants")                  \
    X(gguf_em_16, 0.9, 0.5, 1, FIRM, "the same, 16-bit weights")                                   \
    X(gguf_ec, 0.7, 0.2, 1.2, FIRM, "llama.cpp: share of the bf16 peak, k-quants")                 \
    X(gguf_ec_16, 0.75, 0.2, 1.2, FIRM, "the same, 16-bit weights")                                \
    X(gguf_layer_us, 15, 0, 80, FIRM, "llama.cpp: time of a layer besides")                        \
    X(gguf_attn, 0.12, 0.01, 0.8, FIRM, "llama.cpp: prefill attention, share of the peak")         \
    X(gguf_attn_em, 0.4, 0.05, 1, FIRM, "llama.cpp: decode attention, share of the bandwidth")     \
    X(gguf_unpack, 2.4, 0, 6, FIRM, "llama.cpp: bytes moved to unpack a weight for a long batch")  \
    X(gguf_overlap, 0.4, 0, 1, FIRM, "llama.cpp: share of the prefill that chips do together")     \
    X(gguf_split_ms, 0.3, 0, 5, FIRM, "llama.cpp: time of a hop between chips")                    \
    X(apple_em, 0.75, 0.4, 1, FIRM, "Apple: share of the bandwidth, k-quants")                     \
    X(apple_em_16, 0.85, 0.4, 1, FIRM, "the same, 16-bit weights")                                 \
    X(apple_ec, 0.3, 0.1, 0.8, FIRM, "Apple: share of the peak")                                   \
    X(pd_queue, 1.8, 1, 6, FREE, "disaggregated: times the prefill")                               \
    X(pd_decode, 1, 0.7, 1.6, FREE, "disaggregated: times the decode step")
// clang-format on

struct planner_coefficients {
#define X(name, start, low, high, pull, help) double name;
    PLANNER_COEFFICIENTS(X)
#undef X
};

/* ---- the parts ---- */

/* Whether the weights are in FP8 with a scale for each block of 128 x 128, as a family's published
 * checkpoints are. */
bool planner_in_blocks(const struct planner_setup *s);

/* Memory of the fullest chip: weights, activations and fixed costs. */
struct planner_memory {
    double weights, activation, fixed;
};
void planner_memory(const struct planner_setup *s, const struct planner_plan *plan, double batch,
                    unsigned chunk, struct planner_memory *ret);
/* Bytes that one request with so many tokens holds on the fullest chip. */
double planner_request_kv(const struct planner_setup *s, const struct planner_plan *plan,
                          double tokens, unsigned chunk);
unsigned planner_default_chunk(enum planner_engine e);

/* Weights by what they are for; of one layer, undivided. */
struct planner_weights {
    double attn_split; /* divided by tp */
    double attn_kv;    /* K and V projections: by tp, but no further than the heads go */
    double attn_whole; /* on every chip */
    double mlp;        /* of a dense layer */
    double expert;     /* one of them */
    double shared, router;
};
void planner_layer_weights(const struct planner_model *m, struct planner_weights *ret);

/* One pass through the model. */
struct planner_pass {
    double tokens;     /* of one attention rank */
    double everywhere; /* of all attention ranks of the replica */
    double sequences;  /* decode: of one rank; each has tokens / sequences queries */
    double context;    /* decode: mean tokens held; prefill: tokens cached before */
    bool prefill;
    double logits; /* positions that need the head */
    double uneven; /* prefill: square of the lengths' deviation over their mean */
};
/* Seconds by kind of work for all layers and the head; what is read for MBU goes to *ret_bytes,
 * what is computed for MFU to *ret_flops (both of one chip; either may be NULL). */
void planner_pass_time(const struct planner_setup *s, const struct planner_plan *plan,
                       const struct planner_pass *pass, double work[PLANNER_WORK_MAX_],
                       double *ret_bytes, double *ret_flops);
double planner_work_sum(const double work[PLANNER_WORK_MAX_]);
/* How much longer the slowest of so many ranks takes than the mean, as all wait for it: that of
 * eight is given, and of fewer it is less, as the greatest of so many draws (2 ln n) has it. */
double planner_slowest(double of_eight, unsigned ranks);
/* Which of a setup's measured wires so many ranks have: by their log2, rounded up. */
unsigned planner_wire_index(double ranks);
/* Seconds of an all-reduce of so many bytes in each of ranks, over the data sheet's links. */
double planner_all_reduce(const struct planner_setup *s, unsigned ranks, double bytes);

/* The same over the levels of s->topology, which has at least one (topology.c). Neighbours in the
 * group are inner chips apart (1: they lie side by side; tp: one of each tensor-parallel group), so
 * that a group of ranks chips spans ranks * inner of them; phases follow one another. */
double planner_topology_all_reduce(const struct planner_setup *s, unsigned inner, unsigned ranks,
                                   double bytes);
/* Each rank sends bytes in all, to the others in equal parts. */
double planner_topology_all_to_all(const struct planner_setup *s, unsigned inner, unsigned ranks,
                                   double bytes);
/* One chip to one that is so many chips away. */
double planner_topology_p2p(const struct planner_setup *s, unsigned distance, double bytes);
/* How many chips lie within links at least half as fast as the fastest, from the inside out;
 * without a topology those of the scale-up domain. */
unsigned planner_fast_domain(const struct planner_setup *s);

/* The band around a prediction of this kind: measured / predicted. */
enum planner_figure {
    PLANNER_FIGURE_TTFT,
    PLANNER_FIGURE_TPOT,
    PLANNER_FIGURE_THROUGHPUT,
    PLANNER_FIGURE_MAX_,
};
extern const struct planner_band planner_bands[PLANNER_LOAD_MAX_][PLANNER_FIGURE_MAX_];

/* Why a row cannot be predicted; the first complaint stands. */
void planner_row_complain(struct planner_row *row, const char *fmt, ...) _printf_(2, 3);

/* How near two names are: lower case letters and digits, the rest and well-known endings dropped.
 */
enum { PLANNER_NAME_MAX = 64 };
void planner_fold_name(const char *name, char out[PLANNER_NAME_MAX]);
