// SPDX-License-Identifier: Apache-2.0
/* WebSocket against a client by hand, in a simulated world: handshake, echo in fragments, limits,
 * pings, closing. */
#include "unit.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "http/websocket.h"
#include "talk.h"

struct rig {
    struct world *world;
    struct http_server *server;
    struct address where;
    struct talk talk;
    struct websocket *ws;
    struct buf text;
    int texts, closes;
    bool close_on_text;
};

#define UPGRADE                                                                                    \
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"     \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static void on_text(void *owner, struct span text)
{
    struct rig *rig = owner;

    rig->texts++;
    buf_clear(&rig->text);
    buf_append(&rig->text, text.p, text.n);
    if (rig->close_on_text) {
        websocket_close(rig->ws, 1000, "enough");
    } else {
        websocket_send(rig->ws, text);
    }
}

static void on_close(void *owner)
{
    struct rig *rig = owner;

    rig->closes++;
    rig->ws = NULL;
}

static void handle(void *owner, struct http_exchange *x)
{
    static const struct websocket_handler handler = { on_text, on_close };
    struct rig *rig = owner;

    rig->ws = websocket_accept(
        x, &(struct websocket_options){ .max_message = 1000, .max_queued = 100000 }, &handler, rig);
}

static void start(struct rig *rig)
{
    struct error e;

    *rig = (struct rig){ .world = sim_create(3) };
    buf_init(&rig->text, 1 << 20);
    rig->server = http_server_create(
        rig->world, &(struct http_server_options){ .handle = handle, .owner = rig });
    assert_int_equal(address_parse("127.0.0.1:0", &rig->where, &e), 0);
    assert_int_equal(http_server_listen(rig->server, &rig->where, NULL, &rig->where, &e), 0);
    talk_connect(&rig->talk, rig->world, &rig->where);
}

static void stop(struct rig *rig)
{
    talk_close(&rig->talk);
    sim_run_for(rig->world, 10);
    assert_null(rig->ws);
    http_server_destroy(rig->server);
    buf_finish(&rig->text);
    sim_run_for(rig->world, 10);
    world_destroy(rig->world);
}

static void say(struct rig *rig, const char *text)
{
    talk_send(&rig->talk, text);
    sim_run_for(rig->world, 5);
}

/* A masked frame; first is FIN and opcode. */
static void frame(struct rig *rig, unsigned char first, const void *payload, size_t n)
{
    unsigned char head[8] = { first, (unsigned char)(0x80 | (n < 126 ? n : 126)) };
    size_t at = 2;
    const unsigned char mask[4] = { 1, 2, 3, 4 };

    if (n >= 126) {
        head[at++] = (unsigned char)(n >> 8);
        head[at++] = (unsigned char)n;
    }
    memcpy(head + at, mask, 4);
    talk_send_bytes(&rig->talk, head, at + 4);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)(((const unsigned char *)payload)[i] ^ mask[i % 4]);

        talk_send_bytes(&rig->talk, &c, 1);
    }
    sim_run_for(rig->world, 5);
}

