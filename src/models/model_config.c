// SPDX-License-Identifier: Apache-2.0
/*
 * Definitions, read from and written as the contract's ModelConfig. Two kinds of complaint are kept
 * apart: what has the wrong shape (schema_errors, in the words and places that FastAPI's clients
 * know), and what breaks a rule (errors).
 */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "models/models.h"

enum { GPU_DEVICES_MAX = 1024, NAME_MAX_CHARACTERS = 255, WORD_MAX_BYTES = 63 };

struct validation validation_init(void)
{
    return (struct validation){ json_array(), json_array(), json_array() };
}

void validation_finish(struct validation *v)
{
    json_decref(v->errors);
    json_decref(v->warnings);
    json_decref(v->schema_errors);
    *v = (struct validation){ 0 };
}

bool validation_ok(const struct validation *v)
{
    return json_array_size(v->errors) == 0 && json_array_size(v->schema_errors) == 0;
}

static void append_sentence(json_t *list, const char *fmt, va_list ap)
{
    _cleanup_(freep) char *text = xvasprintf(fmt, ap);

    /* A quoted name may have been cut within a character: no complaint may be lost for that. */
    if (!is_valid_utf8(text, strlen(text))) {
        for (char *s = text; *s; s++) {
            *s = (unsigned char)*s < 0x80 ? *s : '?';
        }
    }
    json_array_append_new(list, json_string(text));
}

void validation_error(struct validation *v, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    append_sentence(v->errors, fmt, ap);
    va_end(ap);
}

void validation_warn(struct validation *v, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    append_sentence(v->warnings, fmt, ap);
    va_end(ap);
}

/* ---- members of an object, by type ---- */

enum { REQUIRED = 1, NULLABLE = 2 };

/* An object being read: the definition itself, or one inside it (then `name` is its member's name).
 */
struct reader {
    const json_t *object;
    const char *name;
    struct validation *v;
};

static void complain(const struct reader *in, const char *member, const char *msg, const char *type)
{
    json_t *loc = json_array();

    json_array_append_new(loc, json_string("body"));
    if (in->name) {
        json_array_append_new(loc, json_string(in->name));
    }
    if (member) {
        json_array_append_new(loc, json_string(member));
    }
    json_array_append_new(in->v->schema_errors,
                          json_pack("{s:o, s:s, s:s}", "loc", loc, "msg", msg, "type", type));
}

/* The member; NULL when it is absent (or null where it may be), with a complaint where that is
 * wrong. */
static const json_t *member_of(const struct reader *in, const char *name, int flags)
{
    const json_t *value = json_object_get(in->object, name);

    if (!value && (flags & REQUIRED)) {
        complain(in, name, "Field required", "missing");
    }
    return json_is_null(value) && (flags & NULLABLE) ? NULL : value;
}

/* Owned by the caller; NULL when absent or wrong. */
static char *read_string(const struct reader *in, const char *name, int flags)
{
    const json_t *value = member_of(in, name, flags);

    if (!value) {
        return NULL;
    }
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value)) {
        complain(in, name, "Input should be a valid string", "string_type");
        return NULL;
    }
    return xstrdup(json_string_value(value));
}

static bool read_bool(const struct reader *in, const char *name, bool def)
{
    const json_t *value = member_of(in, name, 0);

    if (value && !json_is_boolean(value)) {
        complain(in, name, "Input should be a valid boolean", "bool_type");
    }
    return json_is_boolean(value) ? json_is_true(value) : def;
}

/* 5.0 is an integer too. */
static bool to_integer(const json_t *value, int64_t *ret)
{
    double d = json_real_value(value);

    if (json_is_integer(value)) {
        *ret = json_integer_value(value);
        return true;
    }
    if (json_is_real(value) && d >= -9e15 && d <= 9e15 && d == (double)(int64_t)d) {
        *ret = (int64_t)d;
        return true;
    }
    return false;
}

static int64_t read_int(const struct reader *in, const char *name, int64_t def, int flags)
{
    const json_t *value = member_of(in, name, flags);
    int64_t n = def;

    if (value && !to_integer(value, &n)) {
        complain(in, name, "Input should be a valid integer", "int_type");
    }
    return n;
}

static double read_number(const struct reader *in, const char *name, double def)
{
    const json_t *value = member_of(in, name, 0);

    if (value && !json_is_number(value)) {
        complain(in, name, "Input should be a valid number", "float_type");
    }
    return json_is_number(value) ? json_number_value(value) : def;
}

