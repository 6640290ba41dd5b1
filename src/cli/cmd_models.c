// SPDX-License-Identifier: Apache-2.0
/* berth models: the catalogue. */
#include <stdlib.h>

#include "base/mem.h"
#include "cli/commands.h"

static const char *const headings[] = { "ID",       "STATUS",    "REPLICAS", "ALIASES",
                                        "PRIORITY", "FRAMEWORK", "NAME",     "PATH" };

enum { ALIASES_MAX_BYTES = 64 * 1024 };

/* "a, b", owned by the caller; "-" when there are none. */
static char *aliases_of(const json_t *model)
{
    struct buf b = BUF_INIT(ALIASES_MAX_BYTES);
    size_t i;
    json_t *alias;

    json_array_foreach(json_object_get(model, "aliases"), i, alias)
    {
        buf_printf(&b, "%s%s", i > 0 ? ", " : "", json_string_value(alias));
    }
    if (b.len == 0) {
        buf_puts(&b, "-");
    }
    return buf_take(&b, NULL);
}

static void add_row(const struct cli *cli, struct table *t, const json_t *model)
{
    _cleanup_(freep) char *aliases = aliases_of(model);
    const json_t *replicas = json_object_get(model, "replicas");

    table_cell(t, "%s", member_str(model, "id", "?"));
    table_cell(t, "%s", paint_state(cli, member_str(model, "status", "?")));
    table_cell(t, "%lld",
               (long long)(json_is_integer(replicas) ? json_integer_value(replicas) : 1));
    table_cell(t, "%s", aliases ? aliases : "-");
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
