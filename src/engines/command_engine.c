// SPDX-License-Identifier: Apache-2.0
/*
 * Any OpenAI-compatible server, by its command line. `parameters.command` is a text (split into
 * words as a shell would, without one) or a list of words; additional_parameters follow. Then, in
 * each word by itself, so that a path with blanks stays one word, and in the values of env:
 *
 *     ${PORT}      the port to listen on, on 127.0.0.1: parameters.port (plus the replica), or one
 *                  that berth chooses
 *     ${SOCKET}    a unix socket to listen on instead, relative to the working directory
 *     ${MODEL}     model_path, which need not be a file
 *     ${MODEL_ID}  the model's id
 *     $$           a dollar
 *
 * It is ready, and alive, when GET /v1/models answers 200: every OpenAI-compatible server has that,
 * and those that listen before they have loaded (llama-server) refuse it until then. A server with
 * a better probe (vLLM's /health sees a dead engine core) is told by health_check.endpoint.
 */
#include "engines/engine_driver.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "engines/devices.h"
#include "engines/last_words.h"
#include "engines/parameters.h"
#include "engines/words.h"

enum { WORD_MAX = 128 * 1024 }; /* Linux' own limit for one argument */

// clang-format off
static const struct parameter rows[] = {
    { "command", PARAMETER_OWN,  NULL, 0, 0 },
    { "model",   PARAMETER_TEXT, NULL, 0, 0 },
};
// clang-format on

/* What stands for the names, and which of them were used. */
struct values {
    char port[8];
    const char *socket, *model, *model_id;
    bool port_used, socket_used;
};

static const char *value_of(struct values *v, struct span name)
{
    if (span_eq(name, "PORT")) {
        v->port_used = true;
        return v->port;
    }
    if (span_eq(name, "SOCKET")) {
        v->socket_used = true;
        return v->socket;
    }
    return span_eq(name, "MODEL") ? v->model : span_eq(name, "MODEL_ID") ? v->model_id : NULL;
}

/* At "${…}": appends its value, *p goes behind it. */
static int replace_name(struct values *v, const char **p, struct buf *out, struct error *reterr)
{
    struct span rest = span_of(*p + 2);
    struct span name = span_cut(&rest, '}');
    const char *value;

    if (!rest.p) {
        return error_set(reterr, -EINVAL, "'${' without '}' (a dollar is written '$$')");
    }
    value = value_of(v, name);
    if (!value) {
        return error_set(reterr, -EINVAL,
                         "${%.*s} is not known; there are ${PORT}, ${SOCKET}, ${MODEL} and "
                         "${MODEL_ID}, and '$$' for a dollar",
                         (int)MIN_OF(name.n, (size_t)64), name.p);
    }
    *p = rest.p;
    return buf_puts(out, value);
}

/* Replaces *word by what it means. */
static int replace_word(struct values *v, char **word, struct error *reterr)
{
    struct buf out = BUF_INIT(WORD_MAX);
    int r = 0;

    for (const char *p = *word; *p && r >= 0;) {
        if (p[0] == '$' && p[1] == '{') {
            r = replace_name(v, &p, &out, reterr);
            continue;
        }
        p += p[0] == '$' && p[1] == '$';
        r = buf_putc(&out, *p++);
    }
    if (r == -EFBIG) {
        r = error_set(reterr, -EINVAL, "a word is longer than 128 KiB");
    }
    if (r >= 0) {
        free(*word);
        *word = xstrdup(buf_data(&out));
    }
    buf_finish(&out);
    return r < 0 ? r : 0;
}

static int replace_all(struct values *v, const char *what, struct words *words,
                       struct error *reterr)
{
    for (size_t i = 0; i < words->count; i++) {
        int r = replace_word(v, &words->list[i], reterr);

        if (r < 0) {
            return error_prefix(reterr, "%s: ", what);
        }
    }
    return 0;
}

static int split_text(const char *text, struct words *ret, struct error *reterr)
{
    _cleanup_(str_list_freep) char **list = NULL;
    int r = str_split_words(text, &list, reterr);

    if (r < 0) {
        return error_prefix(reterr, "parameters.command: ");
    }
    for (char **word = list; *word; word++) {
        words_add(ret, *word);
    }
    return 0;
}

static bool is_word(const json_t *value)
{
    return json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value);
}

