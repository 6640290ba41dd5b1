// SPDX-License-Identifier: Apache-2.0
/*
 * Ollama's requests made into what engines understand. What has no counterpart is either without
 * effect at Ollama, too (options of loading, such as num_ctx: the model's definition rules), or
 * refused in words.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gateway/ollama_int.h"

enum {
    F_MODEL,
    F_NAME, /* what `model` was called before */
    F_STREAM,
    F_KEEP_ALIVE,
    F_FORMAT,
    F_THINK,
    F_TOOLS,
    F_LOGPROBS,
    F_TOP_LOGPROBS,
    F_MESSAGES,
    F_PROMPT,
    F_SUFFIX,
    F_SYSTEM,
    F_TEMPLATE,
    F_CONTEXT,
    F_RAW,
    F_IMAGES,
    F_INPUT,
    F_DIMENSIONS,
    F_OPTIONS,
    F_FIRST_OPTION,
};

/* name at Ollama (with its place), at engines, and what it has to be */
struct option_name {
    const char *name, *engine;
    enum scan_type type; /* SCAN_ABSENT: a text or a list of texts */
};

// clang-format off
static const char *const member_names[F_FIRST_OPTION] = {
    [F_MODEL] = "model",           [F_NAME] = "name",
    [F_STREAM] = "stream",         [F_KEEP_ALIVE] = "keep_alive",
    [F_FORMAT] = "format",         [F_THINK] = "think",
    [F_TOOLS] = "tools",           [F_LOGPROBS] = "logprobs",
    [F_TOP_LOGPROBS] = "top_logprobs", [F_MESSAGES] = "messages",
    [F_PROMPT] = "prompt",         [F_SUFFIX] = "suffix",
    [F_SYSTEM] = "system",         [F_TEMPLATE] = "template",
    [F_CONTEXT] = "context",       [F_RAW] = "raw",
    [F_IMAGES] = "images",         [F_INPUT] = "input",
    [F_DIMENSIONS] = "dimensions", [F_OPTIONS] = "options",
};

enum { OPTION_NUM_PREDICT };
static const struct option_name options[] = {
    [OPTION_NUM_PREDICT] = { "options.num_predict", "max_tokens", SCAN_NUMBER },
    { "options.temperature",       "temperature",       SCAN_NUMBER },
    { "options.top_p",             "top_p",             SCAN_NUMBER },
    { "options.top_k",             "top_k",             SCAN_NUMBER },
    { "options.min_p",             "min_p",             SCAN_NUMBER },
    { "options.typical_p",         "typical_p",         SCAN_NUMBER },
    { "options.seed",              "seed",              SCAN_NUMBER },
    { "options.stop",              "stop",              SCAN_ABSENT },
    { "options.repeat_penalty",    "repeat_penalty",    SCAN_NUMBER },
    { "options.repeat_last_n",     "repeat_last_n",     SCAN_NUMBER },
    { "options.presence_penalty",  "presence_penalty",  SCAN_NUMBER },
    { "options.frequency_penalty", "frequency_penalty", SCAN_NUMBER },
    { "options.num_keep",          "n_keep",            SCAN_NUMBER },
    { "options.mirostat",          "mirostat",          SCAN_NUMBER },
    { "options.mirostat_tau",      "mirostat_tau",      SCAN_NUMBER },
    { "options.mirostat_eta",      "mirostat_eta",      SCAN_NUMBER },
};
// clang-format on

enum {
    F_COUNT = F_FIRST_OPTION + ARRAY_SIZE(options),
    BODY_GROWTH = 1 << 20, /* how much longer than twice the client's the engine's body may be */
    OPEN_CALLS_MAX = TOOL_CALLS_MAX,
};

/* A tool call of the conversation that no tool message has answered yet. */
struct open_call {
    struct span name; /* raw */
    char id[24];      /* made by us, when the client gave none */
    struct span given_id;
};

struct reading {
    enum ollama_kind kind;
    struct scan_member f[F_COUNT];
    bool raw, stream;
    struct buf out;
    struct open_call open[OPEN_CALLS_MAX];
    size_t open_count;
    unsigned calls; /* so far, for their ids */
    struct error *reterr;
};

