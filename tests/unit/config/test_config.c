// SPDX-License-Identifier: Apache-2.0
/* Configuration: where values come from, what is refused and in which line, what a reload would
 * change. */
#include "unit.h"

#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "config/config.h"

// clang-format off
static const struct option_row server_rows[] = {
    { "server.listen",      OPTION_LIST,     "127.0.0.1:8080", 0, 0, NULL, false, false, "Where." },
    { "server.max_body",    OPTION_BYTES,    "32MiB", 1024, 1 << 30, NULL, true, false, "How much." },
    { "server.grace",       OPTION_DURATION, "30s", 1000, 3600000, NULL, true, false, "How long." },
    { "server.connections", OPTION_INT,      "100", 1, 5000, NULL, true, false, "How many." },
    { "server.name",        OPTION_STRING,   "", 0, 0, NULL, true, false, "What." },
};
static const struct option_row access_rows[] = {
    { "access.keys",      OPTION_ENUM,   "auto", 0, 0, "auto on off", false, false, "Whether." },
    { "access.admin_key", OPTION_STRING, "", 0, 0, NULL, true, true, "A secret." },
    { "access.cors",      OPTION_BOOL,   "false", 0, 0, NULL, true, false, "Whether." },
};
// clang-format on

static const struct option_table server_table = { server_rows, ARRAY_SIZE(server_rows) };
static const struct option_table access_table = { access_rows, ARRAY_SIZE(access_rows) };
static const struct option_table *const tables[] = { &server_table, &access_table, NULL };

struct dir {
    char path[32], file[48];
};

static int set_up(void **state)
{
    struct dir *d = xcalloc(1, sizeof(*d));

    strcpy(d->path, "/tmp/test-config-XXXXXX");
    assert_non_null(mkdtemp(d->path));
    snprintf(d->file, sizeof(d->file), "%s/b.yaml", d->path);
    *state = d;
    return 0;
}

static int tear_down(void **state)
{
    struct dir *d = *state;

    unlink(d->file);
    rmdir(d->path);
    free(d);
    return 0;
}

static void write_file(const struct dir *d, const char *yaml)
{
    FILE *f = fopen(d->file, "w");

    assert_non_null(f);
    fputs(yaml, f);
    fclose(f);
}

static int load(const struct dir *d, const char *yaml, const char *const *env, struct config **ret,
                struct error *e)
{
    write_file(d, yaml);
    return config_load(d->file, env, tables, ret, e);
}

static struct config *loaded(const struct dir *d, const char *yaml, const char *const *env)
{
    struct config *c = NULL;
    struct error e = { 0 };

    if (load(d, yaml, env, &c, &e) < 0) {
        fail_msg("%s", e.text);
    }
    return c;
}

static void defaults_need_no_file(void **state)
{
    struct config *c = NULL;

    assert_int_equal(config_load(NULL, NULL, tables, &c, NULL), 0);
    assert_string_equal(config_list(c, "server.listen")[0], "127.0.0.1:8080");
    assert_null(config_list(c, "server.listen")[1]);
    assert_int_equal(config_bytes(c, "server.max_body"), 32 << 20);
    assert_int_equal(config_duration_ms(c, "server.grace"), 30000);
    assert_int_equal(config_int(c, "server.connections"), 100);
    assert_string_equal(config_string(c, "server.name"), "");
    assert_string_equal(config_string(c, "access.keys"), "auto");
    assert_false(config_bool(c, "access.cors"));
    assert_string_equal(config_source(c, "access.cors"), "default");
    assert_int_equal(json_array_size(config_models(c)), 0);
    assert_int_equal(config_model_line(c, 0), 0);
    assert_null(config_path(c));
    config_free(c);
}

