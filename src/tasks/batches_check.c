// SPDX-License-Identifier: Apache-2.0
/*
 * Validating an input file: every line is looked at before the first one runs, and what is wrong is
 * told line by line. Nothing of it is stored on the way: after a restart it begins anew.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "tasks/batches_int.h"

struct batch_check {
    struct batch_work *work;
    struct batch_piece *piece; /* with the worker, or being looked at */
    struct map ids;            /* custom_ids so far */
    json_t *errors;
    uint64_t total, wrong;
    int64_t offset, number;
};

static void on_piece(struct job *job);

void batch_check_free(struct batch_check *c)
{
    if (!c) {
        return;
    }
    batch_piece_free(c->piece);
    map_finish(&c->ids);
    json_decref(c->errors);
    free(c);
}

/* line 0: of the whole file. */
static void complain(struct batch_check *c, const char *code, int64_t line, const char *param,
                     const char *message)
{
    c->wrong++;
    if (json_array_size(c->errors) < BATCH_ERRORS_MAX) {
        json_t *error = json_pack("{s:s, s:s, s:o?}", "code", code, "message", message, "param",
                                  param ? json_string(param) : json_null());

        json_object_set_new(error, "line", line ? json_integer(line) : json_null());
        json_array_append_new(c->errors, error);
    }
}

static void check_line(struct batch_check *c, const struct batch_line *line)
{
    char text[2 * MODEL_ID_MAX + 64];

    c->total++;
    if (line->code) {
        complain(c, line->code, line->number, line->param, line->message);
        return;
    }
    if (map_get(&c->ids, line->custom_id)) {
        snprintf(text, sizeof(text), "the custom_id '%s' stands in an earlier line, too",
                 line->custom_id);
        complain(c, "duplicate_custom_id", line->number, "custom_id", text);
        return;
    }
    map_put(&c->ids, line->custom_id, c);
    if (!models_find(c->work->b->models, span_of(line->model))) {
        snprintf(text, sizeof(text), "there is no model '%.255s'", line->model);
        complain(c, "model_not_found", line->number, "body.model",
                 is_valid_utf8(text, strlen(text)) ? text : "there is no such model");
    }
}

static uint64_t max_requests(const struct batch_check *c)
{
    return (uint64_t)config_int(c->work->b->config, "batches.max_requests");
}

/* Frees the check: valid, or failed with what was found. */
static void conclude(struct batch_check *c)
{
    struct batch_work *w = c->work;
    struct batch_step *step;
    const bool good = c->wrong == 0;

    w->check = NULL;
    w->b->validating = NULL;
    step = batch_step_create(w);
    step->row.batch.total = good ? c->total : 0;
    step->row.batch.errors = good ? NULL : json_dumps(c->errors, JSON_COMPACT);
    batch_check_free(c);
    batch_step_start(step, good ? BATCH_IN_PROGRESS : BATCH_FAILED);
}

/* It ends without a word: cancelled, or tried again later. */
static void give_up(struct batch_check *c)
{
    struct batch_work *w = c->work;

    w->check = NULL;
    w->busy = false;
    w->b->validating = NULL;
    batch_check_free(c);
}

static void read_next(struct batch_check *c)
{
    c->piece = batch_piece_create(c->work, c->offset, c->number, on_piece, c);
    batch_job_start(c->work->b, &c->piece->job);
}

static bool take_piece(struct batch_check *c)
{
    struct batch_piece *p = c->piece;

    for (size_t i = 0; i < p->count && c->total <= max_requests(c); i++) {
        check_line(c, &p->lines[i]);
    }
    if (c->total > max_requests(c)) {
        char text[96];

        snprintf(text, sizeof(text), "a batch may have %llu requests (batches.max_requests)",
                 (unsigned long long)max_requests(c));
        complain(c, "too_many_requests", 0, NULL, text);
        return false;
    }
    if (p->too_long) {
        char text[96];

        snprintf(text, sizeof(text), "the line is longer than %d bytes", BATCH_LINE_MAX);
        complain(c, "line_too_long", p->next_number, NULL, text);
        return false;
    }
    if (p->end && c->total == 0) {
        complain(c, "empty_file", 0, NULL, "the input file has no requests");
    }
    c->offset = p->next_offset;
    c->number = p->next_number;
    return !p->end;
}

static void on_piece(struct job *job)
{
    struct batch_piece *p = container_of(job, struct batch_piece, job);
    struct batch_check *c = p->owner;
    struct batch_work *w = c->work;
    bool more = false;

    if (!w->b) { /* frees the check, too */
        batch_work_free(w);
        return;
    }
    if (w->cancel_wanted) {
        give_up(c);
        batch_advance_all(w->b);
        return;
    }
    if (p->result < 0 && p->result != -ENOENT) {
        struct error err = p->error;

        give_up(c);
        batch_retry_later(w, "a batch cannot be validated now", &err);
        return;
    }
    if (p->result < 0) {
        complain(c, "file_not_found", 0, NULL, "the input file is not there any more");
    } else {
        more = take_piece(c);
    }
    batch_piece_free(c->piece);
    c->piece = NULL;
    if (more) {
        read_next(c);
    } else {
        conclude(c);
    }
}

void batch_check_start(struct batch_work *w)
{
    struct batch_check *c = xcalloc(1, sizeof(*c));

    c->work = w;
    c->number = 1;
    c->errors = json_array();
    map_init(&c->ids);
    w->check = c;
    w->busy = true;
    w->b->validating = w;
    read_next(c);
}
