// SPDX-License-Identifier: Apache-2.0
/* berth config: check a file without starting anything, show what the daemon runs with, print a
 * sample made of the option rows. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/commands.h"
#include "config/config.h"
#include "daemon/daemon.h"
#include "models/models.h"

/* ---- check ---- */

/* What is allowed and yet worth a word. */
static void print_warnings(const struct config *config, const char *file)
{
    size_t i, j;
    json_t *model, *text;

    json_array_foreach(config_models(config), i, model)
    {
        struct validation v = validation_init();

        model_config_free(model_config_parse(model, &v));
        json_array_foreach(v.warnings, j, text)
        {
            fprintf(stderr, "%s:%d: model '%s': %s\n", file, config_model_line(config, i),
                    member_str(model, "id", "?"), json_string_value(text));
        }
        validation_finish(&v);
    }
}

static int check(struct cli *cli, const char *given)
{
    _cleanup_(freep) char *file = daemon_config_path(given);
    struct config *config = NULL;
    struct error e = { 0 };
    size_t models;

    if (!file) {
        complain("config check needs a file");
        return error_kind(-EINVAL)->exit_code;
    }
    if (daemon_load_config(file, NULL, &config, &e) < 0) {
        complain("%s", e.text);
        return error_kind(-EINVAL)->exit_code;
    }
    print_warnings(config, file);
    models = json_array_size(config_models(config));
    if (cli->json) {
        printf("{\"ok\":true,\"models\":%zu}\n", models);
    } else {
        printf("%s is good, with %zu model%s\n", file, models, models == 1 ? "" : "s");
    }
    config_free(config);
    return 0;
}

/* ---- show ---- */

static const char *const headings[] = { "OPTION", "VALUE", "FROM" };

static void add_option_row(struct table *t, const char *section, const char *key,
                           const json_t *option)
{
    _cleanup_(freep) char *value =
        json_dumps(json_object_get(option, "value"), JSON_COMPACT | JSON_ENCODE_ANY);

    table_cell(t, "%s.%s", section, key);
    table_cell(t, "%s", value ? value : "");
    table_cell(t, "%s", member_str(option, "source", ""));
}

static int show(struct cli *cli)
{
    struct reply reply;
    struct table *t;
    const char *section, *key;
    json_t *options, *option;
    int code = cli_ask(cli, "GET", "/api/config", NULL, &reply);

    if (code != 0) {
        return code;
    }
    if (cli->json) {
        print_json(reply.json);
        reply_finish(&reply);
        return 0;
    }
    t = table_create(headings, ARRAY_SIZE(headings));
    json_object_foreach(json_object_get(reply.json, "options"), section, options)
    {
        json_object_foreach(options, key, option)
        {
            add_option_row(t, section, key, option);
        }
    }
    table_print(t, stdout, cli->color);
    table_free(t);
    reply_finish(&reply);
    return 0;
}

/* ---- sample ---- */

static void sample_list(const char *def)
{
    struct span rest = span_of(def);

    fputs("[", stdout);
    while (rest.n > 0) {
        const struct span item = span_trim(span_cut(&rest, ','));

        printf("\"%.*s\"%s", SPAN_ARG(item), rest.n > 0 ? ", " : "");
    }
    puts("]");
}

static void sample_row(const struct option_row *row, char section[64])
{
    const size_t n = strcspn(row->name, ".");

    if (strncmp(section, row->name, n) != 0 || section[n] != '\0') {
        snprintf(section, 64, "%.*s", (int)n, row->name);
        printf("\n# %s:\n", section);
    }
    printf("#   # %s%s%s%s\n", row->help, row->words ? " One of: " : "",
           row->words ? row->words : "", row->reload ? "" : " (restart)");
    printf("#   %s: ", row->name + n + 1);
    if (row->type == OPTION_LIST) {
        sample_list(row->def);
    } else {
        printf(row->type == OPTION_STRING ? "\"%s\"\n" : "%s\n", row->def);
    }
}

/* All rows of a section together, though several rooms may share one. */
static void sample_section(const char *name, size_t n)
{
    const struct option_table *const *tables = daemon_option_tables();
    char section[64] = "";

    for (size_t t = 0; tables[t]; t++) {
        for (size_t i = 0; i < tables[t]->count; i++) {
            const struct option_row *row = &tables[t]->rows[i];

            if (strncmp(row->name, name, n) == 0 && row->name[n] == '.') {
                sample_row(row, section);
            }
        }
    }
}

/* Is this row the first of its section? */
static bool opens_section(const struct option_row *row)
{
    const struct option_table *const *tables = daemon_option_tables();
    const size_t n = strcspn(row->name, ".") + 1;

    for (size_t t = 0; tables[t]; t++) {
        for (size_t i = 0; i < tables[t]->count; i++) {
            const struct option_row *other = &tables[t]->rows[i];

            if (strncmp(other->name, row->name, n) == 0) {
                return other == row;
            }
        }
    }
    return true;
}

static int sample(void)
{
    const struct option_table *const *tables = daemon_option_tables();

    puts("# berth's configuration. Every value is shown with its default; uncomment what you "
         "change.\n"
         "# Any of them can also be set in the environment: server.listen as BERTH_SERVER_LISTEN.");
    for (size_t t = 0; tables[t]; t++) {
        for (size_t i = 0; i < tables[t]->count; i++) {
            const struct option_row *row = &tables[t]->rows[i];

            if (opens_section(row)) {
                sample_section(row->name, strcspn(row->name, "."));
            }
        }
    }
    puts("\n# models:\n"
         "#   - id: tiny\n#     name: Tiny chat\n#     framework: llama_cpp\n"
         "#     model_path: /models/tiny-q4.gguf\n#     priority: 5\n#     autostart: true\n"
         "#     parameters: { ctx_size: 4096, parallel: 4 }\n"
         "#     resource_requirements: { gpu_memory: 6000 }");
    return 0;
}

static int run(struct cli *cli)
{
    if (str_eq(cli->args[0], "check")) {
        return check(cli, cli->arg_count > 1 ? cli->args[1] : NULL);
    }
    if (str_eq(cli->args[0], "show")) {
        return show(cli);
    }
    if (str_eq(cli->args[0], "sample")) {
        return sample();
    }
    complain("config: '%s' is none of check, show, sample", cli->args[0]);
    return error_kind(-EINVAL)->exit_code;
}

const struct command config_command = {
    "config",
    "check [FILE] | show | sample",
    "Checks a configuration file, shows what the daemon runs with, or prints a commented sample.",
    NULL,
    1,
    2,
    run,
};