static void the_environment_wins_over_the_file(void **state)
{
    const struct dir *d = *state;
    const char *const env[] = { "HOME=/root", "BERTH_SERVER_CONNECTIONS=7",
                                "BERTH_ACCESS_ADMIN_KEY=a,b",
                                "BERTH_SERVER_LISTEN=[::1]:1, 0.0.0.0:2", NULL };
    struct config *c = loaded(
        d, "server:\n  connections: 5\n  grace: 2m\naccess:\n  cors: on\n  keys: off\n", env);
    char source[64];

    snprintf(source, sizeof(source), "%s:3", d->file);
    assert_int_equal(config_int(c, "server.connections"), 7);
    assert_string_equal(config_source(c, "server.connections"), "BERTH_SERVER_CONNECTIONS");
    assert_int_equal(config_duration_ms(c, "server.grace"), 120000);
    assert_string_equal(config_source(c, "server.grace"), source);
    assert_string_equal(config_string(c, "access.admin_key"), "a,b");
    assert_true(config_bool(c, "access.cors"));
    assert_string_equal(config_string(c, "access.keys"), "off");
    assert_string_equal(config_list(c, "server.listen")[0], "[::1]:1");
    assert_string_equal(config_list(c, "server.listen")[1], "0.0.0.0:2");
    assert_string_equal(config_path(c), d->file);
    config_free(c);
}

static void plain_scalars_are_read_as_their_row_wants(void **state)
{
    struct config *c =
        loaded(*state,
               "server: {grace: 1.5, max_body: 2048, name: 0755, listen: [1, 'a,b', \"\"]}\n"
               "access:\n",
               NULL);

    assert_int_equal(config_duration_ms(c, "server.grace"), 1500);
    assert_int_equal(config_bytes(c, "server.max_body"), 2048);
    assert_string_equal(config_string(c, "server.name"), "0755");
    assert_string_equal(config_list(c, "server.listen")[0], "1");
    assert_string_equal(config_list(c, "server.listen")[1], "a,b");
    assert_string_equal(config_list(c, "server.listen")[2], "");
    assert_null(config_list(c, "server.listen")[3]);
    config_free(c);
}

static void the_environment_is_expanded(void **state)
{
    const char *const env[] = { "PORT=81", "EMPTY=", "NAME=it: \"s $$ ${PORT}", NULL };
    struct config *c = loaded(*state,
                              "server:\n  connections: ${PORT}\n  name: 'a$$b$c${EMPTY}${NAME}'\n"
                              "  listen: ['x:${PORT}']\n"
                              "models:\n  - id: m${PORT}\n    list: [{deep: '${PORT}', n: 1}]\n",
                              env);
    json_t *m = json_array_get(config_models(c), 0);

    assert_int_equal(config_int(c, "server.connections"), 81);
    assert_string_equal(config_string(c, "server.name"), "a$b$cit: \"s $$ ${PORT}");
    assert_string_equal(config_list(c, "server.listen")[0], "x:81");
    assert_string_equal(json_string_value(json_object_get(m, "id")), "m81");
    m = json_array_get(json_object_get(m, "list"), 0);
    assert_string_equal(json_string_value(json_object_get(m, "deep")), "81");
    assert_int_equal(json_integer_value(json_object_get(m, "n")), 1);
    config_free(c);
}

static const char *text_of(const struct config *c, size_t model, const char *member)
{
    return json_string_value(json_object_get(json_array_get(config_models(c), model), member));
}

/* ${PORT} and its like in an engine's command line are the engine's, not the environment's. */
static void an_engines_own_names_are_left_to_it(void **state)
{
    const struct dir *d = *state;
    const char *const env[] = { "PORT=1", "HOME=/h", NULL };
    struct config *c = loaded(d,
                              "models:\n"
                              "  - name: ${PORT}\n"
                              "    parameters:\n"
                              "      command: run ${HOME}/x ${MODEL} ${MODEL_ID} ${PORT} $$5\n"
                              "  - parameters: { command: [ run, \"unix:${SOCKET}\" ] }\n"
                              "  - framework: command\n"
                              "    additional_parameters: --port ${PORT} ${HOME}\n"
                              "    parameters: { env: { P: \"${PORT}\" } }\n"
                              "  - framework: llama_cpp\n"
                              "    additional_parameters: --x ${PORT}\n",
                              env);
    const json_t *first = json_array_get(config_models(c), 0),
                 *second = json_array_get(config_models(c), 1);
    const json_t *parameters = json_object_get(first, "parameters");
    const json_t *words = json_object_get(json_object_get(second, "parameters"), "command");
    struct config *none = NULL;
    struct error e;

    assert_string_equal(json_string_value(json_object_get(first, "name")), "1");
    assert_string_equal(json_string_value(json_object_get(parameters, "command")),
                        "run /h/x ${MODEL} ${MODEL_ID} ${PORT} $$5");
    assert_string_equal(json_string_value(json_array_get(words, 1)), "unix:${SOCKET}");
    assert_string_equal(text_of(c, 2, "additional_parameters"), "--port ${PORT} /h");
    assert_string_equal(
        json_string_value(json_object_get(
            json_object_get(json_object_get(json_array_get(config_models(c), 2), "parameters"),
                            "env"),
            "P")),
        "${PORT}");
    assert_string_equal(text_of(c, 3, "additional_parameters"), "--x 1");
    config_free(c);
    assert_int_equal(
        load(d, "models:\n  - parameters: { command: \"a ${NOPE}\" }\n", env, &none, &e), -EINVAL);
    assert_non_null(strstr(e.text, "the environment has no NOPE"));
}

