// SPDX-License-Identifier: Apache-2.0
/* Reading a request's body: one pass, no tree; the only edit is stream_options.include_usage. */
#include "gateway/request.h"

#include <stdlib.h>

#include "base/mem.h"
#include "codec/scan.h"

enum { BYTES_PER_TOKEN = 4, DEFAULT_OUTPUT_TOKENS = 256, MOST_TOKENS = 10 * 1000 * 1000 };

enum { F_MODEL, F_STREAM, F_OPTIONS, F_USAGE, F_MAX_TOKENS, F_MAX_COMPLETION, F_COUNT };

static const char *const names[F_COUNT] = {
    [F_MODEL] = "model",
    [F_STREAM] = "stream",
    [F_OPTIONS] = "stream_options",
    [F_USAGE] = "stream_options.include_usage",
    [F_MAX_TOKENS] = "max_tokens",
    [F_MAX_COMPLETION] = "max_completion_tokens",
};

static bool given(const struct scan_member *m)
{
    return m->type != SCAN_ABSENT && m->type != SCAN_NULL;
}

static int read_model(const struct scan_member *m, char **ret, struct error *reterr)
{
    int r;

    if (!given(m)) {
        return error_set(reterr, -EINVAL, "you must provide a model parameter");
    }
    r = scan_string(m, ret, reterr);
    if (r == 0 && !**ret) {
        return error_set(reterr, -EINVAL, "'model' must not be empty");
    }
    return r;
}

static int read_flag(const struct scan_member *m, bool *ret, struct error *reterr)
{
    return given(m) ? scan_bool(m, ret, reterr) : 0;
}

/* The token limit, when it is a sane number; what is wrong with it otherwise is for the engine to
 * say. */
static uint32_t expected_tokens(const struct scan_member *f, size_t body_bytes)
{
    uint64_t prompt = body_bytes / BYTES_PER_TOKEN;
    int64_t limit = DEFAULT_OUTPUT_TOKENS, v;

    for (int i = F_MAX_TOKENS; i <= F_MAX_COMPLETION; i++) {
        if (f[i].type == SCAN_NUMBER && scan_int(&f[i], &v, NULL) == 0 && v >= 0) {
            limit = MIN_OF(v, (int64_t)MOST_TOKENS);
        }
    }
    return (uint32_t)MIN_OF(prompt, (uint64_t)MOST_TOKENS) + (uint32_t)limit;
}

/* body with [from, to) replaced by text */
static void splice(struct gateway_request *r, struct span body, const char *from, const char *to,
                   struct span text)
{
    r->parts[0] = (struct span){ body.p, (size_t)(from - body.p) };
    r->parts[1] = text;
    r->parts[2] = (struct span){ to, (size_t)(body.p + body.n - to) };
    r->part_count = 3;
}

static void add_usage(struct gateway_request *r, struct span body, const struct scan_member *f)
{
    r->added_usage = true;
    if (given(&f[F_USAGE]) || f[F_USAGE].type == SCAN_NULL) {
        struct span v = f[F_USAGE].value;

        splice(r, body, v.p, v.p + v.n, SPAN("true"));
    } else if (f[F_OPTIONS].type == SCAN_OBJECT) {
        struct scan_opening o = scan_opening(f[F_OPTIONS].value);

        splice(r, body, o.at, o.at,
               o.empty ? SPAN("\"include_usage\":true") : SPAN("\"include_usage\":true,"));
    } else if (f[F_OPTIONS].type == SCAN_NULL) {
        struct span v = f[F_OPTIONS].value;

        splice(r, body, v.p, v.p + v.n, SPAN("{\"include_usage\":true}"));
    } else {
        struct scan_opening o = scan_opening(body);

        /* Never empty: it has a model. */
        splice(r, body, o.at, o.at, SPAN("\"stream_options\":{\"include_usage\":true},"));
    }
}

int gateway_request_read(struct span body, bool may_add_usage, struct gateway_request *ret,
                         struct error *reterr)
{
    struct scan_member f[F_COUNT];
    struct gateway_request r = { .parts = { body }, .part_count = 1 };
    int n;

    for (int i = 0; i < F_COUNT; i++) {
        f[i] = (struct scan_member){ .name = names[i] };
    }
    n = scan_object(body, f, F_COUNT, reterr);
    if (n < 0) {
        return n;
    }
    n = read_model(&f[F_MODEL], &r.model, reterr);
    if (n == 0) {
        n = read_flag(&f[F_STREAM], &r.stream, reterr);
    }
    if (n == 0 && given(&f[F_OPTIONS]) && f[F_OPTIONS].type != SCAN_OBJECT) {
        n = error_set(reterr, -EINVAL, "'stream_options' must be an object");
    }
    if (n == 0) {
        n = read_flag(&f[F_USAGE], &r.asked_for_usage, reterr);
    }
    if (n < 0) {
        gateway_request_finish(&r);
        return n;
    }
    r.tokens = expected_tokens(f, body.n);
    if (may_add_usage && r.stream && !r.asked_for_usage) {
        add_usage(&r, body, f);
    }
    *ret = r;
    return 0;
}

void gateway_request_finish(struct gateway_request *r)
{
    free(r->model);
    r->model = NULL;
}
