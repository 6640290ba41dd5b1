// SPDX-License-Identifier: Apache-2.0
/*
 * berth plan: what a model will do on some chips, before anybody buys or starts anything. Needs no
 * daemon. The options are made into a question as the presets room reads it, so that what a file
 * may say can be said here, and the other way round; all arithmetic is the planner's.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "cli/cmd_plan.h"
#include "cli/commands.h"

// clang-format off
static const struct cli_option options[] = {
    { "model",          0, "PRESET|FILE", "the model: llama-3.1-70b, or its config.json (or the directory of it), or a GGUF file" },
    { "chip",           0, "CHIP",  "the chip: h100-sxm ('berth plan chips' lists them)" },
    { "presets",        0, "FILE",  "more chips, models and topologies (YAML); may be given several times" },
    { "topology",       0, "NAME|FILE", "how the chips hang together: a topology of --presets, or a YAML or JSON file of one (default: the chip's own links)" },
    { "chips",          0, "N",     "so many of them at most (default: 8, or all of the topology)" },
    { "isl",            0, "N",     "mean tokens of a prompt (default: 1024)" },
    { "osl",            0, "N",     "mean tokens of an answer (default: 256)" },
    { "isl-cv",         0, "X",     "spread of the prompts' lengths: standard deviation over mean (default: 0, all alike)" },
    { "osl-cv",         0, "X",     "the same of the answers" },
    { "slo-ttft",       0, "TIME",  "the first token within: 500ms, 2s" },
    { "slo-tpot",       0, "TIME",  "each further token within: 50ms" },
    { "slo-e2e",        0, "TIME",  "the whole answer within: 10s" },
    { "concurrency",    0, "N",     "requests at the same time (default: the most that keeps the SLO; 1 for the objective latency without one)" },
    { "rate",           0, "N",     "requests that come in a second, instead of a concurrency" },
    { "engine",         0, "NAME",  "vllm, trtllm, sglang or llama.cpp (default: vllm; llama.cpp for a GGUF)" },
    { "precision",      0, "NAME",  "bf16, fp8, nvfp4, mxfp4, int8, int4, q8_0, q4_k_m … (default: the model's, else fp8 where the chip has it, else bf16)" },
    { "kv",             0, "BITS",  "of a value in the KV cache: 16, 8 or 4 (default: as the engine does)" },
    { "prefix-hit",     0, "N",     "percent of the prompt found in the prefix cache (default: 0)" },
    { "chunk",          0, "N",     "prompt tokens in one step (default: the engine's)" },
    { "draft",          0, "N",     "speculative decoding: so many tokens are drafted a step" },
    { "acceptance",     0, "N",     "percent of them that are accepted (default: 70)" },
    { "draft-share",    0, "N",     "a draft token's time in percent of a step (default: that of one layer)" },
    { "tp",             0, "N",     "only plans with this tensor parallelism" },
    { "pp",             0, "N",     "only plans with so many pipeline stages" },
    { "ep",             0, "N",     "only plans with this expert parallelism" },
    { "moe-tp",         0, "N",     "only plans that cut each expert so often" },
    { "replicas",       0, "N",     "only plans with so many replicas" },
    { "plan",           0, "PLAN",  "this plan only: 'tp8 pp2 dp2', for experts also ep8 moe_tp1 adp8, sp" },
    { "sp",             0, NULL,    "also plans with sequence parallelism" },
    { "disaggregated",  0, NULL,    "also plans where other chips do the prefill" },
    { "across-nodes",   0, NULL,    "tensor parallelism may leave the fast links" },
    { "any-heads",      0, NULL,    "tensor parallelism need not divide the KV heads" },
    { "even-layers",    0, NULL,    "pipeline stages have to divide the layers" },
    { "min-throughput", 0, "N",     "at least so many output tokens/s" },
    { "max-memory",     0, "N",     "percent of a chip's memory that the engine takes (default: as the engine does)" },
    { "objective",      0, "NAME",  "cost, throughput, latency, efficiency, balanced or chips: the fewest that keep the SLO (default: cost)" },
    { "weights",        0, "LIST",  "for balanced: latency=0.3,throughput=0.35,efficiency=0.2,balance=0.15" },
    { "price",          0, "USD",   "of a chip for an hour; shows the cost of a million output tokens" },
    { "top",            0, "N",     "so many plans (default: 10)" },
    { "timeline",       0, NULL,    "also draws when the first plan's stages do what" },
    { "rows",           0, "FILE",  "check: writes a CSV line for each row" },
    { "name",           0, "NAME",  "calibrate: of the chip that is written (default: the same as --chip)" },
    { "out",            0, "FILE",  "calibrate: writes the YAML there (default: to the terminal)" },
    { NULL, 0, NULL, NULL },
};

/* Which member of a question an option is, and in what it counts. */
enum kind { TEXT, COUNT, REAL, PERCENT, TIME, FLAG };
static const struct row {
    const char *option, *member;
    enum kind kind;
} rows[] = {
    { "chip", "chip", TEXT },                     { "chips", "chips", COUNT },
    { "isl", "isl", COUNT },                      { "osl", "osl", COUNT },
    { "isl-cv", "isl_cv", REAL },                 { "osl-cv", "osl_cv", REAL },
    { "slo-ttft", "slo_ttft_ms", TIME },          { "slo-tpot", "slo_tpot_ms", TIME },
    { "slo-e2e", "slo_e2e_ms", TIME },            { "concurrency", "concurrency", COUNT },
    { "rate", "rate_per_s", REAL },               { "engine", "engine", TEXT },
    { "precision", "precision", TEXT },           { "kv", "kv", TEXT },
    { "prefix-hit", "prefix_hit", PERCENT },      { "chunk", "chunk_tokens", COUNT },
    { "draft", "draft_tokens", COUNT },           { "acceptance", "acceptance", PERCENT },
    { "draft-share", "draft_share", PERCENT },    { "tp", "tp", COUNT },
    { "pp", "pp", COUNT },                        { "ep", "ep", COUNT },
    { "moe-tp", "moe_tp", COUNT },                { "replicas", "replicas", COUNT },
    { "plan", "plan", TEXT },                     { "sp", "sp", FLAG },
    { "disaggregated", "disaggregated", FLAG },   { "across-nodes", "across_nodes", FLAG },
    { "any-heads", "any_heads", FLAG },           { "even-layers", "even_layers", FLAG },
    { "min-throughput", "min_tokens_per_s", REAL }, { "max-memory", "max_memory_share", PERCENT },
    { "objective", "objective", TEXT },           { "price", "price_hour", REAL },
    { "top", "top_k", COUNT },
};
// clang-format on

