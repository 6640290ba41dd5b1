// SPDX-License-Identifier: Apache-2.0
/* Token counts are found however the bytes are cut, and only where they are counts. */
#include "unit.h"

#include <string.h>

#include "base/macros.h"
#include "gateway/usage.h"

static const char answer[] =
    "{\"choices\":[{\"message\":{\"content\":\"he said \\\"usage\\\": "
    "{\\\"prompt_tokens\\\":9}\"}}],"
    "\"usage\":{\"completion_tokens\":31,\"prompt_tokens\":39,\"total_tokens\":70,"
    "\"prompt_tokens_details\":{\"cached_tokens\":7}},\"id\":\"x\"}";

static void check(const struct usage *u)
{
    assert_true(u->found);
    assert_int_equal(u->prompt_tokens, 39);
    assert_int_equal(u->completion_tokens, 31);
    assert_int_equal(u->cached_tokens, 7);
}

static void is_found_in_one_piece(void **state)
{
    struct usage u = { 0 };

    usage_feed(&u, answer, strlen(answer));
    check(&u);
}

static void is_found_in_any_two_pieces(void **state)
{
    for (size_t cut = 0; cut <= strlen(answer); cut++) {
        struct usage u = { 0 };

        usage_feed(&u, answer, cut);
        usage_feed(&u, answer + cut, strlen(answer) - cut);
        check(&u);
    }
}

static void is_found_byte_by_byte(void **state)
{
    struct usage u = { 0 };

    for (size_t i = 0; i < strlen(answer); i++) {
        usage_feed(&u, answer + i, 1);
    }
    check(&u);
}

static void null_and_text_do_not_count(void **state)
{
    static const char *const others[] = {
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n",
        "{\"content\":\"\\\"usage\\\":{\\\"prompt_tokens\\\":5 }\"}",
        "{\"usage\":",
        "{\"usage\":null,\"other\":{\"prompt_tokens\":5}}",
        "{\"usage\":{\"prompt_tokens\":5",
    };

    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        struct usage u = { 0 };

        usage_feed(&u, others[i], strlen(others[i]));
        assert_false(u.found);
    }
}

/* Every shape, cut at every place. */
static void is_found_in_every_shape(void **state)
{
    static const struct {
        const char *text;
        uint64_t prompt, output, cached;
    } cases[] = {
        { "event: response.created\ndata: {\"response\":{\"usage\":null}}\n\n"
          "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{"
          "\"usage\":{\"input_tokens\":81,\"input_tokens_details\":{\"cached_tokens\":5},"
          "\"output_tokens\":1035,\"output_tokens_details\":{\"reasoning_tokens\":832},"
          "\"total_tokens\":1116}}}\n\n",
          81, 1035, 5 },
        { "event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":25,"
          "\"cache_creation_input_tokens\":2,\"cache_read_input_tokens\":4,"
          "\"output_tokens\":1}}}\n\nevent: message_delta\ndata: {\"delta\":{},"
          "\"usage\":{\"output_tokens\":15}}\n\nevent: message_stop\ndata: {}\n\n",
          31, 15, 4 },
        { "{\"results\":[{\"index\":0}],\"usage\":{\"prompt_tokens\":42,\"total_tokens\":43}}", 42,
          0, 0 },
        { "data: {\"usage\": {\"prompt_tokens\": 3, \"completion_tokens\": 1} }\n\n"
          "data: {\"usage\": {\"prompt_tokens\": 3, \"completion_tokens\": 2} }\n\n",
          3, 2, 0 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t n = strlen(cases[i].text);

        for (size_t cut = 0; cut <= n; cut++) {
            struct usage u = { 0 };

            usage_feed(&u, cases[i].text, cut);
            usage_feed(&u, cases[i].text + cut, n - cut);
            assert_true(u.found);
            assert_int_equal(u.prompt_tokens, cases[i].prompt);
            assert_int_equal(u.completion_tokens, cases[i].output);
            assert_int_equal(u.cached_tokens, cases[i].cached);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_found_in_one_piece),   cmocka_unit_test(is_found_in_any_two_pieces),
        cmocka_unit_test(is_found_byte_by_byte),   cmocka_unit_test(null_and_text_do_not_count),
        cmocka_unit_test(is_found_in_every_shape),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
