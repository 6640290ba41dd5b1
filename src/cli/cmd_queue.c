// SPDX-License-Identifier: Apache-2.0
/* berth queue: what waits: the models that are wanted and have no room yet, the next one first, and
 * the tasks by class and model. */
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/tasks_stats.h"

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

static void print_models(const struct cli *cli, const json_t *queue)
{
    struct table *t;
    size_t i;
    json_t *model;

    if (json_array_size(queue) == 0) {
        printf("no model waits for room\n");
        return;
    }
    t = table_create(headings, ARRAY_SIZE(headings));
    json_array_foreach(queue, i, model)
    {
        add_row(cli, t, model);
    }
    table_print(t, stdout, cli->color);
    table_free(t);
}

static int run(struct cli *cli)
{
    struct reply reply;
    json_t *tasks;
    int code = cli_ask(cli, "GET", "/api/v1/scheduler/queue", NULL, &reply);

    if (code != 0) {
        return code;
    }
    code = tasks_queue_json(cli, &tasks);
    if (code == 0 && cli->json) {
        json_object_set(reply.json, "tasks", tasks);
        print_json(reply.json);
    } else if (code == 0) {
        print_models(cli, json_object_get(reply.json, "queue"));
        putchar('\n');
        tasks_print_queue(cli, tasks);
    }
    if (code == 0) {
        json_decref(tasks);
    }
    reply_finish(&reply);
    return code;
}

const struct command queue_command = {
    "queue",
    "",
    "Lists the models that wait for room, how long and why, and the tasks that wait, by class.",
    NULL,
    0,
    0,
    run,
};
