// SPDX-License-Identifier: Apache-2.0
/* Options of the whole program, and reading the configuration as one. */
#include "daemon/options.h"

#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "access/access.h"
#include "api/api.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/stream.h"
#include "daemon/daemon_int.h"
#include "daemon/foreign_options.h"
#include "daemon/foreign_stores.h"
#include "dispatch/dispatch.h"
#include "engines/engines.h"
#include "evaluations/evaluations.h"
#include "gateway/gateway.h"
#include "gpu/gpu.h"
#include "placement/placement.h"
#include "task_instances/task_instances.h"
#include "tasks/batches.h"
#include "tasks/task_types.h"
#include "tasks/tasks.h"
#include "tasks/webhooks.h"

// clang-format off
static const struct option_row rows[] = {
    { "server.listen", OPTION_LIST, "127.0.0.1:8080", 0, 0, NULL, false, false,
      "Addresses to listen on: HOST:PORT, [IPv6]:PORT, :PORT (everywhere) or unix:PATH. All serve the same." },
    { "server.max_body", OPTION_BYTES, "32MiB", 1024, 1073741824, NULL, false, false,
      "The largest request body; larger ones are refused with 413." },
    { "server.body_budget", OPTION_BYTES, "512MiB", 1048576, 1099511627776, NULL, false, false,
      "Memory for all held request bodies together; beyond it requests are refused with 503." },
    { "server.max_connections", OPTION_INT, "4096", 16, 1000000, NULL, false, false,
      "Client connections at a time; further ones wait in the kernel. Lowered when the limit of open files is." },
    { "server.head_timeout", OPTION_DURATION, "10s", 100, 3600000, NULL, false, false,
      "How long a client may take to send a request's head." },
    { "server.body_timeout", OPTION_DURATION, "30s", 100, 3600000, NULL, false, false,
      "How long a client may pause while it sends a body." },
    { "server.idle_timeout", OPTION_DURATION, "75s", 100, 3600000, NULL, false, false,
      "How long a kept-alive connection may be idle." },
    { "server.write_timeout", OPTION_DURATION, "120s", 1000, 86400000, NULL, false, false,
      "How long a client may take nothing of an answer that waits for it." },
    { "server.drain_timeout", OPTION_DURATION, "30s", 0, 3600000, NULL, true, false,
      "At shutdown, how long accepted requests may take to end." },
    { "log.level", OPTION_ENUM, "info", 0, 0, "debug info warn error", true, false,
      "Which lines are written to stderr." },
    { "log.format", OPTION_ENUM, "text", 0, 0, "text json", true, false,
      "How log lines are written." },
    { "events.keep", OPTION_DURATION, "30d", 60000, 315360000000, NULL, true, false,
      "How long events are kept." },
};
// clang-format on

const struct option_table daemon_options_table = { rows, ARRAY_SIZE(rows) };

const struct option_table *const *daemon_option_tables(void)
{
    static const struct option_table *tables[] = { &daemon_options_table,
                                                   &gpu_options,
                                                   &access_options,
                                                   &engines_options,
                                                   &dispatch_options,
                                                   &placement_options,
                                                   &gateway_options,
                                                   &tasks_options,
                                                   &batches_options,
                                                   &webhooks_options,
                                                   &task_instances_options,
                                                   &evaluations_options,
                                                   &api_options,
                                                   &foreign_store_options,
                                                   &foreign_options,
                                                   NULL };

    return tables;
}

char *daemon_config_path(const char *given)
{
    static const char *const places[] = { "berth.yaml", "/etc/berth/berth.yaml" };

    if (given) {
        return xstrdup(given);
    }
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        if (access(places[i], R_OK) == 0) {
            return realpath(places[i], NULL);
        }
    }
    return NULL;
}

char *daemon_data_dir(const char *given)
{
    const char *env = getenv("BERTH_DATA_DIR");
    const char *dir = given ? given : env && *env ? env : DEFAULT_DATA_DIR;
    char cwd[4096];

    if (dir[0] == '/' || !getcwd(cwd, sizeof(cwd))) {
        return xstrdup(dir);
    }
    return xasprintf("%s/%s", cwd, dir);
}

/* The environment, with `--listen` put in as if it were BERTH_SERVER_LISTEN. */
static char **environment_with(const char *const *listen)
{
    struct buf value = BUF_INIT(65536);
    size_t n = 0;
    char **copy;

    while (environ[n]) {
        n++;
    }
    copy = xcalloc(n + 2, sizeof(*copy));
    for (size_t i = 0, out = 0; i < n; i++) {
        if (!listen || !str_starts(environ[i], "BERTH_SERVER_LISTEN=")) {
            copy[out++] = xstrdup(environ[i]);
            copy[out] = NULL;
        }
    }
    if (listen) {
        buf_puts(&value, "BERTH_SERVER_LISTEN=");
        for (size_t i = 0; listen[i]; i++) {
            buf_printf(&value, "%s%s", i ? "," : "", listen[i]);
        }
        for (n = 0; copy[n]; n++) {
        }
        copy[n] = buf_take(&value, NULL);
    }
    return copy;
}

static int check_addresses(const struct config *config, struct error *reterr)
{
    const char *const *list = config_list(config, "server.listen");
    const char *source = config_source(config, "server.listen");
    size_t count = 0;

    for (; list[count]; count++) {
        struct address a;

        if (address_parse(list[count], &a, reterr) < 0) {
            return error_prefix(reterr, "server.listen (%s): ", source);
        }
    }
    if (count == 0) {
        return error_set(reterr, -EINVAL, "server.listen (%s): no address is given", source);
    }
    if (count > MAX_LISTENERS) {
        return error_set(reterr, -EINVAL, "server.listen (%s): more than %d addresses", source,
                         MAX_LISTENERS);
    }
    return 0;
}

