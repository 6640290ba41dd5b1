// SPDX-License-Identifier: Apache-2.0
/*
 * The engines of test_requests.c: they speak the engines' HTTP on raw connections, so that they can
 * break it at any byte. For every request a dice chooses what goes wrong, if anything.
 */
#include "requests.h"

#include <string.h>

#include "base/mem.h"
#include "http/message.h"

enum fault {
    FAULT_NONE,
    FAULT_CRASH,      /* at a moment of the answer: before the head, after it, within */
    FAULT_DIE_SLOWLY, /* the same, but the process is seen to end later than its connections */
    FAULT_CLOSE,      /* only the connection ends */
    FAULT_HANG,       /* nothing more comes */
    FAULT_BROKEN,     /* what comes is not HTTP */
    FAULT_ERROR,      /* a 500 with an error object */
    FAULT_LOADING,    /* the same with 503 */
    FAULT_CLOSE_IDLE, /* whole, then the kept-alive connection is closed soon */
    FAULT_MAX_,
};

/* A connection at an engine. */
struct talk {
    struct list node;
    struct scene *scene;
    struct sim_engine *engine;
    struct stream *stream;
    struct buf in;
    struct timer step;
    struct ask *ask;   /* the request in hand, or NULL */
    uint64_t since_ms; /* of the request */
    bool usage;
    bool counted; /* the answer tells its length, and comes without chunks */
    bool head_sent;
    enum fault fault;
    unsigned fault_at; /* 0: before the head; then after so many words */
    unsigned next;     /* word */
};

static uint64_t dice(const struct talk *t, uint64_t bound)
{
    return scene_below(t->scene, bound);
}

const char *word_of(const struct ask *a, unsigned token, char out[WORD_MAX])
{
    int n = snprintf(out, WORD_MAX, "%u.%u;", a->number, token);

    for (; n < (int)a->word_bytes; n++) {
        out[n] = 'x';
    }
    out[n] = '\0';
    return out;
}

bool ask_is_long(const struct ask *a)
{
    return a->tokens * MAX_OF(a->word_bytes, 8U) + 1024 > KEPT_MAX;
}

/* The answer in hand ends before its end. One that is kept until it is whole is still to be had of
 * another. */
static void note_loss(struct talk *t)
{
    struct ask *a = t->ask;

    if (!a) {
        return;
    }
    t->engine->worked_ms = scene_now(t->scene);
    if (t->head_sent && (a->stream || ask_is_long(a))) {
        a->cut = true;
    }
    if (!t->head_sent || !a->stream) {
        a->lost++;
    }
}

static void free_talk(struct talk *t)
{
    timer_stop(&t->step);
    list_remove(&t->node);
    stream_close(t->stream);
    buf_finish(&t->in);
    free(t);
}

static void close_talks(struct sim_engine *engine, bool all)
{
    struct scene *s = engine->rig->user;
    struct talk *t, *tmp;

    list_for_each_safe (t, tmp, &s->talks, node) {
        if (t->engine == engine && (all || (!t->ask && t->in.len == 0))) {
            note_loss(t);
            free_talk(t);
        }
    }
}

static void note_deaths(struct sim_engine *engine, unsigned count)
{
    struct scene *s = engine->rig->user;

    for (unsigned i = 0; i < s->asked; i++) {
        s->asks[i].deaths += str_eq(model_names[s->asks[i].model], engine->alias) ? count : 0;
    }
}

/* It can fail the same request twice: when it stops serving, and, if another one fails it in
 * between, by not accepting it again while it is not seen to have ended. */
void engine_die_slowly(struct sim_engine *engine)
{
    struct scene *s = engine->rig->user;

    if (!engine->listener) {
        return; /* is at it already */
    }
    note_deaths(engine, 2);
    engine->hung = true;
    engine->listener = stream_listener_close(engine->listener);
    engine->behaviour.end_code = 1;
    timer_start(&engine->end, 1 + world_random_below(s->rig->world, 800));
    close_talks(engine, true);
}

void engine_close_idle(struct sim_engine *engine)
{
    const struct scene *s = engine->rig->user;

    if (s->latency_ms > 0) {
        note_deaths(engine, 1); /* of a connection with a request on its way, maybe */
    }
    close_talks(engine, false);
}

