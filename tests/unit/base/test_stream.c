// SPDX-License-Identifier: Apache-2.0
/* Streams over TCP, unix sockets and simulated memory: the same scenes in every world. */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/sim.h"
#include "base/stream.h"

enum { BIG = 8 * 1024 * 1024 };

struct scene {
    struct world *w;
    struct stream_listener *listener;
    struct address where;
    struct stream *client, *server;
    struct buf got; /* by the server */
    size_t client_got, client_got_at_end;
    int server_end, client_end, drains; /* ends: 1 = not yet */
    bool stop_on_end, stop_on_bytes;
    size_t want;
    struct timer timer;
};

static void server_data(void *owner, const char *p, size_t n)
{
    struct scene *s = owner;

    assert_int_equal(buf_append(&s->got, p, n), 0);
    if (s->stop_on_bytes && s->got.len >= s->want) {
        world_stop(s->w);
    }
}

static void server_end(void *owner, int err)
{
    struct scene *s = owner;

    s->server_end = err;
    if (s->stop_on_end) {
        world_stop(s->w);
    }
}

static void client_data(void *owner, const char *p, size_t n)
{
    ((struct scene *)owner)->client_got += n;
}

static void client_end(void *owner, int err)
{
    struct scene *s = owner;

    s->client_end = err;
    s->client_got_at_end = s->client_got;
    if (s->stop_on_end) {
        world_stop(s->w);
    }
}

static void client_drain(void *owner)
{
    ((struct scene *)owner)->drains++;
}

static const struct stream_handler server_handler = { .on_data = server_data,
                                                      .on_end = server_end };
static const struct stream_handler client_handler = { .on_data = client_data,
                                                      .on_end = client_end,
                                                      .on_drain = client_drain };

static void on_accept(void *owner, struct stream *stream)
{
    struct scene *s = owner;

    s->server = stream;
    stream_set_handler(stream, &server_handler, s);
    if (s->client) {
        world_stop(s->w);
    }
}

static void on_connect(void *owner, struct stream *stream, const struct error *e)
{
    struct scene *s = owner;

    assert_null(e);
    s->client = stream;
    stream_set_handler(stream, &client_handler, s);
    if (s->server) {
        world_stop(s->w);
    }
}

static void open_scene(struct scene *s, struct world *w, const char *where)
{
    struct error e = { 0 };
    struct address a;

    *s = (struct scene){ .w = w, .server_end = 1, .client_end = 1 };
    buf_init(&s->got, 2 * BIG);
    assert_int_equal(address_parse(where, &a, &e), 0);
    assert_int_equal(stream_listen(w, &a, on_accept, s, &s->listener, &s->where, &e), 0);
    stream_connect(w, &s->where, on_connect, s);
    world_run(w);
    assert_non_null(s->client);
    assert_non_null(s->server);
}

static void close_scene(struct scene *s)
{
    stream_close(s->client);
    stream_close(s->server);
    stream_listener_close(s->listener);
    buf_finish(&s->got);
    world_destroy(s->w);
}

static void run_for_cb(void *arg)
{
    world_stop(arg);
}

static void run_for(struct scene *s, uint64_t ms)
{
    timer_init(&s->timer, s->w, "test", run_for_cb, s->w);
    timer_start(&s->timer, ms);
    world_run(s->w);
}

/* A slow reader: what cannot be sent is queued and counted, arrives whole and in order when reading
 * starts, and drain is told. */
static void big_transfer(struct world *w, const char *where)
{
    struct scene s;
    char *data = xmalloc(BIG);

    open_scene(&s, w, where);
    for (size_t i = 0; i < BIG; i++) {
        data[i] = (char)(i * 2654435761u >> 13);
    }
    stream_write(s.client, data, BIG);
    run_for(&s, 50);
    assert_true(stream_queued(s.client) > BIG / 2);
    assert_int_equal(s.got.len, 0);
    s.stop_on_bytes = true;
    s.want = BIG;
    stream_read_start(s.server);
    world_run(s.w);
    assert_int_equal(s.got.len, BIG);
    assert_memory_equal(buf_data(&s.got), data, BIG);
    run_for(&s, 20);
    assert_int_equal(s.drains, 1);
    assert_int_equal(stream_queued(s.client), 0);
    free(data);
    close_scene(&s);
}

