// SPDX-License-Identifier: Apache-2.0
/* The jobs that wait or run, as they are told live: at most those that may wait, and those that
 * run. */
#include <stdlib.h>

#include "base/mem.h"
#include "evaluations/evaluations_int.h"

struct live *live_find(const struct evaluations *v, const char *task_id)
{
    struct live *live;

    list_for_each (live, &v->live, node) {
        if (str_eq(live->task_id, task_id)) {
            return live;
        }
    }
    return NULL;
}

struct live *live_add(struct evaluations *v, int64_t row_id, const char *task_id,
                      enum task_state state, unsigned priority)
{
    struct live *live = xcalloc(1, sizeof(*live));

    live->row_id = row_id;
    live->state = state;
    live->priority = priority;
    snprintf(live->task_id, sizeof(live->task_id), "%s", task_id);
    list_append(&v->live, &live->node);
    return live;
}

struct live *live_free(struct live *live)
{
    list_remove(&live->node);
    json_decref(live->stats);
    free(live);
    return NULL;
}

static const char *message_of(const struct live *live)
{
    static const char *const messages[] = { [TASK_PENDING] = "",
                                            [TASK_RUNNING] = "searching",
                                            [TASK_COMPLETED] = NULL,
                                            [TASK_FAILED] = "failed",
                                            [TASK_CANCELLED] = "cancelled" };

    return messages[live->state] ? messages[live->state] : live->message;
}

static struct evaluation_state state_of(const struct live *live, const char *error)
{
    return (struct evaluation_state){
        .task_id = live->task_id,
        .status = task_state_name(live->state),
        .progress = live->progress,
        .message = message_of(live),
        .error = error,
        .search_stats = live->stats,
    };
}

void live_tell(struct evaluations *v, const struct live *live, const char *error)
{
    const struct evaluation_state state = state_of(live, error);

    notify_emit(&v->signal, &state);
}

bool evaluations_next_live(struct evaluations *v, size_t *cursor, struct evaluation_state *ret)
{
    const struct live *live;
    size_t i = 0;

    list_for_each (live, &v->live, node) {
        if (i++ == *cursor) {
            ++*cursor;
            *ret = state_of(live, NULL);
            return true;
        }
    }
    return false;
}

/* By class, in a class by id: the order of its lane. */
static bool goes_before(const struct live *a, const struct live *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->row_id < b->row_id;
}

size_t live_place(const struct evaluations *v, const struct live *live)
{
    const struct live *other;
    size_t place = 1;

    if (live->state != TASK_PENDING) {
        return 0;
    }
    list_for_each (other, &v->live, node) {
        place += other->state == TASK_PENDING && goes_before(other, live);
    }
    return place;
}

size_t live_count(const struct evaluations *v, enum task_state state)
{
    const struct live *live;
    size_t n = 0;

    list_for_each (live, &v->live, node) {
        n += live->state == state;
    }
    return n;
}

void live_dress(const struct evaluations *v, json_t *job)
{
    const char *task_id = json_string_value(json_object_get(job, "task_id"));
    const char *status = json_string_value(json_object_get(job, "status"));
    const struct live *live = task_id ? live_find(v, task_id) : NULL;

    if (!live || !str_eq(status, task_state_name(live->state))) {
        return; /* it went on since it was read */
    }
    if (live->state == TASK_RUNNING) {
        json_object_set_new(job, "progress", json_real(live->progress));
    } else if (live->state == TASK_PENDING) {
        json_object_set_new(job, "queue_position", json_integer((json_int_t)live_place(v, live)));
        json_object_set_new(job, "queue_length",
                            json_integer((json_int_t)live_count(v, TASK_PENDING)));
    }
}
