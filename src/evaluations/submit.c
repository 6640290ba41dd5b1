// SPDX-License-Identifier: Apache-2.0
/*
 * A new job: checked whole, then its rows and its task in one transaction. Both are there, or none.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "evaluations/evaluations_int.h"

struct submission {
    struct inquiry q;
    char task_id[UUID_SIZE];
    unsigned priority;
    int64_t now_ms;
    char *name, *description, *mode, *body;
    char *model, *hardware, *inference, *manual, *constraints;
};

static struct submission *submission_of(struct inquiry *q)
{
    return container_of(q, struct submission, q);
}

static void finish_submission(struct inquiry *q)
{
    struct submission *s = submission_of(q);
    char *const texts[] = { s->name,     s->description, s->mode,   s->body,       s->model,
                            s->hardware, s->inference,   s->manual, s->constraints };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        free(texts[i]);
    }
}

static int check_room(struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, "SELECT count(*) FROM evaluation_jobs", "");

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    if (r > 0 && sql_int(st, 0) >= EVALUATIONS_MAX) {
        return error_set(reterr, -EAGAIN, "%d evaluations are kept already: delete some",
                         EVALUATIONS_MAX);
    }
    return MIN_OF(r, 0);
}

/* An experiment of this name is gone on with: what it says of itself is what was asked last. */
static int experiment_of(struct submission *s, struct sql *db, int64_t *ret, struct error *reterr)
{
    int r = experiment_find(db, s->name, ret, reterr);

    if (r == 0) {
        return experiment_insert(db,
                                 &(struct experiment_words){ s->name, s->description, s->model,
                                                             s->hardware, s->inference },
                                 s->now_ms, ret, reterr);
    }
    r = r < 0 ? r
              : sql_run(db, reterr,
                        "UPDATE experiment_rows SET updated_ms = ?, model_config = ?, "
                        "hardware_config = ?, inference_config = ?, "
                        "description = CASE WHEN ?5 = '' THEN description ELSE ?5 END "
                        "WHERE id = ?6",
                        "itttti", s->now_ms, s->model, s->hardware, s->inference, s->description,
                        *ret);
    return MIN_OF(r, 0);
}

/* With the task, in its transaction. */
static int add_rows(void *arg, struct sql *db, struct error *reterr)
{
    struct submission *s = arg;
    int64_t experiment = 0;
    int r = check_room(db, reterr);

    r = r < 0 ? r : experiment_of(s, db, &experiment, reterr);
    r = r < 0 ? r
              : sql_run(db, reterr,
                        "INSERT INTO evaluation_jobs(task_id, experiment_id, search_mode, "
                        "manual_parallelism, search_constraints) VALUES(?, ?, ?, ?, ?)",
                        "tittt", s->task_id, experiment, s->mode, s->manual, s->constraints);
    return MIN_OF(r, 0);
}

static void on_submitted(void *arg, int result, const struct task *task, const struct error *e)
{
    struct submission *s = arg;

    (void)task;
    if (s->q.owner) {
        s->q.owner->coming--;
    }
    if (result >= 0) {
        s->q.answer = json_pack("{s:s, s:s}", "task_id", s->task_id, "message",
                                "the evaluation was submitted");
    }
    inquiry_end(&s->q, result, e);
}

static void submit(struct submission *s)
{
    struct evaluations *v = s->q.owner;
    const struct task_order order = {
        .kind = TASK_OF_EVALUATION,
        .model = "planner",
        .type = "evaluation",
        .priority = s->priority,
        .input = span_of(s->body),
        .max_retries = 0, /* the same search would fail again */
        .public_id = s->task_id,
        .batch_id = TASK_KEPT,
    };

    v->coming++;
    tasks_submit_lines(v->in.tasks, &order, 1, add_rows, on_submitted, s);
}

/* ---- what is asked ---- */

static int read_text(struct submission *s, const json_t *body, const char *member, size_t max,
                     char **ret, struct error *reterr)
{
    const json_t *value = json_object_get(body, member);

    if (value && !json_is_string(value)) {
        return inquiry_fault(&s->q, -EPROTO, member, reterr, "%s: must be a string", member);
    }
    if (json_string_length(value) > max) {
        return inquiry_fault(&s->q, -EINVAL, member, reterr, "%s: has at most %zu bytes", member,
                             max);
    }
    *ret = xstrdup(value ? json_string_value(value) : "");
    return 0;
}

static int read_name(struct submission *s, const json_t *body, struct error *reterr)
{
    int r;

    if (!json_object_get(body, "experiment_name")) {
        return inquiry_fault(&s->q, -EPROTO, "experiment_name", reterr,
                             "experiment_name: is missing");
    }
    r = read_text(s, body, "experiment_name", EVALUATION_NAME_MAX, &s->name, reterr);
    if (r >= 0) {
        r = experiment_check_name(s->name, strlen(s->name), reterr);
        if (r < 0) {
            snprintf(s->q.field, sizeof(s->q.field), "experiment_name");
            error_prefix(reterr, "experiment_name: ");
        }
    }
    return r;
}

