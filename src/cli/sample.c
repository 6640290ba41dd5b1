// SPDX-License-Identifier: Apache-2.0
/*
 * The sample configuration, made of the option rows. Lines with "# " before them are the file
 * itself: without it they are a configuration that changes nothing but adds the models and the type
 * of tasks shown.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli_int.h"
#include "config/config.h"
#include "daemon/daemon.h"
#include "daemon/foreign_options.h"

// clang-format off
static const char head[] =
    "## berth's configuration, every option with its default. What begins with '# ' is commented out:\n"
    "## take that away from what you change, and from its section's line.\n"
    "## Each can be set in the environment too: server.listen is BERTH_SERVER_LISTEN. ${NAME} is replaced\n"
    "## from the environment, $$ is a dollar. SIGHUP reads the file anew; what says (restart) waits for one.\n";

static const char models[] =
    "\n"
    "## Models of the file. `berth load ID` or a request starts them, autostart starts them with berth.\n"
    "# models:\n"
    "#   # A GGUF file, served by llama.cpp's llama-server.\n"
    "#   - id: chat                          # the name in requests\n"
    "#     name: Chat                        # for people\n"
    "#     framework: llama_cpp\n"
    "#     model_path: /models/chat-q4.gguf\n"
    "#     priority: 5                       # 1 to 10; higher ones get the room\n"
    "#     aliases: [gpt-4o-mini]            # other names in requests\n"
    "#     replicas: 1                       # instances at a time, balanced\n"
    "#     autostart: false                  # true: started with berth\n"
    "#     on_demand: true                   # a request starts it\n"
    "#     keep_alive: 5m                    # unloaded after so long without a request; -1: never\n"
    "#     parameters: { ctx_size: 8192, parallel: 4, n_gpu_layers: 99 }   # ctx_size is per request\n"
    "#     resource_requirements: { gpu_memory: 6000 }                     # MB\n"
    "#     health_check: { enabled: true, interval: 30, timeout: 10, max_failures: 3 }\n"
    "#     retry_policy: { enabled: true, max_attempts: 3, initial_delay: 5, max_delay: 300, backoff_factor: 2.0 }\n"
    "#   # Any OpenAI-compatible server, by its command line (no shell reads it).\n"
    "#   - id: own-server\n"
    "#     name: Own server\n"
    "#     framework: command\n"
    "#     model_path: org/model\n"
    "#     priority: 5\n"
    "#     parameters: { command: \"vllm serve ${MODEL} --port ${PORT}\", parallel: 64 }\n"
    "#     resource_requirements: { gpu_memory: 20000 }\n"
    "#   # An endpoint elsewhere.\n"
    "#   - id: remote\n"
    "#     name: Remote\n"
    "#     framework: openai\n"
    "#     model_path: https://api.example.com/v1\n"
    "#     priority: 5\n"
    "#     parameters: { api_key_env: EXAMPLE_API_KEY, model: big-model, parallel: 64 }\n"
    "#     resource_requirements: { gpu_memory: 1 }\n";

static const char task_types[] =
    "\n"
    "## Types of tasks beside the built-in ones (`berth tasks types`): which request a task becomes.\n"
    "## {{input}} is the task's input, {{name}} the option of that name, else of `defaults`.\n"
    "# task_types:\n"
    "#   - name: keywords                    # of a built-in one: instead of it\n"
    "#     endpoint: /v1/chat/completions\n"
    "#     help: The most telling words of a text.\n"
    "#     template: { messages: [{ role: user, content: \"The {{count}} most telling words of this text:\\n{{input}}\" }] }\n"
    "#     defaults: { count: \"5\" }\n";

static const char *const type_names[OPTION_TYPE_MAX_] = {
    [OPTION_STRING] = "string", [OPTION_INT] = "int",     [OPTION_BOOL] = "bool",
    [OPTION_DURATION] = "duration", [OPTION_BYTES] = "bytes", [OPTION_LIST] = "list",
    [OPTION_ENUM] = "enum",
};
// clang-format on

/* ---- walking the rows ---- */

