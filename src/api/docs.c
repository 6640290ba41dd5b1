// SPDX-License-Identifier: Apache-2.0
/*
 * /docs: a page that shows /openapi.json and lets every route be tried. Its three files (docs.html,
 * docs.js, docs.css) lie in the program; nothing is loaded from elsewhere, and the page may load
 * nothing but what comes from here.
 */
#include "api/api_int.h"

extern const char docs_html[], docs_js[], docs_css[];
extern const size_t docs_html_size, docs_js_size, docs_css_size;

static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static void respond_file(struct http_exchange *x, const char *type, const char *p, size_t n)
{
    http_exchange_add_header(x, "Content-Security-Policy", policy);
    http_exchange_add_header(x, "X-Content-Type-Options", "nosniff");
    http_exchange_add_header(x, "Cache-Control", "no-cache");
    http_respond(x, 200, type, (struct span){ p, n });
}

void handle_docs(void *owner, struct http_exchange *x, const struct route_params *params)
{
    respond_file(x, "text/html; charset=utf-8", docs_html, docs_html_size);
}

void handle_docs_script(void *owner, struct http_exchange *x, const struct route_params *params)
{
    respond_file(x, "text/javascript; charset=utf-8", docs_js, docs_js_size);
}

void handle_docs_style(void *owner, struct http_exchange *x, const struct route_params *params)
{
    respond_file(x, "text/css; charset=utf-8", docs_css, docs_css_size);
}
