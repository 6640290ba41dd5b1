// SPDX-License-Identifier: Apache-2.0
/* A task as the request that it becomes. Values are put into the texts of a parsed template, never
 * into its JSON text, so nothing in them can change the shape of the request. */
#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "codec/json.h"
#include "codec/scan.h"
#include "tasks/task_types_int.h"

enum { FILLED_MAX = 32 << 20, REAL_DIGITS = 17 };

/* Templates */

/* What the texts are filled with. */
struct filling {
    struct span input;
    const json_t *options, *defaults; /* objects, or NULL */
};

/* What {{name}} stands for, appended. */
static void put_value(struct buf *out, const struct filling *f, struct span name)
{
    _cleanup_(freep) char *key = span_dup(name), *text = NULL;
    const json_t *value;

    if (str_eq(key, "input")) {
        buf_append(out, f->input.p, f->input.n);
        return;
    }
    value = json_object_get(f->options, key);
    value = value ? value : json_object_get(f->defaults, key);
    if (json_is_string(value)) {
        buf_append(out, json_string_value(value), json_string_length(value));
    } else if (value && !json_is_null(value)) {
        text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
        buf_puts(out, text ? text : "");
    }
}

static bool is_name_char(char c)
{
    return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '.';
}

/* How long the {{name}} is with which the text begins; 0: it begins with none. */
static size_t read_name(struct span text, struct span *ret_name)
{
    const char *end = span_starts(text, "{{") ? memmem(text.p, text.n, "}}", 2) : NULL;
    struct span name;

    if (!end) {
        return 0;
    }
    name = span_trim((struct span){ text.p + 2, (size_t)(end - text.p) - 2 });
    for (size_t i = 0; i < name.n; i++) {
        if (!is_name_char(name.p[i])) {
            return 0;
        }
    }
    *ret_name = name;
    return name.n > 0 ? (size_t)(end + 2 - text.p) : 0;
}

static struct span after(struct span text, size_t n)
{
    return (struct span){ text.p + n, text.n - n };
}

static void put_text(struct buf *out, const struct filling *f, struct span text)
{
    while (text.n > 0 && !out->overflow) {
        const char *open = memmem(text.p, text.n, "{{", 2);
        size_t plain = open ? (size_t)(open - text.p) : text.n, n;
        struct span name;

        buf_append(out, text.p, plain);
        text = after(text, plain);
        n = read_name(text, &name);
        if (n > 0) {
            put_value(out, f, name);
        } else if (text.n > 0) {
            n = 1;
            buf_append(out, text.p, n);
        }
        text = after(text, n);
    }
}

/* left: bytes that texts may still take. */
static int fill_text(const json_t *text, const struct filling *f, size_t *left, json_t **ret,
                     struct error *reterr)
{
    struct buf out = BUF_INIT(*left);

    put_text(&out, f, (struct span){ json_string_value(text), json_string_length(text) });
    if (out.overflow) {
        buf_finish(&out);
        return error_set(reterr, -EFBIG, "the request becomes longer than %d MiB",
                         FILLED_MAX >> 20);
    }
    *left -= out.len;
    *ret = json_stringn(buf_data(&out), out.len);
    buf_finish(&out);
    return *ret ? 0 : error_set(reterr, -EINVAL, "the input is not UTF-8");
}

static int fill(const json_t *t, const struct filling *f, size_t *left, json_t **ret,
                struct error *reterr);

static int fill_object(const json_t *t, const struct filling *f, size_t *left, json_t **ret,
                       struct error *reterr)
{
    json_t *out = json_object(), *value, *filled = NULL;
    const char *key;

    json_object_foreach(UNCONST(json_t *, t), key, value)
    {
        int r = fill(value, f, left, &filled, reterr);

        if (r < 0) {
            json_decref(out);
            return r;
        }
        json_object_set_new(out, key, filled);
    }
    *ret = out;
    return 0;
}

static int fill_array(const json_t *t, const struct filling *f, size_t *left, json_t **ret,
                      struct error *reterr)
{
    json_t *out = json_array(), *value, *filled = NULL;
    size_t i;

    json_array_foreach(t, i, value)
    {
        int r = fill(value, f, left, &filled, reterr);

        if (r < 0) {
            json_decref(out);
            return r;
        }
        json_array_append_new(out, filled);
    }
    *ret = out;
    return 0;
}

