// SPDX-License-Identifier: Apache-2.0
/* Connections with TLS, against a server in threads: what goes through, what is refused and in
 * which words; and names. */
#include "unit.h"

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/sim.h"
#include "base/str.h"
#include "base/stream.h"
#include "tls_server.h"

enum { BIG = 8 * 1024 * 1024, TICK_MS = 1, TOO_LONG_MS = 60000, SLOTS = 8, CHURN = 400 };

struct scene {
    struct world *w;
    struct stream_connecting *connecting;
    struct stream *stream;
    struct error refused; /* why it was not connected */
    struct buf got;
    int end; /* 1: not yet */
    int drains, told;
    bool close_on_data, stop_on_data;
    bool (*until)(struct scene *s);
    struct timer tick;
    uint64_t too_late_ms;
};

static void on_data(void *owner, const char *p, size_t n)
{
    struct scene *s = owner;

    assert_int_equal(buf_append(&s->got, p, n), 0);
    if (s->close_on_data) {
        stream_close(TAKE_PTR(s->stream));
    } else if (s->stop_on_data) {
        stream_read_stop(s->stream);
    }
}

static void on_end(void *owner, int err)
{
    struct scene *s = owner;

    assert_int_equal(s->end, 1);
    s->end = err;
}

static void on_drain(void *owner)
{
    ((struct scene *)owner)->drains++;
}

static const struct stream_handler handler = { on_data, on_end, on_drain };

static void on_connect(void *owner, struct stream *stream, const struct error *e)
{
    struct scene *s = owner;

    s->connecting = NULL;
    s->told++;
    assert_true(!stream == (e != NULL));
    if (e) {
        s->refused = *e;
        return;
    }
    s->stream = stream;
    stream_set_handler(stream, &handler, s);
}

static void on_tick(void *arg)
{
    struct scene *s = arg;

    if (s->until(s)) {
        world_stop(s->w);
    } else if (world_now_ms(s->w) > s->too_late_ms) {
        fail_msg("waited for a minute in vain");
    } else {
        timer_start(&s->tick, TICK_MS);
    }
}

static void run_until(struct scene *s, bool (*until)(struct scene *s))
{
    s->until = until;
    s->too_late_ms = world_now_ms(s->w) + TOO_LONG_MS;
    timer_init(&s->tick, s->w, "test", on_tick, s);
    timer_start(&s->tick, TICK_MS);
    world_run(s->w);
}

static bool is_told(struct scene *s)
{
    return s->told > 0;
}

static bool is_ended(struct scene *s)
{
    return s->end != 1;
}

static bool is_drained(struct scene *s)
{
    return s->drains > 0 && stream_queued(s->stream) == 0;
}

static bool has_all(struct scene *s)
{
    return s->got.len >= BIG;
}

static bool has_pong(struct scene *s)
{
    return s->got.len >= 4;
}

static bool is_gone(struct scene *s)
{
    return !s->stream;
}

static void open_scene(struct scene *s, const char *scheme, const char *host, uint16_t port)
{
    _cleanup_(freep) char *url = xasprintf("%s://%s:%u/v1/", scheme, host, port);
    _cleanup_(freep) char *path = NULL;
    struct address where;
    struct error e;

    *s = (struct scene){ .w = world_create(), .end = 1 };
    buf_init(&s->got, 4 * BIG);
    assert_int_equal(address_parse_url(url, &where, &path, &e), 0);
    assert_string_equal(path, "/v1");
    s->connecting = stream_connect(s->w, &where, on_connect, s);
}

static void connect_scene(struct scene *s, const struct tls_server *server)
{
    open_scene(s, "https", "localhost", tls_server_port(server));
    run_until(s, is_told);
    if (!s->stream) {
        fail_msg("not connected: %s", s->refused.text);
    }
}

static void close_scene(struct scene *s)
{
    if (s->connecting) {
        stream_connect_cancel(s->connecting);
    }
    stream_close(s->stream);
    buf_finish(&s->got);
    world_destroy(s->w);
}

/* Servers */

static bool read_n(SSL *ssl, char *to, size_t n)
{
    while (n > 0) {
        int r = SSL_read(ssl, to, (int)MIN_OF(n, (size_t)1 << 20));

        if (r <= 0) {
            return false;
        }
        to += r;
        n -= (size_t)r;
    }
    return true;
}

