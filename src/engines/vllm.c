// SPDX-License-Identifier: Apache-2.0
/*
 * vLLM's OpenAI server: in a container (parameters.image, vllm/vllm-openai:latest by default), or,
 * with parameters.runtime "process" or a parameters.binary, as a plain process (engines.vllm). The
 * contract's parameters are its flags; what is not named here goes into additional_parameters.
 *
 * model_path is a directory, or a name that Hugging Face knows: then the cache of downloads is the
 * host's own, and HF_TOKEN is passed on when it is set. vLLM takes the share of each device's
 * memory that it is told at once, whatever the model's size.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engines/container_driver.h"
#include "engines/last_words.h"
#include "engines/need.h"

enum { DEFAULT_PORT = 8000, DEFAULT_SEQS = 256, SLOTS_MAX = 1024 };
#define DEFAULT_IMAGE "vllm/vllm-openai:latest"

// clang-format off
static const struct parameter rows[] = {
    CONTAINER_PARAMETERS,
    { "runtime",                PARAMETER_OWN,    NULL, 0, 0 }, /* "container", "process" */
    { "binary",                 PARAMETER_TEXT,   NULL, 0, 0 },
    { "tensor_parallel_size",   PARAMETER_INT,    NULL, 1, INT32_MAX },
    { "gpu_memory_utilization", PARAMETER_NUMBER, NULL, 0, 0 },
    { "pipeline_parallel_size", PARAMETER_INT,    "--pipeline-parallel-size", 1, INT32_MAX },
    { "max_model_len",          PARAMETER_INT,    "--max-model-len",          1, INT32_MAX },
    { "dtype",                  PARAMETER_TEXT,   "--dtype",                  0, 0 },
    { "quantization",           PARAMETER_TEXT,   "--quantization",           0, 0 },
    { "seed",                   PARAMETER_INT,    "--seed",                   0, INT32_MAX },
    { "max_num_seqs",           PARAMETER_INT,    "--max-num-seqs",           1, INT32_MAX },
    { "max_num_batched_tokens", PARAMETER_INT,    "--max-num-batched-tokens", 1, INT32_MAX },
    { "trust_remote_code",      PARAMETER_BOOL,   "--trust-remote-code",      0, 0 },
    { "disable_log_stats",      PARAMETER_BOOL,   "--disable-log-stats",      0, 0 },
};
// clang-format on

/* Secrets and ways to the outside that downloads need. */
static const char *const passed[] = { "HF_TOKEN",    "HUGGING_FACE_HUB_TOKEN",
                                      "HF_ENDPOINT", "HTTPS_PROXY",
                                      "https_proxy", "NO_PROXY",
                                      "no_proxy",    NULL };

/* vLLM's own default, 0.9, is more than placement gives to models by default. */
static double share_of(const struct engine_context *c)
{
    const json_t *value = parameter_get(c->model, "gpu_memory_utilization");
    double share = json_is_number(value) ? json_number_value(value) : 0;

    return share > 0 && share <= 1 ? share
                                   : (double)config_int(c->config, "engines.vllm_memory") / 100;
}

static int64_t tensor_size(const struct model_config *model)
{
    return MAX_OF(parameter_int(model, "tensor_parallel_size", 1), 1);
}

/* It works on as many requests at once as it is told; more than that wait in its own queue, where
 * nobody sees them. */
static unsigned slots_of(const struct engine_context *c)
{
    int64_t seqs = parameter_int(c->model, "max_num_seqs", DEFAULT_SEQS);

    if (parameter_get(c->model, "parallel")) {
        return parameter_slots(c);
    }
    return (unsigned)MIN_OF(MAX_OF(seqs, 1), SLOTS_MAX);
}

static int add_flags(const struct engine_context *c, const char *host, uint16_t port,
                     struct words *argv, struct error *reterr)
{
    words_add(argv, "--served-model-name");
    words_add(argv, c->model->id);
    words_add(argv, "--host");
    words_add(argv, host);
    words_add(argv, "--port");
    words_addf(argv, "%u", (unsigned)port);
    words_add(argv, "--tensor-parallel-size");
    words_addf(argv, "%lld", (long long)tensor_size(c->model));
    words_add(argv, "--gpu-memory-utilization");
    words_addf(argv, "%g", share_of(c));
    parameters_add_flags(c->model, PARAMETER_TABLE(rows), argv);
    return parameters_add_additional(c->model, argv, reterr);
}

