// SPDX-License-Identifier: Apache-2.0
/* Answers from foreign bytes: no crash, the same verdict however they are cut, and the framing
 * rules that keep one answer out of the next. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ssize_t parse(const uint8_t *data, size_t size, size_t step, bool to_head,
                     struct http_head *head)
{
    size_t scanned = 0, have = 0;
    ssize_t r = 0;

    while (r == 0 && have < size) {
        char *copy;

        have = size - have < step ? size : have + step;
        copy = malloc(have);
        assert(copy);
        memcpy(copy, data, have);
        r = http_parse_response(copy, have, &scanned, to_head, head, NULL);
        free(copy);
    }
    return r;
}

static void check_good(const struct http_head *head, bool to_head)
{
    assert(head->status >= 100 && head->status <= 599);
    if (to_head || head->status < 200 || head->status == 204 || head->status == 304) {
        assert(head->framing == HTTP_NO_BODY);
    }
    if (head->framing == HTTP_UNTIL_CLOSE) {
        assert(!head->keep_alive);
        assert(!http_header_get(head, "content-length").p &&
               !http_header_get(head, "transfer-encoding").p);
    }
    assert(!(http_header_get(head, "content-length").p &&
             http_header_get(head, "transfer-encoding").p));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 4096) {
        return 0;
    }
    for (int to_head = 0; to_head < 2; to_head++) {
        struct http_head head, other;
        size_t scanned = 0;
        ssize_t whole =
            http_parse_response((const char *)data, size, &scanned, to_head, &head, NULL);

        if (whole > 0) {
            check_good(&head, to_head);
        }
        assert(parse(data, size, 1, to_head, &other) == whole);
        assert(parse(data, size, 1 + size / 2, to_head, &other) == whole);
        if (whole > 0) {
            assert(other.framing == head.framing && other.content_length == head.content_length);
        }
    }
    return 0;
}