static void open_ws(struct rig *rig)
{
    start(rig);
    say(rig, UPGRADE);
    assert_non_null(rig->ws);
    assert_true(talk_has(&rig->talk, "HTTP/1.1 101 Switching Protocols\r\n"));
    assert_true(talk_has(&rig->talk, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_int_equal(http_server_connections(rig->server), 0);
    talk_forget(&rig->talk);
}

static void test_handshake_refused(void **state)
{
    // clang-format off
    static const struct { const char *text, *status; } cases[] = {
        { "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "426 " },
        { "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", "426 " },
        { "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n\r\n", "426 " },
        { "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n", "400 " },
        { "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: short==\r\n\r\n", "400 " },
        { "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", "400 " },
    };
    // clang-format on
    struct rig rig;

    start(&rig);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char line[40];

        talk_forget(&rig.talk);
        say(&rig, cases[i].text);
        snprintf(line, sizeof(line), "HTTP/1.1 %s", cases[i].status);
        assert_true(talk_has(&rig.talk, line));
        assert_false(rig.talk.ended);
    }
    stop(&rig);
}

static void test_echo(void **state)
{
    struct rig rig;

    open_ws(&rig);
    frame(&rig, 0x81, "hello", 5);
    assert_string_equal(buf_data(&rig.text), "hello");
    assert_memory_equal(buf_data(&rig.talk.got), "\x81\x05hello", 7);
    talk_forget(&rig.talk);
    frame(&rig, 0x01, "in ", 3);
    frame(&rig, 0x89, "p", 1); /* a ping between the pieces */
    frame(&rig, 0x80, "two", 3);
    assert_string_equal(buf_data(&rig.text), "in two");
    assert_true(talk_has(&rig.talk, "\x8A\x01p"));
    assert_true(talk_has(&rig.talk, "\x81\x06in two"));
    talk_forget(&rig.talk);
    frame(&rig, 0x88, "\x03\xE8", 2);
    assert_memory_equal(buf_data(&rig.talk.got), "\x88\x02\x03\xE8", 4);
    assert_int_equal(rig.closes, 1);
    assert_true(rig.talk.ended);
    stop(&rig);
}

static void test_frame_with_the_upgrade(void **state)
{
    static const char both[] = UPGRADE "\x81\x82\x01\x02\x03\x04gk";
    struct rig rig;

    start(&rig);
    talk_send_bytes(&rig.talk, both, sizeof(both) - 1);
    sim_run_for(rig.world, 5);
    assert_string_equal(buf_data(&rig.text), "fi");
    stop(&rig);
}

static void expect_close(struct rig *rig, const char *code)
{
    char want[4] = { '\x88', 0, code[0], code[1] };
    const char *got = buf_data(&rig->talk.got);

    assert_true(rig->talk.got.len >= 4);
    want[1] = got[1];
    assert_memory_equal(got, want, 4);
    sim_run_for(rig->world, 6000);
    assert_int_equal(rig->closes, 1);
    assert_true(rig->talk.ended);
    stop(rig);
}

static void test_too_long(void **state)
{
    char big[1001] = { 0 };
    struct rig rig;

    memset(big, 'a', sizeof(big));
    open_ws(&rig);
    frame(&rig, 0x81, big, 1000);
    assert_int_equal(rig.texts, 1);
    talk_forget(&rig.talk);
    frame(&rig, 0x81, big, 1001);
    assert_int_equal(rig.texts, 1);
    expect_close(&rig, "\x03\xF1"); /* 1009 */
}

static void test_bad_text(void **state)
{
    struct rig rig;

    open_ws(&rig);
    frame(&rig, 0x81, "\xFF\xFE", 2);
    assert_int_equal(rig.texts, 0);
    expect_close(&rig, "\x03\xEF"); /* 1007 */
}

static void test_unmasked(void **state)
{
    struct rig rig;

    open_ws(&rig);
    talk_send_bytes(&rig.talk, "\x81\x02hi", 4);
    sim_run_for(rig.world, 5);
    assert_int_equal(rig.texts, 0);
    expect_close(&rig, "\x03\xEA"); /* 1002 */
}

static void test_binary(void **state)
{
    struct rig rig;

    open_ws(&rig);
    frame(&rig, 0x82, "hi", 2);
    expect_close(&rig, "\x03\xEB"); /* 1003 */
}

static void test_close_from_text(void **state)
{
    struct rig rig;

    open_ws(&rig);
    rig.close_on_text = true;
    frame(&rig, 0x81, "hi", 2);
    assert_memory_equal(buf_data(&rig.talk.got),
                        "\x88\x08\x03\xE8"
                        "enough",
                        10);
    assert_int_equal(rig.closes, 0);
    frame(&rig, 0x88, "\x03\xE8", 2);
    assert_int_equal(rig.closes, 1);
    stop(&rig);
}

static void test_slow_reader(void **state)
{
    char *big = xmalloc(70000);
    struct rig rig;

    memset(big, 'a', 70000);
    open_ws(&rig);
    talk_read(&rig.talk, false);
    for (int i = 0; i < 20; i++) {
        websocket_send(rig.ws, (struct span){ big, 70000 });
    }
    sim_run_for(rig.world, 6000);
    assert_int_equal(rig.closes, 1);
    talk_read(&rig.talk, true);
    sim_run_for(rig.world, 10);
    assert_in_range(rig.talk.got.len, 70000,
                    240000); /* the kernel's part and max_queued, not all 1.4 MB */
    free(big);
    stop(&rig);
}

static void test_pings(void **state)
{
    struct rig rig;

    open_ws(&rig);
    sim_run_for(rig.world, 31000);
    assert_memory_equal(buf_data(&rig.talk.got), "\x89\x00", 2);
    frame(&rig, 0x8A, "", 0);
    sim_run_for(rig.world, 60000);
    assert_int_equal(rig.closes, 0);
    sim_run_for(rig.world, 60000);
    assert_int_equal(rig.closes, 1);
    stop(&rig);
}

static void test_peer_vanishes(void **state)
{
    struct rig rig;

    open_ws(&rig);
    talk_close(&rig.talk);
    sim_run_for(rig.world, 10);
    assert_int_equal(rig.closes, 1);
    stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handshake_refused),
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_frame_with_the_upgrade),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_bad_text),
        cmocka_unit_test(test_unmasked),
        cmocka_unit_test(test_binary),
        cmocka_unit_test(test_close_from_text),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_pings),
        cmocka_unit_test(test_peer_vanishes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
