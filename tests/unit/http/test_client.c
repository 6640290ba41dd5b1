// SPDX-License-Identifier: Apache-2.0
/* The client against a peer by hand, in a simulated world: framing, pool, stale connections,
 * back-pressure, time, cancelling. */
#include "unit.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "http/client.h"
#include "talk.h"

enum { PEERS_MAX = 16, LARGE = 8 << 20, AHEAD_MAX = 512 << 10 };

struct rig {
    struct world *world;
    struct stream_listener *listener;
    struct http_upstream *upstream;
    struct address where;
    struct talk peers[PEERS_MAX]; /* the accepted connections, in order */
    unsigned accepted;
    struct http_call *call;
    /* of the call: */
    struct buf body;
    int status, heads, ends, fails;
    struct error error;
    bool pause_on_body, cancel_on_head, again_on_end, again_on_fail, destroy_on_fail;
    char *large; /* the body of ask_large, gone with the head of the answer */
};

static void on_accept(void *owner, struct stream *s)
{
    struct rig *rig = owner;

    assert_true(rig->accepted < PEERS_MAX);
    talk_take(&rig->peers[rig->accepted++], s);
}

static void ask(struct rig *rig, const char *method, const char *body);

static void on_head(void *owner, const struct http_head *head)
{
    struct rig *rig = owner;

    rig->heads++;
    rig->status = head->status;
    free(TAKE_PTR(rig->large));
    if (rig->cancel_on_head) {
        http_call_cancel(TAKE_PTR(rig->call));
    }
}

static void on_body(void *owner, const char *p, size_t n)
{
    struct rig *rig = owner;

    assert_true(n > 0);
    buf_append(&rig->body, p, n);
    if (rig->pause_on_body) {
        http_call_pause(rig->call);
    }
}

static void on_end(void *owner)
{
    struct rig *rig = owner;

    rig->ends++;
    rig->call = NULL;
    if (rig->again_on_end) {
        rig->again_on_end = false;
        ask(rig, "GET", NULL);
    }
}

static void on_fail(void *owner, const struct error *e)
{
    struct rig *rig = owner;

    rig->fails++;
    rig->error = *e;
    rig->call = NULL;
    if (rig->again_on_fail) {
        rig->again_on_fail = false;
        ask(rig, "GET", NULL);
    } else if (rig->destroy_on_fail) {
        rig->destroy_on_fail = false;
        rig->upstream = http_upstream_destroy(rig->upstream);
    }
}

static const struct http_call_handler handler = { on_head, on_body, on_end, on_fail };

static void ask_parts(struct rig *rig, const char *method, const struct span *parts, size_t count)
{
    buf_clear(&rig->body);
    rig->status = rig->heads = rig->ends = rig->fails = 0;
    rig->error = (struct error){ 0 };
    rig->call = http_call_start(rig->upstream,
                                &(struct http_call_request){ .method = method,
                                                             .path = "/p?q",
                                                             .headers = "X-A: b\r\n",
                                                             .body = parts,
                                                             .body_parts = count,
                                                             .head_timeout_ms = 3000,
                                                             .idle_timeout_ms = 2000 },
                                &handler, rig);
    assert_int_equal(rig->heads + rig->ends + rig->fails, 0);
}

static void ask(struct rig *rig, const char *method, const char *body)
{
    const struct span parts[2] = { span_of(body), SPAN("!") };

    ask_parts(rig, method, parts, body ? 2 : 0);
}

/* A body of LARGE bytes in rig->large, all 'a', in uneven parts. */
static void ask_large(struct rig *rig)
{
    struct span parts[4];

    rig->large = xmalloc(LARGE);
    memset(rig->large, 'a', LARGE);
    parts[0] = (struct span){ rig->large, 1 };
    parts[1] = (struct span){ rig->large + 1, LARGE / 2 };
    parts[2] = (struct span){ rig->large, 0 };
    parts[3] = (struct span){ rig->large + 1 + LARGE / 2, LARGE / 2 - 1 };
    ask_parts(rig, "POST", parts, 4);
}

/* What stands of the body with a peer. */
static struct span large_got(const struct talk *t)
{
    const char *body = strstr(buf_data(&t->got), "\r\n\r\n");

