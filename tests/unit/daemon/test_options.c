// SPDX-License-Identifier: Apache-2.0
/* The configuration as a whole: what is refused, and that the words say where it stands. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "daemon/daemon.h"
#include "daemon/foreign_options.h"
#include "daemon/options.h"

#define MODEL(id, path, more)                                                                      \
    "  - id: " id "\n    name: x\n    framework: llama_cpp\n    model_path: " path "\n"            \
    "    priority: 5\n    resource_requirements: {gpu_memory: 10}\n" more

struct place {
    char root[64];
    char *file;
};

static int set_up(void **state)
{
    struct place *p = xcalloc(1, sizeof(*p));

    strcpy(p->root, "/tmp/berth-options-XXXXXX");
    assert_non_null(mkdtemp(p->root));
    p->file = xasprintf("%s/berth.yaml", p->root);
    unsetenv("BERTH_SERVER_LISTEN");
    unsetenv("BERTH_DATA_DIR");
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;

    assert_int_equal(chdir("/"), 0);
    unlink(p->file);
    rmdir(p->root);
    free(p->file);
    free(p);
    return 0;
}

static void write_file(const struct place *p, const char *text)
{
    int fd = open(p->file, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static struct config *load_well(const char *path, const char *const *listen)
{
    struct config *config = NULL;
    struct error e = { 0 };

    if (daemon_load_config(path, listen, &config, &e) < 0) {
        fail_msg("%s", e.text);
    }
    return config;
}

static void load_badly(const struct place *p, const char *text, const char *place,
                       const char *words)
{
    struct config *config = NULL;
    struct error e = { 0 };

    write_file(p, text);
    assert_true(daemon_load_config(p->file, NULL, &config, &e) < 0);
    assert_null(config);
    if (!strstr(e.text, place) || !strstr(e.text, words)) {
        fail_msg("'%s' does not say '%s' and '%s'", e.text, place, words);
    }
}

static void bad_addresses_are_refused(void **state)
{
    static const char *const one[] = { "nowhere:99999", NULL };
    static const char *const none[] = { NULL };
    struct config *config = NULL;
    struct error e = { 0 };

    load_badly(*state, "server:\n  listen: [\"127.0.0.1:8080\", \"nonsense\"]\n", "berth.yaml:2",
               "server.listen");
    load_badly(*state, "server:\n  listen: []\n", "berth.yaml:2", "no address");
    assert_int_equal(daemon_load_config(NULL, one, &config, &e), -EINVAL);
    assert_non_null(strstr(e.text, "server.listen (BERTH_SERVER_LISTEN)"));
    assert_int_equal(daemon_load_config(NULL, none, &config, &e), -EINVAL);
    assert_null(config);
}

static void more_addresses_than_there_is_room_for_are_refused(void **state)
{
    static const char *list[18];
    struct config *config = NULL;
    struct error e = { 0 };

    for (int i = 0; i < 17; i++) {
        list[i] = "127.0.0.1:0";
    }
    assert_int_equal(daemon_load_config(NULL, list, &config, &e), -EINVAL);
    assert_non_null(strstr(e.text, "more than 16"));
    list[16] = NULL;
    config_free(load_well(NULL, list));
}

static void the_command_line_wins_over_file_and_environment(void **state)
{
    static const char *const listen[] = { "127.0.0.1:1", "[::1]:2", NULL };
    struct place *p = *state;
    struct config *config;

    write_file(p, "server:\n  listen: [\"127.0.0.1:3\"]\n");
    config = load_well(p->file, NULL);
    assert_string_equal(config_list(config, "server.listen")[0], "127.0.0.1:3");
    config_free(config);
    setenv("BERTH_SERVER_LISTEN", "127.0.0.1:4", 1);
    config = load_well(p->file, NULL);
    assert_string_equal(config_list(config, "server.listen")[0], "127.0.0.1:4");
    config_free(config);
    config = load_well(p->file, listen);
    assert_string_equal(config_list(config, "server.listen")[0], "127.0.0.1:1");
    assert_string_equal(config_list(config, "server.listen")[1], "[::1]:2");
    assert_null(config_list(config, "server.listen")[2]);
    config_free(config);
}

static void models_that_are_wrong_are_refused_with_their_line(void **state)
{
    load_badly(*state, "models:\n" MODEL("a", "m.gguf", "") MODEL("a", "n.gguf", ""),
               "berth.yaml:8", "the name 'a' is given twice");
    load_badly(*state,
               "models:\n" MODEL("a", "m.gguf", "    aliases: [x]\n")
                   MODEL("b", "n.gguf", "    aliases: [y, x]\n"),
               "berth.yaml:9", "the name 'x' is given twice");
    load_badly(*state, "models:\n" MODEL("a", "m.gguf", "    parameters: {ctx_size: -5}\n"),
               "berth.yaml:2", "ctx_size");
    load_badly(*state, "\nmodels:\n  - id: a\n    name: x\n", "berth.yaml:3", "model 1: ");
    load_badly(*state,
               "models:\n" MODEL("a", "m.gguf", "") MODEL("b", "m", "    gpu_devices: all\n"),
               "berth.yaml:8", "gpu_devices");
    load_badly(*state,
               "models:\n  - id: c\n    name: x\n    framework: abacus\n    model_path: m\n"
               "    priority: 5\n    resource_requirements: {gpu_memory: 10}\n",
               "berth.yaml:2", "abacus");
}

static void relative_model_paths_count_from_the_file(void **state)
{
    struct place *p = *state;
    _cleanup_(freep) char *expected = xasprintf("%s/sub/m.gguf", p->root);
    struct model_config **models = NULL;
    struct config *config;
    struct error e = { 0 };
    size_t count = 0;

    write_file(p, "models:\n" MODEL("a", "sub/m.gguf", "") MODEL("b", "/abs/n.gguf", ""));
    assert_int_equal(chdir(p->root), 0);
    config = load_well("berth.yaml", NULL);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(options_models(config, &models, &count, &e), 0);
    assert_int_equal(count, 2);
    assert_string_equal(models[0]->id, "a");
    assert_string_equal(models[0]->model_path, expected);
    assert_string_equal(models[1]->model_path, "/abs/n.gguf");
    for (size_t i = 0; i < count; i++) {
        model_config_free(models[i]);
    }
    free(models);
    config_free(config);
}

/* A URL or a hub's name is no path, unless a file of that name lies beside the configuration. */
static void what_need_not_be_a_file_stays_as_it_is(void **state)
{
#define OTHER(id, kind, path)                                                                      \
    "  - {id: " id ", name: x, model_path: \"" path "\", " kind ", priority: 5, "                  \
    "resource_requirements: {gpu_memory: 1}}\n"
#define COMMAND "framework: command, parameters: {command: \"x ${PORT}\"}"
    static const char *const wanted[] = { "https://api.example.com/v1", "org/model" };
    struct place *p = *state;
    struct model_config **models = NULL;
    struct config *config;
    struct error e = { 0 };
    size_t count = 0;

    write_file(p, "models:\n" OTHER("a", "framework: openai", "https://api.example.com/v1")
                      OTHER("b", COMMAND, "org/model") OTHER("c", COMMAND, "berth.yaml"));
    config = load_well(p->file, NULL);
    assert_int_equal(options_models(config, &models, &count, &e), 0);
    assert_int_equal(count, 3);
    assert_string_equal(models[0]->model_path, wanted[0]);
    assert_string_equal(models[1]->model_path, wanted[1]);
    assert_string_equal(models[2]->model_path, p->file);
    for (size_t i = 0; i < count; i++) {
        model_config_free(models[i]);
    }
    free(models);
    config_free(config);
#undef COMMAND
#undef OTHER
}

