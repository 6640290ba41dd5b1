// SPDX-License-Identifier: Apache-2.0
/*
 * berth ti: the Task Instances that have registered: engines with a queue of their own, which
 * people run themselves. (The engines that berth runs are shown by berth ps.)
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/commands.h"

// clang-format off
static const struct cli_option options[] = {
    { "model", 'm', "MODEL", "register: the model that it serves (default: what it says itself)" },
    { NULL, 0, NULL, NULL },
};
// clang-format on

static const char *const headings[] = { "INSTANCE", "URL",  "MODEL", "STATE",  "REPLICAS",
                                        "QUEUE",    "OURS", "WAIT",  "FAILED", "NOTE" };

/* ---- the list ---- */

static void format_wait(const json_t *inst, char out[64])
{
    const double expected = json_number_value(json_object_get(inst, "waiting_time_expect"));
    const double error = json_number_value(json_object_get(inst, "waiting_time_error"));

    if (str_eq(member_str(inst, "status", ""), "ready")) {
        snprintf(out, 64, "%.0f ± %.0f ms", expected, error);
    } else {
        snprintf(out, 64, "-");
    }
}

static void add_row(const struct cli *cli, struct table *t, const json_t *inst)
{
    char wait[64];

    format_wait(inst, wait);
    table_cell(t, "%s", member_str(inst, "uuid", "?"));
    table_cell(t, "%s", member_str(inst, "url", "?"));
    table_cell(t, "%s", member_str(inst, "model_type", "-"));
    table_cell(t, "%s", paint_state(cli, member_str(inst, "status", "?")));
    table_cell(t, "%lld", (long long)member_int(inst, "replicas"));
    table_cell(t, "%lld", (long long)member_int(inst, "queue_size"));
    table_cell(t, "%lld", (long long)member_int(inst, "in_flight"));
    table_cell(t, "%s", wait);
    table_cell(t, "%lld", (long long)member_int(inst, "failed"));
    table_cell(t, "%s", member_str(inst, "error", ""));
}

/* ---- registering, removing ---- */

/* These doors tell what went wrong by `status` in a good answer, too. The exit code. */
static int tell(const struct cli *cli, struct reply *reply)
{
    const char *status = member_str(reply->json, "status", "?");
    const char *message = member_str(reply->json, "message", "?");
    const bool good = str_eq(status, "success");

    if (cli->json) {
        print_json(reply->json);
    } else if (!good) {
        complain("%s", message);
    } else {
        printf("%s: %s\n", member_str(reply->json, "ti_uuid", "?"), message);
    }
    reply_finish(reply);
    return good ? 0 : 1;
}

static int put_address(const char *word, json_t *order)
{
    const char *colon = strrchr(word, ':');
    const bool bracket = word[0] == '[' && colon && colon > word + 1 && colon[-1] == ']';
    const size_t host = colon ? (size_t)(colon - word) : 0;
    uint64_t port;

    if (host == 0 || span_to_u64(span_of(colon + 1), &port) < 0 || port == 0 || port > 65535) {
        complain("ti register: '%s' is no HOST:PORT", word);
        return -EINVAL;
    }
    json_object_set_new(order, "host", json_stringn(word + bracket, host - 2 * bracket));
    json_object_set_new(order, "port", json_integer((json_int_t)port));
    return 0;
}

static int register_one(struct cli *cli, const char *word)
{
    const char *model = cli_value(cli, "model");
    json_t *order = json_object();
    struct reply reply;
    int code = EXIT_WRONG;

    if (put_address(word, order) == 0) {
        if (model) {
            json_object_set_new(order, "model_name", json_string(model));
        }
        code = cli_ask(cli, "POST", "/ti/register", order, &reply);
        code = code == 0 ? tell(cli, &reply) : code;
    }
    json_decref(order);
    return code;
}

static int remove_one(struct cli *cli, const char *uuid)
{
    json_t *order = json_pack("{s:s}", "ti_uuid", uuid);
    struct reply reply;
    int code = cli_ask(cli, "POST", "/ti/remove", order, &reply);

    json_decref(order);
    return code == 0 ? tell(cli, &reply) : code;
}

/* ---- the way in ---- */

static int run(struct cli *cli)
{
    int (*one)(struct cli * cli, const char *word) = NULL;
    int first = 0;

    if (cli->arg_count == 0) {
        return cli_list(cli, "/scheduler/info", "instances", headings, ARRAY_SIZE(headings),
                        add_row);
    }
    if (str_eq(cli->args[0], "register")) {
        one = register_one;
    } else if (str_eq(cli->args[0], "rm")) {
        one = remove_one;
    }
    if (!one || cli->arg_count < 2) {
        complain(one ? "ti %s needs %s" : "ti: '%s' is neither register nor rm%s", cli->args[0],
                 !one                  ? ""
                 : one == register_one ? "the instance's HOST:PORT"
                                       : "the instance's name, as 'berth ti' shows it");
        return EXIT_WRONG;
    }
    for (int i = 1; i < cli->arg_count; i++) {
        const int code = one(cli, cli->args[i]);

        first = first ? first : code;
    }
    return first;
}

const struct command ti_command = {
    "ti",
    "[register HOST:PORT… | rm INSTANCE…]",
    "Lists the Task Instances, engines with a queue of their own, registers and removes them.",
    options,
    0,
    CLI_ARGS_MAX,
    run,
    "register rm",
    "TASK_INSTANCE",
};
