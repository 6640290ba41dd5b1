// SPDX-License-Identifier: Apache-2.0
/* berth queue: the models that are wanted and wait for room, the next one first. */
#include "base/mem.h"
#include "cli/commands.h"

static const char *const headings[] = { "POSITION", "MODEL", "PRIORITY", "STATE",
                                        "WAITING",  "START", "WHY" };

static void add_row(const struct cli *cli, struct table *t, const json_t *model)
{
    const double waiting = json_number_value(json_object_get(model, "waiting"));
    char since[AGE_SIZE] = "-", start[AGE_SIZE];

    if (waiting > 0) {
        format_age(waiting, since);
    }
    table_cell(t, "%lld", (long long)member_int(model, "queue_position"));
    table_cell(t, "%s", member_str(model, "id", "?"));
    table_cell(t, "%lld", (long long)member_int(model, "priority"));
    table_cell(t, "%s", paint_state(cli, member_str(model, "status", "?")));
    table_cell(t, "%s", since);
    if (format_until(member_str(model, "estimated_start_time", NULL), start)) {
        table_cell(t, "in %s", start);
    } else {
        table_cell(t, "-");
    }
    table_cell(t, "%s", member_str(model, "reason", ""));
}

static int run(struct cli *cli)
{
    return cli_list(cli, "/api/v1/scheduler/queue", "queue", headings, ARRAY_SIZE(headings),
                    add_row);
}

const struct command queue_command = {
    "queue",
    "",
    "Lists the models that are on their way or wait for room: how long, until when, and why.",
    NULL,
    0,
    0,
    run,
};
