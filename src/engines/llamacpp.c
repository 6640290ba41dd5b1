// SPDX-License-Identifier: Apache-2.0
/*
 * llama.cpp's llama-server. Its command line is made from the contract's parameter names; what is
 * not named here goes into additional_parameters. Three things differ from the server's own
 * defaults, each for a reason:
 *   - the number of slots is always said, so that we know it, and ctx_size is what each request may
 * use: the server's --ctx-size is the total, so it gets the product. (One shared pool, kv_unified,
 * is smaller, but when the requests together outgrow it the server fails all of them.)
 *   - --threads-http lies above what we send at once, or probes would wait behind requests;
 *   - threads are half of the cores (engines.threads): its threads spin, and two engines on the
 * same cores would crawl.
 *
 * Flags that changed their form between versions (--mlock and --no-mmap became --load-mode,
 * --flash-attn got a value, --no-webui became --no-ui) are not flags here: they are said by
 * environment variables, in the words of every version. Each version reads the names that it knows
 * and takes no notice of the others, so nobody has to find out which one it is before the start,
 * and the command of an engine that lives does not depend on what was found out. A flag on the
 * command line goes before them.
 */
#include "engines/engine_driver.h"

#include <sched.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "engines/devices.h"
#include "engines/last_words.h"
#include "engines/llamacpp_need.h"
#include "engines/need.h"
#include "engines/parameters.h"
#include "engines/words.h"

enum { CTX_SIZE_WORTH_A_WARNING = 32768, HTTP_THREADS_ABOVE_SLOTS = 8 };

// clang-format off
static const struct parameter rows[] = {
    { "ctx_size",       PARAMETER_INT,    NULL,               1, INT32_MAX },
    { "binary",         PARAMETER_TEXT,   NULL,               0, 0 },
    { "threads",        PARAMETER_INT,    NULL,               1, 4096 },
    { "mlock",          PARAMETER_BOOL,   NULL,               0, 0 },
    { "no_mmap",        PARAMETER_BOOL,   NULL,               0, 0 },
    { "flash_attn",     PARAMETER_OWN,    NULL,               0, 0 },
    { "kv_unified",     PARAMETER_BOOL,   NULL,               0, 0 },
    { "cache_ram",      PARAMETER_INT,    NULL,               0, INT32_MAX },
    { "threads_batch",  PARAMETER_INT,    "--threads-batch",  1, 4096 },
    { "batch_size",     PARAMETER_INT,    "--batch-size",     1, INT32_MAX },
    { "ubatch_size",    PARAMETER_INT,    "--ubatch-size",    1, INT32_MAX },
    { "n_gpu_layers",   PARAMETER_INT,    "--n-gpu-layers",   0, INT32_MAX },
    { "split_mode",     PARAMETER_TEXT,   "--split-mode",     0, 0 },
    { "tensor_split",   PARAMETER_TEXT,   "--tensor-split",   0, 0 },
    { "main_gpu",       PARAMETER_INT,    "--main-gpu",       0, INT32_MAX },
    { "verbose",        PARAMETER_BOOL,   "--verbose",        0, 0 },
    { "embeddings",     PARAMETER_BOOL,   "--embeddings",     0, 0 },
    { "reranking",      PARAMETER_BOOL,   "--reranking",      0, 0 },
    { "pooling",        PARAMETER_TEXT,   "--pooling",        0, 0 },
    { "mmproj",         PARAMETER_TEXT,   "--mmproj",         0, 0 },
    { "cache_type_k",   PARAMETER_TEXT,   "--cache-type-k",   0, 0 },
    { "cache_type_v",   PARAMETER_TEXT,   "--cache-type-v",   0, 0 },
    { "rope_freq_base", PARAMETER_NUMBER, "--rope-freq-base", 0, 0 },
    { "rope_freq_scale", PARAMETER_NUMBER, "--rope-freq-scale", 0, 0 },
    { "chat_template",  PARAMETER_TEXT,   "--chat-template",  0, 0 },
    { "jinja",          PARAMETER_BOOL,   "--jinja",          0, 0 },
    { "reasoning_format", PARAMETER_TEXT, "--reasoning-format", 0, 0 },
    { "temp",           PARAMETER_NUMBER, "--temp",           0, 0 },
    { "temperature",    PARAMETER_NUMBER, "--temp",           0, 0 },
    { "top_p",          PARAMETER_NUMBER, "--top-p",          0, 0 },
    { "min_p",          PARAMETER_NUMBER, "--min-p",          0, 0 },
    { "top_k",          PARAMETER_INT,    "--top-k",          0, INT32_MAX },
    { "repeat_penalty", PARAMETER_NUMBER, "--repeat-penalty", 0, 0 },
    { "seed",           PARAMETER_INT,    "--seed",           -1, UINT32_MAX },
    { "sleep_idle_seconds", PARAMETER_INT, "--sleep-idle-seconds", -1, INT32_MAX },
};
// clang-format on

