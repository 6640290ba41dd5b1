// SPDX-License-Identifier: Apache-2.0
/* The rules of access as a table: what comes in, what is said. And the readings of Host, Origin and
 * types. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "access/rules.h"
#include "base/mem.h"

static struct access_policy policy_of(enum access_keys keys)
{
    struct access_policy p = { .keys = keys, .stored_count = 2 };

    access_key_hash(SPAN("berth-admin"), p.stored[0].hash);
    p.stored[0].scope = SCOPE_ADMIN;
    access_key_hash(SPAN("berth-user"), p.stored[1].hash);
    p.stored[1].scope = SCOPE_INFERENCE;
    return p;
}

/* What a case says beyond "a local program calls an administrative route on loopback". */
enum {
    FAR_LISTENER = 1, /* the listener is not on loopback */
    FAR_PEER = 2,
    FORWARDED = 4,
    ADMIN_SOCKET = 8,
    PUBLIC = 16,
    INFERENCE = 32,
};

static void test_decisions(void **state)
{
    // clang-format off
    static const struct {
        enum access_keys keys; int flags;
        const char *host, *origin, *authorization, *api_key;
        int result;
    } cases[] = {
        /* keyless on loopback */
        { KEYS_AUTO, 0, "127.0.0.1:8080", NULL, NULL, NULL, 0 },
        { KEYS_AUTO, 0, "localhost", NULL, NULL, NULL, 0 },
        { KEYS_AUTO, 0, "[::1]:8080", NULL, NULL, NULL, 0 },
        { KEYS_AUTO, INFERENCE, "localhost:8080", NULL, "Bearer sk-anything", NULL, 0 },
        { KEYS_AUTO, 0, "localhost:8080", "http://localhost:8080", NULL, NULL, 0 },
        /* another name for us: DNS rebinding */
        { KEYS_AUTO, 0, "evil.example:8080", NULL, NULL, NULL, -EPERM },
        { KEYS_AUTO, 0, "127.0.0.1.evil.example", NULL, NULL, NULL, -EPERM },
        { KEYS_AUTO, 0, NULL, NULL, NULL, NULL, -EPERM },
        { KEYS_AUTO, 0, "evil.example", NULL, "Bearer berth-admin", NULL, 0 },
        { KEYS_AUTO, 0, "evil.example", NULL, "Bearer wrong", NULL, -EACCES },
        /* another site's page */
        { KEYS_AUTO, 0, "localhost:8080", "https://evil.example", NULL, NULL, -EPERM },
        { KEYS_AUTO, 0, "localhost:8080", "http://localhost:3000", NULL, NULL, -EPERM },
        { KEYS_AUTO, 0, "localhost:8080", "null", NULL, NULL, -EPERM },
        { KEYS_AUTO, 0, "localhost:8080", "", NULL, NULL, -EPERM },
        { KEYS_AUTO, INFERENCE, "localhost:8080", "https://evil.example", "Bearer berth-user", NULL, 0 },
        /* passed on by a proxy */
        { KEYS_AUTO, FORWARDED, "localhost:8080", NULL, NULL, NULL, -EACCES },
        { KEYS_AUTO, FORWARDED, "localhost:8080", NULL, "Bearer berth-admin", NULL, 0 },
        /* from elsewhere */
        { KEYS_AUTO, FAR_LISTENER, "localhost", NULL, NULL, NULL, -EACCES },
        { KEYS_AUTO, FAR_PEER, "localhost", NULL, NULL, NULL, -EACCES },
        { KEYS_AUTO, FAR_LISTENER | FAR_PEER, "10.0.0.5:8080", NULL, "Bearer berth-admin", NULL, 0 },
        { KEYS_AUTO, FAR_LISTENER | FAR_PEER, "10.0.0.5:8080", NULL, NULL, "berth-admin", 0 },
        { KEYS_AUTO, FAR_LISTENER | FAR_PEER, "10.0.0.5:8080", "https://any.example", NULL, "berth-admin", 0 },
        { KEYS_AUTO, FAR_LISTENER | FAR_PEER, "10.0.0.5:8080", NULL, "Bearer berth-admi", NULL, -EACCES },
        { KEYS_AUTO, FAR_LISTENER | FAR_PEER, "10.0.0.5:8080", NULL, "Bearer ", NULL, -EACCES },
        { KEYS_AUTO, FAR_LISTENER | FAR_PEER, "10.0.0.5:8080", NULL, "Basic berth-admin", NULL, -EACCES },
        { KEYS_AUTO, FAR_LISTENER | FAR_PEER, "10.0.0.5:8080", NULL, "bearer  berth-admin ", NULL, 0 },
        { KEYS_AUTO, FAR_LISTENER | FAR_PEER | PUBLIC, "10.0.0.5:8080", NULL, NULL, NULL, 0 },
        /* what a key is good for */
        { KEYS_AUTO, FAR_LISTENER | FAR_PEER, "h", NULL, "Bearer berth-user", NULL, -EPERM },
        { KEYS_AUTO, FAR_LISTENER | FAR_PEER | INFERENCE, "h", NULL, "Bearer berth-user", NULL, 0 },
        { KEYS_AUTO, FAR_LISTENER | FAR_PEER | INFERENCE, "h", NULL, "Bearer berth-admin", NULL, 0 },
        /* on: a key always */
        { KEYS_ON, 0, "localhost", NULL, NULL, NULL, -EACCES },
        { KEYS_ON, 0, "localhost", NULL, "Bearer wrong", NULL, -EACCES },
        { KEYS_ON, 0, "localhost", NULL, "Bearer berth-admin", NULL, 0 },
        { KEYS_ON, PUBLIC, "localhost", NULL, NULL, NULL, 0 },
        { KEYS_ON, ADMIN_SOCKET, "localhost", NULL, NULL, NULL, 0 },
        { KEYS_AUTO, ADMIN_SOCKET, "berth", NULL, NULL, NULL, 0 },
        /* off: never */
        { KEYS_OFF, FAR_LISTENER | FAR_PEER, "10.0.0.5", NULL, NULL, NULL, 0 },
        { KEYS_OFF, FAR_LISTENER | FAR_PEER, "10.0.0.5", "https://any.example", "Bearer wrong", NULL, 0 },
    };
    // clang-format on

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct access_policy policy = policy_of(cases[i].keys);
        int flags = cases[i].flags;
        struct access_facts facts = {
            .scope = flags & PUBLIC      ? SCOPE_PUBLIC
                     : flags & INFERENCE ? SCOPE_INFERENCE
                                         : SCOPE_ADMIN,
            .listener_loopback = !(flags & FAR_LISTENER),
            .peer_loopback = !(flags & FAR_PEER),
            .forwarded = flags & FORWARDED,
            .admin_socket = flags & ADMIN_SOCKET,
            .host = span_of(cases[i].host),
            .origin = span_of(cases[i].origin),
            .authorization = span_of(cases[i].authorization),
            .api_key = span_of(cases[i].api_key),
        };
        struct error e = { 0 };
        int r = access_decide(&policy, &facts, &e);

        if (r != cases[i].result || e.code != r || (r < 0 && strlen(e.text) < 10)) {
            fail_msg("case %zu: %d instead of %d (%s)", i, r, cases[i].result, e.text);
        }
        /* A refusal never repeats a key. */
        assert_null(strstr(e.text, "berth-"));
        assert_null(strstr(e.text, "wrong"));
    }
}

