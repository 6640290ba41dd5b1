// SPDX-License-Identifier: Apache-2.0
/* berth serve: becomes the daemon, in the foreground. */
#include "cli/commands.h"
#include "daemon/daemon.h"

// clang-format off
static const struct cli_option options[] = {
    { "config", 'c', "FILE", "the configuration (default: ./berth.yaml, then /etc/berth/berth.yaml, then none)" },
    { "listen", 'l', "ADDR", "listen there instead of at server.listen: 127.0.0.1:8080, [::1]:8080, :8080; several with commas" },
    { NULL, 0, NULL, NULL },
};
// clang-format on

static int run(struct cli *cli)
{
    const char *listen = cli_value(cli, "listen");
    const char *addresses[] = { listen, NULL };
    const struct daemon_options daemon = {
        .config_path = cli_value(cli, "config"),
        .data_dir = cli->data_dir,
        .listen = listen ? addresses : NULL,
    };

    return daemon_run(&daemon);
}

const struct command serve_command = {
    "serve", "",  "Starts the daemon, in the foreground; SIGTERM ends it, drained.", options, 0,
    0,       run,
};
