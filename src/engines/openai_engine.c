// SPDX-License-Identifier: Apache-2.0
/*
 * A remote endpoint that speaks OpenAI's API: its base URL, its key, its name for the model.
 * `parameters.upstreams` is a list of such endpoints, one for each replica; what an entry does not
 * say, parameters say for all of them.
 *
 * A key is read when an instance starts, from a variable of berth's environment or from a file; the
 * definition names it and never holds it. Neither a key nor a header's value is ever part of a
 * sentence.
 */
#include "engines/engine_driver.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "engines/parameters.h"

enum { DEFAULT_SLOTS = 64, KEY_MAX = 8 * 1024, HEADERS_MAX = 16 * 1024, BASE_PATH_MAX = 512 };

// clang-format off
static const struct parameter rows[] = {
    { "base_url",       PARAMETER_TEXT,   NULL, 0, 0 },
    { "upstreams",      PARAMETER_OWN,    NULL, 0, 0 },
    { "api_key",        PARAMETER_OWN,    NULL, 0, 0 },
    { "api_key_env",    PARAMETER_TEXT,   NULL, 0, 0 },
    { "api_key_file",   PARAMETER_TEXT,   NULL, 0, 0 },
    { "api_key_header", PARAMETER_TEXT,   NULL, 0, 0 },
    { "headers",        PARAMETER_OBJECT, NULL, 0, 0 },
    { "model",          PARAMETER_TEXT,   NULL, 0, 0 },
};
// clang-format on

static const char no_literal_keys[] =
    "keys are not stored; name a variable of berth's environment in api_key_env, or a file in "
    "api_key_file";

/* One endpoint, as the definition says it; all borrowed from it. */
struct upstream {
    const char *base_url, *model;
    const char *key_env, *key_file;
    int64_t weight;
};

/* ---- reading the definition */

static bool is_one_of(const char *name, const char *const *list)
{
    for (; *list; list++) {
        if (span_eq_nocase(span_of(name), *list)) {
            return true;
        }
    }
    return false;
}

/* A member of an entry of the list. */
static int read_text(const json_t *entry, size_t index, const char *name, const char **ret,
                     struct error *reterr)
{
    const json_t *value = json_object_get(entry, name);

    if (!value || json_is_null(value)) {
        return 0;
    }
    if (!json_is_string(value) || !*json_string_value(value) ||
        strlen(json_string_value(value)) != json_string_length(value)) {
        return error_set(reterr, -EINVAL, "parameters.upstreams[%zu].%s must be a text", index,
                         name);
    }
    *ret = json_string_value(value);
    return 0;
}

static int check_members(const json_t *entry, size_t index, struct error *reterr)
{
    static const char *const known[] = { "base_url",     "model",  "api_key_env",
                                         "api_key_file", "weight", NULL };
    const char *name;
    json_t *value;

    json_object_foreach(UNCONST(json_t *, entry), name, value)
    {
        if (str_eq(name, "api_key")) {
            return error_set(reterr, -EINVAL, "parameters.upstreams[%zu].api_key: %s", index,
                             no_literal_keys);
        }
        if (!is_one_of(name, known)) {
            return error_set(reterr, -EINVAL,
                             "parameters.upstreams[%zu].%s is not known; there are base_url, "
                             "model, api_key_env, api_key_file and weight",
                             index, name);
        }
    }
    return 0;
}

static int read_entry(const json_t *entry, size_t index, struct upstream *u, struct error *reterr)
{
    const json_t *weight = json_object_get(entry, "weight");
    struct upstream own = { 0 };
    int r = 0;

    if (!json_is_object(entry)) {
        return error_set(reterr, -EINVAL, "parameters.upstreams[%zu] must be an object", index);
    }
    if (weight && !json_is_null(weight)) {
        u->weight = json_integer_value(weight);
        if (u->weight < 1 || u->weight > 1000) {
            return error_set(reterr, -EINVAL,
                             "parameters.upstreams[%zu].weight must be between 1 and 1000", index);
        }
    }
    r = check_members(entry, index, reterr);
    r = r < 0 ? r : read_text(entry, index, "base_url", &u->base_url, reterr);
    r = r < 0 ? r : read_text(entry, index, "model", &u->model, reterr);
    r = r < 0 ? r : read_text(entry, index, "api_key_env", &own.key_env, reterr);
    r = r < 0 ? r : read_text(entry, index, "api_key_file", &own.key_file, reterr);
    if (own.key_env || own.key_file) { /* not one of ours and one of everybody's */
        u->key_env = own.key_env;
        u->key_file = own.key_file;
    }
    return r;
}

