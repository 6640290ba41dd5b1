// SPDX-License-Identifier: Apache-2.0
/*
 * What serves, read from YAML: devices, models and how they are run on them, and options of the
 * daemon. Whatever is not known is refused by its member; nothing is guessed.
 *
 *     devices: [{chip: h100-sxm, count: 32}]
 *     models:
 *       - {name: llama-70b, model: llama-3.1-70b, precision: fp8, tp: 4, replicas: 8}
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "codec/fields.h"
#include "codec/yaml_tree.h"
#include "simulate/simulate_int.h"

enum { FILE_MAX = 1 << 20 };

/* " (near it: a, b)", or nothing; good until the next call. */
static const char *near_names(const char *name, size_t (*find)(const char *, const char **, size_t))
{
    static char text[160];
    const char *names[3];
    size_t n = find(name, names, ARRAY_SIZE(names)), at = 0;

    text[0] = '\0';
    for (size_t i = 0; i < n && at < sizeof(text); i++) {
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s",
                               i ? ", " : " (near it: ", names[i]);
    }
    if (n && at + 1 < sizeof(text)) {
        strcpy(text + at, ")");
    }
    return text;
}

/* ---- devices ---- */

static void read_chip(const struct presets *p, const struct fields *in, struct preset_chip *ret)
{
    const json_t *v = fields_get(in, "chip");
    const struct planner_chip *chip;
    struct error e = { 0 };

    if (json_is_object(v)) {
        if (preset_chip_from_json(p, v, ret, &e) < 0) {
            fields_fault(in, -EINVAL, "chip", "%s", e.text);
        }
        return;
    }
    if (!json_is_string(v)) {
        fields_fault(in, -EINVAL, "chip", "a chip's name is needed, or its figures");
        return;
    }
    chip = presets_chip(p, json_string_value(v));
    if (!chip) {
        fields_fault(in, -EINVAL, "chip", "no chip '%.60s' is known%s", json_string_value(v),
                     near_names(json_string_value(v), planner_near_chips));
        return;
    }
    preset_chip_of(ret, chip);
}

static void read_kind(const struct presets *p, const struct fields *in, struct fleet *f)
{
    static const char *const known[] = { "chip", "count", NULL };
    struct fleet_kind *k = &f->kinds[f->kind_count++];

    fields_only(in, known);
    read_chip(p, in, &k->chip);
    k->count = fields_count(in, "count", 1, GPU_DEVICES_MAX, 1);
    f->devices += k->count;
    if (f->devices > GPU_DEVICES_MAX) {
        fields_fault(in, -EINVAL, "count", "more than %d devices in all", GPU_DEVICES_MAX);
    }
}

const struct fleet_kind *fleet_kind_of(const struct fleet *f, unsigned device)
{
    unsigned i = 0;

    while (i + 1 < f->kind_count && device >= f->kinds[i].count) {
        device -= f->kinds[i++].count;
    }
    return &f->kinds[i];
}

/* ---- models ---- */

static void read_preset_model(const struct presets *p, const struct fields *in,
                              struct preset_model *ret)
{
    const json_t *v = fields_get(in, "model");
    const char *path = fields_text(in, "import");
    struct error e = { 0 };

    if (!v == !path) {
        fields_fault(in, -EINVAL, "model",
                     "either a model or `import` (a config.json, its folder, or a GGUF) is "
                     "needed");
    } else if (path && preset_model_import(path, ret, &e) < 0) {
        fields_fault(in, -EINVAL, "import", "%s", e.text);
    } else if (json_is_object(v) && preset_model_from_json(p, v, ret, &e) < 0) {
        fields_fault(in, -EINVAL, "model", "%s", e.text);
    } else if (v && !json_is_object(v)) {
        if (!json_is_string(v) || !presets_find_model(p, json_string_value(v), ret)) {
            fields_fault(in, -EINVAL, "model", "no model '%.60s' is known%s",
                         json_is_string(v) ? json_string_value(v) : "?",
                         json_is_string(v) ? near_names(json_string_value(v), planner_near_models)
                                           : "");
        }
    }
}

