// SPDX-License-Identifier: Apache-2.0
/*
 * Serving of embedded files: the dashboard (web/, or a page that says that it was left out) and
 * what all pages share. What has its hash in its name is kept by browsers for good, all else is
 * asked for again and costs a 304.
 */
#include "api/pages_int.h"

#include <stdio.h>
#include <string.h>

#include "api/api_int.h"
#include "base/mem.h"

static const char cache_forever[] = "public, max-age=31536000, immutable";
static const char cache_asking[] = "no-cache";

static const char dashboard_policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'";

const struct page *page_find(const struct page *table, size_t count, struct span path)
{
    for (size_t i = 0; i < count; i++) {
        if (span_eq(path, table[i].path)) {
            return &table[i];
        }
    }
    return NULL;
}

/* ---- which bytes ---- */

/* "gzip;q=0" is a refusal. */
static bool refused(struct span parameters)
{
    while (parameters.n > 0) {
        const struct span one = span_trim(span_cut(&parameters, ';'));

        if (one.n >= 3 && (one.p[0] | 0x20) == 'q' && one.p[1] == '=') {
            return strspn(one.p + 2, "0.") >= one.n - 2;
        }
    }
    return false;
}

/* Does the client take gzip? `unsaid` when it says nothing of codings at all. */
static bool takes_gzip(struct http_exchange *x, bool unsaid)
{
    struct span list = http_header_get(http_exchange_head(x), "Accept-Encoding");
    bool any = false;

    if (!list.p) {
        return unsaid;
    }
    while (list.n > 0) {
        struct span parameters = span_cut(&list, ',');
        const struct span coding = span_trim(span_cut(&parameters, ';'));

        if (span_eq_nocase(coding, "gzip")) {
            return !refused(parameters);
        }
        if (span_eq(coding, "*")) {
            any = !refused(parameters);
        }
    }
    return any;
}

/* Has the client this very representation already? */
static bool has_it(struct http_exchange *x, const char *etag)
{
    struct span list = http_header_get(http_exchange_head(x), "If-None-Match");

    while (list.n > 0) {
        struct span one = span_trim(span_cut(&list, ','));

        if (span_starts(one, "W/")) {
            one = (struct span){ one.p + 2, one.n - 2 };
        }
        if (span_eq(one, "*") || span_eq(one, etag)) {
            return true;
        }
    }
    return false;
}

/* ---- the answer ---- */

static void add_headers(struct http_exchange *x, const char *cache, const char *policy)
{
    http_exchange_add_header(x, "Vary", "Accept-Encoding");
    http_exchange_add_header(x, "X-Content-Type-Options", "nosniff");
    http_exchange_add_header(x, "Cache-Control", cache);
    if (policy) {
        http_exchange_add_header(x, "Content-Security-Policy", policy);
        http_exchange_add_header(x, "Referrer-Policy", "no-referrer");
    }
}

void page_respond(struct http_exchange *x, const struct page *page, const char *cache,
                  const char *policy)
{
    const bool gzip = takes_gzip(x, !page->plain);
    const char *bytes = gzip ? page->gzip : page->plain;
    const char *end = gzip ? page->gzip_end : page->plain_end;
    char etag[80];

    if (!bytes) {
        respond_detail(x, 406, "'%s' is there gzipped only, and the request refuses gzip",
                       page->path);
        return;
    }
    snprintf(etag, sizeof(etag), "\"%s%s\"", page->hash, gzip ? "-gzip" : "");
    add_headers(x, cache, policy);
    http_exchange_add_header(x, "ETag", etag);
    if (has_it(x, etag)) {
        http_respond(x, 304, NULL, (struct span){ 0 });
        return;
    }
    if (gzip) {
        http_exchange_add_header(x, "Content-Encoding", "gzip");
    }
    http_respond(x, 200, page->type, (struct span){ bytes, (size_t)(end - bytes) });
}

/* ---- the dashboard ---- */

static void respond_of(struct http_exchange *x, const char *path, const char *cache,
                       const char *policy)
{
    const struct page *page = page_find(web_pages, web_pages_count, span_of(path));

    if (page) {
        page_respond(x, page, cache, policy);
    } else {
        respond_detail(x, 404, "this berth has no page '%s'", path);
    }
}

void dashboard_respond(struct http_exchange *x)
{
    respond_of(x, "index.html", cache_asking, dashboard_policy);
}

void handle_asset(void *owner, struct http_exchange *x, const struct route_params *params)
{
    _cleanup_(freep) char *path = xasprintf("assets/%.*s", SPAN_ARG(params->values[0]));

    respond_of(x, path, cache_forever, NULL);
}

void handle_favicon(void *owner, struct http_exchange *x, const struct route_params *params)
{
    respond_of(x, "favicon.svg", cache_asking, NULL);
}
