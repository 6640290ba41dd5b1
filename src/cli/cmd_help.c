// SPDX-License-Identifier: Apache-2.0
/* berth help, berth version. */
#include "base/str.h"
#include "cli/commands.h"
#include "daemon/daemon.h"

static json_t *option_json(const struct cli_option *o)
{
    return json_pack("{s:s, s:s?, s:s}", "name", o->name, "takes", o->arg, "help", o->help);
}

static json_t *command_json(const struct command *c)
{
    json_t *options = json_array();

    for (const struct cli_option *o = c->options; o && o->name; o++) {
        json_array_append_new(options, option_json(o));
    }
    return json_pack("{s:s, s:s, s:s, s:o}", "name", c->name, "args", c->args, "help", c->help,
                     "options", options);
}

static int print_all(const struct cli *cli)
{
    json_t *list;

    if (!cli->json) {
        cli_print_help(stdout);
        return 0;
    }
    list = json_array();
    for (size_t i = 0; cli_commands[i]; i++) {
        json_array_append_new(list, command_json(cli_commands[i]));
    }
    print_json(list);
    json_decref(list);
    return 0;
}

static int print_one(const struct cli *cli, const struct command *command)
{
    json_t *json;

    if (!cli->json) {
        cli_print_command_help(stdout, command);
        return 0;
    }
    json = command_json(command);
    print_json(json);
    json_decref(json);
    return 0;
}

static int run_help(struct cli *cli)
{
    const struct command *near, *command;

    if (cli->arg_count == 0) {
        return print_all(cli);
    }
    command = cli_find_command(cli->args[0]);
    if (command) {
        return print_one(cli, command);
    }
    near = cli_nearest(cli->args[0]);
    complain("there is no command '%s'%s%s%s", cli->args[0], near ? "; did you mean '" : "",
             near ? near->name : "", near ? "'?" : "");
    return error_kind(-EINVAL)->exit_code;
}

const struct command help_command = {
    "help",   "[COMMAND]", "Says how berth, or one command, is used.", NULL, 0, 1,
    run_help, "COMMAND",
};

static int run_version(struct cli *cli)
{
    if (cli->json) {
        printf("{\"name\":\"berth\",\"version\":\"%s\"}\n", BERTH_VERSION);
    } else {
        printf("berth %s\n", BERTH_VERSION);
    }
    return 0;
}

const struct command version_command = {
    "version", "", "Says which berth this is.", NULL, 0, 0, run_version,
};
