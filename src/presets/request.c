// SPDX-License-Identifier: Apache-2.0
/*
 * A question in our own members ({model, chip, chips, isl, osl, …}), as `berth plan` asks and
 * prints it; and how a question is run. The members of seed 001's requests are in submit.c.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "presets/presets_int.h"

// clang-format off
static const char *const known[] = {
    "model", "chip", "chips", "topology", "engine", "precision", "isl", "osl", "isl_cv", "osl_cv", "concurrency", "rate_per_s", "prefix_hit",
    "slo_ttft_ms", "slo_tpot_ms", "slo_e2e_ms", "draft_tokens", "acceptance", "draft_share", "chunk_tokens", "moe_tp", "replicas",
    "disaggregated", "across_nodes", "any_heads", "even_layers", "min_tokens_per_s", "max_memory_share", "objective", "score_weights",
    "price_hour", "top_k", NULL,
};
// clang-format on

int request_default_format(const struct planner_chip *c, int engine)
{
    if (engine == PLANNER_ENGINE_LLAMACPP) {
        return PLANNER_Q4_K_M;
    }
    return c->fp8_tflops > 0 ? PLANNER_FP8 : PLANNER_BF16;
}

void request_fill_links(struct planner_topology *t, const struct planner_chip *c)
{
    for (unsigned i = 0; i < t->level_count; i++) {
        struct planner_level *l = &t->levels[i];

        if (l->gbps <= 0) {
            l->gbps = fmax(i == 0 ? c->scaleup_gbps : c->scaleout_gbps, 1);
        }
    }
}

void weights_read(const struct fields *f, const char *name, struct planner_score_weights *ret)
{
    static const char *const words[] = { "latency", "throughput", "efficiency", "balance", NULL };
    const struct fields w = fields_object(f, name, false);
    const struct planner_score_weights usual = { 0.3, 0.35, 0.2, 0.15 };
    double *const values[] = { &ret->latency, &ret->throughput, &ret->efficiency, &ret->balance };

    *ret = usual;
    if (!w.object) {
        return;
    }
    fields_spelling(&w, words);
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        *values[i] = fields_number(&w, words[i], 0, 1e6, 0);
    }
    if (ret->latency + ret->throughput + ret->efficiency + ret->balance <= 0) {
        fields_fault(f, -EINVAL, name, "one of them has to be more than 0");
    }
}

/* ---- reading ---- */

static void read_topology(const struct presets *p, const struct fields *f, struct plan_request *r)
{
    const json_t *told = fields_get(f, "topology");
    const struct planner_topology *named;
    unsigned chips = 0;

    if (!told) {
        return;
    }
    if (json_is_string(told)) {
        named = presets_topology(p, json_string_value(told));
        if (!named) {
            fields_fault(f, -EINVAL, "topology", "there is no topology '%.64s'",
                         json_string_value(told));
            return;
        }
        r->topology = *named;
        chips = (unsigned)fmin(planner_topology_chips(named), 65536);
    } else {
        topology_read(told, "topology", f->fault, &r->topology, &chips);
    }
    request_fill_links(&r->topology, &r->chip.chip);
    if (r->topology.level_count > 0) {
        r->chip.chip.scaleup_chips = r->topology.levels[0].groups;
    }
    if (fields_has(f, "chips") && r->chips > chips) {
        fields_fault(f, -EINVAL, "chips", "%u are more than the %u of the topology", r->chips,
                     chips);
    } else if (!fields_has(f, "chips")) {
        r->chips = chips;
    }
}

static void read_load(const struct fields *f, struct planner_question *q)
{
    q->isl = fields_number(f, "isl", 1, 1e8, 1024);
    q->osl = fields_number(f, "osl", 1, 1e8, 256);
    q->isl_cv = fields_number(f, "isl_cv", 0, 10, 0);
    q->osl_cv = fields_number(f, "osl_cv", 0, 10, 0);
    q->concurrency = fields_number(f, "concurrency", 0, 1e7, 0);
    q->rate_per_s = fields_number(f, "rate_per_s", 0, 1e7, 0);
    q->prefix_hit = fields_number(f, "prefix_hit", 0, 1, 0);
    q->chunk_tokens = fields_count(f, "chunk_tokens", 0, 1 << 20, 0);
    q->draft_tokens = fields_count(f, "draft_tokens", 0, 64, 0);
    q->acceptance = fields_number(f, "acceptance", 0, 1, q->draft_tokens > 0 ? 0.7 : 0);
    q->draft_share = fields_number(f, "draft_share", 0, 1, 0);
    if (q->concurrency > 0 && q->rate_per_s > 0) {
        fields_fault(f, -EINVAL, "rate_per_s", "a concurrency is told as well: say one of them");
    }
}

