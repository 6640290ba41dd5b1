// SPDX-License-Identifier: Apache-2.0
/* Requests without a prompt: Ollama's way to load a model before it is needed, or to unload it. */
#include "gateway/relay_int.h"

enum { NOTHING_MAX = 64 * 1024 };

void relay_answer_nothing(struct relay *r)
{
    struct world *w = r->gateway->in.world;
    const struct translation *t = r->endpoint->translation;
    struct buf out = BUF_INIT(NOTHING_MAX);
    struct error e = { 0 };

    if (t->whole(r->translated.state, (struct span){ 0 }, world_now_us(w), world_wall_ms(w), &out,
                 &e) < 0) {
        buf_finish(&out);
        relay_fail(r, -EPROTO, NULL, e.text);
        return;
    }
    relay_add_served(r);
    r->record.response_bytes = out.len;
    http_respond(TAKE_PTR(r->x), 200, r->translated.stream ? t->stream_type : "application/json",
                 buf_span(&out));
    buf_finish(&out);
    relay_finish(r, 200);
}
