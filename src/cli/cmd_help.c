// SPDX-License-Identifier: Apache-2.0
/* berth help, berth version. */
#include "base/str.h"
#include "cli/commands.h"
#include "daemon/daemon.h"

static int run_help(struct cli *cli)
{
    const struct command *near;

    if (cli->arg_count == 0) {
        cli_print_help(stdout);
        return 0;
    }
    for (size_t i = 0; cli_commands[i]; i++) {
        if (str_eq(cli_commands[i]->name, cli->args[0])) {
            cli_print_command_help(stdout, cli_commands[i]);
            return 0;
        }
    }
    near = cli_nearest(cli->args[0]);
    complain("there is no command '%s'%s%s%s", cli->args[0], near ? "; did you mean '" : "",
             near ? near->name : "", near ? "'?" : "");
    return error_kind(-EINVAL)->exit_code;
}

const struct command help_command = {
    "help", "[COMMAND]", "Says how berth, or one command, is used.", NULL, 0, 1, run_help,
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
