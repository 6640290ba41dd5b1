// SPDX-License-Identifier: Apache-2.0
/*
 * Ollama's door on any bytes: the first byte says which request it is; up to a NUL stands the
 * client's body, after it the engine's answer, of which each line is also an event of a stream.
 * What is taken becomes one JSON object for the engine; every line for the client is one, too.
 */
#include <stdlib.h>

#include "codec/scan.h"
#include "gateway/translation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_object(struct span text)
{
    if (scan_object(text, NULL, 0, NULL) < 0) {
        abort();
    }
}

static void check_lines(struct buf *out)
{
    struct span rest = buf_span(out);

    while (rest.p && rest.n > 0) {
        struct span line = span_cut(&rest, '\n');

        if (line.n > 0) {
            check_object(line);
        }
    }
    buf_clear(out);
}

static void answer(const struct translation *t, void *state, struct span engine)
{
    struct buf out = BUF_INIT(1 << 22);
    struct span rest = engine;
    struct error e;

    if (t->whole(state, engine, 2000, 1700000000000, &out, &e) == 0) {
        check_object(buf_span(&out));
    }
    buf_clear(&out);
    while (rest.p) {
        t->event(state, span_cut(&rest, '\n'), 3000, 1700000000000, &out);
        check_lines(&out);
    }
    t->stream_error(state, "it \"broke\"", &out);
    check_lines(&out);
    buf_finish(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct translation *const all[] = { &ollama_chat, &ollama_generate, &ollama_embed,
                                                     &ollama_embeddings };
    struct translated request = { 0 };
    struct span rest = { (const char *)data + 1, size - 1 };
    const struct translation *t;
    struct span body;

    if (size < 1) {
        return 0;
    }
    t = all[data[0] % 4];
    body = span_cut(&rest, '\0');
    if (t->read(body, 1000, &request, NULL) < 0) {
        return 0;
    }
    if (request.body) {
        check_object((struct span){ request.body, request.body_len });
    }
    if (request.stream || rest.p) {
        answer(t, request.state, rest.p ? rest : SPAN("{}"));
    }
    translated_finish(&request);
    return 0;
}
