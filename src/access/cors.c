// SPDX-License-Identifier: Apache-2.0
/*
 * Which pages of other sites may read our answers, told in the headers that browsers look for. The
 * rule: an origin is echoed when it is listed by name, "*" is said when only that allows it, and
 * nothing is said to anybody else. Access-Control-Allow-Credentials is never sent.
 */
#include "access/access_int.h"
#include "http/server.h"

enum { ORIGIN_MAX = 300, WANTED_HEADERS_MAX = 1024 };

/* What a page may read beside the headers that every page may. */
static const char exposed[] =
    "x-request-id, x-total-count, retry-after, retry-after-ms, x-berth-instance, x-berth-queue-ms, "
    "x-berth-queue-position, x-berth-expected-wait-ms";

void access_allow_origin(const struct access *a, struct http_exchange *x)
{
    struct span origin;
    enum origin_rule rule;
    char text[ORIGIN_MAX];

    if (!a->policy.origins || !a->policy.origins[0]) {
        return;
    }
    http_exchange_add_header(x, "Vary", "Origin");
    origin = http_header_get(http_exchange_head(x), "origin");
    rule = access_origin_rule(&a->policy, origin);
    if (rule == ORIGIN_FOREIGN || origin.n >= sizeof(text)) {
        return;
    }
    memcpy(text, origin.p, origin.n);
    text[origin.n] = '\0';
    http_exchange_add_header(x, "Access-Control-Allow-Origin", rule == ORIGIN_LISTED ? text : "*");
    http_exchange_add_header(x, "Access-Control-Expose-Headers", exposed);
}

bool access_is_preflight(const struct http_exchange *x)
{
    const struct http_head *head = http_exchange_head(x);

    return span_eq(head->method, "OPTIONS") && http_header_get(head, "origin").p &&
           http_header_get(head, "access-control-request-method").p;
}

/* Which headers a page sends is no question of safety here: those that were asked for. */
static void allow_wanted_headers(struct http_exchange *x)
{
    const struct span wanted =
        http_header_get(http_exchange_head(x), "access-control-request-headers");
    char text[WANTED_HEADERS_MAX];

    if (wanted.p && wanted.n > 0 && wanted.n < sizeof(text)) {
        memcpy(text, wanted.p, wanted.n);
        text[wanted.n] = '\0';
        http_exchange_add_header(x, "Access-Control-Allow-Headers", text);
    }
}

int access_preflight(const struct access *a, struct http_exchange *x, const char *allow,
                     struct error *reterr)
{
    const struct span origin = http_header_get(http_exchange_head(x), "origin");

    if (access_origin_rule(&a->policy, origin) == ORIGIN_FOREIGN) {
        return error_set(reterr, -EPERM,
                         "pages of this origin may not call berth: it does not stand in "
                         "cors.origins");
    }
    http_exchange_add_header(x, "Access-Control-Allow-Methods", allow);
    allow_wanted_headers(x);
    http_exchange_add_header(x, "Access-Control-Max-Age", "600");
    if (http_header_get(http_exchange_head(x), "access-control-request-private-network").p) {
        http_exchange_add_header(x, "Access-Control-Allow-Private-Network", "true");
    }
    http_respond(x, 204, NULL, (struct span){ NULL, 0 });
    return 0;
}
