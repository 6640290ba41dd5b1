// SPDX-License-Identifier: Apache-2.0
/* The strict reader: what is taken, what is refused and with which code; the same verdict however
 * the bytes are cut. */
#include "unit.h"

#include <string.h>

#include "base/mem.h"
#include "http/message.h"

enum { NEED_MORE = 0 };

/* Reads text as the bytes grow by `step`, each time from a fresh copy of exactly that size (so that
 * ASan sees any overrun). */
static ssize_t parse_in_steps(const char *text, size_t n, size_t step, bool response,
                              struct http_head *head)
{
    size_t scanned = 0, have = 0;
    ssize_t r = 0;

    while (r == 0 && have < n) {
        char *copy;

        have = have + step < n ? have + step : n;
        copy = xmemdup(text, have);
        r = response ? http_parse_response(copy, have, &scanned, false, head, NULL)
                     : http_parse_request(copy, have, &scanned, head, NULL);
        free(copy);
    }
    return r;
}

static void check(const char *text, size_t n, bool response, int want)
{
    struct http_head head;

    for (size_t step = 1; step <= n; step++) {
        ssize_t r = parse_in_steps(text, n, step, response, &head);
        int verdict = r > 0 ? 1 : (int)r;

        if (verdict != want) {
            print_error("step %zu: %d instead of %d: %.*s\n", step, verdict, want, (int)n, text);
        }
        assert_int_equal(verdict, want);
    }
}

struct one {
    const char *text;
    int want; /* 1: good */
};

#define REQ(lines) "GET / HTTP/1.1\r\nHost: a\r\n" lines "\r\n"