static bool in_section(const struct option_row *row, struct span section)
{
    return strncmp(row->name, section.p, section.n) == 0 && row->name[section.n] == '.';
}

static struct span section_of(const struct option_row *row)
{
    return (struct span){ row->name, strcspn(row->name, ".") };
}

/* What stands in other programs' files only is nothing to be written here. */
static size_t row_count(const struct option_table *table)
{
    return table == &foreign_options ? 0 : table->count;
}

/* Is this row the first of its section? */
static bool opens_section(const struct option_row *row)
{
    const struct option_table *const *tables = daemon_option_tables();

    for (size_t t = 0; tables[t]; t++) {
        for (size_t i = 0; i < row_count(tables[t]); i++) {
            if (in_section(&tables[t]->rows[i], section_of(row))) {
                return &tables[t]->rows[i] == row;
            }
        }
    }
    return true;
}

/* All rows of a section together, though several rooms may share one. */
static void each_of_section(struct span section,
                            void (*fn)(const struct option_row *row, void *arg), void *arg)
{
    const struct option_table *const *tables = daemon_option_tables();

    for (size_t t = 0; tables[t]; t++) {
        for (size_t i = 0; i < row_count(tables[t]); i++) {
            if (in_section(&tables[t]->rows[i], section)) {
                fn(&tables[t]->rows[i], arg);
            }
        }
    }
}

static void each_row(void (*fn)(const struct option_row *row, void *arg), void *arg)
{
    const struct option_table *const *tables = daemon_option_tables();

    for (size_t t = 0; tables[t]; t++) {
        for (size_t i = 0; i < row_count(tables[t]); i++) {
            if (opens_section(&tables[t]->rows[i])) {
                each_of_section(section_of(&tables[t]->rows[i]), fn, arg);
            }
        }
    }
}

/* ---- as YAML ---- */

static void print_list(const char *def)
{
    struct span rest = span_of(def);

    fputs("[", stdout);
    while (rest.n > 0) {
        const struct span item = span_trim(span_cut(&rest, ','));

        printf("\"%.*s\"%s", SPAN_ARG(item), rest.n > 0 ? ", " : "");
    }
    puts("]");
}

static void print_row(const struct option_row *row, void *arg)
{
    const struct span section = section_of(row);
    const char **last_help = arg;
    char range[OPTION_RANGE_SIZE];

    if (opens_section(row)) {
        printf("\n# %.*s:\n", SPAN_ARG(section));
    }
    if (!*last_help || !str_eq(*last_help, row->help)) { /* options in a row may share theirs */
        printf("#   # %s", row->help);
        if (row->words) {
            printf(" One of: %s.", row->words);
        }
        if (option_range(row, range)) {
            printf(" %s.", range);
        }
        puts(row->reload ? "" : " (restart)");
    }
    *last_help = row->help;
    printf("#   %s: ", row->name + section.n + 1);
    if (row->type == OPTION_LIST) {
        print_list(row->def);
    } else {
        /* in quotes, for YAML takes some words (off, yes) for truth values */
        printf(row->type == OPTION_STRING || row->type == OPTION_ENUM ? "\"%s\"\n" : "%s\n",
               row->def);
    }
}

/* ---- as JSON ---- */

static void add_row(const struct option_row *row, void *arg)
{
    char range[OPTION_RANGE_SIZE];

    json_array_append_new(arg, json_pack("{s:s, s:s, s:s, s:s?, s:s?, s:b, s:s}", "name", row->name,
                                         "type", type_names[row->type], "default",
                                         row->secret ? "" : row->def, "range",
                                         option_range(row, range) ? range : NULL, "words",
                                         row->words, "reload", row->reload, "help", row->help));
}

int print_sample(const struct cli *cli)
{
    const char *last_help = NULL;
    json_t *rows;

    if (!cli->json) {
        fputs(head, stdout);
        each_row(print_row, &last_help);
        fputs(models, stdout);
        fputs(task_types, stdout);
        return 0;
    }
    rows = json_array();
    each_row(add_row, rows);
    print_json(rows);
    json_decref(rows);
    return 0;
}
