// SPDX-License-Identifier: Apache-2.0
/* Any server by its command line: what becomes of its words, and what is refused with a sentence.
 */
#include "driver_rig.h"

#include <string.h>
#include <sys/stat.h>

#define COMMAND(words) "\"parameters\":{\"command\":" words "}"
#define DRIVER         &command_driver

static void test_text_is_split_without_a_shell(void **state)
{
    struct driver_made made = { .port = 18123 };

    driver_make(DRIVER, COMMAND("\"/bin/true --port ${PORT} 'a b' $HOME $(id) ; > x\""), &made);
    assert_string_equal(made.line, "/bin/true --port 18123 a b $HOME $(id) ; > x");
    assert_string_equal(made.command.argv[3], "a b");
    assert_false(made.command.address.is_unix);
    assert_string_equal(made.command.address.host, "127.0.0.1");
    assert_int_equal(made.command.address.port, 18123);
    assert_string_equal(made.env, "");
    assert_string_equal(made.command.model, "m");
    assert_null(made.command.headers);
    assert_null(made.command.base_path);
    assert_int_equal(made.command.slots, 4);
    assert_int_equal(made.command.weight, 0);
    driver_made_finish(&made);
}

static void test_values_stay_one_word(void **state)
{
    struct driver_made made = { .port = 18123 };

    driver_make(DRIVER,
                "\"model_path\":\"org/My Model ${PORT}\"," COMMAND(
                    "\"/bin/true -m ${MODEL} --name=${MODEL_ID}-$$-$ --at [${PORT}] $${PORT}\""),
                &made);
    assert_string_equal(made.command.argv[2], "org/My Model ${PORT}");
    assert_string_equal(made.command.argv[3], "--name=m-$-$");
    assert_string_equal(made.command.argv[5], "[18123]");
    assert_string_equal(made.command.argv[6], "${PORT}");
    assert_null(made.command.argv[7]);
    driver_made_finish(&made);
}

static void test_list_of_words(void **state)
{
    struct driver_made made = { .port = 1 };

    driver_make(DRIVER,
                "\"additional_parameters\":\"--more 'x y' ${MODEL_ID}\"," COMMAND(
                    "[\"/bin/true\",\"a 'b\",\"\",\"${PORT}\"]"),
                &made);
    assert_string_equal(made.command.argv[1], "a 'b");
    assert_string_equal(made.command.argv[2], "");
    assert_string_equal(made.command.argv[5], "x y");
    assert_string_equal(made.command.argv[6], "m");
    driver_made_finish(&made);
}

static void test_socket(void **state)
{
    struct driver_made made = { .port = 18123 };

    driver_make(DRIVER, COMMAND("\"/bin/true --uds ${SOCKET}\""), &made);
    assert_string_equal(made.line, "/bin/true --uds instances/u/engine.sock");
    assert_true(made.command.address.is_unix);
    assert_string_equal(made.command.address.path, "instances/u/engine.sock");
    driver_made_finish(&made);
}

static void test_named_port_is_the_first_replicas(void **state)
{
    struct driver_made made = { .port = 18123, .replica = 2 };

    driver_make(DRIVER, "\"parameters\":{\"command\":\"/bin/true\",\"port\":9000,\"host\":\"::1\"}",
                &made);
    assert_int_equal(made.command.address.port, 9002);
    assert_string_equal(made.command.address.host, "::1");
    driver_made_finish(&made);
    made = (struct driver_made){ .port = 18123, .replica = 1 };
    driver_make(DRIVER, "\"parameters\":{\"command\":\"/bin/true -p ${PORT}\",\"port\":9000}",
                &made);
    assert_string_equal(made.line, "/bin/true -p 9001");
    driver_made_finish(&made);
    made = (struct driver_made){ .port = 18123, .replica = 1 }; /* there is no port 65536 */
    driver_make(DRIVER, "\"parameters\":{\"command\":\"/bin/true -p ${PORT}\",\"port\":65535}",
                &made);
    assert_string_equal(made.line, "/bin/true -p 18123");
    driver_made_finish(&made);
}

static void test_environment_and_figures(void **state)
{
    struct driver_made made = { .port = 18123 };

    driver_make(DRIVER,
                "\"parameters\":{\"command\":\"/bin/true\",\"parallel\":9,\"weight\":3,"
                "\"model\":\"upstream-name\","
                "\"env\":{\"OLLAMA_HOST\":\"127.0.0.1:${PORT}\",\"B\":\"$$1\"}}",
                &made);
    assert_string_equal(made.env, "OLLAMA_HOST=127.0.0.1:18123 B=$1");
    assert_int_equal(made.command.address.port, 18123);
    assert_int_equal(made.command.slots, 9);
    assert_int_equal(made.command.weight, 3);
    assert_string_equal(made.command.model, "upstream-name");
    driver_made_finish(&made);
}

static void test_program_is_found_in_path(void **state)
{
    struct driver_made made = { .port = 1 };

    driver_make(DRIVER, COMMAND("\"true ${PORT}\""), &made);
    assert_true(made.line[0] == '/');
    assert_has(made.line, "/true 1");
    driver_made_finish(&made);
    write_file("server", "#!/bin/sh\n");
    driver_refuses(DRIVER, COMMAND("\"./server ${PORT}\""),
                   "parameters.command: ./server is not an executable file");
    assert_int_equal(chmod("server", 0700), 0);
    driver_make(DRIVER, COMMAND("\"./server ${PORT}\""), &made);
    assert_true(made.line[0] == '/');
    driver_made_finish(&made);
}

