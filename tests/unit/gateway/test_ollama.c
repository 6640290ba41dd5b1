// SPDX-License-Identifier: Apache-2.0
/* Ollama's words and the engines' mean the same, both ways; what cannot be said is refused in
 * words; nothing that a client or an engine sends breaks it. */
#include "unit.h"

#include <jansson.h>
#include <string.h>

#include "base/buf.h"
#include "base/macros.h"
#include "codec/scan.h"
#include "gateway/ollama_int.h"

enum { OUT_MAX = 64 << 20 };

static const uint64_t began = 5000000, wall = 1767323045678;
#define WHEN "\"created_at\":\"2026-01-02T03:04:05.678Z\""

/* Requests */

static struct translated read_ok(const struct translation *t, const char *body)
{
    struct translated r = { 0 };
    struct error e = { 0 };

    if (t->read(span_of(body), began, &r, &e) < 0) {
        fail_msg("%s: %s", body, e.text);
    }
    return r;
}

static void becomes(const struct translation *t, const char *body, const char *path,
                    const char *engine_body)
{
    struct translated r = read_ok(t, body);

    assert_string_equal(r.path, path);
    assert_non_null(r.body);
    assert_string_equal(r.body, engine_body);
    assert_int_equal(r.body_len, strlen(engine_body));
    assert_false(r.load || r.unload);
    translated_finish(&r);
}

static void is_refused(const struct translation *t, const char *body, int code, const char *words)
{
    struct translated r = { 0 };
    struct error e = { 0 };

    assert_int_equal(t->read(span_of(body), began, &r, &e), code);
    if (!strstr(e.text, words)) {
        fail_msg("%s: '%s' does not say '%s'", body, e.text, words);
    }
    assert_null(r.state);
    assert_null(r.model);
}

#define STREAMED ",\"stream\":true,\"stream_options\":{\"include_usage\":true}"

static void chats_are_streamed_unless_they_say_otherwise(void **state)
{
    struct translated r;

    becomes(&ollama_chat, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
            "/v1/chat/completions",
            "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]" STREAMED "}");
    becomes(
        &ollama_chat,
        "{\"messages\":[{\"content\":\"h\\u00e9\\n\",\"role\":\"user\"}],\"model\":\"a/b:latest\","
        "\"stream\":false}",
        "/v1/chat/completions",
        "{\"model\":\"a/b:latest\",\"messages\":[{\"role\":\"user\",\"content\":"
        "\"h\\u00e9\\n\"}]}");
    r = read_ok(&ollama_chat,
                "{\"model\":\"m\\u0031\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}");
    assert_true(r.stream);
    assert_string_equal(r.model, "m1");
    assert_false(r.has_keep_alive);
    translated_finish(&r);
}

static void options_get_the_names_of_engines_and_keep_their_digits(void **state)
{
    becomes(
        &ollama_chat,
        "{\"model\":\"m\",\"stream\":false,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
        "\"options\":{\"temperature\":0.10,\"top_p\":1e-3,\"top_k\":40,\"min_p\":0.05,"
        "\"num_predict\":17,\"seed\":12345678901234567890123,\"stop\":[\"a\",\"b\"],"
        "\"repeat_penalty\":1.10,\"presence_penalty\":-1.5,\"frequency_penalty\":2,"
        "\"repeat_last_n\":64,\"typical_p\":0.7,\"num_keep\":5,\"mirostat\":1,"
        "\"mirostat_tau\":0.8,\"mirostat_eta\":0.6,\"num_ctx\":4096,\"num_gpu\":1,\"nobody\":3}}",
        "/v1/chat/completions",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_tokens\":17,"
        "\"temperature\":0.10,\"top_p\":1e-3,\"top_k\":40,\"min_p\":0.05,\"typical_p\":0.7,"
        "\"seed\":12345678901234567890123,\"stop\":[\"a\",\"b\"],\"repeat_penalty\":1.10,"
        "\"repeat_last_n\":64,\"presence_penalty\":-1.5,\"frequency_penalty\":2,\"n_keep\":5,"
        "\"mirostat\":1,\"mirostat_tau\":0.8,\"mirostat_eta\":0.6}");
}

static void no_limit_is_said_by_leaving_it_out(void **state)
{
    becomes(
        &ollama_chat,
        "{\"model\":\"m\",\"stream\":false,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
        "\"options\":{\"num_predict\":-1,\"stop\":\"end\",\"seed\":null}}",
        "/v1/chat/completions",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
        "\"stop\":\"end\"}");
}

#define ASK   "{\"model\":\"m\",\"stream\":false,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"
#define ASKED "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"

