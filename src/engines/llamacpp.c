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
 */
#include "engines/engine_driver.h"

#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "engines/words.h"

enum { DEFAULT_CTX_SIZE = 2048, CTX_SIZE_WORTH_A_WARNING = 32768, HTTP_THREADS_ABOVE_SLOTS = 8 };

enum parameter_kind {
    PARAMETER_INT,
    PARAMETER_NUMBER,
    PARAMETER_BOOL, /* the flag alone, when true */
    PARAMETER_TEXT,
    PARAMETER_OBJECT,
};

/* A parameter of ModelConfig.parameters. Without a flag: it is known and used elsewhere. */
struct parameter {
    const char *name;
    enum parameter_kind kind;
    const char *flag;
    int64_t min, max; /* of ints; both 0: any */
};

// clang-format off
static const struct parameter parameters[] = {
    { "ctx_size",       PARAMETER_INT,    NULL,               1, INT32_MAX },
    { "parallel",       PARAMETER_INT,    NULL,               1, 65536 },
    { "port",           PARAMETER_INT,    NULL,               1024, 65535 },
    { "host",           PARAMETER_TEXT,   NULL,               0, 0 },
    { "binary",         PARAMETER_TEXT,   NULL,               0, 0 },
    { "env",            PARAMETER_OBJECT, NULL,               0, 0 },
    { "gpu_vendor",     PARAMETER_TEXT,   NULL,               0, 0 },
    { "threads",        PARAMETER_INT,    NULL,               1, 4096 },
    { "mlock",          PARAMETER_BOOL,   NULL,               0, 0 },
    { "no_mmap",        PARAMETER_BOOL,   NULL,               0, 0 },
    { "kv_unified",     PARAMETER_BOOL,   NULL,               0, 0 },
    { "batch_size",     PARAMETER_INT,    "--batch-size",     1, INT32_MAX },
    { "ubatch_size",    PARAMETER_INT,    "--ubatch-size",    1, INT32_MAX },
    { "n_gpu_layers",   PARAMETER_INT,    "--n-gpu-layers",   0, INT32_MAX },
    { "verbose",        PARAMETER_BOOL,   "--verbose",        0, 0 },
    { "embeddings",     PARAMETER_BOOL,   "--embeddings",     0, 0 },
    { "reranking",      PARAMETER_BOOL,   "--reranking",      0, 0 },
    { "pooling",        PARAMETER_TEXT,   "--pooling",        0, 0 },
    { "cache_type_k",   PARAMETER_TEXT,   "--cache-type-k",   0, 0 },
    { "cache_type_v",   PARAMETER_TEXT,   "--cache-type-v",   0, 0 },
    { "chat_template",  PARAMETER_TEXT,   "--chat-template",  0, 0 },
    { "temp",           PARAMETER_NUMBER, "--temp",           0, 0 },
    { "temperature",    PARAMETER_NUMBER, "--temp",           0, 0 },
    { "top_p",          PARAMETER_NUMBER, "--top-p",          0, 0 },
    { "min_p",          PARAMETER_NUMBER, "--min-p",          0, 0 },
    { "top_k",          PARAMETER_INT,    "--top-k",          0, INT32_MAX },
    { "repeat_penalty", PARAMETER_NUMBER, "--repeat-penalty", 0, 0 },
    { "seed",           PARAMETER_INT,    "--seed",           -1, UINT32_MAX },
    /* of the memory estimate */
    { "model_size_gb",  PARAMETER_NUMBER, NULL,               0, 0 },
    { "precision",      PARAMETER_TEXT,   NULL,               0, 0 },
    { "quantization",   PARAMETER_TEXT,   NULL,               0, 0 },
    { "context_length", PARAMETER_INT,    NULL,               1, INT32_MAX },
    { "max_batch_size", PARAMETER_INT,    NULL,               1, INT32_MAX },
};
// clang-format on

/* flash_attn is true, false, "on", "off" or "auto": a kind of its own. */
static const char *flash_attn_word(const json_t *value)
{
    const char *text = json_string_value(value);

    if (json_is_boolean(value)) {
        return json_is_true(value) ? "on" : "off";
    }
    return text && (str_eq(text, "on") || str_eq(text, "off") || str_eq(text, "auto")) ? text
                                                                                       : NULL;
}

static const json_t *get(const struct model_config *model, const char *name)
{
    const json_t *value = json_object_get(model->parameters, name);

    return json_is_null(value) ? NULL : value;
}

