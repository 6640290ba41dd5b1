// SPDX-License-Identifier: Apache-2.0
/*
 * Webhooks: told once when the receiver takes it, again with back-off when it does not, also after
 * a restart, with the same number and a good signature; only whom the operator allows.
 */
#include "batch_house.h"

#include <string.h>

#include "base/hmac.h"
#include "base/mem.h"
#include "http/server.h"

enum { CALLS_MAX = 200 };

struct receiver {
    struct house *h;
    struct http_server *server;
    int answers; /* with this status; 0: not at all */
    bool drips;  /* its answers do not end */
    unsigned count, open, most_open;
    struct http_exchange *last; /* that drips */
    struct {
        uint64_t ms;
        char id[24], event[40], signature[100], body[200], path[100];
    } calls[CALLS_MAX];
};

static void copy(char *out, size_t size, struct span s)
{
    snprintf(out, size, "%.*s", SPAN_ARG(s));
}

static void on_gone(void *owner)
{
    ((struct receiver *)owner)->open--;
}

static const struct http_exchange_events gone = { .on_gone = on_gone };

static void on_call(void *owner, struct http_exchange *x)
{
    struct receiver *r = owner;
    const struct http_head *head = http_exchange_head(x);

    assert_true(r->count < CALLS_MAX);
    r->calls[r->count].ms = world_now_ms(r->h->w);
    copy(r->calls[r->count].id, 24, http_header_get(head, "x-berth-delivery"));
    copy(r->calls[r->count].event, 40, http_header_get(head, "x-berth-event"));
    copy(r->calls[r->count].signature, 100, http_header_get(head, "x-berth-signature"));
    copy(r->calls[r->count].body, 200, http_exchange_body(x));
    copy(r->calls[r->count].path, 100, head->target);
    assert_true(span_eq(http_header_get(head, "content-type"), "application/json"));
    assert_true(span_eq(head->method, "POST"));
    r->count++;
    r->open++;
    r->most_open = MAX_OF(r->most_open, r->open);
    if (r->answers == 302) {
        http_exchange_add_header(x, "Location", "http://127.0.0.1:9000/elsewhere");
    }
    if (r->drips) {
        r->last = x;
        http_exchange_set_events(x, &gone, r);
        http_respond_start(x, r->answers, "text/plain", 1000);
        http_respond_write(x, "drop", 4);
    } else if (r->answers) {
        r->open--;
        http_respond(x, r->answers, "text/plain", SPAN("well"));
    } else {
        http_exchange_set_events(x, &gone, r);
    }
}

static void listen_at(struct receiver *r, struct house *h, const char *address)
{
    struct address where;

    memset(r, 0, sizeof(*r));
    r->h = h;
    r->answers = 200;
    r->server =
        http_server_create(h->w, &(struct http_server_options){ .handle = on_call, .owner = r });
    assert_int_equal(address_parse(address, &where, NULL), 0);
    assert_int_equal(http_server_listen(r->server, &where, NULL, NULL, NULL), 0);
}

static void open_receiver(struct receiver *r, struct house *h, const char *yaml)
{
    house_open(h, yaml);
    listen_at(r, h, "127.0.0.1:9000");
}

static void close_receiver(struct receiver *r)
{
    http_server_destroy(r->server);
    house_close(r->h);
}

struct append_op {
    struct store_op op;
    const char *url, *body;
    int64_t wall_ms;
};

static int run_append(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct append_op *a = container_of(op, struct append_op, op);

    return webhook_append(db, a->url, "task.completed", span_of(a->body), a->wall_ms, reterr);
}

static void append(struct house *h, const char *url, const char *body)
{
    struct append_op a = {
        .op.run = run_append, .url = url, .body = body, .wall_ms = world_wall_ms(h->w)
    };

    assert_int_equal(store_write_now(h->store, &a.op), 0);
    webhooks_wake(h->hooks);
}

static int64_t rows(struct house *h)
{
    return house_number(h, "SELECT count(*) FROM webhooks");
}

#define ALLOW "webhooks: {allow: [\"127.0.0.1:9000\", \"*.example.com\", hooks.test]}\n"

static void test_told_once(void **state)
{
    struct receiver r;
    struct house h;

    open_receiver(&r, &h, ALLOW);
    append(&h, "http://127.0.0.1:9000/a/hook/?x=1", "{\"n\":1}");
    assert_int_equal(r.count, 0);
    sim_run_for(h.w, 1000);
    assert_int_equal(r.count, 1);
    assert_string_equal(r.calls[0].path, "/a/hook/?x=1");
    assert_string_equal(r.calls[0].body, "{\"n\":1}");
    assert_string_equal(r.calls[0].event, "task.completed");
    assert_string_equal(r.calls[0].signature, "");
    assert_int_equal(rows(&h), 0);
    sim_run_for(h.w, 3600 * 1000);
    house_restart(&h);
    sim_run_for(h.w, 3600 * 1000);
    assert_int_equal(r.count, 1);
    close_receiver(&r);
}

