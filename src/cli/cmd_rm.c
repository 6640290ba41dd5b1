// SPDX-License-Identifier: Apache-2.0
/* berth rm: forgets a model; its engine is stopped. */
#include <stdlib.h>

#include "base/mem.h"
#include "cli/commands.h"

static int run(struct cli *cli)
{
    _cleanup_(freep) char *path = cli_path("/api/models/", cli->args[0], "?wait=1");
    struct reply reply;
    int code = cli_ask(cli, "DELETE", path, NULL, &reply);

    if (code != 0) {
        return code;
    }
    if (cli->json) {
        print_json(reply.json);
    } else {
        printf("%s is deleted\n", cli->args[0]);
    }
    reply_finish(&reply);
    return 0;
}

const struct command rm_command = {
    "rm", "MODEL", "Deletes a model's definition; its engine is stopped.", NULL, 1, 1, run, "MODEL",
};