    assert_non_null(body);
    return (struct span){ body + 4, t->got.len - (size_t)(body + 4 - buf_data(&t->got)) };
}

static void start(struct rig *rig)
{
    struct error e;

    *rig = (struct rig){ .world = sim_create(11) };
    buf_init(&rig->body, 256 << 20);
    assert_int_equal(address_parse("127.0.0.1:0", &rig->where, &e), 0);
    assert_int_equal(
        stream_listen(rig->world, &rig->where, on_accept, rig, &rig->listener, &rig->where, &e), 0);
    rig->upstream = http_upstream_create(
        rig->world, &(struct http_upstream_options){
                        .where = rig->where, .host = "engine", .max_idle = 2, .idle_ms = 1000 });
}

static void stop(struct rig *rig)
{
    http_upstream_destroy(rig->upstream);
    for (unsigned i = 0; i < rig->accepted; i++) {
        talk_close(&rig->peers[i]);
    }
    stream_listener_close(rig->listener);
    buf_finish(&rig->body);
    free(rig->large);
    sim_run_for(rig->world, 10);
    world_destroy(rig->world);
}

static void settle(struct rig *rig)
{
    sim_run_for(rig->world, 5);
}

/* The last connection answers. */
static void reply(struct rig *rig, const char *text)
{
    talk_send(&rig->peers[rig->accepted - 1], text);
    settle(rig);
}

static void hang_up(struct rig *rig)
{
    talk_close(&rig->peers[rig->accepted - 1]);
    settle(rig);
}

