// SPDX-License-Identifier: Apache-2.0
/*
 * The clients of test_requests.c: strict readers of what they get, who know what the engines did to
 * their request, and judge whether what they are told fits that.
 */
#include "requests.h"

#include <string.h>

#include "base/mem.h"

/* ---- what a client makes of its answer */

void complain(const struct ask *a, const char *fmt, ...)
{
    va_list ap;

    print_error("ask %u of %s (%s, lost %u, deaths %u%s%s%s): ", a->number, model_names[a->model],
                a->stream ? "stream" : "whole", a->lost, a->deaths, a->broken ? ", broken" : "",
                a->cut ? ", cut" : "", a->refused ? ", refused" : "");
    va_start(ap, fmt);
    vprint_error(fmt, ap);
    va_end(ap);
    print_error("\nasked at %llu, now it is %llu; status %d, %zu bytes: %.600s\n",
                (unsigned long long)a->asked_ms, (unsigned long long)scene_now(a->scene), a->status,
                a->body.len, buf_data(&a->body));
    fail();
}

static bool ran_out_of_attempts(const struct ask *a)
{
    return a->lost + a->deaths >= MAX_ATTEMPTS;
}

/* The engine had written it all, and died before it was read. */
static bool ended_on_its_way(const struct ask *a)
{
    return a->completed && a->deaths;
}

static bool is_over(const struct ask *a, uint64_t after_ms)
{
    return scene_now(a->scene) >= a->asked_ms + after_ms;
}

/* Was (or is) the model given up since then? */
static bool has_failed(const struct ask *a)
{
    const struct scene *s = a->scene;
    const struct subject *of = &s->subjects[a->model];

    return of->failed_ms + 5 >= a->asked_ms ||
           rig_count_instances(s->rig, of->id, INSTANCE_FAILED) > 0;
}

/* Nothing of the model runs, and that was a person's wish, or it cannot. */
static bool fits_not_running(const struct ask *a, const char *message)
{
    const struct subject *of = &a->scene->subjects[a->model];

    if (strstr(message, "the model was stopped")) {
        return of->stopped_ms + 5 >= a->asked_ms;
    }
    if (strstr(message, "is stopped; start it")) {
        return !of->on_demand || of->refusing_ms + 5 >= a->asked_ms;
    }
    return strstr(message, "cannot run") && has_failed(a);
}

/* Does what the client is told fit what happened to it? */
static void check_error(const struct ask *a, int status, const char *message)
{
    const struct subject *of = &a->scene->subjects[a->model];
    bool fits = false;

    message = message ? message : "";
    switch (status) {
    case 404:
        fits = !of->id || of->absent_ms + 5 >= a->asked_ms;
        break;
    case 408:
        fits = is_over(a, a->queue_timeout_ms);
        break;
    case 429:
        fits = a->lost == 0 && strstr(message, "wait");
        break;
    case 500:
        fits = a->refused && strstr(message, "as scripted");
        break;
    case 502:
        fits = a->broken || a->cut || ended_on_its_way(a) || ran_out_of_attempts(a);
        break;
    case 503:
        fits = strstr(message, "as scripted") ? a->refused : fits_not_running(a, message);
        break;
    case 504: /* what was lost has used up time */
        fits = a->broken || a->lost > 0 || is_over(a, a->deadline_ms);
        break;
    }
    if (!fits) {
        complain(a, "the error does not fit: %d %s", status, message);
    }
}

static int status_of_type(const json_t *error)
{
    static const struct {
        const char *code;
        int status;
    } codes[] = {
        { "model_not_found", 404 },   { "queue_timeout", 408 },     { "queue_full", 429 },
        { "model_not_running", 503 }, { "deadline_exceeded", 504 }, { "bad_gateway", 502 },
    };
    const char *code = json_string_value(json_object_get(error, "code"));

    for (size_t i = 0; code && i < ARRAY_SIZE(codes); i++) {
        if (str_eq(codes[i].code, code)) {
            return codes[i].status;
        }
    }
    return 500; /* the engine's own object */
}

static void check_error_object(const struct ask *a, const json_t *body, int status)
{
    const json_t *error = json_object_get(body, "error");
    const char *message = json_string_value(json_object_get(error, "message"));

    if (!message || !json_string_value(json_object_get(error, "type"))) {
        complain(a, "no error object");
    }
    check_error(a, status ? status : status_of_type(error), message);
}

/* The items of an event stream, as a strict client reads them. */
struct reading {
    unsigned words;
    bool usage, error, done;
};

