// SPDX-License-Identifier: Apache-2.0
/*
 * Whom a webhook may be: a plain http or https URL without user or fragment, whose host the
 * operator allows. It is asked when an order comes, and again each time before the URL is called.
 */
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "tasks/webhooks_int.h"

enum { URL_MAX = 2048 };

size_t webhook_base_length(const char *url)
{
    const char *host = strstr(url, "://");

    return host ? (size_t)(host - url) + 3 + strcspn(host + 3, "/") : strlen(url);
}

const char *webhook_path(const char *url)
{
    const char *path = url + webhook_base_length(url);

    return *path ? path : "/";
}

static bool is_plain_url(const char *url)
{
    const size_t n = strlen(url);

    for (size_t i = 0; i < n; i++) {
        if (url[i] <= ' ' || url[i] >= 0x7f || strchr("\"<>\\^`{|}#", url[i])) {
            return false;
        }
    }
    return n > 0 && n <= URL_MAX;
}

static bool host_matches(const char *pattern, const struct address *a)
{
    char with_port[ADDRESS_TEXT_SIZE];

    if (str_eq(pattern, "*")) {
        return true;
    }
    if (str_starts(pattern, "*.")) {
        const size_t host = strlen(a->host), tail = strlen(pattern) - 1;

        return host > tail && strcasecmp(a->host + host - tail, pattern + 1) == 0;
    }
    address_format(a, with_port);
    return strcasecmp(pattern, a->host) == 0 || strcasecmp(pattern, with_port) == 0;
}

int webhook_resolve(const struct config *config, const char *url, struct address *ret,
                    struct error *reterr)
{
    const char *const *allowed = config_list(config, "webhooks.allow");
    _cleanup_(freep) char *base = xstrndup(url, webhook_base_length(url)), *path = NULL;
    int r;

    if (!is_plain_url(url)) {
        return error_set(reterr, -EINVAL,
                         "a webhook must be an http or https URL of at most %d plain characters",
                         URL_MAX);
    }
    r = address_parse_url(base, ret, &path, reterr);
    if (r < 0) {
        return error_prefix(reterr, "the webhook's URL: ");
    }
    for (size_t i = 0; allowed[i]; i++) {
        if (host_matches(allowed[i], ret)) {
            return 0;
        }
    }
    return error_set(reterr, -EPERM, "webhooks.allow does not name the webhook's host '%s'",
                     ret->host);
}

int webhook_check(const struct config *config, const char *url, struct error *reterr)
{
    struct address where;

    return webhook_resolve(config, url, &where, reterr);
}
