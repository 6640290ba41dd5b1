// SPDX-License-Identifier: Apache-2.0
/* Task types: rows and what is refused of them, the requests that tasks become, whatever their
 * input holds, and what of an answer is kept. */
#include "unit.h"

#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "tasks/task_types.h"
#include "tasks/tasks.h"

#define CHAT "/v1/chat/completions"

static const struct option_table *const no_tables[] = { NULL };

static struct config *load_config(const char *yaml)
{
    char file[] = "/tmp/test-task-types-XXXXXX";
    int fd = mkstemp(file);
    struct config *c = NULL;
    struct error e = { 0 };

    assert_true(fd >= 0);
    assert_int_equal(write(fd, yaml, strlen(yaml)), (ssize_t)strlen(yaml));
    close(fd);
    if (config_load(file, NULL, no_tables, &c, &e) < 0) {
        fail_msg("%s", e.text);
    }
    unlink(file);
    return c;
}

static struct task_types *types_of(const char *yaml)
{
    struct config *c = load_config(yaml);
    struct task_types *t = NULL;
    struct error e = { 0 };

    if (task_types_create(c, &t, &e) < 0) {
        fail_msg("%s", e.text);
    }
    config_free(c);
    return t;
}

/* ---- a task that becomes a request */

struct composing {
    const char *type, *options, *parameters;
    struct span input;
};

static int try_compose(const struct task_types *t, const struct composing *what,
                       struct task_request *ret, struct error *e)
{
    struct model_config model = { .id = UNCONST(char *, "m") };
    int r;

    model.parameters = what->parameters ? json_loads(what->parameters, 0, NULL) : json_object();
    assert_non_null(model.parameters);
    r = task_types_compose(task_types_of_task(t, what->type), &model, what->input,
                           span_of(what->options), ret, e);
    json_decref(model.parameters);
    return r;
}

static json_t *compose(const struct task_types *t, const struct composing *what, const char *path)
{
    struct task_request request = { 0 };
    struct error e = { 0 };
    json_t *body;

    if (try_compose(t, what, &request, &e) < 0) {
        fail_msg("%s: %s", what->type, e.text);
    }
    assert_string_equal(request.path, path);
    body = json_loadb(request.body, request.body_len, JSON_ALLOW_NUL, NULL);
    assert_non_null(body);
    task_request_finish(&request);
    return body;
}

static void assert_body(const struct task_types *t, const struct composing *what, const char *path,
                        const char *expected)
{
    json_t *body = compose(t, what, path), *wanted = json_loads(expected, 0, NULL);
    char *text = json_dumps(body, JSON_SORT_KEYS);

    assert_non_null(wanted);
    if (!json_equal(body, wanted)) {
        fail_msg("%s became\n%s\nnot\n%s", what->type, text, expected);
    }
    free(text);
    json_decref(body);
    json_decref(wanted);
}

static void assert_refused(const struct task_types *t, const struct composing *what,
                           const char *words)
{
    struct task_request request = { 0 };
    struct error e = { 0 };

    assert_int_equal(try_compose(t, what, &request, &e), -EINVAL);
    if (!strstr(e.text, words)) {
        fail_msg("'%s' is missing in '%s'", words, e.text);
    }
    assert_null(request.body);
}