static void until_closed(SSL *ssl)
{
    char rest[4096];

    while (SSL_read(ssl, rest, sizeof(rest)) > 0) {
    }
}

static void play_ping_pong(SSL *ssl, void *arg)
{
    char ping[4];

    if (read_n(ssl, ping, 4) && memcmp(ping, "ping", 4) == 0) {
        SSL_write(ssl, "pong", 4);
        SSL_shutdown(ssl);
        until_closed(ssl);
    }
}

/* Says "pong" and hangs up without a goodbye. */
static void hang_up(SSL *ssl, void *arg)
{
    SSL_write(ssl, "pong", 4);
}

static void echo_big(SSL *ssl, void *arg)
{
    char *all = xmalloc(BIG);

    if (read_n(ssl, all, BIG)) {
        SSL_write(ssl, all, BIG);
        until_closed(ssl);
    }
    free(all);
}

struct heard {
    char text[64];
    size_t n;
    bool goodbye, done;
};

struct listening {
    struct scene scene;
    struct heard heard; /* the server's, until done */
};

/* Notes what came, and whether it ended with close_notify. */
static void listen_to_the_end(SSL *ssl, void *arg)
{
    struct heard *heard = arg;
    int r;

    while ((r = SSL_read(ssl, heard->text + heard->n, (int)(sizeof(heard->text) - heard->n))) > 0) {
        heard->n += (size_t)r;
    }
    heard->goodbye = SSL_get_error(ssl, r) == SSL_ERROR_ZERO_RETURN;
    __atomic_store_n(&heard->done, true, __ATOMIC_RELEASE);
}

static void speak_http(int fd, void *arg)
{
    static const char words[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    char hello[4096];

    if (read(fd, hello, sizeof(hello)) > 0 && write(fd, words, sizeof(words) - 1) > 0) {
        shutdown(fd, SHUT_WR);
        while (read(fd, hello, sizeof(hello)) > 0) {
        }
    }
}

static void cut(int fd, void *arg)
{
    char hello[4096];

    if (read(fd, hello, sizeof(hello)) > 0) {
        shutdown(fd, SHUT_WR);
    }
}

static void keep_silent(int fd, void *arg)
{
    char hello[4096];

    while (read(fd, hello, sizeof(hello)) > 0) {
    }
}

/* Tests */

static void words_go_both_ways(void **state)
{
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct tls_server *server = tls_server_start(
            &(struct tls_server_options){ .serve = play_ping_pong, .max_version = version });
        struct scene s;

        connect_scene(&s, server);
        assert_true(stream_peer(s.stream)->tls);
        assert_string_equal(stream_peer(s.stream)->host, "127.0.0.1");
        stream_read_start(s.stream);
        stream_write(s.stream, "pi", 2);
        stream_write(s.stream, "ng", 2);
        run_until(&s, is_ended);
        assert_int_equal(s.end, 0);
        assert_string_equal(buf_data(&s.got), "pong");
        close_scene(&s);
        tls_server_stop(server);
    }
}

static void an_end_without_goodbye_is_a_cut(void **state)
{
    struct tls_server *server = tls_server_start(&(struct tls_server_options){ .serve = hang_up });
    struct scene s;

    connect_scene(&s, server);
    stream_read_start(s.stream);
    run_until(&s, is_ended);
    assert_int_equal(s.end, -ECONNRESET);
    assert_string_equal(buf_data(&s.got), "pong");
    close_scene(&s);
    tls_server_stop(server);
}

/* The server takes nothing back before it has all; then we do not read, then in pieces. */
static void big_bodies_with_back_pressure(void **state)
{
    struct tls_server *server = tls_server_start(&(struct tls_server_options){ .serve = echo_big });
    char *data = xmalloc(BIG);
    struct scene s;
    size_t before;

    for (size_t i = 0; i < BIG; i++) {
        data[i] = (char)(i * 2654435761u >> 13);
    }
    connect_scene(&s, server);
    stream_write(s.stream, data, BIG);
    assert_true(stream_queued(s.stream) >= BIG);
    run_until(&s, is_drained);
    assert_int_equal(s.got.len, 0);
    s.stop_on_data = true; /* after each piece */
    for (int i = 0; i < 40; i++) {
        before = s.got.len;
        stream_read_start(s.stream);
        run_until(&s, has_pong);
        while (s.got.len == before) {
            run_until(&s, has_pong);
        }
        assert_true(s.got.len - before <= 16384);
    }
    s.stop_on_data = false;
    stream_read_start(s.stream);
    run_until(&s, has_all);
    assert_int_equal(s.got.len, BIG);
    assert_memory_equal(buf_data(&s.got), data, BIG);
    free(data);
    close_scene(&s);
    tls_server_stop(server);
}

