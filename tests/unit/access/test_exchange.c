// SPDX-License-Identifier: Apache-2.0
/* The facts as they are read off real requests: a server in a simulated world that says what
 * access_check said. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "access/access_int.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sim.h"
#include "http/server.h"

struct fixture {
    struct world *w;
    struct access access;
    struct http_server *server;
    char answer[4096];
    size_t got;
};

static void handle(void *owner, struct http_exchange *x)
{
    struct fixture *f = owner;
    struct error e = { 0 };
    int r = access_check(&f->access, x, SCOPE_ADMIN, &e);

    if (r == 0) {
        r = access_check_content(x, &e);
    }
    http_respond(x, r == 0 ? 200 : error_kind(r)->http_status, "text/plain", span_of(e.text));
}

static void on_data(void *owner, const char *p, size_t n)
{
    struct fixture *f = owner;

    n = MIN_OF(n, sizeof(f->answer) - 1 - f->got);
    memcpy(f->answer + f->got, p, n);
    f->got += n;
    f->answer[f->got] = '\0';
}

static void on_end(void *owner, int err)
{
}

static void on_drain(void *owner)
{
}

static const struct stream_handler handler = { on_data, on_end, on_drain };

struct client {
    struct fixture *f;
    struct stream *stream;
};

static void on_connect(void *owner, struct stream *s, const struct error *e)
{
    struct client *c = owner;

    assert_null(e);
    c->stream = s;
    stream_set_handler(s, &handler, c->f);
    stream_read_start(s);
}

/* The status that a request with these lines and this body gets. */
static int ask(struct access_listener tag, const char *address, enum access_keys keys,
               const char *lines, const char *body)
{
    struct fixture f = { .w = sim_create(1), .access.policy = { .keys = keys, .stored_count = 1 } };
    struct http_server_options options = { .handle = handle, .owner = &f };
    struct client c = { .f = &f };
    struct address where;
    int status = 0;
    char *request;

    log_set_fd(-1);
    access_key_hash(SPAN("berth-key"), f.access.policy.stored[0].hash);
    f.access.policy.stored[0].scope = SCOPE_ADMIN;
    f.server = http_server_create(f.w, &options);
    assert_int_equal(address_parse(address, &where, NULL), 0);
    assert_int_equal(http_server_listen(f.server, &where, &tag, &where, NULL), 0);
    stream_connect(f.w, &where, on_connect, &c);
    sim_run_for(f.w, 10);
    assert_non_null(c.stream);
    request =
        xasprintf("POST /x HTTP/1.1\r\n%sContent-Length: %zu\r\n\r\n%s", lines, strlen(body), body);
    stream_write(c.stream, request, strlen(request));
    sim_run_for(f.w, 100);
    sscanf(f.answer, "HTTP/1.1 %d", &status);
    free(request);
    stream_close(c.stream);
    http_server_destroy(f.server);
    world_destroy(f.w);
    return status;
}

static void test_headers_are_read(void **state)
{
    static const struct access_listener loopback = { .loopback = true };
    // clang-format off
    static const struct { const char *lines, *body; int status; } cases[] = {
        { "Host: localhost:80\r\n", "", 200 },
        { "Host: box.example\r\n", "", 403 },
        { "Host: box.example\r\nAuthorization: Bearer berth-key\r\n", "", 200 },
        { "Host: box.example\r\nX-Api-Key: berth-key\r\n", "", 200 },
        { "Host: box.example\r\nX-Api-Key: berth-kez\r\n", "", 401 },
        { "Host: localhost:80\r\nOrigin: http://localhost\r\n", "", 200 },
        { "Host: localhost:80\r\nOrigin: http://evil.example\r\n", "", 403 },
        { "Host: localhost:80\r\nForwarded: for=10.0.0.1\r\n", "", 401 },
        { "Host: localhost:80\r\nx-forwarded-for: 10.0.0.1\r\n", "", 401 },
        { "Host: localhost:80\r\nX-Real-IP: 10.0.0.1\r\n", "", 401 },
        { "Host: localhost:80\r\nContent-Type: application/json\r\n", "{}", 200 },
        { "Host: localhost:80\r\nContent-Type: text/plain\r\n", "{}", 415 },
        { "Host: localhost:80\r\n", "{}", 415 },
    };
    // clang-format on

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int status = ask(loopback, "127.0.0.1:8080", KEYS_AUTO, cases[i].lines, cases[i].body);

        if (status != cases[i].status) {
            fail_msg("%s%s: %d instead of %d", cases[i].lines, cases[i].body, status,
                     cases[i].status);
        }
    }
}

static void test_listeners_differ(void **state)
{
    static const struct access_listener far = { 0 },
                                        admin = { .loopback = true, .admin_socket = true },
                                        near = { .loopback = true };

    assert_int_equal(ask(far, "127.0.0.1:8080", KEYS_AUTO, "Host: localhost\r\n", ""), 401);
    assert_int_equal(ask(near, "127.0.0.1:8080", KEYS_ON, "Host: localhost\r\n", ""), 401);
    assert_int_equal(ask(admin, "unix:admin.sock", KEYS_ON, "Host: berth\r\n", ""), 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers_are_read),
        cmocka_unit_test(test_listeners_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
