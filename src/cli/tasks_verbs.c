// SPDX-License-Identifier: Apache-2.0
/* The table of the verbs of `berth tasks`, and showing a task. */
#include "cli/tasks_verbs.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/task_view.h"
#include "cli/tasks_stats.h"

enum { TEXT_SHOWN_BYTES = 400, LOG_LINES = 10 };

/* ---- one task ---- */

static void print_text(const char *label, const char *text)
{
    const size_t n = text ? strlen(text) : 0;
    size_t shown = MIN_OF(n, (size_t)TEXT_SHOWN_BYTES);

    if (!text) {
        return;
    }
    while (shown < n && shown > 0 && ((unsigned char)text[shown] & 0xc0) == 0x80) {
        shown--; /* whole characters */
    }
    print_line(label, "%.*s%s", (int)shown, text, shown < n ? " …" : "");
}

static void print_log(const json_t *entry)
{
    const json_t *data = json_object_get(entry, "data");
    _cleanup_(freep) char *text =
        json_is_object(data) && json_object_size(data) > 0 ? json_dumps(data, JSON_COMPACT) : NULL;
    _cleanup_(freep) char *message = xstrdup(member_str(entry, "message", ""));

    make_printable(message, "");
    printf("%s %-5s %s%s%s\n", member_str(entry, "created_at", "?"),
           member_str(entry, "level", "?"), message, text ? " " : "", text ? text : "");
}

static void print_times(const json_t *task)
{
    char took[AGE_SIZE];

    print_line("created", "%s", member_str(task, "created_at", "?"));
    if (member_str(task, "started_at", NULL)) {
        print_line("started", "%s", member_str(task, "started_at", "?"));
    }
    if (member_str(task, "completed_at", NULL)) {
        format_between(member_str(task, "started_at", NULL), member_str(task, "completed_at", NULL),
                       took);
        print_line("ended", "%s (%s)", member_str(task, "completed_at", "?"), took);
    }
}

static void print_task(const struct cli *cli, const json_t *task)
{
    const json_t *logs = json_object_get(task, "logs");
    const size_t count = json_array_size(logs);
    const bool dead = json_is_true(json_object_get(task, "dead_letter"));
    _cleanup_(freep) char *note = task_note(task);

    printf("task %lld: %s%s\n", (long long)member_int(task, "id"),
           paint_state(cli, member_str(task, "status", "?")), dead ? ", a dead letter" : "");
    print_line("model", "%s", task_model(task));
    print_line("type", "%s", member_str(task, "type", "?"));
    print_line("priority", "%s", priority_name(member_int(task, "priority")));
    print_line("retries", "%lld of %lld", (long long)member_int(task, "retry_count"),
               (long long)member_int(task, "max_retries"));
    print_times(task);
    if (note && note[0]) {
        print_line(str_eq(member_str(task, "status", ""), "pending") ? "waits" : "error", "%s",
                   note);
    }
    print_text("input", json_string_value(json_object_get(task, "input")));
    print_text("output", json_string_value(json_object_get(task, "output")));
    for (size_t i = count > LOG_LINES ? count - LOG_LINES : 0; i < count; i++) {
        print_log(json_array_get(logs, i));
    }
}

/* Asks for one task. 0, or the exit code, having spoken; *ret is to be finished only after 0. */
static int get_task(struct cli *cli, const char *id, struct reply *ret)
{
    _cleanup_(freep) char *path = task_path(id, "");

    return path ? cli_ask(cli, "GET", path, NULL, ret) : EXIT_WRONG;
}

static int show(struct cli *cli, const char *id)
{
    struct reply reply;
    const int code = get_task(cli, id, &reply);

    if (code != 0) {
        return code;
    }
    if (cli->json) {
        print_json(answer_data(reply.json));
    } else {
        print_task(cli, answer_data(reply.json));
    }
    reply_finish(&reply);
    return 0;
}

static int watch_one(struct cli *cli, const char *id)
{
    _cleanup_(freep) char *path = task_path(id, "");

    return path ? task_wait(cli, strtoll(id, NULL, 10), 0) : EXIT_WRONG;
}

