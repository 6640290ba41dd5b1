// SPDX-License-Identifier: Apache-2.0
/*
 * What the planner knows: chips, models, and the times of its links, as seed 001's pages show them.
 * Every figure is one that the planner computes with; what it has no figure for is null, and what
 * is no measurement of this very chip is named in "defaults".
 */
#include <stdlib.h>

#include "api/planner_doors_int.h"
#include "base/mem.h"

#define REFERENCE_CHIP  "H100-SXM"
#define REFERENCE_MODEL "llama-3.1-8b"

/* ---- chips ---- */

static const char *rung_word(int rung)
{
    static const char *const words[] = { "this chip", "another chip of its generation",
                                         "generic values" };

    return words[rung >= 0 && rung < (int)ARRAY_SIZE(words) ? rung : 2];
}

/* What the planner would compute with, for the times of the links: they are any model's. */
static void set_up(const struct presets *presets, const struct planner_chip *chip,
                   struct planner_setup *ret)
{
    const struct planner_model *model = presets_model(presets, REFERENCE_MODEL);

    if (!model) {
        model = &planner_models[0];
    }
    planner_setup_init(ret, model, chip, PLANNER_ENGINE_VLLM, PLANNER_BF16, PLANNER_KV_AUTO, NULL);
}

static json_t *number_or_null(double n)
{
    return n > 0 ? json_real(n) : json_null();
}

/* One time stands for all that happens until the first byte is there. */
static json_t *latency_json(double link_us)
{
    return json_pack("{s:f, s:f, s:f, s:f}", "chip_to_chip_us", link_us, "comm_start_overhead_us",
                     0.0, "memory_read_latency_us", 0.0, "memory_write_latency_us", 0.0);
}

static json_t *chip_json(const struct presets *presets, const struct planner_chip *c, bool own)
{
    struct planner_setup setup;
    json_t *json, *defaults;
    double near_us, far_us;

    set_up(presets, c, &setup);
    near_us = setup.quick[1].alpha_s * 1e6;
    far_us = setup.across.alpha_s * 1e6;
    defaults = json_pack("[s, s]", "inter_latency_us", "comm_latency");
    if (setup.rung > 0) {
        json_array_append_new(defaults, json_string("intra_latency_us"));
    }
    json = json_pack("{s:s, s:s, s:s, s:f, s:n, s:n, s:f, s:o, s:o, s:f, s:f, s:o}", "id", c->name,
                     "name", c->name, "flops_dtype", "bf16", "compute_tflops", c->bf16_tflops,
                     "num_cores", "sram_size_mb", "dram_bandwidth_gbps", c->bandwidth_gbps,
                     "intra_bw_gbps", number_or_null(c->scaleup_gbps), "inter_bw_gbps",
                     number_or_null(c->scaleout_gbps), "intra_latency_us", near_us,
                     "inter_latency_us", far_us, "comm_latency", latency_json(near_us));
    json_object_update_new(
        json,
        json_pack("{s:f, s:o, s:o, s:o, s:i, s:o, s:o, s:o, s:b, s:s, s:o}", "memory_gb",
                  c->memory_gb, "fp8_tflops", number_or_null(c->fp8_tflops), "fp4_tflops",
                  number_or_null(c->fp4_tflops), "int8_tops", number_or_null(c->int8_tops),
                  "scaleup_chips", (int)c->scaleup_chips, "tdp_w", number_or_null(c->tdp_w),
                  "price_hour", number_or_null(c->price_hour), "source", json_text(c->source),
                  "own", (int)own, "efficiency_from", rung_word(setup.rung), "defaults", defaults));
    return json;
}

static void handle_chips(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct evaluations *v = planner_evaluations(owner, x);
    const struct presets *presets = v ? evaluations_presets(v) : NULL;
    json_t *chips = json_array();
    const struct planner_chip *chip;
    size_t cursor = 0;
    bool own;

    while (presets && (chip = presets_next_chip(presets, &cursor, &own))) {
        json_array_append_new(chips, chip_json(presets, chip, own));
    }
    if (presets) {
        http_respond_json(x, 200, json_pack("{s:O}", "chips", chips));
    }
    json_decref(chips);
}

/* ---- times of links ---- */

