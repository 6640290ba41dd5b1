// SPDX-License-Identifier: Apache-2.0
/*
 * Server and client against each other, through a relay of both, in the simulated world with random
 * latency and over real sockets: many calls at once, bodies up to megabytes both ways, answers in
 * pieces; every byte is checked.
 */
#include "unit.h"

#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/sim.h"
#include "base/str.h"
#include "http/client.h"
#include "http/server.h"

enum { CALLS = 200, AT_ONCE = 12, BODY_MAX = 1 << 20 };

struct rig {
    struct world *world;
    struct http_server *origin, *relay;
    struct http_upstream *to_origin, *to_relay;
    unsigned started, ended, failed;
    bool real;
};

struct one_call { /* the outermost caller */
    struct rig *rig;
    struct buf sent, got;
    struct span body;
    struct http_call *call;
};

struct relayed {
    struct http_exchange *x;
    struct http_call *call;
    struct span body;
};

static void begin_call(struct rig *rig);

/* The origin gives the body back, whole or in pieces, as the path says. */
static void on_origin(void *owner, struct http_exchange *x)
{
    struct span path = http_exchange_head(x)->path, body = http_exchange_body(x);
    char *copy = xmemdup(body.p, body.n);

    if (span_eq(path, "/whole")) {
        http_respond(x, 200, "text/plain", (struct span){ copy, body.n });
    } else {
        http_respond_start(x, 200, "text/plain", span_eq(path, "/length") ? (int64_t)body.n : -1);
        for (size_t at = 0, n; at < body.n; at += n) {
            n = MIN_OF(body.n - at, (size_t)7001);
            http_respond_write(x, copy + at, n);
        }
        http_respond_end(x);
    }
    free(copy);
}

static void on_relay_head(void *owner, const struct http_head *head)
{
    struct relayed *r = owner;

    http_respond_start(r->x, head->status, NULL,
                       head->framing == HTTP_LENGTH ? (int64_t)head->content_length : -1);
}

static void on_relay_body(void *owner, const char *p, size_t n)
{
    struct relayed *r = owner;

    http_respond_write(r->x, p, n);
    if (http_exchange_queued(r->x) > 100000) {
        http_call_pause(r->call);
    }
}

static void on_relay_end(void *owner)
{
    struct relayed *r = owner;

    http_respond_end(r->x);
    free(r);
}

static void on_relay_fail(void *owner, const struct error *e)
{
    fail_msg("relay: %s", e->text);
}

static void on_relay_drain(void *owner)
{
    struct relayed *r = owner;

    http_call_resume(r->call);
}

static void on_relay_gone(void *owner)
{
    fail_msg("the caller has gone");
}

static void on_relay(void *owner, struct http_exchange *x)
{
    static const struct http_call_handler handler = { on_relay_head, on_relay_body, on_relay_end,
                                                      on_relay_fail };
    static const struct http_exchange_events events = { on_relay_gone, on_relay_drain };
    struct rig *rig = owner;
    struct relayed *r = xcalloc(1, sizeof(*r));
    char *path = span_dup(http_exchange_head(x)->target);

    r->x = x;
    r->body = http_exchange_body(x);
    http_exchange_set_events(x, &events, r);
    r->call =
        http_call_start(rig->to_origin,
                        &(struct http_call_request){
                            .method = "POST", .path = path, .body = &r->body, .body_parts = 1 },
                        &handler, r);
    free(path);
}

static void on_head(void *owner, const struct http_head *head)
{
    assert_int_equal(head->status, 200);
}

static void on_body(void *owner, const char *p, size_t n)
{
    struct one_call *c = owner;

    assert_int_equal(buf_append(&c->got, p, n), 0);
}