static void formats_and_thinking(void **state)
{
    becomes(&ollama_chat, ASK ",\"format\":\"json\"}", "/v1/chat/completions",
            ASKED ",\"response_format\":{\"type\":\"json_object\"}}");
    becomes(&ollama_chat, ASK ",\"format\":{\"type\": \"object\", \"maximum\":1.50}}",
            "/v1/chat/completions",
            ASKED ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
                  "\"answer\",\"schema\":{\"type\": \"object\", \"maximum\":1.50}}}}");
    becomes(&ollama_chat, ASK ",\"format\":\"\",\"think\":null}", "/v1/chat/completions",
            ASKED "}");
    becomes(&ollama_chat, ASK ",\"think\":false}", "/v1/chat/completions",
            ASKED ",\"chat_template_kwargs\":{\"enable_thinking\":false}}");
    becomes(&ollama_chat, ASK ",\"think\":\"high\"}", "/v1/chat/completions",
            ASKED ",\"reasoning_effort\":\"high\",\"chat_template_kwargs\":{\"enable_thinking\":"
                  "true,\"reasoning_effort\":\"high\"}}");
    becomes(&ollama_chat, ASK ",\"logprobs\":true,\"top_logprobs\":3}", "/v1/chat/completions",
            ASKED ",\"logprobs\":true,\"top_logprobs\":3}");
    becomes(&ollama_chat, ASK ",\"logprobs\":true}", "/v1/chat/completions",
            ASKED ",\"logprobs\":true,\"top_logprobs\":1}");
}

static void images_become_parts_with_data(void **state)
{
    becomes(
        &ollama_chat,
        "{\"model\":\"m\",\"stream\":false,\"messages\":[{\"role\":\"user\",\"content\":\"what?\","
        "\"images\":[\"iVBORw0K\",\"/9j/4AAQ\",\"http://10.0.0.1/\"]}]}",
        "/v1/chat/completions",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
        "\"text\":\"what?\"},{\"type\":\"image_url\",\"image_url\":{\"url\":"
        "\"data:image/png;base64,iVBORw0K\"}},{\"type\":\"image_url\",\"image_url\":{\"url\":"
        "\"data:image/jpeg;base64,/9j/4AAQ\"}},{\"type\":\"image_url\",\"image_url\":{\"url\":"
        "\"data:image/jpeg;base64,http://10.0.0.1/\"}}]}]}");
}

static void tool_calls_of_the_conversation_get_ids_and_text_arguments(void **state)
{
    becomes(
        &ollama_chat,
        "{\"model\":\"m\",\"stream\":false,\"tools\":[{\"type\":\"function\",\"function\":{"
        "\"name\":"
        "\"w\"}}],\"messages\":[{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\","
        "\"tool_calls\":[{\"function\":{\"name\":\"w\",\"arguments\":{\"city\": \"Par\\\"is\","
        "\"n\":1.0}}},{\"function\":{\"name\":\"t\"}},{\"id\":\"mine\",\"function\":{\"name\":"
        "\"w\","
        "\"arguments\":{}}}]},{\"role\":\"tool\",\"tool_name\":\"t\",\"content\":\"noon\"},{"
        "\"role\":"
        "\"tool\",\"tool_name\":\"w\",\"content\":\"sun\"},{\"role\":\"tool\",\"content\":\"rain\"}"
        ","
        "{\"role\":\"tool\",\"tool_call_id\":\"own\",\"content\":\"z\"}]}",
        "/v1/chat/completions",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":["
        "{\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"w\",\"arguments\":"
        "\"{\\\"city\\\": \\\"Par\\\\\\\"is\\\",\\\"n\\\":1.0}\"}},{\"id\":\"call_2\",\"type\":"
        "\"function\",\"function\":{\"name\":\"t\",\"arguments\":\"{}\"}},{\"id\":\"mine\","
        "\"type\":"
        "\"function\",\"function\":{\"name\":\"w\",\"arguments\":\"{}\"}}],\"reasoning_content\":"
        "\"hm\"},{\"role\":\"tool\",\"content\":\"noon\",\"name\":\"t\",\"tool_call_id\":\"call_"
        "2\"},"
        "{\"role\":\"tool\",\"content\":\"sun\",\"name\":\"w\",\"tool_call_id\":\"call_1\"},{"
        "\"role\":"
        "\"tool\",\"content\":\"rain\",\"tool_call_id\":\"mine\"},{\"role\":\"tool\",\"content\":"
        "\"z\",\"tool_call_id\":\"own\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":"
        "\"w\"}}]}");
}