void engine_get_stuck(struct sim_engine *engine)
{
    engine->stuck = true;
    engine->stuck_ms = scene_now(engine->rig->user);
}

void engine_get_sick(struct sim_engine *engine, uint64_t for_ms)
{
    engine->sick_ms = scene_now(engine->rig->user) + for_ms;
}

uint64_t engine_works_since(const struct sim_engine *engine)
{
    const struct scene *s = engine->rig->user;
    uint64_t since = 0;
    struct talk *t;

    list_for_each (t, &s->talks, node) {
        if (t->engine == engine && t->ask && (since == 0 || t->since_ms < since)) {
            since = t->since_ms;
        }
    }
    return since;
}

unsigned engines_working(struct scene *s)
{
    struct talk *t;
    unsigned n = 0;

    list_for_each (t, &s->talks, node) {
        n += t->ask != NULL;
    }
    return n;
}

/* ---- answering */

static void put(struct talk *t, const char *text)
{
    stream_write(t->stream, text, strlen(text));
}

/* As it is, or as one chunk or several, cut anywhere. */
static void put_body(struct talk *t, const struct buf *b)
{
    size_t at = 0;

    if (t->counted) {
        stream_write(t->stream, buf_data(b), b->len);
        return;
    }
    while (at < b->len) {
        size_t n = dice(t, 3) ? b->len - at : 1 + dice(t, b->len - at);
        char size[24];

        snprintf(size, sizeof(size), "%zx\r\n", n);
        put(t, size);
        stream_write(t->stream, buf_data(b) + at, n);
        put(t, "\r\n");
        at += n;
    }
}

static void put_usage(const struct talk *t, struct buf *b)
{
    buf_printf(b, "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":%u,\"total_tokens\":%u}",
               t->ask->tokens, t->ask->tokens + 3);
}

static const char whole_begin[] = "{\"choices\":[{\"message\":{\"content\":\"";
static const char whole_end[] = "\"}}],";

static size_t whole_length(const struct talk *t)
{
    struct buf usage = BUF_INIT(4096);
    size_t n = strlen(whole_begin) + strlen(whole_end) + 1;
    char word[WORD_MAX];

    for (unsigned i = 0; i < t->ask->tokens; i++) {
        n += strlen(word_of(t->ask, i, word));
    }
    put_usage(t, &usage);
    n += usage.len;
    buf_finish(&usage);
    return n;
}

static void send_head(struct talk *t)
{
    char framing[64] = "Transfer-Encoding: chunked";

    t->head_sent = true;
    t->counted = !t->ask->stream && t->ask->number % 2;
    if (t->counted) {
        snprintf(framing, sizeof(framing), "Content-Length: %zu", whole_length(t));
    }
    put(t, "HTTP/1.1 200 OK\r\n");
    put(t, framing);
    put(t, "\r\nContent-Type: ");
    put(t, t->ask->stream ? "text/event-stream\r\n\r\n" : "application/json\r\n\r\n");
}

static void send_error(struct talk *t, int status)
{
    static const char body[] =
        "{\"error\":{\"message\":\"as scripted\",\"type\":\"server_error\"}}";
    char head[128];

    t->ask->refused = true;
    t->ask->lost += status == 503;
    snprintf(head, sizeof(head),
             "HTTP/1.1 %d Oh no\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
             status, sizeof(body) - 1);
    put(t, head);
    put(t, body);
}

static void send_word(struct talk *t)
{
    struct buf b = BUF_INIT(1 << 20);
    char word[WORD_MAX];

    word_of(t->ask, t->next, word);
    if (t->ask->stream) {
        buf_printf(&b, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"}}]}\n\n",
                   word);
    } else {
        buf_printf(&b, "%s%s", t->next ? "" : whole_begin, word);
    }
    t->next++;
    put_body(t, &b);
    buf_finish(&b);
}

