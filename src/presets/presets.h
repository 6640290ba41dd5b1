// SPDX-License-Identifier: Apache-2.0
/*
 * Presets: chips, models and topologies by name (the planner's own, and the user's), and what
 * people write about plans (JSON objects, YAML files, a Hugging Face config.json, a GGUF) as the
 * planner's numbers, and back.
 *
 *     YAML, JSON, files ──► presets_*        a book of names
 *     a JSON request    ──► plan_request     ──► plan_request_run ──► findings ──► plan_*_to_json
 *
 * The command line, the evaluations and the simulator all read the same words here. No state but
 * the book; a book that nobody changes may be read on any thread. Files are read by the functions
 * that say "path": blocking.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "planner/planner.h"

enum { PRESET_NAME_MAX = 96, PRESETS_MAX = 1000 };

/* With the memory of its texts. Copy by preset_*_copy: model.name points into it. */
struct preset_model {
    struct planner_model model;
    char name[PRESET_NAME_MAX], source[PRESET_NAME_MAX];
    int format; /* enum planner_format of its files; -1: not known */
};
struct preset_chip {
    struct planner_chip chip;
    char name[PRESET_NAME_MAX], source[PRESET_NAME_MAX];
};
struct preset_topology {
    struct planner_topology topology;
    char name[PRESET_NAME_MAX];
};
void preset_model_copy(struct preset_model *to, const struct preset_model *from);
void preset_chip_copy(struct preset_chip *to, const struct preset_chip *from);
/* Of the planner's own. */
void preset_model_of(struct preset_model *to, const struct planner_model *m);
void preset_chip_of(struct preset_chip *to, const struct planner_chip *c);

/* ---- the book ---- */

struct presets;
/* With the planner's own chips and models. */
struct presets *presets_create(void);
struct presets *presets_destroy(struct presets *p); /* accepts NULL, returns NULL */
/* Adds what stands in a document {chips: {NAME: {…}}, models: {NAME: {…}}, topologies: {NAME:
 * {…}}}; docs/manual tells the members. A name that stands is replaced. All or nothing: -EINVAL
 * with a sentence that begins with the member ("chips.my-card.memory_gb: …"). */
int presets_add(struct presets *p, const json_t *document, struct error *reterr) _must_check_;
/* The same of a YAML file; the sentence begins with the path. */
int presets_add_file(struct presets *p, const char *path, struct error *reterr) _must_check_;
/* By name or alias, as planner_find_chip does; the user's first. NULL when there is none. What is
 * handed out here and below stands until something is added. */
const struct planner_chip *presets_chip(const struct presets *p, const char *name);
const struct planner_model *presets_model(const struct presets *p, const char *name);
/* The same with the precision that its entry tells, to keep. */
bool presets_find_model(const struct presets *p, const char *name, struct preset_model *ret);
const struct planner_topology *presets_topology(const struct presets *p, const char *name);
/* *cursor starts at 0; NULL at the end. own: a user's. */
const struct planner_chip *presets_next_chip(const struct presets *p, size_t *cursor, bool *own);
const struct planner_model *presets_next_model(const struct presets *p, size_t *cursor, bool *own);
const struct preset_topology *presets_next_topology(const struct presets *p, size_t *cursor);

/* ---- one chip, model, topology ---- */

/*
 * A chip and a model are a name (a JSON string), {"preset": NAME} and then what differs, or an
 * object with all of it, in our own members (as in YAML; examples/presets.yaml), in seed 001's
 * (contract D.3), or, a model, a whole Hugging Face config.json. -EINVAL: the sentence begins with
 * the member. A member that is none, but nearly one ("bandwith_gbps"), is a fault; other unknown
 * ones are passed over.
 *
 * Units: memory_gb is what the maker prints on the card, so GiB (80 is 85.9e9 bytes; the size on a
 * known chip's box is the size it has); memory_bytes is exact. scaleup_gbps and scaleout_gbps are
 * GB/s in one direction. Of the seed's members intra_node_bandwidth_gbps and intra_bw_gbps count
 * both directions (halved), inter_node_bandwidth_gbps and inter_bw_gbps are Gbit/s of a NIC (an
 * eighth). A known chip_type brings its data sheet and measured kernels; figures that are given
 * win, and the other peaks keep their ratio to compute_tflops_fp16. memory_bandwidth_utilization
 * scales the bandwidth of a chip that is not known; of those that are, the planner knows better.
 */
int preset_model_from_json(const struct presets *p, const json_t *object, struct preset_model *ret,
                           struct error *reterr) _must_check_;
int preset_chip_from_json(const struct presets *p, const json_t *object, struct preset_chip *ret,
                          struct error *reterr) _must_check_;
/* Seed 001's {pods: [{racks: [{boards: [{chips}]}]}], connections}, its compact form {pod_count,
 * racks_per_pod, rack_config}, or our own {levels: [{name, groups, gbps, alpha_us, link}]}. A
 * tree's levels are as wide as its widest part. gbps is 0 where nobody tells it:
 * plan_request_from_json() takes the chip's own there. */
int preset_topology_from_json(const json_t *object, struct planner_topology *ret,
                              struct error *reterr) _must_check_;
