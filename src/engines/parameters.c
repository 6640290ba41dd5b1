// SPDX-License-Identifier: Apache-2.0
/* ModelConfig.parameters: reading, checking, and what every driver makes of them. */
#include "engines/parameters.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

// clang-format off
static const struct parameter common_rows[] = {
    { "parallel",       PARAMETER_INT,    NULL, 1, 65536 },
    { "weight",         PARAMETER_INT,    NULL, 1, 1000 },
    { "port",           PARAMETER_INT,    NULL, 1024, 65535 },
    { "host",           PARAMETER_TEXT,   NULL, 0, 0 },
    { "env",            PARAMETER_OBJECT, NULL, 0, 0 },
    { "gpu_vendor",     PARAMETER_TEXT,   NULL, 0, 0 },
    /* of requests, not of the engine (tasks/task_types.h) */
    { "max_tokens",     PARAMETER_INT,    NULL, 1, INT32_MAX },
    { "temperature",    PARAMETER_NUMBER, NULL, 0, 0 },
    { "task_templates", PARAMETER_OBJECT, NULL, 0, 0 },
    /* of the memory estimate */
    { "model_size_gb",  PARAMETER_NUMBER, NULL, 0, 0 },
    { "precision",      PARAMETER_TEXT,   NULL, 0, 0 },
    { "quantization",   PARAMETER_TEXT,   NULL, 0, 0 },
    { "context_length", PARAMETER_INT,    NULL, 1, INT32_MAX },
    { "max_batch_size", PARAMETER_INT,    NULL, 1, INT32_MAX },
};
// clang-format on

const json_t *parameter_get(const struct model_config *model, const char *name)
{
    const json_t *value = json_object_get(model->parameters, name);

    return json_is_null(value) ? NULL : value;
}

