// SPDX-License-Identifier: Apache-2.0
/* What pages of other sites are told, as bytes: a server in a simulated world that answers
 * preflights and everything else as the front does. */
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
    struct stream *stream;
    char answer[4096];
    size_t got;
};

static const char *const named[] = { "https://app.example", NULL };
static const char *const all[] = { "https://app.example", "*", NULL };

static void on_head(void *owner, struct http_exchange *x)
{
    access_allow_origin(&((struct fixture *)owner)->access, x);
}

static void handle(void *owner, struct http_exchange *x)
{
    struct fixture *f = owner;
    struct error e = { 0 };

    if (!access_is_preflight(x)) {
        http_respond_start(x, 200, "text/plain", -1); /* streamed */
        http_respond_write(x, "hello", 5);
        http_respond_end(x);
    } else if (access_preflight(&f->access, x, "GET, POST", &e) < 0) {
        http_respond(x, 403, "text/plain", span_of(e.text));
    }
}

static void on_data(void *owner, const char *p, size_t n)
{
    struct fixture *f = owner;

    n = MIN_OF(n, sizeof(f->answer) - 1 - f->got);
    memcpy(f->answer + f->got, p, n);
    f->got += n;
}

static void on_end(void *owner, int err)
{
}

static void on_drain(void *owner)
{
}

static const struct stream_handler handler = { on_data, on_end, on_drain };

static void on_connect(void *owner, struct stream *s, const struct error *e)
{
    struct fixture *f = owner;

    assert_null(e);
    f->stream = s;
    stream_set_handler(s, &handler, f);
    stream_read_start(s);
}

/* The answer to these bytes, owned by the caller. */
static char *ask(const char *const *origins, const char *request)
{
    struct fixture f = { .w = sim_create(1), .access.policy = { .origins = origins } };
    struct http_server_options options = {
        .handle = handle, .on_head = on_head, .owner = &f, .max_body_bytes = 10
    };
    struct address where;

    log_set_fd(-1);
    f.server = http_server_create(f.w, &options);
    assert_int_equal(address_parse("127.0.0.1:8080", &where, NULL), 0);
    assert_int_equal(http_server_listen(f.server, &where, NULL, &where, NULL), 0);
    stream_connect(f.w, &where, on_connect, &f);
    sim_run_for(f.w, 10);
    assert_non_null(f.stream);
    stream_write(f.stream, request, strlen(request));
    sim_run_for(f.w, 100);
    stream_close(f.stream);
    http_server_destroy(f.server);
    world_destroy(f.w);
    return xstrdup(f.answer);
}

static void expect(const char *const *origins, const char *request, const char *const *present,
                   const char *const *absent)
{
    _cleanup_(freep) char *answer = ask(origins, request);

    for (; present && *present; present++) {
        if (!strstr(answer, *present)) {
            fail_msg("no '%s' in:\n%s", *present, answer);
        }
    }
    for (; absent && *absent; absent++) {
        if (strstr(answer, *absent)) {
            fail_msg("'%s' in:\n%s", *absent, answer);
        }
    }
}

#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define ALLOW      "Access-Control-Allow-Origin"

#define GET(origin)                                                                                \
    "GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: " origin "\r\nConnection: close\r\n\r\n"
#define PREFLIGHT(origin, more)                                                                    \
    "OPTIONS / HTTP/1.1\r\nHost: localhost\r\nOrigin: " origin                                     \
    "\r\nAccess-Control-Request-Method: POST\r\n" more "\r\n"

static void test_answers(void **state)
{
    static const char *const nothing = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    expect(NULL, GET("https://app.example"), WORDS(" 200 "), WORDS("Access-Control", "Vary"));
    expect(named, GET("https://app.example"),
           WORDS((ALLOW ": https://app.example\r\n"), "Vary: Origin\r\n",
                 "Access-Control-Expose-Headers: x-request-id, x-total-count, retry-after",
                 "hello"),
           WORDS("Credentials", ALLOW ": *"));
    expect(named, GET("https://other.example"), WORDS(" 200 ", "Vary: Origin\r\n"),
           WORDS("Access-Control"));
    expect(all, GET("https://other.example"), WORDS(ALLOW ": *\r\n"), WORDS("Credentials"));
    expect(all, GET("null"), WORDS(ALLOW ": *\r\n"), WORDS("Credentials"));
    expect(all, GET("https://app.example"), WORDS(ALLOW ": https://app.example\r\n"),
           WORDS("Credentials"));
    expect(all, nothing, WORDS(" 200 ", "Vary: Origin"), WORDS("Access-Control"));
}

/* The server's own refusal, before anybody was asked. */
static void test_refusals_of_the_server(void **state)
{
    expect(named,
           "POST / HTTP/1.1\r\nHost: localhost\r\nOrigin: https://app.example\r\n"
           "Content-Length: 11\r\n\r\nhello world",
           WORDS(" 413 ", ALLOW ": https://app.example\r\n"), NULL);
}

static void test_preflights(void **state)
{
    expect(named, PREFLIGHT("https://app.example", "Access-Control-Request-Headers: x-a, x-b\r\n"),
           WORDS(" 204 ", (ALLOW ": https://app.example\r\n"),
                 "Access-Control-Allow-Methods: GET, POST\r\n",
                 "Access-Control-Allow-Headers: x-a, x-b\r\n", "Access-Control-Max-Age: "),
           WORDS("Credentials", "Private-Network"));
    expect(all, PREFLIGHT("https://other.example", ""), WORDS(" 204 ", ALLOW ": *\r\n"),
           WORDS("Allow-Headers"));
    expect(named,
           PREFLIGHT("https://app.example", "Access-Control-Request-Private-Network: true\r\n"),
           WORDS("Access-Control-Allow-Private-Network: true\r\n"), NULL);
    expect(named, PREFLIGHT("https://other.example", ""), WORDS(" 403 ", "cors.origins"),
           WORDS("Access-Control"));
    expect(NULL, PREFLIGHT("https://app.example", ""), WORDS(" 403 "), WORDS("Access-Control"));
}

static void test_what_is_a_preflight(void **state)
{
    expect(all, "OPTIONS / HTTP/1.1\r\nHost: localhost\r\nOrigin: https://a.example\r\n\r\n",
           WORDS("hello"), WORDS(" 204 "));
    expect(all,
           "OPTIONS / HTTP/1.1\r\nHost: localhost\r\nAccess-Control-Request-Method: GET\r\n\r\n",
           WORDS("hello"), WORDS(" 204 "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_refusals_of_the_server),
        cmocka_unit_test(test_preflights),
        cmocka_unit_test(test_what_is_a_preflight),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
