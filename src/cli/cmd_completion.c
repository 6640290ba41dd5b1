// SPDX-License-Identifier: Apache-2.0
/*
 * berth completion: a script for the shell. The scripts know nothing by themselves: they ask this
 * very binary (`berth complete WORD…`) for what the last word could become, so what is offered is
 * what there is: commands and options from their rows, models from the daemon.
 */
#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "config/config.h"
#include "daemon/daemon.h"
#include "planner/planner.h"

/* A daemon that does not answer must not hold a shell up. */
enum { ASK_LIMIT_S = 2 };

/* ---- the scripts ---- */

// clang-format off
static const char bash_script[] =
    "# berth's completion for bash; in ~/.bashrc:  source <(berth completion bash)\n"
    "_berth() {\n"
    "    local - line=${COMP_LINE:0:COMP_POINT} IFS=$' \\t\\n' word cur\n"
    "    set -f\n"
    "    local -a words=($line)\n"
    "    [[ $line == *[[:blank:]] ]] && words+=('')\n"
    "    cur=${words[${#words[@]} - 1]}\n"
    "    COMPREPLY=()\n"
    "    while IFS=$'\\t' read -r word _; do\n"
    "        # readline's words end at colons: what stands before is not to be repeated\n"
    "        [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]] && word=${word#\"${cur%\"${cur##*:}\"}\"}\n"
    "        COMPREPLY+=(\"$(printf %q \"$word\")\")\n"
    "    done < <(\"${words[0]}\" complete \"${words[@]:1}\" 2>/dev/null)\n"
    "    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace\n"
    "    return 0\n"
    "}\n"
    "complete -o default -F _berth berth\n";

static const char zsh_script[] =
    "#compdef berth\n"
    "# berth's completion for zsh; in ~/.zshrc, after compinit:  source <(berth completion zsh)\n"
    "_berth() {\n"
    "    local -a lines shown\n"
    "    local line\n"
    "    lines=(\"${(@f)$(\"${words[1]}\" complete \"${(@)words[2,CURRENT]}\" 2>/dev/null)}\")\n"
    "    for line in $lines; do\n"
    "        shown+=(\"${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\")\n"
    "    done\n"
    "    if (( $#shown )); then _describe berth shown; else _files; fi\n"
    "}\n"
    "if [ \"$funcstack[1]\" = _berth ]; then _berth \"$@\"; else compdef _berth berth; fi\n";

static const char fish_script[] =
    "# berth's completion for fish:  berth completion fish > ~/.config/fish/completions/berth.fish\n"
    "function __berth_complete\n"
    "    set -l words (commandline -opc) (commandline -ct)\n"
    "    $words[1] complete $words[2..-1] 2>/dev/null\n"
    "end\n"
    "complete -c berth -f -n 'count (__berth_complete) >/dev/null' -a '(__berth_complete)'\n";

static const struct {
    const char *shell, *script;
} scripts[] = { { "bash", bash_script }, { "zsh", zsh_script }, { "fish", fish_script } };
// clang-format on

static int run(struct cli *cli)
{
    for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
        json_t *json;

        if (!str_eq(scripts[i].shell, cli->args[0])) {
            continue;
        }
        if (!cli->json) {
            fputs(scripts[i].script, stdout);
            return 0;
        }
        json = json_pack("{s:s, s:s}", "shell", scripts[i].shell, "script", scripts[i].script);
        print_json(json);
        json_decref(json);
        return 0;
    }
    complain("completion: '%s' is none of bash, zsh, fish", cli->args[0]);
    return error_kind(-EINVAL)->exit_code;
}

const struct command completion_command = {
    "completion",
    "bash | zsh | fish",
    "Prints a script that completes commands, options and model names in your shell.",
    NULL,
    1,
    1,
    run,
    "bash zsh fish",
};

/* ---- what the scripts ask for ---- */

struct completion {
    struct cli *cli;
    const char *last; /* the word to be completed */
};

