// SPDX-License-Identifier: Apache-2.0
/*
 * multipart/form-data (RFC 7578) over a body that stands whole: what a browser or a client's upload
 * sends. Read strictly: a body that cannot be read in exactly one way is refused. Nothing is
 * copied, the spans point into the body. Any thread.
 *
 *     --BOUNDARY CRLF headers CRLF CRLF data CRLF --BOUNDARY … CRLF --BOUNDARY-- [CRLF]
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

enum { MULTIPART_PARTS_MAX = 16, MULTIPART_HEAD_MAX = 8192, MULTIPART_BOUNDARY_MAX = 70 };

struct multipart_part {
    struct span name;         /* as it stands between the quotes: multipart_text decodes it */
    struct span filename;     /* the same; absent: a plain field */
    struct span content_type; /* absent: none was said */
    struct span data;
};

struct multipart {
    struct multipart_part parts[MULTIPART_PARTS_MAX];
    size_t count; /* of whole ones */

    /* Inside: */
    char delimiter[MULTIPART_BOUNDARY_MAX + 4]; /* CRLF, two dashes, boundary; not terminated */
    size_t delimiter_len;
    struct span left; /* from the data of the part that is read now */
    size_t looked;    /* of it: without finding its end */
    bool whole;
};

/* content_type: the request's header; body is borrowed as long as m is used. -EINVAL: it is not
 * multipart/form-data with a good boundary; -EBADMSG: the body does not keep to it; -E2BIG: too
 * many parts, or too long a head. */
int multipart_begin(struct multipart *m, struct span content_type, struct span body,
                    struct error *reterr) _must_check_;
/* Looks at the next max bytes or a few more, so that nobody else waits for a large body.
 * 1: there is more to look at; 0: it is whole; errors as above. */
int multipart_step(struct multipart *m, size_t max, struct error *reterr) _must_check_;
/* The only part of this name; NULL when there is none. -EINVAL when there are several. */
int multipart_find(const struct multipart *m, const char *name, const struct multipart_part **ret,
                   struct error *reterr) _must_check_;
/* A name or filename without its escapes (\" \\ of old clients, %22 %0D %0A of new ones), owned by
 * the caller. */
char *multipart_text(struct span s);