static void on_end(void *owner)
{
    struct one_call *c = owner;
    struct rig *rig = c->rig;

    assert_int_equal(c->got.len, c->sent.len);
    assert_memory_equal(buf_data(&c->got), buf_data(&c->sent), c->sent.len);
    buf_finish(&c->got);
    buf_finish(&c->sent);
    free(c);
    if (rig->started < CALLS) {
        begin_call(rig);
    }
    if (++rig->ended == CALLS && rig->real) {
        world_stop(rig->world);
    }
}

static void on_fail(void *owner, const struct error *e)
{
    fail_msg("%s", e->text);
}

/* Mostly small, now and then a megabyte. */
static size_t random_size(struct world *w)
{
    return 1 + world_random_below(w, world_random_below(w, 8) == 0 ? BODY_MAX : 3000);
}

static void begin_call(struct rig *rig)
{
    static const struct http_call_handler handler = { on_head, on_body, on_end, on_fail };
    static const char *const paths[] = { "/whole", "/length", "/pieces" };
    struct one_call *c = xcalloc(1, sizeof(*c));
    size_t n = random_size(rig->world);

    c->rig = rig;
    buf_init(&c->sent, BODY_MAX);
    buf_init(&c->got, BODY_MAX);
    world_random(rig->world, buf_reserve(&c->sent, n), n);
    buf_added(&c->sent, n);
    c->body = buf_span(&c->sent);
    c->call = http_call_start(rig->to_relay,
                              &(struct http_call_request){ .method = "POST",
                                                           .path = paths[rig->started++ % 3],
                                                           .body = &c->body,
                                                           .body_parts = 1 },
                              &handler, c);
}

static bool all_ended(void *arg)
{
    struct rig *rig = arg;

    return rig->ended == CALLS;
}

static void run(struct world *w, const char *origin, const char *relay, bool real)
{
    struct rig rig = { .world = w, .real = real };
    struct address where;
    struct error e = { 0 };

    rig.origin =
        http_server_create(w, &(struct http_server_options){ .handle = on_origin, .owner = &rig });
    rig.relay =
        http_server_create(w, &(struct http_server_options){ .handle = on_relay, .owner = &rig });
    assert_int_equal(address_parse(origin, &where, &e), 0);
    assert_int_equal(http_server_listen(rig.origin, &where, NULL, &where, &e), 0);
    rig.to_origin = http_upstream_create(w, &(struct http_upstream_options){ .where = where });
    assert_int_equal(address_parse(relay, &where, &e), 0);
    assert_int_equal(http_server_listen(rig.relay, &where, NULL, &where, &e), 0);
    rig.to_relay = http_upstream_create(w, &(struct http_upstream_options){ .where = where });
    for (int i = 0; i < AT_ONCE; i++) {
        begin_call(&rig);
    }
    if (real) {
        world_run(w);
    } else {
        assert_true(sim_run_until(w, all_ended, &rig, 3600 * 1000));
        sim_run_for(w, 1000);
    }
    assert_int_equal(rig.ended, CALLS);
    assert_int_equal(http_server_exchanges(rig.origin), 0);
    assert_int_equal(http_server_exchanges(rig.relay), 0);
    assert_true(http_server_connections(rig.origin) <= AT_ONCE);
    http_upstream_destroy(rig.to_relay);
    http_upstream_destroy(rig.to_origin);
    http_server_destroy(rig.relay);
    http_server_destroy(rig.origin);
    world_destroy(w);
}

static void test_simulated(void **state)
{
    struct world *w = sim_create(test_seed("simulated"));

    run(w, "127.0.0.1:0", "unix:/relay", false);
}

static void test_simulated_slow(void **state)
{
    struct world *w = sim_create(test_seed("simulated_slow"));

    sim_set_latency(w, 30);
    run(w, "127.0.0.1:0", "unix:/relay", false);
}

static void test_real(void **state)
{
    char dir[] = "/tmp/berth-http-XXXXXX", path[64];

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "unix:%s/s", dir);
    run(world_create(), path, "127.0.0.1:0", true);
    rmdir(dir);
}

