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

#include "base/mem.h"
#include "engines/devices.h"
#include "engines/last_words.h"
#include "engines/need.h"
#include "engines/parameters.h"
#include "engines/words.h"

// clang-format off
static const struct parameter rows[] = {
    { "command", PARAMETER_OWN,  NULL, 0, 0 },
    { "model",   PARAMETER_TEXT, NULL, 0, 0 },
};
// clang-format on

/* What stands for the names, and which of them were used. */
enum value { VALUE_PORT, VALUE_SOCKET, VALUE_MODEL, VALUE_MODEL_ID, VALUE_MAX_ };

/* The words as they are written. */
static int read_words(const struct model_config *model, struct words *ret, struct error *reterr)
{
    const json_t *command = parameter_get(model, "command");
    bool has_words = json_is_string(command) || json_is_array(command);
    int r = has_words ? words_read(ret, "parameters.command", command, reterr) : 0;

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

static int find_address(const struct engine_context *c, const struct word_value *values,
                        struct address *ret, struct error *reterr)
{
    uint16_t named = parameter_port(c);
    char text[ADDRESS_TEXT_SIZE];

    if (values[VALUE_SOCKET].used) {
        snprintf(text, sizeof(text), "unix:%s", c->socket_path);
        return address_parse(text, ret, reterr);
    }
    if (!values[VALUE_PORT].used && named == 0) {
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
    char port[8];
    struct word_value values[VALUE_MAX_] = {
        [VALUE_PORT] = { "PORT", port, false },
        [VALUE_SOCKET] = { "SOCKET", c->socket_path, false },
        [VALUE_MODEL] = { "MODEL", c->model->model_path, false },
        [VALUE_MODEL_ID] = { "MODEL_ID", c->model->id, false },
    };
    struct gpus gpus = gpus_for(c);
    int r;

    snprintf(port, sizeof(port), "%u", (unsigned)(named ? named : c->port));
    r = read_words(c->model, argv, reterr);
    r = r < 0 ? r : parameters_add_additional(c->model, argv, reterr);
    r = r < 0 ? r : words_replace(argv, "parameters.command", values, VALUE_MAX_, reterr);
    if (r < 0) {
        return r;
    }
    parameters_add_env(c->model, &gpus, env);
    r = words_replace(env, "parameters.env", values, VALUE_MAX_, reterr);
    r = r < 0 ? r : find_address(c, values, ret_address, reterr);
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

/* Its model_path need not be a file, and what the server makes of it is its own affair. */
static void find_need(const struct engine_context *c, const struct model_facts *facts,
                      struct memory_need *ret)
{
    need_of_files(facts, ret);
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
    .need = find_need,
    .is_out_of_memory = need_is_out_of_memory,
    .last_words = last_words_plain,
};