static void a_typing_error_is_refused_with_its_line(void **state)
{
    load_badly(*state, "server:\n  max_bodi: 1MiB\n", "berth.yaml:2", "max_body");
    load_badly(*state, "log:\n  level: loud\n", "berth.yaml:2", "log.level");
}

static void the_data_directory_is_absolute(void **state)
{
    struct place *p = *state;
    char *dir;

    assert_int_equal(chdir(p->root), 0);
    dir = daemon_data_dir("here");
    assert_true(str_starts(dir, p->root) && str_ends(dir, "/here"));
    free(dir);
    setenv("BERTH_DATA_DIR", "/from/environment", 1);
    dir = daemon_data_dir(NULL);
    assert_string_equal(dir, "/from/environment");
    free(dir);
    dir = daemon_data_dir("/given");
    assert_string_equal(dir, "/given");
    free(dir);
    setenv("BERTH_DATA_DIR", "", 1);
    dir = daemon_data_dir(NULL);
    assert_true(str_ends(dir, "/" DEFAULT_DATA_DIR));
    free(dir);
}

static void origins_that_are_none_are_refused(void **state)
{
    load_badly(*state, "cors:\n  origins: [\"https://a.example\", \"https://b.example/\"]\n",
               "berth.yaml:2", "'https://b.example/' is no origin");
    write_file(*state, "cors:\n  origins: [\"https://a.example:8443\", \"*\"]\n");
    config_free(load_well(((struct place *)*state)->file, NULL));
}