/* ---- one option ---- */

/* 0 leaves *ret as it is: not given. */
static int read_real(const struct cli *cli, const char *option, double low, double high,
                     double *ret)
{
    const char *text = cli_value(cli, option);
    char *end = NULL;
    double v;

    if (!text) {
        return 0;
    }
    v = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(v)) {
        complain("--%s: '%s' is no number", option, text);
        return -EINVAL;
    }
    if (v < low || v > high) {
        complain("--%s: %g is out of range (%g to %g)", option, v, low, high);
        return -EINVAL;
    }
    *ret = v;
    return 1;
}

/* "50ms", "2s", "0.5s" */
static int read_time(const char *option, const char *text, double *ret_ms)
{
    char *end = NULL;
    const double v = strtod(text, &end);

    if (end != text && (str_eq(end, "ms") || str_eq(end, "s")) && isfinite(v) && v > 0) {
        *ret_ms = str_eq(end, "ms") ? v : v * 1e3;
        return 0;
    }
    complain("--%s: '%s' is no time; write 50ms or 2s", option, text);
    return -EINVAL;
}

/* The value as the question has it; NULL, having spoken, when it is none. */
static json_t *read_value(const struct cli *cli, const struct row *row, const char *text)
{
    double v = 0;
    uint64_t n;

    switch (row->kind) {
    case TEXT:
        return json_string(text);
    case FLAG:
        return json_true();
    case COUNT:
        if (cli_number(cli, row->option, 0, &n) < 0) {
            return NULL;
        }
        return json_integer((json_int_t)MIN_OF(n, (uint64_t)1 << 53));
    case TIME:
        return read_time(row->option, text, &v) < 0 ? NULL : json_real(v);
    case PERCENT:
        return read_real(cli, row->option, 0, 100, &v) < 0 ? NULL : json_real(v / 100);
    default:
        return read_real(cli, row->option, 0, 1e12, &v) < 0 ? NULL : json_real(v);
    }
}

