// SPDX-License-Identifier: Apache-2.0
/* Remote endpoints: base URL, key, headers, one endpoint a replica, and what is refused without a
 * word of the secret. */
#include "driver_rig.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define URL    "\"model_path\":\"https://api.example.com/v1\""
#define DRIVER &openai_driver

static void test_plain_endpoint(void **state)
{
    struct driver_made made = { 0 };

    driver_make(DRIVER, URL, &made);
    assert_null(made.command.argv);
    assert_null(made.command.env);
    assert_true(made.command.address.tls);
    assert_string_equal(made.command.address.host, "api.example.com");
    assert_int_equal(made.command.address.port, 443);
    assert_string_equal(made.command.base_path, "/v1");
    assert_null(made.command.headers);
    assert_string_equal(made.command.model, "m");
    assert_int_equal(made.command.slots, 64);
    assert_int_equal(made.command.weight, 0);
    driver_made_finish(&made);
}

static void test_base_url_goes_before_the_model_path(void **state)
{
    struct driver_made made = { 0 };

    driver_make(DRIVER,
                URL ",\"parameters\":{\"base_url\":\"http://127.0.0.1:9/openai/v2/\","
                    "\"model\":\"gpt-x\",\"parallel\":3,\"weight\":7}",
                &made);
    assert_false(made.command.address.tls);
    assert_int_equal(made.command.address.port, 9);
    assert_string_equal(made.command.base_path, "/openai/v2");
    assert_string_equal(made.command.model, "gpt-x");
    assert_int_equal(made.command.slots, 3);
    assert_int_equal(made.command.weight, 7);
    driver_made_finish(&made);
    driver_make(DRIVER, "\"model_path\":\"http://h.example/\"", &made);
    assert_null(made.command.base_path);
    driver_made_finish(&made);
}

static void test_key_from_the_environment(void **state)
{
    struct driver_made made = { 0 };

    setenv("TEST_KEY", "sk-abc", 1);
    driver_make(DRIVER, URL ",\"parameters\":{\"api_key_env\":\"TEST_KEY\"}", &made);
    assert_string_equal(made.command.headers, "Authorization: Bearer sk-abc\r\n");
    driver_made_finish(&made);
    driver_make(DRIVER,
                URL ",\"parameters\":{\"api_key_env\":\"TEST_KEY\",\"api_key_header\":\"api-key\","
                    "\"headers\":{\"X-Org\":\"o 1\"}}",
                &made);
    assert_string_equal(made.command.headers, "X-Org: o 1\r\napi-key: sk-abc\r\n");
    driver_made_finish(&made);
    unsetenv("TEST_KEY");
    driver_refuses(DRIVER, URL ",\"parameters\":{\"api_key_env\":\"TEST_KEY\"}",
                   "variable TEST_KEY is not set in berth's environment");
    setenv("TEST_KEY", "", 1);
    driver_refuses(DRIVER, URL ",\"parameters\":{\"api_key_env\":\"TEST_KEY\"}",
                   "variable TEST_KEY is empty");
}

/* Would be a header of somebody else's choice, were it sent. */
static void test_key_with_a_line_end_is_refused_unspoken(void **state)
{
    struct model_config *model =
        driver_model("openai", URL ",\"parameters\":{\"api_key_env\":\"TEST_KEY\"}");
    struct engine_command command = { 0 };
    struct error err = { 0 };

    setenv("TEST_KEY", "sk-secret\r\nX: y", 1);
    assert_int_equal(openai_driver.command(
                         &(struct engine_context){ .config = driver_rig_config, .model = model },
                         &command, &err),
                     -EBADMSG);
    assert_has(err.text, "TEST_KEY holds what no key has");
    assert_has_not(err.text, "secret");
    model_config_free(model);
    unsetenv("TEST_KEY");
}

static void test_key_from_a_file(void **state)
{
    struct driver_made made = { 0 };
    char large[8194];

    write_file("key", "sk-file\r\n\n");
    driver_make(DRIVER, URL ",\"parameters\":{\"api_key_file\":\"key\"}", &made);
    assert_string_equal(made.command.headers, "Authorization: Bearer sk-file\r\n");
    driver_made_finish(&made);
    write_file("key", "sk-1\nsk-2\n");
    driver_refuses(DRIVER, URL ",\"parameters\":{\"api_key_file\":\"key\"}", "file key holds what");
    write_file("key", "\n");
    driver_refuses(DRIVER, URL ",\"parameters\":{\"api_key_file\":\"key\"}", "file key is empty");
    memset(large, 'k', sizeof(large));
    large[8192] = '\0';
    write_file("key", large);
    driver_make(DRIVER, URL ",\"parameters\":{\"api_key_file\":\"key\"}", &made);
    assert_int_equal(strlen(made.command.headers), 8192 + strlen("Authorization: Bearer \r\n"));
    driver_made_finish(&made);
    large[8192] = 'k';
    large[8193] = '\0';
    write_file("key", large);
    driver_refuses(DRIVER, URL ",\"parameters\":{\"api_key_file\":\"key\"}", "larger than 8 KiB");
    driver_refuses(DRIVER, URL ",\"parameters\":{\"api_key_file\":\"absent\"}",
                   "cannot read the API key's file absent: No such file");
    driver_refuses(DRIVER, URL ",\"parameters\":{\"api_key_file\":\".\"}", ". is not a file");
    assert_int_equal(mkfifo("pipe", 0600), 0);
    driver_refuses(DRIVER, URL ",\"parameters\":{\"api_key_file\":\"pipe\"}", "pipe is not a file");
}

