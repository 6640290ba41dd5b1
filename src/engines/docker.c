// SPDX-License-Identifier: Apache-2.0
/* Requests to the Docker Engine API. */
#include "engines/docker.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

enum { ANSWER_MAX = 4 << 20, VERSION_LIMIT_MS = 10 * 1000, VERSION_SIZE = 16 };

/* The version in whose words we speak; older and newer engines are met in theirs. */
static const unsigned spoken[2] = { 1, 41 };

struct docker {
    struct world *world;
    struct http_upstream *upstream;
    char *socket;
    char version[VERSION_SIZE]; /* "/v1.41"; "" before it is known */
};

struct docker_call {
    struct docker *docker;
    struct http_fetch *fetch;
    char *body; /* of the request */
    struct span span;
    bool asks_version;
    docker_fn done;
    void *owner;
};

struct docker *docker_create(struct world *w, const char *socket)
{
    struct docker *d = xcalloc(1, sizeof(*d));
    struct http_upstream_options options = { .where.is_unix = true, .host = "docker" };

    d->world = w;
    d->socket = xstrdup(socket);
    snprintf(options.where.path, sizeof(options.where.path), "%s", socket);
    d->upstream = http_upstream_create(w, &options);
    return d;
}

struct docker *docker_destroy(struct docker *d)
{
    if (d) {
        http_upstream_destroy(d->upstream);
        free(d->socket);
        free(d);
    }
    return NULL;
}

/* ---- the version */

static bool read_version(const json_t *body, const char *member, unsigned ret[2])
{
    const char *text = json_string_value(json_object_get(body, member));

    return text && sscanf(text, "%u.%u", &ret[0], &ret[1]) == 2;
}

static bool is_below(const unsigned a[2], const unsigned b[2])
{
    return a[0] < b[0] || (a[0] == b[0] && a[1] < b[1]);
}

static void settle_version(struct docker *d, const json_t *body)
{
    unsigned newest[2], oldest[2];
    const unsigned *use = spoken;

    if (!read_version(body, "ApiVersion", newest)) {
        return; /* paths without a version mean its own */
    }
    if (is_below(newest, use)) {
        use = newest;
    } else if (read_version(body, "MinAPIVersion", oldest) && is_below(use, oldest)) {
        use = oldest;
    }
    snprintf(d->version, sizeof(d->version), "/v%u.%u", use[0] % 1000, use[1] % 1000);
}

/* ---- requests */

/* "the container engine at /var/run/docker.sock does not answer: …" */
static void tell_silence(const struct docker *d, const struct error *why, struct error *ret)
{
    error_set(ret, why->code, "the container engine at %s does not answer: %s", d->socket,
              why->text);
}

/* Docker: {"message": …}; podman adds a cause and a response, and repeats itself in the message. */
static void refusal(int status, const json_t *body, struct span text, struct error *ret)
{
    const char *message = json_string_value(json_object_get(body, "message"));

    if (message && *message) {
        error_set(ret, -EPROTO, "%s", message);
    } else {
        text = span_trim(text);
        error_set(ret, -EPROTO, "the container engine answered with status %d%s%.*s", status,
                  text.n ? ": " : "", (int)MIN_OF(text.n, (size_t)200), text.n ? text.p : "");
    }
}

static void on_answer(void *owner, int result, int status, struct span body, const struct error *e)
{
    struct docker_call *call = owner;
    struct docker *d = call->docker;
    docker_fn done = call->done;
    void *done_owner = call->owner;
    bool asks_version = call->asks_version;
    json_t *json = NULL;
    struct error err = { 0 };

    call->fetch = NULL;
    docker_cancel(call);
    if (result < 0) {
        tell_silence(d, e, &err);
        done(done_owner, 0, NULL, &err);
        return;
    }
    if (body.n) {
        json = json_loadb(body.p, body.n, JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK, NULL);
    }
    if (status >= 400) {
        refusal(status, json, body, &err);
    } else if (asks_version) {
        settle_version(d, json);
    }
    done(done_owner, status, json, status >= 400 ? &err : NULL);
    json_decref(json);
}

struct docker_call *docker_ask(struct docker *d, const char *method, const char *path,
                               const json_t *body, uint64_t limit_ms, docker_fn done, void *owner)
{
    struct docker_call *call = xcalloc(1, sizeof(*call));
    char full[DOCKER_PATH_MAX + VERSION_SIZE];
    struct http_call_request request = {
        .method = method,
        .path = full,
        .head_timeout_ms = limit_ms,
        .idle_timeout_ms = limit_ms,
    };

    *call = (struct docker_call){ .docker = d, .done = done, .owner = owner };
    snprintf(full, sizeof(full), "%s%s", d->version, path);
    if (body) {
        call->body = json_dumps(body, JSON_COMPACT);
        call->span = span_of(call->body);
        request.headers = "Content-Type: application/json\r\n";
        request.body = &call->span;
        request.body_parts = 1;
    }
    call->fetch = http_fetch_start(d->upstream, &request, ANSWER_MAX, on_answer, call);
    return call;
}

struct docker_call *docker_cancel(struct docker_call *call)
{
    if (call) {
        if (call->fetch) {
            http_fetch_cancel(call->fetch);
        }
        if (call->body) {
            explicit_bzero(call->body, strlen(call->body)); /* passed variables are secrets */
        }
        free(call->body);
        free(call);
    }
    return NULL;
}

struct http_call *docker_follow(struct docker *d, const char *method, const char *path,
                                uint64_t idle_ms, const struct http_call_handler *handler,
                                void *owner)
{
    char full[DOCKER_PATH_MAX + VERSION_SIZE];
    struct http_call_request request = { .method = method,
                                         .path = full,
                                         .idle_timeout_ms = idle_ms };

    snprintf(full, sizeof(full), "%s%s", d->version, path);
    return http_call_start(d->upstream, &request, handler, owner);
}

struct docker_call *docker_ask_version(struct docker *d, docker_fn done, void *owner)
{
    struct docker_call *call;

    d->version[0] = '\0';
    call = docker_ask(d, "GET", "/version", NULL, VERSION_LIMIT_MS, done, owner);
    call->asks_version = true;
    return call;
}

int docker_check(const char *socket_path, struct error *reterr)
{
    struct sockaddr_un where = { .sun_family = AF_UNIX };
    _cleanup_(closep) int fd = -1;

    if (strlen(socket_path) >= sizeof(where.sun_path)) {
        return error_set(reterr, -ENAMETOOLONG, "engines.docker_socket is too long for a socket");
    }
    strcpy(where.sun_path, socket_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || (connect(fd, (struct sockaddr *)&where, sizeof(where)) < 0 && errno != EAGAIN)) {
        return error_set(reterr, -errno,
                         "the container engine at %s cannot be reached (engines.docker_socket): %s",
                         socket_path, strerror(errno));
    }
    return 0;
}
