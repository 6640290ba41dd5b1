// SPDX-License-Identifier: Apache-2.0
/*
 * The result files: the input's lines once more, in their order, each with what became of its task.
 * Lines and answers come in pieces (a job reads, an operation reads), what is written leaves in
 * pieces; nothing of it counts before the batch's row names the files. After a crash it is done
 * again from the first line.
 *
 *     lines ──┐
 *             ├─► merge ──► output (status 200), errors (all others) ──► synced, renamed ──► rows
 *     answers ┘
 */
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "codec/scan.h"
#include "tasks/batch_tasks_int.h"
#include "tasks/batches_int.h"

enum { GOOD, BAD, SIDES };
enum { FLUSH_BYTES = 1024 * 1024, TEXT_MAX = 512 * 1024 * 1024 };

/* One of the two files. */
struct side {
    char public_id[48];
    int fd; /* -1: not made yet */
    struct buf text;
    int64_t bytes;
    uint64_t lines;
};

struct batch_output {
    struct batch_work *work;
    struct side sides[SIDES];
    struct job job; /* writes, or publishes */
    bool publish;
    int result;
    struct error error;

    struct batch_piece *piece; /* lines */
    size_t line;               /* of the piece, next */
    int64_t offset, number;
    bool lines_end;

    struct store_op op; /* reads answers */
    int64_t batch_id, last_task;
    struct batch_answer answers[BATCH_ANSWERS_MAX];
    size_t answer_count, answer; /* answer: next */
    bool answers_end;
    uint64_t failed;
};

static void step(struct batch_output *o);

/* ---- its life ---- */

static void forget_answers(struct batch_output *o)
{
    for (size_t i = 0; i < o->answer_count; i++) {
        free(o->answers[i].error);
        free(o->answers[i].output);
    }
    o->answer_count = o->answer = 0;
}

static void output_free(struct batch_output *o)
{
    for (int i = 0; i < SIDES; i++) {
        if (o->sides[i].fd >= 0) {
            close(o->sides[i].fd);
        }
        buf_finish(&o->sides[i].text);
    }
    batch_piece_free(o->piece);
    forget_answers(o);
    free(o);
}

/* True: the object is gone, and so is this. */
static bool is_orphan(struct batch_output *o)
{
    struct batch_work *w = o->work;

    if (w->b) {
        return false;
    }
    output_free(o);
    batch_work_free(w);
    return true;
}

static void give_up(struct batch_output *o, const struct error *e)
{
    struct batch_work *w = o->work;
    const struct error err = *e;

    for (int i = 0; i < SIDES; i++) { /* the next try has other names; a full disk needs the room */
        batch_file_unlink(w->b, o->sides[i].public_id);
    }
    w->output = NULL;
    w->b->writing = NULL;
    output_free(o);
    batch_retry_later(w, "the results of a batch cannot be written, trying again", &err);
}

/* ---- one line of a file ---- */

/* An engine's JSON may be written over several lines; bytes below a blank are no part of it. */
static void put_json_on_one_line(struct buf *out, struct span json)
{
    while (json.n > 0) {
        size_t n = 0;

        while (n < json.n && json.p[n] != '\n' && json.p[n] != '\r') {
            n++;
        }
        buf_append(out, json.p, n);
        if (n < json.n) {
            buf_putc(out, ' ');
            n++;
        }
        json.p += n;
        json.n -= n;
    }
}

static void put_string(struct buf *out, struct span s)
{
    buf_putc(out, '"');
    if (is_valid_utf8(s.p, s.n)) {
        buf_put_json_escaped(out, s.p, s.n);
    } else {
        for (size_t i = 0; i < s.n; i++) {
            buf_put_json_escaped(out, (unsigned char)s.p[i] < 0x80 ? &s.p[i] : "?", 1);
        }
    }
    buf_putc(out, '"');
}

static void put_body(struct buf *out, struct span body)
{
    if (!body.p) {
        buf_puts(out, "null");
    } else if (scan_object(body, NULL, 0, NULL) == 0) {
        put_json_on_one_line(out, body);
    } else {
        put_string(out, body);
    }
}

static void put_head(struct batch_output *o, struct buf *out, const struct batch_line *line)
{
    const char *tail = o->work->row.batch.public_id + strlen("batch_");

    buf_printf(out, "{\"id\":\"batch_req_%s_%lld\",\"custom_id\":", tail, (long long)line->number);
    put_string(out, span_of(line->custom_id ? line->custom_id : ""));
}

