// SPDX-License-Identifier: Apache-2.0
/*
 * Files that the program carries in itself, as tools/embed made them, and how they are answered:
 * with a strong ETag and 304, gzipped as they are stored to who takes that.
 */
#pragma once

#include "http/router.h"

struct page {
    const char *path; /* in its table: "assets/index-a1b2.js" */
    const char *type;
    const char *hash;              /* of its content */
    const char *plain, *plain_end; /* NULL: it is stored gzipped only */
    const char *gzip, *gzip_end;
};

extern const struct page docs_pages[], web_pages[];
extern const size_t docs_pages_count, web_pages_count;

/* NULL: there is none. */
const struct page *page_find(const struct page *table, size_t count, struct span path);
/* 200, 304, or 406 to a client that refuses gzip where there is nothing else. `cache` is its
 * Cache-Control, `policy` its Content-Security-Policy (NULL: none). */
void page_respond(struct http_exchange *x, const struct page *page, const char *cache,
                  const char *policy);

void handle_docs(void *api, struct http_exchange *x, const struct route_params *params);
void handle_docs_script(void *api, struct http_exchange *x, const struct route_params *params);
void handle_docs_style(void *api, struct http_exchange *x, const struct route_params *params);
/* The first page of the dashboard, and its parts. */
void dashboard_respond(struct http_exchange *x);
void handle_asset(void *api, struct http_exchange *x, const struct route_params *params);
void handle_favicon(void *api, struct http_exchange *x, const struct route_params *params);
