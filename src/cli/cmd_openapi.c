// SPDX-License-Identifier: Apache-2.0
/* berth openapi: the description of every route, as GET /openapi.json gives it; no daemon is asked,
 * so that clients can be generated of the program alone. */
#include "cli/commands.h"
#include "daemon/daemon.h"

static int run(struct cli *cli)
{
    struct error e = { 0 };
    json_t *document;
    const int r = daemon_openapi(&document, &e);

    if (r < 0) {
        complain("%s", e.text);
        return error_kind(r)->exit_code;
    }
    print_json(document);
    json_decref(document);
    return 0;
}

const struct command openapi_command = {
    "openapi", "",  "Prints the OpenAPI document of all routes (no daemon is needed).", NULL, 0,
    0,         run,
};