/* The object inside; an empty one when it is absent or wrong. */
static struct reader read_object(const struct reader *in, const char *name, int flags,
                                 json_t *empty)
{
    const json_t *value = member_of(in, name, flags);

    if (value && !json_is_object(value)) {
        complain(in, name, "Input should be a valid dictionary", "dict_type");
        value = NULL;
    }
    return (struct reader){ value ? value : empty, name, in->v };
}

static void warn_unknown(const struct reader *in, const char *const *known)
{
    const char *key;
    json_t *value;

    json_object_foreach(UNCONST(json_t *, in->object), key, value)
    {
        bool found = false;

        for (size_t i = 0; known[i] && !found; i++) {
            found = str_eq(known[i], key);
        }
        if (!found) {
            validation_warn(in->v, "the field '%s%s%.100s' is not known and is left out",
                            in->name ? in->name : "", in->name ? "." : "", key);
        }
    }
}

/* A rule: the value is within an int and at least `min`. */
static int bounded(const struct reader *in, const char *name, int64_t value, int64_t min)
{
    if (value < min || value > INT_MAX) {
        validation_error(in->v, "%s%s%s must be %s %lld", in->name ? in->name : "",
                         in->name ? "." : "", name, value < min ? "at least" : "at most",
                         value < min ? (long long)min : (long long)INT_MAX);
        return (int)min;
    }
    return (int)value;
}

/* ---- rules of the definition itself ---- */

static bool has_control(const char *s)
{
    for (; *s; s++) {
        /* also U+0080 .. U+009F, in UTF-8 */
        if ((unsigned char)*s < 0x20 || *s == 0x7f ||
            ((unsigned char)s[0] == 0xc2 && (unsigned char)s[1] >= 0x80 &&
             (unsigned char)s[1] < 0xa0)) {
            return true;
        }
    }
    return false;
}

static bool has_blank_end(const char *s)
{
    return s[0] == ' ' || (s[0] != '\0' && s[strlen(s) - 1] == ' ');
}

static size_t count_characters(const char *s)
{
    size_t n = 0;

    for (; *s; s++) {
        n += ((unsigned char)*s & 0xc0) != 0x80;
    }
    return n;
}

/* An id or an alias: `what` says which. */
static void check_id(const char *what, const char *id, struct validation *v)
{
    if (id[0] == '\0') {
        validation_error(v, "%s must not be empty", what);
    } else if (strlen(id) > MODEL_ID_MAX) {
        validation_error(v, "%s must be at most %d bytes long", what, MODEL_ID_MAX);
    } else if (has_control(id) || !is_valid_utf8(id, strlen(id))) {
        validation_error(v, "%s must not hold control characters", what);
    } else if (has_blank_end(id)) {
        validation_error(v, "%s must not begin or end with a blank", what);
    } else if (str_eq(id, ".") || str_eq(id, "..")) {
        validation_error(v, "%s must not be '%s', which no URL can name", what, id);
    }
}

static void check_texts(const struct model_config *c, struct validation *v)
{
    check_id("id", c->id, v);
    if (c->name[0] == '\0') {
        validation_error(v, "name must not be empty");
    } else if (count_characters(c->name) > NAME_MAX_CHARACTERS) {
        validation_error(v, "name must be at most %d characters long", NAME_MAX_CHARACTERS);
    }
    if (c->framework[0] == '\0') {
        validation_error(v, "framework must not be empty");
    }
    if (c->model_path[0] == '\0') {
        validation_error(v, "model_path must not be empty");
    } else if (has_control(c->model_path)) {
        validation_error(v, "model_path must not hold control characters");
    }
}

static int check_priority(int64_t priority, struct validation *v)
{
    if (priority < MODEL_PRIORITY_MIN || priority > MODEL_PRIORITY_MAX) {
        validation_error(v, "priority must be between %d and %d", MODEL_PRIORITY_MIN,
                         MODEL_PRIORITY_MAX);
        return MODEL_PRIORITY_MIN;
    }
    return (int)priority;
}

