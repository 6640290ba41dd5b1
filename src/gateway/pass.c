// SPDX-License-Identifier: Apache-2.0
/* Any request to any path of a model's engine, as it is: the relay's life without a look into the
 * body. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gateway/relay_int.h"

static char *engine_path(struct span path)
{
    return xasprintf("%s%.*s", span_starts(path, "/") ? "" : "/", SPAN_ARG(path));
}

/* What is wrong with it before there is a relay. */
static void refuse_at_once(struct gateway *g, struct http_exchange *x, const struct model *model,
                           gateway_refuse_fn refuse, const struct error *e)
{
    const struct endpoint *endpoint = &endpoints[ENDPOINT_PASS];

    account_refusal(g, x, endpoint, model, e);
    refuse(x, model->config->id, e);
}

void gateway_pass(struct gateway *g, struct http_exchange *x, const struct model *model,
                  struct span path, gateway_refuse_fn refuse)
{
    struct span method = http_exchange_head(x)->method;
    struct client_headers headers;
    struct error e = { 0 };
    struct relay *r;
    int n = client_headers_read(http_exchange_head(x), &headers, &e);

    if (n == 0 && (method.n >= sizeof(r->method) || path.n >= ENGINE_PATH_MAX)) {
        n = error_set(&e, -EINVAL, "the %s is too long",
                      path.n >= ENGINE_PATH_MAX ? "path" : "method");
    }
    if (n < 0) {
        refuse_at_once(g, x, model, refuse, &e);
        return;
    }
    r = relay_new(g, x, &endpoints[ENDPOINT_PASS], model, &headers);
    memcpy(r->method, method.p, method.n);
    r->method[method.n] = '\0';
    r->path = engine_path(path);
    r->refuse = refuse;
    gateway_request_opaque(http_exchange_body(x), &r->request);
    relay_go(r);
}
