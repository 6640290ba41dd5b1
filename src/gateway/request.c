// SPDX-License-Identifier: Apache-2.0
/* Reading a request's body: one pass, no tree. Edits are kept in the order of their places, and
 * never overlap. */
#include "gateway/request.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/mem.h"
#include "codec/scan.h"
#include "models/models.h"

enum { BYTES_PER_TOKEN = 4, MOST_TOKENS = 10 * 1000 * 1000 };

enum {
    F_MODEL,
    F_STREAM,
    F_OPTIONS,
    F_USAGE,
    F_MAX_TOKENS,
    F_MAX_COMPLETION,
    F_MAX_OUTPUT,
    F_KEEP_ALIVE,
    F_TTL,
    F_SYSTEM,
    F_INSTRUCTIONS,
    F_MESSAGES,
    F_PROMPT,
    F_INPUT,
    F_CACHE_KEY,
    F_USER,
    F_COUNT
};

static const char *const names[F_COUNT] = {
    [F_MODEL] = "model",
    [F_STREAM] = "stream",
    [F_OPTIONS] = "stream_options",
    [F_USAGE] = "stream_options.include_usage",
    [F_MAX_TOKENS] = "max_tokens",
    [F_MAX_COMPLETION] = "max_completion_tokens",
    [F_MAX_OUTPUT] = "max_output_tokens",
    [F_KEEP_ALIVE] = "keep_alive",
    [F_TTL] = "ttl",
    [F_SYSTEM] = "system",
    [F_INSTRUCTIONS] = "instructions",
    [F_MESSAGES] = "messages",
    [F_PROMPT] = "prompt",
    [F_INPUT] = "input",
    [F_CACHE_KEY] = "prompt_cache_key",
    [F_USER] = "user",
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

static int read_options(const struct scan_member *f, bool *ret_usage, struct error *reterr)
{
    if (given(&f[F_OPTIONS]) && f[F_OPTIONS].type != SCAN_OBJECT) {
        return error_set(reterr, -EINVAL, "'stream_options' must be an object");
    }
    return read_flag(&f[F_USAGE], ret_usage, reterr);
}

/* What it will cost */

static uint32_t prompt_guess(size_t body_bytes)
{
    return (uint32_t)MIN_OF(body_bytes / BYTES_PER_TOKEN, (size_t)MOST_TOKENS);
}

/* The token limit, when it is a sane number; what is wrong with it otherwise is for the engine to
 * say. -1: there is none. */
static int64_t output_limit(const struct scan_member *f)
{
    int64_t limit = -1, v;

    for (int i = F_MAX_TOKENS; i <= F_MAX_OUTPUT; i++) {
        if (f[i].type == SCAN_NUMBER && scan_int(&f[i], &v, NULL) == 0 && v >= 0) {
            limit = MIN_OF(v, (int64_t)MOST_TOKENS);
        }
    }
    return limit;
}

static void expect_work(struct gateway_request *r, const struct scan_member *f)
{
    int64_t limit = output_limit(f);

    r->prompt_tokens = prompt_guess(r->body.n);
    r->output_limit = limit > 0 ? (uint32_t)limit : 0;
    r->tokens = r->prompt_tokens + (limit < 0 ? UNLIMITED_OUTPUT_TOKENS : (uint32_t)limit);
}

/* What it has in common with others */

uint64_t session_hash(struct span name)
{
    uint64_t h = 14695981039346656037ULL;

    for (size_t i = 0; i < name.n; i++) {
        h = (h ^ (unsigned char)name.p[i]) * 1099511628211ULL;
    }
    return h ? h : 1;
}

static uint64_t session_of(const struct scan_member *f)
{
    for (int i = F_CACHE_KEY; i <= F_USER; i++) {
        if (f[i].type == SCAN_STRING && f[i].value.n > 2) {
            return session_hash((struct span){ f[i].value.p + 1, f[i].value.n - 2 });
        }
    }
    return 0;
}

/* A system prompt that stands apart belongs to it where it stands before. */
static struct span prompt_of(const struct scan_member *f)
{
    for (int i = F_MESSAGES; i <= F_INPUT; i++) {
        struct span prompt = f[i].value;

        for (int s = F_SYSTEM; given(&f[i]) && s <= F_INSTRUCTIONS; s++) {
            if (given(&f[s]) && f[s].value.p < prompt.p) {
                prompt.n += (size_t)(prompt.p - f[s].value.p);
                prompt.p = f[s].value.p;
            }
        }
        if (given(&f[i])) {
            return prompt;
        }
    }
    return (struct span){ 0 };
}

/* keep_alive */

static int parse_keep_alive(const struct scan_member *m, int64_t *ret_ms, struct error *reterr)
{
    json_t *value;
    int r;

    if (m->type != SCAN_NUMBER && m->type != SCAN_STRING) {
        return error_set(reterr, -EINVAL, "'%s' must be a number of seconds or a duration",
                         m->name);
    }
    value = json_loadb(m->value.p, m->value.n, JSON_DECODE_ANY, NULL);
    if (!value) {
        return error_set(reterr, -EINVAL, "'%s' is not a number that can be read", m->name);
    }
    r = keep_alive_parse(value, ret_ms, reterr);
    json_decref(value);
    return r;
}

/* Either of the two names; both would leave no comma that belongs to one of them only. */
static int read_keep_alive(struct gateway_request *r, const struct scan_member *f,
                           struct error *reterr)
{
    const struct scan_member *m = f[F_TTL].type != SCAN_ABSENT ? &f[F_TTL] : &f[F_KEEP_ALIVE];
    struct span cut;
    int n;

    if (m->type == SCAN_ABSENT) {
        return 0;
    }
    if (m == &f[F_TTL] && f[F_KEEP_ALIVE].type != SCAN_ABSENT) {
        return error_set(reterr, -EINVAL, "give 'keep_alive' or 'ttl', not both");
    }
    if (given(m)) {
        n = parse_keep_alive(m, &r->keep_alive_ms, reterr);
        if (n < 0) {
            return n;
        }
        r->has_keep_alive = true;
        if (m == &f[F_TTL] && r->keep_alive_ms == 0) {
            r->keep_alive_ms = KEEP_ALIVE_FOREVER;
        }
    }
    cut = scan_cut(m);
    r->edits[r->edit_count++] = (struct body_edit){ cut.p, cut.p + cut.n, { NULL, 0 } };
    return 0;
}

/* The usage that we want to know */

static struct body_edit replacing(struct span value, struct span text)
{
    return (struct body_edit){ value.p, value.p + value.n, text };
}

static struct body_edit usage_edit(struct span body, const struct scan_member *f)
{
    struct scan_opening o;

    if (f[F_USAGE].type != SCAN_ABSENT) {
        return replacing(f[F_USAGE].value, SPAN("true"));
    }
    if (f[F_OPTIONS].type == SCAN_NULL) {
        return replacing(f[F_OPTIONS].value, SPAN("{\"include_usage\":true}"));
    }
    if (f[F_OPTIONS].type == SCAN_OBJECT) {
        o = scan_opening(f[F_OPTIONS].value);
        return (struct body_edit){ o.at, o.at,
                                   o.empty ? SPAN("\"include_usage\":true")
                                           : SPAN("\"include_usage\":true,") };
    }
    o = scan_opening(body); /* never empty: it has a model, which stays */
    return (struct body_edit){ o.at, o.at, SPAN("\"stream_options\":{\"include_usage\":true},") };
}

/* The whole */

static int take_members(struct gateway_request *r, const struct scan_member *f,
                        struct error *reterr)
{
    int n = read_model(&f[F_MODEL], &r->model, reterr);

    if (n == 0) {
        n = read_flag(&f[F_STREAM], &r->stream, reterr);
    }
    if (n == 0) {
        n = read_options(f, &r->asked_for_usage, reterr);
    }
    if (n == 0) {
        n = read_keep_alive(r, f, reterr);
    }
    return n;
}

int gateway_request_read(struct span body, bool add_usage, struct gateway_request *ret,
                         struct error *reterr)
{
    struct scan_member f[F_COUNT];
    struct gateway_request r = { .body = body };
    int n;

    for (int i = 0; i < F_COUNT; i++) {
        f[i] = (struct scan_member){ .name = names[i] };
    }
    n = scan_object(body, f, F_COUNT, reterr);
    if (n < 0) {
        return n;
    }
    n = take_members(&r, f, reterr);
    if (n < 0) {
        gateway_request_finish(&r);
        return n;
    }
    r.model_value = f[F_MODEL].value;
    expect_work(&r, f);
    r.session = session_of(f);
    r.prompt = prompt_of(f);
    if (add_usage && r.stream && !r.asked_for_usage) {
        r.added_usage = true;
        r.edits[r.edit_count++] = usage_edit(body, f);
    }
    *ret = r;
    gateway_request_compose(ret, (struct span){ 0 });
    return 0;
}

void gateway_request_opaque(struct span body, struct gateway_request *ret)
{
    *ret = (struct gateway_request){
        .body = body,
        .tokens = prompt_guess(body.n) + UNLIMITED_OUTPUT_TOKENS,
        .prompt_tokens = prompt_guess(body.n),
        .parts = { body },
        .part_count = body.n > 0,
    };
}

/* Of two at one place the insertion stands first. */
static bool stands_before(const struct body_edit *a, const struct body_edit *b)
{
    return a->from < b->from || (a->from == b->from && a->to < b->to);
}

static void insert_edit(struct body_edit *edits, size_t count, struct body_edit edit)
{
    for (; count > 0 && stands_before(&edit, &edits[count - 1]); count--) {
        edits[count] = edits[count - 1];
    }
    edits[count] = edit;
}

static void add_part(struct gateway_request *r, const char *p, size_t n)
{
    if (n > 0) {
        r->parts[r->part_count++] = (struct span){ p, n };
    }
}

void gateway_request_compose(struct gateway_request *r, struct span model_text)
{
    struct body_edit edits[BODY_EDITS_MAX];
    const char *at = r->body.p;
    size_t count = 0;

    for (; count < r->edit_count; count++) {
        insert_edit(edits, count, r->edits[count]);
    }
    if (model_text.p) {
        insert_edit(edits, count++, replacing(r->model_value, model_text));
    }
    r->part_count = 0;
    for (size_t i = 0; i < count; i++) {
        add_part(r, at, (size_t)(edits[i].from - at));
        add_part(r, edits[i].text.p, edits[i].text.n);
        at = edits[i].to;
    }
    add_part(r, at, (size_t)(r->body.p + r->body.n - at));
}

void gateway_request_finish(struct gateway_request *r)
{
    free(r->model);
    r->model = NULL;
}
