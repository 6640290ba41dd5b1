// SPDX-License-Identifier: Apache-2.0
/*
 * Requests from foreign bytes. Besides "no crash": the verdict is the same when the bytes come one
 * read later or one by one, a good head lies within the bytes, ends with a blank line and is
 * refused when a second Host is put into it.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Gives the bytes as they grow by `step`, each time in a block of exactly that size. */
static ssize_t parse(const uint8_t *data, size_t size, size_t step, struct http_head *head)
{
    size_t scanned = 0, have = 0;
    ssize_t r = 0;

    while (r == 0 && have < size) {
        char *copy;

        have = size - have < step ? size : have + step;
        copy = malloc(have);
        assert(copy);
        memcpy(copy, data, have);
        r = http_parse_request(copy, have, &scanned, head, NULL);
        free(copy);
    }
    return r;
}

static void check_inside(struct span s, const char *p, size_t n)
{
    assert(!s.p || (s.p >= p && s.p + s.n <= p + n));
}

static void check_good(const char *p, size_t n, const struct http_head *head)
{
    struct http_head again;
    size_t scanned = 0;
    char *twice = malloc(n + 9);

    assert(twice && n >= 4 && memcmp(p + n - 4, "\r\n\r\n", 4) == 0);
    assert(head->framing == HTTP_NO_BODY || head->framing == HTTP_LENGTH ||
           head->framing == HTTP_CHUNKED);
    check_inside(head->method, p, n);
    check_inside(head->target, p, n);
    check_inside(head->path, p, n);
    check_inside(head->query, p, n);
    for (size_t i = 0; i < head->header_count; i++) {
        check_inside(head->headers[i].name, p, n);
        check_inside(head->headers[i].value, p, n);
        assert(!memchr(head->headers[i].value.p, '\n', head->headers[i].value.n));
    }
    if (http_header_get(head, "host").p) {
        memcpy(twice, p, n - 2);
        memcpy(twice + n - 2, "host: a\r\n\r\n", 11);
        assert(http_parse_request(twice, n + 9, &scanned, &again, NULL) < 0);
    }
    free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_head head, other;
    size_t scanned = 0;
    ssize_t whole;

    if (size == 0 || size > 4096) {
        return 0;
    }
    whole = http_parse_request((const char *)data, size, &scanned, &head, NULL);
    if (whole > 0) {
        check_good((const char *)data, (size_t)whole, &head);
    }
    assert(parse(data, size, 1, &other) == whole);
    assert(parse(data, size, 1 + size / 2, &other) == whole);
    free(http_decode((struct span){ (const char *)data, size }, size & 1));
    free(http_query_get((struct span){ (const char *)data, size }, "a"));
    return 0;
}
