// SPDX-License-Identifier: Apache-2.0
/*
 * Engines' answers made into Ollama's: one JSON object a line for streams, the last one with
 * "done": true and the figures; the same object alone for whole answers. A line is written only
 * when it brings something.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/timefmt.h"
#include "gateway/ollama_int.h"

enum {
    A_ERROR,
    A_ERROR_MESSAGE,
    A_CHOICES,
    A_DATA,
    A_USAGE,
    A_PROMPT_TOKENS,
    A_OUTPUT_TOKENS,
    A_TIMINGS,
    A_PROMPT_MS,
    A_OUTPUT_MS,
    /* llama.cpp's own form */
    A_CONTENT,
    A_STOP,
    A_STOP_TYPE,
    A_EVALUATED,
    A_PREDICTED,
    A_COUNT,
};

static const char *const answer_names[A_COUNT] = {
    [A_ERROR] = "error",
    [A_ERROR_MESSAGE] = "error.message",
    [A_CHOICES] = "choices",
    [A_DATA] = "data",
    [A_USAGE] = "usage",
    [A_PROMPT_TOKENS] = "usage.prompt_tokens",
    [A_OUTPUT_TOKENS] = "usage.completion_tokens",
    [A_TIMINGS] = "timings",
    [A_PROMPT_MS] = "timings.prompt_ms",
    [A_OUTPUT_MS] = "timings.predicted_ms",
    [A_CONTENT] = "content",
    [A_STOP] = "stop",
    [A_STOP_TYPE] = "stop_type",
    [A_EVALUATED] = "tokens_evaluated",
    [A_PREDICTED] = "tokens_predicted",
};

/* What one event, or the whole answer, brings: raw JSON, absent where there is none. */
struct piece {
    struct span content, thinking, logprobs;
};

/* The state */

struct ollama_state *ollama_state_create(enum ollama_kind kind, struct span model_json,
                                         uint64_t now_us)
{
    struct ollama_state *s = xcalloc(1, sizeof(*s));

    s->kind = kind;
    s->model = span_dup(model_json);
    s->began_us = now_us;
    return s;
}

void ollama_state_free(void *state)
{
    struct ollama_state *s = state;

    if (!s) {
        return;
    }
    tool_calls_finish(&s->tools);
    free(s->model);
    free(s->finish);
    free(s);
}

/* Writing */

static void put_head(const struct ollama_state *s, int64_t wall_ms, struct buf *out)
{
    char when[TIMEFMT_SIZE];

    timefmt_iso(wall_ms, when);
    buf_printf(out, "{\"model\":%s,\"created_at\":\"%s\"", s->model, when);
}

/* with_tools: the gathered tool calls too, and what is left of broken ones as text. */
static void put_piece(const struct ollama_state *s, const struct piece *p, bool with_tools,
                      struct buf *out)
{
    bool chat = s->kind == OLLAMA_CHAT;
    struct buf calls = BUF_INIT(2 * TOOL_BYTES_MAX);

    buf_puts(out,
             chat ? ",\"message\":{\"role\":\"assistant\",\"content\":\"" : ",\"response\":\"");
    if (p->content.p) {
        put_span(out, raw_inside(p->content));
    }
    if (with_tools) {
        tool_calls_put_rest(&s->tools, out);
    }
    buf_putc(out, '"');
    if (p->thinking.p) {
        buf_puts(out, ",\"thinking\":");
        put_span(out, p->thinking);
    }
    if (chat && with_tools && tool_calls_put(&s->tools, &calls)) {
        buf_puts(out, ",\"tool_calls\":");
        put_span(out, buf_span(&calls));
    }
    buf_puts(out, chat ? "}" : "");
    if (p->logprobs.p) {
        buf_puts(out, ",\"logprobs\":");
        put_compact(out, p->logprobs);
    }
    buf_finish(&calls);
}

static unsigned long long us_to_ns(uint64_t us)
{
    return (unsigned long long)us * 1000;
}

static unsigned long long ms_to_ns(double ms)
{
    return (unsigned long long)llround(fmin(ms, 1e12) * 1e6);
}

struct durations {
    unsigned long long total, load, prompt, output;
};

