// SPDX-License-Identifier: Apache-2.0
/* What a person sets at the door and berth keeps: how many searches run at once. */
#include "base/mem.h"
#include "evaluations/evaluations_int.h"

int settings_load(struct sql *db, unsigned *ret_max_workers, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT value FROM evaluation_settings WHERE name = 'max_workers'", "");

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    if (r > 0 && sql_int(st, 0) >= 1 && sql_int(st, 0) <= EVALUATION_WORKERS_MAX) {
        *ret_max_workers = (unsigned)sql_int(st, 0);
    }
    return MIN_OF(r, 0);
}

json_t *evaluations_config(struct evaluations *v)
{
    unsigned running = searches_running(v);

    return json_pack("{s:i, s:i, s:i}", "max_workers", (int)v->max_workers, "running_tasks",
                     (int)running, "active_tasks",
                     (int)(live_count(v, TASK_PENDING) + live_count(v, TASK_RUNNING)));
}

struct setting {
    struct inquiry q;
    unsigned max_workers;
};

static int run(struct inquiry *q, struct sql *db, struct error *reterr)
{
    int r = sql_run(db, reterr,
                    "INSERT INTO evaluation_settings(name, value) VALUES('max_workers', ?) "
                    "ON CONFLICT(name) DO UPDATE SET value = excluded.value",
                    "i", (int64_t)container_of(q, struct setting, q)->max_workers);

    return MIN_OF(r, 0);
}

static void dress(struct inquiry *q)
{
    struct evaluations *v = q->owner;

    v->max_workers = v->set_workers = container_of(q, struct setting, q)->max_workers;
    q->answer = evaluations_config(v);
    tasks_wake(v->in.tasks);
}

void evaluations_set_config(struct evaluations *v, const json_t *body, evaluations_done_fn done,
                            void *arg)
{
    struct setting *s = inquiry_create(v, sizeof(*s), done, arg);
    const json_t *value = json_object_get(body, "max_workers");

    if (!json_is_integer(value)) {
        inquiry_refuse(&s->q, -EPROTO, "max_workers", "max_workers: %s",
                       value ? "must be an integer" : "is missing");
        return;
    }
    if (json_integer_value(value) < 1 || json_integer_value(value) > EVALUATION_WORKERS_MAX) {
        inquiry_refuse(&s->q, -EINVAL, "max_workers", "max_workers: 1 to %d",
                       EVALUATION_WORKERS_MAX);
        return;
    }
    s->max_workers = (unsigned)json_integer_value(value);
    s->q.dress = dress;
    inquiry_write(&s->q, run);
}
