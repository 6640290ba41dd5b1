// SPDX-License-Identifier: Apache-2.0
/* berth models: the catalogue. */
#include <stdlib.h>

#include "base/mem.h"
#include "cli/commands.h"

static const char *const headings[] = { "ID",       "STATUS",    "REPLICAS", "ALIASES",
                                        "PRIORITY", "FRAMEWORK", "NAME",     "PATH" };

static void add_row(const struct cli *cli, struct table *t, const json_t *model)
{
    _cleanup_(freep) char *aliases = join_members(json_object_get(model, "aliases"), "-");
    const json_t *replicas = json_object_get(model, "replicas");

    table_cell(t, "%s", member_str(model, "id", "?"));
    table_cell(t, "%s", paint_state(cli, member_str(model, "status", "?")));
    table_cell(t, "%lld",
               (long long)(json_is_integer(replicas) ? json_integer_value(replicas) : 1));
    table_cell(t, "%s", aliases);
    table_cell(t, "%lld", (long long)member_int(model, "priority"));
    table_cell(t, "%s", member_str(model, "framework", ""));
    table_cell(t, "%s", member_str(model, "name", ""));
    table_cell(t, "%s", member_str(model, "model_path", ""));
}

static int run(struct cli *cli)
{
    return cli_list(cli, "/api/models/", NULL, headings, ARRAY_SIZE(headings), add_row);
}

const struct command models_command = {
    "models", "", "Lists the models that are defined, with their status.", NULL, 0, 0, run,
};