static bool is_score(const char *name)
{
    static const char *const names[] = { "latency", "throughput", "efficiency", "balance" };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (str_eq(name, names[i])) {
            return true;
        }
    }
    complain("--weights: there is no '%s': latency, throughput, efficiency and balance are known",
             name);
    return false;
}

/* "latency=1,throughput=2" */
static json_t *read_weights(const char *text)
{
    json_t *o = json_object();
    struct span rest = span_of(text);

    while (rest.n > 0) {
        struct span one = span_cut(&rest, ',');
        const struct span name = span_cut(&one, '=');
        _cleanup_(freep) char *key = span_dup(name), *value = span_dup(one);
        char *end = NULL;
        const double v = value ? strtod(value, &end) : 0;

        if (!key || !value || end == value || *end != '\0' || !isfinite(v)) {
            complain("--weights: '%s' is no list; write latency=1,throughput=2", text);
            json_decref(o);
            return NULL;
        }
        if (!is_score(key)) {
            json_decref(o);
            return NULL;
        }
        json_object_set_new(o, key, json_real(v));
    }
    return o;
}

/* ---- model and topology ---- */

/* By its looks, or because a file of this name is there (owner/name is a model's name too). */
static bool is_path(const char *name)
{
    struct stat st;

    return name[0] == '/' || name[0] == '.' || str_ends(name, ".gguf") || str_ends(name, ".json") ||
           (strchr(name, '/') && stat(name, &st) == 0);
}

static int read_model(const struct cli *cli, const struct presets *presets,
                      struct preset_model *ret)
{
    const char *name = cli_value(cli, "model");
    struct error e = { 0 };
    json_t *text;
    int r;

    if (is_path(name)) {
        r = preset_model_import(name, ret, &e);
    } else {
        text = json_string(name);
        r = text ? preset_model_from_json(presets, text, ret, &e) : -EINVAL;
        json_decref(text);
    }
    if (r < 0) {
        complain("--model: %s", e.text);
    }
    return r < 0 ? -EINVAL : 0;
}

/* A name of --presets, or a file. */
static json_t *read_topology(const char *name)
{
    json_t *topology = NULL;
    struct error e = { 0 };

    if (!is_path(name) && !str_ends(name, ".yaml") && !str_ends(name, ".yml")) {
        return json_string(name);
    }
    if (preset_topology_import(name, &topology, &e) < 0) {
        complain("--topology: %s", e.text);
        return NULL;
    }
    return topology;
}

/* ---- the question ---- */

/* The option that a member came from. */
static const char *option_of(const char *member)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (str_eq(rows[i].member, member)) {
            return rows[i].option;
        }
    }
    return str_starts(member, "score_weights") ? "weights"
           : str_starts(member, "topology")    ? "topology"
           : str_starts(member, "plan")        ? "plan"
           : str_starts(member, "chip")        ? "chip"
                                               : "model";
}

/* The sentence begins with the member, which nobody wrote here. */
static void tell_fault(const char *field, const struct error *e)
{
    const size_t n = strlen(field);
    const char *text =
        strncmp(e->text, field, n) == 0 && e->text[n] == ':' ? e->text + n + 2 : e->text;

    complain("--%s: %s", option_of(field), text);
}

static int put(json_t *body, const char *member, json_t *value)
{
    if (!value) {
        return -EINVAL;
    }
    json_object_set_new(body, member, value);
    return 0;
}

static int make_body(const struct cli *cli, const struct presets *presets, json_t *body)
{
    const char *topology = cli_value(cli, "topology"), *weights = cli_value(cli, "weights");
    struct preset_model model;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *text = cli_value(cli, rows[i].option);

        if (text && put(body, rows[i].member, read_value(cli, &rows[i], text)) < 0) {
            return -EINVAL;
        }
    }
    if (read_model(cli, presets, &model) < 0 ||
        (topology && put(body, "topology", read_topology(topology)) < 0) ||
        (weights && put(body, "score_weights", read_weights(weights)) < 0)) {
        return -EINVAL;
    }
    if (str_ends(cli_value(cli, "model"), ".gguf") && !json_object_get(body, "engine")) {
        put(body, "engine", json_string("llama.cpp"));
    }
    return put(body, "model", preset_model_document(&model));
}

