// SPDX-License-Identifier: Apache-2.0
/* berth logs: the engine's own log. */
#include <stdlib.h>

#include "base/mem.h"
#include "cli/commands.h"

// clang-format off
static const struct cli_option options[] = {
    { "lines",  'n', "N",  "how many lines (default: 100)" },
    { "follow", 'f', NULL, "stay and print what comes, across restarts of the engine" },
    { NULL, 0, NULL, NULL },
};
// clang-format on

static void on_data(void *arg, const char *p, size_t n)
{
    fwrite(p, 1, n, stdout);
    flush_or_end();
}

static int run_json(struct cli *cli, const char *path)
{
    struct reply reply;
    json_t *json;
    int code = cli_ask(cli, "GET", path, NULL, &reply);

    if (code != 0) {
        return code;
    }
    json = json_pack("{s:s, s:s}", "model_id", cli->args[0], "log", reply.body);
    if (json) {
        print_json(json);
        json_decref(json);
    } else {
        complain("the log is not valid UTF-8");
        code = 1;
    }
    reply_finish(&reply);
    return code;
}

static int run(struct cli *cli)
{
    const bool follow = cli_value(cli, "follow") != NULL;
    _cleanup_(freep) char *base = cli_path("/api/models/", cli->args[0], "/logs"), *path = NULL;
    uint64_t lines;

    if (cli_number(cli, "lines", 100, &lines) < 0) {
        return 2;
    }
    path = xasprintf("%s?lines=%llu%s", base, (unsigned long long)lines, follow ? "&follow=1" : "");
    if (cli->json && !follow) {
        return run_json(cli, path);
    }
    return cli_stream(cli, path, NULL, on_data, NULL);
}

const struct command logs_command = {
    "logs", "MODEL", "Prints what the model's engine wrote into its log.", options, 1, 1,
    run,    "MODEL",
};