static void test_requests(void **state)
{
    // clang-format off
    static const struct one cases[] = {
        { "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1 },
        { "GET / HTTP/1.0\r\n\r\n", 1 },
        { "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 1 },
        { "POST /v1/chat?x=%20&y HTTP/1.1\r\nhost: [::1]:8080\r\nContent-Length: 28\r\n\r\n", 1 },
        { "OPTIONS * HTTP/1.1\r\nHost: localhost:8080\r\n\r\n", 1 },
        { "PROPFIND /a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 1 },
        { REQ("X: \xC3\xA9 \t b\r\n"), 1 },
        { REQ("X:\r\n"), 1 },
        { REQ("Transfer-Encoding: chunked\r\n"), 1 },
        { REQ("Transfer-Encoding: Chunked\r\n"), 1 },
        { "GET / HTTP/1.1\r\nHost: a\r\n", NEED_MORE },
        /* framing that can be read in two ways */
        { REQ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), -EBADMSG },
        { REQ("Content-Length: 3\t\r\n"), -EBADMSG },
        { REQ("Content-Length: 3 \t \r\n"), -EBADMSG },
        { REQ("Transfer-Encoding: chunked\t\r\n"), -EBADMSG },
        { REQ("Transfer-Encoding:\tchunked  \r\n"), 1 },
        { REQ("Content-Length: 3\r\nContent-Length: 3\r\n"), -EBADMSG },
        { REQ("Content-Length: 3, 3\r\n"), -EBADMSG },
        { REQ("Content-Length: +28\r\n"), -EBADMSG },
        { REQ("Content-Length: -1\r\n"), -EBADMSG },
        { REQ("Content-Length: 0x10\r\n"), -EBADMSG },
        { REQ("Content-Length: 1 2\r\n"), -EBADMSG },
        { REQ("Content-Length: 99999999999999999999\r\n"), -EBADMSG },
        { REQ("Content-Length:\r\n"), -EBADMSG },
        { REQ("Transfer-Encoding: gzip, chunked\r\n"), -ENOSYS },
        { REQ("Transfer-Encoding: identity\r\n"), -ENOSYS },
        { REQ("Transfer-Encoding: \x0b" "chunked\r\n"), -EBADMSG },
        { REQ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), -EBADMSG },
        { "GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", -EBADMSG },
        /* lines */
        { "GET / HTTP/1.1\nHost: a\r\n\r\n", -EBADMSG },
        { "GET / HTTP/1.1\r\nHost: a\n\r\n", -EBADMSG },
        { "GET / HTTP/1.1\r\nHost: a\r\n\n", -EBADMSG },
        { "GET / HTTP/1.1\r\nHost: a\rb: c\r\n\r\n", -EBADMSG },
        { REQ("X: a\r\n b\r\n"), -EBADMSG },
        { "GET / HTTP/1.1\r\n Host: a\r\n\r\n", -EBADMSG },
        { REQ("X : a\r\n"), -EBADMSG },
        { REQ(": a\r\n"), -EBADMSG },
        { REQ("X\r\n"), -EBADMSG },
        { REQ("X(: a\r\n"), -EBADMSG },
        { REQ("X: a\x01" "b\r\n"), -EBADMSG },
        { REQ("X: a\x7f\r\n"), -EBADMSG },
        { "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", -EBADMSG },
        { "\n", -EBADMSG },
        { "\rGET / HTTP/1.1\r\n", -EBADMSG },
        { "\x16\x03\x01", -EBADMSG },
        /* Host */
        { "GET / HTTP/1.1\r\n\r\n", -EBADMSG },
        { "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", -EBADMSG },
        { "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", -EBADMSG },
        { "GET / HTTP/1.1\r\nHost:\r\n\r\n", -EBADMSG },
        { "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", -EBADMSG },
        { "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", -EBADMSG },
        { "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", -EBADMSG },
        { "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", -EBADMSG },
        { "GET / HTTP/1.1\r\nHost: a:70000\r\n\r\n", -EBADMSG },
        { "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", -EBADMSG },
        { "GET / HTTP/1.1\r\nHost: [::g]\r\n\r\n", -EBADMSG },
        { "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", -EBADMSG },
        /* first line */
        { "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", -EBADMSG },
        { "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", -EBADMSG },
        { "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", -EBADMSG },
        { "GET /\r\nHost: a\r\n\r\n", -EBADMSG },
        { "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", -EBADMSG },
        { "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", -EBADMSG },
        { "GET a HTTP/1.1\r\nHost: a\r\n\r\n", -EBADMSG },
        { "GET * HTTP/1.1\r\nHost: a\r\n\r\n", -EBADMSG },
        { "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", -EBADMSG },
        { "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", -EBADMSG },
        { "GET /\xC3\xA9 HTTP/1.1\r\nHost: a\r\n\r\n", -EBADMSG },
        { "GET /\t HTTP/1.1\r\nHost: a\r\n\r\n", -EBADMSG },
        { "GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", -EBADMSG },
        { "GET / http/1.1\r\nHost: a\r\n\r\n", -EBADMSG },
        { "GET / HTTP/1.10\r\nHost: a\r\n\r\n", -EBADMSG },
        { "GET / HTTP/2.0\r\nHost: a\r\n\r\n", -EPROTONOSUPPORT },
        { "GET / HTTP/1.2\r\nHost: a\r\n\r\n", -EPROTONOSUPPORT },
        { "GET / HTTP/0.9\r\nHost: a\r\n\r\n", -EPROTONOSUPPORT },
        { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", -EPROTONOSUPPORT },
    };
    // clang-format on
    static const char with_nul[] = "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n";

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        check(cases[i].text, strlen(cases[i].text), false, cases[i].want);
    }
    check(with_nul, sizeof(with_nul) - 1, false, -EBADMSG);
}

static void test_request_fields(void **state)
{
    static const char text[] =
        "POST /a/b?c=d HTTP/1.1\r\nHost: x\r\nContent-Length:  12 \r\nExpect: 100-Continue\r\n"
        "Connection: Upgrade, keep-alive\r\nUpgrade: websocket\r\n\r\nBODY";
    struct http_head h;
    size_t scanned = 0;
    ssize_t n = http_parse_request(text, sizeof(text) - 1, &scanned, &h, NULL);

    assert_int_equal(n, sizeof(text) - 1 - 4);
    assert_true(span_eq(h.method, "POST"));
    assert_true(span_eq(h.target, "/a/b?c=d"));
    assert_true(span_eq(h.path, "/a/b"));
    assert_true(span_eq(h.query, "c=d"));
    assert_int_equal(h.framing, HTTP_LENGTH);
    assert_int_equal(h.content_length, 12);
    assert_true(h.expect_continue && h.upgrade && h.keep_alive);
    assert_int_equal(h.header_count, 5);
    assert_true(span_eq(http_header_get(&h, "content-length"), "12"));
    assert_null(http_header_get(&h, "nothing").p);
    assert_true(http_header_has_token(&h, "connection", "upgrade"));
    assert_false(http_header_has_token(&h, "connection", "close"));
}

static void test_keep_alive(void **state)
{
    // clang-format off
    static const struct { const char *text; bool keep; } cases[] = {
        { REQ(""), true },
        { REQ("Connection: close\r\n"), false },
        { REQ("Connection: x\r\nConnection: a, CLOSE\r\n"), false },
        { "GET / HTTP/1.0\r\n\r\n", false },
        { "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true },
        { "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false },
    };
    // clang-format on

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct http_head h;
        size_t scanned = 0;

        assert_true(http_parse_request(cases[i].text, strlen(cases[i].text), &scanned, &h, NULL) >
                    0);
        assert_int_equal(h.keep_alive, cases[i].keep);
    }
}

static void test_too_many_headers(void **state)
{
    char text[HTTP_HEADERS_MAX * 8 + 100];
    struct http_head h;

    for (int count = HTTP_HEADERS_MAX; count <= HTTP_HEADERS_MAX + 1; count++) {
        size_t n = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: a\r\n"), scanned = 0;
        ssize_t r;

        for (int i = 1; i < count; i++) {
            n += (size_t)sprintf(text + n, "a: b\r\n");
        }
        n += (size_t)sprintf(text + n, "\r\n");
        r = http_parse_request(text, n, &scanned, &h, NULL);
        assert_int_equal(r, count == HTTP_HEADERS_MAX ? (ssize_t)n : -E2BIG);
    }
}

#define RES(lines) "HTTP/1.1 200 OK\r\n" lines "\r\n"

static void test_responses(void **state)
{
    // clang-format off
    static const struct { const char *text; int want; enum http_framing framing; bool keep; } cases[] = {
        { RES("Content-Length: 5\r\n"), 1, HTTP_LENGTH, true },
        { RES("Transfer-Encoding: chunked\r\n"), 1, HTTP_CHUNKED, true },
        { RES(""), 1, HTTP_UNTIL_CLOSE, false },
        { "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 1, HTTP_LENGTH, true },
        { "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 1, HTTP_LENGTH, true },
        { "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", 1, HTTP_LENGTH, false },
        { "HTTP/1.1 100 Continue\r\n\r\n", 1, HTTP_NO_BODY, true },
        { "HTTP/1.1 204 No Content\r\n\r\n", 1, HTTP_NO_BODY, true },
        { "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 1, HTTP_NO_BODY, true },
        { "HTTP/1.1 503 Wait\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 1, HTTP_LENGTH, false },
        { "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", -EBADMSG, 0, 0 },
        { "HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n", -EBADMSG, 0, 0 },
        { RES("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), -EBADMSG, 0, 0 },
        { RES("Content-Length: 5\r\nContent-Length: 5\r\n"), -EBADMSG, 0, 0 },
        { RES("Transfer-Encoding: gzip\r\n"), -ENOSYS, 0, 0 },
        { "HTTP/1.1 99 Odd\r\n\r\n", -EBADMSG, 0, 0 },
        { "HTTP/1.1 999 Odd\r\n\r\n", -EBADMSG, 0, 0 },
        { "HTTP/1.1 2000 Odd\r\n\r\n", -EBADMSG, 0, 0 },
        { "HTTP/1.1  200 OK\r\n\r\n", -EBADMSG, 0, 0 },
        { "HTTP/1.1 200 OK\n\r\n", -EBADMSG, 0, 0 },
        { "HTTP/2.0 200 OK\r\n\r\n", -EPROTONOSUPPORT, 0, 0 },
        { "ICY 200 OK\r\n\r\n", -EBADMSG, 0, 0 },
        { RES("X: a\r\n folded\r\n"), -EBADMSG, 0, 0 },
    };
    // clang-format on

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct http_head h;
        size_t scanned = 0;

        check(cases[i].text, strlen(cases[i].text), true, cases[i].want);
        if (cases[i].want == 1) {
            assert_true(http_parse_response(cases[i].text, strlen(cases[i].text), &scanned, false,
                                            &h, NULL) > 0);
            assert_int_equal(h.framing, cases[i].framing);
            assert_int_equal(h.keep_alive, cases[i].keep);
            scanned = 0;
            assert_true(http_parse_response(cases[i].text, strlen(cases[i].text), &scanned, true,
                                            &h, NULL) > 0);
            assert_int_equal(h.framing, HTTP_NO_BODY);
        }
    }
}

/* Decodes in pieces of `step` bytes. Returns bytes used up to the end, 0 when it did not end, or
 * the error; *out gets the payload. */
static ssize_t decode(const char *text, size_t n, size_t step, char *out, size_t *out_len)
{
    struct http_chunked c = { 0 };
    size_t at = 0;

    *out_len = 0;
    while (at < n && !c.done) {
        size_t piece = n - at < step ? n - at : step, used = 0;
        char *copy = xmemdup(text + at, piece);

        while (used < piece && !c.done) {
            struct span data;
            ssize_t r = http_chunked_next(&c, copy + used, piece - used, &data);

            if (r < 0) {
                free(copy);
                return r;
            }
            assert_true(r > 0);
            memcpy(out + *out_len, data.p, data.n);
            *out_len += data.n;
            used += (size_t)r;
        }
        free(copy);
        at += used;
    }
    return c.done ? (ssize_t)at : 0;
}

static void test_chunked(void **state)
{
    // clang-format off
    static const struct { const char *text; ssize_t left; /* bytes after the end, or an error */ const char *payload; } cases[] = {
        { "0\r\n\r\n", 0, "" },
        { "5\r\nhello\r\n0\r\n\r\nGET", 3, "hello" },
        { "00a\r\n0123456789\r\n3\r\nabc\r\n0000\r\n\r\n", 0, "0123456789abc" },
        { "A;name=\"v\"\r\n0123456789\r\n0;x\r\n\r\n", 0, "0123456789" },
        { "1;a;b=c;d=\"\\\";\"\r\na\r\n0;last=1;x\r\n\r\n", 0, "a" },
        { "0;\r\n\r\n", -EBADMSG, "" }, { "0;a=\r\n\r\n", -EBADMSG, "" }, { "0;=b\r\n\r\n", -EBADMSG, "" }, { "0; a\r\n\r\n", -EBADMSG, "" },
        { "0;a;\r\n\r\n", -EBADMSG, "" }, { "0;a=\"b\r\n\r\n", -EBADMSG, "" }, { "0;a=\"b\"c\r\n\r\n", -EBADMSG, "" }, { "0;a=b=c\r\n\r\n", -EBADMSG, "" },
        { "1\r\na\r\n0\r\nTrailer: x\r\nother:\r\n\r\nZ", 1, "a" },
        { "\r\n", -EBADMSG, "" }, { "x\r\n", -EBADMSG, "" }, { "0x5\r\n", -EBADMSG, "" }, { "+5\r\n", -EBADMSG, "" },
        { "-1\r\n", -EBADMSG, "" }, { " 5\r\nhello", -EBADMSG, "" }, { "5 \r\nhello", -EBADMSG, "" }, { "5\nhello", -EBADMSG, "" },
        { "5\rhello", -EBADMSG, "" }, { "5;a\nhello", -EBADMSG, "" }, { "1\r\nab\r\n", -EBADMSG, "a" }, { "1\r\na\n", -EBADMSG, "a" },
        { "1\r\na\rb", -EBADMSG, "a" }, { "00000000000000001\r\n", -EBADMSG, "" }, { "ffffffffffffffff\r\n", -EBADMSG, "" },
        { "10000000000000000\r\n", -EBADMSG, "" }, { "0\r\n folded\r\n\r\n", -EBADMSG, "" }, { "0\r\nx y: z\r\n\r\n", -EBADMSG, "" },
        { "0\r\nx: a\x01\r\n\r\n", -EBADMSG, "" }, { "0\r\n\n", -EBADMSG, "" }, { "5;a\x01\r\n", -EBADMSG, "" }, { ";\r\n", -EBADMSG, "" },
    };
    // clang-format on
    char out[256];
    size_t n;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t len = strlen(cases[i].text);

        for (size_t step = 1; step <= len; step++) {
            ssize_t r = decode(cases[i].text, len, step, out, &n);

            assert_int_equal(r, cases[i].left < 0 ? cases[i].left : (ssize_t)len - cases[i].left);
            assert_int_equal(n, strlen(cases[i].payload));
            assert_memory_equal(out, cases[i].payload, n);
        }
    }
}

static void test_chunked_bounds(void **state)
{
    char text[10000], out[16];
    size_t n;

    memset(text, 'e', sizeof(text));
    text[0] = '1';
    text[1] = ';';
    assert_int_equal(decode(text, 256, 7, out, &n), 0);
    assert_int_equal(decode(text, 300, 7, out, &n), -EBADMSG);
    memmove(text, "0\r\nt:", sizeof("0\r\nt:") - 1);
    assert_int_equal(decode(text, 8000, 7, out, &n), 0);
    assert_int_equal(decode(text, 9000, 7, out, &n), -EBADMSG);
}

static void test_decode(void **state)
{
    // clang-format off
    static const struct { const char *text; bool query; const char *want; } cases[] = {
        { "a%20b", false, "a b" }, { "a+b", false, "a+b" }, { "a+b", true, "a b" }, { "%2f%2F", false, "//" }, { "", false, "" },
        { "%", false, NULL }, { "%2", false, NULL }, { "%zz", false, NULL }, { "%00", false, NULL }, { "%4g", false, NULL },
        { "%C3%A9", false, "\xC3\xA9" },
    };
    // clang-format on

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *copy = xmemdup(cases[i].text, strlen(cases[i].text));
        char *got = http_decode((struct span){ copy, strlen(cases[i].text) }, cases[i].query);

        if (cases[i].want) {
            assert_string_equal(got, cases[i].want);
        } else {
            assert_null(got);
        }
        free(got);
        free(copy);
    }
}

static void test_query(void **state)
{
    struct span q = SPAN("limit=5&level=a%26b&flag&empty=&%6Cast=1");
    char *v;

    assert_string_equal(v = http_query_get(q, "limit"), "5");
    free(v);
    assert_string_equal(v = http_query_get(q, "level"), "a&b");
    free(v);
    assert_string_equal(v = http_query_get(q, "flag"), "");
    free(v);
    assert_string_equal(v = http_query_get(q, "empty"), "");
    free(v);
    assert_string_equal(v = http_query_get(q, "last"), "1");
    free(v);
    assert_null(http_query_get(q, "imit"));
    assert_null(http_query_get((struct span){ 0 }, "a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),       cmocka_unit_test(test_request_fields),
        cmocka_unit_test(test_keep_alive),     cmocka_unit_test(test_too_many_headers),
        cmocka_unit_test(test_responses),      cmocka_unit_test(test_chunked),
        cmocka_unit_test(test_chunked_bounds), cmocka_unit_test(test_decode),
        cmocka_unit_test(test_query),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