static const struct scan_member *field(const struct reading *r, int which)
{
    return &r->f[which];
}

static bool given(const struct reading *r, int which)
{
    return raw_given(&r->f[which]);
}

/* Checks */

static int want_type(const struct reading *r, int which, enum scan_type type, const char *words)
{
    const struct scan_member *m = field(r, which);

    if (raw_given(m) && m->type != type) {
        return error_set(r->reterr, -EINVAL, "'%s' must be %s", m->name, words);
    }
    return 0;
}

static int want_texts(const struct reading *r, const struct scan_member *m, const char *words)
{
    struct span rest, element;

    if (!raw_given(m) || m->type == SCAN_STRING) {
        return 0;
    }
    if (m->type == SCAN_ARRAY) {
        rest = raw_inside(m->value);
        while (raw_next(&rest, &element)) {
            if (raw_type(element) != SCAN_STRING) {
                return error_set(r->reterr, -EINVAL, "'%s' must be %s", m->name, words);
            }
        }
        return 0;
    }
    return error_set(r->reterr, -EINVAL, "'%s' must be %s", m->name, words);
}

static int check_options(const struct reading *r)
{
    if (want_type(r, F_OPTIONS, SCAN_OBJECT, "an object") < 0) {
        return -EINVAL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        const struct scan_member *m = field(r, F_FIRST_OPTION + (int)i);

        if (options[i].type == SCAN_ABSENT) {
            if (want_texts(r, m, "a text or a list of texts") < 0) {
                return -EINVAL;
            }
        } else if (raw_given(m) && m->type != options[i].type) {
            return error_set(r->reterr, -EINVAL, "'%s' must be a number", m->name);
        }
    }
    return 0;
}

static int check_types(const struct reading *r)
{
    static const struct {
        int which;
        enum scan_type type;
        const char *words;
    } rows[] = {
        { F_STREAM, SCAN_BOOL, "true or false" },
        { F_RAW, SCAN_BOOL, "true or false" },
        { F_LOGPROBS, SCAN_BOOL, "true or false" },
        { F_TOP_LOGPROBS, SCAN_NUMBER, "a number" },
        { F_DIMENSIONS, SCAN_NUMBER, "a number" },
        { F_TOOLS, SCAN_ARRAY, "a list" },
        { F_MESSAGES, SCAN_ARRAY, "a list of messages" },
        { F_IMAGES, SCAN_ARRAY, "a list of images in base64" },
        { F_PROMPT, SCAN_STRING, "a text" },
        { F_SUFFIX, SCAN_STRING, "a text" },
        { F_SYSTEM, SCAN_STRING, "a text" },
        { F_TEMPLATE, SCAN_STRING, "a text" },
        { F_CONTEXT, SCAN_ARRAY, "a list" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (want_type(r, rows[i].which, rows[i].type, rows[i].words) < 0) {
            return -EINVAL;
        }
    }
    if (want_texts(r, field(r, F_INPUT), "a text or a list of texts") < 0) {
        return -EINVAL;
    }
    return check_options(r);
}

static int flag(const struct reading *r, int which, bool otherwise)
{
    return given(r, which) ? *field(r, which)->value.p == 't' : otherwise;
}

static bool is_empty_list(const struct scan_member *m)
{
    struct span rest = m->type == SCAN_ARRAY ? raw_inside(m->value) : (struct span){ 0 }, element;

    return !raw_next(&rest, &element);
}

/* What would change the answer and cannot be done is not passed over in silence. */
static int check_unsupported(const struct reading *r)
{
    if (r->kind != OLLAMA_GENERATE) {
        return 0;
    }
    if (raw_filled(field(r, F_TEMPLATE))) {
        return error_set(r->reterr, -EINVAL,
                         "'template' is not supported: the model's own template rules; with "
                         "\"raw\": true the prompt is taken as it is");
    }
    if (!is_empty_list(field(r, F_CONTEXT))) {
        return error_set(r->reterr, -EINVAL,
                         "'context' is not supported: send the conversation to /api/chat");
    }
    if (!is_empty_list(field(r, F_IMAGES)) &&
        (flag(r, F_RAW, false) || raw_filled(field(r, F_SUFFIX)))) {
        return error_set(r->reterr, -EINVAL,
                         "'images' are not supported together with 'raw' or 'suffix'");
    }
    return 0;
}

/* Common members */

static void put_member(struct reading *r, const char *name, struct span value)
{
    buf_printf(&r->out, ",\"%s\":", name);
    put_span(&r->out, value);
}

/* Negative: without a limit, which engines take the absence for. */
static bool has_limit(const struct scan_member *m)
{
    return *m->value.p != '-';
}

static void put_options(struct reading *r, const char *limit_name)
{
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        const struct scan_member *m = field(r, F_FIRST_OPTION + (int)i);

        if (!raw_given(m)) {
            continue;
        }
        if (i != OPTION_NUM_PREDICT) {
            put_member(r, options[i].engine, m->value);
        } else if (has_limit(m)) {
            put_member(r, limit_name, m->value);
        }
    }
}

