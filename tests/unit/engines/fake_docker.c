// SPDX-License-Identifier: Apache-2.0
/* A scripted container engine. */
#include "fake_docker.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"

#define SOCKET "unix:docker.sock"

struct conn {
    struct list node;
    struct fake_docker *docker;
    struct stream *stream;
    char in[16384];
    size_t len;
    struct fake_container *waits, *follows; /* for its end; its log */
    size_t sent;                            /* of the log */
};

static void end_conn(struct conn *c)
{
    list_remove(&c->node);
    stream_close(c->stream);
    free(c);
}

static void send_text(struct conn *c, const char *text)
{
    stream_write(c->stream, text, strlen(text));
}

static void respond(struct conn *c, int status, const char *body)
{
    char head[160];

    snprintf(head, sizeof(head), "HTTP/1.1 %d X\r\n%s", status,
             status == 204 || status == 304 ? "\r\n" : "Content-Type: application/json\r\n");
    send_text(c, head);
    if (status != 204 && status != 304) {
        snprintf(head, sizeof(head), "Content-Length: %zu\r\n\r\n", strlen(body));
        send_text(c, head);
        send_text(c, body);
    }
}

/* Podman has a cause and repeats itself. */
static void _printf_(3, 4) refuse(struct conn *c, int status, const char *fmt, ...)
{
    _cleanup_(freep) char *message = NULL;
    json_t *body;
    char *text;
    va_list ap;

    va_start(ap, fmt);
    message = xvasprintf(fmt, ap);
    va_end(ap);
    body = json_pack("{s:s}", "message", message);
    if (c->docker->podman) {
        json_object_set_new(body, "cause", json_string("the cause"));
        json_object_set_new(body, "response", json_integer(status));
    }
    text = json_dumps(body, 0);
    respond(c, status, text);
    free(text);
    json_decref(body);
}

/* ---- containers */

static struct fake_container *find(struct fake_docker *d, const char *name)
{
    struct fake_container *c;

    list_for_each (c, &d->containers, node) {
        if (str_eq(c->name, name)) {
            return c;
        }
    }
    return NULL;
}

struct fake_container *fake_docker_add(struct fake_docker *d, const char *name, const char *body)
{
    struct fake_container *c = xcalloc(1, sizeof(*c));

    c->docker = d;
    c->body = json_loads(body, 0, NULL);
    assert_non_null(c->body);
    snprintf(c->name, sizeof(c->name), "%s", name);
    list_append(&d->containers, &c->node);
    return c;
}

static void send_log(struct conn *conn)
{
    struct fake_container *c = conn->follows;
    size_t piece = c->docker->piece ? c->docker->piece : sizeof(c->log);

    while (conn->sent < c->log_len) {
        size_t n = MIN_OF(piece, c->log_len - conn->sent);
        char head[24];

        snprintf(head, sizeof(head), "%zx\r\n", n);
        send_text(conn, head);
        stream_write(conn->stream, c->log + conn->sent, n);
        send_text(conn, "\r\n");
        conn->sent += n;
    }
    if (c->ended) {
        send_text(conn, "0\r\n\r\n");
        conn->follows = NULL;
    }
}

void fake_container_log(struct fake_container *c, int stream, unsigned second, const char *text)
{
    char line[512];
    struct conn *conn;
    unsigned n =
        (unsigned)snprintf(line, sizeof(line), "2026-11-21T01:%02u:%02u%sZ %s", second / 60,
                           second % 60, c->docker->podman ? "" : ".425668938", text);
    char head[8] = { (char)stream,   0,      0, 0, (char)(n >> 24), (char)(n >> 16),
                     (char)(n >> 8), (char)n };

    assert_true(c->log_len + n + 8 < sizeof(c->log));
    memcpy(c->log + c->log_len, head, 8);
    memcpy(c->log + c->log_len + 8, line, n);
    c->log_len += n + 8;
    list_for_each (conn, &c->docker->conns, node) {
        if (conn->follows == c) {
            send_log(conn);
        }
    }
}

static void tell_waiting(struct fake_container *c)
{
    struct conn *conn;
    char body[64];

    snprintf(body, sizeof(body), "{\"Error\":null,\"StatusCode\":%d}", c->exit_code);
    list_for_each (conn, &c->docker->conns, node) {
        if (conn->waits == c) {
            conn->waits = NULL;
            respond(conn, 200, body);
        }
        if (conn->follows == c) {
            send_log(conn);
        }
    }
}

void fake_container_exit(struct fake_container *c, int code, bool oom)
{
    if (c->running) {
        c->running = false;
        c->ended = true;
        c->exit_code = code;
        c->oom = oom;
        rig_close_endpoint(TAKE_PTR(c->engine));
        tell_waiting(c);
    }
}

