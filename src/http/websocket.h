// SPDX-License-Identifier: Apache-2.0
/*
 * WebSocket (RFC 6455) on a server exchange, framing by wslay. Bounded both ways: a message over
 * max_message closes with 1009, a reader that lets more than max_queued bytes pile up is closed
 * with 1013. Pings every 30 s; no answer for two of them ends the connection.
 */
#pragma once

#include "http/server.h"

struct websocket;

struct websocket_handler {
    void (*on_text)(void *owner, struct span text); /* valid UTF-8, good for the call */
    void (*on_close)(void *owner);                  /* it has ended, the websocket is void */
};

struct websocket_options {
    size_t max_message; /* 0: 64 KiB */
    size_t max_queued;  /* 0: 1 MiB */
};

/* Answers the upgrade request. NULL (with the error answered on x: 400, 426) when it is none; x is
 * void in any case. */
struct websocket *websocket_accept(struct http_exchange *x, const struct websocket_options *options,
                                   const struct websocket_handler *handler, void *owner);
void websocket_send(struct websocket *ws, struct span text);
/* on_close comes when the closing is done, 5 s later at most. */
void websocket_close(struct websocket *ws, int code, const char *reason);
/* Cuts it at once; on_close does not come. Not from inside on_text. Accepts NULL, returns NULL. */
struct websocket *websocket_destroy(struct websocket *ws);