/*
 * The engine's own figures, where it has any; else what was seen from here:
 *
 *     request ──── load ────► engine begins ──── prompt ────► first bytes ──── output ────► end
 *
 * load: whatever was neither prompt nor output, waiting for an instance included.
 */
static struct durations measure(const struct ollama_state *s, uint64_t now_us)
{
    uint64_t first = s->first_us ? s->first_us : s->began_us;
    struct durations d = { .total = us_to_ns(now_us - s->began_us) };

    if (s->prompt_ms > 0 || s->output_ms > 0) {
        d.prompt = ms_to_ns(s->prompt_ms);
        d.output = ms_to_ns(s->output_ms);
        d.load = d.total > d.prompt + d.output ? d.total - d.prompt - d.output : 0;
    } else {
        d.prompt = us_to_ns(first - s->began_us);
        d.output = us_to_ns(now_us - first);
    }
    return d;
}

static void put_figures(const struct ollama_state *s, uint64_t now_us, struct buf *out)
{
    struct durations d = measure(s, now_us);

    buf_printf(out,
               ",\"done\":true,\"done_reason\":%s,\"total_duration\":%llu,\"load_duration\":%llu,"
               "\"prompt_eval_count\":%llu,\"prompt_eval_duration\":%llu,\"eval_count\":%llu,"
               "\"eval_duration\":%llu}",
               s->finish ? s->finish : "\"stop\"", d.total, d.load,
               (unsigned long long)s->prompt_tokens, d.prompt, (unsigned long long)s->output_tokens,
               d.output);
}

static void put_error_line(struct ollama_state *s, struct span text_json, struct buf *out)
{
    buf_puts(out, "{\"error\":");
    put_span(out, text_json);
    buf_puts(out, "}\n");
    s->ended = true;
}

static void stream_error(void *state, const char *text, struct buf *out)
{
    struct ollama_state *s = state;

    if (s->ended) {
        return;
    }
    buf_puts(out, "{\"error\":");
    put_text(out, text);
    buf_puts(out, "}\n");
    s->ended = true;
}

static void put_line(struct ollama_state *s, const struct piece *p, bool with_tools,
                     int64_t wall_ms, struct buf *out)
{
    put_head(s, wall_ms, out);
    put_piece(s, p, with_tools, out);
    buf_puts(out, ",\"done\":false}\n");
}

static bool put_last_line(struct ollama_state *s, uint64_t now_us, int64_t wall_ms, struct buf *out)
{
    static const struct piece nothing;

    if (s->tools.overflow) {
        stream_error(s, "the engine's tool calls are beyond all limits", out);
        return false;
    }
    if (s->tools.count > 0) {
        put_line(s, &nothing, true, wall_ms, out);
    }
    put_head(s, wall_ms, out);
    put_piece(s, &nothing, false, out);
    put_figures(s, now_us, out);
    buf_putc(out, '\n');
    s->ended = true;
    return true;
}

/* Reading */

static void scan_names(struct scan_member *f, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        f[i] = (struct scan_member){ .name = names[i] };
    }
}

/* The engine's words as raw JSON. */
static struct span error_text(const struct scan_member *f)
{
    if (raw_filled(&f[A_ERROR_MESSAGE])) {
        return f[A_ERROR_MESSAGE].value;
    }
    return raw_filled(&f[A_ERROR]) ? f[A_ERROR].value : SPAN("\"the engine ended with an error\"");
}

/* Any event may bring them; the last ones count. */
static void take_figures(struct ollama_state *s, const struct scan_member *f)
{
    if (f[A_USAGE].type == SCAN_OBJECT) {
        s->prompt_tokens = (uint64_t)raw_number(&f[A_PROMPT_TOKENS]);
        s->output_tokens = (uint64_t)raw_number(&f[A_OUTPUT_TOKENS]);
    }
    if (s->native && f[A_EVALUATED].type == SCAN_NUMBER) {
        s->prompt_tokens = (uint64_t)raw_number(&f[A_EVALUATED]);
        s->output_tokens = (uint64_t)raw_number(&f[A_PREDICTED]);
    }
    if (f[A_TIMINGS].type == SCAN_OBJECT) {
        s->prompt_ms = raw_number(&f[A_PROMPT_MS]);
        s->output_ms = raw_number(&f[A_OUTPUT_MS]);
    }
}