static int check_task_types(const struct config *config, struct error *reterr)
{
    struct task_types *types;
    int r = task_types_create(config, &types, reterr);

    if (r == 0) {
        task_types_destroy(types);
    }
    return r;
}

int daemon_load_config(const char *path, const char *const *listen, struct config **ret,
                       struct error *reterr)
{
    _cleanup_(str_list_freep) char **env = environment_with(listen);
    struct model_config **models = NULL;
    struct config *config = NULL;
    size_t count = 0;
    int r;

    r = config_load(path, (const char *const *)env, daemon_option_tables(), &config, reterr);
    if (r < 0) {
        return r;
    }
    r = foreign_options_apply(config, reterr);
    r = r < 0 ? r : check_addresses(config, reterr);
    if (r == 0) {
        r = access_check_origins(config, reterr);
    }
    if (r == 0) {
        r = foreign_stores_check(config, (const char *const *)env, reterr);
    }
    if (r == 0) {
        r = check_task_types(config, reterr);
    }
    if (r == 0) {
        r = options_models(config, &models, &count, reterr);
    }
    for (size_t i = 0; i < count; i++) {
        model_config_free(models[i]);
    }
    free(models);
    if (r < 0) {
        config_free(config);
        return r;
    }
    *ret = config;
    return 0;
}

/* A model file is looked for beside the configuration. What need not be a file (a URL, a name at a
 * hub) is one only when it is there. */
static void make_absolute(struct model_config *m, const char *config_path)
{
    const bool file = str_eq(engines_driver_name(m->framework), "llamacpp");
    _cleanup_(freep) char *copy = xstrdup(config_path), *joined = NULL;

    if (m->model_path[0] == '/') {
        return;
    }
    joined = xasprintf("%s/%s", dirname(copy), m->model_path);
    if (file || access(joined, F_OK) == 0) {
        free(m->model_path);
        m->model_path = TAKE_PTR(joined);
    }
}

/* The first thing that is wrong with a model of the file, with its line. */
static int complain_model(const struct config *config, size_t i, const struct validation *v,
                          struct error *reterr)
{
    const json_t *schema = json_array_get(v->schema_errors, 0);
    const json_t *loc = json_object_get(schema, "loc");
    const char *field = json_string_value(json_array_get(loc, json_array_size(loc) - 1));
    const char *what = schema ? json_string_value(json_object_get(schema, "msg"))
                              : json_string_value(json_array_get(v->errors, 0));

    return error_set(reterr, -EINVAL, "%s:%d: model %zu: %s%s%s", config_path(config),
                     config_model_line(config, i), i + 1, field ? field : "", field ? ": " : "",
                     what ? what : "it is not valid");
}

static int parse_model(const struct config *config, size_t i, struct model_config **ret,
                       struct error *reterr)
{
    struct validation v = validation_init();
    struct model_config *m = model_config_parse(json_array_get(config_models(config), i), &v);
    int r = 0;

    if (m) {
        engines_check(config, m, &v);
        dispatch_check(m, &v);
    }
    if (!m || !validation_ok(&v)) {
        r = complain_model(config, i, &v, reterr);
    } else {
        make_absolute(m, config_path(config));
        *ret = TAKE_PTR(m);
    }
    validation_finish(&v);
    model_config_free(m);
    return r;
}

/* Ids and aliases are one space of names. */
static int add_names(const struct config *config, size_t i, struct model_config *m,
                     struct map *names, struct error *reterr)
{
    const char *taken = map_put(names, m->id, m) ? m->id : NULL;

    for (char **a = m->aliases; a && *a && !taken; a++) {
        taken = map_put(names, *a, m) ? *a : NULL;
    }
    return taken ? error_set(reterr, -EEXIST, "%s:%d: model '%s': the name '%s' is given twice",
                             config_path(config), config_model_line(config, i), m->id, taken)
                 : 0;
}

/* All of them into list, as far as they are good; *ret_done says how far. */
static int parse_models(const struct config *config, struct model_config **list, size_t *ret_done,
                        struct error *reterr)
{
    size_t n = json_array_size(config_models(config));
    struct map names;
    int r = 0;

    map_init(&names);
    for (size_t i = 0; i < n && r == 0; i++) {
        r = parse_model(config, i, &list[i], reterr);
        *ret_done = i + (r == 0);
        if (r == 0) {
            r = add_names(config, i, list[i], &names, reterr);
        }
    }
    map_finish(&names);
    return r;
}

int options_models(const struct config *config, struct model_config ***ret, size_t *ret_count,
                   struct error *reterr)
{
    size_t n = json_array_size(config_models(config)), done = 0;
    struct model_config **list = xcalloc(n + 1, sizeof(struct model_config *));
    int r = parse_models(config, list, &done, reterr);

    if (r < 0) {
        while (done > 0) {
            model_config_free(list[--done]);
        }
        free(list);
        return r;
    }
    *ret = list;
    *ret_count = n;
    return 0;
}

void options_apply_log(const struct config *config)
{
    int level = log_level_from_string(config_string(config, "log.level"));

    log_set_level(level < 0 ? LOG_INFO : (enum log_level)level);
    log_set_json(str_eq(config_string(config, "log.format"), "json"));
}