static bool heard_the_end(struct scene *s)
{
    return __atomic_load_n(&container_of(s, struct listening, scene)->heard.done, __ATOMIC_ACQUIRE);
}

static void the_last_words_arrive_with_a_goodbye(void **state)
{
    struct listening t = { 0 };
    struct tls_server *server = tls_server_start(
        &(struct tls_server_options){ .serve = listen_to_the_end, .arg = &t.heard });

    connect_scene(&t.scene, server);
    stream_write(t.scene.stream, "last words", 10);
    stream_close_flushed(TAKE_PTR(t.scene.stream), 5000);
    run_until(&t.scene, heard_the_end);
    assert_string_equal(t.heard.text, "last words");
    assert_true(t.heard.goodbye);
    close_scene(&t.scene);
    tls_server_stop(server);
}

static void a_stream_may_be_closed_in_its_callback(void **state)
{
    struct tls_server *server = tls_server_start(&(struct tls_server_options){ .serve = hang_up });
    struct scene s;

    connect_scene(&s, server);
    s.close_on_data = true;
    stream_read_start(s.stream);
    run_until(&s, is_gone);
    assert_int_equal(s.end, 1);
    close_scene(&s);
    tls_server_stop(server);
}

static void refused_with(const struct tls_server_options *options, const char *host,
                         const char *why)
{
    struct tls_server *server = tls_server_start(options);
    struct scene s;

    open_scene(&s, "https", host, tls_server_port(server));
    run_until(&s, is_told);
    assert_null(s.stream);
    assert_int_equal(s.refused.code, -EPROTO);
    if (!strstr(s.refused.text, why) || !strstr(s.refused.text, host)) {
        fail_msg("\"%s\" tells nothing of \"%s\"", s.refused.text, why);
    }
    close_scene(&s);
    tls_server_stop(server);
}

static void who_cannot_be_trusted_is_refused_in_words(void **state)
{
    refused_with(
        &(struct tls_server_options){ .serve = play_ping_pong, .names = "DNS:api.example.com" },
        "localhost", "is not valid: hostname mismatch");
    refused_with(&(struct tls_server_options){ .serve = play_ping_pong, .names = "DNS:localhost" },
                 "127.0.0.1", "is not valid: IP address mismatch");
    refused_with(&(struct tls_server_options){ .serve = play_ping_pong, .self_signed = true },
                 "localhost", "is not valid: self-signed certificate");
    refused_with(&(struct tls_server_options){ .serve = play_ping_pong, .expired = true },
                 "localhost", "is not valid: certificate has expired");
    refused_with(
        &(struct tls_server_options){ .serve = play_ping_pong, .max_version = TLS1_1_VERSION },
        "localhost", "the TLS handshake with localhost failed: ");
    refused_with(&(struct tls_server_options){ .serve_raw = speak_http }, "localhost",
                 "does not speak TLS at this port");
    refused_with(&(struct tls_server_options){ .serve_raw = cut }, "localhost",
                 "ended the connection during the TLS handshake");
}

/* The certificate is for the address, as for engines in one's own network. */
static void an_address_can_be_certified(void **state)
{
    struct tls_server *server = tls_server_start(
        &(struct tls_server_options){ .serve = play_ping_pong, .names = "IP:127.0.0.1" });
    struct scene s;

    open_scene(&s, "https", "127.0.0.1", tls_server_port(server));
    run_until(&s, is_told);
    assert_non_null(s.stream);
    close_scene(&s);
    tls_server_stop(server);
}

struct silence {
    struct scene scene;
    struct tls_server *server;
};

static bool was_accepted(struct scene *s)
{
    return tls_server_accepted(container_of(s, struct silence, scene)->server) > 0;
}

