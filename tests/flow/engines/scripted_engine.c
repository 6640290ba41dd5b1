// SPDX-License-Identifier: Apache-2.0
/*
 * A stand-in for llama-server: takes its command line, answers its endpoints in its shapes, starts
 * in a millisecond and misbehaves as scripted_behaviour.h describes. Every token it says carries
 * its sequence number, so that a client can check order and content. It is the mock upstream of the
 * benchmarks as well. One thread, one epoll.
 */
#include "scripted_behaviour.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define IN_MAX    ((size_t)128 << 20)
#define OUT_FULL  ((size_t)64 << 10)
#define SLOTS_MAX 8192
#define NO_TIMER  SIZE_MAX

enum state {
    STATE_READING,   /* no request, or half of one; timer: idle close */
    STATE_QUEUED,    /* waits for a slot */
    STATE_SILENT,    /* has a slot, says nothing yet; timer: first byte */
    STATE_ANSWERING, /* timer: next event, when paced */
    STATE_STUCK,     /* hang or stall: only the peer's leaving ends it */
    STATE_GHOST,     /* the peer left, the slot stays taken; timer: end */
    STATE_CLOSING,   /* closes when everything is written */
};

enum kind { KIND_CHAT, KIND_COMPLETION };

struct buffer {
    char *data;
    size_t off;
    size_t len;
    size_t cap;
};

struct conn {
    int fd;
    enum state state;
    enum kind kind;
    bool stream;
    bool usage;
    bool chunked;
    bool want_out;
    bool truncated; /* max_tokens was less than the script has */
    int slot;
    json_int_t requests;
    json_int_t emitted;
    int64_t due_ms;
    size_t timer; /* index in the heap */
    struct answer answer;
    json_t *script;
    struct conn *next; /* in the line for a slot */
    struct buffer in;
    struct buffer out;
};

static struct {
    struct behaviour behaviour;
    const char *model;
    const char *alias;
    const char *api_key;
    const char *host;
    int port;
    int parallel;
    int ctx_size;
    bool embeddings;
    int epoll;
    int listener;
    int signals;
    int64_t start_ms;
    bool stopping;
    struct conn *slots[SLOTS_MAX];
    int free_slots[SLOTS_MAX];
    int n_free;
    struct conn *line_head;
    struct conn *line_tail;
    struct conn **heap;
    size_t heap_len;
    size_t heap_cap;
    unsigned long long served;
    unsigned long long tokens;
} engine = { .host = "127.0.0.1", .port = 8080, .parallel = 4, .ctx_size = 2048 };

static void pump(struct conn *conn);
static void parse(struct conn *conn);

/* ---- time, log, record ---- */

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    char line[2048];
    int64_t t = now_ms() - engine.start_ms;
    int n = snprintf(line, sizeof(line), "%d.%02d.%03d.000 ", (int)(t / 60000),
                     (int)(t / 1000 % 60), (int)(t % 1000));
    va_list args;

    va_start(args, format);
    n += vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, args);
    va_end(args);
    if ((size_t)n > sizeof(line) - 2) {
        n = sizeof(line) - 2;
    }
    line[n++] = '\n';
    if (write(STDERR_FILENO, line, (size_t)n) < 0) {
        return;
    }
}

static void say_bytes(json_int_t bytes)
{
    for (json_int_t i = 0; i < bytes; i += 100) {
        say("I scripted: %080lld", (long long)i);
    }
}

