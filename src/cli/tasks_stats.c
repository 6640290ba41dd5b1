// SPDX-License-Identifier: Apache-2.0
/* Tables of what the queue has done and what stands in it. */
#include "cli/tasks_stats.h"

#include <stdlib.h>

#include "base/mem.h"
#include "cli/task_view.h"

enum { DAYS = 7, DAYS_MAX = 365 };

/* 0, or the exit code, having spoken; *ret is the `data` of the answer, owned by the caller. */
static int ask_data(struct cli *cli, const char *path, json_t **ret)
{
    struct reply reply;
    const int code = cli_ask(cli, "GET", path, NULL, &reply);

    if (code != 0) {
        return code;
    }
    *ret = json_incref(json_object_get(reply.json, "data"));
    reply_finish(&reply);
    return 0;
}

/* ---- statistics ---- */

static double average_ms(const json_t *row)
{
    return json_number_value(json_object_get(row, "avg_processing_ms"));
}

static void cell_number(struct table *t, const json_t *row, const char *member)
{
    table_cell(t, "%lld", (long long)member_int(row, member));
}

static const struct {
    const char *heading, *member;
} counters[] = {
    { "TOTAL", "total_tasks" },    { "PENDING", "pending_tasks" }, { "RUNNING", "running_tasks" },
    { "DONE", "completed_tasks" }, { "FAILED", "failed_tasks" },
};

/* The counters of each row, by what its member `key` says. */
static void print_counters(const struct cli *cli, const char *heading, const char *key,
                           const json_t *rows)
{
    const char *headings[ARRAY_SIZE(counters) + 3] = { heading };
    struct table *t;
    size_t i;
    json_t *row;

    for (size_t c = 0; c < ARRAY_SIZE(counters); c++) {
        headings[c + 1] = counters[c].heading;
    }
    headings[ARRAY_SIZE(counters) + 1] = "GOOD";
    headings[ARRAY_SIZE(counters) + 2] = "AVERAGE";
    t = table_create(headings, ARRAY_SIZE(headings));
    json_array_foreach(rows, i, row)
    {
        table_cell(t, "%s", member_str(row, key, "?"));
        for (size_t c = 0; c < ARRAY_SIZE(counters); c++) {
            cell_number(t, row, counters[c].member);
        }
        table_cell(t, "%.1f %%", json_number_value(json_object_get(row, "success_rate")));
        table_cell(t, "%.0f ms", average_ms(row));
    }
    table_print(t, stdout, cli->color);
    table_free(t);
}

static void print_days(const struct cli *cli, const json_t *rows)
{
    static const char *const headings[] = { "DAY", "TOTAL", "DONE", "FAILED", "AVERAGE" };
    struct table *t = table_create(headings, ARRAY_SIZE(headings));
    size_t i;
    json_t *row;

    json_array_foreach(rows, i, row)
    {
        table_cell(t, "%s", member_str(row, "date", "?"));
        cell_number(t, row, "total");
        cell_number(t, row, "completed");
        cell_number(t, row, "failed");
        table_cell(t, "%.0f ms", average_ms(row));
    }
    table_print(t, stdout, cli->color);
    table_free(t);
}

static void print_all(const struct cli *cli, const json_t *stats)
{
    const json_t *all = json_object_get(stats, "all");

    printf(
        "%lld tasks: %lld pending, %lld running, %lld completed, %lld failed, %lld cancelled\n",
        (long long)member_int(all, "total_tasks"), (long long)member_int(all, "pending_tasks"),
        (long long)member_int(all, "running_tasks"), (long long)member_int(all, "completed_tasks"),
        (long long)member_int(all, "failed_tasks"), (long long)member_int(all, "cancelled_tasks"));
    printf("%.1f %% good, %.0f ms on average\n\n",
           json_number_value(json_object_get(all, "success_rate")), average_ms(all));
    print_counters(cli, "MODEL", "model_name", json_object_get(stats, "by_model"));
    putchar('\n');
    print_counters(cli, "TYPE", "type", json_object_get(stats, "by_type"));
    putchar('\n');
    print_days(cli, json_object_get(stats, "by_date"));
}

static int ask_stats(struct cli *cli, uint64_t days, json_t *stats)
{
    _cleanup_(freep) char *by_date =
        xasprintf("/api/v1/stats/tasks/date?days=%llu", (unsigned long long)days);
    const struct {
        const char *name, *path;
    } parts[] = {
        { "all", "/api/v1/tasks/stats" },
        { "by_model", "/api/v1/stats/tasks/model" },
        { "by_type", "/api/v1/stats/tasks/type" },
        { "by_date", by_date },
    };

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        json_t *data;
        const int code = ask_data(cli, parts[i].path, &data);

        if (code != 0) {
            return code;
        }
        json_object_set_new(stats, parts[i].name, data);
    }
    return 0;
}

int tasks_print_stats(struct cli *cli)
{
    uint64_t days;
    json_t *stats;
    int code;

    if (cli_number(cli, "days", DAYS, &days) < 0 || days == 0 || days > DAYS_MAX) {
        complain("--days is 1 to %d", DAYS_MAX);
        return EXIT_WRONG;
    }
    stats = json_object();
    code = ask_stats(cli, days, stats);
    if (code == 0 && cli->json) {
        print_json(stats);
    } else if (code == 0) {
        print_all(cli, stats);
    }
    json_decref(stats);
    return code;
}

/* ---- types ---- */

static void add_type(const struct cli *cli, struct table *t, const json_t *type)
{
    table_cell(t, "%s", member_str(type, "name", "?"));
    table_cell(t, "%s", member_str(type, "endpoint", "-"));
    table_cell(t, "%s", member_str(type, "help", ""));
}

int tasks_print_types(struct cli *cli)
{
    static const char *const headings[] = { "TYPE", "ENDPOINT", "WHAT IT DOES" };

    return cli_list(cli, "/api/v1/task-types", "data", headings, ARRAY_SIZE(headings), add_type);
}