static void test_back_off(void **state)
{
    static const uint64_t pauses_s[] = { 1, 5, 30, 300, 1800, 1800, 1800 };
    static const int bad[] = { 500, 404, 302, 429 };
    struct receiver r;
    struct house h;

    for (size_t b = 0; b < ARRAY_SIZE(bad); b++) {
        open_receiver(&r, &h, ALLOW);
        r.answers = bad[b];
        append(&h, "http://127.0.0.1:9000/", "{}");
        sim_run_for(h.w, 4 * 3600 * 1000);
        assert_int_equal(r.count, 8); /* webhooks.max_attempts */
        for (size_t i = 0; i < ARRAY_SIZE(pauses_s); i++) {
            const uint64_t pause = r.calls[i + 1].ms - r.calls[i].ms;

            assert_true(pause >= pauses_s[i] * 1000 && pause < pauses_s[i] * 1000 + 200);
            assert_string_equal(r.calls[i].id, r.calls[0].id);
            assert_string_equal(r.calls[i].path, "/"); /* a redirect is not followed */
        }
        assert_int_equal(rows(&h), 0);
        close_receiver(&r);
    }
}

static void test_retried_until_it_is_taken(void **state)
{
    struct receiver r;
    struct house h;

    open_receiver(&r, &h, ALLOW);
    r.answers = 503;
    append(&h, "http://127.0.0.1:9000/", "{}");
    sim_run_for(h.w, 3000);
    assert_int_equal(r.count, 2);
    house_restart(&h); /* the third is due in three seconds, before and after */
    r.answers = 204;
    sim_run_for(h.w, 1000);
    assert_int_equal(r.count, 2);
    sim_run_for(h.w, 10000);
    assert_int_equal(r.count, 3);
    assert_string_equal(r.calls[2].id, r.calls[0].id);
    assert_int_equal(rows(&h), 0);
    close_receiver(&r);
}

static void test_down_while_it_is_told(void **state)
{
    struct receiver r;
    struct house h;

    open_receiver(&r, &h, ALLOW);
    r.answers = 0;
    append(&h, "http://127.0.0.1:9000/", "{}");
    sim_run_for(h.w, 100);
    assert_int_equal(r.open, 1);
    house_restart(&h);
    r.answers = 200;
    sim_run_for(h.w, 100);
    assert_int_equal(r.count, 2); /* at least once */
    assert_string_equal(r.calls[1].id, r.calls[0].id);
    assert_int_equal(rows(&h), 0);
    /* A receiver that says nothing is let go of, and asked again. */
    r.answers = 0;
    append(&h, "http://127.0.0.1:9000/", "{}");
    sim_run_for(h.w, 9000);
    assert_int_equal(r.open, 1);
    sim_run_for(h.w, 3000);
    assert_int_equal(r.count, 4);
    close_receiver(&r);
}

static void test_bounded(void **state)
{
    struct receiver r;
    struct house h;

    open_receiver(&r, &h, ALLOW);
    r.answers = 0;
    for (int i = 0; i < 100; i++) {
        char body[32];

        snprintf(body, sizeof(body), "{\"n\":%d}", i);
        append(&h, "http://127.0.0.1:9000/", body);
    }
    sim_run_for(h.w, 1000);
    assert_int_equal(r.most_open, 4); /* of one host; other ones have theirs */
    r.answers = 200;
    sim_run_for(h.w, 60000);
    assert_int_equal(rows(&h), 0);
    assert_true(r.count >= 100);
    close_receiver(&r);
}

/* A receiver that hangs holds places of its own host only. */
static void test_one_that_hangs(void **state)
{
    struct receiver hangs, good;
    struct house h;

    open_receiver(&hangs, &h, "webhooks: {allow: [\"*\"]}\n");
    listen_at(&good, &h, "127.0.0.1:9001");
    hangs.answers = 0;
    for (int i = 0; i < 100; i++) {
        append(&h, i % 2 ? "http://127.0.0.1:9000/" : "http://127.0.0.1:9000/a", "{}");
    }
    for (int i = 0; i < 20; i++) {
        append(&h, "http://127.0.0.1:9001/", "{}");
    }
    sim_run_for(h.w, 2000);
    assert_int_equal(good.count, 20);
    assert_int_equal(good.most_open, 1); /* it answers at once */
    assert_int_equal(hangs.most_open, 4);
    append(&h, "http://127.0.0.1:9001/", "{}"); /* with nobody to look but the wake */
    sim_run_for(h.w, 500);
    assert_int_equal(good.count, 21);
    http_server_destroy(good.server);
    close_receiver(&hangs);
}