/* *ret_devices may be NULL: then they are checked only. */
static size_t read_devices(const struct reader *in, int **ret_devices)
{
    const json_t *list = member_of(in, "gpu_devices", in->name ? NULLABLE : 0);
    size_t n = json_array_size(list);

    if (list && !json_is_array(list)) {
        complain(in, "gpu_devices", "Input should be a valid list", "list_type");
        return 0;
    }
    if (n > GPU_DEVICES_MAX) {
        validation_error(in->v, "gpu_devices must be at most %d", GPU_DEVICES_MAX);
        return 0;
    }
    if (ret_devices && n > 0) {
        *ret_devices = xcalloc(n, sizeof(int));
    }
    for (size_t i = 0; i < n; i++) {
        int64_t device = 0;

        if (!to_integer(json_array_get(list, i), &device)) {
            complain(in, "gpu_devices", "Input should be a valid list of integers", "int_type");
            device = 0;
        }
        device = bounded(in, "gpu_devices", device, 0);
        if (ret_devices) {
            (*ret_devices)[i] = (int)device;
        }
    }
    return n;
}

/* ---- the objects inside ---- */

static void read_resources(const struct reader *in, struct model_config *c, json_t *empty)
{
    bool remote = str_eq_opt(c->framework, "openai"); /* takes nothing of this machine */
    struct reader r = read_object(in, "resource_requirements", remote ? 0 : REQUIRED, empty);
    bool automatic;
    int64_t mb = 1;

    c->resource_requirements = json_deep_copy(r.object);
    if (r.object == empty) {
        return;
    }
    automatic = str_eq_opt(json_string_value(json_object_get(r.object, "gpu_memory")), "auto");
    if (automatic) {
        mb = 0;
    } else {
        mb = read_int(&r, "gpu_memory", remote ? 0 : 1, remote ? 0 : REQUIRED);
    }
    c->gpu_memory_mb = mb;
    if (mb < (remote || automatic ? 0 : 1)) {
        validation_error(in->v, "resource_requirements.gpu_memory must be greater than 0 (MB)");
    } else if (mb > MODEL_WARN_MEMORY_MB) {
        validation_warn(in->v, "resource_requirements.gpu_memory is over 80 GB");
    }
    read_devices(&r, NULL);
    bounded(&r, "cpu_cores", read_int(&r, "cpu_cores", 1, NULLABLE), 1);
    bounded(&r, "system_memory", read_int(&r, "system_memory", 1, NULLABLE), 1);
}

static char *read_endpoint(const struct reader *in)
{
    char *endpoint = read_string(in, "endpoint", NULLABLE);
    bool good = !endpoint || endpoint[0] == '/';

    for (const char *s = endpoint; good && s && *s; s++) {
        good = *s > 0x20 && *s < 0x7f;
    }
    if (!good) {
        validation_error(in->v, "health_check.endpoint must be a path that begins with '/'");
    }
    return endpoint;
}

static void read_health_check(const struct reader *in, struct health_check *h, json_t *empty)
{
    static const char *const known[] = { "enabled",      "interval", "timeout",
                                         "max_failures", "endpoint", NULL };
    struct reader r = read_object(in, "health_check", 0, empty);

    h->enabled = read_bool(&r, "enabled", true);
    h->interval_s = bounded(&r, "interval", read_int(&r, "interval", 30, 0), 1);
    h->timeout_s = bounded(&r, "timeout", read_int(&r, "timeout", 10, 0), 1);
    h->max_failures = bounded(&r, "max_failures", read_int(&r, "max_failures", 3, 0), 1);
    h->endpoint = read_endpoint(&r);
    if (h->timeout_s >= h->interval_s) {
        validation_warn(in->v, "health_check.timeout should be less than health_check.interval");
    }
    warn_unknown(&r, known);
}

static void read_retry_policy(const struct reader *in, struct retry_policy *p, json_t *empty)
{
    static const char *const known[] = { "enabled",   "max_attempts",   "initial_delay",
                                         "max_delay", "backoff_factor", NULL };
    struct reader r = read_object(in, "retry_policy", 0, empty);

    p->enabled = read_bool(&r, "enabled", true);
    p->max_attempts = bounded(&r, "max_attempts", read_int(&r, "max_attempts", 3, 0), 1);
    p->initial_delay_s = read_number(&r, "initial_delay", 5);
    p->max_delay_s = read_number(&r, "max_delay", 300);
    p->backoff_factor = read_number(&r, "backoff_factor", 2.0);
    if (p->initial_delay_s < 0) {
        validation_error(in->v, "retry_policy.initial_delay must be at least 0");
    }
    if (p->max_delay_s < p->initial_delay_s) {
        validation_error(in->v,
                         "retry_policy.max_delay must be at least retry_policy.initial_delay");
    }
    if (p->backoff_factor <= 0) {
        validation_error(in->v, "retry_policy.backoff_factor must be greater than 0");
    }
    warn_unknown(&r, known);
}