/* flash_attn is true, false, "on", "off" or "auto"; as its variable has it. */
static const char *flash_attn_word(const json_t *value)
{
    static const char *const words[][2] = { { "on", "1" }, { "off", "0" }, { "auto", "auto" } };
    const char *text = json_string_value(value);

    if (json_is_boolean(value)) {
        return json_is_true(value) ? "1" : "0";
    }
    for (size_t i = 0; text && i < ARRAY_SIZE(words); i++) {
        if (str_eq(text, words[i][0])) {
            return words[i][1];
        }
    }
    return NULL;
}

/* The server's absolute path, owned by the caller. */
static int find_binary(const struct config *config, const struct model_config *model, char **ret,
                       struct error *reterr)
{
    const char *name = parameter_text(model, "binary");

    if (!name) {
        name = config_string(config, "engines.llama_server");
    }
    if (program_find(name, ret) == 0) {
        return 0;
    }
    if (strchr(name, '/')) {
        return error_set(reterr, -ENOENT, "the llama.cpp server %s is not an executable file",
                         name);
    }
    return error_set(reterr, -ENOENT,
                     "the llama.cpp server '%s' is not in PATH; set engines.llama_server or the "
                     "model's parameters.binary to where it is",
                     name);
}

static int check_files(const struct model_config *model, struct error *reterr)
{
    const char *mmproj = parameter_text(model, "mmproj");
    int r = file_check("model file", model->model_path, reterr);

    return r == 0 && mmproj ? file_check("projector file", mmproj, reterr) : r;
}

static void validate(const struct engine_context *c, struct validation *v,
                     struct validation *machine)
{
    const struct model_config *model = c->model;
    const json_t *flash = parameter_get(model, "flash_attn");
    struct gpus gpus = gpus_of(c->gpu);
    _cleanup_(freep) char *binary = NULL;
    struct error err = { 0 };

    parameters_validate(model, PARAMETER_TABLE(rows), v);
    if (flash && !flash_attn_word(flash)) {
        validation_error(v, "parameters.flash_attn must be true, false, on, off or auto");
    }
    if (parameter_int(model, "ctx_size", 0) > CTX_SIZE_WORTH_A_WARNING) {
        validation_warn(v, "parameters.ctx_size is large (over %d): it may need much memory",
                        CTX_SIZE_WORTH_A_WARNING);
    }
    if (parameter_text(model, "host") && !parameter_get(model, "port")) {
        validation_warn(v, "parameters.host has no effect without parameters.port: the engine "
                           "listens on a unix socket");
    }
    if (find_binary(c->config, model, &binary, &err) < 0) {
        validation_error(machine, "%s", err.text);
    }
    if (check_files(model, &err) < 0) {
        validation_error(machine, "%s", err.text);
    }
    devices_validate(model, &gpus, machine);
}

/* ---- the command line */

static unsigned half_of_cores(void)
{
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

    return (unsigned)MAX_OF(cores / 2, 1);
}

static void add_threads(const struct engine_context *c, struct words *argv)
{
    int64_t threads = parameter_int(c->model, "threads", config_int(c->config, "engines.threads"));

    words_add(argv, "--threads");
    words_addf(argv, "%lld", (long long)(threads > 0 ? threads : half_of_cores()));
}

static int add_address(const struct engine_context *c, struct words *argv, struct address *ret,
                       struct error *reterr)
{
    const char *host = parameter_text(c->model, "host");
    uint16_t port = parameter_port(c);

    words_add(argv, "--host");
    if (port == 0) {
        char text[ADDRESS_TEXT_SIZE];

        words_add(argv, c->socket_path);
        snprintf(text, sizeof(text), "unix:%s", c->socket_path);
        return address_parse(text, ret, reterr);
    }
    words_add(argv, host ? host : "127.0.0.1");
    words_add(argv, "--port");
    words_addf(argv, "%u", (unsigned)port);
    return parameter_address(host, port, ret, reterr);
}