/* The status is the answer; a body that never ends holds its place for webhooks.timeout only. */
static void test_one_that_drips(void **state)
{
    struct receiver r;
    struct house h;

    open_receiver(&r, &h, ALLOW);
    r.drips = true;
    append(&h, "http://127.0.0.1:9000/", "{}");
    for (int s = 0; s < 9; s++) {
        sim_run_for(h.w, 1000);
        assert_int_equal(r.open, 1);
        http_respond_write(r.last, "drop", 4);
    }
    sim_run_for(h.w, 2000);
    assert_int_equal(r.open, 0);
    assert_int_equal(rows(&h), 0);
    assert_int_equal(r.count, 1);
    r.answers = 500;
    append(&h, "http://127.0.0.1:9000/", "{}");
    sim_run_for(h.w, 12000);
    assert_int_equal(r.count, 3);
    close_receiver(&r);
}

static void test_signed(void **state)
{
    struct receiver r;
    struct house h;
    char hex[HMAC_HEX_SIZE], expected[100];
    FILE *file;

    /* RFC 4231, test case 2 */
    assert_int_equal(hmac_sha256_hex(SPAN("Jefe"), SPAN("what do ya want for nothing?"), hex), 0);
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");

    open_receiver(&r, &h, "webhooks: {allow: [\"*\"], secret_file: secret}\n");
    append(&h, "http://127.0.0.1:9000/", "what do ya want for nothing?");
    sim_run_for(h.w, 500);
    assert_int_equal(r.count, 0); /* without its secret nothing goes out */
    file = fopen("secret", "w");
    fputs("Jefe\n", file);
    fclose(file);
    sim_run_for(h.w, 1000);
    assert_int_equal(r.count, 1);
    snprintf(expected, sizeof(expected), "sha256=%s", hex);
    assert_string_equal(r.calls[0].signature, expected);
    close_receiver(&r);
}

static void test_whom(void **state)
{
    static const struct {
        const char *url;
        int result;
    } urls[] = {
        { "http://127.0.0.1:9000/x", 0 },
        { "http://127.0.0.1:9001/x", -EPERM },
        { "https://127.0.0.1:9000", 0 },
        { "http://hooks.test/x?key=1&b=/c/", 0 },
        { "http://hooks.test?key=1", -EINVAL },
        { "http://user:word@hooks.test/", -EINVAL },
        { "https://HOOKS.test:8443/x", 0 },
        { "http://a.example.com/", 0 },
        { "http://a.b.example.com/", 0 },
        { "http://example.com/", -EPERM },
        { "http://evilexample.com/", -EPERM },
        { "http://hooks.test.evil.org/", -EPERM },
        { "http://localhost/", -EPERM },
        { "http://10.0.0.1/", -EPERM },
        { "ftp://hooks.test/", -EINVAL },
        { "hooks.test/x", -EINVAL },
        { "", -EINVAL },
        { "http://", -EINVAL },
        { "http://hooks.test/a b", -EINVAL },
        { "http://hooks.test/a\r\nX: y", -EINVAL },
        { "http://hooks.test/#fragment", -EINVAL },
    };
    struct receiver r;
    struct house h;

    open_receiver(&r, &h, ALLOW);
    for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
        struct error err = { 0 };
        int result = webhook_check(h.config, urls[i].url, &err);

        if (result != urls[i].result || (result < 0) != (err.text[0] != '\0')) {
            fail_msg("%s: %d (%s)", urls[i].url, result, err.text);
        }
    }
    /* The list counts when it is told, too. */
    append(&h, "http://127.0.0.1:9001/", "{}");
    sim_run_for(h.w, 100);
    assert_int_equal(rows(&h), 0);
    close_receiver(&r);

    house_open(&h, NULL);
    assert_int_equal(webhook_check(h.config, "http://127.0.0.1:9000/", NULL), -EPERM);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told_once),
        cmocka_unit_test(test_back_off),
        cmocka_unit_test(test_retried_until_it_is_taken),
        cmocka_unit_test(test_down_while_it_is_told),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_one_that_hangs),
        cmocka_unit_test(test_one_that_drips),
        cmocka_unit_test(test_signed),
        cmocka_unit_test(test_whom),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