static void prompts_become_chats_unless_raw(void **state)
{
    becomes(
        &ollama_generate, "{\"model\":\"m\",\"prompt\":\"hi\",\"system\":\"be kind\"}",
        "/v1/chat/completions",
        "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"be kind\"},{\"role\":"
        "\"user\",\"content\":\"hi\"}]" STREAMED "}");
    becomes(
        &ollama_generate,
        "{\"model\":\"m\",\"prompt\":\"<s>hi\",\"system\":\"unused\",\"raw\":true,\"stream\":false,"
        "\"options\":{\"num_predict\":3},\"format\":\"json\",\"logprobs\":true}",
        "/v1/completions",
        "{\"model\":\"m\",\"prompt\":\"<s>hi\",\"max_tokens\":3,\"logprobs\":1,"
        "\"json_schema\":{\"type\":\"object\"}}");
    becomes(&ollama_generate,
            "{\"model\":\"m\",\"prompt\":\"what?\",\"images\":[\"R0lGOD\"],\"stream\":false,"
            "\"context\":[],\"template\":\"\"}",
            "/v1/chat/completions",
            "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
            "\"text\":\"what?\"},{\"type\":\"image_url\",\"image_url\":{\"url\":"
            "\"data:image/gif;base64,R0lGOD\"}}]}]}");
    becomes(&ollama_generate,
            "{\"model\":\"m\",\"prompt\":\"def f(\",\"suffix\":\"return 1\",\"options\":"
            "{\"num_predict\":9}}",
            "/infill",
            "{\"model\":\"m\",\"input_prefix\":\"def f(\",\"input_suffix\":\"return 1\","
            "\"n_predict\":9,\"stream\":true}");
}

static void embeddings_of_both_kinds(void **state)
{
    becomes(&ollama_embed,
            "{\"model\":\"m\",\"input\":[\"a\",\"b\"],\"truncate\":true,"
            "\"dimensions\":64}",
            "/v1/embeddings", "{\"model\":\"m\",\"input\":[\"a\",\"b\"],\"dimensions\":64}");
    becomes(&ollama_embed, "{\"model\":\"m\",\"input\":\"a\",\"stream\":true}", "/v1/embeddings",
            "{\"model\":\"m\",\"input\":\"a\"}");
    becomes(&ollama_embeddings, "{\"model\":\"m\",\"prompt\":\"a\"}", "/v1/embeddings",
            "{\"model\":\"m\",\"input\":\"a\"}");
}

static void asks_nothing(const struct translation *t, const char *body, bool unload,
                         const char *answer)
{
    struct translated r = read_ok(t, body);
    struct buf out = BUF_INIT(OUT_MAX);

    assert_null(r.body);
    assert_int_equal(r.unload, unload);
    assert_int_equal(r.load, !unload);
    assert_int_equal(t->whole(r.state, (struct span){ 0 }, began + 7, wall, &out, NULL), 0);
    assert_string_equal(buf_data(&out), answer);
    buf_finish(&out);
    translated_finish(&r);
}

static void without_a_question_the_model_is_loaded_or_unloaded(void **state)
{
    asks_nothing(&ollama_generate, "{\"model\":\"m\",\"stream\":false}", false,
                 "{\"model\":\"m\"," WHEN ",\"response\":\"\",\"done\":true,\"done_reason\":"
                 "\"load\"}");
    asks_nothing(&ollama_generate, "{\"model\":\"m\",\"prompt\":\"\",\"keep_alive\":0}", true,
                 "{\"model\":\"m\"," WHEN ",\"response\":\"\",\"done\":true,\"done_reason\":"
                 "\"unload\"}");
    asks_nothing(&ollama_chat, "{\"model\":\"m\",\"messages\":[],\"keep_alive\":\"5m\"}", false,
                 "{\"model\":\"m\"," WHEN ",\"message\":{\"role\":\"assistant\",\"content\":\"\"},"
                 "\"done\":true,\"done_reason\":\"load\"}");
    asks_nothing(&ollama_chat, "{\"model\":\"m\",\"keep_alive\":\"0s\",\"stream\":false}", true,
                 "{\"model\":\"m\"," WHEN ",\"message\":{\"role\":\"assistant\",\"content\":\"\"},"
                 "\"done\":true,\"done_reason\":\"unload\"}");
    asks_nothing(&ollama_embed, "{\"model\":\"m\",\"input\":[ ]}", false,
                 "{\"model\":\"m\",\"embeddings\":[],\"total_duration\":7000,\"load_duration\":0,"
                 "\"prompt_eval_count\":0}");
    asks_nothing(&ollama_embeddings, "{\"model\":\"m\",\"prompt\":\"\"}", false,
                 "{\"embedding\":[]}");
}

static void keep_alive_is_read(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        { "300", 300000 },       { "\"5m\"", 300000 },         { "0", 0 },
        { "\"1.5h\"", 5400000 }, { "-1", KEEP_ALIVE_FOREVER }, { "\"-1s\"", KEEP_ALIVE_FOREVER }
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char body[200];
        struct translated r;

        snprintf(body, sizeof(body), "{\"model\":\"m\",\"prompt\":\"x\",\"keep_alive\":%s}",
                 rows[i].text);
        r = read_ok(&ollama_generate, body);
        assert_true(r.has_keep_alive);
        assert_int_equal(r.keep_alive_ms, rows[i].ms);
        assert_false(r.unload);
        translated_finish(&r);
    }
}