/* An upstream that answers a large request early: politely (our server: it goes on reading for a
 * while) or rudely (it closes at once, most of the request unread). Either is heard. */
struct early {
    struct world *world;
    struct http_upstream *upstream;
    struct span body;
    unsigned rounds, heard;
    unsigned rude_open; /* connections of the rude one */
    int status;
};

struct rude_conn {
    struct early *early;
    struct stream *stream;
};

static void ask_early(struct early *e);

static void stop_when_done(struct early *e)
{
    if (e->heard == e->rounds && e->rude_open == 0) {
        world_stop(e->world);
    }
}

static void on_early_head(void *owner, const struct http_head *head)
{
    ((struct early *)owner)->status = head->status;
}

static void on_early_body(void *owner, const char *p, size_t n)
{
}

static void on_early_end(void *owner)
{
    struct early *e = owner;

    assert_int_equal(e->status, 413);
    e->heard++;
    ask_early(e);
}

static void ask_early(struct early *e)
{
    static const struct http_call_handler handler = { on_early_head, on_early_body, on_early_end,
                                                      on_fail };

    if (e->heard == e->rounds) {
        stop_when_done(e);
        return;
    }
    http_call_start(e->upstream,
                    &(struct http_call_request){
                        .method = "POST", .path = "/", .body = &e->body, .body_parts = 1 },
                    &handler, e);
}

static void on_rude_data(void *owner, const char *p, size_t n)
{
    struct rude_conn *c = owner;

    stream_read_stop(c->stream);
    stream_write(c->stream, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno", 47);
}

static void on_rude_end(void *owner, int err)
{
    struct rude_conn *c = owner;

    stream_close(c->stream);
    c->early->rude_open--;
    stop_when_done(c->early);
    free(c);
}

static void on_rude_drain(void *owner)
{
    on_rude_end(owner, 0);
}

static void on_rude_accept(void *owner, struct stream *stream)
{
    static const struct stream_handler handler = { on_rude_data, on_rude_end, on_rude_drain };
    struct rude_conn *c = xmalloc(sizeof(*c));

    *c = (struct rude_conn){ owner, stream };
    c->early->rude_open++;
    stream_set_handler(stream, &handler, c);
    stream_read_start(stream);
}

static void hear_early_answers(const char *at, bool rude)
{
    struct early e = { .world = world_create(), .rounds = 50 };
    struct stream_listener *listener = NULL;
    struct http_server *server = NULL;
    struct address where;
    struct error error = { 0 };

    assert_int_equal(address_parse(at, &where, &error), 0);
    if (rude) {
        assert_int_equal(
            stream_listen(e.world, &where, on_rude_accept, &e, &listener, &where, &error), 0);
    } else {
        server = http_server_create(e.world, &(struct http_server_options){
                                                 .handle = on_origin, .max_body_bytes = BODY_MAX });
        assert_int_equal(http_server_listen(server, &where, NULL, &where, &error), 0);
    }
    e.upstream = http_upstream_create(e.world, &(struct http_upstream_options){ .where = where });
    e.body = (struct span){ xcalloc(1, 32 * BODY_MAX), 32 * BODY_MAX };
    ask_early(&e);
    world_run(e.world);
    assert_int_equal(e.heard, e.rounds);
    http_upstream_destroy(e.upstream);
    http_server_destroy(server);
    stream_listener_close(listener);
    world_destroy(e.world);
    free(UNCONST(char *, e.body.p));
}

static void test_early_answers(void **state)
{
    char dir[] = "/tmp/berth-http-XXXXXX", path[64];

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "unix:%s/s", dir);
    hear_early_answers(path, false);
    hear_early_answers(path, true);
    hear_early_answers("127.0.0.1:0", false);
    hear_early_answers("127.0.0.1:0", true);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simulated),
        cmocka_unit_test(test_simulated_slow),
        cmocka_unit_test(test_real),
        cmocka_unit_test(test_early_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
