// SPDX-License-Identifier: Apache-2.0
/*
 * HTTP/1.1 messages (RFC 9112), read strictly: what cannot be read in exactly one way is refused.
 * Used by server and client alike. Nothing here does I/O or allocates beyond the header table.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"

enum { HTTP_HEADERS_MAX = 100 };

struct http_header {
    struct span name, value; /* value without blanks around it */
};

enum http_framing { HTTP_NO_BODY, HTTP_LENGTH, HTTP_CHUNKED, HTTP_UNTIL_CLOSE };

/* A parsed head. All spans point into the bytes that were parsed. */
struct http_head {
    struct span method, target; /* requests */
    struct span path, query;    /* of the target, still percent-encoded; query absent without '?' */
    int status;                 /* responses */
    int minor;                  /* HTTP/1.minor: 0 or 1 */
    bool keep_alive;
    enum http_framing framing;
    uint64_t content_length; /* with HTTP_LENGTH */
    bool expect_continue, upgrade;
    struct http_header headers[HTTP_HEADERS_MAX];
    size_t header_count;
};

/* Reads a head from the n bytes at p. Returns its length in bytes (blank line included) when it
 * stands whole, 0 when more bytes are needed, or -EBADMSG (refuse, 400), -E2BIG (431), -ENOSYS
 * (501: a transfer coding that we do not know), -EPROTONOSUPPORT (505). `scanned`
 * (starts at 0, kept between calls) remembers how far a blank line was searched.
 *
 * One blank line before a request is forgiven. The target is a path ("/…") or, with OPTIONS, "*":
 * we are no forward proxy, so that absolute-form, which could name another host than Host does, is
 * refused. Any token is a method: what is not known is the router's to answer (405). */
ssize_t http_parse_request(const char *p, size_t n, size_t *scanned, struct http_head *head,
                           struct error *reterr);
/* `to_head`: the request was HEAD, so that no body follows whatever the headers say. 1xx heads are
 * returned like any other. */
ssize_t http_parse_response(const char *p, size_t n, size_t *scanned, bool to_head,
                            struct http_head *head, struct error *reterr);

/* First header of that name (any case), absent span when there is none. */
struct span http_header_get(const struct http_head *head, const char *name);
/* Does the comma-separated list in the header hold this token? */
bool http_header_has_token(const struct http_head *head, const char *name, const char *token);

/* The chunked coding, one step at a time: finds the next piece of payload in [p, p+n). Returns
 * bytes consumed (> 0, or 0 when more are needed) with *ret_data set to the payload among them (may
 * be empty), or -EBADMSG. After the last chunk and its trailers (dropped) `done` is true. */
struct http_chunked {
    uint64_t left; /* of the chunk */
    int state;     /* enum chunk_state */
    unsigned
        count; /* digits of a size, bytes of an extension or of all trailers: each has a limit */
    bool done;
};
ssize_t http_chunked_next(struct http_chunked *c, const char *p, size_t n, struct span *ret_data);

const char *http_status_text(int status);
/* Decodes %XX of a path segment or query value ('+' is a blank in queries). NULL when the coding is
 * wrong or gives a NUL. Caller owns. */
char *http_decode(struct span s, bool query);
/* The value of a query parameter, decoded, owned by the caller; NULL when absent. */
char *http_query_get(struct span query, const char *name);