static void test_literal_keys_are_refused(void **state)
{
    static const char *const cases[] = {
        URL ",\"parameters\":{\"api_key\":\"sk-secret\"}",
        URL ",\"parameters\":{\"headers\":{\"Authorization\":\"Bearer sk-secret\"}}",
        URL ",\"parameters\":{\"headers\":{\"X-API-Key\":\"sk-secret\"}}",
        URL ",\"parameters\":{\"upstreams\":[{\"api_key\":\"sk-secret\"}]}",
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        driver_refuses(DRIVER, cases[i], "keys are not stored; name a variable");
        driver_check(DRIVER, cases[i], "keys are not stored; name a variable", NULL);
    }
}

static void test_headers_that_would_break_requests(void **state)
{
    static const struct {
        const char *headers, *words;
    } cases[] = {
        { "{\"X\":\"a\\r\\nY: b\"}", "X: no control characters" },
        { "{\"X\":\"a\\u0000b\"}", "X must be a text" },
        { "{\"X\":1}", "X must be a text" },
        { "{\"X Y\":\"a\"}", "none of a header" },
        { "{\"X\\r\\nY\":\"a\"}", "none of a header" },
        { "{\"\":\"a\"}", "none of a header" },
        { "{\"Host\":\"a\"}", "Host is berth's own" },
        { "{\"content-length\":\"1\"}", "content-length is berth's own" },
        { "{\"Transfer-Encoding\":\"x\"}", "berth's own" },
        { "{\"Connection\":\"x\"}", "berth's own" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char members[256];

        snprintf(members, sizeof(members), URL ",\"parameters\":{\"headers\":%s}",
                 cases[i].headers);
        driver_refuses(DRIVER, members, cases[i].words);
    }
    setenv("TEST_KEY", "k", 1);
    driver_refuses(DRIVER,
                   URL ",\"parameters\":{\"api_key_env\":\"TEST_KEY\",\"api_key_header\":\"a b\"}",
                   "parameters.api_key_header: ");
    unsetenv("TEST_KEY");
}

#define UPSTREAMS                                                                                  \
    "\"replicas\":2,\"parameters\":{\"api_key_env\":\"KEY_ALL\",\"model\":\"all\",\"weight\":2,"   \
    "\"upstreams\":[{\"base_url\":\"http://a.example/x\"},"                                        \
    "{\"base_url\":\"https://b.example:8443/v1\",\"api_key_file\":\"key_b\",\"model\":\"b\","      \
    "\"weight\":5}]}"

static void test_one_upstream_a_replica(void **state)
{
    struct driver_made a = { .replica = 0 }, b = { .replica = 1 };

    setenv("KEY_ALL", "for-all", 1);
    write_file("key_b", "for-b\n");
    driver_make(DRIVER, UPSTREAMS, &a);
    driver_make(DRIVER, UPSTREAMS, &b);
    assert_string_equal(a.command.address.host, "a.example");
    assert_string_equal(a.command.base_path, "/x");
    assert_string_equal(a.command.headers, "Authorization: Bearer for-all\r\n");
    assert_string_equal(a.command.model, "all");
    assert_int_equal(a.command.weight, 2);
    assert_string_equal(b.command.address.host, "b.example");
    assert_int_equal(b.command.address.port, 8443);
    assert_string_equal(b.command.headers, "Authorization: Bearer for-b\r\n");
    assert_string_equal(b.command.model, "b");
    assert_int_equal(b.command.weight, 5);
    driver_made_finish(&a);
    driver_made_finish(&b);
    driver_check(DRIVER, UPSTREAMS, NULL, NULL);
    unlink("key_b");
    driver_check(DRIVER, UPSTREAMS, "cannot read the API key's file key_b", NULL);
    unsetenv("KEY_ALL");
}

#define LIST(entries) "\"parameters\":{\"upstreams\":" entries "}"

static void test_wrong_upstreams(void **state)
{
    driver_refuses(DRIVER, LIST("[]"), "must be a list of endpoints");
    driver_refuses(DRIVER, LIST("\"x\""), "must be a list of endpoints");
    driver_refuses(DRIVER, LIST("[1]"), "upstreams[0] must be an object");
    driver_refuses(DRIVER, LIST("[{\"base_url\":1}]"), "upstreams[0].base_url must be a text");
    driver_refuses(DRIVER, LIST("[{\"url\":\"x\"}]"), "upstreams[0].url is not known");
    driver_refuses(DRIVER, LIST("[{\"base_url model\":\"x\"}]"), "is not known");
    driver_refuses(DRIVER, LIST("[{\"base_url\":\"http://a\",\"weight\":0}]"),
                   "between 1 and 1000");
    driver_refuses(DRIVER, LIST("[{\"base_url\":\"http://a\",\"weight\":\"1\"}]"),
                   "between 1 and 1000");
    driver_refuses(
        DRIVER, LIST("[{\"base_url\":\"http://a\",\"api_key_env\":\"A\",\"api_key_file\":\"b\"}]"),
        "either api_key_env or api_key_file");
    driver_check(DRIVER, "\"replicas\":2," LIST("[{\"base_url\":\"http://a\"}]"),
                 "parameters.upstreams has 1, and there are 2 replicas", NULL);
    driver_check(DRIVER, LIST("[{\"base_url\":\"http://a\"},{\"base_url\":\"http://b\"}]"), NULL,
                 "has 2, of which the first 1 are used");
    driver_check(DRIVER, LIST("[{\"base_url\":\"http://a\"},{\"base_url\":\"nonsense\"}]"),
                 "base URL", "has 2, of which the first 1 are used");
}

static void test_wrong_urls(void **state)
{
    static const char *const urls[] = { "model.gguf",  "ftp://x/v1",     "http://",
                                        "http://x:0/", "https://u:p@x/", "http://x/v1?key=1",
                                        "http://x/a b" };

    for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
        char members[128];

        snprintf(members, sizeof(members), "\"model_path\":\"%s\"", urls[i]);
        driver_refuses(DRIVER, members, "the endpoint's base URL: ");
        driver_check(DRIVER, members, "the endpoint's base URL: ", NULL);
    }
}

