// SPDX-License-Identifier: Apache-2.0
/*
 * berth tasks: the durable tasks: all of them, one of them, and what can be done with them. The
 * first word says what: a task's number shows it, a verb takes the numbers after it.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/task_view.h"
#include "cli/tasks_verbs.h"

// clang-format off
static const struct cli_option options[] = {
    { "status",  's', "pending|running|completed|failed|cancelled", "only those in this state" },
    { "model",   'm', "MODEL", "only those of this model" },
    { "type",    't', "TYPE",  "only those of this type" },
    { "dead",    0,   NULL,    "only dead letters: failed with all tries used up" },
    { "lines",   'n', "N",     "how many of the newest, at most 100 (default: 20)" },
    { "watch",   'w', NULL,    "of one task: stay until it has ended, then as submit --wait does; of all: print what changes, until you end it" },
    { "again",   0,   NULL,    "retry: also one that has used its tries up; it begins with all of them" },
    { "days",    'd', "N",     "stats: of how many days (default: 7)" },
    { NULL, 0, NULL, NULL },
};
// clang-format on

enum { LINES = 20, LINES_MAX = 100 };

static const char *const headings[] = { "ID",      "MODEL", "TYPE", "STATUS", "PRIORITY",
                                        "RETRIES", "AGE",   "TOOK", "NOTE" };

/* ---- the list ---- */

static void add_row(const struct cli *cli, struct table *t, const json_t *task)
{
    _cleanup_(freep) char *note = task_note(task);
    char age[AGE_SIZE], took[AGE_SIZE];

    format_since(member_str(task, "created_at", NULL), age);
    format_between(member_str(task, "started_at", NULL), member_str(task, "completed_at", NULL),
                   took);
    table_cell(t, "%lld", (long long)member_int(task, "id"));
    table_cell(t, "%s", task_model(task));
    table_cell(t, "%s", member_str(task, "type", "?"));
    table_cell(t, "%s", paint_state(cli, member_str(task, "status", "?")));
    table_cell(t, "%s", priority_name(member_int(task, "priority")));
    table_cell(t, "%lld", (long long)member_int(task, "retry_count"));
    table_cell(t, "%s", age);
    table_cell(t, "%s", took);
    table_cell(t, "%s", note ? note : "");
}

/* Adds "&name=value" when there is one. */
static void add_filter(struct buf *b, const char *name, const char *value)
{
    _cleanup_(freep) char *text = value ? cli_path("=", value, "") : NULL;

    if (text) {
        buf_printf(b, "&%s%s", name, text);
    }
}

static void put_filters(const struct cli *cli, struct buf *path)
{
    add_filter(path, "status", cli_value(cli, "status"));
    add_filter(path, "type", cli_value(cli, "type"));
    add_filter(path, "dead_letter", cli_value(cli, "dead") ? "true" : NULL);
    add_filter(path, "model", cli_value(cli, "model"));
}

static int list(struct cli *cli)
{
    struct buf path = BUF_INIT(4096);
    uint64_t lines;
    int code;

    if (cli_number(cli, "lines", LINES, &lines) < 0 || lines == 0 || lines > LINES_MAX) {
        complain("--lines is 1 to %d", LINES_MAX);
        return EXIT_WRONG;
    }
    buf_printf(&path, "/api/v1/tasks?page_size=%llu", (unsigned long long)lines);
    put_filters(cli, &path);
    code = cli_list(cli, buf_data(&path), "data", headings, ARRAY_SIZE(headings), add_row);
    buf_finish(&path);
    return code;
}

/* ---- what changes ---- */

static void on_change(void *arg, const json_t *change)
{
    const struct cli *cli = arg;
    const json_t *task = json_object_get(change, "task");
    const char *error = member_str(task, "error_message", NULL);
    const bool removed = json_is_true(json_object_get(change, "removed"));

    if (cli->json) {
        print_json(change);
    } else if (task) {
        printf("%s task %lld %-9s %s %s%s%s\n", member_str(task, "updated_at", "?"),
               (long long)member_int(task, "id"),
               removed ? "removed" : member_str(task, "status", "?"), task_model(task),
               member_str(task, "type", "?"), error ? ": " : "", error ? error : "");
    }
}

static int watch_all(struct cli *cli)
{
    return cli_follow_events(cli, "/api/events?kind=task", on_change, cli);
}

/* ---- the way in ---- */

static int no_verb(const char *word)
{
    complain("tasks: '%s' is neither a task's number nor one of cancel, retry, priority, logs, rm, "
             "stats, types",
             word);
    return EXIT_WRONG;
}

static int run(struct cli *cli)
{
    const char *word = cli->arg_count > 0 ? cli->args[0] : NULL;
    const struct task_verb *verb = word ? task_verb_find(word) : NULL;

    if (!word) {
        return cli_value(cli, "watch") ? watch_all(cli) : list(cli);
    }
    if (verb) {
        return task_verb_run(cli, verb);
    }
    if (!isdigit((unsigned char)word[0])) {
        return no_verb(word);
    }
    return task_show_all(cli, cli_value(cli, "watch"));
}

const struct command tasks_command = {
    "tasks",
    "[ID…] | cancel ID… | retry ID… | priority low|medium|high ID… | logs ID… | rm ID… | stats | "
    "types",
    "Lists the durable tasks, shows one, and cancels, retries, moves or removes them.",
    options,
    0,
    CLI_ARGS_MAX,
    run,
    "cancel retry priority logs rm stats types TASK",
    "TASK",
};