static void remove_container(struct fake_container *c)
{
    struct conn *conn;

    fake_container_exit(c, 137, false);
    list_for_each (conn, &c->docker->conns, node) {
        conn->follows = conn->follows == c ? NULL : conn->follows;
    }
    c->docker->removes++;
    list_remove(&c->node);
    json_decref(c->body);
    free(c);
}

static uint16_t port_of(const struct fake_container *c)
{
    const json_t *ports = json_object_get(json_object_get(c->body, "HostConfig"), "PortBindings");
    const char *key;
    json_t *bindings;

    json_object_foreach(UNCONST(json_t *, ports), key, bindings)
    {
        const json_t *one = json_array_get(bindings, 0);

        assert_string_equal(json_string_value(json_object_get(one, "HostIp")), "127.0.0.1");
        return (uint16_t)atoi(json_string_value(json_object_get(one, "HostPort")));
    }
    return 0;
}

static void start_container(struct fake_container *c)
{
    static int64_t pids = 4000000;
    struct fake_docker *d = c->docker;

    d->starts++;
    c->running = true;
    c->pid = ++pids;
    c->engine = rig_open_endpoint(d->rig, port_of(c));
    assert_non_null(c->engine);
    if (d->first_log) {
        fake_container_log(c, 2, 1, d->first_log);
    }
    if (d->dies_at_once) {
        fake_container_exit(c, 1, false);
    }
}

/* ---- requests */

static void on_create(struct conn *c, const char *name, const char *body)
{
    struct fake_docker *d = c->docker;
    struct fake_container *made;
    const char *image;

    if (find(d, name)) {
        refuse(c, d->podman ? 500 : 409, "the container name \"%s\" is already in use", name);
        return;
    }
    made = fake_docker_add(d, name, body);
    image = json_string_value(json_object_get(made->body, "Image"));
    assert_non_null(image);
    if (d->missing && str_eq(image, d->missing)) {
        refuse(c, 404, "No such image: %s", image);
        list_remove(&made->node);
        json_decref(made->body);
        free(made);
        return;
    }
    d->creates++;
    respond(c, 201, "{\"Id\":\"0acbc575\",\"Warnings\":[]}");
}

static void on_inspect(struct conn *conn, const struct fake_container *c)
{
    json_t *body =
        json_pack("{s:s, s:{s:s, s:b, s:b, s:I, s:i}, s:{s:O*}}", "Id", c->name, "State", "Status",
                  c->running ? "running" : "exited", "Running", c->running, "OOMKilled", c->oom,
                  "Pid", (json_int_t)(c->running ? c->pid : 0), "ExitCode", c->exit_code, "Config",
                  "Labels", json_object_get(c->body, "Labels"));
    char *text = json_dumps(body, 0);

    respond(conn, 200, text);
    free(text);
    json_decref(body);
}

static void on_list(struct conn *c)
{
    json_t *list = json_array();
    struct fake_container *one;
    char *text;

    list_for_each (one, &c->docker->containers, node) {
        json_array_append_new(list, json_pack("{s:s, s:O*}", "Id", one->name, "Labels",
                                              json_object_get(one->body, "Labels")));
    }
    text = json_dumps(list, 0);
    respond(c, 200, text);
    free(text);
    json_decref(list);
}

static void on_start(struct conn *conn, struct fake_container *c)
{
    struct fake_docker *d = c->docker;

    if (d->start_status) {
        refuse(conn, d->start_status, "%s", d->start_words);
        return;
    }
    start_container(c);
    respond(conn, 204, "");
}

static void on_stop(struct conn *conn, struct fake_container *c)
{
    c->stops++;
    if (c->ignores_stop) {
        return;
    }
    fake_container_exit(c, 0, false);
    respond(conn, 204, "");
}

static void on_wait(struct conn *conn, struct fake_container *c)
{
    conn->waits = c;
    if (!c->running) {
        tell_waiting(c);
    }
}