static void read_event(const struct ask *a, struct reading *r, const char *data)
{
    json_t *json = json_loads(data, 0, NULL);
    const json_t *choice = json_array_get(json_object_get(json, "choices"), 0);
    const char *content =
        json_string_value(json_object_get(json_object_get(choice, "delta"), "content"));
    char word[WORD_MAX];

    if (!json || r->error) {
        complain(a, "not an event: %.100s", data);
    } else if (json_object_get(json, "error")) {
        r->error = true;
        check_error_object(a, json, 0);
    } else if (json_object_get(json, "usage")) {
        r->usage = true;
    } else if (!content || r->usage || !str_eq(content, word_of(a, r->words++, word))) {
        complain(a, "not the word that comes next: %.100s", data);
    }
    json_decref(json);
}

static void read_item(const struct ask *a, struct reading *r, const char *item)
{
    if (r->done) {
        complain(a, "something after the end: %.100s", item);
    } else if (*item == ':') {
        assert_int_equal(r->words, 0);
    } else if (strncmp(item, "data: ", 6) != 0 || strchr(item, '\n')) {
        complain(a, "no item: %.100s", item);
    } else if (str_eq(item, "data: [DONE]")) {
        r->done = true;
    } else {
        read_event(a, r, item + 6);
    }
}

static void check_stream(const struct ask *a)
{
    _cleanup_(freep) char *text = xstrndup(buf_data(&a->body), a->body.len);
    struct reading r = { 0 };
    char *item = text, *end;

    for (; (end = strstr(item, "\n\n")); item = end + 2) {
        *end = '\0';
        read_item(a, &r, item);
    }
    if (*item || r.done == r.error) {
        complain(a, "the stream ends in the middle: %s", item);
    }
    if (r.done && (r.words != a->tokens || a->completed == 0)) {
        complain(a, "%u words of %u", r.words, a->tokens);
    }
    if (r.usage ? !a->wants_usage : a->wants_usage && r.done) {
        complain(a, "the usage event");
    }
}

static void check_whole(const struct ask *a)
{
    json_t *json = json_loads(buf_data(&a->body), 0, NULL);
    const json_t *choice = json_array_get(json_object_get(json, "choices"), 0);
    const char *content =
        json_string_value(json_object_get(json_object_get(choice, "message"), "content"));
    char word[WORD_MAX];

    if (a->status != 200) {
        check_error_object(a, json, a->status);
        json_decref(json);
        return;
    }
    for (unsigned i = 0; content && i < a->tokens; i++) {
        if (!str_starts(content, word_of(a, i, word))) {
            complain(a, "word %u", i);
        }
        content += strlen(word);
    }
    if (!content || *content || a->completed == 0) {
        complain(a, "not the whole answer");
    }
    json_decref(json);
}

static void on_head(void *owner, const struct http_head *head)
{
    struct ask *a = owner;

    assert_int_equal(a->status, 0);
    a->status = head->status;
    a->event_stream = span_starts(http_header_get(head, "content-type"), "text/event-stream");
    if (a->event_stream ? !a->stream || a->status != 200 : a->stream && a->status == 200) {
        complain(a, "an answer of the wrong kind");
    }
    if ((a->status == 429 || a->status == 408) && !http_header_get(head, "retry-after").p) {
        complain(a, "no Retry-After");
    }
}

static void on_body(void *owner, const char *p, size_t n)
{
    struct ask *a = owner;

    assert_int_equal(buf_append(&a->body, p, n), 0);
}

static void on_end(void *owner)
{
    struct ask *a = owner;

    a->call = NULL;
    timer_stop(&a->whim);
    assert_int_equal(a->state, ASK_OPEN);
    a->state = ASK_ANSWERED;
    if (a->event_stream) {
        check_stream(a);
    } else {
        check_whole(a);
    }
}

static bool may_be_cut(const struct ask *a)
{
    return ask_is_long(a) &&
           (a->cut || a->broken || ended_on_its_way(a) || is_over(a, a->deadline_ms));
}

/* Only a whole answer that was begun may be cut, and only one that is not kept until it is whole.
 */
static void on_fail(void *owner, const struct error *e)
{
    struct ask *a = owner;

    a->call = NULL;
    timer_stop(&a->whim);
    assert_int_equal(a->state, ASK_OPEN);
    a->state = ASK_CUT;
    if (a->event_stream || a->status == 0 || !may_be_cut(a)) {
        complain(a, "cut: %s", e->text);
    }
}

/* ---- what clients do */

static void on_whim(void *arg)
{
    struct ask *a = arg;
    struct scene *s = a->scene;

    if (a->paused) {
        a->paused = false;
        a->resumed_ms = scene_now(s);
        http_call_resume(a->call);
    } else if (scene_one_in(s, 2)) {
        a->paused = true;
        http_call_pause(a->call);
        timer_start(&a->whim, scene_below(s, 20000));
    } else {
        http_call_cancel(TAKE_PTR(a->call));
        a->state = ASK_LEFT;
        a->left_ms = scene_now(s);
    }
}