/* What was queued before close_flushed arrives, then the end. */
static void flushed_close(struct world *w, const char *where)
{
    struct scene s;

    open_scene(&s, w, where);
    stream_read_start(s.server);
    s.stop_on_end = true;
    stream_write(s.client, "last words", 10);
    stream_close_flushed(TAKE_PTR(s.client), 5000);
    world_run(s.w);
    assert_int_equal(s.server_end, 0);
    assert_string_equal(buf_data(&s.got), "last words");
    close_scene(&s);
}

static void sees_the_peer_leave(struct world *w, const char *where)
{
    struct scene s;

    open_scene(&s, w, where);
    stream_read_start(s.server);
    s.stop_on_end = true;
    stream_close(TAKE_PTR(s.client));
    world_run(s.w);
    assert_int_equal(s.server_end, 0);
    close_scene(&s);
}

/* The peer says something and closes without having read what was sent: its words are heard, also
 * when a write fails before they are read. */
static void hears_the_last_words(struct world *w, const char *where)
{
    struct scene s;

    open_scene(&s, w, where);
    stream_write(s.client, "unread", 6);
    stream_write(s.server, "last words", 10);
    run_for(&s, 20);
    stream_close(TAKE_PTR(s.server));
    stream_write(s.client, "in vain", 7);
    stream_read_start(s.client);
    s.stop_on_end = true;
    world_run(s.w);
    assert_int_equal(s.client_got_at_end, 10);
    assert_true(s.client_end < 0);
    close_scene(&s);
}

static void on_refused(void *owner, struct stream *stream, const struct error *e)
{
    struct scene *s = owner;

    assert_null(stream);
    assert_non_null(e);
    assert_true(e->text[0] != '\0');
    s->client_end = e->code;
    world_stop(s->w);
}

static void refused(struct world *w, const char *where)
{
    struct scene s = { .w = w, .client_end = 1 };
    struct error e = { 0 };
    struct address a;

    assert_int_equal(address_parse(where, &a, &e), 0);
    stream_connect(w, &a, on_refused, &s);
    world_run(w);
    assert_int_equal(s.client_end, -ECONNREFUSED);
    world_destroy(w);
}

static void over_tcp(void **state)
{
    big_transfer(world_create(), "127.0.0.1:0");
    flushed_close(world_create(), "127.0.0.1:0");
    sees_the_peer_leave(world_create(), "127.0.0.1:0");
    hears_the_last_words(world_create(), "127.0.0.1:0");
    refused(world_create(), "127.0.0.1:1");
}

static void over_unix_sockets(void **state)
{
    char dir[] = "/tmp/berth-test-XXXXXX", where[64], path[64];
    struct stat st;

    assert_non_null(mkdtemp(dir));
    snprintf(where, sizeof(where), "unix:%s/s", dir);
    snprintf(path, sizeof(path), "%s/s", dir);
    big_transfer(world_create(), where);
    assert_int_equal(stat(path, &st), -1);
    flushed_close(world_create(), where);
    sees_the_peer_leave(world_create(), where);
    hears_the_last_words(world_create(), where);
    refused(world_create(), where);
    rmdir(dir);
}

static void in_a_simulated_world(void **state)
{
    struct world *slow = sim_create(test_seed("in_a_simulated_world"));

    big_transfer(sim_create(1), "unix:/s");
    flushed_close(sim_create(1), "127.0.0.1:0");
    sees_the_peer_leave(sim_create(1), "127.0.0.1:80");
    hears_the_last_words(sim_create(1), "unix:/s");
    refused(sim_create(1), "127.0.0.1:80");
    sim_set_latency(slow, 2);
    flushed_close(slow, "unix:/s");
}

static void a_dead_socket_file_is_replaced(void **state)
{
    char dir[] = "/tmp/berth-test-XXXXXX", where[64], path[64];
    struct stream_listener *first = NULL, *second = NULL;
    struct world *w = world_create();
    struct error e = { 0 };
    struct address a;

    assert_non_null(mkdtemp(dir));
    snprintf(where, sizeof(where), "unix:%s/s", dir);
    snprintf(path, sizeof(path), "%s/s", dir);
    assert_int_equal(address_parse(where, &a, &e), 0);
    assert_int_equal(stream_listen(w, &a, on_accept, NULL, &first, NULL, &e), 0);
    assert_int_equal(stream_listen(w, &a, on_accept, NULL, &second, NULL, &e), -EADDRINUSE);
    assert_non_null(strstr(e.text, "another program"));
    stream_listener_close(first);
    world_destroy(w);
    rmdir(dir);
}