static void each_type_becomes_its_request(void **state)
{
    struct task_types *t = types_of("");

    assert_body(t, &(struct composing){ .type = "text-generation", .input = SPAN("Hello") }, CHAT,
                "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}");
    assert_body(t,
                &(struct composing){ .type = "translation",
                                     .input = SPAN("Hallo"),
                                     .options = "{\"language\":\"French\"}" },
                CHAT,
                "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"Translate the "
                "user's text from its own language into French. Answer with the translation "
                "alone.\"},{\"role\":\"user\",\"content\":\"Hallo\"}]}");
    assert_body(t,
                &(struct composing){ .type = "summarization",
                                     .input = SPAN("Long"),
                                     .options = "{\"length\":\"one word\"}" },
                CHAT,
                "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"Summarize the "
                "user's text in one word. Answer with the summary alone, in the language of the "
                "text.\"},{\"role\":\"user\",\"content\":\"Long\"}]}");
    assert_body(t, &(struct composing){ .type = "embedding", .input = SPAN("x") }, "/v1/embeddings",
                "{\"model\":\"m\",\"input\":\"x\"}");
    assert_body(t,
                &(struct composing){ .type = "custom",
                                     .input = SPAN("{\"query\":\"q\",\"model\":\"other\"}"),
                                     .options = "{\"path\":\"/v1/rerank?a=1\"}" },
                "/v1/rerank?a=1", "{\"model\":\"m\",\"query\":\"q\"}");
    assert_body(t, &(struct composing){ .type = "custom", .input = SPAN("Just words") }, CHAT,
                "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Just words\"}]}");
    task_types_destroy(t);
}

static void nothing_in_a_value_changes_the_shape(void **state)
{
    static const struct span hostile[] = {
        SPAN("{{input}}"),
        SPAN("{{language}} {{input}} }}{{"),
        SPAN("\"}],\"model\":\"other\",\"x\":[{\"y\":\""),
        SPAN("\\\" \\u0022 \n\r\t\b\f \x01\x1f \x7f"),
        SPAN("a\0b\0"),
        SPAN("\xF0\x9F\x98\x80 \xE2\x80\xA8 \xEF\xBF\xBD"),
        SPAN(""),
        SPAN("${HOME} $$ %s %n"),
    };
    struct task_types *t = types_of("");

    for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
        json_t *body = compose(t,
                               &(struct composing){ .type = "translation",
                                                    .input = hostile[i],
                                                    .options = "{\"language\":\"{{input}}\"}" },
                               CHAT);
        const json_t *messages = json_object_get(body, "messages"),
                     *user = json_object_get(json_array_get(messages, 1), "content");

        assert_int_equal(json_object_size(body), 2);
        assert_int_equal(json_array_size(messages), 2);
        assert_string_equal(json_string_value(json_object_get(body, "model")), "m");
        assert_non_null(
            strstr(json_string_value(json_object_get(json_array_get(messages, 0), "content")),
                   "into {{input}}."));
        assert_int_equal(json_string_length(user), hostile[i].n);
        assert_memory_equal(json_string_value(user), hostile[i].p, hostile[i].n);
        json_decref(body);
    }
    task_types_destroy(t);
}

static void a_megabyte_passes_whole(void **state)
{
    const size_t n = 1 << 20;
    struct task_types *t = types_of("");
    char *input = xmalloc(n);
    json_t *body;

    for (size_t i = 0; i < n; i++) {
        input[i] = "\"\\{}{{x"[i % 7];
    }
    body = compose(t, &(struct composing){ .type = "embedding", .input = { input, n } },
                   "/v1/embeddings");
    assert_int_equal(json_string_length(json_object_get(body, "input")), n);
    assert_memory_equal(json_string_value(json_object_get(body, "input")), input, n);
    json_decref(body);
    free(input);
    task_types_destroy(t);
}

static void a_request_that_grows_without_bound_is_refused(void **state)
{
    struct task_types *t = types_of("");
    struct task_request request = { 0 };
    struct error e = { 0 };
    const size_t n = 4 << 20;
    char *input = xmalloc(n), *parameters;

    memset(input, 'x', n);
    parameters = xstrdup("{\"task_templates\":{\"embedding\":{\"input\":[\"{{input}}{{input}}"
                         "{{input}}\",\"{{input}}{{input}}{{input}}\",\"{{input}}{{input}}"
                         "{{input}}\"]}}}");
    assert_int_equal(try_compose(t,
                                 &(struct composing){ .type = "embedding",
                                                      .input = { input, n },
                                                      .parameters = parameters },
                                 &request, &e),
                     -EFBIG);
    free(parameters);
    free(input);
    task_types_destroy(t);
}

