// SPDX-License-Identifier: Apache-2.0
/* Requests without a prompt: Ollama's way to load a model before it is needed, or to unload it. */
#include <stdlib.h>

#include "base/mem.h"
#include "gateway/relay_int.h"

enum { NOTHING_MAX = 64 * 1024 };

/* A change of the catalogue that a relay waits for. */
struct unloading {
    struct relay *relay; /* NULL: its client left */
};

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

static void on_unloaded(void *arg, int result, int64_t id, const struct error *e)
{
    struct unloading *u = arg;
    struct relay *r = u->relay;

    free(u);
    if (!r) {
        return;
    }
    r->unloading = NULL;
    if (result < 0) {
        relay_fail(r, result, NULL, e->text);
    } else {
        relay_answer_nothing(r);
    }
}

void relay_unload(struct relay *r)
{
    r->unloading = xcalloc(1, sizeof(*r->unloading));
    r->unloading->relay = r;
    models_set_wanted(r->gateway->in.models, r->model_id, false, WISH_USER, on_unloaded,
                      r->unloading);
}

void relay_forget_unloading(struct relay *r)
{
    if (r->unloading) {
        r->unloading->relay = NULL;
        r->unloading = NULL;
    }
}
