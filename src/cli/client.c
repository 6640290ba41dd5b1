// SPDX-License-Identifier: Apache-2.0
/*
 * The CLI's way to the daemon: the http room's client in a small real world of its own, run until
 * the answer is there. The daemon of a data directory is reached over its admin socket, another one
 * by its URL and a key.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/world.h"
#include "cli/cli_int.h"
#include "http/client.h"

enum { ANSWER_MAX_BYTES = 64 * 1024 * 1024, SOCKET_PATH_MAX = 100 };

struct client {
    struct world *world;
    struct http_upstream *upstream;
    char *where; /* as it is shown */
};

/* ---- finding the daemon ---- */

int client_parse_url(const char *url, struct address *ret, struct error *reterr)
{
    _cleanup_(freep) char *whole = strstr(url, "://") ? NULL : xasprintf("http://%s", url);
    _cleanup_(freep) char *path = NULL;
    int r = address_parse_url(whole ? whole : url, ret, &path, reterr);

    if (r == 0 && path[0] != '\0') {
        return error_set(reterr, -EINVAL, "'%s' is no http://HOST:PORT: leave '%s' out", url, path);
    }
    return r;
}

/* The admin socket of the data directory. A path too long for a socket address is reached from
 * within the directory. */
static int socket_address(struct cli *cli, struct client *c, struct address *ret,
                          struct error *reterr)
{
    _cleanup_(freep) char *text = NULL;

    c->where = xasprintf("%s/berth.sock", cli->data_dir);
    if (strlen(c->where) < SOCKET_PATH_MAX) {
        text = xasprintf("unix:%s", c->where);
        return address_parse(text, ret, reterr);
    }
    if (chdir(cli->data_dir) < 0) {
        return error_set(reterr, -errno, "cannot enter %s: %s", cli->data_dir, strerror(errno));
    }
    return address_parse("unix:berth.sock", ret, reterr);
}

static int client_open(struct cli *cli, struct error *reterr)
{
    struct http_upstream_options options = { 0 };
    struct client *c;
    int r;

    if (cli->client) {
        return 0;
    }
    log_set_level(LOG_ERROR); /* a slow turn of ours is nobody's business */
    c = cli->client = xcalloc(1, sizeof(*c));
    if (cli->url) {
        c->where = xstrdup(cli->url);
        r = client_parse_url(cli->url, &options.where, reterr);
    } else {
        r = socket_address(cli, c, &options.where, reterr);
    }
    if (r < 0) {
        client_destroy(TAKE_PTR(cli->client));
        return r;
    }
    c->world = world_create();
    c->upstream = http_upstream_create(c->world, &options);
    return 0;
}

void client_destroy(struct client *c)
{
    if (!c) {
        return;
    }
    http_upstream_destroy(c->upstream);
    world_destroy(c->world);
    free(c->where);
    free(c);
}

/* ---- whole answers ---- */

struct waiting {
    struct client *client;
    struct reply *reply;
    struct error *error;
    int result;
};

static void on_answer(void *owner, int result, int status, struct span body, const struct error *e)
{
    struct waiting *w = owner;

    w->result = result;
    if (result < 0) {
        *w->error = *e;
    } else {
        w->reply->status = status;
        w->reply->body = xstrndup(body.p ? body.p : "", body.n);
        w->reply->json = json_loads(w->reply->body, JSON_DECODE_ANY, NULL);
    }
    world_stop(w->client->world);
}

static char *call_headers(const struct cli *cli, const char *more)
{
    const bool key = cli->key && cli->url;

    return xasprintf("%s%s%s%s", key ? "Authorization: Bearer " : "", key ? cli->key : "",
                     key ? "\r\n" : "", more ? more : "");
}

static int explain(struct cli *cli, int r, struct error *e)
{
    if (cli->url && r == -ECONNREFUSED) {
        return error_prefix(e, "no berth answers at %s: ", cli->client->where);
    }
    if (r == -ECONNREFUSED || r == -ENOENT) {
        return error_set(e, -ECONNREFUSED, "no berth answers at %s; 'berth serve' starts one",
                         cli->client->where);
    }
    return error_prefix(e, "%s: ", cli->client->where);
}