int plan_ask(const struct cli *cli, const struct presets *presets, struct plan_request *ret)
{
    char field[PRESET_NAME_MAX];
    struct error e = { 0 };
    json_t *body;
    int r;

    if (!cli_value(cli, "model") || !cli_value(cli, "chip")) {
        complain("plan needs --model and --chip");
        return -EINVAL;
    }
    body = json_object();
    r = make_body(cli, presets, body);
    if (r == 0) {
        r = plan_request_from_json(presets, body, ret, field, &e);
        if (r < 0) {
            tell_fault(field, &e);
        }
    }
    json_decref(body);
    return r < 0 ? -EINVAL : 0;
}

static struct presets *read_presets(const struct cli *cli)
{
    struct presets *p = presets_create();
    struct error e = { 0 };
    const char *path;
    int cursor = 0;

    while ((path = cli_next_value(cli, "presets", &cursor)) != NULL) {
        if (presets_add_file(p, path, &e) < 0) {
            complain("--presets: %s", e.text);
            return presets_destroy(p);
        }
    }
    return p;
}

/* ---- the command ---- */

static int plan(const struct cli *cli, const struct presets *presets)
{
    struct plan_request *request = xcalloc(1, sizeof(*request));
    struct planner_setup setup;
    struct planner_findings f = { 0 };
    const struct plan_report report = { request, &setup, &f };
    int code;

    if (plan_ask(cli, presets, request) < 0) {
        free(request);
        return error_kind(-EINVAL)->exit_code;
    }
    plan_request_run(request, NULL, NULL, &setup, &f);
    if (cli->json) {
        plan_print_json(&report, cli_value(cli, "timeline") != NULL);
    } else {
        plan_print_table(cli, &report);
        if (cli_value(cli, "timeline")) {
            plan_print_timeline(&report);
        }
    }
    code = f.count > 0 ? 0 : 1;
    planner_findings_finish(&f);
    free(request);
    return code;
}

static int run_with(struct cli *cli, const struct presets *presets)
{
    const char *verb = cli->arg_count > 0 ? cli->args[0] : "";
    const char *path = cli->arg_count > 1 ? cli->args[1] : NULL;

    if (!*verb) {
        return plan(cli, presets);
    }
    if (str_eq(verb, "check") && path) {
        return plan_check(cli, path, cli_value(cli, "rows"));
    }
    if (str_eq(verb, "check")) {
        complain("plan: say 'plan check FILE.csv'");
        return error_kind(-EINVAL)->exit_code;
    }
    if (str_eq(verb, "calibrate")) {
        return plan_calibrate(cli, presets, path);
    }
    if (str_eq(verb, "chips") && !path) {
        return plan_list_chips(cli, presets);
    }
    if (str_eq(verb, "models") && !path) {
        return plan_list_models(cli, presets);
    }
    complain("plan: '%s%s%s' is not known; say 'plan --model NAME --chip NAME …', "
             "'plan check FILE.csv', 'plan calibrate FILE.csv|MODEL', 'plan chips' or "
             "'plan models'",
             verb, path ? " " : "", path ? path : "");
    return error_kind(-EINVAL)->exit_code;
}

static int run(struct cli *cli)
{
    struct presets *presets = read_presets(cli);
    int code;

    if (!presets) {
        return error_kind(-EINVAL)->exit_code;
    }
    code = run_with(cli, presets);
    presets_destroy(presets);
    return code;
}

const struct command plan_command = {
    "plan",
    "[chips | models | check FILE.csv | calibrate FILE.csv|MODEL]",
    "Says what a model would do on given chips: the plans that fit, ranked; lists what is known; "
    "checks predictions against measurements, or sets a chip right by them.",
    options,
    0,
    2,
    run,
    "check calibrate chips models",
    "FILE MODEL",
};
