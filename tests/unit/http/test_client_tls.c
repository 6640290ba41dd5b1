// SPDX-License-Identifier: Apache-2.0
/* The client over TLS, against a server in threads: answers, the pool, the free retry, large bodies
 * both ways, and the words of a refusal. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "../base/tls_server.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "http/client.h"

enum { LARGE = 6 << 20, TICK_MS = 1, TOO_LONG_MS = 60000 };

struct rig {
    struct world *w;
    struct tls_server *server;
    struct http_upstream *upstream;
    struct http_call *call;
    struct buf body;
    int status, ends, pauses;
    bool pausing, failed;
    struct error error;
    struct timer tick, resume;
    uint64_t too_late_ms;
};

static void on_head(void *owner, const struct http_head *head)
{
    ((struct rig *)owner)->status = head->status;
}

static void on_resume(void *arg)
{
    http_call_resume(((struct rig *)arg)->call);
}

static void on_body(void *owner, const char *p, size_t n)
{
    struct rig *rig = owner;

    assert_int_equal(buf_append(&rig->body, p, n), 0);
    if (rig->pausing && rig->pauses++ % 16 == 0) {
        http_call_pause(rig->call);
        timer_start(&rig->resume, 1);
    }
}

static void on_end(void *owner)
{
    struct rig *rig = owner;

    timer_stop(&rig->resume);
    rig->ends++;
}

static void on_fail(void *owner, const struct error *e)
{
    struct rig *rig = owner;

    timer_stop(&rig->resume);
    rig->failed = true;
    rig->error = *e;
}

static const struct http_call_handler handler = { on_head, on_body, on_end, on_fail };

static void on_tick(void *arg)
{
    struct rig *rig = arg;

    if (rig->ends > 0 || rig->failed) {
        world_stop(rig->w);
    } else if (world_now_ms(rig->w) > rig->too_late_ms) {
        fail_msg("waited for a minute in vain");
    } else {
        timer_start(&rig->tick, TICK_MS);
    }
}

/* One call, until it has ended in one way or the other. */
static void ask(struct rig *rig, const char *path, const struct span *body)
{
    buf_clear(&rig->body);
    rig->status = rig->ends = 0;
    rig->failed = false;
    rig->call = http_call_start(rig->upstream,
                                &(struct http_call_request){ .method = body ? "POST" : "GET",
                                                             .path = path,
                                                             .body = body,
                                                             .body_parts = body ? 1 : 0 },
                                &handler, rig);
    rig->too_late_ms = world_now_ms(rig->w) + TOO_LONG_MS;
    timer_start(&rig->tick, TICK_MS);
    world_run(rig->w);
}

static void open_rig(struct rig *rig, const struct tls_server_options *options)
{
    _cleanup_(freep) char *url = NULL, *path = NULL;
    struct http_upstream_options upstream = { .idle_ms = 60000, .connect_timeout_ms = 30000 };

    *rig = (struct rig){ .w = world_create(), .server = tls_server_start(options) };
    buf_init(&rig->body, 2 * LARGE);
    timer_init(&rig->tick, rig->w, "test", on_tick, rig);
    timer_init(&rig->resume, rig->w, "resume", on_resume, rig);
    url = xasprintf("https://localhost:%u", tls_server_port(rig->server));
    assert_int_equal(address_parse_url(url, &upstream.where, &path, NULL), 0);
    rig->upstream = http_upstream_create(rig->w, &upstream);
}

static void close_rig(struct rig *rig)
{
    http_upstream_destroy(rig->upstream);
    buf_finish(&rig->body);
    world_destroy(rig->w);
    tls_server_stop(rig->server);
}

/* Servers */

/* The head of one request, to the byte; false when there is none. */
static bool read_request(SSL *ssl, char head[4096])
{
    size_t n = 0;

    while (n < 4095 && SSL_read(ssl, head + n, 1) == 1) {
        head[++n] = '\0';
        if (n >= 4 && memcmp(head + n - 4, "\r\n\r\n", 4) == 0) {
            return true;
        }
    }
    return false;
}

static void answer(SSL *ssl, const char *body)
{
    _cleanup_(freep) char *text =
        xasprintf("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);

    SSL_write(ssl, text, (int)strlen(text));
}

/* Every answer is the head of its request. */
static void tell_heads(SSL *ssl, void *arg)
{
    char head[4096];

    while (read_request(ssl, head)) {
        answer(ssl, head);
    }
}

/* A connection is good for one request; it ends when the second one has come. */
static void serve_one(SSL *ssl, void *arg)
{
    char head[4096];

    if (read_request(ssl, head)) {
        answer(ssl, "once");
        (void)read_request(ssl, head);
    }
}

static void end_with_the_connection(SSL *ssl, void *arg)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf";
    char head[4096];

    if (read_request(ssl, head)) {
        SSL_write(ssl, text, sizeof(text) - 1);
        if (strstr(head, "GET /whole ")) {
            SSL_shutdown(ssl);
        }
    }
}

