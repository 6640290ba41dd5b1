// SPDX-License-Identifier: Apache-2.0
/*
 * Reading an input file in pieces on a worker: whole lines, as many as one step takes. A piece
 * depends on nothing but the file and where it begins, so that a restart can go on at any of them.
 * Empty lines are passed over (and counted).
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "codec/scan.h"
#include "tasks/batches_int.h"

enum {
    MEMBERS = 6,
    PIECE_BYTES = BATCH_LINE_MAX + 1, /* a line and its end */
};

/* ---- one line ---- */

enum { M_CUSTOM_ID, M_METHOD, M_URL, M_BODY, M_MODEL, M_STREAM };

static void complain(struct batch_line *line, const char *code, const char *param, const char *fmt,
                     ...) _printf_(4, 5);

static void complain(struct batch_line *line, const char *code, const char *param, const char *fmt,
                     ...)
{
    va_list ap;

    if (line->code) { /* the first one is told */
        return;
    }
    va_start(ap, fmt);
    line->code = code;
    line->param = param;
    line->message = xvasprintf(fmt, ap);
    va_end(ap);
}

/* NULL: it is no string, or not one of those wanted. */
static char *text_of(const struct scan_member *m)
{
    char *text = NULL;

    if (m->type != SCAN_STRING || scan_string(m, &text, NULL) < 0) {
        return NULL;
    }
    return text;
}

static void check_id(struct batch_line *line, const struct scan_member *m)
{
    line->custom_id = text_of(m);
    if (m->type == SCAN_ABSENT) {
        complain(line, "missing_required_parameter", "custom_id", "'custom_id' is missing");
    } else if (!line->custom_id || !*line->custom_id || strlen(line->custom_id) > BATCH_ID_MAX) {
        complain(line, "invalid_custom_id", "custom_id",
                 "'custom_id' must be a text of 1 to %d bytes", BATCH_ID_MAX);
    }
}

static void check_method(struct batch_line *line, const struct scan_member *m)
{
    _cleanup_(freep) char *method = text_of(m);

    if (!method || !str_eq(method, "POST")) {
        complain(line, "invalid_method", "method", "'method' must be POST");
    }
}

static void check_url(struct batch_line *line, const struct scan_member *m, const char *endpoint)
{
    _cleanup_(freep) char *url = text_of(m);

    if (!url || !str_eq(url, endpoint)) {
        complain(line, "url_mismatch", "url", "'url' must be the batch's endpoint, %s", endpoint);
    }
}

static void check_body(struct batch_line *line, const struct scan_member *m)
{
    bool stream = false;

    if (m[M_BODY].type != SCAN_OBJECT) {
        complain(line, "missing_required_parameter", "body", "'body' must be a JSON object");
        return;
    }
    line->body = m[M_BODY].value;
    line->model = text_of(&m[M_MODEL]);
    if (!line->model) {
        complain(line, "missing_required_parameter", "body.model",
                 "'body.model' must be the name of a model");
    }
    if (m[M_STREAM].type != SCAN_ABSENT && m[M_STREAM].type != SCAN_NULL &&
        (scan_bool(&m[M_STREAM], &stream, NULL) < 0 || stream)) {
        complain(line, "invalid_request", "body.stream", "a batch's requests cannot be streamed");
    }
}

static void read_line(struct batch_line *line, struct span text, const char *endpoint)
{
    struct scan_member m[MEMBERS] = {
        [M_CUSTOM_ID] = { .name = "custom_id" },
        [M_METHOD] = { .name = "method" },
        [M_URL] = { .name = "url" },
        [M_BODY] = { .name = "body" },
        [M_MODEL] = { .name = "body.model" },
        [M_STREAM] = { .name = "body.stream" },
    };
    struct error err = { 0 };

    if (scan_object(text, m, MEMBERS, &err) < 0) {
        complain(line, "invalid_json_line", NULL, "the line is not a good JSON object: %s",
                 err.text);
        return;
    }
    check_id(line, &m[M_CUSTOM_ID]);
    check_method(line, &m[M_METHOD]);
    check_url(line, &m[M_URL], endpoint);
    check_body(line, m);
}

/* ---- a piece ---- */

static bool is_blank(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!strchr(" \t\r", s.p[i]) || s.p[i] == '\0') {
            return false;
        }
    }
    return true;
}

/* whole: the file ends where text does. */
static void cut_lines(struct batch_piece *p, struct span text, bool whole)
{
    int64_t number = p->number;

    p->lines = xcalloc(BATCH_LINES_PIECE, sizeof(*p->lines));
    while (text.n > 0 && p->count < BATCH_LINES_PIECE) {
        const char *end = memchr(text.p, '\n', text.n);
        const struct span line = { text.p, end ? (size_t)(end - text.p) : text.n };
        const size_t used = line.n + (end ? 1 : 0);

        if (!end && !whole) { /* the rest of it is in the next piece */
            break;
        }
        if (!is_blank(line)) {
            p->lines[p->count].number = number;
            read_line(&p->lines[p->count++], line, p->endpoint);
        }
        text.p += used;
        text.n -= used;
        p->next_offset += (int64_t)used;
        number++;
    }
    p->next_number = number;
    p->end = whole && text.n == 0;
    p->too_long = !whole && p->next_offset == p->offset;
}

static ssize_t read_all(int fd, char *out, size_t n, int64_t offset)
{
    size_t got = 0;

    while (got < n) {
        const ssize_t r = pread(fd, out + got, n - got, offset + (int64_t)got);

        if (r < 0 && errno == EINTR) {
            continue;
        }
        if (r < 0) {
            return -1;
        }
        if (r == 0) {
            break;
        }
        got += (size_t)r;
    }
    return (ssize_t)got;
}

static void run_piece(struct job *job)
{
    struct batch_piece *p = container_of(job, struct batch_piece, job);
    _cleanup_(closep) int fd = open(p->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n;

    if (fd < 0) {
        p->result = error_set(&p->error, errno == ENOENT ? -ENOENT : -EIO,
                              "the input file cannot be opened: %s", strerror(errno));
        return;
    }
    p->bytes = xmalloc(PIECE_BYTES + 1);
    n = read_all(fd, p->bytes, PIECE_BYTES + 1, p->offset);
    if (n < 0) {
        p->result =
            error_set(&p->error, -EIO, "the input file cannot be read: %s", strerror(errno));
        return;
    }
    /* One byte more than a longest line with its end tells whether the file goes on. */
    cut_lines(p, (struct span){ p->bytes, MIN_OF((size_t)n, (size_t)PIECE_BYTES) },
              n <= PIECE_BYTES);
}

struct batch_piece *batch_piece_create(const struct batch_work *w, int64_t offset, int64_t number,
                                       void (*done)(struct job *job), void *owner)
{
    struct batch_piece *p = xcalloc(1, sizeof(*p));

    batch_file_path(w->row.batch.input_file, p->path);
    snprintf(p->endpoint, sizeof(p->endpoint), "%s", w->row.batch.endpoint);
    p->offset = p->next_offset = offset;
    p->number = p->next_number = number;
    p->owner = owner;
    p->job = (struct job){ .run = run_piece, .done = done };
    return p;
}

void batch_piece_free(struct batch_piece *p)
{
    if (!p) {
        return;
    }
    for (size_t i = 0; i < p->count; i++) {
        free(p->lines[i].custom_id);
        free(p->lines[i].model);
        free(p->lines[i].message);
    }
    free(p->lines);
    free(p->bytes);
    free(p);
}