static void on_logs(struct conn *conn, struct fake_container *c)
{
    conn->follows = c;
    conn->sent = 0;
    send_text(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    send_log(conn);
}

static void on_pull(struct conn *c)
{
    struct fake_docker *d = c->docker;

    d->pulls++;
    if (!d->pull_answer) {
        d->missing = NULL;
    }
    respond(c, 200,
            d->pull_answer ? d->pull_answer
                           : "{\"status\":\"Pulling from x\",\"id\":\"latest\"}\r\n"
                             "{\"status\":\"Downloading\",\"progress\":\"[=> ]\",\"id\":\"a\"}\r\n"
                             "{\"status\":\"Done\"}\r\n");
}

static void on_version(struct conn *c)
{
    const struct fake_docker *d = c->docker;
    char body[160];

    snprintf(body, sizeof(body), "{\"ApiVersion\":\"%s\",\"MinAPIVersion\":\"%s\"}",
             d->version ? d->version : "1.41", d->min_version ? d->min_version : "1.12");
    respond(c, 200, body);
}

/* path: what follows "/containers/NAME" */
static void on_container(struct conn *conn, const char *method, const char *name, const char *what)
{
    struct fake_container *c = find(conn->docker, name);

    if (!c) {
        refuse(conn, 404, "No such container: %s", name);
    } else if (str_starts(what, "/json")) {
        on_inspect(conn, c);
    } else if (str_starts(what, "/start")) {
        on_start(conn, c);
    } else if (str_starts(what, "/stop")) {
        on_stop(conn, c);
    } else if (str_starts(what, "/wait")) {
        on_wait(conn, c);
    } else if (str_starts(what, "/logs")) {
        on_logs(conn, c);
    } else if (str_eq(method, "DELETE")) {
        remove_container(c);
        respond(conn, 204, "");
    } else {
        fail_msg("%s of %s%s", method, name, what);
    }
}

static void route(struct conn *c, const char *method, const char *path, const char *body)
{
    const char *rest = str_starts(path, "/v1.") ? strchr(path + 1, '/') : path;
    char name[64] = "";
    size_t used = strlen(c->docker->paths);

    if (used < sizeof(c->docker->paths) - 200) {
        snprintf(c->docker->paths + used, sizeof(c->docker->paths) - used, "%s %.160s\n", method,
                 path);
    }
    if (c->docker->mute) {
        return;
    }
    if (str_eq(rest, "/version")) {
        on_version(c);
    } else if (str_starts(rest, "/images/create")) {
        on_pull(c);
    } else if (str_starts(rest, "/containers/create?name=")) {
        on_create(c, strchr(rest, '=') + 1, body);
    } else if (str_starts(rest, "/containers/json")) {
        on_list(c);
    } else if (sscanf(rest, "/containers/%60[^/?]", name) == 1) {
        on_container(c, method, name, rest + strlen("/containers/") + strlen(name));
    } else {
        fail_msg("%s %s", method, path);
    }
}

static void on_data(void *owner, const char *p, size_t n)
{
    struct conn *c = owner;
    char method[16], path[512];
    const char *head_end, *length;
    size_t body_len, whole;

    assert_true(c->len + n < sizeof(c->in));
    memcpy(c->in + c->len, p, n);
    c->len += n;
    c->in[c->len] = '\0';
    head_end = strstr(c->in, "\r\n\r\n");
    if (!head_end) {
        return;
    }
    length = strcasestr(c->in, "content-length:");
    body_len = length && length < head_end ? (size_t)atoi(length + 15) : 0;
    whole = (size_t)(head_end + 4 - c->in) + body_len;
    if (c->len < whole) {
        return;
    }
    assert_int_equal(c->len, whole);
    assert_int_equal(sscanf(c->in, "%15s %511s", method, path), 2);
    c->len = 0;
    route(c, method, path, head_end + 4);
}

static void on_end(void *owner, int err)
{
    end_conn(owner);
}

static void on_drain(void *owner)
{
}

static void on_stream(void *owner, struct stream *s)
{
    static const struct stream_handler handler = { on_data, on_end, on_drain };
    struct fake_docker *d = owner;
    struct conn *c = xcalloc(1, sizeof(*c));

    c->docker = d;
    c->stream = s;
    list_append(&d->conns, &c->node);
    stream_set_handler(s, &handler, c);
    stream_read_start(s);
}

/* ---- the engine */

void fake_docker_open(struct fake_docker *d)
{
    struct address where;
    struct error err;

    assert_int_equal(address_parse(SOCKET, &where, &err), 0);
    assert_int_equal(stream_listen(d->rig->world, &where, on_stream, d, &d->listener, NULL, &err),
                     0);
}

void fake_docker_close(struct fake_docker *d)
{
    struct conn *c, *tmp;

    list_for_each_safe (c, tmp, &d->conns, node) {
        end_conn(c);
    }
    d->listener = stream_listener_close(d->listener);
}

struct fake_docker *fake_docker_create(struct rig *rig)
{
    struct fake_docker *d = xcalloc(1, sizeof(*d));

    d->rig = rig;
    list_init(&d->conns);
    list_init(&d->containers);
    fake_docker_open(d);
    return d;
}

struct fake_docker *fake_docker_destroy(struct fake_docker *d)
{
    struct fake_container *c, *tmp;

    fake_docker_close(d);
    list_for_each_safe (c, tmp, &d->containers, node) {
        remove_container(c);
    }
    free(d);
    return NULL;
}

size_t fake_docker_count(struct fake_docker *d)
{
    struct fake_container *c;
    size_t n = 0;

    list_for_each (c, &d->containers, node) {
        n++;
    }
    return n;
}

struct fake_container *fake_docker_only(struct fake_docker *d)
{
    if (fake_docker_count(d) != 1) {
        fail_msg("there are %zu containers; asked so far:\n%s", fake_docker_count(d), d->paths);
    }
    return list_first(&d->containers, struct fake_container, node);
}