static void echo(SSL *ssl, void *arg)
{
    _cleanup_(freep) char *all = xmalloc(LARGE);
    char head[4096];
    size_t n = 0;
    int r;

    if (!read_request(ssl, head)) {
        return;
    }
    while (n < LARGE && (r = SSL_read(ssl, all + n, (int)(LARGE - n))) > 0) {
        n += (size_t)r;
    }
    r = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
    SSL_write(ssl, head, r);
    SSL_write(ssl, all, (int)n);
    (void)read_request(ssl, head);
}

/* Tests */

static void connections_are_kept(void **state)
{
    struct rig rig;
    char host[64];

    open_rig(&rig, &(struct tls_server_options){ .serve = tell_heads });
    snprintf(host, sizeof(host), "\r\nHost: localhost:%u\r\n", tls_server_port(rig.server));
    for (int i = 0; i < 5; i++) {
        ask(&rig, "/v1/models", NULL);
        assert_int_equal(rig.status, 200);
        assert_non_null(strstr(buf_data(&rig.body), "GET /v1/models HTTP/1.1\r\n"));
        assert_non_null(strstr(buf_data(&rig.body), host));
    }
    assert_int_equal(tls_server_accepted(rig.server), 1);
    close_rig(&rig);
}

static void a_dead_kept_connection_costs_one_retry(void **state)
{
    struct rig rig;

    open_rig(&rig, &(struct tls_server_options){ .serve = serve_one });
    for (unsigned i = 1; i <= 4; i++) {
        ask(&rig, "/", NULL);
        assert_false(rig.failed);
        assert_string_equal(buf_data(&rig.body), "once");
        assert_int_equal(tls_server_accepted(rig.server), i);
    }
    close_rig(&rig);
}

static void an_answer_to_the_end_needs_a_goodbye(void **state)
{
    struct rig rig;

    open_rig(&rig, &(struct tls_server_options){ .serve = end_with_the_connection });
    ask(&rig, "/whole", NULL);
    assert_false(rig.failed);
    assert_string_equal(buf_data(&rig.body), "half");
    ask(&rig, "/cut", NULL);
    assert_true(rig.failed);
    assert_int_equal(rig.error.code, -ECONNRESET);
    close_rig(&rig);
}

static void large_bodies_go_both_ways(void **state)
{
    struct span body = { xmalloc(LARGE), LARGE };
    struct rig rig;

    for (size_t i = 0; i < LARGE; i++) {
        UNCONST(char *, body.p)[i] = (char)(i * 2654435761u >> 13);
    }
    open_rig(&rig, &(struct tls_server_options){ .serve = echo });
    rig.pausing = true;
    ask(&rig, "/", &body);
    assert_false(rig.failed);
    assert_true(rig.pauses > 16);
    assert_int_equal(rig.body.len, LARGE);
    assert_memory_equal(buf_data(&rig.body), body.p, LARGE);
    free(UNCONST(char *, body.p));
    close_rig(&rig);
}

static void a_refusal_says_why(void **state)
{
    struct rig rig;

    open_rig(&rig, &(struct tls_server_options){ .serve = tell_heads, .self_signed = true });
    ask(&rig, "/", NULL);
    assert_true(rig.failed);
    assert_int_equal(rig.error.code, -ECONNREFUSED);
    if (!strstr(rig.error.text, "cannot connect to localhost:") ||
        !strstr(rig.error.text, "the certificate of localhost is not valid: self-signed")) {
        fail_msg("\"%s\"", rig.error.text);
    }
    close_rig(&rig);
}

static void a_stranger_is_named(void **state)
{
    struct http_upstream_options where = { .where = { .host = "nope.invalid", .port = 80 } };
    struct rig rig;

    open_rig(&rig, &(struct tls_server_options){ .serve = tell_heads });
    http_upstream_destroy(rig.upstream);
    rig.upstream = http_upstream_create(rig.w, &where);
    ask(&rig, "/", NULL);
    assert_true(rig.failed);
    assert_int_equal(rig.error.code, -ECONNREFUSED);
    assert_non_null(strstr(rig.error.text, "cannot connect to nope.invalid:80: "));
    assert_non_null(strstr(rig.error.text, "\"nope.invalid\""));
    close_rig(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_are_kept),
        cmocka_unit_test(a_dead_kept_connection_costs_one_retry),
        cmocka_unit_test(an_answer_to_the_end_needs_a_goodbye),
        cmocka_unit_test(large_bodies_go_both_ways),
        cmocka_unit_test(a_refusal_says_why),
        cmocka_unit_test(a_stranger_is_named),
    };

    tls_server_trust();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