/* What is this replica's. */
static int read_upstream(const struct model_config *model, unsigned replica, struct upstream *ret,
                         struct error *reterr)
{
    const json_t *list = parameter_get(model, "upstreams");
    struct upstream u = { .base_url = parameter_text(model, "base_url"),
                          .model = parameter_text(model, "model"),
                          .key_env = parameter_text(model, "api_key_env"),
                          .key_file = parameter_text(model, "api_key_file"),
                          .weight = parameter_weight(model) };
    int r = 0;

    if (list && (!json_is_array(list) || json_array_size(list) == 0)) {
        return error_set(reterr, -EINVAL, "parameters.upstreams must be a list of endpoints");
    }
    if (list && replica >= json_array_size(list)) {
        return error_set(reterr, -EINVAL,
                         "parameters.upstreams has %zu, and there are %d replicas: one each",
                         json_array_size(list), model->replicas);
    }
    if (list) {
        r = read_entry(json_array_get(list, replica), replica, &u, reterr);
    }
    if (r == 0 && u.key_env && u.key_file) {
        r = error_set(reterr, -EINVAL, "either api_key_env or api_key_file, not both");
    }
    if (r == 0 && parameter_get(model, "api_key")) {
        r = error_set(reterr, -EINVAL, "parameters.api_key: %s", no_literal_keys);
    }
    u.base_url = u.base_url ? u.base_url : model->model_path;
    *ret = u;
    return r;
}

/* ---- the key */

static int check_key(const char *key, const char *kind, const char *name, struct error *reterr)
{
    if (!*key) {
        return error_set(reterr, -ENOENT, "the API key's %s %s is empty", kind, name);
    }
    for (const char *p = key; *p; p++) {
        if (*p <= ' ' || *p > '~') {
            return error_set(reterr, -EBADMSG,
                             "the API key's %s %s holds what no key has (a blank, a line's end, a "
                             "control character)",
                             kind, name);
        }
    }
    return 0;
}

/* Opened so that a pipe cannot hold us up. */
static int read_file(const char *path, char *out, size_t size, struct error *reterr)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) < 0) {
        return error_set(reterr, -errno, "cannot read the API key's file %s: %s", path,
                         strerror(errno));
    }
    if (!S_ISREG(st.st_mode) || st.st_size >= (off_t)size) {
        return error_set(reterr, -EBADMSG, "the API key's file %s is %s", path,
                         S_ISREG(st.st_mode) ? "larger than 8 KiB" : "not a file");
    }
    n = read(fd, out, size - 1);
    if (n < 0) {
        return error_set(reterr, -errno, "cannot read the API key's file %s: %s", path,
                         strerror(errno));
    }
    out[n] = '\0';
    if (strlen(out) != (size_t)n) {
        return error_set(reterr, -EBADMSG, "the API key's file %s is not a text", path);
    }
    while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == '\r')) {
        out[--n] = '\0';
    }
    return 0;
}

/* "" when the endpoint needs none. */
static int read_key(const struct upstream *u, char out[KEY_MAX + 1], struct error *reterr)
{
    const char *value;
    int r;

    out[0] = '\0';
    if (u->key_file) {
        r = read_file(u->key_file, out, KEY_MAX + 1, reterr);
        return r < 0 ? r : check_key(out, "file", u->key_file, reterr);
    }
    if (!u->key_env) {
        return 0;
    }
    value = getenv(u->key_env);
    if (!value) {
        return error_set(reterr, -ENOENT,
                         "the API key's variable %s is not set in berth's "
                         "environment",
                         u->key_env);
    }
    if (strlen(value) > KEY_MAX) {
        return error_set(reterr, -EBADMSG, "the API key's variable %s is longer than 8 KiB",
                         u->key_env);
    }
    snprintf(out, KEY_MAX + 1, "%s", value);
    return check_key(out, "variable", u->key_env, reterr);
}