/* One request, until its answer is whole. */
static int call(struct cli *cli, const struct cli_request *request, struct reply *ret,
                struct error *reterr)
{
    _cleanup_(freep) char *headers = call_headers(cli, request->headers);
    const struct http_call_request http = { .method = request->method,
                                            .path = request->path,
                                            .headers = headers,
                                            .body = request->body,
                                            .body_parts = request->body_parts };
    struct reply reply = { 0 };
    struct error e = { 0 };
    struct waiting w = { .reply = &reply, .error = &e };
    int r = client_open(cli, reterr);

    if (r < 0) {
        return r;
    }
    w.client = cli->client;
    http_fetch_start(cli->client->upstream, &http, ANSWER_MAX_BYTES, on_answer, &w);
    world_run(cli->client->world);
    if (w.result < 0) {
        r = explain(cli, w.result, &e);
        return error_set(reterr, r, "%s", e.text);
    }
    *ret = reply;
    return 0;
}

int cli_call(struct cli *cli, const char *method, const char *path, json_t *body, struct reply *ret,
             struct error *reterr)
{
    _cleanup_(freep) char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    const struct span part = span_of(text);
    const struct cli_request request = {
        .method = method,
        .path = path,
        .headers = text ? CLI_JSON_HEADERS : "Accept: application/json\r\n",
        .body = &part,
        .body_parts = text ? 1 : 0,
    };

    return call(cli, &request, ret, reterr);
}

void reply_finish(struct reply *r)
{
    free(r->body);
    json_decref(r->json);
    *r = (struct reply){ 0 };
}

// clang-format off
static const struct {
    int status, code;
} status_codes[] = {
    { 400, -EINVAL }, { 401, -EACCES },  { 403, -EPERM },  { 404, -ENOENT },       { 405, -EOPNOTSUPP },
    { 408, -ETIME },  { 409, -EEXIST },  { 413, -EFBIG },  { 415, -EMEDIUMTYPE },  { 422, -EDOM },
    { 429, -EAGAIN }, { 503, -ENODEV },  { 504, -ETIMEDOUT },
};
// clang-format on

int exit_code_of_status(int status)
{
    for (size_t i = 0; i < ARRAY_SIZE(status_codes); i++) {
        if (status_codes[i].status == status) {
            return error_kind(status_codes[i].code)->exit_code;
        }
    }
    return error_kind(-EIO)->exit_code;
}

/* The sentence of an error answer, whatever shape it has; owned by the caller. */
static char *answer_text(const json_t *json, int status)
{
    const json_t *detail = json_object_get(json, "detail"), *first = json_array_get(detail, 0);
    const char *text = json_string_value(detail);

    if (!text) {
        text = member_str(json_object_get(json, "error"), "message", NULL);
    }
    if (!text) {
        text = member_str(json, "error", NULL); /* Ollama's doors, the proxy's */
    }
    if (!text) {
        text = member_str(json, "message", NULL); /* the tasks' envelope, the Task Instances' */
    }
    if (first) {
        const char *where = json_string_value(json_array_get(json_object_get(first, "loc"), 1));

        return xasprintf("%s%s%s", where ? where : "", where ? ": " : "",
                         member_str(first, "msg", "refused"));
    }
    return text ? xstrdup(text) : xasprintf("the daemon answered with status %d", status);
}

/* Says what is wrong with it, if anything is, and finishes it then. 0 or the exit code. */
static int check_answer(int r, const struct error *e, struct reply *reply)
{
    _cleanup_(freep) char *text = NULL;
    int code;

    if (r < 0) {
        complain("%s", e->text);
        return error_kind(r)->exit_code;
    }
    if (reply->status < 400) {
        return 0;
    }
    text = answer_text(reply->json, reply->status);
    complain("%s", text);
    code = exit_code_of_status(reply->status);
    reply_finish(reply);
    return code;
}

int cli_ask(struct cli *cli, const char *method, const char *path, json_t *body, struct reply *ret)
{
    struct error e = { 0 };
    const int r = cli_call(cli, method, path, body, ret, &e);

    return check_answer(r, &e, ret);
}

