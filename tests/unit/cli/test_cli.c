// SPDX-License-Identifier: Apache-2.0
/* The command line: how options and words are read, what is said of wrong ones, tables, addresses,
 * exit codes. */
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/stream.h"
#include "cli/cli.h"
#include "cli/cli_int.h"
#include "config/config.h"
#include "daemon/daemon.h"
#include "daemon/foreign_options.h"
#include "unit.h"

static int parse(struct cli *cli, struct error *e, const char *const *words)
{
    char *argv[16];
    int argc = 0;

    while (words[argc]) {
        argv[argc] = UNCONST(char *, words[argc]);
        argc++;
    }
    memset(cli, 0, sizeof(*cli));
    return cli_parse(cli, argc, argv, e);
}
#define PARSE(...) parse(&cli, &e, (const char *const[]){ __VA_ARGS__, NULL })

static void test_options(void **state)
{
    struct cli cli;
    struct error e = { 0 };
    uint64_t n;

    assert_int_equal(PARSE("--data-dir", "/d", "logs", "tiny", "-n", "5", "-f", "--json"), 0);
    assert_string_equal(cli.command->name, "logs");
    assert_string_equal(cli.data_dir, "/d");
    assert_string_equal(cli.args[0], "tiny");
    assert_true(cli.json);
    assert_non_null(cli_value(&cli, "follow"));
    assert_int_equal(cli_number(&cli, "lines", 1, &n), 0);
    assert_int_equal(n, 5);

    assert_int_equal(PARSE("logs", "--lines=7", "--url=http://h:1", "tiny"), 0);
    assert_int_equal(cli_number(&cli, "lines", 1, &n), 0);
    assert_int_equal(n, 7);
    assert_string_equal(cli.url, "http://h:1");
    assert_null(cli_value(&cli, "follow"));

    assert_int_equal(PARSE("logs", "-n9", "--", "--odd-model"), 0);
    assert_string_equal(cli_value(&cli, "lines"), "9");
    assert_string_equal(cli.args[0], "--odd-model");

    assert_int_equal(PARSE("logs", "-h"), 0); /* asking for help needs no model */
    assert_true(cli.help);
}

static void test_wrong_words(void **state)
{
    struct cli cli;
    struct error e = { 0 };

    assert_int_equal(PARSE("modles"), -EINVAL);
    assert_non_null(strstr(e.text, "did you mean 'models'"));
    assert_int_equal(PARSE("xyzzy"), -EINVAL);
    assert_null(strstr(e.text, "did you mean"));
    assert_int_equal(PARSE("logs"), -EINVAL);
    assert_non_null(strstr(e.text, "MODEL"));
    assert_int_equal(PARSE("ps", "extra"), -EINVAL);
    assert_int_equal(PARSE("ps", "--nope"), -EINVAL);
    assert_non_null(strstr(e.text, "--nope"));
    assert_int_equal(PARSE("logs", "x", "-n"), -EINVAL);
    assert_int_equal(PARSE("logs", "x", "--follow=1"), -EINVAL);
}

/* What the rows promise: names once, a sentence each, letters that do not clash. */
static void test_rows(void **state)
{
    for (size_t i = 0; cli_commands[i]; i++) {
        const struct command *c = cli_commands[i];

        assert_true(strlen(c->help) > 10 && c->help[strlen(c->help) - 1] == '.');
        assert_true(c->max_args <= CLI_ARGS_MAX && c->min_args <= c->max_args);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(c->name, cli_commands[j]->name);
        }
        for (const struct cli_option *o = c->options; o && o->name; o++) {
            for (const struct cli_option *p = c->options; p != o; p++) {
                assert_string_not_equal(o->name, p->name);
                assert_true(!o->letter || o->letter != p->letter);
            }
            for (const struct cli_option *p = cli_common_options; p->name; p++) {
                assert_string_not_equal(o->name, p->name);
                assert_true(!o->letter || o->letter != p->letter);
            }
        }
    }
}

static char *captured(void (*print)(FILE *out, const void *what), const void *what)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);

    print(out, what);
    fclose(out);
    return text;
}

static void print_command_help(FILE *out, const void *command)
{
    cli_print_command_help(out, command);
}

static void print_table(FILE *out, const void *table)
{
    table_print(table, out, false);
}

static void test_help(void **state)
{
    for (size_t i = 0; cli_commands[i]; i++) {
        char *text = captured(print_command_help, cli_commands[i]);

        assert_non_null(strstr(text, cli_commands[i]->help));
        for (const struct cli_option *o = cli_commands[i]->options; o && o->name; o++) {
            assert_non_null(strstr(text, o->help));
        }
        free(text);
    }
}