static void offer(const struct completion *c, const char *word, const char *help)
{
    if (str_starts(word, c->last) && !strpbrk(word, "\n\t")) {
        printf("%s\t%s\n", word, help);
    }
}

static void offer_options(const struct completion *c, const struct cli_option *rows)
{
    for (const struct cli_option *o = rows; o && o->name; o++) {
        _cleanup_(freep) char *word = xasprintf("--%s", o->name);

        offer(c, word, o->help);
    }
}

static void offer_commands(const struct completion *c)
{
    for (size_t i = 0; cli_commands[i]; i++) {
        offer(c, cli_commands[i]->name, cli_commands[i]->help);
    }
}

/* What the daemon knows of: the rows of `member` of what it answers (NULL: of the answer itself),
 * by one of their members, and another as help. */
struct source {
    const char *word, *path, *member, *name, *help;
};

// clang-format off
static const struct source sources[] = {
    { "MODEL",         "/api/models/",                NULL,        "id",      "status" },
    { "TASK",          "/api/v1/tasks?page_size=100", "data",      "id",      "status" },
    { "BATCH",         "/v1/batches?limit=100",       "data",      "id",      "status" },
    { "TASK_INSTANCE", "/scheduler/info",            "instances", "uuid",    "status" },
    { "TYPE",          "/api/v1/task-types",          "data",      "name",    "help" },
};
// clang-format on

static void offer_row(const struct completion *c, const struct source *s, const json_t *row)
{
    const json_t *name = json_object_get(row, s->name);
    _cleanup_(freep) char *text =
        json_is_integer(name) ? xasprintf("%lld", (long long)json_integer_value(name))
                              : xstrdup(json_is_string(name) ? json_string_value(name) : "");

    if (text[0]) {
        offer(c, text, member_str(row, s->help, ""));
    }
}

static void offer_source(const struct completion *c, const struct source *s)
{
    struct reply reply;
    struct error e;
    const json_t *rows;
    size_t i;
    json_t *row;

    if (cli_call(c->cli, "GET", s->path, NULL, &reply, &e) < 0) {
        return;
    }
    rows = s->member ? json_object_get(reply.json, s->member) : reply.json;
    json_array_foreach(reply.status == 200 ? rows : NULL, i, row)
    {
        offer_row(c, s, row);
    }
    reply_finish(&reply);
}

typedef void (*word_fn)(const struct completion *c, const char *word);

static void each_word(const struct completion *c, const char *words, char separator, word_fn fn)
{
    struct span rest = span_of(words);

    while (rest.p) {
        _cleanup_(freep) char *word = span_dup(span_cut(&rest, separator));

        fn(c, word);
    }
}

static void offer_itself(const struct completion *c, const char *word)
{
    offer(c, word, "");
}

/* Case does not count in it: as it is written, or in small letters like what was begun. */
static void offer_name(const struct completion *c, const char *name)
{
    _cleanup_(freep) char *small = xstrdup(name);

    for (char *p = small; *p; p++) {
        *p = (char)tolower((unsigned char)*p);
    }
    offer(c, str_starts(small, c->last) ? small : name, "");
}

/* What is known without a daemon. */
static void offer_chips(const struct completion *c)
{
    for (const struct planner_chip *chip = planner_chips; chip->name; chip++) {
        offer_name(c, chip->name);
    }
}

static void offer_presets(const struct completion *c)
{
    for (const struct planner_model *model = planner_models; model->name; model++) {
        offer_name(c, model->name);
    }
}

/* The words of the option gateway.strategy. */
static void offer_strategies(const struct completion *c)
{
    const struct option_table *const *tables = daemon_option_tables();

    for (size_t t = 0; tables[t]; t++) {
        for (size_t i = 0; i < tables[t]->count; i++) {
            if (str_eq(tables[t]->rows[i].name, "gateway.strategy")) {
                each_word(c, tables[t]->rows[i].words, ' ', offer_itself);
            }
        }
    }
}