static void test_no_key_stored(void **state)
{
    struct access_policy none = { .keys = KEYS_ON };
    struct access_facts facts = { .scope = SCOPE_ADMIN,
                                  .listener_loopback = true,
                                  .peer_loopback = true,
                                  .host = SPAN("localhost"),
                                  .api_key = SPAN("") };

    assert_int_equal(access_decide(&none, &facts, NULL), -EACCES);
}

static void test_hosts(void **state)
{
    static const char *const good[] = {
        "localhost",  "LocalHost:1",          "127.0.0.1",        "127.255.0.9:65535", "[::1]",
        "[::1]:8080", "[::ffff:127.0.0.1]:1", "[0:0:0:0:0:0:0:1]"
    };
    static const char *const bad[] = { "",
                                       ":8080",
                                       "localhost.",
                                       "localhost:",
                                       "localhost:0",
                                       "localhost:65536",
                                       "localhost:80x",
                                       "localhost:+80",
                                       "127.1",
                                       "2130706433",
                                       "0.0.0.0",
                                       "10.127.0.1",
                                       "128.0.0.1",
                                       "::1",
                                       "[::1",
                                       "[::1]x",
                                       "[::1]x:80",
                                       "[::2]",
                                       "[]",
                                       "[::]",
                                       "a[::1]",
                                       "localhost@evil.example",
                                       "evil.example:127",
                                       "127.0.0.1:80:80",
                                       "localhost evil.example",
                                       "127.0.0.1,evil.example" };

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        if (!access_host_is_loopback(span_of(good[i]))) {
            fail_msg("'%s' is loopback", good[i]);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        if (access_host_is_loopback(span_of(bad[i]))) {
            fail_msg("'%s' is not loopback", bad[i]);
        }
    }
    assert_false(access_host_is_loopback((struct span){ NULL, 0 }));
    assert_false(access_host_is_loopback((struct span){ "127.0.0.1\0", 10 }));
}

