// SPDX-License-Identifier: Apache-2.0
/*
 * A question as seed 001 asks it: {topology, model, hardware, inference, search_mode,
 * manual_parallelism, search_constraints}. Where the seed counts differently (both directions of a
 * link, bits between nodes, a card's gigabytes), it is turned into the planner's units here.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "presets/presets_int.h"

// clang-format off
static const char *const known_inference[] = {
    "batch_size", "input_seq_length", "output_seq_length", "max_seq_length", "num_micro_batches", "rate_per_s", "request_rate", "prefix_hit",
    "slo", "slo_ttft_ms", "slo_tpot_ms", "slo_e2e_ms", "speculation", "engine", "kv_dtype", "kv_cache_dtype", "chunk_tokens", "precision",
    "isl_cv", "osl_cv", NULL,
};
static const char *const known_constraints[] = {
    "max_chips", "top_k", "max_latency_ms", "min_throughput", "max_memory_ratio", "tp_divides_heads", "pp_divides_layers", "tp_within_node",
    "optimization_target", "score_weights", "disaggregated", NULL,
};
static const char *const known_speculation[] = { "draft_tokens", "acceptance", "draft_share", NULL };
static const char *const known_node[] = {
    "chips_per_node", "intra_node_bandwidth_gbps", "intra_node_latency_us", "bandwidth_utilization", "startup_latency_us", "sync_latency_us", NULL,
};
static const char *const known_cluster[] = { "num_nodes", "inter_node_bandwidth_gbps", "inter_node_latency_us", NULL };
// clang-format on

/* ---- hardware and topology ---- */

/* hardware.node and hardware.cluster in the planner's units. 0: not told. */
struct links {
    unsigned node_chips, nodes;
    double node_gbps, node_us, far_gbps, far_us;
};

static void read_links(const struct fields *hardware, struct links *l)
{
    const struct fields node = fields_object(hardware, "node", false);
    const struct fields cluster = fields_object(hardware, "cluster", false);
    double start;

    fields_spelling(&node, known_node);
    fields_spelling(&cluster, known_cluster);
    l->node_chips = fields_count(&node, "chips_per_node", 1, 65536, 0);
    l->node_gbps = fields_number(&node, "intra_node_bandwidth_gbps", 1e-3, 1e6, 0) / 2;
    l->node_gbps *= fields_number(&node, "bandwidth_utilization", 0.01, 1, 1);
    l->node_us = fields_number(&node, "intra_node_latency_us", 0, 1e6, 0);
    start = fields_number(&node, "startup_latency_us", 0, 1e6, 0) +
            fields_number(&node, "sync_latency_us", 0, 1e6, 0);
    l->node_us += start;
    l->nodes = fields_count(&cluster, "num_nodes", 1, 65536, 0);
    l->far_gbps = fields_number(&cluster, "inter_node_bandwidth_gbps", 1e-3, 1e6, 0) / 8;
    l->far_us = fields_number(&cluster, "inter_node_latency_us", 0, 1e6, 0);
}

/* By distance: a board's chips are a node's, racks have PCIe where it is told, pods the network,
 * and beyond a pod it is half as fast and twice as far. */
static void set_speeds(struct planner_topology *t, const struct links *l,
                       const struct chip_extras *e)
{
    for (unsigned i = 0; i < t->level_count; i++) {
        struct planner_level *v = &t->levels[i];
        const bool rack = str_eq(v->name, "rack"), last = str_eq(v->name, "cluster");
        const double gbps = i == 0                     ? l->node_gbps
                            : rack && e->pcie_gbps > 0 ? e->pcie_gbps
                                                       : l->far_gbps;
        const double us = i == 0 ? l->node_us : rack && e->pcie_us > 0 ? e->pcie_us : l->far_us;

        v->gbps = gbps > 0 ? gbps / (last && i > 0 ? 2 : 1) : v->gbps;
        v->alpha_us = us > 0 ? us * (last && i > 0 ? 2 : 1) : v->alpha_us;
        v->link = rack && i > 0 && e->pcie_gbps > 0 ? PLANNER_LINK_PCIE : PLANNER_LINK_SWITCH;
    }
}

/* Nodes that are not the boards of the tree: so many chips in one, and as many as are needed. */
static void set_nodes(const struct fields *hardware, const struct links *l, unsigned chips,
                      struct planner_topology *t)
{
    const unsigned nodes = MAX_OF((chips + l->node_chips - 1) / l->node_chips, l->nodes);

    if ((double)nodes * l->node_chips > PLANNER_SEARCH_CHIPS_MAX) {
        fields_fault(hardware, -EINVAL, "cluster.num_nodes",
                     "%u nodes of %u chips are more than %d chips", nodes, l->node_chips,
                     PLANNER_SEARCH_CHIPS_MAX);
        return;
    }
    memset(t, 0, sizeof(*t));
    t->levels[0] = (struct planner_level){ .name = "node", .groups = l->node_chips };
    t->levels[1] = (struct planner_level){ .name = "nodes", .groups = nodes };
    t->level_count = nodes > 1 ? 2 : 1;
}