static void read_plan(const struct fields *in, struct fleet_model *m)
{
    const bool moe = m->model.model.experts > 0;
    struct planner_plan *plan = &m->plan;

    plan->tp = fields_count(in, "tp", 1, PLACE_DEVICES_MAX, 1);
    plan->pp = fields_count(in, "pp", 1, PLACE_DEVICES_MAX, 1);
    plan->adp = fields_count(in, "adp", 1, PLACE_DEVICES_MAX, 1);
    plan->ep = fields_count(in, "ep", 1, PLACE_DEVICES_MAX, moe ? plan->tp * plan->adp : 1);
    plan->moe_tp = fields_count(in, "moe_tp", 1, PLACE_DEVICES_MAX, 1);
    plan->replicas = 1;
    plan->sp = fields_bool(in, "sp", false);
    if (fleet_model_devices(m) > PLACE_DEVICES_MAX) {
        fields_fault(in, -EINVAL, "tp", "an instance has at most %d devices", PLACE_DEVICES_MAX);
    }
}

unsigned fleet_model_devices(const struct fleet_model *m)
{
    return m->plan.tp * m->plan.adp * m->plan.pp;
}

/* The catalogue's own words, as they are in a configuration of the daemon. */
static void make_definition(const struct fields *in, struct fleet_model *m)
{
    static const char *const passed[] = { "priority",   "pinned", "autostart", "on_demand",
                                          "keep_alive", "ttl",    "replicas",  "strategy" };
    json_t *parameters =
        json_pack("{s:s, s:i, s:i, s:f, s:i}", "runtime", "process", "tensor_parallel_size",
                  (int)(m->plan.tp * m->plan.adp), "pipeline_parallel_size", (int)m->plan.pp,
                  "gpu_memory_utilization", m->memory_share, "max_num_seqs", (int)m->max_sequences);

    if (fields_get(in, "weight")) {
        json_object_set_new(parameters, "weight",
                            json_integer(fields_count(in, "weight", 1, 1000000, 1)));
    }
    m->definition =
        json_pack("{s:s, s:s, s:s, s:s, s:i, s:b, s:o, s:{s:s}}", "id", m->name, "name", m->name,
                  "framework", "vllm", "model_path", m->model.name, "priority", 5, "autostart", 1,
                  "parameters", parameters, "resource_requirements", "gpu_memory", "auto");
    for (size_t i = 0; i < ARRAY_SIZE(passed); i++) {
        const json_t *v = fields_get(in, passed[i]);

        if (v) {
            json_object_set(m->definition, passed[i], UNCONST(json_t *, v));
        }
    }
}

/* A rule that is broken: the sentence begins with the member, or is of the whole. */
static void tell_rule(const struct fields *in, const char *sentence)
{
    _cleanup_(freep) char *first = xstrndup(sentence, strcspn(sentence, " "));

    fields_fault(in, -EINVAL, fields_get(in, first) ? first : "name", "%s", sentence);
}

/* What the catalogue has to say of it is said here, by member where it names one. */
static void check_definition(const struct fields *in, const struct fleet_model *m)
{
    struct validation v = validation_init();
    struct model_config *config = model_config_parse(m->definition, &v);
    struct error e = { 0 };

    if (json_array_size(v.schema_errors) > 0) {
        const json_t *first = json_array_get(v.schema_errors, 0);
        const json_t *loc = json_object_get(first, "loc");
        const char *member = json_string_value(json_array_get(loc, json_array_size(loc) - 1));

        fields_fault(in, -EINVAL, member ? member : "", "%s",
                     json_string_value(json_object_get(first, "msg")));
    } else if (json_array_size(v.errors) > 0) {
        tell_rule(in, json_string_value(json_array_get(v.errors, 0)));
    } else if (config->strategy && strategy_check(config->strategy, &e) < 0) {
        fields_fault(in, -EINVAL, "strategy", "%s", e.text);
    }
    model_config_free(config);
    validation_finish(&v);
}

static void read_name(const struct fields *in, const struct fleet *f, struct fleet_model *m)
{
    const char *name = fields_text(in, "name");
    const char *of = json_string_value(fields_get(in, "model")); /* which may be an object */

    name = name ? name : of;
    if (!name || !*name || strlen(name) >= sizeof(m->name)) {
        fields_fault(in, -EINVAL, "name", "a name of at most %zu characters is needed",
                     sizeof(m->name) - 1);
        return;
    }
    strcpy(m->name, name);
    for (size_t i = 0; i + 1 < f->model_count; i++) {
        if (str_eq(f->models[i].name, name)) {
            fields_fault(in, -EINVAL, "name", "'%s' stands twice", name);
        }
    }
}

