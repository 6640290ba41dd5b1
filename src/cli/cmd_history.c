// SPDX-License-Identifier: Apache-2.0
/* berth history: what placement decided: placed, moved aside, brought back, refused. */
#include <stdlib.h>

#include "base/mem.h"
#include "cli/commands.h"

// clang-format off
static const struct cli_option options[] = {
    { "lines", 'n', "N", "how many at most, the newest first (default: 20)" },
    { "hours", 0,   "H", "no older than this many hours (default: 24)" },
    { NULL, 0, NULL, NULL },
};
// clang-format on

static const char *const headings[] = { "TIME",   "MODEL", "DECISION", "DEVICES",
                                        "RESULT", "TOOK",  "WHY" };

static void add_row(const struct cli *cli, struct table *t, const json_t *entry)
{
    _cleanup_(freep) char *devices = join_members(json_object_get(entry, "gpu_devices"), "-");

    table_cell(t, "%s", member_str(entry, "timestamp", "?"));
    table_cell(t, "%s", member_str(entry, "model_id", "?"));
    table_cell(t, "%s", member_str(entry, "decision", "?"));
    table_cell(t, "%s", devices);
    table_cell(t, "%s", paint_state(cli, member_str(entry, "result", "?")));
    if (json_is_true(json_object_get(entry, "ended"))) {
        table_cell(t, "%.1fs", json_number_value(json_object_get(entry, "duration")));
    } else {
        table_cell(t, "-");
    }
    table_cell(t, "%s", member_str(entry, "reason", ""));
}

static int run(struct cli *cli)
{
    _cleanup_(freep) char *model = NULL, *path = NULL;
    uint64_t lines, hours;

    if (cli_number(cli, "lines", 20, &lines) < 0 || cli_number(cli, "hours", 24, &hours) < 0) {
        return error_kind(-EINVAL)->exit_code;
    }
    model = cli->arg_count > 0 ? cli_path("&model_id=", cli->args[0], "") : xstrdup("");
    path = xasprintf("/api/v1/scheduler/history?limit=%llu&hours=%llu%s", (unsigned long long)lines,
                     (unsigned long long)hours, model);
    return cli_list(cli, path, "history", headings, ARRAY_SIZE(headings), add_row);
}

const struct command history_command = {
    "history",
    "[MODEL]",
    "Lists what placement decided: placed, moved aside, brought back, refused.",
    options,
    0,
    1,
    run,
    "MODEL",
};
