// SPDX-License-Identifier: Apache-2.0
/*
 * The planner's workers: each search has a thread of its own while it runs. The thread sees the
 * question, writes how far it is and reads whether to go on, and nothing else of the house.
 *
 *     reserve ─► run ─► thread ═ search ═► results committed ─► task_slot_done
 *                 │                │
 *                 └── cancel: the slot is void, the thread ends at its next look, and its place is
 *                     free from then on
 */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/worker.h"
#include "codec/json.h"
#include "evaluations/evaluations_int.h"

enum { LOOK_MS = 250, WHOLE = 1000000, KEEP_PROGRESS_MS = 5000 };

/* A thread, and whether a search has it. */
struct thread {
    struct list node; /* in evaluations.idle, or alone */
    struct worker *worker;
};

struct search {
    struct list node;       /* in evaluations.searches */
    struct evaluations *v;  /* NULL: gone, and only the store has this yet */
    struct task_slot *slot; /* NULL: let go of */
    char task_id[UUID_SIZE];
    int64_t row_id, fence;

    struct thread *thread; /* NULL: it does not run */
    struct job job;
    struct plan_request *request; /* NULL: refusal says why */
    struct error refusal;
    atomic_bool stop;
    atomic_uint done; /* parts of WHOLE */
    struct findings found;

    struct store_op op; /* results */
    int64_t now_ms;
};

/* ---- on the search's thread ---- */

static bool go_on(void *arg, double done)
{
    struct search *s = arg;

    atomic_store(&s->done, (unsigned)(MIN_OF(MAX_OF(done, 0.0), 1.0) * WHOLE));
    return !atomic_load(&s->stop);
}

static void add_plan(struct findings *f, json_t *plan)
{
    if (plan) {
        f->plans[f->count++] = plan;
    }
}

/* What is refused is both what cannot be and what can but misses a limit: the latter first, since
 * it is nearer. */
static void keep_plans(struct findings *f, const struct plan_request *r,
                       const struct planner_setup *setup, const struct planner_findings *found)
{
    size_t best = MIN_OF(r->top_k, (size_t)EVALUATION_TOP_MAX);
    size_t refused = EVALUATION_REFUSED_MAX;

    f->plans = xcalloc(best + refused, sizeof(*f->plans));
    for (size_t i = 0; i < found->count && best > 0; i++) {
        if (found->candidates[i].meets_slo) {
            add_plan(f, plan_candidate_to_json(r, setup, &found->candidates[i]));
            best--;
        }
    }
    for (size_t i = 0; i < found->count && refused > 0; i++) {
        if (!found->candidates[i].meets_slo) {
            add_plan(f, plan_candidate_to_json(r, setup, &found->candidates[i]));
            refused--;
        }
    }
    for (size_t i = 0; i < found->refusal_count && refused > 0; i++, refused--) {
        add_plan(f, plan_candidate_to_json(r, setup, &found->refusals[i]));
    }
}

static void keep(struct search *s, const struct planner_setup *setup,
                 const struct planner_findings *found)
{
    keep_plans(&s->found, s->request, setup, found);
    s->found.stats = plan_stats_to_json(found);
    snprintf(s->found.message, sizeof(s->found.message), "%lld plans, %lld of them feasible",
             json_integer_value(json_object_get(s->found.stats, "total_plans")),
             json_integer_value(json_object_get(s->found.stats, "feasible_plans")));
}

static void run_search(struct job *job)
{
    struct search *s = container_of(job, struct search, job);
    struct planner_setup setup;
    struct planner_findings found = { .count = 0 };

    if (!s->request || atomic_load(&s->stop)) {
        return;
    }
    plan_request_run(s->request, go_on, s, &setup, &found);
    if (!atomic_load(&s->stop)) {
        keep(s, &setup, &found);
    }
    planner_findings_finish(&found);
}

/* ---- places ---- */

static struct thread *take_thread(struct evaluations *v)
{
    struct thread *t = list_first(&v->idle, struct thread, node);

    if (t) {
        list_remove(&t->node);
        return t;
    }
    t = xcalloc(1, sizeof(*t));
    list_init(&t->node);
    t->worker = worker_create(
        v->in.world, &(struct worker_options){ .name = "planner", .threads = 1, .max_queued = 1 });
    return t;
}

static void give_back_thread(struct search *s)
{
    if (s->thread) {
        list_append(&s->v->idle, &s->thread->node);
        s->thread = NULL;
    }
}