static void test_refusals(void **state)
{
    driver_refuses(DRIVER, NULL, "parameters.command is needed");
    driver_refuses(DRIVER, COMMAND("\"\""), "parameters.command is needed");
    driver_refuses(DRIVER, COMMAND("[]"), "parameters.command is needed");
    driver_refuses(DRIVER, COMMAND("[\"\"]"), "parameters.command is needed");
    driver_refuses(DRIVER, COMMAND("7"), "parameters.command is needed");
    driver_refuses(DRIVER, COMMAND("[\"/bin/true\",7]"), "word 2 is not a text");
    driver_refuses(DRIVER, COMMAND("[\"/bin/true\",\"a\\u0000b\"]"), "word 2 is not a text");
    driver_refuses(DRIVER, COMMAND("\"/bin/true 'x\""), "parameters.command: ");
    driver_refuses(DRIVER, COMMAND("\"/bin/true ${PORT} ${HOST}\""), "${HOST} is not known");
    driver_refuses(DRIVER, COMMAND("\"/bin/true ${PORT} ${}\""), "${} is not known");
    driver_refuses(DRIVER, COMMAND("\"/bin/true ${PORT\""), "'${' without '}'");
    driver_refuses(DRIVER,
                   "\"parameters\":{\"command\":\"/bin/true ${PORT}\",\"env\":{\"A\":\"${X}\"}}",
                   "parameters.env: ${X} is not known");
    driver_refuses(DRIVER, COMMAND("\"/bin/true\""), "neither ${PORT} nor ${SOCKET}");
    driver_refuses(DRIVER, COMMAND("\"no-such-program ${PORT}\""),
                   "'no-such-program' is not in PATH");
    driver_refuses(DRIVER, COMMAND("\"/etc/passwd ${PORT}\""),
                   "/etc/passwd is not an executable file");
    driver_refuses(DRIVER,
                   "\"parameters\":{\"command\":\"/bin/true\",\"port\":9000,\"host\":\"x y\"}",
                   "parameters.host: ");
    driver_refuses(DRIVER, "\"gpu_devices\":[77]," COMMAND("\"/bin/true ${PORT}\""),
                   "there is no device 77");
}

static void test_validation(void **state)
{
    driver_check(DRIVER, COMMAND("\"true ${PORT}\""), NULL, NULL);
    driver_check(DRIVER, "\"model_path\":\"org/model\"," COMMAND("\"true ${PORT}\""), NULL, NULL);
    driver_check(DRIVER, COMMAND("\"nope ${PORT}\""), "'nope' is not in PATH", NULL);
    driver_check(DRIVER, COMMAND("\"true\""), "neither ${PORT} nor", NULL);
    driver_check(DRIVER, "\"parameters\":{\"command\":\"true ${PORT}\",\"parallel\":0}",
                 "parallel must be between 1 and 65536", NULL);
    driver_check(DRIVER, "\"parameters\":{\"command\":\"true ${PORT}\",\"weight\":1001}",
                 "weight must be between 1 and 1000", NULL);
    driver_check(DRIVER, "\"parameters\":{\"command\":\"true ${PORT}\",\"ctx_size\":1}", NULL,
                 "ctx_size is not known");
    driver_check(DRIVER, "\"replicas\":3,\"parameters\":{\"command\":\"true\",\"port\":65534}",
                 "3 replicas from port 65534", NULL);
    driver_check(DRIVER, "\"replicas\":2,\"parameters\":{\"command\":\"true\",\"port\":65534}",
                 NULL, NULL);
}

static void test_definition_and_machine(void **state)
{
    driver_check_apart(DRIVER, COMMAND("\"true\""), "neither ${PORT} nor", NULL);
    driver_check_apart(DRIVER, "\"gpu_devices\":[77,78]," COMMAND("\"nope ${X}\""),
                       "${X} is not known", "no device 77");
    driver_check_apart(DRIVER, "\"gpu_devices\":[77,78]," COMMAND("\"true ${PORT}\""), NULL,
                       "no device 78");
    driver_check_apart(DRIVER, COMMAND("\"nope ${PORT}\""), NULL, "'nope' is not in PATH");
}

static void test_last_words(void **state)
{
    char *words = command_driver.last_words(span_of(
        "Traceback (most recent call last):\n  File \"x\"\n\n  raise\nValueError: no\n \n"));

    assert_string_equal(words, "File \"x\"; raise; ValueError: no");
    free(words);
    words = command_driver.last_words(span_of("berth: cannot run /x: No such file\n"));
    assert_string_equal(words, "berth: cannot run /x: No such file");
    free(words);
    assert_null(command_driver.last_words(span_of("\n \n")));
    assert_null(command_driver.last_words(span_of("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_split_without_a_shell),
        cmocka_unit_test(test_values_stay_one_word),
        cmocka_unit_test(test_list_of_words),
        cmocka_unit_test(test_socket),
        cmocka_unit_test(test_named_port_is_the_first_replicas),
        cmocka_unit_test(test_environment_and_figures),
        cmocka_unit_test(test_program_is_found_in_path),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_validation),
        cmocka_unit_test(test_definition_and_machine),
        cmocka_unit_test(test_last_words),
    };

    return cmocka_run_group_tests(tests, driver_rig_set_up, driver_rig_tear_down);
}