static void test_nothing_moves_the_cursor(void **state)
{
    char text[] = "a\nb\033[3Jc\033[31md\033[0me\033]f\177";

    make_printable(text, "\n");
    assert_string_equal(text, "a\nb [3Jc\033[31md\033[0me ]f ");
    make_printable(text, "");
    assert_string_equal(text, "a b [3Jc\033[31md\033[0me ]f ");
}

static void test_table(void **state)
{
    static const char *const headings[] = { "A", "B" };
    struct table *t = table_create(headings, 2);
    char *text;

    table_cell(t, "%s", "longer");
    table_cell(t, "%d", 5);
    table_cell(t, "%s", "\xc3\xa9"); /* one column, two bytes */
    table_cell(t, "%s", "a\nb\033]c");
    text = captured(print_table, t);
    assert_string_equal(text, "A       B\nlonger  5\n\xc3\xa9       a b ]c\n");
    free(text);
    table_free(t);
}

static void test_words(void **state)
{
    char age[AGE_SIZE];
    char *path = cli_path("/api/models/", "org/model:tag", "/start");

    assert_string_equal(path, "/api/models/org%2Fmodel%3Atag/start");
    free(path);
    format_age(42, age);
    assert_string_equal(age, "42s");
    format_age(5 * 3600 + 12 * 60, age);
    assert_string_equal(age, "5h12m");
    format_age(3 * 86400 + 4 * 3600, age);
    assert_string_equal(age, "3d4h");
    assert_int_equal(exit_code_of_status(404), error_kind(-ENOENT)->exit_code);
    assert_int_equal(exit_code_of_status(422), 2);
    assert_int_equal(exit_code_of_status(500), 1);
    assert_int_equal(exit_code_of_status(403), 3);
}

static void test_urls(void **state)
{
    static const char *const bad[] = { "ftp://h:1", "http://", "http://h:1/path", "http://h:port",
                                       "" };
    struct address a;
    struct error e;

    assert_int_equal(client_parse_url("http://127.0.0.1:8080", &a, &e), 0);
    assert_int_equal(a.port, 8080);
    assert_string_equal(a.host, "127.0.0.1");
    assert_int_equal(client_parse_url("http://[::1]:99/", &a, &e), 0);
    assert_int_equal(a.port, 99);
    assert_string_equal(a.host, "::1");
    assert_int_equal(client_parse_url("127.0.0.1", &a, &e), 0);
    assert_int_equal(a.port, 80);
    assert_int_equal(client_parse_url("https://berth.example.com", &a, &e), 0);
    assert_int_equal(a.port, 443);
    assert_true(a.tls);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        if (client_parse_url(bad[i], &a, &e) == 0) {
            fail_msg("'%s' is taken for an address", bad[i]);
        }
    }
}

/* A daemon that is not there: the exit code says "not there now". */
static void test_no_daemon(void **state)
{
    char dir[] = "/tmp/berth-cli-XXXXXX";
    char *argv[] = { UNCONST(char *, "berth"), UNCONST(char *, "--data-dir"), dir,
                     UNCONST(char *, "ps"), NULL };

    assert_non_null(mkdtemp(dir));
    assert_int_equal(cli_main(4, argv), error_kind(-ECONNREFUSED)->exit_code);
    rmdir(dir);
}

/* What a whole run of the program prints, owned by the caller. */
static char *run_program(int *ret_code, const char *const *words)
{
    FILE *real = stdout;
    char *text = NULL, *argv[16] = { UNCONST(char *, "berth") };
    size_t n = 0;
    int argc = 1;

    for (; words[argc - 1]; argc++) {
        argv[argc] = UNCONST(char *, words[argc - 1]);
    }
    stdout = open_memstream(&text, &n);
    *ret_code = cli_main(argc, argv);
    fclose(stdout);
    stdout = real;
    return text;
}
#define RUN(...) run_program(&code, (const char *const[]){ __VA_ARGS__, NULL })

/* Do the first columns of these lines read like this? */
static void assert_offered(char *lines, const char *wanted)
{
    struct buf words = BUF_INIT(65536);
    struct span rest = span_of(lines);

    while (rest.p && rest.n > 0) {
        struct span line = span_cut(&rest, '\n'), word;

        word = span_cut(&line, '\t');
        buf_printf(&words, "%s%.*s", words.len ? " " : "", SPAN_ARG(word));
    }
    assert_string_equal(buf_data(&words), wanted);
    buf_finish(&words);
    free(lines);
}

