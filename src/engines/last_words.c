// SPDX-License-Identifier: Apache-2.0
/* Why an engine ended, in its own words. */
#include "engines/last_words.h"

#include "base/buf.h"

/* Of a log that nobody knows how to read: a traceback's last line says it, what stands before it
 * says where. */
enum { PLAIN_LINES = 3 };

static bool is_kept(const struct last_lines *last, struct span line)
{
    for (size_t i = 0; i < last->count; i++) {
        if (last->lines[i].n == line.n && memcmp(last->lines[i].p, line.p, line.n) == 0) {
            return true;
        }
    }
    return false;
}

static void drop_first(struct last_lines *last)
{
    memmove(last->lines, last->lines + 1, sizeof(last->lines) - sizeof(last->lines[0]));
    last->count--;
}

void last_lines_keep(struct last_lines *last, struct span line)
{
    line.n = MIN_OF(line.n, (size_t)WORDS_LINE_MAX);
    if (is_kept(last, line)) {
        return;
    }
    if (last->count == WORDS_LINES) {
        drop_first(last);
    }
    last->lines[last->count++] = line;
}

char *last_lines_join(const struct last_lines *last)
{
    struct buf out = BUF_INIT((WORDS_LINE_MAX + 2) * WORDS_LINES + 1);

    for (size_t i = 0; i < last->count; i++) {
        buf_printf(&out, i ? "; %.*s" : "%.*s", SPAN_ARG(last->lines[i]));
    }
    return out.len ? buf_take(&out, NULL) : NULL;
}

char *last_words_plain(struct span tail)
{
    struct last_lines last = { 0 };

    while (tail.p) {
        struct span line = span_trim(span_cut(&tail, '\n'));

        if (line.n) {
            last_lines_keep(&last, line);
        }
        if (last.count > PLAIN_LINES) {
            drop_first(&last);
        }
    }
    return last_lines_join(&last);
}