static void send_end(struct talk *t)
{
    struct buf b = BUF_INIT(4096);

    if (t->ask->stream && t->usage) {
        buf_puts(&b, "data: {\"choices\":[],");
        put_usage(t, &b);
        buf_puts(&b, "}\n\n");
    } else if (!t->ask->stream) {
        buf_puts(&b, whole_end);
        put_usage(t, &b);
        buf_puts(&b, "}");
    }
    if (t->ask->stream) {
        buf_puts(&b, "data: [DONE]\n\n");
    }
    put_body(t, &b);
    if (!t->counted) {
        put(t, "0\r\n\r\n");
    }
    buf_finish(&b);
}

static void finish_request(struct talk *t)
{
    t->ask->completed++;
    t->engine->worked_ms = scene_now(t->scene);
    t->ask = NULL;
    if (t->fault == FAULT_CLOSE_IDLE) {
        timer_start(&t->step, dice(t, 50));
    }
}

static void crash(struct talk *t)
{
    sim_process_exit(t->engine->process, 0, 11);
}

/* What goes wrong now. The talk may be gone afterwards. */
static void do_harm(struct talk *t)
{
    switch (t->fault) {
    case FAULT_CRASH:
        crash(t);
        break;
    case FAULT_DIE_SLOWLY:
        engine_die_slowly(t->engine);
        break;
    case FAULT_CLOSE:
        note_loss(t);
        free_talk(t);
        break;
    case FAULT_HANG:
        t->ask->broken = true;
        break;
    case FAULT_BROKEN:
        t->ask->broken = true;
        put(t, t->head_sent ? "zz\r\n" : "HTP/9 fine\r\n\r\n");
        break;
    default:
        send_error(t, t->fault == FAULT_LOADING ? 503 : 500);
        finish_request(t);
        break;
    }
}

/* A client that left is told to its engine by the end of the connection, soon: with latency the end
 * stands behind the pieces of the request, which come one by one. */
static void check_client_is_there(const struct talk *t)
{
    const struct scene *s = t->scene;

    if (t->ask->state == ASK_LEFT && scene_now(s) > t->ask->left_ms + PIECES * s->latency_ms + 10) {
        fail_msg("ask %u left %llu ms ago, and its engine still works for it", t->ask->number,
                 (unsigned long long)(scene_now(s) - t->ask->left_ms));
    }
}

static void on_step(void *arg)
{
    struct talk *t = arg;

    if (!t->ask) { /* FAULT_CLOSE_IDLE */
        free_talk(t);
        return;
    }
    check_client_is_there(t);
    if (t->engine->stuck) {
        t->ask->broken = true;
        timer_start(&t->step, 100);
        return;
    }
    t->engine->progress++;
    if (t->fault > FAULT_NONE && t->fault < FAULT_CLOSE_IDLE && t->fault_at == t->next &&
        (t->fault_at == 0) == !t->head_sent) {
        do_harm(t);
        return;
    }
    if (!t->head_sent) {
        send_head(t);
    } else if (t->next < t->ask->tokens) {
        send_word(t);
    } else {
        send_end(t);
        finish_request(t);
        return;
    }
    timer_start(&t->step, dice(t, 4) ? dice(t, 20) : dice(t, 400));
}

/* ---- reading requests */

static unsigned working_at(const struct talk *asking)
{
    struct talk *t;
    unsigned n = 0;

    list_for_each (t, &asking->scene->talks, node) {
        n += t->engine == asking->engine && t->ask;
    }
    return n;
}

static void choose_fault(struct talk *t)
{
    static const enum fault often[] = { FAULT_CLOSE, FAULT_ERROR, FAULT_LOADING, FAULT_CLOSE_IDLE,
                                        FAULT_CLOSE_IDLE };

    t->fault = FAULT_NONE;
    if (!t->scene->kind && scene_now(t->scene) < t->engine->sick_ms) {
        t->fault = FAULT_ERROR;
    } else if (!t->scene->kind && dice(t, 3) == 0) {
        t->fault = dice(t, 2) ? often[dice(t, ARRAY_SIZE(often))] : (enum fault)dice(t, FAULT_MAX_);
    }
    t->fault_at = dice(t, 2) ? 0 : (unsigned)dice(t, t->ask->tokens + 1);
    if (t->fault == FAULT_ERROR || t->fault == FAULT_LOADING) {
        t->fault_at = 0;
    }
}