static void test_completion(void **state)
{
    int code;
    char *text = RUN("complete", "");

    for (size_t i = 0; cli_commands[i]; i++) {
        assert_non_null(strstr(text, cli_commands[i]->name));
        assert_non_null(strstr(text, cli_commands[i]->help));
    }
    free(text);
    assert_offered(RUN("complete", "lo"), "load logs");
    assert_offered(RUN("complete", "--data-dir", "lo"), ""); /* a directory is to come */
    assert_offered(RUN("complete", "--json", "lo"), "load logs");
    assert_offered(RUN("complete", "logs", "--f"), "--follow");
    assert_offered(RUN("complete", "ps", "--"), "--data-dir --url --key --json --help");
    assert_offered(RUN("complete", "config", ""), "check show sample");
    assert_offered(RUN("complete", "config", "check", ""), "");
    assert_offered(RUN("complete", "completion", "z"), "zsh");
    assert_offered(RUN("complete", "help", "mod"), "models");
    assert_offered(RUN("complete", "serve", "-c", "lo"), "");
    assert_offered(RUN("complete", "nonsense", "lo"), "load logs");
    assert_int_equal(code, 0);
}

/* Without a daemon nothing is offered, and nothing said. */
static void test_completion_without_daemon(void **state)
{
    int code;

    assert_offered(RUN("complete", "--data-dir", "/nonexistent", "load", ""), "");
    assert_int_equal(code, 0);
    assert_offered(RUN("complete", "--url", "http://127.0.0.1:1", "stop", ""), "");
    assert_int_equal(code, 0);
    assert_offered(RUN("complete", "--url", "nonsense://", "stop", ""), "");
    assert_int_equal(code, 0);
}

static void test_completion_scripts(void **state)
{
    static const char *const shells[] = { "bash", "zsh", "fish" };
    char *text;
    int code;

    for (size_t i = 0; i < ARRAY_SIZE(shells); i++) {
        text = RUN("completion", shells[i]);
        assert_int_equal(code, 0);
        assert_non_null(strstr(text, " complete "));
        free(text);
    }
    text = RUN("completion", "tcsh");
    assert_int_equal(code, 2);
    assert_string_equal(text, "");
    free(text);
}

/* The sample with its comment marks taken away is a good configuration that changes nothing. */
static char *uncommented(const char *sample)
{
    struct buf out = BUF_INIT(1 << 20);
    struct span rest = span_of(sample);

    while (rest.p) {
        struct span line = span_cut(&rest, '\n');

        if (span_starts(line, "# ")) {
            line = (struct span){ line.p + 2, line.n - 2 };
        }
        buf_append(&out, line.p, line.n);
        buf_putc(&out, '\n');
    }
    return buf_take(&out, NULL);
}

static void test_sample(void **state)
{
    char path[] = "/tmp/berth-sample-XXXXXX";
    struct config *defaults = NULL, *sample = NULL;
    struct error e = { 0 };
    char *text, *whole;
    json_t *diff;
    int code, fd = mkstemp(path);

    text = RUN("config", "sample");
    assert_int_equal(code, 0);
    whole = uncommented(text);
    assert_int_equal(write(fd, whole, strlen(whole)), (int)strlen(whole));
    close(fd);
    assert_int_equal(daemon_load_config(NULL, NULL, &defaults, &e), 0);
    if (daemon_load_config(path, NULL, &sample, &e) < 0) {
        fail_msg("%s", e.text);
    }
    diff = config_diff(defaults, sample);
    assert_int_equal(json_array_size(diff), 0);
    for (const struct option_table *const *t = daemon_option_tables(); *t; t++) {
        for (size_t i = 0; *t != &foreign_options && i < (*t)->count; i++) {
            assert_non_null(strstr(text, (*t)->rows[i].help));
            assert_non_null(strstr(config_source(sample, (*t)->rows[i].name), path));
        }
    }
    assert_int_equal(json_array_size(config_models(sample)), 3);
    json_decref(diff);
    config_free(defaults);
    config_free(sample);
    free(whole);
    free(text);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_moves_the_cursor),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_wrong_words),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_no_daemon),
        cmocka_unit_test(test_completion),
        cmocka_unit_test(test_completion_without_daemon),
        cmocka_unit_test(test_completion_scripts),
        cmocka_unit_test(test_sample),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