static void a_slow_handshake_can_be_given_up(void **state)
{
    struct silence t = { .server = tls_server_start(
                             &(struct tls_server_options){ .serve_raw = keep_silent }) };

    open_scene(&t.scene, "https", "localhost", tls_server_port(t.server));
    run_until(&t.scene, was_accepted);
    assert_int_equal(t.scene.told, 0);
    stream_connect_cancel(TAKE_PTR(t.scene.connecting));
    close_scene(&t.scene);
    tls_server_stop(t.server);
}

/* Many connections, each ended at a moment of its own, in one way or another. */

struct slot {
    struct scene scene;
    struct churn *churn;
    struct timer timer;
};

struct churn {
    struct scene scene; /* the world, and the wait */
    struct tls_server *server;
    struct slot slots[SLOTS];
    unsigned begun, finished, cancelled, connected;
    uint64_t random;
};

static unsigned dice(struct churn *c, unsigned sides)
{
    c->random = c->random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(c->random >> 33) % sides;
}

static void begin_one(struct slot *slot)
{
    struct churn *c = slot->churn;
    struct address where = { .tls = true, .host = "localhost", .port = tls_server_port(c->server) };

    if (c->begun == CHURN) {
        return;
    }
    c->begun++;
    buf_finish(&slot->scene.got);
    slot->scene = (struct scene){ .w = c->scene.w, .end = 1 };
    buf_init(&slot->scene.got, BIG);
    slot->scene.connecting = stream_connect(c->scene.w, &where, on_connect, &slot->scene);
    timer_start(&slot->timer, dice(c, 25));
}

static void on_slot_time(void *arg)
{
    struct slot *slot = arg;
    struct scene *s = &slot->scene;
    struct churn *c = slot->churn;

    if (s->connecting) {
        c->cancelled++;
        stream_connect_cancel(s->connecting);
    } else if (s->stream && s->end == 1 && dice(c, 3) == 0) {
        c->connected++;
        stream_read_start(s->stream);
        stream_write(s->stream, "ping", 4);
        timer_start(&slot->timer, dice(c, 5)); /* once more */
        return;
    } else if (s->stream && dice(c, 2)) {
        stream_write(s->stream, "rest", 4);
        stream_close_flushed(s->stream, dice(c, 20));
    } else {
        stream_close(s->stream);
    }
    c->finished++;
    begin_one(slot);
}

static bool is_churned(struct scene *s)
{
    return container_of(s, struct churn, scene)->finished == CHURN;
}

static void many_come_and_go(void **state)
{
    struct churn c = { .random = test_seed("many_come_and_go") };

    c.server = tls_server_start(&(struct tls_server_options){ .serve = play_ping_pong });
    c.scene.w = world_create();
    for (int i = 0; i < SLOTS; i++) {
        c.slots[i].churn = &c;
        timer_init(&c.slots[i].timer, c.scene.w, "slot", on_slot_time, &c.slots[i]);
        begin_one(&c.slots[i]);
    }
    run_until(&c.scene, is_churned);
    assert_true(c.connected > 0);
    assert_true(c.cancelled > 0);
    for (int i = 0; i < SLOTS; i++) {
        buf_finish(&c.slots[i].scene.got);
    }
    world_destroy(c.scene.w);
    tls_server_stop(c.server);
}

/* Names */

static void on_accept(void *owner, struct stream *s)
{
    stream_close(s);
}

static void a_name_leads_to_its_address(void **state)
{
    struct stream_listener *l;
    struct address where, bound;
    struct error e;
    struct scene s;

    assert_int_equal(address_parse("127.0.0.1:0", &where, &e), 0);
    open_scene(&s, "http", "LocalHost", 1);
    stream_connect_cancel(s.connecting); /* while the look-up runs */
    assert_int_equal(stream_listen(s.w, &where, on_accept, NULL, &l, &bound, &e), 0);
    where = (struct address){ .host = "localhost", .port = bound.port };
    s.connecting = stream_connect(s.w, &where, on_connect, &s);
    run_until(&s, is_told);
    assert_non_null(s.stream);
    assert_string_equal(stream_peer(s.stream)->host, "127.0.0.1");
    stream_listener_close(l);
    close_scene(&s);
}