/* A store or queue that this build lacks is refused by name and place, never replaced quietly. */
static void stores_that_are_not_there_are_refused(void **state)
{
    load_badly(*state, "database:\n  driver: mysql\n", "berth.yaml:2", "database.driver");
    load_badly(*state, "database:\n  driver: postgres\n  host: db\n", "berth.yaml:2", "SQLite");
    load_badly(*state, "database:\n  host: localhost\n  port: 3306\n", "berth.yaml:2",
               "database.host");
    load_badly(*state, "database:\n  url: postgresql://u:geheim@db/x\n", "berth.yaml:2",
               "database.url");
    load_badly(*state, "redis:\n  host: localhost\n", "berth.yaml:2", "Redis");
    load_badly(*state, "database: {url: \"sqlite:x\"}\nredis: {db: 0}\n", "berth.yaml:2",
               "redis.db");
}

static void sqlite_is_what_there_is(void **state)
{
    static const char *const good[] = {
        "database:\n  driver: sqlite\n",
        "database:\n  driver: SQLite3\n  max_open_conns: 10\n",
        "database:\n  url: sqlite:///berth.db\n",
        "database:\n",
        "database: {driver: sqlite, host: db}\nredis: {host: r, port: 6379, db: 0}\n",
        "redis: {}\n",
        "redis: {host: \"\"}\n",
    };
    struct place *p = *state;

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        write_file(p, good[i]);
        config_free(load_well(p->file, NULL));
    }
}

struct setting {
    const char *name, *value;
    bool good;
};

static void check_setting(const char *path, const struct setting *s)
{
    struct config *config = NULL;
    struct error e = { 0 };
    int r;

    setenv(s->name, s->value, 1);
    r = daemon_load_config(path, NULL, &config, &e);
    unsetenv(s->name);
    if ((r == 0) != s->good) {
        fail_msg("%s=%s: %d '%s'", s->name, s->value, r, e.text);
    }
    if (r < 0) { /* its name, how to go on, and nothing of a value that may hold a password */
        assert_non_null(strstr(e.text, s->name));
        assert_non_null(strstr(e.text, "env -u"));
        assert_null(strstr(e.text, "geheim"));
    }
    config_free(config);
}