static void read_limits(const struct fields *f, struct planner_question *q)
{
    q->slo_ttft_s = fields_number(f, "slo_ttft_ms", 0, 1e9, 0) / 1e3;
    q->slo_tpot_s = fields_number(f, "slo_tpot_ms", 0, 1e9, 0) / 1e3;
    q->slo_e2e_s = fields_number(f, "slo_e2e_ms", 0, 1e12, 0) / 1e3;
    q->tp = fields_count(f, "tp", 0, 65536, 0);
    q->pp = fields_count(f, "pp", 0, 65536, 0);
    q->ep = fields_count(f, "ep", 0, 65536, 0);
    q->moe_tp = fields_count(f, "moe_tp", 0, 65536, 0);
    q->replicas = fields_count(f, "replicas", 0, 65536, 0);
    q->sp = fields_bool(f, "sp", false);
    q->disaggregated = fields_bool(f, "disaggregated", false);
    q->across_nodes = fields_bool(f, "across_nodes", false);
    q->any_heads = fields_bool(f, "any_heads", false);
    q->even_layers = fields_bool(f, "even_layers", false);
    q->min_tokens_ps = fields_number(f, "min_tokens_per_s", 0, 1e12, 0);
    q->max_memory_share = fields_number(f, "max_memory_share", 0, 1, 0);
}

static void read_words(const struct fields *f, struct plan_request *r)
{
    const int usual = fields_has(f, "score_weights") ? PLANNER_BALANCED : PLANNER_COST;
    int format, objective;

    r->engine = fields_word(f, "engine", planner_engine_from_string, PLANNER_ENGINE_WORDS,
                            PLANNER_ENGINE_VLLM);
    format = request_default_format(&r->chip.chip, r->engine);
    r->format = fields_word(f, "precision", planner_format_from_string, PLANNER_FORMAT_WORDS,
                            r->model.format >= 0 ? r->model.format : format);
    r->kv = fields_word(f, "kv", planner_kv_format_from_string, PLANNER_KV_WORDS, PLANNER_KV_AUTO);
    objective =
        fields_word(f, "objective", planner_objective_from_string,
                    "cost, throughput, latency, efficiency, balanced and chips are known", usual);
    r->question.objective = (enum planner_objective)objective;
    weights_read(f, "score_weights", &r->question.weights);
}

/* The least latency, under no load that anybody tells and no limit, is that of a request alone. */
static void default_load(struct planner_question *q)
{
    if (q->objective == PLANNER_LATENCY && q->concurrency <= 0 && q->rate_per_s <= 0 &&
        q->slo_ttft_s + q->slo_tpot_s + q->slo_e2e_s <= 0) {
        q->concurrency = 1;
    }
}

void request_read_own(const struct presets *p, const json_t *body, struct plan_request *ret,
                      struct fault *fault)
{
    const struct fields f = fields_of(body, "", fault);

    fields_spelling(&f, known);
    fields_require(&f, "model");
    fields_require(&f, "chip");
    if (fault->code != 0) {
        return;
    }
    model_read(p, fields_get(&f, "model"), "model", fault, &ret->model, NULL);
    chip_read(p, fields_get(&f, "chip"), "chip", fault, &ret->chip, NULL);
    ret->chip.chip.price_hour = fields_number(&f, "price_hour", 0, 1e9, ret->chip.chip.price_hour);
    ret->chips = fields_count(&f, "chips", 1, 65536, 8);
    read_topology(p, &f, ret);
    read_words(&f, ret);
    read_load(&f, &ret->question);
    read_limits(&f, &ret->question);
    default_load(&ret->question);
    ret->question.max_chips = ret->chips;
    ret->top_k = fields_count(&f, "top_k", 1, 100000, 10);
    ret->manual = fields_has(&f, "plan");
    if (ret->manual) {
        plan_read(&f, "plan", ret);
    }
}

/* What a request of seed 001 has and ours has not. */
static bool is_submit(const json_t *body)
{
    return json_object_get(body, "hardware") || json_object_get(body, "inference") ||
           json_object_get(body, "search_mode") || !json_object_get(body, "chip");
}

int plan_request_from_json(const struct presets *p, const json_t *body, struct plan_request *ret,
                           char field[PRESET_NAME_MAX], struct error *reterr)
{
    struct fault fault = { 0 };
    struct plan_request r;
    int result;

    memset(&r, 0, sizeof(r));
    field[0] = '\0';
    if (is_submit(body)) {
        request_read_submit(p, body, &r, &fault);
    } else {
        request_read_own(p, body, &r, &fault);
    }
    result = fault_result(&fault, field, reterr);
    if (result == 0) {
        *ret = r;
        preset_model_copy(&ret->model, &r.model);
        preset_chip_copy(&ret->chip, &r.chip);
    }
    return result;
}

/* ---- running ---- */