static void test_validation(void **state)
{
    driver_check(DRIVER, URL, NULL, NULL);
    driver_check(DRIVER, URL ",\"parameters\":{\"api_key_env\":\"NOT_SET_ANYWHERE\"}",
                 "variable NOT_SET_ANYWHERE is not set", NULL);
    driver_check(DRIVER, URL ",\"parameters\":{\"port\":9000}", NULL, "port has no effect");
    driver_check(DRIVER, URL ",\"additional_parameters\":\"-x\"", NULL,
                 "additional_parameters has no effect");
    driver_check(DRIVER, URL ",\"parameters\":{\"ctx_size\":1}", NULL, "ctx_size is not known");
    driver_check(DRIVER, URL ",\"parameters\":{\"base_url\":1}", "base_url must be a text", NULL);
    driver_check(DRIVER, URL ",\"parameters\":{\"headers\":[]}", "headers must be an object", NULL);
    driver_check(DRIVER, URL ",\"gpu_devices\":[77]", "there is no device 77", NULL);
}

static void test_definition_and_machine(void **state)
{
    driver_check_apart(DRIVER, URL ",\"parameters\":{\"api_key\":\"sk\"}", "keys are not stored",
                       NULL);
    driver_check_apart(DRIVER, "\"model_path\":\"x\"", "base URL", NULL);
    driver_check_apart(DRIVER, "\"gpu_devices\":[77]," URL, NULL, "no device 77");
    driver_check_apart(DRIVER, URL ",\"parameters\":{\"api_key_env\":\"NOT_SET_ANYWHERE\"}", NULL,
                       "NOT_SET_ANYWHERE");
    driver_check_apart(DRIVER,
                       URL ",\"parameters\":{\"api_key_env\":\"NOT_SET_ANYWHERE\","
                           "\"headers\":{\"Host\":\"x\"}}",
                       "Host is berth's own", NULL);
    write_file("key", "a b");
    driver_check_apart(DRIVER, URL ",\"parameters\":{\"api_key_file\":\"key\"}", NULL,
                       "file key holds");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_endpoint),
        cmocka_unit_test(test_base_url_goes_before_the_model_path),
        cmocka_unit_test(test_key_from_the_environment),
        cmocka_unit_test(test_key_with_a_line_end_is_refused_unspoken),
        cmocka_unit_test(test_key_from_a_file),
        cmocka_unit_test(test_literal_keys_are_refused),
        cmocka_unit_test(test_headers_that_would_break_requests),
        cmocka_unit_test(test_one_upstream_a_replica),
        cmocka_unit_test(test_wrong_upstreams),
        cmocka_unit_test(test_wrong_urls),
        cmocka_unit_test(test_validation),
        cmocka_unit_test(test_definition_and_machine),
    };

    return cmocka_run_group_tests(tests, driver_rig_set_up, driver_rig_tear_down);
}