static void add_context(const struct model_config *model, unsigned slots, struct words *argv)
{
    int64_t ctx_size = parameter_int(model, "ctx_size", LLAMACPP_CTX_SIZE);
    bool shared = parameter_bool(model, "kv_unified", false);

    words_add(argv, "--ctx-size");
    words_addf(argv, "%lld", (long long)(shared ? ctx_size : ctx_size * slots));
    words_add(argv, "--parallel");
    words_addf(argv, "%u", slots);
    if (shared) {
        words_add(argv, "--kv-unified");
    }
}

/* Without a split llama.cpp looks at what is free just then, which is not what was planned. */
static void add_tensor_split(const struct model_config *model, const struct gpus *gpus,
                             struct words *argv)
{
    unsigned count = devices_count(model, gpus);
    struct buf parts = BUF_INIT(64 * 1024);

    if (count > 1 && !parameter_get(model, "tensor_split") && !parameter_get(model, "split_mode")) {
        for (unsigned i = 0; i < count; i++) {
            buf_puts(&parts, i ? ",1" : "1");
        }
        words_add(argv, "--tensor-split");
        words_add(argv, buf_data(&parts));
    }
    buf_finish(&parts);
}

static int add_all(const struct engine_context *c, const struct gpus *gpus, struct words *argv,
                   struct address *ret_address, struct error *reterr)
{
    unsigned slots = parameter_slots(c);
    int r;

    words_add(argv, "--model");
    words_add(argv, c->model->model_path);
    words_add(argv, "--alias");
    words_add(argv, c->model->id);
    r = add_address(c, argv, ret_address, reterr);
    if (r < 0) {
        return r;
    }
    add_context(c->model, slots, argv);
    words_add(argv, "--threads-http");
    words_addf(argv, "%u", slots + HTTP_THREADS_ABOVE_SLOTS);
    add_threads(c, argv);
    words_add(argv, "--metrics");
    if (devices_are_cpu(c->model, gpus) && !parameter_get(c->model, "n_gpu_layers")) {
        words_add(argv, "--n-gpu-layers");
        words_add(argv, "0");
    }
    add_tensor_split(c->model, gpus, argv);
    parameters_add_flags(c->model, PARAMETER_TABLE(rows), argv);
    return parameters_add_additional(c->model, argv, reterr);
}

static void add_load_mode(const struct model_config *model, struct words *env)
{
    bool mlock = parameter_bool(model, "mlock", false);
    bool no_mmap = parameter_bool(model, "no_mmap", false);

    if (mlock) {
        env_add(env, "LLAMA_ARG_MLOCK=1");
    }
    if (no_mmap) {
        env_add(env, "LLAMA_ARG_NO_MMAP=1");
    }
    if (mlock || no_mmap) {
        env_add(env, !mlock    ? "LLAMA_ARG_LOAD_MODE=none"
                     : no_mmap ? "LLAMA_ARG_LOAD_MODE=mlock"
                               : "LLAMA_ARG_LOAD_MODE=mmap+mlock");
    }
}

static char **make_env(const struct model_config *model, const struct gpus *gpus)
{
    const char *flash = flash_attn_word(parameter_get(model, "flash_attn"));
    struct words env = { 0 };
    char cache_ram[64];

    parameters_add_env(model, gpus, &env);
    add_load_mode(model, &env);
    if (flash) {
        _cleanup_(freep) char *entry = xasprintf("LLAMA_ARG_FLASH_ATTN=%s", flash);

        env_add(&env, entry);
    }
    /* What is planned is what is run: no shrinking to what is free, no cache of prompts beside it
     * (8 GiB by default) that nobody reckons with. */
    env_add(&env, "LLAMA_ARG_FIT=off");
    snprintf(cache_ram, sizeof(cache_ram), "LLAMA_ARG_CACHE_RAM=%lld",
             (long long)parameter_int(model, "cache_ram", 0));
    env_add(&env, cache_ram);
    env_add(&env, "LLAMA_ARG_ENDPOINT_SLOTS=1");
    env_add(&env, "LLAMA_ARG_NO_WEBUI=1"); /* its page is not for our users; under three names */
    env_add(&env, "LLAMA_ARG_WEBUI=0");
    env_add(&env, "LLAMA_ARG_UI=0");
    return words_take(&env);
}

static int command(const struct engine_context *c, struct engine_command *ret, struct error *reterr)
{
    _cleanup_(freep) char *binary = NULL;
    struct gpus gpus = gpus_for(c);
    struct words argv = { 0 };
    struct address address;
    int r;

    r = find_binary(c->config, c->model, &binary, reterr);
    if (r == 0) {
        r = check_files(c->model, reterr);
    }
    if (r == 0) {
        r = devices_check(c->model, &gpus, reterr);
    }
    if (r < 0) {
        return r;
    }
    words_add(&argv, binary);
    r = add_all(c, &gpus, &argv, &address, reterr);
    if (r < 0) {
        words_finish(&argv);
        return r;
    }
    *ret = (struct engine_command){ .argv = words_take(&argv),
                                    .env = make_env(c->model, &gpus),
                                    .slots = parameter_slots(c),
                                    .weight = parameter_weight(c->model),
                                    .address = address };
    return 0;
}