/* finish_reason (or llama.cpp's stop_type) as a done_reason. Tool calls end normally. */
static void take_finish(struct ollama_state *s, const struct scan_member *m)
{
    static const char *const stops[] = { "tool_calls", "function_call", "eos", "word", "none" };
    struct span word;

    if (!raw_filled(m)) {
        return;
    }
    word = m->value;
    for (size_t i = 0; i < ARRAY_SIZE(stops); i++) {
        if (span_eq(raw_inside(m->value), stops[i])) {
            word = SPAN("\"stop\"");
        }
    }
    if (span_eq(raw_inside(m->value), "limit")) {
        word = SPAN("\"length\"");
    }
    free(s->finish);
    s->finish = span_dup(word);
}

/* The names of one choice: `delta` in streams, `message` in whole answers, `text` of completions.
 */
enum {
    C_INDEX,
    C_FINISH,
    C_TEXT,
    C_LOGPROBS,
    C_LOGPROBS_CONTENT,
    C_MESSAGE,
    C_CONTENT,
    C_REASONING_CONTENT,
    C_REASONING,
    C_TOOL_CALLS,
    C_COUNT,
};

static const char *const delta_names[C_COUNT] = {
    [C_INDEX] = "index",
    [C_FINISH] = "finish_reason",
    [C_TEXT] = "text",
    [C_LOGPROBS] = "logprobs",
    [C_LOGPROBS_CONTENT] = "logprobs.content",
    [C_MESSAGE] = "delta",
    [C_CONTENT] = "delta.content",
    [C_REASONING_CONTENT] = "delta.reasoning_content",
    [C_REASONING] = "delta.reasoning",
    [C_TOOL_CALLS] = "delta.tool_calls",
};
static const char *const message_names[C_COUNT] = {
    [C_INDEX] = "index",
    [C_FINISH] = "finish_reason",
    [C_TEXT] = "text",
    [C_LOGPROBS] = "logprobs",
    [C_LOGPROBS_CONTENT] = "logprobs.content",
    [C_MESSAGE] = "message",
    [C_CONTENT] = "message.content",
    [C_REASONING_CONTENT] = "message.reasoning_content",
    [C_REASONING] = "message.reasoning",
    [C_TOOL_CALLS] = "message.tool_calls",
};

static struct span filled_or_absent(const struct scan_member *m)
{
    return raw_filled(m) ? m->value : (struct span){ 0 };
}

static int take_choice(struct ollama_state *s, struct span choice, const char *const *names,
                       struct piece *ret)
{
    struct scan_member f[C_COUNT];
    int64_t index = 0;

    scan_names(f, names, C_COUNT);
    if (scan_object(choice, f, C_COUNT, NULL) < 0) {
        return -EPROTO;
    }
    if (f[C_INDEX].type == SCAN_NUMBER && (scan_int(&f[C_INDEX], &index, NULL) < 0 || index != 0)) {
        return 0; /* another answer beside the first: there was one question */
    }
    take_finish(s, &f[C_FINISH]);
    ret->content = filled_or_absent(f[C_TEXT].type == SCAN_STRING ? &f[C_TEXT] : &f[C_CONTENT]);
    ret->thinking = filled_or_absent(raw_filled(&f[C_REASONING_CONTENT]) ? &f[C_REASONING_CONTENT]
                                                                         : &f[C_REASONING]);
    if (f[C_LOGPROBS_CONTENT].type == SCAN_ARRAY && f[C_LOGPROBS_CONTENT].value.n > 2) {
        ret->logprobs = f[C_LOGPROBS_CONTENT].value;
    }
    if (f[C_TOOL_CALLS].type == SCAN_ARRAY && s->kind == OLLAMA_CHAT) {
        tool_calls_gather(&s->tools, f[C_TOOL_CALLS].value);
    }
    return 0;
}