static void addresses_are_read_strictly(void **state)
{
    const char *bad[] = { "",       "8080",    "1.2.3.4", "1.2.3.4:", "1.2.3.4:99999",
                          "::1:80", "name:80", "unix:",   "[::1:80" };
    char text[ADDRESS_TEXT_SIZE];
    struct error e;
    struct address a;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(address_parse(bad[i], &a, &e), -EINVAL);
    }
    assert_int_equal(address_parse("localhost:8080", &a, &e), 0);
    assert_true(address_is_loopback(&a));
    assert_int_equal(address_parse("[::1]:80", &a, &e), 0);
    address_format(&a, text);
    assert_string_equal(text, "[::1]:80");
    assert_true(address_is_loopback(&a));
    assert_int_equal(address_parse(":80", &a, &e), 0);
    assert_false(address_is_loopback(&a));
}

static void reads_url(const char *url, bool tls, const char *at, const char *path)
{
    char text[ADDRESS_TEXT_SIZE];
    struct address a;
    struct error e;
    char *got;

    if (address_parse_url(url, &a, &got, &e) < 0) {
        fail_msg("%s: %s", url, e.text);
    }
    address_format(&a, text);
    assert_int_equal(a.tls, tls);
    assert_string_equal(text, at);
    assert_string_equal(got, path);
    free(got);
}

static void base_urls_are_read(void **state)
{
    reads_url("http://localhost", false, "localhost:80", "");
    reads_url("https://api.Example.com/v1", true, "api.example.com:443", "/v1");
    reads_url("HTTPS://api.example.com:8443/a/b//", true, "api.example.com:8443", "/a/b");
    reads_url("http://[::1]:8080/", false, "[::1]:8080", "");
    reads_url("https://[2001:db8::1]", true, "[2001:db8::1]:443", "");
    reads_url("http://10.0.0.1:1/v1", false, "10.0.0.1:1", "/v1");
    reads_url("http://my_engine-1.svc.:65535", false, "my_engine-1.svc.:65535", "");
}

static void refuses_url(const char *url, const char *why)
{
    struct address a;
    struct error e;
    char *path;

    assert_int_equal(address_parse_url(url, &a, &path, &e), -EINVAL);
    if (!strstr(e.text, why) || strstr(e.text, "hunter2")) {
        fail_msg("%s: \"%s\"", url, e.text);
    }
}

static void other_urls_are_refused_in_words(void **state)
{
    static const char *const no_host[] = { "",
                                           "api.example.com",
                                           "ftp://a",
                                           "http:/a",
                                           "http://",
                                           "https:///v1",
                                           "http://:80",
                                           "http://.",
                                           "http://a..b",
                                           "http://[::1",
                                           "http://[a]",
                                           "http://::1",
                                           "http://[1.2.3.4]",
                                           "http://a%41/" };
    static const char *const no_port[] = { "http://a:",   "http://a:0",    "http://a:65536",
                                           "http://a:1x", "http://[::1]x", "http://[::1]:" };
    char long_name[400];

    for (size_t i = 0; i < ARRAY_SIZE(no_host); i++) {
        refuses_url(no_host[i],
                    strstr(no_host[i], "::1") && no_host[i][7] == ':' ? "a base URL" : "a host");
    }
    for (size_t i = 0; i < ARRAY_SIZE(no_port); i++) {
        refuses_url(no_port[i], "the port");
    }
    refuses_url("https://me:hunter2@api.example.com/v1", "no user name and no password");
    refuses_url("https://api.example.com/v1?key=hunter2", "no query");
    refuses_url("https://api.example.com/#hunter2", "no fragment");
    refuses_url("http://a/b c", "no blanks");
    refuses_url("http://a/b\r\nc", "no control");
    refuses_url("http://b\xc3\xbc"
                "cher.example",
                "beyond ASCII");
    memset(long_name, 'a', sizeof(long_name));
    memcpy(long_name, "http://", 7);
    for (size_t i = 50; i < sizeof(long_name); i += 50) {
        long_name[i] = '.';
    }
    long_name[7 + 254] = '\0';
    reads_url(long_name, false, strcat(strcpy((char[300]){ 0 }, long_name + 7), ":80"), "");
    long_name[7 + 254] = 'a';
    long_name[7 + 255] = '\0';
    refuses_url(long_name, "a host");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_tcp),
        cmocka_unit_test(over_unix_sockets),
        cmocka_unit_test(in_a_simulated_world),
        cmocka_unit_test(a_dead_socket_file_is_replaced),
        cmocka_unit_test(addresses_are_read_strictly),
        cmocka_unit_test(base_urls_are_read),
        cmocka_unit_test(other_urls_are_refused_in_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