/* Without a number Ollama tells of no others than the tokens themselves; engines tell of twenty, or
 * for 0 of nothing at all. */
static void put_logprobs(struct reading *r, bool chat)
{
    const struct scan_member *top = field(r, F_TOP_LOGPROBS);
    bool wanted = raw_given(top) && !span_eq(top->value, "0");

    if (!flag(r, F_LOGPROBS, false)) {
        return;
    }
    if (chat) {
        put_member(r, "logprobs", SPAN("true"));
    }
    put_member(r, chat ? "top_logprobs" : "logprobs", wanted ? top->value : SPAN("1"));
}

/* `format`: "json" or a schema; chat has response_format, completions json_schema. */
static int put_format(struct reading *r, bool chat)
{
    const struct scan_member *m = field(r, F_FORMAT);

    if (m->type == SCAN_OBJECT) {
        buf_puts(&r->out, chat ? ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":"
                                 "{\"name\":\"answer\",\"schema\":"
                               : ",\"json_schema\":");
        put_span(&r->out, m->value);
        buf_puts(&r->out, chat ? "}}" : "");
        return 0;
    }
    if (m->type == SCAN_STRING && span_eq(raw_inside(m->value), "json")) {
        buf_puts(&r->out, chat ? ",\"response_format\":{\"type\":\"json_object\"}"
                               : ",\"json_schema\":{\"type\":\"object\"}");
        return 0;
    }
    if (raw_filled(m) || (raw_given(m) && m->type != SCAN_STRING)) {
        return error_set(r->reterr, -EINVAL, "'format' must be \"json\" or a JSON schema");
    }
    return 0;
}

/* A boolean, or how much: templates call the first enable_thinking, the second reasoning_effort. */
static int put_think(struct reading *r)
{
    const struct scan_member *m = field(r, F_THINK);

    if (!raw_given(m)) {
        return 0;
    }
    if (m->type == SCAN_BOOL) {
        buf_puts(&r->out, ",\"chat_template_kwargs\":{\"enable_thinking\":");
        put_span(&r->out, m->value);
        buf_putc(&r->out, '}');
        return 0;
    }
    if (m->type == SCAN_STRING &&
        (span_eq(raw_inside(m->value), "low") || span_eq(raw_inside(m->value), "medium") ||
         span_eq(raw_inside(m->value), "high"))) {
        put_member(r, "reasoning_effort", m->value);
        buf_puts(&r->out, ",\"chat_template_kwargs\":{\"enable_thinking\":true,"
                          "\"reasoning_effort\":");
        put_span(&r->out, m->value);
        buf_putc(&r->out, '}');
        return 0;
    }
    return error_set(r->reterr, -EINVAL,
                     "'think' must be true, false, \"low\", \"medium\" or \"high\"");
}

