// SPDX-License-Identifier: Apache-2.0
/*
 * berth submit: puts a task into the durable queue. Once it says a number, the task is stored and
 * will be done, whatever happens to berth or to this terminal.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/task_view.h"

enum { INPUT_MAX_BYTES = 64 * 1024 * 1024 };

// clang-format off
static const struct cli_option options[] = {
    { "type",     't', "TYPE", "what is to be done, such as summarization; 'berth tasks types' lists them (default: text-generation)" },
    { "priority", 'p', "low|medium|high", "its class, also as 1 to 3 (default: medium); a higher one always goes first" },
    { "option",   'o', "KEY=VALUE", "a value for the type's template, such as language=French; may be given several times" },
    { "delay",    0,   "DURATION", "not before this time has passed, such as 30s or 2h" },
    { "retries",  0,   "N",    "how often it is tried again (default: queue.max_retries)" },
    { "attempt",  0,   "DURATION", "how long one try may take (default: queue.task_timeout)" },
    { "webhook",  0,   "URL",  "this is told when it has ended; webhooks.allow must name its host" },
    { "idempotency-key", 0, "KEY", "submitted again with this key it is the same task, not another one" },
    { "wait",     'w', NULL,   "stay until it has ended and print its output; the exit code is 0 only when it is completed" },
    { "timeout",  0,   "DURATION", "with --wait: stay no longer than this; the task goes on" },
    { NULL, 0, NULL, NULL },
};
// clang-format on

/* ---- the input ---- */

/* All of it into b. 0 or the exit code, having spoken. */
static int read_stream(FILE *in, const char *name, struct buf *b)
{
    char piece[16 * 1024];
    size_t n;

    while ((n = fread(piece, 1, sizeof(piece), in)) > 0) {
        if (buf_append(b, piece, n) < 0) {
            complain("%s has more than %d MiB", name, INPUT_MAX_BYTES >> 20);
            return EXIT_WRONG;
        }
    }
    if (ferror(in)) {
        complain("cannot read %s: %s", name, strerror(errno));
        return 1;
    }
    return 0;
}

static int read_file(const char *path, struct buf *b)
{
    FILE *in = fopen(path, "re");
    int code;

    if (!in) {
        complain("cannot read %s: %s", path, strerror(errno));
        return EXIT_ABSENT;
    }
    code = read_stream(in, path, b);
    fclose(in);
    return code;
}

/* The text, "@FILE", or what comes on stdin ("-", or nothing said). */
static int read_input(const struct cli *cli, struct buf *b)
{
    const char *word = cli->arg_count > 1 ? cli->args[1] : NULL;

    if (word && word[0] == '@') {
        return read_file(word + 1, b);
    }
    if (word && !str_eq(word, "-")) {
        buf_puts(b, word);
        return 0;
    }
    if (!word && isatty(STDIN_FILENO)) {
        complain("submit needs its input: a text, @FILE, or - for what comes on stdin");
        return EXIT_WRONG;
    }
    return read_stream(stdin, "stdin", b);
}

/* ---- the order ---- */

static int put_options(const struct cli *cli, json_t *order)
{
    json_t *members = json_object();
    const char *word;
    int cursor = 0;

    while ((word = cli_next_value(cli, "option", &cursor))) {
        _cleanup_(freep) char *key = NULL;
        json_t *value = read_pair("--option", word, &key);

        if (!value) {
            json_decref(members);
            return EXIT_WRONG;
        }
        json_object_set_new(members, key, value);
    }
    if (json_object_size(members) > 0) {
        json_object_set(order, "options", members);
    }
    json_decref(members);
    return 0;
}

static int put_priority(const struct cli *cli, json_t *order)
{
    const char *word = cli_value(cli, "priority");
    const int priority = word ? priority_from_string(word) : PRIORITY_MEDIUM;

    if (priority == 0) {
        complain("--priority: '%s' is none of low, medium, high", word);
        return EXIT_WRONG;
    }
    json_object_set_new(order, "priority", json_integer(priority));
    return 0;
}

/* Seconds, as the door takes it. */
static int put_duration(const struct cli *cli, json_t *order, const char *option,
                        const char *member)
{
    uint64_t ms;

    if (cli_duration(cli, option, &ms) < 0) {
        return EXIT_WRONG;
    }
    if (cli_value(cli, option)) {
        json_object_set_new(order, member, json_real((double)ms / 1000));
    }
    return 0;
}

