// SPDX-License-Identifier: Apache-2.0
/*
 * berth policy: the rules of placement in use, and with KEY=VALUE new ones. What is not named stays
 * as it is: the door would take its default for it, so all of it is sent.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/commands.h"

static const char path[] = "/api/v1/scheduler/policy";

/* ---- showing ---- */

static void print_rules(const struct cli *cli, json_t *rules)
{
    static const char *const headings[] = { "RULE", "VALUE" };
    struct table *t = table_create(headings, ARRAY_SIZE(headings));
    const char *key;
    json_t *value;

    json_object_foreach(rules, key, value)
    {
        _cleanup_(freep) char *text =
            json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(4));

        table_cell(t, "%s", key);
        table_cell(t, "%s", json_is_string(value) ? json_string_value(value) : text);
    }
    table_print(t, stdout, cli->color);
    table_free(t);
}

/* The rules in an answer of GET or PUT. */
static json_t *rules_of(const struct reply *reply)
{
    json_t *rules = json_object_get(reply->json, "policy");

    return rules ? rules : reply->json;
}

static void show(const struct cli *cli, const struct reply *reply)
{
    if (cli->json) {
        print_json(reply->json);
    } else {
        print_rules(cli, rules_of(reply));
    }
}

/* ---- setting ---- */

/* Puts "KEY=VALUE" into the rules. 0, or the exit code, having spoken. */
static int put_word(json_t *rules, const char *word)
{
    _cleanup_(freep) char *key = NULL;
    json_t *value = read_pair("policy", word, &key);

    if (!value) {
        return error_kind(-EINVAL)->exit_code;
    }
    if (!json_object_get(rules, key)) {
        complain("policy: there is no rule '%s'; 'berth policy' lists them", key);
        json_decref(value);
        return error_kind(-EINVAL)->exit_code;
    }
    json_object_set_new(rules, key, value);
    return 0;
}

static int set(struct cli *cli, json_t *rules)
{
    struct reply reply;
    int code = 0;

    for (int i = 0; i < cli->arg_count && code == 0; i++) {
        code = put_word(rules, cli->args[i]);
    }
    if (code == 0) {
        code = cli_ask(cli, "PUT", path, rules, &reply);
    }
    if (code == 0) {
        show(cli, &reply);
        reply_finish(&reply);
    }
    return code;
}

static int run(struct cli *cli)
{
    struct reply reply;
    int code = cli_ask(cli, "GET", path, NULL, &reply);

    if (code != 0) {
        return code;
    }
    if (cli->arg_count > 0) {
        code = set(cli, rules_of(&reply));
    } else {
        show(cli, &reply);
    }
    reply_finish(&reply);
    return code;
}

const struct command policy_command = {
    "policy",
    "[KEY=VALUE …]",
    "Shows the rules of placement, or sets some; they apply at once and are kept.",
    NULL,
    0,
    CLI_ARGS_MAX,
    run,
    "scheduling_algorithm= preemption_enabled= auto_recovery_enabled= resource_threshold= "
    "priority_levels= max_queue_size= scheduling_interval= health_check_interval=",
};