int64_t parameter_int(const struct model_config *model, const char *name, int64_t otherwise)
{
    const json_t *value = parameter_get(model, name);

    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

const char *parameter_text(const struct model_config *model, const char *name)
{
    return json_string_value(parameter_get(model, name));
}

bool parameter_bool(const struct model_config *model, const char *name, bool otherwise)
{
    const json_t *value = parameter_get(model, name);

    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

/* ---- validation */

static const struct parameter *find_row(struct parameter_table table, const char *name)
{
    for (size_t i = 0; i < table.count; i++) {
        if (str_eq(table.rows[i].name, name)) {
            return &table.rows[i];
        }
    }
    return NULL;
}

/* A text with a NUL inside would be another one where it is used. */
static bool is_text(const json_t *value)
{
    return json_is_string(value) && *json_string_value(value) &&
           strlen(json_string_value(value)) == json_string_length(value);
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
        return is_text(value);
    case PARAMETER_OBJECT:
        return json_is_object(value);
    default:
        return true;
    }
}

static void check_range(const struct parameter *p, int64_t value, struct validation *v)
{
    if ((p->min == 0 && p->max == 0) || (value >= p->min && value <= p->max)) {
        return;
    }
    if (p->max == INT32_MAX && p->min >= 0) {
        validation_error(v, "parameters.%s must be %s", p->name,
                         p->min ? "greater than 0" : "0 or greater");
    } else {
        validation_error(v, "parameters.%s must be between %lld and %lld", p->name,
                         (long long)p->min, (long long)p->max);
    }
}

static void check_value(const struct parameter *p, const json_t *value, struct validation *v)
{
    static const char *const kinds[] = { "an integer", "a number", "true or false", "a text",
                                         "an object" };

    if (!is_of_kind(value, p->kind)) {
        validation_error(v, "parameters.%s must be %s", p->name, kinds[p->kind]);
    } else if (p->kind == PARAMETER_INT) {
        check_range(p, json_integer_value(value), v);
    }
}

static void check_env(const struct model_config *model, struct validation *v)
{
    const char *name;
    json_t *value;

    json_object_foreach(UNCONST(json_t *, parameter_get(model, "env")), name, value)
    {
        if (!*name || strchr(name, '=')) {
            validation_error(v, "parameters.env: '%s' is no name of a variable", name);
        } else if (!json_is_string(value) ||
                   strlen(json_string_value(value)) != json_string_length(value)) {
            validation_error(v, "parameters.env.%s must be a text", name);
        } else if (str_starts(name, "BERTH_")) {
            validation_error(v, "parameters.env.%s: names with BERTH_ are our own", name);
        }
    }
}

/* What more than one member decides. */
static void check_together(const struct model_config *model, struct validation *v)
{
    const char *vendor = parameter_text(model, "gpu_vendor");
    int64_t port = parameter_int(model, "port", 0);
    _cleanup_(str_list_freep) char **words = NULL;
    const char *host = parameter_text(model, "host");
    struct address address;
    struct error err = { 0 };

    if (host && parameter_address(host, 1, &address, &err) < 0) {
        validation_error(v, "%s", err.text);
    }
    if (vendor && !str_eq(vendor, "nvidia") && !str_eq(vendor, "amd")) {
        validation_error(v, "parameters.gpu_vendor must be nvidia or amd");
    }
    if (port && port <= UINT16_MAX && port + model->replicas - 1 > UINT16_MAX) {
        validation_error(v,
                         "parameters.port: %d replicas from port %lld on go beyond 65535 (each has "
                         "its own)",
                         model->replicas, (long long)port);
    }
    if (model->additional_parameters &&
        str_split_words(model->additional_parameters, &words, &err) < 0) {
        validation_error(v, "additional_parameters: %s", err.text);
    }
}

void parameters_validate(const struct model_config *model, struct parameter_table own,
                         struct validation *v)
{
    const char *name;
    json_t *value;

    json_object_foreach(model->parameters, name, value)
    {
        const struct parameter *p = find_row(own, name);

        p = p ? p : find_row(PARAMETER_TABLE(common_rows), name);
        if (json_is_null(value)) {
            continue;
        }
        if (p) {
            check_value(p, value, v);
        } else {
            validation_warn(v, "parameters.%s is not known and has no effect", name);
        }
    }
    check_env(model, v);
    check_together(model, v);
}

/* ---- use */

int64_t parameter_within(const struct model_config *model, const char *name, int64_t otherwise)
{
    const struct parameter *p = find_row(PARAMETER_TABLE(common_rows), name);
    int64_t value = parameter_int(model, name, otherwise);

    return value >= p->min && value <= p->max ? value : otherwise;
}

unsigned parameter_slots(const struct engine_context *c)
{
    return (unsigned)parameter_within(c->model, "parallel",
                                      config_int(c->config, "engines.parallel"));
}

unsigned parameter_weight(const struct model_config *model)
{
    return (unsigned)parameter_within(model, "weight", 0);
}

uint16_t parameter_port(const struct engine_context *c)
{
    int64_t port = parameter_within(c->model, "port", 0);

    return port && port + c->replica <= UINT16_MAX ? (uint16_t)(port + c->replica) : 0;
}

int parameter_address(const char *host, uint16_t port, struct address *ret, struct error *reterr)
{
    char text[ADDRESS_TEXT_SIZE];

    if (!host || str_eq(host, "0.0.0.0") || str_eq(host, "::")) {
        host = "127.0.0.1";
    }
    if (strlen(host) > sizeof(text) - 10) {
        return error_set(reterr, -EINVAL, "parameters.host is too long");
    }
    snprintf(text, sizeof(text), strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, (unsigned)port);
    if (address_parse(text, ret, reterr) < 0) {
        return error_prefix(reterr, "parameters.host: ");
    }
    return 0;
}

static void add_flag(const struct parameter *p, const json_t *value, struct words *argv)
{
    if (!p->flag || !value || !is_of_kind(value, p->kind) ||
        (p->kind == PARAMETER_BOOL && !json_is_true(value))) {
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

void parameters_add_flags(const struct model_config *model, struct parameter_table table,
                          struct words *argv)
{
    for (size_t i = 0; i < table.count; i++) {
        add_flag(&table.rows[i], parameter_get(model, table.rows[i].name), argv);
    }
}

int parameters_add_additional(const struct model_config *model, struct words *argv,
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

void env_add(struct words *env, const char *entry)
{
    size_t name = strcspn(entry, "=") + 1;

    for (size_t i = 0; i < env->count; i++) {
        if (strncmp(env->list[i], entry, name) == 0) {
            return;
        }
    }
    words_add(env, entry);
}

void parameters_add_env(const struct model_config *model, const struct gpus *gpus,
                        struct words *env)
{
    _cleanup_(freep) char *devices = devices_variable(model, gpus);
    const char *name;
    json_t *value;

    json_object_foreach(UNCONST(json_t *, parameter_get(model, "env")), name, value)
    {
        if (json_is_string(value)) {
            words_addf(env, "%s=%s", name, json_string_value(value));
        }
    }
    if (devices) {
        env_add(env, devices);
        if (str_starts(devices, "CUDA_")) { /* else CUDA counts by speed, and NVML does not */
            env_add(env, "CUDA_DEVICE_ORDER=PCI_BUS_ID");
        }
    }
}

/* ---- files */

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

int program_find(const char *name, char **ret)
{
    char *path = strchr(name, '/') ? absolute(name) : search_path(name);

    if (path && is_program(path)) {
        *ret = path;
        return 0;
    }
    free(path);
    return -ENOENT;
}

int file_check(const char *what, const char *path, struct error *reterr)
{
    struct stat st;

    if (stat(path, &st) < 0) {
        return error_set(reterr, -errno, "cannot read the %s %s: %s", what, path, strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return error_set(reterr, -EISDIR, "the %s %s is not a file", what, path);
    }
    if (access(path, R_OK) < 0) {
        return error_set(reterr, -errno, "cannot read the %s %s: %s", what, path, strerror(errno));
    }
    return 0;
}