static void ranges_are_told_in_words(void **state)
{
    const struct option_row time = { "a.b", OPTION_DURATION, "1s", 250, 86400000 },
                            size = { "a.b", OPTION_BYTES, "1K", 1536, 1ll << 40 },
                            count = { "a.b", OPTION_INT, "1", 0, 60000 },
                            any = { "a.b", OPTION_INT, "1", 0, 0 };
    char text[OPTION_RANGE_SIZE];

    assert_true(option_range(&time, text));
    assert_string_equal(text, "250ms to 1d");
    assert_true(option_range(&size, text));
    assert_string_equal(text, "1536 to 1TiB");
    assert_true(option_range(&count, text));
    assert_string_equal(text, "0 to 60000");
    assert_false(option_range(&any, text));
}

static void task_types_are_a_list_like_models(void **state)
{
    static const char *const env[] = { "LANGUAGE=Welsh", NULL };
    struct config *c =
        loaded(*state,
               "server: {name: x}\n"
               "task_types:\n"
               "  - name: a\n"
               "    template: {messages: [{content: '{{input}} in ${LANGUAGE} $$1'}]}\n"
               "  - name: b\n",
               env);
    json_t *types = config_task_types(c);
    const json_t *messages =
        json_object_get(json_object_get(json_array_get(types, 0), "template"), "messages");

    assert_int_equal(json_array_size(types), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(messages, 0), "content")),
                        "{{input}} in Welsh $1");
    assert_int_equal(config_task_type_line(c, 0), 3);
    assert_int_equal(config_task_type_line(c, 1), 5);
    assert_int_equal(config_task_type_line(c, 2), 0);
    assert_int_equal(json_array_size(config_models(c)), 0);
    config_free(c);
}

/* `models` may be a section, too, where it has rows; its sections have keys of their own. */
static void sections_within_sections(void **state)
{
    static const struct option_row rows[] = {
        { "models.remote.timeout", OPTION_DURATION, "1s", 0, 0, NULL, true, false, "How long." },
        { "server.tls.name", OPTION_STRING, "", 0, 0, NULL, true, false, "What." },
    };
    static const struct option_table table = { rows, ARRAY_SIZE(rows) };
    static const struct option_table *const nested[] = { &table, NULL };
    struct dir *d = *state;
    struct config *c = NULL;
    struct error e = { 0 };

    write_file(d, "server: {tls: {name: x}}\nmodels:\n  remote:\n    timeout: 5s\n");
    assert_int_equal(config_load(d->file, NULL, nested, &c, &e), 0);
    assert_string_equal(config_string(c, "server.tls.name"), "x");
    assert_int_equal(config_duration_ms(c, "models.remote.timeout"), 5000);
    assert_int_equal(json_array_size(config_models(c)), 0);
    config_free(c);
    write_file(d, "models:\n  remote:\n    time: 5s\n");
    assert_int_equal(config_load(d->file, NULL, nested, &c, &e), -EINVAL);
    assert_non_null(strstr(e.text, ":3: there is no option 'models.remote.time'"));
}

static void models_keep_their_lines(void **state)
{
    struct config *c = loaded(*state, "models:\n  - id: a\n    x: 1\n\n  - id: b\n", NULL);

    assert_int_equal(json_array_size(config_models(c)), 2);
    assert_int_equal(config_model_line(c, 0), 2);
    assert_int_equal(config_model_line(c, 1), 5);
    assert_int_equal(config_model_line(c, 2), 0);
    config_free(c);
}

struct refusal {
    const char *yaml, *sentence; /* behind "FILE:" */
};

