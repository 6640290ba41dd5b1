// SPDX-License-Identifier: Apache-2.0
/* The tasks' half of `berth queue`: how many wait and run, by class and by model. */
#include <stdlib.h>

#include "base/mem.h"
#include "cli/task_view.h"
#include "cli/tasks_stats.h"

enum { OLDEST_ASKED = 50 }; /* models whose oldest task is asked for */

/* 0, or the exit code, having spoken; *ret is owned by the caller. */
static int ask_oldest(struct cli *cli, int64_t model_id, json_t **ret)
{
    _cleanup_(freep) char *path =
        xasprintf("/api/v1/tasks?status=pending&model_id=%lld&order_by=id&order=asc&page_size=1",
                  (long long)model_id);
    struct reply reply;
    const json_t *task;
    const int code = cli_ask(cli, "GET", path, NULL, &reply);

    if (code != 0) {
        return code;
    }
    task = json_array_get(answer_data(reply.json), 0);
    *ret = task ? json_incref(json_object_get(task, "created_at")) : json_null();
    reply_finish(&reply);
    return 0;
}

static bool has_tasks(const json_t *model)
{
    return member_int(model, "pending_tasks") > 0 || member_int(model, "running_tasks") > 0;
}

/* What `berth queue` shows of one model's tasks; members as the door calls them. */
static int add_model(struct cli *cli, json_t *models, const json_t *stats)
{
    static const char *const members[] = { "id",          "name",          "status",
                                           "max_workers", "pending_tasks", "running_tasks",
                                           "queue_status" };
    json_t *model = json_object(), *oldest = NULL;
    int code = 0;

    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        json_t *value = json_object_get(stats, members[i]);

        if (value) {
            json_object_set(model, members[i], value);
        }
    }
    if (member_int(stats, "pending_tasks") > 0 && json_array_size(models) < OLDEST_ASKED) {
        code = ask_oldest(cli, member_int(stats, "id"), &oldest);
    }
    json_object_set_new(model, "oldest", oldest ? oldest : json_null());
    json_array_append_new(models, model);
    return code;
}

int tasks_queue_json(struct cli *cli, json_t **ret)
{
    struct reply reply;
    const json_t *board;
    json_t *models;
    size_t i;
    json_t *model;
    int code = cli_ask(cli, "GET", "/api/v1/stats/dashboard", NULL, &reply);

    if (code != 0) {
        return code;
    }
    board = answer_data(reply.json);
    models = json_array();
    json_array_foreach(json_object_get(board, "model_stats"), i, model)
    {
        code = code == 0 && has_tasks(model) ? add_model(cli, models, model) : code;
    }
    if (code == 0) {
        *ret = json_pack("{s:O, s:O}", "queue_status", json_object_get(board, "queue_status"),
                         "models", models);
    }
    json_decref(models);
    reply_finish(&reply);
    return code;
}

static void add_row(const struct cli *cli, struct table *t, const json_t *model)
{
    const json_t *by_class = json_object_get(model, "queue_status");
    char age[AGE_SIZE];

    format_since(member_str(model, "oldest", NULL), age);
    table_cell(t, "%s", member_str(model, "name", "?"));
    table_cell(t, "%s", paint_state(cli, member_str(model, "status", "?")));
    table_cell(t, "%lld", (long long)member_int(by_class, "high_priority_count"));
    table_cell(t, "%lld", (long long)member_int(by_class, "medium_priority_count"));
    table_cell(t, "%lld", (long long)member_int(by_class, "low_priority_count"));
    table_cell(t, "%lld", (long long)member_int(by_class, "delayed_count"));
    table_cell(t, "%lld", (long long)member_int(model, "running_tasks"));
    table_cell(t, "%lld", (long long)member_int(model, "max_workers"));
    table_cell(t, "%s", age);
}

void tasks_print_queue(const struct cli *cli, const json_t *queue)
{
    static const char *const headings[] = { "TASKS OF", "STATUS",  "HIGH",    "MEDIUM", "LOW",
                                            "DELAYED",  "RUNNING", "WORKERS", "OLDEST" };
    const json_t *models = json_object_get(queue, "models");
    const json_t *all = json_object_get(queue, "queue_status");
    struct table *t;
    size_t i;
    json_t *model;

    if (json_array_size(models) == 0) {
        printf("no tasks wait or run\n");
        return;
    }
    t = table_create(headings, ARRAY_SIZE(headings));
    json_array_foreach(models, i, model)
    {
        add_row(cli, t, model);
    }
    table_print(t, stdout, cli->color);
    table_free(t);
    printf("%lld waiting, %lld running\n",
           (long long)(member_int(all, "total_count") - member_int(all, "processing_count")),
           (long long)member_int(all, "processing_count"));
}
