// SPDX-License-Identifier: Apache-2.0
/* The commands table, reading of the command line, and the help that is made of the rows. */
#include "cli/cli.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/cli_int.h"
#include "cli/commands.h"
#include "daemon/daemon.h"
#include "engines/engines.h"

// clang-format off
const struct command *const cli_commands[] = {
    &serve_command,
    &ps_command,
    &top_command,
    &models_command,
    &gpus_command,
    &queue_command,
    &submit_command,
    &tasks_command,
    &batch_command,
    &batches_command,
    &ti_command,
    &why_command,
    &history_command,
    &policy_command,
    &load_command,
    &stop_command,
    &rm_command,
    &logs_command,
    &events_command,
    &config_command,
    &openapi_command,
    &doctor_command,
    &plan_command,
    &simulate_command,
    &completion_command,
    &version_command,
    &help_command,
    NULL,
};

const struct cli_option cli_common_options[] = {
    { "data-dir", 0,   "DIR", "the daemon's data directory (default: $BERTH_DATA_DIR, else ./berth-data)" },
    { "url",      0,   "URL", "talk to the daemon at http://HOST:PORT or https://… instead of the one of the data directory" },
    { "key",      0,   "KEY", "the key for --url (default: $BERTH_KEY)" },
    { "json",     0,   NULL,  "answer in JSON" },
    { "help",     'h', NULL,  "say how the command is used" },
    { NULL, 0, NULL, NULL },
};
// clang-format on

/* ---- finding ---- */

const struct command *cli_find_command(const char *name)
{
    for (size_t i = 0; cli_commands[i]; i++) {
        if (str_eq(cli_commands[i]->name, name)) {
            return cli_commands[i];
        }
    }
    return NULL;
}

const struct command *cli_nearest(const char *name)
{
    const struct command *best = NULL;
    size_t best_distance = 3; /* further is not near */

    for (size_t i = 0; cli_commands[i]; i++) {
        const size_t d = str_distance(name, cli_commands[i]->name);

        if (d < best_distance && d < strlen(name)) {
            best_distance = d;
            best = cli_commands[i];
        }
    }
    return best;
}

/* ---- reading ---- */

const struct cli_option *cli_find_option(const struct cli_option *rows, struct span name,
                                         char letter)
{
    for (const struct cli_option *o = rows; o && o->name; o++) {
        if (name.p ? span_eq(name, o->name) : o->letter && o->letter == letter) {
            return o;
        }
    }
    return NULL;
}

static void set_common(struct cli *cli, const struct cli_option *o, const char *value)
{
    if (str_eq(o->name, "data-dir")) {
        cli->data_dir = value;
    } else if (str_eq(o->name, "url")) {
        cli->url = value;
    } else if (str_eq(o->name, "key")) {
        cli->key = value;
    } else if (str_eq(o->name, "json")) {
        cli->json = true;
    } else {
        cli->help = true;
    }
}

/* Takes one option at argv[*i] (and its argument). */
static int take_option(struct cli *cli, int argc, char **argv, int *i, struct error *reterr)
{
    const char *word = argv[*i];
    struct span rest = span_of(word + 2), name = { 0 };
    const struct cli_option *o, *own = cli->command ? cli->command->options : NULL;
    const char *value = "";

    if (word[1] == '-') {
        name = span_cut(&rest, '=');
    } else {
        rest = word[2] ? span_of(word + 2) : (struct span){ 0 };
    }
    o = cli_find_option(own, name, word[1]);
    if (!o) {
        o = cli_find_option(cli_common_options, name, word[1]);
        own = NULL;
    }
    if (!o) {
        return error_set(reterr, -EINVAL, "there is no option %s%s%s", word,
                         cli->command ? " of " : "", cli->command ? cli->command->name : "");
    }
    if (o->arg && !rest.p && *i + 1 >= argc) {
        return error_set(reterr, -EINVAL, "--%s needs its %s", o->name, o->arg);
    }
    if (!o->arg && rest.p) {
        return error_set(reterr, -EINVAL, "--%s takes nothing", o->name);
    }
    if (o->arg) {
        value = rest.p ? rest.p : argv[++*i];
    }
    if (own && cli->given_count >= CLI_GIVEN_MAX) {
        return error_set(reterr, -EINVAL, "--%s: too many options", o->name);
    }
    if (own) {
        cli->given[cli->given_count++] = (struct cli_given){ o, value };
    } else {
        set_common(cli, o, value);
    }
    return 0;
}

static int take_word(struct cli *cli, const char *word, struct error *reterr)
{
    if (!cli->command) {
        const struct command *near;

        cli->command = cli_find_command(word);
        if (cli->command) {
            return 0;
        }
        near = cli_nearest(word);
        return error_set(reterr, -EINVAL, "there is no command '%s'%s%s%s", word,
                         near ? "; did you mean '" : "", near ? near->name : "", near ? "'?" : "");
    }
    if (cli->arg_count >= MIN_OF(cli->command->max_args, (int)CLI_ARGS_MAX)) {
        return error_set(reterr, -EINVAL, "%s: '%s' is one word too many", cli->command->name,
                         word);
    }
    cli->args[cli->arg_count++] = word;
    return 0;
}