static void read_model(const struct presets *p, const struct fields *in, struct fleet *f)
{
    static const char *const known[] = {
        "name",      "model",        "import",       "engine",       "precision",     "kv",
        "tp",        "pp",           "adp",          "ep",           "moe_tp",        "sp",
        "replicas",  "autostart",    "on_demand",    "pinned",       "priority",      "keep_alive",
        "ttl",       "strategy",     "weight",       "kv_tokens",    "max_sequences", "step_tokens",
        "load_gbps", "memory_share", "prefix_cache", "output_limit", "share",         "start",
        NULL
    };
    struct fleet_model *m = &f->models[f->model_count++];

    fields_only(in, known);
    read_name(in, f, m);
    read_preset_model(p, in, &m->model);
    m->engine = fields_word(in, "engine", planner_engine_from_string, PLANNER_ENGINE_WORDS,
                            PLANNER_ENGINE_VLLM);
    m->format = fields_word(in, "precision", planner_format_from_string, PLANNER_FORMAT_WORDS,
                            m->model.format >= 0 ? m->model.format : PLANNER_BF16);
    m->kv = fields_word(in, "kv", planner_kv_format_from_string, PLANNER_KV_WORDS, PLANNER_KV_AUTO);
    read_plan(in, m);
    m->max_sequences = fields_count(in, "max_sequences", 1, 1024, 256);
    m->step_tokens = fields_count(in, "step_tokens", 16, 1000000, 8192);
    m->block_tokens = 16;
    m->prefix_cache = fields_bool(in, "prefix_cache", true);
    m->kv_tokens = fields_number(in, "kv_tokens", 1024, 1e12, 0);
    m->memory_share = fields_number(in, "memory_share", 0.01, 1, 0.9);
    m->load_gbps = fields_number(in, "load_gbps", 0.001, 1e6, 5);
    m->start_s = fields_seconds(in, "start", 5);
    m->output_limit = fields_count(in, "output_limit", 1, 10000000, 0);
    m->share = fields_number(in, "share", 0, 1e9, 1);
    make_definition(in, m);
    if (in->fault->code == 0) {
        check_definition(in, m);
    }
}

/* ---- the whole ---- */

static void read_list(const struct presets *p, const struct fields *in, const char *member,
                      size_t most, struct fleet *f,
                      void (*read)(const struct presets *, const struct fields *, struct fleet *))
{
    const json_t *list = fields_get(in, member);

    if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > most) {
        fields_fault(in, -EINVAL, member, "a list of 1 to %zu is expected", most);
        return;
    }
    for (size_t i = 0; i < json_array_size(list) && in->fault->code == 0; i++) {
        _cleanup_(freep) char *at = xasprintf("%s.%zu", member, i);
        struct fields one = fields_of(json_array_get(list, i), at, in->fault);

        read(p, &one, f);
    }
}

/* As an environment has it. The value: a text, or what a text of it would be. */
static void add_option(const struct fields *in, struct fleet *f, const char *name, const json_t *v)
{
    _cleanup_(freep) char *plain =
        json_is_string(v) ? xstrdup(json_string_value(v)) : json_dumps(v, JSON_ENCODE_ANY);
    size_t n = 0;

    while (f->options[n]) {
        n++;
    }
    if (n >= SIM_OPTIONS_MAX || !plain) {
        fields_fault(in, -EINVAL, name, "this is no option's value");
        return;
    }
    f->options[n] = xasprintf("BERTH_%s=%s", name, plain);
    for (char *c = f->options[n]; *c != '='; c++) {
        *c = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
    }
}

static const struct option_table *const tables[] = { &engines_options, &dispatch_options,
                                                     &placement_options, &gpu_options, NULL };

/* Texts among them are paths and programs, which nothing here looks for. */
static bool is_option(const char *name)
{
    for (size_t t = 0; tables[t]; t++) {
        for (size_t i = 0; i < tables[t]->count; i++) {
            if (str_eq(tables[t]->rows[i].name, name)) {
                return tables[t]->rows[i].type != OPTION_STRING;
            }
        }
    }
    return false;
}

int fleet_config(const struct fleet *f, struct config **ret, struct error *reterr)
{
    return config_load(NULL, (const char *const *)f->options, tables, ret, reterr);
}

/* The share of vLLM's is more than is placed by default; and there is no such program here. */
static void read_options(const struct fields *in, struct fleet *f)
{
    const json_t *options = fields_get(in, "options");
    struct config *config = NULL;
    struct error e = { 0 };
    const char *name;
    json_t *v;

    if (options && !json_is_object(options)) {
        fields_fault(in, -EINVAL, "options",
                     "members such as 'gateway.max_queue: 1000' are expected");
        return;
    }
    f->options[0] = xstrdup("BERTH_ENGINES_VLLM=/proc/self/exe");
    if (!json_object_get(options, "placement.threshold")) {
        f->options[1] = xstrdup("BERTH_PLACEMENT_THRESHOLD=95");
    }
    json_object_foreach(UNCONST(json_t *, options), name, v)
    {
        if (!is_option(name)) {
            _cleanup_(freep) char *at = xasprintf("options.%s", name);

            fields_fault(in, -EINVAL, at, "there is no such option here");
        } else {
            add_option(in, f, name, v);
        }
    }
    if (in->fault->code == 0 && fleet_config(f, &config, &e) < 0) {
        fields_fault(in, -EINVAL, "options", "%s", e.text);
    }
    config_free(config);
}

