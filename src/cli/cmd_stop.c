// SPDX-License-Identifier: Apache-2.0
/* berth stop: stops a model, drained, and waits until it is down. */
#include <stdlib.h>

#include "base/mem.h"
#include "cli/commands.h"

// clang-format off
static const struct cli_option options[] = {
    { "no-wait", 0, NULL, "come back at once" },
    { NULL, 0, NULL, NULL },
};
// clang-format on

static int run(struct cli *cli)
{
    const bool wait = !cli_value(cli, "no-wait");
    _cleanup_(freep) char *path =
        cli_path("/api/models/", cli->args[0], wait ? "/stop?wait=1" : "/stop");
    struct reply reply;
    int code = cli_ask(cli, "POST", path, NULL, &reply);

    if (code != 0) {
        return code;
    }
    if (cli->json) {
        print_json(reply.json);
    } else {
        printf("%s is %s\n", cli->args[0], member_str(reply.json, "message", "stopped"));
    }
    reply_finish(&reply);
    return 0;
}

const struct command stop_command = {
    "stop", "MODEL", "Stops a model, drained, until it is started again.", options, 1, 1,
    run,    "MODEL",
};
