// SPDX-License-Identifier: Apache-2.0
/* The server against a peer by hand, in a simulated world: framing on the wire, limits, time,
 * leaving clients, draining. */
#include "unit.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "http/server.h"
#include "talk.h"

struct rig {
    struct world *world;
    struct http_server *server;
    struct address where;
    struct talk talk;
    struct http_exchange *held; /* of the last GET /hold */
    struct buf seen;            /* the last body of a POST */
    unsigned requests, gone, drained, drains;
    bool was_drained;
    char id[200];
};

static void on_gone(void *owner)
{
    struct rig *rig = owner;

    rig->gone++;
    rig->held = NULL;
}

static void on_drain(void *owner)
{
    struct rig *rig = owner;

    rig->drains++;
}

static const struct http_exchange_events events = { on_gone, on_drain };

static void handle(void *owner, struct http_exchange *x)
{
    struct rig *rig = owner;
    const struct http_head *head = http_exchange_head(x);
    struct span body = http_exchange_body(x);

    rig->requests++;
    snprintf(rig->id, sizeof(rig->id), "%s", http_exchange_id(x));
    if (body.n > 0) {
        buf_clear(&rig->seen);
        buf_append(&rig->seen, body.p, body.n);
    }
    if (span_eq(head->path, "/hold")) {
        http_exchange_set_events(x, &events, rig);
        rig->held = x;
    } else if (span_eq(head->path, "/stream")) {
        http_respond_start(x, 200, "text/plain", -1);
        http_respond_write(x, "one", 3);
        http_respond_write(x, "", 0);
        http_respond_write(x, "twenty bytes of text", 20);
        http_respond_end(x);
    } else if (span_eq(head->path, "/length")) {
        http_respond_start(x, 200, "text/plain", 6);
        http_respond_write(x, "abc", 3);
        http_respond_write(x, "def", 3);
        http_respond_end(x);
    } else if (span_eq(head->path, "/short")) {
        http_respond_start(x, 200, "text/plain", 6);
        http_respond_write(x, "abc", 3);
        http_respond_end(x);
    } else if (span_eq(head->path, "/none")) {
        http_respond(x, 204, NULL, (struct span){ 0 });
    } else if (span_eq(head->path, "/big")) {
        char *big = xcalloc(1, 300000);

        http_respond(x, 200, "text/plain", (struct span){ big, 300000 });
        free(big);
    } else {
        http_exchange_add_header(x, "X-Extra", "yes");
        http_exchange_add_header(x, "X-Bad", "a\r\nInjected: b");
        http_respond(x, 200, "text/plain", SPAN("hello"));
    }
}

static void start(struct rig *rig, struct http_server_options options)
{
    struct error e;

    *rig = (struct rig){ .world = sim_create(7) };
    buf_init(&rig->seen, 64 << 20);
    options.handle = handle;
    options.owner = rig;
    rig->server = http_server_create(rig->world, &options);
    assert_int_equal(address_parse("127.0.0.1:0", &rig->where, &e), 0);
    assert_int_equal(http_server_listen(rig->server, &rig->where, rig, &rig->where, &e), 0);
    talk_connect(&rig->talk, rig->world, &rig->where);
    assert_int_equal(rig->talk.refused, 0);
}

static void stop(struct rig *rig)
{
    talk_close(&rig->talk);
    http_server_destroy(rig->server);
    buf_finish(&rig->seen);
    sim_run_for(rig->world, 10);
    world_destroy(rig->world);
}

/* Sends and lets a moment pass. */
static void say(struct rig *rig, const char *text)
{
    talk_send(&rig->talk, text);
    sim_run_for(rig->world, 5);
}

static void fresh(struct rig *rig)
{
    talk_close(&rig->talk);
    talk_connect(&rig->talk, rig->world, &rig->where);
    assert_int_equal(rig->talk.refused, 0);
}