static void put_stream(struct reading *r)
{
    if (r->stream) {
        buf_puts(&r->out, ",\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    }
}

/* Messages */

/* By the first characters of base64 that each kind of file begins with. */
static const char *image_type(struct span base64)
{
    return span_starts(base64, "iVBOR")   ? "image/png"
           : span_starts(base64, "R0lGO") ? "image/gif"
           : span_starts(base64, "UklGR") ? "image/webp"
                                          : "image/jpeg";
}

static int put_image(struct reading *r, struct span image)
{
    if (raw_type(image) != SCAN_STRING || image.n <= 2) {
        return error_set(r->reterr, -EINVAL, "'images' must be a list of images in base64");
    }
    image = raw_inside(image);
    /* Always as data: nobody's address is to be fetched by an engine. */
    buf_printf(&r->out, ",{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:%s;base64,",
               image_type(image));
    put_span(&r->out, image);
    buf_puts(&r->out, "\"}}");
    return 0;
}

/* content alone, or text and images as parts */
static int put_content(struct reading *r, const struct scan_member *content,
                       const struct scan_member *images)
{
    struct span text = raw_given(content) ? content->value : SPAN("\"\"");
    struct span rest = raw_given(images) ? raw_inside(images->value) : (struct span){ 0 };
    struct span image;
    bool any = false;

    buf_puts(&r->out, ",\"content\":");
    while (raw_next(&rest, &image)) {
        if (!any) {
            buf_puts(&r->out, "[{\"type\":\"text\",\"text\":");
            put_span(&r->out, text);
            buf_putc(&r->out, '}');
        }
        any = true;
        if (put_image(r, image) < 0) {
            return -EINVAL;
        }
    }
    if (any) {
        buf_putc(&r->out, ']');
    } else {
        put_span(&r->out, text);
    }
    return 0;
}

/* Remembers a call and writes its id. */
static int put_call_id(struct reading *r, const struct scan_member *id, struct span name)
{
    struct open_call *call;

    if (r->open_count == OPEN_CALLS_MAX) {
        return error_set(r->reterr, -EINVAL, "more than %d tool calls without an answer",
                         OPEN_CALLS_MAX);
    }
    call = &r->open[r->open_count++];
    *call = (struct open_call){ .name = name };
    r->calls++;
    if (raw_filled(id)) {
        call->given_id = id->value;
        put_span(&r->out, id->value);
    } else {
        snprintf(call->id, sizeof(call->id), "\"call_%u\"", r->calls);
        buf_puts(&r->out, call->id);
    }
    return 0;
}

static int put_tool_call(struct reading *r, struct span element)
{
    enum { ID, FUNCTION, NAME, ARGUMENTS, COUNT };
    struct scan_member f[COUNT] = {
        [ID] = { .name = "id" },
        [FUNCTION] = { .name = "function" },
        [NAME] = { .name = "function.name" },
        [ARGUMENTS] = { .name = "function.arguments" },
    };

    if (raw_type(element) != SCAN_OBJECT || scan_object(element, f, COUNT, NULL) < 0 ||
        !raw_filled(&f[NAME])) {
        return error_set(r->reterr, -EINVAL, "a tool call must have a function with a name");
    }
    buf_puts(&r->out, "{\"id\":");
    if (put_call_id(r, &f[ID], f[NAME].value) < 0) {
        return -EINVAL;
    }
    buf_puts(&r->out, ",\"type\":\"function\",\"function\":{\"name\":");
    put_span(&r->out, f[NAME].value);
    buf_puts(&r->out, ",\"arguments\":");
    if (f[ARGUMENTS].type == SCAN_STRING) {
        put_span(&r->out, f[ARGUMENTS].value);
    } else if (f[ARGUMENTS].type == SCAN_OBJECT) {
        buf_putc(&r->out, '"');
        buf_put_json_escaped(&r->out, f[ARGUMENTS].value.p, f[ARGUMENTS].value.n);
        buf_putc(&r->out, '"');
    } else if (!raw_given(&f[ARGUMENTS])) {
        buf_puts(&r->out, "\"{}\"");
    } else {
        return error_set(r->reterr, -EINVAL, "the arguments of a tool call must be an object");
    }
    buf_puts(&r->out, "}}");
    return 0;
}

static int put_tool_calls(struct reading *r, const struct scan_member *calls)
{
    struct span rest = raw_given(calls) ? raw_inside(calls->value) : (struct span){ 0 };
    struct span element;
    bool any = false;

    r->open_count = raw_given(calls) ? 0 : r->open_count;
    while (raw_next(&rest, &element)) {
        buf_puts(&r->out, any ? "," : ",\"tool_calls\":[");
        any = true;
        if (put_tool_call(r, element) < 0) {
            return -EINVAL;
        }
    }
    if (any) {
        buf_putc(&r->out, ']');
    }
    return 0;
}

static bool same(struct span a, struct span b)
{
    return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

/* Which call a tool's message answers: the one it names by id, else the first open one of its name,
 * else the first open one. */
static void put_answered_call(struct reading *r, const struct scan_member *name,
                              const struct scan_member *id)
{
    size_t found = 0;

    if (raw_filled(id)) {
        put_member(r, "tool_call_id", id->value);
        return;
    }
    for (size_t i = 0; raw_filled(name) && i < r->open_count; i++) {
        if (same(r->open[i].name, name->value)) {
            found = i;
            break;
        }
    }
    if (found < r->open_count) {
        struct open_call *call = &r->open[found];

        put_member(r, "tool_call_id", call->given_id.p ? call->given_id : span_of(call->id));
        memmove(call, call + 1, (r->open_count - found - 1) * sizeof(*call));
        r->open_count--;
    }
}

enum { M_ROLE, M_CONTENT, M_IMAGES, M_CALLS, M_THINKING, M_TOOL_NAME, M_CALL_ID, M_COUNT };

static int put_message_members(struct reading *r, const struct scan_member *f)
{
    if (!raw_filled(&f[M_ROLE])) {
        return error_set(r->reterr, -EINVAL, "'role' must be a text");
    }
    if (raw_given(&f[M_CONTENT]) && f[M_CONTENT].type != SCAN_STRING) {
        return error_set(r->reterr, -EINVAL, "'content' must be a text");
    }
    if (raw_given(&f[M_IMAGES]) && f[M_IMAGES].type != SCAN_ARRAY) {
        return error_set(r->reterr, -EINVAL, "'images' must be a list of images in base64");
    }
    if (raw_given(&f[M_CALLS]) && f[M_CALLS].type != SCAN_ARRAY) {
        return error_set(r->reterr, -EINVAL, "'tool_calls' must be a list");
    }
    buf_puts(&r->out, "{\"role\":");
    put_span(&r->out, f[M_ROLE].value);
    if (put_content(r, &f[M_CONTENT], &f[M_IMAGES]) < 0 || put_tool_calls(r, &f[M_CALLS]) < 0) {
        return -EINVAL;
    }
    if (raw_filled(&f[M_THINKING])) {
        put_member(r, "reasoning_content", f[M_THINKING].value);
    }
    if (span_eq(raw_inside(f[M_ROLE].value), "tool")) {
        if (raw_filled(&f[M_TOOL_NAME])) {
            put_member(r, "name", f[M_TOOL_NAME].value);
        }
        put_answered_call(r, &f[M_TOOL_NAME], &f[M_CALL_ID]);
    }
    buf_putc(&r->out, '}');
    return 0;
}

static int put_message(struct reading *r, struct span element)
{
    struct scan_member f[M_COUNT] = {
        [M_ROLE] = { .name = "role" },
        [M_CONTENT] = { .name = "content" },
        [M_IMAGES] = { .name = "images" },
        [M_CALLS] = { .name = "tool_calls" },
        [M_THINKING] = { .name = "thinking" },
        [M_TOOL_NAME] = { .name = "tool_name" },
        [M_CALL_ID] = { .name = "tool_call_id" },
    };

    if (raw_type(element) != SCAN_OBJECT) {
        return error_set(r->reterr, -EINVAL, "it must be an object");
    }
    if (scan_object(element, f, M_COUNT, r->reterr) < 0) {
        return -EINVAL;
    }
    return put_message_members(r, f);
}

static int put_messages(struct reading *r)
{
    struct span rest = raw_inside(field(r, F_MESSAGES)->value), element;

    buf_puts(&r->out, ",\"messages\":[");
    for (size_t i = 0; raw_next(&rest, &element); i++) {
        if (i > 0) {
            buf_putc(&r->out, ',');
        }
        if (put_message(r, element) < 0) {
            (void)error_prefix(r->reterr, "messages[%zu]: ", i);
            return -EINVAL;
        }
    }
    buf_putc(&r->out, ']');
    return 0;
}

/* Bodies */

static int put_chat_rest(struct reading *r)
{
    put_options(r, "max_tokens");
    put_logprobs(r, true);
    put_stream(r);
    if (put_format(r, true) < 0 || put_think(r) < 0) {
        return -EINVAL;
    }
    return 0;
}

static int put_chat(struct reading *r, struct translated *t)
{
    t->path = "/v1/chat/completions";
    if (put_messages(r) < 0) {
        return -EINVAL;
    }
    if (given(r, F_TOOLS)) {
        put_member(r, "tools", field(r, F_TOOLS)->value);
    }
    return put_chat_rest(r);
}

static struct span prompt_of(const struct reading *r)
{
    return given(r, F_PROMPT) ? field(r, F_PROMPT)->value : SPAN("\"\"");
}

/* The prompt goes to the model as it is: no template, no system. */
static int put_raw(struct reading *r, struct translated *t)
{
    t->path = "/v1/completions";
    put_member(r, "prompt", prompt_of(r));
    put_options(r, "max_tokens");
    put_logprobs(r, false);
    put_stream(r);
    return put_format(r, false);
}

/* What stands between prompt and suffix. Only llama.cpp knows how, by its own path. */
static int put_infill(struct reading *r, struct translated *t)
{
    t->path = "/infill";
    ((struct ollama_state *)t->state)->native = true;
    put_member(r, "input_prefix", prompt_of(r));
    put_member(r, "input_suffix", field(r, F_SUFFIX)->value);
    put_options(r, "n_predict");
    if (r->stream) {
        put_member(r, "stream", SPAN("true"));
    }
    return put_format(r, false);
}

static int put_generate(struct reading *r, struct translated *t)
{
    if (raw_filled(field(r, F_SUFFIX))) {
        return put_infill(r, t);
    }
    if (r->raw) {
        return put_raw(r, t);
    }
    t->path = "/v1/chat/completions";
    buf_puts(&r->out, ",\"messages\":[");
    if (raw_filled(field(r, F_SYSTEM))) {
        buf_puts(&r->out, "{\"role\":\"system\",\"content\":");
        put_span(&r->out, field(r, F_SYSTEM)->value);
        buf_puts(&r->out, "},");
    }
    buf_puts(&r->out, "{\"role\":\"user\"");
    if (put_content(r, field(r, F_PROMPT), field(r, F_IMAGES)) < 0) {
        return -EINVAL;
    }
    buf_puts(&r->out, "}]");
    return put_chat_rest(r);
}

static int put_embed(struct reading *r, struct translated *t)
{
    t->path = "/v1/embeddings";
    put_member(r, "input", field(r, r->kind == OLLAMA_EMBED ? F_INPUT : F_PROMPT)->value);
    if (given(r, F_DIMENSIONS)) {
        put_member(r, "dimensions", field(r, F_DIMENSIONS)->value);
    }
    return 0;
}

/* Nothing is asked: the model is only to be loaded, or unloaded. */
static bool asks_nothing(const struct reading *r)
{
    const struct scan_member *input = field(r, F_INPUT);

    switch (r->kind) {
    case OLLAMA_CHAT:
        return is_empty_list(field(r, F_MESSAGES));
    case OLLAMA_GENERATE:
        return !raw_filled(field(r, F_PROMPT)) && !raw_filled(field(r, F_SUFFIX)) &&
               is_empty_list(field(r, F_IMAGES));
    case OLLAMA_EMBED:
        return input->type == SCAN_STRING ? !raw_filled(input) : is_empty_list(input);
    default:
        return !raw_filled(field(r, F_PROMPT));
    }
}

static int put_body(struct reading *r, struct translated *t, struct span model)
{
    int n;

    buf_puts(&r->out, "{\"model\":");
    put_span(&r->out, model);
    switch (r->kind) {
    case OLLAMA_CHAT:
        n = put_chat(r, t);
        break;
    case OLLAMA_GENERATE:
        n = put_generate(r, t);
        break;
    default:
        n = put_embed(r, t);
        break;
    }
    buf_putc(&r->out, '}');
    if (n == 0 && r->out.overflow) {
        return error_set(r->reterr, -EFBIG, "the request is too long for the engine's form of it");
    }
    return n;
}

/* Reading */

static const struct scan_member *model_member(const struct reading *r)
{
    return field(r, given(r, F_MODEL) ? F_MODEL : F_NAME);
}

static int read_keep_alive(const struct reading *r, struct translated *t)
{
    const struct scan_member *m = field(r, F_KEEP_ALIVE);
    json_t *value;
    int n;

    if (!raw_given(m)) {
        return 0;
    }
    value = json_loadb(m->value.p, m->value.n, JSON_DECODE_ANY, NULL);
    n = keep_alive_parse(value, &t->keep_alive_ms, r->reterr);
    json_decref(value);
    t->has_keep_alive = n == 0;
    return n;
}

static int read_model(const struct reading *r, struct translated *t)
{
    const struct scan_member *m = model_member(r);
    int n;

    if (!raw_given(m)) {
        return error_set(r->reterr, -EINVAL, "model is required");
    }
    n = scan_string(m, &t->model, r->reterr);
    if (n == 0 && !*t->model) {
        return error_set(r->reterr, -EINVAL, "model is required");
    }
    return n;
}

static void mark_empty(const struct reading *r, struct translated *t)
{
    struct ollama_state *s = t->state;

    t->unload = t->has_keep_alive && t->keep_alive_ms == 0;
    t->load = !t->unload;
    s->load = t->load;
    s->unload = t->unload;
}

static int read_checked(struct reading *r, uint64_t now_us, struct translated *t)
{
    bool can_stream = r->kind == OLLAMA_CHAT || r->kind == OLLAMA_GENERATE;
    int n = check_types(r);

    if (n == 0) {
        n = check_unsupported(r);
    }
    if (n == 0) {
        n = read_model(r, t);
    }
    if (n == 0) {
        n = read_keep_alive(r, t);
    }
    if (n < 0) {
        return n;
    }
    r->stream = can_stream && flag(r, F_STREAM, true);
    r->raw = flag(r, F_RAW, false);
    t->stream = r->stream;
    t->state = ollama_state_create(r->kind, model_member(r)->value, now_us);
    if (asks_nothing(r)) {
        mark_empty(r, t);
        return 0;
    }
    n = put_body(r, t, model_member(r)->value);
    if (n == 0) {
        t->body = buf_take(&r->out, &t->body_len);
    }
    return n;
}

int ollama_read(enum ollama_kind kind, struct span body, uint64_t now_us, struct translated *ret,
                struct error *reterr)
{
    struct error e = { 0 };
    struct reading *r = xcalloc(1, sizeof(*r));
    struct translated t = { 0 };
    int n;

    r->kind = kind;
    r->reterr = &e;
    for (int i = 0; i < (int)F_COUNT; i++) {
        r->f[i].name = i < F_FIRST_OPTION ? member_names[i] : options[i - F_FIRST_OPTION].name;
    }
    buf_init(&r->out, 2 * body.n + BODY_GROWTH);
    n = scan_object(body, r->f, F_COUNT, &e);
    if (n == 0) {
        n = read_checked(r, now_us, &t);
    }
    buf_finish(&r->out);
    free(r);
    if (n < 0) {
        ollama_state_free(t.state);
        free(t.model);
        return error_set(reterr, n, "%s", e.text);
    }
    *ret = t;
    return 0;
}