/* Its place is free; whoever waits for one is looked at. */
static void search_free(struct search *s)
{
    struct evaluations *v = s->v;

    list_remove(&s->node);
    findings_clear(&s->found);
    free(s->request);
    free(s);
    if (v) {
        v->search_count--;
        if (v->in.tasks) {
            tasks_wake(v->in.tasks);
        }
    }
}

static int reserve(void *owner, struct task_slot *slot, struct error *reterr)
{
    struct evaluations *v = owner;
    struct search *s;

    if (v->search_count >= v->max_workers) {
        return error_set(reterr, -EAGAIN, "all %u workers of the planner are busy", v->max_workers);
    }
    s = xcalloc(1, sizeof(*s));
    s->v = v;
    s->slot = slot;
    slot->runner_data = s;
    list_append(&v->searches, &s->node);
    v->search_count++;
    return 1;
}

/* ---- the end ---- */

static void end(struct search *s, const struct task_result *result)
{
    struct task_slot *slot = TAKE_PTR(s->slot);

    task_slot_done(slot, result);
    search_free(s);
}

static void note_findings(struct search *s)
{
    struct live *live = live_find(s->v, s->task_id);

    if (live) {
        json_decref(live->stats);
        live->stats = json_incref(s->found.stats);
        snprintf(live->message, sizeof(live->message), "%s", s->found.message);
    }
}

/* Only of the attempt that runs: what another has begun meanwhile is its own. */
static int is_current(const struct search *s, struct sql *db, int64_t *ret_job,
                      struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT j.id FROM tasks t JOIN evaluation_jobs j ON j.task_id = t.public_id "
                      "WHERE t.id = ? AND t.state = 1 AND t.fence = ?",
                      "ii", s->row_id, s->fence);

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    if (r > 0) {
        *ret_job = sql_int(st, 0);
    }
    return r;
}

static int save(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct search *s = container_of(op, struct search, op);
    int64_t job = 0;
    int r = is_current(s, db, &job, reterr);

    return r <= 0 ? r : results_save(db, job, &s->found, s->now_ms, reterr);
}

static void on_saved(struct store_op *op)
{
    struct search *s = container_of(op, struct search, op);
    char text[sizeof(op->error.text) + 64];

    if (!s->slot) {
        search_free(s);
    } else if (op->result < 0) {
        snprintf(text, sizeof(text), "the results could not be stored: %s", op->error.text);
        end(s, &(struct task_result){ .error = op->result,
                                      .lost = op->result == -EAGAIN || op->result == -EBUSY,
                                      .text = text });
    } else {
        note_findings(s);
        end(s, &(struct task_result){ .error = 0 });
    }
}

static void on_searched(struct job *job)
{
    struct search *s = container_of(job, struct search, job);

    give_back_thread(s);
    if (!s->slot) {
        search_free(s);
    } else if (!s->request) {
        end(s, &(struct task_result){ .error = s->refusal.code, .text = s->refusal.text });
    } else {
        s->now_ms = world_wall_ms(s->v->in.world);
        s->op = (struct store_op){ .run = save, .done = on_saved };
        store_write(s->v->in.store, &s->op);
    }
}

/* ---- the beginning ---- */

/* The book may have changed since the submit; then that is told. */
static void read_request(struct search *s, struct span input)
{
    json_t *body = NULL;
    char field[PRESET_NAME_MAX];
    int r = json_read(input, (size_t)EVALUATION_BODY_MAX, &body, &s->refusal);

    s->request = xcalloc(1, sizeof(*s->request));
    r = r < 0 ? r
              : plan_request_from_json(evaluations_presets(s->v), body, s->request, field,
                                       &s->refusal);
    if (r < 0) {
        free(s->request);
        s->request = NULL;
        s->refusal.code = r;
    }
    json_decref(body);
}

static void run(void *owner, struct task_slot *slot, const struct task_work *work)
{
    struct evaluations *v = owner;
    struct search *s = slot->runner_data;
    int r;

    s->row_id = work->id;
    s->fence = work->fence;
    snprintf(s->task_id, sizeof(s->task_id), "%s", work->public_id);
    read_request(s, work->input);
    s->thread = take_thread(v);
    s->job = (struct job){ .run = run_search, .done = on_searched };
    r = worker_submit(s->thread->worker, &s->job);
    assert(r == 0); /* an idle one takes one */
    if (!timer_active(&v->look)) {
        timer_start(&v->look, LOOK_MS);
    }
}