static void the_model_may_be_called_name(void **state)
{
    struct translated r = read_ok(&ollama_generate, "{\"name\":\"old\",\"prompt\":\"x\"}");

    assert_string_equal(r.model, "old");
    translated_finish(&r);
}

static void what_is_wrong_is_said_in_words(void **state)
{
    static const struct {
        const struct translation *t;
        const char *body;
        int code;
        const char *words;
    } rows[] = {
        { &ollama_chat, "{\"model\":\"m\"", -EBADMSG, "JSON" },
        { &ollama_chat, "[]", -EINVAL, "object" },
        { &ollama_chat, "{\"messages\":[]}", -EINVAL, "model is required" },
        { &ollama_chat, "{\"model\":\"\",\"messages\":[]}", -EINVAL, "model is required" },
        { &ollama_chat, "{\"model\":7}", -EINVAL, "model" },
        { &ollama_chat, "{\"model\":\"m\",\"messages\":\"hi\"}", -EINVAL, "list of messages" },
        { &ollama_chat, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\"},5]}", -EINVAL,
          "messages[1]: it must be an object" },
        { &ollama_chat, "{\"model\":\"m\",\"messages\":[{\"content\":\"x\"}]}", -EINVAL,
          "messages[0]: 'role'" },
        { &ollama_chat, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[]}]}",
          -EINVAL, "'content' must be a text" },
        { &ollama_chat,
          "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"images\":[7]}]}",
          -EINVAL, "base64" },
        { &ollama_chat,
          "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{}]}]}", -EINVAL,
          "function with a name" },
        { &ollama_chat,
          "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":"
          "{\"name\":\"f\",\"arguments\":[1]}}]}]}",
          -EINVAL, "must be an object" },
        { &ollama_chat, ASK ",\"stream\":1}", -EINVAL, "stream" },
        { &ollama_chat, ASK ",\"format\":\"yaml\"}", -EINVAL, "JSON schema" },
        { &ollama_chat, ASK ",\"format\":true}", -EINVAL, "JSON schema" },
        { &ollama_chat, ASK ",\"think\":\"much\"}", -EINVAL, "'think'" },
        { &ollama_chat, ASK ",\"options\":[]}", -EINVAL, "'options' must be an object" },
        { &ollama_chat, ASK ",\"options\":{\"top_k\":\"40\"}}", -EINVAL, "options.top_k" },
        { &ollama_chat, ASK ",\"options\":{\"stop\":[1]}}", -EINVAL, "options.stop" },
        { &ollama_chat, ASK ",\"keep_alive\":\"soon\"}", -EINVAL, "keep_alive" },
        { &ollama_chat, ASK ",\"keep_alive\":1e999}", -EINVAL, "keep_alive" },
        { &ollama_generate, "{\"model\":\"m\",\"prompt\":[1]}", -EINVAL, "'prompt'" },
        { &ollama_generate, "{\"model\":\"m\",\"prompt\":\"x\",\"template\":\"{{.}}\"}", -EINVAL,
          "'template' is not supported" },
        { &ollama_generate, "{\"model\":\"m\",\"prompt\":\"x\",\"context\":[1,2]}", -EINVAL,
          "'context' is not supported" },
        { &ollama_generate, "{\"model\":\"m\",\"raw\":true,\"images\":[\"R0lGOD\"]}", -EINVAL,
          "'images' are not supported" },
        { &ollama_embed, "{\"model\":\"m\",\"input\":[1]}", -EINVAL, "'input'" },
        { &ollama_embeddings, "{\"model\":\"m\",\"prompt\":{}}", -EINVAL, "'prompt'" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        is_refused(rows[i].t, rows[i].body, rows[i].code, rows[i].words);
    }
}

static void too_many_open_tool_calls_are_refused(void **state)
{
    struct buf b = BUF_INIT(OUT_MAX);

    buf_puts(&b, "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[");
    for (int i = 0; i <= TOOL_CALLS_MAX; i++) {
        buf_puts(&b, i ? ",{\"function\":{\"name\":\"f\"}}" : "{\"function\":{\"name\":\"f\"}}");
    }
    buf_puts(&b, "]}]}");
    is_refused(&ollama_chat, buf_data(&b), -EINVAL, "more than 128 tool calls");
    buf_finish(&b);
}

/* Streams */

struct talk {
    struct translated request;
    const struct translation *t;
    struct buf out;
    uint64_t now;
};

static struct talk talk_begin(const struct translation *t, const char *body)
{
    return (
        struct talk){ .request = read_ok(t, body), .t = t, .out = BUF_INIT(OUT_MAX), .now = began };
}

static void hears(struct talk *k, const char *event, const char *lines)
{
    bool last;

    k->now += 1000;
    buf_clear(&k->out);
    last = k->t->event(k->request.state, span_of(event), k->now, wall, &k->out);
    assert_string_equal(buf_data(&k->out), lines);
    assert_int_equal(last, strstr(lines, "\"done\":true") != NULL);
}

