// SPDX-License-Identifier: Apache-2.0
/*
 * POST /api/v1/tasks/bulk: one order for many tasks. Each task is looked at and changed by itself,
 * as at the door of one; the answer says of each how it went, in the order in which they were
 * named.
 */
#include <stdlib.h>

#include "api/task_doors_int.h"
#include "base/mem.h"

enum { BULK_MAX = 100 };

enum action { CANCEL, RETRY, REMOVE, ACTION_MAX_ };

static const char *const action_names[ACTION_MAX_] = {
    [CANCEL] = "cancel",
    [RETRY] = "retry",
    [REMOVE] = "delete",
};

struct bulk {
    struct api *api;
    struct http_exchange *x; /* NULL once the client is gone */
    enum action action;
    bool again;
    json_t *results; /* as many as there are tasks; null while one is under way */
    size_t left, good;
};

/* One task of them. */
struct part {
    struct bulk *bulk;
    size_t place;
    int64_t id;
};

static void on_gone(void *arg)
{
    ((struct bulk *)arg)->x = NULL;
}

static const struct http_exchange_events bulk_events = { .on_gone = on_gone };

static void answer(struct bulk *b)
{
    const size_t count = json_array_size(b->results);

    if (b->x) {
        envelope_respond(b->x, "success",
                         json_pack("{s:s, s:I, s:I, s:O}", "action", action_names[b->action],
                                   "succeeded", (json_int_t)b->good, "failed",
                                   (json_int_t)(count - b->good), "results", b->results));
    }
    json_decref(b->results);
    free(b);
}

/* error NULL: it went well. */
static void end_part(struct part *p, const char *error)
{
    struct bulk *b = p->bulk;

    json_array_set_new(b->results, p->place,
                       json_pack("{s:I, s:b, s:o}", "id", (json_int_t)p->id, "success", !error,
                                 "error", json_text(error)));
    b->good += !error;
    free(p);
    if (--b->left == 0) {
        answer(b);
    }
}

static void on_changed(void *arg, int result, const struct task *task, const struct error *e)
{
    end_part(arg, result < 0 ? e->text : NULL);
}

/* Only this door's tasks are touched. */
static void on_seen(void *arg, int result, const struct task_details *d, const struct error *e)
{
    struct part *p = arg;
    struct tasks *tasks = p->bulk->api->in.tasks;

    if (result < 0 && result != -ENOENT) {
        end_part(p, e->text);
    } else if (result == -ENOENT || d->task->kind != TASK_OF_QUEUE) {
        end_part(p, "there is no such task");
    } else if (p->bulk->action == CANCEL) {
        tasks_cancel(tasks, p->id, on_changed, p);
    } else if (p->bulk->action == RETRY) {
        tasks_retry(tasks, p->id, p->bulk->again, on_changed, p);
    } else {
        tasks_remove(tasks, p->id, on_changed, p);
    }
}

static int action_from_string(const char *word)
{
    for (int i = 0; word && i < ACTION_MAX_; i++) {
        if (str_eq(word, action_names[i])) {
            return i;
        }
    }
    return -EINVAL;
}

/* False: it is no list of 1 to BULK_MAX ids, and that is answered. */
static bool check_ids(struct http_exchange *x, const json_t *ids)
{
    const size_t count = json_array_size(ids);
    bool good = count >= 1 && count <= BULK_MAX;
    const json_t *id;
    size_t i;

    json_array_foreach(UNCONST(json_t *, ids), i, id)
    {
        good = good && json_is_integer(id) && json_integer_value(id) > 0;
    }
    if (!good) {
        envelope_invalid(x, "ids must be a list of 1 to %d whole numbers from 1", BULK_MAX);
    }
    return good;
}

static void begin(struct bulk *b, const json_t *ids)
{
    const json_t *id;
    size_t i;

    b->results = json_array();
    b->left = json_array_size(ids);
    json_array_foreach(UNCONST(json_t *, ids), i, id)
    {
        json_array_append_new(b->results, json_null());
    }
    json_array_foreach(UNCONST(json_t *, ids), i, id)
    {
        struct part *p = xcalloc(1, sizeof(*p));

        *p = (struct part){ b, i, json_integer_value(id) };
        tasks_get(b->api->in.tasks, p->id, on_seen, p);
    }
}

void handle_task_bulk(void *owner, struct http_exchange *x, const struct route_params *params)
{
    const char *word = NULL;
    struct bulk *b;
    json_t *body, *ids;
    int action;

    if (!envelope_body(x, &body)) {
        return;
    }
    ids = json_object_get(body, "ids");
    if (envelope_member_text(x, body, "action", &word)) {
        action = action_from_string(word);
        if (action < 0) {
            envelope_invalid(x, "action must be cancel, retry or delete");
        } else if (check_ids(x, ids)) {
            b = xcalloc(1, sizeof(*b));
            b->api = owner;
            b->x = x;
            b->action = (enum action)action;
            b->again = json_is_true(json_object_get(body, "again"));
            http_exchange_set_events(x, &bulk_events, b);
            begin(b, ids);
        }
    }
    json_decref(body);
}