/* What has a thread is freed when that has ended. */
static void cancel(void *owner, struct task_slot *slot)
{
    struct search *s = slot->runner_data;

    (void)owner;
    s->slot = NULL;
    atomic_store(&s->stop, true);
    if (!s->thread && !s->op.run) {
        search_free(s);
    }
}

/* berth goes down: the search ends, and the job begins anew with the next berth. */
static bool leave(void *owner, struct task_slot *slot)
{
    cancel(owner, slot);
    return true;
}

static void why(void *owner, int64_t model_id, const char *model, char *out, size_t size)
{
    const struct evaluations *v = owner;

    (void)model_id, (void)model;
    out[0] = '\0';
    if (v->search_count >= v->max_workers) {
        snprintf(out, size, "all %u workers of the planner are busy", v->max_workers);
    }
}

const struct task_runner evaluation_runner = {
    .name = "planner",
    .reserve = reserve,
    .run = run,
    .cancel = cancel,
    .leave = leave,
    .why = why,
    .unbounded = true,
};

/* ---- progress ---- */

struct progress_op {
    struct store_op op;
    char task_id[UUID_SIZE];
    double progress;
};

static int write_progress(struct store_op *op, struct sql *db, struct error *reterr)
{
    const struct progress_op *p = container_of(op, struct progress_op, op);
    int r = sql_run(db, reterr, "UPDATE evaluation_jobs SET progress = ? WHERE task_id = ?", "dt",
                    p->progress, p->task_id);

    return MIN_OF(r, 0);
}

static void on_progress_written(struct store_op *op)
{
    free(container_of(op, struct progress_op, op));
}

/* For those who read the table; nothing depends on it. */
static void keep_progress(struct evaluations *v, struct live *live)
{
    struct progress_op *p = xcalloc(1, sizeof(*p));

    live->kept_ms = world_now_ms(v->in.world);
    p->progress = live->progress;
    snprintf(p->task_id, sizeof(p->task_id), "%s", live->task_id);
    p->op = (struct store_op){ .run = write_progress, .done = on_progress_written };
    store_write(v->in.store, &p->op);
}

/* In steps of a tenth of a percent; 100 is told when it is completed. */
static void look_at(struct search *s)
{
    struct live *live = s->slot && s->thread ? live_find(s->v, s->task_id) : NULL;
    double progress = MIN_OF(atomic_load(&s->done) / (WHOLE / 1000), 999U) / 10.0;

    if (!live || live->state != TASK_RUNNING || progress <= live->progress) {
        return;
    }
    live->progress = progress;
    live_tell(s->v, live, NULL);
    if (world_now_ms(s->v->in.world) - live->kept_ms >= KEEP_PROGRESS_MS) {
        keep_progress(s->v, live);
    }
}

static void on_look(void *arg)
{
    struct evaluations *v = arg;
    struct search *s, *tmp;

    list_for_each_safe (s, tmp, &v->searches, node) {
        look_at(s);
    }
    if (!list_empty(&v->searches)) {
        timer_start(&v->look, LOOK_MS);
    }
}

/* ---- life ---- */

void searches_init(struct evaluations *v)
{
    list_init(&v->searches);
    list_init(&v->idle);
    timer_init(&v->look, v->in.world, "planner progress", on_look, v);
}

unsigned searches_running(const struct evaluations *v)
{
    const struct search *s;
    unsigned n = 0;

    list_for_each (s, &v->searches, node) {
        n += s->slot != NULL;
    }
    return n;
}

/* The tasks are gone, so no search has a slot. Waits until each has had its next look. */
void searches_finish(struct evaluations *v)
{
    struct search *s, *tmp;

    timer_stop(&v->look);
    list_for_each (s, &v->searches, node) {
        atomic_store(&s->stop, true);
    }
    list_for_each_safe (s, tmp, &v->searches, node) {
        if (s->thread) {
            struct thread *t = s->thread;

            t->worker = worker_destroy(t->worker); /* ends the job, and s with it */
        } else {
            list_remove(&s->node);
            s->v = NULL;
        }
    }
    while (!list_empty(&v->idle)) {
        struct thread *t = list_first(&v->idle, struct thread, node);

        list_remove(&t->node);
        worker_destroy(t->worker);
        free(t);
    }
}
