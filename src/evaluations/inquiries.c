// SPDX-License-Identifier: Apache-2.0
/*
 * Questions and changes of a door's on their way through the store: whoever asks is told once, in a
 * later turn; when the room goes down before, with -ECANCELED.
 */
#include <stdarg.h>
#include <stdlib.h>

#include "base/mem.h"
#include "evaluations/evaluations_int.h"

void *inquiry_create(struct evaluations *v, size_t size, evaluations_done_fn done, void *arg)
{
    struct inquiry *q = xcalloc(1, size);

    q->owner = v;
    q->done = done;
    q->arg = arg;
    list_append(&v->inquiries, &q->node);
    return q;
}

static void destroy(struct inquiry *q)
{
    if (q->finish) {
        q->finish(q);
    }
    json_decref(q->answer);
    free(q);
}

void inquiry_end(struct inquiry *q, int result, const struct error *e)
{
    static const struct error none;

    if (q->owner) {
        list_remove(&q->node);
        if (result >= 0 && q->dress) {
            q->dress(q);
        }
        q->done(q->arg, MIN_OF(result, 0), result >= 0 ? q->answer : NULL, q->field, e ? e : &none);
    }
    destroy(q);
}

static int run_op(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct inquiry *q = container_of(op, struct inquiry, op);

    json_decref(q->answer); /* of a try before */
    q->answer = NULL;
    q->field[0] = '\0';
    return q->run(q, db, reterr);
}

static void on_stored(struct store_op *op)
{
    struct inquiry *q = container_of(op, struct inquiry, op);

    inquiry_end(q, op->result, &op->error);
}

void inquiry_read(struct inquiry *q,
                  int (*run)(struct inquiry *q, struct sql *db, struct error *reterr))
{
    q->run = run;
    q->op = (struct store_op){ .run = run_op, .done = on_stored };
    store_read(q->owner->in.store, &q->op);
}

void inquiry_write(struct inquiry *q,
                   int (*run)(struct inquiry *q, struct sql *db, struct error *reterr))
{
    q->run = run;
    q->op = (struct store_op){ .run = run_op, .done = on_stored };
    store_write(q->owner->in.store, &q->op);
}

static int give_refusal(struct store_op *op, struct sql *db, struct error *reterr)
{
    const struct inquiry *q = container_of(op, struct inquiry, op);

    (void)db;
    return error_set(reterr, q->refusal, "%s", q->error.text);
}

void inquiry_refuse_fault(struct inquiry *q, int code, const struct error *e)
{
    q->error = *e;
    q->refusal = code;
    q->op = (struct store_op){ .run = give_refusal, .done = on_stored };
    store_read(q->owner->in.store, &q->op);
}

void inquiry_refuse(struct inquiry *q, int code, const char *field, const char *fmt, ...)
{
    struct error e = { code, "" };
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(e.text, sizeof(e.text), fmt, ap);
    va_end(ap);
    snprintf(q->field, sizeof(q->field), "%s", field);
    inquiry_refuse_fault(q, code, &e);
}

int inquiry_fault(struct inquiry *q, int code, const char *field, struct error *reterr,
                  const char *fmt, ...)
{
    char text[sizeof(reterr->text)];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    snprintf(q->field, sizeof(q->field), "%s", field);
    return error_set(reterr, code, "%s", text);
}

void inquiries_finish(struct evaluations *v)
{
    static const struct error gone = { -ECANCELED, "berth is going down" };

    while (!list_empty(&v->inquiries)) {
        struct inquiry *q = list_first(&v->inquiries, struct inquiry, node);

        list_remove(&q->node);
        q->owner = NULL;
        q->done(q->arg, -ECANCELED, NULL, "", &gone);
    }
}
