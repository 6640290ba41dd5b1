// SPDX-License-Identifier: Apache-2.0
/* berth config: check a file without starting anything, show what the daemon runs with, print a
 * sample made of the option rows. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/commands.h"
#include "config/config.h"
#include "daemon/daemon.h"
#include "daemon/foreign_options.h"
#include "models/models.h"

/* ---- check ---- */

/* Names of other programs' files: what they are taken as, or that they do nothing. */
static void print_notes(const struct config *config)
{
    json_t *notes = foreign_options_notes(config), *note;
    size_t i;

    json_array_foreach(notes, i, note)
    {
        fprintf(stderr, "%s\n", json_string_value(note));
    }
    json_decref(notes);
}

/* What is allowed and yet worth a word. */
static void print_warnings(const struct config *config, const char *file)
{
    size_t i, j;
    json_t *model, *text;

    json_array_foreach(config_models(config), i, model)
    {
        struct validation v = validation_init();

        model_config_free(model_config_parse(model, &v));
        json_array_foreach(v.warnings, j, text)
        {
            fprintf(stderr, "%s:%d: model '%s': %s\n", file, config_model_line(config, i),
                    member_str(model, "id", "?"), json_string_value(text));
        }
        validation_finish(&v);
    }
    print_notes(config);
}

static int check(struct cli *cli, const char *given)
{
    _cleanup_(freep) char *file = daemon_config_path(given);
    struct config *config = NULL;
    struct error e = { 0 };
    size_t models;

    if (!file) {
        complain("config check needs a file");
        return error_kind(-EINVAL)->exit_code;
    }
    if (daemon_load_config(file, NULL, &config, &e) < 0) {
        complain("%s", e.text);
        return error_kind(-EINVAL)->exit_code;
    }
    print_warnings(config, file);
    models = json_array_size(config_models(config));
    if (cli->json) {
        printf("{\"ok\":true,\"models\":%zu}\n", models);
    } else {
        printf("%s is good, with %zu model%s\n", file, models, models == 1 ? "" : "s");
    }
    config_free(config);
    return 0;
}

/* ---- show ---- */

static const char *const headings[] = { "OPTION", "VALUE", "FROM" };

static void add_option_row(struct table *t, const char *section, const char *key,
                           const json_t *option)
{
    _cleanup_(freep) char *value =
        json_dumps(json_object_get(option, "value"), JSON_COMPACT | JSON_ENCODE_ANY);

    table_cell(t, "%s.%s", section, key);
    table_cell(t, "%s", value ? value : "");
    table_cell(t, "%s", member_str(option, "source", ""));
}

static int show(struct cli *cli)
{
    struct reply reply;
    struct table *t;
    const char *section, *key;
    json_t *options, *option;
    int code = cli_ask(cli, "GET", "/api/config", NULL, &reply);

    if (code != 0) {
        return code;
    }
    if (cli->json) {
        print_json(reply.json);
        reply_finish(&reply);
        return 0;
    }
    t = table_create(headings, ARRAY_SIZE(headings));
    json_object_foreach(json_object_get(reply.json, "options"), section, options)
    {
        json_object_foreach(options, key, option)
        {
            add_option_row(t, section, key, option);
        }
    }
    table_print(t, stdout, cli->color);
    table_free(t);
    reply_finish(&reply);
    return 0;
}

static int run(struct cli *cli)
{
    if (str_eq(cli->args[0], "check")) {
        return check(cli, cli->arg_count > 1 ? cli->args[1] : NULL);
    }
    if (str_eq(cli->args[0], "show")) {
        return show(cli);
    }
    if (str_eq(cli->args[0], "sample")) {
        return print_sample(cli);
    }
    complain("config: '%s' is none of check, show, sample", cli->args[0]);
    return error_kind(-EINVAL)->exit_code;
}

const struct command config_command = {
    "config",
    "check [FILE] | show | sample",
    "Checks a configuration file, shows what the daemon runs with, or prints a commented sample.",
    NULL,
    1,
    2,
    run,
    "check show sample",
};