static void put_response(struct batch_output *o, struct buf *out, const struct batch_answer *a)
{
    buf_printf(out, ",\"response\":{\"status_code\":%d,\"request_id\":\"req_%lld\",\"body\":",
               a->http_status, (long long)a->task_id);
    put_body(out, (struct span){ a->output, a->output_len });
    buf_puts(out, "},\"error\":null}\n");
}

static void put_error(struct buf *out, const char *code, const char *message)
{
    buf_printf(out, ",\"response\":null,\"error\":{\"code\":\"%s\",\"message\":", code);
    put_string(out, span_of(message));
    buf_puts(out, "}}\n");
}

static void put_not_run(struct batch_output *o, struct buf *out, bool had_task)
{
    if (o->work->row.outcome == BATCH_EXPIRED) {
        put_error(out, "batch_expired",
                  "this request could not be executed before the completion window expired");
    } else if (o->work->row.outcome == BATCH_CANCELLED) {
        put_error(out, "batch_cancelled",
                  "the batch was cancelled before this request was executed");
    } else if (had_task) {
        put_error(out, "request_cancelled", "this request was cancelled");
    } else {
        put_error(out, "model_not_found", "the model of this request was removed meanwhile");
    }
}

static bool is_answered(const struct batch_answer *a)
{
    return (a->state == TASK_COMPLETED || a->state == TASK_FAILED) && a->http_status > 0 &&
           a->output;
}

/* a NULL: the line never was a task. */
static void put_line(struct batch_output *o, const struct batch_line *line,
                     const struct batch_answer *a)
{
    const bool good = a && a->state == TASK_COMPLETED && a->output;
    struct side *side = &o->sides[good ? GOOD : BAD];

    put_head(o, &side->text, line);
    if (a && is_answered(a)) {
        put_response(o, &side->text, a);
    } else if (a && (a->state == TASK_FAILED || a->state == TASK_COMPLETED)) {
        put_error(&side->text, "request_failed", a->error ? a->error : "no answer was kept");
    } else {
        put_not_run(o, &side->text, a != NULL);
    }
    side->lines++;
    /* What was not run, of one that was cancelled or whose time is over, did not fail. */
    o->failed += !good && (o->work->row.outcome == BATCH_COMPLETED ||
                           (a && (a->state == TASK_FAILED || a->state == TASK_COMPLETED)));
}

/* ---- lines and answers ---- */

static void on_lines(struct job *job)
{
    struct batch_piece *p = container_of(job, struct batch_piece, job);
    struct batch_output *o = p->owner;

    if (is_orphan(o)) {
        return;
    }
    if (p->result < 0) {
        give_up(o, &p->error);
        return;
    }
    o->offset = p->next_offset;
    o->number = p->next_number;
    o->lines_end = p->end || p->too_long;
    step(o);
}

static void read_lines(struct batch_output *o)
{
    batch_piece_free(o->piece);
    o->line = 0;
    o->piece = batch_piece_create(o->work, o->offset, o->number, on_lines, o);
    batch_job_start(o->work->b, &o->piece->job);
}

static void take_answer(void *arg, struct batch_answer *a)
{
    struct batch_output *o = arg;

    o->answers[o->answer_count++] = *a;
}

static int run_answers(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct batch_output *o = container_of(op, struct batch_output, op);

    return batch_answers_read(db, o->batch_id, o->last_task, take_answer, o, reterr);
}

static void on_answers(struct store_op *op)
{
    struct batch_output *o = container_of(op, struct batch_output, op);

    if (is_orphan(o)) {
        return;
    }
    if (op->result < 0) {
        give_up(o, &op->error);
        return;
    }
    o->answers_end = op->result == 0;
    if (o->answer_count > 0) {
        o->last_task = o->answers[o->answer_count - 1].task_id;
    }
    step(o);
}

static void read_answers(struct batch_output *o)
{
    forget_answers(o);
    o->op = (struct store_op){ .run = run_answers, .done = on_answers };
    store_read(o->work->b->store, &o->op);
}

/* ---- writing ---- */

static int write_side(struct side *s, struct error *reterr)
{
    int r = s->fd < 0 ? batch_file_open_part(s->public_id, &s->fd, reterr) : 0;

    r = r < 0 ? r : batch_file_write(s->fd, buf_data(&s->text), s->text.len, reterr);
    s->bytes += (int64_t)s->text.len;
    buf_finish(&s->text);
    return r;
}