/* The words as they are written. */
static int read_words(const struct model_config *model, struct words *ret, struct error *reterr)
{
    const json_t *command = parameter_get(model, "command");
    size_t i;
    json_t *word;
    int r = 0;

    if (is_word(command)) {
        r = split_text(json_string_value(command), ret, reterr);
    }
    json_array_foreach(command, i, word)
    {
        if (!is_word(word)) {
            return error_set(reterr, -EINVAL, "parameters.command: word %zu is not a text", i + 1);
        }
        words_add(ret, json_string_value(word));
    }
    if (r == 0 && (ret->count == 0 || ret->list[0][0] == '\0')) {
        return error_set(reterr, -EINVAL,
                         "parameters.command is needed: the server's command line, a text or a "
                         "list of words, with ${PORT} or ${SOCKET} where it is to listen");
    }
    return r;
}

static int find_program(struct words *argv, struct error *reterr)
{
    char *path;

    if (program_find(argv->list[0], &path) < 0) {
        return error_set(reterr, -ENOENT,
                         strchr(argv->list[0], '/')
                             ? "parameters.command: %s is not an executable file"
                             : "parameters.command: '%s' is not in PATH",
                         argv->list[0]);
    }
    free(argv->list[0]);
    argv->list[0] = path;
    return 0;
}

static int find_address(const struct engine_context *c, const struct values *v, struct address *ret,
                        struct error *reterr)
{
    uint16_t named = parameter_port(c);
    char text[ADDRESS_TEXT_SIZE];

    if (v->socket_used) {
        snprintf(text, sizeof(text), "unix:%s", c->socket_path);
        return address_parse(text, ret, reterr);
    }
    if (!v->port_used && named == 0) {
        return error_set(reterr, -EINVAL,
                         "parameters.command says neither ${PORT} nor ${SOCKET}, and there is no "
                         "parameters.port: where the server listens is not known");
    }
    return parameter_address(parameter_text(c->model, "host"), named ? named : c->port, ret,
                             reterr);
}

/* argv, env and address, from the words as they are written. */
static int make(const struct engine_context *c, struct words *argv, struct words *env,
                struct address *ret_address, struct error *reterr)
{
    uint16_t named = parameter_port(c);
    struct values v = { .socket = c->socket_path,
                        .model = c->model->model_path,
                        .model_id = c->model->id };
    struct gpus gpus = gpus_of(c->gpu);
    int r;

    snprintf(v.port, sizeof(v.port), "%u", (unsigned)(named ? named : c->port));
    r = read_words(c->model, argv, reterr);
    r = r < 0 ? r : parameters_add_additional(c->model, argv, reterr);
    r = r < 0 ? r : replace_all(&v, "parameters.command", argv, reterr);
    if (r < 0) {
        return r;
    }
    parameters_add_env(c->model, &gpus, env);
    r = replace_all(&v, "parameters.env", env, reterr);
    r = r < 0 ? r : find_address(c, &v, ret_address, reterr);
    r = r < 0 ? r : devices_check(c->model, &gpus, reterr); /* from here on: the machine */
    return r < 0 ? r : find_program(argv, reterr);
}

static int command(const struct engine_context *c, struct engine_command *ret, struct error *reterr)
{
    const char *name = parameter_text(c->model, "model");
    struct words argv = { 0 }, env = { 0 };
    struct address address;
    int r;

    r = make(c, &argv, &env, &address, reterr);
    if (r < 0) {
        words_finish(&argv);
        words_finish(&env);
        return r;
    }
    *ret = (struct engine_command){ .argv = words_take(&argv),
                                    .env = words_take(&env),
                                    .slots = parameter_slots(c),
                                    .weight = parameter_weight(c->model),
                                    .address = address,
                                    .model = xstrdup(name ? name : c->model->id) };
    return 0;
}

static void validate(const struct engine_context *c, struct validation *v,
                     struct validation *machine)
{
    const struct model_config *model = c->model;
    struct engine_context whole = *c;
    size_t before = json_array_size(v->errors);
    struct engine_command made = { 0 };
    struct gpus gpus = gpus_of(c->gpu);
    struct error err = { 0 };
    int r;

    whole.socket_path = "x.sock";
    parameters_validate(model, PARAMETER_TABLE(rows), v);
    r = json_array_size(v->errors) > before ? 0 : command(&whole, &made, &err);
    if (r < 0 && r != -ENODEV) {
        validation_error(r == -EINVAL ? v : machine, "%s", err.text);
    }
    engine_command_finish(&made);
    devices_validate(model, &gpus, machine); /* all of them, not the first one only */
}

static const char *const frameworks[] = { "command", NULL };

const struct engine_driver command_driver = {
    .name = "command",
    .frameworks = frameworks,
    .help =
        "Any OpenAI-compatible server, by its command line (parameters.command, with ${PORT} or "
        "${SOCKET}, ${MODEL}, ${MODEL_ID}). Ready when GET /v1/models, or health_check.endpoint, "
        "answers 200.",
    .validate = validate,
    .command = command,
    .needs_port = true,
    .probe_path = "/v1/models",
    .last_words = last_words_plain,
};