static void talk_end(struct talk *k)
{
    buf_finish(&k->out);
    translated_finish(&k->request);
}

#define CHAT_LINE(rest)                                                                            \
    "{\"model\":\"m\"," WHEN ",\"message\":{\"role\":\"assistant\",\"content\":" rest "\n"
#define SAY "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"

static void a_chat_comes_line_by_line(void **state)
{
    struct talk k = talk_begin(&ollama_chat, SAY);

    hears(&k, "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null}}]}",
          "");
    hears(&k, "{\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm \\u00e9\"}}]}",
          CHAT_LINE("\"\",\"thinking\":\"hm \\u00e9\"},\"done\":false}"));
    hears(&k, "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\\n\"}}],\"usage\":null}",
          CHAT_LINE("\"a\\n\"},\"done\":false}"));
    hears(&k, "{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"other\"}}]}", "");
    hears(&k,
          "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"b\"},\"logprobs\":{\"content\":[\n"
          "{\"token\": \"b, c\",\"logprob\":-0.50}]}}]}",
          CHAT_LINE("\"b\"},\"logprobs\":[{\"token\":\"b, c\",\"logprob\":-0.50}],"
                    "\"done\":false}"));
    hears(&k, "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}", "");
    hears(&k,
          "{\"choices\":[],\"usage\":{\"prompt_tokens\":23,\"completion_tokens\":4},\"timings\":"
          "{\"prompt_ms\":1.5,\"predicted_ms\":2.25}}",
          "");
    hears(&k, "[DONE]",
          CHAT_LINE("\"\"},\"done\":true,\"done_reason\":\"length\",\"total_duration\":8000000,"
                    "\"load_duration\":4250000,\"prompt_eval_count\":23,\"prompt_eval_duration\":"
                    "1500000,\"eval_count\":4,\"eval_duration\":2250000}"));
    hears(&k, "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"late\"}}]}", "");
    talk_end(&k);
}

static void without_timings_the_times_are_those_seen_from_here(void **state)
{
    struct talk k = talk_begin(&ollama_generate, "{\"model\":\"m\",\"prompt\":\"x\",\"raw\":true}");

    hears(&k, "{\"choices\":[{\"text\":\"\",\"index\":0}]}", "");
    hears(&k, "{\"choices\":[{\"text\":\"a\",\"index\":0,\"finish_reason\":null}]}",
          "{\"model\":\"m\"," WHEN ",\"response\":\"a\",\"done\":false}\n");
    hears(&k,
          "{\"choices\":[{\"text\":\"\",\"index\":0,\"finish_reason\":\"stop\"}],\"usage\":"
          "{\"prompt_tokens\":3,\"completion_tokens\":1}}",
          "");
    hears(&k, " [DONE]",
          "{\"model\":\"m\"," WHEN ",\"response\":\"\",\"done\":true,\"done_reason\":\"stop\","
          "\"total_duration\":4000000,\"load_duration\":0,\"prompt_eval_count\":3,"
          "\"prompt_eval_duration\":2000000,\"eval_count\":1,\"eval_duration\":2000000}\n");
    talk_end(&k);
}

static void tool_calls_come_once_and_whole(void **state)
{
    struct talk k = talk_begin(&ollama_chat, SAY);

    hears(&k,
          "{\"choices\":[{\"index\":0,\"delta\":{\"content\":null,\"tool_calls\":[{\"index\":0,"
          "\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"w\",\"arguments\":\"\"}}]}}"
          "]}",
          "");
    hears(&k,
          "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":"
          "{\"arguments\":\"{\\n \\\"city\\\": \\\"Pa\"}}]}}]}",
          "");
    hears(&k,
          "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":"
          "{\"arguments\":\"ris, F\\\",\\\"n\\\":1.50}\"}},{\"index\":1,\"function\":{\"name\":"
          "\"none\"}},{\"index\":2,\"function\":{\"name\":\"cut\",\"arguments\":\"{\\\"a\\\":\"}}]}"
          "}]}",
          "");
    hears(&k, "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}", "");
    hears(&k, "[DONE]",
          CHAT_LINE("\"{\\\"a\\\":\",\"tool_calls\":[{\"id\":\"c1\",\"function\":{\"name\":\"w\","
                    "\"arguments\":{\"city\":\"Paris, F\",\"n\":1.50}}},{\"function\":{\"name\":"
                    "\"none\",\"arguments\":{}}}]},\"done\":false}")
              CHAT_LINE("\"\"},\"done\":true,\"done_reason\":\"stop\",\"total_duration\":5000000,"
                        "\"load_duration\":0,\"prompt_eval_count\":0,\"prompt_eval_duration\":"
                        "1000000,\"eval_count\":0,\"eval_duration\":4000000}"));
    talk_end(&k);
}