int cli_parse(struct cli *cli, int argc, char **argv, struct error *reterr)
{
    bool options = true;
    int r;

    for (int i = 0; i < argc; i++) {
        if (options && str_eq(argv[i], "--")) {
            options = false;
            continue;
        }
        if (options && argv[i][0] == '-' && argv[i][1] != '\0') {
            r = take_option(cli, argc, argv, &i, reterr);
        } else {
            r = take_word(cli, argv[i], reterr);
        }
        if (r < 0) {
            return r;
        }
    }
    if (cli->command && !cli->help && cli->arg_count < cli->command->min_args) {
        return error_set(reterr, -EINVAL, "%s needs %s", cli->command->name, cli->command->args);
    }
    return 0;
}

const char *cli_next_value(const struct cli *cli, const char *name, int *cursor)
{
    const struct cli_option *o = cli_find_option(cli->command->options, span_of(name), 0);

    assert(o);
    while (*cursor < cli->given_count) {
        const struct cli_given *given = &cli->given[(*cursor)++];

        if (given->option == o) {
            return given->value;
        }
    }
    return NULL;
}

const char *cli_value(const struct cli *cli, const char *name)
{
    const char *last = NULL, *value;
    int cursor = 0;

    while ((value = cli_next_value(cli, name, &cursor))) {
        last = value;
    }
    return last;
}

int cli_number(const struct cli *cli, const char *name, uint64_t fallback, uint64_t *ret)
{
    const char *text = cli_value(cli, name);

    if (!text) {
        *ret = fallback;
        return 0;
    }
    if (span_to_u64(span_of(text), ret) < 0) {
        complain("--%s: '%s' is no number", name, text);
        return -EINVAL;
    }
    return 0;
}

/* ---- help ---- */

// clang-format off
/* As error_kind has them. */
static const struct {
    int code;
    const char *help;
} exit_codes[] = {
    { 0, "it is done" },
    { 1, "it failed" },
    { 2, "the command, the configuration or the request is wrong" },
    { 3, "a key is needed, or this one may not do it" },
    { 4, "there is no such model, task or file" },
    { 5, "not now: no daemon answers, the model is not up, or time ran out" },
    { 6, "it exists already, or is being changed" },
};
// clang-format on

static void print_options(FILE *out, const struct cli_option *rows)
{
    for (const struct cli_option *o = rows; o && o->name; o++) {
        char left[64], letter[8] = "    ";

        if (o->letter) {
            snprintf(letter, sizeof(letter), "-%c, ", o->letter);
        }
        snprintf(left, sizeof(left), "%s--%s%s%s", letter, o->name, o->arg ? " " : "",
                 o->arg ? o->arg : "");
        fprintf(out, "  %-24s %s\n", left, o->help);
    }
}

void cli_print_help(FILE *out)
{
    fputs("Usage: berth [OPTIONS] COMMAND …\n\nCommands:\n", out);
    for (size_t i = 0; cli_commands[i]; i++) {
        fprintf(out, "  %-10s %s\n", cli_commands[i]->name, cli_commands[i]->help);
    }
    fputs("\nOptions of all commands:\n", out);
    print_options(out, cli_common_options);
    fputs("\nExit codes:\n", out);
    for (size_t i = 0; i < ARRAY_SIZE(exit_codes); i++) {
        fprintf(out, "  %d  %s\n", exit_codes[i].code, exit_codes[i].help);
    }
    fputs("\n'berth COMMAND --help' says more about one.\n", out);
}

void cli_print_command_help(FILE *out, const struct command *command)
{
    fprintf(out, "Usage: berth %s%s%s%s\n\n%s\n\n", command->name,
            command->options ? " [OPTIONS]" : "", command->args[0] ? " " : "", command->args,
            command->help);
    if (command->options) {
        fputs("Options:\n", out);
        print_options(out, command->options);
        fputs("\n", out);
    }
    fputs("Options of all commands:\n", out);
    print_options(out, cli_common_options);
}

/* ---- the way in ---- */

static int usage_error(const struct error *e)
{
    complain("%s", e->text);
    fputs("'berth help' lists the commands.\n", stderr);
    return error_kind(-EINVAL)->exit_code;
}

static const char *from_env(const char *name, const char *fallback)
{
    const char *value = getenv(name);

    return value && value[0] ? value : fallback;
}

int cli_main(int argc, char **argv)
{
    _cleanup_(freep) char *data_dir = NULL;
    struct cli cli = { 0 };
    struct error e = { 0 };
    const char *no_color = getenv("NO_COLOR");
    int code;

    if (argc > 1 && str_eq(argv[1], "exec-engine")) {
        exec_engine_main(argc - 1, argv + 1);
    }
    cli.key = from_env("BERTH_KEY", NULL);
    if (argc > 1 && str_eq(argv[1], "complete")) {
        return complete_main(&cli, argc - 2, argv + 2);
    }
    cli.color = isatty(STDOUT_FILENO) && !(no_color && no_color[0]);
    if (cli_parse(&cli, argc - 1, argv + 1, &e) < 0) {
        return usage_error(&e);
    }
    if (!cli.command) {
        cli_print_help(cli.help ? stdout : stderr);
        return cli.help ? 0 : error_kind(-EINVAL)->exit_code;
    }
    if (cli.help) {
        cli_print_command_help(stdout, cli.command);
        return 0;
    }
    data_dir = daemon_data_dir(cli.data_dir);
    cli.data_dir = data_dir;
    code = cli.command->run(&cli);
    client_destroy(cli.client);
    if (fflush(stdout) != 0 && code == 0) {
        complain("cannot write: %s", strerror(errno));
        return 1;
    }
    return code;
}
