// SPDX-License-Identifier: Apache-2.0
/*
 * Reading traces, a line at a time: each line is understood whole (trace_formats.c) or refused with
 * its number. What a file makes grow has a maximum, and is asked for with care.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "simulate/trace_int.h"

/* ---- what is read so far ---- */

/* One more element in an array that a file makes grow. */
static int grow(void **array, size_t *room, size_t need, size_t size, struct error *reterr)
{
    size_t cap = MAX_OF(*room * 2, MAX_OF(need, (size_t)1024));
    void *p;

    if (need <= *room) {
        return 0;
    }
    p = try_realloc(*array, cap * size);
    if (!p) {
        return error_set(reterr, -ENOMEM, "no memory for so many requests");
    }
    *array = p;
    *room = cap;
    return 0;
}

int trace_add(struct trace_reader *r, const struct trace_request *q, struct error *reterr)
{
    struct trace *t = r->t;
    void *array = t->requests;
    int ret;

    if (t->count == TRACE_REQUESTS_MAX) {
        return error_set(reterr, -EINVAL, "more than %d requests", TRACE_REQUESTS_MAX);
    }
    ret = grow(&array, &r->room, t->count + 1, sizeof(*t->requests), reterr);
    t->requests = array;
    if (ret < 0) {
        return ret;
    }
    t->requests[t->count++] = *q;
    return 0;
}

int trace_add_block(struct trace_reader *r, uint64_t hash, struct error *reterr)
{
    void *array = r->t->block_memory;
    const int ret = grow(&array, &r->block_room, r->block_count + 1, sizeof(uint64_t), reterr);

    r->t->block_memory = array;
    if (ret < 0) {
        return ret;
    }
    r->t->block_memory[r->block_count++] = hash;
    return 0;
}

static void forget_numbers(struct map *m)
{
    map_for_each(e, m)
    {
        free(e->value);
    }
    map_finish(m);
}

/* ---- the lines ---- */

static int read_lines(struct trace_reader *r, struct trace_lines *lines, struct error *reterr)
{
    trace_line_fn read = NULL;
    struct span line;
    bool head = false;
    int ret;

    while ((ret = trace_lines_next(lines, &line, reterr)) > 0) {
        if (!read) {
            read = trace_format_of(r, line, &head);
            if (!read) {
                return error_set(reterr, -EINVAL,
                                 "no trace: the first line must be a JSON object with timestamp, "
                                 "input_length and output_length, or the head "
                                 "TIMESTAMP,ContextTokens,GeneratedTokens, or "
                                 "arrival_s,input_tokens,output_tokens[,model[,session]]");
            }
            if (head) {
                continue;
            }
        }
        ret = read(r, line, reterr);
        if (ret < 0) {
            return ret;
        }
    }
    return ret;
}

/* ---- the end of it ---- */

/* Requests were added one after the other, and so were their blocks. */
static void point_to_blocks(struct trace *t)
{
    const uint64_t *at = t->block_memory;

    for (size_t i = 0; i < t->count; i++) {
        t->requests[i].blocks = t->requests[i].block_count ? at : NULL;
        at += t->requests[i].block_count;
    }
}

static int name_models(struct trace_reader *r, struct error *reterr)
{
    struct trace *t = r->t;
    size_t i = 0;

    t->model_count = MAX_OF(r->models.count, 1);
    t->models = xcalloc(t->model_count, sizeof(*t->models));
    map_for_each(e, &r->models)
    {
        memcpy(t->models[i++], e->key, e->key_len);
    }
    return trace_in_order(t, reterr);
}

/* As much of it as there is room for, and as is text. */
static void name_trace(struct trace *t, const char *file)
{
    size_t n = MIN_OF(strlen(file), sizeof(t->name) - 1);

    while (!is_valid_utf8(file, n)) {
        n--;
    }
    memcpy(t->name, file, n);
}

int trace_read(const char *path, struct trace *ret, struct error *reterr)
{
    const char *slash = strrchr(path, '/');
    struct trace t = { 0 };
    struct trace_reader r = { .t = &t };
    struct trace_lines lines;
    int err = trace_lines_open(&lines, path, reterr);

    if (err < 0) {
        return err;
    }
    name_trace(&t, slash ? slash + 1 : path);
    map_init(&r.models);
    map_init(&r.sessions);
    err = read_lines(&r, &lines, reterr);
    if (err < 0) {
        err = err == -ENOMEM ? err : -EINVAL;
        (void)error_prefix(reterr, "%s, line %zu: ", path, lines.number);
        if (reterr) {
            reterr->code = err;
        }
    } else if (t.count == 0) {
        err = error_set(reterr, -EINVAL, "%s, line %zu: it holds no request", path,
                        MAX_OF(lines.number, 1));
    } else {
        point_to_blocks(&t);
        err = name_models(&r, reterr);
    }
    forget_numbers(&r.models);
    forget_numbers(&r.sessions);
    trace_lines_close(&lines);
    if (err < 0) {
        trace_finish(&t);
        return err;
    }
    *ret = t;
    return 0;
}

void trace_finish(struct trace *t)
{
    free(t->requests);
    free(t->models);
    free(t->block_memory);
    *t = (struct trace){ 0 };
}
