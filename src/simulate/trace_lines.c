// SPDX-License-Identifier: Apache-2.0
/*
 * Lines of a file of any length, through one buffer that is as long as the longest line: a file
 * without line ends costs no more than TRACE_LINE_MAX.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "simulate/trace_int.h"

enum { FIRST_ROOM = 256 << 10 };

int trace_lines_open(struct trace_lines *l, const char *path, struct error *reterr)
{
    FILE *file = fopen(path, "re");

    if (!file) {
        return error_set(reterr, -errno, "%s: %s", path, strerror(errno));
    }
    *l = (struct trace_lines){ .file = file, .buffer = xmalloc(FIRST_ROOM), .room = FIRST_ROOM };
    return 0;
}

void trace_lines_close(struct trace_lines *l)
{
    free(l->buffer);
    (void)fclose(l->file);
}

/* Moves what is left to the front and reads on behind it. */
static int fill(struct trace_lines *l, struct error *reterr)
{
    size_t got;

    memmove(l->buffer, l->buffer + l->at, l->end - l->at);
    l->end -= l->at;
    l->at = 0;
    if (l->end == l->room) {
        if (l->room > TRACE_LINE_MAX) {
            l->number++;
            return error_set(reterr, -EINVAL, "a line of more than %d MiB", TRACE_LINE_MAX >> 20);
        }
        l->room *= 2;
        l->buffer = xrealloc(l->buffer, l->room);
    }
    got = fread(l->buffer + l->end, 1, l->room - l->end, l->file);
    l->end += got;
    if (got == 0) {
        l->all = true;
        if (ferror(l->file)) {
            l->number++;
            return error_set(reterr, -EINVAL, "it cannot be read: %s", strerror(errno));
        }
    }
    return 0;
}

static bool is_blank(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!strchr(" \t\r\n", p[i]) || p[i] == 0) {
            return false;
        }
    }
    return true;
}

/* Nothing but blanks up to the file's end (which is not looked for beyond the longest line). */
static int ends_here(struct trace_lines *l, struct error *reterr)
{
    int ret;

    while (is_blank(l->buffer + l->at, l->end - l->at)) {
        if (l->all) {
            return 1;
        }
        ret = fill(l, reterr);
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

static void pass_mark(struct trace_lines *l)
{
    if (l->number == 0 && l->end - l->at >= 3 &&
        memcmp(l->buffer + l->at, "\xEF\xBB\xBF", 3) == 0) {
        l->at += 3;
    }
}

int trace_lines_next(struct trace_lines *l, struct span *ret, struct error *reterr)
{
    const char *from, *stop;
    int r;

    for (size_t seen = 0;;) {
        stop = memchr(l->buffer + l->at + seen, '\n', l->end - l->at - seen);
        if (stop || l->all) {
            break;
        }
        seen = l->end - l->at;
        r = fill(l, reterr);
        if (r < 0) {
            return r;
        }
    }
    pass_mark(l);
    from = l->buffer + l->at;
    *ret = (struct span){ from, (size_t)((stop ? stop : l->buffer + l->end) - from) };
    if (is_blank(ret->p, ret->n)) {
        r = ends_here(l, reterr);
        if (r != 0) {
            return r < 0 ? r : 0;
        }
        from = l->buffer + l->at; /* a blank line in between: somebody's mistake */
        stop = memchr(from, '\n', l->end - l->at);
        *ret = (struct span){ from, stop ? (size_t)(stop - from) : l->end - l->at };
    }
    l->at += ret->n + (stop ? 1 : 0);
    l->number++;
    while (ret->n > 0 && ret->p[ret->n - 1] == '\r') {
        ret->n--;
    }
    return 1;
}
