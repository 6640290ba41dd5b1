// SPDX-License-Identifier: Apache-2.0
/*
 * A file that comes back: checked whole (import_file.c), and kept for an hour as text until it is
 * said what to do with it (import_run.c). It may be large: all that looks through it is done on a
 * thread of the store's.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/timefmt.h"
#include "evaluations/evaluations_int.h"

enum {
    IMPORTS_MAX = 16,
    IMPORT_KEEP_MS = 3600 * 1000,
    IMPORTS_BYTES_MAX = 2 * EXPORT_BYTES_MAX, /* of all that are kept */
};

/* ---- keeping ---- */

void import_free(struct import *i)
{
    list_remove(&i->node);
    free(i->text);
    free(i);
}

static void on_expiry(void *arg)
{
    struct evaluations *v = arg;
    struct import *i;

    while ((i = list_first(&v->imports, struct import, node)) &&
           i->until_ms <= world_now_ms(v->in.world)) {
        import_free(i);
    }
    if (i) {
        timer_start(&v->expiry, i->until_ms - world_now_ms(v->in.world));
    }
}

void imports_init(struct evaluations *v)
{
    list_init(&v->imports);
    timer_init(&v->expiry, v->in.world, "planner imports", on_expiry, v);
}

void imports_finish(struct evaluations *v)
{
    struct import *i;

    timer_stop(&v->expiry);
    while ((i = list_first(&v->imports, struct import, node))) {
        import_free(i);
    }
}

struct import *import_find(struct evaluations *v, const char *id)
{
    struct import *i;

    list_for_each (i, &v->imports, node) {
        if (str_eq(i->id, id)) {
            return i;
        }
    }
    return NULL;
}

/* The eldest make room. */
static void make_room(struct evaluations *v, size_t bytes)
{
    const struct import *i;
    size_t count = 1;

    list_for_each (i, &v->imports, node) {
        bytes += i->bytes;
        count++;
    }
    while (count > IMPORTS_MAX || bytes > (size_t)IMPORTS_BYTES_MAX) {
        struct import *eldest = list_first(&v->imports, struct import, node);

        bytes -= eldest->bytes;
        count--;
        import_free(eldest);
    }
}

static void import_add(struct evaluations *v, const char *id, char *text, size_t tasks)
{
    struct import *i = xcalloc(1, sizeof(*i));

    i->text = text;
    i->bytes = strlen(text);
    i->tasks = tasks;
    i->until_ms = world_now_ms(v->in.world) + IMPORT_KEEP_MS;
    snprintf(i->id, sizeof(i->id), "%s", id);
    make_room(v, i->bytes);
    list_append(&v->imports, &i->node);
    if (!timer_active(&v->expiry)) {
        timer_start(&v->expiry, IMPORT_KEEP_MS);
    }
}

/* ---- the check ---- */

struct check {
    struct inquiry q;
    json_t *file; /* only read any more */
    char *text;
    size_t tasks;
    char id[UUID_SIZE];
};

static void finish_check(struct inquiry *q)
{
    struct check *c = container_of(q, struct check, q);

    json_decref(c->file);
    free(c->text);
}

/* The sentence about a member begins with its path. */
static int fault_of_file(struct inquiry *q, int code, const struct error *e)
{
    const char *colon = strstr(e->text, ": ");

    snprintf(q->field, sizeof(q->field), "%.*s", colon ? (int)(colon - e->text) : 0, e->text);
    return code;
}

static int take_text(struct check *c, struct error *reterr)
{
    free(c->text);
    c->text = json_dumps(c->file, JSON_COMPACT);
    if (!c->text || strlen(c->text) > EXPORT_BYTES_MAX) {
        return error_set(reterr, -EINVAL, "a file has at most %d bytes", EXPORT_BYTES_MAX);
    }
    return 0;
}

static json_t *told_of(const json_t *x)
{
    const json_t *tasks = json_object_get(x, "tasks"), *task;
    const char *description = json_string_value(json_object_get(x, "description"));
    size_t completed = 0, i;

    json_array_foreach(tasks, i, task)
    {
        completed += str_eq(json_string_value(json_object_get(task, "status")), "completed");
    }
    return json_pack("{s:s, s:s, s:I, s:I}", "name", json_string_value(json_object_get(x, "name")),
                     "description", description ? description : "", "total_tasks",
                     (json_int_t)json_array_size(tasks), "completed_tasks", (json_int_t)completed);
}

/* Which of their names stand already? */
static int tell_all(struct check *c, struct sql *db, struct error *reterr)
{
    json_t *list = json_array(), *conflicts = json_array(), *told;
    const json_t *x;
    size_t i;
    int r = 0;

    c->q.answer = json_pack("{s:b, s:s, s:s, s:o, s:o}", "valid", 1, "version", "1.0",
                            "temp_file_id", c->id, "experiments", list, "conflicts", conflicts);
    json_array_foreach(json_object_get(c->file, "experiments"), i, x)
    {
        int64_t id = 0;

        told = told_of(x);
        json_array_append_new(list, told);
        r = experiment_find(db, json_string_value(json_object_get(told, "name")), &id, reterr);
        if (r < 0) {
            return r;
        }
        json_object_set_new(told, "exists", json_boolean(r > 0));
        json_object_set_new(told, "existing_id", r > 0 ? json_integer(id) : json_null());
        if (r > 0) {
            json_array_append(conflicts, json_object_get(told, "name"));
        }
    }
    return 0;
}

static int run_check(struct inquiry *q, struct sql *db, struct error *reterr)
{
    struct check *c = container_of(q, struct check, q);
    int r = import_check_file(c->file, &c->tasks, reterr);

    r = r < 0 ? r : take_text(c, reterr);
    if (r < 0) {
        return fault_of_file(q, r, reterr);
    }
    r = tell_all(c, db, reterr);
    if (r == 0) { /* freeing a large one takes its time, too: not the loop's */
        json_decref(TAKE_PTR(c->file));
    }
    return r;
}

static void keep_file(struct inquiry *q)
{
    struct check *c = container_of(q, struct check, q);

    import_add(q->owner, c->id, TAKE_PTR(c->text), c->tasks);
}

void experiments_check_import(struct evaluations *v, json_t *file, evaluations_done_fn done,
                              void *arg)
{
    struct check *c = inquiry_create(v, sizeof(*c), done, arg);

    c->file = json_incref(file);
    world_uuid(v->in.world, c->id);
    c->q.dress = keep_file;
    c->q.finish = finish_check;
    inquiry_read(&c->q, run_check);
}