/* Figures, and what the first choice brings. */
static int take_answer(struct ollama_state *s, const struct scan_member *f,
                       const char *const *names, struct piece *ret)
{
    struct span rest, choice;
    int r = 0;

    take_figures(s, f);
    if (s->native) {
        ret->content = filled_or_absent(&f[A_CONTENT]);
        take_finish(s, &f[A_STOP_TYPE]);
        return 0;
    }
    if (f[A_CHOICES].type != SCAN_ARRAY) {
        return 0;
    }
    rest = raw_inside(f[A_CHOICES].value);
    while (r == 0 && raw_next(&rest, &choice)) {
        r = take_choice(s, choice, names, ret);
    }
    return r;
}

/* Streams */

static bool brings(const struct piece *p)
{
    return p->content.p || p->thinking.p || p->logprobs.p;
}

static bool on_event(void *state, struct span data, uint64_t now_us, int64_t wall_ms,
                     struct buf *out)
{
    struct ollama_state *s = state;
    struct scan_member f[A_COUNT];
    struct piece piece = { 0 };
    size_t before = s->tools.bytes;

    if (s->ended || !data.p) {
        return false;
    }
    if (span_eq(span_trim(data), "[DONE]")) {
        return put_last_line(s, now_us, wall_ms, out);
    }
    scan_names(f, answer_names, A_COUNT);
    if (scan_object(data, f, A_COUNT, NULL) < 0) {
        stream_error(s, "the engine sent an event that is no JSON object", out);
        return false;
    }
    if (raw_given(&f[A_ERROR])) {
        put_error_line(s, error_text(f), out);
        return false;
    }
    if (take_answer(s, f, delta_names, &piece) < 0) {
        stream_error(s, "the engine sent a choice that is no object", out);
        return false;
    }
    if (!s->first_us && (brings(&piece) || s->tools.bytes > before)) {
        s->first_us = now_us;
    }
    if (brings(&piece)) {
        put_line(s, &piece, false, wall_ms, out);
    }
    if (s->native && f[A_STOP].type == SCAN_BOOL && *f[A_STOP].value.p == 't') {
        /* llama.cpp's own streams have no [DONE]. */
        return put_last_line(s, now_us, wall_ms, out);
    }
    return false;
}

/* Whole answers */

static int put_text_answer(struct ollama_state *s, const struct scan_member *f, uint64_t now_us,
                           int64_t wall_ms, struct buf *out)
{
    struct piece piece = { 0 };

    if (!s->native && (f[A_CHOICES].type != SCAN_ARRAY || f[A_CHOICES].value.n <= 2)) {
        return -EPROTO;
    }
    if (take_answer(s, f, message_names, &piece) < 0 || s->tools.overflow) {
        return -EPROTO;
    }
    put_head(s, wall_ms, out);
    put_piece(s, &piece, true, out);
    put_figures(s, now_us, out);
    return 0;
}

/* The vectors in the order of their index, which need not be that of the answer. The caller owns
 * *ret. */
static int read_vectors(struct span array, struct span **ret, size_t *ret_count)
{
    enum { INDEX, EMBEDDING, COUNT };
    struct span rest = raw_inside(array), element, *vectors;
    size_t count = 0;

    while (raw_next(&rest, &element)) {
        count++;
    }
    vectors = xcalloc(count + 1, sizeof(*vectors));
    rest = raw_inside(array);
    for (size_t i = 0; raw_next(&rest, &element); i++) {
        struct scan_member f[COUNT] = { { .name = "index" }, { .name = "embedding" } };
        int64_t index = (int64_t)i;

        if (scan_object(element, f, COUNT, NULL) < 0 || f[EMBEDDING].type != SCAN_ARRAY ||
            (f[INDEX].type != SCAN_ABSENT && scan_int(&f[INDEX], &index, NULL) < 0) || index < 0 ||
            index >= (int64_t)count || vectors[index].p) {
            free(vectors);
            return -EPROTO;
        }
        vectors[index] = f[EMBEDDING].value;
    }
    *ret = vectors;
    *ret_count = count;
    return 0;
}

static void put_embed_figures(const struct ollama_state *s, uint64_t now_us, struct buf *out)
{
    buf_printf(out, ",\"total_duration\":%llu,\"load_duration\":0,\"prompt_eval_count\":%llu}",
               us_to_ns(now_us - s->began_us), (unsigned long long)s->prompt_tokens);
}

