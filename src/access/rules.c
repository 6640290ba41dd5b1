// SPDX-License-Identifier: Apache-2.0
/*
 * The rules, in this order: the admin socket, what is public, no keys at all, keyless use on
 * loopback, a key. What cannot be read in one way only (a Host with a strange port, an Origin that
 * is no URL) is not ours.
 */
#include "access/rules.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <strings.h>

enum { KEY_TEXT_MAX = 256 };

int access_keys_from_string(const char *s)
{
    static const char *const words[] = {
        [KEYS_AUTO] = "auto", [KEYS_ON] = "on", [KEYS_OFF] = "off"
    };

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (str_eq(s, words[i])) {
            return (int)i;
        }
    }
    return -EINVAL;
}

void access_key_hash(struct span key, char out[KEY_HASH_SIZE])
{
    unsigned char digest[32];

    if (EVP_Digest(key.p, key.n, digest, NULL, EVP_sha256(), NULL) != 1) {
        memset(out, 0, KEY_HASH_SIZE); /* equal to no stored hash */
        return;
    }
    hex_encode(digest, sizeof(digest), out);
}

/* ---- Host and Origin ---- */

static bool is_port(struct span s)
{
    uint64_t port;

    return s.n <= 5 && span_to_u64(s, &port) == 0 && port > 0 && port <= 65535;
}

/* Cuts ":port" off. False when what follows the name is no port. */
static bool split_host(struct span text, struct span *name, struct span *port)
{
    const char *close = text.n && text.p[0] == '[' ? memchr(text.p, ']', text.n) : NULL;
    const char *from = close ? close + 1 : text.p;
    size_t left = text.n - (size_t)(from - text.p);
    const char *colon = left ? memchr(from, ':', left) : NULL;

    *name = text;
    *port = (struct span){ NULL, 0 };
    if (colon) {
        name->n = (size_t)(colon - text.p);
        *port = (struct span){ colon + 1, text.n - name->n - 1 };
        if (!is_port(*port)) {
            return false;
        }
    }
    /* What is in brackets is all there is before the port; nothing else holds brackets. */
    return name->n > 0 && (close ? name->p + name->n == close + 1 : !memchr(name->p, '[', name->n));
}

static bool is_loopback_v4(const char *text)
{
    struct in_addr a;

    return inet_pton(AF_INET, text, &a) == 1 && (ntohl(a.s_addr) >> 24) == 127;
}

static bool is_loopback_v6(const char *text)
{
    struct in6_addr a;

    return inet_pton(AF_INET6, text, &a) == 1 &&
           (IN6_IS_ADDR_LOOPBACK(&a) || (IN6_IS_ADDR_V4MAPPED(&a) && a.s6_addr[12] == 127));
}

bool access_host_is_loopback(struct span host)
{
    struct span name, port;
    char text[64];

    if (!split_host(span_trim(host), &name, &port) || name.n >= sizeof(text) ||
        memchr(name.p, '\0', name.n)) {
        return false;
    }
    if (span_eq_nocase(name, "localhost")) {
        return true;
    }
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    if (text[0] != '[') {
        return is_loopback_v4(text);
    }
    text[name.n - 1] = '\0';
    return is_loopback_v6(text + 1);
}

static bool same_text(struct span a, struct span b)
{
    return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}

bool access_origin_is_own(struct span origin, struct span host)
{
    bool tls = span_starts(origin, "https://");
    const char *default_port = tls ? "443" : "80";
    struct span rest, name, port, our_name, our_port;

    if (!origin.p) {
        return true;
    }
    if (!tls && !span_starts(origin, "http://")) { /* "null" too: a page without a home */
        return false;
    }
    rest = (struct span){ origin.p + (tls ? 8 : 7), origin.n - (tls ? 8 : 7) };
    if (!split_host(rest, &name, &port) || !split_host(span_trim(host), &our_name, &our_port)) {
        return false;
    }
    port = port.p ? port : span_of(default_port);
    our_port = our_port.p ? our_port : span_of(default_port);
    return same_text(name, our_name) && same_text(port, our_port);
}

enum origin_rule access_origin_rule(const struct access_policy *policy, struct span origin)
{
    enum origin_rule rule = ORIGIN_FOREIGN;

    for (const char *const *o = policy->origins; o && *o && origin.p; o++) {
        if (span_eq_nocase(origin, *o)) {
            return ORIGIN_LISTED;
        }
        if (str_eq(*o, "*")) {
            rule = ORIGIN_ANY;
        }
    }
    return rule;
}