/* ---- as a container */

/* Where Hugging Face's library keeps what it downloads; owned by the caller, NULL when not known.
 */
static char *hub_cache(void)
{
    const char *cache = getenv("HF_HOME"), *home = getenv("HOME");

    if (cache && *cache == '/') {
        return xstrdup(cache);
    }
    return home && *home == '/' ? xasprintf("%s/.cache/huggingface", home) : NULL;
}

static int make_container(const struct engine_context *c, struct engine_command *made,
                          struct error *reterr)
{
    static const struct container_defaults defaults = { DEFAULT_IMAGE, true, DEFAULT_PORT };
    _cleanup_(freep) char *cache = *c->model->model_path == '/' ? NULL : hub_cache();
    struct words cmd = { 0 }, env = { 0 };
    int r = container_describe(c, &defaults, &made->container, reterr);

    if (r < 0) {
        return r;
    }
    if (cache) {
        container_bind(made->container, cache, "/root/.cache/huggingface", "");
    }
    made->container->passed = passed;
    words_add(&cmd, "--model");
    words_add(&cmd, c->model->model_path);
    r = add_flags(c, container_host(made->container), container_port(made->container), &cmd,
                  reterr);
    made->container->cmd = words_take(&cmd);
    container_env(c->model, &env);
    made->env = words_take(&env);
    return r < 0 ? r : parameter_address(NULL, made->container->host_port, &made->address, reterr);
}

/* ---- as a process */

static int find_program(const struct engine_context *c, struct words *argv, struct error *reterr)
{
    const char *name = parameter_text(c->model, "binary");
    _cleanup_(freep) char *path = NULL;

    name = name ? name : config_string(c->config, "engines.vllm");
    if (program_find(name, &path) < 0) {
        return error_set(reterr, -ENOENT,
                         strchr(name, '/')
                             ? "the vLLM program %s is not an executable file"
                             : "the vLLM program '%s' is not in PATH; set engines.vllm or the "
                               "model's parameters.binary to where it is",
                         name);
    }
    words_add(argv, path);
    return 0;
}

static int make_process(const struct engine_context *c, struct engine_command *made,
                        struct error *reterr)
{
    const char *host = parameter_text(c->model, "host");
    uint16_t named = parameter_port(c), port = named ? named : c->port;
    struct gpus gpus = gpus_for(c);
    struct words argv = { 0 }, env = { 0 };
    int r = find_program(c, &argv, reterr);

    words_add(&argv, "serve");
    words_add(&argv, c->model->model_path);
    r = r < 0 ? r : add_flags(c, host ? host : "127.0.0.1", port, &argv, reterr);
    r = r < 0 ? r : devices_check(c->model, &gpus, reterr);
    made->argv = words_take(&argv);
    parameters_add_env(c->model, &gpus, &env);
    made->env = words_take(&env);
    return r < 0 ? r : parameter_address(host, port, &made->address, reterr);
}

static int is_process(const struct model_config *model, bool *ret, struct error *reterr)
{
    const json_t *value = parameter_get(model, "runtime");
    const char *runtime = json_string_value(value);

    *ret = parameter_text(model, "binary") || (runtime && str_eq(runtime, "process"));
    if (value && (!runtime || (!str_eq(runtime, "process") && !str_eq(runtime, "container")))) {
        return error_set(reterr, -EINVAL, "parameters.runtime must be container or process");
    }
    return 0;
}

static int command(const struct engine_context *c, struct engine_command *ret, struct error *reterr)
{
    struct engine_command made = { .slots = slots_of(c), .weight = parameter_weight(c->model) };
    bool process;
    int r = is_process(c->model, &process, reterr);

    if (r >= 0) {
        r = process ? make_process(c, &made, reterr) : make_container(c, &made, reterr);
    }
    if (r < 0) {
        engine_command_finish(&made);
        return r;
    }
    made.model = xstrdup(c->model->id);
    *ret = made;
    return 0;
}