static void read_places(const json_t *body, const struct fields *hardware,
                        const struct chip_extras *extras, struct plan_request *r,
                        struct fault *fault)
{
    const json_t *topology = json_object_get(body, "topology");
    struct links l = { 0 };

    read_links(hardware, &l);
    topology_read(topology, "topology", fault, &r->topology, &r->chips);
    if (fault->code != 0) {
        return;
    }
    if (l.node_chips > 0 && l.node_chips != r->topology.levels[0].groups) {
        set_nodes(hardware, &l, r->chips, &r->topology);
    }
    set_speeds(&r->topology, &l, extras);
    if (r->chip.chip.scaleup_gbps <= 0) { /* a chip that nobody knows has the links of its node */
        r->chip.chip.scaleup_gbps = l.node_gbps;
    }
    if (r->chip.chip.scaleout_gbps <= 0) {
        r->chip.chip.scaleout_gbps = l.far_gbps;
    }
    request_fill_links(&r->topology, &r->chip.chip);
    r->chip.chip.scaleup_chips = r->topology.levels[0].groups;
}

/* ---- inference ---- */

/* An SLO stands in an object of its own or beside the lengths. */
static void read_slo(const struct fields *inference, struct planner_question *q)
{
    static const char *const known[] = { "ttft_ms", "tpot_ms", "e2e_ms", NULL };
    const struct fields slo = fields_object(inference, "slo", false);
    const struct {
        const char *inner, *outer;
        double *value;
    } rows[] = { { "ttft_ms", "slo_ttft_ms", &q->slo_ttft_s },
                 { "tpot_ms", "slo_tpot_ms", &q->slo_tpot_s },
                 { "e2e_ms", "slo_e2e_ms", &q->slo_e2e_s } };

    fields_spelling(&slo, known);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const double outer = fields_number(inference, rows[i].outer, 0, 1e12, 0);

        *rows[i].value = fields_number(&slo, rows[i].inner, 0, 1e12, outer) / 1e3;
    }
}

static void read_speculation(const struct fields *inference, struct planner_question *q)
{
    const struct fields s = fields_object(inference, "speculation", false);

    fields_spelling(&s, known_speculation);
    q->draft_tokens = fields_count(&s, "draft_tokens", 0, 64, 0);
    q->acceptance = fields_number(&s, "acceptance", 0, 1, q->draft_tokens > 0 ? 0.7 : 0);
    q->draft_share = fields_number(&s, "draft_share", 0, 1, 0);
}

/* The batch's prompts in so many parts: so many tokens are prefilled in a step. */
static void read_chunk(const struct fields *f, struct planner_question *q)
{
    const double parts = fields_count(f, "num_micro_batches", 1, 65536, 0);
    const double chunk = parts > 0 ? ceil(q->isl * fmax(q->concurrency, 1) / parts) : 0;

    q->chunk_tokens = chunk > 0 ? (unsigned)fmin(fmax(chunk, 128), 8192) : 0;
    q->chunk_tokens = fields_count(f, "chunk_tokens", 0, 1 << 20, q->chunk_tokens);
}

static void check_lengths(const struct fields *f, const struct planner_question *q,
                          unsigned positions)
{
    const double longest = fields_count(f, "max_seq_length", 1, 1U << 30, 0);

    if (longest > 0 && q->isl + q->osl > longest) {
        fields_fault(f, -EINVAL, "max_seq_length",
                     "%.0f tokens in and %.0f out are more than these %.0f", q->isl, q->osl,
                     longest);
    }
    if (positions > 0 && q->isl + q->osl > positions) {
        fields_fault(f, -EINVAL, "input_seq_length",
                     "with the output it is %.0f tokens, and the model's max_seq_length is %u",
                     q->isl + q->osl, positions);
    }
}