/* In our own members; owned by the caller. */
json_t *preset_model_to_json(const struct planner_model *m);
json_t *preset_model_document(const struct preset_model *m); /* with its precision */
json_t *preset_chip_to_json(const struct planner_chip *c);
json_t *preset_topology_to_json(const struct planner_topology *t);
/* From a config.json, a directory with one, or a GGUF file. Sets format. Latent attention (MLA) is
 * not told by a GGUF: -ENOTSUP, unless its name is that of a preset. Blocking. */
int preset_model_import(const char *path, struct preset_model *ret,
                        struct error *reterr) _must_check_;
/* A topology of a YAML or JSON file, as preset_topology_from_json() reads it: the file is one, or a
 * document with just one. The sentence begins with the path. Owned by the caller; blocking. */
int preset_topology_import(const char *path, json_t **ret, struct error *reterr) _must_check_;
/* How far a chip is from what is computed of it: from figures that were measured on it (the rows of
 * `berth plan check`, or an instance of ours), sets decode_times and prefill_times to the median of
 * measured over computed. -ENODATA: no figure could be used. */
struct preset_measured {
    const struct planner_model *model;
    int engine, format, kv;
    struct planner_plan plan;
    struct planner_load load;
    double ttft_s, tpot_s; /* 0: not measured */
};
int preset_chip_calibrate(struct planner_chip *chip, const struct preset_measured *m, size_t count,
                          struct error *reterr) _must_check_;

/* ---- a question ---- */

struct plan_request {
    struct preset_model model;
    struct preset_chip chip;
    struct planner_topology topology;  /* 0 levels: none was told */
    unsigned chips;                    /* available */
    int engine, format, kv;            /* of the planner's enums */
    bool manual;                       /* only this plan: */
    struct planner_plan plan, prefill; /* prefill.replicas 0: no other chips for the prefill */
    struct planner_question question;
    unsigned top_k; /* 10 */
};
/*
 * Of a submit (contract D.3: topology, model, hardware, inference, search_mode,
 * manual_parallelism, search_constraints; all members that it names are heard or refused by name).
 * Also {model: "llama-3.1-70b", chip: "h100-sxm", chips: 8, isl, osl, …}, as `berth plan --json`
 * prints its own question (plan_request_to_json). -EINVAL: what a 400 is for; -EPROTO: the wrong
 * type, or a member is missing (a 422). field: the path of the member, "" when it is the whole.
 * The sentence begins with it.
 *
 * What the seed leaves open: batch_size is the concurrency of all replicas together; inference may
 * also have slo {ttft_ms, tpot_ms, e2e_ms}, rate_per_s (instead of batch_size), prefix_hit (0 to
 * 1), speculation {draft_tokens, acceptance, draft_share}, engine, kv_dtype, precision and
 * chunk_tokens; num_micro_batches says into how many parts the batch's prompts are cut. Without
 * batch_size, but with an SLO, the largest is searched. max_latency_ms is of a whole request.
 * optimization_target and objective: cost (tokens/s of a chip) when nobody says, balanced with
 * score_weights. A question of our own about latency, without a load or an SLO, is about one
 * request at a time.
 * Without hardware.node and cluster the links are the chip's own.
 *
 * manual_parallelism's dp counts all copies of the attention. Of a dense model they are replicas.
 * Of a mixture of experts ep * moe_tp / tp of them share the experts (attention_dp), so that dp *
 * tp = moe_tp * ep makes one replica and a multiple of it several; experts of which nothing is said
 * are cut like the attention (moe_tp = tp). sp is 1, or tp. In the answer dp is the same product.
 * With a member prefill, of the same members, other chips do the prefill, in that plan; it needs a
 * batch_size.
 */
int plan_request_from_json(const struct presets *p, const json_t *body, struct plan_request *ret,
                           char field[PRESET_NAME_MAX], struct error *reterr) _must_check_;
/* Sets up and searches (or tries the one plan). setup is filled, and points into the request. */
void plan_request_run(const struct plan_request *r, bool (*go_on)(void *arg, double done),
                      void *arg, struct planner_setup *setup, struct planner_findings *ret);
/* In our own members: read again it is the same question. Owned by the caller. */
json_t *plan_request_to_json(const struct plan_request *r);

/* ---- the answer ---- */

/* A plan as contract D.4 has it {parallelism, chips, is_feasible, throughput, tps_per_chip, ttft,
 * tpot, mfu, mbu, score, infeasible_reason}, and beyond: plan_id, memory, and of a feasible one
 * e2e, bands, breakdown, energy, cost, pareto, concurrency, scores. A plan that is refused, or
 * misses a limit that was set, has zeros and the reason with its numbers. */
json_t *plan_candidate_to_json(const struct plan_request *r, const struct planner_setup *setup,
                               const struct planner_candidate *c);
/* {total_plans, feasible_plans, infeasible_plans, pruned_plans, evaluations, refused_by {…}}: of
 * all that were tried, not of those that are kept. total is the sum of the three; refused_by names
 * the bounds, and "limits" those that fit but miss what was set. */
json_t *plan_stats_to_json(const struct planner_findings *f);