void plan_request_run(const struct plan_request *r, bool (*go_on)(void *arg, double done),
                      void *arg, struct planner_setup *setup, struct planner_findings *ret)
{
    struct planner_question q = r->question;

    q.go_on = go_on;
    q.arg = arg;
    planner_setup_init(setup, &r->model.model, &r->chip.chip, (enum planner_engine)r->engine,
                       (enum planner_format)r->format, (enum planner_kv_format)r->kv, NULL);
    if (r->topology.level_count > 0) {
        planner_setup_topology(setup, &r->topology);
    }
    if (r->manual) {
        planner_try(setup, &q, &r->plan, &r->prefill, ret);
    } else {
        planner_search(setup, &q, ret);
    }
}

/* ---- back ---- */

static void put_number(json_t *o, const char *name, double v)
{
    if (v > 0 && isfinite(v)) {
        json_object_set_new(o, name, json_real(v));
    }
}

static void put_count(json_t *o, const char *name, unsigned v)
{
    if (v > 0) {
        json_object_set_new(o, name, json_integer(v));
    }
}

static void put_bool(json_t *o, const char *name, bool v)
{
    if (v) {
        json_object_set_new(o, name, json_true());
    }
}

static void put_load(json_t *o, const struct planner_question *q)
{
    put_number(o, "isl", q->isl);
    put_number(o, "osl", q->osl);
    put_number(o, "isl_cv", q->isl_cv);
    put_number(o, "osl_cv", q->osl_cv);
    put_number(o, "concurrency", q->concurrency);
    put_number(o, "rate_per_s", q->rate_per_s);
    put_number(o, "prefix_hit", q->prefix_hit);
    put_count(o, "chunk_tokens", q->chunk_tokens);
    put_count(o, "draft_tokens", q->draft_tokens);
    put_number(o, "acceptance", q->acceptance);
    put_number(o, "draft_share", q->draft_share);
}

static void put_limits(json_t *o, const struct planner_question *q)
{
    put_number(o, "slo_ttft_ms", q->slo_ttft_s * 1e3);
    put_number(o, "slo_tpot_ms", q->slo_tpot_s * 1e3);
    put_number(o, "slo_e2e_ms", q->slo_e2e_s * 1e3);
    put_count(o, "tp", q->tp);
    put_count(o, "pp", q->pp);
    put_count(o, "ep", q->ep);
    put_count(o, "moe_tp", q->moe_tp);
    put_count(o, "replicas", q->replicas);
    put_bool(o, "sp", q->sp);
    put_bool(o, "disaggregated", q->disaggregated);
    put_bool(o, "across_nodes", q->across_nodes);
    put_bool(o, "any_heads", q->any_heads);
    put_bool(o, "even_layers", q->even_layers);
    put_number(o, "min_tokens_per_s", q->min_tokens_ps);
    put_number(o, "max_memory_share", q->max_memory_share);
    json_object_set_new(o, "objective", json_string(planner_objective_name(q->objective)));
    json_object_set_new(o, "score_weights",
                        json_pack("{s:f, s:f, s:f, s:f}", "latency", q->weights.latency,
                                  "throughput", q->weights.throughput, "efficiency",
                                  q->weights.efficiency, "balance", q->weights.balance));
}

static json_t *plan_to_json(const struct planner_plan *p)
{
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:b}", "tp", (int)p->tp, "pp", (int)p->pp,
                     "attention_dp", (int)p->adp, "ep", (int)p->ep, "moe_tp", (int)p->moe_tp,
                     "replicas", (int)p->replicas, "sp", p->sp);
}

json_t *plan_request_to_json(const struct plan_request *r)
{
    static const char *const kvs[PLANNER_KV_MAX_] = { "auto", "16", "8", "4" };
    json_t *o = json_object();

    json_object_set_new(o, "model", preset_model_to_json(&r->model.model));
    json_object_set_new(o, "chip", preset_chip_to_json(&r->chip.chip));
    put_count(o, "chips", r->question.max_chips);
    if (r->topology.level_count > 0) {
        json_object_set_new(o, "topology", preset_topology_to_json(&r->topology));
    }
    json_object_set_new(o, "engine",
                        json_string(planner_engine_name((enum planner_engine)r->engine)));
    json_object_set_new(o, "precision",
                        json_string(planner_format_name((enum planner_format)r->format)));
    json_object_set_new(o, "kv", json_string(kvs[r->kv]));
    put_load(o, &r->question);
    put_limits(o, &r->question);
    put_count(o, "top_k", r->top_k);
    if (r->manual) {
        json_t *plan = plan_to_json(&r->plan);

        if (r->prefill.replicas > 0) {
            json_object_set_new(plan, "prefill", plan_to_json(&r->prefill));
        }
        json_object_set_new(o, "plan", plan);
    }
    return o;
}