static void test_origins(void **state)
{
    // clang-format off
    static const struct { const char *origin, *host; bool own; } cases[] = {
        { NULL, "localhost:8080", true },
        { "http://localhost:8080", "localhost:8080", true },
        { "http://LOCALHOST:8080", "localhost:8080", true },
        { "http://localhost", "localhost", true },
        { "http://localhost", "localhost:80", true },
        { "https://box.example", "box.example:443", true },
        { "https://box.example", "box.example", true },
        { "http://[::1]:8080", "[::1]:8080", true },
        { "http://localhost:8081", "localhost:8080", false },
        { "http://localhost", "localhost:8080", false },
        { "http://127.0.0.1:8080", "localhost:8080", false },
        { "http://localhost:8080.evil.example", "localhost:8080", false },
        { "http://localhost:8080/", "localhost:8080", false },
        { "http://user@localhost:8080", "localhost:8080", false },
        { "null", "localhost:8080", false },
        { "null", "null", false },
        { "", "localhost:8080", false },
        { "http://", "", false },
        { "file://", "", false },
        { "chrome-extension://localhost:8080", "localhost:8080", false },
        { "http://localhost:8080", NULL, false },
    };
    // clang-format on

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        if (access_origin_is_own(span_of(cases[i].origin), span_of(cases[i].host)) !=
            cases[i].own) {
            fail_msg("origin '%s' at host '%s'", cases[i].origin, cases[i].host);
        }
    }
}

static void test_names_and_types(void **state)
{
    assert_true(access_header_is_proxys(SPAN("Forwarded")));
    assert_true(access_header_is_proxys(SPAN("X-Forwarded-For")));
    assert_true(access_header_is_proxys(SPAN("x-forwarded-anything")));
    assert_true(access_header_is_proxys(SPAN("X-Real-IP")));
    assert_false(access_header_is_proxys(SPAN("X-Forward")));
    assert_false(access_header_is_proxys(SPAN("Host")));

    assert_true(access_content_is_json(SPAN("application/json")));
    assert_true(access_content_is_json(SPAN("Application/JSON; charset=utf-8")));
    assert_true(access_content_is_json(SPAN("application/problem+json")));
    assert_false(access_content_is_json((struct span){ NULL, 0 }));
    assert_false(access_content_is_json(SPAN("")));
    assert_false(access_content_is_json(SPAN("text/plain")));
    assert_false(access_content_is_json(SPAN("text/plain; application/json")));
    assert_false(access_content_is_json(SPAN("text/plain;x=+json")));
    assert_false(access_content_is_json(SPAN("application/x-www-form-urlencoded")));
}