static int read_priority(struct submission *s, const json_t *body, struct error *reterr)
{
    const json_t *value = json_object_get(body, "priority");

    s->priority = TASK_MEDIUM;
    if (!value || json_is_null(value)) {
        return 0;
    }
    if (!json_is_integer(value)) {
        return inquiry_fault(&s->q, -EPROTO, "priority", reterr, "priority: must be an integer");
    }
    if (json_integer_value(value) < TASK_LOW || json_integer_value(value) > TASK_HIGH) {
        return inquiry_fault(&s->q, -EINVAL, "priority", reterr, "priority: is 1, 2 or 3");
    }
    s->priority = (unsigned)json_integer_value(value);
    return 0;
}

/* Where the question came from, as the seed's page tells it: kept with the question, not asked. */
static int check_origin(struct submission *s, const json_t *body, struct error *reterr)
{
    static const char *const members[] = { "benchmark_name", "topology_config_name" };
    const json_t *workers = json_object_get(body, "max_workers");

    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        const json_t *value = json_object_get(body, members[i]);

        if (value && !json_is_null(value) && !json_is_string(value)) {
            return inquiry_fault(&s->q, -EPROTO, members[i], reterr, "%s: must be a string",
                                 members[i]);
        }
        if (json_string_length(value) > EVALUATION_NAME_MAX) {
            return inquiry_fault(&s->q, -EINVAL, members[i], reterr, "%s: has at most %d bytes",
                                 members[i], EVALUATION_NAME_MAX);
        }
    }
    if (workers && !json_is_null(workers) && !json_is_integer(workers)) {
        return inquiry_fault(&s->q, -EPROTO, "max_workers", reterr,
                             "max_workers: must be an integer");
    }
    return 0;
}

static int check_plan(struct submission *s, const json_t *body, struct error *reterr)
{
    _cleanup_(freep) struct plan_request *request = xcalloc(1, sizeof(*request));

    return plan_request_from_json(evaluations_presets(s->q.owner), body, request, s->q.field,
                                  reterr);
}

static int read_body(struct submission *s, const json_t *body, struct error *reterr)
{
    int r;

    if (!json_is_object(body)) {
        return inquiry_fault(&s->q, -EPROTO, "", reterr, "the body must be an object");
    }
    r = read_name(s, body, reterr);
    r = r < 0 ? r : read_text(s, body, "description", DESCRIPTION_MAX, &s->description, reterr);
    r = r < 0 ? r : read_priority(s, body, reterr);
    r = r < 0 ? r : check_origin(s, body, reterr);
    return r < 0 ? r : check_plan(s, body, reterr);
}

static int take_texts(struct submission *s, const json_t *body, struct error *reterr)
{
    s->body = json_dumps(body, JSON_COMPACT);
    if (!s->body || strlen(s->body) > EVALUATION_BODY_MAX) {
        return inquiry_fault(&s->q, -EINVAL, "", reterr, "an evaluation has at most %d bytes",
                             EVALUATION_BODY_MAX);
    }
    s->mode = xstrdup_opt(json_string_value(json_object_get(body, "search_mode")));
    s->model = text_of_json(json_object_get(body, "model"));
    s->hardware = text_of_json(json_object_get(body, "hardware"));
    s->inference = text_of_json(json_object_get(body, "inference"));
    s->manual = text_of_json(json_object_get(body, "manual_parallelism"));
    s->constraints = text_of_json(json_object_get(body, "search_constraints"));
    return 0;
}

static int check_queue(struct submission *s, struct error *reterr)
{
    const struct evaluations *v = s->q.owner;
    const char *why = store_read_only_reason(v->in.store);

    if (why) {
        return error_set(reterr, -EROFS, "the store is read-only: %s", why);
    }
    if (live_count(v, TASK_PENDING) + v->coming >= EVALUATIONS_PENDING_MAX) {
        return error_set(reterr, -EAGAIN, "%d evaluations wait already", EVALUATIONS_PENDING_MAX);
    }
    return 0;
}

void evaluations_submit(struct evaluations *v, const json_t *body, evaluations_done_fn done,
                        void *arg)
{
    struct submission *s = inquiry_create(v, sizeof(*s), done, arg);
    struct error error = { 0 };
    int r;

    s->q.finish = finish_submission;
    s->now_ms = world_wall_ms(v->in.world);
    world_uuid(v->in.world, s->task_id);
    r = read_body(s, body, &error);
    r = r < 0 ? r : take_texts(s, body, &error);
    r = r < 0 ? r : check_queue(s, &error);
    if (r < 0) {
        inquiry_refuse_fault(&s->q, r, &error);
    } else {
        submit(s);
    }
}