static int put_retries(const struct cli *cli, json_t *order)
{
    uint64_t retries;

    if (cli_number(cli, "retries", 0, &retries) < 0) {
        return EXIT_WRONG;
    }
    if (cli_value(cli, "retries")) {
        json_object_set_new(order, "max_retries",
                            json_integer((json_int_t)MIN_OF(retries, INT32_MAX)));
    }
    return 0;
}

static int put_input(const struct cli *cli, json_t *order)
{
    struct buf b = BUF_INIT(INPUT_MAX_BYTES);
    int code = read_input(cli, &b);
    json_t *text = code == 0 ? json_stringn(buf_data(&b), b.len) : NULL;

    buf_finish(&b);
    if (code == 0 && !text) {
        complain("the input is no UTF-8 text");
        return EXIT_WRONG;
    }
    if (code == 0) {
        json_object_set_new(order, "input", text);
    }
    return code;
}

/* 0 or the exit code, having spoken. */
static int fill_order(const struct cli *cli, json_t *order)
{
    const char *type = cli_value(cli, "type"), *webhook = cli_value(cli, "webhook");
    int code;

    json_object_set_new(order, "model", json_string(cli->args[0]));
    json_object_set_new(order, "type", json_string(type ? type : "text-generation"));
    if (webhook) {
        json_object_set_new(order, "webhook", json_string(webhook));
    }
    code = put_options(cli, order);
    code = code == 0 ? put_priority(cli, order) : code;
    code = code == 0 ? put_duration(cli, order, "delay", "delay") : code;
    code = code == 0 ? put_duration(cli, order, "attempt", "timeout") : code;
    code = code == 0 ? put_retries(cli, order) : code;
    return code == 0 ? put_input(cli, order) : code;
}

/* ---- submitting ---- */

/* The headers, owned by the caller; NULL, having spoken, when the key can be no header. */
static char *headers_of(const struct cli *cli)
{
    const char *key = cli_value(cli, "idempotency-key");

    for (const char *p = key; p && *p; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7f) {
            complain("--idempotency-key: there is a control character in it");
            return NULL;
        }
    }
    return xasprintf(CLI_JSON_HEADERS "%s%s%s", key ? "Idempotency-Key: " : "", key ? key : "",
                     key ? "\r\n" : "");
}

static int send_order(struct cli *cli, const json_t *order, struct reply *ret)
{
    _cleanup_(freep) char *headers = headers_of(cli);
    _cleanup_(freep) char *text = json_dumps(order, JSON_COMPACT);
    const struct span body = span_of(text);
    const struct cli_request request = { .method = "POST",
                                         .path = "/api/v1/tasks",
                                         .headers = headers,
                                         .body = &body,
                                         .body_parts = 1 };

    return headers ? cli_send(cli, &request, ret) : EXIT_WRONG;
}

static int submit(struct cli *cli, const json_t *order, uint64_t limit_ms)
{
    struct reply reply;
    const json_t *task;
    int code = send_order(cli, order, &reply);

    if (code != 0) {
        return code;
    }
    task = answer_data(reply.json);
    if (cli_value(cli, "wait")) {
        code = task_wait(cli, member_int(task, "id"), limit_ms);
    } else if (cli->json) {
        print_json(task);
    } else {
        printf("task %lld is %s\n", (long long)member_int(task, "id"),
               member_str(task, "status", "?"));
    }
    reply_finish(&reply);
    return code;
}

static int run(struct cli *cli)
{
    uint64_t limit_ms;
    json_t *order;
    int code;

    if (cli_duration(cli, "timeout", &limit_ms) < 0) {
        return EXIT_WRONG;
    }
    if (cli_value(cli, "timeout") && !cli_value(cli, "wait")) {
        complain("--timeout is of --wait; --attempt says how long one try may take");
        return EXIT_WRONG;
    }
    order = json_object();
    code = fill_order(cli, order);
    code = code == 0 ? submit(cli, order, limit_ms) : code;
    json_decref(order);
    return code;
}

const struct command submit_command = {
    "submit",
    "MODEL [TEXT|@FILE|-]",
    "Queues a durable task for a model; with --wait stays and prints its output.",
    options,
    1,
    2,
    run,
    "MODEL",
    "FILE",
};
