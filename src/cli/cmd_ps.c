// SPDX-License-Identifier: Apache-2.0
/* berth ps: the engines that run, or try to. */
#include <string.h>

#include "base/mem.h"
#include "cli/commands.h"

static const char *const headings[] = { "MODEL", "STATE", "PID",      "UP",        "SLOTS",
                                        "BUSY",  "LINE",  "RESTARTS", "LAST ERROR" };

static void add_row(const struct cli *cli, struct table *t, const json_t *inst)
{
    const json_t *uptime = json_object_get(inst, "uptime");
    const int64_t pid = member_int(inst, "pid");
    char up[AGE_SIZE] = "-";

    if (json_is_number(uptime)) {
        format_age(json_number_value(uptime), up);
    }
    table_cell(t, "%s", member_str(inst, "model", "?"));
    table_cell(t, "%s", paint_state(cli, member_str(inst, "state", "?")));
    if (pid > 0) {
        table_cell(t, "%lld", (long long)pid);
    } else {
        table_cell(t, "-");
    }
    table_cell(t, "%s", up);
    table_cell(t, "%lld", (long long)member_int(inst, "slots"));
    table_cell(t, "%lld", (long long)member_int(inst, "in_flight"));
    table_cell(t, "%lld", (long long)member_int(inst, "waiting"));
    table_cell(t, "%lld", (long long)member_int(inst, "restarts"));
    table_cell(t, "%s", member_str(inst, "last_error", ""));
}

static int run(struct cli *cli)
{
    struct reply reply;
    struct table *t;
    size_t i;
    json_t *inst;
    int code = cli_ask(cli, "GET", "/api/instances", NULL, &reply);

    if (code != 0) {
        return code;
    }
    if (cli->json) {
        print_json(reply.json);
    } else {
        t = table_create(headings, ARRAY_SIZE(headings));
        json_array_foreach(json_object_get(reply.json, "instances"), i, inst)
        {
            add_row(cli, t, inst);
        }
        table_print(t, stdout, cli->color);
        table_free(t);
    }
    reply_finish(&reply);
    return 0;
}

const struct command ps_command = {
    "ps", "", "Lists the running engines: state, process, load, last error.", NULL, 0, 0, run,
};