/* As a protocol's and a network's: of one chip, since the planner has no others. */
static json_t *runtime_json(const struct planner_chip *chip, const struct planner_setup *s)
{
    const double bus = s->bulk[3].bytes_ps, link = chip->scaleup_gbps * 1e9;

    return json_pack(
        "{s:{s:f, s:f, s:f, s:f}, s:{s:f, s:f, s:f}, s:s, s:[s, s, s, s, s, s], s:s}", "protocol",
        "rtt_tp_us", s->quick[3].alpha_s * 1e6, "rtt_ep_us", s->across.alpha_s * 1e6,
        "bandwidth_utilization", link > 0 ? bus / link : 0, "sync_latency_us", 0.0, "network",
        "switch_delay_us", 0.0, "cable_delay_us", 0.0, "link_delay_us", s->across.alpha_s * 1e6,
        "chip", chip->name, "defaults", "rtt_ep_us", "sync_latency_us", "switch_delay_us",
        "cable_delay_us", "link_delay_us", s->rung > 0 ? "rtt_tp_us" : "network", "note",
        "rtt_tp_us: start of an all-reduce of 8 chips; bandwidth_utilization: the share of the "
        "scale-up link that a large one reaches; link_delay_us: start of a transfer between nodes, "
        "switches, cables and synchronisation included");
}

static void handle_runtime(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct evaluations *v = planner_evaluations(owner, x);
    _cleanup_(freep) char *name = http_query_get(http_exchange_head(x)->query, "chip");
    const struct planner_chip *chip;
    struct planner_setup setup;

    if (!v) {
        return;
    }
    chip = presets_chip(evaluations_presets(v), name ? name : REFERENCE_CHIP);
    if (!chip) {
        respond_detail(x, 404, "there is no chip '%.80s'", name ? name : REFERENCE_CHIP);
        return;
    }
    set_up(evaluations_presets(v), chip, &setup);
    http_respond_json(x, 200, runtime_json(chip, &setup));
}

/* ---- models ---- */

/* Decimal GB of the weights at this precision, by plain bits a parameter. */
static double weights_gb(const struct planner_model *m, double bytes)
{
    return planner_params(m) * bytes / 1e9;
}

static json_t *params_json(const struct planner_model *m)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:{s:f, s:f, s:f}}", "total_params",
                     planner_params(m), "total_params_b", planner_params(m) / 1e9, "active_params",
                     planner_active_params(m), "active_params_b", planner_active_params(m) / 1e9,
                     "kv_bytes_per_token", planner_kv_bytes_per_token(m), "weights_gb", "bf16",
                     weights_gb(m, 2), "fp8", weights_gb(m, 1), "int4", weights_gb(m, .5));
}

static json_t *model_json(const struct planner_model *m, bool own)
{
    json_t *json =
        json_pack("{s:s, s:s, s:o, s:o, s:b}", "id", m->name, "name", m->name, "config",
                  preset_model_to_json(m), "source", json_text(m->source), "own", (int)own);

    json_object_update_new(json, params_json(m));
    return json;
}

static void handle_models(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct evaluations *v = planner_evaluations(owner, x);
    const struct presets *presets = v ? evaluations_presets(v) : NULL;
    json_t *models = json_array();
    const struct planner_model *model;
    size_t cursor = 0;
    bool own;

    while (presets && (model = presets_next_model(presets, &cursor, &own))) {
        json_array_append_new(models, model_json(model, own));
    }
    if (presets) {
        http_respond_json(x, 200, json_pack("{s:O}", "models", models));
    }
    json_decref(models);
}

/* The body is a model, or {"model": one}. */
static void handle_params(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct evaluations *v = planner_evaluations(owner, x);
    json_t *body = v ? planner_body(x) : NULL;
    const json_t *model = json_object_get(body, "model");
    struct preset_model read;
    struct error e = { 0 };
    int r;

    if (!body) {
        return;
    }
    r = preset_model_from_json(evaluations_presets(v), model ? model : body, &read, &e);
    if (r < 0) {
        planner_refuse(x, r, "", &e);
    } else {
        http_respond_json(x, 200, params_json(&read.model));
    }
    json_decref(body);
}

// clang-format off
const struct route planner_routes[] = {
    { "GET", "/api/presets/chips", SCOPE_ADMIN, handle_chips, "The chips that the planner knows, with the figures that it computes with.",
      { NULL, "PresetChips", "200 503", NULL } },
    { "GET", "/api/presets/runtime", SCOPE_ADMIN, handle_runtime, "The times of links that the planner computes with, of one chip (H100-SXM unless ?chip= names another).",
      { NULL, "PresetRuntime", "200 404 503", "chip:string" } },
    { "GET", "/api/presets/models", SCOPE_ADMIN, handle_models, "The models that the planner knows, with their dimensions.",
      { NULL, "PresetModels", "200 503", NULL } },
    { "POST", "/api/model/calculate-params", SCOPE_ADMIN, handle_params, "Counts a model's parameters, its weights and its KV cache.",
      { "ModelPreset", "ModelParams", "200 400 422 503", NULL } },
};
// clang-format on
const size_t planner_route_count = ARRAY_SIZE(planner_routes);
