// SPDX-License-Identifier: Apache-2.0
/* From the words of seed 002 to a definition, by its type. */
#include "api/task_model_words.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/task_doors_int.h"
#include "base/mem.h"

enum { DEFAULT_PORT = 8080, DEFAULT_PRIORITY = 5 };

/* ---- the body ---- */

bool model_words_read(struct http_exchange *x, const json_t *body, struct model_words *ret)
{
    *ret = (struct model_words){ .config = json_object_get(body, "config") };
    if (!envelope_member_text(x, body, "name", &ret->name) ||
        !envelope_member_text(x, body, "type", &ret->type) ||
        !envelope_member_text(x, body, "status", &ret->status) ||
        !envelope_member_int(x, body, "max_workers", 1, MODEL_WORKERS_MAX, &ret->max_workers)) {
        return false;
    }
    if (json_is_null(ret->config)) {
        ret->config = NULL;
    }
    if (ret->config && !json_is_object(ret->config)) {
        envelope_invalid(x, "config must be an object");
        return false;
    }
    if (ret->type && !str_eq(ret->type, "openai") && !str_eq(ret->type, "local") &&
        !str_eq(ret->type, "custom")) {
        envelope_invalid(x, "type must be openai, local or custom, not '%.60s'", ret->type);
        return false;
    }
    if (ret->status && model_status_from_string(ret->status) < 0) {
        envelope_invalid(x, "status must be online, offline or maintenance, not '%.60s'",
                         ret->status);
        return false;
    }
    return true;
}

static const char *text_of(const json_t *config, const char *name)
{
    const char *text = json_string_value(json_object_get(config, name));

    return text && *text ? text : NULL;
}

/* ---- a local server ---- */

/* A model whose server is berth would ask itself for ever. */
static bool is_berth(struct api *api, const struct address *where)
{
    const char *const *list = config_list(api->in.config, "server.listen");
    struct address own;

    for (; *list; list++) {
        if (address_parse(*list, &own, NULL) == 0 && !own.is_unix && own.port == where->port &&
            (address_is_loopback(where) || str_eq(own.host, where->host) ||
             str_eq(where->host, "localhost"))) {
            return true;
        }
    }
    return false;
}

int model_words_server(struct api *api, const json_t *config, char ret_url[LOCAL_URL_SIZE],
                       struct error *reterr)
{
    const json_t *port = json_object_get(config, "port");
    const char *host = text_of(config, "host");
    _cleanup_(freep) char *path = NULL;
    struct address where;

    ret_url[0] = '\0';
    if (!host && (!port || json_is_null(port))) {
        return 0;
    }
    if (port && !json_is_null(port) &&
        (!json_is_integer(port) || json_integer_value(port) < 1 ||
         json_integer_value(port) > UINT16_MAX)) {
        return error_set(reterr, -EINVAL, "config.port must be a whole number from 1 to 65535");
    }
    host = host ? host : "127.0.0.1";
    if (strlen(host) > 255) {
        return error_set(reterr, -EINVAL, "config.host is too long");
    }
    snprintf(ret_url, LOCAL_URL_SIZE, strchr(host, ':') ? "http://[%s]:%d/v1" : "http://%s:%d/v1",
             host, json_is_integer(port) ? (int)json_integer_value(port) : (int)DEFAULT_PORT);
    if (address_parse_url(ret_url, &where, &path, reterr) < 0) {
        return error_prefix(reterr, "config.host: ");
    }
    if (is_berth(api, &where)) {
        return error_set(reterr, -EINVAL,
                         "config: %s:%u is where berth itself listens; name the port of the "
                         "model's own server",
                         where.host, (unsigned)where.port);
    }
    return 0;
}

/* ---- the parameters ---- */

static bool is_mask(const json_t *value)
{
    return str_eq_opt(json_string_value(value), TASK_SECRET_MASK);
}

/* A member of an object (headers, env) that came back as it was shown is as it was. */
static json_t *unmasked_object(const json_t *given, const json_t *old)
{
    json_t *copy = json_object(), *value;
    const char *name;

    json_object_foreach(UNCONST(json_t *, given), name, value)
    {
        json_t *was = json_object_get(old, name);

        json_object_set(copy, name, is_mask(value) && was ? was : value);
    }
    return copy;
}