static const struct {
    const char *word;
    void (*offer)(const struct completion *c);
} known[] = {
    { "COMMAND", offer_commands },
    { "CHIP", offer_chips },
    { "PRESET", offer_presets },
    { "STRATEGY", offer_strategies },
};

/* What a word stands for; false: only for itself. c NULL: it is only asked. */
static bool offer_meant(const struct completion *c, const char *word)
{
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
        if (str_eq(sources[i].word, word)) {
            if (c) {
                offer_source(c, &sources[i]);
            }
            return true;
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (str_eq(known[i].word, word)) {
            if (c) {
                known[i].offer(c);
            }
            return true;
        }
    }
    return false;
}

/* "NAME", "N": nobody types them. Neither FILE: the shell looks for files by itself when nothing is
 * offered. */
static bool is_placeholder(const char *word)
{
    return word[strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_")] == '\0';
}

static void offer_word(const struct completion *c, const char *word)
{
    if (!offer_meant(c, word) && !is_placeholder(word)) {
        offer_itself(c, word);
    }
}

/* What an option takes: "low|medium|high", or a word that stands for what there is of it. Words of
 * the help that nobody types (N, DURATION, URL) are not offered. */
static void offer_argument(const struct completion *c, const char *arg)
{
    if (strchr(arg, '|') || offer_meant(NULL, arg)) {
        each_word(c, arg, '|', offer_word);
    }
}

/* The option that this word is, when its argument is the word after it. */
static const struct cli_option *open_option(const struct cli *cli, const char *word)
{
    const bool long_name = str_starts(word, "--");
    const struct span name = long_name ? span_of(word + 2) : (struct span){ 0 };
    const char letter = word[0] == '-' && !long_name && strlen(word) == 2 ? word[1] : 0;
    const struct cli_option *o = NULL;

    if (!long_name && !letter) {
        return NULL;
    }
    o = cli->command ? cli_find_option(cli->command->options, name, letter) : NULL;
    o = o ? o : cli_find_option(cli_common_options, name, letter);
    return o && o->arg ? o : NULL;
}

/* Reads the finished words as far as they make sense. Returns the option whose argument is to come,
 * or NULL. */
static const struct cli_option *read_words(struct cli *cli, int count, char **words)
{
    const struct cli_option *open = NULL;

    for (int i = 0; i < count; i++) {
        if (open) {
            cli->data_dir = str_eq(open->name, "data-dir") ? words[i] : cli->data_dir;
            cli->url = str_eq(open->name, "url") ? words[i] : cli->url;
            cli->key = str_eq(open->name, "key") ? words[i] : cli->key;
            open = NULL;
        } else if (words[i][0] == '-') {
            open = open_option(cli, words[i]);
        } else if (cli->command) {
            cli->arg_count++;
        } else {
            cli->command = cli_find_command(words[i]);
        }
    }
    return open;
}

static void on_alarm(int signal_number)
{
    _exit(0);
}

int complete_main(struct cli *cli, int count, char **words)
{
    struct completion c = { cli, count > 0 ? words[count - 1] : "" };
    const struct cli_option *open = read_words(cli, count - 1, words);
    _cleanup_(freep) char *data_dir = daemon_data_dir(cli->data_dir);

    cli->data_dir = data_dir;
    signal(SIGALRM, on_alarm);
    alarm(ASK_LIMIT_S);
    if (open) {
        offer_argument(&c, open->arg);
    } else if (c.last[0] == '-') {
        offer_options(&c, cli->command ? cli->command->options : NULL);
        offer_options(&c, cli_common_options);
    } else if (!cli->command) {
        offer_commands(&c);
    } else if (cli->arg_count == 0 && cli->command->words) {
        each_word(&c, cli->command->words, ' ', offer_word);
    } else if (cli->arg_count > 0 && cli->command->more_words) {
        each_word(&c, cli->command->more_words, ' ', offer_word);
    }
    client_destroy(cli->client);
    fflush(stdout);
    return 0;
}