static int put_vectors(struct ollama_state *s, const struct scan_member *f, uint64_t now_us,
                       struct buf *out)
{
    _cleanup_(freep) struct span *vectors = NULL;
    size_t count = 0;

    if (f[A_DATA].type != SCAN_ARRAY || read_vectors(f[A_DATA].value, &vectors, &count) < 0) {
        return -EPROTO;
    }
    take_figures(s, f);
    if (s->kind == OLLAMA_EMBEDDINGS) {
        buf_puts(out, "{\"embedding\":");
        put_span(out, count ? vectors[0] : SPAN("[]"));
        buf_putc(out, '}');
        return 0;
    }
    buf_printf(out, "{\"model\":%s,\"embeddings\":[", s->model);
    for (size_t i = 0; i < count; i++) {
        buf_puts(out, i ? "," : "");
        put_span(out, vectors[i]);
    }
    buf_putc(out, ']');
    put_embed_figures(s, now_us, out);
    return 0;
}

/* After loading, or unloading, without a question. */
static void put_nothing_asked(const struct ollama_state *s, uint64_t now_us, int64_t wall_ms,
                              struct buf *out)
{
    static const struct piece nothing;

    if (s->kind == OLLAMA_EMBEDDINGS) {
        buf_puts(out, "{\"embedding\":[]}");
        return;
    }
    if (s->kind == OLLAMA_EMBED) {
        buf_printf(out, "{\"model\":%s,\"embeddings\":[]", s->model);
        put_embed_figures(s, now_us, out);
        return;
    }
    put_head(s, wall_ms, out);
    put_piece(s, &nothing, false, out);
    buf_printf(out, ",\"done\":true,\"done_reason\":\"%s\"}", s->unload ? "unload" : "load");
}

static int whole(void *state, struct span body, uint64_t now_us, int64_t wall_ms, struct buf *out,
                 struct error *reterr)
{
    struct ollama_state *s = state;
    struct scan_member f[A_COUNT];
    int r;

    if (s->load || s->unload) {
        put_nothing_asked(s, now_us, wall_ms, out);
        return 0;
    }
    scan_names(f, answer_names, A_COUNT);
    if (scan_object(body, f, A_COUNT, NULL) < 0) {
        return error_set(reterr, -EPROTO, "the engine's answer is no JSON object");
    }
    if (s->kind == OLLAMA_EMBED || s->kind == OLLAMA_EMBEDDINGS) {
        r = put_vectors(s, f, now_us, out);
    } else {
        r = put_text_answer(s, f, now_us, wall_ms, out);
    }
    if (r < 0 || out->overflow) {
        return error_set(reterr, -EPROTO, "the engine's answer is %s",
                         r < 0 ? "not what was asked for" : "too long");
    }
    return 0;
}

/* The four translations */

static int read_chat(struct span body, uint64_t now_us, struct translated *ret,
                     struct error *reterr)
{
    return ollama_read(OLLAMA_CHAT, body, now_us, ret, reterr);
}

static int read_generate(struct span body, uint64_t now_us, struct translated *ret,
                         struct error *reterr)
{
    return ollama_read(OLLAMA_GENERATE, body, now_us, ret, reterr);
}

static int read_embed(struct span body, uint64_t now_us, struct translated *ret,
                      struct error *reterr)
{
    return ollama_read(OLLAMA_EMBED, body, now_us, ret, reterr);
}

static int read_embeddings(struct span body, uint64_t now_us, struct translated *ret,
                           struct error *reterr)
{
    return ollama_read(OLLAMA_EMBEDDINGS, body, now_us, ret, reterr);
}

#define ANSWERS                                                                                    \
    .stream_type = "application/x-ndjson", .event = on_event, .whole = whole,                      \
    .stream_error = stream_error, .finish = ollama_state_free

const struct translation ollama_chat = { .read = read_chat, ANSWERS };
const struct translation ollama_generate = { .read = read_generate, ANSWERS };
const struct translation ollama_embed = { .read = read_embed, ANSWERS };
const struct translation ollama_embeddings = { .read = read_embeddings, ANSWERS };

void translated_finish(struct translated *t)
{
    ollama_state_free(t->state);
    free(t->model);
    free(t->body);
    *t = (struct translated){ 0 };
}
