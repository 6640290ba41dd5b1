// SPDX-License-Identifier: Apache-2.0
/*
 * /docs: a page that shows /openapi.json and lets every route be tried. Its three files (docs.html,
 * docs.js, docs.css) lie in the program; nothing is loaded from elsewhere, and the page may load
 * nothing but what comes from here. The dashboard shows it in a frame; no other site may.
 */
#include <assert.h>

#include "api/pages_int.h"

static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

static void respond_file(struct http_exchange *x, const char *name)
{
    const struct page *page = page_find(docs_pages, docs_pages_count, span_of(name));

    assert(page);
    page_respond(x, page, "no-cache", policy);
}

void handle_docs(void *owner, struct http_exchange *x, const struct route_params *params)
{
    respond_file(x, "docs.html");
}

void handle_docs_script(void *owner, struct http_exchange *x, const struct route_params *params)
{
    respond_file(x, "docs.js");
}

void handle_docs_style(void *owner, struct http_exchange *x, const struct route_params *params)
{
    respond_file(x, "docs.css");
}