/* ---- what it tells */

static void read_info(struct span body, struct engine_info *info)
{
    json_t *props = json_loadb(body.p, body.n, 0, NULL);
    json_int_t slots = json_integer_value(json_object_get(props, "total_slots"));
    const json_t *sleeping = json_object_get(props, "is_sleeping");

    if (slots > 0 && slots <= 65536) {
        info->slots = (unsigned)slots;
    }
    if (json_is_boolean(sleeping)) {
        info->sleeping = json_is_true(sleeping);
    }
    json_decref(props);
}

static uint64_t mix(uint64_t h, const json_t *value)
{
    uint64_t n = json_is_integer(value) ? (uint64_t)json_integer_value(value)
                                        : (uint64_t)json_is_true(value);

    return (h ^ n) * 0x9e3779b97f4a7c15u + 1;
}

/* Prompts are worked on in steps, answers token by token; what a slot has no figure for counts as
 * 0. Of next_token some versions make an object, others a list of one. */
static uint64_t mix_slot(uint64_t h, const json_t *slot)
{
    static const char *const members[] = { "id_task", "is_processing", "n_prompt_tokens",
                                           "n_prompt_tokens_processed" };
    const json_t *next = json_object_get(slot, "next_token");

    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        h = mix(h, json_object_get(slot, members[i]));
    }
    next = json_is_array(next) ? json_array_get(next, 0) : next;
    return mix(h, json_object_get(next, "n_decoded"));
}

static uint64_t read_progress(struct span body)
{
    json_t *slots = json_loadb(body.p, body.n, 0, NULL);
    uint64_t h = 1;

    for (size_t i = 0; i < json_array_size(slots); i++) {
        h = mix_slot(h, json_array_get(slots, i));
    }
    json_decref(slots);
    return h;
}

/* "0.00.071.224 E srv    load_model: …": the level, and what follows it. 0 when the line has
 * another form. */
static char read_level(struct span line, struct span *ret_rest)
{
    struct span rest = line;
    struct span time = span_cut(&rest, ' ');

    if (time.n == 0 || strspn(time.p, "0123456789.") < time.n || rest.n < 3 || rest.p[1] != ' ') {
        return '\0';
    }
    *ret_rest = span_trim((struct span){ rest.p + 2, rest.n - 2 });
    return rest.p[0];
}

/* Words of those who do not know the format: the runtime, the linker, our own exec-engine. */
static struct span plain_complaint(struct span line)
{
    static const char *const starts[] = { "error", "terminate called", "  what():", "berth: " };

    for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
        if (span_starts(line, starts[i])) {
            return span_trim(line);
        }
    }
    if (memmem(line.p, line.n, "error while loading shared", 26) ||
        memmem(line.p, line.n, "GGML_ASSERT", 11) || memmem(line.p, line.n, "CUDA error", 10)) {
        return span_trim(line);
    }
    return (struct span){ 0 };
}

/* The cause comes first and is followed by what it led to, some of it twice. */
static char *last_words(struct span tail)
{
    struct last_lines last = { 0 };
    struct span final = { 0 };

    while (tail.p) {
        struct span line = span_cut(&tail, '\n');
        struct span words = { 0 };
        char level = read_level(line, &words);

        if (level == 'E' || (!level && (words = plain_complaint(line)).p)) {
            last_lines_keep(&last, words);
        } else if (!level && span_trim(line).n) {
            final = span_trim(line);
        }
    }
    if (last.count == 0 && final.p) {
        last_lines_keep(&last, final);
    }
    return last_lines_join(&last);
}

static const char *const frameworks[] = { "llama_cpp", "llamacpp", NULL };

const struct engine_driver llamacpp_driver = {
    .name = "llamacpp",
    .frameworks = frameworks,
    .help = "llama.cpp's llama-server, a GGUF file.",
    .validate = validate,
    .command = command,
    .probe_path = "/health",
    .info_path = "/props",
    .read_info = read_info,
    .progress_path = "/slots",
    .read_progress = read_progress,
    .need = llamacpp_need,
    .is_out_of_memory = need_is_out_of_memory,
    .last_words = last_words,
};
