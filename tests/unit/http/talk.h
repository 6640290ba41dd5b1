// SPDX-License-Identifier: Apache-2.0
/* A peer by hand for the tests: one end of a connection that sends raw bytes and keeps what comes.
 */
#pragma once

#include "base/buf.h"
#include "base/sim.h"
#include "base/stream.h"

struct talk {
    struct stream *stream;
    struct stream_connecting *connecting;
    struct buf got;
    bool ended;
    int end_err, refused;
    bool deaf; /* does not read */
};

/* Connects in the simulated world; runs it until that is done. */
void talk_connect(struct talk *t, struct world *w, const struct address *where);
/* Takes a stream that was accepted. */
void talk_take(struct talk *t, struct stream *s);
void talk_send(struct talk *t, const char *text);
void talk_send_bytes(struct talk *t, const void *p, size_t n);
void talk_read(struct talk *t, bool on);
/* Does `text` stand in what came? */
bool talk_has(const struct talk *t, const char *text);
/* How often. */
int talk_count(const struct talk *t, const char *text);
void talk_forget(struct talk *t); /* what came so far */
void talk_close(struct talk *t);