/* "two.test" has two addresses: nobody listens on the first. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    int r;

    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (!node || !str_eq(node, "two.test")) {
        return real(node, service, hints, ret);
    }
    r = real("127.0.0.2", service, hints, ret);
    return r == 0 ? real("127.0.0.1", service, hints, &(*ret)->ai_next) : r;
}

static void every_address_of_a_name_is_tried(void **state)
{
    struct address where = { .host = "two.test", .port = 1 };
    struct tls_server *server =
        tls_server_start(&(struct tls_server_options){ .serve_raw = keep_silent });
    struct scene s;

    open_scene(&s, "http", "two.test", tls_server_port(server));
    run_until(&s, is_told);
    assert_non_null(s.stream);
    assert_string_equal(stream_peer(s.stream)->host, "127.0.0.1");
    s.connecting = stream_connect(s.w, &where, on_connect, &s);
    s.told = 0;
    run_until(&s, is_told);
    assert_int_equal(s.refused.code, -ECONNREFUSED);
    close_scene(&s);
    tls_server_stop(server);
}

static void a_name_that_nobody_knows(const char *scheme, const char *host)
{
    struct scene s;

    open_scene(&s, scheme, host, 80);
    run_until(&s, is_told);
    assert_null(s.stream);
    assert_int_equal(s.refused.code, -EHOSTUNREACH);
    assert_non_null(strstr(s.refused.text, host));
    close_scene(&s);
}

static void unknown_names_are_told(void **state)
{
    struct scene s;

    a_name_that_nobody_knows("http", "nope.invalid");
    a_name_that_nobody_knows("https", "nope.invalid");
    a_name_that_nobody_knows("http", "-");
    open_scene(&s, "https", "nope.invalid", 80);
    close_scene(&s); /* the world goes while the look-up runs */
}

static void a_name_where_nobody_listens(void **state)
{
    struct scene s;

    open_scene(&s, "https", "localhost", 1);
    run_until(&s, is_told);
    assert_int_equal(s.refused.code, -ECONNREFUSED);
    assert_string_equal(s.refused.text, strerror(ECONNREFUSED));
    close_scene(&s);
}

static struct error refused_in_simulation(struct address where)
{
    struct scene s = { .w = sim_create(1) };

    s.connecting = stream_connect(s.w, &where, on_connect, &s);
    run_until(&s, is_told);
    assert_null(s.stream);
    world_destroy(s.w);
    return s.refused;
}

static void a_simulated_world_has_names_of_its_own(void **state)
{
    struct address api = { .host = "api.example.com", .port = 80 };
    struct scene s = { .w = sim_create(1) };
    struct stream_listener *l;
    struct error e;

    assert_int_equal(refused_in_simulation(api).code, -EHOSTUNREACH);
    api.tls = true;
    assert_int_equal(refused_in_simulation(api).code, -EPROTO);
    assert_int_equal(stream_listen(s.w, &api, on_accept, NULL, &l, NULL, &e), -EINVAL);
    api.tls = false;
    assert_int_equal(stream_listen(s.w, &api, on_accept, NULL, &l, NULL, &e), 0);
    s.connecting = stream_connect(s.w, &api, on_connect, &s);
    run_until(&s, is_told);
    assert_non_null(s.stream);
    stream_listener_close(l);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_go_both_ways),
        cmocka_unit_test(an_end_without_goodbye_is_a_cut),
        cmocka_unit_test(big_bodies_with_back_pressure),
        cmocka_unit_test(the_last_words_arrive_with_a_goodbye),
        cmocka_unit_test(a_stream_may_be_closed_in_its_callback),
        cmocka_unit_test(who_cannot_be_trusted_is_refused_in_words),
        cmocka_unit_test(an_address_can_be_certified),
        cmocka_unit_test(a_slow_handshake_can_be_given_up),
        cmocka_unit_test(many_come_and_go),
        cmocka_unit_test(a_name_leads_to_its_address),
        cmocka_unit_test(every_address_of_a_name_is_tried),
        cmocka_unit_test(unknown_names_are_told),
        cmocka_unit_test(a_name_where_nobody_listens),
        cmocka_unit_test(a_simulated_world_has_names_of_its_own),
    };

    tls_server_trust();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