static void the_file_is_refused_with_line_and_key(void **state)
{
    static const struct refusal refusals[] = {
        { "server:\n  listn: x\n",
          "2: there is no option 'server.listn'; did you mean 'server.listen'?" },
        { "access:\n  max_body: 1\n",
          "2: there is no option 'access.max_body'; did you mean 'server.max_body'?" },
        { "server:\n  utterly_else: 1\n", "2: there is no option 'server.utterly_else'" },
        { "\nsevrer:\n  listen: x\n", "2: there is no section 'sevrer'; did you mean 'server'?" },
        { "model: []\n", "1: there is no section 'model'; did you mean 'models'?" },
        { "xyzzy:\n", "1: there is no section 'xyzzy'" },
        { "server: 5\n", "1: 'server' must be a section with keys" },
        { "- a\n", "1: the file must hold sections" },
        { "models: 5\n", "1: 'models' must be a list" },
        { "task_types: {a: {}}\n", "1: 'task_types' must be a list" },
        { "task_type: []\n", "1: there is no section 'task_type'; did you mean 'task_types'?" },
        { "task_types:\n - name: a\n   help: ${NOT_THERE}\n",
          "3: the environment has no NOT_THERE" },
        { "server:\n  connections: many\n",
          "2: server.connections must be a whole number, not \"many\"" },
        { "server:\n  connections: 0\n", "2: server.connections is out of range: 1 to 5000" },
        { "server:\n  connections: 5001\n", "2: server.connections is out of range: 1 to 5000" },
        { "server:\n\n  grace: 2h\n", "3: server.grace is out of range: 1s to 1h" },
        { "server:\n  grace: soon\n",
          "2: server.grace must be a duration such as 300s, 5m or 250ms, not \"soon\"" },
        { "server:\n  max_body: 1\n", "2: server.max_body is out of range: 1KiB to 1GiB" },
        { "server:\n  max_body: [1]\n", "2: server.max_body must be a plain value" },
        { "server:\n  name: 1.10\n", "2: server.name must be text: put the number in quotes" },
        { "server:\n  listen:\n   - {a: 1}\n", "2: server.listen must be a plain value" },
        { "access:\n  keys: maybe\n", "2: access.keys must be one of: auto on off; not \"maybe\"" },
        { "access:\n  cors: 2\n", "2: access.cors must be true or false, not \"2\"" },
        { "server:\n  name: a\n  name: b\n", "3: 'name' stands here twice, first in line 2" },
        { "server:\n  name: ${NOT_THERE}\n", "2: the environment has no NOT_THERE" },
        { "server:\n  name: '${A'\n", "2: ${A is not closed" },
        { "server:\n  name: '${A-b}'\n", "2: ${A-b} is not a name of the environment" },
        { "server:\n  name: '${BAD}'\n", "2: BAD in the environment is not UTF-8" },
        { "models:\n - id: a\n   b:\n    - x\n    - ${NOT_THERE}\n",
          "5: the environment has no NOT_THERE" },
    };
    const struct dir *d = *state;
    const char *const env[] = { "BAD=\xFF", NULL };

    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        struct config *c = NULL;
        struct error e = { 0 };
        char expected[300];

        snprintf(expected, sizeof(expected), "%s:%s", d->file, refusals[i].sentence);
        assert_int_equal(load(d, refusals[i].yaml, env, &c, &e), -EINVAL);
        assert_string_equal(e.text, expected);
        assert_null(c);
    }
}

static void the_environment_is_refused_by_name(void **state)
{
    const char *const range[] = { "BERTH_SERVER_CONNECTIONS=99999", NULL };
    const char *const bytes[] = { "BERTH_SERVER_NAME=\xFF", NULL };
    struct config *c = NULL;
    struct error e;

    assert_int_equal(config_load(NULL, range, tables, &c, &e), -EINVAL);
    assert_string_equal(e.text,
                        "BERTH_SERVER_CONNECTIONS: server.connections is out of range: 1 to 5000");
    assert_int_equal(config_load(NULL, bytes, tables, &c, &e), -EINVAL);
    assert_string_equal(e.text, "BERTH_SERVER_NAME: the value is not UTF-8");
    assert_null(c);
}