int task_show_all(struct cli *cli, bool watch)
{
    int first = 0;

    for (int i = 0; i < cli->arg_count; i++) {
        const int code = watch ? watch_one(cli, cli->args[i]) : show(cli, cli->args[i]);

        first = first ? first : code;
    }
    return first;
}

/* ---- verbs on one task ---- */

/* Tells of a change: the answer as it is (--json), or that the task is done with. */
static int change(struct cli *cli, const char *method, const char *path, json_t *body,
                  const char *id, const char *what)
{
    struct reply reply;
    const int code = path ? cli_ask(cli, method, path, body, &reply) : EXIT_WRONG;

    if (code != 0) {
        return code;
    }
    if (cli->json) {
        print_json(reply.json);
    } else {
        printf("task %s is %s\n", id, what);
    }
    reply_finish(&reply);
    return 0;
}

static int cancel(struct cli *cli, const char *id)
{
    _cleanup_(freep) char *path = task_path(id, "");

    return change(cli, "DELETE", path, NULL, id, "cancelled");
}

static int retry(struct cli *cli, const char *id)
{
    const bool again = cli_value(cli, "again");
    _cleanup_(freep) char *path = task_path(id, again ? "/retry?again=true" : "/retry");

    return change(cli, "POST", path, NULL, id, "pending again");
}

static int forget(struct cli *cli, const char *id)
{
    _cleanup_(freep) char *path = task_path(id, "?purge=true");

    return change(cli, "DELETE", path, NULL, id, "removed");
}

static int logs(struct cli *cli, const char *id)
{
    struct reply reply;
    const json_t *all;
    size_t i;
    json_t *entry;
    const int code = get_task(cli, id, &reply);

    if (code != 0) {
        return code;
    }
    all = json_object_get(answer_data(reply.json), "logs");
    if (cli->json) {
        print_json(all);
    } else {
        json_array_foreach(all, i, entry)
        {
            print_log(entry);
        }
    }
    reply_finish(&reply);
    return 0;
}

/* ---- the verbs ---- */

struct task_verb {
    const char *name;
    int (*one)(struct cli *cli, const char *id); /* for each task */
    int (*run)(struct cli *cli);                 /* or all at once */
};

static int each(struct cli *cli, int from, int (*one)(struct cli *cli, const char *id))
{
    int first = 0;

    for (int i = from; i < cli->arg_count; i++) {
        const int code = one(cli, cli->args[i]);

        first = first ? first : code;
    }
    return first;
}

static int priority(struct cli *cli)
{
    const char *word = cli->arg_count > 1 ? cli->args[1] : "";
    const int wanted = priority_from_string(word);
    json_t *body;
    int first = 0;

    if (wanted == 0 || cli->arg_count < 3) {
        complain("tasks priority needs low, medium or high, and the tasks' numbers");
        return EXIT_WRONG;
    }
    body = json_pack("{s:i}", "priority", wanted);
    for (int i = 2; i < cli->arg_count; i++) {
        _cleanup_(freep) char *path = task_path(cli->args[i], "/priority");
        _cleanup_(freep) char *what = xasprintf("of %s priority", priority_name(wanted));
        const int code = change(cli, "PUT", path, body, cli->args[i], what);

        first = first ? first : code;
    }
    json_decref(body);
    return first;
}

// clang-format off
static const struct task_verb verbs[] = {
    { "cancel",   cancel, NULL },
    { "retry",    retry,  NULL },
    { "priority", NULL,   priority },
    { "logs",     logs,   NULL },
    { "rm",       forget, NULL },
    { "stats",    NULL,   tasks_print_stats },
    { "types",    NULL,   tasks_print_types },
};
// clang-format on

const struct task_verb *task_verb_find(const char *word)
{
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        if (str_eq(verbs[i].name, word)) {
            return &verbs[i];
        }
    }
    return NULL;
}

int task_verb_run(struct cli *cli, const struct task_verb *verb)
{
    if (verb->run) {
        return verb->run(cli);
    }
    if (cli->arg_count < 2) {
        complain("tasks %s needs the numbers of tasks", verb->name);
        return EXIT_WRONG;
    }
    return each(cli, 1, verb->one);
}
