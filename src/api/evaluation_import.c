// SPDX-License-Identifier: Apache-2.0
/*
 * The doors that take an exported file in: first it is looked into, then what it holds is skipped,
 * overwritten or renamed. The form and the file are read on a worker: they may be large.
 */
#include <stdlib.h>
#include <string.h>

#include "api/planner_doors_int.h"
#include "base/mem.h"
#include "base/worker.h"
#include "codec/json.h"
#include "codec/multipart.h"

enum { TYPE_MAX = 256, FILE_MAX = 32 << 20 /* as large as an export may be */ };

/* A form on its way through the worker, with a copy of the body: the exchange may go at any time.
 */
struct reading {
    struct job job;
    struct evaluations *evaluations;
    struct planner_visit *visit;
    char type[TYPE_MAX];
    char *body;
    size_t size;
    json_t *file;
    struct error error;
};

static void reading_free(struct reading *r)
{
    json_decref(r->file);
    free(r->body);
    free(r);
}

static int read_form(struct reading *r, struct error *reterr)
{
    const struct multipart_part *part;
    struct multipart m;
    int left = multipart_begin(&m, span_of(r->type), (struct span){ r->body, r->size }, reterr);

    while (left >= 0) {
        left = multipart_step(&m, r->size, reterr);
        if (left == 0) {
            break;
        }
    }
    left = left < 0 ? left : multipart_find(&m, "file", &part, reterr);
    if (left < 0) {
        return left;
    }
    if (!part) {
        return error_set(reterr, -EPROTO, "the form has no file of the name 'file'");
    }
    return json_read(part->data, FILE_MAX, &r->file, reterr);
}

static void run_reading(struct job *job)
{
    struct reading *r = container_of(job, struct reading, job);

    if (read_form(r, &r->error) < 0 && r->error.code == 0) {
        r->error.code = -EINVAL;
    }
}

static void on_read(struct job *job)
{
    struct reading *r = container_of(job, struct reading, job);

    if (r->error.code < 0 || !r->visit->x) {
        planner_answered(r->visit, r->error.code < 0 ? r->error.code : -ECANCELED, NULL, "file",
                         &r->error);
    } else {
        experiments_check_import(r->evaluations, r->file, planner_answered, r->visit);
    }
    reading_free(r);
}

void handle_check_import(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    struct evaluations *v = planner_evaluations(api, x);
    const struct span type = http_header_get(http_exchange_head(x), "content-type");
    const struct span body = http_exchange_body(x);
    struct reading *r;

    if (!v) {
        return;
    }
    if (body.n > FILE_MAX + MULTIPART_HEAD_MAX) {
        respond_detail(x, 413, "the file has more than the %d MiB allowed here", FILE_MAX >> 20);
        return;
    }
    r = xcalloc(1, sizeof(*r));
    r->job.run = run_reading;
    r->job.done = on_read;
    r->evaluations = v;
    snprintf(r->type, sizeof(r->type), "%.*s", SPAN_ARG(type));
    r->body = try_malloc(body.n + 1);
    if (r->body) {
        memcpy(r->body, body.p ? body.p : "", body.n);
        r->size = body.n;
    }
    if (!r->body || worker_submit(planner_worker(api), &r->job) < 0) {
        planner_refuse(x, -EAGAIN, "",
                       &(struct error){ -EAGAIN, "too much is asked of the planner at once" });
        reading_free(r);
        return;
    }
    r->visit = planner_visit_create(x);
}

void handle_execute_import(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct evaluations *v = planner_evaluations(owner, x);
    json_t *body = v ? planner_body(x) : NULL;

    if (body) {
        experiments_execute_import(v, body, planner_answered, planner_visit_create(x));
    }
    json_decref(body);
}