static void a_flood_of_tool_calls_ends_in_an_error(void **state)
{
    struct talk k = talk_begin(&ollama_chat, SAY);

    hears(&k,
          "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":128,\"function\":"
          "{\"name\":\"w\"}}]}}]}",
          "");
    hears(&k, "[DONE]", "{\"error\":\"the engine's tool calls are beyond all limits\"}\n");
    talk_end(&k);
}

static void the_engines_error_becomes_the_last_line(void **state)
{
    static const struct {
        const char *event, *line;
    } rows[] = {
        { "{\"error\":{\"code\":500,\"message\":\"out of \\\"memory\\\"\"}}",
          "{\"error\":\"out of \\\"memory\\\"\"}\n" },
        { "{\"error\":\"plain\"}", "{\"error\":\"plain\"}\n" },
        { "{\"error\":{}}", "{\"error\":\"the engine ended with an error\"}\n" },
        { "garbage", "{\"error\":\"the engine sent an event that is no JSON object\"}\n" },
        { "{\"choices\":[7]}", "{\"error\":\"the engine sent a choice that is no object\"}\n" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct talk k = talk_begin(&ollama_chat, SAY);

        hears(&k, rows[i].event, rows[i].line);
        hears(&k, "[DONE]", "");
        k.t->stream_error(k.request.state, "again", &k.out);
        assert_int_equal(k.out.len, 0);
        talk_end(&k);
    }
}

static void an_error_of_ours_is_a_line(void **state)
{
    struct talk k = talk_begin(&ollama_chat, SAY);

    k.t->stream_error(k.request.state, "the engine \"left\"", &k.out);
    assert_string_equal(buf_data(&k.out), "{\"error\":\"the engine \\\"left\\\"\"}\n");
    hears(&k, "[DONE]", "");
    talk_end(&k);
}

static void infill_streams_end_without_done(void **state)
{
    struct talk k =
        talk_begin(&ollama_generate, "{\"model\":\"m\",\"prompt\":\"a\",\"suffix\":\"b\"}");

    hears(&k,
          "{\"index\":0,\"content\":\"x\",\"stop\":false,\"tokens_predicted\":1,"
          "\"tokens_evaluated\":3}",
          "{\"model\":\"m\"," WHEN ",\"response\":\"x\",\"done\":false}\n");
    hears(&k,
          "{\"index\":0,\"content\":\"\",\"stop\":true,\"stop_type\":\"limit\","
          "\"tokens_predicted\":2,\"tokens_evaluated\":3,\"timings\":{\"prompt_ms\":1,"
          "\"predicted_ms\":2}}",
          "{\"model\":\"m\"," WHEN ",\"response\":\"\",\"done\":true,\"done_reason\":\"length\","
          "\"total_duration\":2000000,\"load_duration\":0,\"prompt_eval_count\":3,"
          "\"prompt_eval_duration\":1000000,\"eval_count\":2,\"eval_duration\":2000000}\n");
    hears(&k, "[DONE]", "");
    talk_end(&k);
}

/* Whole answers */

static void answers(const struct translation *t, const char *request, const char *engine,
                    const char *answer)
{
    struct translated r = read_ok(t, request);
    struct buf out = BUF_INIT(OUT_MAX);
    struct error e = { 0 };

    if (t->whole(r.state, span_of(engine), began + 9000, wall, &out, &e) < 0) {
        fail_msg("%s: %s", engine, e.text);
    }
    assert_string_equal(buf_data(&out), answer);
    buf_finish(&out);
    translated_finish(&r);
}

static void whole_answers(void **state)
{
    answers(
        &ollama_chat, ASK "}",
        "{\"choices\":[{\"finish_reason\":\"tool_calls\",\"index\":0,\"message\":{\"role\":"
        "\"assistant\",\"content\":\"so\",\"reasoning_content\":\"why\",\"tool_calls\":[{\"type\":"
        "\"function\",\"function\":{\"name\":\"w\",\"arguments\":\"{\\\"a\\\":0.10}\"},\"id\":"
        "\"i\"}]}}],\"usage\":{\"completion_tokens\":5,\"prompt_tokens\":6},\"timings\":"
        "{\"prompt_ms\":2,\"predicted_ms\":3}}",
        "{\"model\":\"m\"," WHEN ",\"message\":{\"role\":\"assistant\",\"content\":\"so\","
        "\"thinking\":\"why\",\"tool_calls\":[{\"id\":\"i\",\"function\":{\"name\":\"w\","
        "\"arguments\":{\"a\":0.10}}}]},\"done\":true,\"done_reason\":\"stop\","
        "\"total_duration\":9000000,\"load_duration\":4000000,\"prompt_eval_count\":6,"
        "\"prompt_eval_duration\":2000000,\"eval_count\":5,\"eval_duration\":3000000}");
    answers(&ollama_generate, "{\"model\":\"m\",\"prompt\":\"x\",\"raw\":true,\"stream\":false}",
            "{\"choices\":[{\"text\":\"t\",\"index\":0,\"finish_reason\":\"length\"}]}",
            "{\"model\":\"m\"," WHEN ",\"response\":\"t\",\"done\":true,\"done_reason\":\"length\","
            "\"total_duration\":9000000,\"load_duration\":0,\"prompt_eval_count\":0,"
            "\"prompt_eval_duration\":0,\"eval_count\":0,\"eval_duration\":9000000}");
}

static void vectors_keep_their_digits_and_stand_in_order(void **state)
{
    answers(&ollama_embed, "{\"model\":\"m\",\"input\":[\"a\",\"b\"]}",
            "{\"data\":[{\"embedding\":[0.10,-1e-7],\"index\":1},{\"index\":0,\"embedding\":[1]}],"
            "\"usage\":{\"prompt_tokens\":4}}",
            "{\"model\":\"m\",\"embeddings\":[[1],[0.10,-1e-7]],\"total_duration\":9000000,"
            "\"load_duration\":0,\"prompt_eval_count\":4}");
    answers(&ollama_embeddings, "{\"model\":\"m\",\"prompt\":\"a\"}",
            "{\"data\":[{\"embedding\":[0.10,2],\"index\":0}]}", "{\"embedding\":[0.10,2]}");
}

static void what_is_no_answer_is_told(void **state)
{
    static const struct {
        const struct translation *t;
        const char *request, *engine;
    } rows[] = {
        { &ollama_chat, ASK "}", "<html>" },
        { &ollama_chat, ASK "}", "{}" },
        { &ollama_chat, ASK "}", "{\"choices\":[]}" },
        { &ollama_chat, ASK "}", "{\"choices\":[3]}" },
        { &ollama_embed, "{\"model\":\"m\",\"input\":\"a\"}", "{\"data\":{}}" },
        { &ollama_embed, "{\"model\":\"m\",\"input\":\"a\"}",
          "{\"data\":[{\"embedding\":[1],\"index\":1}]}" },
        { &ollama_embed, "{\"model\":\"m\",\"input\":\"a\"}",
          "{\"data\":[{\"embedding\":[1],\"index\":0},{\"embedding\":[1],\"index\":0}]}" },
        { &ollama_embed, "{\"model\":\"m\",\"input\":\"a\"}",
          "{\"data\":[{\"embedding\":\"AAA\"}]}" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct translated r = read_ok(rows[i].t, rows[i].request);
        struct buf out = BUF_INIT(OUT_MAX);
        struct error e = { 0 };

        assert_int_equal(rows[i].t->whole(r.state, span_of(rows[i].engine), began, wall, &out, &e),
                         -EPROTO);
        assert_non_null(strstr(e.text, "the engine's answer"));
        buf_finish(&out);
        translated_finish(&r);
    }
}

/* Whatever comes */

static uint64_t rng;

static uint64_t draw(uint64_t bound)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng % bound;
}

/* A copy with a few bytes changed, cut out or doubled, most of them those that mean something. */
static char *mutated(const char *text)
{
    static const char marks[] = "{}[]\",:\\ \n0-1.eatfn\x80\xc3";
    size_t n = strlen(text);
    char *copy = calloc(1, 2 * n + 64);

    memcpy(copy, text, n);
    for (uint64_t i = draw(4); i > 0 && n > 1; i--) {
        size_t at = draw(n), len = draw(12);

        len = MIN_OF(len, n - at);
        switch (draw(3)) {
        case 0:
            copy[at] = marks[draw(sizeof(marks) - 1)];
            break;
        case 1:
            memmove(copy + at, copy + at + len, n - at - len);
            n -= len;
            break;
        default:
            memmove(copy + at + len, copy + at, n - at);
            n += len;
            break;
        }
        copy[n] = '\0';
    }
    return copy;
}

static const char *const requests[] = {
    ASK ",\"format\":{\"type\":\"object\"},\"think\":true,\"keep_alive\":\"5m\",\"options\":"
        "{\"num_predict\":3,\"stop\":[\"a\"],\"top_k\":4},\"tools\":[{\"type\":\"function\"}]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{"
    "\"id\":"
    "\"x\",\"function\":{\"name\":\"w\",\"arguments\":{\"city\":\"Par\\u00e9\"}}}]},{\"role\":"
    "\"tool\","
    "\"tool_name\":\"w\",\"content\":\"noon\"},{\"role\":\"user\",\"content\":\"q\",\"images\":"
    "[\"iVBOR\"]}]}",
    "{\"model\":\"m\",\"prompt\":\"hi\",\"system\":\"be\",\"raw\":true,\"format\":\"json\","
    "\"logprobs\":true,\"input\":[\"a\",\"b\"],\"suffix\":\"\"}",
};

static const char *const events[] = {
    "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a\"}}]}",
    "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"function\":"
    "{\"name\":\"w\",\"arguments\":\"{\\\"a\\\":1}\"}}]},\"logprobs\":{\"content\":[{\"a\": "
    "1}]}}]}",
    "{\"choices\":[{\"text\":\"a\",\"index\":0,\"finish_reason\":\"stop\"}],\"usage\":"
    "{\"prompt_tokens\":3,\"completion_tokens\":1},\"timings\":{\"prompt_ms\":1.5}}",
    "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"a\",\"reasoning\":\"b\"}}]}",
    "{\"data\":[{\"embedding\":[1,2],\"index\":0},{\"embedding\":[1,2],\"index\":1}]}",
    "{\"error\":{\"message\":\"x\"}}",
    "{\"content\":\"x\",\"stop\":true,\"stop_type\":\"eos\",\"tokens_evaluated\":3}",
    "[DONE]",
};

static const struct translation *const all[] = { &ollama_chat, &ollama_generate, &ollama_embed,
                                                 &ollama_embeddings };

/* Every line that was written is one object, and ends. */
static void check_lines(const struct buf *out)
{
    struct span rest = buf_span(out), line;

    while (rest.n > 0) {
        struct error e = { 0 };

        line = span_cut(&rest, '\n');
        if (scan_object(line, NULL, 0, &e) < 0) {
            fail_msg("%.*s: %s", SPAN_ARG(line), e.text);
        }
        assert_non_null(rest.p);
    }
}

static void try_answers(const struct translation *t, struct translated *r)
{
    struct buf out = BUF_INIT(OUT_MAX);

    if (r->stream) {
        for (int i = 0; i < 6; i++) {
            char *event = mutated(events[draw(ARRAY_SIZE(events))]);

            t->event(r->state, span_of(event), began + draw(99999), wall, &out);
            free(event);
        }
        check_lines(&out);
    } else {
        char *answer = mutated(events[draw(ARRAY_SIZE(events))]);

        if (t->whole(r->state, span_of(answer), began + draw(99999), wall, &out, NULL) == 0) {
            assert_int_equal(scan_object(buf_span(&out), NULL, 0, NULL), 0);
        }
        free(answer);
    }
    buf_finish(&out);
}

static void nothing_that_comes_breaks_it(void **state)
{
    unsigned good = 0;

    rng = test_seed("nothing_that_comes_breaks_it") | 1;
    for (int i = 0; i < 40000; i++) {
        const struct translation *t = all[draw(ARRAY_SIZE(all))];
        char *body = mutated(requests[draw(ARRAY_SIZE(requests))]);
        struct translated r = { 0 };
        struct error e = { 0 };

        if (t->read(span_of(body), began, &r, &e) < 0) {
            assert_true(e.text[0]);
        } else {
            struct span sent = { r.body, r.body_len };

            good++;
            if (r.body && scan_object(sent, NULL, 0, &e) < 0) {
                fail_msg("%s: %s: %s", body, r.body, e.text);
            }
            try_answers(t, &r);
            translated_finish(&r);
        }
        free(body);
    }
    assert_in_range(good, 4000, 40000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chats_are_streamed_unless_they_say_otherwise),
        cmocka_unit_test(options_get_the_names_of_engines_and_keep_their_digits),
        cmocka_unit_test(no_limit_is_said_by_leaving_it_out),
        cmocka_unit_test(formats_and_thinking),
        cmocka_unit_test(images_become_parts_with_data),
        cmocka_unit_test(tool_calls_of_the_conversation_get_ids_and_text_arguments),
        cmocka_unit_test(prompts_become_chats_unless_raw),
        cmocka_unit_test(embeddings_of_both_kinds),
        cmocka_unit_test(without_a_question_the_model_is_loaded_or_unloaded),
        cmocka_unit_test(keep_alive_is_read),
        cmocka_unit_test(the_model_may_be_called_name),
        cmocka_unit_test(what_is_wrong_is_said_in_words),
        cmocka_unit_test(too_many_open_tool_calls_are_refused),
        cmocka_unit_test(a_chat_comes_line_by_line),
        cmocka_unit_test(without_timings_the_times_are_those_seen_from_here),
        cmocka_unit_test(tool_calls_come_once_and_whole),
        cmocka_unit_test(a_flood_of_tool_calls_ends_in_an_error),
        cmocka_unit_test(the_engines_error_becomes_the_last_line),
        cmocka_unit_test(an_error_of_ours_is_a_line),
        cmocka_unit_test(infill_streams_end_without_done),
        cmocka_unit_test(whole_answers),
        cmocka_unit_test(vectors_keep_their_digits_and_stand_in_order),
        cmocka_unit_test(what_is_no_answer_is_told),
        cmocka_unit_test(nothing_that_comes_breaks_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
