// SPDX-License-Identifier: Apache-2.0
/* berth batches: the batches, one of them, cancelling one, and fetching its answers. */
#include <stdlib.h>

#include "base/mem.h"
#include "cli/batch_view.h"
#include "cli/commands.h"

// clang-format off
static const struct cli_option options[] = {
    { "output", 'o', "FILE", "fetch: where to put it (default: stdout)" },
    { "errors", 0,   NULL,   "fetch: the lines that failed instead of the answers" },
    { "watch",  'w', NULL,   "of one batch: stay until it has ended" },
    { "lines",  'n', "N",    "how many of the newest, at most 100 (default: 20)" },
    { NULL, 0, NULL, NULL },
};
// clang-format on

enum { LINES = 20, LINES_MAX = 100 };

static const char *const headings[] = { "ID",   "STATUS", "ENDPOINT", "TOTAL",
                                        "DONE", "FAILED", "AGE",      "LEFT" };

/* How long it has yet: "-" when it has ended. */
static void format_left(const json_t *batch, char out[AGE_SIZE])
{
    const int64_t created = member_int(batch, "created_at"), ends = member_int(batch, "expires_at");
    const char *status = member_str(batch, "status", "");
    const bool open = str_eq(status, "in_progress") || str_eq(status, "validating");

    snprintf(out, AGE_SIZE, "-");
    if (open && ends > created) {
        format_age_at((double)ends, out);
    }
}

static void add_row(const struct cli *cli, struct table *t, const json_t *batch)
{
    const json_t *counts = json_object_get(batch, "request_counts");
    char age[AGE_SIZE], left[AGE_SIZE];

    format_age_at((double)member_int(batch, "created_at"), age);
    format_left(batch, left);
    table_cell(t, "%s", member_str(batch, "id", "?"));
    table_cell(t, "%s", paint_state(cli, member_str(batch, "status", "?")));
    table_cell(t, "%s", member_str(batch, "endpoint", "?"));
    table_cell(t, "%lld", (long long)member_int(counts, "total"));
    table_cell(t, "%lld", (long long)member_int(counts, "completed"));
    table_cell(t, "%lld", (long long)member_int(counts, "failed"));
    table_cell(t, "%s", age);
    table_cell(t, "%s", left);
}

static int list(struct cli *cli)
{
    _cleanup_(freep) char *path = NULL;
    uint64_t lines;

    if (cli_number(cli, "lines", LINES, &lines) < 0 || lines == 0 || lines > LINES_MAX) {
        complain("--lines is 1 to %d", LINES_MAX);
        return EXIT_WRONG;
    }
    path = xasprintf("/v1/batches?limit=%llu", (unsigned long long)lines);
    return cli_list(cli, path, "data", headings, ARRAY_SIZE(headings), add_row);
}

/* ---- one ---- */

static void print_batch(const struct cli *cli, const json_t *batch)
{
    static const struct {
        const char *label, *member;
    } texts[] = {
        { "endpoint", "endpoint" },        { "input", "input_file_id" },
        { "output", "output_file_id" },    { "errors", "error_file_id" },
        { "window", "completion_window" },
    };
    const json_t *errors = json_object_get(json_object_get(batch, "errors"), "data");
    _cleanup_(freep) char *progress = batch_progress(batch);
    size_t i;
    json_t *one;

    printf("%s: %s\n", member_str(batch, "id", "?"), progress);
    for (i = 0; i < ARRAY_SIZE(texts); i++) {
        if (member_str(batch, texts[i].member, NULL)) {
            print_line(texts[i].label, "%s", member_str(batch, texts[i].member, ""));
        }
    }
    json_array_foreach(errors, i, one)
    {
        print_line("error", "line %lld: %s", (long long)member_int(one, "line"),
                   member_str(one, "message", "?"));
    }
}

/* 0, or the exit code, having spoken; *ret is to be finished only after 0. */
static int ask_batch(struct cli *cli, const char *method, const char *id, const char *after,
                     struct reply *ret)
{
    _cleanup_(freep) char *path = cli_path("/v1/batches/", id, after);

    return cli_ask(cli, method, path, NULL, ret);
}

static int show(struct cli *cli, const char *id)
{
    struct reply reply;
    int code;

    if (cli_value(cli, "watch")) {
        return batch_wait(cli, id, 0, NULL);
    }
    code = ask_batch(cli, "GET", id, "", &reply);
    if (code != 0) {
        return code;
    }
    if (cli->json) {
        print_json(reply.json);
    } else {
        print_batch(cli, reply.json);
    }
    reply_finish(&reply);
    return 0;
}

static int cancel(struct cli *cli, const char *id)
{
    struct reply reply;
    const int code = ask_batch(cli, "POST", id, "/cancel", &reply);

    if (code != 0) {
        return code;
    }
    if (cli->json) {
        print_json(reply.json);
    } else {
        printf("%s is %s\n", id, member_str(reply.json, "status", "?"));
    }
    reply_finish(&reply);
    return 0;
}

static int fetch(struct cli *cli, const char *id)
{
    const bool errors = cli_value(cli, "errors");
    const char *output = cli_value(cli, "output"), *file;
    struct reply reply;
    int code = ask_batch(cli, "GET", id, "", &reply);

    if (code != 0) {
        return code;
    }
    file = member_str(reply.json, errors ? "error_file_id" : "output_file_id", NULL);
    if (file) {
        code = batch_fetch(cli, file, output ? output : "-");
    } else {
        complain("%s is %s and has no %s", id, member_str(reply.json, "status", "?"),
                 errors ? "lines that failed" : "answers");
        code = EXIT_ABSENT;
    }
    reply_finish(&reply);
    return code;
}

static int run(struct cli *cli)
{
    static const struct {
        const char *name;
        int (*run)(struct cli *cli, const char *id);
    } verbs[] = { { "cancel", cancel }, { "fetch", fetch } };

    if (cli->arg_count == 0) {
        return list(cli);
    }
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        if (!str_eq(verbs[i].name, cli->args[0])) {
            continue;
        }
        if (cli->arg_count < 2) {
            complain("batches %s needs a batch", verbs[i].name);
            return EXIT_WRONG;
        }
        return verbs[i].run(cli, cli->args[1]);
    }
    if (cli->arg_count > 1) {
        complain("batches: '%s' is neither cancel nor fetch", cli->args[0]);
        return EXIT_WRONG;
    }
    return show(cli, cli->args[0]);
}

const struct command batches_command = {
    "batches",
    "[ID | cancel ID | fetch ID]",
    "Lists the batches, shows or cancels one, and fetches its answers.",
    options,
    0,
    2,
    run,
    "cancel fetch BATCH",
    "BATCH",
};
