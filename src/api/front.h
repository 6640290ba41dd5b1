// SPDX-License-Identifier: Apache-2.0
/*
 * The front: the one entry of every request, whichever door it is for. Finds the route, asks
 * access, refuses what no door should see (unknown path, wrong method, no right, wrong content
 * type, too big for management), counts, and hands over to the door. Pages of other sites are
 * answered here, too: what a browser asks before it lets them send, and the headers that let them
 * read.
 */
#pragma once

#include "access/access.h"
#include "http/router.h"
#include "metrics/metrics.h"

struct front;

/* Management bodies (routes of SCOPE_ADMIN) are parsed on the loop, so they are small: 413 beyond.
 */
enum { FRONT_MANAGEMENT_BODY_MAX = 1024 * 1024 };

/* The router may still be filled afterwards. All three must outlive the front. */
struct front *front_create(struct router *router, struct access *access, struct metrics *metrics);
/* Accepts NULL, returns NULL. */
struct front *front_destroy(struct front *front);

/* For http_server_options, with owner = the front: */
void front_handle(void *front, struct http_exchange *x);
void front_on_head(void *front, struct http_exchange *x);
/* Errors that the server gives by itself, in the shape of the door whose path it was. */
void front_error_body(void *front, struct span path, int status, const char *text, struct buf *out);