bool access_origin_is_well_formed(const char *text)
{
    const char *rest = strstr(text, "://");
    struct span name, port;

    if (str_eq(text, "*")) {
        return true;
    }
    for (const char *p = text; *p; p++) { /* it goes into a header as it stands */
        if (*p <= ' ' || *p >= 0x7f || strchr(",\"'\\", *p)) {
            return false;
        }
    }
    return rest && rest > text && !strpbrk(rest + 3, "/?#@") &&
           split_host(span_of(rest + 3), &name, &port);
}

bool access_header_is_proxys(struct span name)
{
    static const char prefix[] = "x-forwarded-";

    return span_eq_nocase(name, "forwarded") || span_eq_nocase(name, "x-real-ip") ||
           (name.n >= sizeof(prefix) - 1 && strncasecmp(name.p, prefix, sizeof(prefix) - 1) == 0);
}

bool access_content_is_json(struct span content_type)
{
    struct span type = content_type;
    struct span name = span_trim(span_cut(&type, ';'));

    return span_eq_nocase(name, "application/json") ||
           (name.p && name.n > 5 && strncasecmp(name.p + name.n - 5, "+json", 5) == 0);
}

/* ---- the decision ---- */

/* The key that was sent: absent when none was. */
static struct span key_of(const struct access_facts *facts)
{
    struct span rest = facts->authorization;
    struct span scheme = span_cut(&rest, ' ');

    if (rest.p && span_eq_nocase(scheme, "bearer")) {
        return span_trim(rest);
    }
    return facts->api_key.p ? span_trim(facts->api_key) : (struct span){ NULL, 0 };
}

static int check_key(const struct access_policy *policy, struct span key, enum route_scope scope,
                     struct error *reterr)
{
    const struct access_key *found = NULL;
    char hash[KEY_HASH_SIZE];

    access_key_hash((struct span){ key.p, MIN_OF(key.n, (size_t)KEY_TEXT_MAX + 1) }, hash);
    for (size_t i = 0; i < policy->stored_count; i++) {
        if (secret_eq(policy->stored[i].hash, hash)) {
            found = &policy->stored[i];
        }
    }
    if (!found) {
        return error_set(reterr, -EACCES, "the API key is not known");
    }
    if (found->scope < scope) {
        return error_set(reterr, -EPERM, "this API key is not good for the administration");
    }
    return 0;
}

/* "*" opens inference to every page; whose page may administer without a key must be said by name.
 */
static int check_origin(const struct access_policy *policy, const struct access_facts *facts,
                        struct error *reterr)
{
    const enum origin_rule rule = access_origin_rule(policy, facts->origin);

    if (rule == ORIGIN_LISTED || access_origin_is_own(facts->origin, facts->host) ||
        (rule == ORIGIN_ANY && facts->scope == SCOPE_INFERENCE)) {
        return 0;
    }
    return error_set(reterr, -EPERM,
                     "a page of another site may not call berth without an API key, unless its "
                     "origin stands in cors.origins%s",
                     rule == ORIGIN_ANY ? " by name ('*' is not enough for the administration)"
                                        : "");
}

/* 0, or which rule of keyless use is not met. */
static int check_keyless(const struct access_policy *policy, const struct access_facts *facts,
                         struct error *reterr)
{
    if (policy->keys == KEYS_ON || !facts->listener_loopback || !facts->peer_loopback) {
        return error_set(reterr, -EACCES,
                         "an API key is needed: send it as 'Authorization: Bearer KEY'");
    }
    if (facts->forwarded) {
        return error_set(
            reterr, -EACCES,
            "a request that a proxy has passed on needs an API key ('access.keys: on' makes "
            "one): send it as 'Authorization: Bearer KEY'");
    }
    if (!access_host_is_loopback(facts->host)) {
        return error_set(
            reterr, -EPERM,
            "without an API key the Host header must be localhost or a loopback address, "
            "not '%.*s'",
            (int)MIN_OF(facts->host.n, (size_t)100), facts->host.p ? facts->host.p : "");
    }
    return check_origin(policy, facts, reterr);
}

int access_decide(const struct access_policy *policy, const struct access_facts *facts,
                  struct error *reterr)
{
    struct error keyless = { 0 };
    struct span key;
    int r;

    if (facts->admin_socket || facts->scope == SCOPE_PUBLIC || policy->keys == KEYS_OFF) {
        return 0;
    }
    r = check_keyless(policy, facts, &keyless);
    if (r == 0) {
        return 0;
    }
    key = key_of(facts);
    return key.p ? check_key(policy, key, facts->scope, reterr)
                 : error_set(reterr, r, "%s", keyless.text);
}
