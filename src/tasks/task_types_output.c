// SPDX-License-Identifier: Apache-2.0
/* What of an engine's answer is a task's output. Nothing is ever cut off a text but the half of a
 * character that the engine's own limit left there. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tasks/task_types_int.h"
#include "tasks/tasks.h"

enum { FLOAT_DIGITS = 15 };

static int not_as_expected(struct error *reterr, const char *what)
{
    return error_set(reterr, -EPROTO, "the engine's answer is not what it was asked for: %s", what);
}

static int copy(const char *p, size_t n, char **ret, size_t *ret_len, struct error *reterr)
{
    char *text;

    if (n > TASK_OUTPUT_MAX) {
        return error_set(reterr, -EFBIG, "the output is longer than %d MiB", TASK_OUTPUT_MAX >> 20);
    }
    text = try_malloc(n + 1);
    if (!text) {
        return error_set(reterr, -ENOMEM, "there is no memory for the output");
    }
    memcpy(text, p, n);
    text[n] = '\0';
    *ret = text;
    *ret_len = n;
    return 0;
}

static int copy_json(const json_t *json, char **ret, size_t *ret_len, struct error *reterr)
{
    char *text =
        json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(FLOAT_DIGITS));
    int r = text ? copy(text, strlen(text), ret, ret_len, reterr)
                 : error_set(reterr, -ENOMEM, "there is no memory for the output");

    free(text);
    return r;
}

/* Engines write U+FFFD for the bytes of a character that did not become whole. */
static size_t without_half_character(const char *p, size_t n)
{
    static const char replacement[] = "\xEF\xBF\xBD";

    while (n >= 3 && memcmp(p + n - 3, replacement, 3) == 0) {
        n -= 3;
    }
    return n;
}

static bool has_text(const json_t *j)
{
    return json_string_length(j) > 0;
}

/* A chat's message without text. */
static int no_text(const json_t *message, const char *reason, char **ret, size_t *ret_len,
                   struct error *reterr)
{
    const json_t *calls = json_object_get(message, "tool_calls"),
                 *content = json_object_get(message, "content");

    if (json_array_size(calls) > 0) {
        return copy_json(calls, ret, ret_len, reterr);
    }
    if (has_text(json_object_get(message, "reasoning_content")) ||
        has_text(json_object_get(message, "reasoning"))) {
        return error_set(reterr, -ENODATA,
                         "the model has thought and given no answer%s%.60s%s; a higher max_tokens "
                         "may help",
                         reason ? " (finish_reason '" : "", reason ? reason : "",
                         reason ? "')" : "");
    }
    if (json_is_string(content) || json_is_null(content)) {
        return copy("", 0, ret, ret_len, reterr);
    }
    return not_as_expected(reterr, "the message has no content");
}

static int text_of(const json_t *answer, char **ret, size_t *ret_len, struct error *reterr)
{
    const json_t *choice = json_array_get(json_object_get(answer, "choices"), 0),
                 *message = json_object_get(choice, "message"),
                 *text = message ? json_object_get(message, "content")
                                 : json_object_get(choice, "text");
    const char *reason = json_string_value(json_object_get(choice, "finish_reason"));
    size_t n = json_string_length(text);

    if (!choice || (!message && !json_is_string(text))) {
        return not_as_expected(reterr, "there is no choice with a text in it");
    }
    if (n == 0 && message) {
        return no_text(message, reason, ret, ret_len, reterr);
    }
    if (reason && str_eq(reason, "length")) {
        n = without_half_character(json_string_value(text), n);
    }
    return copy(json_string_value(text), n, ret, ret_len, reterr);
}

static int embedding_of(const json_t *answer, char **ret, size_t *ret_len, struct error *reterr)
{
    const json_t *vector =
        json_object_get(json_array_get(json_object_get(answer, "data"), 0), "embedding");

    if (!json_is_array(vector) && !json_is_string(vector)) { /* a string: base64, if asked for */
        return not_as_expected(reterr, "there is no embedding in it");
    }
    return copy_json(vector, ret, ret_len, reterr);
}

int task_types_output(enum task_output kind, struct span answer, char **ret, size_t *ret_len,
                      struct error *reterr)
{
    json_t *json;
    int r;

    if (kind == TASK_OUTPUT_BODY) {
        return is_valid_utf8(answer.p, answer.n)
                   ? copy(answer.p ? answer.p : "", answer.n, ret, ret_len, reterr)
                   : not_as_expected(reterr, "it is not UTF-8");
    }
    json = json_loadb(answer.p ? answer.p : "", answer.n, JSON_ALLOW_NUL, NULL);
    if (!json) {
        return not_as_expected(reterr, "it is not JSON");
    }
    r = kind == TASK_OUTPUT_TEXT ? text_of(json, ret, ret_len, reterr)
                                 : embedding_of(json, ret, ret_len, reterr);
    json_decref(json);
    return r;
}