static bool is_of(const char *name, const char *const *list)
{
    for (; *list; list++) {
        if (str_eq(name, *list)) {
            return true;
        }
    }
    return false;
}

/* The config but for what has a place of its own; what was shown masked is what it was. */
static json_t *parameters_of(const struct model_making *m, const char *const *left_out)
{
    const json_t *before = m->old ? m->old->config->parameters : NULL;
    json_t *parameters = json_object(), *value;
    const char *name;

    json_object_foreach(UNCONST(json_t *, m->words.config), name, value)
    {
        if (is_of(name, left_out) || str_eq(name, "api_key") || json_is_null(value)) {
            continue;
        }
        if (json_is_object(value)) {
            json_object_set_new(parameters, name,
                                unmasked_object(value, json_object_get(before, name)));
        } else {
            json_object_set(parameters, name, value);
        }
    }
    return parameters;
}

/* The key: a new one goes into its file, the mask keeps the old one. */
static int put_key(const struct model_making *m, json_t *parameters, const char **ret_key,
                   struct error *e)
{
    static const char *const names[] = { "api_key_file", "api_key_env" };
    const json_t *given = json_object_get(m->words.config, "api_key");

    if (!given || json_is_null(given) || str_eq_opt(json_string_value(given), "")) {
        return 0;
    }
    if (!json_is_string(given) || strlen(json_string_value(given)) != json_string_length(given)) {
        return error_set(e, -EINVAL, "config.api_key must be a text");
    }
    if (!is_mask(given)) {
        *ret_key = json_string_value(given);
        json_object_set_new(parameters, "api_key_file", json_string(m->key_name));
        return 0;
    }
    for (size_t i = 0; m->old && i < ARRAY_SIZE(names); i++) {
        json_t *was = json_object_get(m->old->config->parameters, names[i]);

        if (was && !json_object_get(parameters, names[i])) {
            json_object_set(parameters, names[i], was);
        }
    }
    return 0;
}

/* ---- by type ---- */

static void set(json_t *json, const char *name, const char *text)
{
    json_object_set_new(json, name, json_string(text));
}

static void set_remote(json_t *json, json_t *parameters, const char *url, const char *model_path)
{
    set(json, "framework", "openai");
    set(json, "model_path", model_path ? model_path : url);
    set(parameters, "base_url", url);
    json_object_set_new(json, "resource_requirements", json_object());
}

/* Its memory: as config.gpu_memory says, else estimated. */
static void set_ours(json_t *json, const json_t *config, const char *framework,
                     const char *model_path)
{
    json_t *memory = json_object_get(config, "gpu_memory");
    json_t *resources = json_object();

    if (memory) {
        json_object_set(resources, "gpu_memory", memory);
    } else {
        set(resources, "gpu_memory", "auto");
    }
    set(json, "framework", framework);
    set(json, "model_path", model_path);
    json_object_set_new(json, "resource_requirements", resources);
}

static int define_local(const struct model_making *m, json_t *json, json_t **ret_parameters,
                        struct error *e)
{
    static const char *const all[] = {
        "host", "port", "model_path", "base_url", "gpu_memory", NULL
    };
    static const char *const ours[] = { "model_path", "base_url", "gpu_memory", NULL };
    const char *path = text_of(m->words.config, "model_path");

    *ret_parameters = parameters_of(m, m->server_url ? all : ours);
    if (m->server_url) {
        set_remote(json, *ret_parameters, m->server_url, path);
        return 0;
    }
    if (!path) {
        return error_set(e, -EINVAL,
                         "config: no server answers at its host and port, and there is no "
                         "model_path from which berth could start one");
    }
    set_ours(json, m->words.config, "llamacpp", path);
    return 0;
}

static int define_custom(const struct model_making *m, json_t *json, json_t **ret_parameters,
                         struct error *e)
{
    static const char *const left_out[] = { "model_path", "gpu_memory", NULL };
    const char *url = text_of(m->words.config, "base_url");
    const char *path = text_of(m->words.config, "model_path");