static int fill(const json_t *t, const struct filling *f, size_t *left, json_t **ret,
                struct error *reterr)
{
    switch (json_typeof(t)) {
    case JSON_STRING:
        return fill_text(t, f, left, ret, reterr);
    case JSON_OBJECT:
        return fill_object(t, f, left, ret, reterr);
    case JSON_ARRAY:
        return fill_array(t, f, left, ret, reterr);
    default:
        *ret = json_incref(UNCONST(json_t *, t));
        return 0;
    }
}

/* Bodies */

static bool is_chat(const char *path)
{
    return strncmp(path, CHAT_PATH, strlen(CHAT_PATH)) == 0;
}

/* The input itself; one that is no object is what a chat's user says. */
static int body_of_input(struct span input, const char *path, json_t **ret, struct error *reterr)
{
    int r = json_read(input, JSON_BYTES_MAX, ret, reterr);
    json_t *text;

    if (r == 0 && json_is_object(*ret)) {
        return 0;
    }
    if (r == 0) {
        json_decref(*ret);
    }
    if (!is_chat(path)) {
        return error_set(reterr, -EINVAL, "the input must be a JSON object, the body for %.100s",
                         path);
    }
    text = json_stringn(input.p ? input.p : "", input.n);
    if (!text) {
        return error_set(reterr, -EINVAL, "the input is not UTF-8");
    }
    *ret = json_pack("{s:[{s:s, s:o}]}", "messages", "role", "user", "content", text);
    return 0;
}

/* A Task Instance's task_input. */
static int body_of_task_input(struct span input, const char **ret_path, json_t **ret,
                              struct error *reterr)
{
    static const struct {
        const char *member, *path;
    } kinds[] = {
        { "messages", CHAT_PATH },
        { "prompt", "/v1/completions" },
        { "input", "/v1/embeddings" },
    };
    int r = json_read(input, JSON_BYTES_MAX, ret, reterr);

    if (r < 0) {
        return error_set(reterr, -EINVAL, "task_input must be a JSON object");
    }
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (json_object_get(*ret, kinds[i].member)) {
            *ret_path = kinds[i].path;
            return 0;
        }
    }
    json_decref(*ret);
    return error_set(reterr, -EINVAL,
                     "a model's task_input must hold 'messages', 'prompt' or 'input'");
}

static const json_t *template_of(const struct task_type *type, const struct model_config *model)
{
    const json_t *own =
        json_object_get(json_object_get(model->parameters, "task_templates"), type->name);

    return own && !json_is_null(own) ? own : type->template;
}

static int body_of_template(const struct task_type *type, const json_t *template, struct span input,
                            const json_t *options, json_t **ret, struct error *reterr)
{
    const struct filling filling = { input, options, type->defaults };
    size_t left = FILLED_MAX;

    if (!json_is_object(template)) {
        return error_set(reterr, -EINVAL,
                         "the model's parameters.task_templates.%s is no JSON object", type->name);
    }
    return fill(template, &filling, &left, ret, reterr);
}

static int make_body(const struct task_type *type, const struct model_config *model,
                     struct span input, const json_t *options, const char **path, json_t **ret,
                     struct error *reterr)
{
    const json_t *template;

    if (type == &task_type_instance) {
        return body_of_task_input(input, path, ret, reterr);
    }
    template = template_of(type, model);
    return template ? body_of_template(type, template, input, options, ret, reterr)
                    : body_of_input(input, *path, ret, reterr);
}

/* What lies over it, and under it */

static bool path_is(const char *path, const char *what)
{
    size_t n = strlen(what);

    return strncmp(path, what, n) == 0 && (path[n] == '\0' || path[n] == '?');
}

static void set_default(json_t *body, const char *name, const json_t *value)
{
    if (json_is_number(value) && !json_object_get(body, name)) {
        json_object_set(body, name, UNCONST(json_t *, value));
    }
}

/* Where the endpoint knows them. */
static void set_defaults(json_t *body, const char *path, const json_t *parameters)
{
    const json_t *most = json_object_get(parameters, "max_tokens");

    if (path_is(path, "/v1/responses")) {
        set_default(body, "max_output_tokens", most);
    } else if (is_chat(path) || path_is(path, "/v1/completions") || path_is(path, "/v1/messages")) {
        set_default(body, "max_tokens",
                    json_object_get(body, "max_completion_tokens") ? NULL : most);
    } else {
        return;
    }
    set_default(body, "temperature", json_object_get(parameters, "temperature"));
}