/* ---- header lines */

static int check_name(const char *what, const char *name, struct error *reterr)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "!#$%&'*+-.^_`|~";
    static const char *const ours[] = { "host",
                                        "content-length",
                                        "content-type",
                                        "connection",
                                        "transfer-encoding",
                                        "keep-alive",
                                        "upgrade",
                                        "te",
                                        "trailer",
                                        "expect",
                                        "accept-encoding",
                                        NULL };

    if (!*name || name[strspn(name, letters)] || strlen(name) > 128) {
        return error_set(reterr, -EINVAL, "%s: there is a name that is none of a header", what);
    }
    return is_one_of(name, ours) ? error_set(reterr, -EINVAL, "%s: %s is berth's own", what, name)
                                 : 0;
}

static int add_header(struct buf *out, const char *name, const json_t *value, struct error *reterr)
{
    static const char *const secrets[] = { "authorization", "proxy-authorization",
                                           "x-api-key",     "api-key",
                                           "cookie",        NULL };
    const char *text = json_string_value(value);
    int r = check_name("parameters.headers", name, reterr);

    if (r < 0) {
        return r;
    }
    if (is_one_of(name, secrets)) {
        return error_set(reterr, -EINVAL,
                         "parameters.headers.%s: %s (api_key_header says where it goes, when that "
                         "is not Authorization)",
                         name, no_literal_keys);
    }
    if (!text || strlen(text) != json_string_length(value)) {
        return error_set(reterr, -EINVAL, "parameters.headers.%s must be a text", name);
    }
    for (const char *p = text; *p; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7f) {
            return error_set(reterr, -EINVAL, "parameters.headers.%s: no control characters", name);
        }
    }
    return buf_printf(out, "%s: %s\r\n", name, text);
}

static int add_key(struct buf *out, const struct model_config *model, const char *key)
{
    const char *name = parameter_text(model, "api_key_header");

    if (!*key) {
        return 0;
    }
    if (!name || span_eq_nocase(span_of(name), "authorization")) {
        return buf_printf(out, "Authorization: Bearer %s\r\n", key);
    }
    return buf_printf(out, "%s: %s\r\n", name, key);
}

/* What the definition says itself, all of it checked. */
static int add_own_headers(struct buf *out, const struct model_config *model, struct error *reterr)
{
    const char *key_header = parameter_text(model, "api_key_header");
    const char *name;
    json_t *value;
    int r = key_header ? check_name("parameters.api_key_header", key_header, reterr) : 0;

    json_object_foreach(UNCONST(json_t *, parameter_get(model, "headers")), name, value)
    {
        r = r < 0 ? r : add_header(out, name, value, reterr);
    }
    return r == -EFBIG ? error_set(reterr, -EINVAL, "parameters.headers: more than 16 KiB") : r;
}

/* *ret is the caller's; NULL when there are none. The key comes last: it is the machine's. */
static int make_headers(const struct model_config *model, const struct upstream *u, char **ret,
                        struct error *reterr)
{
    struct buf out = BUF_INIT(HEADERS_MAX + KEY_MAX + 256);
    char key[KEY_MAX + 1];
    int r;

    r = add_own_headers(&out, model, reterr);
    if (r >= 0 && out.len > HEADERS_MAX) {
        r = error_set(reterr, -EINVAL, "parameters.headers: more than 16 KiB");
    }
    r = r < 0 ? r : read_key(u, key, reterr);
    if (r >= 0) {
        r = add_key(&out, model, key);
        explicit_bzero(key, sizeof(key));
    }
    if (r >= 0 && out.len) {
        *ret = buf_take(&out, NULL);
    }
    buf_finish(&out);
    return r < 0 ? r : 0;
}