    *ret_parameters = parameters_of(m, left_out);
    if (url) {
        set_remote(json, *ret_parameters, url, path);
        return 0;
    }
    if (!json_object_get(m->words.config, "command")) {
        return error_set(e, -EINVAL,
                         "config: a custom model names the base_url of its server, or the command "
                         "that starts one");
    }
    set_ours(json, m->words.config, "command", path ? path : "none");
    return 0;
}

static int define_openai(struct api *api, const struct model_making *m, json_t *json,
                         json_t **ret_parameters, struct error *e)
{
    static const char *const left_out[] = { "model_path", "gpu_memory", NULL };
    const char *url = text_of(m->words.config, "base_url");

    *ret_parameters = parameters_of(m, left_out);
    set_remote(json, *ret_parameters,
               url ? url : config_string(api->in.config, "task_models.openai_url"),
               text_of(m->words.config, "model_path"));
    return 0;
}

/* Of a model from another door: its framework stays. */
static int define_other(const struct model_making *m, json_t *json, json_t **ret_parameters)
{
    static const char *const left_out[] = { "model_path", NULL };
    const char *path = text_of(m->words.config, "model_path");

    *ret_parameters = parameters_of(m, left_out);
    if (path) {
        set(json, "model_path", path);
    }
    return 0;
}

static int put_config(struct api *api, const struct model_making *m, json_t *json,
                      const char **ret_key, struct error *e)
{
    const char *type = m->old ? m->old->config->type : m->words.type;
    json_t *parameters = NULL;
    int r;

    if (!type) {
        r = define_other(m, json, &parameters);
    } else if (str_eq(type, "openai")) {
        r = define_openai(api, m, json, &parameters, e);
    } else if (str_eq(type, "local")) {
        r = define_local(m, json, &parameters, e);
    } else {
        r = define_custom(m, json, &parameters, e);
    }
    if (r == 0) {
        r = put_key(m, parameters, ret_key, e);
    }
    json_object_set_new(json, "parameters", parameters);
    return r;
}

/* ---- the whole ---- */

/* A new name is one more by which requests may call it. */
static void rename_model(json_t *json, const char *name)
{
    json_t *aliases = json_object_get(json, "aliases"), *alias;
    bool known = str_eq(name, json_string_value(json_object_get(json, "id")));
    size_t i;

    json_array_foreach(aliases, i, alias)
    {
        known |= str_eq(name, json_string_value(alias));
    }
    if (!known) {
        json_array_append_new(aliases, json_string(name));
    }
    set(json, "name", name);
}

static json_t *begin(const struct model_making *m)
{
    const struct model_words *w = &m->words;
    json_t *json;

    if (!m->old) {
        return json_pack("{s:s, s:s, s:i, s:s, s:s, s:[]}", "id", w->name, "name", w->name,
                         "priority", DEFAULT_PRIORITY, "type", w->type, "task_status",
                         w->status ? w->status : model_status_name(MODEL_OFFLINE), "aliases");
    }
    json = model_config_to_json(m->old->config);
    if (w->name && !str_eq(w->name, task_model_name(m->old))) {
        rename_model(json, w->name);
    }
    return json;
}

static int check(struct api *api, const json_t *json, struct model_config **ret, struct error *e)
{
    struct validation v = validation_init();
    struct model_config *config = model_config_parse(json, &v);
    const json_t *wrong = json_array_get(v.schema_errors, 0);
    _cleanup_(freep) char *text = NULL;
    int r = 0;

    if (config) {
        engines_check(api->in.config, config, &v);
        dispatch_check(config, &v);
    }
    if (!config || !validation_ok(&v)) {
        text = join_strings(v.errors);
        r = error_set(e, -EINVAL, "%.400s",
                      wrong ? json_string_value(json_object_get(wrong, "msg")) : text);
        config = model_config_free(config);
    }
    *ret = config;
    validation_finish(&v);
    return r;
}

int model_words_define(struct api *api, const struct model_making *m, struct model_config **ret,
                       const char **ret_key, struct error *reterr)
{
    json_t *json = begin(m);
    int r = 0;

    *ret_key = NULL;
    if (m->words.max_workers > 0) {
        json_object_set_new(json, "max_workers", json_integer(m->words.max_workers));
    }
    if (m->words.config) {
        r = put_config(api, m, json, ret_key, reterr);
    }
    r = r < 0 ? r : check(api, json, ret, reterr);
    json_decref(json);
    return r;
}