static bool one_is_dying(struct scene *s, size_t model)
{
    struct sim_engine *engine;

    list_for_each (engine, &s->rig->alive, node) {
        if (str_eq(engine->alias, model_names[model]) && !engine->listener) {
            return true;
        }
    }
    return false;
}

static void choose_times(struct ask *a)
{
    static const int64_t stays[] = { 0, 300, 1000, 2500, KEEP_ALIVE_FOREVER };
    struct scene *s = a->scene;

    a->deadline_ms = scene_one_in(s, 4) ? 1 + scene_below(s, 8000) : DEADLINE_MS;
    a->queue_timeout_ms = scene_one_in(s, 4) ? 1 + scene_below(s, 4000) : QUEUE_TIMEOUT_MS;
    a->keeps = scene_one_in(s, 8);
    a->keep_alive_ms = stays[scene_below(s, ARRAY_SIZE(stays))];
}

static struct ask *make_ask(struct scene *s)
{
    struct ask *a = &s->asks[s->asked];

    *a =
        (struct ask){ .scene = s,
                      .number = s->asked++,
                      .model = (size_t)scene_below(s, MODELS),
                      .stream = !scene_one_in(s, 3),
                      .chat = !scene_one_in(s, 3),
                      .tokens = 1 + (unsigned)scene_below(s, 12),
                      .word_bytes = scene_one_in(s, 6) ? (unsigned)scene_below(s, WORD_MAX - 1) : 0,
                      .asked_ms = scene_now(s) };
    a->deaths = one_is_dying(s, a->model) ? 2 : 0;
    a->wants_usage = a->stream && scene_one_in(s, 2);
    if (a->word_bytes) {
        a->tokens *= 3;
    }
    choose_times(a);
    buf_init(&a->body, 1 << 24);
    timer_init(&a->whim, s->rig->world, "whim", on_whim, a);
    return a;
}

static const char *usage_wish(const struct ask *a)
{
    return a->wants_usage                    ? ",\"stream_options\":{\"include_usage\":true}"
           : a->stream && a->number % 3 == 0 ? ",\"stream_options\":{\"include_usage\":false}"
           : a->stream && a->number % 3 == 1 ? ",\"stream_options\":{}"
                                             : "";
}

/* A number of seconds, a duration, or llama-swap's word for it. */
static void write_stay(const struct ask *a, char *out, size_t size)
{
    if (!a->keeps) {
        *out = '\0';
    } else if (a->keep_alive_ms == KEEP_ALIVE_FOREVER) {
        snprintf(out, size, a->number % 2 ? ",\"keep_alive\":-1" : ",\"ttl\":0");
    } else if (a->number % 2) {
        snprintf(out, size, ",\"keep_alive\":\"%lldms\"", (long long)a->keep_alive_ms);
    } else {
        snprintf(out, size, ",\"keep_alive\":%.3f", (double)a->keep_alive_ms / 1000);
    }
}

static void write_headers(const struct ask *a, char *out, size_t size)
{
    int n = snprintf(out, size, "Content-Type: application/json\r\n");

    if (a->deadline_ms != DEADLINE_MS) {
        n += snprintf(out + n, size - (size_t)n, "x-berth-deadline: %llums\r\n",
                      (unsigned long long)a->deadline_ms);
    }
    if (a->queue_timeout_ms != QUEUE_TIMEOUT_MS) {
        snprintf(out + n, size - (size_t)n, "x-berth-queue-timeout: %llums\r\n",
                 (unsigned long long)a->queue_timeout_ms);
    }
}

void client_ask(struct scene *s, struct http_upstream *through)
{
    static const struct http_call_handler handler = { on_head, on_body, on_end, on_fail };
    struct ask *a = make_ask(s);
    char headers[256], stay[64];
    struct span part;
    struct http_call_request request = {
        .method = "POST",
        .path = a->chat ? "/v1/chat/completions" : "/v1/completions",
        .headers = headers,
        .body = &part,
        .body_parts = 1,
    };

    write_headers(a, headers, sizeof(headers));
    write_stay(a, stay, sizeof(stay));
    a->request = xasprintf("{\"number\":%u,\"model\":\"%s%s\",\"stream\":%s%s%s,\"messages\":[]}",
                           a->number, model_names[a->model], scene_one_in(s, 4) ? "-alias" : "",
                           a->stream ? "true" : "false", usage_wish(a), stay);
    part = span_of(a->request);
    a->call = http_call_start(through, &request, &handler, a);
    if (scene_one_in(s, 3)) {
        timer_start(&a->whim, scene_one_in(s, 2) ? scene_below(s, 30) : scene_below(s, 6000));
    }
}

void clients_finish(struct scene *s)
{
    for (unsigned i = 0; i < s->asked; i++) {
        buf_finish(&s->asks[i].body);
        free(s->asks[i].request);
    }
}