/* Appends one line to the record; `request` and its length may be absent. */
static void record(const char *mark, const char *request, size_t head, size_t total)
{
    json_t *line;
    char *text;
    int fd;

    if (engine.behaviour.record == NULL) {
        return;
    }
    line = json_pack("{s:s, s:i, s:I, s:I}", "mark", mark, "pid", (int)getpid(), "ms",
                     (json_int_t)(now_ms() - engine.start_ms), "clock_ms", (json_int_t)now_ms());
    if (request != NULL) {
        json_object_set_new(line, "head", json_stringn_nocheck(request, head));
        json_object_set_new(line, "body", json_stringn_nocheck(request + head, total - head));
    }
    text = json_dumps(line, JSON_COMPACT);
    json_decref(line);
    fd = open(engine.behaviour.record, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0 && text != NULL) {
        size_t n = strlen(text);

        text[n] = '\n'; /* takes the place of the final NUL: the line goes out in one write */
        if (write(fd, text, n + 1) < 0) {
            perror("record");
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    free(text);
}

__attribute__((noreturn)) static void leave(int code)
{
    if (engine.behaviour.last_words != NULL) {
        say("E %s", engine.behaviour.last_words);
    }
    record("exit", NULL, 0, 0);
    _exit(code);
}

/* ---- buffers ---- */

static void buffer_room(struct buffer *buffer, size_t room)
{
    if (buffer->off > 0 && buffer->off == buffer->len) {
        buffer->off = buffer->len = 0;
    }
    if (buffer->cap - buffer->len >= room) {
        return;
    }
    if (buffer->off > 0) {
        memmove(buffer->data, buffer->data + buffer->off, buffer->len - buffer->off);
        buffer->len -= buffer->off;
        buffer->off = 0;
    }
    if (buffer->cap - buffer->len < room) {
        buffer->cap = (buffer->len + room) * 2;
        buffer->data = realloc(buffer->data, buffer->cap);
        if (buffer->data == NULL) {
            abort();
        }
    }
}

static void buffer_add(struct buffer *buffer, const char *data, size_t len)
{
    buffer_room(buffer, len + 1);
    memcpy(buffer->data + buffer->len, data, len);
    buffer->len += len;
}

static void buffer_pad(struct buffer *buffer, size_t len)
{
    buffer_room(buffer, len + 1);
    memset(buffer->data + buffer->len, 'x', len);
    buffer->len += len;
}

__attribute__((format(printf, 2, 3))) static void buffer_addf(struct buffer *buffer,
                                                              const char *format, ...)
{
    va_list args;
    int n;

    buffer_room(buffer, 1024);
    va_start(args, format);
    n = vsnprintf(buffer->data + buffer->len, buffer->cap - buffer->len, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= buffer->cap - buffer->len) {
        abort(); /* every caller stays below 1024 bytes */
    }
    buffer->len += (size_t)n;
}

static size_t buffer_used(const struct buffer *buffer)
{
    return buffer->len - buffer->off;
}

/* ---- timers: a binary heap of connections by due_ms ---- */

static void heap_put(size_t i, struct conn *conn)
{
    engine.heap[i] = conn;
    conn->timer = i;
}

static void heap_up(size_t i, struct conn *conn)
{
    while (i > 0 && engine.heap[(i - 1) / 2]->due_ms > conn->due_ms) {
        heap_put(i, engine.heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_put(i, conn);
}

static void heap_down(size_t i, struct conn *conn)
{
    size_t child;

    while ((child = 2 * i + 1) < engine.heap_len) {
        if (child + 1 < engine.heap_len &&
            engine.heap[child + 1]->due_ms < engine.heap[child]->due_ms) {
            child++;
        }
        if (engine.heap[child]->due_ms >= conn->due_ms) {
            break;
        }
        heap_put(i, engine.heap[child]);
        i = child;
    }
    heap_put(i, conn);
}

static void timer_stop(struct conn *conn)
{
    size_t i = conn->timer;
    struct conn *last;

    if (i == NO_TIMER) {
        return;
    }
    conn->timer = NO_TIMER;
    last = engine.heap[--engine.heap_len];
    if (last == conn) {
        return;
    }
    if (i > 0 && engine.heap[(i - 1) / 2]->due_ms > last->due_ms) {
        heap_up(i, last);
    } else {
        heap_down(i, last);
    }
}

static void timer_start(struct conn *conn, int64_t due_ms)
{
    timer_stop(conn);
    if (engine.heap_len == engine.heap_cap) {
        engine.heap_cap = engine.heap_cap == 0 ? 256 : engine.heap_cap * 2;
        engine.heap = realloc(engine.heap, engine.heap_cap * sizeof(struct conn *));
        if (engine.heap == NULL) {
            abort();
        }
    }
    conn->due_ms = due_ms;
    heap_up(engine.heap_len++, conn);
}

/* ---- slots ---- */

static void begin(struct conn *conn);

static void take_slot(struct conn *conn, bool later)
{
    conn->slot = engine.free_slots[--engine.n_free];
    engine.slots[conn->slot] = conn;
    if (conn->answer.hang) {
        conn->state = STATE_STUCK;
        return;
    }
    conn->state = STATE_SILENT;
    if (conn->answer.first_ms > 0 || later) {
        timer_start(conn, now_ms() + conn->answer.first_ms);
        return;
    }
    begin(conn);
}

static void join_line(struct conn *conn)
{
    conn->state = STATE_QUEUED;
    conn->next = NULL;
    if (engine.line_tail != NULL) {
        engine.line_tail->next = conn;
    } else {
        engine.line_head = conn;
    }
    engine.line_tail = conn;
}

static void leave_line(struct conn *conn)
{
    struct conn *before = NULL;

    for (struct conn *c = engine.line_head; c != NULL; before = c, c = c->next) {
        if (c != conn) {
            continue;
        }
        if (before != NULL) {
            before->next = c->next;
        } else {
            engine.line_head = c->next;
        }
        if (engine.line_tail == c) {
            engine.line_tail = before;
        }
        return;
    }
}

static void release_slot(struct conn *conn)
{
    struct conn *next = engine.line_head;

    if (conn->slot < 0) {
        return;
    }
    engine.slots[conn->slot] = NULL;
    engine.free_slots[engine.n_free++] = conn->slot;
    conn->slot = -1;
    if (next != NULL) { /* it begins from its timer, not from within another's turn */
        leave_line(next);
        take_slot(next, true);
    }
}

/* ---- connections ---- */

static void conn_free(struct conn *conn)
{
    timer_stop(conn);
    if (conn->state == STATE_QUEUED) {
        leave_line(conn);
    }
    if (conn->fd >= 0) {
        close(conn->fd);
    }
    release_slot(conn);
    json_decref(conn->script);
    free(conn->in.data);
    free(conn->out.data);
    free(conn);
}

/* The peer is gone. Frees the connection, or turns it into a ghost that keeps its slot. */
static void on_gone(struct conn *conn)
{
    bool busy = conn->slot >= 0 && conn->state != STATE_CLOSING;

    if (busy || conn->state == STATE_QUEUED) {
        record("gone", NULL, 0, 0);
    }
    if (!busy || !conn->answer.ignore_disconnect) {
        conn_free(conn);
        return;
    }
    close(conn->fd);
    conn->fd = -1;
    conn->state = STATE_GHOST;
    timer_start(conn, now_ms() + (conn->answer.events - conn->emitted) * conn->answer.event_ms);
}

static void want_out(struct conn *conn, bool want)
{
    struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP, .data.ptr = conn };

    if (conn->want_out == want) {
        return;
    }
    conn->want_out = want;
    if (want) {
        event.events |= EPOLLOUT;
    }
    epoll_ctl(engine.epoll, EPOLL_CTL_MOD, conn->fd, &event);
}

/* Writes what is queued. Returns false when the peer is gone. */
static bool flush(struct conn *conn)
{
    ssize_t n;

    while (buffer_used(&conn->out) > 0) {
        n = send(conn->fd, conn->out.data + conn->out.off, buffer_used(&conn->out), MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            want_out(conn, true);
            return true;
        }
        if (n < 0) {
            return false;
        }
        conn->out.off += (size_t)n;
    }
    want_out(conn, false);
    return true;
}

static void done(struct conn *conn, bool keep)
{
    release_slot(conn);
    json_decref(conn->script);
    conn->script = NULL;
    timer_stop(conn);
    engine.served++;
    if (!keep ||
        (engine.behaviour.keepalive_max > 0 && conn->requests >= engine.behaviour.keepalive_max)) {
        conn->state = STATE_CLOSING;
        return;
    }
    conn->state = STATE_READING;
    if (engine.behaviour.keepalive_idle_ms > 0) {
        timer_start(conn, now_ms() + engine.behaviour.keepalive_idle_ms);
    }
}

/* ---- answers ---- */

static const char *reason(json_int_t status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 404:
        return "Not Found";
    case 501:
        return "Not Implemented";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

static void head(struct conn *conn, json_int_t status, const char *type, size_t length)
{
    bool last =
        engine.behaviour.keepalive_max > 0 && conn->requests >= engine.behaviour.keepalive_max;

    buffer_addf(&conn->out,
                "HTTP/1.1 %d %s\r\nServer: llama.cpp\r\nAccess-Control-Allow-Origin: \r\n"
                "Content-Type: %s\r\nContent-Length: %zu\r\n%s\r\n",
                (int)status, reason(status), type, length,
                last ? "Connection: close\r\n" : "Keep-Alive: timeout=5, max=100\r\n");
}

static void reply(struct conn *conn, json_int_t status, const char *type, const char *body)
{
    head(conn, status, type, strlen(body));
    buffer_add(&conn->out, body, strlen(body));
    done(conn, true);
}

static void reply_error(struct conn *conn, int code, const char *type, const char *message)
{
    char body[512];

    snprintf(body, sizeof(body), "{\"error\":{\"code\":%d,\"message\":\"%s\",\"type\":\"%s\"}}",
             code, message, type);
    reply(conn, code, "application/json; charset=utf-8", body);
}

static void add_token(struct buffer *out, const struct answer *answer, json_int_t seq)
{
    size_t before;

    buffer_room(out, 32);
    before = out->len;
    buffer_addf(out, " %lld", (long long)seq);
    if (out->len - before < (size_t)answer->event_bytes) {
        buffer_pad(out, (size_t)answer->event_bytes - (out->len - before));
    }
}

/* The malformed answers a proxy must not pass on. Each ends with the connection closed. */
static bool broken_answer(struct conn *conn, const char *name)
{
    struct buffer *out = &conn->out;

    if (strcmp(name, "two_content_lengths") == 0) {
        buffer_addf(out, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x");
    } else if (strcmp(name, "te_and_cl") == 0) {
        buffer_addf(out,
                    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
                    "2\r\n{}\r\n0\r\n\r\n");
    } else if (strcmp(name, "bare_lf") == 0) {
        buffer_addf(out,
                    "HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: 2\n\n{}");
    } else if (strcmp(name, "huge_header") == 0) {
        buffer_addf(out, "HTTP/1.1 200 OK\r\nX-Long: ");
        buffer_pad(out, 1 << 20);
        buffer_addf(out, "\r\nContent-Length: 2\r\n\r\n{}");
    } else if (strcmp(name, "bad_chunk") == 0) {
        buffer_addf(out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                         "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n");
    } else if (strcmp(name, "early_close") == 0) {
        buffer_addf(out, "HTTP/1.1 200 OK\r\nContent-Ty");
    } else if (strcmp(name, "short_body") == 0) {
        buffer_addf(out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                         "Content-Length: 1000\r\n\r\n{\"object\":");
    } else if (strcmp(name, "garbage") == 0) {
        buffer_addf(out, "SSH-2.0-OpenSSH_9.2\r\n\r\n");
    } else if (strcmp(name, "nothing") != 0) {
        return false;
    }
    return true;
}

static void finish_chat_json(struct conn *conn, size_t completion)
{
    buffer_addf(
        &conn->out,
        "\"}}],\"created\":1700000000,\"model\":\"%s\",\"system_fingerprint\":\"b11669-Debian\","
        "\"object\":\"chat.completion\",\"usage\":{\"completion_tokens\":%zu,"
        "\"prompt_tokens\":10,\"total_tokens\":%zu,\"prompt_tokens_details\":"
        "{\"cached_tokens\":0}},\"id\":\"chatcmpl-scripted\",\"timings\":{\"cache_n\":0,"
        "\"prompt_n\":10,\"prompt_ms\":1.5,\"prompt_per_token_ms\":0.15,"
        "\"prompt_per_second\":6666.66,\"predicted_n\":%zu,\"predicted_ms\":2.5}}",
        engine.alias, completion, completion + 10, completion);
}

static void finish_completion_json(struct conn *conn, size_t completion)
{
    buffer_addf(&conn->out,
                "\",\"index\":0,\"logprobs\":null,\"finish_reason\":\"%s\"}],"
                "\"created\":1700000000,\"model\":\"%s\",\"system_fingerprint\":\"b11669-Debian\","
                "\"object\":\"text_completion\",\"usage\":{\"completion_tokens\":%zu,"
                "\"prompt_tokens\":10,\"total_tokens\":%zu},\"id\":\"chatcmpl-scripted\"}",
                conn->truncated ? "length" : "stop", engine.alias, completion, completion + 10);
}

static void start_json(struct conn *conn)
{
    if (conn->kind == KIND_CHAT) {
        buffer_addf(&conn->out,
                    "{\"choices\":[{\"finish_reason\":\"%s\",\"index\":0,\"message\":"
                    "{\"role\":\"assistant\",\"content\":\"",
                    conn->truncated ? "length" : "stop");
    } else {
        buffer_addf(&conn->out, "{\"choices\":[{\"text\":\"");
    }
}

static void finish_json(struct conn *conn)
{
    if (conn->kind == KIND_CHAT) {
        finish_chat_json(conn, (size_t)conn->answer.events);
    } else {
        finish_completion_json(conn, (size_t)conn->answer.events);
    }
}

/* A whole answer of moderate size: written behind a gap for its head, whose length is then known.
 */
static void whole_json(struct conn *conn)
{
    struct buffer text = { 0 };
    struct buffer out = conn->out;

    conn->out = text;
    start_json(conn);
    for (json_int_t i = 0; i < conn->answer.events; i++) {
        add_token(&conn->out, &conn->answer, i);
    }
    finish_json(conn);
    text = conn->out;
    conn->out = out;
    head(conn, 200, "application/json; charset=utf-8", text.len);
    buffer_add(&conn->out, text.data, text.len);
    free(text.data);
    engine.tokens += (unsigned long long)conn->answer.events;
    done(conn, true);
}

/* A chunk's size is written last, into eight hexadecimal digits left open for it. */
static size_t chunk_open(struct conn *conn)
{
    buffer_addf(&conn->out, "00000000\r\n");
    return conn->out.len;
}

static void chunk_close(struct conn *conn, size_t start)
{
    char size[9];

    snprintf(size, sizeof(size), "%08zx", conn->out.len - start);
    memcpy(conn->out.data + start - 10, size, 8);
    buffer_addf(&conn->out, "\r\n");
}

static void chunked_head(struct conn *conn, const char *type)
{
    buffer_addf(&conn->out,
                "HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nAccess-Control-Allow-Origin: \r\n"
                "X-Accel-Buffering: no\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n"
                "Keep-Alive: timeout=5, max=100\r\n\r\n",
                type);
}

static void event_tail(struct conn *conn)
{
    buffer_addf(&conn->out,
                ",\"created\":1700000000,\"id\":\"chatcmpl-scripted\",\"model\":\"%s\","
                "\"system_fingerprint\":\"b11669-Debian\",\"object\":\"%s\"",
                engine.alias,
                conn->kind == KIND_CHAT ? "chat.completion.chunk" : "text_completion");
}

/* Offsets stay valid while the buffer moves its start only when it is empty or grows before a
 * chunk. */
static void add_event(struct conn *conn, json_int_t seq)
{
    size_t start;

    buffer_room(&conn->out, 1024 + (size_t)conn->answer.event_bytes + 64 + 4096);
    start = chunk_open(conn);
    if (conn->kind == KIND_CHAT) {
        buffer_addf(&conn->out, "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":"
                                "{\"content\":\"");
        add_token(&conn->out, &conn->answer, seq);
        buffer_addf(&conn->out, "\"}}]");
    } else {
        buffer_addf(&conn->out, "data: {\"choices\":[{\"text\":\"");
        add_token(&conn->out, &conn->answer, seq);
        buffer_addf(&conn->out, "\",\"index\":0,\"logprobs\":null,\"finish_reason\":null}]");
    }
    event_tail(conn);
    buffer_addf(&conn->out, "}\n\n");
    chunk_close(conn, start);
    engine.tokens++;
}

static void add_usage(struct conn *conn)
{
    buffer_addf(
        &conn->out,
        ",\"usage\":{\"completion_tokens\":%lld,\"prompt_tokens\":10,\"total_tokens\":%lld}",
        (long long)conn->answer.events, (long long)conn->answer.events + 10);
}

static void end_stream(struct conn *conn)
{
    const char *why = conn->truncated ? "length" : "stop";
    size_t start;

    buffer_room(&conn->out, 8192);
    start = chunk_open(conn);
    if (conn->kind == KIND_CHAT) {
        buffer_addf(&conn->out,
                    "data: {\"choices\":[{\"finish_reason\":\"%s\",\"index\":0,\"delta\":{}}]",
                    why);
        event_tail(conn);
    } else {
        buffer_addf(&conn->out,
                    "data: {\"choices\":[{\"text\":\"\",\"index\":0,\"logprobs\":null,"
                    "\"finish_reason\":\"%s\"}]",
                    why);
        event_tail(conn);
        add_usage(conn);
    }
    buffer_addf(&conn->out, "}\n\n");
    chunk_close(conn, start);
    if (conn->usage && conn->kind == KIND_CHAT) {
        start = chunk_open(conn);
        buffer_addf(&conn->out, "data: {\"choices\":[]");
        event_tail(conn);
        add_usage(conn);
        buffer_addf(&conn->out, "}\n\n");
        chunk_close(conn, start);
    }
    start = chunk_open(conn);
    buffer_addf(&conn->out, "data: [DONE]\n\n");
    chunk_close(conn, start);
    buffer_addf(&conn->out, "0\r\n\r\n");
    done(conn, engine.behaviour.stream_keepalive);
}

/* Ends a chunked whole answer (those too big for whole_json). */
static void end_chunked(struct conn *conn)
{
    size_t start;

    buffer_room(&conn->out, 4096);
    start = chunk_open(conn);
    finish_json(conn);
    chunk_close(conn, start);
    buffer_addf(&conn->out, "0\r\n\r\n");
    done(conn, true);
}

static void add_piece(struct conn *conn)
{
    size_t start;

    if (conn->stream) {
        add_event(conn, conn->emitted++);
        return;
    }
    buffer_room(&conn->out, (size_t)conn->answer.event_bytes + 4096);
    start = chunk_open(conn);
    add_token(&conn->out, &conn->answer, conn->emitted++);
    chunk_close(conn, start);
}

/* Says true when the script stops the answer here. */
static bool cut_short(struct conn *conn)
{
    const struct answer *answer = &conn->answer;

    if (conn->emitted == answer->stall_after_events || (engine.stopping && conn->stream)) {
        conn->state = STATE_STUCK;
        return true;
    }
    if (conn->emitted == answer->close_after_events) {
        conn->state = STATE_CLOSING;
        return true;
    }
    if (conn->emitted == answer->die_after_events) {
        if (buffer_used(&conn->out) == 0) {
            leave(9);
        }
        return true; /* dies when everything before is written */
    }
    return false;
}

/* Says the next tokens: one when paced, else as many as the peer takes. */
static void pump(struct conn *conn)
{
    while (conn->state == STATE_ANSWERING && buffer_used(&conn->out) < OUT_FULL) {
        if (cut_short(conn)) {
            return;
        }
        if (conn->emitted >= conn->answer.events) {
            if (conn->stream) {
                end_stream(conn);
            } else {
                end_chunked(conn);
            }
            return;
        }
        add_piece(conn);
        if (conn->answer.event_ms > 0) {
            timer_start(conn, conn->due_ms + conn->answer.event_ms);
            return;
        }
    }
}

static void begin_stream(struct conn *conn)
{
    size_t start;

    chunked_head(conn, "text/event-stream");
    if (conn->kind == KIND_CHAT) {
        buffer_room(&conn->out, 4096);
        start = chunk_open(conn);
        buffer_addf(&conn->out, "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":"
                                "{\"role\":\"assistant\",\"content\":null}}]");
        event_tail(conn);
        buffer_addf(&conn->out, "}\n\n");
        chunk_close(conn, start);
    }
    conn->state = STATE_ANSWERING;
    conn->due_ms = now_ms();
    if (conn->answer.event_ms > 0) {
        timer_start(conn, conn->due_ms + conn->answer.event_ms);
        return;
    }
    pump(conn);
}

static void begin_whole(struct conn *conn)
{
    size_t start;

    if (conn->answer.event_ms > 0) { /* a whole answer is silent for as long as its tokens take */
        conn->answer.first_ms = conn->answer.events * conn->answer.event_ms;
        conn->answer.event_ms = 0;
        conn->state = STATE_SILENT;
        timer_start(conn, now_ms() + conn->answer.first_ms);
        return;
    }
    if (conn->answer.events * (conn->answer.event_bytes + 8) < (1 << 20) &&
        conn->answer.close_after_events < 0 && conn->answer.die_after_events < 0) {
        whole_json(conn);
        return;
    }
    chunked_head(conn, "application/json; charset=utf-8");
    start = chunk_open(conn);
    start_json(conn);
    chunk_close(conn, start);
    conn->state = STATE_ANSWERING;
    pump(conn);
}

/* First byte of a completion: the slot is ours and the silence is over. */
static void begin(struct conn *conn)
{
    if (conn->answer.broken != NULL) {
        if (!broken_answer(conn, conn->answer.broken)) {
            reply_error(conn, 400, "invalid_request_error", "no such broken answer");
            return;
        }
        done(conn, false);
    } else if (conn->answer.status != 200) {
        reply(conn, conn->answer.status, "application/json; charset=utf-8",
              conn->answer.body != NULL ? conn->answer.body
                                        : "{\"error\":{\"code\":500,\"message\":\"scripted\","
                                          "\"type\":\"server_error\"}}");
    } else if (conn->stream) {
        begin_stream(conn);
    } else {
        begin_whole(conn);
    }
}

/* ---- requests ---- */

struct request {
    const char *method;
    size_t method_len;
    const char *path;
    size_t path_len;
    const char *head;
    size_t head_len;
    const char *body; /* ends with a NUL */
    size_t body_len;
};

static bool is(const struct request *request, const char *method, const char *path)
{
    return request->method_len == strlen(method) && request->path_len == strlen(path) &&
           memcmp(request->method, method, request->method_len) == 0 &&
           memcmp(request->path, path, request->path_len) == 0;
}

/* The character after the string that opens at `at`. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++) {
        if (*at == '\\') {
            at++;
        }
    }
    return at + 1;
}

/* Finds the value of a top-level member, without reading the body as JSON: the benchmark's requests
 * pay for it. */
static const char *member(const struct request *request, const char *quoted_name)
{
    const char *end = request->body + request->body_len;
    size_t len = strlen(quoted_name);
    int depth = 0;

    if (memmem(request->body, request->body_len, quoted_name, len) == NULL) {
        return NULL; /* mostly */
    }
    for (const char *at = request->body; at < end; at++) {
        if (*at == '"') {
            const char *after = skip_string(at, end);
            bool same =
                depth == 1 && (size_t)(after - at) == len && memcmp(at, quoted_name, len) == 0;

            at = after - 1;
            after += strspn(after, " \t\r\n");
            if (same && *after == ':') {
                return after + 1 + strspn(after + 1, " \t\r\n");
            }
        } else if (*at == '{' || *at == '[') {
            depth++;
        } else if (*at == '}' || *at == ']') {
            depth--;
        }
    }
    return NULL;
}

static bool member_true(const struct request *request, const char *quoted_name)
{
    const char *at = member(request, quoted_name);

    return at != NULL && strncmp(at, "true", 4) == 0;
}

static bool usage_wanted(const struct request *request)
{
    static const char name[] = "\"include_usage\"";
    const char *options = member(request, "\"stream_options\"");
    const char *at = options != NULL ? strstr(options, name) : NULL;

    if (at == NULL) {
        return false;
    }
    at += sizeof(name) - 1;
    at += strspn(at, " \t\r\n:");
    return strncmp(at, "true", 4) == 0;
}

static void read_script(struct conn *conn, const struct request *request)
{
    json_error_t error;
    json_t *body;

    conn->answer = engine.behaviour.answer;
    if (member(request, "\"scripted\"") == NULL) {
        return;
    }
    body = json_loadb(request->body, request->body_len, JSON_ALLOW_NUL, &error);
    conn->script = json_incref(json_object_get(body, "scripted"));
    answer_override(&conn->answer, conn->script);
    json_decref(body);
}

static void on_completion(struct conn *conn, const struct request *request, enum kind kind)
{
    const char *limit = member(request, "\"max_tokens\"");

    if (request->body_len == 0 || request->body[0] != '{') {
        reply_error(conn, 400, "invalid_request_error", "not a JSON object");
        return;
    }
    read_script(conn, request);
    if (conn->answer.exit_on_request) {
        leave((int)engine.behaviour.exit_code);
    }
    conn->kind = kind;
    conn->stream = member_true(request, "\"stream\"");
    conn->usage = usage_wanted(request);
    conn->emitted = 0;
    conn->truncated = limit != NULL && atoll(limit) > 0 && atoll(limit) < conn->answer.events;
    if (conn->truncated) {
        conn->answer.events = atoll(limit);
    }
    if (engine.n_free == 0) {
        join_line(conn);
    } else {
        take_slot(conn, false);
    }
}

static void on_health(struct conn *conn)
{
    if (engine.behaviour.hang_health_after_ms >= 0 &&
        now_ms() - engine.start_ms >= engine.behaviour.hang_health_after_ms) {
        conn->state = STATE_STUCK;
        return;
    }
    reply(conn, 200, "application/json; charset=utf-8", "{\"status\":\"ok\"}");
}

static void on_models(struct conn *conn)
{
    char body[2048];

    snprintf(body, sizeof(body),
             "{\"models\":[{\"name\":\"%s\",\"model\":\"%s\"}],\"object\":\"list\",\"data\":[{"
             "\"id\":\"%s\","
             "\"aliases\":[],\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"llamacpp\","
             "\"meta\":{\"vocab_type\":1,\"n_vocab\":512,\"n_ctx\":%d,\"n_ctx_train\":2048,"
             "\"n_embd\":64,\"n_params\":292800,\"size\":1171200,\"ftype\":\"F32\"}}]}",
             engine.alias, engine.alias, engine.alias, engine.ctx_size / engine.parallel);
    reply(conn, 200, "application/json; charset=utf-8", body);
}

static void on_props(struct conn *conn)
{
    char body[2048];

    snprintf(
        body, sizeof(body),
        "{\"default_generation_settings\":{\"n_ctx\":%d},\"total_slots\":%d,\"model_alias\":\"%s\","
        "\"model_path\":\"%s\",\"modalities\":{\"vision\":false,\"audio\":false},"
        "\"is_sleeping\":false,\"chat_template\":\"\",\"build_info\":\"b11669-scripted\"}",
        engine.ctx_size / engine.parallel, engine.parallel, engine.alias,
        engine.model != NULL ? engine.model : "");
    reply(conn, 200, "application/json; charset=utf-8", body);
}

static void on_slots(struct conn *conn)
{
    struct buffer text = { 0 };

    if (engine.behaviour.hang_slots) {
        conn->state = STATE_STUCK;
        return;
    }
    buffer_addf(&text, "[");
    for (int i = 0; i < engine.parallel; i++) {
        struct conn *holder = engine.slots[i];

        buffer_addf(&text,
                    "%s{\"id\":%d,\"n_ctx\":%d,\"speculative\":false,\"is_processing\":%s,"
                    "\"id_task\":%d,\"n_prompt_tokens\":10,\"next_token\":[{\"n_decoded\":%lld,"
                    "\"n_remain\":%lld,\"has_next_token\":%s}]}",
                    i > 0 ? "," : "", i, engine.ctx_size / engine.parallel,
                    holder != NULL ? "true" : "false", i,
                    holder != NULL ? (long long)holder->emitted : 0,
                    holder != NULL ? (long long)(holder->answer.events - holder->emitted) : 0,
                    holder != NULL ? "true" : "false");
    }
    buffer_add(&text, "]", 2);
    reply(conn, 200, "application/json; charset=utf-8", text.data);
    free(text.data);
}

static void on_metrics(struct conn *conn)
{
    char body[1024];
    int queued = 0;

    for (struct conn *c = engine.line_head; c != NULL; c = c->next) {
        queued++;
    }
    snprintf(
        body, sizeof(body),
        "# HELP llamacpp:tokens_predicted_total Number of generation tokens processed.\n"
        "# TYPE llamacpp:tokens_predicted_total counter\nllamacpp:tokens_predicted_total %llu\n"
        "# HELP llamacpp:requests_processing Number of requests processing.\n"
        "# TYPE llamacpp:requests_processing gauge\nllamacpp:requests_processing %d\n"
        "# HELP llamacpp:requests_deferred Number of requests deferred.\n"
        "# TYPE llamacpp:requests_deferred gauge\nllamacpp:requests_deferred %d\n",
        engine.tokens, engine.parallel - engine.n_free, queued);
    reply(conn, 200, "text/plain; version=0.0.4", body);
}

static void on_embeddings(struct conn *conn)
{
    if (!engine.embeddings) {
        reply_error(conn, 501, "not_supported_error",
                    "This server does not support embeddings. Start it with `--embeddings`");
        return;
    }
    reply(conn, 200, "application/json; charset=utf-8",
          "{\"model\":\"scripted\",\"object\":\"list\",\"usage\":{\"prompt_tokens\":3,\"total_"
          "tokens\":3},"
          "\"data\":[{\"embedding\":[0.5,-0.25,0.125],\"index\":0,\"object\":\"embedding\"}]}");
}

static bool authorized(const struct request *request)
{
    char want[300];

    if (engine.api_key == NULL) {
        return true;
    }
    snprintf(want, sizeof(want), "Bearer %s\r\n", engine.api_key);
    return memmem(request->head, request->head_len, want, strlen(want)) != NULL;
}

/* Orders to the engine itself: /scripted/log/BYTES and /scripted/exit/CODE, sent straight to its
 * socket. */
static bool on_order(struct conn *conn, const struct request *request)
{
    char path[128];

    if (request->path_len >= sizeof(path) || strncmp(request->path, "/scripted/", 10) != 0) {
        return false;
    }
    memcpy(path, request->path, request->path_len);
    path[request->path_len] = '\0';
    if (strncmp(path, "/scripted/log/", 14) == 0) {
        say_bytes(atoll(path + 14));
        reply(conn, 200, "application/json; charset=utf-8", "{\"ok\":true}");
        return true;
    }
    if (strncmp(path, "/scripted/exit/", 15) == 0) {
        leave(atoi(path + 15));
    }
    return false;
}

static bool loading(void)
{
    return engine.behaviour.never_ready || now_ms() - engine.start_ms < engine.behaviour.load_ms;
}

static void route(struct conn *conn, const struct request *request)
{
    bool health = is(request, "GET", "/health") || is(request, "GET", "/v1/health");

    if (on_order(conn, request)) {
        return;
    }
    if (loading()) {
        reply_error(conn, 503, "unavailable_error", "Loading model");
    } else if (health) {
        on_health(conn);
    } else if (!authorized(request)) {
        reply_error(conn, 401, "authentication_error", "Invalid API Key");
    } else if (is(request, "POST", "/v1/chat/completions")) {
        on_completion(conn, request, KIND_CHAT);
    } else if (is(request, "POST", "/v1/completions")) {
        on_completion(conn, request, KIND_COMPLETION);
    } else if (is(request, "POST", "/v1/embeddings")) {
        on_embeddings(conn);
    } else if (is(request, "GET", "/v1/models") || is(request, "GET", "/models")) {
        on_models(conn);
    } else if (is(request, "GET", "/props")) {
        on_props(conn);
    } else if (is(request, "GET", "/slots")) {
        on_slots(conn);
    } else if (is(request, "GET", "/metrics")) {
        on_metrics(conn);
    } else {
        reply_error(conn, 404, "not_found_error", "File Not Found");
    }
}

static size_t content_length(const char *head_text, size_t len)
{
    const char *at = head_text;
    const char *end = head_text + len;

    while ((at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        at++;
        if (end - at > 15 && strncasecmp(at, "content-length:", 15) == 0) {
            return strtoul(at + 15, NULL, 10);
        }
    }
    return 0;
}

static bool split_line(struct request *request)
{
    const char *end = request->head + request->head_len;
    const char *space = memchr(request->head, ' ', request->head_len);
    const char *second;
    const char *query;

    if (space == NULL) {
        return false;
    }
    second = memchr(space + 1, ' ', (size_t)(end - space - 1));
    if (second == NULL) {
        return false;
    }
    request->method = request->head;
    request->method_len = (size_t)(space - request->head);
    request->path = space + 1;
    request->path_len = (size_t)(second - space - 1);
    query = memchr(request->path, '?', request->path_len);
    if (query != NULL) {
        request->path_len = (size_t)(query - request->path);
    }
    return true;
}

/* Takes one whole request off the input. Returns false when there is none yet. */
static bool next_request(struct conn *conn, struct request *ret_request)
{
    char *data = conn->in.data + conn->in.off;
    size_t len = buffer_used(&conn->in);
    const char *end = len > 0 ? memmem(data, len, "\r\n\r\n", 4) : NULL;
    struct request request = { .head = data };

    if (end == NULL) {
        return false;
    }
    request.head_len = (size_t)(end - data) + 4;
    request.body = data + request.head_len;
    request.body_len = content_length(request.head, request.head_len);
    if (len < request.head_len + request.body_len || !split_line(&request)) {
        return false;
    }
    conn->in.off += request.head_len + request.body_len;
    *ret_request = request;
    return true;
}

static void parse(struct conn *conn)
{
    struct request request;

    while (conn->state == STATE_READING && next_request(conn, &request)) {
        char *end = conn->in.data + conn->in.off;
        char kept = *end;

        timer_stop(conn);
        conn->requests++;
        record("request", request.head, request.head_len, request.head_len + request.body_len);
        *end = '\0'; /* there is always one byte of room */
        route(conn, &request);
        *end = kept;
    }
}

/* ---- the loop ---- */

/* Moves a connection on after anything happened to it: write, refill, read on, or end. */
static void settle(struct conn *conn)
{
    for (;;) {
        if (!flush(conn)) {
            on_gone(conn);
            return;
        }
        if (buffer_used(&conn->out) > 0) {
            return;
        }
        if (conn->state == STATE_CLOSING) {
            conn_free(conn);
            return;
        }
        if (conn->state == STATE_ANSWERING && conn->timer == NO_TIMER) {
            pump(conn);
        } else if (conn->state == STATE_READING) {
            parse(conn);
        }
        if (buffer_used(&conn->out) == 0 && conn->state != STATE_CLOSING) {
            return;
        }
    }
}

static void on_readable(struct conn *conn)
{
    ssize_t n;

    buffer_room(&conn->in, 64 << 10);
    if (buffer_used(&conn->in) > IN_MAX) {
        on_gone(conn);
        return;
    }
    n = recv(conn->fd, conn->in.data + conn->in.len, conn->in.cap - conn->in.len - 1, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        on_gone(conn);
        return;
    }
    if (n > 0) {
        conn->in.len += (size_t)n;
    }
    if (conn->state == STATE_READING) {
        parse(conn);
        settle(conn);
    }
}

static void on_accept(void)
{
    struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP };
    struct conn *conn;
    int one = 1;
    int fd;

    while ((fd = accept4(engine.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        conn = calloc(1, sizeof(*conn));
        if (conn == NULL) {
            abort();
        }
        conn->fd = fd;
        conn->slot = -1;
        conn->timer = NO_TIMER;
        event.data.ptr = conn;
        epoll_ctl(engine.epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

static void on_timer(struct conn *conn)
{
    timer_stop(conn);
    switch (conn->state) {
    case STATE_SILENT:
        begin(conn);
        break;
    case STATE_ANSWERING:
        pump(conn);
        break;
    default: /* idle for too long, or a ghost's end */
        conn_free(conn);
        return;
    }
    settle(conn);
}

static bool any_busy(void)
{
    return engine.n_free < engine.parallel || engine.line_head != NULL;
}

static void on_signal(void)
{
    struct signalfd_siginfo info;

    while (read(engine.signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        record("signal", NULL, 0, 0);
        if (engine.behaviour.ignore_sigterm) {
            say("I scripted: ignoring signal %u", info.ssi_signo);
            continue;
        }
        if (engine.stopping) {
            say("E srv: Received second interrupt, terminating immediately.");
            leave(1);
        }
        say("I srv: cleaning up before exit...");
        engine.stopping = true;
    }
}

/* How long to wait: for the next timer, or for the script's own exit. */
static int wait_ms(void)
{
    int64_t now = now_ms();
    int64_t until = INT64_MAX;

    if (engine.heap_len > 0) {
        until = engine.heap[0]->due_ms;
    }
    if (engine.behaviour.exit_after_ms >= 0 &&
        engine.start_ms + engine.behaviour.exit_after_ms < until) {
        until = engine.start_ms + engine.behaviour.exit_after_ms;
    }
    if (until == INT64_MAX) {
        return -1;
    }
    return until > now ? (int)(until - now) : 0;
}

static void on_time(void)
{
    int64_t now = now_ms();

    if (engine.behaviour.exit_after_ms >= 0 &&
        now - engine.start_ms >= engine.behaviour.exit_after_ms) {
        leave((int)engine.behaviour.exit_code);
    }
    while (engine.heap_len > 0 && engine.heap[0]->due_ms <= now) {
        on_timer(engine.heap[0]);
    }
}

static void on_event(const struct epoll_event *event)
{
    struct conn *conn = event->data.ptr;

    if (event->data.ptr == &engine.listener) {
        on_accept();
    } else if (event->data.ptr == &engine.signals) {
        on_signal();
    } else if (event->events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) {
        on_gone(conn); /* a half-close counts as leaving, as it does for llama-server */
    } else if (event->events & EPOLLIN) {
        on_readable(conn);
    } else if (event->events & EPOLLOUT) {
        settle(conn);
    }
}

/* One event a turn of epoll_wait for each connection, and nothing frees another's: pointers stay
 * good. */
static void run(void)
{
    struct epoll_event events[64];

    while (!engine.stopping || any_busy()) {
        int n = epoll_wait(engine.epoll, events, 64, wait_ms());

        for (int i = 0; i < n; i++) {
            on_event(&events[i]);
        }
        on_time();
    }
}

static int listen_unix(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof(address.sun_path)) {
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    unlink(path);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4096) < 0) {
        return -1;
    }
    return fd;
}

static int listen_tcp(const char *host, int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    socklen_t len = sizeof(address);
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1 ||
        bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, 4096) < 0) {
        return -1;
    }
    getsockname(fd, (struct sockaddr *)&address, &len);
    engine.port = ntohs(address.sin_port);
    return fd;
}

static void watch(int fd, void *tag)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = tag };

    epoll_ctl(engine.epoll, EPOLL_CTL_ADD, fd, &event);
}

static void open_all(void)
{
    size_t n = strlen(engine.host);
    bool is_unix = n > 5 && strcmp(engine.host + n - 5, ".sock") == 0;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    engine.signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    engine.listener = is_unix ? listen_unix(engine.host) : listen_tcp(engine.host, engine.port);
    if (engine.listener < 0) {
        say("E srv: couldn't bind HTTP server socket, hostname: %s, port: %d", engine.host,
            engine.port);
        leave(1);
    }
    engine.epoll = epoll_create1(EPOLL_CLOEXEC);
    watch(engine.listener, &engine.listener);
    watch(engine.signals, &engine.signals);
    if (is_unix) {
        say("I srv  llama_server: listening on unix://%s", engine.host);
    } else {
        say("I srv  llama_server: listening on http://%s:%d", engine.host, engine.port);
    }
}

static bool flag(const char *arg, const char *long_name, const char *short_name)
{
    return strcmp(arg, long_name) == 0 || (short_name != NULL && strcmp(arg, short_name) == 0);
}

/* Reads what matters of llama-server's command line; everything else is accepted and ignored. */
static void read_arguments(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        char *value = i + 1 < argc ? argv[i + 1] : argv[i];

        if (flag(argv[i], "--model", "-m")) {
            engine.model = value;
        } else if (flag(argv[i], "--alias", "-a")) {
            engine.alias = value;
        } else if (flag(argv[i], "--api-key", NULL)) {
            engine.api_key = value;
        } else if (flag(argv[i], "--host", NULL)) {
            engine.host = value;
        } else if (flag(argv[i], "--port", NULL)) {
            engine.port = atoi(value);
        } else if (flag(argv[i], "--parallel", "-np")) {
            engine.parallel = atoi(value);
        } else if (flag(argv[i], "--ctx-size", "-c")) {
            engine.ctx_size = atoi(value);
        } else if (flag(argv[i], "--embeddings", "--embedding")) {
            engine.embeddings = true;
        } else if (flag(argv[i], "--version", NULL)) {
            printf("version: scripted\n");
            exit(0);
        }
    }
    if (engine.parallel < 1 || engine.parallel > SLOTS_MAX) {
        engine.parallel = engine.parallel < 1 ? 4 : SLOTS_MAX;
    }
    if (engine.alias == NULL) {
        const char *slash = engine.model != NULL ? strrchr(engine.model, '/') : NULL;

        engine.alias = slash != NULL ? slash + 1 : "scripted";
    }
}

static void start_up(void)
{
    struct rlimit limit;
    struct stat st;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    behaviour_load(engine.model, &engine.behaviour);
    record("start", NULL, 0, 0);
    say("I srv    load_model: loading model '%s'", engine.model != NULL ? engine.model : "");
    if (engine.model != NULL && stat(engine.model, &st) < 0) {
        say("E gguf_init_from_file: failed to open GGUF file '%s' (%s)", engine.model,
            strerror(errno));
        say("E srv  llama_server: exiting due to model loading error");
        leave(1);
    }
    say_bytes(engine.behaviour.stderr_bytes);
    if (engine.behaviour.exit_at_start >= 0) {
        leave((int)engine.behaviour.exit_at_start);
    }
}

int main(int argc, char **argv)
{
    engine.start_ms = now_ms();
    read_arguments(argc, argv);
    for (int i = engine.parallel - 1; i >= 0; i--) {
        engine.free_slots[engine.n_free++] = i;
    }
    start_up();
    open_all();
    run();
    record("exit", NULL, 0, 0);
    _exit(0); /* connections and scripts live as long as the process */
}