/* ---- how long it stays, and other names ---- */

/* A hundred years are for ever, too: clients read no dates beyond the year 9999. */
static int keep_alive_of_seconds(double seconds, int64_t *ret_ms)
{
    bool forever = seconds < 0 || seconds > 100 * 365 * 86400.0;

    *ret_ms = forever ? KEEP_ALIVE_FOREVER : (int64_t)(seconds * 1000);
    return 0;
}

int keep_alive_parse(const json_t *value, int64_t *ret_ms, struct error *reterr)
{
    const char *text = json_string_value(value);
    uint64_t ms;

    if (json_is_number(value)) {
        return keep_alive_of_seconds(json_number_value(value), ret_ms);
    }
    if (text && text[0] == '-' && str_to_duration_ms(text + 1, &ms) == 0) {
        return keep_alive_of_seconds(-1, ret_ms);
    }
    if (text && str_to_duration_ms(text, &ms) == 0) {
        return keep_alive_of_seconds((double)ms / 1000, ret_ms);
    }
    return error_set(
        reterr, -EINVAL,
        "keep_alive must be a number of seconds or a duration such as \"5m\" (negative: "
        "for ever)");
}

/* keep_alive goes before llama-swap's ttl, in which 0 is for ever. */
static int64_t read_keep_alive(const struct reader *in)
{
    const json_t *value = member_of(in, "keep_alive", NULLABLE);
    int64_t ms = KEEP_ALIVE_DEFAULT, ttl = read_int(in, "ttl", -1, NULLABLE);
    struct error e = { 0 };

    if (value && keep_alive_parse(value, &ms, &e) < 0) {
        validation_error(in->v, "%s", e.text);
    } else if (!value && ttl >= 0) {
        ms = ttl == 0 ? KEEP_ALIVE_FOREVER : MIN_OF(ttl, INT_MAX) * 1000;
    }
    return ms;
}

static char **read_aliases(const struct reader *in)
{
    const json_t *list = member_of(in, "aliases", NULLABLE);
    size_t n = json_array_size(list);
    char **aliases;

    if (list && !json_is_array(list)) {
        complain(in, "aliases", "Input should be a valid list", "list_type");
        return NULL;
    }
    if (n > MODEL_ALIASES_MAX) {
        validation_error(in->v, "aliases must be at most %d", MODEL_ALIASES_MAX);
        return NULL;
    }
    aliases = n ? xcalloc(n + 1, sizeof(*aliases)) : NULL;
    for (size_t i = 0; i < n; i++) {
        const json_t *alias = json_array_get(list, i);

        if (!json_is_string(alias) ||
            strlen(json_string_value(alias)) != json_string_length(alias)) {
            complain(in, "aliases", "Input should be a valid list of strings", "string_type");
        }
        aliases[i] = xstrdup(json_is_string(alias) ? json_string_value(alias) : "?");
    }
    return aliases;
}

static void check_aliases(const struct model_config *c, struct validation *v)
{
    for (char **a = c->aliases; a && *a; a++) {
        check_id("an alias", *a, v);
        if (str_eq(*a, c->id)) {
            validation_error(v, "the alias '%s' is the model's own id", *a);
        }
        for (char **b = c->aliases; b < a; b++) {
            if (str_eq(*a, *b)) {
                validation_error(v, "the alias '%s' stands twice", *a);
            }
        }
    }
}

static int read_replicas(const struct reader *in)
{
    int64_t n = read_int(in, "replicas", 1, 0);

    if (n < 1 || n > MODEL_REPLICAS_MAX) {
        validation_error(in->v, "replicas must be between 1 and %d", MODEL_REPLICAS_MAX);
        return 1;
    }
    return (int)n;
}

/* ---- tasks of it ---- */

static const char *const status_names[] = {
    [MODEL_ONLINE] = "online", [MODEL_OFFLINE] = "offline", [MODEL_MAINTENANCE] = "maintenance"
};
_Static_assert(ARRAY_SIZE(status_names) == MODEL_STATUS_MAX_, "every status has its name");

