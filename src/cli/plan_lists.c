// SPDX-License-Identifier: Apache-2.0
/* berth plan chips, berth plan models: what is known, the user's own first. */
#include "base/macros.h"
#include "cli/cmd_plan.h"

/* What a data sheet does not tell, or a chip does not have. */
static void figure_cell(struct table *t, double v)
{
    if (v > 0) {
        table_cell(t, "%.4g", v);
    } else {
        table_cell(t, "-");
    }
}

static void chip_row(struct table *t, const struct planner_chip *c, bool own)
{
    table_cell(t, "%s%s", c->name, own ? " (own)" : "");
    figure_cell(t, c->bf16_tflops);
    figure_cell(t, c->fp8_tflops);
    figure_cell(t, c->fp4_tflops);
    table_cell(t, "%.4g", c->memory_gb);
    table_cell(t, "%.4g", c->bandwidth_gbps);
    table_cell(t, "%.4g x%u", c->scaleup_gbps, c->scaleup_chips);
    figure_cell(t, c->scaleout_gbps);
    figure_cell(t, c->tdp_w);
}

int plan_list_chips(const struct cli *cli, const struct presets *presets)
{
    static const char *const headings[] = { "CHIP", "BF16 TF", "FP8",  "FP4", "MEMORY GB",
                                            "GB/s", "LINKS",   "NODE", "W" };
    struct table *t = table_create(headings, ARRAY_SIZE(headings));
    json_t *list = json_array();
    const struct planner_chip *c;
    size_t cursor = 0;
    bool own;

    while ((c = presets_next_chip(presets, &cursor, &own)) != NULL) {
        json_t *o = preset_chip_to_json(c);

        json_object_set_new(o, "own", json_boolean(own));
        json_array_append_new(list, o);
        chip_row(t, c, own);
    }
    if (cli->json) {
        print_json(list);
    } else {
        table_print(t, stdout, cli->color);
    }
    json_decref(list);
    table_free(t);
    return 0;
}

static void model_row(struct table *t, const struct planner_model *m, bool own)
{
    table_cell(t, "%s%s", m->name, own ? " (own)" : "");
    table_cell(t, "%.4g", planner_params(m) / 1e9);
    table_cell(t, "%.4g", planner_active_params(m) / 1e9);
    table_cell(t, "%u", m->layers);
    table_cell(t, "%u", m->hidden);
    if (m->kv_lora > 0) {
        table_cell(t, "%u/mla", m->heads);
    } else {
        table_cell(t, "%u/%u", m->heads, m->kv_heads);
    }
    if (m->experts > 0) {
        table_cell(t, "%u of %u", m->top_k, m->experts);
    } else {
        table_cell(t, "-");
    }
    table_cell(t, "%.4g", planner_kv_bytes_per_token(m) / 1e3);
}

int plan_list_models(const struct cli *cli, const struct presets *presets)
{
    static const char *const headings[] = { "MODEL",  "BILLION", "ACTIVE",  "LAYERS",
                                            "HIDDEN", "HEADS",   "EXPERTS", "KV kB/TOKEN" };
    struct table *t = table_create(headings, ARRAY_SIZE(headings));
    json_t *list = json_array();
    const struct planner_model *m;
    size_t cursor = 0;
    bool own;

    while ((m = presets_next_model(presets, &cursor, &own)) != NULL) {
        struct preset_model whole;
        json_t *o = presets_find_model(presets, m->name, &whole) ? preset_model_document(&whole)
                                                                 : preset_model_to_json(m);

        json_object_set_new(o, "own", json_boolean(own));
        json_object_set_new(o, "params", json_real(planner_params(m)));
        json_object_set_new(o, "active_params", json_real(planner_active_params(m)));
        json_array_append_new(list, o);
        model_row(t, m, own);
    }
    if (cli->json) {
        print_json(list);
    } else {
        table_print(t, stdout, cli->color);
    }
    json_decref(list);
    table_free(t);
    return 0;
}
