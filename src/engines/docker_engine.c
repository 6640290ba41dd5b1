// SPDX-License-Identifier: Apache-2.0
/*
 * Any OpenAI-compatible server in a container. parameters.image names it; parameters.command and
 * parameters.entrypoint, texts or lists of words, replace its own; additional_parameters follow the
 * command. In them and in the values of env stand
 *
 *     ${PORT}      the port to listen on inside: parameters.container_port, 8000 by default; with
 *                  host networking the one that berth chooses, or parameters.port
 *     ${HOST}      the address to listen on: 0.0.0.0, with host networking 127.0.0.1
 *     ${MODEL}     model_path; an absolute one is mounted, read-only, at the same path
 *     ${MODEL_ID}  the model's id
 *
 * and $$ for a dollar. The port is published on 127.0.0.1 only. Ready, and alive, when GET
 * /v1/models answers 200, or health_check.endpoint.
 */
#include <string.h>

#include "base/mem.h"
#include "engines/container_driver.h"
#include "engines/last_words.h"
#include "engines/need.h"

enum { DEFAULT_PORT = 8000 };

// clang-format off
static const struct parameter rows[] = {
    CONTAINER_PARAMETERS,
    { "command",        PARAMETER_OWN,  NULL, 0, 0 },
    { "entrypoint",     PARAMETER_OWN,  NULL, 0, 0 },
    { "container_port", PARAMETER_INT,  NULL, 1, 65535 },
    { "model",          PARAMETER_TEXT, NULL, 0, 0 },
};
// clang-format on

static int read_words(const struct engine_context *c, struct words *cmd, struct words *entrypoint,
                      struct words *env, struct error *reterr)
{
    int r = words_read(cmd, "parameters.command", parameter_get(c->model, "command"), reterr);

    r = r < 0 ? r : parameters_add_additional(c->model, cmd, reterr);
    r = r < 0 ? r
              : words_read(entrypoint, "parameters.entrypoint",
                           parameter_get(c->model, "entrypoint"), reterr);
    container_env(c->model, env);
    return r;
}

static int replace_names(const struct engine_context *c, const struct container_spec *spec,
                         struct words *cmd, struct words *entrypoint, struct words *env,
                         struct error *reterr)
{
    char port[8];
    struct word_value values[] = { { "PORT", port, false },
                                   { "HOST", container_host(spec), false },
                                   { "MODEL", c->model->model_path, false },
                                   { "MODEL_ID", c->model->id, false } };
    size_t count = ARRAY_SIZE(values);
    int r;

    snprintf(port, sizeof(port), "%u", (unsigned)container_port(spec));
    r = words_replace(cmd, "parameters.command", values, count, reterr);
    r = r < 0 ? r : words_replace(entrypoint, "parameters.entrypoint", values, count, reterr);
    return r < 0 ? r : words_replace(env, "parameters.env", values, count, reterr);
}

static char **take_if_any(struct words *w)
{
    return w->count ? words_take(w) : NULL;
}

static int add_words(const struct engine_context *c, struct engine_command *ret,
                     struct error *reterr)
{
    struct words cmd = { 0 }, entrypoint = { 0 }, env = { 0 };
    int r = read_words(c, &cmd, &entrypoint, &env, reterr);

    r = r < 0 ? r : replace_names(c, ret->container, &cmd, &entrypoint, &env, reterr);
    if (r >= 0) {
        ret->container->cmd = take_if_any(&cmd);
        ret->container->entrypoint = take_if_any(&entrypoint);
        ret->env = words_take(&env);
    }
    words_finish(&cmd);
    words_finish(&entrypoint);
    words_finish(&env);
    return r;
}

static int command(const struct engine_context *c, struct engine_command *ret, struct error *reterr)
{
    const struct container_defaults defaults = {
        .port = (uint16_t)parameter_int(c->model, "container_port", DEFAULT_PORT),
    };
    const char *name = parameter_text(c->model, "model");
    struct engine_command made = { .slots = parameter_slots(c),
                                   .weight = parameter_weight(c->model) };
    int r = container_describe(c, &defaults, &made.container, reterr);

    r = r < 0 ? r : add_words(c, &made, reterr);
    r = r < 0 ? r : parameter_address(NULL, made.container->host_port, &made.address, reterr);
    if (r < 0) {
        engine_command_finish(&made);
        return r;
    }
    made.model = xstrdup(name ? name : c->model->id);
    *ret = made;
    return 0;
}

static void validate(const struct engine_context *c, struct validation *v,
                     struct validation *machine)
{
    size_t before = json_array_size(v->errors);
    struct engine_command made = { 0 };
    struct error err = { 0 };
    int r;

    parameters_validate(c->model, PARAMETER_TABLE(rows), v);
    r = json_array_size(v->errors) > before ? 0 : command(c, &made, &err);
    if (r < 0) {
        validation_error(r == -EINVAL ? v : machine, "%s", err.text);
    } else if (made.container && made.container->host_network &&
               parameter_get(c->model, "container_port")) {
        validation_warn(v, "parameters.container_port has no effect with host networking: the "
                           "server listens on parameters.port, or ${PORT}");
    }
    engine_command_finish(&made);
    container_validate(c, v, machine);
}

/* What the server makes of a model is its own affair. */
static void find_need(const struct engine_context *c, const struct model_facts *facts,
                      struct memory_need *ret)
{
    need_of_files(facts, ret);
}

static const char *const frameworks[] = { "docker", NULL };

const struct engine_driver docker_driver = {
    .name = "docker",
    .frameworks = frameworks,
    .help = "Any OpenAI-compatible server in a container (parameters.image, command with ${PORT}, "
            "${HOST}, ${MODEL}, ${MODEL_ID}). Ready when GET /v1/models, or "
            "health_check.endpoint, answers 200.",
    .validate = validate,
    .command = command,
    .needs_port = true,
    .probe_path = "/v1/models",
    .need = find_need,
    .is_out_of_memory = need_is_out_of_memory,
    .last_words = last_words_plain,
};
