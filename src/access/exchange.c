// SPDX-License-Identifier: Apache-2.0
/* Reads the facts off an exchange; the rules are in rules.c. */
#include "access/access_int.h"
#include "http/server.h"

static bool was_forwarded(const struct http_head *head)
{
    for (size_t i = 0; i < head->header_count; i++) {
        if (access_header_is_proxys(head->headers[i].name)) {
            return true;
        }
    }
    return false;
}

int access_check(const struct access *a, const struct http_exchange *x, enum route_scope scope,
                 struct error *reterr)
{
    const struct http_head *head = http_exchange_head(x);
    const struct access_listener *listener = http_exchange_tag(x);
    struct access_facts facts = {
        .scope = scope,
        .listener_loopback = listener->loopback,
        .admin_socket = listener->admin_socket,
        .peer_loopback = address_is_loopback(http_exchange_peer(x)),
        .forwarded = was_forwarded(head),
        .host = http_header_get(head, "host"),
        .origin = http_header_get(head, "origin"),
        .authorization = http_header_get(head, "authorization"),
        .api_key = http_header_get(head, "x-api-key"),
    };

    return access_decide(&a->policy, &facts, reterr);
}

int access_check_content(const struct http_exchange *x, struct error *reterr)
{
    struct span type = http_header_get(http_exchange_head(x), "content-type");
    struct span encoding = http_header_get(http_exchange_head(x), "content-encoding");

    if (encoding.p && !span_eq_nocase(encoding, "identity")) {
        return error_set(reterr, -EMEDIUMTYPE, "the body must be plain: no Content-Encoding");
    }
    if (http_exchange_body(x).n == 0 || access_content_is_json(type)) {
        return 0;
    }
    return error_set(reterr, -EMEDIUMTYPE,
                     "the body must be JSON: send 'Content-Type: application/json'");
}