static void test_call(void **state)
{
    struct rig rig;

    start(&rig);
    ask(&rig, "POST", "body");
    settle(&rig);
    assert_string_equal(
        buf_data(&rig.peers[0].got),
        "POST /p?q HTTP/1.1\r\nHost: engine\r\nX-A: b\r\nContent-Length: 5\r\n\r\nbody!");
    reply(&rig, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    assert_int_equal(rig.heads, 1);
    assert_int_equal(rig.status, 200);
    assert_string_equal(buf_data(&rig.body), "ab");
    assert_int_equal(rig.ends, 0);
    reply(&rig, "cd");
    assert_string_equal(buf_data(&rig.body), "abcd");
    assert_int_equal(rig.ends, 1);
    talk_forget(&rig.peers[0]);
    ask(&rig, "GET", NULL); /* on the same connection */
    settle(&rig);
    assert_int_equal(rig.accepted, 1);
    assert_string_equal(buf_data(&rig.peers[0].got),
                        "GET /p?q HTTP/1.1\r\nHost: engine\r\nX-A: b\r\n\r\n");
    reply(&rig,
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert_string_equal(buf_data(&rig.body), "abcde");
    assert_int_equal(rig.ends, 1);
    sim_run_for(rig.world, 1500); /* kept for a second only */
    assert_true(rig.peers[0].ended);
    stop(&rig);
}

/* An answer gives the same wherever it is cut, and the connection is used again. */
static void test_any_cut(void **state)
{
    static const char text[] =
        "HTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n5;x\r\nde fg\r\n0\r\nT: x\r\n\r\n";
    struct rig rig;

    start(&rig);
    for (size_t cut = 1; cut < sizeof(text) - 1; cut++) {
        ask(&rig, "GET", NULL);
        settle(&rig);
        talk_send_bytes(&rig.peers[0], text, cut);
        settle(&rig);
        talk_send_bytes(&rig.peers[0], text + cut, sizeof(text) - 1 - cut);
        settle(&rig);
        assert_int_equal(rig.ends, 1);
        assert_string_equal(buf_data(&rig.body), "abcde fg");
    }
    assert_int_equal(rig.accepted, 1);
    stop(&rig);
}

static void test_answers_without_reuse(void **state)
{
    // clang-format off
    static const struct { const char *method, *text, *body; bool hang_up; } cases[] = {
        { "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab", "ab", false },
        { "GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", "ab", false },
        { "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 200 OK\r\n", "ab", false },
        { "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nx", "", false },
        { "GET", "HTTP/1.1 200 OK\r\n\r\nall of it", "all of it", true },
    };
    // clang-format on
    struct rig rig;

    start(&rig);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        ask(&rig, cases[i].method, NULL);
        settle(&rig);
        assert_int_equal(rig.accepted, i + 1);
        reply(&rig, cases[i].text);
        if (cases[i].hang_up) {
            assert_int_equal(rig.ends, 0);
            hang_up(&rig);
        } else {
            assert_true(rig.peers[i].ended);
        }
        assert_int_equal(rig.ends, 1);
        assert_string_equal(buf_data(&rig.body), cases[i].body);
    }
    stop(&rig);
}

static void test_bodiless(void **state)
{
    struct rig rig;

    start(&rig);
    ask(&rig, "HEAD", NULL);
    settle(&rig);
    reply(&rig, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
    assert_int_equal(rig.ends, 1);
    ask(&rig, "DELETE", NULL);
    settle(&rig);
    assert_true(talk_has(&rig.peers[0], "Content-Length: 0\r\n"));
    reply(&rig, "HTTP/1.1 204 No Content\r\n\r\n");
    assert_int_equal(rig.ends, 1);
    assert_int_equal(rig.accepted, 1);
    stop(&rig);
}

static void test_failures(void **state)
{
    // clang-format off
    static const struct { const char *text; int code; bool hang_up; const char *body; } cases[] = {
        { "", -ECONNRESET, true, "" },
        { "HTTP/1.1 200 OK\r\nConte", -ECONNRESET, true, "" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", -ECONNRESET, true, "ab" },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", -ECONNRESET, true, "abc" },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz", -EPROTO, false, "abc" },
        { "nonsense\r\n\r\n", -EPROTO, false, "" },
        { "HTTP/1.1 101 Switching Protocols\r\n\r\n", -EPROTO, false, "" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", -EPROTO, false, "" },
    };
    // clang-format on
    struct rig rig;

    start(&rig);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        ask(&rig, "POST", "x");
        settle(&rig);
        assert_int_equal(rig.accepted, i + 1);
        reply(&rig, cases[i].text);
        if (cases[i].hang_up) {
            assert_int_equal(rig.fails, 0);
            hang_up(&rig);
        } else {
            assert_true(rig.peers[i].ended);
        }
        assert_int_equal(rig.fails, 1);
        assert_int_equal(rig.error.code, cases[i].code);
        assert_string_equal(buf_data(&rig.body), cases[i].body);
        assert_int_equal(rig.ends, 0);
    }
    stop(&rig);
}

static void test_refused(void **state)
{
    struct rig rig;

    start(&rig);
    rig.listener = stream_listener_close(rig.listener);
    ask(&rig, "GET", NULL);
    settle(&rig);
    assert_int_equal(rig.error.code, -ECONNREFUSED);
    stop(&rig);
}

/* A kept connection that the peer has given up: one more try, which the caller does not see. */
static void test_stale(void **state)
{
    struct rig rig;

    start(&rig);
    ask(&rig, "POST", "one");
    settle(&rig);
    reply(&rig, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    ask(&rig, "POST", "two");
    talk_close(&rig.peers[0]); /* while the request is under way */
    settle(&rig);
    assert_int_equal(rig.accepted, 2);
    assert_int_equal(rig.fails, 0);
    assert_true(talk_has(&rig.peers[1], "Content-Length: 4\r\n\r\ntwo!"));
    hang_up(&rig); /* no second try */
    assert_int_equal(rig.accepted, 2);
    assert_int_equal(rig.fails, 1);
    assert_int_equal(rig.error.code, -ECONNRESET);
    stop(&rig);
}

/* A large body is not copied ahead of what the peer takes: letters that are written over it while
 * it is under way arrive from AHEAD_MAX on behind what had arrived. */
static void test_large_request(void **state)
{
    struct rig rig;
    size_t had[26] = { 0 };
    struct span got;
    int steps = 0;

    start(&rig);
    sim_set_latency(rig.world, 3);
    rig.peers[0].deaf = true; /* for a while the peer takes nothing at all */
    ask_large(&rig);
    sim_run_for(rig.world, 100);
    talk_read(&rig.peers[0], true);
    while (rig.peers[0].got.len == 0) {
        settle(&rig);
    }
    do {
        had[steps] = large_got(&rig.peers[0]).n;
        memset(rig.large, 'a' + steps, LARGE);
        sim_run_for(rig.world, 20);
    } while (++steps < 26 && large_got(&rig.peers[0]).n < LARGE);
    sim_run_for(rig.world, 1000);
    got = large_got(&rig.peers[0]);
    assert_int_equal(got.n, LARGE);
    assert_true(steps > 5);
    for (int i = 0; i < steps; i++) {
        for (size_t at = had[i] + AHEAD_MAX; at < LARGE; at++) {
            assert_true(got.p[at] >= 'a' + i);
        }
    }
    talk_forget(&rig.peers[0]);
    reply(&rig, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    sim_run_for(rig.world, 100);
    assert_int_equal(rig.ends, 1);
    ask(&rig, "GET", NULL); /* all was sent: the connection is good for more */
    sim_run_for(rig.world, 100);
    assert_int_equal(rig.accepted, 1);
    assert_true(talk_has(&rig.peers[0], "GET /p?q"));
    stop(&rig);
}

/* The answer comes while the body is under way: it is heard, the rest is not sent (the test frees
 * it with the head), and the connection is not used again. */
static void test_early_answer(void **state)
{
    struct rig rig;

    start(&rig);
    for (unsigned i = 0; i < 2; i++) {
        rig.peers[i].deaf = true;
        ask_large(&rig);
        settle(&rig);
        reply(&rig, "HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nab");
        assert_int_equal(rig.status, 413);
        if (i == 1) {
            talk_read(&rig.peers[i], true); /* takes all that was written: the room is not used */
            settle(&rig);
            assert_in_range(large_got(&rig.peers[i]).n, 1, 2 * AHEAD_MAX);
        }
        reply(&rig, "cde");
        assert_string_equal(buf_data(&rig.body), "abcde");
        assert_int_equal(rig.ends, 1);
        talk_read(&rig.peers[i], true);
        settle(&rig);
        assert_true(rig.peers[i].ended);
        assert_int_equal(rig.accepted, i + 1);
    }
    stop(&rig);
}

/* The second try sends the large body from its begin. */
static void test_large_stale(void **state)
{
    struct rig rig;
    struct span got;

    start(&rig);
    ask(&rig, "GET", NULL);
    settle(&rig);
    reply(&rig, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    talk_read(&rig.peers[0], false);
    ask_large(&rig);
    settle(&rig);
    hang_up(&rig); /* a part was written */
    assert_int_equal(rig.accepted, 2);
    settle(&rig);
    got = large_got(&rig.peers[1]);
    assert_int_equal(got.n, LARGE);
    assert_true(got.p[0] == 'a' && got.p[LARGE - 1] == 'a');
    reply(&rig, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(rig.ends, 1);
    stop(&rig);
}

/* Once a byte of the answer came there is no second try. */
static void test_no_retry_after_a_byte(void **state)
{
    struct rig rig;

    start(&rig);
    ask(&rig, "GET", NULL);
    settle(&rig);
    reply(&rig, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    ask(&rig, "GET", NULL);
    settle(&rig);
    reply(&rig, "H");
    hang_up(&rig);
    assert_int_equal(rig.accepted, 1);
    assert_int_equal(rig.fails, 1);
    stop(&rig);
}

static void test_garbage_while_idle(void **state)
{
    struct rig rig;

    start(&rig);
    ask(&rig, "GET", NULL);
    settle(&rig);
    reply(&rig, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    reply(&rig, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); /* nobody asked */
    assert_true(rig.peers[0].ended);
    ask(&rig, "GET", NULL);
    settle(&rig);
    assert_int_equal(rig.accepted, 2);
    assert_int_equal(rig.heads, 0);
    stop(&rig);
}

static void test_pause(void **state)
{
    struct rig rig;
    char *big = xmalloc(200000);

    memset(big, 'b', 200000);
    start(&rig);
    ask(&rig, "GET", NULL);
    settle(&rig);
    rig.pause_on_body = true;
    talk_send(
        &rig.peers[0],
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n30D40\r\n");
    talk_send_bytes(&rig.peers[0], big, 200000);
    reply(&rig, "\r\n0\r\n\r\n");
    sim_run_for(rig.world, 10000); /* paused time is not idle time */
    assert_string_equal(buf_data(&rig.body), "abc");
    assert_true(stream_queued(rig.peers[0].stream) > 0); /* the peer is held back */
    http_call_resume(rig.call);
    assert_int_equal(rig.body.len, 3); /* later turns only */
    settle(&rig);
    assert_string_equal(buf_data(&rig.body), "abcde");
    for (int i = 0; i < 100 && !rig.ends; i++) {
        http_call_resume(rig.call);
        settle(&rig);
    }
    assert_int_equal(rig.ends, 1);
    assert_int_equal(rig.body.len, 200005);
    rig.pause_on_body = false;
    ask(&rig, "GET", NULL);
    settle(&rig);
    assert_int_equal(rig.accepted, 1);
    reply(&rig, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(rig.ends, 1);
    free(big);
    stop(&rig);
}

static void test_cancel(void **state)
{
    struct rig rig;

    start(&rig);
    ask(&rig, "GET", NULL);
    http_call_cancel(rig.call); /* before there is a connection */
    settle(&rig);
    ask(&rig, "GET", NULL);
    settle(&rig);
    http_call_cancel(rig.call);
    settle(&rig);
    assert_true(rig.peers[rig.accepted - 1].ended);
    rig.cancel_on_head = true;
    ask(&rig, "GET", NULL);
    settle(&rig);
    reply(&rig, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
    assert_int_equal(rig.heads, 1);
    assert_int_equal(rig.body.len + (size_t)rig.ends + (size_t)rig.fails, 0);
    assert_true(rig.peers[rig.accepted - 1].ended);
    stop(&rig);
}

static void test_timeouts(void **state)
{
    struct rig rig;

    start(&rig);
    ask(&rig, "GET", NULL);
    sim_run_for(rig.world, 2900);
    assert_int_equal(rig.fails, 0);
    sim_run_for(rig.world, 300);
    assert_int_equal(rig.error.code, -ETIMEDOUT);
    ask(&rig, "GET", NULL);
    settle(&rig);
    reply(&rig, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
    for (int i = 0; i < 3; i++) {
        reply(&rig, "x");
        sim_run_for(rig.world, 1800);
    }
    assert_int_equal(rig.fails, 0);
    sim_run_for(rig.world, 500);
    assert_int_equal(rig.error.code, -ETIMEDOUT);
    assert_true(rig.peers[rig.accepted - 1].ended);
    stop(&rig);
}

/* A call begun when another's time was up has its own limit, also if it gets no connection. */
static void test_timeout_of_the_next(void **state)
{
    struct rig rig;

    start(&rig);
    ask(&rig, "GET", NULL);
    settle(&rig);
    stream_listener_pause(rig.listener, true);
    rig.again_on_fail = true;
    sim_run_for(rig.world, 4000);
    assert_false(rig.again_on_fail);
    assert_int_equal(rig.fails, 0);
    sim_run_for(rig.world, 4000);
    assert_int_equal(rig.fails, 1);
    assert_int_equal(rig.error.code, -ETIMEDOUT);
    stop(&rig);
}

static void test_pool(void **state)
{
    struct rig rig;
    struct rig others[3];

    start(&rig);
    for (int i = 0; i < 3; i++) {
        others[i] = rig; /* three calls at once: their results go to copies */
        others[i].body = (struct buf){ .max = 1000 };
        ask(&others[i], "GET", NULL);
    }
    settle(&rig);
    assert_int_equal(rig.accepted, 3);
    for (int i = 0; i < 3; i++) {
        talk_send(&rig.peers[i], "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        settle(&rig);
        assert_int_equal(others[i].ends, 1);
    }
    assert_true(rig.peers[0].ended); /* two are kept, the oldest went */
    assert_false(rig.peers[1].ended);
    talk_forget(&rig.peers[2]);
    rig.again_on_end = true;
    ask(&rig, "GET", NULL);
    settle(&rig);
    assert_true(talk_has(&rig.peers[2], "GET /p?q")); /* last used first */
    talk_send(&rig.peers[2], "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    settle(&rig);
    assert_int_equal(talk_count(&rig.peers[2], "GET /p?q"), 2); /* asked again from on_end */
    http_upstream_flush(rig.upstream);
    settle(&rig);
    assert_true(rig.peers[1].ended);
    assert_false(rig.peers[2].ended);
    stop(&rig);
}

static void test_destroy(void **state)
{
    struct rig rig;

    start(&rig);
    ask(&rig, "GET", NULL);
    settle(&rig);
    rig.upstream = http_upstream_destroy(rig.upstream);
    assert_int_equal(rig.error.code, -ECANCELED);
    settle(&rig);
    assert_true(rig.peers[0].ended);
    stop(&rig);
}

/* An owner may give the upstream up when a call of it fails, also when time was up. */
static void test_destroy_on_fail(void **state)
{
    struct rig rig;

    start(&rig);
    ask(&rig, "GET", NULL);
    ask(&rig, "GET", NULL);
    rig.destroy_on_fail = true;
    sim_run_for(rig.world, 5000);
    assert_null(rig.upstream);
    assert_int_equal(rig.fails, 2); /* the one in time, the other with the upstream */
    assert_int_equal(rig.error.code, -ECANCELED);
    stop(&rig);
}

struct fetched {
    int calls, result, status;
    char body[100];
};

static void on_fetched(void *owner, int result, int status, struct span body, const struct error *e)
{
    struct fetched *f = owner;

    f->calls++;
    f->result = result;
    f->status = status;
    snprintf(f->body, sizeof(f->body), "%.*s", SPAN_ARG(body));
    assert_true((result < 0) == (e != NULL));
}

static void test_fetch(void **state)
{
    static const struct http_call_request get = { .method = "GET", .path = "/health" };
    struct fetched f = { 0 };
    struct rig rig;

    start(&rig);
    http_fetch_start(rig.upstream, &get, 5, on_fetched, &f);
    settle(&rig);
    reply(&rig, "HTTP/1.1 503 Wait\r\nContent-Length: 5\r\n\r\nab");
    reply(&rig, "cde");
    assert_int_equal(f.calls, 1);
    assert_int_equal(f.result, 0);
    assert_int_equal(f.status, 503);
    assert_string_equal(f.body, "abcde");
    http_fetch_start(rig.upstream, &get, 5, on_fetched, &f);
    settle(&rig);
    reply(&rig, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef");
    assert_int_equal(f.calls, 2);
    assert_int_equal(f.result, -EFBIG);
    http_fetch_cancel(http_fetch_start(rig.upstream, &get, 5, on_fetched, &f));
    settle(&rig);
    assert_int_equal(f.calls, 2);
    stop(&rig);
}

static void tells_host(const char *name, uint16_t port, const char *want)
{
    struct rig rig;
    struct address where = { .port = port };

    start(&rig);
    snprintf(where.host, sizeof(where.host), "%s", name);
    http_upstream_destroy(rig.upstream);
    stream_listener_close(rig.listener);
    assert_int_equal(
        stream_listen(rig.world, &where, on_accept, &rig, &rig.listener, NULL, &rig.error), 0);
    rig.upstream =
        http_upstream_create(rig.world, &(struct http_upstream_options){ .where = where });
    ask(&rig, "GET", NULL);
    settle(&rig);
    assert_true(talk_has(&rig.peers[0], want));
    stop(&rig);
}

static void test_host(void **state)
{
    tells_host("api.example.com", 80, "\r\nHost: api.example.com\r\n");
    tells_host("api.example.com", 443, "\r\nHost: api.example.com:443\r\n");
    tells_host("::1", 80, "\r\nHost: [::1]\r\n");
    tells_host("::1", 8080, "\r\nHost: [::1]:8080\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call),
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_any_cut),
        cmocka_unit_test(test_answers_without_reuse),
        cmocka_unit_test(test_bodiless),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_stale),
        cmocka_unit_test(test_large_request),
        cmocka_unit_test(test_early_answer),
        cmocka_unit_test(test_large_stale),
        cmocka_unit_test(test_no_retry_after_a_byte),
        cmocka_unit_test(test_garbage_while_idle),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_timeout_of_the_next),
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_destroy),
        cmocka_unit_test(test_destroy_on_fail),
        cmocka_unit_test(test_fetch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