static void unknown_variables_are_only_warned_of(void **state)
{
    const char *const env[] = { "BERTH_SERVR_NAME=x", "BERTH_INSTANCE=x/y", "BERTH_DATA_DIR=/x",
                                "BERTH_CONFIG=f",     "BERTHOLD=x",         NULL };
    struct config *c = NULL;
    char log[2000] = "";
    int pipes[2];

    assert_int_equal(pipe(pipes), 0);
    log_set_fd(pipes[1]);
    assert_int_equal(config_load(NULL, env, tables, &c, NULL), 0);
    log_set_fd(-1);
    close(pipes[1]);
    assert_true(read(pipes[0], log, sizeof(log) - 1) > 0);
    close(pipes[0]);
    assert_non_null(strstr(log, "BERTH_SERVR_NAME"));
    assert_null(strchr(strchr(log, '\n') + 1, '\n')); /* one line */
    config_free(c);
}

static void files_that_are_not_there_are_named(void **state)
{
    struct config *c = NULL;
    struct error e;

    assert_int_equal(config_load("/no/such/file.yaml", NULL, tables, &c, &e), -ENOENT);
    assert_string_equal(e.text, "cannot read /no/such/file.yaml: No such file or directory");
    assert_true(config_load("/tmp", NULL, tables, &c, &e) < 0);
    assert_null(c);
}

static void bad_defaults_are_found_by_the_first_load(void **state)
{
    static const struct option_row rows[] = { { "a.b", OPTION_INT, "x", 0, 0, NULL, true, false,
                                                "" } };
    static const struct option_table table = { rows, 1 };
    const struct option_table *const list[] = { &table, NULL };
    struct config *c = NULL;
    struct error e;

    assert_int_equal(config_load(NULL, NULL, list, &c, &e), -EINVAL);
    assert_string_equal(e.text, "default: a.b must be a whole number, not \"x\"");
}

static void a_diff_tells_what_changed(void **state)
{
    struct config *a = loaded(
        *state, "server: {grace: 300s, name: x, listen: [a, b]}\naccess: {admin_key: one}\n", NULL);
    struct config *b = loaded(
        *state, "server: {grace: 5m, name: x, listen: 'a, c'}\naccess: {admin_key: two}\n", NULL);
    json_t *diff = config_diff(a, b), *same = config_diff(a, a);
    _cleanup_(freep) char *text = json_dumps(diff, JSON_COMPACT);

    assert_string_equal(text, "[{\"name\":\"server.listen\",\"from\":[\"a\",\"b\"],\"to\":[\"a\","
                              "\"c\"],\"restart_required\":true},"
                              "{\"name\":\"access.admin_key\",\"from\":\"***\",\"to\":\"***\","
                              "\"restart_required\":false}]");
    assert_int_equal(json_array_size(same), 0);
    json_decref(diff);
    json_decref(same);
    config_free(a);
    config_free(b);
}

static void secrets_are_not_shown(void **state)
{
    struct config *c = loaded(*state, "access: {admin_key: hush, cors: yes}\n", NULL);
    json_t *j = config_to_json(c);
    _cleanup_(freep) char *text = json_dumps(j, JSON_COMPACT);

    assert_string_equal(
        text,
        "{\"server\":{\"listen\":[\"127.0.0.1:8080\"],\"max_body\":\"32MiB\",\"grace\":\"30s\","
        "\"connections\":100,\"name\":\"\"},\"access\":{\"keys\":\"auto\",\"admin_key\":\"***\","
        "\"cors\":true}}");
    json_decref(j);
    config_free(c);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults_need_no_file),
        TEST(the_environment_wins_over_the_file),
        TEST(plain_scalars_are_read_as_their_row_wants),
        TEST(the_environment_is_expanded),
        TEST(an_engines_own_names_are_left_to_it),
        TEST(ranges_are_told_in_words),
        TEST(models_keep_their_lines),
        TEST(task_types_are_a_list_like_models),
        TEST(sections_within_sections),
        TEST(the_file_is_refused_with_line_and_key),
        TEST(the_environment_is_refused_by_name),
        TEST(unknown_variables_are_only_warned_of),
        TEST(files_that_are_not_there_are_named),
        TEST(bad_defaults_are_found_by_the_first_load),
        TEST(a_diff_tells_what_changed),
        TEST(secrets_are_not_shown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