static int64_t get_int(const struct model_config *model, const char *name, int64_t otherwise)
{
    const json_t *value = get(model, name);

    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

static const char *get_text(const struct model_config *model, const char *name)
{
    return json_string_value(get(model, name));
}

static bool get_bool(const struct model_config *model, const char *name, bool otherwise)
{
    const json_t *value = get(model, name);

    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

/* ---- validation */

static const struct parameter *find_parameter(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(parameters); i++) {
        if (str_eq(parameters[i].name, name)) {
            return &parameters[i];
        }
    }
    return NULL;
}

static bool is_of_kind(const json_t *value, enum parameter_kind kind)
{
    switch (kind) {
    case PARAMETER_INT:
        return json_is_integer(value);
    case PARAMETER_NUMBER:
        return json_is_number(value);
    case PARAMETER_BOOL:
        return json_is_boolean(value);
    case PARAMETER_TEXT:
        return json_is_string(value) && *json_string_value(value);
    default:
        return json_is_object(value);
    }
}

static void check_range(const struct parameter *p, int64_t value, struct validation *v)
{
    if ((p->min || p->max) && (value < p->min || value > p->max)) {
        if (p->max == INT32_MAX) {
            validation_error(v, "parameters.%s must be %s", p->name,
                             p->min ? "greater than 0" : "0 or greater");
        } else {
            validation_error(v, "parameters.%s must be between %lld and %lld", p->name,
                             (long long)p->min, (long long)p->max);
        }
    }
}

static void check_parameter(const char *name, const json_t *value, struct validation *v)
{
    static const char *const kinds[] = { "an integer", "a number", "true or false", "a text",
                                         "an object" };
    const struct parameter *p = find_parameter(name);

    if (json_is_null(value)) {
        return;
    }
    if (str_eq(name, "flash_attn")) {
        if (!flash_attn_word(value)) {
            validation_error(v, "parameters.flash_attn must be true, false, on, off or auto");
        }
    } else if (!p) {
        validation_warn(v, "parameters.%s is not known and has no effect", name);
    } else if (!is_of_kind(value, p->kind)) {
        validation_error(v, "parameters.%s must be %s", name, kinds[p->kind]);
    } else if (p->kind == PARAMETER_INT) {
        check_range(p, json_integer_value(value), v);
    }
}

static void check_environment(const struct model_config *model, struct validation *v)
{
    const char *name;
    json_t *value;

    json_object_foreach(UNCONST(json_t *, get(model, "env")), name, value)
    {
        if (!*name || strchr(name, '=')) {
            validation_error(v, "parameters.env: '%s' is no name of a variable", name);
        } else if (!json_is_string(value)) {
            validation_error(v, "parameters.env.%s must be a text", name);
        } else if (str_starts(name, "BERTH_")) {
            validation_error(v, "parameters.env.%s: names with BERTH_ are our own", name);
        }
    }
}

static int check_file(const char *path, struct error *reterr)
{
    struct stat st;

    if (stat(path, &st) < 0) {
        return error_set(reterr, -errno, "cannot read the model file %s: %s", path,
                         strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return error_set(reterr, -EINVAL, "the model path %s is not a file", path);
    }
    if (access(path, R_OK) < 0) {
        return error_set(reterr, -errno, "cannot read the model file %s: %s", path,
                         strerror(errno));
    }
    return 0;
}

static bool is_program(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static char *absolute(const char *path)
{
    _cleanup_(freep) char *cwd = NULL;

    if (*path == '/') {
        return xstrdup(path);
    }
    cwd = getcwd(NULL, 0);
    return xasprintf("%s/%s", cwd ? cwd : ".", path);
}

static char *search_path(const char *name)
{
    const char *path = getenv("PATH");
    struct span rest = span_of(path ? path : "/usr/local/bin:/usr/bin:/bin");

    while (rest.p) {
        struct span dir = span_cut(&rest, ':');
        char *file = dir.n ? xasprintf("%.*s/%s", SPAN_ARG(dir), name) : NULL;

        if (file && is_program(file)) {
            return file;
        }
        free(file);
    }
    return NULL;
}

/* The server's absolute path, owned by the caller. */
static int find_binary(const struct config *config, const struct model_config *model, char **ret,
                       struct error *reterr)
{
    const char *name = get_text(model, "binary");
    char *path;

    if (!name) {
        name = config_string(config, "engines.llama_server");
    }
    path = strchr(name, '/') ? absolute(name) : search_path(name);
    if (path && is_program(path)) {
        *ret = path;
        return 0;
    }
    free(path);
    if (strchr(name, '/')) {
        return error_set(reterr, -ENOENT, "the llama.cpp server %s is not an executable file",
                         name);
    }
    return error_set(reterr, -ENOENT,
                     "the llama.cpp server '%s' is not in PATH; set engines.llama_server or the "
                     "model's parameters.binary to where it is",
                     name);
}

static void check_rest(const struct config *config, const struct model_config *model,
                       struct validation *v)
{
    _cleanup_(freep) char *binary = NULL;
    _cleanup_(str_list_freep) char **words = NULL;
    struct error err = { 0 };

    if (find_binary(config, model, &binary, &err) < 0) {
        validation_error(v, "%s", err.text);
    }
    if (check_file(model->model_path, &err) < 0) {
        validation_error(v, "%s", err.text);
    }
    if (model->additional_parameters &&
        str_split_words(model->additional_parameters, &words, &err) < 0) {
        validation_error(v, "additional_parameters: %s", err.text);
    }
    if (get_text(model, "host") && !get(model, "port")) {
        validation_warn(v, "parameters.host has no effect without parameters.port: the engine "
                           "listens on a unix socket");
    }
}

static void validate(const struct config *config, const struct model_config *model,
                     struct validation *v)
{
    const char *name;
    json_t *value;

    json_object_foreach(model->parameters, name, value)
    {
        check_parameter(name, value, v);
    }
    if (get_int(model, "ctx_size", 0) > CTX_SIZE_WORTH_A_WARNING) {
        validation_warn(v, "parameters.ctx_size is large (over %d): it may need much memory",
                        CTX_SIZE_WORTH_A_WARNING);
    }
    check_environment(model, v);
    check_rest(config, model, v);
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
    int64_t threads = get_int(c->model, "threads", config_int(c->config, "engines.threads"));

    words_add(argv, "--threads");
    words_addf(argv, "%lld", (long long)(threads > 0 ? threads : half_of_cores()));
}

static int add_address(const struct engine_context *c, struct words *argv, struct address *ret,
                       struct error *reterr)
{
    int64_t port = get_int(c->model, "port", 0);
    const char *host = get_text(c->model, "host");
    char text[96];

    words_add(argv, "--host");
    if (port == 0) {
        words_add(argv, c->socket_path);
        snprintf(text, sizeof(text), "unix:%s", c->socket_path);
        return address_parse(text, ret, reterr);
    }
    host = host ? host : "127.0.0.1";
    words_add(argv, host);
    words_add(argv, "--port");
    words_addf(argv, "%lld", (long long)port);
    if (str_eq(host, "0.0.0.0")) {
        host = "127.0.0.1";
    }
    snprintf(text, sizeof(text), strchr(host, ':') ? "[%s]:%lld" : "%s:%lld", host,
             (long long)port);
    return address_parse(text, ret, reterr);
}

static void add_load_mode(const struct model_config *model, struct words *argv)
{
    bool mlock = get_bool(model, "mlock", false);
    bool no_mmap = get_bool(model, "no_mmap", false);

    if (mlock || no_mmap) {
        words_add(argv, "--load-mode");
        words_add(argv, !mlock ? "none" : no_mmap ? "mlock" : "mmap+mlock");
    }
}

static void add_parameter(const struct parameter *p, const json_t *value, struct words *argv)
{
    if (!p->flag || !value || (p->kind == PARAMETER_BOOL && !json_is_true(value))) {
        return;
    }
    words_add(argv, p->flag);
    if (p->kind == PARAMETER_INT) {
        words_addf(argv, "%lld", (long long)json_integer_value(value));
    } else if (p->kind == PARAMETER_NUMBER) {
        words_addf(argv, "%g", json_number_value(value));
    } else if (p->kind == PARAMETER_TEXT) {
        words_add(argv, json_string_value(value));
    }
}

static void add_parameters(const struct model_config *model, struct words *argv)
{
    const json_t *flash = get(model, "flash_attn");

    for (size_t i = 0; i < ARRAY_SIZE(parameters); i++) {
        add_parameter(&parameters[i], get(model, parameters[i].name), argv);
    }
    if (flash && flash_attn_word(flash)) {
        words_add(argv, "--flash-attn");
        words_add(argv, flash_attn_word(flash));
    }
}

static int add_additional(const struct model_config *model, struct words *argv,
                          struct error *reterr)
{
    _cleanup_(str_list_freep) char **more = NULL;
    int r;

    if (!model->additional_parameters) {
        return 0;
    }
    r = str_split_words(model->additional_parameters, &more, reterr);
    if (r < 0) {
        return error_prefix(reterr, "additional_parameters: ");
    }
    for (char **word = more; *word; word++) {
        words_add(argv, *word);
    }
    return 0;
}

static void add_context(const struct model_config *model, unsigned slots, struct words *argv)
{
    int64_t ctx_size = get_int(model, "ctx_size", DEFAULT_CTX_SIZE);
    bool shared = get_bool(model, "kv_unified", false);

    words_add(argv, "--ctx-size");
    words_addf(argv, "%lld", (long long)(shared ? ctx_size : ctx_size * slots));
    words_add(argv, "--parallel");
    words_addf(argv, "%u", slots);
    if (shared) {
        words_add(argv, "--kv-unified");
    }
}

static int add_all(const struct engine_context *c, unsigned slots, struct words *argv,
                   struct address *ret_address, struct error *reterr)
{
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
    words_add(argv, "--no-webui");
    add_load_mode(c->model, argv);
    add_parameters(c->model, argv);
    return add_additional(c->model, argv, reterr);
}

static void add_devices(const struct model_config *model, struct words *env)
{
    const char *vendor = get_text(model, "gpu_vendor");
    struct buf list = BUF_INIT(4096);

    for (size_t i = 0; i < model->gpu_device_count; i++) {
        buf_printf(&list, i ? ",%d" : "%d", model->gpu_devices[i]);
    }
    if (model->gpu_device_count) {
        words_addf(env, "%s=%s",
                   vendor && str_eq(vendor, "amd") ? "HIP_VISIBLE_DEVICES" : "CUDA_VISIBLE_DEVICES",
                   buf_data(&list));
    }
    buf_finish(&list);
}

static char **make_env(const struct model_config *model)
{
    struct words env = { 0 };
    const char *name;
    json_t *value;

    add_devices(model, &env);
    json_object_foreach(UNCONST(json_t *, get(model, "env")), name, value)
    {
        if (json_is_string(value)) {
            words_addf(&env, "%s=%s", name, json_string_value(value));
        }
    }
    return words_take(&env);
}

static int command(const struct engine_context *c, struct engine_command *ret, struct error *reterr)
{
    int64_t slots = get_int(c->model, "parallel", config_int(c->config, "engines.parallel"));
    _cleanup_(freep) char *binary = NULL;
    struct words argv = { 0 };
    struct address address;
    int r;

    r = find_binary(c->config, c->model, &binary, reterr);
    if (r < 0) {
        return r;
    }
    r = check_file(c->model->model_path, reterr);
    if (r < 0) {
        return r;
    }
    words_add(&argv, binary);
    r = add_all(c, (unsigned)slots, &argv, &address, reterr);
    if (r < 0) {
        words_finish(&argv);
        return r;
    }
    *ret = (struct engine_command){ .argv = words_take(&argv),
                                    .env = make_env(c->model),
                                    .slots = (unsigned)slots,
                                    .address = address };
    return 0;
}

/* ---- what it tells */

static void read_info(struct span body, unsigned *ret_slots)
{
    json_t *props = json_loadb(body.p, body.n, 0, NULL);
    json_int_t slots = json_integer_value(json_object_get(props, "total_slots"));

    if (slots > 0 && slots <= 4096) {
        *ret_slots = (unsigned)slots;
    }
    json_decref(props);
}

/* The cause comes first and is followed by what it led to, some of it twice. */
enum { WORDS_LINES = 5, WORDS_LINE_MAX = 240 };

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

struct last_lines {
    struct span lines[WORDS_LINES];
    size_t count;
};

static bool is_kept(const struct last_lines *last, struct span line)
{
    for (size_t i = 0; i < last->count; i++) {
        if (last->lines[i].n == line.n && memcmp(last->lines[i].p, line.p, line.n) == 0) {
            return true;
        }
    }
    return false;
}

static void keep_line(struct last_lines *last, struct span line)
{
    line.n = MIN_OF(line.n, (size_t)WORDS_LINE_MAX);
    if (is_kept(last, line)) {
        return;
    }
    if (last->count == WORDS_LINES) {
        memmove(last->lines, last->lines + 1, sizeof(last->lines) - sizeof(last->lines[0]));
        last->count--;
    }
    last->lines[last->count++] = line;
}

static char *last_words(struct span tail)
{
    struct last_lines last = { 0 };
    struct span final = { 0 };
    struct buf out = BUF_INIT((WORDS_LINE_MAX + 2) * WORDS_LINES + 1);

    while (tail.p) {
        struct span line = span_cut(&tail, '\n');
        struct span words = { 0 };
        char level = read_level(line, &words);

        if (level == 'E' || (!level && (words = plain_complaint(line)).p)) {
            keep_line(&last, words);
        } else if (!level && span_trim(line).n) {
            final = span_trim(line);
        }
    }
    if (last.count == 0 && final.p) {
        keep_line(&last, final);
    }
    for (size_t i = 0; i < last.count; i++) {
        buf_printf(&out, i ? "; %.*s" : "%.*s", SPAN_ARG(last.lines[i]));
    }
    return out.len ? buf_take(&out, NULL) : NULL;
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
    .last_words = last_words,
};