const char *model_status_name(enum model_status s)
{
    return status_names[s];
}

int model_status_from_string(const char *s)
{
    for (size_t i = 0; s && i < ARRAY_SIZE(status_names); i++) {
        if (str_eq(s, status_names[i])) {
            return (int)i;
        }
    }
    return -EINVAL;
}

static enum model_status read_task_status(const struct reader *in)
{
    _cleanup_(freep) char *word = read_string(in, "task_status", NULLABLE);
    const int status = word ? model_status_from_string(word) : MODEL_ONLINE;

    if (status < 0) {
        validation_error(in->v, "task_status must be online, offline or maintenance, not '%.60s'",
                         word);
        return MODEL_ONLINE;
    }
    return (enum model_status)status;
}

static int read_max_workers(const struct reader *in)
{
    const int64_t n = read_int(in, "max_workers", 0, NULLABLE);

    if (n < 0 || n > MODEL_WORKERS_MAX) {
        validation_error(in->v, "max_workers must be between 0 (the configured number) and %d",
                         MODEL_WORKERS_MAX);
        return 0;
    }
    return (int)n;
}

/* A short word, or NULL; whether there is a strategy of that name is not this room's to know. */
static char *read_word(const struct reader *in, const char *name)
{
    char *word = read_string(in, name, NULLABLE);

    if (word && (word[0] == '\0' || strlen(word) > WORD_MAX_BYTES || has_control(word))) {
        validation_error(in->v, "%s must have 1 to %d bytes, and no control characters", name,
                         WORD_MAX_BYTES);
    }
    return word;
}

static void read_type(const struct reader *in, struct model_config *c)
{
    c->type = read_word(in, "type");
    if (c->type && !str_eq(c->type, "openai") && !str_eq(c->type, "local") &&
        !str_eq(c->type, "custom")) {
        validation_error(in->v, "type must be openai, local or custom, not '%.60s'", c->type);
    }
}

/* ---- the whole ---- */

static void read_members(const struct reader *in, struct model_config *c)
{
    static const char *const known[] = { "id",
                                         "name",
                                         "framework",
                                         "model_path",
                                         "priority",
                                         "gpu_devices",
                                         "additional_parameters",
                                         "parameters",
                                         "resource_requirements",
                                         "health_check",
                                         "retry_policy",
                                         "autostart",
                                         "pinned",
                                         "on_demand",
                                         "replicas",
                                         "aliases",
                                         "keep_alive",
                                         "ttl",
                                         "task_status",
                                         "max_workers",
                                         "strategy",
                                         "type",
                                         "created_at",
                                         "updated_at",
                                         NULL };
    json_t *empty = json_object();
    struct reader parameters;

    c->id = read_string(in, "id", REQUIRED);
    c->name = read_string(in, "name", REQUIRED);
    c->framework = read_string(in, "framework", REQUIRED);
    c->model_path = read_string(in, "model_path", REQUIRED);
    c->priority = check_priority(read_int(in, "priority", MODEL_PRIORITY_MIN, REQUIRED), in->v);
    c->gpu_device_count = read_devices(in, &c->gpu_devices);
    c->additional_parameters = read_string(in, "additional_parameters", NULLABLE);
    parameters = read_object(in, "parameters", 0, empty);
    c->parameters = json_deep_copy(parameters.object);
    read_resources(in, c, empty);
    read_health_check(in, &c->health_check, empty);
    read_retry_policy(in, &c->retry_policy, empty);
    c->autostart = read_bool(in, "autostart", false);
    c->pinned = read_bool(in, "pinned", false);
    c->on_demand = read_bool(in, "on_demand", true);
    c->replicas = read_replicas(in);
    c->aliases = read_aliases(in);
    c->keep_alive_ms = read_keep_alive(in);
    c->task_status = read_task_status(in);
    c->max_workers = read_max_workers(in);
    c->strategy = read_word(in, "strategy");
    read_type(in, c);
    warn_unknown(in, known);
    json_decref(empty);
}

struct model_config *model_config_parse(const json_t *json, struct validation *v)
{
    struct reader in = { json, NULL, v };
    struct model_config *c;