/* ---- the driver */

/* A path that ends with a '/' or has none means the same: paths as they are. */
static int read_url(const struct upstream *u, struct address *ret, char **ret_path,
                    struct error *reterr)
{
    _cleanup_(freep) char *path = NULL;
    int r = address_parse_url(u->base_url, ret, &path, reterr);

    if (r < 0) {
        return error_prefix(reterr, "the endpoint's base URL: ");
    }
    if (strlen(path) > BASE_PATH_MAX) {
        return error_set(reterr, -EINVAL, "the endpoint's base URL: its path is too long");
    }
    *ret_path = *path ? TAKE_PTR(path) : NULL;
    return 0;
}

static int command(const struct engine_context *c, struct engine_command *ret, struct error *reterr)
{
    struct engine_command made = { .slots = (unsigned)parameter_within(c->model, "parallel",
                                                                       DEFAULT_SLOTS) };
    struct gpus gpus = gpus_of(c->gpu);
    struct upstream u = { 0 };
    int r;

    r = read_upstream(c->model, c->replica, &u, reterr);
    r = r < 0 ? r : read_url(&u, &made.address, &made.base_path, reterr);
    r = r < 0 ? r : make_headers(c->model, &u, &made.headers, reterr);
    r = r < 0 ? r : devices_check(c->model, &gpus, reterr);
    if (r < 0) {
        engine_command_finish(&made);
        return r;
    }
    made.weight = (unsigned)u.weight;
    made.model = xstrdup(u.model ? u.model : c->model->id);
    *ret = made;
    return 0;
}

static void check_endpoints(const struct engine_context *c, struct validation *v,
                            struct validation *machine)
{
    const struct model_config *model = c->model;
    size_t listed = json_array_size(parameter_get(model, "upstreams"));
    size_t count = listed ? MAX_OF(listed, (size_t)model->replicas) : 1;

    for (size_t i = 0; i < count; i++) {
        struct engine_context one = {
            .config = c->config, .model = model, .gpu = c->gpu, .replica = (unsigned)i
        };
        struct engine_command made = { 0 };
        struct error err = { 0 };
        int r = command(&one, &made, &err);

        if (r < 0 && r != -ENODEV) {
            validation_error(r == -EINVAL ? v : machine, "%s", err.text);
        }
        engine_command_finish(&made);
        if (r == -EINVAL) {
            return;
        }
    }
}

static void warn(const struct model_config *model, struct validation *v)
{
    static const char *const local[] = { "port", "host", "env" };
    size_t listed = json_array_size(parameter_get(model, "upstreams"));

    for (size_t i = 0; i < ARRAY_SIZE(local); i++) {
        if (parameter_get(model, local[i])) {
            validation_warn(v, "parameters.%s has no effect: the endpoint is elsewhere", local[i]);
        }
    }
    if (model->additional_parameters) {
        validation_warn(v, "additional_parameters has no effect: the endpoint is elsewhere");
    }
    if (listed > (size_t)model->replicas) {
        validation_warn(v,
                        "parameters.upstreams has %zu, of which the first %d are used: replicas "
                        "says how many",
                        listed, model->replicas);
    }
}

static void validate(const struct engine_context *c, struct validation *v,
                     struct validation *machine)
{
    const struct model_config *model = c->model;
    size_t before = json_array_size(v->errors);
    struct gpus gpus = gpus_of(c->gpu);

    parameters_validate(model, PARAMETER_TABLE(rows), v);
    if (json_array_size(v->errors) == before) {
        check_endpoints(c, v, machine);
    }
    warn(model, v);
    devices_validate(model, &gpus, machine);
}

static const char *const frameworks[] = { "openai", NULL };

const struct engine_driver openai_driver = {
    .name = "openai",
    .frameworks = frameworks,
    .help = "A remote OpenAI-compatible endpoint: model_path is its base URL, its key comes from "
            "parameters.api_key_env or parameters.api_key_file.",
    .validate = validate,
    .command = command,
    .probe_path = "/v1/models",
};
