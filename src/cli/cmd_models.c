// SPDX-License-Identifier: Apache-2.0
/* berth models: the catalogue. */
#include "cli/commands.h"

static const char *const headings[] = { "ID", "STATUS", "PRIORITY", "FRAMEWORK", "NAME", "PATH" };

static int run(struct cli *cli)
{
    struct reply reply;
    struct table *t;
    size_t i;
    json_t *model;
    int code = cli_ask(cli, "GET", "/api/models/", NULL, &reply);

    if (code != 0) {
        return code;
    }
    if (cli->json) {
        print_json(reply.json);
        reply_finish(&reply);
        return 0;
    }
    t = table_create(headings, ARRAY_SIZE(headings));
    json_array_foreach(reply.json, i, model)
    {
        table_cell(t, "%s", member_str(model, "id", "?"));
        table_cell(t, "%s", paint_state(cli, member_str(model, "status", "?")));
        table_cell(t, "%lld", (long long)member_int(model, "priority"));
        table_cell(t, "%s", member_str(model, "framework", ""));
        table_cell(t, "%s", member_str(model, "name", ""));
        table_cell(t, "%s", member_str(model, "model_path", ""));
    }
    table_print(t, stdout, cli->color);
    table_free(t);
    reply_finish(&reply);
    return 0;
}

const struct command models_command = {
    "models", "", "Lists the models that are defined, with their status.", NULL, 0, 0, run,
};
