// SPDX-License-Identifier: Apache-2.0
/* What is read of a client's headers, and what goes on to the engine: what is allowed, nothing
 * else.
 */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/macros.h"
#include "gateway/client_headers.h"
#include "gateway/request.h"

#define TRACE  "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00-" TRACE "-00f067aa0ba902b7-01"

static struct http_head head;

/* Parses a request with these header lines, as the server does. */
static const struct http_head *with(const char *lines)
{
    static char text[8192];
    struct error e = { 0 };
    size_t scanned = 0;

    snprintf(text, sizeof(text), "POST /v1/messages HTTP/1.1\r\nHost: x\r\n%s\r\n", lines);
    assert_int_equal(http_parse_request(text, strlen(text), &scanned, &head, &e), strlen(text));
    return &head;
}

static struct client_headers read_ok(const char *lines)
{
    struct client_headers h;
    struct error e = { 0 };

    assert_int_equal(client_headers_read(with(lines), &h, &e), 0);
    return h;
}

static void check_forwarded(const char *lines, const char *expected)
{
    struct client_headers h = read_ok(lines);
    struct buf out = BUF_INIT(16384);

    client_headers_forward(&head, &h, &out);
    assert_string_equal(buf_data(&out), expected);
    buf_finish(&out);
}

static void knows_a_traceparent(void **state)
{
    static const char *const good[] = {
        PARENT,
        "00-" TRACE "-00f067aa0ba902b7-00",
        "cc-" TRACE "-00f067aa0ba902b7-01-what-comes-later",
        "01-" TRACE "-00f067aa0ba902b7-ff",
    };
    static const char *const bad[] = {
        "",
        "00",
        "00-" TRACE "-00f067aa0ba902b7-0",
        PARENT "-more",
        PARENT "0",
        "ff-" TRACE "-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-" TRACE "-0000000000000000-01",
        "00-" TRACE "_00f067aa0ba902b7-01",
        "0g-" TRACE "-00f067aa0ba902b7-01",
        "00-" TRACE "-00f067aa0ba902b7-0x",
        "cc-" TRACE "-00f067aa0ba902b7-01.what",
    };

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        assert_true(traceparent_is_valid(span_of(good[i])));
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        if (traceparent_is_valid(span_of(bad[i]))) {
            fail_msg("accepted: %s", bad[i]);
        }
    }
    assert_false(traceparent_is_valid((struct span){ 0 }));
}

static void reads_durations(void **state)
{
    struct client_headers h =
        read_ok("X-Berth-Deadline: 1.5s\r\nx-berth-queue-timeout: 250ms\r\nUser-Agent: curl/8\r\n");

    assert_int_equal(h.deadline_ms, 1500);
    assert_int_equal(h.queue_timeout_ms, 250);
    assert_true(span_eq(h.user_agent, "curl/8"));
    assert_false(h.forwards);
    assert_string_equal(h.trace_id, "");
    h = read_ok("Accept: */*\r\n");
    assert_int_equal(h.deadline_ms, 0);
    assert_int_equal(h.queue_timeout_ms, 0);
    assert_null(h.user_agent.p);
}

static void sessions_are_told_apart(void **state)
{
    assert_true(read_ok("").session == 0);
    assert_true(read_ok("X-Session-Id:\r\n").session == 0);
    assert_true(read_ok("X-Session-Id: a\r\n").session == session_hash(SPAN("a")));
    assert_true(read_ok("x-session-id: b\r\n").session != session_hash(SPAN("a")));
    check_forwarded("x-session-id: a\r\n", "");
}

static void refuses_what_is_no_duration(void **state)
{
    static const char *const bad[] = {
        "x-berth-deadline: soon\r\n",
        "x-berth-deadline: 0\r\n",
        "x-berth-deadline: -5s\r\n",
        "x-berth-deadline:\r\n",
        "x-berth-queue-timeout: 5 parsecs\r\n",
        "x-berth-queue-timeout: 0000000000000000000000000000000000000000000001s\r\n",
    };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct client_headers h;
        struct error e = { 0 };

        assert_int_equal(client_headers_read(with(bad[i]), &h, &e), -EINVAL);
        assert_non_null(strstr(e.text, i < 4 ? "x-berth-deadline" : "x-berth-queue-timeout"));
    }
}

static void forwards_what_is_allowed(void **state)
{
    check_forwarded("Authorization: Bearer secret\r\nx-api-key: secret\r\nCookie: a=b\r\n"
                    "OpenAI-Organization: x\r\n",
                    "");
    check_forwarded("TraceParent: " PARENT "\r\ntracestate: a=1,b=2\r\nAuthorization: secret\r\n",
                    "traceparent: " PARENT "\r\ntracestate: a=1,b=2\r\n");
    check_forwarded(
        "x-api-key: secret\r\nAnthropic-Version: 2023-06-01\r\n"
        "anthropic-beta: one\r\nanthropic-beta: two\r\n",
        "anthropic-version: 2023-06-01\r\nanthropic-beta: one\r\nanthropic-beta: two\r\n");
}

static void a_broken_trace_stays_here(void **state)
{
    check_forwarded("traceparent: nonsense\r\ntracestate: a=1\r\n", "");
    check_forwarded("tracestate: a=1\r\n", "");
    check_forwarded("traceparent: " PARENT "\r\ntraceparent: " PARENT "\r\ntracestate: a=1\r\n",
                    "");
    assert_string_equal(read_ok("traceparent: " PARENT "\r\n").trace_id, TRACE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_a_traceparent),      cmocka_unit_test(reads_durations),
        cmocka_unit_test(sessions_are_told_apart),  cmocka_unit_test(refuses_what_is_no_duration),
        cmocka_unit_test(forwards_what_is_allowed), cmocka_unit_test(a_broken_trace_stays_here),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