/* Which pages of other sites get in without a key. */
static void test_listed_origins(void **state)
{
    static const char *const named[] = { "https://app.example", "http://localhost:3000", NULL };
    static const char *const all[] = { "https://app.example", "*", NULL };
    // clang-format off
    static const struct {
        const char *const *list;
        const char *origin;
        enum route_scope scope;
        int result;
    } cases[] = {
        { NULL,  "https://app.example",         SCOPE_INFERENCE, -EPERM },
        { named, "https://app.example",         SCOPE_INFERENCE, 0 },
        { named, "https://app.example",         SCOPE_ADMIN,     0 },
        { named, "http://localhost:3000",       SCOPE_ADMIN,     0 },
        { named, "http://app.example",          SCOPE_INFERENCE, -EPERM },
        { named, "https://app.example:8443",    SCOPE_INFERENCE, -EPERM },
        { named, "https://app.example.evil.io", SCOPE_INFERENCE, -EPERM },
        { named, "https://sub.app.example",     SCOPE_INFERENCE, -EPERM },
        { named, "null",                        SCOPE_INFERENCE, -EPERM },
        { named, "*",                           SCOPE_INFERENCE, -EPERM },
        { all,   "https://any.example",         SCOPE_INFERENCE, 0 },
        { all,   "https://any.example",         SCOPE_ADMIN,     -EPERM },
        { all,   "null",                        SCOPE_ADMIN,     -EPERM },
        { all,   "https://app.example",         SCOPE_ADMIN,     0 },
    };
    // clang-format on

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct access_policy policy = policy_of(KEYS_AUTO);
        struct error e = { 0 };
        const struct access_facts facts = {
            .scope = cases[i].scope,
            .listener_loopback = true,
            .peer_loopback = true,
            .host = SPAN("localhost:8080"),
            .origin = span_of(cases[i].origin),
        };
        int r;

        policy.origins = cases[i].list;
        r = access_decide(&policy, &facts, &e);
        if (r != cases[i].result) {
            fail_msg("case %zu (%s): %d", i, cases[i].origin, r);
        }
        assert_true(r == 0 || strstr(e.text, "cors.origins"));
    }
}

static void test_well_formed_origins(void **state)
{
    static const char *const good[] = { "*", "https://app.example", "http://localhost:3000",
                                        "http://[::1]:8080", "chrome-extension://abcdef" };
    static const char *const bad[] = { "",
                                       "app.example",
                                       "https://app.example/",
                                       "https://app.example/x",
                                       "https://",
                                       "://x",
                                       "https://*.example, https://b",
                                       "https://a b",
                                       "https://user@host",
                                       "https://host:port",
                                       "https://a\r\nSet-Cookie: b",
                                       "null" };

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        if (!access_origin_is_well_formed(good[i])) {
            fail_msg("%s is refused", good[i]);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        if (access_origin_is_well_formed(bad[i])) {
            fail_msg("'%s' is taken", bad[i]);
        }
    }
}

static void test_hash(void **state)
{
    char hash[KEY_HASH_SIZE];

    access_key_hash(SPAN("abc"), hash); /* FIPS 180-2 */
    assert_string_equal(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decisions),       cmocka_unit_test(test_no_key_stored),
        cmocka_unit_test(test_hosts),           cmocka_unit_test(test_origins),
        cmocka_unit_test(test_names_and_types), cmocka_unit_test(test_hash),
        cmocka_unit_test(test_listed_origins),  cmocka_unit_test(test_well_formed_origins),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