static int publish_side(struct side *s, struct error *reterr)
{
    const int fd = s->fd;

    s->fd = -1;
    return batch_file_publish(fd, s->public_id, reterr);
}

static void run_write(struct job *job)
{
    struct batch_output *o = container_of(job, struct batch_output, job);

    for (int i = 0; i < SIDES && o->result == 0; i++) {
        struct side *s = &o->sides[i];

        if (s->text.overflow) {
            o->result = error_set(&o->error, -EFBIG, "the results of one piece are too large");
        } else if (s->text.len > 0) {
            o->result = write_side(s, &o->error);
        }
        if (o->result == 0 && o->publish && s->fd >= 0) {
            o->result = publish_side(s, &o->error);
        }
    }
}

static void add_file(struct batch_output *o, struct batch_step *end, const struct side *s,
                     const char *suffix)
{
    const struct batches *b = o->work->b;
    const uint64_t keep = end->row.output_keep_ms ? end->row.output_keep_ms
                                                  : config_duration_ms(b->config, "batches.keep");
    struct batch_file *f = &end->files[end->file_count++];

    memcpy(f->public_id, s->public_id, sizeof(f->public_id));
    f->filename = xasprintf("%s_%s.jsonl", end->row.batch.public_id, suffix);
    f->purpose = xstrdup("batch_output");
    f->bytes = s->bytes;
    f->created_ms = end->wall_ms;
    f->expires_ms = end->wall_ms + (int64_t)keep;
}

/* Both files stand: what names them is one transaction. */
static void conclude(struct batch_output *o)
{
    struct batch_work *w = o->work;
    struct batch_step *end = batch_step_create(w);
    const struct side *good = &o->sides[GOOD], *bad = &o->sides[BAD];

    if (good->bytes > 0) {
        add_file(o, end, good, "output");
        memcpy(end->row.batch.output_file, good->public_id, sizeof(good->public_id));
    }
    if (bad->bytes > 0) {
        add_file(o, end, bad, "error");
        memcpy(end->row.batch.error_file, bad->public_id, sizeof(bad->public_id));
    }
    end->row.batch.completed = good->lines;
    end->row.batch.failed = o->failed;
    w->output = NULL;
    w->b->writing = NULL;
    output_free(o);
    batch_step_start(end, end->row.outcome);
}

static void on_written(struct job *job)
{
    struct batch_output *o = container_of(job, struct batch_output, job);

    if (is_orphan(o)) {
        return;
    }
    if (o->result < 0) {
        give_up(o, &o->error);
    } else if (o->publish) {
        conclude(o);
    } else {
        step(o);
    }
}

static void write_out(struct batch_output *o, bool publish)
{
    o->publish = publish;
    o->job = (struct job){ .run = run_write, .done = on_written };
    batch_job_start(o->work->b, &o->job);
}

/* ---- merging ---- */

static bool is_full(const struct batch_output *o)
{
    return o->sides[GOOD].text.len + o->sides[BAD].text.len >= FLUSH_BYTES;
}

/* As far as both have come. */
static void merge(struct batch_output *o)
{
    while (o->line < o->piece->count && !is_full(o)) {
        const struct batch_line *line = &o->piece->lines[o->line];

        while (o->answer < o->answer_count && o->answers[o->answer].line < line->number) {
            o->answer++; /* none such is expected */
        }
        if (o->answer == o->answer_count && !o->answers_end) {
            return;
        }
        if (o->answer < o->answer_count && o->answers[o->answer].line == line->number) {
            put_line(o, line, &o->answers[o->answer++]);
        } else {
            put_line(o, line, NULL);
        }
        o->line++;
    }
}

static void step(struct batch_output *o)
{
    if (o->piece) {
        merge(o);
    }
    if (is_full(o)) {
        write_out(o, false);
    } else if (!o->piece || (o->line == o->piece->count && !o->lines_end)) {
        read_lines(o);
    } else if (o->line < o->piece->count) {
        read_answers(o);
    } else {
        write_out(o, true);
    }
}

void batch_output_start(struct batch_work *w)
{
    struct batch_output *o = xcalloc(1, sizeof(*o));

    o->work = w;
    o->number = 1;
    o->batch_id = w->row.batch.id;
    for (int i = 0; i < SIDES; i++) {
        batch_make_id(w->b->world, "file-", o->sides[i].public_id);
        o->sides[i].fd = -1;
        buf_init(&o->sides[i].text, TEXT_MAX);
    }
    w->output = o;
    w->busy = true;
    w->b->writing = w;
    step(o);
}