static void validate(const struct engine_context *c, struct validation *v,
                     struct validation *machine)
{
    const json_t *share = parameter_get(c->model, "gpu_memory_utilization");
    size_t before = json_array_size(v->errors);
    struct engine_command made = { 0 };
    struct gpus gpus = gpus_of(c->gpu);
    struct error err = { 0 };
    bool process = false;
    int r;

    parameters_validate(c->model, PARAMETER_TABLE(rows), v);
    if (json_is_number(share) && (json_number_value(share) <= 0 || json_number_value(share) > 1)) {
        validation_error(v, "parameters.gpu_memory_utilization must be above 0 and at most 1");
    }
    r = json_array_size(v->errors) > before ? 0 : is_process(c->model, &process, &err);
    r = r < 0 || json_array_size(v->errors) > before ? r : command(c, &made, &err);
    if (r < 0 && r != -ENODEV) {
        validation_error(r == -EINVAL ? v : machine, "%s", err.text);
    }
    engine_command_finish(&made);
    if (process) {
        devices_validate(c->model, &gpus, machine);
    } else {
        container_validate(c, v, machine);
    }
}

/* ---- what it tells */

/* Its counters of tokens, of prompts and of answers, whichever of its names they have. */
static uint64_t read_progress(struct span body)
{
    static const char *const counters[] = { "vllm:prompt_tokens_total",
                                            "vllm:generation_tokens_total",
                                            "vllm:iteration_tokens_total_sum" };
    uint64_t h = 0xcbf29ce484222325u;

    while (body.p) {
        struct span line = span_cut(&body, '\n');
        bool counts = false;

        for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
            counts = counts || span_starts(line, counters[i]);
        }
        for (size_t i = 0; counts && i < line.n; i++) {
            h = (h ^ (unsigned char)line.p[i]) * 0x100000001b3u;
        }
    }
    return h;
}

static bool has(struct span line, const char *part)
{
    return memmem(line.p, line.n, part, strlen(part)) != NULL;
}

/* "(EngineCore pid=12) ERROR 09-01 12:00:00 [core.py:700] ValueError: …": what follows the place in
 * its source. */
static struct span without_place(struct span line)
{
    const char *mark = has(line, "ERROR") ? memmem(line.p, line.n, "] ", 2) : NULL;

    if (mark) {
        line.n -= (size_t)(mark + 2 - line.p);
        line.p = mark + 2;
    }
    return span_trim(line);
}

/* The line of a traceback that names the exception, and what we say ourselves. Where it came from
 * stands before it; that "engine core initialization failed" after it tells nothing. */
static char *last_words(struct span tail)
{
    struct span whole = tail;
    struct last_lines last = { 0 };

    while (tail.p) {
        struct span line = without_place(span_cut(&tail, '\n'));

        if (span_starts(line, "berth: the ") || has(line, "out of memory") ||
            ((has(line, "Error: ") || has(line, "error: ")) &&
             !has(line, "initialization failed. See root cause"))) {
            last_lines_keep(&last, line);
        }
    }
    return last.count ? last_lines_join(&last) : last_words_plain(whole);
}

static void find_need(const struct engine_context *c, const struct model_facts *facts,
                      struct memory_need *ret)
{
    int64_t stages = MAX_OF(parameter_int(c->model, "pipeline_parallel_size", 1), 1);
    int64_t devices =
        MIN_OF(tensor_size(c->model), PLACE_DEVICES_MAX) * MIN_OF(stages, PLACE_DEVICES_MAX);

    need_of_share(share_of(c), (unsigned)MIN_OF(devices, PLACE_DEVICES_MAX), facts, ret);
}

static const char *const frameworks[] = { "vllm", NULL };

const struct engine_driver vllm_driver = {
    .name = "vllm",
    .frameworks = frameworks,
    .help = "vLLM's OpenAI server, in a container (parameters.image) or, with parameters.runtime "
            "\"process\", as a process. Ready when GET /health answers 200.",
    .validate = validate,
    .command = command,
    .needs_port = true,
    .probe_path = "/health",
    .progress_path = "/metrics",
    .read_progress = read_progress,
    .need = find_need,
    .is_out_of_memory = need_is_out_of_memory,
    .last_words = last_words,
};