static void begin_request(struct talk *t, const json_t *body)
{
    json_int_t number = json_integer_value(json_object_get(body, "number"));
    const json_t *options = json_object_get(body, "stream_options");

    assert_in_range(number, 0, t->scene->asked - 1);
    t->ask = &t->scene->asks[number];
    t->ask->begun = true;
    assert_int_equal(json_is_true(json_object_get(body, "stream")), t->ask->stream);
    t->usage = json_is_true(json_object_get(options, "include_usage"));
    assert_int_equal(t->usage, t->ask->stream && (t->ask->wants_usage || t->ask->chat));
    assert_null(json_object_get(body, "keep_alive")); /* it is for berth */
    assert_null(json_object_get(body, "ttl"));
    t->since_ms = scene_now(t->scene);
    t->head_sent = t->counted = false;
    t->next = 0;
    check_client_is_there(t);
    /* With latency a connection that berth has closed may seem to stand here yet. */
    if (t->scene->latency_ms == 0 && working_at(t) > SLOTS + 1) {
        fail_msg("%u requests at an engine of %d slots", working_at(t), SLOTS);
    }
    choose_fault(t);
    timer_start(&t->step, dice(t, 8) ? dice(t, 30) : dice(t, 4000));
}

static void tell_progress(struct talk *t)
{
    char body[128], head[128];

    snprintf(body, sizeof(body),
             "[{\"id\":0,\"is_processing\":true,\"next_token\":{\"n_decoded\":%llu}}]",
             (unsigned long long)t->engine->progress);
    snprintf(head, sizeof(head),
             "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
             strlen(body));
    put(t, head);
    put(t, body);
}

static void answer_probe(struct talk *t, struct span path)
{
    static const char good[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                               "Content-Length: 31\r\n\r\n{\"status\":\"ok\",\"total_slots\":2}";

    if (span_starts(path, "/slots") && t->engine->loaded) {
        tell_progress(t);
    } else {
        put(t, t->engine->loaded ? good : "HTTP/1.1 503 Loading\r\nContent-Length: 2\r\n\r\n{}");
    }
}

static void read_request(struct talk *t)
{
    struct http_head head = { 0 };
    struct error e = { 0 };
    size_t scanned = 0;
    ssize_t n = http_parse_request(buf_data(&t->in), t->in.len, &scanned, &head, &e);
    size_t body = head.framing == HTTP_LENGTH ? (size_t)head.content_length : 0;
    json_t *json;

    if (n < 0) {
        fail_msg("a request is no HTTP: %s", e.text);
    }
    if (n == 0 || t->in.len < (size_t)n + body) {
        return;
    }
    assert_int_equal(t->in.len, (size_t)n + body);
    if (span_eq(head.method, "GET")) {
        answer_probe(t, head.path);
        buf_clear(&t->in);
        return;
    }
    json = json_loadb(buf_data(&t->in) + n, body, 0, NULL);
    buf_clear(&t->in);
    assert_non_null(json);
    timer_stop(&t->step);
    begin_request(t, json);
    json_decref(json);
}

static void on_data(void *owner, const char *p, size_t n)
{
    struct talk *t = owner;

    if (t->engine->hung) {
        return;
    }
    assert_null(t->ask); /* nobody pipelines */
    assert_int_equal(buf_append(&t->in, p, n), 0);
    read_request(t);
}

static void on_conn_end(void *owner, int err)
{
    free_talk(owner);
}

static void on_stream(struct sim_engine *engine, struct stream *stream)
{
    static const struct stream_handler handler = { on_data, on_conn_end, NULL };
    struct talk *t = xcalloc(1, sizeof(*t));

    t->scene = engine->rig->user;
    t->engine = engine;
    t->stream = stream;
    buf_init(&t->in, 1 << 20);
    timer_init(&t->step, engine->rig->world, "engine step", on_step, t);
    list_append(&t->scene->talks, &t->node);
    stream_set_handler(stream, &handler, t);
    stream_read_start(stream);
}

static void on_engine_end(struct sim_engine *engine)
{
    if (engine->listener) {
        note_deaths(engine, 1);
    }
    close_talks(engine, true);
}

const struct rig_service scripted_service = { on_stream, on_engine_end };