static int finish_body(json_t *body, const char *path, const struct model_config *model,
                       const json_t *options, struct error *reterr)
{
    json_t *over = json_object_get(options, "request");

    if (over && !json_is_null(over) && !json_is_object(over)) {
        return error_set(reterr, -EINVAL, "options.request must be an object");
    }
    if (json_is_object(over)) {
        json_object_update(body, over);
    }
    set_defaults(body, path, model->parameters);
    json_object_del(body, "stream");
    json_object_del(body, "stream_options");
    json_object_set_new(body, "model", json_string(model->id));
    return 0;
}

/* Requests */

static int write_request(const char *path, const json_t *body, struct task_request *ret,
                         struct error *reterr)
{
    char *text = json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(REAL_DIGITS));

    if (!text) {
        return error_set(reterr, -ENOMEM, "there is no memory for the request");
    }
    *ret = (struct task_request){ xstrdup(path), text, strlen(text) };
    return 0;
}

static int read_options(struct span text, json_t **ret, struct error *reterr)
{
    int r;

    if (span_trim(text).n == 0) {
        *ret = NULL;
        return 0;
    }
    r = json_read(text, JSON_BYTES_MAX, ret, reterr);
    if (r < 0) {
        error_prefix(reterr, "the options: ");
        return -EINVAL;
    }
    if (!json_is_object(*ret)) {
        json_decref(*ret);
        return error_set(reterr, -EINVAL, "the options must be a JSON object");
    }
    return 0;
}

/* The path that the options name, if they do. */
static int read_path(const json_t *options, const char *member, const char **path,
                     struct error *reterr)
{
    const json_t *given = json_object_get(options, member);

    if (!given || json_is_null(given)) {
        return 0;
    }
    if (!json_is_string(given)) {
        return error_set(reterr, -EINVAL, "options.%s must be a text", member);
    }
    *path = json_string_value(given);
    return task_path_check(*path, reterr);
}

/* As it is: its bytes are the client's. */
static int compose_line(const char *path, struct span input, struct task_request *ret,
                        struct error *reterr)
{
    struct scan_member stream = { .name = "stream" };
    int r = scan_object(input, &stream, 1, reterr);
    bool streams = false;
    char *body;

    if (r < 0) {
        return -EINVAL;
    }
    if (stream.type == SCAN_BOOL && scan_bool(&stream, &streams, NULL) == 0 && streams) {
        return error_set(reterr, -EINVAL, "a batch's request cannot be streamed");
    }
    body = try_malloc(input.n + 1);
    if (!body) {
        return error_set(reterr, -ENOMEM, "there is no memory for the request");
    }
    memcpy(body, input.p, input.n);
    body[input.n] = '\0';
    *ret = (struct task_request){ xstrdup(path), body, input.n };
    return 0;
}

static int compose_task(const struct task_type *type, const struct model_config *model,
                        struct span input, const json_t *options, const char *path,
                        struct task_request *ret, struct error *reterr)
{
    json_t *body = NULL;
    int r = make_body(type, model, input, options, &path, &body, reterr);

    if (r < 0) {
        return r;
    }
    r = finish_body(body, path, model, options, reterr);
    r = r < 0 ? r : write_request(path, body, ret, reterr);
    json_decref(body);
    return r;
}

int task_types_compose(const struct task_type *type, const struct model_config *model,
                       struct span input, struct span options, struct task_request *ret,
                       struct error *reterr)
{
    const char *path = type->endpoint;
    json_t *given = NULL;
    int r = read_options(options, &given, reterr);

    if (r < 0) {
        return r;
    }
    if (type == &task_type_batch) {
        r = read_path(given, "url", &path, reterr);
        r = r < 0 ? r : compose_line(path, input, ret, reterr);
    } else {
        r = type->template ? 0 : read_path(given, "path", &path, reterr);
        r = r < 0 ? r : compose_task(type, model, input, given, path, ret, reterr);
    }
    json_decref(given);
    return r;
}

void task_request_finish(struct task_request *r)
{
    free(r->path);
    free(r->body);
    *r = (struct task_request){ 0 };
}