static void the_environment_of_other_programs_is_heard(void **state)
{
    // clang-format off
    static const struct setting settings[] = {
        { "DATABASE_URL", "mysql://u:geheim@db/x", false },
        { "DATABASE_URL", "postgresql://u:geheim@db/x", false },
        { "DATABASE_URL", "sqliteish://x", false },
        { "DATABASE_URL", "sqlite:///./x.db", true },
        { "DATABASE_URL", "sqlite+aiosqlite:///./x.db", true },
        { "DATABASE_URL", "", true },
        { "DB_DRIVER", "mysql", false },
        { "DB_DRIVER", "sqlite", true },
        { "DB_HOST", "localhost", false },
        { "DB_HOST", "", true },
        { "DB_HOSTNAME", "localhost", true },
        { "LLM_SCHEDULER_DB_HOST", "db", false },
        { "REDIS_HOST", "localhost", false },
        { "REDIS_URL", "redis://:geheim@r:6379/0", false },
        { "LLM_SCHEDULER_REDIS_HOST", "r", false },
        { "REDIS_HOST", "", true },
    };
    // clang-format on
    static const struct setting silenced[] = {
        { "DB_HOST", "localhost", true },
        { "DATABASE_URL", "mysql://db/x", true },
        { "REDIS_HOST", "localhost", true },
    };
    struct place *p = *state;

    for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
        check_setting(NULL, &settings[i]);
    }
    write_file(p, "database: {driver: sqlite}\n"); /* our own word goes before theirs */
    for (size_t i = 0; i < ARRAY_SIZE(silenced); i++) {
        check_setting(p->file, &silenced[i]);
    }
}

/* Names of other programs' files take effect under ours, unless ours are there too. */
static void other_programs_names_are_understood(void **state)
{
    struct place *p = *state;
    struct config *config;
    json_t *notes;
    char *text;

    write_file(p, "app: {name: x, env: dev}\n"
                  "server: {host: 0.0.0.0, port: 9000, read_timeout: 45s, mode: debug}\n"
                  "logging: {level: warning, format: console}\n"
                  "cors: {allow_origins: [\"https://a.example\", \"https://b.example\"]}\n"
                  "models: {openai: {base_url: \"https://m.example/v1\", timeout: 60s}}\n");
    config = load_well(p->file, NULL);
    assert_string_equal(config_list(config, "server.listen")[0], "0.0.0.0:9000");
    assert_int_equal(config_duration_ms(config, "server.body_timeout"), 45000);
    assert_string_equal(config_string(config, "log.level"), "warn");
    assert_string_equal(config_string(config, "log.format"), "text");
    assert_string_equal(config_list(config, "cors.origins")[1], "https://b.example");
    assert_string_equal(config_string(config, "task_models.openai_url"), "https://m.example/v1");
    assert_int_equal(json_array_size(config_models(config)), 0);
    assert_non_null(strstr(config_source(config, "server.listen"), "berth.yaml:2"));
    notes = foreign_options_notes(config);
    text = json_dumps(notes, 0);
    assert_non_null(strstr(text, "app.name"));
    assert_non_null(strstr(text, "models.openai.timeout"));
    assert_non_null(strstr(text, "is taken as log.level"));
    assert_null(strstr(text, "has no effect: "));
    free(text);
    json_decref(notes);
    config_free(config);

    write_file(p, "server: {listen: \"127.0.0.1:7000\", port: 9000}\n");
    config = load_well(p->file, NULL);
    assert_string_equal(config_list(config, "server.listen")[0], "127.0.0.1:7000");
    notes = foreign_options_notes(config);
    text = json_dumps(notes, 0);
    assert_non_null(strstr(text, "has no effect: server.listen"));
    free(text);
    json_decref(notes);
    config_free(config);
    load_badly(p, "logging:\n  level: loud\n", "berth.yaml:2", "log.level");
    load_badly(p, "server:\n  port: many\n", "berth.yaml:2", "server.listen");
    load_badly(p, "models:\n  gemini: {}\n", "berth.yaml:2", "gemini");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bad_addresses_are_refused),
        TEST(more_addresses_than_there_is_room_for_are_refused),
        TEST(the_command_line_wins_over_file_and_environment),
        TEST(models_that_are_wrong_are_refused_with_their_line),
        TEST(relative_model_paths_count_from_the_file),
        TEST(what_need_not_be_a_file_stays_as_it_is),
        TEST(a_typing_error_is_refused_with_its_line),
        TEST(the_data_directory_is_absolute),
        TEST(origins_that_are_none_are_refused),
        TEST(stores_that_are_not_there_are_refused),
        TEST(sqlite_is_what_there_is),
        TEST(the_environment_of_other_programs_is_heard),
        TEST(other_programs_names_are_understood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
