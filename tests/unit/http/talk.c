// SPDX-License-Identifier: Apache-2.0
/* The peer by hand. */
#include "talk.h"

#include <string.h>

static void on_data(void *owner, const char *p, size_t n)
{
    struct talk *t = owner;

    buf_append(&t->got, p, n);
}

static void on_end(void *owner, int err)
{
    struct talk *t = owner;

    t->ended = true;
    t->end_err = err;
}

static const struct stream_handler handler = { .on_data = on_data, .on_end = on_end };

void talk_take(struct talk *t, struct stream *s)
{
    if (t->got.max == 0) {
        buf_init(&t->got, 256 << 20);
    }
    t->stream = s;
    t->ended = false;
    stream_set_handler(s, &handler, t);
    talk_read(t, !t->deaf);
}

static void on_connect(void *owner, struct stream *s, const struct error *e)
{
    struct talk *t = owner;

    t->connecting = NULL;
    t->refused = e ? e->code : 0;
    if (s) {
        talk_take(t, s);
    }
}

static bool is_connected(void *arg)
{
    struct talk *t = arg;

    return !t->connecting;
}

void talk_connect(struct talk *t, struct world *w, const struct address *where)
{
    t->connecting = stream_connect(w, where, on_connect, t);
    sim_run_until(w, is_connected, t, 1000);
}

void talk_send(struct talk *t, const char *text)
{
    stream_write(t->stream, text, strlen(text));
}

void talk_send_bytes(struct talk *t, const void *p, size_t n)
{
    stream_write(t->stream, p, n);
}

void talk_read(struct talk *t, bool on)
{
    t->deaf = !on;
    if (on) {
        stream_read_start(t->stream);
    } else {
        stream_read_stop(t->stream);
    }
}

bool talk_has(const struct talk *t, const char *text)
{
    return talk_count(t, text) > 0;
}

int talk_count(const struct talk *t, const char *text)
{
    const char *p = buf_data(&t->got), *end = p + t->got.len;
    int n = 0;

    while ((p = memmem(p, (size_t)(end - p), text, strlen(text)))) {
        n++;
        p += strlen(text);
    }
    return n;
}

void talk_forget(struct talk *t)
{
    buf_clear(&t->got);
}

void talk_close(struct talk *t)
{
    if (t->connecting) {
        stream_connect_cancel(t->connecting);
    }
    stream_close(t->stream);
    buf_finish(&t->got);
    *t = (struct talk){ 0 };
}