static void read_slo(const struct fields *in, struct fleet *f)
{
    static const char *const known[] = { "ttft", "tpot", NULL };
    const struct fields slo = fields_object(in, "slo", false);

    fields_only(&slo, known);
    f->slo_ttft_s = fields_seconds(&slo, "ttft", 0);
    f->slo_tpot_s = fields_seconds(&slo, "tpot", 0);
}

static void read_strategy(const struct fields *in, struct fleet *f)
{
    const char *name = fields_text(in, "strategy");
    struct error e = { 0 };

    if (name && strategy_check(name, &e) < 0) {
        fields_fault(in, -EINVAL, "strategy", "%s", e.text);
    } else if (name) {
        snprintf(f->strategy, sizeof(f->strategy), "%s", name);
    }
}

/* Instances at once are more than there can be engines to look at? */
static void check_instances(const struct fields *in, const struct fleet *f)
{
    size_t all = 0;

    for (size_t i = 0; i < f->model_count; i++) {
        const json_t *n = json_object_get(f->models[i].definition, "replicas");

        all += n ? (size_t)json_integer_value(n) : 1;
    }
    if (all > SIM_INSTANCES_MAX) {
        fields_fault(in, -EINVAL, "models", "more than %d instances", SIM_INSTANCES_MAX);
    }
}

/* Sentences begin with what stands `before` them, and the member. */
static int read_fleet(const struct presets *p, const json_t *document, const char *before,
                      struct fleet **ret, struct error *reterr)
{
    static const char *const known[] = { "devices", "models", "options", "slo", "strategy", NULL };
    struct fleet *f = xcalloc(1, sizeof(*f));
    struct fault fault = { 0 };
    const struct fields in = fields_of(document, "", &fault);

    f->models = xcalloc(SIM_MODELS_MAX, sizeof(*f->models));
    fields_only(&in, known);
    read_list(p, &in, "devices", SIM_KINDS_MAX, f, read_kind);
    read_list(p, &in, "models", SIM_MODELS_MAX, f, read_model);
    read_options(&in, f);
    read_slo(&in, f);
    read_strategy(&in, f);
    check_instances(&in, f);
    if (fault.code < 0) {
        fleet_free(f);
        return error_set(reterr, -EINVAL, "%s%s", before, fault.error.text);
    }
    *ret = f;
    return 0;
}

int fleet_read(const struct presets *p, const json_t *document, struct fleet **ret,
               struct error *reterr)
{
    return read_fleet(p, document, "", ret, reterr);
}

static char *read_file(const char *path, size_t *ret_n, struct error *reterr)
{
    FILE *f = fopen(path, "re");
    char *content;

    if (!f) {
        error_set(reterr, -errno, "%s: %s", path, strerror(errno));
        return NULL;
    }
    content = xmalloc(FILE_MAX);
    *ret_n = fread(content, 1, FILE_MAX, f);
    if (ferror(f) || *ret_n == FILE_MAX) {
        error_set(reterr, -EINVAL, "%s: it cannot be read, or is larger than %d bytes", path,
                  FILE_MAX);
        free(TAKE_PTR(content));
    }
    fclose(f);
    return content;
}

int fleet_read_file(const struct presets *p, const char *path, struct fleet **ret,
                    struct error *reterr)
{
    _cleanup_(freep) char *before = xasprintf("%s: ", path);
    size_t n = 0;
    _cleanup_(freep) char *content = read_file(path, &n, reterr);
    struct yaml_document doc;
    int r;

    if (!content) {
        return -EINVAL;
    }
    r = yaml_read((struct span){ content, n }, path, &doc, reterr);
    if (r < 0) {
        return r;
    }
    r = read_fleet(p, doc.root, before, ret, reterr);
    yaml_document_finish(&doc);
    return r;
}

struct fleet *fleet_free(struct fleet *f)
{
    if (!f) {
        return NULL;
    }
    for (size_t i = 0; i < f->model_count; i++) {
        json_decref(f->models[i].definition);
    }
    for (size_t i = 0; f->options[i]; i++) {
        free(f->options[i]);
    }
    free(f->models);
    free(f);
    return NULL;
}
