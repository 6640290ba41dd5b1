// SPDX-License-Identifier: Apache-2.0
/*
 * WebSocket on a stream taken over from HTTP. wslay does the framing; this file feeds it what was
 * read and writes what it frames. The rule: nothing is freed while wslay runs, and on_close comes
 * exactly once.
 */
#include "http/websocket.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

#include "base/mem.h"
#include "http/router.h"

enum {
    PING_MS = 30000,
    PINGS_UNANSWERED_MAX = 2,
    CLOSE_LIMIT_MS = 5000,
    LINGER_MS = 2000,
    KEY_BYTES = 24
};

struct websocket {
    struct world *world;
    struct stream *stream;
    wslay_event_context_ptr wslay;
    struct websocket_options options;
    const struct websocket_handler *handler;
    void *owner;
    const char *in; /* what wslay may read now */
    size_t in_len;
    struct buf rest; /* came with the upgrade request */
    struct timer ping, begin;
    unsigned pings; /* sent since the peer was last heard */
    unsigned busy;
    bool closing; /* a close frame of ours is out */
    bool dead;
};

static void free_websocket(struct websocket *ws)
{
    if (ws->dead && ws->busy == 0) {
        wslay_event_context_free(ws->wslay);
        buf_finish(&ws->rest);
        free(ws);
    }
}

/* The end, once: the stream goes, the owner is told. */
static void end(struct websocket *ws, bool flushed)
{
    if (ws->dead) {
        return;
    }
    ws->dead = true;
    timer_stop(&ws->ping);
    timer_stop(&ws->begin);
    if (flushed) {
        stream_close_flushed(ws->stream, LINGER_MS);
    } else {
        stream_close(ws->stream);
    }
    ws->stream = NULL;
    ws->busy++;
    ws->handler->on_close(ws->owner);
    ws->busy--;
    free_websocket(ws);
}

/* Lets wslay write what it has, and ends the connection when both sides are done. */
static void pump(struct websocket *ws)
{
    ws->busy++;
    if (!ws->dead && wslay_event_send(ws->wslay) < 0) {
        end(ws, false);
    }
    if (!ws->dead && wslay_event_get_close_sent(ws->wslay)) {
        if (wslay_event_get_close_received(ws->wslay) || !wslay_event_get_read_enabled(ws->wslay)) {
            end(ws, true);
        } else if (!ws->closing) {
            ws->closing = true;
            timer_start(&ws->ping, CLOSE_LIMIT_MS);
        }
    }
    ws->busy--;
    free_websocket(ws);
}

static ssize_t on_wslay_recv(wslay_event_context_ptr ctx, uint8_t *to, size_t len, int flags,
                             void *arg)
{
    struct websocket *ws = arg;
    size_t n = MIN_OF(len, ws->in_len);

    if (n == 0 || ws->dead) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(to, ws->in, n);
    ws->in += n;
    ws->in_len -= n;
    return (ssize_t)n;
}

static ssize_t on_wslay_send(wslay_event_context_ptr ctx, const uint8_t *p, size_t len, int flags,
                             void *arg)
{
    struct websocket *ws = arg;

    if (ws->dead) {
        wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
        return -1;
    }
    stream_write(ws->stream, p, len);
    return (ssize_t)len;
}

/* wslay has checked that text is UTF-8, and answers pings and closes by itself. */
static void on_wslay_message(wslay_event_context_ptr ctx,
                             const struct wslay_event_on_msg_recv_arg *m, void *arg)
{
    struct websocket *ws = arg;

    if (ws->dead || ws->closing) {
        return;
    }
    if (m->opcode == WSLAY_TEXT_FRAME) {
        ws->handler->on_text(ws->owner, (struct span){ (const char *)m->msg, m->msg_length });
    } else if (m->opcode == WSLAY_BINARY_FRAME) {
        websocket_close(ws, WSLAY_CODE_UNSUPPORTED_DATA, "text only");
    }
}

static const struct wslay_event_callbacks callbacks = {
    .recv_callback = on_wslay_recv,
    .send_callback = on_wslay_send,
    .on_msg_recv_callback = on_wslay_message,
};

static void feed(struct websocket *ws, const char *p, size_t n)
{
    ws->busy++;
    ws->in = p;
    ws->in_len = n;
    ws->pings = 0;
    if (wslay_event_recv(ws->wslay) < 0) {
        end(ws, false);
    }
    ws->in_len = 0;
    pump(ws);
    ws->busy--;
    free_websocket(ws);
}

static void on_data(void *owner, const char *p, size_t n)
{
    feed(owner, p, n);
}

static void on_end(void *owner, int err)
{
    end(owner, false);
}

static const struct stream_handler stream_handler = { .on_data = on_data, .on_end = on_end };

/* Also the limit on how long we wait for the peer's close frame. */
static void on_ping(void *arg)
{
    struct websocket *ws = arg;
    struct wslay_event_msg ping = { .opcode = WSLAY_PING };

    if (ws->closing || ws->pings >= PINGS_UNANSWERED_MAX) {
        end(ws, false);
        return;
    }
    ws->pings++;
    timer_start(&ws->ping, PING_MS);
    wslay_event_queue_msg(ws->wslay, &ping);
    pump(ws);
}

/* In the turn after the upgrade: the owner has the pointer now. */
static void on_begin(void *arg)
{
    struct websocket *ws = arg;

    ws->busy++;
    stream_read_start(ws->stream);
    if (ws->rest.len > 0) {
        feed(ws, buf_data(&ws->rest), ws->rest.len);
    }
    buf_finish(&ws->rest);
    ws->busy--;
    free_websocket(ws);
}