static void read_inference(const struct fields *f, unsigned positions, struct plan_request *r)
{
    static const char *const rates[] = { "rate_per_s", "request_rate", NULL };
    static const char *const kvs[] = { "kv_dtype", "kv_cache_dtype", NULL };
    struct planner_question *q = &r->question;

    fields_spelling(f, known_inference);
    fields_require(f, "input_seq_length");
    fields_require(f, "output_seq_length");
    q->isl = fields_count(f, "input_seq_length", 1, 100000000, 1);
    q->osl = fields_count(f, "output_seq_length", 1, 100000000, 1);
    q->isl_cv = fields_number(f, "isl_cv", 0, 10, 0);
    q->osl_cv = fields_number(f, "osl_cv", 0, 10, 0);
    q->concurrency = fields_count(f, "batch_size", 1, 10000000, 0);
    q->rate_per_s = fields_number(f, fields_pick(f, rates), 1e-9, 1e7, 0);
    q->prefix_hit = fields_number(f, "prefix_hit", 0, 1, 0);
    read_slo(f, q);
    read_speculation(f, q);
    if (q->rate_per_s > 0) {
        q->concurrency = 0; /* it follows from the rate */
    } else if (q->slo_ttft_s + q->slo_tpot_s + q->slo_e2e_s <= 0) {
        fields_require(f, "batch_size");
    }
    read_chunk(f, q);
    r->engine = fields_word(f, "engine", planner_engine_from_string, PLANNER_ENGINE_WORDS,
                            PLANNER_ENGINE_VLLM);
    r->kv = fields_word(f, fields_pick(f, kvs), planner_kv_format_from_string,
                        "bf16, fp16, fp8 and int4 are known", PLANNER_KV_AUTO);
    r->format = r->model.format >= 0 ? r->model.format : PLANNER_BF16;
    r->format =
        fields_word(f, "precision", planner_format_from_string, PLANNER_FORMAT_WORDS, r->format);
    check_lengths(f, q, positions);
}

/* ---- search ---- */

static void read_constraints(const struct fields *f, struct plan_request *r)
{
    const struct fields c = fields_object(f, "search_constraints", false);
    struct planner_question *q = &r->question;
    const double latency = fields_number(&c, "max_latency_ms", 1e-3, 1e12, 0) / 1e3;
    const int usual = fields_has(&c, "score_weights") ? PLANNER_BALANCED : PLANNER_COST;

    fields_spelling(&c, known_constraints);
    q->max_chips = fields_count(&c, "max_chips", 1, 65536, r->chips);
    if (q->max_chips > r->chips) {
        fields_fault(&c, -EINVAL, "max_chips", "%u are more than the %u chips of the topology",
                     q->max_chips, r->chips);
    }
    r->top_k = fields_count(&c, "top_k", 1, 100, 10);
    q->slo_e2e_s =
        latency > 0 && (q->slo_e2e_s <= 0 || latency < q->slo_e2e_s) ? latency : q->slo_e2e_s;
    q->min_tokens_ps = fields_number(&c, "min_throughput", 0, 1e12, 0);
    q->max_memory_share = fields_number(&c, "max_memory_ratio", 0.01, 1, 0);
    q->any_heads = !fields_bool(&c, "tp_divides_heads", true);
    q->even_layers = fields_bool(&c, "pp_divides_layers", false);
    q->across_nodes = !fields_bool(&c, "tp_within_node", true);
    q->disaggregated = fields_bool(&c, "disaggregated", false);
    q->objective = (enum planner_objective)fields_word(
        &c, "optimization_target", planner_objective_from_string,
        "latency, throughput, efficiency, balanced, cost and chips are known", usual);
    weights_read(&c, "score_weights", &q->weights);
}

static void read_mode(const struct fields *f, struct plan_request *r)
{
    const char *mode = fields_text(f, "search_mode");

    fields_require(f, "search_mode");
    if (!mode) {
        return;
    }
    if (!str_eq(mode, "auto") && !str_eq(mode, "manual")) {
        fields_fault(f, -EPROTO, "search_mode", "'%.40s' is neither auto nor manual", mode);
    }
    r->manual = str_eq(mode, "manual");
    if (!r->manual) {
        return;
    }
    if (!fields_has(f, "manual_parallelism")) {
        fields_fault(f, -EPROTO, "manual_parallelism",
                     "search_mode is manual, so this has to be there");
        return;
    }
    if (!json_is_object(fields_get(f, "manual_parallelism"))) {
        fields_fault(f, -EPROTO, "manual_parallelism", "this has to be an object");
        return;
    }
    plan_read(f, "manual_parallelism", r);
}

void request_read_submit(const struct presets *p, const json_t *body, struct plan_request *ret,
                         struct fault *fault)
{
    static const char *const parts[] = { "topology", "model", "hardware", "inference" };
    const struct fields f = fields_of(body, "", fault);
    struct fields hardware, inference;
    struct chip_extras extras = { 0 };
    unsigned positions;

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        fields_require(&f, parts[i]);
    }
    hardware = fields_object(&f, "hardware", true);
    inference = fields_object(&f, "inference", true);
    fields_require(&hardware, "chip");
    if (fault->code != 0) {
        return;
    }
    model_read(p, fields_get(&f, "model"), "model", fault, &ret->model, &positions);
    chip_read(p, fields_get(&hardware, "chip"), "hardware.chip", fault, &ret->chip, &extras);
    read_places(body, &hardware, &extras, ret, fault);
    read_inference(&inference, positions, ret);
    read_constraints(&f, ret);
    read_mode(&f, ret);
}