static void what_does_not_fit_is_refused(void **state)
{
    struct task_types *t = types_of("");
    const struct {
        struct composing what;
        const char *words;
    } rows[] = {
        { { .type = "text-generation", .input = SPAN("a\xC3(") }, "UTF-8" },
        { { .type = "embedding", .input = SPAN("\xED\xA0\x80") }, "UTF-8" },
        { { .type = "custom", .input = SPAN("\xFF") }, "UTF-8" },
        { { .type = "embedding", .options = "[1]" }, "must be a JSON object" },
        { { .type = "embedding", .options = "{\"a\":" }, "invalid JSON" },
        { { .type = "embedding", .options = "{\"request\":[1]}" }, "options.request" },
        { { .type = "custom", .input = SPAN("{}"), .options = "{\"path\":5}" }, "options.path" },
        { { .type = "custom", .input = SPAN("{}"), .options = "{\"path\":\"v1\"}" },
          "begin with '/'" },
        { { .type = "custom", .input = SPAN("{}"), .options = "{\"path\":\"/a b\"}" }, "visible" },
        { { .type = "custom", .input = SPAN("{}"), .options = "{\"path\":\"/a\\r\\nx: y\"}" },
          "visible" },
        { { .type = "custom", .input = SPAN("{}"), .options = "{\"path\":\"/v1/../x\"}" },
          "upwards" },
        { { .type = "custom", .input = SPAN("words"), .options = "{\"path\":\"/v1/rerank\"}" },
          "JSON object" },
        { { .type = "embedding", .parameters = "{\"task_templates\":{\"embedding\":\"x\"}}" },
          "task_templates.embedding" },
        { { .type = "instance", .input = SPAN("{\"page\":3}") },
          "'messages', 'prompt' or 'input'" },
        { { .type = "instance", .input = SPAN("words") }, "JSON object" },
        { { .type = "batch", .input = SPAN("{\"stream\":true}") }, "streamed" },
        { { .type = "batch", .input = SPAN("words") }, "JSON" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_refused(t, &rows[i].what, rows[i].words);
    }
    task_types_destroy(t);
}

static void configured_types_need_no_code(void **state)
{
    struct task_types *t = types_of(
        "task_types:\n"
        "  - name: keywords\n"
        "    help: The most telling words.\n"
        "    template:\n"
        "      temperature: 0\n"
        "      stop: [\"{{ end }}\", \"{{}}\", \"{{not a name}}\"]\n"
        "      messages: [{role: user, content: \"{{count}} {{missing}}words: {{input}}\"}]\n"
        "    defaults: {count: 5, end: .}\n"
        "  - name: rerank\n"
        "    endpoint: /v1/rerank\n"
        "  - name: embedding\n"
        "    endpoint: /v1/embeddings\n"
        "    template: {input: \"query: {{input}}\"}\n");
    const struct task_type *type;
    size_t cursor = 0, listed = 0;

    assert_body(t, &(struct composing){ .type = "keywords", .input = SPAN("abc") }, CHAT,
                "{\"model\":\"m\",\"temperature\":0,\"stop\":[\".\",\"{{}}\",\"{{not a name}}\"],"
                "\"messages\":[{\"role\":\"user\",\"content\":\"5 words: abc\"}]}");
    assert_body(t,
                &(struct composing){ .type = "keywords",
                                     .input = SPAN("abc"),
                                     .options = "{\"count\":[1,true],\"missing\":null}" },
                CHAT,
                "{\"model\":\"m\",\"temperature\":0,\"stop\":[\".\",\"{{}}\",\"{{not a name}}\"],"
                "\"messages\":[{\"role\":\"user\",\"content\":\"[1,true] words: abc\"}]}");
    assert_body(t, &(struct composing){ .type = "rerank", .input = SPAN("{\"query\":1}") },
                "/v1/rerank", "{\"model\":\"m\",\"query\":1}");
    assert_body(t, &(struct composing){ .type = "embedding", .input = SPAN("x") }, "/v1/embeddings",
                "{\"model\":\"m\",\"input\":\"query: x\"}");
    while ((type = task_types_next(t, &cursor))) {
        listed++;
        assert_true(!str_eq(type->name, "batch") && !str_eq(type->name, "instance"));
    }
    assert_int_equal(listed, 7);
    assert_string_equal(task_types_find(t, SPAN("keywords"))->help, "The most telling words.");
    assert_false(task_types_find(t, SPAN("embedding"))->built_in);
    assert_null(task_types_find(t, SPAN("batch")));
    assert_null(task_types_find(t, SPAN("key")));
    task_types_destroy(t);
}

static void what_lies_over_what(void **state)
{
    struct task_types *t = types_of("");
    const char *parameters =
        "{\"max_tokens\":7,\"temperature\":0.5,\"ctx_size\":9,\"task_templates\":{\"embedding\":"
        "{\"input\":[\"{{input}}\"]},\"text-generation\":{\"prompt\":\"{{input}}\",\"temperature\":"
        "0.25,\"stream\":true}}}";

    assert_body(
        t,
        &(struct composing){ .type = "translation",
                             .input = SPAN("x"),
                             .options = "{\"request\":{\"messages\":[],\"seed\":1,"
                                        "\"stream\":true,\"stream_options\":{},"
                                        "\"model\":\"other\"}}",
                             .parameters = parameters },
        CHAT, "{\"model\":\"m\",\"messages\":[],\"seed\":1,\"max_tokens\":7,\"temperature\":0.5}");
    assert_body(t,
                &(struct composing){ .type = "text-generation",
                                     .input = SPAN("x"),
                                     .options = "{\"request\":{\"max_completion_tokens\":3}}",
                                     .parameters = parameters },
                CHAT,
                "{\"model\":\"m\",\"prompt\":\"x\",\"temperature\":0.25,"
                "\"max_completion_tokens\":3}");
    assert_body(
        t, &(struct composing){ .type = "embedding", .input = SPAN("x"), .parameters = parameters },
        "/v1/embeddings", "{\"model\":\"m\",\"input\":[\"x\"]}");
    task_types_destroy(t);
}

static void task_inputs_of_instances(void **state)
{
    struct task_types *t = types_of("");

    assert_body(
        t,
        &(struct composing){
            .type = "instance",
            .input = SPAN("{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"n\":1}") },
        CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"n\":1}");
    assert_body(t, &(struct composing){ .type = "instance", .input = SPAN("{\"prompt\":\"a\"}") },
                "/v1/completions", "{\"model\":\"m\",\"prompt\":\"a\"}");
    assert_body(t, &(struct composing){ .type = "instance", .input = SPAN("{\"input\":[\"a\"]}") },
                "/v1/embeddings", "{\"model\":\"m\",\"input\":[\"a\"]}");
    task_types_destroy(t);
}

static void lines_of_batches_keep_their_bytes(void **state)
{
    static const char input[] = " {\"model\":\"x\", \"n\":1e400,\"big\":123456789012345678901 }";
    struct task_types *t = types_of("");
    struct composing what = { .type = "batch",
                              .input = span_of(input),
                              .options = "{\"url\":\"/v1/embeddings\"}",
                              .parameters = "{\"max_tokens\":7}" };
    struct task_request request = { 0 };
    struct error e = { 0 };

    assert_int_equal(try_compose(t, &what, &request, &e), 0);
    assert_string_equal(request.path, "/v1/embeddings");
    assert_int_equal(request.body_len, strlen(input));
    assert_string_equal(request.body, input);
    task_request_finish(&request);
    assert_true(task_type_is_line(task_types_of_task(t, "batch")));
    assert_false(task_type_is_line(task_types_of_task(t, "custom")));
    task_types_destroy(t);
}

/* ---- rows that are refused */

static void wrong_rows_are_told_with_their_line(void **state)
{
    static const struct {
        const char *yaml, *words;
    } rows[] = {
        { "task_types:\n  - 5\n", ":2: task_types[0]: it must be an object" },
        { "task_types:\n  - {}\n", ":2: task_types[0]: 'name'" },
        { "task_types:\n  - {name: a}\n\n  - {name: \"a b\"}\n",
          ":4: task_types[1] 'a b': 'name' must be of letters" },
        { "task_types:\n  - {name: a}\n  - {name: a}\n",
          ":3: task_types[1] 'a': there is a task type 'a' already" },
        { "task_types:\n  - {name: batch}\n", "berth's own" },
        { "task_types:\n  - {name: a, endpoint: v1}\n", "begin with '/'" },
        { "task_types:\n  - {name: a, endpoint: 5}\n", "'endpoint' must be a path" },
        { "task_types:\n  - {name: a, template: x}\n", "'template' must be an object" },
        { "task_types:\n  - {name: a, defaults: [1]}\n", "'defaults' must be an object" },
        { "task_types:\n  - {name: a, templat: {}}\n", "there is no member 'templat'" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct config *c = load_config(rows[i].yaml);
        struct task_types *t = NULL;
        struct error e = { 0 };

        assert_int_equal(task_types_create(c, &t, &e), -EINVAL);
        if (!strstr(e.text, rows[i].words)) {
            fail_msg("'%s' is missing in '%s'", rows[i].words, e.text);
        }
        config_free(c);
    }
}

static void a_reload_that_fails_keeps_the_old_rows(void **state)
{
    struct task_types *t = types_of("task_types:\n  - {name: a}\n");
    struct config *bad = load_config("task_types:\n  - {name: b}\n  - {name: 5}\n"),
                  *good = load_config("task_types:\n  - {name: c}\n");
    struct error e = { 0 };

    assert_int_equal(task_types_reload(t, bad, &e), -EINVAL);
    assert_non_null(task_types_find(t, SPAN("a")));
    assert_null(task_types_find(t, SPAN("b")));
    assert_int_equal(task_types_reload(t, good, &e), 0);
    assert_null(task_types_find(t, SPAN("a")));
    assert_non_null(task_types_find(t, SPAN("c")));
    config_free(bad);
    config_free(good);
    task_types_destroy(t);
}

/* ---- answers */

static void assert_output(enum task_output kind, const char *answer, int result, const char *output)
{
    struct error e = { 0 };
    char *text = NULL;
    size_t n = 0;

    assert_int_equal(task_types_output(kind, span_of(answer), &text, &n, &e), result);
    if (result == 0) {
        assert_int_equal(n, strlen(output));
        assert_string_equal(text, output);
    } else if (!strstr(e.text, output)) {
        fail_msg("'%s' is missing in '%s'", output, e.text);
    }
    free(text);
}

#define MESSAGE(m) "{\"choices\":[{\"finish_reason\":\"stop\",\"message\":" m "}]}"

static void what_is_kept_of_answers(void **state)
{
    static const struct {
        enum task_output kind;
        const char *answer;
        int result;
        const char *output;
    } rows[] = {
        { TASK_OUTPUT_TEXT, MESSAGE("{\"content\":\"Hi \\u00e4\"}"), 0, "Hi \xC3\xA4" },
        { TASK_OUTPUT_TEXT, "{\"choices\":[{\"text\":\"Hi\"},{\"text\":\"no\"}]}", 0, "Hi" },
        { TASK_OUTPUT_TEXT, MESSAGE("{\"content\":\"\"}"), 0, "" },
        { TASK_OUTPUT_TEXT, MESSAGE("{\"content\":null}"), 0, "" },
        { TASK_OUTPUT_TEXT, MESSAGE("{\"content\":\"Hi\",\"reasoning_content\":\"Hm\"}"), 0, "Hi" },
        { TASK_OUTPUT_TEXT, MESSAGE("{\"content\":null,\"tool_calls\":[{\"id\":\"a\"}]}"), 0,
          "[{\"id\":\"a\"}]" },
        { TASK_OUTPUT_TEXT, MESSAGE("{\"content\":\"\",\"reasoning_content\":\"Hm\"}"), -ENODATA,
          "no answer (finish_reason 'stop')" },
        { TASK_OUTPUT_TEXT, MESSAGE("{\"content\":null,\"reasoning\":\"Hm\"}"), -ENODATA,
          "max_tokens" },
        { TASK_OUTPUT_TEXT, MESSAGE("{}"), -EPROTO, "no content" },
        { TASK_OUTPUT_TEXT, "{\"choices\":[]}", -EPROTO, "no choice" },
        { TASK_OUTPUT_TEXT, "{\"choices\":[{\"text\":5}]}", -EPROTO, "no choice" },
        { TASK_OUTPUT_TEXT, "Hi", -EPROTO, "not JSON" },
        { TASK_OUTPUT_TEXT, "", -EPROTO, "not JSON" },
        { TASK_OUTPUT_EMBEDDING, "{\"data\":[{\"embedding\":[0.1,-2,3e-7]}]}", 0, "[0.1,-2,3e-7]" },
        { TASK_OUTPUT_EMBEDDING, "{\"data\":[{\"embedding\":\"AAA=\"}]}", 0, "\"AAA=\"" },
        { TASK_OUTPUT_EMBEDDING, "{\"data\":[]}", -EPROTO, "no embedding" },
        { TASK_OUTPUT_BODY, "any {thing", 0, "any {thing" },
        { TASK_OUTPUT_BODY, "\xFF", -EPROTO, "not UTF-8" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_output(rows[i].kind, rows[i].answer, rows[i].result, rows[i].output);
    }
}

/* An engine that is cut off by its limit in the middle of a character writes U+FFFD for its bytes.
 */
static void no_text_ends_within_a_character(void **state)
{
    assert_output(TASK_OUTPUT_TEXT,
                  "{\"choices\":[{\"finish_reason\":\"length\",\"message\":{\"content\":"
                  "\"\\u8981\\u7d04\\ufffd\\ufffd\"}}]}",
                  0, "\xE8\xA6\x81\xE7\xB4\x84");
    assert_output(TASK_OUTPUT_TEXT, MESSAGE("{\"content\":\"\\u8981\\ufffd\"}"), 0,
                  "\xE8\xA6\x81\xEF\xBF\xBD");
}

static void outputs_have_a_maximum(void **state)
{
    const size_t n = TASK_OUTPUT_MAX + 1;
    char *answer = xmalloc(n), *text = NULL;
    struct error e = { 0 };
    size_t len;

    memset(answer, 'x', n);
    assert_int_equal(
        task_types_output(TASK_OUTPUT_BODY, (struct span){ answer, n }, &text, &len, &e), -EFBIG);
    assert_int_equal(
        task_types_output(TASK_OUTPUT_BODY, (struct span){ answer, n - 1 }, &text, &len, &e), 0);
    assert_int_equal(len, n - 1);
    free(text);
    free(answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_type_becomes_its_request),
        cmocka_unit_test(nothing_in_a_value_changes_the_shape),
        cmocka_unit_test(a_megabyte_passes_whole),
        cmocka_unit_test(a_request_that_grows_without_bound_is_refused),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(configured_types_need_no_code),
        cmocka_unit_test(what_lies_over_what),
        cmocka_unit_test(task_inputs_of_instances),
        cmocka_unit_test(lines_of_batches_keep_their_bytes),
        cmocka_unit_test(wrong_rows_are_told_with_their_line),
        cmocka_unit_test(a_reload_that_fails_keeps_the_old_rows),
        cmocka_unit_test(what_is_kept_of_answers),
        cmocka_unit_test(no_text_ends_within_a_character),
        cmocka_unit_test(outputs_have_a_maximum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