/* The handshake */

/* Sec-WebSocket-Accept: base64 of the SHA-1 of key and the protocol's GUID. */
static void accept_word(struct span key, char out[32])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char text[KEY_BYTES + sizeof(guid)], digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    memcpy(text, key.p, KEY_BYTES);
    memcpy(text + KEY_BYTES, guid, sizeof(guid) - 1);
    EVP_Digest(text, KEY_BYTES + sizeof(guid) - 1, digest, &n, EVP_sha1(), NULL);
    EVP_EncodeBlock((unsigned char *)out, digest, (int)n);
}

static bool refuse(struct http_exchange *x, int status, const char *text)
{
    struct buf body = BUF_INIT(1024);

    if (status == 426) {
        http_exchange_add_header(x, "Upgrade", "websocket");
        http_exchange_add_header(x, "Sec-WebSocket-Version", "13");
    }
    error_body(SHAPE_DETAIL, status, "invalid_request_error", "websocket", text, &body);
    http_respond(x, status, "application/json", buf_span(&body));
    buf_finish(&body);
    return false;
}

/* 16 bytes in base64. */
static bool key_is_valid(struct span key)
{
    unsigned char out[KEY_BYTES];
    char text[KEY_BYTES + 1];

    if (key.n != KEY_BYTES || key.p[22] != '=' || key.p[23] != '=') {
        return false;
    }
    memcpy(text, key.p, KEY_BYTES);
    text[KEY_BYTES] = '\0';
    return EVP_DecodeBlock(out, (unsigned char *)text, KEY_BYTES) >= 0;
}

/* Is the request a good upgrade? If not, it has been answered. */
static bool check_request(struct http_exchange *x)
{
    const struct http_head *head = http_exchange_head(x);

    if (!head->upgrade || !http_header_has_token(head, "Upgrade", "websocket")) {
        return refuse(x, 426, "this is a WebSocket address");
    }
    if (!span_eq(http_header_get(head, "Sec-WebSocket-Version"), "13")) {
        return refuse(x, 426, "WebSocket version 13 is spoken here");
    }
    if (!span_eq(head->method, "GET") ||
        !key_is_valid(http_header_get(head, "Sec-WebSocket-Key"))) {
        return refuse(x, 400, "the WebSocket handshake is not valid");
    }
    return true;
}

struct websocket *websocket_accept(struct http_exchange *x, const struct websocket_options *options,
                                   const struct websocket_handler *handler, void *owner)
{
    struct websocket *ws;
    char word[32],
        lines[160] = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";

    if (!check_request(x)) {
        return NULL;
    }
    accept_word(http_header_get(http_exchange_head(x), "Sec-WebSocket-Key"), word);
    strcat(strcat(lines, word), "\r\n");
    ws = xcalloc(1, sizeof(*ws));
    ws->world = http_exchange_world(x);
    ws->options = options ? *options : (struct websocket_options){ 0 };
    ws->options.max_message = ws->options.max_message ? ws->options.max_message : 64 << 10;
    ws->options.max_queued = ws->options.max_queued ? ws->options.max_queued : 1 << 20;
    ws->handler = handler;
    ws->owner = owner;
    if (wslay_event_context_server_init(&ws->wslay, &callbacks, ws) != 0) {
        abort(); /* out of memory, like xmalloc */
    }
    wslay_event_config_set_max_recv_msg_length(ws->wslay, ws->options.max_message);
    timer_init(&ws->ping, ws->world, "websocket ping", on_ping, ws);
    timer_init(&ws->begin, ws->world, "websocket begin", on_begin, ws);
    ws->stream = http_exchange_upgrade(x, lines, &ws->rest);
    stream_set_handler(ws->stream, &stream_handler, ws);
    timer_start(&ws->ping, PING_MS);
    timer_start(&ws->begin, 0);
    return ws;
}

void websocket_send(struct websocket *ws, struct span text)
{
    struct wslay_event_msg m = { WSLAY_TEXT_FRAME, (const uint8_t *)text.p, text.n };

    if (ws->dead || ws->closing || wslay_event_get_close_sent(ws->wslay)) {
        return;
    }
    if (stream_queued(ws->stream) + wslay_event_get_queued_msg_length(ws->wslay) + text.n >
        ws->options.max_queued) {
        websocket_close(ws, 1013, "too slow");
        return;
    }
    if (wslay_event_queue_msg(ws->wslay, &m) == 0 && ws->busy == 0) {
        wslay_event_send(ws->wslay); /* writes into the stream, never closes; what ends the
                                        connection comes in later turns */
    }
}

void websocket_close(struct websocket *ws, int code, const char *reason)
{
    if (ws->dead || ws->closing) {
        return;
    }
    ws->closing = true;
    wslay_event_queue_close(ws->wslay, (uint16_t)code, (const uint8_t *)reason,
                            reason ? strlen(reason) : 0);
    timer_start(&ws->ping, CLOSE_LIMIT_MS);
    if (ws->busy == 0) {
        wslay_event_send(ws->wslay);
    }
}

struct websocket *websocket_destroy(struct websocket *ws)
{
    if (!ws || ws->dead) {
        return NULL;
    }
    assert(ws->busy == 0);
    ws->dead = true;
    timer_stop(&ws->ping);
    timer_stop(&ws->begin);
    stream_close(ws->stream);
    free_websocket(ws);
    return NULL;
}