int cli_send(struct cli *cli, const struct cli_request *request, struct reply *ret)
{
    struct error e = { 0 };
    const int r = call(cli, request, ret, &e);

    return check_answer(r, &e, ret);
}

/* ---- streams ---- */

struct streaming {
    struct client *client;
    struct http_call *call; /* NULL once it has ended */
    struct timer watch;     /* of whether anybody still reads what we print */
    const struct cli_stream *what;
    int status;
    struct buf bad; /* the body of an error answer */
    struct error error;
};

static void on_head(void *owner, const struct http_head *head)
{
    ((struct streaming *)owner)->status = head->status;
}

static void on_body(void *owner, const char *p, size_t n)
{
    struct streaming *s = owner;

    if (s->status >= 400) {
        buf_append(&s->bad, p, n);
    } else {
        s->what->on_data(s->what->arg, p, n);
    }
}

static void on_end(void *owner)
{
    struct streaming *s = owner;

    s->call = NULL;
    world_stop(s->client->world);
}

static void on_fail(void *owner, const struct error *e)
{
    struct streaming *s = owner;

    s->call = NULL;
    s->error = *e;
    world_stop(s->client->world);
}

enum { WATCH_MS = 100 };

static void on_watch(void *arg)
{
    struct streaming *s = arg;
    struct pollfd out = { .fd = STDOUT_FILENO };

    if ((poll(&out, 1, 0) == 1 && (out.revents & (POLLERR | POLLHUP))) ||
        (s->what->on_tick && !s->what->on_tick(s->what->arg))) {
        world_stop(s->client->world);
    } else {
        timer_start(&s->watch, WATCH_MS);
    }
}

static const struct http_call_handler stream_handler = {
    .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_fail = on_fail
};

static int stream_result(struct cli *cli, struct streaming *s)
{
    if (s->error.code < 0) {
        const int r = explain(cli, s->error.code, &s->error);

        complain("%s", s->error.text);
        return error_kind(r)->exit_code;
    }
    if (s->status >= 400) {
        json_t *json = json_loads(buf_data(&s->bad), 0, NULL);
        _cleanup_(freep) char *text = answer_text(json, s->status);

        json_decref(json);
        complain("%s", text);
        return exit_code_of_status(s->status);
    }
    return 0;
}

int cli_stream_with(struct cli *cli, const struct cli_stream *what)
{
    _cleanup_(freep) char *all = call_headers(cli, what->headers);
    const struct http_call_request request = { .method = "GET",
                                               .path = what->path,
                                               .headers = all };
    struct streaming s = { .what = what, .bad = BUF_INIT(64 * 1024) };
    struct error e = { 0 };
    int code, r = client_open(cli, &e);

    if (r < 0) {
        complain("%s", e.text);
        return error_kind(r)->exit_code;
    }
    s.client = cli->client;
    s.call = http_call_start(cli->client->upstream, &request, &stream_handler, &s);
    timer_init(&s.watch, cli->client->world, "stdout", on_watch, &s);
    timer_start(&s.watch, WATCH_MS);
    world_run(cli->client->world);
    timer_stop(&s.watch);
    if (s.call) {
        http_call_cancel(s.call);
    }
    code = stream_result(cli, &s);
    buf_finish(&s.bad);
    return code;
}

int cli_stream(struct cli *cli, const char *path, const char *headers,
               void (*on_data)(void *arg, const char *p, size_t n), void *arg)
{
    return cli_stream_with(
        cli,
        &(struct cli_stream){ .path = path, .headers = headers, .on_data = on_data, .arg = arg });
}

char *cli_path(const char *before, const char *value, const char *after)
{
    struct buf b = BUF_INIT(64 * 1024);
    char *path;

    for (const unsigned char *p = (const unsigned char *)value; *p; p++) {
        if ((*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') ||
            strchr("-._~", *p)) {
            buf_putc(&b, (char)*p);
        } else {
            buf_printf(&b, "%%%02X", *p);
        }
    }
    path = xasprintf("%s%s%s", before, buf_data(&b), after);
    buf_finish(&b);
    return path;
}