    if (!json_is_object(json)) {
        complain(&in, NULL, "Input should be a valid dictionary", "dict_type");
        return NULL;
    }
    if (json_dumpb(json, NULL, 0, JSON_COMPACT) > MODEL_CONFIG_MAX) {
        complain(&in, NULL, "The definition is larger than 256 KiB", "too_long");
        return NULL;
    }
    c = xcalloc(1, sizeof(*c));
    read_members(&in, c);
    if (json_array_size(v->schema_errors) > 0) {
        return model_config_free(c);
    }
    if (c->additional_parameters && c->additional_parameters[0] == '\0') {
        free(TAKE_PTR(c->additional_parameters));
    }
    check_texts(c, v);
    check_aliases(c, v);
    return c;
}

bool model_config_is_wanted(const struct model_config *c)
{
    return c->autostart || c->pinned;
}

static bool has_name(const struct model_config *c, const char *name)
{
    for (char **a = c->aliases; a && *a; a++) {
        if (str_eq(*a, name)) {
            return true;
        }
    }
    return str_eq(c->id, name);
}

const char *model_config_shared_name(const struct model_config *a, const struct model_config *b)
{
    for (char **name = b->aliases; name && *name; name++) {
        if (has_name(a, *name)) {
            return *name;
        }
    }
    return !str_eq(a->id, b->id) && has_name(a, b->id) ? b->id : NULL;
}

struct model_config *model_config_free(struct model_config *c)
{
    if (!c) {
        return NULL;
    }
    free(c->id);
    free(c->name);
    free(c->framework);
    free(c->model_path);
    free(c->gpu_devices);
    free(c->additional_parameters);
    json_decref(c->parameters);
    json_decref(c->resource_requirements);
    str_list_free(c->aliases);
    free(c->health_check.endpoint);
    free(c->strategy);
    free(c->type);
    free(c->created_at);
    free(c->updated_at);
    free(c);
    return NULL;
}

static json_t *devices_to_json(const struct model_config *c)
{
    json_t *list = json_array();

    for (size_t i = 0; i < c->gpu_device_count; i++) {
        json_array_append_new(list, json_integer(c->gpu_devices[i]));
    }
    return list;
}

static json_t *aliases_to_json(const struct model_config *c)
{
    json_t *list = json_array();

    for (char **a = c->aliases; a && *a; a++) {
        json_array_append_new(list, json_string(*a));
    }
    return list;
}

static json_t *keep_alive_to_json(int64_t ms)
{
    if (ms == KEEP_ALIVE_DEFAULT) {
        return json_null();
    }
    if (ms == KEEP_ALIVE_FOREVER) {
        return json_integer(-1);
    }
    return ms % 1000 ? json_real((double)ms / 1000) : json_integer(ms / 1000);
}

json_t *model_config_to_json(const struct model_config *c)
{
    const struct health_check *h = &c->health_check;
    const struct retry_policy *p = &c->retry_policy;
    json_t *health = json_pack("{s:b, s:i, s:i, s:i, s:s?}", "enabled", h->enabled, "interval",
                               h->interval_s, "timeout", h->timeout_s, "max_failures",
                               h->max_failures, "endpoint", h->endpoint);
    json_t *retry = json_pack("{s:b, s:i, s:f, s:f, s:f}", "enabled", p->enabled, "max_attempts",
                              p->max_attempts, "initial_delay", p->initial_delay_s, "max_delay",
                              p->max_delay_s, "backoff_factor", p->backoff_factor);

    return json_pack(
        "{s:s, s:s, s:s, s:s, s:i, s:o, s:s?, s:O, s:O, s:o, s:o, s:b, s:b, s:b, s:i, "
        "s:o, s:o, s:s, s:i, s:s?, s:s?, s:s?, s:s?}",
        "id", c->id, "name", c->name, "framework", c->framework, "model_path", c->model_path,
        "priority", c->priority, "gpu_devices", devices_to_json(c), "additional_parameters",
        c->additional_parameters, "parameters", c->parameters, "resource_requirements",
        c->resource_requirements, "health_check", health, "retry_policy", retry, "autostart",
        c->autostart, "pinned", c->pinned, "on_demand", c->on_demand, "replicas", c->replicas,
        "aliases", aliases_to_json(c), "keep_alive", keep_alive_to_json(c->keep_alive_ms),
        "task_status", model_status_name(c->task_status), "max_workers", c->max_workers, "strategy",
        c->strategy, "type", c->type, "created_at", c->created_at, "updated_at", c->updated_at);
}