static void test_answers(void **state)
{
    struct rig rig;

    start(&rig, (struct http_server_options){ 0 });
    say(&rig, "GET /x HTTP/1.1\r\nHost: a\r\nX-Request-Id: my-id.1\r\n\r\n");
    assert_true(talk_has(&rig.talk, "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 "));
    assert_true(talk_has(&rig.talk, "\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n"));
    assert_true(talk_has(&rig.talk, "\r\nx-request-id: my-id.1\r\nX-Extra: yes\r\n\r\nhello"));
    assert_false(talk_has(&rig.talk, "Injected"));
    assert_false(talk_has(&rig.talk, "Connection:"));
    talk_forget(&rig.talk);
    say(&rig, "GET /stream HTTP/1.1\r\nHost: a\r\nX-Request-Id: bad id\r\n\r\n");
    assert_true(talk_has(&rig.talk, "\r\nTransfer-Encoding: chunked\r\n"));
    assert_true(talk_has(&rig.talk, "\r\n\r\n3\r\none\r\n14\r\ntwenty bytes of text\r\n0\r\n\r\n"));
    assert_int_equal(strlen(rig.id), 24);
    talk_forget(&rig.talk);
    say(&rig, "GET /length HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(talk_has(&rig.talk, "Content-Length: 6\r\n"));
    assert_true(talk_has(&rig.talk, "\r\n\r\nabcdef"));
    talk_forget(&rig.talk);
    say(&rig, "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(talk_has(&rig.talk, "Content-Length: 5\r\n"));
    assert_false(talk_has(&rig.talk, "hello"));
    talk_forget(&rig.talk);
    say(&rig, "HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(talk_has(&rig.talk, "X") || talk_has(&rig.talk, "200 OK"));
    assert_false(talk_has(&rig.talk, "one"));
    assert_false(talk_has(&rig.talk, "0\r\n\r\n0"));
    talk_forget(&rig.talk);
    say(&rig, "GET /none HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(talk_has(&rig.talk, "HTTP/1.1 204 No Content\r\n"));
    assert_false(talk_has(&rig.talk, "Content-Length"));
    assert_false(rig.talk.ended);
    talk_forget(&rig.talk);
    say(&rig, "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_true(talk_has(&rig.talk, "Connection: close\r\n"));
    assert_true(rig.talk.ended);
    assert_int_equal(http_server_connections(rig.server), 0);
    stop(&rig);
}

static void test_http_1_0(void **state)
{
    struct rig rig;

    start(&rig, (struct http_server_options){ 0 });
    say(&rig, "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_true(talk_has(&rig.talk, "Connection: keep-alive\r\n"));
    assert_false(rig.talk.ended);
    talk_forget(&rig.talk);
    say(&rig, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_false(talk_has(&rig.talk, "chunked"));
    assert_true(talk_has(&rig.talk, "\r\n\r\nonetwenty bytes of text"));
    assert_true(rig.talk.ended);
    stop(&rig);
}

static void test_short_answer_is_cut(void **state)
{
    struct rig rig;

    start(&rig, (struct http_server_options){ 0 });
    say(&rig, "GET /short HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(talk_has(&rig.talk, "\r\n\r\nabc"));
    assert_true(rig.talk.ended);
    stop(&rig);
}

static void test_refusals(void **state)
{
    // clang-format off
    static const struct { const char *text, *status; } cases[] = {
        { "GET / HTTP/1.1\nHost: a\r\n\r\n", "400 Bad Request" },
        { "GET / HTTP/1.1\r\n\r\n", "400 Bad Request" },
        { "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nxGET", "400 Bad Request" },
        { "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "501 Not Implemented" },
        { "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400 Bad Request" },
        { "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n", "413 Content Too Large" },
        { "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 101\r\n\r\n", "413 Content Too Large" },
        { "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n"
          "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789x",
          "413 Content Too Large" },
        { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 HTTP Version Not Supported" },
        { "GET / HTTP/1.1\r\nHost: a\r\nX: 0123456789012345678901234567890123456789012345678901234567890123456789"
          "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\r\n\r\n",
          "431 Request Header Fields Too Large" },
        { "GET /0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678"
          "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
          "431 Request Header Fields Too Large" },
    };
    // clang-format on
    struct rig rig;

    start(&rig, (struct http_server_options){ .max_head_bytes = 150, .max_body_bytes = 100 });
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char line[100];

        snprintf(line, sizeof(line), "HTTP/1.1 %s\r\n", cases[i].status);
        fresh(&rig);
        say(&rig, cases[i].text);
        if (!talk_has(&rig.talk, line)) {
            print_error("%s\ngave: %.*s\n", cases[i].text, (int)rig.talk.got.len,
                        buf_data(&rig.talk.got));
        }
        assert_true(talk_has(&rig.talk, line));
        assert_true(talk_has(&rig.talk, "Connection: close\r\n"));
        assert_int_equal(talk_count(&rig.talk, "\r\nContent-Length: "), 1);
        assert_true(rig.talk.ended);
    }
    assert_int_equal(rig.requests, 0);
    assert_int_equal(http_server_connections(rig.server), 0);
    stop(&rig);
}

static void write_error(void *owner, struct span path, int status, const char *text,
                        struct buf *out)
{
    buf_printf(out, "[%.*s|%d]", SPAN_ARG(path), status);
}

static void test_error_body(void **state)
{
    struct rig rig;

    start(&rig, (struct http_server_options){ .error_body = write_error, .max_body_bytes = 10 });
    say(&rig, "POST /a?b HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\nContent-Length: 11\r\n\r\n");
    assert_true(talk_has(&rig.talk, "\r\n\r\n[/a|413]"));
    assert_true(talk_has(&rig.talk, "\r\nx-request-id: mine\r\n"));
    fresh(&rig);
    say(&rig, "nonsense\r\n\r\n");
    assert_true(talk_has(&rig.talk, "\r\n\r\n[|400]"));
    stop(&rig);
}

static void test_bodies(void **state)
{
    struct rig rig;

    start(&rig, (struct http_server_options){ 0 });
    say(&rig, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12");
    assert_int_equal(rig.requests, 0);
    say(&rig, "345");
    assert_int_equal(rig.requests, 1);
    assert_string_equal(buf_data(&rig.seen), "12345");
    talk_forget(&rig.talk);
    say(&rig,
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_string_equal(buf_data(&rig.talk.got), "HTTP/1.1 100 Continue\r\n\r\n");
    say(&rig, "3\r\nabc\r\n1\r");
    say(&rig, "\nd\r\n0\r\nT: 1\r\n\r\nGET / HTTP/1.1\r\n");
    assert_int_equal(rig.requests, 2);
    assert_string_equal(buf_data(&rig.seen), "abcd");
    say(&rig, "Host: a\r\n\r\n");
    assert_int_equal(rig.requests, 3);
    talk_forget(&rig.talk);
    say(&rig, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nxyz");
    assert_false(talk_has(&rig.talk, "100 Continue")); /* the body was there already */
    assert_true(talk_has(&rig.talk, "200 OK"));
    stop(&rig);
}

/* The same bytes, cut anywhere and delivered with random latency, give the same requests. */
static void test_any_cut(void **state)
{
    static const char text[] = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345"
                               "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                               "chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
                               "GET /stream HTTP/1.1\r\nHost: a\r\n\r\nGET /length "
                               "HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    struct rig rig;

    start(&rig, (struct http_server_options){ 0 });
    for (size_t cut = 1; cut < sizeof(text) - 1; cut++) {
        fresh(&rig);
        rig.requests = 0;
        talk_send_bytes(&rig.talk, text, cut);
        sim_run_for(rig.world, 5);
        talk_send_bytes(&rig.talk, text + cut, sizeof(text) - 1 - cut);
        sim_run_for(rig.world, 5);
        assert_int_equal(rig.requests, 4);
        assert_string_equal(buf_data(&rig.seen), "abcde");
        assert_int_equal(talk_count(&rig.talk, "HTTP/1.1 200 OK\r\n"), 4);
        assert_true(talk_has(&rig.talk, "abcdef"));
        assert_true(rig.talk.ended);
    }
    stop(&rig);
}

static void test_pipelining_waits(void **state)
{
    struct rig rig;

    start(&rig, (struct http_server_options){ .max_pipelined_bytes = 1000 });
    say(&rig, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\nGET /1 HTTP/1.1\r\nHo");
    say(&rig, "st: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(rig.requests, 1);
    assert_true(span_eq(http_exchange_head(rig.held)->path, "/hold"));
    for (int i = 0; i < 200; i++) {
        say(&rig, "GET /more HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    assert_int_equal(rig.requests, 1);
    assert_true(span_eq(http_header_get(http_exchange_head(rig.held), "host"), "a"));
    http_respond(rig.held, 200, NULL, SPAN("held"));
    sim_run_for(rig.world, 50);
    assert_int_equal(rig.requests, 203);
    assert_int_equal(talk_count(&rig.talk, "HTTP/1.1 200 OK\r\n"), 203);
    stop(&rig);
}

/* A peer that asks and asks but does not read gets no endless queue. */
static void test_deaf_pipeliner(void **state)
{
    struct rig rig;

    start(&rig, (struct http_server_options){ .write_timeout_ms = 5000 });
    talk_read(&rig.talk, false);
    for (int i = 0; i < 100; i++) {
        talk_send(&rig.talk, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    sim_run_for(rig.world, 1000);
    assert_in_range(rig.requests, 1, 3);
    talk_read(&rig.talk, true);
    sim_run_for(rig.world, 4000);
    assert_int_equal(rig.requests, 100);
    assert_true(rig.talk.got.len > 100 * 300000);
    talk_read(&rig.talk, false);
    for (int i = 0; i < 100; i++) {
        talk_send(&rig.talk, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    sim_run_for(rig.world, 20000);
    assert_int_equal(http_server_connections(rig.server), 0);
    stop(&rig);
}

static void test_timeouts(void **state)
{
    struct rig rig;

    start(&rig, (struct http_server_options){
                    .head_timeout_ms = 1000, .body_timeout_ms = 2000, .idle_timeout_ms = 5000 });
    sim_run_for(rig.world, 1200); /* not a byte came: nothing is said */
    assert_true(rig.talk.ended);
    assert_int_equal(rig.talk.got.len, 0);
    fresh(&rig);
    for (int i = 0; i < 4; i++) { /* one byte now and then does not help */
        talk_send(&rig.talk, "G");
        sim_run_for(rig.world, 300);
    }
    assert_true(talk_has(&rig.talk, "HTTP/1.1 408 Request Timeout\r\n"));
    fresh(&rig);
    say(&rig, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    for (int i = 0; i < 2; i++) {
        talk_send(&rig.talk, "x");
        sim_run_for(rig.world, 1900);
        assert_false(rig.talk.ended);
    }
    sim_run_for(rig.world, 300);
    assert_true(talk_has(&rig.talk, "HTTP/1.1 408 Request Timeout\r\n"));
    fresh(&rig);
    say(&rig, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    sim_run_for(rig.world, 4900);
    assert_false(rig.talk.ended);
    sim_run_for(rig.world, 300);
    assert_true(rig.talk.ended);
    assert_int_equal(talk_count(&rig.talk, "HTTP/1.1"), 1);
    stop(&rig);
}

static void test_slow_reader(void **state)
{
    struct rig rig;
    char *big = xcalloc(1, 100000);

    start(&rig, (struct http_server_options){ .write_timeout_ms = 3000 });
    say(&rig, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    talk_read(&rig.talk, false);
    http_respond_start(rig.held, 200, "text/plain", -1);
    http_respond_write(rig.held, big, 100000);
    assert_true(http_exchange_queued(rig.held) > 0);
    sim_run_for(rig.world, 1000);
    talk_read(&rig.talk, true);
    sim_run_for(rig.world, 10);
    assert_int_equal(rig.drains, 1);
    assert_int_equal(http_exchange_queued(rig.held), 0);
    sim_run_for(rig.world, 10000); /* nothing queued: nothing to wait for */
    assert_int_equal(rig.gone, 0);
    talk_read(&rig.talk, false);
    http_respond_write(rig.held, big, 100000);
    sim_run_for(rig.world, 2500);
    assert_int_equal(rig.gone, 0);
    sim_run_for(rig.world, 3000);
    assert_int_equal(rig.gone, 1);
    assert_int_equal(http_server_exchanges(rig.server), 0);
    free(big);
    stop(&rig);
}

static void test_client_leaves(void **state)
{
    struct rig rig;

    start(&rig, (struct http_server_options){ 0 });
    say(&rig, "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert_int_equal(http_server_exchanges(rig.server), 1);
    talk_close(&rig.talk);
    sim_run_for(rig.world, 5);
    assert_int_equal(rig.gone, 1);
    assert_int_equal(http_server_exchanges(rig.server), 0);
    assert_int_equal(http_server_connections(rig.server), 0);
    talk_connect(&rig.talk, rig.world, &rig.where);
    say(&rig, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    http_respond_start(rig.held, 200, NULL, -1);
    http_respond_write(rig.held, "part", 4);
    http_respond_abort(rig.held);
    sim_run_for(rig.world, 5);
    assert_true(rig.talk.ended);
    assert_true(talk_has(&rig.talk, "4\r\npart\r\n"));
    assert_false(talk_has(&rig.talk, "0\r\n\r\n"));
    assert_int_equal(rig.gone, 1); /* the handler itself ended it */
    stop(&rig);
}

static void test_budget(void **state)
{
    struct rig rig;
    struct talk other = { 0 };

    start(&rig, (struct http_server_options){ .body_budget_bytes = 100, .max_body_bytes = 80 });
    say(&rig, "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\n\r\n"
              "012345678901234567890123456789012345678901234567890123456789");
    assert_int_equal(rig.requests, 1);
    talk_connect(&other, rig.world, &rig.where);
    talk_send(&other, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n");
    sim_run_for(rig.world, 5);
    assert_true(talk_has(&other, "HTTP/1.1 503 "));
    talk_close(&other);
    talk_connect(&other, rig.world, &rig.where);
    talk_send(&other, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "1e\r\n012345678901234567890123456789\r\n");
    sim_run_for(rig.world, 5);
    assert_false(other.ended);
    talk_send(&other, "b\r\n01234567890\r\n");
    sim_run_for(rig.world, 5);
    assert_true(talk_has(&other, "HTTP/1.1 503 "));
    talk_close(&other);
    http_respond(rig.held, 200, NULL, SPAN("")); /* its bytes are free again */
    talk_connect(&other, rig.world, &rig.where);
    talk_send(&other, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n01234");
    sim_run_for(rig.world, 5);
    assert_true(talk_has(&other, "HTTP/1.1 200 "));
    talk_close(&other);
    stop(&rig);
}

static void test_connection_cap(void **state)
{
    struct rig rig;
    struct talk second = { 0 }, third = { 0 };

    start(&rig, (struct http_server_options){ .max_connections = 2 });
    talk_connect(&second, rig.world, &rig.where);
    talk_connect(&third, rig.world, &rig.where);
    assert_int_equal(http_server_connections(rig.server), 2);
    assert_null(third.stream);
    talk_close(&second);
    sim_run_for(rig.world, 10);
    assert_non_null(third.stream);
    talk_send(&third, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    sim_run_for(rig.world, 10);
    assert_true(talk_has(&third, "hello"));
    talk_close(&third);
    stop(&rig);
}

/* A silent connection that is accepted because another's time was up has its own limit. */
static void test_deadline_of_the_next(void **state)
{
    struct rig rig;
    struct talk second = { 0 };

    start(&rig, (struct http_server_options){ .max_connections = 1, .head_timeout_ms = 1000 });
    talk_connect(&second, rig.world, &rig.where);
    sim_run_for(rig.world, 100);
    assert_true(rig.talk.ended);
    assert_non_null(second.stream);
    assert_int_equal(http_server_connections(rig.server), 1);
    sim_run_for(rig.world, 1200);
    assert_true(second.ended);
    assert_int_equal(http_server_connections(rig.server), 0);
    talk_close(&second);
    stop(&rig);
}

static void on_drained(void *owner)
{
    struct rig *rig = owner;

    rig->was_drained = true;
}

static void test_drain(void **state)
{
    struct rig rig;
    struct talk idle = { 0 };

    start(&rig, (struct http_server_options){ 0 });
    talk_connect(&idle, rig.world, &rig.where);
    say(&rig, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    http_server_drain(rig.server, on_drained, &rig);
    sim_run_for(rig.world, 1000);
    assert_true(idle.ended);
    assert_false(rig.was_drained);
    assert_false(rig.talk.ended);
    http_respond(rig.held, 200, NULL, SPAN("late"));
    sim_run_for(rig.world, 10);
    assert_true(rig.was_drained);
    assert_true(talk_has(&rig.talk, "Connection: close\r\n"));
    assert_true(talk_has(&rig.talk, "late"));
    assert_true(rig.talk.ended);
    talk_close(&idle);
    talk_connect(&idle, rig.world, &rig.where);
    assert_int_equal(idle.refused, -ECONNREFUSED);
    talk_close(&idle);
    stop(&rig);
}

static void test_destroy_tells(void **state)
{
    struct rig rig;

    start(&rig, (struct http_server_options){ 0 });
    say(&rig, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    rig.server = http_server_destroy(rig.server);
    assert_int_equal(rig.gone, 1);
    sim_run_for(rig.world, 10);
    assert_true(rig.talk.ended);
    stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_http_1_0),
        cmocka_unit_test(test_short_answer_is_cut),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_error_body),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_any_cut),
        cmocka_unit_test(test_pipelining_waits),
        cmocka_unit_test(test_deaf_pipeliner),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_client_leaves),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_connection_cap),
        cmocka_unit_test(test_deadline_of_the_next),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_destroy_tells),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
